// SPDX-License-Identifier: MIT
// The area's program in a glassbox machine: see guest.h.
//
//     physical    0x1000 GDT | 0x2000 IDT | 0x3000 TSS | 0x3200 LDT | 0x4000 page tables (PDPT, two directories,
//                 table of the area) | 0x9000 handlers | 0xb000 kernel stack's top | 0xc000 the handlers' TSSs
//                 (CPL 0) | 0x400000 area
//     linear      KERNEL + physical, supervisor only; AREA
#include "guest.h"

#include "jit/jit_int.h"
#include "testbus.h"

#include "cpu/cpu_int.h"
#include "cpu/helpers.h"
#include "cpu/mmu.h"

#include <string.h>

enum { AT_GDT = 0x1000, AT_IDT = 0x2000, AT_TSS = 0x3000, AT_LDT = 0x3200, AT_PDPT = 0x4000, AT_PD_AREA = 0x5000,
       AT_PD_KERNEL = 0x6000, AT_PT = 0x7000, AT_HANDLERS = 0x9000, AT_STACK_TOP = 0xb000, AT_TASKS = 0xc000,
       AT_AREA = 0x400000 };
enum { SEL_KERNEL_CODE = 0x08, SEL_KERNEL_DATA = 0x10, SEL_TSS = 0x40, SEL_LDT_ITSELF = 0x50, SEL_TASKS = 0x100,
       GDT_LIMIT = 0x7f };
// Of a TSS.
enum { TSS_BYTES = 0x68, TSS_CR3 = 0x1c, TSS_EIP = 0x20, TSS_EFLAGS = 0x24, TSS_REGS = 0x28, TSS_SEGS = 0x48 };
enum { RAM_BYTES = 8 << 20, STOP_PORT = 0xf0, VECTORS = 256, TASKS = 32, MSR_EFER_NXE = 0x800 };
#define CR0 0x80050033u                      // PG AM WP NE ET MP PE

struct Machine {
    TestBus t;
    Cpu *cpu;
    Jit *jit;
    unsigned cpl;                             // of programs
    CpuSeg ldt[SEGMENT_COUNT], code, data;    // segment registers as the descriptors load them
};

Cpu *machine_cpu(Machine *m) { return m->cpu; }
u8 *machine_area(Machine *m) { return bus_ram(m->t.bus) + AT_AREA; }
static u8 *machine_at(Machine *m, u32 phys) { return bus_ram(m->t.bus) + phys; }

// ---- tables ---------------------------------------------------------------------------------------
// access: bits 8-15 and 20-23 of a descriptor's high word, as in CpuSeg.
static void put_descriptor(Machine *m, u32 at, u32 base, u32 limit, u32 access) {
    put_le32(machine_at(m, at), (limit & 0xffff) | base << 16);
    put_le32(machine_at(m, at + 4), (base >> 16 & 0xff) | access << 8 | (limit & 0xf0000) | (base & 0xff000000));
}

static u32 segment_access(const Segment *s) {
    u32 kind = s->kind == SEGMENT_CODE ? 8 : s->kind == SEGMENT_DOWN ? 4 : 0;
    return kind | 0x71 | (u32)!s->restricted << 1 | (u32)!s->absent << 7 | (u32)s->wide << 14 | (u32)s->pages << 15;
}

static void machine_segment(Machine *m, unsigned index) {
    const Segment *s = &area_segments[index];
    u32 access = segment_access(s);
    put_descriptor(m, AT_LDT + 8 * index, s->base, s->limit, access);
    m->ldt[index] = (CpuSeg){ .base = s->base, .limit = s->pages ? s->limit << 12 | 0xfff : s->limit,
                              .selector = SEL_LDT(index), .access = (u16)access };
}

static void machine_descriptors(Machine *m) {
    put_descriptor(m, AT_GDT + SEL_KERNEL_CODE, 0, 0xfffff, 0xc09b);
    put_descriptor(m, AT_GDT + SEL_KERNEL_DATA, 0, 0xfffff, 0xc093);
    put_descriptor(m, AT_GDT + (SEL_USER_CODE & ~7u), 0, 0xfffff, 0xc0fb);
    put_descriptor(m, AT_GDT + (SEL_USER_DATA & ~7u), 0, 0xfffff, 0xc0f3);
    put_descriptor(m, AT_GDT + (SEL_USER_CODE64 & ~7u), 0, 0xfffff, 0xa0fb);
    put_descriptor(m, AT_GDT + SEL_TSS, KERNEL + AT_TSS, 0x67, 0x8b);
    put_descriptor(m, AT_GDT + SEL_LDT_ITSELF, KERNEL + AT_LDT, 8 * SEGMENT_COUNT - 1, 0x82);
    for (unsigned i = 0; i < SEGMENT_COUNT; i++) machine_segment(m, i);
    m->code = (CpuSeg){ .limit = 0xffffffff, .selector = SEL_USER_CODE, .access = 0xc0fb };
    m->data = (CpuSeg){ .limit = 0xffffffff, .selector = SEL_USER_DATA, .access = 0xc0f3 };
    put_le32(machine_at(m, AT_TSS + 4), KERNEL + AT_STACK_TOP);
    put_le32(machine_at(m, AT_TSS + 8), SEL_KERNEL_DATA);
    put_le16(machine_at(m, AT_TSS + 0x66), 0x68);
}

// Each handler stops the machine: out %al, $STOP_PORT; hlt. INT 3 and INTO may be called by anyone.
static void machine_vectors(Machine *m) {
    for (u32 v = 0; v < VECTORS; v++) {
        u32 handler = KERNEL + AT_HANDLERS + 8 * v, dpl = v == 3 || v == 4 ? 0x60 : 0;
        memcpy(machine_at(m, AT_HANDLERS + 8 * v), "\xe6\xf0\xf4", 3);
        put_le32(machine_at(m, AT_IDT + 8 * v), SEL_KERNEL_CODE << 16 | (handler & 0xffff));
        put_le32(machine_at(m, AT_IDT + 8 * v + 4), (handler & 0xffff0000) | (0x8e | dpl) << 8);
    }
}

// Exceptions as tasks: each vector has a TSS that starts at its handler.
static void machine_task(Machine *m, u32 v) {
    u8 *tss = machine_at(m, AT_TASKS + TSS_BYTES * v);
    memset(tss, 0, TSS_BYTES);
    put_le32(tss + TSS_CR3, AT_PDPT);
    put_le32(tss + TSS_EIP, KERNEL + AT_HANDLERS + 8 * v);
    put_le32(tss + TSS_EFLAGS, 2);
    put_le32(tss + TSS_REGS + 4 * CPU_ESP, KERNEL + AT_STACK_TOP);
    for (unsigned s = 0; s < 6; s++) put_le32(tss + TSS_SEGS + 4 * s, s == CPU_CS ? SEL_KERNEL_CODE : SEL_KERNEL_DATA);
    put_descriptor(m, AT_GDT + SEL_TASKS + 8 * v, KERNEL + AT_TASKS + TSS_BYTES * v, TSS_BYTES - 1, 0x89);
    put_le32(machine_at(m, AT_IDT + 8 * v), (SEL_TASKS + 8 * v) << 16);
    put_le32(machine_at(m, AT_IDT + 8 * v + 4), 0xe5 << 8);
}

static void machine_pages(Machine *m) {
    static const u64 rights[] = { 0, 5, 7 | 1ull << 63, 5 | 1ull << 63 };      // ORDER: PageKind
    put_le64(machine_at(m, AT_PDPT + 8 * (AREA >> 30)), AT_PD_AREA | 1);
    put_le64(machine_at(m, AT_PDPT + 8 * (KERNEL >> 30)), AT_PD_KERNEL | 1);
    put_le64(machine_at(m, AT_PD_AREA + 8 * (AREA >> 21 & 511)), AT_PT | 7);
    for (u32 i = 0; i < KERNEL_BYTES >> 21; i++)
        put_le64(machine_at(m, AT_PD_KERNEL + 8 * ((KERNEL >> 21 & 511) + i)), i << 21 | 0x83);
    for (u32 i = 0; i < AREA_PAGES; i++) {
        u64 entry = area_pages[i] ? (AT_AREA + (i << PAGE_SHIFT)) | rights[area_pages[i]] : 0;
        put_le64(machine_at(m, AT_PT + 8 * i), entry);
    }
}

// ---- life -----------------------------------------------------------------------------------------
static void port_out(void *self, u16 port, unsigned size, u32 value) {
    Machine *m = self;
    (void)port, (void)size, (void)value;
    bus_request(m->t.bus, BUS_REQ_STOP);
}

static void machine_control(Machine *m) {
    Cpu *cpu = m->cpu;
    cpu->gdtr = (CpuTable){ KERNEL + AT_GDT, m->cpl ? GDT_LIMIT : SEL_TASKS + 8 * TASKS - 1 };
    cpu->idtr = (CpuTable){ KERNEL + AT_IDT, 8 * VECTORS - 1 };
    cpu->efer = MSR_EFER_NXE;
    cpu_h_write_cr(cpu, 4, 0x620);                     // OSXMMEXCPT OSFXSR PAE
    cpu_h_write_cr(cpu, 3, AT_PDPT);
    cpu_h_write_cr(cpu, 0, CR0);
    require(!cpu->fault.pending);
}

// At CPL 0 pages that are often filled one after the other get entries of the form that code there hopes for: AREA
// and AT_AREA are multiples of 4 MiB apart.
static void machine_show_linear(Machine *m) {
    for (u32 k = 0; k < 64; k++) {
        u64 unused;
        u32 page = k % AREA_PAGES;
        if (page == 0) machine_flush(m);
        if (area_pages[page]) cpu_load_sys(m->cpu, lin(AREA + (page << PAGE_SHIFT)), 4, &unused);
    }
}

static void machine_task_registers(Machine *m) {
    m->cpu->tr = (CpuSeg){ .base = KERNEL + AT_TSS, .limit = TSS_BYTES - 1, .selector = SEL_TSS, .access = 0x8b };
    m->cpu->ldtr = (CpuSeg){ .base = KERNEL + AT_LDT, .limit = 8 * SEGMENT_COUNT - 1, .selector = SEL_LDT_ITSELF,
                             .access = 0x82 };
}

Machine *machine_open(const JitOptions *options, unsigned cpl) {
    char *error = NULL;
    Machine *m = calloc(1, sizeof *m);
    testbus_open(&m->t, RAM_BYTES);
    if (getenv("LOG") && !log_parse_items(&m->t.log, getenv("LOG"), &error)) panic("LOG: no item %s", error);
    m->cpu = cpu_new(m->t.bus, &m->t.log);
    m->cpl = cpl;
    machine_descriptors(m);
    machine_vectors(m);
    for (u32 v = 0; v < TASKS && !cpl; v++) machine_task(m, v);
    machine_pages(m);
    machine_control(m);
    BusPort port = { "stop", m, 7, NULL, port_out };
    bus_map_ports(m->t.bus, STOP_PORT, 1, &port);
    m->jit = jit_new(m->cpu, m->t.bus, &m->t.log, options, &error);
    if (!m->jit) panic("%s", error);
    if (!cpl) machine_show_linear(m);
    return m;
}

void machine_close(Machine *m) {
    jit_free(m->jit);
    cpu_free(m->cpu);
    testbus_close(&m->t);
    free(m);
}

// ---- programs -------------------------------------------------------------------------------------
void machine_put_code(Machine *m, u32 offset, const u8 *bytes, u32 count) {
    bus_dma_write(m->t.bus, phy(AT_AREA + offset), bytes, count);
}

void machine_flush(Machine *m) { mmu_flush(m->cpu); }

static void start_fpu(Cpu *cpu, const FxImage *fx) {
    cpu->fpu_live = false;
    memcpy(cpu->fpu_image, fx, sizeof *fx);
    put_le32(cpu->fpu_image + FX_MXCSR, CPU_MXCSR_RESET);
    cpu->fpu_op = get_le16(fx->byte + FX_OP);
    cpu->fpu_ip = get_le32(fx->byte + FX_IP);
    cpu->fpu_cs = get_le16(fx->byte + FX_CS);
    cpu->fpu_dp = get_le32(fx->byte + FX_DP);
    cpu->fpu_ds = get_le16(fx->byte + FX_DS);
    cpu_fpu_load_host(cpu);
    memcpy(cpu->xmm, fx->byte + FX_XMM, sizeof cpu->xmm);
    cpu->mxcsr = get_le32(fx->byte + FX_MXCSR);
}

static CpuSeg start_segment(const Machine *m, u16 selector) {
    if (selector == SEL_USER_CODE) return m->code;
    if (selector == SEL_USER_DATA) return m->data;
    if (selector <= 3) return (CpuSeg){ .selector = selector };
    return m->ldt[selector >> 3];
}

static u32 machine_vector(const Machine *m) { return (m->cpu->eip - (KERNEL + AT_HANDLERS)) / 8; }

static bool machine_has_ended(const Machine *m) {
    return m->cpu->cpl == 0 && m->cpu->eip >= KERNEL && machine_vector(m) < VECTORS;
}

void machine_start(Machine *m, const State *s, const u8 *image) {
    Cpu *cpu = m->cpu;
    memcpy(machine_area(m) + DATA_LOW, image + DATA_LOW, DATA_HIGH - DATA_LOW);
    if (!m->cpl && machine_has_ended(m)) machine_task(m, machine_vector(m));
    memcpy(cpu->regs, s->regs, sizeof cpu->regs);
    for (unsigned i = 0; i < 6; i++) cpu->seg[i] = start_segment(m, s->seg[i]);
    cpu->eip = s->eip;
    cpu->cpl = (u8)m->cpl;
    cpu->cr0 = CR0;
    machine_task_registers(m);
    cpu->cr2 = 0;
    cpu->fault = (CpuFault){ 0 };
    cpu->halted = cpu->shutdown = cpu->inhibit_irq = cpu->inhibit_trap = false;
    cpu->dr[6] = 0xffff0ff0;
    cpu_set_eflags(cpu, s->eflags, 0xffffffff);
    start_fpu(cpu, &s->fx);
    cpu_update_mode(cpu);
}

// Without its signal handlers, which few instructions need, jit_step() is a good deal faster.
bool machine_step(Machine *m, bool fpu) {
    if (fpu || m->cpu->mode & MODE_TF || m->cpu->inhibit_irq) jit_step(m->jit);
    else if (!step_one(m->jit)) cpu_deliver(m->cpu);
    return !machine_has_ended(m) && !m->cpu->shutdown;
}

bool machine_run(Machine *m) {
    return jit_run(m->jit) == JIT_END_STOP && machine_has_ended(m);
}

static bool has_error_code(unsigned vector) { return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17; }

// The handler's stack holds: error code, EIP, CS, EFLAGS, ESP, SS.
static void take_frame(Machine *m, State *s) {
    Cpu *cpu = m->cpu;
    const u8 *frame = machine_at(m, cpu->regs[CPU_ESP] - KERNEL);
    if (has_error_code(s->vector)) frame += 4;
    s->eip = get_le32(frame);
    s->eflags = get_le32(frame + 8);
    memcpy(s->regs, cpu->regs, sizeof s->regs);
    s->regs[CPU_ESP] = get_le32(frame + 12);
    for (unsigned i = 0; i < 6; i++) s->seg[i] = cpu->seg[i].selector;
    s->seg[CPU_CS] = get_le16(frame + 4);
    s->seg[CPU_SS] = get_le16(frame + 16);
}

// At CPL 0 there is no user bit in a page fault's error code; all programs are told of as users.
static void take_task(Machine *m, State *s) {
    const u8 *tss = machine_at(m, AT_TSS);
    s->eip = get_le32(tss + TSS_EIP);
    s->eflags = get_le32(tss + TSS_EFLAGS);
    for (unsigned i = 0; i < 8; i++) s->regs[i] = get_le32(tss + TSS_REGS + 4 * i);
    for (unsigned i = 0; i < 6; i++) s->seg[i] = get_le16(tss + TSS_SEGS + 4 * i);
    if (s->vector == VEC_PF) s->error |= 4;
}

void machine_take(Machine *m, State *s) {
    Cpu *cpu = m->cpu;
    s->vector = (u8)machine_vector(m);
    s->error = has_error_code(s->vector) ? get_le32(machine_at(m, cpu->regs[CPU_ESP] - KERNEL)) : 0;
    if (m->cpl) take_frame(m, s);
    else take_task(m, s);
    s->cr2 = cpu->cr2;
    cpu_fpu_keep_pointers(cpu);
    cpu_fpu_save_host(cpu);
    memcpy(&s->fx, cpu->fpu_image, sizeof s->fx);
    put_le16(s->fx.byte + FX_OP, cpu->fpu_op);
    put_le32(s->fx.byte + FX_IP, cpu->fpu_ip);
    put_le32(s->fx.byte + FX_DP, cpu->fpu_dp);
    put_le32(s->fx.byte + FX_MXCSR, cpu->mxcsr);
    memcpy(s->fx.byte + FX_XMM, cpu->xmm, sizeof cpu->xmm);
}

bool machine_has_computed(Machine *m) {
    unsigned vector = machine_vector(m);
    return machine_has_ended(m) && (vector == VEC_DE || vector == VEC_MF || vector == VEC_XM);
}

void machine_peek_fpu(Machine *m, FxImage *fx) { fpu_peek(m->cpu, fx->byte); }
