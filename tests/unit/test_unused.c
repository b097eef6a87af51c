// SPDX-License-Identifier: MIT
// Limits, alignment checks and debug registers cost nothing where they are not in use: the very same code runs.
//     make test T=unit/test_unused
#include "testbus.h"

#include "cpu/cpu.h"
#include "cpu/mmu.h"

#include <cmocka.h>

#include "testjit.h"

enum { CODE = 0x9000, DATA = 0x7000, ROUNDS = 1000 };

static int rig_open(void **state) { return rig_open_with(state, &(JitOptions){ .cache_mib = 4 }); }

static void user(Rig *g, u32 limit) { rig_flat(g, 3, limit); }

// Runs the loop; the block that it is.
static const Block *run(Rig *g) {
    // 1: mov (%esi), %eax ; add %eax, 4(%edi) ; push %eax ; pop %edx ; mov %edx, (%edi,%ecx,4) ; dec %ecx ; jnz 1b
    static const char loop[] = "\x8b\x06" "\x01\x47\x04" "\x50" "\x5a" "\x89\x14\x8f" "\x49" "\x75\xf3" "\xeb\xfe";
    Cpu *cpu = g->cpu;
    memcpy(bus_ram(g->bus) + CODE, loop, sizeof loop);
    cpu->eip = CODE;
    cpu->regs[CPU_ECX] = ROUNDS;
    cpu->regs[CPU_ESI] = DATA;
    cpu->regs[CPU_EDI] = 0x10000;
    cpu->regs[CPU_ESP] = 0x8000;
    cpu_update_mode(cpu);
    run_stretch(g->jit, 7 * ROUNDS + 100);
    assert_int_equal(cpu->regs[CPU_ECX], 0);
    return cache_find(g->jit, CODE);
}

static void test_unused(void **state) {
    Rig *g = *state;
    Cpu *cpu = g->cpu;
    user(g, 0xffffffff);
    const Block *plain = run(g);
    plain = run(g);
    u64 blocks = g->jit->stats.blocks;
    cpu->cr0 |= BIT(18);                               // AM without AC
    for (unsigned i = 0; i < 4; i++) cpu->dr[i] = DATA;
    cpu->dr[7] = 0x33330400;                           // conditions, none enabled
    assert_ptr_equal(run(g), plain);
    cpu->cr0 &= ~BIT(18);
    cpu->eflags |= FLAG_AC;                            // AC without AM
    assert_ptr_equal(run(g), plain);
    assert_true(g->jit->stats.blocks == blocks);
    for (unsigned i = 0; i < STEP_CAUSES; i++) assert_true(g->jit->stats.steps[i] == 0);
}

// Where they are used there is other code, or none: what runs is not checked behind one's back.
static void test_used(void **state) {
    Rig *g = *state;
    user(g, 0xffffffff);
    const Block *plain = run(g);
    user(g, 0xfffff);
    const Block *limited = run(g);
    assert_ptr_not_equal(limited, plain);
    assert_true(limited->hot_bytes > plain->hot_bytes);
    user(g, 0xffffffff);
    assert_ptr_equal(run(g), plain);
    g->cpu->dr[7] = 0x400 | 1;
    run(g);
    assert_true(g->jit->stats.steps[STEP_BREAKS] >= 7 * ROUNDS);
    g->cpu->dr[7] = 0x400;
    assert_ptr_equal(run(g), plain);
    g->cpu->cr0 |= BIT(18);
    g->cpu->eflags |= FLAG_AC;
    run(g);
    assert_true(g->cpu->jit_slow[SLOW_ALIGN] >= 4 * ROUNDS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unused, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(test_used, rig_open, rig_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
