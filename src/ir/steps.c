// SPDX-License-Identifier: MIT
// Steps: a register moved by constants several times, as pushes and pops move ESP, moves once.
//
//     ea.4 esp, esp, $-0x4                            (gone)
//     ea.4 t1, esp, $-0x4          becomes            ea.4 t1, esp, $-0x8
//     ea.4 esp, esp, $-0x4                            ea.4 esp, esp, $-0x8
//
// With a 16-bit stack the step is an ADD without flags, and the address an EA of 16 bits.
//
// The first may go when between the two nobody can see the register: no op that may fault, leave or call a helper
// (an access whose group has been checked cannot fault), and no reader but addresses and copies, which take the
// constant over.
#include "ir/ir.h"

// Is ref the register, or a part of it?
static bool steps_names(IrRef ref, IrRef reg) { return (ref & ~IR_HIGH) == reg; }

// d = a + constant, without flags: all of the register, or 16 bits of it.
static bool steps_is_sum(const IrOp *op) {
    if (op->code == IR_ADD) return op->size == 2 && !op->fdef && ir_is_const(op->b);
    return op->code == IR_EA && op->size == 4 && op->b == IR_NONE;
}

static bool steps_is_step(const IrOp *op) {
    return (op->code == IR_EA || op->code == IR_ADD) && ir_kind(op->d) == IR_KIND_REG && op->a == op->d &&
           steps_is_sum(op);
}

static bool steps_is_grouped(const IrOp *op) {
    return (op->code == IR_LOAD || op->code == IR_STORE) && op->attr & IR_GROUPED;
}

// May somebody outside the block look at registers here?
static bool steps_shows(const IrOp *op) {
    if (steps_is_grouped(op) || (op->code == IR_STORE && op->attr & IR_RMW)) return false;
    return ir_info[op->code].props & (IRP_FAULT | IRP_EXIT | IRP_CALL);
}

// What an op wants of a register that lags behind: nothing, its constant, its value.
typedef enum StepsUse { STEPS_NONE, STEPS_CONSTANT, STEPS_VALUE } StepsUse;
static StepsUse steps_use(const IrOp *op, IrRef reg, unsigned size) {
    if (steps_names(op->d, reg) || steps_names(op->b, reg) || steps_names(op->c, reg)) return STEPS_VALUE;
    if (ir_info[op->code].props & IRP_WIDE || op->code == IR_FPU) return STEPS_VALUE;
    if (!steps_names(op->a, reg) || steps_is_grouped(op)) return STEPS_NONE;     // grouped: the address is the group's
    bool takes = op->code == IR_EA || op->code == IR_MOV || (op->code == IR_ADD && steps_is_sum(op));
    return takes && op->size == size ? STEPS_CONSTANT : STEPS_VALUE;
}

// The next step of the same register, with nobody looking in between; 0: none.
static u32 steps_next(const IrBlock *b, u32 i) {
    IrRef reg = b->ops[i].d;
    unsigned size = b->ops[i].size;
    for (u32 k = i + 1; k < b->count; k++) {
        const IrOp *op = &b->ops[k];
        if (op->size == size && steps_is_step(op) && op->d == reg) return k;
        if (steps_shows(op) || steps_use(op, reg, size) == STEPS_VALUE) return 0;
    }
    return 0;
}

// Adds a constant to what op, a sum or a copy, computes.
static void steps_add(IrBlock *b, IrOp *op, u32 by) {
    if (op->code == IR_ADD) {
        op->b = ir_const(b, (ir_value(b, op->b) + by) & 0xffff);
    } else if (op->code == IR_MOV && op->size == 2) {
        op->code = IR_ADD;
        op->b = ir_const(b, by & 0xffff);
    } else {
        op->imm = op->code == IR_EA ? op->imm + by : by;
        if (op->size == 2) op->imm = (u32)(i16)op->imm;
        op->code = IR_EA;
    }
}

// Moves the step at op i into the one at op `to`, through what reads the register between them.
static void steps_move(IrBlock *b, u32 i, u32 to) {
    const IrOp *step = &b->ops[i];
    IrRef reg = step->d;
    unsigned size = step->size;
    u32 by = step->code == IR_ADD ? ir_value(b, step->b) : step->imm;
    for (u32 k = i + 1; k < to; k++)
        if (steps_use(&b->ops[k], reg, size) == STEPS_CONSTANT) steps_add(b, &b->ops[k], by);
    steps_add(b, &b->ops[to], by);
    bool back = b->ops[to].code == IR_ADD && !ir_value(b, b->ops[to].b);
    b->ops[i] = (IrOp){ .code = IR_INSN };               // marked for removal
    if (back) b->ops[to] = b->ops[i];
}

void ir_steps(IrBlock *b) {
    const IrOp *ops = b->ops, *end = ops + b->count;
    u32 left = b->steps;
    for (const IrOp *op = ops; op < end && left > 1; op++) {
        if (!steps_is_step(op)) continue;
        left--;
        u32 to = steps_next(b, (u32)(op - ops));
        if (to) steps_move(b, (u32)(op - ops), to);
    }
}
