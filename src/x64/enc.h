// SPDX-License-Identifier: MIT
// The x86-64 encoder: bytes of one host instruction, no policy. For this room and the jit's stubs.
//
// Host registers are 0..15 in hardware order (RAX RCX RDX RBX RSP RBP RSI RDI R8..R15). The high byte
// registers AH CH DH BH are ENC_HIGH | 4..7; they cannot stand in an instruction with a REX prefix.
#ifndef X64_ENC_H
#define X64_ENC_H

#include "base/base.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
#define ENC_HIGH 0x20u
#define ENC_NO 0x44u       // no register: the low bits of a SIB without index, no bit for REX, none of ENC_HIGH

typedef struct Buf { u8 *start, *p, *end; } Buf;

// An r/m operand: register, or memory [base + index << scale + disp]. Memory is noted as it will be encoded, which
// the compiler mostly knows.
typedef struct Rm {
    u8 reg;                    // the register, or the base
    u8 mem;                    // memory: RM_MEM | bytes of disp (0, 1, 4) << 3 | RM_SIB | REX.X, REX.B; 128 is Opd's
    u16 form;                  // of memory: ModRM but for its reg field, SIB
    i32 disp;
} Rm;
enum { RM_REX = 3, RM_SIB = 4, RM_MEM = 64 };
static inline Rm rm_reg(unsigned reg) { return (Rm){ .reg = reg }; }
static inline Rm rm_sib(unsigned base, unsigned index, unsigned scale, i32 disp) {
    unsigned low = base & 7, mem = RM_MEM | (base >> 3 & 1) | (index >> 2 & 2), form = 0x80;
    if (base == ENC_NO) low = RBP, form = 0, mem |= 4 << 3;                          // disp32, with SIB
    else if (disp == 0 && low != RBP) form = 0;
    else if (disp == (i8)disp) form = 0x40, mem |= 1 << 3;
    else mem |= 4 << 3;
    if (index == ENC_NO && (base & 7) != RSP) form |= low;
    else form |= RSP | (scale << 6 | (index & 7) << 3 | low) << 8, mem |= RM_SIB;
    return (Rm){ .reg = base, .mem = mem, .form = form, .disp = disp };
}
static inline Rm rm_mem(unsigned base, i32 disp) { return rm_sib(base, ENC_NO, 0, disp); }

enum { ENC_W = 1, ENC_66 = 2, ENC_BYTE = 4 };   // 64-bit; operand-size prefix; reg operands are bytes

static inline void enc_u8(Buf *b, unsigned v) { *b->p++ = v; }
static inline void enc_u16(Buf *b, unsigned v) { put_le16(b->p, v); b->p += 2; }
static inline void enc_u32(Buf *b, u32 v) { put_le32(b->p, v); b->p += 4; }
// Instructions that are known, up to eight bytes of them, the first in the lowest.
static inline void enc_known(Buf *b, u64 v, unsigned bytes) { put_le64(b->p, v); b->p += bytes; }
static inline void enc_u64(Buf *b, u64 v) { put_le64(b->p, v); b->p += 8; }

// The bits of REX for a pair of operands: 0 if it needs no such prefix (then a high byte register may take part).
static inline unsigned enc_rex_bits(unsigned reg, Rm rm) {
    return (reg >> 1 & 4) | (rm.mem ? rm.mem & RM_REX : rm.reg >> 3 & 1);
}
static inline bool enc_needs_rex(unsigned reg, Rm rm) { return enc_rex_bits(reg, rm) != 0; }

// opcode: 0xXX, 0x0fXX or 0xPP0fXX (PP a mandatory prefix). reg: register or /digit.
void enc_rm(Buf *b, unsigned flags, u32 opcode, unsigned reg, Rm rm);
static inline void enc_rr(Buf *b, unsigned flags, u32 opcode, unsigned reg, unsigned rm) {
    if (flags || opcode > 0xff) { enc_rm(b, flags, opcode, reg, rm_reg(rm)); return; }
    u8 *p = b->p;                                                 // most are
    unsigned rex = (reg >> 3 & 1) << 2 | (rm >> 3 & 1);
    *p = 0x40 | rex;
    p += rex != 0;
    put_le16(p, opcode | (0xc0 | (reg & 7) << 3 | (rm & 7)) << 8);
    b->p = p + 2;
}

// Forms used everywhere.
void enc_mov_imm(Buf *b, unsigned reg, u32 imm);                  // mov $imm, %reg32, flags kept
void enc_mov_imm64(Buf *b, unsigned reg, u64 imm);
// ALU group by /digit (0 add 1 or 2 adc 3 sbb 4 and 5 sub 6 xor 7 cmp) with immediate.
void enc_alu_imm(Buf *b, unsigned flags, unsigned digit, Rm rm, u32 imm, unsigned size_bytes);
void enc_test_imm8(Buf *b, unsigned reg, u32 imm);                // test $imm, %reg8 (no high byte register)

// BMI2, no flags touched, 32 bits: d = s >> (count & 31); d = s rotated right by n.
void enc_shrx(Buf *b, unsigned d, unsigned s, unsigned count);
void enc_rorx(Buf *b, unsigned d, unsigned s, unsigned n);

// Jumps: emit with a zero displacement; the return value is the address of the rel32 to patch.
static inline u8 *enc_branch(Buf *b, unsigned opcode, unsigned opcode_bytes) {
    u8 *p = b->p;
    enc_known(b, opcode, opcode_bytes + 4);
    return p + opcode_bytes;
}
static inline u8 *enc_jmp32(Buf *b) { return enc_branch(b, 0xe9, 1); }
static inline u8 *enc_jcc32(Buf *b, unsigned cc) { return enc_branch(b, 0x800f | cc << 8, 2); }
static inline u8 *enc_call32(Buf *b) { return enc_branch(b, 0xe8, 1); }
static inline u8 *enc_jcc8(Buf *b, unsigned cc) {                 // the same with a rel8
    enc_u16(b, 0x70 | cc);
    return b->p - 1;
}
static inline void enc_patch8(u8 *rel8, const u8 *target) { *rel8 = (u8)(target - (rel8 + 1)); }
static inline void enc_patch32(u8 *rel32, const u8 *target) {
    put_le32(rel32, (u32)(i32)(target - (rel32 + 4)));
}
static inline const u8 *enc_target32(const u8 *rel32) { return rel32 + 4 + (i32)get_le32(rel32); }

#endif
