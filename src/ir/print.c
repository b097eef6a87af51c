// SPDX-License-Identifier: MIT
// The text form of the IR; parse.c reads exactly what is written here. One line per op:
//
//      ---- 0xe4c0                           guest instruction (' ---- ', address)
//      sub.4 -, eax, $0x10    !oszapc        size behind the name; destination first; - is none
//      adc.4 eax, eax, ecx    !oszapc ?c     ! flags defined (absent: none), ? flags used (absent:
//                                            what row, condition and count imply)
//      zext.4.1 eax, bl                      second number: bytes of the source
//      ea.4 t0, ebx, esi*4, $-0x8            base, index*scale, displacement
//      load.4 t1, ds:[t0] rmw                segment; rmw: its store follows
//      store.2 ss.checked:[t2], ax addr16    class of the segment when not flat
//      probe es:[edi], $0x8                  bytes
//      sel.ne.4 eax, ecx, eax ?z             condition before the size
//      ldenv.4 t3, env.eip                   CPU state by name, or env+0x20
//      stenv.4 env.eip, $0xe4d2
//      call t4, in($0x60, $0x1)              result, helper, arguments
//      fpu d8 c1                             bytes of the instruction
//      fpuld.8 dd/0, ds:[t0]                 opcode/digit, bytes of the operand
//      simd -, ecx, f3 0f 2a c0              d, a, bytes of the instruction
//      simdld.16 -, 66 0f c6/1 $0x2, ds:[t0] aligned    d, prefix 0f opcode/reg, imm8
//      simdst.8 66 0f d6/3, ds:[t0]
//      raise $0xd, $0x0                      vector, error code
//      end 0xe4d2 mode=0x1555005 code32      address after the last instruction; mode word
//
// Registers are named by the bytes that the op uses of them. Constants above 0xffff0000 that are no
// jump targets are printed as negative numbers. A field that the op has no place for is printed as
// name=value behind it (also by the verifier, which prints invalid ops). An instruction whose
// length is not the distance to the next mark (or the end) has a line `length N` behind its mark.
// `#` begins a comment. What ir_flags() notes in flive and fobs is not printed: it can be computed
// again.
#include "ir/ir_int.h"

#include <stdarg.h>

enum { PRINT_FLAGS_COLUMN = 39 };

const char *const ir_cc_names[16] = {
    "o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g",
};
const char *const ir_seg_names[6] = { "es", "cs", "ss", "ds", "fs", "gs" };
const char *const ir_class_names[4] = { "checked", "flat", "based", "real" };
const char *const ir_reg_names[4][8] = {
    { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" },
    { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" },
    { "al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil" },
    { "ah", "ch", "dh", "bh", "?h4", "?h5", "?h6", "?h7" },
};

unsigned ir_default_size(unsigned code) {
    switch (code) {
    case IR_INSN: case IR_PROBE: case IR_CALL: case IR_FPU: case IR_FPULD: case IR_FPUST:
    case IR_SIMD: case IR_SIMDLD: case IR_SIMDST:
    case IR_JCC: case IR_JMP: case IR_JMPI: case IR_GUARD: case IR_LEAVE: case IR_LEAVENZ: case IR_RAISE:
    case IR_COUNT:
    case IR_POLL: case IR_CLC: case IR_STC: case IR_CMC:
        return 4;
    case IR_SETCC: return 1;
    default: return 0;
    }
}

// A line under way.
typedef struct Print {
    const IrBlock *b;
    const IrOp *op;
    const IrNames *names;
    FILE *out;
    int column;
    bool first;          // no operand printed yet
} Print;

static void put(Print *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(Print *p, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    p->column += vfprintf(p->out, fmt, args);
    va_end(args);
}

static void put_separator(Print *p) {
    put(p, p->first ? " " : ", ");
    p->first = false;
}

static void put_number(Print *p, u32 v, bool is_signed) {
    if (is_signed && v > 0xffff0000u) put(p, "$-0x%x", -v);
    else put(p, "$0x%x", v);
}

static void put_ref(Print *p, IrRef r, unsigned bytes) {
    switch (ir_kind(r)) {
    case IR_KIND_NONE: put(p, "-"); break;
    case IR_KIND_REG: {
        unsigned form = ir_is_high(r) ? 3 : bytes == 1 ? 2 : bytes == 2 ? 1 : 0;
        put(p, "%s", ir_reg_names[form][ir_reg(r)]);
        break;
    }
    case IR_KIND_TEMP: put(p, "t%u", ir_index(r)); break;
    case IR_KIND_CONST:
        if (ir_index(r) < p->b->const_count) put_number(p, ir_value(p->b, r), true);
        else put(p, "$?%u", ir_index(r));
        break;
    default: put(p, "?%04x", r); break;
    }
}

static void put_operand(Print *p, unsigned which) {
    put_separator(p);
    put_ref(p, ir_operand(p->op, which), ir_operand_bytes(p->op, which));
}

static void put_imm(Print *p, bool is_signed) {
    put_separator(p);
    put_number(p, p->op->imm, is_signed);
}

static void put_address(Print *p) {
    const IrOp *op = p->op;
    put_separator(p);
    put(p, "%s", op->seg < 6 ? ir_seg_names[op->seg] : "?s");
    if (op->seg_class != IR_CLASS_FLAT)
        put(p, ".%s", op->seg_class < 4 ? ir_class_names[op->seg_class] : "?");
    put(p, ":[");
    put_ref(p, op->a, 4);
    put(p, "]");
}

static void put_env(Print *p) {
    const char *name = p->names && p->names->env_name ? p->names->env_name(p->op->imm) : NULL;
    put_separator(p);
    if (name) put(p, "env.%s", name);
    else put(p, "env+0x%x", p->op->imm);
}

static void put_ea(Print *p) {
    const IrOp *op = p->op;
    put_operand(p, IR_D);
    if (op->a != IR_NONE) put_operand(p, IR_A);
    if (op->b != IR_NONE) {
        put_operand(p, IR_B);
        put(p, "*%u", 1u << (op->aux & 31));
    }
    bool ends_in_const = op->b == IR_NONE && (op->a == IR_NONE || ir_is_const(op->a));
    if (op->imm || ends_in_const) put_imm(p, true);
}

static void put_call(Print *p) {
    const IrOp *op = p->op;
    const IrHelpers *h = p->names && p->names->helpers ? p->names->helpers : p->b->helpers;
    if (op->d != IR_NONE) put_operand(p, IR_D);
    put_separator(p);
    if (h && op->imm < h->count) put(p, "%s(", h->row[op->imm].name);
    else put(p, "helper#%u(", op->imm);
    unsigned last = op->c != IR_NONE ? IR_C : op->b != IR_NONE ? IR_B : op->a != IR_NONE ? IR_A : 0;
    for (unsigned which = IR_A; which <= last; which++) {
        if (which > IR_A) put(p, ", ");
        put_ref(p, ir_operand(op, which), 4);
    }
    put(p, ")");
}

// prefix 0f opcode
static void put_simd_opcode(Print *p) {
    u32 imm = p->op->imm;
    put_separator(p);
    if (imm & 0xff) put(p, "%02x ", imm & 0xff);
    put(p, "0f %02x", imm >> 8 & 0xff);
}

static void put_simd(Print *p) {
    u32 imm = p->op->imm;
    put_operand(p, IR_D);
    put_operand(p, IR_A);
    put_simd_opcode(p);
    put(p, " %02x", imm >> 16 & 0xff);
    if (imm >> 24 || ir_simd_has_imm8(imm)) put(p, " $0x%x", imm >> 24);
}

static void put_simd_memory(Print *p) {
    u32 imm = p->op->imm;
    if (p->op->code == IR_SIMDLD) put_operand(p, IR_D);
    put_simd_opcode(p);
    put(p, "/%x", imm >> 19 & 0x1f);
    if (imm >> 24 || ir_simd_has_imm8(imm)) put(p, " $0x%x", imm >> 24);
    put_address(p);
}

static void put_raise(Print *p) {
    put(p, " $0x%x", p->op->imm & 0xff);
    if (p->op->imm & 0x100) put(p, ", $0x%x", p->op->imm >> 16);
}

static bool print_raise_is_plain(u32 imm) {
    return !(imm & 0xfe00) && (imm & 0x100 || !(imm >> 16));
}
static bool print_ea_is_plain(const IrOp *op) { return op->b != IR_NONE ? op->aux < 32 : !op->aux; }

// Operands by the row's `operands` column.
static void put_row_operands(Print *p) {
    const char *row = ir_info[p->op->code].operands;
    for (unsigned which = IR_D; which < IR_OPERANDS; which++)
        if (row[which] != '.') put_operand(p, which);
    if (row[4] == 'i') put_imm(p, false);
}

static void put_operands(Print *p) {
    switch (p->op->code) {
    case IR_EA: put_ea(p); break;
    case IR_LOAD: put_operand(p, IR_D); put_address(p); break;
    case IR_STORE: put_address(p); put_operand(p, IR_B); break;
    case IR_PROBE: put_address(p); put_imm(p, false); break;
    case IR_LDENV: put_operand(p, IR_D); put_env(p); break;
    case IR_STENV: put_env(p); put_operand(p, IR_A); break;
    case IR_CALL: put_call(p); break;
    case IR_FPU: put(p, " %02x %02x", p->op->imm & 0xff, p->op->imm >> 8); break;
    case IR_FPULD: case IR_FPUST:
        put_separator(p);
        put(p, "%02x/%x", p->op->imm & 0xff, p->op->imm >> 8);
        put_address(p);
        break;
    case IR_SIMD: put_simd(p); break;
    case IR_SIMDLD: case IR_SIMDST: put_simd_memory(p); break;
    case IR_RAISE: put_raise(p); break;
    default: put_row_operands(p); break;
    }
}

static void put_name(Print *p) {
    const IrOp *op = p->op;
    put(p, "%s", ir_info[op->code].name);
    if (ir_has_cc(op->code)) {
        if (op->cc < 16) put(p, ".%s", ir_cc_names[op->cc]);
        else put(p, ".?%u", op->cc);
    }
    if (ir_has_memory_bytes(op->code)) put(p, ".%u", op->aux);
    else if (op->size != ir_default_size(op->code)) put(p, ".%u", op->size);
    if (op->code == IR_ZEXT || op->code == IR_SEXT) put(p, ".%u", op->aux);
}

// Fields that this op's form has no place for.
static void put_odd_fields(Print *p) {
    static const char letters[] = "dabc";
    const IrOp *op = p->op;
    const char *row = ir_info[op->code].operands;
    bool has_bytes = ir_has_memory_bytes(op->code), memory = ir_is_memory(op->code);
    bool aux_shown = has_bytes || op->code == IR_ZEXT || op->code == IR_SEXT ||
                     (op->code == IR_EA && print_ea_is_plain(op));
    if (has_bytes && op->size != 4) put(p, " size=%u", op->size);
    if (op->aux && !aux_shown && op->code != IR_INSN) put(p, " aux=%u", op->aux);
    if (op->cc && !ir_has_cc(op->code)) put(p, " cc=%u", op->cc);
    if (memory ? op->seg >= 6 : op->seg) put(p, " seg=%u", op->seg);
    if (memory ? op->seg_class >= 4 : op->seg_class) put(p, " class=%u", op->seg_class);
    if (op->imm && row[4] != 'i') put(p, " imm=0x%x", op->imm);
    if (op->code == IR_RAISE && !print_raise_is_plain(op->imm)) put(p, " imm=0x%x", op->imm);
    for (unsigned which = IR_D; which < IR_OPERANDS; which++) {
        if (row[which] != '.' || ir_operand(op, which) == IR_NONE) continue;
        put(p, " %c=", letters[which]);
        put_ref(p, ir_operand(op, which), 4);
    }
}

static void put_flags(Print *p, char mark, u32 mask) {
    static const struct { char letter; u16 bit; } flags[] = {
        { 'o', FLAG_OF }, { 's', FLAG_SF }, { 'z', FLAG_ZF },
        { 'a', FLAG_AF }, { 'p', FLAG_PF }, { 'c', FLAG_CF },
    };
    int pad = p->column < PRINT_FLAGS_COLUMN ? PRINT_FLAGS_COLUMN - p->column : 1;
    put(p, "%*s%c", pad, "", mark);
    for (unsigned k = 0; k < ARRAY_LEN(flags); k++)
        if (mask & flags[k].bit) put(p, "%c", flags[k].letter);
    if (!(mask & FLAG_OSZAPC)) put(p, "-");
}

void ir_print_op(const IrBlock *b, const IrOp *op, const IrNames *names, FILE *out) {
    Print p = { .b = b, .op = op, .names = names, .out = out, .first = true };
    if (op->code == IR_INSN) {
        put(&p, "---- 0x%x", op->imm);
    } else {
        put_name(&p);
        put_operands(&p);
    }
    if (op->attr & IR_RMW) put(&p, " rmw");
    if (op->attr & IR_ALIGN16) put(&p, " aligned");
    if (op->addr16) put(&p, " addr16");
    put_odd_fields(&p);
    if (op->fdef) put_flags(&p, '!', op->fdef);
    if (op->fuse || ir_default_fuse(b, op)) put_flags(&p, '?', op->fuse);
}

// The length a reader would assume for the mark at index i.
static u32 print_implied_length(const IrBlock *b, u32 i) {
    for (u32 k = i + 1; k < b->count; k++)
        if (b->ops[k].code == IR_INSN) return b->ops[k].imm - b->ops[i].imm;
    return b->end_eip - b->ops[i].imm;
}

static u32 print_first_eip(const IrBlock *b) {
    for (u32 i = 0; i < b->count; i++)
        if (b->ops[i].code == IR_INSN) return b->ops[i].imm;
    return b->end_eip;
}

void ir_print(const IrBlock *b, const IrNames *names, FILE *out) {
    for (u32 i = 0; i < b->count; i++) {
        const IrOp *op = &b->ops[i];
        fputc(' ', out);
        ir_print_op(b, op, names, out);
        fputc('\n', out);
        if (op->code == IR_INSN && print_implied_length(b, i) != op->aux)
            fprintf(out, " length %u\n", op->aux);
    }
    fprintf(out, " end 0x%x", b->end_eip);
    if (b->mode) fprintf(out, " mode=0x%x", b->mode);
    if (b->code32) fprintf(out, " code32");
    if (print_first_eip(b) != b->eip) fprintf(out, " eip=0x%x", b->eip);
    fputc('\n', out);
}
