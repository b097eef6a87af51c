// SPDX-License-Identifier: MIT
// The stack: PUSH, POP and relatives, frames. All through SS with the stack's own address size
// (MODE_STACK32): with a 16-bit stack only SP changes, and it wraps.
#include "lift/lift_int.h"

static bool stack_is_32(const Lift *l) { return l->b->mode & MODE_STACK32; }

// SS:[reg + offset] with the stack's address size.
static LiftMem stack_mem_at(Lift *l, unsigned reg, u32 offset) {
    bool wide = stack_is_32(l);
    IrRef addr = ir_ea(l->b, wide ? 4 : 2, IR_REG(reg), IR_NONE, 0, offset);
    return (LiftMem){ .addr = addr, .seg = CPU_SS, .addr16 = !wide };
}

// (E)SP = (E)reg + bytes.
static void stack_set(Lift *l, unsigned reg, u32 bytes) {
    if (stack_is_32(l))
        lift_ea_to(l, IR_REG(CPU_ESP), IR_REG(reg), IR_NONE, 0, bytes);
    else
        lift_sum16(l, CPU_ESP, reg, lift_const(l, bytes & 0xffff));
}

LiftMem lift_stack_mem(Lift *l, u32 offset) { return stack_mem_at(l, CPU_ESP, offset); }
void lift_stack_move(Lift *l, u32 bytes) { stack_set(l, CPU_ESP, bytes); }

void lift_stack_push(Lift *l, unsigned size, IrRef value) {
    lift_store(l, size, lift_stack_mem(l, -size), value);
    lift_stack_move(l, -size);
}

// ---- PUSH, POP ----------------------------------------------------------------------------------

void lift_insn_push(Lift *l) { lift_stack_push(l, l->in->opsize, lift_read(l, &l->in->op[0])); }

// A register is loaded directly; the stack pointer itself after it has moved.
static void stack_pop_reg(Lift *l, unsigned size, unsigned reg) {
    if (reg != CPU_ESP) {
        lift_load(l, size, IR_REG(reg), lift_stack_mem(l, 0));
        lift_stack_move(l, size);
        return;
    }
    IrRef value = lift_load_temp(l, size, lift_stack_mem(l, 0));
    if (size == 2 && stack_is_32(l)) lift_stack_move(l, size);  // the upper half may change
    ir_mov(l->b, size, IR_REG(CPU_ESP), value);
}

// ESP after a pop from a 16-bit stack.
static IrRef stack_popped_esp(Lift *l, unsigned size) {
    IrRef sp = ir_ea(l->b, 2, IR_REG(CPU_ESP), IR_NONE, 0, size);
    IrRef upper = lift_plain(l, IR_AND, IR_REG(CPU_ESP), lift_const(l, 0xffff0000));
    return lift_plain(l, IR_OR, upper, sp);
}

// The destination's address is computed with ESP already incremented.
static void stack_pop_mem(Lift *l, unsigned size) {
    IrRef value = lift_load_temp(l, size, lift_stack_mem(l, 0));
    LiftMem m;
    if (l->in->base == CPU_ESP && !stack_is_32(l)) {
        m = (LiftMem){ .seg = l->in->seg };
        m.addr = ir_ea(l->b, 4, stack_popped_esp(l, size), lift_reg_or_none(l->in->index),
                       l->in->scale, l->in->disp);
    } else {
        m = lift_mem(l, l->in->base == CPU_ESP ? size : 0);
    }
    lift_store(l, size, m, value);
    lift_stack_move(l, size);
}

void lift_insn_pop(Lift *l) {
    const IsaOperand *o = &l->in->op[0];
    if (o->kind == ISA_REG)
        stack_pop_reg(l, o->size, o->reg);
    else
        stack_pop_mem(l, o->size);
}

void lift_insn_pusha(Lift *l) {
    lift_call(l, HELPER_pusha, lift_const(l, l->in->opsize), IR_NONE, IR_NONE);
}

void lift_insn_popa(Lift *l) {
    lift_call(l, HELPER_popa, lift_const(l, l->in->opsize), IR_NONE, IR_NONE);
}

// ---- flags --------------------------------------------------------------------------------------

// In virtual-8086 mode IOPL decides; elsewhere the image is EFLAGS without VM and RF.
void lift_insn_pushf(Lift *l) {
    unsigned size = l->in->opsize;
    IrRef image;
    if (l->b->mode & MODE_VM) {
        image = lift_call_value(l, HELPER_pushf, lift_const(l, size), IR_NONE, IR_NONE);
    } else {
        IrRef arith = ir_temp(l->b), rest = ir_temp(l->b);
        ir_emit(l->b, IR_GETF, 4, arith, IR_NONE, IR_NONE);
        ir_ldenv(l->b, 4, rest, offsetof(Cpu, eflags));
        image = lift_plain(l, IR_OR, arith, rest);
        if (size == 4) image = lift_plain(l, IR_AND, image, lift_const(l, ~(FLAG_VM | FLAG_RF)));
    }
    lift_stack_push(l, size, image);
}

void lift_insn_popf(Lift *l) {
    unsigned size = l->in->opsize;
    IrRef image = lift_zext(l, size, lift_load_temp(l, size, lift_stack_mem(l, 0)));
    ir_stenv(l->b, 4, lift_const(l, l->next), offsetof(Cpu, eip));
    IrRef leaves = lift_call_value(l, HELPER_popf, image, lift_const(l, size), IR_NONE);
    lift_stack_move(l, size);
    ir_leavenz(l->b, lift_plain(l, IR_OR, leaves, lift_mode_change(l)));
}

// ---- frames -------------------------------------------------------------------------------------

void lift_insn_enter(Lift *l) {
    lift_call(l, HELPER_enter, lift_const(l, l->in->op[0].imm), lift_const(l, l->in->op[1].imm & 31),
              lift_const(l, l->in->opsize));
}

void lift_insn_leave(Lift *l) {
    unsigned size = l->in->opsize;
    IrRef value = lift_load_temp(l, size, stack_mem_at(l, CPU_EBP, 0));
    stack_set(l, CPU_EBP, size);
    ir_mov(l->b, size, IR_REG(CPU_EBP), value);
}
