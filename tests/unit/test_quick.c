// SPDX-License-Identifier: MIT
// The quick ways of interrupts, IRET and segment loads (cpu/quick.c), and those in machine code (jit/usual.c), against
// the full ones: two processors in the same random state, one whose soft MMU has entries for everything and whose
// helpers are called as generated code calls them, one with no entries, for which nothing is usual.
// Run: make test T=unit/test_quick; a case again: SEED=n N=1 build/tests/unit/test_quick
#include "fuzz.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu/cpu_int.h"
#include "cpu/model.h"
#include "jit/jit_int.h"
#include "testcpu.h"
#include "x64/enc.h"

enum { CASES = 200000, STACK_PAGE = 0x20000, STACK_BYTES = 0x2000, VECTORS = 16 };

static u64 next(u64 *r) {
    u64 z = *r += 0x9e3779b97f4a7c15u;                     // splitmix64
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static u32 pick(u64 *r, u32 n) { return (u32)(next(r) % n); }
static bool one_in(u64 *r, u32 n) { return pick(r, n) == 0; }

// Data of 64 KiB or another limit, from anywhere.
static void random_small_desc(u64 *r, u32 *lo, u32 *hi) {
    static const u32 kinds[] = { 0x00009300, 0x0000f300, 0x00409300, 0x00809300, 0x00009200, 0x00009700, 0x00009100 };
    static const u16 limits[] = { 0xffff, 0xffff, 0xffff, 0xfffe, 0, 2, 5, 6, 7, 0x1000 };
    u32 base = (u32)next(r) & (0u - (1u << pick(r, 8)));
    *lo = limits[pick(r, ARRAY_LEN(limits))] | base << 16;
    *hi = kinds[pick(r, ARRAY_LEN(kinds))] | (base >> 16 & 0xff) | (base & 0xff000000);
    if (one_in(r, 6)) *hi ^= 1u << pick(r, 32);
}

// A descriptor of 4 GiB from 0, most often; sometimes a bit of it is another.
static void random_desc(u64 *r, u32 *lo, u32 *hi) {
    static const u32 kinds[] = { 0x00cf9b00, 0x00cf9300, 0x00cffb00, 0x00cff300, 0x00cfdb00, 0x00cf9200, 0x00cffe00 };
    if (one_in(r, 4)) { random_small_desc(r, lo, hi); return; }
    *lo = 0xffff;
    *hi = kinds[pick(r, ARRAY_LEN(kinds))];
    if (one_in(r, 6)) *lo ^= 1u << pick(r, 32);
    if (one_in(r, 4)) *hi ^= 1u << pick(r, 32);
}

static void random_tables(u64 *r, TestCpu *c) {
    for (u32 s = 8; s < 0x80; s += 8) {
        u32 lo, hi;
        random_desc(r, &lo, &hi);
        poke32(c, AT_GDT + s, lo);
        poke32(c, AT_GDT + s + 4, hi);
    }
    for (u32 v = 0; v < 256; v++) {
        static const u16 types[] = { 0x8e00, 0x8f00, 0xee00, 0xef00, 0x8600, 0x0e00 };
        poke32(c, AT_IDT + 8 * v, ((u32)next(r) & 0xffff) | pick(r, 0x10) * 8 << 16 | pick(r, 4) << 16);
        poke32(c, AT_IDT + 8 * v + 4, ((u32)next(r) & 0xffff0000) | types[pick(r, one_in(r, 8) ? 6 : 4)]);
    }
    for (u32 i = 1; i < 26; i++) poke32(c, AT_TSS_A + 4 * i, STACK_PAGE + pick(r, STACK_BYTES));
    for (u32 i = 2; i < 8; i += 2) poke32(c, AT_TSS_A + 4 * i, pick(r, 0x10) * 8 + (i / 2 - 1));
    c->cpu->gdtr = (CpuTable){ AT_GDT, (u16)(one_in(r, 10) ? pick(r, 0x80) : 0x7f) };
    c->cpu->idtr = (CpuTable){ AT_IDT, (u16)(one_in(r, 10) ? pick(r, 0x800) : 0x7ff) };
    c->cpu->tr = (CpuSeg){ .base = AT_TSS_A, .limit = one_in(r, 10) ? pick(r, 0x68) : 0x67,
                           .access = one_in(r, 10) ? 0x83 : 0x8b, .selector = 0x80 };
}

static void random_segment(u64 *r, CpuSeg *seg, u32 kind) {
    *seg = (CpuSeg){ .limit = 0xffffffff, .access = (u16)kind, .selector = (u16)pick(r, 0x80) };
    if (one_in(r, 10)) seg->limit = one_in(r, 2) ? 0xffff : pick(r, 0x40000);
    if (one_in(r, 10)) seg->access ^= 1u << pick(r, 8) | 0x4000;
}

static void random_cpu(u64 *r, TestCpu *c) {
    Cpu *cpu = c->cpu;
    u32 cpl = one_in(r, 4) ? pick(r, 4) : one_in(r, 2) ? 3 : 0, dpl = cpl << 5;
    for (u32 i = 0; i < 8; i++) cpu->regs[i] = (u32)next(r);
    cpu->regs[CPU_ESP] = STACK_PAGE + pick(r, STACK_BYTES);
    cpu->eip = (u32)next(r);
    cpu->cr0 = 0x11 | (one_in(r, 4) ? BIT(18) : 0);
    for (unsigned s = 0; s < 6; s++) random_segment(r, &cpu->seg[s], (s == CPU_CS ? 0xc09b : 0xc093) | dpl);
    cpu->seg[CPU_CS].selector = (u16)((cpu->seg[CPU_CS].selector & ~3u) | cpl);
    u32 plain = FLAG_IF | FLAG_IOPL | FLAG_DF | FLAG_ID, odd = FLAG_TF | FLAG_NT | FLAG_AC | FLAG_VIF | FLAG_VIP;
    cpu->eflags = 2 | ((u32)next(r) & plain) | (one_in(r, 6) ? (u32)next(r) & odd : 0);
    if (cpu->eflags & FLAG_AC) cpu->cr0 &= ~BIT(18);       // an unaligned stack in ring 3 would raise #AC for ever
    cpu->df = cpu->eflags & FLAG_DF ? -1 : 1;
    cpu->df_word = 2 * cpu->df;
    cpu_set_arith(cpu, (u32)next(r));
    cpu->cpl = (u8)cpl;
    cpu->fault = (CpuFault){ 0 };
    cpu->shutdown = cpu->halted = cpu->inhibit_irq = cpu->inhibit_trap = false;
    cpu->delivering = 0;
}

// Real mode, or V86: segments of 64 KiB, few of them others.
static void random_real(u64 *r, Cpu *cpu) {
    bool vm = one_in(r, 2);
    cpu->cpl = vm ? 3 : 0;
    if (vm) cpu->eflags |= FLAG_VM;
    else cpu->cr0 &= ~1u;
    for (unsigned s = 0; s < 6; s++) {
        u16 selector = s == CPU_SS ? STACK_PAGE >> 4 : (u16)next(r);
        cpu->seg[s] = (CpuSeg){ .selector = selector, .base = (u32)selector << 4, .limit = 0xffff,
                                .access = vm ? 0xf3 : 0x93 };
        if (one_in(r, 20)) cpu->seg[s].base += pick(r, 16);
        if (one_in(r, 20)) cpu->seg[s].limit = (u32)next(r) & 0x1ffff;
        if (one_in(r, 20)) cpu->seg[s].access ^= BIT(1 + pick(r, 2));
    }
    cpu->regs[CPU_ESP] = (u32)next(r) << 16 | pick(r, STACK_BYTES);
    if (one_in(r, 20)) cpu->regs[CPU_ESP] |= 0xfffe;
}

// What IRET and POP find: usual words, so that they often get through.
static void random_stack(u64 *r, TestCpu *c) {
    for (u32 i = 0; i < STACK_BYTES + 64; i += 4) poke32(c, STACK_PAGE + i, (u32)next(r));
    u32 esp = c->cpu->regs[CPU_ESP], rpl = one_in(r, 6) ? pick(r, 4) : one_in(r, 2) ? 3 : c->cpu->cpl;
    poke32(c, esp + 4, (u32)next(r) << 16 | pick(r, 0x10) * 8 | rpl);
    u32 flags = (u32)next(r) & (FLAG_OSZAPC | FLAG_IF | FLAG_IOPL | FLAG_DF | FLAG_ID);
    flags |= c->cpu->eflags & (FLAG_TF | FLAG_NT | FLAG_AC);
    poke32(c, esp + 8, one_in(r, 4) ? flags ^ 1u << pick(r, 22) : flags);
    poke32(c, esp + 12, STACK_PAGE + pick(r, STACK_BYTES));
    poke32(c, esp + 16, (u32)next(r) << 16 | pick(r, 0x10) * 8 | (one_in(r, 8) ? pick(r, 4) : rpl));
}

static void arrange(TestCpu *c, u64 seed) {
    u64 r = seed;
    random_tables(&r, c);
    random_cpu(&r, c);
    random_stack(&r, c);
    if (one_in(&r, 6)) random_real(&r, c->cpu);
    cpu_update_mode(c->cpu);
}

static void warm(Cpu *cpu) {
    static const u32 pages[] = { AT_GDT, AT_IDT, AT_TSS_A, STACK_PAGE, STACK_PAGE + 0x1000, STACK_PAGE - 0x1000,
                                 STACK_PAGE + 0x2000 };
    for (unsigned i = 0; i < ARRAY_LEN(pages); i++) {
        u64 value;
        assert_true(cpu_load_sys(cpu, lin(pages[i]), 4, &value));
        assert_true(cpu_store_sys(cpu, lin(pages[i]), 4, value));
    }
}

// ---- helpers, from C or from generated code ----------------------------------------------------------------
typedef u64 HelperFn(Cpu *cpu, u32 a, u32 b, u32 c);
static HelperFn *const helper_fn[] = {
#define H(name, result, count, attributes) (HelperFn *)(void *)cpu_h_##name,
#include "cpu/helpers.def"
#undef H
};

// mov $a, %r8d ; mov $b, %r9d ; call stub ; mov %r8d, value ; back to the run loop
static u32 call_stub(Jit *jit, HelperId helper, u32 a, u32 b, u32 third) {
    Buf c = { jit->hot_next, jit->hot_next, jit->hot_end };
    enc_mov_imm(&c, R8, a);
    enc_mov_imm(&c, R9, b);
    enc_mov_imm(&c, R10, third);
    enc_patch32(enc_call32(&c), jit->helper_stub[helper]);
    enc_rm(&c, 0, 0x89, R8, rm_mem(R14, JIT_STATE_AT(offsetof(Cpu, jit_word[WORD_EXIT_VALUE]))));
    enc_patch32(enc_call32(&c), jit->target.link);
    ((JitEnter)(uintptr_t)jit->enter)(jit->cpu, jit->hot_next);
    return (u32)jit->cpu->jit_word[WORD_EXIT_VALUE];
}

static u32 call3(Cpu *cpu, Jit *jit, HelperId helper, u32 a, u32 b, u32 c) {
    return jit ? call_stub(jit, helper, a, b, c) : (u32)helper_fn[helper](cpu, a, b, c);
}

static u32 call(Cpu *cpu, Jit *jit, HelperId helper, u32 a, u32 b) { return call3(cpu, jit, helper, a, b, 0); }

static void act_segment(Cpu *cpu, Jit *jit, u32 s, u32 selector) {
    bool real = !(cpu->mode & MODE_PE) || cpu->mode & MODE_VM;
    if (s != CPU_SS && real && MODE_SEG_CLASS(cpu->mode, s) == SEG_REAL)
        call3(cpu, jit, HELPER_load_seg_real, s, selector, offsetof(Cpu, seg) + s * sizeof(CpuSeg));
    if (!real || selector >> 31) call(cpu, jit, HELPER_load_seg, s, selector & 0xff);
}

// Within the pages of the stack, and often within one.
static void act_repeat(Cpu *cpu, Jit *jit, u64 *r) {
    u32 size = pick(r, 3), few = one_in(r, 2) ? 8 : one_in(r, 2) ? 200 : 2000;
    HelperId helper = one_in(r, 2) ? HELPER_rep_movs : HELPER_rep_stos;
    cpu->regs[CPU_ESI] = STACK_PAGE + pick(r, STACK_BYTES);
    cpu->regs[CPU_EDI] = STACK_PAGE + pick(r, STACK_BYTES);
    cpu->regs[CPU_ECX] = pick(r, few);
    if (one_in(r, 3)) cpu_set_eflags(cpu, 0, FLAG_DF);
    if (one_in(r, 20)) cpu->regs[CPU_EDI] = 0u - pick(r, 64);
    if (one_in(r, 20)) cpu->eflags |= FLAG_RF;
    u32 info = CPU_STR(one_in(r, 6) ? pick(r, 6) : CPU_DS, size, 2) | (one_in(r, 8) ? 0 : CPU_STR_A32);
    u32 through = call(cpu, jit, helper, info, 0);
    cpu->jit_word[WORD_SLOW_INFO] = cpu->fault.pending ? 0 : through;
}

static void act_flags(Cpu *cpu, Jit *jit, u64 *r) {
    u32 image = cpu->eflags ^ ((u32)next(r) & (FLAG_OSZAPC | FLAG_IF));
    if (one_in(r, 4)) image ^= 1u << pick(r, 22);
    u32 size = one_in(r, 4) ? 2 : 4;
    call(cpu, jit, HELPER_popf, size == 2 ? image & 0xffff : image, size);
    if (cpu->fault.pending || !one_in(r, 3)) return;
    call(cpu, jit, HELPER_sti, 0, 0);
}

static void act_fast(Cpu *cpu, Jit *jit, u64 *r) {
    bool odd = one_in(r, 8);
    cpu->msr_sysenter_cs = odd ? (u32)next(r) & 0x13 : (u32)next(r) & 0xff;
    cpu->msr_sysenter_esp = (u32)next(r);
    cpu->msr_sysenter_eip = (u32)next(r);
    call(cpu, jit, one_in(r, 2) ? HELPER_sysenter : HELPER_sysexit, 0, 0);
    cpu->eflags |= FLAG_IF;                            // no interrupt is held off then
}

// To the code that the stack or a selector names; RET's number of bytes is a word.
static void act_far(Cpu *cpu, Jit *jit, u64 *r) {
    u32 selector = pick(r, 0x10) * 8 | (one_in(r, 3) ? pick(r, 4) : cpu->cpl), size = one_in(r, 8) ? 2 : 4;
    if (one_in(r, 2)) call3(cpu, jit, HELPER_call_far, selector, (u32)next(r), size);
    else call(cpu, jit, HELPER_ret_far, one_in(r, 2) ? 0 : (u32)next(r) & 0xffff, size);
}

static void act_cr0(Cpu *cpu, Jit *jit, u64 *r) {
    u32 features = cpu->cpuid_features;
    if (one_in(r, 4)) cpu->cr0 |= CR0_EM;
    if (one_in(r, 8)) cpu->cpuid_features &= ~CPU_HAS_FPU;
    if (one_in(r, 2)) cpu->cr0 |= CR0_MP;
    if (one_in(r, 2)) cpu->cr0 |= CR0_TS;
    cpu_update_mode(cpu);
    u32 value = one_in(r, 2) ? cpu->cr0 ^ CR0_TS : one_in(r, 2) ? cpu->cr0 : cpu->cr0 ^ 1u << pick(r, 6);
    if (one_in(r, 2)) call(cpu, jit, HELPER_clts, 0, 0);
    else call(cpu, jit, HELPER_write_cr, one_in(r, 8) ? 2 : 0, value);
    cpu->jit_word[WORD_SLOW_INFO] = cpu->cr0;
    cpu->cpuid_features = features;
}

// Flags are kept but ZF, whatever they were last the result of.
static void act_zero_flag(Cpu *cpu, Jit *jit, u64 *r) {
    static const u8 ops[] = { FLAGS_RAW, FLAGS_SUB, FLAGS_LOGIC, FLAGS_LAHF, FLAGS_ADDR, FLAGS_INC, FLAGS_SHL };
    u64 value = next(r);
    cpu->flag_op = FLAGS_OP(ops[pick(r, ARRAY_LEN(ops))], 2);
    cpu->flag_a = (u32)next(r);
    if (FLAGS_KIND(cpu->flag_op) == FLAGS_LAHF) cpu->flag_a &= FLAG_SZAPC << 8 | 1;
    cpu->flag_b = 1 + pick(r, 30);
    cpu->flag_c = pick(r, 2);
    if (one_in(r, 2)) {
        u32 selector = one_in(r, 8) ? (u32)next(r) : pick(r, 0x10) * 8 | (one_in(r, 3) ? pick(r, 8) : 0);
        call(cpu, jit, HELPER_verw, selector, 0);
        return;
    }
    u32 at = one_in(r, 8) ? (u32)bus_ram_bytes(cpu->bus) - 4 : STACK_PAGE + pick(r, STACK_BYTES);
    cpu->regs[CPU_EAX] = (u32)value, cpu->regs[CPU_EDX] = (u32)(value >> 32);
    cpu->regs[CPU_EBX] = (u32)next(r), cpu->regs[CPU_ECX] = (u32)next(r);
    cpu_store_sys(cpu, lin(at), 4, value);
    if (one_in(r, 2)) cpu_store_sys(cpu, lin(at), 8, value);
    u32 s = one_in(r, 8) ? pick(r, 6) : one_in(r, 2) ? CPU_FS : CPU_DS;
    if (one_in(r, 2)) cpu->seg[s].base = 0x1230;
    cpu_update_mode(cpu);
    call(cpu, jit, HELPER_cmpxchg8b, at - cpu->seg[s].base, CPU_ACCESS(s, 3));
}

static void act(Cpu *cpu, Jit *jit, u64 seed) {
    u64 r = seed * 31 + 7;
    u32 s = pick(&r, 5);
    cpu->inhibit_irq = false;
    cpu->budget = (i32)(one_in(&r, 8) ? pick(&r, 40) : 16384);
    switch (pick(&r, 12)) {
    case 0: cpu_h_int_n(cpu, pick(&r, 256)); break;
    case 1: case 2: cpu_h_iret(cpu, 4); break;
    case 3: act_segment(cpu, jit, s < 1 ? CPU_ES : s + 1, (u32)next(&r)); break;
    case 4: call(cpu, jit, HELPER_pop_seg, s < 1 ? CPU_ES : s + 1, one_in(&r, cpu->cr0 & 1 ? 8 : 2) ? 2 : 4); break;
    case 5: act_repeat(cpu, jit, &r); break;
    case 6: act_flags(cpu, jit, &r); break;
    case 7: act_fast(cpu, jit, &r); break;
    case 8: act_far(cpu, jit, &r); break;
    case 9: act_cr0(cpu, jit, &r); break;
    case 10: act_zero_flag(cpu, jit, &r); break;
    default:
        if (one_in(&r, 2)) cpu_raise_error(cpu, VEC_PF, pick(&r, 8));
        else cpu_raise(cpu, VEC_UD);
        cpu_deliver(cpu);
        break;
    }
}

static void same(u64 seed, const char *what, const void *a, const void *b, size_t bytes) {
    if (memcmp(a, b, bytes)) fail_msg("SEED=%llu N=1: %s differs", (unsigned long long)seed, what);
}

static void compare(u64 seed, TestCpu *a, TestCpu *b) {
    Cpu *x = a->cpu, *y = b->cpu;
    u32 flags[2] = { cpu_flags(x), cpu_flags(y) };
    same(seed, "regs", x->regs, y->regs, sizeof x->regs);
    same(seed, "eip", &x->eip, &y->eip, 4);
    same(seed, "eflags", &flags[0], &flags[1], 4);
    same(seed, "budget", &x->budget, &y->budget, 4);
    same(seed, "result of REP, CR0", &x->jit_word[WORD_SLOW_INFO], &y->jit_word[WORD_SLOW_INFO], 4);
    same(seed, "df", &x->df, &y->df, sizeof x->df);
    same(seed, "df_word", &x->df_word, &y->df_word, sizeof x->df_word);
    same(seed, "cpl", &x->cpl, &y->cpl, 1);
    same(seed, "fault", &x->fault, &y->fault, sizeof x->fault);
    same(seed, "shutdown", &x->shutdown, &y->shutdown, 1);
    same(seed, "mode", &x->mode, &y->mode, 4);
    same(seed, "segments", x->seg, y->seg, sizeof x->seg);
    same(seed, "memory", at(a, 0), at(b, 0), STACK_PAGE + 0x4000);
    bool user = x->cpl == 3;
    assert_ptr_equal(x->mmu_base, mmu_context_base(x->mmu, user));
    assert_ptr_equal(y->mmu_base, mmu_context_base(y->mmu, user));
}

static void test_quick(void **state) {
    (void)state;
    TestCpu *a = testcpu_open(), *b = testcpu_open();
    char *error = NULL;
    JitOptions options = { .cache_mib = 4 };
    Jit *jit = jit_new(a->cpu, a->bus, &a->t.log, &options, &error);
    assert_non_null(jit);
    u64 first = fuzz_first(), count = fuzz_count(CASES);
    for (u64 seed = first; seed < first + count; seed++) {
        arrange(a, seed);
        arrange(b, seed);
        mmu_flush(a->cpu);
        mmu_flush(b->cpu);
        warm(a->cpu);
        act(a->cpu, jit, seed);
        act(b->cpu, NULL, seed);
        compare(seed, a, b);
    }
    jit_free(jit);
    testcpu_close(a);
    testcpu_close(b);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_quick) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
