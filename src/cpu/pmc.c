// SPDX-License-Identifier: MIT
// Performance counters of the P6 family: two of 40 bits, with an interrupt when one overflows.
//
// Source: SDM 3B, "Performance monitoring (P6 family processor)"; events: 3B, "P6 family".
//
// What is counted: instructions retired (C0h) and clocks while not halted (79h; a clock is a ns of guest time,
// as the TSC's). Other events, and such with a counter mask, exist and stay at 0.
//
// Invariants
//  1. value[] is right at the moment of `insns` and `now_ns`. Since then HLT, the selection and, where a counter
//     goes by it, privilege have not changed: who changes them calls pmc_turn() first. `mode` tells the privilege,
//     not `cpl`, which may be new already.
//  2. Instructions are exact to the block that runs, as under -icount; an overflow is seen by a timer, some
//     microseconds late at most.
#include "cpu/cpu_int.h"
#include "cpu/model.h"

enum { EVENT_CLOCKS = 0x79, EVENT_INSNS = 0xc0 };
#define SELECT_USER BIT(16)
#define SELECT_OS BIT(17)
#define SELECT_INTERRUPT BIT(20)
#define SELECT_ENABLE BIT(22)               // in the first one, for both
#define SELECT_WRITABLE 0xff5fffffu
#define SELECT_COUNTER_MASK 0xff000000u
#define PMC_MASK ((1ull << 40) - 1)
#define PMC_SOON_NS 10000u                  // how often an overflow that is near is looked for
#define PMC_INSNS_PER_NS 4                  // more are not done

static bool pmc_enabled(const CpuPmc *p) { return p->select[0] & SELECT_ENABLE; }

// What counter n moves by in a stretch of so many instructions and clocks at the present privilege.
static u64 pmc_events(const Cpu *cpu, unsigned n, u64 insns, u64 clocks) {
    u32 select = cpu->pmc.select[n], ring = cpu->mode & MODE_CPL ? SELECT_USER : SELECT_OS;
    if (!pmc_enabled(&cpu->pmc) || !(select & ring) || select & SELECT_COUNTER_MASK) return 0;
    if ((select & 0xff) == EVENT_INSNS) return insns;
    return (select & 0xff) == EVENT_CLOCKS ? clocks : 0;
}

// When an enabled counter may overflow at the earliest.
static void pmc_arm(Cpu *cpu) {
    CpuPmc *p = &cpu->pmc;
    u64 wait_ns = UINT64_MAX;
    for (unsigned n = 0; n < CPU_PMCS; n++) {
        u64 left = PMC_MASK + 1 - p->value[n];
        if (!(p->select[n] & SELECT_INTERRUPT) || !pmc_events(cpu, n, 1, 1)) continue;
        if ((p->select[n] & 0xff) == EVENT_INSNS) left /= PMC_INSNS_PER_NS;
        if (left < wait_ns) wait_ns = left;
    }
    if (wait_ns < PMC_SOON_NS) wait_ns = PMC_SOON_NS;
    if (wait_ns == UINT64_MAX || cpu->halted) bus_timer_stop(p->timer);
    else bus_timer_at(p->timer, p->now_ns + wait_ns);
}

void pmc_turn(Cpu *cpu) {
    CpuPmc *p = &cpu->pmc;
    u64 insns = cpu_insns(cpu), now_ns = bus_now_ns(cpu->bus);
    u64 clocks = cpu->halted ? 0 : now_ns - p->now_ns;
    for (unsigned n = 0; n < CPU_PMCS; n++) {
        u64 value = p->value[n] + pmc_events(cpu, n, insns - p->insns, clocks);
        p->value[n] = value & PMC_MASK;
        if (value > PMC_MASK && p->select[n] & SELECT_INTERRUPT && p->overflow) p->overflow(p->overflow_self);
    }
    p->insns = insns;
    p->now_ns = now_ns;
}

static void pmc_fire(void *self) {
    Cpu *cpu = self;
    pmc_turn(cpu);
    pmc_arm(cpu);
}

void pmc_woken(Cpu *cpu) {
    pmc_turn(cpu);
    cpu->halted = false;
    pmc_arm(cpu);
}

void pmc_new(Cpu *cpu) { cpu->pmc.timer = bus_timer_new(cpu->bus, "counters", pmc_fire, cpu); }

void pmc_reset(Cpu *cpu) {
    CpuPmc *p = &cpu->pmc;
    for (unsigned n = 0; n < CPU_PMCS; n++) p->select[n] = 0, p->value[n] = 0;
    p->on = p->by_ring = false;
    bus_timer_stop(p->timer);
}

// ---- registers ----------------------------------------------------------------------------------
static void pmc_begin(Cpu *cpu) {
    CpuPmc *p = &cpu->pmc;
    if (p->on) pmc_turn(cpu);
    p->insns = cpu_insns(cpu);
    p->now_ns = bus_now_ns(cpu->bus);
}

u64 pmc_read(Cpu *cpu, unsigned n) {
    if (cpu->pmc.on) pmc_turn(cpu);
    return cpu->pmc.value[n];
}

// The low word is written, its sign goes on.
void pmc_write(Cpu *cpu, unsigned n, u64 value) {
    pmc_begin(cpu);
    cpu->pmc.value[n] = (u64)(i64)(i32)value & PMC_MASK;
    pmc_arm(cpu);
}

static bool pmc_goes_by_ring(u32 select) {
    u32 rings = select & (SELECT_USER | SELECT_OS);
    return rings && rings != (SELECT_USER | SELECT_OS);
}

void pmc_select(Cpu *cpu, unsigned n, u64 value) {
    CpuPmc *p = &cpu->pmc;
    pmc_begin(cpu);
    p->select[n] = (u32)value & (n ? SELECT_WRITABLE & ~SELECT_ENABLE : SELECT_WRITABLE);
    p->on = pmc_enabled(p);
    p->by_ring = p->on && (pmc_goes_by_ring(p->select[0]) || pmc_goes_by_ring(p->select[1]));
    pmc_arm(cpu);
}

void cpu_h_rdpmc(Cpu *cpu) {
    u32 n = cpu->regs[CPU_ECX];
    bool allowed = cpu_has(cpu, CPU_HAS_PMC) && (!cpu->cpl || cpu->cr4 & CR4_PCE);
    if (!allowed || n >= CPU_PMCS) {
        cpu_raise_error(cpu, VEC_GP, 0);
        return;
    }
    u64 value = pmc_read(cpu, n);
    cpu->regs[CPU_EAX] = (u32)value;
    cpu->regs[CPU_EDX] = (u32)(value >> 32);
}
