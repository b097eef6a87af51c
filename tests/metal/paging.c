// SPDX-License-Identifier: MIT
// Paging: rights by U/S and R/W of both levels, CR0.WP, error codes, accessed and dirty bits, 4 MiB
// pages, global pages, INVLPG and CR3, tables changed with and without invalidation, accesses over
// two pages, fetches, read-modify-write as a write, page tables reached through themselves. SDM
// 3A 4.3, 4.6, 4.7, 4.8, 4.10 (what may be cached and must not be).
//   T=paging tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

ICODE(load, "", "mov (%ebx), %eax");
ICODE(store, "", "mov %eax, (%ebx)");
ICODE(rmw, "", "addl $1, (%ebx)");
ICODE(jump, "", "jmp *%ebx");
ICODE(cmpx, "", "cmpxchg %ecx, (%ebx)");

CODE(load_store, "mov (%ebx), %eax; mov page_win, %eax; mov %ecx, (%ebx)");
CODE(self_map, "mov (%ebx), %edx; mov %eax, (%edi); invlpg (%ebx); mov (%ebx), %ecx");
CODE(alias, "mov %eax, (%ebx); mov (%esi), %ecx; incl (%esi); mov (%ebx), %edx");
CODE(
    paging_off,
    "mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0; mov (%ebx), %ecx; or $0x80000000, %eax;"
    "mov %eax, %cr0");

// ---- rights -------------------------------------------------------------------------------------
static void run_rights_one(u32 pde, u32 pte, u32 ring, u32 wp, u32 write) {
    test("paging/rights/pde %s%s/pte %s%s/ring%u/WP %u/%s", pde & 4 ? "u" : "s",
         pde & 2 ? "w" : "r", pte & 4 ? "u" : "s", pte & 2 ? "w" : "r", ring, wp,
         write ? "write" : "read");
    set_cr0((get_cr0() & ~CR0_WP) | (wp ? CR0_WP : 0));
    page_dir[1] = ADDR(page_win) | PTE_P | pde;
    page_win[0] = ADDR(win_phys(0)) | PTE_P | pte;
    flush_tlb();
    State s = ring_state(ring, write ? store : load);
    s.ebx = win(0) + 8;
    u32 before = *(u32 *)(win_phys(0) + 8);
    State o = run(&s);
    u32 user = pde & pte & 4, writable = pde & pte & 2;
    u32 right = (ring == 0 || user) && (!write || writable || (ring == 0 && !wp));
    if (right) {
        expect_exit(&o);
        if (!write) expect("eax", o.eax, before);
    } else {
        expect_fault(&o, &s, V_PF, 1 | (write ? 2 : 0) | (ring ? 4 : 0),
                     ADDR(write ? store_at : load_at));
        expect("cr2", o.cr2, win(0) + 8);
    }
    expect("memory", *(u32 *)(win_phys(0) + 8), right && write ? s.eax : before);
    *(u32 *)(win_phys(0) + 8) = 0x01020304;
}

static void run_rights(void) {
    rt_reset();
    for (u32 k = 0; k < 128; k++)
        run_rights_one(k & 6, k >> 2 & 6, k & 1 ? 3 : 0, k >> 5 & 1, k >> 6);
    rt_reset();
}

// ---- accessed and dirty -------------------------------------------------------------------------
static void clear_ad(void) {
    page_dir[1] &= ~(PTE_A | PTE_D);
    page_win[0] &= ~(PTE_A | PTE_D);
    page_win[1] &= ~(PTE_A | PTE_D);
    flush_tlb();
}

static void run_bits(void) {
    static const struct { const char *name; const u8 *code; u32 bits;
    } rows[] = {
        { "load", load, PTE_A },
        { "store", store, PTE_A | PTE_D },
        { "read-modify-write", rmw, PTE_A | PTE_D },
        { "jump", jump, PTE_A },
        { "cmpxchg that stores nothing new", cmpx, PTE_A | PTE_D },
    };
    for (u32 i = 0; i < COUNT(rows); i++) {
        test("paging/bits/%s", rows[i].name);
        rt_reset();
        memcpy(win_phys(0), "\xcd\x30", 2);
        clear_ad();
        State s = user_state(rows[i].code);
        s.ebx = win(0);
        State o = run(&s);
        expect_exit(&o);
        expect("pte", page_win[0] & (PTE_A | PTE_D), rows[i].bits);
        expect("pde", page_dir[1] & (PTE_A | PTE_D), PTE_A);
        expect("next pte", page_win[1] & (PTE_A | PTE_D), 0);
    }
    test("paging/bits/a store after a load sets D");
    rt_reset();
    clear_ad();
    State s = user_state(load_store);
    s.ebx = win(0);
    State o = run(&s);
    expect_exit(&o);
    expect("pte between", o.eax & (PTE_A | PTE_D), PTE_A);
    expect("pte", page_win[0] & (PTE_A | PTE_D), PTE_A | PTE_D);
    test("paging/bits/cleared and flushed, they are set again");
    clear_ad();
    s = user_state(store);
    s.ebx = win(0);
    o = run(&s);
    expect_exit(&o);
    expect("pte", page_win[0] & (PTE_A | PTE_D), PTE_A | PTE_D);
    test("paging/bits/D cleared with INVLPG, a store sets it again");
    page_win[0] &= ~PTE_D;
    __asm__ volatile("invlpg (%0)" :: "r"(win(0)) : "memory");
    o = run(&s);
    expect_exit(&o);
    expect("pte", page_win[0] & (PTE_A | PTE_D), PTE_A | PTE_D);
    test("paging/bits/a fault for lack of rights sets no D");
    rt_reset();
    clear_ad();
    page_win[0] &= ~PTE_W;
    flush_tlb();
    o = run(&s);
    expect("vector", o.vector, V_PF);
    expect("pte", page_win[0] & PTE_D, 0);
    test("paging/bits/store over two pages, the second read-only");
    rt_reset();
    clear_ad();
    page_win[1] &= ~PTE_W;
    flush_tlb();
    s.ebx = win(1) - 2;
    u32 before = *(u32 *)(win_phys(1) - 2);
    o = run(&s);
    expect_fault(&o, &s, V_PF, 7, ADDR(store_at));
    expect("cr2", o.cr2, win(1));
    expect("memory", *(u32 *)(win_phys(1) - 2), before);
    expect("second pte's D", page_win[1] & PTE_D, 0);
}

// ---- errors -------------------------------------------------------------------------------------
static void run_errors(void) {
    static const struct { const char *name; const u8 *code, *at; u32 bits; } rows[] = {
        { "read-modify-write counts as a write", rmw, rmw_at, 2 },
        { "cmpxchg counts as a write", cmpx, cmpx_at, 2 },
    };
    for (u32 ring = 0; ring < 4; ring += 3)
        for (u32 i = 0; i < COUNT(rows); i++) {
            test("paging/error/%s/ring%u", rows[i].name, ring);
            rt_reset();
            map(0, 0);
            State s = ring_state(ring, rows[i].code);
            s.ebx = win(0) + 0x44;
            State o = run(&s);
            expect_fault(&o, &s, V_PF, rows[i].bits | (ring ? 4 : 0), ADDR(rows[i].at));
            expect("cr2", o.cr2, win(0) + 0x44);
        }
    for (u32 ring = 0; ring < 4; ring += 3) {
        test("paging/error/fetch from a missing page/ring%u", ring);
        rt_reset();
        map(0, 0);
        State s = ring_state(ring, jump);
        s.ebx = win(0) + 0x44;
        State o = run(&s);
        expect_fault(&o, &s, V_PF, ring ? 4 : 0, win(0) + 0x44);
        expect("cr2", o.cr2, win(0) + 0x44);
        test("paging/error/missing page table/ring%u", ring);
        s = ring_state(ring, load);
        s.ebx = 0x800123;
        o = run(&s);
        expect_fault(&o, &s, V_PF, ring ? 4 : 0, ADDR(load_at));
        expect("cr2", o.cr2, 0x800123);
    }
    test("paging/error/fetch from a supervisor page/ring3");
    rt_reset();
    map(0, PTE_P | PTE_W);
    State s = user_state(jump);
    s.ebx = win(0);
    State o = run(&s);
    expect_fault(&o, &s, V_PF, 5, win(0));
    test("paging/error/an instruction over two pages, the second missing");
    rt_reset();
    static const u8 bytes[] = { 0xb8, 0x11, 0x22, 0x33, 0x44, 0xcd, 0x30 };
    memcpy(win_phys(1) - 2, bytes, sizeof bytes);
    map(1, 0);
    s = user_state((const void *)(win(1) - 2));
    o = run(&s);
    expect_fault(&o, &s, V_PF, 4, win(1) - 2);
    expect("cr2", o.cr2, win(1));
    map(1, PTE_ALL);
    o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, 0x44332211);
    test("paging/error/the second page changed, other bytes");
    memcpy(win_phys(7), win_phys(1), 16);
    win_phys(7)[1] = 0x77;
    page_win[1] = ADDR(win_phys(7)) | PTE_ALL;
    flush_tlb();
    o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, 0x44 << 24 | 0x77 << 16 | 0x2211);
}

// ---- 4 MiB pages --------------------------------------------------------------------------------
static void run_large(void) {
    if (!(cpu_features() & 1 << 3)) {
        test("paging/4 MiB");
        skip("no PSE");
        return;
    }
    test("paging/4 MiB/mapping");
    rt_reset();
    set_cr4(CR4_PSE);
    page_dir[2] = 0 | PTE_ALL | PTE_PS;                     // 8 MiB -> 0
    flush_tlb();
    State s = user_state(load);
    s.ebx = 0x800000 + ADDR(win_phys(0)) + 4;
    State o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, *(u32 *)(win_phys(0) + 4));
    expect("pde", page_dir[2] & (PTE_A | PTE_D), PTE_A);
    test("paging/4 MiB/dirty");
    s = user_state(store);
    s.ebx = 0x800000 + ADDR(win_phys(0)) + 4;
    o = run(&s);
    expect_exit(&o);
    expect("memory", *(u32 *)(win_phys(0) + 4), s.eax);
    expect("pde", page_dir[2] & (PTE_A | PTE_D), PTE_A | PTE_D);
    for (u32 k = 0; k < 8; k++) {
        test("paging/4 MiB/rights/%s%s/%s", k & 2 ? "u" : "s", k & 1 ? "w" : "r",
             k & 4 ? "write" : "read");
        page_dir[2] = PTE_P | PTE_PS | (k & 1 ? PTE_W : 0) | (k & 2 ? PTE_U : 0);
        flush_tlb();
        s = user_state(k & 4 ? store : load);
        s.ebx = 0x800000 + ADDR(win_phys(2));
        o = run(&s);
        if (k & 2 && (k & 1 || !(k & 4))) expect_exit(&o);
        else expect_fault(&o, &s, V_PF, 5 | (k & 4 ? 2 : 0), ADDR(k & 4 ? store_at : load_at));
    }
    test("paging/4 MiB/PS without CR4.PSE is a page table");
    rt_reset();
    page_dir[2] = ADDR(page_win) | PTE_ALL | PTE_PS;
    flush_tlb();
    s = user_state(load);
    s.ebx = 0x800000 + 8;
    o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, *(u32 *)(win_phys(0) + 8));
    test("paging/4 MiB/code, across the border of small pages");
    set_cr4(CR4_PSE);
    page_dir[2] = PTE_ALL | PTE_PS;
    flush_tlb();
    memcpy(win_phys(1) - 1, "\xb8\x01\x02\x03\x04\xcd\x30", 7);
    s = user_state((const void *)(0x800000 + ADDR(win_phys(1)) - 1));
    o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, 0x04030201);
    rt_reset();
}

// ---- what may stay in the TLB, and what must not ------------------------------------------------
// Each changes the mapping of the window's page 0 to page 4's memory in another way.
static void run_invalidate(void) {
    static const char *const how[] = { "INVLPG", "MOV CR3", "CR0.PG off and on", "CR4.PGE changed",
                                       "task switch" };
    for (u32 i = 0; i < 4; i++) {
        if (i == 3 && !(cpu_features() & 1 << 13)) continue;
        test("paging/invalidate/%s", how[i]);
        rt_reset();
        *(u32 *)win_phys(0) = 0x11111111;
        *(u32 *)win_phys(4) = 0x44444444;
        State s = user_state(load);
        s.ebx = win(0);
        State o = run(&s);
        expect("before", o.eax, 0x11111111);
        page_win[0] = ADDR(win_phys(4)) | PTE_ALL;
        switch (i) {
        case 0: __asm__ volatile("invlpg (%0)" :: "r"(win(0)) : "memory"); break;
        case 1: flush_tlb(); break;
        case 2: set_cr0(get_cr0() & 0x7fffffff); set_cr0(get_cr0() | 0x80000000); break;
        case 3: set_cr4(CR4_PGE); set_cr4(0); break;
        }
        o = run(&s);
        expect("after", o.eax, 0x44444444);
    }
    test("paging/invalidate/INVLPG of another address in the page");
    rt_reset();
    *(u32 *)win_phys(0) = 0x11111111;
    *(u32 *)win_phys(4) = 0x44444444;
    State s = user_state(load);
    s.ebx = win(0);
    run(&s);
    page_win[0] = ADDR(win_phys(4)) | PTE_ALL;
    __asm__ volatile("invlpg (%0)" :: "r"(win(0) + 0xabc) : "memory");
    State o = run(&s);
    expect("after", o.eax, 0x44444444);
    test("paging/invalidate/not present to present needs nothing");
    rt_reset();
    map(0, 0);
    *(u32 *)win_phys(0) = 0x11111111;
    o = run(&s);
    expect("vector", o.vector, V_PF);
    page_win[0] = ADDR(win_phys(0)) | PTE_ALL;
    o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, 0x11111111);
    test("paging/invalidate/a page fault drops the entry, more rights need nothing");
    rt_reset();
    map(0, PTE_P | PTE_U);
    State w = user_state(store);
    w.ebx = win(0);
    o = run(&w);
    expect("vector", o.vector, V_PF);
    page_win[0] |= PTE_W;
    o = run(&w);
    expect_exit(&o);
    test("paging/invalidate/a new directory in CR3");
    static u32 second_dir[1024] __attribute__((aligned(4096)));
    static u32 second_win[1024] __attribute__((aligned(4096)));
    rt_reset();
    memcpy(second_dir, page_dir, 4096);
    memcpy(second_win, page_win, 4096);
    second_dir[1] = ADDR(second_win) | PTE_ALL;
    second_win[0] = ADDR(win_phys(4)) | PTE_ALL;
    *(u32 *)win_phys(0) = 0x11111111;
    *(u32 *)win_phys(4) = 0x44444444;
    o = run(&s);
    expect("first", o.eax, 0x11111111);
    set_cr3(ADDR(second_dir));
    o = run(&s);
    expect("second", o.eax, 0x44444444);
    set_cr3(ADDR(page_dir));
    o = run(&s);
    expect("first again", o.eax, 0x11111111);
}

// A global entry may survive MOV CR3, but not INVLPG and not a change of PGE.
static void run_global(void) {
    if (!(cpu_features() & 1 << 13)) return;
    for (u32 i = 0; i < 2; i++) {
        test("paging/global/%s drops it", i ? "CR4.PGE" : "INVLPG");
        rt_reset();
        set_cr4(CR4_PGE);
        map(0, PTE_ALL | PTE_G);
        *(u32 *)win_phys(0) = 0x11111111;
        *(u32 *)win_phys(4) = 0x44444444;
        State s = user_state(load);
        s.ebx = win(0);
        State o = run(&s);
        expect("before", o.eax, 0x11111111);
        page_win[0] = ADDR(win_phys(4)) | PTE_ALL | PTE_G;
        if (i) set_cr4(0);
        else __asm__ volatile("invlpg (%0)" :: "r"(win(0)) : "memory");
        o = run(&s);
        expect("after", o.eax, 0x44444444);
    }
    test("paging/global/MOV CR3 keeps it");
    rt_reset();
    set_cr4(CR4_PGE);
    map(0, PTE_ALL | PTE_G);
    *(u32 *)win_phys(0) = 0x11111111;
    *(u32 *)win_phys(4) = 0x44444444;
    State s = user_state(load);
    s.ebx = win(0);
    run(&s);
    page_win[0] = ADDR(win_phys(4)) | PTE_ALL | PTE_G;
    flush_tlb();
    State o = run(&s);
    expect("after", o.eax, 0x11111111); // every processor with PGE does, though it need not
    rt_reset();
}

// ---- the tables themselves ----------------------------------------------------------------------
// The directory as a page table: the tables appear in the address space, stores to them count as
// stores.
static void run_recursive(void) {
    test("paging/recursive/a store through the self-map changes a mapping");
    rt_reset();
    page_dir[1023] = ADDR(page_dir) | PTE_P | PTE_W;
    flush_tlb();
    *(u32 *)win_phys(4) = 0x44444444;
    State s = kernel_state(self_map);
    s.ebx = win(0);
    s.edi = 0xffc00000 + 1 * 4096;               // page_win, entry 0
    s.eax = ADDR(win_phys(4)) | PTE_ALL;
    State o = run(&s);
    expect_exit(&o);
    expect("ecx", o.ecx, 0x44444444);
    expect("pte", page_win[0] & ~0xfffu, ADDR(win_phys(4)));
    expect("entry of the directory has A and D", page_win[0] & PTE_A, PTE_A);
    expect("self entry", page_dir[1023] & PTE_A, PTE_A);
    rt_reset();
}

// Tables are read through the walk even when the processor has just written them by another
// address.
static void run_alias(void) {
    test("paging/alias/two addresses of one page");
    rt_reset();
    page_win[5] = ADDR(win_phys(0)) | PTE_ALL;
    flush_tlb();
    State s = user_state(alias);
    s.ebx = win(0) + 0x10;
    s.esi = win(5) + 0x10;
    State o = run(&s);
    expect_exit(&o);
    expect("ecx", o.ecx, s.eax);
    expect("edx", o.edx, s.eax + 1);
    test("paging/alias/a dword over two pages that are not neighbours");
    page_win[1] = ADDR(win_phys(9)) | PTE_ALL;
    flush_tlb();
    s = user_state(store);
    s.ebx = win(1) - 1;
    o = run(&s);
    expect_exit(&o);
    expect("low", win_phys(0)[4095], s.eax & 0xff);
    expect_mem("high", win_phys(9), (u8 *)&s.eax + 1, 3);
}

// CR0.WP and CPL change while translations are known.
static void run_wp(void) {
    test("paging/WP/set while the page was written in ring 0");
    rt_reset();
    map(0, PTE_P | PTE_U);
    State s = kernel_state(store);
    s.ebx = win(0);
    State o = run(&s);
    expect_exit(&o);
    set_cr0(get_cr0() | CR0_WP);
    o = run(&s);
    expect_fault(&o, &s, V_PF, 3, ADDR(store_at));
    set_cr0(get_cr0() & ~CR0_WP);
    o = run(&s);
    expect_exit(&o);
    test("paging/WP/ring 3 is refused what ring 0 has just done");
    s = user_state(store);
    s.ebx = win(0);
    o = run(&s);
    expect_fault(&o, &s, V_PF, 7, ADDR(store_at));
    test("paging/PG/off, addresses are physical");
    s = kernel_state(paging_off);
    s.ebx = ADDR(win_phys(0));
    o = run(&s);
    expect_exit(&o);
    expect("ecx", o.ecx, *(u32 *)win_phys(0));
    rt_reset();
}

// INVLPG of an address outside a limit, or not mapped: no fault.
ICODE(invlpg_any, "", "invlpg (%ebx)");
static void run_invlpg(void) {
    test("paging/INVLPG/of an address that is not mapped");
    rt_reset();
    State s = kernel_state(invlpg_any);
    s.ebx = 0x12345678;
    State o = run(&s);
    expect_exit(&o);
}

void test_main(void) {
    run_rights();
    run_bits();
    run_errors();
    run_large();
    run_invalidate();
    run_global();
    run_recursive();
    run_alias();
    run_wp();
    run_invlpg();
    rt_reset();
}
