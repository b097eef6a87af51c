// SPDX-License-Identifier: MIT
// Room ir: builder, flag liveness, verifier, text form, eval against the host, folding.
//
//     make test T=unit/test_ir
// Random parts print the seed of the block that fails; irgen_default(seed) makes it again.
#include "fuzz.h"
#include "irgen.h"
#include "ir/ir_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// ---- helpers known to the blocks of these tests -------------------------------------------------
enum { H_PLAIN, H_FAULT, H_END, H_FLAGS, H_REGS, H_COUNT };
static const IrHelper test_helper_rows[H_COUNT] = {
    { "plain", 2, 4, 0, NULL },
    { "fault", 1, 0, IR_HELPER_FAULT, NULL },
    { "enter_mode", 0, 0, IR_HELPER_FAULT | IR_HELPER_END, NULL },
    { "flags", 0, 4, IR_HELPER_FLAGS_IN | IR_HELPER_FLAGS_OUT, NULL },
    { "registers", 3, 0, IR_HELPER_REGS, NULL },
};
static const IrHelpers test_helpers = { test_helper_rows, H_COUNT };

static const char *test_env_name(u32 offset) {
    return offset == 0x20 ? "eip" : offset == 0x40 ? "seg[1].base" : NULL;
}
static const IrNames test_names = { &test_helpers, test_env_name };

// ---- a machine for eval -------------------------------------------------------------------------
enum { WINDOW = 0x20000, WINDOW_BYTES = 256, ENV_BYTES = 64 };

typedef struct TestMachine {
    u32 regs[8], flag_op, flag_a, flag_b, flag_c;
    u8 env[ENV_BYTES];
    u8 memory[WINDOW_BYTES];
    u32 log[64][3];               // helper calls, raises: what, two values
    u32 log_count;
    u32 bad_access;               // accesses outside the window
    u32 refuse;                   // address whose access faults; 0: none
    bool refuse_write_only;
} TestMachine;

static bool test_inside(TestMachine *t, u32 addr, u32 bytes) {
    bool inside = addr >= WINDOW && addr - WINDOW + bytes <= WINDOW_BYTES;
    t->bad_access += !inside;
    return inside && addr != t->refuse;
}

static bool test_load(void *self, const IrOp *op, u32 addr, unsigned bytes, void *to) {
    TestMachine *t = self;
    if (addr == t->refuse && t->refuse_write_only && !(op->attr & IR_RMW)) t->refuse = 0;
    if (!test_inside(t, addr, bytes)) return false;
    memcpy(to, t->memory + (addr - WINDOW), bytes);
    return true;
}

static bool test_store(void *self, const IrOp *op, u32 addr, unsigned bytes, const void *from) {
    TestMachine *t = self;
    (void)op;
    if (!test_inside(t, addr, bytes)) return false;
    memcpy(t->memory + (addr - WINDOW), from, bytes);
    return true;
}

static bool test_probe(void *self, const IrOp *op, u32 addr, u32 bytes) {
    (void)op;
    return test_inside(self, addr, bytes);
}

static bool test_log(TestMachine *t, u32 what, u32 a, u32 b) {
    if (t->log_count < ARRAY_LEN(t->log)) {
        u32 *row = t->log[t->log_count++];
        row[0] = what;
        row[1] = a;
        row[2] = b;
    }
    return true;
}

static bool test_call(void *self, unsigned helper, u32 a, u32 b, u32 c, u64 *result) {
    TestMachine *t = self;
    test_log(t, helper, a, b);
    *result = 0x1234;
    if (helper == H_PLAIN) *result = a + b;
    if (helper == H_FLAGS) {
        *result = flags_compute(t->flag_op, t->flag_a, t->flag_b, t->flag_c);
        t->flag_op = FLAGS_OP(FLAGS_SUB, 2);
        t->flag_a = 1;
        t->flag_b = 2;
    }
    if (helper == H_REGS) t->regs[3] = a + b + c;
    return helper != H_FAULT;
}

static void test_raise(void *self, unsigned vector, bool has_error, u32 error) {
    test_log(self, 0x100 + vector, has_error, error);
}

static void test_machine_reset(TestMachine *t, u64 seed) {
    // machines are compared as bytes
    memset(t, 0, sizeof *t);
    t->flag_op = FLAGS_OP(FLAGS_RAW, 2);
    for (unsigned r = 0; r < 8; r++) t->regs[r] = (u32)irgen_random(&seed);
    t->flag_a = (u32)irgen_random(&seed) & FLAG_OSZAPC;
    for (unsigned k = 0; k < WINDOW_BYTES; k++) t->memory[k] = (u8)irgen_random(&seed);
    for (unsigned k = 0; k < ENV_BYTES; k++) t->env[k] = (u8)irgen_random(&seed);
    __asm__ volatile("fninit");
}

static IrEvalResult test_run(const IrBlock *b, TestMachine *t, u32 max_insns) {
    IrMachine m = { .self = t, .regs = t->regs, .flag_op = &t->flag_op, .flag_a = &t->flag_a,
                    .flag_b = &t->flag_b, .flag_c = &t->flag_c, .env = t->env, .load = test_load,
                    .store = test_store, .probe = test_probe, .call = test_call,
                    .raise = test_raise };
    return ir_eval(b, &m, max_insns);
}

// ---- fixtures -----------------------------------------------------------------------------------
static int setup(void **state) {
    *state = arena_new(1 << 16);
    return 0;
}

static int teardown(void **state) {
    arena_free(*state);
    return 0;
}

static IrBlock *parse(Arena *arena, const char *text) {
    char *err = NULL;
    IrBlock *b = ir_parse(arena, text, &test_names, &err);
    if (!b) fail_msg("%s in:\n%s", err, text);
    return b;
}

static char *print(const IrBlock *b) {
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    ir_print(b, &test_names, out);
    fclose(out);
    return text;
}

static void assert_prints(const IrBlock *b, const char *expected) {
    char *text = print(b);
    assert_string_equal(text, expected);
    free(text);
}

static IrBlock *new_block(Arena *arena) {
    IrBlock *b = ir_block_new(arena, &test_helpers, 0x1000, 0, true);
    ir_insn(b, 0x1000, 1);
    return b;
}

// ---- builder ------------------------------------------------------------------------------------
static void test_builder_consts(void **state) {
    IrBlock *b = new_block(*state);
    for (u32 k = 0; k < 100; k++) assert_int_equal(ir_value(b, ir_const(b, k * 3)), k * 3);
    assert_int_equal(b->const_count, 100);
    assert_int_equal(ir_const(b, 33), ir_const(b, 33));
    assert_int_equal(b->const_count, 100);
}

static void test_builder_ea(void **state) {
    IrBlock *b = new_block(*state);
    u32 ops = b->count;
    assert_int_equal(ir_value(b, ir_ea(b, 2, IR_NONE, IR_NONE, 0, 0x12345)), 0x2345);
    assert_int_equal(ir_value(b, ir_ea(b, 4, IR_NONE, IR_NONE, 0, 0x12345)), 0x12345);
    assert_int_equal(ir_ea(b, 4, IR_REG(5), IR_NONE, 0, 0), IR_REG(5));
    assert_int_equal(b->count, ops);
    assert_int_equal(ir_kind(ir_ea(b, 2, IR_REG(5), IR_NONE, 0, 0)), IR_KIND_TEMP);
    ir_mov(b, 4, IR_REG(1), IR_REG(1));
    assert_int_equal(b->count, ops + 1);
}

static void test_builder_flags(void **state) {
    IrBlock *b = new_block(*state);
    IrRef eax = IR_REG(0), one = ir_const(b, 1), cl = IR_REG(1);
    assert_int_equal(ir_emit(b, IR_ADC, 4, eax, eax, one)->fuse, FLAG_CF);
    assert_int_equal(ir_emit(b, IR_INC, 4, eax, eax, IR_NONE)->fdef, FLAG_OSZAP);
    assert_int_equal(ir_emit(b, IR_SHL, 4, eax, eax, one)->fuse, 0);
    assert_int_equal(ir_emit(b, IR_SHL, 4, eax, eax, cl)->fuse, FLAG_OSZAPC);
    assert_int_equal(ir_emit(b, IR_ROL, 4, eax, eax, cl)->fuse, FLAG_OF | FLAG_CF);
    assert_int_equal(ir_emit3(b, IR_SHLD, 4, eax, eax, eax, cl)->fuse, FLAG_OSZAPC);
    assert_int_equal(ir_emit3(b, IR_SHLD, 4, eax, eax, cl, one)->fuse, 0);
    assert_int_equal(ir_emit(b, IR_SETF, 1, IR_NONE, eax, IR_NONE)->fdef, FLAG_SZAPC);
    assert_int_equal(ir_emit(b, IR_GETF, 1, eax, IR_NONE, IR_NONE)->fuse, FLAG_SZAPC);
    assert_int_equal(ir_call(b, H_FLAGS, IR_NONE, IR_NONE, IR_NONE, IR_NONE)->fuse, FLAG_OSZAPC);
    assert_int_equal(b->ops[b->count - 1].fdef, FLAG_OSZAPC);
    ir_jcc(b, 7, 0x2000);                                           // a
    assert_int_equal(b->ops[b->count - 1].fuse, FLAG_CF | FLAG_ZF);
}

static void test_builder_insns(void **state) {
    IrBlock *b = new_block(*state);
    ir_insn(b, 0x1001, 5);
    ir_raise(b, 13, true, 0x18);
    assert_int_equal(b->insns, 2);
    assert_int_equal(b->end_eip, 0x1006);
    assert_int_equal(b->ops[2].imm, 13 | 0x100 | 0x18 << 16);
}

// ---- flag liveness ------------------------------------------------------------------------------
static void test_flags_dead_definitions(void **state) {
    IrBlock *b = parse(*state,
        " ---- 0x1000\n"
        " sub.4 -, eax, $0x1 !oszapc\n"         // overwritten by add: disappears
        " ---- 0x1001\n"
        " add.4 ecx, ecx, $0x2 !oszapc\n"       // only CF survives the inc
        " ---- 0x1002\n"
        " inc.4 edx, edx !oszap\n"
        " ---- 0x1003\n"
        " jmp $0x2000\n");
    ir_flags(b);
    assert_prints(b,
        " ---- 0x1000\n"
        " ---- 0x1001\n"
        " add.4 ecx, ecx, $0x2                   !c\n"
        " ---- 0x1002\n"
        " inc.4 edx, edx                         !oszap\n"
        " ---- 0x1003\n"
        " jmp $0x2000\n"
        " end 0x1004\n");
    assert_int_equal(b->flags_in, 0);
}

static void test_flags_live_and_observed(void **state) {
    IrBlock *b = parse(*state,
        " ---- 0x1000\n"
        " sub.4 -, eax, $0x1 !oszapc\n"
        " ---- 0x1001\n"
        " load.4 ecx, ds:[ebx]\n"               // a fault sees all flags
        " ---- 0x1002\n"
        " jcc.e $0x2000\n"
        " ---- 0x1003\n"
        " add.4 eax, eax, eax !oszapc\n"
        " jmp $0x3000\n");
    ir_flags(b);
    assert_int_equal(b->ops[1].flive, FLAG_ZF);
    assert_int_equal(b->ops[1].fobs, FLAG_OSZAPC);
    assert_int_equal(b->ops[1].fdef, FLAG_OSZAPC);
    assert_int_equal(b->ops[5].flive, 0);                           // behind the jcc
    assert_int_equal(b->ops[5].fobs, 0);
    assert_int_equal(b->ops[7].fobs, FLAG_OSZAPC);
    assert_int_equal(b->flags_in, 0);
}

static void test_flags_enter(void **state) {
    IrBlock *b = parse(*state,
        " ---- 0x1000\n setcc.b al\n"
        " ---- 0x1001\n add.4 eax, eax, ecx !oszapc\n jmp $0x2000\n");
    ir_flags(b);
    assert_int_equal(b->flags_in, FLAG_CF);
    b = parse(*state,
              " ---- 0x1000\n store.4 ds:[eax], ecx\n add.4 eax, eax, ecx !oszapc\n jmp $0x2000\n");
    ir_flags(b);
    assert_int_equal(b->flags_in, FLAG_OSZAPC);
}

static void test_flags_variable_shift(void **state) {
    IrBlock *b = parse(*state,
        " ---- 0x1000\n sub.4 -, eax, edx !oszapc\n"
        " ---- 0x1001\n shl.4 ebx, ebx, cl !oszapc\n"       // count 0: the flags of sub
        " ---- 0x1002\n jmp $0x2000\n");
    ir_flags(b);
    assert_int_equal(b->ops[1].code, IR_SUB);
    assert_int_equal(b->ops[1].flive, FLAG_OSZAPC);
    assert_int_equal(b->ops[1].fdef, FLAG_OSZAPC);
    b = parse(*state,
        " ---- 0x1000\n sub.4 -, eax, edx !oszapc\n"
        " ---- 0x1001\n shl.4 ebx, ebx, cl !oszapc\n"
        " ---- 0x1002\n sub.4 -, eax, edx !oszapc\n jmp $0x2000\n");
    ir_flags(b);
    assert_int_equal(b->ops[2].code, IR_SHL);                       // result kept, flags not
    assert_int_equal(b->ops[2].fdef | b->ops[2].fuse, 0);
    assert_int_equal(b->ops[1].code, IR_INSN);
}

static void test_flags_rmw_store_observes_nothing(void **state) {
    IrBlock *b = parse(*state,
        " ---- 0x1000\n"
        " load.4 t0, ds:[eax] rmw\n add.4 t1, t0, $0x1 !oszapc\n store.4 ds:[eax], t1 rmw\n"
        " ---- 0x1001\n sub.4 -, eax, edx !oszapc\n jmp $0x2000\n");
    ir_flags(b);
    assert_int_equal(b->ops[2].fdef, 0);
    assert_int_equal(b->flags_in, FLAG_OSZAPC);
}

static void test_flags_helpers(void **state) {
    IrBlock *b = parse(*state,
        " ---- 0x1000\n sub.4 -, eax, edx !oszapc\n"
        " call plain($0x1, $0x2)\n"                         // looks at nothing
        " sub.4 -, eax, edx !oszapc\n"
        " call t0, flags() !oszapc\n"
        " jmp $0x2000\n");
    ir_flags(b);
    assert_int_equal(b->count, 5);
    assert_int_equal(b->ops[2].code, IR_SUB);
    assert_int_equal(b->ops[2].flive, FLAG_OSZAPC);
}

// ---- verifier -----------------------------------------------------------------------------------
typedef struct VerifyCase { const char *text, *message; } VerifyCase;   // message NULL: fine
#define BEGIN " ---- 0x1000\n"
#define DONE "\n jmp $0x2000\n"

static const VerifyCase verify_cases[] = {
    // fine
    { BEGIN " load.4 t0, ds:[eax] rmw\n add.4 t1, t0, ecx !oszapc\n store.4 ds:[eax], t1 rmw" DONE,
      NULL },
    { BEGIN " store.4 ss:[eax], ecx\n ea.4 esp, esp, $-0x4" DONE, NULL },
    { BEGIN " probe ds:[eax], $0x8\n store.4 ds:[eax], ecx\n store.4 ds:[eax], edx" DONE, NULL },
    { " count $0x1\n" BEGIN " mov.4 eax, ecx\n poll $0x1\n ---- 0x1001" DONE, NULL },
    { BEGIN " mov.4 eax, ecx\n stenv.4 env.eip, $0x5\n leave", NULL },
    { BEGIN " stenv.4 env.eip, $0x5\n call fault($0x1)\n leave", NULL },
    { BEGIN " call enter_mode()\n ea.4 esp, esp, $0x4\n leave", NULL },
    { BEGIN " sel.ne.1 ah, bl, ah" DONE, NULL },
    { BEGIN " ea.4 t0, $0x5" DONE, NULL },
    { BEGIN " shl.1 ah, ah, cl !oszapc" DONE, NULL },
    { BEGIN " fpu df f0 !zpc\n fpu da c1" DONE, "may fault after a change" },
    // rule 1
    { BEGIN " add.4 t0, t1, ecx" DONE, "used before it is defined" },
    { BEGIN " mov.1 t0, al\n add.4 eax, eax, t0" DONE, "wider than it is defined" },
    { BEGIN " add.4 -, eax, -" DONE, "operand missing" },
    { BEGIN " mov.4 -, eax" DONE, "destination must be" },
    { BEGIN " mov.4 $0x1, eax" DONE, "destination must be" },
    { BEGIN " mov.1 sil, al" DONE, "no low byte" },
    { BEGIN " mov.4 ah, eax" DONE, "wider than one byte" },
    { BEGIN " load.4 eax, ds:[ah]" DONE, "wider than one byte" },
    { BEGIN " shl.4 eax, eax, dl !oszapc" DONE, "shift count" },
    { BEGIN " shl.4 eax, eax, ch !oszapc" DONE, "shift count" },
    { BEGIN " shl.4 eax, eax, $0x20 !oszapc" DONE, "shift count" },
    { BEGIN " shld.4 eax, eax, ecx, $0x0 !oszapc" DONE, "shift count" },
    { BEGIN " inc.4 eax, eax b=ecx" DONE, "where the op has none" },
    { BEGIN " jmp $0x2000 d=eax", "where the op has none" },
    { BEGIN " imul.1 al, al, bl" DONE, "does not exist in this size" },
    { BEGIN " bswap.2 ax, ax" DONE, "does not exist in this size" },
    { BEGIN " zext.2.2 ax, bx" DONE, "does not exist in this size" },
    { BEGIN " getf.2 ax" DONE, "does not exist in this size" },
    { BEGIN " add.3 eax, eax, ecx" DONE, "does not exist in this size" },
    { BEGIN " ea.4 t0, eax aux=2" DONE, "scale" },
    { BEGIN " ea.4 t0, eax, ecx*16" DONE, "scale" },
    { BEGIN " load.4 eax, ds:[eax] seg=6" DONE, "segment must be" },
    { BEGIN " load.4 eax, ds:[eax] class=4" DONE, "segment class" },
    { BEGIN " mov.4 eax, ecx rmw" DONE, "attribute on an op without memory" },
    { BEGIN " probe ds:[eax], $0x4 rmw" DONE, "only LOAD and STORE" },
    { BEGIN " probe ds:[eax], $0x0" DONE, "probe of no bytes" },
    { BEGIN " fpu d8 07" DONE, "x87 register form" },
    { BEGIN " fpu 0f c8" DONE, "x87 opcodes" },
    { BEGIN " fpuld.8 dd/8, ds:[eax]" DONE, "x87 digit" },
    { BEGIN " fpuld.6 dd/0, ds:[eax]" DONE, "x87 operand" },
    { BEGIN " raise $0x40", "vector" },
    { BEGIN " call plain($0x1)" DONE, "number of arguments" },
    { BEGIN " call plain($0x1, $0x2, $0x3)" DONE, "number of arguments" },
    { BEGIN " call t0, fault($0x1)" DONE, "no result" },
    { BEGIN " call helper#99()" DONE, "no such helper" },
    { BEGIN " call plain($0x1, t0)" DONE, "used before it is defined" },
    // rule 2
    { " mov.4 eax, ecx\n" BEGIN DONE, "before the first instruction mark" },
    { BEGIN " mov.4 eax, ecx", "does not end" },
    { BEGIN " jmp $0x1\n mov.4 eax, ecx" DONE, "ops follow the end" },
    { BEGIN " length 16" DONE, "instruction length" },
    // rule 3
    { BEGIN " rol.4 eax, eax, $0x1 !z" DONE, "does not set" },
    { BEGIN " call plain($0x1, $0x2) !c" DONE, "does not set" },
    { BEGIN " setf.1 ah !oszapc" DONE, "does not set" },
    { BEGIN " adc.4 eax, eax, ecx ?-" DONE, "not declared" },
    { BEGIN " jcc.e $0x1 ?c" DONE, "not declared" },
    { BEGIN " shl.4 eax, eax, cl !oszapc ?-" DONE, "not declared" },
    { BEGIN " fpu da d1 ?c" DONE, "not declared" },
    // rule 4
    { BEGIN " mov.4 eax, ecx\n load.4 edx, ds:[ebx]" DONE, "after a change" },
    { BEGIN " store.4 ds:[eax], ecx\n store.4 ds:[ebx], ecx" DONE, "after a change" },
    { BEGIN " probe es:[eax], $0x8\n store.4 ds:[eax], ecx\n store.4 ds:[ebx], ecx" DONE,
      "after a change" },
    { BEGIN " sub.4 -, eax, ecx !c\n load.4 edx, ds:[ebx]" DONE, "after a change" },
    { BEGIN " mulw.4 ecx\n load.4 edx, ds:[ebx]" DONE, "after a change" },
    { BEGIN " stenv.4 env.eip, $0x5\n load.4 edx, ds:[ebx]\n leave", "after a change" },
    { BEGIN " mov.4 eax, ecx\n call fault($0x1)" DONE, "after a change" },
    { BEGIN " call registers($0x1, $0x2, $0x3)\n divw.4 ecx" DONE, "after a change" },
    { BEGIN " mov.4 eax, ecx\n raise $0x6", "after a change" },
    { BEGIN " mov.4 eax, ecx\n poll $0x1" DONE, "after a change" },
    // rule 5
    { BEGIN " load.4 t0, ds:[eax] rmw" DONE, "without its store" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n ---- 0x1001\n store.4 ds:[eax], t0 rmw" DONE,
      "without its store" },
    { BEGIN " store.4 ds:[eax], ecx rmw" DONE, "without its load" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n store.4 ds:[ecx], t0 rmw" DONE, "differs from its load" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n store.2 ds:[eax], t0 rmw" DONE, "differs from its load" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n mov.1 ah, bl\n store.4 ds:[eax], t0 rmw" DONE,
      "address of a rmw" },
    { BEGIN " load.4 eax, ds:[eax] rmw\n store.4 ds:[eax], ecx rmw" DONE, "address of a rmw" },
    { BEGIN " mov.4 t1, eax\n load.4 t0, ds:[t1] rmw\n mov.4 t1, ecx\n"
            " store.4 ds:[t1], t0 rmw" DONE, "address of a rmw" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n load.4 t1, ds:[ebx] rmw" DONE, "second rmw load" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n store.4 es:[eax], t0 rmw" DONE, "differs from its load" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n fpu df e0\n store.4 ds:[eax], t0 rmw" DONE,
      "address of a rmw" },
    { BEGIN " probe ds:[eax], $0x8\n"
      " ---- 0x1001\n store.4 ds:[eax], ecx\n store.4 ds:[ebx], ecx" DONE, "after a change" },
};

static void test_verify_cases(void **state) {
    for (unsigned k = 0; k < ARRAY_LEN(verify_cases); k++) {
        const VerifyCase *c = &verify_cases[k];
        const char *bad = ir_verify(parse(*state, c->text));
        if (!bad != !c->message || (bad && !strstr(bad, c->message)))
            fail_msg("%s\nexpected: %s\ngot: %s", c->text, c->message ? c->message : "fine",
                     bad ? bad : "fine");
    }
}

static void assert_rejected(const IrBlock *b, const char *message) {
    const char *bad = ir_verify(b);
    if (!bad || !strstr(bad, message))
        fail_msg("expected: %s, got: %s", message, bad ? bad : "fine");
}

// What cannot be written as text.
static void test_verify_broken_blocks(void **state) {
    IrBlock *b = ir_block_new(*state, NULL, 0x1000, 0, true);
    assert_rejected(b, "empty");
    const char *text = " ---- 0x1000\n mov.4 eax, ecx\n jmp $0x2000\n";
    b = parse(*state, text);
    assert_null(ir_verify(b));
    b->ops[1].a = IR_REG(0) | 0x20;
    assert_rejected(b, "bad register reference");
    b->ops[1].a = IR_REG_HIGH(5);
    b->ops[1].size = 1;
    assert_rejected(b, "bad register reference");
    b->ops[1] = (IrOp){ .code = IR_MOV, .size = 4, .d = IR_REG(0), .a = IR_TEMP(7) };
    assert_rejected(b, "temporary does not exist");
    b->ops[1].a = (IrRef)(IR_KIND_CONST << 12 | 7);
    assert_rejected(b, "constant does not exist");
    b->ops[1].a = 0x5000;
    assert_rejected(b, "bad operand reference");
    b->ops[1].code = IR_CODE_COUNT;
    assert_rejected(b, "no such op");
    b = parse(*state, text);
    b->insns = 2;
    assert_rejected(b, "count of instructions");
    b = parse(*state, text);
    b->eip = 0x1001;
    assert_rejected(b, "not at the block's eip");
    b = parse(*state, " ---- 0x1000\n setcc.e al\n jmp $0x2000\n");
    b->ops[1].cc = 16;
    assert_rejected(b, "condition must be");
}

static void test_verify_message(void **state) {
    IrBlock *b = parse(*state, " ---- 0x1000\n add.4 t3, t9, eax\n jmp $0x2000\n");
    assert_string_equal(ir_verify(b),
                        "op 1: add.4 t3, t9, eax: temporary used before it is defined");
}

// ---- text ---------------------------------------------------------------------------------------
// As printed, every op at least once.
static const char text_sample[] =
    " poll $0x3\n"
    " ---- 0xe4c0\n"
    " ea.4 t0, esp, $-0x4\n"
    " ea.2 t1, bx, si*1, $0x8000\n"
    " ea.4 t2, edx*8, $0x12345678\n"
    " ea.4 t2, $0x1234\n"
    " ea.4 t2, $0x5, $0x0\n"
    " ea.4 t2, ebx, t1*4\n"
    " load.1 t3, ss:[t0]\n"
    " ---- 0xe4c3\n"
    " load.4 t4, ds.checked:[t2] rmw\n"
    " adc.4 t5, t4, $-0x80                   !oszapc ?c\n"
    " store.4 ds.checked:[t2], t5 rmw\n"
    " sub.1 -, ah, $0xff                     !sz\n"
    " and.4 ecx, ecx, $0xf\n"
    " load.2 ax, es.real:[t1] addr16\n"
    " probe gs.based:[eax], $0x8\n"
    " ---- 0xe4d2\n"
    " length 7\n"
    " zext.4.1 eax, bl\n"
    " sext.2.1 ax, t3\n"
    " inc.4 eax, eax                         !oszap\n"
    " shl.4 eax, eax, cl                     !oszapc ?oszapc\n"
    " shld.2 ax, bx, cx, $0x3                !c\n"
    " rcl.1 al, al, $0x1                     !oc ?c\n"
    " mulw.4 ecx                             !oszapc\n"
    " bts.4 eax, eax, $0x5                   !c\n"
    " bsf.4 eax, ecx, eax                    !z\n"
    " sel.ne.4 eax, ecx, eax                 ?z\n"
    " setcc.g dh                             ?osz\n"
    " getf.4 eax                             ?oszapc\n"
    " setf.1 ah                              !szapc\n"
    " cmc                                    !c ?c\n"
    " ldenv.2 t6, env.eip\n"
    " ldenv.4 t6, env+0x24\n"
    " stenv.4 env.seg[1].base, $0xe4d2\n"
    " call t7, plain(eax, $0x1)\n"
    " call enter_mode()\n"
    " call flags()                           !oszapc ?oszapc\n"
    " fpu d8 c1\n"
    " fpu da c1                              ?c\n"
    " fpuld.8 dd/0, ds:[t0]\n"
    " fpust.10 db/7, ds.based:[t0] size=2\n"
    " jcc.be $0xe500                         ?zc\n"
    " jz.4 ecx, $0xe4c0\n"
    " raise $0xd, $0x18\n"
    " raise $0x6\n"
    " jmpi eax\n"
    " leave\n"
    " mov.1 sil, $0x1 cc=3 b=edx\n"
    " mov.4 eax, $0x80000001\n"
    " mov.4 eax, $-0xffff\n"
    " jmp $0xfffffff0\n"
    " end 0xe4e0 mode=0x1555005 code32 eip=0xe4be\n";

static void test_text_sample(void **state) {
    IrBlock *b = parse(*state, text_sample);
    assert_prints(b, text_sample);
    assert_int_equal(b->insns, 3);
    assert_int_equal(b->ops[1].aux, 3);
    assert_int_equal(b->ops[9].aux, 15);
    assert_int_equal(b->mode, 0x1555005);
    assert_int_equal(b->eip, 0xe4be);
    assert_int_equal(b->end_eip, 0xe4e0);
}

static void test_text_loose_input(void **state) {
    IrBlock *b = parse(*state,
        "# a comment\n\n----   0x10   # first\n"
        "\tadd.4 eax,eax , $16   !oszapc   # sixteen\r\n"
        "jcc.nz $0x20\njmp $0x30");
    assert_prints(b,
        " ---- 0x10\n add.4 eax, eax, $0x10                  !oszapc\n"
        " jcc.ne $0x20                           ?z\n jmp $0x30\n end 0x11\n");
}

static void test_text_errors(void **state) {
    static const struct { const char *text, *message; } rows[] = {
        { " ---- 0x10\n frob.4 eax\n", "line 2, column 6: no such op: 'frob'" },
        { " mov.4 ax, ecx\n", "register ax where 4 bytes" },
        { " mov.4 eax\n", "',' expected" },
        { " mov eax, ecx\n", "size missing" },
        { " mov.4 eax, ecx ecx\n", "'=' expected" },
        { " jcc.q $0x1\n", "no such condition" },
        { " load.4 eax, eax\n", "segment register expected" },
        { " load.4 eax, ds.odd:[eax]\n", "no such segment class" },
        { " call nothing()\n", "no such helper" },
        { " ldenv.4 eax, env.nothing\n", "no such field" },
        { " add.4 eax, eax, ecx !q\n", "letters of oszapc" },
        { " mov.4 eax, $0x100000000\n", "32 bits" },
        { " mov.4 t5000, eax\n", "temporary number too large" },
        { " ea.4 t0, eax, ecx*3\n", "power of two" },
        { " length 3\n", "length without" },
        { " end 0x10 code16\n", "no such word" },
    };
    for (unsigned k = 0; k < ARRAY_LEN(rows); k++) {
        char *err = NULL;
        assert_null(ir_parse(*state, rows[k].text, &test_names, &err));
        if (!err || !strstr(err, rows[k].message))
            fail_msg("%s: expected %s, got %s", rows[k].text, rows[k].message,
                     err ? err : "nothing");
        free(err);
    }
}

static u32 ref_key(const IrBlock *b, IrRef r) {
    return ir_is_const(r) ? ir_value(b, r) ^ 0x55000000 : r;
}

static bool same_op(const IrBlock *b, const IrOp *x, const IrBlock *c, const IrOp *y) {
    for (unsigned k = 0; k < IR_OPERANDS; k++)
        if (ref_key(b, ir_operand(x, k)) != ref_key(c, ir_operand(y, k))) return false;
    return x->code == y->code && x->size == y->size && x->cc == y->cc && x->aux == y->aux &&
           x->seg == y->seg && x->seg_class == y->seg_class && x->attr == y->attr &&
           x->addr16 == y->addr16 && x->imm == y->imm && x->fdef == y->fdef && x->fuse == y->fuse;
}

enum { RANDOM_BLOCKS = 3000 };

static void test_text_round_trip_random(void **state) {
    u64 first = fuzz_first(), end = first + fuzz_count(RANDOM_BLOCKS);
    for (u64 seed = first; seed < end; seed++) {
        arena_reset(*state);
        IrGen g = irgen_default(seed);
        g.env_bytes = ENV_BYTES;
        g.mode = (u32)seed & 3;
        for (unsigned k = 0; k < 6; k++) g.seg_class[k] = (u8)(seed >> k & 3);
        g.window = 0x2000;
        IrBlock *b = irgen_block(*state, &g);
        if (seed & 1) ir_flags(b);
        char *text = print(b), *again;
        IrBlock *c = parse(*state, text);
        assert_int_equal(b->count, c->count);
        for (u32 i = 0; i < b->count; i++)
            if (!same_op(b, &b->ops[i], c, &c->ops[i]))
                fail_msg("seed %u, op %u:\n%s", (u32)seed, i, text);
        assert_true(b->insns == c->insns && b->eip == c->eip && b->end_eip == c->end_eip &&
                    b->mode == c->mode && b->code32 == c->code32);
        again = print(c);
        assert_string_equal(text, again);
        free(text);
        free(again);
    }
}

static void test_random_blocks_verify(void **state) {
    u64 first = fuzz_first(), end = first + fuzz_count(RANDOM_BLOCKS);
    for (u64 seed = first; seed < end; seed++) {
        arena_reset(*state);
        IrGen g = irgen_default(seed);
        g.env_bytes = ENV_BYTES;
        g.wild = seed & 1;
        g.same_flags = seed & 2;
        IrBlock *b = irgen_block(*state, &g);
        const char *bad = ir_verify(b);
        if (bad) fail_msg("seed %u: %s", (u32)seed, bad);
        ir_fold(b);
        if ((bad = ir_verify(b)))
            fail_msg("seed %u after folding: %s\n%s", (u32)seed, bad, print(b));
        ir_flags(b);
        if ((bad = ir_verify(b))) fail_msg("seed %u after flags: %s\n%s", (u32)seed, bad, print(b));
    }
}

// ---- eval: arithmetic against formulas written down here ----------------------------------------
static const u32 corners[] = {
    0, 1, 2, 3, 0x7e, 0x7f, 0x80, 0x81, 0xfe, 0xff, 0x100, 0x7fff, 0x8000, 0xfffe, 0xffff, 0x10000,
    0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff, 0x12345678, 0xdeadbeef,
};

typedef struct Alu { u32 result, flags; } Alu;

// eax = code(ebx, ecx) with these flags before.
static Alu run_alu(Arena *arena, IrCode code, unsigned size, u32 a, u32 x, u32 flags) {
    IrBlock *b = ir_block_new(arena, NULL, 0x1000, 0, true);
    ir_insn(b, 0x1000, 1);
    bool unary = ir_info[code].operands[2] == '.';
    ir_emit(b, code, size, ir_info[code].operands[0] == '.' ? IR_NONE : IR_REG(0), IR_REG(3),
            unary ? IR_NONE : IR_REG(1));
    ir_jmp(b, 0x2000);
    TestMachine t = { .flag_op = FLAGS_OP(FLAGS_RAW, 2), .flag_a = flags };
    t.regs[3] = a;
    t.regs[1] = x;
    test_run(b, &t, 10);
    assert_int_equal(t.flag_op >> 2, FLAGS_RAW);
    return (Alu){ trunc_size(t.regs[0], size), t.flag_a };
}

static u32 expected_result(IrCode code, u32 a, u32 x, u32 carry) {
    switch (code) {
    case IR_ADD: return a + x;
    case IR_ADC: return a + x + carry;
    case IR_SUB: return a - x;
    case IR_SBB: return a - x - carry;
    case IR_AND: return a & x;
    case IR_OR: return a | x;
    case IR_XOR: return a ^ x;
    case IR_INC: return a + 1;
    case IR_DEC: return a - 1;
    case IR_NEG: return -a;
    default: fail(); return 0;
    }
}

static u32 expected_flags(IrCode code, unsigned size, u32 a, u32 x, u32 carry) {
    unsigned log2 = size >> 1;
    switch (code) {
    case IR_ADD: return flags_compute(FLAGS_OP(FLAGS_ADD, log2), a, x, 0);
    case IR_ADC: return flags_compute(FLAGS_OP(FLAGS_ADC, log2), a, x, carry);
    case IR_SUB: return flags_compute(FLAGS_OP(FLAGS_SUB, log2), a, x, 0);
    case IR_SBB: return flags_compute(FLAGS_OP(FLAGS_SBB, log2), a, x, carry);
    case IR_INC: return flags_compute(FLAGS_OP(FLAGS_INC, log2), a + 1, 0, carry);
    case IR_DEC: return flags_compute(FLAGS_OP(FLAGS_DEC, log2), a - 1, 0, carry);
    case IR_NEG: return flags_compute(FLAGS_OP(FLAGS_SUB, log2), 0, a, 0);
    default: a = expected_result(code, a, x, 0);
    }
    return flags_compute(FLAGS_OP(FLAGS_LOGIC, log2), a, 0, 0);
}

static void test_eval_alu(void **state) {
    static const u8 codes[] =
        { IR_ADD, IR_ADC, IR_SUB, IR_SBB, IR_AND, IR_OR, IR_XOR, IR_INC, IR_DEC, IR_NEG };
    for (unsigned k = 0; k < ARRAY_LEN(codes); k++)
        for (unsigned size = 1; size <= 4; size *= 2)
            for (unsigned i = 0; i < ARRAY_LEN(corners) * ARRAY_LEN(corners); i++) {
                u32 a = corners[i / ARRAY_LEN(corners)], x = corners[i % ARRAY_LEN(corners)];
                for (u32 carry = 0; carry < 2; carry++) {
                    arena_reset(*state);
                    Alu r = run_alu(*state, codes[k], size, a, x, carry ? FLAG_OSZAPC : 0);
                    assert_int_equal(r.result,
                                     trunc_size(expected_result(codes[k], a, x, carry), size));
                    u32 expect = expected_flags(codes[k], size, a, x, carry);
                    if (r.flags != expect)
                        fail_msg("%s.%u %x %x: flags %x, not %x", ir_info[codes[k]].name, size,
                                 a, x, r.flags, expect);
                }
            }
}

// Shift and rotate as the manual describes them: defined flags only.
static Alu shift_model(IrCode code, unsigned size, u32 a, unsigned n, u32 flags, u32 *defined) {
    u32 width = size * 8, top = 1u << (width - 1), v = trunc_size(a, size), cf = flags & FLAG_CF;
    *defined = FLAG_CF | (n == 1 ? FLAG_OF : 0);
    for (unsigned k = 0; k < n; k++) {
        u32 high = (v & top) != 0, low = v & 1, in = cf;
        bool left = code == IR_SHL || code == IR_ROL || code == IR_RCL;
        cf = left ? high : low;
        u32 fill = code == IR_SAR ? high : code == IR_ROL ? high : code == IR_ROR ? low
            : code == IR_RCL || code == IR_RCR ? in : 0;
        v = left ? trunc_size(v << 1 | fill, size) : v >> 1 | fill * top;
    }
    bool msb = v & top, next = v & top >> 1;
    bool of = code == IR_SHL || code == IR_ROL || code == IR_RCL ? msb != cf
        : code == IR_SHR ? (a & top) != 0 : code == IR_SAR ? false : msb != next;
    u32 f = cf | (of ? FLAG_OF : 0);
    if (code <= IR_SAR) {
        *defined |= FLAG_SF | FLAG_ZF | FLAG_PF;
        u32 of_result = flags_compute(FLAGS_OP(FLAGS_LOGIC, size >> 1), v, 0, 0);
        f |= of_result & (FLAG_SF | FLAG_ZF | FLAG_PF);
        if (n > width && code != IR_SAR) *defined &= ~FLAG_CF;
        if (n >= width && code != IR_SAR) *defined &= ~FLAG_CF;
    } else {
        *defined |= FLAG_SF | FLAG_ZF | FLAG_PF | FLAG_AF;
        f |= flags & (FLAG_SF | FLAG_ZF | FLAG_PF | FLAG_AF);
    }
    return (Alu){ v, f };
}

static void test_eval_shifts(void **state) {
    for (unsigned code = IR_SHL; code <= IR_RCR; code++)
        for (unsigned size = 1; size <= 4; size *= 2)
            for (unsigned i = 0; i < ARRAY_LEN(corners); i++)
                for (u32 n = 0; n < 64; n++) {
                    arena_reset(*state);
                    u32 before = n & 1 ? FLAG_OSZAPC : i & 1 ? FLAG_CF : 0;
                    u32 masked = n & 31, defined;
                    Alu r = run_alu(*state, (IrCode)code, size, corners[i], 0xab00 | n, before);
                    Alu e = shift_model((IrCode)code, size, corners[i], masked, before, &defined);
                    if (!masked) {
                        defined = FLAG_OSZAPC;
                        e.flags = before;
                    }
                    if (r.result != e.result || ((r.flags ^ e.flags) & defined))
                        fail_msg("%s.%u %x by %u: %x flags %x, not %x flags %x of %x",
                                 ir_info[code].name, size, corners[i], n, r.result, r.flags,
                                 e.result, e.flags, defined);
                }
}

// Counts in CL and counts in the instruction give the same flags on this host, undefined ones
// included: what generated code executes for a constant count is what eval executes.
#define HOST_SHIFT(op, n) \
    do { \
        u32 ax = before & 1 ? 0xd500 : 0, v = a; \
        __asm__("addb $127, %%al\n\tsahf\n\t" op "l $" #n ", %1\n\tlahf\n\tseto %%al" \
                : "+&a"(ax), "+r"(v) : : "cc"); \
        Alu r = run_alu(*state, code, 4, a, n, before); \
        assert_int_equal(r.result, v); \
        assert_int_equal(r.flags, (ax >> 8 & FLAG_SZAPC) | (ax & 1 ? FLAG_OF : 0)); \
    } while (0)
#define HOST_SHIFTS(id, op) \
    do { \
        IrCode code = id; \
        HOST_SHIFT(op, 1); HOST_SHIFT(op, 2); HOST_SHIFT(op, 7); HOST_SHIFT(op, 13); \
        HOST_SHIFT(op, 16); HOST_SHIFT(op, 31); \
    } while (0)
static void test_eval_shift_by_constant(void **state) {
    for (unsigned i = 0; i < ARRAY_LEN(corners) * 2; i++) {
        u32 a = corners[i / 2], before = i & 1 ? FLAG_SZAPC : 0;
        arena_reset(*state);
        HOST_SHIFTS(IR_SHL, "shl");
        HOST_SHIFTS(IR_SHR, "shr");
        HOST_SHIFTS(IR_SAR, "sar");
        HOST_SHIFTS(IR_ROL, "rol");
        HOST_SHIFTS(IR_ROR, "ror");
        HOST_SHIFTS(IR_RCL, "rcl");
        HOST_SHIFTS(IR_RCR, "rcr");
    }
}

static void run_text(Arena *arena, const char *text, TestMachine *t) {
    IrBlock *b = parse(arena, text);
    test_run(b, t, 100);
}

static TestMachine machine(void) {
    TestMachine t = { .flag_op = FLAGS_OP(FLAGS_RAW, 2) };
    for (u32 r = 0; r < 8; r++) t.regs[r] = 0x11111111 * (r + 1);
    return t;
}

static void test_eval_parts(void **state) {
    TestMachine t = machine();
    run_text(*state,
        " ---- 0x1\n mov.1 al, $0xab\n mov.1 ah, $0xcd\n mov.2 cx, $0xbeef\n mov.1 dh, cl\n"
        " zext.4.1 esi, ah\n sext.4.2 edi, cx\n sext.2.1 bp, cl\n zext.2.1 sp, ch\n jmp $0x2\n",
            &t);
    assert_int_equal(t.regs[0], 0x1111cdab);
    assert_int_equal(t.regs[1], 0x2222beef);
    assert_int_equal(t.regs[2], 0x3333ef33);
    assert_int_equal(t.regs[6], 0xcd);
    assert_int_equal(t.regs[7], 0xffffbeef);
    assert_int_equal(t.regs[5], 0x6666ffef);
    assert_int_equal(t.regs[4], 0x555500be);
}

static void test_eval_temporaries_have_no_upper_part(void **state) {
    TestMachine t = machine();
    run_text(*state, " ---- 0x1\n mov.1 t0, $0x12\n mov.4 eax, t0\n jmp $0x2\n", &t);
    assert_int_not_equal(t.regs[0], 0x12);
    assert_int_equal(t.regs[0] & 0xff, 0x12);
}

static void test_eval_ea(void **state) {
    TestMachine t = machine();
    t.regs[3] = 0xfffff000;
    t.regs[6] = 0x2001;
    run_text(*state,
        " ---- 0x1\n ea.4 eax, ebx, esi*8, $-0x10\n ea.2 ecx, bx, si*1, $0xf\n"
        " ea.4 edx, esi*2, $0x4\n"
        " ea.2 edi, $0x12345\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[0], 0xfffff000u + 0x2001 * 8 - 0x10);
    assert_int_equal(t.regs[1], (0xf000 + 0x2001 + 0xf) & 0xffff);
    assert_int_equal(t.regs[2], 0x4006);
    assert_int_equal(t.regs[7], 0x2345);
}

static void test_eval_memory(void **state) {
    TestMachine t = machine();
    for (u32 k = 0; k < WINDOW_BYTES; k++) t.memory[k] = (u8)(k + 1);
    run_text(*state,
        " ---- 0x1\n load.4 eax, ds:[$0x20000]\n"
        " ---- 0x2\n load.2 cx, ds:[$0x20003]\n"
        " ---- 0x3\n load.1 dh, ds:[$0x20007]\n"
        " ---- 0x4\n load.4 t0, ds:[$0x20010] rmw\n inc.4 t1, t0 !oszap\n"
        " store.4 ds:[$0x20010], t1 rmw\n"
        " ---- 0x5\n store.2 ds:[$0x20020], si\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[0], 0x04030201);
    assert_int_equal(t.regs[1], 0x22220504);
    assert_int_equal(t.regs[2], 0x33330833);
    assert_int_equal(get_le32(t.memory + 0x10), 0x14131212);
    assert_int_equal(get_le32(t.memory + 0x20), 0x24237777);
    assert_int_equal(t.bad_access, 0);
}

static void test_eval_fault(void **state) {
    IrBlock *b = parse(*state,
        " ---- 0x10\n sub.4 -, eax, eax !oszapc\n"
        " ---- 0x12\n load.4 t0, ds:[$0x30000]\n mov.4 eax, t0\n jmp $0x2\n");
    TestMachine t = machine();
    IrEvalResult r = test_run(b, &t, 100);
    assert_int_equal(r.end, IR_EVAL_FAULT);
    assert_int_equal(r.eip, 0x12);
    assert_int_equal(r.insns, 1);
    assert_int_equal(r.op, 3);
    assert_int_equal(t.regs[0], 0x11111111);
    assert_int_equal(t.flag_a, FLAG_ZF | FLAG_PF);
}

static void test_eval_budget(void **state) {
    IrBlock *b = parse(*state,
        " ---- 0x10\n inc.4 eax, eax !oszap\n ---- 0x11\n inc.4 eax, eax !oszap\n"
        " ---- 0x12\n jmp $0x2\n");
    TestMachine t = machine();
    for (u32 max = 0; max < 3; max++) {
        t.regs[0] = 0;
        IrEvalResult r = test_run(b, &t, max);
        assert_int_equal(r.end, IR_EVAL_POLL);
        assert_int_equal(r.eip, 0x10 + max);
        assert_int_equal(r.insns, max);
        assert_int_equal(t.regs[0], max);
    }
    IrEvalResult r = test_run(b, &t, 3);
    assert_int_equal(r.end, IR_EVAL_JUMP);
    assert_int_equal(r.eip, 2);
    assert_int_equal(r.insns, 3);
}

static void test_eval_exits(void **state) {
    TestMachine t = machine();
    const char *byte = " ---- 0x10\n jz.1 $0x100, $0x20\n jnz.4 eax, $0x30\n leave\n";
    IrEvalResult r = test_run(parse(*state, byte), &t, 9);
    assert_int_equal(r.eip, 0x20);                                  // one byte of 0x100 is zero
    r = test_run(parse(*state, " ---- 0x10\n jz.4 eax, $0x20\n jnz.4 eax, $0x30\n leave\n"), &t, 9);
    assert_int_equal(r.eip, 0x30);
    assert_int_equal(r.insns, 1);
    r = test_run(parse(*state, " ---- 0x10\n jmpi ecx\n"), &t, 9);
    assert_int_equal(r.eip, 0x22222222);
    r = test_run(parse(*state, " ---- 0x10\n leave\n"), &t, 9);
    assert_int_equal(r.end, IR_EVAL_LEAVE);
    assert_int_equal(r.insns, 1);
    r = test_run(parse(*state, " ---- 0x10\n leavenz eax\n jmp $0x30\n"), &t, 9);
    assert_int_equal(r.end, IR_EVAL_LEAVE);
    r = test_run(parse(*state, " ---- 0x10\n mov.4 eax, $0\n leavenz eax\n jmp $0x30\n"), &t, 9);
    assert_int_equal(r.eip, 0x30);
    r = test_run(parse(*state, " ---- 0x10\n raise $0xd, $0x18\n"), &t, 9);
    assert_int_equal(r.end, IR_EVAL_FAULT);
    assert_int_equal(r.insns, 0);
    assert_int_equal(t.log[0][0], 0x10d);
    assert_int_equal(t.log[0][1], 1);
    assert_int_equal(t.log[0][2], 0x18);
}

// Every condition against SETcc of the host.
static void test_eval_conditions(void **state) {
    for (u32 f = 0; f < 64; f++) {
        u32 flags = (f & 1 ? FLAG_OF : 0) | (f & 2 ? FLAG_SF : 0) | (f & 4 ? FLAG_ZF : 0) |
                    (f & 8 ? FLAG_AF : 0) | (f & 16 ? FLAG_PF : 0) | (f & 32 ? FLAG_CF : 0);
        bool o = f & 1, s = f & 2, z = f & 4, p = f & 16, c = f & 32;
        bool expect[8] = { o, c, z, c || z, s, p, s != o, z || s != o };
        for (unsigned cc = 0; cc < 16; cc++) {
            bool want = expect[cc >> 1] != (cc & 1);
            arena_reset(*state);
            IrBlock *b = ir_block_new(*state, NULL, 1, 0, true);
            ir_insn(b, 1, 1);
            ir_emit(b, IR_SETCC, 1, IR_REG_HIGH(1), IR_NONE, IR_NONE)->cc = (u8)cc;
            ir_emit(b, IR_SEL, 2, IR_REG(2), IR_REG(6), IR_REG(7))->cc = (u8)cc;
            ir_jcc(b, cc, 0x100);
            ir_jmp(b, 0x200);
            TestMachine t = machine();
            t.flag_a = flags;
            IrEvalResult r = test_run(b, &t, 9);
            assert_int_equal(t.regs[1], 0x22220022 | want << 8);
            assert_int_equal(t.regs[2], want ? 0x33337777 : 0x33338888);
            assert_int_equal(r.eip, want ? 0x100 : 0x200);
            assert_int_equal(t.flag_a, flags);
        }
    }
}

static void test_eval_flag_ops(void **state) {
    TestMachine t = machine();
    t.flag_a = FLAG_OF | FLAG_SF | FLAG_CF;
    run_text(*state, " ---- 0x1\n getf.4 eax\n getf.1 ch\n setf.1 $0x44 !szapc\n getf.4 edx\n"
                     " setf.4 $0xffffffff !oszapc\n clc !c\n getf.4 ebx\n cmc !c\n getf.4 esi\n"
                     " setf.4 $0x0 !oszapc\n stc !c\n add.4 -, $0x1, $0x1\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[0], 0x881);
    assert_int_equal(t.regs[1], 0x22228322);
    assert_int_equal(t.regs[2], 0x844);
    assert_int_equal(t.regs[3], 0x8d4);
    assert_int_equal(t.regs[6], 0x8d5);
    assert_int_equal(t.flag_a, FLAG_CF);                            // add without ! touches none
}

static void test_eval_recipe_at_entry(void **state) {
    TestMachine t = machine();
    t.flag_op = FLAGS_OP(FLAGS_SUB, 0);
    t.flag_a = 0x105;
    t.flag_b = 6;
    run_text(*state, " ---- 0x1\n setcc.b al\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[0] & 0xff, 1);
    assert_int_equal(t.flag_op, FLAGS_OP(FLAGS_RAW, 2));
    assert_int_equal(t.flag_a, FLAG_CF | FLAG_SF | FLAG_AF | FLAG_PF);
}

static void test_eval_wide(void **state) {
    TestMachine t = machine();
    t.regs[0] = 0x12340080;
    t.regs[2] = 0x56789abc;
    t.flag_a = FLAG_ZF;
    // no `!`: flags stay
    run_text(*state, " ---- 0x1\n mulw.4 $0x7fffffff\n jmp $0x2\n", &t);
    assert_int_equal(t.flag_a, FLAG_ZF);
    t.regs[0] = 0x12340080;
    t.regs[2] = 0x56789abc;
    run_text(*state, " ---- 0x1\n imulw.1 $0x2 !oszapc\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[0], 0x1234ff00);
    assert_int_equal(t.regs[2], 0x56789abc);
    run_text(*state, " ---- 0x1\n mulw.2 $0x100 !oszapc\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[0], 0x12340000);
    assert_int_equal(t.regs[2], 0x567800ff);
    t.regs[0] = 0xfffffff9;                                         // -7 / 2
    t.regs[2] = 0xffffffff;
    run_text(*state, " ---- 0x1\n idivw.4 $0x2 !oszapc\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[0], (u32)-3);
    assert_int_equal(t.regs[2], (u32)-1);
    t.regs[0] = 0xaaaa1234;                                         // AX / 0x35
    run_text(*state, " ---- 0x1\n divw.1 $0x35 !oszapc\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[0], 0xaaaa0000 | (0x1234 % 0x35) << 8 | 0x1234 / 0x35);
}

static void test_eval_divide_error(void **state) {
    static const struct { const char *text; u32 eax, edx; bool fault; } rows[] = {
        { " divw.4 $0x0", 1, 0, true },
        { " divw.4 $0x1", 0, 1, true },                 // quotient 2^32
        { " divw.4 $0x2", 0xffffffff, 1, false },
        { " idivw.4 $-0x1", 0x80000000, 0xffffffff, true },
        { " idivw.4 $-0x1", 0, 0x80000000, true },
        { " idivw.4 $0x1", 0x80000000, 0xffffffff, false },
        { " idivw.4 $0x1", 0x80000000, 0, true },
        { " divw.1 $0x1", 0x100, 0, true },
        { " divw.1 $0x1", 0xff, 0, false },
        { " idivw.1 $0xff", 0xff80, 0, true },
        { " idivw.1 $0x1", 0xff80, 0, false },
        { " divw.2 $0x1", 0, 1, true },
        { " idivw.2 $0xffff", 0x8000, 0xffff, true },
        { " idivw.2 $0x1", 0x8000, 0xffff, false },
    };
    for (unsigned k = 0; k < ARRAY_LEN(rows); k++) {
        char text[100];
        snprintf(text, sizeof text, " ---- 0x10\n%s !oszapc\n jmp $0x2\n", rows[k].text);
        TestMachine t = machine();
        t.regs[0] = rows[k].eax;
        t.regs[2] = rows[k].edx;
        t.flag_a = FLAG_CF | FLAG_SF;
        IrEvalResult r = test_run(parse(*state, text), &t, 9);
        assert_int_equal(r.end, rows[k].fault ? IR_EVAL_FAULT : IR_EVAL_JUMP);
        if (!rows[k].fault) continue;
        assert_int_equal(t.log[0][0], 0x100);
        assert_true(t.regs[0] == rows[k].eax && t.regs[2] == rows[k].edx);
        assert_int_equal(t.flag_a, FLAG_CF | FLAG_SF);
    }
}

static void test_eval_bits(void **state) {
    TestMachine t = machine();
    t.regs[0] = 0x80000010;
    run_text(*state,
        " ---- 0x1\n bt.4 eax, $0x3f !c\n setcc.b cl\n bts.4 edx, eax, $0x21 !c\n setcc.b ch\n"
        " btr.4 ebx, eax, $0x4 !c\n btc.2 sp, ax, $0x14 !c\n bsf.4 ebp, eax, ebp !oszapc\n"
        " bsr.4 esi, eax, esi !oszapc\n bsf.4 edi, $0x0, edi !oszapc\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[1], 0x22220001);
    assert_int_equal(t.regs[2], 0x80000012);
    assert_int_equal(t.regs[3], 0x80000000);
    assert_int_equal(t.regs[4], 0x55550000);
    assert_int_equal(t.regs[5], 4);
    assert_int_equal(t.regs[6], 31);
    assert_int_equal(t.regs[7], 0x88888888);
    assert_true(t.flag_a & FLAG_ZF);
}

static void test_eval_double_shifts_and_others(void **state) {
    TestMachine t = machine();
    t.regs[0] = 0x12345678;
    t.regs[2] = 0x9abcdef0;
    t.regs[1] = 0x24;                                               // count 4
    run_text(*state,
        " ---- 0x1\n shld.4 ebx, eax, edx, cl !oszapc\n shrd.4 esi, eax, edx, $0xc !oszapc\n"
        " bswap.4 edi, eax\n imul.4 ebp, eax, $0x10 !oszapc\n not.2 dx, ax\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[3], 0x23456789);
    assert_int_equal(t.regs[6], 0xef012345);
    assert_int_equal(t.regs[7], 0x78563412);
    assert_int_equal(t.regs[5], 0x23456780);
    assert_int_equal(t.regs[2], 0x9abca987);
}

static void test_eval_env(void **state) {
    TestMachine t = machine();
    put_le32(t.env + 8, 0xa1b2c3d4);
    run_text(*state, " ---- 0x1\n ldenv.2 eax, env+0x8\n ldenv.1 ecx, env+0xb\n"
                     " stenv.2 env+0x20, $0x12345678\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[0], 0xc3d4);
    assert_int_equal(t.regs[1], 0xa1);
    assert_int_equal(get_le32(t.env + 0x20), 0x5678);
}

static void test_eval_calls(void **state) {
    TestMachine t = machine();
    t.flag_a = FLAG_ZF;
    IrEvalResult r = test_run(parse(*state,
        " ---- 0x10\n call eax, plain(ecx, $0x5)\n stc !c\n call edx, flags() !oszapc\n"
        " setcc.b bh\n"
        " call registers($0x1, $0x2, $0x3)\n"
        " ---- 0x11\n call fault($0x9)\n jmp $0x2\n"), &t, 9);
    assert_int_equal(t.regs[0], 0x22222227);
    assert_int_equal(t.regs[2], FLAG_ZF | FLAG_CF);
    assert_int_equal(t.regs[3], 6);
    assert_int_equal(r.end, IR_EVAL_FAULT);
    assert_int_equal(r.eip, 0x11);
    assert_int_equal(r.insns, 1);
    assert_int_equal(t.flag_a, FLAG_CF | FLAG_SF | FLAG_AF | FLAG_PF);      // of 1 - 2
}

// ---- eval: x87 ----------------------------------------------------------------------------------
static void test_eval_x87(void **state) {
    TestMachine t = machine();
    put_le64(t.memory, 0x4008000000000000);                         // 3.0
    put_le32(t.memory + 8, 0x40000000);                             // 2.0f
    put_le16(t.memory + 12, 0xfffb);                                // -5
    __asm__ volatile("fninit");
    run_text(*state,
        " ---- 0x1\n fpuld.8 dd/0, ds:[$0x20000]\n"
        " ---- 0x2\n fpuld.4 d8/1, ds:[$0x20008]\n"              // fmul: 6
        " ---- 0x3\n fpuld.2 df/0, ds:[$0x2000c]\n"              // fild -5
        " ---- 0x4\n fpu db f1 !oszapc\n"                        // fcomi -5, 6: below
        " ---- 0x5\n setcc.b ch\n"
        " ---- 0x6\n fpu d8 d1\n"                                // fcom
        " ---- 0x7\n fpu df e0\n"                                // fnstsw ax: C0, TOP 6
        " ---- 0x8\n stc !c\n fpu da c1 ?c\n"                   // fcmovb: 6
        " ---- 0x9\n fpust.10 db/7, ds:[$0x20020]\n"
        " ---- 0xa\n fpust.8 dd/3, ds:[$0x20030]\n"
        " ---- 0xb\n fpust.2 d9/7, ds:[$0x20040]\n jmp $0x2\n", &t);
    assert_int_equal(t.regs[1], 0x22220122);
    assert_int_equal(t.regs[0], 0x11113100);
    assert_int_equal(get_le64(t.memory + 0x20), 0xc000000000000000);
    assert_int_equal(get_le16(t.memory + 0x28), 0x4001);
    assert_int_equal(get_le64(t.memory + 0x30), 0x4018000000000000);
    assert_int_equal(get_le16(t.memory + 0x40), 0x37f);
    assert_int_equal(t.bad_access, 0);
}

static u16 x87_top(void) {
    u16 sw;
    __asm__ volatile("fnstsw %0" : "=a"(sw));
    return sw >> 11 & 7;
}

// A store that must not happen does not pop either.
static void test_eval_x87_store_fault(void **state) {
    TestMachine t = machine();
    __asm__ volatile("fninit");
    IrBlock *b = parse(*state,
              " ---- 0x1\n fpu d9 e8\n ---- 0x3\n fpust.8 dd/3, ds:[$0x30000]\n jmp $0x2\n");
    IrEvalResult r = test_run(b, &t, 9);
    assert_int_equal(r.end, IR_EVAL_FAULT);
    assert_int_equal(r.eip, 3);
    assert_int_equal(x87_top(), 7);
}

// Unmasked invalid operation: FIST of NaN stores nothing.
static void test_eval_x87_unmasked_store(void **state) {
    TestMachine t = machine();
    put_le16(t.memory, 0x37e);
    put_le32(t.memory + 4, 0x7fc00000);
    put_le32(t.memory + 8, 0x12345678);
    __asm__ volatile("fninit");
    run_text(*state,
             " ---- 0x1\n fpuld.2 d9/5, ds:[$0x20000]\n ---- 0x2\n fpuld.4 d9/0, ds:[$0x20004]\n"
                     " ---- 0x3\n fpust.4 db/3, ds:[$0x20008]\n jmp $0x2\n", &t);
    assert_int_equal(get_le32(t.memory + 8), 0x12345678);
    assert_int_equal(x87_top(), 7);
    __asm__ volatile("fnclex\n\tfninit");
}

// ---- folding ------------------------------------------------------------------------------------
static void assert_folds(Arena *arena, const char *text, const char *expected) {
    IrBlock *b = parse(arena, text);
    ir_fold(b);
    char *got = print(b), *want = print(parse(arena, expected));
    assert_string_equal(got, want);
    free(got);
    free(want);
}

static void test_fold_constants(void **state) {
    assert_folds(*state,
        " ---- 0x1\n mov.4 t0, $0x10\n ea.4 t1, t0, $0x8\n load.4 eax, ds:[t1]\n jmp $0x2\n",
        " ---- 0x1\n load.4 eax, ds:[$0x18]\n jmp $0x2\n");
    assert_folds(*state,
        " ---- 0x1\n mov.2 t0, $0x8001\n zext.4.2 t1, t0\n sext.4.1 t2, t0\n add.4 t3, t1, t2\n"
        " shl.4 t4, t3, $0x4\n mov.4 eax, t4\n jmp $0x2\n",
        " ---- 0x1\n mov.4 eax, $0x80020\n jmp $0x2\n");
    assert_folds(*state,                                            // flags: not computed here
        " ---- 0x1\n mov.4 t0, $0x1\n add.4 eax, t0, t0 !oszapc\n jmp $0x2\n",
        " ---- 0x1\n add.4 eax, $0x1, $0x1 !oszapc\n jmp $0x2\n");
    assert_folds(*state,                                            // a byte of a wider constant
        " ---- 0x1\n mov.4 t0, $0x1234\n mov.1 al, t0\n jmp $0x2\n",
        " ---- 0x1\n mov.1 al, $0x34\n jmp $0x2\n");
    assert_folds(*state,
        " ---- 0x1\n shr.1 al, $0x1fe, $0x1\n sar.1 cl, $0x1fe, $0x1\n jmp $0x2\n",
        " ---- 0x1\n mov.1 al, $0x7f\n mov.1 cl, $0xff\n jmp $0x2\n");
}

static void test_fold_addresses(void **state) {
    assert_folds(*state,
        " ---- 0x1\n mov.4 t0, $0x3\n ea.4 t1, ebx, t0*4, $0x8\n load.4 eax, ds:[t1]\n jmp $0x2\n",
        " ---- 0x1\n ea.4 t1, ebx, $0x14\n load.4 eax, ds:[t1]\n jmp $0x2\n");
    assert_folds(*state,
        " ---- 0x1\n mov.4 t0, $0x3\n ea.4 t1, t0, ebx*1, $-0x3\n load.4 eax, ds:[t1]\n jmp $0x2\n",
        " ---- 0x1\n load.4 eax, ds:[ebx]\n jmp $0x2\n");
    assert_folds(*state,
        " ---- 0x1\n mov.2 t0, $0xffff\n ea.2 t1, t0, $0x2\n store.4 ds:[t1], ecx\n jmp $0x2\n",
        " ---- 0x1\n store.4 ds:[$0x1], ecx\n jmp $0x2\n");
    static const char wraps[] = " ---- 0x1\n ea.2 t1, bx\n store.4 ds:[t1], ecx\n jmp $0x2\n";
    assert_folds(*state, wraps, wraps);
}

static void test_fold_copies(void **state) {
    assert_folds(*state,
        " ---- 0x1\n mov.4 t0, eax\n add.4 ecx, ecx, t0 !oszapc\n jmp $0x2\n",
        " ---- 0x1\n add.4 ecx, ecx, eax !oszapc\n jmp $0x2\n");
    // the register has changed: keep
    assert_folds(*state,
        " ---- 0x1\n mov.4 t0, eax\n mov.1 ah, cl\n mov.4 edx, t0\n jmp $0x2\n",
        " ---- 0x1\n mov.4 t0, eax\n mov.1 ah, cl\n mov.4 edx, t0\n jmp $0x2\n");
    assert_folds(*state,
        " ---- 0x1\n mov.4 t0, edx\n mulw.4 ecx !oszapc\n mov.4 ebx, t0\n jmp $0x2\n",
        " ---- 0x1\n mov.4 t0, edx\n mulw.4 ecx !oszapc\n mov.4 ebx, t0\n jmp $0x2\n");
    assert_folds(*state,                                            // FNSTSW AX
        " ---- 0x1\n mov.4 t0, eax\n fpu df e0\n mov.4 ebx, t0\n jmp $0x2\n",
        " ---- 0x1\n mov.4 t0, eax\n fpu df e0\n mov.4 ebx, t0\n jmp $0x2\n");
    // the temporary has changed: keep
    assert_folds(*state,
        " ---- 0x1\n ldenv.4 t0, env+0x0\n mov.4 t1, t0\n ldenv.4 t0, env+0x4\n mov.4 eax, t1\n"
        " mov.4 ecx, t0\n jmp $0x2\n",
        " ---- 0x1\n ldenv.4 t0, env+0x0\n mov.4 t1, t0\n ldenv.4 t0, env+0x4\n mov.4 eax, t1\n"
        " mov.4 ecx, t0\n jmp $0x2\n");
    assert_folds(*state,                                            // esi has no low byte
        " ---- 0x1\n mov.4 t0, esi\n mov.1 al, t0\n mov.2 cx, t0\n jmp $0x2\n",
        " ---- 0x1\n mov.4 t0, esi\n mov.1 al, t0\n mov.2 cx, si\n jmp $0x2\n");
    assert_folds(*state,                                            // a byte is no whole register
        " ---- 0x1\n mov.1 t0, al\n zext.4.1 ecx, t0\n jmp $0x2\n",
        " ---- 0x1\n zext.4.1 ecx, al\n jmp $0x2\n");
}

static void test_fold_keeps_shapes(void **state) {
    static const char rmw[] =
        " ---- 0x1\n ea.4 t0, ebx, $0x8\n load.4 t1, ds:[t0] rmw\n add.4 t2, t1, eax !oszapc\n"
        " store.4 ds:[t0], t2 rmw\n"
        " ---- 0x2\n load.4 t3, ds:[ecx]\n sub.4 eax, eax, t3 !oszapc\n jmp $0x2\n";
    assert_folds(*state, rmw, rmw);
    assert_folds(*state,                                            // one address, both times
        " ---- 0x1\n mov.4 t0, eax\n load.4 t1, ds:[t0] rmw\n not.4 t2, t1\n"
        " store.4 ds:[t0], t2 rmw\n jmp $0x2\n",
        " ---- 0x1\n mov.4 t0, eax\n load.4 t1, ds:[t0] rmw\n not.4 t2, t1\n"
        " store.4 ds:[t0], t2 rmw\n jmp $0x2\n");
    assert_folds(*state,
        " ---- 0x1\n mov.4 t0, $0x40\n load.4 t1, ds:[t0] rmw\n not.4 t2, t1\n"
        " store.4 ds:[t0], t2 rmw\n jmp $0x2\n",
        " ---- 0x1\n load.4 t1, ds:[$0x40] rmw\n not.4 t2, t1\n"
        " store.4 ds:[$0x40], t2 rmw\n jmp $0x2\n");
}

// What nobody uses goes, with what only fed it; what has an effect stays.
static void test_fold_drops(void **state) {
    assert_folds(*state,
        " ---- 0x1\n ldenv.4 t0, env+0x0\n ldenv.4 t1, env+0x4\n and.4 t2, t0, t1\n mov.4 t3, t2\n"
        " load.4 t4, ds:[eax]\n mov.4 ecx, ecx\n call t5, plain($0x1, $0x2)\n"
        " add.4 t6, eax, ecx !oszapc\n jmp $0x2\n",
        " ---- 0x1\n load.4 t4, ds:[eax]\n call t5, plain($0x1, $0x2)\n"
        " add.4 t6, eax, ecx !oszapc\n jmp $0x2\n");
}

// ---- forwarding ---------------------------------------------------------------------------------
static char *forwarded(Arena *arena, const char *text, bool forward) {
    IrBlock *b = parse(arena, text);
    ir_group(b, ~0u);
    if (forward) ir_forward(b);
    ir_flags(b);
    assert_null(ir_verify(b));
    return print(b);
}

// Of what ir_forward() makes of text: its lines are there, or are not.
static void assert_forwards(Arena *arena, const char *text, const char *const *there, const char *gone) {
    char *got = forwarded(arena, text, true);
    for (; *there; there++)
        if (!strstr(got, *there)) fail_msg("no '%s' in:\n%s", *there, got);
    if (gone && strstr(got, gone)) fail_msg("'%s' in:\n%s", gone, got);
    free(got);
}

static void assert_forwards_nothing(Arena *arena, const char *text) {
    char *got = forwarded(arena, text, true), *want = forwarded(arena, text, false);
    assert_string_equal(got, want);
    free(got);
    free(want);
}

#define FORWARD_PUSH \
    " ---- 0x1\n ea.4 t0, esp, $-0x4\n store.4 ss:[t0], ecx\n ---- 0x2\n store.4 ss:[esp], $0x77\n"
static void test_forward_loads(void **state) {
    assert_forwards(*state, FORWARD_PUSH " ---- 0x3\n ea.4 t1, esp, $-0x4\n load.4 eax, ss:[t1]\n jmp $0x4\n",
                    (const char *[]){ "mov.4 eax, ecx", "store.4 ss:[t0], ecx", NULL }, "load");
    assert_forwards(*state, FORWARD_PUSH " ---- 0x3\n load.4 t1, ss:[esp]\n guard t1, $0x77\n jmp $0x4\n",
                    (const char *[]){ "store.4 ss:[esp], $0x77", NULL }, "guard");
    assert_forwards(*state, FORWARD_PUSH " ---- 0x3\n load.4 t1, ss:[esp]\n guard t1, $0x78\n jmp $0x4\n",
                    (const char *[]){ "guard t1, $0x78", NULL }, NULL);
    assert_forwards(*state, FORWARD_PUSH                             // a temporary that outlives the register
                    " ---- 0x3\n ea.4 t1, esp, $-0x4\n load.4 t2, ss:[t1]\n mov.4 ecx, eax\n"
                    " add.4 eax, eax, t2 !oszapc\n jmp $0x4\n",
                    (const char *[]){ "mov.4 t2, ecx", "add.4 eax, eax, t2", NULL }, "load");
    assert_forwards(*state,                                          // a word whose register changes is kept
        " ---- 0x1\n ea.2 t0, sp, $-0x2\n store.2 ss.real:[t0], bp addr16\n ---- 0x2\n mov.2 bp, sp\n ---- 0x3\n"
        " ea.2 t1, sp, $-0x2\n load.2 bp, ss.real:[t1] addr16\n jmp $0x4\n",
        (const char *[]){ "mov.4 t2, ebp\n mov.2 bp, sp", "mov.2 bp, t2", NULL }, "load");
}

static void test_forward_keeps(void **state) {
    const char *const between[] = {
        "mov.4 ecx, eax", "mov.1 ch, al", "store.4 ds:[esi], eax", "mulw.4 eax",
        "ea.4 t5, esp, $-0x3\n store.1 ss:[t5], al", "call t6, plain($0x1, $0x2)",
    };
    const char *const values[] = { "ecx", "ecx", "ecx", "edx", "ecx", "ecx" };
    for (u32 i = 0; i < ARRAY_LEN(between); i++) {
        char text[512];
        snprintf(text, sizeof text,
                 " ---- 0x1\n ea.4 t0, esp, $-0x4\n store.4 ss:[t0], %s\n ---- 0x5\n store.4 ss:[esp], $0x77\n"
                 " ---- 0x2\n %s\n ---- 0x3\n ea.4 t1, esp, $-0x4\n load.4 ebx, ss:[t1]\n jmp $0x4\n",
                 values[i], between[i]);
        assert_forwards_nothing(*state, text);
    }
    assert_forwards_nothing(*state, " ---- 0x1\n store.4 ss:[esp], ecx\n ---- 0x2\n load.2 ax, ss:[esp]\n jmp $0x4\n");
}

// ---- random blocks: a pass changes nothing that can be seen -------------------------------------
static void run_from_seed(const IrBlock *b, u64 seed, TestMachine *t, IrEvalResult *r) {
    test_machine_reset(t, seed);
    if (seed % 3 == 0) t->refuse = WINDOW + (u32)(seed % 64) * 4;
    *r = test_run(b, t, 1000);
}

static void assert_same_run(const TestMachine *x, IrEvalResult rx, const TestMachine *y,
                            IrEvalResult ry, const IrBlock *b, u64 seed, const char *pass) {
    bool same = !memcmp(x, y, sizeof *x) && rx.end == ry.end && rx.eip == ry.eip &&
                rx.insns == ry.insns;
    if (same) return;
    ir_print(b, &test_names, stderr);
    for (unsigned r = 0; r < 8; r++) fprintf(stderr, "%08x %08x\n", x->regs[r], y->regs[r]);
    fail_msg("%s changes seed %u: end %u %u, eip %x %x, flags %x %x", pass, (u32)seed, rx.end,
             ry.end, rx.eip, ry.eip, x->flag_a, y->flag_a);
}

static void test_passes_keep_meaning(void **state) {
    u64 faults = 0, count = fuzz_count(RANDOM_BLOCKS * 2), first = fuzz_first();
    for (u64 seed = first; seed < first + count; seed++) {
        arena_reset(*state);
        IrGen g = irgen_default(seed);
        g.env_bytes = ENV_BYTES;
        g.insns = 4 + (unsigned)(seed % 24);
        g.same_flags = true;
        IrBlock *b = irgen_block(*state, &g);
        TestMachine x, y;
        IrEvalResult rx, ry;
        run_from_seed(b, seed, &x, &rx);
        faults += rx.end == IR_EVAL_FAULT;
        assert_int_equal(x.bad_access, 0);
        ir_fold(b);
        run_from_seed(b, seed, &y, &ry);
        assert_same_run(&x, rx, &y, ry, b, seed, "ir_fold");
        ir_flags(b);
        run_from_seed(b, seed, &y, &ry);
        assert_same_run(&x, rx, &y, ry, b, seed, "ir_flags");
    }
    if (count >= RANDOM_BLOCKS) assert_in_range(faults, count / 20, count - count / 20);
}

// A block of loads and stores at a few places, which two bases have different names for, with changes of registers
// between them.
static void random_accesses(char *text, size_t bytes, u64 seed) {
    static const char *const names[3][6] = { { "al", "cl", "dl", "ah", "ch", "bl" },
                                             { "ax", "cx", "dx", "bx", "bp", "sp" },
                                             { "eax", "ecx", "edx", "ebx", "ebp", "esp" } };
    u32 insns = 4 + (u32)(seed % 20), temps = 0;
    int n = snprintf(text, bytes, " ---- 0x1\n mov.4 esi, $%#x\n mov.4 edi, $%#x\n", WINDOW + 64, WINDOW + 66);
    for (u32 i = 2; i < insns; i++) {
#define PICK(count) (irgen_random(&seed) % (count))
        unsigned log2 = (unsigned)PICK(3), size = 1u << log2;
        const char *r = names[log2][PICK(6)], *q = names[log2][PICK(6)], *base = PICK(4) ? "esi" : "edi";
        n += snprintf(text + n, bytes - (size_t)n, " ---- %#x\n ea.4 t%u, %s, $%#x\n", i, temps, base,
                      (u32)PICK(8) * 2);
        char *at = text + n;
        size_t left = bytes - (size_t)n;
        switch (PICK(7)) {
        case 0: case 1: n += snprintf(at, left, " store.%u ds:[t%u], %s\n", size, temps, r); break;
        case 2: n += snprintf(at, left, " store.%u ds:[t%u], $0x%x\n", size, temps, 0x71 + i); break;
        case 3: n += snprintf(at, left, " load.%u %s, ds:[t%u]\n", size, r, temps); break;
        case 4:
            n += snprintf(at, left, " load.%u t%u, ds:[t%u]\n add.%u %s, %s, t%u !oszapc\n", size, temps + 1, temps,
                          size, r, q, temps + 1);
            break;
        case 5:
            n += snprintf(at, left, " load.2 t%u, ds:[t%u]\n zext.4.2 t%u, t%u\n guard t%u, $0x%x\n", temps + 1,
                          temps, temps + 2, temps + 1, temps + 2, 0x70 + i);
            break;
        default: n += snprintf(at, left, " mov.%u %s, %s\n", size, r, q); break;
        }
        temps += 3;
    }
    snprintf(text + n, bytes - (size_t)n, " jmp $0x2\n");
#undef PICK
}

static void test_forward_keeps_meaning(void **state) {
    u64 first = fuzz_first(), count = fuzz_count(RANDOM_BLOCKS * 2), forwards = 0;
    for (u64 seed = first; seed < first + count; seed++) {
        arena_reset(*state);
        char text[4096];
        random_accesses(text, sizeof text, seed);
        IrBlock *b = parse(*state, text);
        TestMachine x, y;
        test_machine_reset(&x, seed);
        test_machine_reset(&y, seed);
        IrEvalResult rx = test_run(b, &x, 1000);
        ir_group(b, ~0u);
        forwards += b->reload_last != 0;
        ir_forward(b);
        ir_flags(b);
        IrEvalResult ry = test_run(b, &y, 1000);
        assert_same_run(&x, rx, &y, ry, b, seed, "ir_forward");
    }
    assert_true(forwards >= count / 8);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        T(test_builder_consts), T(test_builder_ea), T(test_builder_flags), T(test_builder_insns),
        T(test_flags_dead_definitions), T(test_flags_live_and_observed), T(test_flags_enter),
        T(test_flags_variable_shift), T(test_flags_rmw_store_observes_nothing),
        T(test_flags_helpers), T(test_verify_cases), T(test_verify_broken_blocks),
        T(test_verify_message), T(test_text_sample), T(test_text_loose_input), T(test_text_errors),
        T(test_text_round_trip_random), T(test_random_blocks_verify), T(test_eval_alu),
        T(test_eval_shifts), T(test_eval_shift_by_constant), T(test_eval_parts),
        T(test_eval_temporaries_have_no_upper_part), T(test_eval_ea), T(test_eval_memory),
        T(test_eval_fault), T(test_eval_budget), T(test_eval_exits), T(test_eval_conditions),
        T(test_eval_flag_ops), T(test_eval_recipe_at_entry), T(test_eval_wide),
        T(test_eval_divide_error), T(test_eval_bits), T(test_eval_double_shifts_and_others),
        T(test_eval_env), T(test_eval_calls), T(test_eval_x87), T(test_eval_x87_store_fault),
        T(test_eval_x87_unmasked_store), T(test_fold_constants), T(test_fold_addresses),
        T(test_fold_copies), T(test_fold_keeps_shapes), T(test_fold_drops),
        T(test_forward_loads), T(test_forward_keeps), T(test_forward_keeps_meaning),
        T(test_passes_keep_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
