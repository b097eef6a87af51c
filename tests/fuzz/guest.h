// SPDX-License-Identifier: MIT
// A machine for fuzz targets: a full PC with 4 MiB of RAM and small disks, on counted time.
#ifndef TESTS_FUZZ_GUEST_H
#define TESTS_FUZZ_GUEST_H

#include "fuzz.h"
#include "pc/machine.h"

#define GUEST_RAM_BYTES (4u << 20)
#define GUEST_DISK_BYTES (64u * 512)           // of the hard disk
#define GUEST_DISC_BYTES (8u * 2048)           // of the CD

typedef struct Guest {
    Log log;
    Machine *m;
    Timer *end;                                // ends guest_run()
    u64 (*counted_ns)(void *self);             // the jit's clock,
    void *counted_self;
    u64 skipped_ns;                            // and what guest_wait() added to it
    u32 said;                                  // hash of what came out of the serial ports
} Guest;

void guest_open(Guest *g, const JitOptions *jit);
void guest_close(Guest *g);

// Runs on until this many ns of guest time have passed (an instruction takes one), or the machine ends.
void guest_run(Guest *g, u64 ns);

// Time passes and timers fire, 100 of them one by one; no code runs.
void guest_wait(Guest *g, u64 ns);

static inline u8 *guest_at(Guest *g, u32 phys) { return bus_ram(g->m->bus) + phys; }
// A physical address of something: RAM, its end, tables, ROM, devices' registers, beyond everything.
u32 guest_address(FuzzIn *in);

#endif
