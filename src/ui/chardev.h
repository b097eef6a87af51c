// SPDX-License-Identifier: MIT
// Character devices: the far ends of -serial, -debugcon and -monitor.
//
//     char *err = NULL;
//     Chardev *c = chardev_open(bus, "mon:stdio", &err);
//     Uart *com1 = uart_new(bus, "serial0", 0x3f8, wire, chardev_out(c));
//     chardev_attach_uart(c, com1);                   // front end 0
//     chardev_on_input(c, monitor_input, monitor);    // front end 1, reached by Ctrl-a c
//     ...
//     chardev_close(c);
//
// Specifications: stdio  mon:SPEC  file:PATH  null  none  vc  pty  unix:PATH[,server][,nowait]
//                 tcp:HOST:PORT[,server][,nowait]   (also server=on|off, wait=on|off; ',,' is a
//                 comma)
//
// Input goes to the front end that has the focus: the first one attached, or with mon: the one
// chosen by Ctrl-a c. Output of all front ends is simply mixed. With mon: Ctrl-a commands: h or ?
// help, x end the emulator, s save disk data, t time stamps, b send break, c next front end, Ctrl-a
// itself.
//
// Everything here is for the machine's thread. Nothing blocks it for long: what the far end does
// not take is kept (64 KiB), and once a far end has not moved for seconds, further output is
// dropped.
#ifndef UI_CHARDEV_H
#define UI_CHARDEV_H

#include "bus/bus.h"
#include "bus/chr.h"
#include "dev/uart.h"

typedef struct Chardev Chardev;

// NULL: *err says why (malloc'ed, without program or option name). Waits for the first client of a
// server without nowait. Turns SIGPIPE off for the process: a closed pipe is an error, not a death.
Chardev *chardev_open(Bus *bus, const char *spec, char **err);
// Writes out what is waiting (for a second at most), restores the terminal, removes sockets.
void chardev_close(Chardev *c);

CharOut chardev_out(Chardev *c);                  // may be given to several devices
void chardev_write(Chardev *c, const void *bytes, unsigned count);

typedef struct ChardevFront {  // somebody who takes input; NULL members are left out
    void *self;
    void (*input)(void *self, const u8 *bytes, unsigned count);
    unsigned (*room)(void *self);                 // bytes it can take now; NULL: any number
    void (*send_break)(void *self);               // Ctrl-a b
    void (*focus)(void *self, bool has_it);       // Ctrl-a c moved the focus to or from it
    void (*opened)(void *self);                   // a far end is there (for the one with the focus)
} ChardevFront;

#define CHARDEV_FRONTS 4
void chardev_attach(Chardev *c, const ChardevFront *front);
void chardev_on_input(Chardev *c, void (*fn)(void *self, const u8 *bytes, unsigned count),
                      void *self);
void chardev_attach_uart(Chardev *c, Uart *uart); // with flow control and break
void chardev_resume(void *chardev);               // a front end that had no room has room again

// Ctrl-a commands on or off (mon: turns them on), and what Ctrl-a s does.
void chardev_mux(Chardev *c, bool on, void (*save)(void *self), void *self);
bool chardev_is_mux(const Chardev *c);

// Async-signal-safe: gives the terminal its old modes back (for a handler of deadly signals).
void chardev_restore_tty(Chardev *c);

#endif
