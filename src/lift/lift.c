// SPDX-License-Identifier: MIT
// The lifter's entry: checks that the row's attributes ask for, dispatch to the families, and what
// they need for calling helpers and leaving the block.
#include "lift/lift_int.h"

#include "cpu/model.h"

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

IrRef lift_mode_change(Lift *l) {
    IrRef mode = ir_temp(l->b);
    ir_ldenv(l->b, 4, mode, offsetof(Cpu, mode));
    return lift_plain(l, IR_XOR, mode, lift_const(l, l->b->mode));
}

// After a helper with HA_MODE: the block goes on when it has left the mode word as it was.
void lift_call_mode(Lift *l, HelperId helper, IrRef a, IrRef x, IrRef c) {
    lift_call_next(l, helper, a, x, c);
    ir_leavenz(l->b, lift_mode_change(l));
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

// The features that a row's family, and its operation, came with; all of them are needed.
static const u32 lift_family_needs[ISA_LIFTER_COUNT] = {
    [ISA_LIFT_BSWAP] = CPU_HAS_I486, [ISA_LIFT_XADD] = CPU_HAS_I486, [ISA_LIFT_CMPXCHG] = CPU_HAS_I486,
    [ISA_LIFT_CMPXCHG8B] = CPU_HAS_CX8,
    [ISA_LIFT_CMOV] = CPU_HAS_CMOV,
    [ISA_LIFT_FPU_CMOV] = CPU_HAS_CMOV | CPU_HAS_FPU, [ISA_LIFT_FPU_COMI] = CPU_HAS_CMOV | CPU_HAS_FPU,
};

static const u32 lift_operation_needs[ISA_SUB_COUNT] = {
    [ISA_SUB_INVLPG] = CPU_HAS_I486, [ISA_SUB_INVD] = CPU_HAS_I486, [ISA_SUB_WBINVD] = CPU_HAS_I486,
    [ISA_SUB_CPUID] = CPU_HAS_CPUID,
    [ISA_SUB_RDTSC] = CPU_HAS_TSC,
    [ISA_SUB_RDMSR] = CPU_HAS_MSR, [ISA_SUB_WRMSR] = CPU_HAS_MSR,
    [ISA_SUB_RDPMC] = CPU_HAS_CMOV,
    [ISA_SUB_SYSENTER] = CPU_HAS_SEP, [ISA_SUB_SYSEXIT] = CPU_HAS_SEP,
    [ISA_SUB_FXSAVE] = CPU_HAS_FXSR, [ISA_SUB_FXRSTOR] = CPU_HAS_FXSR,
    [ISA_SUB_CLFLUSH] = CPU_HAS_CLFLUSH,
};

// MMX and SSE: by the row's attributes.
static u32 lift_simd_needs(unsigned attr) {
    return (attr & ISA_A_MMX ? CPU_HAS_MMX : 0) | (attr & ISA_A_SSE ? CPU_HAS_SSE : 0)
        | (attr & ISA_A_NEEDS_SSE ? CPU_HAS_SSE : 0) | (attr & ISA_A_NEEDS_SSE2 ? CPU_HAS_SSE2 : 0)
        | (attr & ISA_A_NEEDS_SSE3 ? CPU_HAS_SSE3 : 0);
}

// Long NOPs, hints: NOP with an operand.
static bool lift_is_hint(const Lift *l) { return l->row->lifter == ISA_LIFT_NOP && l->in->operand_count == 1; }

static bool lift_exists(const Lift *l) {
    u32 needs = lift_family_needs[l->row->lifter] | lift_operation_needs[l->row->sub] | lift_simd_needs(l->row->attr)
              | (lift_is_hint(l) ? CPU_HAS_CMOV : 0);
    return !(needs & ~l->b->features);
}

// MMX and SSE state: #UD by CR0.EM and CR4.OSFXSR, then #NM by CR0.TS. The mode word does not tell EM
// from TS where MMX wants to know: a helper looks.
static bool lift_check_simd(Lift *l) {
    u32 mode = l->b->mode;
    unsigned attr = l->row->attr, sub = l->row->sub;
    bool image = sub == ISA_SUB_FXSAVE || sub == ISA_SUB_FXRSTOR;
    if (attr & ISA_A_SSE && !(mode & MODE_SSE)) {
        lift_raise(l, VEC_UD);
        return false;
    }
    if (!(attr & (ISA_A_SSE | ISA_A_MMX) || image) || !(mode & MODE_FPU_NM)) return true;
    if (attr & ISA_A_SSE || image) lift_raise(l, VEC_NM);
    else lift_call_end(l, HELPER_no_mmx, IR_NONE, IR_NONE, IR_NONE);
    return false;
}

// What there is to check, if anything: these attributes; features, and what FXSAVE and FXRSTOR want, in these families.
enum { LIFT_CHECKED = ISA_A_PE | ISA_A_PRIV | ISA_A_FPU | ISA_A_MMX | ISA_A_SSE | ISA_A_NEEDS_SSE | ISA_A_NEEDS_SSE2 |
                      ISA_A_NEEDS_SSE3 };
static const bool lift_family_checked[ISA_LIFTER_COUNT] = {
    [ISA_LIFT_BSWAP] = true, [ISA_LIFT_XADD] = true, [ISA_LIFT_CMPXCHG] = true, [ISA_LIFT_CMPXCHG8B] = true,
    [ISA_LIFT_CMOV] = true, [ISA_LIFT_FPU_CMOV] = true, [ISA_LIFT_FPU_COMI] = true, [ISA_LIFT_NOP] = true,
    [ISA_LIFT_DESC] = true, [ISA_LIFT_SYSTEM] = true, [ISA_LIFT_SIMD_CTL] = true,
};

// The checks before any operand is looked at. False: an exception has been emitted.
static bool lift_check(Lift *l) {
    u32 mode = l->b->mode;
    unsigned attr = l->row->attr;
    if (!lift_exists(l)) {
        lift_raise(l, VEC_UD);
        return false;
    }
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
    return lift_check_simd(l);
}

// ---- entry --------------------------------------------------------------------------------------

typedef void LiftFamily(Lift *l);
static LiftFamily *const lift_families[ISA_LIFTER_COUNT] = {
#define X(id, stem, remark) [ISA_LIFT_##id] = lift_insn_##stem,
    ISA_LIFTERS(X)
#undef X
};

static inline Lift lift_begin(IrBlock *b, const Insn *in, u32 eip, unsigned length) {
    ir_insn(b, eip, length);
    return (Lift){ .b = b, .in = in, .row = isa_row(in), .eip = eip, .next = eip + length };
}

bool lift_insn(IrBlock *b, const Insn *in, u32 eip) {
    Lift l = lift_begin(b, in, eip, in->length);
    const IsaRow *row = l.row;
    bool checked = row->attr & LIFT_CHECKED || lift_family_checked[row->lifter];
    if (!checked || lift_check(&l)) lift_families[row->lifter](&l);
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
