// SPDX-License-Identifier: MIT
// x87: the host executes the instruction itself on the guest's registers. What differs is only the
// memory operand, which becomes an access of the IR, and the environment forms, which are helpers:
// the instruction and data pointers in them are the guest's.
//
// Helpers must not wait: a pending exception would strike in the emulator. So FWAIT comes before those whose
// instruction waits.
//
// FPU's imm is opcode | modrm << 8; FPULD's and FPUST's is opcode | digit << 8.
#include "lift/lift_int.h"

static IrOp *fpu_emit(Lift *l, unsigned opcode, unsigned modrm) {
    IrOp *op = ir_emit(l->b, IR_FPU, 4, IR_NONE, IR_NONE, IR_NONE);
    op->imm = opcode | modrm << 8;
    return op;
}

static void fpu_access(Lift *l, IrCode code) {
    const Insn *in = l->in;
    u32 imm = in->opcode | (in->modrm >> 3 & 7) << 8;
    lift_fpu_access(l, code, in->op[0].size, lift_mem(l, 0), imm);
}

void lift_insn_fpu(Lift *l) { fpu_emit(l, l->in->opcode, l->in->modrm); }

void lift_insn_fpu_mem(Lift *l) {
    fpu_access(l, l->row->sub == ISA_SUB_LOAD ? IR_FPULD : IR_FPUST);
}

void lift_insn_fpu_cmov(Lift *l) {
    fpu_emit(l, l->in->opcode, l->in->modrm)->fuse = l->row->flags_read;
}

void lift_insn_fpu_comi(Lift *l) {
    fpu_emit(l, l->in->opcode, l->in->modrm)->fdef = FLAG_OSZAPC;
}

// The host's pointers become zero, as they do when its kernel loses them: so the guest's are cleared here.
static void fpu_init(Lift *l) {
    IrRef zero = lift_const(l, 0);
    fpu_emit(l, l->in->opcode, l->in->modrm);
    ir_stenv(l->b, 4, zero, offsetof(Cpu, fpu_ip));
    ir_stenv(l->b, 4, zero, offsetof(Cpu, fpu_dp));
    ir_stenv(l->b, 2, zero, offsetof(Cpu, fpu_cs));
    ir_stenv(l->b, 2, zero, offsetof(Cpu, fpu_ds));
    ir_stenv(l->b, 2, zero, offsetof(Cpu, fpu_op));
}

void lift_insn_fpu_ctl(Lift *l) {
    switch (l->row->sub) {
    case ISA_SUB_FNINIT: fpu_init(l); break;
    case ISA_SUB_FNOP8087: break;
    case ISA_SUB_FLDCW: fpu_access(l, IR_FPULD); break;
    case ISA_SUB_FNSTCW: case ISA_SUB_FNSTSW:
        if (l->in->op[0].kind == ISA_MEM) {
            fpu_access(l, IR_FPUST);
            break;
        }
        // fall through
    default: fpu_emit(l, l->in->opcode, l->in->modrm); break;
    }
}

void lift_insn_fpu_wait(Lift *l) { fpu_emit(l, IR_FPU_WAIT & 0xff, IR_FPU_WAIT >> 8); }

// FLDENV and FRSTOR report a pending exception before they load; their helpers must not meet one.
void lift_insn_fpu_env(Lift *l) {
    static const u8 helpers[4] = { HELPER_fldenv, HELPER_fnstenv, HELPER_frstor, HELPER_fnsave };
    static_assert(ISA_SUB_FNSAVE - ISA_SUB_FLDENV == 3, "ORDER: FLDENV FNSTENV FRSTOR FNSAVE");
    if (l->row->sub == ISA_SUB_FLDENV || l->row->sub == ISA_SUB_FRSTOR) lift_insn_fpu_wait(l);
    LiftMem m = lift_mem(l, 0);
    IrRef access = lift_access(l, m, lift_log2(l->in->opsize));
    lift_call(l, helpers[l->row->sub - ISA_SUB_FLDENV], m.addr, access, IR_NONE);
}
