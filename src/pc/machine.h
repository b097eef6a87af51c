// SPDX-License-Identifier: MIT
// A whole machine: bus, board, processor and translator, created in order and freed in reverse.
// Everything hangs from here; any number of machines can live in one process.
//
//     Log log;
//     log_init(&log);
//     MachineConfig config = { .ram_bytes = 128 << 20, .pc = { .floppy = { { .path = "Image" } } } };
//     char *err;
//     Machine *m = machine_new(&config, &log, &err);
//     if (!m) fail(err);
//     int status = machine_run(m);          // until it is switched off, or somebody asks for an end
//     machine_free(m);
#ifndef PC_MACHINE_H
#define PC_MACHINE_H

#include "cpu/model.h"
#include "jit/jit.h"
#include "pc/pc.h"

#define GLASSBOX_VERSION "0.1.0"

enum { MACHINE_HUNG_STATUS = 76 };         // exit status: HLT with interrupts off

typedef struct MachineConfig {
    u64 ram_bytes;
    PcConfig pc;
    JitOptions jit;
    CpuModel cpu;              // name NULL: the default
    const char *boot_once;     // boot order until the first reset; NULL: none
    bool no_shutdown;          // switched off, the machine pauses instead of ending
    bool paused;               // starts paused
} MachineConfig;

typedef struct Machine {
    Log *log;                  // the caller's
    Bus *bus;
    Pc *pc;
    Cpu *cpu;
    Jit *jit;
    bool paused;               // jit_run() is not to be entered; events are served
    bool no_shutdown;
    bool powered_off;          // paused by no_shutdown: only a reset brings it back
    bool order_once;           // pc->boot_order is boot_once's
    u8 boot_order[3];          // what comes after it
    bool snapshot;             // for the monitor: disks keep nothing
    bool single_step;          // for the monitor: one instruction per block
    bool stopped;              // paused, and on_stop has heard of it
    void (*on_stop)(void *self, JitEnd why);   // a debugger's: the machine has been paused; NULL: nobody's
    void *on_stop_self;
} Machine;

// NULL: *err says what is wrong, with the option's name (malloc'ed). Nothing has run yet.
Machine *machine_new(const MachineConfig *config, Log *log, char **err);
void machine_free(Machine *m);             // NULL is fine

// Runs on this thread until the machine ends; the exit status.
int machine_run(Machine *m);

// Machine thread, from an event. Pausing takes effect before the next guest instruction.
void machine_pause(Machine *m);
bool machine_resume(Machine *m);           // false: it is switched off and wants a reset

#endif
