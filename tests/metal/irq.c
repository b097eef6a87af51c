// SPDX-License-Identifier: MIT
// Interrupts of a device (the PIT's channel 0 through the PIC): when they are taken and when not.
// STI's shadow, POPF and IRET that set IF, HLT, CLI, between the iterations of REP, in every ring
// and in V86; the frame and EFLAGS are exact. SDM 3A 6.8.1, 6.8.3; SDM 2 STI, HLT, REP.
//   T=irq tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#define VECTOR 0x20u

static void pic_setup(void) {
    static const struct { u8 port, value;
    } words[] = {
        { 0x20, 0x11 }, { 0xa0, 0x11 }, { 0x21, 0x20 }, { 0xa1, 0x28 }, { 0x21, 4 },
        { 0xa1, 2 },    { 0x21, 1 },    { 0xa1, 1 },    { 0x21, 0xfe }, { 0xa1, 0xff },
    };
    for (u32 i = 0; i < COUNT(words); i++) outb(words[i].port, words[i].value);
}

static void pit_mode(u8 mode, u32 count) {
    outb(0x43, 0x30 | mode << 1);
    outb(0x40, (u8)count);
    outb(0x40, (u8)(count >> 8));
}

static void end_of_interrupt(void) { outb(0x20, 0x20); }

static u8 requests(void) {
    outb(0x20, 0x0a);
    return inb(0x20);
}

// One interrupt that waits for IF. It is there when this returns.
static void request(void) {
    pit_mode(0, 20);
    while (!(requests() & 1)) { }
}

// Not to be had: the counter is stopped by a mode without a count.
static void quiet(void) { outb(0x43, 0x30); }

static State run_waiting(const State *s) {
    request();
    State o = run(s);
    if (o.vector == VECTOR) end_of_interrupt();
    quiet();
    return o;
}

// ---- where it comes -----------------------------------------------------------------------------
LABEL(sti_nop_1);
CODE(sti_nop, "sti; nop" AT(sti_nop_1) "nop");
LABEL(sti_inc_1);
CODE(sti_inc, "inc %eax; sti; inc %eax" AT(sti_inc_1) "inc %eax");
LABEL(popf_if_1);
CODE(popf_if, "pushf; orl $0x200, (%esp); popf" AT(popf_if_1) "nop; nop");
LABEL(sti_jmp_1);
CODE(sti_jmp, "sti; jmp 1f; nop; 1:" AT(sti_jmp_1) "nop");
LABEL(sti_ret_1);
CODE(sti_ret, "push $sti_ret_1; sti; ret; nop" AT(sti_ret_1) "nop");
CODE(sti_cli, "sti; cli; nop; nop");
LABEL(sti_hlt_1);
CODE(sti_hlt, "sti; hlt" AT(sti_hlt_1) "nop");
CODE(body, "1: nop; jmp 1b");
CODE(cli_loop, "mov $10000, %ecx; 1: nop; loop 1b");
ICODE(sti_fault, "sti", "mov 0x800000, %eax");
CODE16(v_body, "1: nop; jmp 1b");
LABEL(v_sti_1);
CODE16(v_sti, "sti; nop" AT(v_sti_1) "nop");

static void expect_irq(const State *o, u32 eip) {
    expect("vector", o->vector, VECTOR);
    expect("eip", o->eip, eip);
    expect_bits("eflags", o->eflags, F_IF, F_IF | F_RF | F_TF);
}

static void run_places(void) {
    static const struct { const char *name; const u8 *code, *at; } rows[] = {
        { "sti; nop", sti_nop, sti_nop_1 }, { "sti; inc", sti_inc, sti_inc_1 },
        { "popf takes effect at once", popf_if, popf_if_1 }, { "sti; jmp", sti_jmp, sti_jmp_1 },
        { "sti; ret", sti_ret, sti_ret_1 }, { "sti; hlt", sti_hlt, sti_hlt_1 },
    };
    for (u32 i = 0; i < COUNT(rows); i++)
        for (u32 again = 0; again < 2; again++) {
            test("irq/%s%s", rows[i].name, again ? "/again" : "");
            State s = kernel_state(rows[i].code), o = run_waiting(&s);
            expect_irq(&o, ADDR(rows[i].at));
            if (rows[i].code == sti_inc) expect("eax", o.eax, s.eax + 2);
        }
    test("irq/sti; cli, not taken");
    State s = kernel_state(sti_cli), o = run_waiting(&s);
    expect_exit(&o);
    test("irq/sti, then a fault, the fault's handler begins first");
    s = kernel_state(sti_fault);
    o = run_waiting(&s);
    expect("vector", o.vector, V_PF);
    expect("eip", o.eip, ADDR(sti_fault_at));
    test("irq/IF clear, not taken");
    s = kernel_state(cli_loop);
    o = run_waiting(&s);
    expect_exit(&o);
    test("irq/iret that sets IF takes effect at once");
    for (u32 ring = 0; ring < 4; ring += 3) {
        s = ring_state(ring, body);
        s.eflags |= F_IF;
        o = run_waiting(&s);
        expect_irq(&o, ADDR(body));
        expect_same(&o, &s, ALL);
    }
    test("irq/V86");
    s = v86_state(v_body);
    s.eflags |= F_IF;
    o = run_waiting(&s);
    expect_irq(&o, REAL_OFF(v_body));
    expect_same(&o, &s, ALL);
    test("irq/V86, sti with IOPL 3");
    s = v86_state(v_sti);
    s.eflags |= F_IOPL;
    o = run_waiting(&s);
    expect_irq(&o, REAL_OFF(v_sti_1));
}

// Unmasking at the PIC: the interrupt may come right after OUT or later, but not behind MOV SS.
LABEL(shadow_1);
CODE(shadow, "out %al, $0x21; mov %ecx, %ss" AT(shadow_1) "nop; nop; nop; nop");
static void run_shadow(void) {
    test("irq/not between mov ss and the next instruction");
    for (u32 i = 0; i < 20; i++) {
        State s = kernel_state(shadow);
        s.eax = 0xfe;
        s.ecx = KDS;
        s.eflags |= F_IF;
        outb(0x21, 0xff);
        State o = run_waiting(&s);
        if (o.vector != VECTOR) expect_exit(&o);
        expect("between", o.eip == ADDR(shadow_1), 0);
    }
    outb(0x21, 0xfe);
}

// NMIs from the local APIC to itself. One that arrives while another is served waits for the next IRET,
// and comes before the instruction that IRET leads to (SDM 3A 6.7.1).
#define ICR (*(volatile u32 *)0xfee00300)
static void send_nmi(void) { ICR = 0x4400; }

LABEL(nmi_1);
CODE(nmi_code, "movl $0x4400, 0xfee00300; 1:" AT(nmi_1) "jmp 1b");
static void run_nmi(void) {
    test("irq/NMI by the local APIC, IF clear");
    if (!(cpu_features() & 0x200)) {
        skip("no APIC");
        return;
    }
    set_cr4(get_cr4() | CR4_PSE);
    page_dir[0xfee00000 >> 22] = 0xfec00000 | PTE_P | PTE_W | PTE_PS;
    flush_tlb();
    State s = kernel_state(nmi_code), o = run(&s);
    expect("vector", o.vector, V_NMI);
    expect("eip", o.eip, ADDR(nmi_1));
    for (u32 ring = 0; ring < 4; ring += 3) {
        test("irq/NMI that waited comes with IRET/ring%u", ring);
        send_nmi();                     // no IRET since the last one
        s = ring_state(ring, body);
        o = run(&s);
        expect("vector", o.vector, V_NMI);
        expect("eip", o.eip, ADDR(body));
        expect_same(&o, &s, ALL);
    }
    test("irq/NMI that waited comes with IRET/once");
    s = kernel_state(cli_loop);
    o = run(&s);
    expect_exit(&o);
    rt_reset();
}

// ---- time ---------------------------------------------------------------------------------------
CODE(wait_hlt, "sti; 1: hlt; jmp 1b");
CODE(count_up, "1: inc %eax; adc $0, %edx; jmp 1b");
ICODE(copy, "", "rep movsb");
static void run_time(void) {
    for (u32 i = 0; i < 3; i++) {
        test("irq/HLT is woken/%u", i);
        State s = kernel_state(wait_hlt);
        pit_mode(0, 3000);
        State o = run(&s);
        end_of_interrupt();
        quiet();
        expect("vector", o.vector, VECTOR);
        expect("eip", o.eip, ADDR(wait_hlt) + 2);
    }
    for (u32 ring = 0; ring < 4; ring += 3) {
        test("irq/a loop is interrupted and goes on/ring%u", ring);
        State s = ring_state(ring, count_up);
        s.eax = s.edx = 0;
        s.eflags |= F_IF;
        u32 last = 0;
        for (u32 i = 0; i < 5; i++) {
            pit_mode(0, 3000);
            State o = run(&s);
            end_of_interrupt();
            quiet();
            expect("vector", o.vector, VECTOR);
            u32 in = o.eip - ADDR(count_up);
            expect("eip is one of the loop's", in == 0 || in == 1 || in == 4, 1);
            expect("eax has grown", o.eax >= last, 1);
            last = o.eax;
            s = o;
        }
    }
    test("irq/rep movsb is interrupted between iterations");
    static u32 table[1024] __attribute__((aligned(4096)));   // 64 MiB, all the window's memory
    for (u32 i = 0; i < 1024; i++) table[i] = ADDR(win_phys(i & 255)) | PTE_ALL;
    for (u32 i = 16; i < 32; i++) page_dir[i] = ADDR(table) | PTE_ALL;
    flush_tlb();
    State s = user_state(copy), o;
    u32 interrupts = 0, count = 16 << 22;
    s.esi = s.edi = 16 << 22;                                // onto itself
    s.ecx = count;
    s.eflags |= F_IF;
    u32 end = s.esi + s.ecx;
    for (;;) {
        pit_mode(0, 500);
        o = run(&s);
        if (o.vector != VECTOR) break;
        end_of_interrupt();
        interrupts++;
        if (o.eip == ADDR(copy_at)) {
            expect("esi and ecx belong together", o.esi + o.ecx, end);
            expect("edi", o.edi, o.esi);
            if (o.ecx != count && o.ecx) expect_bits("RF", o.eflags, F_RF, F_RF);
        }
        s = o;
        if (interrupts > 100000) break;
    }
    quiet();
    expect_exit(&o);
    expect("ecx", o.ecx, 0);
    expect("esi", o.esi, end);
    test("irq/rep movsb was interrupted at all");
    expect("at least once", interrupts > 0, 1);
}

// The vector table in real mode.
static void run_real_mode(void) {
    test("irq/real mode, sti; nop");
    State s = real_state(v_sti);
    request();
    State o = run_real(&s);
    if (o.vector == VECTOR) end_of_interrupt();
    quiet();
    expect("vector", o.vector, VECTOR);
    expect("ip", o.eip, REAL_OFF(v_sti_1));
    expect_bits("flags", o.eflags, F_IF, F_IF);
}

static void run_stepping(void) {
    test("irq/trap flag and interrupt, the trap comes first, the interrupt in its handler's place");
    State s = user_state(body);
    s.eflags |= F_TF;
    request();
    State o = run(&s);
    expect("vector", o.vector, V_DB);
    s = o;
    s.eflags = (s.eflags & ~F_TF) | F_IF;
    o = run(&s);
    if (o.vector == VECTOR) end_of_interrupt();
    quiet();
    expect_irq(&o, s.eip);
}

// An x87 exception with CR0.NE clear goes out by FERR# and comes back as IRQ 13, with the next
// waiting x87 instruction at the latest. Writing port f0 lets that instruction go on.
CODE(ferr, "fld1; fldz; fdivrp; fwait; nop; nop; nop; nop");
static void run_ferr(void) {
    static const u16 control = 0x37b;
    test("irq/x87 error with NE clear is IRQ 13");
    rt_reset();
    set_cr0(get_cr0() & ~CR0_NE);
    outb(0x21, 0xfb);
    outb(0xa1, 0xdf);
    __asm__ volatile("fninit; fldcw %0" :: "m"(control));
    for (u32 i = 0; i < 2; i++) {
        State s = kernel_state(ferr);
        s.eflags |= F_IF;
        State o = run(&s);
        outb(0xf0, 0);
        __asm__ volatile("fnclex");
        outb(0xa0, 0x20);
        outb(0x20, 0x20);
        expect("vector", o.vector, 0x2d);
        expect("eip inside", o.eip > ADDR(ferr) && o.eip < ADDR(ferr_end), 1);
    }
    test("irq/x87 error with IRQ 13 masked stops the processor until another interrupt");
    outb(0xa1, 0xff);
    outb(0x21, 0xfe);
    State s = kernel_state(ferr);
    s.eflags |= F_IF;
    pit_mode(0, 3000);
    State o = run(&s);
    end_of_interrupt();
    quiet();
    outb(0xf0, 0);
    __asm__ volatile("fnclex; fninit");
    expect("vector", o.vector, VECTOR);
    expect("eip inside", o.eip > ADDR(ferr) && o.eip < ADDR(ferr_end), 1);
}

void test_main(void) {
    rt_reset();
    pic_setup();
    quiet();
    run_places();
    run_shadow();
    run_nmi();
    run_time();
    run_real_mode();
    run_stepping();
    run_ferr();
    rt_reset();
}
