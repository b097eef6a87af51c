// SPDX-License-Identifier: MIT
// Floating point on the x87.

#include "floats.h"

uint32_t bench_x87(uint32_t iterations)
{
    return floats_run(iterations);
}
