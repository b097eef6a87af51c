// SPDX-License-Identifier: MIT
// Where things are while a block is emitted: temporaries and the guest's flags.
//
// Flags rules
//  1. Bits that nobody wants (neither flive nor fobs of the op before) may be lost.
//  2. Before host EFLAGS are clobbered while wanted bits are only there, they are saved: with LAHF/SETO
//     into the CPU state's flag_a, a recipe as well. One whose places still hold makes that unnecessary.
//  3. Before a place of the recipe is overwritten while the flags are wanted, its value is stored to the
//     CPU state's own word (flag_a, flag_b); the place then is that word.
//  4. On the normal path flags come back by executing the recipe's host instruction again.
#include "x64/emit_int.h"

#include <string.h>

// ---- operands -----------------------------------------------------------------------------------------
static unsigned st_take_reg(Emit *e) {
    bool first = e->reg_free & BIT(R10) && !(e->base_of != ST_NO_BASE && e->reg_free & BIT(R11));
    unsigned reg = first ? R10 : e->reg_free & BIT(R11) ? R11 : ENC_NO;
    if (reg == ENC_NO) return reg;
    e->reg_free &= ~BIT(reg);
    if (first) e->base_of = ST_NO_BASE;
    return reg;
}

static i32 st_spill_at(const Emit *e, unsigned slot) { return e->t->spill + 4 * (i32)slot; }

static unsigned st_take_spill(Emit *e) {
    require(e->spill_free);
    unsigned slot = __builtin_ctz(e->spill_free);
    e->spill_free &= ~BIT(slot);
    return slot;
}

static void st_place_temp(Emit *e, TempState *t) {
    unsigned reg = st_take_reg(e);
    t->kind = reg == ENC_NO ? TEMP_SPILL : TEMP_REG;
    t->index = reg == ENC_NO ? st_take_spill(e) : reg;
}

// A lazy EA gets a place and is computed now.
static void st_materialize(Emit *e, TempState *t) {
    const IrOp *ea = &e->ir->ops[t->def];
    st_no_longer_lazy(e);
    st_place_temp(e, t);
    unsigned reg = t->kind == TEMP_REG ? t->index : R9;
    unsigned base = ea->a == IR_NONE ? ENC_NO : st_host_reg(ea->a);
    if (ea->b != IR_NONE || base == ENC_NO)
        enc_rm(e->b, 0, 0x8d, reg, rm_sib(base, ea->b == IR_NONE ? ENC_NO : st_host_reg(ea->b),
                                          ea->aux, ea->imm));
    else enc_rm(e->b, 0, 0x8d, reg, rm_mem(base, ea->imm));
    if (ea->size == 2) enc_rr(e->b, 0, 0x0fb7, reg, reg);
    if (t->kind == TEMP_SPILL) enc_rm(e->b, 0, 0x89, reg, rm_state(st_spill_at(e, t->index)));
}

Opd st_read_temp(Emit *e, IrRef r) {
    require(ir_kind(r) == IR_KIND_TEMP);
    TempState *t = &e->temp[ir_index(r)];
    if (t->kind == TEMP_LAZY) st_materialize(e, t);
    require(t->kind != TEMP_NOWHERE);
    return (Opd){ .rm = t->kind == TEMP_REG ? rm_reg(t->index) : rm_state(st_spill_at(e, t->index)) };
}

void st_settle(Emit *e, IrRef r) {
    if (ir_kind(r) != IR_KIND_TEMP) return;
    TempState *t = &e->temp[ir_index(r)];
    if (t->kind == TEMP_LAZY) st_materialize(e, t);
}

Opd st_read_reg(Emit *e, unsigned size, IrRef r, unsigned scratch) {
    Opd o = st_read(e, r);
    if (opd_is_reg(o)) return o;
    op_mov(e, o.is_imm ? 4 : size, scratch, o);
    return (Opd){ .rm = rm_reg(scratch) };
}

unsigned st_define_temp(Emit *e, IrRef d) {
    TempState *t = &e->temp[ir_index(d)];
    if (t->kind == TEMP_LAZY) st_no_longer_lazy(e);
    if (t->kind == TEMP_NOWHERE || t->kind == TEMP_LAZY) st_place_temp(e, t);
    return t->kind == TEMP_REG ? t->index : R9;
}

void st_defined_temp(Emit *e, IrRef d, unsigned reg) {
    TempState *t = &e->temp[ir_index(d)];
    if (t->kind == TEMP_SPILL) enc_rm(e->b, 0, 0x89, reg, rm_state(st_spill_at(e, t->index)));
}

void st_claim(Emit *e, unsigned reg) {
    for (u32 n = 0; n < e->ir->temp_count && !(e->reg_free & BIT(reg)); n++) {
        TempState *t = &e->temp[n];
        if (t->kind != TEMP_REG || t->index != reg) continue;
        st_place_temp(e, t);
        if (t->kind == TEMP_REG) enc_rr(e->b, 0, 0x89, reg, t->index);
        else enc_rm(e->b, 0, 0x89, reg, rm_state(st_spill_at(e, t->index)));
        e->reg_free |= BIT(reg);
    }
    require(e->reg_free & BIT(reg));
    e->reg_free &= ~BIT(reg);
    if (reg == R10) e->base_of = ST_NO_BASE;
}

void st_spill_live(Emit *e) {
    for (u32 n = 0; n < e->ir->temp_count; n++) {
        TempState *t = &e->temp[n];
        if (t->kind != TEMP_REG || t->last <= e->i) continue;
        unsigned slot = st_take_spill(e);
        enc_rm(e->b, 0, 0x89, t->index, rm_state(st_spill_at(e, slot)));
        e->reg_free |= BIT(t->index);
        t->kind = TEMP_SPILL;
        t->index = slot;
    }
}

static bool st_lazy_uses(const Emit *e, const TempState *t, unsigned r) {
    const IrOp *ea = &e->ir->ops[t->def];
    return (ir_kind(ea->a) == IR_KIND_REG && ir_reg(ea->a) == r) ||
           (ir_kind(ea->b) == IR_KIND_REG && ir_reg(ea->b) == r);
}

// Value of guest register r moves to the CPU state's word; places that named it follow.
static void st_rescue_place(Emit *e, u8 *place, u8 home, i32 offset, unsigned r) {
    if (*place != X64_AT_REG + r) return;
    enc_rm(e->b, 0, 0x89, st_host_reg(IR_REG(r)), rm_state(offset));
    *place = home;
}

void st_rescue_lazy(Emit *e, unsigned r) {
    for (u32 n = 0; n < e->ir->temp_count; n++) {
        TempState *t = &e->temp[n];
        if (t->kind == TEMP_LAZY && t->last > e->i && st_lazy_uses(e, t, r)) st_materialize(e, t);
    }
}

void st_rescue_flags(Emit *e, unsigned r, bool flags_wanted) {
    if (!flags_wanted) {
        e->f.recipe = false;
    } else if (e->f.env) {               // the state holds them anyway: do not overwrite its words
        if (e->f.a == r || e->f.b == r) e->f.recipe = false;
    } else {
        st_rescue_place(e, &e->f.a, X64_AT_A, e->t->flag_a, r);
        st_rescue_place(e, &e->f.b, X64_AT_B, e->t->flag_b, r);
    }
}

// ---- flags --------------------------------------------------------------------------------------------
// A recipe's kind and size fit a byte; the others of flag_op are always 0.
static void fl_store_op(Buf *b, const X64Target *t, unsigned flag_op) {
    enc_rm(b, 0, 0xc6, 0, rm_state(t->flag_op));
    enc_u8(b, flag_op);
}

// LAHF; SETO AL; store AX: what is in host EFLAGS becomes a recipe. r9 keeps EAX.
void x64_save_lahf(const X64Target *t, Buf *b) {
    enc_rr(b, 0, 0x89, RAX, R9);                         // mov %eax, %r9d
    enc_u8(b, 0x9f);                                     // lahf
    enc_rm(b, ENC_BYTE, 0x0f90, 0, rm_reg(RAX));         // seto %al
    enc_rm(b, 0, 0x89, RAX, rm_state(t->flag_a));        // mov %eax, flag_a
    enc_rr(b, 0, 0x89, R9, RAX);                         // mov %r9d, %eax
}

void fl_save_lahf(Emit *e, Buf *b, FlagsState *f) {
    if (b == &e->cold) enc_patch32(enc_call32(b), e->t->save_lahf);
    else x64_save_lahf(e->t, b);
    *f = (FlagsState){ .host = f->host, .recipe = true, .op = FLAGS_OP(FLAGS_LAHF, 2),
                       .a = X64_AT_A, .b = X64_AT_ZERO, .c = X64_AT_ZERO };
}

static void fl_load_lahf(Emit *e) {
    Buf *b = e->b;
    enc_rr(b, 0, 0x89, RAX, R9);                         // mov %eax, %r9d
    enc_rm(b, 0, 0x8b, RAX, rm_state(e->t->flag_a));     // mov flag_a, %eax
    enc_u16(b, 0x7f04);                                  // add $127, %al: OF = bit 0
    enc_u8(b, 0x9e);                                     // sahf
    enc_rr(b, 0, 0x89, R9, RAX);                         // mov %r9d, %eax
}

// A product's CF = OF goes into flag_op; the state's recipe is told that it does (host EFLAGS are lost).
static void fl_catch_product(Emit *e, Buf *b, FlagsState *f) {
    if (f->wants_product) enc_rm(b, ENC_BYTE, 0x0f92, 0, rm_state(e->t->flag_op + 1));      // setc flag_op+1
    f->wants_product = false;
    if (!f->env || !f->product) return;
    enc_alu_imm(b, ENC_BYTE, 1, rm_state(e->t->flag_op), FLAGS_PRODUCT, 1);                  // orb $0x80, flag_op
    f->product = f->recipe = false;
    f->op |= FLAGS_PRODUCT;
    f->host = 0;
}

// INC/DEC: CF is still in host EFLAGS: setc flag_c.
void fl_catch_wanted(Emit *e, Buf *b, FlagsState *f) {
    if (f->wants_product | f->product) fl_catch_product(e, b, f);
    if (!f->wants_carry) return;
    enc_rm(b, ENC_BYTE, 0x0f92, 0, rm_state(e->t->flag_c));
    f->c = X64_AT_C;
    f->wants_carry = false;
}

static void fl_store_place(Buf *b, const FlagsState *f, u8 place, u8 home, i32 offset) {
    if (place == home) return;
    if (place < 8) {
        enc_rm(b, 0, 0x89, st_host_reg(IR_REG(place)), rm_state(offset));
    } else {
        require(place == X64_AT_IMM || place == X64_AT_ZERO);
        enc_rm(b, 0, 0xc7, 0, rm_state(offset));
        enc_u32(b, place == X64_AT_IMM ? f->imm : 0);
    }
}

// Which of b, c a kind of recipe looks at.
static bool fl_kind_has_b(unsigned flag_op) {
    switch (FLAGS_KIND(flag_op)) {
    case FLAGS_RAW: case FLAGS_LOGIC: case FLAGS_INC: case FLAGS_DEC: case FLAGS_LAHF: case FLAGS_NEGR:
        return false;
    default: return true;
    }
}

static bool fl_kind_has_c(unsigned flag_op) {
    switch (FLAGS_KIND(flag_op)) {
    case FLAGS_INC: case FLAGS_DEC: case FLAGS_ADCR: case FLAGS_SBBR: return true;
    default: return false;
    }
}

void fl_to_state(Emit *e, Buf *b, FlagsState *f) {
    fl_catch_carry(e, b, f);
    if (f->env) return;
    if (!f->recipe) fl_save_lahf(e, b, f);
    fl_store_place(b, f, f->a, X64_AT_A, e->t->flag_a);
    if (fl_kind_has_b(f->op)) fl_store_place(b, f, f->b, X64_AT_B, e->t->flag_b);
    if (fl_kind_has_c(f->op)) fl_store_place(b, f, f->c, X64_AT_C, e->t->flag_c);
    fl_store_op(b, e->t, f->op | (f->product ? FLAGS_PRODUCT : 0));
    f->env = true;
    f->recipe = !f->product;                             // known still, and all its places are the state's
    f->product = false;
    f->a = X64_AT_A;
    if (fl_kind_has_b(f->op)) f->b = X64_AT_B;
    if (fl_kind_has_c(f->op)) f->c = X64_AT_C;
}

void fl_prepare_clobber(Emit *e, bool wanted) {
    if (!wanted) { e->f.wants_carry = e->f.wants_product = false; return; }
    if (e->f.recipe || e->f.env) fl_catch_carry(e, e->b, &e->f);
    else fl_save_lahf(e, e->b, &e->f);
}

// Value of a place in a register: the guest register itself, or r9 loaded with it.
static unsigned fl_place_reg(Emit *e, u8 place, i32 offset, unsigned scratch) {
    if (place < 8) return st_host_reg(IR_REG(place));
    if (place == X64_AT_IMM) enc_mov_imm(e->b, scratch, e->f.imm);
    else if (place == X64_AT_ZERO) enc_mov_imm(e->b, scratch, 0);
    else enc_rm(e->b, 0, 0x8b, scratch, rm_state(offset));
    return scratch;
}

// op %b, reg  where b is a place: register, state word or immediate.
static void fl_apply_b(Emit *e, unsigned size, unsigned digit, unsigned reg) {
    u8 place = e->f.b;
    if (place == X64_AT_IMM || place == X64_AT_ZERO) {
        enc_alu_imm(e->b, size_flags(size), digit, rm_reg(reg), place == X64_AT_IMM ? e->f.imm : 0, size);
        return;
    }
    Rm rm = place < 8 ? rm_reg(st_host_reg(IR_REG(place))) : rm_state(e->t->flag_b);
    enc_rm(e->b, size_flags(size), digit << 3 | (size == 1 ? 2 : 3), reg, rm);
}

// Place C -> CF. A byte, as SETC has stored it: a wider load would have to wait until that store is done.
static void fl_load_carry(Emit *e) {
    if (e->f.c == X64_AT_ZERO) { enc_u8(e->b, 0xf8); return; }               // clc
    enc_alu_imm(e->b, ENC_BYTE, 7, rm_state(e->t->flag_c), 1, 1);            // cmpb $1, flag_c
    enc_u8(e->b, 0xf5);                                                      // cmc
}

// CF = OF = the product's, the other flags stay: 1 turns right into 0x80, whose two highest bits differ.
static void fl_execute_product(Emit *e) {
    enc_rm(e->b, 0, 0x0fb6, R9, rm_state(e->t->flag_op + 1));                // movzbl
    enc_rm(e->b, ENC_BYTE, 0xd0, 1, rm_reg(R9));                             // ror %r9b
}

// S, Z and P of a result that is still there.
static bool fl_test_result(Emit *e) {
    unsigned size = 1u << (e->f.op & 3);
    switch (e->f.op >> 2) {
    case FLAGS_ADDR: case FLAGS_SUBR: case FLAGS_LOGIC: case FLAGS_INC: case FLAGS_DEC: case FLAGS_ADCR:
    case FLAGS_SBBR: case FLAGS_NEGR: break;
    default: return false;
    }
    if (e->f.a == X64_AT_A) {
        enc_alu_imm(e->b, size_flags(size), 7, rm_state(e->t->flag_a), 0, size);
    } else {
        unsigned a = st_host_reg(IR_REG(e->f.a));
        enc_rr(e->b, size_flags(size), size == 1 ? 0x84 : 0x85, a, a);
    }
    return true;
}

// Executes the recipe again so that host EFLAGS hold these bits, and others except perhaps C. Uses r9.
static void fl_execute_plain(Emit *e, u16 bits) {
    unsigned size = 1u << (e->f.op & 3), kind = e->f.op >> 2, fl = size_flags(size);
    if (kind == FLAGS_LAHF) { fl_load_lahf(e); return; }
    unsigned a = fl_place_reg(e, e->f.a, e->t->flag_a, R9);
    switch (kind) {
    case FLAGS_SUB: fl_apply_b(e, size, 7, a); return;
    case FLAGS_LOGIC: enc_rm(e->b, fl, size == 1 ? 0x84 : 0x85, a, rm_reg(a)); return;
    default: break;
    }
    if (a != R9) enc_rr(e->b, 0, 0x89, a, R9);
    unsigned wide = size == 1 ? 0xfe : 0xff;
    switch (kind) {
    case FLAGS_ADD: fl_apply_b(e, size, 0, R9); break;
    case FLAGS_ADDR: fl_apply_b(e, 4, 5, R9); fl_apply_b(e, size, 0, R9); break;
    case FLAGS_SUBR: fl_apply_b(e, 4, 0, R9); fl_apply_b(e, size, 7, R9); break;
    case FLAGS_SHL: case FLAGS_SHR: case FLAGS_SAR: {
        unsigned digit = kind == FLAGS_SHL ? 4 : kind == FLAGS_SHR ? 5 : 7;
        enc_rm(e->b, fl, size == 1 ? 0xc0 : 0xc1, digit, rm_reg(R9));
        enc_u8(e->b, e->f.imm);
        break;
    }
    case FLAGS_ADCR: case FLAGS_SBBR:
        fl_load_carry(e);
        fl_apply_b(e, 4, kind == FLAGS_ADCR ? 3 : 2, R9);                    // undo
        fl_load_carry(e);
        fl_apply_b(e, size, kind == FLAGS_ADCR ? 2 : 3, R9);
        break;
    case FLAGS_NEGR:
        enc_rm(e->b, fl, size == 1 ? 0xf6 : 0xf7, 3, rm_reg(R9));
        enc_rm(e->b, fl, size == 1 ? 0xf6 : 0xf7, 3, rm_reg(R9));
        break;
    case FLAGS_INC: case FLAGS_DEC:
        if (bits & FLAG_CF) fl_load_carry(e);
        enc_rm(e->b, 0, 0x8d, R9, rm_mem(R9, kind == FLAGS_INC ? -1 : 1));   // lea: undo
        enc_rm(e->b, fl, wide, kind == FLAGS_INC ? 0 : 1, rm_reg(R9));
        break;
    default: panic("recipe kind %u", kind);
    }
}

// Then also C and O of a product. Gives the bits that hold.
static u16 fl_execute_recipe(Emit *e, u16 bits) {
    bool step = e->f.op >> 2 == FLAGS_INC || e->f.op >> 2 == FLAGS_DEC;
    fl_execute_plain(e, bits);
    if (e->f.product) fl_execute_product(e);
    return step && !e->f.product && !(bits & FLAG_CF) ? FLAG_OSZAP : FLAG_OSZAPC;
}

// CF alone, where it is had for less than all flags. Uses r9.
static bool fl_execute_carry(Emit *e) {
    unsigned size = 1u << (e->f.op & 3), reg;
    switch (e->f.op >> 2) {
    case FLAGS_LAHF:
        enc_rm(e->b, 0, 0x0fba, 4, rm_state(e->t->flag_a));                  // bt $8, flag_a
        enc_u8(e->b, 8);
        return true;
    case FLAGS_INC: case FLAGS_DEC:
        fl_load_carry(e);
        return true;
    case FLAGS_ADDR:                                                         // the sum is less than b
        fl_apply_b(e, size, 7, fl_place_reg(e, e->f.a, e->t->flag_a, R9));
        return true;
    case FLAGS_SUBR:                                                         // difference and b carry
        reg = fl_place_reg(e, e->f.a, e->t->flag_a, R9);
        if (reg != R9) enc_rr(e->b, 0, 0x89, reg, R9);
        fl_apply_b(e, size, 0, R9);
        return true;
    default: return false;
    }
}

void fl_need_host(Emit *e, u16 bits) {
    if ((e->f.host & bits) == bits) return;
    fl_catch_carry(e, e->b, &e->f);
    if (bits == FLAG_CF && e->f.recipe && !e->f.product && fl_execute_carry(e)) {
        e->f.host = FLAG_CF;
        return;
    }
    if (e->f.recipe) {
        if (!(bits & ~(FLAG_SF | FLAG_ZF | FLAG_PF)) && fl_test_result(e)) {
            e->f.host = FLAG_SF | FLAG_ZF | FLAG_PF;
            return;
        }
        e->f.host = fl_execute_recipe(e, bits);
        return;
    }
    require(e->f.env);
    enc_patch32(enc_call32(e->b), e->t->flags_load);
    e->f.host = FLAG_OSZAPC;
}

// A multiplication: what is known of the flags before it goes on to hold for the others.
void fl_multiplied(Emit *e, const IrOp *op) {
    const u16 both = FLAG_CF | FLAG_OF;
    e->f.host |= both;
    e->f.wants_carry = false;
    e->f.product = e->f.recipe || e->f.env;
    e->f.wants_product = e->f.product && (op->flive | op->fobs) & both;
}

void fl_defined(Emit *e, const IrOp *op, const FlagsState *recipe) {
    u16 sets = ir_info[op->code].flags & 0xffff;
    u16 host = e->f.host | sets;
    e->f = recipe ? *recipe : (FlagsState){ 0 };
    e->f.host = host;
    e->f.recipe = recipe != NULL;
}

u8 *x64_store_flags(const X64Target *t, const X64Recipe *r, u8 *at) {
    Buf b = { at, at, at + X64_STORE_FLAGS_BYTES };
    FlagsState f = { .imm = r->imm };
    fl_store_place(&b, &f, r->a, X64_AT_A, t->flag_a);
    if (fl_kind_has_b(r->op)) fl_store_place(&b, &f, r->b, X64_AT_B, t->flag_b);
    if (fl_kind_has_c(r->op)) fl_store_place(&b, &f, r->c, X64_AT_C, t->flag_c);
    fl_store_op(&b, t, r->op);
    return b.p;
}

FlagsState fl_at_entry(const X64Recipe *r) {
    if (r->op == X64_FLAGS_IN_STATE) return (FlagsState){ .env = true };
    return (FlagsState){ .recipe = true, .op = r->op & ~FLAGS_PRODUCT, .product = r->op & FLAGS_PRODUCT,
                         .a = r->a, .b = r->b, .c = r->c, .imm = r->imm };
}

// ---- restore records --------------------------------------------------------------------------------
// With room for more.
static __attribute__((noinline)) void st_record_grown(Emit *e, const Buf *b, const u8 *host) {
    X64Code *out = e->out;
    X64Restore *old = out->restores;
    e->restore_capacity *= 2;
    out->restores = arena_alloc(e->ir->arena, e->restore_capacity * sizeof *old);
    memcpy(out->restores, old, out->restore_count * sizeof *old);
    st_record(e, b, host);
}

void st_record(Emit *e, const Buf *b, const u8 *host) {
    X64Code *out = e->out;
    if (out->restore_count == e->restore_capacity) { st_record_grown(e, b, host); return; }
    X64Recipe flags = { .op = X64_FLAGS_IN_STATE };
    if (!e->f.env && e->f.recipe) {
        flags = e->f.at;
        if (e->f.product) flags.op |= FLAGS_PRODUCT;
    }
    out->restores[out->restore_count++] = (X64Restore){
        .host = st_host_offset(e, b, host), .op = (u16)(e->i & X64_RESTORE_OP), .insn = (u8)e->insn,
        .charged = (i8)(e->charged - (i32)e->insn), .flags = flags };
}
