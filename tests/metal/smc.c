// SPDX-License-Identifier: MIT
// Self-modifying code: the next instruction, later ones in the same block and page, loops that
// rewrite themselves, operands and opcodes that change before each call, code written by strings,
// pushes, calls and the FPU, through another linear address (after a jump), data beside code, code
// across two pages, pages of code that are mapped anew. SDM 3A 8.1.3, 11.6.
//   T=smc tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

// Test code is copied to the window and run there.
static u32 place(u32 at, const u8 *code, const u8 *end) {
    memcpy((void *)at, code, (u32)(end - code));
    return at;
}
#define PLACE(at, name) place(at, name, name##_end)

// EBX = address of the copy in each of these.
LABEL(next_target);
CODE(next, "movb $0x22, next_target - next + 1(%ebx)" AT(next_target) "mov $0x11, %al");
LABEL(later_target);
CODE(later,
     "xor %eax, %eax; movb $0x22, later_target - later + 1(%ebx); inc %ecx; add %ecx, %edx; nop"
     AT(later_target) "mov $0x11, %al; movzbl %al, %eax");
LABEL(before_target);
CODE(before, "xor %eax, %eax; mov $5, %ecx; 1:" AT(before_target) "add $1, %eax;"
             "incb before_target - before + 2(%ebx); loop 1b");
LABEL(opcode_target);
CODE(opcode, "movb $0x48, opcode_target - opcode(%ebx)" AT(opcode_target) "inc %eax; nop");
LABEL(string_target);
CODE(
    string,
    "lea string_target - string(%ebx), %edi; mov $0x48, %al; mov $4, %ecx;"
     "rep stosb; mov $10, %eax"
     AT(string_target) "inc %eax; inc %eax; inc %eax; inc %eax");
LABEL(movs_target);
CODE(movs, "lea movs_target - movs(%ebx), %edi; movsb; movsb" AT(movs_target) "inc %eax; inc %eax");
LABEL(push_target);
CODE(push, "mov %esp, %ebp; lea push_target - push + 5(%ebx), %esp; push $0x55667788"
     AT(push_target) "mov $0x11223344, %eax; mov %ebp, %esp");
LABEL(fpu_target);
CODE(fpu, "fildl (%esi); fistpl fpu_target - fpu + 1(%ebx)" AT(fpu_target) "mov $0x11223344, %eax");
LABEL(rmw_target);
CODE(rmw, "addl $1, rmw_target - rmw + 1(%ebx)" AT(rmw_target) "mov $0x11223344, %eax");
LABEL(xchg_target);
CODE(xchg, "mov $0x77, %ecx; xchg %ecx, xchg_target - xchg + 1(%ebx)"
     AT(xchg_target) "mov $0x11223344, %eax");
LABEL(cmpxchg_target);
CODE(cmpxchg,
     "mov $0x11223344, %eax; mov $0x99, %ecx; cmpxchg %ecx, cmpxchg_target - cmpxchg + 1(%ebx)"
     AT(cmpxchg_target) "mov $0x11223344, %eax");
LABEL(alias_target);
CODE(alias, "movl $0x77, alias_target - alias + 1(%esi); jmp 1f; 1:"
     AT(alias_target) "mov $0x11223344, %eax");
CODE(jump_over,
     "movb $0x90, jump_over_end - jump_over - 4(%ebx); nop; jmp 1f; 1: nop; nop; hlt; nop");
LABEL(data_loop_data);
CODE(data_loop, "mov $2000, %ecx; xor %eax, %eax; 1: incl data_loop_data - data_loop(%ebx);"
                "add data_loop_data - data_loop(%ebx), %eax; loop 1b; jmp 2f"
     AT(data_loop_data) ".long 0; 2:");
LABEL(many_target);
CODE(many, "mov $3000, %ecx; xor %eax, %eax; 1: mov %ecx, many_target - many + 1(%ebx)"
     AT(many_target) "mov $0, %edx; add %edx, %eax; loop 1b");
LABEL(flags_target);
CODE(flags, "mov $0x7fffffff, %eax; add $1, %eax; movb $0x22, flags_target - flags + 1(%ebx)"
     AT(flags_target) "mov $0x11, %cl; pushf; pop %edx");

typedef struct Case {
    const char *name;
    const u8 *code, *end;
    u32 eax, mask;
} Case;
#define C(name, eax, mask) { #name, name, name##_end, eax, mask }
static const Case cases[] = {
    C(next, 0x22, 0xff),
    C(later, 0x22, ~0u),
    C(before, 1 + 2 + 3 + 4 + 5, ~0u),
    C(opcode, 0xa0a1a2a2, ~0u),
    C(string, 6, ~0u),
    C(movs, 0xa0a1a2a1, ~0u),
    C(push, 0x55667788, ~0u),
    C(fpu, 0x41424344, ~0u),
    C(rmw, 0x11223345, ~0u),
    C(xchg, 0x77, ~0u),
    C(cmpxchg, 0x99, ~0u),
    C(alias, 0x77, ~0u),
    C(jump_over, 0xa0a1a2a3, ~0u),
    C(data_loop, 2000 * 2001 / 2, ~0u),
    C(many, 3000 * 3001 / 2, ~0u),
    C(flags, 0x80000000, ~0u),
};

static State run_at(const Case *c, unsigned ring, u32 at) {
    place(at, c->code, c->end);
    State s = ring_state(ring, (const void *)at);
    s.ebx = at;
    s.esi = c->code == alias ? at - win(0) + win(16) : win(8);
    memcpy(win_phys(8), "\x48\x48\x00\x00", 4);
    if (c->code == fpu) *(u32 *)win_phys(8) = 0x41424344;
    __asm__ volatile("fninit");
    return run(&s);
}

static void run_case(const Case *c, unsigned ring, const char *where, u32 at) {
    test("smc/%s/ring%u/%s", c->name, ring, where);
    for (u32 i = 0; i < 4; i++) page_win[16 + i] = ADDR(win_phys(i)) | PTE_ALL;
    flush_tlb();
    for (u32 i = 0; i < 5; i++) {
        State o = run_at(c, ring, at);
        expect_exit(&o);
        expect_bits("eax", o.eax, c->eax, c->mask);
        if (c->code == flags) expect_bits("flags", o.edx, F_OF | F_SF | F_AF | F_PF, F_ARITH);
    }
}

static void run_cases(void) {
    for (u32 i = 0; i < COUNT(cases); i++)
        for (unsigned ring = 0; ring < 4; ring += 3) {
            const Case *c = &cases[i];
            rt_reset();
            u32 length = (u32)(c->end - c->code);
            run_case(c, ring, "in a page", win(1) + 0x100);
            run_case(c, ring, "across pages", win(2) - length / 2);
            run_case(c, ring, "across pages, target in the second", win(2) - 4);
        }
}

// ---- code in other pages ------------------------------------------------------------------------
static const u8 give_1[] = { 0xb8, 1, 0, 0, 0, 0xcd, V_EXIT },
                give_2[] = { 0xb8, 2, 0, 0, 0, 0xcd, V_EXIT };

static u32 call_at(u32 at, unsigned ring) {
    State s = ring_state(ring, (const void *)at), o = run(&s);
    expect_exit(&o);
    return o.eax;
}

static void run_pages(void) {
    for (unsigned ring = 0; ring < 4; ring += 3) {
        rt_reset();
        test("smc/written by the identity address, run in the window/ring%u", ring);
        for (u32 i = 0; i < 50; i++) {
            memcpy(win_phys(3), i & 1 ? give_2 : give_1, sizeof give_1);
            expect("eax", call_at(win(3), ring), 1 + (i & 1));
        }
        test("smc/another page of code under the same address/ring%u", ring);
        memcpy(win_phys(4), give_1, sizeof give_1);
        memcpy(win_phys(5), give_2, sizeof give_2);
        for (u32 i = 0; i < 20; i++) {
            page_win[6] = ADDR(win_phys(4 + (i & 1))) | PTE_ALL;
            __asm__ volatile("invlpg (%0)" :: "r"(win(6)) : "memory");
            expect("eax", call_at(win(6), ring), 1 + (i & 1));
        }
        test("smc/two addresses of the same code/ring%u", ring);
        page_win[7] = ADDR(win_phys(4)) | PTE_ALL;
        flush_tlb();
        expect("eax", call_at(win(4), ring), 1);
        expect("eax", call_at(win(7), ring), 1);
        win_phys(4)[1] = 9;
        expect("eax", call_at(win(4), ring), 9);
        expect("eax", call_at(win(7), ring), 9);
        test("smc/a copy of a whole page/ring%u", ring);
        memcpy(win_phys(4), win_phys(5), 4096);
        expect("eax", call_at(win(4), ring), 2);
        test("smc/the second page of an instruction is written/ring%u", ring);
        memcpy((void *)(win(5) - 3), give_1, sizeof give_1);
        expect("eax", call_at(win(5) - 3, ring), 1);
        win_phys(5)[0] = 7;                          // third byte of the immediate
        expect("eax", call_at(win(5) - 3, ring), 7 << 16 | 1);
        test("smc/the second page of an instruction is mapped anew/ring%u", ring);
        memcpy(win_phys(9), win_phys(5), 16);
        win_phys(9)[0] = 8;
        page_win[5] = ADDR(win_phys(9)) | PTE_ALL;
        flush_tlb();
        expect("eax", call_at(win(5) - 3, ring), 8 << 16 | 1);
    }
}

// Breakpoints the way debuggers set them: INT3 over an instruction, and back.
static void run_breakpoints(void) {
    test("smc/INT3 over an instruction, and back");
    rt_reset();
    PLACE(win(1), data_loop);
    State s = user_state((const void *)win(1));
    s.ebx = win(1);
    State o = run(&s);
    expect("eax", o.eax, 2000 * 2001 / 2);
    u8 *at = win_phys(1) + 7, old = *at;             // the loop's first instruction
    PLACE(win(1), data_loop);
    *at = 0xcc;
    o = run(&s);
    expect("vector", o.vector, V_BP);
    expect("eip", o.eip, win(1) + 8);
    *at = old;
    o.eip--;
    o = run(&o);
    expect_exit(&o);
    expect("eax", o.eax, 2000 * 2001 / 2);
}

// A fault in a block that was just rewritten is still precise.
CODE(store_across, "mov %eax, (%ebx)");
LABEL(fault_target);
LABEL(fault_at);
CODE(fault, "inc %eax; movb $0x22, fault_target - fault + 1(%ebx)" AT(fault_target) "mov $0x11, %cl"
            AT(fault_at) "mov 0x800000, %edx");
static void run_fault(void) {
    test("smc/a fault after the rewritten instruction");
    rt_reset();
    for (u32 i = 0; i < 5; i++) {
        PLACE(win(1), fault);
        State s = user_state((const void *)win(1));
        s.ebx = win(1);
        State o = run(&s);
        expect("vector", o.vector, V_PF);
        expect("eip", o.eip, win(1) + (u32)(fault_at - fault));
        expect("cl", o.ecx & 0xff, 0x22);
        expect("eax", o.eax, s.eax + 1);
    }
    test("smc/a store to code that faults in its second page changes nothing");
    PLACE(win(2) - 64, next);
    State s = user_state((const void *)(win(2) - 64));
    s.ebx = win(2) - 64;
    State o = run(&s);
    expect("al", o.eax & 0xff, 0x22);
    map(2, 0);
    s = user_state(store_across);
    s.ebx = win(2) - 2;
    o = run(&s);
    expect_fault(&o, &s, V_PF, 6, ADDR(store_across));
    PLACE(win(2) - 64, next);
    s = user_state((const void *)(win(2) - 64));
    s.ebx = win(2) - 64;
    o = run(&s);
    expect_exit(&o);
    expect("al", o.eax & 0xff, 0x22);
}

// An operand that is overwritten before each run, by as much of it as `step` says, against the same instruction in a
// place that has never run.
typedef struct Patch {
    const char *name;
    u8 length, at, bytes;      // of the code; where the operand is
    u8 code[8];
} Patch;
static const Patch patches[] = {
    { "mov r32", 5, 1, 4, { 0xb8 } },                 { "mov r16", 4, 2, 2, { 0x66, 0xbb } },
    { "mov high byte", 2, 1, 1, { 0xb4 } },           { "mov r32, long form", 6, 2, 4, { 0xc7, 0xc1 } },
    { "add eax", 5, 1, 4, { 0x05 } },                 { "sub r32", 6, 2, 4, { 0x81, 0xe9 } },
    { "cmp r8", 3, 2, 1, { 0x80, 0xfa } },            { "adc sign-extended", 3, 2, 1, { 0x83, 0xd0 } },
    { "and r16 sign-extended", 4, 3, 1, { 0x66, 0x83, 0xe1 } }, { "sbb r16", 5, 3, 2, { 0x66, 0x81, 0xda } },
    { "test eax", 5, 1, 4, { 0xa9 } },                { "test r8", 3, 2, 1, { 0xf6, 0xc5 } },
    { "xor al", 2, 1, 1, { 0x34 } },                  { "push, pop", 6, 1, 4, { 0x68, 0, 0, 0, 0, 0x5b } },
    { "push sign-extended, pop", 3, 1, 1, { 0x6a, 0, 0x5b } },
    { "imul r32", 6, 2, 4, { 0x69, 0xc1 } },          { "mov to memory", 6, 2, 4, { 0xc7, 0x03 } },
    { "or memory", 6, 2, 4, { 0x81, 0x0b } },         { "shl r32", 3, 2, 1, { 0xc1, 0xe0 } },
    { "mov from address", 5, 1, 4, { 0xa1 } },        { "jump", 7, 1, 1, { 0xeb, 0, 0x40, 0x40, 0x40, 0x40, 0x40 } },
};

static u32 patch_value(const Patch *p, u32 i) {
    if (p->code[0] == 0xa1) return ADDR(win_phys(9) + 4 * i);
    return p->code[0] == 0xeb ? i % 6 : (i + 3) * 0x9e3779b1;
}

static State patch_run(unsigned ring, u32 at) {
    State s = ring_state(ring, (const void *)at);
    s.eax = 0x12345678;
    s.ecx = 0x9abcdef0;
    s.edx = 0x0fedcba9;
    s.ebx = win(8) + 0x20;
    s.eflags |= F_CF;
    *(u32 *)win_phys(8) = 0;
    *(u32 *)(win_phys(8) + 0x20) = 0x55aa55aa;
    State o = run(&s);
    expect_exit(&o);
    return o;
}

static void patch_put(u32 at, const Patch *p, u32 value) {
    static const u8 end[] = { 0xcd, V_EXIT };
    memcpy((void *)at, p->code, p->length);
    memcpy((void *)(at + p->at), &value, p->bytes);
    memcpy((void *)(at + p->length), end, sizeof end);
}

static void run_patch(const Patch *p, unsigned ring, u32 *fresh) {
    u32 at = win(1) + 0x100, value = patch_value(p, 0);
    patch_put(at, p, value);
    patch_run(ring, at);
    for (u32 i = 1; i < 12; i++) {
        test("smc/operand of %s/ring%u/%u", p->name, ring, i);
        u32 wanted = patch_value(p, i), low = i % 4 == 3 && p->bytes == 4 ? 1 : p->bytes;
        memcpy(&value, &wanted, low);
        memcpy((void *)(at + p->at), &value, low);
        patch_put(*fresh, p, value);
        State o = patch_run(ring, at);
        u32 stored = *(u32 *)(win_phys(8) + 0x20);
        State want = patch_run(ring, *fresh);
        expect_same(&o, &want, ALL & ~EIP);
        expect("memory", stored, *(u32 *)(win_phys(8) + 0x20));
        *fresh += 32;
    }
}

static void run_patches(void) {
    for (unsigned ring = 0; ring < 4; ring += 3) {
        rt_reset();
        for (u32 i = 0; i < 64; i++) ((u32 *)win_phys(9))[i] = i * 0x01020304;
        u32 fresh = win(2);
        for (u32 i = 0; i < COUNT(patches); i++) run_patch(&patches[i], ring, &fresh);
    }
}

// Few versions of one function in turn, each of which comes back.
static void run_versions(void) {
    static const u8 opcodes[] = { 0x05, 0x2d, 0x35, 0x0d, 0x25, 0x05, 0x35 };
    for (unsigned ring = 0; ring < 4; ring += 3) {
        rt_reset();
        u32 at = win(1) + 0x80, value = 0x1234;
        for (u32 i = 0; i < 70; i++) {
            test("smc/versions/ring%u/%u", ring, i);
            const u8 code[] = { opcodes[i % 7], 0x0f, 0xf0, (u8)(i / 14), 1, 0xcd, V_EXIT };
            u32 operand = 0x0100f00f | i / 14 << 16, want = 0;
            memcpy((void *)at, code, sizeof code);
            State s = ring_state(ring, (const void *)at);
            s.eax = value;
            State o = run(&s);
            expect_exit(&o);
            switch (code[0]) {
            case 0x05: want = value + operand; break;
            case 0x2d: want = value - operand; break;
            case 0x35: want = value ^ operand; break;
            case 0x0d: want = value | operand; break;
            default: want = value & operand; break;
            }
            expect("eax", o.eax, want);
            value = o.eax + i;
        }
    }
}

void test_main(void) {
    run_cases();
    run_patches();
    run_versions();
    run_pages();
    run_breakpoints();
    run_fault();
    rt_reset();
}
