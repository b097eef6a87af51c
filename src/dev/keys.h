// SPDX-License-Identifier: MIT
// Names and X keysyms of keys, as codes for kbd_key(): set-1 make code, 0x100 | code for
// E0-prefixed keys.
#ifndef DEV_KEYS_H
#define DEV_KEYS_H

#include "base/base.h"

// A key name of the monitor's `sendkey` (ret, spc, shift, ctrl, a, 7, kp_enter, f1, ...), or a
// number ("0x1c", 28). -1: there is no such key.
int key_by_name(const char *name);

// The key that carries an X keysym on a US keyboard; -1: none. *needs_shift: a character (keysym
// below 0x100) is on the shifted level; false for every other key, whose meaning Shift does not
// choose. needs_shift may be NULL.
int key_by_keysym(u32 keysym, bool *needs_shift);

// Row n of the table of names, for completion and help; NULL after the last.
const char *key_name(unsigned n);

#endif
