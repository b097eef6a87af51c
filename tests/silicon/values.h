// SPDX-License-Identifier: MIT
// Random values with a liking for corners.
#ifndef TESTS_SILICON_VALUES_H
#define TESTS_SILICON_VALUES_H

#include "state.h"

u32 random_u32(u64 *random);
static inline u32 random_below(u64 *random, u32 n) { return random_u32(random) % n; }
static inline bool random_one_in(u64 *random, u32 n) { return random_below(random, n) == 0; }

u32 random_int(u64 *random);                       // 0, 1, -1, INT_MIN, 0x80, small numbers, any bits
u32 random_float(u64 *random);
u64 random_double(u64 *random);
void random_extended(u64 *random, u8 *to);         // 10 bytes: also unnormals, pseudo-infinities ..
void random_bcd(u64 *random, u8 *to);              // 10 bytes
void random_fx(u64 *random, FxImage *fx);          // x87 and SSE state that FXRSTOR takes
u16 random_control_word(u64 *random);
u32 random_mxcsr(u64 *random);

#endif
