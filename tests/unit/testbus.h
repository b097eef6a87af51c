// SPDX-License-Identifier: MIT
// A bus for chip tests: a clock that stands until the test moves it, and wires that remember.
#ifndef TESTS_UNIT_TESTBUS_H
#define TESTS_UNIT_TESTBUS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "bus/device.h"

typedef struct TestBus {
    Bus *bus;
    Log log;
    u64 now_ns;
} TestBus;

typedef struct TestPin {
    bool level;
    unsigned rises;            // low to high since the test looked
} TestPin;

static inline u64 testbus_now(void *self) { return ((TestBus *)self)->now_ns; }

static inline void testbus_open(TestBus *t, u64 ram_bytes) {
    t->now_ns = 1000;
    log_init(&t->log);
    t->bus = bus_new(ram_bytes, &t->log);
    assert_non_null(t->bus);
    bus_set_clock_source(t->bus, testbus_now, t);
}

static inline void testbus_close(TestBus *t) {
    bus_free(t->bus);
    log_close(&t->log);
}

// Moves guest time on, firing every timer at its own moment.
static inline void testbus_advance(TestBus *t, u64 ns) {
    u64 end = t->now_ns + ns;
    for (u64 next; (next = bus_next_deadline_ns(t->bus)) <= end;) {
        if (next > t->now_ns) t->now_ns = next;
        bus_run_timers(t->bus);
    }
    t->now_ns = end;
}

// A snapshot of all devices, loaded into those of another bus.
static inline void testbus_copy_devices(Bus *to, Bus *from) {
    char *text, *err = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    assert_true(device_save(from, f, &err));
    fclose(f);
    f = fmemopen(text, bytes, "r");
    assert_true(device_load(to, f, &err));
    fclose(f);
    free(text);
}

static inline void testpin_set(void *self, unsigned n, bool level) {
    TestPin *pin = (TestPin *)self + n;
    if (level && !pin->level) pin->rises++;
    pin->level = level;
}

// Until the pin is high, a hundred steps of time at most.
static inline void testpin_wait(TestBus *t, const TestPin *pin, u64 step_ns) {
    for (unsigned i = 0; i < 100 && !pin->level; i++) testbus_advance(t, step_ns);
    assert_true(pin->level);
}

static inline Wire testpin_wire(TestPin *pins, unsigned n) {
    return (Wire){ testpin_set, pins, n };
}

#endif
