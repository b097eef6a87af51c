// SPDX-License-Identifier: MIT
// Sieve of Eratosthenes over the odd numbers below 40,000, a byte each: fits a first-level cache.

#include "program.h"

enum { SIEVE_SIZE = 20000 };
static uint8_t composite[SIEVE_SIZE];

uint32_t bench_sieve(uint32_t iterations)
{
    uint32_t sum = 0;
    for (uint32_t round = 0; round < iterations; round++) {
        uint32_t count = 1;
        for (uint32_t i = 0; i < SIEVE_SIZE; i++)
            composite[i] = 0;
        for (uint32_t i = 1; i < SIEVE_SIZE; i++) {
            if (composite[i])
                continue;
            count++;
            for (uint32_t k = i + 2 * i + 1; k < SIEVE_SIZE; k += 2 * i + 1)
                composite[k] = 1;
        }
        sum = sum_add(sum, count + round);
    }
    return sum;
}
