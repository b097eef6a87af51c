// SPDX-License-Identifier: MIT
// A processor that goes round in a circle: guests that wait for an interrupt in a loop instead of HLT.
//
// When a stretch of execution ends in the state in which it began, and nothing but registers and memory
// took part in it, it will go on so until an interrupt or a device changes something. Such a processor may
// sleep like a halted one, and nobody can tell: it is as if its clock stood still at one of its states.
//
// Rules
//  1. "The same state" is compared in full: registers (x87 and SSE too), and every page stored to on the way
//     round. Which pages these are tells the bus's store log; ports, MMIO, clocks and interrupts count as touches.
//  2. A round is made of stretches of a fixed budget, so that it is one and the same each time.
//  3. It must cost nothing while the guest works: one comparison of registers per quantum finds candidates
//     (Brent's search for a cycle), and failed candidates are tried ever more seldom.
//  4. Counted time and logs of blocks or interrupts want every round: no sleep then.
#include "jit/jit_int.h"

#include <stdlib.h>
#include <string.h>

enum {
    SPIN_BUDGET = 256,           // instructions of a stretch; more than the longest block
    SPIN_FIRST = 16,             // stretches of the first round that is tried
    SPIN_STRETCHES = 512,        // and of the last
    SPIN_MARK_MOST = 1024,       // quanta until a new state is compared with
    SPIN_SKIP_MOST = 4096,       // quanta between candidates that fail
};

// What is compared to find a candidate.
static SpinPlace spin_place(Cpu *cpu) {
    SpinPlace p = { .eip = cpu->eip, .eflags = cpu_flags(cpu), .mode = cpu->mode, .cr3 = cpu->cr3,
                    .cs_base = cpu->seg[CPU_CS].base, .ss_base = cpu->seg[CPU_SS].base };
    memcpy(p.regs, cpu->regs, sizeof p.regs);
    return p;
}

static bool spin_same_place(const SpinPlace *a, const SpinPlace *b) { return !memcmp(a, b, sizeof *a); }

#define SPIN_FIELDS(X) \
    X(seg) X(xmm) X(mxcsr) X(ldtr) X(tr) X(gdtr) X(idtr) X(cr0) X(cr2) X(cr4) X(dr) X(efer) X(pdpte) \
    X(tsc_offset) X(cpl) X(inhibit_irq) X(inhibit_trap) X(nmi_blocked) X(df) X(msr_sysenter_cs) \
    X(msr_sysenter_esp) X(msr_sysenter_eip) X(msr_apic_base) X(msr_misc) X(fpu_ip) X(fpu_dp) X(fpu_cs) \
    X(fpu_ds) X(fpu_op)

// All registers, one after the other.
static u32 spin_registers(const Cpu *cpu, u8 *to) {
    u32 n = 0;
#define X(field) memcpy(to + n, &cpu->field, sizeof cpu->field); n += sizeof cpu->field;
    SPIN_FIELDS(X)
#undef X
    u8 fpu[512] __attribute__((aligned(16)));
    if (cpu->fpu_live) __asm__ volatile("fxsave64 %0" : "=m"(fpu));
    else memcpy(fpu, cpu->fpu_image, sizeof fpu);
    memcpy(to + n, fpu, 8);                       // control, status and tag words, opcode
    memcpy(to + n + 8, fpu + 32, 128);            // the stack
    return n + 136;
}

#define X(field) sizeof(((Cpu *)0)->field) +
static_assert(SPIN_FIELDS(X) 136 <= SPIN_REGISTER_BYTES, "all registers find room");
#undef X

// Adds what was stored to since the store log began to the pages that are compared. False: too many.
static bool spin_add_pages(Jit *jit) {
    Spin *s = &jit->spin;
    const u32 *ppns;
    u32 n = bus_logged_stores(jit->bus, &ppns);
    for (u32 i = 0, k; i < n; i++) {
        for (k = 0; k < s->page_count && s->ppn[k] != ppns[i]; k++) {}
        if (k == SPIN_PAGES || n > SPIN_PAGES) return false;
        if (k == s->page_count) s->ppn[s->page_count++] = ppns[i];
    }
    return true;
}

static void spin_keep_state(Jit *jit) {
    Spin *s = &jit->spin;
    if (!s->copy) s->copy = mem_new(SPIN_PAGES * PAGE_BYTES);
    for (u32 i = 0; i < s->page_count; i++)
        memcpy(s->copy + i * PAGE_BYTES, bus_page(jit->bus, s->ppn[i])->host, PAGE_BYTES);
    s->start = spin_place(jit->cpu);
    s->register_bytes = spin_registers(jit->cpu, s->registers);
    bus_log_stores(jit->bus);
}

static bool spin_page_is_same(const Jit *jit, u32 ppn) {
    const Spin *s = &jit->spin;
    const BusPage *page = bus_page(jit->bus, ppn);
    for (u32 i = 0; i < s->page_count; i++)
        if (s->ppn[i] == ppn) return page->host && !memcmp(s->copy + i * PAGE_BYTES, page->host, PAGE_BYTES);
    return false;
}

static bool spin_state_is_same(const Jit *jit) {
    const Spin *s = &jit->spin;
    SpinPlace now = spin_place(jit->cpu);
    if (!spin_same_place(&now, &s->start)) return false;
    u8 registers[SPIN_REGISTER_BYTES] = { 0 };
    if (memcmp(s->registers, registers, spin_registers(jit->cpu, registers))) return false;
    const u32 *ppns;
    u32 n = bus_logged_stores(jit->bus, &ppns);
    if (n > SPIN_PAGES) return false;
    for (u32 i = 0; i < n; i++)
        if (!spin_page_is_same(jit, ppns[i])) return false;
    return true;
}

typedef enum SpinEnd { SPIN_AROUND, SPIN_NOT_YET, SPIN_OUTSIDE } SpinEnd;

// From the state that was kept on: does it come back within so many stretches? The world around must not
// take part.
static SpinEnd spin_go_round(Jit *jit, u32 stretches) {
    const Cpu *cpu = jit->cpu;
    u64 touches = bus_touches(jit->bus);
    while (stretches--) {
        run_stretch(jit, SPIN_BUDGET);
        if (cpu->halted || cpu->shutdown || cpu->fault.pending || jit->at_break) return SPIN_OUTSIDE;
        if (bus_touches(jit->bus) != touches || bus_has_attention(jit->bus)) return SPIN_OUTSIDE;
        if (spin_state_is_same(jit)) return SPIN_AROUND;
    }
    return SPIN_NOT_YET;
}

// A state may lie before the circle, or pages of its round may be unknown: later ones are tried, for twice as
// long each.
static bool spin_try(Jit *jit) {
    for (u32 n = SPIN_FIRST; n <= SPIN_STRETCHES; n *= 2) {
        spin_keep_state(jit);
        SpinEnd end = spin_go_round(jit, n);
        if (end != SPIN_NOT_YET) return end == SPIN_AROUND;
        if (!spin_add_pages(jit)) return false;
    }
    return false;
}

static bool spin_may(const Jit *jit) {
    const Cpu *cpu = jit->cpu;
    return !jit->opt.icount && !cpu->halted && !cpu->shutdown && !cpu->fault.pending && !cpu->inhibit_irq &&
           !(cpu->mode & (MODE_TF | MODE_DEBUG)) && !jit->first && !jit->break_count &&
           !log_on(jit->log, LOG(EXEC) | LOG(CPU) | LOG(INT) | LOG(PCALL)) && !bus_has_attention(jit->bus);
}

// Brent: compare with one state for twice as long as with the one before.
static bool spin_is_candidate(Spin *s, const SpinPlace *now) {
    if (spin_same_place(now, &s->mark)) return true;
    if (++s->steps >= s->power) {
        s->power = s->power < SPIN_MARK_MOST ? 2 * s->power + 1 : SPIN_MARK_MOST;
        s->steps = 0;
        s->mark = *now;
    }
    return false;
}

static void spin_failed(Jit *jit) {
    Spin *s = &jit->spin;
    bus_log_no_stores(jit->bus);
    s->known = false;
    s->power = s->steps = 0;
    s->skip = s->skip_next;
    s->skip_next = s->skip_next < SPIN_SKIP_MOST / 2 ? 2 * s->skip_next + 1 : SPIN_SKIP_MOST;
}

bool spin_look(Jit *jit) {
    Spin *s = &jit->spin;
    if (!spin_may(jit)) return false;
    if (!s->known) {             // else it was woken: is it on its way round again?
        SpinPlace now = spin_place(jit->cpu);
        if (!spin_is_candidate(s, &now)) return false;
        if (s->skip) { s->skip--; return false; }
        s->page_count = 0;
    }
    if (!spin_try(jit)) { spin_failed(jit); return false; }
    jit->stats.spins += !s->known;
    s->known = true;
    s->skip_next = 0;
    return true;
}

void spin_free(Jit *jit) { free(jit->spin.copy); }
