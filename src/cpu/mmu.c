// SPDX-License-Identifier: MIT
// The soft MMU: filling and dropping of the flat tables. The page walk is walk.c's.
//
// Invariants
//  1. An entry of a context is not "invalid" only if its page is in the context's `filled` list;
//     the `listed` bitmap keeps the list free of duplicates. So a flush walks the list.
//  2. A direct (positive) write entry to a physical page p exists only if writer[p] names its
//     linear page or carries WRITER_SEVERAL, in which case the filled lists must be searched.
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
#define WINDOW_BYTES (1ull << 32)
#define GUARD_BYTES (1u << 20)             // behind the window: an access at its end may go on
#define LINEAR_FILLS 32                    // fills with one offset before it gets a mapping
#define FILLED_MAX 65536u                  // longer lists make the context start afresh
#define LINEAR_PAGES (1u << 20)

#define WRITER_SET BIT(30)                 // bits 0-19 hold a linear page number
#define WRITER_SEVERAL BIT(31)

// ---- life ---------------------------------------------------------------------------------------
static void *mmu_map_sparse(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) panic("the host has no address space left for the soft MMU");
    return p;
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

// ---- the window -----------------------------------------------------------------------------------
// Maps RAM so that linear address physical + offset shows it, where nothing is mapped yet.
static void window_map(Cpu *cpu, MmuContext *c, u32 offset) {
    u64 first = offset, end = min_u64(WINDOW_BYTES, offset + bus_ram_bytes(cpu->bus));
    if (c->linear_count == MMU_LINEAR_MAX) return;
    for (u32 i = 0; i < c->linear_count; i++) {
        const MmuLinear *l = &c->linear[i];
        if (first < l->end && l->first < end) { if (first < l->first) end = l->first; else first = l->end; }
    }
    if (first >= end) return;
    void *p = mmap(c->base + first, end - first, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
                   bus_memory_fd(cpu->bus), (off_t)(first - offset));
    if (p == MAP_FAILED) return;                 // the window is an optimisation
    c->linear[c->linear_count++] = (MmuLinear){ first, end, offset };
}

// Does the window show physical page `ppn` at this linear page?
static bool window_shows(const MmuContext *c, u32 linear_page, u32 ppn) {
    u64 addr = (u64)linear_page << PAGE_SHIFT;
    u32 offset = (linear_page - ppn) << PAGE_SHIFT;
    for (u32 i = 0; i < c->linear_count; i++) {
        const MmuLinear *l = &c->linear[i];
        if (l->offset == offset && addr >= l->first && addr < l->end) return true;
    }
    return false;
}

// A RAM page filled outside the window: enough of them in a row with one offset get a mapping.
static void window_consider(Cpu *cpu, MmuContext *c, u32 linear_page, u32 ppn) {
    u32 offset = (linear_page - ppn) << PAGE_SHIFT;
    if (offset & 0x3fffff) return;
    if (offset != c->candidate) c->candidate_fills = 0;
    c->candidate = offset;
    if (++c->candidate_fills == LINEAR_FILLS) window_map(cpu, c, offset);
}

static void mmu_open_context(Cpu *cpu, const CpuMmu *mmu, MmuContext *c) {
    u8 *region = mmap(NULL, WINDOW_BYTES - MMU_READ + GUARD_BYTES, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) panic("the host has no address space left for the soft MMU");
    c->base = region - MMU_READ;
    window_map(cpu, c, 0);
    mmu_lay_pattern(mmu, c);
    c->filled = mmu_map_sparse(FILLED_MAX * sizeof(u32));
    c->listed = mmu_map_sparse(LINEAR_PAGES / 8);
    c->global = mmu_map_sparse(LINEAR_PAGES / 8);
}

CpuMmu *mmu_new(Cpu *cpu) {
    CpuMmu *mmu = mem_new(sizeof(CpuMmu));
    mmu->pattern_fd = mmu_make_pattern();
    mmu->writer = mmu_map_sparse((size_t)BUS_PAGES * sizeof(u32));
    for (unsigned i = 0; i < 2; i++) mmu_open_context(cpu, mmu, &mmu->context[i]);
    return mmu;
}

void mmu_free(CpuMmu *mmu) {
    if (!mmu) return;
    for (unsigned i = 0; i < 2; i++) {
        MmuContext *c = &mmu->context[i];
        munmap(c->base + MMU_READ, WINDOW_BYTES - MMU_READ + GUARD_BYTES);
        munmap(c->filled, FILLED_MAX * sizeof(u32));
        munmap(c->listed, LINEAR_PAGES / 8);
        munmap(c->global, LINEAR_PAGES / 8);
    }
    munmap(mmu->writer, (size_t)BUS_PAGES * sizeof(u32));
    close(mmu->pattern_fd);
    free(mmu);
}

u8 *mmu_context_base(CpuMmu *mmu, bool user) { return mmu->context[user].base; }

// ---- bitmaps and the filled list ----------------------------------------------------------------
static bool map_test(const u32 *map, u32 i) { return map[i >> 5] >> (i & 31) & 1; }

static void map_put(u32 *map, u32 i, bool on) {
    u32 bit = 1u << (i & 31);
    if (((map[i >> 5] & bit) != 0) != on) map[i >> 5] ^= bit;
}

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

static void context_flush(MmuContext *c, bool keep_global) {
    u32 kept = 0;
    for (u32 i = 0; i < c->filled_count; i++) {
        u32 page = c->filled[i];
        if (keep_global && map_test(c->global, page)) {
            c->filled[kept++] = page;
            continue;
        }
        context_clear_entries(c, page);
        map_put(c->listed, page, false);
    }
    c->filled_count = kept;
    for (unsigned i = 0; !keep_global && i < ARRAY_LEN(c->large); i++) c->large[i] = 0;
}

// ---- write entries ------------------------------------------------------------------------------
static i64 entry_plain(const BusPage *page, u32 linear_page) {
    return (i64)(uintptr_t)page->host - ((i64)linear_page << PAGE_SHIFT);
}

static i64 entry_direct(Cpu *cpu, MmuContext *c, const BusPage *page, u32 linear_page, u32 ppn) {
    bool is_ram = page->host == bus_ram(cpu->bus) + ((u64)ppn << PAGE_SHIFT);
    if (is_ram && window_shows(c, linear_page, ppn)) return (i64)(uintptr_t)c->base;
    if (is_ram) window_consider(cpu, c, linear_page, ppn);
    return entry_plain(page, linear_page);
}

static bool entry_leads_to(const MmuContext *c, i64 entry, u32 linear_page, const BusPage *page, u32 ppn) {
    return entry >= 0 && (entry == entry_plain(page, linear_page) ||
                          (entry == (i64)(uintptr_t)c->base && window_shows(c, linear_page, ppn)));
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

static bool writer_is_alive(const CpuMmu *mmu, u32 linear_page, const BusPage *page, u32 ppn) {
    for (unsigned i = 0; i < 2; i++) {
        const MmuContext *c = &mmu->context[i];
        if (entry_leads_to(c, mmu_writes(c->base)[linear_page], linear_page, page, ppn)) return true;
    }
    return false;
}

static void writer_note(CpuMmu *mmu, u32 ppn, u32 linear_page, const BusPage *page) {
    u32 old = mmu->writer[ppn], now = WRITER_SET | linear_page;
    if (old == now || (old & WRITER_SEVERAL)) return;
    if ((old & WRITER_SET) && writer_is_alive(mmu, old & (LINEAR_PAGES - 1), page, ppn))
        now |= WRITER_SEVERAL;
    mmu->writer[ppn] = now;
}

static void entry_put_write(Cpu *cpu, MmuContext *c, u32 linear_page, u32 ppn, bool storing) {
    BusPage *page = bus_page(cpu->bus, ppn);
    i64 entry = MMU_KNOWN(ppn);
    if (page_takes_direct(cpu, page, ppn, storing)) {
        writer_note(cpu->mmu, ppn, linear_page, page);
        entry = entry_direct(cpu, c, page, linear_page, ppn);
    }
    mmu_writes(c->base)[linear_page] = entry;
}

bool mmu_upgrade_write(Cpu *cpu, u32 addr, bool user, u32 ppn) {
    if (!page_takes_direct(cpu, bus_page(cpu->bus, ppn), ppn, true)) return false;
    entry_put_write(cpu, &cpu->mmu->context[user], addr >> PAGE_SHIFT, ppn, true);
    return true;
}

// ---- filling ------------------------------------------------------------------------------------
static void mmu_log(Cpu *cpu, const char *what, u32 addr, u32 phys, bool user) {
    if (log_on(cpu->log, LOG(TLB)))
        log_printf(cpu->log, "tlb: %s %08x -> %08x %s\n", what, addr, phys, user ? "u" : "s");
}

static void mmu_install(Cpu *cpu, u32 addr, const MmuMapping *m, MmuAccess access, bool user) {
    MmuContext *c = &cpu->mmu->context[user];
    u32 page = addr >> PAGE_SHIFT, ppn = m->phys >> PAGE_SHIFT;
    // A page table entry may change under older entries of the page: any not global, none global.
    bool global = m->global && (!map_test(c->listed, page) || map_test(c->global, page));
    context_list(cpu->mmu, c, page);
    map_put(c->global, page, global);
    if (m->large) map_put(c->large, page >> 10, true);
    if (access == MMU_FETCH) {
        mmu_codes(c->base)[page] = ppn;
        return;
    }
    const BusPage *target = bus_page(cpu->bus, ppn);
    mmu_reads(c->base)[page] = target->host ? entry_direct(cpu, c, target, page, ppn) : MMU_KNOWN(ppn);
    if (m->writable && m->dirty) entry_put_write(cpu, c, page, ppn, access == MMU_STORE);
}

bool mmu_fill(Cpu *cpu, Lin addr, MmuAccess access, bool user, Phy *out) {
    MmuMapping m;
    if (!mmu_walk(cpu, addr.v, access, user, &m)) {
        cpu->stats.page_faults++;
        return false;
    }
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

bool mmu_find_linear(Cpu *cpu, bool user, u32 host_low, u32 *addr) {
    const MmuContext *c = &cpu->mmu->context[user];
    u32 offset = host_low & ~PAGE_MASK;
    for (u32 i = 0; i < c->filled_count; i++) {
        u32 page = c->filled[i] << PAGE_SHIFT;
        i64 read = mmu_reads(c->base)[c->filled[i]];
        if (read < 0 || (u32)read + page != (host_low & PAGE_MASK)) continue;
        *addr = page | offset;
        return true;
    }
    return false;
}

// ---- dropping -----------------------------------------------------------------------------------
void mmu_flush(Cpu *cpu, bool keep_global) {
    keep_global = keep_global && (cpu->cr4 & CR4_PGE);
    for (unsigned i = 0; i < 2; i++) context_flush(&cpu->mmu->context[i], keep_global);
    cpu->stats.tlb_flushes++;
    mmu_log(cpu, keep_global ? "flush but global" : "flush", 0, 0, false);
}

// INVLPG of an address in a large page drops all of it: its 4 KiB entries were filled one by one.
void mmu_drop_page(Cpu *cpu, Lin addr) {
    u32 page = addr.v >> PAGE_SHIFT;
    for (unsigned i = 0; i < 2; i++) {
        MmuContext *c = &cpu->mmu->context[i];
        if (map_test(c->listed, page)) context_clear_entries(c, page);
        if (!map_test(c->large, page >> 10)) continue;
        for (u32 n = 0; n < 1024; n++) context_clear_entries(c, (page & ~1023u) + n);
        map_put(c->large, page >> 10, false);
    }
    mmu_log(cpu, "drop", addr.v, 0, false);
}

static void protect_entry(MmuContext *c, u32 linear_page, const BusPage *page, u32 ppn) {
    i64 *entry = &mmu_writes(c->base)[linear_page];
    if (entry_leads_to(c, *entry, linear_page, page, ppn)) *entry = MMU_INVALID;
}

void mmu_protect_phys(Cpu *cpu, u32 ppn) {
    CpuMmu *mmu = cpu->mmu;
    u32 writer = mmu->writer[ppn];
    const BusPage *page = bus_page(cpu->bus, ppn);
    if (!writer || !page->host) return;
    for (unsigned i = 0; i < 2; i++) {
        MmuContext *c = &mmu->context[i];
        if (!(writer & WRITER_SEVERAL)) {
            protect_entry(c, writer & (LINEAR_PAGES - 1), page, ppn);
            continue;
        }
        for (u32 n = 0; n < c->filled_count; n++) protect_entry(c, c->filled[n], page, ppn);
    }
    mmu->writer[ppn] = 0;
}

// Entries hold host addresses and page kinds; no list leads from a physical page to its readers.
void mmu_map_changed(void *cpu, u32 ppn, u32 pages) {
    (void)ppn, (void)pages;
    mmu_flush(cpu, false);
}

void mmu_write_protect(void *cpu, u32 ppn) { mmu_protect_phys(cpu, ppn); }
