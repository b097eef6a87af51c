// SPDX-License-Identifier: MIT
// Product of two matrices of 64 x 64 integers.

#include "program.h"

enum { MAT_SIDE = 64 };
static int32_t a[MAT_SIDE][MAT_SIDE], b[MAT_SIDE][MAT_SIDE], c[MAT_SIDE][MAT_SIDE];

static NOINLINE void mat_multiply(void)
{
    for (int i = 0; i < MAT_SIDE; i++)
        for (int j = 0; j < MAT_SIDE; j++) {
            int32_t dot = 0;
            for (int k = 0; k < MAT_SIDE; k++)
                dot += a[i][k] * b[k][j];
            c[i][j] = dot;
        }
}

uint32_t bench_matmul(uint32_t iterations)
{
    uint32_t sum = 0, seed = 3;
    for (int i = 0; i < MAT_SIDE; i++)
        for (int j = 0; j < MAT_SIDE; j++) {
            a[i][j] = (int32_t)(rand_next(&seed) >> 24);
            b[i][j] = (int32_t)(rand_next(&seed) >> 24);
        }
    for (uint32_t round = 0; round < iterations; round++) {
        mat_multiply();
        int at = (int)(round % MAT_SIDE);
        a[at][at] = c[at][MAT_SIDE - 1 - at] & 255;
        sum = sum_add(sum, (uint32_t)c[at][at]);
    }
    return sum;
}
