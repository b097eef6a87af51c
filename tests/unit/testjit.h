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

static inline void rig_put(Rig *g, u32 at, const char *bytes, u32 count) { memcpy(bus_ram(g->bus) + at, bytes, count); }

#endif
