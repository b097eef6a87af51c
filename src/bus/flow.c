// SPDX-License-Identifier: MIT
// Guest time without jumps: the rules are in flow.h.
#include "bus/flow.h"

void flow_start(Flow *f, u64 now_ns, u64 insns) { *f = (Flow){ now_ns, now_ns, insns }; }

// How much of what is missing comes back while `step_ns` pass: a quarter of it and, for each 128 ms
// missing, as much again.
static u64 flow_gain(u64 step_ns, u64 missing_ns) {
    u64 gain = step_ns / 4 + step_ns * (missing_ns >> 20) / 128;
    if (missing_ns > FLOW_FAR_NS && gain < missing_ns - FLOW_FAR_NS) gain = missing_ns - FLOW_FAR_NS;
    return gain < missing_ns ? gain : missing_ns;
}

u64 flow_look(Flow *f, u64 wall_ns, u64 insns) {
    u64 most = FLOW_LOOK_NS + (insns - f->insns) * FLOW_INSN_NS, step = wall_ns - f->wall_ns;
    if (step > most) step = most;
    f->now_ns += step;
    if (__builtin_expect(wall_ns != f->now_ns, 0)) f->now_ns += flow_gain(step, wall_ns - f->now_ns);
    f->wall_ns = wall_ns;
    f->insns = insns;
    return f->now_ns;
}

u64 flow_idle(Flow *f, u64 wall_ns, u64 deadline_ns) {
    u64 to = wall_ns < deadline_ns ? wall_ns : deadline_ns;
    if (to > f->now_ns) f->now_ns = to;
    f->wall_ns = wall_ns;
    return f->now_ns;
}
