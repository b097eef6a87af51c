// SPDX-License-Identifier: MIT
// Raw disk images behind one interface, in sectors of 512 bytes.
//
//     char *message;
//     Disk *d = disk_open("hd.img", 0, &message);
//     if (!d) fail(message); else if (message) warn(message);
//     int error = disk_read(d, 0, 1, sector);           // 0 or an errno value
#ifndef DEV_DISK_H
#define DEV_DISK_H

#include "base/base.h"

#define DISK_SECTOR_BYTES 512u

enum DiskFlag {
    DISK_READONLY = 1,         // the guest cannot write; the image may be shared with other readers
    DISK_SNAPSHOT = 2,         // the guest's writes go to a temporary file and vanish with it
    DISK_FLOPPY = 4,           // the size must be (or is rounded up to) that of a floppy format
};

typedef struct Disk Disk;

// Opens an image (or a block device) and locks it: exclusively when it can be written, shared with
// other readers otherwise. NULL: *message says why, with the path in it. A disk: *message is NULL
// or a warning (malloc'ed both). An image that cannot be opened for writing is opened read-only,
// with a warning.
Disk *disk_open(const char *path, unsigned flags, char **message);
// A disk that starts out as the `bytes` at `blob` (which must outlive it; the rest of the last
// sector is zero) and takes writes privately.
Disk *disk_from_memory(const void *blob, size_t bytes);
void disk_close(Disk *d);                           // NULL is fine

// All return 0 or an errno value; out of range is EINVAL, write-protected EROFS. When disk_write
// returns 0 the image holds the data (in the host's page cache); after disk_flush its device does.
// The process must ignore SIGXFSZ, or an image at the file size limit ends it.
int disk_read(Disk *d, u64 sector, u32 count, void *to);
int disk_write(Disk *d, u64 sector, u32 count, const void *from);
int disk_flush(Disk *d);

u64 disk_sectors(const Disk *d);
bool disk_is_readonly(const Disk *d);
const char *disk_name(const Disk *d);               // its path, or "(built in)"

typedef struct DiskFloppy {    // a floppy format
    const char *name;          // "1.44M"
    u8 tracks, heads, sectors; // cylinders, sides, sectors per track
    u8 rate;                   // data rate select: 0 500, 1 300, 2 250, 3 1000 kbit/s
    u8 cmos;                   // the drive it is made for: 1 360K 2 1.2M 3 720K 4 1.44M 5 2.88M
} DiskFloppy;

// Makes the disk as large as the least floppy format that holds it (at least 1.44M unless it has
// the exact size of a smaller one): what the image lacks reads as zeros, and the image grows when
// it is written there. NULL: it is larger than every format (and stays as it is).
const DiskFloppy *disk_fit_floppy(Disk *d);

#endif
