// SPDX-License-Identifier: MIT
// Private to room ir: facts about operands and names that several passes share.
//
// Invariant: printer, parser, verifier, folding and eval ask the same table how many bytes of an
// operand an op reads or writes; no pass has its own idea of it.
#ifndef IR_IR_INT_H
#define IR_IR_INT_H

#include "ir/ir.h"

// ---- operands (operand.c) -----------------------------------------------------------------------
enum { IR_D, IR_A, IR_B, IR_C, IR_OPERANDS };          // ORDER: as in ops.def's `operands` column

enum { IR_WIDTH_SIZE = 0, IR_WIDTH_1 = 1, IR_WIDTH_4 = 4, IR_WIDTH_AUX = 8 };
extern const u8 ir_operand_width[IR_CODE_COUNT][IR_OPERANDS];   // IR_WIDTH_*

// Bytes of operand `which` that the op reads or writes: 1, 2 or 4 in valid IR. A shift count is 1
// (CL).
static inline unsigned ir_operand_bytes(const IrOp *op, unsigned which) {
    unsigned w = ir_operand_width[op->code][which];
    return w == IR_WIDTH_SIZE ? op->size : w == IR_WIDTH_AUX ? op->aux : w;
}

static inline IrRef ir_operand(const IrOp *op, unsigned which) {
    return which == IR_D ? op->d : which == IR_A ? op->a : which == IR_B ? op->b : op->c;
}

static inline void ir_set_operand(IrOp *op, unsigned which, IrRef r) {
    if (which == IR_D) op->d = r;
    else if (which == IR_A) op->a = r;
    else if (which == IR_B) op->b = r;
    else op->c = r;
}

static inline bool ir_has_cc(unsigned code) {
    return code == IR_JCC || code == IR_SEL || code == IR_SETCC;
}
static inline bool ir_is_memory(unsigned code) {
    return code == IR_LOAD || code == IR_STORE || code == IR_PROBE || code == IR_FPULD ||
           code == IR_FPUST || code == IR_SIMDLD || code == IR_SIMDST;
}
// The operand's bytes are in aux.
static inline bool ir_has_memory_bytes(unsigned code) {
    return code == IR_FPULD || code == IR_FPUST || code == IR_SIMDLD || code == IR_SIMDST;
}
// FNSTSW AX: the one x87 op that writes a general register.
static inline bool ir_fpu_writes_ax(const IrOp *op) {
    return op->code == IR_FPU && op->imm == 0xe0df;
}
// Flag bits that an x87 register form (IR_FPU's imm) reads: FCMOVcc.
u16 ir_fpu_flags_read(u32 imm);
// Shift or rotate whose count is CL.
bool ir_is_variable_shift(const IrOp *op);
// The flag bits an op uses by its row, condition, count and helper, given its fdef.
u16 ir_default_fuse(const IrBlock *b, const IrOp *op);

// ---- names (print.c) ----------------------------------------------------------------------------
// Sizes that are printed when they are not this: 0 for ops whose size always matters.
unsigned ir_default_size(unsigned code);
extern const char *const ir_cc_names[16];
extern const char *const ir_seg_names[6];
extern const char *const ir_class_names[4];
extern const char *const ir_reg_names[4][8];          // by 32, 16, low byte, high byte
enum { IR_CLASS_FLAT = 1 };                           // the class that is not printed

// ---- eval's engine room (eval_alu.c, eval_fpu.c) ------------------------------------------------
// Runs an arithmetic op on the host: result of op->size bytes; *flags (OSZAPC) as the host leaves
// them in the bits the op's row defines. Panics for ops that are none.
u32 ir_alu_run(const IrOp *op, u32 a, u32 b, u32 c, u32 *flags);
// MULW, IMULW, DIVW, IDIVW on EAX/EDX. False: #DE, nothing changed.
bool ir_alu_run_wide(const IrOp *op, u32 *regs, u32 a, u32 *flags);
// x87 on the host FPU. Register form: eax and flags as the instruction leaves them. 0, or the trap number
// when a pending exception came instead (these and the next: see ir_host_landing()).
u32 ir_fpu_run(u32 imm, u32 *eax, u32 *flags);
bool ir_fpu_is_pending(void);          // an unmasked exception waits to be reported
// Memory form with `mem` (at least 16 bytes). *stored: no unmasked exception kept it from storing.
u32 ir_fpu_run_memory(u32 imm, void *mem, bool *stored);
// MMX, SSE. `general` is the general register operand, in and out; mem NULL: register form.
u32 ir_simd_run(IrMachine *m, u32 imm, void *mem, u32 *general, u32 *flags);

#endif
