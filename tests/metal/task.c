// SPDX-License-Identifier: MIT
// Tasks: switches by jump, call, interrupt, exception and IRET, to 32- and 16-bit TSSs; what is
// saved and loaded; busy bits, NT, the link, CR0.TS, CR3, LDT, the T bit; each refusal, before and
// after the switch; LTR and LLDT. SDM 3A 7.2, 7.3 (tables 7-1 and 7-2), 7.4, 7.6; SDM 2 LTR, LLDT.
//   T=task tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#define OTHER 0x40u                          // the TSS descriptor switched to
#define GATE 0x48u
#define X 0x50u
#define LDT_SEL 0x58u
#define DPL(n) ((n) << 5)
#define BUSY 2u

typedef struct Tss16 {
    u16 link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss,
        ds, ldt;
} Tss16;
static Tss other;
static Tss16 small;
static u8 other_stack[1024] __attribute__((aligned(16)));
static u64 ldt[4];
static u32 other_dir[1024] __attribute__((aligned(4096)));

CODE(landing, "");
CODE(landing16, "movzwl %sp, %esp");        // the upper half is undefined (table 7-2)
ICODE(jump_task, "", "ljmp $0x40, $0");
ICODE(call_task, "", "lcall $0x40, $0");
ICODE(jump_gate, "", "ljmp $0x48, $0");
ICODE(call_gate, "", "lcall $0x48, $0");
ICODE(int_33, "", "int $0x33");
ICODE(undefined, "", "ud2");
ICODE(bad_load, "", "mov %cx, %ds");
CODE(return_task, "iret");
ICODE(iret_nt, "", "iret");
ICODE(jump_ldt_tss, "", "ljmp $0x44, $0");

static u32 access_of(u32 selector) { return (u32)(gdt[selector >> 3] >> 40) & 0xff; }

static void prepare(void) {
    rt_reset();
    memset(&other, 0, sizeof other);
    other.cr3 = get_cr3();
    other.eip = ADDR(landing);
    other.eflags = F_ONE | F_CF | F_DF | F_AC;
    other.eax = 0x1a1a1a1a;
    other.ecx = 0x1c1c1c1c;
    other.edx = 0x1d1d1d1d;
    other.ebx = 0x1b1b1b1b;
    other.esp = other.esp0 = ADDR(other_stack) + sizeof other_stack;
    other.ebp = 0x1e1e1e1e;
    other.esi = 0x51515151;
    other.edi = 0x61616161;
    other.cs = KCS;
    other.ss = other.ss0 = other.ds = other.es = KDS;
    other.fs = UDS;
    other.iomap = 104;
    gdt_set(OTHER, descriptor(ADDR(&other), 103, D_TSS32));
    gdt_set(GATE, gate(OTHER, 0, D_TASK, 0));
    idt[0x33] = gate(OTHER, 0, D_TASK | DPL(3), 0);
}

// What the incoming task must look like at its INT 30h.
static void expect_incoming(const State *o, u32 flags, u32 pushed) {
    State want = { .eax = other.eax, .ecx = other.ecx, .edx = other.edx, .ebx = other.ebx,
                   .esp = ADDR(other_stack) + sizeof other_stack - pushed, .ebp = other.ebp,
                   .esi = other.esi, .edi = other.edi, .eip = ADDR(landing_end),
                   .eflags = F_ONE | F_CF | F_DF | F_AC | flags, .cs = KCS, .ss = KDS, .ds = KDS,
                   .es = KDS, .fs = UDS };
    expect_exit(o);
    expect_same(o, &want, ALL);
    expect("CR0.TS", get_cr0() & CR0_TS, CR0_TS);
    u32 tr;
    __asm__ volatile("str %0" : "=r"(tr));
    expect("TR", tr & 0xffff, OTHER);
}

static void expect_saved(const State *s, u32 eip, u32 eflags) {
    State got = { tss.eax, tss.ecx, tss.edx,    tss.ebx, tss.esp, tss.ebp, tss.esi,
                  tss.edi, tss.eip, tss.eflags, tss.cs,  tss.ss,  tss.ds,  tss.es,
                  tss.fs,  tss.gs,  0,          0,       0,       0,       0 };
    State want = *s;
    want.eip = eip;
    want.eflags = eflags;
    expect_same(&got, &want, ALL);
}

static void run_switch(const char *name, const u8 *code, const u8 *next, u32 ring, u32 nested) {
    test("task/32/%s/ring%u", name, ring);
    prepare();
    if (ring) gdt_set(OTHER, descriptor(ADDR(&other), 103, D_TSS32 | DPL(3)));
    if (ring) gdt_set(GATE, gate(OTHER, 0, D_TASK | DPL(3), 0));
    State s = ring_state(ring, code);
    s.eflags |= F_ZF | F_OF;
    if (!nested) other.link = 0x1234;
    State o = run(&s);
    expect_incoming(&o, nested ? F_NT : 0, 0);
    expect_saved(&s, ADDR(next), s.eflags);
    expect("link", other.link, nested ? TSS_SEL : 0x1234);
    expect("old descriptor", access_of(TSS_SEL), D_TSS32 | (nested ? BUSY : 0));
    expect("new descriptor", access_of(OTHER), D_TSS32 | BUSY | (ring ? DPL(3) : 0));
}

static void run_exception(void) {
    test("task/32/exception without error code");
    prepare();
    idt[V_UD] = gate(OTHER, 0, D_TASK, 0);
    State s = user_state(undefined), o = run(&s);
    expect_incoming(&o, F_NT, 0);
    expect_saved(&s, ADDR(undefined_at), s.eflags | F_RF);
    test("task/32/exception with an error code");
    prepare();
    idt[V_GP] = gate(OTHER, 0, D_TASK, 0);
    s = user_state(bad_load);
    s.ecx = 0x1203;
    o = run(&s);
    expect_incoming(&o, F_NT, 4);
    expect_saved(&s, ADDR(bad_load_at), s.eflags | F_RF);
    expect("error code", *(u32 *)o.esp, 0x1200);
}

static void run_return(void) {
    for (u32 by_int = 0; by_int < 2; by_int++) {
        test("task/32/%s and IRET back", by_int ? "INT" : "call");
        prepare();
        other.eip = ADDR(return_task);
        State s = user_state(by_int ? int_33 : call_task);
        gdt_set(OTHER, descriptor(ADDR(&other), 103, D_TSS32 | DPL(3)));
        s.eflags |= F_ZF | F_OF;
        State o = run(&s), want = s;
        want.eip = ADDR(by_int ? int_33_end : call_task_end);
        expect_exit(&o);
        expect_same(&o, &want, ALL);
        expect("old descriptor", access_of(TSS_SEL), D_TSS32 | BUSY);
        expect("other descriptor", access_of(OTHER), D_TSS32 | DPL(3));
        expect("other's eflags", other.eflags, F_ONE | F_CF | F_DF | F_AC); // NT cleared when saved
        expect("other's eip", other.eip, ADDR(return_task) + 1);
        expect("TR", ({ u32 tr; __asm__ volatile("str %0" : "=r"(tr)); tr & 0xffff; }), TSS_SEL);
    }
}

static void run_16(void) {
    for (u32 call = 0; call < 2; call++) {
        test("task/16/%s", call ? "call" : "jump");
        prepare();
        u32 base = ADDR(landing16) & ~0xfffu;
        gdt_set(X, descriptor(base, 0xfffff, D_CODE | D_32 | D_G));
        small = (Tss16){ .ip = (u16)(ADDR(landing16) - base),
                         .flags = F_ONE | F_CF,
                         .ax = 1,
                         .cx = 2,
                         .dx = 3,
                         .bx = 4,
                         .sp = 0x300,
                         .bp = 6,
                         .si = 7,
                         .di = 8,
                         .es = KDS,
                         .cs = X,
                         .ss = 0x60,
                         .ds = KDS,
                         .sp0 = 0x300,
                         .ss0 = 0x60,
                         .link = 0x77 };
        gdt_set(0x60, descriptor(ADDR(other_stack), 0x3ff, D_DATA | D_32));
        gdt_set(OTHER, descriptor(ADDR(&small), 43, D_TSS16));
        State s = kernel_state(call ? call_task : jump_task);
        State o = run(&s);
        State want = { .eax = 0xffff0001, .ecx = 0xffff0002, .edx = 0xffff0003, .ebx = 0xffff0004,
                       .ebp = 0xffff0006, .esi = 0xffff0007, .edi = 0xffff0008, .cs = X, .ss = 0x60,
                       .ds = KDS, .es = KDS, .eip = ADDR(landing16_end) - base, .esp = 0x300,
                       .eflags = F_ONE | F_CF | (call ? F_NT : 0) };
        expect_exit(&o);
        // the upper halves of general registers are undefined (table 7-2); FS and GS are null
        for (u32 i = 0; i < 8; i++)
            if (i != 4) expect("register", (&o.eax)[i] & 0xffff, (&want.eax)[i] & 0xffff);
        expect_same(&o, &want, EIP | FLAGS | SEGS);
        expect("link", small.link, call ? TSS_SEL : 0x77);
        expect_saved(&s, ADDR(call ? call_task_next : jump_task_next), s.eflags);
        expect("new descriptor", access_of(OTHER), D_TSS16 | BUSY);
    }
}

static void run_address_space(void) {
    test("task/32/CR3 and LDT are loaded");
    prepare();
    memcpy(other_dir, page_dir, sizeof other_dir);
    other_dir[2] = ADDR(page_win) | PTE_ALL;             // the window once more at 8 MiB
    other.cr3 = ADDR(other_dir);
    ldt[1] = descriptor(0x800000, 0xfff, D_DATA | D_32);
    gdt_set(LDT_SEL, descriptor(ADDR(ldt), 31, D_LDT));
    other.ldt = LDT_SEL;
    other.fs = 0x0c;
    other.eip = ADDR(undefined);
    extern const u8 read_fs[];
    other.eip = ADDR(read_fs);
    State s = kernel_state(jump_task), o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, *(u32 *)win_phys(0));
    expect("cr3", get_cr3(), ADDR(other_dir));
    u32 sel;
    __asm__ volatile("sldt %0" : "=r"(sel));
    expect("LDTR", sel & 0xffff, LDT_SEL);
}
CODE(read_fs, "mov %fs:0, %eax");

static void run_trap_bit(void) {
    test("task/32/T bit, #DB before the first instruction");
    prepare();
    other.trap = 1;
    State s = kernel_state(jump_task), o = run(&s);
    expect("vector", o.vector, V_DB);
    expect("eip", o.eip, ADDR(landing));
    expect_bits("dr6", o.dr6, 0x8000, 0xe00f);
    expect("eax", o.eax, other.eax);
}

// ---- refusals -----------------------------------------------------------------------------------
static void run_refused(const char *name, u32 ring, const u8 *code, const u8 *at, u32 limit,
                        u32 access, u32 vector, u32 error) {
    test("task/refused/%s/ring%u", name, ring);
    prepare();
    gdt_set(OTHER, descriptor(ADDR(&other), limit, access));
    gdt_set(GATE, gate(OTHER, 0, D_TASK | DPL(ring), 0));
    State s = ring_state(ring, code), o = run(&s);
    expect_fault(&o, &s, vector, error, ADDR(at));
    expect("descriptor", access_of(OTHER), access & 0xff);
    expect("own descriptor", access_of(TSS_SEL), D_TSS32 | BUSY);
}

static void run_refusals(void) {
    run_refused("jump, dpl 0", 3, jump_task, jump_task_at, 103, D_TSS32, V_GP, OTHER);
    run_refused("call, dpl 0", 3, call_task, call_task_at, 103, D_TSS32, V_GP, OTHER);
    run_refused("jump, busy", 0, jump_task, jump_task_at, 103, D_TSS32 | BUSY, V_GP, OTHER);
    run_refused("call, busy", 0, call_task, call_task_at, 103, D_TSS32 | BUSY, V_GP, OTHER);
    run_refused("jump, not present", 0, jump_task, jump_task_at, 103, D_TSS32 & ~0x80, V_NP, OTHER);
    run_refused("jump, too short", 0, jump_task, jump_task_at, 102, D_TSS32, V_TS, OTHER);
    run_refused("call, 16 bit too short", 0, call_task, call_task_at, 42, D_TSS16, V_TS, OTHER);
    run_refused("gate, busy", 0, call_gate, call_gate_at, 103, D_TSS32 | BUSY, V_GP, OTHER);
    run_refused("gate, not present TSS", 0, call_gate, call_gate_at, 103, D_TSS32 & ~0x80, V_NP,
                OTHER);
    run_refused("gate, not a TSS", 0, jump_gate, jump_gate_at, 103, D_LDT, V_GP, OTHER);
    run_refused("INT, busy", 3, int_33, int_33_at, 103, D_TSS32 | BUSY, V_GP, OTHER);
    run_refused("INT, not present TSS", 3, int_33, int_33_at, 103, D_TSS32 & ~0x80, V_NP, OTHER);
    run_refused("INT, too short", 3, int_33, int_33_at, 50, D_TSS32, V_TS, OTHER);
    test("task/refused/gate not present");
    prepare();
    gdt_set(GATE, gate(OTHER, 0, D_TASK & ~0x80, 0));
    State s = kernel_state(jump_gate), o = run(&s);
    expect_fault(&o, &s, V_NP, GATE, ADDR(jump_gate_at));
    test("task/refused/gate dpl 0 from ring 3");
    prepare();
    s = user_state(jump_gate);
    o = run(&s);
    expect_fault(&o, &s, V_GP, GATE, ADDR(jump_gate_at));
    test("task/refused/TSS in the LDT");
    prepare();
    gdt_set(LDT_SEL, descriptor(ADDR(gdt), 511, D_LDT));
    __asm__ volatile("lldt %w0" :: "r"(LDT_SEL));
    s = kernel_state(jump_ldt_tss);
    o = run(&s);
    expect_fault(&o, &s, V_GP, 0x44, ADDR(jump_ldt_tss_at));
    __asm__ volatile("lldt %w0" :: "r"(0));
}

// IRET with NT: the link must lead to a busy TSS.
static void run_bad_links(void) {
    static const struct { const char *name; u32 link, access, limit, vector, error; } bad[] = {
        { "not busy", OTHER, D_TSS32, 103, V_TS, OTHER },
        { "null", 0, D_TSS32, 103, V_TS, 0 },
        { "in the LDT", OTHER | 4, D_TSS32 | BUSY, 103, V_TS, OTHER | 4 },
        { "beyond the GDT", 0x200, D_TSS32 | BUSY, 103, V_TS, 0x200 },
        { "not present", OTHER, (D_TSS32 | BUSY) & ~0x80, 103, V_NP, OTHER },
        { "too short", OTHER, D_TSS32 | BUSY, 50, V_TS, OTHER },
        { "not a TSS", OTHER, D_LDT, 103, V_TS, OTHER },
    };
    for (u32 i = 0; i < COUNT(bad); i++) {
        test("task/IRET refused/link %s", bad[i].name);
        prepare();
        gdt_set(OTHER, descriptor(ADDR(&other), bad[i].limit, bad[i].access));
        tss.link = bad[i].link;
        State s = kernel_state(iret_nt);
        s.eflags |= F_NT;
        // the runtime's own IRET must not see NT: it is set by the code
        extern const u8 set_nt[], set_nt_iret[];
        s = kernel_state(set_nt);
        State o = run(&s);
        State want = s;
        want.eflags |= F_NT;
        expect_fault(&o, &want, bad[i].vector, bad[i].error, ADDR(set_nt_iret));
    }
}
CODE(set_nt, "pushf; orw $0x4000, (%esp); popf" AT(set_nt_iret) "iret");

// After the switch has been made, faults belong to the new task, at its first instruction.
static void run_late(void) {
    static const struct {
        const char *name;
        u32 *field;
        u32 value, access, vector, error;
    } bad[] = {
        { "cs null", &other.cs, 0, 0, V_TS, 0 },
        { "cs is data", &other.cs, X, D_DATA | D_32 | D_G, V_TS, X },
        { "cs not present", &other.cs, X, (D_CODE | D_32 | D_G) & ~0x80, V_NP, X },
        { "cs rpl and dpl differ", &other.cs, X, D_CODE | D_32 | D_G | DPL(3), V_TS, X },
        { "ss null", &other.ss, 0, 0, V_TS, 0 },
        { "ss read-only", &other.ss, X, (D_DATA | D_32 | D_G) & ~2, V_TS, X },
        { "ss not present", &other.ss, X, (D_DATA | D_32 | D_G) & ~0x80, V_SS, X },
        { "ss rpl 3", &other.ss, UDS, 0, V_TS, UDS & ~3u },
        { "ds execute-only", &other.ds, X, (D_CODE | D_32 | D_G) & ~2, V_TS, X },
        { "ds not present", &other.ds, X, (D_DATA | D_32 | D_G) & ~0x80, V_NP, X },
        { "gs beyond the GDT", &other.gs, 0x200, 0, V_TS, 0x200 },
        { "es is a TSS", &other.es, OTHER, D_TSS32, V_TS, OTHER },
        { "LDT not present", &other.ldt, X, D_LDT & ~0x80, V_TS, X },
        { "LDT is data", &other.ldt, X, D_DATA, V_TS, X },
        { "eip beyond the limit of cs", &other.cs, X, D_CODE | D_32, V_GP, 0 },
    };
    // The handler must not depend on the new task's segments: #TS and the others through a task
    // gate.
    static Tss handler;
    static u8 handler_stack[512] __attribute__((aligned(16)));
    for (u32 i = 0; i < COUNT(bad); i++) {
        test("task/after the switch/%s", bad[i].name);
        prepare();
        u32 limit = bad[i].vector == V_GP ? 0xff : 0xfffff;
        if (bad[i].access && bad[i].value == X) gdt_set(X, descriptor(0, limit, bad[i].access));
        *bad[i].field = bad[i].value;
        memset(&handler, 0, sizeof handler);
        handler.cr3 = get_cr3();
        handler.eip = ADDR(rt_stubs) + 16 * bad[i].vector;
        handler.eflags = F_ONE;
        handler.esp = ADDR(handler_stack) + sizeof handler_stack - 64;
        handler.cs = KCS;
        handler.ss = handler.ds = handler.es = KDS;
        gdt_set(0x68, descriptor(ADDR(&handler), 103, D_TSS32));
        idt[bad[i].vector] = gate(0x68, 0, D_TASK, 0);
        State s = kernel_state(jump_task), o = run(&s);
        extern u32 rt_raw[];
        expect("vector", o.vector, bad[i].vector);
        expect("error", rt_raw[13], bad[i].error);
        expect("came from", handler.link, OTHER);
        expect("saved eip", other.eip, ADDR(landing));
        expect("saved eax", other.eax, 0x1a1a1a1a);
    }
}

// ---- LTR and LLDT -------------------------------------------------------------------------------
ICODE(ltr_cx, "", "ltr %cx");
ICODE(lldt_cx, "", "lldt %cx");
CODE(ltr_str, "ltr %cx; str %eax");
static void run_registers(void) {
    static const struct {
        const char *name;
        u32 ldt, selector, access, ring, vector, error;
    } rows[] = {
        { "ltr null", 0, 0, 0, 0, V_GP, 0 },
        { "ltr beyond the GDT", 0, 0x200, 0, 0, V_GP, 0x200 },
        { "ltr in the LDT", 0, X | 4, D_TSS32, 0, V_GP, X | 4 },
        { "ltr busy", 0, X, D_TSS32 | BUSY, 0, V_GP, X },
        { "ltr data", 0, X, D_DATA, 0, V_GP, X },
        { "ltr LDT", 0, X, D_LDT, 0, V_GP, X },
        { "ltr not present", 0, X, D_TSS32 & ~0x80, 0, V_NP, X },
        { "ltr ring 3", 0, X | 3, D_TSS32, 3, V_GP, 0 },
        { "ltr fine", 0, X, D_TSS32, 0, V_EXIT, 0 },
        { "ltr 16 bit fine", 0, X, D_TSS16, 0, V_EXIT, 0 },
        { "lldt beyond the GDT", 1, 0x200, 0, 0, V_GP, 0x200 },
        { "lldt in the LDT", 1, X | 4, D_LDT, 0, V_GP, X | 4 },
        { "lldt data", 1, X, D_DATA, 0, V_GP, X },
        { "lldt TSS", 1, X, D_TSS32, 0, V_GP, X },
        { "lldt not present", 1, X, D_LDT & ~0x80, 0, V_NP, X },
        { "lldt ring 3", 1, X, D_LDT, 3, V_GP, 0 },
        { "lldt null is fine", 1, 0, 0, 0, V_EXIT, 0 },
        { "lldt fine", 1, X, D_LDT, 0, V_EXIT, 0 },
    };
    for (u32 i = 0; i < COUNT(rows); i++) {
        test("task/register/%s", rows[i].name);
        prepare();
        gdt_set(X, descriptor(ADDR(&other), 103, rows[i].access));
        State s = ring_state(rows[i].ring, rows[i].ldt ? lldt_cx : ltr_cx);
        s.ecx = 0x12340000 | rows[i].selector;
        State o = run(&s);
        u32 busy = rows[i].vector == V_EXIT && !rows[i].ldt ? BUSY : 0;
        if (rows[i].vector == V_EXIT) expect_exit(&o);
        else
            expect_fault(&o, &s, rows[i].vector, rows[i].error,
                         ADDR(rows[i].ldt ? lldt_cx_at : ltr_cx_at));
        expect("descriptor", access_of(X), (rows[i].access & 0xff) | busy);
        __asm__ volatile("lldt %w0" :: "r"(0));
    }
}

void test_main(void) {
    run_switch("jump", jump_task, jump_task_next, 0, 0);
    run_switch("jump", jump_task, jump_task_next, 3, 0);
    run_switch("call", call_task, call_task_next, 0, 1);
    run_switch("call", call_task, call_task_next, 3, 1);
    run_switch("jump through a gate", jump_gate, jump_gate_next, 3, 0);
    run_switch("call through a gate", call_gate, call_gate_next, 3, 1);
    run_switch("INT", int_33, int_33_next, 0, 1);
    run_switch("INT", int_33, int_33_next, 3, 1);
    run_exception();
    run_return();
    run_16();
    run_address_space();
    run_trap_bit();
    run_refusals();
    run_bad_links();
    run_late();
    run_registers();
    rt_reset();
}
