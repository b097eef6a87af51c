// SPDX-License-Identifier: MIT
// The bus master of the PIIX's IDE controller: DMA for two ATA channels, through BAR 4 of the
// controller's PCI function.
//
//     IdeDma *dma = idedma_new(bus, piix_ide(piix), ide);     // ide[2]: primary, secondary
#ifndef DEV_IDEDMA_H
#define DEV_IDEDMA_H

#include "dev/ide.h"
#include "dev/pci.h"

typedef struct IdeDma IdeDma;

IdeDma *idedma_new(Bus *bus, PciFn *fn, Ide *const ide[2]);
void idedma_free(IdeDma *d);

#endif
