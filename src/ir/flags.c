// SPDX-License-Identifier: MIT
// Flag liveness: one backward walk.
//
// Two kinds of readers are told apart, because they are served in different ways:
//   flive  a later op of this block reads the bits on the normal path: they must be real flags there
//   fobs   only a fault point or an exit may see them: a recipe that the restore map (or the code of
//          the exit) can evaluate is enough
// A definition that nobody reads and nobody can observe disappears, and with it an op without result.
#include "ir/ir.h"

typedef struct FlagState { u32 live, obs; } FlagState;

// Does the op look at all flags through a fault, an exit or a helper that leaves?
static bool flags_is_observer(const IrBlock *b, const IrOp *op) {
    if (!(ir_info[op->code].props & (IRP_FAULT | IRP_EXIT))) return false;
    if (op->code == IR_STORE && (op->attr & IR_RMW)) return false;   // its load has checked
    if ((op->code == IR_LOAD || op->code == IR_STORE) && (op->attr & IR_GROUPED)) return false;
    bool simd_access = op->code == IR_SIMDLD || op->code == IR_SIMDST;
    if ((op->code == IR_SIMD || (simd_access && op->attr & IR_GROUPED)) && !ir_simd_may_fault(op->imm)) return false;
    if (op->code == IR_CALL)
        return b->helpers->row[op->imm].attr & (IR_HELPER_FAULT | IR_HELPER_END);
    return true;
}

static bool flags_is_dead(const IrOp *op) {
    if (op->d != IR_NONE || op->fdef) return false;
    return !(ir_info[op->code].props & (IRP_KEEP | IRP_MARK | IRP_FAULT | IRP_WIDE));
}

// Shift or rotate by CL: count 0 passes the old flags through.
static bool flags_is_variable_shift(const IrOp *op) {
    if (op->code < IR_SHL || op->code > IR_SHRD) return false;
    return ir_kind(op->code >= IR_SHLD ? op->c : op->b) == IR_KIND_REG;
}

// What an op defines and uses, of what is wanted after it. True: the op is dead.
static bool flags_define(IrOp *op, FlagState *s) {
    u32 def = op->fdef & (s->live | s->obs);
    op->fdef = (u16)def;
    if (flags_is_dead(op)) {
        op->code = IR_INSN;              // marked for removal: aux 0
        op->aux = 0;
        op->fuse = 0;
        return true;
    }
    if (flags_is_variable_shift(op)) op->fuse = (u16)(ir_info[op->code].flags >> 16 | def);
    s->live = (s->live & ~def) | op->fuse;
    s->obs &= ~def;
    return false;
}

static bool flags_step(const IrBlock *b, IrOp *op, FlagState *s) {
    bool plain = !op->fdef && !op->fuse && op->d != IR_NONE;         // moves, addresses, most loads
    if (!plain && flags_define(op, s)) return true;
    if (flags_is_observer(b, op)) s->obs = FLAG_OSZAPC;
    return false;
}

// Removes dead ops; `first` is the first of them. Groups name their first and last op by its index.
static void flags_remove(IrBlock *b, u32 first) {
    u32 n = first;
    for (u32 i = first; i < b->count; i++) {
        const IrOp *op = &b->ops[i];
        if (op->code == IR_INSN && op->aux == 0) continue;
        if (op->attr & (IR_GROUP_FIRST | IR_GROUPED)) {
            IrGroup *g = &b->groups[op->group];
            if (op->attr & IR_GROUP_FIRST) g->first = n;
            g->last = n;
        }
        b->ops[n++] = *op;
    }
    b->count = n;
}

void ir_flags(IrBlock *b) {
    FlagState s = { 0, 0 };
    IrOp *dead = NULL;
    for (IrOp *op = b->ops + b->count; op-- > b->ops;) {
        op->flive = (u16)s.live;
        op->fobs = (u16)s.obs;
        // Dead already, marked by an earlier pass, or now.
        if (op->code == IR_INSN ? op->aux == 0 : flags_step(b, op, &s)) dead = op;
    }
    if (dead) flags_remove(b, (u32)(dead - b->ops));
    b->flags_in = (u16)(s.live | s.obs);
}
