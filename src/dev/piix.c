// SPDX-License-Identifier: MIT
// Intel PIIX3 (82371SB, datasheet 290550).
//
// Rules
//  1. A PIRQ line reaches the interrupt input that registers 0x60..0x63 name (bit 7: none).
//  2. Interrupt inputs driven here are levels: an input is high while any PIRQ routed to it is. The
//     board joins them with what ISA devices drive.
#include "dev/piix.h"

#include "bus/device.h"
#include <stdlib.h>

#define REG_PIRQ 0x60u
#define PIRQ_IRQS 0xdef8u      // IRQs a PIRQ may be routed to: 3-7, 9-12, 14, 15

struct Piix {
    Bus *bus;
    PciFn *isa, *ide;
    Wire irq[16];
    u8 pirq;                   // bit n: level of PIRQ n (A..D)
    u16 driven;                // bit n: IRQ n is held high here
    u8 reset_control;          // port 0xcf9
};

static const Field piix_fields[] = {
    FIELD(Piix, pirq, FIELD_UINT, 0),
    FIELD(Piix, driven, FIELD_UINT, 0),
    FIELD(Piix, reset_control, FIELD_UINT, 0),
};

static u16 piix_wanted(const Piix *p) {
    u16 want = 0;
    for (unsigned n = 0; n < 4; n++) {
        u32 route = pci_get(p->isa, (u8)(REG_PIRQ + n), 1);
        if (!(route & 0x80) && (p->pirq >> n & 1)) want |= (u16)(BIT(route & 15) & PIRQ_IRQS);
    }
    return want;
}

static void piix_route(Piix *p) {
    u16 want = piix_wanted(p), changed = want ^ p->driven;
    p->driven = want;
    for (unsigned i = 0; i < 16; i++)
        if (changed >> i & 1) wire_set(&p->irq[i], want >> i & 1);
}

// After reset and loading: the inputs themselves know nothing of what is driven here.
static void piix_drive(void *self) {
    Piix *p = self;
    for (unsigned i = 0; i < 16; i++)
        if (PIRQ_IRQS >> i & 1) wire_set(&p->irq[i], p->driven >> i & 1);
}

static void piix_set_pirq(void *self, unsigned n, bool level) {
    Piix *p = self;
    p->pirq = (u8)((p->pirq & ~BIT(n)) | (level ? BIT(n) : 0));
    piix_route(p);
}

static void piix_written(void *self, unsigned reg, unsigned bytes) {
    if (reg < REG_PIRQ + 4 && reg + bytes > REG_PIRQ) piix_route(self);
}

static u32 piix_in_reset(void *self, u16 port, unsigned size_bytes) {
    (void)port, (void)size_bytes;
    Piix *p = self;
    return p->reset_control;
}

// Bit 2 resets, hard when bit 1 is set; both kinds reset the whole machine here.
static void piix_out_reset(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)port, (void)size_bytes;
    Piix *p = self;
    p->reset_control = value & 2;
    if (value & 4) bus_request(p->bus, BUS_REQ_RESET);
}

static const DeviceClass piix_class = {
    "piix3", piix_fields, ARRAY_LEN(piix_fields), piix_drive, piix_drive, NULL,
};

static PciFn *piix_add_isa(PciBus *pci, unsigned device) {
    static const PciId id = { .vendor = 0x8086, .device = 0x7000, .class_code = 0x060100,
                              .multifunction = true };
    PciFn *fn = pci_add(pci, "piix3-isa", device, 0, &id);
    pci_init_bytes(fn, PCI_COMMAND, 2, 0x0007);
    pci_init_bytes(fn, PCI_STATUS, 2, 0x0200);
    for (unsigned reg = 0x40; reg < 0x100; reg += 4) pci_write_mask(fn, (u8)reg, 4, 0xffffffff);
    pci_init_bytes(fn, 0x4c, 4, 0x0000034d);             // I/O recovery, X-bus chip selects
    pci_init_bytes(fn, REG_PIRQ, 4, 0x80808080);
    pci_init_bytes(fn, 0x69, 1, 0x02);                   // top of memory
    pci_init_bytes(fn, 0x70, 1, 0x80);
    pci_init_bytes(fn, 0x76, 2, 0x0c0c);                 // motherboard DMA routing: off
    pci_init_bytes(fn, 0x78, 1, 0x02);
    pci_init_bytes(fn, 0xa0, 1, 0x08);
    pci_init_bytes(fn, 0xa8, 1, 0x0f);
    return fn;
}

static PciFn *piix_add_ide(PciBus *pci, unsigned device) {
    static const PciId id = { .vendor = 0x8086, .device = 0x7010, .class_code = 0x010100 };
    PciFn *fn = pci_add(pci, "piix3-ide", device, 1, &id);
    pci_init_bytes(fn, PCI_STATUS, 2, 0x0280);
    pci_write_mask(fn, 0x40, 4, 0xffffffff);             // IDE timing; decode enable
    return fn;
}

Piix *piix_new(Bus *bus, PciBus *pci, unsigned device, const Wire irq[16]) {
    Piix *p = mem_new(sizeof(*p));
    p->bus = bus;
    for (unsigned i = 0; i < 16; i++) p->irq[i] = irq[i];
    p->isa = piix_add_isa(pci, device);
    p->ide = piix_add_ide(pci, device);
    pci_on_write(p->isa, piix_written, p);
    pci_connect_pirq(pci, piix_set_pirq, p);
    device_add(bus, &piix_class, NULL, p);
    BusPort reset = { "reset-control", p, 1, piix_in_reset, piix_out_reset };
    bus_map_ports(bus, 0xcf9, 1, &reset);
    return p;
}

void piix_free(Piix *p) { free(p); }

PciFn *piix_ide(Piix *p) { return p->ide; }
