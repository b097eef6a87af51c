// SPDX-License-Identifier: MIT
// The system programs as a Linux process: program names come in argv[1], with commas or blanks between; marker lines
// go to standard output. In the guest it is started by init; on the bare host it keeps to one processor, as
// the guest has but one.
//
// END lines carry the process's own account: seconds on its clock, CPU seconds with its children's.

#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../runner.h"
#include "sys.h"

void sys_need(bool good, const char *what)
{
    char line[256];
    if (good)
        return;
    int bytes = snprintf(line, sizeof line, "ERROR %s: %s\n", what, strerror(errno));
    platform_write(line, (size_t)bytes);
    exit(1);
}

const char *sys_beside(const char *name)
{
    static char path[512];
    ssize_t bytes = readlink("/proc/self/exe", path, sizeof path - 1 - strlen(name));
    sys_need(bytes > 0, "/proc/self/exe");
    path[bytes] = 0;
    strcpy(strrchr(path, '/') + 1, name);
    return path;
}

void platform_write(const char *text, size_t bytes)
{
    while (bytes) {
        ssize_t count = write(1, text, bytes);
        if (count <= 0)
            exit(1);
        text += count;
        bytes -= (size_t)count;
    }
    tcdrain(1); // a terminal: nothing of the line is left to interrupt the program
}

static uint64_t usage_ns(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
}

void platform_account(uint64_t *wall_ns, uint64_t *cpu_ns)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *wall_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    *cpu_ns = usage_ns(RUSAGE_SELF) + usage_ns(RUSAGE_CHILDREN);
}

static void processor_choose(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(sched_getcpu() < 0 ? 0 : sched_getcpu(), &set);
    sched_setaffinity(0, sizeof set, &set);
}

int main(int argc, char **argv)
{
    processor_choose();
    mkdir(SYS_SCRATCH, 0700);
    int status = runner_main(argc > 1 ? argv[1] : "");
    rmdir(SYS_SCRATCH);
    return status;
}
