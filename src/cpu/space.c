// SPDX-License-Identifier: MIT
// Address spaces: the entries of the soft MMU are kept over loads of CR3.
//
// A space is what one set of page tables maps: two contexts of tables (mmu.c), found by CR3 (PAE: by the four
// directory pointers) and the mode bits that a walk depends on. A load of CR3 makes its space the present one.
// The architecture drops all entries then that are not global (SDM 3A 4.10.4.1), so entries may be kept only
// if a walk would give the same again:
//
//  1. Every page in use as page table or directory is watched: BUS_PAGE_TABLE keeps it out of the store tables,
//     so that the first store to it, by whatever way, comes to mmu_table_written().
//  2. That lets the page go: it takes stores directly again, and all that was made from it is dirty.
//  3. A switch to a space looks at what is dirty there: each table or directory entry is compared with what it
//     was, entries whose source has changed are dropped, and the page is watched again.
//
// So a table that is written a thousand times between two switches costs one slow store and one look. Between a
// store and the next switch (or INVLPG) old entries stay, as they do in a processor.
//
// A region is what one directory entry maps; it is live while it has entries that are not global. An accessed or
// dirty bit that appears changes nothing; one that disappears drops the entry, because the next access must set
// it again. Global pages need no watching: only INVLPG and mmu_flush() drop them. When a space is given to
// other page tables, they stay.
// General registers only, no libc (see Makefile).
#include "cpu/cpu_int.h"

#include <sys/mman.h>

#define SPACE_CR0 (CR0_PG | CR0_WP)
#define SPACE_CR4 (CR4_PSE | CR4_PAE | CR4_PGE)     // no bit twice
#define MARKS 0x60u                                // accessed, dirty

// ---- who uses a page as table -------------------------------------------------------------------
// Users are numbered: a space's regions, then its directories.
#define USERS_OF_SPACE (MMU_REGIONS + MMU_DIRECTORIES)

static u32 user_number(const MmuSpace *s, u32 n) { return s->index * USERS_OF_SPACE + n + 1; }

static void user_add(CpuMmu *mmu, u32 ppn, u32 number) {
    mmu->user_next[number - 1] = mmu->table_user[ppn];
    mmu->table_user[ppn] = number;
}

static void user_remove(Cpu *cpu, u32 ppn, u32 number) {
    u32 *at = &cpu->mmu->table_user[ppn];
    while (*at != number) at = &cpu->mmu->user_next[*at - 1];
    *at = cpu->mmu->user_next[number - 1];
    if (!cpu->mmu->table_user[ppn]) bus_page(cpu->bus, ppn)->flags &= (u8)~BUS_PAGE_TABLE;
}

// Stores to the page are seen from now on.
static void table_watch(Cpu *cpu, u32 ppn) {
    BusPage *page = bus_page(cpu->bus, ppn);
    if (page->flags & BUS_PAGE_TABLE) return;
    page->flags |= BUS_PAGE_TABLE;
    mmu_protect_phys(cpu, ppn);
}

static void user_tell(CpuMmu *mmu, u32 number) {
    MmuSpace *s = mmu->spaces[(number - 1) / USERS_OF_SPACE];
    u32 n = (number - 1) % USERS_OF_SPACE;
    if (n >= MMU_REGIONS) s->directories_dirty = true;
    else if (!s->region[n].dirty) {
        s->region[n].dirty = true;
        s->dirty[s->dirty_count++] = (u16)n;
    }
}

void mmu_table_written(Cpu *cpu, u32 ppn) {
    CpuMmu *mmu = cpu->mmu;
    if (mmu->marking) return;
    bus_page(cpu->bus, ppn)->flags &= (u8)~BUS_PAGE_TABLE;
    for (u32 i = mmu->table_user[ppn]; i; i = mmu->user_next[i - 1]) user_tell(mmu, i);
    cpu->stats.table_stores++;
}

// ---- regions ------------------------------------------------------------------------------------
static u32 space_pages(const MmuSpace *s) { return s->mode & CR4_PAE ? 512 : 1024; }    // in a region

// May entries made from `was` stay, now that the table says `now`?
static bool entry_holds(u64 was, u64 now) {
    u64 changed = was ^ now;
    return !(changed & ~(u64)MARKS) && !(changed & was);
}

// Calls for each page of the region that may have entries and is not global.
#define FOR_PAGES(s, r, page) \
    for (u32 page##_w = (r) * space_pages(s) / 32, page##_end = page##_w + space_pages(s) / 32, page##_bits, page; \
         page##_w < page##_end; page##_w++) \
        for (page##_bits = ((s)->context[0].listed[page##_w] | (s)->context[1].listed[page##_w]) \
                 & ~(s)->global[page##_w]; \
             page##_bits && (page = page##_w * 32 + (u32)__builtin_ctz(page##_bits), true); \
             page##_bits &= page##_bits - 1)

static void region_end(Cpu *cpu, MmuSpace *s, u32 r) {
    MmuRegion *g = &s->region[r];
    FOR_PAGES(s, r, page) mmu_clear_page(s, page);
    if (g->table != MMU_NO_TABLE) user_remove(cpu, g->table, user_number(s, r));
    u16 last = s->live[--s->live_count];
    s->live[g->place] = last;
    s->region[last].place = g->place;
    g->live = false;
}

static void space_end_regions(Cpu *cpu, MmuSpace *s) {
    while (s->live_count) region_end(cpu, s, s->live[s->live_count - 1]);
    for (u32 i = 0; i < MMU_DIRECTORIES; i++) {
        if (s->directory[i]) user_remove(cpu, s->directory[i] - 1, user_number(s, MMU_REGIONS + i));
        s->directory[i] = 0;
    }
    s->loose = false;
}

// The page of a table at a physical address. False: it cannot be watched, and the space is not kept.
static bool table_page(Cpu *cpu, MmuSpace *s, u64 at, u32 *ppn) {
    *ppn = at >> 32 ? 0 : walk_gate(cpu, (u32)at) >> PAGE_SHIFT;
    if (!(at >> 32) && bus_page(cpu->bus, *ppn)->kind == BUS_PAGE_RAM) return true;
    s->loose = true;
    return false;
}

static void region_start(Cpu *cpu, MmuSpace *s, u32 r, const MmuMapping *m) {
    MmuRegion *g = &s->region[r];
    u32 ppn, part = s->mode & CR4_PAE ? r >> 9 : 0;
    *g = (MmuRegion){ .pde_at = m->pde_at, .pde = m->pde, .table = MMU_NO_TABLE, .place = (u16)s->live_count,
                      .live = true, .dirty = g->dirty };
    s->live[s->live_count++] = (u16)r;
    if (!m->large && table_page(cpu, s, m->pte_at, &ppn)) {
        g->table = ppn;
        user_add(cpu->mmu, ppn, user_number(s, r));
        table_watch(cpu, ppn);
    }
    if (!s->directory[part] && table_page(cpu, s, m->pde_at, &ppn)) {
        s->directory[part] = ppn + 1;
        user_add(cpu->mmu, ppn, user_number(s, MMU_REGIONS + part));
        table_watch(cpu, ppn);
    }
}

void space_track(Cpu *cpu, u32 addr, const MmuMapping *m) {
    MmuSpace *s = cpu->mmu->space;
    u32 page = addr >> PAGE_SHIFT, r = page / space_pages(s);
    MmuRegion *g = &s->region[r];
    if (g->live && !entry_holds(g->pde, m->pde)) region_end(cpu, s, r);
    if (!g->live) region_start(cpu, s, r, m);
    else if (!m->large && !entry_holds(s->pte[page], m->pte)) mmu_clear_page(s, page);
    g->pde = m->pde;
    if (!m->large) s->pte[page] = m->pte;
}

// ---- looking at what is dirty -------------------------------------------------------------------
static void region_check(Cpu *cpu, MmuSpace *s, u32 r) {
    MmuRegion *g = &s->region[r];
    g->dirty = false;
    if (!g->live || g->table == MMU_NO_TABLE) return;
    const u8 *table = bus_page(cpu->bus, g->table)->host;
    bool pae = s->mode & CR4_PAE;
    FOR_PAGES(s, r, page) {
        u64 now = pae ? get_le64(table + 8 * (page & 511)) : get_le32(table + 4 * (page & 1023));
        if (entry_holds(s->pte[page], now)) continue;
        mmu_clear_page(s, page);
        s->pte[page] = now;                  // so that an entry that has gone is not looked at again
        cpu->stats.tlb_changes++;
    }
    table_watch(cpu, g->table);
}

// Directories that have lost most of what they had are those of another process now.
static void space_check_directories(Cpu *cpu, MmuSpace *s) {
    u32 before = s->live_count;
    s->directories_dirty = false;
    for (u32 i = s->live_count; i-- > 0;) {
        u32 r = s->live[i];
        if (!entry_holds(s->region[r].pde, walk_read_entry(cpu, s->region[r].pde_at))) region_end(cpu, s, r);
    }
    if (s->live_count < before / 2) {
        window_begin(cpu->mmu, s);
        window_note_mode(cpu);
    }
    for (u32 i = 0; i < MMU_DIRECTORIES; i++)
        if (s->directory[i]) table_watch(cpu, s->directory[i] - 1);
}

static void space_check(Cpu *cpu, MmuSpace *s) {
    if (s->loose) space_end_regions(cpu, s);
    if (s->directories_dirty) space_check_directories(cpu, s);
    while (s->dirty_count) region_check(cpu, s, s->dirty[--s->dirty_count]);
}

// ---- switching ----------------------------------------------------------------------------------
static MmuSpace *space_open(CpuMmu *mmu) {
    MmuSpace *s = mmu_map_sparse(sizeof *s);
    s->index = mmu->space_count;
    for (u32 i = 0; i < 2; i++) mmu_open_context(mmu, &s->context[i], 2 * s->index + i);
    s->global = mmu_map_sparse(BUS_PAGES / 8);
    s->pte = mmu_map_sparse(BUS_PAGES * sizeof *s->pte);
    return mmu->spaces[mmu->space_count++] = s;
}

void space_close(MmuSpace *s) {
    for (u32 i = 0; i < 2; i++) mmu_close_context(&s->context[i]);
    munmap(s->global, BUS_PAGES / 8);
    munmap(s->pte, BUS_PAGES * sizeof *s->pte);
    munmap(s, sizeof *s);
}

static void space_empty(Cpu *cpu, MmuSpace *s, const u32 *keep) {
    for (u32 i = 0; i < 2; i++) mmu_clear_context(&s->context[i], keep);
    for (u32 i = 0; !keep && i < ARRAY_LEN(s->large); i++) s->large[i] = 0;
    space_end_regions(cpu, s);
    s->stale = false;
}

static void space_key(const Cpu *cpu, u64 root[4], u32 *mode) {
    bool paged = cpu->cr0 & CR0_PG, pae = paged && (cpu->cr4 & CR4_PAE);
    *mode = paged ? (cpu->cr0 & SPACE_CR0) | (cpu->cr4 & SPACE_CR4) | (cpu->efer & EFER_NXE) : 0;
    root[0] = pae ? cpu->pdpte[0] : paged ? cpu->cr3 & PAGE_MASK : 0;
    for (u32 i = 1; i < 4; i++) root[i] = pae ? cpu->pdpte[i] : 0;
}

static bool space_has(const MmuSpace *s, const u64 root[4], u32 mode) {
    return s->root[0] == root[0] && s->mode == mode && s->root[1] == root[1] && s->root[2] == root[2] &&
           s->root[3] == root[3];
}

// The space that was not used for the longest time, or a new one, as long as the host has room: a guest's address
// spaces must not end the emulator.
static MmuSpace *space_take(Cpu *cpu, const u64 root[4], u32 mode) {
    CpuMmu *mmu = cpu->mmu;
    MmuSpace *s = mmu->spaces[0];
    for (u32 i = 1; i < mmu->space_count; i++)
        if (mmu->spaces[i]->used < s->used) s = mmu->spaces[i];
    if (!s || (mmu->space_count < MMU_SPACES && mmu_has_room())) s = space_open(mmu);
    window_reset(cpu, s);
    space_empty(cpu, s, s->mode == mode && !s->stale ? s->global : NULL);
    window_begin(mmu, s);
    for (u32 i = 0; i < 4; i++) s->root[i] = root[i];
    s->mode = mode;
    return s;
}

static MmuSpace *space_find(Cpu *cpu) {
    CpuMmu *mmu = cpu->mmu;
    u64 root[4];
    u32 mode;
    space_key(cpu, root, &mode);
    if (mmu->space && mmu->space->next && space_has(mmu->space->next, root, mode)) return mmu->space->next;
    for (u32 i = 0; i < mmu->space_count; i++)
        if (space_has(mmu->spaces[i], root, mode)) return mmu->spaces[i];
    cpu->stats.space_misses++;
    return space_take(cpu, root, mode);
}

void mmu_switch(Cpu *cpu) {
    CpuMmu *mmu = cpu->mmu;
    MmuSpace *s = space_find(cpu);
    if (mmu->space) mmu->space->next = s;
    s->used = ++mmu->clock;
    mmu->space = s;
    mmu->context = s->context;
    for (u32 i = 0; i < 2; i++) cpu->context_base[i] = s->context[i].base;
    window_note_mode(cpu);
    cpu->mmu_base = mmu_context_base(mmu, cpu->cpl == 3);
    if (s->stale) space_empty(cpu, s, NULL);
    window_show_linear(cpu, &s->context[0]);
    space_check(cpu, s);
}
