// SPDX-License-Identifier: MIT
// The AT's floating-point error logic: FERR# to IRQ13 through a latch that port 0xf0 clears.
#ifndef DEV_FPUERR_H
#define DEV_FPUERR_H

#include "bus/bus.h"

typedef struct FpuErr FpuErr;

FpuErr *fpuerr_new(Bus *bus, Wire irq13);          // becomes the bus's FERR# wire
void fpuerr_free(FpuErr *f);

#endif
