// SPDX-License-Identifier: MIT
// The VGA, programmed through its ports and memory as a guest does. Run: make test T=unit/test_vga
#include "testbus.h"

#include "dev/vga.h"

#include <stdio.h>
#include <string.h>

#define MS 1000000u
#define LFB 0xe0000000u

typedef struct Fix {
    TestBus t;
    Vga *vga;
    VgaFrame frame;
    VgaText text;
} Fix;

// A mode as the BIOS sets it: misc, sequencer 1-4, CRTC 0-18, graphics 0-8, attribute 10-14.
typedef struct Mode { u8 misc, seq[4], crtc[25], gfx[9], attr[5]; } Mode;

#define CRTC_640 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80
static const Mode mode_text = {
    0x67, { 0x00, 0x03, 0x00, 0x02 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0,
      0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff },
    { 0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff }, { 0x0c, 0, 15, 8, 0 },
};
static const Mode mode_12 = {
    0xe3, { 0x01, 0x0f, 0x00, 0x06 },
    { CRTC_640, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0,
      0xea, 0x8c, 0xdf, 0x28, 0, 0xe7, 0x04, 0xe3, 0xff },
    { 0, 0, 0, 0, 0, 0, 5, 15, 0xff }, { 1, 0, 15, 0, 0 },
};
static const Mode mode_13 = {
    0x63, { 0x01, 0x0f, 0x00, 0x0e },
    { CRTC_640, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0,
      0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff },
    { 0, 0, 0, 0, 0, 0x40, 5, 15, 0xff }, { 0x41, 0, 15, 0, 0 },
};
static const Mode mode_4 = {
    0x63, { 0x09, 0x03, 0x00, 0x02 },
    { 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0,
      0x9c, 0x8e, 0x8f, 0x14, 0, 0x96, 0xb9, 0xa2, 0xff },
    { 0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff }, { 1, 0, 3, 0, 0 },
};
static const Mode mode_6 = {
    0x63, { 0x01, 0x01, 0x00, 0x06 },
    { CRTC_640, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0,
      0x9c, 0x8e, 0x8f, 0x28, 0, 0x96, 0xb9, 0xc2, 0xff },
    { 0, 0, 0, 0, 0, 0, 0x0d, 0, 0xff }, { 1, 0, 1, 0, 0 },
};

static void out(Fix *f, u16 port, u8 v) { bus_out(f->t.bus, port, 1, v); }
static u8 in(Fix *f, u16 port) { return (u8)bus_in(f->t.bus, port, 1); }
static void put(Fix *f, u16 port, u8 index, u8 v) { bus_out(f->t.bus, port, 2, index | v << 8); }
static u8 get(Fix *f, u16 port, u8 index) { out(f, port, index); return in(f, port + 1); }
static void poke(Fix *f, u32 at, u8 v) { bus_write(f->t.bus, phy(at), 1, v); }
static u8 peek(Fix *f, u32 at) { return (u8)bus_read(f->t.bus, phy(at), 1); }

static void vbe(Fix *f, u16 index, u16 v) {
    bus_out(f->t.bus, 0x1ce, 2, index);
    bus_out(f->t.bus, 0x1cf, 2, v);
}

static u16 vbe_get(Fix *f, u16 index) {
    bus_out(f->t.bus, 0x1ce, 2, index);
    return (u16)bus_in(f->t.bus, 0x1cf, 2);
}

static void attr(Fix *f, u8 index, u8 v) {
    in(f, 0x3da);
    out(f, 0x3c0, index);
    out(f, 0x3c0, v);
    out(f, 0x3c0, 0x20);
}

static void dac(Fix *f, u8 index, u8 r, u8 g, u8 b) {
    out(f, 0x3c8, index);
    out(f, 0x3c9, r);
    out(f, 0x3c9, g);
    out(f, 0x3c9, b);
}

// DAC entry n becomes colour 0x00nn04 (nn: 6 bits, in green's upper place), so pixels name entries.
static u32 shade(unsigned n) { return (n << 2 | n >> 4) << 8; }

static void set_mode(Fix *f, const Mode *m) {
    vbe(f, 4, 0);
    out(f, 0x3c2, m->misc);
    for (unsigned i = 0; i < 4; i++) put(f, 0x3c4, (u8)(i + 1), m->seq[i]);
    put(f, 0x3d4, 0x11, 0);
    for (unsigned i = 0; i < 25; i++) put(f, 0x3d4, (u8)i, m->crtc[i]);
    for (unsigned i = 0; i < 9; i++) put(f, 0x3ce, (u8)i, m->gfx[i]);
    for (unsigned i = 0; i < 16; i++) attr(f, (u8)i, (u8)i);
    for (unsigned i = 0; i < 5; i++) attr(f, (u8)(0x10 + i), m->attr[i]);
    for (unsigned i = 0; i < 64; i++) dac(f, (u8)i, 0, (u8)i, 0);
}

// Loads a glyph whose 16 lines all are `bits` into font block 0, then returns to text access.
static void load_glyph(Fix *f, u8 character, u8 bits) {
    put(f, 0x3c4, 2, 4);
    put(f, 0x3c4, 4, 6);
    put(f, 0x3ce, 5, 0);
    put(f, 0x3ce, 6, 4);
    for (u32 i = 0; i < 16; i++) poke(f, 0xa0000 + character * 32u + i, bits);
    put(f, 0x3c4, 2, 3);
    put(f, 0x3c4, 4, 2);
    put(f, 0x3ce, 5, 0x10);
    put(f, 0x3ce, 6, 0x0e);
}

static bool render(Fix *f) { return vga_render(f->vga, &f->frame); }
static u32 pixel(Fix *f, unsigned x, unsigned y) { return f->frame.pixels[y * f->frame.width + x]; }

static void assert_size(Fix *f, unsigned width, unsigned height) {
    assert_int_equal(f->frame.width, width);
    assert_int_equal(f->frame.height, height);
}

static int setup(void **state) {
    Fix *f = calloc(1, sizeof(*f));
    testbus_open(&f->t, 2 << 20);
    f->vga = vga_new(f->t.bus);
    device_reset_all(f->t.bus);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fix *f = *state;
    vga_frame_free(&f->frame);
    vga_text_free(&f->text);
    vga_free(f->vga);
    testbus_close(&f->t);
    free(f);
    return 0;
}

// ---- registers ----------------------------------------------------------------------------------

static void test_register_files(void **state) {
    Fix *f = *state;
    out(f, 0x3c2, 0x67);
    put(f, 0x3c4, 2, 0xff);
    assert_int_equal(get(f, 0x3c4, 2), 0x0f);
    put(f, 0x3ce, 8, 0xa5);
    assert_int_equal(get(f, 0x3ce, 8), 0xa5);
    put(f, 0x3d4, 0x0f, 0x77);
    assert_int_equal(get(f, 0x3d4, 0x0f), 0x77);
    assert_int_equal(in(f, 0x3cc), 0x67);
    attr(f, 3, 0x15);
    in(f, 0x3da);
    out(f, 0x3c0, 3);
    assert_int_equal(in(f, 0x3c1), 0x15);
}

static void test_crtc_follows_misc_and_protection(void **state) {
    Fix *f = *state;
    out(f, 0x3c2, 0x67);
    put(f, 0x3d4, 0, 0x5f);
    assert_int_equal(in(f, 0x3b4), 0xff);
    out(f, 0x3c2, 0x66);
    assert_int_equal(get(f, 0x3b4, 0), 0x5f);
    assert_int_equal(in(f, 0x3d5), 0xff);
    put(f, 0x3b4, 0x11, 0x80);
    put(f, 0x3b4, 0, 0x11);
    put(f, 0x3b4, 7, 0xff);
    assert_int_equal(get(f, 0x3b4, 0), 0x5f);
    assert_int_equal(get(f, 0x3b4, 7), 0x10);
}

static void test_attribute_flip_flop(void **state) {
    Fix *f = *state;
    out(f, 0x3c2, 0x67);
    in(f, 0x3da);
    out(f, 0x3c0, 0x05);
    assert_int_equal(get(f, 0x3d4, 0x24), 0x80);
    in(f, 0x3da);                                  // back to the index
    out(f, 0x3c0, 0x06);
    out(f, 0x3c0, 0x2a);
    out(f, 0x3c0, 0x06);
    assert_int_equal(in(f, 0x3c1), 0x2a);
}

static void test_dac(void **state) {
    Fix *f = *state;
    dac(f, 10, 1, 2, 3);
    dac(f, 11, 4, 5, 6);
    assert_int_equal(in(f, 0x3c7), 0);
    out(f, 0x3c7, 10);
    assert_int_equal(in(f, 0x3c7), 3);
    for (u8 i = 1; i <= 6; i++) assert_int_equal(in(f, 0x3c9), i);
    out(f, 0x3c8, 10);                             // two components are not a colour
    out(f, 0x3c9, 60);
    out(f, 0x3c9, 60);
    out(f, 0x3c7, 10);
    assert_int_equal(in(f, 0x3c9), 1);
    assert_int_equal(in(f, 0x3c6), 0xff);
}

// 449 lines of 31.8 us: 70 Hz, retrace for two lines after line 412, blanking outside 400 lines.
static void test_retrace(void **state) {
    Fix *f = *state;
    set_mode(f, &mode_text);
    put(f, 0x3c4, 1, 0);
    unsigned retraces = 0, samples = 0, shown = 0;
    bool before = in(f, 0x3da) & 8;
    u64 first_ns = 0, last_ns = 0;
    for (; samples < 100000; samples++) {
        testbus_advance(&f->t, 5000);
        u8 status = in(f, 0x3da);
        if (!(status & 1)) shown++;
        if (status & 8) assert_true(status & 1);
        if ((status & 8) && !before) {
            if (!retraces++) first_ns = f->t.now_ns;
            last_ns = f->t.now_ns;
        }
        before = status & 8;
    }
    u64 frame_ns = (last_ns - first_ns) / (retraces - 1);
    assert_in_range(frame_ns, 14200000, 14300000);
    assert_in_range(shown * 100 / samples, 68, 74);    // 400/449 of the lines, 80/100 of each
}

// ---- text ---------------------------------------------------------------------------------------

static void test_text_cells(void **state) {
    Fix *f = *state;
    set_mode(f, &mode_text);
    bus_write(f->t.bus, phy(0xb8000), 2, 0x1e41);
    bus_write(f->t.bus, phy(0xb8000 + 2 * (24 * 80 + 79)), 2, 0x4f5a);
    put(f, 0x3d4, 0x0e, 81 >> 8);
    put(f, 0x3d4, 0x0f, 81);
    assert_true(vga_text(f->vga, &f->text));
    assert_int_equal(f->text.columns, 80);
    assert_int_equal(f->text.rows, 25);
    assert_int_equal(f->text.cells[0].character, 0x41);
    assert_int_equal(f->text.cells[0].attribute, 0x1e);
    assert_int_equal(f->text.cells[1999].character, 0x5a);
    assert_int_equal(f->text.cells[1999].attribute, 0x4f);
    assert_true(f->text.cursor_visible);
    assert_int_equal(f->text.cursor_column, 1);
    assert_int_equal(f->text.cursor_row, 1);
    assert_int_equal(peek(f, 0xb8000), 0x41);
    assert_int_equal(peek(f, 0xb8001), 0x1e);
    assert_int_equal(peek(f, 0xa0000), 0xff);      // not decoded in this mode
    put(f, 0x3d4, 0x0a, 0x2d);
    put(f, 0x3d4, 0x0d, 80);                       // start one row further down
    assert_true(vga_text(f->vga, &f->text));
    assert_false(f->text.cursor_visible);
    assert_int_equal(f->text.cells[23 * 80 + 79].character, 0x5a);
}

static void test_text_glyphs(void **state) {
    Fix *f = *state;
    set_mode(f, &mode_text);
    put(f, 0x3d4, 0x0a, 0x20);
    load_glyph(f, 'A', 0x81);
    load_glyph(f, 0xc4, 0x81);
    bus_write(f->t.bus, phy(0xb8000), 2, 0x1e41);
    bus_write(f->t.bus, phy(0xb8002), 2, 0x1ec4);
    assert_true(render(f));
    assert_size(f, 720, 400);
    static const char expected[] = "X......X.X......XX";
    for (unsigned y = 0; y < 16; y += 15)
        for (unsigned x = 0; x < 18; x++)
            assert_int_equal(pixel(f, x, y), shade(expected[x] == 'X' ? 14 : 1));
    assert_int_equal(pixel(f, 0, 16), 0);
    assert_false(render(f));
    bus_write(f->t.bus, phy(0xb8000 + 160 * 3), 2, 0x1e41);
    assert_true(render(f));
    assert_int_equal(f->frame.first_row, 48);
    assert_int_equal(f->frame.end_row, 64);
    load_glyph(f, 'A', 0xff);                      // a new font shows at once
    assert_true(render(f));
    assert_int_equal(pixel(f, 3, 0), shade(14));
    put(f, 0x3c4, 1, 1);                           // 8 dots
    assert_true(render(f));
    assert_true(f->frame.resized);
    assert_size(f, 640, 400);
}

static void test_text_blinking(void **state) {
    Fix *f = *state;
    set_mode(f, &mode_text);
    load_glyph(f, 'A', 0xff);
    bus_write(f->t.bus, phy(0xb8002), 2, 0x9f41);
    unsigned cursor_on = 0, cursor_off = 0, text_on = 0, text_off = 0;
    for (unsigned i = 0; i < 100; i++) {
        bus_write(f->t.bus, phy(0xb8000), 2, 0x0720);
        render(f);
        assert_int_equal(pixel(f, 0, 12), 0);      // the cursor has lines 13 and 14
        pixel(f, 0, 13) == shade(7) ? cursor_on++ : cursor_off++;
        pixel(f, 9, 0) == shade(15) ? text_on++ : text_off++;
        testbus_advance(&f->t, 15 * MS);
    }
    assert_in_range(cursor_on, 35, 65);
    assert_in_range(text_on, 35, 65);
    assert_int_equal(cursor_on + cursor_off, 100);
    attr(f, 0x10, 4);                              // bright background instead
    render(f);
    assert_int_equal(pixel(f, 17, 0), shade(9));
}

static void test_text_split_and_font_choice(void **state) {
    Fix *f = *state;
    set_mode(f, &mode_text);
    put(f, 0x3d4, 0x0a, 0x20);
    load_glyph(f, 'A', 0xff);
    bus_write(f->t.bus, phy(0xb8000), 2, 0x0741);
    put(f, 0x3d4, 0x0c, 0x10);                     // show offset 0x1000, but 0 from line 321 on
    put(f, 0x3d4, 0x18, 320 & 0xff);
    put(f, 0x3d4, 7, 0x1f);
    put(f, 0x3d4, 9, 0x0f);
    render(f);
    assert_int_equal(pixel(f, 0, 0), 0);
    assert_int_equal(pixel(f, 0, 320), 0);
    assert_int_equal(pixel(f, 0, 321), shade(7));
    assert_int_equal(pixel(f, 0, 336), shade(7));
    assert_int_equal(pixel(f, 0, 337), 0);
    assert_true(vga_text(f->vga, &f->text));
    assert_int_equal(f->text.cells[21 * 80].character, 'A');
    put(f, 0x3c4, 3, 1);                           // block 1 for dull characters: empty
    render(f);
    assert_int_equal(pixel(f, 0, 321), 0);
    bus_write(f->t.bus, phy(0xb8000), 2, 0x0f41);  // bright ones still come from block 0
    render(f);
    assert_int_equal(pixel(f, 0, 321), shade(15));
}

// ---- graphics -----------------------------------------------------------------------------------

static void gfx(Fix *f, u8 index, u8 v) { put(f, 0x3ce, index, v); }
static void mask(Fix *f, u8 planes) { put(f, 0x3c4, 2, planes); }

static u32 planes(Fix *f, u32 at) {
    u32 word = 0;
    gfx(f, 5, 0);
    for (u8 p = 0; p < 4; p++) {
        gfx(f, 4, p);
        word |= (u32)peek(f, at) << p * 8;
    }
    return word;
}

static void test_write_modes(void **state) {
    Fix *f = *state;
    set_mode(f, &mode_12);
    mask(f, 5);
    poke(f, 0xa0000, 0x3c);
    assert_int_equal(planes(f, 0xa0000), 0x003c003c);
    mask(f, 15);
    gfx(f, 3, 2);                                  // rotate right by two
    poke(f, 0xa0001, 0x81);
    assert_int_equal(planes(f, 0xa0001), 0x60606060);
    gfx(f, 3, 0x18);                               // exclusive or with the latch
    peek(f, 0xa0000);
    poke(f, 0xa0002, 0xff);
    assert_int_equal(planes(f, 0xa0002), 0xffc3ffc3);
    gfx(f, 3, 8);                                  // and
    peek(f, 0xa0000);
    poke(f, 0xa0002, 0x0f);
    assert_int_equal(planes(f, 0xa0002), 0x000c000c);
    gfx(f, 3, 0x10);                               // or
    peek(f, 0xa0000);
    poke(f, 0xa0002, 0x01);
    assert_int_equal(planes(f, 0xa0002), 0x013d013d);
    gfx(f, 3, 0);
    gfx(f, 0, 0x2);                                // set/reset: plane 1 ones, plane 2 zeroes
    gfx(f, 1, 0x6);
    poke(f, 0xa0003, 0x55);
    assert_int_equal(planes(f, 0xa0003), 0x5500ff55);
    gfx(f, 1, 0);
    gfx(f, 8, 0xf0);                               // bit mask: the rest comes from the latch
    peek(f, 0xa0000);
    poke(f, 0xa0004, 0xaa);
    assert_int_equal(planes(f, 0xa0004), 0xa0aca0ac);
    gfx(f, 5, 1);                                  // write mode 1: the latch
    peek(f, 0xa0003);
    poke(f, 0xa0005, 0x12);
    assert_int_equal(planes(f, 0xa0005), 0x5500ff55);
    peek(f, 0xa0000);
    gfx(f, 5, 2);                                  // write mode 2: a colour under the bit mask
    poke(f, 0xa0006, 0x0a);
    assert_int_equal(planes(f, 0xa0006), 0xf00cf00c);
    gfx(f, 8, 0x7e);
    gfx(f, 0, 0x9);
    peek(f, 0xa0000);
    gfx(f, 5, 3);                                  // write mode 3: set/reset under data & mask
    poke(f, 0xa0007, 0xf0);
    assert_int_equal(planes(f, 0xa0007), 0x700c007c);
}

static void test_read_mode_1(void **state) {
    Fix *f = *state;
    set_mode(f, &mode_12);
    gfx(f, 5, 2);
    gfx(f, 8, 0xf0);
    poke(f, 0xa0010, 6);
    gfx(f, 8, 0x0f);
    peek(f, 0xa0010);
    poke(f, 0xa0010, 7);                           // pixels 6666 7777
    gfx(f, 5, 8);
    gfx(f, 2, 6);
    gfx(f, 7, 15);
    assert_int_equal(peek(f, 0xa0010), 0xf0);
    gfx(f, 7, 14);                                 // plane 0 does not matter
    assert_int_equal(peek(f, 0xa0010), 0xff);
    gfx(f, 2, 1);
    gfx(f, 7, 1);
    assert_int_equal(peek(f, 0xa0010), 0x0f);
}

static void test_planar_picture(void **state) {
    Fix *f = *state;
    set_mode(f, &mode_12);
    render(f);
    assert_size(f, 640, 480);
    gfx(f, 5, 2);
    gfx(f, 8, 0x40);
    poke(f, 0xa0000 + 100 * 80 + 3, 11);
    assert_true(render(f));
    assert_int_equal(pixel(f, 25, 100), shade(11));
    assert_int_equal(pixel(f, 24, 100), 0);
    assert_int_equal(pixel(f, 26, 100), 0);
    assert_int_equal(f->frame.first_row, 100);
    assert_int_equal(f->frame.end_row, 101);
    assert_false(render(f));
    attr(f, 11, 5);                                // the palette ...
    assert_true(render(f));
    assert_int_equal(pixel(f, 25, 100), shade(5));
    attr(f, 0x12, 7);                              // ... is asked without plane 3
    render(f);
    assert_int_equal(pixel(f, 25, 100), shade(3));
    attr(f, 0x12, 15);
    attr(f, 0x13, 1);                              // panned by a pixel
    render(f);
    assert_int_equal(pixel(f, 24, 100), shade(5));
    attr(f, 0x13, 0);
    put(f, 0x3d4, 0x0d, 80);
    render(f);
    assert_int_equal(pixel(f, 25, 99), shade(5));
    dac(f, 5, 63, 0, 63);
    render(f);
    assert_int_equal(pixel(f, 25, 99), 0xff00ff);
    put(f, 0x3c4, 1, 0x21);                        // screen off
    assert_true(render(f));
    assert_int_equal(pixel(f, 25, 99), 0);
    assert_false(vga_text(f->vga, &f->text));
}

static void test_mode_13(void **state) {
    Fix *f = *state;
    set_mode(f, &mode_13);
    render(f);
    assert_size(f, 640, 400);
    assert_int_equal(bus_page(f->t.bus, 0xa0)->kind, BUS_PAGE_RAM);
    assert_int_equal(bus_page(f->t.bus, 0xb8)->kind, BUS_PAGE_NONE);
    poke(f, 0xa0000 + 50 * 320 + 7, 33);
    assert_true(render(f));
    for (unsigned y = 100; y < 102; y++)
        for (unsigned x = 14; x < 16; x++) assert_int_equal(pixel(f, x, y), shade(33));
    assert_int_equal(pixel(f, 16, 100), 0);
    assert_int_equal(f->frame.first_row, 100);
    assert_int_equal(f->frame.end_row, 102);
    poke(f, 0xa0000 + 50 * 320 + 7, 34);           // the page is watched again
    assert_true(render(f));
    assert_int_equal(pixel(f, 14, 100), shade(34));
    assert_int_equal(peek(f, 0xa0000 + 50 * 320 + 7), 34);
    out(f, 0x3c6, 0x0f);
    render(f);
    assert_int_equal(pixel(f, 14, 100), shade(34 & 15));
    gfx(f, 8, 0x0f);                               // logic in the way: no longer plain memory
    assert_int_equal(bus_page(f->t.bus, 0xa0)->kind, BUS_PAGE_MMIO);
    peek(f, 0xa0000 + 50 * 320 + 7);
    poke(f, 0xa0000 + 50 * 320 + 7, 0xff);
    assert_int_equal(peek(f, 0xa0000 + 50 * 320 + 7), 0x2f);
}

static void test_mode_x(void **state) {
    Fix *f = *state;
    set_mode(f, &mode_13);
    put(f, 0x3c4, 4, 6);                           // unchained
    put(f, 0x3d4, 0x14, 0);
    put(f, 0x3d4, 0x17, 0xe3);
    mask(f, 4);
    poke(f, 0xa0000 + 10 * 80 + 5, 21);            // plane 2: pixel 22 of line 10
    poke(f, 0xa0000 + 0x8000 + 5, 22);
    render(f);
    assert_int_equal(pixel(f, 44, 20), shade(21));
    assert_int_equal(pixel(f, 46, 20), 0);
    put(f, 0x3d4, 0x0c, 0x80);                     // the other page
    render(f);
    assert_int_equal(pixel(f, 44, 0), shade(22));
    assert_int_equal(pixel(f, 44, 20), 0);
}

static void test_cga_modes(void **state) {
    Fix *f = *state;
    set_mode(f, &mode_4);
    poke(f, 0xb8000, 0x1b);                        // pixels 0 1 2 3
    poke(f, 0xba001, 0xe4);                        // line 1, second byte: 3 2 1 0
    render(f);
    assert_size(f, 640, 400);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pixel(f, i * 2 + 1, 1), shade(i));
        assert_int_equal(pixel(f, 8 + i * 2, 2), shade(3 - i));
    }
    set_mode(f, &mode_6);
    poke(f, 0xb8000 + 80, 0x80);                   // line 2
    poke(f, 0xba000 + 79, 0x01);                   // line 1, last pixel
    render(f);
    assert_size(f, 640, 400);
    assert_int_equal(pixel(f, 0, 4), shade(1));
    assert_int_equal(pixel(f, 1, 4), 0);
    assert_int_equal(pixel(f, 639, 2), shade(1));
    assert_int_equal(pixel(f, 639, 4), 0);
}

// ---- VBE ----------------------------------------------------------------------------------------

static void vbe_mode(Fix *f, u16 width, u16 height, u16 bpp, u16 flags) {
    vbe(f, 4, 0);
    vbe(f, 1, width);
    vbe(f, 2, height);
    vbe(f, 3, bpp);
    vbe(f, 4, 1 | flags);
}

static void test_vbe_registers(void **state) {
    Fix *f = *state;
    assert_int_equal(vbe_get(f, 0), 0xb0c5);
    vbe(f, 0, 0xb0c0);
    assert_int_equal(vbe_get(f, 0), 0xb0c0);
    vbe(f, 0, 0x1234);
    assert_int_equal(vbe_get(f, 0), 0xb0c0);
    assert_int_equal(vbe_get(f, 10), 256);
    vbe_mode(f, 1024, 768, 16, 0x40);
    assert_int_equal(vbe_get(f, 6), 1024);
    assert_int_equal(vbe_get(f, 7), (16 << 20) / 2048);
    vbe(f, 6, 2048);
    vbe(f, 8, 1100);                               // no further than the virtual screen reaches
    assert_int_equal(vbe_get(f, 8), 1024);
    vbe(f, 4, 2);
    assert_int_equal(vbe_get(f, 1), 2560);
    assert_int_equal(vbe_get(f, 3), 32);
}

static void test_vbe_direct_colour(void **state) {
    Fix *f = *state;
    out(f, 0x3c2, 0x67);
    vbe_mode(f, 640, 480, 32, 0x40);
    render(f);
    assert_size(f, 640, 480);
    bus_write(f->t.bus, phy(LFB + (100 * 640 + 5) * 4), 4, 0xff123456);
    assert_true(render(f));
    assert_int_equal(pixel(f, 5, 100), 0x123456);
    assert_int_equal(f->frame.first_row, 100);
    assert_int_equal(f->frame.end_row, 101);
    assert_false(render(f));
    vbe(f, 5, 3);                                  // bank 3 shows bytes 0x30000 ...
    bus_write(f->t.bus, phy(0xa0004), 4, 0x00abcdef);
    assert_int_equal(bus_read(f->t.bus, phy(LFB + 0x30004), 4), 0x00abcdef);
    assert_true(render(f));
    assert_int_equal(pixel(f, 0x30004 / 4 % 640, 0x30004 / 4 / 640), 0xabcdef);
    vbe(f, 9, 100);                                // y offset
    render(f);
    assert_int_equal(pixel(f, 5, 0), 0x123456);
    vbe_mode(f, 640, 480, 32, 0xc0);               // not cleared
    render(f);
    assert_int_equal(pixel(f, 5, 100), 0x123456);
    vbe_mode(f, 640, 480, 16, 0x40);
    assert_int_equal(bus_read(f->t.bus, phy(LFB), 4), 0);
    bus_write(f->t.bus, phy(LFB), 2, 0xf81f);
    bus_write(f->t.bus, phy(LFB + 2), 2, 0x07e0);
    render(f);
    assert_int_equal(pixel(f, 0, 0), 0xff00ff);
    assert_int_equal(pixel(f, 1, 0), 0x00ff00);
    vbe_mode(f, 640, 480, 15, 0xc0);
    render(f);
    assert_int_equal(pixel(f, 0, 0), 0xf700ff);
    vbe_mode(f, 640, 480, 24, 0x40);
    bus_write(f->t.bus, phy(LFB + 3), 4, 0x00112233);
    render(f);
    assert_int_equal(pixel(f, 1, 0), 0x112233);
}

static void test_vbe_palette_and_planes(void **state) {
    Fix *f = *state;
    out(f, 0x3c2, 0x67);
    vbe_mode(f, 800, 600, 8, 0x40);
    dac(f, 200, 63, 1, 2);
    poke(f, 0xa0000 + 800 + 1, 200);
    render(f);
    assert_size(f, 800, 600);
    assert_int_equal(pixel(f, 1, 1), 0xff0408);
    vbe_mode(f, 800, 600, 8, 0xe0);                // 8-bit DAC
    dac(f, 200, 0x80, 0x81, 0x82);
    render(f);
    assert_int_equal(pixel(f, 1, 1), 0x808182);
    set_mode(f, &mode_12);
    vbe_mode(f, 1024, 768, 4, 0);
    gfx(f, 5, 2);
    gfx(f, 8, 1);
    vbe(f, 5, 1);                                  // second 64 KiB of each plane
    poke(f, 0xa0000, 9);
    render(f);
    assert_size(f, 1024, 768);
    assert_int_equal(pixel(f, 7, 512), shade(9));
    assert_int_equal(pixel(f, 6, 512), 0);
    vbe(f, 4, 0);
    render(f);
    assert_size(f, 640, 480);
}

static void test_lfb_moves(void **state) {
    Fix *f = *state;
    out(f, 0x3c2, 0x67);
    vbe_mode(f, 640, 480, 32, 0x40);
    render(f);
    vga_map_lfb(f->vga, 0xf1000000);
    assert_int_equal(bus_read(f->t.bus, phy(LFB), 4), 0xffffffff);
    bus_write(f->t.bus, phy(0xf1000000), 4, 0x445566);
    assert_true(render(f));
    assert_int_equal(pixel(f, 0, 0), 0x445566);
    bus_write(f->t.bus, phy(0xf1000004), 4, 0x778899);
    vga_map_lfb(f->vga, 0);                        // what was stored before is still seen
    assert_true(render(f));
    assert_int_equal(pixel(f, 1, 0), 0x778899);
    assert_int_equal(bus_read(f->t.bus, phy(0xf1000000), 4), 0xffffffff);
}

// ---- as a PCI function --------------------------------------------------------------------------

typedef struct PciFix {
    TestBus t;
    PciBus *pci;
    Vga *vga;
    VgaFrame frame;
} PciFix;

static void pci_config(PciFix *f, unsigned reg, unsigned bytes, u32 value) {
    bus_out(f->t.bus, 0xcf8, 4, 0x80001000u | reg);
    bus_out(f->t.bus, 0xcfc, bytes, value);
}

static void pci_open(PciFix *f) {
    memset(f, 0, sizeof(*f));
    testbus_open(&f->t, 2 << 20);
    f->pci = pci_new(f->t.bus);
    f->vga = vga_new_pci(f->t.bus, f->pci, 2);
    device_reset_all(f->t.bus);
}

static void pci_close(PciFix *f) {
    vga_frame_free(&f->frame);
    vga_free(f->vga);
    pci_free(f->pci);
    testbus_close(&f->t);
}

static u32 mm(PciFix *f, u32 offset, unsigned size_bytes) {
    return bus_read(f->t.bus, phy(0xfebf0000 + offset), size_bytes);
}

static void set_mm(PciFix *f, u32 offset, unsigned size_bytes, u32 value) {
    bus_write(f->t.bus, phy(0xfebf0000 + offset), size_bytes, value);
}

// A driver that knows BAR 2 alone sets 640x480 in true colour and draws through BAR 0.
static void test_pci_function(void **state) {
    (void)state;
    PciFix f;
    pci_open(&f);
    Bus *bus = f.t.bus;
    assert_int_equal(bus_page(bus, LFB >> 12)->kind, BUS_PAGE_NONE);
    bus_out(bus, 0xcf8, 4, 0x80001000u);
    assert_int_equal(bus_in(bus, 0xcfc, 4), 0x11111234);
    pci_config(&f, 0x10, 4, 0xffffffff);
    assert_int_equal(bus_in(bus, 0xcfc, 4), 0xff000008);       // 16 MiB, prefetchable
    pci_config(&f, 0x10, 4, 0xfd000000);
    pci_config(&f, 0x18, 4, 0xfebf0000);
    assert_int_equal(bus_page(bus, 0xfd000)->kind, BUS_PAGE_NONE);
    pci_config(&f, 4, 2, 3);
    assert_int_equal(bus_page(bus, 0xfd000)->kind, BUS_PAGE_RAM);
    assert_int_equal(mm(&f, 0x500, 2), 0xb0c5);
    assert_int_equal(mm(&f, 0x514, 2), 16 * 16);
    assert_int_equal(mm(&f, 0x600, 4), 8);
    assert_int_equal(mm(&f, 0x604, 4), 0x1e1e1e1e);
    assert_int_equal(mm(&f, 0x000, 4), 0xffffffff);            // no EDID
    set_mm(&f, 0x402, 1, 0x67);
    assert_int_equal(bus_in(bus, 0x3cc, 1), 0x67);
    set_mm(&f, 0x404, 2, 0x0f02);                              // index and data in one
    assert_int_equal(bus_in(bus, 0x3c5, 1), 0x0f);
    assert_int_equal(mm(&f, 0x40c, 1), 0x67);
    set_mm(&f, 0x502, 4, 480u << 16 | 640);                    // two registers in one
    set_mm(&f, 0x506, 2, 32);
    set_mm(&f, 0x508, 2, 0x41);
    bus_write(bus, phy(0xfd000000 + 4 * (3 * 640 + 5)), 4, 0x123456);
    assert_true(vga_render(f.vga, &f.frame));
    assert_int_equal(f.frame.width, 640);
    assert_int_equal(f.frame.height, 480);
    assert_int_equal(f.frame.pixels[3 * 640 + 5], 0x123456);
    assert_int_equal(mm(&f, 0x504, 2), 480);
    assert_int_equal(mm(&f, 0x504, 1) | mm(&f, 0x505, 1) << 8, 480);
    pci_config(&f, 0x10, 4, 0xf0000000);                       // the frame buffer moves
    assert_int_equal(bus_page(bus, 0xfd000)->kind, BUS_PAGE_NONE);
    bus_write(bus, phy(0xf0000000), 4, 0x654321);
    assert_true(vga_render(f.vga, &f.frame));
    assert_int_equal(f.frame.pixels[0], 0x654321);
    pci_close(&f);
}

static void test_pci_reset_and_snapshot(void **state) {
    (void)state;
    PciFix f;
    char *err = NULL;
    pci_open(&f);
    Bus *bus = f.t.bus;
    pci_config(&f, 0x10, 4, 0xfd000000);
    pci_config(&f, 0x18, 4, 0xfebf0000);
    pci_config(&f, 4, 2, 2);
    FILE *file = tmpfile();
    assert_true(device_save(bus, file, &err));
    device_reset_all(bus);
    assert_int_equal(bus_page(bus, 0xfd000)->kind, BUS_PAGE_NONE);
    assert_int_equal(bus_page(bus, 0xfebf0)->kind, BUS_PAGE_NONE);
    assert_int_equal(bus_page(bus, LFB >> 12)->kind, BUS_PAGE_NONE);
    rewind(file);
    assert_true(device_load(bus, file, &err));
    fclose(file);
    assert_int_equal(bus_page(bus, 0xfd000)->kind, BUS_PAGE_RAM);
    assert_int_equal(mm(&f, 0x500, 2), 0xb0c5);
    u32 seed = 5;
    for (unsigned i = 0; i < 100000; i++) {                    // nonsense, seen by the sanitisers
        seed = seed * 1664525 + 1013904223;
        u32 r = seed >> 8;
        if (r % 64 == 0) pci_config(&f, r >> 6 & 0x1c, 4, seed * 77);
        if (r % 64 == 1) pci_config(&f, 0x18, 4, 0xfebf0000), pci_config(&f, 4, 2, 3);
        else if (r & 1) set_mm(&f, r >> 4 & 0xfff, 1u << r % 3, seed * 31);
        else mm(&f, r >> 4 & 0xfff, 1u << r % 3);
        if (r % 4096 == 2) vga_render(f.vga, &f.frame);
    }
    pci_close(&f);
}

// ---- viewers, snapshots, nonsense ---------------------------------------------------------------

static void test_two_viewers(void **state) {
    Fix *f = *state;
    VgaFrame other = { 0 };
    set_mode(f, &mode_13);
    assert_true(vga_render(f->vga, &other));
    assert_true(render(f));
    poke(f, 0xa0000, 9);
    assert_true(render(f));
    poke(f, 0xa0000 + 320 * 199, 10);
    assert_true(vga_render(f->vga, &other));
    assert_int_equal(other.pixels[0], shade(9));
    assert_int_equal(other.pixels[640 * 399], shade(10));
    assert_true(render(f));
    assert_int_equal(f->frame.first_row, 398);
    vga_frame_free(&other);
}

static void test_snapshot(void **state) {
    Fix *f = *state;
    char *err = NULL;
    FILE *file = tmpfile();
    set_mode(f, &mode_13);
    poke(f, 0xa0000, 9);
    assert_true(device_save(f->t.bus, file, &err));
    set_mode(f, &mode_text);
    render(f);
    rewind(file);
    assert_true(device_load(f->t.bus, file, &err));
    fclose(file);
    assert_int_equal(bus_page(f->t.bus, 0xa0)->kind, BUS_PAGE_RAM);
    assert_true(render(f));
    assert_size(f, 640, 400);
    assert_int_equal(pixel(f, 0, 0), shade(9));
}

static void test_reset(void **state) {
    Fix *f = *state;
    vbe_mode(f, 800, 600, 8, 0x40);
    vga_map_lfb(f->vga, 0xf1000000);
    device_reset_all(f->t.bus);
    assert_int_equal(vbe_get(f, 4), 0);
    assert_int_equal(vbe_get(f, 0), 0xb0c5);
    assert_int_equal(bus_page(f->t.bus, LFB >> 12)->kind, BUS_PAGE_RAM);
    assert_int_equal(bus_page(f->t.bus, 0xf1000)->kind, BUS_PAGE_NONE);
    render(f);
    assert_false(vga_text(f->vga, &f->text));
}

static u32 any(u32 *seed) { return (*seed = *seed * 1664525 + 1013904223) >> 8; }

// Whatever a guest writes, nothing reaches beyond video memory (the sanitisers look on).
static void test_nonsense(void **state) {
    Fix *f = *state;
    static const u16 ports[] = { 0x3c0, 0x3c2, 0x3c4, 0x3ce, 0x3d4, 0x3b4, 0x3c6, 0x3c8, 0x3c9,
                                  0x3da };
    u32 seed = 1;
    for (unsigned round = 0; round < 300; round++) {
        for (unsigned i = 0; i < 40; i++) {
            u16 port = ports[any(&seed) % ARRAY_LEN(ports)];
            u32 value = (any(&seed) % 26) | (any(&seed) & 0xff00);
            if (any(&seed) % 8) bus_out(f->t.bus, port, 2, value);
            else out(f, 0x3c0, 0x20);
            u32 at = 0xa0000 + any(&seed) % 0x1fffc;
            bus_write(f->t.bus, phy(at), 4, any(&seed));
            bus_read(f->t.bus, phy(at), 4);
            bus_in(f->t.bus, port + (any(&seed) & 1), 1);
        }
        if (any(&seed) % 4 == 0) vbe(f, (u16)(any(&seed) % 12), (u16)(any(&seed) % 3000));
        out(f, 0x3c2, 0x67);
        attr(f, 0, 0);
        if (any(&seed) % 4) put(f, 0x3c4, 1, (u8)(any(&seed) & 0x1f));
        testbus_advance(&f->t, 17 * MS);
        render(f);
        vga_text(f->vga, &f->text);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_register_files),
        TEST(test_crtc_follows_misc_and_protection),
        TEST(test_attribute_flip_flop),
        TEST(test_dac),
        TEST(test_retrace),
        TEST(test_text_cells),
        TEST(test_text_glyphs),
        TEST(test_text_blinking),
        TEST(test_text_split_and_font_choice),
        TEST(test_write_modes),
        TEST(test_read_mode_1),
        TEST(test_planar_picture),
        TEST(test_mode_13),
        TEST(test_mode_x),
        TEST(test_cga_modes),
        TEST(test_vbe_registers),
        TEST(test_vbe_direct_colour),
        TEST(test_vbe_palette_and_planes),
        TEST(test_lfb_moves),
        TEST(test_pci_function),
        TEST(test_pci_reset_and_snapshot),
        TEST(test_two_viewers),
        TEST(test_snapshot),
        TEST(test_reset),
        TEST(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
