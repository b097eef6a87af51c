// SPDX-License-Identifier: MIT
// Transfers of control: near ones end in a direct or indirect jump of the IR; far ones, interrupts
// and IRET are helpers. A near target beyond the limit of CS is a fault of the jump itself, before it
// changes anything (SDM 2A, JMP, CALL; 2B, RET): decided here for direct ones, by a LIMIT op for others.
#include "lift/lift_int.h"

// ---- the limit of CS ----------------------------------------------------------------------------

static bool control_is_beyond(const Lift *l, u32 target) { return target > l->b->code_limit; }

static void control_jmp(Lift *l, u32 target) {
    if (control_is_beyond(l, target)) lift_raise_gp0(l);
    else lift_jmp(l, target);
}

static void control_fault_above(Lift *l, IrRef value, u32 limit) {
    IrRef gp0 = lift_const(l, VEC_GP | 1 << 8);
    ir_emit(l->b, IR_LIMIT, 4, IR_NONE, value, gp0)->imm = limit;
}

// A target of `size` bytes, checked.
static void control_check(Lift *l, unsigned size, IrRef target) {
    if (l->b->code_limit < trunc_size(~0u, size)) control_fault_above(l, target, l->b->code_limit);
}

// ---- conditional --------------------------------------------------------------------------------

void lift_insn_jcc(Lift *l) {
    u32 target = lift_target(l);
    if (control_is_beyond(l, target)) {
        ir_jcc(l->b, isa_cc(l->in) ^ 1, l->next);
        lift_raise_gp0(l);
        return;
    }
    ir_jcc(l->b, isa_cc(l->in), target);
    lift_jmp(l, l->next);
}

static void control_jump_if(Lift *l, IrCode code, IrRef value, u32 target) {
    ir_emit(l->b, code, 4, IR_NONE, value, IR_NONE)->imm = target;
}

// ECX, or CX zero-extended.
static IrRef control_count(Lift *l) { return lift_zext(l, l->in->addrsize, IR_REG(CPU_ECX)); }

void lift_insn_jcxz(Lift *l) {
    if (control_is_beyond(l, lift_target(l))) {
        control_jump_if(l, IR_JNZ, control_count(l), l->next);
        lift_raise_gp0(l);
        return;
    }
    control_jump_if(l, IR_JZ, control_count(l), lift_target(l));
    lift_jmp(l, l->next);
}

// The fault comes before the count has changed: when what will be left, if ZF tells to go on, is not zero.
static void control_loop_beyond(Lift *l) {
    IrRef left = ir_ea(l->b, l->in->addrsize, IR_REG(CPU_ECX), IR_NONE, 0, -1u);
    if (l->row->sub != ISA_SUB_LOOP) {
        IrRef none = ir_temp(l->b);
        ir_mov(l->b, 4, none, lift_const(l, 0));
        lift_emit_cc(l, IR_SEL, 4, l->row->sub == ISA_SUB_LOOPE ? 4 : 5, left, left, none);
    }
    control_fault_above(l, left, 0);
    lift_step_reg(l, CPU_ECX, IR_NONE, 0, -1);
    lift_jmp(l, l->next);
}

// LOOPE, LOOPNE: no jump when the count has run out, else by ZF.
void lift_insn_loop(Lift *l) {
    u32 target = lift_target(l);
    if (control_is_beyond(l, target)) {
        control_loop_beyond(l);
        return;
    }
    lift_step_reg(l, CPU_ECX, IR_NONE, 0, -1);
    IrRef count = control_count(l);
    if (l->row->sub == ISA_SUB_LOOP) {
        control_jump_if(l, IR_JNZ, count, target);
    } else {
        control_jump_if(l, IR_JZ, count, l->next);
        ir_jcc(l->b, l->row->sub == ISA_SUB_LOOPE ? 4 : 5, target);
    }
    lift_jmp(l, l->next);
}

// ---- near ---------------------------------------------------------------------------------------

void lift_insn_jmp(Lift *l) { control_jmp(l, lift_target(l)); }

// The target in a temporary of its own: pushing may change the register it was in.
static IrRef control_target(Lift *l) {
    const IsaOperand *o = &l->in->op[0];
    if (o->kind == ISA_MEM || o->size == 2) return lift_read_zext(l, o);
    IrRef t = ir_temp(l->b);
    ir_mov(l->b, 4, t, lift_reg(o));
    return t;
}

static IrRef control_indirect(Lift *l) {
    IrRef target = control_target(l);
    control_check(l, l->in->op[0].size, target);
    return target;
}

void lift_insn_jmp_ind(Lift *l) { lift_jmp_to(l, 4, control_indirect(l)); }

static void control_push_next(Lift *l) {
    unsigned size = l->in->opsize;
    lift_stack_push(l, size, lift_const(l, trunc_size(l->next, size)));
}

void lift_insn_call(Lift *l) {
    u32 target = lift_target(l);
    if (!control_is_beyond(l, target)) control_push_next(l);
    control_jmp(l, target);
}

void lift_insn_call_ind(Lift *l) {
    IrRef target = control_indirect(l);
    control_push_next(l);
    lift_jmp_to(l, 4, target);
}

static u32 control_released(const Lift *l) { return l->in->operand_count ? l->in->op[0].imm : 0; }

void lift_insn_ret(Lift *l) {
    unsigned size = l->in->opsize;
    IrRef target = lift_zext(l, size, lift_load_temp(l, size, lift_stack_mem(l, 0)));
    if (l->b->code_limit < trunc_size(~0u, size)) control_check(l, size, target);
    lift_stack_move(l, size + control_released(l));
    lift_jmp_to(l, 4, target);
    l->b->ops[l->b->count - 1].attr |= IR_RETURN;
}

// ---- far ----------------------------------------------------------------------------------------

// selector and offset, in the instruction or in memory, to a helper (selector, offset, opsize).
static void control_far(Lift *l, HelperId helper) {
    const IsaOperand *o = &l->in->op[0];
    unsigned size = l->in->opsize;
    IrRef offset, selector;
    if (o->kind == ISA_FAR) {
        offset = lift_const(l, o->imm);
        selector = lift_const(l, l->in->imm2);
    } else {
        offset = lift_zext(l, size, lift_load_temp(l, size, lift_mem(l, 0)));
        selector = lift_zext(l, 2, lift_load_temp(l, 2, lift_mem(l, size)));
    }
    lift_call_end(l, helper, selector, offset, lift_const(l, size));
}

void lift_insn_jmp_far(Lift *l) { control_far(l, HELPER_jmp_far); }
void lift_insn_call_far(Lift *l) { control_far(l, HELPER_call_far); }

void lift_insn_ret_far(Lift *l) {
    lift_call_end(l, HELPER_ret_far, lift_const(l, control_released(l)),
                  lift_const(l, l->in->opsize), IR_NONE);
}

void lift_insn_iret(Lift *l) {
    lift_call_end(l, HELPER_iret, lift_const(l, l->in->opsize), IR_NONE, IR_NONE);
}

// ---- interrupts ---------------------------------------------------------------------------------

void lift_insn_int(Lift *l) {
    if (l->row->sub == ISA_SUB_INT)
        lift_call_end(l, HELPER_int_n, lift_const(l, l->in->op[0].imm), IR_NONE, IR_NONE);
    else
        lift_call_end(l, l->row->sub == ISA_SUB_INT3 ? HELPER_int3 : HELPER_icebp, IR_NONE, IR_NONE,
                      IR_NONE);
}

void lift_insn_into(Lift *l) { lift_call_end(l, HELPER_into, IR_NONE, IR_NONE, IR_NONE); }

void lift_insn_bound(Lift *l) {
    unsigned size = l->in->opsize;
    IrRef lower = lift_sext(l, size, lift_load_temp(l, size, lift_mem(l, 0)));
    IrRef upper = lift_sext(l, size, lift_load_temp(l, size, lift_mem(l, size)));
    lift_call(l, HELPER_bound, lift_read_sext(l, &l->in->op[0]), lower, upper);
}
