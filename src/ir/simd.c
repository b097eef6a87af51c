// SPDX-License-Identifier: MIT
// What is to be known of an MMX or SSE instruction from its bytes: see ir.h.
#include "ir/ir_int.h"

static unsigned simd_prefix(u32 imm) { return imm & 0xff; }
static unsigned simd_opcode(u32 imm) { return imm >> 8 & 0xff; }
static bool simd_is_scalar(u32 imm) { return simd_prefix(imm) == 0xf2 || simd_prefix(imm) == 0xf3; }

bool ir_simd_has_imm8(u32 imm) {
    unsigned op = simd_opcode(imm);
    return (op >= 0x70 && op <= 0x73) || op == 0xc2 || (op >= 0xc4 && op <= 0xc6);
}

// Works on MMX registers only.
static bool simd_is_mmx(u32 imm) {
    unsigned op = simd_opcode(imm);
    return simd_prefix(imm) == 0 &&
           ((op >= 0x60 && op <= 0x7f) || op == 0xc4 || op == 0xc5 || op >= 0xd1);
}

bool ir_simd_uses_xmm(u32 imm) { return !simd_is_mmx(imm); }

enum { FLDCW = 0x5d9, FNSTCW = 0x7d9, FNSTSW = 0x7dd };                  // imm of FPULD, FPUST

// CVTPI2PS and CVTPI2PD from memory leave the x87 alone.
bool ir_simd_waits(u32 imm) {
    switch (simd_opcode(imm)) {
    case 0x2c: case 0x2d: return !simd_is_scalar(imm);                   // to MMX registers
    case 0xd6: return simd_is_scalar(imm);                               // MOVQ2DQ, MOVDQ2Q
    default: return simd_is_mmx(imm);
    }
}

bool ir_waits_for_fpu(const IrOp *op) {
    switch (op->code) {
    case IR_FPULD: return true;
    case IR_FPUST: return op->imm != FNSTCW && op->imm != FNSTSW;
    case IR_SIMDLD: case IR_SIMDST: return ir_simd_waits(op->imm);
    default: return false;
    }
}

bool ir_sets_fpu_pointers(const IrOp *op) {
    bool control = op->imm == FLDCW || op->imm == FNSTCW || op->imm == FNSTSW;
    return (op->code == IR_FPULD || op->code == IR_FPUST) && !control;
}

bool ir_simd_may_fault(u32 imm) {
    unsigned op = simd_opcode(imm);
    if (ir_simd_waits(imm)) return true;
    switch (op) {
    case 0x2a: case 0x2c: case 0x2d: case 0x2e: case 0x2f:
    case 0x51: case 0x58: case 0x59: case 0x5a: case 0x5b: case 0x5c: case 0x5d: case 0x5e:
    case 0x5f: case 0x7c: case 0x7d: case 0xc2: case 0xd0: case 0xe6:
        return true;
    default: return false;
    }
}

bool ir_simd_writes_general(u32 imm) {
    switch (simd_opcode(imm)) {
    case 0x2c: case 0x2d: return simd_is_scalar(imm);
    case 0x50: case 0xc5: case 0xd7: return true;
    case 0x7e: return !simd_is_scalar(imm);
    default: return false;
    }
}

bool ir_simd_reads_general(u32 imm) {
    switch (simd_opcode(imm)) {
    case 0x2a: return simd_is_scalar(imm);
    case 0x6e: case 0xc4: return true;
    default: return false;
    }
}

bool ir_simd_general_in_rm(u32 imm) {
    return ir_simd_reads_general(imm) || simd_opcode(imm) == 0x7e;
}

bool ir_simd_sets_flags(u32 imm) { return simd_opcode(imm) == 0x2e || simd_opcode(imm) == 0x2f; }
