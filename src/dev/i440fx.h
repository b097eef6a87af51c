// SPDX-License-Identifier: MIT
// Intel 82441FX host bridge (function 00.0) with the PAM registers that switch c0000-fffff between
// the ROMs on the ISA bus and the RAM beneath them.
#ifndef DEV_I440FX_H
#define DEV_I440FX_H

#include "bus/bus.h"
#include "dev/pci.h"

typedef struct I440fx I440fx;

typedef struct I440fxRom {     // what the ISA bus shows at c0000-fffff
    u8 *host;                  // 256 KiB of bus memory
    u64 present;               // bit n: page c0000 + n * 4 KiB is a ROM; otherwise nobody answers
} I440fxRom;

// bus_ram() must be at least 1 MiB: its c0000-fffff is the shadow RAM.
I440fx *i440fx_new(Bus *bus, PciBus *pci, const I440fxRom *rom);
void i440fx_free(I440fx *f);

#endif
