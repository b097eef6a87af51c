// SPDX-License-Identifier: MIT
// The guest's text screen in the terminal (-display term, -curses), and the terminal as its
// keyboard.
//
// Ctrl-a is the prefix: Ctrl-a x ends the emulator, Ctrl-a Ctrl-a (or Ctrl-a a) sends Ctrl-a
// itself.
#ifndef UI_TERM_H
#define UI_TERM_H

#include "bus/bus.h"
#include "dev/kbd.h"
#include "dev/vga.h"

typedef struct Term Term;

// Machine thread. Takes over stdin and stdout, which must be a terminal. NULL: *err says why
// (malloc'ed, without program or option name).
Term *term_start(Bus *bus, Vga *vga, Kbd *kbd, char **err);
// Machine thread. Gives the terminal back; must be called on every way out. NULL is fine.
void term_stop(Term *t);
// Async-signal-safe: makes the terminal usable again when the process is about to die.
void term_restore(Term *t);

#endif
