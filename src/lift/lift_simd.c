// SPDX-License-Identifier: MIT
// MMX and SSE: the host executes the instruction itself on the guest's registers (XMM0-7 are the host's,
// MMX registers its x87's). What differs is the memory operand, which becomes an access of the IR, and
// general registers, which become operands of the op.
//
// Availability (CPUID, CR0.EM, CR4.OSFXSR, CR0.TS) is checked by lift_insn().
#include "lift/lift_int.h"

static u32 simd_imm(const Insn *in, unsigned modrm) {
    unsigned prefix = in->prefixes & ISA_REP ? 0xf3 : in->prefixes & ISA_REPNE ? 0xf2
                    : in->prefixes & ISA_OPSIZE ? 0x66 : 0;
    const IsaOperand *last = &in->op[in->operand_count - !!in->operand_count];
    return IR_SIMD_IMM(prefix, in->opcode, modrm, last->kind == ISA_IMM ? last->imm : 0);
}

static IrOp *simd_access(Lift *l, unsigned index) {
    unsigned bytes = l->in->op[index].size;
    IrCode code = index == 0 ? IR_SIMDST : IR_SIMDLD;
    IrOp *op = lift_fpu_access(l, code, bytes, lift_mem(l, 0), simd_imm(l->in, l->in->modrm & 0x38));
    if (bytes == 16 && l->row->sub != ISA_SUB_UNALIGNED) op->attr |= IR_ALIGN16;
    return op;
}

void lift_insn_simd(Lift *l) {
    const IsaOperand *o = l->in->op;
    IrOp *op;
    if (o[0].kind == ISA_MEM) {
        op = simd_access(l, 0);
    } else if (o[1].kind == ISA_MEM) {
        op = simd_access(l, 1);
    } else {
        op = ir_emit(l->b, IR_SIMD, 4, IR_NONE, IR_NONE, IR_NONE);
        op->imm = simd_imm(l->in, l->in->modrm);
        if (o[1].kind == ISA_REG) op->a = lift_reg(&o[1]);
    }
    if (o[0].kind == ISA_REG) op->d = lift_reg(&o[0]);
    if (l->row->flags_written) op->fdef = FLAG_OSZAPC;
}

// (offset, mem) of the memory operand.
static void simd_image(Lift *l, HelperId helper) {
    LiftMem m = lift_mem(l, 0);
    lift_call(l, helper, m.addr, lift_access(l, m, 0), IR_NONE);
}

static void simd_mask_move(Lift *l) {
    const IsaOperand *o = l->in->op;
    LiftMem m = lift_mem_at(l, l->in->seg, IR_REG(CPU_EDI));
    if (o[0].kind == ISA_MMX) lift_insn_fpu_wait(l);
    u32 registers = o[0].reg | (u32)o[1].reg << 4 | (o[0].kind == ISA_XMM ? CPU_MASKMOV_XMM : 0);
    lift_call(l, HELPER_maskmov, m.addr, lift_access(l, m, 0), lift_const(l, registers));
}

void lift_insn_simd_ctl(Lift *l) {
    switch (l->row->sub) {
    case ISA_SUB_FXSAVE: simd_image(l, HELPER_fxsave); break;
    case ISA_SUB_FXRSTOR: simd_image(l, HELPER_fxrstor); break;
    case ISA_SUB_LDMXCSR:
        lift_call(l, HELPER_ldmxcsr, lift_load_temp(l, 4, lift_mem(l, 0)), IR_NONE, IR_NONE);
        break;
    case ISA_SUB_STMXCSR: simd_access(l, 0); break;
    case ISA_SUB_CLFLUSH: simd_image(l, HELPER_clflush); break;
    case ISA_SUB_MOVNTI: lift_write(l, &l->in->op[0], lift_reg(&l->in->op[1])); break;
    case ISA_SUB_MASKMOV: simd_mask_move(l); break;
    default: break;                                          // fences: there is one CPU
    }
}
