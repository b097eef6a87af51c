// SPDX-License-Identifier: MIT
// System calls: the bare entry in both ways, a short read, a file by name.

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

uint32_t bench_sysenter(uint32_t iterations)
{
    unsigned long entry = getauxval(AT_SYSINFO);
    uint32_t sum = 0, pid = (uint32_t)getpid();
    sys_need(entry != 0, "AT_SYSINFO");
    for (uint32_t i = 0; i < iterations; i++) {
        uint32_t result;
        __asm__ volatile("call *%2" : "=a"(result) : "0"(SYS_getpid), "r"(entry) : "memory", "cc");
        sum += result == pid;
    }
    return sum;
}

uint32_t bench_int80(uint32_t iterations)
{
    uint32_t sum = 0, pid = (uint32_t)getpid();
    for (uint32_t i = 0; i < iterations; i++) {
        uint32_t result;
        __asm__ volatile("int $0x80" : "=a"(result) : "0"(SYS_getpid) : "memory", "cc");
        sum += result == pid;
    }
    return sum;
}

uint32_t bench_read(uint32_t iterations)
{
    int file = open("/dev/zero", O_RDONLY);
    uint32_t sum = 0;
    sys_need(file >= 0, "/dev/zero");
    for (uint32_t i = 0; i < iterations; i++) {
        uint8_t byte = 0xff;
        sys_need(read(file, &byte, 1) == 1, "read");
        sum = sum_add(sum, byte + i);
    }
    close(file);
    return sum;
}

static void open_make(const char *path)
{
    int file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    sys_need(file >= 0 && write(file, "a small file", 12) == 12, path);
    close(file);
}

uint32_t bench_open(uint32_t iterations)
{
    static const char path[] = SYS_SCRATCH "/folder/small";
    uint32_t sum = 0;
    mkdir(SYS_SCRATCH "/folder", 0700);
    open_make(path);
    for (uint32_t i = 0; i < iterations; i++) {
        struct stat about;
        char text[32];
        int file = open(path, O_RDONLY);
        sys_need(file >= 0 && fstat(file, &about) == 0, path);
        ssize_t bytes = read(file, text, sizeof text);
        sum = sum_add(sum, (uint32_t)(bytes + about.st_size + text[3]));
        close(file);
    }
    unlink(path);
    rmdir(SYS_SCRATCH "/folder");
    return sum;
}
