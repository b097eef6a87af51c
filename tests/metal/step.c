// SPDX-License-Identifier: MIT
// The trap flag: every class of instruction is stepped, and the sequence of addresses, DR6 and the
// state at each trap are compared with an unstepped run. POPF and IRET that set or clear TF, MOV SS
// and POP SS, REP, INT n, faults, traps before a fault of the next instruction. SDM 3A 6.8.3, 6.9;
// SDM 3B 17.2.3, 17.3.1.4.
//   T=step tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#include <stdbool.h>

#define MAX_STEPS 40
typedef struct Trace {
    u32 count, eip[MAX_STEPS], dr6[MAX_STEPS], flags[MAX_STEPS];
    State last;
} Trace;

static void clear_dr6(void) { __asm__ volatile("mov %0, %%dr6" :: "r"(0xffff0ff0)); }

// Steps until something else than #DB happens.
static Trace step(const State *start) {
    static Trace t;
    State s = *start;
    t.count = 0;
    s.eflags |= F_TF;
    for (;;) {
        clear_dr6();
        State o = run(&s);
        t.last = o;
        if (o.vector != V_DB || t.count == MAX_STEPS) return t;
        t.eip[t.count] = o.eip;
        t.dr6[t.count] = o.dr6;
        t.flags[t.count++] = o.eflags;
        s = o;
    }
}

// Code whose steps' ends are labelled NAME_1, NAME_2, ...: the traps must be there, in this order.
typedef struct Case {
    const char *name;
    const u8 *code;
    const u8 *stop[12];
    u32 rings;                               // 1: ring 0, 2: ring 3
} Case;

#define L1(n) LABEL(n##_1)
#define L2(n) L1(n); LABEL(n##_2)
#define L3(n) L2(n); LABEL(n##_3)
#define L4(n) L3(n); LABEL(n##_4)
#define L5(n) L4(n); LABEL(n##_5)
#define L6(n) L5(n); LABEL(n##_6)
#define S1(n) n##_1
#define S2(n) S1(n), n##_2
#define S3(n) S2(n), n##_3
#define S4(n) S3(n), n##_4
#define S5(n) S4(n), n##_5
#define S6(n) S5(n), n##_6

L4(alu);
CODE(alu, "mov $1, %eax" AT(alu_1) "imul %eax, %edx" AT(alu_2) "shl %cl, %eax"
     AT(alu_3) "add $2, %eax" AT(alu_4));
L4(mem);
CODE(mem, "mov (%ebx), %eax" AT(mem_1) "mov %eax, 4(%ebx)" AT(mem_2) "addl $1, 4(%ebx)"
     AT(mem_3) "xchg %ecx, (%ebx)" AT(mem_4));
L4(stack);
CODE(stack,
     "push %eax" AT(stack_1) "pushf" AT(stack_2) "pop %ecx" AT(stack_3) "pop %edx" AT(stack_4));
L4(jumps);
CODE(jumps, "xor %eax, %eax" AT(jumps_1) "jz 1f; nop; 1:" AT(jumps_2) "jnz 1b"
     AT(jumps_3) "jmp 2f; nop; 2:" AT(jumps_4));
L5(calls);
CODE(calls, "call 1f" AT(calls_3) "jmp 2f; nop; 1:" AT(calls_1) "nop" AT(calls_2) "ret; 2:"
     AT(calls_4) "nop" AT(calls_5));
L4(loops);
CODE(loops,
     "mov $2, %ecx; 1:" AT(loops_1) "nop" AT(loops_2) "loop 1b" AT(loops_3) "nop" AT(loops_4));
L3(rep); CODE(rep, "mov $3, %ecx" AT(rep_1) "rep movsb" AT(rep_2) "nop" AT(rep_3));
L3(rep0); CODE(rep0, "xor %ecx, %ecx" AT(rep0_1) "rep stosl" AT(rep0_2) "nop" AT(rep0_3));
L2(repe); CODE(repe, "repne scasb" AT(repe_1) "nop" AT(repe_2));
L4(string);
CODE(string, "movsb" AT(string_1) "lodsl" AT(string_2) "stosw" AT(string_3) "cmpsb" AT(string_4));
L4(fpu);
CODE(fpu, "fld1" AT(fpu_1) "fstpl (%ebx)" AT(fpu_2) "fldl (%ebx)" AT(fpu_3) "fwait" AT(fpu_4));
L3(frames);
CODE(frames, "enter $16, $0" AT(frames_1) "leave" AT(frames_2) "pusha; 1:" AT(frames_3) "popa");
L2(mov_ss); CODE(mov_ss, "mov %ss, %eax" AT(mov_ss_1) "mov %eax, %ss; nop" AT(mov_ss_2));
L3(pop_ss);
CODE(pop_ss, "push %ss" AT(pop_ss_1) "pop %ss; inc %eax" AT(pop_ss_2) "nop" AT(pop_ss_3));
L4(mov_ds);
CODE(mov_ds, "mov %ds, %eax" AT(mov_ds_1) "mov %eax, %ds" AT(mov_ds_2) "push %ds"
     AT(mov_ds_3) "pop %ds" AT(mov_ds_4));
L3(lss);
CODE(lss,
     "mov %esp, (%ebx)" AT(lss_1) "mov %ss, 4(%ebx)" AT(lss_2) "lss (%ebx), %esp" AT(lss_3) "nop");
L3(popf_off);
CODE(popf_off,
     "pushf" AT(popf_off_1) "andl $~0x100, (%esp)" AT(popf_off_2) "popf" AT(popf_off_3) "nop; nop");
L3(popf_on);
CODE(popf_on, "pushf" AT(popf_on_1) "orl $0x100, (%esp)" AT(popf_on_2) "popf" AT(popf_on_3));
L3(ident); CODE(ident, "cpuid" AT(ident_1) "rdtsc" AT(ident_2) "nop" AT(ident_3));
L3(flags); CODE(flags, "cld" AT(flags_1) "stc" AT(flags_2) "lahf" AT(flags_3));
L3(into); CODE(into, "xor %eax, %eax" AT(into_1) "into" AT(into_2) "nop" AT(into_3));
L2(far); CODE(far, "ljmp $0x08, $1f; 1:" AT(far_1) "nop" AT(far_2));
L3(farcall);
CODE(farcall, "lcall $0x08, $1f" AT(farcall_2) "jmp 2f; nop; 1:" AT(farcall_1) "lret; 2:"
     AT(farcall_3) "nop");
L3(system);
CODE(system, "mov %cr0, %eax" AT(system_1) "mov %eax, %cr0" AT(system_2) "clts" AT(system_3));
L3(sti); CODE(sti, "cli" AT(sti_1) "sti" AT(sti_2) "cli" AT(sti_3));
L3(ports);
CODE(ports, "mov $0x80, %edx" AT(ports_1) "out %al, (%dx)" AT(ports_2) "in (%dx), %al" AT(ports_3));

static const Case cases[] = {
    { "arithmetic", alu, { S4(alu) }, 3 },
    { "memory", mem, { S4(mem) }, 3 },
    { "stack", stack, { S4(stack) }, 3 },
    { "jumps", jumps, { S4(jumps) }, 3 },
    { "calls", calls, { calls_1, calls_2, calls_3, calls_4, calls_5 }, 3 },
    { "loops", loops, { loops_1, loops_2, loops_1, loops_2, loops_3, loops_4 }, 3 },
    { "rep movsb", rep, { rep_1, rep_1, rep_1, rep_2, rep_3 }, 3 },
    { "rep with a count of 0", rep0, { S3(rep0) }, 3 },
    { "repne scasb", repe, { repe, repe, repe_1, repe_2 }, 3 },
    { "strings", string, { S4(string) }, 3 },
    { "x87", fpu, { S4(fpu) }, 3 },
    { "frames", frames, { S3(frames), frames_end - 2 }, 3 },
    { "mov ss", mov_ss, { S2(mov_ss) }, 3 },
    { "pop ss", pop_ss, { S3(pop_ss) }, 3 },
    { "mov ds", mov_ds, { S4(mov_ds) }, 3 },
    { "lss", lss, { S3(lss), lss_end - 2 }, 3 },
    { "popf that clears TF", popf_off, { S3(popf_off) }, 3 },
    { "popf that sets TF again", popf_on, { S3(popf_on) }, 3 },
    { "cpuid, rdtsc", ident, { S3(ident) }, 3 },
    { "flags", flags, { S3(flags) }, 3 },
    { "into", into, { S3(into) }, 3 },
    { "far jump", far, { S2(far) }, 1 },
    { "far call and return", farcall, { S3(farcall), farcall_end - 2 }, 1 },
    { "control registers", system, { S3(system) }, 1 },
    { "sti and cli", sti, { S3(sti) }, 1 },
    { "ports", ports, { S3(ports) }, 1 },
};

static State start(const u8 *code, unsigned ring) {
    State s = ring_state(ring, code);
    s.ebx = win(0);
    s.esi = win(1);
    s.edi = win(2);
    s.ecx = 3;
    if (code == repe) {
        s.ecx = 5;
        s.eax = 0x33;
        memcpy(win_phys(2), "\x11\x22\x33\x44", 4);
    }
    return s;
}

static void run_case(const Case *c, unsigned ring) {
    test("step/%s/ring%u", c->name, ring);
    rt_reset();
    State s = start(c->code, ring), plain = run(&s);
    rt_reset();
    s = start(c->code, ring);
    Trace t = step(&s);
    expect_exit(&t.last);
    u32 n = 0;
    while (n < COUNT(c->stop) && c->stop[n]) n++;
    expect("traps", t.count, n);
    for (u32 i = 0; i < n && i < t.count; i++) {
        expect("eip", t.eip[i], ADDR(c->stop[i]));
        expect_bits("dr6", t.dr6[i], 0x4000, 0xe00f);
        bool last_clears = c->code == popf_off && i + 1 == n;
        expect_bits("TF", t.flags[i], last_clears ? 0 : F_TF, F_TF);
    }
    // the same registers in the end; time and TF differ
    if (c->code == ident) plain.eax = t.last.eax, plain.edx = t.last.edx;
    if (c->code == stack) plain.ecx = t.last.ecx;
    plain.eflags = (plain.eflags & ~F_TF) | (t.last.eflags & F_TF);
    expect_same(&t.last, &plain, ALL);
}

// RF is pushed set between the iterations of a REP, clear after the last one (SDM 3B 17.3.1.1).
static void run_rf(void) {
    for (unsigned ring = 0; ring < 4; ring += 3) {
        test("step/RF between iterations of rep movsb/ring%u", ring);
        rt_reset();
        State s = start(rep, ring);
        Trace t = step(&s);
        for (u32 i = 0; i < t.count; i++) {
            bool between = i == 1 || i == 2;             // after the first and second of three
            expect_bits("eflags", t.flags[i], between ? F_RF : 0, F_RF);
        }
    }
}

// ---- special ------------------------------------------------------------------------------------
LABEL(int_after);
CODE(int_over, "int $0x33; nop" AT(int_after) "nop");
CODE(just_iret, "iret");
LABEL(set_tf_1);
CODE(set_tf, "pushf; orl $0x100, (%esp); popf; nop" AT(set_tf_1) "nop");
LABEL(set_tf_1);
ICODE(int3_tf, "", "int3");
ICODE(fault_tf, "", "mov 0x800000, %eax");
LABEL(before_fault_1);
CODE(before_fault, "inc %eax" AT(before_fault_1) "mov 0x800000, %eax");
CODE(jump_away, "jmp *%ebx");
CODE16(v_body, "nop; nop");
ICODE(into_tf, "", "into");
CODE(pushf_tf, "pushf; pop %eax");

static void run_special(void) {
    test("step/INT clears TF; after its IRET the next instruction is over before the trap");
    rt_reset();
    idt[0x33] = gate(KCS, ADDR(just_iret), D_INT32 | D_DPL3, 0);
    State s = user_state(int_over);
    Trace t = step(&s);
    expect_exit(&t.last);
    expect("traps", t.count, 2);
    expect("eip", t.eip[0], ADDR(int_after));
    for (u32 ring = 0; ring < 4; ring += 3) {
        test("step/popf sets TF, the trap is after the next instruction/ring%u", ring);
        rt_reset();
        s = ring_state(ring, set_tf);
        State o = run(&s);
        expect("vector", o.vector, V_DB);
        expect("eip", o.eip, ADDR(set_tf_1));
        expect_bits("dr6", o.dr6, 0x4000, 0xe00f);
        test("step/INT3 with TF is INT3/ring%u", ring);
        s = ring_state(ring, int3_tf);
        s.eflags |= F_TF;
        o = run(&s);
        expect("vector", o.vector, V_BP);
        expect("eip", o.eip, ADDR(int3_tf_next));
        expect_bits("eflags", o.eflags, F_TF, F_TF);
        test("step/INTO with OF and TF is INTO/ring%u", ring);
        s = ring_state(ring, into_tf);
        s.eflags |= F_TF | F_OF;
        o = run(&s);
        expect("vector", o.vector, V_OF);
        expect("eip", o.eip, ADDR(into_tf_next));
        test("step/a fault comes instead of the trap/ring%u", ring);
        s = ring_state(ring, fault_tf);
        s.eflags |= F_TF;
        o = run(&s);
        expect_fault(&o, &s, V_PF, ring ? 4 : 0, ADDR(fault_tf_at));
        test("step/the trap comes before the next instruction's fault/ring%u", ring);
        s = ring_state(ring, before_fault);
        t = step(&s);
        expect("traps", t.count, 1);
        expect("eip", t.eip[0], ADDR(before_fault_1));
        expect("vector", t.last.vector, V_PF);
        test("step/a jump to a missing page, first the trap there/ring%u", ring);
        s = ring_state(ring, jump_away);
        s.ebx = 0x800000;
        t = step(&s);
        expect("traps", t.count, 1);
        expect("eip", t.eip[0], 0x800000);
        expect("vector", t.last.vector, V_PF);
        expect("cr2", t.last.cr2, 0x800000);
        test("step/PUSHF pushes TF/ring%u", ring);
        s = ring_state(ring, pushf_tf);
        t = step(&s);
        expect("eax", t.last.eax, F_ONE | F_TF);
    }
    test("step/V86");
    rt_reset();
    s = v86_state(v_body);
    s.eflags |= F_IOPL;
    t = step(&s);
    expect_exit(&t.last);
    expect("traps", t.count, 2);
    expect("ip", t.eip[0], REAL_OFF(v_body) + 1);
}

// The same code stepped after it has run at full speed, and again at full speed afterwards.
CODE(mixed, "xor %eax, %eax; mov $50, %ecx; 1: add %ecx, %eax; dec %ecx; jnz 1b");
static void run_mixed(void) {
    test("step/stepped between unstepped runs");
    rt_reset();
    State s = user_state(mixed), o = run(&s);
    expect("eax", o.eax, 50 * 51 / 2);
    for (u32 i = 0; i < 10; i++) {
        Trace t = step(&s);
        expect("steps", t.count, MAX_STEPS);
        o = run(&s);
        expect("eax", o.eax, 50 * 51 / 2);
        o = t.last;
        o.eflags &= ~F_TF;
        o = run(&o);
        expect("eax", o.eax, 50 * 51 / 2);
        expect("vector", o.vector, V_EXIT);
    }
    test("step/BS stays in DR6 until it is cleared");
    clear_dr6();
    s = user_state(alu);
    s.eflags |= F_TF;
    o = run(&s);
    s = user_state(int3_tf);
    o = run(&s);
    expect_bits("dr6", o.dr6, 0x4000, 0xe00f);
    clear_dr6();
}

void test_main(void) {
    for (u32 i = 0; i < COUNT(cases); i++) {
        if (cases[i].rings & 1) run_case(&cases[i], 0);
        if (cases[i].rings & 2) run_case(&cases[i], 3);
    }
    run_rf();
    run_special();
    run_mixed();
    rt_reset();
}
