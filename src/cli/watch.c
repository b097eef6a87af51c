// SPDX-License-Identifier: MIT
// Signals are blocked in all threads and read from a descriptor here, so that no handler needs to
// find the machine.
#include "cli/watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { WATCH_TIMEOUT_STATUS = 124 };

struct Watch {
    Bus *bus;
    double timeout_s;
    int signal_fd, stop_fd;
    pthread_t thread;
};

static void watch_set(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void watch_block_signals(void) {
    sigset_t set;
    watch_set(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void watch_unblock_signals(void) {
    sigset_t set;
    watch_set(&set);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static u64 watch_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

static void watch_signal(Watch *w) {
    struct signalfd_siginfo info;
    sigset_t set;
    if (read(w->signal_fd, &info, sizeof info) != sizeof info) return;
    fprintf(stderr, "glassbox: ended by signal %u (%s)\n", info.ssi_signo,
            strsignal((int)info.ssi_signo));
    bus_request_exit(w->bus, 0);
    watch_set(&set);                       // again: the machine does not listen
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *watch_thread(void *arg) {
    Watch *w = arg;
    u64 end_ms = watch_now_ms() + (u64)(w->timeout_s * 1000);
    bool timed = w->timeout_s > 0;
    for (;;) {
        struct pollfd p[2] = { { w->signal_fd, POLLIN, 0 }, { w->stop_fd, POLLIN, 0 } };
        u64 now_ms = watch_now_ms();
        int wait_ms = !timed ? -1 : end_ms > now_ms ? (int)min_u64(end_ms - now_ms, 1 << 30) : 0;
        int ready = poll(p, 2, wait_ms);
        if (ready > 0 && p[1].revents) return NULL;
        if (ready > 0 && p[0].revents) watch_signal(w);
        if (!timed || watch_now_ms() < end_ms) continue;
        timed = false;
        fprintf(stderr, "glassbox: ended by -timeout after %g s\n", w->timeout_s);
        bus_request_exit(w->bus, WATCH_TIMEOUT_STATUS);
    }
}

static void watch_free(Watch *w) {
    if (w->signal_fd >= 0) close(w->signal_fd);
    if (w->stop_fd >= 0) close(w->stop_fd);
    free(w);
}

Watch *watch_start(Bus *bus, double timeout_s) {
    Watch *w = mem_new(sizeof *w);
    sigset_t set;
    watch_set(&set);
    *w = (Watch){ .bus = bus, .timeout_s = timeout_s, .signal_fd = signalfd(-1, &set, SFD_CLOEXEC),
                  .stop_fd = eventfd(0, EFD_CLOEXEC) };
    int error = errno;
    if (w->signal_fd >= 0 && w->stop_fd >= 0) {
        error = pthread_create(&w->thread, NULL, watch_thread, w);
        if (!error) return w;
    }
    watch_free(w);
    errno = error;
    return NULL;
}

void watch_stop(Watch *w) {
    if (!w) return;
    ssize_t ignored = write(w->stop_fd, &(u64){ 1 }, sizeof(u64));
    (void)ignored;
    pthread_join(w->thread, NULL);
    watch_free(w);
}
