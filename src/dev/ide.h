// SPDX-License-Identifier: MIT
// One ATA channel with up to two drives at the legacy ports: hard disks (ATA-6, PIO and DMA) and CD
// drives (ATAPI).
//
//     Ide *ide0 = ide_new(bus, 0, pic_irq(pic, 14));    // 0x1f0-0x1f7, 0x3f6
//     ide_attach(ide0, 0, disk);                        // master: a hard disk
//     ide_attach_cd(ide0, 1, cd);                       // slave: a CD drive
#ifndef DEV_IDE_H
#define DEV_IDE_H

#include "bus/bus.h"
#include "dev/cd.h"
#include "dev/disk.h"

typedef struct Ide Ide;

typedef struct IdeGeometry { u32 cylinders; u8 heads, sectors; } IdeGeometry;

// What does DMA for the channel (idedma.h).
typedef struct IdeEngine {
    void *self;
    // Moves up to `bytes` from `data` to memory, or from memory. How many it moved: fewer when it
    // is not running or at the end of its list; then ide_engine_started() is called some day.
    u32 (*move)(void *self, bool to_memory, u8 *data, u32 bytes);
    void (*interrupt)(void *self);                    // INTRQ has risen
} IdeEngine;

Ide *ide_new(Bus *bus, unsigned channel, Wire irq);   // channel 0 (IRQ 14) or 1 (IRQ 15)
void ide_free(Ide *ide);                              // the drives stay their owner's

// Without an engine DMA commands wait for ever.
void ide_connect_engine(Ide *ide, const IdeEngine *engine);
void ide_engine_started(Ide *ide);                    // by the engine: it moves data from now on

// Unit 0 is the master, 1 the slave. Before the machine starts; NULL: no drive. The geometry comes
// from the disk's partition table where it has one, else it is 16 heads and 63 sectors.
void ide_attach(Ide *ide, unsigned unit, Disk *disk);
Disk *ide_disk(const Ide *ide, unsigned unit);        // NULL: no hard disk
void ide_attach_cd(Ide *ide, unsigned unit, Cd *cd);  // in place of a hard disk
Cd *ide_cd(const Ide *ide, unsigned unit);            // NULL: no CD drive

// Overrides the default geometry (of -drive): 1-65535, 1-16, 1-255. After ide_attach.
void ide_set_geometry(Ide *ide, unsigned unit, IdeGeometry g);
IdeGeometry ide_geometry(const Ide *ide, unsigned unit);

#endif
