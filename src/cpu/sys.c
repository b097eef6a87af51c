// SPDX-License-Identifier: MIT
// System instructions: control and debug registers, descriptor table registers, flags, ports.
//
// Every helper checks privilege itself. Rules: SDM 2A-2B pseudo code; 3A 2.5 (control registers),
// 17.2 (debug registers); 1, 19.5 (I/O permission).
#include "cpu/cpu_int.h"
#include "cpu/model.h"

static bool sys_need_cpl0(Cpu *cpu) { return cpu->cpl == 0 || cpu_raise_error(cpu, VEC_GP, 0); }

// SLDT, STR, LLDT, LTR, LAR, LSL, VERR, VERW, ARPL do not exist in real and virtual-8086 mode.
static bool sys_need_protected(Cpu *cpu) { return cpu_is_protected(cpu) || cpu_raise(cpu, VEC_UD); }

// ---- control registers --------------------------------------------------------------------------
#define CR0_ALWAYS (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_PG)
#define CR0_OF_486 (CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD)
#define CR0_OF_MMU (CR0_PE | CR0_WP | CR0_PG)
#define CR0_OF_PDPTE (CR0_CD | CR0_NW | CR0_PG)
#define CR4_OF_MMU (CR4_PSE | CR4_PAE | CR4_PGE)
#define CR3_PCD_PWT 0x18u

// CR1 and CR5 on do not exist; CR4 came with the first of its bits.
static bool cr_exists(Cpu *cpu, u32 n) {
    bool exists = n == 0 || n == 2 || n == 3 || (n == 4 && cpu_cr4_bits(cpu));
    return exists || cpu_raise(cpu, VEC_UD);
}

u32 cpu_h_read_cr(Cpu *cpu, u32 n) {
    if (!cr_exists(cpu, n) || !sys_need_cpl0(cpu)) return 0;
    return n == 0 ? cpu->cr0 : n == 2 ? cpu->cr2 : n == 3 ? cpu->cr3 : cpu->cr4;
}

// PAE's four directory pointers are read when CR3 is loaded, and when a bit that they depend on
// changes (SDM 3A 4.4.1). False: #GP recorded.
static bool load_pdptes(Cpu *cpu, u32 cr0, u32 cr3, u32 cr4) {
    if (!(cr0 & CR0_PG) || !(cr4 & CR4_PAE)) return true;
    return walk_load_pdptes(cpu, cr3) || cpu_raise_error(cpu, VEC_GP, 0);
}

static void write_cr0(Cpu *cpu, u32 value) {
    bool new_bits = cpu_has(cpu, CPU_HAS_I486);
    bool bad = ((value & CR0_PG) && !(value & CR0_PE))
        || (new_bits && (value & CR0_NW) && !(value & CR0_CD));
    if (bad) {
        cpu_raise_error(cpu, VEC_GP, 0);
        return;
    }
    u32 old = cpu->cr0;
    cpu_fpu_keep_pointers(cpu);
    value = (value & (CR0_ALWAYS | (new_bits ? CR0_OF_486 : 0))) | CR0_ET;
    if (((old ^ value) & CR0_OF_PDPTE) && !load_pdptes(cpu, value, cpu->cr3, cpu->cr4)) return;
    cpu->cr0 = value;
    if ((old ^ cpu->cr0) & CR0_OF_MMU) {
        if ((old ^ cpu->cr0) & CR0_PG) mmu_flush(cpu);
        else mmu_switch(cpu);
    }
    if ((old ^ cpu->cr0) & CR0_PE) cpu_update_mode(cpu);
    else if (((old ^ cpu->cr0) & ~(CR0_TS | CR0_MP)) == 0) cpu_update_ts(cpu);
    else cpu_update_privilege(cpu);
}

static void write_cr4(Cpu *cpu, u32 value) {
    u32 changed = cpu->cr4 ^ value;
    if (value & ~cpu_cr4_bits(cpu)) {
        cpu_raise_error(cpu, VEC_GP, 0);
        return;
    }
    if ((changed & CR4_OF_MMU) && !load_pdptes(cpu, cpu->cr0, cpu->cr3, value)) return;
    cpu->cr4 = value;
    if (changed & CR4_OF_MMU) {
        cpu_fpu_keep_pointers(cpu);
        mmu_flush(cpu);
    }
    cpu_update_privilege(cpu);
}

bool cpu_load_cr3(Cpu *cpu, u32 value) {
    u32 table = cpu->cr4 & CR4_PAE ? ~31u : PAGE_MASK;
    if ((cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && !walk_load_pdptes(cpu, value)) return false;
    cpu->cr3 = value & (table | CR3_PCD_PWT);
    cpu_fpu_keep_pointers(cpu);
    mmu_switch(cpu);
    cpu->stats.space_switches++;
    return true;
}

void cpu_h_write_cr(Cpu *cpu, u32 n, u32 value) {
    if (!cr_exists(cpu, n) || !sys_need_cpl0(cpu)) return;
    if (n == 0) write_cr0(cpu, value);
    if (n == 2) cpu->cr2 = value;
    if (n == 3 && !cpu_load_cr3(cpu, value)) cpu_raise_error(cpu, VEC_GP, 0);
    if (n == 4) write_cr4(cpu, value);
}

u32 cpu_h_smsw(Cpu *cpu) { return cpu->cr0; }

// LMSW can set PE but not clear it.
void cpu_h_lmsw(Cpu *cpu, u32 value) {
    if (!sys_need_cpl0(cpu)) return;
    write_cr0(cpu, (cpu->cr0 & ~0xeu) | (value & 0xf));
}

void cpu_h_clts(Cpu *cpu) {
    if (!sys_need_cpl0(cpu)) return;
    cpu->cr0 &= ~CR0_TS;
    cpu_update_ts(cpu);
}

// ---- debug registers ----------------------------------------------------------------------------
// The register meant by n; DR4 and DR5 are DR6 and DR7 unless CR4.DE. NULL: fault recorded.
static u32 *debug_register(Cpu *cpu, u32 n) {
    if ((n == 4 || n == 5) && (cpu->cr4 & CR4_DE)) {
        cpu_raise(cpu, VEC_UD);
        return NULL;
    }
    if (!sys_need_cpl0(cpu)) return NULL;
    if (cpu->dr[7] & DR7_GD) {
        cpu->dr[6] |= DR6_BD;
        cpu_raise(cpu, VEC_DB);
        return NULL;
    }
    return &cpu->dr[n == 4 || n == 5 ? n + 2 : n & 7];
}

u32 cpu_h_read_dr(Cpu *cpu, u32 n) {
    const u32 *reg = debug_register(cpu, n);
    return reg ? *reg : 0;
}

void cpu_h_write_dr(Cpu *cpu, u32 n, u32 value) {
    u32 *reg = debug_register(cpu, n);
    if (!reg) return;
    if (reg == &cpu->dr[6]) value = (value & 0xe00f) | DR6_FIXED;
    if (reg == &cpu->dr[7]) value = (value & 0xffff23ff) | DR7_FIXED;
    *reg = value;
    cpu_update_privilege(cpu);
}

// ---- GDTR, IDTR ---------------------------------------------------------------------------------
// mem's size is the operand size: with 2, bits 24-31 of the base are not used.
static void table_load(Cpu *cpu, CpuTable *t, u32 offset, u32 mem) {
    unsigned seg = mem & 7;
    u64 limit, base;
    if (!sys_need_cpl0(cpu)) return;
    if (!cpu_load(cpu, seg, offset, 2, &limit) || !cpu_load(cpu, seg, offset + 2, 4, &base)) return;
    t->limit = (u16)limit;
    t->base = (mem >> 3 & 7) == 2 ? (u32)base : (u32)base & 0xffffff;
}

static void table_store(Cpu *cpu, const CpuTable *t, u32 offset, u32 mem) {
    unsigned seg = mem & 7;
    if (!cpu_probe(cpu, seg, offset, 6, true)) return;
    if (cpu_store(cpu, seg, offset, 2, t->limit)) cpu_store(cpu, seg, offset + 2, 4, t->base);
}

void cpu_h_lgdt(Cpu *cpu, u32 offset, u32 mem) { table_load(cpu, &cpu->gdtr, offset, mem); }
void cpu_h_lidt(Cpu *cpu, u32 offset, u32 mem) { table_load(cpu, &cpu->idtr, offset, mem); }
void cpu_h_sgdt(Cpu *cpu, u32 offset, u32 mem) { table_store(cpu, &cpu->gdtr, offset, mem); }
void cpu_h_sidt(Cpu *cpu, u32 offset, u32 mem) { table_store(cpu, &cpu->idtr, offset, mem); }

// ---- LDTR, TR -----------------------------------------------------------------------------------
void cpu_h_lldt(Cpu *cpu, u32 selector) {
    if (sys_need_protected(cpu) && sys_need_cpl0(cpu)) seg_load_ldt(cpu, selector & 0xffff, VEC_GP);
}

void cpu_h_ltr(Cpu *cpu, u32 selector) {
    Desc d;
    selector &= 0xffff;
    if (!sys_need_protected(cpu) || !sys_need_cpl0(cpu)) return;
    if (selector_is_null(selector)) cpu_raise_error(cpu, VEC_GP, 0);
    else if (task_fetch_tss(cpu, selector, 0, &d)
             && mem_store(cpu, d.addr + 4, 4, false, d.hi | BIT(9))) {
        d.access |= 2;
        seg_fill(&cpu->tr, selector, &d);
    }
}

u32 cpu_h_sldt(Cpu *cpu) { return sys_need_protected(cpu) ? cpu->ldtr.selector : 0; }
u32 cpu_h_str(Cpu *cpu) { return sys_need_protected(cpu) ? cpu->tr.selector : 0; }

// ---- looking at descriptors ---------------------------------------------------------------------
static void sys_set_zf(Cpu *cpu, bool zf) { cpu_set_eflags(cpu, zf ? FLAG_ZF : 0, FLAG_ZF); }

// Reads a descriptor for LAR, LSL, VERR, VERW. False: not visible (ZF cleared) or fault.
static bool look_fetch(Cpu *cpu, u32 selector, Desc *d) {
    if (!sys_need_protected(cpu)) return false;
    DescStatus status = DESC_OUTSIDE;
    selector &= 0xffff;
    if (!selector_is_null(selector)) status = desc_read(cpu, selector, d);
    if (status == DESC_OUTSIDE) sys_set_zf(cpu, false);
    return status == DESC_OK;
}

static bool look_is_reachable(const Cpu *cpu, u32 selector, const Desc *d) {
    if (desc_is_code(d) && !desc_is_nonconforming(d)) return true;
    return ACC_DPL(d->access) >= max_u32(cpu->cpl, selector & 3);
}

// System descriptor types that LAR and LSL know, as masks of type numbers.
#define LAR_TYPES (BIT(SYS_TSS16) | BIT(SYS_LDT) | BIT(SYS_TSS16_BUSY) | BIT(SYS_CALL16) \
                   | BIT(SYS_TASK) | BIT(SYS_TSS32) | BIT(SYS_TSS32_BUSY) | BIT(SYS_CALL32))
#define LSL_TYPES (BIT(SYS_TSS16) | BIT(SYS_LDT) | BIT(SYS_TSS16_BUSY) | BIT(SYS_TSS32) \
                   | BIT(SYS_TSS32_BUSY))

static bool look_accepts(Cpu *cpu, u32 selector, u32 system_types, Desc *d) {
    if (!look_fetch(cpu, selector, d)) return false;
    bool known = (d->access & SEG_ACC_S) || (system_types >> ACC_TYPE(d->access) & 1);
    bool ok = known && look_is_reachable(cpu, selector, d);
    sys_set_zf(cpu, ok);
    return ok;
}

u32 cpu_h_lar(Cpu *cpu, u32 selector, u32 old) {
    Desc d;
    return look_accepts(cpu, selector, LAR_TYPES, &d) ? d.hi & 0x00ffff00 : old;
}

u32 cpu_h_lsl(Cpu *cpu, u32 selector, u32 old) {
    Desc d;
    return look_accepts(cpu, selector, LSL_TYPES, &d) ? desc_limit(&d) : old;
}

void cpu_h_verr(Cpu *cpu, u32 selector) {
    Desc d;
    if (!look_fetch(cpu, selector, &d)) return;
    bool readable = desc_is_data(&d) || (desc_is_code(&d) && (d.access & ACC_READABLE));
    sys_set_zf(cpu, readable && look_is_reachable(cpu, selector, &d));
}

void cpu_h_verw(Cpu *cpu, u32 selector) {
    Desc d;
    if (!look_fetch(cpu, selector, &d)) return;
    sys_set_zf(cpu, desc_is_writable(&d) && look_is_reachable(cpu, selector, &d));
}

u32 cpu_h_arpl(Cpu *cpu, u32 to, u32 from) {
    if (!sys_need_protected(cpu)) return to;
    bool raise = (to & 3) < (from & 3);
    sys_set_zf(cpu, raise);
    return raise ? (to & ~3u) | (from & 3) : to;
}

// A destination that stays as it is is only read: it may be in a read-only segment or page.
void cpu_h_arpl_mem(Cpu *cpu, u32 offset, u32 mem, u32 from) {
    u64 to;
    if (!sys_need_protected(cpu) || !cpu_load(cpu, mem & 7, offset, 2, &to)) return;
    bool raise = (to & 3) < (from & 3);
    if (raise && !cpu_store(cpu, mem & 7, offset, 2, (to & ~3u) | (from & 3))) return;
    sys_set_zf(cpu, raise);
}

void cpu_h_invlpg(Cpu *cpu, u32 offset, u32 mem) {
    if (!sys_need_cpl0(cpu)) return;
    cpu_fpu_keep_pointers(cpu);
    mmu_drop_page(cpu, lin(cpu->seg[mem & 7].base + offset));
}

// ---- HLT, caches --------------------------------------------------------------------------------
void cpu_h_hlt(Cpu *cpu) {
    if (!sys_need_cpl0(cpu)) return;
    if (cpu->pmc.on) pmc_turn(cpu);
    cpu->halted = true;
}

void cpu_h_wbinvd(Cpu *cpu) { sys_need_cpl0(cpu); }

// ---- flags --------------------------------------------------------------------------------------
// PUSHF and POPF in virtual-8086 mode need IOPL 3, or 16 bits and a virtual interrupt flag.
static bool flags_need_iopl(Cpu *cpu, u32 opsize) {
    bool refused = (cpu->mode & MODE_VM) && cpu_iopl(cpu) < 3;
    bool virtual = opsize == 2 && (cpu->cr4 & CR4_VME);
    return !refused || virtual || cpu_raise_error(cpu, VEC_GP, 0);
}

static bool flags_are_virtual(const Cpu *cpu) {
    return (cpu->mode & MODE_VM) && cpu_has_virtual_if(cpu);
}

u32 cpu_h_pushf(Cpu *cpu, u32 opsize) {
    if (!flags_need_iopl(cpu, opsize)) return 0;
    u32 image = flags_are_virtual(cpu) ? flags_virtual_image(cpu) : cpu_flags(cpu);
    return opsize == 4 ? image & ~(FLAG_VM | FLAG_RF) : image & 0xffff;
}

// 1: interrupts may come in now, or the mode may be another.
u32 cpu_h_popf(Cpu *cpu, u32 image, u32 opsize) {
    if (!flags_need_iopl(cpu, opsize)) return 1;
    if (flags_are_virtual(cpu)) {
        if (flags_check_virtual(cpu, image)) flags_set_virtual(cpu, image);
        return 1;
    }
    u32 mask = flags_writable(cpu, opsize) & ~FLAG_RF, old = cpu->eflags;
    cpu->eflags &= ~FLAG_RF;
    cpu_set_eflags(cpu, image, mask);
    return (cpu->eflags & ~old & FLAG_IF) || cpu->eflags & FLAG_TF;
}

// CLI and STI: in protected mode CPL <= IOPL, in virtual-8086 mode (CPL 3) IOPL 3: the same test.
// Which of the two flags they mean; 0: #GP recorded.
static u32 flags_interrupt_bit(Cpu *cpu) {
    if (!(cpu->cr0 & CR0_PE) || cpu->cpl <= cpu_iopl(cpu)) return FLAG_IF;
    if (cpu_has_virtual_if(cpu)) return FLAG_VIF;
    cpu_raise_error(cpu, VEC_GP, 0);
    return 0;
}

void cpu_h_cli(Cpu *cpu) { cpu->eflags &= ~flags_interrupt_bit(cpu); }

u32 cpu_h_sti(Cpu *cpu) {
    u32 bit = flags_interrupt_bit(cpu);
    if (bit == FLAG_VIF && (cpu->eflags & FLAG_VIP)) {
        cpu_raise_error(cpu, VEC_GP, 0);
        return 1;
    }
    bool opens = bit == FLAG_IF && !(cpu->eflags & FLAG_IF);
    if (opens) cpu->inhibit_irq = true;
    cpu->eflags |= bit;
    return opens;
}

// ---- ports --------------------------------------------------------------------------------------
// The bitmap of the TSS32: all bits of the ports must be clear. Two bytes are always read.
static bool port_in_bitmap(Cpu *cpu, u32 port, u32 size) {
    u32 start, word;
    bool wide = (cpu->tr.access & 0x1f) == SYS_TSS32_BUSY || (cpu->tr.access & 0x1f) == SYS_TSS32;
    if (!wide || !(cpu->tr.access & SEG_ACC_P) || cpu->tr.limit < 0x67)
        return cpu_raise_error(cpu, VEC_GP, 0);
    if (!mem_load16(cpu, cpu->tr.base + 0x66, false, &start)) return false;
    u32 at = start + port / 8;
    if (at + 1 > cpu->tr.limit) return cpu_raise_error(cpu, VEC_GP, 0);
    if (!mem_load16(cpu, cpu->tr.base + at, false, &word)) return false;
    bool refused = word >> (port & 7) & ((1u << size) - 1);
    return !refused || cpu_raise_error(cpu, VEC_GP, 0);
}

// I/O breakpoints (CR4.DE): as for data, the trap comes after the instruction.
static void watch_port(Cpu *cpu, u32 port, u32 size) {
    for (unsigned i = 0; i < 4 && (cpu->cr4 & CR4_DE); i++) {
        u32 kind = cpu->dr[7] >> (16 + 4 * i) & 3, bytes = (cpu->dr[7] >> (18 + 4 * i) & 3) + 1;
        bool armed = cpu->dr[7] >> (2 * i) & 3;
        u32 first = cpu->dr[i] & ~(bytes - 1);
        if (armed && kind == 2 && port < first + bytes && first < port + size)
            cpu->debug_hits |= BIT(i);
    }
}

bool cpu_check_port(Cpu *cpu, u32 port, u32 size) {
    port &= 0xffff;
    if (__builtin_expect(!(cpu->mode & MODE_IO_OK), 0) && !port_in_bitmap(cpu, port, size)) return false;
    if (__builtin_expect(cpu->mode & MODE_DEBUG, 0)) watch_port(cpu, port, size);
    if (port < 0x100) {
        cpu->slow_ports++;
        cpu->budget -= cpu->slow_port_insns;
        cpu->budget_given -= cpu->slow_port_insns;
    }
    return true;
}

u32 cpu_h_in(Cpu *cpu, u32 port, u32 size) {
    return cpu_check_port(cpu, port, size) ? bus_in(cpu->bus, (u16)port, size) : 0;
}

void cpu_h_out(Cpu *cpu, u32 port, u32 size, u32 value) {
    if (cpu_check_port(cpu, port, size)) bus_out(cpu->bus, (u16)port, size, value);
}
