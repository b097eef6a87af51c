// SPDX-License-Identifier: MIT
// Model-specific registers and the time stamp counter.
//
// Each row of the table is a run of registers: the feature that brings them, and what a write may
// hold. What has an effect of its own (TSC, SYSENTER, APIC base, EFER, counters) is served by msr_special();
// the rest is storage. Sources: SDM Vol. 4, tables for P6 and later; 3A 11.11, 11.12 (MTRR, PAT);
// 3B 15.3.2 (machine check banks).
#include "cpu/cpu_int.h"
#include "cpu/model.h"

enum {
    MSR_TSC = 0x10, MSR_APIC_BASE = 0x1b, MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176, MSR_EFER = 0xc0000080,
    MSR_PERFCTR0 = 0xc1, MSR_PERFCTR1 = 0xc2, MSR_EVNTSEL0 = 0x186, MSR_EVNTSEL1 = 0x187,
};
#define APIC_BASE_BSP BIT(8)
#define APIC_BASE_ENABLE BIT(11)
#define APIC_BASE_RESET 0xfee00000u

typedef enum MsrRule {
    MSR_ANY,                   // anything may be written and is kept
    MSR_CONSTANT,              // `value` is read; writing is #GP
    MSR_IGNORED,               // `value` is read; writes are dropped
    MSR_ZERO,                  // only 0 may be written
    MSR_TYPES,                 // eight memory types of MTRRs
    MSR_PAT,                   // eight memory types of the PAT
    MSR_MTRR_DEFAULT,
    MSR_MTRR_BASE_MASK,        // pairs: base (even), mask (odd)
    MSR_BANK,                  // fours: CTL (all bits or none), STATUS (only 0), ADDR, MISC
} MsrRule;

typedef struct MsrRow {
    u32 first, count;
    u32 needs;                 // CPU_HAS_*
    u8 rule;                   // MsrRule
    u8 slot;                   // in msr_misc; storing rules only
    u64 value;                 // after reset
} MsrRow;

#define MTRR_VARIABLE 8u
static const MsrRow msr_rows[] = {
    { 0x000, 2, CPU_HAS_MCE, MSR_ANY, 0, 0 },                          // P5_MC_ADDR, P5_MC_TYPE
    { 0x017, 1, CPU_HAS_CMOV, MSR_CONSTANT, 0, 0 },                    // PLATFORM_ID
    { 0x02a, 1, CPU_HAS_CMOV, MSR_ANY, 2, 0 },                         // EBL_CR_POWERON
    { 0x02c, 1, CPU_HAS_SSE2, MSR_CONSTANT, 0, 0 },                    // EBC_FREQUENCY_ID
    { 0x079, 1, CPU_HAS_CMOV, MSR_IGNORED, 0, 0 },                     // BIOS_UPDT_TRIG
    { 0x08b, 1, CPU_HAS_CMOV, MSR_ANY, 3, 0 },                         // BIOS_SIGN_ID
    { 0x0fe, 1, CPU_HAS_MTRR, MSR_CONSTANT, 0, 0x500 | MTRR_VARIABLE },      // MTRRCAP: WC, fixed
    { 0x179, 1, CPU_HAS_MCA, MSR_CONSTANT, 0, 4 },                     // MCG_CAP: 4 banks
    { 0x17a, 1, CPU_HAS_MCA, MSR_ANY, 4, 0 },                          // MCG_STATUS
    { 0x1a0, 1, CPU_HAS_CMOV, MSR_ANY, 5, 1 },                         // MISC_ENABLE: fast strings
    { 0x1d9, 1, CPU_HAS_CMOV, MSR_ZERO, 6, 0 },                        // DEBUGCTL
    { 0x200, 2 * MTRR_VARIABLE, CPU_HAS_MTRR, MSR_MTRR_BASE_MASK, 8, 0 },
    { 0x250, 1, CPU_HAS_MTRR, MSR_TYPES, 24, 0 },                      // 64 KiB from 0
    { 0x258, 2, CPU_HAS_MTRR, MSR_TYPES, 25, 0 },                      // 16 KiB from 80000
    { 0x268, 8, CPU_HAS_MTRR, MSR_TYPES, 27, 0 },                      // 4 KiB from c0000
    { 0x277, 1, CPU_HAS_PAT, MSR_PAT, 35, 0x0007040600070406 },
    { 0x2ff, 1, CPU_HAS_MTRR, MSR_MTRR_DEFAULT, 36, 0 },
    { 0x400, 16, CPU_HAS_MCA, MSR_BANK, 40, 0 },                       // MCi_CTL STATUS ADDR MISC
};
static_assert(40 + 16 <= CPU_MSRS, "every stored register has its slot");

static bool msr_stores(const MsrRow *r) { return r->rule != MSR_CONSTANT && r->rule != MSR_IGNORED; }

void msr_reset(Cpu *cpu) {
    for (unsigned i = 0; i < CPU_MSRS; i++) cpu->msr_misc[i] = 0;
    for (unsigned i = 0; i < ARRAY_LEN(msr_rows); i++) {
        const MsrRow *r = &msr_rows[i];
        for (u32 n = 0; msr_stores(r) && n < r->count; n++) cpu->msr_misc[r->slot + n] = r->value;
    }
    cpu->msr_sysenter_cs = cpu->msr_sysenter_esp = cpu->msr_sysenter_eip = 0;
    cpu->msr_apic_base = APIC_BASE_RESET | APIC_BASE_BSP;
    if (cpu_has(cpu, CPU_HAS_APIC)) cpu->msr_apic_base |= APIC_BASE_ENABLE;
    if (cpu->apic_base_written) cpu->apic_base_written(cpu->apic_self, cpu->msr_apic_base);
}

// ---- time ---------------------------------------------------------------------------------------
// Strictly increasing, one tick per guest nanosecond: 1 GHz.
static u64 tsc_read(Cpu *cpu) {
    u64 now = bus_now_ns(cpu->bus);
    if (now <= cpu->tsc_last) now = cpu->tsc_last + 1;
    cpu->tsc_last = now;
    return now + cpu->tsc_offset;
}

static void msr_put_wide(Cpu *cpu, u64 value) {
    cpu->regs[CPU_EAX] = (u32)value;
    cpu->regs[CPU_EDX] = (u32)(value >> 32);
}

void cpu_h_rdtsc(Cpu *cpu) {
    if ((cpu->cr4 & CR4_TSD) && cpu->cpl) cpu_raise_error(cpu, VEC_GP, 0);
    else msr_put_wide(cpu, tsc_read(cpu));
}

// ---- registers with an effect -------------------------------------------------------------------
// Where a special register exists, its value. False: it is not one of them.
static bool msr_special(Cpu *cpu, u32 msr, u64 *value) {
    switch (msr) {
    case MSR_TSC: *value = tsc_read(cpu); return cpu_has(cpu, CPU_HAS_TSC);
    case MSR_APIC_BASE: *value = cpu->msr_apic_base; return cpu_has(cpu, CPU_HAS_APIC);
    case MSR_SYSENTER_CS: *value = cpu->msr_sysenter_cs; return cpu_has(cpu, CPU_HAS_SEP);
    case MSR_SYSENTER_ESP: *value = cpu->msr_sysenter_esp; return cpu_has(cpu, CPU_HAS_SEP);
    case MSR_SYSENTER_EIP: *value = cpu->msr_sysenter_eip; return cpu_has(cpu, CPU_HAS_SEP);
    case MSR_EFER: *value = cpu->efer; return cpu_has(cpu, CPU_HAS_NX);
    case MSR_PERFCTR0: case MSR_PERFCTR1: *value = pmc_read(cpu, msr - MSR_PERFCTR0); return cpu_has(cpu, CPU_HAS_PMC);
    case MSR_EVNTSEL0: case MSR_EVNTSEL1:
        *value = cpu->pmc.select[msr - MSR_EVNTSEL0];
        return cpu_has(cpu, CPU_HAS_PMC);
    }
    return false;
}

static bool msr_put_apic_base(Cpu *cpu, u64 value) {
    u64 writable = (((1ull << cpu->phys_bits) - 1) & ~0xfffull) | APIC_BASE_ENABLE | APIC_BASE_BSP;
    if (value & ~writable) return false;
    cpu->msr_apic_base = (value & ~(u64)APIC_BASE_BSP) | APIC_BASE_BSP;
    if (cpu->apic_base_written) cpu->apic_base_written(cpu->apic_self, cpu->msr_apic_base);
    return true;
}

static bool msr_put_efer(Cpu *cpu, u64 value) {
    if (value & ~(u64)EFER_NXE) return false;
    bool changed = cpu->efer != (u32)value;
    cpu->efer = (u32)value;
    if (changed) mmu_flush(cpu);
    return true;
}

static bool msr_put_special(Cpu *cpu, u32 msr, u64 value) {
    switch (msr) {
    case MSR_TSC: cpu->tsc_offset += value - tsc_read(cpu); return true;
    case MSR_APIC_BASE: return msr_put_apic_base(cpu, value);
    case MSR_SYSENTER_CS: cpu->msr_sysenter_cs = (u32)value; return true;
    case MSR_SYSENTER_ESP: cpu->msr_sysenter_esp = (u32)value; return true;
    case MSR_SYSENTER_EIP: cpu->msr_sysenter_eip = (u32)value; return true;
    case MSR_PERFCTR0: case MSR_PERFCTR1: pmc_write(cpu, msr - MSR_PERFCTR0, value); return true;
    case MSR_EVNTSEL0: case MSR_EVNTSEL1: pmc_select(cpu, msr - MSR_EVNTSEL0, value); return true;
    default: return msr_put_efer(cpu, value);
    }
}

// ---- stored registers ---------------------------------------------------------------------------
static const MsrRow *msr_find(const Cpu *cpu, u32 msr) {
    for (unsigned i = 0; i < ARRAY_LEN(msr_rows); i++) {
        const MsrRow *r = &msr_rows[i];
        if (msr - r->first < r->count && (cpu->cpuid_features & r->needs)) return r;
    }
    return NULL;
}

// UC WC WT WP WB, and in the PAT also UC-.
static bool msr_types_valid(u64 value, u32 known) {
    for (unsigned i = 0; i < 8; i++, value >>= 8)
        if ((value & 0xff) > 7 || !(known >> (value & 0xff) & 1)) return false;
    return true;
}

#define TYPES_MTRR 0x73u
#define TYPES_PAT 0xf3u

static bool msr_takes(const Cpu *cpu, const MsrRow *r, u32 msr, u64 value) {
    u64 beyond = ~((1ull << cpu->phys_bits) - 1);
    switch ((MsrRule)r->rule) {
    case MSR_CONSTANT: return false;
    case MSR_ZERO: return value == 0;
    case MSR_TYPES: return msr_types_valid(value, TYPES_MTRR);
    case MSR_PAT: return msr_types_valid(value, TYPES_PAT);
    case MSR_MTRR_DEFAULT: return !(value & ~0xcffull) && msr_types_valid(value & 0xff, TYPES_MTRR);
    case MSR_MTRR_BASE_MASK:
        if (msr & 1) return !(value & (beyond | 0x7ff));
        return !(value & (beyond | 0xf00)) && msr_types_valid(value & 0xff, TYPES_MTRR);
    case MSR_BANK: return value == 0 || (msr & 3) > 1 || ((msr & 3) == 0 && value == ~0ull);
    default: return true;
    }
}

static bool msr_refuse(Cpu *cpu, const char *what, u32 msr) {
    log_guest_error(cpu->log, "cpu", "%s MSR %08x at %04x:%08x", what, msr,
                    cpu->seg[CPU_CS].selector, cpu->eip);
    return cpu_raise_error(cpu, VEC_GP, 0);
}

void cpu_h_rdmsr(Cpu *cpu) {
    u32 msr = cpu->regs[CPU_ECX];
    u64 value;
    if (cpu->cpl) {
        cpu_raise_error(cpu, VEC_GP, 0);
        return;
    }
    if (msr_special(cpu, msr, &value)) {
        msr_put_wide(cpu, value);
        return;
    }
    const MsrRow *r = msr_find(cpu, msr);
    if (!r) msr_refuse(cpu, "read of unknown", msr);
    else msr_put_wide(cpu, msr_stores(r) ? cpu->msr_misc[r->slot + msr - r->first] : r->value);
}

void cpu_h_wrmsr(Cpu *cpu) {
    u32 msr = cpu->regs[CPU_ECX];
    u64 value = cpu->regs[CPU_EAX] | (u64)cpu->regs[CPU_EDX] << 32, old;
    if (cpu->cpl) {
        cpu_raise_error(cpu, VEC_GP, 0);
        return;
    }
    if (msr_special(cpu, msr, &old)) {
        if (!msr_put_special(cpu, msr, value)) msr_refuse(cpu, "bad value for", msr);
        return;
    }
    const MsrRow *r = msr_find(cpu, msr);
    if (!r) msr_refuse(cpu, "write of unknown", msr);
    else if (!msr_takes(cpu, r, msr, value)) msr_refuse(cpu, "bad value for", msr);
    else if (msr_stores(r)) cpu->msr_misc[r->slot + msr - r->first] = value;
}
