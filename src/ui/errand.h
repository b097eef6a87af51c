// SPDX-License-Identifier: MIT
// A function that other threads have run on the machine's thread, again and again, without waiting
// for it; and that can be taken back at any time, even while it is on its way.
#ifndef UI_ERRAND_H
#define UI_ERRAND_H

#include "bus/bus.h"

typedef struct Errand Errand;

Errand *errand_new(Bus *bus, void (*fn)(void *arg), void *arg);
void errand_post(Errand *e);          // [any thread] nothing happens while one is on its way
bool errand_pending(Errand *e);       // [any thread] posted and not begun
// Machine thread, and no other thread may still post it. fn is not called again.
void errand_free(Errand *e);

#endif
