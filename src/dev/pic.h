// SPDX-License-Identifier: MIT
// The pair of 8259A interrupt controllers of the AT, as in the PIIX: ports 0x20, 0xa0, ELCR 0x4d0.
//
//     Pic *pic = pic_new(bus);
//     Wire irq4 = pic_irq(pic, 4);
//     wire_set(&irq4, true);          // stays high until the device has been served
//
// An edge-triggered request is withdrawn when its wire falls before the processor has acknowledged
// it, as on the chip: a device holds its line, it does not pulse it.
#ifndef DEV_PIC_H
#define DEV_PIC_H

#include "bus/device.h"

typedef struct Pic Pic;

Pic *pic_new(Bus *bus);                     // drives INTR and answers the acknowledge cycle
void pic_free(Pic *pic);
void pic_set_output(Pic *pic, Wire intr);   // in place of the processor's INTR
u8 pic_int_ack(void *pic);                  // the acknowledge cycle: the vector
// The wire to ISA interrupt 0-15. IRQ 2 is the second chip's; the slot's pin 2 leads to IRQ 9.
Wire pic_irq(Pic *pic, unsigned irq);

#endif
