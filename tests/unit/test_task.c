// SPDX-License-Identifier: MIT
// Hardware task switches: JMP, CALL, IRET, task gates, TSS16, faults before and in the new task.
// Build as test_mmu.c.
#include "testcpu.h"

enum { TASK_EIP = 0x5a00, TASK_ESP = 0xa000 };

static u32 type_of(TestCpu *c, u32 selector) {
    return peek32(c, AT_GDT + (selector & ~7u) + 4) >> 8 & 15;
}

// A complete TSS32 for B: ring 0, flat.
static void fill_tss32(TestCpu *c, u32 at_tss, u32 code, u32 stack) {
    poke32(c, at_tss + 0x1c, 0);
    poke32(c, at_tss + 0x20, TASK_EIP);
    poke32(c, at_tss + 0x24, 2 | FLAG_CF);
    for (u32 i = 0; i < 8; i++) poke32(c, at_tss + 0x28 + 4 * i, 0x11111111 * (i + 1));
    poke32(c, at_tss + 0x28 + 4 * CPU_ESP, TASK_ESP);
    for (u32 i = 0; i < 6; i++) poke32(c, at_tss + 0x48 + 4 * i, SEL_DATA0 | (stack & 3));
    poke32(c, at_tss + 0x48 + 4 * CPU_CS, code);
    poke32(c, at_tss + 0x48 + 4 * CPU_SS, stack);
    poke32(c, at_tss + 0x60, 0);
    poke16(c, at_tss + 0x64, 0);
}

static void prepare(TestCpu *c) {
    Cpu *cpu = c->cpu;
    fill_tss32(c, AT_TSS_B, SEL_CODE0, SEL_DATA0);
    for (unsigned i = 0; i < 8; i++) cpu->regs[i] = 0xa0a0a000 + i;
    cpu->regs[CPU_ESP] = TOP0;
    cpu->eip = 0x7010;
    cpu_set_eflags(cpu, FLAG_ZF | FLAG_DF, FLAG_ZF | FLAG_DF);
}

static void check_in_b(TestCpu *c) {
    Cpu *cpu = c->cpu;
    assert_no_fault(c);
    assert_int_equal(cpu->tr.selector, SEL_TSS_B);
    assert_int_equal(cpu->tr.base, AT_TSS_B);
    assert_int_equal(cpu->eip, TASK_EIP);
    for (u32 i = 0; i < 8; i++)
        assert_int_equal(cpu->regs[i], i == CPU_ESP ? TASK_ESP : 0x11111111 * (i + 1));
    assert_int_equal(cpu->df, 1);
    assert_true(cpu->cr0 & 8);
    assert_true(cpu->mode & MODE_FPU_NM);
    assert_int_equal(type_of(c, SEL_TSS_B), 11);
}

static void test_jump(void **state) {
    TestCpu *c = *state;
    prepare(c);
    cpu_h_write_dr(c->cpu, 7, 0x3ff);
    cpu_h_jmp_far(c->cpu, SEL_TSS_B, 0x9999, 4);
    check_in_b(c);
    assert_int_equal(cpu_flags(c->cpu), 2 | FLAG_CF);
    assert_int_equal(type_of(c, SEL_TSS_A), 9);             // no longer busy
    assert_int_equal(peek32(c, AT_TSS_A + 0x20), 0x7010);
    assert_int_equal(peek32(c, AT_TSS_A + 0x24), 2 | FLAG_ZF | FLAG_DF);
    for (u32 i = 0; i < 8; i++)
        assert_int_equal(peek32(c, AT_TSS_A + 0x28 + 4 * i), i == CPU_ESP ? TOP0 : 0xa0a0a000 + i);
    assert_int_equal(peek16(c, AT_TSS_A + 0x4c), SEL_CODE0);
    assert_int_equal(c->cpu->dr[7], 0x6aa | 0x400);         // local breakpoints are off
    assert_int_equal(c->cpu->stats.task_switches, 1);
    cpu_h_jmp_far(c->cpu, SEL_TSS_A, 0, 4);                 // and back
    assert_no_fault(c);
    assert_int_equal(c->cpu->eip, 0x7010);
    assert_int_equal(c->cpu->regs[CPU_EDI], 0xa0a0a007);
    assert_int_equal(c->cpu->df, -1);
    assert_true(cpu_flags(c->cpu) & FLAG_ZF);
    assert_int_equal(type_of(c, SEL_TSS_B), 9);
}

static void test_call_and_iret(void **state) {
    TestCpu *c = *state;
    prepare(c);
    cpu_h_call_far(c->cpu, SEL_TASKGATE, 0, 4);
    check_in_b(c);
    assert_int_equal(cpu_flags(c->cpu), 2 | FLAG_CF | FLAG_NT);
    assert_int_equal(peek16(c, AT_TSS_B), SEL_TSS_A);       // link
    assert_int_equal(type_of(c, SEL_TSS_A), 11);            // stays busy
    c->cpu->eip = 0x5a10;
    cpu_h_iret(c->cpu, 4);
    assert_no_fault(c);
    assert_int_equal(c->cpu->eip, 0x7010);
    assert_int_equal(c->cpu->tr.selector, SEL_TSS_A);
    assert_int_equal(type_of(c, SEL_TSS_B), 9);
    assert_int_equal(peek32(c, AT_TSS_B + 0x20), 0x5a10);
    assert_int_equal(peek32(c, AT_TSS_B + 0x24), 2 | FLAG_CF);   // NT saved clear
    cpu_set_eflags(c->cpu, FLAG_NT, FLAG_NT);
    poke16(c, AT_TSS_A, SEL_TSS_B);
    cpu_h_iret(c->cpu, 4);                                  // not busy
    assert_fault(c, VEC_TS, SEL_TSS_B);
}

// Linux 0.11: LJMP to a ring 3 task with an LDT.
static void test_ring3_with_ldt(void **state) {
    TestCpu *c = *state;
    prepare(c);
    put_desc(c, AT_LDT + 8, 0, 0xfffff, 0xfa, 0xc);
    put_desc(c, AT_LDT + 16, 0x2000, 0xfffff, 0xf2, 0xc);
    fill_tss32(c, AT_TSS_B, 0x0f, 0x17);
    for (u32 i = 0; i < 6; i++) if (i != CPU_CS) poke32(c, AT_TSS_B + 0x48 + 4 * i, 0x17);
    poke32(c, AT_TSS_B + 0x60, SEL_LDT);
    testcpu_page(c, 7);
    poke32(c, AT_TSS_B + 0x1c, AT_PD);
    cpu_h_jmp_far(c->cpu, SEL_TSS_B, 0, 4);
    check_in_b(c);
    assert_int_equal(c->cpu->cpl, 3);
    assert_int_equal(c->cpu->ldtr.selector, SEL_LDT);
    assert_int_equal(c->cpu->seg[CPU_DS].base, 0x2000);
    assert_int_equal(MODE_SEG_CLASS(c->cpu->mode, CPU_DS), SEG_BASED);
    assert_ptr_equal(c->cpu->mmu_base, mmu_context_base(c->cpu->mmu, true));
    assert_int_equal(peek32(c, AT_LDT + 12) >> 8 & 0xff, 0xfb);  // accessed
}

static void test_other_cr3(void **state) {
    TestCpu *c = *state;
    prepare(c);
    testcpu_page(c, 7);
    memcpy(at(c, 0x10000), at(c, AT_PD), 4096);
    poke32(c, AT_TSS_B + 0x1c, 0x10000);
    cpu_slow_load(c->cpu, AT_DATA, CPU_ACCESS(CPU_DS, 2));
    cpu_h_jmp_far(c->cpu, SEL_TSS_B, 0, 4);
    check_in_b(c);
    assert_int_equal(c->cpu->cr3, 0x10000);
    i64 *reads = (i64 *)(void *)(mmu_context_base(c->cpu->mmu, false) + MMU_READ);
    assert_true(reads[AT_DATA >> 12] == MMU_INVALID);
}

static void test_tss16(void **state) {
    TestCpu *c = *state;
    prepare(c);
    put_desc(c, AT_GDT + SEL_TSS_B, AT_TSS_B, 0x2b, 0x81, 0);
    memset(at(c, AT_TSS_B), 0, 0x2c);
    poke16(c, AT_TSS_B + 0x0e, 0x1234);
    poke16(c, AT_TSS_B + 0x10, 2);
    for (u32 i = 0; i < 8; i++) poke16(c, AT_TSS_B + 0x12 + 2 * i, 0x4440 + i);
    for (u32 i = 0; i < 4; i++) poke16(c, AT_TSS_B + 0x22 + 2 * i, i == CPU_CS ? SEL_CODE0
                                                                               : SEL_DATA0);
    cpu_h_call_far(c->cpu, SEL_TSS_B, 0, 4);
    assert_no_fault(c);
    assert_int_equal(c->cpu->eip, 0x1234);
    assert_int_equal(c->cpu->regs[CPU_EBX], 0xffff4443);
    assert_int_equal(c->cpu->seg[CPU_FS].selector, 0);
    assert_int_equal(type_of(c, SEL_TSS_B), 3);
    c->cpu->eip = 0x1300;
    c->cpu->regs[CPU_EBX] = 0x12345678;
    cpu_h_iret(c->cpu, 2);
    assert_no_fault(c);
    assert_int_equal(c->cpu->eip, 0x7010);
    assert_int_equal(peek16(c, AT_TSS_B + 0x0e), 0x1300);
    assert_int_equal(peek16(c, AT_TSS_B + 0x12 + 2 * CPU_EBX), 0x5678);
    assert_int_equal(peek16(c, AT_TSS_B + 0x2a), 0);        // not touched
}

// ---- faults -------------------------------------------------------------------------------------
static void check_unchanged(TestCpu *c, u32 selector, u32 vector, u32 error) {
    cpu_h_jmp_far(c->cpu, selector, 0, 4);
    assert_fault(c, vector, error);
    assert_int_equal(c->cpu->tr.selector, SEL_TSS_A);
    assert_int_equal(c->cpu->eip, 0x7010);
    assert_int_equal(type_of(c, SEL_TSS_A), 11);
    assert_int_equal(peek32(c, AT_TSS_A + 0x20), 0);
}

static void test_refused(void **state) {
    TestCpu *c = *state;
    prepare(c);
    check_unchanged(c, SEL_TSS_A, VEC_GP, SEL_TSS_A);       // busy
    put_desc(c, AT_GDT + SEL_TSS_B, AT_TSS_B, 0x66, 0x89, 0);
    check_unchanged(c, SEL_TSS_B, VEC_TS, SEL_TSS_B);
    put_desc(c, AT_GDT + SEL_TSS_B, AT_TSS_B, 0xff, 0x09, 0);
    check_unchanged(c, SEL_TSS_B, VEC_NP, SEL_TSS_B);
    put_desc(c, AT_GDT + SEL_TSS_B, AT_TSS_B, 0xff, 0x89, 0);
    check_unchanged(c, SEL_TSS_B | 1, VEC_GP, SEL_TSS_B);   // RPL > DPL
    put_gate(c, AT_GDT + SEL_TASKGATE, SEL_DATA0, 0, 0xe5, 0);
    check_unchanged(c, SEL_TASKGATE, VEC_GP, SEL_DATA0);
    put_gate(c, AT_GDT + SEL_TASKGATE, SEL_TSS_B, 0, 0x65, 0);
    check_unchanged(c, SEL_TASKGATE, VEC_NP, SEL_TASKGATE);
    testcpu_page(c, 7);
    c->cpu->eip = 0x7010;
    put_desc(c, AT_GDT + SEL_TSS_B, 0x7fff98, 0xff, 0x89, 0);    // beyond the mapped 4 MiB
    check_unchanged(c, SEL_TSS_B, VEC_PF, 0);
}

// Behind the point of no return: the fault is the new task's, delivered through its IDT.
static void test_fault_in_new_task(void **state) {
    TestCpu *c = *state;
    prepare(c);
    put_idt(c, VEC_TS, SEL_CODE0, 0x6000, 0x8e);
    put_idt(c, VEC_NP, SEL_CODE0, 0x6100, 0x8e);
    poke32(c, AT_TSS_B + 0x48 + 4 * CPU_FS, SEL_CODE3 & ~3);
    poke32(c, AT_TSS_B + 0x48 + 4 * CPU_GS, SEL_TSS_A);     // #TS on GS
    cpu_h_jmp_far(c->cpu, SEL_TSS_B, 0, 4);
    assert_no_fault(c);
    assert_int_equal(c->cpu->tr.selector, SEL_TSS_B);
    assert_int_equal(c->cpu->eip, 0x6000);
    assert_int_equal(peek32(c, TASK_ESP - 16), SEL_TSS_A);
    assert_int_equal(peek32(c, TASK_ESP - 12), TASK_EIP);
    assert_int_equal(c->cpu->regs[CPU_ESP], TASK_ESP - 16);
    assert_int_equal(c->cpu->seg[CPU_GS].selector, SEL_TSS_A);   // visible part was loaded
    assert_int_equal(peek32(c, AT_TSS_A + 0x20), 0x7010);
    assert_false(c->cpu->shutdown);
}

static void test_debug_trap(void **state) {
    TestCpu *c = *state;
    prepare(c);
    put_idt(c, VEC_DB, SEL_CODE0, 0x6200, 0x8e);
    poke16(c, AT_TSS_B + 0x64, 1);
    cpu_h_jmp_far(c->cpu, SEL_TSS_B, 0, 4);
    assert_no_fault(c);
    assert_int_equal(c->cpu->eip, 0x6200);
    assert_int_equal(peek32(c, TASK_ESP - 12), TASK_EIP);
    assert_true(c->cpu->dr[6] & 0x8000);
}

// A double fault through a task gate: the error code is pushed on the new task's stack.
static void test_event_gate(void **state) {
    TestCpu *c = *state;
    prepare(c);
    put_idt(c, VEC_GP, SEL_TSS_B, 0, 0x85);
    cpu_raise_error(c->cpu, VEC_GP, 0x1230);
    cpu_deliver(c->cpu);
    assert_no_fault(c);
    assert_int_equal(c->cpu->eip, TASK_EIP);
    assert_int_equal(c->cpu->regs[CPU_ESP], TASK_ESP - 4);
    assert_int_equal(peek32(c, TASK_ESP - 4), 0x1230);
    assert_int_equal(peek16(c, AT_TSS_B), SEL_TSS_A);
    assert_true(c->cpu->eflags & FLAG_NT);
    assert_int_equal(peek32(c, AT_TSS_A + 0x24), 2 | FLAG_ZF | FLAG_DF | FLAG_RF);
    assert_int_equal(c->cpu->delivering, 0);
    put_idt(c, 0x33, SEL_TSS_B, 0, 0x85);                   // INT n to a busy task
    cpu_h_int_n(c->cpu, 0x33);
    assert_fault(c, VEC_GP, SEL_TSS_B);
    assert_int_equal(c->cpu->eflags & FLAG_RF, 0);
}

static void test_vm86_task(void **state) {
    TestCpu *c = *state;
    prepare(c);
    poke32(c, AT_TSS_B + 0x24, 2 | FLAG_VM);
    for (u32 i = 0; i < 6; i++) poke32(c, AT_TSS_B + 0x48 + 4 * i, 0x1000 + i);
    cpu_h_jmp_far(c->cpu, SEL_TSS_B, 0, 4);
    assert_no_fault(c);
    assert_true(c->cpu->mode & MODE_VM);
    assert_int_equal(c->cpu->cpl, 3);
    assert_int_equal(c->cpu->seg[CPU_CS].base, 0x10010);
    assert_int_equal(c->cpu->seg[CPU_GS].base, 0x10050);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_PROTECTED(test_jump), TEST_PROTECTED(test_call_and_iret),
        TEST_PROTECTED(test_ring3_with_ldt), TEST_PROTECTED(test_other_cr3),
        TEST_PROTECTED(test_tss16), TEST_PROTECTED(test_refused),
        TEST_PROTECTED(test_fault_in_new_task), TEST_PROTECTED(test_debug_trap),
        TEST_PROTECTED(test_event_gate), TEST_PROTECTED(test_vm86_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
