// SPDX-License-Identifier: MIT
// Changes of privilege: call gates of 16 and 32 bits with parameters, conforming code, far calls,
// jumps and returns within and between rings, IRET outwards, interrupt and trap gates with a stack
// switch; every refusal with its vector and error code.
// SDM 3A 5.8 (5.8.1 to 5.8.6), 6.12; SDM 2 CALL, JMP, RET, INT n, IRET.
//   T=priv tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#define GATE 0x40u
#define C0 0x48u                             // code and stack segments for the tests
#define C1 0x50u
#define C3 0x58u
#define S1 0x60u
#define X 0x68u                              // what a case is about
#define DPL(n) ((n) << 5)
#define FLAT_CODE (D_CODE | D_32 | D_G)
#define FLAT_DATA (D_DATA | D_32 | D_G)

static u8 stack1[1024] __attribute__((aligned(16)));
static u32 top1(void) { return ADDR(stack1) + sizeof stack1; }
static u32 top0(void) { return tss.esp0; }

CODE(target, ""); // where gates and far jumps lead: the runtime's INT 30h
ICODE(call_gate, "", "lcall $0x40, $0x12345678");
ICODE(call_gate_rpl3, "", "lcall $0x43, $0x12345678");
ICODE(jump_gate, "", "ljmp $0x40, $0x12345678");
ICODE(call_null, "", "lcall $0, $0");
ICODE(call_x, "", "lcall $0x68, $target");
ICODE(call_x3, "", "lcall $0x6b, $target");
ICODE(jump_x, "", "ljmp $0x68, $target");
ICODE(jump_x3, "", "ljmp $0x6b, $target");
ICODE(jump_x_far, "", "ljmp $0x68, $0x7fffffff");
ICODE(ret_far, "", "lret");
ICODE(ret_far_8, "", "lret $8");
ICODE(iret_any, "", "iret");
ICODE(int_33, "", "int $0x33");
ICODE(look_flags, "", "pushf; pop %eax");
ICODE16(target16, "", "nop");

static void prepare(void) {
    rt_reset();
    gdt_set(C0, descriptor(0, 0xfffff, FLAT_CODE));
    gdt_set(C1, descriptor(0, 0xfffff, FLAT_CODE | DPL(1)));
    gdt_set(C3, descriptor(0, 0xfffff, FLAT_CODE | DPL(3)));
    gdt_set(S1, descriptor(0, 0xfffff, FLAT_DATA | DPL(1)));
    tss.esp1 = top1();
    tss.ss1 = S1 | 1;
}

// ---- call gates that work -----------------------------------------------------------------------
static void run_gate32(u32 params) {
    test("priv/call gate 32/3 to 0/%u parameters", params);
    prepare();
    gdt_set(GATE, gate(C0, ADDR(target), D_CALL32 | DPL(3), params));
    State s = user_state(call_gate_rpl3);
    for (u32 i = 0; i < params; i++) ((u32 *)s.esp)[i] = 0x11110000 + i;
    State o = run(&s), want = s;
    want.cs = C0;
    want.ss = KDS;
    want.eip = ADDR(target_end);
    want.esp = top0() - 4 * (4 + params);
    expect_exit(&o);
    expect_same(&o, &want, ALL);
    const u32 *f = (u32 *)want.esp;
    expect("return eip", f[0], ADDR(call_gate_rpl3_next));
    expect("return cs", f[1] & 0xffff, UCS);
    for (u32 i = 0; i < params; i++) expect("parameter", f[2 + i], 0x11110000 + i);
    expect("outer esp", f[2 + params], s.esp);
    expect("outer ss", f[3 + params] & 0xffff, UDS);
}

static void run_gate32_ring1(void) {
    test("priv/call gate 32/3 to 1");
    prepare();
    gdt_set(GATE, gate(C1, ADDR(target), D_CALL32 | DPL(3), 1));
    State s = user_state(call_gate), o = run(&s), want = s;
    want.cs = C1 | 1;
    want.ss = S1 | 1;
    want.eip = ADDR(target_end);
    want.esp = top1() - 20;
    expect_exit(&o);
    expect_same(&o, &want, ALL);
}

static void run_gate16(u32 params) {
    test("priv/call gate 16/3 to 0/%u parameters", params);
    prepare();
    gdt_set(C0, descriptor(ADDR(target) & ~0xfffu, 0xfffff, FLAT_CODE));
    gdt_set(GATE, gate(C0, ADDR(target) & 0xfff, D_CALL16 | DPL(3), params));
    State s = user_state(call_gate_rpl3);
    for (u32 i = 0; i < params; i++) ((u16 *)s.esp)[i] = (u16)(0x2200 + i);
    State o = run(&s), want = s;
    want.cs = C0;
    want.ss = KDS;
    want.eip = ADDR(target_end) & 0xfff;
    want.esp = top0() - 2 * (4 + params);
    expect_exit(&o);
    expect_same(&o, &want, ALL);
    const u16 *f = (u16 *)want.esp;
    expect("return ip", f[0], ADDR(call_gate_rpl3_next) & 0xffff);
    expect("return cs", f[1], UCS);
    for (u32 i = 0; i < params; i++) expect("parameter", f[2 + i], 0x2200 + i);
    expect("outer sp", f[2 + params], s.esp & 0xffff);
    expect("outer ss", f[3 + params], UDS);
}

// Same privilege, and conforming code: no stack switch.
static void run_gate_same(void) {
    static const struct { const char *name; u32 ring, access, cs;
    } to[] = {
        { "0 to 0", 0, FLAT_CODE, X },
        { "3 to 3", 3, FLAT_CODE | DPL(3), X | 3 },
        { "3 to conforming 0", 3, FLAT_CODE | 4, X | 3 },
        { "0 to conforming 0", 0, FLAT_CODE | 4, X },
    };
    for (u32 i = 0; i < COUNT(to); i++)
        for (u32 jump = 0; jump < 2; jump++) {
            test("priv/%s gate without stack switch/%s", jump ? "jump" : "call", to[i].name);
            prepare();
            gdt_set(X, descriptor(0, 0xfffff, to[i].access));
            gdt_set(GATE, gate(X, ADDR(target), D_CALL32 | DPL(3), 5));
            State s = ring_state(to[i].ring, jump ? jump_gate : call_gate), o = run(&s), want = s;
            want.cs = to[i].cs;
            want.eip = ADDR(target_end);
            want.esp -= jump ? 0 : 8;
            expect_exit(&o);
            expect_same(&o, &want, ALL);
            if (jump) continue;
            expect("return cs", ((u32 *)want.esp)[1] & 0xffff, s.cs);
            if (to[i].ring) expect("return eip", ((u32 *)want.esp)[0], ADDR(call_gate_next));
        }
}

// ---- call gates that do not ---------------------------------------------------------------------
typedef struct Refusal {
    const char *name;
    const u8 *code, *at;
    u32 ring, gate, gate_selector, target;   // access of gate and of X
    u32 vector, error;
} Refusal;
#define BY(code) code, code##_at
static const Refusal refusals[] = {
    { "gate dpl 0 from ring 3", BY(call_gate), 3, D_CALL32, X, FLAT_CODE, V_GP, GATE },
    { "gate dpl 2, rpl 3, from ring 0", BY(call_gate_rpl3), 0, D_CALL32 | DPL(2), X, FLAT_CODE,
      V_GP, GATE },
    { "gate not present", BY(call_gate), 3, (D_CALL32 & ~0x80) | DPL(3), X, FLAT_CODE, V_NP, GATE },
    { "gate not present and dpl 0", BY(call_gate), 3, D_CALL32 & ~0x80, X, FLAT_CODE, V_GP, GATE },
    { "target null", BY(call_gate), 3, D_CALL32 | DPL(3), 0, FLAT_CODE, V_GP, 0 },
    { "target beyond the GDT", BY(call_gate), 3, D_CALL32 | DPL(3), 0x200, FLAT_CODE, V_GP, 0x200 },
    { "target is data", BY(call_gate), 3, D_CALL32 | DPL(3), X, FLAT_DATA, V_GP, X },
    { "target is a TSS", BY(call_gate), 3, D_CALL32 | DPL(3), X, D_TSS32, V_GP, X },
    { "target dpl 3 from ring 0", BY(call_gate), 0, D_CALL32 | DPL(3), X, FLAT_CODE | DPL(3), V_GP,
      X },
    { "target not present", BY(call_gate), 3, D_CALL32 | DPL(3), X, FLAT_CODE & ~0x80, V_NP, X },
    { "jump to an inner ring", BY(jump_gate), 3, D_CALL32 | DPL(3), X, FLAT_CODE, V_GP, X },
    { "jump, gate not present", BY(jump_gate), 3, (D_CALL32 & ~0x80) | DPL(3), X, FLAT_CODE, V_NP,
      GATE },
    { "call null", BY(call_null), 3, 0, 0, 0, V_GP, 0 },
    { "interrupt gate in the GDT", BY(call_gate), 0, D_INT32, X, FLAT_CODE, V_GP, GATE },
};

static void run_refusals(void) {
    for (u32 i = 0; i < COUNT(refusals); i++) {
        const Refusal *r = &refusals[i];
        test("priv/gate refused/%s", r->name);
        prepare();
        gdt_set(X, descriptor(0, 0xfffff, r->target));
        gdt_set(GATE, gate(r->gate_selector, ADDR(target), r->gate, 0));
        State s = ring_state(r->ring, r->code), o = run(&s);
        expect_fault(&o, &s, r->vector, r->error, ADDR(r->at));
    }
    test("priv/gate refused/offset beyond the target's limit");
    prepare();
    gdt_set(X, descriptor(0, 0xffff, D_CODE | D_32));
    gdt_set(GATE, gate(X, 0x10000, D_CALL32 | DPL(3), 0));
    State s = user_state(call_gate), o = run(&s);
    expect_fault(&o, &s, V_GP, 0, ADDR(call_gate_at));
}

// The inner stack that a gate to ring 1 needs: CALL and INT report it with the same words, except
// that an exception's error code has EXT.
static void run_inner_stack(void) {
    static const struct {
        const char *name;
        u32 selector, access, limit, esp, vector, error;
    } bad[] = {
        { "null", 0, 0, 0, 0, V_TS, 0 },
        { "null with rpl 1", 1, 0, 0, 0, V_TS, 0 },
        { "beyond the GDT", 0x201, 0, 0, 0, V_TS, 0x200 },
        { "rpl 0", X, FLAT_DATA | DPL(1), 0xfffff, 0, V_TS, X },
        { "dpl 0", X | 1, FLAT_DATA, 0xfffff, 0, V_TS, X },
        { "read-only", X | 1, (FLAT_DATA & ~2) | DPL(1), 0xfffff, 0, V_TS, X },
        { "code", X | 1, FLAT_CODE | DPL(1), 0xfffff, 0, V_TS, X },
        { "not present", X | 1, (FLAT_DATA & ~0x80) | DPL(1), 0xfffff, 0, V_SS, X },
        { "too small", X | 1, D_DATA | D_32 | DPL(1), 0xfff, 8, V_SS, X },
    };
    for (u32 i = 0; i < COUNT(bad); i++)
        for (u32 how = 0; how < 3; how++) {
            static const char *const by[] = { "call gate", "INT", "exception" };
            extern const u8 undefined[], undefined_at[];
            test("priv/inner stack/%s/%s", bad[i].name, by[how]);
            prepare();
            tss.ss1 = bad[i].selector;
            if (bad[i].esp) tss.esp1 = bad[i].esp;
            gdt_set(X, descriptor(0, bad[i].limit, bad[i].access));
            gdt_set(GATE, gate(C1, ADDR(target), D_CALL32 | DPL(3), 0));
            idt[0x33] = idt[V_UD] = gate(C1, ADDR(target), D_INT32 | DPL(3), 0);
            const u8 *code = how == 0 ? call_gate : how == 1 ? int_33 : undefined;
            const u8 *at = how == 0 ? call_gate_at : how == 1 ? int_33_at : undefined_at;
            State s = user_state(code), o = run(&s);
            expect_fault(&o, &s, bad[i].vector, bad[i].error | (how == 2), ADDR(at));
        }
}
ICODE(undefined, "", "ud2");

static void run_short_tss(void) {
    static const struct { const char *name; u32 limit, ring, fault;
    } sizes[] = {
        { "ring 1, limit 10h", 0x10, 1, 1 },
        { "ring 1, limit 0fh", 0x0f, 1, 1 },
        { "ring 1, limit 13h", 0x13, 1, 0 },
    };
    for (u32 i = 0; i < COUNT(sizes); i++) {
        test("priv/inner stack/TSS too short/%s", sizes[i].name);
        prepare();
        gdt_set(X, descriptor(ADDR(&tss), 0x67, D_TSS32));
        __asm__ volatile("ltr %w0" :: "r"(X));
        gdt_set(GATE, gate(C1, ADDR(target), D_CALL32 | DPL(3), 0));
        // LTR has no lower bound for the limit
        gdt_set(TSS_SEL, descriptor(ADDR(&tss), sizes[i].limit, D_TSS32));
        __asm__ volatile("ltr %w0" :: "r"(TSS_SEL));
        State s = user_state(call_gate), o = run(&s);
        if (sizes[i].fault) expect_fault(&o, &s, V_TS, TSS_SEL, ADDR(call_gate_at));
        else expect_exit(&o);
    }
}

// ---- far call and jump without a gate -----------------------------------------------------------
typedef struct Direct {
    const char *name;
    u32 access;
    u32 ring0, ring0_rpl3, ring3, ring3_rpl3;        // vector, or 0 when it works
} Direct;
static const Direct directs[] = {
    { "code dpl 0", FLAT_CODE, 0, V_GP, V_GP, V_GP },
    { "code dpl 3", FLAT_CODE | DPL(3), V_GP, V_GP, 0, 0 },
    { "code dpl 1", FLAT_CODE | DPL(1), V_GP, V_GP, V_GP, V_GP },
    { "conforming dpl 0", FLAT_CODE | 4, 0, 0, 0, 0 },
    { "conforming dpl 3", FLAT_CODE | 4 | DPL(3), V_GP, V_GP, 0, 0 },
    { "execute-only dpl 3", (FLAT_CODE & ~2) | DPL(3), V_GP, V_GP, 0, 0 },
    { "not present dpl 3", (FLAT_CODE & ~0x80) | DPL(3), V_GP, V_GP, V_NP, V_NP },
    { "not present dpl 0", FLAT_CODE & ~0x80, V_NP, V_GP, V_GP, V_GP },
    { "data", FLAT_DATA | DPL(3), V_GP, V_GP, V_GP, V_GP },
    { "LDT", D_LDT | DPL(3), V_GP, V_GP, V_GP, V_GP },
};

static void run_direct(const Direct *d, u32 ring, u32 rpl, u32 jump) {
    test("priv/far %s/%s/ring%u/rpl %u", jump ? "jump" : "call", d->name, ring, rpl);
    prepare();
    gdt_set(X, descriptor(0, 0xfffff, d->access));
    const u8 *code = jump ? (rpl ? jump_x3 : jump_x) : rpl ? call_x3 : call_x;
    const u8 *at = jump ? (rpl ? jump_x3_at : jump_x_at) : rpl ? call_x3_at : call_x_at;
    u32 vector = ring ? (rpl ? d->ring3_rpl3 : d->ring3) : rpl ? d->ring0_rpl3 : d->ring0;
    State s = ring_state(ring, code), o = run(&s), want = s;
    if (vector) {
        expect_fault(&o, &s, vector, X, ADDR(at));
        return;
    }
    want.cs = X | ring;
    want.eip = ADDR(target_end);
    want.esp -= jump ? 0 : 8;
    expect_exit(&o);
    expect_same(&o, &want, ALL);
}

static void run_directs(void) {
    for (u32 i = 0; i < COUNT(directs); i++)
        for (u32 k = 0; k < 8; k++) run_direct(&directs[i], k & 1 ? 3 : 0, k & 2 ? 3 : 0, k & 4);
    test("priv/far jump/beyond the limit");
    prepare();
    gdt_set(X, descriptor(0, 0x6ffff, FLAT_CODE & ~D_G));
    State s = kernel_state(jump_x_far), o = run(&s);
    expect_fault(&o, &s, V_GP, 0, ADDR(jump_x_far_at));
}

// ---- far return, IRET outwards ------------------------------------------------------------------
static u32 *outer_frame(State *s, u32 cs, u32 ss, u32 skip) {
    u32 *f = (u32 *)s->esp;
    f[0] = ADDR(target);
    f[1] = cs;
    f[2 + skip] = ADDR(user_stack) + 512;
    f[3 + skip] = ss;
    return f;
}

static void run_return_outer(u32 release) {
    test("priv/lret %u/0 to 3/data segments", release);
    prepare();
    gdt_set(X, descriptor(0, 0xfffff, FLAT_CODE | 4));           // conforming, dpl 0
    State s = kernel_state(release ? ret_far_8 : ret_far);
    outer_frame(&s, UCS, UDS, release / 4);
    s.ds = KDS;
    s.es = UDS;
    s.fs = X;
    s.gs = S1;
    State o = run(&s), want = s;
    want.cs = UCS;
    want.ss = UDS;
    want.eip = ADDR(target_end);
    want.esp = ADDR(user_stack) + 512 + release;
    want.ds = want.gs = 0;
    expect_exit(&o);
    expect_same(&o, &want, ALL);
}

static void run_iret_outer(void) {
    test("priv/iret/0 to 3/data segments and flags");
    prepare();
    State s = kernel_state(iret_any);
    u32 *f = (u32 *)s.esp;
    f[0] = ADDR(target);
    f[1] = UCS;
    f[2] = F_ONE | F_CF | F_IOPL | F_AC | F_ID | F_OF;
    f[3] = ADDR(user_stack) + 512;
    f[4] = UDS;
    s.ds = KDS;
    s.es = UDS;
    State o = run(&s), want = s;
    want.cs = UCS;
    want.ss = UDS;
    want.eip = ADDR(target_end);
    want.esp = f[3];
    want.eflags = f[2];
    want.ds = 0;
    expect_exit(&o);
    expect_same(&o, &want, ALL);
}

static void run_bad_returns(void) {
    static const struct {
        const char *name;
        u32 ring, cs, ss, code, stack, vector, error;
    } bad[] = {
        { "cs null", 0, 0, UDS, 0, 0, V_GP, 0 },
        { "cs null with rpl 3", 0, 3, UDS, 0, 0, V_GP, 0 },
        { "cs beyond the GDT", 0, 0x203, UDS, 0, 0, V_GP, 0x200 },
        { "cs is data", 0, X | 3, UDS, FLAT_DATA | DPL(3), 0, V_GP, X },
        { "to an inner ring", 3, KCS, UDS, 0, 0, V_GP, KCS },
        { "rpl 3, dpl 0", 0, X | 3, UDS, FLAT_CODE, 0, V_GP, X },
        { "rpl 0, dpl 3", 0, X, UDS, FLAT_CODE | DPL(3), 0, V_GP, X },
        { "conforming dpl 3, rpl 1", 0, X | 1, UDS, FLAT_CODE | 4 | DPL(3), 0, V_GP, X },
        { "cs not present", 0, X | 3, UDS, (FLAT_CODE & ~0x80) | DPL(3), 0, V_NP, X },
        { "ss null", 0, UCS, 0, 0, 0, V_GP, 0 },
        { "ss null with rpl 3", 0, UCS, 3, 0, 0, V_GP, 0 },
        { "ss rpl 0", 0, UCS, S1, 0, FLAT_DATA | DPL(3), V_GP, S1 },
        { "ss dpl 0", 0, UCS, S1 | 3, 0, FLAT_DATA, V_GP, S1 },
        { "ss read-only", 0, UCS, S1 | 3, 0, (FLAT_DATA & ~2) | DPL(3), V_GP, S1 },
        { "ss is code", 0, UCS, S1 | 3, 0, FLAT_CODE | DPL(3), V_GP, S1 },
        { "ss not present", 0, UCS, S1 | 3, 0, (FLAT_DATA & ~0x80) | DPL(3), V_SS, S1 },
    };
    for (u32 i = 0; i < COUNT(bad); i++)
        for (u32 iret = 0; iret < 2; iret++) {
            test("priv/bad return/%s/%s", bad[i].name, iret ? "iret" : "lret");
            prepare();
            if (bad[i].code) gdt_set(X, descriptor(0, 0xfffff, bad[i].code));
            if (bad[i].stack) gdt_set(S1, descriptor(0, 0xfffff, bad[i].stack));
            State s = ring_state(bad[i].ring, iret ? iret_any : ret_far);
            u32 *f = outer_frame(&s, bad[i].cs, bad[i].ss, iret);
            if (iret) f[2] = F_ONE | F_CF;
            State o = run(&s);
            expect_fault(&o, &s, bad[i].vector, bad[i].error,
                         ADDR(iret ? iret_any_at : ret_far_at));
        }
}

static void run_return_limit(void) {
    for (u32 iret = 0; iret < 2; iret++) {
        test("priv/bad return/eip beyond the limit/%s", iret ? "iret" : "lret");
        prepare();
        gdt_set(X, descriptor(0, 0xffff, D_CODE | D_32 | DPL(3)));
        State s = kernel_state(iret ? iret_any : ret_far);
        u32 *f = outer_frame(&s, X | 3, UDS, iret);
        f[0] = 0x10000;
        if (iret) f[2] = F_ONE | F_CF;
        State o = run(&s);
        expect_fault(&o, &s, V_GP, 0, ADDR(iret ? iret_any_at : ret_far_at));
    }
}

// Which EFLAGS bits IRET takes, by CPL and IOPL, with 32 and 16 bits.
ICODE(iret_16, "", "iretw");
static void run_iret_flags(void) {
    static const struct { const char *name; u32 ring, old, image, result; } flags[] = {
        { "ring 0 takes all", 0, 0, F_ARITH | F_DF | F_IOPL | F_NT | F_AC | F_ID,
          F_ARITH | F_DF | F_IOPL | F_NT | F_AC | F_ID },
        { "ring 0 clears all", 0, F_ARITH | F_DF | F_IOPL | F_AC | F_ID, 0, 0 },
        { "ring 3, IOPL 0 keeps IF and IOPL", 3, 0, F_IF | F_IOPL | F_CF | F_NT | F_AC | F_ID,
          F_CF | F_NT | F_AC | F_ID },
        { "ring 3, IOPL 3 takes IF", 3, F_IOPL, F_IF | F_CF, F_IF | F_IOPL | F_CF },
        { "ring 3 keeps VM clear", 3, 0, F_VM | F_ZF, F_ZF },
        { "reserved bits", 0, 0, 0xffc0802a & ~F_NT, 0 },
    };
    for (u32 i = 0; i < COUNT(flags); i++)
        for (u32 small = 0; small < 2; small++) {
            if (small && flags[i].ring == 0 && i == 5) continue;
            test("priv/iret flags/%s%s", flags[i].name, small ? "/16 bit" : "");
            prepare();
            u32 low = ADDR(target) & ~0xfffu;
            gdt_set(X, descriptor(small ? low : 0, 0xfffff, FLAT_CODE | DPL(flags[i].ring)));
            State s = ring_state(flags[i].ring, small ? iret_16 : iret_any);
            s.eflags |= flags[i].old;
            u32 cs = X | flags[i].ring;
            if (small) {
                u16 *f = (u16 *)s.esp;
                f[0] = (u16)(ADDR(target) - low);
                f[1] = (u16)cs;
                f[2] = (u16)flags[i].image;
            } else {
                u32 *f = (u32 *)s.esp;
                f[0] = ADDR(target);
                f[1] = cs;
                f[2] = flags[i].image;
            }
            State o = run(&s);
            u32 high = small ? flags[i].old & 0xffff0000 : flags[i].result & 0xffff0000;
            expect_exit(&o);
            expect("eflags", o.eflags, F_ONE | high | (flags[i].result & 0xffff));
            expect("cs", o.cs, cs);
            expect("esp", o.esp, s.esp + (small ? 6 : 12));
        }
}

// ---- interrupt and trap gates -------------------------------------------------------------------
static void run_gate_flags(void) {
    static const struct { const char *name; u32 access; u32 cleared; } kinds[] = {
        { "interrupt gate", D_INT32, F_IF | F_TF | F_NT | F_RF | F_VM },
        { "trap gate", D_TRAP32, F_TF | F_NT | F_RF | F_VM },
    };
    for (u32 i = 0; i < 2; i++)
        for (u32 ring = 0; ring < 4; ring += 3) {
            test("priv/%s/flags/ring%u", kinds[i].name, ring);
            prepare();
            idt[0x33] = gate(KCS, ADDR(look_flags), kinds[i].access | DPL(3), 0);
            State s = ring_state(ring, int_33);
            s.eflags |= F_IF | F_NT | F_CF | F_DF | F_AC | F_ID | F_IOPL;
            State o = run(&s);
            expect_exit(&o);
            expect("handler's eflags", o.eax, s.eflags & ~kinds[i].cleared);
            const u32 *f = (u32 *)o.esp;
            expect("eip", f[0], ADDR(int_33_next));
            expect("cs", f[1] & 0xffff, s.cs);
            expect("eflags", f[2], s.eflags);
            expect("handler's cs", o.cs, KCS);
            if (ring) {
                expect("esp", f[3], s.esp);
                expect("ss", f[4] & 0xffff, UDS);
                expect("handler's esp", o.esp, top0() - 20);
            } else {
                expect("handler's esp", o.esp, s.esp - 12);
            }
        }
}

static void run_gate16_int(void) {
    for (u32 ring = 0; ring < 4; ring += 3) {
        test("priv/interrupt gate 16/ring%u", ring);
        prepare();
        u32 low = ADDR(look_flags) & ~0xfffu;
        gdt_set(C0, descriptor(low, 0xfffff, FLAT_CODE));
        idt[0x33] = gate(C0, ADDR(look_flags) - low, D_INT16 | DPL(3), 0);
        State s = ring_state(ring, int_33);
        s.eflags |= F_IF | F_CF;
        State o = run(&s);
        expect_exit(&o);
        const u16 *f = (u16 *)o.esp;
        expect("ip", f[0], ADDR(int_33_next) & 0xffff);
        expect("cs", f[1], s.cs);
        expect("flags", f[2], s.eflags & 0xffff);
        if (ring) expect("sp", f[3], s.esp & 0xffff);
        if (ring) expect("ss", f[4], UDS);
        expect("handler's esp", o.esp, (ring ? top0() : s.esp) - (ring ? 10 : 6));
    }
}

static void run_gate_targets(void) {
    test("priv/interrupt gate/3 to conforming, no stack switch");
    prepare();
    gdt_set(X, descriptor(0, 0xfffff, FLAT_CODE | 4));
    idt[0x33] = gate(X, ADDR(look_flags), D_INT32 | DPL(3), 0);
    State s = user_state(int_33), o = run(&s);
    expect_exit(&o);
    expect("cs", o.cs, X | 3);
    expect("esp", o.esp, s.esp - 12);
    expect("ss", o.ss, UDS);
    test("priv/interrupt gate/3 to 1");
    prepare();
    idt[0x33] = gate(C1, ADDR(look_flags), D_INT32 | DPL(3), 0);
    s = user_state(int_33);
    o = run(&s);
    expect_exit(&o);
    expect("cs", o.cs, C1 | 1);
    expect("esp", o.esp, top1() - 20);
    expect("ss", o.ss, S1 | 1);
    test("priv/interrupt gate/0 to 3 is refused");
    prepare();
    idt[0x33] = gate(C3, ADDR(look_flags), D_INT32 | DPL(3), 0);
    s = kernel_state(int_33);
    o = run(&s);
    expect_fault(&o, &s, V_GP, C3, ADDR(int_33_at));
    test("priv/interrupt gate/null target");
    idt[0x33] = gate(0, ADDR(look_flags), D_INT32 | DPL(3), 0);
    o = run(&s);
    expect_fault(&o, &s, V_GP, 0, ADDR(int_33_at));
    test("priv/interrupt gate/wrong type in the IDT");
    idt[0x33] = gate(KCS, ADDR(look_flags), D_CALL32 | DPL(3), 0);
    o = run(&s);
    expect_fault(&o, &s, V_GP, 0x33 * 8 + 2, ADDR(int_33_at));
    test("priv/interrupt gate/offset beyond the target's limit");
    gdt_set(X, descriptor(0, 0xffff, D_CODE | D_32));
    idt[0x33] = gate(X, 0x10000, D_INT32 | DPL(3), 0);
    o = run(&s);
    expect_fault(&o, &s, V_GP, 0, ADDR(int_33_at));
}

// A 16-bit stack, only SP is taken over, ESP's upper half stays.
static void run_return_small_stack(void) {
    test("priv/iret/0 to 3 with a 16-bit stack, only SP changes");
    prepare();
    gdt_set(X, descriptor(ADDR(user_stack), 0xffff, D_DATA | DPL(3)));
    State s = kernel_state(iret_any);
    u32 *f = (u32 *)s.esp;
    f[0] = ADDR(target);
    f[1] = UCS;
    f[2] = F_ONE;
    f[3] = 0x12340800;
    f[4] = X | 3;
    u32 esp = s.esp;
    State o = run(&s);
    expect_exit(&o);
    expect("esp", o.esp, (esp & 0xffff0000) | 0x800);
    expect("ss", o.ss, X | 3);
}

void test_main(void) {
    run_gate32(0);
    run_gate32(1);
    run_gate32(31);
    run_gate32_ring1();
    run_gate16(0);
    run_gate16(3);
    run_gate_same();
    run_refusals();
    run_inner_stack();
    run_short_tss();
    run_directs();
    run_return_outer(0);
    run_return_outer(8);
    run_iret_outer();
    run_bad_returns();
    run_return_limit();
    run_iret_flags();
    run_gate_flags();
    run_gate16_int();
    run_gate_targets();
    run_return_small_stack();
    rt_reset();
}
