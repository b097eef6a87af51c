// SPDX-License-Identifier: MIT
// MMX and SSE ops of eval: the instruction is written into the machine's thunk and run on the host.
//
//  1. XMM registers and MXCSR are the machine's, in memory; MMX registers are the host's own, which
//     hold the guest's x87 state (decision 12).
//  2. In the thunk the general register is always EAX and the memory operand always (%rdi).
//  3. An unmasked exception is a SIGFPE in the thunk. Who owns the signal sends it to
//     ir_host_landing() with the trap number in RAX; registers are then as before the instruction.
#include "ir/ir_int.h"

#include <stddef.h>
#include <string.h>

typedef struct SimdRun {       // ORDER: eval_simd_run.S
    const u8 *code;
    u8 *xmm;
    void *mem;
    u32 mxcsr, host_mxcsr;
    u32 eax, flags;
    u64 saved_sp;
} SimdRun;
_Static_assert(offsetof(SimdRun, mxcsr) == 24 && offsetof(SimdRun, eax) == 32, "eval_simd_run.S");
_Static_assert(offsetof(SimdRun, saved_sp) == 40, "eval_simd_run.S");

u32 ir_simd_execute(SimdRun *run);
extern const u8 ir_simd_landing[];
extern const u8 ir_fpu_code_start[], ir_fpu_code_end[], ir_fpu_landing[];

const void *ir_host_landing(const void *pc, const u8 *thunk) {
    const u8 *at = pc;
    if (thunk && at >= thunk && at < thunk + IR_THUNK_BYTES) return ir_simd_landing;
    if (at >= ir_fpu_code_start && at < ir_fpu_code_end) return ir_fpu_landing;
    return NULL;
}

static void simd_write_thunk(u8 *p, u32 imm, bool memory) {
    unsigned modrm = imm >> 16 & 0xff;
    if (ir_simd_reads_general(imm) || (ir_simd_writes_general(imm) && ir_simd_general_in_rm(imm)))
        modrm &= 0xf8;
    else if (ir_simd_writes_general(imm)) modrm &= 0xc7;
    if (memory) modrm = (modrm & 0x38) | 7;
    if (imm & 0xff) *p++ = (u8)imm;
    *p++ = 0x0f;
    *p++ = (u8)(imm >> 8);
    if (!ir_simd_is_emms(imm)) *p++ = (u8)modrm;
    if (ir_simd_has_imm8(imm)) *p++ = (u8)(imm >> 24);
    *p = 0xc3;
}

u32 ir_simd_run(IrMachine *m, u32 imm, void *mem, u32 *general, u32 *flags) {
    require(m->thunk && m->xmm);
    simd_write_thunk(m->thunk, imm, mem != NULL);
    SimdRun run = { .code = m->thunk, .xmm = m->xmm, .mem = mem, .mxcsr = *m->mxcsr, .eax = *general };
    u32 trap = ir_simd_execute(&run);
    *m->mxcsr = run.mxcsr;
    if (trap) return trap;
    *general = run.eax;
    *flags = run.flags;
    return 0;
}
