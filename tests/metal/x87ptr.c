// SPDX-License-Identifier: MIT
// The x87's instruction and data pointers and opcode, as FNSTENV, FNSAVE and FXSAVE store them: set by
// all instructions but the control ones, across blocks, privilege and a pending exception; loaded by
// FLDENV, FRSTOR and FXRSTOR; cleared by FNINIT. SDM Vol. 1, 8.1.8 and 8.1.9.
//   T=x87ptr tests/metal/run.sh build/glassbox bochs
#include "rt.h"

static u32 env[7] __attribute__((aligned(16))), area[128] __attribute__((aligned(16)));
static float number[4] = { 1, 2, 3, 4 };

LABEL(add_at);
CODE(plain, "fninit; fld1; fldz; nop" AT(add_at) "faddp; nop; mov %eax, %edx; fnstenv (%ebx)");
LABEL(memory_at);
CODE(memory, "fninit; fld1" AT(memory_at) "fadds 4(%esi,%ecx,4); fnstenv (%ebx)");
LABEL(control_at);
CODE(control, "fninit" AT(control_at) "fld1; fwait; fnstcw (%edi); fldcw (%edi); fnstsw %ax; fnclex; fwait;"
              "fnstenv (%ebx)");
CODE(init, "fld1; flds (%esi); fninit; fnstenv (%ebx)");
LABEL(save_at);
CODE(save, "fninit" AT(save_at) "flds (%esi); fnsave (%ebx)");
CODE(after_save, "fninit; flds (%esi); fnsave (%ebx); fnstenv (%ebx)");
CODE(load, "fldenv (%esi); fnstenv (%ebx)");
LABEL(loop_at);
CODE(loop, "fninit; mov $3, %ecx; 1:" AT(loop_at) "fld1; fstp %st(0); loop 1b; jmp 2f; 2: fnstenv (%ebx)");
LABEL(stop_at);
CODE(user_part, "fninit; nop" AT(stop_at) "fldl2e");
CODE(kernel_part, "fnstenv (%ebx)");
LABEL(divide_at);
CODE(divide, "fninit; fldcw (%edi); fldz; fld1; fld1" AT(divide_at) "fdiv %st(2), %st; fnstenv (%ebx)");
LABEL(fx_at);
CODE(fx, "fninit" AT(fx_at) "fldpi; fxsave (%ebx)");
CODE(fx_load, "fxrstor (%esi); fnstenv (%ebx)");

#define WAITING(name, insn) ICODE(name, "fninit; fldcw (%edi); fldz; fld1; fdivp;", insn)
WAITING(wait_fldenv, "fldenv (%esi)");
WAITING(wait_frstor, "frstor (%esi)");
WAITING(wait_fldcw, "fldcw (%edi)");
WAITING(wait_fwait, "fwait");
WAITING(wait_add, "fadds (%esi)");
WAITING(wait_mmx, "movq %mm0, %mm1");
WAITING(wait_emms, "emms");
WAITING(wait_mask, "maskmovq %mm0, %mm1");
WAITING(wait_no_page, "frstor 0x800000");

static State prepared(const void *code) {
    State s = kernel_state(code);
    memset(env, 0xee, sizeof env);
    s.ebx = ADDR(env);
    s.esi = ADDR(number);
    return s;
}

static void expect_pointers(u32 ip, u32 op) {
    expect("FIP", env[3], ip);
    expect("FOP", env[4] >> 16 & 0x7ff, op);
}

static void test_instruction(void) {
    State s = prepared(plain), o = run(&s);
    test("FADDP's address after other instructions");
    expect_exit(&o);
    expect_pointers(ADDR(add_at), 0x6c1);
    s = prepared(loop);
    o = run(&s);
    test("across blocks");
    expect_pointers(ADDR(loop_at) + 2, 0x5d8);
    u16 cw = 0x37f;
    s = prepared(control);
    s.edi = ADDR(&cw);
    o = run(&s);
    test("control instructions do not count");
    expect_exit(&o);
    expect_pointers(ADDR(control_at), 0x1e8);
}

static void test_data(void) {
    State s = prepared(memory);
    s.ecx = 2;
    State o = run(&s);
    test("memory operand");
    expect_exit(&o);
    expect_pointers(ADDR(memory_at), 0x044);
    expect("FDP", env[5], ADDR(&number[3]));
}

static void test_clear(void) {
    State s = prepared(init), o = run(&s);
    test("FNINIT clears them");
    expect_exit(&o);
    expect_pointers(0, 0);
    expect("FDP", env[5], 0);
    s = prepared(save);
    s.ebx = ADDR(area);
    run(&s);
    memcpy(env, area, sizeof env);
    test("FNSAVE stores them");
    expect_pointers(ADDR(save_at), 0x106);
    expect("FDP", env[5], ADDR(number));
    s = prepared(after_save);
    s.ebx = ADDR(area);
    run(&s);
    memcpy(env, area, sizeof env);
    test("and clears them");
    expect_pointers(0, 0);
}

static void test_load(void) {
    static const u32 image[7] = { 0xffff037f, 0xffff0000, 0xffffffff, 0x12345678, 0x01230008, 0x9abcdef0,
                                  0xffff0010 };
    State s = prepared(load);
    s.esi = ADDR(image);
    State o = run(&s);
    test("FLDENV loads them");
    expect_exit(&o);
    expect_pointers(0x12345678, 0x123);
    expect("FDP", env[5], 0x9abcdef0);
}

static void test_privilege(void) {
    State s = user_state(user_part);
    run(&s);
    s = prepared(kernel_part);
    run(&s);
    test("user's instruction, stored by the kernel");
    expect_pointers(ADDR(stop_at), 0x1ea);
    expect("FCS", env[4] & 0xffff, UCS);
}

static void test_pending(void) {
    u16 cw = 0x37b;                         // divide by zero unmasked
    State s = prepared(divide);
    s.edi = ADDR(&cw);
    State o = run(&s);
    test("of a pending exception");
    expect_exit(&o);
    expect_pointers(ADDR(divide_at), 0x0f2);
    __asm__ volatile("fninit");
}

// Who waits for the x87 finds its pending exception, and nothing else of it is done.
static void test_waiting(void) {
    static const struct { const char *name; const u8 *code, *at; u32 feature; } rows[] = {
        { "FLDENV", wait_fldenv, wait_fldenv_at, 0 }, { "FRSTOR", wait_frstor, wait_frstor_at, 0 },
        { "FLDCW", wait_fldcw, wait_fldcw_at, 0 },    { "FWAIT", wait_fwait, wait_fwait_at, 0 },
        { "FADD", wait_add, wait_add_at, 0 },         { "MOVQ", wait_mmx, wait_mmx_at, 1u << 23 },
        { "EMMS", wait_emms, wait_emms_at, 1u << 23 }, { "MASKMOVQ", wait_mask, wait_mask_at, 1u << 25 },
        { "FRSTOR from a missing page", wait_no_page, wait_no_page_at, 0 },
    };
    u16 cw = 0x37b;
    for (u32 i = 0; i < COUNT(rows); i++) {
        test("%s with a pending exception is #MF", rows[i].name);
        if ((cpu_features() & rows[i].feature) != rows[i].feature) { skip("not on this processor"); continue; }
        State s = prepared(rows[i].code);
        s.edi = ADDR(&cw);
        State o = run(&s);
        __asm__ volatile("fninit");
        expect("vector", o.vector, V_MF);
        expect("eip", o.eip, ADDR(rows[i].at));
    }
}

static void test_fx(void) {
    if (!(cpu_features() & 1u << 24)) {
        test("FXSAVE");
        skip("no FXSR");
        return;
    }
    State s = prepared(fx);
    s.ebx = ADDR(area);
    State o = run(&s);
    test("FXSAVE stores them");
    expect_exit(&o);
    expect("FIP", area[2], ADDR(fx_at));
    expect("FOP", area[1] >> 16 & 0x7ff, 0x1eb);
    area[2] = 0x55667788;
    s = prepared(fx_load);
    s.esi = ADDR(area);
    o = run(&s);
    test("FXRSTOR loads them");
    expect_exit(&o);
    expect("FIP", env[3], 0x55667788);
}

void test_main(void) {
    set_cr0((get_cr0() | CR0_NE | CR0_MP) & ~(CR0_EM | CR0_TS));
    if (cpu_features() & 1u << 24) set_cr4(get_cr4() | 0x200);
    test_instruction();
    test_data();
    test_clear();
    test_load();
    test_privilege();
    test_pending();
    test_waiting();
    test_fx();
}
