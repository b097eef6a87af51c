// SPDX-License-Identifier: MIT
// The C functions behind helpers.def, and what their attributes mean to generated code.
#ifndef CPU_HELPERS_H
#define CPU_HELPERS_H

#include "cpu/cpu.h"

// Elements of a string: below, the host takes longer to start a REP than to move them one by one.
enum { CPU_REP_LEAST = 32 };

enum {
    HA_FAULT = 1,        // may set cpu->fault.pending
    HA_END = 2,          // may change eip, mode or translations: the block ends after it
    HA_FLAGS_IN = 4,     // reads the arithmetic flags recipe
    HA_FLAGS_OUT = 8,    // writes the arithmetic flags recipe
    HA_REGS = 16,        // reads or writes cpu->regs
    HA_MODE = 32,        // with HA_END: eip stays; only mode, segments or flags may change
    HA_DEVICE = 64,      // talks to devices
    HA_FAR = HA_FAULT | HA_END | HA_REGS | HA_FLAGS_IN | HA_FLAGS_OUT,   // control transfers
    HA_REPEAT = HA_FAULT | HA_END | HA_MODE | HA_REGS | HA_DEVICE,       // string instructions with REP
    HA_TEST = HA_FAULT | HA_FLAGS_IN | HA_FLAGS_OUT,                     // changes some flags
};

// Argument of the string helpers (see helpers.def).
#define CPU_STR(seg, size_log2, length) ((u32)(seg) | (u32)(size_log2) << 3 | (u32)(length) << 8)
#define CPU_STR_A32 BIT(6)       // 32-bit addresses and count
#define CPU_STR_REPNE BIT(7)     // CMPS, SCAS: ends on equal instead of on unequal

#define CPU_MASKMOV_XMM BIT(8)   // maskmov: XMM registers, else MMX

#define HELPER_ARGS_0 Cpu *cpu
#define HELPER_ARGS_1 Cpu *cpu, u32 a
#define HELPER_ARGS_2 Cpu *cpu, u32 a, u32 b
#define HELPER_ARGS_3 Cpu *cpu, u32 a, u32 b, u32 c

#define H(name, result, count, attributes) result cpu_h_##name(HELPER_ARGS_##count);
#include "cpu/helpers.def"
#undef H

// Indices for tables: HELPER_raise ...
typedef enum HelperId {
#define H(name, result, count, attributes) HELPER_##name,
#include "cpu/helpers.def"
#undef H
    HELPER_COUNT
} HelperId;

#endif
