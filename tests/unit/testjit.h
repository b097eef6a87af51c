// SPDX-License-Identifier: MIT
// A processor with 4 MiB of RAM and a translator, for tests of src/jit.
#ifndef TESTS_UNIT_TESTJIT_H
#define TESTS_UNIT_TESTJIT_H

#include "jit/jit_int.h"

#include <stdlib.h>
#include <string.h>

typedef struct Rig { Log log; Bus *bus; Cpu *cpu; Jit *jit; } Rig;

static inline int rig_open_with(void **state, const JitOptions *options) {
    Rig *g = mem_new(sizeof *g);
    char *error = NULL;
    log_init(&g->log);
    g->bus = bus_new(4 << 20, &g->log);
    g->cpu = cpu_new(g->bus, &g->log);
    g->jit = jit_new(g->cpu, g->bus, &g->log, options, &error);
    assert_non_null(g->jit);
    cpu_reset(g->cpu);
    *state = g;
    return 0;
}

static inline int rig_close(void **state) {
    Rig *g = *state;
    jit_free(g->jit);
    cpu_free(g->cpu);
    bus_free(g->bus);
    log_close(&g->log);
    free(g);
    return 0;
}

// Flat 32-bit segments at this privilege; their data segments end at `limit`.
static inline void rig_flat(Rig *g, u32 cpl, u32 limit) {
    Cpu *cpu = g->cpu;
    u32 access = SEG_ACC_P | SEG_ACC_S | SEG_ACC_DB | SEG_ACC_G | cpl << SEG_ACC_DPL_SHIFT;
    cpu->cr0 |= 1;
    cpu->cpl = (u8)cpl;
    for (unsigned s = 0; s < 6; s++) {
        cpu->seg[s].base = 0;
        cpu->seg[s].limit = s == CPU_CS ? 0xffffffff : limit;
        cpu->seg[s].access = (u16)(access | (s == CPU_CS ? 0xb : 3));
    }
    cpu_update_mode(cpu);
}

static inline void rig_put(Rig *g, u32 at, const char *bytes, u32 count) { memcpy(bus_ram(g->bus) + at, bytes, count); }

#endif
