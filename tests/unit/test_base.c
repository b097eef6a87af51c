// SPDX-License-Identifier: MIT
// The ground: arena, memory, log. Build and run:
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc tests/unit/test_base.c
//       src/base/*.c -lcmocka -o build/test_base && build/test_base        (one line)
#define _GNU_SOURCE
#include "base/arena.h"
#include "base/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_helpers(void **state) {
    (void)state;
    assert_int_equal(trunc_size(0x12345678, 1), 0x78);
    assert_int_equal(trunc_size(0x12345678, 2), 0x5678);
    assert_int_equal(trunc_size(0x12345678, 4), 0x12345678);
    assert_int_equal(bits(0xabcd, 4, 8), 0xbc);
    u8 b[9] = { 0 };
    put_le32(b + 1, 0x11223344);
    assert_int_equal(get_le16(b + 2), 0x2233);
}

static void test_mem(void **state) {
    (void)state;
    u8 *p = mem_new(100);
    for (int i = 0; i < 100; i++) assert_int_equal(p[i], 0);
    p = mem_resize(p, 200);
    free(p);
    char *s = mem_strdup("guest"), *t = mem_printf("%s-%d", s, 386);
    assert_string_equal(t, "guest-386");
    free(s);
    free(t);
}

static void test_arena(void **state) {
    (void)state;
    Arena *a = arena_new(1024);
    u8 *first = arena_alloc(a, 10);
    u8 *second = arena_alloc(a, 0);
    u8 *third = arena_alloc(a, 1);
    assert_int_equal((uintptr_t)first % 16, 0);
    assert_ptr_equal(second, first + 16);
    assert_ptr_equal(third, second);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            u8 *p = arena_alloc(a, (size_t)i * 7);
            assert_int_equal((uintptr_t)p % 16, 0);
            memset(p, i, (size_t)i * 7);
        }
        memset(arena_alloc(a, 5000), 0xee, 5000);     // larger than a chunk
        arena_reset(a);
    }
    arena_free(a);
}

// Allocations must not overlap, across chunks and after a reset.
static void test_arena_distinct(void **state) {
    (void)state;
    Arena *a = arena_new(256);
    for (int round = 0; round < 2; round++) {
        u32 *p[64];
        for (u32 i = 0; i < 64; i++) {
            p[i] = arena_alloc(a, 60);
            for (u32 k = 0; k < 15; k++) p[i][k] = i;
        }
        for (u32 i = 0; i < 64; i++)
            for (u32 k = 0; k < 15; k++) assert_int_equal(p[i][k], i);
        arena_reset(a);
    }
    arena_free(a);
}

static void test_log_items(void **state) {
    (void)state;
    Log log;
    char *bad = NULL;
    log_init(&log);
    assert_int_equal(log.mask, 0);
    assert_true(log_parse_items(&log, "in_asm,op,out_asm", &bad));
    assert_int_equal(log.mask, LOG(IN_ASM) | LOG(OP) | LOG(OUT_ASM));
    assert_true(log_on(&log, LOG(OP)));
    assert_false(log_on(&log, LOG(OP_OPT)));         // not taken for its prefix "op"
    assert_false(log_parse_items(&log, "int,in_as", &bad));
    assert_string_equal(bad, "in_as");
    free(bad);
    assert_int_equal(log.mask, LOG(IN_ASM) | LOG(OP) | LOG(OUT_ASM));
    assert_true(log_parse_items(&log, "int", &bad));
    assert_int_equal(log.mask, LOG(INT));
    assert_true(log_parse_items(&log, "all", &bad));
    assert_true(log_on(&log, LOG(DMA)) && log_on(&log, LOG(OUT_ASM)));
    assert_true(log_parse_items(&log, "none", &bad));
    assert_int_equal(log.mask, 0);
    log_close(&log);
}

static void test_log_filter(void **state) {
    (void)state;
    Log log;
    log_init(&log);
    assert_true(log_pc_chosen(&log, 5));
    assert_true(log_parse_filter(&log, "0x7c00..0x7dff,0x100+16,512-4"));
    assert_true(log_pc_chosen(&log, 0x7c00) && log_pc_chosen(&log, 0x7dff));
    assert_false(log_pc_chosen(&log, 0x7bff) || log_pc_chosen(&log, 0x7e00));
    assert_true(log_pc_chosen(&log, 0x100) && log_pc_chosen(&log, 0x10f));
    assert_false(log_pc_chosen(&log, 0x110));
    assert_true(log_pc_chosen(&log, 509) && log_pc_chosen(&log, 512));
    assert_false(log_pc_chosen(&log, 508) || log_pc_chosen(&log, 513));
    const char *bad[] = { "", "1", "1..", "2..1", "1+0", "x..y", "1..2;", "1..2,", "0-2",
                          "0xffffffff+2", "0x100000000..0x100000001" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(log_parse_filter(&log, bad[i]));
    assert_true(log_pc_chosen(&log, 0x7c00));        // a bad filter changes nothing
    assert_true(log_parse_filter(&log, "0xffffffff+1,0..0xf"));
    assert_true(log_pc_chosen(&log, 0xffffffff) && log_pc_chosen(&log, 0));
    log_close(&log);
}

static void test_log_file(void **state) {
    (void)state;
    Log log;
    char *bad, path[] = "/tmp/glassbox-test-XXXXXX", line[100];
    close(mkstemp(path));
    log_init(&log);
    assert_false(log_open(&log, "/nonexistent/log"));
    assert_int_equal(errno, ENOENT);
    assert_ptr_equal(log.file, stderr);
    assert_true(log_open(&log, path));
    log_guest_error(&log, "pit", "not chosen");
    assert_true(log_parse_items(&log, "guest_errors", &bad));
    log_guest_error(&log, "pit", "odd count %d", 1);
    log_printf(&log, "%s\n", "end");
    log_close(&log);
    FILE *f = fopen(path, "r");
    assert_string_equal(fgets(line, sizeof(line), f), "pit: odd count 1\n");
    assert_string_equal(fgets(line, sizeof(line), f), "end\n");
    assert_null(fgets(line, sizeof(line), f));
    fclose(f);
    unlink(path);
}

static void test_panic(void **state) {
    (void)state;
    int fd[2], status;
    assert_int_equal(pipe(fd), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(fd[1], 2);
        signal(SIGABRT, SIG_DFL);
        require(1 + 1 == 3);
        _exit(0);
    }
    close(fd[1]);
    char text[200] = "";
    for (size_t at = 0; at < sizeof(text) - 1;) {
        ssize_t got = read(fd[0], text + at, sizeof(text) - 1 - at);
        if (got <= 0) break;
        at += (size_t)got;
    }
    close(fd[0]);
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_ptr_equal(strstr(text, "glassbox: internal error: 1 + 1 == 3 ("), text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_helpers), cmocka_unit_test(test_mem), cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_distinct), cmocka_unit_test(test_log_items),
        cmocka_unit_test(test_log_filter), cmocka_unit_test(test_log_file),
        cmocka_unit_test(test_panic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
