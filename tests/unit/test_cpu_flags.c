// SPDX-License-Identifier: MIT
// flags_compute against the host's own flags: exhaustive for bytes, random for words and dwords.
//   gcc -std=gnu11 -Wall -Wextra -g -Isrc tests/unit/test_cpu_flags.c src/base/*.c -lcmocka
//       -o build/test_cpu_flags && build/test_cpu_flags  (one line)
#include "base/flags.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

// Host flags after `insn` on a (first operand) and b with carry in c. PUSHF would need care with
// the red zone: LAHF and SETO give the same bits.
#define HOST(insn, type, a, b, c) ({ \
        type x_ = (type)(a), y_ = (type)(b); \
        u32 f_; \
        __asm__ volatile("btl $0, %k3\n\t" insn "\n\tlahf\n\tseto %%al" \
                         : "=&a"(f_), "+&q"(x_) : "q"(y_), "r"((u32)(c)) : "cc"); \
        (f_ >> 8 & FLAG_SZAPC) | (f_ & 1 ? FLAG_OF : 0); })
#define HOST_SHIFT(insn, type, a, n) ({ \
        type x_ = (type)(a); \
        u32 f_; \
        __asm__ volatile(insn " %%cl, %1\n\tlahf\n\tseto %%al" \
                         : "=&a"(f_), "+&q"(x_) : "c"(n) : "cc"); \
        (f_ >> 8 & FLAG_SZAPC) | (f_ & 1 ? FLAG_OF : 0); })

#define CHECK(kind, log2, a, b, c, want) do { \
        u32 got_ = flags_compute(FLAGS_OP(kind, log2), a, b, c), want_ = want; \
        if (got_ != want_) \
            fail_msg("%s size %u a=%x b=%x c=%x: %03x, host %03x", flags_kind_name(kind), \
                     1u << (log2), (u32)(a), (u32)(b), (u32)(c), got_, want_); \
    } while (0)

// All kinds with operands a and b; carry in c. Garbage above the size must not matter.
#define CHECK_ALL(type, suffix, log2, a, b, c) do { \
        u32 dirt_ = (log2) == 2 ? 0 : 0xa5a5a5a5u << (8u << (log2)); \
        u32 p_ = (a) | dirt_, q_ = (b) | dirt_; \
        CHECK(FLAGS_ADD, log2, p_, q_, c, HOST("add" suffix " %2, %1", type, a, b, c)); \
        CHECK(FLAGS_ADDR, log2, p_ + q_, q_, c, HOST("add" suffix " %2, %1", type, a, b, c)); \
        CHECK(FLAGS_SUB, log2, p_, q_, c, HOST("sub" suffix " %2, %1", type, a, b, c)); \
        CHECK(FLAGS_SUBR, log2, p_ - q_, q_, c, HOST("sub" suffix " %2, %1", type, a, b, c)); \
        CHECK(FLAGS_ADC, log2, p_, q_, c, HOST("adc" suffix " %2, %1", type, a, b, c)); \
        CHECK(FLAGS_SBB, log2, p_, q_, c, HOST("sbb" suffix " %2, %1", type, a, b, c)); \
        CHECK(FLAGS_LOGIC, log2, p_ & q_, 0, c, HOST("and" suffix " %2, %1", type, a, b, c)); \
        CHECK(FLAGS_INC, log2, p_ + 1, 0, c, HOST("inc" suffix " %1", type, a, b, c)); \
        CHECK(FLAGS_DEC, log2, p_ - 1, 0, c, HOST("dec" suffix " %1", type, a, b, c)); \
    } while (0)

#define CHECK_SHIFTS(type, suffix, log2, a, n) do { \
        CHECK(FLAGS_SHL, log2, a, n, 0, HOST_SHIFT("shl" suffix, type, a, n)); \
        CHECK(FLAGS_SHR, log2, a, n, 0, HOST_SHIFT("shr" suffix, type, a, n)); \
        CHECK(FLAGS_SAR, log2, a, n, 0, HOST_SHIFT("sar" suffix, type, a, n)); \
    } while (0)

static void test_bytes(void **state) {
    (void)state;
    for (u32 a = 0; a < 256; a++)
        for (u32 b = 0; b < 256; b++)
            for (u32 c = 0; c < 2; c++) CHECK_ALL(u8, "b", 0, a, b, c);
}

// Values around the places where flags change, mixed with random ones.
static u32 next_operand(u32 *seed) {
    static const u32 edges[] = { 0, 1, 15, 16, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x10000,
                                 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff };
    *seed = *seed * 1664525 + 1013904223;
    u32 pick = *seed >> 16;
    return pick & 1 ? edges[(pick >> 1) % ARRAY_LEN(edges)] : *seed ^ (*seed >> 13) ^ pick << 20;
}

static void test_wide(void **state) {
    (void)state;
    u32 seed = 1;
    for (u32 i = 0; i < 300000; i++) {
        u32 a = next_operand(&seed), b = next_operand(&seed), c = i & 1;
        CHECK_ALL(u16, "w", 1, a & 0xffff, b & 0xffff, c);
        CHECK_ALL(u32, "l", 2, a, b, c);
    }
}

static void test_shifts(void **state) {
    (void)state;
    u32 seed = 7;
    for (u32 n = 1; n < 32; n++) {
        for (u32 a = 0; a < 256; a++) CHECK_SHIFTS(u8, "b", 0, a, n);
        for (u32 i = 0; i < 2000; i++) {
            u32 a = next_operand(&seed);
            CHECK_SHIFTS(u16, "w", 1, a, n);
            CHECK_SHIFTS(u32, "l", 2, a, n);
        }
    }
}

static void test_plain(void **state) {
    (void)state;
    assert_int_equal(flags_compute(FLAGS_OP(FLAGS_RAW, 2), 0xffffffff, 1, 1), FLAG_OSZAPC);
    assert_int_equal(flags_compute(FLAGS_OP(FLAGS_LAHF, 0), 0xff01, 0, 0), FLAG_OSZAPC);
    assert_int_equal(flags_compute(FLAGS_OP(FLAGS_LAHF, 0), 0x0100, 0, 0), FLAG_CF);
    assert_string_equal(flags_kind_name(FLAGS_SBB), "sbb");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes), cmocka_unit_test(test_wide), cmocka_unit_test(test_shifts),
        cmocka_unit_test(test_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
