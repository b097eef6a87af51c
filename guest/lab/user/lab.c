// SPDX-License-Identifier: MIT
// The small library of every program.
#include "lab.h"

enum { PRINT_BYTES = 256 };     // longest lab_print

void lab_print(const char *format, ...)
{
    char line[PRINT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    size_t length = text_format(line, sizeof line, format, arguments);
    va_end(arguments);
    lab_write(line, length);
}

static uint32_t digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return (uint32_t)(digit - '0');
    if (digit >= 'a' && digit <= 'f')
        return (uint32_t)(digit - 'a' + 10);
    return digit >= 'A' && digit <= 'F' ? (uint32_t)(digit - 'A' + 10) : 16;
}

bool lab_read_number(const char *text, uint32_t *number)
{
    uint32_t base = 10;
    if (text[0] == '0' && text[1] == 'x') {
        base = 16;
        text += 2;
    }
    *number = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        uint32_t digit = digit_value(*text);
        if (digit >= base)
            return false;
        *number = *number * base + digit;
    }
    return true;
}

void lab_argument(char *out, size_t size)
{
    char line[LAB_COMMAND_BYTES];
    const char *argument = line;

    lab_call(LAB_CALL_COMMAND, (uint32_t)line, sizeof line, 0);
    while (*argument && *argument != ' ')
        argument++;
    while (*argument == ' ')
        argument++;
    text_copy(out, size, argument);
}
