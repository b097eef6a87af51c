// SPDX-License-Identifier: MIT
// Stack instructions, decimal adjustments against the host processor, CMPXCHG8B, CPUID, TSC, MSRs,
// x87 images. Build as test_mmu.c.
#define _GNU_SOURCE
#include "testcpu.h"

#include "cpu/model.h"

#include <sys/mman.h>

// ---- stack --------------------------------------------------------------------------------------
static void test_pusha_popa(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    for (u32 i = 0; i < 8; i++) if (i != CPU_ESP) cpu->regs[i] = 0x11110000 * (i + 1) + i;
    cpu_h_pusha(cpu, 4);
    assert_int_equal(cpu->regs[CPU_ESP], TOP0 - 32);
    for (u32 i = 0; i < 8; i++)
        assert_int_equal(peek32(c, TOP0 - 4 - 4 * i), i == CPU_ESP ? TOP0 : cpu->regs[i]);
    u32 want[8];
    memcpy(want, cpu->regs, sizeof want);
    for (u32 i = 0; i < 8; i++) if (i != CPU_ESP) cpu->regs[i] = 0;
    cpu_h_popa(cpu, 4);
    want[CPU_ESP] = TOP0;
    assert_memory_equal(cpu->regs, want, sizeof want);
    cpu_h_pusha(cpu, 2);
    assert_int_equal(cpu->regs[CPU_ESP], TOP0 - 16);
    assert_int_equal(peek16(c, TOP0 - 16), want[CPU_EDI] & 0xffff);
    for (u32 i = 0; i < 8; i++) if (i != CPU_ESP) cpu->regs[i] |= 0xffff;
    cpu_h_popa(cpu, 2);
    assert_memory_equal(cpu->regs, want, sizeof want);
    testcpu_page(c, 7);
    poke32(c, AT_PT + 4 * 7, 0);
    cpu->regs[CPU_ESP] = 0x8010;                            // four words fit, then the hole
    memset(at(c, 0x8000), 0x5a, 16);
    cpu_h_pusha(cpu, 4);
    assert_fault(c, VEC_PF, 2);
    assert_int_equal(cpu->regs[CPU_ESP], 0x8010);
    assert_int_equal(peek32(c, 0x800c), 0x5a5a5a5a);        // nothing was written
}

static void test_enter_leave(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    cpu->regs[CPU_EBP] = TOP0 + 0x40;
    cpu_h_enter(cpu, 0x10, 0, 4);
    assert_int_equal(cpu->regs[CPU_EBP], TOP0 - 4);
    assert_int_equal(cpu->regs[CPU_ESP], TOP0 - 0x14);
    assert_int_equal(peek32(c, TOP0 - 4), TOP0 + 0x40);
    cpu_h_leave(cpu, 4);
    assert_int_equal(cpu->regs[CPU_EBP], TOP0 + 0x40);
    assert_int_equal(cpu->regs[CPU_ESP], TOP0);
    poke32(c, TOP0 + 0x3c, 0xaaaa);
    poke32(c, TOP0 + 0x38, 0xbbbb);
    cpu_h_enter(cpu, 8, 3, 4);
    assert_int_equal(peek32(c, TOP0 - 8), 0xaaaa);
    assert_int_equal(peek32(c, TOP0 - 12), 0xbbbb);
    assert_int_equal(peek32(c, TOP0 - 16), TOP0 - 4);
    assert_int_equal(cpu->regs[CPU_EBP], TOP0 - 4);
    assert_int_equal(cpu->regs[CPU_ESP], TOP0 - 24);
    testcpu_page(c, 7);
    poke32(c, AT_PT + 4 * 6, 0);
    u32 esp = cpu->regs[CPU_ESP];
    cpu_h_enter(cpu, 0x1000, 0, 4);                         // the frame's end is not writable
    assert_fault(c, VEC_PF, 2);
    assert_int_equal(cpu->regs[CPU_ESP], esp);
    load_seg(c, CPU_SS, SEL_STACK16);
    cpu->regs[CPU_ESP] = 0x12348000;
    cpu->regs[CPU_EBP] = 0x55551234;
    cpu_h_enter(cpu, 4, 0, 2);
    assert_int_equal(cpu->regs[CPU_EBP], 0x55557ffe);
    assert_int_equal(cpu->regs[CPU_ESP], 0x12347ffa);
    cpu_h_leave(cpu, 2);
    assert_int_equal(cpu->regs[CPU_EBP], 0x55551234);
    assert_int_equal(cpu->regs[CPU_ESP], 0x12348000);
}

// ---- decimal adjustments: the host runs them in a 32-bit code segment ---------------------------
typedef struct Low {                       // in memory below 4 GiB, code in the page behind it
    u64 rsp;
    u32 code32, selector;                  // far pointer
    u32 eax, eflags;
} Low;

extern const u8 thunk64[], thunk64_end[], thunk32[], thunk32_op[], thunk32_end[];
__asm__(".pushsection .text\n"
        "thunk64:\n"
        "    push %rbx\n    push %rbp\n    mov %rdi, %rbp\n    mov %rsp, (%rbp)\n"
        "    lea 0xff0(%rbp), %rsp\n    lcall *8(%rbp)\n    mov (%rbp), %rsp\n"
        "    pop %rbp\n    pop %rbx\n    ret\n"
        "thunk64_end:\n"
        "    .code32\n"
        "thunk32:\n"
        "    mov %ss:16(%ebp), %eax\n    pushl %ss:20(%ebp)\n    popf\n"
        "thunk32_op:\n"
        "    nop\n    nop\n    pushf\n    popl %ss:20(%ebp)\n    mov %eax, %ss:16(%ebp)\n    lret\n"
        "thunk32_end:\n"
        "    .code64\n    .popsection\n");

static Low *low_open(void) {
    u8 *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (p == MAP_FAILED) return NULL;
    memcpy(p + 0x1000, thunk64, (size_t)(thunk64_end - thunk64));
    memcpy(p + 0x1100, thunk32, (size_t)(thunk32_end - thunk32));
    Low *low = (Low *)(void *)p;
    low->code32 = (u32)(uintptr_t)p + 0x1100;
    low->selector = 0x23;                  // Linux' 32-bit user code segment
    return low;
}

static void low_run(Low *low, u16 opcode, u32 eax, u32 eflags) {
    put_le16((u8 *)low + 0x1100 + (thunk32_op - thunk32), opcode);
    low->eax = eax;
    low->eflags = eflags | 2;
    ((void (*)(Low *))(void *)((u8 *)low + 0x1000))(low);
}

typedef struct Decimal {
    const char *name;
    u16 opcode;                            // two bytes, NOP behind one-byte instructions
    u32 defined;                           // flags
    void (*plain)(Cpu *);
    void (*based)(Cpu *, u32 base);
} Decimal;

static void check_decimal(TestCpu *c, Low *low, const Decimal *d, u32 ax, u32 flags) {
    Cpu *cpu = c->cpu;
    low_run(low, d->opcode, 0x5a5a0000 | ax, flags);
    cpu->regs[CPU_EAX] = 0x5a5a0000 | ax;
    cpu_set_arith(cpu, flags);
    if (d->plain) d->plain(cpu);
    else d->based(cpu, d->opcode >> 8);
    if (cpu->regs[CPU_EAX] != low->eax || ((cpu_flags(cpu) ^ low->eflags) & d->defined))
        fail_msg("%s ax=%04x flags=%03x: eax=%08x flags=%03x, host eax=%08x flags=%03x", d->name,
                 ax, flags, cpu->regs[CPU_EAX], cpu_flags(cpu) & d->defined, low->eax,
                 low->eflags & d->defined);
}

static void test_decimal(void **state) {
    static const Decimal all[] = {
        { "daa", 0x9027, FLAG_SZAPC, cpu_h_daa, NULL },
        { "das", 0x902f, FLAG_SZAPC, cpu_h_das, NULL },
        { "aaa", 0x9037, FLAG_AF | FLAG_CF, cpu_h_aaa, NULL },
        { "aas", 0x903f, FLAG_AF | FLAG_CF, cpu_h_aas, NULL },
        { "aam", 0x0ad4, FLAG_SF | FLAG_ZF | FLAG_PF, NULL, cpu_h_aam },
        { "aam 7", 0x07d4, FLAG_SF | FLAG_ZF | FLAG_PF, NULL, cpu_h_aam },
        { "aad", 0x0ad5, FLAG_SF | FLAG_ZF | FLAG_PF, NULL, cpu_h_aad },
        { "aad 0xf3", 0xf3d5, FLAG_SF | FLAG_ZF | FLAG_PF, NULL, cpu_h_aad },
    };
    TestCpu *c = *state;
    Low *low = low_open();
    if (!low) skip();
    for (u32 i = 0; i < ARRAY_LEN(all); i++)
        for (u32 ax = 0; ax < 0x10000; ax += ax < 0x1000 ? 1 : 37)
            for (u32 f = 0; f < 4; f++)
                check_decimal(c, low, &all[i], ax, (f & 1 ? FLAG_CF : 0) | (f & 2 ? FLAG_AF : 0));
    munmap(low, 8192);
    cpu_h_aam(c->cpu, 0);
    assert_fault(c, VEC_DE, -1);
}

// ---- the rest -----------------------------------------------------------------------------------
static void test_cmpxchg8b(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    put_le64(at(c, AT_DATA), 0x1122334455667788);
    cpu->regs[CPU_EAX] = 0x55667788;
    cpu->regs[CPU_EDX] = 0x11223344;
    cpu->regs[CPU_EBX] = 0xb;
    cpu->regs[CPU_ECX] = 0xc;
    cpu_set_arith(cpu, FLAG_CF);
    cpu_h_cmpxchg8b(cpu, AT_DATA, CPU_ACCESS(CPU_DS, 3));
    assert_int_equal(cpu_flags(cpu) & FLAG_OSZAPC, FLAG_CF | FLAG_ZF);
    assert_true(get_le64(at(c, AT_DATA)) == 0xc0000000bull);
    cpu_h_cmpxchg8b(cpu, AT_DATA, CPU_ACCESS(CPU_DS, 3));
    assert_int_equal(cpu_flags(cpu) & FLAG_OSZAPC, FLAG_CF);
    assert_int_equal(cpu->regs[CPU_EAX], 0xb);
    assert_int_equal(cpu->regs[CPU_EDX], 0xc);
    load_seg(c, CPU_ES, SEL_READONLY);
    cpu_h_cmpxchg8b(cpu, AT_DATA, CPU_ACCESS(CPU_ES, 3));   // a write even when unequal
    assert_fault(c, VEC_GP, 0);
}

static void test_cpuid_tsc_msr(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    cpu->regs[CPU_EAX] = 1;
    cpu_h_cpuid(cpu);
    assert_int_equal(cpu->regs[CPU_EAX], cpu->model.signature);
    assert_int_equal(cpu->regs[CPU_EDX], cpu->cpuid_features & 0x07effbff);
    c->t.now_ns = 0x500000000;
    cpu_h_rdtsc(cpu);
    assert_int_equal(cpu->regs[CPU_EDX], 5);
    cpu_h_rdtsc(cpu);
    assert_int_equal(cpu->regs[CPU_EAX], 1);                // time stands, the counter does not
    cpu->regs[CPU_ECX] = 0x10;
    cpu->regs[CPU_EAX] = 1000;
    cpu->regs[CPU_EDX] = 0;
    cpu_h_wrmsr(cpu);
    c->t.now_ns += 500;
    cpu_h_rdtsc(cpu);
    assert_in_range(cpu->regs[CPU_EAX], 1490, 1500);
    cpu->regs[CPU_ECX] = 0x12345;
    cpu_h_rdmsr(cpu);
    assert_fault(c, VEC_GP, 0);
    cpu_h_write_cr(cpu, 4, 4);
    testcpu_ring3(c, 2);
    cpu_h_rdtsc(cpu);
    assert_fault(c, VEC_GP, 0);
}

static u64 rdmsr(TestCpu *c, u32 msr) {
    c->cpu->regs[CPU_ECX] = msr;
    cpu_h_rdmsr(c->cpu);
    return c->cpu->regs[CPU_EAX] | (u64)c->cpu->regs[CPU_EDX] << 32;
}

static void wrmsr(TestCpu *c, u32 msr, u64 value) {
    c->cpu->regs[CPU_ECX] = msr;
    c->cpu->regs[CPU_EAX] = (u32)value;
    c->cpu->regs[CPU_EDX] = (u32)(value >> 32);
    cpu_h_wrmsr(c->cpu);
}

// ---- performance counters
enum { PERFCTR0 = 0xc1, PERFCTR1 = 0xc2, SELECT0 = 0x186, SELECT1 = 0x187, COUNT_CLOCKS = 0x79, COUNT_INSNS = 0xc0 };
enum { COUNT_USER = 1 << 16, COUNT_OS = 1 << 17, COUNT_INT = 1 << 20, COUNT_ENABLE = 1 << 22 };

static void count_overflow(void *self) { ++*(unsigned *)self; }

static u64 rdpmc(TestCpu *c, u32 n) {
    c->cpu->regs[CPU_ECX] = n;
    c->cpu->regs[CPU_EAX] = c->cpu->regs[CPU_EDX] = 0;
    cpu_h_rdpmc(c->cpu);
    return c->cpu->regs[CPU_EAX] | (u64)c->cpu->regs[CPU_EDX] << 32;
}

static u64 rdmsr_ring0(TestCpu *c, u32 msr) {
    c->cpu->cpl = 0;
    return rdmsr(c, msr);
}

static void wake(TestCpu *c) {
    c->cpu->fault = (CpuFault){ .pending = 1, .vector = VEC_DB, .kind = CPU_TRAP };
    put_idt(c, VEC_DB, SEL_CODE0, 0x100, 0x8e);
    cpu_deliver(c->cpu);
    assert_false(c->cpu->halted);
}

static void test_counters(void **state) {
    TestCpu *c = *state;
    wrmsr(c, PERFCTR0, 0x1280000000);                       // the low word, sign-extended to 40 bits
    assert_true(rdmsr(c, PERFCTR0) == 0xff80000000);
    wrmsr(c, PERFCTR0, 0);
    wrmsr(c, SELECT1, COUNT_ENABLE | COUNT_OS | COUNT_INSNS);
    assert_int_equal(rdmsr(c, SELECT1), COUNT_OS | COUNT_INSNS);      // one bit enables both
    c->cpu->insns += 5;
    assert_int_equal(rdpmc(c, 1), 0);
    wrmsr(c, SELECT0, COUNT_ENABLE | COUNT_OS | COUNT_USER | COUNT_CLOCKS);
    c->cpu->insns += 300;
    c->t.now_ns += 1000;
    assert_int_equal(rdpmc(c, 0), 1000);
    assert_int_equal(rdpmc(c, 1), 300);
    cpu_h_hlt(c->cpu);                                      // clocks stand, whoever wakes it
    c->t.now_ns += 1000;
    wake(c);
    c->t.now_ns += 10;
    assert_int_equal(rdmsr(c, PERFCTR0), 1010);
    testcpu_ring3(c, 2);                                    // only one of them counts there
    c->cpu->insns += 100;
    c->t.now_ns += 100;
    rdpmc(c, 0);
    assert_fault(c, VEC_GP, 0);
    c->cpu->cr4 |= BIT(8);
    assert_int_equal(rdpmc(c, 0), 1110);
    assert_int_equal(rdpmc(c, 1), 300);
    rdpmc(c, 2);
    assert_fault(c, VEC_GP, 0);
    for (int i = 0; i < 3; i++) {                           // outside, then in the handler; later on the quick way
        c->cpu->insns += 7;
        wake(c);
        assert_int_equal(c->cpu->cpl, 0);
        c->cpu->insns += 11;
        testcpu_ring3(c, 2);
    }
    assert_int_equal(rdmsr_ring0(c, PERFCTR1), 333);
}

static void test_counter_overflow(void **state) {
    TestCpu *c = *state;
    unsigned overflows = 0;
    c->cpu->pmc.overflow = count_overflow;
    c->cpu->pmc.overflow_self = &overflows;
    wrmsr(c, PERFCTR0, -50000ull);
    wrmsr(c, SELECT0, COUNT_ENABLE | COUNT_INT | COUNT_OS | COUNT_CLOCKS);
    testbus_advance(&c->t, 49000);
    assert_int_equal(overflows, 0);
    testbus_advance(&c->t, 1000);
    assert_int_equal(overflows, 1);
    assert_int_equal(rdpmc(c, 0), 0);
    wrmsr(c, PERFCTR0, -50000ull);
    cpu_h_hlt(c->cpu);                                      // not while it is halted
    testbus_advance(&c->t, 1000000);
    assert_int_equal(overflows, 1);
    wake(c);
    wrmsr(c, PERFCTR1, -1000ull);                           // found out a little later
    wrmsr(c, SELECT0, COUNT_ENABLE);
    wrmsr(c, SELECT1, COUNT_INT | COUNT_OS | COUNT_INSNS);
    c->cpu->insns += 999;
    testbus_advance(&c->t, 100000);
    assert_int_equal(overflows, 1);
    c->cpu->insns += 1;
    testbus_advance(&c->t, 10000);
    assert_int_equal(overflows, 2);
    wrmsr(c, PERFCTR1, -1000ull);
    wrmsr(c, SELECT1, COUNT_OS | COUNT_INSNS);
    c->cpu->insns += 5000;
    testbus_advance(&c->t, 100000);
    assert_int_equal(overflows, 2);                         // no interrupt wanted
    assert_int_equal(rdpmc(c, 1), 4000);
    assert_no_fault(c);
    CpuModel model;
    char *err;
    assert_true(cpu_model_parse("pentium", &model, &err));
    cpu_set_model(c->cpu, &model);
    rdmsr(c, PERFCTR0);
    assert_fault(c, VEC_GP, 0);
}

static void test_msrs(void **state) {
    TestCpu *c = *state;
    assert_true(rdmsr(c, 0x277) == 0x0007040600070406);     // PAT
    wrmsr(c, 0x277, 0x0506070001040506);
    assert_true(rdmsr(c, 0x277) == 0x0506070001040506);
    assert_no_fault(c);
    wrmsr(c, 0x277, 2);                                     // no such type
    assert_fault(c, VEC_GP, 0);
    wrmsr(c, 0x250, 0x0707070707070707);                    // UC- is the PAT's only
    assert_fault(c, VEC_GP, 0);
    wrmsr(c, 0x200, 0xc0000006);                            // MTRR 0: base, mask
    wrmsr(c, 0x201, 0xf0000800);
    assert_true(rdmsr(c, 0x200) == 0xc0000006 && rdmsr(c, 0x201) == 0xf0000800);
    assert_no_fault(c);
    wrmsr(c, 0x201, 0x100000800);                           // beyond 32 bits
    assert_fault(c, VEC_GP, 0);
    wrmsr(c, 0x404, ~0ull);                                 // machine check bank 1: CTL
    wrmsr(c, 0x404, 0);
    wrmsr(c, 0x405, 0);                                     // STATUS
    wrmsr(c, 0x406, 0x123456789abc);                        // ADDR
    assert_no_fault(c);
    assert_true(rdmsr(c, 0x404) == 0 && rdmsr(c, 0x406) == 0x123456789abc);
    wrmsr(c, 0x404, 2);
    assert_fault(c, VEC_GP, 0);
    wrmsr(c, 0x405, 1);
    assert_fault(c, VEC_GP, 0);
    wrmsr(c, 0xfe, 0);                                      // MTRRCAP is read only
    assert_fault(c, VEC_GP, 0);
    wrmsr(c, 0xc0000080, 1);                                // EFER.SCE does not exist
    assert_fault(c, VEC_GP, 0);
    wrmsr(c, 0xc0000080, 0x800);
    assert_int_equal(c->cpu->efer, 0x800);
    wrmsr(c, 0x1b, 0xfee00000);                             // the APIC goes, and CPUID says so
    c->cpu->regs[CPU_EAX] = 1;
    cpu_h_cpuid(c->cpu);
    assert_false(c->cpu->regs[CPU_EDX] & CPU_HAS_APIC);
    testcpu_ring3(c, 2);
    rdmsr(c, 0x277);
    assert_fault(c, VEC_GP, 0);
}

static void set_model(TestCpu *c, const char *text) {
    CpuModel model;
    char *err = NULL;
    assert_true(cpu_model_parse(text, &model, &err));
    cpu_set_model(c->cpu, &model);
}

static void test_models(void **state) {
    TestCpu *c = *state;
    CpuModel model;
    char *err = NULL;
    assert_false(cpu_model_parse("pentium9", &model, &err));
    assert_string_equal(err, "unknown model 'pentium9' (see -cpu help)");
    free(err);
    assert_false(cpu_model_parse("pentium2,+quantum", &model, &err));
    assert_string_equal(err, "unknown feature 'quantum' (see -cpu help)");
    free(err);
    assert_true(cpu_model_parse("pentium2,-apic,+nx,pge=off", &model, &err));
    assert_int_equal(model.features & (CPU_HAS_APIC | CPU_HAS_NX | CPU_HAS_PGE), CPU_HAS_NX);
    assert_int_equal(model.signature, 0x652);
    set_model(c, "386");
    cpu_h_read_cr(c->cpu, 4);                               // CR4 came with the first of its bits
    assert_fault(c, VEC_UD, -1);
    cpu_h_write_cr(c->cpu, 0, 0x10011);                     // no WP
    assert_int_equal(c->cpu->cr0, 0x11);
    cpu_h_popf(c->cpu, FLAG_AC | FLAG_ID | 2, 4);
    assert_int_equal(c->cpu->eflags & (FLAG_AC | FLAG_ID), 0);
    set_model(c, "486");
    cpu_h_popf(c->cpu, FLAG_AC | FLAG_ID | 2, 4);
    assert_int_equal(c->cpu->eflags & (FLAG_AC | FLAG_ID), FLAG_AC | FLAG_ID);
    cpu_h_write_cr(c->cpu, 4, 0x10);                        // no PSE
    assert_fault(c, VEC_GP, 0);
    rdmsr(c, 0x277);
    assert_fault(c, VEC_GP, 0);
    set_model(c, "pentium3");
    c->cpu->regs[CPU_EAX] = 0x80000000;                     // does not exist: the highest basic leaf
    cpu_h_cpuid(c->cpu);
    assert_int_equal(c->cpu->regs[CPU_EAX], 0x03020101);
    assert_int_equal(c->cpu->phys_bits, 36);
    assert_int_equal(cpu_cr4_bits(c->cpu), 0x7ff);
}

static void test_sysenter(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    testcpu_ring3(c, 2 | FLAG_IF);
    cpu_h_sysenter(cpu);
    assert_fault(c, VEC_GP, 0);                             // no selector yet
    cpu->msr_sysenter_cs = SEL_CODE0 | 3;
    cpu->msr_sysenter_eip = 0x12345;
    cpu->msr_sysenter_esp = 0x7ff0;
    cpu->regs[CPU_ECX] = 0x8800;
    cpu->regs[CPU_EDX] = 0x7654;
    cpu_h_sysenter(cpu);
    assert_no_fault(c);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(cpu->eip, 0x12345);
    assert_int_equal(cpu->regs[CPU_ESP], 0x7ff0);
    assert_int_equal(cpu->seg[CPU_CS].selector, SEL_CODE0);
    assert_int_equal(cpu->seg[CPU_SS].selector, SEL_CODE0 + 8);
    assert_int_equal(cpu->eflags & FLAG_IF, 0);
    assert_int_equal(cpu->mode & 3, 0);
    cpu_h_sysexit(cpu);
    assert_no_fault(c);
    assert_int_equal(cpu->cpl, 3);
    assert_int_equal(cpu->eip, 0x7654);
    assert_int_equal(cpu->regs[CPU_ESP], 0x8800);
    assert_int_equal(cpu->seg[CPU_CS].selector, SEL_CODE0 + 16 + 3);
    assert_int_equal(cpu->seg[CPU_SS].selector, SEL_CODE0 + 24 + 3);
    assert_int_equal(cpu->seg[CPU_SS].limit, 0xffffffff);
    cpu_h_sysexit(cpu);                                     // from CPL 3
    assert_fault(c, VEC_GP, 0);
}

// Breakpoint 1 on two ports from 0x60 on; breakpoint 0 on writes of PUSHA's frame.
static void test_breakpoints(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    cpu_h_write_dr(cpu, 0, TOP0 - 20);
    cpu_h_write_dr(cpu, 1, 0x60);
    cpu_h_write_dr(cpu, 7, 0x400 | 1 | 4 | 0xd << 16 | 6 << 20);
    cpu_h_in(cpu, 0x61, 1);
    assert_int_equal(cpu->debug_hits, 0);                   // without CR4.DE they do not exist
    cpu_h_write_cr(cpu, 4, 8);
    cpu_h_in(cpu, 0x62, 1);
    cpu_h_out(cpu, 0x5f, 1, 0);
    assert_int_equal(cpu->debug_hits, 0);
    cpu_h_out(cpu, 0x5e, 4, 0);                             // 5e..61
    assert_int_equal(cpu->debug_hits, 2);
    cpu_h_pusha(cpu, 4);
    assert_int_equal(cpu->debug_hits, 3);
    cpu_h_step_trap(cpu, false);
    assert_fault(c, VEC_DB, -1);
    assert_int_equal(cpu->dr[6] & 15, 3);
}

// ---- x87 ----------------------------------------------------------------------------------------
static void test_x87_images(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    u16 sw;
    cpu_fpu_load_host(cpu);
    __asm__ volatile("fldpi\n\tfld1");
    cpu->fpu_ip = 0x12345678;
    cpu->fpu_cs = 0x1b;
    cpu->fpu_dp = 0x9abcdef0;
    cpu->fpu_ds = 0x23;
    cpu->fpu_op = 0x5d9;
    cpu_h_fnstenv(cpu, AT_DATA, CPU_ACCESS(CPU_DS, 2));
    assert_int_equal(peek32(c, AT_DATA), 0xffff037f);
    assert_int_equal(peek32(c, AT_DATA + 4), 0xffff3000);
    assert_int_equal(peek32(c, AT_DATA + 8), 0xffff0fff);
    assert_int_equal(peek32(c, AT_DATA + 12), 0x12345678);
    assert_int_equal(peek32(c, AT_DATA + 16), 0x05d9001b);
    assert_int_equal(peek32(c, AT_DATA + 20), 0x9abcdef0);
    assert_int_equal(peek32(c, AT_DATA + 24), 0xffff0023);
    cpu_h_fnsave(cpu, AT_DATA + 0x100, CPU_ACCESS(CPU_DS, 1));
    assert_int_equal(peek16(c, AT_DATA + 0x106), 0x5678);
    assert_int_equal(peek16(c, AT_DATA + 0x108), 0x1b);
    assert_int_equal(peek16(c, AT_DATA + 0x10e + 8), 0x3fff);          // 1.0 on top
    assert_true(get_le64(at(c, AT_DATA + 0x118)) == 0xc90fdaa22168c235);
    assert_int_equal(cpu->fpu_ip, 0);
    __asm__ volatile("fnstsw %0" : "=am"(sw));
    assert_int_equal(sw, 0);                                            // initialised
    cpu_h_frstor(cpu, AT_DATA + 0x100, CPU_ACCESS(CPU_DS, 1));
    __asm__ volatile("fnstsw %0" : "=am"(sw));
    assert_int_equal(sw, 0x3000);
    assert_int_equal(cpu->fpu_ip, 0x5678);
    cpu_fpu_save_host(cpu);
    assert_int_equal(cpu->fpu_image[4], 0xc0);
    assert_int_equal(get_le16(cpu->fpu_image + 40), 0x3fff);
    __asm__ volatile("fnstsw %0" : "=am"(sw));
    assert_int_equal(sw, 0);
    cpu_fpu_load_host(cpu);
    testcpu_page(c, 7);
    poke32(c, AT_PT + 4 * 0x101, 0);
    cpu_h_fnsave(cpu, AT_DATA + 0xfc0, CPU_ACCESS(CPU_DS, 2));          // faults before anything
    assert_fault(c, VEC_PF, 2);
    __asm__ volatile("fnstsw %0" : "=am"(sw));
    assert_int_equal(sw, 0x3000);
    __asm__ volatile("fstpt %0" : "=m"(cpu->fpu_bounce));
    cpu_h_fpu_store10(cpu, AT_DATA + 0xff6, CPU_ACCESS(CPU_DS, 2));
    assert_no_fault(c);
    memset(cpu->fpu_bounce, 0, 16);
    cpu_h_fpu_load10(cpu, AT_DATA + 0xff6, CPU_ACCESS(CPU_DS, 2));
    assert_int_equal(get_le16(cpu->fpu_bounce + 8), 0x3fff);
    cpu_h_fpu_load10(cpu, AT_DATA + 0xff7, CPU_ACCESS(CPU_DS, 2));
    assert_fault(c, VEC_PF, 0);
    cpu_fpu_save_host(cpu);
}

// Real mode's format: linear addresses in pieces.
static void test_x87_real(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    cpu_fpu_load_host(cpu);
    cpu->fpu_cs = 0x1234;
    cpu->fpu_ip = 0x5678;
    cpu->fpu_ds = 0xf000;
    cpu->fpu_dp = 0xfff0;
    cpu->fpu_op = 0x123;
    cpu_h_fnstenv(cpu, 0x100, CPU_ACCESS(CPU_DS, 1));
    assert_int_equal(peek16(c, 0x106), 0x79b8);
    assert_int_equal(peek16(c, 0x108), 0x1123);
    assert_int_equal(peek16(c, 0x10a), 0xfff0);
    assert_int_equal(peek16(c, 0x10c), 0xf000);
    cpu_h_fldenv(cpu, 0x100, CPU_ACCESS(CPU_DS, 1));
    assert_int_equal(cpu->fpu_ip, 0x179b8);
    assert_int_equal(cpu->fpu_op, 0x123);
    cpu_fpu_save_host(cpu);
}

static bool place_of_operand(void *memory, u32 host_ip, CpuFpuPlace *place) {
    (void)host_ip;
    *place = (CpuFpuPlace){ .ip = 0x1234, .op = 0x63e, .seg = CPU_DS, .memory = *(bool *)memory };
    return true;
}

// An operand at a host address of which the host's FDP has nothing but zeros. A kernel that lost the pointers leaves
// zeros as well, but then there is no instruction to them.
static void test_fpu_operand_at_4_gib(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    bool memory = true;
    void *four_gib = (void *)(1ull << 32);
    u32 *data = mmap(four_gib, PAGE_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    assert_ptr_equal(data, four_gib);
    i64 *entry = (i64 *)(void *)(cpu->mmu_base + MMU_READ) + (AT_DATA >> PAGE_SHIFT), before = *entry;
    *entry = (i64)(uintptr_t)data - AT_DATA;
    cpu->jit = &memory;
    cpu->fpu_place = place_of_operand;
    for (u32 i = 0; i < 3; i++) {
        memory = i != 1;
        cpu->fpu_dp = AT_DATA + 0x99;
        cpu_fpu_load_host(cpu);
        __asm__ volatile("fildl %0" : : "m"(*data));
        cpu->fpu_used = 1;
        cpu->fpu_segment = CPU_DS;
        cpu_fpu_save_host(cpu);
        assert_int_equal(cpu->fpu_dp, memory ? AT_DATA : AT_DATA + 0x99);
    }
    *entry = before;
    cpu->jit = NULL;
    cpu->fpu_place = NULL;
    munmap(data, PAGE_BYTES);
}

static void test_dump_fpu(void **state) {
    TestCpu *c = *state;
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    cpu_fpu_load_host(c->cpu);
    __asm__ volatile("fld1");
    cpu_dump(c->cpu, f, true);
    cpu_fpu_save_host(c->cpu);
    fclose(f);
    const char *part = strstr(text, "FCW=");
    assert_non_null(part);
    assert_non_null(strstr(part, "FCW=037f FSW=3800 [ST=7] FTW=80 MXCSR=00001f80\n"
                                 "FPR0=0000000000000000 0000 FPR1=0000000000000000 0000\n"));
    assert_non_null(strstr(part, "FPR6=0000000000000000 0000 FPR7=8000000000000000 3fff\n"
                                 "XMM00=0000000000000000 0000000000000000 XMM01="));
    assert_non_null(strstr(text, "ES =0000 00000000 0000ffff 00009300\n"
                                 "CS =f000 ffff0000 0000ffff 00009b00\n"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_PROTECTED(test_pusha_popa), TEST_PROTECTED(test_enter_leave), TEST_REAL(test_decimal),
        TEST_PROTECTED(test_cmpxchg8b), TEST_PROTECTED(test_cpuid_tsc_msr), TEST_PROTECTED(test_msrs),
        TEST_PROTECTED(test_counters), TEST_PROTECTED(test_counter_overflow),
        TEST_PROTECTED(test_models), TEST_PROTECTED(test_sysenter), TEST_PROTECTED(test_breakpoints),
        TEST_PROTECTED(test_x87_images), TEST_REAL(test_x87_real), TEST_REAL(test_fpu_operand_at_4_gib),
        TEST_REAL(test_dump_fpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
