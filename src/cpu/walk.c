// SPDX-License-Identifier: MIT
// The page walk: 32-bit and PAE tables, rights, reserved bits, accessed and dirty bits.
//
// Rules: SDM 3A 4.3 (32-bit paging), 4.4 (PAE), 4.6 (rights), 4.7 (error codes), 4.8 (A and D).
// Entries are 64 bits wide here, whatever the format. Physical addresses from 4 GiB on exist only in
// page tables: nothing answers there, so tables read as ones and pages are WALK_NOWHERE.
// General registers only, no libc (see Makefile).
#include "cpu/cpu_int.h"
#include "cpu/model.h"
#include "cpu/shadow.h"

#define PTE_P 0x001u
#define PTE_W 0x002u
#define PTE_U 0x004u
#define PTE_A 0x020u
#define PTE_D 0x040u
#define PTE_PS 0x080u          // of a directory entry
#define PTE_PAT 0x080u         // of a table entry
#define PTE_G 0x100u
#define PDE_PAT 0x1000u        // of a large page
#define PTE_NX (1ull << 63)
#define PDPTE_RESERVED 0x1e6u

#define PF_P 1u
#define PF_W 2u
#define PF_U 4u
#define PF_RSVD 8u
#define PF_FETCH 16u

#define WALK_NOWHERE 0xfeeff000u           // nothing is ever mapped in this page

u32 walk_gate(Cpu *cpu, u32 phys) { return bus_a20(cpu->bus) ? phys : phys & ~BIT(20); }

static u32 walk_read(Cpu *cpu, u32 phys) {
    phys = walk_gate(cpu, phys);
    const BusPage *page = bus_page(cpu->bus, phys >> PAGE_SHIFT);
    if (!page->host) return cpu->shadow ? ~0u : bus_read(cpu->bus, phy(phys), 4);
    return get_le32(page->host + (phys & ~PAGE_MASK));
}

// Accessed and dirty bits are in the low half of either format. What the entry maps stays the same, so that
// nothing made from it must go.
static void walk_write(Cpu *cpu, u64 phys, u32 low) {
    if (phys >> 32) return;
    cpu->mmu->marking = true;
    if (cpu->shadow) shadow_write_table(cpu->shadow, walk_gate(cpu, (u32)phys), low);
    else bus_write(cpu->bus, phy(walk_gate(cpu, (u32)phys)), 4, low);
    cpu->mmu->marking = false;
}

static u64 walk_read64(Cpu *cpu, u64 phys) {
    if (phys >> 32) return ~0ull;
    return walk_read(cpu, (u32)phys) | (u64)walk_read(cpu, (u32)phys + 4) << 32;
}

u64 walk_read_entry(Cpu *cpu, u64 at) {
    return cpu->cr4 & CR4_PAE ? walk_read64(cpu, at) : walk_read(cpu, (u32)at);
}

// ---- PAE ----------------------------------------------------------------------------------------
static u64 walk_address_bits(const Cpu *cpu) { return ((1ull << cpu->phys_bits) - 1) & ~0xfffull; }

// Bits that must be clear in any entry of a directory or table.
static u64 walk_reserved_high(const Cpu *cpu) {
    u64 reserved = ~((1ull << cpu->phys_bits) - 1) & ~PTE_NX;
    return cpu->efer & EFER_NXE ? reserved : reserved | PTE_NX;
}

bool walk_load_pdptes(Cpu *cpu, u32 cr3) {
    u64 entry[4];
    u64 reserved = PDPTE_RESERVED | ~((1ull << cpu->phys_bits) - 1);
    u32 at = walk_gate(cpu, cr3 & ~31u);
    const u8 *host = bus_page(cpu->bus, at >> PAGE_SHIFT)->host;
    for (unsigned i = 0; i < 4; i++) {
        entry[i] = host ? get_le64(host + (at & ~PAGE_MASK) + 8 * i) : walk_read64(cpu, at + 8 * i);
        if ((entry[i] & PTE_P) && (entry[i] & reserved)) return false;
    }
    for (unsigned i = 0; i < 4; i++) cpu->pdpte[i] = entry[i];
    return true;
}

static bool walk_pae(Cpu *cpu, u32 addr, MmuMapping *m) {
    u64 top = cpu->pdpte[addr >> 30], high = walk_reserved_high(cpu), pat = cpu_has(cpu, CPU_HAS_PAT);
    if (!(top & PTE_P)) return false;
    m->pde_at = (top & walk_address_bits(cpu)) + (addr >> 18 & 0xff8);
    m->pde = m->pte = walk_read64(cpu, m->pde_at);
    m->pte_at = m->pde_at;
    if (!(m->pde & PTE_P)) return false;
    m->large = m->pde & PTE_PS;
    u64 reserved = high | (m->large ? 0x1fe000u | (pat ? 0 : PDE_PAT) : 0);
    m->reserved = m->pde & reserved;
    if (m->large || m->reserved) return !m->reserved;
    m->pte_at = (m->pde & walk_address_bits(cpu)) + (addr >> 9 & 0xff8);
    m->pte = walk_read64(cpu, m->pte_at);
    if (!(m->pte & PTE_P)) return false;
    m->reserved = m->pte & (high | (pat ? 0 : PTE_PAT));
    return !m->reserved;
}

// ---- 32-bit -------------------------------------------------------------------------------------
// Without CR4.PSE nothing is reserved.
static u32 walk_reserved_large(const Cpu *cpu) {
    u32 unused = cpu_has(cpu, CPU_HAS_PAT) ? 0 : PDE_PAT;
    if (!cpu_has(cpu, CPU_HAS_PSE36)) return unused | 0x3fe000;
    u32 above = min_u32(cpu->phys_bits, 40) - 32;              // bits 13.. give bits 32.. of the address
    return unused | (0x3fe000 & ~0u << (13 + above));
}

static bool walk_two_levels(Cpu *cpu, u32 addr, MmuMapping *m) {
    bool pse = cpu->cr4 & CR4_PSE;
    m->pde_at = m->pte_at = (cpu->cr3 & PAGE_MASK) | (addr >> 20 & 0xffc);
    m->pde = m->pte = walk_read(cpu, (u32)m->pde_at);
    if (!(m->pde & PTE_P)) return false;
    m->large = pse && (m->pde & PTE_PS);
    m->reserved = m->large && (m->pde & walk_reserved_large(cpu));
    if (m->large || m->reserved) return !m->reserved;
    m->pte_at = (m->pde & PAGE_MASK) | (addr >> 10 & 0xffc);
    m->pte = walk_read(cpu, (u32)m->pte_at);
    if (!(m->pte & PTE_P)) return false;
    m->reserved = pse && (m->pte & PTE_PAT) && !cpu_has(cpu, CPU_HAS_PAT);
    return !m->reserved;
}

// ---- both ---------------------------------------------------------------------------------------
static u64 walk_target(const Cpu *cpu, u32 addr, const MmuMapping *m, bool pae) {
    if (pae) {
        u32 mask = m->large ? 0x1fffff : ~PAGE_MASK;
        return (m->pte & walk_address_bits(cpu) & ~(u64)mask) | (addr & mask);
    }
    if (!m->large) return ((u32)m->pte & PAGE_MASK) | (addr & ~PAGE_MASK);
    u64 high = cpu_has(cpu, CPU_HAS_PSE36) ? (m->pte >> 13 & 0xff) << 32 : 0;
    return high | ((u32)m->pte & 0xffc00000) | (addr & 0x3fffff);
}

bool mmu_look(Cpu *cpu, u32 addr, MmuMapping *m) {
    *m = (MmuMapping){ .phys = addr, .writable = true, .user = true, .execute = true, .dirty = true,
                       .accessed = true };
    if (!(cpu->cr0 & CR0_PG)) return true;
    bool pae = cpu->cr4 & CR4_PAE;
    if (!(pae ? walk_pae(cpu, addr, m) : walk_two_levels(cpu, addr, m))) return false;
    u64 rights = m->pde & m->pte, target = walk_target(cpu, addr, m, pae);
    m->phys = target >> 32 ? WALK_NOWHERE | (addr & ~PAGE_MASK) : (u32)target;
    m->writable = rights & PTE_W;
    m->user = rights & PTE_U;
    m->execute = !pae || !((m->pde | m->pte) & PTE_NX);
    m->accessed = rights & PTE_A;
    m->dirty = m->pte & PTE_D;
    m->global = (m->pte & PTE_G) && (cpu->cr4 & CR4_PGE);
    return true;
}

static bool walk_fault(Cpu *cpu, u32 addr, MmuAccess access, bool user, u32 error) {
    bool tells_fetch = (cpu->cr4 & CR4_PAE) && (cpu->efer & EFER_NXE);
    cpu->cr2 = addr;
    error |= (access == MMU_STORE ? PF_W : 0) | (user ? PF_U : 0);
    if (access == MMU_FETCH && tells_fetch) error |= PF_FETCH;
    return cpu_raise_error(cpu, VEC_PF, error);
}

static void walk_mark(Cpu *cpu, MmuMapping *m, bool store) {
    u32 marks = PTE_A | (store ? PTE_D : 0);
    if (!m->large && !(m->pde & PTE_A)) {
        m->pde |= PTE_A;
        walk_write(cpu, m->pde_at, (u32)m->pde);
    }
    if ((m->pte & marks) == marks) return;
    m->pte |= marks;
    walk_write(cpu, m->pte_at, (u32)m->pte);
    m->dirty = m->dirty || store;
    if (m->large) m->pde = m->pte;
}

bool mmu_allows(const Cpu *cpu, MmuMapping *m, MmuAccess access, bool user) {
    m->writable = m->writable || (!user && !(cpu->cr0 & CR0_WP));
    if (user && !m->user) return false;
    return access == MMU_LOAD || (access == MMU_STORE ? m->writable : m->execute);
}

bool mmu_walk(Cpu *cpu, u32 addr, MmuAccess access, bool user, MmuMapping *m) {
    if (!mmu_look(cpu, addr, m))
        return walk_fault(cpu, addr, access, user, m->reserved ? PF_P | PF_RSVD : 0);
    if (cpu->cr0 & CR0_PG) {
        if (!mmu_allows(cpu, m, access, user)) return walk_fault(cpu, addr, access, user, PF_P);
        walk_mark(cpu, m, access == MMU_STORE);
    }
    m->phys = walk_gate(cpu, m->phys);
    return true;
}
