// SPDX-License-Identifier: MIT
// -check: mistakes of the translator, one of each kind, are found and named; right code passes in full.
//     make test T=unit/test_check
//
// Each guest is real-mode code that ends in HLT. A mistake is made in the IR after the passes, just before code
// is generated from it.
#include "testbus.h"

#include "cpu/cpu.h"
#include "jit/check.h"

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { CODE = 0x9000, DEVICE = 0xa0000 };

typedef struct Rig {
    Log log;
    Bus *bus;
    Cpu *cpu;
    Jit *jit;
    u32 device, stored;        // what the device reads as; what was last stored to it
    char *said;                // by -check
} Rig;

static u32 device_read(void *self, u32 offset, unsigned size) {
    (void)offset, (void)size;
    return ((Rig *)self)->device++;
}
static void device_write(void *self, u32 offset, unsigned size, u32 value) {
    (void)offset, (void)size;
    ((Rig *)self)->stored = value;
}

static Rig *rig_open(u32 every) {
    Rig *g = mem_new(sizeof *g);
    char *error = NULL;
    log_init(&g->log);
    g->bus = bus_new(4 << 20, &g->log);
    g->cpu = cpu_new(g->bus, &g->log);
    JitOptions options = { .cache_mib = 4, .end_when_hung = true, .restore = JIT_RESTORE_CHECK, .check = every,
                           .no_follow = true };
    g->jit = jit_new(g->cpu, g->bus, &g->log, &options, &error);
    assert_non_null(g->jit);
    BusMmio mmio = { .name = "test", .self = g, .read = device_read, .write = device_write };
    bus_map_mmio(g->bus, DEVICE >> PAGE_SHIFT, 1, bus_add_mmio(g->bus, &mmio), 0);
    cpu_reset(g->cpu);
    g->cpu->cr4 |= BIT(9);                     // SSE
    return g;
}

static void rig_close(Rig *g) {
    jit_free(g->jit);
    cpu_free(g->cpu);
    bus_free(g->bus);
    log_close(&g->log);
    free(g->said);
    free(g);
}

// Runs the code until HLT with interrupts off; keeps what is said on stderr.
static JitEnd rig_run(Rig *g, const char *bytes, u32 count) {
    Cpu *cpu = g->cpu;
    FILE *real = stderr;
    size_t size;
    memcpy(bus_ram(g->bus) + CODE, bytes, count);
    memset(bus_ram(g->bus) + 0x7000, 0x11, 16);
    put_le32(bus_ram(g->bus), 0x7800);         // #DE
    bus_ram(g->bus)[0x7800] = 0xf4;
    cpu->halted = false;
    cpu->seg[CPU_CS] = (CpuSeg){ .selector = 0, .base = 0, .limit = 0xffff, .access = cpu->seg[CPU_CS].access };
    cpu->regs[CPU_EAX] = cpu->regs[CPU_ECX] = 3;
    cpu->regs[CPU_ESP] = 0x8000;
    cpu_update_mode(cpu);
    cpu->eip = CODE;
    cpu_fpu_load_host(cpu);
    stderr = open_memstream(&g->said, &size);
    JitEnd end = jit_run(g->jit);
    fclose(stderr);
    stderr = real;
    cpu_fpu_save_host(cpu);
    return end;
}

typedef struct Totals { unsigned long long full, part, none; } Totals;

static Totals rig_totals(Rig *g) {
    char text[256] = "";
    Totals t = { 0 };
    FILE *f = fmemopen(text, sizeof text, "w");
    check_print(g->jit->check, f);
    fclose(f);
    assert_int_equal(sscanf(text, "checked blocks %llu in full, %llu in part, %llu", &t.full, &t.part, &t.none), 3);
    return t;
}

// ---- mistakes --------------------------------------------------------------------------------------------
static IrOp *first_op(IrBlock *ir, u8 code) {
    for (u32 i = 0; i < ir->count; i++)
        if (ir->ops[i].code == code) return &ir->ops[i];
    return NULL;
}

static void spoil_code(IrBlock *ir, u8 from, u8 to) {
    IrOp *op = first_op(ir, from);
    if (op) op->code = to;
}
static void spoil_size(IrBlock *ir, u8 code, u8 from, u8 to) {
    IrOp *op = first_op(ir, code);
    if (op && op->size == from) op->size = to;
}
static void spoil_imm(IrBlock *ir, u8 code, u32 from, u32 to) {
    IrOp *op = first_op(ir, code);
    if (op && op->imm == from) op->imm = to;
}
// An operand that is the constant `from`.
static void spoil_const(IrBlock *ir, u8 code, u32 from, u32 to) {
    for (u32 i = 0; i < ir->count; i++) {
        IrOp *op = &ir->ops[i];
        if (op->code != code) continue;
        if (ir_is_const(op->a) && ir_value(ir, op->a) == from) op->a = ir_const(ir, to);
        if (ir_is_const(op->b) && ir_value(ir, op->b) == from) op->b = ir_const(ir, to);
        if (ir_is_const(op->c) && ir_value(ir, op->c) == from) op->c = ir_const(ir, to);
    }
}

#define MISTAKE(name, statement) static void mistake_##name(const Jit *jit, IrBlock *ir) { (void)jit; statement; }
MISTAKE(register, spoil_code(ir, IR_ADD, IR_SUB))
MISTAKE(flags, spoil_code(ir, IR_CLC, IR_STC))
MISTAKE(memory, spoil_code(ir, IR_INC, IR_DEC))
MISTAKE(wide, spoil_size(ir, IR_STORE, 2, 4))
MISTAKE(missing, spoil_code(ir, IR_STORE, IR_PROBE))
MISTAKE(jump, { IrOp *op = first_op(ir, IR_JCC); if (op) op->cc ^= 1; })
MISTAKE(x87, spoil_imm(ir, IR_FPU, 0xe8d9, 0xeed9))                            // FLD1: FLDZ
MISTAKE(x87_control, spoil_imm(ir, IR_FPULD, 0x5d9, 0x6d8))                     // FLDCW: FDIV
MISTAKE(sse, spoil_imm(ir, IR_SIMD, IR_SIMD_IMM(0x66, 0x76, 0xc9, 0), IR_SIMD_IMM(0x66, 0xef, 0xc9, 0)))
MISTAKE(argument, spoil_const(ir, IR_CALL, 0xe9, 0xe8))
MISTAKE(direction, spoil_const(ir, IR_STENV, ~0u, 1))
MISTAKE(division, spoil_code(ir, IR_DIVW, IR_MULW))
MISTAKE(device_value, spoil_const(ir, IR_STORE, 0x1234, 0x1235))
MISTAKE(device_missing, spoil_code(ir, IR_STORE, IR_PROBE))
MISTAKE(device_load, spoil_code(ir, IR_LOAD, IR_PROBE))
MISTAKE(helper, { IrOp *op = first_op(ir, IR_CALL); if (op && op->d != IR_NONE) op->imm++; })
MISTAKE(count, spoil_imm(ir, IR_POLL, 3, 2); spoil_imm(ir, IR_COUNT, 3, 2))
MISTAKE(after_call, spoil_code(ir, IR_XOR, IR_OR))

typedef struct Case {
    const char *name;
    void (*mistake)(const Jit *jit, IrBlock *ir);
    const char *bytes;
    u32 count;
    const char *says;          // in the message
} Case;

#define CASE(name, bytes, says) { #name, mistake_##name, bytes, sizeof bytes - 1, says }
#define HLT "\xf4"
static const Case cases[] = {
    CASE(register, "\x05\x34\x12" HLT, "eax          eval 00001237"),                    // add $0x1234, %ax
    CASE(flags, "\x3d\x03\x00\xf8\xeb\x00" HLT, "flags        eval --z-p-"),               // cmp $3, %ax; clc; jmp
    CASE(memory, "\xff\x06\x00\x70" HLT, "00007000     eval           12 11"),            // incw 0x7000
    CASE(wide, "\xa3\x00\x70" HLT, "(next to a store)"),                                   // mov %ax, 0x7000
    CASE(missing, "\xa3\x00\x70" HLT, "00007000     eval           03"),
    CASE(jump, "\x85\xc0\x74\x01" HLT HLT, "generated    leaves to 00009005"),             // test; je
    CASE(x87, "\xd9\xe8" HLT, "st(0)        eval           00 00 00 00 00 00 00 80 ff 3f"),  // fld1
    CASE(x87_control, "\xd9\x2e\x04\x90" "\x01\x00\x00" HLT, "x87 control"),             // fldcw 0x9004; (add)
    CASE(sse, "\x66\x0f\x76\xc9" HLT, "xmm1         eval           ff"),                  // pcmpeqd %xmm1, %xmm1
    CASE(argument, "\xe6\xe9" HLT, "eval         calls out(e9, 1, 3)"),                    // out %al, $0xe9
    CASE(direction, "\xfd\xeb\x00" HLT, "df           eval ffffffff"),                    // std; jmp
    CASE(division, "\x31\xdb\xf7\xf3" HLT, "eval         has exception 0 at 00009002"),    // xor %bx, %bx; div %bx
    CASE(device_value, "\xb8\x00\xa0\x8e\xd8\xc7\x06\x08\x00\x34\x12" HLT,                // movw $0x1234, %ds:8
         "value        eval           34 12"),
    CASE(device_missing, "\xb8\x00\xa0\x8e\xd8\xa3\x08\x00\xeb\x00" HLT, "eval         stores 2 bytes"),
    CASE(device_load, "\xb8\x00\xa0\x8e\xd8\xa1\x08\x00\xeb\x00" HLT, "eval         loads 2 bytes"),
    CASE(helper, "\xe4\x80" HLT, "eval         calls in(80, 1)"),                       // in $0x80, %al
    CASE(count, "\xbb\x06\x90\x40\xff\xe3" HLT, "instructions eval 00000003"),             // mov; inc; jmp *%bx
    CASE(after_call, "\x40\x0f\x01\xe3\x31\xc0\xeb\x00" HLT,                          // inc; smsw %bx; xor
         "wrong is an instruction from 00009001 on"),
};

static void check_case(const Case *k) {
    Rig *g = rig_open(1);
    assert_int_equal(rig_run(g, k->bytes, k->count), JIT_END_HUNG);
    Totals t = rig_totals(g);
    if (*g->said) fail_msg("%s, without a mistake: %s", k->name, g->said);
    assert_true(t.full > 0 && !t.part && !t.none);
    rig_close(g);
    g = rig_open(1);
    g->jit->spoil = k->mistake;
    JitEnd end = rig_run(g, k->bytes, k->count);
    if (end != JIT_END_SHUTDOWN) fail_msg("%s: not found", k->name);
    assert_int_equal(bus_exit_status(g->bus), 78);
    if (!strstr(g->said, k->says)) fail_msg("%s: '%s' is not in: %s", k->name, k->says, g->said);
    assert_non_null(strstr(g->said, "glassbox dump --bytes '"));
    rig_close(g);
}

static void test_mistakes_are_found(void **state) {
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) check_case(&cases[i]);
}

// A device is read and written once, by generated code; eval sees what that read gave.
static void test_devices_are_touched_once(void **state) {
    (void)state;
    Rig *g = rig_open(1);
    static const char code[] = "\xb8\x00\xa0\x8e\xd8"              // mov $0xa000, %ax; mov %ax, %ds
                               "\xa1\x00\x00\x01\x06\x04\x00"       // mov 0, %ax; add %ax, 4
                               "\x89\xc1" HLT;                       // mov %ax, %cx
    g->device = 0x100;
    assert_int_equal(rig_run(g, code, sizeof code - 1), JIT_END_HUNG);
    assert_string_equal(g->said, "");
    assert_int_equal(g->device, 0x102);
    assert_int_equal(g->stored, 0x201);
    assert_int_equal(g->cpu->regs[CPU_ECX] & 0xffff, 0x100);
    assert_int_equal(rig_totals(g).part, 0);
    rig_close(g);
}

// Flags that a multiplication leaves undefined are not compared; who reads them ends the comparison.
static void test_undefined_flags(void **state) {
    (void)state;
    Rig *g = rig_open(1);
    static const char unread[] = "\xf7\xe1\xeb\x00" HLT, read[] = "\xf7\xe1\x78\x00" HLT;     // mul %cx; jmp, js
    assert_int_equal(rig_run(g, unread, sizeof unread - 1), JIT_END_HUNG);
    assert_int_equal(rig_totals(g).part, 0);
    rig_close(g);
    g = rig_open(1);
    assert_int_equal(rig_run(g, read, sizeof read - 1), JIT_END_HUNG);
    assert_int_equal(rig_totals(g).part, 1);
    rig_close(g);
}

// 1/N: N executions apart on average, no two runs of a loop with another step: each block gets its turn.
static void test_sampling(void **state) {
    (void)state;
    static const char loop[] = "\xb9\x00\x10\xbb\x08\x90\xff\xe3"     // two blocks, 4096 times: mov; jmp *%bx and
                               "\xbb\x0d\x90\xff\xe3\x49\x75\xf8" HLT;      // dec %cx; jne
    Rig *g = rig_open(16);
    assert_int_equal(rig_run(g, loop, sizeof loop - 1), JIT_END_HUNG);
    Totals t = rig_totals(g);
    assert_in_range(t.full, 2 * 4096 / 16 - 1, 2 * 4096 / 16 + 2);
    rig_close(g);
    for (unsigned at = 0; at < 2; at++) {       // a mistake in either block of the loop is met
        g = rig_open(16);
        g->jit->spoil = at ? mistake_register : mistake_memory;   // ADD, INC
        static const char other[] = "\xb9\x00\x10\xbb\x08\x90\xff\xe3\x40\xbb\x0e\x90\xff\xe3"
                                    "\x83\xc2\x01\x49\x75\xf4" HLT;
        assert_int_equal(rig_run(g, other, sizeof other - 1), JIT_END_SHUTDOWN);
        assert_int_equal(bus_exit_status(g->bus), 78);
        rig_close(g);
    }
}

// A group of accesses that crosses a page border: the block is left, and compared as far as it got.
static void test_groups(void **state) {
    (void)state;
    Rig *g = rig_open(1);
    static const char code[] = "\xbb\xfc\x6f\x43"                   // mov $0x6ffc, %bx; inc %bx
                               "\x8b\x07\x03\x47\x02\x03\x47\x06" HLT;     // mov (%bx); add 2(%bx); add 6(%bx)
    for (u32 i = 0; i < 8; i++) bus_ram(g->bus)[0x6ff8 + i] = (u8)i;
    assert_int_equal(rig_run(g, code, sizeof code - 1), JIT_END_HUNG);
    assert_string_equal(g->said, "");
    assert_int_equal(rig_totals(g).part, 0);
    assert_int_equal(g->cpu->regs[CPU_EAX] & 0xffff, 0x0605 + 0x1107 + 0x1111);
    rig_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes_are_found), cmocka_unit_test(test_devices_are_touched_once),
        cmocka_unit_test(test_undefined_flags), cmocka_unit_test(test_sampling), cmocka_unit_test(test_groups),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
