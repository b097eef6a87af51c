// SPDX-License-Identifier: MIT
// Guest code as guests run it: random instruction sequences through the jit's run loop, against the
// same machine stepped by eval. (Single instructions and short sequences against the host: tests/silicon.)
//
//     make test T=unit/test_guest          SEED=n runs one case, N=n runs so many from SEED on
//
// A case is made of its seed alone. It is written along the path of its execution: an instruction is
// drawn from random bytes, its memory operand is led into the data area (or just beyond it), then it
// is stepped, and stays when it did nothing unwanted. Between them stand templates: loops, calls,
// branches, stores into code ahead, code rewritten by DMA, segment loads. A case ends at a stop
// (OUT to a port, then a jump to itself) or in an exception's handler, which is such a stop.
//
// Machines: number 0 is stepped; the others run translated code with options of their own. Flags that
// the manual leaves undefined are neither read by later instructions nor compared.
#define _GNU_SOURCE
#include "testcpu.h"

#include "ir/ir.h"
#include "isa/isa.h"
#include "jit/jit_int.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    HIGH = 0x20000000, HIGH_PHYS = 0x200000,  // area of the protected modes: linear, physical
    LOW = 0x30000,                            // area of real mode
    CODE_BYTES = 0x3000, DATA = 0x4000,       // in both: code below, data and stack above
    HIGH_BYTES = 0x8000, LOW_BYTES = 0x15000, AREA_BYTES = LOW_BYTES,
    HANDLERS = 0x7000,                        // 8 bytes for each vector
    STOP_PORT = 0xf0, DMA_PORT = 0xf1, STOP_BYTES = 8,
    MAX_STEPS = 60000, MAX_TRACE = 256,
    EDGE = 24,                                // bytes beyond the end that operands may reach
};

typedef enum GuestMode { FLAT0, FLAT3, CHECKED32, CHECKED16, REAL16, MODES } GuestMode;
static const char *const mode_names[] = { "flat, CPL 0", "flat, CPL 3", "limited segments",
                                          "16-bit protected", "real" };

static const JitOptions variants[] = {
    { .cache_mib = 4 },                                        // stepped
    { .cache_mib = 4, .restore = JIT_RESTORE_CHECK, .passes = 1 },
    { .cache_mib = 4, .restore = JIT_RESTORE_CHECK, .max_insns = 1, .passes = 1 },
    { .cache_mib = 4, .restore = JIT_RESTORE_RETRANSLATE, .no_chain = true },
    { .cache_mib = 1, .restore = JIT_RESTORE_CHECK },
    { .cache_mib = 1, .max_insns = 3, .passes = 2 },
    { .cache_mib = 4, .restore = JIT_RESTORE_CHECK, .check = 1 },
};
static const char *const variant_names[] = { "eval", "default", "single instructions", "no chain",
                                             "small cache", "small blocks", "checked" };
enum { MACHINES = ARRAY_LEN(variants) };

// Selectors beyond those of testcpu.h.
enum { SEL_DATA_LIMITED = 0x98, SEL_STACK_LIMITED = 0xa0, SEL_EXTRA = 0xa8, SEL_CODE_LIMITED = 0xb0,
       SEL_RO = 0xb8, SEL_GROWS_DOWN = 0xc0, SEL_CODE_16 = 0xc8, SEL_DATA_16 = 0xd0, SEL_LAST = 0xd8 };

typedef struct Machine {
    TestCpu *c;
    Jit *jit;
    u32 dma_at;                               // physical: where the port's DMA writes
    u32 stops;
} Machine;

// What is compared in the end.
typedef struct Outcome {
    u32 regs[8], eip, flags, eflags, cr2;
    u16 selector[6];
    u8 fpu[108], xmm[128];
    u32 mxcsr;
    u8 area[AREA_BYTES];
} Outcome;

typedef struct Trace { u32 at; u8 length; } Trace;

typedef struct Test {
    Machine machine[MACHINES];
    u64 seed, random;
    GuestMode mode;
    unsigned variant, limit;                  // of instructions
    bool code32;
    u32 area, area_phys, area_bytes;          // linear, physical
    CpuSeg seg[6], undo_seg[6];
    u32 low[6], high[6];                      // offsets that operands use: [low, high)
    u32 stack_low, stack_high;
    u32 regs[8], eflags, eip;                 // at the start
    u8 image[AREA_BYTES];                     // memory at the start
    u32 page_rights[HIGH_BYTES >> 12], cr0;   // cr0: bits added
    bool simd;                                // MMX and SSE are drawn, too
    u8 xmm[128];
    u32 mxcsr, cr4;
    // while generating
    u32 undefined, undefined_ever;            // flags
    u8 frozen;                                // registers that must not change
    bool done, endless, dma_used;
    Trace trace[MAX_TRACE];
    unsigned traced, insns;
    Outcome start, expected, got;             // start: undo while generating
    unsigned cases[MODES], faults[256], skipped;
} Test;

static Test *signal_test;

static u32 random_u32(Test *t) {
    u64 z = t->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    return (u32)((z ^ z >> 27) * 0x94d049bb133111ebu >> 24);
}
static u32 pick(Test *t, u32 n) { return random_u32(t) % n; }
static bool one_in(Test *t, u32 n) { return pick(t, n) == 0; }

static u32 random_value(Test *t) {
    static const u32 edges[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
                                 0x80000000, 0xffffffff, 0xfffffffe };
    return one_in(t, 2) ? edges[pick(t, ARRAY_LEN(edges))] : random_u32(t);
}

static Cpu *cpu_of(Machine *m) { return m->c->cpu; }
static u8 *area_of(Test *t, Machine *m) { return at(m->c, t->area_phys); }

// ---- ports --------------------------------------------------------------------------------------
static void port_out(void *self, u16 port, unsigned size, u32 value) {
    Machine *m = self;
    u8 byte = (u8)value;
    (void)size;
    if (port == DMA_PORT && m->dma_at) bus_dma_write(m->c->bus, phy(m->dma_at), &byte, 1);
    if (port != STOP_PORT) return;
    m->stops++;
    bus_request(m->c->bus, BUS_REQ_STOP);
}

// ---- machines -----------------------------------------------------------------------------------
static void put_stop(u8 *p) { memcpy(p, "\xe6\xf0\xeb\xfe\x90\x90\x90\x90", STOP_BYTES); }

static void machine_descriptors(TestCpu *c) {
    testcpu_gdt(c);
    put_desc(c, AT_GDT + SEL_DATA_LIMITED, HIGH + DATA, 0x2fff, 0x93, 4);
    put_desc(c, AT_GDT + SEL_STACK_LIMITED, HIGH + DATA, 0x3fff, 0x93, 4);
    put_desc(c, AT_GDT + SEL_EXTRA, HIGH + DATA + 8, 0xfff, 0x93, 4);
    put_desc(c, AT_GDT + SEL_CODE_LIMITED, HIGH, CODE_BYTES - 1, 0x9b, 4);
    put_desc(c, AT_GDT + SEL_RO, HIGH, 0xfffff, 0x91, 0xc);
    put_desc(c, AT_GDT + SEL_GROWS_DOWN, HIGH + DATA, 0x0fff, 0x97, 4);
    put_desc(c, AT_GDT + SEL_CODE_16, HIGH, 0xffff, 0x9b, 0);
    put_desc(c, AT_GDT + SEL_DATA_16, HIGH + DATA, 0xffff, 0x93, 0);
}

static void machine_vectors(TestCpu *c) {
    for (u32 v = 0; v < 256; v++) {
        put_stop(at(c, HANDLERS + 8 * v));
        put_idt(c, v, SEL_CODE0, HANDLERS + 8 * v, v == 3 || v == 4 ? 0xee : 0x8e);
        poke32(c, 4 * v, HANDLERS + 8 * v);   // real mode
    }
}

static void machine_pages(TestCpu *c) {
    for (u32 i = 0; i < 1024; i++) {
        poke32(c, AT_PT + 4 * i, i < 16 ? i << 12 | (i == AT_PT2 >> 12 ? 3 : 1) : 0);
        poke32(c, AT_PT2 + 4 * i, 0);
        poke32(c, AT_PD + 4 * i, 0);
    }
    poke32(c, AT_PD, AT_PT | 7);
    poke32(c, AT_PD + 4 * (HIGH >> 22), AT_PT2 | 7);
}

static bool machine_open(Machine *m, const JitOptions *options) {
    static const CpuSeg tr = { .base = AT_TSS_A, .limit = 0xff, .selector = SEL_TSS_A, .access = 0x8b };
    char *error = NULL;
    TestCpu *c = m->c = testcpu_open();
    machine_descriptors(c);
    machine_vectors(c);
    machine_pages(c);
    poke32(c, AT_TSS_A + 4, HIGH + 0x7f00);
    poke32(c, AT_TSS_A + 8, SEL_DATA0);
    poke16(c, AT_TSS_A + 0x66, 0x68);
    c->cpu->tr = tr;
    c->cpu->gdtr = (CpuTable){ AT_GDT, SEL_LAST - 1 };
    c->cpu->cr3 = AT_PD;
    BusPort port = { "test", m, 7, NULL, port_out };
    bus_map_ports(c->bus, STOP_PORT, 2, &port);
    m->jit = jit_new(c->cpu, c->bus, &c->t.log, options, &error);
    return m->jit;
}

static void machine_close(Machine *m) {
    jit_free(m->jit);
    testcpu_close(m->c);
}

// The machine at the start of the case. Memory is written as a device would: code in it is dropped.
static void machine_start(Test *t, Machine *m) {
    Cpu *cpu = cpu_of(m);
    bus_dma_write(m->c->bus, phy(t->area_phys), t->image, t->area_bytes);
    for (u32 i = 0; i < HIGH_BYTES >> 12; i++) {
        u8 entry[4];
        put_le32(entry, HIGH_PHYS + (i << 12) + t->page_rights[i]);
        bus_dma_write(m->c->bus, phy(AT_PT2 + 4 * i), entry, 4);
    }
    memcpy(cpu->regs, t->regs, sizeof t->regs);
    memcpy(cpu->seg, t->seg, sizeof t->seg);
    cpu->eip = t->eip;
    cpu->cr0 = (t->mode == REAL16 ? 0x30 : 0x80010031) | t->cr0;
    cpu->idtr = t->mode == REAL16 ? (CpuTable){ 0, 0x3ff } : (CpuTable){ AT_IDT, 0x7ff };
    cpu->cpl = t->mode == FLAT3 ? 3 : 0;
    cpu->cr2 = 0;
    cpu->fault = (CpuFault){ 0 };
    cpu->halted = cpu->shutdown = cpu->inhibit_irq = cpu->inhibit_trap = false;
    cpu_set_eflags(cpu, t->eflags, 0xffffffff);
    memcpy(cpu->xmm, t->xmm, sizeof t->xmm);
    cpu->mxcsr = t->mxcsr;
    cpu->cr4 = t->cr4;
    mmu_flush(cpu);
    cpu_update_mode(cpu);
    m->stops = 0;
    // FNINIT leaves the registers' contents, which MMX shows.
    __asm__ volatile("fninit\n\tfldz\n\tfldz\n\tfldz\n\tfldz\n\tfldz\n\tfldz\n\tfldz\n\tfldz\n\t"
                     "fninit\n\tfld1\n\tfldpi\n\tfldl2e");
}

static void outcome_take(Test *t, Machine *m, Outcome *o) {
    Cpu *cpu = cpu_of(m);
    __asm__ volatile("fnsave %0\n\tfrstor %0" : "=m"(o->fpu));
    memset(o->fpu + 12, 0, 16);
    memcpy(o->xmm, cpu->xmm, sizeof o->xmm);
    o->mxcsr = cpu->mxcsr;
    memcpy(o->regs, cpu->regs, sizeof o->regs);
    for (unsigned s = 0; s < 6; s++) o->selector[s] = cpu->seg[s].selector;
    o->eip = cpu->eip;
    o->flags = flags_compute(cpu->flag_op, cpu->flag_a, cpu->flag_b, cpu->flag_c);
    o->eflags = cpu->eflags;
    o->cr2 = cpu->cr2;
    memcpy(o->area, area_of(t, m), t->area_bytes);
}

// ---- stepping -----------------------------------------------------------------------------------
static u32 linear_eip(const Cpu *cpu) { return cpu->seg[CPU_CS].base + cpu->eip; }

// The vector of the handler that the machine is in, or -1.
static int vector_at(const Cpu *cpu) {
    u32 at = linear_eip(cpu);
    return at >= HANDLERS && at < HANDLERS + 8 * 256 ? (int)(at - HANDLERS) / 8 : -1;
}

static bool is_stopped(Test *t, Machine *m) {
    u8 p[2];
    (void)t;
    return cpu_debug_read(cpu_of(m), lin(linear_eip(cpu_of(m))), p, 2) && p[0] == 0xeb && p[1] == 0xfe;
}

// jit_step() without its signal handlers, which cost more than the step; now and then the real one.
static void machine_step(Test *t, Machine *m) {
    if (t->seed % 16 == 0 || t->simd || cpu_of(m)->mode & MODE_TF) jit_step(m->jit);
    else if (!step_one(m->jit)) cpu_deliver(cpu_of(m));
}

static bool run_stepped(Test *t, Machine *m) {
    for (u32 n = 0; n < MAX_STEPS; n++) {
        if (is_stopped(t, m)) return true;
        machine_step(t, m);
        if (cpu_of(m)->shutdown) return false;
    }
    return false;
}

// ---- generating: bytes --------------------------------------------------------------------------
static Machine *maker(Test *t) { return &t->machine[0]; }
static u32 here(Test *t) { return linear_eip(cpu_of(maker(t))); }
static u32 area_offset(const Test *t, u32 linear) { return linear - t->area; }

static bool code_has_room(Test *t, u32 bytes) {
    return area_offset(t, here(t)) + bytes + 32 <= CODE_BYTES;
}

static void put_code(Test *t, u32 linear, const u8 *bytes, u32 count) {
    memcpy(t->image + area_offset(t, linear), bytes, count);
    memcpy(area_of(t, maker(t)) + area_offset(t, linear), bytes, count);
}

static void trace_add(Test *t, u32 at, unsigned length) {
    if (t->traced < MAX_TRACE) t->trace[t->traced++] = (Trace){ at, (u8)length };
}

// One step; false when it ended in a handler (the case is over).
static bool gen_step(Test *t) {
    machine_step(t, maker(t));
    t->insns++;
    if (vector_at(cpu_of(maker(t))) >= 0 || cpu_of(maker(t))->shutdown) t->done = true;
    return !t->done;
}

static bool gen_fixed(Test *t, const u8 *bytes, unsigned count) {
    if (t->done || !code_has_room(t, count)) { t->done = true; return false; }
    trace_add(t, here(t), count);
    put_code(t, here(t), bytes, count);
    return gen_step(t);
}

// mov $value, %reg32
static bool gen_mov_imm(Test *t, unsigned reg, u32 value) {
    u8 bytes[6] = { 0x66 };
    unsigned n = t->code32 ? 0 : 1;
    bytes[n] = (u8)(0xb8 + reg);
    put_le32(bytes + n + 1, value);
    return gen_fixed(t, bytes, n + 5);
}

// ---- generating: random instructions ------------------------------------------------------------
// 0F opcodes of MMX and SSE with each mandatory prefix.
static unsigned random_simd(Test *t, u8 *bytes) {
    static const u8 prefixes[4] = { 0, 0x66, 0xf2, 0xf3 };
    static const u8 from[8] = { 0x10, 0x28, 0x50, 0x60, 0x70, 0xc2, 0xd0, 0xe0 };
    unsigned n = 0, prefix = pick(t, 4);
    for (unsigned i = 0; i < ISA_MAX_BYTES; i++) bytes[i] = (u8)random_u32(t);
    if (prefix) bytes[n++] = prefixes[prefix];
    bytes[n++] = 0x0f;
    if (one_in(t, 20)) bytes[n] = 0xae;
    else bytes[n] = (u8)(from[pick(t, 8)] + pick(t, 16));
    if (!one_in(t, 3)) bytes[n + 1] |= 0xc0;                  // registers
    return n;
}

static unsigned random_bytes(Test *t, u8 *bytes) {
    for (unsigned i = 0; i < ISA_MAX_BYTES; i++) bytes[i] = (u8)random_u32(t);
    static const u8 fpu[] = { 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf };
    static const u8 segment[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
    unsigned n = 0;
    if (t->simd && one_in(t, 2)) return random_simd(t, bytes);
    if (one_in(t, 4)) bytes[n++] = 0x66;
    if (one_in(t, 12)) bytes[n++] = 0x67;
    if (one_in(t, 24)) bytes[n++] = 0xf0;
    if (one_in(t, 16)) bytes[n++] = one_in(t, 2) ? 0xf2 : 0xf3;
    if (one_in(t, 16)) bytes[n++] = segment[pick(t, 6)];
    if (one_in(t, 4)) bytes[n++] = 0x0f;
    else if (one_in(t, 16)) bytes[n++] = fpu[pick(t, 8)];
    return n;
}

static bool is_prefix(u8 b) {
    return b == 0x66 || b == 0x67 || b == 0xf0 || b == 0xf2 || b == 0xf3 || b == 0x26 || b == 0x2e ||
        b == 0x36 || b == 0x3e || b == 0x64 || b == 0x65;
}

static const IsaOperand *memory_operand(const Insn *in) {
    for (unsigned i = 0; i < in->operand_count; i++)
        if (in->op[i].kind == ISA_MEM) return &in->op[i];
    return NULL;
}

static bool left_out_everywhere(const Insn *in) {
    const IsaRow *row = isa_row(in);
    if (row->attr & (ISA_A_IO | ISA_A_PRIV | ISA_A_JUMP)) return true;
    if (row->attr & ISA_A_END && row->lifter != ISA_LIFT_INT && row->lifter != ISA_LIFT_UD &&
        row->sub != ISA_SUB_STI) return true;
    if (row->lifter == ISA_LIFT_FPU_ENV || row->lifter == ISA_LIFT_POPF) return true;
    if (row->sub == ISA_SUB_FLDCW || row->sub == ISA_SUB_RDTSC || row->sub == ISA_SUB_RDPMC) return true;
    if (row->sub == ISA_SUB_FXSAVE || row->sub == ISA_SUB_FXRSTOR) return true;           // x87 pointers
    return row->lifter == ISA_LIFT_SYSTEM || row->lifter > ISA_LIFT_SIMD_CTL;
}

static bool is_simd(const Insn *in) {
    return isa_row(in)->lifter == ISA_LIFT_SIMD || isa_row(in)->lifter == ISA_LIFT_SIMD_CTL;
}

static u32 flags_read(const Insn *in) {
    const IsaRow *row = isa_row(in);
    bool cc = row->lifter == ISA_LIFT_SETCC || row->lifter == ISA_LIFT_CMOV;
    return row->flags_read | (cc ? ir_cc_flags(isa_cc(in)) : 0);
}

static void note_flags(Test *t, const Insn *in) {
    const IsaRow *row = isa_row(in);
    u32 undefined = row->flags_undefined;
    bool shift = row->sub == ISA_SUB_SHL || row->sub == ISA_SUB_SHR || row->sub == ISA_SUB_SAL;
    if (shift && in->op[0].size < 4) undefined |= FLAG_CF;
    bool sure = !(row->attr & ISA_A_COND) && row->lifter != ISA_LIFT_SHIFT;
    if (sure) t->undefined &= ~row->flags_written;
    t->undefined |= undefined;
    t->undefined_ever |= undefined;
}

static u32 random_offset(Test *t, unsigned s) {
    if (one_in(t, 40)) return t->high[s] - pick(t, 32) + EDGE;
    if (one_in(t, 40)) return t->low[s] + (pick(t, 4) << 12) - pick(t, 10);      // over a page border
    u32 at = t->low[s] + pick(t, t->high[s] - t->low[s] - 128);
    return one_in(t, 2) ? at & ~3u : at;
}


// Puts the displacement that leads to `want`; `at` is where the ModRM byte is.
static bool place_modrm32(Test *t, u8 *bytes, unsigned at, const Insn *in, u32 want) {
    u8 modrm = bytes[at], sib = bytes[at + 1];
    Cpu *cpu = cpu_of(maker(t));
    bool absolute = one_in(t, 3);
    unsigned n = at + 1;
    if (t->frozen && !absolute) {             // in a loop: registers that stay
        bytes[at] = (u8)((modrm & 0x38) | 0x80 | (one_in(t, 2) ? CPU_ESI : CPU_EBP));
        want -= cpu->regs[bytes[at] & 7];
    } else if (absolute) {
        bytes[at] = (u8)((modrm & 0x38) | 5);
    } else {
        bytes[at] = (u8)((modrm & 0x3f) | 0x80);
        unsigned base = modrm & 7, index = sib >> 3 & 7;
        if (base == 4) {
            n++;
            base = sib & 7;
            if (index != 4) want -= cpu->regs[index] << (sib >> 6);
        }
        want -= cpu->regs[base];
    }
    (void)in;
    put_le32(bytes + n, want);
    return n + 4 <= ISA_MAX_BYTES;
}

static bool place_modrm16(Test *t, u8 *bytes, unsigned at, u32 want) {
    static const u8 first[8] = { CPU_EBX, CPU_EBX, CPU_EBP, CPU_EBP, CPU_ESI, CPU_EDI, CPU_EBP, CPU_EBX };
    static const u8 second[8] = { CPU_ESI, CPU_EDI, CPU_ESI, CPU_EDI, 8, 8, 8, 8 };
    Cpu *cpu = cpu_of(maker(t));
    u8 modrm = bytes[at];
    if (one_in(t, 3)) {
        bytes[at] = (u8)((modrm & 0x38) | 6);
    } else {
        if (t->frozen) modrm = (u8)((modrm & 0x38) | (one_in(t, 2) ? 4 : 6));       // SI, BP
        bytes[at] = (u8)((modrm & 0x3f) | 0x80);
        want -= cpu->regs[first[modrm & 7]];
        if (second[modrm & 7] < 8) want -= cpu->regs[second[modrm & 7]];
    }
    put_le16(bytes + at + 1, (u16)want);
    return true;
}

// Leads the instruction's memory operand into the data area. False: not possible.
static bool place_operand(Test *t, u8 *bytes, Insn *in) {
    unsigned at = 0;
    while (is_prefix(bytes[at])) at++;
    bool moffs = bytes[at] >= 0xa0 && bytes[at] <= 0xa3;
    at += bytes[at] == 0x0f ? 2 : 1;
    u32 want = random_offset(t, in->seg);
    if (is_simd(in) && !one_in(t, 6)) want -= (want + t->seg[in->seg].base) & 15;
    if (t->code32 && t->mode != CHECKED32 && in->addrsize == 2) return false;
    if (!moffs && bytes[at] >> 6 == 3) return true;
    if (moffs) {
        if (in->addrsize == 4) put_le32(bytes + at, want);
        else put_le16(bytes + at, (u16)want);
    } else if (in->addrsize == 4 ? !place_modrm32(t, bytes, at, in, want)
                                 : !place_modrm16(t, bytes, at, want)) {
        return false;
    }
    u16 row = in->row;
    return isa_decode(bytes, ISA_MAX_BYTES, t->code32, in) == ISA_OK && in->row == row;
}

// Pointers and counts that an instruction implies are set up by instructions before it.
static bool gen_prepare(Test *t, const Insn *in) {
    const IsaRow *row = isa_row(in);
    bool implied = row->attr & ISA_A_STRING || row->lifter == ISA_LIFT_XLAT || row->sub == ISA_SUB_MASKMOV;
    if (implied && in->addrsize == 2 && t->code32 && t->mode != CHECKED32) return false;
    bool frozen_pointers = t->frozen & (BIT(CPU_ESI) | BIT(CPU_EDI));
    if (row->attr & ISA_A_STRING) {
        if (frozen_pointers) return false;
        gen_mov_imm(t, CPU_ESI, random_offset(t, in->seg));
        gen_mov_imm(t, CPU_EDI, random_offset(t, CPU_ES));
        if (in->prefixes & (ISA_REP | ISA_REPNE)) gen_mov_imm(t, CPU_ECX, pick(t, 40));
    }
    if (row->sub == ISA_SUB_MASKMOV) {
        if (t->frozen & BIT(CPU_EDI)) return false;
        gen_mov_imm(t, CPU_EDI, random_offset(t, in->seg));
    }
    if (row->lifter == ISA_LIFT_XLAT) gen_mov_imm(t, CPU_EBX, t->low[in->seg] + pick(t, 0x400));
    if (row->lifter == ISA_LIFT_LEAVE && !(t->frozen & BIT(CPU_EBP)))
        gen_mov_imm(t, CPU_EBP, t->stack_low + pick(t, 256));
    const IsaOperand *m = memory_operand(in);
    if (row->lifter == ISA_LIFT_BT && m && in->op[1].kind == ISA_REG) {
        if (in->op[1].reg == in->base || in->op[1].reg == in->index) return false;
        if (in->op[1].reg == CPU_ESP || t->frozen >> in->op[1].reg & 1) return false;
        gen_mov_imm(t, in->op[1].reg, pick(t, 1024) - 512);
    }
    return !t->done;
}

static void undo_save(Test *t) {
    outcome_take(t, maker(t), &t->start);
    memcpy(t->undo_seg, cpu_of(maker(t))->seg, sizeof t->undo_seg);
}

static void undo(Test *t) {
    Machine *m = maker(t);
    Cpu *cpu = cpu_of(m);
    memcpy(cpu->regs, t->start.regs, sizeof cpu->regs);
    memcpy(cpu->seg, t->undo_seg, sizeof t->undo_seg);
    memcpy(area_of(t, m), t->start.area, t->area_bytes);
    __asm__ volatile("frstor %0" : : "m"(t->start.fpu));
    memcpy(cpu->xmm, t->start.xmm, sizeof cpu->xmm);
    cpu->mxcsr = t->start.mxcsr;
    cpu->eip = t->start.eip;
    cpu->cr2 = t->start.cr2;
    cpu->cpl = t->mode == FLAT3 ? 3 : 0;
    cpu_set_eflags(cpu, t->start.eflags | t->start.flags, 0xffffffff);
    cpu_update_mode(cpu);
}

static bool stack_is_good(Test *t) {
    u32 sp = cpu_of(maker(t))->regs[CPU_ESP];
    if (!(t->seg[CPU_SS].access & SEG_ACC_DB)) sp &= 0xffff;
    return sp >= t->stack_low && sp < t->stack_high;
}

static bool frozen_is_kept(Test *t) {
    for (unsigned r = 0; r < 8; r++)
        if (t->frozen >> r & 1 && cpu_of(maker(t))->regs[r] != t->start.regs[r]) return false;
    return true;
}

// Draws an instruction. False: this one is not wanted.
static bool gen_draw(Test *t, u8 *bytes, Insn *in) {
    random_bytes(t, bytes);
    IsaStatus status = isa_decode(bytes, ISA_MAX_BYTES, t->code32, in);
    if (status != ISA_OK) return !t->frozen && one_in(t, 400);
    if (left_out_everywhere(in)) return false;
    if (flags_read(in) & t->undefined) return false;
    if (memory_operand(in) && !place_operand(t, bytes, in)) return false;
    return true;
}

// One random instruction at eip, executed. Nothing happens when it is rejected.
static void gen_random(Test *t) {
    u8 bytes[ISA_MAX_BYTES];
    Insn in;
    memset(&in, 0, sizeof in);
    if (!gen_draw(t, bytes, &in)) return;
    if (in.row && !gen_prepare(t, &in)) return;
    if (!code_has_room(t, ISA_MAX_BYTES)) { t->done = true; return; }
    if (in.row && memory_operand(&in) && !place_operand(t, bytes, &in)) return;
    undo_save(t);
    u32 at = here(t);
    put_code(t, at, bytes, in.length);
    memcpy(t->start.area + area_offset(t, at), bytes, in.length);
    unsigned insns = t->insns;
    bool goes_on = gen_step(t);
    bool bad = cpu_of(maker(t))->shutdown || (goes_on ? !stack_is_good(t) || !frozen_is_kept(t)
                                                      : !one_in(t, 3));
    if (bad) {
        undo(t);
        cpu_of(maker(t))->shutdown = false;
        t->insns = insns;
        t->done = false;
        return;
    }
    trace_add(t, at, in.length);
    if (goes_on) note_flags(t, &in);
}

// ---- generating: templates ----------------------------------------------------------------------
static bool reaches_code(const Test *t) { return t->mode == FLAT0 || t->mode == FLAT3 || t->mode == REAL16; }

// inc %reg or a byte operation on registers: short, no memory, flags defined.
static unsigned filler(Test *t, u8 *p) {
    static const u8 byte_ops[] = { 0x00, 0x28, 0x88 };
    if (one_in(t, 2)) {
        p[0] = (u8)(0x40 + (one_in(t, 2) ? CPU_EAX : CPU_ECX));
        return 1;
    }
    p[0] = byte_ops[pick(t, 3)];
    p[1] = (u8)(0xc0 | pick(t, 4) << 3 | pick(t, 4));        // low byte registers
    return 2;
}

// Jcc over a few bytes that nobody runs, or runs.
static void gen_branch(Test *t) {
    u8 bytes[12] = { 0 };
    unsigned cc = pick(t, 16), n = 2;
    if (ir_cc_flags(cc) & t->undefined) return;
    if (t->frozen & BIT(CPU_ECX) && !one_in(t, 2)) return;
    bytes[0] = (u8)(0x70 + cc);
    for (unsigned k = 0; k < 3; k++) n += filler(t, bytes + n);
    bytes[1] = (u8)(n - 2);
    if (!code_has_room(t, n)) { t->done = true; return; }
    trace_add(t, here(t), n);
    u32 end = here(t) + n;
    put_code(t, here(t), bytes, n);
    while (here(t) != end && gen_step(t)) {}
    t->undefined = t->undefined_ever;         // the fillers may have run or not
}

// jmp over; f: fillers, ret; over: call f, directly or through a register
static void gen_call(Test *t) {
    u8 bytes[32];
    unsigned n = 2, body;
    bool indirect = one_in(t, 2) && !(t->frozen & BIT(CPU_EDX));
    body = n;
    for (unsigned k = pick(t, 3); k > 0; k--) n += filler(t, bytes + n);
    bytes[n++] = 0xc3;
    bytes[0] = 0xeb;
    bytes[1] = (u8)(n - 2);
    u32 f = cpu_of(maker(t))->eip + body;
    if (indirect) {
        if (!t->code32) bytes[n++] = 0x66;
        bytes[n++] = 0xb8 + CPU_EDX;
        put_le32(bytes + n, f);
        n += 4;
        bytes[n++] = 0xff;
        bytes[n++] = 0xd0 + CPU_EDX;
    } else {
        unsigned size = t->code32 ? 4 : 2;
        bytes[n] = 0xe8;
        u32 rel = body - (n + 1 + size);
        if (t->code32) put_le32(bytes + n + 1, rel);
        else put_le16(bytes + n + 1, (u16)rel);
        n += 1 + size;
    }
    if (!code_has_room(t, n)) { t->done = true; return; }
    trace_add(t, here(t), n);
    u32 end = here(t) + n;
    put_code(t, here(t), bytes, n);
    while (here(t) != end && gen_step(t)) {}
}

// Store of an immediate or of AL over the immediate of a MOV that follows: fillers, maybe a jump between.
static void gen_patch(Test *t) {
    u8 bytes[48];
    unsigned n = 0, between = pick(t, 4);
    bool dma = one_in(t, 4) && !t->dma_used, from_al = one_in(t, 2);
    if (!dma && !reaches_code(t)) return;
    unsigned where = 0, size = t->code32 ? 4 : 2;
    if (dma) {
        bytes[n++] = 0xe6;
        bytes[n++] = DMA_PORT;
    } else {
        if (t->mode == REAL16) bytes[n++] = 0x2e;
        bytes[n++] = from_al ? 0xa2 : 0xc6;
        if (!from_al) bytes[n++] = t->code32 ? 5 : 6;
        where = n;
        n += size;
        if (!from_al) bytes[n++] = (u8)random_u32(t);
    }
    for (unsigned k = 0; k < between; k++) n += filler(t, bytes + n);
    if (dma || one_in(t, 3)) { bytes[n++] = 0xeb; bytes[n++] = 0; }
    if (!(t->frozen & BIT(CPU_EBX)) && one_in(t, 2)) bytes[n++] = 0xb8 + CPU_EBX;
    else bytes[n++] = 0xb8 + CPU_EAX;
    u32 target = cpu_of(maker(t))->eip + n + pick(t, size);
    put_le32(bytes + n, random_u32(t));
    n += size;
    if (!code_has_room(t, n)) { t->done = true; return; }
    if (where) { if (t->code32) put_le32(bytes + where, target); else put_le16(bytes + where, (u16)target); }
    if (dma) {
        t->dma_used = true;
        u32 linear = target + t->seg[CPU_CS].base;
        for (unsigned k = 0; k < MACHINES; k++)
            t->machine[k].dma_at = t->area_phys + area_offset(t, linear);
    }
    trace_add(t, here(t), n);
    u32 end = here(t) + n;
    put_code(t, here(t), bytes, n);
    while (here(t) != end && gen_step(t)) {}
}

// In real mode: a data segment register gets a new value.
static void gen_segment(Test *t) {
    static const u8 modrm[] = { 0xc0, 0xd8, 0xe0, 0xe8 };    // ES DS FS GS from AX
    u8 bytes[5] = { 0xb8, 0, 0, 0x8e, modrm[pick(t, 4)] };
    if (t->mode != REAL16 || t->frozen) return;
    put_le16(bytes + 1, (u16)((LOW + DATA) / 16 + pick(t, 0x80)));
    gen_fixed(t, bytes, 3);
    gen_fixed(t, bytes + 3, 2);
}

// Any general register but ESP that may change.
static unsigned free_register(Test *t) {
    unsigned r;
    do r = pick(t, 8); while (r == CPU_ESP || t->frozen >> r & 1);
    return r;
}

// push, push, ..; changes of registers; pop, pop, ..: what has been stored is loaded again.
static void gen_frame(Test *t) {
    unsigned count = 1 + pick(t, 3), prefix = one_in(t, 4);
    u8 bytes[4] = { 0x66 };
    for (unsigned k = 0; k < count; k++) {
        bytes[prefix] = (u8)(0x50 + pick(t, 8));
        if (!gen_fixed(t, bytes, prefix + 1)) return;
    }
    for (unsigned k = pick(t, 4); k > 0; k--) {
        bytes[prefix] = 0x89;                                // mov %reg, %reg
        bytes[prefix + 1] = (u8)(0xc0 | pick(t, 8) << 3 | free_register(t));
        unsigned n = one_in(t, 2) ? prefix + 2 : filler(t, bytes);
        if (!gen_fixed(t, bytes, n)) return;
        bytes[0] = 0x66;
    }
    for (unsigned k = 0; k < count; k++) {
        bytes[prefix] = (u8)(0x58 + free_register(t));
        if (!gen_fixed(t, bytes, prefix + 1)) return;
    }
}

static void gen_piece(Test *t) {
    switch (pick(t, 40)) {
    case 0: case 1: gen_branch(t); break;
    case 2: gen_call(t); break;
    case 3: gen_patch(t); break;
    case 4: gen_segment(t); break;
    case 5: case 6: gen_frame(t); break;
    default: gen_random(t); break;
    }
}

// counter = n; do { body } while (--counter): ESI, EBP, EDI and ESP stay what they are in the body.
static void gen_loop(Test *t) {
    u32 n = one_in(t, 60) ? 3000 : 1 + pick(t, 12);
    u8 bytes[8];
    if (!gen_mov_imm(t, CPU_EDI, n)) return;
    if (!gen_mov_imm(t, CPU_ESI, random_offset(t, CPU_DS) & 0xfffffffc)) return;
    u32 top = cpu_of(maker(t))->eip;
    t->frozen = BIT(CPU_ESI) | BIT(CPU_EBP) | BIT(CPU_EDI) | BIT(CPU_ESP);
    u32 end = t->insns + 2 + pick(t, 10);
    for (unsigned k = 0; k < 400 && t->insns < end && !t->done; k++) gen_piece(t);
    t->frozen = 0;
    if (t->done) return;
    if (t->undefined & FLAG_CF) gen_fixed(t, (const u8 *)"\xf8", 1);
    gen_fixed(t, (const u8 *)"\x4f", 1);                     // dec %edi (di: the upper half is 0)
    t->undefined = 0;
    unsigned size = t->code32 ? 4 : 2;
    bytes[0] = 0x0f;
    bytes[1] = 0x85;
    u32 rel = top - (cpu_of(maker(t))->eip + 2 + size);
    put_le32(bytes + 2, rel);
    u32 after = here(t) + 2 + size;
    if (!gen_fixed(t, bytes, 2 + size)) return;
    for (u32 k = 0; k < MAX_STEPS && here(t) != after && !t->done; k++) gen_step(t);
    if (here(t) != after && vector_at(cpu_of(maker(t))) < 0) t->endless = true;
    if (here(t) != after) t->done = true;
    t->undefined = t->undefined_ever;
}

static void generate(Test *t) {
    u8 stop[STOP_BYTES];
    t->undefined = t->undefined_ever = 0;
    t->frozen = 0;
    t->done = t->endless = t->dma_used = false;
    t->traced = t->insns = 0;
    for (unsigned k = 0; k < MACHINES; k++) t->machine[k].dma_at = 0;
    machine_start(t, maker(t));
    for (unsigned k = 0; k < 2000 && t->insns < t->limit && !t->done; k++) {
        if (one_in(t, 60)) gen_loop(t);
        else gen_piece(t);
    }
    if (vector_at(cpu_of(maker(t))) >= 0) return;
    t->done = false;
    while (here(t) % PAGE_BYTES > PAGE_BYTES - STOP_BYTES && gen_fixed(t, (const u8 *)"\x90", 1)) {}
    if (vector_at(cpu_of(maker(t))) >= 0) return;
    put_stop(stop);
    u32 at = here(t);
    if (area_offset(t, at) + STOP_BYTES <= CODE_BYTES) put_code(t, at, stop, STOP_BYTES);
}

// ---- arranging ----------------------------------------------------------------------------------
static CpuSeg segment(u32 selector, u32 base, u32 limit, u32 access) {
    return (CpuSeg){ .selector = (u16)selector, .base = base, .limit = limit, .access = (u16)access };
}

static void arrange_flat(Test *t, u32 code, u32 data) {
    u32 dpl = t->mode == FLAT3 ? 0x60 : 0;
    for (unsigned s = 0; s < 6; s++) {
        t->seg[s] = segment(s == CPU_CS ? code : data, 0, 0xffffffff, (s == CPU_CS ? 0xc09b : 0xc093) | dpl);
        t->low[s] = HIGH + DATA;
        t->high[s] = HIGH + HIGH_BYTES;
    }
    t->stack_low = HIGH + 0x6000;
    t->stack_high = HIGH + 0x7800;
}

static void arrange_limited(Test *t) {
    t->seg[CPU_CS] = segment(SEL_CODE_LIMITED, HIGH, CODE_BYTES - 1, 0x409b);
    t->seg[CPU_SS] = segment(SEL_STACK_LIMITED, HIGH + DATA, 0x3fff, 0x4093);
    t->seg[CPU_DS] = segment(SEL_DATA_LIMITED, HIGH + DATA, 0x2fff, 0x4093);
    t->seg[CPU_ES] = segment(SEL_EXTRA, HIGH + DATA + 8, 0xfff, 0x4093);
    t->seg[CPU_FS] = segment(SEL_RO, HIGH, 0xffffffff, 0xc091);
    t->seg[CPU_GS] = segment(SEL_GROWS_DOWN, HIGH + DATA, 0x0fff, 0x4097);
    for (unsigned s = 0; s < 6; s++) { t->low[s] = 0; t->high[s] = t->seg[s].limit + 1; }
    t->low[CPU_FS] = DATA;
    t->high[CPU_FS] = HIGH_BYTES;
    t->low[CPU_GS] = 0x1000;
    t->high[CPU_GS] = 0x4000;
    t->stack_low = 0x3000;
    t->stack_high = 0x4000;
}

static void arrange_16(Test *t) {
    for (unsigned s = 0; s < 6; s++) {
        t->seg[s] = s == CPU_CS ? segment(SEL_CODE_16, HIGH, 0xffff, 0x9b)
            : segment(SEL_DATA_16, HIGH + DATA, 0xffff, 0x93);
        t->low[s] = 0;
        t->high[s] = 0x4000;
    }
    t->stack_low = 0x3000;
    t->stack_high = 0x3f00;
}

static void arrange_real(Test *t) {
    for (unsigned s = 0; s < 6; s++) {
        u32 selector = s == CPU_CS ? LOW >> 4 : (LOW + DATA) / 16 + pick(t, 0x80);
        t->seg[s] = segment(selector, selector << 4, 0xffff, s == CPU_CS ? 0x9b : 0x93);
        t->low[s] = s == CPU_CS ? DATA : 0;
        t->high[s] = 0x10000;
    }
    t->stack_low = 0x1000;
    t->stack_high = 0xff00;
}

static void arrange_pages(Test *t) {
    for (u32 i = 0; i < HIGH_BYTES >> 12; i++) {
        t->page_rights[i] = 7;
        bool data = i == 4 || i == 5;
        if (data && one_in(t, 8)) t->page_rights[i] = 6;
        if (data && one_in(t, 8)) t->page_rights[i] = 5;
    }
    t->page_rights[3] = 6;
    if (one_in(t, 4)) t->page_rights[2] = 6;
}

// Floats and doubles of moderate size, corners, any bits; sometimes an exception is not masked.
static void arrange_simd(Test *t) {
    static const u32 corners[] = { 0, 0x80000000, 0x3f800000, 0x00000001, 0x7f800000, 0x7fc00000, 0x7f800001,
                                   0x3ff00000, 0x7ff00000, 0xfff80000, 0x00100000, 0x7fefffff };
    t->simd = one_in(t, 2);
    t->cr4 = one_in(t, 40) ? 0 : one_in(t, 20) ? 0x200 : 0x600;
    t->mxcsr = 0x1f80 | (one_in(t, 3) ? pick(t, 4) << 13 : 0) | (one_in(t, 6) ? 0x8040 : 0);
    if (t->simd && one_in(t, 6)) t->mxcsr &= ~(pick(t, 64) << 7);
    for (u32 i = 0; i < sizeof t->xmm; i += 4) {
        u32 v = one_in(t, 3) ? corners[pick(t, ARRAY_LEN(corners))] : one_in(t, 2) ? random_u32(t)
            : 0x3f800000 + (random_u32(t) & 0x8fffff);
        put_le32(t->xmm + i, v);
    }
}

static void arrange(Test *t, u64 seed, unsigned limit) {
    t->seed = seed;
    t->random = seed * 0x5851f42d4c957f2du;
    t->mode = (GuestMode)pick(t, MODES);
    t->variant = 1 + pick(t, MACHINES - 1);
    t->limit = 3 + pick(t, 28);
    if (limit && limit < t->limit) t->limit = limit;
    t->code32 = t->mode <= CHECKED32;
    t->area = t->mode == REAL16 ? LOW : HIGH;
    t->area_phys = t->mode == REAL16 ? LOW : HIGH_PHYS;
    t->area_bytes = t->mode == REAL16 ? LOW_BYTES : HIGH_BYTES;
    if (t->mode == FLAT0) arrange_flat(t, SEL_CODE0, SEL_DATA0);
    else if (t->mode == FLAT3) arrange_flat(t, SEL_CODE3, SEL_DATA3);
    else if (t->mode == CHECKED32) arrange_limited(t);
    else if (t->mode == CHECKED16) arrange_16(t);
    else arrange_real(t);
    arrange_pages(t);
    arrange_simd(t);
    for (u32 i = 0; i < t->area_bytes; i += 4) put_le32(t->image + i, random_u32(t));
    memset(t->image, 0xcc, CODE_BYTES);
    for (unsigned r = 0; r < 8; r++) t->regs[r] = random_value(t);
    u32 room = min_u32(t->stack_high - t->stack_low, 0x1000);
    t->regs[CPU_ESP] = t->stack_low + room / 2 + pick(t, room / 4);
    if (!one_in(t, 4)) t->regs[CPU_ESP] &= ~3u;
    if (one_in(t, 2)) t->regs[CPU_EBP] = t->regs[CPU_ESP] + 16;
    t->eflags = (random_u32(t) & (FLAG_OSZAPC | (one_in(t, 6) ? FLAG_DF : 0))) | FLAG_IF | 2;
    if (t->mode == FLAT3) t->eflags |= FLAG_IOPL;
    u32 start = one_in(t, 2) ? 0xfff - pick(t, 60) : one_in(t, 4) ? 0x1ff0 - pick(t, 40) : pick(t, 0x800);
    t->eip = t->area + start - t->seg[CPU_CS].base;
}

// ---- comparing ----------------------------------------------------------------------------------
// Flags in an exception's frame may be undefined ones: taken from the other side.
static void mask_frame(Test *t, const Outcome *from, Outcome *o, int vector) {
    bool error = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
    Cpu *cpu = cpu_of(maker(t));
    u32 size = t->mode == REAL16 ? 2 : 4;
    u32 sp = t->mode == REAL16 || !(cpu->seg[CPU_SS].access & SEG_ACC_DB) ? from->regs[CPU_ESP] & 0xffff
        : from->regs[CPU_ESP];
    u32 at = cpu->seg[CPU_SS].base + sp + (error && size == 4 ? 3 : 2) * size - t->area;
    if (at + 4 > t->area_bytes) return;
    u16 mask = (u16)t->undefined_ever;
    put_le16(o->area + at, (u16)((get_le16(o->area + at) & ~mask) | (get_le16(from->area + at) & mask)));
}

static const char *compare(Test *t, const Outcome *a, const Outcome *b) {
    if (a->eip != b->eip) return "eip";
    if (memcmp(a->regs, b->regs, sizeof a->regs)) return "registers";
    if ((a->flags ^ b->flags) & ~t->undefined) return "flags";
    if (a->eflags != b->eflags) return "eflags";
    if (a->cr2 != b->cr2) return "cr2";
    if (memcmp(a->selector, b->selector, sizeof a->selector)) return "selectors";
    if (memcmp(a->area, b->area, t->area_bytes)) return "memory";
    if (memcmp(a->fpu, b->fpu, sizeof a->fpu)) return "x87";
    if (memcmp(a->xmm, b->xmm, sizeof a->xmm)) return "xmm";
    if (a->mxcsr != b->mxcsr) return "mxcsr";
    return NULL;
}

static void show_outcome(const char *name, const Outcome *o) {
    fprintf(stderr, "%-9s eip %08x flags %03x eflags %08x cr2 %08x cs %04x\n         ", name, o->eip, o->flags,
            o->eflags, o->cr2, o->selector[CPU_CS]);
    for (unsigned r = 0; r < 8; r++) fprintf(stderr, " %08x", o->regs[r]);
    fprintf(stderr, "\n");
}

static void show_code(Test *t) {
    for (unsigned i = 0; i < t->traced; i++) {
        u32 at = area_offset(t, t->trace[i].at), done = 0;
        while (done < t->trace[i].length) {
            Insn in;
            char text[128] = "(bad)";
            const u8 *p = t->image + at + done;
            if (isa_decode(p, ISA_MAX_BYTES, t->code32, &in) == ISA_OK)
                isa_format(&in, t->trace[i].at + done - t->seg[CPU_CS].base, ISA_ATT, text, sizeof text);
            else in.length = t->trace[i].length;
            fprintf(stderr, "  %08x: ", t->trace[i].at + done);
            for (unsigned k = 0; k < in.length; k++) fprintf(stderr, "%02x ", p[k]);
            fprintf(stderr, "%*s%s\n", in.length < 10 ? 30 - 3 * in.length : 0, "", text);
            done += in.length;
        }
    }
}

static void show_dump_line(Test *t) {
    fprintf(stderr, "glassbox dump --bytes '");
    for (unsigned i = 0; i < t->traced; i++)
        for (unsigned k = 0; k < t->trace[i].length; k++)
            fprintf(stderr, "%02x ", t->image[area_offset(t, t->trace[i].at) + k]);
    fprintf(stderr, "'\nreproduce: SEED=%llu build/tests/test_guest\n", (unsigned long long)t->seed);
}

static void show_failure(Test *t, const char *what) {
    fprintf(stderr, "\n%s differ: SEED=%llu, %s, %s, limit %u; undefined flags %03x\n", what,
            (unsigned long long)t->seed, mode_names[t->mode],
            variant_names[t->variant], t->limit, t->undefined);
    show_code(t);
    fprintf(stderr, "start     flags %08x\n         ", t->eflags);
    for (unsigned r = 0; r < 8; r++) fprintf(stderr, " %08x", t->regs[r]);
    fprintf(stderr, "\n");
    show_outcome("eval", &t->expected);
    show_outcome("jit", &t->got);
    for (u32 i = 0, n = 0; i < t->area_bytes && n < 16; i++)
        if (t->expected.area[i] != t->got.area[i]) {
            fprintf(stderr, "  %08x: start %02x eval %02x, %s %02x\n", t->area + i, t->image[i],
                    t->expected.area[i], "jit", t->got.area[i]);
            n++;
        }
    show_dump_line(t);
}

// ---- cases --------------------------------------------------------------------------------------
static const char *run_translated(Test *t, int vector) {
    Machine *m = &t->machine[t->variant];
    machine_start(t, m);
    JitEnd end = jit_run(m->jit);
    outcome_take(t, m, &t->got);
    if (end != JIT_END_STOP || m->stops != 1) return "ends";
    if (vector >= 0) mask_frame(t, &t->expected, &t->got, vector);
    return compare(t, &t->expected, &t->got);
}

static const char *case_run(Test *t, u64 seed, unsigned limit) {
    arrange(t, seed, limit);
    generate(t);
    if (t->endless) { t->skipped++; return NULL; }
    machine_start(t, maker(t));
    if (!run_stepped(t, maker(t)) || !maker(t)->stops) { t->skipped++; return NULL; }
    int vector = vector_at(cpu_of(maker(t)));
    if (vector >= 0) t->undefined = t->undefined_ever;
    bus_clear_request(maker(t)->c->bus, BUS_REQ_STOP);
    outcome_take(t, maker(t), &t->expected);
    const char *bad = run_translated(t, vector);
    t->cases[t->mode]++;
    if (vector >= 0) t->faults[vector]++;
    return bad;
}

static void case_fail(Test *t, u64 seed) {
    for (unsigned limit = 1; limit < 40; limit++) {
        const char *bad = case_run(t, seed, limit);
        if (!bad) continue;
        show_failure(t, bad);
        fail();
    }
    show_failure(t, "only once: results");
    fail();
}

static u64 env_number(const char *name, u64 other) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : other;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void on_signal(int number) {
    Test *t = signal_test;
    signal(number, SIG_DFL);
    fprintf(stderr, "\nsignal %d: SEED=%llu, %s, %s, limit %u\n", number, (unsigned long long)t->seed,
            mode_names[t->mode], variant_names[t->variant], t->limit);
    show_code(t);
    show_dump_line(t);
    raise(number);
}

static void test_random_guest_code(void **state) {
    Test *t = *state;
    u64 first = env_number("SEED", 1), count = env_number("N", getenv("SEED") ? 1 : 100000), i;
    double start = seconds();
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    signal(SIGILL, on_signal);
    signal(SIGALRM, on_signal);
    for (i = 0; i < count; i++) {
        if (i % 256 == 0) alarm(30);          // a case that does not stop is found
        if (case_run(t, first + i, 0)) case_fail(t, first + i);
        if (!getenv("N") && seconds() - start > 8) break;
    }
    alarm(0);
    print_message("%llu cases (", (unsigned long long)i);
    for (unsigned m = 0; m < MODES; m++) print_message("%s %u, ", mode_names[m], t->cases[m]);
    print_message("skipped %u), exceptions:", t->skipped);
    for (unsigned v = 0; v < 20; v++) if (t->faults[v]) print_message(" %u:%u", v, t->faults[v]);
    print_message("\n");
}

// ---- programs -----------------------------------------------------------------------------------
// Written by hand: they run on all machines and must end as stated and the same.
typedef struct Program {
    GuestMode mode;
    u32 at;                                   // offset in the area of the first byte
    u32 regs[8];
    u32 eflags;                               // added to the usual ones
    u32 cr0;                                  // bits added
    u32 page_rights[HIGH_BYTES >> 12];        // 0: present, writable
    struct { u32 at, count; const char *bytes; } part[4];     // more memory
} Program;

static void program_arrange(Test *t, const Program *p) {
    arrange(t, 16, 0);                        // 16: real steps
    t->mode = p->mode;
    t->dma_used = false;
    t->code32 = true;
    t->area = HIGH;
    t->area_phys = HIGH_PHYS;
    t->area_bytes = HIGH_BYTES;
    arrange_flat(t, p->mode == FLAT3 ? SEL_CODE3 : SEL_CODE0, p->mode == FLAT3 ? SEL_DATA3 : SEL_DATA0);
    for (u32 i = 0; i < HIGH_BYTES >> 12; i++) t->page_rights[i] = p->page_rights[i] ? p->page_rights[i] : 7;
    memset(t->image, 0xcc, sizeof t->image);
    for (unsigned i = 0; i < ARRAY_LEN(p->part); i++)
        if (p->part[i].count) memcpy(t->image + p->part[i].at, p->part[i].bytes, p->part[i].count);
    memcpy(t->regs, p->regs, sizeof t->regs);
    t->eflags = p->eflags | 2 | (p->mode == FLAT3 ? FLAG_IOPL : 0);
    t->eip = HIGH + p->at;
    t->undefined = t->undefined_ever = 0;
    t->traced = t->insns = 0;
    t->cr0 = p->cr0;
}

// Ends in the handler of `vector`, or (-1) at its own stop.
static void program_run(Test *t, const Program *p, int vector) {
    program_arrange(t, p);
    machine_start(t, maker(t));
    assert_true(run_stepped(t, maker(t)));
    bus_clear_request(maker(t)->c->bus, BUS_REQ_STOP);
    outcome_take(t, maker(t), &t->expected);
    if (vector_at(cpu_of(maker(t))) != vector) show_outcome("eval", &t->expected);
    assert_int_equal(vector_at(cpu_of(maker(t))), vector);
    for (t->variant = 1; t->variant < MACHINES; t->variant++) {
        const char *bad = run_translated(t, -1);
        if (!bad) continue;
        show_failure(t, bad);
        fail();
    }
    t->cr0 = 0;
}

#define PART(at_, bytes_) { at_, sizeof(bytes_) - 1, bytes_ }
#define STOP "\xe6\xf0\xeb\xfe"

// A helper (PUSHA) overwrites the instructions after itself: NOPs become INC EAX, and a jump.
static void test_helper_overwrites_block(void **state) {
    static const Program p = {
        .regs = { 0, 0, 0, 0, 0, 0x909026eb, 0x90909090, 0x90904090 },
        .part = { PART(0, "\xbc\x40\x00\x00\x20"          // mov $HIGH+0x40, %esp
                          "\x60"                             // pusha: stores 0x20..0x3f
                          "\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90"
                          "\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90"
                          "\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90"
                          STOP),
                  PART(0x50, STOP) },
    };
    program_run(*state, &p, -1);
    assert_int_equal(((Test *)*state)->expected.regs[CPU_EAX], 1);
}

// Flags live across a jump whose target was translated when they were dead, and is another page now.
static void test_flags_over_remapped_page(void **state) {
    static const Program p = {
        .at = 0xff0,
        .part = { PART(0xff0, "\xf9\xe9\x0a\x01\x00\x00"    // stc; jmp HIGH+0x1100
                              "\x90\x90"),
                  // xor %eax,%eax; mov $entry of page 2, %eax; mov %eax, PT2[1]; mov %cr3, %eax; mov %eax, %cr3
                  PART(0x1100, "\x31\xc0\xb8\x07\x20\x20\x00\xa3\x04\x60\x00\x00"
                               "\x0f\x20\xd8\x0f\x22\xd8"),
                  // page 2 at 0x100: setc %bl; stop. At 0x112: jmp HIGH+0xff0
                  PART(0x2100, "\x0f\x92\xc3" STOP "\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc"
                               "\xe9\xd9\xfe\xff\xff") },
    };
    program_run(*state, &p, -1);
    assert_int_equal(((Test *)*state)->expected.regs[CPU_EBX], 1);
}

// An instruction over a page border whose second page becomes another one.
static void test_crossing_remapped_page(void **state) {
    static const Program p = {
        .at = 0xffe,
        .part = { PART(0xffe, "\xb8\x11\x22\x33\x44"         // mov $, %eax: 2 bytes here, 3 there
                              "\x85\xdb\x75\x30"             // test %ebx, %ebx; jne +0x30
                              "\xbb\x07\x20\x20\x00\x89\x1d\x04\x60\x00\x00"
                              "\x0f\x20\xda\x0f\x22\xda"     // remap page 1 to page 2
                              "\xe9\xe2\xff\xff\xff"),       // (from page 2) jmp HIGH+0xffe
                  PART(0x2000, "\x55\x66\x77\x85\xdb\x75\x30"
                               "\xbb\x07\x20\x20\x00\x89\x1d\x04\x60\x00\x00"
                               "\x0f\x20\xda\x0f\x22\xda\xe9\xe1\xff\xff\xff"),
                  PART(0x2037, STOP) },
    };
    program_run(*state, &p, -1);
    assert_int_equal(((Test *)*state)->expected.regs[CPU_EAX], 0x77665511);
}

// Alignment checks: #AC for an unaligned access inside a page, in a loop that has run aligned before.
static void test_alignment_check(void **state) {
    static const Program p = {
        .mode = FLAT3, .cr0 = BIT(18), .eflags = FLAG_AC,
        .regs = { [CPU_ESI] = HIGH + DATA, [CPU_ESP] = HIGH + 0x7000 },
        .part = { PART(0, "\x8b\x06\x8b\x5e\x04"              // mov (%esi), %eax; mov 4(%esi), %ebx
                          "\x83\xfb\x01\x46\xeb\xf5") },       // cmp $1, %ebx; inc %esi; jmp
    };
    program_run(*state, &p, VEC_AC);
    assert_int_equal(((Test *)*state)->expected.regs[CPU_ESI], HIGH + DATA + 1);
}

// The trap flag: #DB after the instruction that follows POPF.
static void test_single_step_trap(void **state) {
    static const Program p = {
        .regs = { [CPU_ESP] = HIGH + 0x7000 },
        .part = { PART(0, "\x9c\x81\x0c\x24\x00\x01\x00\x00\x9d\x41\x42" STOP) },
    };
    program_run(*state, &p, VEC_DB);
    assert_int_equal(((Test *)*state)->expected.regs[CPU_ECX], 1);
    assert_int_equal(((Test *)*state)->expected.regs[CPU_EDX], 0);
}

// x87: an unmasked division by zero is reported at the next waiting instruction, with the flags of then.
static void test_x87_exception(void **state) {
    static const Program p = {
        .regs = { [CPU_ESP] = HIGH + 0x7000 },
        .part = { PART(0, "\x68\x7b\x03\x00\x00\xd9\x2c\x24"   // push $0x37b; fldcw (%esp)
                          "\xd9\xe8\xd9\xee\xde\xf9"            // fld1; fldz; fdivp
                          "\xdf\xe0\x83\xf8\x7f\x40"            // fnstsw %ax; cmp $0x7f, %eax; inc %eax
                          "\xd9\xe8" STOP) },
    };
    program_run(*state, &p, VEC_MF);
}

// A store whose exception is unmasked stores nothing: also over a page border.
static void test_x87_store_exception(void **state) {
    static const Program p = {
        .regs = { [CPU_ESP] = HIGH + 0x7000, [CPU_EBX] = HIGH + 0x5ffe },
        .part = { PART(0, "\x68\x77\x03\x00\x00\xd9\x2c\x24"   // push $0x377; fldcw (%esp)
                          "\xdd\x05\x00\x40\x00\x20"            // fldl: 2^1000
                          "\xd9\x1b\xdb\xe2" STOP),              // fstps (%ebx); fnclex
                  PART(0x4000, "\0\0\0\0\0\0\x70\x7e") },
    };
    Test *t = *state;
    program_run(t, &p, -1);
    assert_int_equal(get_le32(t->expected.area + 0x5ffe), 0xcccccccc);
}

static int test_setup(void **state) {
    Test *t = calloc(1, sizeof *t);
    for (unsigned k = 0; k < MACHINES; k++)
        if (!machine_open(&t->machine[k], &variants[k])) return 1;
    signal_test = t;
    *state = t;
    return 0;
}

static int test_teardown(void **state) {
    Test *t = *state;
    for (unsigned k = 0; k < MACHINES; k++) machine_close(&t->machine[k]);
    free(t);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_helper_overwrites_block), cmocka_unit_test(test_flags_over_remapped_page),
        cmocka_unit_test(test_crossing_remapped_page), cmocka_unit_test(test_alignment_check),
        cmocka_unit_test(test_single_step_trap), cmocka_unit_test(test_x87_exception),
        cmocka_unit_test(test_x87_store_exception),
        cmocka_unit_test(test_random_guest_code),
    };
    return cmocka_run_group_tests_name("guest", tests, test_setup, test_teardown);
}
