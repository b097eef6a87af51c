// SPDX-License-Identifier: MIT
// Virtual interrupts: VIF in place of IF in virtual-8086 mode (CR4.VME) and at CPL 3 (CR4.PVI),
// VIP's #GP, the interrupt redirection bitmap. SDM 3B 20.3.2, 20.3.3, 20.4; SDM 2 CLI STI PUSHF
// POPF IRET INT.
//   T=vme tests/metal/run.sh build/glassbox bochs
#include "rt.h"

#define CR4_VME 1u
#define CR4_PVI 2u
#define F_VIF 0x80000u
#define F_VIP 0x100000u

ICODE16(cli, "", "cli");
ICODE16(sti, "", "sti");
ICODE16(pushf, "", "pushf; pop %ax");
ICODE16(pushfl, "", "pushfl");
ICODE16(popf, "push %ax;", "popfw");
ICODE16(popfl, "pushl %eax;", "popfl");
ICODE16(iret, "push %ax; push %cs; call 1f; 1: pop %cx; add $iret_next - 1b, %cx; push %cx;",
        "iretw");
ICODE16(int_33, "", "int $0x33");
CODE16(handler, "mov %sp, %bp; mov (%bp), %bx; mov 2(%bp), %cx; mov 4(%bp), %dx; pushf; pop %si");
ICODE(pvi_cli, "", "cli");
ICODE(pvi_sti, "", "sti");
CODE(pvi_popf, "pushf; orl $0x200, (%esp); popf; pushf; pop %eax");

// The map that sends INT n to the program lies right below the I/O bitmap.
static void redirect(u32 vector, u32 to_program) {
    tss.iomap = 104 + 32;
    memset(tss.bitmap, 0xff, 32);
    memset(tss.bitmap + 32, 0, 64);
    if (to_program) tss.bitmap[vector / 8] &= ~(1u << (vector & 7));
}

static State prepared(const void *code, u32 iopl, u32 flags) {
    rt_reset();
    redirect(0, 0);
    set_cr4(get_cr4() | CR4_VME);
    State s = v86_state(code);
    s.eflags = (s.eflags & ~F_IOPL) | iopl << 12 | flags;
    return s;
}

// With IOPL 0 the INT 30h that ends test code is a #GP of its own.
static void expect_through(const State *o, const u8 *end) {
    expect("vector", o->vector, V_GP);
    expect("stops at", o->eip, REAL_OFF(end));
}

static void expect_refused(const State *o, const u8 *at) {
    expect("vector", o->vector, V_GP);
    expect("error", o->error, 0);
    expect("eip", o->eip, REAL_OFF(at));
}

static void test_cli_sti(void) {
    State s = prepared(cli, 0, F_VIF | F_IF), o = run(&s);
    test("vme/cli");
    expect_through(&o, cli_next);
    expect_bits("flags", o.eflags, F_IF, F_IF | F_VIF);
    s = prepared(sti, 0, 0);
    o = run(&s);
    test("vme/sti");
    expect_through(&o, sti_next);
    expect_bits("flags", o.eflags, F_VIF, F_IF | F_VIF);
    s = prepared(sti, 0, F_VIP);
    o = run(&s);
    test("vme/sti while an interrupt is pending");
    expect_refused(&o, sti_at);
    expect_bits("flags", o.eflags, F_VIP, F_IF | F_VIF | F_VIP);
    s = prepared(cli, 3, F_VIF | F_IF);
    o = run(&s);
    test("vme/cli with IOPL 3");
    expect_exit(&o);
    expect_bits("flags", o.eflags, F_VIF, F_IF | F_VIF);
}

static void test_pushf_popf(void) {
    State s = prepared(pushf, 0, F_VIF), o = run(&s);
    test("vme/pushf");
    expect_through(&o, pushf_next);
    expect_bits("image", o.eax, F_IF | F_IOPL, F_IF | F_IOPL);
    s = prepared(pushf, 0, F_IF);
    o = run(&s);
    expect_bits("image without VIF", o.eax, F_IOPL, F_IF | F_IOPL);
    s = prepared(pushfl, 0, 0);
    o = run(&s);
    test("vme/pushfl");
    expect_refused(&o, pushfl_at);
    s = prepared(popf, 0, 0);
    s.eax = F_IF | F_CF | F_IOPL;
    o = run(&s);
    test("vme/popf");
    expect_through(&o, popf_next);
    expect_bits("flags", o.eflags, F_VIF | F_CF, F_IF | F_VIF | F_CF | F_IOPL);
    s = prepared(popf, 0, F_VIF | F_IF);
    s.eax = 0;
    o = run(&s);
    expect_bits("flags after clearing", o.eflags, F_IF, F_IF | F_VIF);
    s = prepared(popf, 0, F_VIP);
    s.eax = F_IF;
    o = run(&s);
    test("vme/popf while an interrupt is pending");
    expect_refused(&o, popf_at);
    s = prepared(popf, 0, 0);
    s.eax = F_TF;
    o = run(&s);
    test("vme/popf of TF");
    expect_refused(&o, popf_at);
    s = prepared(popfl, 0, 0);
    o = run(&s);
    test("vme/popfl");
    expect_refused(&o, popfl_at);
}

static void test_iret(void) {
    State s = prepared(iret, 0, 0);
    s.eax = F_IF | F_ZF;
    State o = run(&s);
    test("vme/iret");
    expect_through(&o, iret_next);
    expect_bits("flags", o.eflags, F_VIF | F_ZF, F_IF | F_VIF | F_ZF | F_IOPL);
    s = prepared(iret, 0, F_VIP);
    s.eax = F_IF;
    o = run(&s);
    test("vme/iret while an interrupt is pending");
    expect_refused(&o, iret_at);
}

static void set_vector(u32 vector, const u8 *to) {
    volatile u16 *entry = (volatile u16 *)(vector * 4);
    __asm__ volatile("" : "+r"(entry));      // address 0 is as good as any
    entry[0] = REAL_OFF(to);
    entry[1] = REAL_SEG;
}

static void test_int(u32 iopl, u32 flags, u32 pushed, u32 after) {
    State s = prepared(int_33, iopl, flags);
    redirect(0x33, 1);
    set_vector(0x33, handler);
    State o = run(&s);
    test("vme/int redirected/IOPL %u/flags %x", iopl, flags);
    expect("return ip", o.ebx & 0xffff, REAL_OFF(int_33_next));
    expect("return cs", o.ecx & 0xffff, REAL_SEG);
    expect_bits("pushed flags", o.edx, pushed, F_IF | F_TF | F_IOPL);
    expect_bits("flags", o.eflags, after, F_IF | F_VIF | F_TF | F_IOPL | F_VM);
    expect("sp", o.esp & 0xffff, (s.esp - 6) & 0xffff);
}

static void test_int_to_monitor(void) {
    State s = prepared(int_33, 0, 0), o = run(&s);
    test("vme/int not redirected/IOPL 0");
    expect_refused(&o, int_33_at);
}

static void test_pvi(void) {
    rt_reset();
    set_cr4(get_cr4() | CR4_PVI);
    State s = user_state(pvi_cli);
    s.eflags |= F_VIF | F_IF;
    State o = run(&s);
    test("pvi/cli");
    expect_exit(&o);
    expect_bits("flags", o.eflags, F_IF, F_IF | F_VIF);
    s = user_state(pvi_sti);
    o = run(&s);
    test("pvi/sti");
    expect_exit(&o);
    expect_bits("flags", o.eflags, F_VIF, F_IF | F_VIF);
    s.eflags |= F_VIP;
    o = run(&s);
    test("pvi/sti while an interrupt is pending");
    expect("vector", o.vector, V_GP);
    s = user_state(pvi_popf);
    o = run(&s);
    test("pvi/popf leaves both");
    expect_exit(&o);
    expect_bits("flags", o.eax, 0, F_IF | F_VIF);
}

// VIF and VIP come up together: #GP before the first instruction.
static void test_both(void) {
    State s = prepared(pushf, 3, F_VIF | F_VIP), o = run(&s);
    test("vme/both set by IRET");
    expect_refused(&o, pushf);
}

void test_main(void) {
    if (!(cpu_features() & 2)) {
        test("vme");
        skip("no VME");
        return;
    }
    test_cli_sti();
    test_pushf_popf();
    test_iret();
    test_int(0, F_VIF, F_IF | F_IOPL, F_VM);
    test_int(0, F_IF, F_IOPL, F_IF | F_VM);
    test_int(3, F_IF | F_VIF, F_IF | F_IOPL, F_VIF | F_IOPL | F_VM);
    test_int_to_monitor();
    test_pvi();
    test_both();
    rt_reset();
}
