// SPDX-License-Identifier: MIT
// Debug registers: execution breakpoints (faults, RF), data breakpoints on writes and accesses
// (traps), lengths and overlaps, L and G, DR6's sticky bits, general detect, fixed bits. SDM
// 3B 17.2 (17.2.1 to 17.2.5), 17.3.1.
//   T=debug tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

ICODE(faulting, "", "mov 0x800000, %eax");
ICODE(push, "", "push %eax");
LABEL(call_target);
CODE(call, "call 1f; nop; 1:" AT(call_target) "nop");
ICODE(pop, "", "pop %eax");
ICODE(rep_stos, "", "rep stosl");
CODE(many, "1: mov %eax, (%ebx,%ecx,4); dec %ecx; jnz 1b");
CODE16(v_body, "nop; nop; nop");

static void set_dr(u32 n, u32 v) {
    switch (n) {
    case 0: __asm__ volatile("mov %0, %%dr0" :: "r"(v)); break;
    case 1: __asm__ volatile("mov %0, %%dr1" :: "r"(v)); break;
    case 2: __asm__ volatile("mov %0, %%dr2" :: "r"(v)); break;
    case 3: __asm__ volatile("mov %0, %%dr3" :: "r"(v)); break;
    case 6: __asm__ volatile("mov %0, %%dr6" :: "r"(v)); break;
    default: __asm__ volatile("mov %0, %%dr7" :: "r"(v)); break;
    }
}
static u32 get_dr7(void) {
    u32 v;
    __asm__ volatile("mov %%dr7, %0" : "=r"(v));
    return v;
}
static u32 get_dr6(void) {
    u32 v;
    __asm__ volatile("mov %%dr6, %0" : "=r"(v));
    return v;
}

enum { EXECUTE = 0, WRITE = 1, ACCESS = 3 };
// DR7 for breakpoint n: local enable, kind, length 1 2 4.
static u32 arm(u32 n, u32 kind, u32 length) {
    return 1u << (2 * n) | (kind | (length - 1) << 2) << (16 + 4 * n);
}

// (DR6 may show breakpoints that match without being enabled: none is left armed)
static void off(void) {
    for (u32 n = 0; n < 4; n++) set_dr(n, 0xfffffff0);
    set_dr(7, 0x400);
    set_dr(6, 0xffff0ff0);
}

// The breakpoints live only while test code runs: the runtime's own accesses must not hit.
static State run_with(const State *s, u32 dr7) {
    set_dr(6, 0xffff0ff0);
    set_dr(7, 0x400 | dr7);
    State o = run(s);
    set_dr(7, 0x400);
    return o;
}

// ---- execution ----------------------------------------------------------------------------------
LABEL(body_1);
LABEL(body_2);
LABEL(body_3);
CODE(body,
     "inc %eax" AT(body_1) "mov $3, %ecx; 1:" AT(body_2) "inc %eax; loop 1b" AT(body_3) "nop");
LABEL(mov_ss_1);
CODE(mov_ss, "mov %edx, %ss" AT(mov_ss_1) "inc %eax; nop");
LABEL(pop_ss_1);
CODE(pop_ss, "push %ss; pop %ss" AT(pop_ss_1) "inc %eax; nop");
LABEL(mov_ds_1);
CODE(mov_ds, "mov %edx, %ds" AT(mov_ds_1) "inc %eax; nop");
LABEL(sti_1);
CODE(sti, "sti" AT(sti_1) "cli; inc %eax");
// After MOV SS and POP SS as if RF were set (SDM 3B 17.3.1.1), not after other loads, nor after STI.
static void run_shadow(void) {
    static const struct { const char *name; const u8 *code, *at; u32 hits; } rows[] = {
        { "mov ss", mov_ss, mov_ss_1, 0 }, { "pop ss", pop_ss, pop_ss_1, 0 },
        { "mov ds", mov_ds, mov_ds_1, 1 }, { "sti", sti, sti_1, 1 },
    };
    for (u32 i = 0; i < COUNT(rows); i++) {
        test("debug/execute/after %s, %s", rows[i].name, rows[i].hits ? "a hit" : "no hit");
        rt_reset();
        off();
        set_dr(0, ADDR(rows[i].at));
        State s = kernel_state(rows[i].code);
        s.edx = KDS;
        State o = run_with(&s, arm(0, EXECUTE, 1));
        if (rows[i].hits) {
            expect("vector", o.vector, V_DB);
            expect("eip", o.eip, ADDR(rows[i].at));
        } else {
            expect_exit(&o);
            expect("eax", o.eax, s.eax + 1);
            expect_bits("eflags", o.eflags, 0, F_RF);
        }
    }
    off();
}

static void run_execute(void) {
    for (u32 ring = 0; ring < 4; ring += 3)
        for (u32 n = 0; n < 4; n++) {
            test("debug/execute/DR%u/ring%u", n, ring);
            rt_reset();
            off();
            set_dr(n, ADDR(body_1));
            State s = ring_state(ring, body), o = run_with(&s, arm(n, EXECUTE, 1));
            expect("vector", o.vector, V_DB);
            expect("eip", o.eip, ADDR(body_1));
            expect("eax", o.eax, s.eax + 1);
            expect_bits("dr6", o.dr6, 1u << n, 0xe00f);
            test("debug/execute/DR%u/ring%u/RF is 0 in the image", n, ring);
            expect_bits("eflags", o.eflags, 0, F_RF);
            test("debug/execute/DR%u/ring%u/RF lets it go on", n, ring);
            o.eflags |= F_RF;
            o = run_with(&o, arm(n, EXECUTE, 1));
            expect_exit(&o);
            expect_bits("eflags", o.eflags, 0, F_RF);
        }
    test("debug/execute/RF counts for one instruction, a loop hits again");
    rt_reset();
    off();
    set_dr(0, ADDR(body_2));
    State s = user_state(body), o = run_with(&s, arm(0, EXECUTE, 1));
    u32 hits = 0;
    while (o.vector == V_DB && hits < 10) {
        hits++;
        expect("eip", o.eip, ADDR(body_2));
        o.eflags |= F_RF;
        o = run_with(&o, arm(0, EXECUTE, 1));
    }
    expect("hits", hits, 3);
    expect_exit(&o);
    test("debug/execute/code that has run before");
    rt_reset();
    s = user_state(body);
    o = run(&s);
    expect_exit(&o);
    set_dr(1, ADDR(body_3));
    o = run_with(&s, arm(1, EXECUTE, 1));
    expect("vector", o.vector, V_DB);
    expect("eip", o.eip, ADDR(body_3));
    o = run(&s);
    expect_exit(&o);
    test("debug/execute/inside an instruction, no hit");
    set_dr(1, ADDR(body_1) + 1);
    o = run_with(&s, arm(1, EXECUTE, 1));
    expect_exit(&o);
    test("debug/execute/G enables too");
    set_dr(1, ADDR(body_1));
    o = run_with(&s, (arm(1, EXECUTE, 1) & ~4u) | 8);
    expect("vector", o.vector, V_DB);
    test("debug/execute/not enabled, no hit");
    o = run_with(&s, arm(1, EXECUTE, 1) & ~4u);
    expect_exit(&o);
    test("debug/execute/two breakpoints at once");
    off();
    set_dr(1, ADDR(body_1));
    set_dr(2, ADDR(body_1));
    o = run_with(&s, arm(1, EXECUTE, 1) | arm(2, EXECUTE, 1));
    expect("vector", o.vector, V_DB);
    expect_bits("dr6", o.dr6, 6, 0xe00f);
    test("debug/execute/the first instruction, entered by IRET");
    set_dr(0, ADDR(body));
    o = run_with(&s, arm(0, EXECUTE, 1));
    expect("vector", o.vector, V_DB);
    expect("eip", o.eip, ADDR(body));
    test("debug/execute/before a fault of the same instruction");
    s = user_state(faulting);
    set_dr(0, ADDR(faulting));
    o = run_with(&s, arm(0, EXECUTE, 1));
    expect("vector", o.vector, V_DB);
    o.eflags |= F_RF;
    o = run_with(&o, arm(0, EXECUTE, 1));
    expect("then", o.vector, V_PF);
    expect_bits("eflags", o.eflags, F_RF, F_RF);
    off();
}

// ---- data ---------------------------------------------------------------------------------------
#define DATA(D) \
    D(load, "mov (%ebx), %eax", 4, ACCESS) \
    D(load1, "mov 1(%ebx), %al", 1, ACCESS) D(store, "mov %eax, (%ebx)", 4, WRITE) \
        D(store1, "mov %al, 3(%ebx)", 1, WRITE) D(rmw, "addl %eax, (%ebx)", 4, WRITE) \
            D(xchg, "xchg %eax, (%ebx)", 4, WRITE) D(cmp, "cmpl $0, (%ebx)", 4, ACCESS) \
                D(bts, "btsl $3, (%ebx)", 4, WRITE) D(inc, "incb (%ebx)", 1, WRITE) \
                    D(movs_to, "movsl", 4, WRITE) D(stos, "stosl", 4, WRITE) \
                        D(lods, "lodsl", 4, ACCESS) D(push_mem, "push (%ebx)", 4, ACCESS) \
                            D(pop_mem, "push %eax; pop (%ebx)", 4, WRITE) \
                                D(fstp, "fstps (%ebx)", 4, WRITE) D(fld, "flds (%ebx)", 4, ACCESS) \
                                    D(fst8, "fstpl -4(%ebx)", 8, WRITE) \
                                        D(setz, "setz (%ebx)", 1, WRITE) \
                                            D(sgdt, "sgdt -2(%ebx)", 6, WRITE) \
                                                D(call_mem, "call *(%ebx); 1:", 4, ACCESS)
#define D(name, text, bytes, kind) ICODE(d_##name, "", text);
DATA(D)
#undef D
static const struct { const char *name; const u8 *code, *next; u32 kind; } data[] = {
#define D(name, text, bytes, kind) { #name, d_##name, d_##name##_next, kind },
    DATA(D)
#undef D
};


static State data_state(const u8 *code, unsigned ring) {
    State s = ring_state(ring, code);
    s.ebx = win(0) + 0x40;
    s.esi = code == d_lods ? s.ebx : win(1);
    s.edi = s.ebx;
    *(u32 *)(win_phys(0) + 0x40) = ADDR(d_call_mem_next);
    __asm__ volatile("fninit; fld1; fld1");
    return s;
}

static void run_data(void) {
    off();
    for (u32 i = 0; i < COUNT(data); i++)
        for (u32 kind = WRITE; kind <= ACCESS; kind += 2)
            for (u32 ring = 0; ring < 4; ring += 3) {
                test("debug/data/%s/armed for %s/ring%u", data[i].name,
                     kind == WRITE ? "writes" : "all", ring);
                rt_reset();
                State s = data_state(data[i].code, ring);
                State plain = run(&s);
                s = data_state(data[i].code, ring);
                set_dr(2, s.ebx);
                State o = run_with(&s, arm(2, kind, 4));
                if (kind == WRITE && data[i].kind == ACCESS) {
                    expect_exit(&o);
                    continue;
                }
                expect("vector", o.vector, V_DB);
                expect("eip", o.eip, ADDR(data[i].next));
                expect_bits("dr6", o.dr6, 4, 0xe00f);
                plain.eip = o.eip;
                expect_same(&o, &plain, REGS);
            }
}

// Which bytes a breakpoint of a length covers.
static void run_lengths(void) {
    static const struct { const char *name; const u8 *code; u32 offset, bytes; } rows[] = {
        { "byte store", d_inc, 0, 1 }, { "dword store", d_store, 0, 4 },
    };
    rt_reset();
    for (u32 i = 0; i < COUNT(rows); i++)
        for (u32 length = 1; length <= 4; length *= 2) {
            test("debug/length/%s/%u bytes watched", rows[i].name, length);
            for (i32 d = -8; d <= 8; d++) {
                u32 watched = (win(0) + 0x40) & ~(length - 1);
                set_dr(0, watched);
                State s = data_state(rows[i].code, 3);
                s.ebx = watched + (u32)d;
                u32 hit = s.ebx < watched + length && s.ebx + rows[i].bytes > watched;
                State o = run_with(&s, arm(0, WRITE, length));
                expect("vector", o.vector, hit ? V_DB : V_EXIT);
            }
        }
    test("debug/length/an address that is not aligned is rounded down");
    set_dr(0, win(0) + 0x43);
    State s = data_state(d_inc, 3), o = run_with(&s, arm(0, WRITE, 4));
    expect("vector", o.vector, V_DB);
    test("debug/length/an access over two pages");
    set_dr(0, win(1));
    s = data_state(d_store, 3);
    s.ebx = win(1) - 2;
    o = run_with(&s, arm(0, WRITE, 2));
    expect("vector", o.vector, V_DB);
    expect("eip", o.eip, ADDR(d_store_next));
    test("debug/data/stack, push");
    s = user_state(push);
    set_dr(3, s.esp - 4);
    o = run_with(&s, arm(3, WRITE, 4));
    expect("vector", o.vector, V_DB);
    expect("eip", o.eip, ADDR(push_next));
    expect_bits("dr6", o.dr6, 8, 0xe00f);
    test("debug/data/stack, call");
    s = user_state(call);
    set_dr(3, s.esp - 4);
    o = run_with(&s, arm(3, WRITE, 4));
    expect("vector", o.vector, V_DB);
    expect("eip", o.eip, ADDR(call_target));
    test("debug/data/stack, pop and ret read");
    s = user_state(pop);
    set_dr(3, s.esp);
    o = run_with(&s, arm(3, ACCESS, 4));
    expect("vector", o.vector, V_DB);
    expect("eip", o.eip, ADDR(pop_next));
    test("debug/data/rep stos traps after the iteration that hits");
    s = user_state(rep_stos);
    s.edi = win(0);
    s.ecx = 20;
    set_dr(0, win(0) + 0x10);
    o = run_with(&s, arm(0, WRITE, 4));
    expect("vector", o.vector, V_DB);
    expect("ecx", o.ecx, 15);
    expect("edi", o.edi, win(0) + 0x14);
    expect("eip", o.eip, ADDR(rep_stos_at));
    test("debug/data/a store that faults does not hit");
    map(1, 0);
    s = data_state(d_store, 3);
    s.ebx = win(1) - 2;
    set_dr(0, win(1) - 2);
    o = run_with(&s, arm(0, WRITE, 2));
    expect("vector", o.vector, V_PF);
    map(1, PTE_ALL);
    test("debug/data/together with the trap flag");
    s = data_state(d_store, 3);
    s.eflags |= F_TF;
    set_dr(0, s.ebx);
    o = run_with(&s, arm(0, WRITE, 4));
    expect("vector", o.vector, V_DB);
    expect_bits("dr6", o.dr6, 0x4001, 0xe00f);
    expect("eip", o.eip, ADDR(d_store_next));
    test("debug/data/translations known before");
    off();
    s = data_state(many, 3);
    s.ecx = 1000;
    o = run(&s);
    expect_exit(&o);
    s.ecx = 1000;
    set_dr(0, s.ebx + 400);
    o = run_with(&s, arm(0, WRITE, 4));
    expect("vector", o.vector, V_DB);
    expect("ecx", o.ecx, 100);
    off();
}

// ---- registers ----------------------------------------------------------------------------------
ICODE(read_dr0, "", "mov %dr0, %eax");
ICODE(write_dr7, "", "mov %eax, %dr7");
static void run_registers(void) {
    test("debug/DR6 and DR7/fixed bits");
    rt_reset();
    set_dr(6, 0);
    expect("dr6 of 0", get_dr6(), 0xffff0ff0);
    set_dr(6, 0xffffffff);
    expect("dr6 of ffffffff", get_dr6() & ~0x10800u, 0xfffee7ff & ~0x10800u);
    set_dr(7, 0);
    expect("dr7 of 0", get_dr7(), 0x400);
    off();
    test("debug/general detect/read");
    set_dr(7, 0x2400);
    State s = kernel_state(read_dr0), o = run(&s);
    expect_fault(&o, &s, V_DB, 0, ADDR(read_dr0_at));
    expect_bits("dr6", o.dr6, 0x2000, 0xe00f);
    expect("GD is cleared", get_dr7() & 0x2000, 0);
    test("debug/general detect/write");
    off();
    set_dr(7, 0x2400);
    s = kernel_state(write_dr7);
    o = run(&s);
    expect_fault(&o, &s, V_DB, 0, ADDR(write_dr7_at));
    off();
    test("debug/execute/V86");
    s = v86_state(v_body);
    s.eflags |= F_IOPL;
    set_dr(0, 0x10000 + REAL_OFF(v_body) + 1);
    o = run_with(&s, arm(0, EXECUTE, 1));
    expect("vector", o.vector, V_DB);
    expect("ip", o.eip, REAL_OFF(v_body) + 1);
    off();
}

void test_main(void) {
    run_execute();
    run_shadow();
    run_data();
    run_lengths();
    run_registers();
    rt_reset();
}
