// SPDX-License-Identifier: MIT
// Random code in every mode, run by generated code or by eval, on a machine whose descriptor tables,
// page tables and handlers are valid but strange.
// timeout: 600
//
//     bytes   0-1  mode, paging, engine        2-3  bits of CR0, CR4      4-7  EFLAGS
//             8    handlers  9  page rights    10   segments              11   DR7
//             12-19 where the registers point  20.. the code
//
// Physical memory: see the enum. Linear is physical below 4 MiB; from 4 MiB on the same again, as a
// large page or through the same table; pages with strange rights and devices are strewn in.
#include "guest.h"

#include "cpu/cpu.h"
#include "cpu/mmu.h"
#include "isa/isa.h"

#include <string.h>

enum {
    AT_GDT = 0x1000, AT_LDT = 0x1800, AT_IDT = 0x2000, AT_TSS = 0x3000, AT_TSS_B = 0x3200, AT_TSS16 = 0x3400,
    AT_PD = 0x4000, AT_PT = 0x5000, AT_PDPT = 0x6000, AT_PAE_PD = 0x7000, AT_PAE_PT = 0x8000,
    AT_HANDLERS = 0xa000, AT_CODE = 0x10000, AT_DATA = 0x18000, AT_STACK = 0x1f000, AT_STACK0 = 0x2f000,
    HANDLER_BYTES = 16, HEADER_BYTES = 20, CODE_BYTES = 0x1000, RUN_NS = 6000, STEPS = 1500,
};

enum { MODE_REAL, MODE_32, MODE_32_USER, MODE_16, MODE_16_USER, MODE_V86, MODE_LIMITED, MODE_LIMITED_USER, MODES };
enum { PAGING_OFF, PAGING_4K, PAGING_4M, PAGING_PAE, PAGINGS };

enum {
    SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_CODE3 = 0x1b, SEL_DATA3 = 0x23, SEL_TSS = 0x28, SEL_TSS_B = 0x30,
    SEL_LDT = 0x38, SEL_CODE16 = 0x40, SEL_DATA16 = 0x48, SEL_CODE16_3 = 0x53, SEL_DATA16_3 = 0x5b,
    SEL_LIMITED = 0x60, SEL_DOWN = 0x6b, SEL_ABSENT = 0x70, SEL_CONFORMING = 0x78, SEL_READ_ONLY = 0x83,
    SEL_CALL = 0x8b, SEL_CALL16 = 0x93, SEL_TASK = 0x9b, SEL_TSS16 = 0xa0, SEL_BASED3 = 0xab, SEL_EXECUTE = 0xb3,
    SEL_END = 0xb8,
};

typedef struct Header {
    u8 mode, paging, engine, cr0, cr4, handlers, rights, segments, dr7;
    u32 eflags;
    u8 point[8];
} Header;

static const JitOptions engines[] = {
    { .restore = JIT_RESTORE_CHECK },
    { .restore = JIT_RESTORE_CHECK, .check = 1 },
    { .restore = JIT_RESTORE_CHECK, .max_insns = 1, .check = 1 },
    { .restore = JIT_RESTORE_CHECK, .max_insns = 3, .no_chain = true },
    { .restore = JIT_RESTORE_RETRANSLATE, .passes = 1 },
    { .restore = JIT_RESTORE_CHECK, .no_chain = true, .no_follow = true, .check = 1 },
    { .restore = JIT_RESTORE_CHECK, .passes = 1, .check = 1 },
    { .restore = JIT_RESTORE_TABLE },          // stepped by eval
};
enum { ENGINE_EVAL = ARRAY_LEN(engines) - 1 };

static Header header_read(FuzzIn *in) {
    u8 a = fuzz_u8(in), b = fuzz_u8(in);
    Header h = { .mode = a % MODES, .paging = a / MODES % PAGINGS, .engine = b % ARRAY_LEN(engines) };
    h.cr0 = fuzz_u8(in);
    h.cr4 = fuzz_u8(in);
    h.eflags = fuzz_u32(in);
    h.handlers = fuzz_u8(in);
    h.rights = fuzz_u8(in);
    h.segments = fuzz_u8(in);
    h.dr7 = fuzz_u8(in);
    for (unsigned i = 0; i < 8; i++) h.point[i] = fuzz_u8(in);
    if (h.mode == MODE_REAL) h.paging = PAGING_OFF;
    return h;
}

// ---- tables -------------------------------------------------------------------------------------
static void put32(Guest *g, u32 at, u32 v) { put_le32(guest_at(g, at), v); }

static void put_desc(Guest *g, u32 selector, u32 base, u32 limit, u32 access, u32 flags) {
    put32(g, AT_GDT + (selector & ~7u), (limit & 0xffff) | base << 16);
    put32(g, AT_GDT + (selector & ~7u) + 4, (base >> 16 & 0xff) | access << 8 | (limit & 0xf0000) | flags << 20 |
          (base & 0xff000000));
}

static void put_gate(Guest *g, u32 at, u32 selector, u32 offset, u32 access, u32 params) {
    put32(g, at, (offset & 0xffff) | selector << 16);
    put32(g, at + 4, (offset & 0xffff0000) | access << 8 | params);
}

static void put_gdt(Guest *g) {
    put_desc(g, SEL_CODE, 0, 0xfffff, 0x9b, 0xc);
    put_desc(g, SEL_DATA, 0, 0xfffff, 0x93, 0xc);
    put_desc(g, SEL_CODE3, 0, 0xfffff, 0xfb, 0xc);
    put_desc(g, SEL_DATA3, 0, 0xfffff, 0xf3, 0xc);
    put_desc(g, SEL_TSS, AT_TSS, 0x1ff, 0x8b, 0);
    put_desc(g, SEL_TSS_B, AT_TSS_B, 0x67, 0x89, 0);
    put_desc(g, SEL_LDT, AT_LDT, 0x7f, 0x82, 0);
    put_desc(g, SEL_CODE16, AT_CODE, 0xffff, 0x9b, 0);
    put_desc(g, SEL_DATA16, AT_CODE, 0xffff, 0x93, 0);
    put_desc(g, SEL_CODE16_3, AT_CODE, 0xffff, 0xfb, 0);
    put_desc(g, SEL_DATA16_3, AT_CODE, 0xffff, 0xf3, 0);
    put_desc(g, SEL_LIMITED, AT_DATA, 0x7ffe, 0x93, 4);
    put_desc(g, SEL_DOWN, 0, AT_CODE, 0xf7, 0xc);
    put_desc(g, SEL_ABSENT, 0, 0xfffff, 0x13, 0xc);
    put_desc(g, SEL_CONFORMING, 0, 0xfffff, 0x9f, 0xc);
    put_desc(g, SEL_READ_ONLY, 0, 0xfffff, 0xf1, 0xc);
    put_gate(g, AT_GDT + (SEL_CALL & ~7u), SEL_CODE, AT_CODE, 0xec, 3);
    put_gate(g, AT_GDT + (SEL_CALL16 & ~7u), SEL_CODE, AT_CODE, 0xe4, 1);
    put_gate(g, AT_GDT + (SEL_TASK & ~7u), SEL_TSS_B, 0, 0xe5, 0);
    put_desc(g, SEL_TSS16, AT_TSS16, 0x2b, 0x81, 0);
    put_desc(g, SEL_BASED3, 0xfffff003, 0xfffff, 0xf3, 0xc);
    put_desc(g, SEL_EXECUTE, 0, 0xfffff, 0xf9, 0xc);
    memcpy(guest_at(g, AT_LDT), guest_at(g, AT_GDT), 0x80);
}

static void put_tss(Guest *g, u32 at, u32 eip) {
    static const u32 selectors[6] = { SEL_DATA, SEL_CODE, SEL_DATA, SEL_DATA, SEL_DATA, SEL_DATA };
    put32(g, at + 4, AT_STACK0);
    put32(g, at + 8, SEL_DATA);
    put32(g, at + 12, AT_STACK0);
    put32(g, at + 16, SEL_DATA);
    put32(g, at + 28, AT_PD);
    put32(g, at + 32, eip);
    put32(g, at + 36, 2);
    put32(g, at + 56, AT_STACK);
    for (unsigned i = 0; i < 6; i++) put32(g, at + 72 + 4 * i, selectors[i]);
    put32(g, at + 100, 0x00880000);            // redirection map at 0x68, I/O map at 0x88
}

static void put_tss16(Guest *g) {
    u8 *at = guest_at(g, AT_TSS16);
    put_le16(at + 2, AT_STACK0 & 0xffff);
    put_le16(at + 4, SEL_DATA);
    put_le16(at + 14, AT_CODE & 0xffff);
    put_le16(at + 16, 2);
    put_le16(at + 34, SEL_DATA);
    put_le16(at + 36, SEL_CODE);
    put_le16(at + 38, SEL_DATA);
    put_le16(at + 40, SEL_DATA);
}

// ---- handlers -----------------------------------------------------------------------------------
static bool has_error(unsigned v) { return v == 8 || (v >= 10 && v <= 14) || v == 17; }

// Stops, tries again, or goes on behind the byte that it was about.
static void put_handler(Guest *g, unsigned v, unsigned style, bool real) {
    static const u8 skip16[] = { 0x55, 0x89, 0xe5, 0xff, 0x46, 2, 0x5d, 0xcf };  // inc word [bp+2]
    u8 *to = guest_at(g, AT_HANDLERS + v * HANDLER_BYTES);
    unsigned n = 0;
    memset(to, 0xf4, HANDLER_BYTES);
    if (style == 0) {
        memcpy(to, "\xf4\xeb\xfd", 3);         // hlt; jmp
    } else if (real) {
        memcpy(to, skip16, sizeof skip16);
        if (style == 1) to[0] = 0xcf;
    } else {
        if (has_error(v)) { memcpy(to, "\x83\xc4\x04", 3); n = 3; }
        if (style > 1) { memcpy(to + n, "\xff\x04\x24", 3); n += 3; }            // incl (%esp)
        to[n] = 0xcf;
    }
}

static void put_handlers(Guest *g, const Header *h) {
    for (unsigned v = 0; v < 256; v++) {
        unsigned mix = (v * 37 + h->handlers * 11) & 0xff, style = mix < 8 ? 0 : mix < 16 ? 1 : 2;
        u32 at = AT_HANDLERS + v * HANDLER_BYTES, dpl = v & 1 || v == 0x80 ? 0x60 : 0;
        put_handler(g, v, style, h->mode == MODE_REAL);
        u32 gate = AT_IDT + 8 * v;
        if (mix == 40 && h->handlers & 1) put_gate(g, gate, SEL_TSS_B, 0, 0x85 | dpl, 0);
        else if (mix == 50) put_gate(g, gate, SEL_CODE, at, 0x86 | dpl, 0);      // 16-bit gate
        else if (mix == 60) put_gate(g, gate, SEL_CODE, at, 0x0e | dpl, 0);      // absent
        else put_gate(g, gate, mix == 70 ? SEL_CONFORMING : SEL_CODE, at, (mix & 2 ? 0x8f : 0x8e) | dpl, 0);
        if (h->mode == MODE_REAL) put32(g, 4 * v, at);
    }
}

// ---- page tables --------------------------------------------------------------------------------
// The entry of page `i` of the low 4 MiB.
static u64 page_entry(const Header *h, u32 i) {
    static const u32 devices[] = { 0xa0, 0xb8, 0xfee00, 0xfec00, 0xe0000, 0xfffff, 0x80000, 0x400 };
    u32 mix = (i * 0x9e3779b1u ^ h->rights * 0x85ebca6bu) >> 20;
    bool quiet = h->rights < 64 || i < 0x10;
    if (i < 0x10) return (u64)i << 12 | 3 | (h->rights & 4);
    if (quiet || mix >= 1024) return (u64)i << 12 | 7;
    if (mix < 32) return (u64)i << 12 | 6;                                       // absent
    if (mix < 64) return (u64)i << 12 | 5;
    if (mix < 96) return (u64)i << 12 | 3;
    if (mix < 160) return (u64)devices[mix & 7] << 12 | 7;
    if (mix < 200) return (u64)(i ^ 1) << 12 | 7;
    if (mix < 230) return (u64)AT_PT | 7;
    return (u64)i << 12 | 0x67;
}

static void put_pages(Guest *g, const Header *h) {
    for (u32 i = 0; i < 1024; i++) {
        u64 entry = page_entry(h, i);
        put32(g, AT_PT + 4 * i, (u32)entry);
        put_le64(guest_at(g, AT_PAE_PT + 8 * i), entry);
    }
    put32(g, AT_PD, AT_PT | 7);
    put32(g, AT_PD + 4, h->paging == PAGING_4M ? 0x87 : AT_PT | 7);
    put32(g, AT_PD + 8, AT_PT | 5);
    put32(g, AT_PD + 4 * 1022, 0xff800087u);
    put32(g, AT_PD + 4 * 1023, h->paging == PAGING_4M ? 0xffc00087u : AT_PD | 7);
    for (u32 i = 0; i < 4; i++) put_le64(guest_at(g, AT_PDPT + 8 * i), i == 2 ? 0 : AT_PAE_PD | 1);
    put_le64(guest_at(g, AT_PAE_PD), AT_PAE_PT | 7);
    put_le64(guest_at(g, AT_PAE_PD + 8), (AT_PAE_PT + 0x1000) | 7);
    put_le64(guest_at(g, AT_PAE_PD + 16), 0x87);
    put_le64(guest_at(g, AT_PAE_PD + 24), AT_PAE_PT | 7);
    put_le64(guest_at(g, AT_PAE_PD + 8 * 511), 0xffe00087ull | (h->rights & 1 ? 1ull << 40 : 0));
}

// ---- processor ----------------------------------------------------------------------------------
static CpuSeg segment(Guest *g, u32 selector) {
    u32 low = get_le32(guest_at(g, AT_GDT + (selector & ~7u)));
    u32 high = get_le32(guest_at(g, AT_GDT + (selector & ~7u) + 4));
    u32 limit = (low & 0xffff) | (high & 0xf0000);
    if (high & 0x800000) limit = limit << 12 | 0xfff;
    return (CpuSeg){ .base = low >> 16 | (high & 0xff) << 16 | (high & 0xff000000), .limit = limit,
                     .selector = (u16)selector, .access = high >> 8 & 0xf0ff };
}

static CpuSeg real_segment(u32 selector, bool v86) {
    return (CpuSeg){ .base = selector << 4, .limit = 0xffff, .selector = (u16)selector, .access = v86 ? 0xf3 : 0x93 };
}

static void set_segments(Guest *g, const Header *h) {
    static const u16 code[MODES] = { 0x1000, SEL_CODE, SEL_CODE3, SEL_CODE16, SEL_CODE16_3, 0x1000,
                                     SEL_CODE, SEL_CODE3 };
    static const u16 data[MODES] = { 0x1800, SEL_DATA, SEL_DATA3, SEL_DATA16, SEL_DATA16_3, 0x1800,
                                     SEL_DATA, SEL_DATA3 };
    static const u16 odd[8] = { SEL_LIMITED, SEL_DOWN, SEL_READ_ONLY, SEL_BASED3, SEL_DATA16_3, 0,
                                SEL_CODE3, SEL_DATA16 };
    Cpu *cpu = g->m->cpu;
    bool real = h->mode == MODE_REAL || h->mode == MODE_V86;
    for (unsigned s = 0; s < 6; s++) {
        u32 selector = s == CPU_CS ? code[h->mode] : data[h->mode];
        if (real) {
            cpu->seg[s] = real_segment(s == CPU_CS || s == CPU_SS ? 0x1000 : selector, h->mode == MODE_V86);
            continue;
        }
        bool strange = h->mode >= MODE_LIMITED && s != CPU_CS && s != CPU_SS && h->segments >> s & 1;
        cpu->seg[s] = segment(g, selector);
        u32 other = odd[(h->segments + s) & 7];
        if (strange && other) cpu->seg[s] = segment(g, other);
        else if (strange) cpu->seg[s] = (CpuSeg){ 0 };
    }
}

static u32 pointed(const Header *h, u8 point) {
    static const u32 at[] = {
        AT_DATA, AT_DATA + 0xffe, AT_CODE, AT_CODE + 0x40, AT_STACK, AT_PT, AT_GDT, AT_IDT, AT_TSS, 0xa0000, 0xb8000,
        0xfee00000, 0xe0000000, GUEST_RAM_BYTES - 2, 0xfffffffe, 0, 1, 0xffffffff, 0x7fffffff, 0x80000000, SEL_DATA,
        SEL_CALL, SEL_TSS_B, SEL_LDT, 0x3f8, 0x1f0, 0xcf8, 16, 0x400000 + AT_CODE, 0xfffc0000, 0xc0000, 0xfff,
    };
    u32 v = at[point % ARRAY_LEN(at)];
    bool small = h->mode == MODE_REAL || h->mode == MODE_V86 || h->mode == MODE_16 || h->mode == MODE_16_USER;
    if (small && point & 0x80) v &= 0xffff;
    return v;
}

static void set_cpu(Guest *g, const Header *h) {
    Cpu *cpu = g->m->cpu;
    u32 linear_code = h->mode == MODE_16 || h->mode == MODE_16_USER || h->mode == MODE_REAL || h->mode == MODE_V86;
    cpu->gdtr = (CpuTable){ AT_GDT, SEL_END - 1 };
    cpu->idtr = h->mode == MODE_REAL ? (CpuTable){ 0, 0x3ff } : (CpuTable){ AT_IDT, 0x7ff };
    cpu->ldtr = segment(g, SEL_LDT);
    cpu->tr = segment(g, SEL_TSS);
    set_segments(g, h);
    for (unsigned r = 0; r < 8; r++) cpu->regs[r] = pointed(h, h->point[r]);
    cpu->regs[CPU_ESP] = linear_code ? 0xf000 + (h->point[CPU_ESP] & 15) : AT_STACK - (h->point[CPU_ESP] & 15);
    cpu->eip = linear_code ? 0 : AT_CODE;
    cpu->cpl = BIT(h->mode) & (BIT(MODE_32_USER) | BIT(MODE_16_USER) | BIT(MODE_V86) | BIT(MODE_LIMITED_USER)) ? 3 : 0;
    u32 cr0 = 0x10 | (h->cr0 & 0x2e) | (h->cr0 & 0x40 ? 0x40000 : 0) | (h->cr0 & 0x80 ? 0x10000 : 0);
    if (h->mode != MODE_REAL) cr0 |= 1;
    if (h->paging != PAGING_OFF) cr0 |= 0x80000000;
    cpu->cr0 = cr0;
    u32 cr4 = h->cr4 & 0x4f;
    if (h->cr4 & 0x10) cr4 |= 0x80;                          // PGE
    if (h->cr4 & 0x20) cr4 |= 0x600;                         // SSE
    if (h->paging == PAGING_4M) cr4 |= 0x10;
    if (h->paging == PAGING_PAE) cr4 |= 0x20;
    cpu->cr4 = cr4;
    cpu->cr3 = h->paging == PAGING_PAE ? AT_PDPT : AT_PD;
    cpu->dr[0] = AT_CODE + h->point[0];
    cpu->dr[1] = cpu->dr[2] = AT_DATA;
    cpu->dr[7] |= h->dr7 & 1 ? h->dr7 | (u32)h->dr7 << 16 : 0;
    u32 eflags = h->eflags & 0x3f7fd5;
    eflags = (eflags & ~0x20000u) | (h->mode == MODE_V86 ? 0x20000 : 0);
    cpu_set_eflags(cpu, eflags, 0xffffffff);
    mmu_flush(cpu);
    cpu_update_mode(cpu);
}

static void describe(const Guest *g, const Header *h, const u8 *code, size_t count) {
    static const char *const modes[MODES] = { "real", "32-bit CPL 0", "32-bit CPL 3", "16-bit CPL 0", "16-bit CPL 3",
                                              "V86", "odd segments CPL 0", "odd segments CPL 3" };
    static const char *const pagings[PAGINGS] = { "no paging", "4K pages", "4M pages", "PAE" };
    const Cpu *cpu = g->m->cpu;
    if (!fuzz_is_telling()) return;
    fuzz_say("%s, %s, engine %u, cr0 %08x cr4 %08x eflags %08x dr7 %08x", modes[h->mode], pagings[h->paging], h->engine,
             cpu->cr0, cpu->cr4, cpu->eflags, cpu->dr[7]);
    for (unsigned r = 0; r < 8; r++) fuzz_say("  reg %u = %08x", r, cpu->regs[r]);
    for (size_t at = 0; at < count;) {
        Insn insn;
        char text[128];
        u8 bytes[ISA_MAX_BYTES] = { 0 };
        memcpy(bytes, code + at, count - at < sizeof bytes ? count - at : sizeof bytes);
        if (isa_decode(bytes, sizeof bytes, cpu->mode & MODE_CODE32, &insn) != ISA_OK) {
            fuzz_say("  %04zx: (bad) %02x", at, code[at]);
            at++;
            continue;
        }
        isa_format(&insn, cpu->eip + (u32)at, ISA_ATT, text, sizeof text);
        fuzz_say("  %04zx: %s", at, text);
        at += insn.length;
    }
}

static void run_stepped(Guest *g) {
    Machine *m = g->m;
    cpu_fpu_load_host(m->cpu);
    for (unsigned i = 0; i < STEPS && !bus_requests(m->bus) && !m->cpu->shutdown; i++) {
        if (m->cpu->fault.pending) cpu_deliver(m->cpu);
        else jit_step(m->jit);
    }
    cpu_fpu_save_host(m->cpu);
}

static void cpu_run(FuzzIn *in) {
    Guest g;
    Header h = header_read(in);
    guest_open(&g, &engines[h.engine]);
    put_gdt(&g);
    put_tss(&g, AT_TSS, AT_CODE);
    put_tss(&g, AT_TSS_B, AT_CODE + 4);
    put_tss16(&g);
    put_handlers(&g, &h);
    put_pages(&g, &h);
    size_t count = fuzz_left(in) < CODE_BYTES ? fuzz_left(in) : CODE_BYTES;
    memset(guest_at(&g, AT_CODE), 0x90, CODE_BYTES);
    memcpy(guest_at(&g, AT_CODE), in->at, count);
    memcpy(guest_at(&g, AT_DATA), in->at, count);
    set_cpu(&g, &h);
    describe(&g, &h, in->at, count);
    if (h.engine == ENGINE_EVAL) run_stepped(&g);
    else guest_run(&g, RUN_NS);
    guest_close(&g);
}

// ---- own cases ----------------------------------------------------------------------------------
typedef struct Opening { u16 row; u8 count, bytes[4]; } Opening;
typedef struct Openings { Opening at[1 << 14]; unsigned count; } Openings;

// One opening of each row and form (register, memory): prefix, opcode, ModRM.
static void openings_find(Openings *o) {
    static const u8 prefixes[4] = { 0, 0x66, 0xf2, 0xf3 };
    for (unsigned p = 0; p < 4; p++)
        for (unsigned op = 0; op < 512; op++)
            for (unsigned modrm = 0; modrm < 256; modrm += 8) {
                u8 bytes[ISA_MAX_BYTES] = { 0 };
                Insn insn;
                unsigned n = 0;
                if (p) bytes[n++] = prefixes[p];
                if (op >= 256) bytes[n++] = 0x0f;
                bytes[n++] = (u8)op;
                bytes[n++] = (u8)modrm;
                if (isa_decode(bytes, sizeof bytes, true, &insn) != ISA_OK) continue;
                if (modrm && !insn.modrm) continue;
                if (o->count == ARRAY_LEN(o->at)) continue;
                Opening *to = &o->at[o->count++];
                *to = (Opening){ insn.row, (u8)n, { 0 } };
                memcpy(to->bytes, bytes, n);
            }
}

static unsigned make_insn(FuzzRandom *r, u8 *to) {
    static Openings openings;
    static const u8 prefixes[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
    static const u32 values[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
                                  AT_DATA, AT_CODE, AT_PT, AT_GDT, AT_STACK, AT_IDT, AT_TSS, 0xb8000, 0xfee00020,
                                  AT_DATA + 0xfff, 0x400000 + AT_CODE, SEL_CODE, SEL_DATA, SEL_CALL, SEL_TASK };
    if (!openings.count) openings_find(&openings);
    unsigned n = 0;
    u16 row = (u16)(1 + fuzz_random_below(r, isa_row_count - 1));
    unsigned start = fuzz_random_below(r, openings.count), i = start;
    while (openings.at[i].row != row && (i = (i + 1) % openings.count) != start) {}
    while (!fuzz_random_below(r, 5) && n < 3) to[n++] = prefixes[fuzz_random_below(r, ARRAY_LEN(prefixes))];
    const Opening *o = &openings.at[i];
    memcpy(to + n, o->bytes, o->count);
    n += o->count;
    if (fuzz_random_below(r, 3)) to[n - 1] = (u8)((to[n - 1] & 0xf8) | fuzz_random_below(r, 8));
    u32 value = fuzz_random_below(r, 3) ? values[fuzz_random_below(r, ARRAY_LEN(values))] : fuzz_random(r);
    if (fuzz_random_below(r, 2)) to[n++] = (u8)fuzz_random(r);                   // SIB or immediate
    put_le32(to + n, value);
    put_le32(to + n + 4, fuzz_random(r));
    return n + 4;
}

static size_t cpu_make(FuzzRandom *r, u8 *to, size_t room) {
    size_t n = HEADER_BYTES, most = 64u << fuzz_random_below(r, 5);
    if (most > room) most = room;
    bool noise = !fuzz_random_below(r, 6);
    for (unsigned i = 0; i < HEADER_BYTES; i++) to[i] = (u8)fuzz_random(r);
    if (fuzz_random_below(r, 2)) put_le32(to + 4, fuzz_random(r) & 0x3edd5);     // no TF, NT, RF, AC
    if (fuzz_random_below(r, 2)) to[2] &= 0xf3;                                  // an x87 that works
    if (fuzz_random_below(r, 4)) to[11] &= 0xfe;
    while (n + 24 < most) {
        if (noise || !fuzz_random_below(r, 12)) to[n++] = (u8)fuzz_random(r);
        else n += make_insn(r, to + n);
    }
    return n;
}

const FuzzTarget fuzz_target = { "cpu", HEADER_BYTES + CODE_BYTES, cpu_run, cpu_make };
