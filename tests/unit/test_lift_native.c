// SPDX-License-Identifier: MIT
// Decoder, lifter and the IR interpreter against the host's own CPU: random 32-bit instructions run
// both ways from the same registers, flags and memory, and must end the same. Build and run:
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc
//       tests/unit/test_lift_native.c src/lift/*.c src/isa/*.c src/ir/*.[cS] src/base/*.c
//       -lcmocka -o build/test_lift_native && build/test_lift_native        (one line)
//
// The host runs 32-bit code by a far jump into Linux's 32-bit code segment; guest address = host
// address, in a low mapping of its own. Left out: what needs a helper (system instructions), what
// the host's kernel forbids, 16-bit addresses (nothing can be mapped there), x87 (but MMX and SSE are in:
// with all exceptions masked, random rounding, FTZ and DAZ).
//
//     BASE + 0x0000  stubs and the instruction under test (CODE)
//     BASE + 0x0700  eval's thunk
//     BASE + 0x1000  Context
//     BASE + 0x2000  memory: MEMORY_BYTES that operands and the stack lie in
#define _GNU_SOURCE
#include "fuzz.h"
#include "lift/lift_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BODY_void
#define BODY_u32 return 0;
#define BODY_u64 return 0;
#define UNUSED_0 (void)cpu;
#define UNUSED_1 UNUSED_0 (void)a;
#define UNUSED_2 UNUSED_1 (void)b;
#define UNUSED_3 UNUSED_2 (void)c;
#define H(name, result, count, attributes) \
    __attribute__((weak)) result cpu_h_##name(HELPER_ARGS_##count) { UNUSED_##count BODY_##result }
#include "cpu/helpers.def"
#undef H

enum {
    BASE = 0x20000000,
    ENTRY = BASE, CODE = BASE + 0x100, TAKEN = CODE + 0x40, EXIT_NEXT = BASE + 0x400,
    EXIT_TAKEN = BASE + 0x500, RETURN64 = BASE + 0x600, THUNK = BASE + 0x700,
    CONTEXT = BASE + 0x1000,
    MEMORY = BASE + 0x2000, MEMORY_BYTES = 0x2000, MIDDLE = MEMORY + MEMORY_BYTES / 2,
    MAPPED_BYTES = 0x4000,
    SELECTOR_CODE32 = 0x23, SELECTOR_CODE64 = 0x33, SELECTOR_DATA = 0x2b,
    MODE = MODE_PE | MODE_CODE32 | MODE_STACK32 | MODE_SSE | 0x555 << 12,      // flat
};

// FXSAVE's image: x87 (and MMX) registers at 32, XMM at 160, MXCSR at 24.
typedef struct __attribute__((aligned(16))) FxImage { u8 byte[512]; } FxImage;
enum { FX_MXCSR = 24, FX_ST = 32, FX_XMM = 160, FX_XMM_END = FX_XMM + 8 * 16 };

typedef struct Context {
    FxImage fx_in, fx_out;
    u32 mxcsr_of_c;
    u64 saved_rsp, return64;
    u32 in[8], in_flags;
    u32 out[8], out_flags, taken;
    u32 entry_offset;
    u16 entry_selector;
} Context;
#define context ((Context *)(uintptr_t)CONTEXT)
#define ABS(field) (CONTEXT + (u32)offsetof(Context, field))

// ---- host -------------------------------------------------------------------------------------

static u8 *put(u8 *p, const char *bytes, unsigned count) {
    memcpy(p, bytes, count);
    return p + count;
}

static u8 *put_abs(u8 *p, const char *opcode, unsigned count, u32 value) {
    p = put(p, opcode, count);
    put_le32(p, value);
    return p + 4;
}
static void put_jump(u8 *p, u32 target) {
    *p = 0xe9;
    put_le32(p + 1, target - (u32)(uintptr_t)(p + 5));
}

// Stores the state and goes back to 64-bit code.
static void stub_exit(u8 *p, bool taken) {
    p = put_abs(p, "\x89\x25", 2, ABS(out[CPU_ESP]));         // mov %esp, out.esp
    p = put_abs(p, "\xbc", 1, ABS(out_flags) + 4);            // mov $, %esp
    p = put(p, "\x9c\xfc", 2);                                // pushf; cld
    p = put_abs(p, "\xa3", 1, ABS(out[CPU_EAX]));
    p = put_abs(p, "\x89\x0d", 2, ABS(out[CPU_ECX]));
    p = put_abs(p, "\x89\x15", 2, ABS(out[CPU_EDX]));
    p = put_abs(p, "\x89\x1d", 2, ABS(out[CPU_EBX]));
    p = put_abs(p, "\x89\x2d", 2, ABS(out[CPU_EBP]));
    p = put_abs(p, "\x89\x35", 2, ABS(out[CPU_ESI]));
    p = put_abs(p, "\x89\x3d", 2, ABS(out[CPU_EDI]));
    p = put_abs(p, "\xb8", 1, taken);
    p = put_abs(p, "\xa3", 1, ABS(taken));
    p = put_abs(p, "\xea", 1, RETURN64);
    put_le16(p, SELECTOR_CODE64);
}

static void stubs_write(void) {
    u8 *p = (u8 *)(uintptr_t)ENTRY;
    p = put_abs(p, "\xbc", 1, ABS(in_flags));                 // mov $, %esp; popf; mov in.esp, %esp
    p = put(p, "\x9d", 1);
    p = put_abs(p, "\x8b\x25", 2, ABS(in[CPU_ESP]));
    put_jump(p, CODE);
    stub_exit((u8 *)(uintptr_t)EXIT_NEXT, false);
    stub_exit((u8 *)(uintptr_t)EXIT_TAKEN, true);
    put_abs((u8 *)(uintptr_t)RETURN64, "\xff\x24\x25", 3, ABS(return64));   // jmp *return64
    put_jump((u8 *)(uintptr_t)TAKEN, EXIT_TAKEN);
    context->entry_offset = ENTRY;
    context->entry_selector = SELECTOR_CODE32;
}

// Runs what is at CODE from context->in.
__attribute__((noinline, no_sanitize("address"))) static void host_run(void) {
    __asm__ volatile(
        "push %%rbp\n push %%rbx\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n"
        "lea 1f(%%rip), %%rax\n mov %%rax, %c[ret]\n mov %%rsp, %c[rsp]\n"
        "mov %[sel], %%eax\n mov %%eax, %%ds\n mov %%eax, %%es\n"
        "mov %c[in], %%eax\n mov %c[in]+4, %%ecx\n mov %c[in]+8, %%edx\n mov %c[in]+12, %%ebx\n"
        "mov %c[in]+20, %%ebp\n mov %c[in]+24, %%esi\n mov %c[in]+28, %%edi\n"
        "fxrstor %c[fx_in]\n"
        "ljmp *%c[far]\n"
        "1: mov %c[rsp], %%rsp\n"
        "fxsave %c[fx_out]\n ldmxcsr %c[mxcsr]\n fninit\n"
        "pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbx\n pop %%rbp\n"
        :: [ret] "i"(ABS(return64)), [rsp] "i"(ABS(saved_rsp)), [in] "i"(ABS(in)),
           [far] "i"(ABS(entry_offset)), [sel] "i"(SELECTOR_DATA), [fx_in] "i"(ABS(fx_in)),
           [fx_out] "i"(ABS(fx_out)), [mxcsr] "i"(ABS(mxcsr_of_c))
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "rax", "rcx", "rdx", "rsi", "rdi",
          "r8", "r9", "r10", "r11", "memory", "cc");
}

static bool host_can_run_32(void) {
    pid_t child = fork();
    if (child == 0) {
        memset((u8 *)(uintptr_t)CODE, 0x90, 8);
        put_jump((u8 *)(uintptr_t)CODE + 8, EXIT_NEXT);
        context->in[CPU_ESP] = MIDDLE;
        context->in_flags = 0x202;
        host_run();
        _exit(0);
    }
    int status = 1;
    waitpid(child, &status, 0);
    return status == 0;
}

// ---- interpreter ------------------------------------------------------------------------------

typedef struct Model {
    Arena *arena;
    Cpu cpu;
    Insn in;
    bool unusable;          // helper or exception
    bool taken;
    bool covered[1024];
    unsigned runs;
    FxImage fx;                // state as eval leaves it
    u32 mxcsr;
    u8 before[MEMORY_BYTES], after[MEMORY_BYTES];
} Model;

static void report(const Model *m, const char *what, u32 host, u32 model);

static bool is_inside(u32 addr, unsigned bytes) {
    return addr >= MEMORY && addr + bytes <= MEMORY + MEMORY_BYTES;
}

// All operands were placed inside: an access elsewhere has a wrong address.
static void model_check(const Model *m, u32 addr, unsigned bytes) {
    if (!is_inside(addr, bytes)) report(m, "address", MIDDLE, addr);
}

static bool model_load(void *self, const IrOp *op, u32 addr, unsigned bytes, void *to) {
    (void)op;
    model_check(self, addr, bytes);
    memcpy(to, (void *)(uintptr_t)addr, bytes);
    return true;
}

static bool model_store(void *self, const IrOp *op, u32 addr, unsigned bytes, const void *from) {
    (void)op;
    model_check(self, addr, bytes);
    memcpy((void *)(uintptr_t)addr, from, bytes);
    return true;
}

static bool model_probe(void *self, const IrOp *op, u32 addr, u32 bytes) {
    (void)op;
    model_check(self, addr, bytes);
    return true;
}

static bool model_call(void *self, unsigned helper, u32 a, u32 b, u32 c, u64 *result) {
    (void)helper; (void)a; (void)b; (void)c; (void)result;
    ((Model *)self)->unusable = true;
    return false;
}

static void model_raise(void *self, unsigned vector, bool has_error, u32 error) {
    (void)vector; (void)has_error; (void)error;
    ((Model *)self)->unusable = true;
}

static u32 model_run(Model *m) {
    Cpu *cpu = &m->cpu;
    IrMachine machine = {
        .self = m, .regs = cpu->regs, .flag_op = &cpu->flag_op, .flag_a = &cpu->flag_a,
        .flag_b = &cpu->flag_b, .flag_c = &cpu->flag_c, .env = (u8 *)cpu, .load = model_load,
        .store = model_store, .probe = model_probe, .call = model_call, .raise = model_raise,
        .xmm = m->fx.byte + FX_XMM, .mxcsr = &m->mxcsr, .thunk = (u8 *)(uintptr_t)THUNK,
    };
    m->fx = context->fx_in;
    m->mxcsr = get_le32(m->fx.byte + FX_MXCSR);
    FxImage x87 = m->fx, host;
    __asm__ volatile("fxsave %0" : "=m"(host));
    memcpy(x87.byte + FX_MXCSR, host.byte + FX_MXCSR, 8);
    __asm__ volatile("fxrstor %0" : : "m"(x87) : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                     "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    arena_reset(m->arena);
    IrBlock *b = ir_block_new(m->arena, lift_helpers(), CODE, MODE, true);
    if (!lift_insn(b, &m->in, CODE)) lift_end(b);
    IrEvalResult r = ir_eval(b, &machine, 2);
    if (r.end != IR_EVAL_JUMP) m->unusable = true;
    __asm__ volatile("fxsave %0\n\tfninit" : "=m"(x87));
    memcpy(m->fx.byte, x87.byte, FX_MXCSR);
    put_le32(m->fx.byte + FX_MXCSR, m->mxcsr);
    memcpy(m->fx.byte + FX_ST, x87.byte + FX_ST, FX_XMM - FX_ST);
    return r.eip;
}

// ---- random instructions and states -----------------------------------------------------------

static u32 random_u32(u64 *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 16;
}

// Numbers near the edges are as likely as any.
static u32 random_value(u64 *seed) {
    static const u32 edges[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
                                 0x80000000, 0xffffffff };
    u32 r = random_u32(seed);
    return r & 1 ? edges[(r >> 8) % ARRAY_LEN(edges)] : random_u32(seed);
}

static bool is_simd(const Insn *in) {
    return isa_row(in)->lifter == ISA_LIFT_SIMD || isa_row(in)->lifter == ISA_LIFT_SIMD_CTL;
}

// Corners of both formats: zeros, ones, denormals, the largest, infinities, NaNs.
static u64 random_number(u64 *seed) {
    static const u32 singles[] = { 0, 0x80000000, 0x3f800000, 0xbf800000, 1, 0x807fffff, 0x7f7fffff,
                                   0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0x4f000000,
                                   0xcf000000, 0x3fc00000, 0x00800000, 0x4b000001 };
    static const u64 doubles[] = { 0, 1ull << 63, 0x3ff0000000000000, 0xbff8000000000000, 1,
                                   0x800fffffffffffff, 0x7fefffffffffffff, 0x7ff0000000000000,
                                   0xfff0000000000000, 0x7ff8000000000001, 0x7ff0000000000001,
                                   0x41dfffffffc00000, 0xc1e0000000200000, 0x0010000000000000,
                                   0x36a0000000000000, 0x47efffffe0000000 };
    u32 r = random_u32(seed);
    switch (r & 3) {
    case 0: return singles[r >> 4 & 15] | (u64)singles[r >> 8 & 15] << 32;
    case 1: return doubles[r >> 4 & 15];
    case 2: return ((r >> 4) % 2000 - 1000) * 0x10001ull + ((u64)(0x3f000000 + (r & 0x1ffffff)) << 32);
    default: return random_u32(seed) | (u64)random_u32(seed) << 32;
    }
}

// x87 as after FNINIT or with values, XMM registers, MXCSR with every exception masked.
static void random_fx(u64 *seed) {
    FxImage *fx = &context->fx_in;
    u32 r = random_u32(seed);
    memset(fx, 0, sizeof *fx);
    put_le16(fx->byte, 0x037f);
    put_le16(fx->byte + 2, (u16)(r & 7) << 11);
    fx->byte[4] = (u8)(r >> 3);                                       // tags, one bit each
    put_le32(fx->byte + FX_MXCSR, 0x1f80 | (r & 0xe07f0000) >> 16);
    for (u32 i = FX_ST; i < FX_XMM; i += 16) {
        put_le64(fx->byte + i, random_number(seed));
        put_le16(fx->byte + i + 8, (u16)random_u32(seed));
    }
    for (u32 i = FX_XMM; i < FX_XMM_END; i += 8) put_le64(fx->byte + i, random_number(seed));
}

static void random_bytes(u64 *seed, u8 *bytes) {
    static const u8 mandatory[4] = { 0, 0x66, 0xf2, 0xf3 };
    for (unsigned i = 0; i < ISA_MAX_BYTES; i++) bytes[i] = random_u32(seed);
    unsigned n = 0;
    u32 r = random_u32(seed);
    if ((r & 0x600000) == 0x600000) {                                 // probably MMX or SSE
        if (r & 3) bytes[n++] = mandatory[r & 3];
        bytes[n++] = 0x0f;
        return;
    }
    if ((r & 3) == 0) bytes[n++] = 0x66;
    if ((r & 0xf0) == 0) bytes[n++] = 0x67;
    if ((r & 0xf00) == 0) bytes[n++] = 0xf0;
    if ((r & 0x7000) < 0x3000) bytes[n++] = 0x0f;
    if ((r & 0x1f8000) == 0) memcpy(bytes, "\x8f\x44\x24", 3);      // pop disp8(%esp)
}

static bool uses_memory(const Insn *in) {
    for (unsigned i = 0; i < in->operand_count; i++)
        if (in->op[i].kind == ISA_MEM && in->op[i].size) return true;
    return false;
}

// Could the host not run it, or would it not come back?
static bool is_left_out(const Insn *in) {
    const IsaRow *row = isa_row(in);
    if (row->attr & (ISA_A_FPU | ISA_A_END | ISA_A_IO | ISA_A_PRIV)) return true;
    if (row->attr & ISA_A_JUMP && in->opsize == 2) return true;
    if (row->sub == ISA_SUB_CLFLUSH) return true;
    if (in->seg == CPU_CS || in->seg == CPU_FS || in->seg == CPU_GS) return true;
    bool implied = row->attr & ISA_A_STRING || row->lifter == ISA_LIFT_XLAT;
    if (in->addrsize == 2 && (uses_memory(in) || implied)) return true;
    if (in->prefixes & (ISA_REP | ISA_REPNE) && !is_simd(in)) return true;
    if (row->lifter == ISA_LIFT_SHIFTD && in->opsize == 2) return true;   // undefined beyond 16
    if (row->lifter == ISA_LIFT_NOP && in->opcode == 0x0d) return true;   // #UD on some hosts
    return row->lifter == ISA_LIFT_BSWAP && in->opsize == 2;
}

// Makes the operand's address lie in MEMORY, by its base register or its displacement.
static bool place_operand(Insn *in, u32 *regs, u8 *bytes, u64 *seed) {
    u32 want = MIDDLE + random_u32(seed) % 512 - 256;
    for (unsigned i = 0; i < in->operand_count; i++)
        if (in->op[i].size == 16 && isa_row(in)->sub != ISA_SUB_UNALIGNED) want &= ~15u;
    if (in->index != ISA_NO_REG) regs[in->index] = random_u32(seed) % 128 - 64;
    u32 index = in->index == ISA_NO_REG ? 0 : regs[in->index] << in->scale;
    if (in->base != ISA_NO_REG) {
        if (in->base == in->index) return false;
        regs[in->base] = want - index - in->disp;
        return is_inside(regs[CPU_ESP] - 64, 128);
    }
    for (unsigned i = 1; i + 4 <= in->length; i++)
        if (get_le32(bytes + i) == in->disp) {
            put_le32(bytes + i, want - index);
            return isa_decode(bytes, ISA_MAX_BYTES, true, in) == ISA_OK;
        }
    return false;
}

static void place_state(Model *m, u64 *seed) {
    u32 *regs = m->cpu.regs;
    for (unsigned i = 0; i < 8; i++) regs[i] = random_value(seed);
    regs[CPU_ESP] = MIDDLE + random_u32(seed) % 256;
    const IsaRow *row = isa_row(&m->in);
    if (row->attr & ISA_A_STRING) {
        regs[CPU_ESI] = MIDDLE + random_u32(seed) % 64;
        regs[CPU_EDI] = MIDDLE + random_u32(seed) % 64;
    }
    if (row->lifter == ISA_LIFT_XLAT) regs[CPU_EBX] = MIDDLE;
    if (row->lifter == ISA_LIFT_LEAVE) regs[CPU_EBP] = MIDDLE + 16;
    if (row->lifter == ISA_LIFT_BT) regs[m->in.op[1].reg] = random_u32(seed) % 8192 - 4096;
    if (row->lifter == ISA_LIFT_LOOP && random_u32(seed) & 1) regs[CPU_ECX] = 1;
    if (row->lifter == ISA_LIFT_JCXZ && random_u32(seed) & 1) regs[CPU_ECX] = 0;
    if (row->lifter == ISA_LIFT_CMPXCHG && random_u32(seed) & 1) regs[CPU_EAX] = 0x01010101;
}

// Jumps go to TAKEN. Returns false where that cannot be arranged.
static bool place_jump(Model *m, u8 *bytes) {
    Insn *in = &m->in;
    IsaOperand *o = &in->op[0];
    if (in->operand_count && o->kind == ISA_REL) {
        u32 rel = TAKEN - CODE - in->length;
        if (o->size == 1) bytes[in->length - 1] = rel;
        else put_le32(bytes + in->length - 4, rel);
        return isa_decode(bytes, ISA_MAX_BYTES, true, in) == ISA_OK;
    }
    if (isa_row(in)->lifter == ISA_LIFT_RET) {
        put_le32((u8 *)(uintptr_t)m->cpu.regs[CPU_ESP], TAKEN);
        return true;
    }
    if (o->kind == ISA_REG) {
        m->cpu.regs[o->reg] = TAKEN;
        return o->reg != CPU_ESP;
    }
    u32 base = in->base == ISA_NO_REG ? 0 : m->cpu.regs[in->base];
    u32 index = in->index == ISA_NO_REG ? 0 : m->cpu.regs[in->index] << in->scale;
    put_le32((u8 *)(uintptr_t)(base + index + in->disp), TAKEN);
    return true;
}

// ---- comparison -------------------------------------------------------------------------------

// Flags that the instruction defines: rows leave out that CF of wide shifts is undefined.
static u32 compared_flags(const Insn *in) {
    const IsaRow *row = isa_row(in);
    u32 mask = (FLAG_OSZAPC | FLAG_DF) & ~row->flags_undefined;
    bool shift = row->sub == ISA_SUB_SHL || row->sub == ISA_SUB_SHR || row->sub == ISA_SUB_SAL;
    if (shift && in->op[0].size < 4) mask &= ~FLAG_CF;
    return mask;
}

static void report(const Model *m, const char *what, u32 host, u32 model) {
    char text[128];
    isa_format(&m->in, CODE, ISA_ATT, text, sizeof text);
    for (unsigned i = 0; i < m->in.length; i++) fprintf(stderr, "%02x ", m->in.bytes[i]);
    fprintf(stderr, " %s: %s: host %08x, model %08x\n", text, what, host, model);
    for (unsigned i = 0; i < 8; i++) fprintf(stderr, " %08x", context->in[i]);
    fprintf(stderr, " flags %08x\n", context->in_flags);
    fail();
}

static void compare(Model *m) {
    static const char *const names[8] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" };
    Cpu *cpu = &m->cpu;
    for (unsigned i = 0; i < 8; i++)
        if (context->out[i] != cpu->regs[i]) report(m, names[i], context->out[i], cpu->regs[i]);
    u32 flags = flags_compute(cpu->flag_op, cpu->flag_a, cpu->flag_b, cpu->flag_c) | cpu->eflags;
    u32 mask = compared_flags(&m->in);
    if ((context->out_flags ^ flags) & mask)
        report(m, "flags", context->out_flags & mask, flags & mask);
    if ((cpu->df < 0) != !!(flags & FLAG_DF)) report(m, "df", context->out_flags, cpu->df);
    for (u32 i = 0; i < FX_XMM_END; i++) {
        bool host_only = (i >= 6 && i < FX_MXCSR) || (i >= FX_MXCSR + 4 && i < FX_ST);     // addresses
        u8 host = context->fx_out.byte[i];
        if (i >= FX_ST && i < FX_XMM && i % 16 >= 10) continue;
        if (!host_only && host != m->fx.byte[i]) report(m, i < FX_XMM ? "x87, MXCSR" : "XMM", host, m->fx.byte[i]);
    }
    if (context->taken != m->taken) report(m, "taken", context->taken, m->taken);
    for (u32 i = 0; i < MEMORY_BYTES; i++) {
        u8 host = ((u8 *)(uintptr_t)MEMORY)[i];
        if (host != m->after[i]) report(m, "memory", host, m->after[i]);
    }
}

// Decodes random bytes and arranges registers and memory for them. False: not to be run.
static bool case_arrange(Model *m, u8 *bytes, u64 *seed) {
    u8 *memory = (u8 *)(uintptr_t)MEMORY;
    Insn *in = &m->in;
    random_bytes(seed, bytes);
    if (isa_decode(bytes, ISA_MAX_BYTES, true, in) != ISA_OK || is_left_out(in)) return false;
    bool bit_string = isa_row(in)->lifter == ISA_LIFT_BT && in->op[1].kind == ISA_REG;
    if (uses_memory(in) && bit_string
        && (in->op[1].reg == in->base || in->op[1].reg == in->index))
        return false;
    place_state(m, seed);
    bool repeated = random_u32(seed) & 1;
    for (u32 i = 0; i < MEMORY_BYTES; i += 4)
        put_le32(memory + i, repeated ? 0x01010101 : random_u32(seed));
    random_fx(seed);
    if (is_simd(in))
        for (u32 i = 0; i < 1024; i += 8) put_le64(memory + MIDDLE - MEMORY - 512 + i, random_number(seed));
    if (uses_memory(in) && !place_operand(in, m->cpu.regs, bytes, seed)) return false;
    return !(isa_row(in)->attr & ISA_A_JUMP) || place_jump(m, bytes);
}

static void case_set_flags(Model *m, u32 flags) {
    context->in_flags = flags | FLAG_IF | 2;
    m->cpu.flag_op = FLAGS_OP(FLAGS_RAW, 2);
    m->cpu.flag_a = flags & FLAG_OSZAPC;
    m->cpu.eflags = context->in_flags & ~FLAG_OSZAPC;
    m->cpu.df = flags & FLAG_DF ? -1 : 1;
}

static void random_case(Model *m, u64 *seed) {
    u8 bytes[ISA_MAX_BYTES], *memory = (u8 *)(uintptr_t)MEMORY;
    if (!case_arrange(m, bytes, seed)) return;
    memcpy(context->in, m->cpu.regs, sizeof context->in);
    case_set_flags(m, random_u32(seed) & (FLAG_OSZAPC | FLAG_DF));

    memcpy(m->before, memory, MEMORY_BYTES);
    m->unusable = false;
    u32 eip = model_run(m), next = CODE + m->in.length;
    memcpy(m->after, memory, MEMORY_BYTES);
    memcpy(memory, m->before, MEMORY_BYTES);
    if (m->unusable) return;
    m->taken = eip == TAKEN;
    if (eip != TAKEN && eip != next) report(m, "eip", next, eip);
    memcpy((u8 *)(uintptr_t)CODE, bytes, m->in.length);
    put_jump((u8 *)(uintptr_t)next, EXIT_NEXT);
    host_run();
    compare(m);
    m->covered[m->in.row] = true;
    m->runs++;
}

static void test_random_instructions(void **state) {
    Model *m = *state;
    if (!host_can_run_32()) skip();
    u64 seed = fuzz_state(0x123456789abcdef), count = fuzz_count(300000);
    for (u64 i = 0; i < count; i++) random_case(m, &seed);
    unsigned rows = 0;
    for (unsigned i = 0; i < ARRAY_LEN(m->covered); i++) rows += m->covered[i];
    print_message("%u runs, %u rows\n", m->runs, rows);
    assert_true(rows >= 570);
}

static int model_setup(void **state) {
    static Model m;
    void *at = mmap((void *)(uintptr_t)BASE, MAPPED_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (at != (void *)(uintptr_t)BASE) return 1;
    stubs_write();
    context->mxcsr_of_c = 0x1f80;
    m.arena = arena_new(1 << 14);
    m.cpu.seg[CPU_CS].selector = SELECTOR_CODE32;
    m.cpu.seg[CPU_DS].selector = m.cpu.seg[CPU_ES].selector = SELECTOR_DATA;
    m.cpu.seg[CPU_SS].selector = SELECTOR_DATA;
    *state = &m;
    return 0;
}

static int model_teardown(void **state) {
    arena_free(((Model *)*state)->arena);
    munmap((void *)(uintptr_t)BASE, MAPPED_BYTES);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_instructions) };
    return cmocka_run_group_tests_name("lift_native", tests, model_setup, model_teardown);
}
