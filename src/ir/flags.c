// SPDX-License-Identifier: MIT
// Flag liveness: one backward walk.
//
// Two kinds of readers are told apart, because they are served in different ways:
//   flive  a later op of this block reads the bits on the normal path: they must be real flags there
//   fobs   only a fault point or an exit may see them: a recipe that the restore map (or the code of
//          the exit) can evaluate is enough
// A definition that nobody reads and nobody can observe disappears, and with it an op without result.
#include "ir/ir.h"

// What an op is to flags. SEEN: it looks at all of them through a fault, an exit or a helper that leaves; MAY_BE_SEEN:
// some of its code do. NEEDED: it is wanted without a result, too.
enum { FLAGS_MARK = 1, FLAGS_NEEDED = 2, FLAGS_SEEN = 4, FLAGS_MAY_BE_SEEN = 8 };
static const u8 flags_looks[IR_CODE_COUNT] = {
#define IR(id, name, operands, flags, props, text) \
    [IR_##id] = ((props) & IRP_MARK ? FLAGS_MARK : 0) | \
                ((props) & (IRP_KEEP | IRP_FAULT | IRP_WIDE) ? FLAGS_NEEDED : 0) | \
                (!((props) & (IRP_FAULT | IRP_EXIT)) ? 0 \
                 : (props) & (IRP_LOAD | IRP_STORE | IRP_CALL) || IR_##id == IR_SIMD ? FLAGS_MAY_BE_SEEN : FLAGS_SEEN),
#include "ir/ops.def"
};

static bool flags_may_be_seen(const IrBlock *b, const IrOp *op) {
    bool checked = op->attr & IR_GROUPED;
    switch (op->code) {
    case IR_SIMD: return ir_simd_may_fault(op->imm);
    case IR_SIMDLD: case IR_SIMDST: return !checked || ir_simd_may_fault(op->imm);
    case IR_CALL: return b->helpers->row[op->imm].attr & (IR_HELPER_FAULT | IR_HELPER_END);
    default: return true;
    }
}

static inline bool flags_are_seen(const IrBlock *b, const IrOp *op, unsigned looks) {
    if (op->code == IR_LOAD) return !(op->attr & IR_GROUPED);
    if (op->code == IR_STORE) return !(op->attr & (IR_GROUPED | IR_RMW));    // the load of a pair has checked
    return looks & FLAGS_SEEN || (looks & FLAGS_MAY_BE_SEEN && flags_may_be_seen(b, op));
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

// Marks an op for removal.
static void flags_bury(IrOp *op) {
    op->code = IR_INSN;
    op->aux = 0;
    op->fuse = 0;
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
        unsigned looks = flags_looks[op->code];
        op->flater = later;
        if (looks & FLAGS_MARK) {
            if (!op->aux) dead = op;                     // marked by an earlier pass
            continue;
        }
        if (op->fdef) later = flags_define(op, later);
        if (op->d == IR_NONE && !op->fdef && !(looks & FLAGS_NEEDED)) {      // nobody wants it any more
            flags_bury(op);
            dead = op;
            continue;
        }
        later |= op->fuse;
        if (looks & (FLAGS_SEEN | FLAGS_MAY_BE_SEEN) && flags_are_seen(b, op, looks)) later |= (u32)FLAG_OSZAPC << 16;
    }
    if (dead) flags_remove(b, (u32)(dead - first));
    b->flags_in = (u16)(later | later >> 16);
}
