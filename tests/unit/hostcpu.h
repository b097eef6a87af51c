// SPDX-License-Identifier: MIT
// 32-bit code on the bare host: guest addresses are host addresses, in a low mapping of their own.
//
//     if (hostcpu_open(0x20000000, 0x8000)) {
//         memcpy((void *)0x20000000, code, bytes);
//         HostCpu cpu = { .regs = { ... }, .flags = 0x202, .eip = 0x20000000, .stop = 0x20000040 };
//         hostcpu_run(&cpu);
//         hostcpu_close();
//     }
//
// Linux keeps a 32-bit code segment for every process; a far jump enters it. The code must not fault
// and must come to `stop`, where a jump of 5 bytes is put.
#ifndef TESTS_UNIT_HOSTCPU_H
#define TESTS_UNIT_HOSTCPU_H

#include "base/base.h"

typedef struct HostCpu {
    u32 regs[8];         // hardware order; in and out
    u32 flags;           // EFLAGS; in and out
    u32 eip, stop;
} HostCpu;

// Maps `bytes` at `low` for code and data. False: no room there, or no 32-bit code on this host.
bool hostcpu_open(u32 low, u32 bytes);
void hostcpu_run(HostCpu *cpu);
void hostcpu_close(void);

#endif
