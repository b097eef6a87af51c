// SPDX-License-Identifier: MIT
// The usual case of interrupts, exceptions, IRET, far calls and segment loads, in one go: protected mode, 32 bits, code
// and stack of 4 GiB from 0, a page at a time that the soft MMU's tables lead to.
//
// Rules
//  1. Whatever is not usual is left to exc.c, far.c and seg.c: then false, and nothing has been changed.
//     They are the ones to read; what this file does they would do, check for check.
//  2. Nothing here raises a fault, and nothing sets an accessed bit: both are unusual.
#include "cpu/cpu_int.h"

// Descriptors, high word: present, accessed, base 0, limit 4 GiB, 32 bits; DPL and AVL are free.
#define DESC_FREE 0x00106000u
#define DESC_CODE 0x00cf9b00u
#define DESC_DATA 0x00cf9300u
#define DESC_LOW 0x0000ffffu
#define DESC_DPL(hi) ((hi) >> 13 & 3)

// `bytes` at a linear address that supervisors can read directly. NULL: they cannot.
static inline const u8 *quick_read(const Cpu *cpu, u32 addr, u32 bytes) {
    i64 entry = mmu_reads(cpu->context_base[0])[addr >> PAGE_SHIFT];
    return entry >= 0 && (addr & ~PAGE_MASK) + bytes <= PAGE_BYTES ? (const u8 *)(entry + addr) : NULL;
}

static inline u8 *quick_write(const Cpu *cpu, u32 addr, u32 bytes) {
    i64 entry = mmu_writes(cpu->context_base[0])[addr >> PAGE_SHIFT];
    return entry >= 0 && (addr & ~PAGE_MASK) + bytes <= PAGE_BYTES ? (u8 *)(entry + addr) : NULL;
}

// The high word of the GDT's descriptor when its low word is that of 4 GiB from 0; else 0.
static inline u32 quick_flat(const Cpu *cpu, u32 selector) {
    if (selector & 4 || (selector | 7) > cpu->gdtr.limit || selector < 8) return 0;
    const u8 *d = quick_read(cpu, cpu->gdtr.base + (selector & 0xfff8), 8);
    return d && get_le32(d) == DESC_LOW ? get_le32(d + 4) : 0;
}

static inline bool quick_is(u32 hi, u32 kind) { return (hi & ~DESC_FREE) == kind; }

// Would accesses at this privilege be checked for alignment?
static inline bool quick_checks_alignment(const Cpu *cpu, u32 cpl) {
    return cpl == 3 && cpu->cr0 & CR0_AM && cpu->eflags & FLAG_AC;
}

static void quick_fill(Cpu *cpu, unsigned s, u32 selector, u32 hi) {
    static const u32 full[4] = { 0xffffffff, 0xffffffff, 0xfffffffd, 0xfffffff9 }, none[4] = { 0 };
    CpuSeg *seg = &cpu->seg[s];
    seg->base = 0;
    seg->limit = 0xffffffff;
    __builtin_memcpy(seg->read_end, full, sizeof(full));
    __builtin_memcpy(seg->write_end, s == CPU_CS ? none : full, sizeof(full));
    seg->selector = (u16)selector;
    seg->access = hi >> 8 & 0xf0ff;
}

// ---- entering a handler ---------------------------------------------------------------------------
typedef struct QuickStack {
    u32 esp, ss, hi;           // hi: SS's descriptor; 0: the stack stays
} QuickStack;

// The stack of an inner privilege, from a 32-bit TSS.
static bool quick_inner_stack(const Cpu *cpu, u32 dpl, QuickStack *to) {
    u32 offset = 4 + dpl * 8, tss = cpu->tr.access & 0x9f;
    if (tss != (SEG_ACC_P | SYS_TSS32_BUSY) || offset + 7 > cpu->tr.limit) return false;
    const u8 *at = quick_read(cpu, cpu->tr.base + offset, 8);
    if (!at) return false;
    *to = (QuickStack){ .esp = get_le32(at), .ss = get_le16(at + 4) };
    if ((to->ss & 3) != dpl) return false;
    to->hi = quick_flat(cpu, to->ss);
    return quick_is(to->hi, DESC_DATA) && DESC_DPL(to->hi) == dpl;
}

static bool quick_stack(const Cpu *cpu, u32 dpl, QuickStack *to) {
    if (dpl < cpu->cpl) return quick_inner_stack(cpu, dpl, to);
    *to = (QuickStack){ .esp = cpu->regs[CPU_ESP] };
    bool flat = MODE_SEG_CLASS(cpu->mode, CPU_SS) == SEG_FLAT && cpu->mode & MODE_STACK32;
    return dpl == cpu->cpl && flat;
}

// EFLAGS CS EIP, below them the error code; above them, on another stack, SS ESP.
static void quick_push(const Cpu *cpu, const QuickEntry *e, const QuickStack *to, u8 *frame) {
    if (e->has_error) {
        put_le32(frame, e->error);
        frame += 4;
    }
    put_le32(frame, cpu->eip);
    put_le32(frame + 4, cpu->seg[CPU_CS].selector);
    put_le32(frame + 8, e->eflags);
    if (!to->hi) return;
    put_le32(frame + 12, cpu->regs[CPU_ESP]);
    put_le32(frame + 16, cpu->seg[CPU_SS].selector);
}

// `mode` still tells the old privilege.
static inline void quick_set_cpl(Cpu *cpu, u32 cpl) {
    if (__builtin_expect(cpu->pmc.by_ring, 0) && cpu->cpl != cpl) pmc_turn(cpu);
    cpu->cpl = (u8)cpl;
}

static inline u32 quick_mode(const Cpu *cpu, u32 cpl) {
    u32 flat = SEG_FLAT << MODE_SEG_SHIFT(CPU_CS) | SEG_FLAT << MODE_SEG_SHIFT(CPU_SS);
    u32 gone = MODE_CPL | MODE_WINDOW | MODE_IO_OK | MODE_TF;
    gone |= 3u << MODE_SEG_SHIFT(CPU_CS) | 3u << MODE_SEG_SHIFT(CPU_SS);
    u32 io = cpu_iopl(cpu) >= cpl ? MODE_IO_OK : 0;
    return (cpu->mode & ~gone) | (cpl == 3 ? cpu->mode_user : cpl) | io | flat | MODE_CODE32 | MODE_STACK32;
}

bool quick_enter(Cpu *cpu, const QuickEntry *e) {
    QuickStack to;
    if ((cpu->mode & (MODE_PE | MODE_VM | MODE_AC | MODE_DEBUG)) != MODE_PE) return false;
    if (e->vector * 8 + 7 > cpu->idtr.limit) return false;
    const u8 *gate = quick_read(cpu, cpu->idtr.base + e->vector * 8, 8);
    if (!gate) return false;
    u32 lo = get_le32(gate), hi = get_le32(gate + 4), type = hi & 0x9f00;
    if ((type != 0x8e00 && type != 0x8f00) || (e->soft && DESC_DPL(hi) < cpu->cpl)) return false;
    u32 selector = lo >> 16, code = quick_flat(cpu, selector), dpl = DESC_DPL(code);
    if (!quick_is(code, DESC_CODE) || dpl == 3 || !quick_stack(cpu, dpl, &to)) return false;
    u32 bytes = 4 * (3 + (e->has_error ? 1 : 0) + (to.hi ? 2 : 0)), sp = to.esp - bytes;
    u8 *frame = to.esp >= bytes ? quick_write(cpu, sp, bytes) : NULL;
    if (!frame) return false;

    quick_push(cpu, e, &to, frame);
    if (to.hi) quick_fill(cpu, CPU_SS, to.ss, to.hi);
    cpu->regs[CPU_ESP] = sp;
    cpu->eip = (lo & 0xffff) | (hi & 0xffff0000);
    cpu->eflags &= ~(FLAG_TF | FLAG_NT | FLAG_RF | (type == 0x8e00 ? FLAG_IF : 0));
    quick_fill(cpu, CPU_CS, (selector & 0xfffc) | dpl, code);
    quick_set_cpl(cpu, dpl);
    cpu->mode = quick_mode(cpu, dpl);
    cpu->mmu_base = cpu->context_base[0];
    return true;
}

// ---- IRET -------------------------------------------------------------------------------------------
// What IRET may change without more ado, by the bits that it may change at all.
#define IRET_PLAIN (FLAG_OSZAPC | FLAG_DF | FLAG_IF | FLAG_IOPL | FLAG_ID)

bool quick_iret(Cpu *cpu) {
    bool flat = MODE_SEG_CLASS(cpu->mode, CPU_SS) == SEG_FLAT && cpu->mode & MODE_STACK32;
    u32 sp = cpu->regs[CPU_ESP];
    if (!flat || cpu->cpl == 3 || (cpu->mode & (MODE_PE | MODE_VM | MODE_DEBUG)) != MODE_PE) return false;
    if (cpu->eflags & (FLAG_NT | FLAG_RF | FLAG_VIF | FLAG_VIP)) return false;
    const u8 *at = quick_read(cpu, sp, 20);
    if (!at || sp > 0xffffffff - 20) return false;
    u32 selector = get_le16(at + 4), flags = get_le32(at + 8), rpl = selector & 3, esp = sp + 12;
    u32 mask = flags_of_iret(cpu, 4);
    if ((flags ^ cpu->eflags) & ~IRET_PLAIN & (mask | FLAG_VM)) return false;
    u32 code = quick_flat(cpu, selector), ss = 0, data = 0;
    if (!quick_is(code, DESC_CODE) || rpl < cpu->cpl || DESC_DPL(code) != rpl) return false;
    if (rpl > cpu->cpl) {
        esp = get_le32(at + 12);
        ss = get_le16(at + 16);
        data = quick_flat(cpu, ss);
        bool good = quick_is(data, DESC_DATA) && DESC_DPL(data) == rpl && (ss & 3) == rpl;
        if (!good || quick_checks_alignment(cpu, rpl)) return false;
        quick_fill(cpu, CPU_SS, ss, data);
    }
    cpu_set_arith(cpu, flags);
    u32 change = mask & IRET_PLAIN & ~FLAG_OSZAPC;
    cpu->eflags = (cpu->eflags & ~change) | (flags & change);
    cpu_set_df(cpu, cpu->eflags & FLAG_DF);
    cpu->regs[CPU_ESP] = esp;
    cpu->eip = get_le32(at);
    quick_fill(cpu, CPU_CS, selector, code);
    bool outer = rpl > cpu->cpl;
    quick_set_cpl(cpu, rpl);
    cpu->mode = quick_mode(cpu, rpl) | (cpu->eflags & FLAG_TF ? MODE_TF : 0);
    cpu->mmu_base = cpu->context_base[rpl == 3];
    if (outer) seg_drop_for_outer(cpu);
    return true;
}

// ---- far CALL and RET ---------------------------------------------------------------------------------
// The host address of 8 bytes of a flat stack; NULL: not usual.
static u8 *quick_far_stack(const Cpu *cpu, u32 sp, bool write) {
    bool flat = MODE_SEG_CLASS(cpu->mode, CPU_SS) == SEG_FLAT && cpu->mode & MODE_STACK32;
    i64 entry = (write ? mmu_writes(cpu->mmu_base) : mmu_reads(cpu->mmu_base))[sp >> PAGE_SHIFT];
    if (!flat || (cpu->mode & (MODE_PE | MODE_VM | MODE_AC | MODE_DEBUG)) != MODE_PE) return NULL;
    return entry >= 0 && (sp & ~PAGE_MASK) <= PAGE_BYTES - 8 ? (u8 *)(entry + sp) : NULL;
}

// To 32-bit code of our privilege, which `code` describes.
static void quick_far_enter(Cpu *cpu, u32 selector, u32 code, u32 eip) {
    quick_fill(cpu, CPU_CS, (selector & 0xfffc) | cpu->cpl, code);
    cpu->mode = quick_mode(cpu, cpu->cpl) | (cpu->mode & MODE_TF);
    cpu->eip = eip;
}

bool quick_call_far(Cpu *cpu, u32 selector, u32 offset) {
    u32 sp = cpu->regs[CPU_ESP] - 8, code = quick_flat(cpu, selector);
    u8 *at = sp < 0u - 8 ? quick_far_stack(cpu, sp, true) : NULL;
    if (!at || !quick_is(code, DESC_CODE) || DESC_DPL(code) != cpu->cpl || (selector & 3) > cpu->cpl) return false;
    put_le32(at, cpu->eip);
    put_le32(at + 4, cpu->seg[CPU_CS].selector);
    cpu->regs[CPU_ESP] = sp;
    quick_far_enter(cpu, selector, code, offset);
    return true;
}

bool quick_ret_far(Cpu *cpu, u32 bytes) {
    u32 sp = cpu->regs[CPU_ESP];
    const u8 *at = quick_far_stack(cpu, sp, false);
    u32 selector = at ? get_le16(at + 4) : 0, code = quick_flat(cpu, selector);
    if (!at || !quick_is(code, DESC_CODE) || DESC_DPL(code) != cpu->cpl || (selector & 3) != cpu->cpl) return false;
    cpu->regs[CPU_ESP] = sp + 8 + bytes;
    quick_far_enter(cpu, selector, code, get_le32(at));
    return true;
}

// ---- SYSENTER, SYSEXIT ---------------------------------------------------------------------------------
bool quick_fast_segments(Cpu *cpu, u32 cs, u32 cpl) {
    if (cpu->mode & (MODE_VM | MODE_AC) || quick_checks_alignment(cpu, cpl)) return false;
    quick_fill(cpu, CPU_CS, (cs & 0xfffc) | cpl, DESC_CODE | cpl << 13);
    quick_fill(cpu, CPU_SS, ((cs + 8) & 0xfffc) | cpl, DESC_DATA | cpl << 13);
    quick_set_cpl(cpu, cpl);
    cpu->mode = quick_mode(cpu, cpl) | (cpu->eflags & FLAG_TF ? MODE_TF : 0);
    cpu->mmu_base = cpu->context_base[cpl == 3];
    return true;
}

// ---- ES, DS, FS, GS ------------------------------------------------------------------------------------
// Data of 4 GiB from any base; the size bit means nothing here.
bool quick_load(Cpu *cpu, unsigned s, u32 selector) {
    const u32 of_base = 0xff0000ff, free_bits = DESC_FREE | 0x00400000 | of_base;
    if ((cpu->mode & (MODE_PE | MODE_VM | MODE_AC)) != MODE_PE) return false;
    if (selector & 4 || (selector | 7) > cpu->gdtr.limit || selector < 8) return false;
    const u8 *d = quick_read(cpu, cpu->gdtr.base + (selector & 0xfff8), 8);
    if (!d) return false;
    u32 lo = get_le32(d), hi = get_le32(d + 4), shift = MODE_SEG_SHIFT(s);
    if ((lo & 0xffff) != 0xffff || (hi & ~free_bits) != (DESC_DATA & ~free_bits)) return false;
    if (DESC_DPL(hi) < max_u32(cpu->cpl, selector & 3)) return false;
    quick_fill(cpu, s, selector, hi);
    u32 base = cpu->seg[s].base = lo >> 16 | (hi & 0xff) << 16 | (hi & 0xff000000);
    cpu->mode = (cpu->mode & ~(3u << shift)) | (base ? SEG_BASED : SEG_FLAT) << shift;
    return true;
}

bool quick_pop(Cpu *cpu, unsigned s) {
    bool flat = MODE_SEG_CLASS(cpu->mode, CPU_SS) == SEG_FLAT && cpu->mode & MODE_STACK32;
    u32 sp = cpu->regs[CPU_ESP];
    i64 entry = mmu_reads(cpu->mmu_base)[sp >> PAGE_SHIFT];
    if (!flat || s == CPU_SS || entry < 0 || (sp & ~PAGE_MASK) > PAGE_BYTES - 4 || cpu->mode & MODE_DEBUG) return false;
    if (!quick_load(cpu, s, get_le16((const u8 *)(entry + sp)))) return false;
    cpu->regs[CPU_ESP] = sp + 4;
    return true;
}
