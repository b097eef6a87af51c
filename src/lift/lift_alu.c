// SPDX-License-Identifier: MIT
// Arithmetic and logic: the two-operand group, one-operand forms, multiplication and division, the
// decimal adjustments, conversions of the accumulator.
#include "lift/lift_int.h"

// op1 as the second source of a two-operand instruction.
static IrRef alu_source(Lift *l) { return lift_read(l, &l->in->op[1]); }

// Flags of op0 - op1 or op0 & op1. With memory as op0, its load is the op right before.
static void alu_compare(Lift *l, IrCode code) {
    const IsaOperand *o = l->in->op;
    IrRef a = lift_read(l, &o[0]), x = alu_source(l);
    ir_put(l->b, code, o[0].size, IR_NONE, a, x, IR_NONE);
}

void lift_insn_alu(Lift *l) {
    static const u8 codes[7] = { IR_ADD, IR_OR, IR_ADC, IR_SBB, IR_AND, IR_SUB, IR_XOR };
    if (l->row->sub == ISA_SUB_CMP)
        alu_compare(l, IR_SUB);
    else
        lift_modify(l, &l->in->op[0], codes[l->row->sub - ISA_SUB_ADD], alu_source(l), IR_NONE);
}

void lift_insn_test(Lift *l) { alu_compare(l, IR_AND); }

void lift_insn_incdec(Lift *l) {
    lift_modify(l, &l->in->op[0], l->row->sub == ISA_SUB_INC ? IR_INC : IR_DEC, IR_NONE, IR_NONE);
}

void lift_insn_not(Lift *l) { lift_modify(l, &l->in->op[0], IR_NOT, IR_NONE, IR_NONE); }
void lift_insn_neg(Lift *l) { lift_modify(l, &l->in->op[0], IR_NEG, IR_NONE, IR_NONE); }

// ---- multiplication, division -------------------------------------------------------------------

void lift_insn_mul1(Lift *l) {
    static const u8 codes[4] = { IR_MULW, IR_IMULW, IR_DIVW, IR_IDIVW };
    const IsaOperand *o = &l->in->op[0];
    ir_emit(l->b, codes[l->row->sub - ISA_SUB_MUL], o->size, IR_NONE, lift_read(l, o), IR_NONE);
}

void lift_insn_imul(Lift *l) {
    const IsaOperand *o = l->in->op;
    IrRef d = lift_reg(&o[0]);
    bool three = l->in->operand_count == 3;
    IrRef source = lift_read(l, &o[1]);
    if (three)
        ir_emit(l->b, IR_IMUL, o[0].size, d, source, lift_read(l, &o[2]));
    else
        ir_emit(l->b, IR_IMUL, o[0].size, d, d, source);
}

void lift_insn_bcd(Lift *l) {
    static const u8 helpers[6] = { HELPER_daa, HELPER_das, HELPER_aaa, HELPER_aas, HELPER_aam,
                                   HELPER_aad };
    bool has_base = l->in->operand_count == 1;
    IrRef base = has_base ? lift_read(l, &l->in->op[0]) : IR_NONE;
    lift_call(l, helpers[l->row->sub - ISA_SUB_DAA], base, IR_NONE, IR_NONE);
}

// ---- accumulator --------------------------------------------------------------------------------

void lift_insn_cbw(Lift *l) {
    unsigned size = l->in->opsize;
    ir_emit(l->b, IR_SEXT, size, IR_REG(CPU_EAX), IR_REG(CPU_EAX), IR_NONE)->aux = size / 2;
}

void lift_insn_cwd(Lift *l) {
    unsigned size = l->in->opsize;
    IrOp *op = ir_emit(l->b, IR_SAR, size, IR_REG(CPU_EDX), IR_REG(CPU_EAX),
                       lift_const(l, size * 8 - 1));
    op->fdef = op->fuse = 0;
}

// AL = !CF, then - 1: 0xff with carry, 0 without.
void lift_insn_salc(Lift *l) {
    IrRef al = IR_REG(CPU_EAX);
    lift_emit_cc(l, IR_SETCC, 1, 3, al, IR_NONE, IR_NONE);
    IrOp *op = ir_emit(l->b, IR_ADD, 1, al, al, lift_const(l, 0xff));
    op->fdef = op->fuse = 0;
}
