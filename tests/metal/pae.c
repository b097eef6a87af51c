// SPDX-License-Identifier: MIT
// PAE: three levels, 2 MiB pages, the four directory pointers and when they are read, reserved
// bits, no-execute pages, what error codes tell. SDM 3A 4.4, 4.6, 4.7.
//   T=pae tests/metal/run.sh build/glassbox bochs qemu-system-i386
#include "rt.h"

#define CR4_PAE 0x20u
#define CR0_PG 0x80000000u
#define PTE_NX (1ull << 63)
#define MSR_EFER 0xc0000080u
#define EFER_NXE 0x800u

ICODE(load, "", "mov (%ebx), %eax");
ICODE(store, "", "mov %eax, (%ebx)");
ICODE(jump, "", "jmp *%ebx");
ICODE(write_cr3, "", "mov %eax, %cr3");
ICODE(write_cr4, "", "mov %eax, %cr4");

static u64 pointers[4] __attribute__((aligned(32)));
static u64 directory[512] __attribute__((aligned(4096)));
static u64 table[512] __attribute__((aligned(4096)));

// 0 .. 4 MiB as it is, the window's first 2 MiB through `table`.
static void pae_build(void) {
    memset(directory, 0, sizeof directory);
    memset(pointers, 0, sizeof pointers);
    for (u32 i = 0; i < 2; i++) directory[i] = i << 21 | PTE_ALL | PTE_PS;
    directory[2] = ADDR(table) | PTE_ALL;
    for (u32 i = 0; i < 256; i++) table[i] = ADDR(win_phys(i)) | PTE_ALL;
    pointers[0] = ADDR(directory) | PTE_P;
}

static void pae_on(void) {
    pae_build();
    set_cr0(get_cr0() & ~CR0_PG);
    __asm__ volatile("mov %0, %%cr4" :: "r"(get_cr4() | CR4_PAE) : "memory");
    __asm__ volatile("mov %0, %%cr3" :: "r"(pointers) : "memory");
    set_cr0(get_cr0() | CR0_PG);
}

static void pae_off(void) {
    set_cr0(get_cr0() & ~CR0_PG);
    __asm__ volatile("mov %0, %%cr4" :: "r"(get_cr4() & ~CR4_PAE) : "memory");
    rt_reset();
}

static u32 efer(void) {
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_EFER));
    return low;
}
static void set_efer(u32 v) {
    __asm__ volatile("wrmsr" ::"a"(v), "d"(0), "c"(MSR_EFER) : "memory");
}
static void reload(void) { __asm__ volatile("mov %0, %%cr3" :: "r"(pointers) : "memory"); }

static State at(const void *code, u32 ring, u32 addr) {
    State s = ring_state(ring, code);
    s.ebx = addr;
    return s;
}

static void expect_pf(const State *o, const State *s, u32 error, const u8 *eip, u32 cr2) {
    expect_fault(o, s, V_PF, error, ADDR(eip));
    expect("cr2", o->cr2, cr2);
}

static void test_basic(void) {
    test("pae/load, A and D bits");
    *(u32 *)(win_phys(3) + 16) = 0x13572468;
    State s = at(load, 3, win(3) + 16), o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, 0x13572468);
    expect("A of the table entry", (u32)table[3] & 0x60, 0x20);
    expect("A of the directory entry", (u32)directory[2] & 0x60, 0x20);
    s = at(store, 3, win(3) + 16);
    s.eax = 0xcafe;
    o = run(&s);
    expect_exit(&o);
    expect("memory", *(u32 *)(win_phys(3) + 16), 0xcafe);
    expect("D", (u32)table[3] & 0x60, 0x60);
}

static void test_large(void) {
    test("pae/2 MiB page");
    directory[3] = 2u << 20 | PTE_ALL | PTE_PS;
    reload();
    *(u32 *)0x312344 = 0x777;
    State s = at(load, 3, (3u << 21) + 0x112344), o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, 0x777);
    directory[3] |= 0x2000;
    reload();
    o = run(&s);
    test("pae/reserved bit of a 2 MiB page");
    expect_pf(&o, &s, 0xd, load_at, s.ebx);
    directory[3] = 0;
}

static void test_rights(void) {
    test("pae/rights");
    table[5] = ADDR(win_phys(5)) | PTE_P | PTE_W;
    table[6] = ADDR(win_phys(6)) | PTE_P | PTE_U;
    table[7] = 0;
    reload();
    State s = at(load, 3, win(5)), o = run(&s);
    expect_pf(&o, &s, 5, load_at, win(5));
    s = at(store, 3, win(6));
    o = run(&s);
    expect_pf(&o, &s, 7, store_at, win(6));
    s = at(store, 3, win(7));
    o = run(&s);
    expect_pf(&o, &s, 6, store_at, win(7));
    s = at(load, 0, 0x40000000);
    o = run(&s);
    test("pae/no directory");
    expect_pf(&o, &s, 0, load_at, 0x40000000);
}

static void test_reserved(void) {
    test("pae/reserved address bit");
    table[8] = ADDR(win_phys(8)) | PTE_ALL | 1ull << 60;
    reload();
    State s = at(load, 3, win(8)), o = run(&s);
    expect_pf(&o, &s, 0xd, load_at, win(8));
    test("pae/NX is reserved without NXE");
    table[8] = ADDR(win_phys(8)) | PTE_ALL | PTE_NX;
    reload();
    o = run(&s);
    expect_pf(&o, &s, 0xd, load_at, win(8));
}

static void test_nx(void) {
    u32 out[4];
    cpuid(0x80000000, out);
    if (out[0] >= 0x80000001 && out[0] >> 31) cpuid(0x80000001, out);
    else out[3] = 0;
    test("pae/no-execute");
    if (!(out[3] & 1u << 20)) {
        skip("no NX");
        return;
    }
    set_efer(efer() | EFER_NXE);
    table[8] = ADDR(win_phys(8)) | PTE_ALL | PTE_NX;
    table[9] = ADDR(win_phys(9)) | PTE_ALL;
    reload();
    *(u16 *)win_phys(8) = *(u16 *)win_phys(9) = 0x30cd;
    State s = at(load, 3, win(8)), o = run(&s);
    expect_exit(&o);
    s = at(jump, 3, win(9));
    o = run(&s);
    expect_exit(&o);
    s = at(jump, 3, win(8));
    o = run(&s);
    expect("vector", o.vector, V_PF);
    expect("error", o.error, 0x15);
    expect("eip", o.eip, win(8));
    expect("cr2", o.cr2, win(8));
    s = at(jump, 3, win(7));
    o = run(&s);
    test("pae/fetch from a missing page");
    expect("error", o.error, 0x14);
    set_efer(efer() & ~EFER_NXE);
    s = at(jump, 3, win(7));
    o = run(&s);
    test("pae/without NXE a fetch is not told");
    expect("error", o.error, 4);
}

static void test_pointers(void) {
    test("pae/pointers are read with CR3 only");
    pointers[0] = 0;
    State s = at(load, 3, win(3)), o = run(&s);
    expect_exit(&o);
    pointers[0] = ADDR(directory) | PTE_P;
    test("pae/a reserved bit in a pointer");
    pointers[2] = 2 | PTE_P;
    s = at(write_cr3, 0, 0);
    s.eax = ADDR(pointers);
    o = run(&s);
    expect_fault(&o, &s, V_GP, 0, ADDR(write_cr3_at));
    s = at(load, 3, win(3));
    o = run(&s);
    expect_exit(&o);
    test("pae/without P they are not looked at");
    pointers[2] = 2;
    s = at(write_cr3, 0, 0);
    s.eax = ADDR(pointers);
    o = run(&s);
    expect_exit(&o);
    test("pae/PGE reads them too");
    pointers[1] = 0x20 | PTE_P;
    s = at(write_cr4, 0, 0);
    s.eax = get_cr4() ^ CR4_PGE;
    o = run(&s);
    expect_fault(&o, &s, V_GP, 0, ADDR(write_cr4_at));
    expect("CR4", get_cr4() & CR4_PGE, ~s.eax & CR4_PGE);
    pointers[1] = pointers[2] = 0;
}

void test_main(void) {
    if (!(cpu_features() & 1u << 6)) {
        test("pae");
        skip("no PAE");
        return;
    }
    rt_reset();
    pae_on();
    test_basic();
    test_large();
    test_rights();
    test_reserved();
    test_nx();
    test_pointers();
    pae_off();
}
