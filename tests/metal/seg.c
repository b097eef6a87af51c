// SPDX-License-Identifier: MIT
// Segments: limits (expand-up, expand-down, byte and page granular, 16- and 32-bit), types, null
// selectors, #SS or #GP; what loading a segment register checks, which error it gives, the accessed
// bit; the limit of CS for the next instruction and for jumps.
// SDM 3A 3.4.5.1, 5.3, 5.4, 5.5, 5.6; SDM 2 MOV, POP, LxS.
//   T=seg tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#define SEL 0x40u

// ---- accesses -----------------------------------------------------------------------------------
ICODE(load1, "", "mov %fs:(%ebx), %al");
ICODE(load2, "", "mov %fs:(%ebx), %ax");
ICODE(load4, "", "mov %fs:(%ebx), %eax");
ICODE(load8, "", "fldl %fs:(%ebx)");
ICODE(load10, "", "fldt %fs:(%ebx)");
ICODE(store1, "", "mov %al, %fs:(%ebx)");
ICODE(store2, "", "mov %ax, %fs:(%ebx)");
ICODE(store4, "", "mov %eax, %fs:(%ebx)");
ICODE(store8, "", "fstpl %fs:(%ebx)");
ICODE(rmw4, "", "incl %fs:(%ebx)");
ICODE(load4_16, "", "addr16 mov %fs:(%bx), %eax");
typedef struct Access { const char *name; const u8 *code, *at; u32 bytes, write; } Access;
#define A(name, bytes, write) { #name, name, name##_at, bytes, write }
static const Access accesses[] = {
    A(load1, 1, 0), A(load2, 2, 0), A(load4, 4, 0), A(load8, 8, 0), A(load10, 10, 0),
    A(store1, 1, 1), A(store2, 2, 1), A(store4, 4, 1), A(store8, 8, 1), A(rmw4, 4, 1),
};

typedef struct Segment {
    const char *name;
    u32 limit, access;                       // as in the descriptor
    u32 first, last;                         // valid offsets
    u32 readable, writable;
} Segment;
static const Segment segments[] = {
    { "up byte granular", 0xabc, D_DATA | D_32, 0, 0xabc, 1, 1 },
    { "up limit 0", 0, D_DATA | D_32, 0, 0, 1, 1 },
    { "up limit 3", 3, D_DATA | D_32, 0, 3, 1, 1 },
    { "up page granular", 1, D_DATA | D_32 | D_G, 0, 0x1fff, 1, 1 },
    { "up 16 bit", 0x1234, D_DATA, 0, 0x1234, 1, 1 },
    { "up 64K", 0xffff, D_DATA, 0, 0xffff, 1, 1 },
    { "up 4G", 0xfffff, D_DATA | D_32 | D_G, 0, 0xffffffff, 1, 1 },
    { "read-only", 0xabc, (D_DATA & ~2) | D_32, 0, 0xabc, 1, 0 },
    { "code readable", 0xabc, D_CODE | D_32, 0, 0xabc, 1, 0 },
    { "down 32 bit", 0xabc, (D_DATA | 4) | D_32, 0xabd, 0xffffffff, 1, 1 },
    { "down 16 bit", 0xabc, D_DATA | 4, 0xabd, 0xffff, 1, 1 },
    { "down page granular", 1, (D_DATA | 4) | D_32 | D_G, 0x2000, 0xffffffff, 1, 1 },
    { "down read-only", 0x7ff, ((D_DATA | 4) & ~2) | D_32, 0x800, 0xffffffff, 1, 0 },
    { "down limit 0xffff", 0xffff, D_DATA | 4, 0x10000, 0xffff, 1, 1 },       // empty
};

static int inside(const Segment *g, u32 offset, u32 bytes) {
    u32 last = offset + bytes - 1;
    return last >= offset && offset >= g->first && last <= g->last;
}

static void run_access(const Access *a, const Segment *g, unsigned ring, u32 offset) {
    u32 dpl = ring ? D_DPL3 : 0;
    gdt_set(SEL, descriptor(win(0), g->limit, g->access | dpl));
    State s = ring_state(ring, a->code);
    s.fs = SEL | ring;
    s.ebx = offset;
    int right = (a->write ? g->writable : g->readable) && inside(g, offset, a->bytes);
    State o = run(&s);
    if (right) expect("vector", o.vector, V_EXIT);
    else expect_fault(&o, &s, V_GP, 0, ADDR(a->at));
    if (o.vector != (right ? V_EXIT : V_GP)) expect("no failure at offset", offset, ~offset);
}

static void run_limits(void) {
    rt_reset();
    for (unsigned k = 0; k < COUNT(segments); k++)
        for (unsigned i = 0; i < COUNT(accesses); i++)
            for (unsigned ring = 0; ring < 4; ring += 3) {
                const Segment *g = &segments[k];
                const Access *a = &accesses[i];
                test("seg/limit/%s/%s/ring%u", g->name, a->name, ring);
                __asm__ volatile("fninit; fld1; fld1");
                // Around the ends; not at 4 GiB, where an access that wraps may fault or not.
                for (i32 d = -11; d <= 2; d++) {
                    __asm__ volatile("fninit; fld1; fld1");
                    if (g->last + (u32)d < 0x40000) run_access(a, g, ring, g->last + (u32)d);
                    __asm__ volatile("fninit; fld1; fld1");
                    if (g->first + (u32)d < 0x40000) run_access(a, g, ring, g->first + (u32)d);
                }
            }
}

// ---- SS: #SS instead of #GP ---------------------------------------------------------------------
ICODE(ss_mov, "", "mov %ss:(%ebx), %eax");
ICODE(ss_ebp, "", "mov (%ebp), %eax");
ICODE(ss_esp, "", "mov 0x7f0(%esp), %eax");
ICODE(ss_push, "", "push %eax");
ICODE(ss_pop, "", "pop %eax");
ICODE(ss_call, "", "call 1f; 1:");
ICODE(ss_ret, "", "ret");
ICODE(ss_pusha, "", "pusha");
ICODE(ss_popa, "", "popa");
ICODE(ss_enter, "", "enter $8, $2");
ICODE(ss_leave, "", "leave");
ICODE(ss_pushf, "", "pushf");
ICODE(ss_popf, "", "popf");
ICODE(ss_push_seg, "", "push %ds");
ICODE(ss_pop_seg, "", "pop %ds");
ICODE(ss_push16, "", "pushw %ax");
ICODE(ss_iret, "", "iret");
ICODE(ss_lret, "", "lret");
ICODE(ss_lcall, "", "lcall $0x1b, $ss_lcall_next");
ICODE(ss_inc, "", "incl (%ebp)");
static const struct { const char *name; const u8 *code, *at; u32 esp;
} stacks[] = {
#define S(name, esp) { #name, name, name##_at, esp }
    S(ss_mov, 0x700),  S(ss_ebp, 0x700),  S(ss_esp, 0x10),   S(ss_push, 0),
    S(ss_push, 0x802), S(ss_pop, 0x7fd),  S(ss_call, 2),     S(ss_ret, 0x7fe),
    S(ss_pusha, 0x1c), S(ss_popa, 0x7e4), S(ss_enter, 8),    S(ss_leave, 0x400),
    S(ss_pushf, 3),    S(ss_popf, 0x7ff), S(ss_push_seg, 0), S(ss_pop_seg, 0x7ff),
    S(ss_push16, 1),   S(ss_iret, 0x7f6), S(ss_lret, 0x7fa), S(ss_lcall, 6),
    S(ss_inc, 0x700),
#undef S
};

static void run_stacks(void) {
    rt_reset();
    gdt_set(SEL, descriptor(win(0), 0x7ff, D_DATA | D_32 | D_DPL3));
    for (unsigned i = 0; i < COUNT(stacks); i++) {
        test("seg/stack limit/%s/esp %x", stacks[i].name, stacks[i].esp);
        win_reset();
        State s = user_state(stacks[i].code);
        s.ss = SEL | 3;
        s.esp = stacks[i].esp;
        s.ebx = s.ebp = 0x7fd;
        memset(win_phys(0) + 0x7f0, 0, 16);
        static u8 before[0x800];
        memcpy(before, win_phys(0), 0x800);
        State o = run(&s);
        expect_fault(&o, &s, V_SS, 0, ADDR(stacks[i].at));
        // (several words: those before the failing one may have been written)
        const u8 *c = stacks[i].code;
        if (c != ss_pusha && c != ss_enter && c != ss_lcall)
            expect_mem("stack", win_phys(0), before, 0x800);
    }
}

// ---- loading segment registers ------------------------------------------------------------------
ICODE(to_ds, "", "mov %cx, %ds");
ICODE(to_es, "", "mov %cx, %es");
ICODE(to_fs, "", "mov %cx, %fs");
ICODE(to_ss, "", "mov %cx, %ss");
ICODE(pop_es, "", "pop %es");
ICODE(pop_gs, "", "pop %gs");
ICODE(les_mem, "", "les (%ebx), %eax");
ICODE(lss_mem, "", "lss (%ebx), %eax");
static const struct Loader { const char *name; const u8 *code, *at; u32 stack;
} loaders[] = {
#define L(name, stack) { #name, name, name##_at, stack }
    L(to_ds, 0),  L(to_es, 0),   L(to_fs, 0), L(pop_es, 0),
    L(pop_gs, 0), L(les_mem, 0), L(to_ss, 1), L(lss_mem, 1),
#undef L
};

enum { FINE = 0xff };
typedef struct Load {
    const char *name;
    u32 access, rpl;                         // of descriptor and selector
    u32 data0, stack0, data3, stack3;        // vector or FINE: ring 0, ring 3
} Load;
#define DPL(n) ((n) << 5)
static const Load loads[] = {
    { "data, dpl 0, rpl 0", D_DATA, 0, FINE, FINE, V_GP, V_GP },
    { "data, dpl 0, rpl 3", D_DATA, 3, V_GP, V_GP, V_GP, V_GP },
    { "data, dpl 3, rpl 0", D_DATA | DPL(3), 0, FINE, V_GP, FINE, V_GP },
    { "data, dpl 3, rpl 3", D_DATA | DPL(3), 3, FINE, V_GP, FINE, FINE },
    { "data, dpl 1, rpl 1", D_DATA | DPL(1), 1, FINE, V_GP, V_GP, V_GP },
    { "read-only, dpl 3", (D_DATA & ~2) | DPL(3), 3, FINE, V_GP, FINE, V_GP },
    { "expand-down, dpl 3", (D_DATA | 4) | DPL(3), 3, FINE, V_GP, FINE, FINE },
    { "code readable, dpl 3", D_CODE | DPL(3), 3, FINE, V_GP, FINE, V_GP },
    { "code execute-only, dpl 3", (D_CODE & ~2) | DPL(3), 3, V_GP, V_GP, V_GP, V_GP },
    { "code readable, dpl 0, rpl 0", D_CODE, 0, FINE, V_GP, V_GP, V_GP },
    { "conforming readable, dpl 0, rpl 3", D_CODE | 4, 3, FINE, V_GP, FINE, V_GP },
    { "conforming execute-only, dpl 0", (D_CODE | 4) & ~2, 3, V_GP, V_GP, V_GP, V_GP },
    { "data not present, dpl 3", (D_DATA & ~0x80) | DPL(3), 3, V_NP, V_GP, V_NP, V_SS },
    { "data not present, dpl 0, rpl 0", D_DATA & ~0x80, 0, V_NP, V_SS, V_GP, V_GP },
    { "tss", D_TSS32 | DPL(3), 3, V_GP, V_GP, V_GP, V_GP },
    { "call gate", D_CALL32 | DPL(3), 3, V_GP, V_GP, V_GP, V_GP },
    { "type 0", 0x80 | DPL(3), 3, V_GP, V_GP, V_GP, V_GP },
};

static void loader_operand(State *s, u32 selector) {
    s->ecx = 0xc0c10000 | selector;
    s->ebx = win(0);
    u32 *at = (u32 *)win_phys(0);
    at[0] = s->esp;
    at[1] = selector;
    *(u32 *)s->esp = selector;
}

static void run_load(const struct Loader *l, const Load *d, unsigned ring) {
    test("seg/load/%s/%s/ring%u", l->name, d->name, ring);
    u64 value = descriptor(0, 0xfffff, d->access | D_32 | D_G);
    gdt_set(SEL, value);
    State s = ring_state(ring, l->code);
    loader_operand(&s, SEL | d->rpl);
    u32 want = ring ? (l->stack ? d->stack3 : d->data3) : (l->stack ? d->stack0 : d->data0);
    State o = run(&s);
    if (want == FINE) expect_exit(&o);
    else expect_fault(&o, &s, want, SEL, ADDR(l->at));
    u64 accessed = want == FINE ? (u64)D_ACCESSED << 40 : 0;
    expect("descriptor", (u32)(gdt[SEL >> 3] >> 32), (u32)((value | accessed) >> 32));
}

static void run_special(const struct Loader *l, unsigned ring) {
    static const struct { const char *name; u32 selector, error; int stack_only; } odd[] = {
        { "null", 0, 0, 1 }, { "null with rpl 3", 3, 0, 1 }, { "beyond the GDT", 0x203, 0x200, 0 },
        { "LDT is null", 0x0f, 0x0c, 0 }, { "selector ffff", 0xffff, 0xfffc, 0 },
    };
    for (unsigned i = 0; i < COUNT(odd); i++) {
        test("seg/load/%s/%s/ring%u", l->name, odd[i].name, ring);
        State s = ring_state(ring, l->code);
        loader_operand(&s, odd[i].selector);
        State o = run(&s);
        if (odd[i].stack_only && !l->stack) expect_exit(&o);
        else expect_fault(&o, &s, V_GP, odd[i].error, ADDR(l->at));
    }
}

static void run_loads(void) {
    rt_reset();
    for (unsigned i = 0; i < COUNT(loaders); i++)
        for (unsigned ring = 0; ring < 4; ring += 3) {
            for (unsigned k = 0; k < COUNT(loads); k++) run_load(&loaders[i], &loads[k], ring);
            run_special(&loaders[i], ring);
        }
}

// A selector whose descriptor ends exactly at, or one byte beyond, the table's limit.
static void run_table_limit(void) {
    extern u16 rt_gdtr[3];
    rt_reset();
    for (u32 limit = 0x46; limit <= 0x48; limit++) {
        test("seg/load/GDT limit %x, selector 40", limit);
        struct { u16 limit; u32 base; } __attribute__((packed)) table = { (u16)limit, ADDR(gdt) };
        gdt_set(SEL, descriptor(0, 0xfffff, D_DATA | D_32 | D_G));
        __asm__ volatile("lgdt %0" :: "m"(table));
        State s = kernel_state(to_ds);
        s.ecx = SEL;
        State o = run(&s);
        if (limit == 0x46) expect_fault(&o, &s, V_GP, SEL, ADDR(to_ds_at));
        else expect_exit(&o);
        __asm__ volatile("lgdt %0" :: "m"(*rt_gdtr));
    }
}

static void run_ldt(void) {
    static u64 ldt[4];
    rt_reset();
    ldt[1] = descriptor(win(0), 15, D_DATA | D_32 | DPL(3));
    gdt_set(SEL, descriptor(ADDR(ldt), sizeof ldt - 1, D_LDT));
    __asm__ volatile("lldt %w0" :: "r"(SEL));
    test("seg/load/from the LDT");
    State s = user_state(load4);
    s.fs = 0x0f;
    s.ebx = 12;
    State o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, *(u32 *)(win_phys(0) + 12));
    test("seg/load/LDT's limit");
    s = user_state(to_ds);
    s.ecx = 0x27;
    o = run(&s);
    expect_fault(&o, &s, V_GP, 0x24, ADDR(to_ds_at));
    test("seg/load/null descriptor of the LDT");
    s.ecx = 0x07;
    o = run(&s);
    expect_fault(&o, &s, V_GP, 0x04, ADDR(to_ds_at));
    __asm__ volatile("lldt %w0" :: "r"(0));
}

// ---- null selectors, and what stays in a register -----------------------------------------------
static void run_null(void) {
    rt_reset();
    for (unsigned i = 0; i < COUNT(accesses); i++) {
        test("seg/null/%s", accesses[i].name);
        for (u32 rpl = 0; rpl < 4; rpl++) {          // in ring 0: a return to ring 3 may clear RPL
            __asm__ volatile("fninit; fld1; fld1");
            State s = kernel_state(accesses[i].code);
            s.fs = rpl;
            s.ebx = win(0);
            State o = run(&s);
            expect_fault(&o, &s, V_GP, 0, ADDR(accesses[i].at));
        }
    }
}

CODE(reload,
     "mov %cx, %fs; mov %fs:(%ebx), %eax; sgdt (%esi); movl $0, (%edi); mov %fs:(%ebx), %eax");
static void run_cached(void) {
    rt_reset();
    test("seg/a changed descriptor counts from the next load on");
    gdt_set(SEL, descriptor(win(0), 0xfff, D_DATA | D_32));
    State s = kernel_state(reload);
    s.ecx = SEL;
    s.ebx = 0x10;
    s.esi = win(2);
    s.edi = ADDR(&gdt[SEL >> 3]);
    State o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, *(u32 *)(win_phys(0) + 0x10));
}

// ---- CS -----------------------------------------------------------------------------------------
LABEL(cs_reg_at);
LABEL(cs_ret_at);
LABEL(cs_call_at);
LABEL(cs_jcc_at);
CODE(cs_reg, AT(cs_reg_at) "jmp *%eax");
CODE(cs_ret, AT(cs_ret_at) "ret");
CODE(cs_call, AT(cs_call_at) "call *%eax");
CODE(cs_jcc, AT(cs_jcc_at) ".byte 0x0f, 0x84, 0, 0x10, 0, 0");

// A code segment that ends inside the code: the instruction that does not fit faults.
static void run_cs_end(void) {
    rt_reset();
    static const u8 bytes[] = {
        0x90, 0x90, 0xb8, 1, 2, 3, 4, 0x90, 0xcd, 0x30
    }; // nop nop mov nop int
    for (u32 limit = 0; limit < 10; limit++) {
        test("seg/CS/limit %u in straight code", limit);
        memcpy(win_phys(1), bytes, sizeof bytes);
        gdt_set(SEL, descriptor(win(1), limit, D_CODE | D_32 | DPL(3)));
        State s = user_state(bytes);
        s.cs = SEL | 3;
        s.eip = 0;
        State o = run(&s);
        u32 eip = limit < 1 ? 1 : limit < 6 ? 2 : limit < 7 ? 7 : 8;
        if (limit == 9) expect_exit(&o);
        else
            expect("vector", o.vector, V_GP), expect("error", o.error, 0),
                expect("eip", o.eip, eip);
    }
}

// Jumps beyond the limit fault at the jump, with nothing changed.
static void run_cs_jump(const char *name, const u8 *code, u32 at, u32 eip) {
    test("seg/CS/%s beyond the limit", name);
    u32 base = ADDR(code) & ~0xfffu, limit = 0x1fff;
    gdt_set(SEL, descriptor(base, limit, D_CODE | D_32 | DPL(3)));
    State s = user_state(code);
    s.cs = SEL | 3;
    s.eip = ADDR(code) - base;
    s.eax = eip;
    s.eflags |= F_ZF;
    *(u32 *)s.esp = eip;
    State o = run(&s);
    expect_fault(&o, &s, V_GP, 0, at - base);
}

static void run_cs_jumps(void) {
    rt_reset();
    run_cs_jump("jmp *%eax", cs_reg, ADDR(cs_reg_at), 0x2000);
    run_cs_jump("ret", cs_ret, ADDR(cs_ret_at), 0x2000);
    run_cs_jump("call *%eax", cs_call, ADDR(cs_call_at), 0xfffffff0);
    // a direct jump: in a segment that ends right behind it
    test("seg/CS/jcc beyond the limit");
    gdt_set(SEL, descriptor(ADDR(cs_jcc), 0xfff, D_CODE | D_32 | DPL(3)));
    State s = user_state(cs_jcc);
    s.cs = SEL | 3;
    s.eip = 0;
    s.eflags |= F_ZF;
    State o = run(&s);
    expect_fault(&o, &s, V_GP, 0, 0);
    test("seg/CS/jcc not taken beyond the limit");
    s.eflags &= ~F_ZF;
    o = run(&s);
    expect_exit(&o);
}

// Direct branches whose target lies beyond: the instruction itself faults when it would go there,
// with nothing changed (LOOP: ECX).
ICODE(br_jmp, "", ".byte 0xe9, 0, 0x20, 0, 0");
ICODE(br_call, "", ".byte 0xe8, 0, 0x20, 0, 0");
ICODE(br_short, "", ".byte 0xeb, 0x80");             // backwards, below 0: a large EIP
ICODE(br_loop, "", ".byte 0xe2, 0x80");
ICODE(br_loope, "", ".byte 0xe1, 0x80");
ICODE(br_loopne, "", ".byte 0xe0, 0x80");
ICODE(br_jecxz, "", ".byte 0xe3, 0x80");
ICODE(br_jmp_mem, "", "jmp *%ds:0x400000");
ICODE(br_ret_imm, "", "ret $8");
static void run_cs_branches(void) {
    static const struct { const char *name; const u8 *code, *at; u32 ecx, flags, taken;
    } rows[] = {
        { "jmp", br_jmp, br_jmp_at, 0, 0, 1 },
        { "call", br_call, br_call_at, 0, 0, 1 },
        { "short jmp below 0", br_short, br_short_at, 0, 0, 1 },
        { "loop", br_loop, br_loop_at, 2, 0, 1 },
        { "loop that ends", br_loop, br_loop_at, 1, 0, 0 },
        { "loope", br_loope, br_loope_at, 2, F_ZF, 1 },
        { "loope without ZF", br_loope, br_loope_at, 2, 0, 0 },
        { "loope that ends", br_loope, br_loope_at, 1, F_ZF, 0 },
        { "loopne", br_loopne, br_loopne_at, 0, 0, 1 },
        { "loopne with ZF", br_loopne, br_loopne_at, 5, F_ZF, 0 },
        { "jecxz", br_jecxz, br_jecxz_at, 0, 0, 1 },
        { "jecxz not taken", br_jecxz, br_jecxz_at, 1, 0, 0 },
        { "jmp through memory", br_jmp_mem, br_jmp_mem_at, 0, 0, 1 },
        { "ret 8", br_ret_imm, br_ret_imm_at, 0, 0, 1 },
    };
    rt_reset();
    *(u32 *)win_phys(0) = 0x1000;
    for (u32 i = 0; i < COUNT(rows); i++) {
        test("seg/CS/beyond the limit/%s", rows[i].name);
        gdt_set(SEL, descriptor(ADDR(rows[i].code), 0xfff, D_CODE | D_32 | DPL(3)));
        State s = user_state(0);
        s.cs = SEL | 3;
        s.ecx = rows[i].ecx;
        s.eflags |= rows[i].flags | F_CF;
        *(u32 *)s.esp = 0x1000;
        u32 below = ((u32 *)s.esp)[-1];
        State o = run(&s);
        if (rows[i].taken) expect_fault(&o, &s, V_GP, 0, 0);
        else expect_exit(&o);
        expect("below the stack", ((u32 *)s.esp)[-1], below);
    }
}

static void run_cs_types(void) {
    static const struct { const char *name; u32 access; u32 vector; } kinds[] = {
        { "readable", D_CODE, V_EXIT }, { "execute-only", D_CODE & ~2, V_GP },
    };
    extern const u8 cs_read[], cs_read_at[], cs_write[], cs_write_at[];
    rt_reset();
    for (unsigned i = 0; i < 2; i++) {
        gdt_set(SEL, descriptor(0, 0xfffff, kinds[i].access | D_32 | D_G | DPL(3)));
        test("seg/CS/read through %s CS", kinds[i].name);
        State s = user_state(cs_read);
        s.cs = SEL | 3;
        s.ebx = win(0);
        State o = run(&s);
        if (kinds[i].vector == V_EXIT) expect_exit(&o);
        else expect_fault(&o, &s, V_GP, 0, ADDR(cs_read_at));
        test("seg/CS/write through %s CS", kinds[i].name);
        s = user_state(cs_write);
        s.cs = SEL | 3;
        s.ebx = win(0);
        o = run(&s);
        expect_fault(&o, &s, V_GP, 0, ADDR(cs_write_at));
    }
}
ICODE(cs_read, "", "mov %cs:(%ebx), %eax");
ICODE(cs_write, "", "mov %eax, %cs:(%ebx)");

// ---- string instructions, whose segments are ES and any -----------------------------------------
ICODE(str_movs, "", "rep movsb");
ICODE(str_movs_fs, "", "rep movsl %fs:(%esi), %es:(%edi)");
ICODE(str_stos, "", "rep stosl");
static void run_strings(void) {
    rt_reset();
    gdt_set(SEL, descriptor(win(0), 0x7ff, D_DATA | D_32 | DPL(3)));
    test("seg/string/movsb to the limit of ES");
    State s = user_state(str_movs);
    s.es = SEL | 3;
    s.esi = win(1);
    s.edi = 0x7f0;
    s.ecx = 100;
    State o = run(&s);
    s.esi += 16;
    s.edi += 16;
    s.ecx -= 16;
    expect_fault(&o, &s, V_GP, 0, ADDR(str_movs_at));
    expect_mem("copied", win_phys(0) + 0x7f0, win_phys(1), 16);
    test("seg/string/movsl from the limit of FS");
    s = user_state(str_movs_fs);
    s.fs = SEL | 3;
    s.esi = 0x7f1;
    s.edi = win(1);
    s.ecx = 100;
    o = run(&s);
    s.esi += 12;
    s.edi += 12;
    s.ecx -= 3;
    expect_fault(&o, &s, V_GP, 0, ADDR(str_movs_fs_at));
    test("seg/string/stosl with a null ES");
    s = user_state(str_stos);
    s.es = 0;
    s.edi = win(1);
    o = run(&s);
    expect_fault(&o, &s, V_GP, 0, ADDR(str_stos_at));
    test("seg/string/no access for a count of 0");
    s.ecx = 0;
    o = run(&s);
    expect_exit(&o);
}

void test_main(void) {
    run_limits();
    run_stacks();
    run_loads();
    run_table_limit();
    run_ldt();
    run_null();
    run_cached();
    run_cs_end();
    run_cs_jumps();
    run_cs_branches();
    run_cs_types();
    run_strings();
    rt_reset();
}
