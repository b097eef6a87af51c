// SPDX-License-Identifier: MIT
// How wide operands are, and what flags an op uses: see ir_int.h.
#include "ir/ir_int.h"

#define COUNT_IN_B { 0, 0, IR_WIDTH_1, 0 }
#define COUNT_IN_C { 0, 0, 0, IR_WIDTH_1 }
#define ADDRESS_IN_A { 0, IR_WIDTH_4, 0, 0 }
const u8 ir_operand_width[IR_CODE_COUNT][IR_OPERANDS] = {
    [IR_ZEXT] = { 0, IR_WIDTH_AUX, 0, 0 },
    [IR_SEXT] = { 0, IR_WIDTH_AUX, 0, 0 },
    [IR_EA] = { IR_WIDTH_4, 0, 0, 0 },
    [IR_LOAD] = ADDRESS_IN_A,
    [IR_STORE] = ADDRESS_IN_A,
    [IR_PROBE] = ADDRESS_IN_A,
    [IR_FPULD] = ADDRESS_IN_A,
    [IR_FPUST] = ADDRESS_IN_A,
    [IR_SIMDLD] = ADDRESS_IN_A,
    [IR_SIMDST] = ADDRESS_IN_A,
    [IR_SHL] = COUNT_IN_B, [IR_SHR] = COUNT_IN_B, [IR_SAR] = COUNT_IN_B,
    [IR_ROL] = COUNT_IN_B, [IR_ROR] = COUNT_IN_B, [IR_RCL] = COUNT_IN_B, [IR_RCR] = COUNT_IN_B,
    [IR_SHLD] = COUNT_IN_C, [IR_SHRD] = COUNT_IN_C,
    [IR_SETCC] = { IR_WIDTH_1, 0, 0, 0 },
    [IR_LDENV] = { IR_WIDTH_4, 0, 0, 0 },
    [IR_CALL] = { IR_WIDTH_4, IR_WIDTH_4, IR_WIDTH_4, IR_WIDTH_4 },
    [IR_GUARD] = ADDRESS_IN_A,
    [IR_JMPI] = ADDRESS_IN_A,
};
#undef COUNT_IN_B
#undef COUNT_IN_C
#undef ADDRESS_IN_A

u16 ir_fpu_flags_read(u32 imm) {
    static const u16 by_row[4] = { FLAG_CF, FLAG_ZF, FLAG_CF | FLAG_ZF, FLAG_PF };
    unsigned first = imm & 0xff, second = imm >> 8;
    if ((first != 0xda && first != 0xdb) || second < 0xc0 || second >= 0xe0) return 0;
    return by_row[second >> 3 & 3];
}

bool ir_is_variable_shift(const IrOp *op) {
    if (op->code < IR_SHL || op->code > IR_SHRD) return false;
    return ir_kind(op->code >= IR_SHLD ? op->c : op->b) == IR_KIND_REG;
}

u16 ir_default_fuse(const IrBlock *b, const IrOp *op) {
    u16 use = ir_info[op->code].flags >> 16;
    if (ir_has_cc(op->code)) use |= ir_cc_flags(op->cc);
    if (ir_is_variable_shift(op)) use |= op->fdef;
    if (op->code == IR_FPU) use |= ir_fpu_flags_read(op->imm);
    if (op->code == IR_GETF && op->size == 1) use = FLAG_SZAPC;
    if (op->code == IR_CALL && b->helpers && op->imm < b->helpers->count &&
        (b->helpers->row[op->imm].attr & IR_HELPER_FLAGS_IN))
        use |= FLAG_OSZAPC;
    return use;
}
