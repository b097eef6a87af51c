// SPDX-License-Identifier: MIT
// The local and the I/O APIC: virtual wire, priorities, EOI, timer, IPI to oneself, errors, pins and
// remote IRR, the base register.
#include "testbus.h"

#include "dev/ioapic.h"
#include "dev/lapic.h"
#include "dev/pic.h"

#define LAPIC 0xfee00000u
#define IOAPIC 0xfec00000u
enum { ID = 0x20, VERSION = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0,
       ISR = 0x100, TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR2 = 0x310, LVT_TIMER = 0x320,
       LVT_LINT0 = 0x350, LVT_LINT1 = 0x360, LVT_ERROR = 0x370, COUNT_INIT = 0x380, COUNT = 0x390,
       DIVIDE = 0x3e0 };

typedef struct World {
    TestBus t;
    Pic *pic;
    Lapic *lapic;
    IoApic *io;
} World;

static u32 get(World *w, u32 reg) { return bus_read(w->t.bus, phy(LAPIC + reg), 4); }
static void put(World *w, u32 reg, u32 v) { bus_write(w->t.bus, phy(LAPIC + reg), 4, v); }
static u32 io_get(World *w, u32 reg) {
    bus_write(w->t.bus, phy(IOAPIC), 4, reg);
    return bus_read(w->t.bus, phy(IOAPIC + 0x10), 4);
}
static void io_put(World *w, u32 reg, u32 v) {
    bus_write(w->t.bus, phy(IOAPIC), 4, reg);
    bus_write(w->t.bus, phy(IOAPIC + 0x10), 4, v);
}
static void pin(World *w, unsigned n, bool level) {
    Wire wire = ioapic_pin(w->io, n);
    wire_set(&wire, level);
}
static void irq(World *w, unsigned n, bool level) {
    Wire wire = pic_irq(w->pic, n);
    wire_set(&wire, level);
}
static bool intr(World *w) { return bus_intr(w->t.bus); }
static u8 ack(World *w) { return bus_int_ack(w->t.bus); }
static void ipi(World *w, u8 vector) { put(w, ICR, 0x40000 | vector); }       // shorthand: self

static int setup(void **state) {
    World *w = mem_new(sizeof *w);
    testbus_open(&w->t, 1 << 20);
    Bus *bus = w->t.bus;
    w->pic = pic_new(bus);
    w->lapic = lapic_new(bus, pic_int_ack, w->pic);
    w->io = ioapic_new(bus, w->lapic);
    pic_set_output(w->pic, lapic_lint(w->lapic, 0));
    device_reset_all(bus);
    static const u8 icw[] = { 0x11, 0x08, 4, 1, 0 };
    for (unsigned i = 0; i < 5; i++) bus_out(bus, i ? 0x21 : 0x20, 1, icw[i]);
    lapic_set_base(w->lapic, LAPIC | 0x900);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    World *w = *state;
    ioapic_free(w->io);
    lapic_free(w->lapic);
    pic_free(w->pic);
    testbus_close(&w->t);
    free(w);
    return 0;
}

static void enable(World *w) { put(w, SVR, 0x1ff); }

static void test_virtual_wire(void **state) {
    World *w = *state;
    irq(w, 4, true);                                      // out of reset: the PIC is heard
    assert_true(intr(w));
    assert_int_equal(ack(w), 0x0c);
    assert_false(intr(w));
    bus_out(w->t.bus, 0x20, 1, 0x20);
    irq(w, 4, false);
    enable(w);
    put(w, LVT_LINT0, 0x10700);                           // masked
    irq(w, 4, true);
    assert_false(intr(w));
    put(w, LVT_LINT0, 0x700);
    assert_true(intr(w));
    ipi(w, 0x41);
    assert_int_equal(ack(w), 0x41);                       // its own vectors first
    assert_true(intr(w));
    assert_int_equal(ack(w), 0x0c);
    assert_false(intr(w));
}

static void test_switched_off(void **state) {
    World *w = *state;
    enable(w);
    put(w, LVT_LINT0, 0x10000);
    ipi(w, 0x41);
    assert_true(intr(w));
    lapic_set_base(w->lapic, LAPIC | 0x100);
    assert_false(intr(w));
    assert_int_equal(get(w, VERSION), 0xffffffff);        // nobody at the address
    irq(w, 3, true);
    assert_true(intr(w));
    assert_int_equal(ack(w), 0x0b);
    lapic_set_base(w->lapic, 0xfed00900);
    assert_int_equal(get(w, VERSION), 0xffffffff);
    assert_int_equal(bus_read(w->t.bus, phy(0xfed00030), 4), 0x50014);
}

static void test_priorities(void **state) {
    World *w = *state;
    enable(w);
    ipi(w, 0x51);
    ipi(w, 0x61);
    ipi(w, 0x62);
    assert_int_equal(get(w, IRR + 0x30), 0x6);
    assert_int_equal(ack(w), 0x62);
    assert_int_equal(get(w, ISR + 0x30), 0x4);
    assert_int_equal(get(w, PPR), 0x60);
    assert_false(intr(w));                                // 61 is of the same class
    ipi(w, 0x71);
    assert_true(intr(w));
    assert_int_equal(ack(w), 0x71);
    put(w, EOI, 0);
    put(w, EOI, 0);
    assert_int_equal(ack(w), 0x61);
    put(w, EOI, 0);
    put(w, TPR, 0x5f);
    assert_int_equal(get(w, PPR), 0x5f);
    assert_false(intr(w));
    put(w, TPR, 0x40);
    assert_true(intr(w));
    put(w, TPR, 0xff);
    assert_int_equal(ack(w), 0xff);                       // too late: spurious
    put(w, TPR, 0);
    assert_int_equal(ack(w), 0x51);
    assert_int_equal(get(w, ISR + 0x70), 0);              // the spurious one is not in service
}

static void test_software_disable(void **state) {
    World *w = *state;
    enable(w);
    put(w, LVT_TIMER, 0x30);
    put(w, SVR, 0xff);
    assert_int_equal(get(w, LVT_TIMER), 0x10030);
    put(w, LVT_TIMER, 0x30);
    assert_int_equal(get(w, LVT_TIMER), 0x10030);         // cannot be unmasked
    ipi(w, 0x41);
    assert_false(intr(w));
}

static void test_timer(void **state) {
    World *w = *state;
    enable(w);
    put(w, DIVIDE, 3);                                    // by 16
    put(w, LVT_TIMER, 0x31);
    put(w, COUNT_INIT, 1000);
    testbus_advance(&w->t, 8000);
    assert_int_equal(get(w, COUNT), 500);
    assert_false(intr(w));
    testbus_advance(&w->t, 8000);
    assert_int_equal(get(w, COUNT), 0);
    assert_int_equal(ack(w), 0x31);
    put(w, EOI, 0);
    testbus_advance(&w->t, 1000000);
    assert_false(intr(w));                                // once
    put(w, LVT_TIMER, 0x20032);                           // a count that has run out stays out
    assert_int_equal(get(w, COUNT), 0);
    testbus_advance(&w->t, 16000);
    assert_int_equal(get(w, COUNT), 0);
    assert_false(intr(w));
    put(w, COUNT_INIT, 100);
    for (unsigned i = 0; i < 3; i++) {
        testbus_advance(&w->t, 1600);
        assert_int_equal(ack(w), 0x32);
        put(w, EOI, 0);
    }
    testbus_advance(&w->t, 800);
    assert_int_equal(get(w, COUNT), 50);
    put(w, DIVIDE, 0xb);                                  // by 1: goes on from 50
    assert_int_equal(get(w, COUNT), 50);
    testbus_advance(&w->t, 50);
    assert_int_equal(ack(w), 0x32);
    put(w, COUNT_INIT, 0);
    put(w, EOI, 0);
    testbus_advance(&w->t, 100000);
    assert_false(intr(w));
    put(w, LVT_TIMER, 0x34);                              // has run out, the bus has not told yet
    put(w, COUNT_INIT, 100);
    w->t.now_ns += 200;
    put(w, LVT_TIMER, 0x20034);
    assert_int_equal(get(w, COUNT), 0);
    assert_int_equal(ack(w), 0x34);
    put(w, EOI, 0);
    testbus_advance(&w->t, 1000);
    assert_int_equal(get(w, COUNT), 0);
    assert_false(intr(w));
    put(w, LVT_TIMER, 0x10033);                           // masked: counts, tells nobody
    put(w, COUNT_INIT, 100);
    testbus_advance(&w->t, 200);
    assert_int_equal(get(w, COUNT), 0);
    assert_false(intr(w));
}

static void test_messages(void **state) {
    World *w = *state;
    enable(w);
    put(w, ICR2, 0x05000000);
    put(w, ICR, 0x41);                                    // to APIC 5: not us
    assert_false(intr(w));
    put(w, ID, 0x05000000);
    put(w, ICR, 0x42);
    assert_int_equal(ack(w), 0x42);
    put(w, EOI, 0);
    put(w, LDR, 0x04000000);
    put(w, ICR2, 0x0c000000);
    put(w, ICR, 0x843);                                   // logical, flat: one of the bits
    assert_int_equal(ack(w), 0x43);
    put(w, EOI, 0);
    put(w, DFR, 0x0fffffff);
    put(w, LDR, 0x21000000);
    put(w, ICR2, 0x31000000);
    put(w, ICR, 0x844);                                   // another cluster
    assert_false(intr(w));
    put(w, ICR2, 0x23000000);
    put(w, ICR, 0x844);
    assert_int_equal(ack(w), 0x44);
    put(w, EOI, 0);
    put(w, ICR, 0xc0045);                                 // all but us
    assert_false(intr(w));
    put(w, ICR, 0x40400);                                 // NMI to ourselves
    assert_true(bus_take_nmi(w->t.bus));
}

static void test_errors(void **state) {
    World *w = *state;
    enable(w);
    put(w, LVT_ERROR, 0x39);
    ipi(w, 5);
    assert_int_equal(get(w, ESR), 0);                     // not before it is written
    put(w, ESR, 0);
    assert_int_equal(get(w, ESR), 0x20);
    assert_int_equal(ack(w), 0x39);
    put(w, EOI, 0);
    get(w, 0x3f0);                                        // no such register
    put(w, ESR, 0);
    assert_int_equal(get(w, ESR), 0x80);
}

// ---- I/O APIC -----------------------------------------------------------------------------------
static void route(World *w, unsigned n, u32 low) {
    io_put(w, 0x11 + 2 * n, 0);
    io_put(w, 0x10 + 2 * n, low);
}

static void test_io_registers(void **state) {
    World *w = *state;
    assert_int_equal(io_get(w, 1), 0x00170011);
    assert_int_equal(io_get(w, 0x10 + 2 * 23), 0x10000);
    io_put(w, 0, 0xff000000);
    assert_int_equal(io_get(w, 0), 0x0f000000);
    route(w, 3, 0xfffeffff);                              // status bits are not written
    assert_int_equal(io_get(w, 0x16), 0xafff);
}

static void test_edge(void **state) {
    World *w = *state;
    enable(w);
    pin(w, 4, true);                                      // masked: lost
    route(w, 4, 0x44);
    assert_false(intr(w));
    pin(w, 4, false);
    pin(w, 4, true);
    assert_int_equal(ack(w), 0x44);
    assert_int_equal(get(w, TMR + 0x20), 0);
    put(w, EOI, 0);
    assert_false(intr(w));                                // still high: no new edge
}

static void test_level(void **state) {
    World *w = *state;
    enable(w);
    pin(w, 11, true);
    route(w, 11, 0x8055);                                 // a level is seen when it is unmasked
    assert_int_equal(io_get(w, 0x26) & 0x4000, 0x4000);
    assert_int_equal(ack(w), 0x55);
    assert_int_equal(get(w, TMR + 0x20), 1u << 21);
    assert_false(intr(w));
    put(w, EOI, 0);                                       // still high: again
    assert_true(intr(w));
    assert_int_equal(ack(w), 0x55);
    pin(w, 11, false);
    put(w, EOI, 0);
    assert_false(intr(w));
    assert_int_equal(io_get(w, 0x26) & 0x4000, 0);
}

static void test_io_extint(void **state) {
    World *w = *state;
    enable(w);
    put(w, LVT_LINT0, 0x10000);
    route(w, 0, 0x700);
    irq(w, 1, true);
    assert_false(intr(w));
    pin(w, 0, true);
    assert_true(intr(w));
    assert_int_equal(ack(w), 0x09);
    pin(w, 0, false);
    assert_false(intr(w));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_virtual_wire), T(test_switched_off), T(test_priorities), T(test_software_disable),
        T(test_timer), T(test_messages), T(test_errors), T(test_io_registers), T(test_edge),
        T(test_level), T(test_io_extint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
