// SPDX-License-Identifier: MIT
// The soft MMU: page walks, error codes, A/D bits, flushes, A20, code pages, MMIO, page crossings.
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc tests/unit/test_mmu.c
//       src/base/*.c src/bus/*.c src/cpu/*.c -lcmocka -lpthread -o build/test_mmu && build/test_mmu
#include "testcpu.h"

#define CR0_WP 0x10000u
#define DATA3 CPU_ACCESS(CPU_DS, 2)

static i64 read_entry(TestCpu *c, bool user, u32 addr) {
    return ((i64 *)(mmu_context_base(c->cpu->mmu, user) + MMU_READ))[addr >> 12];
}
static i64 write_entry(TestCpu *c, bool user, u32 addr) {
    return ((i64 *)(mmu_context_base(c->cpu->mmu, user) + MMU_WRITE))[addr >> 12];
}
static u32 code_entry(TestCpu *c, bool user, u32 addr) {
    return ((u32 *)(mmu_context_base(c->cpu->mmu, user) + MMU_CODE))[addr >> 12];
}

static u32 load32(TestCpu *c, u32 addr) {
    u64 v = cpu_slow_load(c->cpu, addr, DATA3);
    return (u32)v;
}
static void store32(TestCpu *c, u32 addr, u32 v) { cpu_slow_store(c->cpu, addr, DATA3, v); }
static u32 pte(TestCpu *c, u32 page) { return peek32(c, AT_PT + 4 * page); }
static void set_pte(TestCpu *c, u32 page, u32 v) { poke32(c, AT_PT + 4 * page, v); }

// An entry may lead to RAM by its second mapping: writes there what `real` then shows.
static void assert_leads_to(i64 entry, u32 addr, u8 *real) {
    assert_true(entry >= 0);
    u8 *host = (u8 *)(entry + addr), old = *real;
    *host = (u8)~old;
    assert_int_equal(*real, (u8)~old);
    *host = old;
    assert_int_equal(*real, old);
}

static void test_unpaged(void **state) {
    TestCpu *c = *state;
    assert_true(read_entry(c, false, AT_DATA) == MMU_INVALID);
    assert_int_equal(code_entry(c, false, 0xfffff000), MMU_NO_CODE);
    store32(c, AT_DATA + 4, 0x11223344);
    assert_no_fault(c);
    assert_int_equal(peek32(c, AT_DATA + 4), 0x11223344);
    assert_leads_to(write_entry(c, false, AT_DATA), AT_DATA, at(c, AT_DATA));
    assert_leads_to(read_entry(c, false, AT_DATA), AT_DATA, at(c, AT_DATA));
    assert_true(read_entry(c, true, AT_DATA) == MMU_INVALID);
}

static void test_sizes_and_crossing(void **state) {
    TestCpu *c = *state;
    for (unsigned log2 = 0; log2 < 4; log2++) {
        for (u32 back = 0; back <= 8; back++) {
            u32 addr = AT_DATA + 0x1000 - back;
            u64 v = 0x8877665544332211, mask = log2 == 3 ? ~0ull : (1ull << (8u << log2)) - 1;
            memset(at(c, AT_DATA + 0xff0), 0xee, 32);
            cpu_slow_store(c->cpu, addr, CPU_ACCESS(CPU_DS, log2), v & mask);
            assert_memory_equal(at(c, addr), &v, 1u << log2);
            assert_int_equal(*at(c, addr + (1u << log2)), 0xee);
            assert_true(cpu_slow_load(c->cpu, addr, CPU_ACCESS(CPU_DS, log2)) == (v & mask));
        }
    }
    assert_no_fault(c);
}

static void test_accessed_and_dirty(void **state) {
    TestCpu *c = *state;
    testcpu_page(c, 7);
    load32(c, AT_DATA);
    assert_int_equal(pte(c, 0x100), AT_DATA | 0x27);
    assert_int_equal(peek32(c, AT_PD), AT_PT | 0x27);
    assert_true(read_entry(c, false, AT_DATA) >= 0);
    assert_true(write_entry(c, false, AT_DATA) == MMU_INVALID);      // not dirty yet
    store32(c, AT_DATA, 5);
    assert_int_equal(pte(c, 0x100), AT_DATA | 0x67);
    assert_true(write_entry(c, false, AT_DATA) >= 0);
    mmu_flush(c->cpu);
    load32(c, AT_DATA);                                               // dirty: both at once
    assert_true(write_entry(c, false, AT_DATA) >= 0);
}

static void test_error_codes(void **state) {
    TestCpu *c = *state;
    testcpu_page(c, 7);
    set_pte(c, 0x100, 0);
    set_pte(c, 0x101, 0x101005);                                      // user, read only
    set_pte(c, 0x102, 0x102003);                                      // supervisor
    load32(c, AT_DATA + 8);
    assert_int_equal(c->cpu->cr2, AT_DATA + 8);
    assert_fault(c, VEC_PF, 0);
    store32(c, AT_DATA + 8, 1);
    assert_fault(c, VEC_PF, 2);
    store32(c, AT_DATA + 0x1000, 1);                                  // WP off: allowed
    assert_no_fault(c);
    cpu_h_write_cr(c->cpu, 0, c->cpu->cr0 | CR0_WP);
    store32(c, AT_DATA + 0x1000, 1);
    assert_fault(c, VEC_PF, 3);
    testcpu_ring3(c, 2);
    load32(c, AT_DATA + 0x1000);
    assert_no_fault(c);
    store32(c, AT_DATA + 0x1000, 1);
    assert_fault(c, VEC_PF, 7);
    load32(c, AT_DATA + 0x2000);
    assert_int_equal(c->cpu->cr2, AT_DATA + 0x2000);
    assert_fault(c, VEC_PF, 5);
    store32(c, AT_DATA, 1);
    assert_fault(c, VEC_PF, 6);
    u32 ppn;
    assert_false(cpu_fetch_page(c->cpu, lin(AT_DATA + 0x2123), &ppn));
    assert_fault(c, VEC_PF, 5);
    assert_int_equal(pte(c, 0x102), 0x102003);                        // no A bit on a refused walk
}

// The write to the second page faults: not a byte of the first may change; CR2 is the page's start.
static void test_crossing_fault(void **state) {
    TestCpu *c = *state;
    testcpu_page(c, 7);
    set_pte(c, 0x101, 0);
    memset(at(c, AT_DATA + 0xff0), 0x55, 16);
    store32(c, AT_DATA + 0xffe, 0xaabbccdd);
    assert_int_equal(c->cpu->cr2, AT_DATA + 0x1000);
    assert_fault(c, VEC_PF, 2);
    assert_int_equal(peek16(c, AT_DATA + 0xffe), 0x5555);
    cpu_slow_load(c->cpu, AT_DATA + 0xfff, CPU_ACCESS(CPU_DS, 1) | CPU_ACCESS_RMW);
    assert_fault(c, VEC_PF, 2);
    set_pte(c, 0x100, AT_DATA | 5);
    c->cpu->cr0 |= CR0_WP;
    mmu_flush(c->cpu);
    cpu_slow_load(c->cpu, AT_DATA, DATA3 | CPU_ACCESS_RMW);           // as for a write
    assert_fault(c, VEC_PF, 3);
}

static void test_large_pages(void **state) {
    TestCpu *c = *state;
    testcpu_page(c, 7);
    poke32(c, AT_PD + 4, 0x87);                                       // 4 MiB.. -> 0..
    load32(c, 0x400000);                                              // PSE off: a table at 0
    assert_true(c->cpu->fault.pending);
    c->cpu->fault.pending = 0;
    cpu_h_write_cr(c->cpu, 4, 0x10);
    poke32(c, AT_DATA + 0x1234, 0xcafe);
    assert_int_equal(load32(c, 0x400000 + AT_DATA + 0x1234), 0xcafe);
    assert_int_equal(peek32(c, AT_PD + 4), 0xa7);
    store32(c, 0x500000, 9);
    assert_int_equal(peek32(c, AT_PD + 4), 0xe7);
    assert_int_equal(peek32(c, AT_DATA), 9);
    poke32(c, AT_PD + 8, 0x2087);                                     // reserved bit
    load32(c, 0x800000);
    assert_fault(c, VEC_PF, 9);
    load32(c, 0x5ff000);
    mmu_drop_page(c->cpu, lin(0x500000));                             // drops the whole large page
    assert_true(read_entry(c, false, 0x5ff000) == MMU_INVALID);
    assert_true(read_entry(c, false, 0x500000) == MMU_INVALID);
}

static void test_global_pages(void **state) {
    TestCpu *c = *state;
    testcpu_page(c, 7);
    cpu_h_write_cr(c->cpu, 4, 0x80);
    set_pte(c, 0x100, AT_DATA | 0x107);
    load32(c, AT_DATA);
    load32(c, AT_DATA + 0x1000);
    cpu_h_write_cr(c->cpu, 3, AT_PD);
    assert_true(read_entry(c, false, AT_DATA) >= 0);
    assert_true(read_entry(c, false, AT_DATA + 0x1000) >= 0);         // the table is as it was
    bus_write(c->bus, phy(AT_PT + 4 * 0x101), 4, 0);
    cpu_h_write_cr(c->cpu, 3, AT_PD);
    assert_true(read_entry(c, false, AT_DATA + 0x1000) == MMU_INVALID);
    mmu_drop_page(c->cpu, lin(AT_DATA));                              // drops global ones too
    assert_true(read_entry(c, false, AT_DATA) == MMU_INVALID);
    load32(c, AT_DATA);
    cpu_h_write_cr(c->cpu, 4, 0);
    assert_true(read_entry(c, false, AT_DATA) == MMU_INVALID);
}

static void test_a20(void **state) {
    TestCpu *c = *state;
    poke32(c, 0x10, 1);
    poke32(c, 0x100010, 2);
    assert_int_equal(load32(c, 0x100010), 2);
    bus_set_a20(c->bus, false);
    assert_int_equal(load32(c, 0x100010), 1);
    bus_set_a20(c->bus, true);
    assert_int_equal(load32(c, 0x100010), 2);
}

// ---- code pages ---------------------------------------------------------------------------------
static void mark_code(TestCpu *c, u32 ppn, u64 granules) {
    BusPage *page = bus_page(c->bus, ppn);
    page->flags |= BUS_PAGE_CODE;
    page->code_granules = granules;
    mmu_protect_phys(c->cpu, ppn);
}

static void test_code_page(void **state) {
    TestCpu *c = *state;
    store32(c, AT_DATA, 1);
    mark_code(c, 0x100, 1ull << 1);
    assert_true(write_entry(c, false, AT_DATA) < 0);
    assert_true(read_entry(c, false, AT_DATA) >= 0);
    store32(c, AT_DATA, 2);                                           // other granule
    assert_int_equal(c->hits, 0);
    assert_true(write_entry(c, false, AT_DATA) < 0);
    store32(c, AT_DATA + 0x3e, 3);                                    // reaches into granule 1
    assert_int_equal(c->hits, 1);
    assert_int_equal(c->written, 1);
    assert_int_equal(peek32(c, AT_DATA + 0x3e), 3);
    c->restart = true;
    store32(c, AT_DATA + 0x40, 4);
    assert_int_equal(c->cpu->fault.pending, 1);
    assert_int_equal(c->cpu->fault.kind, CPU_RESTART);
    assert_int_equal(peek32(c, AT_DATA + 0x44), 0);
    c->cpu->fault.pending = 0;
    bus_page(c->bus, 0x100)->flags &= (u8)~BUS_PAGE_CODE;
    bus_page(c->bus, 0x100)->code_granules = 0;
    store32(c, AT_DATA + 0x40, 5);                                    // direct again
    assert_no_fault(c);
    assert_true(write_entry(c, false, AT_DATA) >= 0);
}

// Several linear pages lead to one physical page: protection finds them all, in both contexts.
static void test_protect_aliases(void **state) {
    TestCpu *c = *state;
    testcpu_page(c, 7);
    set_pte(c, 0x110, AT_DATA | 7);
    set_pte(c, 0x111, AT_DATA | 7);
    store32(c, 0x110000, 1);
    store32(c, 0x111000, 2);
    store32(c, AT_DATA, 3);
    testcpu_ring3(c, 2);
    store32(c, 0x111000, 4);
    assert_true(write_entry(c, true, 0x111000) >= 0);
    mark_code(c, 0x100, 1);
    assert_true(write_entry(c, false, 0x110000) < 0);
    assert_true(write_entry(c, false, 0x111000) < 0);
    assert_true(write_entry(c, false, AT_DATA) < 0);
    assert_true(write_entry(c, true, 0x111000) < 0);
    c->hits = 0;
    store32(c, 0x111000, 5);
    assert_int_equal(c->hits, 1);
}

static void test_dirty_log(void **state) {
    TestCpu *c = *state;
    store32(c, AT_DATA, 1);
    bus_clear_dirty(c->bus, 0x100, 1);
    assert_true(write_entry(c, false, AT_DATA) < 0);
    load32(c, AT_DATA);
    assert_false(bus_is_dirty(c->bus, 0x100));
    store32(c, AT_DATA, 2);
    assert_true(bus_is_dirty(c->bus, 0x100));
    assert_true(write_entry(c, false, AT_DATA) >= 0);
    bus_clear_dirty(c->bus, 0x100, 1);
    mmu_flush(c->cpu);
    store32(c, AT_DATA, 3);                                           // by way of a fill
    assert_true(bus_is_dirty(c->bus, 0x100));
}

// ---- MMIO and ROM -------------------------------------------------------------------------------
typedef struct Chip { u32 offset, value; unsigned size, reads, writes; } Chip;
static u32 chip_read(void *self, u32 offset, unsigned size) {
    Chip *k = self;
    k->offset = offset;
    k->size = size;
    k->reads++;
    return 0x12345678;
}
static void chip_write(void *self, u32 offset, unsigned size, u32 value) {
    Chip *k = self;
    k->offset = offset;
    k->size = size;
    k->value = value;
    k->writes++;
}

static void test_mmio(void **state) {
    TestCpu *c = *state;
    Chip k = { 0 };
    unsigned region = bus_add_mmio(c->bus, &(BusMmio){ "chip", &k, chip_read, chip_write });
    bus_map_mmio(c->bus, 0xe0000, 1, region, 0);
    for (unsigned i = 0; i < 2; i++) {                                // filling, then known
        assert_int_equal(cpu_slow_load(c->cpu, 0xe0000010, CPU_ACCESS(CPU_DS, 1)), 0x5678);
        assert_int_equal(k.offset, 0x10);
        assert_int_equal(k.size, 2);
        cpu_slow_store(c->cpu, 0xe0000011, CPU_ACCESS(CPU_DS, 0), 0xab);
        assert_int_equal(k.value, 0xab);
        assert_int_equal(k.size, 1);
    }
    assert_int_equal(k.reads, 2);
    u64 v = cpu_slow_load(c->cpu, 0xe0000010, CPU_ACCESS(CPU_DS, 3));
    assert_true(v == 0x1234567812345678);
    cpu_slow_load(c->cpu, 0xe0000010, DATA3 | CPU_ACCESS_RMW);        // probing has no side effect
    assert_int_equal(k.reads, 5);
    assert_int_equal(k.writes, 2);
    assert_true(read_entry(c, false, 0xe0000000) < 0);
    u8 *rom = bus_alloc(c->bus, 4096);
    put_le32(rom, 77);
    bus_map_rom(c->bus, 0xe0000, 1, rom);                             // map_changed drops it all
    assert_int_equal(load32(c, 0xe0000000), 77);
    store32(c, 0xe0000000, 1);
    assert_int_equal(load32(c, 0xe0000000), 77);
    assert_no_fault(c);
}

// Any pair of pages comes back, none is "no code"; where kernels have RAM the entry fits a byte.
static void test_code_entries(void **state) {
    static const u32 pages[] = { 0, 1, 2, 0x3ffff, 0x40000, 0x7ffff, 0x80000, 0xc0000, 0xc0001, 0xffffe, 0xfffff };
    (void)state;
    for (u32 i = 0; i < ARRAY_LEN(pages); i++)
        for (u32 k = 0; k < ARRAY_LEN(pages); k++) {
            u32 entry = mmu_code_entry(pages[i], pages[k]);
            assert_int_not_equal(entry, MMU_NO_CODE);
            assert_int_equal(mmu_code_ppn(pages[i], entry), pages[k]);
        }
    for (u32 gib = 0; gib < 4; gib++) assert_true(mmu_code_entry(gib << 18 | 0x123, 0x123) < 0x80);
    assert_int_equal(mmu_code_ppn(0x123, MMU_NO_CODE), MMU_NO_CODE);
}

static void test_fetch(void **state) {
    TestCpu *c = *state;
    u32 ppn = 0;
    testcpu_page(c, 7);
    set_pte(c, 0x110, 0x203007);
    assert_true(cpu_fetch_page(c->cpu, lin(0x110567), &ppn));
    assert_int_equal(ppn, 0x203);
    assert_int_equal(code_entry(c, false, 0x110000), mmu_code_entry(0x110, 0x203));
    assert_int_equal(mmu_code_page(c->cpu, lin(0x110000)), 0x203);
    assert_int_equal(pte(c, 0x110), 0x203027);
    cpu_h_invlpg(c->cpu, 0x110000, CPU_ACCESS(CPU_DS, 0));
    assert_int_equal(code_entry(c, false, 0x110000), MMU_NO_CODE);
}

// More pages than the list takes: the context starts afresh and everything still works.
static void test_list_overflow(void **state) {
    TestCpu *c = *state;
    for (u32 i = 0; i < 70000; i++) load32(c, i << 12);
    assert_no_fault(c);
    store32(c, AT_DATA, 42);
    assert_int_equal(load32(c, AT_DATA), 42);
    mmu_flush(c->cpu);
    assert_true(read_entry(c, false, 69999u << 12) == MMU_INVALID);
    assert_true(read_entry(c, false, 0x5000) == MMU_INVALID);
}

static void test_debug(void **state) {
    TestCpu *c = *state;
    Phy p;
    u8 b[4];
    testcpu_page(c, 7);
    set_pte(c, 0x110, 0x203007);
    set_pte(c, 0x111, 0);
    poke32(c, 0x203ffc, 0x01020304);
    assert_true(cpu_debug_translate(c->cpu, lin(0x110004), &p));
    assert_int_equal(p.v, 0x203004);
    assert_int_equal(pte(c, 0x110), 0x203007);                        // no A bit
    assert_true(cpu_debug_read(c->cpu, lin(0x110ffc), b, 4));
    assert_int_equal(get_le32(b), 0x01020304);
    assert_false(cpu_debug_read(c->cpu, lin(0x110ffd), b, 4));
    assert_no_fault(c);
}

static void test_listings(void **state) {
    TestCpu *c = *state;
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    cpu_dump_tlb(c->cpu, f);
    testcpu_page(c, 7);
    for (u32 i = 2; i < 1024; i++) set_pte(c, i, 0);
    set_pte(c, 1, 0x1065);
    poke32(c, AT_PD + 4, 0);
    cpu_dump_tlb(c->cpu, f);
    cpu_dump_mem(c->cpu, f);
    fclose(f);
    assert_string_equal(text,
        "PG disabled\n"
        "0000000000000000: 0000000000000000 -------UW\n"
        "0000000000001000: 0000000000001000 ---DA--U-\n"
        "0000000000000000-0000000000001000 0000000000001000 urw\n"
        "0000000000001000-0000000000002000 0000000000001000 ur-\n");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_PROTECTED(test_unpaged), TEST_PROTECTED(test_sizes_and_crossing),
        TEST_PROTECTED(test_accessed_and_dirty), TEST_PROTECTED(test_error_codes),
        TEST_PROTECTED(test_crossing_fault), TEST_PROTECTED(test_large_pages),
        TEST_PROTECTED(test_global_pages), TEST_PROTECTED(test_a20),
        TEST_PROTECTED(test_code_page), TEST_PROTECTED(test_protect_aliases),
        TEST_PROTECTED(test_dirty_log), TEST_PROTECTED(test_mmio), TEST_PROTECTED(test_fetch),
        cmocka_unit_test(test_code_entries),
        TEST_PROTECTED(test_list_overflow), TEST_PROTECTED(test_debug),
        TEST_PROTECTED(test_listings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
