// SPDX-License-Identifier: MIT
// Guest time while a processor runs: the wall's, without its jumps. Pure: the caller reads the clocks.
//
// A guest calibrates its clocks in loops of a few instructions and takes a step that is ten times the
// least one for a disturbance. The wall has such steps: the host runs somebody else, a block is
// translated the first time. They are taken out and given back where nobody looks:
//  1. Between two looks time passes like the wall's, but no more than FLOW_LOOK_NS and FLOW_INSN_NS
//     for each instruction done.
//  2. What the wall is ahead is caught up by going faster: by a quarter, and more the more is missing.
//     More than FLOW_FAR_NS is not kept.
//  3. A halted processor sees no time pass. It is brought up to the wall, but never past the moment
//     at which it is to be woken.
// Guest time never goes back and is never ahead of the wall. All clocks of the machine are counted
// from it, so that none of this can be seen by comparing two of them.
#ifndef BUS_FLOW_H
#define BUS_FLOW_H

#include "base/base.h"

#define FLOW_LOOK_NS 400u
#define FLOW_INSN_NS 25u
#define FLOW_FAR_NS (1u << 30)

typedef struct Flow {
    u64 now_ns;                // guest time
    u64 wall_ns;               // the wall at the last look, on the same scale
    u64 insns;                 // instructions done until then
} Flow;

// Starts, or starts again after a pause: nothing is missing.
void flow_start(Flow *f, u64 now_ns, u64 insns);
// Guest time at a look.
u64 flow_look(Flow *f, u64 wall_ns, u64 insns);
// The same while the processor is halted until an event, at the latest until deadline_ns.
u64 flow_idle(Flow *f, u64 wall_ns, u64 deadline_ns);

#endif
