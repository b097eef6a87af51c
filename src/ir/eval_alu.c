// SPDX-License-Identifier: MIT
// Arithmetic of eval: each op and size is one function that loads the guest's flags into the
// host's, executes the host instruction of the same name, and reads the flags back. Results and
// flags, also those the manuals leave undefined, are then the host's own.
//
// Flags travel in AX as generated code keeps them: AH = SZAPC as LAHF stores them, AL = OF.
//     in:   add $127, %al (OF = bit 0); sahf          out:   lahf; seto %al
// No stack is used, so that the red zone stays intact.
#include "ir/ir_int.h"

typedef u32 AluFn(u32 a, u32 b, u32 c, u32 *flags);

static u32 alu_pack(u32 flags) { return (flags & FLAG_SZAPC) << 8 | (flags & FLAG_OF ? 1 : 0); }
static u32 alu_unpack(u32 ax) { return (ax >> 8 & FLAG_SZAPC) | (ax & 1 ? FLAG_OF : 0); }

#define FLAGS_INTO_HOST "addb $127, %%al\n\tsahf\n\t"
#define FLAGS_FROM_HOST "\n\tlahf\n\tseto %%al"

// x is the destination (a), y the other operand (b), n the count or third operand.
#define ALU(name, type, text, x_init, y_init, n_init) \
    static u32 name(u32 a, u32 b, u32 c, u32 *flags) { \
        u32 ax = alu_pack(*flags); \
        type x = (type)(x_init), y = (type)(y_init); \
        u8 n = (u8)(n_init); \
        (void)a; (void)b; (void)c; \
        __asm__(FLAGS_INTO_HOST text FLAGS_FROM_HOST \
                : "+&a"(ax), [x] "+&r"(x) : [y] "r"(y), [n] "c"(n) : "cc"); \
        *flags = alu_unpack(ax); \
        return x; \
    }

#define BINARY_16_32(op) \
    ALU(alu_##op##_2, u16, #op "w %[y], %[x]", a, b, 0) \
    ALU(alu_##op##_4, u32, #op "l %[y], %[x]", a, b, 0)
#define BINARY(op) \
    ALU(alu_##op##_1, u8, #op "b %[y], %[x]", a, b, 0) BINARY_16_32(op)
#define UNARY(op) \
    ALU(alu_##op##_1, u8, #op "b %[x]", a, 0, 0) \
    ALU(alu_##op##_2, u16, #op "w %[x]", a, 0, 0) \
    ALU(alu_##op##_4, u32, #op "l %[x]", a, 0, 0)
#define SHIFT(op) \
    ALU(alu_##op##_1, u8, #op "b %[n], %[x]", a, 0, b) \
    ALU(alu_##op##_2, u16, #op "w %[n], %[x]", a, 0, b) \
    ALU(alu_##op##_4, u32, #op "l %[n], %[x]", a, 0, b)
#define DOUBLE_SHIFT(op) \
    ALU(alu_##op##_2, u16, #op "w %[n], %[y], %[x]", a, b, c) \
    ALU(alu_##op##_4, u32, #op "l %[n], %[y], %[x]", a, b, c)
#define SCAN(op) /* destination starts as b and keeps it when a is 0 */ \
    ALU(alu_##op##_2, u16, #op "w %[y], %[x]", b, a, 0) \
    ALU(alu_##op##_4, u32, #op "l %[y], %[x]", b, a, 0)

BINARY(add) BINARY(adc) BINARY(sub) BINARY(sbb) BINARY(and) BINARY(or) BINARY(xor)
UNARY(inc) UNARY(dec) UNARY(neg)
SHIFT(shl) SHIFT(shr) SHIFT(sar) SHIFT(rol) SHIFT(ror) SHIFT(rcl) SHIFT(rcr)
DOUBLE_SHIFT(shld) DOUBLE_SHIFT(shrd)
BINARY_16_32(imul) BINARY_16_32(bt) BINARY_16_32(bts) BINARY_16_32(btr) BINARY_16_32(btc)
SCAN(bsf) SCAN(bsr)

#define ROW3(id, op) [IR_##id] = { alu_##op##_1, alu_##op##_2, alu_##op##_4 }
#define ROW2(id, op) [IR_##id] = { NULL, alu_##op##_2, alu_##op##_4 }
static AluFn *const alu_table[IR_CODE_COUNT][3] = {
    ROW3(ADD, add), ROW3(ADC, adc), ROW3(SUB, sub), ROW3(SBB, sbb), ROW3(AND, and), ROW3(OR, or),
    ROW3(XOR, xor), ROW3(INC, inc), ROW3(DEC, dec), ROW3(NEG, neg), ROW3(SHL, shl), ROW3(SHR, shr),
    ROW3(SAR, sar), ROW3(ROL, rol), ROW3(ROR, ror), ROW3(RCL, rcl), ROW3(RCR, rcr),
    ROW2(SHLD, shld), ROW2(SHRD, shrd), ROW2(IMUL, imul), ROW2(BT, bt), ROW2(BTS, bts),
    ROW2(BTR, btr), ROW2(BTC, btc), ROW2(BSF, bsf), ROW2(BSR, bsr),
};

static unsigned alu_size_index(unsigned size) {
    require(size == 1 || size == 2 || size == 4);
    return size >> 1;
}

u32 ir_alu_run(const IrOp *op, u32 a, u32 b, u32 c, u32 *flags) {
    AluFn *fn = alu_table[op->code][alu_size_index(op->size)];
    if (!fn) panic("eval: %s has no form of size %u", ir_info[op->code].name, op->size);
    u32 out = *flags, def = op->code == IR_IMUL ? FLAG_OSZAPC : ir_info[op->code].flags & 0xffff;
    u32 result = fn(a, b, c, &out);
    *flags = (*flags & ~def) | (out & def);
    return result;
}

// ---- EAX/EDX ------------------------------------------------------------------------------------
typedef void AluWideFn(u32 *eax, u32 *edx, u32 a, u32 *flags);

// Flags pass through EAX first; then the accumulator takes its place.
#define WIDE(name, type, text) \
    static void name(u32 *eax, u32 *edx, u32 a, u32 *flags) { \
        u32 ax = alu_pack(*flags), acc = *eax, d = *edx; \
        type y = (type)a; \
        __asm__(FLAGS_INTO_HOST "movl %[acc], %%eax\n\t" text " %[y]\n\tmovl %%eax, %[acc]" \
                FLAGS_FROM_HOST \
                : "+&a"(ax), [acc] "+&r"(acc), "+&d"(d) : [y] "r"(y) : "cc"); \
        *flags = alu_unpack(ax); \
        *eax = acc; \
        *edx = d; \
    }
#define WIDES(name, op) \
    WIDE(alu_##name##_1, u8, #op "b") \
    WIDE(alu_##name##_2, u16, #op "w") \
    WIDE(alu_##name##_4, u32, #op "l")
WIDES(mul, mul) WIDES(imul_wide, imul) WIDES(div, div) WIDES(idiv, idiv)

static AluWideFn *const alu_wide_table[IR_CODE_COUNT][3] = {
    ROW3(MULW, mul), ROW3(IMULW, imul_wide), ROW3(DIVW, div), ROW3(IDIVW, idiv),
};

static u64 alu_dividend(const u32 *regs, unsigned size) {
    if (size == 1) return regs[0] & 0xffff;
    if (size == 2) return (u64)(regs[2] & 0xffff) << 16 | (regs[0] & 0xffff);
    return (u64)regs[2] << 32 | regs[0];
}

static bool alu_divides_unsigned(u64 n, u32 a, unsigned size) {
    return a && n / a <= trunc_size(0xffffffffu, size);
}

static i64 alu_signed(u64 v, unsigned bits_wide) {
    return (i64)(v << (64 - bits_wide)) >> (64 - bits_wide);
}

static bool alu_divides_signed(u64 n, u32 a, unsigned size) {
    i64 num = alu_signed(n, size * 16), den = alu_signed(a, size * 8);
    i64 most = ((i64)1 << (size * 8 - 1)) - 1;
    if (!den || (num == INT64_MIN && den == -1)) return false;
    return num / den <= most && num / den >= -most - 1;
}

bool ir_alu_run_wide(const IrOp *op, u32 *regs, u32 a, u32 *flags) {
    u64 n = alu_dividend(regs, op->size);
    if (op->code == IR_DIVW && !alu_divides_unsigned(n, a, op->size)) return false;
    if (op->code == IR_IDIVW && !alu_divides_signed(n, a, op->size)) return false;
    alu_wide_table[op->code][alu_size_index(op->size)](&regs[0], &regs[2], a, flags);
    return true;
}
