// SPDX-License-Identifier: MIT
// Formatting, strings and memory for the kernel and its programs; compiled into both.
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Writes format into out, at most size bytes with the terminating zero; gives the length written.
// Conversions: %c %s %d %u %x %%, with '-' (left), '0' (zero fill) and a width. All are 32 bits.
size_t text_format(char *out, size_t size, const char *format, va_list arguments);

size_t text_length(const char *text);
bool text_equal(const char *a, const char *b);

// Copies text into out, cut to size - 1 characters.
void text_copy(char *out, size_t size, const char *text);

// Reads octal digits up to the first other character, at most size of them.
uint32_t text_read_octal(const char *text, size_t size);

void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
