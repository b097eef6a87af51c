// SPDX-License-Identifier: MIT
// The soft MMU: flat tables that decide validity.
//
// Each address space (space.c) has one context per privilege (supervisor, user); a context is one reserved address
// range around `base`:
//
//     base + lin        the window: where the guest's linear address space may be mapped a second time
//     base + MMU_READ   8-byte entry per 4 KiB page: host minus guest address; negative: look in C
//     base + MMU_WRITE  the same for stores
//     base + MMU_CODE   4-byte entry per page: where fetching leads (mmu_code_entry); ~0: look in C
//
// Generated code: addend = table[linear >> 12]; if (addend < 0) slow; access(addend + linear).
// An entry is filled by mmu_fill() only and dropped by mmu_drop_*() only. A write entry exists only
// while the page is writable for the context, dirty in the guest's page table, RAM, and holds no
// translated code (per page; granules are looked at in the slow path), no dirty log, no page table.
#ifndef CPU_MMU_H
#define CPU_MMU_H

#include "cpu/cpu.h"

#define MMU_READ (-(32 << 20))
#define MMU_WRITE (-(24 << 20))
#define MMU_CODE (-(16 << 20))
#define MMU_TABLE_BYTES (20u << 20)        // from MMU_READ on
#define MMU_INVALID INT64_MIN
// Negative entries that C understands: translated and allowed, but not to be accessed directly; the
// low 20 bits are the physical page number.
#define MMU_KNOWN_BIT (1ll << 62)
#define MMU_KNOWN(ppn) (MMU_INVALID | MMU_KNOWN_BIT | (i64)(ppn))
#define MMU_NO_CODE 0xffffffffu
// How far a page is from its physical page, turned so that this is a small number, which generated code compares with,
// where a kernel has RAM at linear 0, 1, 2 or 3 GiB. (MMU_NO_CODE would be a distance of more than all pages.)
static inline u32 mmu_code_entry(u32 page, u32 ppn) {
    u32 distance = page - ppn;
    return (distance << 14 | distance >> 18) ^ 0x40;
}
static inline u32 mmu_code_ppn(u32 page, u32 entry) {
    u32 turned = entry ^ 0x40;
    return entry == MMU_NO_CODE ? MMU_NO_CODE : page - (turned >> 14 | turned << 18);
}

bool mmu_has_room(void);                             // does the host have addresses for one more address space?
void mmu_new(Cpu *cpu);                              // cpu->mmu
void mmu_free(CpuMmu *mmu);
u8 *mmu_context_base(CpuMmu *mmu, bool user);

typedef enum MmuAccess { MMU_LOAD, MMU_STORE, MMU_FETCH } MmuAccess;
// Walks the page tables for the page of `addr`, sets A/D bits, fills the entries that may be
// filled. Gives the physical address of `addr`. False: #PF recorded (CR2, error code: SDM 3A 4.7).
bool mmu_fill(Cpu *cpu, Lin addr, MmuAccess access, bool user, Phy *out);
// The entry for loads (stores) of the page at the present privilege, filled if it can be without setting A or
// D bits and without a fault; MMU_INVALID or a KNOWN entry otherwise.
i64 mmu_fill_quietly(Cpu *cpu, Lin addr, bool store);
// The physical page that fetching at addr leads to at the present privilege, as far as the table knows it now;
// MMU_NO_CODE otherwise (shifted left by PAGE_SHIFT, that is no page a block can lie in).
static inline u32 mmu_code_page(const Cpu *cpu, Lin addr) {
    u32 page = addr.v >> PAGE_SHIFT;
    return mmu_code_ppn(page, ((const u32 *)(const void *)(cpu->mmu_base + MMU_CODE))[page]);
}
void mmu_switch(Cpu *cpu);                           // CR3 was loaded, CR0.WP changed: to that address space
void mmu_flush(Cpu *cpu);                            // CR0.PG, CR4, A20, the map: nothing holds any more
void mmu_drop_page(Cpu *cpu, Lin addr);              // INVLPG
void mmu_table_written(Cpu *cpu, u32 ppn);           // a store to a page that is in use as page table
// Asked for again and again, a page is shown in supervisors' windows, in every address space: if it is one that stays,
// which is to say mapped global (Linux: the stack on which it is entered). For between blocks. True: it is from now on.
bool mmu_show_page(Cpu *cpu, u32 page);
void mmu_protect_phys(Cpu *cpu, u32 ppn);            // drops write entries that lead to the page
// For the bus hooks of the same names (opaque: the Cpu).
void mmu_map_changed(void *cpu, u32 ppn, u32 pages);
void mmu_write_protect(void *cpu, u32 ppn);
void mmu_note_table(void *cpu, u32 ppn);
// For the jit: Cpu.window_credit is used up by an access to this page; a quantum begins.
void mmu_show_hot(Cpu *cpu, u32 page);
void mmu_sample(Cpu *cpu);
void mmu_stress_windows(Cpu *cpu);                   // shows pages, and uses windows at CPL 3, at once

#endif
