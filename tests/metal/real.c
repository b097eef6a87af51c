// SPDX-License-Identifier: MIT
// Real mode: limits (interrupt 13, 12 through SS), no error codes, interrupts through the vector
// table and its limit, IP at 64K, strings that wrap, 32-bit operands and addresses, "unreal"
// segments, A20, instructions of protected mode only. SDM 3B 20.1 (20.1.1 to 20.1.4, table 20-1);
// SDM 2, the lists of real-address mode exceptions.
//   T=real tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#define DATA ((u8 *)0x90000)                 // of DS ES FS GS in real_state()
#define STACK ((u8 *)0x8f000)                // of SS
#define C(name, text) ICODE16(r_##name, "", text)

static void expect_real(const State *o, const State *s, u32 vector, const u8 *at) {
    State want = *s;
    want.eip = REAL_OFF(at);
    expect("vector", o->vector, vector);
    want.eflags &= 0xffff;
    expect_same(o, &want, ALL);
}

// ---- limits -------------------------------------------------------------------------------------
C(word_ffff, "movw 0xffff, %ax");
C(dword_fffd, "movl 0xfffd, %eax");
C(store_ffff, "movw %ax, 0xffff");
C(rmw_ffff, "incw 0xffff");
C(byte_ffff, "movb 0xffff, %al");
C(word_fffe, "movw 0xfffe, %ax");
C(dword_fffc, "movl 0xfffc, %eax");
C(ss_ffff, "movw %ss:0xffff, %ax");
C(bp_ffff, "movw (%bp), %ax");
C(addr32, "addr32 movb (%ebx), %al");
C(addr32_bp, "addr32 movb (%ebp), %al");
C(cs_ffff, "movw %cs:0xffff, %ax");
C(les_fffd, "les 0xfffd, %ax");
C(movs_end, "movsw");
C(stos_end, "stosl");
C(fld_fff9, "fldl 0xfff9");
static const struct { const char *name; const u8 *code, *at; u32 vector;
} limits[] = {
#define L(name, vector) { #name, r_##name, r_##name##_at, vector }
    L(word_ffff, V_GP),   L(dword_fffd, V_GP),  L(store_ffff, V_GP),   L(rmw_ffff, V_GP),
    L(byte_ffff, V_EXIT), L(word_fffe, V_EXIT), L(dword_fffc, V_EXIT), L(ss_ffff, V_SS),
    L(bp_ffff, V_SS),     L(addr32, V_GP),      L(addr32_bp, V_SS),    L(cs_ffff, V_GP),
    L(les_fffd, V_GP),    L(movs_end, V_GP),    L(stos_end, V_GP),     L(fld_fff9, V_GP),
};

static void run_limits(void) {
    for (u32 i = 0; i < COUNT(limits); i++) {
        test("real/limit/%s", limits[i].name);
        State s = real_state(limits[i].code);
        s.ebp = limits[i].code == r_bp_ffff ? 0xffff : 0x10000;
        s.ebx = 0x10000;
        s.esi = 0xffff;
        s.edi = limits[i].code == r_stos_end ? 0xfffd : 0x100;
        State o = run_real(&s);
        if (limits[i].vector == V_EXIT) expect_exit(&o);
        else expect_real(&o, &s, limits[i].vector, limits[i].at);
    }
}

// ---- several accesses through one register -----------------------------------------------------------
ICODE16(r_over_limit, "movb $1, 0x100(%bx); mov (%bx), %ax", "mov 1(%bx), %cx");
C(over_64k, "movb $0, 0x100; movb %fs:(%bx), %al; movb %fs:1(%bx), %ah; movb %fs:2(%bx), %cl; movb $0x77, %fs:3(%bx)");
C(other_base, "mov %es:(%di), %ax; mov %es:2(%di), %cx; mov %dx, %es; mov %es:(%di), %bx; mov %es:2(%di), %si");
static void run_groups(void) {
    *(u16 *)(DATA + 0xfffe) = 0xbeef;
    test("real/group/the one beyond the limit faults, those before are done");
    State s = real_state(r_over_limit);
    s.ebx = 0x5670fffe;
    DATA[0xfe] = 0;
    State o = run_real(&s), want = s;
    want.eax = (want.eax & 0xffff0000) | 0xbeef;
    expect_real(&o, &want, V_GP, r_over_limit_at);
    expect("stored", DATA[0xfe], 1);

    test("real/group/addresses wrap one by one");
    s = real_state(r_over_64k);
    s.ebx = 0xfffe;
    s.fs = 0x8001;                           // ends in DS's first page, which has been written to
    u8 *base = (u8 *)0x80010;
    *(u32 *)(base + 0xfffe) = 0x5555beef;
    *(u16 *)base = 0x3412;
    o = run_real(&s);
    expect_exit(&o);
    expect("below 64 KiB", o.eax & 0xffff, 0xbeef);
    expect("above", o.ecx & 0xff, 0x12);
    expect("stored", base[1], 0x77);
    expect("beyond", *(u32 *)(base + 0xfffe), 0x5555beef);

    test("real/group/a segment register loaded between them");
    s = real_state(r_other_base);
    s.edi = 0x210;
    s.edx = s.es + 1;
    static const u16 words[] = { 0x1000, 0x1002 }, others[] = { 0x2000, 0x2002 };
    memcpy(DATA + 0x210, words, sizeof words);
    memcpy(DATA + 0x220, others, sizeof others);
    o = run_real(&s);
    expect_exit(&o);
    expect("ax", o.eax & 0xffff, 0x1000);
    expect("cx", o.ecx & 0xffff, 0x1002);
    expect("bx", o.ebx & 0xffff, 0x2000);
    expect("si", o.esi & 0xffff, 0x2002);
}

// ---- stack --------------------------------------------------------------------------------------
// SP 1 for the instruction; a stack for the interrupt is there again at once: #SS would need it. So
// the exception must find SP as the instruction left it, and pushes at 1 fail too: real processors
// shut down. Therefore the faulting stack accesses here are reads.
C(push_wrap, "xor %sp, %sp; push %ax; mov %sp, %bx; mov $0xf00, %sp");
C(pushl_wrap, "mov $0, %sp; pushl %eax; mov %sp, %bx; mov $0xf00, %sp");
C(pop_wrap, "mov $0xfffe, %sp; pop %ax; mov %sp, %bx; mov $0xf00, %sp");
C(pushes_wrap, "mov $2, %sp; push %ax; push %cx; mov %sp, %bx; pop %dx; pop %si; mov $0xf00, %sp");
C(frame, "push %ax; push %cx; mov %sp, %bp; mov 2(%bp), %bx; pop %dx; push %bx; pop %cx; mov %sp, %si; pop %di");
C(push_sp, "push %sp; pop %ax");
C(enter, "enter $4, $0; mov %sp, %bx; leave");
C(pusha, "pusha; mov %sp, %bx; popa; mov %sp, %cx");
C(esp_high, "movl $0x12340f00, %esp; push %ax; movl %esp, %ebx; movl $0xf00, %esp");
static void run_stack(void) {
    static const struct { const char *name; const u8 *code; u32 bx; } rows[] = {
        { "push at 0", r_push_wrap, 0xfffe }, { "pushl at 0", r_pushl_wrap, 0xfffc },
        { "pop at fffe", r_pop_wrap, 0 },
    };
    for (u32 i = 0; i < COUNT(rows); i++) {
        test("real/stack/%s wraps", rows[i].name);
        State s = real_state(rows[i].code), o = run_real(&s);
        expect_exit(&o);
        expect("sp", o.ebx & 0xffff, rows[i].bx);
    }
    test("real/stack/pushes and pops over 64 KiB");
    State s = real_state(r_pushes_wrap), o = run_real(&s);
    expect_exit(&o);
    expect("sp", o.ebx & 0xffff, 0xfffe);
    expect("dx", o.edx & 0xffff, s.ecx & 0xffff);
    expect("si", o.esi & 0xffff, s.eax & 0xffff);
    test("real/stack/SP and copies of it between pushes and pops");
    s = real_state(r_frame);
    s.esp |= 0x43210000;
    o = run_real(&s);
    expect_exit(&o);
    expect("esp", o.esp, s.esp);
    expect("ebp", o.ebp, (s.ebp & 0xffff0000) | ((s.esp - 4) & 0xffff));
    expect("esi", o.esi, (s.esi & 0xffff0000) | ((s.esp - 2) & 0xffff));
    expect("bx", o.ebx & 0xffff, s.eax & 0xffff);
    expect("cx", o.ecx & 0xffff, s.eax & 0xffff);
    expect("dx", o.edx & 0xffff, s.ecx & 0xffff);
    expect("di", o.edi & 0xffff, s.eax & 0xffff);
    test("real/stack/push sp pushes the old value");
    s = real_state(r_push_sp), o = run_real(&s);
    expect_exit(&o);
    expect("ax", o.eax & 0xffff, s.esp);
    test("real/stack/ESP's upper half is not used and stays");
    s = real_state(r_esp_high);
    o = run_real(&s);
    expect_exit(&o);
    expect("esp", o.ebx, 0x12340efe);
    test("real/stack/enter and leave");
    s = real_state(r_enter);
    o = run_real(&s);
    expect_exit(&o);
    expect("sp", o.ebx & 0xffff, s.esp - 6);
    expect("sp after", o.esp, s.esp);
    expect("ebp", o.ebp, s.ebp);
    test("real/stack/pusha and popa");
    s = real_state(r_pusha);
    o = run_real(&s);
    expect_exit(&o);
    expect("sp after", o.esp, s.esp);
}

// ---- exceptions ---------------------------------------------------------------------------------
C(div, "div %cl");
C(ud2, "ud2");
C(int3, "int3");
C(into, "into");
C(bound, "bound %ax, 0x10");
C(fld, "fld1");
C(lock, ".byte 0xf0, 0x90");
C(lldt, "lldt %ax");
C(sldt, "sldt %ax");
C(ltr, "ltr %ax");
C(str, "str %ax");
C(lar, "lar %ax, %ax");
C(verr, "verr %ax");
C(arpl, ".byte 0x63, 0xc0");
C(long, ".fill 15, 1, 0x2e; nop");
C(smsw, "smsw %ax");
C(sgdt, "sgdt 0x10");
C(mov_cr0, "mov %cr0, %eax");
C(cli_sti, "cli");
static const struct { const char *name; const u8 *code, *at, *next; u32 vector, trap;
} faults[] = {
#define E(name, vector, trap) { #name, r_##name, r_##name##_at, r_##name##_next, vector, trap }
    E(div, V_DE, 0),    E(ud2, V_UD, 0),       E(int3, V_BP, 1),      E(into, V_OF, 1),
    E(bound, V_BR, 0),  E(fld, V_NM, 0),       E(lock, V_UD, 0),      E(lldt, V_UD, 0),
    E(sldt, V_UD, 0),   E(ltr, V_UD, 0),       E(str, V_UD, 0),       E(lar, V_UD, 0),
    E(verr, V_UD, 0),   E(arpl, V_UD, 0),      E(long, V_GP, 0),      E(smsw, V_EXIT, 0),
    E(sgdt, V_EXIT, 0), E(mov_cr0, V_EXIT, 0), E(cli_sti, V_EXIT, 0),
};

static void run_faults(void) {
    for (u32 i = 0; i < COUNT(faults); i++) {
        test("real/exception/%s", faults[i].name);
        State s = real_state(faults[i].code);
        s.ecx = 0;
        s.eflags |= F_OF;
        DATA[0x10] = DATA[0x11] = DATA[0x12] = DATA[0x13] = 0;
        if (faults[i].vector == V_NM) set_cr0(get_cr0() | CR0_TS);
        State o = run_real(&s);
        set_cr0(get_cr0() & ~CR0_TS);
        if (faults[i].vector == V_EXIT) expect_exit(&o);
        else expect_real(&o, &s, faults[i].vector, faults[i].trap ? faults[i].next : faults[i].at);
    }
}

// ---- interrupts ---------------------------------------------------------------------------------
C(int_20, "int $0x20");
C(look, "pushf; pop %ax");
C(int_30, "int $0x30");
static void run_interrupts(void) {
    extern u16 r_idtr[3];
    test("real/INT/IF TF AC are cleared, the rest stays");
    State s = real_state(r_int_20);
    s.eflags |= F_IF | F_CF | F_DF;
    State o = run_real(&s);
    expect_real(&o, &s, 0x20, r_int_20_next);
    test("real/INT beyond the limit of the vector table");
    r_idtr[0] = 0x20 * 4 + 2;
    s = real_state(r_int_20);
    o = run_real(&s);
    expect_real(&o, &s, V_GP, r_int_20_at);
    r_idtr[0] = 0x20 * 4 + 3;
    test("real/INT at the limit of the vector table");
    o = run_real(&s);
    expect_real(&o, &s, 0x20, r_int_20_next);
    r_idtr[0] = 0x3ff;
}

// ---- where IP may go ----------------------------------------------------------------------------
// Code at a000:fffx would be video memory; 7000:0 is free: the test code is copied there.
static void run_ip(void) {
    u8 *seg = (u8 *)0x70000;
    static const u8 exit_code[] = { 0xcd, V_EXIT };
    test("real/IP/the instruction that begins at ffff does not fit");
    memset(seg + 0xff00, 0x90, 0x100);
    memcpy(seg, exit_code, 2);
    seg[0xffff] = 0xb0;                      // mov $imm, %al
    State s = real_state(seg);
    s.cs = 0x7000;
    s.eip = 0xfffc;
    State o = run_real(&s);
    expect("vector", o.vector, V_GP);
    expect("ip", o.eip, 0xffff);
    test("real/IP/running over ffff is a fault");
    seg[0xffff] = 0x90;
    o = run_real(&s);
    expect("vector", o.vector, V_GP);
    test("real/IP/a short jump wraps to 0");
    seg[0xfffe] = 0xeb;
    seg[0xffff] = 0x00;
    seg[0xfffc] = 0xeb;
    seg[0xfffd] = 0x02;                      // jmp to 10000h = 0
    o = run_real(&s);
    expect_exit(&o);
    expect("ip", o.eip, 2);
    test("real/IP/a 32-bit jump beyond 64K is a fault");
    static const u8 far_jump[] = { 0x66, 0xe9, 0xf0, 0xff, 0x00, 0x00 };
    memcpy(seg + 0x100, far_jump, sizeof far_jump);
    s.eip = 0x100;
    o = run_real(&s);
    expect("vector", o.vector, V_GP);
    expect("ip", o.eip, 0x100);
}

// ---- strings ------------------------------------------------------------------------------------
C(rep_movsb, "rep movsb");
C(rep_stosw, "rep stosw");
C(rep_stosl32, "addr32 rep stosl");
static void run_strings(void) {
    test("real/string/rep movsb wraps SI and DI");
    State s = real_state(r_rep_movsb);
    s.esi = 0x1234fffe;
    s.edi = 0x56780100;
    s.ecx = 0x9abc0004;
    DATA[0xfffe] = 1;
    DATA[0xffff] = 2;
    DATA[0] = 3;
    DATA[1] = 4;
    State o = run_real(&s);
    expect_exit(&o);
    expect("esi", o.esi, 0x12340002);
    expect("edi", o.edi, 0x56780104);
    expect("ecx", o.ecx, 0x9abc0000);
    expect("copied", *(u32 *)(DATA + 0x100), 0x04030201);
    test("real/string/rep stosw stops at ffff");
    s = real_state(r_rep_stosw);
    s.edi = 0xfffb;
    s.ecx = 10;
    o = run_real(&s);
    s.edi = 0xffff;
    s.ecx = 8;
    expect_real(&o, &s, V_GP, r_rep_stosw_at);
    test("real/string/rep stosl with 32-bit EDI stops at the limit");
    s = real_state(r_rep_stosl32);
    s.edi = 0xfff0;
    s.ecx = 10;
    o = run_real(&s);
    s.edi = 0x10000;
    s.ecx = 6;
    expect_real(&o, &s, V_GP, r_rep_stosl32_at);
}

// ---- 32 bits, segments that keep a limit, A20 ---------------------------------------------------
C(wide, "movl $0x12345678, %eax; addl %eax, %eax; addr32 movl 4(%ebx,%ecx,4), %edx");
C(load_seg, "mov $0x9100, %ax; mov %ax, %es; movb %es:0x20, %cl");
// To protected mode for a 4 GiB limit in FS, and back: the limit stays.
C(unreal,
  "cli; lgdtl %cs:(%bx); mov %cr0, %eax; or $1, %al; mov %eax, %cr0; mov $0x10, %cx; mov %cx, %fs;"
  "and $0xfe, %al; mov %eax, %cr0; addr32 movl %fs:(%esi), %edx; xor %cx, %cx; mov %cx, %fs;"
  "addr32 movl %fs:(%esi), %edi");
C(a20,
  "inb $0x92, %al; and $0xfc, %al; outb %al, $0x92; movb %es:0x510, %bl; movb $0x77, %es:0x511;"
  "or $2, %al; outb %al, $0x92; movb %es:0x510, %bh");
static void run_modes(void) {
    extern const u8 rt_gdtr[];
    test("real/32-bit operands and addresses");
    State s = real_state(r_wide);
    s.ebx = 0x100;
    s.ecx = 0x10;
    *(u32 *)(DATA + 0x144) = 0xcafebabe;
    State o = run_real(&s);
    expect_exit(&o);
    expect("eax", o.eax, 0x2468acf0);
    expect("edx", o.edx, 0xcafebabe);
    test("real/loading a segment register");
    DATA[0x1020] = 0x5d;
    s = real_state(r_load_seg);
    o = run_real(&s);
    expect_exit(&o);
    expect("cl", o.ecx & 0xff, 0x5d);
    test("real/a limit of protected mode stays");
    s = real_state(r_unreal);
    s.ebx = REAL_OFF(rt_gdtr);
    s.esi = 0x200000;
    *(u32 *)0x200000 = 0x600df00d;
    o = run_real(&s);
    expect_exit(&o);
    expect("edx", o.edx, 0x600df00d);
    expect("edi", o.edi, 0x600df00d);
    test("real/A20/off, the second MiB is the first");
    u8 *low = (u8 *)0x500, *high = (u8 *)0x100500;
    low[0] = 0x11;
    low[1] = 0;
    high[0] = 0x22;
    high[1] = 0;
    s = real_state(r_a20);
    s.es = 0xffff;
    o = run_real(&s);
    expect_exit(&o);
    expect("off", o.ebx & 0xff, 0x11);
    expect("on", o.ebx >> 8 & 0xff, 0x22);
    expect("written", low[1], 0x77);
    expect("not written", high[1], 0);
}

// ---- flags --------------------------------------------------------------------------------------
C(popf_all, "mov $0x7ed7, %ax; push %ax; popf; pushf; pop %bx; push $0; popf");
static void run_flags(void) {
    test("real/flags/all of them but bits 15, 5, 3 can be set");
    State s = real_state(r_popf_all), o = run_real(&s);
    s.eax = 0;
    expect_exit(&o);
    expect("flags", o.ebx & 0xffff, 0x7ed7);
}

void test_main(void) {
    rt_reset();
    run_limits();
    run_groups();
    run_stack();
    run_faults();
    run_interrupts();
    run_ip();
    run_strings();
    run_modes();
    run_flags();
    rt_reset();
}
