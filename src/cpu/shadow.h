// SPDX-License-Identifier: MIT
// Memory accesses of a copy of the processor: what the guest's next instructions would do, without doing it.
//
// The copy shares guest RAM, soft MMU and bus with the processor. Its stores, and the accessed and dirty bits
// of its page walks, are made in guest RAM, so that its own loads see them, and noted; shadow_undo() takes
// them back, and shadow_compare() then tells whether guest RAM has become what they made it. The soft
// MMU's tables are read and never filled, devices are not touched.
//
//     Cpu copy = *cpu; copy.shadow = s;
//     shadow_begin(s, &copy);
//     ... shadow_load(s, ..), shadow_store(s, ..) ...
//     shadow_undo(s);                            // guest RAM is as before
//     ... the guest runs ...
//     if (!shadow_compare(s, shadow_mark(s), &difference)) ...
#ifndef CPU_SHADOW_H
#define CPU_SHADOW_H

#include "cpu/cpu.h"

typedef struct Shadow Shadow;

Shadow *shadow_new(void);
void shadow_free(Shadow *s);
// Forgets what was noted; accesses are the copy's from here on. Its store_hits_code is asked with its
// `jit`, as the processor's would be.
void shadow_begin(Shadow *s, Cpu *copy);

// FAULT: recorded in the copy, nothing changed. DEVICE: some byte has no RAM (loads: no ROM either)
// behind it; nothing was done.
typedef enum ShadowResult { SHADOW_DONE, SHADOW_FAULT, SHADOW_DEVICE } ShadowResult;
// Sizes 1, 2, 4, 8, 10, 16; checks and their order as in generated code. rmw: a store to the place follows.
ShadowResult shadow_load(Shadow *s, unsigned seg, u32 offset, u32 bytes, bool rmw, void *to);
ShadowResult shadow_store(Shadow *s, unsigned seg, u32 offset, u32 bytes, const void *from);
ShadowResult shadow_probe(Shadow *s, unsigned seg, u32 offset, u32 bytes);
void shadow_write_table(Shadow *s, u32 phys, u32 value);       // for the page walk

u32 shadow_mark(const Shadow *s);                 // how many stores were noted so far
void shadow_undo(Shadow *s);

typedef struct ShadowDifference {
    u32 addr;                  // of the first byte that differs: linear,
    bool physical;             // or, in a page table, physical
    u32 bytes;                 // shown: up to 16
    u8 expected[16], found[16];
    bool beside;               // no store of the copy went there: it is next to one
} ShadowDifference;
// After shadow_undo() and what the guest did then: do the first `count` noted stores, and nothing else near
// them, make guest RAM what it is? False: *d.
bool shadow_compare(Shadow *s, u32 count, ShadowDifference *d);

#endif
