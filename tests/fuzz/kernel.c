// SPDX-License-Identifier: MIT
// -kernel, -initrd and -append with hostile files: headers of Linux and multiboot kernels and of ELF, sizes
// of everything, RAM of any size. Each is either taken, and fits, or refused with one line.
//
//     bytes   0 RAM   1-2 size of the initrd   3 its kind   4 length of the command line   5.. the kernel
#define _GNU_SOURCE
#include "fuzz.h"

#include "bus/bus.h"
#include "pc/kernel.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEADER_BYTES = 5, KERNEL_BYTES = 12000 };

// A file of these bytes and zeros behind them; its path.
static char *file_of(const u8 *bytes, size_t count, size_t all, int *fd) {
    *fd = memfd_create("fuzz", MFD_CLOEXEC);
    require(*fd >= 0 && write(*fd, bytes, count) == (ssize_t)count && !ftruncate(*fd, (off_t)all));
    return mem_printf("/proc/self/fd/%d", *fd);
}

static char *modules_of(FuzzIn *in, unsigned kind, const char *path) {
    if (kind == 0) return NULL;
    if (kind == 1) return mem_strdup(path);
    if (kind == 2) return mem_strdup("/proc/self/missing");
    if (kind == 3) return mem_printf("%s one two,%s", path, path);
    char *text = mem_new(4096 + 64);
    for (unsigned n = kind == 255 ? 99 : kind % 8; n; n--) strcat(strcat(text, *text ? "," : ""), path);
    (void)in;
    return text;
}

static void kernel_run(FuzzIn *in) {
    static const u32 ram_mib[] = { 1, 2, 3, 4, 5, 8 };
    Log log;
    log_init(&log);
    u64 ram = (u64)ram_mib[fuzz_pick(in, ARRAY_LEN(ram_mib))] << 20;
    u32 initrd_bytes = fuzz_u16(in) * 9u;
    unsigned kind = fuzz_u8(in);
    u32 line_bytes = fuzz_u8(in) * 20u;
    int kernel_fd, initrd_fd;
    char *kernel = file_of(in->at, fuzz_left(in), fuzz_left(in), &kernel_fd);
    char *initrd = file_of((const u8 *)"initrd", 6, initrd_bytes, &initrd_fd);
    char *modules = modules_of(in, kind, initrd), *line = mem_new(line_bytes + 1), *err = NULL;
    memset(line, 'v', line_bytes);
    if (line_bytes > 20) memcpy(line + 5, " vga=0x305 ", 11);
    Bus *bus = bus_new(1 << 20, &log);
    FwCfg *fwcfg = fwcfg_new(bus, 1);
    fwcfg_set(fwcfg, FWCFG_RAM_BYTES, &ram, 8);
    KernelConfig config = { kernel, modules, line };
    fuzz_say("%llu MiB, initrd %u bytes, kind %u, line %u, kernel %zu bytes", (unsigned long long)ram >> 20,
             initrd_bytes, kind, line_bytes, fuzz_left(in));
    bool ok = kernel_add(fwcfg, ram, &config, &err);
    fuzz_say("%s", ok ? "taken" : err);
    require(ok ? !err : err && *err && !strchr(err, '\n'));
    free(err);
    fwcfg_free(fwcfg);
    bus_free(bus);
    free(line);
    free(modules);
    free(initrd);
    free(kernel);
    close(kernel_fd);
    close(initrd_fd);
}

// ---- own cases ----------------------------------------------------------------------------------
static u32 value(FuzzRandom *r) {
    static const u32 edges[] = { 0, 1, 52, 0x5ff, 0x600, 0x1000, 0x9e000, 0xfffff, 0x100000, 0x100001, 0x200000,
                                 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff };
    return fuzz_random_below(r, 3) ? edges[fuzz_random_below(r, ARRAY_LEN(edges))] : fuzz_random(r);
}

static void make_linux(FuzzRandom *r, u8 *k) {
    static const u16 versions[] = { 0x201, 0x202, 0x203, 0x206, 0x20a, 0x20c, 0x20f, 0xffff };
    k[0x1f1] = (u8)fuzz_random_below(r, 12);
    put_le16(k + 0x1fe, 0xaa55);
    memcpy(k + 0x202, "HdrS", 4);
    put_le16(k + 0x206, versions[fuzz_random_below(r, ARRAY_LEN(versions))]);
    k[0x211] = (u8)fuzz_random(r);
    for (u32 at = 0x214; at < 0x268; at += 4)
        if (!fuzz_random_below(r, 3)) put_le32(k + at, value(r));
}

static void make_multiboot(FuzzRandom *r, u8 *k, u32 at) {
    static const u32 flags[] = { 0, 3, 0x10000, 0x10003, 4, 0x10007, 8 };
    u32 f = flags[fuzz_random_below(r, ARRAY_LEN(flags))], to = 0x100000, header = to + at;
    put_le32(k + at, 0x1badb002);
    put_le32(k + at + 4, f);
    put_le32(k + at + 8, 0u - 0x1badb002u - f);
    u32 words[5] = { header, to, 0, 0, to };
    for (unsigned i = 0; i < 5; i++) put_le32(k + at + 12 + 4 * i, fuzz_random_below(r, 5) ? words[i] : value(r));
}

static void make_elf(FuzzRandom *r, u8 *k) {
    memcpy(k, "\177ELF\1\1\1", 7);
    put_le16(k + 16, 2);
    put_le16(k + 18, 3);
    put_le32(k + 24, 0x100000);
    put_le32(k + 28, fuzz_random_below(r, 6) ? 52 : value(r));
    put_le16(k + 42, fuzz_random_below(r, 6) ? 32 : (u16)fuzz_random(r));
    put_le16(k + 44, (u16)(fuzz_random_below(r, 6) ? 1 + fuzz_random_below(r, 4) : fuzz_random(r)));
    for (u32 n = 0; n < 4; n++) {
        u32 words[8] = { 1, 0x100 * n, 0x100000 + 0x1000 * n, 0x100000 + 0x1000 * n, 0x80, 0x100, 5, 0x1000 };
        for (u32 i = 0; i < 8; i++) put_le32(k + 52 + 32 * n + 4 * i, fuzz_random_below(r, 6) ? words[i] : value(r));
    }
}

static size_t kernel_make(FuzzRandom *r, u8 *to, size_t room) {
    u8 *k = to + HEADER_BYTES;
    size_t count = 64 + fuzz_random_below(r, (u32)(room < KERNEL_BYTES ? room : KERNEL_BYTES) - HEADER_BYTES - 64);
    memset(to, 0, room);
    for (unsigned i = 0; i < HEADER_BYTES; i++) to[i] = (u8)fuzz_random(r);
    if (fuzz_random_below(r, 4)) to[3] &= 3;
    unsigned kind = fuzz_random_below(r, 3);
    if (kind == 0) make_linux(r, k);
    else make_multiboot(r, k, 4 * fuzz_random_below(r, 60) + 0x200);
    if (kind == 2) make_elf(r, k);
    return HEADER_BYTES + count;
}

const FuzzTarget fuzz_target = { "kernel", HEADER_BYTES + KERNEL_BYTES, kernel_run, kernel_make };
