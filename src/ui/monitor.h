// SPDX-License-Identifier: MIT
// The monitor: a command line to the machine, in the language of QEMU's human monitor.
//
//     Monitor *mon = monitor_new(machine, chardev);      // becomes a front end of the device
//     ...
//     monitor_free(mon);                                 // after chardev_close
//
// Everything runs on the machine's thread, between guest instructions; commands work while the
// machine is paused too. Several monitors can serve one machine.
#ifndef UI_MONITOR_H
#define UI_MONITOR_H

#include "pc/machine.h"
#include "ui/chardev.h"

typedef struct Monitor Monitor;

Monitor *monitor_new(Machine *m, Chardev *dev);
void monitor_free(Monitor *mon);                   // before machine_free; NULL is fine
struct Gdb;
void monitor_set_gdb(Monitor *mon, struct Gdb *gdb);       // what `gdbserver` is about

// Runs one command line and writes what it says to `out` (for tests).
void monitor_command(Monitor *mon, const char *line, FILE *out);

#endif
