// SPDX-License-Identifier: MIT
// A fuzz target: bytes become operations on something of the emulator's, which must neither crash nor
// hang nor trip an assert whatever the bytes are. driver.c runs it: on the corpus (`make test
// T=fuzz/NAME`), on cases of its own making (`make fuzz T=fuzz/NAME SEED=1 N=100000`).
//
//     static void board_run(FuzzIn *in) { while (fuzz_more(in)) ... fuzz_u8(in) ... }
//     const FuzzTarget fuzz_target = { "board", 4096, board_run, NULL };
//
// Rules
//  1. A case depends on its bytes alone: no clock, no address, no state of the case before.
//  2. Behind the end of the input everything reads as zero, so a shorter input is a simpler case.
//  3. fuzz_say() tells what the bytes mean; it prints only under V=1, which is how a case is read.
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/base.h"

typedef struct FuzzIn { const u8 *at, *end; } FuzzIn;

typedef struct FuzzRandom { u64 state; } FuzzRandom;

typedef struct FuzzTarget {
    const char *name;
    size_t max_bytes;                          // of an input
    void (*run)(FuzzIn *in);
    // A fresh input of at most `room` bytes; NULL: random bytes.
    size_t (*make)(FuzzRandom *r, u8 *to, size_t room);
} FuzzTarget;

extern const FuzzTarget fuzz_target;           // one in each program

static inline bool fuzz_more(const FuzzIn *in) { return in->at < in->end; }
static inline size_t fuzz_left(const FuzzIn *in) { return (size_t)(in->end - in->at); }
static inline u8 fuzz_u8(FuzzIn *in) { return fuzz_more(in) ? *in->at++ : 0; }
static inline u16 fuzz_u16(FuzzIn *in) {
    u16 low = fuzz_u8(in);
    return (u16)(low | fuzz_u8(in) << 8);
}
static inline u32 fuzz_u32(FuzzIn *in) {
    u32 low = fuzz_u16(in);
    return low | (u32)fuzz_u16(in) << 16;
}
static inline u32 fuzz_pick(FuzzIn *in, u32 n) { return fuzz_u8(in) % n; }      // n at most 256

u32 fuzz_random(FuzzRandom *r);
static inline u32 fuzz_random_below(FuzzRandom *r, u32 n) { return fuzz_random(r) % n; }

bool fuzz_is_telling(void);
void fuzz_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
