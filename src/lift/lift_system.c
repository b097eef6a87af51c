// SPDX-License-Identifier: MIT
// Flag control, segment registers, system registers and tables, the odd rest. Nearly all of it is
// helpers: the functions here fetch operands, call, put results away.
#include "lift/lift_int.h"

// ---- flags --------------------------------------------------------------------------------------

// DF is kept as eflags' bit and as the step of string instructions: see cpu_set_df().
static void system_set_df(Lift *l, bool down) {
    IrRef eflags = ir_temp(l->b);
    ir_ldenv(l->b, 4, eflags, offsetof(Cpu, eflags));
    eflags = down ? lift_plain(l, IR_OR, eflags, lift_const(l, FLAG_DF))
                  : lift_plain(l, IR_AND, eflags, lift_const(l, ~FLAG_DF));
    ir_stenv(l->b, 4, eflags, offsetof(Cpu, eflags));
    ir_stenv(l->b, 4, lift_const(l, down ? -1 : 1), offsetof(Cpu, df));
    ir_stenv(l->b, 4, lift_const(l, down ? -2 : 2), offsetof(Cpu, df_word));
}

// Where IOPL allows it: IF, and nothing else that could stand in for it.
static void system_cli(Lift *l) {
    if (!(l->b->mode & MODE_IO_OK)) {
        lift_call(l, HELPER_cli, IR_NONE, IR_NONE, IR_NONE);
        return;
    }
    IrRef eflags = ir_temp(l->b);
    ir_ldenv(l->b, 4, eflags, offsetof(Cpu, eflags));
    ir_stenv(l->b, 4, lift_plain(l, IR_AND, eflags, lift_const(l, ~FLAG_IF)), offsetof(Cpu, eflags));
}

// The block is left when IF was clear and an interrupt waits: it is held off for one instruction.
static void system_sti(Lift *l) {
    ir_stenv(l->b, 4, lift_const(l, l->next), offsetof(Cpu, eip));
    ir_leavenz(l->b, lift_call_value(l, HELPER_sti, IR_NONE, IR_NONE, IR_NONE));
}

void lift_insn_flagop(Lift *l) {
    switch (l->row->sub) {
    case ISA_SUB_CLC: ir_emit(l->b, IR_CLC, 4, IR_NONE, IR_NONE, IR_NONE); break;
    case ISA_SUB_STC: ir_emit(l->b, IR_STC, 4, IR_NONE, IR_NONE, IR_NONE); break;
    case ISA_SUB_CMC: ir_emit(l->b, IR_CMC, 4, IR_NONE, IR_NONE, IR_NONE); break;
    case ISA_SUB_CLD: system_set_df(l, false); break;
    case ISA_SUB_STD: system_set_df(l, true); break;
    case ISA_SUB_CLI: system_cli(l); break;
    default: system_sti(l); break;
    }
}

void lift_insn_ahf(Lift *l) {
    IrRef ah = IR_REG_HIGH(CPU_EAX);
    if (l->row->sub == ISA_SUB_LAHF) {
        ir_emit(l->b, IR_GETF, 1, ah, IR_NONE, IR_NONE);
        return;
    }
    IrOp *op = ir_emit(l->b, IR_SETF, 1, IR_NONE, ah, IR_NONE);
    op->fdef = FLAG_SZAPC;
}

// ---- segment registers --------------------------------------------------------------------------

// The visible part of a segment register, zero-extended to 32 bits.
static IrRef system_selector(Lift *l, unsigned seg) {
    IrRef t = ir_temp(l->b);
    ir_ldenv(l->b, 2, t, offsetof(Cpu, seg) + seg * sizeof(CpuSeg) + offsetof(CpuSeg, selector));
    return t;
}

// A load of SS holds off interrupts: the block is left. CS is #UD.
static void system_load(Lift *l, unsigned seg, HelperId helper, IrRef a, IrRef x, IrRef c) {
    if (seg == CPU_SS || seg == CPU_CS) lift_call_end(l, helper, a, x, c);
    else lift_call_mode(l, helper, a, x, c);
}

// Real and V86 mode: does a load change selector and base only?
static bool system_is_real(const Lift *l, unsigned seg) {
    u32 mode = l->b->mode;
    bool real = !(mode & MODE_PE) || mode & MODE_VM;
    return real && seg != CPU_SS && seg != CPU_CS && MODE_SEG_CLASS(mode, seg) == SEG_REAL;
}

static void system_load_real(Lift *l, unsigned seg, IrRef selector) {
    u32 offset = offsetof(Cpu, seg) + seg * sizeof(CpuSeg);
    lift_call(l, HELPER_load_seg_real, lift_const(l, seg), selector, lift_const(l, offset));
}

void lift_insn_mov_seg(Lift *l) {
    const IsaOperand *o = l->in->op;
    if (o[1].kind == ISA_SEG) {
        lift_write(l, &o[0], system_selector(l, o[1].reg));
        return;
    }
    unsigned seg = o[0].reg;
    IrRef selector = lift_read_zext(l, &o[1]);
    if (system_is_real(l, seg)) system_load_real(l, seg, selector);
    else system_load(l, seg, HELPER_load_seg, lift_const(l, seg), selector, IR_NONE);
}

void lift_insn_push_seg(Lift *l) {
    lift_stack_push(l, l->in->opsize, system_selector(l, l->in->op[0].reg));
}

void lift_insn_pop_seg(Lift *l) {
    unsigned seg = l->in->op[0].reg;
    if (l->in->opsize == 2 && seg != CPU_SS) {
        IrRef selector = lift_zext(l, 2, lift_load_temp(l, 2, lift_stack_mem(l, 0)));
        bool real = system_is_real(l, seg);
        if (real) system_load_real(l, seg, selector);
        else lift_call_next(l, HELPER_load_seg, lift_const(l, seg), selector, IR_NONE);
        lift_stack_move(l, 2);
        if (!real) ir_leavenz(l->b, lift_mode_change(l));
        return;
    }
    system_load(l, seg, HELPER_pop_seg, lift_const(l, seg), lift_const(l, l->in->opsize), IR_NONE);
}

void lift_insn_lds(Lift *l) {
    LiftMem m = lift_mem(l, 0);
    unsigned seg = l->row->sub - ISA_SUB_ES, reg = l->in->op[0].reg;
    if (system_is_real(l, seg) && l->in->opsize == 2) {        // the pointer is one operand of 4 bytes
        IrRef pointer = lift_load_temp(l, 4, m), selector = lift_plain(l, IR_SHR, pointer, lift_const(l, 16));
        ir_mov(l->b, 2, IR_REG(reg), pointer);
        system_load_real(l, seg, selector);
        return;
    }
    system_load(l, seg, HELPER_load_far, m.addr, lift_access(l, m, lift_log2(l->in->opsize)),
                lift_const(l, seg | reg << 4));
}

// ---- control and debug registers ----------------------------------------------------------------

static void system_mov(Lift *l, HelperId read, HelperId write) {
    const IsaOperand *o = l->in->op;
    if (o[0].kind == ISA_REG)
        lift_write(l, &o[0], lift_call_value(l, read, lift_const(l, o[1].reg), IR_NONE, IR_NONE));
    else
        lift_call_end(l, write, lift_const(l, o[0].reg), lift_reg(&o[1]), IR_NONE);
}

void lift_insn_mov_cr(Lift *l) { system_mov(l, HELPER_read_cr, HELPER_write_cr); }
void lift_insn_mov_dr(Lift *l) { system_mov(l, HELPER_read_dr, HELPER_write_dr); }

// ---- descriptor tables --------------------------------------------------------------------------

// (offset, access) of the memory operand.
static void system_table(Lift *l, HelperId helper, bool ends) {
    LiftMem m = lift_mem(l, 0);
    IrRef access = lift_access(l, m, lift_log2(l->in->opsize));
    if (ends)
        lift_call_end(l, helper, m.addr, access, IR_NONE);
    else
        lift_call(l, helper, m.addr, access, IR_NONE);
}

// A helper's value into op0: 16 bits of memory, or the register.
static void system_get(Lift *l, HelperId helper) {
    lift_write(l, &l->in->op[0], lift_call_value(l, helper, IR_NONE, IR_NONE, IR_NONE));
}

static void system_selector_call(Lift *l, HelperId helper) {
    lift_call(l, helper, lift_read_zext(l, &l->in->op[0]), IR_NONE, IR_NONE);
}

// LAR, LSL: the helper is given the old value and returns it when the selector will not do.
static void system_describe(Lift *l, HelperId helper) {
    const IsaOperand *o = l->in->op;
    IrRef selector = lift_zext(l, 2, lift_read(l, &o[1]));
    lift_write(l, &o[0], lift_call_value(l, helper, selector, IR_REG(o[0].reg), IR_NONE));
}

// Memory is written only when the RPL changes, which the helper decides.
static void system_arpl(Lift *l) {
    const IsaOperand *o = l->in->op;
    IrRef wanted = lift_read_zext(l, &o[1]);
    if (o[0].kind == ISA_MEM) {
        LiftMem m = lift_mem(l, 0);
        lift_call(l, HELPER_arpl_mem, m.addr, lift_access(l, m, 1), wanted);
    } else {
        lift_write(l, &o[0], lift_call_value(l, HELPER_arpl, lift_read_zext(l, &o[0]), wanted, IR_NONE));
    }
}

void lift_insn_desc(Lift *l) {
    switch (l->row->sub) {
    case ISA_SUB_SGDT: system_table(l, HELPER_sgdt, false); break;
    case ISA_SUB_SIDT: system_table(l, HELPER_sidt, false); break;
    case ISA_SUB_LGDT: system_table(l, HELPER_lgdt, true); break;
    case ISA_SUB_LIDT: system_table(l, HELPER_lidt, true); break;
    case ISA_SUB_INVLPG: system_table(l, HELPER_invlpg, true); break;
    case ISA_SUB_SLDT: system_get(l, HELPER_sldt); break;
    case ISA_SUB_STR: system_get(l, HELPER_str); break;
    case ISA_SUB_SMSW: system_get(l, HELPER_smsw); break;
    case ISA_SUB_LLDT: system_selector_call(l, HELPER_lldt); break;
    case ISA_SUB_LTR: system_selector_call(l, HELPER_ltr); break;
    case ISA_SUB_VERR: system_selector_call(l, HELPER_verr); break;
    case ISA_SUB_VERW: system_selector_call(l, HELPER_verw); break;
    case ISA_SUB_LAR: system_describe(l, HELPER_lar); break;
    case ISA_SUB_LSL: system_describe(l, HELPER_lsl); break;
    case ISA_SUB_ARPL: system_arpl(l); break;
    case ISA_SUB_CLTS: lift_call_end(l, HELPER_clts, IR_NONE, IR_NONE, IR_NONE); break;
    default:
        lift_call_end(l, HELPER_lmsw, lift_read_zext(l, &l->in->op[0]), IR_NONE, IR_NONE);
        break;
    }
}

// ---- the rest -----------------------------------------------------------------------------------

// Who reads the clock is the last of its block: a block's instructions are counted when it begins.
static void system_rdtsc(Lift *l) {
    lift_call(l, HELPER_rdtsc, IR_NONE, IR_NONE, IR_NONE);
    lift_jmp(l, l->next);
}

// RSM exists in system management mode only.
void lift_insn_system(Lift *l) {
    switch (l->row->sub) {
    case ISA_SUB_HLT: lift_call_end(l, HELPER_hlt, IR_NONE, IR_NONE, IR_NONE); break;
    case ISA_SUB_SYSENTER: lift_call_end(l, HELPER_sysenter, IR_NONE, IR_NONE, IR_NONE); break;
    case ISA_SUB_SYSEXIT: lift_call_end(l, HELPER_sysexit, IR_NONE, IR_NONE, IR_NONE); break;
    case ISA_SUB_WRMSR: lift_call_end(l, HELPER_wrmsr, IR_NONE, IR_NONE, IR_NONE); break;
    case ISA_SUB_INVD: case ISA_SUB_WBINVD:
        lift_call(l, HELPER_wbinvd, IR_NONE, IR_NONE, IR_NONE);
        break;
    case ISA_SUB_CPUID: lift_call(l, HELPER_cpuid, IR_NONE, IR_NONE, IR_NONE); break;
    case ISA_SUB_RDTSC: system_rdtsc(l); break;
    case ISA_SUB_RDMSR: lift_call_end(l, HELPER_rdmsr, IR_NONE, IR_NONE, IR_NONE); break;
    case ISA_SUB_RDPMC: lift_call(l, HELPER_rdpmc, IR_NONE, IR_NONE, IR_NONE); break;
    default: lift_raise(l, VEC_UD); break;
    }
}
