// SPDX-License-Identifier: MIT
// The verifier: is a block well formed? Every rule that other passes and the back end rely on is
// here; a rule that is broken gives "op INDEX: OP: RULE".
//
//  1. Operands are of the kinds the row's `operands` column names; registers, temporaries,
//     constants exist; sizes are those the op has; AH..BH stand only where one byte is used, and a
//     byte of registers 4-7 does not exist. A temporary is defined before use, at least as wide as
//     it is used.
//  2. The first op is an INSN mark (COUNT and POLL may precede it); the last op, and only it, ends
//     the block.
//  3. Flags: an op defines no more than its row (x87: anything), and uses at least what its row,
//     condition, count and helper imply.
//  4. All checks before any change: within a guest instruction no op that may fault follows a
//     change of a register, flag, memory or the CPU state. What does not count:
//       - STENV (of the next eip) directly before a CALL or LEAVE
//       - the STORE of a read-modify-write, whose LOAD has checked
//       - STOREs through a segment that the instruction has PROBEd before
//  5. A LOAD with rmw has its STORE with rmw in the same instruction, same size, segment and
//     address, and nothing changes the address between them.
#include "ir/ir_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Verify {
    const IrBlock *b;
    const IrOp *op;      // at hand
    u32 i;               // its index
    u8 *temp_bytes;      // of each temporary: bytes defined, 0 none
    const IrOp *rmw;     // LOAD that waits for its STORE
    u32 probed;          // segments PROBEd in this instruction
    u32 insns;
    bool changed;        // this instruction has changed something
} Verify;

// ---- rule 1: operands ---------------------------------------------------------------------------
static const char *verify_reg(IrRef r, unsigned bytes) {
    if (r & ~(unsigned)(IR_KIND_REG << 12 | IR_HIGH | 7)) return "bad register reference";
    if (ir_is_high(r)) {
        if (ir_reg(r) > 3) return "bad register reference";
        return bytes == 1 ? NULL : "high byte register used wider than one byte";
    }
    return bytes == 1 && ir_reg(r) > 3 ? "this register has no low byte" : NULL;
}

static const char *verify_source(const Verify *v, unsigned which) {
    IrRef r = ir_operand(v->op, which);
    unsigned bytes = ir_operand_bytes(v->op, which);
    switch (ir_kind(r)) {
    case IR_KIND_REG: return verify_reg(r, bytes);
    case IR_KIND_CONST:
        return ir_index(r) < v->b->const_count ? NULL : "constant does not exist";
    case IR_KIND_TEMP:
        if (ir_index(r) >= v->b->temp_count) return "temporary does not exist";
        if (!v->temp_bytes[ir_index(r)]) return "temporary used before it is defined";
        if (v->temp_bytes[ir_index(r)] < bytes) return "temporary used wider than it is defined";
        return NULL;
    case IR_KIND_NONE: return "operand missing";
    default: return "bad operand reference";
    }
}

static const char *verify_destination(const Verify *v) {
    IrRef r = v->op->d;
    if (ir_kind(r) == IR_KIND_REG) return verify_reg(r, ir_operand_bytes(v->op, IR_D));
    if (ir_kind(r) != IR_KIND_TEMP) return "destination must be a register or temporary";
    return ir_index(r) < v->b->temp_count ? NULL : "temporary does not exist";
}

static const char *verify_count(const Verify *v, IrRef r) {
    if (ir_kind(r) == IR_KIND_REG) return r == IR_REG(1) ? NULL : "shift count must be CL or 1..31";
    bool exists = ir_is_const(r) && ir_index(r) < v->b->const_count;
    u32 n = exists ? ir_value(v->b, r) : 0;
    return n >= 1 && n <= 31 ? NULL : "shift count must be CL or 1..31";
}

static const char *verify_operands(const Verify *v) {
    const IrOp *op = v->op;
    const char *row = ir_info[op->code].operands, *bad = NULL;
    for (unsigned which = IR_D; which < IR_OPERANDS && !bad; which++) {
        IrRef r = ir_operand(op, which);
        if (row[which] == '.') bad = r != IR_NONE ? "operand where the op has none" : NULL;
        else if (which == IR_D) bad = row[0] == 'D' && r == IR_NONE ? NULL : verify_destination(v);
        else if ((op->code == IR_EA || op->code == IR_SIMD) && r == IR_NONE) continue;
        else if (op->code == IR_CALL) continue;                  // arity: verify_helper()
        else bad = verify_source(v, which);
    }
    if (!bad && op->code >= IR_SHL && op->code <= IR_RCR) bad = verify_count(v, op->b);
    if (!bad && (op->code == IR_SHLD || op->code == IR_SHRD)) bad = verify_count(v, op->c);
    return bad;
}

static const char *verify_helper(const Verify *v) {
    const IrOp *op = v->op;
    if (!v->b->helpers || op->imm >= v->b->helpers->count) return "no such helper";
    const IrHelper *h = &v->b->helpers->row[op->imm];
    for (unsigned which = IR_A; which < IR_OPERANDS; which++) {
        if ((which <= h->args) != (ir_operand(op, which) != IR_NONE))
            return "wrong number of arguments for the helper";
        const char *bad = which <= h->args ? verify_source(v, which) : NULL;
        if (bad) return bad;
    }
    return op->d != IR_NONE && !h->result_bytes ? "the helper has no result" : NULL;
}

// ---- rule 1: sizes and the other fields ---------------------------------------------------------
static bool verify_has_size(const IrOp *op) {
    unsigned s = op->size;
    switch (op->code) {
    case IR_EA: case IR_SHLD: case IR_SHRD: case IR_IMUL: case IR_BT: case IR_BTS: case IR_BTR:
    case IR_BTC: case IR_BSF: case IR_BSR:
        return s == 2 || s == 4;
    case IR_ZEXT: case IR_SEXT:
        return (s == 2 || s == 4) && op->aux < s && (op->aux == 1 || op->aux == 2);
    case IR_BSWAP: case IR_CALL: case IR_JMPI: case IR_GUARD: return s == 4;
    case IR_SETCC: return s == 1;
    case IR_GETF: case IR_SETF: return s == 1 || s == 4;
    default: return ir_default_size(op->code) || s == 1 || s == 2 || s == 4;
    }
}

static const char *verify_memory(const IrOp *op) {
    if (op->seg > 5) return "segment must be 0..5";
    if (op->seg_class > 3) return "segment class must be 0..3";
    bool vector = op->code == IR_SIMDLD || op->code == IR_SIMDST;
    if (op->attr & ~(IR_RMW | IR_GROUP_FIRST | IR_GROUPED | (vector ? IR_ALIGN16 : 0))) return "unknown attribute";
    if ((op->attr & IR_RMW) && op->code != IR_LOAD && op->code != IR_STORE)
        return "only LOAD and STORE can be rmw";
    return op->code == IR_PROBE && !op->imm ? "probe of no bytes" : NULL;
}

static const char *verify_x87(const IrOp *op) {
    unsigned first = op->imm & 0xff, second = op->imm >> 8;
    if (op->code == IR_FPU && op->imm == 0x909b) return NULL;            // FWAIT
    if (first < 0xd8 || first > 0xdf) return "x87 opcodes are d8..df";
    if (op->code == IR_FPU)
        return second >= 0xc0 && second <= 0xff ? NULL : "x87 register form expected";
    if (second > 7) return "x87 digit must be 0..7";
    return op->aux == 2 || op->aux == 4 || op->aux == 8 || op->aux == 10 ? NULL
        : "x87 operand must have 2, 4, 8 or 10 bytes";
}

static const char *verify_simd(const IrOp *op) {
    unsigned prefix = op->imm & 0xff, modrm = op->imm >> 16 & 0xff;
    bool registers = op->code == IR_SIMD, emms = ir_simd_is_emms(op->imm);
    if (prefix && prefix != 0x66 && prefix != 0xf2 && prefix != 0xf3) return "prefix must be 66, f2, f3";
    if (op->imm >> 24 && !ir_simd_has_imm8(op->imm)) return "the instruction has no immediate";
    if (registers && !emms && modrm < 0xc0) return "register form expected";
    if (!registers && modrm & 0xc7) return "memory form expected";
    bool writes = op->code != IR_SIMDST && ir_simd_writes_general(op->imm);
    if ((op->d != IR_NONE) != writes) return "general register result missing or not wanted";
    bool reads = registers && ir_simd_reads_general(op->imm);
    if (registers && (op->a != IR_NONE) != reads) return "general register source missing or not wanted";
    if (registers) return NULL;
    if (op->attr & IR_ALIGN16 && op->aux != 16) return "only 16 bytes must be aligned";
    return op->aux == 2 || op->aux == 4 || op->aux == 8 || op->aux == 16 ? NULL
        : "vector operand must have 2, 4, 8 or 16 bytes";
}

static const char *verify_fields(const Verify *v) {
    const IrOp *op = v->op;
    if (!verify_has_size(op)) return "the op does not exist in this size";
    if (ir_has_cc(op->code) && op->cc > 15) return "condition must be 0..15";
    if (ir_is_memory(op->code)) {
        const char *bad = verify_memory(op);
        if (bad) return bad;
    } else if (op->attr & ~(op->code == IR_JMPI ? IR_RETURN : 0)) {
        return "attribute on an op without memory";
    }
    switch (op->code) {
    case IR_EA:
        return op->aux > 3 || (op->aux && op->b == IR_NONE)
            ? "scale must be 0..3, and only with an index"
            : NULL;
    case IR_INSN: return op->aux >= 1 && op->aux <= 15 ? NULL : "instruction length must be 1..15";
    case IR_FPU: case IR_FPULD: case IR_FPUST: return verify_x87(op);
    case IR_SIMD: case IR_SIMDLD: case IR_SIMDST: return verify_simd(op);
    case IR_RAISE: return op->imm & 0xfee0 ? "vector must be 0..31" : NULL;
    default: return NULL;
    }
}

// ---- rule 3: flags ------------------------------------------------------------------------------
static u16 verify_may_define(const Verify *v) {
    const IrOp *op = v->op;
    if (op->code == IR_FPU) return FLAG_OSZAPC;
    if (op->code == IR_SIMD || op->code == IR_SIMDLD) return ir_simd_sets_flags(op->imm) ? FLAG_OSZAPC : 0;
    if (op->code == IR_CALL)
        return v->b->helpers->row[op->imm].attr & IR_HELPER_FLAGS_OUT ? FLAG_OSZAPC : 0;
    if (op->code == IR_SETF && op->size == 1) return FLAG_SZAPC;
    return ir_info[op->code].flags & 0xffff;
}

static const char *verify_flags(const Verify *v) {
    if (v->op->fdef & ~verify_may_define(v)) return "defines flags that the op does not set";
    u16 undeclared = ir_default_fuse(v->b, v->op) & ~v->op->fuse;
    if (undeclared) return "reads flags that are not declared as used";
    return NULL;
}

// ---- rule 4: checks before changes --------------------------------------------------------------
static u16 verify_helper_attr(const Verify *v) {
    return v->op->code == IR_CALL ? v->b->helpers->row[v->op->imm].attr : 0;
}

static bool verify_may_fault(const Verify *v) {
    const IrOp *op = v->op;
    if (op->code == IR_CALL) return verify_helper_attr(v) & IR_HELPER_FAULT;
    if (op->code == IR_STORE)
        return !(op->attr & IR_RMW) && !(v->probed >> op->seg & 1);
    return ir_info[op->code].props & IRP_FAULT;
}

static bool verify_sets_eip(const Verify *v) {
    const IrOp *end = v->b->ops + v->b->count, *op = v->op;
    while (op < end && op->code == IR_STENV) op++;
    return op < end && (op->code == IR_CALL || op->code == IR_LEAVE || op->code == IR_LEAVENZ);
}

static bool verify_changes(const Verify *v) {
    const IrOp *op = v->op;
    if (ir_kind(op->d) == IR_KIND_REG || op->fdef) return true;
    switch (op->code) {
    case IR_FPU: return op->imm != IR_FPU_WAIT;
    case IR_STORE: case IR_FPULD: case IR_FPUST: return true;
    case IR_SIMD: case IR_SIMDLD: case IR_SIMDST: return true;
    case IR_STENV: return !verify_sets_eip(v);
    case IR_CALL:
        return verify_helper_attr(v) & (IR_HELPER_END | IR_HELPER_REGS | IR_HELPER_FLAGS_OUT);
    default: return ir_info[op->code].props & IRP_WIDE;
    }
}

// A POLL between two instructions belongs to the next one.
static bool verify_is_between(const Verify *v) {
    const IrOp *end = v->b->ops + v->b->count, *op = v->op;
    while (op < end && (op->code == IR_POLL || op->code == IR_COUNT)) op++;
    return op < end && op->code == IR_INSN;
}

static const char *verify_order(Verify *v) {
    const IrOp *op = v->op;
    bool between = op->code == IR_POLL && verify_is_between(v);
    if (v->changed && !between && verify_may_fault(v)) return "may fault after a change";
    if (op->code == IR_PROBE) v->probed |= BIT(op->seg);
    if (verify_changes(v)) v->changed = true;
    return NULL;
}

// ---- rule 5: read-modify-write pairs ------------------------------------------------------------
static bool verify_writes(const Verify *v, IrRef address) {
    const IrOp *op = v->op;
    if (ir_kind(address) == IR_KIND_TEMP) return op->d == address;
    if (ir_kind(address) != IR_KIND_REG) return false;
    unsigned reg = ir_reg(address);
    if (ir_kind(op->d) == IR_KIND_REG && ir_reg(op->d) == reg) return true;
    if ((ir_info[op->code].props & IRP_WIDE) && (reg == 0 || reg == 2)) return true;
    if (ir_fpu_writes_ax(op) && reg == 0) return true;
    return verify_helper_attr(v) & IR_HELPER_REGS;
}

static const char *verify_rmw(Verify *v) {
    const IrOp *op = v->op, *load = v->rmw;
    bool rmw = op->attr & IR_RMW;
    if (op->code == IR_LOAD && rmw) {
        if (load) return "second rmw load before the store of the first";
        v->rmw = op;
        return verify_writes(v, op->a) ? "the address of a rmw pair changes" : NULL;
    }
    if (op->code == IR_STORE && rmw) {
        if (!load) return "rmw store without its load";
        if (load->a != op->a || load->seg != op->seg || load->size != op->size)
            return "rmw store differs from its load in address, segment or size";
        v->rmw = NULL;
        return NULL;
    }
    return load && verify_writes(v, load->a) ? "the address of a rmw pair changes" : NULL;
}

// ---- the walk -----------------------------------------------------------------------------------
static const char *verify_grouping(Verify *v) {
    const IrOp *op = v->op;
    bool last = v->i + 1 == v->b->count;
    if (op->code == IR_INSN) {
        if (v->rmw) return "rmw load without its store before this";
        if (!v->insns && op->imm != v->b->eip)
            return "the first instruction is not at the block's eip";
        v->insns++;
        v->changed = false;
        v->probed = 0;
    } else if (!v->insns && op->code != IR_POLL && op->code != IR_COUNT) {
        return "op before the first instruction mark";
    }
    bool ends = ir_info[op->code].props & IRP_END;
    if (ends && !last) return "ops follow the end of the block";
    return last && !ends ? "the block does not end here" : NULL;
}

static const char *verify_op(Verify *v) {
    const char *bad;
    if (v->op->code >= IR_CODE_COUNT) return "no such op";
    if ((bad = verify_grouping(v)) || (bad = verify_fields(v)) || (bad = verify_operands(v)))
        return bad;
    if (v->op->code == IR_CALL && (bad = verify_helper(v))) return bad;
    if ((bad = verify_flags(v)) || (bad = verify_order(v)) || (bad = verify_rmw(v))) return bad;
    if (ir_kind(v->op->d) == IR_KIND_TEMP)
        v->temp_bytes[ir_index(v->op->d)] = (u8)ir_operand_bytes(v->op, IR_D);
    return NULL;
}

static const char *verify_message(const Verify *v, const char *rule) {
    char *text = NULL;
    size_t bytes = 0;
    IrNames names = { .helpers = v->b->helpers };
    FILE *out = open_memstream(&text, &bytes);
    if (!out) panic("verify: out of memory");
    fprintf(out, "op %u: ", v->i);
    if (v->op && v->op->code < IR_CODE_COUNT) ir_print_op(v->b, v->op, &names, out);
    fprintf(out, ": %s", rule);
    fclose(out);
    char *copy = arena_alloc(v->b->arena, bytes + 1);
    memcpy(copy, text, bytes + 1);
    free(text);
    return copy;
}

const char *ir_verify(const IrBlock *b) {
    Verify v = { .b = b };
    if (!b->count) return verify_message(&v, "the block is empty");
    v.temp_bytes = arena_alloc(b->arena, b->temp_count + 1);
    memset(v.temp_bytes, 0, b->temp_count + 1);
    for (v.i = 0; v.i < b->count; v.i++) {
        v.op = &b->ops[v.i];
        const char *bad = verify_op(&v);
        if (bad) return verify_message(&v, bad);
    }
    if (v.rmw) return verify_message(&v, "rmw load without its store before this");
    if (v.insns != b->insns) return verify_message(&v, "count of instructions is wrong");
    return NULL;
}
