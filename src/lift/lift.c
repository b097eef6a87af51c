// SPDX-License-Identifier: MIT
// The lifter's entry: checks that the row's attributes ask for, dispatch to the families, and what
// they need for calling helpers and leaving the block.
#include "lift/lift_int.h"

// ---- helpers, leaving ---------------------------------------------------------------------------

void lift_call(Lift *l, HelperId helper, IrRef a, IrRef x, IrRef c) {
    ir_call(l->b, helper, IR_NONE, a, x, c);
}

IrRef lift_call_value(Lift *l, HelperId helper, IrRef a, IrRef x, IrRef c) {
    IrRef d = ir_temp(l->b);
    ir_call(l->b, helper, d, a, x, c);
    return d;
}

void lift_call_next(Lift *l, HelperId helper, IrRef a, IrRef x, IrRef c) {
    ir_stenv(l->b, 4, lift_const(l, l->next), offsetof(Cpu, eip));
    lift_call(l, helper, a, x, c);
}

void lift_leave(Lift *l) {
    ir_leave(l->b);
    l->ended = true;
}

void lift_call_end(Lift *l, HelperId helper, IrRef a, IrRef x, IrRef c) {
    lift_call_next(l, helper, a, x, c);
    lift_leave(l);
}

void lift_raise(Lift *l, CpuVector vector) {
    ir_raise(l->b, vector, false, 0);
    l->ended = true;
}

void lift_raise_gp0(Lift *l) {
    ir_raise(l->b, VEC_GP, true, 0);
    l->ended = true;
}

IrRef lift_access(Lift *l, LiftMem m, unsigned size_log2) {
    return lift_const(l, CPU_ACCESS(m.seg, size_log2));
}

void lift_jmp(Lift *l, u32 target) {
    ir_jmp(l->b, target);
    l->ended = true;
}

void lift_jmp_to(Lift *l, unsigned size, IrRef target) {
    ir_jmpi(l->b, lift_zext(l, size, target));
    l->ended = true;
}

u32 lift_target(const Lift *l) {
    u32 target = l->next + l->in->op[0].imm;
    return l->in->opsize == 2 ? target & 0xffff : target;
}

// ---- checks -------------------------------------------------------------------------------------

// Privileged code: real mode, or CPL 0.
static bool lift_is_privileged(u32 mode) {
    if (mode & MODE_VM) return false;
    return !(mode & MODE_PE) || (mode & MODE_CPL) == 0;
}

// The checks before any operand is looked at. False: an exception has been emitted.
static bool lift_check(Lift *l) {
    u32 mode = l->b->mode;
    unsigned attr = l->row->attr;
    if (attr & ISA_A_PE && (!(mode & MODE_PE) || mode & MODE_VM)) {
        lift_raise(l, VEC_UD);
        return false;
    }
    if (attr & ISA_A_PRIV && !lift_is_privileged(mode)) {
        lift_raise_gp0(l);
        return false;
    }
    unsigned unavailable = l->row->lifter == ISA_LIFT_FPU_WAIT ? MODE_WAIT_NM : MODE_FPU_NM;
    if (attr & ISA_A_FPU && mode & unavailable) {
        lift_raise(l, VEC_NM);
        return false;
    }
    return true;
}

// ---- entry --------------------------------------------------------------------------------------

typedef void LiftFamily(Lift *l);
static LiftFamily *const lift_families[ISA_LIFTER_COUNT] = {
#define X(id, stem, remark) [ISA_LIFT_##id] = lift_insn_##stem,
    ISA_LIFTERS(X)
#undef X
};

static Lift lift_begin(IrBlock *b, const Insn *in, u32 eip, unsigned length) {
    ir_insn(b, eip, length);
    return (Lift){ .b = b, .in = in, .row = isa_row(in), .eip = eip, .next = eip + length };
}

bool lift_insn(IrBlock *b, const Insn *in, u32 eip) {
    Lift l = lift_begin(b, in, eip, in->length);
    if (lift_check(&l)) lift_families[l.row->lifter](&l);
    return l.ended;
}

void lift_undefined(IrBlock *b, const Insn *in, u32 eip, IsaStatus status) {
    Lift l = lift_begin(b, in, eip, in->length ? in->length : ISA_MAX_BYTES);
    if (status == ISA_TOO_LONG)
        lift_raise_gp0(&l);
    else
        lift_raise(&l, VEC_UD);
}

void lift_end(IrBlock *b) { ir_jmp(b, b->end_eip); }

void lift_insn_none(Lift *l) { lift_raise(l, VEC_UD); }
void lift_insn_ud(Lift *l) { lift_raise(l, VEC_UD); }
void lift_insn_nop(Lift *l) { (void)l; }
