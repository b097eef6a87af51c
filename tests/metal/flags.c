// SPDX-License-Identifier: MIT
// EFLAGS at a fault: an instruction sets flags, the next one faults; the image pushed must hold
// them exactly (they may still be pending in the emulator). Defined flags are computed here from
// the manual's words; undefined ones must be what PUSHF shows in the same place. Ways to leave:
// load, store, read-modify-write, #DE, #UD, INT3, a jump to a missing page, a call whose push
// fails. SDM 1 3.4.3.1; SDM 2, each instruction's "Flags Affected"; SDM 3A 6.12.1.
//   T=flags tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

typedef enum Kind {
    ADD,
    ADC,
    SUB,
    SBB,
    LOGIC_AND,
    LOGIC_OR,
    LOGIC_XOR,
    INC,
    DEC,
    NEG,
    NONE,
    SHL,
    SHR,
    SAR,
    ROL,
    ROR,
    RCL,
    RCR,
    SHLD,
    SHRD,
    MUL,
    IMUL,
    BT,
    BSF,
    CMC,
    STC,
    CLC,
    SAHF,
    ADD_INC,
    SUB_DEC,
    ADD_ADC
} Kind;

// EAX op EDX; counts in CL
#define OPS(O) \
    O(add8, "add %dl, %al", ADD, 1) O(add16, "add %dx, %ax", ADD, 2) \
    O(add32, "add %edx, %eax", ADD, 4) \
    O(adc8, "adc %dl, %al", ADC, 1) O(adc16, "adc %dx, %ax", ADC, 2) \
    O(adc32, "adc %edx, %eax", ADC, 4) \
    O(sub8, "sub %dl, %al", SUB, 1) O(sub16, "sub %dx, %ax", SUB, 2) \
    O(sub32, "sub %edx, %eax", SUB, 4) \
    O(sbb8, "sbb %dl, %al", SBB, 1) O(sbb16, "sbb %dx, %ax", SBB, 2) \
    O(sbb32, "sbb %edx, %eax", SBB, 4) \
    O(cmp8, "cmp %dl, %al", SUB, 1) O(cmp32, "cmp %edx, %eax", SUB, 4) \
    O(and32, "and %edx, %eax", LOGIC_AND, 4) O(test16, "test %dx, %ax", LOGIC_AND, 2) \
    O(or32, "or %edx, %eax", LOGIC_OR, 4) O(xor8, "xor %dl, %al", LOGIC_XOR, 1) \
    O(xor32, "xor %edx, %eax", LOGIC_XOR, 4) O(inc8, "inc %al", INC, 1) \
    O(inc32, "inc %eax", INC, 4) \
    O(dec16, "dec %ax", DEC, 2) O(dec32, "dec %eax", DEC, 4) O(neg8, "neg %al", NEG, 1) \
    O(neg32, "neg %eax", NEG, 4) O(not32, "not %eax", NONE, 4) O(mov32, "mov %edx, %eax", NONE, 4) \
    O(lea32, "lea 5(%eax,%edx,4), %eax", NONE, 4) O(bswap, "bswap %eax", NONE, 4) \
    O(shl8, "shl %cl, %al", SHL, 1) O(shl16, "shl %cl, %ax", SHL, 2) \
    O(shl32, "shl %cl, %eax", SHL, 4) \
    O(shl32_1, "shl %eax", SHL, 4) O(shr8, "shr %cl, %al", SHR, 1) \
    O(shr32, "shr %cl, %eax", SHR, 4) \
    O(shr32_1, "shr %eax", SHR, 4) O(sar16, "sar %cl, %ax", SAR, 2) \
    O(sar32, "sar %cl, %eax", SAR, 4) \
    O(rol8, "rol %cl, %al", ROL, 1) O(rol32, "rol %cl, %eax", ROL, 4) \
    O(ror32, "ror %cl, %eax", ROR, 4) \
    O(rcl8, "rcl %cl, %al", RCL, 1) O(rcl32, "rcl %cl, %eax", RCL, 4) \
    O(rcr16, "rcr %cl, %ax", RCR, 2) \
    O(rcr32, "rcr %cl, %eax", RCR, 4) O(shld32, "shld %cl, %edx, %eax", SHLD, 4) \
    O(shrd32, "shrd %cl, %edx, %eax", SHRD, 4) O(mul8, "mul %dl", MUL, 1) \
    O(mul32, "mul %edx", MUL, 4) \
    O(imul32, "imul %edx, %eax", IMUL, 4) O(imul16, "imul %dx, %ax", IMUL, 2) \
    O(imul1_32, "imul %edx", IMUL, 4) O(bt32, "bt %edx, %eax", BT, 4) \
    O(bts32, "bts %edx, %eax", BT, 4) \
    O(bsf32, "bsf %edx, %eax", BSF, 4) O(bsr32, "bsr %edx, %eax", BSF, 4) \
    O(xadd32, "xadd %eax, %edx", ADD, 4) \
    O(cmpxchg32, "cmpxchg %esi, %edx", SUB, 4) O(cmc, "cmc", CMC, 4) O(stc, "stc", STC, 4) \
    O(clc, "clc", CLC, 4) O(sahf, "sahf", SAHF, 4) \
    O(add_inc, "add %edx, %eax; inc %eax", ADD_INC, 4) \
    O(sub_dec, "sub %edx, %eax; dec %eax", SUB_DEC, 4) \
    O(add_adc, "add %edx, %eax; adc %edx, %eax", ADD_ADC, 4)

#define WAYS(W, name, text) \
    W(name, text, load, "mov (%ebx), %ecx") W(name, text, store, "mov %esi, (%ebx)") \
    W(name, text, rmw, "add %esi, (%ebx)") W(name, text, divide, "div %ebp") \
    W(name, text, undefined, "ud2") \
    W(name, text, int3, "int3") W(name, text, jump, "jmp *%ebx") W(name, text, call, "call *%edi")
#define WAY_CODE(name, text, way, leave) ICODE(c_##name##_##way, text, leave);
#define WAY_ROW(name, text, way, leave) c_##name##_##way,
#define O(name, text, kind, size) \
    CODE(c_##name, text "\npushf; pop %edi"); \
    WAYS(WAY_CODE, name, text)
OPS(O)
#undef O
enum { LOAD, STORE, READ_WRITE, DIVIDE, UNDEFINED, TRAP, JUMP, CALL, WAY_COUNT };
static const char *const ways[WAY_COUNT] = { "load", "store", "rmw",  "div",
                                             "ud2",  "int3",  "jump", "call" };
static const u8 vectors[WAY_COUNT] = { V_PF, V_PF, V_PF, V_DE, V_UD, V_BP, V_PF, V_PF };
typedef struct Op {
    const char *name;
    const u8 *plain;
    Kind kind;
    u32 size;
    const u8 *way[WAY_COUNT];
} Op;
static const Op ops[] = {
#define O(name, text, kind, size) { #name, c_##name, kind, size, { WAYS(WAY_ROW, name, text) } },
    OPS(O)
#undef O
};

// ---- the manual's words -------------------------------------------------------------------------
typedef struct Flags { u32 value, defined; } Flags;

static u32 sign_bit(u32 size) { return 1u << (size * 8 - 1); }
static u32 mask_of(u32 size) { return sign_bit(size) * 2 - 1; }

static u32 szp(u32 r, u32 size) {
    u32 ones = 0;
    for (u32 b = r & 0xff; b; b &= b - 1) ones++;
    return (r & sign_bit(size) ? F_SF : 0) | (r & mask_of(size) ? 0 : F_ZF) | (ones & 1 ? 0 : F_PF);
}

static Flags add(u32 a, u32 b, u32 c, u32 size) {
    u32 m = mask_of(size), r = (a + b + c) & m;
    u64 full = (u64)(a & m) + (b & m) + c;
    u32 f = szp(r, size) | (full > m ? F_CF : 0) | ((a ^ b ^ r) & F_AF);
    return (Flags){ f | ((a ^ r) & (b ^ r) & sign_bit(size) ? F_OF : 0), F_ARITH };
}

static Flags sub(u32 a, u32 b, u32 c, u32 size) {
    u32 m = mask_of(size), r = (a - b - c) & m;
    u64 borrowed = (u64)(b & m) + c;
    u32 f = szp(r, size) | ((a & m) < borrowed ? F_CF : 0) | ((a ^ b ^ r) & F_AF);
    return (Flags){ f | ((a ^ b) & (a ^ r) & sign_bit(size) ? F_OF : 0), F_ARITH };
}

// Shifts one place at a time; OF is defined for a count of 1 only.
static Flags shift(Kind kind, u32 a, u32 b, u32 count, u32 old, u32 size) {
    u32 m = mask_of(size), top = sign_bit(size), cf = old & F_CF, r = a & m, before = r;
    count &= 31;
    if (!count) return (Flags){ old, F_ARITH };
    for (u32 i = 0; i < count; i++) {
        u32 carry = cf;
        before = r;
        switch (kind) {
        case SHL: cf = !!(r & top); r = r << 1 & m; break;
        case SHR: cf = r & 1; r >>= 1; break;
        case SAR: cf = r & 1; r = r >> 1 | (r & top); break;
        case ROL: cf = !!(r & top); r = (r << 1 | cf) & m; break;
        case ROR: cf = r & 1; r = r >> 1 | (cf ? top : 0); break;
        case RCL: cf = !!(r & top); r = (r << 1 | carry) & m; break;
        case RCR: cf = r & 1; r = r >> 1 | (carry ? top : 0); break;
        case SHLD: cf = !!(r & top); r = (r << 1 | !!(b & top)) & m; b <<= 1; break;
        default: cf = r & 1; r = r >> 1 | (b & 1 ? top : 0); b >>= 1; break;
        }
    }
    u32 of = (before ^ r) & top ? F_OF : 0;
    u32 defined = count == 1 ? F_CF | F_OF : F_CF;
    if (kind >= ROL && kind <= RCR)
        return (Flags){ (old & ~(F_CF | F_OF)) | cf | of, (F_ARITH & ~(F_CF | F_OF)) | defined };
    if (kind == SHR || kind == SHL)               // beyond the operand's width CF is undefined
        if (count > size * 8) defined &= ~F_CF;
    return (Flags){ szp(r, size) | cf | of, F_SF | F_ZF | F_PF | defined };
}

static Flags product(Kind kind, u32 a, u32 b, u32 size) {
    u32 m = mask_of(size);
    u64 wide;
    if (kind == MUL) {
        wide = (u64)(a & m) * (b & m) & ~(u64)m;
    } else {
        u32 unused = 32 - size * 8;
        i32 x = (i32)(a << unused) >> unused, y = (i32)(b << unused) >> unused;
        long long p = (long long)x * y;
        i32 low = (i32)((u32)p << unused) >> unused;
        wide = p != low;
    }
    return (Flags){ wide ? F_CF | F_OF : 0, F_CF | F_OF };
}

static Flags keep_cf(Flags f, u32 old) {
    return (Flags){ (f.value & ~F_CF) | (old & F_CF), F_ARITH };
}

static Flags reference(const Op *o, u32 a, u32 b, u32 count, u32 old) {
    u32 n = o->size, cf = old & F_CF;
    switch (o->kind) {
    case ADD: return add(a, b, 0, n);
    case ADC: return add(a, b, cf, n);
    case SUB: return sub(a, b, 0, n);
    case SBB: return sub(a, b, cf, n);
    case LOGIC_AND: return (Flags){ szp(a & b, n), F_ARITH & ~F_AF };
    case LOGIC_OR: return (Flags){ szp(a | b, n), F_ARITH & ~F_AF };
    case LOGIC_XOR: return (Flags){ szp(a ^ b, n), F_ARITH & ~F_AF };
    case INC: return keep_cf(add(a, 1, 0, n), old);
    case DEC: return keep_cf(sub(a, 1, 0, n), old);
    case NEG: return sub(0, a, 0, n);
    case NONE: return (Flags){ old, F_ARITH };
    case MUL: case IMUL: return product(o->kind, a, b, n);
    case BT: return (Flags){ (old & F_ZF) | (a >> (b & 31) & 1), F_ZF | F_CF };
    case BSF: return (Flags){ b ? 0 : F_ZF, F_ZF };
    case CMC: return (Flags){ old ^ F_CF, F_ARITH };
    case STC: return (Flags){ old | F_CF, F_ARITH };
    case CLC: return (Flags){ old & ~F_CF, F_ARITH };
    case SAHF: return (Flags){ (old & F_OF) | (a >> 8 & (F_ARITH & ~F_OF)), F_ARITH };
    case ADD_INC: return keep_cf(add(a + b, 1, 0, n), add(a, b, 0, n).value);
    case SUB_DEC: return keep_cf(sub(a - b, 1, 0, n), sub(a, b, 0, n).value);
    case ADD_ADC: return add(a + b, b, add(a, b, 0, n).value & F_CF, n);
    default: {
        u32 by = o->plain == c_shl32_1 || o->plain == c_shr32_1 ? 1 : count;
        return shift(o->kind, a, b, by, old, n);
    }
    }
}

// ---- runs ---------------------------------------------------------------------------------------
static State start(const Op *o, const u8 *code, const u32 *input, u32 flags) {
    State s = user_state(code);
    (void)o;
    s.eflags |= flags;
    s.eax = input[0];
    s.edx = input[1];
    s.ecx = input[2];
    s.ebx = win(0) + 0x10;
    s.ebp = 0;
    s.esi = 0x51525354;
    return s;
}

static const u32 inputs[][3] = {
    { 0, 0, 0 }, { 0x7fffffff, 1, 1 }, { 0x80808080, 0x80808080, 4 }, { 0xffffffff, 1, 31 },
    { 0x1234567f, 0x0fedcb01, 7 }, { 0x8000, 0x8000, 33 }, { 0xa5a55a5a, 0x5a5aa5a6, 9 },
};

static void run_op(const Op *o, u32 way) {
    test("flags/%s/%s", o->name, ways[way]);
    for (u32 i = 0; i < COUNT(inputs); i++)
        for (u32 old = 0; old < 2; old++) {
            u32 flags = old ? F_ARITH : 0;
            State s = start(o, o->plain, inputs[i], flags), p = run(&s);
            Flags want = reference(o, inputs[i][0], inputs[i][1], inputs[i][2], flags);
            expect_bits("PUSHF", p.edi, want.value, want.defined);
            s = start(o, o->way[way], inputs[i], flags);
            if (way == CALL) {
                s.edi = ADDR(o->plain);
                s.esp = win(1);
            }
            State f = run(&s);
            expect("vector", f.vector, vectors[way]);
            expect_bits("eflags", f.eflags, want.value, want.defined);
            expect_bits("other eflags", f.eflags, p.edi, ~(u32)(F_RF | F_ARITH));
        }
}

// What the manual leaves undefined must at least not depend on who looks. (Products excepted: there
// only CF and OF are worth the bookkeeping.)
static void run_undefined(const Op *o) {
    test("flags/%s/undefined flags agree", o->name);
    for (u32 i = 0; i < COUNT(inputs); i++) {
        State s = start(o, o->plain, inputs[i], 0), p = run(&s);
        s = start(o, o->way[LOAD], inputs[i], 0);
        State f = run(&s);
        expect_bits("eflags", f.eflags, p.edi, F_ARITH);
    }
}

void test_main(void) {
    rt_reset();
    map(0, 0);
    for (u32 i = 0; i < COUNT(ops); i++) {
        for (u32 way = 0; way < WAY_COUNT; way++) run_op(&ops[i], way);
        if (ops[i].kind != MUL && ops[i].kind != IMUL) run_undefined(&ops[i]);
    }
    rt_reset();
}
