// SPDX-License-Identifier: MIT
// VGA: registers and video memory. The picture is made in vga_draw.c, PCI's part in vga_pci.c.
// Sources: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem; Bochs' VBE DISPI text.
//
// Invariants
//  1. A register that changes the picture sets `stale`; one that changes how the CPU sees video
//     memory calls vga_update_memory(). Both derive everything from the registers: nothing else is
//     state.
//  2. Every store to video memory ends in dirty[]: those through MMIO at once, those to pages
//     mapped as RAM when the bus' dirty log is collected, which happens before such a page is
//     mapped elsewhere.
//  3. The legacy window is plain RAM where a CPU byte is a byte of video memory (VBE banks, chain-4
//     without logic); everywhere else it is MMIO.
#include "dev/vga_int.h"

#include <stdlib.h>
#include <string.h>

// Nibble (a bit per plane) to word (a byte per plane).
static const u32 vga_spread[16] = {
    0x00000000, 0x000000ff, 0x0000ff00, 0x0000ffff, 0x00ff0000, 0x00ff00ff, 0x00ffff00, 0x00ffffff,
    0xff000000, 0xff0000ff, 0xff00ff00, 0xff00ffff, 0xffff0000, 0xffff00ff, 0xffffff00, 0xffffffff,
};

// ---- video memory through the legacy window -----------------------------------------------------

// Where CPU address a lands: the word, and which of its planes (a byte mask) the address selects.
static u32 *vga_locate(Vga *v, u32 a, bool odd_even, u32 *planes) {
    u32 word = a;
    *planes = 0xffffffffu;
    if (v->chain4) {
        *planes = 0xffu << (a & 3) * 8;
        word = a >> 2;
    } else if (odd_even) {
        *planes = a & 1 ? 0xff00ff00u : 0x00ff00ffu;
        word = a >> 1;
    }
    return (u32 *)v->vram + ((v->bank_word + word) & v->word_mask);
}

static u32 vga_rotate(const Vga *v, u32 byte) {
    unsigned n = v->gfx[3] & 7;
    return ((byte >> n | byte << (8 - n)) & 0xff) * 0x01010101u;
}

static u32 vga_alu(const Vga *v, u32 value) {
    switch (v->gfx[3] >> 3 & 3) {
    case 1: return value & v->latch;
    case 2: return value | v->latch;
    case 3: return value ^ v->latch;
    default: return value;
    }
}

// The word that a CPU byte becomes on its way to memory: write modes 0 to 3.
static u32 vga_write_value(const Vga *v, u8 byte) {
    u32 value, mask = v->bit_mask;
    switch (v->gfx[5] & 3) {
    case 0:
        value = (vga_rotate(v, byte) & ~v->enable_set_reset) | (v->set_reset & v->enable_set_reset);
        break;
    case 1:
        return v->latch;
    case 2:
        value = vga_spread[byte & 15];
        break;
    default:
        mask &= vga_rotate(v, byte);
        value = v->set_reset;
        break;
    }
    return (vga_alu(v, value) & mask) | (v->latch & ~mask);
}

static void vga_write_byte(Vga *v, u32 a, u8 byte) {
    u32 planes;
    u32 *word = vga_locate(v, a, v->write_odd_even, &planes);
    u32 value = v->plain_write ? byte * 0x01010101u : vga_write_value(v, byte);
    planes &= v->map_mask;
    *word = (*word & ~planes) | (value & planes);
    v->dirty[(u32)((u8 *)word - v->vram) / PAGE_BYTES] = 1;
    v->font_dirty |= (planes >> 16 & 1) != 0;
}

static u8 vga_read_byte(Vga *v, u32 a) {
    u32 planes;
    v->latch = *vga_locate(v, a, v->read_odd_even, &planes);
    if (v->gfx[5] & 8) {               // read mode 1: which pixels have the colour
        u32 differ = (v->latch ^ v->compare) & v->compare_care;
        differ |= differ >> 16;
        return (u8)~(differ | differ >> 8);
    }
    unsigned plane = v->gfx[4] & 3;
    if (v->chain4) plane = a & 3;
    else if (v->read_odd_even) plane = (plane & 2) | (a & 1);
    return (u8)(v->latch >> plane * 8);
}

static u32 vga_mmio_read(void *self, u32 offset, unsigned size_bytes) {
    Vga *v = self;
    u32 value = 0;
    for (unsigned i = 0; i < size_bytes; i++) value |= (u32)vga_read_byte(v, offset + i) << i * 8;
    return value;
}

static void vga_mmio_write(void *self, u32 offset, unsigned size_bytes, u32 value) {
    Vga *v = self;
    for (unsigned i = 0; i < size_bytes; i++) vga_write_byte(v, offset + i, (u8)(value >> i * 8));
}

// ---- what is mapped where -----------------------------------------------------------------------

static const struct { u32 ppn, pages; } vga_window_pages[3] = {
    { 0xa0, 16 }, { 0xb0, 8 }, { 0xb8, 8 },
};

static void vga_collect_pages(Vga *v, u32 ppn, u32 pages, u32 vram_page) {
    for (u32 i = 0; i < pages; i++) {
        if (!bus_is_dirty(v->bus, ppn + i)) continue;
        v->dirty[vram_page + i] = 1;
        bus_clear_dirty(v->bus, ppn + i, 1);
    }
}

static void vga_collect_window(Vga *v, unsigned n) {
    if (v->window[n].kind != BUS_PAGE_RAM) return;
    vga_collect_pages(v, vga_window_pages[n].ppn, vga_window_pages[n].pages,
                      v->window[n].vram / PAGE_BYTES);
}

void vga_collect_dirty(Vga *v, u32 first_byte, u32 end_byte) {
    for (unsigned n = 0; n < 3; n++) vga_collect_window(v, n);
    if (!v->lfb_mapped || end_byte <= first_byte) return;
    u32 first = first_byte / PAGE_BYTES;
    u32 end = min_u32((end_byte + PAGE_BYTES - 1) / PAGE_BYTES, VGA_VRAM_PAGES);
    if (first < end) vga_collect_pages(v, v->lfb_mapped / PAGE_BYTES + first, end - first, first);
}

static void vga_set_window(Vga *v, unsigned n, VgaWindow want) {
    VgaWindow *w = &v->window[n];
    u32 ppn = vga_window_pages[n].ppn, pages = vga_window_pages[n].pages;
    if (w->kind == want.kind && w->vram == want.vram) return;
    vga_collect_window(v, n);
    *w = want;
    if (want.kind == BUS_PAGE_RAM) {
        bus_map_ram(v->bus, ppn, pages, v->vram + want.vram);
        bus_clear_dirty(v->bus, ppn, pages);
    } else if (want.kind == BUS_PAGE_MMIO) {
        bus_map_mmio(v->bus, ppn, pages, v->region, want.vram);
    } else {
        bus_map_none(v->bus, ppn, pages);
    }
}

// A CPU byte is a byte of video memory: no logic between them.
static bool vga_is_direct(const Vga *v) {
    if (vga_vbe_linear(v)) return true;
    return v->chain4 && v->plain_write && v->map_mask == 0xffffffffu && !(v->gfx[5] & 8);
}

static void vga_update_windows(Vga *v) {
    static const struct { u32 first, end; } selected[4] = {
        { 0xa0, 0xc0 }, { 0xa0, 0xb0 }, { 0xb0, 0xb8 }, { 0xb8, 0xc0 },
    };
    unsigned select = v->gfx[6] >> 2 & 3;
    if (vga_vbe_linear(v)) select = 1;
    bool direct = vga_is_direct(v);
    u32 bank = vga_vbe_on(v) ? v->vbe[VBE_BANK] * 0x10000u % VGA_VRAM_BYTES : 0;
    for (unsigned n = 0; n < 3; n++) {
        u32 ppn = vga_window_pages[n].ppn;
        VgaWindow want = { BUS_PAGE_NONE, 0 };
        if ((v->misc & 2) && ppn >= selected[select].first && ppn < selected[select].end) {
            want.kind = direct ? BUS_PAGE_RAM : BUS_PAGE_MMIO;
            want.vram = (ppn - selected[select].first) * PAGE_BYTES + (direct ? bank : 0);
            if (direct) want.vram %= VGA_VRAM_BYTES;
        }
        vga_set_window(v, n, want);
    }
}

static void vga_update_memory(Vga *v) {
    bool linear = vga_vbe_linear(v);
    v->chain4 = linear || (v->seq[4] & 8);
    v->write_odd_even = !v->chain4 && !(v->seq[4] & 4);
    v->read_odd_even = !v->chain4 && (v->gfx[5] & 0x10);
    v->map_mask = vga_spread[v->seq[2] & 15];
    v->bit_mask = v->gfx[8] * 0x01010101u;
    v->set_reset = vga_spread[v->gfx[0] & 15];
    v->enable_set_reset = vga_spread[v->gfx[1] & 15];
    v->compare = vga_spread[v->gfx[2] & 15];
    v->compare_care = vga_spread[v->gfx[7] & 15];
    v->plain_write = linear || (!(v->gfx[5] & 3) && !v->enable_set_reset && !(v->gfx[3] & 0x1f)
                                && v->gfx[8] == 0xff);
    v->word_mask = vga_vbe_on(v) ? VGA_VRAM_WORDS - 1 : VGA_PLANE_MASK;
    v->bank_word = vga_vbe_on(v) ? v->vbe[VBE_BANK] * 0x10000u : 0;
    vga_update_windows(v);
}

static void vga_update_lfb(Vga *v) {
    if (v->lfb_mapped == v->lfb_base) return;
    if (v->lfb_mapped) {
        vga_collect_dirty(v, 0, VGA_VRAM_BYTES);
        bus_map_none(v->bus, v->lfb_mapped / PAGE_BYTES, VGA_VRAM_PAGES);
    }
    v->lfb_mapped = v->lfb_base;
    if (!v->lfb_mapped) return;
    bus_map_ram(v->bus, v->lfb_mapped / PAGE_BYTES, VGA_VRAM_PAGES, v->vram);
    bus_clear_dirty(v->bus, v->lfb_mapped / PAGE_BYTES, VGA_VRAM_PAGES);
}

void vga_map_lfb(Vga *v, u32 base) {
    v->lfb_base = base & ~0xfffffu;
    vga_update_lfb(v);
}

u8 *vga_vram(Vga *v, u32 *bytes) {
    *bytes = VGA_VRAM_BYTES;
    return v->vram;
}

// ---- VGA registers ------------------------------------------------------------------------------

static void vga_seq_write(Vga *v, u8 value) {
    static const u8 used[8] = { 3, 0x3d, 15, 0x3f, 14 };
    u8 index = v->seq_index & 7;
    value &= used[index];
    if (v->seq[index] == value) return;
    v->seq[index] = value;
    if (index != 2) v->stale = true;
    vga_update_memory(v);
}

static void vga_gfx_write(Vga *v, u8 value) {
    static const u8 used[16] = { 15, 15, 15, 0x1f, 3, 0x7b, 15, 15, 255 };
    u8 index = v->gfx_index & 15;
    value &= used[index];
    if (v->gfx[index] == value) return;
    if (index == 6 || (index == 5 && ((value ^ v->gfx[5]) & 0x60))) v->stale = true;
    v->gfx[index] = value;
    vga_update_memory(v);
}

static void vga_crtc_write(Vga *v, u8 value) {
    u8 index = v->crtc_index;
    if (index > 0x18) return;
    if (index < 8 && (v->crtc[0x11] & 0x80)) {      // write protected, but for one bit
        if (index != 7) return;
        value = (v->crtc[7] & ~0x10) | (value & 0x10);
    }
    if (v->crtc[index] == value) return;
    v->crtc[index] = value;
    bool cursor = index == 0x0a || index == 0x0b || index == 0x0e || index == 0x0f;
    if (!cursor) v->stale = true;
}

static u8 vga_crtc_read(const Vga *v) {
    if (v->crtc_index <= 0x18) return v->crtc[v->crtc_index];
    if (v->crtc_index == 0x22) return (u8)(v->latch >> (v->gfx[4] & 3) * 8);
    if (v->crtc_index == 0x24) return v->attr_data ? 0x80 : 0;
    return 0;
}

static void vga_attr_write(Vga *v, u8 value) {
    v->attr_data = !v->attr_data;
    if (v->attr_data) {                              // that was the index
        if ((v->attr_index ^ value) & 0x20) v->stale = true;
        v->attr_index = value & 0x3f;
        return;
    }
    u8 index = v->attr_index & 31;
    if (index > 0x14) return;
    if (index < 16) value &= 0x3f;
    if (v->attr[index] == value) return;
    v->attr[index] = value;
    v->stale = true;
}

static void vga_dac_write(Vga *v, u8 value) {
    v->dac_latch[v->dac_step] = value;
    if (++v->dac_step < 3) return;
    v->dac_step = 0;
    memcpy(v->dac + v->dac_write * 3, v->dac_latch, 3);
    v->dac_write++;
    v->stale = true;
}

static u8 vga_dac_read(Vga *v) {
    u8 value = v->dac[v->dac_read * 3 + v->dac_step];
    if (++v->dac_step == 3) {
        v->dac_step = 0;
        v->dac_read++;
    }
    return value;
}

// Input status 1: bit 0 nothing is shown just now, bit 3 vertical retrace.
static u8 vga_status1(const Vga *v) {
    VgaTiming t = v->timing;
    if (v->stale) vga_timing(v, &t);
    u64 in_frame = bus_now_ns(v->bus) % t.frame_ns;
    u64 line = in_frame / t.line_ns;
    u8 status = 0;
    if (line >= t.active_lines || in_frame % t.line_ns >= t.active_ns) status |= 1;
    if (line >= t.retrace_first && line < t.retrace_end) status |= 8;
    return status;
}

static u8 vga_port_read(Vga *v, u16 port) {
    switch (port) {
    case 0x3c0: return v->attr_index;
    case 0x3c1: return v->attr[v->attr_index & 31];
    case 0x3c2: return 0x10;                         // a colour monitor is there
    case 0x3c3: return 1;
    case 0x3c4: return v->seq_index;
    case 0x3c5: return v->seq[v->seq_index & 7];
    case 0x3c6: return v->dac_mask;
    case 0x3c7: return v->dac_state;
    case 0x3c8: return v->dac_write;
    case 0x3c9: return vga_dac_read(v);
    case 0x3ca: return v->feature;
    case 0x3cc: return v->misc;
    case 0x3ce: return v->gfx_index;
    case 0x3cf: return v->gfx[v->gfx_index & 15];
    case 0x3b4: case 0x3d4: return v->crtc_index;
    case 0x3b5: case 0x3d5: return vga_crtc_read(v);
    case 0x3ba: case 0x3da: v->attr_data = false; return vga_status1(v);
    default: return 0xff;
    }
}

static void vga_misc_write(Vga *v, u8 value) {
    if (v->misc == value) return;
    v->misc = value;
    v->stale = true;
    vga_update_memory(v);
}

static void vga_port_write(Vga *v, u16 port, u8 value) {
    switch (port) {
    case 0x3c0: vga_attr_write(v, value); break;
    case 0x3c2: vga_misc_write(v, value); break;
    case 0x3c4: v->seq_index = value; break;
    case 0x3c5: vga_seq_write(v, value); break;
    case 0x3c6: v->stale |= v->dac_mask != value; v->dac_mask = value; break;
    case 0x3c7: v->dac_read = value; v->dac_step = 0; v->dac_state = 3; break;
    case 0x3c8: v->dac_write = value; v->dac_step = 0; v->dac_state = 0; break;
    case 0x3c9: vga_dac_write(v, value); break;
    case 0x3ce: v->gfx_index = value; break;
    case 0x3cf: vga_gfx_write(v, value); break;
    case 0x3b4: case 0x3d4: v->crtc_index = value & 0x3f; break;
    case 0x3b5: case 0x3d5: vga_crtc_write(v, value); break;
    case 0x3ba: case 0x3da: v->feature = value; break;
    default: break;
    }
}

// The CRTC answers at 0x3bx or at 0x3dx, as the miscellaneous register says.
static bool vga_port_absent(const Vga *v, u16 port) {
    if (port >= 0x3c0 && port <= 0x3cf) return false;
    return (port >= 0x3d0) != (v->misc & 1);
}

u32 vga_register_in(Vga *v, u16 port) {
    return vga_port_absent(v, port) ? 0xff : vga_port_read(v, port);
}

void vga_register_out(Vga *v, u16 port, u8 value) {
    if (!vga_port_absent(v, port)) vga_port_write(v, port, value);
}

static u32 vga_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    return vga_register_in(self, port);
}

static void vga_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    vga_register_out(self, port, (u8)value);
}

// ---- Bochs VBE ----------------------------------------------------------------------------------

// Brings the registers into what video memory can hold: a virtual screen not narrower than the
// visible one, as high as memory allows, and offsets inside it.
static void vga_vbe_fix(Vga *v) {
    u16 *r = v->vbe;
    static const u8 depths[] = { 4, 8, 15, 16, 24, 32 };
    if (!memchr(depths, r[VBE_BPP], sizeof(depths))) r[VBE_BPP] = 8;
    r[VBE_XRES] = (u16)min_u32(max_u32(r[VBE_XRES] & ~7u, 8), VGA_MAX_WIDTH);
    r[VBE_YRES] = (u16)min_u32(max_u32(r[VBE_YRES], 1), VGA_MAX_HEIGHT);
    if (r[VBE_VIRT_WIDTH] < r[VBE_XRES]) r[VBE_VIRT_WIDTH] = r[VBE_XRES];
    u32 pitch = r[VBE_VIRT_WIDTH] * vga_vbe_bytes(r[VBE_BPP]);
    if (r[VBE_BPP] == 4) pitch = r[VBE_VIRT_WIDTH] / 2;
    u32 rows = min_u32(VGA_VRAM_BYTES / pitch, 0xffff);
    r[VBE_VIRT_HEIGHT] = (u16)rows;
    if (r[VBE_YRES] > rows) r[VBE_YRES] = (u16)rows;
    if (r[VBE_X_OFFSET] + r[VBE_XRES] > r[VBE_VIRT_WIDTH])
        r[VBE_X_OFFSET] = r[VBE_VIRT_WIDTH] - r[VBE_XRES];
    if (r[VBE_Y_OFFSET] + r[VBE_YRES] > rows) r[VBE_Y_OFFSET] = (u16)(rows - r[VBE_YRES]);
}

static void vga_vbe_enable(Vga *v, u16 value) {
    bool was_on = vga_vbe_on(v);
    v->vbe[VBE_ENABLE] = value;
    if (!was_on && (value & VBE_ENABLED)) {
        v->vbe[VBE_VIRT_WIDTH] = v->vbe[VBE_X_OFFSET] = v->vbe[VBE_Y_OFFSET] = 0;
        vga_vbe_fix(v);
        if (!(value & VBE_NOCLEAR)) {
            u32 bits_per_row = v->vbe[VBE_VIRT_WIDTH] * vga_vbe_bytes(v->vbe[VBE_BPP]) * 8;
            memset(v->vram, 0, min_u32(bits_per_row / 8 * v->vbe[VBE_YRES], VGA_VRAM_BYTES));
        }
    }
    if (was_on && !(value & VBE_ENABLED)) v->vbe[VBE_BANK] = 0;
}

void vga_vbe_set(Vga *v, unsigned index, u16 value) {
    if (index >= VBE_REGISTERS || index == VBE_MEMORY_64K) return;
    if (index == VBE_ID) {
        if (value >= 0xb0c0 && value <= 0xb0c5) v->vbe[VBE_ID] = value;
        return;
    }
    if (index == VBE_ENABLE) vga_vbe_enable(v, value);
    else if (v->vbe[index] == value) return;
    else v->vbe[index] = value;
    if (vga_vbe_on(v)) vga_vbe_fix(v);
    if (index != VBE_BANK) v->stale = true;
    vga_update_memory(v);
}

u16 vga_vbe_get(const Vga *v, unsigned index) {
    if (index >= VBE_REGISTERS) return 0;
    if (v->vbe[VBE_ENABLE] & VBE_GETCAPS) {
        switch (index) {
        case VBE_XRES: return VGA_MAX_WIDTH;
        case VBE_YRES: return VGA_MAX_HEIGHT;
        case VBE_BPP: return 32;
        default: break;
        }
    }
    return v->vbe[index];
}

static u32 vga_vbe_in(void *self, u16 port, unsigned size_bytes) {
    const Vga *v = self;
    u16 value = port == 0x1ce ? v->vbe_index : vga_vbe_get(v, v->vbe_index);
    return trunc_size(value, size_bytes);
}

static void vga_vbe_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    Vga *v = self;
    (void)size_bytes;
    if (port == 0x1ce) v->vbe_index = (u16)value;
    else vga_vbe_set(v, v->vbe_index, (u16)value);
}

// ---- the device ---------------------------------------------------------------------------------

static const Field vga_fields[] = {
    FIELD(Vga, misc, FIELD_UINT, 0),
    FIELD(Vga, feature, FIELD_UINT, 0),
    FIELD(Vga, seq_index, FIELD_UINT, 0),
    FIELD_ARRAY(Vga, seq, FIELD_UINT, 0),
    FIELD(Vga, gfx_index, FIELD_UINT, 0),
    FIELD_ARRAY(Vga, gfx, FIELD_UINT, 0),
    FIELD(Vga, crtc_index, FIELD_UINT, 0),
    FIELD_ARRAY(Vga, crtc, FIELD_UINT, 0),
    FIELD(Vga, attr_index, FIELD_UINT, 0),
    FIELD(Vga, attr_data, FIELD_BOOL, 0),
    FIELD_ARRAY(Vga, attr, FIELD_UINT, 0),
    FIELD(Vga, dac_mask, FIELD_UINT, 0xff),
    FIELD(Vga, dac_state, FIELD_UINT, 0),
    FIELD(Vga, dac_read, FIELD_UINT, 0),
    FIELD(Vga, dac_write, FIELD_UINT, 0),
    FIELD(Vga, dac_step, FIELD_UINT, 0),
    FIELD_ARRAY(Vga, dac_latch, FIELD_UINT, 0),
    FIELD_ARRAY(Vga, dac, FIELD_BYTES, 0),
    FIELD(Vga, latch, FIELD_UINT, 0),
    FIELD(Vga, vbe_index, FIELD_UINT, 0),
    FIELD_ARRAY(Vga, vbe, FIELD_UINT, 0),
    FIELD(Vga, lfb_base, FIELD_UINT, VGA_LFB_BASE),
};

static void vga_loaded(void *self) {
    Vga *v = self;
    if (v->dac_step > 2) v->dac_step = 0;
    if (vga_vbe_on(v)) vga_vbe_fix(v);
    if (v->fn) v->lfb_base = v->bar_lfb;
    v->stale = true;
    v->cell_count = 0;
    vga_update_lfb(v);
    vga_update_memory(v);
}

static void vga_reset(void *self) {
    Vga *v = self;
    v->vbe[VBE_ID] = 0xb0c5;
    v->vbe[VBE_MEMORY_64K] = VGA_VRAM_BYTES >> 16;
    v->gfx[8] = 0xff;
    vga_loaded(v);
}

static void vga_info(void *self, FILE *out) {
    static const char *const kinds[] = {
        "off", "text", "planar graphics", "CGA graphics", "256 colours", "direct colour",
    };
    Vga *v = self;
    VgaLayout l;
    vga_layout(v, &l);
    fprintf(out, "screen: %s, %ux%u", kinds[l.kind], l.width, l.height);
    if (l.kind == VGA_KIND_TEXT)
        fprintf(out, ", %u columns, font height %u", l.columns, l.cell_height);
    if (vga_vbe_on(v)) fprintf(out, ", VBE with %u bits per pixel", v->vbe[VBE_BPP]);
    fprintf(out, "\n");
}

static const DeviceClass vga_class = {
    "vga", vga_fields, ARRAY_LEN(vga_fields), vga_reset, vga_loaded, vga_info,
};

static void vga_map_all_ports(Vga *v) {
    static const struct { u16 first, count; } ranges[] = {
        { 0x3b4, 2 }, { 0x3ba, 1 }, { 0x3c0, 16 }, { 0x3d4, 2 }, { 0x3da, 1 },
    };
    const BusPort vga = { "vga", v, 1, vga_in, vga_out };
    const BusPort vbe = { "vga-vbe", v, 1 | 2, vga_vbe_in, vga_vbe_out };
    for (unsigned i = 0; i < ARRAY_LEN(ranges); i++)
        bus_map_ports(v->bus, ranges[i].first, ranges[i].count, &vga);
    bus_map_ports(v->bus, 0x1ce, 2, &vbe);
}

Vga *vga_new(Bus *bus) {
    Vga *v = mem_new(sizeof(*v));
    v->bus = bus;
    v->vram = bus_alloc(bus, VGA_VRAM_BYTES);
    const BusMmio ops = { "vga", v, vga_mmio_read, vga_mmio_write };
    v->region = bus_add_mmio(bus, &ops);
    vga_map_all_ports(v);
    device_add(bus, &vga_class, NULL, v);
    v->dac_mask = 0xff;
    v->lfb_base = VGA_LFB_BASE;
    vga_reset(v);
    return v;
}

void vga_free(Vga *v) {
    if (!v) return;
    vga_draw_free(v);
    free(v);
}
