// SPDX-License-Identifier: MIT
// The MC146818. Build and run:
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc tests/unit/test_rtc.c
//       src/dev/rtc.c src/base/*.c src/bus/*.c -lcmocka -lpthread -o build/test_rtc
//       && build/test_rtc        (one line)
#define _GNU_SOURCE
#include "dev/rtc.h"
#include "testbus.h"

#include <string.h>
#include <time.h>

#define MS 1000000ull
#define SECOND (1000 * MS)

typedef struct World {
    Log log;
    Bus *bus;
    Rtc *rtc;
    u64 now_ns;
    bool irq8;
    u32 edges;
} World;

static u64 world_now(void *self) { return ((World *)self)->now_ns; }

static void world_irq(void *self, unsigned n, bool level) {
    World *w = self;
    (void)n;
    w->edges += level && !w->irq8;
    w->irq8 = level;
}

static void go(World *w, u64 ns) {
    w->now_ns = ns;
    bus_run_timers(w->bus);
}

static void start(World *w, i64 epoch) {
    log_init(&w->log);
    w->bus = bus_new(1 << 20, &w->log);
    bus_set_clock_source(w->bus, world_now, w);
    w->rtc = rtc_new(w->bus, (Wire){ world_irq, w, 0 }, epoch);
    device_reset_all(w->bus);
}

static void finish(World *w) {
    rtc_free(w->rtc);
    bus_free(w->bus);
    log_close(&w->log);
}

static int setup(void **state) {
    World *w = mem_new(sizeof(World));
    start(w, 951782398);                          // 2000-02-28 23:59:58, a Monday
    *state = w;
    return 0;
}

static int teardown(void **state) {
    finish(*state);
    free(*state);
    return 0;
}

static u8 get(World *w, u8 index) {
    bus_out(w->bus, 0x70, 1, index);
    return (u8)bus_in(w->bus, 0x71, 1);
}

static void set(World *w, u8 index, u8 value) {
    bus_out(w->bus, 0x70, 1, index);
    bus_out(w->bus, 0x71, 1, value);
}

// "YYYYMMDD wN hhmmss" from the raw bytes.
static const char *shown(World *w) {
    static char text[40];                         // of the test alone
    snprintf(text, sizeof(text), "%02x%02x%02x%02x w%x %02x%02x%02x", get(w, 0x32), get(w, 9),
             get(w, 8), get(w, 7), get(w, 6), get(w, 4), get(w, 2), get(w, 0));
    return text;
}

static void test_runs(void **state) {
    World *w = *state;
    assert_string_equal(shown(w), "20000228 w2 235958");
    go(w, SECOND - 1);
    assert_string_equal(shown(w), "20000228 w2 235958");
    go(w, SECOND);
    assert_string_equal(shown(w), "20000228 w2 235959");
    go(w, 2 * SECOND);
    assert_string_equal(shown(w), "20000229 w3 000000");
    go(w, (2 + 86400) * SECOND);
    assert_string_equal(shown(w), "20000301 w4 000000");
}

// Against the C library's calendar, over two hundred years.
static void test_calendar(void **state) {
    (void)state;
    u32 seed = 3;
    for (int i = 0; i < 400; i++) {
        seed = seed * 1664525 + 1013904223;
        time_t at = (time_t)seed * 3 / 2 - 1000000000;      // 1938 to 2142
        u64 later = (u64)(seed >> 4) % 400000000;
        World *w = mem_new(sizeof(World));
        start(w, at);
        for (int round = 0; round < 2; round++) {
            struct tm t;
            char text[40], all[64];
            gmtime_r(&at, &t);
            strftime(text, sizeof(text), "%Y%m%d w%%d %H%M%S", &t);
            snprintf(all, sizeof(all), "%.10s%d%s", text, t.tm_wday + 1, text + 12);
            assert_string_equal(shown(w), all);
            at += (time_t)later;
            go(w, later * SECOND);
        }
        finish(w);
        free(w);
    }
}

static void test_formats(void **state) {
    World *w = *state;
    set(w, 0x0b, 0x06);                           // binary, 24 h: the program sets the time anew
    set(w, 0, 58), set(w, 2, 59), set(w, 4, 11), set(w, 7, 31), set(w, 8, 12), set(w, 9, 99);
    set(w, 6, 7), set(w, 0x32, 19);
    go(w, 2 * SECOND);
    assert_int_equal(get(w, 4), 12);
    assert_int_equal(get(w, 0), 0);
    set(w, 0x0b, 0x00);                           // BCD, 12 h
    set(w, 0, 0x59), set(w, 2, 0x59), set(w, 4, 0x91), set(w, 7, 0x31), set(w, 8, 0x12);
    set(w, 9, 0x99), set(w, 0x32, 0x19);          // 11:59:59 pm is 0x91
    go(w, 3 * SECOND);
    assert_string_equal(shown(w), "20000101 w1 120000");    // midnight is 12 am
    set(w, 4, 0x11), set(w, 0, 0x59), set(w, 2, 0x59);
    go(w, 4 * SECOND);
    assert_int_equal(get(w, 4), 0x92);            // noon is 12 pm
    set(w, 0, 0x59), set(w, 2, 0x59);
    go(w, 5 * SECOND);
    assert_int_equal(get(w, 4), 0x81);
    set(w, 0x0b, 0x04);                           // binary, 12 h
    set(w, 4, 11 | 0x80), set(w, 0, 59), set(w, 2, 59), set(w, 7, 28), set(w, 8, 2), set(w, 9, 1);
    set(w, 0x32, 20);
    go(w, 6 * SECOND);
    assert_int_equal(get(w, 4), 12);
    assert_int_equal(get(w, 7), 1);
    assert_int_equal(get(w, 8), 3);
}

static void test_set_bit(void **state) {
    World *w = *state;
    set(w, 0x0b, 0x92);                           // SET clears UIE
    assert_int_equal(get(w, 0x0b), 0x82);
    go(w, SECOND - MS);
    assert_int_equal(get(w, 0x0a), 0x26);         // no update in sight
    go(w, 10 * SECOND + 300 * MS);
    assert_string_equal(shown(w), "20000228 w2 235958");
    assert_int_equal(get(w, 0x0c), 0x40);         // no UF
    set(w, 0x0b, 0x02);
    go(w, 11 * SECOND - 1);
    assert_string_equal(shown(w), "20000228 w2 235958");
    go(w, 11 * SECOND);                           // the divider was not disturbed
    assert_string_equal(shown(w), "20000228 w2 235959");
}

static void test_divider_reset(void **state) {
    World *w = *state;
    set(w, 0x0a, 0x76);
    go(w, 10 * SECOND + 123 * MS);
    assert_string_equal(shown(w), "20000228 w2 235958");
    set(w, 0x0a, 0x26);                           // released: first update after half a second
    go(w, 10 * SECOND + 622 * MS);
    assert_string_equal(shown(w), "20000228 w2 235958");
    go(w, 10 * SECOND + 623 * MS);
    assert_string_equal(shown(w), "20000228 w2 235959");
}

static void test_uip(void **state) {
    World *w = *state;
    go(w, 3 * SECOND - 2228001);
    assert_int_equal(get(w, 0x0a), 0x26);
    go(w, 3 * SECOND - 2228000);
    assert_int_equal(get(w, 0x0a), 0xa6);
    go(w, 3 * SECOND - 1);
    assert_int_equal(get(w, 0x0a), 0xa6);
    go(w, 3 * SECOND);
    assert_int_equal(get(w, 0x0a), 0x26);
    set(w, 0x0a, 0xa6);                           // UIP cannot be written
    assert_int_equal(get(w, 0x0a), 0x26);
}

static void test_update_interrupt(void **state) {
    World *w = *state;
    set(w, 0x0b, 0x12);
    get(w, 0x0c);
    go(w, SECOND - 1);
    assert_false(w->irq8);
    go(w, SECOND);
    assert_true(w->irq8);
    go(w, 2 * SECOND);                            // not served: the line stays
    assert_int_equal(w->edges, 1);
    assert_int_equal(get(w, 0x0c), 0xf0);         // IRQF, UF; not enabled: PF, AF at 00:00:00
    assert_false(w->irq8);
    assert_int_equal(get(w, 0x0c), 0);
    go(w, 3 * SECOND);
    assert_int_equal(w->edges, 2);
    set(w, 0x0b, 0x02);                           // disabling takes the request away
    assert_false(w->irq8);
    assert_int_equal(get(w, 0x0c), 0x50);
    assert_true(bus_next_deadline_ns(w->bus) == UINT64_MAX);
}

static void test_alarm(void **state) {
    World *w = *state;
    set(w, 1, 0x05), set(w, 3, 0x00), set(w, 5, 0x00);
    get(w, 0x0c);
    go(w, 6 * SECOND);                            // 00:00:04
    assert_int_equal(get(w, 0x0c) & 0x30, 0x10);
    go(w, 20 * SECOND);
    assert_int_equal(get(w, 0x0c) & 0x30, 0x30);  // found although nobody looked at 00:00:05
    set(w, 0x0b, 0x22);
    set(w, 1, 0x30), set(w, 3, 0xff), set(w, 5, 0xc0);      // each minute at :30
    w->edges = 0;
    for (u64 s = 21; s < 21 + 180; s++) {
        go(w, s * SECOND);
        if (!w->irq8) continue;
        assert_int_equal(get(w, 0), 0x30);
        assert_int_equal(get(w, 0x0c) & 0xa0, 0xa0);
    }
    assert_int_equal(w->edges, 3);
    set(w, 0x0b, 0x00);                           // 12 h: alarm at 1 pm
    set(w, 4, 0x92), set(w, 2, 0x59), set(w, 0, 0x58);
    set(w, 5, 0x81), set(w, 3, 0x00), set(w, 1, 0x00);
    get(w, 0x0c);
    go(w, 201 * SECOND);
    assert_int_equal(get(w, 0x0c) & 0x20, 0);
    go(w, 202 * SECOND);
    assert_int_equal(get(w, 0x0c) & 0x20, 0x20);
}

static void test_periodic(void **state) {
    World *w = *state;
    set(w, 0x0b, 0x42);                           // 1024 Hz
    get(w, 0x0c);
    for (u64 i = 1; i <= 2048; i++) {
        u64 at = i * SECOND / 1024 + (i * SECOND % 1024 != 0);
        go(w, at - 1);
        assert_false(w->irq8);
        go(w, at);
        assert_true(w->irq8);
        assert_int_equal(get(w, 0x0c) & 0xc0, 0xc0);
    }
    assert_int_equal(w->edges, 2048);
    set(w, 0x0a, 0x2f);                           // 2 Hz
    go(w, 2400 * MS);
    assert_false(w->irq8);
    go(w, 2500 * MS);
    assert_true(w->irq8);
    get(w, 0x0c);
    set(w, 0x0a, 0x26);                           // the old deadline does not hold
    assert_true(bus_next_deadline_ns(w->bus) < 2501 * MS);
    set(w, 0x0a, 0x20);                           // none
    get(w, 0x0c);
    go(w, 10 * SECOND);
    assert_int_equal(get(w, 0x0c) & 0xc0, 0);
    set(w, 0x0b, 0x02);
    set(w, 0x0a, 0x21);                           // 256 Hz, polled
    go(w, 10 * SECOND + 3 * MS);
    assert_int_equal(get(w, 0x0c) & 0x40, 0);
    go(w, 10 * SECOND + 4 * MS);
    assert_int_equal(get(w, 0x0c) & 0xc0, 0x40);
    assert_int_equal(get(w, 0x0c) & 0xc0, 0);
    set(w, 0x0a, 0x23);                           // 8192 Hz
    go(w, 10 * SECOND + 4 * MS + 150000);
    assert_int_equal(get(w, 0x0c) & 0xc0, 0x40);
}

// Missed periods come one by one as the guest acknowledges; a long stop drops them.
static void test_periodic_catch_up(void **state) {
    World *w = *state;
    set(w, 0x0b, 0x42);
    get(w, 0x0c);
    go(w, 5 * SECOND / 1024 + 1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(get(w, 0x0c) & 0xc0, 0xc0);
        assert_false(w->irq8);
        u64 next = bus_next_deadline_ns(w->bus);
        assert_true(next < 6 * SECOND / 1024);
        go(w, next);
        assert_true(w->irq8);
    }
    assert_int_equal(w->edges, 5);
    get(w, 0x0c);
    assert_int_equal(bus_next_deadline_ns(w->bus), 6 * SECOND / 1024);
    go(w, 3 * SECOND);
    assert_int_equal(bus_next_deadline_ns(w->bus), 3073 * SECOND / 1024 + 1);
}

static void test_memory_and_reset(void **state) {
    World *w = *state;
    rtc_set_cmos(w->rtc, 0x10, 0x40);
    rtc_set_cmos(w->rtc, 0xff, 0x99);
    assert_int_equal(get(w, 0x10), 0x40);
    set(w, 0x3d, 0x21);
    bus_out(w->bus, 0x72, 1, 0x7f);
    assert_int_equal(bus_in(w->bus, 0x73, 1), 0x99);
    bus_out(w->bus, 0x73, 1, 0x55);
    assert_int_equal(get(w, 0x0d), 0x80);
    set(w, 0x0d, 0), set(w, 0x0c, 0xff);
    assert_int_equal(get(w, 0x0d), 0x80);
    assert_int_equal(get(w, 0x0c), 0);
    assert_int_equal(bus_in(w->bus, 0x70, 1), 0xff);
    bus_out(w->bus, 0x70, 1, 0x8f);
    assert_true(rtc_nmi_masked(w->rtc));
    set(w, 0x0f, 0x05);
    assert_false(rtc_nmi_masked(w->rtc));
    set(w, 0x0b, 0x7a);
    go(w, SECOND);
    assert_true(w->irq8);
    device_reset_all(w->bus);
    assert_false(w->irq8);
    assert_int_equal(get(w, 0x0b), 0x02);
    assert_int_equal(get(w, 0x0f), 0x05);         // the shutdown byte survives
    assert_int_equal(rtc_get_cmos(w->rtc, 0x3d), 0x21);
    assert_int_equal(rtc_get_cmos(w->rtc, 0xff), 0x55);
    assert_string_equal(shown(w), "20000228 w2 235959");
    assert_true(bus_next_deadline_ns(w->bus) == UINT64_MAX);
}

static void test_snapshot(void **state) {
    World *w = *state, *v;
    setup((void **)&v);
    set(w, 0x0b, 0x72), set(w, 0x0a, 0x2d), set(w, 9, 0x07);
    go(w, 777 * MS);
    v->now_ns = w->now_ns;
    testbus_copy_devices(v->bus, w->bus);
    v->irq8 = w->irq8, v->edges = w->edges;
    for (u64 ms = 777; ms < 5000; ms += 5) {
        go(w, ms * MS), go(v, ms * MS);
        assert_int_equal(w->edges, v->edges);
        assert_true(device_hash(w->bus) == device_hash(v->bus));
        if (ms % 3 == 0) assert_int_equal(get(w, 0x0c), get(v, 0x0c));
    }
    assert_true(w->edges > 10);
    teardown((void **)&v);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_runs), cmocka_unit_test(test_calendar), T(test_formats), T(test_set_bit),
        T(test_divider_reset), T(test_uip), T(test_update_interrupt), T(test_alarm),
        T(test_periodic), T(test_periodic_catch_up), T(test_memory_and_reset), T(test_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
