// SPDX-License-Identifier: MIT
// What flag recipes stand for. Plain integer C: no vector registers, no libc.
//
// Every kind is reduced to an addition or subtraction with its operands, result and carry; the
// flags then follow from those bits (SDM Vol. 1, appendix A). Logic results clear AF, as processors
// do.
#include "base/flags.h"

typedef struct FlagsSum {
    u32 x, y;            // operands, truncated
    u32 result;          // truncated
    u32 sign;            // highest bit of the size
    bool carry;
} FlagsSum;

static u32 flags_of_result(u32 result, u32 sign) {
    u32 f = __builtin_parity(result & 0xff) ? 0 : FLAG_PF;
    if (!result) f |= FLAG_ZF;
    if (result & sign) f |= FLAG_SF;
    return f;
}

// `sub`: result = x - y - carry in; else x + y + carry in.
static u32 flags_of_sum(const FlagsSum *s, bool sub) {
    u32 f = flags_of_result(s->result, s->sign) | (s->carry ? FLAG_CF : 0);
    u32 changed = s->x ^ s->result;
    f |= (changed ^ s->y) & FLAG_AF;
    u32 over = sub ? (s->x ^ s->y) & changed : changed & (s->y ^ s->result);
    return over & s->sign ? f | FLAG_OF : f;
}

static u32 flags_add(u32 x, u32 y, u32 carry_in, u32 mask) {
    u64 sum = (u64)(x & mask) + (y & mask) + carry_in;
    FlagsSum s = { x & mask, y & mask, (u32)sum & mask, mask ^ (mask >> 1), sum > mask };
    return flags_of_sum(&s, false);
}

static u32 flags_sub(u32 x, u32 y, u32 carry_in, u32 mask) {
    u64 out = (u64)(y & mask) + carry_in;
    FlagsSum s = { x & mask, y & mask, (u32)((x & mask) - out) & mask, mask ^ (mask >> 1),
                   out > (x & mask) };
    return flags_of_sum(&s, true);
}

static u32 flags_from_lahf(u32 a) {
    return (a >> 8 & FLAG_SZAPC) | (a & 1 ? FLAG_OF : 0);
}

// Shifts leave OF (counts above 1), AF and some carries undefined, so the host's own instruction
// decides: what generated code would have seen is what is computed here.
#ifdef __x86_64__
#define SHIFT(insn, type) ({ \
        u32 ax_; \
        type v_ = (type)v; \
        __asm__(insn " %%cl, %1\n\tlahf\n\tseto %%al" \
                : "=&a"(ax_), "+q"(v_) : "c"(count) : "cc"); \
        ax_; })
#define SHIFT_ALL(insn) \
    (size_log2 == 0 ? SHIFT(insn "b", u8) : size_log2 == 1 ? SHIFT(insn "w", u16) \
        : SHIFT(insn "l", u32))

static u32 flags_shift(FlagsKind kind, u32 v, u32 count, unsigned size_log2) {
    if (!(count & 31)) return 0;
    if (kind == FLAGS_SHL) return flags_from_lahf(SHIFT_ALL("shl"));
    if (kind == FLAGS_SHR) return flags_from_lahf(SHIFT_ALL("shr"));
    return flags_from_lahf(SHIFT_ALL("sar"));
}
#undef SHIFT
#undef SHIFT_ALL
#else
static u32 flags_shift(FlagsKind kind, u32 v, u32 count, unsigned size_log2) {
    u32 width = 8u << size_log2, sign = 1u << (width - 1), mask = sign | (sign - 1);
    u64 wide = kind == FLAGS_SAR && (v & sign) ? ~(u64)mask | v : v & mask;
    count &= 31;
    if (!count) return 0;
    u64 before = kind == FLAGS_SHL ? wide << (count - 1) : (u64)((i64)wide >> (count - 1));
    u32 carry = kind == FLAGS_SHL ? (before & sign) != 0 : before & 1;
    u32 result = (u32)(kind == FLAGS_SHL ? before << 1 : (u64)((i64)before >> 1)) & mask;
    bool over = kind == FLAGS_SHL ? ((result & sign) != 0) != carry
        : kind == FLAGS_SHR && (before & sign);
    return flags_of_result(result, sign) | carry | (over ? FLAG_OF : 0);
}
#endif

static u32 flags_of_recipe(u32 flag_op, u32 a, u32 b, u32 c) {
    u32 mask = (flag_op & 3) >= 2 ? 0xffffffffu : (1u << (8u << (flag_op & 3))) - 1;
    u32 keep = c & FLAG_CF;
    switch ((FlagsKind)FLAGS_KIND(flag_op)) {
    case FLAGS_RAW: return a & FLAG_OSZAPC;
    case FLAGS_ADD: return flags_add(a, b, 0, mask);
    case FLAGS_ADDR: return flags_add(a - b, b, 0, mask);
    case FLAGS_SUB: return flags_sub(a, b, 0, mask);
    case FLAGS_SUBR: return flags_sub(a + b, b, 0, mask);
    case FLAGS_LOGIC: return flags_of_result(a & mask, mask ^ (mask >> 1));
    case FLAGS_INC: return (flags_add(a - 1, 1, 0, mask) & FLAG_OSZAP) | keep;
    case FLAGS_DEC: return (flags_sub(a + 1, 1, 0, mask) & FLAG_OSZAP) | keep;
    case FLAGS_ADC: return flags_add(a, b, c & 1, mask);
    case FLAGS_SBB: return flags_sub(a, b, c & 1, mask);
    case FLAGS_LAHF: return flags_from_lahf(a);
    case FLAGS_SHL: return flags_shift(FLAGS_SHL, a, b, flag_op & 3);
    case FLAGS_SHR: return flags_shift(FLAGS_SHR, a, b, flag_op & 3);
    case FLAGS_SAR: return flags_shift(FLAGS_SAR, a, b, flag_op & 3);
    case FLAGS_ADCR: return flags_add(a - b - (c & 1), b, c & 1, mask);
    case FLAGS_SBBR: return flags_sub(a + b + (c & 1), b, c & 1, mask);
    case FLAGS_NEGR: return flags_sub(0, 0 - a, 0, mask);
    case FLAGS_KIND_COUNT: break;
    }
    panic("flags_compute: no such recipe: %08x", flag_op);
}

u32 flags_compute(u32 flag_op, u32 a, u32 b, u32 c) {
    const u32 both = FLAG_CF | FLAG_OF;
    u32 flags = flags_of_recipe(flag_op, a, b, c);
    if (!(flag_op & FLAGS_PRODUCT)) return flags;
    return (flags & ~both) | (flag_op & FLAGS_PRODUCT_CARRY ? both : 0);
}

const char *flags_kind_name(FlagsKind kind) {
    static const char *const names[] = {
#define X(id, name, text) name,
        FLAGS_KINDS(X)
#undef X
    };
    return (unsigned)kind < ARRAY_LEN(names) ? names[kind] : "?";
}
