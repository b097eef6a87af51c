// SPDX-License-Identifier: MIT
// Encoder: prefixes, REX, opcode, ModRM, SIB, displacement. AMD64 APM Vol. 3, chapter 1.
#include "x64/enc.h"

static void enc_memory(Buf *b, unsigned reg, Rm rm) {
    unsigned digit = (reg & 7) << 3;
    if (rm.reg == ENC_NO) {                          // no base: disp32 with SIB
        enc_u8(b, digit | 4);
        enc_u8(b, rm.scale << 6 | (rm.index == ENC_NO ? 4 : rm.index & 7) << 3 | 5);
        enc_u32(b, rm.disp);
        return;
    }
    unsigned mod = rm.disp == 0 && (rm.reg & 7) != RBP ? 0
                 : rm.disp == (i8)rm.disp ? 1 : 2;
    bool sib = rm.index != ENC_NO || (rm.reg & 7) == RSP;
    enc_u8(b, mod << 6 | digit | (sib ? 4 : rm.reg & 7));
    if (sib) {
        unsigned index = rm.index == ENC_NO ? 4 : rm.index & 7;
        enc_u8(b, rm.scale << 6 | index << 3 | (rm.reg & 7));
    }
    if (mod == 1) enc_u8(b, (u8)rm.disp);
    else if (mod == 2) enc_u32(b, rm.disp);
}

void enc_rm(Buf *b, unsigned flags, u32 opcode, unsigned reg, Rm rm) {
    if (flags & ENC_66) enc_u8(b, 0x66);
    if (opcode > 0xffff) enc_u8(b, opcode >> 16);
    unsigned rex = flags & ENC_W ? 8 : 0;
    bool low_byte = flags & ENC_BYTE && !rm.mem && rm.reg >= RSP && rm.reg <= RDI;      // SPL..DIL, not AH..BH
    if (enc_needs_rex(reg, rm) || rex || low_byte) {
        require(!(reg & ENC_HIGH) && (rm.mem || !(rm.reg & ENC_HIGH)));
        rex |= 0x40 | (reg >> 3 & 1) << 2;
        if (!rm.mem) rex |= rm.reg >> 3 & 1;
        else {
            if (rm.reg != ENC_NO) rex |= rm.reg >> 3 & 1;
            if (rm.index != ENC_NO) rex |= (rm.index >> 3 & 1) << 1;
        }
        enc_u8(b, rex);
    }
    if (opcode > 0xff) enc_u8(b, opcode >> 8);
    enc_u8(b, opcode);
    if (rm.mem) enc_memory(b, reg, rm);
    else enc_u8(b, 0xc0 | (reg & 7) << 3 | (rm.reg & 7));
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
    if (size == 1) {
        enc_rm(b, flags, 0x80, digit, rm);
        enc_u8(b, imm);
    } else if (imm == (u32)(i32)(i8)imm || (size == 2 && (u16)imm == (u16)(i16)(i8)imm)) {
        enc_rm(b, flags, 0x83, digit, rm);
        enc_u8(b, imm);
    } else {
        enc_rm(b, flags, 0x81, digit, rm);
        if (size == 2) enc_u16(b, imm);
        else enc_u32(b, imm);
    }
}

// Three-byte VEX prefix, map 2 or 3, F2: d in ModRM.reg, s in ModRM.rm, v in vvvv (0: none).
static void enc_vex_f2(Buf *b, unsigned map, unsigned opcode, unsigned d, unsigned s, unsigned v) {
    enc_u8(b, 0xc4);
    enc_u8(b, (d < 8) << 7 | 1 << 6 | (s < 8) << 5 | map);
    enc_u8(b, (~v & 15) << 3 | 3);
    enc_u8(b, opcode);
    enc_u8(b, 0xc0 | (d & 7) << 3 | (s & 7));
}

void enc_shrx(Buf *b, unsigned d, unsigned s, unsigned count) { enc_vex_f2(b, 2, 0xf7, d, s, count); }

void enc_rorx(Buf *b, unsigned d, unsigned s, unsigned n) {
    enc_vex_f2(b, 3, 0xf0, d, s, 0);
    enc_u8(b, n);
}

u8 *enc_jmp32(Buf *b) { enc_u8(b, 0xe9); enc_u32(b, 0); return b->p - 4; }
u8 *enc_jcc32(Buf *b, unsigned cc) { enc_u16(b, 0x800f | cc << 8); enc_u32(b, 0); return b->p - 4; }
u8 *enc_call32(Buf *b) { enc_u8(b, 0xe8); enc_u32(b, 0); return b->p - 4; }

void enc_nops(Buf *b, unsigned bytes) {
    static const u8 nop[9][9] = {
        { 0x90 }, { 0x66, 0x90 }, { 0x0f, 0x1f, 0x00 }, { 0x0f, 0x1f, 0x40, 0 }, { 0x0f, 0x1f, 0x44, 0, 0 },
        { 0x66, 0x0f, 0x1f, 0x44, 0, 0 }, { 0x0f, 0x1f, 0x80, 0, 0, 0, 0 }, { 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0 },
        { 0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0 },
    };
    while (bytes) {                                  // up to 15 at once: further prefixes
        unsigned all = bytes > 15 ? 15 : bytes, n = all > 9 ? 9 : all;
        for (unsigned i = n; i < all; i++) enc_u8(b, 0x66);
        for (unsigned i = 0; i < n; i++) enc_u8(b, nop[n - 1][i]);
        bytes -= all;
    }
}
