// SPDX-License-Identifier: MIT
// Sizes: 16-bit stacks (SP wraps, ESP's upper half stays), operand- and address-size prefixes, both
// in 32-bit and 16-bit code segments; addresses that wrap; instruction pointers of 16 bits.
// SDM 1 3.6, 6.2.5; SDM 3A 5.3 (wrap), 21; SDM 2 PUSH, POP, ENTER, LEAVE, PUSHA, LOOP, JCXZ.
//   T=stack tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#define SMALL 0x40u                          // data, B=0, base: window, limit 64K
#define CODE_16 0x48u                        // code, D=0, base 0x10000
#define WIDE 0x50u                           // data, B=1, base: window
#define HIGH 0xabcd0000u

static void prepare(void) {
    rt_reset();
    gdt_set(SMALL, descriptor(win(0), 0xffff, D_DATA | D_DPL3));
    gdt_set(CODE_16, descriptor(0x10000, 0xffff, D_CODE | D_DPL3));
    gdt_set(WIDE, descriptor(win(0), 0x1ffff, D_DATA | D_32 | D_DPL3));
}

static State small_state(const void *code, u32 sp) {
    State s = user_state(code);
    s.ss = SMALL | 3;
    s.esp = sp;
    return s;
}

// ---- a 16-bit stack -----------------------------------------------------------------------------
// IRET takes over SP only: the code sets ESP's upper half itself.
#define UP "movzwl %sp, %esp; or $0xabcd0000, %esp;"
CODE(s_push, UP "push %eax");
CODE(s_push16, UP "pushw %ax");
CODE(s_pop, UP "pop %eax");
CODE(s_pop16, UP "popw %ax");
CODE(s_pop_esp, UP "pop %esp");
CODE(s_pop_sp, UP "popw %sp");
CODE(s_push_esp, UP "push %esp; popw %ax; popw %cx");
CODE(s_call, UP "call 1f; 1:");
CODE(s_ret, UP "ret $4");
CODE(s_pusha, UP "pusha");
CODE(s_pushaw, UP "pushaw");
CODE(s_popaw, UP "popaw");
CODE(s_enter, UP "enter $0x20, $0");
CODE(s_enter2, UP "enter $0x20, $2");
CODE(s_leave, UP "leave");
CODE(s_pushf, UP "pushf");
CODE(s_pop_mem, UP "popw %ss:(%ebx)");
CODE(s_push_mem, UP "pushl %ss:(%ebx)");
CODE(s_ebp, UP "mov (%ebp), %eax");
CODE(s_landing, "");
static const struct { const char *name; const u8 *code; u32 sp, sp_after; } smalls[] = {
    { "push", s_push, 4, 0 }, { "push at 0 wraps", s_push, 0, 0xfffc },
    { "push 16 at 0 wraps", s_push16, 0, 0xfffe }, { "pop at fffc wraps", s_pop, 0xfffc, 0 },
    { "pop 16", s_pop16, 0xfffe, 0 }, { "call at 0 wraps", s_call, 0, 0xfffc },
    { "pusha at 10h wraps", s_pusha, 0x10, 0xfff0 }, { "pusha 16", s_pushaw, 0x40, 0x30 },
    { "popa 16 at fff8 wraps", s_popaw, 0xfff8, 8 }, { "enter", s_enter, 0x100, 0xdc },
    { "enter wraps", s_enter, 0x10, 0xffec }, { "enter, level 2", s_enter2, 0x100, 0xd4 },
    { "pushf", s_pushf, 0x100, 0xfc }, { "pop to memory", s_pop_mem, 0x100, 0x102 },
    { "push from memory", s_push_mem, 0x100, 0xfc }, { "push esp", s_push_esp, 0x100, 0x100 },
};

static void run_smalls(void) {
    for (u32 i = 0; i < COUNT(smalls); i++) {
        test("stack/16-bit stack/%s", smalls[i].name);
        prepare();
        State s = small_state(smalls[i].code, smalls[i].sp);
        s.ebp = 0x400;
        s.ebx = 0x200;
        State o = run(&s);
        expect_exit(&o);
        expect("esp", o.esp, HIGH | smalls[i].sp_after);
    }
    test("stack/16-bit stack/ret takes a 32-bit eip and adds to SP");
    prepare();
    State s = small_state(s_ret, 0xfffc);
    *(u32 *)(win_phys(0xf) + 0xffc) = ADDR(s_landing);
    State o = run(&s);
    expect_exit(&o);
    expect("eip", o.eip, ADDR(s_landing_end));
    expect("esp", o.esp, HIGH | 4);
    test("stack/16-bit stack/pushed words lie where SP says");
    s = small_state(s_push, 2);
    s.eax = 0x11223344;
    o = run(&s);
    expect("vector", o.vector, V_SS);            // SP 2 - 4 = fffe: a dword there exceeds the limit
    s = small_state(s_push, 0);
    s.eax = 0x11223344;
    o = run(&s);
    expect_exit(&o);
    expect("memory", *(u32 *)(win_phys(0xf) + 0xffc), 0x11223344);
    test("stack/16-bit stack/pop esp");
    s = small_state(s_pop_esp, 0x100);
    *(u32 *)(win_phys(0) + 0x100) = 0x12345678;
    o = run(&s);
    expect_exit(&o);
    expect("esp", o.esp, 0x12345678);
    test("stack/16-bit stack/pop sp");
    s = small_state(s_pop_sp, 0x100);
    o = run(&s);
    expect_exit(&o);
    expect("esp", o.esp, HIGH | 0x5678);
    test("stack/16-bit stack/leave uses BP");
    s = small_state(s_leave, 0x100);
    s.ebp = 0x99990200;
    *(u32 *)(win_phys(0) + 0x200) = 0x55667788;
    o = run(&s);
    expect_exit(&o);
    expect("esp", o.esp, HIGH | 0x204);
    expect("ebp", o.ebp, 0x55667788);
    test("stack/16-bit stack/(%%ebp) still uses 32 bits");
    s = small_state(s_ebp, 0x100);
    s.ebp = 0x10200;
    o = run(&s);
    expect("vector", o.vector, V_SS);
}

// ---- a 32-bit stack and 16-bit operands ---------------------------------------------------------
CODE(w_push, "pushw $0x1234; push $-2; pushw %cs; pushl $-3");
CODE(w_pushf, "pushfw");
CODE(w_pop_sp, "popw %sp");
CODE(w_enter, "enterw $4, $0");
CODE(w_leave, "leavew");
static void run_wide(void) {
    prepare();
    test("stack/32-bit stack/16- and 32-bit pushes");
    State s = user_state(w_push), o = run(&s);
    expect_exit(&o);
    expect("esp", o.esp, s.esp - 12);
    u8 *f = (u8 *)s.esp;
    expect("word", *(u16 *)(f - 2), 0x1234);
    expect("dword", *(u32 *)(f - 6), (u32)-2);
    expect("cs", *(u16 *)(f - 8), UCS);
    expect("dword 2", *(u32 *)(f - 12), (u32)-3);
    test("stack/32-bit stack/pushfw");
    s = user_state(w_pushf);
    o = run(&s);
    expect_exit(&o);
    expect("esp", o.esp, s.esp - 2);
    test("stack/32-bit stack/popw sp");
    s = user_state(w_pop_sp);
    *(u16 *)s.esp = 0x1111;
    o = run(&s);
    expect_exit(&o);
    expect("esp", o.esp, ((s.esp + 2) & 0xffff0000) | 0x1111);
    test("stack/32-bit stack/enterw");
    s = user_state(w_enter);
    o = run(&s);
    expect_exit(&o);
    expect("esp", o.esp, s.esp - 6);
    expect("ebp", o.ebp, (s.ebp & 0xffff0000) | ((s.esp - 2) & 0xffff));
    test("stack/32-bit stack/leavew");
    s = user_state(w_leave);
    s.ebp = s.esp + 0x20;
    *(u16 *)s.ebp = 0x4321;
    o = run(&s);
    expect_exit(&o);
    expect("esp", o.esp, s.ebp + 2);
    expect("ebp", o.ebp, (s.ebp & 0xffff0000) | 0x4321);
}

// ---- prefixes -----------------------------------------------------------------------------------
CODE(p_jcxz, "xor %eax, %eax; .byte 0x67, 0xe3, 1; inc %eax; 1: jecxz 2f; add $2, %eax; 2:");
CODE(p_loop, "xor %eax, %eax; 1: inc %eax; addr16 loop 1b");
CODE(p_stos, "addr16 stosb");
CODE(p_rep_stos, "addr16 rep stosb");
CODE(p_lea16, "lea 0x10(%esi), %eax; addr16 lea 0x7fff(%si), %ecx; addr16 lea (%bx,%di), %edx");
CODE(p_lea_o16, "leaw (%esi), %ax");
CODE(p_wrap16, "addr16 mov %fs:2(%bx), %al");
CODE(p_wrap32, "mov %fs:2(%ebx), %al");
CODE16(c_jmp,
       "xor %eax, %eax; jmp 1f; inc %ax; 1: inc %eax; mov $0x1234, %cx; movl $0x12345678, %edx");
CODE16(c_addr32, "movb %fs:(%ebx), %al; movl %fs:4(%ebx,%ecx,2), %edx");
CODE16(c_addr16, "movb %fs:2(%bx), %al");
CODE16(c_push, "pushl $0x12345678; pushw $0x1111; pushl %eax; pushfl; pushfw");
CODE16(c_call32, "calll 1f; 1:");
ICODE16(c_over, "movl $0x10000, %eax", "jmpl *%eax");
ICODE16(c_ret32, "", "retl");
static void run_prefixes(void) {
    prepare();
    test("stack/prefix/jcxz and jecxz");
    State s = user_state(p_jcxz);
    s.ecx = 0x10000;
    State o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, 2);
    s.ecx = 1;
    o = run(&s);
    expect("eax", o.eax, 3);
    s.ecx = 0;
    o = run(&s);
    expect("eax", o.eax, 0);
    test("stack/prefix/loop with CX");
    s = user_state(p_loop);
    s.ecx = 0xc0c10003;
    o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, 3);
    expect("ecx", o.ecx, 0xc0c10000);
    test("stack/prefix/stos with DI");
    s = user_state(p_stos);
    s.es = SMALL | 3;
    s.edi = 0xd1d2ffff;
    o = run(&s);
    expect_exit(&o);
    expect("edi", o.edi, 0xd1d20000);
    expect("memory", win_phys(0xf)[0xfff], s.eax & 0xff);
    test("stack/prefix/rep stos with DI and CX wraps");
    s = user_state(p_rep_stos);
    s.es = SMALL | 3;
    s.edi = 0xd1d2fffe;
    s.ecx = 0xc0c10005;
    s.eax = 0x5c;
    memset(win_phys(0), 0, 8);
    o = run(&s);
    expect_exit(&o);
    expect("edi", o.edi, 0xd1d20003);
    expect("ecx", o.ecx, 0xc0c10000);
    expect("memory", *(u32 *)win_phys(0), 0x005c5c5c);
    test("stack/prefix/lea");
    s = user_state(p_lea16);
    s.esi = 0x12348003;
    s.ebx = 0x1111ffff;
    s.edi = 0x22220003;
    o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, 0x12348013);
    expect("ecx", o.ecx, 2);
    expect("edx", o.edx, 2);
    test("stack/prefix/lea to 16 bits");
    s = user_state(p_lea_o16);
    s.esi = 0x12348003;
    o = run(&s);
    expect("eax", o.eax, 0xa0a18003);
    test("stack/prefix/addresses of 16 bits wrap");
    s = user_state(p_wrap16);
    s.fs = SMALL | 3;
    s.ebx = 0x7777ffff;
    o = run(&s);
    expect_exit(&o);
    expect("al", o.eax & 0xff, win_phys(0)[1]);
    test("stack/prefix/addresses of 32 bits wrap");
    s = user_state(p_wrap32);
    s.fs = SMALL | 3;
    s.ebx = 0xffffffff;
    o = run(&s);
    expect_exit(&o);
    expect("al", o.eax & 0xff, win_phys(0)[1]);
}

static void run_code16(void) {
    prepare();
    test("stack/16-bit code/immediates and jumps");
    State s = user_state((const void *)REAL_OFF(c_jmp));
    s.cs = CODE_16 | 3;
    State o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, 1);
    expect("ecx", o.ecx, 0xc0c11234);
    expect("edx", o.edx, 0x12345678);
    expect("eip", o.eip, REAL_OFF(c_jmp_end));
    test("stack/16-bit code/32-bit addresses");
    s.eip = REAL_OFF(c_addr32);
    s.fs = WIDE | 3;
    s.ebx = 0x2000;
    s.ecx = 0x800;
    o = run(&s);
    expect_exit(&o);
    expect("al", o.eax & 0xff, win_phys(2)[0]);
    expect("edx", o.edx, *(u32 *)(win_phys(3) + 4));
    test("stack/16-bit code/16-bit addresses");
    s.eip = REAL_OFF(c_addr16);
    s.ebx = 0x1000ffff;
    o = run(&s);
    expect_exit(&o);
    expect("al", o.eax & 0xff, win_phys(0)[1]);
    test("stack/16-bit code/operand sizes on a 32-bit stack");
    s.eip = REAL_OFF(c_push);
    o = run(&s);
    expect_exit(&o);
    expect("esp", o.esp, s.esp - 4 - 2 - 4 - 4 - 2);
    test("stack/16-bit code/32-bit call");
    s.eip = REAL_OFF(c_call32);
    o = run(&s);
    expect_exit(&o);
    expect("esp", o.esp, s.esp - 4);
    expect("return", *(u32 *)o.esp, o.eip - 2);
    test("stack/16-bit code/jump beyond the limit");
    s.eip = REAL_OFF(c_over);
    o = run(&s);
    s.eax = 0x10000;
    expect_fault(&o, &s, V_GP, 0, REAL_OFF(c_over_at));
    test("stack/16-bit code/ret beyond the limit");
    s.eip = REAL_OFF(c_ret32);
    *(u32 *)s.esp = 0x10000;
    o = run(&s);
    expect_fault(&o, &s, V_GP, 0, REAL_OFF(c_ret32_at));
}

// Near jumps with a 16-bit operand keep 16 bits of EIP.
static void run_jump16(void) {
    prepare();
    static const u8 bytes[] = { 0x66, 0xe9, 0x10, 0x00 };            // jmpw .+4+10h
    test("stack/16-bit jump in 32-bit code");
    gdt_set(0x58, descriptor(win(0) - 0x20000, 0x2ffff, D_CODE | D_32 | D_DPL3));
    memcpy(win_phys(0), bytes, sizeof bytes);
    State s = user_state((const void *)0x20000);
    s.cs = 0x5b;
    // EIP becomes 0x0014: at window - 0x20000 + 0x14 lies identity-mapped memory
    u8 *there = (u8 *)(win(0) - 0x20000 + 0x14);
    there[0] = 0xcd;
    there[1] = V_EXIT;
    State o = run(&s);
    expect_exit(&o);
    expect("eip", o.eip, 0x16);
}

void test_main(void) {
    run_smalls();
    run_wide();
    run_prefixes();
    run_code16();
    run_jump16();
    rt_reset();
}
