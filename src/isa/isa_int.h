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
// Row 0 stands for "no instruction". A split's cell may be a group and the other way round, so that
// opcodes with both a mandatory prefix and a /digit need no third mechanism.
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
    X(1, 0x90)

enum {
#define X(map, op) ISA_GROUP##map##_##op,
    ISA_GROUPS(X)
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
};

#endif
