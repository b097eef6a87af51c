// SPDX-License-Identifier: MIT
// The pair of 8259As. Build and run:
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc tests/unit/test_pic.c
//       src/dev/pic.c src/base/*.c src/bus/*.c -lcmocka -lpthread -o build/test_pic
//       && build/test_pic        (one line)
#define _GNU_SOURCE
#include "dev/pic.h"
#include "testbus.h"

#include <string.h>

typedef struct World {
    Log log;
    Bus *bus;
    Pic *pic;
} World;

static void out(World *w, u16 port, u8 value) { bus_out(w->bus, port, 1, value); }
static u8 in(World *w, u16 port) { return (u8)bus_in(w->bus, port, 1); }

static void line(World *w, unsigned irq, bool level) {
    Wire wire = pic_irq(w->pic, irq);
    wire_set(&wire, level);
}
static void edge(World *w, unsigned irq) { line(w, irq, false), line(w, irq, true); }

static void init_chip(World *w, u16 port, u8 base, u8 icw3, u8 icw4) {
    out(w, port, 0x11);
    out(w, port + 1, base);
    out(w, port + 1, icw3);
    out(w, port + 1, icw4);
}

static int setup(void **state) {
    World *w = mem_new(sizeof(World));
    log_init(&w->log);
    w->bus = bus_new(1 << 20, &w->log);
    w->pic = pic_new(w->bus);
    device_reset_all(w->bus);
    init_chip(w, 0x20, 0x08, 4, 1);
    init_chip(w, 0xa0, 0x70, 2, 1);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    World *w = *state;
    pic_free(w->pic);
    bus_free(w->bus);
    log_close(&w->log);
    free(w);
    return 0;
}

static void test_before_init(void **state) {
    World *w = *state;
    device_reset_all(w->bus);
    edge(w, 0);
    edge(w, 8);
    assert_false(bus_intr(w->bus));
    init_chip(w, 0x20, 0x20, 4, 1);
    edge(w, 0);
    assert_true(bus_intr(w->bus));
    assert_int_equal(pic_int_ack(w->pic), 0x20);
}

static u8 irr(World *w, u16 port) { return out(w, port, 0x0a), in(w, port); }
static u8 isr(World *w, u16 port) { return out(w, port, 0x0b), in(w, port); }

#define ACK(w, vector) do { \
        assert_true(bus_intr((w)->bus)); \
        assert_int_equal(bus_int_ack((w)->bus), vector); \
    } while (0)
#define QUIET(w) assert_false(bus_intr((w)->bus))

static void test_edge(void **state) {
    World *w = *state;
    QUIET(w);
    edge(w, 3);
    assert_int_equal(irr(w, 0x20), 8);
    ACK(w, 0x0b);
    QUIET(w);
    assert_int_equal(irr(w, 0x20), 0);
    assert_int_equal(isr(w, 0x20), 8);
    edge(w, 3);                          // latched while in service
    QUIET(w);
    out(w, 0x20, 0x20);
    ACK(w, 0x0b);
    out(w, 0x20, 0x20);
    QUIET(w);                            // the line is still high: no new edge
    assert_int_equal(isr(w, 0x20), 0);
}

static void test_withdrawn(void **state) {
    World *w = *state;
    edge(w, 3);
    line(w, 3, false);
    QUIET(w);
    assert_int_equal(bus_int_ack(w->bus), 0x0f);      // too late: spurious IRQ 7
    assert_int_equal(isr(w, 0x20), 0);
}

static void test_level(void **state) {
    World *w = *state;
    out(w, 0x4d0, 0xff);
    out(w, 0x4d1, 0xff);
    assert_int_equal(in(w, 0x4d0), 0xf8);
    assert_int_equal(in(w, 0x4d1), 0xde);
    line(w, 5, true);
    ACK(w, 0x0d);
    assert_int_equal(irr(w, 0x20), 0x20);             // still there
    QUIET(w);
    out(w, 0x20, 0x20);
    ACK(w, 0x0d);                                     // again, until the device lets go
    line(w, 5, false);
    out(w, 0x20, 0x20);
    QUIET(w);
    line(w, 11, true);
    ACK(w, 0x73);
    line(w, 11, false);
    out(w, 0xa0, 0x20);
    out(w, 0x20, 0x20);
    QUIET(w);
    line(w, 11, true);                                // level to edge: the latch is empty
    out(w, 0x4d1, 0);
    QUIET(w);
}

static void test_priority(void **state) {
    World *w = *state;
    edge(w, 6), edge(w, 1), edge(w, 4);
    ACK(w, 0x09);
    QUIET(w);
    edge(w, 0);                                       // higher: nests
    ACK(w, 0x08);
    assert_int_equal(isr(w, 0x20), 3);
    out(w, 0x20, 0x20);                               // ends the highest, 0
    assert_int_equal(isr(w, 0x20), 2);
    QUIET(w);
    out(w, 0x20, 0x20);
    ACK(w, 0x0c);
    out(w, 0x20, 0x64);                               // specific EOI of 4
    ACK(w, 0x0e);
    out(w, 0x20, 0x63);                               // of another level: no effect
    assert_int_equal(isr(w, 0x20), 0x40);
    out(w, 0x20, 0x20);
    edge(w, 7);
    ACK(w, 0x0f);
    out(w, 0x20, 0x20);                               // the last in line is ended, too
    assert_int_equal(isr(w, 0x20), 0);
}

static void test_mask(void **state) {
    World *w = *state;
    out(w, 0x21, 0x12);
    assert_int_equal(in(w, 0x21), 0x12);
    edge(w, 1), edge(w, 4);
    QUIET(w);
    assert_int_equal(irr(w, 0x20), 0x12);
    out(w, 0x21, 0x02);
    ACK(w, 0x0c);
    out(w, 0x21, 0x00);
    ACK(w, 0x09);
}

static void test_slave(void **state) {
    World *w = *state;
    edge(w, 12), edge(w, 8), edge(w, 3);
    ACK(w, 0x70);
    assert_int_equal(isr(w, 0x20), 4);
    assert_int_equal(isr(w, 0xa0), 1);
    QUIET(w);                                         // 12 waits for both chips
    out(w, 0xa0, 0x20);
    QUIET(w);
    out(w, 0x20, 0x20);
    ACK(w, 0x74);
    out(w, 0xa0, 0x20);
    out(w, 0x20, 0x20);
    ACK(w, 0x0b);
    out(w, 0x20, 0x20);
    line(w, 9, false);
    line(w, 2, true);                                 // pin 2 of the slots is IRQ 9
    ACK(w, 0x71);
}

static void test_slave_spurious(void **state) {
    World *w = *state;
    edge(w, 10);
    out(w, 0xa1, 0xff);                               // masked while INT was up
    QUIET(w);
    assert_int_equal(irr(w, 0x20), 0);
    out(w, 0xa1, 0x00);
    ACK(w, 0x72);
    out(w, 0x20, 0x20);
    out(w, 0xa0, 0x0c);                               // poll the slave: nothing new
    assert_int_equal(in(w, 0xa0), 0x07);
    assert_int_equal(isr(w, 0xa0), 4);
}

static void test_fully_nested(void **state) {
    World *w = *state;
    init_chip(w, 0x20, 0x08, 4, 0x11);                // special fully nested
    edge(w, 12);
    ACK(w, 0x74);
    edge(w, 3);
    QUIET(w);
    edge(w, 13);
    QUIET(w);
    edge(w, 8);                                       // higher on the slave: passes
    ACK(w, 0x70);
    assert_int_equal(isr(w, 0xa0), 0x11);
}

// The slave's INT falls at its acknowledgement: the next request is a new edge for the master.
static void test_slave_auto_eoi(void **state) {
    World *w = *state;
    init_chip(w, 0xa0, 0x70, 2, 3);
    edge(w, 9), edge(w, 12);
    ACK(w, 0x71);
    QUIET(w);
    out(w, 0x20, 0x20);
    ACK(w, 0x74);
    out(w, 0x20, 0x20);
    QUIET(w);
}

// Special fully nested mode means the master's IR2 only.
static void test_slave_does_not_nest(void **state) {
    World *w = *state;
    init_chip(w, 0xa0, 0x70, 2, 0x11);
    edge(w, 10);
    ACK(w, 0x72);
    out(w, 0x20, 0x20);
    edge(w, 10);
    QUIET(w);
    out(w, 0xa0, 0x20);
    ACK(w, 0x72);
}

static void test_auto_eoi(void **state) {
    World *w = *state;
    init_chip(w, 0x20, 0x08, 4, 3);
    edge(w, 5), edge(w, 6);
    ACK(w, 0x0d);
    assert_int_equal(isr(w, 0x20), 0);
    ACK(w, 0x0e);
    out(w, 0x20, 0x80);                               // rotate in automatic EOI mode
    edge(w, 4), edge(w, 5);
    ACK(w, 0x0c);
    edge(w, 4);                                       // has become the lowest
    ACK(w, 0x0d);
    ACK(w, 0x0c);
    out(w, 0x20, 0x00);                               // off: 5 is lowest, 4 before it
    edge(w, 5), edge(w, 4);
    ACK(w, 0x0d);                                     // after 4 was served: order 5 6 7 0 .. 4
    ACK(w, 0x0c);
}

static void test_rotation(void **state) {
    World *w = *state;
    out(w, 0x20, 0xc3);                               // 3 is lowest: order 4 5 6 7 0 1 2 3
    edge(w, 0), edge(w, 5), edge(w, 3);
    ACK(w, 0x0d);
    QUIET(w);
    edge(w, 4);
    ACK(w, 0x0c);
    out(w, 0x20, 0x20);                               // non-specific: 4 first
    assert_int_equal(isr(w, 0x20), 0x20);
    out(w, 0x20, 0xa0);                               // rotate: 5 becomes lowest
    ACK(w, 0x08);
    out(w, 0x20, 0xe0);                               // rotate on specific EOI of 0: 1 2 3 ...
    assert_int_equal(isr(w, 0x20), 0);
    edge(w, 0);
    ACK(w, 0x0b);
    out(w, 0x20, 0x20);
    ACK(w, 0x08);
}

static void test_special_mask(void **state) {
    World *w = *state;
    edge(w, 3);
    ACK(w, 0x0b);
    out(w, 0x21, 0x08);
    edge(w, 6);
    QUIET(w);
    out(w, 0x20, 0x68);                               // special mask mode
    ACK(w, 0x0e);
    out(w, 0x20, 0x20);                               // ends 6, not the masked 3
    assert_int_equal(isr(w, 0x20), 8);
    edge(w, 7);
    ACK(w, 0x0f);
    out(w, 0x20, 0x20);
    edge(w, 5);
    out(w, 0x20, 0x08);                               // ESMM 0: mode stays
    ACK(w, 0x0d);
    out(w, 0x20, 0x65);
    edge(w, 6);
    out(w, 0x20, 0x48);                               // off
    QUIET(w);
    out(w, 0x20, 0x63);
    ACK(w, 0x0e);
}

static void test_poll(void **state) {
    World *w = *state;
    edge(w, 6);
    out(w, 0x20, 0x0c);
    assert_int_equal(in(w, 0x20), 0x86);
    QUIET(w);
    assert_int_equal(isr(w, 0x20), 0x40);
    out(w, 0x20, 0x0c);
    assert_int_equal(in(w, 0x21), 0x07);              // nothing; either port gives the pulse
    assert_int_equal(in(w, 0x21), 0x00);              // once
    edge(w, 0);
    out(w, 0x20, 0x0c);
    assert_int_equal(in(w, 0x20), 0x80);
    edge(w, 14);
    out(w, 0x20, 0x20);
    out(w, 0x20, 0x0c);
    assert_int_equal(in(w, 0x20), 0x82);
    out(w, 0xa0, 0x0c);
    assert_int_equal(in(w, 0xa0), 0x86);
    QUIET(w);
}

static void test_init(void **state) {
    World *w = *state;
    edge(w, 4);
    ACK(w, 0x0c);
    edge(w, 1);
    line(w, 6, true);
    out(w, 0x21, 0xff);
    out(w, 0x20, 0xc2);
    out(w, 0x20, 0x0b);
    out(w, 0x20, 0x13);                               // single, ICW4
    assert_int_equal(in(w, 0x20), 0);                 // IRR selected, latches gone
    out(w, 0x21, 0x47);                               // low three bits do not count
    out(w, 0x21, 0x01);                               // ICW4: no ICW3 in between
    assert_int_equal(in(w, 0x21), 0);                 // unmasked
    out(w, 0x21, 0x01);
    assert_int_equal(in(w, 0x21), 1);                 // OCW1 again
    assert_int_equal(isr(w, 0x20), 0);
    QUIET(w);
    edge(w, 3), edge(w, 7);
    ACK(w, 0x43);
    out(w, 0x20, 0x12);                               // single, no ICW4: one word
    out(w, 0x21, 0x50);
    out(w, 0x21, 0xf0);
    assert_int_equal(in(w, 0x21), 0xf0);
}

static void test_snapshot_and_info(void **state) {
    World *w = *state, *v;
    setup((void **)&v);
    char *text;
    size_t bytes;
    out(w, 0x4d1, 0x0c);
    out(w, 0x21, 0xb8), out(w, 0xa1, 0x8e);
    edge(w, 0);
    ACK(w, 0x08);
    edge(w, 1);
    testbus_copy_devices(v->bus, w->bus);
    assert_true(device_hash(v->bus) == device_hash(w->bus));
    out(v, 0x20, 0x20);
    ACK(v, 0x09);
    FILE *f = open_memstream(&text, &bytes);
    device_info(v->bus, "pic", f);
    fclose(f);
    assert_ptr_equal(strstr(text,
        "pic0: irr=00 imr=b8 isr=02 hprio=0 irq_base=08 rr_sel=0 elcr=00 fnm=0\n"
        "pic1: irr=00 imr=8e isr=00 hprio=0 irq_base=70 rr_sel=0 elcr=0c fnm=0\n"), text);
    free(text);
    teardown((void **)&v);
}

// Random programming must neither crash nor break INTR == "an acknowledge gives a real vector".
static void test_random(void **state) {
    World *w = *state;
    static const u16 ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };
    u32 seed = 7;
    for (int i = 0; i < 200000; i++) {
        seed = seed * 1664525 + 1013904223;
        u16 port = ports[(seed >> 8) % 6];
        switch (seed >> 29) {
        case 0: out(w, port, (u8)(seed >> 16)); break;
        case 1: in(w, port); break;
        case 2: bus_int_ack(w->bus); break;
        case 3: out(w, port & 0xa0, 0x20); break;
        default: line(w, seed >> 16 & 15, seed >> 20 & 1);
        }
        if (i % 1000 == 999) {
            init_chip(w, 0x20, 0x08, 4, 1);
            init_chip(w, 0xa0, 0x70, 2, 1);
            for (unsigned n = 0; n < 16; n++) line(w, n, false);
            QUIET(w);
            assert_int_equal(isr(w, 0x20) | isr(w, 0xa0), 0);
        }
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_before_init), T(test_edge), T(test_withdrawn), T(test_level), T(test_priority), T(test_mask),
        T(test_slave), T(test_slave_spurious), T(test_fully_nested), T(test_slave_auto_eoi),
        T(test_slave_does_not_nest), T(test_auto_eoi), T(test_rotation), T(test_special_mask),
        T(test_poll), T(test_init), T(test_snapshot_and_info), T(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
