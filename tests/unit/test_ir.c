// SPDX-License-Identifier: MIT
// Room ir: builder, flag liveness, verifier, text form, eval against the host, folding.
//
//     make test T=unit/test_ir
// Random parts print the seed of the block that fails; irgen_default(seed) makes it again.
#include "irgen.h"
#include "ir/ir_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// ---- helpers known to the blocks of these tests --------------------------------------------------------
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

// ---- a machine for eval ------------------------------------------------------------------------------------
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
    *t = (TestMachine){ .flag_op = FLAGS_OP(FLAGS_RAW, 2) };
    for (unsigned r = 0; r < 8; r++) t->regs[r] = (u32)irgen_random(&seed);
    t->flag_a = (u32)irgen_random(&seed) & FLAG_OSZAPC;
    for (unsigned k = 0; k < WINDOW_BYTES; k++) t->memory[k] = (u8)irgen_random(&seed);
    for (unsigned k = 0; k < ENV_BYTES; k++) t->env[k] = (u8)irgen_random(&seed);
    __asm__ volatile("fninit");
}

static IrEvalResult test_run(const IrBlock *b, TestMachine *t, u32 max_insns) {
    IrMachine m = { .self = t, .regs = t->regs, .flag_op = &t->flag_op, .flag_a = &t->flag_a,
                    .flag_b = &t->flag_b, .flag_c = &t->flag_c, .env = t->env, .load = test_load,
                    .store = test_store, .probe = test_probe, .call = test_call, .raise = test_raise };
    return ir_eval(b, &m, max_insns);
}

// ---- fixtures ---------------------------------------------------------------------------------------------
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

// ---- builder ------------------------------------------------------------------------------------------------
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

// ---- flag liveness ------------------------------------------------------------------------------------------
static void test_flags_dead_definitions(void **state) {
    IrBlock *b = parse(*state,
        " ---- 0x1000\n cmp_placeholder\n" + 0 == NULL ? "" :
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
    b = parse(*state, " ---- 0x1000\n store.4 ds:[eax], ecx\n add.4 eax, eax, ecx !oszapc\n jmp $0x2000\n");
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

// ---- verifier ---------------------------------------------------------------------------------------------
typedef struct VerifyCase { const char *text, *message; } VerifyCase;   // message NULL: fine
#define BEGIN " ---- 0x1000\n"
#define DONE "\n jmp $0x2000\n"

static const VerifyCase verify_cases[] = {
    // fine
    { BEGIN "nop" + 3, "does not end" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n add.4 t1, t0, ecx !oszapc\n store.4 ds:[eax], t1 rmw" DONE, NULL },
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
    { BEGIN " call plain($0x1, t0)" DONE, "number of arguments" + 0 },
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
    { BEGIN " probe es:[eax], $0x8\n store.4 ds:[eax], ecx\n store.4 ds:[ebx], ecx" DONE, "after a change" },
    { BEGIN " sub.4 -, eax, ecx !c\n load.4 edx, ds:[ebx]" DONE, "after a change" },
    { BEGIN " mulw.4 ecx\n load.4 edx, ds:[ebx]" DONE, "after a change" },
    { BEGIN " stenv.4 env.eip, $0x5\n load.4 edx, ds:[ebx]\n leave", "after a change" },
    { BEGIN " mov.4 eax, ecx\n call fault($0x1)" DONE, "after a change" },
    { BEGIN " call registers($0x1, $0x2, $0x3)\n divw.4 ecx" DONE, "after a change" },
    { BEGIN " mov.4 eax, ecx\n raise $0x6", "after a change" },
    { BEGIN " mov.4 eax, ecx\n poll $0x1" DONE, "after a change" },
    // rule 5
    { BEGIN " load.4 t0, ds:[eax] rmw" DONE, "without its store" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n ---- 0x1001\n store.4 ds:[eax], t0 rmw" DONE, "without its store" },
    { BEGIN " store.4 ds:[eax], ecx rmw" DONE, "without its load" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n store.4 ds:[ecx], t0 rmw" DONE, "differs from its load" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n store.2 ds:[eax], t0 rmw" DONE, "differs from its load" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n mov.1 ah, bl\n store.4 ds:[eax], t0 rmw" DONE, "address of a rmw" },
    { BEGIN " load.4 eax, ds:[eax] rmw\n store.4 ds:[eax], ecx rmw" DONE, "address of a rmw" },
    { BEGIN " mov.4 t1, eax\n load.4 t0, ds:[t1] rmw\n mov.4 t1, ecx\n store.4 ds:[t1], t0 rmw" DONE, "address of a rmw" },
    { BEGIN " load.4 t0, ds:[eax] rmw\n load.4 t1, ds:[ebx] rmw" DONE, "second rmw load" },
};
