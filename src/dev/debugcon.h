// SPDX-License-Identifier: MIT
// Ports made for emulators: debug consoles, isa-debug-exit, and Bochs' power-off.
#ifndef DEV_DEBUGCON_H
#define DEV_DEBUGCON_H

#include "bus/bus.h"
#include "bus/chr.h"

typedef struct Debugcon Debugcon;
typedef struct DebugExit DebugExit;
typedef struct BochsOff BochsOff;

// A byte written to `port` goes to `out`; reading gives 0xe9 (the sign that something listens).
// Port 0xe9 is the usual one; SeaBIOS logs to 0x402 when it reads back 0xe9.
Debugcon *debugcon_new(Bus *bus, u16 port, CharOut out);
void debugcon_free(Debugcon *d);

// isa-debug-exit: writing v to any of `bytes` ports from `port` ends the emulator with status
// (v << 1) | 1. Reads as zero.
DebugExit *debugexit_new(Bus *bus, u16 port, unsigned bytes);
void debugexit_free(DebugExit *d);

// Port 0x8900: the bytes "Shutdown" in sequence end the emulator with status 0.
BochsOff *bochsoff_new(Bus *bus);
void bochsoff_free(BochsOff *b);

#endif
