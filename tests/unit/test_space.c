// SPDX-License-Identifier: MIT
// Entries of the soft MMU that are kept over loads of CR3: every way in which one can become stale, and a random
// machine whose entries are compared with fresh walks.
//
//     make test T=unit/test_space        SEED=7 N=1000000 build/tests/unit/test_space
#include "cpu/cpu_int.h"
#include "fuzz.h"
#include "limits.h"
#include "testcpu.h"

#define PSE 0x10u
#define PAE 0x20u
#define PGE 0x80u
#define WP 0x10000u
#define PG 0x80000000u

enum { PD_B = 0x20000, PT_B = 0x21000, PT_NEW = 0x22000, OLD = 0x30000, NEW = 0x31000, VA = AT_DATA };

// ---- what holds at any time ---------------------------------------------------------------------
static bool leads_to(const TestCpu *c, const MmuContext *x, i64 entry, u32 addr, u32 phys) {
    u8 *ram = bus_ram(c->bus) + phys, *shown = x->base + addr;
    if (entry < 0) return (u32)(entry & 0xfffff) == phys >> 12;
    if (entry + addr == (i64)(uintptr_t)ram) return true;
    if (entry != (i64)(uintptr_t)x->base || *shown != *ram) return false;
    *ram ^= 0xff;                                        // the window shows the very page
    bool same = *shown == *ram;
    *ram ^= 0xff;
    return same;
}

static bool page_is_fresh(TestCpu *c, bool user, u32 page) {
    const MmuContext *x = &c->cpu->mmu->context[user];
    i64 read = mmu_reads(x->base)[page], write = mmu_writes(x->base)[page];
    u32 code = mmu_codes(x->base)[page], addr = page << 12;
    MmuMapping m;
    if (read == MMU_INVALID && write == MMU_INVALID && code == MMU_NO_CODE) return true;
    if (!mmu_look(c->cpu, addr, &m) || !m.accessed) return false;
    m.phys = walk_gate(c->cpu, m.phys);
    if (code != MMU_NO_CODE && !mmu_allows(c->cpu, &m, MMU_FETCH, user)) return false;
    if (code != MMU_NO_CODE && mmu_code_ppn(page, code) != m.phys >> 12) return false;
    if (read != MMU_INVALID && !leads_to(c, x, read, addr, m.phys)) return false;
    if (read != MMU_INVALID && !mmu_allows(c->cpu, &m, MMU_LOAD, user)) return false;
    if (write == MMU_INVALID) return true;
    return m.dirty && mmu_allows(c->cpu, &m, MMU_STORE, user) && leads_to(c, x, write, addr, m.phys);
}

// After a load of CR3: all but global entries are what a walk gives now.
static void assert_fresh(TestCpu *c) {
    const CpuMmu *mmu = c->cpu->mmu;
    for (unsigned user = 0; user < 2; user++) {
        const MmuContext *x = &mmu->context[user];
        for (u32 i = 0; i < x->filled_count; i++) {
            u32 page = x->filled[i];
            if (map_test(mmu->space->global, page) || page_is_fresh(c, user, page)) continue;
            fail_msg("stale entry of page %05x, user %u", page, user);
        }
    }
}

// No space's store entry leads to a page that is watched, or to another than it says.
static void assert_watched(TestCpu *c) {
    CpuMmu *mmu = c->cpu->mmu;
    for (u32 n = 0; n < 2 * mmu->space_count; n++) {
        const MmuContext *x = &mmu->spaces[n / 2]->context[n & 1];
        for (u32 i = 0; i < x->filled_count; i++) {
            i64 entry = mmu_writes(x->base)[x->filled[i]];
            if (entry < 0) continue;
            for (u32 ppn = 0; ppn < 64; ppn++) {
                if (!(bus_page(c->bus, ppn)->flags & BUS_PAGE_TABLE)) continue;
                bool same = leads_to(c, x, entry, x->filled[i] << 12, ppn << 12);
                if (same) fail_msg("page %05x of context %u stores to table %x", x->filled[i], n, ppn);
            }
        }
    }
}

// ---- one entry, one change ----------------------------------------------------------------------
// Directories A (AT_PD) and B map 4 MiB one to one, but VA: to OLD in A.
static void two_spaces(TestCpu *c) {
    testcpu_page(c, 7);
    poke32(c, PD_B, PT_B | 7);
    for (u32 i = 0; i < 1024; i++) poke32(c, PT_B + 4 * i, i << 12 | 7);
    for (u32 i = 0; i < 1024; i++) poke32(c, PT_NEW + 4 * i, i << 12 | 7);
    bus_write(c->bus, phy(AT_PT + 4 * (VA >> 12)), 4, OLD | 7);
    bus_write(c->bus, phy(PT_NEW + 4 * (VA >> 12)), 4, NEW | 7);
    poke32(c, OLD, 0x01d01d);
    poke32(c, NEW, 0x0e30e3);
    cpu_h_write_cr(c->cpu, 4, PSE);
}

static void go(TestCpu *c, u32 directory) {
    cpu_h_write_cr(c->cpu, 3, directory);
    assert_no_fault(c);
    assert_fresh(c);
    assert_watched(c);
}

static u32 load(TestCpu *c, u32 addr) {
    u64 v = cpu_slow_load(c->cpu, addr, CPU_ACCESS(CPU_DS, 2));
    return (u32)v;
}
static void store(TestCpu *c, u32 addr, u32 v) {
    cpu_slow_store(c->cpu, addr, CPU_ACCESS(CPU_DS, 2), v);
    assert_no_fault(c);
}
static i64 entry_of(TestCpu *c, u32 addr, bool write) {
    u8 *base = mmu_context_base(c->cpu->mmu, false);
    return (write ? mmu_writes(base) : mmu_reads(base))[addr >> 12];
}

static u32 load_user(TestCpu *c, u32 addr) {
    u64 v = 0;
    assert_true(mem_load(c->cpu, addr, 4, true, &v));
    return (u32)v;
}
static void store_user(TestCpu *c, u32 addr, u32 v) { assert_true(mem_store(c->cpu, addr, 4, true, v)); }
static bool is_shown(TestCpu *c, u32 addr, bool write) {
    u8 *base = mmu_context_base(c->cpu->mmu, true);
    return (write ? mmu_writes(base) : mmu_reads(base))[addr >> 12] == (i64)(uintptr_t)base;
}
static void show(TestCpu *c, u32 addr) {
    store_user(c, addr, load_user(c, addr));
    mmu_show_hot(c->cpu, addr >> 12);
    assert_true(is_shown(c, addr, false) && is_shown(c, addr, true));
}

static void change_nothing(TestCpu *c) { store(c, AT_PT + 4 * 0x3ff, 0); }
static void change_by_store(TestCpu *c) { store(c, AT_PT + 4 * (VA >> 12), NEW | 7); }
static void change_by_byte(TestCpu *c) {
    cpu_slow_store(c->cpu, AT_PT + 4 * (VA >> 12) + 1, CPU_ACCESS(CPU_DS, 0), NEW >> 8 & 0xff);
}
static void change_by_dma(TestCpu *c) {
    u8 entries[12];
    put_le32(entries, 0);
    put_le32(entries + 4, NEW | 7);
    put_le32(entries + 8, 0);
    bus_dma_write(c->bus, phy(AT_PT + 4 * (VA >> 12) - 4), entries, 12);
}
// The high half of an eight byte store, whose low half lies in the page before: into the first entry of the table.
static void change_by_crossing(TestCpu *c) {
    cpu_slow_store(c->cpu, AT_PT - 4, CPU_ACCESS(CPU_DS, 3), (u64)(NEW | 7) << 32);
}
static void change_by_rep(TestCpu *c) {
    c->cpu->regs[CPU_EAX] = NEW | 7;
    c->cpu->regs[CPU_ECX] = 1024;
    c->cpu->regs[CPU_EDI] = AT_PT;
    while (c->cpu->regs[CPU_ECX]) cpu_h_rep_stos(c->cpu, CPU_STR(CPU_DS, 2, 2) | CPU_STR_A32);
}
static void change_by_alias(TestCpu *c) {
    store(c, PT_B + 4 * 0x150, AT_PT | 7);
    store(c, 0x150000, load(c, 0x150000));
    store(c, 0x150000 + 4 * (VA >> 12), NEW | 7);
}
static void change_by_self_reference(TestCpu *c) {     // region 2 of A has A's directory as its table
    store(c, AT_PD + 8, AT_PD | 7);
    store(c, 0x802000, PT_NEW | 7);
}
static void change_directory(TestCpu *c) { store(c, AT_PD, PT_NEW | 7); }
static void change_directory_by_dma(TestCpu *c) {
    u8 entry[4];
    put_le32(entry, PT_NEW | 7);
    bus_dma_write(c->bus, phy(AT_PD), entry, 4);
}
static void change_to_large(TestCpu *c) { store(c, AT_PD, 0x87); }

static const struct Change {
    const char *name;
    void (*run)(TestCpu *c);
    u32 addr, then;            // what is loaded, and what must come
} changes[] = {
    { "nothing", change_nothing, VA, 0x01d01d },
    { "store", change_by_store, VA, 0x0e30e3 },
    { "byte", change_by_byte, VA, 0x0e30e3 },
    { "DMA", change_by_dma, VA, 0x0e30e3 },
    { "page-crossing store", change_by_crossing, 0, 0x0e30e3 },
    { "REP STOS", change_by_rep, VA, 0x0e30e3 },
    { "alias", change_by_alias, VA, 0x0e30e3 },
    { "self-referencing directory", change_by_self_reference, VA, 0x0e30e3 },
    { "directory", change_directory, VA, 0x0e30e3 },
    { "directory by DMA", change_directory_by_dma, VA, 0x0e30e3 },
    { "4 KiB to 4 MiB", change_to_large, VA, 0xda7a },
};

// In the other space and back, or in the same space with CR3 loaded again; the change once or a second time.
static void run_change(TestCpu *c, const struct Change *t, bool elsewhere, bool twice) {
    two_spaces(c);
    poke32(c, VA, 0xda7a);
    go(c, PD_B);
    load(c, VA);
    store(c, AT_PT - 8, 1);
    store(c, PT_B + 4 * 0x3ff, 0);
    go(c, AT_PD);
    load(c, t->addr);
    store(c, t->addr + 8, 1);
    load(c, VA);
    if (twice) {                         // the table has been let go once and is watched again
        store(c, AT_PT + 4 * 0x3fe, 0);
        store(c, AT_PD + 4 * 0x3fe, 0);
        go(c, AT_PD);
    }
    if (elsewhere) go(c, PD_B);
    t->run(c);
    assert_no_fault(c);
    go(c, AT_PD);
    if (load(c, t->addr) != t->then) fail_msg("%s: %08x", t->name, load(c, t->addr));
    cpu_h_write_cr(c->cpu, 0, c->cpu->cr0 & ~PG);
}

static void test_changes(void **state) {
    TestCpu *c = *state;
    for (unsigned i = 0; i < ARRAY_LEN(changes); i++)
        for (unsigned how = 0; how < 4; how++) {
            if (changes[i].run == change_by_alias && !(how & 1)) continue;         // its tables are B's
            if (changes[i].run == change_by_self_reference && how & 1) continue;
            run_change(c, &changes[i], how & 1, how & 2);
        }
}

static void test_kept(void **state) {
    TestCpu *c = *state;
    two_spaces(c);
    go(c, AT_PD);
    load(c, VA);
    store(c, VA, 7);
    go(c, PD_B);
    load(c, VA);
    store(c, PT_B + 4 * 0x3f0, 0);
    u64 fills = c->cpu->stats.tlb_fills;
    for (unsigned i = 0; i < 10; i++) {
        go(c, i & 1 ? PD_B : AT_PD);
        assert_true(entry_of(c, VA, false) >= 0);
        assert_int_equal(load(c, VA), i & 1 ? 0 : 7);
    }
    assert_int_equal(c->cpu->stats.tlb_fills, fills);
}

// The next access must set again what the guest has cleared.
static void test_marks(void **state) {
    TestCpu *c = *state;
    const u32 pte = AT_PT + 4 * (VA >> 12);
    two_spaces(c);
    go(c, AT_PD);
    store(c, VA, 1);
    store(c, pte, OLD | 0x27);                            // D
    go(c, AT_PD);
    assert_true(entry_of(c, VA, true) == MMU_INVALID);
    store(c, VA, 1);
    assert_int_equal(peek32(c, pte), OLD | 0x67);
    store(c, pte, OLD | 0x47);                            // A
    go(c, AT_PD);
    assert_true(entry_of(c, VA, false) == MMU_INVALID);
    load(c, VA);
    assert_int_equal(peek32(c, pte), OLD | 0x67);
    store(c, AT_PD, AT_PT | 7);                           // A of the directory entry
    go(c, AT_PD);
    assert_true(entry_of(c, VA, false) == MMU_INVALID);
    load(c, VA);
    assert_int_equal(peek32(c, AT_PD), AT_PT | 0x27);
}

// Our own setting of A and D does not count as a store to the table.
static void test_own_marks(void **state) {
    TestCpu *c = *state;
    two_spaces(c);
    go(c, AT_PD);
    load(c, VA);
    assert_true(bus_page(c->bus, AT_PT >> 12)->flags & BUS_PAGE_TABLE);
    store(c, VA, 1);                                      // sets D
    load(c, VA + 0x5000);                                 // sets A
    assert_true(bus_page(c->bus, AT_PT >> 12)->flags & BUS_PAGE_TABLE);
    store(c, AT_PT + 4 * 0x3ff, 0);
    assert_false(bus_page(c->bus, AT_PT >> 12)->flags & BUS_PAGE_TABLE);
}

static void test_large_split(void **state) {
    TestCpu *c = *state;
    two_spaces(c);
    store(c, AT_PD + 4, 0x87);                            // 4 MiB.. -> 0..
    go(c, AT_PD);
    poke32(c, VA, 0xda7a);
    assert_int_equal(load(c, 0x400000 + VA), 0xda7a);
    go(c, PD_B);
    store(c, AT_PD + 4, PT_NEW | 7);
    go(c, AT_PD);
    assert_int_equal(load(c, 0x400000 + VA), 0x0e30e3);
    store(c, AT_PD + 4, 0xe7);
    go(c, AT_PD);
    assert_int_equal(load(c, 0x400000 + VA), 0xda7a);
}

static void toggle(TestCpu *c, u32 cr, u32 bit) {
    u32 old = cr ? c->cpu->cr4 : c->cpu->cr0;
    cpu_h_write_cr(c->cpu, cr, old ^ bit);
    assert_no_fault(c);
    assert_fresh(c);
}

static void test_toggles(void **state) {
    TestCpu *c = *state;
    two_spaces(c);
    go(c, AT_PD);
    bus_write(c->bus, phy(AT_PT + 4 * (VA >> 12)), 4, OLD | 0x65);     // read only
    go(c, AT_PD);
    store(c, VA, 1);                                                   // WP off
    assert_true(entry_of(c, VA, true) >= 0);
    toggle(c, 0, WP);
    assert_true(entry_of(c, VA, true) == MMU_INVALID);
    toggle(c, 0, WP);
    assert_true(entry_of(c, VA, true) >= 0);
    store(c, AT_PD + 4, 0x87);
    load(c, 0x400000);
    toggle(c, 4, PSE);
    assert_true(entry_of(c, 0x400000, false) == MMU_INVALID);
    toggle(c, 4, PSE);
    store(c, AT_PT + 4 * (VA >> 12), OLD | 0x167);
    toggle(c, 4, PGE);
    load(c, VA);
    store(c, AT_PT + 4 * (VA >> 12), NEW | 0x167);
    cpu_h_write_cr(c->cpu, 3, AT_PD);
    assert_int_equal(load(c, VA), 1);                                  // global: stays
    toggle(c, 4, PGE);
    assert_int_equal(load(c, VA), 0x0e30e3);
    poke32(c, NEW + 0x100000, 0xa20);
    store(c, AT_PT + 4 * (VA >> 12), (NEW + 0x100000) | 7);
    go(c, AT_PD);
    assert_int_equal(load(c, VA), 0xa20);
    bus_set_a20(c->bus, false);
    assert_fresh(c);
    assert_int_equal(load(c, VA), 0x0e30e3);
    bus_set_a20(c->bus, true);
    toggle(c, 0, PG);
    assert_int_equal(load(c, NEW), 0x0e30e3);
}

// INVLPG in one space reaches a global page's entries in the other.
static void test_global_elsewhere(void **state) {
    TestCpu *c = *state;
    two_spaces(c);
    toggle(c, 4, PGE);
    for (u32 pt = AT_PT; pt <= AT_PT + PT_B; pt += PT_B - AT_PT) store(c, pt + 4 * (VA >> 12), OLD | 0x107);
    go(c, AT_PD);
    load(c, VA);
    go(c, PD_B);
    load(c, VA);
    store(c, AT_PT + 4 * (VA >> 12), NEW | 0x107);
    cpu_h_invlpg(c->cpu, VA, CPU_ACCESS(CPU_DS, 0));
    go(c, AT_PD);
    assert_int_equal(load(c, VA), 0x0e30e3);
}

// A global page that is asked for often is shown in every window; what is mapped there later is not.
static void test_single(void **state) {
    TestCpu *c = *state;
    two_spaces(c);
    assert_false(mmu_show_page(c->cpu, VA >> 12));
    toggle(c, 4, PGE);
    for (u32 pt = AT_PT; pt <= AT_PT + PT_B; pt += PT_B - AT_PT) store(c, pt + 4 * (VA >> 12), OLD | 0x107);
    go(c, AT_PD);
    store(c, VA, 0x01d01e);
    u32 asked = 0;
    while (!mmu_show_page(c->cpu, VA >> 12) && asked < 100) asked++;
    assert_in_range(asked, 1, 99);
    for (u32 i = 0; i < 2; i++, go(c, PD_B)) {
        i64 base = (i64)(uintptr_t)mmu_context_base(c->cpu->mmu, false);
        store(c, VA, load(c, VA) + 1);
        assert_true(entry_of(c, VA, false) == base && entry_of(c, VA, true) == base);
    }
    assert_int_equal(peek32(c, OLD), 0x01d020);
    for (u32 pt = AT_PT; pt <= AT_PT + PT_B; pt += PT_B - AT_PT) store(c, pt + 4 * (VA >> 12), NEW | 0x107);
    cpu_h_invlpg(c->cpu, VA, CPU_ACCESS(CPU_DS, 0));
    for (u32 i = 0; i < 2; i++, go(c, AT_PD)) {
        store(c, VA, load(c, VA) + 1);
        assert_true(entry_of(c, VA, false) != (i64)(uintptr_t)mmu_context_base(c->cpu->mmu, false));
    }
    assert_int_equal(peek32(c, NEW), 0x0e30e5);
    for (u32 i = 0; i < 100; i++) assert_false(mmu_show_page(c->cpu, VA >> 12));
}

static void use_many(TestCpu *c) {
    two_spaces(c);
    for (u32 i = 0; i < 100; i++) {
        u32 pd = 0x200000 + 0x2000 * i, pt = pd + 0x1000;
        memcpy(at(c, pt), at(c, AT_PT), 4096);
        poke32(c, pd, pt | 7);
        poke32(c, pt + 4 * (VA >> 12), (0x40000 + 0x1000 * i) | 7);
        poke32(c, 0x40000 + 0x1000 * i, i);
    }
    for (u32 i = 0; i < 1000; i++) {
        u32 n = i * 37 % 100;
        go(c, 0x200000 + 0x2000 * n);
        assert_int_equal(load(c, VA), n);
        store(c, VA, n);
        show(c, VA);
    }
}

// A space is given to other tables when there are more than are kept.
static void test_many(void **state) {
    TestCpu *c = *state;
    use_many(c);
    assert_int_equal(c->cpu->mmu->space_count, MMU_SPACES);
    assert_int_equal(c->cpu->mmu->window_maps, MMU_SPACES);
}

// Or when the host has no addresses for another.
static void test_no_room(void **state) {
    TestCpu *c = *state;
    u32 before = c->cpu->mmu->space_count;
    struct rlimit old = limit_addresses(20ull << 30);
    use_many(c);
    setrlimit(RLIMIT_AS, &old);
    assert_int_equal(c->cpu->mmu->space_count, before + 2);            // some 8 GiB each
}

// A space that is given to other tables keeps global entries, but not over a change of CR0.WP.
static void test_reuse(void **state) {
    TestCpu *c = *state;
    two_spaces(c);
    store(c, AT_PT + 4 * (VA >> 12), OLD | 0x165);        // read only
    toggle(c, 4, PGE);
    for (u32 i = 0; i < MMU_SPACES; i++) {
        u32 pd = 0x200000 + 0x1000 * i;
        poke32(c, pd, AT_PT | 7);
        go(c, pd);
        store(c, VA, i);
        go(c, PD_B);
    }
    toggle(c, 0, WP);
    for (u32 i = 0; i < MMU_SPACES; i++) {
        u32 pd = 0x200000 + 0x1000 * i;
        go(c, pd);
        assert_true(entry_of(c, VA, true) == MMU_INVALID);
        cpu_slow_store(c->cpu, VA, CPU_ACCESS(CPU_DS, 2), 1);
        assert_fault(c, VEC_PF, 3);
    }
}

// A hot page is shown, with what lies next to it in RAM; the entry decides whether that still counts. A page that
// comes back is shown at once.
static void test_hot(void **state) {
    TestCpu *c = *state;
    two_spaces(c);
    go(c, AT_PD);
    store(c, AT_PT + 4 * 0x101, (OLD + 0x1000) | 7);
    store(c, AT_PT + 4 * 0xff, 0x70007);
    go(c, AT_PD);
    store_user(c, VA, 1);
    load_user(c, VA + 0x1000);
    load_user(c, VA - 0x1000);
    assert_false(is_shown(c, VA, false));
    show(c, VA);
    assert_true(is_shown(c, VA + 0x1000, false) && !is_shown(c, VA + 0x1000, true));
    assert_false(is_shown(c, VA - 0x1000, false));
    store_user(c, VA, 0x5107e);
    assert_int_equal(peek32(c, OLD), 0x5107e);
    put_le32(mmu_context_base(c->cpu->mmu, true) + VA, 0x3107e);
    assert_int_equal(peek32(c, OLD), 0x3107e);
    store(c, AT_PT + 4 * (VA >> 12), NEW | 7);
    go(c, AT_PD);
    assert_int_equal(load_user(c, VA), 0x0e30e3);
    assert_false(is_shown(c, VA, false));
    store(c, AT_PT + 4 * (VA >> 12), OLD | 7);
    go(c, AT_PD);
    store_user(c, VA, 2);
    assert_true(is_shown(c, VA, true));
    mmu_protect_phys(c->cpu, OLD >> 12);
    assert_false(is_shown(c, VA, true));
    u64 pages = c->cpu->stats.window_pages;
    mmu_show_hot(c->cpu, 0xe0000);                        // nothing there
    mmu_show_hot(c->cpu, VA >> 12);                       // shown already
    assert_int_equal(c->cpu->stats.window_pages, pages);
}

static bool samples_begin(TestCpu *c, u32 count) {
    for (u32 i = 0; i < count; i++) mmu_sample(c->cpu);
    return c->cpu->mode & MODE_WINDOW;
}

static void ring0(TestCpu *c) {
    c->cpu->cpl = 0;
    cpu_update_mode(c->cpu);
}

// Code at CPL 3 expects the base after some time there, as long as the page tables stay.
static void test_windowed(void **state) {
    enum { LONG = 4000 };
    TestCpu *c = *state;
    two_spaces(c);
    assert_false(samples_begin(c, LONG));
    testcpu_ring3(c, 2);
    assert_false(c->cpu->mode & MODE_WINDOW);
    assert_true(samples_begin(c, LONG));
    ring0(c);
    assert_false(c->cpu->mode & MODE_WINDOW);
    go(c, PD_B);
    assert_false(c->cpu->mmu->space->windowed);
    go(c, AT_PD);
    assert_true(c->cpu->mmu->space->windowed);
    for (u32 i = 0; i < 3; i++) store(c, AT_PD + 4 * i, AT_PT | 7);
    for (u32 i = 0; i < 3; i++) load(c, i << 22 | VA);
    go(c, AT_PD);
    for (u32 i = 1; i < 3; i++) store(c, AT_PD + 4 * i, 0);
    store(c, AT_PD, PT_NEW | 7);
    go(c, AT_PD);
    assert_false(c->cpu->mmu->space->windowed);
}

// Where what is shown changes all the time, windows do not pay: there are none for a while.
static void test_wear(void **state) {
    enum { LONG = 4000, OFTEN = 1000 };
    TestCpu *c = *state;
    two_spaces(c);
    go(c, AT_PD);
    for (u32 pass = 0; pass < 2; pass++) {
        testcpu_ring3(c, 2);
        assert_true(samples_begin(c, LONG));
        for (u32 i = 0; i < OFTEN; i++) {
            ring0(c);
            store(c, AT_PT + 4 * (VA >> 12), (i & 1 ? OLD : NEW) | 7);
            go(c, AT_PD);
            load_user(c, VA);
            mmu_show_hot(c->cpu, VA >> 12);
            testcpu_ring3(c, 2);
            if (pass) samples_begin(c, 10);
        }
        assert_int_equal(samples_begin(c, LONG), pass);
        ring0(c);
        for (u32 n = 1; n < 2 * MMU_SPACES; n++) go(c, PD_B + 0x10000 * n);         // the space becomes another
        go(c, AT_PD);
    }
}

// While a block runs no page is taken out of a window: its groups may be there. When there are too many mappings, all
// go before the next block.
static void test_full(void **state) {
    TestCpu *c = *state;
    u32 most = 0;
    two_spaces(c);
    go(c, AT_PD);
    mmu_stress_windows(c->cpu);
    for (u32 i = 0; i < 100; i++) {
        store(c, AT_PT + 4 * ((VA >> 12) + i), (0x80000 - 0x1000 * i) | 7);
        load_user(c, VA + 0x1000 * i);
        mmu_show_hot(c->cpu, (VA >> 12) + i);
    }
    while (most < 100 && is_shown(c, VA + 0x1000 * most, false)) most++;
    assert_in_range(most, 1, 99);
    assert_int_equal(c->cpu->mmu->window_maps, most);
    mmu_sample(c->cpu);
    assert_int_equal(c->cpu->mmu->window_maps, 0);
    for (u32 i = 0; i < most; i++) assert_false(is_shown(c, VA + 0x1000 * i, false));
    show(c, VA);
}

// Tables where nothing can be watched: not kept.
static u32 rom_read(void *self, u32 offset, unsigned size) {
    (void)size;
    return *(u32 *)self + (offset & 0xffc) / 4 * 0x1000;
}
static void test_unwatched(void **state) {
    TestCpu *c = *state;
    u32 first = 7;
    unsigned region = bus_add_mmio(c->bus, &(BusMmio){ "table", &first, rom_read, NULL });
    two_spaces(c);
    bus_map_mmio(c->bus, 0xe0000, 1, region, 0);
    store(c, AT_PD + 4, 0xe0000007);
    go(c, AT_PD);
    load(c, 0x400000 + OLD);
    first = 0x1007;
    go(c, AT_PD);
    assert_int_equal(load(c, 0x400000 + OLD), 0x0e30e3);
}

// ---- a random machine ---------------------------------------------------------------------------
// Physical pages 16 to 31 are tables and directories, 15 holds directory pointers, up to 63 data. Linear
// addresses: 16 pages in each of the first regions.
static u32 rnd(u32 *s) {
    *s ^= *s << 13;
    *s ^= *s >> 17;
    return *s ^= *s << 5;
}

static u32 random_address(u32 *s) {
    u32 r = rnd(s);
    u32 region = r & 0x3, page = r >> 4 & 15, offset = r >> 8 & 0xffc;
    if (r & 0x80000000) offset = 0xffd;
    return region << (r & 0x40000000 ? 22 : 21) | page << 12 | offset;
}

static u32 random_entry(u32 *s) {
    u32 r = rnd(s), frame = 16 + (r >> 12 & 15), flags = r & 0x1ff;
    if (r >> 20 & 1) frame += 16 + (r >> 21 & 31) % 32;
    if (frame > 63) frame = 63;
    if (rnd(s) % 4) flags |= 1;
    if (rnd(s) % 4) flags |= 6;
    if (rnd(s) % 8) flags &= ~0x80u;
    if (flags & 0x80) frame &= 0xf;                      // as a large page: nearly always reserved bits otherwise
    return frame << 12 | flags;
}

static u32 random_place(u32 *s) {
    u32 r = rnd(s), at = (16 + (r & 15)) << 12 | (r >> 4 & (r & 0x10000 ? 15 : 3)) * 4;
    return r & 0x20000 ? at | (r >> 18 & 3) << 11 : at;
}

static void random_write(TestCpu *c, u32 *s) {
    u32 at = random_place(s), v = random_entry(s);
    u8 bytes[64];
    switch (rnd(s) % 5) {
    case 0: bus_write(c->bus, phy(at), 4, v); break;
    case 1: bus_write(c->bus, phy(at), 4, peek32(c, at) & ~(rnd(s) & 0x66)); break;
    case 2: bus_write(c->bus, phy(at), 4, peek32(c, at) | (rnd(s) & 0x66)); break;
    case 3:
        for (u32 i = 0; i < 64; i += 4) put_le32(bytes + i, random_entry(s));
        bus_dma_write(c->bus, phy(at - (rnd(s) & 12)), bytes, 4 * (1 + rnd(s) % 16));
        break;
    case 4: bus_write(c->bus, phy(15 << 12 | (rnd(s) & 0x7c)), 4, (16 + (v >> 12 & 3)) << 12 | (v & 1)); break;
    }
    if ((c->cpu->cr4 & PAE) && rnd(s) % 8) bus_write(c->bus, phy(at | 4), 4, rnd(s) % 8 ? 0 : 0x80000000);
}

static void random_access(TestCpu *c, u32 *s) {
    u32 addr = random_address(s), ppn, kind = rnd(s);
    u64 v;
    bool user = kind & 0x100;
    unsigned size = 1u << (kind >> 9 & 3);
    if (kind % 64 == 63) mmu_show_hot(c->cpu, addr >> 12);
    else if (kind % 8 < 3) mem_load(c->cpu, addr, size, user, &v);
    else if (kind % 8 < 6) mem_store(c->cpu, addr, size, user, random_entry(s) | (u64)random_entry(s) << 32);
    else if (!user) cpu_fetch_page(c->cpu, lin(addr), &ppn);
    else mem_probe(c->cpu, addr, size, true, user);
    c->cpu->fault = (CpuFault){ 0 };
}

static void show_any(Cpu *cpu, u32 r) {
    const MmuContext *x = &cpu->mmu->context[0];
    for (u32 n = 0; n < min_u32(x->filled_count, 20); n++)
        for (u32 i = 0; i < 10; i++)
            if (mmu_show_page(cpu, x->filled[(r + n) % x->filled_count])) return;
}

static void random_control(TestCpu *c, u32 *s) {
    Cpu *cpu = c->cpu;
    u32 r = rnd(s);
    if (r % 64 == 7) show_any(cpu, rnd(s));
    switch (r % 64) {
    case 0: cpu_h_write_cr(cpu, 4, cpu->cr4 ^ PSE); break;
    case 1: cpu_h_write_cr(cpu, 4, cpu->cr4 ^ PGE); break;
    case 2: cpu_h_write_cr(cpu, 3, 15 << 12); cpu_h_write_cr(cpu, 4, cpu->cr4 ^ PAE); break;
    case 3: cpu_h_write_cr(cpu, 0, cpu->cr0 ^ PG); break;
    case 4: case 5: cpu_h_write_cr(cpu, 0, cpu->cr0 ^ WP); break;
    case 6: bus_set_a20(c->bus, !bus_a20(c->bus)); break;
    default:
        cpu_h_write_cr(cpu, 3, cpu->cr4 & PAE ? 15 << 12 | (r >> 8 & 3) << 5 : (16 + (r >> 8 & 3)) << 12);
    }
    if (!cpu->fault.pending) assert_fresh(c);
    cpu->fault = (CpuFault){ 0 };
    assert_watched(c);
}

static void test_random(void **state) {
    TestCpu *c = *state;
    u32 seed = (u32)fuzz_state(4711) | 1;
    cpu_h_write_cr(c->cpu, 4, PSE);
    for (u64 n = 0, count = fuzz_count(400000); n < count; n++) {
        u32 kind = rnd(&seed) % 100, addr;
        if (kind < 55) random_access(c, &seed);
        else if (kind < 80) random_write(c, &seed);
        else if (kind < 95) random_control(c, &seed);
        else {
            addr = random_address(&seed);
            cpu_h_invlpg(c->cpu, addr, CPU_ACCESS(CPU_DS, 0));
            assert_true(entry_of(c, addr, false) == MMU_INVALID && entry_of(c, addr, true) == MMU_INVALID);
        }
    }
    print_message("%llu fills, %llu loads of CR3, %llu entries changed, %llu stores to tables, "
                  "%u pages shown\n",
                  (unsigned long long)c->cpu->stats.tlb_fills, (unsigned long long)c->cpu->stats.space_switches,
                  (unsigned long long)c->cpu->stats.tlb_changes, (unsigned long long)c->cpu->stats.table_stores,
                  c->cpu->mmu->single_count);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_PROTECTED(test_changes), TEST_PROTECTED(test_kept), TEST_PROTECTED(test_marks),
        TEST_PROTECTED(test_own_marks), TEST_PROTECTED(test_large_split), TEST_PROTECTED(test_toggles),
        TEST_PROTECTED(test_global_elsewhere), TEST_PROTECTED(test_single), TEST_PROTECTED(test_many),
        TEST_PROTECTED(test_reuse), TEST_PROTECTED(test_no_room),
        TEST_PROTECTED(test_hot), TEST_PROTECTED(test_windowed), TEST_PROTECTED(test_wear),
        TEST_PROTECTED(test_full),
        TEST_PROTECTED(test_unwatched),
        TEST_PROTECTED(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
