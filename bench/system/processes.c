// SPDX-License-Identifier: MIT
// Processes: pipes, context switches, fork, exec, signals, commands of a shell.

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys.h"

enum { RING = 8, RING_TOUCH_BYTES = 32768 };

static void byte_pass(int from, int to, uint8_t add)
{
    uint8_t byte;
    sys_need(read(from, &byte, 1) == 1, "pipe");
    byte += add;
    sys_need(write(to, &byte, 1) == 1, "pipe");
}

static uint32_t child_status(pid_t pid)
{
    int status = 0;
    sys_need(waitpid(pid, &status, 0) == pid, "waitpid");
    return (uint32_t)status;
}

uint32_t bench_pipe(uint32_t iterations)
{
    int there[2], back[2];
    uint32_t sum = 0;
    sys_need(pipe(there) == 0 && pipe(back) == 0, "pipe");
    pid_t pid = fork();
    sys_need(pid >= 0, "fork");
    if (pid == 0) {
        for (uint32_t i = 0; i < iterations; i++)
            byte_pass(there[0], back[1], 1);
        _exit(3);
    }
    for (uint32_t i = 0; i < iterations; i++) {
        uint8_t byte = (uint8_t)i;
        sys_need(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "pipe");
        sum = sum_add(sum, byte);
    }
    for (int i = 0; i < 2; i++) {
        close(there[i]);
        close(back[i]);
    }
    return sum_add(sum, child_status(pid));
}

// Each line of memory of the process once; what it finds is the number of times it did so.
static void ring_touch(uint32_t *lines)
{
    for (size_t i = 0; i < RING_TOUCH_BYTES / 4; i += 16)
        lines[i]++;
}

static void ring_member(int from, int to, uint32_t iterations)
{
    uint32_t *lines = calloc(1, RING_TOUCH_BYTES);
    sys_need(lines != NULL, "memory");
    for (uint32_t i = 0; i < iterations; i++) {
        byte_pass(from, to, 1);
        ring_touch(lines);
    }
    _exit(lines[RING_TOUCH_BYTES / 4 - 16] == iterations ? 5 : 6);
}

uint32_t bench_switch(uint32_t iterations)
{
    int pipes[RING][2];
    pid_t pids[RING];
    uint32_t sum = 0;
    for (int i = 0; i < RING; i++)
        sys_need(pipe(pipes[i]) == 0, "pipe");
    for (int i = 1; i < RING; i++) {
        pids[i] = fork();
        sys_need(pids[i] >= 0, "fork");
        if (pids[i] == 0)
            ring_member(pipes[i - 1][0], pipes[i][1], iterations);
    }
    for (uint32_t i = 0; i < iterations; i++) {
        uint8_t byte = (uint8_t)i;
        sys_need(write(pipes[0][1], &byte, 1) == 1 && read(pipes[RING - 1][0], &byte, 1) == 1, "pipe");
        sum = sum_add(sum, byte);
    }
    for (int i = 1; i < RING; i++)
        sum = sum_add(sum, child_status(pids[i]));
    for (int i = 0; i < RING; i++) {
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    return sum;
}

uint32_t bench_fork(uint32_t iterations)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < iterations; i++) {
        pid_t pid = fork();
        sys_need(pid >= 0, "fork");
        if (pid == 0)
            _exit((int)(i & 63));
        sum = sum_add(sum, child_status(pid));
    }
    return sum;
}

uint32_t bench_exec(uint32_t iterations)
{
    const char *path = sys_beside("nothing");
    uint32_t sum = 0;
    for (uint32_t i = 0; i < iterations; i++) {
        pid_t pid = fork();
        sys_need(pid >= 0, "fork");
        if (pid == 0) {
            execl(path, "nothing", (char *)NULL);
            _exit(99);
        }
        sum = sum_add(sum, child_status(pid));
    }
    return sum;
}

static volatile sig_atomic_t signals_seen;

static void signal_handler(int number)
{
    signals_seen += number == SIGUSR1;
}

uint32_t bench_signal(uint32_t iterations)
{
    pid_t pid = getpid();
    signals_seen = 0;
    signal(SIGUSR1, signal_handler);
    for (uint32_t i = 0; i < iterations; i++)
        kill(pid, SIGUSR1);
    signal(SIGUSR1, SIG_DFL);
    return (uint32_t)signals_seen;
}

// Runs a script by busybox's shell, which finds busybox itself in $B and a number in $N; sums up what it says.
static uint32_t script_run(const char *script, uint32_t number)
{
    const char *busybox = sys_beside("busybox");
    char digits[16], bytes[4096];
    int output[2];
    uint32_t sum = 0;
    ssize_t count;
    snprintf(digits, sizeof digits, "%u", number);
    sys_need(pipe(output) == 0, "pipe");
    pid_t pid = fork();
    sys_need(pid >= 0, "fork");
    if (pid == 0) {
        dup2(output[1], 1);
        close(output[0]);
        close(output[1]);
        setenv("B", busybox, 1);
        setenv("N", digits, 1);
        sys_need(chdir(SYS_SCRATCH) == 0, SYS_SCRATCH);
        execl(busybox, "sh", "-c", script, (char *)NULL);
        _exit(99);
    }
    close(output[1]);
    while ((count = read(output[0], bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < count; i++)
            sum = sum_add(sum, (uint8_t)bytes[i]);
    close(output[0]);
    return sum_add(sum, child_status(pid));
}

uint32_t bench_shell(uint32_t iterations)
{
    return script_run("i=0\n"
                      "while [ $i -lt $N ]; do\n"
                      "    i=$($B expr $i + 1)\n"
                      "    echo \"int f$i(void) { return $i; }\" > f$i.c\n"
                      "    $B sed s/int/long/ f$i.c | $B cat >> all\n"
                      "    $B test -s f$i.c && $B cp f$i.c g && $B rm f$i.c\n"
                      "done\n"
                      "$B sort -r all | $B tail -n 5\n"
                      "$B awk '{ n += length($0) } END { print n }' all\n"
                      "$B rm all g\n",
                      iterations);
}

uint32_t bench_gzip(uint32_t iterations)
{
    return script_run("$B seq 1 120000 > data\n"
                      "while [ $N -gt 0 ]; do\n"
                      "    N=$((N - 1))\n"
                      "    $B gzip -nc data > data.gz\n"
                      "    $B md5sum data data.gz\n"
                      "done\n"
                      "$B rm data data.gz\n",
                      iterations);
}
