// SPDX-License-Identifier: MIT
// The i386 instruction set as data: bytes <-> Insn. Pure functions, no state.
//
//     Insn in;
//     if (isa_decode(bytes, available, true, &in) == ISA_OK)
//         isa_format(&in, eip, ISA_ATT, text, sizeof text);
//
// isa/i386.def has one row per opcode form:
//     I(id, encoding, mnemonic, operands, flags read, written, undefined, attributes, lifter, sub)
// and feeds decoder, disassembler, lifter dispatch, flag liveness, random tests, coverage page.
#ifndef ISA_ISA_H
#define ISA_ISA_H

#include "base/base.h"
#include "base/flags.h"

typedef enum IsaOperandKind {
    ISA_NONE,
    ISA_REG,        // general register: reg 0-7; size 1 with high=1 is AH CH DH BH (reg 0-3)
    ISA_SEG,        // segment register 0-5
    ISA_CR, ISA_DR, // control, debug register
    ISA_MEM,        // the memory operand: fields base.. of Insn; size 0: address only (LEA, INVLPG)
    ISA_IMM,        // imm, sign- or zero-extended to size as the row says; no bits above size
    ISA_REL,        // branch displacement in imm (sign-extended); target = eip of next + imm
    ISA_FAR,        // ptr16:16/32: imm = offset, imm2 of Insn = selector
    ISA_ST,         // x87 register 0-7
    ISA_MMX, ISA_XMM,
    ISA_STR_SRC,    // implicit [seg:(E)SI] of string instructions; seg in Insn.seg
    ISA_STR_DST,    // implicit [ES:(E)DI]
} IsaOperandKind;

typedef struct IsaOperand {
    u8 kind;        // IsaOperandKind
    u8 reg;         // register number
    u8 high;        // byte register is AH..BH
    u8 size;        // bytes: 1 2 4 6 8 10 16 ...; 0 where it has no meaning
    u32 imm;        // ISA_IMM, ISA_REL, ISA_FAR
} IsaOperand;

enum IsaPrefix {
    ISA_LOCK = 1,
    ISA_REP = 2, ISA_REPNE = 4,   // at most one of the two: the last
    ISA_OPSIZE = 8, ISA_ADSIZE = 16, ISA_SEGOVR = 32,
};

#define ISA_NO_REG 0xff
#define ISA_MAX_BYTES 15

typedef struct Insn {
    u16 row;            // index into isa_rows
    u8 length;          // bytes, prefixes included
    u8 opsize;          // operand size of the instruction, 2 or 4 (1 for byte forms)
    u8 addrsize;        // 2 or 4
    u8 prefixes;        // IsaPrefix
    u8 operand_count;
    u8 seg;             // segment of the memory or string-source operand: override or default
    u8 base, index;     // registers of the memory operand or ISA_NO_REG (16-bit: BX=3, BP=5, ...)
    u8 scale;           // log2; as encoded when there is no index
    u32 disp;           // displacement, sign-extended (16-bit addressing: low 16 bits count)
    u32 imm2;           // selector of far pointers
    IsaOperand op[4];   // Intel order: destination first
    u8 opcode;          // last opcode byte; x87: D8-DF
    u8 modrm;           // 0 when there is none
    u8 bytes[ISA_MAX_BYTES];
} Insn;

typedef enum IsaStatus {
    ISA_OK,
    ISA_NEED_MORE,      // ran out of bytes: call again with more (never when 15 are given)
    ISA_TOO_LONG,       // over 15 bytes: #GP(0); Insn.length is 15
    ISA_UNDEFINED,      // #UD (also LOCK where it is not allowed); Insn.length is what was consumed
} IsaStatus;

// Decodes one instruction at bytes[0..available); may look at any of them. code32: CS.D. Fills *out.
IsaStatus isa_decode(const u8 *bytes, unsigned available, bool code32, Insn *out);

enum IsaAttr {
    ISA_A_END = 1,        // ends a block always (far transfers, IRET, HLT, MOV CR, ...)
    ISA_A_JUMP = 2,       // near jump, call, return, Jcc, LOOP
    ISA_A_LOCKABLE = 4,   // LOCK is allowed with a memory destination
    ISA_A_STRING = 8,     // string instruction: REP/REPNE have meaning
    ISA_A_FPU = 16,       // x87: #NM by MODE_FPU_NM
    ISA_A_PRIV = 32,      // CPL 0 only: else #GP(0)
    ISA_A_PE = 64,        // #UD in real and virtual-8086 mode (LLDT, SLDT, VERR, LAR, ARPL, ...)
    ISA_A_MMX = 128,      // uses the x87 state as MMX: #UD by CR0.EM, #NM, pending #MF
    ISA_A_SSE = 256,      // uses XMM registers or MXCSR: #UD by MODE_SSE, #NM
    ISA_A_IO = 512,       // port access
    ISA_A_COND = 1024,    // flags written conditionally (shift by count 0, REP with count 0)
    // Which CPUs have it, where ISA_A_MMX and ISA_A_SSE do not say so already.
    ISA_A_NEEDS_SSE = 2048, ISA_A_NEEDS_SSE2 = 4096, ISA_A_NEEDS_SSE3 = 8192,
};

typedef struct IsaRow {
    const char *id;         // unique, e.g. "add_eb_gb"
    const char *mnemonic;   // true mnemonic, Intel's, lower case; far transfers callf jmpf retf;
                            // CBW, CWD, PUSHA, PUSHF, IRET and strings without their size letter
    u16 flags_read, flags_written, flags_undefined;   // FLAG_* masks
    u16 attr;               // IsaAttr
    u8 lifter;              // ISA_LIFT_*
    u8 sub;                 // ISA_SUB_*: which operation of the lifter's family
    u8 form[4];             // IsaOperandCode of each operand (isa_int.h), 0 after the last
    u8 shape;               // IsaShape (isa_int.h): what the decoder must know before operands
    u8 operands;            // how many
} IsaRow;
extern const IsaRow isa_rows[];
extern const unsigned isa_row_count;
static inline const IsaRow *isa_row(const Insn *in) { return &isa_rows[in->row]; }
// Condition code of Jcc, SETcc, CMOVcc.
static inline unsigned isa_cc(const Insn *in) { return in->opcode & 15; }

// ISA_LIFT_* is an enum generated from the lifter column: see isa/lifters.h (X-list ISA_LIFTERS).
#include "isa/lifters.h"

typedef enum IsaSyntax { ISA_ATT, ISA_INTEL } IsaSyntax;
// Disassembles in objdump's spelling ("mov    %al,%fs:(%edx)"). Returns the length written.
int isa_format(const Insn *in, u32 eip, IsaSyntax syntax, char *text, size_t text_bytes);

#endif
