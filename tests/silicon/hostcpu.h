// SPDX-License-Identifier: MIT
// 32-bit (and 16-bit) user code on the bare host, up to the exception that ends it.
//
//     if (hostcpu_open()) {
//         u8 *area = hostcpu_map_area();            // writable view of the area (state.h)
//         State s = { .regs = { ... }, .eip = AREA, .eflags = 0x202, .seg = { ... } };
//         hostcpu_run(&s);                           // s.vector, s.error, s.cr2 say why it stopped
//         hostcpu_close();
//     }
//
// Guest addresses are host addresses. Linux keeps a flat 32-bit code segment for every process and gives it
// a local descriptor table; a far jump enters them. Every exception comes back as a signal, whose frame holds
// the whole state: registers, EFLAGS, the x87 and SSE image, trap number, error code, CR2. So the code ends
// with an exception too (INT3), and may fault anywhere, with any ESP and any segments.
//
// Not for threads: the signal handlers find the run in the one context page.
#ifndef TESTS_SILICON_HOSTCPU_H
#define TESTS_SILICON_HOSTCPU_H

#include "state.h"

enum { HOST_CONTEXT = 0x1ff00000 };     // one page

// False: this host runs no 32-bit code, or gives no local descriptors.
bool hostcpu_open(void);
void hostcpu_close(void);
// Maps the area. Gives a second view of it that can be written everywhere; NULL: no room.
u8 *hostcpu_map_area(void);
// Runs up to the exception. FX_CS and FX_DS are not known afterwards.
void hostcpu_run(State *state);
// Is hostcpu_run() under way? For handlers of signals that come from outside.
bool hostcpu_is_running(void);

#endif
