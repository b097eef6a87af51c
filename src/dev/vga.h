// SPDX-License-Identifier: MIT
// The display adapter: an IBM VGA with the Bochs VBE extension ("DISPI", ports 0x1ce/0x1cf) and 16
// MiB of video memory. On the ISA bus a linear view of it lies at 0xe0000000; as a PCI function
// (1234:1111, as Bochs and QEMU have it) BAR 0 places it, and BAR 2 has the registers once more.
//
// The adapter draws nothing by itself. A viewer asks for the present picture on the machine's
// thread:
//
//     VgaFrame frame = { 0 };
//     if (vga_render(vga, &frame)) show(frame.pixels, frame.first_row, frame.end_row);
//     ...
//     vga_frame_free(&frame);
//
// Each viewer has its own VgaFrame, so several can look at once without stealing each other's
// changes.
#ifndef DEV_VGA_H
#define DEV_VGA_H

#include "bus/bus.h"
#include "dev/pci.h"

typedef struct Vga Vga;

typedef struct VgaFrame {      // one viewer's copy of the screen; all zero at first
    u32 *pixels;               // width * height, 0x00RRGGBB, no padding between rows
    unsigned width, height;
    unsigned first_row;        // rows [first_row, end_row) were changed by the last vga_render
    unsigned end_row;
    bool resized;              // the last vga_render changed width or height
    u64 serial;                // owner: vga_render
} VgaFrame;

typedef struct VgaCell { u8 character, attribute; } VgaCell;

typedef struct VgaText {       // the text screen; all zero at first
    VgaCell *cells;            // columns * rows
    unsigned columns, rows;
    unsigned cursor_column, cursor_row;
    bool cursor_visible;       // on the screen and not switched off (says nothing of its blinking)
    bool blink;                // attribute bit 7 blinks (otherwise: bright background)
} VgaText;

Vga *vga_new(Bus *bus);                        // on the ISA bus
Vga *vga_new_pci(Bus *bus, PciBus *pci, unsigned device);
void vga_free(Vga *v);

// Brings `frame` up to date, allocating it anew when the size changed. True: something changed.
bool vga_render(Vga *v, VgaFrame *frame);
void vga_frame_free(VgaFrame *frame);

// Reads the text screen. False (and *text as it was): a graphics mode, or the screen is off.
bool vga_text(Vga *v, VgaText *text);
void vga_text_free(VgaText *text);

// Moves the linear frame buffer to this physical address (1 MiB aligned at least); 0 unmaps it.
// The PCI function does that by itself.
void vga_map_lfb(Vga *v, u32 base);
// Video memory, for snapshots (it is bus memory, not part of the field table).
u8 *vga_vram(Vga *v, u32 *bytes);

#endif
