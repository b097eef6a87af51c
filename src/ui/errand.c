// SPDX-License-Identifier: MIT
// Errands. One that is freed on its way stays allocated until the bus hands it over.
#include "ui/errand.h"

#include <stdatomic.h>
#include <stdlib.h>

struct Errand {
    BusEvent event;            // first, so that the event is the errand
    Bus *bus;
    void (*fn)(void *arg);     // NULL: taken back
    void *arg;
    atomic_bool pending;
};

static void errand_run(BusEvent *ev) {
    Errand *e = (Errand *)ev;
    if (!e->fn) {
        free(e);
        return;
    }
    atomic_store(&e->pending, false);
    e->fn(e->arg);
}

Errand *errand_new(Bus *bus, void (*fn)(void *arg), void *arg) {
    Errand *e = mem_new(sizeof(*e));
    e->event.run = errand_run;
    e->bus = bus;
    e->fn = fn;
    e->arg = arg;
    return e;
}

void errand_post(Errand *e) {
    if (!atomic_exchange(&e->pending, true)) bus_post(e->bus, &e->event);
}

bool errand_pending(Errand *e) { return atomic_load(&e->pending); }

void errand_free(Errand *e) {
    if (!e) return;
    if (atomic_load(&e->pending)) e->fn = NULL;
    else free(e);
}
