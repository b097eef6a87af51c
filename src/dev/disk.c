// SPDX-License-Identifier: MIT
// Raw images, block devices and built-in images as disks.
//
// Invariants
//  1. What disk_write acknowledged is what disk_read returns, from the image itself or its overlay.
//  2. `image_bytes` is how much of the disk the image holds; the rest, up to `sectors`, is zero. A
//     write there makes the image grow. A file that gives less has shrunk: that is an error.
//  3. A flush that failed once fails for ever: the host forgets the pages it could not write.
#define _GNU_SOURCE
#include "dev/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// Bytes of the file whose locks other emulators look at: QEMU has a read lock on LOCK_WRITER while
// it may write, and on LOCK_NO_WRITERS while it cannot bear writers.
enum { LOCK_WRITER = 101, LOCK_NO_WRITERS = 201 };

#define DISK_MAX_SECTORS (1ull << 48)      // that a 48-bit address can name

struct Disk {
    char *name;
    int fd;                    // the image; -1: built in
    const u8 *blob;            // built in: the image
    u8 *copy;                  // built in and written to: the whole disk
    u64 image_bytes;           // how much of the disk the image holds
    u64 sectors;
    bool readonly;
    int overlay_fd;            // DISK_SNAPSHOT: temporary file; -1: none
    u8 *overlay_map;           // bit per sector: it is in the overlay; sparse
    u64 overlay_map_bytes;
    int flush_error;           // first error of fdatasync
};

static const DiskFloppy disk_formats[] = {        // ORDER: by size
    { "160K", 40, 1, 8, 2, 1 },  { "180K", 40, 1, 9, 2, 1 },   { "320K", 40, 2, 8, 2, 1 },
    { "360K", 40, 2, 9, 2, 1 },  { "720K", 80, 2, 9, 2, 3 },   { "1.2M", 80, 2, 15, 0, 2 },
    { "1.44M", 80, 2, 18, 0, 4 }, { "1.68M", 80, 2, 21, 0, 4 }, { "1.72M", 82, 2, 21, 0, 4 },
    { "2.88M", 80, 2, 36, 3, 5 },
};
#define KNOWN_FLOPPIES "160K 180K 320K 360K 720K 1.2M 1.44M 1.68M 1.72M 2.88M"

static u32 format_sectors(const DiskFloppy *f) { return (u32)f->tracks * f->heads * f->sectors; }

// The format of exactly this size, else the least of 1.44M and more that is larger, else NULL.
static const DiskFloppy *format_for(u64 sectors, bool *exact) {
    const DiskFloppy *larger = NULL;
    for (unsigned i = 0; i < ARRAY_LEN(disk_formats); i++) {
        const DiskFloppy *f = &disk_formats[i];
        *exact = format_sectors(f) == sectors;
        if (*exact) return f;
        bool common = f->sectors == 18 || f->sectors == 36;
        if (!larger && common && format_sectors(f) > sectors) larger = f;
    }
    return larger;
}

const DiskFloppy *disk_fit_floppy(Disk *d) {
    bool exact;
    const DiskFloppy *f = format_for(d->sectors, &exact);
    if (!f || exact) return f;
    d->sectors = format_sectors(f);
    return f;
}

// ---- opening ------------------------------------------------------------------------------------
// A container format is refused, a compressed image gets a warning: a guest may have written that.
static const struct DiskMagic {
    u16 offset;
    u8 length;
    bool fatal;
    const char *bytes, *advice;
} disk_magics[] = {
    { 0, 4, true, "QFI\xfb", "is a qcow image; convert it with 'qemu-img convert -O raw'" },
    { 0, 4, true, "KDMV", "is a VMDK image; convert it with 'qemu-img convert -O raw'" },
    { 0, 8, true, "vhdxfile", "is a VHDX image; convert it with 'qemu-img convert -O raw'" },
    { 64, 4, true, "\x7f\x10\xda\xbe", "is a VDI image; convert it with 'qemu-img convert'" },
    { 0, 3, false, "\x1f\x8b\x08", "looks compressed; unpack it with 'gunzip'" },
    { 0, 6, false, "\xfd" "7zXZ\0", "looks compressed; unpack it with 'unxz'" },
    { 0, 4, false, "\x28\xb5\x2f\xfd", "looks compressed; unpack it with 'unzstd'" },
};

// Replaces *message, appending to a warning that is there.
static void disk_say(Disk *d, char **message, const char *text, const char *why) {
    char *old = *message;
    *message = mem_printf("%s%s'%s' %s%s", old ? old : "", old ? "; " : "", d->name, text, why);
    free(old);
}

static bool disk_refuse(Disk *d, char **message, char *text) {
    free(*message);
    *message = mem_printf("cannot open '%s': %s", d->name, text);
    free(text);
    return false;
}

static bool disk_open_file(Disk *d, unsigned flags, char **message) {
    bool wanted = !(flags & (DISK_READONLY | DISK_SNAPSHOT));
    d->readonly = (flags & DISK_READONLY) != 0;
    d->fd = wanted ? open(d->name, O_RDWR | O_CLOEXEC | O_NONBLOCK) : -1;
    int error = errno;
    if (wanted && d->fd < 0 && (error == EACCES || error == EROFS || error == EPERM ||
                                error == ETXTBSY))
        d->readonly = true;
    if (d->fd < 0 && (!wanted || d->readonly)) {
        d->fd = open(d->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (d->fd >= 0 && wanted)
            disk_say(d, message, "is opened read-only, for it cannot be written: ",
                     strerror(error));
        error = errno;
    }
    return d->fd >= 0 || disk_refuse(d, message, mem_strdup(strerror(error)));
}

// Does somebody else's lock forbid to take this one?
static bool lock_is_taken(int fd, short type, off_t start, off_t bytes, bool keep) {
    struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = bytes };
    if (keep) return fcntl(fd, F_OFD_SETLK, &l) && (errno == EAGAIN || errno == EACCES);
    return !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
}

// File systems without locks go unlocked.
static bool disk_lock(Disk *d, bool writable, char **message) {
    if (writable && lock_is_taken(d->fd, F_WRLCK, 0, 0, true))
        return disk_refuse(d, message, mem_strdup(
            "it is in use by another emulator (or given twice), and writing to it from both would "
            "destroy it"));
    if (!writable && (lock_is_taken(d->fd, F_RDLCK, LOCK_NO_WRITERS, 1, true) ||
                      lock_is_taken(d->fd, F_WRLCK, LOCK_WRITER, 1, false)))
        return disk_refuse(d, message, mem_strdup(
            "another emulator (or another option) has it open for writing"));
    return true;
}

static bool disk_check_magic(Disk *d, char **message) {
    u8 head[DISK_SECTOR_BYTES] = { 0 };
    if (pread(d->fd, head, sizeof(head), 0) < 0)
        return disk_refuse(d, message, mem_strdup(strerror(errno)));
    for (unsigned i = 0; i < ARRAY_LEN(disk_magics); i++) {
        const struct DiskMagic *m = &disk_magics[i];
        if (memcmp(head + m->offset, m->bytes, m->length)) continue;
        if (m->fatal) return disk_refuse(d, message, mem_printf("it %s", m->advice));
        disk_say(d, message, m->advice, "");
    }
    return true;
}

static bool disk_measure(Disk *d, char **message) {
    struct stat st;
    if (fstat(d->fd, &st)) return disk_refuse(d, message, mem_strdup(strerror(errno)));
    if (S_ISDIR(st.st_mode))
        return disk_refuse(d, message, mem_strdup("it is a directory, not an image"));
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return disk_refuse(d, message, mem_strdup("it is neither a file nor a block device"));
    off_t end = lseek(d->fd, 0, SEEK_END);
    if (end < 0) return disk_refuse(d, message, mem_strdup(strerror(errno)));
    if (!end) return disk_refuse(d, message, mem_strdup("the image is empty"));
    d->image_bytes = (u64)end;
    d->sectors = (d->image_bytes + DISK_SECTOR_BYTES - 1) / DISK_SECTOR_BYTES;
    return true;
}

// Boot floppies usually end where their contents end: only what is larger is worth a word.
static bool disk_size_floppy(Disk *d, char **message) {
    bool exact;
    const DiskFloppy *f = format_for(d->sectors, &exact);
    unsigned long long bytes = d->image_bytes;
    if (!f)
        return disk_refuse(d, message, mem_printf("%llu bytes are too large for a floppy (known "
                                                  "sizes: " KNOWN_FLOPPIES ")", bytes));
    d->sectors = format_sectors(f);
    if (exact && d->image_bytes % DISK_SECTOR_BYTES == 0) return true;
    if (d->sectors <= 2880) return true;
    char *text = mem_printf("has %llu bytes, no floppy's size (" KNOWN_FLOPPIES "): ", bytes);
    char *use = mem_printf("it is used as the beginning of a %s floppy", f->name);
    disk_say(d, message, text, use);
    free(text);
    free(use);
    return true;
}

static bool disk_size_hard(Disk *d, char **message) {
    if (d->sectors > DISK_MAX_SECTORS)
        return disk_refuse(d, message, mem_printf("%llu bytes are too large for a disk (128 PiB)",
                                                  (unsigned long long)d->image_bytes));
    u64 odd = d->image_bytes % DISK_SECTOR_BYTES;
    if (!odd) return true;
    char *text = mem_printf("does not end at a sector: its last %u bytes ", (unsigned)odd);
    disk_say(d, message, text, "are followed by zeros");
    free(text);
    return true;
}

// Room for the largest floppy, which the disk may yet become.
static bool disk_map_overlay(Disk *d) {
    const DiskFloppy *largest = &disk_formats[ARRAY_LEN(disk_formats) - 1];
    u64 sectors = d->sectors > format_sectors(largest) ? d->sectors : format_sectors(largest);
    d->overlay_map_bytes = sectors / 8 + 1;
    void *map = mmap(NULL, d->overlay_map_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map != MAP_FAILED) d->overlay_map = map;
    return map != MAP_FAILED;
}

static bool disk_open_overlay(Disk *d, char **message) {
    const char *folder = getenv("TMPDIR");
    if (!folder || !*folder) folder = "/var/tmp";
    char *path = mem_printf("%s/glassbox-XXXXXX", folder);
    d->overlay_fd = mkostemp(path, O_CLOEXEC);
    if (d->overlay_fd < 0) {
        disk_refuse(d, message, mem_printf("no temporary file in %s: %s (set TMPDIR)", folder,
                                           strerror(errno)));
    } else {
        unlink(path);
        if (!disk_map_overlay(d))
            disk_refuse(d, message, mem_printf("no memory for a snapshot: %s", strerror(errno)));
    }
    free(path);
    return d->overlay_map != NULL;
}

Disk *disk_open(const char *path, unsigned flags, char **message) {
    Disk *d = mem_new(sizeof(*d));
    *d = (Disk){ .name = mem_strdup(path), .fd = -1, .overlay_fd = -1 };
    *message = NULL;
    bool floppy = flags & DISK_FLOPPY, snapshot = flags & DISK_SNAPSHOT;
    if (disk_open_file(d, flags, message) && disk_measure(d, message) &&
        disk_lock(d, !d->readonly && !snapshot, message) && disk_check_magic(d, message) &&
        (floppy ? disk_size_floppy(d, message) : disk_size_hard(d, message)) &&
        (!snapshot || d->readonly || disk_open_overlay(d, message)))
        return d;
    disk_close(d);
    return NULL;
}

Disk *disk_from_memory(const void *blob, size_t bytes) {
    Disk *d = mem_new(sizeof(*d));
    *d = (Disk){ .name = mem_strdup("(built in)"), .fd = -1, .overlay_fd = -1, .blob = blob,
                 .image_bytes = bytes };
    d->sectors = (bytes + DISK_SECTOR_BYTES - 1) / DISK_SECTOR_BYTES;
    return d;
}

void disk_close(Disk *d) {
    if (!d) return;
    if (d->fd >= 0) close(d->fd);
    if (d->overlay_fd >= 0) close(d->overlay_fd);
    if (d->overlay_map) munmap(d->overlay_map, d->overlay_map_bytes);
    free(d->copy);
    free(d->name);
    free(d);
}

u64 disk_sectors(const Disk *d) { return d->sectors; }
bool disk_is_readonly(const Disk *d) { return d->readonly; }
const char *disk_name(const Disk *d) { return d->name; }

// ---- reading and writing ------------------------------------------------------------------------
// Reads until `bytes` are there; past the end of the file all is zero. *got: bytes from the file.
static int file_read(int fd, u64 offset, u8 *to, u64 bytes, u64 *got) {
    u64 done = 0;
    while (done < bytes) {
        ssize_t n = pread(fd, to + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (n == 0) break;
        done += (u64)n;
    }
    memset(to + done, 0, bytes - done);
    *got = done;
    return 0;
}

static int file_write(int fd, u64 offset, const u8 *from, u64 bytes) {
    while (bytes) {
        ssize_t n = pwrite(fd, from, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (n == 0) return EIO;
        from += n;
        offset += (u64)n;
        bytes -= (u64)n;
    }
    return 0;
}

// From the image alone.
static int image_read(Disk *d, u64 offset, u8 *to, u64 bytes) {
    u64 held = offset < d->image_bytes ? min_u64(bytes, d->image_bytes - offset) : 0, got = held;
    int error = 0;
    if (d->copy) memcpy(to, d->copy + offset, held);
    else if (d->blob) memcpy(to, d->blob + offset, held);
    else if (held) error = file_read(d->fd, offset, to, held, &got);
    memset(to + held, 0, bytes - held);
    if (!error && got < held) error = EIO;
    return error;
}

static bool overlay_has(const Disk *d, u64 sector) {
    return d->overlay_map[sector / 8] >> (sector % 8) & 1;
}

static int overlay_read(Disk *d, u64 sector, u32 count, u8 *to) {
    while (count) {
        bool over = overlay_has(d, sector);
        u32 run = 1;
        while (run < count && overlay_has(d, sector + run) == over) run++;
        u64 offset = sector * DISK_SECTOR_BYTES, bytes = (u64)run * DISK_SECTOR_BYTES, got = bytes;
        int error = over ? file_read(d->overlay_fd, offset, to, bytes, &got)
                         : image_read(d, offset, to, bytes);
        if (!error && got < bytes) error = EIO;
        if (error) return error;
        sector += run;
        count -= run;
        to += bytes;
    }
    return 0;
}

static int overlay_write(Disk *d, u64 sector, u32 count, const u8 *from) {
    int error = file_write(d->overlay_fd, sector * DISK_SECTOR_BYTES, from,
                           (u64)count * DISK_SECTOR_BYTES);
    if (error) return error;
    for (u64 s = sector; s < sector + count; s++) d->overlay_map[s / 8] |= (u8)BIT(s % 8);
    return 0;
}

// The first write to a built-in image makes the private copy.
static int memory_write(Disk *d, u64 offset, const u8 *from, u64 bytes) {
    u64 total = d->sectors * DISK_SECTOR_BYTES;
    if (!d->copy) {
        d->copy = mem_new(total);
        memcpy(d->copy, d->blob, min_u64(d->image_bytes, total));
        d->image_bytes = total;
    } else if (total > d->image_bytes) {
        d->copy = mem_resize(d->copy, total);
        memset(d->copy + d->image_bytes, 0, total - d->image_bytes);
        d->image_bytes = total;
    }
    memcpy(d->copy + offset, from, bytes);
    return 0;
}

static bool disk_has(const Disk *d, u64 sector, u32 count) {
    return sector <= d->sectors && count <= d->sectors - sector;
}

int disk_read(Disk *d, u64 sector, u32 count, void *to) {
    if (!disk_has(d, sector, count)) return EINVAL;
    if (d->overlay_map) return overlay_read(d, sector, count, to);
    return image_read(d, sector * DISK_SECTOR_BYTES, to, (u64)count * DISK_SECTOR_BYTES);
}

int disk_write(Disk *d, u64 sector, u32 count, const void *from) {
    if (!disk_has(d, sector, count)) return EINVAL;
    if (d->readonly) return EROFS;
    if (d->overlay_map) return overlay_write(d, sector, count, from);
    u64 offset = sector * DISK_SECTOR_BYTES, bytes = (u64)count * DISK_SECTOR_BYTES;
    if (d->blob) return memory_write(d, offset, from, bytes);
    int error = file_write(d->fd, offset, from, bytes);
    if (!error && offset + bytes > d->image_bytes) d->image_bytes = offset + bytes;
    return error;
}

int disk_flush(Disk *d) {
    if (d->fd < 0 || d->readonly || d->overlay_map || d->flush_error) return d->flush_error;
    while (fdatasync(d->fd)) {
        if (errno == EINTR) continue;
        if (errno != EINVAL && errno != EROFS) d->flush_error = errno;   // else: nothing to sync
        break;
    }
    return d->flush_error;
}
