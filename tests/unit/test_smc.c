// SPDX-License-Identifier: MIT
// Stores into pages with translated code: what they drop, what they leave, what comes back.
//     make test T=unit/test_smc
#include "testbus.h"

#include "cpu/cpu.h"

#include <cmocka.h>

#include "testjit.h"

enum { CODE = 0x9000, TARGET_PAGE = 0xa000, TARGET = TARGET_PAGE + 0xc0, TARGET_BYTES = 10 };
enum { APART = TARGET_PAGE + 0x800 };

static int rig_open(void **state) {
    return rig_open_with(state, &(JitOptions){ .cache_mib = 4, .restore = JIT_RESTORE_CHECK });
}

static void flat(Rig *g, u32 cpl) { rig_flat(g, cpl, 0xffffffff); }

static void run(Rig *g, u32 eip) {
    g->cpu->eip = eip;
    run_stretch(g->jit, 100);
}

// Code at the beginning of a granule, EAX becomes 3: xor %eax, %eax ; inc ... ; jmp to itself.
static void put_target(Rig *g) {
    rig_put(g, TARGET, "\x31\xc0" "\x40\x40\x40" "\x42\x42\x42" "\xeb\xfe", TARGET_BYTES);
}

// A store of one size, its address in EBX.
typedef struct Store { u32 bytes; const char *code; u32 code_bytes; } Store;
#define STORE(bytes, code) { bytes, code, sizeof(code) - 1 }
static const Store stores[] = {
    STORE(1, "\x88\x03"), STORE(2, "\x66\x89\x03"), STORE(4, "\x89\x03"), STORE(8, "\xdf\x3b"),   // fistpll (%ebx)
    STORE(10, "\xdb\x3b"),                                                                        // fstpt (%ebx)
    STORE(4, "\x31\x03"),                                                                         // xor %eax, (%ebx)
};

// fld1 ; mov $, %eax ; stores to the page twice, at APART, so that it is dirty and known, then to `at`.
static void put_store(Rig *g, const Store *s, u32 at) {
    static const char begin[] = "\xd9\xe8\xd9\xe8\xd9\xe8" "\xb8\x77\x66\x55\x44" "\xbb\x00\xa8\x00\x00";
    char code[64];
    u32 n = sizeof begin - 1;
    memcpy(code, begin, n);
    for (unsigned i = 0; i < 2; i++, n += s->code_bytes) memcpy(code + n, s->code, s->code_bytes);
    code[n] = '\xbb';
    put_le32((u8 *)code + n + 1, at);
    memcpy(code + n + 5, s->code, s->code_bytes);
    memcpy(code + n + 5 + s->code_bytes, "\xdb\xe3\xeb\xfe", 4);       // fninit ; jmp to itself
    rig_put(g, CODE, code, n + 5 + s->code_bytes + 4);
}

// Is what is in memory what the store, done to these bytes, makes of them?
static void check_stored(Rig *g, const Store *s, u32 at, const u8 *before) {
    u8 want[TARGET_BYTES + 1];
    u32 in_place;
    memcpy(want, before, s->bytes);
    memcpy(&in_place, before, 4);
    put_le32(want, s->code[0] == '\x31' ? in_place ^ 0x44556677 : 0x44556677);
    if (s->bytes < 4) memcpy(want + s->bytes, before + s->bytes, 4 - s->bytes);
    if (s->bytes == 8) memcpy(want, "\1\0\0\0\0\0\0\0", 8);
    if (s->bytes == 10) memcpy(want, "\0\0\0\0\0\0\0\x80\xff\x3f", 10);
    assert_memory_equal(bus_ram(g->bus) + at, want, s->bytes > 4 ? s->bytes : 4);
}

static void check_store(Rig *g, const Store *s, u32 at) {
    u8 before[16];
    put_target(g);
    put_store(g, s, at);
    jit_flush(g->jit);
    run(g, TARGET);
    assert_int_equal(g->cpu->regs[CPU_EAX], 3);
    memcpy(before, bus_ram(g->bus) + at, sizeof before);
    u64 dropped = g->jit->stats.invalidations, beside = g->cpu->jit_slow[SLOW_BESIDE];
    run(g, CODE);
    check_stored(g, s, at, before);
    bool over = at < TARGET + TARGET_BYTES && TARGET < at + s->bytes;
    bool aligned = !(at & (s->bytes - 1)) && s->bytes <= 8;
    bool changes = memcmp(before, bus_ram(g->bus) + at, s->bytes) != 0;
    assert_int_equal(g->jit->stats.invalidations > dropped, over && changes);
    beside = g->cpu->jit_slow[SLOW_BESIDE] - beside;
    if (aligned && !over) assert_in_range(beside, 2, 3);           // all but, perhaps, the first
}

// Stores of each size to each place around a block drop it when they meet it, and only then. Breaks with either
// granule's test of stub_beside(), or smc_look() without the parts.
static void test_every_place(void **state) {
    Rig *g = *state;
    for (u32 cpl = 0; cpl <= 3; cpl += 3) {
        flat(g, cpl);
        for (unsigned i = 0; i < ARRAY_LEN(stores); i++)
            for (u32 at = TARGET - 80; at < TARGET + 80; at++) check_store(g, &stores[i], at);
    }
}

// Breaks with stub_beside()'s test of the store log.
static void test_stores_are_logged(void **state) {
    Rig *g = *state;
    const u32 *ppns;
    flat(g, 0);
    put_target(g);
    put_store(g, &stores[2], APART + 4);
    run(g, TARGET);
    run(g, CODE);
    bus_log_stores(g->bus);
    run(g, CODE);
    bus_log_stores(g->bus);                        // anew: entries that are there stay
    run(g, CODE);
    assert_int_equal(bus_logged_stores(g->bus, &ppns), 1);
    assert_int_equal(ppns[0], TARGET_PAGE >> PAGE_SHIFT);
}

// What is there already changes no code. Breaks with slow_commit_code()'s comparison.
static void test_same_bytes(void **state) {
    Rig *g = *state;
    flat(g, 0);
    rig_put(g, TARGET, "\xb8\x77\x66\x55\x44" "\xeb\xfe", 7);      // mov $0x44556677, %eax ; jmp to itself
    put_store(g, &stores[2], TARGET + 1);
    for (unsigned i = 0; i < 3; i++) {
        run(g, TARGET);
        run(g, CODE);
    }
    assert_int_equal(g->jit->stats.invalidations, 0);
}

// A version of the target, 1 + number, and whether it was there already.
static bool version_is_reused(Rig *g, u8 number) {
    u64 wakes = g->jit->stats.wakes;
    u8 code[3] = { 0x83, (u8)(0xc0 | (number & 0x80 ? 0x28 : 0)), number };        // add or sub
    bus_dma_write(g->bus, phy(TARGET + 5), code, sizeof code);
    run(g, TARGET);
    assert_int_equal(g->cpu->regs[CPU_EAX], number & 0x80 ? 1 - (u32)(i8)number : 1u + number);
    return g->jit->stats.wakes > wakes;
}

// Code that comes back is found; where it never does it is not looked for, but now and then. Breaks without the
// counting in smc_wake(), either way.
static void test_versions_in_vain(void **state) {
    Rig *g = *state;
    enum { FEW = 6, ROUNDS = 10, MANY = 120, PAUSE = 1200 };
    u8 number = 0;
    flat(g, 0);
    rig_put(g, TARGET, "\xb8\x01\x00\x00\x00" "\x83\xc0\x02" "\xeb\xfe", TARGET_BYTES);    // mov $1, %eax ; add
    for (u32 round = 0; round < ROUNDS; round++) {
        for (u32 i = 0; i < FEW; i++) assert_false(version_is_reused(g, number++));
        assert_true(version_is_reused(g, number - FEW));
    }
    for (u32 i = 0; i < MANY; i++) assert_false(version_is_reused(g, number++));
    u32 until = 0;
    while (until < PAUSE && !version_is_reused(g, (u8)(200 + until % 2))) until++;
    assert_in_range(until, PAUSE / 2, PAUSE - 1);
    for (u32 i = 1; i < 10; i++) assert_true(version_is_reused(g, (u8)(200 + (until + i) % 2)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)
        T(test_every_place), T(test_stores_are_logged), T(test_same_bytes), T(test_versions_in_vain),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
