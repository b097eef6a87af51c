// SPDX-License-Identifier: MIT
// Operands and memory addresses: what every family reads and writes through.
#include "lift/lift_int.h"

// ---- addresses ----------------------------------------------------------------------------------

void lift_ea_to(Lift *l, IrRef d, IrRef base, IrRef index, unsigned scale, u32 disp) {
    if (index == IR_NONE && disp == 0) {
        ir_mov(l->b, 4, d, base);
        return;
    }
    ir_ea_to(l->b, 4, d, base, index, scale, disp);
}

LiftMem lift_mem(Lift *l, u32 extra) {
    const Insn *in = l->in;
    IrRef addr = ir_ea(l->b, in->addrsize, lift_reg_or_none(in->base), lift_reg_or_none(in->index),
                       in->index == ISA_NO_REG ? 0 : in->scale, in->disp + extra);
    return (LiftMem){ .addr = addr, .seg = in->seg, .addr16 = in->addrsize == 2 };
}

LiftMem lift_mem_at(Lift *l, unsigned seg, IrRef reg) {
    IrRef addr = ir_ea(l->b, l->in->addrsize, reg, IR_NONE, 0, 0);
    return (LiftMem){ .addr = addr, .seg = seg, .addr16 = l->in->addrsize == 2 };
}

void lift_sum16(Lift *l, unsigned d, unsigned reg, IrRef x) {
    IrOp *op = ir_emit(l->b, IR_ADD, 2, IR_REG(d), IR_REG(reg), x);
    op->fdef = 0;
}

void lift_step_reg(Lift *l, unsigned reg, IrRef x, unsigned scale, u32 disp) {
    if (l->in->addrsize == 4)
        lift_ea_to(l, IR_REG(reg), IR_REG(reg), x, scale, disp);
    else if (scale || (x != IR_NONE && disp))
        lift_sum16(l, reg, reg, ir_ea(l->b, 4, IR_NONE, x, scale, disp));
    else
        lift_sum16(l, reg, reg, x == IR_NONE ? lift_const(l, disp & 0xffff) : x);
}

// ---- accesses -----------------------------------------------------------------------------------

// What the access must still check: the segment's class, unless it was proved for something else.
static unsigned lift_seg_class(const Lift *l, LiftMem m, bool write) {
    u32 mode = l->b->mode;
    unsigned class = MODE_SEG_CLASS(mode, m.seg);
    if (class == SEG_REAL && !m.addr16) return SEG_CHECKED;
    if (write && m.seg == CPU_CS && mode & MODE_PE && !(mode & MODE_VM)) return SEG_CHECKED;
    return class;
}

static IrOp *lift_load_op(Lift *l, unsigned size, IrRef d, LiftMem m, bool write) {
    IrOp *op = ir_load(l->b, size, d, m.seg, lift_seg_class(l, m, write), m.addr);
    op->addr16 = m.addr16;
    op->attr = write ? IR_RMW : 0;
    return op;
}

static IrOp *lift_store_op(Lift *l, unsigned size, LiftMem m, IrRef value) {
    IrOp *op = ir_store(l->b, size, m.seg, lift_seg_class(l, m, true), m.addr, value);
    op->addr16 = m.addr16;
    return op;
}

void lift_load(Lift *l, unsigned size, IrRef d, LiftMem m) { lift_load_op(l, size, d, m, false); }

IrRef lift_load_temp(Lift *l, unsigned size, LiftMem m) {
    IrRef t = ir_temp(l->b);
    lift_load_op(l, size, t, m, false);
    return t;
}

void lift_store(Lift *l, unsigned size, LiftMem m, IrRef value) {
    lift_store_op(l, size, m, value);
}

IrRef lift_load_rmw(Lift *l, unsigned size, LiftMem m) {
    IrRef t = ir_temp(l->b);
    lift_load_op(l, size, t, m, true);
    return t;
}

void lift_store_rmw(Lift *l, unsigned size, LiftMem m, IrRef value) {
    lift_store_op(l, size, m, value)->attr = IR_RMW;
}

IrOp *lift_fpu_access(Lift *l, IrCode code, unsigned bytes, LiftMem m, u32 imm) {
    IrOp *op = ir_emit(l->b, code, 4, IR_NONE, m.addr, IR_NONE);
    op->seg = m.seg;
    op->seg_class = lift_seg_class(l, m, code == IR_FPUST || code == IR_SIMDST);
    op->addr16 = m.addr16;
    op->aux = bytes;
    op->imm = imm;
    return op;
}

// ---- values -------------------------------------------------------------------------------------

static IrRef lift_extend(Lift *l, IrCode code, unsigned size, IrRef value) {
    IrRef d = ir_temp(l->b);
    ir_emit(l->b, code, 4, d, value, IR_NONE)->aux = size;
    return d;
}

IrRef lift_zext(Lift *l, unsigned size, IrRef value) {
    if (size == 4) return value;
    if (ir_is_const(value)) return lift_const(l, trunc_size(ir_value(l->b, value), size));
    return lift_extend(l, IR_ZEXT, size, value);
}

IrRef lift_sext(Lift *l, unsigned size, IrRef value) {
    return size == 4 ? value : lift_extend(l, IR_SEXT, size, value);
}

// The immediate as it is in the code when the instruction runs.
static IrRef lift_soft(Lift *l, const IsaOperand *o) {
    unsigned bytes = l->b->soft_imm;
    LiftMem m = { .addr = lift_const(l, l->next - bytes), .seg = CPU_CS };
    IrRef t = lift_load_temp(l, bytes, m);
    return bytes < o->size ? lift_sext(l, bytes, t) : t;
}

IrRef lift_read_other(Lift *l, const IsaOperand *o) {
    switch (o->kind) {
    case ISA_IMM:
        if (l->b->soft_imm) return lift_soft(l, o);
        return lift_const(l, trunc_size(o->imm, o->size));
    case ISA_MEM: return lift_load_temp(l, o->size, lift_mem(l, 0));
    default: panic("operand kind %u of %s", o->kind, l->row->id);
    }
}

IrRef lift_read_zext(Lift *l, const IsaOperand *o) {
    return lift_zext(l, o->size, lift_read(l, o));
}

IrRef lift_read_sext(Lift *l, const IsaOperand *o) {
    return lift_sext(l, o->size, lift_read(l, o));
}

void lift_write(Lift *l, const IsaOperand *o, IrRef value) {
    if (o->kind == ISA_REG)
        ir_mov(l->b, o->size, lift_reg(o), value);
    else
        lift_store(l, o->size, lift_mem(l, 0), value);
}

void lift_modify(Lift *l, const IsaOperand *o, IrCode code, IrRef x, IrRef c) {
    if (o->kind == ISA_REG) {
        ir_alu(l->b, code, o->size, lift_reg(o), lift_reg(o), x, c);
        return;
    }
    LiftMem m = lift_mem(l, 0);
    IrRef old = lift_load_rmw(l, o->size, m), new = ir_temp(l->b);
    ir_alu(l->b, code, o->size, new, old, x, c);
    lift_store_rmw(l, o->size, m, new);
}

IrRef lift_plain(Lift *l, IrCode code, IrRef a, IrRef x) {
    IrRef d = ir_temp(l->b);
    IrOp *op = ir_emit(l->b, code, 4, d, a, x);
    op->fdef = op->fuse = 0;
    return d;
}

IrOp *lift_emit_cc(Lift *l, IrCode code, unsigned size, unsigned cc, IrRef d, IrRef a, IrRef x) {
    IrOp *op = ir_emit(l->b, code, size, d, a, x);
    op->cc = cc;
    op->fuse = ir_cc_flags(cc);
    return op;
}
