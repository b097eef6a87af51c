// SPDX-License-Identifier: MIT
// Reads the text form of the IR: print.c's head describes it.
//
// What a text leaves out: a missing `!` means that no flags are defined; a missing `?` what the
// op's row, condition, count and helper imply; a missing `end` line a last instruction of length 1
// (or what its `length` line says), mode 0.
//
// Every failing function has written the message and gives false; nothing is thrown away but the
// block.
#include "ir/ir_int.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARSE_NAME_BYTES = 40, PARSE_ENV_BYTES = 16384 };

typedef struct Parse {
    IrBlock *b;
    const IrNames *names;
    const char *p, *line_start;
    unsigned line;
    char **err;
    u32 mark;            // index + 1 of the last INSN op
    bool mark_has_length;
    bool fuse_given;
} Parse;

static bool fail(Parse *ps, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(Parse *ps, const char *fmt, ...) {
    char text[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (ps->err && !*ps->err)
        *ps->err = mem_printf("line %u, column %u: %s", ps->line,
                              (unsigned)(ps->p - ps->line_start) + 1, text);
    return false;
}

// ---- tokens -------------------------------------------------------------------------------------
static void skip_blanks(Parse *ps) {
    while (*ps->p == ' ' || *ps->p == '\t' || *ps->p == '\r') ps->p++;
}

static bool at_line_end(Parse *ps) {
    skip_blanks(ps);
    return *ps->p == 0 || *ps->p == '\n' || *ps->p == '#';
}

static bool accept(Parse *ps, char c) {
    skip_blanks(ps);
    if (*ps->p != c) return false;
    ps->p++;
    return true;
}

static bool expect(Parse *ps, char c) {
    return accept(ps, c) || fail(ps, "'%c' expected", c);
}

static bool is_name_char(char c) { return isalnum((unsigned char)c) || c == '_'; }

// Letters, digits, underscores.
static bool take_name(Parse *ps, char name[PARSE_NAME_BYTES]) {
    skip_blanks(ps);
    size_t n = 0;
    while (is_name_char(ps->p[n])) n++;
    if (n == 0 || n >= PARSE_NAME_BYTES) return fail(ps, "name expected");
    memcpy(name, ps->p, n);
    name[n] = 0;
    ps->p += n;
    return true;
}

static int digit_value(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
        : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

static bool take_digits(Parse *ps, int base, u32 *v) {
    u64 sum = 0;
    const char *start = ps->p;
    for (; digit_value(*ps->p) < base; ps->p++) {
        sum = sum * (u64)base + (u64)digit_value(*ps->p);
        if (sum > 0xffffffffu) return fail(ps, "number does not fit in 32 bits");
    }
    if (ps->p == start) return fail(ps, "number expected");
    *v = (u32)sum;
    return true;
}

// [-]0xHEX or [-]DECIMAL
static bool take_number(Parse *ps, u32 *v) {
    skip_blanks(ps);
    bool minus = *ps->p == '-';
    if (minus) ps->p++;
    bool hex = ps->p[0] == '0' && (ps->p[1] == 'x' || ps->p[1] == 'X');
    if (hex) ps->p += 2;
    if (!take_digits(ps, hex ? 16 : 10, v)) return false;
    if (minus) *v = -*v;
    return true;
}

static bool take_hex(Parse *ps, u32 *v) {
    skip_blanks(ps);
    return take_digits(ps, 16, v);
}

static int find_name(const char *name, const char *const *table, int count) {
    for (int i = 0; i < count; i++)
        if (!strcmp(name, table[i])) return i;
    return -1;
}

// ---- operands -----------------------------------------------------------------------------------
static bool parse_register(Parse *ps, const char *name, unsigned bytes, IrRef *r) {
    for (unsigned form = 0; form < 4; form++) {
        int n = find_name(name, ir_reg_names[form], 8);
        if (n < 0) continue;
        unsigned wants = bytes == 1 ? 2 : bytes == 2 ? 1 : 0;
        if (form != 3 && form != wants)
            return fail(ps, "register %s where %u bytes are used", name, bytes);
        *r = form == 3 ? IR_REG_HIGH((unsigned)n) : IR_REG((unsigned)n);
        return true;
    }
    return fail(ps, "no such operand: '%s'", name);
}

static bool parse_temp(Parse *ps, const char *digits, IrRef *r) {
    unsigned long n = strtoul(digits, NULL, 10);
    if (n >= IR_MAX_TEMPS) return fail(ps, "temporary number too large");
    while (ps->b->temp_count <= n) ir_temp(ps->b);
    *r = IR_TEMP(n);
    return true;
}

static bool parse_ref(Parse *ps, unsigned bytes, IrRef *r) {
    char name[PARSE_NAME_BYTES];
    skip_blanks(ps);
    if (*ps->p == '$') {
        u32 v;
        ps->p++;
        if (!take_number(ps, &v)) return false;
        if (ps->b->const_count == IR_MAX_CONSTS) return fail(ps, "too many constants");
        *r = ir_const(ps->b, v);
        return true;
    }
    if (*ps->p == '-') {
        ps->p++;
        *r = IR_NONE;
        return true;
    }
    if (!take_name(ps, name)) return false;
    if (name[0] == 't' && isdigit((unsigned char)name[1])) return parse_temp(ps, name + 1, r);
    return parse_register(ps, name, bytes, r);
}

static bool parse_operand(Parse *ps, IrOp *op, unsigned which) {
    IrRef r;
    if (!parse_ref(ps, ir_operand_bytes(op, which), &r)) return false;
    ir_set_operand(op, which, r);
    return true;
}

static bool parse_imm(Parse *ps, u32 *v) { return expect(ps, '$') && take_number(ps, v); }

// seg[.class]:[ref]
static bool parse_address(Parse *ps, IrOp *op) {
    char name[PARSE_NAME_BYTES];
    if (!take_name(ps, name)) return false;
    int seg = find_name(name, ir_seg_names, 6), class = IR_CLASS_FLAT;
    if (seg < 0) return fail(ps, "segment register expected, not '%s'", name);
    if (accept(ps, '.')) {
        if (!take_name(ps, name)) return false;
        class = find_name(name, ir_class_names, 4);
        if (class < 0) return fail(ps, "no such segment class: '%s'", name);
    }
    op->seg = (u8)seg;
    op->seg_class = (u8)class;
    return expect(ps, ':') && expect(ps, '[') && parse_ref(ps, 4, &op->a) && expect(ps, ']');
}

static bool parse_env(Parse *ps, IrOp *op) {
    char name[PARSE_NAME_BYTES];
    if (!take_name(ps, name)) return false;
    if (strcmp(name, "env")) return fail(ps, "env.NAME or env+OFFSET expected");
    if (accept(ps, '+')) return take_number(ps, &op->imm);
    if (!expect(ps, '.')) return false;
    const char *start = ps->p;
    while (is_name_char(*ps->p) || strchr(".+[]", *ps->p ? *ps->p : ' ')) ps->p++;
    size_t n = (size_t)(ps->p - start);
    for (u32 at = 0; ps->names && ps->names->env_name && at < PARSE_ENV_BYTES; at++) {
        const char *known = ps->names->env_name(at);
        if (!known || strlen(known) != n || memcmp(known, start, n)) continue;
        op->imm = at;
        return true;
    }
    return fail(ps, "no such field of the CPU state");
}

static bool parse_ea(Parse *ps, IrOp *op) {
    if (!parse_operand(ps, op, IR_D)) return false;
    while (accept(ps, ',')) {
        IrRef r;
        skip_blanks(ps);
        const char *start = ps->p;
        if (!parse_ref(ps, op->size, &r)) return false;
        u32 scale;
        if (accept(ps, '*')) {
            if (!take_number(ps, &scale) || !scale || (scale & (scale - 1)))
                return fail(ps, "scale must be a power of two");
            op->b = r;
            op->aux = (u8)__builtin_ctz(scale);
        } else if (*start == '$' && *ps->p != ',') {         // accept() has skipped blanks
            op->imm = ir_value(ps->b, r);
        } else {
            op->a = r;
        }
    }
    return true;
}

static bool parse_helper(Parse *ps, const char *name, IrOp *op) {
    const IrHelpers *h = ps->b->helpers;
    if (!strcmp(name, "helper") && accept(ps, '#')) return take_number(ps, &op->imm);
    for (unsigned i = 0; h && i < h->count; i++) {
        if (strcmp(h->row[i].name, name)) continue;
        op->imm = i;
        return true;
    }
    return fail(ps, "no such helper: '%s'", name);
}

static bool parse_call(Parse *ps, IrOp *op) {
    char name[PARSE_NAME_BYTES];
    skip_blanks(ps);
    const char *end = ps->p;
    while (*end && *end != ',' && *end != '(' && *end != '\n') end++;
    if (*end == ',' && !(parse_operand(ps, op, IR_D) && expect(ps, ','))) return false;
    if (!take_name(ps, name) || !parse_helper(ps, name, op) || !expect(ps, '(')) return false;
    if (accept(ps, ')')) return true;
    for (unsigned which = IR_A; which < IR_OPERANDS; which++) {
        if (!parse_operand(ps, op, which)) return false;
        if (accept(ps, ')')) return true;
        if (!expect(ps, ',')) return false;
    }
    return fail(ps, "a helper has at most three arguments");
}

static bool parse_x87_memory(Parse *ps, IrOp *op) {
    u32 first, digit;
    if (!take_hex(ps, &first) || !expect(ps, '/') || !take_hex(ps, &digit) || !expect(ps, ','))
        return false;
    op->imm = first | digit << 8;
    return parse_address(ps, op);
}

static bool parse_fpu(Parse *ps, IrOp *op) {
    u32 first, second;
    if (!take_hex(ps, &first) || !take_hex(ps, &second)) return false;
    op->imm = first | second << 8;
    return true;
}

// [66|f2|f3] 0f opcode
static bool parse_simd_opcode(Parse *ps, IrOp *op) {
    u32 prefix = 0, escape, opcode;
    if (!take_hex(ps, &escape)) return false;
    if (escape != 0x0f) {
        prefix = escape;
        if (!take_hex(ps, &escape)) return false;
    }
    if (prefix > 0xff || escape != 0x0f) return fail(ps, "[prefix] 0f opcode expected");
    if (!take_hex(ps, &opcode)) return false;
    op->imm = IR_SIMD_IMM(prefix, opcode & 0xff, 0, 0);
    return true;
}

static bool parse_simd_imm8(Parse *ps, IrOp *op) {
    u32 v = 0;
    skip_blanks(ps);
    if (*ps->p == '$' && !parse_imm(ps, &v)) return false;
    op->imm |= v << 24;
    return true;
}

static bool parse_simd(Parse *ps, IrOp *op) {
    u32 modrm;
    if (!parse_operand(ps, op, IR_D) || !expect(ps, ',') || !parse_operand(ps, op, IR_A)) return false;
    if (!expect(ps, ',') || !parse_simd_opcode(ps, op) || !take_hex(ps, &modrm)) return false;
    op->imm |= (modrm & 0xff) << 16;
    return parse_simd_imm8(ps, op);
}

static bool parse_simd_memory(Parse *ps, IrOp *op) {
    u32 reg;
    if (op->code == IR_SIMDLD && !(parse_operand(ps, op, IR_D) && expect(ps, ','))) return false;
    if (!parse_simd_opcode(ps, op) || !expect(ps, '/') || !take_hex(ps, &reg)) return false;
    op->imm |= (reg & 0x1f) << 19;
    return parse_simd_imm8(ps, op) && expect(ps, ',') && parse_address(ps, op);
}

static bool parse_raise(Parse *ps, IrOp *op) {
    u32 error;
    if (!parse_imm(ps, &op->imm)) return false;
    if (!accept(ps, ',')) return true;
    if (!parse_imm(ps, &error)) return false;
    op->imm |= 0x100 | error << 16;
    return true;
}

static bool parse_row_operands(Parse *ps, IrOp *op) {
    const char *row = ir_info[op->code].operands;
    bool first = true;
    for (unsigned which = IR_D; which <= IR_OPERANDS; which++) {
        if (row[which] == '.') continue;
        if (!first && !expect(ps, ',')) return false;
        first = false;
        bool ok = row[which] == 'i' ? parse_imm(ps, &op->imm) : parse_operand(ps, op, which);
        if (!ok) return false;
    }
    return true;
}

static bool parse_operands(Parse *ps, IrOp *op) {
    switch (op->code) {
    case IR_EA: return parse_ea(ps, op);
    case IR_LOAD: return parse_operand(ps, op, IR_D) && expect(ps, ',') && parse_address(ps, op);
    case IR_STORE: return parse_address(ps, op) && expect(ps, ',') && parse_operand(ps, op, IR_B);
    case IR_PROBE: return parse_address(ps, op) && expect(ps, ',') && parse_imm(ps, &op->imm);
    case IR_LDENV: return parse_operand(ps, op, IR_D) && expect(ps, ',') && parse_env(ps, op);
    case IR_STENV: return parse_env(ps, op) && expect(ps, ',') && parse_operand(ps, op, IR_A);
    case IR_CALL: return parse_call(ps, op);
    case IR_FPU: return parse_fpu(ps, op);
    case IR_FPULD: case IR_FPUST: return parse_x87_memory(ps, op);
    case IR_SIMD: return parse_simd(ps, op);
    case IR_SIMDLD: case IR_SIMDST: return parse_simd_memory(ps, op);
    case IR_RAISE: return parse_raise(ps, op);
    default: return parse_row_operands(ps, op);
    }
}

// ---- attributes and flags behind the operands ---------------------------------------------------
static bool parse_flag_set(Parse *ps, u16 *mask) {
    static const char letters[] = "oszapc-";
    static const u16 bits_of[] = { FLAG_OF, FLAG_SF, FLAG_ZF, FLAG_AF, FLAG_PF, FLAG_CF, 0 };
    *mask = 0;
    for (; *ps->p && !isspace((unsigned char)*ps->p); ps->p++) {
        const char *at = strchr(letters, *ps->p);
        if (!at) return fail(ps, "flags are letters of oszapc");
        *mask |= bits_of[at - letters];
    }
    return true;
}

static bool parse_field(Parse *ps, const char *name, IrOp *op) {
    static const char letters[] = "dabc";
    if (!expect(ps, '=')) return false;
    const char *at = name[1] ? NULL : strchr(letters, name[0]);
    if (at) {
        IrRef r;
        if (!parse_ref(ps, 4, &r)) return false;
        ir_set_operand(op, (unsigned)(at - letters), r);
        return true;
    }
    u32 v;
    if (!take_number(ps, &v)) return false;
    if (!strcmp(name, "imm")) op->imm = v;
    else if (v > 255) return fail(ps, "value of %s too large", name);
    else if (!strcmp(name, "size")) op->size = (u8)v;
    else if (!strcmp(name, "aux")) op->aux = (u8)v;
    else if (!strcmp(name, "cc")) op->cc = (u8)v;
    else if (!strcmp(name, "seg")) op->seg = (u8)v;
    else if (!strcmp(name, "class")) op->seg_class = (u8)v;
    else return fail(ps, "no such attribute: '%s'", name);
    return true;
}

static bool parse_attributes(Parse *ps, IrOp *op) {
    char name[PARSE_NAME_BYTES];
    while (!at_line_end(ps)) {
        if (accept(ps, '!')) {
            if (!parse_flag_set(ps, &op->fdef)) return false;
        } else if (accept(ps, '?')) {
            if (!parse_flag_set(ps, &op->fuse)) return false;
            ps->fuse_given = true;
        } else if (!take_name(ps, name)) {
            return false;
        } else if (!strcmp(name, "rmw")) {
            op->attr |= IR_RMW;
        } else if (!strcmp(name, "aligned")) {
            op->attr |= IR_ALIGN16;
        } else if (!strcmp(name, "addr16")) {
            op->addr16 = 1;
        } else if (!parse_field(ps, name, op)) {
            return false;
        }
    }
    return true;
}

// ---- lines --------------------------------------------------------------------------------------
static int find_code(const char *name) {
    for (int i = 0; i < IR_CODE_COUNT; i++)
        if (!strcmp(ir_info[i].name, name)) return i;
    return -1;
}

static bool parse_cc(Parse *ps, const char *name, IrOp *op) {
    static const struct { const char *name; u8 cc; } aliases[] = {
        { "c", 2 }, { "nae", 2 }, { "nc", 3 }, { "nb", 3 }, { "z", 4 }, { "nz", 5 }, { "na", 6 },
        { "nbe", 7 }, { "pe", 10 }, { "po", 11 }, { "nge", 12 }, { "nl", 13 }, { "ng", 14 },
        { "nle", 15 },
    };
    int cc = find_name(name, ir_cc_names, 16);
    for (unsigned k = 0; cc < 0 && k < ARRAY_LEN(aliases); k++)
        if (!strcmp(aliases[k].name, name)) cc = aliases[k].cc;
    if (cc < 0) return fail(ps, "no such condition: '%s'", name);
    op->cc = (u8)cc;
    return true;
}

// The parts behind the name: condition, size (x87 memory: operand bytes), source size.
static bool parse_suffixes(Parse *ps, IrOp *op) {
    char part[PARSE_NAME_BYTES];
    unsigned numbers = 0;
    if (ir_has_cc(op->code) && !(expect(ps, '.') && take_name(ps, part) && parse_cc(ps, part, op)))
        return false;
    while (*ps->p == '.') {
        u32 v;
        ps->p++;
        if (!take_digits(ps, 10, &v)) return false;
        if (v > 255 || numbers > 1) return fail(ps, "bad size");
        if (numbers++ || ir_has_memory_bytes(op->code)) op->aux = (u8)v;
        else op->size = (u8)v;
    }
    if (!numbers && !ir_default_size(op->code)) return fail(ps, "size missing");
    return true;
}

static bool parse_op(Parse *ps, const char *name) {
    int code = find_code(name);
    if (code < 0 || code == IR_INSN) return fail(ps, "no such op: '%s'", name);
    IrOp *op = ir_emit(ps->b, (IrCode)code, 4, IR_NONE, IR_NONE, IR_NONE);
    if (ir_default_size(op->code)) op->size = (u8)ir_default_size(op->code);
    op->fdef = op->fuse = 0;
    ps->fuse_given = false;
    if (!parse_suffixes(ps, op) || !parse_operands(ps, op) || !parse_attributes(ps, op))
        return false;
    if (!ps->fuse_given) op->fuse = ir_default_fuse(ps->b, op);
    return true;
}

// The length of the instruction under way is known now: the next begins (or the block ends) at
// `eip`.
static void parse_close_mark(Parse *ps, u32 eip) {
    if (!ps->mark || ps->mark_has_length) return;
    IrOp *mark = &ps->b->ops[ps->mark - 1];
    u32 length = eip - mark->imm;
    mark->aux = length <= 255 ? (u8)length : 1;
}

static bool parse_mark(Parse *ps) {
    u32 eip;
    ps->p += 4;
    if (!take_number(ps, &eip)) return false;
    parse_close_mark(ps, eip);
    if (!ps->mark) ps->b->eip = eip;
    ir_insn(ps->b, eip, 1);
    ps->mark = ps->b->count;
    ps->mark_has_length = false;
    IrOp *op = &ps->b->ops[ps->mark - 1];
    ps->fuse_given = false;
    return parse_attributes(ps, op);
}

static bool parse_length(Parse *ps) {
    u32 n;
    if (!take_number(ps, &n)) return false;
    if (!ps->mark || n > 255) return fail(ps, "length without an instruction, or too large");
    ps->b->ops[ps->mark - 1].aux = (u8)n;
    ps->b->end_eip = ps->b->ops[ps->mark - 1].imm + n;
    ps->mark_has_length = true;
    return true;
}

static bool parse_end(Parse *ps) {
    char name[PARSE_NAME_BYTES];
    IrBlock *b = ps->b;
    if (!take_number(ps, &b->end_eip)) return false;
    parse_close_mark(ps, b->end_eip);
    if (!ps->mark) b->eip = b->end_eip;
    while (!at_line_end(ps)) {
        if (!take_name(ps, name)) return false;
        if (!strcmp(name, "code32")) {
            b->code32 = true;
            continue;
        }
        u32 *field = !strcmp(name, "mode") ? &b->mode : !strcmp(name, "eip") ? &b->eip : NULL;
        if (!field) return fail(ps, "no such word in an end line: '%s'", name);
        if (!expect(ps, '=') || !take_number(ps, field)) return false;
    }
    return true;
}

static bool parse_line(Parse *ps) {
    char name[PARSE_NAME_BYTES];
    if (at_line_end(ps)) return true;
    if (!strncmp(ps->p, "----", 4)) return parse_mark(ps);
    if (!take_name(ps, name)) return false;
    bool ok = !strcmp(name, "end") ? parse_end(ps)
        : !strcmp(name, "length") ? parse_length(ps) : parse_op(ps, name);
    return ok && (at_line_end(ps) || fail(ps, "end of line expected"));
}

IrBlock *ir_parse(Arena *arena, const char *text, const IrNames *names, char **err) {
    Parse ps = { .names = names, .p = text, .err = err };
    if (err) *err = NULL;
    ps.b = ir_block_new(arena, names ? names->helpers : NULL, 0, 0, false);
    for (ps.line = 1;; ps.line++) {
        ps.line_start = ps.p;
        if (!parse_line(&ps)) return NULL;
        ps.p += strcspn(ps.p, "\n");
        if (!*ps.p) return ps.b;
        ps.p++;
    }
}
