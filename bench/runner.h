// SPDX-License-Identifier: MIT
// The part that both builds share (runner.c) and what each build supplies (native.c, guest.c).
#ifndef BENCH_RUNNER_H
#define BENCH_RUNNER_H

#include <stddef.h>
#include <stdint.h>

// Runs the programs named in `wanted`, words such as "fib" or "fib:10" (10 iterations) separated by
// blanks or commas; all of them when it names none. Prints for each
//     START name
//     END name 0x1234abcd
// and at last DONE. The harness takes the time when each line arrives. Returns 0, or 1 after an
// ERROR line when a word names no program. Built with RUNNER_ACCOUNTS an END line ends with two numbers more, the
// nanoseconds that the program took by its own account: on the clock, and of processor time.
int runner_main(const char *wanted);

// Prints text at once; each marker line is one call.
void platform_write(const char *text, size_t bytes);

// Where RUNNER_ACCOUNTS: the clock and the processor time of the process and its children, in nanoseconds.
void platform_account(uint64_t *wall_ns, uint64_t *cpu_ns);

#endif
