// SPDX-License-Identifier: MIT
// Formatting, strings and memory. No state; needs nothing but the CPU.
#include "text.h"

// Where text_format puts its characters; what does not fit is dropped.
struct Sink {
    char *out;
    size_t used;
    size_t room;            // without the terminating zero
};

// One conversion: "%-08x".
struct Spec {
    bool left;
    char fill;
    size_t width;
    char kind;
};

static void sink_put(struct Sink *sink, char character)
{
    if (sink->used < sink->room)
        sink->out[sink->used++] = character;
}

static void sink_put_padded(struct Sink *sink, const struct Spec *spec, const char *text,
                            size_t length)
{
    size_t padding = spec->width > length ? spec->width - length : 0;
    for (size_t i = 0; !spec->left && i < padding; i++)
        sink_put(sink, spec->fill);
    for (size_t i = 0; i < length; i++)
        sink_put(sink, text[i]);
    for (size_t i = 0; spec->left && i < padding; i++)
        sink_put(sink, ' ');
}

static void sink_put_number(struct Sink *sink, const struct Spec *spec, uint32_t value)
{
    bool negative = spec->kind == 'd' && (int32_t)value < 0;
    uint32_t base = spec->kind == 'x' ? 16 : 10;
    char digits[12];
    size_t first = sizeof digits;

    if (negative)
        value = -value;
    do {
        digits[--first] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    if (negative)
        digits[--first] = '-';
    sink_put_padded(sink, spec, digits + first, sizeof digits - first);
}

// Reads what follows '%' and gives the character after it.
static const char *spec_read(struct Spec *spec, const char *format)
{
    *spec = (struct Spec){ .fill = ' ' };
    for (; *format == '-' || *format == '0'; format++) {
        if (*format == '-')
            spec->left = true;
        else
            spec->fill = '0';
    }
    for (; *format >= '0' && *format <= '9'; format++)
        spec->width = spec->width * 10 + (size_t)(*format - '0');
    spec->kind = *format;
    return *format ? format + 1 : format;
}

size_t text_format(char *out, size_t size, const char *format, va_list arguments)
{
    struct Sink sink = { out, 0, size - 1 };
    while (*format) {
        struct Spec spec;
        if (*format != '%') {
            sink_put(&sink, *format++);
            continue;
        }
        format = spec_read(&spec, format + 1);
        if (spec.kind == 's') {
            const char *text = va_arg(arguments, const char *);
            sink_put_padded(&sink, &spec, text, text_length(text));
        } else if (spec.kind == 'c') {
            char character = (char)va_arg(arguments, int);
            sink_put_padded(&sink, &spec, &character, 1);
        } else if (spec.kind == '%') {
            sink_put(&sink, '%');
        } else {
            sink_put_number(&sink, &spec, va_arg(arguments, uint32_t));
        }
    }
    out[sink.used] = 0;
    return sink.used;
}

size_t text_length(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

bool text_equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

void text_copy(char *out, size_t size, const char *text)
{
    size_t i = 0;
    for (; i + 1 < size && text[i]; i++)
        out[i] = text[i];
    out[i] = 0;
}

uint32_t text_read_octal(const char *text, size_t size)
{
    uint32_t value = 0;
    for (size_t i = 0; i < size && text[i] >= '0' && text[i] <= '7'; i++)
        value = value * 8 + (uint32_t)(text[i] - '0');
    return value;
}

void *memcpy(void *to, const void *from, size_t bytes)
{
    void *target = to;
    size_t longs = bytes / 4;
    __asm__ volatile("rep movsl" : "+D"(target), "+S"(from), "+c"(longs) : : "memory");
    longs = bytes % 4;
    __asm__ volatile("rep movsb" : "+D"(target), "+S"(from), "+c"(longs) : : "memory");
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    void *target = to;
    size_t longs = bytes / 4;
    uint32_t pattern = (uint8_t)value * 0x01010101u;
    __asm__ volatile("rep stosl" : "+D"(target), "+c"(longs) : "a"(pattern) : "memory");
    longs = bytes % 4;
    __asm__ volatile("rep stosb" : "+D"(target), "+c"(longs) : "a"(pattern) : "memory");
    return to;
}
