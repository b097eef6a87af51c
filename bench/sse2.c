// SPDX-License-Identifier: MIT
// Floating point with SSE2.

#include "floats.h"

uint32_t bench_sse2(uint32_t iterations)
{
    return floats_run(iterations);
}
