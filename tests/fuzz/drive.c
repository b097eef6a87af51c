// SPDX-License-Identifier: MIT
// Disk images of any size and content as floppy, hard disk and CD: opened in each way, attached, read,
// written, and cut short while in use. What cannot be opened is refused with one line.
//
//     bytes   0 flags   1-8 size   9 what it becomes   10.. operations: code, sector, count
#define _GNU_SOURCE
#include "fuzz.h"

#include "bus/device.h"
#include "dev/fdc.h"
#include "dev/ide.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAD_BYTES = 512, COUNT_MAX = 40 };

static u64 size_of(FuzzIn *in) {
    static const u64 sizes[] = { 0, 1, 511, 512, 513, 163840, 737280, 1474560, 1474561, 2949120, 2949121, 1ull << 20,
                                 528482304, 8ull << 30, 137438953472ull, 2ull << 40, 1ull << 62, INT64_MAX - 511 };
    u32 n = fuzz_pick(in, ARRAY_LEN(sizes) + 2);
    return n < ARRAY_LEN(sizes) ? sizes[n] : n == ARRAY_LEN(sizes) ? fuzz_u32(in) : fuzz_u16(in);
}

static u64 sector_of(FuzzIn *in, const Disk *d) {
    u64 sectors = disk_sectors(d), n = fuzz_u16(in);
    switch (fuzz_u8(in) % 5) {
    case 0: return n;
    case 1: return sectors - n % 64;
    case 2: return sectors + n;
    case 3: return sectors / 2;
    default: return UINT64_MAX - n;
    }
}

static void use(FuzzIn *in, Disk *d, int fd) {
    static u8 buffer[COUNT_MAX * DISK_SECTOR_BYTES];
    while (fuzz_more(in)) {
        u32 op = fuzz_u8(in) % 6, count = fuzz_u8(in) % (COUNT_MAX + 1);
        u64 sector = sector_of(in, d);
        int error = 0;
        switch (op) {
        case 0: case 1: error = disk_read(d, sector, count, buffer); break;
        case 2: error = disk_write(d, sector, count, buffer); break;
        case 3: error = disk_flush(d); break;
        case 4: (void)!ftruncate(fd, (off_t)(size_of(in) & INT64_MAX)); break;
        default: disk_fit_floppy(d); break;
        }
        fuzz_say("op %u, sector %llu, %u: %d", op, (unsigned long long)sector, count, error);
        bool inside = sector < disk_sectors(d) && count <= disk_sectors(d) - sector;
        if (op <= 2) require(inside || error || !count);
    }
}

// The board's view: geometry and identity come from the image.
static void attach(unsigned as, Disk *d, const u8 *head) {
    Log log;
    log_init(&log);
    Bus *bus = bus_new(1 << 20, &log);
    Dma *dma = dma_new(bus);
    Fdc *fdc = fdc_new(bus, dma, (Wire){ 0 });
    Ide *ide = ide_new(bus, 0, (Wire){ 0 });
    Cd *cd = cd_new(bus, "cd");
    (void)head;
    if (as == 0) fdc_insert(fdc, 0, d);
    else if (as == 1) ide_attach(ide, 0, d);
    else { cd_insert(cd, d); ide_attach_cd(ide, 0, cd); }
    device_reset_all(bus);
    for (unsigned command = 0xa1; command <= 0xec; command += 0x4b) {
        bus_out(bus, 0x1f6, 1, 0xa0);
        bus_out(bus, 0x1f7, 1, command);
        for (unsigned i = 0; i < 4000; i++) bus_in(bus, 0x1f7, 1);
        for (unsigned i = 0; i < 256; i++) bus_in(bus, 0x1f0, 2);
    }
    if (as == 1) {
        IdeGeometry g = ide_geometry(ide, 0);
        fuzz_say("%u cylinders, %u heads, %u sectors", g.cylinders, g.heads, g.sectors);
        require(g.cylinders && g.heads && g.sectors);
    }
    ide_free(ide);
    cd_free(cd);
    fdc_free(fdc);
    dma_free(dma);
    bus_free(bus);
}

static void drive_run(FuzzIn *in) {
    u8 head[HEAD_BYTES] = { 0 };
    unsigned flags = fuzz_u8(in) & 7, as = 0;
    u64 bytes = size_of(in);
    as = fuzz_u8(in) % 3;
    u32 count = fuzz_u8(in) & 1 ? HEAD_BYTES : 0;
    for (u32 i = 0; i < count; i++) head[i] = fuzz_u8(in);
    if (count) put_le16(head + 510, 0xaa55);
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    require(fd >= 0 && pwrite(fd, head, count, 0) == (ssize_t)count);
    if (ftruncate(fd, (off_t)bytes)) fuzz_say("no file of %llu bytes", (unsigned long long)bytes);
    char *path = mem_printf("/proc/self/fd/%d", fd), *message = NULL;
    Disk *d = disk_open(path, flags, &message);
    fuzz_say("flags %u, %llu bytes: %s", flags, (unsigned long long)bytes, message ? message : "taken");
    require(d || message);
    require(!message || !strchr(message, '\n'));
    if (d) {
        use(in, d, fd);
        attach(as, d, head);
    }
    disk_close(d);
    free(message);
    free(path);
    close(fd);
}

const FuzzTarget fuzz_target = { "drive", 1024, drive_run, NULL };
