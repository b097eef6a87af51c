// SPDX-License-Identifier: MIT
// Guest time and timers.
//
// Invariants
//  1. Guest time never goes back. Pausing, resuming and taking a source away keep it continuous; a
//     source given to bus_set_clock_source must start at the present guest time or later.
//  2. While a processor runs, the wall's jumps are taken out (flow.h).
//  3. The heap is ordered by (deadline, creation order): ties fire in the same order in every run.
#include "bus/bus_int.h"

#include <stdlib.h>

static u64 time_wall_ns(Bus *bus) {
    return bus->running ? host_time_ns(&bus->host_time) - bus->wall_base_ns : bus->stopped_ns;
}

static void time_set_wall(Bus *bus, u64 now_ns) {
    bus->stopped_ns = now_ns;
    bus->wall_base_ns = host_time_ns(&bus->host_time) - now_ns;
}

u64 bus_now_ns(Bus *bus) {
    bus->touches++;
    if (bus->source_now_ns) return bus->source_now_ns(bus->source_self);
    if (!bus->insns || !bus->running) return time_wall_ns(bus);
    return flow_look(&bus->flow, time_wall_ns(bus), bus->insns(bus->insns_self));
}

u64 bus_time_idle_ns(Bus *bus, u64 deadline_ns) {
    if (bus->source_now_ns || !bus->insns || !bus->running) return bus_now_ns(bus);
    return flow_idle(&bus->flow, time_wall_ns(bus), deadline_ns);
}

void bus_clock_set(Bus *bus, u64 now_ns) {
    time_set_wall(bus, now_ns);
    if (bus->insns) flow_start(&bus->flow, now_ns, bus->insns(bus->insns_self));
}

void bus_clock_run(Bus *bus, bool running) {
    if (bus->running == running) return;
    u64 now_ns = bus->source_now_ns ? time_wall_ns(bus) : bus_now_ns(bus);
    bus->running = running;
    bus_clock_set(bus, now_ns);
}

void bus_set_clock_source(Bus *bus, u64 (*now_ns)(void *self), void *self) {
    if (!now_ns && bus->source_now_ns) bus_clock_set(bus, bus_now_ns(bus));
    bus->source_now_ns = now_ns;
    bus->source_self = self;
}

void bus_set_processor(Bus *bus, u64 (*insns)(void *self), void *self) {
    u64 now_ns = bus_now_ns(bus);
    bus->insns = insns;
    bus->insns_self = self;
    if (!bus->source_now_ns) bus_clock_set(bus, now_ns);
}

// ---- idle machines ------------------------------------------------------------------------------
// Many guests count ticks while they have nothing to do. Waking the host for each costs more than the
// tick. A halted processor sees no time pass, so an idle one is woken for several ticks at once and
// gets each at its own guest time. It is idle when it has waited so often with little work in between
// and nothing from outside; then ticks, and only these, may be this late on the wall.
enum { TIME_CALM_WAITS = 100, TIME_CALM_INSNS = 50000, TIME_PATIENCE_NS = 25000000 };

void bus_time_wait_begins(Bus *bus) {
    if (!bus->insns) return;
    u64 insns = bus->insns(bus->insns_self);
    bus->calm_waits = insns - bus->waited_insns < TIME_CALM_INSNS ? bus->calm_waits + 1 : 0;
    bus->waited_insns = insns;
}

void bus_time_disturbed(Bus *bus) { bus->calm_waits = 0; }

u64 bus_time_wake_ns(const Bus *bus, u64 deadline_ns) {
    if (bus->calm_waits < TIME_CALM_WAITS) return deadline_ns;
    u64 wake_ns = deadline_ns + TIME_PATIENCE_NS;
    for (u32 i = 0; i < bus->heap_count; i++) {
        const Timer *t = bus->heap[i];
        if (!t->patient && t->deadline_ns < wake_ns) wake_ns = t->deadline_ns;
    }
    return wake_ns > deadline_ns ? wake_ns : deadline_ns;
}

// ---- the heap -----------------------------------------------------------------------------------
static bool heap_before(const Timer *a, const Timer *b) {
    return a->deadline_ns != b->deadline_ns ? a->deadline_ns < b->deadline_ns : a->id < b->id;
}

static void heap_put(Bus *bus, u32 place, Timer *t) {
    bus->heap[place] = t;
    t->place = (i32)place;
}

// Finds t's place, starting from a hole at `place`.
static void heap_settle(Bus *bus, u32 place, Timer *t) {
    while (place && heap_before(t, bus->heap[(place - 1) / 2])) {
        heap_put(bus, place, bus->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (u32 child; (child = 2 * place + 1) < bus->heap_count; place = child) {
        if (child + 1 < bus->heap_count && heap_before(bus->heap[child + 1], bus->heap[child]))
            child++;
        if (!heap_before(bus->heap[child], t)) break;
        heap_put(bus, place, bus->heap[child]);
    }
    heap_put(bus, place, t);
}

// ---- timers -------------------------------------------------------------------------------------
Timer *bus_timer_new(Bus *bus, const char *name, void (*fire)(void *self), void *self) {
    Timer *t = mem_new(sizeof(Timer));
    *t = (Timer){ .bus = bus, .name = name, .fire = fire, .self = self, .place = -1,
                  .id = bus->timer_count++, .older = bus->timers };
    bus->timers = t;
    return t;
}

void bus_timer_stop(Timer *t) {
    if (t->place < 0) return;
    Bus *bus = t->bus;
    u32 hole = (u32)t->place;
    Timer *last = bus->heap[--bus->heap_count];
    t->place = -1;
    if (last != t) heap_settle(bus, hole, last);
}

void bus_timer_at(Timer *t, u64 deadline_ns) {
    Bus *bus = t->bus;
    bus_timer_stop(t);
    t->deadline_ns = deadline_ns;
    if (bus->heap_count == bus->heap_room) {
        bus->heap_room = bus->heap_room ? 2 * bus->heap_room : 16;
        bus->heap = mem_resize(bus->heap, bus->heap_room * sizeof(*bus->heap));
    }
    u32 place = bus->heap_count++;
    heap_settle(bus, place, t);
    // Whoever runs instructions until the next deadline must hear of an earlier one.
    if (t->place == 0 && bus->hooks.attention) bus->hooks.attention(bus->hooks.opaque);
}

void bus_timer_set_patient(Timer *t) { t->patient = true; }
bool bus_timer_armed(const Timer *t) { return t->place >= 0; }
u64 bus_timer_deadline(const Timer *t) { return t->place >= 0 ? t->deadline_ns : UINT64_MAX; }

u64 bus_next_deadline_ns(Bus *bus) {
    return bus->heap_count ? bus->heap[0]->deadline_ns : UINT64_MAX;
}

// Time is read once, so that a timer that always re-arms itself in the wall's past cannot hold the
// machine for ever.
u64 bus_run_timers(Bus *bus) {
    if (!bus->heap_count) return UINT64_MAX;
    u64 now_ns = bus_now_ns(bus);
    while (bus->heap_count && bus->heap[0]->deadline_ns <= now_ns) {
        Timer *t = bus->heap[0];
        bus_timer_stop(t);
        t->fire(t->self);
    }
    u64 next_ns = bus_next_deadline_ns(bus);
    return next_ns > now_ns ? next_ns - now_ns : 0;
}

void bus_time_close(Bus *bus) {
    for (Timer *t = bus->timers; t;) {
        Timer *older = t->older;
        free(t);
        t = older;
    }
    free(bus->heap);
}
