// SPDX-License-Identifier: MIT
// Room isa's own: operand codes, the shape of a row, the index that finds a row for opcode bytes.
//
// The index (isa_index, rows.c) is one flat array of u16:
//
//     [0..255]      one-byte map      value: row, or ISA_IS_GROUP | group, or ISA_IS_SPLIT | split
//     [256..511]    0F map
//     [512..]       groups, 72 cells each: /digit * 9 + (0 for memory forms, 1 + rm for registers)
//     [...]         splits, 4 cells each: mandatory prefix none, 66, F2, F3
//
// Row 0 stands for "no instruction". A split's cell may be a group (ISA_PREFIX_GROUPS): opcodes with
// both a mandatory prefix and a /digit.
#ifndef ISA_ISA_INT_H
#define ISA_ISA_INT_H

#include "isa/isa.h"

// Opcodes whose row depends on ModRM: X(map, opcode).
#define ISA_GROUPS(X) \
    X(1, 0x80) X(1, 0x81) X(1, 0x82) X(1, 0x83) X(1, 0x8f) X(1, 0xc0) X(1, 0xc1) X(1, 0xc6) \
    X(1, 0xc7) X(1, 0xd0) X(1, 0xd1) X(1, 0xd2) X(1, 0xd3) X(1, 0xd8) X(1, 0xd9) X(1, 0xda) \
    X(1, 0xdb) X(1, 0xdc) X(1, 0xdd) X(1, 0xde) X(1, 0xdf) X(1, 0xf6) X(1, 0xf7) X(1, 0xfe) \
    X(1, 0xff) X(2, 0x00) X(2, 0x01) X(2, 0xba) X(2, 0xc7)

// Opcodes whose row depends on a mandatory prefix: X(map, opcode).
#define ISA_SPLITS(X) \
    X(1, 0x90) \
    X(2, 0x10) X(2, 0x11) X(2, 0x12) X(2, 0x13) X(2, 0x14) X(2, 0x15) X(2, 0x16) X(2, 0x17) \
    X(2, 0x28) X(2, 0x29) X(2, 0x2a) X(2, 0x2b) X(2, 0x2c) X(2, 0x2d) X(2, 0x2e) X(2, 0x2f) \
    X(2, 0x50) X(2, 0x51) X(2, 0x52) X(2, 0x53) X(2, 0x54) X(2, 0x55) X(2, 0x56) X(2, 0x57) \
    X(2, 0x58) X(2, 0x59) X(2, 0x5a) X(2, 0x5b) X(2, 0x5c) X(2, 0x5d) X(2, 0x5e) X(2, 0x5f) \
    X(2, 0x60) X(2, 0x61) X(2, 0x62) X(2, 0x63) X(2, 0x64) X(2, 0x65) X(2, 0x66) X(2, 0x67) \
    X(2, 0x68) X(2, 0x69) X(2, 0x6a) X(2, 0x6b) X(2, 0x6c) X(2, 0x6d) X(2, 0x6e) X(2, 0x6f) \
    X(2, 0x70) X(2, 0x71) X(2, 0x72) X(2, 0x73) X(2, 0x74) X(2, 0x75) X(2, 0x76) X(2, 0x77) \
    X(2, 0x7c) X(2, 0x7d) X(2, 0x7e) X(2, 0x7f) X(2, 0xae) \
    X(2, 0xc2) X(2, 0xc3) X(2, 0xc4) X(2, 0xc5) X(2, 0xc6) X(2, 0xd0) X(2, 0xd1) X(2, 0xd2) \
    X(2, 0xd3) X(2, 0xd4) X(2, 0xd5) X(2, 0xd6) X(2, 0xd7) X(2, 0xd8) X(2, 0xd9) X(2, 0xda) \
    X(2, 0xdb) X(2, 0xdc) X(2, 0xdd) X(2, 0xde) X(2, 0xdf) X(2, 0xe0) X(2, 0xe1) X(2, 0xe2) \
    X(2, 0xe3) X(2, 0xe4) X(2, 0xe5) X(2, 0xe6) X(2, 0xe7) X(2, 0xe8) X(2, 0xe9) X(2, 0xea) \
    X(2, 0xeb) X(2, 0xec) X(2, 0xed) X(2, 0xee) X(2, 0xef) X(2, 0xf0) X(2, 0xf1) X(2, 0xf2) \
    X(2, 0xf3) X(2, 0xf4) X(2, 0xf5) X(2, 0xf6) X(2, 0xf7) X(2, 0xf8) X(2, 0xf9) X(2, 0xfa) \
    X(2, 0xfb) X(2, 0xfc) X(2, 0xfd) X(2, 0xfe)

// Opcodes of ISA_SPLITS whose row depends on ModRM besides: X(map, opcode, prefix).
#define ISA_PREFIX_GROUPS(X) \
    X(2, 0xae, NP) X(2, 0x71, NP) X(2, 0x71, P66) X(2, 0x72, NP) X(2, 0x72, P66) X(2, 0x73, NP) \
    X(2, 0x73, P66)

enum {
#define X(map, op) ISA_GROUP##map##_##op,
    ISA_GROUPS(X)
#undef X
#define X(map, op, prefix) ISA_GROUP##map##_##op##_##prefix,
    ISA_PREFIX_GROUPS(X)
#undef X
    ISA_GROUP_COUNT
};
enum {
#define X(map, op) ISA_SPLIT##map##_##op,
    ISA_SPLITS(X)
#undef X
    ISA_SPLIT_COUNT
};

enum {
    ISA_GROUP_CELLS = 72,
    ISA_GROUP_BASE = 512,
    ISA_SPLIT_BASE = ISA_GROUP_BASE + ISA_GROUP_COUNT * ISA_GROUP_CELLS,
    ISA_INDEX_LEN = ISA_SPLIT_BASE + ISA_SPLIT_COUNT * 4,
    ISA_IS_GROUP = 0x8000,
    ISA_IS_SPLIT = 0x4000,
    ISA_INDEX_VALUE = 0x3fff,
};
enum { ISA_PREFIX_NP, ISA_PREFIX_P66, ISA_PREFIX_PF2, ISA_PREFIX_PF3 };   // cells of a split

extern const u16 isa_index[ISA_INDEX_LEN];

// Operand codes: X(code, meaning). ORDER: those that need a ModRM byte come first.
#define ISA_OPERAND_CODES(X) \
    X(Eb, "general register or memory, byte") \
    X(Ew, "general register or memory, word") \
    X(Ev, "general register or memory, operand size") \
    X(RvMw, "general register of operand size, or word in memory") \
    X(Gb, "register of ModRM.reg, byte") \
    X(Gw, "register of ModRM.reg, word") \
    X(Gv, "register of ModRM.reg, operand size") \
    X(Rd, "register of ModRM.rm, 32 bits; ModRM.mod is ignored") \
    X(Cd, "control register of ModRM.reg: 0 2 3 4") \
    X(Dd, "debug register of ModRM.reg") \
    X(Sw, "segment register of ModRM.reg") \
    X(SwLoad, "segment register of ModRM.reg, not CS") \
    X(M, "memory, address only") \
    X(Mw, "memory, 2 bytes") \
    X(Md, "memory, 4 bytes") \
    X(Mq, "memory, 8 bytes") \
    X(Mt, "memory, 10 bytes") \
    X(Ma, "memory, two of operand size") \
    X(Mp, "memory, operand size + 2: far pointer") \
    X(Ms, "memory, 6 bytes: limit and base") \
    X(Menv, "memory, 14 or 28 bytes: x87 environment") \
    X(Msave, "memory, 94 or 108 bytes: x87 state") \
    X(Ed, "general register or memory, 4 bytes") \
    X(RdMw, "general register of 4 bytes, or word in memory") \
    X(Gd, "register of ModRM.reg, 4 bytes") \
    X(Mx, "memory, 16 bytes") \
    X(Pq, "MMX register of ModRM.reg") \
    X(Nq, "MMX register of ModRM.rm") \
    X(Qq, "MMX register or memory, 8 bytes") \
    X(Qd, "MMX register, or 4 bytes of memory") \
    X(Vx, "XMM register of ModRM.reg") \
    X(Ux, "XMM register of ModRM.rm") \
    X(Wx, "XMM register or memory, 16 bytes") \
    X(Wq, "XMM register, or 8 bytes of memory") \
    X(Wd, "XMM register, or 4 bytes of memory") \
    X(STi, "x87 register of ModRM.rm") \
    X(ST0, "x87 register 0") \
    X(Zb, "register in the opcode's low bits, byte") \
    X(Zv, "register in the opcode's low bits, operand size") \
    X(AL, "") X(AX, "") X(eAX, "EAX or AX by operand size") X(CL, "") X(DX, "") \
    X(One, "the constant 1") \
    X(Ib, "immediate byte, zero-extended") \
    X(sIb, "immediate byte, sign-extended to operand size") \
    X(Iw, "immediate word") \
    X(Iz, "immediate of operand size") \
    X(Iv, "likewise") \
    X(Jb, "branch displacement, byte") \
    X(Jz, "branch displacement, operand size") \
    X(Ap, "far pointer in the instruction") \
    X(Ob, "memory at an offset in the instruction, byte") \
    X(Ov, "likewise, operand size") \
    X(ES, "") X(CS, "") X(SS, "") X(DS, "") X(FS, "") X(GS, "") \
    X(Xb, "[seg:(E)SI], byte") \
    X(Xv, "[seg:(E)SI], operand size") \
    X(Yb, "[ES:(E)DI], byte") \
    X(Yv, "[ES:(E)DI], operand size")

typedef enum IsaOperandCode {
    ISA_O_,     // none
#define X(code, meaning) ISA_O_##code,
    ISA_OPERAND_CODES(X)
#undef X
    ISA_O_COUNT,
    ISA_O_MODRM_LAST = ISA_O_STi,
} IsaOperandCode;

enum IsaShape {
    ISA_SHAPE_MODRM = 1,    // a ModRM byte follows the opcode (rows in groups: always)
    ISA_SHAPE_BYTE = 2,     // Insn.opsize is 1
    ISA_SHAPE_NO_MEM = 4,   // ModRM.mod is ignored: rm is a register
    ISA_SHAPE_BAD = 8,      // row 0; and the decoder's word for bytes that are no instruction
};

#endif
