// SPDX-License-Identifier: MIT
// Shifts, rotates, bit tests, bit scans, byte swap.
//
// Counts: a constant is masked to 5 bits here; 0 leaves register and flags alone, but memory is
// still read and written. CL is left to the op, which has the CPU's own rules for it.
#include "lift/lift_int.h"

// Is the (immediate) count 0?
static bool bits_no_count(const IsaOperand *count) {
    return count->kind == ISA_IMM && (count->imm & 31) == 0;
}

static IrRef bits_count(Lift *l, const IsaOperand *count) {
    return count->kind == ISA_IMM ? lift_const(l, count->imm & 31) : IR_REG(CPU_ECX);
}

// A shift by 0.
static void bits_touch(Lift *l, const IsaOperand *o) {
    if (o->kind != ISA_MEM) return;
    LiftMem m = lift_mem(l, 0);
    IrRef t = lift_load_rmw(l, o->size, m);
    lift_store_rmw(l, o->size, m, t);
}

void lift_insn_shift(Lift *l) {
    static const u8 codes[8] = { IR_ROL, IR_ROR, IR_RCL, IR_RCR, IR_SHL, IR_SHR, IR_SHL, IR_SAR };
    const IsaOperand *o = l->in->op;
    if (bits_no_count(&o[1]))
        bits_touch(l, &o[0]);
    else
        lift_modify(l, &o[0], codes[l->row->sub - ISA_SUB_ROL], bits_count(l, &o[1]), IR_NONE);
}

void lift_insn_shiftd(Lift *l) {
    const IsaOperand *o = l->in->op;
    if (bits_no_count(&o[2])) {
        bits_touch(l, &o[0]);
        return;
    }
    IrCode code = l->row->sub == ISA_SUB_SHLD ? IR_SHLD : IR_SHRD;
    lift_modify(l, &o[0], code, lift_reg(&o[1]), bits_count(l, &o[2]));
}

// ---- bit tests ----------------------------------------------------------------------------------

// The address of a bit string's element: the signed bit offset / bits per element elements further.
static LiftMem bits_element(Lift *l) {
    const IsaOperand *o = l->in->op;
    LiftMem m = lift_mem(l, 0);
    if (o[1].kind != ISA_REG) return m;
    unsigned log2 = lift_log2(o[0].size);
    IrRef element = lift_plain(l, IR_SAR, lift_sext(l, o[1].size, lift_reg(&o[1])),
                               lift_const(l, log2 + 3));
    bool fixed = ir_is_const(m.addr);
    m.addr = ir_ea(l->b, l->in->addrsize, fixed ? IR_NONE : m.addr, element, log2,
                   fixed ? ir_value(l->b, m.addr) : 0);
    return m;
}

static IrRef bits_offset(Lift *l) {
    const IsaOperand *o = l->in->op;
    if (o[1].kind == ISA_REG) return lift_reg(&o[1]);
    return lift_const(l, o[1].imm & (o[0].size * 8 - 1));
}

void lift_insn_bt(Lift *l) {
    static const u8 codes[4] = { IR_BT, IR_BTS, IR_BTR, IR_BTC };
    IrCode code = codes[l->row->sub - ISA_SUB_BT];
    const IsaOperand *o = &l->in->op[0];
    IrRef bit = bits_offset(l);
    if (o->kind == ISA_REG) {
        IrRef r = lift_reg(o);
        ir_emit(l->b, code, o->size, code == IR_BT ? IR_NONE : r, r, bit);
        return;
    }
    LiftMem m = bits_element(l);
    if (code == IR_BT) {
        ir_emit(l->b, code, o->size, IR_NONE, lift_load_temp(l, o->size, m), bit);
        return;
    }
    IrRef old = lift_load_rmw(l, o->size, m), new = ir_temp(l->b);
    ir_emit(l->b, code, o->size, new, old, bit);
    lift_store_rmw(l, o->size, m, new);
}

// ---- scans, swap --------------------------------------------------------------------------------

void lift_insn_bitscan(Lift *l) {
    const IsaOperand *o = l->in->op;
    IrCode code = l->row->sub == ISA_SUB_BSF ? IR_BSF : IR_BSR;
    IrRef d = lift_reg(&o[0]), source = lift_read(l, &o[1]);
    ir_emit(l->b, code, o[0].size, d, source, d);
}

// The 16-bit form is undefined; CPUs clear the register's low half.
void lift_insn_bswap(Lift *l) {
    IrRef r = lift_reg(&l->in->op[0]);
    if (l->in->opsize == 2)
        ir_mov(l->b, 2, r, lift_const(l, 0));
    else
        ir_emit(l->b, IR_BSWAP, 4, r, r, IR_NONE);
}
