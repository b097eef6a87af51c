// SPDX-License-Identifier: MIT
// System registers and descriptors' queries: reserved bits of CR0 and CR4, CR and DR numbers that
// do not exist, LMSW, SMSW, SGDT, SIDT, SLDT, STR, LAR, LSL, VERR, VERW, ARPL; LOCK where it is not
// allowed; instructions of more than 15 bytes; EFLAGS.ID and AC, reserved flags; encodings that are
// undefined.
// SDM 3A 2.5; SDM 2 MOV CRn, MOV DRn, LMSW, LAR, LSL, VERR, ARPL, LOCK; SDM 3A 6.15 (interrupts 6,
// 13).
//   T=sys tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#define X 0x40u
#define DPL(n) ((n) << 5)

// ---- control registers --------------------------------------------------------------------------
ICODE(to_cr0, "", "mov %eax, %cr0");
ICODE(to_cr4, "", "mov %eax, %cr4");
ICODE(to_cr1, "", "mov %eax, %cr1");
ICODE(from_cr1, "", "mov %cr1, %eax");
ICODE(from_cr5, "", ".byte 0x0f, 0x20, 0xe8");
ICODE(from_cr7, "", ".byte 0x0f, 0x20, 0xf8");
ICODE(from_cr0_mod, "", ".byte 0x0f, 0x20, 0x00");       // mod is ignored: EAX
ICODE(from_dr4, "", ".byte 0x0f, 0x21, 0xe0");
ICODE(to_dr5, "", ".byte 0x0f, 0x23, 0xe8");
ICODE(from_dr6, "", "mov %dr6, %eax");

static void run_cr0_refused(const char *name, u32 set, u32 clear) {
    test("sys/CR0/%s", name);
    rt_reset();
    State s = kernel_state(to_cr0);
    s.eax = (get_cr0() | set) & ~clear;
    u32 before = get_cr0();
    State o = run(&s);
    expect_fault(&o, &s, V_GP, 0, ADDR(to_cr0_at));
    expect("cr0", get_cr0(), before);
}

static void run_cr0(void) {
    run_cr0_refused("NW without CD", 1u << 29, 1u << 30);
    test("sys/CR0/reserved bits are ignored, ET is fixed");
    rt_reset();
    State s = kernel_state(to_cr0);
    s.eax = (get_cr0() | 0x1ffaffc0) & ~0x10u;
    u32 before = get_cr0();
    State o = run(&s);
    expect_exit(&o);
    expect("cr0", get_cr0(), before);
    rt_reset();
}

static void run_cr4(void) {
    static const u8 bits[] = { 15, 26, 27, 28, 29, 30, 31 };     // the others mean something by now
    for (u32 i = 0; i < COUNT(bits); i++) {
        test("sys/CR4/reserved bit %u", bits[i]);
        rt_reset();
        State s = kernel_state(to_cr4);
        s.eax = 1u << bits[i];
        State o = run(&s);
        expect_fault(&o, &s, V_GP, 0, ADDR(to_cr4_at));
        set_cr4(0);
    }
}

static void run_missing(void) {
    static const struct { const char *name; const u8 *code, *at; } rows[] = {
        { "mov to CR1", to_cr1, to_cr1_at }, { "mov from CR1", from_cr1, from_cr1_at },
        { "mov from CR5", from_cr5, from_cr5_at }, { "mov from CR7", from_cr7, from_cr7_at },
    };
    rt_reset();
    for (u32 i = 0; i < COUNT(rows); i++) {
        test("sys/missing/%s", rows[i].name);
        State s = kernel_state(rows[i].code), o = run(&s);
        expect_fault(&o, &s, V_UD, 0, ADDR(rows[i].at));
    }
    test("sys/mod of MOV from CR0 is ignored");
    State s = kernel_state(from_cr0_mod), o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, get_cr0());
    for (u32 de = 0; de < 2; de++) {
        test("sys/DR4 with CR4.DE %u", de);
        set_cr4(de ? CR4_DE : 0);
        s = kernel_state(from_dr4);
        o = run(&s);
        if (de) expect_fault(&o, &s, V_UD, 0, ADDR(from_dr4_at));
        else expect_exit(&o), expect("eax", o.eax, 0xffff0ff0);
        test("sys/DR5 with CR4.DE %u", de);
        s = kernel_state(to_dr5);
        s.eax = 0x400;
        o = run(&s);
        if (de) expect_fault(&o, &s, V_UD, 0, ADDR(to_dr5_at));
        else expect_exit(&o);
    }
    rt_reset();
}

ICODE(lmsw_ax, "", "lmsw %ax");
ICODE(lmsw_mem, "", "lmsw (%ebx)");
ICODE(smsw_eax, "", "smsw %eax");
ICODE(smsw_mem, "", "smsw (%ebx)");
static void run_msw(void) {
    test("sys/LMSW sets MP EM TS and cannot clear PE");
    rt_reset();
    State s = kernel_state(lmsw_ax);
    s.eax = 0xfff0 | CR0_TS | CR0_EM;
    u32 before = get_cr0();
    State o = run(&s);
    expect_exit(&o);
    expect("cr0", get_cr0(), (before & ~0xeu) | CR0_TS | CR0_EM | 1);
    rt_reset();
    for (u32 ring = 0; ring < 4; ring += 3) {
        test("sys/SMSW/ring%u", ring);
        s = ring_state(ring, smsw_mem);
        s.ebx = win(0);
        memset(win_phys(0), 0x55, 4);
        o = run(&s);
        expect_exit(&o);
        expect("memory", *(u32 *)win_phys(0), 0x55550000 | (get_cr0() & 0xffff));
    }
}

ICODE(sgdt_mem, "", "sgdt (%ebx)");
ICODE(sidt_mem, "", "sidt (%ebx)");
ICODE(sldt_eax, "", "sldt %eax");
ICODE(str_mem, "", "str (%ebx)");
ICODE(sgdt_reg, "", ".byte 0x0f, 0x01, 0xc0");
ICODE(lidt_reg, "", ".byte 0x0f, 0x01, 0xd8");
ICODE(invlpg_reg, "", ".byte 0x0f, 0x01, 0xf8");
static void run_tables(void) {
    for (u32 ring = 0; ring < 4; ring += 3) {
        rt_reset();
        test("sys/SGDT/ring%u", ring);
        State s = ring_state(ring, sgdt_mem);
        s.ebx = win(0);
        memset(win_phys(0), 0x77, 8);
        State o = run(&s);
        expect_exit(&o);
        expect("limit", *(u16 *)win_phys(0), 511);
        expect("base", *(u32 *)(win_phys(0) + 2), ADDR(gdt));
        expect("beyond", *(u16 *)(win_phys(0) + 6), 0x7777);
        test("sys/SIDT/ring%u", ring);
        s = ring_state(ring, sidt_mem);
        s.ebx = win(0);
        o = run(&s);
        expect_exit(&o);
        expect("limit", *(u16 *)win_phys(0), 511);
        expect("base", *(u32 *)(win_phys(0) + 2), ADDR(idt));
        test("sys/SLDT/ring%u", ring);
        s = ring_state(ring, sldt_eax);
        o = run(&s);
        expect_exit(&o);
        expect("eax", o.eax & 0xffff, 0);
        test("sys/STR to memory writes 2 bytes/ring%u", ring);
        s = ring_state(ring, str_mem);
        s.ebx = win(0);
        memset(win_phys(0), 0x77, 8);
        o = run(&s);
        expect_exit(&o);
        expect("memory", *(u32 *)win_phys(0), 0x77770000 | TSS_SEL);
    }
}

// ---- LAR LSL VERR VERW --------------------------------------------------------------------------
ICODE(lar32, "", "lar %ecx, %eax");
ICODE(lsl32, "", "lsl %ecx, %eax");
ICODE(lar16, "", "lar %cx, %ax");
ICODE(verr, "", "verr %cx");
ICODE(verw, "", "verw %cx");

typedef struct Query {
    const char *name;
    u32 access, rpl;                         // descriptor in X; rpl of the selector, from ring 3
    u32 lar, lsl, verr, verw;                // ZF from ring 3
} Query;
static const Query queries[] = {
    { "data dpl 3", D_DATA | DPL(3), 3, 1, 1, 1, 1 },
    { "data dpl 0", D_DATA, 0, 0, 0, 0, 0 },
    { "data dpl 2, rpl 0", D_DATA | DPL(2), 0, 0, 0, 0, 0 },
    { "read-only dpl 3", (D_DATA & ~2) | DPL(3), 3, 1, 1, 1, 0 },
    { "code dpl 3", D_CODE | DPL(3), 3, 1, 1, 1, 0 },
    { "code execute-only dpl 3", (D_CODE & ~2) | DPL(3), 3, 1, 1, 0, 0 },
    { "conforming dpl 0", D_CODE | 4, 3, 1, 1, 1, 0 },
    { "code dpl 0", D_CODE, 3, 0, 0, 0, 0 },
    { "not present dpl 3", (D_DATA & ~0x80) | DPL(3), 3, 1, 1, 1, 1 },
    { "tss32", D_TSS32 | DPL(3), 3, 1, 1, 0, 0 },
    { "tss32 busy", D_TSS32 | 2 | DPL(3), 3, 1, 1, 0, 0 },
    { "tss16", D_TSS16 | DPL(3), 3, 1, 1, 0, 0 },
    { "LDT", D_LDT | DPL(3), 3, 1, 1, 0, 0 },
    { "call gate 32", D_CALL32 | DPL(3), 3, 1, 0, 0, 0 },
    { "call gate 16", D_CALL16 | DPL(3), 3, 1, 0, 0, 0 },
    { "task gate", D_TASK | DPL(3), 3, 1, 0, 0, 0 },
    { "interrupt gate", D_INT32 | DPL(3), 3, 0, 0, 0, 0 },
    { "trap gate 16", D_TRAP16 | DPL(3), 3, 0, 0, 0, 0 },
    { "type 0", 0x80 | DPL(3), 3, 0, 0, 0, 0 },
    { "type 8", 0x88 | DPL(3), 3, 0, 0, 0, 0 },
};

static void run_query(const char *what, const Query *q, const u8 *code, u32 selector, u32 zf,
                      u32 value) {
    test("sys/%s/%s", what,
         q               ? q->name
         : selector == 3 ? "null"
         : selector & 4  ? "LDT is null"
                         : "beyond the GDT");
    for (u32 old = 0; old < 2; old++) {
        State s = user_state(code);
        s.ecx = 0x12340000 | selector;
        s.eflags |= old ? F_ARITH : 0;
        State o = run(&s), want = s;
        want.eflags = (s.eflags & ~F_ZF) | (zf ? F_ZF : 0);
        want.eax = value;
        if (code == lar32 && zf) o.eax &= ~0xf0000u;     // undefined
        expect_exit(&o);
        expect_same(&o, &want, REGS | FLAGS);
    }
}

static void run_queries(void) {
    static const u32 same = 0xa0a1a2a3;
    rt_reset();
    for (u32 i = 0; i < COUNT(queries); i++) {
        const Query *q = &queries[i];
        u64 d = descriptor(0x12345678, 0xabcde, q->access | D_G | D_32);
        gdt_set(X, d);
        u32 high = (u32)(d >> 32), sel = X | q->rpl;
        run_query("LAR", q, lar32, sel, q->lar, q->lar ? high & 0x00f0ff00 : same);
        run_query("LAR 16", q, lar16, sel, q->lar,
                  q->lar ? (same & 0xffff0000) | (high & 0xff00) : same);
        run_query("LSL", q, lsl32, sel, q->lsl, q->lsl ? 0xabcdefff : same);
        run_query("VERR", q, verr, sel, q->verr, same);
        run_query("VERW", q, verw, sel, q->verw, same);
        expect("descriptor", (u32)(gdt[X >> 3] >> 32), high);
    }
    static const u32 odd[] = { 3, 0x207, 0x203 };
    for (u32 i = 0; i < COUNT(odd); i++) {
        run_query("LAR", 0, lar32, odd[i], 0, same);
        run_query("LSL", 0, lsl32, odd[i], 0, same);
        run_query("VERR", 0, verr, odd[i], 0, same);
        run_query("VERW", 0, verw, odd[i], 0, same);
    }
}

ICODE(arpl_reg, "", "arpl %cx, %ax");
ICODE(arpl_mem, "", "arpl %cx, (%ebx)");
static void run_arpl(void) {
    rt_reset();
    for (u32 a = 0; a < 4; a++)
        for (u32 c = 0; c < 4; c++) {
            test("sys/ARPL/%u with %u", a, c);
            State s = user_state(arpl_reg);
            s.eax = 0x1234abc0 | a;
            s.ecx = 0xfffffffc | c;
            s.eflags |= F_ARITH & ~F_ZF;
            u32 result = 0x1234abc0 | (a < c ? c : a), zf = a < c ? F_ZF : 0;
            State o = run(&s);
            expect_exit(&o);
            expect("eax", o.eax, result);
            expect("eflags", o.eflags, s.eflags | zf);
            s.eip = ADDR(arpl_mem);
            s.ebx = win(0);
            *(u32 *)win_phys(0) = 0x1234abc0 | a;
            o = run(&s);
            expect_exit(&o);
            expect("memory", *(u32 *)win_phys(0), result);
            expect("eflags", o.eflags, s.eflags | zf);
            // The operand is written only when it changes.
            test("sys/ARPL/%u with %u, read-only", a, c);
            *(u32 *)win_phys(0) = 0x1234abc0 | a;
            map(0, PTE_P | PTE_U);
            o = run(&s);
            if (zf) {
                expect_fault(&o, &s, V_PF, 7, ADDR(arpl_mem));
            } else {
                expect_exit(&o);
                expect("eflags", o.eflags, s.eflags);
            }
            expect("memory", *(u32 *)win_phys(0), 0x1234abc0 | a);
            map(0, PTE_ALL);
            s.ds = FREE_SEL | 3;
            gdt_set(FREE_SEL, descriptor(0, 0xfffff, (D_DATA & ~2u) | D_DPL3 | D_32 | D_G));
            o = run(&s);
            if (zf) expect_fault(&o, &s, V_GP, 0, ADDR(arpl_mem));
            else expect_exit(&o);
        }
}

// ---- encodings ----------------------------------------------------------------------------------
// LOCK is for a list of instructions with memory as destination; SDM 2 LOCK.
static const struct { const char *name; u8 bytes[8]; u32 length, fine; } locked[] = {
    { "lock add reg", { 0xf0, 0x01, 0xc8 }, 3, 0 },
    { "lock add mem", { 0xf0, 0x01, 0x0b }, 3, 1 },
    { "lock add reg, mem", { 0xf0, 0x03, 0x0b }, 3, 0 },
    { "lock cmp mem", { 0xf0, 0x39, 0x0b }, 3, 0 },
    { "lock cmp mem, imm", { 0xf0, 0x83, 0x3b, 1 }, 4, 0 },
    { "lock add mem, imm", { 0xf0, 0x83, 0x03, 1 }, 4, 1 },
    { "lock mov mem", { 0xf0, 0x89, 0x0b }, 3, 0 },
    { "lock nop", { 0xf0, 0x90 }, 2, 0 },
    { "lock xchg mem", { 0xf0, 0x87, 0x0b }, 3, 1 },
    { "lock xchg reg", { 0xf0, 0x87, 0xc8 }, 3, 0 },
    { "lock inc mem", { 0xf0, 0xff, 0x03 }, 3, 1 },
    { "lock inc reg", { 0xf0, 0x40 }, 2, 0 },
    { "lock push mem", { 0xf0, 0xff, 0x33 }, 3, 0 },
    { "lock not mem", { 0xf0, 0xf7, 0x13 }, 3, 1 },
    { "lock test mem", { 0xf0, 0x85, 0x0b }, 3, 0 },
    { "lock bt mem", { 0xf0, 0x0f, 0xba, 0x23, 1 }, 5, 0 },
    { "lock bts mem", { 0xf0, 0x0f, 0xba, 0x2b, 1 }, 5, 1 },
    { "lock xadd mem", { 0xf0, 0x0f, 0xc1, 0x0b }, 4, 1 },
    { "lock cmpxchg mem", { 0xf0, 0x0f, 0xb1, 0x0b }, 4, 1 },
    { "lock cmpxchg8b", { 0xf0, 0x0f, 0xc7, 0x0b }, 4, 1 },
    { "lock shl mem", { 0xf0, 0xd1, 0x23 }, 3, 0 },
    { "lock movsb", { 0xf0, 0xa4 }, 2, 0 },
    { "lock pop mem", { 0xf0, 0x8f, 0x03 }, 3, 0 },
    { "lock jmp", { 0xf0, 0xeb, 0 }, 3, 0 },
};

static State run_bytes(const u8 *bytes, u32 length, unsigned ring, State *before) {
    u8 *code = win_phys(1);
    memcpy(code, bytes, length);
    code[length] = 0xcd;
    code[length + 1] = V_EXIT;
    State s = ring_state(ring, (const void *)win(1));
    s.ebx = win(0);
    s.esi = win(0) + 0x100;
    s.edi = win(0) + 0x200;
    *before = s;
    return run(&s);
}

static void run_locked(void) {
    rt_reset();
    for (u32 i = 0; i < COUNT(locked); i++) {
        test("sys/%s", locked[i].name);
        State s, o = run_bytes(locked[i].bytes, locked[i].length, 3, &s);
        if (locked[i].fine) expect_exit(&o);
        else expect_fault(&o, &s, V_UD, 0, win(1));
    }
}

static const struct { const char *name; u8 bytes[8]; u32 length;
} undefined[] = {
    { "lea reg, reg", { 0x8d, 0xc1 }, 2 },
    { "les reg, reg", { 0xc4, 0xc1 }, 2 },
    { "bound reg, reg", { 0x62, 0xc1 }, 2 },
    { "ljmp *reg", { 0xff, 0xe8 }, 2 },
    { "lcall *reg", { 0xff, 0xd8 }, 2 },
    { "group 5 /7", { 0xff, 0xfb }, 2 },
    { "group 4 /2", { 0xfe, 0xd0 }, 2 },
    { "mov to CS", { 0x8e, 0xc9 }, 2 },
    { "mov to segment 6", { 0x8e, 0xf1 }, 2 },
    { "mov from segment 7", { 0x8c, 0xf9 }, 2 },
    { "pop mem /1", { 0x8f, 0x0b }, 2 },
    { "mov imm /1", { 0xc6, 0x0b, 0 }, 3 },
    { "0f ba /0", { 0x0f, 0xba, 0x03, 0 }, 4 },
    { "cmpxchg8b reg", { 0x0f, 0xc7, 0xc8 }, 3 },
    { "ud2", { 0x0f, 0x0b }, 2 },
    { "ud1", { 0x0f, 0xb9, 0xc0 }, 3 },
    { "0f 04", { 0x0f, 0x04 }, 2 },
    { "0f 0a", { 0x0f, 0x0a }, 2 },
    { "lidt reg", { 0x0f, 0x01, 0xdb }, 3 },
    { "sgdt reg", { 0x0f, 0x01, 0xc3 }, 3 },
    { "0f 00 /6", { 0x0f, 0x00, 0xf3 }, 3 },
    { "lss reg", { 0x0f, 0xb2, 0xc0 }, 3 },
    { "d9 d1", { 0xd9, 0xd1 }, 2 },
};

static void run_undefined(void) {
    for (u32 ring = 0; ring < 4; ring += 3)
        for (u32 i = 0; i < COUNT(undefined); i++) {
            test("sys/undefined/%s/ring%u", undefined[i].name, ring);
            rt_reset();
            State s, o = run_bytes(undefined[i].bytes, undefined[i].length, ring, &s);
            expect_fault(&o, &s, V_UD, 0, win(1));
        }
}

// 15 bytes are the most, whatever they are; 16 are #GP even across a page whose second half is
// missing.
static void run_long(void) {
    rt_reset();
    for (u32 prefixes = 12; prefixes < 20; prefixes++) {
        test("sys/length/%u prefixes and NOP", prefixes);
        u8 bytes[32];
        memset(bytes, 0x2e, prefixes);
        bytes[prefixes] = 0x90;
        State s, o = run_bytes(bytes, prefixes + 1, 3, &s);
        if (prefixes < 15) expect_exit(&o);
        else expect_fault(&o, &s, V_GP, 0, win(1));
    }
    test("sys/length/14 bytes with lock, displacement, immediate");
    static const u8 full[] = { 0x3e, 0x3e, 0x3e, 0xf0, 0x81, 0x83, 0,
                               1,    0,    0,    0x78, 0x56, 0x34, 0x12 };
    State s, o = run_bytes(full, sizeof full, 3, &s);
    expect_exit(&o);
    test("sys/length/prefixes up to a missing page");
    for (u32 left = 13; left < 17; left++) {
        memset((void *)(0x301000 + 4096 - 16), 0x3e, 16);
        s = user_state((const void *)(win(2) - left));
        map(2, 0);
        o = run(&s);
        expect("vector", o.vector, left < 15 ? V_PF : V_GP);
        expect("eip", o.eip, win(2) - left);
        if (left < 15) expect("cr2", o.cr2, win(2));
    }
    map(2, PTE_ALL);
}

// ---- flags that identify the processor ----------------------------------------------------------
CODE(
    toggle,
    "pushf; pop %eax; mov %eax, %edx; xor $0x240000, %eax; push %eax;"
    "popf; pushf; pop %eax; push %edx; popf");
CODE(reserved_flags, "push %eax; popf; pushf; pop %eax");
static void run_flags(void) {
    rt_reset();
    for (u32 ring = 0; ring < 4; ring += 3) {
        test("sys/flags/ID and AC can be changed/ring%u", ring);
        State s = ring_state(ring, toggle), o = run(&s);
        expect_exit(&o);
        expect("changed", o.eax ^ o.edx, F_ID | F_AC);
        test("sys/flags/reserved bits/ring%u", ring);
        s = ring_state(ring, reserved_flags);
        s.eax = 0xffc08028;
        o = run(&s);
        expect_exit(&o);
        expect("eflags", o.eax, F_ONE);
        s = ring_state(ring, reserved_flags);
    }
}

CODE(cpuid_0, "xor %eax, %eax; cpuid");
static void run_cpuid(void) {
    test("sys/CPUID in ring 3, flags unchanged");
    rt_reset();
    State s = user_state(cpuid_0);
    State o = run(&s);
    expect_exit(&o);
    expect("at least leaf 1", o.eax >= 1, 1);
    expect("eflags", o.eflags, F_ONE | F_ZF | F_PF);
}

void test_main(void) {
    run_cr0();
    run_missing();
    run_msw();
    run_tables();
    run_queries();
    run_arpl();
    run_locked();
    run_undefined();
    run_long();
    run_flags();
    run_cpuid();
    run_cr0_refused("PG without PE", 0, 1);              // last: QEMU does not survive them
    run_cr4();
    rt_reset();
}
