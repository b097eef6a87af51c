// SPDX-License-Identifier: MIT
// Disk images: opening in every way that goes wrong, locks, overlays, growth, host errors.
// Build and run (one line):
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc tests/unit/test_disk.c
//       src/dev/disk.c src/base/*.c -lcmocka -o /tmp/test_disk && /tmp/test_disk
#define _GNU_SOURCE
#include "dev/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Place {
    char folder[64];
    char path[128];            // of the image
    char *message;             // of the last disk_open
} Place;

static int setup(void **state) {
    Place *p = mem_new(sizeof(*p));
    strcpy(p->folder, "/tmp/glassbox-test-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof(p->path), "%s/image", p->folder);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    Place *p = *state;
    unlink(p->path);
    rmdir(p->path);
    rmdir(p->folder);
    free(p->message);
    free(p);
    return 0;
}

// An image of `bytes`, each sector filled with its number.
static void make_image(Place *p, size_t bytes) {
    FILE *f = fopen(p->path, "w");
    for (size_t i = 0; i < bytes; i++) fputc((int)(i / 512 & 0xff), f);
    fclose(f);
}

static Disk *try_open(Place *p, unsigned flags) {
    free(p->message);
    return disk_open(p->path, flags, &p->message);
}

static Disk *open_ok(Place *p, unsigned flags) {
    Disk *d = try_open(p, flags);
    if (!d) fail_msg("%s", p->message);
    return d;
}

static void refuse(Place *p, unsigned flags, const char *why) {
    assert_null(try_open(p, flags));
    assert_non_null(p->message);
    if (!strstr(p->message, why)) fail_msg("'%s' not in: %s", why, p->message);
    assert_non_null(strstr(p->message, p->path));
}

static void warns(Place *p, const char *what) {
    if (!p->message || !strstr(p->message, what)) fail_msg("'%s' not in: %s", what, p->message);
}

static u8 byte_at(Disk *d, u64 sector, unsigned at) {
    u8 b[512];
    assert_int_equal(disk_read(d, sector, 1, b), 0);
    return b[at];
}

static int fill_sector(Disk *d, u64 sector, u8 value) {
    u8 b[512];
    memset(b, value, sizeof(b));
    return disk_write(d, sector, 1, b);
}

static u64 file_bytes(const Place *p) {
    struct stat st;
    assert_int_equal(stat(p->path, &st), 0);
    return (u64)st.st_size;
}

static void test_refusals(void **state) {
    Place *p = *state;
    refuse(p, 0, "No such file or directory");
    make_image(p, 0);
    refuse(p, 0, "empty");
    unlink(p->path);
    mkdir(p->path, 0755);
    refuse(p, DISK_READONLY, "directory");
    refuse(p, 0, "directory");
    rmdir(p->path);
    mkfifo(p->path, 0644);
    refuse(p, 0, "neither a file nor a block device");
    unlink(p->path);
    assert_int_equal(symlink("/dev/full", p->path), 0);
    refuse(p, 0, "neither a file nor a block device");
}

// As root everything can be read: become somebody else for a while.
static void test_permissions(void **state) {
    Place *p = *state;
    make_image(p, 4096);
    chmod(p->path, 0444);
    chmod(p->folder, 0755);
    bool root = geteuid() == 0;
    if (root) assert_int_equal(seteuid(65534), 0);
    Disk *d = open_ok(p, 0);
    warns(p, "read-only");
    assert_true(disk_is_readonly(d));
    assert_int_equal(fill_sector(d, 0, 1), EROFS);
    disk_close(d);
    if (root) assert_int_equal(seteuid(0), 0);
    chmod(p->path, 0);
    if (root) assert_int_equal(seteuid(65534), 0);
    refuse(p, 0, "Permission denied");
    refuse(p, DISK_READONLY, "Permission denied");
    if (root) assert_int_equal(seteuid(0), 0);
}

static void test_hard_disk_sizes(void **state) {
    Place *p = *state;
    make_image(p, 3 * 512);
    Disk *d = open_ok(p, 0);
    assert_null(p->message);
    assert_true(disk_sectors(d) == 3);
    disk_close(d);
    make_image(p, 3 * 512 + 100);
    d = open_ok(p, 0);
    warns(p, "last 100 bytes");
    assert_true(disk_sectors(d) == 4);
    assert_int_equal(byte_at(d, 3, 99), 3);
    assert_int_equal(byte_at(d, 3, 100), 0);
    assert_int_equal(disk_read(d, 4, 1, (u8[512]){ 0 }), EINVAL);
    assert_int_equal(disk_read(d, UINT64_MAX, 2, (u8[1024]){ 0 }), EINVAL);
    assert_int_equal(disk_read(d, 3, 2, (u8[1024]){ 0 }), EINVAL);
    disk_close(d);
}

static void test_floppy_sizes(void **state) {
    static const struct { size_t bytes; unsigned sectors; const char *warning; } row[] = {
        { 163840, 320, NULL },   { 184320, 360, NULL },   { 327680, 640, NULL },
        { 368640, 720, NULL },   { 737280, 1440, NULL },  { 1228800, 2400, NULL },
        { 1474560, 2880, NULL }, { 1720320, 3360, NULL }, { 1763328, 3444, NULL },
        { 2949120, 5760, NULL }, { 512, 2880, NULL },     { 124065, 2880, NULL },
        { 1048576, 2880, NULL }, { 1474561, 5760, "1.44M" }, { 2000000, 5760, "2.88M floppy" },
    };
    Place *p = *state;
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        make_image(p, row[i].bytes);
        Disk *d = open_ok(p, DISK_FLOPPY);
        assert_true(disk_sectors(d) == row[i].sectors);
        if (row[i].warning) warns(p, row[i].warning);
        else assert_null(p->message);
        disk_close(d);
    }
    make_image(p, 2949121);
    refuse(p, DISK_FLOPPY, "1.44M 1.68M");
}

static void test_foreign_formats(void **state) {
    Place *p = *state;
    make_image(p, 4096);
    int fd = open(p->path, O_WRONLY);
    assert_int_equal(pwrite(fd, "QFI\xfb", 4, 0), 4);
    refuse(p, 0, "qemu-img convert");
    assert_int_equal(pwrite(fd, "\x1f\x8b\x08\0", 4, 0), 4);
    Disk *d = open_ok(p, 0);
    warns(p, "gunzip");
    disk_close(d);
    close(fd);
}

static void test_locks(void **state) {
    Place *p = *state;
    make_image(p, 4096);
    Disk *writer = open_ok(p, 0);
    refuse(p, 0, "in use");
    refuse(p, DISK_READONLY, "open for writing");
    refuse(p, DISK_SNAPSHOT, "open for writing");
    disk_close(writer);
    Disk *reader = open_ok(p, DISK_READONLY);
    Disk *other = open_ok(p, DISK_SNAPSHOT);
    refuse(p, 0, "in use");
    disk_close(other);
    refuse(p, 0, "in use");
    disk_close(reader);
    // Another emulator's lock on the byte that says "I may write".
    int fd = open(p->path, O_RDWR);
    struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1 };
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
    refuse(p, DISK_READONLY, "open for writing");
    refuse(p, 0, "in use");
    close(fd);
    disk_close(open_ok(p, 0));
}

static void test_write_through(void **state) {
    Place *p = *state;
    make_image(p, 8 * 512);
    Disk *d = open_ok(p, 0);
    assert_int_equal(fill_sector(d, 5, 0x77), 0);
    u8 b[512];
    int fd = open(p->path, O_RDONLY);
    assert_int_equal(pread(fd, b, 512, 5 * 512), 512);      // at once, before any flush
    assert_int_equal(b[0], 0x77);
    assert_int_equal(b[511], 0x77);
    close(fd);
    assert_int_equal(byte_at(d, 4, 511), 4);
    assert_int_equal(byte_at(d, 6, 0), 6);
    assert_int_equal(disk_flush(d), 0);
    assert_int_equal(fill_sector(d, 8, 0), EINVAL);
    disk_close(d);
    assert_true(file_bytes(p) == 8 * 512);
}

static void test_floppy_grows(void **state) {
    Place *p = *state;
    make_image(p, 1000);
    Disk *d = open_ok(p, DISK_FLOPPY);
    assert_int_equal(byte_at(d, 1, 487), 1);
    assert_int_equal(byte_at(d, 1, 488), 0);
    assert_int_equal(byte_at(d, 2879, 0), 0);
    assert_int_equal(fill_sector(d, 100, 9), 0);
    assert_true(file_bytes(p) == 101 * 512);
    assert_int_equal(byte_at(d, 100, 511), 9);
    assert_int_equal(byte_at(d, 50, 0), 0);
    disk_close(d);
}

static void test_shrunk_image(void **state) {
    Place *p = *state;
    make_image(p, 8 * 512);
    Disk *d = open_ok(p, 0);
    assert_int_equal(truncate(p->path, 4 * 512 + 7), 0);
    u8 b[8 * 512];
    assert_int_equal(disk_read(d, 3, 1, b), 0);
    assert_int_equal(disk_read(d, 4, 1, b), EIO);
    assert_int_equal(disk_read(d, 0, 8, b), EIO);
    disk_close(d);
}

static void test_snapshot(void **state) {
    Place *p = *state;
    make_image(p, 64 * 512);
    Disk *d = open_ok(p, DISK_SNAPSHOT);
    assert_false(disk_is_readonly(d));
    u8 b[64 * 512], want[64];
    for (unsigned s = 0; s < 64; s++) want[s] = (u8)s;
    for (unsigned s = 3; s < 64; s += s % 5 + 1) {
        want[s] = (u8)(0x80 + s);
        assert_int_equal(fill_sector(d, s, want[s]), 0);
    }
    for (unsigned first = 0; first < 64; first++) {
        assert_int_equal(disk_read(d, first, 64 - first, b), 0);
        for (unsigned s = first; s < 64; s++)
            for (unsigned at = 0; at < 512; at += 511)
                assert_int_equal(b[(s - first) * 512 + at], want[s]);
    }
    assert_int_equal(disk_flush(d), 0);
    disk_close(d);
    d = open_ok(p, DISK_READONLY | DISK_SNAPSHOT);
    for (unsigned s = 0; s < 64; s++) assert_int_equal(byte_at(d, s, 0), s);
    assert_int_equal(fill_sector(d, 0, 0), EROFS);
    disk_close(d);
}

static void test_memory(void **state) {
    (void)state;
    static u8 blob[700];
    memset(blob, 0x55, sizeof(blob));
    Disk *d = disk_from_memory(blob, sizeof(blob));
    assert_true(disk_sectors(d) == 2);
    assert_int_equal(byte_at(d, 1, 187), 0x55);
    assert_int_equal(byte_at(d, 1, 188), 0);
    assert_int_equal(fill_sector(d, 1, 0xaa), 0);
    assert_string_equal(disk_fit_floppy(d)->name, "1.44M");
    assert_true(disk_sectors(d) == 2880);
    assert_int_equal(fill_sector(d, 2879, 0xbb), 0);
    assert_int_equal(byte_at(d, 0, 0), 0x55);
    assert_int_equal(byte_at(d, 1, 188), 0xaa);
    assert_int_equal(byte_at(d, 2, 0), 0);
    assert_int_equal(byte_at(d, 2879, 511), 0xbb);
    assert_int_equal(blob[600], 0x55);
    assert_int_equal(disk_flush(d), 0);
    disk_close(d);
}

static void test_fit_overlay(void **state) {
    Place *p = *state;
    make_image(p, 512);
    Disk *d = open_ok(p, DISK_SNAPSHOT);
    assert_non_null(disk_fit_floppy(d));
    assert_int_equal(byte_at(d, 2879, 0), 0);
    assert_int_equal(fill_sector(d, 2879, 1), 0);
    assert_int_equal(byte_at(d, 2879, 0), 1);
    disk_close(d);
    assert_true(file_bytes(p) == 512);
}

// The host refuses to let a file grow: what fits is kept, the rest is an error.
static void write_limited(Place *p, unsigned flags) {
    signal(SIGXFSZ, SIG_IGN);
    Disk *d = open_ok(p, flags);
    struct rlimit small = { 20 * 512 + 100, RLIM_INFINITY }, old;
    getrlimit(RLIMIT_FSIZE, &old);
    setrlimit(RLIMIT_FSIZE, &small);
    int ok = fill_sector(d, 19, 1), error = fill_sector(d, 20, 2), later = fill_sector(d, 40, 3);
    u8 both[3 * 512] = { 7 };
    int straddling = disk_write(d, 18, 3, both);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(ok, 0);
    assert_int_equal(error, EFBIG);
    assert_int_equal(later, EFBIG);
    assert_int_equal(straddling, EFBIG);
    assert_int_equal(byte_at(d, 18, 0), flags & DISK_SNAPSHOT ? 0 : 7);
    assert_int_equal(byte_at(d, 20, 0), 0);
    assert_int_equal(byte_at(d, 40, 0), 0);
    assert_int_equal(fill_sector(d, 40, 3), 0);
    assert_int_equal(byte_at(d, 40, 0), 3);
    disk_close(d);
}

static void test_host_full(void **state) {
    Place *p = *state;
    make_image(p, 512);
    write_limited(p, DISK_FLOPPY);
    make_image(p, 512);
    write_limited(p, DISK_FLOPPY | DISK_SNAPSHOT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_refusals), T(test_permissions), T(test_hard_disk_sizes), T(test_floppy_sizes),
        T(test_foreign_formats), T(test_locks), T(test_write_through), T(test_floppy_grows),
        T(test_shrunk_image), T(test_snapshot), T(test_memory), T(test_fit_overlay),
        T(test_host_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
