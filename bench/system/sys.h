// SPDX-License-Identifier: MIT
// What the system programs share. They are 32-bit static Linux programs with libc; each is one function,
// uint32_t bench_NAME(uint32_t iterations), as in program.h, and gives up on the first thing that goes wrong.
#ifndef BENCH_SYS_H
#define BENCH_SYS_H

#include <stdbool.h>
#include <stddef.h>

#include "../program.h"

#define SYS_SCRATCH "/dev/shm/glassbox-bench" // a folder in memory, made and removed by process.c

// Ends the program when something has failed: prints `what` and errno as an ERROR line.
void sys_need(bool good, const char *what);

// The path of a program beside this one.
const char *sys_beside(const char *name);

#endif
