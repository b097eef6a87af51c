// SPDX-License-Identifier: MIT
// Guest semantics: one decoded instruction -> IR operations at the end of a block.
//
//     IrBlock *b = ir_block_new(arena, lift_helpers(), eip, mode, mode & MODE_CODE32);
//     do {
//         ... isa_decode(bytes at eip) -> in, or lift_undefined() and stop ...
//         ended = lift_insn(b, &in, eip);
//         eip += in.length;
//     } while (!ended && more);
//     if (!ended) lift_end(b);
//
// The mode word b->mode (MODE_* of cpu/cpu.h) is the only thing besides the bytes that the result
// depends on. Single stepping, breakpoints, fetch faults and the CS limit are the caller's: the
// lifter does not know where in a page an instruction lies.
//
// What an instruction means is written in one place: the function named by the lifter column of
// isa/i386.def, in lift_<family>.c. How to add one: see lift_int.h.
#ifndef LIFT_LIFT_H
#define LIFT_LIFT_H

#include "ir/ir.h"
#include "isa/isa.h"

// Appends one guest instruction at `eip`. True: the block is complete, its last op leaves it.
bool lift_insn(IrBlock *b, const Insn *in, u32 eip);

// Bytes that are no instruction: #UD for ISA_UNDEFINED, #GP(0) for ISA_TOO_LONG. Completes the
// block.
void lift_undefined(IrBlock *b, const Insn *in, u32 eip, IsaStatus status);

// Completes a block that stops after any instruction: jumps to the next one.
void lift_end(IrBlock *b);

// cpu/helpers.def as the IR's table of callable functions; indices are HelperId.
const IrHelpers *lift_helpers(void);

// Names of CPU state fields in printed IR ("eflags", "ds.selector"): NULL and ~0u when unknown.
const char *lift_env_name(u32 offset);
u32 lift_env_offset(const char *name);

#endif
