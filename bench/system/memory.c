// SPDX-License-Identifier: MIT
// Memory: page faults, protection faults, files in memory, block copies.

#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys.h"

enum { PAGE_BYTES = 4096, MIB = 1 << 20 };

static uint8_t *pages_map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sys_need(at != MAP_FAILED, "mmap");
    return at;
}

uint32_t bench_fault(uint32_t iterations)
{
    enum { PAGES = 64 };
    uint32_t sum = 0;
    for (uint32_t i = 0; i < iterations; i++) {
        volatile uint8_t *at = pages_map(PAGES * PAGE_BYTES);
        madvise((void *)at, PAGES * PAGE_BYTES, MADV_NOHUGEPAGE);
        for (size_t p = 0; p < PAGES; p++) {
            at[p * PAGE_BYTES] = (uint8_t)(p + i);
            sum += at[p * PAGE_BYTES + 1] + at[p * PAGE_BYTES];
        }
        munmap((void *)at, PAGES * PAGE_BYTES);
    }
    return sum;
}

static uint8_t *segv_page;
static volatile uint32_t segv_count;

static void segv_handler(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    segv_count += info->si_addr == segv_page + 8;
    mprotect(segv_page, PAGE_BYTES, PROT_READ | PROT_WRITE);
}

uint32_t bench_segv(uint32_t iterations)
{
    struct sigaction action = {.sa_sigaction = segv_handler, .sa_flags = SA_SIGINFO}, before;
    segv_count = 0;
    segv_page = pages_map(PAGE_BYTES);
    sigaction(SIGSEGV, &action, &before);
    for (uint32_t i = 0; i < iterations; i++) {
        mprotect(segv_page, PAGE_BYTES, PROT_READ);
        ((volatile uint8_t *)segv_page)[8] = (uint8_t)i;
    }
    sigaction(SIGSEGV, &before, NULL);
    uint32_t sum = sum_add(segv_count, segv_page[8]);
    munmap(segv_page, PAGE_BYTES);
    return sum;
}

// The file once from its start to its end, in pieces.
static void file_pass(int file, uint8_t *buffer, size_t piece, bool writing)
{
    sys_need(lseek(file, 0, SEEK_SET) == 0, "lseek");
    for (size_t at = 0; at < 4 * MIB; at += piece)
        sys_need((writing ? write(file, buffer, piece) : read(file, buffer, piece)) == (ssize_t)piece, "file");
}

uint32_t bench_files(uint32_t iterations)
{
    enum { BIG = 65536, SMALL = 4096 };
    static uint8_t buffer[BIG];
    static const char path[] = SYS_SCRATCH "/file";
    uint32_t sum = 0;
    int file = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    sys_need(file >= 0, path);
    for (size_t i = 0; i < BIG; i++)
        buffer[i] = (uint8_t)(i * 7 + (i >> 8));
    for (uint32_t i = 0; i < iterations; i++) {
        buffer[i % BIG]++;
        file_pass(file, buffer, BIG, true);
        file_pass(file, buffer, SMALL, false);
        file_pass(file, buffer, SMALL, true);
        file_pass(file, buffer, BIG, false);
        sum = sum_add(sum, buffer[i % BIG] + buffer[SMALL + i % SMALL]);
    }
    close(file);
    unlink(path);
    return sum;
}

static uint32_t copy_run(uint32_t iterations, size_t bytes)
{
    uint8_t *from = pages_map(bytes), *to = pages_map(bytes);
    uint32_t sum = 0;
    for (size_t i = 0; i < bytes; i += 64)
        from[i] = (uint8_t)(i >> 6);
    for (uint32_t i = 0; i < iterations; i++) {
        void *d = to, *s = from;
        size_t words = bytes / 4;
        from[i * 64 % bytes]++;
        __asm__ volatile("rep movsl" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
        sum = sum_add(sum, to[i * 64 % bytes] + to[bytes - 64]);
    }
    munmap(from, bytes);
    munmap(to, bytes);
    return sum;
}

uint32_t bench_copy1m(uint32_t iterations)
{
    return copy_run(iterations, MIB);
}

uint32_t bench_copy64m(uint32_t iterations)
{
    return copy_run(iterations, 64 * MIB);
}

uint32_t bench_fill1m(uint32_t iterations)
{
    uint32_t *to = (uint32_t *)pages_map(MIB), sum = 0;
    for (uint32_t i = 0; i < iterations; i++) {
        void *d = to;
        size_t words = MIB / 4;
        __asm__ volatile("rep stosl" : "+D"(d), "+c"(words) : "a"(i * 0x01000193u) : "memory");
        sum = sum_add(sum, to[i % (MIB / 4)]);
    }
    munmap(to, MIB);
    return sum;
}
