// SPDX-License-Identifier: MIT
// The usual case of some helpers in machine code, in front of their stubs: no registers are stored and loaded, no C
// is entered. Generated code calls the helper as ever.
//
// Rules
//  1. What is not usual goes on to the stub behind, as if nothing had been here: guest registers, r8 to r10 (the
//     arguments) and the CPU state are as they were. The helpers in C are the ones to read: what is done here they
//     would do, check for check.
//  2. The usual case raises no fault and writes memory only where the soft MMU's tables lead to it.
//  3. r8 to r11 and host EFLAGS are free; r8d is the result.
#include "jit/jit_int.h"

#include "cpu/helpers.h"
#include "cpu/mmu.h"
#include "cpu/model.h"
#include "x64/enc.h"

enum { USUAL_EXITS = 48, CC_B = 2, CC_AE = 3, CC_E = 4, CC_NE = 5, CC_BE, CC_A, CC_S = 8, CC_LE = 14 };
enum { ALU_ADD, ALU_OR, ALU_SBB = 3, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

typedef struct Usual {
    const Jit *jit;
    Buf *b;
    u8 *out[USUAL_EXITS];      // jumps to where it is not usual
    u32 outs;
    u8 *past[8];               // to the stub behind, with the arguments put back
    u32 pasts;
} Usual;

// ---- instructions -----------------------------------------------------------------------------------------
#define STATE(field) rm_mem(R14, JIT_STATE_AT(offsetof(Cpu, field)))
static Rm usual_seg(unsigned s, size_t offset) {
    return rm_mem(R14, JIT_STATE_AT(offsetof(Cpu, seg) + s * sizeof(CpuSeg) + offset));
}
#define SEG(s, field) usual_seg(s, offsetof(CpuSeg, field))

static void usual_load(Usual *u, unsigned reg, Rm rm) { enc_rm(u->b, 0, 0x8b, reg, rm); }
static void usual_load16(Usual *u, unsigned reg, Rm rm) { enc_rm(u->b, 0, 0x0fb7, reg, rm); }
static void usual_load64(Usual *u, unsigned reg, Rm rm) { enc_rm(u->b, ENC_W, 0x8b, reg, rm); }
static void usual_store(Usual *u, unsigned reg, Rm rm) { enc_rm(u->b, 0, 0x89, reg, rm); }
static void usual_copy(Usual *u, unsigned to, unsigned from) { enc_rr(u->b, 0, 0x89, from, to); }

static void usual_put(Usual *u, Rm rm, u32 imm) {              // movl $imm, rm
    enc_rm(u->b, 0, 0xc7, 0, rm);
    enc_u32(u->b, imm);
}

static void usual_alu(Usual *u, unsigned op, Rm rm, u32 imm) { enc_alu_imm(u->b, 0, op, rm, imm, 4); }
static void usual_alu_rr(Usual *u, unsigned op, unsigned to, unsigned from) { enc_rr(u->b, 0, op << 3 | 1, from, to); }
static void usual_alu64(Usual *u, unsigned op, unsigned to, unsigned from) {
    enc_rr(u->b, ENC_W, op << 3 | 1, from, to);
}

static void usual_test(Usual *u, Rm rm, u32 imm) {             // testl $imm, rm
    enc_rm(u->b, 0, 0xf7, 0, rm);
    enc_u32(u->b, imm);
}

static void usual_shift(Usual *u, unsigned reg, bool left, unsigned n) {
    enc_rm(u->b, 0, 0xc1, left ? 4 : 5, rm_reg(reg));
    enc_u8(u->b, n);
}

// Not usual if cc.
static void usual_out(Usual *u, unsigned cc) {
    require(u->outs < USUAL_EXITS);
    u->out[u->outs++] = enc_jcc32(u->b, cc);
}

// From here on it is not.
static void usual_land(Usual *u) {
    for (u32 i = 0; i < u->outs; i++) enc_patch32(u->out[i], u->b->p);
    u->outs = 0;
}

static void usual_return(Usual *u) { enc_u8(u->b, 0xc3); }

// Not usual unless the mode's bits in `mask` are those of `want`. Leaves them in r10d.
static void usual_mode(Usual *u, u32 mask, u32 want) {
    usual_load(u, R10, STATE(mode));
    usual_alu(u, ALU_AND, rm_reg(R10), mask);
    usual_alu(u, ALU_CMP, rm_reg(R10), want);
    usual_out(u, CC_NE);
}

// entry = what the present context's table has for the page of linear address `reg`. Not usual if C must look.
static void usual_entry(Usual *u, unsigned entry, unsigned reg, i32 table) {
    usual_copy(u, entry, reg);
    usual_shift(u, entry, false, PAGE_SHIFT);
    usual_load64(u, entry, rm_sib(R13, entry, 3, table));
    enc_rr(u->b, ENC_W, 0x85, entry, entry);
    usual_out(u, CC_S);
}

// Not usual unless `bytes` from linear address `reg` on are in one page. Uses `temp`.
static void usual_one_page(Usual *u, unsigned temp, unsigned reg, u32 bytes) {
    usual_copy(u, temp, reg);
    usual_alu(u, ALU_AND, rm_reg(temp), ~PAGE_MASK);
    usual_alu(u, ALU_CMP, rm_reg(temp), PAGE_BYTES - bytes);
    usual_out(u, CC_A);
}

#define FLAT(s) ((u32)SEG_FLAT << MODE_SEG_SHIFT(s))
#define CLASS(s) (3u << MODE_SEG_SHIFT(s))

// ---- REP MOVS, REP STOS -------------------------------------------------------------------------------------
// Forwards in flat segments, within a page on either side.

static void usual_in_page(Usual *u, unsigned reg, unsigned size_log2) {
    usual_copy(u, R9, reg);
    usual_alu(u, ALU_AND, rm_reg(R9), ~PAGE_MASK);
    enc_rm(u->b, 0, 0x8d, R9, rm_sib(R9, RCX, size_log2, 0));
    usual_alu(u, ALU_CMP, rm_reg(R9), PAGE_BYTES);
    usual_out(u, CC_A);
}

// rdi (and rsi) are host addresses, ecx > 0: as many elements, one by one.
static void usual_rep_few(Usual *u, bool movs, unsigned size_log2) {
    Buf *b = u->b;
    unsigned flags = size_log2 ? 0 : ENC_BYTE, wide = size_log2 != 0;
    const u8 *again = b->p;
    if (movs) {
        if (wide) usual_load(u, R11, rm_mem(RSI, 0));
        else enc_rm(b, 0, 0x0fb6, R11, rm_mem(RSI, 0));
        enc_rm(b, flags, 0x88 | wide, R11, rm_mem(RDI, 0));
        enc_alu_imm(b, ENC_W, ALU_ADD, rm_reg(RSI), 1u << size_log2, 4);
    } else {
        enc_rm(b, flags, 0x88 | wide, RAX, rm_mem(RDI, 0));
    }
    enc_alu_imm(b, ENC_W, ALU_ADD, rm_reg(RDI), 1u << size_log2, 4);
    enc_rm(b, 0, 0xff, 1, rm_reg(RCX));                        // dec
    enc_patch32(enc_jcc32(b, CC_NE), again);
}

static void usual_rep_all(Usual *u, bool movs, unsigned size_log2) {
    Buf *b = u->b;
    usual_alu(u, ALU_CMP, rm_reg(RCX), CPU_REP_LEAST);
    u8 *few = enc_jcc32(b, CC_B);
    enc_u8(b, 0xf3);
    enc_u8(b, (movs ? 0xa4 : 0xaa) | (size_log2 != 0));
    u8 *done = enc_jmp32(b);
    enc_patch32(few, b->p);
    usual_rep_few(u, movs, size_log2);
    enc_patch32(done, b->p);
}

// r9 and r10 are the tables' entries. The count is at most what is left of the budget: all is done at once.
static void usual_rep_move(Usual *u, bool movs, unsigned size_log2) {
    Buf *b = u->b;
    usual_alu_rr(u, ALU_SUB, R12, RCX);
    usual_alu(u, ALU_ADD, rm_reg(R12), 1);                     // the block has been charged for one
    if (movs) usual_alu64(u, ALU_ADD, RSI, R9);
    usual_alu64(u, ALU_ADD, RDI, R10);
    usual_rep_all(u, movs, size_log2);
    if (movs) usual_alu64(u, ALU_SUB, RSI, R9);
    usual_alu64(u, ALU_SUB, RDI, R10);
    if (movs) enc_rr(b, 0, 0x89, RSI, RSI);                    // past the last page is 0
    enc_rr(b, 0, 0x89, RDI, RDI);
}

static void usual_rep_size(Usual *u, bool movs, unsigned size_log2) {
    Buf *b = u->b;
    enc_alu_imm(b, ENC_BYTE, ALU_CMP, rm_reg(R8), (CPU_STR(CPU_DS, size_log2, 0) | CPU_STR_A32) & 0xff, 1);
    usual_out(u, CC_NE);
    u32 classes = CLASS(CPU_ES) | (movs ? CLASS(CPU_DS) : 0), flat = FLAT(CPU_ES) | (movs ? FLAT(CPU_DS) : 0);
    usual_mode(u, MODE_TF | MODE_DEBUG | MODE_AC | classes, flat);
    usual_alu(u, ALU_CMP, STATE(df), 1);
    usual_out(u, CC_NE);
    enc_rr(b, 0, 0x85, RCX, RCX);
    u8 *nothing = enc_jcc32(b, CC_E);
    usual_alu(u, ALU_CMP, rm_reg(RCX), PAGE_BYTES >> size_log2);
    usual_out(u, CC_A);
    usual_alu_rr(u, ALU_CMP, R12, RCX);
    usual_out(u, CC_LE);
    usual_in_page(u, RDI, size_log2);
    if (movs) usual_in_page(u, RSI, size_log2);
    usual_entry(u, R10, RDI, MMU_WRITE);
    if (movs) usual_entry(u, R9, RSI, MMU_READ);
    usual_rep_move(u, movs, size_log2);
    enc_patch32(nothing, b->p);
    usual_alu(u, ALU_AND, STATE(eflags), ~FLAG_RF);
    enc_rm(b, 0, 0xc6, 0, STATE(rep_paused));
    enc_u8(b, 0);
    enc_mov_imm(b, R8, 1);
    usual_return(u);
    usual_land(u);
}

static void usual_rep(Usual *u, bool movs) {
    usual_rep_size(u, movs, 2);
    usual_rep_size(u, movs, 0);
}

// ---- POPF, STI ----------------------------------------------------------------------------------------------
static void usual_pins(Usual *u, unsigned reg) {               // 0: no interrupt waits
    enc_mov_imm64(u->b, reg, (u64)(uintptr_t)bus_wanted_pins(u->jit->bus));
    usual_load16(u, reg, rm_mem(reg, 0));
}

// flags = r8d's OSZAPC.
static void usual_put_arith(Usual *u) {
    enc_rm(u->b, 0, 0x0fb6, R10, rm_reg(R8));                  // movzbl
    usual_alu(u, ALU_AND, rm_reg(R10), FLAG_SZAPC);
    usual_shift(u, R10, true, 8);
    usual_shift(u, R8, false, 11);
    usual_alu(u, ALU_AND, rm_reg(R8), 1);
    usual_alu_rr(u, ALU_OR, R8, R10);
    usual_store(u, R8, STATE(flag_a));
    usual_put(u, STATE(flag_op), FLAGS_OP(FLAGS_LAHF, 2));
}

// (r8d image, r9d operand size): nothing changes but arithmetic flags and IF.
static void usual_popf(Usual *u) {
    Buf *b = u->b;
    usual_test(u, STATE(mode), MODE_VM | MODE_TF | MODE_AC | MODE_DEBUG);
    usual_out(u, CC_NE);
    usual_load(u, R10, STATE(eflags));
    usual_test(u, rm_reg(R10), FLAG_RF | FLAG_VM | FLAG_VIF | FLAG_VIP);
    usual_out(u, CC_NE);
    usual_alu_rr(u, ALU_XOR, R10, R8);
    enc_mov_imm(b, R11, FLAG_TF | FLAG_DF | FLAG_IOPL | FLAG_NT);
    usual_alu(u, ALU_CMP, rm_reg(R9), 2);
    u8 *word = enc_jcc32(b, CC_E);
    usual_alu(u, ALU_OR, rm_reg(R11), FLAG_AC | FLAG_ID);
    enc_patch32(word, b->p);
    enc_rr(b, 0, 0x85, R11, R10);
    usual_out(u, CC_NE);
    enc_rr(b, 0, 0x31, R9, R9);
    usual_alu(u, ALU_AND, rm_reg(R10), FLAG_IF);
    u8 *same = enc_jcc32(b, CC_E);
    usual_test(u, STATE(mode), MODE_IO_OK);
    u8 *refused = enc_jcc32(b, CC_E);
    enc_rm(b, 0, 0x31, R10, STATE(eflags));                    // xor
    usual_test(u, rm_reg(R8), FLAG_IF);
    u8 *off = enc_jcc32(b, CC_E);
    usual_pins(u, R9);
    enc_patch32(same, b->p);
    enc_patch32(refused, b->p);
    enc_patch32(off, b->p);
    usual_put_arith(u);
    usual_copy(u, R8, R9);
    usual_return(u);
}

// No interrupt waits, so that none has to be held off.
static void usual_sti(Usual *u) {
    usual_mode(u, MODE_IO_OK | MODE_TF | MODE_DEBUG, MODE_IO_OK);
    usual_pins(u, R9);
    enc_rr(u->b, 0, 0x85, R9, R9);
    usual_out(u, CC_NE);
    usual_alu(u, ALU_OR, STATE(eflags), FLAG_IF);
    enc_rr(u->b, 0, 0x31, R8, R8);
    usual_return(u);
}

// ---- segment registers ----------------------------------------------------------------------------------------
// High word of descriptors: present and accessed data that can be written and does not grow down.
#define USUAL_DESC_MASK 0x00009f00u
#define USUAL_DESC_DATA 0x00009300u
enum { USUAL_DESC_G = 55, USUAL_LEAST_LIMIT = 6 };             // of smaller ones some bounds are 0

static void usual_fpu_unused(Usual *u) {                       // no x87 pointers are to be worked out
    enc_rm(u->b, ENC_66, 0x83, 7, STATE(fpu_used));
    enc_u8(u->b, 0);
    usual_out(u, CC_NE);
}

// reg = r8 from bit `from` on.
static void usual_high(Usual *u, unsigned reg, unsigned from) {
    enc_rr(u->b, ENC_W, 0x89, R8, reg);
    enc_rm(u->b, ENC_W, 0xc1, 5, rm_reg(reg));                 // shr
    enc_u8(u->b, from);
}

// r9w = selector, not null, at CPL 0: r8 = its descriptor in the GDT, r11 and r10 are used.
static void usual_descriptor(Usual *u) {
    usual_copy(u, R11, R10);
    usual_alu(u, ALU_OR, rm_reg(R11), 7);
    enc_rm(u->b, ENC_66, 0x3b, R11, STATE(gdtr.limit));
    usual_out(u, CC_A);
    usual_alu(u, ALU_AND, rm_reg(R11), 0xfff8);
    enc_rm(u->b, 0, 0x03, R11, STATE(gdtr.base));
    usual_one_page(u, R10, R11, 8);
    usual_entry(u, R8, R11, MMU_READ);
    usual_load64(u, R8, rm_sib(R8, R11, 0, 0));
    usual_high(u, R10, 32);
    usual_alu(u, ALU_AND, rm_reg(R10), USUAL_DESC_MASK);
    usual_alu(u, ALU_CMP, rm_reg(R10), USUAL_DESC_DATA);
    usual_out(u, CC_NE);
}

// DPL at least RPL: r8 = descriptor, r9 selector.
static void usual_privilege(Usual *u) {
    usual_high(u, R10, 32 + 13);
    usual_alu(u, ALU_AND, rm_reg(R10), 3);
    usual_copy(u, R11, R9);
    usual_alu(u, ALU_AND, rm_reg(R11), 3);
    usual_alu_rr(u, ALU_CMP, R10, R11);
    usual_out(u, CC_B);
}

// r10d = the descriptor's limit in bytes.
static void usual_limit(Usual *u) {
    usual_high(u, R10, 32);
    usual_alu(u, ALU_AND, rm_reg(R10), 0x000f0000);
    enc_rr(u->b, 0, 0x0fb7, R11, R8);                          // movzwl
    usual_alu_rr(u, ALU_OR, R10, R11);
    enc_rm(u->b, ENC_W, 0x0fba, 4, rm_reg(R8));                // bt
    enc_u8(u->b, USUAL_DESC_G);
    u8 *bytes = enc_jcc32(u->b, CC_AE);
    usual_shift(u, R10, true, PAGE_SHIFT);
    usual_alu(u, ALU_OR, rm_reg(R10), PAGE_BYTES - 1);
    enc_patch32(bytes, u->b->p);
    usual_alu(u, ALU_CMP, rm_reg(R10), USUAL_LEAST_LIMIT);
    usual_out(u, CC_B);
}

static void usual_put_end(Usual *u, unsigned s, unsigned n, unsigned reg) {
    usual_store(u, reg, usual_seg(s, offsetof(CpuSeg, read_end) + 4 * n));
    usual_store(u, reg, usual_seg(s, offsetof(CpuSeg, write_end) + 4 * n));
}

// Limit and bounds of data, from r10d = limit.
static void usual_put_limit(Usual *u, unsigned s) {
    usual_store(u, R10, SEG(s, limit));
    usual_copy(u, R11, R10);
    usual_alu(u, ALU_ADD, rm_reg(R11), 1);
    usual_alu(u, ALU_SBB, rm_reg(R11), 0);                     // at most 0xffffffff
    usual_put_end(u, s, 0, R11);
    usual_put_end(u, s, 1, R10);
    for (unsigned n = 2; n < 4; n++) {
        enc_rm(u->b, 0, 0x8d, R11, rm_mem(R10, 2 - (1 << n)));
        usual_put_end(u, s, n, R11);
    }
}


// r10d = a null selector.
static void usual_null(Usual *u, unsigned s) {
    usual_store(u, R10, SEG(s, selector));
    usual_put(u, SEG(s, base), 0);
    usual_put(u, SEG(s, limit), 0);
    enc_rr(u->b, 0, 0x31, R11, R11);
    for (unsigned n = 0; n < 4; n++) usual_put_end(u, s, n, R11);
    usual_alu(u, ALU_AND, STATE(mode), ~CLASS(s));
}

// The limit and what follows from it, unless it was one of such a segment already.
static void usual_renew_limit(Usual *u, unsigned s) {
    const u32 kind = SEG_ACC_P | SEG_ACC_S | 0xe;              // but for accessed and DPL
    usual_load16(u, R11, SEG(s, access));
    usual_alu(u, ALU_AND, rm_reg(R11), kind);
    usual_alu(u, ALU_CMP, rm_reg(R11), USUAL_DESC_DATA >> 8 & kind);
    u8 *other = enc_jcc32(u->b, CC_NE);
    enc_rm(u->b, 0, 0x3b, R10, SEG(s, limit));
    u8 *same = enc_jcc32(u->b, CC_E);
    enc_patch32(other, u->b->p);
    usual_put_limit(u, s);
    enc_patch32(same, u->b->p);
}

// r8d = class of a data segment with r10d = limit, r11d = base.
static void usual_class(Usual *u) {
    Buf *b = u->b;
    usual_alu(u, ALU_CMP, rm_reg(R10), 0xffffffff);
    u8 *full = enc_jcc32(b, CC_E);
    enc_mov_imm(b, R8, SEG_CHECKED);
    usual_alu(u, ALU_CMP, rm_reg(R10), 0xffff);
    u8 *checked = enc_jcc32(b, CC_NE);
    usual_test(u, rm_reg(R11), 15);
    u8 *odd = enc_jcc32(b, CC_NE);
    enc_mov_imm(b, R8, SEG_REAL);
    u8 *real = enc_jmp32(b);
    enc_patch32(full, b->p);
    usual_alu(u, ALU_CMP, rm_reg(R11), 1);                     // carry: it is 0
    enc_mov_imm(b, R8, SEG_BASED);
    usual_alu(u, ALU_SBB, rm_reg(R8), 0);
    enc_patch32(checked, b->p);
    enc_patch32(odd, b->p);
    enc_patch32(real, b->p);
}

_Static_assert(SEG_BASED == SEG_FLAT + 1, "ORDER");

// r8 = descriptor, r9w = selector, r10d = limit.
static void usual_fill(Usual *u, unsigned s) {
    usual_renew_limit(u, s);
    enc_rm(u->b, ENC_66, 0x89, R9, SEG(s, selector));
    usual_high(u, R9, 32);
    usual_high(u, R11, 16);
    usual_alu(u, ALU_AND, rm_reg(R11), 0xffffff);
    usual_copy(u, R8, R9);
    usual_alu(u, ALU_AND, rm_reg(R8), 0xff000000);
    usual_alu_rr(u, ALU_OR, R11, R8);
    usual_store(u, R11, SEG(s, base));
    usual_shift(u, R9, false, 8);
    usual_alu(u, ALU_AND, rm_reg(R9), 0xf0ff);
    enc_rm(u->b, ENC_66, 0x89, R9, SEG(s, access));
    usual_class(u);
    usual_shift(u, R8, true, MODE_SEG_SHIFT(s));
    usual_load(u, R11, STATE(mode));
    usual_alu(u, ALU_AND, rm_reg(R11), ~CLASS(s));
    usual_alu_rr(u, ALU_OR, R11, R8);
    usual_store(u, R11, STATE(mode));
}

// r9w = selector, at CPL 0 in protected mode: into segment register s.
static void usual_load_seg(Usual *u, unsigned s, bool pop) {
    Buf *b = u->b;
    enc_rm(b, 0, 0x0fb7, R10, rm_reg(R9));                     // movzwl
    usual_test(u, rm_reg(R10), 4);                             // LDT
    usual_out(u, CC_NE);
    usual_alu(u, ALU_CMP, rm_reg(R10), 8);
    u8 *some = enc_jcc32(b, CC_AE);
    usual_null(u, s);
    if (pop) usual_alu(u, ALU_ADD, rm_reg(R15), 4);
    usual_return(u);
    enc_patch32(some, b->p);
    usual_descriptor(u);
    usual_privilege(u);
    usual_limit(u);
    usual_fill(u, s);
    if (pop) usual_alu(u, ALU_ADD, rm_reg(R15), 4);
    usual_return(u);
}

// r9d = the word on top of a flat stack.
static void usual_peek(Usual *u) {
    usual_one_page(u, R11, R15, 4);
    usual_entry(u, R11, R15, MMU_READ);
    usual_load(u, R9, rm_sib(R11, R15, 0, 0));
}

// (r8d register, r9d selector), or from the stack (r8d register, r9d operand size)
static void usual_segment(Usual *u, unsigned s, bool pop) {
    Buf *b = u->b;
    usual_alu(u, ALU_CMP, rm_reg(R8), s);
    u8 *other = enc_jcc32(b, CC_NE);
    u32 mask = MODE_CPL | MODE_PE | MODE_VM | MODE_AC | MODE_DEBUG, want = MODE_PE;
    usual_mode(u, mask | (pop ? MODE_STACK32 | CLASS(CPU_SS) : 0), want | (pop ? MODE_STACK32 | FLAT(CPU_SS) : 0));
    usual_fpu_unused(u);
    if (pop) usual_peek(u);
    usual_load_seg(u, s, pop);
    usual_land(u);
    enc_mov_imm(b, R8, s);
    if (pop) enc_mov_imm(b, R9, 4);
    u->past[u->pasts++] = enc_jmp32(b);
    enc_patch32(other, b->p);
}

static void usual_segments(Usual *u, bool pop) {
    static const u8 registers[] = { CPU_DS, CPU_ES, CPU_FS, CPU_GS };
    if (pop) {
        usual_alu(u, ALU_CMP, rm_reg(R9), 4);
        u->past[u->pasts++] = enc_jcc32(u->b, CC_NE);
    }
    for (u32 i = 0; i < ARRAY_LEN(registers); i++) usual_segment(u, registers[i], pop);
}

// Real and V86 mode (r8d register, r9d selector, r10d offset of the register)
static void usual_load_real(Usual *u) {
    i32 selector = JIT_STATE_AT(offsetof(CpuSeg, selector)), base = JIT_STATE_AT(offsetof(CpuSeg, base));
    usual_fpu_unused(u);
    usual_load16(u, R11, rm_reg(R9));
    enc_rm(u->b, ENC_66, 0x89, R11, rm_sib(R14, R10, 0, selector));
    usual_shift(u, R11, true, 4);
    usual_store(u, R11, rm_sib(R14, R10, 0, base));
    usual_return(u);
}

// ---- CR0.TS -----------------------------------------------------------------------------------------------
// At CPL 0, with an x87 and CR0.EM clear, so that TS and MP alone decide what WAIT and x87 instructions do.
static void usual_ts_only(Usual *u) {
    usual_mode(u, MODE_CPL, 0);
    usual_test(u, STATE(cpuid_features), CPU_HAS_FPU);
    usual_out(u, CC_E);
    usual_load(u, R10, STATE(cr0));
    usual_test(u, rm_reg(R10), CPU_CR0_EM);
    usual_out(u, CC_NE);
}

static void usual_clts(Usual *u) {
    usual_ts_only(u);
    usual_alu(u, ALU_AND, STATE(cr0), ~CPU_CR0_TS);
    usual_alu(u, ALU_AND, STATE(mode), ~(MODE_FPU_NM | MODE_WAIT_NM));
    usual_return(u);
}

// (r8d number, r9d value): CR0, of which nothing but TS changes.
static void usual_write_cr(Usual *u) {
    Buf *b = u->b;
    usual_alu(u, ALU_CMP, rm_reg(R8), 0);
    usual_out(u, CC_NE);
    usual_ts_only(u);
    usual_fpu_unused(u);
    usual_alu_rr(u, ALU_XOR, R10, R9);
    usual_test(u, rm_reg(R10), ~CPU_CR0_TS);
    usual_out(u, CC_NE);
    usual_store(u, R9, STATE(cr0));
    usual_load(u, R10, STATE(mode));
    usual_alu(u, ALU_AND, rm_reg(R10), ~(MODE_FPU_NM | MODE_WAIT_NM));
    usual_test(u, rm_reg(R9), CPU_CR0_TS);
    u8 *off = enc_jcc32(b, CC_E);
    usual_alu(u, ALU_OR, rm_reg(R10), MODE_FPU_NM);
    usual_test(u, rm_reg(R9), CPU_CR0_MP);
    u8 *no_wait = enc_jcc32(b, CC_E);
    usual_alu(u, ALU_OR, rm_reg(R10), MODE_WAIT_NM);
    enc_patch32(off, b->p);
    enc_patch32(no_wait, b->p);
    usual_store(u, R10, STATE(mode));
    usual_return(u);
}

// ---- SYSENTER, SYSEXIT ----------------------------------------------------------------------------------------
#define USUAL_ACCESS_CODE(cpl) (0xc09bu | (cpl) << SEG_ACC_DPL_SHIFT)
#define USUAL_ACCESS_DATA(cpl) (0xc093u | (cpl) << SEG_ACC_DPL_SHIFT)

// r9d = selector of the code segment before its RPL: CS and SS, which were flat, and CPL.
static void usual_flat_pair(Usual *u, u32 cpl) {
    usual_alu(u, ALU_AND, rm_reg(R9), 0xfffc);
    usual_alu(u, ALU_OR, rm_reg(R9), USUAL_ACCESS_CODE(cpl) << 16 | cpl);
    usual_store(u, R9, SEG(CPU_CS, selector));
    usual_alu(u, ALU_ADD, rm_reg(R9), 8);
    enc_rm(u->b, 0, 0x0fb7, R9, rm_reg(R9));                   // movzwl
    usual_alu(u, ALU_OR, rm_reg(R9), USUAL_ACCESS_DATA(cpl) << 16);
    usual_store(u, R9, SEG(CPU_SS, selector));
    enc_rm(u->b, 0, 0xc6, 0, STATE(cpl));
    enc_u8(u->b, cpl);
    usual_load64(u, R13, STATE(context_base[cpl == 3]));
    enc_rm(u->b, ENC_W, 0x89, R13, STATE(mmu_base));
}

// CS and SS are such as these instructions load them, but for selector and DPL.
static void usual_is_flat(Usual *u, u32 mask) {
    u32 flat = FLAT(CPU_CS) | FLAT(CPU_SS) | MODE_CODE32 | MODE_STACK32 | MODE_PE;
    usual_mode(u, mask | flat | CLASS(CPU_CS) | CLASS(CPU_SS) | MODE_VM | MODE_AC | MODE_TF | MODE_DEBUG, flat);
    usual_load16(u, R10, SEG(CPU_CS, access));
    usual_alu(u, ALU_AND, rm_reg(R10), SEG_ACC_P | SEG_ACC_S | 0xa);
    usual_alu(u, ALU_CMP, rm_reg(R10), SEG_ACC_P | SEG_ACC_S | 0xa);       // code that can be read
    usual_out(u, CC_NE);
    usual_fpu_unused(u);
    usual_load(u, R9, STATE(msr_sysenter_cs));
    usual_test(u, rm_reg(R9), 0xfffc);
    usual_out(u, CC_E);
}

static void usual_sysenter(Usual *u) {
    usual_is_flat(u, 0);
    usual_flat_pair(u, 0);
    usual_alu(u, ALU_AND, STATE(mode), ~(MODE_CPL | MODE_WINDOW));
    usual_alu(u, ALU_OR, STATE(mode), MODE_IO_OK);
    usual_alu(u, ALU_AND, STATE(eflags), ~(FLAG_IF | FLAG_RF));
    usual_load(u, R15, STATE(msr_sysenter_esp));
    usual_load(u, R9, STATE(msr_sysenter_eip));
    usual_store(u, R9, STATE(eip));
    usual_return(u);
    usual_land(u);
}

// With IOPL below 3, and no alignment checks.
static void usual_sysexit(Usual *u) {
    usual_is_flat(u, MODE_CPL);
    usual_load(u, R10, STATE(eflags));
    usual_test(u, rm_reg(R10), FLAG_AC | FLAG_TF);
    usual_out(u, CC_NE);
    usual_alu(u, ALU_AND, rm_reg(R10), FLAG_IOPL);
    usual_alu(u, ALU_CMP, rm_reg(R10), FLAG_IOPL);
    usual_out(u, CC_E);
    usual_alu(u, ALU_ADD, rm_reg(R9), 16);
    usual_flat_pair(u, 3);
    usual_load(u, R10, STATE(mode));
    usual_alu(u, ALU_AND, rm_reg(R10), ~MODE_IO_OK);
    enc_rm(u->b, 0, 0x0b, R10, STATE(mode_user));              // or
    usual_store(u, R10, STATE(mode));
    usual_copy(u, R15, RCX);
    usual_store(u, RDX, STATE(eip));
    usual_return(u);
    usual_land(u);
}

// ---- with the flags there were --------------------------------------------------------------------------------
// Host EFLAGS = the guest's; r9 is lost, and r11 where the recipe is rare.
static void usual_flags(Usual *u) {
    enc_rm(u->b, ENC_W, 0x8d, RSP, rm_mem(RSP, -8));           // the stack as blocks have it
    enc_patch32(enc_call32(u->b), u->jit->target.flags_load);
    enc_rm(u->b, ENC_W, 0x8d, RSP, rm_mem(RSP, 8));
}

// The guest's flags = host EFLAGS and those in `more`. r9 and r10 are lost.
static void usual_put_flags(Usual *u, u32 more) {
    usual_copy(u, R9, RAX);
    enc_u8(u->b, 0x9f);                                        // lahf
    enc_rm(u->b, ENC_BYTE, 0x0f90, 0, rm_reg(RAX));            // seto %al
    enc_rm(u->b, 0, 0x0fb7, R10, rm_reg(RAX));                 // movzwl
    usual_copy(u, RAX, R9);
    if (more) usual_alu(u, ALU_OR, rm_reg(R10), more << 8);
    usual_store(u, R10, STATE(flag_a));
    usual_put(u, STATE(flag_op), FLAGS_OP(FLAGS_LAHF, 2));
}

// (r8d offset, r9d mem) in segment s of 4 GiB: the host's instruction on the same registers.
static void usual_exchange(Usual *u, unsigned s) {
    Buf *b = u->b;
    usual_load(u, R11, STATE(mode));
    usual_test(u, rm_reg(R11), MODE_AC | MODE_DEBUG);
    usual_out(u, CC_NE);
    usual_shift(u, R11, false, MODE_SEG_SHIFT(s));
    usual_alu(u, ALU_AND, rm_reg(R11), 3);
    usual_alu(u, ALU_SUB, rm_reg(R11), SEG_FLAT);
    usual_alu(u, ALU_CMP, rm_reg(R11), SEG_BASED - SEG_FLAT);
    usual_out(u, CC_A);
    usual_copy(u, R10, R8);
    enc_rm(b, 0, 0x03, R10, SEG(s, base));                     // add
    usual_one_page(u, R11, R10, 8);
    usual_entry(u, R11, R10, MMU_WRITE);
    enc_rr(b, ENC_W, 0x01, R11, R10);                          // add
    usual_flags(u);
    enc_rm(b, 0, 0x0fc7, 1, rm_mem(R10, 0));                   // cmpxchg8b
    usual_put_flags(u, 0);
    usual_return(u);
}

// In DS, and in FS, where Linux has what belongs to a processor.
static void usual_cmpxchg8b(Usual *u) {
    usual_alu(u, ALU_CMP, rm_reg(R9), CPU_ACCESS(CPU_DS, 3));
    u8 *other = enc_jcc32(u->b, CC_NE);
    usual_exchange(u, CPU_DS);
    enc_patch32(other, u->b->p);
    usual_alu(u, ALU_CMP, rm_reg(R9), CPU_ACCESS(CPU_FS, 3));
    usual_out(u, CC_NE);
    usual_exchange(u, CPU_FS);
}

// (r8d selector) at CPL 0: of data that can be written.
static void usual_verw(Usual *u) {
    usual_copy(u, R9, R8);
    usual_mode(u, MODE_CPL | MODE_PE | MODE_VM | MODE_AC | MODE_DEBUG, MODE_PE);
    enc_rm(u->b, 0, 0x0fb7, R10, rm_reg(R9));                  // movzwl
    usual_test(u, rm_reg(R10), 4);                             // LDT
    usual_out(u, CC_NE);
    usual_alu(u, ALU_CMP, rm_reg(R10), 8);
    usual_out(u, CC_B);
    usual_descriptor(u);
    usual_privilege(u);
    usual_flags(u);
    usual_put_flags(u, FLAG_ZF);
    usual_return(u);
    usual_land(u);
    usual_copy(u, R8, R9);
}

// ---- all ------------------------------------------------------------------------------------------------------
void usual_emit(const Jit *jit, Buf *b, u32 helper) {
    Usual u = { .jit = jit, .b = b };
    switch (helper) {
    case HELPER_rep_movs: usual_rep(&u, true); break;
    case HELPER_rep_stos: usual_rep(&u, false); break;
    case HELPER_popf: usual_popf(&u); break;
    case HELPER_sti: usual_sti(&u); break;
    case HELPER_load_seg: usual_segments(&u, false); break;
    case HELPER_load_seg_real: usual_load_real(&u); break;
    case HELPER_pop_seg: usual_segments(&u, true); break;
    case HELPER_clts: usual_clts(&u); break;
    case HELPER_write_cr: usual_write_cr(&u); break;
    case HELPER_sysenter: usual_sysenter(&u); break;
    case HELPER_sysexit: usual_sysexit(&u); break;
    case HELPER_cmpxchg8b: usual_cmpxchg8b(&u); break;
    case HELPER_verw: usual_verw(&u); break;
    default: break;
    }
    usual_land(&u);
    for (u32 i = 0; i < u.pasts; i++) enc_patch32(u.past[i], b->p);
}
