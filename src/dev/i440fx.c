// SPDX-License-Identifier: MIT
// Intel 82441FX (datasheet 290549): configuration space and memory map.
//
// PAM registers 0x59..0x5f, a nibble per segment of 16 KiB (f0000: 64 KiB): bit 0 reads come from
// RAM, bit 1 writes go to RAM; what does not go to RAM goes to the ISA bus, where the ROMs are.
//
//     RE WE   page
//     0  0    ROM, or nobody
//     1  1    RAM
//     1  0    RAM as ROM
//     0  1    MMIO: reads the ROM, writes the RAM (how old BIOSes copy themselves)
//
// There is no system management mode: SMRAM (0x72) is plain storage.
#include "dev/i440fx.h"

#include <stdlib.h>

#define REG_PAM0 0x59u
#define SHADOW_BASE 0xc0000u
#define SHADOW_BYTES 0x40000u
#define SEGMENTS 13u

struct I440fx {
    Bus *bus;
    PciFn *fn;
    I440fxRom rom;
    unsigned copy_region;      // MMIO region for RE=0, WE=1
};

typedef struct PamSegment { u32 first, bytes, pam; } PamSegment;   // pam: the two enable bits

static PamSegment pam_segment(const I440fx *f, unsigned n) {
    if (n == 0) return (PamSegment){ 0xf0000, 0x10000, pci_get(f->fn, REG_PAM0, 1) >> 4 & 3 };
    u32 reg = pci_get(f->fn, (u8)(REG_PAM0 + 1 + (n - 1) / 2), 1);
    return (PamSegment){ SHADOW_BASE + (n - 1) * 0x4000, 0x4000, reg >> ((n - 1) % 2 * 4) & 3 };
}

static bool pam_has_rom(const I440fx *f, u32 offset) {
    return f->rom.present >> (offset / PAGE_BYTES) & 1;
}

static void pam_map_page(I440fx *f, u32 addr, u32 pam) {
    u32 offset = addr - SHADOW_BASE, ppn = addr >> PAGE_SHIFT;
    u8 *ram = bus_ram(f->bus) + addr;
    if (pam == 3) bus_map_ram(f->bus, ppn, 1, ram);
    else if (pam == 1) bus_map_rom(f->bus, ppn, 1, ram);
    else if (pam == 2) bus_map_mmio(f->bus, ppn, 1, f->copy_region, offset);
    else if (pam_has_rom(f, offset)) bus_map_rom(f->bus, ppn, 1, f->rom.host + offset);
    else bus_map_none(f->bus, ppn, 1);
}

static void pam_written(void *self, unsigned reg, unsigned bytes) {
    I440fx *f = self;
    if (reg > REG_PAM0 + 6 || reg + bytes <= REG_PAM0) return;
    for (unsigned n = 0; n < SEGMENTS; n++) {
        PamSegment s = pam_segment(f, n);
        for (u32 at = 0; at < s.bytes; at += PAGE_BYTES) pam_map_page(f, s.first + at, s.pam);
    }
}

static u32 pam_copy_read(void *self, u32 offset, unsigned size_bytes) {
    I440fx *f = self;
    u32 v = 0;
    for (unsigned i = 0; i < size_bytes; i++) {
        u32 at = offset + i;
        u32 byte = at < SHADOW_BYTES && pam_has_rom(f, at) ? f->rom.host[at] : 0xff;
        v |= byte << (8 * i);
    }
    return v;
}

static void pam_copy_write(void *self, u32 offset, unsigned size_bytes, u32 value) {
    I440fx *f = self;
    u8 *ram = bus_ram(f->bus) + SHADOW_BASE;
    for (unsigned i = 0; i < size_bytes && offset + i < SHADOW_BYTES; i++)
        ram[offset + i] = (u8)(value >> (8 * i));
}

I440fx *i440fx_new(Bus *bus, PciBus *pci, const I440fxRom *rom) {
    static const PciId id = { .vendor = 0x8086, .device = 0x1237, .class_code = 0x060000,
                              .revision = 2 };
    require(bus_ram_bytes(bus) >= SHADOW_BASE + SHADOW_BYTES);
    I440fx *f = mem_new(sizeof(*f));
    f->bus = bus;
    f->rom = *rom;
    f->copy_region = bus_add_mmio(bus, &(BusMmio){ "shadow", f, pam_copy_read, pam_copy_write });
    f->fn = pci_add(pci, "i440fx", 0, 0, &id);
    pci_init_bytes(f->fn, PCI_COMMAND, 2, 0x0006);
    pci_init_bytes(f->fn, PCI_STATUS, 2, 0x0280);
    for (unsigned reg = 0x40; reg < 0x100; reg += 4) pci_write_mask(f->fn, (u8)reg, 4, 0xffffffff);
    u32 rows = (u32)min_u64(bus_ram_bytes(bus) >> 23, 0xff);          // 8 MiB units
    for (unsigned i = 0; i < 8; i++) pci_init_bytes(f->fn, (u8)(0x60 + i), 1, rows);
    pci_init_bytes(f->fn, 0x72, 1, 0x02);                // SMRAM: closed, at a0000
    pci_on_write(f->fn, pam_written, f);
    return f;
}

void i440fx_free(I440fx *f) { free(f); }
