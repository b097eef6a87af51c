// SPDX-License-Identifier: MIT
// The IR interpreter: runs a block as it stands, one op after the other, without generating code.
//
// Invariants
//  1. Guest registers are changed in place (m->regs); flags are plain OSZAPC bits in Eval.flags and
//     become a RAW recipe whenever somebody else may look: at calls and at the end.
//  2. An op with fdef == 0 leaves the flags alone. Any other op sets all bits its row defines, also
//     where ir_flags() has shrunk fdef: nobody sees the difference.
//  3. The unused upper bytes of a temporary written at size 1 or 2 are filled with a pattern, so
//     that a block that relies on them shows.
//  4. m->load, m->store and m->probe make all checks; the load of a read-modify-write (attr
//     IR_RMW) also checks that it may write.
//  5. A block after ir_flags() has exact flags only where they can be observed: at faults and
//     exits. Who wants to stop between two instructions by max_insns evaluates the block before
//     that pass.
//  6. An op whose callback refuses has changed nothing, so that it can be done again (ir_eval_on).
#include "ir/ir_int.h"

#include <string.h>

enum { EVAL_UPPER_PATTERN = 0x5a5a5a5a };

typedef IrEval Eval;

// ---- operands -----------------------------------------------------------------------------------
static u32 eval_value(const Eval *e, IrRef r) {
    switch (ir_kind(r)) {
    case IR_KIND_REG: return e->m->regs[ir_reg(r)] >> (ir_is_high(r) ? 8 : 0);
    case IR_KIND_TEMP: return e->temp[ir_index(r)];
    case IR_KIND_CONST: return ir_value(e->b, r);
    default: return 0;
    }
}

static u32 eval_read(const Eval *e, const IrOp *op, unsigned which) {
    return trunc_size(eval_value(e, ir_operand(op, which)), ir_operand_bytes(op, which));
}

static void eval_write_reg(u32 *reg, IrRef d, unsigned bytes, u32 v) {
    unsigned shift = ir_is_high(d) ? 8 : 0;
    u32 mask = trunc_size(0xffffffffu, bytes) << shift;
    *reg = (*reg & ~mask) | (v << shift & mask);
}

static void eval_write(Eval *e, const IrOp *op, u32 v) {
    unsigned bytes = ir_operand_bytes(op, IR_D);
    u32 mask = trunc_size(0xffffffffu, bytes);
    if (ir_kind(op->d) == IR_KIND_REG)
        eval_write_reg(&e->m->regs[ir_reg(op->d)], op->d, bytes, v);
    else if (ir_kind(op->d) == IR_KIND_TEMP)
        e->temp[ir_index(op->d)] = (v & mask) | (EVAL_UPPER_PATTERN & ~mask);
}

// ---- flags --------------------------------------------------------------------------------------
static void eval_flags_out(const Eval *e) {
    *e->m->flag_op = FLAGS_OP(FLAGS_RAW, 2);
    *e->m->flag_a = e->flags;
    *e->m->flag_b = *e->m->flag_c = 0;
}

static void eval_flags_in(Eval *e) {
    e->flags = flags_compute(*e->m->flag_op, *e->m->flag_a, *e->m->flag_b, *e->m->flag_c);
}

// Bits that the op leaves undefined by the manuals and that hosts and recipes treat differently.
static u32 eval_undefined(const IrOp *op) {
    switch (op->code) {
    case IR_MULW: case IR_IMULW: case IR_IMUL: return FLAG_SZAPC & ~FLAG_CF;
    case IR_DIVW: case IR_IDIVW: return FLAG_OSZAPC;
    case IR_BSF: case IR_BSR: return FLAG_OSZAPC & ~FLAG_ZF;
    default: return 0;
    }
}

// A shift by CL whose count is 0 defines nothing.
static bool eval_defines(const Eval *e, const IrOp *op) {
    return op->fdef && !(ir_is_variable_shift(op) && !(e->m->regs[1] & 31));
}

static void eval_set_flags(Eval *e, const IrOp *op, u32 flags) {
    if (!op->fdef) return;
    if (eval_defines(e, op)) e->undefined = (e->undefined & ~op->fdef) | eval_undefined(op);
    e->flags = flags;
}

static bool eval_condition(u32 f, unsigned cc) {
    bool sign = f & FLAG_SF, less = sign != !!(f & FLAG_OF);
    bool r = false;
    switch (cc >> 1) {
    case 0: r = f & FLAG_OF; break;
    case 1: r = f & FLAG_CF; break;
    case 2: r = f & FLAG_ZF; break;
    case 3: r = f & (FLAG_CF | FLAG_ZF); break;
    case 4: r = sign; break;
    case 5: r = f & FLAG_PF; break;
    case 6: r = less; break;
    case 7: r = less || (f & FLAG_ZF); break;
    default: panic("eval: condition %u", cc);
    }
    return r != (cc & 1);
}

static void eval_flag_op(Eval *e, const IrOp *op) {
    u32 a = eval_read(e, op, IR_A), keep = op->size == 1 ? FLAG_OF : 0;
    u32 f = e->flags;
    switch (op->code) {
    case IR_SETF: f = (f & keep) | (a & FLAG_OSZAPC & ~keep); break;
    case IR_CLC: f &= ~FLAG_CF; break;
    case IR_STC: f |= FLAG_CF; break;
    default: f ^= FLAG_CF; break;
    }
    eval_set_flags(e, op, f);
}

// ---- ends ---------------------------------------------------------------------------------------
static bool eval_end(Eval *e, IrEvalEnd end) {
    e->out.end = end;
    if (end == IR_EVAL_JUMP || end == IR_EVAL_LEAVE) e->out.insns++;
    return false;
}

static bool eval_jump(Eval *e, u32 eip) {
    e->out.eip = eip;
    return eval_end(e, IR_EVAL_JUMP);
}

static bool eval_raise(Eval *e, unsigned vector, bool has_error, u32 error) {
    eval_flags_out(e);
    e->m->raise(e->m->self, vector, has_error, error);
    eval_flags_in(e);
    return eval_end(e, IR_EVAL_FAULT);
}

// ---- ops. Each gives false when the block ends --------------------------------------------------
static bool eval_load(Eval *e, const IrOp *op) {
    u32 at = eval_read(e, op, IR_A), v = 0;
    IrMachine *m = e->m;
    if (!m->load(m->self, op, at, op->size, &v)) return eval_end(e, IR_EVAL_FAULT);
    eval_write(e, op, v);
    return true;
}

// After a store that has been done: the machine may want a pause.
static bool eval_stored(Eval *e) {
    if (!e->m->pause) return true;
    e->m->pause = false;
    e->at++;
    return eval_end(e, IR_EVAL_PAUSE);
}

static bool eval_store(Eval *e, const IrOp *op) {
    u32 v = eval_read(e, op, IR_B);
    if (!e->m->store(e->m->self, op, eval_read(e, op, IR_A), op->size, &v))
        return eval_end(e, IR_EVAL_FAULT);
    return eval_stored(e);
}

static bool eval_probe(Eval *e, const IrOp *op) {
    if (e->m->probe(e->m->self, op, eval_read(e, op, IR_A), op->imm)) return true;
    return eval_end(e, IR_EVAL_FAULT);
}

static bool eval_call(Eval *e, const IrOp *op) {
    u64 result = 0;
    u32 a = eval_read(e, op, IR_A), b = eval_read(e, op, IR_B), c = eval_read(e, op, IR_C);
    eval_flags_out(e);
    bool ok = e->m->call(e->m->self, op->imm, a, b, c, &result);
    eval_flags_in(e);
    if (!ok) return eval_end(e, IR_EVAL_FAULT);
    if (e->b->helpers->row[op->imm].attr & (IR_HELPER_FLAGS_IN | IR_HELPER_FLAGS_OUT)) e->undefined = 0;
    eval_write(e, op, (u32)result);
    return true;
}

static bool eval_wide(Eval *e, const IrOp *op) {
    u32 flags = e->flags;
    if (!ir_alu_run_wide(op, e->m->regs, eval_read(e, op, IR_A), &flags))
        return eval_raise(e, 0, false, 0);
    eval_set_flags(e, op, flags);
    return true;
}

static bool eval_fpu(Eval *e, const IrOp *op) {
    u32 eax = e->m->regs[0], flags = e->flags;
    u32 trap = ir_fpu_run(op->imm, &eax, &flags);
    if (trap) return eval_raise(e, trap, false, 0);
    if (ir_fpu_writes_ax(op)) e->m->regs[0] = eax;
    eval_set_flags(e, op, flags);
    return true;
}

// Pending x87 exceptions come before what the memory operand may have to say.
static bool eval_fpu_wait(Eval *e, const IrOp *op) {
    enum { FPU_TRAP = 16 };
    return !ir_waits_for_fpu(op) || !ir_fpu_is_pending() || eval_raise(e, FPU_TRAP, false, 0);
}

static bool eval_fpu_load(Eval *e, const IrOp *op) {
    u8 buffer[16] = { 0 };
    require(op->aux <= sizeof buffer);
    if (!eval_fpu_wait(e, op)) return false;
    if (!e->m->load(e->m->self, op, eval_read(e, op, IR_A), op->aux, buffer))
        return eval_end(e, IR_EVAL_FAULT);
    bool unused;
    u32 trap = ir_fpu_run_memory(op->imm, buffer, &unused);
    return trap ? eval_raise(e, trap, false, 0) : true;
}

// The stack may be popped, so that the write must be known to succeed first.
static bool eval_fpu_store(Eval *e, const IrOp *op) {
    u8 buffer[16] = { 0 };
    IrMachine *m = e->m;
    u32 at = eval_read(e, op, IR_A);
    require(op->aux <= sizeof buffer);
    if (!eval_fpu_wait(e, op)) return false;
    if (!m->probe(m->self, op, at, op->aux)) return eval_end(e, IR_EVAL_FAULT);
    bool stored;
    u32 trap = ir_fpu_run_memory(op->imm, buffer, &stored);
    if (trap) return eval_raise(e, trap, false, 0);
    if (!stored) return true;
    if (!m->store(m->self, op, at, op->aux, buffer)) return eval_end(e, IR_EVAL_FAULT);
    return eval_stored(e);
}

// mem: the operand's bytes, or NULL. False: an exception came instead.
static bool eval_simd_run(Eval *e, const IrOp *op, void *mem) {
    u32 general = op->code == IR_SIMD && op->a != IR_NONE ? eval_read(e, op, IR_A) : 0, flags = 0;
    u32 trap = ir_simd_run(e->m, op->imm, mem, &general, &flags);
    if (trap) return eval_raise(e, trap, false, 0);
    if (op->d != IR_NONE) eval_write(e, op, general);
    eval_set_flags(e, op, flags);
    return true;
}

static bool eval_simd_load(Eval *e, const IrOp *op) {
    u8 buffer[16] __attribute__((aligned(16))) = { 0 };
    if (!eval_fpu_wait(e, op)) return false;
    if (!e->m->load(e->m->self, op, eval_read(e, op, IR_A), op->aux, buffer))
        return eval_end(e, IR_EVAL_FAULT);
    return eval_simd_run(e, op, buffer);
}

// An MMX store changes the x87's tags and top: the write must be known to succeed first.
static bool eval_simd_store(Eval *e, const IrOp *op) {
    u8 buffer[16] __attribute__((aligned(16))) = { 0 };
    IrMachine *m = e->m;
    u32 at = eval_read(e, op, IR_A);
    if (!eval_fpu_wait(e, op)) return false;
    if (!m->probe(m->self, op, at, op->aux)) return eval_end(e, IR_EVAL_FAULT);
    if (!eval_simd_run(e, op, buffer)) return false;
    return m->store(m->self, op, at, op->aux, buffer) ? eval_stored(e) : eval_end(e, IR_EVAL_FAULT);
}

static void eval_ea(Eval *e, const IrOp *op) {
    u32 v = eval_read(e, op, IR_A) + (eval_read(e, op, IR_B) << op->aux) + op->imm;
    eval_write(e, op, trunc_size(v, op->size));
}

static void eval_alu(Eval *e, const IrOp *op) {
    u32 flags = e->flags;
    u32 v = ir_alu_run(op, eval_read(e, op, IR_A), eval_read(e, op, IR_B), eval_read(e, op, IR_C),
                       &flags);
    eval_set_flags(e, op, flags);
    eval_write(e, op, v);
}

static u32 eval_sext(u32 v, unsigned bytes) {
    return bytes == 1 ? (u32)(i8)v : bytes == 2 ? (u32)(i16)v : v;
}

static u32 eval_getf(const Eval *e, const IrOp *op) {
    return op->size == 1 ? (e->flags & FLAG_SZAPC) | 2 : e->flags;
}

static u32 eval_ldenv(const Eval *e, const IrOp *op) {
    u32 v = 0;
    memcpy(&v, e->m->env + op->imm, op->size);
    return v;
}

static void eval_stenv(const Eval *e, const IrOp *op) {
    u32 v = eval_read(e, op, IR_A);
    memcpy(e->m->env + op->imm, &v, op->size);
}

// Ops that leave, or do not.
static bool eval_exit(Eval *e, const IrOp *op) {
    switch (op->code) {
    case IR_JCC: return eval_condition(e->flags, op->cc) ? eval_jump(e, op->imm) : true;
    case IR_JZ: return eval_read(e, op, IR_A) == 0 ? eval_jump(e, op->imm) : true;
    case IR_JNZ: return eval_read(e, op, IR_A) != 0 ? eval_jump(e, op->imm) : true;
    case IR_GUARD: return eval_read(e, op, IR_A) == op->imm || eval_jump(e, eval_read(e, op, IR_A));
    case IR_JMP: return eval_jump(e, op->imm);
    case IR_JMPI: return eval_jump(e, eval_read(e, op, IR_A));
    case IR_LEAVE: return eval_end(e, IR_EVAL_LEAVE);
    case IR_LEAVENZ: return eval_read(e, op, IR_A) != 0 ? eval_end(e, IR_EVAL_LEAVE) : true;
    case IR_RAISE: return eval_raise(e, op->imm & 0xff, op->imm & 0x100, op->imm >> 16);
    default: panic("eval: no such op: %u", op->code);
    }
}

static bool eval_limit(Eval *e, const IrOp *op) {
    u32 what = eval_read(e, op, IR_B);
    if (eval_read(e, op, IR_A) <= op->imm) return true;
    return eval_raise(e, what & 0xff, what & 0x100, what >> 16);
}

// Charges the op's instructions; false: a POLL found the budget used up, and charges nothing.
static bool eval_charge(Eval *e, const IrOp *op) {
    if (!e->m->budget) return true;
    i32 left = *e->m->budget - (i32)op->imm;
    if (op->code == IR_POLL && left < 0) return eval_end(e, IR_EVAL_BUDGET);
    *e->m->budget = left;
    return true;
}

static bool eval_op(Eval *e, const IrOp *op) {
    switch (op->code) {
    case IR_COUNT: case IR_POLL: return eval_charge(e, op);
    case IR_MOV: case IR_ZEXT: eval_write(e, op, eval_read(e, op, IR_A)); return true;
    case IR_SEXT: eval_write(e, op, eval_sext(eval_read(e, op, IR_A), op->aux)); return true;
    case IR_EA: eval_ea(e, op); return true;
    case IR_LOAD: return eval_load(e, op);
    case IR_STORE: return eval_store(e, op);
    case IR_PROBE: return eval_probe(e, op);
    case IR_NOT: eval_write(e, op, ~eval_read(e, op, IR_A)); return true;
    case IR_BSWAP: eval_write(e, op, __builtin_bswap32(eval_read(e, op, IR_A))); return true;
    case IR_MULW: case IR_IMULW: case IR_DIVW: case IR_IDIVW: return eval_wide(e, op);
    case IR_SEL:
        eval_write(e, op, eval_read(e, op, eval_condition(e->flags, op->cc) ? IR_A : IR_B));
        return true;
    case IR_SETCC: eval_write(e, op, eval_condition(e->flags, op->cc)); return true;
    case IR_GETF: eval_write(e, op, eval_getf(e, op)); return true;
    case IR_SETF: case IR_CLC: case IR_STC: case IR_CMC: eval_flag_op(e, op); return true;
    case IR_LDENV: eval_write(e, op, eval_ldenv(e, op)); return true;
    case IR_STENV: eval_stenv(e, op); return true;
    case IR_CALL: return eval_call(e, op);
    case IR_FPU: return eval_fpu(e, op);
    case IR_FPULD: return eval_fpu_load(e, op);
    case IR_FPUST: return eval_fpu_store(e, op);
    case IR_LIMIT: return eval_limit(e, op);
    case IR_SIMD: return eval_simd_run(e, op, NULL);
    case IR_SIMDLD: return eval_simd_load(e, op);
    case IR_SIMDST: return eval_simd_store(e, op);
    case IR_JCC: case IR_JZ: case IR_JNZ: case IR_GUARD: case IR_JMP: case IR_JMPI: case IR_LEAVE:
    case IR_LEAVENZ: case IR_RAISE:
        return eval_exit(e, op);
    default: eval_alu(e, op); return true;
    }
}

// At an INSN mark: the instruction before it is complete.
static bool eval_insn(Eval *e, const IrOp *op, u32 max_insns) {
    e->out.insns = e->started;
    e->out.eip = op->imm;
    if (e->started >= max_insns) return eval_end(e, IR_EVAL_POLL);
    e->started++;
    return true;
}

// Does the op read flags that are not defined? Then what follows is not either. (A helper gets to see
// the guest's own, and a count of 0 only keeps them.)
static bool eval_reads_undefined(const Eval *e, const IrOp *op) {
    u32 reads = ir_is_variable_shift(op) ? ir_info[op->code].flags >> 16 : op->fuse;
    return e->undefined & reads && op->code != IR_CALL;
}

void ir_eval_begin(IrEval *e, const IrBlock *b, IrMachine *m) {
    e->b = b;
    e->m = m;
    e->out = (IrEvalResult){ .eip = b->eip };
    e->at = e->started = e->undefined = 0;
}

IrEvalResult ir_eval_on(IrEval *e, u32 max_insns) {
    eval_flags_in(e);
    e->out.end = IR_EVAL_JUMP;
    for (; e->at < e->b->count; e->at++) {
        const IrOp *op = &e->b->ops[e->at];
        if (e->undefined && eval_reads_undefined(e, op)) e->out.undefined = true;
        if (op->code == IR_INSN ? !eval_insn(e, op, max_insns) : !eval_op(e, op)) break;
    }
    if (e->at == e->b->count && e->out.end != IR_EVAL_PAUSE) eval_jump(e, e->b->end_eip);
    e->out.op = e->at;
    eval_flags_out(e);
    return e->out;
}

IrEvalResult ir_eval(const IrBlock *b, IrMachine *m, u32 max_insns) {
    IrEval e;
    ir_eval_begin(&e, b, m);
    return ir_eval_on(&e, max_insns);
}
