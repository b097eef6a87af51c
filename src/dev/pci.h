// SPDX-License-Identifier: MIT
// One PCI bus: configuration mechanism #1 (ports 0xcf8, 0xcfc) and the functions on it.
//
// A device that is a PCI function fills a PciId, adds the function, and declares its BARs:
//
//     static const PciId id = { 0x1234, 0x1111, 0x030000, 2, .intx = 0 };
//     PciFn *fn = pci_add(pci, "vga", 2, 0, &id);
//     pci_set_bar(fn, 0, &(PciBar){ 16 << 20, PCI_BAR_PREFETCH, vga_map_vram, vga });
//     pci_write_mask(fn, 0x40, 2, 0xffff);      // a register of its own, writable
#ifndef DEV_PCI_H
#define DEV_PCI_H

#include "bus/bus.h"

typedef struct PciBus PciBus;
typedef struct PciFn PciFn;

typedef struct PciId {
    u16 vendor, device;
    u32 class_code;            // class << 16 | subclass << 8 | programming interface
    u8 revision;
    u8 intx;                   // interrupt pin: 0 none, 1 INTA# .. 4 INTD#
    bool multifunction;        // function 0 of a device with several
} PciId;

enum { PCI_BAR_IO = 1, PCI_BAR_PREFETCH = 8 };

typedef struct PciBar {
    u32 bytes;                 // power of two, at least 16 (memory) or 4 (ports)
    u32 flags;                 // PCI_BAR_*
    // Called when the decoded range appears (mapped) and before it disappears or moves.
    void (*map)(void *self, u32 base, bool mapped);
    void *self;
} PciBar;

enum PciReg {
    PCI_COMMAND = 4, PCI_STATUS = 6, PCI_CLASS = 8, PCI_BAR0 = 0x10, PCI_IRQ_LINE = 0x3c,
};
enum PciCommand { PCI_COMMAND_IO = 1, PCI_COMMAND_MEMORY = 2, PCI_COMMAND_MASTER = 4 };

PciBus *pci_new(Bus *bus);
void pci_free(PciBus *p);                       // and all functions on it
void pci_info(const PciBus *p, FILE *out);      // all functions: who they are, IRQ, BARs

// INTx# of all slots arrive at four lines PIRQA#..PIRQD# (n 0..3); `pirq.n` is not used.
void pci_connect_pirq(PciBus *p, void (*set)(void *self, unsigned n, bool level), void *self);

// Adds function `function` of device `device`. Its reset state is `id` plus what pci_init_bytes()
// sets. `name` must be unique in the machine and outlive it.
PciFn *pci_add(PciBus *p, const char *name, unsigned device, unsigned function, const PciId *id);
void pci_set_bar(PciFn *fn, unsigned n, const PciBar *bar);

// `bytes` (1..4) at `reg`: reset value; bits the guest may write; bits it clears by writing 1.
void pci_init_bytes(PciFn *fn, u8 reg, unsigned bytes, u32 value);
void pci_write_mask(PciFn *fn, u8 reg, unsigned bytes, u32 mask);
void pci_clear_mask(PciFn *fn, u8 reg, unsigned bytes, u32 mask);

// `written` is called after the guest has written any of a function's registers (reg to
// reg + bytes - 1), and after reset and loading a snapshot with reg 0, bytes 256: make things what
// the registers say.
void pci_on_write(PciFn *fn, void (*written)(void *self, unsigned reg, unsigned bytes),
                  void *self);

u32 pci_get(const PciFn *fn, u8 reg, unsigned bytes);
void pci_put(PciFn *fn, u8 reg, unsigned bytes, u32 value);   // the device's own view: no masks
bool pci_is_master(const PciFn *fn);                          // may do DMA
void pci_set_irq(PciFn *fn, bool level);                      // drives the function's INTx#

#endif
