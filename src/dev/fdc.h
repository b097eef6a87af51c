// SPDX-License-Identifier: MIT
// The floppy disk controller: an 82077AA at 0x3f0-0x3f5 and 0x3f7 with two drives, DMA channel 2.
//
//     Fdc *fdc = fdc_new(bus, dma, pic_irq(pic, 6));
//     fdc_insert(fdc, 0, disk_open("boot.img", DISK_FLOPPY, &message));
#ifndef DEV_FDC_H
#define DEV_FDC_H

#include "bus/bus.h"
#include "dev/disk.h"
#include "dev/dma.h"

typedef struct Fdc Fdc;

Fdc *fdc_new(Bus *bus, Dma *dma, Wire irq6);
void fdc_free(Fdc *fdc);                            // the disks stay their owner's

// Puts a disk into drive 0 or 1 and tells the guest (disk change line). A disk that was in it is
// returned (NULL: none); the caller closes it. The first medium decides what the drive is; later
// ones change that only when such a drive could not take them.
Disk *fdc_insert(Fdc *fdc, unsigned drive, Disk *disk);
Disk *fdc_eject(Fdc *fdc, unsigned drive);
Disk *fdc_disk(const Fdc *fdc, unsigned drive);

// The drive's type for CMOS byte 0x10: 0 none, 1 360K, 2 1.2M, 3 720K, 4 1.44M, 5 2.88M. Drive 0 is
// 1.44M until its first medium; drive 1 does not exist before something was put into it.
u8 fdc_cmos_type(const Fdc *fdc, unsigned drive);

#endif
