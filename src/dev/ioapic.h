// SPDX-License-Identifier: MIT
// The I/O APIC (82093AA) at fec00000: 24 pins, each with a redirection entry.
//
//     IoApic *io = ioapic_new(bus, lapic);
//     Wire irq4 = ioapic_pin(io, 4);
#ifndef DEV_IOAPIC_H
#define DEV_IOAPIC_H

#include "dev/lapic.h"

#define IOAPIC_PINS 24u

typedef struct IoApic IoApic;

IoApic *ioapic_new(Bus *bus, Lapic *lapic);
void ioapic_free(IoApic *io);
// A wire carries "asserted", whatever polarity the entry states.
Wire ioapic_pin(IoApic *io, unsigned pin);

#endif
