// SPDX-License-Identifier: MIT
// Every exception that an instruction can cause, from ring 0 and ring 3: vector, error code, saved
// CS:EIP and EFLAGS, registers untouched; RF in the image (1 for faults, 0 for traps); the IDT's
// own errors; double faults. SDM 3A 6.5, 6.8, 6.13, 6.15 (interrupt 8), 17.3.1.1 (RF).
//   tests/metal/run.sh build/glassbox qemu-system-i386 bochs    (T=exc: this one only)
#include "rt.h"

ICODE(de_div, "", "div %ecx");
ICODE(de_div8, "", "div %cl");
ICODE(de_idiv, "", "idiv %ecx");
ICODE(de_idiv_min, "", "idiv %ecx");
ICODE(de_mem, "", "divl (%ebx)");
ICODE(de_aam, "", "aam $0");
ICODE(db_icebp, "", ".byte 0xf1");
ICODE(bp_int3, "", "int3");
ICODE(bp_int_3, "", ".byte 0xcd, 3");
ICODE(of_into, "", "into");
ICODE(of_int_4, "", "int $4");
ICODE(br_bound, "", "bound %ecx, (%ebx)");
ICODE(br_bound16, "", "boundw %cx, (%ebx)");
ICODE(ud_ud2, "", "ud2");
ICODE(ud_0fff, "", ".byte 0x0f, 0xff, 0xc0");
ICODE(ud_mov_cs, "", ".byte 0x8e, 0xc8");
ICODE(ud_les_reg, "", ".byte 0xc4, 0xc0");
ICODE(nm_fld, "", "fld1");
ICODE(nm_fwait, "", "fwait");
ICODE(np_ds, "", "mov %cx, %ds");
ICODE(ss_limit, "", "mov %ss:0xfffffffd, %eax");
ICODE(gp_selector, "", "mov %cx, %ds");
ICODE(gp_null, "", "mov %fs:0, %eax");
ICODE(gp_store_cs, "", "mov %eax, %cs:(%ebx)");
ICODE(gp_int_31, "", "int $0x31");
ICODE(gp_int_beyond, "", "int $0x40");
ICODE(np_int_32, "", "int $0x32");
ICODE(gp_hlt, "", "hlt");
ICODE(pf_read, "", "mov (%ebx), %eax");
ICODE(pf_write, "", "mov %eax, (%ebx)");
ICODE(pf_readonly, "", "mov %eax, (%ebx)");
ICODE(mf_fwait, "", "fwait");
ICODE(mf_fld, "", "fld1");
ICODE(mf_fldcw, "", "fldcw (%ebx)");
ICODE(mf_fldenv, "", "fldenv (%ebx)");
ICODE(mf_frstor, "", "frstor (%ebx)");
ICODE(mf_frstor16, "", "data16 frstor (%ebx)");
ICODE(mf_emms, "", "emms");
CODE(nowait_x87, "fnstcw (%ebx); fnstsw (%ebx); fnstenv (%ebx); fnsave (%ebx)");
CODE(nowait_fx, "fxsave (%ebx); fxrstor (%ebx); fnclex");
ICODE(ac_load, "", "mov 1(%ebx), %eax");
ICODE(ac_load16, "", "movw 1(%ebx), %ax");
ICODE(ac_store, "", "mov %eax, 2(%ebx)");
ICODE(ac_push, "", "push %eax");
ICODE(ac_rmw, "", "addl %eax, 3(%ebx)");
ICODE(ac_fld, "", "fldl 4(%ebx)");

// ---- circumstances ------------------------------------------------------------------------------
static void none(State *s) { (void)s; }
static void zero_ecx(State *s) { s->ecx = 0; }
static void zero_cl(State *s) { s->ecx = 0xc0c1c200; }
static void idiv_min(State *s) {
    s->eax = 0x80000000;
    s->edx = 0xffffffff;
    s->ecx = 0xffffffff;
}
static void at_window(State *s) { s->ebx = win(0); }
static void divide_by_window(State *s) {
    s->ebx = win(0);
    memset(win_phys(0), 0, 4);
}
static void overflow(State *s) { s->eflags |= F_OF; }
static void out_of_bounds(State *s) {
    i32 *b = (i32 *)win_phys(0);
    s->ebx = win(0);
    s->ecx = 11;
    b[0] = -5;
    b[1] = 10;
}
static void out_of_bounds16(State *s) {
    short *b = (short *)win_phys(0);
    s->ebx = win(0);
    s->ecx = 0x1234fffa;
    b[0] = -5;
    b[1] = 10;
}
static void task_switched(State *s) {
    (void)s;
    set_cr0(get_cr0() | CR0_TS);
}
static void emulated(State *s) {
    (void)s;
    set_cr0(get_cr0() | CR0_EM);
}
static void not_present(State *s) {
    gdt_set(0x40, descriptor(0, 0xffff, D_DATA & ~0x80) | (u64)0x60 << 40);
    s->ecx = 0x12340000 | 0x40 | (s->cs & 3);
}
static void beyond_gdt(State *s) { s->ecx = 0x1203; }
static void unpresent_page(State *s) {
    s->ebx = win(0) + 0x123;
    map(0, 0);
}
static void supervisor_page(State *s) {
    s->ebx = win(0) + 0x123;
    map(0, PTE_P | PTE_W);
}
static void readonly_page(State *s) {
    s->ebx = win(0) + 0x123;
    map(0, PTE_P | PTE_U);
    set_cr0(get_cr0() | CR0_WP);
}
static void fpu_error(State *s) {
    static const u16 control = 0x37b;                    // division by zero unmasked
    (void)s;
    __asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp" :: "m"(control));
}
static void fpu_error_window(State *s) {
    s->ebx = win(0);
    memset(win_phys(0), 0xff, 128);
    fpu_error(s);
}
static void fpu_error_sse(State *s) {
    fpu_error_window(s);
    if (cpu_features() & 1u << 24) set_cr4(get_cr4() | 0x200);
}
static void aligned(State *s) {
    s->ebx = win(0);
    s->eflags |= F_AC;
    set_cr0(get_cr0() | CR0_AM);
}
static void misaligned_stack(State *s) {
    aligned(s);
    s->esp -= 2;
}
static void smaller_stack(State *s) {
    u32 selector = 0x40 | (s->cs & 3);
    gdt_set(0x40,
            descriptor(0, 0xfffff - 1, D_DATA | D_32 | D_G | D_ACCESSED | (s->cs & 3 ? 0x60 : 0)));
    s->ss = selector;
}
static void gate_closed(State *s) {
    (void)s;
    idt[0x32] &= ~((u64)0x8000 << 32);
    idt[0x32] |= (u64)0x6000 << 32;
}

// ---- table --------------------------------------------------------------------------------------
enum { RING0 = 1, RING3 = 2, BOTH = 3, TRAP = 4 };
typedef struct Case {
    const char *name;
    const u8 *code, *at, *next;
    u32 vector, error, how;
    void (*prepare)(State *s);
    u32 user_error;                      // what ring 3 adds to the error code
} Case;
#define CASE(name, vector, error, how, prepare, user) \
    { #name " " #prepare, name, name##_at, name##_next, vector, error, how, prepare, user }

static const Case cases[] = {
    CASE(de_div, V_DE, 0, BOTH, zero_ecx, 0),
    CASE(de_div8, V_DE, 0, BOTH, zero_cl, 0),
    CASE(de_idiv, V_DE, 0, BOTH, zero_ecx, 0),
    CASE(de_idiv_min, V_DE, 0, BOTH, idiv_min, 0),
    CASE(de_mem, V_DE, 0, BOTH, divide_by_window, 0),
    CASE(de_aam, V_DE, 0, BOTH, none, 0),
    CASE(db_icebp, V_DB, 0, BOTH | TRAP, none, 0),
    CASE(bp_int3, V_BP, 0, BOTH | TRAP, none, 0),
    CASE(bp_int_3, V_BP, 0, BOTH | TRAP, none, 0),
    CASE(of_into, V_OF, 0, BOTH | TRAP, overflow, 0),
    CASE(of_int_4, V_OF, 0, BOTH | TRAP, none, 0),
    CASE(br_bound, V_BR, 0, BOTH, out_of_bounds, 0),
    CASE(br_bound16, V_BR, 0, BOTH, out_of_bounds16, 0),
    CASE(ud_ud2, V_UD, 0, BOTH, none, 0),
    CASE(ud_0fff, V_UD, 0, BOTH, none, 0),
    CASE(ud_mov_cs, V_UD, 0, BOTH, none, 0),
    CASE(ud_les_reg, V_UD, 0, BOTH, none, 0),
    CASE(nm_fld, V_NM, 0, BOTH, task_switched, 0),
    CASE(nm_fld, V_NM, 0, BOTH, emulated, 0),
    CASE(nm_fwait, V_NM, 0, BOTH, task_switched, 0),
    CASE(np_ds, V_NP, 0x40, BOTH, not_present, 0),
    CASE(ss_limit, V_SS, 0, BOTH, smaller_stack, 0),
    CASE(gp_selector, V_GP, 0x1200, BOTH, beyond_gdt, 0),
    CASE(gp_null, V_GP, 0, BOTH, none, 0),
    CASE(gp_store_cs, V_GP, 0, BOTH, at_window, 0),
    CASE(gp_int_31, V_GP, 0x31 * 8 + 2, RING3, none, 0),
    CASE(gp_int_beyond, V_GP, 0x40 * 8 + 2, BOTH, none, 0),
    CASE(np_int_32, V_NP, 0x32 * 8 + 2, BOTH, gate_closed, 0),
    CASE(gp_hlt, V_GP, 0, RING3, none, 0),
    CASE(pf_read, V_PF, 0, BOTH, unpresent_page, 4),
    CASE(pf_write, V_PF, 2, BOTH, unpresent_page, 4),
    CASE(pf_read, V_PF, 1, RING3, supervisor_page, 4),
    CASE(pf_write, V_PF, 3, RING3, supervisor_page, 4),
    CASE(pf_readonly, V_PF, 3, BOTH, readonly_page, 4),
    CASE(mf_fwait, V_MF, 0, BOTH, fpu_error, 0),
    CASE(mf_fld, V_MF, 0, BOTH, fpu_error, 0),
    CASE(mf_fldcw, V_MF, 0, BOTH, fpu_error_window, 0),
    CASE(mf_fldenv, V_MF, 0, BOTH, fpu_error_window, 0),
    CASE(mf_frstor, V_MF, 0, BOTH, fpu_error_window, 0),
    CASE(mf_frstor16, V_MF, 0, BOTH, fpu_error_window, 0),
    CASE(mf_emms, V_MF, 0, BOTH, fpu_error_window, 0),
    CASE(ac_load, V_AC, 0, RING3, aligned, 0),
    CASE(ac_load16, V_AC, 0, RING3, aligned, 0),
    CASE(ac_store, V_AC, 0, RING3, aligned, 0),
    CASE(ac_push, V_AC, 0, RING3, misaligned_stack, 0),
    CASE(ac_rmw, V_AC, 0, RING3, aligned, 0),
    CASE(ac_fld, V_AC, 0, RING3, aligned, 0),
};

static void run_case(const Case *c, unsigned ring) {
    rt_reset();
    State s = ring_state(ring, c->code);
    c->prepare(&s);
    State o = run(&s);
    u32 error = c->error + (ring ? c->user_error : 0);
    test("exc/%s/error %x/ring%u", c->name, error, ring);
    expect_fault(&o, &s, c->vector, error, ADDR(c->how & TRAP ? c->next : c->at));
    if (c->vector == V_PF) expect("cr2", o.cr2, win(0) + 0x123);
    test("exc/%s/error %x/ring%u/RF", c->name, error, ring);
    expect("vector", o.vector, c->vector);
    expect_bits("eflags", o.eflags, c->how & TRAP ? 0 : F_RF, F_RF);
}

// ---- no exception where there is none -----------------------------------------------------------
static const struct {
    const char *name;
    const u8 *code;
    void (*prepare)(State *s);
    u32 rings;
} quiet[] = {
    { "into without OF", of_into, none, BOTH },
    { "fwait with TS, without MP", nm_fwait, task_switched, BOTH },
    { "fwait with EM", nm_fwait, emulated, BOTH },
    { "alignment is not checked in ring 0", ac_load, aligned, RING0 },
    { "fnstcw, fnstsw, fnstenv, fnsave with an x87 error", nowait_x87, fpu_error_window, BOTH },
    { "fxsave, fxrstor with an x87 error", nowait_fx, fpu_error_sse, BOTH },
};

static void run_quiet(void) {
    for (unsigned i = 0; i < COUNT(quiet); i++) {
        for (unsigned ring = 0; ring < 4; ring += 3) {
            if (!(quiet[i].rings & (ring ? RING3 : RING0))) continue;
            rt_reset();
            State s = ring_state(ring, quiet[i].code);
            quiet[i].prepare(&s);
            if (i == 1) set_cr0(get_cr0() & ~CR0_MP);
            State o = run(&s);
            test("exc/quiet/%s/ring%u", quiet[i].name, ring);
            expect_exit(&o);
        }
    }
}

// AC needs all of CPL 3, AM and AC.
static void run_no_ac(void) {
    for (unsigned which = 0; which < 2; which++) {
        rt_reset();
        State s = user_state(ac_load);
        aligned(&s);
        if (which) set_cr0(get_cr0() & ~CR0_AM);
        else s.eflags &= ~F_AC;
        State o = run(&s);
        test("exc/quiet/misaligned without %s", which ? "AM" : "AC");
        expect_exit(&o);
    }
}

// ---- an exception while one is delivered --------------------------------------------------------
static void close_gate(u32 vector) { idt[vector] &= ~((u64)0x8000 << 32); }

typedef struct Second {
    const char *name;
    const u8 *code, *at;
    void (*prepare)(State *s);
    u32 closed;                          // this vector's gate is not present
    u32 vector, error;                   // what arrives
} Second;

static const Second seconds[] = {
    { "#UD then #NP is #NP", ud_ud2, ud_ud2_at, none, V_UD, V_NP, V_UD * 8 + 3 },
    { "#NM then #NP is #NP", nm_fld, nm_fld_at, task_switched, V_NM, V_NP, V_NM * 8 + 3 },
    { "#BR then #NP is #NP", br_bound, br_bound_at, out_of_bounds, V_BR, V_NP, V_BR * 8 + 3 },
    { "#DE then #NP is #DF", de_div, de_div_at, zero_ecx, V_DE, V_DF, 0 },
    { "#GP then #NP is #DF", gp_selector, gp_selector_at, beyond_gdt, V_GP, V_DF, 0 },
    { "#NP then #NP is #DF", np_ds, np_ds_at, not_present, V_NP, V_DF, 0 },
    { "#SS then #NP is #DF", ss_limit, ss_limit_at, smaller_stack, V_SS, V_DF, 0 },
    { "#PF then #NP is #DF", pf_read, pf_read_at, unpresent_page, V_PF, V_DF, 0 },
};

static void run_second(const Second *c, unsigned ring) {
    rt_reset();
    State s = ring_state(ring, c->code);
    c->prepare(&s);
    close_gate(c->closed);
    State o = run(&s);
    test("exc/second/%s/ring%u", c->name, ring);
    expect_fault(&o, &s, c->vector, c->error, ADDR(c->at));
}

// The gate's target is bad: the error names the selector, with EXT for exceptions, without for INT.
static void run_bad_target(unsigned ring, u32 selector, u32 access, u32 vector) {
    rt_reset();
    gdt_set(0x48, descriptor(0, 0xfffff, access));
    idt[V_UD] = gate(selector, ADDR(rt_stubs) + 16 * V_UD, D_INT32, 0);
    idt[0x33] = gate(selector, ADDR(rt_stubs) + 16 * 0x33, D_INT32 | D_DPL3, 0);
    State s = ring_state(ring, ud_ud2), o = run(&s);
    test("exc/gate to selector %x access %x/exception/ring%u", selector, access, ring);
    expect_fault(&o, &s, vector, (selector & 0xfffc) | 1, ADDR(ud_ud2_at));
    extern const u8 int_33[], int_33_at[];
    s = ring_state(ring, int_33);
    o = run(&s);
    test("exc/gate to selector %x access %x/INT/ring%u", selector, access, ring);
    expect_fault(&o, &s, vector, selector & 0xfffc, ADDR(int_33_at));
}
ICODE(int_33, "", "int $0x33");

// #PF inside the delivery of #PF: the stack of ring 0 is missing when ring 3 faults.
static void run_missing_stack(void) {
    rt_reset();
    tss.esp0 = win(2);
    map(1, 0);
    static Tss df;
    memset(&df, 0, sizeof df);
    df.cr3 = get_cr3();
    df.eip = ADDR(rt_stubs) + 16 * V_DF;
    df.eflags = 2;
    df.esp = df.esp0 = ADDR(esp0_stack) + 4096;
    df.cs = KCS;
    df.ss = df.ss0 = df.ds = df.es = KDS;
    gdt_set(0x50, descriptor(ADDR(&df), 103, D_TSS32));
    idt[V_DF] = gate(0x50, 0, D_TASK, 0);
    State s = user_state(pf_read);
    s.ebx = win(0);
    map(0, 0);
    State o = run(&s);
    (void)o;
    test("exc/#PF on a missing ring 0 stack is #DF through a task gate");
    extern u32 rt_raw[];
    expect("vector", rt_raw[12], V_DF);
    expect("error", rt_raw[13], 0);
    expect("link", df.link, TSS_SEL);
    expect("saved eip", tss.eip, ADDR(pf_read_at));
    expect("saved cs", tss.cs & 0xffff, UCS);
    expect("saved esp", tss.esp, s.esp);
    expect("saved ebx", tss.ebx, s.ebx);
    expect("cr2", rt_raw[12] == V_DF ? o.cr2 : 0, win(2) - 4);
    __asm__ volatile("pushfl; andl $~0x4000, (%%esp); popfl" ::: "memory");
}

void test_main(void) {
    for (unsigned i = 0; i < COUNT(cases); i++) {
        if (cases[i].how & RING0) run_case(&cases[i], 0);
        if (cases[i].how & RING3) run_case(&cases[i], 3);
    }
    run_quiet();
    run_no_ac();
    for (unsigned i = 0; i < COUNT(seconds); i++) {
        run_second(&seconds[i], 0);
        run_second(&seconds[i], 3);
    }
    for (unsigned ring = 0; ring < 4; ring += 3) {
        run_bad_target(ring, 0x48, D_CODE & ~0x80, V_NP);
        run_bad_target(ring, 0x48, D_DATA, V_GP);
        run_bad_target(ring, 0x1000, D_CODE, V_GP);
    }
    run_missing_stack();
    rt_reset();
}
