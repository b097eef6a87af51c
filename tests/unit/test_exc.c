// SPDX-License-Identifier: MIT
// Exceptions, interrupts, IRET, double faults, virtual-8086 mode, single step. Build as test_mmu.c.
#include "testcpu.h"

enum { HANDLER = 0x5000 };          // of vector n: HANDLER + n * 16

static void idt_all(TestCpu *c, u32 access) {
    for (u32 v = 0; v < 256; v++) put_idt(c, v, SEL_CODE0, HANDLER + v * 16, access);
}

static u32 word(TestCpu *c, unsigned i) { return peek32(c, c->cpu->regs[CPU_ESP] + 4 * i); }

static void test_real(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    poke32(c, 0x21 * 4, 0x12340567);
    cpu->regs[CPU_ESP] = 0x8000;
    cpu_set_eflags(cpu, FLAG_IF | FLAG_CF | FLAG_TF, FLAG_IF | FLAG_CF | FLAG_TF);
    cpu->eip = 0x102;
    cpu_h_int_n(cpu, 0x21);
    assert_no_fault(c);
    assert_int_equal(cpu->seg[CPU_CS].base, 0x12340);
    assert_int_equal(cpu->eip, 0x567);
    assert_int_equal(peek16(c, 0x7ffa), 0x102);
    assert_int_equal(peek16(c, 0x7ffc), 0xf000);
    assert_int_equal(peek16(c, 0x7ffe), 0x303);
    assert_int_equal(cpu_flags(cpu), 3);
    cpu_h_iret(cpu, 2);
    assert_int_equal(cpu_flags(cpu), 0x303);
    assert_int_equal(cpu->eip, 0x102);
    assert_int_equal(cpu->regs[CPU_ESP], 0x8000);
    cpu->idtr.limit = 0x20;
    cpu_h_int_n(cpu, 0x21);
    assert_fault(c, VEC_GP, 0x21 * 8 + 2);
}

static void test_same_ring(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    idt_all(c, 0x8e);
    cpu->eip = 0x7123;
    cpu_set_eflags(cpu, FLAG_IF | FLAG_NT | FLAG_CF, FLAG_IF | FLAG_NT | FLAG_CF);
    cpu_raise_error(cpu, VEC_GP, 0x58);
    cpu_deliver(cpu);
    assert_no_fault(c);
    assert_int_equal(cpu->eip, HANDLER + 13 * 16);
    assert_int_equal(cpu->regs[CPU_ESP], TOP0 - 16);
    assert_int_equal(word(c, 0), 0x58);
    assert_int_equal(word(c, 1), 0x7123);
    assert_int_equal(word(c, 2), SEL_CODE0);
    assert_int_equal(word(c, 3), 2 | FLAG_IF | FLAG_NT | FLAG_CF | FLAG_RF);   // a fault: RF
    assert_int_equal(cpu_flags(cpu), 2 | FLAG_CF);
    put_idt(c, 0x30, SEL_CODE0, 0x1111, 0x8f);              // trap gate keeps IF
    cpu_set_eflags(cpu, FLAG_IF, FLAG_IF);
    cpu_h_int_n(cpu, 0x30);
    assert_int_equal(cpu_flags(cpu), 2 | FLAG_IF | FLAG_CF);
    assert_int_equal(word(c, 2), 2 | FLAG_IF | FLAG_CF);    // software: no RF
}

static void test_to_ring0_and_back(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    idt_all(c, 0x8e);
    put_idt(c, 0x80, SEL_CODE0, 0x2222, 0xef);
    testcpu_ring3(c, 2 | FLAG_IF);
    cpu->eip = 0x7200;
    cpu_h_int_n(cpu, 0x81);                                 // gate's DPL is 0
    assert_fault(c, VEC_GP, 0x81 * 8 + 2);
    assert_int_equal(cpu->regs[CPU_ESP], TOP3);
    cpu_h_int_n(cpu, 0x80);
    assert_no_fault(c);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(cpu->eip, 0x2222);
    assert_int_equal(cpu->regs[CPU_ESP], TOP0 - 20);
    assert_int_equal(word(c, 0), 0x7200);
    assert_int_equal(word(c, 1), SEL_CODE3);
    assert_int_equal(word(c, 2), 2 | FLAG_IF);
    assert_int_equal(word(c, 3), TOP3);
    assert_int_equal(word(c, 4), SEL_DATA3);
    assert_int_equal(cpu->seg[CPU_DS].selector, SEL_DATA3);
    load_seg(c, CPU_ES, SEL_DATA0);
    cpu_h_iret(cpu, 4);
    assert_no_fault(c);
    assert_int_equal(cpu->cpl, 3);
    assert_int_equal(cpu->regs[CPU_ESP], TOP3);
    assert_int_equal(cpu->seg[CPU_ES].selector, 0);
    assert_int_equal(cpu->seg[CPU_DS].selector, SEL_DATA3);
    poke32(c, TOP3 - 12, 1);
    poke32(c, TOP3 - 8, SEL_CODE0);                         // IRET cannot go inwards
    poke32(c, TOP3 - 4, 2);
    cpu->regs[CPU_ESP] = TOP3 - 12;
    cpu_h_iret(cpu, 4);
    assert_fault(c, VEC_GP, SEL_CODE0);
    poke32(c, TOP3 - 8, SEL_CODE3);                         // ring 3 cannot change IF or IOPL
    poke32(c, TOP3 - 4, 2 | FLAG_IOPL | FLAG_VM);
    cpu_h_iret(cpu, 4);
    assert_no_fault(c);
    assert_int_equal(cpu_flags(cpu), 2 | FLAG_IF);
}

static void test_gate16(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    put_idt(c, 0x40, SEL_CODE16, 0x12345678, 0xe6);
    testcpu_ring3(c, 2);
    cpu->eip = 0x71234;
    cpu_h_int_n(cpu, 0x40);
    assert_no_fault(c);
    assert_int_equal(cpu->eip, 0x5678);
    assert_int_equal(cpu->regs[CPU_ESP], TOP0 - 10);
    assert_int_equal(peek16(c, TOP0 - 10), 0x1234);
    assert_int_equal(peek16(c, TOP0 - 4), TOP3);
    assert_int_equal(cpu->mode & MODE_CODE32, 0);
    cpu_h_iret(cpu, 2);
    assert_no_fault(c);
    assert_int_equal(cpu->cpl, 3);
    assert_int_equal(cpu->eip, 0x1234);
}

static void check_gate_fault(TestCpu *c, u32 vector, u32 error) {
    u32 esp = c->cpu->regs[CPU_ESP];
    cpu_h_int_n(c->cpu, 0x50);
    assert_fault(c, vector, error);
    assert_int_equal(c->cpu->regs[CPU_ESP], esp);
}

static void test_gate_checks(void **state) {
    TestCpu *c = *state;
    put_idt(c, 0x50, SEL_CODE0, 0, 0x0e);
    check_gate_fault(c, VEC_NP, 0x50 * 8 + 2);
    put_idt(c, 0x50, SEL_CODE0, 0, 0x8c);                   // a call gate
    check_gate_fault(c, VEC_GP, 0x50 * 8 + 2);
    put_idt(c, 0x50, 0, 0, 0x8e);
    check_gate_fault(c, VEC_GP, 0);
    put_idt(c, 0x50, SEL_DATA0, 0, 0x8e);
    check_gate_fault(c, VEC_GP, SEL_DATA0);
    put_idt(c, 0x50, SEL_CODE16, 0x10000, 0x8e);            // beyond the segment
    check_gate_fault(c, VEC_GP, 0);
    put_idt(c, 0x50, SEL_CODE0, 0, 0x8e);
    c->cpu->idtr.limit = 0x50 * 8 + 6;
    check_gate_fault(c, VEC_GP, 0x50 * 8 + 2);
    load_seg(c, CPU_SS, SEL_SMALL);
    c->cpu->idtr.limit = 0x7ff;
    c->cpu->regs[CPU_ESP] = 8;                              // no room for three words
    check_gate_fault(c, VEC_SS, 0);
}

// ---- faults while delivering --------------------------------------------------------------------
static void test_double_fault(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    idt_all(c, 0x8e);
    put_idt(c, VEC_GP, SEL_CODE0, 0, 0x0e);                 // #NP while delivering #GP
    cpu->eip = 0x7300;
    cpu_raise_error(cpu, VEC_GP, 0x10);
    cpu_deliver(cpu);
    assert_int_equal(cpu->eip, HANDLER + 8 * 16);
    assert_int_equal(word(c, 0), 0);
    assert_int_equal(word(c, 1), 0x7300);
    assert_false(cpu->shutdown);
    put_idt(c, VEC_UD, SEL_CODE0, 0, 0x0e);                 // benign, then #NP: no double fault
    cpu_raise(cpu, VEC_UD);
    cpu_deliver(cpu);
    assert_int_equal(cpu->eip, HANDLER + 11 * 16);
    assert_int_equal(word(c, 0), VEC_UD * 8 + 3);           // IDT and EXT
    put_idt(c, VEC_DF, SEL_CODE0, 0, 0x0e);
    cpu_raise_error(cpu, VEC_GP, 0);
    cpu_deliver(cpu);
    assert_true(cpu->shutdown);
}

// #AC whose handler runs at CPL 3 on the stack that it is about: endless, but not here.
static void test_endless(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    idt_all(c, 0x8e);
    put_idt(c, VEC_AC, SEL_CONFORMING, HANDLER + VEC_AC * 16, 0xee);
    cpu_h_write_cr(cpu, 0, cpu->cr0 | BIT(18));
    testcpu_ring3(c, FLAG_AC | 2);
    cpu->regs[CPU_ESP] = TOP3 - 1;
    cpu_raise_error(cpu, VEC_AC, 0);
    cpu_deliver(cpu);
    assert_int_equal(cpu->fault.pending, 1);
    assert_int_equal(cpu->fault.vector, VEC_AC);
    assert_int_equal(cpu->eip, 0x7000);
    assert_int_equal(cpu->regs[CPU_ESP], TOP3 - 1);
    cpu->regs[CPU_ESP] = TOP3;
    cpu_deliver(cpu);
    assert_no_fault(c);
    assert_int_equal(cpu->eip, HANDLER + VEC_AC * 16);
    assert_int_equal(cpu->regs[CPU_ESP], TOP3 - 16);
}

static void test_page_fault_pairs(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    idt_all(c, 0x8e);
    testcpu_page(c, 7);
    poke32(c, AT_PT + 4 * 7, 0);                            // the stack's page
    mmu_flush(cpu);
    cpu_raise_error(cpu, VEC_GP, 0);
    cpu_deliver(cpu);       // #GP, then #PF of its frame: served one after the other, but the #PF's
    assert_true(cpu->shutdown);     // frame faults too: #DF, and its frame: shutdown
    assert_int_equal(cpu->cr2, TOP0 - 4);
}

static u8 ack(void *self) {
    (void)self;
    return 0x20;
}

static void test_external(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    idt_all(c, 0x8e);
    bus_connect_int_ack(c->bus, ack, c);
    bus_set_intr(c->bus, true);
    assert_false(cpu_take_interrupt(cpu));                  // IF clear
    cpu_h_sti(cpu);
    assert_false(cpu_take_interrupt(cpu));                  // the instruction after STI first
    cpu_end_inhibit(cpu);
    cpu_h_hlt(cpu);
    cpu->eip = 0x7400;
    assert_true(cpu_take_interrupt(cpu));
    assert_false(cpu->halted);
    assert_int_equal(cpu->eip, HANDLER + 0x20 * 16);
    assert_int_equal(word(c, 0), 0x7400);
    assert_false(cpu_interrupt_due(cpu));
    bus_pulse_nmi(c->bus);
    assert_true(cpu_take_interrupt(cpu));
    assert_int_equal(cpu->eip, HANDLER + 2 * 16);
    bus_pulse_nmi(c->bus);
    assert_false(cpu_take_interrupt(cpu));                  // blocked until IRET
    cpu_h_iret(cpu, 4);
    assert_true(cpu_take_interrupt(cpu));
}

// ---- virtual-8086 mode --------------------------------------------------------------------------
static void to_vm86(TestCpu *c, u32 eflags) {
    Cpu *cpu = c->cpu;
    u32 frame[9] = { 0x100, 0x2000, eflags | FLAG_VM, 0xfff0, 0x2100, 0x2200, 0x2300, 0x2400,
                     0x2500 };
    cpu->regs[CPU_ESP] = TOP0 - sizeof frame;
    memcpy(at(c, TOP0 - sizeof frame), frame, sizeof frame);
    cpu_h_iret(cpu, 4);
    assert_no_fault(c);
}

static void test_vm86(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    idt_all(c, 0xee);
    to_vm86(c, 2 | FLAG_IF);
    assert_int_equal(cpu->mode & (MODE_VM | MODE_CPL | MODE_CODE32 | MODE_IO_OK), MODE_VM | 3);
    assert_int_equal(cpu->seg[CPU_CS].base, 0x20000);
    assert_int_equal(cpu->seg[CPU_SS].base, 0x21000);
    assert_int_equal(cpu->seg[CPU_GS].selector, 0x2500);
    assert_int_equal(MODE_SEG_CLASS(cpu->mode, CPU_ES), SEG_REAL);
    cpu_h_int_n(cpu, 0x21);                                 // IOPL 0
    assert_fault(c, VEC_GP, 0);
    cpu_h_pushf(cpu, 2);
    assert_fault(c, VEC_GP, 0);
    cpu_h_sti(cpu);
    assert_fault(c, VEC_GP, 0);
    cpu_h_lar(cpu, 8, 0);
    assert_fault(c, VEC_UD, -1);
    cpu->eip = 0x105;
    cpu_h_int3(cpu);                                        // not subject to IOPL
    assert_no_fault(c);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(cpu->mode & MODE_VM, 0);
    assert_int_equal(cpu->eip, HANDLER + 3 * 16);
    assert_int_equal(cpu->regs[CPU_ESP], TOP0 - 36);
    u32 want[] = { 0x105, 0x2000, 2 | FLAG_IF | FLAG_VM, 0xfff0, 0x2100, 0x2200, 0x2300, 0x2400,
                   0x2500 };
    for (unsigned i = 0; i < 9; i++) assert_int_equal(word(c, i), want[i]);
    assert_int_equal(cpu->seg[CPU_DS].selector, 0);
    assert_int_equal(MODE_SEG_CLASS(cpu->mode, CPU_DS), SEG_CHECKED);
    cpu_h_iret(cpu, 4);
    assert_int_equal(cpu->eip, 0x105);
    assert_int_equal(cpu->regs[CPU_ESP], 0xfff0);
}

static void test_vm86_iopl3(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    idt_all(c, 0xee);
    to_vm86(c, 2 | FLAG_IOPL);
    cpu_h_sti(cpu);
    assert_no_fault(c);
    assert_true(cpu->eflags & FLAG_IF);
    poke16(c, 0x21000 + 0x100, 0x55);
    poke16(c, 0x21000 + 0x102, 0x3000);
    poke16(c, 0x21000 + 0x104, FLAG_CF | 2);
    cpu->regs[CPU_ESP] = 0x100;
    cpu_h_iret(cpu, 2);                                     // IRET inside virtual-8086 mode
    assert_no_fault(c);
    assert_int_equal(cpu->seg[CPU_CS].base, 0x30000);
    assert_int_equal(cpu_flags(cpu), 2 | FLAG_CF | FLAG_IOPL | FLAG_VM);
    cpu_h_int_n(cpu, 0x21);
    assert_no_fault(c);
    assert_int_equal(cpu->cpl, 0);
    put_idt(c, 0x22, SEL_CONFORMING, 0, 0xee);
    to_vm86(c, 2 | FLAG_IOPL);
    cpu_h_int_n(cpu, 0x22);                                 // must go to ring 0
    assert_fault(c, VEC_GP, SEL_CONFORMING);
    cpu_h_in(cpu, 0x60, 1);                                 // ports: always by the bitmap
    assert_no_fault(c);
    *at(c, AT_TSS_A + 0x68 + 12) = 1;
    cpu_h_in(cpu, 0x60, 1);
    assert_fault(c, VEC_GP, 0);
}

// ---- debug traps --------------------------------------------------------------------------------
static void test_single_step(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    idt_all(c, 0x8e);
    cpu_set_eflags(cpu, FLAG_TF, FLAG_TF);
    assert_true(cpu->mode & MODE_TF);
    cpu->eip = 0x7777;
    cpu_h_step_trap(cpu, 1);
    assert_int_equal(cpu->fault.kind, CPU_TRAP);
    cpu_deliver(cpu);
    assert_int_equal(cpu->dr[6], 0xffff4ff0);
    assert_int_equal(word(c, 0), 0x7777);
    assert_int_equal(word(c, 2), 2 | FLAG_TF);
    assert_int_equal(cpu->mode & MODE_TF, 0);
    load_seg(c, CPU_SS, SEL_DATA0);                         // long before the single step
    cpu_set_eflags(cpu, FLAG_TF, FLAG_TF);
    cpu_h_step_trap(cpu, 1);
    assert_fault(c, VEC_DB, -1);
    load_seg(c, CPU_SS, SEL_DATA0);
    cpu_h_step_trap(cpu, 1);                                // MOV SS puts it off
    assert_no_fault(c);
    cpu_h_step_trap(cpu, 1);
    assert_fault(c, VEC_DB, -1);
    cpu_h_int_n(cpu, 0x30);
    cpu_h_step_trap(cpu, 1);                                // INT n takes none
    assert_no_fault(c);
    assert_int_equal(cpu->mode & MODE_TF, 0);
}

static void test_breakpoints(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    cpu_h_write_dr(cpu, 0, AT_DATA + 2);
    cpu_h_write_dr(cpu, 1, 0x7500);
    cpu_h_write_dr(cpu, 7, 0x1 | 0x4 | 0x00050000);         // 0: write of 2 bytes; 1: execute
    assert_true(cpu->mode & MODE_DEBUG);
    cpu_store(cpu, CPU_DS, AT_DATA + 4, 4, 1);
    cpu_store(cpu, CPU_DS, AT_DATA, 2, 1);
    u64 v;
    cpu_load(cpu, CPU_DS, AT_DATA, 4, &v);
    assert_int_equal(cpu->debug_hits, 0);
    cpu_store(cpu, CPU_DS, AT_DATA, 4, 1);
    assert_int_equal(cpu->debug_hits, 1);
    cpu_h_step_trap(cpu, 0);
    assert_fault(c, VEC_DB, -1);
    assert_int_equal(cpu->dr[6] & 15, 1);
    cpu->eip = 0x7500;
    assert_false(cpu_check_breakpoint(cpu));
    assert_fault(c, VEC_DB, -1);
    cpu->eflags |= FLAG_RF;
    assert_true(cpu_check_breakpoint(cpu));
    assert_false(cpu_check_breakpoint(cpu));
}

// ---- the log ------------------------------------------------------------------------------------
static void test_log(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    char *text = NULL;
    size_t bytes;
    FILE *kept = c->t.log.file;
    idt_all(c, 0x8e);
    c->t.log.file = open_memstream(&text, &bytes);
    c->t.log.mask = LOG(INT);
    cpu->eip = 0x7600;
    cpu->cr2 = 0x1234;
    cpu_set_arith(cpu, FLAG_ZF | FLAG_PF);
    cpu_raise_error(cpu, VEC_PF, 6);
    cpu_deliver(cpu);
    fclose(c->t.log.file);
    c->t.log.file = kept;
    assert_string_equal(text,
        "check_exception old: 0xffffffff new 0xe\n"
        "     0: v=0e e=0006 i=0 cpl=0 IP=0008:00007600 pc=00007600 SP=0010:00008000 CR2=00001234\n"
        "EAX=00000000 EBX=00000000 ECX=00000000 EDX=00000663\n"
        "ESI=00000000 EDI=00000000 EBP=00000000 ESP=00008000\n"
        "EIP=00007600 EFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\n"
        "ES =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\n"
        "CS =0008 00000000 ffffffff 00cf9b00 DPL=0 CS32 [-RA]\n"
        "SS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\n"
        "DS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\n"
        "FS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\n"
        "GS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\n"
        "LDT=0000 00000000 0000ffff 00008200 DPL=0 LDT\n"
        "TR =0028 00003000 000000ff 00008b00 DPL=0 TSS32-busy\n"
        "GDT=     00001000 00000097\n"
        "IDT=     00002000 000007ff\n"
        "CR0=00000011 CR2=00001234 CR3=00000000 CR4=00000000\n"
        "DR0=00000000 DR1=00000000 DR2=00000000 DR3=00000000 \n"
        "DR6=ffff0ff0 DR7=00000400\n"
        "CCS=00000044 CCD=00000000 CCO=EFLAGS\n"
        "EFER=0000000000000000\n");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_REAL(test_real), TEST_PROTECTED(test_same_ring),
        TEST_PROTECTED(test_to_ring0_and_back), TEST_PROTECTED(test_gate16),
        TEST_PROTECTED(test_gate_checks), TEST_PROTECTED(test_double_fault),
        TEST_PROTECTED(test_endless), TEST_PROTECTED(test_page_fault_pairs),
        TEST_PROTECTED(test_external),
        TEST_PROTECTED(test_vm86), TEST_PROTECTED(test_vm86_iopl3),
        TEST_PROTECTED(test_single_step), TEST_PROTECTED(test_breakpoints),
        TEST_PROTECTED(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
