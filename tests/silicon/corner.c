// SPDX-License-Identifier: MIT
// The corners of operands: one case in three leads its row's instruction to one, every instruction is counted.
//
//     integers      0, 1, all ones, the smallest, the largest
//     counts        0, 1, bits - 1, bits, more                      (the last operand of shifts and rotates)
//     dividends     the same integers, extended to twice their size: the smallest by -1 is among the pairs
//     x87, SSE      zero, denormal, normal, infinity, quiet and signalling NaN; x87 registers also empty, unsupported
//
// Of instructions with two operands all pairs are corners. What an operand may be is told by the decoded instruction
// alone, so a new row is led and counted like the others.
#include "gen_int.h"

#include "isa/isa_int.h"

#include <string.h>

enum { INTS = 5, FLOATS = 6, REGISTERS = 8, NO_CLASS = 8 };
typedef enum Kind { KIND_NONE, KIND_INT, KIND_COUNT, KIND_FLOAT, KIND_DOUBLE, KIND_X87 } Kind;
typedef struct Input {
    Kind kind;
    const IsaOperand *o;         // NULL: the accumulator (integers), ST0 (x87)
    u8 size;
} Input;
static const u8 kind_classes[] = { 0, INTS, INTS, FLOATS, FLOATS, REGISTERS };

static bool is_shift(const IsaRow *row) {
    return row->lifter == ISA_LIFT_SHIFT || row->lifter == ISA_LIFT_SHIFTD;
}

static bool divides(const IsaRow *row) { return row->sub == ISA_SUB_DIV || row->sub == ISA_SUB_IDIV; }

// ---- inputs ---------------------------------------------------------------------------------------
static Kind kind_of_vector(const IsaRow *row) {
    const char *name = row->mnemonic;
    size_t n = strlen(name);
    const char *type = strncmp(name, "cvt", 3) ? name + n - 2 : name[3] == 't' ? name + 4 : name + 3;
    if (n < 4 || (type[0] != 'p' && type[0] != 's')) return KIND_INT;
    return type[1] == 's' ? KIND_FLOAT : type[1] == 'd' ? KIND_DOUBLE : KIND_INT;
}

static Kind kind_of_memory(const Insn *in, unsigned size) {
    const IsaRow *row = isa_row(in);
    if (row->attr & ISA_A_SSE) return kind_of_vector(row);
    if (row->attr & ISA_A_MMX) return KIND_INT;
    if (!(row->attr & ISA_A_FPU)) return size <= 4 ? KIND_INT : KIND_NONE;
    if (row->lifter != ISA_LIFT_FPU_MEM || size == 10) return KIND_NONE;
    bool integer = in->opcode & 2;
    return integer ? size <= 4 ? KIND_INT : KIND_NONE : size == 4 ? KIND_FLOAT : KIND_DOUBLE;
}

static Kind kind_of(const Insn *in, unsigned i) {
    const IsaOperand *o = &in->op[i];
    bool last = i + 1u == in->operand_count;
    switch (o->kind) {
    case ISA_IMM: if (in->opcode == 0xd0 || in->opcode == 0xd1) return KIND_NONE;           // the constant 1
        // fall through
    case ISA_REG: return last && is_shift(isa_row(in)) ? KIND_COUNT : KIND_INT;
    case ISA_MEM: return o->size ? kind_of_memory(in, o->size) : KIND_NONE;
    case ISA_MMX: return KIND_INT;
    case ISA_XMM: return kind_of_vector(isa_row(in));
    case ISA_ST: return o->reg ? KIND_X87 : KIND_NONE;                // ST0 is there anyway
    default: return KIND_NONE;
    }
}

static bool has_values(const IsaRow *row) {
    switch (row->lifter) {
    case ISA_LIFT_LDS: case ISA_LIFT_MOV_SEG: case ISA_LIFT_DESC: case ISA_LIFT_ENTER: case ISA_LIFT_BOUND:
    case ISA_LIFT_INT: case ISA_LIFT_SYSTEM: case ISA_LIFT_FPU_ENV: case ISA_LIFT_FPU_CTL: case ISA_LIFT_SIMD_CTL:
    case ISA_LIFT_UD: return false;
    default: break;
    }
    return !(row->attr & (ISA_A_END | ISA_A_PRIV | ISA_A_IO | ISA_A_JUMP | ISA_A_STRING));
}

// A bit's number that leads to memory far away.
static bool is_bit_in_memory(const Insn *in) {
    return isa_row(in)->lifter == ISA_LIFT_BT && in->op[0].kind == ISA_MEM;
}

// Is operand i of no account? The destination of three, unless it is shifted; the same register once more.
static bool is_passed_over(const Insn *in, unsigned i) {
    const IsaRow *row = isa_row(in);
    if (i == 1 && in->op[0].kind == ISA_REG && !memcmp(&in->op[0], &in->op[1], sizeof in->op[0])) return true;
    if (in->operand_count < 3 || row->attr & (ISA_A_SSE | ISA_A_MMX)) return false;
    return row->lifter == ISA_LIFT_SHIFTD ? i == 1 : i == 0;
}

// The first two, and of what size.
static unsigned inputs_of(const Insn *in, Input input[2]) {
    const IsaRow *row = isa_row(in);
    unsigned n = 0;
    if (!has_values(row)) return 0;
    if (row->lifter == ISA_LIFT_MUL1) input[n++] = (Input){ KIND_INT, NULL, in->opsize };
    if (row->attr & ISA_A_FPU) input[n++] = (Input){ KIND_X87, NULL, 10 };
    for (unsigned i = 0; i < in->operand_count && n < 2; i++) {
        const IsaOperand *o = &in->op[i];
        Kind kind = kind_of(in, i);
        bool vector = o->kind == ISA_MMX || o->kind == ISA_XMM || o->size > 4;
        u8 size = row->form[i] == ISA_O_sIb ? 1 : kind == KIND_DOUBLE ? 8 : vector ? 4 : o->size;
        if (kind != KIND_NONE && !is_passed_over(in, i)) input[n++] = (Input){ kind, o, size };
    }
    return n;
}

// ---- values ---------------------------------------------------------------------------------------
static u32 corner_int(unsigned class, unsigned size) {
    u32 top = 1u << (8 * size - 1);
    const u32 values[INTS] = { 0, 1, 0xffffffff, top, top - 1 };
    return trunc_size(values[class], size);
}

static u32 corner_count(unsigned class, unsigned bits) {
    const u32 values[INTS] = { 0, 1, bits - 1, bits, bits == 32 ? 63 : 31 };
    return values[class];
}

static u32 corner_float(unsigned class) {
    static const u32 values[FLOATS] = { 0, 0x00012345, 0x3fc00000, 0x7f800000, 0x7fc00001, 0x7f800001 };
    return values[class];
}

static u64 corner_double(unsigned class) {
    static const u64 values[FLOATS] = { 0, 0x0000123456789abc, 0x3ff8000000000000, 0x7ff0000000000000,
                                        0x7ff8000000000001, 0x7ff0000000000001 };
    return values[class];
}

static u64 corner_value(Kind kind, unsigned class, unsigned size, unsigned bits) {
    switch (kind) {
    case KIND_INT: return corner_int(class, size);
    case KIND_COUNT: return corner_count(class, bits);
    case KIND_FLOAT: return corner_float(class);
    case KIND_DOUBLE: return corner_double(class);
    default: return 0;
    }
}

static unsigned class_of_float(u64 value, unsigned exponent_bits, unsigned fraction_bits) {
    u64 top = (1u << exponent_bits) - 1, exponent = value >> fraction_bits & top;
    u64 fraction = value & ((1ull << fraction_bits) - 1);
    if (exponent == 0) return fraction ? 1 : 0;
    if (exponent != top) return 2;
    return !fraction ? 3 : fraction >> (fraction_bits - 1) ? 4 : 5;
}

static unsigned class_of_int(u32 value, unsigned size) {
    for (unsigned k = 0; k < INTS; k++) if (trunc_size(value, size) == corner_int(k, size)) return k;
    return NO_CLASS;
}

static unsigned class_of_count(u32 value, unsigned bits) {
    for (unsigned k = 0; k < INTS - 1; k++) if ((value & 0xff) == corner_count(k, bits)) return k;
    return (value & 0xff) > bits ? INTS - 1 : NO_CLASS;
}

static unsigned class_of_x87(const FxImage *fx, unsigned i) {
    unsigned top = get_le16(fx->byte + FX_SW) >> 11 & 7, exponent = get_le16(fx->byte + FX_ST + 16 * i + 8) & 0x7fff;
    u64 significand = get_le64(fx->byte + FX_ST + 16 * i);
    if (!(fx->byte[FX_TAGS] >> ((top + i) & 7) & 1)) return 7;
    if (exponent && !(significand >> 63)) return 6;
    if (!exponent) return significand ? 1 : 0;
    if (exponent != 0x7fff) return 2;
    return !(significand << 1) ? 3 : significand >> 62 & 1 ? 4 : 5;
}

static unsigned class_of(Kind kind, u64 value, unsigned size, unsigned bits) {
    switch (kind) {
    case KIND_INT: return class_of_int((u32)value, size);
    case KIND_COUNT: return class_of_count((u32)value, bits);
    case KIND_FLOAT: return class_of_float(value & 0xffffffff, 8, 23);
    case KIND_DOUBLE: return class_of_float(value, 11, 52);
    default: return NO_CLASS;
    }
}

// ---- leading --------------------------------------------------------------------------------------
static void corner_extended(unsigned class, u8 *to) {
    static const u64 significands[REGISTERS - 1] = { 0, 0x12345, 3ull << 62, 1ull << 63, (3ull << 62) | 1,
                                                     (1ull << 63) | 1, 1ull << 62 };
    static const u16 exponents[REGISTERS - 1] = { 0, 0, 0x3fff, 0x7fff, 0x7fff, 0x7fff, 0x4000 };
    put_le64(to, significands[class]);
    put_le16(to + 8, exponents[class]);
}

// Registers that no instruction but their own can set hold corners from the start on.
void gen_corner_start(Case *c) {
    const IsaRow *row = &isa_rows[c->row];
    FxImage *fx = &c->start.fx;
    c->corner = gen_one_in(c, 3);
    if (!c->corner) return;
    Kind kind = row->attr & ISA_A_SSE ? kind_of_vector(row) : KIND_INT;
    for (u32 at = FX_ST; at < FX_XMM; at += 16) {
        if (row->attr & ISA_A_FPU) corner_extended(gen_below(c, REGISTERS - 1), fx->byte + at);
        else for (u32 i = 0, v = corner_int(gen_below(c, INTS), 4); i < 8; i += 4) put_le32(fx->byte + at + i, v);
    }
    for (u32 at = FX_XMM; at < FX_END; at += 16) {
        unsigned size = kind == KIND_DOUBLE ? 8 : 4;
        u64 v = corner_value(kind, gen_below(c, kind_classes[kind]), size, 32);
        for (u32 i = 0; i < 16; i += 8) put_le64(fx->byte + at + i, size == 8 ? v : v | v << 32);
    }
}

static void lead_register(Case *c, unsigned reg, unsigned high, unsigned size, u32 value) {
    u32 old = machine_cpu(c->maker)->regs[reg], mask = size == 4 ? 0xffffffff : (1u << 8 * size) - 1;
    if (c->pinned >> reg & 1 || reg == CPU_ESP) return;
    gen_set_reg(c, reg, (old & ~(mask << 8 * high)) | value << 8 * high);
}

// The accumulator; of a division with its upper half.
static void lead_accumulator(Case *c, const Insn *in, unsigned class) {
    const IsaRow *row = isa_row(in);
    u32 value = corner_int(class, in->opsize);
    u32 sign = row->sub == ISA_SUB_IDIV && value >> (8 * in->opsize - 1) ? 0xffffffff : 0;
    if (in->opsize == 1 && divides(row)) lead_register(c, CPU_EAX, 0, 2, (value | sign << 8) & 0xffff);
    else lead_register(c, CPU_EAX, 0, in->opsize, value);
    if (in->opsize > 1 && divides(row)) lead_register(c, CPU_EDX, 0, in->opsize, trunc_size(sign, in->opsize));
}

void gen_corner_registers(Case *c, const Insn *in) {
    Input input[2];
    unsigned n = inputs_of(in, input);
    if (!c->corner || in->row != c->row || !n) return;
    if (!is_bit_in_memory(in)) c->pinned = 0;
    for (unsigned i = 0; i < n && !c->ended; i++) {
        const IsaOperand *o = input[i].o;
        unsigned class = gen_below(c, INTS);
        if (input[i].kind != KIND_INT && input[i].kind != KIND_COUNT) continue;
        if (!o) lead_accumulator(c, in, class);
        else if (o->kind == ISA_REG)
            lead_register(c, o->reg, o->high, input[i].size, (u32)corner_value(input[i].kind, class, input[i].size,
                                                                            8 * in->op[0].size));
    }
}

void gen_corner_immediate(Case *c, u8 *last, const Insn *in) {
    Input input[2];
    unsigned n = inputs_of(in, input);
    for (unsigned i = 0; i < n && c->corner && in->row == c->row; i++) {
        if (!input[i].o || input[i].o->kind != ISA_IMM) continue;
        u32 v = (u32)corner_value(input[i].kind, gen_below(c, INTS), input[i].size, 8 * in->op[0].size);
        for (unsigned k = 0; k < input[i].size; k++) last[1 - (int)input[i].size + (int)k] = (u8)(v >> 8 * k);
    }
}

void gen_corner_memory(Case *c, const Insn *in, u8 *to, u32 count) {
    Input input[2];
    unsigned n = inputs_of(in, input);
    for (unsigned i = 0; i < n && c->corner && in->row == c->row; i++) {
        if (!input[i].o || input[i].o->kind != ISA_MEM) continue;
        u64 v = corner_value(input[i].kind, gen_below(c, kind_classes[input[i].kind]), input[i].size, 32);
        for (u32 k = 0; k < count; k++) to[k] = (u8)(v >> 8 * (k % input[i].size));
    }
}

// ---- counting -------------------------------------------------------------------------------------
static u64 memory_value(Case *c, u32 linear) {
    u8 bytes[8];
    const u8 *area = machine_area(c->maker);
    for (u32 i = 0; i < 8; i++) {
        PageKind kind = area_page_at(linear + i);
        bytes[i] = kind == PAGE_DATA || kind == PAGE_READONLY ? area[linear + i - AREA] : 0;
    }
    return get_le64(bytes);
}

static u64 register_value(Case *c, const IsaOperand *o, const FxImage *fx) {
    switch (o->kind) {
    case ISA_REG: return machine_cpu(c->maker)->regs[o->reg] >> (o->high ? 8 : 0);
    case ISA_IMM: return o->imm;
    case ISA_MMX: return get_le64(fx->byte + FX_ST + 16 * o->reg);
    default: return get_le64(fx->byte + FX_XMM + 16 * o->reg);
    }
}

// A dividend is its lower half's corner when the upper half only extends it.
static unsigned class_of_accumulator(Case *c, const Insn *in) {
    const u32 *regs = machine_cpu(c->maker)->regs;
    unsigned bits = 8 * in->opsize;
    u32 low = trunc_size(regs[CPU_EAX], in->opsize);
    u32 high = trunc_size(in->opsize == 1 ? regs[CPU_EAX] >> 8 : regs[CPU_EDX], in->opsize);
    bool negative = isa_row(in)->sub == ISA_SUB_IDIV && low >> (bits - 1);
    if (divides(isa_row(in)) && high != (negative ? trunc_size(0xffffffff, in->opsize) : 0)) return NO_CLASS;
    return class_of_int(low, in->opsize);
}

static unsigned class_of_input(Case *c, const Insn *in, const Input *x, u32 linear, const FxImage *fx) {
    if (x->kind == KIND_X87) return class_of_x87(fx, x->o ? x->o->reg : 0);
    if (!x->o) return class_of_accumulator(c, in);
    u64 value = x->o->kind == ISA_MEM ? memory_value(c, linear) : register_value(c, x->o, fx);
    return class_of(x->kind, value, x->size, 8 * in->op[0].size);
}

void gen_corner_note(Case *c, const Insn *in, u32 linear) {
    Input input[2];
    FxImage fx;
    unsigned n = inputs_of(in, input), a, b = 0;
    c->met_of = 0;
    if (!n || in->row != c->row) return;
    if (isa_row(in)->attr & (ISA_A_FPU | ISA_A_MMX | ISA_A_SSE)) machine_peek_fpu(c->maker, &fx);
    a = class_of_input(c, in, &input[0], linear, &fx);
    if (n == 2) b = class_of_input(c, in, &input[1], linear, &fx);
    c->met_of = (u8)(kind_classes[input[0].kind] * (n == 2 ? kind_classes[input[1].kind] : 1));
    c->met = a < NO_CLASS && b < NO_CLASS ? 1ull << (a * 8 + b) : 0;
}
