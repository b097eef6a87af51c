// SPDX-License-Identifier: MIT
// The area's program in a glassbox machine: CPL 3, PAE paging with NX, up to the exception that ends it.
//
//     Machine *m = machine_open(&(JitOptions){ .restore = JIT_RESTORE_CHECK }, 3);
//     machine_put_code(m, 0, bytes, count);
//     machine_start(m, &state, image);
//     machine_run(m);                          // or machine_step() until it says false
//     machine_take(m, &state);                 // and machine_area(m)
//
// Kernel side: descriptor tables, TSSs and the handlers of all vectors, at addresses where no program is led to.
//
// A machine may run programs at CPL 0 instead, where generated code takes other ways to memory. Exceptions are tasks
// then, so that the program's stack stays as it is. For programs that the privilege makes no difference to.
#ifndef TESTS_SILICON_GUEST_H
#define TESTS_SILICON_GUEST_H

#include "cpu/cpu.h"
#include "jit/jit.h"
#include "state.h"

enum { KERNEL = 0xd0000000, KERNEL_BYTES = 4 << 20 };    // linear addresses of the guest's own
typedef struct Machine Machine;

Machine *machine_open(const JitOptions *options, unsigned cpl);
void machine_close(Machine *m);
Cpu *machine_cpu(Machine *m);
u8 *machine_area(Machine *m);

// Code is written as a device would: translations of what was there are dropped.
void machine_put_code(Machine *m, u32 offset, const u8 *bytes, u32 count);
// Registers, x87, memory (data pages) and descriptors as at the start of a program.
void machine_start(Machine *m, const State *s, const u8 *image);
void machine_flush(Machine *m);               // the TLB
// One instruction in eval; false: the program has ended. `fpu`: it may raise x87 or SIMD exceptions.
bool machine_step(Machine *m, bool fpu);
// Translated. False: it did not end in a handler.
bool machine_run(Machine *m);
void machine_take(Machine *m, State *s);
bool machine_has_computed(Machine *m);         // it ended with an exception of a result: #DE, #MF, #XM
void machine_peek_fpu(Machine *m, FxImage *fx);

#endif
