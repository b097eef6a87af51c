// SPDX-License-Identifier: MIT
// What gen.c (instructions, programs) and gen_operand.c (what they work on) need of each other.
#ifndef TESTS_SILICON_GEN_INT_H
#define TESTS_SILICON_GEN_INT_H

#include "gen.h"
#include "values.h"

enum { BYTES = 40 };                   // an instruction with room to spare
typedef enum GenWish { GEN_ANYWHERE, GEN_PRESENT, GEN_MISSING } GenWish;      // where operands shall lie

static inline u32 gen_u32(Case *c) { return random_u32(&c->random); }
static inline u32 gen_below(Case *c, u32 n) { return random_below(&c->random, n); }
static inline bool gen_one_in(Case *c, u32 n) { return random_one_in(&c->random, n); }
static inline u32 gen_int(Case *c) { return random_int(&c->random); }

u32 gen_here(Case *c);                 // linear address of the next instruction
u32 gen_stack(Case *c);                // linear address of the stack's top
bool gen_is_code32(Case *c);
void gen_poke(Case *c, u32 linear, const void *bytes, u32 count);      // data at the start
void gen_set_reg(Case *c, unsigned reg, u32 value);                    // pins it

// The state at the start.
void gen_arrange(Case *c);
// Instructions that are not to be drawn at all.
bool gen_is_left_out(const Insn *in);
// Sets registers that the instruction implies. False: not wanted.
bool gen_prepare(Case *c, const Insn *in);
// Rewrites ModRM, SIB and displacement so that the memory operand lies where it shall. False: not possible.
bool gen_place(Case *c, u8 *bytes, unsigned modrm_at, const Insn *in, GenWish wish);
void gen_fix_immediate(Case *c, u8 *bytes, const Insn *in);
// Fills memory operands, the stack, jump targets. Gives the number of bytes behind the instruction that a jump
// goes over: put there.
u32 gen_fill(Case *c, u8 *bytes, const Insn *in);
u32 gen_memory_at(Case *c, const Insn *in);        // linear address of the memory operand

// ---- corners (corner.c) -------------------------------------------------------------------------
void gen_corner_start(Case *c);                    // draws whether this case is led to one, and x87 and SSE registers
void gen_corner_registers(Case *c, const Insn *in);
void gen_corner_immediate(Case *c, u8 *last, const Insn *in);          // last: its last byte
void gen_corner_memory(Case *c, const Insn *in, u8 *to, u32 count);
void gen_corner_note(Case *c, const Insn *in, u32 linear);             // before it runs

#endif
