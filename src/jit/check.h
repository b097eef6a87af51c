// SPDX-License-Identifier: MIT
// -check: generated code in lockstep with ir/eval, block by block. See check.c.
#ifndef JIT_CHECK_H
#define JIT_CHECK_H

#include "jit/jit_int.h"

Check *check_new(Jit *jit, u32 every);         // of `every` block executions one is compared
void check_free(Check *c);                     // prints the totals under -d check
void check_print(const Check *c, FILE *out);   // the totals, for `info jit`

// Around one run of a block that leaves to the run loop. begin: the CPU state is exact and b comes next.
// end: it is exact again, nothing else has happened since. False: a difference was found and told.
void check_begin(Check *c, Block *b);
bool check_end(Check *c, JitExit exit);

// In place of a helper: called by generated code.
u64 check_helper(Cpu *cpu, u32 a, u32 b, u32 c, u32 helper);
// A slow load has given `data` (kind X64_SLOW_LOAD or RMW). A slow store is about to commit it; true: it is
// the one that eval waits for, and check_stored() has to be called after it.
void check_loaded(Cpu *cpu, unsigned seg, u32 offset, u32 bytes, bool rmw, const u8 *data);
bool check_stores(Cpu *cpu, unsigned seg, u32 offset, u32 bytes, const u8 *data);
void check_stored(Cpu *cpu);

#endif
