// SPDX-License-Identifier: MIT
// Folding: forwards constants and copies held in temporaries to their uses, computes what has
// become constant, normalises effective addresses, and drops what nobody uses any more. On the
// translation path: one walk forward over the ops, one backward when something may have died.
//
// Rules
//  1. Temporaries are forwarded. A copy of a register holds until the register is written; a
//     copy of another temporary until that is written.
//     So are 16-bit copies of registers, to 16-bit sources of other ops: merging the copy into its register takes the
//     host a step that whoever reads it there would wait for.
//  2. An op that sets flags (fdef) is computed by the host, never here.
//  3. Shapes that the back end fuses stay: a LOAD stays where it is, the address of a rmw pair is
//     replaced only by a constant (the same one in both), shift counts are not touched.
//  4. Afterwards an EA has no constant operands; without a base it has a scaled index, or is a MOV.
#include "ir/ir_int.h"

#include <string.h>

typedef struct FoldTemp {
    u32 defined;         // index + 1 of the op that wrote it last
    u32 noted;           // index + 1 of the op that made it a copy
    IrRef copy;          // what it equals: constant, register, temporary; IR_NONE: unknown
    u16 uses;            // in ops as they are now
    u8 bytes;            // how many of them are equal
} FoldTemp;

typedef struct Fold {
    IrBlock *b;
    FoldTemp *temp;
    u32 written[8];      // index + 1 of the op that wrote the register last
    u32 half_noted[8];   // index + 1 of the op that made its lower half a copy; 0: none
    IrRef half[8];       //   of this register's
    u32 now;             // index + 1 of the op at hand
    bool dead;           // there may be ops to drop
    bool halves;         // some half is a copy
} Fold;

// ---- forwarding ---------------------------------------------------------------------------------
static IrRef fold_const(Fold *f, u32 value, unsigned bytes) {
    return ir_const(f->b, trunc_size(value, bytes));
}

static bool fold_holds(const Fold *f, const FoldTemp *t, unsigned bytes) {
    if (t->copy == IR_NONE || t->bytes < bytes) return false;
    switch (ir_kind(t->copy)) {
    case IR_KIND_CONST: return true;
    case IR_KIND_TEMP: return f->temp[ir_index(t->copy)].defined <= t->noted;
    default:
        if (bytes == 1 && !ir_is_high(t->copy) && ir_reg(t->copy) > 3) return false;
        return f->written[ir_reg(t->copy)] <= t->noted;
    }
}

// What to read instead of r at this width. Does not count the use.
static IrRef fold_ref(Fold *f, IrRef r, unsigned bytes) {
    if (ir_kind(r) != IR_KIND_TEMP) return r;
    const FoldTemp *t = &f->temp[ir_index(r)];
    if (!fold_holds(f, t, bytes)) return r;
    if (ir_is_const(t->copy) && bytes < 4) return fold_const(f, ir_value(f->b, t->copy), bytes);
    return t->copy;
}

static void fold_use(Fold *f, IrRef r) {
    if (ir_kind(r) == IR_KIND_TEMP) f->temp[ir_index(r)].uses++;
}

// Ops whose host instruction has no immediate form: a constant there would only be moved again.
static bool fold_takes_const(unsigned code) {
    switch (code) {
    case IR_MULW: case IR_IMULW: case IR_DIVW: case IR_IDIVW: case IR_BSF: case IR_BSR:
    case IR_SHLD: case IR_SHRD: case IR_JMPI: case IR_JZ: case IR_JNZ: case IR_LEAVENZ: case IR_SEL:
    case IR_LIMIT: case IR_GUARD:
        return false;
    default: return true;
    }
}

// The register of whose lower half r's is a copy. Not the destination, which would become its own operand.
static IrRef fold_half(const Fold *f, const IrOp *op, IrRef r) {
    u32 noted = f->half_noted[ir_reg(r)];
    IrRef from = f->half[ir_reg(r)];
    if (!noted || r == op->d || from == op->d || f->written[ir_reg(r)] > noted) return r;
    return f->written[ir_reg(from)] > noted ? r : from;
}

static void fold_operand(Fold *f, IrOp *op, IrRef *r, unsigned which) {
    if (ir_kind(*r) == IR_KIND_REG && f->halves && ir_operand_bytes(op, which) == 2) *r = fold_half(f, op, *r);
    if (ir_kind(*r) == IR_KIND_TEMP) {
        IrRef to = fold_ref(f, *r, ir_operand_bytes(op, which));
        bool rmw_address = (op->attr & IR_RMW) && which == IR_A;
        if (rmw_address ? ir_is_const(to) : !ir_is_const(to) || fold_takes_const(op->code)) *r = to;
    }
    fold_use(f, *r);
}

// ---- computing ----------------------------------------------------------------------------------
static void fold_to_mov(Fold *f, IrOp *op, unsigned size, IrRef a) {
    op->code = IR_MOV;
    op->size = (u8)size;
    op->a = ir_is_const(a) ? fold_const(f, ir_value(f->b, a), size) : a;
    op->b = op->c = IR_NONE;
    op->aux = 0;
    op->imm = 0;
    op->fuse = 0;
}

static u32 fold_sext(u32 v, unsigned bytes) { return bytes == 1 ? (u32)(i8)v : (u32)(i16)v; }

static bool fold_shift(unsigned code, unsigned size, u32 a, u32 n, u32 *out) {
    if (size < 4) n &= 31;
    if (code == IR_SHL) *out = a << n;
    else if (code == IR_SHR) *out = trunc_size(a, size) >> n;
    else *out = (u32)((i32)(size == 4 ? a : fold_sext(a, size)) >> n);
    return true;
}

// Value of an op without flags on constants.
static bool fold_compute(const IrOp *op, u32 a, u32 b, u32 *out) {
    switch (op->code) {
    case IR_ADD: *out = a + b; return true;
    case IR_SUB: *out = a - b; return true;
    case IR_AND: *out = a & b; return true;
    case IR_OR: *out = a | b; return true;
    case IR_XOR: *out = a ^ b; return true;
    case IR_IMUL: *out = a * b; return true;
    case IR_INC: *out = a + 1; return true;
    case IR_DEC: *out = a - 1; return true;
    case IR_NEG: *out = -a; return true;
    case IR_NOT: *out = ~a; return true;
    case IR_BSWAP: *out = __builtin_bswap32(a); return true;
    case IR_ZEXT: *out = trunc_size(a, op->aux); return true;
    case IR_SEXT: *out = fold_sext(a, op->aux); return true;
    case IR_SHL: case IR_SHR: case IR_SAR: return fold_shift(op->code, op->size, a, b & 31, out);
    default: return false;
    }
}

static void fold_arithmetic(Fold *f, IrOp *op) {
    u32 v;
    if (op->fdef || op->d == IR_NONE || !ir_is_const(op->a)) return;
    if (op->b != IR_NONE && !ir_is_const(op->b)) return;
    u32 b = op->b == IR_NONE ? 0 : ir_value(f->b, op->b);
    if (fold_compute(op, ir_value(f->b, op->a), b, &v))
        fold_to_mov(f, op, op->size, ir_const(f->b, v));
}

static void fold_ea(Fold *f, IrOp *op) {
    if (ir_is_const(op->b)) {
        op->imm += ir_value(f->b, op->b) << op->aux;
        op->b = IR_NONE;
        op->aux = 0;
    }
    if (ir_is_const(op->a)) {
        op->imm += ir_value(f->b, op->a);
        op->a = IR_NONE;
    }
    if (op->a == IR_NONE && op->b != IR_NONE && op->aux == 0) {
        op->a = op->b;
        op->b = IR_NONE;
    }
    if (op->b != IR_NONE) return;
    if (op->a == IR_NONE) fold_to_mov(f, op, 4, fold_const(f, op->imm, op->size));
    else if (op->imm == 0 && op->size == 4) fold_to_mov(f, op, 4, op->a);
}

// ---- one op -------------------------------------------------------------------------------------
static void fold_written(Fold *f, const IrOp *op) {
    u16 props = ir_info[op->code].props;
    if (ir_kind(op->d) == IR_KIND_REG) f->written[ir_reg(op->d)] = f->now;
    if (props & IRP_WIDE) f->written[0] = f->written[2] = f->now;
    if (ir_fpu_writes_ax(op)) f->written[0] = f->now;
    if (props & IRP_CALL)
        for (unsigned r = 0; r < 8; r++) f->written[r] = f->now;
}

static void fold_defined(Fold *f, const IrOp *op) {
    if (ir_kind(op->d) != IR_KIND_TEMP) return;
    FoldTemp *t = &f->temp[ir_index(op->d)];
    t->defined = f->now;
    t->copy = IR_NONE;
    if (op->code != IR_MOV || op->a == op->d) return;
    t->copy = op->a;
    t->bytes = op->size;
    t->noted = f->now;
    f->dead = true;
}

static void fold_note_half(Fold *f, const IrOp *op) {
    if (op->code != IR_MOV || op->size != 2 || ir_kind(op->d) != IR_KIND_REG || ir_kind(op->a) != IR_KIND_REG) return;
    f->half[ir_reg(op->d)] = op->a;
    f->half_noted[ir_reg(op->d)] = f->now;
    f->halves = true;
}

static void fold_op(Fold *f, IrOp *op) {
    if (op->code == IR_INSN) return;
    if (op->a != IR_NONE) fold_operand(f, op, &op->a, IR_A);
    if (op->b != IR_NONE) fold_operand(f, op, &op->b, IR_B);
    if (op->c != IR_NONE) fold_operand(f, op, &op->c, IR_C);
    if (op->code == IR_EA) fold_ea(f, op);
    else if (ir_is_const(op->a)) fold_arithmetic(f, op);
    fold_written(f, op);
    fold_defined(f, op);
    fold_note_half(f, op);
}

// ---- what nobody uses ---------------------------------------------------------------------------
static void fold_unuse(Fold *f, IrRef r) {
    if (ir_kind(r) == IR_KIND_TEMP) f->temp[ir_index(r)].uses--;
}

static bool fold_is_dead(const Fold *f, const IrOp *op) {
    u16 effects = IRP_MARK | IRP_FAULT | IRP_KEEP | IRP_WIDE | IRP_CALL | IRP_EXIT | IRP_END;
    if (ir_kind(op->d) != IR_KIND_TEMP) return op->code == IR_MOV && op->d == op->a;
    if (f->temp[ir_index(op->d)].uses) return op->code == IR_MOV && op->d == op->a;
    return !op->fdef && !(ir_info[op->code].props & effects);
}

// Backward, so that what only fed a dead op dies with it; dead ops become marks of length 0. Gives
// the index of the first, or the count.
static u32 fold_bury(Fold *f) {
    IrBlock *b = f->b;
    u32 first = b->count;
    for (u32 i = b->count; i-- > 0;) {
        IrOp *op = &b->ops[i];
        if (!fold_is_dead(f, op)) continue;
        fold_unuse(f, op->a);
        fold_unuse(f, op->b);
        fold_unuse(f, op->c);
        op->code = IR_INSN;
        op->aux = 0;
        first = i;
    }
    return first;
}

static void fold_drop(Fold *f) {
    IrBlock *b = f->b;
    u32 to = fold_bury(f);
    for (u32 i = to; i < b->count; i++) {
        const IrOp *op = &b->ops[i];
        if (op->code != IR_INSN || op->aux) b->ops[to++] = *op;
    }
    b->count = to;
}

// Is there anything to begin with: a temporary that is a copy, an address or a sum of constants? Code compiled from
// a higher language seldom has it.
static bool fold_begins(const IrOp *op) {
    enum { NEVER, MOVES, ADDS, COMPUTES };
    static const u8 by_code[IR_CODE_COUNT] = {
        [IR_MOV] = MOVES, [IR_EA] = ADDS, [IR_ZEXT] = COMPUTES, [IR_SEXT] = COMPUTES, [IR_ADD] = COMPUTES,
        [IR_SUB] = COMPUTES, [IR_AND] = COMPUTES, [IR_OR] = COMPUTES, [IR_XOR] = COMPUTES, [IR_IMUL] = COMPUTES,
        [IR_INC] = COMPUTES, [IR_DEC] = COMPUTES, [IR_NEG] = COMPUTES, [IR_NOT] = COMPUTES, [IR_BSWAP] = COMPUTES,
        [IR_SHL] = COMPUTES, [IR_SHR] = COMPUTES, [IR_SAR] = COMPUTES,
    };
    switch (by_code[op->code]) {
    case NEVER: return false;
    case MOVES: return ir_kind(op->d) == IR_KIND_TEMP || op->a == op->d || op->size == 2;
    case ADDS:
        if (op->b != IR_NONE) return ir_is_const(op->b) || ir_is_const(op->a) || (op->a == IR_NONE && !op->aux);
        return ir_is_const(op->a) || op->a == IR_NONE || (!op->imm && op->size == 4);
    default: return ir_is_const(op->a) && !op->fdef && op->d != IR_NONE;
    }
}

void ir_fold(IrBlock *b) {
    if (!b->folds) return;
    const IrOp *op = b->ops, *end = op + b->count;
    while (op < end && !fold_begins(op)) op++;
    if (op == end) return;
    Fold f = { .b = b };
    f.temp = arena_alloc(b->arena, b->temp_count * sizeof *f.temp);
    memset(f.temp, 0, b->temp_count * sizeof *f.temp);
    for (u32 i = 0; i < b->count; i++) {
        f.now = i + 1;
        fold_op(&f, &b->ops[i]);
    }
    if (f.dead) fold_drop(&f);
}
