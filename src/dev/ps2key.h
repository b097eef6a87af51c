// SPDX-License-Identifier: MIT
// A PS/2 keyboard (MF-II, 102 keys) as seen from its cable: bytes in, bytes out.
#ifndef DEV_PS2KEY_H
#define DEV_PS2KEY_H

#include "bus/bus.h"

typedef struct Ps2Key Ps2Key;

// `ready` is called when a byte has become available.
Ps2Key *ps2key_new(Bus *bus, void (*ready)(void *self), void *self);
void ps2key_free(Ps2Key *k);
void ps2key_write(Ps2Key *k, u8 byte);             // the host sends a byte
bool ps2key_pending(const Ps2Key *k);              // has the keyboard a byte to send?
u8 ps2key_take(Ps2Key *k);                         // that byte; ps2key_pending() must hold
void ps2key_event(Ps2Key *k, unsigned code, bool down);  // see kbd_key()
unsigned ps2key_leds(const Ps2Key *k);

// The 8042's translation of one byte from the keyboard (set 2 to set 1).
u8 ps2key_translate(u8 set2);

#endif
