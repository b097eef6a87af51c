// SPDX-License-Identifier: MIT
// Fibonacci numbers by double recursion.

#include "program.h"

static NOINLINE uint32_t fib(uint32_t n)
{
    if (n < 2)
        return n;
    uint32_t one_less = fib(n - 1);
    __asm__("" : "+r"(one_less)); // or gcc would make a loop of the second call
    return one_less + fib(n - 2);
}

uint32_t bench_fib(uint32_t iterations)
{
    uint32_t sum = 0;
    for (uint32_t round = 0; round < iterations; round++)
        sum = sum_add(sum, fib(27 - (round & 1)));
    return sum;
}
