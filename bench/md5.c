// SPDX-License-Identifier: MIT
// A digest built as MD5 is: 64 steps a block, four round functions, rotations. Its constants are
// this program's own, so the digests are not MD5's.

#include "program.h"

enum { DIGEST_BLOCKS = 256 };
static uint32_t message[DIGEST_BLOCKS][16], constants[64];

static inline uint32_t rotate(uint32_t x, uint32_t by)
{
    return x << by | x >> (32 - by);
}

#define STEP(mix, a, b, c, d, index, turn) \
    a = b + rotate(a + (mix) + constants[i] + block[(index) & 15], turn); \
    i++

#define ROUND(f, step, first, t0, t1, t2, t3) \
    for (uint32_t k = first, quad = 0; quad < 4; quad++, k += 4 * (step)) { \
        STEP(f(b, c, d), a, b, c, d, k, t0); \
        STEP(f(a, b, c), d, a, b, c, k + (step), t1); \
        STEP(f(d, a, b), c, d, a, b, k + 2 * (step), t2); \
        STEP(f(c, d, a), b, c, d, a, k + 3 * (step), t3); \
    }

#define F(x, y, z) (((x) & (y)) | (~(x) & (z)))
#define G(x, y, z) (((x) & (z)) | ((y) & ~(z)))
#define H(x, y, z) ((x) ^ (y) ^ (z))
#define I(x, y, z) ((y) ^ ((x) | ~(z)))

static NOINLINE void digest_block(uint32_t *state, const uint32_t *block)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], i = 0;
    ROUND(F, 1, 0, 7, 12, 17, 22)
    ROUND(G, 5, 1, 5, 9, 14, 20)
    ROUND(H, 3, 5, 4, 11, 16, 23)
    ROUND(I, 7, 0, 6, 10, 15, 21)
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}
#undef F
#undef G
#undef H
#undef I
#undef ROUND
#undef STEP

uint32_t bench_md5(uint32_t iterations)
{
    uint32_t state[4] = {1, 2, 3, 4}, seed = 6;
    for (int i = 0; i < 64; i++)
        constants[i] = rand_next(&seed) ^ rand_next(&seed) >> 16;
    for (int k = 0; k < DIGEST_BLOCKS; k++)
        for (int i = 0; i < 16; i++)
            message[k][i] = rand_next(&seed);
    for (uint32_t round = 0; round < iterations; round++)
        for (int k = 0; k < DIGEST_BLOCKS; k++)
            digest_block(state, message[k]);
    return state[0] ^ rotate(state[1], 8) ^ rotate(state[2], 16) ^ rotate(state[3], 24);
}
