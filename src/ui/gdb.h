// SPDX-License-Identifier: MIT
// The gdb server: a machine under the eyes of gdb, over a socket, in gdb's remote protocol.
//
//     Gdb *gdb = gdb_new(machine);
//     if (!gdb_listen(gdb, "tcp::1234", &err)) fail(err);
//     ...
//     gdb_free(gdb);                        // before monitor_free and machine_free
//
// Addresses are linear ones. Breakpoints leave guest memory as it is. Everything but the socket's
// thread runs on the machine's thread.
#ifndef UI_GDB_H
#define UI_GDB_H

#include "pc/machine.h"

typedef struct Gdb Gdb;

Gdb *gdb_new(Machine *m);                  // one per machine; listens nowhere yet
void gdb_free(Gdb *gdb);                   // tells a client that the machine has ended; NULL is fine

// Listens at tcp::PORT (this host only), tcp:HOST:PORT, unix:PATH, in place of where it did; "none":
// nowhere. One client at a time; others are told and sent away. False: *err (malloc'ed).
bool gdb_listen(Gdb *gdb, const char *spec, char **err);

#endif
