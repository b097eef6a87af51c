// SPDX-License-Identifier: MIT
// A processor with 4 MiB of RAM, a GDT, an IDT and TSSs at fixed places, for the tests of src/cpu.
//
//   0x1000 GDT   0x2000 IDT   0x3000 TSS A   0x3100 TSS B   0x3200 LDT   0x4000 page directory
//   0x5000 page table of 0..4 MiB   0x6000 second page table   0x8000 ring 0 stack's top
//   0x9000 ring 3 stack's top   0x100000 data of the tests
#ifndef TESTS_UNIT_TESTCPU_H
#define TESTS_UNIT_TESTCPU_H

#include "testbus.h"

#include "cpu/cpu.h"
#include "cpu/helpers.h"
#include "cpu/mmu.h"

#include <string.h>

enum {
    AT_GDT = 0x1000, AT_IDT = 0x2000, AT_TSS_A = 0x3000, AT_TSS_B = 0x3100, AT_LDT = 0x3200,
    AT_PD = 0x4000, AT_PT = 0x5000, AT_PT2 = 0x6000, TOP0 = 0x8000, TOP3 = 0x9000,
    AT_DATA = 0x100000,
};

// Selectors of the GDT that testcpu_protect() builds.
enum {
    SEL_CODE0 = 0x08, SEL_DATA0 = 0x10, SEL_CODE3 = 0x1b, SEL_DATA3 = 0x23, SEL_TSS_A = 0x28,
    SEL_TSS_B = 0x30, SEL_LDT = 0x38, SEL_GATE = 0x40, SEL_CODE16 = 0x48, SEL_SMALL = 0x50,
    SEL_DOWN = 0x58, SEL_ABSENT = 0x60, SEL_CONFORMING = 0x68, SEL_EXECUTE = 0x70,
    SEL_READONLY = 0x78, SEL_TASKGATE = 0x80, SEL_STACK16 = 0x88, SEL_BASED = 0x90, SEL_END = 0x98,
};

typedef struct TestCpu {
    TestBus t;
    Bus *bus;
    Cpu *cpu;
    u32 hits;                  // calls of the store hook
    bool restart;              // what it answers
    u32 written;               // calls of code_written
} TestCpu;

static inline u8 *at(TestCpu *c, u32 phys) { return bus_ram(c->bus) + phys; }
static inline u32 peek32(TestCpu *c, u32 phys) { return get_le32(at(c, phys)); }
static inline u32 peek16(TestCpu *c, u32 phys) { return get_le16(at(c, phys)); }
static inline void poke32(TestCpu *c, u32 phys, u32 v) { put_le32(at(c, phys), v); }
static inline void poke16(TestCpu *c, u32 phys, u32 v) { put_le16(at(c, phys), (u16)v); }

static inline bool testcpu_hit(void *self, u32 ppn, u32 offset, u32 bytes) {
    TestCpu *c = self;
    (void)ppn, (void)offset, (void)bytes;
    c->hits++;
    return c->restart;
}
static inline void testcpu_written(void *self, u32 ppn, u32 offset, u32 bytes) {
    TestCpu *c = self;
    (void)ppn, (void)offset, (void)bytes;
    c->written++;
}
static inline void testcpu_map_changed(void *self, u32 ppn, u32 pages) {
    mmu_map_changed(((TestCpu *)self)->cpu, ppn, pages);
}
static inline void testcpu_write_protect(void *self, u32 ppn) {
    mmu_write_protect(((TestCpu *)self)->cpu, ppn);
}

static inline void testcpu_table_written(void *self, u32 ppn) {
    mmu_note_table(((TestCpu *)self)->cpu, ppn);
}

static inline TestCpu *testcpu_open(void) {
    TestCpu *c = calloc(1, sizeof(*c));
    testbus_open(&c->t, 4 << 20);
    c->bus = c->t.bus;
    c->cpu = cpu_new(c->bus, &c->t.log);
    c->cpu->jit = c;
    c->cpu->store_hits_code = testcpu_hit;
    bus_set_hooks(c->bus, &(BusHooks){ c, testcpu_written, testcpu_map_changed,
                                       testcpu_write_protect, NULL, testcpu_table_written });
    return c;
}

static inline void testcpu_close(TestCpu *c) {
    cpu_free(c->cpu);
    testbus_close(&c->t);
    free(c);
}

// access: bits 0-7 as in the descriptor; flags: bits 20-23 (G 8, D/B 4).
static inline void put_desc(TestCpu *c, u32 addr, u32 base, u32 limit, u32 access, u32 flags) {
    poke32(c, addr, (limit & 0xffff) | base << 16);
    poke32(c, addr + 4, (base >> 16 & 0xff) | access << 8 | (limit & 0xf0000) | flags << 20
           | (base & 0xff000000));
}
static inline void put_gate(TestCpu *c, u32 addr, u32 selector, u32 offset, u32 access,
                            u32 params) {
    poke32(c, addr, (offset & 0xffff) | selector << 16);
    poke32(c, addr + 4, (offset & 0xffff0000) | access << 8 | params);
}
static inline void put_idt(TestCpu *c, u32 vector, u32 selector, u32 offset, u32 access) {
    put_gate(c, AT_IDT + vector * 8, selector, offset, access, 0);
}

static inline void testcpu_gdt(TestCpu *c) {
    put_desc(c, AT_GDT + SEL_CODE0, 0, 0xfffff, 0x9b, 0xc);
    put_desc(c, AT_GDT + SEL_DATA0, 0, 0xfffff, 0x93, 0xc);
    put_desc(c, AT_GDT + (SEL_CODE3 & ~3), 0, 0xfffff, 0xfb, 0xc);
    put_desc(c, AT_GDT + (SEL_DATA3 & ~3), 0, 0xfffff, 0xf3, 0xc);
    put_desc(c, AT_GDT + SEL_TSS_A, AT_TSS_A, 0xff, 0x89, 0);
    put_desc(c, AT_GDT + SEL_TSS_B, AT_TSS_B, 0xff, 0x89, 0);
    put_desc(c, AT_GDT + SEL_LDT, AT_LDT, 0xff, 0x82, 0);
    put_desc(c, AT_GDT + SEL_CODE16, 0, 0xffff, 0x9a, 0);
    put_desc(c, AT_GDT + SEL_SMALL, AT_DATA, 0xfff, 0x92, 4);
    put_desc(c, AT_GDT + SEL_DOWN, AT_DATA, 0xfff, 0x96, 4);
    put_desc(c, AT_GDT + SEL_ABSENT, 0, 0xfffff, 0x12, 0xc);
    put_desc(c, AT_GDT + SEL_CONFORMING, 0, 0xfffff, 0x9f, 0xc);
    put_desc(c, AT_GDT + SEL_EXECUTE, 0, 0xfffff, 0x99, 0xc);
    put_desc(c, AT_GDT + SEL_READONLY, 0, 0xfffff, 0x91, 0xc);
    put_gate(c, AT_GDT + SEL_TASKGATE, SEL_TSS_B, 0, 0xe5, 0);
    put_desc(c, AT_GDT + SEL_STACK16, 0, 0xffff, 0x93, 0);
    put_desc(c, AT_GDT + SEL_BASED, 0x1000, 0xfffff, 0xf3, 0xc);
}

static inline void load_seg(TestCpu *c, unsigned s, u32 selector) {
    cpu_h_load_seg(c->cpu, s, selector);
    assert_false(c->cpu->fault.pending);
}

// Ring 0, flat, paging off; TSS A in TR with a ring 0 stack.
static inline void testcpu_protect(TestCpu *c) {
    Cpu *cpu = c->cpu;
    testcpu_gdt(c);
    cpu->gdtr = (CpuTable){ AT_GDT, SEL_END - 1 };
    cpu->idtr = (CpuTable){ AT_IDT, 0x7ff };
    cpu_h_write_cr(cpu, 0, 0x11);
    cpu_h_jmp_far(cpu, SEL_CODE0, 0x7000, 4);
    assert_false(cpu->fault.pending);
    for (unsigned s = 0; s < 6; s++) if (s != CPU_CS) load_seg(c, s, SEL_DATA0);
    cpu_end_inhibit(cpu);
    cpu->regs[CPU_ESP] = TOP0;
    cpu_h_ltr(cpu, SEL_TSS_A);
    assert_false(cpu->fault.pending);
    poke32(c, AT_TSS_A + 4, TOP0);
    poke32(c, AT_TSS_A + 8, SEL_DATA0);
    poke16(c, AT_TSS_A + 0x66, 0x68);
}

// To ring 3 by IRET.
static inline void testcpu_ring3(TestCpu *c, u32 eflags) {
    Cpu *cpu = c->cpu;
    u32 frame[5] = { 0x7000, SEL_CODE3, eflags, TOP3, SEL_DATA3 };
    cpu->regs[CPU_ESP] = TOP0 - 20;
    memcpy(at(c, TOP0 - 20), frame, 20);
    cpu_h_iret(cpu, 4);
    assert_false(cpu->fault.pending);
    assert_int_equal(cpu->cpl, 3);
    for (unsigned s = 0; s < 6; s++)
        if (s != CPU_CS && s != CPU_SS) load_seg(c, s, SEL_DATA3);
}

// Identity mapping of 4 MiB with these rights (1 P, 2 W, 4 U) in every table entry.
static inline void testcpu_page(TestCpu *c, u32 rights) {
    poke32(c, AT_PD, AT_PT | rights);
    for (u32 i = 0; i < 1024; i++) poke32(c, AT_PT + 4 * i, i << 12 | rights);
    c->cpu->cr3 = AT_PD;
    cpu_h_write_cr(c->cpu, 0, c->cpu->cr0 | 0x80000000);
    assert_false(c->cpu->fault.pending);
}

// The fault that must be pending; takes it away.
#define assert_fault(c, v, e) do { \
        CpuFault f_ = (c)->cpu->fault; \
        assert_int_equal(f_.pending, 1); \
        assert_int_equal(f_.vector, v); \
        i64 e_ = (i64)(e);                   /* -1: none */ \
        assert_int_equal(f_.has_error, e_ != -1); \
        if (e_ != -1) assert_int_equal(f_.error, e_); \
        (c)->cpu->fault = (CpuFault){ 0 }; \
    } while (0)
#define assert_no_fault(c) assert_int_equal((c)->cpu->fault.pending, 0)

static inline int testcpu_setup(void **state) { *state = testcpu_open(); return 0; }
static inline int testcpu_setup_protected(void **state) {
    *state = testcpu_open();
    testcpu_protect(*state);
    return 0;
}
static inline int testcpu_teardown(void **state) { testcpu_close(*state); return 0; }
#define TEST_REAL(f) cmocka_unit_test_setup_teardown(f, testcpu_setup, testcpu_teardown)
#define TEST_PROTECTED(f) \
    cmocka_unit_test_setup_teardown(f, testcpu_setup_protected, testcpu_teardown)

#endif
