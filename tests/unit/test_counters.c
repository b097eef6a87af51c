// SPDX-License-Identifier: MIT
// Each cause that `info jit` counts, by a guest of a few instructions that has this one reason to be slow.
//     make test T=unit/test_counters
#include "testbus.h"

#include "cpu/cpu.h"
#include "cpu/mmu.h"

#include <cmocka.h>
#include <stdio.h>

#include "testjit.h"

enum { CODE = 0x9000, DATA = 0x7000, DIRECTORY = 0x100000, TABLE = 0x101000 };

static int rig_open(void **state) {
    return rig_open_with(state, &(JitOptions){ .cache_mib = 4, .restore = JIT_RESTORE_CHECK });
}

static void flat(Rig *g, u32 cpl) { rig_flat(g, cpl, 0xffffffff); }

// The page tables map 4 MiB one to one, and 0x200000 to what is at 0x300000.
static void paged(Rig *g) {
    u8 *ram = bus_ram(g->bus);
    put_le32(ram + DIRECTORY, TABLE | 0x67);
    for (u32 i = 0; i < 1024; i++) put_le32(ram + TABLE + 4 * i, i << 12 | 0x67);
    put_le32(ram + TABLE + 4 * 0x200, 0x300067);
    g->cpu->cr3 = DIRECTORY;
    g->cpu->cr0 |= BIT(31);
    cpu_update_mode(g->cpu);
    mmu_flush(g->cpu);
}

// Runs `bytes` with a jump to itself behind them, in whatever mode the processor is in. CS has base 0.
static void run(Rig *g, const char *bytes, u32 count) {
    rig_put(g, CODE, bytes, count);
    rig_put(g, CODE + count, "\xeb\xfe", 2);
    jit_flush(g->jit);
    memset(g->cpu->jit_slow, 0, sizeof g->cpu->jit_slow);
    memset(&g->jit->stats, 0, sizeof g->jit->stats);
    memset(g->jit->helper_calls, 0, sizeof g->jit->helper_calls);
    g->cpu->seg[CPU_CS].base = 0;
    g->cpu->halted = false;
    g->cpu->eip = CODE;
    cpu_update_mode(g->cpu);
    run_stretch(g->jit, 200);
}
#define RUN(g, bytes) run(g, bytes, sizeof(bytes) - 1)

// Nothing but `n` accesses for this cause.
static void only(const Rig *g, SlowCause cause, u64 n) {
    for (unsigned i = 0; i < SLOW_CAUSES; i++)
        if (g->cpu->jit_slow[i] != (i == cause ? n : 0))
            fail_msg("cause %u is counted %u times", i, (unsigned)g->cpu->jit_slow[i]);
}

#define LOAD(at) "\xbb" at "\x8b\x03"         // mov $at, %ebx ; mov (%ebx), %eax
#define STORE(at) "\xbb" at "\x89\x03"        // mov $at, %ebx ; mov %eax, (%ebx)
#define IN_DATA "\x00\x70\x00\x00"

// By stubs, at once.
static void test_stubs(void **state) {
    Rig *g = *state;
    flat(g, 0);
    RUN(g, LOAD(IN_DATA));
    RUN(g, LOAD(IN_DATA));
    only(g, SLOW_UNALIGNED, 0);
    RUN(g, LOAD("\x01\x70\x00\x00"));
    only(g, SLOW_UNALIGNED, 1);
    paged(g);
    RUN(g, LOAD("\x00\x00\x20\x00"));
    RUN(g, LOAD("\x00\x00\x20\x00"));
    only(g, SLOW_WINDOW, 1);
    RUN(g, LOAD("\x02\x00\x20\x00"));
    only(g, SLOW_UNALIGNED, 1);
}

static void test_memory(void **state) {
    Rig *g = *state;
    flat(g, 0);
    RUN(g, LOAD(IN_DATA));
    only(g, SLOW_MISS, 1);
    RUN(g, LOAD("\x00\x60\x00\x00"));
    RUN(g, LOAD("\xfe\x6f\x00\x00"));
    only(g, SLOW_CROSSING, 1);
    bus_map_none(g->bus, 0x200, 1);
    RUN(g, LOAD("\x00\x00\x20\x00"));
    RUN(g, LOAD("\x00\x00\x20\x00"));
    only(g, SLOW_DEVICE, 1);
    bus_map_rom(g->bus, 0x201, 1, bus_ram(g->bus) + 0x201000);
    RUN(g, STORE("\x00\x10\x20\x00"));
    RUN(g, STORE("\x00\x10\x20\x00"));
    only(g, SLOW_ROM, 1);
    RUN(g, LOAD(IN_DATA));
    g->cpu->cr4 |= BIT(9);
    RUN(g, "\x0f\x28\x05\x04\x70\x00\x00");    // movaps 0x7004, %xmm0: #GP
    assert_int_equal(g->cpu->jit_slow[SLOW_OTHER], 1);
}

static void test_real_mode_limit(void **state) {
    Rig *g = *state;
    rig_put(g, 13 * 4, "\x00\x50\x00\x00", 4);     // #GP: to 0000:5000
    rig_put(g, 0x5000, "\xeb\xfe", 2);
    g->cpu->regs[CPU_ESP] = 0x4000;
    RUN(g, "\xa1\xff\xff");                    // mov 0xffff, %ax
    only(g, SLOW_LIMIT, 1);
    assert_int_equal(g->jit->stats.exits[EXIT_FAULT], 1);
}

static void test_alignment_checks(void **state) {
    Rig *g = *state;
    flat(g, 3);
    RUN(g, LOAD(IN_DATA));
    g->cpu->cr0 |= BIT(18);
    g->cpu->eflags |= FLAG_AC;
    RUN(g, LOAD(IN_DATA));
    only(g, SLOW_ALIGN, 1);
}

static void test_code_and_tables(void **state) {
    Rig *g = *state;
    flat(g, 0);
    RUN(g, STORE("\x00\x9f\x00\x00"));
    RUN(g, STORE("\x00\x9f\x00\x00"));         // the entry is there, and says that there is code
    only(g, SLOW_BESIDE, 1);
    rig_put(g, CODE + 0x80, "\xc3", 1);
    RUN(g, "\xbc\x00\x80\x00\x00" "\xe8\x76\x00\x00\x00" "\xa2\x80\x90\x00\x00");    // mov $0x8000, %esp ; call ; store
    assert_int_equal(g->cpu->jit_slow[SLOW_CODE], 1);
    RUN(g, STORE("\x07\x90\x00\x00"));         // over the jump that follows
    assert_int_equal(g->jit->stats.steps[STEP_RESTART], 1);
    paged(g);
    RUN(g, LOAD("\x00\x18\x10\x00"));
    RUN(g, STORE("\x00\x18\x10\x00"));
    RUN(g, STORE("\x00\x18\x10\x00"));
    only(g, SLOW_TABLE, 1);
}

static void test_dirt(void **state) {
    Rig *g = *state;
    flat(g, 0);
    bus_page(g->bus, DATA >> PAGE_SHIFT)->flags |= BUS_PAGE_DIRTY_LOG;
    RUN(g, LOAD(IN_DATA));
    RUN(g, STORE(IN_DATA));
    only(g, SLOW_CLEAN, 1);
}

static void test_steps(void **state) {
    Rig *g = *state;
    flat(g, 0);
    g->cpu->dr[0] = 0x8000;
    g->cpu->dr[7] = 1;
    RUN(g, "\x90");
    assert_true(g->jit->stats.steps[STEP_BREAKS] > 100);
    g->cpu->dr[7] = 0;
    RUN(g, "\x90");
    for (unsigned i = 0; i < STEP_CAUSES; i++) assert_int_equal(g->jit->stats.steps[i], 0);
    jit_step(g->jit);
    assert_int_equal(g->jit->stats.steps[STEP_DEBUGGER], 1);
}

static void test_trap_flag(void **state) {
    Rig *g = *state;
    rig_put(g, 4, "\x00\x50\x00\x00", 4);         // #DB: to 0000:5000
    rig_put(g, 0x5000, "\xcf", 1);                 // iret
    g->cpu->regs[CPU_ESP] = 0x4000;
    g->cpu->eflags |= FLAG_TF;
    RUN(g, "\x90");
    assert_true(g->jit->stats.steps[STEP_TRAP] > 10);
}

// Counted time: blocks end before a timer's instruction, what is left is stepped.
static void test_counted(void **state) {
    (void)state;
    void *rig;
    rig_open_with(&rig, &(JitOptions){ .cache_mib = 4, .icount = true, .icount_shift = 3 });
    Rig *g = rig;
    flat(g, 0);
    RUN(g, "\x90");
    assert_in_range(g->jit->stats.steps[STEP_COUNT], 30, 200);
    rig_close(&rig);
}

static void test_exits_and_helpers(void **state) {
    Rig *g = *state;
    flat(g, 0);
    RUN(g, "\x0f\x01\xf0" "\x0f\x01\xf0" "\xe4\x80");  // lmsw %ax ; lmsw %ax ; in $0x80, %al
    assert_int_equal(g->jit->stats.exits[EXIT_POLL], 1);
    assert_true(g->jit->stats.exits[EXIT_LINK] >= 1);
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    jit_info(g->jit, out);
    fclose(out);
    assert_non_null(strstr(text, "\nhelpers called\n  lmsw 2  in 1\n"));
    assert_non_null(strstr(text, "\n  budget used up                       1\n"));
    free(text);
    RUN(g, "\xb8\x07\x90\x00\x00" "\xff\xe0" "\xf4");     // mov $., %eax ; jmp *%eax ; hlt
    assert_int_equal(g->jit->stats.exits[EXIT_LOOKUP], 1);
    assert_int_equal(g->jit->stats.exits[EXIT_LEAVE], 1);
    RUN(g, "\x0f\x0b");                       // ud2
    assert_true(g->jit->stats.exits[EXIT_RAISE] + g->jit->stats.exits[EXIT_FAULT] > 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_stubs), T(test_memory), T(test_real_mode_limit), T(test_alignment_checks), T(test_code_and_tables),
        T(test_dirt), T(test_steps), T(test_trap_flag), cmocka_unit_test(test_counted), T(test_exits_and_helpers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
