// SPDX-License-Identifier: MIT
// The code around blocks, generated once. Register convention: x64/x64.h.
//
// A call out of a block has pushed its return address; the pc reported for it is that address - 1, the
// last byte of the call (as a restore record names it).
//
// The stack inside blocks is 16-byte aligned; enter keeps 8 bytes of padding below the saved registers.
#include "jit/check.h"

#include "cpu/helpers.h"
#include "cpu/mmu.h"

#include <string.h>

static const u8 stub_host_reg[8] = { RAX, RCX, RDX, RBX, R15, RBP, RSI, RDI };

#define OFF(field) JIT_STATE_AT(offsetof(Cpu, field))
static Rm stub_reg(unsigned r) { return rm_mem(R14, OFF(regs) + 4 * (i32)r); }
static Rm stub_word(unsigned n) { return rm_mem(R14, OFF(jit_word) + 8 * (i32)n); }

enum { STUB_JAE = 3, STUB_JE = 4, STUB_JNE = 5, STUB_JLE = 14 };      // condition codes
enum { STUB_ALL = 0xff, STUB_CALLER_SAVED = 0xc7 };   // EAX ECX EDX ESI EDI: what C may change

static void stub_store_regs(Buf *b, unsigned mask) {
    for (unsigned r = 0; r < 8; r++)
        if (mask >> r & 1) enc_rm(b, 0, 0x89, stub_host_reg[r], stub_reg(r));
}

static void stub_load_regs(Buf *b, unsigned mask) {
    for (unsigned r = 0; r < 8; r++)
        if (mask >> r & 1) enc_rm(b, 0, 0x8b, stub_host_reg[r], stub_reg(r));
}

static void stub_push(Buf *b, unsigned r) { if (r >= 8) enc_u8(b, 0x41); enc_u8(b, 0x50 | (r & 7)); }
static void stub_pop(Buf *b, unsigned r) { if (r >= 8) enc_u8(b, 0x41); enc_u8(b, 0x58 | (r & 7)); }
static void stub_rsp(Buf *b, i32 bytes) { enc_alu_imm(b, ENC_W, 0, rm_reg(RSP), (u32)bytes, 4); }

static void stub_pass_cpu(Buf *b) { enc_rm(b, ENC_W, 0x8d, RDI, rm_mem(R14, -JIT_STATE_BIAS)); }
static void stub_lea(Buf *b, unsigned r, const u8 *code) {     // lea code(%rip), r
    enc_u8(b, r >= 8 ? 0x4c : 0x48);
    enc_u8(b, 0x8d);
    enc_u8(b, (r & 7) << 3 | 5);
    b->p += 4;
    enc_patch32(b->p - 4, code);
}

static void stub_call_c(Buf *b, const void *fn) {
    enc_mov_imm64(b, RAX, (u64)(uintptr_t)fn);
    enc_rm(b, 0, 0xff, 2, rm_reg(RAX));                    // call *%rax
}

static void stub_cmp_mem_imm8(Buf *b, unsigned flags, Rm rm, u32 imm) {
    enc_rm(b, flags, flags & ENC_BYTE ? 0x80 : 0x83, 7, rm);
    enc_u8(b, imm);
}

static void stub_align(Buf *b) {
    while ((uintptr_t)b->p & 15) enc_u8(b, 0xcc);
}

// ---- the guest's XMM registers around C ---------------------------------------------------------------
// C code may use vector registers, and finds the guest's in cpu->xmm and cpu->mxcsr. No general register
// is touched, host EFLAGS are not either (but by the guards).
static void stub_xmm(Buf *b, bool store) {
    for (unsigned n = 0; n < 8; n++)
        enc_rm(b, 0, store ? 0x0f29 : 0x0f28, n, rm_mem(R14, OFF(xmm) + 16 * (i32)n));     // movaps
}

enum { STUB_LDMXCSR = 2, STUB_STMXCSR = 3 };
static void stub_mxcsr(Buf *b, unsigned digit, i32 offset) { enc_rm(b, 0, 0x0fae, digit, rm_mem(R14, offset)); }

static void stub_sse(Jit *jit, Buf *b) {
    stub_align(b);
    jit->sse_store = b->p;
    stub_mxcsr(b, STUB_STMXCSR, OFF(mxcsr));
    stub_mxcsr(b, STUB_LDMXCSR, OFF(host_mxcsr));
    stub_xmm(b, true);
    enc_u8(b, 0xc3);
    stub_align(b);
    jit->target.sse_load = b->p;
    enc_rm(b, 0, 0xc7, 0, rm_mem(R14, OFF(sse_live)));
    enc_u32(b, 1);
    jit->sse_restore = b->p;
    stub_xmm(b, false);
    stub_mxcsr(b, STUB_LDMXCSR, OFF(mxcsr));
    enc_u8(b, 0xc3);
}

// cmpl $0, sse_live ; je past ; call routine ; past:
static void stub_if_sse(Buf *b, const u8 *routine) {
    enc_rm(b, 0, 0x83, 7, rm_mem(R14, OFF(sse_live)));
    enc_u8(b, 0);
    enc_u16(b, 0x0574);
    enc_patch32(enc_call32(b), routine);
}

// The call of a C function that leaves the guest's XMM registers as they are (or as it put them).
static void stub_call_guarded(const Jit *jit, Buf *b, const void *fn) {
    stub_if_sse(b, jit->sse_store);
    stub_call_c(b, fn);
    stub_if_sse(b, jit->sse_restore);
}

// u32 enter(Cpu *cpu, const u8 *code)
static const u8 *stub_enter(Buf *b) {
    const u8 *at = b->p;
    static const u8 saved[] = { RBP, RBX, R12, R13, R14, R15 };
    for (unsigned i = 0; i < 6; i++) stub_push(b, saved[i]);
    stub_rsp(b, -8);
    enc_rm(b, ENC_W, 0x8d, R14, rm_mem(RDI, JIT_STATE_BIAS));
    enc_rr(b, ENC_W, 0x89, RSI, R8);
    enc_rm(b, ENC_W, 0x89, RSP, stub_word(WORD_HOST_SP));
    enc_rm(b, ENC_W, 0x8b, R13, rm_mem(R14, OFF(mmu_base)));
    enc_rm(b, 0, 0x8b, R12, rm_mem(R14, OFF(budget)));
    stub_load_regs(b, STUB_ALL);
    enc_rm(b, 0, 0xff, 4, rm_reg(R8));                     // jmp *%r8
    return at;
}

// Everything leaves here: r9d = JitExit. What came by a call has taken its return address from the stack, so that
// the processor's guess at where RET leads would be wrong, here and in the functions above: it goes by a jump.
static const u8 *stub_exit(const Jit *jit, Buf *b, bool called) {
    const u8 *at = b->p;
    static const u8 saved[] = { R15, R14, R13, R12, RBX, RBP };
    stub_if_sse(b, jit->sse_store);
    enc_rm(b, 0, 0xc7, 0, rm_mem(R14, OFF(sse_live)));
    enc_u32(b, 0);
    stub_store_regs(b, STUB_ALL);
    enc_rm(b, 0, 0x89, R12, rm_mem(R14, OFF(budget)));
    enc_rr(b, 0, 0x89, R9, RAX);
    stub_rsp(b, 8);
    for (unsigned i = 0; i < 6; i++) stub_pop(b, saved[i]);
    if (called) {
        stub_pop(b, RCX);
        enc_rm(b, 0, 0xff, 4, rm_reg(RCX));                // jmp *%rcx
    } else {
        enc_u8(b, 0xc3);
    }
    return at;
}

static void stub_leave_as(Buf *b, const u8 *exit, JitExit reason) {
    enc_mov_imm(b, R9, reason);
    enc_patch32(enc_jmp32(b), exit);
}

// pop the return address, report it - 1 as the pc.
static void stub_take_pc(Buf *b) {
    stub_pop(b, R8);
    enc_rm(b, ENC_W, 0xff, 1, rm_reg(R8));                 // dec %r8
    enc_rm(b, ENC_W, 0x89, R8, stub_word(WORD_EXIT_PC));
}

// The C part of a slow access: r8d offset, r9d info; out: r8 pointer, or the block is left.
static const u8 *stub_slow_tail(const Jit *jit, Buf *b, const void *fn, bool linear, const u8 *exit) {
    stub_align(b);
    const u8 *at = b->p;
    stub_push(b, R10);
    stub_push(b, R11);
    stub_store_regs(b, jit->opt.check ? STUB_ALL : STUB_CALLER_SAVED);
    enc_rm(b, 0, 0x89, R12, rm_mem(R14, OFF(budget)));
    stub_pass_cpu(b);
    enc_rr(b, 0, 0x89, R8, RSI);
    enc_rr(b, 0, 0x89, R9, RDX);
    enc_rm(b, ENC_W, 0x8b, RCX, rm_mem(RSP, 16));          // return address
    stub_rsp(b, -8);
    stub_call_guarded(jit, b, fn);
    stub_rsp(b, 8);
    enc_rr(b, ENC_W, 0x89, RAX, R8);
    enc_rr(b, ENC_W, 0x85, RAX, RAX);
    stub_load_regs(b, STUB_CALLER_SAVED);
    enc_rm(b, 0, 0x8b, R12, rm_mem(R14, OFF(budget)));
    stub_pop(b, R11);
    stub_pop(b, R10);
    u8 *fault = enc_jcc32(b, 4);
    if (linear) enc_rr(b, ENC_W, 0x29, R13, R8);           // sub %r13, %r8
    enc_u8(b, 0xc3);
    enc_patch32(fault, b->p);
    stub_take_pc(b);
    stub_leave_as(b, exit, EXIT_FAULT);
    return at;
}

#define SLOW_FPU_MASKS 0x19u       // of invalid, overflow, underflow in the x87's control word
static const u16 stub_bytes[X64_SIZES] = { 1, 2, 4, 8, 10, 16, 16 };

static void stub_count(Buf *b, SlowCause cause) {
    enc_rm(b, ENC_W, 0xff, 0, rm_mem(R14, OFF(jit_slow) + 8 * (i32)cause));    // incq
}

// r8 = where the access goes, r9d its page: it is aligned when only the window was the matter.
static void stub_count_direct(Buf *b, bool linear, u32 bytes) {
    u32 mask = bytes == 10 ? 15 : bytes - 1;
    u8 *unaligned = NULL;
    if (linear && mask) {
        enc_rm(b, ENC_BYTE, 0xf6, 0, rm_reg(R8));          // test $mask, %r8b
        enc_u8(b, mask);
        unaligned = enc_jcc32(b, STUB_JNE);
    }
    if (linear) {
        enc_rm(b, 0, 0x89, R9, rm_mem(R14, OFF(jit_past_window)));
        stub_count(b, SLOW_WINDOW);
    }
    u8 *done = unaligned ? enc_jmp32(b) : NULL;
    if (unaligned) enc_patch32(unaligned, b->p);
    if (unaligned || !linear) stub_count(b, SLOW_UNALIGNED);
    if (done) enc_patch32(done, b->p);
}

static void stub_return_direct(const Jit *jit, Buf *b) {
    stub_lea(b, R9, jit->commit_nothing);
    enc_rm(b, ENC_W, 0x89, R9, stub_word(WORD_SLOW_COMMIT));
    enc_u8(b, 0xc3);
}

// r9d = page of an access to a page that the window does not show: the credit for those is used up.
static const u8 *stub_show_hot(const Jit *jit, Buf *b) {
    const u8 *at = b->p;
    stub_push(b, R8);
    stub_push(b, R10);
    stub_push(b, R11);
    stub_store_regs(b, STUB_CALLER_SAVED);
    stub_pass_cpu(b);
    enc_rr(b, 0, 0x89, R9, RSI);
    stub_call_guarded(jit, b, (void *)mmu_show_hot);
    stub_load_regs(b, STUB_CALLER_SAVED);
    stub_pop(b, R11);
    stub_pop(b, R10);
    stub_pop(b, R8);
    stub_return_direct(jit, b);
    return at;
}

// r8 = addend + linear: form ADDED wants that, the others the same minus r13.
static void stub_slow_direct(const Jit *jit, Buf *b, Rm entry, bool linear, u32 bytes) {
    enc_rm(b, ENC_W, 0x03, R8, entry);
    u8 *invalid = enc_jcc32(b, 8);
    if (linear) enc_rr(b, ENC_W, 0x29, R13, R8);
    stub_count_direct(b, linear, bytes);
    stub_return_direct(jit, b);
    enc_patch32(invalid, b->p);
    enc_rm(b, ENC_W, 0x2b, R8, entry);
}

// Is the granule of the access's byte one of code_granules (r11)? Then to the place returned. r10 lost.
static u8 *stub_granule(Buf *b, u32 byte) {
    enc_rm(b, 0, 0x8d, R10, rm_mem(R8, (i32)byte));
    enc_rm(b, 0, 0xc1, 5, rm_reg(R10));                    // shr $6: bt takes it modulo 64
    enc_u8(b, 6);
    enc_rr(b, ENC_W, 0x0fa3, R10, R11);                    // bt
    return enc_jcc32(b, 2);
}

static u32 stub_slow_info(u32 kind, u32 seg, u32 size) {
    return X64_SLOW_INFO(kind, seg, stub_bytes[size]) | (size == X64_SIZE_16A ? X64_SLOW_ALIGN16 : 0);
}

// A store to a page with translated code, but not to its granules: it is done directly. (The first to a page goes
// through C: it becomes dirty.) r8d = linear, of an access that stays in its page, r9 = the page's descriptor.
//     push %r10 ; push %r11
//     cmpw $(kind | flags << 8), kind(%r9) ; jne no
//     mov  $store_log, %r10 ; cmpb $0, (%r10) ; jne no
//     mov  granules(%r9), %r11 ; (a bit set for one of the bytes) jc no
//     and  $0xfff, %r8d ; add host(%r9), %r8
//     ... ret
//   no: pop %r11 ; pop %r10 ; sub base, %r8d ; mov $info, %r9d ; jmp tail
static const u8 *stub_beside(const Jit *jit, Buf *b, bool linear, u32 kind, u32 seg, u32 size, const u8 *tail) {
    u32 bytes = stub_bytes[size], n = 0;
    const u8 *at = b->p;
    u8 *no[4];
    stub_push(b, R10);
    stub_push(b, R11);
    enc_rm(b, ENC_66, 0x81, 7, rm_mem(R9, offsetof(BusPage, kind)));
    enc_u16(b, BUS_PAGE_RAM | (BUS_PAGE_CODE | BUS_PAGE_DIRTY) << 8);
    no[n++] = enc_jcc32(b, STUB_JNE);
    enc_mov_imm64(b, R10, (u64)(uintptr_t)bus_store_log(jit->bus));
    stub_cmp_mem_imm8(b, ENC_BYTE, rm_mem(R10, 0), 0);
    no[n++] = enc_jcc32(b, STUB_JNE);
    enc_rm(b, ENC_W, 0x8b, R11, rm_mem(R9, offsetof(BusPage, code_granules)));
    no[n++] = stub_granule(b, 0);
    if (bytes > 1) no[n++] = stub_granule(b, bytes - 1);
    enc_alu_imm(b, 0, 4, rm_reg(R8), PAGE_BYTES - 1, 4);
    enc_rm(b, ENC_W, 0x03, R8, rm_mem(R9, offsetof(BusPage, host)));
    if (linear) enc_rr(b, ENC_W, 0x29, R13, R8);
    stub_count(b, SLOW_BESIDE);
    stub_lea(b, R9, jit->commit_nothing);
    enc_rm(b, ENC_W, 0x89, R9, stub_word(WORD_SLOW_COMMIT));
    stub_pop(b, R11);
    stub_pop(b, R10);
    enc_u8(b, 0xc3);
    while (n-- > 0) enc_patch32(no[n], b->p);
    stub_pop(b, R11);
    stub_pop(b, R10);
    enc_rm(b, 0, 0x2b, R8, rm_mem(R14, jit->target.seg_base[seg]));
    enc_mov_imm(b, R9, stub_slow_info(kind, seg, size));
    enc_patch32(enc_jmp32(b), tail);
    return at;
}
_Static_assert(offsetof(BusPage, flags) == offsetof(BusPage, kind) + 1, "compared as one word");

// A store to a device in a flat segment gets the bounce buffer at once, and stub_commit() what it needs. As
// slow_known_store(). r9 lost; else to one of two places.
static void stub_slow_device(const Jit *jit, Buf *b, bool linear, u32 size, u8 **no) {
    u32 masks = SLOW_FPU_MASKS;
    enc_rm(b, 0, 0xf7, 0, rm_mem(R14, OFF(mode)));         // testl
    enc_u32(b, MODE_DEBUG | MODE_AC);
    no[0] = enc_jcc32(b, STUB_JNE);
    enc_rm(b, 0, 0xd9, 7, stub_word(WORD_SLOW_INFO));      // fnstcw: see slow_keep_memory()
    enc_rm(b, 0, 0x0fb7, R9, stub_word(WORD_SLOW_INFO));   // movzwl
    enc_alu_imm(b, 0, 4, rm_reg(R9), masks, 4);
    enc_alu_imm(b, 0, 7, rm_reg(R9), masks, 4);
    no[1] = enc_jcc32(b, STUB_JNE);
    enc_rm(b, 0, 0x89, R8, stub_word(WORD_SLOW_OFFSET));
    enc_rm(b, 0, 0x89, R8, stub_word(WORD_SLOW_LINEAR));
    enc_rm(b, 0, 0xc7, 0, stub_word(WORD_SLOW_INFO));
    enc_u32(b, stub_bytes[size]);
    enc_rm(b, ENC_W, 0x8b, R9, rm_mem(RSP, 0));            // who stores
    enc_rm(b, ENC_W, 0x89, R9, stub_word(WORD_EXIT_PC));
    stub_lea(b, R9, jit->commit_device);
    enc_rm(b, ENC_W, 0x89, R9, stub_word(WORD_SLOW_COMMIT));
    stub_count(b, SLOW_DEVICE);
    enc_rm(b, ENC_W, 0x8d, R8, rm_mem(R14, OFF(bounce)));
    if (linear) enc_rr(b, ENC_W, 0x29, R13, R8);
    enc_u8(b, 0xc3);
}

// r8d = linear, within its page, whose entry is not direct: what can be done for a store without C. Else falls through,
// r8d as before. `beside`: who is asked about memory.
static void stub_slow_store(const Jit *jit, Buf *b, Rm entry, bool linear, u32 kind, u32 size, u32 cls,
                            const u8 *beside) {
    bool device = kind == X64_SLOW_STORE && cls == X64_FLAT && stub_bytes[size] <= 4 && !jit->opt.check;
    u8 *no[3];
    u32 n = 1;
    enc_rm(b, ENC_W, 0x8b, R9, entry);
    enc_rm(b, ENC_W, 0x0fba, 4, rm_reg(R9));               // bt
    enc_u8(b, (u32)__builtin_ctzll(MMU_KNOWN_BIT));
    no[0] = enc_jcc32(b, STUB_JAE);
    if (device) enc_rm(b, 0, 0x89, R9, stub_word(WORD_SLOW_PAGE));
    enc_rm(b, 0, 0xc1, 4, rm_reg(R9));                     // shl: to its descriptor
    enc_u8(b, (u32)__builtin_ctz(sizeof(BusPage)));
    enc_rm(b, ENC_W, 0x03, R9, stub_word(WORD_PAGES));
    if (device) {
        stub_cmp_mem_imm8(b, ENC_BYTE, rm_mem(R9, offsetof(BusPage, kind)), BUS_PAGE_MMIO);
        u8 *memory = enc_jcc32(b, STUB_JNE);
        stub_slow_device(jit, b, linear, size, no + n);
        n += 2;
        enc_patch32(memory, b->p);
    }
    enc_patch32(enc_jmp32(b), beside);
    while (n-- > 0) enc_patch32(no[n], b->p);
}
_Static_assert((sizeof(BusPage) & (sizeof(BusPage) - 1)) == 0, "indexed by a shift");

// r8d = linear: direct after all when the access stays inside its page (real, and where 16 bytes must be
// aligned: the 16-byte line) and the entry is good; falls through otherwise, r8d as before.
//     mov   %r8d, %r9d
//     and   $0xfff, %r9d
//     cmp   $0x1000-size, %r9d
//     ja    no
//     mov   %r8d, %r9d
//     shr   $12, %r9d
//     add   table(%r13,%r9,8), %r8
//     js    undo
//     lea   nothing, %r9 ; mov %r9, commit ; ret
//   undo: sub table(%r13,%r9,8), %r8
//   no:
static void stub_slow_try(const Jit *jit, Buf *b, Rm entry, bool linear, u32 kind, u32 size, u32 cls,
                          const u8 *beside) {
    u32 span = cls == X64_REAL || size == X64_SIZE_16A ? 16 : PAGE_BYTES, bytes = stub_bytes[size];
    enc_rr(b, 0, 0x89, R8, R9);
    enc_alu_imm(b, 0, 4, rm_reg(R9), span - 1, 4);
    enc_alu_imm(b, 0, 7, rm_reg(R9), span - bytes, 4);
    u8 *crosses = enc_jcc32(b, 7);
    enc_rr(b, 0, 0x89, R8, R9);
    enc_rm(b, 0, 0xc1, 5, rm_reg(R9));
    enc_u8(b, 12);
    stub_slow_direct(jit, b, entry, linear, bytes);
    if (beside) stub_slow_store(jit, b, entry, linear, kind, size, cls, beside);
    enc_patch32(crosses, b->p);
}

// Form DETOUR, r8d = linear: the usual case, in which the access is aligned and the page is not shown. Falls through
// otherwise, r8d as before.
//     test  $size-1, %r8b ; jne no
//     mov   %r8d, %r9d ; shr $12, %r9d
//     add   table(%r13,%r9,8), %r8 ; js undo
//     sub   %r13, %r8
//     decl  credit ; js show_hot
//     (stores: lea nothing, %r9 ; mov %r9, commit)
//     ret
static void stub_slow_detour(const Jit *jit, Buf *b, Rm entry, bool load, u32 bytes) {
    u8 *unaligned = NULL;
    if (bytes > 1) {
        enc_rm(b, ENC_BYTE, 0xf6, 0, rm_reg(R8));
        enc_u8(b, bytes == 10 ? 15 : bytes - 1);
        unaligned = enc_jcc32(b, STUB_JNE);
    }
    enc_rr(b, 0, 0x89, R8, R9);
    enc_rm(b, 0, 0xc1, 5, rm_reg(R9));
    enc_u8(b, PAGE_SHIFT);
    enc_rm(b, ENC_W, 0x03, R8, entry);
    u8 *invalid = enc_jcc32(b, 8);
    enc_rr(b, ENC_W, 0x29, R13, R8);
    enc_rm(b, 0, 0xff, 1, rm_mem(R14, OFF(window_credit)));
    enc_patch32(enc_jcc32(b, 8), jit->show_hot);
    if (load) enc_u8(b, 0xc3);
    else stub_return_direct(jit, b);
    enc_patch32(invalid, b->p);
    enc_rm(b, ENC_W, 0x2b, R8, entry);
    if (unaligned) enc_patch32(unaligned, b->p);
}

// r8 = linear + entry and r9 = page index (form ADDED) or r8 = linear.
static const u8 *stub_slow_table(const Jit *jit, Buf *b, unsigned form, u32 kind, u32 seg, u32 size,
                                 u32 cls, const u8 *tail, const u8 *beside) {
    const X64Target *t = &jit->target;
    const u8 *at = b->p;
    Rm entry = rm_sib(R13, R9, 3, kind == X64_SLOW_LOAD ? t->read_table : t->write_table);
    if (form == X64_ADDED) enc_rm(b, ENC_W, 0x2b, R8, entry);
    if (form == X64_DETOUR) stub_slow_detour(jit, b, entry, kind == X64_SLOW_LOAD, stub_bytes[size]);
    stub_slow_try(jit, b, entry, form != X64_ADDED, kind, size, cls, beside);
    if (cls != X64_FLAT) enc_rm(b, 0, 0x2b, R8, rm_mem(R14, t->seg_base[seg]));
    enc_mov_imm(b, R9, stub_slow_info(kind, seg, size));
    enc_patch32(enc_jmp32(b), tail);
    return at;
}

// The same from the offset in a checked segment: limit first.
//     cmp end, %r8d ; jae c ; add base, %r8d ; (as above) ; sub base, %r8d ; c: mov $info, %r9d ; jmp tail
static const u8 *stub_slow_offset(const Jit *jit, Buf *b, bool linear, u32 kind, u32 seg, u32 size,
                                  const u8 *tail, const u8 *beside) {
    const X64Target *t = &jit->target;
    const u8 *at = b->p;
    bool load = kind == X64_SLOW_LOAD;
    u32 bytes = stub_bytes[size];
    if (bytes != 10) {
        u32 log2 = (u32)__builtin_ctz(min_u32(bytes, 8));
        Rm end = rm_mem(R14, (load ? t->seg_read_end : t->seg_write_end)[seg] + 4 * (i32)log2);
        if (bytes == 16) enc_rm(b, 0, 0x8d, R9, rm_mem(R8, 8));      // its second half; no 16-byte column
        enc_rm(b, 0, 0x3b, bytes == 16 ? R9 : R8, end);
        u8 *limit = enc_jcc32(b, 3);
        enc_rm(b, 0, 0x03, R8, rm_mem(R14, t->seg_base[seg]));
        Rm entry = rm_sib(R13, R9, 3, load ? t->read_table : t->write_table);
        stub_slow_try(jit, b, entry, linear, kind, size, X64_CHECKED, beside);
        enc_rm(b, 0, 0x2b, R8, rm_mem(R14, t->seg_base[seg]));
        enc_patch32(limit, b->p);
    }
    enc_mov_imm(b, R9, stub_slow_info(kind, seg, size));
    enc_patch32(enc_jmp32(b), tail);
    return at;
}

static void stub_slow_access(Jit *jit, Buf *b, unsigned form, u32 kind, u32 seg, u32 size, const u8 *tail) {
    X64Target *t = &jit->target;
    bool asks = jit->cpu && kind != X64_SLOW_LOAD;         // no CPU: code is only looked at
    const u8 *beside = asks ? stub_beside(jit, b, form != X64_ADDED, kind, seg, size, tail) : NULL;
    t->slow_offset[form][kind][seg][size] = stub_slow_offset(jit, b, form != X64_ADDED, kind, seg, size, tail, beside);
    for (u32 cls = 0; cls < X64_CLASSES; cls++)
        t->slow[form][kind][seg][size][cls] = stub_slow_table(jit, b, form, kind, seg, size, cls, tail, beside);
}

static void stub_slow_accesses(Jit *jit, Buf *b, unsigned form, const u8 *tail) {
    for (u32 kind = 0; kind < X64_SLOW_KINDS; kind++)
        for (u32 seg = 0; seg < 6; seg++)
            for (u32 size = 0; size < X64_SIZES; size++) stub_slow_access(jit, b, form, kind, seg, size, tail);
}

// After a store through a pointer that a slow access gave: keeps every register and host EFLAGS. A word says where
// to go: to `nothing`, when the pointer led to memory, or to what brings the bounce buffer there.
//     store EAX, ..
//     lahf ; seto %al ; push %rax        (POPF takes ten times as long as this way back)
//     call fn
//     pop %rax ; add $127, %al ; sahf
//     load EAX, ..
static const u8 *stub_commit_by(const Jit *jit, Buf *b, const void *fn) {
    const u8 *at = b->p;
    stub_push(b, R10);
    stub_push(b, R11);
    stub_store_regs(b, jit->opt.check ? STUB_ALL : STUB_CALLER_SAVED);
    enc_u8(b, 0x9f);                                       // lahf
    enc_rm(b, ENC_BYTE, 0x0f90, 0, rm_reg(RAX));           // seto %al
    stub_push(b, RAX);
    enc_rm(b, 0, 0x89, R12, rm_mem(R14, OFF(budget)));
    stub_pass_cpu(b);
    stub_call_guarded(jit, b, fn);
    stub_pop(b, RAX);
    enc_u16(b, 0x7f04);                                    // add $127, %al
    enc_u8(b, 0x9e);                                       // sahf
    stub_load_regs(b, STUB_CALLER_SAVED);
    enc_rm(b, 0, 0x8b, R12, rm_mem(R14, OFF(budget)));
    stub_pop(b, R11);
    stub_pop(b, R10);
    enc_u8(b, 0xc3);
    return at;
}

static const u8 *stub_commit(Jit *jit, Buf *b, const void *fn, const void *device, const void *code) {
    stub_align(b);
    const u8 *at = b->p;
    enc_rm(b, 0, 0xff, 4, stub_word(WORD_SLOW_COMMIT));    // jmp *commit
    jit->commit_nothing = b->p;
    enc_u8(b, 0xc3);
    jit->commit_bounce = stub_commit_by(jit, b, fn);
    jit->commit_device = stub_commit_by(jit, b, device);
    jit->commit_code = stub_commit_by(jit, b, code);
    return at;
}

// One common recipe without C: if (flag_op == op) { mov flag_a, %r9d; <op> flag_b, %r9d; ret }
static void stub_flags_quick(Buf *b, FlagsKind kind, unsigned size_log2) {
    unsigned fl = size_log2 == 1 ? ENC_66 : 0, wide = size_log2 != 0;
    enc_alu_imm(b, ENC_BYTE, 7, rm_mem(R14, OFF(flag_op)), FLAGS_OP(kind, size_log2), 1);
    u8 *no = enc_jcc32(b, 5);
    enc_rm(b, 0, 0x8b, R9, rm_mem(R14, OFF(flag_a)));
    if (kind == FLAGS_LAHF) {
        enc_rr(b, 0, 0x87, RAX, R9);                       // xchg
        enc_u16(b, 0x7f04);                                // add $127, %al: OF = bit 0
        enc_u8(b, 0x9e);                                   // sahf
        enc_rr(b, 0, 0x89, R9, RAX);
    } else if (kind == FLAGS_RAW) {
        enc_rr(b, 0, 0x87, RAX, R9);                       // xchg
        enc_rm(b, ENC_66, 0xc1, 0, rm_reg(RAX));           // rol $8, %ax: SZAPC in AH, OF is bit 3 of AL
        enc_u8(b, 8);
        enc_u16(b, 0x0824);                                // and $8, %al: the image may have other bits
        enc_u16(b, 0x7804);                                // add $0x78, %al
        enc_u8(b, 0x9e);                                   // sahf
        enc_rr(b, 0, 0x89, R9, RAX);
    } else if (kind == FLAGS_SUB) {
        enc_rm(b, fl, 0x3a + wide, R9, rm_mem(R14, OFF(flag_b)));
    } else if (kind == FLAGS_LOGIC) {
        enc_rr(b, fl, 0x84 + wide, R9, R9);
    } else if (kind == FLAGS_INC || kind == FLAGS_DEC) {   // carry from before, then undo and do again
        bool inc = kind == FLAGS_INC;
        enc_rm(b, 0, 0x8d, R9, rm_mem(R9, inc ? -1 : 1));
        enc_rm(b, 0, 0x0fba, 4, rm_mem(R14, OFF(flag_c)));  // bt $0, flag_c
        enc_u8(b, 0);
        enc_rm(b, fl, 0xfe + wide, inc ? 0 : 1, rm_reg(R9));
    } else {                                               // SUBR, ADDR: undo, do again
        bool sub = kind == FLAGS_SUBR;
        enc_rm(b, 0, sub ? 0x03 : 0x2b, R9, rm_mem(R14, OFF(flag_b)));
        enc_rm(b, fl, (sub ? 0x3a : 0x02) + wide, R9, rm_mem(R14, OFF(flag_b)));
    }
    enc_u8(b, 0xc3);
    enc_patch32(no, b->p);
}

static const u8 *stub_save_lahf(const X64Target *t, Buf *b) {
    stub_align(b);
    const u8 *at = b->p;
    x64_save_lahf(t, b);
    enc_u8(b, 0xc3);
    return at;
}

static const u8 *stub_flags_load(const Jit *jit, Buf *b, const void *fn) {
    stub_align(b);
    const u8 *at = b->p;
    stub_flags_quick(b, FLAGS_SUB, 2);
    stub_flags_quick(b, FLAGS_LOGIC, 2);
    stub_flags_quick(b, FLAGS_SUB, 0);
    stub_flags_quick(b, FLAGS_SUBR, 2);
    stub_flags_quick(b, FLAGS_ADDR, 2);
    stub_flags_quick(b, FLAGS_LAHF, 2);
    stub_flags_quick(b, FLAGS_RAW, 2);
    stub_flags_quick(b, FLAGS_DEC, 2);
    stub_flags_quick(b, FLAGS_INC, 2);
    stub_push(b, R8);
    stub_push(b, R10);
    stub_push(b, R11);
    stub_store_regs(b, STUB_CALLER_SAVED);
    stub_pass_cpu(b);
    stub_call_guarded(jit, b, fn);
    stub_push(b, RAX);
    enc_u8(b, 0x9d);                                       // popfq
    stub_load_regs(b, STUB_CALLER_SAVED);
    stub_pop(b, R11);
    stub_pop(b, R10);
    stub_pop(b, R8);
    enc_u8(b, 0xc3);
    return at;
}

// The same where the block ends after it: the next one that uses XMM registers loads them.
static void stub_call_last(const Jit *jit, Buf *b, const void *fn) {
    stub_if_sse(b, jit->sse_store);
    enc_rm(b, 0, 0xc7, 0, rm_mem(R14, OFF(sse_live)));
    enc_u32(b, 0);
    stub_call_c(b, fn);
}

static const u32 stub_helper_attributes[] = {
#define H(name, result, count, attributes) attributes,
#include "cpu/helpers.def"
#undef H
};

static const u8 *stub_helper(const Jit *jit, Buf *b, u32 helper, const void *fn, const u8 *exit) {
    const u8 *at = b->p;
    u32 attributes = stub_helper_attributes[helper];
    bool last = (attributes & (HA_END | HA_MODE)) == HA_END;
    unsigned regs = jit->opt.check || attributes & HA_REGS ? STUB_ALL : STUB_CALLER_SAVED;
    if (jit->cpu && !jit->opt.check) usual_emit(jit, b, helper);
    stub_store_regs(b, regs);
    enc_rm(b, 0, 0x89, R12, rm_mem(R14, OFF(budget)));
    stub_pass_cpu(b);
    enc_rr(b, 0, 0x89, R8, RSI);
    enc_rr(b, 0, 0x89, R9, RDX);
    enc_rr(b, 0, 0x89, R10, RCX);
    enc_rm(b, ENC_W, 0x8b, RAX, rm_mem(RSP, 0));
    enc_rm(b, ENC_W, 0x89, RAX, stub_word(WORD_EXIT_PC));  // who calls (for the log and SMC)
    enc_mov_imm64(b, RAX, (u64)(uintptr_t)&jit->helper_calls[helper]);
    enc_rm(b, ENC_W, 0xff, 0, rm_mem(RAX, 0));             // incq
    if (jit->opt.check) {                                  // who is called: check_helper's last argument
        enc_mov_imm(b, R8, helper);
        fn = (void *)check_helper;
    }
    stub_rsp(b, -8);
    if (last) stub_call_last(jit, b, fn);
    else stub_call_guarded(jit, b, fn);
    stub_rsp(b, 8);
    enc_rr(b, 0, 0x89, RAX, R8);
    enc_rm(b, 0, 0x80, 7, rm_mem(R14, OFF(fault)));        // cmpb $0, fault.pending
    enc_u8(b, 0);
    stub_load_regs(b, regs);
    enc_rm(b, ENC_W, 0x8b, R13, rm_mem(R14, OFF(mmu_base)));
    enc_rm(b, 0, 0x8b, R12, rm_mem(R14, OFF(budget)));
    u8 *fault = enc_jcc32(b, 5);
    enc_u8(b, 0xc3);
    enc_patch32(fault, b->p);
    stub_take_pc(b);
    stub_leave_as(b, exit, EXIT_FAULT);
    return at;
}

// reg = linear, r9 = page index: reg = host address minus r13 when the entry is good and there is credit; Z: it is.
//     mov table(%r13,%r9,8), %r9 ; test %r9, %r9 ; js no ; decl credit ; js no
//     add %r9, %reg ; sub %r13, %reg ; xor %r9d, %r9d ; no: ret
static const u8 *stub_group_detour(const X64Target *t, Buf *b, unsigned reg, bool write) {
    const u8 *at = b->p;
    enc_rm(b, ENC_W, 0x8b, R9, rm_sib(R13, R9, 3, write ? t->write_table : t->read_table));
    enc_rr(b, ENC_W, 0x85, R9, R9);
    u8 *invalid = enc_jcc32(b, 8);
    enc_rm(b, 0, 0xff, 1, rm_mem(R14, OFF(window_credit)));
    u8 *broke = enc_jcc32(b, 8);
    enc_rr(b, ENC_W, 0x01, R9, reg);
    enc_rr(b, ENC_W, 0x29, R13, reg);
    enc_rr(b, 0, 0x31, R9, R9);
    enc_patch32(invalid, b->p);
    enc_patch32(broke, b->p);
    enc_u8(b, 0xc3);
    return at;
}

// r8d linear address of a group, r9d X64_GROUP_INFO. The check begins so many bytes before the target of the jump
// behind the call: it is done once more when the entry is filled now.
static void stub_group_fix(Jit *jit, Buf *b, const void *fn) {
    stub_align(b);
    jit->target.group_fix = b->p;
    stub_push(b, R10);
    stub_push(b, R11);
    stub_store_regs(b, STUB_CALLER_SAVED);
    stub_pass_cpu(b);
    enc_rr(b, 0, 0x89, R8, RSI);
    enc_rr(b, 0, 0x89, R9, RDX);
    stub_push(b, R9);
    stub_call_guarded(jit, b, fn);
    enc_rm(b, 0, 0x0fb6, R9, rm_mem(RSP, 1));              // movzbl: X64_GROUP_INFO's `back`
    stub_rsp(b, 8);
    enc_rr(b, 0, 0x85, RAX, RAX);
    stub_load_regs(b, STUB_CALLER_SAVED);
    stub_pop(b, R11);
    stub_pop(b, R10);
    enc_patch32(enc_jcc32(b, STUB_JE), jit->target.ungroup);
    stub_pop(b, R8);
    enc_rm(b, ENC_W, 0xf7, 3, rm_reg(R9));                 // neg
    enc_rr(b, ENC_W, 0x01, R8, R9);
    enc_rm(b, ENC_W, 0x63, R8, rm_mem(R8, 1));             // movslq: the jump's displacement
    enc_rm(b, ENC_W, 0x8d, R8, rm_sib(R8, R9, 0, 5));
    enc_rm(b, 0, 0xff, 4, rm_reg(R8));
}

// r8d = address: is its page where it is expected?
static u8 *stub_group_page(const Jit *jit, Buf *b, bool write) {
    enc_rm(b, 0, 0xc1, 5, rm_reg(R8));
    enc_u8(b, PAGE_SHIFT);
    enc_rm(b, ENC_W, 0x39, R13, rm_sib(R13, R8, 3, write ? jit->target.write_table : jit->target.read_table));
    return enc_jcc32(b, STUB_JNE);
}

// The linear address is in reg: a group over a page's end is fine when its last page is where it is expected as well.
// (The window never shows the last page of all, so that nothing wraps.)
static void stub_group(Jit *jit, Buf *b, bool write, unsigned reg) {
    stub_align(b);
    jit->target.group[write][reg] = b->p;
    enc_rr(b, 0, 0x89, reg, R8);
    u8 *first = stub_group_page(jit, b, write);
    enc_rm(b, 0, 0x0fb6, R8, rm_reg(R9));                  // movzbl: span - 1
    enc_rr(b, 0, 0x01, reg, R8);
    u8 *last = stub_group_page(jit, b, write);
    enc_u8(b, 0xc3);
    enc_patch32(first, b->p);
    enc_patch32(last, b->p);
    enc_rr(b, 0, 0x89, reg, R8);
    enc_patch32(enc_jmp32(b), jit->target.group_fix);
}

static void stub_groups(Jit *jit, Buf *b, const void *fn, const u8 *exit) {
    static const u8 regs[] = { RAX, RCX, RDX, RBX, RBP, RSI, RDI, R15, R10, R11 };
    jit->target.ungroup = b->p;
    stub_take_pc(b);
    stub_leave_as(b, exit, EXIT_UNGROUP);
    stub_group_fix(jit, b, fn);
    for (unsigned n = 0; n < 2 * ARRAY_LEN(regs); n++) stub_group(jit, b, n & 1, regs[n / 2]);
}

// ---- leaving after a helper that ends the block ------------------------------------------------------------
// cpu->eip is the next instruction's, the mode may be another. The block there is entered at once when it is in the
// mode's jump cache and nobody wants the run loop: budget, interrupt pins, HLT and the like,
// logs that name every block.
// After STI and MOV SS the next instruction must run before an interrupt: with a whole block's budget left it does.

enum { WAITS_HALTED, WAITS_SHUTDOWN, WAITS_INHIBIT_IRQ, WAITS_INHIBIT_TRAP };
_Static_assert(offsetof(Cpu, shutdown) == offsetof(Cpu, halted) + WAITS_SHUTDOWN, "one word");
_Static_assert(offsetof(Cpu, inhibit_irq) == offsetof(Cpu, halted) + WAITS_INHIBIT_IRQ, "one word");
_Static_assert(offsetof(Cpu, inhibit_trap) == offsetof(Cpu, halted) + WAITS_INHIBIT_TRAP, "one word");

// Something of halted .. inhibit_trap is set: only the shadow of STI may be, and only with budget left.
static void stub_leave_shadow(Buf *b, const u8 *slow, const u8 *go_on) {
    Rm waits = rm_mem(R14, OFF(halted));
    enc_alu_imm(b, 0, 7, waits, 1u << 8 * WAITS_INHIBIT_IRQ, 4);
    enc_patch32(enc_jcc32(b, STUB_JNE), slow);
    enc_alu_imm(b, 0, 7, rm_reg(R12), JIT_MAX_INSNS, 4);
    enc_patch32(enc_jcc32(b, STUB_JLE), slow);
    enc_rm(b, 0, 0xc7, 0, waits);
    enc_u32(b, 0);
    enc_patch32(enc_jmp32(b), go_on);
}

// r8 = jit, r10d = mode, r11d = CS limit: r9 = their JitMode, if it is at hand; it becomes the current one.
static void stub_leave_switch(Buf *b, const u8 *slow, const u8 *go_on) {
    enc_rm(b, 0, 0x69, R9, rm_reg(R10));                               // imul $factor, %r10d, %r9d
    enc_u32(b, JIT_QUICK_FACTOR);
    enc_rm(b, 0, 0xc1, 5, rm_reg(R9));                                 // shr
    enc_u8(b, JIT_QUICK_SHIFT);
    enc_rm(b, ENC_W, 0x8b, R9, rm_sib(R8, R9, 3, offsetof(Jit, quick_mode)));
    enc_rr(b, ENC_W, 0x85, R9, R9);
    enc_patch32(enc_jcc32(b, STUB_JE), slow);
    enc_rm(b, 0, 0x3b, R10, rm_mem(R9, offsetof(JitMode, mode)));
    enc_patch32(enc_jcc32(b, STUB_JNE), slow);
    enc_rm(b, 0, 0x3b, R11, rm_mem(R9, offsetof(JitMode, limit)));
    enc_patch32(enc_jcc32(b, STUB_JNE), slow);
    enc_rm(b, ENC_W, 0x89, R9, rm_mem(R8, offsetof(Jit, cur_mode)));
    enc_rm(b, ENC_W, 0x8b, R10, rm_mem(R9, offsetof(JitMode, cache)));
    enc_rm(b, ENC_W, 0x89, R10, rm_mem(R14, OFF(jump_cache)));
    enc_patch32(enc_jmp32(b), go_on);
}

static void stub_leave(Jit *jit, Buf *b, const u8 *exit) {
    X64Target *t = &jit->target;
    const u8 *slow = b->p;
    stub_leave_as(b, exit, EXIT_LEAVE);
    stub_align(b);
    t->leave = slow;
    if (!jit->cpu || jit->opt.no_chain || jit->opt.check) return;            // no CPU: code is only looked at
    t->leave = b->p;
    enc_mov_imm64(b, R9, (u64)(uintptr_t)bus_wanted_pins(jit->bus));
    stub_cmp_mem_imm8(b, ENC_66, rm_mem(R9, 0), 0);
    enc_patch32(enc_jcc32(b, STUB_JNE), slow);
    stub_cmp_mem_imm8(b, 0, rm_mem(R14, OFF(halted)), 0);
    u8 *shadow = enc_jcc32(b, STUB_JNE);
    const u8 *ready = b->p;
    enc_rr(b, 0, 0x85, R12, R12);
    enc_patch32(enc_jcc32(b, STUB_JLE), slow);
    enc_mov_imm64(b, R9, (u64)(uintptr_t)&jit->log->mask);
    enc_rm(b, 0, 0xf7, 0, rm_mem(R9, 0));                              // testl
    enc_u32(b, LOG(EXEC) | LOG(CPU) | LOG(NOCHAIN));
    enc_patch32(enc_jcc32(b, STUB_JNE), slow);
    enc_mov_imm64(b, R8, (u64)(uintptr_t)jit);
    enc_rm(b, ENC_W, 0x8b, R9, rm_mem(R8, offsetof(Jit, cur_mode)));
    enc_rm(b, 0, 0x8b, R10, rm_mem(R14, OFF(mode)));
    enc_rm(b, 0, 0x8b, R11, rm_mem(R14, OFF(seg[CPU_CS].limit)));
    enc_rm(b, 0, 0x3b, R10, rm_mem(R9, offsetof(JitMode, mode)));
    u8 *other_mode = enc_jcc32(b, STUB_JNE);
    enc_rm(b, 0, 0x3b, R11, rm_mem(R9, offsetof(JitMode, limit)));
    u8 *other_limit = enc_jcc32(b, STUB_JNE);
    const u8 *found = b->p;
    enc_rm(b, 0, 0x8b, R8, rm_mem(R14, OFF(eip)));
    enc_rm(b, ENC_W, 0x8b, R9, rm_mem(R9, offsetof(JitMode, cache)));
    enc_rr(b, 0, 0x89, R8, R10);
    enc_alu_imm(b, 0, 4, rm_reg(R10), 2 * (X64_JUMPS - 1), 4);          // as ex_indirect() has it
    enc_rm(b, 0, 0x3b, R8, rm_sib(R9, R10, 3, offsetof(JumpEntry, eip)));
    enc_patch32(enc_jcc32(b, STUB_JNE), t->lookup);
    enc_rm(b, 0, 0xff, 4, rm_sib(R9, R10, 3, offsetof(JumpEntry, code)));
    enc_patch32(shadow, b->p);
    stub_leave_shadow(b, slow, ready);
    enc_patch32(other_mode, b->p);
    enc_patch32(other_limit, b->p);
    stub_leave_switch(b, slow, found);
}

static void stub_lookup(Jit *jit, Buf *b, const u8 *exit) {
    X64Target *t = &jit->target;
    const i32 displaced = X64_JUMPS * (i32)sizeof(JumpEntry);
    t->lookup = b->p;
    enc_rr(b, 0, 0x89, R8, R9);                                        // as jit_displaced()
    enc_rm(b, 0, 0xc1, 5, rm_reg(R9));                                 // shr
    enc_u8(b, JIT_DISPLACED_SHIFT);
    enc_rr(b, 0, 0x31, R8, R9);                                        // xor
    enc_alu_imm(b, 0, 4, rm_reg(R9), 2 * (JIT_DISPLACED - 1), 4);
    enc_rm(b, ENC_W, 0x8b, R10, rm_mem(R14, OFF(jump_cache)));
    enc_rm(b, 0, 0x3b, R8, rm_sib(R10, R9, 3, displaced + (i32)offsetof(JumpEntry, eip)));
    u8 *unknown = enc_jcc32(b, STUB_JNE);
    enc_rm(b, 0, 0xff, 4, rm_sib(R10, R9, 3, displaced + (i32)offsetof(JumpEntry, code)));
    enc_patch32(unknown, b->p);
    enc_rm(b, 0, 0x89, R8, rm_mem(R14, OFF(eip)));
    stub_leave_as(b, exit, EXIT_LOOKUP);
    stub_align(b);
    t->jump = b->p;
    enc_rr(b, 0, 0x89, R8, R9);
    enc_alu_imm(b, 0, 4, rm_reg(R9), 2 * (X64_JUMPS - 1), 4);
    enc_rm(b, 0, 0xc1, 4, rm_reg(R9));                                 // shl $3: see x64_jump()
    enc_u8(b, 3);
    enc_rm(b, ENC_W, 0x03, R9, rm_mem(R14, OFF(jump_cache)));
    enc_rm(b, 0, 0x3b, R8, rm_mem(R9, offsetof(JumpEntry, eip)));
    enc_patch32(enc_jcc32(b, STUB_JNE), t->lookup);
    enc_rm(b, 0, 0xff, 4, rm_mem(R9, offsetof(JumpEntry, code)));
    for (unsigned r = 0; r < 16; r++) {
        t->lookup_from[r] = r == R8 ? t->lookup : b->p;
        if (r == R8) continue;
        enc_rr(b, 0, 0x89, r, R8);
        enc_patch32(enc_jmp32(b), t->lookup);
    }
}

// The end of a row of questions: the call's return address less its five bytes and a byte for each push before it. Code
// that goes on finds r8 to r11 as they were.
static void stub_ask(Jit *jit, Buf *b, const u8 *exit) {
    enum { CALL_BYTES = 5 };
    stub_align(b);
    jit->target.ask = b->p;
    for (unsigned r = R8; r <= R11; r++) enc_rm(b, ENC_W, 0x89, r, stub_word(WORD_SCRATCH + r - R8));
    stub_pop(b, R8);
    enc_rm(b, ENC_W, 0x8b, R9, stub_word(WORD_HOST_SP));
    enc_rr(b, ENC_W, 0x89, R9, R10);
    enc_rr(b, ENC_W, 0x29, RSP, R9);                       // sub %rsp, %r9
    enc_rr(b, ENC_W, 0x89, R10, RSP);
    enc_rm(b, 0, 0xc1, 5, rm_reg(R9));                     // shr $3
    enc_u8(b, 3);
    enc_rr(b, ENC_W, 0x29, R9, R8);
    enc_rm(b, ENC_W, 0x8d, R8, rm_mem(R8, -CALL_BYTES));
    enc_rm(b, ENC_W, 0x89, R8, stub_word(WORD_EXIT_PC));
    stub_leave_as(b, exit, EXIT_ASK);
    jit->resume_sse = b->p;
    enc_patch32(enc_call32(b), jit->target.sse_load);
    jit->resume = b->p;
    for (unsigned r = R8; r <= R11; r++) enc_rm(b, ENC_W, 0x8b, r, stub_word(WORD_SCRATCH + r - R8));
    enc_rm(b, 0, 0xff, 4, stub_word(WORD_LATE));           // jmp *
}

static void stub_exits(Jit *jit, Buf *b, const u8 *exit, const u8 *exit_call) {
    X64Target *t = &jit->target;
    t->link = b->p;
    stub_take_pc(b);
    stub_leave_as(b, exit_call, EXIT_LINK);
    jit->promote = b->p;
    stub_take_pc(b);
    stub_leave_as(b, exit_call, EXIT_PROMOTE);
    stub_lookup(jit, b, exit);
    stub_ask(jit, b, exit_call);
    stub_leave(jit, b, exit);
    t->raise = b->p;
    enc_rm(b, 0, 0x89, R9, stub_word(WORD_EXIT_VALUE));
    stub_take_pc(b);
    stub_leave_as(b, exit_call, EXIT_RAISE);
    // The signal handler goes on here: guest registers are in cpu->regs already.
    jit->signal_exit = b->p;
    stub_load_regs(b, STUB_ALL);
    stub_leave_as(b, exit, EXIT_SIGNAL);
}

// ---- the C side of slow accesses ---------------------------------------------------------------------------
// A slow access in three words of jit_word: its offset, its info, whether a commit is wanted.
static u64 slow_load_part(Cpu *cpu, u32 offset, unsigned seg, u32 bytes, u32 flags) {
    u32 log2 = bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3;
    return cpu_slow_load(cpu, offset, CPU_ACCESS(seg, log2) | flags);
}

static u8 *slow_bounce_load(Cpu *cpu, u32 offset, unsigned seg, u32 bytes, u32 flags) {
    if (bytes > 8 && !cpu_probe(cpu, seg, offset, bytes, false)) return NULL;      // as one operand
    u64 low = slow_load_part(cpu, offset, seg, bytes > 8 ? 8 : bytes, flags);
    if (cpu->fault.pending) return NULL;
    memcpy(cpu->bounce, &low, 8);
    if (bytes > 8) {
        u64 high = slow_load_part(cpu, offset + 8, seg, bytes - 8, flags);
        if (cpu->fault.pending) return NULL;
        memcpy(cpu->bounce + 8, &high, 8);
    }
    return cpu->bounce;
}

// An x87 store whose exception is unmasked (invalid, overflow, underflow) leaves the bounce buffer as it is:
// then it must hold what is in memory.
static void slow_keep_memory(Cpu *cpu, u32 offset, u32 seg, u32 bytes) {
    enum { MASKS = SLOW_FPU_MASKS, MOST_BYTES = 10 };
    u16 control;
    if (bytes > MOST_BYTES) return;
    __asm__ volatile("fnstcw %0" : "=m"(control));
    if ((control & MASKS) != MASKS) cpu_debug_read(cpu, lin(cpu->seg[seg].base + offset), cpu->bounce, bytes);
}

// Where the bytes go is known: it goes with them to who brings them there.
static u8 *slow_bounce_to(Cpu *cpu, u32 offset, u32 ppn, u32 seg, u32 bytes, const u8 *commit) {
    cpu->jit_word[WORD_SLOW_OFFSET] = offset;
    cpu->jit_word[WORD_SLOW_PAGE] = ppn;
    cpu->jit_word[WORD_SLOW_LINEAR] = cpu->seg[seg].base + offset;
    cpu->jit_word[WORD_SLOW_INFO] = bytes;
    cpu->jit_word[WORD_SLOW_COMMIT] = (u64)(uintptr_t)commit;
    return cpu->bounce;
}

typedef struct Bounced { u32 ppn, in_page, bytes; } Bounced;
static Bounced slow_bounced(const Cpu *cpu) {
    return (Bounced){ .ppn = (u32)cpu->jit_word[WORD_SLOW_PAGE], .bytes = (u32)cpu->jit_word[WORD_SLOW_INFO],
                      .in_page = (u32)cpu->jit_word[WORD_SLOW_LINEAR] & ~PAGE_MASK };
}

static u8 *slow_to_device(Cpu *cpu, u32 offset, u32 ppn, u32 seg, u32 bytes) {
    const Jit *jit = cpu->jit;
    if (bytes > 4 || jit->opt.check) return NULL;
    slow_keep_memory(cpu, offset, seg, bytes);
    return slow_bounce_to(cpu, offset, ppn, seg, bytes, jit->commit_device);
}

static void slow_commit_device(Cpu *cpu) {
    Bounced at = slow_bounced(cpu);
    u32 value = at.bytes == 1 ? cpu->bounce[0] : at.bytes == 2 ? get_le16(cpu->bounce) : get_le32(cpu->bounce);
    bus_write(cpu->bus, phy(at.ppn << PAGE_SHIFT | at.in_page), at.bytes, value);
}

// Over translated code, but not the running block's: what the store does to it is seen when the bytes are there.
static u8 *slow_over_code(Cpu *cpu, u32 offset, u32 ppn, u32 seg, u32 bytes) {
    const Jit *jit = cpu->jit;
    if (bytes > 4 || jit->opt.check) return NULL;
    const u8 *host = bus_page(cpu->bus, ppn)->host + ((cpu->seg[seg].base + offset) & ~PAGE_MASK);
    for (u32 i = 0; i < bytes; i++) cpu->bounce[i] = host[i];          // for RMW, and x87 stores that fail
    cpu->jit_slow[SLOW_CODE]++;
    return slow_bounce_to(cpu, offset, ppn, seg, bytes, jit->commit_code);
}

// What is there already changes no code (as in cpu/access.c).
static void slow_commit_code(Cpu *cpu) {
    Bounced at = slow_bounced(cpu);
    u8 *host = bus_page(cpu->bus, at.ppn)->host + at.in_page;
    bool same = true;
    for (u32 i = 0; i < at.bytes; i++) {
        same &= host[i] == cpu->bounce[i];
        host[i] = cpu->bounce[i];
    }
    if (!same) bus_note_store(cpu->bus, at.ppn, at.in_page, at.bytes);
}

// An access within limits and a page, with no checks on but those, whose entry says which physical page *ppn it is in.
static bool slow_page_is_known(const Cpu *cpu, u32 offset, u32 seg, u32 bytes, bool write, u32 *ppn) {
    const CpuSeg *g = &cpu->seg[seg];
    u32 addr = g->base + offset, end = (write ? g->write_end : g->read_end)[0];
    i64 entry = ((const i64 *)(const void *)(cpu->mmu_base + (write ? MMU_WRITE : MMU_READ)))[addr >> PAGE_SHIFT];
    if (offset >= end || bytes > end - offset || (addr & ~PAGE_MASK) + bytes > PAGE_BYTES) return false;
    if (cpu->mode & (MODE_DEBUG | MODE_AC)) return false;
    *ppn = (u32)entry & 0xfffff;
    return entry < 0 && entry & MMU_KNOWN_BIT;
}

// A store for which everything is checked when its page's entry is known: into a page that holds translated code (in
// other bytes: then they are written to directly), or into a device. NULL: it is not as simple as that.
static u8 *slow_known_store(Cpu *cpu, u32 offset, u32 seg, u32 bytes, bool rmw) {
    Jit *jit = cpu->jit;
    u32 ppn, in_page = (cpu->seg[seg].base + offset) & ~PAGE_MASK;
    if (!slow_page_is_known(cpu, offset, seg, bytes, true, &ppn)) return NULL;
    BusPage *page = bus_page(jit->bus, ppn);
    if (page->kind != BUS_PAGE_RAM && rmw) return NULL;
    if (page->kind != BUS_PAGE_RAM) {
        u8 *at = slow_to_device(cpu, offset, ppn, seg, bytes);
        if (at) cpu->jit_slow[page->kind == BUS_PAGE_ROM ? SLOW_ROM : SLOW_DEVICE]++;
        return at;
    }
    if ((page->flags & ~BUS_PAGE_DIRTY) != BUS_PAGE_CODE) return NULL;
    SmcStore met = smc_look(jit, page, in_page, bytes);
    if (met == SMC_OVER_RUNNING) return NULL;
    if (met == SMC_OVER) return slow_over_code(cpu, offset, ppn, seg, bytes);
    page->flags |= BUS_PAGE_DIRTY;
    bus_may_store_directly(jit->bus, ppn, true);
    cpu->jit_slow[SLOW_BESIDE]++;
    cpu->jit_word[WORD_SLOW_COMMIT] = (u64)(uintptr_t)jit->commit_nothing;
    return page->host + in_page;
}

// A load from a device, likewise.
static u8 *slow_known_load(Cpu *cpu, u32 offset, u32 seg, u32 bytes) {
    const Jit *jit = cpu->jit;
    u32 ppn, in_page = (cpu->seg[seg].base + offset) & ~PAGE_MASK;
    if (bytes > 4 || !slow_page_is_known(cpu, offset, seg, bytes, false, &ppn)) return NULL;
    if (bus_page(jit->bus, ppn)->kind != BUS_PAGE_MMIO) return NULL;
    u32 value = bus_read(cpu->bus, phy(ppn << PAGE_SHIFT | in_page), bytes);
    cpu->jit_word[WORD_SLOW_OFFSET] = offset;
    cpu->jit_slow[SLOW_DEVICE]++;
    put_le32(cpu->bounce, value);
    put_le32(cpu->bounce + 4, 0);
    return cpu->bounce;
}

static u8 *slow_access(Cpu *cpu, u32 offset, u32 info, const u8 *return_address) {
    u32 kind = info & 3, seg = info >> 2 & 7, bytes = info >> 8;
    cpu->jit_word[WORD_EXIT_PC] = (u64)(uintptr_t)return_address;
    if (!(info & X64_SLOW_ALIGN16)) {
        u8 *at = kind == X64_SLOW_LOAD ? slow_known_load(cpu, offset, seg, bytes)
                                       : slow_known_store(cpu, offset, seg, bytes, kind == X64_SLOW_RMW);
        if (at) return at;
    }
    counters_note_slow(cpu, offset, seg, bytes, kind != X64_SLOW_LOAD);
    cpu->jit_word[WORD_SLOW_OFFSET] = offset;
    if (info & X64_SLOW_ALIGN16 && !cpu_check_aligned(cpu, seg, offset, kind != X64_SLOW_LOAD)) return NULL;
    if (kind == X64_SLOW_LOAD) return slow_bounce_load(cpu, offset, seg, bytes, 0);
    cpu->jit_word[WORD_SLOW_INFO] = info;
    cpu->jit_word[WORD_SLOW_COMMIT] = (u64)(uintptr_t)((const Jit *)cpu->jit)->commit_bounce;
    if (kind == X64_SLOW_RMW) return slow_bounce_load(cpu, offset, seg, bytes, CPU_ACCESS_RMW);
    if (!cpu_probe(cpu, seg, offset, bytes, true)) return NULL;
    slow_keep_memory(cpu, offset, seg, bytes);
    return cpu->bounce;
}

static void slow_commit(Cpu *cpu) {
    u32 offset = (u32)cpu->jit_word[WORD_SLOW_OFFSET], info = (u32)cpu->jit_word[WORD_SLOW_INFO];
    u32 seg = info >> 2 & 7, bytes = info >> 8;
    u64 value;
    memcpy(&value, cpu->bounce, 8);
    if (bytes > 8) {
        cpu_slow_store(cpu, offset, CPU_ACCESS(seg, 3), value);
        if (bytes == 16) cpu_slow_store(cpu, offset + 8, CPU_ACCESS(seg, 3), get_le64(cpu->bounce + 8));
        else cpu_slow_store(cpu, offset + 8, CPU_ACCESS(seg, 1), get_le16(cpu->bounce + 8));
        return;
    }
    u32 log2 = bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3;
    cpu_slow_store(cpu, offset, CPU_ACCESS(seg, log2), value);
}

// The same under -check, which meets at devices.
static u8 *slow_access_checked(Cpu *cpu, u32 offset, u32 info, const u8 *return_address) {
    u8 *data = slow_access(cpu, offset, info, return_address);
    unsigned kind = info & 3;
    if (data && kind != X64_SLOW_STORE)
        check_loaded(cpu, info >> 2 & 7, offset, info >> 8, kind == X64_SLOW_RMW, data);
    return data;
}

static void slow_commit_checked(Cpu *cpu) {
    u32 offset = (u32)cpu->jit_word[WORD_SLOW_OFFSET], info = (u32)cpu->jit_word[WORD_SLOW_INFO];
    bool met = check_stores(cpu, info >> 2 & 7, offset, info >> 8, cpu->bounce);
    slow_commit(cpu);
    if (met) check_stored(cpu);
}

// A group's check failed: fill the table's entry if that shows the guest nothing (A and D are set already).
static u32 group_fix(Cpu *cpu, u32 addr, u32 info) {
    u32 span = X64_GROUP_SPAN(info);
    unsigned form = X64_GROUP_FORM(info);
    bool write = info & X64_GROUP_WRITE;
    bool crosses = (addr & ~PAGE_MASK) + span > PAGE_BYTES;
    if (crosses && (form == X64_ADDED || addr + span < addr)) return false;
    i64 entry = mmu_fill_quietly(cpu, lin(addr), write), base = (i64)(uintptr_t)cpu->mmu_base;
    if (crosses && mmu_fill_quietly(cpu, lin(addr + span - 1), write) != base) return false;
    if (form == X64_DETOUR && cpu->window_credit < 0) mmu_show_hot(cpu, addr >> PAGE_SHIFT);
    return form == X64_EXPECTED || crosses ? entry == base : entry >= 0;
}

static u64 flags_for_host(Cpu *cpu) {
    return flags_compute(cpu->flag_op, cpu->flag_a, cpu->flag_b, cpu->flag_c) | 2;
}

static void stub_layout(X64Target *t) {
    t->env = JIT_STATE_AT(0);
    t->bmi2 = __builtin_cpu_supports("bmi2");
    t->regs = OFF(regs);
    t->flag_op = OFF(flag_op);
    t->flag_a = OFF(flag_a);
    t->flag_b = OFF(flag_b);
    t->flag_c = OFF(flag_c);
    t->spill = OFF(spill);
    t->spill_count = 8;
    t->sse_live = OFF(sse_live);
    t->fpu_used = OFF(fpu_used);
    t->fpu_slow_dp = OFF(fpu_slow_dp);
    t->slow_operand = OFF(jit_word[WORD_SLOW_OFFSET]);
    t->jump_cache = OFF(jump_cache);
    for (unsigned s = 0; s < 6; s++) {
        t->seg_base[s] = OFF(seg[s].base);
        t->seg_read_end[s] = OFF(seg[s].read_end);
        t->seg_write_end[s] = OFF(seg[s].write_end);
    }
    t->read_table = MMU_READ;
    t->write_table = MMU_WRITE;
    t->code_table = MMU_CODE;
}

static void *const stub_helper_fn[] = {
#define H(name, result, count, attributes) (void *)cpu_h_##name,
#include "cpu/helpers.def"
#undef H
};
_Static_assert(ARRAY_LEN(stub_helper_fn) <= ARRAY_LEN(((Jit *)0)->helper_stub), "helper table");

void stubs_generate(Jit *jit) {
    X64Target *t = &jit->target;
    Buf b = { jit->hot_next, jit->hot_next, jit->hot_end };
    stub_layout(t);
    jit->enter = stub_enter(&b);
    jit->thunk = b.p;
    b.p += IR_THUNK_BYTES;
    stub_sse(jit, &b);
    const u8 *exit = stub_exit(jit, &b, false), *exit_call = stub_exit(jit, &b, true);
    stub_exits(jit, &b, exit, exit_call);
    t->commit = stub_commit(jit, &b, jit->opt.check ? (void *)slow_commit_checked : (void *)slow_commit,
                            (void *)slow_commit_device, (void *)slow_commit_code);
    if (jit->cpu) jit->cpu->jit_word[WORD_SLOW_COMMIT] = (u64)(uintptr_t)jit->commit_nothing;
    if (jit->cpu) jit->cpu->jit_word[WORD_PAGES] = (u64)(uintptr_t)bus_page(jit->bus, 0);
    jit->show_hot = stub_show_hot(jit, &b);
    for (unsigned form = 0; form < X64_FORMS; form++) {
        void *access = jit->opt.check ? (void *)slow_access_checked : (void *)slow_access;
        const u8 *tail = stub_slow_tail(jit, &b, access, form != X64_ADDED, exit_call);
        if (form == X64_ADDED) t->probe = tail;
        stub_slow_accesses(jit, &b, form, tail);
    }
    for (unsigned n = 0; n < 4; n++)
        t->group_detour[n >> 1][n & 1] = stub_group_detour(t, &b, n >> 1 ? R11 : R10, n & 1);
    stub_groups(jit, &b, (void *)group_fix, exit_call);
    t->save_lahf = stub_save_lahf(t, &b);
    t->flags_load = stub_flags_load(jit, &b, (void *)flags_for_host);
    for (unsigned h = 0; h < ARRAY_LEN(stub_helper_fn); h++)
        jit->helper_stub[h] = stub_helper(jit, &b, h, stub_helper_fn[h], exit_call);
    t->helper = jit->helper_stub;
    while ((uintptr_t)b.p & 15) enc_u8(&b, 0xcc);
    jit->hot_next = b.p;
}
