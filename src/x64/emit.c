// SPDX-License-Identifier: MIT
// The walk over a block: one case per IR op, normally one host instruction each.
//
// Rules
//  1. An op reads its operands, then prepares the flags (what survives, what it needs), then emits, then
//     says what it defined. Nothing between "prepare" and "emit" may touch host EFLAGS.
//  2. st_before_write() comes before any change of a guest register.
//  3. Loads fuse with the op right behind them when that is their only user; LOAD.rmw / op / STORE.rmw
//     become one instruction on memory.
#include "x64/emit_int.h"

#include <string.h>

// ---- byte registers ------------------------------------------------------------------------------------
// AH..BH cannot stand beside a REX prefix: swap them into AL..BL around the instruction (flag-free).
static void op_swap_bytes(Emit *e, unsigned high) {
    unsigned r = high & 3;
    enc_rm(e->b, ENC_BYTE, 0x86, high, rm_reg(r));        // xchg %ah, %al
}

static __attribute__((noinline)) void op_rm_high(Emit *e, unsigned flags, u32 opcode, unsigned reg, Rm rm) {
    unsigned high = reg & ENC_HIGH ? reg : rm.reg;
    if (!enc_needs_rex(reg, rm)) { enc_rm(e->b, flags, opcode, reg, rm); return; }
    op_swap_bytes(e, high);
    if (reg & ENC_HIGH) reg &= 3;
    else rm = rm_reg(rm.reg & 3);
    enc_rm(e->b, flags, opcode, reg, rm);
    op_swap_bytes(e, high);
}

static inline void op_rm_raw(Emit *e, unsigned flags, u32 opcode, unsigned reg, Rm rm) {
    if ((reg | rm.reg) & ENC_HIGH) op_rm_high(e, flags, opcode, reg, rm);
    else if (rm.mem) enc_rm(e->b, flags, opcode, reg, rm);
    else enc_rr(e->b, flags, opcode, reg, rm.reg);
}

void op_rm_part(Emit *e, unsigned size, u32 opcode, unsigned reg, Rm rm) {
    op_rm_raw(e, size_flags(size), size == 1 ? opcode - 1 : opcode, reg, rm);
}

void op_mov(Emit *e, unsigned size, unsigned reg, Opd from) {
    if (!from.is_imm) {
        if (!opd_is_mem(from) && from.rm.reg == reg) return;
        op_rm(e, size, 0x8b, reg, from.rm);
    } else if (size == 4) {
        enc_mov_imm(e->b, reg, from.imm);
    } else if (size == 2) {
        enc_rm(e->b, ENC_66, 0xc7, 0, rm_reg(reg));
        enc_u16(e->b, from.imm);
    } else {
        enc_rm(e->b, ENC_BYTE, 0xc6, 0, rm_reg(reg));
        enc_u8(e->b, from.imm);
    }
}

// ALU with immediate on a register or memory. digit: 0 add 1 or 2 adc 3 sbb 4 and 5 sub 6 xor 7 cmp.
static void op_alu_imm(Emit *e, unsigned size, unsigned digit, Rm rm, u32 imm) {
    enc_alu_imm(e->b, size_flags(size), digit, rm, imm, size);
}

static const u8 op_alu_digit[] = {
    [IR_ADD] = 0, [IR_OR] = 1, [IR_ADC] = 2, [IR_SBB] = 3, [IR_AND] = 4, [IR_SUB] = 5, [IR_XOR] = 6,
};

static bool op_is_alu(unsigned code) {
    return code == IR_ADD || code == IR_ADC || code == IR_SUB || code == IR_SBB || code == IR_AND ||
           code == IR_OR || code == IR_XOR;
}

// Flags that the op uses are in host EFLAGS, which are about to be lost; those to keep are kept elsewhere, too. What is
// in EFLAGS only is given up when neither needs it: not while others have to be loaded to it.
static void fl_use(Emit *e, const IrOp *op, u16 keep) {
    fl_prepare_clobber(e, keep | (op->fuse & ~e->f.host));
    if (op->fuse) fl_need_host(e, op->fuse);
}

// Prepares flags for an op that changes host EFLAGS: keeps what survives, loads what it needs.
static void fl_begin(Emit *e, const IrOp *op) {
    u16 keep = fl_survivors(op);
    if (!op->fdef) {
        fl_use(e, op, keep);
    } else if (keep | op->fuse) {
        if (keep && e->f.recipe) fl_prepare_clobber(e, true);     // catch a carry before re-executing
        fl_need_host(e, keep | op->fuse);
    }
}

// After it: host EFLAGS hold what the op defined (recipe: how else to get it).
static void fl_end(Emit *e, const IrOp *op, const FlagsState *recipe) {
    u16 sets = ir_info[op->code].flags & 0xffff;
    if (op->fdef) fl_defined(e, op, recipe);
    else e->f.host &= ~sets;
}

static void fl_reset_host(Emit *e) { e->f.host = 0; }

// ---- recipes --------------------------------------------------------------------------------------------
// The place of an operand, or 0xff when it has none that lasts.
static u8 fl_place(const Emit *e, IrRef r, FlagsState *f) {
    if (ir_kind(r) == IR_KIND_REG && !ir_is_high(r)) return ir_reg(r);
    if (ir_kind(r) == IR_KIND_CONST) { f->imm = ir_value(e->ir, r); return X64_AT_IMM; }
    return 0xff;
}

static bool fl_same_reg(IrRef a, IrRef b) {
    return ir_kind(a) == IR_KIND_REG && ir_kind(b) == IR_KIND_REG && ir_reg(a) == ir_reg(b);
}

static bool op_is_sum(unsigned code) {
    return code == IR_ADD || code == IR_SUB || code == IR_ADC || code == IR_SBB;
}

// The recipe of a sum whose result overwrote its first operand.
static FlagsKind fl_sum_kind(unsigned code) {
    return code == IR_ADD ? FLAGS_ADDR : code == IR_SUB ? FLAGS_SUBR : code == IR_ADC ? FLAGS_ADCR : FLAGS_SBBR;
}

// How the flags of an ALU op can be had later from what is in guest registers after it.
static bool fl_alu_recipe(const Emit *e, const IrOp *op, FlagsState *f) {
    *f = (FlagsState){ .c = X64_AT_ZERO, .b = X64_AT_ZERO };
    unsigned size = size_log2(op->size);
    switch (op->code) {
    case IR_AND: case IR_OR: case IR_XOR:
        f->op = FLAGS_OP(FLAGS_LOGIC, size);
        if (op->d != IR_NONE) f->a = fl_place(e, op->d, f);
        else if (op->a == op->b) f->a = fl_place(e, op->a, f);
        else return false;
        return f->a < 8;
    case IR_SUB:
        if (op->d == IR_NONE) {
            f->op = FLAGS_OP(FLAGS_SUB, size);
            f->a = fl_place(e, op->a, f);
            f->b = fl_place(e, op->b, f);
            return f->a < 8 && f->b != 0xff;
        }
        f->op = FLAGS_OP(FLAGS_SUBR, size);
        break;
    case IR_ADD: case IR_ADC: case IR_SBB: f->op = FLAGS_OP(fl_sum_kind(op->code), size); break;
    default: return false;
    }
    f->a = fl_place(e, op->d, f);
    f->b = fl_place(e, op->b, f);
    return f->a < 8 && f->b != 0xff && !fl_same_reg(op->d, op->b);
}

// ---- ALU ----------------------------------------------------------------------------------------------
static void op_before_write_ref(Emit *e, const IrOp *op, IrRef d) {
    if (ir_kind(d) == IR_KIND_REG) st_before_write(e, op, ir_reg(d));
}

// cmp/test: no result. a or b may be memory (fused load).
static void op_compare(Emit *e, const IrOp *op, Opd a, Opd b) {
    bool test = op->code == IR_AND;
    if (a.is_imm) {
        op_mov(e, 4, R9, a);
        a = (Opd){ .rm = rm_reg(R9) };
    }
    if (test && b.is_imm) {
        op_rm(e, op->size, 0xf7, 0, a.rm);
        if (op->size == 1) enc_u8(e->b, b.imm);
        else if (op->size == 2) enc_u16(e->b, b.imm);
        else enc_u32(e->b, b.imm);
    } else if (b.is_imm && b.imm == 0 && !opd_is_mem(a)) {
        op_rm(e, op->size, 0x85, a.rm.reg, a.rm);                  // cmp $0: test says the same
    } else if (b.is_imm) {
        op_alu_imm(e, op->size, 7, a.rm, b.imm);
    } else if (!opd_is_mem(b)) {
        op_rm(e, op->size, test ? 0x85 : 0x39, b.rm.reg, a.rm);
    } else if (!opd_is_mem(a)) {
        op_rm(e, op->size, test ? 0x85 : 0x3b, a.rm.reg, b.rm);
    } else {
        op_rm(e, op->size, 0x8b, R9, a.rm);
        op_rm(e, op->size, test ? 0x85 : 0x3b, R9, b.rm);
    }
}

// reg = reg OP b.
static void op_alu_into(Emit *e, const IrOp *op, unsigned reg, Opd b) {
    unsigned digit = op_alu_digit[op->code];
    if (b.is_imm) op_alu_imm(e, op->size, digit, rm_reg(reg), b.imm);
    else op_rm(e, op->size, digit << 3 | 3, reg, b.rm);
}

// Would an op that sets no flags of the guest, but host EFLAGS, destroy some that are wanted and nowhere else?
static bool fl_would_lose(const Emit *e, const IrOp *op) {
    u16 keep = fl_survivors(op);
    if (!keep) return false;
    return e->f.host & op->flive || !(e->f.recipe || e->f.env) || e->f.wants_carry || e->f.wants_product;
}

// d = a OP b where nobody wants flags: lea keeps host EFLAGS. With 16 bits it is the dearer way.
static bool op_alu_lea(Emit *e, const IrOp *op, Opd a, Opd b) {
    if (op->size == 1 || !opd_is_reg(a)) return false;
    if (op->code != IR_ADD && !(op->code == IR_SUB && b.is_imm)) return false;
    if (opd_is_mem(b)) return false;
    if (op->size == 2 && op->a == op->d && !fl_would_lose(e, op)) return false;
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    u32 by = op->code == IR_ADD ? b.imm : 0u - b.imm;
    if (op->size == 2) by = (u32)(i16)by;
    if (!b.is_imm) enc_rm(e->b, size_flags(op->size), 0x8d, reg, rm_sib(a.rm.reg, b.rm.reg, 0, 0));
    else enc_rm(e->b, size_flags(op->size), 0x8d, reg, rm_mem(a.rm.reg, (i32)by));
    st_defined(e, op->d, reg);
    return true;
}

// An ADD, SUB or compare with memory whose flags may be observed: the memory operand goes through r9 into
// the CPU state's word, which makes it a lasting place of the recipe.
//     mov (%r8), %r9d ; mov %r9d, flag_b ; add %r9d, %eax
static bool op_alu_keep_operand(Emit *e, const IrOp *op, Opd *a, Opd *b, FlagsState *f) {
    bool in_a = ac_is_operand(*a), in_b = ac_is_operand(*b);
    if (!op->fobs || !op->fdef || in_a == in_b || !op_is_sum(op->code)) return false;
    if (op->d != IR_NONE && in_a) return false;
    unsigned size = size_log2(op->size);
    *f = (FlagsState){ .a = X64_AT_A, .b = X64_AT_B, .c = X64_AT_ZERO };
    if (op->d != IR_NONE) {
        f->op = FLAGS_OP(fl_sum_kind(op->code), size);
        f->a = fl_place(e, op->d, f);
    } else {
        f->op = FLAGS_OP(FLAGS_SUB, size);
        if (in_a) f->b = fl_place(e, op->b, f);
        else f->a = fl_place(e, op->a, f);
    }
    if (f->a >= 8 && f->a != X64_AT_A) return false;
    if (f->b == 0xff) return false;
    Opd *m = in_a ? a : b;
    if (op->size == 4) enc_rm(e->b, 0, 0x8b, R9, m->rm);
    else enc_rm(e->b, 0, op->size == 1 ? 0x0fb6 : 0x0fb7, R9, m->rm);
    enc_rm(e->b, 0, 0x89, R9, rm_state(in_a ? e->t->flag_a : e->t->flag_b));
    *m = (Opd){ .rm = rm_reg(R9) };
    return true;
}

// ADC, SBB: the carry in becomes place C. False: not worth it, there is no recipe then.
static bool fl_keep_carry_in(Emit *e, const IrOp *op, FlagsState *f) {
    if (!op->fdef || !op->fobs) return false;
    enc_rm(e->b, ENC_BYTE, 0x0f92, 0, rm_state(e->t->flag_c));     // setc
    f->c = X64_AT_C;
    return true;
}

// A temporary that is computed from one that nobody reads again takes its register over.
static void op_take_over(Emit *e, const IrOp *op) {
    if (ir_kind(op->d) != IR_KIND_TEMP || ir_kind(op->a) != IR_KIND_TEMP || op != &e->ir->ops[e->i]) return;
    TempState *from = &e->temp[ir_index(op->a)], *to = &e->temp[ir_index(op->d)];
    if (from->kind != TEMP_REG || from->last > e->i || to->kind != TEMP_NOWHERE) return;
    to->kind = TEMP_REG;
    to->index = from->index;
    from->kind = TEMP_NOWHERE;
}

static void op_alu(Emit *e, const IrOp *op, Opd a, Opd b) {
    FlagsState recipe;
    if (op->d != IR_NONE && !op->fdef && op_alu_lea(e, op, a, b)) return;
    fl_begin(e, op);
    bool have = op_alu_keep_operand(e, op, &a, &b, &recipe) || fl_alu_recipe(e, op, &recipe);
    if (have && (op->code == IR_ADC || op->code == IR_SBB)) have = fl_keep_carry_in(e, op, &recipe);
    if (op->d == IR_NONE) {
        op_compare(e, op, a, b);
        fl_end(e, op, have ? &recipe : NULL);
        return;
    }
    op_before_write_ref(e, op, op->d);
    op_take_over(e, op);
    unsigned reg = st_define(e, op->d);
    bool commutes = op->code != IR_SUB && op->code != IR_SBB;
    bool b_is_d = opd_is_reg(b) && b.rm.reg == reg;
    if (opd_is_reg(a) && a.rm.reg == reg) {
        op_alu_into(e, op, reg, b);
    } else if (b_is_d && commutes) {
        op_alu_into(e, op, reg, a);
    } else if (b_is_d) {
        op_mov(e, op->size, R9, a);
        op_alu_into(e, op, R9, b);
        op_mov(e, op->size, reg, (Opd){ .rm = rm_reg(R9) });
    } else {
        op_mov(e, op->size, reg, a);
        op_alu_into(e, op, reg, b);
    }
    st_defined(e, op->d, reg);
    fl_end(e, op, have ? &recipe : NULL);
}

// ---- one operand: inc dec neg not, shifts ----------------------------------------------------------------
static void op_unary_encode(Emit *e, const IrOp *op, Rm rm) {
    switch (op->code) {
    case IR_INC: op_rm(e, op->size, 0xff, 0, rm); break;
    case IR_DEC: op_rm(e, op->size, 0xff, 1, rm); break;
    case IR_NOT: op_rm(e, op->size, 0xf7, 2, rm); break;
    default: op_rm(e, op->size, 0xf7, 3, rm); break;               // NEG
    }
}

// INC/DEC recipe. CF: constant when the old flags' CF is known or unwanted, else still in host EFLAGS.
static bool fl_incdec_recipe(const Emit *e, const IrOp *op, const FlagsState *old, FlagsState *f) {
    if (op->code == IR_NOT) return false;
    *f = (FlagsState){ .b = X64_AT_ZERO, .c = X64_AT_ZERO };
    if (op->code == IR_NEG) {
        f->op = FLAGS_OP(FLAGS_NEGR, size_log2(op->size));
        f->a = fl_place(e, op->d, f);
        return f->a < 8;
    }
    f->op = FLAGS_OP(op->code == IR_INC ? FLAGS_INC : FLAGS_DEC, size_log2(op->size));
    f->a = fl_place(e, op->d, f);
    bool wants_carry = (op->flive | op->fobs) & FLAG_CF;
    bool known_zero = old->recipe && !old->product && FLAGS_KIND(old->op) == FLAGS_LOGIC;
    f->wants_carry = wants_carry && !known_zero;
    return f->a < 8;
}

// INC or DEC of recipe f: is CF where it can stay, in host EFLAGS or in a place that lasts while code does not ask for
// it? Then nothing is done about it.
static bool fl_carry_stays(const Emit *e, const IrOp *op, FlagsState *f) {
    unsigned kind = e->f.op >> 2;
    if ((op->code != IR_INC && op->code != IR_DEC) || !(fl_survivors(op) & FLAG_CF) || !op->fdef) return false;
    if (e->f.wants_carry && e->f.host & FLAG_CF) return true;
    if (e->f.host & FLAG_CF || op->flive & FLAG_CF || !e->f.recipe || e->f.product || e->f.wants_carry) return false;
    if (kind != FLAGS_INC && kind != FLAGS_DEC && kind != FLAGS_LOGIC) return false;
    f->c = kind == FLAGS_LOGIC ? X64_AT_ZERO : e->f.c;
    f->wants_carry = false;
    return true;
}

static void op_unary(Emit *e, const IrOp *op) {
    FlagsState recipe, old = e->f;
    bool have = fl_incdec_recipe(e, op, &old, &recipe);
    Opd a = st_read(e, op->a);
    bool step = op->code == IR_INC || op->code == IR_DEC;
    bool lea = step && !op->fdef && op->size == 4 && opd_is_reg(a);
    if (op->code != IR_NOT && !lea && !(have && fl_carry_stays(e, op, &recipe))) fl_begin(e, op);
    bool wanted = fl_survivors(op) && !(step && op->fdef);      // of INC and DEC it is CF, which has been seen to
    if (ir_kind(op->d) == IR_KIND_REG) st_before_change(e, ir_reg(op->d), wanted);
    unsigned reg = st_define(e, op->d);
    if (lea) {
        enc_rm(e->b, 0, 0x8d, reg, rm_mem(a.rm.reg, op->code == IR_INC ? 1 : -1));
    } else {
        op_mov(e, op->size, reg, a);
        op_unary_encode(e, op, rm_reg(reg));
    }
    st_defined(e, op->d, reg);
    if (op->code != IR_NOT && !lea) fl_end(e, op, have ? &recipe : NULL);
}

static const u8 op_shift_digit[] = {
    [IR_SHL] = 4, [IR_SHR] = 5, [IR_SAR] = 7, [IR_ROL] = 0, [IR_ROR] = 1, [IR_RCL] = 2, [IR_RCR] = 3,
};

static bool op_is_shift(unsigned code) { return code >= IR_SHL && code <= IR_RCR; }

static void op_shift_encode(Emit *e, const IrOp *op, Rm rm) {
    unsigned digit = op_shift_digit[op->code];
    if (!ir_is_const(op->b)) { op_rm(e, op->size, 0xd3, digit, rm); return; }
    u32 n = ir_value(e->ir, op->b);
    if (n == 1) { op_rm(e, op->size, 0xd1, digit, rm); return; }
    // The immediate follows the instruction: a swapped byte register must not come between.
    unsigned high = !rm.mem && rm.reg & ENC_HIGH && enc_needs_rex(digit, rm);
    require(!high);
    enc_rm(e->b, size_flags(op->size), op->size == 1 ? 0xc0 : 0xc1, digit, rm);
    enc_u8(e->b, n);
}

// A shift by a constant whose flags may be observed: the operand goes to flag_a, the rest is static.
static bool fl_shift_recipe(Emit *e, const IrOp *op, unsigned reg, FlagsState *f) {
    if (op->code > IR_SAR || !ir_is_const(op->b) || !op->fdef || !op->fobs) return false;
    if (reg & ENC_HIGH) return false;
    unsigned kind = op->code == IR_SHL ? FLAGS_SHL : op->code == IR_SHR ? FLAGS_SHR : FLAGS_SAR;
    *f = (FlagsState){ .a = X64_AT_A, .b = X64_AT_IMM, .c = X64_AT_ZERO,
                       .op = FLAGS_OP(kind, size_log2(op->size)), .imm = ir_value(e->ir, op->b) };
    enc_rm(e->b, 0, 0x89, reg, rm_state(e->t->flag_a));
    return true;
}

static void op_shift(Emit *e, const IrOp *op) {
    Opd a = st_read(e, op->a);
    fl_begin(e, op);
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    bool to_cl = !ir_is_const(op->b) && (reg & ~ENC_HIGH & 0xf) == RCX && op->a != op->d;
    if (to_cl) {                                                   // d is (part of) ECX: count in CL
        op_mov(e, op->size, R9, a);
        op_shift_encode(e, op, rm_reg(R9));
        op_mov(e, op->size, reg, (Opd){ .rm = rm_reg(R9) });
        st_defined(e, op->d, reg);
        fl_end(e, op, NULL);
        return;
    }
    op_mov(e, op->size, reg, a);
    FlagsState recipe;
    bool have = fl_shift_recipe(e, op, reg, &recipe);
    op_shift_encode(e, op, rm_reg(reg));
    st_defined(e, op->d, reg);
    fl_end(e, op, have ? &recipe : NULL);
}

static void op_double_shift(Emit *e, const IrOp *op) {
    Opd a = st_read(e, op->a), b = st_read_reg(e, op->size, op->b, R8);
    fl_begin(e, op);
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d), work = reg;
    if ((opd_is_reg(b) && b.rm.reg == reg && op->a != op->d) || reg == RCX) work = R9;
    op_mov(e, op->size, work, a);
    u32 opcode = op->code == IR_SHLD ? 0x0fa4 : 0x0fac;
    if (ir_is_const(op->c)) {
        enc_rm(e->b, size_flags(op->size), opcode, b.rm.reg, rm_reg(work));
        enc_u8(e->b, ir_value(e->ir, op->c));
    } else {
        enc_rm(e->b, size_flags(op->size), opcode + 1, b.rm.reg, rm_reg(work));
    }
    op_mov(e, op->size, reg, (Opd){ .rm = rm_reg(work) });
    st_defined(e, op->d, reg);
    fl_end(e, op, NULL);
}

// ---- multiply, divide, bits ---------------------------------------------------------------------------
static void op_before_wide(Emit *e, const IrOp *op) {
    st_before_write(e, op, 0);
    if (op->size != 1) st_before_write(e, op, 2);
}

// A multiplication leaves all flags but CF and OF alone: what is known of them can stay.
static void fl_begin_product(Emit *e, const IrOp *op) {
    u16 keep = fl_survivors(op);
    bool known = e->f.recipe || e->f.env || (e->f.host & keep) == keep;
    if (!op->fdef || !known) fl_begin(e, op);
}

static void fl_end_product(Emit *e, const IrOp *op) {
    if (op->fdef) fl_multiplied(e, op);
    else fl_end(e, op, NULL);
}

static void op_wide(Emit *e, const IrOp *op, Opd a) {
    static const u8 digit[] = { [IR_MULW] = 4, [IR_IMULW] = 5, [IR_DIVW] = 6, [IR_IDIVW] = 7 };
    bool divides = op->code == IR_DIVW || op->code == IR_IDIVW;
    if (divides) {                         // #DE arrives as a signal at this instruction
        fl_prepare_clobber(e, true);
        if (op->fdef) fl_need_host(e, fl_survivors(op));
        st_record(e, e->b, e->b->p);
    } else {
        fl_begin_product(e, op);
    }
    op_before_wide(e, op);
    if (a.is_imm) {
        op_mov(e, 4, R9, a);
        a = (Opd){ .rm = rm_reg(R9) };
    }
    if (divides) {                         // the moves before it have moved the instruction
        e->out->restores[e->out->restore_count - 1].host = st_host_offset(e, e->b, e->b->p);
    }
    op_rm(e, op->size, 0xf7, digit[op->code], a.rm);
    if (divides) fl_end(e, op, NULL);
    else fl_end_product(e, op);
}

static void op_imul(Emit *e, const IrOp *op, Opd a, Opd b) {
    fl_begin_product(e, op);
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    if (a.is_imm) { Opd t = a; a = b; b = t; }
    if (a.is_imm) {                        // both are constants
        op_mov(e, 4, R9, a);
        a = (Opd){ .rm = rm_reg(R9) };
    }
    if (b.is_imm) {
        bool small = b.imm == (u32)(i32)(i8)b.imm;
        enc_rm(e->b, size_flags(op->size), small ? 0x6b : 0x69, reg, a.rm);
        if (small) enc_u8(e->b, b.imm);
        else if (op->size == 2) enc_u16(e->b, b.imm);
        else enc_u32(e->b, b.imm);
    } else if (opd_is_reg(b) && b.rm.reg == reg) {
        enc_rm(e->b, size_flags(op->size), 0x0faf, reg, a.rm);
    } else {
        op_mov(e, op->size, reg, a);
        enc_rm(e->b, size_flags(op->size), 0x0faf, reg, b.rm);
    }
    st_defined(e, op->d, reg);
    fl_end_product(e, op);
}

static void op_bit_test(Emit *e, const IrOp *op) {
    static const u8 digit[] = { [IR_BT] = 4, [IR_BTS] = 5, [IR_BTR] = 6, [IR_BTC] = 7 };
    Opd a = st_read(e, op->a), b = st_read(e, op->b);
    unsigned reg;
    fl_begin(e, op);
    if (op->d == IR_NONE) {
        a = st_read_reg(e, op->size, op->a, R8);
        reg = a.rm.reg;
    } else {
        op_before_write_ref(e, op, op->d);
        reg = st_define(e, op->d);
    }
    unsigned work = reg;
    bool clash = op->d != IR_NONE && opd_is_reg(b) && b.rm.reg == reg && op->a != op->d;
    if (clash) work = R9;
    if (op->d != IR_NONE) op_mov(e, op->size, work, a);
    if (b.is_imm) {
        enc_rm(e->b, size_flags(op->size), 0x0fba, digit[op->code], rm_reg(work));
        enc_u8(e->b, b.imm & (op->size * 8 - 1));
    } else {
        unsigned scratch = work == R9 ? R8 : R9;
        if (opd_is_mem(b)) { op_mov(e, op->size, scratch, b); b.rm = rm_reg(scratch); }
        u32 opcode = 0x0f83 | (u32)digit[op->code] << 3;           // a3 ab b3 bb
        enc_rm(e->b, size_flags(op->size), opcode, b.rm.reg, rm_reg(work));
    }
    if (op->d != IR_NONE) {
        op_mov(e, op->size, reg, (Opd){ .rm = rm_reg(work) });
        st_defined(e, op->d, reg);
    }
    fl_end(e, op, NULL);
}

static void op_bit_scan(Emit *e, const IrOp *op) {
    Opd a = st_read(e, op->a), b = st_read(e, op->b);
    if (a.is_imm) { op_mov(e, 4, R8, a); a = (Opd){ .rm = rm_reg(R8) }; }
    fl_begin(e, op);
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    if (op->b != op->d) {
        if (opd_is_reg(a) && a.rm.reg == reg) { op_mov(e, 4, R8, a); a = (Opd){ .rm = rm_reg(R8) }; }
        op_mov(e, op->size, reg, b);
    }
    enc_rm(e->b, size_flags(op->size), op->code == IR_BSF ? 0x0fbc : 0x0fbd, reg, a.rm);
    st_defined(e, op->d, reg);
    fl_end(e, op, NULL);
}

// ---- moves ---------------------------------------------------------------------------------------------
// A sum that is computed where it goes, 16 bits of it: lea sum, %r16, which leaves the upper half.
static bool op_move_sum(Emit *e, const IrOp *op) {
    const TempState *t = ir_kind(op->a) == IR_KIND_TEMP ? &e->temp[ir_index(op->a)] : NULL;
    if (op->size != 2 || ir_kind(op->d) != IR_KIND_REG || !t || t->kind != TEMP_LAZY) return false;
    const IrOp *ea = &e->ir->ops[t->def];
    unsigned base = ea->a == IR_NONE ? ENC_NO : st_host_reg(ea->a);
    unsigned index = ea->b == IR_NONE ? ENC_NO : st_host_reg(ea->b);
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    enc_rm(e->b, ENC_66, 0x8d, reg, rm_sib(base, index, ea->aux, ea->imm));
    st_defined(e, op->d, reg);
    return true;
}

static void op_move(Emit *e, const IrOp *op) {
    if (op_move_sum(e, op)) return;
    Opd a = st_read(e, op->a);
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    op_mov(e, op->size, reg, a);
    st_defined(e, op->d, reg);
}

// movzx / movsx from a register or memory.
static void op_extend_into(Emit *e, const IrOp *op, unsigned reg, Opd a) {
    bool sign = op->code == IR_SEXT;
    if (a.is_imm) {
        u32 v = op->aux == 1 ? (sign ? (u32)(i8)a.imm : (u8)a.imm)
                             : (sign ? (u32)(i16)a.imm : (u16)a.imm);
        op_mov(e, op->size, reg, (Opd){ .is_imm = true, .imm = v });
    } else if (op->aux >= op->size) {
        op_mov(e, op->size, reg, a);
    } else {
        u32 opcode = (sign ? 0x0fbe : 0x0fb6) + (op->aux == 2);
        bool swap = !opd_is_mem(a) && a.rm.reg & ENC_HIGH && enc_needs_rex(reg, a.rm);
        unsigned high = a.rm.reg;
        if (swap) { op_swap_bytes(e, high); a.rm = rm_reg(a.rm.reg & 3); }
        enc_rm(e->b, op->size == 2 ? ENC_66 : 0, opcode, reg, a.rm);
        if (swap) op_swap_bytes(e, high);
    }
}

static void op_extend(Emit *e, const IrOp *op, Opd a) {
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    op_extend_into(e, op, reg, a);
    st_defined(e, op->d, reg);
}

static unsigned op_ea_reg(Emit *e, IrRef r, unsigned scratch) {
    if (r == IR_NONE) return ENC_NO;
    return ir_kind(r) == IR_KIND_REG ? st_host_reg(r) : st_read_reg(e, 4, r, scratch).rm.reg;
}

static void op_ea_into(Emit *e, const IrOp *op, unsigned reg) {
    unsigned base = op_ea_reg(e, op->a, R8), index = op_ea_reg(e, op->b, R9);
    if (index == ENC_NO && base != ENC_NO && !op->imm) op_mov(e, 4, reg, (Opd){ .rm = rm_reg(base) });
    else enc_rm(e->b, 0, 0x8d, reg, rm_sib(base, index, op->aux, op->imm));
    if (op->size == 2) enc_rr(e->b, 0, 0x0fb7, reg, reg);
}

static __attribute__((noinline)) void op_ea_now(Emit *e, const IrOp *op) {
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    op_ea_into(e, op, reg);
    st_defined(e, op->d, reg);
}

// A temporary that is computed from guest registers can wait.
static void op_ea(Emit *e, const IrOp *op) {
    enum { OTHERS = 0xffff & ~(IR_KIND_REG << 12 | 0xfff) };
    u64 kinds = op->refs & (u64)OTHERS * 0x100010001u;
    if (kinds == IR_KIND_TEMP << 12) st_postpone(e, op);
    else op_ea_now(e, op);
}

static void op_select(Emit *e, const IrOp *op) {
    Opd a = st_read(e, op->a), b = st_read(e, op->b);
    unsigned cc = op->cc;
    fl_need_host(e, op->fuse);
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    if (opd_is_reg(a) && a.rm.reg == reg) {                // d = cc ? d : b
        Opd t = a; a = b; b = t;
        cc ^= 1;
    }
    op_mov(e, op->size, reg, b);
    unsigned size = op->size == 1 ? 4 : op->size;
    if (a.is_imm || op->size == 1) {
        op_mov(e, a.is_imm ? 4 : 1, R8, a);
        a = (Opd){ .rm = rm_reg(R8) };
    }
    if (reg & ENC_HIGH || op->size == 1) {                 // bytes: select in r9, then move
        op_mov(e, 1, R9, (Opd){ .rm = rm_reg(reg) });
        enc_rm(e->b, 0, 0x0f40 | cc, R9, a.rm);
        op_mov(e, 1, reg, (Opd){ .rm = rm_reg(R9) });
    } else {
        enc_rm(e->b, size_flags(size), 0x0f40 | cc, reg, a.rm);
    }
    st_defined(e, op->d, reg);
}

static void op_setcc(Emit *e, const IrOp *op) {
    fl_need_host(e, op->fuse);
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    op_rm_raw(e, ENC_BYTE, 0x0f90 | op->cc, 0, rm_reg(reg));
    st_defined(e, op->d, reg);
}

// ---- flags as values ------------------------------------------------------------------------------------
static void op_get_flags(Emit *e, const IrOp *op) {
    fl_use(e, op, op->flive | op->fobs);
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    if (op->size == 1) {
        require(reg == (ENC_HIGH | 4));
        enc_u8(e->b, 0x9f);                                                 // lahf
        return;
    }
    enc_u8(e->b, 0x9c);                                                     // pushfq
    if (reg >= 8) enc_u8(e->b, 0x41);
    enc_u8(e->b, 0x58 | (reg & 7));                                         // pop
    enc_alu_imm(e->b, 0, 4, rm_reg(reg), FLAG_OSZAPC, 4);
    fl_reset_host(e);
    st_defined(e, op->d, reg);
}

static void op_set_flags(Emit *e, const IrOp *op) {
    if (op->size == 1) {
        require(ir_is_high(op->a) && ir_reg(op->a) == 0);
        if ((op->flive | op->fobs) & FLAG_OF) fl_need_host(e, FLAG_OF);
        enc_u8(e->b, 0x9e);                                                 // sahf
        e->f = (FlagsState){ .host = FLAG_OSZAPC };
        return;
    }
    Opd a = st_read_reg(e, 4, op->a, R9);
    enc_rm(e->b, 0, 0x89, a.rm.reg, rm_state(e->t->flag_a));
    enc_rm(e->b, 0, 0xc6, 0, rm_state(e->t->flag_op));
    enc_u8(e->b, FLAGS_OP(FLAGS_RAW, 2));
    e->f = (FlagsState){ .env = true, .op = FLAGS_OP(FLAGS_RAW, 2) };
}

static void op_carry(Emit *e, const IrOp *op) {
    fl_begin(e, op);
    enc_u8(e->b, op->code == IR_CLC ? 0xf8 : op->code == IR_STC ? 0xf9 : 0xf5);
    fl_end(e, op, NULL);
}

// ---- CPU state, helpers -----------------------------------------------------------------------------------
static bool op_only_use(const Emit *e, IrRef temp, u32 at) {
    return ir_kind(temp) == IR_KIND_TEMP && e->temp[ir_index(temp)].last == at;
}

// LDENV t; XOR t2 = t, constant; LEAVENZ t2: is the word of the state what it was?
//     cmpl $constant, word ; jne leave
static bool op_leaves_unless(Emit *e, const IrOp *load) {
    if (load->size != 4 || e->i + 2 >= e->ir->count) return false;
    const IrOp *op = load + 1, *leave = load + 2;
    if (op->code != IR_XOR || op->size != 4 || op->a != load->d || !ir_is_const(op->b) || op->fdef) return false;
    if (leave->code != IR_LEAVENZ || leave->a != op->d) return false;
    if (load->d != op->d && !op_only_use(e, load->d, e->i + 1)) return false;
    if (!op_only_use(e, op->d, e->i + 2)) return false;
    fl_to_state(e, e->b, &e->f);
    enc_alu_imm(e->b, 0, 7, rm_state(e->t->env + (i32)load->imm), ir_value(e->ir, op->b), 4);
    fl_reset_host(e);
    enc_patch32(enc_jcc32(e->b, 5), e->t->leave);
    e->skip = 2;
    return true;
}

static void op_load_state(Emit *e, const IrOp *op) {
    if (op_leaves_unless(e, op)) return;
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    Rm rm = rm_state(e->t->env + (i32)op->imm);
    if (reg & ENC_HIGH || (ir_kind(op->d) == IR_KIND_REG && op->size != 4)) op_rm(e, op->size, 0x8b, reg, rm);
    else if (op->size == 4) enc_rm(e->b, 0, 0x8b, reg, rm);
    else enc_rm(e->b, 0, op->size == 1 ? 0x0fb6 : 0x0fb7, reg, rm);
    st_defined(e, op->d, reg);
}

static void op_store_value(Emit *e, unsigned size, Rm to, Opd v) {
    if (v.is_imm) {
        enc_rm(e->b, size_flags(size), size == 1 ? 0xc6 : 0xc7, 0, to);
        if (size == 1) enc_u8(e->b, v.imm);
        else if (size == 2) enc_u16(e->b, v.imm);
        else enc_u32(e->b, v.imm);
        return;
    }
    if (opd_is_mem(v)) { op_mov(e, 4, R9, v); v.rm = rm_reg(R9); }
    op_rm(e, size, 0x89, v.rm.reg, to);
}

// A helper's, in r8 to r10. Small constants are shorter by XOR (nothing is in host EFLAGS any more) or by way of the
// stack:  push $imm ; pop %r8
static void op_argument(Emit *e, unsigned reg, Opd v) {
    if (v.is_imm && !v.imm) enc_rr(e->b, 0, 0x31, reg, reg);
    else if (v.is_imm && v.imm < 0x80) enc_known(e->b, 0x5841006a | v.imm << 8 | (reg & 7) << 24, 4);
    else op_mov(e, 4, reg, v);
}

static void op_call(Emit *e, const IrOp *op) {
    const IrHelper *h = &e->ir->helpers->row[op->imm];
    bool leaves = h->attr & (IR_HELPER_END | IR_HELPER_FLAGS_IN | IR_HELPER_REGS | IR_HELPER_FAULT);
    bool wanted = op->fuse || (op->flive | op->fobs) & ~op->fdef || h->attr & IR_HELPER_FAULT;
    if (wanted && leaves && !e->f.env) fl_to_state(e, e->b, &e->f);
    else fl_prepare_clobber(e, wanted);
    st_settle(e, op->b);                   // may take r9
    st_settle(e, op->c);
    if (op->a != IR_NONE) op_argument(e, R8, st_read(e, op->a));
    if (op->b != IR_NONE) op_argument(e, R9, st_read(e, op->b));
    if (op->c != IR_NONE) {
        Opd c = st_read(e, op->c);
        if (!(opd_is_reg(c) && c.rm.reg == R10)) {
            if (!(e->reg_free & BIT(R10))) st_spill_live(e);
            op_argument(e, R10, c);
        }
    }
    st_spill_live(e);
    e->fpu_told = 0;
    e->base_of = ST_NO_BASE;
    enc_patch32(enc_call32(e->b), e->t->helper[op->imm]);
    st_record(e, e->b, e->b->p - 1);
    fl_reset_host(e);
    if (op->fdef || h->attr & IR_HELPER_FLAGS_OUT) e->f = (FlagsState){ .env = true, .op = 0 };
    if (e->f.env && h->attr & IR_HELPER_FLAGS_IN) e->f.recipe = false;     // it may have written them in another form
    if (op->d == IR_NONE) return;
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    op_mov(e, 4, reg, (Opd){ .rm = rm_reg(R8) });
    st_defined(e, op->d, reg);
}

// ---- memory: fusion ------------------------------------------------------------------------------------
// The next op is the last to look at a load's temporary.
// LOAD.rmw t; op t2 = t, x; STORE.rmw same address, t2: one instruction.
static bool op_fuses_rmw(const Emit *e, const IrOp *load) {
    if (!(load->attr & IR_RMW) || e->i + 2 >= e->ir->count) return false;
    const IrOp *op = load + 1, *store = load + 2;
    if (store->code != IR_STORE || !(store->attr & IR_RMW) || store->a != load->a) return false;
    if (op->a != load->d || op->d != store->b || op->size != load->size) return false;
    if (store->size != load->size || ir_kind(op->d) != IR_KIND_TEMP) return false;
    if (load->d != op->d && !op_only_use(e, load->d, e->i + 1)) return false;
    if (e->temp[ir_index(op->d)].last != e->i + 2) return false;
    if (op->b == load->d) return false;
    if (op_is_alu(op->code)) return true;
    if (op->code == IR_INC || op->code == IR_DEC || op->code == IR_NEG || op->code == IR_NOT) return true;
    // A shift by a constant whose flags are observed wants its operand in a register.
    return op_is_shift(op->code) && !(ir_is_const(op->b) && op->code <= IR_SAR && op->fobs);
}

static void op_rmw_encode(Emit *e, const IrOp *op, Opd b, Rm rm) {
    if (op_is_shift(op->code)) { op_shift_encode(e, op, rm); return; }
    if (!op_is_alu(op->code)) { op_unary_encode(e, op, rm); return; }
    unsigned digit = op_alu_digit[op->code];
    if (b.is_imm) op_alu_imm(e, op->size, digit, rm, b.imm);
    else if (opd_is_mem(b)) op_rm(e, op->size, digit << 3 | 3, rm.reg, b.rm);   // spilled; rm is r9
    else op_rm(e, op->size, digit << 3 | 1, b.rm.reg, rm);
}

// Flags from before that the instruction needs are loaded in both copies: same state, twice.
static void op_rmw_copy(Emit *e, const IrOp *op, IrRef bref, Rm rm) {
    Opd b = { 0 };
    fl_begin(e, op);
    if (bref != IR_NONE) {
        b = st_read(e, bref);
        if (opd_is_mem(b)) { op_mov(e, 4, R9, b); b.rm = rm_reg(R9); }
    }
    op_rmw_encode(e, op, b, rm);
}

// Flags that may be observed: the value before (sums) or after the operation (others) goes through r9 into flag_a.
//     mov (%r8), %r9d ; mov %r9d, flag_a ; add %eax, (%r8)
//     mov (%r8), %r9d ; inc %r9d ; mov %r9d, flag_a ; mov %r9d, (%r8)
// With 8 or 16 bits the operation is done on memory and the value loaded then: a store and a load of so few are waited
// for longer.
static bool fl_rmw_recipe(const Emit *e, const IrOp *op, FlagsState *f) {
    unsigned size = size_log2(op->size);
    *f = (FlagsState){ .a = X64_AT_A, .b = X64_AT_ZERO, .c = X64_AT_ZERO };
    if (!op->fdef || !op->fobs) return false;
    switch (op->code) {
    case IR_ADD: f->op = FLAGS_OP(FLAGS_ADD, size); break;
    case IR_SUB: f->op = FLAGS_OP(FLAGS_SUB, size); break;
    case IR_AND: case IR_OR: case IR_XOR: f->op = FLAGS_OP(FLAGS_LOGIC, size); return true;
    case IR_INC: case IR_DEC:
        f->op = FLAGS_OP(op->code == IR_INC ? FLAGS_INC : FLAGS_DEC, size);
        f->wants_carry = (op->flive | op->fobs) & FLAG_CF;
        return true;
    default: return false;
    }
    f->b = fl_place(e, op->b, f);
    return f->b != 0xff;
}

static void op_rmw_copy_kept(Emit *e, const IrOp *op, IrRef bref, Rm rm) {
    bool sum = op->code == IR_ADD || op->code == IR_SUB;
    FlagsState unused = { 0 };
    if (!fl_carry_stays(e, op, &unused)) fl_begin(e, op);
    Opd b = bref == IR_NONE ? (Opd){ 0 } : st_read(e, bref);
    bool first = !sum && op->size != 4 && !opd_is_mem(b);
    if (first) op_rmw_encode(e, op, b, rm);
    enc_rm(e->b, 0, op->size == 4 ? 0x8b : op->size == 1 ? 0x0fb6 : 0x0fb7, R9, rm);
    if (!sum && !first) op_rmw_encode(e, op, b, rm_reg(R9));
    enc_rm(e->b, 0, 0x89, R9, rm_state(e->t->flag_a));
    if (sum) op_rmw_encode(e, op, b, rm);
    else if (!first) op_rm(e, op->size, 0x89, R9, rm);
}

static void op_rmw(Emit *e, const IrOp *load) {
    const IrOp *op = load + 1;
    IrRef bref = op_is_alu(op->code) ? op->b : IR_NONE;
    FlagsState recipe;
    st_settle(e, bref);
    bool kept = fl_rmw_recipe(e, op, &recipe);
    void (*copy)(Emit *, const IrOp *, IrRef, Rm) = kept ? op_rmw_copy_kept : op_rmw_copy;
    Rm rm = ac_store(e, load, load->size, true);
    FlagsState before = e->f;
    e->i++;
    if (kept) fl_carry_stays(e, op, &recipe);
    copy(e, op, bref, rm);
    FlagsState after = e->f;
    if (ac_late_copy(e, &rm)) {
        e->f = before;
        copy(e, op, bref, rm);
        ac_store_done(e);
        e->f = after;
    }
    e->i--;
    fl_end(e, op, kept ? &recipe : NULL);
    e->skip = 2;
}

// `op` with memory m in place of the temporary `from`. A temporary is defined by extensions only.
static void op_fused_copy(Emit *e, const IrOp *op, IrRef from, Opd m) {
    Opd a = op->a == from ? m : op->a == IR_NONE ? (Opd){ 0 } : st_read(e, op->a);
    Opd b = op->b == from ? m : op->b == IR_NONE ? (Opd){ 0 } : st_read(e, op->b);
    switch (op->code) {
    case IR_ZEXT: case IR_SEXT: op_extend(e, op, a); break;
    case IR_MULW: case IR_IMULW: case IR_DIVW: case IR_IDIVW: op_wide(e, op, a); break;
    case IR_IMUL: op_imul(e, op, a, b); break;
    case IR_MOV:
        op_before_write_ref(e, op, op->d);
        op_mov(e, op->size, st_define(e, op->d), a);
        break;
    default: op_alu(e, op, a, b); break;
    }
}

// A load and the op behind it. What has to be rescued is before the check, so that both copies find the same state.
static void op_fused(Emit *e, const IrOp *load) {
    const IrOp *op = load + 1;
    st_settle(e, op->a == load->d ? IR_NONE : op->a);
    st_settle(e, op->b == load->d ? IR_NONE : op->b);
    if (ir_kind(op->d) == IR_KIND_REG) st_before_load(e, op, ir_reg(op->d));
    if (ir_info[op->code].props & IRP_WIDE) st_before_load(e, op, 0);
    if (ir_info[op->code].props & IRP_WIDE && op->size != 1) st_before_load(e, op, 2);
    Opd m = { .rm = ac_load(e, load, load->size) };
    FlagsState before = e->f;
    e->i++;
    op_fused_copy(e, op, load->d, m);
    FlagsState after = e->f;
    if (ac_late_copy(e, &m.rm)) {
        e->f = before;
        op_fused_copy(e, op, load->d, m);
        ac_load_done(e);
        e->f = after;
    }
    e->i--;
    e->skip = 1;
}

// The op right behind a load that can take memory as its source: emits it. False: no such op.
static bool op_fuse_next(Emit *e, const IrOp *load) {
    if (load->attr & IR_RMW || e->i + 1 >= e->ir->count) return false;
    const IrOp *op = load + 1;
    if (!op_only_use(e, load->d, e->i + 1)) return false;
    bool alu = op_is_alu(op->code) && op->size == load->size && (op->a == load->d) != (op->b == load->d) &&
               (op->d == IR_NONE || (op->b == load->d && op->a == op->d && ir_kind(op->d) == IR_KIND_REG));
    bool extend = (op->code == IR_ZEXT || op->code == IR_SEXT) && op->aux == load->size && op->aux < op->size;
    bool move = op->code == IR_MOV && op->size == load->size && ir_kind(op->d) == IR_KIND_REG;
    bool wide = ir_info[op->code].props & IRP_WIDE && op->size == load->size;
    bool imul = op->code == IR_IMUL && op->size == load->size && op->a != op->b &&
                ir_kind(op->d) == IR_KIND_REG &&
                (ir_is_const(op->b) || ir_is_const(op->a) || op->a == op->d || op->b == op->d);
    if (!alu && !extend && !move && !wide && !imul) return false;
    op_fused(e, load);
    return true;
}

static void op_load_copy(Emit *e, const IrOp *op, unsigned reg, Rm rm) {
    if (ir_kind(op->d) == IR_KIND_TEMP && op->size != 4)
        enc_rm(e->b, 0, op->size == 1 ? 0x0fb6 : 0x0fb7, reg, rm);
    else op_rm(e, op->size, 0x8b, reg, rm);
    st_defined(e, op->d, reg);
}

static void op_load(Emit *e, const IrOp *op) {
    if (op_fuses_rmw(e, op)) { op_rmw(e, op); return; }
    if (op_fuse_next(e, op)) return;
    // Both copies must find the same state: what has to be rescued is before the check.
    if (ir_kind(op->d) == IR_KIND_REG) st_before_load(e, op, ir_reg(op->d));
    // Of a read-modify-write that is not one instruction: probes the write; the pointer is not kept.
    Rm rm = op->attr & IR_RMW ? ac_store(e, op, op->size, true) : ac_load(e, op, op->size);
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    op_load_copy(e, op, reg, rm);
    if (!ac_late_copy(e, &rm)) return;
    op_load_copy(e, op, reg, rm);
    ac_load_done(e);
}

static void op_store(Emit *e, const IrOp *op) {
    st_settle(e, op->b);
    Rm rm = ac_store(e, op, op->size, false);
    op_store_value(e, op->size, rm, st_read(e, op->b));
    if (!ac_late_copy(e, &rm)) return;
    op_store_value(e, op->size, rm, st_read(e, op->b));
    ac_store_done(e);
}

// ---- x87 --------------------------------------------------------------------------------------------------
// After an x87 instruction. Told once between helpers, for they alone clear it:
//     movb $1, fpu_used       or, with a memory operand,      movl $1 | segment << 16, fpu_used
static void op_fpu_used(Emit *e, const IrOp *op) {
    bool memory = ir_sets_fpu_pointers(op);
    u8 told = (u8)(memory ? 2 + op->seg : 1);
    if (e->fpu_told == told || (e->fpu_told && !memory)) return;
    e->fpu_told = told;
    enc_rm(e->b, 0, memory ? 0xc7 : 0xc6, 0, rm_state(e->t->fpu_used));
    if (memory) enc_u32(e->b, 1 | (u32)op->seg << 16);
    else enc_u8(e->b, 1);
}

static void op_fpu(Emit *e, const IrOp *op) {
    unsigned opcode = op->imm & 0xff, modrm = op->imm >> 8 & 0xff;
    if (opcode == 0xdf && modrm == 0xe0) st_before_write(e, op, 0);
    fl_prepare_clobber(e, true);                        // a pending exception is a fault point
    if (op->fuse) fl_need_host(e, op->fuse);
    st_record(e, e->b, e->b->p);
    enc_u8(e->b, opcode);
    enc_u8(e->b, modrm);
    op_fpu_used(e, op);
    if (op->fdef) e->f = (FlagsState){ .host = FLAG_OSZAPC };
}

static void op_fpu_mem(Emit *e, Rm rm, const IrOp *op) {
    st_record(e, e->b, e->b->p);
    enc_rm(e->b, 0, op->imm & 0xff, op->imm >> 8 & 7, rm);
}

static void op_fpu_load(Emit *e, const IrOp *op) {
    fl_prepare_clobber(e, true);
    Rm rm = ac_load(e, op, op->aux);
    op_fpu_mem(e, rm, op);
    if (ac_late_copy(e, &rm)) {
        op_fpu_mem(e, rm, op);
        ac_load_done(e);
    }
    op_fpu_used(e, op);
}

static void op_fpu_store(Emit *e, const IrOp *op) {
    fl_prepare_clobber(e, true);
    op_fpu_mem(e, ac_store(e, op, op->aux, false), op);
    Rm rm;
    if (ac_late_copy(e, &rm)) {
        op_fpu_mem(e, rm, op);
        ac_store_done(e);
    }
    op_fpu_used(e, op);
}

// ---- MMX, SSE -----------------------------------------------------------------------------------------------
static void op_simd_bytes(Emit *e, u32 imm, unsigned reg, Rm rm) {
    if (ir_simd_is_emms(imm)) { enc_u16(e->b, 0x770f); return; }
    enc_rm(e->b, 0, (imm & 0xff) << 16 | 0x0f00 | (imm >> 8 & 0xff), reg, rm);
    if (ir_simd_has_imm8(imm)) enc_u8(e->b, imm >> 24);
}

// COMISS and the like leave OSZAPC in host EFLAGS.
static void op_simd_flags(Emit *e, const IrOp *op) {
    if (op->fdef) e->f = (FlagsState){ .host = FLAG_OSZAPC };
    else if (ir_simd_sets_flags(op->imm)) e->f.host = 0;
}

static void op_simd(Emit *e, const IrOp *op) {
    bool faults = ir_simd_may_fault(op->imm);
    unsigned reg = op->imm >> 19 & 7, rm = op->imm >> 16 & 7, d = 0;
    if (op->a != IR_NONE) rm = st_read_reg(e, 4, op->a, R9).rm.reg;
    if (faults) fl_prepare_clobber(e, true);
    if (op->d != IR_NONE) {
        op_before_write_ref(e, op, op->d);
        d = st_define(e, op->d);
        if (ir_simd_general_in_rm(op->imm)) rm = d;
        else reg = d;
    }
    if (faults) st_record(e, e->b, e->b->p);
    op_simd_bytes(e, op->imm, reg, rm_reg(rm));
    if (op->d != IR_NONE) st_defined(e, op->d, d);
    op_simd_flags(e, op);
}

static void op_simd_load_copy(Emit *e, const IrOp *op, unsigned reg, Rm rm) {
    if (ir_simd_may_fault(op->imm)) st_record(e, e->b, e->b->p);
    op_simd_bytes(e, op->imm, reg, rm);
    if (op->d != IR_NONE) st_defined(e, op->d, reg);
}

static void op_simd_load(Emit *e, const IrOp *op) {
    unsigned reg = op->imm >> 19 & 7;
    if (ir_simd_may_fault(op->imm)) fl_prepare_clobber(e, true);
    if (ir_kind(op->d) == IR_KIND_REG) st_before_load(e, op, ir_reg(op->d));
    Rm rm = ac_load(e, op, op->aux);
    if (op->d != IR_NONE) {
        op_before_write_ref(e, op, op->d);
        reg = st_define(e, op->d);
    }
    op_simd_load_copy(e, op, reg, rm);
    if (ac_late_copy(e, &rm)) {
        op_simd_load_copy(e, op, reg, rm);
        ac_load_done(e);
    }
    op_simd_flags(e, op);
}

static void op_simd_store_copy(Emit *e, const IrOp *op, Rm rm) {
    if (ir_simd_may_fault(op->imm)) st_record(e, e->b, e->b->p);
    op_simd_bytes(e, op->imm, op->imm >> 19 & 7, rm);
}

static void op_simd_store(Emit *e, const IrOp *op) {
    if (ir_simd_may_fault(op->imm)) fl_prepare_clobber(e, true);
    Rm rm = ac_store(e, op, op->aux, false);
    op_simd_store_copy(e, op, rm);
    if (!ac_late_copy(e, &rm)) return;
    op_simd_store_copy(e, op, rm);
    ac_store_done(e);
}

// ---- exits ----------------------------------------------------------------------------------------------
// A direct exit: `jump` is the rel32 of the hot jump. Its stub asks for a link; its restore record says where
// the flags are. What cannot be had later (a carry, flags without a recipe) the stub saves first; where there is
// nothing to save it is one of the questions.
static void ex_edge(Emit *e, u8 *jump, u32 target) {
    X64Code *out = e->out;
    if (out->edge_count == e->edge_capacity) {
        X64Edge *old = out->edges;
        e->edge_capacity *= 2;
        out->edges = arena_alloc(e->ir->arena, e->edge_capacity * sizeof *old);
        memcpy(out->edges, old, out->edge_count * sizeof *old);
    }
    X64Edge *edge = &out->edges[out->edge_count++];
    *edge = (X64Edge){ .target = target, .jump = jump, .stub = e->cold.p };
    FlagsState before = e->f;
    edge->saves_flags = !before.env || before.product;
    if (!before.env && !before.recipe) fl_save_lahf(e, &e->cold, &e->f);
    fl_catch_carry(e, &e->cold, &e->f);
    edge->bare = e->cold.p == edge->stub;
    if (edge->bare) {
        edge->stub = e->cold.start + e->questions;           // until ask_finish()
        ask_question(e, X64_ASK_LINK);
        ask_jump(e, jump);
        return;
    }
    edge->stub_jump = enc_call32(&e->cold);
    enc_patch32(edge->stub_jump, e->t->link);
    st_record(e, &e->cold, e->cold.p - 1);
    e->f = before;
    enc_patch32(jump, edge->stub);
}

static void ex_jcc(Emit *e, const IrOp *op) {
    fl_need_host(e, op->fuse);
    ex_edge(e, enc_jcc32(e->b, op->cc), op->imm);
}

// Branch on a register being zero without touching the guest's flags.
static void ex_jz(Emit *e, const IrOp *op) {
    fl_prepare_clobber(e, true);                                   // the exit sees them
    Opd a = st_read_reg(e, op->size, op->a, R9);
    op_rm(e, op->size, 0x85, a.rm.reg, a.rm);
    fl_reset_host(e);
    ex_edge(e, enc_jcc32(e->b, op->code == IR_JZ ? 4 : 5), op->imm);
}

//     mov a, %r9d ; and $0xfffe, %r9d ; mov jump_cache, %r11                 r10 where a is in r11
//     cmp (%r11,%r9,8), a ; jne lookup_from[a] ; jmp *8(%r11,%r9,8)
// The base is not added, for this is the path that a mispredicted jump waits for.
static void ex_indirect(Emit *e, const IrOp *op) {
    Buf *b = e->b;
    fl_to_state(e, b, &e->f);
    unsigned a = st_read_reg(e, 4, op->a, R8).rm.reg, base = a == R11 ? R10 : R11;
    enc_rr(b, 0, 0x89, a, R9);
    enc_alu_imm(b, 0, 4, rm_reg(R9), 2 * (X64_JUMPS - 1), 4);
    enc_rm(b, ENC_W, 0x8b, base, rm_state(e->t->jump_cache));
    enc_rm(b, 0, 0x3b, a, rm_sib(base, R9, 3, 0));
    u8 *miss = enc_jcc32(b, 5);
    enc_rm(b, 0, 0xff, 4, rm_sib(base, R9, 3, 8));
    enc_patch32(miss, e->t->lookup_from[a]);
}

//     cmp $imm, a ; jne cold             cold: flags to the state; mov a, %r8d ; jmp jump
static void ex_guard(Emit *e, const IrOp *op) {
    fl_prepare_clobber(e, true);
    Opd a = st_read_reg(e, 4, op->a, R8);
    enc_alu_imm(e->b, 0, 7, a.rm, op->imm, 4);
    fl_reset_host(e);
    enc_patch32(enc_jcc32(e->b, 5), e->cold.p);
    FlagsState before = e->f;
    if (a.rm.reg != R8) enc_rr(&e->cold, 0, 0x89, a.rm.reg, R8);
    fl_to_state(e, &e->cold, &e->f);
    enc_patch32(enc_jmp32(&e->cold), e->t->jump);
    e->f = before;
}

static void ex_leave(Emit *e, const IrOp *op) {
    (void)op;
    fl_to_state(e, e->b, &e->f);
    enc_patch32(enc_jmp32(e->b), e->t->leave);
}

//     test a, a ; jne leave
static void ex_leave_if(Emit *e, const IrOp *op) {
    fl_to_state(e, e->b, &e->f);
    Opd a = st_read_reg(e, 4, op->a, R9);
    enc_rr(e->b, 0, 0x85, a.rm.reg, a.rm.reg);
    fl_reset_host(e);
    enc_patch32(enc_jcc32(e->b, 5), e->t->leave);
}

static void ex_raise(Emit *e, const IrOp *op) {
    fl_prepare_clobber(e, true);
    enc_mov_imm(e->b, R9, op->imm);
    enc_patch32(enc_call32(e->b), e->t->raise);
    st_record(e, e->b, e->b->p - 1);
}

//     cmp $limit, a ; ja cold        cold: mov $exception, %r9d ; call raise
static void ex_limit(Emit *e, const IrOp *op) {
    fl_prepare_clobber(e, true);
    Opd a = st_read_reg(e, 4, op->a, R9);
    enc_alu_imm(e->b, 0, 7, a.rm, op->imm, 4);
    fl_reset_host(e);
    u8 *out = enc_jcc32(e->b, 7);
    enc_patch32(out, e->cold.p);
    enc_mov_imm(&e->cold, R9, ir_value(e->ir, op->b));
    enc_patch32(enc_call32(&e->cold), e->t->raise);
    st_record(e, &e->cold, e->cold.p - 1);
}

static void ex_count(Emit *e, const IrOp *op) {
    require(op->imm < 0x80);
    e->charged += op->imm;
    if (!fl_would_lose(e, op)) {
        fl_prepare_clobber(e, fl_survivors(op));
        fl_reset_host(e);
        enc_alu_imm(e->b, 0, 5, rm_reg(R12), op->imm, 4);          // sub $n, %r12d: a byte less
        return;
    }
    enc_known(e->b, 0x24648d45 | (u64)(u8)-op->imm << 32, 5);      // lea -n(%r12), %r12d: keeps flags
}

static void ex_poll(Emit *e, const IrOp *op) {
    fl_prepare_clobber(e, true);
    fl_reset_host(e);
    enc_alu_imm(e->b, 0, 5, rm_reg(R12), op->imm, 4);              // sub $n, %r12d
    e->charged += op->imm;
    ask_question(e, X64_ASK_POLL);
    ask_jump(e, enc_jcc32(e->b, 8));
}

// ---- the walk -------------------------------------------------------------------------------------------
static void em_bswap(Emit *e, const IrOp *op) {
    Opd a = st_read(e, op->a);
    op_before_write_ref(e, op, op->d);
    unsigned reg = st_define(e, op->d);
    op_mov(e, 4, reg, a);
    if (reg >= 8) enc_u8(e->b, 0x41);
    enc_u16(e->b, 0xc80f | (reg & 7) << 8);
    st_defined(e, op->d, reg);
}

// PROBE: a write check of any length: the helper-like slow path does it.
static void em_probe(Emit *e, const IrOp *op) {
    fl_prepare_clobber(e, true);
    fl_reset_host(e);
    op_mov(e, 4, R8, st_read(e, op->a));
    enc_mov_imm(e->b, R9, X64_SLOW_INFO(X64_SLOW_STORE, op->seg, op->imm));
    enc_patch32(enc_call32(e->b), e->t->probe);
    st_record(e, e->b, e->b->p - 1);
}

static void em_extend(Emit *e, const IrOp *op) { op_extend(e, op, st_read(e, op->a)); }
static void em_alu(Emit *e, const IrOp *op) { op_alu(e, op, st_read(e, op->a), st_read(e, op->b)); }
static void em_wide(Emit *e, const IrOp *op) { op_wide(e, op, st_read(e, op->a)); }
static void em_imul(Emit *e, const IrOp *op) { op_imul(e, op, st_read(e, op->a), st_read(e, op->b)); }
static void em_jmp(Emit *e, const IrOp *op) { ex_edge(e, enc_jmp32(e->b), op->imm); }
static void em_store_state(Emit *e, const IrOp *op) {
    op_store_value(e, op->size, rm_state(e->t->env + (i32)op->imm), st_read(e, op->a));
}
static void em_none(Emit *e, const IrOp *op) { panic("no code for IR op %s (%u)", ir_info[op->code].name, e->i); }

static void (*const em_ops[IR_CODE_COUNT])(Emit *, const IrOp *) = {
    [IR_INSN] = em_none,
    [IR_MOV] = op_move, [IR_ZEXT] = em_extend, [IR_SEXT] = em_extend, [IR_EA] = op_ea,
    [IR_LOAD] = op_load, [IR_STORE] = op_store, [IR_PROBE] = em_probe,
    [IR_ADD] = em_alu, [IR_ADC] = em_alu, [IR_SUB] = em_alu, [IR_SBB] = em_alu, [IR_AND] = em_alu, [IR_OR] = em_alu,
    [IR_XOR] = em_alu,
    [IR_INC] = op_unary, [IR_DEC] = op_unary, [IR_NEG] = op_unary, [IR_NOT] = op_unary,
    [IR_SHL] = op_shift, [IR_SHR] = op_shift, [IR_SAR] = op_shift, [IR_ROL] = op_shift, [IR_ROR] = op_shift,
    [IR_RCL] = op_shift, [IR_RCR] = op_shift, [IR_SHLD] = op_double_shift, [IR_SHRD] = op_double_shift,
    [IR_MULW] = em_wide, [IR_IMULW] = em_wide, [IR_DIVW] = em_wide, [IR_IDIVW] = em_wide, [IR_IMUL] = em_imul,
    [IR_BT] = op_bit_test, [IR_BTS] = op_bit_test, [IR_BTR] = op_bit_test, [IR_BTC] = op_bit_test,
    [IR_BSF] = op_bit_scan, [IR_BSR] = op_bit_scan, [IR_BSWAP] = em_bswap,
    [IR_SEL] = op_select, [IR_SETCC] = op_setcc, [IR_GETF] = op_get_flags, [IR_SETF] = op_set_flags,
    [IR_CLC] = op_carry, [IR_STC] = op_carry, [IR_CMC] = op_carry,
    [IR_LDENV] = op_load_state, [IR_STENV] = em_store_state, [IR_CALL] = op_call,
    [IR_FPU] = op_fpu, [IR_FPULD] = op_fpu_load, [IR_FPUST] = op_fpu_store,
    [IR_SIMD] = op_simd, [IR_SIMDLD] = op_simd_load, [IR_SIMDST] = op_simd_store,
    [IR_JCC] = ex_jcc, [IR_JZ] = ex_jz, [IR_JNZ] = ex_jz, [IR_GUARD] = ex_guard, [IR_JMP] = em_jmp,
    [IR_JMPI] = ex_indirect, [IR_LEAVE] = ex_leave, [IR_LEAVENZ] = ex_leave_if, [IR_RAISE] = ex_raise,
    [IR_LIMIT] = ex_limit, [IR_COUNT] = ex_count, [IR_POLL] = ex_poll,
};

// Finds the last use of each temporary.
static void em_scan(Emit *e) {
    const IrOp *op = e->ir->ops;
    for (u32 i = 0, count = e->ir->count; i < count; i++, op++) {
        u64 temps = ir_temps(op);
        if (op->attr & (IR_GROUP_FIRST | IR_GROUPED)) temps &= ~0xffff0000ull;       // the address is the group's
        for (; temps; temps &= temps - 1) e->temp[ir_index(op->ref[ir_temp_operand(temps)])].last = i;
    }
}

// Is there an op that works on XMM registers?
static bool em_uses_xmm(const IrBlock *ir) {
    if (!ir->simd) return false;
    for (const IrOp *op = ir->ops; op < ir->ops + ir->count; op++)
        if (op->code >= IR_SIMD && op->code <= IR_SIMDST && ir_simd_uses_xmm(op->imm)) return true;
    return false;
}

// Does the page still lead here, and where CS has a base, is it still the same? Flags: equal, or not.
//     cmpl $base, CS base ; jne unfit ; cmpl $expects, code_table + 4*page(%r13) ; unfit:
static void em_test_page(Buf *b, const X64Target *t, const X64Entry *entry, u32 eip, u32 expects) {
    u8 *unfit = NULL;
    if (!entry->flat) {
        enc_alu_imm(b, 0, 7, rm_state(t->seg_base[1]), entry->base, 4);
        unfit = enc_jcc8(b, 5);
    }
    i32 offset = t->code_table + (i32)((entry->base + eip) >> PAGE_SHIFT) * 4;
    enc_alu_imm(b, 0, 7, rm_mem(R13, offset), expects, 4);
    if (unfit) enc_patch8(unfit, b->p);
}

// The test ; jne back to C.
static void em_check_page(Emit *e, const X64Entry *entry, u32 eip, u32 expects) {
    em_test_page(&e->hot, e->t, entry, eip, expects);
    ask_question(e, X64_ASK_STALE);
    ask_jump(e, enc_jcc32(&e->hot, 5));
}

//     (test) ; je fast ; mov $eip, %r8d ; jmp lookup
u8 *x64_checked_entry(const X64Target *target, const X64Entry *entry, const u8 *fast, u8 *at) {
    Buf b = { at, at, at + X64_CHECKED_ENTRY_BYTES };
    em_test_page(&b, target, entry, entry->eip, entry->expects);
    enc_patch32(enc_jcc32(&b, 4), fast);
    enc_mov_imm(&b, R8, entry->eip);
    enc_patch32(enc_jmp32(&b), target->lookup);
    return b.p;
}

// The block uses XMM registers: the guest's are loaded unless they are there. They stay until generated code is
// left, so that links between such blocks go past this.
//     cmpl $0, sse_live ; je cold        cold: call sse_load ; jmp back
static void em_want_xmm(Emit *e) {
    Buf *b = &e->hot, *c = &e->cold;
    enc_rm(b, 0, 0x83, 7, rm_state(e->t->sse_live));
    enc_u8(b, 0);
    enc_patch32(enc_jcc32(b, 4), c->p);
    enc_patch32(enc_call32(c), e->t->sse_load);
    enc_patch32(enc_jmp32(c), b->p);
}

static void em_entries(Emit *e, const X64Entry *entry) {
    if (entry->checked || entry->second) em_check_page(e, entry, entry->eip, entry->expects);
    e->out->fast = (u32)(e->hot.p - e->hot.start);
    if (entry->second) em_check_page(e, entry, entry->second_eip, entry->second_expects);
    if (e->out->uses_xmm) em_want_xmm(e);
    e->out->live = entry->second ? e->out->fast : (u32)(e->hot.p - e->hot.start);
}

enum { EM_OP_HOT = 256, EM_OP_COLD = 512 };     // no op with its fused successors takes more

static bool em_has_room(const Emit *e, u32 ops) {
    const Buf *late = &e->late;
    return e->hot.end - e->hot.p >= (i64)ops * EM_OP_HOT && e->cold.end - e->cold.p >= (i64)ops * EM_OP_COLD &&
           (!late->start || late->end - late->p >= (i64)ops * EM_OP_COLD);
}

// After an op: frees what it has used for the last time.
static inline void em_release(Emit *e, const IrOp *op, u32 at) {
    for (u64 temps = ir_temps(op); temps; temps &= temps - 1) {
        TempState *t = &e->temp[ir_index(op->ref[ir_temp_operand(temps)])];
        if (t->last <= at) st_free(e, t);
    }
    if (op->attr & (IR_GROUP_FIRST | IR_GROUPED) && e->ir->groups[op->group].last == at)
        e->reg_free |= BIT(e->group_reg[op->group]) & (BIT(R10) | BIT(R11));
}

static __attribute__((noinline)) void em_release_fused(Emit *e, const IrOp *op) {
    for (u32 n = 1; n <= e->skip; n++) em_release(e, op + n, e->i + n);
}

static bool em_body(Emit *e) {
    const IrOp *ops = e->ir->ops, *end = ops + e->ir->count;
    bool began = false, roomy = em_has_room(e, e->ir->count);
    for (const IrOp *op = ops; op < end; op++) {
        if (op->code == IR_INSN) {
            e->insn += began;
            began = true;
            continue;
        }
        if (!roomy && !em_has_room(e, 1)) return false;
        e->i = (u32)(op - ops);
        e->skip = 0;
        em_ops[op->code](e, op);
        em_release(e, op, e->i);
        if (!e->skip) continue;
        em_release_fused(e, op);
        op += e->skip;
    }
    return true;
}

static void em_sort_restores(X64Code *out) {    // few and nearly sorted: insertion
    for (u32 i = 1; i < out->restore_count; i++) {
        X64Restore r = out->restores[i];
        u32 k = i;
        for (; k > 0 && out->restores[k - 1].host > r.host; k--) out->restores[k] = out->restores[k - 1];
        out->restores[k] = r;
    }
}

typedef struct EmRoom { Buf hot, cold, late; u32 late_question; ptrdiff_t moved; } EmRoom;

static bool em_emit(const IrBlock *ir, const X64Target *target, const X64Entry *entry, const EmRoom *room,
                    X64Code *out) {
    Arena *arena = ir->arena;
    *out = (X64Code){ .hot = room->hot.start };
    Emit e = { .ir = ir, .t = target, .out = out,
               .hot = room->hot, .cold = room->cold, .late = room->late,
               .late_question = room->late_question, .joins = entry->joins, .moved = room->moved,
               .reg_free = BIT(R10) | BIT(R11), .spill_free = BIT(target->spill_count) - 1,
               .base_of = ST_NO_BASE,
               .f = fl_at_entry(&entry->flags), .form = entry->form, .linear = entry->form != X64_ADDED,
               .edge_capacity = 8, .restore_capacity = 32, .ask_capacity = 32 };
    e.b = &e.hot;
    e.temp = arena_alloc(arena, (ir->temp_count + 1) * sizeof *e.temp);
    memset(e.temp, 0, (ir->temp_count + 1) * sizeof *e.temp);
    out->edges = arena_alloc(arena, e.edge_capacity * sizeof *out->edges);
    out->restores = arena_alloc(arena, e.restore_capacity * sizeof *out->restores);
    e.asks = arena_alloc(arena, e.ask_capacity * sizeof *e.asks);
    if (!em_has_room(&e, 1)) return false;
    em_scan(&e);
    out->uses_xmm = em_uses_xmm(ir);
    em_entries(&e, entry);
    if (!em_body(&e) || !ask_finish(&e)) return false;
    out->hot_bytes = (u32)(e.hot.p - e.hot.start);
    out->cold = e.cold.start;
    out->cold_bytes = (u32)(e.cold.p - e.cold.start);
    out->late_bytes = (u32)(e.late.p - e.late.start);
    em_sort_restores(out);
    return true;
}

bool x64_emit(const IrBlock *ir, const X64Target *target, const X64Entry *entry,
              u8 *hot, u8 *hot_end, u8 *cold, u8 *cold_end, X64Code *out) {
    EmRoom room = { .hot = { hot, hot, hot_end }, .cold = { cold, cold, cold_end } };
    return em_emit(ir, target, entry, &room, out);
}

bool x64_emit_late(const IrBlock *ir, const X64Target *target, const X64Entry *entry, const X64Late *at, X64Code *out) {
    u8 *hot = at->scratch, *cold = hot + at->hot_room;
    EmRoom room = { .hot = { hot, hot, cold }, .cold = { cold, cold, cold + at->cold_room },
                    .late = { at->late, at->late, at->late_end }, .late_question = at->question,
                    .moved = at->hot_at - hot };
    return em_emit(ir, target, entry, &room, out);
}
