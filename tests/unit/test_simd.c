// SPDX-License-Identifier: MIT
// MMX and SSE in the machine: faults of their operands, exceptions, availability, and that the guest's
// XMM registers and MXCSR survive what C code does in between. Each program runs translated and stepped.
// What the instructions compute is the matter of tests/silicon (against the host's CPU) and test_guest.
//
//     make test T=unit/test_simd
#include "testcpu.h"

#include "cpu/model.h"
#include "jit/jit.h"

// A guest program: 32-bit code, placed at CODE.
#define GUEST(name, text) \
    extern const u8 name[], name##_end[]; \
    __asm__(".pushsection .rodata\n\t.code32\n" #name ":\n\t" text "\n" #name "_end:\n\t.code64\n\t.popsection")
#define RUN(s, name, stepped) sim_run(s, name, (u32)(name##_end - name), stepped)

enum { CODE = 0x7000, HANDLERS = 0xa000, STOP_PORT = 0xf0, CLOBBER_PORT = 0xf1, HOLE = AT_DATA + 0x3000,
       MAX_STEPS = 100000 };

typedef struct Sim {
    TestCpu *c;
    Jit *jit;
    volatile float clobbered[64];
} Sim;

// ---- the machine ----------------------------------------------------------------------------------
// A device whose code uses vector registers.
static void sim_clobber(Sim *s, u32 value) {
    for (unsigned i = 0; i < ARRAY_LEN(s->clobbered); i++) s->clobbered[i] = s->clobbered[i] * 0.5f + (float)value;
    __asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n\tpcmpeqd %%xmm1, %%xmm1\n\tpcmpeqd %%xmm7, %%xmm7"
                     ::: "xmm0", "xmm1", "xmm7");
}

static void port_out(void *self, u16 port, unsigned size, u32 value) {
    Sim *s = self;
    (void)size;
    if (port == STOP_PORT) bus_request(s->c->bus, BUS_REQ_STOP);
    else sim_clobber(s, value);
}

static void sim_vectors(TestCpu *c) {
    for (u32 v = 0; v < 32; v++) {
        memcpy(at(c, HANDLERS + 8 * v), "\xe6\xf0\xeb\xfe", 4);
        put_idt(c, v, SEL_CODE0, HANDLERS + 8 * v, 0x8e);
    }
}

static void sim_open(Sim *s) {
    char *error = NULL;
    JitOptions options = { .cache_mib = 4, .restore = JIT_RESTORE_CHECK };
    TestCpu *c = s->c = testcpu_open();
    testcpu_protect(c);
    testcpu_page(c, 3);
    sim_vectors(c);
    BusPort port = { "test", s, 7, NULL, port_out };
    bus_map_ports(c->bus, STOP_PORT, 2, &port);
    s->jit = jit_new(c->cpu, c->bus, &c->t.log, &options, &error);
    assert_non_null(s->jit);
}

static int sim_setup(void **state) {
    Sim *s = calloc(1, sizeof *s);
    sim_open(s);
    *state = s;
    return 0;
}

static int sim_teardown(void **state) {
    Sim *s = *state;
    jit_free(s->jit);
    testcpu_close(s->c);
    free(s);
    return 0;
}

static void put_dma(Sim *s, u32 phys, const void *from, u32 bytes) {
    bus_dma_write(s->c->bus, phy(phys), from, bytes);
}

static void sim_map(Sim *s, u32 addr, u32 rights) {
    u8 entry[4];
    put_le32(entry, (addr & PAGE_MASK) | rights);
    put_dma(s, AT_PT + (addr >> 12) * 4, entry, 4);
    mmu_flush(s->c->cpu);
}

static bool sim_is_stopped(Sim *s) {
    u8 p[2];
    return cpu_debug_read(s->c->cpu, lin(s->c->cpu->eip), p, 2) && p[0] == 0xeb && p[1] == 0xfe;
}

// Starts with EBX = AT_DATA, XMM registers and CR4 as they are in the CPU. Gives the vector of the
// exception that ended the program, or -1.
static int sim_run(Sim *s, const u8 *code, u32 bytes, bool stepped) {
    static const u8 stop[] = { 0xe6, STOP_PORT, 0xeb, 0xfe };
    Cpu *cpu = s->c->cpu;
    put_dma(s, CODE, code, bytes);
    put_dma(s, CODE + bytes, stop, sizeof stop);
    cpu->eip = CODE;
    cpu->regs[CPU_ESP] = TOP0;
    cpu->regs[CPU_EBX] = AT_DATA;
    cpu->fault = (CpuFault){ 0 };
    cpu_update_mode(cpu);
    __asm__ volatile("fninit");
    if (stepped) {
        for (u32 n = 0; n < MAX_STEPS && !sim_is_stopped(s); n++) jit_step(s->jit);
        bus_clear_request(s->c->bus, BUS_REQ_STOP);
    } else {
        assert_int_equal(jit_run(s->jit), JIT_END_STOP);
    }
    assert_true(sim_is_stopped(s));
    u32 eip = cpu->eip;
    return eip >= HANDLERS && eip < HANDLERS + 8 * 32 ? (int)(eip - HANDLERS) / 8 : -1;
}

// The instruction that an exception without (or with) error code says it is about.
static u32 fault_eip(Sim *s, bool error) {
    return peek32(s->c, s->c->cpu->regs[CPU_ESP] + (error ? 4 : 0)) - CODE;
}

static void sim_sse(Sim *s, u32 cr4) {
    static const u32 one[4] = { 0x3f800000, 0x40000000, 0x40400000, 0x40800000 };
    Cpu *cpu = s->c->cpu;
    cpu->cr4 = cr4;
    cpu->cr0 &= ~0xcu;
    cpu->mxcsr = CPU_MXCSR_RESET;
    for (unsigned i = 0; i < 8; i++) memcpy(cpu->xmm + 16 * i, one, 16);
    memset(at(s->c, AT_DATA), 0x11, 0x4000);
}
#define BOTH(s, stepped) for (int stepped = 0; stepped < 2 && (sim_sse(s, 0x600), true); stepped++)

// ---- operands ----------------------------------------------------------------------------------------
GUEST(aligned_load, "nop; movaps 1(%ebx), %xmm0");
GUEST(aligned_operand, "nop; nop; addps 8(%ebx), %xmm0");
GUEST(aligned_store, "movntps %xmm0, 4(%ebx)");
GUEST(unaligned, "movups 1(%ebx), %xmm0; movups %xmm0, 0x105(%ebx); movdqu 0x105(%ebx), %xmm1;"
                 "lddqu 0x105(%ebx), %xmm2; movss 3(%ebx), %xmm3; movsd 5(%ebx), %xmm4");

static void test_alignment(void **state) {
    Sim *s = *state;
    BOTH(s, stepped) {
        assert_int_equal(RUN(s, aligned_load, stepped), VEC_GP);
        assert_int_equal(peek32(s->c, s->c->cpu->regs[CPU_ESP]), 0);            // error code
        assert_int_equal(fault_eip(s, true), 1);
        assert_int_equal(get_le32(s->c->cpu->xmm), 0x3f800000);                 // unchanged
        assert_int_equal(RUN(s, aligned_operand, stepped), VEC_GP);
        assert_int_equal(fault_eip(s, true), 2);
        assert_int_equal(RUN(s, aligned_store, stepped), VEC_GP);
        assert_int_equal(peek32(s->c, AT_DATA + 4), 0x11111111);
        assert_int_equal(RUN(s, unaligned, stepped), -1);
        for (unsigned i = 0; i < 3; i++) assert_int_equal(get_le64(s->c->cpu->xmm + 16 * i), 0x1111111111111111);
        assert_int_equal(get_le64(s->c->cpu->xmm + 48), 0x11111111);
        assert_int_equal(get_le64(s->c->cpu->xmm + 64), 0x1111111111111111);
    }
}

// Accesses behind one check: one base, aligned and unaligned ones, the alignment of all of one kind together.
GUEST(group_good, "movups 1(%ebx), %xmm0; movaps 16(%ebx), %xmm1; mov %eax, 4(%ebx); addps 32(%ebx), %xmm2;"
                  "movaps %xmm1, 64(%ebx)");
GUEST(group_off, "mov 4(%ebx), %eax; movaps 24(%ebx), %xmm1; movaps 40(%ebx), %xmm2");
GUEST(group_mixed, "movaps 16(%ebx), %xmm1; mov 4(%ebx), %eax; movaps 40(%ebx), %xmm2; movaps 48(%ebx), %xmm3");
GUEST(group_steps, "movaps %xmm0, (%ebx); add $16, %ebx; movaps %xmm0, (%ebx); sub $16, %ebx; movaps (%ebx), %xmm1");
GUEST(group_moved, "lea 8(%ebx), %edx; movaps 8(%edx), %xmm1; movaps %xmm1, 24(%edx); movaps 20(%edx), %xmm1");

static void test_groups(void **state) {
    Sim *s = *state;
    u32 *regs = s->c->cpu->regs;
    BOTH(s, stepped) {
        regs[CPU_EAX] = 0x22222222;
        assert_int_equal(RUN(s, group_good, stepped), -1);
        assert_int_equal(get_le32(s->c->cpu->xmm), 0x11111111);
        assert_int_equal(peek32(s->c, AT_DATA + 4), 0x22222222);
        assert_int_equal(peek32(s->c, AT_DATA + 64), 0x11111111);
        assert_int_equal(RUN(s, group_off, stepped), VEC_GP);
        assert_int_equal(fault_eip(s, true), 3);
        assert_int_equal(regs[CPU_EAX], 0x22222222);                            // the load before is done
        assert_int_equal(RUN(s, group_mixed, stepped), VEC_GP);
        assert_int_equal(fault_eip(s, true), 7);
        assert_int_equal(RUN(s, group_moved, stepped), VEC_GP);
        assert_int_equal(fault_eip(s, true), 11);
        assert_int_equal(peek32(s->c, AT_DATA + 32), 0x11111111);
        memset(at(s->c, AT_DATA), 0x22, 64);
        assert_int_equal(RUN(s, group_steps, stepped), -1);
        assert_int_equal(peek32(s->c, AT_DATA), 0x11111111);
        assert_int_equal(peek32(s->c, AT_DATA + 16), 0x11111111);
        assert_int_equal(peek32(s->c, AT_DATA + 32), 0x22222222);
        memset(at(s->c, AT_DATA), 0x11, 64);
    }
}

GUEST(load_over_hole, "movups 0x2ff8(%ebx), %xmm0");
GUEST(store_over_hole, "movups %xmm0, 0x2ff8(%ebx)");
GUEST(load_at_register, "lea 0x2ff8(%ebx), %esi; mov $0, %edi; movups (%esi), %xmm0");
GUEST(store_at_register, "lea 0x2ff8(%ebx), %esi; mov $0, %edi; movups %xmm0, (%esi)");
GUEST(double_over_hole, "movsd %xmm0, 0x2ffc(%ebx)");
GUEST(mmx_over_hole, "movq %mm0, 0x2ffa(%ebx)");
GUEST(up_to_hole, "movaps %xmm0, 0x2ff0(%ebx); movups 0x2ff0(%ebx), %xmm1; movhps %xmm0, 0x2ff8(%ebx);"
                  "pinsrw $0, 0x2ffe(%ebx), %xmm2");
GUEST(masked_over_hole, "movd %eax, %xmm1; lea 0x2ffc(%ebx), %edi; maskmovdqu %xmm1, %xmm0");

static void test_page_end(void **state) {
    Sim *s = *state;
    Cpu *cpu = s->c->cpu;
    sim_map(s, HOLE, 0);
    BOTH(s, stepped) {
        const u8 *const code[] = { load_over_hole, load_at_register, store_over_hole, store_at_register,
                                   double_over_hole, mmx_over_hole };
        const u8 *const end[] = { load_over_hole_end, load_at_register_end, store_over_hole_end, store_at_register_end,
                                  double_over_hole_end, mmx_over_hole_end };
        for (unsigned i = 0; i < ARRAY_LEN(code); i++) {
            cpu->cr2 = 0;
            assert_int_equal(sim_run(s, code[i], (u32)(end[i] - code[i]), stepped), VEC_PF);
            assert_int_equal(cpu->cr2, HOLE);
            assert_int_equal(peek32(s->c, cpu->regs[CPU_ESP]), i < 2 ? 0 : 2);
            assert_int_equal(peek32(s->c, HOLE - 8), 0x11111111);               // nothing stored
            assert_int_equal(peek32(s->c, HOLE - 4), 0x11111111);
        }
        u16 tags;
        u8 env[28];
        __asm__ volatile("fnstenv %0" : "=m"(env));
        tags = get_le16(env + 8);
        assert_int_equal(tags, 0xffff);                                         // MMX had not begun
        assert_int_equal(RUN(s, up_to_hole, stepped), -1);
        assert_int_equal(get_le32(cpu->xmm + 16), 0x3f800000);
        assert_int_equal(peek32(s->c, HOLE - 8), 0x40400000);
        assert_int_equal(get_le16(cpu->xmm + 32), 0x4080);
        cpu->regs[CPU_EAX] = 0x80008000;                                        // mask: bytes 1 and 3
        assert_int_equal(RUN(s, masked_over_hole, stepped), -1);
        assert_int_equal(peek32(s->c, HOLE - 4), 0x3f800000);
    }
    sim_map(s, HOLE, 3);
}

// ---- exceptions --------------------------------------------------------------------------------------
GUEST(divides, "xor %eax, %eax; sub $1, %eax; stc; divps %xmm1, %xmm0");
GUEST(converts, "cvtss2si %xmm2, %eax");
GUEST(loads_denormal, "addsd (%ebx), %xmm0");

static void test_unmasked(void **state) {
    Sim *s = *state;
    Cpu *cpu = s->c->cpu;
    BOTH(s, stepped) {
        memset(cpu->xmm + 16, 0, 16);
        cpu->mxcsr = CPU_MXCSR_RESET & ~BIT(9);                                 // ZM
        assert_int_equal(RUN(s, divides, stepped), VEC_XM);
        assert_int_equal(fault_eip(s, false), divides_end - divides - 3);
        assert_int_equal(peek32(s->c, cpu->regs[CPU_ESP] + 8) & FLAG_OSZAPC, FLAG_CF | FLAG_SF | FLAG_AF | FLAG_PF);
        assert_int_equal(get_le32(cpu->xmm), 0x3f800000);
        assert_int_equal(cpu->mxcsr, (CPU_MXCSR_RESET & ~BIT(9)) | BIT(2));     // ZE
        cpu->cr4 = 0x200;                                                       // no OSXMMEXCPT
        assert_int_equal(RUN(s, divides, stepped), VEC_UD);
        cpu->cr4 = 0x600;
        put_le32(cpu->xmm + 32, 0x7fc00000);
        cpu->mxcsr = CPU_MXCSR_RESET & ~BIT(7);                                 // IM
        cpu->regs[CPU_EAX] = 77;
        assert_int_equal(RUN(s, converts, stepped), VEC_XM);
        assert_int_equal(cpu->regs[CPU_EAX], 77);
        memset(at(s->c, AT_DATA), 0, 8);
        at(s->c, AT_DATA)[0] = 1;
        cpu->mxcsr = CPU_MXCSR_RESET & ~BIT(8);                                 // DM
        assert_int_equal(RUN(s, loads_denormal, stepped), VEC_XM);
        cpu->mxcsr |= BIT(6);                                                   // DAZ: no denormals then
        assert_int_equal(RUN(s, loads_denormal, stepped), -1);
    }
}

// Zero divide unmasked: XMM registers do not mind, MMX reports it.
GUEST(pending, "push $0x37b; fldcw (%esp); fld1; fldz; fdivrp %st, %st(1); movaps %xmm0, %xmm1;"
               "paddw %mm0, %mm1");

static void test_pending_x87(void **state) {
    Sim *s = *state;
    BOTH(s, stepped) {
        s->c->cpu->cr0 |= 0x20;                                                 // NE
        assert_int_equal(RUN(s, pending, stepped), VEC_MF);
        assert_int_equal(fault_eip(s, false), pending_end - pending - 3);
        __asm__ volatile("fnclex\n\tfninit");
    }
}

// ---- availability ---------------------------------------------------------------------------------------
GUEST(sse, "xorps %xmm0, %xmm0");
GUEST(sse2, "addpd %xmm1, %xmm0");
GUEST(sse3, "haddps %xmm1, %xmm0");
GUEST(mmx, "pxor %mm0, %mm0; emms");
GUEST(mmx_of_sse, "pavgb %mm1, %mm0; emms");
GUEST(stateless, "movnti %eax, (%ebx); sfence; lfence; mfence; prefetcht0 (%ebx); clflush (%ebx)");
GUEST(fx, "fxsave (%ebx)");

static void test_available(void **state) {
    Sim *s = *state;
    Cpu *cpu = s->c->cpu;
    BOTH(s, stepped) {
        cpu->cr4 = 0;
        assert_int_equal(RUN(s, sse, stepped), VEC_UD);
        assert_int_equal(RUN(s, mmx, stepped), -1);
        assert_int_equal(RUN(s, mmx_of_sse, stepped), -1);
        assert_int_equal(RUN(s, stateless, stepped), -1);
        cpu->cr4 = 0x600;
        cpu->cr0 |= 8;                                                          // TS
        assert_int_equal(RUN(s, sse, stepped), VEC_NM);
        assert_int_equal(RUN(s, mmx, stepped), VEC_NM);
        assert_int_equal(fault_eip(s, false), 0);
        assert_int_equal(RUN(s, fx, stepped), VEC_NM);
        assert_int_equal(RUN(s, stateless, stepped), -1);
        cpu->cr0 ^= 0xc;                                                        // EM instead
        assert_int_equal(RUN(s, sse, stepped), VEC_UD);
        assert_int_equal(RUN(s, mmx, stepped), VEC_UD);
        assert_int_equal(RUN(s, fx, stepped), VEC_NM);
    }
}

// Runs the five programs on a model; bit n of the result: program n is #UD.
static u32 undefined_on(const char *name) {
    Sim *s = calloc(1, sizeof *s);
    CpuModel model;
    char *err = NULL;
    u32 undefined = 0;
    sim_open(s);
    assert_true(cpu_model_parse(name, &model, &err));
    cpu_set_model(s->c->cpu, &model);
    sim_sse(s, 0x600);
    undefined |= (RUN(s, mmx, false) == VEC_UD) << 0;
    undefined |= (RUN(s, mmx_of_sse, false) == VEC_UD) << 1;
    undefined |= (RUN(s, sse, false) == VEC_UD) << 2;
    undefined |= (RUN(s, sse2, false) == VEC_UD) << 3;
    undefined |= (RUN(s, sse3, false) == VEC_UD) << 4;
    void *state = s;
    sim_teardown(&state);
    return undefined;
}

static void test_models(void **state) {
    (void)state;
    assert_int_equal(undefined_on("pentium"), 0x1f);
    assert_int_equal(undefined_on("pentium2"), 0x1e);
    assert_int_equal(undefined_on("pentium3"), 0x18);
    assert_int_equal(undefined_on("pentium4"), 0x10);
    assert_int_equal(undefined_on("max"), 0);
    assert_int_equal(undefined_on("max,-sse2"), 0x08);
}

// ---- state ------------------------------------------------------------------------------------------------
GUEST(mxcsr, "ldmxcsr (%ebx); addss %xmm1, %xmm0; stmxcsr 4(%ebx)");
GUEST(images, "fldpi; movd %ebx, %mm0; fxsave (%ebx); xorps %xmm0, %xmm0; movaps %xmm0, %xmm7; fninit;"
              "fxrstor (%ebx); movd %mm0, %eax; emms");
GUEST(misaligned_image, "fxsave 8(%ebx)");
GUEST(restores, "fxrstor (%ebx)");

static void test_state(void **state) {
    Sim *s = *state;
    Cpu *cpu = s->c->cpu;
    BOTH(s, stepped) {
        poke32(s->c, AT_DATA, 0x10000);                                         // reserved
        assert_int_equal(RUN(s, mxcsr, stepped), VEC_GP);
        assert_int_equal(fault_eip(s, true), 0);
        assert_int_equal(cpu->mxcsr, CPU_MXCSR_RESET);
        poke32(s->c, AT_DATA, 0x7f80);                                          // toward zero
        put_le32(cpu->xmm + 16, 0x33800000 + 1);                                // a bit more than 2^-24
        assert_int_equal(RUN(s, mxcsr, stepped), -1);
        assert_int_equal(get_le32(cpu->xmm), 0x3f800000);                       // 1, not 1 + 2^-23
        assert_int_equal(peek32(s->c, AT_DATA + 4), 0x7fa0);                    // inexact
        cpu->mxcsr = 0x5f80;
        assert_int_equal(RUN(s, images, stepped), -1);
        assert_int_equal(cpu->regs[CPU_EAX], AT_DATA);
        assert_int_equal(get_le32(cpu->xmm + 112), 0x3f800000);
        assert_int_equal(cpu->mxcsr, 0x5f80);
        assert_int_equal(peek32(s->c, AT_DATA + 24), 0x5f80);
        assert_int_equal(peek32(s->c, AT_DATA + 28), 0xffff);
        assert_int_equal(peek32(s->c, AT_DATA + 160 + 112), 0x3f800000);
        assert_int_equal(RUN(s, misaligned_image, stepped), VEC_GP);
        poke32(s->c, AT_DATA + 24, 0x80000000);
        poke32(s->c, AT_DATA + 160, 0);
        assert_int_equal(RUN(s, restores, stepped), VEC_GP);
        assert_int_equal(get_le32(cpu->xmm), 0x3f800000);
    }
}

// Calls of helpers, slow accesses, device code and leaving the block, all between two SSE instructions.
GUEST(survives, "mov $1000, %ecx; movaps %xmm0, %xmm7; xorps %xmm0, %xmm0;"
                "1: addps %xmm7, %xmm0; out %al, $0xf1; addps %xmm7, %xmm0; movups 0x2ff9(%ebx), %xmm1;"
                "pushf; popf; subps %xmm7, %xmm0; mov %cr0, %eax; sub $1, %ecx; jne 1b; stmxcsr (%ebx)");

static void test_survives(void **state) {
    Sim *s = *state;
    Cpu *cpu = s->c->cpu;
    BOTH(s, stepped) {
        cpu->mxcsr = 0x7f80;
        assert_int_equal(RUN(s, survives, stepped), -1);
        assert_int_equal(get_le32(cpu->xmm), 0x447a0000);                       // 1000
        assert_int_equal(get_le32(cpu->xmm + 12), 0x457a0000);                  // 4000
        assert_int_equal(get_le32(cpu->xmm + 112), 0x3f800000);
        assert_int_equal(peek32(s->c, AT_DATA), 0x7f80);
        u32 mine;
        __asm__ volatile("stmxcsr %0" : "=m"(mine));
        assert_int_equal(mine & 0xffc0, 0x1f80);                                // C code's is its own
    }
}

GUEST(compares, "xor %eax, %eax; ucomiss %xmm1, %xmm0; seta %al; ucomiss %xmm0, %xmm1; setb %ah;"
                "comiss %xmm2, %xmm0; jp 1f; ud2; 1: or $0x10000, %eax; movmskps %xmm3, %ecx;"
                "cvttss2si %xmm0, %esi; pextrw $1, %xmm0, %edi; pinsrw $7, %esp, %xmm3; movd %esp, %xmm4");

static void test_general(void **state) {
    Sim *s = *state;
    Cpu *cpu = s->c->cpu;
    BOTH(s, stepped) {
        put_le32(cpu->xmm, 0x40e00000);                                         // 7
        put_le32(cpu->xmm + 32, 0x7fc00000);
        put_le32(cpu->xmm + 48 + 4, 0xc0000000);
        assert_int_equal(RUN(s, compares, stepped), -1);
        assert_int_equal(cpu->regs[CPU_EAX], 0x10101);
        assert_int_equal(cpu->regs[CPU_ECX], 2);
        assert_int_equal(cpu->regs[CPU_ESI], 7);
        assert_int_equal(cpu->regs[CPU_EDI], 0x40e0);
        assert_int_equal(get_le16(cpu->xmm + 48 + 14), TOP0);
        assert_int_equal(get_le64(cpu->xmm + 64), TOP0);
        assert_int_equal(get_le64(cpu->xmm + 72), 0);
    }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, sim_setup, sim_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_alignment), TEST(test_groups), TEST(test_page_end), TEST(test_unmasked), TEST(test_pending_x87),
        TEST(test_available), TEST(test_models), TEST(test_state), TEST(test_survives), TEST(test_general),
    };
    return cmocka_run_group_tests_name("simd", tests, NULL, NULL);
}
