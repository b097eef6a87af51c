// SPDX-License-Identifier: MIT
// The memory functions that gcc calls in freestanding code too. Built with
// -fno-tree-loop-distribute-patterns, or gcc would turn the loops into calls of themselves.

#include "program.h"

void *memcpy(void *to, const void *from, size_t bytes)
{
    void *result = to;
    __asm__ volatile("shrl $2, %%ecx\n\trep movsl\n\tmovl %3, %%ecx\n\trep movsb"
                     : "+D"(to), "+S"(from), "+&c"(bytes)
                     : "r"(bytes & 3)
                     : "memory", "cc");
    return result;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    if (d <= s || d >= s + bytes)
        return memcpy(to, from, bytes);
    while (bytes--)
        d[bytes] = s[bytes];
    return to;
}

void *memset(void *to, int byte, size_t bytes)
{
    void *result = to;
    size_t words = bytes >> 2;
    __asm__ volatile("rep stosl\n\tmovl %3, %%ecx\n\trep stosb"
                     : "+D"(to), "+c"(words)
                     : "a"((uint32_t)(uint8_t)byte * 0x01010101u), "r"(bytes & 3)
                     : "memory", "cc");
    return result;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < bytes; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}
