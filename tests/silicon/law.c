// SPDX-License-Identifier: MIT
// What the manual leaves open: see law.h. All are faults: the instruction at EIP tells.
#include "law.h"

#include <string.h>

const char *const law_texts[LAW_COUNT] = {
#define X(id, text) [LAW_##id] = text,
    LAWS(X)
#undef X
};

enum { INT3 = 3, GP = 13, MXCSR_MM = 1 << 17 };

static IsaStatus law_decode(const Case *c, const State *s, Insn *in) {
    u32 at = s->eip, bytes = 0;
    bool code32 = true;
    if (s->seg[CPU_CS] & 4) {
        at += area_segments[s->seg[CPU_CS] >> 3].base;
        code32 = area_segments[s->seg[CPU_CS] >> 3].wide;
    }
    u8 code[ISA_MAX_BYTES] = { 0 };
    for (; bytes < ISA_MAX_BYTES && at + bytes - AREA < AREA_BYTES; bytes++) code[bytes] = c->image[at + bytes - AREA];
    return isa_decode(code, ISA_MAX_BYTES, code32, in);
}

static const IsaOperand *law_memory(const Insn *in) {
    for (unsigned i = 0; i < in->operand_count; i++) if (in->op[i].kind == ISA_MEM) return &in->op[i];
    return NULL;
}

static bool wraps(u32 offset, u32 bytes) { return offset + bytes - 1 < offset; }

static bool wraps_around(u32 at) { return wraps(at, 64) || wraps(at - 64, 64); }

// How far the number of a bit leads from a memory operand of BT, BTS, BTR, BTC.
static u32 law_bit_offset(const Insn *in, const State *s) {
    if (isa_row(in)->lifter != ISA_LIFT_BT || in->op[1].kind != ISA_REG) return 0;
    u32 bit = s->regs[in->op[1].reg];
    return in->opsize == 2 ? (u32)((i16)bit >> 4) * 2 : (u32)((i32)bit >> 5) * 4;
}

static bool law_wraps(const Insn *in, const State *s) {
    const IsaRow *row = isa_row(in);
    const IsaOperand *m = law_memory(in);
    if (m && in->addrsize == 4) {
        u32 offset = in->disp + (in->base == ISA_NO_REG ? 0 : s->regs[in->base]);
        if (in->index != ISA_NO_REG) offset += s->regs[in->index] << in->scale;
        offset += law_bit_offset(in, s);
        if (wraps(offset, m->size ? m->size : 1)) return true;
    }
    if (row->attr & ISA_A_STRING)
        return wraps(s->regs[CPU_ESI], in->opsize) || wraps(s->regs[CPU_EDI], in->opsize);
    bool frame = row->lifter == ISA_LIFT_LEAVE || row->lifter == ISA_LIFT_ENTER;
    return !m && (wraps_around(s->regs[CPU_ESP]) || (frame && wraps_around(s->regs[CPU_EBP])));
}

// What the row of a faulting instruction allows to differ (`what` is the difference found first).
static Law law_of_row(const Insn *in, const char *what) {
    const IsaRow *row = isa_row(in);
    bool memory = law_memory(in), vectors = !strcmp(what, "vectors");
    bool stored = !strcmp(what, "memory"), changed = !strcmp(what, "registers");
    switch (row->lifter) {
    case ISA_LIFT_FPU_ENV: return LAW_IMAGE;
    case ISA_LIFT_ENTER: case ISA_LIFT_PUSHA: return stored ? LAW_PUSHED : LAW_NONE;
    case ISA_LIFT_CALL_FAR: return stored ? LAW_PUSHED : memory ? LAW_POINTER : vectors ? LAW_CALL : LAW_NONE;
    case ISA_LIFT_JMP_FAR: case ISA_LIFT_LDS: return memory ? LAW_POINTER : LAW_NONE;
    case ISA_LIFT_RET_FAR: case ISA_LIFT_IRET: return vectors ? LAW_RETURN : LAW_NONE;
    case ISA_LIFT_POPA: return changed ? LAW_POPPED : LAW_NONE;
    case ISA_LIFT_STRING:
        if (row->sub == ISA_SUB_CMPS) return LAW_STRING;
        return row->sub == ISA_SUB_SCAS && !strcmp(what, "flags") ? LAW_STRING : LAW_NONE;
    case ISA_LIFT_CALL: case ISA_LIFT_CALL_IND: return vectors ? LAW_CALL : LAW_NONE;
    case ISA_LIFT_NOP: return in->opcode == 0x0d && !memory ? LAW_PREFETCH : LAW_NONE;
    default: break;
    }
    switch (row->sub) {
    case ISA_SUB_FXSAVE: case ISA_SUB_FXRSTOR: return LAW_IMAGE;
    case ISA_SUB_MASKMOV: return LAW_MASKMOV;
    case ISA_SUB_INT1: return LAW_INT1;
    case ISA_SUB_ARPL: return memory ? LAW_ARPL : LAW_NONE;
    default: return LAW_NONE;
    }
}

static Law law_of_fault(const Case *c, const State *s, const char *what) {
    Insn in;
    if (s->vector == INT3) return LAW_NONE;
    IsaStatus status = law_decode(c, s, &in);
    if (status == ISA_UNDEFINED && in.prefixes & ISA_LOCK && in.opcode == 0) return LAW_LOCK;
    if (isa_row(&in)->lifter == ISA_LIFT_UD) return LAW_UD;
    if (status != ISA_OK) return LAW_NONE;
    Law law = law_of_row(&in, what);
    return !law && law_wraps(&in, s) ? LAW_WRAP : law;
}

// Eval refuses at an LDMXCSR what the host has loaded.
static bool law_is_misalignment_mask(const Case *c, const State *eval, const State *host) {
    Insn in;
    return get_le32(host->fx.byte + FX_MXCSR) & MXCSR_MM && eval->vector == GP && law_decode(c, eval, &in) == ISA_OK &&
           isa_row(&in)->sub == ISA_SUB_LDMXCSR;
}

Law law_of(const Case *c, const State *eval, const State *host, const char *what) {
    Law law = law_of_fault(c, eval, what);
    if (!law && law_is_misalignment_mask(c, eval, host)) law = LAW_MXCSR;
    return law ? law : law_of_fault(c, host, what);
}

const char *law_not_on_host(unsigned r) {
    switch (isa_rows[r].sub) {
    case ISA_SUB_SGDT: case ISA_SUB_SIDT: return "stores the host's own table register";
    case ISA_SUB_SLDT: case ISA_SUB_STR: case ISA_SUB_SMSW:
        return "the host's kernel emulates it (UMIP); tests/metal/sys";
    case ISA_SUB_SYSENTER: return "would enter the host's kernel; tests/metal/sys";
    default: return NULL;
    }
}
