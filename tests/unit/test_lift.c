// SPDX-License-Identifier: MIT
// The lifter: every row of i386.def in every kind of mode gives IR that obeys the lifter's rules
// and does to the flags what the row says; shapes that the back end relies on; random bytes.
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc tests/unit/test_lift.c
//       src/lift/*.c src/isa/*.c src/ir/*.[cS] src/base/*.c -lcmocka -o build/test_lift
//       && build/test_lift        (one line)
#define _GNU_SOURCE
#include "fuzz.h"
#include "cpu/model.h"
#include "lift/lift_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// The helper table needs the functions' addresses only.
#define BODY_void
#define BODY_u32 return 0;
#define BODY_u64 return 0;
#define UNUSED_0 (void)cpu;
#define UNUSED_1 UNUSED_0 (void)a;
#define UNUSED_2 UNUSED_1 (void)b;
#define UNUSED_3 UNUSED_2 (void)c;
#define H(name, result, count, attributes) \
    __attribute__((weak)) result cpu_h_##name(HELPER_ARGS_##count) { UNUSED_##count BODY_##result }
#include "cpu/helpers.def"
#undef H

// ---- modes --------------------------------------------------------------------------------------

#define CLASSES(c) ((u32)(c) * 0x555u << 12)
enum {
    M_REAL = MODE_IO_OK | CLASSES(SEG_REAL),
    M_FLAT = MODE_PE | MODE_CODE32 | MODE_STACK32 | MODE_IO_OK | CLASSES(SEG_FLAT),
    M_USER = MODE_PE | MODE_CODE32 | MODE_STACK32 | 3 | CLASSES(SEG_CHECKED),
    M_PM16 = MODE_PE | MODE_IO_OK | CLASSES(SEG_BASED),
    M_MIXED = MODE_PE | MODE_CODE32 | MODE_IO_OK | CLASSES(SEG_FLAT),   // 32-bit code, 16-bit stack
    M_VM86 = MODE_PE | MODE_VM | 3 | CLASSES(SEG_REAL),
    M_NO_FPU = M_FLAT | MODE_FPU_NM | MODE_WAIT_NM,
};
static const u32 modes[] = { M_REAL, M_FLAT, M_USER, M_PM16, M_MIXED, M_VM86, M_NO_FPU };

// ---- one instruction ----------------------------------------------------------------------------

enum { EIP = 0x1000 };

typedef struct Fixture {
    Arena *arena;
    Insn in;
    IrBlock *b;
    bool ended;
    u32 without;               // features that the processor lacks
} Fixture;

// Decodes and lifts; false when the bytes are no instruction (then that was lifted).
static bool fixture_lift(Fixture *f, const u8 *bytes, unsigned count, u32 mode) {
    u8 padded[ISA_MAX_BYTES] = { 0 };
    memcpy(padded, bytes, count < sizeof padded ? count : sizeof padded);
    IsaStatus status = isa_decode(padded, sizeof padded, mode & MODE_CODE32, &f->in);
    arena_reset(f->arena);
    f->b = ir_block_new(f->arena, lift_helpers(), EIP, mode, mode & MODE_CODE32);
    f->b->features = ~f->without;
    if (status != ISA_OK) {
        lift_undefined(f->b, &f->in, EIP, status);
        return false;
    }
    f->ended = lift_insn(f->b, &f->in, EIP);
    if (!f->ended) lift_end(f->b);
    return true;
}

static bool is_raise(const IrBlock *b) { return b->ops[b->count - 1].code == IR_RAISE; }

// ---- the rules of lift_int.h --------------------------------------------------------------------

typedef struct Rules {
    const IrBlock *b;
    const char *broken;
    u8 temp_size[IR_MAX_TEMPS + 1];    // bytes defined
    u32 temp_at[IR_MAX_TEMPS + 1];     // op that defined it
} Rules;

static u16 helper_attr(const Rules *r, const IrOp *op) { return r->b->helpers->row[op->imm].attr; }

static bool rule_can_fault(const Rules *r, const IrOp *op) {
    if (op->code == IR_STORE && op->attr & IR_RMW) return false;
    if (op->code == IR_CALL) return helper_attr(r, op) & IR_HELPER_FAULT;
    return ir_info[op->code].props & IRP_FAULT;
}

static bool rule_changes(const Rules *r, const IrOp *op) {
    if (ir_kind(op->d) == IR_KIND_REG || op->fdef) return true;
    if (op->code == IR_CALL) return helper_attr(r, op) & (IR_HELPER_REGS | IR_HELPER_FLAGS_OUT);
    if (op->code == IR_STENV) return op->imm != offsetof(Cpu, eip);
    return op->code == IR_STORE || ir_info[op->code].props & IRP_WIDE;
}

// Rule 1: nothing faults after a change. (A RMW store changes memory and cannot fault.)
static void rule_order(Rules *r) {
    bool changed = false;
    for (u32 i = 0; i < r->b->count; i++) {
        const IrOp *op = &r->b->ops[i];
        if (op->code == IR_INSN) changed = false;
        if (changed && rule_can_fault(r, op)) r->broken = "fault after a change";
        changed |= rule_changes(r, op);
    }
}

// Rule 2: pairs, same address, no call and no other access between.
static void rule_pairs(Rules *r) {
    const IrOp *load = NULL;
    for (u32 i = 0; i < r->b->count; i++) {
        const IrOp *op = &r->b->ops[i];
        bool access = op->code == IR_LOAD || op->code == IR_STORE || op->code == IR_CALL;
        if (op->code == IR_STORE && op->attr & IR_RMW) {
            if (!load || load->a != op->a || load->size != op->size || load->seg != op->seg
                || load->seg_class != op->seg_class || load->addr16 != op->addr16)
                r->broken = "store.rmw without its load";
            load = NULL;
        } else if (access && load) {
            r->broken = "access inside a read-modify-write";
        }
        if (op->code == IR_LOAD && op->attr & IR_RMW) load = op;
    }
    if (load) r->broken = "load.rmw without its store";
}

// Bytes of an operand that the op looks at.
static unsigned rule_read_size(const IrOp *op) {
    switch (op->code) {
    case IR_ZEXT: case IR_SEXT: return op->aux;
    case IR_EA: case IR_LOAD: return 4;
    default: return op->size;
    }
}

// Rule 5: defined before use, wide enough, not across a call.
static void rule_use(Rules *r, u32 at, IrRef ref, unsigned size) {
    if (ir_kind(ref) != IR_KIND_TEMP) return;
    unsigned t = ir_index(ref);
    if (!r->temp_size[t]) r->broken = "temporary used before it is defined";
    if (r->temp_size[t] < size) r->broken = "undefined upper bits used";
    for (u32 i = r->temp_at[t] + 1; i < at; i++)
        if (r->b->ops[i].code == IR_CALL) r->broken = "temporary lives across a call";
}

static void rule_temps(Rules *r) {
    for (u32 i = 0; i < r->b->count; i++) {
        const IrOp *op = &r->b->ops[i];
        unsigned size = rule_read_size(op);
        rule_use(r, i, op->a, op->code == IR_STORE ? 4 : size);
        rule_use(r, i, op->b, size);
        rule_use(r, i, op->c, size);
        if (ir_kind(op->d) != IR_KIND_TEMP) continue;
        bool whole = op->code == IR_LDENV || op->code == IR_EA;
        r->temp_size[ir_index(op->d)] = whole ? 4 : op->size;
        r->temp_at[ir_index(op->d)] = i;
    }
}

// Rule 4: flags suppressed only where that is allowed.
static void rule_plain(Rules *r) {
    for (u32 i = 0; i < r->b->count; i++) {
        const IrOp *op = &r->b->ops[i];
        if (op->fdef || !(ir_info[op->code].flags & 0xffff)) continue;
        switch (op->code) {
        case IR_ADD: case IR_SUB: case IR_AND: case IR_OR: case IR_XOR:
        case IR_SHL: case IR_SHR: case IR_SAR: break;
        default: r->broken = "flags suppressed";
        }
    }
}

// Memory ops: segment classes as the mode has them, REAL for 16-bit addresses only.
static void rule_segments(Rules *r) {
    for (u32 i = 0; i < r->b->count; i++) {
        const IrOp *op = &r->b->ops[i];
        bool write = op->code == IR_STORE || op->code == IR_FPUST || op->attr & IR_RMW;
        if (!write && op->code != IR_LOAD && op->code != IR_FPULD) continue;
        u32 mode = r->b->mode;
        bool fixed_cs = op->seg == CPU_CS && write && mode & MODE_PE && !(mode & MODE_VM);
        unsigned want = fixed_cs ? SEG_CHECKED : MODE_SEG_CLASS(mode, op->seg);
        if (want == SEG_REAL && !op->addr16) want = SEG_CHECKED;
        if (op->seg_class != want) r->broken = "segment class";
    }
}

// The last op and no other ends the block.
static void rule_end(Rules *r) {
    for (u32 i = 0; i < r->b->count; i++) {
        bool ends = ir_info[r->b->ops[i].code].props & IRP_END;
        if (ends != (i + 1 == r->b->count)) r->broken = "end of the block";
    }
}

static const char *rules_broken(const IrBlock *b) {
    static Rules r;
    memset(&r, 0, sizeof r);
    r.b = b;
    rule_order(&r);
    rule_pairs(&r);
    rule_temps(&r);
    rule_plain(&r);
    rule_segments(&r);
    rule_end(&r);
    return r.broken;
}

// What the row says about flags. Bits defined beyond that must pass through (be used as well).
static const char *flags_broken(const Fixture *f) {
    const IsaRow *row = isa_row(&f->in);
    u16 def = 0, use = 0;
    for (u32 i = 0; i < f->b->count; i++) {
        use |= f->b->ops[i].fuse;
        def |= f->b->ops[i].fdef;
    }
    if (is_raise(f->b)) return def || use ? "raise touches flags" : NULL;
    bool conditional = row->attr & ISA_A_COND;
    bool nothing = conditional && !def;                     // a shift by the constant 0
    if (row->flags_read & ~use && !nothing) return "row reads flags that the IR does not";
    u16 may = row->flags_written | row->flags_undefined | use;
    if (def & ~may) return "IR defines too many flags";
    if (row->flags_written & ~def && !conditional) return "IR defines too few flags";
    return NULL;
}

static void fixture_fail(const Fixture *f, const char *why) {
    char text[128];
    isa_format(&f->in, EIP, ISA_ATT, text, sizeof text);
    fprintf(stderr, "mode %08x, %s (%s): %s\n", f->b->mode, isa_row(&f->in)->id, text, why);
    for (u32 i = 0; i < f->b->count; i++)
        fprintf(stderr, "  %s.%u\n", ir_info[f->b->ops[i].code].name, f->b->ops[i].size);
    fail();
}

static void fixture_check(const Fixture *f) {
    const char *why = rules_broken(f->b);
    if (!why) why = flags_broken(f);
    if (!why) why = ir_verify(f->b);
    if (why) fixture_fail(f, why);
}

// ---- every row, every mode ----------------------------------------------------------------------

typedef struct Coverage { bool lifted[1024], undefined[1024]; } Coverage;

static void cover_one(Fixture *f, Coverage *c, const u8 *bytes, unsigned count, u32 mode) {
    if (!fixture_lift(f, bytes, count, mode)) {
        assert_true(is_raise(f->b));
        assert_null(rules_broken(f->b));
        return;
    }
    fixture_check(f);
    c->lifted[f->in.row] = true;
}

// One opcode with all ModRM bytes; displacement, SIB and immediates are arbitrary but not zero.
static void cover_opcode(Fixture *f, Coverage *c, u8 prefix, bool two, u8 opcode, u32 mode) {
    for (unsigned modrm = 0; modrm < 256; modrm += prefix && modrm % 64 > 8 ? 5 : 1) {
        u8 bytes[16], n = 0;
        if (prefix) bytes[n++] = prefix;
        if (two) bytes[n++] = 0x0f;
        bytes[n++] = opcode;
        bytes[n++] = modrm;
        memcpy(bytes + n, "\x8c\x92\x13\x04\x05\x26\x07\x18", 8);
        cover_one(f, c, bytes, n + 8, mode);
    }
}

static void test_every_row(void **state) {
    static const u8 prefixes[] = { 0, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e };
    Fixture *f = *state;
    Coverage all;
    memset(&all, 0, sizeof all);
    for (unsigned m = 0; m < ARRAY_LEN(modes); m++)
        for (unsigned p = 0; p < ARRAY_LEN(prefixes); p++)
            for (unsigned op = 0; op < 512; op++)
                cover_opcode(f, &all, prefixes[p], op >> 8, op, modes[m]);
    for (unsigned row = 1; row < isa_row_count; row++)
        if (!all.lifted[row]) fail_msg("row %s was never lifted", isa_rows[row].id);
}

// ---- checks before dispatch ---------------------------------------------------------------------

static u32 raised(Fixture *f, const char *bytes, unsigned count, u32 mode) {
    fixture_lift(f, (const u8 *)bytes, count, mode);
    if (!is_raise(f->b)) return ~0u;
    assert_int_equal(f->b->count, 2);
    return f->b->ops[1].imm;
}
#define RAISED(bytes, mode) raised(f, bytes, sizeof(bytes) - 1, mode)
enum { NOT_RAISED = -1, GP0 = VEC_GP | 0x100 };

static void test_privilege(void **state) {
    Fixture *f = *state;
    assert_int_equal(RAISED("\xf4", M_USER), GP0);                   // hlt
    assert_int_equal(RAISED("\xf4", M_VM86), GP0);
    assert_int_equal(RAISED("\xf4", M_FLAT), (u32)NOT_RAISED);
    assert_int_equal(RAISED("\xf4", M_REAL), (u32)NOT_RAISED);
    assert_int_equal(RAISED("\xf4", M_REAL | 3), (u32)NOT_RAISED);   // CPL without PE means nothing
    assert_int_equal(RAISED("\xf4", M_PM16 | 1), GP0);
    assert_int_equal(RAISED("\x0f\x22\xc0", M_USER), GP0);           // mov cr0
    assert_int_equal(RAISED("\x0f\x00\xd0", M_USER), GP0);           // lldt
    assert_int_equal(RAISED("\x0f\x00\xd0", M_VM86), VEC_UD);        // #UD before #GP
    assert_int_equal(RAISED("\x0f\x00\xd0", M_REAL), VEC_UD);
    assert_int_equal(RAISED("\x63\xc0", M_REAL), VEC_UD);            // arpl
    assert_int_equal(RAISED("\x63\xc0", M_PM16), (u32)NOT_RAISED);
}

static void test_fpu_available(void **state) {
    Fixture *f = *state;
    assert_int_equal(RAISED("\xd9\xe8", M_FLAT | MODE_FPU_NM), VEC_NM);          // fld1
    assert_int_equal(RAISED("\xdb\xe0", M_FLAT | MODE_FPU_NM), VEC_NM);          // fneni
    assert_int_equal(RAISED("\xd9\xe8", M_FLAT | MODE_WAIT_NM), (u32)NOT_RAISED);
    assert_int_equal(RAISED("\x9b", M_FLAT | MODE_FPU_NM), (u32)NOT_RAISED);     // fwait
    assert_int_equal(RAISED("\x9b", M_FLAT | MODE_WAIT_NM), VEC_NM);
}

// What a model lacks is #UD; its neighbours stay.
static void test_features(void **state) {
    static const struct { const char *bytes; unsigned count; u32 needs; } insns[] = {
        { "\x0f\xc8", 2, CPU_HAS_I486 }, { "\x0f\xc1\xc1", 3, CPU_HAS_I486 },
        { "\x0f\x01\x38", 3, CPU_HAS_I486 }, { "\x0f\x09", 2, CPU_HAS_I486 },
        { "\x0f\xa2", 2, CPU_HAS_CPUID }, { "\x0f\x31", 2, CPU_HAS_TSC },
        { "\x0f\x32", 2, CPU_HAS_MSR }, { "\x0f\xc7\x08", 3, CPU_HAS_CX8 },
        { "\x0f\x44\xc1", 3, CPU_HAS_CMOV }, { "\xdb\xf1", 2, CPU_HAS_CMOV },
        { "\x0f\x1f\xc0", 3, CPU_HAS_CMOV }, { "\x0f\x34", 2, CPU_HAS_SEP },
        { "\x0f\x77", 2, CPU_HAS_MMX }, { "\x0f\xae\x00", 3, CPU_HAS_FXSR },
        { "\x0f\x58\xc1", 3, CPU_HAS_SSE }, { "\x66\x0f\x58\xc1", 4, CPU_HAS_SSE2 },
    };
    Fixture *f = *state;
    for (unsigned i = 0; i < ARRAY_LEN(insns); i++) {
        f->without = insns[i].needs;
        assert_int_equal(raised(f, insns[i].bytes, insns[i].count, M_FLAT | MODE_SSE), VEC_UD);
        f->without = ~insns[i].needs & ~(u32)(CPU_HAS_FPU | CPU_HAS_SSE);
        assert_int_equal(raised(f, insns[i].bytes, insns[i].count, M_FLAT | MODE_SSE), (u32)NOT_RAISED);
    }
    f->without = CPU_HAS_I486 | CPU_HAS_CMOV | CPU_HAS_CPUID;
    assert_int_equal(RAISED("\x90", M_FLAT), (u32)NOT_RAISED);
    f->without = 0;
}

static void test_no_instruction(void **state) {
    Fixture *f = *state;
    assert_int_equal(RAISED("\x0f\x0b", M_FLAT), VEC_UD);
    assert_int_equal(RAISED("\xf0\x90", M_FLAT), VEC_UD);
    assert_int_equal(RAISED("\x0f\xaa", M_FLAT), VEC_UD);            // rsm
    u8 long_one[16];
    memset(long_one, 0x26, sizeof long_one);
    fixture_lift(f, long_one, sizeof long_one, M_FLAT);
    assert_int_equal(f->b->ops[1].imm, GP0);
    assert_int_not_equal(f->b->ops[0].aux, 0);                       // 0 would mark a removed op
}

// ---- shapes -------------------------------------------------------------------------------------
// A shape is the block's ops after the INSN mark: "add.4 r0,r0,t1 !", registers by number ("h" high
// bytes), constants in hex, segments as "3:" with "!" for what must be checked and "w" for 16-bit
// addresses; "*" aux, "#" imm, "!" at the end: defines flags.

static int shape_ref(const IrBlock *b, IrRef ref, char *out) {
    switch (ir_kind(ref)) {
    case IR_KIND_REG: return sprintf(out, "%s%u", ir_is_high(ref) ? "h" : "r", ir_reg(ref));
    case IR_KIND_TEMP: return sprintf(out, "t%u", ir_index(ref));
    case IR_KIND_CONST: return sprintf(out, "%x", ir_value(b, ref));
    default: return sprintf(out, "_");
    }
}

static int shape_refs(const IrBlock *b, const IrOp *op, char *out) {
    const IrRef refs[4] = { op->d, op->a, op->b, op->c };
    char *p = out;
    unsigned last = 4;
    while (last && refs[last - 1] == IR_NONE) last--;
    for (unsigned i = 0; i < last; i++) {
        *p++ = i ? ',' : ' ';
        p += shape_ref(b, refs[i], p);
    }
    return p - out;
}

static int shape_op(const IrBlock *b, const IrOp *op, char *out) {
    char *p = out;
    u16 props = ir_info[op->code].props;
    p += sprintf(p, "%s.%u", ir_info[op->code].name, op->size);
    if (op->code == IR_CALL) p += sprintf(p, ".%s", b->helpers->row[op->imm].name);
    if (op->attr & IR_RMW) p += sprintf(p, ".rmw");
    if (props & (IRP_LOAD | IRP_STORE))
        p += sprintf(p, " %u%s%s:", op->seg, op->seg_class ? "" : "!", op->addr16 ? "w" : "");
    p += shape_refs(b, op, p);
    if (op->aux) p += sprintf(p, " *%u", op->aux);
    if (op->code == IR_LDENV || op->code == IR_STENV)
        p += sprintf(p, " %s", lift_env_name(op->imm));
    else if (ir_info[op->code].operands[4] == 'i' && op->code != IR_CALL)
        p += sprintf(p, " #%x", op->imm);
    if (op->fdef) p += sprintf(p, " !");
    return p - out;
}

static void shape_is(Fixture *f, const char *bytes, unsigned count, u32 mode,
                     const char *expected) {
    static char text[4096];
    char *p = text;
    assert_true(fixture_lift(f, (const u8 *)bytes, count, mode));
    fixture_check(f);
    assert_int_equal(f->in.length, count);
    for (u32 i = 1; i < f->b->count; i++) {
        if (i > 1) p += sprintf(p, "; ");
        p += shape_op(f->b, &f->b->ops[i], p);
    }
    assert_string_equal(text, expected);
}
#define SHAPE(bytes, mode, expected) shape_is(*state, bytes, sizeof(bytes) - 1, mode, expected)

static void test_shape_alu(void **state) {
    SHAPE("\x01\xd8", M_FLAT, "add.4 r0,r0,r3 !; jmp.4 #1002");
    SHAPE("\x00\xdc", M_FLAT, "add.1 h0,h0,r3 !; jmp.4 #1002");
    SHAPE("\x01\x18", M_FLAT, "load.4.rmw 3: t0,r0; add.4 t1,t0,r3 !; store.4.rmw 3: _,r0,t1; "
                              "jmp.4 #1002");
    SHAPE("\x66\x81\x40\x08\x34\x92", M_FLAT,
          "ea.4 t0,r0 #8; load.2.rmw 3: t1,t0; add.2 t2,t1,9234 !; store.2.rmw 3: _,t0,t2; "
          "jmp.4 #1006");
    SHAPE("\x3b\x45\xfc", M_FLAT, "ea.4 t0,r5 #fffffffc; load.4 2: t1,t0; sub.4 _,r0,t1 !; "
                                  "jmp.4 #1003");
    SHAPE("\x80\x3f\x80", M_REAL, "ea.2 t0,r3 #0; load.1 3w: t1,t0; sub.1 _,t1,80 !; jmp.4 #1003");
    SHAPE("\xff\x4c\x91\x04", M_USER,
          "ea.4 t0,r1,r2 *2 #4; load.4.rmw 3!: t1,t0; dec.4 t2,t1 !; store.4.rmw 3!: _,t0,t2; "
          "jmp.4 #1004");
    SHAPE("\xf7\x30", M_FLAT, "load.4 3: t0,r0; divw.4 _,t0 !; jmp.4 #1002");
    SHAPE("\x6b\x00\xfe", M_FLAT, "load.4 3: t0,r0; imul.4 r0,t0,fffffffe !; jmp.4 #1003");
    SHAPE("\x66\x99", M_FLAT, "sar.2 r2,r0,f; jmp.4 #1002");
    SHAPE("\xd6", M_FLAT, "setcc.1 r0; add.1 r0,r0,ff; jmp.4 #1001");
}

static void test_shape_bits(void **state) {
    SHAPE("\xc1\xe0\x23", M_FLAT, "shl.4 r0,r0,3 !; jmp.4 #1003");
    SHAPE("\xc1\xe0\x20", M_FLAT, "jmp.4 #1003");
    SHAPE("\xc1\x20\x20", M_FLAT, "load.4.rmw 3: t0,r0; store.4.rmw 3: _,r0,t0; jmp.4 #1003");
    SHAPE("\xd3\xe0", M_FLAT, "shl.4 r0,r0,r1 !; jmp.4 #1002");
    SHAPE("\x0f\xa5\xd0", M_FLAT, "shld.4 r0,r0,r2,r1 !; jmp.4 #1003");
    SHAPE("\x0f\xab\x4c\x93\x07", M_FLAT,
          "ea.4 t0,r3,r2 *2 #7; sar.4 t1,r1,5; ea.4 t2,t0,t1 *2 #0; load.4.rmw 3: t3,t2; "
          "bts.4 t4,t3,r1 !; store.4.rmw 3: _,t2,t4; jmp.4 #1005");
    SHAPE("\x66\x0f\xa3\x0d\x10\x00\x00\x00", M_FLAT,
          "sext.4 t0,r1 *2; sar.4 t1,t0,4; ea.4 t2,_,t1 *1 #10; load.2 3: t3,t2; bt.2 _,t3,r1 !; "
          "jmp.4 #1008");
    SHAPE("\x0f\xba\xe1\x25", M_FLAT, "bt.4 _,r1,5 !; jmp.4 #1004");
    SHAPE("\x0f\xbc\xc1", M_FLAT, "bsf.4 r0,r1,r0 !; jmp.4 #1003");
}

static void test_shape_mov(void **state) {
    SHAPE("\x8a\x23", M_FLAT, "load.1 3: h0,r3; jmp.4 #1002");
    SHAPE("\x2e\x89\x03", M_FLAT, "store.4 1!: _,r3,r0; jmp.4 #1003");
    SHAPE("\x2e\x89\x07", M_REAL, "ea.2 t0,r3 #0; store.2 1w: _,t0,r0; jmp.4 #1003");
    SHAPE("\x67\x89\x03", M_REAL, "store.2 3!: _,r3,r0; jmp.4 #1003");
    SHAPE("\x0f\xb6\xc4", M_FLAT, "zext.4 r0,h0 *1; jmp.4 #1003");
    SHAPE("\x8d\x44\x98\x05", M_FLAT, "ea.4 r0,r0,r3 *2 #5; jmp.4 #1004");
    SHAPE("\x67\x8d\x07", M_FLAT, "ea.2 r0,r3 #0; jmp.4 #1003");
    SHAPE("\x66\x8d\x03", M_FLAT, "mov.2 r0,r3; jmp.4 #1003");
    SHAPE("\x87\x0b", M_FLAT, "load.4.rmw 3: t0,r3; store.4.rmw 3: _,r3,r1; mov.4 r1,t0; "
                              "jmp.4 #1002");
    SHAPE("\xd7", M_REAL, "zext.4 t0,r0 *1; ea.2 t1,r3,t0 #0; load.1 3w: r0,t1; jmp.4 #1001");
    SHAPE("\x0f\x44\x03", M_FLAT, "load.4 3: t0,r3; sel.4 r0,t0,r0; jmp.4 #1003");
}

static void test_shape_stack(void **state) {
    SHAPE("\x54", M_FLAT, "ea.4 t0,r4 #fffffffc; store.4 2: _,t0,r4; ea.4 r4,r4 #fffffffc; "
                          "jmp.4 #1001");
    SHAPE("\x50", M_REAL, "ea.2 t0,r4 #fffffffe; store.2 2w: _,t0,r0; add.2 r4,r4,fffe; jmp.4 #1001");
    SHAPE("\x58", M_FLAT, "load.4 2: r0,r4; ea.4 r4,r4 #4; jmp.4 #1001");
    SHAPE("\x5c", M_FLAT, "load.4 2: t0,r4; mov.4 r4,t0; jmp.4 #1001");
    SHAPE("\x66\x5c", M_FLAT, "load.2 2: t0,r4; ea.4 r4,r4 #2; mov.2 r4,t0; jmp.4 #1002");
    SHAPE("\x8f\x04\x24", M_FLAT, "load.4 2: t0,r4; ea.4 t1,r4 #4; store.4 2: _,t1,t0; "
                                  "ea.4 r4,r4 #4; jmp.4 #1003");
    SHAPE("\x8f\x04\x24", M_MIXED,
          "ea.2 t0,r4 #0; load.4 2w: t1,t0; ea.2 t2,r4 #4; and.4 t3,r4,ffff0000; or.4 t4,t3,t2; "
          "store.4 2: _,t4,t1; add.2 r4,r4,4; jmp.4 #1003");
    SHAPE("\xc9", M_FLAT, "load.4 2: t0,r5; ea.4 r4,r5 #4; mov.4 r5,t0; jmp.4 #1001");
    SHAPE("\x9d", M_FLAT, "load.4 2: t0,r4; stenv.4 _,1001 eip; call.4.popf t1,t0,4 !; ea.4 r4,r4 #4; "
                          "ldenv.4 t2 mode; xor.4 t3,t2,55521c; or.4 t4,t1,t3; leavenz.4 _,t4; jmp.4 #1001");
}

static void test_shape_control(void **state) {
    SHAPE("\xe8\x10\x00\x00\x00", M_FLAT,
          "ea.4 t0,r4 #fffffffc; store.4 2: _,t0,1005; ea.4 r4,r4 #fffffffc; jmp.4 #1015");
    SHAPE("\xff\xd4", M_FLAT, "mov.4 t0,r4; ea.4 t1,r4 #fffffffc; store.4 2: _,t1,1002; "
                              "ea.4 r4,r4 #fffffffc; jmpi.4 _,t0");
    SHAPE("\xc2\x08\x00", M_FLAT, "load.4 2: t0,r4; ea.4 r4,r4 #c; jmpi.4 _,t0");
    SHAPE("\xc3", M_REAL, "ea.2 t0,r4 #0; load.2 2w: t1,t0; zext.4 t2,t1 *2; "
                          "add.2 r4,r4,2; jmpi.4 _,t2");
    SHAPE("\xe9\x00\xe0", M_REAL, "jmp.4 #f003");                    // wraps below 64 KiB
    SHAPE("\x66\xe9\x00\xe0\xff\xff", M_REAL, "jmp.4 #fffff006");
    SHAPE("\x74\x02", M_FLAT, "jcc.4 #1004; jmp.4 #1002");
    SHAPE("\xe2\xfe", M_FLAT, "ea.4 r1,r1 #ffffffff; jnz.4 _,r1 #1000; jmp.4 #1002");
    SHAPE("\xe1\x10", M_REAL, "add.2 r1,r1,ffff; zext.4 t0,r1 *2; "
                              "jz.4 _,t0 #1002; jcc.4 #1012; jmp.4 #1002");
    SHAPE("\xff\x6f\x02", M_REAL,
          "ea.2 t0,r3 #2; load.2 3w: t1,t0; zext.4 t2,t1 *2; ea.2 t3,r3 #4; load.2 3w: t4,t3; "
          "zext.4 t5,t4 *2; stenv.4 _,1003 eip; call.4.jmp_far _,t5,t2,2 !; leave.4");
    SHAPE("\xcd\x80", M_FLAT, "stenv.4 _,1002 eip; call.4.int_n _,80 !; leave.4");
}

static void test_shape_string(void **state) {
    SHAPE("\xfd", M_FLAT, "ldenv.4 t0 eflags; or.4 t1,t0,400; stenv.4 _,t1 eflags; stenv.4 _,ffffffff df; "
                          "stenv.4 _,fffffffe df_word; jmp.4 #1001");
    SHAPE("\xa5", M_FLAT, "load.4 3: t0,r6; store.4 0: _,r7,t0; ldenv.4 t1 df; "
                          "ea.4 r6,r6,t1 *2 #0; ea.4 r7,r7,t1 *2 #0; jmp.4 #1001");
    SHAPE("\x26\xac", M_REAL, "ea.2 t0,r6 #0; load.1 0w: r0,t0; ldenv.4 t1 df; add.2 r6,r6,t1; jmp.4 #1002");
    SHAPE("\xa6", M_FLAT, "load.1 0: t0,r7; load.1 3: t1,r6; sub.1 _,t1,t0 !; ldenv.4 t2 df; "
                          "ea.4 r6,r6,t2 #0; ea.4 r7,r7,t2 #0; jmp.4 #1001");
    SHAPE("\xab", M_REAL, "ea.2 t0,r7 #0; store.2 0w: _,t0,r0; ldenv.4 t1 df_word; "
                          "add.2 r7,r7,t1; jmp.4 #1001");
    SHAPE("\x66\xab", M_REAL, "ea.2 t0,r7 #0; store.4 0w: _,t0,r0; ldenv.4 t1 df; "
                              "ea.4 t2,_,t1 *2 #0; add.2 r7,r7,t2; jmp.4 #1002");
    SHAPE("\xf3\xa5", M_FLAT,
          "stenv.4 _,1002 eip; call.4.rep_movs t0,253; xor.4 t1,t0,1; leavenz.4 _,t1; jmp.4 #1002");
    SHAPE("\x67\xf2\xae", M_FLAT,
          "stenv.4 _,1003 eip; call.4.rep_scas t0,383 !; xor.4 t1,t0,1; leavenz.4 _,t1; jmp.4 #1003");
    SHAPE("\xec", M_FLAT, "zext.4 t0,r2 *2; stenv.4 _,1001 eip; call.4.in t1,t0,1; mov.1 r0,t1; "
                          "leave.4");
    SHAPE("\xe7\x80", M_REAL, "zext.4 t0,r0 *2; stenv.4 _,1002 eip; call.4.out _,80,2,t0; leave.4");
}

static void test_shape_fpu(void **state) {
    SHAPE("\xd8\xc1", M_FLAT, "fpu.4 #c1d8; jmp.4 #1002");
    SHAPE("\xdc\x03", M_FLAT, "fpuld.4 3: _,r3 *8 #dc; jmp.4 #1002");
    SHAPE("\xdb\x3b", M_USER, "fpust.4 3!: _,r3 *10 #7db; jmp.4 #1002");
    SHAPE("\xdf\xf1", M_FLAT, "fpu.4 #f1df !; jmp.4 #1002");
    SHAPE("\xd9\x2b", M_FLAT, "fpuld.4 3: _,r3 *2 #5d9; jmp.4 #1002");
    SHAPE("\xdf\xe0", M_FLAT, "fpu.4 #e0df; jmp.4 #1002");
    SHAPE("\x9b", M_FLAT, "fpu.4 #909b; jmp.4 #1001");
    SHAPE("\xdd\x33", M_FLAT, "call.4.fnsave _,r3,13; jmp.4 #1002");
}

// FCMOV's condition and Jcc's use exactly the flags they look at.
static void test_condition_flags(void **state) {
    Fixture *f = *state;
    assert_true(fixture_lift(f, (const u8 *)"\xdb\xd0", 2, M_FLAT));     // fcmovnbe
    assert_int_equal(f->b->ops[1].fuse, FLAG_CF | FLAG_ZF);
    assert_true(fixture_lift(f, (const u8 *)"\x7f\x00", 2, M_FLAT));     // jg
    assert_int_equal(f->b->ops[1].fuse, FLAG_ZF | FLAG_SF | FLAG_OF);
    assert_int_equal(f->b->ops[1].cc, 15);
    assert_true(fixture_lift(f, (const u8 *)"\x0f\xb1\x0b", 3, M_FLAT)); // cmpxchg
    assert_int_equal(f->b->ops[3].cc, 4);
    assert_true(fixture_lift(f, (const u8 *)"\xe0\x00", 2, M_FLAT));     // loopne
    assert_int_equal(f->b->ops[3].cc, 5);
}

// ---- tables -------------------------------------------------------------------------------------

static void test_tables(void **state) {
    (void)state;
    const IrHelpers *h = lift_helpers();
    assert_int_equal(h->count, HELPER_COUNT);
    const IrHelper *in = &h->row[HELPER_in];
    assert_string_equal(in->name, "in");
    assert_int_equal(in->args, 2);
    assert_int_equal(in->result_bytes, 4);
    assert_int_equal(in->attr, IR_HELPER_FAULT);
    assert_ptr_equal(in->fn, (void *)cpu_h_in);
    assert_int_equal(h->row[HELPER_iret].attr, IR_HELPER_FAULT | IR_HELPER_END | IR_HELPER_REGS |
                     IR_HELPER_FLAGS_IN | IR_HELPER_FLAGS_OUT);
    assert_int_equal(h->row[HELPER_sti].result_bytes, 4);
    assert_string_equal(lift_env_name(offsetof(Cpu, seg[CPU_FS].selector)), "fs.selector");
    assert_int_equal(lift_env_offset("df"), offsetof(Cpu, df));
    assert_null(lift_env_name(1));
    assert_int_equal(lift_env_offset("nothing"), ~0u);
}

// ---- random bytes -------------------------------------------------------------------------------

static u64 random_next(u64 *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    return *seed ^= *seed << 17;
}

static void test_random_bytes(void **state) {
    Fixture *f = *state;
    u64 seed = fuzz_state(0x9e3779b97f4a7c15), count = fuzz_count(400000);
    for (u64 i = 0; i < count; i++) {
        u8 bytes[16];
        put_le64(bytes, random_next(&seed));
        put_le64(bytes + 8, random_next(&seed));
        if (fixture_lift(f, bytes, ISA_MAX_BYTES, modes[i % ARRAY_LEN(modes)])) fixture_check(f);
    }
}

// A block of many instructions: stops where lift_insn says so, flags pass runs over it.
static void test_blocks(void **state) {
    Fixture *f = *state;
    u64 seed = fuzz_state(12345), count = fuzz_count(3000);
    for (u64 i = 0; i < count; i++) {
        u32 mode = modes[i % ARRAY_LEN(modes)], eip = EIP;
        arena_reset(f->arena);
        f->b = ir_block_new(f->arena, lift_helpers(), eip, mode, mode & MODE_CODE32);
        bool ended = false;
        for (unsigned n = 0; n < 40 && !ended; n++) {
            u8 bytes[16];
            put_le64(bytes, random_next(&seed));
            put_le64(bytes + 8, random_next(&seed));
            IsaStatus status = isa_decode(bytes, ISA_MAX_BYTES, mode & MODE_CODE32, &f->in);
            if (status != ISA_OK) continue;
            ended = lift_insn(f->b, &f->in, eip);
            eip += f->in.length;
        }
        if (!ended) lift_end(f->b);
        assert_int_equal(f->b->end_eip, eip);
        assert_null(rules_broken(f->b));
        assert_null(ir_verify(f->b));
        ir_flags(f->b);
        assert_null(ir_verify(f->b));
    }
}

static int fixture_setup(void **state) {
    static Fixture f;
    f.arena = arena_new(1 << 16);
    *state = &f;
    return 0;
}

static int fixture_teardown(void **state) {
    arena_free(((Fixture *)*state)->arena);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row),
        cmocka_unit_test(test_privilege),
        cmocka_unit_test(test_fpu_available),
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_no_instruction),
        cmocka_unit_test(test_shape_alu),
        cmocka_unit_test(test_shape_bits),
        cmocka_unit_test(test_shape_mov),
        cmocka_unit_test(test_shape_stack),
        cmocka_unit_test(test_shape_control),
        cmocka_unit_test(test_shape_string),
        cmocka_unit_test(test_shape_fpu),
        cmocka_unit_test(test_condition_flags),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_blocks),
    };
    return cmocka_run_group_tests_name("lift", tests, fixture_setup, fixture_teardown);
}
