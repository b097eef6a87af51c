// SPDX-License-Identifier: MIT
// A thread that ends the machine in an orderly way when a signal comes or its time is over.
//
// SIGTERM, SIGINT, SIGHUP: status 0. -timeout: status 124. A second signal ends the process at once.
#ifndef CLI_WATCH_H
#define CLI_WATCH_H

#include "bus/bus.h"

typedef struct Watch Watch;

void watch_block_signals(void);            // before any other thread is made
void watch_unblock_signals(void);
// timeout_s 0: none. NULL: no thread or descriptor to be had; errno.
Watch *watch_start(Bus *bus, double timeout_s);
void watch_stop(Watch *w);                 // NULL is fine

#endif
