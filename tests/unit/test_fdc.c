// SPDX-License-Identifier: MIT
// The floppy controller, programmed as drivers do: reset, sense, specify, recalibrate, seek,
// transfers by DMA and by the data register, every command, every error. Build and run (one line):
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc -Itests/unit
//       tests/unit/test_fdc.c src/dev/{fdc,dma,disk}.c src/base/*.c src/bus/*.c -lcmocka -lpthread
//       -o /tmp/test_fdc && /tmp/test_fdc
#define _GNU_SOURCE
#include "dev/fdc.h"

#include "testbus.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DOR = 0x3f2, MSR = 0x3f4, FIFO = 0x3f5, DIR = 0x3f7 };
enum { BUFFER = 0x10000, MFM = 0x40, MT = 0x80, SK = 0x20 };

typedef struct World {
    TestBus t;
    TestPin pin;
    Dma *dma;
    Fdc *fdc;
    Disk *disk;
    u8 *blob;
    u8 r[10];                  // last result
    unsigned n;                // its bytes
} World;

static void out(World *w, u16 port, u32 v) { bus_out(w->t.bus, port, 1, v); }
static u8 in(World *w, u16 port) { return (u8)bus_in(w->t.bus, port, 1); }
static u8 *ram(World *w) { return bus_ram(w->t.bus) + BUFFER; }

// Sector s of the medium is filled with bytes that say s and where in it.
static u8 pattern(u32 sector, unsigned at) { return (u8)(sector * 3 + (at >> 3) + 1); }

static Disk *new_disk(World *w, u32 sectors) {
    free(w->blob);
    w->blob = mem_new(sectors * 512);
    for (u32 i = 0; i < sectors * 512; i++) w->blob[i] = pattern(i / 512, i % 512);
    return disk_from_memory(w->blob, sectors * 512);
}

static void insert(World *w, u32 sectors) {
    Disk *old = w->disk;
    w->disk = new_disk(w, sectors);
    assert_ptr_equal(fdc_insert(w->fdc, 0, w->disk), old);
    disk_close(old);
}

static void give(World *w, u8 v) {
    assert_int_equal(in(w, MSR) & 0xc0, 0x80);
    out(w, FIFO, v);
}

static void command(World *w, unsigned count, const u8 *bytes) {
    for (unsigned i = 0; i < count; i++) give(w, bytes[i]);
}
#define CMD(...) command(w, sizeof((u8[]){ __VA_ARGS__ }), (u8[]){ __VA_ARGS__ })

static void read_result(World *w) {
    for (w->n = 0; (in(w, MSR) & 0xd0) == 0xd0 && w->n < 10;) w->r[w->n++] = in(w, FIFO);
    assert_int_equal(in(w, MSR) & 0xd0, 0x80);
}

static void sense(World *w, u8 st0, u8 cylinder) {
    CMD(0x08);
    assert_false(w->pin.level);
    read_result(w);
    assert_int_equal(w->n, 2);
    assert_int_equal(w->r[0], st0);
    assert_int_equal(w->r[1], cylinder);
}

static void wait_irq(World *w) { testpin_wait(&w->t, &w->pin, 3000000); }

// Runs a data command to its end. The result is in w->r.
static void finish(World *w) {
    wait_irq(w);
    read_result(w);
    assert_int_equal(w->n, 7);
    assert_false(w->pin.level);
}

static void expect(World *w, u8 st0, u8 st1, u8 st2, u8 c, u8 h, u8 r) {
    const u8 want[7] = { st0, st1, st2, c, h, r, 2 };
    assert_int_equal(w->n, 7);
    for (unsigned i = 0; i < 7; i++)
        if (w->r[i] != want[i])
            fail_msg("result %02x %02x %02x  %u %u %u %u, byte %u wanted %02x", w->r[0], w->r[1],
                     w->r[2], w->r[3], w->r[4], w->r[5], w->r[6], i, want[i]);
}

static void reset_controller(World *w) {
    out(w, DOR, 0x18);
    assert_int_equal(in(w, MSR), 0);
    out(w, DOR, 0x1c);
    wait_irq(w);
    for (u8 d = 0; d < 4; d++) sense(w, 0xc0 | d, 0);
}

static void program_dma(World *w, bool to_memory, u32 bytes) {
    out(w, 0x0a, 6);
    out(w, 0x0c, 0);
    out(w, 0x0b, to_memory ? 0x46 : 0x4a);
    out(w, 4, 0), out(w, 4, 0);
    out(w, 5, (bytes - 1) & 0xff), out(w, 5, (bytes - 1) >> 8);
    out(w, 0x81, BUFFER >> 16);
    out(w, 0x0a, 2);
}

static void recalibrate(World *w) {
    CMD(7, 0);
    wait_irq(w);
    sense(w, 0x20, 0);
}

static void seek(World *w, u8 cylinder) {
    CMD(0x0f, 0, cylinder);
    wait_irq(w);
    sense(w, 0x20, cylinder);
}

static int setup(void **state) {
    World *w = mem_new(sizeof(*w));
    testbus_open(&w->t, 1 << 20);
    w->dma = dma_new(w->t.bus);
    w->fdc = fdc_new(w->t.bus, w->dma, testpin_wire(&w->pin, 0));
    insert(w, 2880);
    device_reset_all(w->t.bus);
    out(w, 0xd6, 0xc0);
    out(w, 0xd4, 0);
    reset_controller(w);
    out(w, DIR, 0);
    CMD(3, 0xdf, 0x02);
    recalibrate(w);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    World *w = *state;
    assert_ptr_equal(fdc_eject(w->fdc, 0), w->disk);
    disk_close(w->disk);
    fdc_free(w->fdc);
    dma_free(w->dma);
    testbus_close(&w->t);
    free(w->blob);
    free(w);
    return 0;
}

static void check_ram(World *w, u32 first_sector, u32 bytes) {
    for (u32 i = 0; i < bytes; i++)
        if (ram(w)[i] != pattern(first_sector + i / 512, i % 512)) fail_msg("byte %u", i);
}

static void test_reset(void **state) {
    World *w = *state;
    out(w, DOR, 0x1c & ~4);
    assert_int_equal(in(w, MSR), 0);
    assert_false(w->pin.level);
    out(w, DOR, 0x14);                                 // without the interrupt gate
    testbus_advance(&w->t, 1000000);
    assert_false(w->pin.level);
    assert_int_equal(in(w, MSR), 0x80);
    out(w, DOR, 0x1c);                                 // the gate opens: the line shows
    assert_true(w->pin.level);
    sense(w, 0xc0, 0);
    CMD(0x0f, 0, 5);                                   // Linux 0.11 senses once and goes on
    wait_irq(w);
    sense(w, 0x20, 5);
    CMD(0x08);
    read_result(w);
    assert_int_equal(w->n, 1);
    assert_int_equal(w->r[0], 0x80);
    out(w, DOR, 0x18), out(w, DOR, 0x1c);
    wait_irq(w);
    sense(w, 0xc0, 5);
    out(w, DIR, 0);
    CMD(MFM | 10, 0);                                  // a transfer ends the polling, too
    finish(w);
    CMD(0x08);
    read_result(w);
    assert_int_equal(w->r[0], 0x80);
    out(w, MSR, 0x80);                                 // by the data rate select register
    assert_int_equal(in(w, MSR), 0);
    wait_irq(w);
    for (u8 d = 0; d < 4; d++) sense(w, 0xc0 | d, d ? 0 : 5);
    device_reset_all(w->t.bus);
    assert_int_equal(in(w, DOR), 0);
    assert_false(w->pin.level);
}

static void test_seeks(void **state) {
    World *w = *state;
    CMD(0x0f, 0x04, 40);
    assert_int_equal(in(w, MSR), 0x81);                // drive 0 is busy, the controller is not
    wait_irq(w);
    sense(w, 0x24, 40);
    CMD(0x04, 0);
    read_result(w);
    assert_int_equal(w->r[0], 0x28);                   // not at track 0
    CMD(0xcf, 0, 7);                                   // relative, inwards
    wait_irq(w);
    sense(w, 0x20, 47);
    CMD(0x8f, 0, 17);                                  // outwards
    wait_irq(w);
    sense(w, 0x20, 30);
    CMD(0x4a, 0);
    finish(w);
    expect(w, 0, 0, 0, 30, 0, w->r[5]);
    recalibrate(w);
    CMD(0x04, 0x04);
    read_result(w);
    assert_int_equal(w->n, 1);
    assert_int_equal(w->r[0], 0x3c);                   // track 0, side 1
    CMD(7, 1);                                         // no such drive: track 0 never comes
    wait_irq(w);
    sense(w, 0x71, 0);
    CMD(0x0f, 0, 3);
    CMD(0x0f, 1, 4);                                   // two at once
    wait_irq(w);
    unsigned rises = w->pin.rises;
    CMD(0x08);
    assert_true(w->pin.level);
    assert_int_equal(w->pin.rises, rises + 1);         // the second one is an edge of its own
    read_result(w);
    assert_int_equal(w->r[0], 0x20);
    sense(w, 0x21, 4);
}

static void test_read(void **state) {
    World *w = *state;
    seek(w, 2);
    program_dma(w, true, 3 * 512);
    CMD(MFM | 6, 4, 2, 1, 5, 2, 18, 0x1b, 0xff);
    assert_int_equal(in(w, MSR), 0x10);
    assert_false(w->pin.level);                        // not before the driver has armed itself
    finish(w);
    expect(w, 4, 0, 0, 2, 1, 8);
    check_ram(w, (2 * 2 + 1) * 18 + 4, 3 * 512);
    assert_int_equal(in(w, 8) & 4, 4);
}

static void test_read_ends(void **state) {
    World *w = *state;
    program_dma(w, true, 512);
    CMD(MFM | 6, 0, 0, 0, 18, 2, 18, 0x1b, 0xff);      // the last of a track
    finish(w);
    expect(w, 0, 0, 0, 1, 0, 1);
    program_dma(w, true, 1024);
    CMD(MFM | MT | 6, 0, 0, 0, 18, 2, 18, 0x1b, 0xff); // goes on on the other side
    finish(w);
    expect(w, 4, 0, 0, 0, 1, 2);
    check_ram(w, 17, 1024);
    program_dma(w, true, 512);
    CMD(MFM | MT | 6, 4, 0, 1, 18, 2, 18, 0x1b, 0xff); // the last of a cylinder
    finish(w);
    expect(w, 4, 0, 0, 1, 0, 1);
    program_dma(w, true, 18 * 1024);
    CMD(MFM | MT | 6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);  // a whole cylinder
    finish(w);
    expect(w, 4, 0, 0, 1, 0, 1);
    check_ram(w, 0, 18 * 1024);
    program_dma(w, true, 1024);
    CMD(MFM | 6, 0, 0, 0, 18, 2, 18, 0x1b, 0xff);      // more wanted than the track has
    finish(w);
    expect(w, 0x40, 0x80, 0, 1, 0, 1);
    program_dma(w, true, 100);
    memset(ram(w), 0, 512);
    CMD(MFM | 6, 0, 0, 0, 7, 2, 18, 0x1b, 0xff);       // less than a sector
    finish(w);
    expect(w, 0, 0, 0, 0, 0, 8);
    check_ram(w, 6, 100);
    assert_int_equal(ram(w)[100], 0);
}

static void test_id_errors(void **state) {
    World *w = *state;
    program_dma(w, true, 512);
    CMD(MFM | 6, 0, 0, 0, 19, 2, 18, 0x1b, 0xff);      // no such sector (how BIOSes find 1.44M)
    finish(w);
    expect(w, 0x40, 0x04, 0, 0, 0, 19);
    CMD(MFM | 6, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);       // head is elsewhere
    finish(w);
    expect(w, 0x40, 0x04, 0x10, 1, 0, 1);
    CMD(MFM | 6, 0, 0, 1, 1, 2, 18, 0x1b, 0xff);       // ID of the other side
    finish(w);
    expect(w, 0x40, 0x04, 0, 0, 1, 1);
    CMD(MFM | 6, 0, 0, 0, 1, 3, 18, 0x1b, 0xff);       // size
    finish(w);
    assert_int_equal(w->r[1], 4);
    CMD(6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);             // single density
    finish(w);
    expect(w, 0x40, 0x01, 0, 0, 0, 1);
    out(w, DIR, 2);                                    // 250 kbit/s
    CMD(MFM | 6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    finish(w);
    expect(w, 0x40, 0x01, 0, 0, 0, 1);
    CMD(MFM | 10, 0);
    finish(w);
    assert_int_equal(w->r[0], 0x40);
    out(w, MSR, 0);                                    // 500 by the other register
    CMD(MFM | 6, 1, 0, 0, 1, 2, 18, 0x1b, 0xff);       // a drive that is not there
    finish(w);
    expect(w, 0x41, 0x01, 0, 0, 0, 1);
    CMD(MFM | 6, 3, 0, 0, 1, 2, 18, 0x1b, 0xff);
    finish(w);
    expect(w, 0x43, 0x01, 0, 0, 0, 1);
    assert_ptr_equal(fdc_eject(w->fdc, 0), w->disk);
    CMD(MFM | 6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    finish(w);
    expect(w, 0x40, 0x01, 0, 0, 0, 1);
    assert_null(fdc_insert(w->fdc, 0, w->disk));
    seek(w, 82);                                       // beyond the last cylinder
    CMD(MFM | 10, 0);
    finish(w);
    assert_int_equal(w->r[1], 1);
}

static void test_write(void **state) {
    World *w = *state;
    u8 sector[512];
    for (unsigned i = 0; i < 1024; i++) ram(w)[i] = (u8)(0xff - i % 251);
    program_dma(w, false, 1024);
    seek(w, 79);
    CMD(MFM | 5, 4, 79, 1, 17, 2, 18, 0x1b, 0xff);
    finish(w);
    expect(w, 4, 0, 0, 80, 1, 1);
    assert_int_equal(disk_read(w->disk, 2879, 1, sector), 0);
    assert_memory_equal(sector, ram(w) + 512, 512);
    program_dma(w, false, 10);                         // the rest of the sector becomes zero
    CMD(MFM | 9, 4, 79, 1, 18, 2, 18, 0x1b, 0xff);
    finish(w);
    assert_int_equal(w->r[0], 4);
    assert_int_equal(disk_read(w->disk, 2879, 1, sector), 0);
    assert_memory_equal(sector, ram(w), 10);
    assert_int_equal(sector[10] | sector[511], 0);
    assert_int_equal(disk_read(w->disk, 2878, 1, sector), 0);
    assert_memory_equal(sector, ram(w), 512);
}

static void test_dma_comes_late(void **state) {
    World *w = *state;
    program_dma(w, true, 512);
    out(w, 0x0a, 6);                                   // masked
    CMD(MFM | 6, 0, 0, 0, 3, 2, 18, 0x1b, 0xff);
    testbus_advance(&w->t, 20000000);
    assert_false(w->pin.level);
    assert_int_equal(in(w, 8) & 0x40, 0x40);           // it asks for service
    out(w, 0x0a, 2);
    finish(w);
    expect(w, 0, 0, 0, 0, 0, 4);
    assert_int_equal(in(w, 8) & 0x40, 0);
    check_ram(w, 2, 512);
    out(w, 0x0a, 6);
    CMD(MFM | 6, 0, 0, 0, 3, 2, 18, 0x1b, 0xff);       // never: overrun
    finish(w);
    expect(w, 0x40, 0x10, 0, 0, 0, 3);
}

static void test_without_dma(void **state) {
    World *w = *state;
    CMD(3, 0xdf, 0x03);
    CMD(MFM | 6, 0, 0, 0, 17, 2, 18, 0x1b, 0xff);
    assert_int_equal(in(w, MSR), 0x30);
    for (unsigned i = 0; i < 1024; i++) {
        unsigned rises = w->pin.rises;
        if (i % 512 == 0) wait_irq(w);
        assert_int_equal(in(w, MSR), 0xf0);
        assert_int_equal(in(w, FIFO), pattern(16 + i / 512, i % 512));
        if (i % 512 != 511) assert_true(w->pin.level && w->pin.rises > rises);
        else assert_false(w->pin.level);
    }
    finish(w);
    expect(w, 0x40, 0x80, 0, 1, 0, 1);                 // no terminal count: runs off the track
    CMD(MFM | 5, 0, 0, 0, 18, 2, 18, 0x1b, 0xff);
    wait_irq(w);
    for (unsigned i = 0; i < 512; i++) {
        assert_int_equal(in(w, MSR), 0xb0);
        out(w, FIFO, (u8)(i ^ 0x5a));
    }
    finish(w);
    expect(w, 0x40, 0x80, 0, 1, 0, 1);
    u8 sector[512];
    assert_int_equal(disk_read(w->disk, 17, 1, sector), 0);
    assert_int_equal(sector[0], 0x5a);
    assert_int_equal(sector[255], 0xa5);
    CMD(MFM | 6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);       // pulled out in the middle
    wait_irq(w);
    for (unsigned i = 0; i < 300; i++) in(w, FIFO);
    fdc_eject(w->fdc, 0);
    for (unsigned i = 300; i < 512; i++) in(w, FIFO);
    finish(w);
    expect(w, 0x40, 0x01, 0, 0, 0, 1);
    fdc_insert(w->fdc, 0, w->disk);
}

static void test_read_track(void **state) {
    World *w = *state;
    program_dma(w, true, 18 * 512);
    CMD(MFM | 2, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    finish(w);
    assert_int_equal(w->r[0] | w->r[1], 0);
    check_ram(w, 0, 18 * 512);
    program_dma(w, true, 4 * 512);
    CMD(MFM | 2, 0, 0, 0, 9, 2, 4, 0x1b, 0xff);        // starts at the index hole all the same
    finish(w);
    assert_int_equal(w->r[0], 0);
    assert_int_equal(w->r[1], 4);                      // but says that IDs differed
    check_ram(w, 0, 4 * 512);
    program_dma(w, true, 4 * 512);
    CMD(MFM | 2, 0, 0, 0, 1, 2, 3, 0x1b, 0xff);
    finish(w);
    assert_int_equal(w->r[0], 0x40);
    assert_int_equal(w->r[1], 0x80);
}

static void test_deleted(void **state) {
    World *w = *state;
    program_dma(w, true, 1024);
    CMD(MFM | 12, 0, 0, 0, 3, 2, 18, 0x1b, 0xff);      // a normal sector: reads it and stops
    finish(w);
    expect(w, 0x40, 0, 0x40, 0, 0, 3);
    check_ram(w, 2, 512);
    CMD(MFM | SK | 12, 0, 0, 0, 3, 2, 18, 0x1b, 0xff); // skips all
    finish(w);
    expect(w, 0x40, 0x80, 0x40, 1, 0, 1);
}

static void test_verify(void **state) {
    World *w = *state;
    CMD(MFM | 22, 0, 0, 0, 1, 2, 18, 0x1b, 0);
    finish(w);
    expect(w, 0, 0, 0, 1, 0, 1);
    CMD(MFM | 22, 0x80, 0, 0, 4, 2, 18, 0x1b, 3);
    finish(w);
    expect(w, 0, 0, 0, 0, 0, 7);
    CMD(MFM | 22, 0x80, 0, 0, 17, 2, 18, 0x1b, 3);
    finish(w);
    assert_int_equal(w->r[0], 0x40);
    CMD(MFM | 22, 0, 0, 0, 1, 2, 30, 0x1b, 0);         // past the end
    finish(w);
    expect(w, 0x40, 0x04, 0, 0, 0, 19);
}

static void scan(World *w, u8 op, u32 sector, int delta, u8 step, u32 bytes) {
    for (unsigned i = 0; i < bytes; i++) ram(w)[i] = pattern(sector, i % 512);
    for (unsigned at = 300; at < bytes; at += 512) ram(w)[at] = (u8)(ram(w)[at] + delta);
    ram(w)[3] = 0xff;                                  // fits anything
    program_dma(w, false, bytes);
    CMD(MFM | op, 0, 0, 0, 3, 2, 9, 0x1b, step);
    finish(w);
}

static void test_scan(void **state) {
    World *w = *state;
    scan(w, 0x11, 2, 0, 1, 512);
    expect(w, 0, 0, 0x08, 0, 0, 3);
    scan(w, 0x11, 4, 0, 2, 7 * 512);                   // found in the second that is looked at
    expect(w, 0, 0, 0x08, 0, 0, 5);
    scan(w, 0x11, 3, 0, 2, 7 * 512);                   // sector 4 is stepped over
    expect(w, 0, 0, 0x04, 1, 0, 1);
    scan(w, 0x11, 2, 1, 1, 512);                       // terminal count without a hit
    expect(w, 0, 0, 0x04, 0, 0, 4);
    scan(w, 0x19, 2, 1, 1, 512);                       // the disk's is lower
    expect(w, 0, 0, 0, 0, 0, 3);
    scan(w, 0x19, 2, -1, 1, 512);
    expect(w, 0, 0, 0x04, 0, 0, 4);
    scan(w, 0x1d, 2, -1, 1, 512);                      // higher
    expect(w, 0, 0, 0, 0, 0, 3);
    scan(w, 0x1d, 2, 0, 1, 512);
    expect(w, 0, 0, 0x08, 0, 0, 3);
}

static void test_format(void **state) {
    World *w = *state;
    seek(w, 1);
    for (unsigned i = 0; i < 18; i++) memcpy(ram(w) + 4 * i, (u8[]){ 1, 1, (u8)(i + 1), 2 }, 4);
    program_dma(w, false, 72);
    CMD(MFM | 13, 4, 2, 18, 0x6c, 0xf6);
    finish(w);
    assert_int_equal(w->r[0], 4);
    assert_int_equal(w->r[1] | w->r[2], 0);
    u8 sector[512];
    for (u32 s = 52; s <= 73; s++) {
        assert_int_equal(disk_read(w->disk, s, 1, sector), 0);
        bool formatted = s >= 54 && s < 72;
        assert_int_equal(sector[0], formatted ? 0xf6 : pattern(s, 0));
        assert_int_equal(sector[511], formatted ? 0xf6 : pattern(s, 511));
    }
    ram(w)[4] = 9;                                     // an ID that the image cannot hold
    program_dma(w, false, 72);
    CMD(MFM | 13, 4, 2, 18, 0x6c, 0xf6);
    finish(w);
    assert_int_equal(w->r[0], 0x44);
    CMD(MFM | 13, 4, 2, 19, 0x6c, 0xf6);               // too many sectors
    finish(w);
    assert_int_equal(w->r[0], 0x44);
    assert_int_equal(w->r[1], 1);
    CMD(3, 0xdf, 0x03);                                // by the data register
    CMD(MFM | 13, 0, 2, 1, 0x6c, 0x11);
    wait_irq(w);
    for (unsigned i = 0; i < 4; i++) out(w, FIFO, (u8[]){ 1, 0, 5, 2 }[i]);
    finish(w);
    assert_int_equal(w->r[0], 0);
    assert_int_equal(disk_read(w->disk, 40, 1, sector), 0);
    assert_int_equal(sector[77], 0x11);
}

static void test_write_protected(void **state) {
    World *w = *state;
    char path[] = "/tmp/glassbox-fdc-XXXXXX", *message;
    int fd = mkstemp(path);
    assert_int_equal(ftruncate(fd, 1474560), 0);
    Disk *d = disk_open(path, DISK_FLOPPY | DISK_READONLY, &message);
    assert_non_null(d);
    fdc_insert(w->fdc, 0, d);
    CMD(4, 0);
    read_result(w);
    assert_int_equal(w->r[0], 0x78);
    program_dma(w, false, 512);
    CMD(MFM | 5, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    finish(w);
    expect(w, 0x40, 0x02, 0, 0, 0, 1);
    CMD(MFM | 13, 0, 2, 18, 0x6c, 0xf6);
    finish(w);
    assert_int_equal(w->r[1], 2);
    program_dma(w, true, 512);
    CMD(MFM | 6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    finish(w);
    expect(w, 0, 0, 0, 0, 0, 2);
    fdc_insert(w->fdc, 0, w->disk);
    disk_close(d);
    close(fd);
    unlink(path);
}

// The host runs out of space, and the image shrinks under us: data errors, and life goes on.
static void test_host_errors(void **state) {
    World *w = *state;
    char path[] = "/tmp/glassbox-fdc-XXXXXX", *message;
    int fd = mkstemp(path);
    assert_int_equal(ftruncate(fd, 10 * 512), 0);
    Disk *d = disk_open(path, DISK_FLOPPY, &message);
    fdc_insert(w->fdc, 0, d);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit small = { 10 * 512, RLIM_INFINITY }, old;
    getrlimit(RLIMIT_FSIZE, &old);
    setrlimit(RLIMIT_FSIZE, &small);
    program_dma(w, false, 1024);
    CMD(MFM | 5, 0, 0, 0, 10, 2, 18, 0x1b, 0xff);
    finish(w);
    setrlimit(RLIMIT_FSIZE, &old);
    expect(w, 0x40, 0x20, 0x20, 0, 0, 11);             // sector 10 was written, 11 was not
    assert_int_equal(ftruncate(fd, 0), 0);
    program_dma(w, true, 512);
    CMD(MFM | 6, 0, 0, 0, 2, 2, 18, 0x1b, 0xff);
    finish(w);
    expect(w, 0x40, 0x20, 0x20, 0, 0, 2);
    CMD(MFM | 6, 0, 0, 0, 18, 2, 18, 0x1b, 0xff);      // never was in the image: zeros
    finish(w);
    expect(w, 0, 0, 0, 1, 0, 1);
    fdc_insert(w->fdc, 0, w->disk);
    disk_close(d);
    close(fd);
    unlink(path);
}

static void test_disk_change(void **state) {
    World *w = *state;
    assert_int_equal(in(w, DIR), 0x80);                // since power-on; a step clears it
    recalibrate(w);
    assert_int_equal(in(w, DIR), 0x80);                // there was none: it is at 0
    seek(w, 1);
    assert_int_equal(in(w, DIR), 0);
    insert(w, 2880);
    assert_int_equal(in(w, DIR), 0x80);
    seek(w, 0);
    assert_int_equal(in(w, DIR), 0);
    fdc_eject(w->fdc, 0);
    seek(w, 1);
    assert_int_equal(in(w, DIR), 0x80);                // no medium: steps do not help
    out(w, DOR, 0x1d);
    assert_int_equal(in(w, DIR), 0);                   // no drive
    out(w, DOR, 0x1c);
    fdc_insert(w->fdc, 0, w->disk);
    device_reset_all(w->t.bus);
    assert_int_equal(in(w, DIR), 0x80);                // a reset does not hide it
}

static void test_media(void **state) {
    static const struct { u16 sectors; u8 rate, cmos, tracks, heads, per_track; } row[] = {
        { 320, 2, 1, 40, 1, 8 },   { 360, 2, 1, 40, 1, 9 },   { 640, 1, 1, 40, 2, 8 },
        { 720, 1, 1, 40, 2, 9 },   { 1440, 2, 3, 80, 2, 9 },  { 2400, 0, 2, 80, 2, 15 },
        { 2880, 0, 4, 80, 2, 18 }, { 3360, 0, 4, 80, 2, 21 }, { 3444, 0, 4, 82, 2, 21 },
        { 5760, 3, 5, 80, 2, 36 },
    };
    World *w = *state;
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        Fdc *old = w->fdc;
        Disk *d = new_disk(w, row[i].sectors);
        u8 last = row[i].tracks - 1, head = row[i].heads - 1, spt = row[i].per_track;
        fdc_insert(old, 1, d);                         // the second drive becomes the right one
        if (!i) assert_int_equal(fdc_cmos_type(old, 1), 1);
        fdc_insert(old, 0, d);
        out(w, DIR, row[i].rate);
        seek(w, fdc_cmos_type(old, 0) == 2 && last == 39 ? 78 : last);
        program_dma(w, true, 512);
        CMD(MFM | 6, (u8)(head << 2), last, head, spt, 2, spt, 0x1b, 0xff);
        finish(w);
        expect(w, (u8)(head << 2), 0, 0, last + 1, head, 1);
        check_ram(w, row[i].sectors - 1u, 512);
        CMD(MFM | 6, (u8)(head << 2), last, head, spt + 1, 2, spt + 1, 0x1b, 0xff);
        finish(w);
        assert_int_equal(w->r[1], 4);
        fdc_eject(old, 1);
        fdc_insert(old, 0, w->disk);
        disk_close(d);
    }
    Disk *high = new_disk(w, 2400), *low = disk_from_memory(w->blob, 720 * 512);
    fdc_insert(w->fdc, 0, high);                       // a 1.2M drive
    fdc_insert(w->fdc, 0, low);                        // with a 360K medium: two steps per cylinder
    assert_int_equal(fdc_cmos_type(w->fdc, 0), 2);
    out(w, DIR, 1);
    seek(w, 20);
    program_dma(w, true, 512);
    CMD(MFM | 6, 0, 10, 0, 1, 2, 9, 0x1b, 0xff);
    finish(w);
    expect(w, 0, 0, 0, 10, 0, 2);
    check_ram(w, 10 * 18, 512);
    fdc_insert(w->fdc, 0, w->disk);
    disk_close(high);
    disk_close(low);
}

// What a new machine's BIOS is told.
static void test_cmos_types(void **state) {
    World *w = *state;
    static const u16 sizes[][2] = {
        { 720, 1 }, { 1440, 3 }, { 2400, 2 }, { 2880, 4 }, { 5760, 5 },
    };
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        TestBus t;
        testbus_open(&t, 1 << 20);
        Dma *dma = dma_new(t.bus);
        Fdc *fdc = fdc_new(t.bus, dma, (Wire){ 0 });
        assert_int_equal(fdc_cmos_type(fdc, 0), 4);
        assert_int_equal(fdc_cmos_type(fdc, 1), 0);
        Disk *d = new_disk(w, sizes[i][0]);
        fdc_insert(fdc, 0, d);
        assert_int_equal(fdc_cmos_type(fdc, 0), sizes[i][1]);
        assert_ptr_equal(fdc_disk(fdc, 0), d);
        fdc_free(fdc);
        dma_free(dma);
        disk_close(d);
        testbus_close(&t);
    }
    assert_int_equal(fdc_cmos_type(w->fdc, 0), 4);
    Disk *d = new_disk(w, 1440);                       // a 1.44M drive takes it and stays one
    assert_ptr_equal(fdc_insert(w->fdc, 0, d), w->disk);
    assert_int_equal(fdc_cmos_type(w->fdc, 0), 4);
    fdc_insert(w->fdc, 0, w->disk);
    disk_close(d);
}

static void test_configuration(void **state) {
    World *w = *state;
    CMD(0x10);
    read_result(w);
    assert_int_equal(w->n, 1);
    assert_int_equal(w->r[0], 0x90);
    CMD(0x18);                                         // PART ID: not an 82078
    read_result(w);
    assert_int_equal(w->n, 1);
    assert_int_equal(w->r[0], 0x80);
    CMD(0x13, 0, 0x57, 0x22);
    CMD(0x12, 0x86);
    CMD(0x94);                                         // lock
    read_result(w);
    assert_int_equal(w->r[0], 0x10);
    CMD(0x0e);
    read_result(w);
    assert_int_equal(w->n, 10);
    assert_int_equal(w->r[4], 0xdf);
    assert_int_equal(w->r[5], 0x02);
    assert_int_equal(w->r[7], 0x86);
    assert_int_equal(w->r[8], 0x57);
    assert_int_equal(w->r[9], 0x22);
    reset_controller(w);
    CMD(0x0e);
    read_result(w);
    assert_int_equal(w->r[7], 0x84);
    assert_int_equal(w->r[8], 0x07);                   // locked: FIFO threshold stays
    assert_int_equal(w->r[9], 0x22);
    CMD(0x14);
    read_result(w);
    assert_int_equal(w->r[0], 0);
    reset_controller(w);
    CMD(0x0e);
    read_result(w);
    assert_int_equal(w->r[8], 0x20);
    assert_int_equal(w->r[9], 0);
    CMD(0x13, 0, 0x60, 0);                             // implied seek
    program_dma(w, true, 512);
    CMD(MFM | 6, 0, 50, 0, 1, 2, 18, 0x1b, 0xff);
    finish(w);
    expect(w, 0, 0, 0, 50, 0, 2);
    check_ram(w, 1800, 512);
    CMD(0xff);
    read_result(w);
    assert_int_equal(w->r[0], 0x80);
}

// A snapshot in the middle of a sector that is read without DMA.
static void test_snapshot(void **state) {
    World *w = *state, *v;
    CMD(3, 0xdf, 0x03);
    CMD(MFM | 6, 0, 0, 0, 2, 2, 18, 0x1b, 0xff);
    wait_irq(w);
    for (unsigned i = 0; i < 100; i++) in(w, FIFO);
    setup((void **)&v);
    v->t.now_ns = w->t.now_ns;
    testbus_copy_devices(v->t.bus, w->t.bus);
    assert_true(device_hash(w->t.bus) == device_hash(v->t.bus));
    assert_true(v->pin.level);
    for (unsigned i = 100; i < 512; i++) assert_int_equal(in(v, FIFO), pattern(1, i));
    wait_irq(v);
    assert_int_equal(in(v, FIFO), pattern(2, 0));
    teardown((void **)&v);
}

static void test_random(void **state) {
    World *w = *state;
    u64 seed = 88172645463325252ull;
    for (unsigned i = 0; i < 300000; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        u32 r = (u32)(seed >> 16);
        static const u8 ops[] = { 0x46, 0x45, 0x66, 0xc6, 0x4c, 0x49, 0x42, 0x56, 0x51, 0x59, 0x5d,
                                  0x4d, 0x4a, 0x07, 0x08, 0x0f, 0x8f, 0xcf, 0x13, 0x03, 0x0e };
        u8 value = (u8)(r >> 3 & 3 ? r >> 24 & 3 : r >> 16);
        if (r & 1) value = ops[(r >> 16) % sizeof(ops)];
        switch (r % 16) {
        case 0: out(w, 0x3f0 + (r >> 8 & 7), r & 0x1000 ? 0x1c : value); break;
        case 1: in(w, 0x3f0 + (r >> 8 & 7)); break;
        case 2: testbus_advance(&w->t, r >> 8 & 0xfffff); break;
        case 3: program_dma(w, r & 0x100, 1 + (r >> 12 & 0xfff)); break;
        case 4: if (r >> 8 & 15) break;
            if (fdc_disk(w->fdc, 0)) fdc_eject(w->fdc, 0);
            else fdc_insert(w->fdc, 0, w->disk);
            break;
        case 5: case 6: case 7: case 8: in(w, FIFO); break;
        default: out(w, FIFO, value); break;
        }
    }
    if (!fdc_disk(w->fdc, 0)) fdc_insert(w->fdc, 0, w->disk);
    out(w, DOR, 0);
    out(w, DOR, 0x1c);
    wait_irq(w);                                       // still alive
    for (unsigned d = 0; d < 4; d++) {
        CMD(8);
        read_result(w);
        assert_int_equal(w->r[0], 0xc0 | d);
    }
    out(w, DIR, 0);
    CMD(3, 0xdf, 0x02);
    CMD(7, 0);                                         // 79 steps may not be enough
    wait_irq(w);
    CMD(8);
    read_result(w);
    recalibrate(w);
    program_dma(w, true, 512);
    CMD(MFM | 6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    finish(w);
    assert_int_equal(w->r[0], 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_reset), T(test_seeks), T(test_read), T(test_read_ends), T(test_id_errors),
        T(test_write), T(test_dma_comes_late), T(test_without_dma), T(test_read_track),
        T(test_deleted), T(test_verify), T(test_scan), T(test_format), T(test_write_protected),
        T(test_host_errors), T(test_disk_change), T(test_media), T(test_cmos_types),
        T(test_configuration), T(test_snapshot), T(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
