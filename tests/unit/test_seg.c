// SPDX-License-Identifier: MIT
// Segment registers, far transfers, call gates, descriptor looking, the mode word. Build as
// test_mmu.c.
#include "testcpu.h"

static u32 class_of(TestCpu *c, unsigned s) { return MODE_SEG_CLASS(c->cpu->mode, s); }
static CpuSeg *seg(TestCpu *c, unsigned s) { return &c->cpu->seg[s]; }

static void test_reset(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    assert_int_equal(seg(c, CPU_CS)->base, 0xffff0000);
    assert_int_equal(cpu->eip, 0xfff0);
    assert_int_equal(cpu->regs[CPU_EDX], cpu->model.signature);
    assert_int_equal(cpu->cr0, 0x60000010);
    assert_int_equal(cpu_flags(cpu), 2);
    assert_int_equal(cpu->mode & 0xfff, MODE_IO_OK);
    for (unsigned s = 0; s < 6; s++) assert_int_equal(class_of(c, s), SEG_REAL);
    assert_int_equal(seg(c, CPU_DS)->read_end[2], 0xfffd);
    assert_int_equal(seg(c, CPU_DS)->write_end[0], 0x10000);
}

static void test_real_mode(void **state) {
    TestCpu *c = *state;
    load_seg(c, CPU_ES, 0x1234);
    assert_int_equal(seg(c, CPU_ES)->base, 0x12340);
    cpu_store(c->cpu, CPU_ES, 0xffff, 2, 1);
    assert_fault(c, VEC_GP, 0);
    cpu_store(c->cpu, CPU_SS, 0xfffd, 4, 1);
    assert_fault(c, VEC_SS, 0);
    cpu_store(c->cpu, CPU_CS, 0x10, 4, 1);                  // CS is writable in real mode
    assert_no_fault(c);
    load_seg(c, CPU_SS, 0);
    assert_true(c->cpu->inhibit_irq);
    c->cpu->regs[CPU_ESP] = 0x12340002;
    c->cpu->eip = 0x345;
    cpu_h_call_far(c->cpu, 0x7c0, 0x12, 2);                 // SP wraps at the second push
    assert_no_fault(c);
    assert_int_equal(c->cpu->regs[CPU_ESP], 0x1234fffe);
    assert_int_equal(peek16(c, 0xfffe), 0x345);
    assert_int_equal(peek16(c, 0), 0xf000);
    assert_int_equal(seg(c, CPU_CS)->base, 0x7c00);
    cpu_h_ret_far(c->cpu, 4, 2);
    assert_int_equal(c->cpu->regs[CPU_ESP], 0x12340006);
    assert_int_equal(c->cpu->eip, 0x345);
    assert_int_equal(seg(c, CPU_CS)->selector, 0xf000);
    cpu_h_jmp_far(c->cpu, 0, 0x10000, 4);
    assert_fault(c, VEC_GP, 0);
}

// Real mode keeps the limit that protected mode left: "unreal" mode.
static void test_unreal(void **state) {
    TestCpu *c = *state;
    load_seg(c, CPU_FS, 0);                                 // unusable
    cpu_h_write_cr(c->cpu, 0, 0x10);
    assert_int_equal(class_of(c, CPU_DS), SEG_FLAT);
    load_seg(c, CPU_DS, 0x100);
    assert_int_equal(class_of(c, CPU_DS), SEG_BASED);
    assert_int_equal(seg(c, CPU_DS)->limit, 0xffffffff);
    load_seg(c, CPU_FS, 0x200);
    assert_int_equal(seg(c, CPU_FS)->limit, 0xffff);
    assert_int_equal(class_of(c, CPU_FS), SEG_REAL);
    assert_int_equal(c->cpu->mode & MODE_PE, 0);
}

static void test_classes(void **state) {
    TestCpu *c = *state;
    assert_int_equal(class_of(c, CPU_DS), SEG_FLAT);
    assert_int_equal(class_of(c, CPU_CS), SEG_FLAT);
    assert_int_equal(seg(c, CPU_DS)->read_end[0], 0xffffffff);
    assert_int_equal(seg(c, CPU_DS)->write_end[2], 0xfffffffd);
    assert_int_equal(seg(c, CPU_CS)->write_end[0], 0);
    load_seg(c, CPU_ES, SEL_BASED);
    assert_int_equal(class_of(c, CPU_ES), SEG_BASED);
    load_seg(c, CPU_ES, SEL_READONLY);
    assert_int_equal(class_of(c, CPU_ES), SEG_CHECKED);
    assert_int_equal(seg(c, CPU_ES)->write_end[0], 0);
    load_seg(c, CPU_ES, SEL_SMALL);
    assert_int_equal(seg(c, CPU_ES)->read_end[3], 0xff9);
    load_seg(c, CPU_ES, SEL_STACK16);
    assert_int_equal(class_of(c, CPU_ES), SEG_REAL);
    load_seg(c, CPU_ES, 3);                                 // null
    assert_int_equal(class_of(c, CPU_ES), SEG_CHECKED);
    assert_int_equal(seg(c, CPU_ES)->selector, 3);
    u64 v;
    assert_false(cpu_load(c->cpu, CPU_ES, 0, 1, &v));
    assert_fault(c, VEC_GP, 0);
    load_seg(c, CPU_SS, SEL_STACK16);
    assert_int_equal(c->cpu->mode & MODE_STACK32, 0);
}

static void test_limits(void **state) {
    TestCpu *c = *state;
    u64 v;
    load_seg(c, CPU_ES, SEL_SMALL);
    assert_true(cpu_load(c->cpu, CPU_ES, 0xffc, 4, &v));
    assert_false(cpu_load(c->cpu, CPU_ES, 0xffd, 4, &v));
    assert_fault(c, VEC_GP, 0);
    load_seg(c, CPU_ES, SEL_DOWN);                          // offsets above 0xfff
    assert_int_equal(seg(c, CPU_ES)->read_end[0], 0);
    assert_false(cpu_load(c->cpu, CPU_ES, 0xfff, 1, &v));
    assert_fault(c, VEC_GP, 0);
    assert_true(cpu_load(c->cpu, CPU_ES, 0x1000, 4, &v));
    assert_false(cpu_load(c->cpu, CPU_ES, 0xfffffffe, 4, &v));
    assert_fault(c, VEC_GP, 0);
    assert_true(cpu_load(c->cpu, CPU_DS, 0xfffffffe, 4, &v));   // a full segment wraps
    load_seg(c, CPU_ES, SEL_READONLY);
    assert_false(cpu_store(c->cpu, CPU_ES, 0, 4, 1));
    assert_fault(c, VEC_GP, 0);
    assert_false(cpu_store(c->cpu, CPU_CS, 0, 4, 1));
    assert_fault(c, VEC_GP, 0);
}

static void refuse(TestCpu *c, unsigned s, u32 selector, u32 vector, u32 error) {
    CpuSeg before = *seg(c, s);
    cpu_h_load_seg(c->cpu, s, selector);
    assert_fault(c, vector, error);
    assert_memory_equal(&before, seg(c, s), sizeof before);
}

static void test_load_checks(void **state) {
    TestCpu *c = *state;
    refuse(c, CPU_DS, SEL_END, VEC_GP, SEL_END);
    refuse(c, CPU_DS, SEL_EXECUTE, VEC_GP, SEL_EXECUTE);
    refuse(c, CPU_DS, SEL_TSS_A, VEC_GP, SEL_TSS_A);
    refuse(c, CPU_DS, SEL_ABSENT, VEC_NP, SEL_ABSENT);
    refuse(c, CPU_DS, 0x0c, VEC_GP, 0x0c);                  // no LDT loaded
    refuse(c, CPU_SS, 0, VEC_GP, 0);
    refuse(c, CPU_SS, SEL_READONLY, VEC_GP, SEL_READONLY);
    refuse(c, CPU_SS, SEL_ABSENT, VEC_SS, SEL_ABSENT);
    refuse(c, CPU_SS, SEL_DATA3, VEC_GP, SEL_DATA3 & ~3);
    refuse(c, CPU_SS, SEL_DATA0 | 1, VEC_GP, SEL_DATA0);
    refuse(c, CPU_DS, SEL_DATA0 | 3, VEC_GP, SEL_DATA0);    // RPL weaker than DPL
    cpu_h_load_seg(c->cpu, CPU_CS, SEL_CODE0);
    assert_fault(c, VEC_UD, -1);
    load_seg(c, CPU_DS, SEL_CONFORMING | 3);                // conforming: privilege does not matter
    assert_false(c->cpu->inhibit_irq);
    testcpu_ring3(c, 2);
    refuse(c, CPU_DS, SEL_DATA0, VEC_GP, SEL_DATA0);
    refuse(c, CPU_SS, SEL_DATA0, VEC_GP, SEL_DATA0);
}

static void test_accessed_bit(void **state) {
    TestCpu *c = *state;
    load_seg(c, CPU_ES, SEL_SMALL);
    assert_int_equal(peek32(c, AT_GDT + SEL_SMALL + 4) >> 8 & 0xff, 0x93);
    assert_int_equal(seg(c, CPU_ES)->access, 0x4093);
    testcpu_page(c, 7);
    put_desc(c, AT_GDT + SEL_SMALL, AT_DATA, 0xfff, 0x92, 4);
    poke32(c, AT_PT + 4, 0x1000 | 5);                       // GDT's page read only, WP on
    cpu_h_write_cr(c->cpu, 0, c->cpu->cr0 | 0x10000);
    refuse(c, CPU_ES, SEL_SMALL, VEC_PF, 3);
}

static void test_ldt(void **state) {
    TestCpu *c = *state;
    put_desc(c, AT_LDT + 8, 0x5000, 0xff, 0x92, 4);
    cpu_h_lldt(c->cpu, SEL_LDT);
    assert_no_fault(c);
    load_seg(c, CPU_FS, 0x0c);
    assert_int_equal(seg(c, CPU_FS)->base, 0x5000);
    cpu_h_lldt(c->cpu, SEL_DATA0);
    assert_fault(c, VEC_GP, SEL_DATA0);
    assert_int_equal(cpu_h_sldt(c->cpu), SEL_LDT);
    cpu_h_lldt(c->cpu, 0);
    refuse(c, CPU_FS, 0x0c, VEC_GP, 0x0c);
    assert_int_equal(cpu_h_str(c->cpu), SEL_TSS_A);
    assert_int_equal(peek32(c, AT_GDT + SEL_TSS_A + 4) >> 8 & 0xf, 11);
    cpu_h_ltr(c->cpu, SEL_TSS_A);                           // busy
    assert_fault(c, VEC_GP, SEL_TSS_A);
}

static void test_load_far_and_pop(void **state) {
    TestCpu *c = *state;
    poke32(c, AT_DATA, 0xabcd1234);
    poke16(c, AT_DATA + 4, SEL_BASED);
    cpu_h_load_far(c->cpu, AT_DATA, CPU_ACCESS(CPU_DS, 2), CPU_ES | CPU_EBX << 4);
    assert_no_fault(c);
    assert_int_equal(c->cpu->regs[CPU_EBX], 0xabcd1234);
    assert_int_equal(seg(c, CPU_ES)->selector, SEL_BASED);
    c->cpu->regs[CPU_EBX] = 0xffffffff;
    poke16(c, AT_DATA + 2, SEL_SMALL);
    cpu_h_load_far(c->cpu, AT_DATA, CPU_ACCESS(CPU_DS, 1), CPU_GS | CPU_EBX << 4);
    assert_int_equal(c->cpu->regs[CPU_EBX], 0xffff1234);
    poke16(c, AT_DATA + 2, SEL_ABSENT);
    cpu_h_load_far(c->cpu, AT_DATA, CPU_ACCESS(CPU_DS, 1), CPU_GS | CPU_EBX << 4);
    assert_fault(c, VEC_NP, SEL_ABSENT);
    assert_int_equal(c->cpu->regs[CPU_EBX], 0xffff1234);
    poke32(c, TOP0 - 4, 0xffff0000 | SEL_SMALL);
    c->cpu->regs[CPU_ESP] = TOP0 - 4;
    cpu_h_pop_seg(c->cpu, CPU_FS, 4);
    assert_int_equal(c->cpu->regs[CPU_ESP], TOP0);
    assert_int_equal(seg(c, CPU_FS)->selector, SEL_SMALL);
    poke32(c, TOP0 - 4, SEL_ABSENT);
    c->cpu->regs[CPU_ESP] = TOP0 - 4;
    cpu_h_pop_seg(c->cpu, CPU_FS, 4);
    assert_fault(c, VEC_NP, SEL_ABSENT);
    assert_int_equal(c->cpu->regs[CPU_ESP], TOP0 - 4);
}

// ---- far transfers ------------------------------------------------------------------------------
static void refuse_jump(TestCpu *c, u32 selector, u32 offset, u32 vector, u32 error) {
    c->cpu->eip = 0x7007;
    CpuSeg before = *seg(c, CPU_CS);
    cpu_h_jmp_far(c->cpu, selector, offset, 4);
    assert_fault(c, vector, error);
    assert_memory_equal(&before, seg(c, CPU_CS), sizeof before);
    assert_int_equal(c->cpu->eip, 0x7007);
    cpu_h_call_far(c->cpu, selector, offset, 4);
    assert_fault(c, vector, error);
    assert_int_equal(c->cpu->eip, 0x7007);
}

static void test_jump_checks(void **state) {
    TestCpu *c = *state;
    refuse_jump(c, 0, 0, VEC_GP, 0);
    refuse_jump(c, SEL_DATA0, 0, VEC_GP, SEL_DATA0);
    refuse_jump(c, SEL_CODE3, 0, VEC_GP, SEL_CODE3 & ~3);
    refuse_jump(c, SEL_END, 0, VEC_GP, SEL_END);
    refuse_jump(c, SEL_CODE16, 0x10000, VEC_GP, 0);
    cpu_h_jmp_far(c->cpu, SEL_CODE16, 0x123, 2);
    assert_no_fault(c);
    assert_int_equal(c->cpu->mode & MODE_CODE32, 0);
    assert_int_equal(c->cpu->eip, 0x123);
    testcpu_ring3(c, 2);
    refuse_jump(c, SEL_CODE0, 0, VEC_GP, SEL_CODE0);
    cpu_h_jmp_far(c->cpu, SEL_CONFORMING, 0x55, 4);         // conforming: CPL stays 3
    assert_no_fault(c);
    assert_int_equal(c->cpu->cpl, 3);
    assert_int_equal(seg(c, CPU_CS)->selector, SEL_CONFORMING | 3);
}

static void test_call_and_return(void **state) {
    TestCpu *c = *state;
    c->cpu->eip = 0x7010;
    cpu_h_call_far(c->cpu, SEL_CONFORMING, 0x1234, 4);
    assert_no_fault(c);
    assert_int_equal(c->cpu->regs[CPU_ESP], TOP0 - 8);
    assert_int_equal(peek32(c, TOP0 - 4), SEL_CODE0);
    assert_int_equal(peek32(c, TOP0 - 8), 0x7010);
    cpu_h_ret_far(c->cpu, 8, 4);
    assert_no_fault(c);
    assert_int_equal(c->cpu->regs[CPU_ESP], TOP0 + 8);
    assert_int_equal(c->cpu->eip, 0x7010);
    poke32(c, TOP0 + 8, 0x1);
    poke32(c, TOP0 + 12, SEL_ABSENT);
    cpu_h_ret_far(c->cpu, 0, 4);
    assert_fault(c, VEC_GP, SEL_ABSENT);                    // not code comes before not present
    assert_int_equal(c->cpu->regs[CPU_ESP], TOP0 + 8);
}

// Ring 3 calls ring 0 through a gate with two parameters, and returns to ring 3.
static void gate_round(TestCpu *c, unsigned size) {
    Cpu *cpu = c->cpu;
    u32 type = size == 4 ? 0xec : 0xe4;
    put_gate(c, AT_GDT + SEL_GATE, SEL_CODE0, 0x4321, type, 2);
    testcpu_ring3(c, 2);
    cpu->regs[CPU_ESP] = TOP3 - 2 * size;
    for (unsigned i = 0; i < 2 * size; i++) *at(c, TOP3 - 2 * size + i) = (u8)(0x10 + i);
    cpu->eip = 0x7100;
    cpu_h_call_far(cpu, SEL_GATE | 3, 0xdeadbeef, 4);
    assert_no_fault(c);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(cpu->eip, 0x4321);
    assert_int_equal(seg(c, CPU_CS)->selector, SEL_CODE0);
    assert_int_equal(seg(c, CPU_SS)->selector, SEL_DATA0);
    assert_int_equal(cpu->regs[CPU_ESP], TOP0 - 6 * size);
    u32 sp = cpu->regs[CPU_ESP];
    assert_int_equal(peek16(c, sp), 0x7100);
    assert_int_equal(peek16(c, sp + size), SEL_CODE3);
    assert_memory_equal(at(c, sp + 2 * size), at(c, TOP3 - 2 * size), 2 * size);
    assert_int_equal(peek16(c, sp + 4 * size), TOP3 - 2 * size);
    assert_int_equal(peek16(c, sp + 5 * size), SEL_DATA3);
    load_seg(c, CPU_FS, SEL_DATA0);
    load_seg(c, CPU_GS, SEL_CONFORMING);
    cpu_h_ret_far(cpu, 2 * size, size);
    assert_no_fault(c);
    assert_int_equal(cpu->cpl, 3);
    assert_int_equal(cpu->eip, 0x7100);
    assert_int_equal(cpu->regs[CPU_ESP], TOP3);
    assert_int_equal(seg(c, CPU_SS)->selector, SEL_DATA3);
    assert_int_equal(seg(c, CPU_FS)->selector, 0);          // ring 0 data is taken away
    assert_int_equal(class_of(c, CPU_FS), SEG_CHECKED);
    assert_int_equal(seg(c, CPU_GS)->selector, SEL_CONFORMING);
    assert_int_equal(seg(c, CPU_DS)->selector, SEL_DATA3);
}

static void test_gate32(void **state) { gate_round(*state, 4); }
static void test_gate16(void **state) { gate_round(*state, 2); }

static void test_gate_checks(void **state) {
    TestCpu *c = *state;
    put_gate(c, AT_GDT + SEL_GATE, SEL_CODE0, 0x4321, 0x8c, 0);         // DPL 0
    testcpu_page(c, 7);
    testcpu_ring3(c, 2);
    refuse_jump(c, SEL_GATE, 0, VEC_GP, SEL_GATE);
    put_gate(c, AT_GDT + SEL_GATE, SEL_CODE0, 0x4321, 0x6c, 0);         // not present
    refuse_jump(c, SEL_GATE, 0, VEC_NP, SEL_GATE);
    put_gate(c, AT_GDT + SEL_GATE, SEL_DATA0, 0x4321, 0xec, 0);
    refuse_jump(c, SEL_GATE, 0, VEC_GP, SEL_DATA0);
    put_gate(c, AT_GDT + SEL_GATE, SEL_CODE0, 0x4321, 0xec, 0);
    cpu_h_jmp_far(c->cpu, SEL_GATE, 0, 4);                              // JMP cannot go inwards
    assert_fault(c, VEC_GP, SEL_CODE0);
    poke32(c, AT_TSS_A + 8, SEL_DATA3);                                 // wrong ring 0 stack
    cpu_h_call_far(c->cpu, SEL_GATE, 0, 4);
    assert_fault(c, VEC_TS, SEL_DATA3 & ~3);
    poke32(c, AT_TSS_A + 8, SEL_DATA0);
    poke32(c, AT_PT + 4 * 7, 0);                                        // no stack below TOP0
    mmu_flush(c->cpu);
    cpu_h_call_far(c->cpu, SEL_GATE, 0, 4);
    assert_int_equal(c->cpu->cr2, TOP0 - 4);
    assert_fault(c, VEC_PF, 2);
    assert_int_equal(c->cpu->cpl, 3);
}

// ---- looking ------------------------------------------------------------------------------------
static bool zf(TestCpu *c) { return cpu_flags(c->cpu) & FLAG_ZF; }

static void test_lar_lsl_ver(void **state) {
    TestCpu *c = *state;
    cpu_set_arith(c->cpu, FLAG_CF);
    assert_int_equal(cpu_h_lar(c->cpu, SEL_DATA0, 7), 0x00cf9300);
    assert_true(zf(c));
    assert_true(cpu_flags(c->cpu) & FLAG_CF);
    assert_int_equal(cpu_h_lar(c->cpu, SEL_END, 7), 7);
    assert_false(zf(c));
    assert_int_equal(cpu_h_lsl(c->cpu, SEL_DATA0, 7), 0xffffffff);
    assert_int_equal(cpu_h_lsl(c->cpu, SEL_SMALL, 7), 0xfff);
    assert_int_equal(cpu_h_lsl(c->cpu, SEL_TSS_A, 7), 0xff);
    assert_int_equal(cpu_h_lsl(c->cpu, SEL_TASKGATE, 7), 7);
    assert_int_equal(cpu_h_lar(c->cpu, SEL_TASKGATE, 7), 0xe500);
    cpu_h_verr(c->cpu, SEL_EXECUTE);
    assert_false(zf(c));
    cpu_h_verr(c->cpu, SEL_CODE0);
    assert_true(zf(c));
    cpu_h_verw(c->cpu, SEL_READONLY);
    assert_false(zf(c));
    testcpu_ring3(c, 2);
    cpu_h_verw(c->cpu, SEL_DATA3);
    assert_true(zf(c));
    cpu_h_verw(c->cpu, SEL_DATA0);
    assert_false(zf(c));
    cpu_h_verr(c->cpu, SEL_CONFORMING);
    assert_true(zf(c));
    assert_int_equal(cpu_h_arpl(c->cpu, 0x10, 0x23), 0x13);
    assert_true(zf(c));
    assert_int_equal(cpu_h_arpl(c->cpu, 0x13, 0x21), 0x13);
    assert_false(zf(c));
}

static void test_mode_word(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    assert_int_equal(cpu->mode & 0xfff, MODE_PE | MODE_CODE32 | MODE_STACK32 | MODE_IO_OK);
    u8 *base0 = cpu->mmu_base;
    cpu_h_write_cr(cpu, 0, cpu->cr0 | 0xa);                 // MP TS
    assert_true((cpu->mode & MODE_FPU_NM) && (cpu->mode & MODE_WAIT_NM));
    cpu_h_clts(cpu);
    assert_false(cpu->mode & (MODE_FPU_NM | MODE_WAIT_NM));
    cpu_h_write_cr(cpu, 0, cpu->cr0 | 0x40000);             // AM
    testcpu_ring3(c, FLAG_AC | 2);
    assert_int_equal(cpu->mode & 0xfff,
                     3 | MODE_PE | MODE_CODE32 | MODE_STACK32 | MODE_AC);
    assert_ptr_not_equal(cpu->mmu_base, base0);
    u64 v;
    assert_false(cpu_load(cpu, CPU_DS, AT_DATA + 1, 4, &v));
    assert_fault(c, VEC_AC, 0);
    assert_true(cpu_load(cpu, CPU_DS, AT_DATA + 4, 4, &v));
}

static void test_control_registers(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    cpu_h_write_cr(cpu, 0, 0x80000010);                     // PG without PE
    assert_fault(c, VEC_GP, 0);
    cpu_h_write_cr(cpu, 0, 0x20000011);                     // NW without CD
    assert_fault(c, VEC_GP, 0);
    cpu_h_write_cr(cpu, 4, 0x80000000);                     // reserved
    assert_fault(c, VEC_GP, 0);
    cpu_h_read_cr(cpu, 1);
    assert_fault(c, VEC_UD, -1);
    cpu_h_lmsw(cpu, 0);                                     // cannot leave protected mode
    assert_int_equal(cpu_h_smsw(cpu), 0x11);
    cpu_h_write_dr(cpu, 7, 0x2000);
    cpu_h_read_dr(cpu, 0);
    assert_fault(c, VEC_DB, -1);
    assert_true(cpu->dr[6] & 0x2000);
    testcpu_ring3(c, 2);
    cpu_h_write_cr(cpu, 0, 0);
    assert_fault(c, VEC_GP, 0);
    cpu_h_hlt(cpu);
    assert_fault(c, VEC_GP, 0);
    cpu_h_cli(cpu);
    assert_fault(c, VEC_GP, 0);
}

static void test_ports(void **state) {
    TestCpu *c = *state;
    testcpu_ring3(c, 2);
    memset(at(c, AT_TSS_A + 0x68), 0xff, 0x98);
    *at(c, AT_TSS_A + 0x68 + 0x60 / 8) = 0xfe;              // port 0x60 alone
    cpu_h_in(c->cpu, 0x60, 1);
    assert_no_fault(c);
    cpu_h_in(c->cpu, 0x60, 2);
    assert_fault(c, VEC_GP, 0);
    cpu_h_out(c->cpu, 0x61, 1, 0);
    assert_fault(c, VEC_GP, 0);
    cpu_h_in(c->cpu, 0x4c0, 1);                             // beyond the TSS's limit
    assert_fault(c, VEC_GP, 0);
    cpu_set_eflags(c->cpu, FLAG_IOPL, FLAG_IOPL);
    cpu_h_in(c->cpu, 0x4c0, 1);
    assert_no_fault(c);
}

static void test_flags_images(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    cpu_h_popf(cpu, 0xffffffff, 4);
    assert_int_equal(cpu_flags(cpu), 0x2 | FLAG_OSZAPC | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL
                     | FLAG_NT | FLAG_AC | FLAG_ID);
    assert_int_equal(cpu->df, -1);
    assert_true(cpu->mode & MODE_TF);
    cpu_h_popf(cpu, 0, 2);
    assert_int_equal(cpu_flags(cpu), 0x2 | FLAG_AC | FLAG_ID);
    assert_int_equal(cpu_h_pushf(cpu, 2), 2);
    testcpu_ring3(c, 2 | FLAG_IF);
    cpu_h_popf(cpu, FLAG_IOPL | FLAG_CF, 4);                // neither IOPL nor IF change
    assert_int_equal(cpu_flags(cpu), 2 | FLAG_IF | FLAG_CF);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_REAL(test_reset), TEST_REAL(test_real_mode), TEST_PROTECTED(test_unreal),
        TEST_PROTECTED(test_classes), TEST_PROTECTED(test_limits),
        TEST_PROTECTED(test_load_checks), TEST_PROTECTED(test_accessed_bit),
        TEST_PROTECTED(test_ldt), TEST_PROTECTED(test_load_far_and_pop),
        TEST_PROTECTED(test_jump_checks), TEST_PROTECTED(test_call_and_return),
        TEST_PROTECTED(test_gate32), TEST_PROTECTED(test_gate16), TEST_PROTECTED(test_gate_checks),
        TEST_PROTECTED(test_lar_lsl_ver), TEST_PROTECTED(test_mode_word),
        TEST_PROTECTED(test_control_registers), TEST_PROTECTED(test_ports),
        TEST_PROTECTED(test_flags_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
