// SPDX-License-Identifier: MIT
// The IR builder: appends ops with the flag masks their row and condition imply.
#include "ir/ir.h"

#include <string.h>

const IrInfo ir_info[IR_CODE_COUNT] = {
#define IR(id, name, operands, flags, props, text) \
    [IR_##id] = { name, operands, text, flags, props },
#include "ir/ops.def"
};

IrBlock *ir_block_new(Arena *arena, const IrHelpers *helpers, u32 eip, u32 mode, bool code32) {
    IrBlock *b = arena_alloc(arena, sizeof *b);
    *b = (IrBlock){ .arena = arena, .helpers = helpers, .eip = eip, .end_eip = eip,
                    .mode = mode, .features = 0xffffffff, .code32 = code32, .capacity = 256, .const_capacity = 32,
                    .code_limit = 0xffffffff };
    b->ops = arena_alloc(arena, b->capacity * sizeof *b->ops);
    b->consts = arena_alloc(arena, b->const_capacity * sizeof *b->consts);
    return b;
}

// Doubles an array that lives in the arena.
static void *build_grow(Arena *arena, const void *old, u32 count, u32 *capacity, size_t element) {
    *capacity *= 2;
    void *p = arena_alloc(arena, *capacity * element);
    memcpy(p, old, count * element);
    return p;
}

u16 ir_cc_flags(unsigned cc) {
    static const u16 reads[8] = {
        FLAG_OF, FLAG_CF, FLAG_ZF, FLAG_CF | FLAG_ZF, FLAG_SF, FLAG_PF,
        FLAG_SF | FLAG_OF, FLAG_SF | FLAG_OF | FLAG_ZF,
    };
    return reads[cc >> 1 & 7];
}

IrRef ir_const(IrBlock *b, u32 value) {
    for (u32 i = 0; i < b->const_count; i++)
        if (b->consts[i] == value) return (IrRef)(IR_KIND_CONST << 12 | i);
    if (b->const_count == b->const_capacity)
        b->consts = build_grow(b->arena, b->consts, b->const_count, &b->const_capacity,
                               sizeof *b->consts);
    require(b->const_count < IR_MAX_CONSTS);
    b->consts[b->const_count] = value;
    return (IrRef)(IR_KIND_CONST << 12 | b->const_count++);
}

IrRef ir_temp(IrBlock *b) {
    require(b->temp_count < IR_MAX_TEMPS);
    return IR_TEMP(b->temp_count++);
}

static bool build_is_cl(IrRef r) { return ir_kind(r) == IR_KIND_REG; }

// Flags by operand or size, of ops from SHL to SETF. Shifts and rotates by CL leave the flags alone when the count is
// 0: they use what they define.
static __attribute__((noinline)) IrOp *build_flags(IrOp *op) {
    switch (op->code) {
    case IR_SHL: case IR_SHR: case IR_SAR: case IR_ROL: case IR_ROR: case IR_RCL: case IR_RCR:
        if (build_is_cl(op->b)) op->fuse |= op->fdef;
        break;
    case IR_SHLD: case IR_SHRD:
        if (build_is_cl(op->c)) op->fuse |= op->fdef;
        break;
    case IR_SETF:
        if (op->size == 1) op->fdef = FLAG_SZAPC;       // SAHF keeps OF
        break;
    case IR_GETF:
        if (op->size == 1) op->fuse = FLAG_SZAPC;       // LAHF does not see it
        break;
    default: break;
    }
    return op;
}
_Static_assert(IR_SHRD > IR_SHL && IR_GETF > IR_SHRD && IR_SETF > IR_GETF, "ORDER: build_flags() has them all");

void ir_grow(IrBlock *b) {
    b->ops = build_grow(b->arena, b->ops, b->count, &b->capacity, sizeof *b->ops);
}

// Codes with which folding may begin: the copies, addresses and sums that ir_fold() looks at.
static bool build_may_fold(IrCode code) {
    bool moves = code >= IR_MOV && code <= IR_EA, computes = code >= IR_ADD && code <= IR_SAR;
    return moves || computes || code == IR_IMUL || code == IR_BSWAP;
}
_Static_assert(IR_EA == IR_MOV + 3 && IR_SAR > IR_ADD, "ORDER: build_may_fold() has them all");

IrOp *ir_alu(IrBlock *b, IrCode code, unsigned size, IrRef d, IrRef a, IrRef x, IrRef c) {
    IrOp *op = ir_put(b, code, size, d, a, x, c);
    return code >= IR_SHL && code <= IR_SETF ? build_flags(op) : op;
}

IrOp *ir_emit3(IrBlock *b, IrCode code, unsigned size, IrRef d, IrRef a, IrRef x, IrRef c) {
    if (b->count == b->capacity) ir_grow(b);
    IrOp *op = ir_alu(b, code, size, d, a, x, c);
    u16 props = ir_info[code].props;
    b->exits += (props & IRP_EXIT) != 0;
    b->accesses += (props & (IRP_LOAD | IRP_STORE)) != 0;
    b->steps += code == IR_EA || code == IR_ADD;
    b->folds |= build_may_fold(code);
    b->simd |= code >= IR_SIMD && code <= IR_SIMDST;
    return op;
}

void ir_mov(IrBlock *b, unsigned size, IrRef d, IrRef a) {
    if (d == a) return;
    if (ir_kind(d) == IR_KIND_TEMP || size == 2) b->folds = true;
    ir_put(b, IR_MOV, size, d, a, IR_NONE, IR_NONE);
}

static void build_ea(IrBlock *b, unsigned size, IrRef d, IrRef base, IrRef index, unsigned scale_log2, u32 disp) {
    if (base == IR_NONE && !scale_log2) b->folds = true;
    IrOp *op = ir_put(b, IR_EA, size, d, base, index, IR_NONE);
    op->aux = scale_log2;
    op->imm = disp;
}

void ir_ea_to(IrBlock *b, unsigned size, IrRef d, IrRef base, IrRef index, unsigned scale_log2, u32 disp) {
    b->steps += d == base && index == IR_NONE;
    build_ea(b, size, d, base, index, scale_log2, disp);
}

IrRef ir_ea(IrBlock *b, unsigned size, IrRef base, IrRef index, unsigned scale_log2, u32 disp) {
    if (index == IR_NONE) {
        if (base == IR_NONE) return ir_const(b, size == 2 ? disp & 0xffff : disp);
        if (size == 4 && !disp) return base;
    }
    IrRef d = ir_temp(b);
    build_ea(b, size, d, base, index, scale_log2, disp);
    return d;
}

void ir_ldenv(IrBlock *b, unsigned size, IrRef d, u32 offset) {
    ir_emit(b, IR_LDENV, size, d, IR_NONE, IR_NONE)->imm = offset;
}

void ir_stenv(IrBlock *b, unsigned size, IrRef a, u32 offset) {
    ir_emit(b, IR_STENV, size, IR_NONE, a, IR_NONE)->imm = offset;
}

IrOp *ir_call(IrBlock *b, unsigned helper, IrRef d, IrRef a, IrRef x, IrRef c) {
    IrOp *op = ir_emit3(b, IR_CALL, 4, d, a, x, c);
    op->imm = helper;
    u16 attr = b->helpers->row[helper].attr;
    if (attr & IR_HELPER_FLAGS_IN) op->fuse = FLAG_OSZAPC;
    if (attr & IR_HELPER_FLAGS_OUT) op->fdef = FLAG_OSZAPC;
    return op;
}

static IrOp *build_exit(IrBlock *b, IrCode code, IrRef a, u32 target) {
    IrOp *op = ir_put(b, code, 4, IR_NONE, a, IR_NONE, IR_NONE);
    op->imm = target;
    b->exits++;
    return op;
}

void ir_jcc(IrBlock *b, unsigned cc, u32 target) {
    IrOp *op = build_exit(b, IR_JCC, IR_NONE, target);
    op->cc = cc;
    op->fuse = ir_cc_flags(cc);
}

void ir_jmp(IrBlock *b, u32 target) { build_exit(b, IR_JMP, IR_NONE, target); }
void ir_jmpi(IrBlock *b, IrRef a) { build_exit(b, IR_JMPI, a, 0); }
void ir_leave(IrBlock *b) { build_exit(b, IR_LEAVE, IR_NONE, 0); }

void ir_leavenz(IrBlock *b, IrRef a) { build_exit(b, IR_LEAVENZ, a, 0); }

void ir_raise(IrBlock *b, unsigned vector, bool has_error, u32 error) {
    IrOp *op = ir_emit(b, IR_RAISE, 4, IR_NONE, IR_NONE, IR_NONE);
    op->imm = vector | (has_error ? 0x100u : 0) | error << 16;
}
