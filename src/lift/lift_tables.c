// SPDX-License-Identifier: MIT
// What the IR must know of the CPU: the helpers it may call, the names of the state it touches.
#include "lift/lift_int.h"

#include <string.h>

// ---- helpers ------------------------------------------------------------------------------------

#define LIFT_BYTES_void 0
#define LIFT_BYTES_u32 4
#define LIFT_BYTES_u64 8
#define LIFT_ATTR(attributes) \
    (((attributes) & HA_FAULT ? IR_HELPER_FAULT : 0) | \
     ((attributes) & HA_END ? IR_HELPER_END : 0) | \
     ((attributes) & HA_FLAGS_IN ? IR_HELPER_FLAGS_IN : 0) | \
     ((attributes) & HA_FLAGS_OUT ? IR_HELPER_FLAGS_OUT : 0) | \
     ((attributes) & HA_REGS ? IR_HELPER_REGS : 0))

static const IrHelper lift_helper_rows[HELPER_COUNT] = {
#define H(name_, result, count, attributes) \
    [HELPER_##name_] = { .name = #name_, .args = (count), .result_bytes = LIFT_BYTES_##result, \
                         .attr = LIFT_ATTR(attributes), .fn = (void *)cpu_h_##name_ },
#include "cpu/helpers.def"
#undef H
};
static const IrHelpers lift_helper_table = { lift_helper_rows, HELPER_COUNT };

#undef LIFT_BYTES_void
#undef LIFT_BYTES_u32
#undef LIFT_BYTES_u64
#undef LIFT_ATTR

const IrHelpers *lift_helpers(void) { return &lift_helper_table; }

// ---- names of CPU state -------------------------------------------------------------------------

typedef struct LiftEnvName { const char *name; u32 offset; } LiftEnvName;
static const LiftEnvName lift_env_names[] = {
#define FIELD(name) { #name, offsetof(Cpu, name) },
#define SEG(name, number) \
    { name ".selector", offsetof(Cpu, seg[number].selector) }, \
    { name ".base", offsetof(Cpu, seg[number].base) }, \
    { name ".limit", offsetof(Cpu, seg[number].limit) },
    FIELD(eip) FIELD(flag_op) FIELD(flag_a) FIELD(flag_b) FIELD(flag_c) FIELD(eflags) FIELD(df) FIELD(df_word)
    FIELD(budget) FIELD(mode) FIELD(inhibit_irq) FIELD(cr0) FIELD(cr2) FIELD(cr3) FIELD(cr4)
    SEG("es", CPU_ES) SEG("cs", CPU_CS) SEG("ss", CPU_SS)
    SEG("ds", CPU_DS) SEG("fs", CPU_FS) SEG("gs", CPU_GS)
#undef FIELD
#undef SEG
};

const char *lift_env_name(u32 offset) {
    for (size_t i = 0; i < ARRAY_LEN(lift_env_names); i++)
        if (lift_env_names[i].offset == offset) return lift_env_names[i].name;
    return NULL;
}

u32 lift_env_offset(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(lift_env_names); i++)
        if (strcmp(lift_env_names[i].name, name) == 0) return lift_env_names[i].offset;
    return ~0u;
}
