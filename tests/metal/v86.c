// SPDX-License-Identifier: MIT
// Virtual-8086 mode: the frame that an interrupt leaves, IOPL-sensitive instructions, what goes to
// the monitor, what is undefined, real-mode segments with their limit, the I/O bitmap, page faults.
// SDM 3B 20.2 (20.2.7, 20.2.8), 20.3; SDM 2 INT n, IRET, PUSHF, POPF.
//   T=v86 tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#define BASE 0x90000u                        // of DS ES FS GS in v86_state()
#define C(name, text) ICODE16(v_##name, "", text)
C(int_30, "int $0x30");
C(int_33, "int $0x33");
C(int3, "int3");
C(into, "into");
C(cli, "cli");
C(sti, "sti");
C(pushf, "pushf; pop %ax");
C(pushfl, "pushfl; popl %eax");
C(popf, "pushl %eax; popfw; popw %ax");
C(popfl, "pushl %eax; popfl");
C(popf_first, "popfw");
C(iret, "iretw");
C(iretl, "iretl");
C(hlt, "hlt");
C(lock_nop, ".byte 0xf0, 0x90");
C(lmsw, "lmsw %ax");
C(smsw, "smsw %ax");
C(mov_cr0, "mov %cr0, %eax");
C(mov_dr0, "mov %dr0, %eax");
C(clts, "clts");
C(lgdt, "lgdt (%bx)");
C(sgdt, "sgdt (%bx)");
C(lldt, "lldt %ax");
C(sldt, "sldt %ax");
C(str, "str %ax");
C(ltr, "ltr %ax");
C(verr, "verr %ax");
C(lar, "lar %ax, %ax");
C(lsl, "lsl %ax, %ax");
C(arpl, "arpl %ax, %ax");
C(in, "in (%dx), %al");
C(out, "out %al, (%dx)");
C(load_end, "movw 0xffff, %ax");
C(store_end, "movl %eax, 0xfffd");
C(load_last, "movw 0xfffe, %ax");
C(stack_end, "movw %ss:0xffff, %ax");
C(push_odd, "mov $1, %sp; push %ax");
C(addr32, "addr32 movb (%eax), %cl");
C(mov_ds, "mov %ax, %ds; movb 0x1234, %cl");

static void prepare(void) { rt_reset(); }

static void expect_monitor(const State *o, const State *s, u32 vector, u32 error, const u8 *at) {
    State want = *s;
    want.eip = REAL_OFF(at);
    expect("vector", o->vector, vector);
    expect("error", o->error, error);
    expect_same(o, &want, ALL);
}

// ---- the frame ----------------------------------------------------------------------------------
CODE(
    look_inside,
    "mov %ds, %eax; mov %es, %ecx; mov %fs, %edx; mov %gs, %ebx; pushf; pop %esi;"
     "push %cs; pop %edi");
static void run_frame(void) {
    test("v86/frame/interrupt gate");
    prepare();
    idt[0x33] = gate(KCS, ADDR(look_inside), D_INT32 | D_DPL3, 0);
    State s = v86_state(v_int_33);
    s.ds = 0x1111;
    s.es = 0x2222;
    s.fs = 0x3333;
    s.gs = 0x4444;
    s.eflags |= F_IOPL | F_IF | F_CF | F_NT;
    State o = run(&s);
    const u32 *f = (u32 *)o.esp;
    expect_exit(&o);
    expect("handler's ds", o.eax & 0xffff, 0);
    expect("handler's es", o.ecx & 0xffff, 0);
    expect("handler's fs", o.edx & 0xffff, 0);
    expect("handler's gs", o.ebx & 0xffff, 0);
    expect("handler's eflags", o.esi, F_ONE | F_IOPL | F_CF);
    expect("handler's cs", o.edi & 0xffff, KCS);
    expect("handler's esp", o.esp, tss.esp0 - 36);
    expect("ip", f[0], REAL_OFF(v_int_33_next));
    expect("cs", f[1] & 0xffff, REAL_SEG);
    expect("eflags", f[2], s.eflags);
    expect("esp", f[3], s.esp);
    expect("ss", f[4] & 0xffff, s.ss);
    expect("es", f[5] & 0xffff, 0x2222);
    expect("ds", f[6] & 0xffff, 0x1111);
    expect("fs", f[7] & 0xffff, 0x3333);
    expect("gs", f[8] & 0xffff, 0x4444);
}

static void run_gates(void) {
    test("v86/INT/gate's DPL 0");
    prepare();
    idt[0x33] = gate(KCS, ADDR(look_inside), D_INT32, 0);
    State s = v86_state(v_int_33);
    s.eflags |= F_IOPL;
    State o = run(&s);
    expect_monitor(&o, &s, V_GP, 0x33 * 8 + 2, v_int_33_at);
    test("v86/INT/gate to code with DPL 3");
    idt[0x33] = gate(UCS, ADDR(look_inside), D_INT32 | D_DPL3, 0);
    o = run(&s);
    expect_monitor(&o, &s, V_GP, UCS & ~3u, v_int_33_at);
    test("v86/INT/gate to conforming code");
    gdt_set(FREE_SEL, descriptor(0, 0xfffff, D_CODE | 4 | D_32 | D_G));
    idt[0x33] = gate(FREE_SEL, ADDR(look_inside), D_INT32 | D_DPL3, 0);
    o = run(&s);
    expect_monitor(&o, &s, V_GP, FREE_SEL, v_int_33_at);
    test("v86/INT3/gate's DPL is checked, IOPL is not");
    prepare();
    s = v86_state(v_int3);
    o = run(&s);
    expect_monitor(&o, &s, V_BP, 0, v_int3_next);
    test("v86/INTO/gate's DPL is checked, IOPL is not");
    s = v86_state(v_into);
    s.eflags |= F_OF;
    o = run(&s);
    expect_monitor(&o, &s, V_OF, 0, v_into_next);
}

// ---- sensitive to IOPL --------------------------------------------------------------------------
typedef struct Sensitive { const char *name; const u8 *code, *at; } Sensitive;
#define S(name) { #name, v_##name, v_##name##_at }
static const Sensitive sensitive[] = { S(int_30), S(cli),        S(sti),  S(pushf),
                                       S(pushfl), S(popf_first), S(iret), S(iretl) };

static void run_sensitive(void) {
    for (u32 i = 0; i < COUNT(sensitive); i++)
        for (u32 iopl = 0; iopl < 3; iopl++) {
            test("v86/IOPL %u/%s", iopl, sensitive[i].name);
            prepare();
            State s = v86_state(sensitive[i].code);
            s.eflags |= iopl << 12;
            State o = run(&s);
            expect_monitor(&o, &s, V_GP, 0, sensitive[i].at);
        }
    prepare();
    test("v86/IOPL 3/cli");
    State s = v86_state(v_cli);
    s.eflags |= F_IOPL | F_IF;
    State o = run(&s);
    expect_exit(&o);
    expect("eflags", o.eflags, s.eflags & ~F_IF);
    test("v86/IOPL 3/pushf");
    s = v86_state(v_pushf);
    s.eflags |= F_IOPL | F_CF;
    o = run(&s);
    expect_exit(&o);
    expect("flags", o.eax & 0xffff, F_IOPL | F_CF | F_ONE);
    test("v86/IOPL 3/pushfl, VM and RF are 0 in the image");
    s = v86_state(v_pushfl);
    s.eflags |= F_IOPL | F_AC;
    o = run(&s);
    expect_exit(&o);
    expect("eflags", o.eax, F_IOPL | F_AC | F_ONE);
    test("v86/IOPL 3/popf cannot change IOPL");
    s = v86_state(v_popf);
    s.eflags |= F_IOPL;
    s.eax = F_IF | F_DF | F_CF;
    o = run(&s);
    expect_exit(&o);
    expect("eflags", o.eflags, F_VM | F_IOPL | F_IF | F_DF | F_CF | F_ONE);
    test("v86/IOPL 3/popfl cannot change IOPL, VM, RF");
    s = v86_state(v_popfl);
    s.eflags |= F_IOPL;
    s.eax = F_AC | F_ID | F_ZF;
    o = run(&s);
    expect_exit(&o);
    expect("eflags", o.eflags, F_VM | F_IOPL | F_AC | F_ID | F_ZF | F_ONE);
    test("v86/IOPL 3/iret");
    s = v86_state(v_iret);
    s.eflags |= F_IOPL;
    extern const u8 v_after[];
    u16 *f = (u16 *)((s.ss << 4) + s.esp);
    f[0] = (u16)REAL_OFF(v_after);
    f[1] = REAL_SEG;
    f[2] = F_CF | F_IF;
    o = run(&s);
    expect_exit(&o);
    expect("ip", o.eip, REAL_OFF(v_after) + 2);
    expect("eflags", o.eflags, F_VM | F_IOPL | F_CF | F_IF | F_ONE);
    expect("sp", o.esp, s.esp + 6);
}
CODE16(v_after, "");

// ---- #GP and #UD to the monitor -----------------------------------------------------------------
static const struct { const char *name; const u8 *code, *at; u32 vector;
} forbidden[] = {
#define F(name, vector) { #name, v_##name, v_##name##_at, vector }
    F(hlt, V_GP),    F(lmsw, V_GP),     F(mov_cr0, V_GP), F(mov_dr0, V_GP), F(clts, V_GP),
    F(lgdt, V_GP),   F(lock_nop, V_UD), F(lldt, V_UD),    F(sldt, V_UD),    F(str, V_UD),
    F(ltr, V_UD),    F(verr, V_UD),     F(lar, V_UD),     F(lsl, V_UD),     F(arpl, V_UD),
    F(smsw, V_EXIT), F(sgdt, V_EXIT),
};

static void run_forbidden(void) {
    for (u32 i = 0; i < COUNT(forbidden); i++) {
        test("v86/%s", forbidden[i].name);
        prepare();
        State s = v86_state(forbidden[i].code);
        s.eflags |= F_IOPL;
        State o = run(&s);
        if (forbidden[i].vector == V_EXIT) expect_exit(&o);
        else expect_monitor(&o, &s, forbidden[i].vector, 0, forbidden[i].at);
    }
}

// ---- ports: the bitmap decides, whatever IOPL is ------------------------------------------------
static void run_ports(void) {
    for (u32 i = 0; i < 8; i++) {
        const u8 *code = i & 1 ? v_out : v_in, *at = i & 1 ? v_out_at : v_in_at;
        u32 allowed = i & 2, iopl = i & 4 ? 3 : 0;
        test("v86/%s/IOPL %u/port %s", i & 1 ? "out" : "in", iopl, allowed ? "allowed" : "closed");
        prepare();
        memset(tss.bitmap, 0xff, sizeof tss.bitmap);
        tss.iomap = 104;
        if (allowed) tss.bitmap[0x80 / 8] = 0;
        State s = v86_state(code);
        s.edx = 0x80;
        s.eflags |= iopl << 12;
        State o = run(&s);
        if (!allowed) expect_monitor(&o, &s, V_GP, 0, at);
        else if (iopl == 3) expect_exit(&o);
        else expect("vector", o.vector, V_GP), expect("ip", o.eip, REAL_OFF(at) + 1);   // INT 30h
    }
}

// ---- segments -----------------------------------------------------------------------------------
static void run_segments(void) {
    prepare();
    static const struct { const char *name; const u8 *code, *at; u32 vector; } rows[] = {
        { "word at ffff", v_load_end, v_load_end_at, V_GP },
        { "dword at fffd", v_store_end, v_store_end_at, V_GP },
        { "word at ffff of SS", v_stack_end, v_stack_end_at, V_SS },
        { "word at fffe", v_load_last, v_load_last_at, V_EXIT },
    };
    for (u32 i = 0; i < COUNT(rows); i++) {
        test("v86/segment/%s", rows[i].name);
        State s = v86_state(rows[i].code);
        s.eflags |= F_IOPL;
        State o = run(&s);
        if (rows[i].vector == V_EXIT) expect_exit(&o);
        else expect_monitor(&o, &s, rows[i].vector, 0, rows[i].at);
    }
    test("v86/segment/push with SP 1");
    State s = v86_state(v_push_odd);
    s.eflags |= F_IOPL;
    State o = run(&s);
    expect("vector", o.vector, V_SS);
    expect("sp", o.esp & 0xffff, 1);
    test("v86/segment/32-bit offset beyond 64K");
    s = v86_state(v_addr32);
    s.eflags |= F_IOPL;
    s.eax = 0x10000;
    o = run(&s);
    expect_monitor(&o, &s, V_GP, 0, v_addr32_at);
    test("v86/segment/load of any value");
    *(u8 *)(0x97770 + 0x1234) = 0x5a;
    s = v86_state(v_mov_ds);
    s.eflags |= F_IOPL;
    s.eax = 0x9777;
    o = run(&s);
    expect_exit(&o);
    expect("cl", o.ecx & 0xff, 0x5a);
    expect("ds", o.ds, 0x9777);
}

// ---- paging -------------------------------------------------------------------------------------
C(load_page, "movw 0x1234, %ax");
C(store_page, "movw %ax, 0x1234");
static void run_paging(void) {
    for (u32 i = 0; i < 3; i++) {
        static const char *const how[] = { "missing", "supervisor", "read-only" };
        test("v86/page fault/%s", how[i]);
        prepare();
        const u8 *code = i == 2 ? v_store_page : v_load_page,
                 *at = i == 2 ? v_store_page_at : v_load_page_at;
        page_low[0x91] = 0x91000 | (i == 0 ? 0 : i == 1 ? PTE_P | PTE_W : PTE_P | PTE_U);
        flush_tlb();
        State s = v86_state(code);
        s.eflags |= F_IOPL;
        State o = run(&s);
        expect_monitor(&o, &s, V_PF, i == 0 ? 4 : i == 1 ? 5 : 7, at);
        expect("cr2", o.cr2, BASE + 0x1234);
    }
    prepare();
}

void test_main(void) {
    run_frame();
    run_gates();
    run_sensitive();
    run_forbidden();
    run_ports();
    run_segments();
    run_paging();
    rt_reset();
}
