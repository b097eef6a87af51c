// SPDX-License-Identifier: MIT
// Runs a machine as the command line describes it, with everything around it: log, character
// devices, display, monitors, signals.
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli/options.h"

// Exit status. All that can fail is tried before the guest's first instruction; an error is one line
// on stderr and status 1.
int run_options(Options *o);
// The same; `prepare` is called when the machine stands, before it runs.
int run_options_with(Options *o, void (*prepare)(void *self, Machine *m), void *self);

// The log as -d, -D and -dfilter say. False: *err.
bool run_open_log(const Options *o, Log *log, char **err);

#endif
