// SPDX-License-Identifier: MIT
// What a benchmark program may use: no libc, no I/O; floating point in x87.c and sse2.c only. A program
// is one function, uint32_t bench_NAME(uint32_t iterations), that returns a checksum of everything it computed. The
// same object file is linked into the native process (native.c) and the bare-metal guest (guest.c).
#ifndef BENCH_PROGRAM_H
#define BENCH_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#define NOINLINE __attribute__((noinline, noclone))

void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

// The next number of a 32-bit linear congruential generator; the high bits are the good ones.
static inline uint32_t rand_next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state;
}

// Folds a value into a checksum.
static inline uint32_t sum_add(uint32_t sum, uint32_t value)
{
    return ((sum << 5) | (sum >> 27)) ^ (value * 0x9e3779b1u);
}

#ifndef PROGRAMS
#define PROGRAMS "programs.def"
#endif
#define PROGRAM(name, iterations, what) uint32_t bench_##name(uint32_t iterations_wanted);
#include PROGRAMS
#undef PROGRAM

#endif
