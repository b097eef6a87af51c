// SPDX-License-Identifier: MIT
// The processor's own accesses and paging: GDT, LDT, IDT, TSS, I/O bitmap and inner stacks on pages
// that are missing or read-only. They count as supervisor accesses whatever CPL is, the fault
// leaves the instruction restartable, and after the page is there everything goes on. SDM 3A 4.6
// (implicit supervisor accesses), 6.15 (interrupt 14), 7.3.
//   T=tables tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#define X 0x40u                              // the first selector on the missing page
struct Table { u16 limit; u32 base; } __attribute__((packed));

ICODE(to_ds, "", "mov %cx, %ds");
ICODE(to_ss, "", "mov %cx, %ss; nop");
ICODE(far_jump, "", "ljmp $0x40, $landing");
ICODE(lar, "", "lar %ecx, %eax");
ICODE(lldt, "", "lldt %cx");
ICODE(ltr, "", "ltr %cx");
ICODE(int_33, "", "int $0x33");
ICODE(call_gate, "", "lcall $0x48, $0");
ICODE(out_port, "", "out %al, (%dx)");
ICODE(jump_task, "", "ljmp $0x40, $0");
CODE(landing, "");

// GDT over two pages of the window: selectors up to 0x38 on page 0, the others on page 1.
static u64 *split_gdt(void) {
    u8 *at = win_phys(1) - X;
    memcpy(at, gdt, sizeof gdt);
    struct Table t = { 511, win(1) - X };
    __asm__ volatile("lgdt %0" :: "m"(t));
    return (u64 *)at;
}

static void whole_gdt(void) {
    struct Table t = { 511, ADDR(gdt) };
    __asm__ volatile("lgdt %0" :: "m"(t));
}

static void run_gdt(void) {
    static const struct { const char *name; const u8 *code, *at; u32 access, rings; } rows[] = {
        { "mov ds", to_ds, to_ds_at, D_DATA | D_DPL3 | D_32 | D_G, 3 },
        { "mov ss", to_ss, to_ss_at, D_DATA | D_32 | D_G, 1 },
        { "far jump", far_jump, far_jump_at, D_CODE | D_32 | D_G, 1 },
        { "lar", lar, lar_at, D_DATA | D_DPL3, 3 }, { "lldt", lldt, lldt_at, D_LDT, 1 },
        { "ltr", ltr, ltr_at, D_TSS32, 1 },
    };
    for (u32 i = 0; i < COUNT(rows); i++)
        for (u32 ring = 0; ring < 4; ring += 3) {
            if (!(rows[i].rings & (ring ? 2 : 1))) continue;
            test("tables/GDT missing/%s/ring%u", rows[i].name, ring);
            rt_reset();
            gdt_set(X, descriptor(0, 0xfffff, rows[i].access));
            split_gdt();
            map(1, 0);
            State s = ring_state(ring, rows[i].code);
            s.ecx = X;
            State o = run(&s);
            expect_fault(&o, &s, V_PF, 0, ADDR(rows[i].at));
            expect("cr2's page", o.cr2 & ~7u, win(1));
            map(1, PTE_ALL);
            o.eflags &= ~F_RF;
            o = run(&o);
            expect_exit(&o);
            whole_gdt();
            __asm__ volatile("lldt %w0" :: "r"(0));
        }
    for (u32 busy = 0; busy < 2; busy++) {
        test("tables/GDT read-only/%s", busy ? "LTR sets busy" : "MOV DS sets accessed");
        rt_reset();
        set_cr0(get_cr0() | CR0_WP);
        gdt_set(X, busy ? descriptor(ADDR(&tss), 103, D_TSS32)
                        : descriptor(0, 0xfffff, D_DATA | D_32 | D_G));
        u64 *g = split_gdt();
        map(1, PTE_P);
        State s = kernel_state(busy ? ltr : to_ds);
        s.ecx = X;
        State o = run(&s);
        expect_fault(&o, &s, V_PF, 3, ADDR(busy ? ltr_at : to_ds_at));
        expect("descriptor", (u32)(g[X >> 3] >> 40) & 0xff, busy ? D_TSS32 : D_DATA);
        map(1, PTE_ALL);
        o = run(&s);
        expect_exit(&o);
        expect("descriptor then", (u32)(g[X >> 3] >> 40) & 0xff, busy ? D_TSS32 | 2 : D_DATA | 1);
        whole_gdt();
    }
    test("tables/GDT read-only/an accessed descriptor needs no write");
    rt_reset();
    set_cr0(get_cr0() | CR0_WP);
    gdt_set(X, descriptor(0, 0xfffff, D_DATA | D_ACCESSED | D_32 | D_G));
    split_gdt();
    map(1, PTE_P);
    State s = kernel_state(to_ds);
    s.ecx = X;
    State o = run(&s);
    expect_exit(&o);
    whole_gdt();
}

static void run_idt(void) {
    for (u32 ring = 0; ring < 4; ring += 3) {
        test("tables/IDT missing/INT/ring%u", ring);
        rt_reset();
        u8 *at = win_phys(1) - 0x33 * 8;
        idt[0x33] = gate(KCS, ADDR(landing), D_INT32 | D_DPL3, 0);
        memcpy(at, idt, sizeof idt);
        struct Table t = { 511, win(1) - 0x33 * 8 }, old = { 511, ADDR(idt) };
        __asm__ volatile("lidt %0" :: "m"(t));
        map(1, 0);
        State s = ring_state(ring, int_33), o = run(&s);
        expect_fault(&o, &s, V_PF, 0, ADDR(int_33_at));
        expect("cr2's page", o.cr2 & ~7u, win(1));
        map(1, PTE_ALL);
        o.eflags &= ~F_RF;
        o = run(&o);
        expect_exit(&o);
        expect("eip", o.eip, ADDR(landing_end));
        __asm__ volatile("lidt %0" :: "m"(old));
    }
}

// A stack for ring 1 on a missing page: the fault itself is handled on ring 0's.
static void run_inner_stack(void) {
    for (u32 how = 0; how < 2; how++) {
        test("tables/inner stack missing/%s", how ? "INT" : "call gate");
        rt_reset();
        gdt_set(X, descriptor(0, 0xfffff, D_CODE | D_32 | D_G | 1 << 5));
        gdt_set(0x48, gate(X, ADDR(landing), D_CALL32 | D_DPL3, 2));
        gdt_set(0x50, descriptor(0, 0xfffff, D_DATA | D_32 | D_G | 1 << 5));
        idt[0x33] = gate(X, ADDR(landing), D_INT32 | D_DPL3, 0);
        tss.ss1 = 0x51;
        tss.esp1 = win(1) + 8;
        map(0, 0);
        State s = user_state(how ? int_33 : call_gate), o = run(&s);
        expect_fault(&o, &s, V_PF, 2, ADDR(how ? int_33_at : call_gate_at));
        expect("cr2's page", o.cr2 & ~0xfffu, win(0));
        map(0, PTE_ALL);
        o.eflags &= ~F_RF;
        o = run(&o);
        expect_exit(&o);
        expect("esp", o.esp, win(1) + 8 - (how ? 20 : 24));
        expect("cs", o.cs, X | 1);
    }
}

// The TSS in the window: what a gate, an OUT and a task switch read from it.
static void run_tss(void) {
    test("tables/TSS missing/I/O bitmap");
    rt_reset();
    Tss *t = (Tss *)(win_phys(1) - 104);
    memcpy(t, &tss, 104);
    memset(t->bitmap, 0, 64);
    t->iomap = 104;
    gdt_set(TSS_SEL, descriptor(win(1) - 104, 104 + 64, D_TSS32));
    __asm__ volatile("ltr %w0" :: "r"(TSS_SEL));
    map(1, 0);
    State s = user_state(out_port);
    s.edx = 0x80;
    State o = run(&s);
    expect_fault(&o, &s, V_PF, 0, ADDR(out_port_at));
    expect("cr2's page", o.cr2 & ~0xfffu, win(1));
    map(1, PTE_ALL);
    o.eflags &= ~F_RF;
    o = run(&o);
    expect_exit(&o);
    test("tables/TSS missing/stack of ring 1");
    rt_reset();
    t = (Tss *)(win_phys(1) - 12);               // ESP0, SS0 on page 0; ESP1 on page 1
    memcpy(t, &tss, 104);
    t->ss1 = 0x51;
    t->esp1 = ADDR(kernel_stack) + 1024;
    gdt_set(X, descriptor(0, 0xfffff, D_CODE | D_32 | D_G | 1 << 5));
    gdt_set(0x50, descriptor(0, 0xfffff, D_DATA | D_32 | D_G | 1 << 5));
    idt[0x33] = gate(X, ADDR(landing), D_INT32 | D_DPL3, 0);
    gdt_set(TSS_SEL, descriptor(win(1) - 12, 103, D_TSS32));
    __asm__ volatile("ltr %w0" :: "r"(TSS_SEL));
    map(1, 0);
    s = user_state(int_33);
    o = run(&s);
    expect_fault(&o, &s, V_PF, 0, ADDR(int_33_at));
    expect("cr2", o.cr2, win(1));
    map(1, PTE_ALL);
    o.eflags &= ~F_RF;
    o = run(&o);
    expect_exit(&o);
    expect("cs", o.cs, X | 1);
}

static void run_switch(void) {
    static const char *const which[] = { "new TSS missing", "old TSS read-only" };
    for (u32 i = 0; i < 2; i++) {
        test("tables/task switch/%s", which[i]);
        rt_reset();
        set_cr0(get_cr0() | CR0_WP);
        Tss *new = (Tss *)(win_phys(3)), *old = (Tss *)win_phys(2);
        memset(new, 0, 104);
        new->cr3 = get_cr3();
        new->eip = ADDR(landing);
        new->eflags = F_ONE;
        new->esp = ADDR(kernel_stack) + 1024;
        new->cs = KCS;
        new->ss = new->ds = new->es = KDS;
        memcpy(old, &tss, 104);
        gdt_set(X, descriptor(win(3), 103, D_TSS32));
        gdt_set(TSS_SEL, descriptor(win(2), 103, D_TSS32));
        __asm__ volatile("ltr %w0" :: "r"(TSS_SEL));
        if (i) map(2, PTE_P);
        else map(3, 0);
        State s = kernel_state(jump_task), o = run(&s);
        expect_fault(&o, &s, V_PF, i ? 3 : 0, ADDR(jump_task_at));
        expect("cr2's page", o.cr2 & ~0xfffu, win(i ? 2 : 3));
        expect("new descriptor", (u32)(gdt[X >> 3] >> 40) & 0xff, D_TSS32);
        map(2, PTE_ALL);
        map(3, PTE_ALL);
        o.eflags &= ~F_RF;
        o = run(&o);
        expect_exit(&o);
        expect("eip", o.eip, ADDR(landing_end));
    }
}

void test_main(void) {
    run_gdt();
    run_idt();
    run_inner_stack();
    run_tss();
    run_switch();
    rt_reset();
}
