// SPDX-License-Identifier: MIT
// The CD drive on its channel, programmed as drivers do: packets by PIO and DMA, every command,
// discs that come and go, raw sectors. The disc is made here. Run: make test T=unit/test_cd
#include "dev/idedma.h"
#include "fuzz.h"
#include "testbus.h"

#include "dev/cdsector.h"
#include <stdio.h>
#include <string.h>

enum { DATA = 0x170, ERROR = 0x171, COUNT = 0x172, LOW = 0x173, MID = 0x174, HIGH = 0x175,
       DEVICE = 0x176, COMMAND = 0x177, STATUS = 0x177, CONTROL = 0x376 };
enum { BLOCKS = 1000, BM = 0xc008, PRD = 0x4000, REGION = 0x10000 };

typedef struct World {
    TestBus t;
    TestPin pin;
    Ide *ide[2];
    Cd *cd;
    PciBus *pci;
    IdeDma *dma;
    Disk *disc, *other, *hard;
    u8 *blob;
    u8 answer[0x20000];
    u32 bytes, blocks;         // of the last answer: bytes, DRQ blocks
} World;

static void out(World *w, u16 port, u32 v) { bus_out(w->t.bus, port, 1, v); }
static u8 in(World *w, u16 port) { return (u8)bus_in(w->t.bus, port, 1); }
static u8 pattern(u32 block, unsigned at) { return (u8)(block * 7 + (at >> 3) + at); }

// An ISO 9660 file system's first descriptor at block 16, a pattern elsewhere; three sectors more.
static int setup(void **state) {
    static const PciId id = { .vendor = 0x8086, .device = 0x7010, .class_code = 0x010100 };
    World *w = mem_new(sizeof(*w));
    u32 bytes = BLOCKS * 2048 + 3 * 512;
    testbus_open(&w->t, 1 << 20);
    w->blob = mem_new(bytes);
    for (u32 i = 0; i < bytes; i++) w->blob[i] = pattern(i / 2048, i % 2048);
    memcpy(w->blob + 16 * 2048, "\1CD001\1", 7);
    w->disc = disk_from_memory(w->blob, bytes);
    w->other = disk_from_memory(w->blob + 2048, 50 * 2048);
    w->hard = disk_from_memory(w->blob, 100 * 512);
    w->ide[0] = ide_new(w->t.bus, 0, (Wire){ 0 });
    w->ide[1] = ide_new(w->t.bus, 1, testpin_wire(&w->pin, 0));
    w->cd = cd_new(w->t.bus, "ide1-cd0");
    cd_insert(w->cd, w->disc);
    ide_attach_cd(w->ide[1], 0, w->cd);
    w->pci = pci_new(w->t.bus);
    PciFn *fn = pci_add(w->pci, "ide-fn", 1, 1, &id);
    w->dma = idedma_new(w->t.bus, fn, w->ide);
    device_reset_all(w->t.bus);
    bus_out(w->t.bus, 0xcf8, 4, 0x80000920);
    bus_out(w->t.bus, 0xcfc, 4, 0xc000);
    bus_out(w->t.bus, 0xcf8, 4, 0x80000904);
    bus_out(w->t.bus, 0xcfc, 2, 5);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    World *w = *state;
    idedma_free(w->dma);
    pci_free(w->pci);
    for (unsigned i = 0; i < 2; i++) ide_free(w->ide[i]);
    cd_free(w->cd);
    disk_close(w->disc);
    disk_close(w->other);
    disk_close(w->hard);
    testbus_close(&w->t);
    free(w->blob);
    free(w);
    return 0;
}

static void wait_irq(World *w) { testpin_wait(&w->t, &w->pin, 1000); }

// Sends a packet: 12 bytes in the text's octal or hexadecimal escapes, zeros after them.
static void send_packet(World *w, bool dma, u32 limit, const u8 *packet) {
    out(w, DEVICE, 0xa0);
    out(w, ERROR, dma);
    out(w, MID, limit), out(w, HIGH, limit >> 8);
    out(w, COMMAND, 0xa0);
    assert_int_equal(in(w, CONTROL), 0x58);            // no interrupt
    assert_false(w->pin.level);
    assert_int_equal(in(w, COUNT), 1);
    for (unsigned i = 0; i < 12; i += 2) bus_out(w->t.bus, DATA, 2, get_le16(packet + i));
    assert_int_equal(in(w, CONTROL) & 0x88, 0x80);
}

// Takes all data blocks; the status at the end.
static u8 take_answer(World *w, u32 limit) {
    w->bytes = w->blocks = 0;
    for (;;) {
        wait_irq(w);
        u8 status = in(w, STATUS);
        assert_false(w->pin.level);
        if (!(status & 8)) {
            assert_int_equal(in(w, COUNT), 3);
            return status;
        }
        assert_int_equal(status, 0x58);
        assert_int_equal(in(w, COUNT), 2);
        u32 n = in(w, MID) | (u32)in(w, HIGH) << 8;
        assert_in_range(n, 1, limit);
        assert_true(w->bytes + n + 1 < sizeof(w->answer));
        for (u32 i = 0; i < n; i += 2)
            put_le16(w->answer + w->bytes + i, (u16)bus_in(w->t.bus, DATA, 2));
        w->bytes += n;
        w->blocks++;
    }
}

static void run_packet(World *w, const u8 *packet, u32 bytes) {
    send_packet(w, false, 0xf000, packet);
    assert_int_equal(take_answer(w, 0xf000), 0x50);
    assert_int_equal(w->bytes, bytes);
}

static void sense(World *w, u8 key, u16 asc) {
    run_packet(w, (u8[12]){ 3, [4] = 18 }, 18);
    assert_int_equal(w->answer[0], 0x70);
    assert_int_equal(w->answer[2], key);
    assert_int_equal(w->answer[12] << 8 | w->answer[13], asc);
}

static void fails(World *w, const u8 *packet, u8 key, u16 asc) {
    send_packet(w, false, 0xf000, packet);
    assert_int_equal(take_answer(w, 0xf000), 0x51);
    assert_int_equal(in(w, ERROR) >> 4, key);
    sense(w, key, asc);
    sense(w, 0, 0);                                    // told once
}

static void expect_blocks(World *w, const u8 *from, u32 first, u32 count) {
    for (u32 i = 0; i < count * 2048; i++)
        if (from[i] != w->blob[first * 2048 + i]) fail_msg("block %u byte %u", i / 2048, i % 2048);
}

#define RUN(bytes, ...) run_packet(w, (u8[12]){ __VA_ARGS__ }, bytes)
#define FAILS(key, asc, ...) fails(w, (u8[12]){ __VA_ARGS__ }, key, asc)

// ---- the cable ----------------------------------------------------------------------------------
static void test_signature_and_identify(void **state) {
    World *w = *state;
    u8 id[512];
    for (unsigned i = 0; i < 2; i++) {
        if (i) out(w, CONTROL, 4), out(w, CONTROL, 0), testbus_advance(&w->t, 100000);
        assert_int_equal(in(w, STATUS), 0);
        assert_int_equal(in(w, COUNT) | in(w, LOW) << 8, 0x101);
        assert_int_equal(in(w, MID) | in(w, HIGH) << 8, 0xeb14);
        assert_int_equal(in(w, ERROR), 1);
    }
    static const u8 refused[] = { 0xec, 0x20, 0xc8, 0x30 };
    for (unsigned i = 0; i < sizeof(refused); i++) {
        out(w, MID, 0), out(w, HIGH, 0);
        out(w, COMMAND, refused[i]);
        wait_irq(w);
        assert_int_equal(in(w, STATUS), 0x51);
        assert_int_equal(in(w, ERROR), 4);
        if (i < 2) assert_int_equal(in(w, MID) | in(w, HIGH) << 8, 0xeb14);
    }
    out(w, COMMAND, 0xa1);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x58);
    for (unsigned i = 0; i < 512; i += 2) put_le16(id + i, (u16)bus_in(w->t.bus, DATA, 2));
    assert_int_equal(in(w, STATUS), 0x50);
    assert_int_equal(get_le16(id), 0x85c0);
    assert_int_equal(get_le16(id + 98) & 0x300, 0x300);
    assert_memory_equal(id + 54, "LGSABSXOC -DOR M", 16);
    out(w, ERROR, 3), out(w, COUNT, 0x22);             // a transfer mode
    out(w, COMMAND, 0xef);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x50);
}

// A hard disk beside it keeps its registers and signature to itself.
static void test_with_hard_disk(void **state) {
    World *w = *state;
    ide_attach(w->ide[1], 1, w->hard);
    out(w, CONTROL, 4), out(w, CONTROL, 0), testbus_advance(&w->t, 100000);
    assert_int_equal(in(w, MID), 0x14);
    out(w, DEVICE, 0xb0);
    assert_int_equal(in(w, MID), 0);
    assert_int_equal(in(w, STATUS), 0x50);
    out(w, DEVICE, 0xf0), out(w, COUNT, 1), out(w, LOW, 5), out(w, MID, 0), out(w, HIGH, 0);
    out(w, COMMAND, 0x20);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x58);
    assert_int_equal(bus_in(w->t.bus, DATA, 1), w->blob[5 * 512]);
    out(w, DEVICE, 0xa0);
    run_packet(w, (u8[12]){ 0 }, 0);
}

static void test_device_reset(void **state) {
    World *w = *state;
    send_packet(w, false, 0xf000, (u8[12]){ 0x28, [8] = 9 });
    out(w, COMMAND, 8);                                // while it is busy
    assert_int_equal(in(w, STATUS), 0);
    assert_int_equal(in(w, MID), 0x14);
    testbus_advance(&w->t, 1000000);
    assert_false(w->pin.level);
    RUN(0, 0);
}

static void test_byte_count_limits(void **state) {
    World *w = *state;
    static const struct { u32 limit, blocks; } rows[] = {
        { 2048, 20 }, { 4096, 10 }, { 0, 5 }, { 0xffff, 5 }, { 512, 80 }, { 2049, 20 },
        { 6000, 10 },
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        send_packet(w, false, rows[i].limit, (u8[12]){ 0x28, [5] = 30, [8] = 20 });
        u32 most = rows[i].limit ? rows[i].limit : 0xfffe;
        assert_int_equal(take_answer(w, most), 0x50);
        assert_int_equal(w->bytes, 20 * 2048);
        expect_blocks(w, w->answer, 30, 20);
        assert_int_equal(w->blocks, rows[i].blocks);
    }
    send_packet(w, false, 7, (u8[12]){ 0x12, [4] = 36 });      // even pieces, but for the last
    assert_int_equal(take_answer(w, 7), 0x50);
    assert_int_equal(w->bytes, 36);
    assert_int_equal(w->blocks, 6);
    RUN(5, 0x12, [4] = 5);
}

static void engine(World *w, u32 bytes) {
    u8 entry[8];
    put_le32(entry, REGION);
    put_le32(entry + 4, (bytes & 0xffff) | 0x80000000u);
    bus_dma_write(w->t.bus, phy(PRD), entry, 8);
    bus_out(w->t.bus, BM + 4, 4, PRD);
    out(w, BM + 2, 6);
    out(w, BM, 8);
    out(w, BM, 9);
}

static void test_dma(void **state) {
    World *w = *state;
    for (unsigned late = 0; late < 2; late++) {
        memset(bus_ram(w->t.bus) + REGION, 0, 0x10000);
        send_packet(w, true, 0, (u8[12]){ 0xa8, [4] = 1, [9] = 31 });
        if (late) testbus_advance(&w->t, 1000000);
        assert_false(w->pin.level);
        engine(w, 31 * 2048);
        wait_irq(w);
        assert_int_equal(in(w, BM + 2), 4);
        assert_int_equal(in(w, STATUS), 0x50);
        assert_int_equal(in(w, COUNT), 3);
        expect_blocks(w, bus_ram(w->t.bus) + REGION, 256, 31);
        out(w, BM, 0);
    }
    send_packet(w, true, 0, (u8[12]){ 0x12, [4] = 36 });       // a shorter answer than the list
    engine(w, 96);
    wait_irq(w);
    assert_int_equal(in(w, BM + 2), 5);
    assert_int_equal(in(w, STATUS), 0x50);
    assert_memory_equal(bus_ram(w->t.bus) + REGION + 8, "GLASSBOX", 8);
    out(w, BM, 0);
    send_packet(w, true, 0, (u8[12]){ 0x28, [4] = 0x40, [8] = 1 });
    engine(w, 2048);
    wait_irq(w);
    assert_int_equal(in(w, STATUS), 0x51);
    assert_int_equal(in(w, ERROR), 0x54);
    out(w, BM, 0);
}

// ---- reading ------------------------------------------------------------------------------------
static void test_reads(void **state) {
    World *w = *state;
    RUN(8, 0x25);
    assert_memory_equal(w->answer, "\0\0\x03\xe8\0\0\x08\0", 8);       // last of 1001 blocks
    RUN(2048, 0x28, [5] = 16, [8] = 1);
    assert_memory_equal(w->answer, "\1CD001", 6);
    RUN(3 * 2048, 0xa8, [4] = 3, [5] = 0xe6, [9] = 3);          // 998 to the end
    for (unsigned i = 0; i < 3 * 2048; i++)                    // which the image does not fill
        assert_int_equal(w->answer[i], i < 3 * 2048 - 512 ? w->blob[998 * 2048 + i] : 0);
    RUN(0, 0x28, [5] = 16);
    RUN(0, 0x28, [4] = 3, [5] = 0xe9);
    FAILS(5, 0x2100, 0x28, [4] = 3, [5] = 0xe9, [8] = 1);
    FAILS(5, 0x2100, 0x28, [4] = 3, [5] = 0xe8, [8] = 2);
    FAILS(5, 0x2100, 0xa8, [2] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
    RUN(0, 0x2b, [4] = 3, [5] = 0xe8);
    FAILS(5, 0x2100, 0x2b, [4] = 3, [5] = 0xe9);
    RUN(40, 0xbe, [5] = 7, [8] = 10, [9] = 0x20);              // headers alone
    assert_memory_equal(w->answer, "\0\2\x07\1\0\2\x08\1", 8);
    RUN(2 * 2048, 0xbe, [5] = 40, [8] = 2, [9] = 0x10);
    expect_blocks(w, w->answer, 40, 2);
    RUN(0, 0xbe, [5] = 40, [8] = 2);
    RUN(5 * 2352, 0xbe, [1] = 2 << 2, [5] = 40, [8] = 5, [9] = 0xf8);
    for (unsigned i = 0; i < 5; i++) expect_blocks(w, w->answer + i * 2352 + 16, 40 + i, 1);
    RUN(2352, 0xb9, [4] = 2, [5] = 40, [7] = 2, [8] = 41, [9] = 0xf8); // the same by time
    expect_blocks(w, w->answer + 16, 40, 1);
    FAILS(5, 0x6400, 0xbe, [1] = 1 << 2, [8] = 1, [9] = 0x10); // no audio here
    FAILS(5, 0x2400, 0xbe, [8] = 1, [9] = 0x10, [10] = 1);     // no subchannels
    FAILS(5, 0x2400, 0xb9, [5] = 9, [8] = 10, [9] = 0x10);     // before the first block
    FAILS(5, 0x6400, 0x45, [8] = 1);
    FAILS(5, 0x2000, 0x2a, [8] = 1);                           // cannot write
}

// A sector made by the standard's rules checks out by them: the remainder over data and EDC is
// zero, so are both sums of every P and Q vector (computed here with logarithms).
static void test_raw_sector(void **state) {
    World *w = *state;
    u8 raw[2352], power[512], exponent[256] = { 0 };
    unsigned v = 1;
    for (unsigned i = 0; i < 255; i++, v = v << 1 ^ (v & 0x80 ? 0x11d : 0))
        power[i] = power[i + 255] = (u8)v, exponent[v] = (u8)i;
    assert_int_equal(cdsector_make(12345, w->blob, CDSECTOR_ALL, raw), 2352);
    assert_memory_equal(raw, "\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\x02\x46\x45\1", 16);
    u32 edc = 0;
    for (unsigned i = 0; i < 2068; i++) {
        edc ^= raw[i];
        for (unsigned b = 0; b < 8; b++) edc = edc >> 1 ^ (edc & 1 ? 0xd8018001u : 0);
    }
    assert_int_equal(edc, 0);
    for (unsigned q = 0; q < 2; q++) {
        unsigned vectors = q ? 26 : 43, length = q ? 43 : 24;
        for (unsigned n = 0; n < 2 * vectors; n++) {
            unsigned plane = n & 1, column = n / 2;    // words of two bytes, each its own code
            u8 sum = 0, weighted = 0, byte;
            for (unsigned i = 0; i < length + 2; i++) {
                unsigned word = q ? (44 * i + 43 * column) % 1118 : 43 * i + column;
                if (q && i >= 43) word = 1118 + 26 * (i - 43) + column;
                byte = raw[12 + 2 * word + plane];
                sum ^= byte;
                if (byte) weighted ^= power[(exponent[byte] + length + 1 - i) % 255];
            }
            if (sum || weighted) fail_msg("%c vector %u", q ? 'Q' : 'P', n);
        }
    }
    assert_int_equal(cdsector_bytes(CDSECTOR_HEADER | CDSECTOR_CHECK), 292);
}

// ---- what it says of itself ---------------------------------------------------------------------
static void test_information(void **state) {
    World *w = *state;
    u8 *a = w->answer;
    RUN(36, 0x12, [4] = 96);
    assert_memory_equal(a, "\x05\x80", 2);
    assert_memory_equal(a + 8, "GLASSBOX", 8);
    FAILS(5, 0x2400, 0x12, [1] = 1, [4] = 96);
    RUN(20, 0x43, [7] = 1);                                    // track 1, lead-out
    assert_memory_equal(a, "\0\x12\1\1\0\x14\1\0\0\0\0\0\0\x14\xaa\0\0\0\x03\xe9", 20);
    RUN(20, 0x43, [1] = 2, [7] = 1);                           // the same in minutes: 1151 frames
    assert_memory_equal(a + 8, "\0\0\2\0\0\x14\xaa\0\0\0\x0f\x1a", 12);
    RUN(12, 0x43, [6] = 0xaa, [7] = 1);
    assert_int_equal(a[6], 0xaa);
    RUN(4, 0x43, [8] = 4);
    assert_int_equal(a[1], 0x12);                              // as long as it would be
    RUN(12, 0x43, [2] = 1, [7] = 1);
    RUN(12, 0x43, [7] = 1, [9] = 0x40);                        // the old place of the format
    RUN(48, 0x43, [2] = 2, [7] = 1);
    assert_memory_equal(a + 4 + 22, "\1\x14\0\xa2\0\0\0\0\0\x0f\x1a", 11);
    FAILS(5, 0x2400, 0x43, [6] = 2, [7] = 1);
    FAILS(5, 0x2400, 0x43, [2] = 5, [7] = 1);
    RUN(16, 0x42, [2] = 0x40, [3] = 1, [8] = 99);
    assert_memory_equal(a, "\0\x15\0\x0c\1\x14\1\1", 8);
    RUN(24, 0x42, [2] = 0x40, [3] = 2, [8] = 99);
    RUN(4, 0x42, [8] = 99);
    RUN(8, 0x44, [5] = 5, [8] = 99);
    assert_memory_equal(a, "\1\0\0\0\0\0\0\5", 8);
    RUN(34, 0x51, [7] = 1);
    assert_int_equal(a[2], 0x0e);
    RUN(36, 0x52, [1] = 1, [5] = 1, [7] = 1);
    assert_memory_equal(a + 24, "\0\0\x03\xe9", 4);
    FAILS(5, 0x2400, 0x52, [1] = 1, [5] = 2, [7] = 1);
    FAILS(5, 0x2400, 0xad, [9] = 99);                          // not a DVD
    RUN(8, 0xbd, [9] = 8);
    RUN(0, 0xbb, [2] = 0xff, 0xff);
    RUN(0, 0x35);
}

static void test_mode_pages(void **state) {
    World *w = *state;
    u8 *a = w->answer;
    RUN(30, 0x5a, [2] = 0x2a, [7] = 1);
    assert_memory_equal(a, "\0\x1c\1", 3);
    assert_memory_equal(a + 8, "\x2a\x14", 2);
    assert_int_equal(a[14] & 2, 0);
    RUN(0, 0x1e, [4] = 1);                                     // lock: the page says so
    RUN(30, 0x5a, [2] = 0x2a, [7] = 1);
    assert_int_equal(a[14] & 2, 2);
    RUN(16, 0x5a, [2] = 0x41, [7] = 1);                        // what can be changed: nothing
    assert_memory_equal(a + 8, "\1\6\0\0\0\0\0\0", 8);
    RUN(8 + 8 + 8 + 16 + 12 + 22, 0x5a, [2] = 0x3f, [7] = 1);
    RUN(12, 0x1a, [2] = 1, [4] = 99);
    FAILS(5, 0x3900, 0x5a, [2] = 0xc1, [7] = 1);
    FAILS(5, 0x2400, 0x5a, [2] = 0x22, [7] = 1);
    // MODE SELECT: data go to the drive.
    static const struct { u8 page[16]; u16 asc; } rows[] = {
        { { [8] = 1, 6, 0, 3 }, 0 }, { { [8] = 0x22, 6 }, 0x2600 }, { { [8] = 1, 7 }, 0x1a00 },
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        send_packet(w, false, 10, (u8[12]){ 0x55, 0x10, [8] = 16 });
        for (unsigned at = 0; at < 16;) {
            wait_irq(w);
            assert_int_equal(in(w, STATUS), 0x58);
            assert_int_equal(in(w, COUNT), 0);
            unsigned n = in(w, MID);
            assert_int_equal(n, at ? 6 : 10);
            for (; n; n -= 2, at += 2) bus_out(w->t.bus, DATA, 2, get_le16(rows[i].page + at));
        }
        wait_irq(w);
        assert_int_equal(in(w, STATUS), rows[i].asc ? 0x51 : 0x50);
        sense(w, rows[i].asc ? 5 : 0, rows[i].asc);
    }
    FAILS(5, 0x1a00, 0x55, 0x10, [7] = 0x40);
    FAILS(5, 0x2400, 0x55, 0x11, [8] = 16);
    RUN(0, 0x55, 0x10);
}

static void test_configuration(void **state) {
    World *w = *state;
    u8 *a = w->answer;
    RUN(8, 0x46, [8] = 8);
    u32 whole = 4 + (u32)(a[2] << 8 | a[3]);
    assert_int_equal(a[7], 8);                                 // profile: CD-ROM
    RUN(whole, 0x46, [7] = 1);
    unsigned features = 0;
    for (u32 at = 8; at < whole; at += 4u + a[at + 3]) {
        if (at > 8) assert_true(get_le16(a + at) != 0);
        features++;
    }
    assert_int_equal(features, 10);
    RUN(20, 0x46, [1] = 2, [3] = 0x10, [7] = 1);               // one of them
    assert_memory_equal(a + 8, "\0\x10\1\x08\0\0\x08\0", 8);
    RUN(8, 0x46, [1] = 2, [3] = 0x99, [7] = 1);
    cd_eject(w->cd);
    RUN(8, 0x46, [1] = 2, [3] = 0x99, [7] = 1);
    assert_int_equal(a[7], 0);
}

// ---- discs come and go --------------------------------------------------------------------------
static void events(World *w, u8 event, u8 status) {
    RUN(8, 0x4a, 1, [4] = 0x10, [8] = 8);
    assert_memory_equal(w->answer, "\0\6\4\x10", 4);
    assert_int_equal(w->answer[4], event);
    assert_int_equal(w->answer[5], status);
}

static void test_disc_change(void **state) {
    World *w = *state;
    RUN(0, 0);                                                 // nothing to tell at power-on
    events(w, 0, 2);
    assert_ptr_equal(cd_eject(w->cd), w->disc);
    events(w, 3, 1);
    events(w, 0, 1);
    FAILS(2, 0x3a02, 0);
    FAILS(2, 0x3a02, 0x28, [8] = 1);
    assert_null(cd_insert(w->cd, w->other));
    RUN(36, 0x12, [4] = 36);                                   // does not touch the attention
    FAILS(6, 0x2800, 0x28, [8] = 1);
    events(w, 2, 2);
    RUN(8, 0x25);
    assert_memory_equal(w->answer, "\0\0\0\x31", 4);
    RUN(2048, 0x28, [8] = 1);
    expect_blocks(w, w->answer, 1, 1);
    assert_ptr_equal(cd_insert(w->cd, w->disc), w->other);
    sense(w, 6, 0x2800);                                       // REQUEST SENSE asks for it, too
    RUN(0, 0);
    assert_ptr_equal(cd_insert(w->cd, NULL), w->disc);
    FAILS(2, 0x3a01, 0);
    FAILS(5, 0x2400, 0x4a, 0, [4] = 0x10, [8] = 8);
    RUN(4, 0x4a, 1, [4] = 0x02, [8] = 8);
    assert_int_equal(w->answer[2], 0x80);
}

static void test_tray(void **state) {
    World *w = *state;
    RUN(0, 0x1b, [4] = 2);                                     // eject
    assert_true(cd_is_open(w->cd));
    FAILS(2, 0x3a02, 0);
    RUN(8, 0xbd, [9] = 8);
    assert_int_equal(w->answer[1], 0x10);
    RUN(0, 0x1b, [4] = 3);                                     // load
    FAILS(6, 0x2800, 0);
    RUN(0, 0);
    RUN(0, 0x1e, [4] = 1);
    assert_true(cd_is_locked(w->cd));
    FAILS(5, 0x5302, 0x1b, [4] = 2);
    cd_press_eject(w->cd);
    assert_false(cd_is_open(w->cd));
    events(w, 1, 2);                                           // the guest is asked
    RUN(0, 0x1b, [4] = 1);                                     // spinning up is not loading
    RUN(0, 0x1e, [4] = 0);
    cd_press_eject(w->cd);
    assert_true(cd_is_open(w->cd));
    RUN(0, 0x1b, [4] = 3);
    sense(w, 6, 0x2800);
    RUN(0, 0x1e, [4] = 1);
    out(w, CONTROL, 4), out(w, CONTROL, 0);                    // a reset unlocks
    testbus_advance(&w->t, 100000);
    assert_false(cd_is_locked(w->cd));
}

// The disc goes, or is changed, while it is being read.
static void disc_vanishes(World *w, Disk *next) {
    send_packet(w, false, 2048, (u8[12]){ 0x28, [8] = 20 });
    for (unsigned block = 0; block < 4; block++) {
        wait_irq(w);
        assert_int_equal(in(w, STATUS), 0x58);
        if (block == 2) cd_eject(w->cd);
        if (block == 2 && next) cd_insert(w->cd, next);
        for (unsigned i = 0; i < 1024; i++) bus_in(w->t.bus, DATA, 2);
    }
    wait_irq(w);                                               // four were in the buffer
    assert_int_equal(in(w, STATUS), 0x51);
    sense(w, next ? 6 : 2, next ? 0x2800 : 0x3a02);
}

static void test_disc_vanishes(void **state) {
    World *w = *state;
    disc_vanishes(w, NULL);
    cd_insert(w->cd, w->disc);
    sense(w, 6, 0x2800);
    disc_vanishes(w, w->other);
    cd_insert(w->cd, w->disc);
}

static void test_dvd(void **state) {
    World *w = *state;
    FILE *f = tmpfile();
    char path[64], *message;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fileno(f));
    assert_int_equal(fseek(f, 500000l * 2048 - 1, SEEK_SET) | fputc(0, f), 0);
    fflush(f);
    Disk *dvd = disk_open(path, DISK_READONLY, &message);
    assert_non_null(dvd);
    cd_insert(w->cd, dvd);
    sense(w, 6, 0x2800);
    RUN(8, 0x46, [8] = 8);
    assert_int_equal(w->answer[7], 0x10);
    RUN(2052, 0xad, [8] = 0x10);
    assert_memory_equal(w->answer + 4, "\1\x0f\1\0\0\3\0\0\0\x0a\xa1\x1f", 12);
    RUN(8, 0xad, [7] = 1, [9] = 8);
    RUN(2048, 0x28, [3] = 7, 0xa1, 0x1f, [8] = 1);
    cd_insert(w->cd, w->disc);
    disk_close(dvd);
    fclose(f);
}

// A snapshot between two blocks of a read.
static void test_snapshot(void **state) {
    World *w = *state, *v;
    send_packet(w, false, 2048, (u8[12]){ 0x28, [5] = 60, [8] = 10 });
    for (unsigned block = 0; block < 3; block++) {
        wait_irq(w);
        in(w, STATUS);
        for (unsigned i = 0; i < 1024; i++) bus_in(w->t.bus, DATA, 2);
    }
    setup((void **)&v);
    v->t.now_ns = w->t.now_ns;
    testbus_copy_devices(v->t.bus, w->t.bus);
    assert_true(device_hash(w->t.bus) == device_hash(v->t.bus));
    assert_int_equal(take_answer(v, 2048), 0x50);
    assert_int_equal(v->bytes, 7 * 2048);
    expect_blocks(v, v->answer, 63, 7);
    teardown((void **)&v);
}

static void test_random(void **state) {
    World *w = *state;
    u64 seed = fuzz_state(4711);
    static const u8 ops[] = { 0x28, 0xbe, 0x43, 0x5a, 0x46, 0x4a, 0xa8, 0x55,
                              0x1b, 0x12, 0x03, 0x42, 0x51, 0x52, 0xb9, 0xad };
    for (u64 i = 0, n = fuzz_count(150000); i < n; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        u32 r = (u32)(seed >> 16);
        u8 p[12];
        switch (r % 14) {
        case 0: out(w, COMMAND, r & 0x300 ? 0xa0 : r >> 16); break;
        case 1: out(w, DEVICE, r >> 8 & 0xef); break;
        case 2: out(w, MID, r >> 8), out(w, HIGH, r >> 16); break;
        case 3: out(w, ERROR, r >> 8 & 1); break;
        case 4: case 5:
            put_le64(p, seed * 0x9e3779b97f4a7c15u);
            put_le32(p + 8, r);
            if (r & 0x10000) p[0] = ops[r >> 20 & 15], p[2] = p[3] = 0, p[4] &= 3;
            for (unsigned b = 0; b < 12; b += 2) bus_out(w->t.bus, DATA, 2, get_le16(p + b));
            break;
        case 6: for (u32 k = r >> 21; k; k--) bus_in(w->t.bus, DATA, 1u << (r >> 8) % 3); break;
        case 7: if (r & 0x700) break;
            cd_insert(w->cd, r & 0x800 ? w->disc : r & 0x1000 ? w->other : NULL);
            break;
        case 8: if (r & 0x300) testbus_advance(&w->t, r >> 8 & 0x3fff); else cd_eject(w->cd); break;
        case 9: engine(w, r >> 8); break;
        case 10: if (!(r & 0x3800)) out(w, CONTROL, 4), out(w, CONTROL, 0); break;
        case 11: out(w, BM, r >> 8); break;
        case 12: testbus_advance(&w->t, r >> 8 & 0xfff); break;
        default: in(w, STATUS); break;
        }
    }
    out(w, BM, 0);
    out(w, CONTROL, 4), out(w, CONTROL, 0);                    // still alive
    testbus_advance(&w->t, 1000000);
    cd_insert(w->cd, w->disc);
    sense(w, 6, 0x2800);
    RUN(2048, 0x28, [5] = 16, [8] = 1);
    assert_memory_equal(w->answer, "\1CD001", 6);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_signature_and_identify), T(test_with_hard_disk), T(test_device_reset),
        T(test_byte_count_limits), T(test_dma), T(test_reads), T(test_raw_sector),
        T(test_information), T(test_mode_pages), T(test_configuration), T(test_disc_change),
        T(test_tray), T(test_disc_vanishes), T(test_dvd), T(test_snapshot), T(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
