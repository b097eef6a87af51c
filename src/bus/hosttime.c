// SPDX-License-Identifier: MIT
// The host's clock by its time stamp counter: the rules are in hosttime.h.
#include "bus/hosttime.h"

#include <cpuid.h>
#include <time.h>
#include <x86intrin.h>

#define RATE_LEAST_NS 2000000u         // between the readings that a rate is taken from
#define RATE_MOST_NS 2000000000u       // and at most, so that << 32 fits

static u64 clock_read_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

// CPUID 80000007H EDX bit 8: the counter is invariant.
static bool counter_is_steady(void) {
    unsigned a, b, c, d = 0;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && d >> 8 & 1;
}

void host_time_open(HostTime *h) {
    *h = (HostTime){ .steady = counter_is_steady() };
}

static void rate_take(HostTime *h, u64 ns, u64 tsc) {
    u64 passed_ns = ns - h->from_ns, ticks = tsc - h->from_tsc;
    bool good = h->from_tsc && passed_ns >= RATE_LEAST_NS && passed_ns <= RATE_MOST_NS && ticks > passed_ns >> 8;
    if (good) {
        h->ns_per_tick = (passed_ns << 32) / ticks;
        h->span_ticks = ((u64)HOST_TIME_LOOK_NS << 32) / (h->ns_per_tick + 1);
    }
    if (!h->from_tsc || passed_ns > RATE_MOST_NS / 2) {
        h->from_ns = ns;
        h->from_tsc = tsc;
    }
}

static u64 host_time_read(HostTime *h) {
    u64 ns = clock_read_ns();
    if (!h->steady) return ns;
    h->at_tsc = __rdtsc();
    h->at_ns = ns;
    rate_take(h, ns, h->at_tsc);
    return ns;
}

u64 host_time_ns(HostTime *h) {
    u64 ticks = h->span_ticks ? __rdtsc() - h->at_tsc : 0;
    u64 ns = ticks < h->span_ticks ? h->at_ns + (ticks * h->ns_per_tick >> 32) : host_time_read(h);
    if (ns < h->last_ns) ns = h->last_ns;
    h->last_ns = ns;
    return ns;
}
