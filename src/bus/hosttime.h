// SPDX-License-Identifier: MIT
// The host's monotonic clock, cheaply: between two readings, at most some milliseconds apart, its time
// stamp counter tells the time. Where the counter does not run at one rate the clock is read each time.
//  1. It never goes back.
//  2. It is the clock's time to within what the clock is slewed by in HOST_TIME_LOOK_NS.
#ifndef BUS_HOSTTIME_H
#define BUS_HOSTTIME_H

#include "base/base.h"

#define HOST_TIME_LOOK_NS 8000000u

typedef struct HostTime {
    u64 last_ns;               // given last
    u64 at_ns, at_tsc;         // the last reading of the clock, and the counter then
    u64 from_ns, from_tsc;     // an older one, from which the rate is taken
    u64 ns_per_tick;           // << 32
    u64 span_ticks;            // how long the reading is good; 0: the counter is not used (yet)
    bool steady;               // the counter runs at one rate
} HostTime;

void host_time_open(HostTime *h);
u64 host_time_ns(HostTime *h);

#endif
