// SPDX-License-Identifier: MIT
// The processor's local interrupt controller (xAPIC), at fee00000.
//
//     Lapic *apic = lapic_new(bus, pic_int_ack, pic);    // takes over INTR and the acknowledge cycle
//     pic_set_output(pic, lapic_lint(apic, 0));          // virtual wire: LINT0 is the PIC's
//     lapic_set_base(apic, 0xfee00900);                  // what the APIC base register says
//
// Interrupt messages of the I/O APIC come through lapic_deliver(); it hears of the end of
// level-triggered ones by the function given to lapic_on_eoi().
#ifndef DEV_LAPIC_H
#define DEV_LAPIC_H

#include "bus/device.h"

typedef struct Lapic Lapic;

typedef enum ApicMode {        // delivery modes of interrupt messages and local vectors
    APIC_FIXED, APIC_LOWEST, APIC_SMI, APIC_RESERVED, APIC_NMI, APIC_INIT, APIC_STARTUP, APIC_EXTINT
} ApicMode;

typedef struct ApicMessage {
    u8 dest;                   // physical ID, or logical destination
    bool logical;
    u8 mode;                   // ApicMode
    u8 vector;
    bool level;                // level-triggered
} ApicMessage;

// `ack` gives the vector of an ExtINT: the PIC's acknowledge cycle.
Lapic *lapic_new(Bus *bus, u8 (*ack)(void *self), void *self);
void lapic_free(Lapic *a);
Wire lapic_lint(Lapic *a, unsigned pin);           // 0, 1; 2: ExtINT by way of the I/O APIC
void lapic_set_base(void *lapic, u64 base);        // MSR 1bh: address, enable bit
bool lapic_deliver(Lapic *a, const ApicMessage *m);     // false: nobody took it
void lapic_counters(void *lapic);                  // a performance counter has overflowed
void lapic_on_eoi(Lapic *a, void (*eoi)(void *self, u8 vector), void *self);

#endif
