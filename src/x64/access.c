// SPDX-License-Identifier: MIT
// Guest memory from generated code: the flat-table test, and what comes when it fails.
//
// Hot path, linear form (address in a register or [base + index*scale + disp]; segment flat; r13 is the expected
// addend: the access does not wait for the table). An address that is in a register already stays there, a constant
// one becomes a displacement from r13: then loads have a copy of op in the late part, as stores do.
//
//     lea   ea, %r8d
//     test  $size-1, %r8b                   (not for bytes)
//     jne   unfit
//     shrx  %r14d, %r8d, %r9d               r14's low bits are 12 (without BMI2: mov and shr)
//     cmp   %r13, table(%r13,%r9,8)
//   unfit:
//     jne   late
//   resume:
//     op    (%r8,%r13), ...
//
// Form 0 (CPL 3, whose pages are scattered):
//
//     lea   ea, %r8d
//     shrx  %r14d, %r8d, %r9d
//     add   table(%r13,%r9,8), %r8          r8 = host address; negative: not in the table
//     js    late
//     test  $size-1, %r8b
//     jne   late
//   resume:
//     op    (%r8), ...
//
// Few checks ever fail: what comes then is the check's late part, made when it does for the first time (until then
// `late` is a question, X64_ASK_LATE). A stub for this kind, segment, size and class takes the table's entry off again,
// looks whether an unaligned access stays inside its page, else asks C.
//   late:
//     call  slow                            r8 = pointer to the data (RAM or a bounce buffer)
//     jmp   resume                          loads; stores run a copy of op here and call commit
//
// Segment classes: flat nothing; based adds the base; checked compares the offset with the segment's
// end for the size first; real (16-bit addresses, base a multiple of 16): a limit violation implies an
// unaligned access that ends beyond a multiple of 16, so only the unaligned path looks.
#include "x64/emit_int.h"

// Offset of the access into r8d.
static void ac_address(Emit *e, Buf *b, IrRef a) {
    const TempState *t = ir_kind(a) == IR_KIND_TEMP ? &e->temp[ir_index(a)] : NULL;
    if (t && t->kind == TEMP_LAZY) {
        const IrOp *ea = &e->ir->ops[t->def];
        unsigned base = ea->a == IR_NONE ? ENC_NO : st_host_reg(ea->a);
        unsigned index = ea->b == IR_NONE ? ENC_NO : st_host_reg(ea->b);
        if (ea->size == 2 && base != ENC_NO && index == ENC_NO && !ea->imm) {
            enc_rr(b, 0, 0x0fb7, R8, base);                  // movzwl
            return;
        }
        enc_rm(b, 0, 0x8d, R8, rm_sib(base, index, ea->aux, ea->imm));
        if (ea->size == 2) enc_rr(b, 0, 0x0fb7, R8, R8);
        return;
    }
    Opd o = st_read(e, a);
    if (o.is_imm) enc_mov_imm(b, R8, o.imm);
    else enc_rm(b, 0, 0x8b, R8, o.rm);
}

// AH..BH beside a REX prefix are swapped with AL..BL around their instruction: an address must not be there.
static bool ac_is_swapped(const Emit *e, unsigned reg) {
    for (u32 i = e->i; i < e->i + 3 && i < e->ir->count; i++) {
        const IrOp *op = &e->ir->ops[i];
        const IrRef refs[3] = { op->d, op->a, op->b };
        for (unsigned n = 0; n < 3; n++)
            if (ir_is_high(refs[n]) && (st_host_reg(refs[n]) & 3) == reg) return true;
    }
    return false;
}

// Where the linear form needs no r8: the address is in a register, or a constant whose page is known here, with
// nothing to test but the page.
enum { AC_CONSTANT_END = 0x7fffff00 };                       // displacements are signed
static bool ac_is_constant(const Emit *e, const IrOp *op, unsigned bytes) {
    if (!e->linear || op->seg_class != X64_FLAT || !ir_is_const(op->a)) return false;
    u32 at = ir_value(e->ir, op->a);
    return at < AC_CONSTANT_END && (at & ~PAGE_MASK) + bytes <= PAGE_BYTES && !(op->attr & IR_ALIGN16 && at & 15);
}

static unsigned ac_direct_reg(Emit *e, const IrOp *op) {
    bool lazy = ir_kind(op->a) == IR_KIND_TEMP && e->temp[ir_index(op->a)].kind == TEMP_LAZY;
    if (lazy || !e->linear || !e->t->bmi2 || op->seg_class != X64_FLAT) return R8;
    Opd o = st_read(e, op->a);
    return opd_is_reg(o) && !ac_is_swapped(e, o.rm.reg) ? o.rm.reg : R8;
}

static void ac_page_index(Emit *e, Buf *b, unsigned reg) {
    if (e->t->bmi2) { enc_shrx(b, R9, reg, R14); return; }
    enc_rr(b, 0, 0x89, reg, R9);                             // mov %r8d, %r9d
    enc_rm(b, 0, 0xc1, 5, rm_reg(R9));                       // shr $12, %r9d
    enc_u8(b, PAGE_SHIFT);
}

// cmp %r13, table(%r13,%r9,8)       form 0: add table(%r13,%r9,8), reg
static void ac_table(Emit *e, Buf *b, bool write, unsigned reg) {
    u32 table = (u32)(write ? e->t->write_table : e->t->read_table);
    if (e->linear) enc_known(b, 0xcdac394f | (u64)table << 32, 8);
    else enc_rm(b, ENC_W, 0x03, reg, rm_sib(R13, R9, 3, (i32)table));
}

static unsigned ac_class(const IrOp *op) {
    return op->seg_class == X64_REAL && !op->addr16 ? X64_CHECKED : op->seg_class;
}

// `limit`, `crosses`: the late part computes the address again.
typedef struct AcJumps { u8 *limit, *table, *unfit, *resume; unsigned reg; bool constant, crosses; } AcJumps;

// Will this segment's base be added again before a helper may change it?
static bool ac_base_again(const Emit *e, unsigned seg) {
    for (const IrOp *op = &e->ir->ops[e->i + 1], *end = e->ir->ops + e->ir->count; op < end; op++) {
        if (op->code == IR_CALL) return false;
        bool access = ir_info[op->code].props & (IRP_LOAD | IRP_STORE) && op->seg == seg && ac_class(op) != X64_FLAT;
        if (access && !(op->attr & IR_GROUPED) && !(op->code == IR_STORE && op->attr & IR_RMW)) return true;
    }
    return false;
}

// A base that is wanted again goes to r10 and stays there as long as nobody else takes that. This comes before any
// jump of the check, whose late part comes back behind the check.
//     mov base, %r10d
static void ac_want_base(Emit *e, const IrOp *op) {
    if (ac_class(op) == X64_FLAT || e->base_of == op->seg) return;
    if (!(e->reg_free & BIT(R10)) || !ac_base_again(e, op->seg)) return;
    enc_rm(e->b, 0, 0x8b, R10, rm_state(e->t->seg_base[op->seg]));
    e->base_of = op->seg;
}

//     add %r10d, %r8d      or      add base, %r8d
static void ac_add_base(Emit *e, const IrOp *op, unsigned reg) {
    if (ac_class(op) == X64_FLAT) return;
    if (e->base_of == op->seg) enc_rr(e->b, 0, 0x01, R10, reg);
    else enc_rm(e->b, 0, 0x03, reg, rm_state(e->t->seg_base[op->seg]));
}

static void ac_segment(Emit *e, const IrOp *op, unsigned bytes, bool write, AcJumps *j) {
    ac_want_base(e, op);
    if (ac_class(op) == X64_CHECKED) {
        i32 end = (write ? e->t->seg_write_end : e->t->seg_read_end)[op->seg];
        if (bytes > 8 || (bytes & (bytes - 1))) {            // no such column: the slow path decides
            j->limit = enc_jmp32(e->b);
        } else {
            enc_rm(e->b, 0, 0x3b, R8, rm_state(end + 4 * (i32)size_log2(bytes)));
            j->limit = enc_jcc32(e->b, 3);   // jae
        }
    }
    ac_add_base(e, op, R8);
}

static unsigned ac_align_mask(unsigned bytes) {
    return bytes <= 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 3 : bytes == 8 ? 7 : 15;
}

// A jump where a test before the page's has failed, all of them with ZF clear. The linear form has the JNE behind the
// page's test go on from there: two bytes that lead to it do for six.
static u8 *ac_unfit(const Emit *e, Buf *b, unsigned cc) { return e->linear ? enc_jcc8(b, cc) : enc_jcc32(b, cc); }

// 16 bytes without alignment, often misaligned: only a page crossing is slow.
//     mov %r8d, %r9d ; and $0xfff, %r9d ; cmp $0xff0, %r9d ; ja unfit      (r8d or where the address is)
// Others:
//     test $mask, %r8b ; jne unfit
static void ac_test_place(Emit *e, const IrOp *op, unsigned bytes, unsigned mask, AcJumps *j) {
    Buf *b = e->b;
    if (bytes == 16 && !(op->attr & IR_ALIGN16) && ac_class(op) != X64_REAL) {
        enc_rr(b, 0, 0x89, j->reg, R9);
        enc_alu_imm(b, 0, 4, rm_reg(R9), PAGE_BYTES - 1, 4);
        enc_alu_imm(b, 0, 7, rm_reg(R9), PAGE_BYTES - 16, 4);
        j->unfit = ac_unfit(e, b, 7);
        j->crosses = true;
    } else if (mask) {
        enc_test_imm8(b, j->reg, mask);
        j->unfit = ac_unfit(e, b, 5);
    }
}

//     cmp %r13, table+8*page(%r13) ; jne late            of a constant address
static u8 *ac_test_constant(Emit *e, u32 at, bool write) {
    i32 page = (i32)(at >> PAGE_SHIFT);
    enc_rm(e->b, ENC_W, 0x39, R13, rm_mem(R13, (write ? e->t->write_table : e->t->read_table) + 8 * page));
    return enc_jcc32(e->b, 5);
}

// Is the address a multiple of mask + 1, whatever its index is? A table of such elements.
static bool ac_is_aligned(const Emit *e, const IrOp *op, unsigned mask) {
    if (ac_class(op) != X64_FLAT) return false;
    if (ir_is_const(op->a)) return !(ir_value(e->ir, op->a) & mask);
    if (ir_kind(op->a) != IR_KIND_TEMP || e->temp[ir_index(op->a)].kind != TEMP_LAZY) return false;
    const IrOp *ea = &e->ir->ops[e->temp[ir_index(op->a)].def];
    return ea->a == IR_NONE && ea->size == 4 && !((ea->imm | 1u << ea->aux) & mask);
}

// Emits the hot test; the caller's op follows. Linear form: j->reg becomes the index of the access.
static void ac_hot(Emit *e, const IrOp *op, unsigned bytes, bool write, AcJumps *j) {
    Buf *b = e->b;
    unsigned mask = ac_align_mask(bytes);
    if (ac_is_aligned(e, op, mask)) mask = 0;                 // before the address is computed
    if (j->constant) {
        j->table = ac_test_constant(e, ir_value(e->ir, op->a), write);
        return;
    }
    if (j->reg == R8) ac_address(e, b, op->a);
    ac_segment(e, op, bytes, write, j);
    if (e->linear) {
        ac_test_place(e, op, bytes, mask, j);
        ac_page_index(e, b, j->reg);
        ac_table(e, b, write, j->reg);
        if (j->unfit) enc_patch8(j->unfit, b->p);
        j->unfit = NULL;
        j->table = enc_jcc32(b, 5);                          // jne
    } else {
        ac_page_index(e, b, j->reg);
        ac_table(e, b, write, j->reg);
        j->table = enc_jcc32(b, 8);                          // js
        ac_test_place(e, op, bytes, mask, j);
    }
    j->resume = b->p;
}

static void ac_ask(Emit *e, const AcJumps *j) {
    ask_question(e, X64_ASK_LATE);
    ask_jump(e, j->table);
    if (j->limit) ask_jump(e, j->limit);
    if (j->unfit) ask_jump(e, j->unfit);
}

// Emits the late part: the call, with r8 pointing to the data after it.
static void ac_late(Emit *e, const IrOp *op, unsigned bytes, unsigned kind, const AcJumps *j) {
    Buf *c = &e->late;
    unsigned size = op->attr & IR_ALIGN16 ? X64_SIZE_16A : x64_size_index(bytes);
    if (ir_waits_for_fpu(op)) {                              // pending exceptions come before those of the operand
        st_record(e, c, c->p);
        enc_u8(c, 0x9b);                                     // fwait
    }
    if (j->limit || j->crosses) {
        ac_address(e, c, op->a);
        enc_patch32(enc_call32(c), e->t->slow_offset[e->form][kind][op->seg][size]);
    } else {
        if (j->constant) ac_address(e, c, op->a);
        else if (j->reg != R8) enc_rr(c, 0, 0x89, j->reg, R8);
        enc_patch32(enc_call32(c), e->t->slow[e->form][kind][op->seg][size][ac_class(op)]);
    }
    st_record(e, c, c->p - 1);
    if (!ir_sets_fpu_pointers(op)) return;
    enc_rm(c, 0, 0x8b, R9, rm_state(e->t->slow_operand));    // for the data pointer
    enc_rm(c, 0, 0x89, R9, rm_state(e->t->fpu_slow_dp));
}

static void ac_prepare(Emit *e) {
    fl_prepare_clobber(e, true);                             // a fault point observes all flags
    e->f.host = 0;
}

// r13 as index takes no displacement, as base it does; and the other way round where the other is ebp.
static Rm ac_rm(const Emit *e, unsigned reg, i32 offset) {
    if (!e->linear) return rm_mem(reg, offset);
    return offset || reg == RBP ? rm_sib(R13, reg, 0, offset) : rm_sib(reg, R13, 0, 0);
}

// ---- groups: one check for several accesses ----------------------------------------------------------
//     lea   lo, %r11d                       lowest address of the group (plus the segment's base)
//     rorx  $28, %r11d, %r9d                offset in the page, at the top of r9w (without BMI2: mov and ror)
//     cmp   $(0x1000-span)<<4|15, %r9w
//     ja    unfit
//     shrx  %r14d, %r11d, %r9d
//     cmp   %r13, table(%r13,%r9,8)
//   unfit: jne late                         unless the second page is good, too
//   resume:
//     test  $15, %r11b ; jne never          where multiples of 16 are wanted
//   op      offset(%r13,%r11)
// late:   mov $info, %r9d ; call group[write][r11] ; jmp resume          goes on at resume, at the start, or leaves
// never:  a question, X64_ASK_UNGROUP       nothing that C could do: another segment limit, a wrap at 64 KiB
//
// Form 0: ja late ; shrx ; add table(%r13,%r9,8), %r11 ; js late
// late:   lea lo, %r8d ; mov $info, %r9d ; call group_fix ; jmp resume
//
// Form DETOUR
// late:   rorx .. ; cmp .. ; ja fix ; shrx .. ; call group_detour ; je resume
//   fix:  as above
//
// r11 (r10) is the group's. Where the lowest address is a guest register that stays as it is until the last access
// (linear form), that register does, and there is no lea. A constant one whose page is known here becomes displacements
// from r13 (form EXPECTED), as that of a single access does.

// Does the op change guest register r?
static bool gr_writes(const IrOp *op, unsigned r) {
    u16 props = ir_info[op->code].props;
    bool implied = props & IRP_CALL || (props & IRP_WIDE && (r == 0 || r == 2)) || (op->code == IR_FPU && r == 0);
    return implied || (ir_kind(op->d) == IR_KIND_REG && ir_reg(op->d) == r);
}

// Does it use its high byte, and so may move it for a while?
static bool gr_uses_high(const IrOp *op, unsigned r) {
    if (!(op->refs & IR_HIGH * 0x1000100010001u)) return false;
    for (unsigned n = 0; n < 4; n++)
        if (ir_is_high(op->ref[n]) && ir_reg(op->ref[n]) == r) return true;
    return false;
}

static unsigned gr_choose_reg(const Emit *e, const IrOp *op) {
    const IrGroup *g = &e->ir->groups[op->group];
    unsigned own = g->reg ? R10 : R11;
    IrRef base = op->a;
    u32 disp = 0;
    if (e->form != X64_EXPECTED || ac_class(op) != X64_FLAT || op->addr16) return own;
    if (ir_kind(base) == IR_KIND_TEMP) {
        const IrOp *ea = &e->ir->ops[e->temp[ir_index(base)].def];
        if (ea->b != IR_NONE) return own;
        disp = ea->imm;
        base = ea->a;
    }
    if (ir_kind(base) != IR_KIND_REG || disp != op->group_offset) return own;
    for (u32 i = e->i; i < e->ir->count && i <= g->last + 2; i++) {      // two: what is fused with the last one
        const IrOp *at = &e->ir->ops[i];
        if ((i < g->last && gr_writes(at, ir_reg(base))) || gr_uses_high(at, ir_reg(base))) return own;
    }
    return st_host_reg(base);
}

static void gr_claim(Emit *e, const IrOp *op) {
    unsigned reg = gr_choose_reg(e, op);
    e->group_reg[op->group] = (u8)reg;
    if (reg == R10 || reg == R11) st_claim(e, reg);
}

static void gr_address(Emit *e, Buf *b, const IrOp *op, unsigned reg) {
    const IrOp *ea = NULL;
    i32 back = -(i32)op->group_offset;
    if (ir_is_const(op->a)) {
        u32 at = ir_value(e->ir, op->a) + (u32)back;
        enc_mov_imm(b, reg, op->addr16 ? at & 0xffff : at);
    } else {
        if (ir_kind(op->a) == IR_KIND_TEMP) ea = &e->ir->ops[e->temp[ir_index(op->a)].def];
        unsigned base = ea ? (ea->a == IR_NONE ? ENC_NO : st_host_reg(ea->a)) : st_host_reg(op->a);
        unsigned index = ea && ea->b != IR_NONE ? st_host_reg(ea->b) : ENC_NO;
        i32 disp = (ea ? (i32)ea->imm : 0) + back;
        if (disp || index != ENC_NO || base == ENC_NO)
            enc_rm(b, 0, 0x8d, reg, rm_sib(base, index, ea ? ea->aux : 0, disp)), base = reg;
        if (op->addr16) enc_rr(b, 0, 0x0fb7, reg, base);     // movzwl
        else if (base != reg) enc_rr(b, 0, 0x89, base, reg);
    }
}

// A group of 16-bit addresses must not wrap: cmp $-span, reg16 ; ja never
static u8 *gr_wraps(Emit *e, const IrOp *op, unsigned reg) {
    if (!op->addr16) return NULL;
    enc_alu_imm(e->b, ENC_66, 7, rm_reg(reg), 0x10000 - e->ir->groups[op->group].span, 2);
    return enc_jcc32(e->b, 7);
}

// The limit of a checked segment for the whole group, in 64 bits so that nothing wraps:
//     lea span(%r11), %r9 ; mov end, %r8d ; cmp %r8, %r9 ; ja never
static u8 *gr_limit(Emit *e, const IrOp *op, unsigned reg) {
    const IrGroup *g = &e->ir->groups[op->group];
    if (ac_class(op) != X64_CHECKED) return NULL;
    enc_rm(e->b, ENC_W, 0x8d, R9, rm_mem(reg, g->span));
    enc_rm(e->b, 0, 0x8b, R8, rm_state((g->write ? e->t->seg_write_end : e->t->seg_read_end)[op->seg]));
    enc_rr(e->b, ENC_W, 0x39, R8, R9);
    return enc_jcc32(e->b, 7);
}

// Compares the offset in the page, turned to the top of 16 bits, with that of the last place from which `span` bytes
// end in it. Below it are the address's highest bits.
static void gr_compare_end(const Emit *e, Buf *b, unsigned reg, u32 span) {
    enum { ABOVE = 16 - PAGE_SHIFT };
    if (e->t->bmi2) {
        enc_rorx(b, R9, reg, 32 - ABOVE);
    } else {
        enc_rr(b, 0, 0x89, reg, R9);
        enc_rm(b, 0, 0xc1, 1, rm_reg(R9));                   // ror
        enc_u8(b, 32 - ABOVE);
    }
    enc_alu_imm(b, ENC_66, 7, rm_reg(R9), (PAGE_BYTES - span) << ABOVE | (BIT(ABOVE) - 1), 2);
}

// Does [reg, reg + span) go over a page's end? One place that is used again is seldom misaligned: then that is the
// question, where its answer is not the last word.
static u8 *gr_crosses(Emit *e, Buf *b, unsigned reg, u32 span) {
    if (e->linear && (span == 2 || span == 4)) {
        enc_test_imm8(b, reg, span - 1);
        return ac_unfit(e, b, 5);
    }
    gr_compare_end(e, b, reg, span);
    return ac_unfit(e, b, 7);
}

// Is reg + phase a multiple of 16?
static u8 *gr_misaligned(Emit *e, const IrGroup *g, unsigned reg) {
    Buf *b = e->b;
    if (!g->aligned) return NULL;
    if (g->phase) enc_rm(b, 0, 0x8d, R9, rm_mem(reg, g->phase));
    enc_test_imm8(b, g->phase ? R9 : reg, 15);
    return enc_jcc32(b, 5);
}

// What cannot become true by filling the table.
static void gr_never(Emit *e, u8 *const *jumps, unsigned count) {
    bool asked = false;
    for (unsigned n = 0; n < count; n++) {
        if (!jumps[n]) continue;
        if (!asked) ask_question(e, X64_ASK_UNGROUP);
        asked = true;
        ask_jump(e, jumps[n]);
    }
}

// The window does not show the page: fine when the group ends in it.
static void gr_detour(Emit *e, Buf *c, unsigned reg, const IrGroup *g, const u8 *resume) {
    u8 *crosses = NULL;
    if (g->span > 1) {
        gr_compare_end(e, c, reg, g->span);
        crosses = enc_jcc32(c, 7);                           // ja
    }
    ac_page_index(e, c, reg);
    enc_patch32(enc_call32(c), e->t->group_detour[reg == R11][g->write]);
    enc_patch32(enc_jcc32(c, 4), resume);                    // je
    if (crosses) enc_patch32(crosses, c->p);
}

static void gr_late(Emit *e, const IrOp *op, unsigned reg, const u8 *start, const u8 *resume) {
    const IrGroup *g = &e->ir->groups[op->group];
    Buf *c = &e->late;
    if (!e->linear || reg == R13) {
        gr_address(e, c, op, R8);
        if (ac_class(op) != X64_FLAT) enc_rm(c, 0, 0x03, R8, rm_state(e->t->seg_base[op->seg]));
    }
    if (e->form == X64_DETOUR) gr_detour(e, c, reg, g, resume + e->moved);
    enc_mov_imm(c, R9, X64_GROUP_INFO(g->span, resume - start, g->write, e->form));
    enc_patch32(enc_call32(c), e->linear && reg != R13 ? e->t->group[g->write][reg] : e->t->group_fix);
    st_record(e, c, c->p - 1);
    enc_patch32(enc_jmp32(c), resume + e->moved);
}

// All of the group is at constant addresses in one page, and aligned where it has to be.
static bool gr_is_constant(const Emit *e, const IrOp *op, u32 *lo) {
    const IrGroup *g = &e->ir->groups[op->group];
    if (e->form != X64_EXPECTED || ac_class(op) != X64_FLAT || op->addr16 || !ir_is_const(op->a)) return false;
    *lo = ir_value(e->ir, op->a) - op->group_offset;
    if (g->aligned && (*lo + g->phase) & 15) return false;
    return *lo < AC_CONSTANT_END && (*lo & ~PAGE_MASK) + g->span <= PAGE_BYTES;
}

static void gr_check_constant(Emit *e, const IrOp *op, u32 lo) {
    const u8 *start = e->b->p;
    e->group_reg[op->group] = R13;
    e->group_at[op->group] = lo;
    u8 *table = ac_test_constant(e, lo, e->ir->groups[op->group].write);
    ask_question(e, X64_ASK_LATE);
    ask_jump(e, table);
    if (e->late_from) gr_late(e, op, R13, start, e->b->p);
}

static void gr_check(Emit *e, const IrOp *op) {
    const IrGroup *g = &e->ir->groups[op->group];
    Buf *b = e->b;
    u8 *crosses = NULL;
    u32 lo;
    ac_prepare(e);
    if (gr_is_constant(e, op, &lo)) {
        gr_check_constant(e, op, lo);
        return;
    }
    gr_claim(e, op);
    unsigned reg = e->group_reg[op->group];
    ac_want_base(e, op);
    u8 *start = b->p;
    gr_address(e, b, op, reg);
    u8 *wraps = gr_wraps(e, op, reg), *limit = gr_limit(e, op, reg);
    ac_add_base(e, op, reg);
    if (g->span > 1) crosses = gr_crosses(e, b, reg, g->span);
    ac_page_index(e, b, reg);
    ac_table(e, b, g->write, reg);
    ask_question(e, X64_ASK_LATE);
    if (crosses && e->linear) enc_patch8(crosses, b->p);
    else if (crosses) ask_jump(e, crosses);
    ask_jump(e, enc_jcc32(b, e->linear ? 5 : 8));
    if (e->late_from) gr_late(e, op, reg, start, b->p);
    gr_never(e, (u8 *[]){ gr_misaligned(e, g, reg), limit, wraps }, 3);
}

// Is the access in a group? Then its operand, after the group's check where it is the first.
static bool gr_access(Emit *e, const IrOp *op, Rm *rm) {
    if (!(op->attr & (IR_GROUP_FIRST | IR_GROUPED))) return false;
    if (op->attr & IR_GROUP_FIRST) gr_check(e, op);
    unsigned reg = e->group_reg[op->group];
    i32 offset = op->group_offset;
    *rm = reg == R13 ? rm_mem(R13, (i32)e->group_at[op->group] + offset) : ac_rm(e, reg, offset);
    e->late_copy = false;
    return true;
}

// ---- single accesses ---------------------------------------------------------------------------------
static Rm ac_single(Emit *e, const IrOp *op, unsigned bytes, unsigned kind) {
    Rm rm;
    bool load = kind == X64_SLOW_LOAD;
    if (gr_access(e, op, &rm)) return rm;
    AcJumps j = { .constant = ac_is_constant(e, op, bytes), .reg = R8 };
    if (!j.constant) j.reg = ac_direct_reg(e, op);
    ac_prepare(e);
    ac_hot(e, op, bytes, !load, &j);
    ac_ask(e, &j);
    if (e->late_from) ac_late(e, op, bytes, kind, &j);
    e->late_copy = e->late_from && (!load || j.constant || j.reg != R8);
    if (e->late_from && !e->late_copy) enc_patch32(enc_jmp32(&e->late), j.resume + e->moved);
    return j.constant ? rm_mem(R13, (i32)ir_value(e->ir, op->a)) : ac_rm(e, j.reg, 0);
}

Rm ac_load(Emit *e, const IrOp *op, unsigned bytes) { return ac_single(e, op, bytes, X64_SLOW_LOAD); }

Rm ac_store(Emit *e, const IrOp *op, unsigned bytes, bool rmw) {
    return ac_single(e, op, bytes, rmw ? X64_SLOW_RMW : X64_SLOW_STORE);
}

bool ac_late_copy(Emit *e, Rm *rm) {
    if (!e->late_copy) return false;
    e->b = &e->late;
    *rm = ac_rm(e, R8, 0);
    return true;
}

void ac_load_done(Emit *e) {
    e->b = &e->hot;
    enc_patch32(enc_jmp32(&e->late), e->hot.p + e->moved);
}

void ac_store_done(Emit *e) {
    enc_patch32(enc_call32(&e->late), e->t->commit);
    ac_load_done(e);
}
