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

// What an op may be to a step: a sum; one that shows registers to somebody outside the block, or may do so; a reader or
// writer of registers that it does not name.
enum { STEPS_SUM = 1, STEPS_SHOWS = 2, STEPS_ACCESS = 4, STEPS_IMPLIES = 8 };
static const u8 steps_looks[IR_CODE_COUNT] = {
#define IR(id, name, operands, flags, props, text) \
    [IR_##id] = (IR_##id == IR_EA || IR_##id == IR_ADD ? STEPS_SUM : 0) | \
                (IR_##id == IR_LOAD || IR_##id == IR_STORE ? STEPS_ACCESS \
                 : (props) & (IRP_FAULT | IRP_EXIT | IRP_CALL) ? STEPS_SHOWS : 0) | \
                ((props) & IRP_WIDE || IR_##id == IR_FPU ? STEPS_IMPLIES : 0),
#include "ir/ops.def"
};

// Is ref the register, or a part of it?
static bool steps_names(IrRef ref, IrRef reg) { return (ref & ~IR_HIGH) == reg; }

// Is one of the operands? (One of four numbers of 16 bits is 0 when subtracting 1 from each borrows.)
static inline bool steps_names_any(const IrOp *op, IrRef reg) {
    u64 ones = 0x0001000100010001u, other = (op->refs & ~(ones * IR_HIGH)) ^ ones * reg;
    return (other - ones) & ~other & ones << 15;
}

// d = a + constant, without flags: all of the register, or 16 bits of it.
static bool steps_is_sum(const IrOp *op) {
    if (op->code == IR_ADD) return op->size == 2 && !op->fdef && ir_is_const(op->b);
    return op->code == IR_EA && op->size == 4 && op->b == IR_NONE;
}

// Of ops that are sums.
static bool steps_is_step(const IrOp *op) {
    return op->a == op->d && ir_kind(op->d) == IR_KIND_REG && steps_is_sum(op);
}

static bool steps_is_grouped(const IrOp *op) {
    return (op->code == IR_LOAD || op->code == IR_STORE) && op->attr & IR_GROUPED;
}

// May somebody outside the block look at registers here?
static inline bool steps_shows(const IrOp *op) {
    unsigned looks = steps_looks[op->code];
    if (looks & STEPS_ACCESS) return !(op->attr & IR_GROUPED || (op->code == IR_STORE && op->attr & IR_RMW));
    return looks & STEPS_SHOWS;
}

// What an op wants of a register that lags behind: nothing, its constant, its value.
typedef enum StepsUse { STEPS_NONE, STEPS_CONSTANT, STEPS_VALUE } StepsUse;
static inline StepsUse steps_use(const IrOp *op, IrRef reg, unsigned size) {
    if (steps_looks[op->code] & STEPS_IMPLIES) return STEPS_VALUE;
    if (!steps_names_any(op, reg)) return STEPS_NONE;
    if (steps_names(op->d, reg) || steps_names(op->b, reg) || steps_names(op->c, reg)) return STEPS_VALUE;
    if (steps_is_grouped(op)) return STEPS_NONE;                   // the address is the group's
    bool takes = op->code == IR_EA || op->code == IR_MOV || (op->code == IR_ADD && steps_is_sum(op));
    return takes && op->size == size ? STEPS_CONSTANT : STEPS_VALUE;
}

// The next step of the same register, with nobody looking in between; 0: none.
static u32 steps_next(const IrBlock *b, u32 i) {
    const IrOp *step = &b->ops[i], *end = b->ops + b->count;
    for (const IrOp *op = step + 1; op < end; op++) {
        if (steps_shows(op)) return 0;
        if (steps_use(op, step->d, step->size) != STEPS_VALUE) continue;
        bool same = op->d == step->d && op->size == step->size && op->code == step->code && steps_is_step(op);
        return same ? (u32)(op - b->ops) : 0;
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
        if (!(steps_looks[op->code] & STEPS_SUM) || !steps_is_step(op)) continue;
        left--;
        u32 to = steps_next(b, (u32)(op - ops));
        if (to) steps_move(b, (u32)(op - ops), to);
    }
}
