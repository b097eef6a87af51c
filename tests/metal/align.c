// SPDX-License-Identifier: MIT
// Alignment checks by type of operand: #AC(0) in ring 3 with AM and AC, exactly where the address
// is not a multiple of what the table asks; never for what the processor itself reads and writes
// (descriptors, stacks of inner rings); order with other faults; V86. SDM 3A 6.15 (interrupt 17,
// table 6-7).
//   T=align tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

enum { BY_EBX, BY_ESI, BY_EDI, PUSH, POP };
#define ROWS(R) \
    R(byte, "movb (%ebx), %al", 1, BY_EBX) R(word, "movw (%ebx), %ax", 2, BY_EBX) \
    R(dword, "movl (%ebx), %eax", 4, BY_EBX) R(word_store, "movw %ax, (%ebx)", 2, BY_EBX) \
    R(dword_store, "movl %eax, (%ebx)", 4, BY_EBX) R(rmw16, "incw (%ebx)", 2, BY_EBX) \
    R(rmw32, "addl %eax, (%ebx)", 4, BY_EBX) R(xchg, "xchg %eax, (%ebx)", 4, BY_EBX) \
    R(cmpxchg, "cmpxchg %eax, (%ebx)", 4, BY_EBX) R(movzx, "movzwl (%ebx), %eax", 2, BY_EBX) \
    R(push32, "push %eax", 4, PUSH) R(push16, "pushw %ax", 2, PUSH) R(pop32, "pop %eax", 4, POP) \
    R(pop16, "popw %ax", 2, POP) R(pusha, "pusha", 4, PUSH) R(popa, "popa", 4, POP) \
    R(pushf, "pushf", 4, PUSH) \
    R(call, "call 1f; 1:", 4, PUSH) R(enter, "enter $8, $0", 4, PUSH) \
    R(movs_from, "movsl", 4, BY_ESI) \
    R(movs_to, "movsl", 4, BY_EDI) R(stosw, "stosw", 2, BY_EDI) R(lodsl, "lodsl", 4, BY_ESI) \
    R(cmpsw, "cmpsw", 2, BY_ESI) R(scasl, "scasl", 4, BY_EDI) R(single, "flds (%ebx)", 4, BY_EBX) \
    R(double_, "fldl (%ebx)", 8, BY_EBX) R(extended, "fldt (%ebx)", 8, BY_EBX) \
    R(extended_store, "fstpt (%ebx)", 8, BY_EBX) R(int16, "filds (%ebx)", 2, BY_EBX) \
    R(int64, "fistpll (%ebx)", 8, BY_EBX) R(control_word, "fnstcw (%ebx)", 2, BY_EBX) \
    R(environment, "fnstenv (%ebx)", 4, BY_EBX) R(save, "fnsave (%ebx)", 4, BY_EBX) \
    R(seg_store, "mov %ds, (%ebx)", 2, BY_EBX) R(lea, "lea 1(%ebx), %eax", 1, BY_EBX) \
    R(bts_string, "bts %ecx, (%ebx)", 4, BY_EBX) R(far_jump, "ljmp *(%ebx)", 4, BY_EBX) \
    R(les, "les (%ebx), %eax", 4, BY_EBX) R(les16, "lesw (%ebx), %ax", 2, BY_EBX)
#define R(name, text, bytes, by) ICODE(a_##name, "", text);
ROWS(R)
#undef R
static const struct Row { const char *name; const u8 *code, *at; u32 bytes, by; } rows[] = {
#define R(name, text, bytes, by) { #name, a_##name, a_##name##_at, bytes, by },
    ROWS(R)
#undef R
};
CODE(landing, "");
ICODE(after_ss, "mov %ss, %eax; mov %eax, %ss; nop; mov %eax, (%ebx);", "push %eax");
ICODE(after_ds, "mov %ds, %eax; mov %eax, %ds; mov %eax, 3(%ebx);", "mov (%ebx), %eax");

static State start(const struct Row *r, u32 address) {
    State s = user_state(r->code);
    s.eflags |= F_AC;
    s.ecx = 3;
    s.ebx = address;
    s.esi = r->by == BY_ESI ? address : win(1);
    s.edi = r->by == BY_EDI ? address : win(2);
    if (r->by == PUSH) s.esp = address + 32;
    if (r->by == POP) s.esp = address;
    u8 *m = win_phys(0) + (address - win(0));
    u32 offset = ADDR(landing);
    memcpy(m, &offset, 4);
    m[4] = UCS;
    m[5] = 0;
    if (r->code == a_les) m[4] = UDS;
    if (r->code == a_les16) m[2] = UDS, m[3] = 0;
    return s;
}

static void run_row(const struct Row *r) {
    test("align/%s", r->name);
    for (u32 offset = 0; offset < 9; offset++) {
        rt_reset();
        set_cr0(get_cr0() | CR0_AM);
        __asm__ volatile("fninit; fld1; fld1");
        State s = start(r, win(0) + 0x40 + offset), o = run(&s);
        if (offset & (r->bytes - 1)) expect_fault(&o, &s, V_AC, 0, ADDR(r->at));
        else expect_exit(&o);
    }
}

// ---- what is not checked, and what comes first --------------------------------------------------
ICODE(int_33, "", "int $0x33");
ICODE(load, "", "mov (%ebx), %eax");
ICODE(load_fs, "", "mov %fs:(%ebx), %eax");
CODE16(v_load, "movw 1, %ax");
CODE(to_ds, "mov %cx, %ds");
ICODE(set_ac, "pushf; orl $0x40000, (%esp); popf", "mov (%ebx), %eax");
static void run_others(void) {
    test("align/an inner stack is not checked");
    rt_reset();
    set_cr0(get_cr0() | CR0_AM);
    tss.esp0 -= 3;
    State s = user_state(int_33);
    s.eflags |= F_AC;
    idt[0x33] = gate(KCS, ADDR(landing), D_INT32 | D_DPL3, 0);
    State o = run(&s);
    expect_exit(&o);
    test("align/a descriptor table is not checked");
    rt_reset();
    set_cr0(get_cr0() | CR0_AM);
    u8 *odd = win_phys(0) + 1;
    memcpy(odd, gdt, sizeof gdt);
    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) table = { 511, win(0) + 1 }, old = { 511, ADDR(gdt) };
    __asm__ volatile("lgdt %0" :: "m"(table));
    s = user_state(to_ds);
    s.eflags |= F_AC;
    s.ecx = UDS;
    o = run(&s);
    expect_exit(&o);
    __asm__ volatile("lgdt %0" :: "m"(old));
    test("align/a segment's limit comes first");
    rt_reset();
    set_cr0(get_cr0() | CR0_AM);
    gdt_set(FREE_SEL, descriptor(win(0), 0xff, D_DATA | D_32 | D_DPL3));
    s = user_state(load_fs);
    s.eflags |= F_AC;
    s.fs = FREE_SEL | 3;
    s.ebx = 0xfe;
    o = run(&s);
    expect_fault(&o, &s, V_GP, 0, ADDR(load_fs_at));
    test("align/the linear address counts, not the offset");
    gdt_set(FREE_SEL, descriptor(win(0) + 2, 0xff, D_DATA | D_32 | D_DPL3));
    s.ebx = 2;
    o = run(&s);
    expect_exit(&o);
    s.ebx = 4;
    o = run(&s);
    expect_fault(&o, &s, V_AC, 0, ADDR(load_fs_at));
    test("align/V86");
    s = v86_state(v_load);
    s.eflags |= F_AC | F_IOPL;
    o = run(&s);
    expect("vector", o.vector, V_AC);
    expect("ip", o.eip, REAL_OFF(v_load));
    test("align/AC set by POPF counts at once");
    s = user_state(set_ac);
    s.ebx = win(0) + 1;
    o = run(&s);
    expect("vector", o.vector, V_AC);
    expect("eip", o.eip, ADDR(set_ac_at));
    test("align/a stack segment loaded anew is checked, too");
    s = user_state(after_ss);
    s.eflags |= F_AC;
    s.ebx = win(0);
    s.esp = win(0) + 33;
    o = run(&s);
    expect("vector", o.vector, V_AC);
    expect("eip", o.eip, ADDR(after_ss_at));
    test("align/and a data segment");
    s = user_state(after_ds);
    s.eflags |= F_AC;
    s.ebx = win(0) + 1;
    o = run(&s);
    expect("vector", o.vector, V_AC);
    expect("eip", o.eip, ADDR(after_ds_at));
    test("align/the handler runs unchecked, IRET checks again");
    s = user_state(load);
    s.eflags |= F_AC;
    s.ebx = win(0) + 1;
    for (u32 i = 0; i < 3; i++) {
        o = run(&s);
        expect_fault(&o, &s, V_AC, 0, ADDR(load_at));
        s.eflags &= ~F_AC;
        o = run(&s);
        expect_exit(&o);
        s.eflags |= F_AC;
    }
}

void test_main(void) {
    for (u32 i = 0; i < COUNT(rows); i++) run_row(&rows[i]);
    run_others();
    rt_reset();
}
