// SPDX-License-Identifier: MIT
// Encoder: prefixes, REX, opcode, ModRM, SIB, displacement. AMD64 APM Vol. 3, chapter 1.
#include "x64/enc.h"

// From REX on.
static inline void enc_rest(Buf *b, u8 *p, unsigned rex, u32 opcode, unsigned reg, Rm rm) {
    *p = 0x40 | rex;
    p += rex != 0;
    if (opcode > 0xff) *p++ = opcode >> 8;
    *p++ = opcode;
    if (rm.mem) {
        put_le16(p, rm.form | (reg & 7) << 3);
        p += 1 + (rm.mem >> 2 & 1);
        put_le32(p, rm.disp);
        p += rm.mem >> 3 & 7;
    } else {
        *p++ = 0xc0 | (reg & 7) << 3 | (rm.reg & 7);
    }
    b->p = p;
}

static __attribute__((noinline)) void enc_rm_prefixed(Buf *b, unsigned flags, u32 opcode, unsigned reg, Rm rm) {
    u8 *p = b->p;
    unsigned rex = enc_rex_bits(reg, rm) | (flags & ENC_W) << 3;
    if (flags & ENC_66) *p++ = 0x66;
    if (opcode > 0xffff) *p++ = opcode >> 16;
    if (flags & ENC_BYTE && !rm.mem && rm.reg >= RSP && rm.reg <= RDI) rex |= 0x40;      // SPL..DIL, not AH..BH
    require(!rex || !((reg | rm.reg) & ENC_HIGH));
    enc_rest(b, p, rex, (u16)opcode, reg, rm);
}

void enc_rm(Buf *b, unsigned flags, u32 opcode, unsigned reg, Rm rm) {
    if (flags & ~ENC_W || opcode > 0xffff || !rm.mem) enc_rm_prefixed(b, flags, opcode, reg, rm);
    else enc_rest(b, b->p, (reg >> 1 & 4) | (rm.mem & RM_REX) | flags << 3, opcode, reg, rm);
}

void enc_mov_imm(Buf *b, unsigned reg, u32 imm) {
    if (reg >= 8) enc_u8(b, 0x41);
    enc_u8(b, 0xb8 | (reg & 7));
    enc_u32(b, imm);
}

void enc_mov_imm64(Buf *b, unsigned reg, u64 imm) {
    enc_u8(b, 0x48 | reg >> 3);
    enc_u8(b, 0xb8 | (reg & 7));
    enc_u64(b, imm);
}

void enc_alu_imm(Buf *b, unsigned flags, unsigned digit, Rm rm, u32 imm, unsigned size) {
    bool small = imm == (u32)(i32)(i8)imm;
    if (size == 4 && !rm.mem && !flags) {            // most are
        u8 *p = b->p;
        if (rm.reg == RAX && !small) {
            *p = 0x05 | digit << 3;
            put_le32(p + 1, imm);
            b->p = p + 5;
            return;
        }
        *p = 0x41;
        p += rm.reg >> 3;
        put_le16(p, (small ? 0x83 : 0x81) | (0xc0 | digit << 3 | (rm.reg & 7)) << 8);
        put_le32(p + 2, imm);
        b->p = p + (small ? 3 : 6);
    } else if (size == 1) {
        if (!rm.mem && rm.reg == RAX) enc_u8(b, 0x04 | digit << 3);
        else enc_rm(b, flags, 0x80, digit, rm);
        enc_u8(b, imm);
    } else if (small || (size == 2 && (u16)imm == (u16)(i16)(i8)imm)) {
        enc_rm(b, flags, 0x83, digit, rm);
        enc_u8(b, imm);
    } else {
        enc_rm(b, flags, 0x81, digit, rm);
        if (size == 2) enc_u16(b, imm);
        else enc_u32(b, imm);
    }
}

void enc_test_imm8(Buf *b, unsigned reg, u32 imm) {
    if (reg == RAX) enc_u8(b, 0xa8);
    else enc_rm(b, ENC_BYTE, 0xf6, 0, rm_reg(reg));
    enc_u8(b, imm);
}

// Three-byte VEX prefix, map 2 or 3, F2: d in ModRM.reg, s in ModRM.rm, v in vvvv (0: none).
static void enc_vex_f2(Buf *b, unsigned map, unsigned opcode, unsigned d, unsigned s, unsigned v) {
    unsigned second = (d < 8) << 7 | 1 << 6 | (s < 8) << 5 | map, third = (~v & 15) << 3 | 3;
    enc_u32(b, 0xc4 | second << 8 | third << 16 | opcode << 24);
    enc_u8(b, 0xc0 | (d & 7) << 3 | (s & 7));
}

void enc_shrx(Buf *b, unsigned d, unsigned s, unsigned count) { enc_vex_f2(b, 2, 0xf7, d, s, count); }

void enc_rorx(Buf *b, unsigned d, unsigned s, unsigned n) {
    enc_vex_f2(b, 3, 0xf0, d, s, 0);
    enc_u8(b, n);
}
