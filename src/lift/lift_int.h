// SPDX-License-Identifier: MIT
// Room lift's own: the context of one instruction and what all families share.
//
// To add an instruction
//  1. Give it a row in isa/i386.def with the lifter and sub that say what it does. When operands
//     and sub suffice for an existing family, that is all.
//  2. Else add a line to ISA_LIFTERS (isa/lifters.h) and a function lift_insn_<stem>(Lift *) in the
//     file of its family: it is called after the checks of rule 6 and appends IR.
//  3. tests/unit/test_lift.c lifts every row in every mode and checks the rules below.
//
// Rules
//  1. Checks before changes: loads, probes and helpers that can fault come first, then the one
//     store, then registers and flags. The op that faults last may itself write registers or flags.
//  2. Read-modify-write is exactly load.rmw t, [a]; op t2, t, ...; store.rmw [a], t2, with t and t2
//     used once where the instruction allows: the back end makes one host instruction of it. The
//     store of such a pair cannot fault, so flags may change before it. No helper between the two.
//  3. A memory source is loaded into a temporary that only the next op uses (fused as well).
//  4. Address arithmetic must not touch guest flags. Use lift_ea() and lift_plain(), which is for
//     ADD SUB AND OR XOR SHL SHR SAR with fdef = fuse = 0, never anything else.
//  5. Temporaries of size 1 and 2 have undefined upper bits: lift_zext() before 32-bit use. No
//     temporary lives across a helper call.
//  6. Attributes of the row (privilege, protected mode, FPU availability) are checked by
//     lift_insn(); IOPL is checked by helpers.
//  7. A helper that ends the block goes through lift_call_end(): it sets cpu->eip, calls, leaves; one with HA_MODE
//     may go through lift_call_mode(), which leaves only when the mode word has changed.
#ifndef LIFT_LIFT_INT_H
#define LIFT_LIFT_INT_H

#include "cpu/cpu.h"
#include "cpu/helpers.h"
#include "lift/lift.h"

typedef struct Lift {
    IrBlock *b;
    const Insn *in;
    const IsaRow *row;
    u32 eip, next;          // of this instruction and of the one after it
    bool ended;             // an op that ends the block has been appended
} Lift;

// An address: what a memory op needs besides size and value.
typedef struct LiftMem {
    IrRef addr;
    u8 seg;                 // 0-5
    bool addr16;            // computed with 16 bits
} LiftMem;

// One function per family, from the lifter column.
#define X(id, stem, remark) void lift_insn_##stem(Lift *l);
ISA_LIFTERS(X)
#undef X

// ---- operands (lift_operand.c) ------------------------------------------------------------------
static inline IrRef lift_const(Lift *l, u32 value) { return ir_const(l->b, value); }
static inline unsigned lift_log2(unsigned size_bytes) { return size_bytes >> 1; }   // of 1, 2, 4
static inline IrRef lift_reg(const IsaOperand *o) {
    return (IrRef)(IR_REG(o->reg) | (unsigned)o->high * IR_HIGH);
}
// The value of a register, immediate or memory operand at its size; memory is loaded.
IrRef lift_read_other(Lift *l, const IsaOperand *o);       // no register
static inline IrRef lift_read(Lift *l, const IsaOperand *o) {
    return o->kind == ISA_REG ? lift_reg(o) : lift_read_other(l, o);
}
// The same zero-extended, sign-extended to 32 bits.
IrRef lift_read_zext(Lift *l, const IsaOperand *o);
IrRef lift_read_sext(Lift *l, const IsaOperand *o);
// A register is set, memory stored to.
void lift_write(Lift *l, const IsaOperand *o, IrRef value);
// `value` (of size bytes) extended to 32 bits: a new temporary, or itself when of size 4.
IrRef lift_zext(Lift *l, unsigned size_bytes, IrRef value);
IrRef lift_sext(Lift *l, unsigned size_bytes, IrRef value);
// d = code(a, x, c) on a register or memory operand with d = a = the operand (rule 2).
void lift_modify(Lift *l, const IsaOperand *o, IrCode code, IrRef x, IrRef c);
// Flag-free arithmetic of rule 4: a new 32-bit temporary = a code x.
IrRef lift_plain(Lift *l, IrCode code, IrRef a, IrRef x);
// An op with a condition.
IrOp *lift_emit_cc(Lift *l, IrCode code, unsigned size, unsigned cc, IrRef d, IrRef a, IrRef x);

// ---- memory (lift_operand.c) --------------------------------------------------------------------
static inline IrRef lift_reg_or_none(unsigned reg) {
    return reg == ISA_NO_REG ? IR_NONE : IR_REG(reg);
}
// d (a whole register) = base + (index << scale) + disp, without flags.
void lift_ea_to(Lift *l, IrRef d, IrRef base, IrRef index, unsigned scale, u32 disp);
// Lower half of guest register d = that of reg + x, without flags.
void lift_sum16(Lift *l, unsigned d, unsigned reg, IrRef x);
// The memory operand's address, `extra` bytes further.
LiftMem lift_mem(Lift *l, u32 extra);
// seg:[reg] with the instruction's address size.
LiftMem lift_mem_at(Lift *l, unsigned seg, IrRef reg);
void lift_load(Lift *l, unsigned size, IrRef d, LiftMem m);
IrRef lift_load_temp(Lift *l, unsigned size, LiftMem m);
void lift_store(Lift *l, unsigned size, LiftMem m, IrRef value);
IrRef lift_load_rmw(Lift *l, unsigned size, LiftMem m);         // a new temporary
void lift_store_rmw(Lift *l, unsigned size, LiftMem m, IrRef value);
// IR_FPULD, IR_FPUST, IR_SIMDLD, IR_SIMDST: the host's instruction `imm` with `bytes` of memory.
IrOp *lift_fpu_access(Lift *l, IrCode code, unsigned bytes, LiftMem m, u32 imm);
// reg (ESI, EDI, ECX) += (x << scale) + disp with the instruction's address size; x may be none.
void lift_step_reg(Lift *l, unsigned reg, IrRef x, unsigned scale, u32 disp);

// ---- stack (lift_stack.c) -----------------------------------------------------------------------
// What is `offset` bytes from the stack pointer.
LiftMem lift_stack_mem(Lift *l, u32 offset);
// (E)SP += bytes.
void lift_stack_move(Lift *l, u32 bytes);
// store, then stack pointer.
void lift_stack_push(Lift *l, unsigned size, IrRef value);

// ---- helpers, leaving (lift.c) ------------------------------------------------------------------
void lift_call(Lift *l, HelperId helper, IrRef a, IrRef x, IrRef c);
IrRef lift_call_value(Lift *l, HelperId helper, IrRef a, IrRef x, IrRef c);    // a new temporary
// cpu->eip = next; call.
void lift_call_next(Lift *l, HelperId helper, IrRef a, IrRef x, IrRef c);
void lift_leave(Lift *l);
void lift_call_end(Lift *l, HelperId helper, IrRef a, IrRef x, IrRef c);       // rule 7
IrRef lift_mode_change(Lift *l);          // not 0: the mode word is no longer the block's
void lift_call_mode(Lift *l, HelperId helper, IrRef a, IrRef x, IrRef c);
void lift_raise(Lift *l, CpuVector vector);
void lift_raise_gp0(Lift *l);
// Address of `m` and its description as helpers take them.
IrRef lift_access(Lift *l, LiftMem m, unsigned size_log2);
void lift_jmp(Lift *l, u32 target);
void lift_jmp_to(Lift *l, unsigned size, IrRef target);     // indirect; target of size 2 or 4
// Target of a direct branch: 16-bit operand size keeps 16 bits.
u32 lift_target(const Lift *l);

#endif
