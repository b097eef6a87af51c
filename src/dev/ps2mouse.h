// SPDX-License-Identifier: MIT
// A PS/2 mouse with wheel (IntelliMouse, IntelliMouse Explorer) as seen from its cable.
#ifndef DEV_PS2MOUSE_H
#define DEV_PS2MOUSE_H

#include "bus/bus.h"

typedef struct Ps2Mouse Ps2Mouse;

// `ready` is called when a byte has become available.
Ps2Mouse *ps2mouse_new(Bus *bus, void (*ready)(void *self), void *self);
void ps2mouse_free(Ps2Mouse *m);
void ps2mouse_write(Ps2Mouse *m, u8 byte);         // the host sends a byte
bool ps2mouse_pending(const Ps2Mouse *m);          // has the mouse a byte to send?
u8 ps2mouse_take(Ps2Mouse *m);                     // that byte; ps2mouse_pending() must hold
void ps2mouse_event(Ps2Mouse *m, int dx, int dy, int dz, unsigned buttons);  // see kbd_mouse()

#endif
