// SPDX-License-Identifier: MIT
// Moves: plain, extending, conditional, addresses, exchanges, table lookup.
#include "lift/lift_int.h"

void lift_insn_mov(Lift *l) {
    const IsaOperand *o = l->in->op;
    if (o[0].kind == ISA_REG && o[1].kind == ISA_MEM)
        lift_load(l, o[0].size, lift_reg(&o[0]), lift_mem(l, 0));
    else
        lift_write(l, &o[0], lift_read(l, &o[1]));
}

void lift_insn_movx(Lift *l) {
    const IsaOperand *o = l->in->op;
    IrRef source = lift_read(l, &o[1]);
    if (o[1].size == o[0].size) {
        ir_mov(l->b, o[0].size, lift_reg(&o[0]), source);
        return;
    }
    IrCode code = l->row->sub == ISA_SUB_ZX ? IR_ZEXT : IR_SEXT;
    ir_put(l->b, code, o[0].size, lift_reg(&o[0]), source, IR_NONE, IR_NONE)->aux = o[1].size;
}

// With 32 bits the address goes straight into the register; 16-bit addresses are zero-extended.
void lift_insn_lea(Lift *l) {
    const Insn *in = l->in;
    IrRef d = lift_reg(&in->op[0]), base = lift_reg_or_none(in->base);
    IrRef index = lift_reg_or_none(in->index);
    bool is_sum = index != IR_NONE || (base != IR_NONE && (in->disp || in->addrsize == 2));
    if (in->opsize == 2 || !is_sum) {
        ir_mov(l->b, in->opsize, d, lift_mem(l, 0).addr);
        return;
    }
    ir_ea_to(l->b, in->addrsize, d, base, index, index == IR_NONE ? 0 : in->scale, in->disp);
}

void lift_insn_setcc(Lift *l) {
    const IsaOperand *o = &l->in->op[0];
    if (o->kind == ISA_REG) {
        lift_emit_cc(l, IR_SETCC, 1, isa_cc(l->in), lift_reg(o), IR_NONE, IR_NONE);
        return;
    }
    LiftMem m = lift_mem(l, 0);
    IrRef t = ir_temp(l->b);
    lift_emit_cc(l, IR_SETCC, 1, isa_cc(l->in), t, IR_NONE, IR_NONE);
    lift_store(l, 1, m, t);
}

void lift_insn_cmov(Lift *l) {
    const IsaOperand *o = l->in->op;
    IrRef d = lift_reg(&o[0]), source = lift_read(l, &o[1]);
    lift_emit_cc(l, IR_SEL, o[0].size, isa_cc(l->in), d, source, d);
}

void lift_insn_xlat(Lift *l) {
    IrRef index = lift_zext(l, 1, IR_REG(CPU_EAX));
    IrRef addr = ir_ea(l->b, l->in->addrsize, IR_REG(CPU_EBX), index, 0, 0);
    LiftMem m = { .addr = addr, .seg = l->in->seg, .addr16 = l->in->addrsize == 2 };
    lift_load(l, 1, IR_REG(CPU_EAX), m);
}

// ---- exchanges ----------------------------------------------------------------------------------

void lift_insn_xchg(Lift *l) {
    const IsaOperand *o = l->in->op;
    unsigned size = o[0].size;
    IrRef other = lift_reg(&o[1]);
    if (o[0].kind == ISA_MEM) {
        LiftMem m = lift_mem(l, 0);
        IrRef old = lift_load_rmw(l, size, m);
        lift_store_rmw(l, size, m, other);
        ir_mov(l->b, size, other, old);
        return;
    }
    IrRef first = lift_reg(&o[0]), t = ir_temp(l->b);
    if (first == other) return;
    ir_mov(l->b, size, t, first);
    ir_mov(l->b, size, first, other);
    ir_mov(l->b, size, other, t);
}

void lift_insn_xadd(Lift *l) {
    const IsaOperand *o = l->in->op;
    unsigned size = o[0].size;
    IrRef source = lift_reg(&o[1]), sum = ir_temp(l->b);
    if (o[0].kind == ISA_MEM) {
        LiftMem m = lift_mem(l, 0);
        IrRef old = lift_load_rmw(l, size, m);
        ir_emit(l->b, IR_ADD, size, sum, old, source);
        lift_store_rmw(l, size, m, sum);
        ir_mov(l->b, size, source, old);
        return;
    }
    IrRef d = lift_reg(&o[0]);
    ir_emit(l->b, IR_ADD, size, sum, d, source);
    ir_mov(l->b, size, source, d);
    ir_mov(l->b, size, d, sum);
}

// ZF ? a : x of `size` bytes, in a new temporary: bytes are chosen as 32-bit values.
static IrRef mov_select_equal(Lift *l, unsigned size, IrRef a, IrRef x) {
    if (size == 1) {
        a = lift_zext(l, 1, a);
        x = lift_zext(l, 1, x);
        size = 4;
    }
    IrRef d = ir_temp(l->b);
    lift_emit_cc(l, IR_SEL, size, 4, d, a, x);
    return d;
}

// Compares the accumulator with op0. Equal: op0 = op1; else accumulator = op0. Memory is written in
// both cases.
void lift_insn_cmpxchg(Lift *l) {
    const IsaOperand *o = l->in->op;
    unsigned size = o[0].size;
    IrRef acc = IR_REG(CPU_EAX), source = lift_reg(&o[1]), old;
    if (o[0].kind == ISA_MEM) {
        LiftMem m = lift_mem(l, 0);
        old = lift_load_rmw(l, size, m);
        ir_emit(l->b, IR_SUB, size, IR_NONE, acc, old);
        lift_store_rmw(l, size, m, mov_select_equal(l, size, source, old));
        ir_mov(l->b, size, acc, mov_select_equal(l, size, acc, old));
        return;
    }
    IrRef d = lift_reg(&o[0]);
    ir_emit(l->b, IR_SUB, size, IR_NONE, acc, d);
    IrRef new_d = mov_select_equal(l, size, source, d);
    IrRef new_acc = mov_select_equal(l, size, acc, d);
    ir_mov(l->b, size, acc, new_acc);       // first: when d is the accumulator, it gets op1
    ir_mov(l->b, size, d, new_d);
}

void lift_insn_cmpxchg8b(Lift *l) {
    LiftMem m = lift_mem(l, 0);
    lift_call(l, HELPER_cmpxchg8b, m.addr, lift_access(l, m, 3), IR_NONE);
}
