// SPDX-License-Identifier: MIT
// The 8254 interval timer.
//
// Sources: Intel 82C54 datasheet (231244), "Mode definitions", "Read operations"; IBM PC AT
// technical reference (port 0x61).
//
// Nothing counts here. A counter is described by the tick at which its counting element took the
// count that is running, and everything else (the element's value, OUT, the next edge) is computed
// from the present tick. Ticks are absolute: tick t is at ceil(t * 10^9 / 1193182) ns.
//
//     origin            now                  elapsed = now - origin
//       |n  n-1  n-2 ... |
//
// Invariants
//  1. A count that waits for its clock pulse (or for the end of the running cycle) is kept as
//     `next_*`; counter_at() gives the counter as it is at a tick. Reads change no counting state.
//  2. `origin` is modulo 2^64: a square wave that starts with its low half has an origin before it.
//  3. IRQ 0 follows OUT 0's rising edges only: the line falls just before it rises again (and when
//     a program makes OUT low). The short or half-period low phase would cost a second timer event
//     each period and is visible only in the PIC's IRR.
//  4. When the machine is late, the edges that were missed are delivered one by one, a quarter of a
//     period apart, so that the guest can serve each; more than PIT_CATCH_UP periods are dropped.
#include "dev/pit.h"

#include <stdlib.h>

enum { PIT_CATCH_UP = 20 };                     // periods
enum { PIT_REFRESH_TICKS = 18 };                // 15.085 us: DRAM refresh, seen in port 0x61 bit 4
enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };   // bits 5-4 of a control word
#define PIT_NEVER UINT64_MAX

typedef struct PitCounter {
    u64 origin;                // tick at which the running count was loaded
    u64 next_tick;             // waiting: tick at which the next count takes over
    u64 next_origin;           // its origin
    u64 held_elapsed;          // held: elapsed ticks when the gate fell
    u32 n;                     // running count, 1 to 65536
    u32 next_n;
    u16 count;                 // count register: the last whole count written
    u16 frozen;                // idle: what the counting element reads
    u16 latch;                 // latched count
    u8 low_byte;               // first byte of a count whose second is still to come
    u8 control;                // bits 5-0 of the last control word
    u8 latched_status;
    u8 latched_bytes;          // bytes of the latched count that were not read yet
    bool gate;
    bool ready;                // a whole count was written since the control word
    bool idle;                 // no count runs: OUT is at its initial level
    bool waiting;              // next_* are valid
    bool held;                 // the gate stops the running count
    bool null_count;           // the register holds a count that the element has not taken
    bool status_latched;
    bool write_high;           // the next write is the high byte
    bool read_high;            // the next read is the high byte
} PitCounter;

struct Pit {
    Bus *bus;
    Wire irq0;
    Timer *edge_timer;
    u64 edge_tick;             // next edge of OUT 0 to be delivered, PIT_NEVER: none
    PitCounter counter[3];
    u8 port61;                 // bits 3-0: parity and channel checks off, speaker data, gate 2
};

#define PIT_COUNTER_FIELDS(i, gate_reset, held_reset) \
    FIELD(Pit, counter[i].origin, FIELD_UINT, 0), \
    FIELD(Pit, counter[i].next_tick, FIELD_UINT, 0), \
    FIELD(Pit, counter[i].next_origin, FIELD_UINT, 0), \
    FIELD(Pit, counter[i].held_elapsed, FIELD_UINT, 0), \
    FIELD(Pit, counter[i].n, FIELD_UINT, 65536), \
    FIELD(Pit, counter[i].next_n, FIELD_UINT, 0), \
    FIELD(Pit, counter[i].count, FIELD_UINT, 0), \
    FIELD(Pit, counter[i].low_byte, FIELD_UINT, 0), \
    FIELD(Pit, counter[i].frozen, FIELD_UINT, 0), \
    FIELD(Pit, counter[i].latch, FIELD_UINT, 0), \
    FIELD(Pit, counter[i].control, FIELD_UINT, 0x36), \
    FIELD(Pit, counter[i].latched_status, FIELD_UINT, 0), \
    FIELD(Pit, counter[i].latched_bytes, FIELD_UINT, 0), \
    FIELD(Pit, counter[i].gate, FIELD_BOOL, gate_reset), \
    FIELD(Pit, counter[i].ready, FIELD_BOOL, 1), \
    FIELD(Pit, counter[i].idle, FIELD_BOOL, 0), \
    FIELD(Pit, counter[i].waiting, FIELD_BOOL, 0), \
    FIELD(Pit, counter[i].held, FIELD_BOOL, held_reset), \
    FIELD(Pit, counter[i].null_count, FIELD_BOOL, 0), \
    FIELD(Pit, counter[i].status_latched, FIELD_BOOL, 0), \
    FIELD(Pit, counter[i].write_high, FIELD_BOOL, 0), \
    FIELD(Pit, counter[i].read_high, FIELD_BOOL, 0)

static const Field pit_fields[] = {
    PIT_COUNTER_FIELDS(0, 1, 0),
    PIT_COUNTER_FIELDS(1, 1, 0),
    PIT_COUNTER_FIELDS(2, 0, 1),
    FIELD(Pit, edge_timer, FIELD_TIMER, 0),
    FIELD(Pit, edge_tick, FIELD_UINT, PIT_NEVER),
    FIELD(Pit, port61, FIELD_UINT, 0),
};
#undef PIT_COUNTER_FIELDS

// ---- ticks and nanoseconds: exact ---------------------------------------------------------------
#define NS_PER_SECOND 1000000000ull

static u64 pit_tick_of_ns(u64 ns) {
    return ns / NS_PER_SECOND * PIT_HZ + ns % NS_PER_SECOND * PIT_HZ / NS_PER_SECOND;
}

// The first ns at which pit_tick_of_ns gives the tick.
static u64 pit_ns_of_tick(u64 tick) {
    u64 part = tick % PIT_HZ * NS_PER_SECOND;
    return tick / PIT_HZ * NS_PER_SECOND + (part + PIT_HZ - 1) / PIT_HZ;
}

static u64 pit_now(Pit *pit) { return pit_tick_of_ns(bus_now_ns(pit->bus)); }

// ---- counts -------------------------------------------------------------------------------------
static unsigned counter_mode(const PitCounter *c) {
    unsigned mode = c->control >> 1 & 7;
    return mode > 5 ? mode - 4 : mode;
}

static bool counter_is_bcd(const PitCounter *c) { return c->control & 1; }
static unsigned counter_access(const PitCounter *c) { return c->control >> 4 & 3; }

// The number of ticks that a register value stands for: 0 is the largest count.
static u32 counter_decode(const PitCounter *c, u16 v) {
    if (!counter_is_bcd(c)) return v ? v : 65536;
    u32 n = (v & 15u) + 10 * (v >> 4 & 15u) + 100 * (v >> 8 & 15u) + 1000 * (v >> 12 & 15u);
    return n ? n : 10000;
}

static u16 counter_encode(const PitCounter *c, u64 value) {
    if (!counter_is_bcd(c)) return (u16)value;
    u32 v = (u32)(value % 10000);
    return (u16)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 << 12);
}

// In modes 1 and 5 the gate triggers and does not hold.
static bool mode_gate_holds(unsigned mode) { return mode != 1 && mode != 5; }

// The high part of a square wave, ticks.
static u32 square_high(u32 n) { return (n + 1) / 2; }

// ---- a counter at a tick ------------------------------------------------------------------------
// Lets a waiting count take over when its tick has come.
static void counter_sync(PitCounter *c, u64 now) {
    if (!c->waiting || now < c->next_tick) return;
    c->origin = c->next_origin;
    c->n = c->next_n;
    c->waiting = c->idle = c->null_count = false;
    c->held = !c->gate && mode_gate_holds(counter_mode(c));
    c->held_elapsed = 0;
}

static PitCounter counter_at(const PitCounter *c, u64 now) {
    PitCounter at = *c;
    counter_sync(&at, now);
    return at;
}

static u64 counter_elapsed(const PitCounter *c, u64 now) {
    return c->held ? c->held_elapsed : now - c->origin;
}

// What the counting element reads. Synchronised counter.
static u16 counter_value(const PitCounter *c, u64 now) {
    if (c->idle) return c->frozen;
    u64 elapsed = counter_elapsed(c, now), n = c->n;
    switch (counter_mode(c)) {
    case 2: return counter_encode(c, n - elapsed % n);
    case 3: {
        u64 at = elapsed % n, high = square_high(c->n);
        if (at >= high) at -= high;
        return counter_encode(c, (n & ~1ull) - 2 * at);
    }
    default: {
        u64 modulus = counter_is_bcd(c) ? 10000 : 65536;
        return counter_encode(c, n + modulus - elapsed % modulus);
    }
    }
}

// The OUT pin. Synchronised counter.
static bool counter_out(const PitCounter *c, u64 now) {
    unsigned mode = counter_mode(c);
    if (c->idle) return mode != 0;
    u64 elapsed = counter_elapsed(c, now), n = c->n;
    switch (mode) {
    case 0: case 1: return elapsed >= n;
    case 2: return c->held || n < 2 || elapsed % n != n - 1;
    case 3: return c->held || elapsed % n < square_high(c->n);
    default: return elapsed != n;
    }
}

// The first rising edge of OUT after tick t of a count that runs from origin; t may lie before it.
static u64 mode_next_edge(unsigned mode, u64 origin, u64 n, u64 t) {
    u64 elapsed = (i64)(t - origin) > 0 ? t - origin : 0;
    switch (mode) {
    case 0: case 1: return elapsed < n ? origin + n : PIT_NEVER;
    case 2: case 3: return n < 2 ? PIT_NEVER : origin + (elapsed / n + 1) * n;
    default: return elapsed < n + 1 ? origin + n + 1 : PIT_NEVER;
    }
}

static u64 counter_next_edge(const PitCounter *c, u64 t) {
    unsigned mode = counter_mode(c);
    u64 edge = PIT_NEVER;
    if (!c->idle && !c->held) edge = mode_next_edge(mode, c->origin, c->n, t);
    if (!c->waiting || edge <= c->next_tick) return edge;
    if (!c->gate && mode_gate_holds(mode)) return PIT_NEVER;
    return mode_next_edge(mode, c->next_origin, c->next_n, t > c->next_tick ? t : c->next_tick);
}

// ---- programming a counter (all synchronised to `now`) ------------------------------------------
static void counter_load_at(PitCounter *c, u64 tick, u64 origin) {
    c->waiting = true;
    c->next_tick = tick;
    c->next_origin = origin;
    c->next_n = counter_decode(c, c->count);
}

static void counter_stop(PitCounter *c, u64 now) {
    c->frozen = counter_value(c, now);
    c->idle = true;
    c->waiting = false;
}

static void counter_write_control(PitCounter *c, u64 now, u8 value) {
    counter_stop(c, now);
    c->control = value & 0x3f;
    c->count = 0;
    c->latched_bytes = 0;
    c->null_count = true;
    c->ready = c->held = c->status_latched = c->write_high = c->read_high = false;
}

// A count written while a periodic mode runs waits for the end of the cycle (mode 2) or of the half
// cycle (mode 3: after a high half it starts with its low half).
static void counter_load_periodic(PitCounter *c, u64 now) {
    if (c->held) {
        if (c->waiting) c->next_n = counter_decode(c, c->count);
        return;
    }
    u64 cycle = c->origin + (now - c->origin) / c->n * c->n;
    u32 high = square_high(c->n);
    if (counter_mode(c) == 3 && now - cycle < high) {
        u64 fall = cycle + high;
        counter_load_at(c, fall, fall - square_high(counter_decode(c, c->count)));
    } else {
        counter_load_at(c, cycle + c->n, cycle + c->n);
    }
}

// A whole count was written.
static void counter_commit(PitCounter *c, u64 now) {
    unsigned mode = counter_mode(c);
    c->ready = c->null_count = true;
    if (!mode_gate_holds(mode)) {                // the next trigger takes it
        if (c->waiting) c->next_n = counter_decode(c, c->count);
        return;
    }
    if ((mode == 2 || mode == 3) && !c->idle) {
        counter_load_periodic(c, now);
        return;
    }
    if (mode == 0) counter_stop(c, now);         // OUT goes low at once
    counter_load_at(c, now + 1, now + 1);
}

static void counter_write(PitCounter *c, u64 now, u8 value) {
    switch (counter_access(c)) {
    case ACCESS_LOW: c->count = value; break;
    case ACCESS_HIGH: c->count = (u16)(value << 8); break;
    default:
        c->write_high = !c->write_high;
        if (c->write_high) {
            c->low_byte = value;
            if (counter_mode(c) == 0) counter_stop(c, now);
            return;
        }
        c->count = (u16)(c->low_byte | value << 8);
    }
    counter_commit(c, now);
}

static void counter_set_gate(PitCounter *c, u64 now, bool gate) {
    if (c->gate == gate) return;
    c->gate = gate;
    unsigned mode = counter_mode(c);
    bool triggers = mode != 0 && mode != 4;
    if (gate && triggers) {
        if (c->ready) counter_load_at(c, now + 1, now + 1);
    } else if (mode_gate_holds(mode) && !c->idle && c->held == gate) {
        if (gate) c->origin = now - c->held_elapsed;
        else c->held_elapsed = now - c->origin;
        c->held = !gate;
        if (triggers) c->waiting = false;        // the cycle that it waited for does not end
    }
}

// ---- reading a counter --------------------------------------------------------------------------
static void counter_latch_count(PitCounter *c, u64 now) {
    if (c->latched_bytes) return;
    PitCounter at = counter_at(c, now);
    c->latch = counter_value(&at, now);
    c->latched_bytes = counter_access(c) == ACCESS_BOTH ? 2 : 1;
}

static void counter_latch_status(PitCounter *c, u64 now) {
    if (c->status_latched) return;
    PitCounter at = counter_at(c, now);
    c->status_latched = true;
    c->latched_status = (u8)(counter_out(&at, now) << 7 | at.null_count << 6 | c->control);
}

static u8 counter_read(PitCounter *c, u64 now) {
    if (c->status_latched) {
        c->status_latched = false;
        return c->latched_status;
    }
    PitCounter at = counter_at(c, now);
    u16 value = c->latched_bytes ? c->latch : counter_value(&at, now);
    if (c->latched_bytes) c->latched_bytes--;
    bool high = counter_access(c) == ACCESS_HIGH;
    if (counter_access(c) == ACCESS_BOTH) {
        high = c->read_high;
        c->read_high = !c->read_high;
    }
    return (u8)(high ? value >> 8 : value);
}

// ---- IRQ 0 --------------------------------------------------------------------------------------
static void pit_pulse(Pit *pit) {
    wire_set(&pit->irq0, false);
    wire_set(&pit->irq0, true);
}

static void pit_arm(Pit *pit, u64 edge_tick, u64 not_before_ns) {
    pit->edge_tick = edge_tick;
    if (edge_tick == PIT_NEVER) {
        bus_timer_stop(pit->edge_timer);
        return;
    }
    u64 ns = pit_ns_of_tick(edge_tick);
    bus_timer_at(pit->edge_timer, ns > not_before_ns ? ns : not_before_ns);
}

static void pit_fire(void *self) {
    Pit *pit = self;
    PitCounter *c = &pit->counter[0];
    u64 now_ns = bus_now_ns(pit->bus), now = pit_tick_of_ns(now_ns), edge = pit->edge_tick;
    if (edge > now) {
        pit_arm(pit, edge, 0);
        return;
    }
    pit_pulse(pit);
    counter_sync(c, edge);
    u64 next = counter_next_edge(c, edge);
    if (next > now) {
        pit_arm(pit, next, 0);
        return;
    }
    u64 period = next - edge;
    if (now - next > PIT_CATCH_UP * period) {
        counter_sync(c, now);
        pit_arm(pit, counter_next_edge(c, now), 0);
    } else {
        pit_arm(pit, next, now_ns + period * NS_PER_SECOND / PIT_HZ / 4);
    }
}

// Before counter 0 is reprogrammed: an edge that is due but whose timer has not run yet.
static void pit_deliver_due(Pit *pit, u64 now) {
    if (pit->edge_tick <= now) pit_pulse(pit);
}

// After counter 0 was reprogrammed: the line follows OUT, the timer the next edge.
static void pit_reschedule(Pit *pit, u64 now) {
    PitCounter *c = &pit->counter[0];
    if (c->idle) wire_set(&pit->irq0, counter_out(c, now));
    pit_arm(pit, counter_next_edge(c, now), 0);
}

// ---- ports --------------------------------------------------------------------------------------
static void pit_read_back(Pit *pit, u64 now, u8 value) {
    for (unsigned i = 0; i < 3; i++) {
        if (!(value >> (1 + i) & 1)) continue;
        if (!(value & 0x20)) counter_latch_count(&pit->counter[i], now);
        if (!(value & 0x10)) counter_latch_status(&pit->counter[i], now);
    }
}

static void pit_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    Pit *pit = self;
    u64 now = pit_now(pit);
    bool is_control = (port & 3) == 3;
    unsigned i = is_control ? value >> 6 : port & 3;
    if (i == 3) {
        pit_read_back(pit, now, (u8)value);
        return;
    }
    PitCounter *c = &pit->counter[i];
    if (is_control && (value >> 4 & 3) == ACCESS_LATCH) {
        counter_latch_count(c, now);
        return;
    }
    if (i == 0) pit_deliver_due(pit, now);
    counter_sync(c, now);
    if (is_control) counter_write_control(c, now, (u8)value);
    else counter_write(c, now, (u8)value);
    if (i == 0) pit_reschedule(pit, now);
}

// The control register cannot be read.
static u32 pit_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    Pit *pit = self;
    if ((port & 3) == 3) return 0xff;
    return counter_read(&pit->counter[port & 3], pit_now(pit));
}

// Port 0x61: 7-6 no memory or bus error | 5 OUT 2 | 4 toggles with each refresh | 3-0 as written.
static u32 pit_in_61(void *self, u16 port, unsigned size_bytes) {
    (void)port, (void)size_bytes;
    Pit *pit = self;
    u64 now = pit_now(pit);
    PitCounter at = counter_at(&pit->counter[2], now);
    return pit->port61 | (u32)(now / PIT_REFRESH_TICKS & 1) << 4
        | (u32)counter_out(&at, now) << 5;
}

static void pit_out_61(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)port, (void)size_bytes;
    Pit *pit = self;
    u64 now = pit_now(pit);
    pit->port61 = value & 15;
    counter_sync(&pit->counter[2], now);
    counter_set_gate(&pit->counter[2], now, value & 1);
}

u32 pit_speaker_millihertz(Pit *pit) {
    PitCounter at = counter_at(&pit->counter[2], pit_now(pit));
    unsigned mode = counter_mode(&at);
    bool plays = (pit->port61 & 3) == 3 && !at.idle && !at.held && (mode == 2 || mode == 3);
    return plays && at.n > 1 ? (u32)(PIT_HZ * 1000ull / at.n) : 0;
}

// ---- life ---------------------------------------------------------------------------------------
// The chip's state after power-on is undefined; here all counters run in mode 3 with the largest
// count, counter 2 being held by its gate.
static void pit_reset(void *self) {
    Pit *pit = self;
    u64 now = pit_now(pit);
    for (unsigned i = 0; i < 3; i++) pit->counter[i].origin = now;
    wire_set(&pit->irq0, true);
    pit_arm(pit, counter_next_edge(&pit->counter[0], now), 0);
}

static void pit_info(void *self, FILE *out) {
    Pit *pit = self;
    u64 now = pit_now(pit);
    for (unsigned i = 0; i < 3; i++) {
        PitCounter at = counter_at(&pit->counter[i], now);
        fprintf(out, "pit%u: mode=%u bcd=%d count=%u value=%04x out=%d gate=%d %s\n", i,
                counter_mode(&at), counter_is_bcd(&at), at.n, counter_value(&at, now),
                counter_out(&at, now), at.gate, at.idle ? "idle" : at.held ? "held" : "running");
    }
}

static const DeviceClass pit_class = {
    "pit", pit_fields, ARRAY_LEN(pit_fields), pit_reset, NULL, pit_info,
};

Pit *pit_new(Bus *bus, Wire irq0) {
    Pit *pit = mem_new(sizeof(Pit));
    pit->bus = bus;
    pit->irq0 = irq0;
    pit->edge_timer = bus_timer_new(bus, "pit", pit_fire, pit);
    bus_timer_set_patient(pit->edge_timer);
    for (unsigned i = 0; i < 3; i++) {
        pit->counter[i] = (PitCounter){
            .control = 0x36, .n = 65536, .ready = true, .gate = i != 2, .held = i == 2 };
    }
    BusPort counters = { "pit", pit, 1, pit_in, pit_out };
    BusPort port61 = { "port61", pit, 1, pit_in_61, pit_out_61 };
    bus_map_ports(bus, 0x40, 4, &counters);
    bus_map_ports(bus, 0x61, 1, &port61);
    device_add(bus, &pit_class, NULL, pit);
    pit_reset(pit);
    return pit;
}

void pit_free(Pit *pit) { free(pit); }
