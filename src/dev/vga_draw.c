// SPDX-License-Identifier: MIT
// VGA: the picture. vga_render() brings the adapter's own picture up to date and copies to the
// viewer the rows that changed since that viewer looked last.
//
// Invariants
//  1. vga_put_row() and vga_mark_rows() are the only places that say "changed"; a row counts as
//     changed only if a pixel in it differs.
//  2. When nothing is stale, graphics rows are drawn only if a page they are fetched from is dirty,
//     and text cells only if character, attribute, cursor or blink phase differ from what was
//     drawn.
//  3. Every fetch is masked or bounded: no register value leads outside video memory.
#include "dev/vga_int.h"

#include <stdlib.h>
#include <string.h>

enum { CELL_CURSOR = 1 << 16, CELL_BLINKED_OFF = 1 << 17, CELL_NEVER = 1 << 31 };

// ---- layout and timing --------------------------------------------------------------------------

static unsigned vga_display_end(const Vga *v) {
    return (v->crtc[0x12] | (v->crtc[7] & 2u) << 7 | (v->crtc[7] & 0x40u) << 3) + 1;
}

static void vga_layout_vbe(const Vga *v, VgaLayout *l) {
    const u16 *r = v->vbe;
    l->width = r[VBE_XRES];
    l->height = r[VBE_YRES];
    l->columns = l->width / 8;
    l->repeat_x = l->cell_height = 1;
    l->split_line = INT32_MAX;              // none
    l->word_mask = VGA_VRAM_WORDS - 1;
    if (r[VBE_BPP] == 4) {
        l->kind = VGA_KIND_PLANAR;
        l->pitch = r[VBE_VIRT_WIDTH] / 8;
        l->start = r[VBE_Y_OFFSET] * l->pitch + r[VBE_X_OFFSET] / 8;
        l->pan = r[VBE_X_OFFSET] & 7;
        return;
    }
    l->kind = VGA_KIND_DIRECT;
    l->bytes_per_pixel = vga_vbe_bytes(r[VBE_BPP]);
    l->truecolor_15 = r[VBE_BPP] == 15;
    l->pitch = r[VBE_VIRT_WIDTH] * l->bytes_per_pixel;
    l->start = r[VBE_Y_OFFSET] * l->pitch + r[VBE_X_OFFSET] * l->bytes_per_pixel;
}

static VgaKind vga_kind(const Vga *v) {
    if (!(v->attr_index & 0x20) || (v->seq[1] & 0x20)) return VGA_KIND_OFF;
    if (!(v->gfx[6] & 1)) return VGA_KIND_TEXT;
    if (v->gfx[5] & 0x40) return VGA_KIND_PACKED;
    return v->gfx[5] & 0x20 ? VGA_KIND_CGA : VGA_KIND_PLANAR;
}

static void vga_layout_cells(const Vga *v, VgaLayout *l) {
    bool graphics = v->gfx[6] & 1, packed = graphics && (v->gfx[5] & 0x40);
    unsigned pan = v->attr[0x13] & 15;
    l->dots = graphics || (v->seq[1] & 1) ? 8 : 9;
    l->repeat_x = v->seq[1] & 8 ? 2 : 1;
    l->width = l->columns * l->dots * l->repeat_x;
    if (l->dots == 9) l->pan = pan >= 8 ? 0 : pan + 1;
    else l->pan = packed ? (pan & 7) >> 1 : pan & 7;
    if (packed) l->repeat_x *= 2;
}

void vga_layout(const Vga *v, VgaLayout *l) {
    memset(l, 0, sizeof(*l));
    if (vga_vbe_on(v)) {
        vga_layout_vbe(v, l);
        return;
    }
    const u8 *r = v->crtc;
    l->kind = vga_kind(v);
    l->columns = r[1] + 1u;
    vga_layout_cells(v, l);
    l->height = vga_display_end(v);
    l->cell_height = (r[9] & 0x1f) + 1u;
    l->double_scan = r[9] & 0x80;
    l->word_mask = VGA_PLANE_MASK;
    l->start = (r[0x0c] << 8 | r[0x0d]) + (r[8] >> 5 & 3);
    l->pitch = r[0x13] * 2u;
    l->first_scan = min_u32(r[8] & 0x1f, l->cell_height - 1);
    l->split_line = r[0x18] | (r[7] & 0x10u) << 4 | (r[9] & 0x40u) << 3;
    l->pan_split = !(v->attr[0x10] & 0x20);
    if (!(r[0x17] & 1)) l->cga_shift = r[0x14] & 0x40 ? 11 : r[0x17] & 0x40 ? 13 : 12;
    if (l->width < 160 || l->height < 64) {          // not programmed yet
        l->kind = VGA_KIND_OFF;
        l->width = 640;
        l->height = 400;
    }
}

static void vga_timing_default(VgaTiming *t, u64 frame_ns, unsigned shown_lines) {
    unsigned lines = shown_lines + 49;
    t->line_ns = frame_ns / lines;
    t->frame_ns = t->line_ns * lines;
    t->active_ns = t->line_ns * 4 / 5;
    t->active_lines = shown_lines;
    t->retrace_first = shown_lines + 12;
    t->retrace_end = shown_lines + 14;
}

void vga_timing(const Vga *v, VgaTiming *t) {
    const u8 *r = v->crtc;
    u64 dots = v->seq[1] & 1 ? 8 : 9;
    u64 dot_ps = (v->misc >> 2 & 3) == 1 ? 35308 : 39722;       // 28.322 and 25.175 MHz
    if (v->seq[1] & 8) dot_ps *= 2;
    unsigned lines = (r[6] | (r[7] & 1u) << 8 | (r[7] & 0x20u) << 4) + 2;
    t->line_ns = (r[0] + 5u) * dots * dot_ps / 1000;
    t->frame_ns = t->line_ns * lines;
    t->active_ns = (r[1] + 1u) * dots * dot_ps / 1000;
    t->active_lines = vga_display_end(v);
    t->retrace_first = r[0x10] | (r[7] & 4u) << 6 | (r[7] & 0x80u) << 2;
    t->retrace_end = (t->retrace_first & ~15u) | (r[0x11] & 15);
    if (t->retrace_end <= t->retrace_first) t->retrace_end += 16;
    if (vga_vbe_on(v)) vga_timing_default(t, 16666667, v->vbe[VBE_YRES]);
    else if (t->frame_ns < 5000000 || t->frame_ns > 50000000 || t->retrace_first >= lines)
        vga_timing_default(t, 14268000, 400);
}

// ---- colours ------------------------------------------------------------------------------------

static u32 vga_dac_colour(const Vga *v, unsigned index) {
    const u8 *c = v->dac + (index & v->dac_mask) * 3;
    if (vga_vbe_on(v) && (v->vbe[VBE_ENABLE] & VBE_DAC8))
        return (u32)c[0] << 16 | (u32)c[1] << 8 | c[2];
    u32 rgb = (c[0] & 63u) << 16 | (c[1] & 63u) << 8 | (c[2] & 63u);
    return rgb << 2 | (rgb >> 4 & 0x030303);
}

// The attribute controller's way from four bits to a DAC index.
static unsigned vga_attr_index(const Vga *v, unsigned pixel) {
    unsigned index = v->attr[pixel & v->attr[0x12] & 15] & 0x3f;
    if (v->attr[0x10] & 0x80) index = (index & 15) | (v->attr[0x14] & 3u) << 4;
    return index | (v->attr[0x14] & 12u) << 4;
}

static void vga_update_colours(Vga *v) {
    bool dac = v->layout.kind == VGA_KIND_PACKED || v->layout.kind == VGA_KIND_DIRECT;
    for (unsigned i = 0; i < 256; i++)
        v->colour[i] = vga_dac_colour(v, dac ? i : vga_attr_index(v, i & 15));
}

// ---- the adapter's own picture ------------------------------------------------------------------

static void vga_mark_rows(Vga *v, unsigned first, unsigned end) {
    for (unsigned y = first; y < end; y++) v->row_serial[y] = v->serial;
}

static void vga_put_row(Vga *v, unsigned y) {
    u32 *row = v->pixels + (size_t)y * v->pixel_width;
    size_t bytes = v->pixel_width * sizeof(u32);
    if (!memcmp(row, v->line, bytes)) return;
    memcpy(row, v->line, bytes);
    v->row_serial[y] = v->serial;
}

static void vga_resize(Vga *v) {
    const VgaLayout *l = &v->layout;
    if (l->width == v->pixel_width && l->height == v->pixel_height) return;
    v->pixel_width = l->width;
    v->pixel_height = l->height;
    free(v->pixels);
    v->pixels = mem_new((size_t)l->width * l->height * sizeof(u32));
    v->row_serial = mem_resize(v->row_serial, l->height * sizeof(u64));
    v->line = mem_resize(v->line, l->width * sizeof(u32));
    vga_mark_rows(v, 0, l->height);
}

void vga_draw_free(Vga *v) {
    free(v->pixels);
    free(v->row_serial);
    free(v->line);
    free(v->fetch);
    free(v->cells);
}

// ---- text ---------------------------------------------------------------------------------------

typedef struct VgaRow { unsigned word, y, end, scan; } VgaRow;   // a row of cells, lines [y, end)

static VgaRow vga_first_row(const VgaLayout *l) {
    return (VgaRow){ l->start, 0, 0, l->first_scan };
}

// Steps to the next row; false at the end of the screen. Cells are cut at the split and at the end.
static bool vga_next_row(const VgaLayout *l, VgaRow *row) {
    if (row->end) {
        row->scan = 0;
        row->word = row->end == l->split_line + 1 ? 0 : row->word + l->pitch;
    }
    row->y = row->end;
    if (row->y >= l->height) return false;
    row->end = row->y + ((l->cell_height - row->scan) << l->double_scan);
    if (row->y <= l->split_line && row->end > l->split_line + 1) row->end = l->split_line + 1;
    row->end = min_u32(row->end, l->height);
    return true;
}

// Offset in plane 2 of the font that attribute bit 3 chooses.
static unsigned vga_font(const Vga *v, bool bright) {
    static const unsigned blocks[8] = { 0, 16, 32, 48, 8, 24, 40, 56 };
    u8 map = v->seq[3];
    unsigned a = (map >> 2 & 3) | (map >> 3 & 4), b = (map & 3) | (map >> 2 & 4);
    return blocks[bright ? a : b] << 10;
}

// Dots of one scan line of a character, leftmost in the highest of l->dots bits.
static u32 vga_glyph(const Vga *v, u32 cell, unsigned scan) {
    const VgaLayout *l = &v->layout;
    u8 character = (u8)cell, attribute = (u8)(cell >> 8);
    unsigned word = vga_font(v, attribute & 8) + character * 32u + (scan & 31);
    u32 dots = v->vram[(word & VGA_PLANE_MASK) * 4 + 2];
    if (l->dots == 9) {
        bool line = (v->attr[0x10] & 4) && character >= 0xc0 && character <= 0xdf;
        dots = dots << 1 | (line ? dots & 1 : 0);
    }
    u32 all = (1u << l->dots) - 1;
    if ((attribute & 0x77) == 1 && scan == (v->crtc[0x14] & 0x1fu)) dots = all;
    if (cell & CELL_BLINKED_OFF) dots = 0;
    if ((cell & CELL_CURSOR) && scan >= (v->crtc[0x0a] & 0x1fu) && scan <= (v->crtc[0x0b] & 0x1fu))
        dots = all;
    return dots;
}

static void vga_draw_cell(Vga *v, const VgaRow *row, unsigned column, u32 cell) {
    const VgaLayout *l = &v->layout;
    unsigned background = cell >> 12 & (v->attr[0x10] & 8 ? 7 : 15);
    u32 paint[2] = { v->colour[background], v->colour[cell >> 8 & 15] };
    int left = (int)(column * l->dots) - (int)l->pan;
    for (unsigned y = row->y; y < row->end; y++) {
        u32 dots = vga_glyph(v, cell, row->scan + ((y - row->y) >> l->double_scan));
        u32 *line = v->pixels + (size_t)y * l->width;
        for (unsigned d = 0; d < l->dots; d++) {
            int x = (left + (int)d) * (int)l->repeat_x;
            if (x < 0 || x >= (int)l->width) continue;
            line[x] = paint[dots >> (l->dots - 1 - d) & 1];
            if (l->repeat_x == 2) line[x + 1] = line[x];
        }
    }
}

static bool vga_cursor_on(const Vga *v) {
    return !(v->crtc[0x0a] & 0x20) && (v->crtc[0x0a] & 0x1f) <= (v->crtc[0x0b] & 0x1f);
}

static u32 vga_cell_word(const Vga *v, unsigned word) {
    return get_le16(v->vram + (word & VGA_PLANE_MASK) * 4);
}

static void vga_draw_text_row(Vga *v, const VgaRow *row, u32 *drawn, u32 cursor_word, u64 frame) {
    const VgaLayout *l = &v->layout;
    bool blink = (v->attr[0x10] & 8) && (frame & 16), changed = false;
    unsigned columns = l->columns + (l->pan != 0);
    for (unsigned c = 0; c < columns; c++) {
        u32 cell = vga_cell_word(v, row->word + c);
        if (blink && (cell & 0x8000)) cell |= CELL_BLINKED_OFF;
        if (((row->word + c) & VGA_PLANE_MASK) == cursor_word) cell |= CELL_CURSOR;
        if (drawn[c] == cell) continue;
        drawn[c] = cell;
        vga_draw_cell(v, row, c, cell);
        changed = true;
    }
    if (changed) vga_mark_rows(v, row->y, row->end);
}

static void vga_draw_text(Vga *v) {
    const VgaLayout *l = &v->layout;
    unsigned stride = l->columns + 1, rows = l->height / l->cell_height + 3;
    if (v->stale || v->font_dirty || v->cell_count != stride * rows) {
        v->cell_count = stride * rows;
        v->cells = mem_resize(v->cells, v->cell_count * sizeof(u32));
        for (unsigned i = 0; i < v->cell_count; i++) v->cells[i] = CELL_NEVER;
    }
    u64 frame = bus_now_ns(v->bus) / v->timing.frame_ns;
    u32 cursor = UINT32_MAX;
    if (vga_cursor_on(v) && !(frame & 8)) cursor = v->crtc[0x0e] << 8 | v->crtc[0x0f];
    VgaRow row = vga_first_row(l);
    for (unsigned n = 0; n < rows && vga_next_row(l, &row); n++)
        vga_draw_text_row(v, &row, v->cells + n * stride, cursor, frame);
}

bool vga_text(Vga *v, VgaText *text) {
    VgaLayout l;
    vga_layout(v, &l);
    if (l.kind != VGA_KIND_TEXT) return false;
    unsigned most = l.height / l.cell_height + 3, cursor = v->crtc[0x0e] << 8 | v->crtc[0x0f];
    text->cells = mem_resize(text->cells, most * l.columns * sizeof(VgaCell));
    text->columns = l.columns;
    text->rows = 0;
    text->cursor_visible = false;
    text->blink = v->attr[0x10] & 8;
    VgaRow row = vga_first_row(&l);
    for (; text->rows < most && vga_next_row(&l, &row); text->rows++) {
        for (unsigned c = 0; c < l.columns; c++) {
            u32 cell = vga_cell_word(v, row.word + c);
            text->cells[text->rows * l.columns + c] = (VgaCell){ (u8)cell, (u8)(cell >> 8) };
            if (((row.word + c) & VGA_PLANE_MASK) != cursor || !vga_cursor_on(v)) continue;
            text->cursor_visible = true;
            text->cursor_column = c;
            text->cursor_row = text->rows;
        }
    }
    return true;
}

void vga_text_free(VgaText *text) {
    free(text->cells);
    memset(text, 0, sizeof(*text));
}

// ---- graphics: fetch a row's pixel values, then give them colours ------------------------------

// The bits of b, one per byte, bit 7 first in memory.
static u64 vga_spread_bits(u8 b) {
    u64 picked = b * 0x0101010101010101ull & 0x0102040810204080ull;
    return (picked + 0x7f7f7f7f7f7f7f7full) >> 7 & 0x0101010101010101ull;
}

static u64 vga_planar_pixels(u32 word) {
    return vga_spread_bits((u8)word) | vga_spread_bits((u8)(word >> 8)) << 1
         | vga_spread_bits((u8)(word >> 16)) << 2 | vga_spread_bits((u8)(word >> 24)) << 3;
}

// Four pixels from plane 0 (low two bits) and plane 2 (high two), then four from planes 1 and 3.
static u64 vga_cga_pixels(u32 word) {
    u64 pixels = 0;
    for (unsigned i = 0; i < 8; i++) {
        unsigned shift = (i / 4) * 8 + 6 - 2 * (i % 4);
        pixels |= (u64)((word >> shift & 3) | (word >> (shift + 16) & 3) << 2) << i * 8;
    }
    return pixels;
}

// Returns the pixel values of a row that starts at `word`: columns * 8 of them, 4 when PACKED.
static const u8 *vga_fetch(Vga *v, unsigned word) {
    const VgaLayout *l = &v->layout;
    const u32 *vram = (const u32 *)v->vram;
    for (unsigned c = 0; c <= l->columns; c++) {
        u32 planes = vram[(word + c) & l->word_mask];
        if (l->kind == VGA_KIND_PACKED) {
            put_le32(v->fetch + c * 4, planes);
            continue;
        }
        put_le64(v->fetch + c * 8,
                 l->kind == VGA_KIND_CGA ? vga_cga_pixels(planes) : vga_planar_pixels(planes));
    }
    return v->fetch;
}

static void vga_colour_row(Vga *v, const u8 *pixels) {
    u32 *line = v->line;
    unsigned repeat = v->layout.repeat_x;
    for (u32 *end = line + v->layout.width; line < end; pixels++)
        for (unsigned i = 0; i < repeat; i++) *line++ = v->colour[*pixels];
}

static u32 vga_expand_16(u32 p) {
    u32 r = p >> 11 & 31, g = p >> 5 & 63, b = p & 31;
    return (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
}

static u32 vga_expand_15(u32 p) {
    u32 r = p >> 10 & 31, g = p >> 5 & 31, b = p & 31;
    return (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
}

static void vga_direct_row(Vga *v, const u8 *from) {
    const VgaLayout *l = &v->layout;
    u32 *line = v->line;
    for (unsigned x = 0; x < l->width; x++, from += l->bytes_per_pixel) {
        switch (l->bytes_per_pixel) {
        case 1: line[x] = v->colour[*from]; break;
        case 2: line[x] = l->truecolor_15 ? vga_expand_15(get_le16(from))
                                          : vga_expand_16(get_le16(from)); break;
        case 3: line[x] = get_le16(from) | (u32)from[2] << 16; break;
        default: line[x] = get_le32(from) & 0xffffff; break;
        }
    }
}

static bool vga_bytes_dirty(const Vga *v, u32 first, u32 end) {
    for (u32 page = first / PAGE_BYTES; page <= (end - 1) / PAGE_BYTES; page++)
        if (v->dirty[page]) return true;
    return false;
}

static void vga_draw_direct(Vga *v) {
    const VgaLayout *l = &v->layout;
    u32 bytes = l->width * l->bytes_per_pixel;
    for (unsigned y = 0; y < l->height; y++) {
        u32 from = l->start + y * l->pitch;
        if (from + bytes > VGA_VRAM_BYTES) return;
        if (!v->stale && !vga_bytes_dirty(v, from, from + bytes)) continue;
        vga_direct_row(v, v->vram + from);
        vga_put_row(v, y);
    }
}

static bool vga_words_dirty(const Vga *v, u32 word, u32 count) {
    u32 first = word & v->layout.word_mask;
    if (first + count > v->layout.word_mask) return true;        // wraps: no need to be clever
    return vga_bytes_dirty(v, first * 4, (first + count) * 4);
}

// The word a scan line is fetched from: in CGA layout the scan line's low bit is an address bit.
static u32 vga_line_word(const VgaLayout *l, u32 word, unsigned scan) {
    if (!l->cga_shift) return word;
    return (word & ~(1u << l->cga_shift)) | (scan & 1) << l->cga_shift;
}

static void vga_draw_cells(Vga *v) {
    const VgaLayout *l = &v->layout;
    v->fetch = mem_resize(v->fetch, (l->columns + 2) * 8);
    VgaRow row = vga_first_row(l);
    unsigned pan = l->pan;
    while (vga_next_row(l, &row)) {
        if (row.y == l->split_line + 1 && !l->pan_split) pan = 0;
        u32 last = UINT32_MAX;
        for (unsigned y = row.y; y < row.end; y++) {
            u32 word = vga_line_word(l, row.word, row.scan + ((y - row.y) >> l->double_scan));
            if (!v->stale && !vga_words_dirty(v, word, l->columns + 1)) continue;
            if (word != last) vga_colour_row(v, vga_fetch(v, word) + pan);
            last = word;
            vga_put_row(v, y);
        }
    }
}

static void vga_draw_off(Vga *v) {
    memset(v->line, 0, v->pixel_width * sizeof(u32));
    for (unsigned y = 0; y < v->pixel_height; y++) vga_put_row(v, y);
}

// ---- viewers ------------------------------------------------------------------------------------

static void vga_collect_shown(Vga *v) {
    const VgaLayout *l = &v->layout;
    u32 first = 0, end = 0;
    if (l->kind == VGA_KIND_DIRECT) {
        first = l->start;
        end = l->start + l->pitch * l->height;
    } else if (l->kind == VGA_KIND_PLANAR && vga_vbe_on(v)) {
        first = l->start * 4;
        end = (l->start + (l->height + 1) * l->pitch) * 4;
    } else if (l->kind != VGA_KIND_TEXT && l->kind != VGA_KIND_OFF) {
        end = (VGA_PLANE_MASK + 1) * 4;
    }
    vga_collect_dirty(v, first, end);
}

// Brings the adapter's own picture up to date.
static void vga_refresh(Vga *v) {
    v->serial++;
    if (v->stale) {
        vga_layout(v, &v->layout);
        vga_timing(v, &v->timing);
        vga_update_colours(v);
        vga_resize(v);
    }
    vga_collect_shown(v);
    switch (v->layout.kind) {
    case VGA_KIND_OFF: if (v->stale) vga_draw_off(v); break;
    case VGA_KIND_TEXT: vga_draw_text(v); break;
    case VGA_KIND_DIRECT: vga_draw_direct(v); break;
    default: vga_draw_cells(v); break;
    }
    memset(v->dirty, 0, sizeof(v->dirty));
    v->stale = v->font_dirty = false;
}

bool vga_render(Vga *v, VgaFrame *frame) {
    vga_refresh(v);
    unsigned width = v->pixel_width, height = v->pixel_height;
    frame->resized = !frame->pixels || frame->width != width || frame->height != height;
    if (frame->resized) {
        frame->pixels = mem_resize(frame->pixels, (size_t)width * height * sizeof(u32));
        frame->width = width;
        frame->height = height;
        frame->serial = 0;
    }
    frame->first_row = height;
    frame->end_row = 0;
    for (unsigned y = 0; y < height; y++) {
        if (v->row_serial[y] <= frame->serial) continue;
        size_t at = (size_t)y * width;
        memcpy(frame->pixels + at, v->pixels + at, width * sizeof(u32));
        if (frame->first_row > y) frame->first_row = y;
        frame->end_row = y + 1;
    }
    frame->serial = v->serial;
    if (frame->end_row) return true;
    frame->first_row = 0;
    return frame->resized;
}

void vga_frame_free(VgaFrame *frame) {
    free(frame->pixels);
    memset(frame, 0, sizeof(*frame));
}
