// SPDX-License-Identifier: MIT
// The windows: at host address base + linear a context shows guest pages a second time. The entry of a page that
// is shown is the base itself, which generated code has in r13: it compares the entry and accesses r13 + linear
// without waiting for the table.
//
//  1. Where many pages in a row lie at one distance (no paging, a kernel's direct map), supervisors' windows show
//     all of RAM at that distance: one mapping each. Single pages that supervisors use all the time, and that stay,
//     which is to say are mapped global, are shown besides (Linux: the stack on which it is entered).
//  2. In users' windows pages are shown one by one, when they are hot. A mapping costs some 8 us, an access to a page
//     that is not shown a few ns more than one that is; so a page is shown when such accesses have cost as much as
//     a mapping. It is the one that the last of them went to, which finds pages in proportion to their heat.
//  3. Code at CPL 3 expects the base (MODE_WINDOW, which is a translation of its own) only in address spaces that have
//     run there for long. Before, and for some time when mappings do not last, it adds the entry.
//  4. What a window shows is no promise: the entry decides. A mapping that is out of date stays until another page
//     is shown there, or the space is given to other page tables.
// General registers only, no libc (see Makefile).
#define _GNU_SOURCE
#include "cpu/cpu_int.h"

#include <sys/mman.h>

#define LINEAR_FILLS 32                    // fills with one offset before it gets a mapping
#define HOT_ACCESSES 2000                  // to pages that are not shown, before one of them is
#define HOT_RUN 32u                        // neighbours that are shown with it, if they are neighbours in RAM
#define HOT_MAPPINGS 20000u                // of all windows: Linux allows a process 65530
#define STRESS_MAPPINGS 2u
#define USER_QUANTA 2048                   // of the run loop at CPL 3, before code there expects the base
#define WEAR_OF_CHANGE 6                   // quanta in which a window has to make good for the change of a mapping,
#define WEAR_MOST 4096                     // how many it may be behind,
#define USER_AGAIN (32 * USER_QUANTA)      // and for how long there is none when it is more
#define SINGLE_MET 8                       // times a page is asked for before it is shown: most go soon
#define ALL_PAGES (1u << 20)

static void *window_map(Cpu *cpu, const MmuContext *c, u64 first, u64 bytes, u64 file_at, int flags) {
    return mmap(c->base + first, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED | flags,
                bus_memory_fd(cpu->bus), (off_t)file_at);
}

// The page of the file behind RAM that a host address lies in.
static u32 window_file_page(Cpu *cpu, const u8 *host) { return (u32)((u64)(host - bus_ram(cpu->bus)) >> PAGE_SHIFT); }

bool window_shows(Cpu *cpu, const MmuContext *c, u32 linear_page, const u8 *host) {
    u64 addr = (u64)linear_page << PAGE_SHIFT;
    u32 file_page = window_file_page(cpu, host);
    if (linear_page == ALL_PAGES - 1) return false;          // accesses of a group may go on behind their page
    if (c->window_maps && c->shown[linear_page]) return c->shown[linear_page] == file_page + 1;
    for (u32 i = 0; i < c->single_count; i++)
        if (cpu->mmu->single[i].page == linear_page) return cpu->mmu->single[i].file_page == file_page;
    for (u32 i = 0; i < c->linear_count; i++) {
        const MmuLinear *l = &cpu->mmu->linear[i];
        if (addr >= l->first && addr < l->end) return addr - l->offset == (u64)file_page << PAGE_SHIFT;
    }
    return false;
}

// ---- linear ranges ------------------------------------------------------------------------------
// Single pages lie over the ranges.
void window_show_linear(Cpu *cpu, MmuContext *c) {
    const CpuMmu *mmu = cpu->mmu;
    while (c->linear_count < mmu->linear_count) {
        const MmuLinear *l = &mmu->linear[c->linear_count++];
        void *p = window_map(cpu, c, l->first, l->end - l->first, l->first - l->offset, 0);
        require(p != MAP_FAILED);
        c->single_count = 0;
    }
    while (c->single_count < mmu->single_count) {
        const MmuSingle *s = &mmu->single[c->single_count++];
        void *p = window_map(cpu, c, (u64)s->page << PAGE_SHIFT, PAGE_BYTES, (u64)s->file_page << PAGE_SHIFT, 0);
        require(p != MAP_FAILED);
        mmu_clear_page(mmu->spaces[c->number >> 1], s->page);
    }
}

bool window_add_linear(Cpu *cpu, u32 offset) {
    CpuMmu *mmu = cpu->mmu;
    u64 first = offset, end = min_u64(MMU_WINDOW_BYTES, offset + bus_ram_bytes(cpu->bus));
    if (mmu->linear_count == MMU_LINEAR_MAX) return false;
    for (u32 i = 0; i < mmu->linear_count; i++) {
        const MmuLinear *l = &mmu->linear[i];
        if (first < l->end && l->first < end) { if (first < l->first) end = l->first; else first = l->end; }
    }
    if (first >= end) return false;
    mmu->linear[mmu->linear_count++] = (MmuLinear){ first, end, offset };
    return true;
}

void window_consider(Cpu *cpu, MmuContext *c, u32 linear_page, u32 ppn) {
    CpuMmu *mmu = cpu->mmu;
    u32 offset = (linear_page - ppn) << PAGE_SHIFT;
    if (offset & 0x3fffff || ppn >= bus_ram_bytes(cpu->bus) >> PAGE_SHIFT) return;
    if (window_shows(cpu, c, linear_page, bus_ram(cpu->bus) + ((u64)ppn << PAGE_SHIFT))) return;
    if (offset != mmu->candidate) mmu->candidate_fills = 0;
    mmu->candidate = offset;
    if (++mmu->candidate_fills != LINEAR_FILLS || !window_add_linear(cpu, offset)) return;
    window_show_linear(cpu, c);
    mmu_clear_context(c, NULL);
}

// ---- hot pages ----------------------------------------------------------------------------------
// A page with a direct entry that is not shown: *file_page behind it.
static bool hot_page(Cpu *cpu, const MmuContext *c, u32 page, u32 *file_page) {
    i64 entry = mmu_reads(c->base)[page];
    if (entry < 0 || entry == (i64)(uintptr_t)c->base || page == ALL_PAGES - 1) return false;
    *file_page = window_file_page(cpu, (const u8 *)(entry + ((i64)page << PAGE_SHIFT)));
    return true;
}

// *page and those behind it, *file_page and those behind it: as many neighbours as are to be shown at once.
static u32 hot_run(Cpu *cpu, const MmuContext *c, u32 *page, u32 *file_page) {
    u32 count = 1, other;
    while (count < HOT_RUN && *page + count < ALL_PAGES && hot_page(cpu, c, *page + count, &other) &&
           other == *file_page + count) count++;
    while (count < HOT_RUN && *page && hot_page(cpu, c, *page - 1, &other) && other == *file_page - 1)
        --*page, --*file_page, count++;
    return count;
}

static void hot_show(MmuContext *c, u32 page, u32 file_page) {
    i64 *read = &mmu_reads(c->base)[page], *write = &mmu_writes(c->base)[page];
    c->shown[page] = file_page + 1;
    if (*write == *read) *write = (i64)(uintptr_t)c->base;
    *read = (i64)(uintptr_t)c->base;
}

static bool window_is_full(const CpuMmu *mmu) {
    return mmu->window_maps >= (mmu->window_stress ? STRESS_MAPPINGS : HOT_MAPPINGS);
}

static MmuSingle *single_asked(CpuMmu *mmu, u32 page, u32 file_page) {
    for (u32 i = 0; i < MMU_SINGLE_MAX; i++)
        if (mmu->asked[i].page == page && mmu->asked[i].file_page == file_page) return &mmu->asked[i];
    MmuSingle *s = &mmu->asked[mmu->asked_next++ % MMU_SINGLE_MAX];
    *s = (MmuSingle){ .page = page, .file_page = file_page };
    return s;
}

bool mmu_show_page(Cpu *cpu, u32 page) {
    CpuMmu *mmu = cpu->mmu;
    u32 file_page;
    if (mmu->single_count == MMU_SINGLE_MAX || !map_test(mmu->space->global, page)) return false;
    if (!hot_page(cpu, &mmu->context[0], page, &file_page)) return false;
    for (u32 i = 0; i < mmu->single_count; i++)
        if (mmu->single[i].page == page) return false;         // it shows another one for good
    MmuSingle *s = single_asked(mmu, page, file_page);
    if (++s->met < SINGLE_MET) return false;
    cpu_fpu_keep_pointers(cpu);                                // the data pointer leads past the window
    mmu->single[mmu->single_count++] = *s;
    window_show_linear(cpu, &mmu->context[0]);
    return true;
}

// In the middle of a block: other groups of it may be going on in the window, on pages whose entry is the base. So
// only other pages can be mapped.
void mmu_show_hot(Cpu *cpu, u32 page) {
    CpuMmu *mmu = cpu->mmu;
    MmuContext *c = &mmu->context[1];
    u32 file_page;
    cpu->window_credit = mmu->window_stress ? 1 : HOT_ACCESSES;
    mmu->space->wear += c->shown[page] ? WEAR_OF_CHANGE : 1;
    if (window_is_full(mmu) || !hot_page(cpu, c, page, &file_page)) return;
    cpu_fpu_keep_pointers(cpu);                            // the data pointer leads past the window
    u32 count = hot_run(cpu, c, &page, &file_page);
    u64 bytes = (u64)count << PAGE_SHIFT;
    void *p = window_map(cpu, c, (u64)page << PAGE_SHIFT, bytes, (u64)file_page << PAGE_SHIFT, MAP_POPULATE);
    if (p == MAP_FAILED) return;
    for (u32 i = 0; i < count; i++) hot_show(c, page + i, file_page + i);
    mmu->window_maps++;
    c->window_maps++;
    cpu->stats.window_pages += count;
}

void window_reset(Cpu *cpu, MmuSpace *s) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    MmuContext *c = &s->context[1];
    if (!c->window_maps) return;
    void *p = mmap(c->base, MMU_WINDOW_BYTES, PROT_NONE, flags, -1, 0);
    require(p != MAP_FAILED);
    p = mmap(c->shown, ALL_PAGES * sizeof(u32), PROT_READ | PROT_WRITE, flags, -1, 0);
    require(p != MAP_FAILED);
    mmu_clear_context(c, NULL);
    cpu->mmu->window_maps -= c->window_maps;
    c->window_maps = 0;
}

// ---- which spaces -------------------------------------------------------------------------------
void window_note_mode(Cpu *cpu) { cpu->mode_user = 3 | (cpu->mmu->space->windowed ? MODE_WINDOW : 0); }

void window_begin(const CpuMmu *mmu, MmuSpace *s) {
    s->quanta_left = USER_QUANTA;
    s->wear = 0;
    s->windowed = mmu->window_stress;
}

void mmu_stress_windows(Cpu *cpu) {
    cpu->mmu->window_stress = true;
    for (u32 i = 0; i < cpu->mmu->space_count; i++) cpu->mmu->spaces[i]->windowed = true;
    window_note_mode(cpu);
}

// Each quantum at CPL 3 brings a space nearer to its window; then it makes good for some of what the window has cost.
void mmu_sample(Cpu *cpu) {
    CpuMmu *mmu = cpu->mmu;
    MmuSpace *s = mmu->space;
    if (window_is_full(mmu)) {
        cpu_fpu_keep_pointers(cpu);
        for (u32 i = 0; i < mmu->space_count; i++) window_reset(cpu, mmu->spaces[i]);
    }
    if (!cpu_is_user(cpu) || mmu->window_stress) return;
    bool was = s->windowed;
    if (was) {
        if (s->wear) s->wear--;
        if (s->wear > WEAR_MOST) {
            window_begin(mmu, s);
            s->quanta_left = USER_AGAIN;
        }
    } else if (s->quanta_left && !--s->quanta_left) {
        s->windowed = true;
    }
    if (s->windowed == was) return;
    window_note_mode(cpu);
    cpu_update_privilege(cpu);
}
