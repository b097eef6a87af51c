// SPDX-License-Identifier: MIT
// The 8254 and port 0x61. The oracle is a second model in this file that counts clock by clock, as
// the datasheet tells it. Build and run:
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc tests/unit/test_pit.c
//       src/dev/pit.c src/base/*.c src/bus/*.c -lcmocka -lpthread -o build/test_pit
//       && build/test_pit        (one line)
#define _GNU_SOURCE
#include "dev/pit.h"
#include "testbus.h"

#include <string.h>

typedef struct World {
    Log log;
    Bus *bus;
    Pit *pit;
    u64 now_ns;
    bool irq0;
    u32 edges;                 // rising edges of IRQ 0
    u64 edge_ns;               // of the last one
} World;

static u64 world_now(void *self) { return ((World *)self)->now_ns; }

static void world_irq(void *self, unsigned n, bool level) {
    World *w = self;
    (void)n;
    if (level && !w->irq0) w->edges++, w->edge_ns = w->now_ns;
    w->irq0 = level;
}

static u64 ns_of_tick(u64 tick) {
    return (u64)(((unsigned __int128)tick * 1000000000u + PIT_HZ - 1) / PIT_HZ);
}

// To the first ns of a tick, running timers that are due.
static void go(World *w, u64 tick) {
    w->now_ns = ns_of_tick(tick);
    bus_run_timers(w->bus);
}

static int setup(void **state) {
    World *w = mem_new(sizeof(World));
    log_init(&w->log);
    w->bus = bus_new(1 << 20, &w->log);
    bus_set_clock_source(w->bus, world_now, w);
    w->pit = pit_new(w->bus, (Wire){ world_irq, w, 0 });
    device_reset_all(w->bus);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    World *w = *state;
    pit_free(w->pit);
    bus_free(w->bus);
    log_close(&w->log);
    free(w);
    return 0;
}

static void out(World *w, u16 port, u32 value) { bus_out(w->bus, port, 1, value); }
static u32 in(World *w, u16 port) { return bus_in(w->bus, port, 1); }

static void out_count(World *w, unsigned i, u32 count) {
    out(w, (u16)(0x40 + i), count & 0xff);
    out(w, (u16)(0x40 + i), count >> 8 & 0xff);
}

static u32 in_count(World *w, unsigned i) {
    u32 low = in(w, (u16)(0x40 + i));
    return low | in(w, (u16)(0x40 + i)) << 8;
}

static u32 latched(World *w, unsigned i) {
    out(w, 0x43, i << 6);
    return in_count(w, i);
}

static bool out2(World *w) { return in(w, 0x61) >> 5 & 1; }

// ---- the oracle: one clock at a time ------------------------------------------------------------
typedef struct Sim {
    unsigned mode;
    bool bcd, out, gate, null, ready, counting, load, trigger, strobe_armed;
    bool loaded;               // since the control word; until then `stale` is read
    u32 stale;
    u32 count;                 // register, 1 to the modulus
    u32 element, n;            // counting element; the count it was loaded with (mode 3)
} Sim;

static u32 sim_modulus(const Sim *s) { return s->bcd ? 10000 : 65536; }

static void sim_control(Sim *s, unsigned mode, bool bcd) {
    s->mode = mode, s->bcd = bcd;
    s->out = mode != 0;
    s->null = true;
    s->ready = s->counting = s->load = s->trigger = s->loaded = false;
}

static void sim_count(Sim *s, u32 count) {
    s->count = count;
    s->ready = s->null = true;
    if (s->mode == 0) s->out = s->counting = false, s->load = true;
    if (s->mode == 4 || ((s->mode == 2 || s->mode == 3) && !s->counting)) s->load = true;
}

static void sim_gate(Sim *s, bool gate) {
    if (gate && !s->gate && s->ready && s->mode != 0 && s->mode != 4) s->trigger = true;
    s->gate = gate;
    if (!gate && (s->mode == 2 || s->mode == 3)) s->out = true;
}

static void sim_take(Sim *s) {
    s->n = s->count;
    s->element = s->mode == 3 ? s->n & ~1u : s->n;
    s->null = s->load = s->trigger = false;
    s->counting = s->strobe_armed = s->loaded = true;
}

static void sim_clock_square(Sim *s) {
    bool tail = s->out && s->n % 2;              // an odd count's high half is one clock longer
    if (s->element == (tail ? 0u : 2u)) {
        sim_take(s);
        s->out = !s->out;
    } else {
        s->element -= 2;
    }
}

static void sim_clock(Sim *s) {
    bool triggered = s->trigger;
    if (!s->out && s->mode >= 4 && (s->gate || s->mode == 5)) s->out = true;
    if (s->load || s->trigger) {
        sim_take(s);
        if (s->mode != 0) s->out = true;
        if (s->mode == 1 && triggered) s->out = false;
        return;
    }
    if (!s->counting || (!s->gate && s->mode != 1 && s->mode != 5)) return;
    if (s->mode == 3) {
        sim_clock_square(s);
        return;
    }
    if (s->mode == 2 && s->element == 1) {
        sim_take(s);
        s->out = true;
        return;
    }
    s->element = (s->element + sim_modulus(s) - 1) % sim_modulus(s);
    if (s->mode == 2) s->out = s->element != 1;
    if (s->element != 0 || !s->strobe_armed || s->mode == 2) return;
    s->strobe_armed = false;
    s->out = s->mode < 4;
}

static u32 sim_read(const Sim *s) {
    if (!s->loaded) return s->stale;
    u32 v = s->element % sim_modulus(s);
    if (!s->bcd) return v;
    return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 << 12;
}

static u32 bcd(u32 v) {
    return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12;
}

typedef struct Random { u32 seed; } Random;
static u32 draw(Random *r, u32 below) {
    r->seed = r->seed * 1664525 + 1013904223;
    return (r->seed >> 10) % below;
}

static u32 draw_count(Random *r, const Sim *s) {
    u32 least = s->mode == 2 || s->mode == 3 ? 2 : 1;
    switch (draw(r, 8)) {
    case 0: return sim_modulus(s);
    case 1: return 250 + draw(r, 20);
    case 2: return 1000 + draw(r, 8999);
    default: return least + draw(r, 30);
    }
}

static void write_count(World *w, unsigned i, const Sim *s, u32 count) {
    out_count(w, i, s->bcd ? bcd(count) : count);
}

static void check(World *w, unsigned i, const Sim *s, u64 tick) {
    out(w, 0x43, 0xc0 | 2u << i);                // read back: status, then count
    u32 status = in(w, (u16)(0x40 + i));
    u32 count = in_count(w, i);
    if (count != sim_read(s) || (status >> 7 & 1) != s->out || (status >> 6 & 1) != s->null)
        fail_msg("mode %u bcd %d n %u gate %d tick %llu: status %02x count %04x, should be out %d "
                 "null %d count %04x", s->mode, s->bcd, s->count, s->gate,
                 (unsigned long long)tick, status, count, s->out, s->null, sim_read(s));
    assert_int_equal(status & 0x3f, 0x30 | s->mode << 1 | s->bcd);
}

// All modes of counter 2 with its gate, random programs.
static void test_modes(void **state) {
    World *w = *state;
    Random r = { 1 };
    Sim s = { 0 };
    u64 tick = 1000;
    go(w, tick);
    for (int program = 0; program < 4000; program++) {
        unsigned mode = draw(&r, 6);
        bool is_bcd = draw(&r, 3) == 0;
        out(w, 0x43, 0xb0 | mode << 1 | is_bcd);
        sim_control(&s, mode, is_bcd);
        s.stale = latched(w, 2);
        for (int step = 0; step < 12; step++) {
            switch (draw(&r, 4)) {
            case 0: {
                u32 count = draw_count(&r, &s);
                write_count(w, 2, &s, count);
                sim_count(&s, count);
                break;
            }
            case 1: {
                bool gate = draw(&r, 2);
                out(w, 0x61, gate);
                sim_gate(&s, gate);
                break;
            }
            default:
                check(w, 2, &s, tick);
            }
            for (u32 n = draw(&r, 3) ? draw(&r, 4) : draw(&r, 90); n; n--) {
                sim_clock(&s);
                go(w, ++tick);
                if (out2(w) != s.out) check(w, 2, &s, tick);
            }
            check(w, 2, &s, tick);
        }
    }
}

// IRQ 0 rises exactly when OUT 0 does.
static void test_irq_edges(void **state) {
    World *w = *state;
    Random r = { 2 };
    Sim s = { .gate = true };
    u64 tick = 5000;
    go(w, tick);
    for (int program = 0; program < 3000; program++) {
        static const u8 modes[] = { 0, 2, 3, 4 };
        if (draw(&r, 2) || !program) {
            unsigned mode = modes[draw(&r, 4)];
            out(w, 0x43, 0x30 | mode << 1);
            sim_control(&s, mode, false);
            s.stale = latched(w, 0);
        }
        u32 count = draw_count(&r, &s);
        write_count(w, 0, &s, count);
        sim_count(&s, count);
        for (u32 n = draw(&r, 100); n; n--) {
            bool before = s.out;
            u32 edges = w->edges;
            sim_clock(&s);
            go(w, ++tick);
            if ((w->edges != edges) != (s.out && !before)) check(w, 0, &s, tick);
            assert_int_equal(w->edges - edges, s.out && !before);
        }
        check(w, 0, &s, tick);
    }
}

// No drift: after days of guest time every edge is still at its exact tick.
static void test_no_drift(void **state) {
    World *w = *state;
    u64 tick = 100000000000;                      // 23 hours
    go(w, tick);
    out(w, 0x43, 0x34);
    out_count(w, 0, 11932);
    tick++;                                       // the clock that loads it
    for (u32 i = 1; i <= 100000; i++) {
        u64 at = ns_of_tick(tick + 11932ull * i);
        assert_int_equal(bus_next_deadline_ns(w->bus), at);
        w->now_ns = at;
        w->edge_ns = 0;
        bus_run_timers(w->bus);
        assert_int_equal(w->edge_ns, at);
    }
}

// A machine that stood still gets its missed ticks one by one, but not hundreds of them.
static void test_catch_up(void **state) {
    World *w = *state;
    out(w, 0x43, 0x34);
    out_count(w, 0, 1000);
    go(w, 1001);
    assert_int_equal(w->edges, 2);               // one for OUT of the control word at reset
    u32 edges = w->edges;
    go(w, 6001);                                  // five more are due
    assert_int_equal(w->edges, edges + 1);
    w->now_ns += 100000;                          // an eighth of a period later: not yet
    bus_run_timers(w->bus);
    assert_int_equal(w->edges, edges + 1);
    for (int i = 0; i < 4; i++) {
        w->now_ns = bus_next_deadline_ns(w->bus);
        assert_true(w->now_ns < ns_of_tick(7001));
        bus_run_timers(w->bus);
        assert_int_equal(w->edges, edges + 2 + (u32)i);
    }
    assert_int_equal(bus_next_deadline_ns(w->bus), ns_of_tick(7001));
    edges = w->edges;
    go(w, 1000500);                               // a second: the rest is dropped
    assert_int_equal(w->edges, edges + 1);
    assert_int_equal(bus_next_deadline_ns(w->bus), ns_of_tick(1001001));
}

// An edge that is due when the counter is programmed anew is not lost.
static void test_due_edge_survives_programming(void **state) {
    World *w = *state;
    out(w, 0x43, 0x34);
    out_count(w, 0, 1000);
    u32 edges = w->edges;
    w->now_ns = ns_of_tick(1001);                 // the timer has not run yet
    out(w, 0x43, 0x34);
    assert_int_equal(w->edges, edges + 1);
    go(w, 5000);
    assert_int_equal(w->edges, edges + 1);        // waits for a count
}

static void test_reset(void **state) {
    World *w = *state;
    out(w, 0x43, 0x30);
    out_count(w, 0, 10);
    out(w, 0x61, 3);
    go(w, 5);
    assert_false(w->irq0);
    device_reset_all(w->bus);
    assert_true(w->irq0);
    assert_int_equal(in(w, 0x61) & 0x0f, 0);
    assert_int_equal(latched(w, 2), 0);           // held
    assert_int_equal(bus_next_deadline_ns(w->bus), ns_of_tick(5 + 65536));
}

static void test_access_widths(void **state) {
    World *w = *state;
    go(w, 10);
    out(w, 0x43, 0x14);                           // low byte only, mode 2
    out(w, 0x40, 0x80);
    go(w, 12);
    assert_int_equal(in(w, 0x40), 0x7f);
    assert_int_equal(in(w, 0x40), 0x7f);
    out(w, 0x43, 0x24);                           // high byte only
    out(w, 0x40, 0x80);
    go(w, 14);
    assert_int_equal(in(w, 0x40), 0x7f);          // 0x7fff
    out(w, 0x43, 0x34);
    out(w, 0x40, 0x03);
    go(w, 20);
    assert_int_equal(in_count(w, 0), 0x7fff);     // frozen since the control word
    out(w, 0x40, 0x12);
    go(w, 21);
    assert_int_equal(in_count(w, 0), 0x1203);
    out(w, 0x43, 0x00);                           // latch
    go(w, 31);
    out(w, 0x43, 0x00);                           // a second latch changes nothing
    assert_int_equal(in_count(w, 0), 0x1203);
    assert_int_equal(in_count(w, 0), 0x11f9);
    out(w, 0x43, 0xc2);                           // status and count, then live again
    go(w, 41);
    assert_int_equal(in(w, 0x40), 0x80 | 0x34);
    assert_int_equal(in_count(w, 0), 0x11f9);
    assert_int_equal(in_count(w, 0), 0x11ef);
    assert_int_equal(in(w, 0x43), 0xff);
    out(w, 0x43, 0x00);
    go(w, 51);
    out(w, 0x43, 0x34);                           // ends the latch
    assert_int_equal(in_count(w, 0), 0x11e5);
}

static void test_port61(void **state) {
    World *w = *state;
    go(w, 0);
    assert_int_equal(in(w, 0x61), 0x20);          // OUT 2 of a held square wave
    out(w, 0x61, 0xff);
    assert_int_equal(in(w, 0x61) & 0xcf, 0x0f);   // bits 4-7 cannot be written
    out(w, 0x43, 0xb0);                           // mode 0: the way delays are calibrated
    out_count(w, 2, 100);
    assert_false(out2(w));
    go(w, 100);
    assert_false(out2(w));
    go(w, 101);
    assert_true(out2(w));
    u32 toggles = 0, last = in(w, 0x61) & 0x10;
    for (u64 tick = 102; tick < 102 + 1800; tick++) {
        go(w, tick);
        u32 now = in(w, 0x61) & 0x10;
        toggles += now != last;
        last = now;
    }
    assert_int_equal(toggles, 100);               // each 15.085 us
}

static void test_speaker(void **state) {
    World *w = *state;
    out(w, 0x61, 3);
    out(w, 0x43, 0xb6);
    out_count(w, 2, 1193);
    go(w, 5);
    assert_int_equal(pit_speaker_millihertz(w->pit), 1000152);
    out(w, 0x61, 1);
    assert_int_equal(pit_speaker_millihertz(w->pit), 0);
    out(w, 0x61, 3);
    out(w, 0x43, 0xb0);
    assert_int_equal(pit_speaker_millihertz(w->pit), 0);
}

static void test_snapshot(void **state) {
    World *w = *state, *v;
    setup((void **)&v);
    go(w, 500);
    out(w, 0x43, 0x36);
    out_count(w, 0, 997);
    go(w, 700);
    out_count(w, 0, 333);                         // waits for the half cycle
    out(w, 0x43, 0x00);
    v->now_ns = w->now_ns;
    testbus_copy_devices(v->bus, w->bus);
    w->edges = v->edges = 0;
    for (u64 tick = 701; tick < 5000; tick++) {
        go(w, tick), go(v, tick);
        assert_int_equal(w->edges, v->edges);
        assert_int_equal(in(w, 0x40), in(v, 0x40));
        assert_true(device_hash(w->bus) == device_hash(v->bus));
    }
    assert_true(w->edges > 10);
    teardown((void **)&v);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_modes), T(test_irq_edges), T(test_no_drift), T(test_catch_up),
        T(test_due_edge_survives_programming), T(test_reset), T(test_access_widths), T(test_port61),
        T(test_speaker), T(test_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
