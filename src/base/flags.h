// SPDX-License-Identifier: MIT
// The arithmetic flags as a value, and recipes for them.
//
// Guest flags O S Z A P C live in one of three places: in host EFLAGS (inside a block only), as a
// *recipe* (an operation and its inputs, cheap to note, computed when somebody looks), or as plain
// bits. A recipe is four words: kind|size, a, b, c. Outside generated code the guest's flags are
// always the recipe in the CPU state.
//
// Bits are those of EFLAGS (SDM Vol. 1, 3.4.3).
#ifndef BASE_FLAGS_H
#define BASE_FLAGS_H

#include "base/base.h"

#define FLAG_CF 0x001u
#define FLAG_PF 0x004u
#define FLAG_AF 0x010u
#define FLAG_ZF 0x040u
#define FLAG_SF 0x080u
#define FLAG_OF 0x800u
#define FLAG_OSZAPC 0x8d5u
#define FLAG_SZAPC 0x0d5u
#define FLAG_OSZAP 0x8d4u
#define FLAG_TF 0x100u
#define FLAG_IF 0x200u
#define FLAG_DF 0x400u
#define FLAG_IOPL 0x3000u
#define FLAG_NT 0x4000u
#define FLAG_RF 0x10000u
#define FLAG_VM 0x20000u
#define FLAG_AC 0x40000u
#define FLAG_VIF 0x80000u
#define FLAG_VIP 0x100000u
#define FLAG_ID 0x200000u

// Recipe kinds: X(enumerator, name, what a b c are). Values are truncated to the size when computed.
#define FLAGS_KINDS(X) \
    X(RAW, "raw", "a = the OSZAPC bits themselves") \
    X(ADD, "add", "flags of a + b") \
    X(ADDR, "addr", "flags of (a - b) + b: a is the result") \
    X(SUB, "sub", "flags of a - b") \
    X(SUBR, "subr", "flags of (a + b) - b: a is the result") \
    X(LOGIC, "logic", "flags of a & a: AND, OR, XOR, TEST with result a") \
    X(INC, "inc", "a = result of INC; CF = c & 1") \
    X(DEC, "dec", "a = result of DEC; CF = c & 1") \
    X(ADC, "adc", "flags of a + b + (c & 1)") \
    X(SBB, "sbb", "flags of a - b - (c & 1)") \
    X(LAHF, "lahf", "bits 8-15 of a: SZAPC as LAHF leaves them in AH; bit 0: OF") \
    X(SHL, "shl", "flags of a << b, b 1..31") \
    X(SHR, "shr", "flags of a >> b unsigned, b 1..31") \
    X(SAR, "sar", "flags of a >> b signed, b 1..31") \
    X(ADCR, "adcr", "flags of (a - b - (c & 1)) + b + (c & 1): a is the result of ADC") \
    X(SBBR, "sbbr", "flags of (a + b + (c & 1)) - b - (c & 1): a is the result of SBB") \
    X(NEGR, "negr", "flags of 0 - (-a): a is the result of NEG")

typedef enum FlagsKind {
#define X(id, name, text) FLAGS_##id,
    FLAGS_KINDS(X)
#undef X
    FLAGS_KIND_COUNT
} FlagsKind;

// flag_op: bits 0-1 log2(size in bytes), 0..2 | 2-6 kind | 7 a multiplication came after: CF = OF = bit 8.
// Generated code stores bits 0-7 and 8-15 as bytes; the others are 0.
#define FLAGS_OP(kind, size_log2) ((u32)(kind) << 2 | (size_log2))
#define FLAGS_PRODUCT 0x80u
#define FLAGS_PRODUCT_CARRY 0x100u
#define FLAGS_KIND(flag_op) ((flag_op) >> 2 & 0x1f)

_Static_assert(FLAGS_OP(FLAGS_KIND_COUNT, 0) <= FLAGS_PRODUCT, "kinds have five bits");

// The OSZAPC bits that a recipe stands for. Any input is fine; an unknown kind panics.
u32 flags_compute(u32 flag_op, u32 a, u32 b, u32 c);
const char *flags_kind_name(FlagsKind kind);

#endif
