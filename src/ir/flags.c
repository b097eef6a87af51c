// SPDX-License-Identifier: MIT
// Flag liveness: one backward walk.
//
// Two kinds of readers are told apart, because they are served in different ways:
//   flive  a later op of this block reads the bits on the normal path: they must be real flags there
//   fobs   only a fault point or an exit may see them: a recipe that the restore map (or the code of
//          the exit) can evaluate is enough
// A definition that nobody reads and nobody can observe disappears, and with it an op without result.
#include "ir/ir.h"

// Who looks at all flags through a fault, an exit or a helper that leaves: none, all ops of this code, some.
enum { FLAGS_UNSEEN, FLAGS_SEEN, FLAGS_MAY_BE_SEEN };
static const u8 flags_seen[IR_CODE_COUNT] = {
#define IR(id, name, operands, flags, props, text) \
    [IR_##id] = !((props) & (IRP_FAULT | IRP_EXIT)) ? FLAGS_UNSEEN \
              : (props) & (IRP_LOAD | IRP_STORE | IRP_CALL) || IR_##id == IR_SIMD ? FLAGS_MAY_BE_SEEN : FLAGS_SEEN,
#include "ir/ops.def"
};

static bool flags_may_be_seen(const IrBlock *b, const IrOp *op) {
    bool checked = op->attr & IR_GROUPED;
    switch (op->code) {
    case IR_LOAD: return !checked;
    case IR_STORE: return !checked && !(op->attr & IR_RMW);          // its load has checked
    case IR_SIMD: return ir_simd_may_fault(op->imm);
    case IR_SIMDLD: case IR_SIMDST: return !checked || ir_simd_may_fault(op->imm);
    case IR_CALL: return b->helpers->row[op->imm].attr & (IR_HELPER_FAULT | IR_HELPER_END);
    default: return true;
    }
}

static bool flags_are_seen(const IrBlock *b, const IrOp *op) {
    unsigned seen = flags_seen[op->code];
    return seen == FLAGS_MAY_BE_SEEN ? flags_may_be_seen(b, op) : seen;
}

// Of ops without result.
static bool flags_is_needed(const IrOp *op) {
    return ir_info[op->code].props & (IRP_KEEP | IRP_MARK | IRP_FAULT | IRP_WIDE);
}

// Shift or rotate by CL: count 0 passes the old flags through.
static bool flags_is_variable_shift(const IrOp *op) {
    if (op->code < IR_SHL || op->code > IR_SHRD) return false;
    return ir_kind(op->code >= IR_SHLD ? op->c : op->b) == IR_KIND_REG;
}

// What an op defines and uses, of what is wanted after it (as IrOp.flater); gives what is wanted before it.
static u32 flags_define(IrOp *op, u32 later) {
    u32 def = op->fdef & (later | later >> 16);
    op->fdef = (u16)def;
    if (flags_is_variable_shift(op)) op->fuse = (u16)(ir_info[op->code].flags >> 16 | def);
    return later & ~(def | def << 16);
}

// Without a result and flags that somebody wants. Marked for removal.
static bool flags_bury(IrOp *op) {
    if (op->fdef || op->d != IR_NONE || flags_is_needed(op)) return false;
    op->code = IR_INSN;
    op->aux = 0;
    op->fuse = 0;
    return true;
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
    u32 later = 0;
    IrOp *dead = NULL, *first = b->ops;
    for (IrOp *op = first + b->count; op-- > first;) {
        op->flater = later;
        if (op->code == IR_INSN) {
            if (!op->aux) dead = op;                     // marked by an earlier pass
            continue;
        }
        if (op->fdef) later = flags_define(op, later);
        if (op->d == IR_NONE && flags_bury(op)) {
            dead = op;
            continue;
        }
        later |= op->fuse;
        if (flags_are_seen(b, op)) later |= (u32)FLAG_OSZAPC << 16;
    }
    if (dead) flags_remove(b, (u32)(dead - first));
    b->flags_in = (u16)(later | later >> 16);
}
