// SPDX-License-Identifier: MIT
// The 8254 interval timer at ports 0x40-0x43 and the AT's port 0x61 (speaker, gate 2, refresh).
//
//     Pit *pit = pit_new(bus, pic_irq(pic, 0));
#ifndef DEV_PIT_H
#define DEV_PIT_H

#include "bus/device.h"

typedef struct Pit Pit;

#define PIT_HZ 1193182u

Pit *pit_new(Bus *bus, Wire irq0);
void pit_free(Pit *pit);
// What the speaker plays now: the frequency of counter 2 in millihertz when it makes a square wave
// or pulses and port 0x61 lets them through, else 0.
u32 pit_speaker_millihertz(Pit *pit);

#endif
