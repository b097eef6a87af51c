// SPDX-License-Identifier: MIT
// Private to room x64: the emitter's state, shared by its files.
//   emit.c   the walk over the block: one case per IR op, fusion, exits
//   access.c guest memory: the table test and its cold paths
//   state.c  where things are: temporaries, and the guest's flags
//   ask.c    the row of questions
#ifndef X64_EMIT_INT_H
#define X64_EMIT_INT_H

#include "x64/x64.h"

// Where a temporary is.
enum { TEMP_NOWHERE, TEMP_REG, TEMP_SPILL, TEMP_LAZY };
typedef struct TempState {
    u8 kind;
    u8 index;              // host register or spill slot
    u32 last;              // index of the op that uses it last
    u32 def;               // TEMP_LAZY: the EA op that computes it
} TempState;

// Where the guest's flags are. At least one of env, recipe, host covers all bits that are still wanted.
typedef struct FlagsState {
    u16 host;              // bits valid in host EFLAGS
    bool env;              // the CPU state's recipe is current
    bool recipe;           // the recipe below is current (places hold)
    bool wants_carry;      // recipe INC/DEC whose CF (place C) is still in host EFLAGS only
    bool product;          // recipe or state is that of before a multiplication, which has set CF = OF
    bool wants_product;    //   and they are still in host EFLAGS only
    union {
        struct { u8 op, a, b, c; u32 imm; };       // FLAGS_OP, X64_AT_*
        X64Recipe at;                              // the same
    };
} FlagsState;

// A jump to a question; late: where it is to lead, if its late part is wanted.
typedef struct Ask { u8 *jump; u32 question; const u8 *late; } Ask;

typedef struct Emit {
    const IrBlock *ir;
    const X64Target *t;
    X64Code *out;
    Buf hot, cold, *b;     // b: where the op at hand goes
    Buf late;              // start is NULL when no late part is wanted
    u32 late_question;     // whose is, or X64_ALL_LATE
    const u8 *late_from;   // where that of the newest question begins; NULL: it is not wanted
    ptrdiff_t moved;       // where the hot part will be, from where it is emitted
    Ask *asks;             // jumps to questions
    u32 ask_count, ask_capacity, questions;
    bool joins;            // as X64Entry has it
    u32 i;                 // index of the op at hand
    u32 skip;              // ops after it that it has swallowed
    TempState *temp;
    u32 reg_free;          // mask of R10, R11
    u32 spill_free;        // mask of spill slots
    u32 lazy_count;        // temporaries that are TEMP_LAZY
    u8 lazy_regs;          // guest registers that one of them may be made of
    u8 group_reg[IR_MAX_GROUPS];             // host register with the group's address; R13: it is a constant, here:
    u32 group_at[IR_MAX_GROUPS];
    u8 base_of;            // r10, which is free, holds the base of this segment; 0xff: of none
    FlagsState f;
    u32 insn;              // guest instructions completed before the one at hand
    i32 charged;           // instructions charged so far
    bool late_copy;        // the access at hand has a late part with a copy of its instruction
    u8 form;               // of memory accesses: X64_ADDED, ...
    bool linear;           // it is another: they go by r13
    u8 fpu_told;           // what fpu_used is known to say: see op_fpu_used()
    u32 edge_capacity, restore_capacity;
} Emit;

// An operand ready for encoding: register or memory (rm), or an immediate. In eight bytes: they travel in a register.
typedef union Opd {
    Rm rm;
    struct { u32 : 15, is_imm : 1, : 16; u32 imm; };
} Opd;
_Static_assert(sizeof(Opd) == 8 && offsetof(Rm, mem) == 1, "is_imm is the highest bit of rm.mem");

static inline bool opd_is_reg(Opd o) { return !o.rm.mem; }
static inline bool opd_is_mem(Opd o) { return o.rm.mem & RM_MEM; }
static inline unsigned size_flags(unsigned size) {
    return size == 1 ? ENC_BYTE : size == 2 ? ENC_66 : 0;
}
static inline unsigned size_log2(unsigned bytes) {
    return bytes <= 1 ? 0 : bytes <= 2 ? 1 : bytes <= 4 ? 2 : 3;
}
static inline Rm rm_state(i32 offset) { return rm_mem(R14, offset); }

// ---- state.c ----------------------------------------------------------------------------------------
// Of a guest register operand.
static inline unsigned st_host_reg(IrRef r) {
    static const u8 map[16] = { RAX, RCX, RDX, RBX, R15, RBP, RSI, RDI,
                                ENC_HIGH | 4, ENC_HIGH | 5, ENC_HIGH | 6, ENC_HIGH | 7 };
    return map[ir_reg(r) | (r & IR_HIGH) >> 5];
}
Opd st_read_temp(Emit *e, IrRef r);
static inline Opd st_read(Emit *e, IrRef r) {            // operand
    if (ir_kind(r) == IR_KIND_REG) return (Opd){ .rm = rm_reg(st_host_reg(r)) };
    if (ir_is_const(r)) return (Opd){ .is_imm = true, .imm = ir_value(e->ir, r) };
    return st_read_temp(e, r);
}
Opd st_read_reg(Emit *e, unsigned size, IrRef r, unsigned scratch);  // the same, forced into a register
void st_settle(Emit *e, IrRef r);                        // computes r now if it is a lazy address
unsigned st_define_temp(Emit *e, IrRef d);
static inline unsigned st_define(Emit *e, IrRef d) {     // register to compute d in
    return ir_kind(d) == IR_KIND_REG ? st_host_reg(d) : st_define_temp(e, d);
}
void st_defined_temp(Emit *e, IrRef d, unsigned reg);
static inline void st_defined(Emit *e, IrRef d, unsigned reg) {      // after it: stores a spilled temporary
    if (ir_kind(d) == IR_KIND_TEMP) st_defined_temp(e, d, reg);
}
void st_claim(Emit *e, unsigned reg);                    // takes r10 or r11 away from temporaries
enum { ST_NO_BASE = 0xff };                              // of Emit.base_of
void st_spill_live(Emit *e);                             // before a helper call: r10, r11 are lost

// d is what the EA at hand computes from guest registers, where it is used.
static inline void st_postpone(Emit *e, const IrOp *ea) {
    TempState *t = &e->temp[ir_index(ea->d)];
    e->lazy_count += t->kind != TEMP_LAZY;
    if (ea->a != IR_NONE) e->lazy_regs |= BIT(ir_reg(ea->a));
    if (ea->b != IR_NONE) e->lazy_regs |= BIT(ir_reg(ea->b));
    t->kind = TEMP_LAZY;
    t->def = e->i;
}
static inline void st_no_longer_lazy(Emit *e) {
    if (!--e->lazy_count) e->lazy_regs = 0;
}
// After its last use.
static inline void st_free(Emit *e, TempState *t) {
    if (t->kind == TEMP_LAZY) st_no_longer_lazy(e);
    else if (t->kind == TEMP_REG) e->reg_free |= BIT(t->index);
    else if (t->kind == TEMP_SPILL) e->spill_free |= BIT(t->index);
    t->kind = TEMP_NOWHERE;
}

// Old flag bits that must survive the op at hand (wanted after it and not defined by it).
static inline u16 fl_survivors(const IrOp *op) {
    u16 sets = !op->fdef ? 0 : op->code == IR_CALL ? op->fdef : ir_info[op->code].flags & 0xffff;
    return (op->flive | op->fobs) & ~sets;
}

// Before guest register r (hardware order) changes: rescue lazy addresses and recipe places.
void st_rescue_lazy(Emit *e, unsigned r);
void st_rescue_flags(Emit *e, unsigned r, bool flags_wanted);      // r is a place
static inline bool st_is_place(const Emit *e, unsigned r) {
    return e->f.recipe && (e->f.a == r || e->f.b == r || e->f.c == r);
}
static inline void st_before_change(Emit *e, unsigned r, bool flags_wanted) {
    if (e->lazy_regs & BIT(r)) st_rescue_lazy(e, r);
    if (st_is_place(e, r)) st_rescue_flags(e, r, flags_wanted);
}
static inline void st_before_write(Emit *e, const IrOp *op, unsigned r) {
    if (e->lazy_regs & BIT(r) || st_is_place(e, r)) st_before_change(e, r, fl_survivors(op));
}
// The part of it that makes code, for a load into r whose check is still to come and may see the recipe.
static inline void st_before_load(Emit *e, const IrOp *op, unsigned r) {
    if (e->lazy_regs & BIT(r)) st_rescue_lazy(e, r);
    if (st_is_place(e, r) && fl_survivors(op)) st_rescue_flags(e, r, true);
}
void fl_multiplied(Emit *e, const IrOp *op);              // after MUL, IMUL
void fl_prepare_clobber(Emit *e, bool wanted);           // host EFLAGS are about to be lost
void fl_need_host(Emit *e, u16 bits);                    // bits must be valid in host EFLAGS now
void fl_to_state(Emit *e, Buf *b, FlagsState *f);        // writes the recipe into the CPU state
void fl_save_lahf(Emit *e, Buf *b, FlagsState *f);       // host EFLAGS without a recipe get one
void fl_catch_wanted(Emit *e, Buf *b, FlagsState *f);
static inline void fl_catch_carry(Emit *e, Buf *b, FlagsState *f) {  // a carry still in host EFLAGS becomes place C
    if (f->wants_carry | f->wants_product | f->product) fl_catch_wanted(e, b, f);
}
FlagsState fl_at_entry(const X64Recipe *r);
void fl_defined(Emit *e, const IrOp *op, const FlagsState *recipe);  // op has set host EFLAGS
void st_record(Emit *e, const Buf *b, const u8 *host);   // a restore record for this host pc
static inline u32 st_host_offset(const Emit *e, const Buf *b, const u8 *host) {
    if (b == &e->late) return (u32)(host - e->late_from) | (e->questions - 1) << 16 | X64_LATE;
    return (u32)(host - b->start) | (b == &e->cold ? X64_COLD : 0);
}

// ---- ask.c ------------------------------------------------------------------------------------------
// A question, whose restore record says how things are now, and a jump to the newest.
void ask_question(Emit *e, unsigned what);
void ask_jump(Emit *e, u8 *rel32);
// The row, when nothing else is to come. False: no room.
bool ask_finish(Emit *e);

// ---- encoding with byte-register care (emit.c) ---------------------------------------------------------
// opcode is that of the 16/32-bit form; the byte form is opcode - 1. reg: register or digit.
void op_rm_part(Emit *e, unsigned size, u32 opcode, unsigned reg, Rm rm);          // of size 1 or 2
static inline void op_rm(Emit *e, unsigned size, u32 opcode, unsigned reg, Rm rm) {
    if (size != 4) op_rm_part(e, size, opcode, reg, rm);
    else if (rm.mem) enc_rm(e->b, 0, opcode, reg, rm);
    else enc_rr(e->b, 0, opcode, reg, rm.reg);
}
void op_mov(Emit *e, unsigned size, unsigned reg, Opd from);      // into a register

// ---- access.c --------------------------------------------------------------------------------------
// The operand of an access: base and r8 (index or base). Never the CPU state.
static inline bool ac_is_operand(Opd o) { return opd_is_mem(o) && o.rm.reg != R14; }
// Emits the check for `op` (LOAD STORE FPULD FPUST SIMDLD SIMDST) at address a of `bytes` bytes. Afterwards r8/r9 are
// taken and rm addresses the data. The caller emits the instruction with rm, then ac_late_copy() gives the operand
// for the late copy, which the caller emits again from the same state, then ac_load_done() or ac_store_done().
// ac_late_copy() says false where there is no copy: the late part, if there is one, comes back to the point after
// the check. e->b switches between the two buffers.
Rm ac_load(Emit *e, const IrOp *op, unsigned bytes);
Rm ac_store(Emit *e, const IrOp *op, unsigned bytes, bool rmw);
bool ac_late_copy(Emit *e, Rm *rm);
void ac_load_done(Emit *e);
void ac_store_done(Emit *e);

#endif
