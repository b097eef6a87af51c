// SPDX-License-Identifier: MIT
// A page fault in every class of instruction: at the fault nothing has changed (registers, flags,
// memory, x87), CR2 and the error code say what was missing; after the page has been mapped and the
// instruction was resumed everything is as if the page had always been there. Operands lie inside a
// page and across two, with the first or the second one missing. REP: the completed part stays.
// SDM 3A 6.5 (faults), 6.15 (interrupt 14); SDM 2B REP (EFLAGS of an interrupted CMPS and SCAS).
//   T=restart tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#include <stdbool.h>

enum { READ, WRITE, RMW };                   // what the missing access is
enum { BY_EBX, BY_ESI, BY_EDI, PUSH, POP, BY_BIT };
enum {
    USER_ONLY = 1,
    MANY = 2,
    WHOLE = 4
}; // MANY: several stores, memory not judged at the fault;
   // WHOLE: only inside one page (PUSH CS may write 2 bytes)

typedef struct Case {
    const char *name;
    const u8 *code, *at;
    u32 bytes, access, by, how;
    void (*prepare)(State *s, u8 *operand);  // operand: by its identity address
} Case;

// ---- circumstances ------------------------------------------------------------------------------
static void put32(u8 *at, u32 v) { memcpy(at, &v, 4); }
static void none(State *s, u8 *m) { (void)s, (void)m; }
static void divide(State *s, u8 *m) {
    m[0] |= 1;
    s->eax = 0x1234;
    s->edx = 0;
}
static void divide8(State *s, u8 *m) {
    m[0] = 0x77;
    s->eax = 0x1234;
}
static void equal32(State *s, u8 *m) { memcpy(&s->eax, m, 4); }
static void equal64(State *s, u8 *m) {
    memcpy(&s->eax, m, 4);
    memcpy(&s->edx, m + 4, 4);
}
static void bounds(State *s, u8 *m) {
    put32(m, 0x80000000);
    put32(m + 4, 0x7fffffff);
    s->ecx = 5;
}
static void far_data(State *s, u8 *m) {
    m[4] = (u8)(s->cs & 3 ? UDS : KDS);
    m[5] = 0;
}
static void selector(State *s, u8 *m) {
    m[0] = (u8)(s->cs & 3 ? UDS : KDS);
    m[1] = 0;
}
static void near_code(State *s, u8 *m) {
    extern const u8 landing[];
    (void)s;
    put32(m, ADDR(landing));
}
static void far_code(State *s, u8 *m) {
    near_code(s, m);
    m[4] = (u8)s->cs;
    m[5] = 0;
}
static void return_frame(State *s, u8 *m) {
    near_code(s, m);
    put32(m + 4, s->cs);
    put32(m + 8, F_ONE | F_CF | F_DF | F_AC);
}
static void flags_image(State *s, u8 *m) {
    (void)s;
    put32(m, F_ONE | F_CF | F_DF | F_OF);
}
static void leave_frame(State *s, u8 *m) {
    (void)m;
    s->ebp = s->esp;
    s->esp = ADDR(user_stack) + 1024;
}
static void enter_levels(State *s, u8 *m) {
    (void)m;
    s->ebp = ADDR(user_stack) + 1024;
}
static void far_pop(State *s, u8 *m) { // pop 0x1000(%esp): the operand is that far beyond the word
    (void)m;
    s->esp = s->ebx - 0x1004;
}
static void no_count(State *s, u8 *m) {
    (void)m;
    s->ecx &= ~0xffu;
}
static void fpu_two(State *s, u8 *m) {
    static const u32 number = 0x3f9df3b6;
    (void)s, (void)m;
    __asm__ volatile("fninit; fldpi; flds %0" :: "m"(number));
}
static void fpu_number(State *s, u8 *m) {
    fpu_two(s, m);
    memset(m, 0x11, 10);
}
static void fpu_environment(State *s, u8 *m) {
    static u8 image[108];
    fpu_two(s, m);
    __asm__ volatile("fnsave %0" : "=m"(image));
    memcpy(m, image, sizeof image);
    __asm__ volatile("fninit; fldz");
}

// ---- code ---------------------------------------------------------------------------------------
CODE(landing, "nop");

#define ROWS(R) \
    R(mov_load, "mov (%ebx), %eax", 4, READ, BY_EBX, 0, none) \
    R(mov_load16, "mov (%ebx), %ax", 2, READ, BY_EBX, 0, none) \
    R(mov_load8, "mov (%ebx), %ah", 1, READ, BY_EBX, 0, none) \
    R(mov_load_own_base, "mov (%ebx), %ebx", 4, READ, BY_EBX, 0, none) \
    R(movzx, "movzwl (%ebx), %ecx", 2, READ, BY_EBX, 0, none) \
    R(movsx, "movsbl (%ebx), %ecx", 1, READ, BY_EBX, 0, none) \
    R(mov_store, "mov %eax, (%ebx)", 4, WRITE, BY_EBX, 0, none) \
    R(mov_store16, "mov %cx, (%ebx)", 2, WRITE, BY_EBX, 0, none) \
    R(mov_store8, "mov %dh, (%ebx)", 1, WRITE, BY_EBX, 0, none) \
    R(mov_store_imm, "movl $0x12345678, (%ebx)", 4, WRITE, BY_EBX, 0, none) \
    R(mov_store_seg, "mov %ss, (%ebx)", 2, WRITE, BY_EBX, 0, none) \
    R(xlat, "xor %eax, %eax; sub %eax, %eax; .byte 0xd7", 1, READ, BY_EBX, WHOLE, none) \
    R(add_load, "add (%ebx), %eax", 4, READ, BY_EBX, 0, none) \
    R(adc_load, "adc (%ebx), %eax", 4, READ, BY_EBX, 0, none) \
    R(sbb_load16, "sbb (%ebx), %dx", 2, READ, BY_EBX, 0, none) \
    R(cmp_load, "cmp (%ebx), %ecx", 4, READ, BY_EBX, 0, none) \
    R(cmp_imm, "cmpl $5, (%ebx)", 4, READ, BY_EBX, 0, none) \
    R(test_load, "test %ecx, (%ebx)", 4, READ, BY_EBX, 0, none) \
    R(add_store, "add %eax, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(or_store, "or %eax, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(adc_store, "adc %eax, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(sbb_store, "sbb %eax, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(and_store16, "and %ax, (%ebx)", 2, RMW, BY_EBX, 0, none) \
    R(sub_store8, "sub %ah, (%ebx)", 1, RMW, BY_EBX, 0, none) \
    R(xor_imm, "xorl $0x55, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(lock_add, "lock addl $3, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(inc_store, "incl (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(dec_store, "decw (%ebx)", 2, RMW, BY_EBX, 0, none) \
    R(not_store, "notl (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(neg_store, "negl (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(shl_one, "shll $1, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(shl_cl, "shll %cl, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(shr_imm, "shrw $3, (%ebx)", 2, RMW, BY_EBX, 0, none) \
    R(sar_cl, "sarl %cl, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(rol_imm, "roll $5, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(rcl_cl, "rcll %cl, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(shl_nothing, "shll %cl, (%ebx)", 4, RMW, BY_EBX, 0, no_count) \
    R(shld_imm, "shldl $4, %eax, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(shrd_cl, "shrdl %cl, %eax, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(bt_imm, "btl $7, (%ebx)", 4, READ, BY_EBX, 0, none) \
    R(bts_imm, "btsl $9, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(btr_imm, "btrw $9, (%ebx)", 2, RMW, BY_EBX, 0, none) \
    R(btc_string, "btcl %ecx, (%ebx)", 4, RMW, BY_BIT, 0, none) \
    R(bts_string16, "btsw %cx, (%ebx)", 2, RMW, BY_BIT, 0, none) \
    R(bsf_load, "bsf (%ebx), %ecx", 4, READ, BY_EBX, 0, none) \
    R(xchg_store, "xchg %eax, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(xchg_store8, "xchg %ah, (%ebx)", 1, RMW, BY_EBX, 0, none) \
    R(xadd_store, "xadd %eax, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(cmpxchg_unequal, "cmpxchg %ecx, (%ebx)", 4, RMW, BY_EBX, 0, none) \
    R(cmpxchg_equal, "cmpxchg %ecx, (%ebx)", 4, RMW, BY_EBX, 0, equal32) \
    R(cmpxchg8b_unequal, "cmpxchg8b (%esi)", 8, RMW, BY_ESI, 0, none) \
    R(cmpxchg8b_equal, "cmpxchg8b (%esi)", 8, RMW, BY_ESI, 0, equal64) \
    R(setz_store, "setz (%ebx)", 1, WRITE, BY_EBX, 0, none) \
    R(mul_load, "mull (%ebx)", 4, READ, BY_EBX, 0, none) \
    R(imul_load, "imul $7, (%ebx), %ecx", 4, READ, BY_EBX, 0, none) \
    R(div_load, "divl (%ebx)", 4, READ, BY_EBX, 0, divide) \
    R(div_load8, "divb (%ebx)", 1, READ, BY_EBX, 0, divide8) \
    R(idiv_load, "idivl (%ebx)", 4, READ, BY_EBX, 0, divide) \
    R(bound_load, "bound %ecx, (%ebx)", 8, READ, BY_EBX, 0, bounds) \
    R(arpl_store, "arpl %ax, (%ebx)", 2, RMW, BY_EBX, 0, none) \
    R(sgdt_store, "sgdt (%ebx)", 6, WRITE, BY_EBX, MANY, none) \
    R(sidt_store, "sidt (%ebx)", 6, WRITE, BY_EBX, MANY, none) \
    R(smsw_store, "smsw (%ebx)", 2, WRITE, BY_EBX, 0, none) \
    R(sldt_store, "sldt (%ebx)", 2, WRITE, BY_EBX, 0, none) \
    R(verr_load, "verr (%ebx)", 2, READ, BY_EBX, 0, selector) \
    R(lar_load, "lar (%ebx), %ecx", 2, READ, BY_EBX, 0, selector) \
    R(mov_to_ds, "mov (%ebx), %ds", 2, READ, BY_EBX, 0, selector) \
    R(mov_to_fs, "mov (%ebx), %fs", 2, READ, BY_EBX, 0, selector) \
    R(les_load, "les (%ebx), %ecx", 6, READ, BY_EBX, 0, far_data) \
    R(lds_load, "lds (%ebx), %ebx", 6, READ, BY_EBX, 0, far_data) \
    R(lfs_load, "lfs (%ebx), %esp", 6, READ, BY_EBX, USER_ONLY, far_data) \
    R(jmp_indirect, "jmp *(%ebx)", 4, READ, BY_EBX, 0, near_code) \
    R(call_indirect, "call *(%ebx)", 4, READ, BY_EBX, 0, near_code) \
    R(jmp_far_indirect, "ljmp *(%ebx)", 6, READ, BY_EBX, 0, far_code) \
    R(call_far_indirect, "lcall *(%ebx)", 6, READ, BY_EBX, 0, far_code) \
    R(movs_load, "movsl", 4, READ, BY_ESI, 0, none) \
    R(movs_store, "movsl", 4, WRITE, BY_EDI, 0, none) \
    R(movs_store8, "movsb", 1, WRITE, BY_EDI, 0, none) \
    R(stos_store, "stosl", 4, WRITE, BY_EDI, 0, none) \
    R(lods_load, "lodsl", 4, READ, BY_ESI, 0, none) \
    R(lods_load16, "lodsw", 2, READ, BY_ESI, 0, none) \
    R(cmps_first, "cmpsl", 4, READ, BY_ESI, 0, none) \
    R(cmps_second, "cmpsl", 4, READ, BY_EDI, 0, none) \
    R(scas_load, "scasl", 4, READ, BY_EDI, 0, none) \
    R(push_reg, "push %eax", 4, WRITE, PUSH, USER_ONLY, none) \
    R(push_esp, "push %esp", 4, WRITE, PUSH, USER_ONLY, none) \
    R(push_imm, "push $0x1234567", 4, WRITE, PUSH, USER_ONLY, none) \
    R(push16, "pushw %ax", 2, WRITE, PUSH, USER_ONLY, none) \
    R(push_seg, "push %cs", 4, WRITE, PUSH, USER_ONLY | WHOLE, none) \
    R(push_flags, "pushf", 4, WRITE, PUSH, USER_ONLY, none) \
    R(push_memory_stack, "push user_stack", 4, WRITE, PUSH, USER_ONLY, none) \
    R(push_memory_load, "push (%ebx)", 4, READ, BY_EBX, 0, none) \
    R(pop_reg, "pop %eax", 4, READ, POP, USER_ONLY, none) \
    R(pop_esp, "pop %esp", 4, READ, POP, USER_ONLY, none) \
    R(pop16, "popw %ax", 2, READ, POP, USER_ONLY, none) \
    R(pop_flags, "popf", 4, READ, POP, USER_ONLY, flags_image) \
    R(pop_seg, "pop %es", 4, READ, POP, USER_ONLY | WHOLE, selector) \
    R(pop_ss, "pop %ss; nop", 4, READ, POP, USER_ONLY | WHOLE, selector) \
    R(pop_memory_stack, "pop user_stack", 4, READ, POP, USER_ONLY, none) \
    R(pop_memory_store, "pop (%ebx)", 4, WRITE, BY_EBX, 0, none) \
    R(pop_memory_by_esp, "pop 0x1000(%esp)", 4, WRITE, BY_EBX, USER_ONLY, far_pop) \
    R(pop_memory_by_esp16, "popw 0x1002(%esp)", 2, WRITE, BY_EBX, USER_ONLY, far_pop) \
    R(call_near, "call landing", 4, WRITE, PUSH, USER_ONLY, none) \
    R(call_reg, "mov $landing, %eax; mov $landing, %eax; call *%eax", 4, WRITE, PUSH, \
      USER_ONLY | WHOLE, none) \
    R(call_far, "lcall $0x1b, $landing", 8, WRITE, PUSH, USER_ONLY | MANY, none) \
    R(ret_near, "ret", 4, READ, POP, USER_ONLY, near_code) \
    R(ret_near_imm, "ret $12", 4, READ, POP, USER_ONLY, near_code) \
    R(ret_far, "lret", 8, READ, POP, USER_ONLY, far_code) \
    R(iret_same, "iret", 12, READ, POP, USER_ONLY, return_frame) \
    R(enter_0, "enter $16, $0", 4, WRITE, PUSH, USER_ONLY | MANY | WHOLE, none) \
    R(enter_3, "enter $8, $3", 16, WRITE, PUSH, USER_ONLY | MANY | WHOLE, enter_levels) \
    R(leave, "leave", 4, READ, POP, USER_ONLY, leave_frame) \
    R(pusha, "pusha", 32, WRITE, PUSH, USER_ONLY | MANY, none) \
    R(pusha16, "pushaw", 16, WRITE, PUSH, USER_ONLY | MANY, none) \
    R(popa, "popa", 32, READ, POP, USER_ONLY, none) \
    R(fld32, "flds (%ebx)", 4, READ, BY_EBX, 0, fpu_two) \
    R(fld64, "fldl (%ebx)", 8, READ, BY_EBX, 0, fpu_two) \
    R(fld80, "fldt (%ebx)", 10, READ, BY_EBX, 0, fpu_two) \
    R(fild16, "filds (%ebx)", 2, READ, BY_EBX, 0, fpu_two) \
    R(fild32, "fildl (%ebx)", 4, READ, BY_EBX, 0, fpu_two) \
    R(fild64, "fildll (%ebx)", 8, READ, BY_EBX, 0, fpu_two) \
    R(fbld, "fbld (%ebx)", 10, READ, BY_EBX, 0, fpu_number) \
    R(fadd32, "fadds (%ebx)", 4, READ, BY_EBX, 0, fpu_two) \
    R(fdiv64, "fdivl (%ebx)", 8, READ, BY_EBX, 0, fpu_two) \
    R(fcom32, "fcomps (%ebx)", 4, READ, BY_EBX, 0, fpu_two) \
    R(fst32, "fsts (%ebx)", 4, WRITE, BY_EBX, 0, fpu_two) \
    R(fstp32, "fstps (%ebx)", 4, WRITE, BY_EBX, 0, fpu_two) \
    R(fstp64, "fstpl (%ebx)", 8, WRITE, BY_EBX, 0, fpu_two) \
    R(fstp80, "fstpt (%ebx)", 10, WRITE, BY_EBX, MANY, fpu_two) \
    R(fist16, "fists (%ebx)", 2, WRITE, BY_EBX, 0, fpu_two) \
    R(fistp32, "fistpl (%ebx)", 4, WRITE, BY_EBX, 0, fpu_two) \
    R(fistp64, "fistpll (%ebx)", 8, WRITE, BY_EBX, 0, fpu_two) \
    R(fbstp, "fbstp (%ebx)", 10, WRITE, BY_EBX, MANY, fpu_two) \
    R(fldcw, "fldcw (%ebx)", 2, READ, BY_EBX, 0, fpu_environment) \
    R(fnstcw, "fnstcw (%ebx)", 2, WRITE, BY_EBX, 0, fpu_two) \
    R(fnstsw, "fnstsw (%ebx)", 2, WRITE, BY_EBX, 0, fpu_two) \
    R(fnstenv, "fnstenv (%ebx)", 28, WRITE, BY_EBX, MANY | WHOLE, fpu_two) \
    R(fldenv, "fldenv (%ebx)", 28, READ, BY_EBX, 0, fpu_environment) \
    R(fnsave, "fnsave (%ebx)", 108, WRITE, BY_EBX, MANY | WHOLE, fpu_two) \
    R(frstor, "frstor (%ebx)", 108, READ, BY_EBX, 0, fpu_environment)

// The instruction of interest is the last of the text: `at` is where it begins.
#define R(name, text, bytes, access, by, how, prepare) ICODE(r_##name, "", text);
ROWS(R)
#undef R
static const Case cases[] = {
#define R(name, text, bytes, access, by, how, prepare) \
    { #name, r_##name, r_##name##_at, bytes, access, by, how, prepare },
    ROWS(R)
#undef R
};

// ---- one case -----------------------------------------------------------------------------------
#define SPAN (4 * 4096)
static u8 before[SPAN], whole[SPAN];
typedef struct Fpu { u8 image[108]; } Fpu;

static Fpu fpu_look(void) {
    Fpu f;
    __asm__ volatile("fnsave %0; frstor %0" : "+m"(f));
    memset(f.image + 12, 0, 16);                 // pointers and opcode are not judged
    return f;
}

static State start(const Case *c, unsigned ring, u32 flags, u32 operand) {
    State s = ring_state(ring, c->code);
    win_reset();
    memset(kernel_stack, 0x77, sizeof kernel_stack);
    s.eflags |= flags;
    s.ebx = operand;
    s.esi = c->by == BY_ESI ? operand : win(0) + 0x40;
    s.edi = c->by == BY_EDI ? operand : win(0) + 0x80;
    if (c->by == BY_BIT) {
        s.ecx = (u32)-0x70;                      // 14 bytes below EBX: bit 0 of a word there
        s.ebx = operand + 14;
        if (c->bytes == 4) {
            s.ecx = (u32)-0x80 + 5;
            s.ebx = operand + 16;
        }
    }
    if (c->by == PUSH) s.esp = operand + c->bytes;
    if (c->by == POP) s.esp = operand;
    c->prepare(&s, win_phys(0) + (operand - win(0)));
    return s;
}

// The first missing byte of a plain access. In which order the parts of a longer operand are met is
// the processor's affair: then the page must be right.
static void judge_cr2(const Case *c, const State *o, u32 operand, u32 page) {
    u32 low = operand > win(page) ? operand : win(page);
    bool plain = !(c->how & MANY) && !(c->bytes & (c->bytes - 1)) && c->bytes <= 4;
    if (plain) expect("cr2", o->cr2, low);
    else expect("cr2", o->cr2 & ~0xfffu, win(page));
}

static void judge_fault(const Case *c, const State *o, const State *s, u32 operand, u32 page) {
    u32 error = (s->cs & 3 ? 4 : 0) | (c->access == READ ? 0 : 2);
    u32 mask = c->access == RMW ? ~2u : ~0u;     // whether it counts as a write: see paging.c
    expect("vector", o->vector, V_PF);
    expect_bits("error", o->error, error, mask);
    judge_cr2(c, o, operand, page);
    expect_same(o, s, ALL & ~EIP);
    // xlat and call_reg set up a register first
    if (c->code != r_xlat && c->code != r_call_reg) expect("eip", o->eip, ADDR(c->at));
}

static void run_case(const Case *c, unsigned ring, u32 flags, u32 operand, u32 page) {
    test("restart/%s/ring%u/flags %x/%s/page %u", c->name, ring, flags,
         operand + c->bytes > win(2) ? "across" : "inside", page - 1);
    State s = start(c, ring, flags, operand), all = run(&s);
    Fpu fpu_whole = fpu_look();
    expect_exit(&all);
    memcpy(whole, win_phys(0), SPAN);
    s = start(c, ring, flags, operand);
    Fpu fpu_before = fpu_look();
    memcpy(before, win_phys(0), SPAN);
    map(page, 0);
    State o = run(&s);
    Fpu fpu_fault = fpu_look();
    if (c->code == r_xlat || c->code == r_call_reg) {
        s.eax = o.eax;
        s.eflags = o.eflags;
    }
    judge_fault(c, &o, &s, operand, page);
    if (!(c->how & MANY)) expect("memory", memcmp(before, win_phys(0), SPAN) != 0, 0);
    expect_mem("fpu", &fpu_fault, &fpu_before, sizeof(Fpu));
    map(page, PTE_ALL);
    o.eflags &= ~F_RF;
    State end = run(&o);
    Fpu fpu_end = fpu_look();
    expect_same(&end, &all, ALL);
    if (memcmp(whole, win_phys(0), SPAN)) expect_mem("memory in the end", win_phys(0), whole, SPAN);
    expect_mem("fpu in the end", &fpu_end, &fpu_whole, sizeof(Fpu));
}

static void run_places(const Case *c, unsigned ring, u32 flags) {
    run_case(c, ring, flags, win(1) + 0x20, 1);
    if (c->how & WHOLE || c->bytes == 1) return;
    u32 low = c->bytes <= 8 ? c->bytes / 2 : (c->bytes / 2 + 2) & ~3u;
    u32 across = win(2) - low;
    run_case(c, ring, flags, across, 1);
    run_case(c, ring, flags, across, 2);
}

// ---- REP ----------------------------------------------------------------------------------------
ICODE(rep_movsb, "", "rep movsb");
ICODE(rep_movsw, "", "rep movsw");
ICODE(rep_movsl, "", "rep movsl");
ICODE(rep_stosb, "", "rep stosb");
ICODE(rep_stosl, "", "rep stosl");
ICODE(rep_lodsb, "", "rep lodsb");
ICODE(rep_lodsl, "", "rep lodsl");
ICODE(repe_cmpsb, "", "repe cmpsb");
ICODE(repe_cmpsl, "", "repe cmpsl");
ICODE(repne_scasb, "", "repne scasb");
ICODE(repne_scasl, "", "repne scasl");
enum { SOURCE = 1, TARGET = 2 };
static const struct Rep {
    const char *name;
    const u8 *code, *at;
    u32 size, uses, write;               // write: the target is written
} reps[] = {
#define P(name, size, uses, write) { #name, name, name##_at, size, uses, write }
    P(rep_movsb, 1, SOURCE | TARGET, 2),  P(rep_movsw, 2, SOURCE | TARGET, 2),
    P(rep_movsl, 4, SOURCE | TARGET, 2),  P(rep_stosb, 1, TARGET, 2),
    P(rep_stosl, 4, TARGET, 2),           P(rep_lodsb, 1, SOURCE, 0),
    P(rep_lodsl, 4, SOURCE, 0),           P(repe_cmpsb, 1, SOURCE | TARGET, 0),
    P(repe_cmpsl, 4, SOURCE | TARGET, 0), P(repne_scasb, 1, TARGET, 0),
    P(repne_scasl, 4, TARGET, 0),
#undef P
};

// `good` elements lie before the missing page, the next one begins `skew` bytes before its border.
typedef struct Place { u32 good, skew, down; } Place;

static State rep_start(const struct Rep *r, unsigned ring, u32 missing, const Place *p) {
    State s = ring_state(ring, r->code);
    win_reset();
    memset(win_phys(0), 0x44, 2 * 4096);         // comparisons go on to the end
    memset(win_phys(2), 0x44, 2 * 4096);
    for (u32 i = 0; i < 4096; i++) win_phys(r->write ? 1 : 4)[i] = (u8)(i * 7);
    s.eax = 0x99887766;
    s.ecx = p->good + 9;
    s.eflags |= F_CF | F_OF | (p->down ? F_DF : 0);
    u32 step = p->good * r->size;
    u32 at = p->down ? win(2) - r->size + p->skew + step : win(2) - p->skew - step;
    u32 other = p->down ? win(0) + 0xe00 : win(0) + 0x100;
    s.esi = missing == SOURCE ? at : other;
    s.edi = missing == TARGET ? at : other;
    return s;
}

static void run_rep(const struct Rep *r, unsigned ring, u32 missing, const Place *p) {
    if (p->skew >= r->size || !(r->uses & missing)) return;
    test("restart/%s/ring%u/%s/%u done%s%s", r->name, ring, missing == SOURCE ? "source" : "target",
         p->good, p->skew ? "/element across pages" : "", p->down ? "/down" : "");
    u32 page = p->down ? 1 : 2;
    State s = rep_start(r, ring, missing, p), all = run(&s);
    expect_exit(&all);
    memcpy(whole, win_phys(0), SPAN);
    s = rep_start(r, ring, missing, p);
    map(page, 0);
    State o = run(&s), want = s;
    u32 moved = p->good * r->size;
    if (p->down) moved = -moved;
    want.ecx -= p->good;
    if (r->uses & SOURCE) want.esi += moved;
    if (r->uses & TARGET) want.edi += moved;
    if (!(r->uses & TARGET)) {
        want.eax = p->good ? o.eax : want.eax;   // what was loaded is seen in the end
    }
    expect("vector", o.vector, V_PF);
    expect("error", o.error, (ring ? 4 : 0) | (missing == TARGET ? r->write : 0));
    u32 operand = missing == SOURCE ? want.esi : want.edi;
    expect("cr2", o.cr2, p->down || operand >= win(2) ? operand : win(2));
    want.eip = ADDR(r->at);
    expect_same(&o, &want, ALL);
    map(page, PTE_ALL);
    o.eflags &= ~F_RF;
    State end = run(&o);
    expect_same(&end, &all, ALL);
    expect("memory in the end", memcmp(whole, win_phys(0), SPAN) != 0, 0);
}

static void run_reps(void) {
    static const Place places[] = { { 0, 0, 0 },  { 5, 0, 0 }, { 1, 1, 0 }, { 40, 0, 0 },
                                    { 40, 3, 0 }, { 0, 0, 1 }, { 6, 0, 1 }, { 3, 2, 1 } };
    for (unsigned i = 0; i < COUNT(reps); i++)
        for (unsigned k = 0; k < COUNT(places); k++)
            for (unsigned ring = 0; ring < 4; ring += 3) {
                run_rep(&reps[i], ring, SOURCE, &places[k]);
                run_rep(&reps[i], ring, TARGET, &places[k]);
            }
}

void test_main(void) {
    rt_reset();
    set_cr0(get_cr0() | CR0_WP);
    for (unsigned i = 0; i < COUNT(cases); i++) {
        const Case *c = &cases[i];
        if (c->by != PUSH && c->by != POP && !(c->how & USER_ONLY)) run_places(c, 0, 0);
        run_places(c, 3, 0);
        run_places(c, 3, F_ARITH);
    }
    run_reps();
    rt_reset();
}
