// SPDX-License-Identifier: MIT
// Intel PIIX3: PCI to ISA bridge (function 0) with PIRQ routing and the reset control port 0xcf9,
// and the configuration space of its IDE controller (function 1).
#ifndef DEV_PIIX_H
#define DEV_PIIX_H

#include "bus/bus.h"
#include "dev/pci.h"

typedef struct Piix Piix;

// `irq` are the 16 inputs of the interrupt controllers. `device` is the PCI slot.
Piix *piix_new(Bus *bus, PciBus *pci, unsigned device, const Wire irq[16]);
void piix_free(Piix *p);

// Function 1, for the IDE controller's bus master: its owner adds BAR 4 (16 ports) and sets bit 7
// of the programming interface (register 9). The task file stays at the ISA addresses.
PciFn *piix_ide(Piix *p);

#endif
