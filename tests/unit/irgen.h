// SPDX-License-Identifier: MIT
// Random IR blocks for tests: valid by ir_verify(), the same for the same seed.
//
//     IrGen g = irgen_default(seed);
//     g.window = 0x20000; g.window_bytes = 256;
//     IrBlock *b = irgen_block(arena, &g);
//
// Memory accesses touch [window, window + window_bytes) only (offsets in their segment), unaligned
// ones included. The block sets the registers it addresses with itself, so any start state will do.
// With fpu, the caller initialises the FPU (FNINIT: all exceptions masked) before each run.
#ifndef TESTS_UNIT_IRGEN_H
#define TESTS_UNIT_IRGEN_H

#include "ir/ir.h"

typedef struct IrGen {
    u64 seed;
    unsigned insns;              // guest instructions
    u32 eip;
    u32 mode;                    // mode word, as is
    u32 window, window_bytes;    // see above; at least 32 bytes
    u8 seg_class[6];             // class of each segment's accesses
    u32 env_offset, env_bytes;   // CPU state that LDENV and STENV may use; 0 bytes: none
    bool fpu;                    // x87 ops
    bool exits;                  // conditional exits
    bool faults;                 // divisions that may raise #DE, RAISE as an end
    bool polls;                  // COUNT and POLL
    // Flags that the host leaves as they were although the op's row defines them (multiplications,
    // divisions) are set anew before anybody sees them: eval and generated code then agree on all
    // flags.
    bool same_flags;
    // Arithmetic without flags in all sizes and codes, not only what lifters may use (lift rule 4).
    bool wild;
    bool wrap16;                 // 16-bit addresses just below 64K instead of the window
    const IrHelpers *helpers;    // helpers that blocks may call: these of the table
    const u16 *calls;
    unsigned call_count;
} IrGen;

// 12 instructions, flat segments, window 0x20000..0x200ff, all but env, wild
IrGen irgen_default(u64 seed);
IrBlock *irgen_block(Arena *arena, const IrGen *g);

// The random numbers behind it (splitmix64), for tests that need some of their own.
u64 irgen_random(u64 *state);

#endif
