// SPDX-License-Identifier: MIT
// Modular powers of 1024-bit numbers by Montgomery multiplication.

#include "program.h"

enum { LIMBS = 32 };
typedef struct {
    uint32_t limb[LIMBS];
} Big;

static int big_less(const Big *a, const Big *b)
{
    for (int i = LIMBS - 1; i >= 0; i--)
        if (a->limb[i] != b->limb[i])
            return a->limb[i] < b->limb[i];
    return 0;
}

static void big_subtract(Big *a, const Big *b)
{
    uint32_t borrow = 0;
    for (int i = 0; i < LIMBS; i++) {
        uint64_t d = (uint64_t)a->limb[i] - b->limb[i] - borrow;
        a->limb[i] = (uint32_t)d;
        borrow = (uint32_t)(d >> 32) & 1;
    }
}

// to[0..LIMBS] += a * by; returns the carry out.
static NOINLINE uint32_t big_add_product(uint32_t *to, const Big *a, uint32_t by)
{
    uint32_t carry = 0;
    for (int i = 0; i < LIMBS; i++) {
        uint64_t t = (uint64_t)a->limb[i] * by + to[i] + carry;
        to[i] = (uint32_t)t;
        carry = (uint32_t)(t >> 32);
    }
    return carry;
}

// -1 / odd modulo 2^32, by Newton's iteration.
static uint32_t word_inverse(uint32_t odd)
{
    uint32_t x = odd;
    for (int i = 0; i < 5; i++)
        x *= 2 - odd * x;
    return 0 - x;
}

// *product = a * b / 2^1024 modulo `modulus`; it may be a or b.
static NOINLINE void big_multiply(Big *product, const Big *a, const Big *b, const Big *modulus,
                                  uint32_t inverse)
{
    uint32_t t[2 * LIMBS + 1] = {0};
    for (int i = 0; i < LIMBS; i++) {
        uint32_t carry[2] = {big_add_product(t + i, a, b->limb[i]), 0};
        carry[1] = big_add_product(t + i, modulus, t[i] * inverse);
        for (int c = 0; c < 2; c++) {
            uint64_t sum = (uint64_t)t[i + LIMBS] + carry[c];
            t[i + LIMBS] = (uint32_t)sum;
            t[i + LIMBS + 1] += (uint32_t)(sum >> 32);
        }
    }
    memcpy(product, t + LIMBS, sizeof *product);
    if (t[2 * LIMBS] || !big_less(product, modulus))
        big_subtract(product, modulus);
}

uint32_t bench_bignum(uint32_t iterations)
{
    uint32_t seed = 8, sum = 0;
    Big modulus, base, power;
    for (int i = 0; i < LIMBS; i++) {
        modulus.limb[i] = rand_next(&seed) | (i == 0) | (i == LIMBS - 1 ? 1u << 31 : 0);
        base.limb[i] = rand_next(&seed) >> (i == LIMBS - 1);
    }
    uint32_t inverse = word_inverse(modulus.limb[0]);
    for (uint32_t round = 0; round < iterations; round++) {
        power = base;
        for (uint32_t bit = 0; bit < 1024; bit++) {
            big_multiply(&power, &power, &power, &modulus, inverse);
            if (base.limb[bit / 32] >> (bit % 32) & 1)
                big_multiply(&power, &power, &base, &modulus, inverse);
        }
        base = power;
        for (int i = 0; i < LIMBS; i++)
            sum = sum_add(sum, power.limb[i]);
    }
    return sum;
}
