// SPDX-License-Identifier: MIT
// The ATA channel, programmed as drivers do: detection, all addressing modes, PIO in and out, DMA
// through the bus master, errors of the guest and of the host; CD drives: test_cd.c. Build and run
// (one line):
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc -Itests/unit
//       tests/unit/test_ide.c src/dev/{ide*,cd*,pci,disk}.c src/base/*.c src/bus/*.c -lcmocka
//       -lpthread -o /tmp/test_ide && /tmp/test_ide
#define _GNU_SOURCE
#include "dev/ide.h"

#include "dev/idedma.h"
#include "fuzz.h"
#include "testbus.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DATA = 0x1f0, ERROR = 0x1f1, COUNT = 0x1f2, LOW = 0x1f3, MID = 0x1f4, HIGH = 0x1f5,
       DEVICE = 0x1f6, COMMAND = 0x1f7, STATUS = 0x1f7, CONTROL = 0x3f6 };
enum { SECTORS = 4000 };

typedef struct World {
    TestBus t;
    TestPin pin;
    Ide *ide;
    Disk *disk, *slave;
    u8 *blob;
} World;

static void out(World *w, u16 port, u32 v) { bus_out(w->t.bus, port, 1, v); }
static u8 in(World *w, u16 port) { return (u8)bus_in(w->t.bus, port, 1); }
static u8 pattern(u32 sector, unsigned at) { return (u8)(sector * 5 + (at >> 2) + 1); }

static int setup(void **state) {
    World *w = mem_new(sizeof(*w));
    testbus_open(&w->t, 1 << 20);
    w->blob = mem_new(SECTORS * 512);
    for (u32 i = 0; i < SECTORS * 512; i++) w->blob[i] = pattern(i / 512, i % 512);
    w->disk = disk_from_memory(w->blob, SECTORS * 512);
    w->ide = ide_new(w->t.bus, 0, testpin_wire(&w->pin, 0));
    ide_attach(w->ide, 0, w->disk);
    device_reset_all(w->t.bus);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    World *w = *state;
    ide_free(w->ide);
    disk_close(w->disk);
    disk_close(w->slave);
    testbus_close(&w->t);
    free(w->blob);
    free(w);
    return 0;
}

static void wait_irq(World *w) { testpin_wait(&w->t, &w->pin, 1000); }

static void wait_not_busy(World *w) {
    for (unsigned i = 0; i < 100 && in(w, CONTROL) & 0x80; i++) w->t.now_ns += 1000;
    assert_int_equal(in(w, CONTROL) & 0x80, 0);
}

static void address(World *w, u32 lba, u8 count) {
    out(w, DEVICE, 0xe0 | lba >> 24);
    out(w, COUNT, count);
    out(w, LOW, lba & 0xff);
    out(w, MID, lba >> 8 & 0xff);
    out(w, HIGH, lba >> 16 & 0xff);
}

static void address48(World *w, u64 lba, u16 count) {
    out(w, DEVICE, 0xe0);
    out(w, COUNT, count >> 8), out(w, COUNT, count & 0xff);
    out(w, LOW, lba >> 24 & 0xff), out(w, LOW, lba & 0xff);
    out(w, MID, lba >> 32 & 0xff), out(w, MID, lba >> 8 & 0xff);
    out(w, HIGH, lba >> 40 & 0xff), out(w, HIGH, lba >> 16 & 0xff);
}

// Reads a block as an interrupt handler does; status must be `status`.
static void take(World *w, u32 bytes, u8 *to) {
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x58);
    assert_false(w->pin.level);
    for (u32 i = 0; i < bytes; i += 2) put_le16(to + i, (u16)bus_in(w->t.bus, DATA, 2));
}

static void expect_sectors(World *w, u32 first, u32 count, u32 block) {
    u8 buf[16 * 512];
    for (u32 s = 0; s < count; s += block) {
        u32 n = min_u32(block, count - s);
        take(w, n * 512, buf);
        for (u32 i = 0; i < n * 512; i++)
            if (buf[i] != pattern(first + s + i / 512, i % 512))
                fail_msg("sector %u byte %u", s, i);
    }
    assert_int_equal(in(w, STATUS), 0x50);             // no interrupt after the last block
    testbus_advance(&w->t, 100000);
    assert_false(w->pin.level);
}

// Runs a command without data that must succeed.
static void run(World *w, u8 opcode) {
    out(w, COMMAND, opcode);
    assert_int_equal(in(w, CONTROL) & 0x80, 0x80);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x50);
    assert_false(w->pin.level);
}

static void run_fails(World *w, u8 opcode, u8 error) {
    out(w, COMMAND, opcode);
    wait_irq(w);
    assert_int_equal(in(w, STATUS) & 0xc9, 0x41);
    assert_int_equal(in(w, ERROR), error);
}

static void identify(World *w, u16 *id) {
    u8 bytes[512], sum = 0;
    out(w, COMMAND, 0xec);
    take(w, 512, bytes);
    assert_int_equal(in(w, STATUS), 0x50);
    for (unsigned i = 0; i < 512; i++) sum = (u8)(sum + bytes[i]);
    assert_int_equal(sum, 0);
    memcpy(id, bytes, 512);
}

static void test_identify(void **state) {
    World *w = *state;
    u16 id[256];
    out(w, DEVICE, 0xa0);
    identify(w, id);
    assert_int_equal(id[0], 0x40);
    assert_int_equal(id[1], 3);                        // 4000 / (16 * 63)
    assert_int_equal(id[3], 16);
    assert_int_equal(id[6], 63);
    assert_int_equal(id[27], 'G' << 8 | 'L');
    assert_int_equal(id[47], 0x8010);
    assert_int_equal(id[49] & 0x0300, 0x0300);         // LBA, DMA
    assert_int_equal(id[63], 0x0007);
    assert_int_equal(id[88], 0x203f);                  // Ultra DMA 5 is set
    assert_int_equal(id[54], 3);
    assert_int_equal(id[57] | id[58] << 16, 3 * 16 * 63);
    assert_int_equal(id[60] | id[61] << 16, SECTORS);
    assert_int_equal(id[83] & 0x0400, 0x0400);
    assert_int_equal(id[100], SECTORS);
    assert_int_equal(id[93] & 0xdf61, 0x4041);         // SeaBIOS does not look for a slave then
    out(w, COUNT, 16);
    run(w, 0xc6);
    out(w, COUNT, 63), out(w, DEVICE, 0xa3);
    run(w, 0x91);
    identify(w, id);
    assert_int_equal(id[59], 0x110);
    assert_int_equal(id[3], 16);
    assert_int_equal(id[55], 4);
    assert_int_equal(id[54], SECTORS / (4 * 63));
}

static void test_read_lba28(void **state) {
    World *w = *state;
    address(w, 0x123, 3);
    out(w, COMMAND, 0x20);
    assert_int_equal(in(w, CONTROL), 0xd0);
    assert_false(w->pin.level);                        // not before the driver has armed itself
    expect_sectors(w, 0x123, 3, 1);
    assert_int_equal(in(w, COUNT), 0);
    assert_int_equal(in(w, LOW), 0x25);
    assert_int_equal(in(w, MID), 1);
    address(w, 30, 1);
    out(w, COMMAND, 0x20);
    out(w, LOW, 99), out(w, DEVICE, 0xb0), out(w, COMMAND, 0xec);   // ignored: it is busy
    expect_sectors(w, 30, 1, 1);
    address(w, 100, 0);                                // 256
    out(w, COMMAND, 0x21);
    expect_sectors(w, 100, 256, 1);
}

static void test_read_chs(void **state) {
    World *w = *state;
    out(w, DEVICE, 0xa5);                              // head 5, cylinder 2, sector 60
    out(w, COUNT, 5);
    out(w, LOW, 60), out(w, MID, 2), out(w, HIGH, 0);
    out(w, COMMAND, 0x20);
    expect_sectors(w, (2 * 16 + 5) * 63 + 59, 5, 1);
    assert_int_equal(in(w, DEVICE), 0xa6);             // ended on the next head's first sector
    assert_int_equal(in(w, LOW), 1);
    assert_int_equal(in(w, MID), 2);
    out(w, COUNT, 17), out(w, DEVICE, 0xa3);           // another translation: 4 heads, 17 sectors
    run(w, 0x91);
    out(w, DEVICE, 0xa3), out(w, COUNT, 2), out(w, LOW, 17), out(w, MID, 9);
    out(w, COMMAND, 0x20);
    expect_sectors(w, (9 * 4 + 3) * 17 + 16, 2, 1);
    assert_int_equal(in(w, MID), 10);
    assert_int_equal(in(w, DEVICE), 0xa0);
    out(w, LOW, 18);
    run_fails(w, 0x20, 0x10);
    out(w, LOW, 0);
    run_fails(w, 0x20, 0x10);
    out(w, LOW, 1), out(w, DEVICE, 0xa4);
    run_fails(w, 0x20, 0x10);
    out(w, COUNT, 0);
    run_fails(w, 0x91, 0x04);
}

static void test_read_lba48(void **state) {
    World *w = *state;
    address48(w, 700, 300);
    out(w, COMMAND, 0x24);
    expect_sectors(w, 700, 300, 1);
    assert_int_equal(in(w, LOW), 999 & 0xff);
    address48(w, 0x100000001ull, 1);
    assert_int_equal(in(w, LOW), 1);
    assert_int_equal(in(w, MID), 0);
    out(w, CONTROL, 0x80);                             // what was written before
    assert_int_equal(in(w, LOW), 0);
    assert_int_equal(in(w, MID), 1);
    out(w, COUNT, 1);                                  // a write ends that
    assert_int_equal(in(w, LOW), 1);
    run_fails(w, 0x24, 0x10);
    address48(w, 3990, 20);                            // runs off the end: what is there comes
    out(w, COMMAND, 0x24);
    u8 buf[512];
    for (u32 s = 3990; s < 4000; s++) {
        take(w, 512, buf);
        assert_int_equal(buf[5], pattern(s, 5));
    }
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x51);
    assert_int_equal(in(w, ERROR), 0x10);
    assert_int_equal(in(w, LOW) | in(w, MID) << 8, 4000);
    assert_int_equal(in(w, COUNT), 10);
}

static void test_read_multiple(void **state) {
    World *w = *state;
    address(w, 5, 40);
    run_fails(w, 0xc4, 0x04);                          // not before SET MULTIPLE
    out(w, COUNT, 3);
    run_fails(w, 0xc6, 0x04);
    out(w, COUNT, 32);
    run_fails(w, 0xc6, 0x04);
    for (unsigned block = 1; block <= 16; block *= 2) {
        out(w, COUNT, block);
        run(w, 0xc6);
        address(w, 5, 41);
        out(w, COMMAND, 0xc4);
        expect_sectors(w, 5, 41, block);
        address48(w, 9, 19);
        out(w, COMMAND, 0x29);
        expect_sectors(w, 9, 19, block);
    }
}

static void give_block(World *w, u32 bytes, u8 salt) {
    assert_int_equal(in(w, CONTROL), 0x58);
    for (u32 i = 0; i < bytes; i += 2) bus_out(w->t.bus, DATA, 2, (i / 512 + salt) * 0x0101u);
}

static u8 first_byte(World *w, u32 sector) {
    u8 b[512];
    assert_int_equal(disk_read(w->disk, sector, 1, b), 0);
    for (unsigned i = 2; i < 512; i++) assert_true(b[i] == b[0] || b[i] == pattern(sector, i));
    return b[0];
}

static void test_write(void **state) {
    World *w = *state;
    address(w, 1000, 3);
    out(w, COMMAND, 0x30);
    for (unsigned s = 0; s < 3; s++) {
        give_block(w, 512, (u8)(0x90 + s));            // the first at once, without an interrupt
        assert_int_equal(in(w, CONTROL), 0xd0);
        wait_irq(w);
        assert_int_equal(in(w, STATUS), s < 2 ? 0x58 : 0x50);
    }
    for (unsigned s = 0; s < 3; s++) assert_int_equal(first_byte(w, 1000 + s), 0x90 + s);
    assert_int_equal(first_byte(w, 999), pattern(999, 0));
    assert_int_equal(first_byte(w, 1003), pattern(1003, 0));
    assert_int_equal(in(w, LOW) | in(w, MID) << 8, 1002);
    out(w, COUNT, 8);
    run(w, 0xc6);
    address48(w, 2000, 11);
    out(w, COMMAND, 0x39);
    give_block(w, 8 * 512, 0xa0);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x58);
    give_block(w, 3 * 512, 0xa8);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x50);
    for (unsigned s = 0; s < 11; s++) assert_int_equal(first_byte(w, 2000 + s), 0xa0 + s);
    out(w, DEVICE, 0xa0), out(w, COUNT, 1), out(w, LOW, 1), out(w, MID, 0), out(w, HIGH, 0);
    out(w, COMMAND, 0x30);                             // CHS, the first sector, in dwords
    for (unsigned i = 0; i < 128; i++) bus_out(w->t.bus, DATA, 4, 0x77777777);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x50);
    assert_int_equal(first_byte(w, 0), 0x77);
    address(w, 3999, 2);                               // the second is beyond the end
    out(w, COMMAND, 0x30);
    give_block(w, 512, 0x66);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x51);
    assert_int_equal(in(w, ERROR), 0x10);
    assert_int_equal(in(w, COUNT), 1);
    assert_int_equal(first_byte(w, 3999), 0x66);
    run(w, 0xe7);
    run(w, 0xea);
}

// Data port accesses of every size, mixed, see the bytes in order.
static void test_data_port_sizes(void **state) {
    World *w = *state;
    static const u8 sizes[] = { 4, 2, 1, 4, 1, 2, 2 };
    address(w, 77, 1);
    out(w, COMMAND, 0x20);
    wait_irq(w);
    unsigned at = 0;
    for (unsigned i = 0; at < 512; i++) {
        unsigned size = min_u32(sizes[i % sizeof(sizes)], 512 - at);
        if (size == 3) size = 2;
        u32 v = bus_in(w->t.bus, DATA, size);
        for (unsigned b = 0; b < size; b++)
            assert_int_equal(v >> 8 * b & 0xff, pattern(77, at + b));
        at += size;
    }
    assert_int_equal(in(w, STATUS), 0x50);
    assert_int_equal(bus_in(w->t.bus, DATA, 2), 0xffff);
    bus_out(w->t.bus, DATA, 4, 0);
    address(w, 77, 1);
    out(w, COMMAND, 0x20);
    wait_irq(w);
    for (unsigned i = 0; i < 255; i++) bus_in(w->t.bus, DATA, 2);
    u32 last = bus_in(w->t.bus, DATA, 4);              // reaches over the end
    assert_int_equal(last, pattern(77, 510) * 0x101);
    assert_int_equal(in(w, STATUS), 0x50);
}

// A driver that polls never lets the bus run its timers.
static void test_polling(void **state) {
    World *w = *state;
    out(w, CONTROL, 2);                                // nIEN
    address(w, 10, 4);
    out(w, COMMAND, 0x20);
    for (unsigned s = 0; s < 4; s++) {
        wait_not_busy(w);
        assert_int_equal(in(w, STATUS), 0x58);
        for (unsigned i = 0; i < 128; i++) bus_in(w->t.bus, DATA, 4);
    }
    assert_int_equal(in(w, STATUS), 0x50);
    assert_int_equal(w->pin.rises, 0);
    out(w, COMMAND, 0xe5);
    wait_not_busy(w);
    assert_false(w->pin.level);
    out(w, CONTROL, 0);                                // the interrupt is there behind nIEN
    assert_true(w->pin.level);
    in(w, CONTROL);
    assert_true(w->pin.level);                         // the alternate status leaves it
    in(w, STATUS);
    assert_false(w->pin.level);
}

static void test_small_commands(void **state) {
    World *w = *state;
    out(w, DEVICE, 0xe0);
    run(w, 0x10);
    run(w, 0x1f);
    address(w, 3999, 1);
    run(w, 0x70);
    run(w, 0x40);
    address(w, 4000, 1);
    run_fails(w, 0x70, 0x10);
    address(w, 3998, 3);
    run_fails(w, 0x40, 0x10);
    assert_int_equal(in(w, LOW) | in(w, MID) << 8, 4000);
    address48(w, 0, 4000);
    run(w, 0x42);
    run_fails(w, 0x00, 0x04);                          // NOP, IDENTIFY PACKET, PACKET ...
    static const u8 refused[] = { 0xa1, 0xa0, 0x08, 0xb0, 0xf8, 0x50 };
    for (unsigned i = 0; i < sizeof(refused); i++) run_fails(w, refused[i], 0x04);
    run(w, 0xe0);
    run(w, 0xe5);
    assert_int_equal(in(w, COUNT), 0);                 // standby
    address(w, 0, 1);
    out(w, COMMAND, 0x20);
    expect_sectors(w, 0, 1, 1);
    run(w, 0xe5);
    assert_int_equal(in(w, COUNT), 0xff);              // active again
    run(w, 0xe1);
    static const struct { u8 feature, count; bool ok; } features[] = {
        { 0x02, 0, true }, { 0x82, 0, true }, { 0xaa, 0, true }, { 0x55, 0, true },
        { 0x03, 0x00, true }, { 0x03, 0x0c, true }, { 0x03, 0x0d, false }, { 0x03, 0x22, true },
        { 0x03, 0x23, false }, { 0x03, 0x45, true }, { 0x03, 0x46, false }, { 0x03, 0x10, false },
        { 0x66, 0, true }, { 0xcc, 0, true }, { 0x05, 0, false },
    };
    for (unsigned i = 0; i < ARRAY_LEN(features); i++) {
        out(w, ERROR, features[i].feature), out(w, COUNT, features[i].count);
        if (features[i].ok) run(w, 0xef);
        else run_fails(w, 0xef, 0x04);
    }
    u8 buf[512];
    out(w, COMMAND, 0xe8);
    give_block(w, 512, 0x3c);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x50);
    out(w, COMMAND, 0xe4);
    take(w, 512, buf);
    assert_int_equal(buf[0] | buf[511] << 8, 0x3c3c);
    run(w, 0xe6);                                      // asleep: only a reset wakes it
    out(w, COMMAND, 0xe5);
    testbus_advance(&w->t, 100000);
    assert_false(w->pin.level);
    out(w, CONTROL, 4), out(w, CONTROL, 0);
    testbus_advance(&w->t, 100000);
    run(w, 0xe5);
}

static void test_reset_and_diagnostic(void **state) {
    World *w = *state;
    address(w, 0x123456, 7);
    out(w, COMMAND, 0x40);
    out(w, CONTROL, 6);
    assert_int_equal(in(w, STATUS), 0x80);
    testbus_advance(&w->t, 100000);
    assert_int_equal(in(w, STATUS), 0x80);
    out(w, CONTROL, 0);
    assert_int_equal(in(w, STATUS), 0x80);
    out(w, DEVICE, 0xb0);                              // ignored: busy
    wait_not_busy(w);
    assert_int_equal(in(w, STATUS), 0x50);
    assert_int_equal(in(w, ERROR), 1);
    assert_int_equal(in(w, COUNT), 1);
    assert_int_equal(in(w, LOW), 1);
    assert_int_equal(in(w, MID) | in(w, HIGH), 0);
    assert_int_equal(in(w, DEVICE), 0xa0);
    assert_false(w->pin.level);
    out(w, MID, 0x14), out(w, DEVICE, 0xb0);           // also when the missing slave is selected
    out(w, COMMAND, 0x90);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x50);
    assert_int_equal(in(w, ERROR), 1);
    assert_int_equal(in(w, MID), 0);
    assert_int_equal(in(w, DEVICE), 0xa0);
}

// What SeaBIOS, Linux and GRUB do to find drives.
static void test_detection(void **state) {
    World *w = *state;
    out(w, DEVICE, 0xb0);
    assert_int_equal(in(w, STATUS), 0);                // the master answers for the slave
    assert_int_equal(in(w, DEVICE), 0xb0);
    out(w, COMMAND, 0xec);
    testbus_advance(&w->t, 100000);
    assert_int_equal(in(w, STATUS), 0);
    assert_false(w->pin.level);
    Ide *empty = ide_new(w->t.bus, 1, (Wire){ 0 });
    out(w, 0x176, 0xa0);
    assert_int_equal(in(w, 0x177), 0xff);              // nobody: the lines float
    assert_int_equal(in(w, 0x376), 0xff);
    out(w, 0x172, 0x55);
    assert_int_equal(in(w, 0x172), 0xff);
    assert_int_equal(bus_in(w->t.bus, 0x170, 2), 0xffff);
    w->slave = disk_from_memory(w->blob, 100 * 512);
    ide_attach(empty, 1, w->slave);                    // a slave alone
    out(w, 0x176, 0xa0);
    assert_int_equal(in(w, 0x177), 0);
    out(w, 0x176, 0xb0);
    assert_int_equal(in(w, 0x177), 0x50);
    ide_free(empty);
}

static void test_two_drives(void **state) {
    World *w = *state;
    w->slave = disk_from_memory(w->blob + 512, 100 * 512);
    ide_attach(w->ide, 1, w->slave);
    u16 id[256];
    out(w, DEVICE, 0xb0);
    identify(w, id);
    assert_int_equal(id[60], 100);
    assert_int_equal(id[1], 2);
    assert_int_equal(id[93], 0x6b00);
    out(w, DEVICE, 0xa0);
    identify(w, id);
    assert_int_equal(id[60], SECTORS);
    assert_int_equal(id[93], 0x600b);
    address(w, 7, 2);
    out(w, DEVICE, 0xf0);
    out(w, COMMAND, 0x20);
    expect_sectors(w, 8, 2, 1);
    out(w, COMMAND, 0xe5);                             // the slave's interrupt, then the master:
    testbus_advance(&w->t, 100000);
    assert_true(w->pin.level);
    out(w, DEVICE, 0xe0);
    assert_false(w->pin.level);
    in(w, STATUS);
    out(w, DEVICE, 0xf0);                              // it has waited
    assert_true(w->pin.level);
    in(w, STATUS);
    address(w, 3, 1);
    out(w, COMMAND, 0x20);                             // the master offers data that nobody takes
    wait_irq(w);
    out(w, DEVICE, 0xf0);
    assert_int_equal(in(w, STATUS), 0x50);
    out(w, COMMAND, 0xe5);
    wait_irq(w);
    out(w, DEVICE, 0xe0);
    assert_int_equal(in(w, STATUS), 0x50);
}

// Partition tables as old systems make them.
static void put_partition(u8 *mbr, unsigned n, const u8 chs_end[3], u32 start, u32 sectors) {
    u8 *e = mbr + 446 + 16 * n;
    memset(e, 0, 16);
    e[4] = 0x81;
    memcpy(e + 5, chs_end, 3);
    put_le32(e + 8, start);
    put_le32(e + 12, sectors);
    put_le16(mbr + 510, 0xaa55);
}

static void expect_geometry(World *w, u32 c, u8 h, u8 s) {
    Disk *d = disk_from_memory(w->blob, SECTORS * 512);
    ide_attach(w->ide, 0, d);
    IdeGeometry g = ide_geometry(w->ide, 0);
    assert_int_equal(g.cylinders, c);
    assert_int_equal(g.heads, h);
    assert_int_equal(g.sectors, s);
    ide_attach(w->ide, 0, w->disk);
    disk_close(d);
}

static void test_geometry(void **state) {
    World *w = *state;
    u8 *mbr = w->blob;
    memset(mbr, 0, 512);
    expect_geometry(w, 3, 16, 63);
    put_partition(mbr, 0, (u8[]){ 7, 17, 26 }, 17, 8 * 17 * 27 - 17);       // 8 heads, 17 sectors
    expect_geometry(w, SECTORS / (8 * 17), 8, 17);
    put_partition(mbr, 0, (u8[]){ 7, 17, 26 }, 17, 8 * 17 * 27 - 18);       // does not end there
    expect_geometry(w, 3, 16, 63);
    put_partition(mbr, 2, (u8[]){ 3, 26, 30 }, 26, 4 * 26 * 31 - 26);       // the third entry does
    expect_geometry(w, SECTORS / (4 * 26), 4, 26);
    mbr[446 + 32] = 0x12;                                                   // no boot flag: code
    expect_geometry(w, 3, 16, 63);
    put_partition(mbr, 2, (u8[]){ 254, 63, 0 }, 63, 3000);                  // a BIOS translated
    expect_geometry(w, 3, 16, 63);
    put_partition(mbr, 2, (u8[]){ 3, 26, 30 }, 26, 4 * 26 * 31 - 26);
    mbr[511] = 0;                                                           // no table at all
    expect_geometry(w, 3, 16, 63);
    ide_set_geometry(w->ide, 0, (IdeGeometry){ 2000, 5, 9 });
    u16 id[256];
    device_reset_all(w->t.bus);
    out(w, DEVICE, 0xa0);
    identify(w, id);
    assert_int_equal(id[1], 2000);
    assert_int_equal(id[3], 5);
    assert_int_equal(id[6], 9);
    assert_int_equal(id[54], 2000);
}

// A disk on a file whose host misbehaves.
static void test_host_errors(void **state) {
    World *w = *state;
    char path[] = "/tmp/glassbox-ide-XXXXXX", *message;
    int fd = mkstemp(path);
    assert_int_equal(pwrite(fd, w->blob, 100 * 512, 0), 100 * 512);
    Disk *d = disk_open(path, 0, &message);
    ide_attach(w->ide, 0, d);
    assert_int_equal(ftruncate(fd, 20 * 512), 0);      // sectors from 20 on cannot be read
    u8 buf[512];
    address(w, 15, 10);
    out(w, COMMAND, 0x20);
    for (u32 s = 15; s < 20; s++) {
        take(w, 512, buf);
        assert_int_equal(buf[511], pattern(s, 511));
    }
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x51);
    assert_int_equal(in(w, ERROR), 0x40);
    assert_int_equal(in(w, LOW), 20);
    assert_int_equal(in(w, COUNT), 5);
    address(w, 10, 20);
    run_fails(w, 0x40, 0x40);
    assert_int_equal(in(w, LOW), 20);
    signal(SIGXFSZ, SIG_IGN);                          // and the file cannot grow
    struct rlimit small = { 30 * 512, RLIM_INFINITY }, old;
    getrlimit(RLIMIT_FSIZE, &old);
    setrlimit(RLIMIT_FSIZE, &small);
    address(w, 29, 3);
    out(w, COMMAND, 0x30);
    give_block(w, 512, 0x42);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x58);
    give_block(w, 512, 0x43);
    wait_irq(w);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(in(w, STATUS), 0x71);             // fault and error
    assert_int_equal(in(w, ERROR), 0x04);
    assert_int_equal(in(w, LOW), 30);
    assert_int_equal(in(w, COUNT), 2);
    assert_int_equal(pread(fd, buf, 512, 29 * 512), 512);
    assert_int_equal(buf[9], 0x42);
    ide_attach(w->ide, 0, w->disk);
    disk_close(d);
    d = disk_open(path, DISK_READONLY, &message);
    ide_attach(w->ide, 0, d);
    address(w, 0, 1);
    run_fails(w, 0x30, 0x04);
    ide_attach(w->ide, 0, w->disk);
    disk_close(d);
    close(fd);
    unlink(path);
}

// A snapshot in the middle of a block of READ MULTIPLE.
static void test_snapshot(void **state) {
    World *w = *state, *v;
    out(w, COUNT, 4);
    run(w, 0xc6);
    address(w, 50, 10);
    out(w, COMMAND, 0xc4);
    wait_irq(w);
    for (unsigned i = 0; i < 3 * 512 + 100; i += 2) bus_in(w->t.bus, DATA, 2);
    setup((void **)&v);
    v->t.now_ns = w->t.now_ns;
    testbus_copy_devices(v->t.bus, w->t.bus);
    assert_true(device_hash(w->t.bus) == device_hash(v->t.bus));
    assert_true(v->pin.level);
    in(v, STATUS);
    for (unsigned i = 100; i < 512; i++)
        assert_int_equal(bus_in(v->t.bus, DATA, 1), pattern(53, i));
    expect_sectors(v, 54, 6, 4);
    teardown((void **)&v);
}

static void test_random(void **state) {
    World *w = *state;
    w->slave = disk_from_memory(w->blob, 20 * 512);
    ide_attach(w->ide, 1, w->slave);
    u64 seed = 88172645463325252ull;
    for (unsigned i = 0; i < 400000; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        u32 r = (u32)(seed >> 16);
        static const u8 ops[] = { 0x20, 0x24, 0x29, 0x30, 0x34, 0x39, 0x40, 0xc4, 0xc5, 0xc6, 0xe4,
                                  0xe8, 0xec, 0x91, 0x90, 0xe7 };
        switch (r % 16) {
        case 0: out(w, COMMAND, r & 0x100 ? r >> 16 : ops[r >> 16 & 15]); break;
        case 1: out(w, DEVICE, r >> 8); break;
        case 2: out(w, COUNT, r >> 8 & (r & 0x10000 ? 0xff : 0x1f)); break;
        case 3: out(w, LOW, r >> 8); break;
        case 4: out(w, MID, r >> 8 & 15); break;
        case 5: out(w, HIGH, r & 0x10000 ? r >> 8 : 0); break;
        case 6: if (r >> 8 & 15) break;
            out(w, CONTROL, r >> 16 & 0x86);
            out(w, CONTROL, 0);
            break;
        case 7: in(w, 0x1f0 + (r >> 8 & 7)); break;
        case 8: testbus_advance(&w->t, r >> 8 & 0xfff); break;
        case 9: for (u32 n = r >> 20; n; n--) bus_out(w->t.bus, DATA, 1u << (r >> 8) % 3, r); break;
        case 10: for (u32 n = r >> 20; n; n--) bus_in(w->t.bus, DATA, 1u << (r >> 8) % 3); break;
        case 11: out(w, ERROR, r >> 8); break;
        default: in(w, STATUS); break;
        }
    }
    out(w, CONTROL, 4), out(w, CONTROL, 0);            // still alive
    testbus_advance(&w->t, 100000);
    address(w, 3000, 1);
    out(w, COMMAND, 0x20);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x58);
}

// ---- DMA ----------------------------------------------------------------------------------------
enum { BM = 0xc000, BM_STATUS = BM + 2, BM_LIST = BM + 4, PRD = 0x4000, REGION = 0x10000 };

typedef struct Dma {           // the channel with its bus master
    PciBus *pci;
    PciFn *fn;
    IdeDma *dma;
    Ide *ide[2];
} Dma;

static void dma_open(World *w, Dma *d) {
    static const PciId id = { .vendor = 0x8086, .device = 0x7010, .class_code = 0x010100 };
    d->ide[0] = w->ide;
    d->ide[1] = ide_new(w->t.bus, 1, (Wire){ 0 });
    d->pci = pci_new(w->t.bus);
    d->fn = pci_add(d->pci, "ide-fn", 1, 1, &id);
    d->dma = idedma_new(w->t.bus, d->fn, d->ide);
    device_reset_all(w->t.bus);
    bus_out(w->t.bus, 0xcf8, 4, 0x80000900 | 0x20);
    bus_out(w->t.bus, 0xcfc, 4, BM);
    bus_out(w->t.bus, 0xcf8, 4, 0x80000900 | 4);
    bus_out(w->t.bus, 0xcfc, 2, 5);
}

static void dma_close(Dma *d) {
    idedma_free(d->dma);
    ide_free(d->ide[1]);
    pci_free(d->pci);
}

static void region(World *w, unsigned n, u32 base, u32 bytes, bool last) {
    u8 entry[8];
    put_le32(entry, base);
    put_le32(entry + 4, (bytes & 0xffff) | (last ? 0x80000000u : 0));
    bus_dma_write(w->t.bus, phy(PRD + 8 * n), entry, 8);
}

static void engine(World *w, bool to_memory) {
    bus_out(w->t.bus, BM_LIST, 4, PRD);
    out(w, BM_STATUS, 0x06);                           // clear
    out(w, BM, to_memory ? 8 : 0);
    out(w, BM, to_memory ? 9 : 1);
}

static void expect_in_memory(World *w, u32 at, u32 sector, u32 bytes) {
    const u8 *p = bus_ram(w->t.bus) + at;
    for (u32 i = 0; i < bytes; i++)
        if (p[i] != pattern(sector + i / 512, i % 512)) fail_msg("byte %u at %x", i, at);
}

static void test_dma_read(void **state) {
    World *w = *state;
    Dma d;
    u8 *ram = bus_ram(w->t.bus);
    dma_open(w, &d);
    assert_int_equal(pci_get(d.fn, 9, 1), 0x80);
    // Regions of odd shapes; the engine is started before the drive has data.
    region(w, 0, REGION, 700, false);
    region(w, 1, 0x30002, 1024 * 30 - 700, true);
    address(w, 40, 60);
    out(w, COMMAND, 0xc8);
    engine(w, true);
    assert_int_equal(in(w, BM_STATUS), 0x01);
    assert_false(w->pin.level);
    wait_irq(w);
    assert_int_equal(w->pin.rises, 1);                 // one interrupt for the whole command
    assert_int_equal(in(w, BM_STATUS), 0x04);
    assert_int_equal(in(w, STATUS), 0x50);
    assert_false(w->pin.level);
    assert_int_equal(in(w, BM_STATUS), 0x04);          // a latch: the status register leaves it
    out(w, BM_STATUS, 0x64);
    assert_int_equal(in(w, BM_STATUS), 0x60);
    out(w, BM_STATUS, 0x00);
    expect_in_memory(w, REGION, 40, 700);
    for (u32 i = 700; i < 1024 * 30; i++)
        if (ram[0x30002 + i - 700] != pattern(40 + i / 512, i % 512)) fail_msg("byte %u", i);
    assert_int_equal(ram[REGION + 700] | ram[0x30001], 0);
    assert_int_equal(in(w, COUNT), 0);
    assert_int_equal(in(w, LOW), 99);
    // The drive waits for a late engine, and so do the registers' readers.
    region(w, 0, 0x40000, 0, false);                   // 64 KiB each
    region(w, 1, 0x50000, 0, true);
    out(w, BM, 0);
    address(w, 100, 0);                                // 256 sectors
    out(w, COMMAND, 0xc8);
    testbus_advance(&w->t, 1000000);
    assert_int_equal(in(w, CONTROL), 0x58);
    assert_false(w->pin.level);
    engine(w, true);
    wait_irq(w);
    assert_int_equal(in(w, BM_STATUS), 0x04);
    assert_int_equal(in(w, STATUS), 0x50);
    expect_in_memory(w, 0x40000, 100, 256 * 512);
    address48(w, 3000, 500);
    region(w, 0, 0x40000, 0, false), region(w, 1, 0x50000, 0, false);
    region(w, 2, 0x60000, 0, false), region(w, 3, 0x70000, 500 * 512 - 3 * 65536, true);
    out(w, COMMAND, 0x25);
    out(w, BM, 0);
    engine(w, true);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x50);
    expect_in_memory(w, 0x40000, 3000, 500 * 512);
    dma_close(&d);
}

static void test_dma_write(void **state) {
    World *w = *state;
    Dma d;
    u8 *ram = bus_ram(w->t.bus), buf[512];
    dma_open(w, &d);
    for (u32 i = 0; i < 40 * 512; i++) ram[REGION + i] = (u8)(i / 512 * 3 + 7);
    region(w, 0, REGION, 40 * 512, true);
    address(w, 2000, 40);
    out(w, COMMAND, 0xca);
    engine(w, false);
    wait_irq(w);
    assert_int_equal(in(w, BM_STATUS), 0x04);
    assert_int_equal(in(w, STATUS), 0x50);
    for (u32 s = 0; s < 40; s++) {
        disk_read(w->disk, 2000 + s, 1, buf);
        assert_int_equal(buf[0], (u8)(s * 3 + 7));
        assert_int_equal(buf[511], (u8)(s * 3 + 7));
    }
    disk_read(w->disk, 2040, 1, buf);
    assert_int_equal(buf[0], pattern(2040, 0));
    address48(w, 3998, 4);                             // runs off the end
    out(w, BM, 0);
    out(w, COMMAND, 0x35);
    engine(w, false);
    wait_irq(w);
    assert_int_equal(in(w, BM_STATUS), 0x05);          // the list has not ended
    assert_int_equal(in(w, STATUS), 0x51);
    assert_int_equal(in(w, ERROR), 0x10);
    assert_int_equal(in(w, COUNT), 2);
    out(w, BM, 0);
    assert_int_equal(in(w, BM_STATUS), 0x04);
    disk_read(w->disk, 3999, 1, buf);
    assert_int_equal(buf[0], 1 * 3 + 7);
    dma_close(&d);
}

static void test_dma_limits(void **state) {
    World *w = *state;
    Dma d;
    u8 *ram = bus_ram(w->t.bus);
    dma_open(w, &d);
    // A list that is too short: neither active nor interrupt, the drive waits; then a new list.
    region(w, 0, REGION, 1000, true);
    address(w, 10, 4);
    out(w, COMMAND, 0xc8);
    engine(w, true);
    testbus_advance(&w->t, 1000000);
    assert_int_equal(in(w, BM_STATUS), 0x00);
    assert_false(w->pin.level);
    assert_int_equal(in(w, CONTROL), 0x58);
    region(w, 0, REGION + 1000, 1048, true);
    out(w, BM, 0);
    engine(w, true);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x50);
    expect_in_memory(w, REGION, 10, 2048);
    // A list that is too long: active stays until the start bit falls.
    region(w, 0, REGION, 8192, true);
    address(w, 20, 1);
    out(w, BM, 0);
    out(w, COMMAND, 0xc8);
    engine(w, true);
    wait_irq(w);
    assert_int_equal(in(w, BM_STATUS), 0x05);
    in(w, STATUS);
    out(w, BM, 8);
    assert_int_equal(in(w, BM_STATUS), 0x04);
    // Stopped on its way, in the wrong direction, without bus mastering: nothing moves.
    memset(ram + REGION, 0xee, 512);
    address(w, 30, 1);
    out(w, COMMAND, 0xc8);
    engine(w, true);
    out(w, BM, 8);
    testbus_advance(&w->t, 1000000);
    engine(w, false);
    testbus_advance(&w->t, 1000000);
    out(w, BM, 0);
    bus_out(w->t.bus, 0xcfc, 2, 1);
    engine(w, true);
    testbus_advance(&w->t, 1000000);
    assert_int_equal(ram[REGION], 0xee);
    assert_int_equal(in(w, BM_STATUS), 0x01);
    bus_out(w->t.bus, 0xcfc, 2, 5);                    // now it may
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x50);
    expect_in_memory(w, REGION, 30, 512);
    // A reset of the drive forgets the transfer.
    out(w, BM, 0);
    address(w, 30, 8);
    out(w, COMMAND, 0xc8);
    testbus_advance(&w->t, 1000000);
    out(w, CONTROL, 4), out(w, CONTROL, 0);
    memset(ram + REGION, 0xee, 512);
    engine(w, true);
    testbus_advance(&w->t, 1000000);
    assert_int_equal(ram[REGION], 0xee);
    assert_int_equal(in(w, STATUS), 0x50);
    // The BAR moves, and goes.
    bus_out(w->t.bus, 0xcf8, 4, 0x80000900 | 0x20);
    bus_out(w->t.bus, 0xcfc, 4, 0xd000);
    assert_int_equal(bus_in(w->t.bus, 0xd004, 4), PRD);
    assert_int_equal(in(w, BM_STATUS), 0xff);
    dma_close(&d);
}

static void test_dma_random(void **state) {
    World *w = *state;
    Dma d;
    dma_open(w, &d);
    u64 seed = fuzz_state(99);
    for (u64 i = 0, n = fuzz_count(200000); i < n; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        u32 r = (u32)(seed >> 16);
        static const u8 ops[] = { 0xc8, 0xca, 0x25, 0x35, 0x20, 0xec, 0xc9, 0x30 };
        switch (r % 12) {
        case 0: out(w, COMMAND, ops[r >> 16 & 7]); break;
        case 1: address(w, r >> 8 & 0xfff, r >> 20 & 0x3f); break;
        case 2: out(w, BM, r >> 8); break;
        case 3: out(w, BM_STATUS, r >> 8); break;
        case 4: bus_out(w->t.bus, BM_LIST, 4, r & 0x1000 ? r : PRD); break;
        case 5: region(w, r >> 8 & 3, (u32)(seed >> 30), r >> 12, r & 0x800); break;
        case 6: engine(w, r & 0x100); break;
        case 7: if (!(r >> 8 & 7)) out(w, CONTROL, 4), out(w, CONTROL, 0); break;
        case 8: bus_in(w->t.bus, (u16)(BM + (r >> 8 & 15)), 1u << (r >> 12) % 3); break;
        case 9: in(w, STATUS); break;
        case 10: bus_out(w->t.bus, (u16)(BM + (r >> 8 & 15)), 1u << (r >> 12) % 3, r >> 4); break;
        default: testbus_advance(&w->t, r >> 8 & 0x3fff); break;
        }
    }
    out(w, BM, 0);
    out(w, CONTROL, 4), out(w, CONTROL, 0);            // still alive
    testbus_advance(&w->t, 1000000);
    region(w, 0, REGION, 512, true);
    address(w, 3000, 1);
    out(w, COMMAND, 0xc8);
    engine(w, true);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x50);
    dma_close(&d);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_identify), T(test_read_lba28), T(test_read_chs), T(test_read_lba48),
        T(test_read_multiple), T(test_write), T(test_data_port_sizes), T(test_polling),
        T(test_small_commands), T(test_reset_and_diagnostic), T(test_detection),
        T(test_two_drives), T(test_geometry), T(test_host_errors), T(test_snapshot),
        T(test_random), T(test_dma_read), T(test_dma_write), T(test_dma_limits),
        T(test_dma_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
