// SPDX-License-Identifier: MIT
// Keys and mouse movements on their way from a viewer's thread to the guest. Keys are handed over
// at a pace that a guest can follow, so that pasted text arrives whole; movements are added up.
//
//     KeyQueue *q = keyq_new(bus, kbd);
//     KeySyms syms = { 0 };                          // one per viewer
//     keyq_keysym(q, &syms, 'A', true);              // Shift is added where it is missing
//     keyq_keysym(q, &syms, 'A', false);
#ifndef UI_KEYQ_H
#define UI_KEYQ_H

#include "bus/bus.h"
#include "dev/kbd.h"

typedef struct KeyQueue KeyQueue;

KeyQueue *keyq_new(Bus *bus, Kbd *kbd);           // machine thread
void keyq_free(KeyQueue *q);                      // machine thread; nobody may use it any more

// [any thread] Codes and arguments as kbd_key and kbd_mouse take them.
void keyq_key(KeyQueue *q, unsigned code, bool down);
void keyq_mouse(KeyQueue *q, int dx, int dy, int dz, unsigned buttons);

#define KEYSYMS_HELD 32
typedef struct KeySyms {       // what one viewer's keyboard looks like; all zero at first
    struct { u32 keysym; u16 code; } held[KEYSYMS_HELD];   // code 0: free
    bool caps_lock;
} KeySyms;

// [any thread, one per KeySyms] A key with this X11 keysym moved. Unknown ones are ignored.
void keyq_keysym(KeyQueue *q, KeySyms *s, u32 keysym, bool down);
void keyq_release_all(KeyQueue *q, KeySyms *s);   // the viewer has gone

#endif
