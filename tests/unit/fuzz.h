// SPDX-License-Identifier: MIT
// Random parts of tests take their size and start from outside: `make fuzz SEED=7 N=100000`, or
// SEED=7 N=1 before a program. Without these each test does always the same.
#ifndef TESTS_UNIT_FUZZ_H
#define TESTS_UNIT_FUZZ_H

#include "base/base.h"

#include <stdlib.h>

static inline u64 fuzz_number(const char *name, u64 otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

// Number of the first case, and how many there are.
static inline u64 fuzz_first(void) { return fuzz_number("SEED", 1); }
static inline u64 fuzz_count(u64 usual) { return fuzz_number("N", usual); }
// For generators with a state: `usual` without SEED, else a state far from that of other seeds.
static inline u64 fuzz_state(u64 usual) {
    u64 seed = fuzz_number("SEED", 0);
    return seed ? usual ^ seed * 0x9e3779b97f4a7c15u : usual;
}

#endif
