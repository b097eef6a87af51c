// SPDX-License-Identifier: MIT
// One ATA channel with up to two hard disks (ATA-6, PIO), at the legacy ports.
//
//     Ide *ide0 = ide_new(bus, 0, pic_irq(pic, 14));    // 0x1f0-0x1f7, 0x3f6
//     ide_attach(ide0, 0, disk);                        // master
#ifndef DEV_IDE_H
#define DEV_IDE_H

#include "bus/bus.h"
#include "dev/disk.h"

typedef struct Ide Ide;

typedef struct IdeGeometry { u32 cylinders; u8 heads, sectors; } IdeGeometry;

Ide *ide_new(Bus *bus, unsigned channel, Wire irq);   // channel 0 (IRQ 14) or 1 (IRQ 15)
void ide_free(Ide *ide);                              // the disks stay their owner's

// Unit 0 is the master, 1 the slave. Before the machine starts; NULL: no drive. The geometry comes
// from the disk's partition table where it has one, else it is 16 heads and 63 sectors.
void ide_attach(Ide *ide, unsigned unit, Disk *disk);
Disk *ide_disk(const Ide *ide, unsigned unit);

// Overrides the default geometry (of -drive): 1-65535, 1-16, 1-255. After ide_attach.
void ide_set_geometry(Ide *ide, unsigned unit, IdeGeometry g);
IdeGeometry ide_geometry(const Ide *ide, unsigned unit);

#endif
