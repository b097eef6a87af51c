// SPDX-License-Identifier: MIT
// Floating point, the text of two programs: floats.h is compiled for the x87 (x87.c) and for SSE2 (sse2.c).
// Product of two matrices of doubles, then a Mandelbrot set. The checksums of the two differ (the x87
// computes with 64 bits), those of one program do not, wherever it runs.

#include "program.h"

enum { FLOATS_SIDE = 48, FLOATS_ROWS = 24, FLOATS_COLUMNS = 32, FLOATS_LIMIT = 64 };
static double fa[FLOATS_SIDE][FLOATS_SIDE], fb[FLOATS_SIDE][FLOATS_SIDE], fc[FLOATS_SIDE][FLOATS_SIDE];

static NOINLINE void floats_multiply(void)
{
    for (int i = 0; i < FLOATS_SIDE; i++)
        for (int j = 0; j < FLOATS_SIDE; j++) {
            double dot = 0;
            for (int k = 0; k < FLOATS_SIDE; k++)
                dot += fa[i][k] * fb[k][j];
            fc[i][j] = dot;
        }
}

static NOINLINE uint32_t floats_mandelbrot(double left, double top, double step)
{
    uint32_t sum = 0;
    for (int row = 0; row < FLOATS_ROWS; row++)
        for (int column = 0; column < FLOATS_COLUMNS; column++) {
            double cx = left + column * step, cy = top + row * step, x = 0, y = 0;
            int n = 0;
            while (n < FLOATS_LIMIT && x * x + y * y < 4) {
                double next = x * x - y * y + cx;
                y = 2 * x * y + cy;
                x = next;
                n++;
            }
            sum = sum_add(sum, (uint32_t)n);
        }
    return sum;
}

static uint32_t floats_bits(double value)
{
    uint32_t word[2];
    memcpy(word, &value, sizeof word);
    return word[0] ^ word[1];
}

static uint32_t floats_run(uint32_t iterations)
{
    uint32_t sum = 0, seed = 5;
    for (int i = 0; i < FLOATS_SIDE; i++)
        for (int j = 0; j < FLOATS_SIDE; j++) {
            fa[i][j] = (int32_t)(rand_next(&seed) >> 8) / 16777216.0 - 0.5;
            fb[i][j] = (int32_t)(rand_next(&seed) >> 8) / 16777216.0 - 0.5;
        }
    for (uint32_t round = 0; round < iterations; round++) {
        int at = (int)(round % FLOATS_SIDE);
        floats_multiply();
        fa[at][at] = fc[at][FLOATS_SIDE - 1 - at] * 0.25;
        sum = sum_add(sum, floats_bits(fc[at][at]));
        sum = sum_add(sum, floats_mandelbrot(-2 + at * 0.01, -1.2, 0.1));
    }
    return sum;
}
