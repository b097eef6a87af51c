// SPDX-License-Identifier: MIT
// The 8042 keyboard controller (ports 0x60, 0x64) with a PS/2 keyboard on IRQ1 and a PS/2 wheel
// mouse on IRQ12, and port 0x92 (fast A20 and reset).
//
//     Kbd *kbd = kbd_new(bus, pic_wire(pic, 1), pic_wire(pic, 12));
//     kbd_key(kbd, 0x1e, true);            // 'a' goes down
//     kbd_key(kbd, 0x1e, false);
#ifndef DEV_KBD_H
#define DEV_KBD_H

#include "bus/bus.h"

typedef struct Kbd Kbd;

#define KBD_KEY_PRINT 0x137u   // Print Screen (E0 37 and its fake shift)
#define KBD_KEY_PAUSE 0x145u   // Pause (E1 1D 45 ...; it has no release)

#define KBD_BUTTON_LEFT 1u
#define KBD_BUTTON_RIGHT 2u
#define KBD_BUTTON_MIDDLE 4u
#define KBD_BUTTON_SIDE 8u
#define KBD_BUTTON_EXTRA 16u

Kbd *kbd_new(Bus *bus, Wire irq1, Wire irq12);

// A key moved. `code` is its set-1 make code (1..0x7f), 0x100 | code for E0-prefixed keys, or one
// of KBD_KEY_*. Repeated downs are typematic repeats: they come from the caller, not the chip.
// A key that finds the queue full is dropped whole; releases of keys that went through never are.
void kbd_key(Kbd *kbd, unsigned code, bool down);

// The mouse moved by dx (right positive) and dy (down positive), its wheel by dz clicks (towards
// the user positive); `buttons` is the new state, a mask of KBD_BUTTON_*.
void kbd_mouse(Kbd *kbd, int dx, int dy, int dz, unsigned buttons);

unsigned kbd_leds(const Kbd *kbd);          // 1 Scroll Lock, 2 Num Lock, 4 Caps Lock

void kbd_free(Kbd *kbd);

#endif
