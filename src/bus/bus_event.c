// SPDX-License-Identifier: MIT
// How the world outside reaches the machine: one queue, one word of attention, one eventfd.
//
// Order that makes it work without losing a wake-up: what happened is stored first (queue,
// request), then its attention bit is set, then the eventfd is written. The machine thread takes
// the bits first and the queue afterwards; it sleeps only when the word is zero, and in poll() on
// the eventfd, which stays readable until the sleeper itself has read it.
//
// The attention word
//   | 9 pin changed | 8 events queued | 7..0 BusRequest |
// Requests stay until bus_clear_request, the others until bus_run_events.
#define _GNU_SOURCE
#include "bus/bus_int.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool bus_outside_open(Bus *bus) {
    bus->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&bus->lock, NULL);
    bus->queue_end = &bus->queue;
    return bus->wake_fd >= 0;
}

void bus_outside_close(Bus *bus) {
    close(bus->wake_fd);
    pthread_mutex_destroy(&bus->lock);
}

// A full counter means that a wake-up is pending anyway, so the result does not matter.
static void outside_wake(Bus *bus) {
    ssize_t ignored = write(bus->wake_fd, &(u64){ 1 }, sizeof(u64));
    (void)ignored;
}

void bus_post(Bus *bus, BusEvent *ev) {
    ev->next = NULL;
    pthread_mutex_lock(&bus->lock);
    *bus->queue_end = ev;
    bus->queue_end = &ev->next;
    pthread_mutex_unlock(&bus->lock);
    bus_raise_attention(bus, BUS_ATT_EVENT);
    outside_wake(bus);
}

typedef struct OutsideCall {
    BusEvent event;            // first, so that the event is the call
    void (*fn)(void *arg);
    void *arg;
    sem_t done;
} OutsideCall;

static void outside_run_call(BusEvent *ev) {
    OutsideCall *call = (OutsideCall *)ev;
    call->fn(call->arg);
    sem_post(&call->done);
}

void bus_call(Bus *bus, void (*fn)(void *arg), void *arg) {
    OutsideCall call = { .event.run = outside_run_call, .fn = fn, .arg = arg };
    sem_init(&call.done, 0, 0);
    bus_post(bus, &call.event);
    while (sem_wait(&call.done) && errno == EINTR) {}
    sem_destroy(&call.done);
}

bool bus_has_attention(Bus *bus) {
    return atomic_load_explicit(&bus->attention, memory_order_relaxed) != 0;
}

// Events posted while these run wait for the next call: the attention bit is set again by then.
void bus_run_events(Bus *bus) {
    if (!bus_has_attention(bus)) return;
    atomic_fetch_and_explicit(&bus->attention, BUS_ATT_REQUESTS, memory_order_acquire);
    pthread_mutex_lock(&bus->lock);
    BusEvent *ev = bus->queue;
    bus->queue = NULL;
    bus->queue_end = &bus->queue;
    pthread_mutex_unlock(&bus->lock);
    while (ev) {
        BusEvent *next = ev->next;
        ev->run(ev);
        ev = next;
    }
}

// ---- requests -----------------------------------------------------------------------------------
void bus_request(Bus *bus, BusRequest r) {
    bus_raise_attention(bus, r);
    outside_wake(bus);
}

// The first one to end the machine names the status, but what a check finds on the way out counts.
void bus_request_exit(Bus *bus, int status) {
    bool first = !(bus_requests(bus) & BUS_REQ_SHUTDOWN);
    if (first || status == BUS_EXIT_DIFFERENCE) atomic_store(&bus->exit_status, status);
    atomic_store(&bus->powered_off, false);
    bus_request(bus, BUS_REQ_SHUTDOWN);
}

void bus_request_poweroff(Bus *bus) {
    if (bus_requests(bus) & BUS_REQ_SHUTDOWN) return;
    bus_request_exit(bus, 0);
    atomic_store(&bus->powered_off, true);
}

bool bus_is_powered_off(Bus *bus) { return atomic_load(&bus->powered_off); }

u32 bus_requests(Bus *bus) {
    return atomic_load_explicit(&bus->attention, memory_order_acquire) & BUS_ATT_REQUESTS;
}

void bus_clear_request(Bus *bus, BusRequest r) {
    atomic_fetch_and_explicit(&bus->attention, ~(u32)r, memory_order_acq_rel);
}

int bus_exit_status(Bus *bus) { return atomic_load(&bus->exit_status); }

// ---- sleeping -----------------------------------------------------------------------------------
// Sleeps until the eventfd is readable or wait_ns have passed (UINT64_MAX: no limit).
static void outside_sleep(Bus *bus, u64 wait_ns) {
    struct pollfd p = { .fd = bus->wake_fd, .events = POLLIN };
    struct timespec t = { (time_t)(wait_ns / 1000000000u), (long)(wait_ns % 1000000000u) };
    if (ppoll(&p, 1, wait_ns == UINT64_MAX ? NULL : &t, NULL) <= 0) return;
    u64 count;
    ssize_t ignored = read(bus->wake_fd, &count, sizeof(count));
    (void)ignored;
}

// A pending request ends every sleep, so the run loop clears STOP before it sleeps through a pause.
// With a clock source time passes only when the run loop says so: a sleep with a deadline is none.
void bus_wait(Bus *bus, u64 deadline_ns) {
    bus_time_wait_begins(bus);
    while (!atomic_load_explicit(&bus->attention, memory_order_acquire)) {
        u64 wait_ns = UINT64_MAX;
        if (deadline_ns != UINT64_MAX) {
            if (bus->source_now_ns) return;
            u64 now_ns = bus_time_idle_ns(bus, deadline_ns);
            if (now_ns >= deadline_ns) return;
            if (bus->running) wait_ns = bus_time_wake_ns(bus, deadline_ns) - now_ns;
        }
        outside_sleep(bus, wait_ns);
    }
    bus_time_idle_ns(bus, deadline_ns);
    bus_time_disturbed(bus);
}
