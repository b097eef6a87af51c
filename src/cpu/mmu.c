// SPDX-License-Identifier: MIT
// The soft MMU: filling and dropping of the flat tables. The page walk is walk.c's, address spaces are
// space.c's.
//
// Invariants
//  1. An entry of a context is not "invalid" only if its page is in the context's `filled` list;
//     the `listed` bitmap keeps the list free of duplicates. So a flush walks the list.
//  2. A direct (positive) write entry to a physical page p exists in any context, of whatever space, only
//     if the list writer[p] names it: its linear page, with a bit for the context. (A name may be out of
//     date: the entry has gone, or leads elsewhere.)
//  3. Untouched tables cost nothing: they are private mappings of a small file that holds the
//     pattern "invalid", so that only pages of the tables with an entry are ever copied.
//  4. A20 is applied by the walk, once: entries and KNOWN page numbers are behind the gate.
#define _GNU_SOURCE
#include "cpu/cpu_int.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATTERN_BYTES (512u << 10)         // of each of the two patterns in the file
#define ADDEND_BYTES ((u32)(MMU_CODE - MMU_READ))      // the first tables, of 8-byte entries
#define GUARD_BYTES (1u << 20)             // behind the window: an access at its end may go on
#define CONTEXT_BYTES (MMU_WINDOW_BYTES - MMU_READ + GUARD_BYTES)
#define LISTS_BYTES (64u << 20)            // more than the lists of a space, and those of all, take
#define FILLED_MAX 65536u                  // longer lists make the context start afresh
#define LINEAR_PAGES (1u << 20)
#define WRITERS (1u << 20)                 // names in all lists of writers
#define WRITER_SHORT 6                     // a longer list is tidied before it grows

// ---- life ---------------------------------------------------------------------------------------
void *mmu_map_sparse(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) panic("the host has no address space left for the soft MMU");
    return p;
}

bool mmu_has_room(void) {
    size_t bytes = 2 * (CONTEXT_BYTES + MEM_HUGE_BYTES) + LISTS_BYTES;
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED) munmap(p, bytes);
    return p != MAP_FAILED;
}

// The file: PATTERN_BYTES of MMU_INVALID, then as much of MMU_NO_CODE. Written, not mapped: that is
// the quickest way to make its pages.
static int mmu_make_pattern(void) {
    i64 part[2048];
    int fd = memfd_create("glassbox-mmu", MFD_CLOEXEC);
    if (fd < 0) panic("no memory file for the soft MMU");
    for (u32 at = 0; at < 2 * PATTERN_BYTES; at += sizeof(part)) {
        if (at % PATTERN_BYTES == 0)
            for (unsigned i = 0; i < ARRAY_LEN(part); i++) part[i] = at ? -1 : MMU_INVALID;
        if (write(fd, part, sizeof(part)) != (ssize_t)sizeof(part))
            panic("no memory for the soft MMU's pattern");
    }
    return fd;
}

// Lays the pattern under all tables of a context: every entry is invalid, host memory is freed.
static void mmu_lay_pattern(const CpuMmu *mmu, MmuContext *c) {
    for (u32 at = 0; at < MMU_TABLE_BYTES; at += PATTERN_BYTES) {
        off_t from = at < ADDEND_BYTES ? 0 : PATTERN_BYTES;
        void *p = mmap(c->base + MMU_READ + at, PATTERN_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, mmu->pattern_fd, from);
        require(p != MAP_FAILED);
    }
}

void mmu_open_context(const CpuMmu *mmu, MmuContext *c, u32 number) {
    u8 *region = mmap(NULL, CONTEXT_BYTES + MEM_HUGE_BYTES, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) panic("the host has no address space left for the soft MMU");
    u64 skip = -(uintptr_t)region & (MEM_HUGE_BYTES - 1);          // neighbours in the file are so in the window
    munmap(region + skip + CONTEXT_BYTES, MEM_HUGE_BYTES - skip);
    if (skip) munmap(region, skip);
    c->base = region + skip - MMU_READ;
    c->number = number;
    mmu_lay_pattern(mmu, c);
    c->filled = mmu_map_sparse(FILLED_MAX * sizeof(u32));
    c->listed = mmu_map_sparse(LINEAR_PAGES / 8);
    if (number & 1) c->shown = mmu_map_sparse(LINEAR_PAGES * sizeof(u32));
}

void mmu_close_context(MmuContext *c) {
    munmap(c->base + MMU_READ, CONTEXT_BYTES);
    munmap(c->filled, FILLED_MAX * sizeof(u32));
    munmap(c->listed, LINEAR_PAGES / 8);
    if (c->shown) munmap(c->shown, LINEAR_PAGES * sizeof(u32));
}

void mmu_new(Cpu *cpu) {
    CpuMmu *mmu = cpu->mmu = mem_new(sizeof(CpuMmu));
    mmu->pattern_fd = mmu_make_pattern();
    mmu->writer = mmu_map_sparse((size_t)BUS_PAGES * sizeof(u32));
    mmu->writers = mmu_map_sparse((size_t)WRITERS * sizeof(MmuWriter));
    mmu->writer_used = 1;
    mmu->table_user = mmu_map_sparse((size_t)BUS_PAGES * sizeof(u32));
    mmu->user_next = mmu_map_sparse((size_t)MMU_SPACES * (MMU_REGIONS + MMU_DIRECTORIES) * sizeof(u32));
    mmu->ever_global = mmu_map_sparse(LINEAR_PAGES / 8);
    window_add_linear(cpu, 0);
    mmu_switch(cpu);
}

void mmu_free(CpuMmu *mmu) {
    if (!mmu) return;
    for (unsigned i = 0; i < mmu->space_count; i++) space_close(mmu->spaces[i]);
    munmap(mmu->writer, (size_t)BUS_PAGES * sizeof(u32));
    munmap(mmu->writers, (size_t)WRITERS * sizeof(MmuWriter));
    munmap(mmu->table_user, (size_t)BUS_PAGES * sizeof(u32));
    munmap(mmu->user_next, (size_t)MMU_SPACES * (MMU_REGIONS + MMU_DIRECTORIES) * sizeof(u32));
    munmap(mmu->ever_global, LINEAR_PAGES / 8);
    close(mmu->pattern_fd);
    free(mmu);
}

u8 *mmu_context_base(CpuMmu *mmu, bool user) { return mmu->context[user].base; }

// ---- the filled list ----------------------------------------------------------------------------
// Writes only what changes: a table page that was never filled must not be copied.
static void context_clear_entries(MmuContext *c, u32 page) {
    i64 *read = &mmu_reads(c->base)[page], *write = &mmu_writes(c->base)[page];
    u32 *code = &mmu_codes(c->base)[page];
    if (*read != MMU_INVALID) *read = MMU_INVALID;
    if (*write != MMU_INVALID) *write = MMU_INVALID;
    if (*code != MMU_NO_CODE) *code = MMU_NO_CODE;
}

static void context_restart(CpuMmu *mmu, MmuContext *c) {
    for (u32 i = 0; i < c->filled_count; i++) map_put(c->listed, c->filled[i], false);
    c->filled_count = 0;
    mmu_lay_pattern(mmu, c);
}

static void context_list(CpuMmu *mmu, MmuContext *c, u32 page) {
    if (map_test(c->listed, page)) return;
    if (c->filled_count == FILLED_MAX) context_restart(mmu, c);
    c->filled[c->filled_count++] = page;
    map_put(c->listed, page, true);
}

void mmu_clear_context(MmuContext *c, const u32 *keep) {
    u32 kept = 0;
    for (u32 i = 0; i < c->filled_count; i++) {
        u32 page = c->filled[i];
        if (keep && map_test(keep, page)) {
            c->filled[kept++] = page;
            continue;
        }
        context_clear_entries(c, page);
        map_put(c->listed, page, false);
    }
    c->filled_count = kept;
}

void mmu_clear_page(MmuSpace *s, u32 page) {
    for (unsigned i = 0; i < 2; i++)
        if (map_test(s->context[i].listed, page)) context_clear_entries(&s->context[i], page);
}

// ---- write entries ------------------------------------------------------------------------------
static i64 entry_plain(const BusPage *page, u32 linear_page) {
    return (i64)(uintptr_t)page->host - ((i64)linear_page << PAGE_SHIFT);
}

static i64 entry_direct(Cpu *cpu, const MmuContext *c, const BusPage *page, u32 linear_page) {
    bool shown = (c->linear_count || c->window_maps) && window_shows(cpu, c, linear_page, page->host);
    return shown ? (i64)(uintptr_t)c->base : entry_plain(page, linear_page);
}

static bool entry_leads_to(Cpu *cpu, const MmuContext *c, i64 entry, u32 linear_page, const BusPage *page) {
    return entry >= 0 && (entry == entry_plain(page, linear_page) ||
                          (entry == (i64)(uintptr_t)c->base && window_shows(cpu, c, linear_page, page->host)));
}

// May stores to the page go the direct way? `storing`: one is about to happen (makes it dirty).
static bool page_takes_direct(Cpu *cpu, BusPage *page, u32 ppn, bool storing) {
    if (page->kind != BUS_PAGE_RAM) return false;
    if (page->flags & (BUS_PAGE_CODE | BUS_PAGE_TABLE)) return false;
    if (!bus_may_store_directly(cpu->bus, ppn, storing)) return false;
    if (!(page->flags & BUS_PAGE_DIRTY_LOG)) return true;
    if (storing) page->flags |= BUS_PAGE_DIRTY;
    return page->flags & BUS_PAGE_DIRTY;
}

#define FOR_CONTEXTS(mmu, w, c) \
    for (u64 c##_bits = (w)->contexts; c##_bits; c##_bits &= c##_bits - 1) \
        for (MmuContext *c = context_of(mmu, (u32)__builtin_ctzll(c##_bits)); c; c = NULL)

static MmuContext *context_of(CpuMmu *mmu, u32 number) { return &mmu->spaces[number >> 1]->context[number & 1]; }

static bool writer_leads_to(Cpu *cpu, const MmuWriter *w, const MmuContext *c, const BusPage *page) {
    return entry_leads_to(cpu, c, mmu_writes(c->base)[w->linear_page], w->linear_page, page);
}

static void writer_free(CpuMmu *mmu, u32 i) {
    mmu->writers[i].next = mmu->writer_free;
    mmu->writer_free = i;
}

// Forgets the contexts that do not lead there any more.
static void writer_tidy(Cpu *cpu, u32 ppn, const BusPage *page) {
    CpuMmu *mmu = cpu->mmu;
    for (u32 *at = &mmu->writer[ppn]; *at;) {
        u32 i = *at;
        MmuWriter *w = &mmu->writers[i];
        FOR_CONTEXTS(mmu, w, c)
            if (!writer_leads_to(cpu, w, c, page)) w->contexts &= ~(1ull << c->number);
        if (w->contexts) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        writer_free(mmu, i);
    }
}

static bool writers_are_left(const CpuMmu *mmu) { return mmu->writer_free || mmu->writer_used < WRITERS; }

static void writer_note(Cpu *cpu, const MmuContext *c, u32 ppn, u32 linear_page, const BusPage *page) {
    CpuMmu *mmu = cpu->mmu;
    u32 count = 0;
    for (u32 i = mmu->writer[ppn]; i; i = mmu->writers[i].next, count++) {
        if (mmu->writers[i].linear_page != linear_page) continue;
        mmu->writers[i].contexts |= 1ull << c->number;
        return;
    }
    if (count >= WRITER_SHORT) writer_tidy(cpu, ppn, page);
    u32 fresh = mmu->writer_free;
    if (fresh) mmu->writer_free = mmu->writers[fresh].next;
    else fresh = mmu->writer_used++;
    mmu->writers[fresh] = (MmuWriter){ 1ull << c->number, linear_page, mmu->writer[ppn] };
    mmu->writer[ppn] = fresh;
}

// All names are given out, some of them twice or to what has gone long ago: everything starts afresh.
static void writers_restart(Cpu *cpu) {
    CpuMmu *mmu = cpu->mmu;
    mmu_flush(cpu);
    for (u32 ppn = 0; ppn < BUS_PAGES; ppn++)
        if (mmu->writer[ppn]) mmu->writer[ppn] = 0;
    mmu->writer_free = 0;
    mmu->writer_used = 1;
}

static void entry_put_write(Cpu *cpu, MmuContext *c, u32 linear_page, u32 ppn, bool storing) {
    BusPage *page = bus_page(cpu->bus, ppn);
    i64 entry = MMU_KNOWN(ppn);
    if (page_takes_direct(cpu, page, ppn, storing)) {
        writer_note(cpu, c, ppn, linear_page, page);
        entry = entry_direct(cpu, c, page, linear_page);
    }
    mmu_writes(c->base)[linear_page] = entry;
}

bool mmu_upgrade_write(Cpu *cpu, u32 addr, bool user, u32 ppn) {
    if (!page_takes_direct(cpu, bus_page(cpu->bus, ppn), ppn, true) || !writers_are_left(cpu->mmu)) return false;
    entry_put_write(cpu, &cpu->mmu->context[user], addr >> PAGE_SHIFT, ppn, true);
    return true;
}

// ---- filling ------------------------------------------------------------------------------------
static void mmu_log(Cpu *cpu, const char *what, u32 addr, u32 phys, bool user) {
    if (log_on(cpu->log, LOG(TLB)))
        log_printf(cpu->log, "tlb: %s %08x -> %08x %s\n", what, addr, phys, user ? "u" : "s");
}

// Entries of the page are about to be made from `m`. A page table entry may have changed since older ones were
// made: a page is global as a whole, or not at all.
static void mmu_prepare(Cpu *cpu, u32 addr, const MmuMapping *m) {
    CpuMmu *mmu = cpu->mmu;
    MmuSpace *s = mmu->space;
    u32 page = addr >> PAGE_SHIFT;
    if (map_test(s->global, page) != m->global) {
        mmu_clear_page(s, page);
        map_put(s->global, page, m->global);
    }
    if (m->large) map_put(s->large, page >> 10, true);
    if (m->global) {
        map_put(mmu->ever_global, page, true);
        if (m->large) map_put(mmu->ever_large, page >> 10, true);
    } else if (s->mode) {
        space_track(cpu, addr, m);
    }
}

// Before the first access through an entry, which may be a store: the host maps a page that is read together with its
// neighbours (bus_begin_page).
static void mmu_touch(Cpu *cpu, i64 entry, u32 addr, u32 ppn) {
    bus_begin_page(cpu->bus, ppn);
    (void)*(const volatile u8 *)(entry + addr);
}

static void mmu_install(Cpu *cpu, u32 addr, const MmuMapping *m, MmuAccess access, bool user) {
    MmuContext *c = &cpu->mmu->context[user];
    u32 page = addr >> PAGE_SHIFT, ppn = m->phys >> PAGE_SHIFT;
    context_list(cpu->mmu, c, page);
    if (access == MMU_FETCH) {
        mmu_codes(c->base)[page] = mmu_code_entry(page, ppn);
        return;
    }
    const BusPage *target = bus_page(cpu->bus, ppn);
    i64 entry = target->host ? entry_direct(cpu, c, target, page) : MMU_KNOWN(ppn);
    mmu_reads(c->base)[page] = entry;
    if (entry >= 0) mmu_touch(cpu, entry, addr, ppn);
    if (m->writable && m->dirty) entry_put_write(cpu, c, page, ppn, access == MMU_STORE);
}

bool mmu_fill(Cpu *cpu, Lin addr, MmuAccess access, bool user, Phy *out) {
    MmuMapping m;
    if (!mmu_walk(cpu, addr.v, access, user, &m)) {
        cpu->stats.page_faults++;
        return false;
    }
    if (!writers_are_left(cpu->mmu)) writers_restart(cpu);
    if (!user) window_consider(cpu, &cpu->mmu->context[0], addr.v >> PAGE_SHIFT, m.phys >> PAGE_SHIFT);
    mmu_prepare(cpu, addr.v, &m);
    mmu_install(cpu, addr.v, &m, access, user);
    cpu->stats.tlb_fills++;
    mmu_log(cpu, "fill", addr.v, m.phys, user);
    *out = phy(m.phys);
    return true;
}

i64 mmu_fill_quietly(Cpu *cpu, Lin addr, bool store) {
    bool user = cpu_is_user(cpu);
    MmuContext *c = &cpu->mmu->context[user];
    i64 *entry = &(store ? mmu_writes(c->base) : mmu_reads(c->base))[addr.v >> PAGE_SHIFT];
    MmuMapping m;
    Phy unused;
    if (*entry != MMU_INVALID) return *entry;
    MmuAccess access = store ? MMU_STORE : MMU_LOAD;
    if (!mmu_look(cpu, addr.v, &m) || !mmu_allows(cpu, &m, access, user)) return MMU_INVALID;
    if (!m.accessed || (store && !m.dirty)) return MMU_INVALID;
    if (!mmu_fill(cpu, addr, access, user, &unused)) panic("fill after a look");
    return *entry;
}

static bool context_leads_to(const MmuContext *c, u32 page, u32 host_low) {
    i64 read = mmu_reads(c->base)[page];
    return read >= 0 && (u32)read + (page << PAGE_SHIFT) == (host_low & PAGE_MASK);
}

static u32 context_find(const MmuContext *c, u32 host_low, u32 guess) {
    u32 linear = host_low - (u32)(uintptr_t)c->base;          // where RAM is mapped linearly
    if (context_leads_to(c, guess >> PAGE_SHIFT, host_low)) return guess >> PAGE_SHIFT;
    if (context_leads_to(c, linear >> PAGE_SHIFT, host_low)) return linear >> PAGE_SHIFT;
    for (u32 i = 0; i < c->filled_count; i++)
        if (context_leads_to(c, c->filled[i], host_low)) return c->filled[i];
    return MMU_NO_CODE;
}

bool mmu_find_linear(Cpu *cpu, bool user, u32 host_low, u32 *addr) {
    u32 page = context_find(&cpu->mmu->context[user], host_low, *addr);
    if (page == MMU_NO_CODE) return false;
    *addr = page << PAGE_SHIFT | (host_low & ~PAGE_MASK);
    return true;
}

// ---- dropping -----------------------------------------------------------------------------------
void mmu_flush(Cpu *cpu) {
    CpuMmu *mmu = cpu->mmu;
    for (u32 i = 0; i < mmu->space_count; i++) mmu->spaces[i]->stale = true;
    cpu->stats.tlb_flushes++;
    mmu_log(cpu, "flush", 0, 0, false);
    mmu_switch(cpu);
}

// Of an address in a large page all of it goes: its 4 KiB entries were filled one by one.
static void space_drop_page(MmuSpace *s, u32 page) {
    mmu_clear_page(s, page);
    if (!map_test(s->large, page >> 10)) return;
    for (u32 n = 0; n < 1024; n++) mmu_clear_page(s, (page & ~1023u) + n);
    map_put(s->large, page >> 10, false);
}

// Other spaces have lost their entries of the page already, or lose them when they are switched to: but for global
// ones.
void mmu_drop_page(Cpu *cpu, Lin addr) {
    CpuMmu *mmu = cpu->mmu;
    u32 page = addr.v >> PAGE_SHIFT;
    space_drop_page(mmu->space, page);
    bool everywhere = map_test(mmu->ever_global, page) || map_test(mmu->ever_large, page >> 10);
    for (u32 i = 0; everywhere && i < mmu->space_count; i++) space_drop_page(mmu->spaces[i], page);
    cpu->stats.tlb_drops++;
    mmu_log(cpu, "drop", addr.v, 0, false);
}

void mmu_protect_phys(Cpu *cpu, u32 ppn) {
    CpuMmu *mmu = cpu->mmu;
    const BusPage *page = bus_page(cpu->bus, ppn);
    u32 next;
    for (u32 i = mmu->writer[ppn]; i; i = next) {
        const MmuWriter *w = &mmu->writers[i];
        FOR_CONTEXTS(mmu, w, c)
            if (writer_leads_to(cpu, w, c, page)) mmu_writes(c->base)[w->linear_page] = MMU_INVALID;
        next = w->next;
        writer_free(mmu, i);
    }
    mmu->writer[ppn] = 0;
}

// Entries hold host addresses and page kinds; no list leads from a physical page to its readers.
void mmu_map_changed(void *cpu, u32 ppn, u32 pages) {
    (void)ppn, (void)pages;
    mmu_flush(cpu);
}

void mmu_write_protect(void *cpu, u32 ppn) { mmu_protect_phys(cpu, ppn); }

void mmu_note_table(void *cpu, u32 ppn) { mmu_table_written(cpu, ppn); }
