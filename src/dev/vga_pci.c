// SPDX-License-Identifier: MIT
// The VGA as a PCI function: 1234:1111, revision 2, by which SeaVGABIOS and drivers know it.
//
// BAR 0, 16 MiB: video memory. BAR 2, 4 KiB of registers, none that the ports have not, too:
//     400..41f   the VGA ports 3c0..3df, bytes
//     500..515   the VBE registers 0..10, 16 bits each
//     600        size of what is at 600: 8 bytes       604   byte order: 1e1e1e1e little-endian
//
// Invariant: bar_lfb and bar_mmio follow the BARs alone; vga.c maps the frame buffer at bar_lfb.
#include "dev/vga_int.h"

#define MMIO_BYTES 0x1000u
#define MMIO_PORTS 0x400u
#define MMIO_VBE 0x500u
#define MMIO_EXTRA 0x600u
#define LITTLE_ENDIAN_MARK 0x1e1e1e1eu

static u32 vga_extra_byte(u32 offset) {
    u32 reg = offset & 4 ? LITTLE_ENDIAN_MARK : 8;
    return reg >> (8 * (offset & 3)) & 0xff;
}

static u32 vga_bar_read_byte(Vga *v, u32 offset) {
    if (offset >= MMIO_PORTS && offset < MMIO_PORTS + 0x20)
        return vga_register_in(v, (u16)(0x3c0 + offset - MMIO_PORTS));
    if (offset >= MMIO_EXTRA && offset < MMIO_EXTRA + 8) return vga_extra_byte(offset);
    return 0xff;
}

static bool vga_is_vbe(u32 offset) {
    return offset >= MMIO_VBE && offset < MMIO_VBE + 2 * VBE_REGISTERS;
}

static u32 vga_bar_read(void *self, u32 offset, unsigned size_bytes) {
    Vga *v = self;
    u32 value = 0;
    for (unsigned i = 0; i < size_bytes; i++) {
        u32 at = offset + i, byte;
        if (vga_is_vbe(at))
            byte = vga_vbe_get(v, (at - MMIO_VBE) / 2) >> (8 * (at & 1)) & 0xff;
        else byte = vga_bar_read_byte(v, at);
        value |= byte << (8 * i);
    }
    return value;
}

// VBE registers take words (and pairs of them).
static void vga_bar_write(void *self, u32 offset, unsigned size_bytes, u32 value) {
    Vga *v = self;
    if (vga_is_vbe(offset)) {
        for (unsigned i = 0; i + 1 < size_bytes && !(offset & 1); i += 2)
            if (vga_is_vbe(offset + i))
                vga_vbe_set(v, (offset + i - MMIO_VBE) / 2, (u16)(value >> (8 * i)));
        return;
    }
    for (unsigned i = 0; i < size_bytes; i++) {
        u32 at = offset + i;
        if (at >= MMIO_PORTS && at < MMIO_PORTS + 0x20)
            vga_register_out(v, (u16)(0x3c0 + at - MMIO_PORTS), (u8)(value >> (8 * i)));
    }
}

static void vga_map_bar0(void *self, u32 base, bool mapped) {
    Vga *v = self;
    v->bar_lfb = mapped ? base : 0;
    vga_map_lfb(v, v->bar_lfb);
}

static void vga_map_bar2(void *self, u32 base, bool mapped) {
    Vga *v = self;
    v->bar_mmio = mapped ? base : 0;
    if (mapped) bus_map_mmio(v->bus, base >> PAGE_SHIFT, 1, v->mmio_region, 0);
    else bus_map_none(v->bus, base >> PAGE_SHIFT, 1);
}

Vga *vga_new_pci(Bus *bus, PciBus *pci, unsigned device) {
    static const PciId id = { .vendor = 0x1234, .device = 0x1111, .class_code = 0x030000,
                              .revision = 2 };
    Vga *v = vga_new(bus);
    v->mmio_region = bus_add_mmio(bus, &(BusMmio){ "vga-mmio", v, vga_bar_read, vga_bar_write });
    v->fn = pci_add(pci, "vga-pci", device, 0, &id);
    pci_set_bar(v->fn, 0, &(PciBar){ VGA_VRAM_BYTES, PCI_BAR_PREFETCH, vga_map_bar0, v });
    pci_set_bar(v->fn, 2, &(PciBar){ MMIO_BYTES, 0, vga_map_bar2, v });
    vga_map_lfb(v, 0);
    return v;
}
