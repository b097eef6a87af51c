// SPDX-License-Identifier: MIT
// The VGA's insides, for vga.c (registers and memory), vga_pci.c and vga_draw.c (the picture) only.
//
// Video memory holds the four planes interleaved: byte p of 32-bit word i is offset i of plane p.
//
//     word i:  | 31..24 plane 3 | 23..16 plane 2 | 15..8 plane 1 | 7..0 plane 0 |
//
// A CPU address a becomes (plane, offset) like this:
//     planar     every plane the map mask selects   offset a
//     odd/even   planes a & 1 and 2 + (a & 1)       offset a >> 1
//     chain-4    plane a & 3                        offset a >> 2    (byte a of video memory)
// The hardware leaves the low address bits in the offset instead and compensates in the CRTC's word
// and doubleword modes; here the picture is fetched by plain offsets, so both shifts cancel out.
#ifndef DEV_VGA_INT_H
#define DEV_VGA_INT_H

#include "bus/device.h"
#include "dev/vga.h"

#define VGA_VRAM_BYTES (16u << 20)
#define VGA_VRAM_WORDS (VGA_VRAM_BYTES / 4)
#define VGA_VRAM_PAGES (VGA_VRAM_BYTES / PAGE_BYTES)
#define VGA_LFB_BASE 0xe0000000u
#define VGA_PLANE_MASK 0xffffu       // plain VGA: 64 KiB per plane
#define VGA_MAX_WIDTH 2560u
#define VGA_MAX_HEIGHT 1600u

enum VbeIndex {                      // ORDER: the DISPI register numbers
    VBE_ID, VBE_XRES, VBE_YRES, VBE_BPP, VBE_ENABLE, VBE_BANK, VBE_VIRT_WIDTH, VBE_VIRT_HEIGHT,
    VBE_X_OFFSET, VBE_Y_OFFSET, VBE_MEMORY_64K, VBE_REGISTERS
};
static_assert(VBE_MEMORY_64K == 10, "ORDER");

enum {                               // VBE_ENABLE
    VBE_ENABLED = 1, VBE_GETCAPS = 2, VBE_DAC8 = 0x20, VBE_LFB = 0x40, VBE_NOCLEAR = 0x80,
};

typedef enum VgaKind {
    VGA_KIND_OFF, VGA_KIND_TEXT, VGA_KIND_PLANAR, VGA_KIND_CGA, VGA_KIND_PACKED, VGA_KIND_DIRECT
} VgaKind;

typedef struct VgaLayout {           // what the registers make of the screen; derived
    VgaKind kind;
    unsigned width, height;          // pixels of the picture
    unsigned columns;                // character clocks per line
    unsigned dots;                   // text: width of a cell before doubling, 8 or 9
    unsigned repeat_x;               // how often each pixel is shown
    unsigned cell_height;            // scan lines per row of memory (text: of the font)
    bool double_scan;                // each scan line is shown twice
    unsigned start;                  // first word of video memory (DIRECT: byte)
    unsigned pitch;                  // words from one row to the next (DIRECT: bytes)
    unsigned word_mask;              // fetches wrap around here
    unsigned first_scan;             // scan line of the first row that is shown first
    unsigned split_line;             // from the line after this one on, fetches start at word 0
    unsigned pan;                    // pixels the picture is moved to the left
    bool pan_split;                  // the part after the split is panned, too
    unsigned cga_shift;              // 0, or the address bit that the scan line's bit 0 replaces
    unsigned bytes_per_pixel;        // DIRECT
    bool truecolor_15;               // DIRECT with 2 bytes: 5-5-5 instead of 5-6-5
} VgaLayout;

typedef struct VgaTiming {           // derived from the CRTC, for input status 1
    u64 line_ns, frame_ns;
    u64 active_ns;                   // part of a line that shows something
    unsigned active_lines, retrace_first, retrace_end;
} VgaTiming;

typedef struct VgaWindow {           // one of the three legacy windows
    u8 kind;                         // BusPageKind: NONE, MMIO or RAM
    u32 vram;                        // RAM: offset of the first byte; MMIO: offset in the region
} VgaWindow;

struct Vga {
    Bus *bus;
    PciFn *fn;                       // NULL: on the ISA bus
    u32 bar_lfb, bar_mmio;           // where its BARs are; 0: nowhere
    unsigned mmio_region;            // BAR 2

    // Registers, in the field table.
    u8 misc, feature;
    u8 seq_index, seq[8];
    u8 gfx_index, gfx[16];
    u8 crtc_index, crtc[32];
    u8 attr_index;                   // with bit 5: palette address source
    bool attr_data;                  // the next write to 0x3c0 is data
    u8 attr[32];
    u8 dac_mask, dac_state, dac_read, dac_write, dac_step;
    u8 dac_latch[3];
    u8 dac[768];
    u32 latch;                       // one byte per plane
    u16 vbe_index, vbe[VBE_REGISTERS];
    u32 lfb_base;

    // Memory access, derived by vga_update_memory().
    u8 *vram;
    u32 map_mask, bit_mask, set_reset, enable_set_reset, compare, compare_care;  // a byte per plane
    u32 bank_word, word_mask;        // added to, and wraps, a word address
    bool chain4, write_odd_even, read_odd_even, plain_write;
    unsigned region;                 // MMIO region of the legacy window
    VgaWindow window[3];             // a0000-affff, b0000-b7fff, b8000-bffff
    u32 lfb_mapped;                  // where the linear view is now; 0: nowhere
    u8 dirty[VGA_VRAM_PAGES];        // stored to since the last picture
    bool font_dirty;                 // plane 2 was stored to

    // The picture (vga_draw.c).
    bool stale;                      // registers changed: layout, colours, everything anew
    VgaLayout layout;
    VgaTiming timing;
    u32 colour[256];                 // pixel value to 0x00RRGGBB
    u32 *pixels;
    unsigned pixel_width, pixel_height;
    u64 serial;                      // counts pictures
    u64 *row_serial;                 // picture in which each row changed last
    u32 *line;                       // one row under construction
    u8 *fetch;                       // one row's pixel values, with room for panning
    u32 *cells;                      // text as drawn: character, attribute, cursor and blink flags
    unsigned cell_count;
};

// vga.c
u32 vga_register_in(Vga *v, u16 port);                         // 0x3c0-0x3df, at any time
void vga_register_out(Vga *v, u16 port, u8 value);
u16 vga_vbe_get(const Vga *v, unsigned index);
void vga_vbe_set(Vga *v, unsigned index, u16 value);
void vga_collect_dirty(Vga *v, u32 first_byte, u32 end_byte);  // from the bus into dirty[]
// vga_draw.c
void vga_layout(const Vga *v, VgaLayout *l);
void vga_timing(const Vga *v, VgaTiming *t);
void vga_draw_free(Vga *v);

static inline bool vga_vbe_on(const Vga *v) { return v->vbe[VBE_ENABLE] & VBE_ENABLED; }
static inline bool vga_vbe_linear(const Vga *v) { return vga_vbe_on(v) && v->vbe[VBE_BPP] >= 8; }
static inline unsigned vga_vbe_bytes(unsigned bpp) { return (bpp + 7) / 8; }

#endif
