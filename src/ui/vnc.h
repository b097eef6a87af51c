// SPDX-License-Identifier: MIT
// The VNC server (-vnc), on libvncserver.
#ifndef UI_VNC_H
#define UI_VNC_H

#include "bus/bus.h"
#include "dev/kbd.h"
#include "dev/vga.h"

typedef struct Vnc Vnc;

// Machine thread, before or while the machine runs. `spec`: HOST:N (port 5900 + N; no host:
// loopback, said once on stderr), unix:PATH, none; options after a comma: to=L tries up to display
// L. NULL: *err says why (malloc'ed, without program or option name), or is NULL for "none".
// Turns SIGPIPE off for the process.
Vnc *vnc_start(Bus *bus, Vga *vga, Kbd *kbd, const char *spec, char **err);
void vnc_stop(Vnc *vnc);       // machine thread; disconnects everybody; NULL is fine

int vnc_port(const Vnc *vnc);  // TCP port; 0 with unix:

#endif
