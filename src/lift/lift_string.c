// SPDX-License-Identifier: MIT
// String instructions and port access. One element is lifted inline; with a REP prefix a helper
// runs as many as it likes, and the block goes on when that is all of them.
#include "lift/lift_int.h"

static bool string_is_repeated(const Lift *l) {
    return l->in->prefixes & (ISA_REP | ISA_REPNE);
}

// The argument that string helpers take.
static IrRef string_argument(Lift *l) {
    const Insn *in = l->in;
    u32 str = CPU_STR(in->seg, lift_log2(in->opsize), in->length);
    if (in->addrsize == 4) str |= CPU_STR_A32;
    if (in->prefixes & ISA_REPNE) str |= CPU_STR_REPNE;
    return lift_const(l, str);
}

static void string_repeat(Lift *l) {
    static const u8 helpers[7] = { HELPER_rep_movs, HELPER_rep_cmps, HELPER_rep_stos,
                                   HELPER_rep_lods, HELPER_rep_scas, HELPER_rep_ins,
                                   HELPER_rep_outs };
    static_assert(ISA_SUB_OUTS - ISA_SUB_MOVS == 6, "ORDER: MOVS CMPS STOS LODS SCAS INS OUTS");
    ir_stenv(l->b, 4, lift_const(l, l->next), offsetof(Cpu, eip));
    IrRef through = lift_call_value(l, helpers[l->row->sub - ISA_SUB_MOVS], string_argument(l), IR_NONE, IR_NONE);
    if (l->row->sub < ISA_SUB_INS) ir_leavenz(l->b, lift_plain(l, IR_XOR, through, lift_const(l, 1)));
    else lift_leave(l);
}

static LiftMem string_source(Lift *l) { return lift_mem_at(l, l->in->seg, IR_REG(CPU_ESI)); }
static LiftMem string_destination(Lift *l) { return lift_mem_at(l, CPU_ES, IR_REG(CPU_EDI)); }

// (E)SI and (E)DI go on by one element in the direction of DF. With 16 bits that is an addition, which has no scale.
static void string_step(Lift *l, bool source, bool destination) {
    IrRef step = ir_temp(l->b);
    unsigned scale = lift_log2(l->in->opsize);
    bool words = scale == 1 && l->in->addrsize == 2;
    ir_ldenv(l->b, 4, step, words ? offsetof(Cpu, df_word) : offsetof(Cpu, df));
    if (source) lift_step_reg(l, CPU_ESI, step, words ? 0 : scale, 0);
    if (destination) lift_step_reg(l, CPU_EDI, step, words ? 0 : scale, 0);
}

static void string_movs(Lift *l) {
    unsigned size = l->in->opsize;
    IrRef t = lift_load_temp(l, size, string_source(l));
    lift_store(l, size, string_destination(l), t);
    string_step(l, true, true);
}

// Processors look at [EDI] first, which shows when both operands would fault.
static void string_cmps(Lift *l) {
    unsigned size = l->in->opsize;
    IrRef x = lift_load_temp(l, size, string_destination(l));
    IrRef a = lift_load_temp(l, size, string_source(l));
    ir_emit(l->b, IR_SUB, size, IR_NONE, a, x);
    string_step(l, true, true);
}

static void string_stos(Lift *l) {
    lift_store(l, l->in->opsize, string_destination(l), IR_REG(CPU_EAX));
    string_step(l, false, true);
}

static void string_lods(Lift *l) {
    lift_load(l, l->in->opsize, IR_REG(CPU_EAX), string_source(l));
    string_step(l, true, false);
}

static void string_scas(Lift *l) {
    unsigned size = l->in->opsize;
    IrRef x = lift_load_temp(l, size, string_destination(l));
    ir_emit(l->b, IR_SUB, size, IR_NONE, IR_REG(CPU_EAX), x);
    string_step(l, false, true);
}

void lift_insn_string(Lift *l) {
    if (string_is_repeated(l)) {
        string_repeat(l);
        return;
    }
    switch (l->row->sub) {
    case ISA_SUB_MOVS: string_movs(l); break;
    case ISA_SUB_CMPS: string_cmps(l); break;
    case ISA_SUB_STOS: string_stos(l); break;
    case ISA_SUB_LODS: string_lods(l); break;
    default: string_scas(l); break;
    }
}

// ---- ports --------------------------------------------------------------------------------------
// Devices may raise interrupts: the block ends after each access.

void lift_insn_insouts(Lift *l) {
    if (string_is_repeated(l))
        string_repeat(l);
    else
        lift_call_end(l, l->row->sub == ISA_SUB_INS ? HELPER_ins : HELPER_outs, string_argument(l),
                      IR_NONE, IR_NONE);
}

void lift_insn_in(Lift *l) {
    const IsaOperand *o = l->in->op;
    IrRef port = lift_read_zext(l, &o[1]), value = ir_temp(l->b);
    ir_stenv(l->b, 4, lift_const(l, l->next), offsetof(Cpu, eip));
    ir_call(l->b, HELPER_in, value, port, lift_const(l, o[0].size), IR_NONE);
    lift_write(l, &o[0], value);
    lift_leave(l);
}

void lift_insn_out(Lift *l) {
    const IsaOperand *o = l->in->op;
    IrRef port = lift_read_zext(l, &o[0]), value = lift_read_zext(l, &o[1]);
    lift_call_end(l, HELPER_out, port, lift_const(l, o[1].size), value);
}
