// SPDX-License-Identifier: MIT
// The two 8237As, programmed as a driver does. Build and run (one line):
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc -Itests/unit
//       tests/unit/test_dma.c src/dev/dma.c src/base/*.c src/bus/*.c -lcmocka -lpthread
//       -o /tmp/test_dma && /tmp/test_dma
#include "dev/dma.h"

#include "testbus.h"
#include <string.h>

typedef struct World {
    TestBus t;
    Dma *dma;
} World;

static void out(World *w, u16 port, u32 v) { bus_out(w->t.bus, port, 1, v); }
static u8 in(World *w, u16 port) { return (u8)bus_in(w->t.bus, port, 1); }

static int setup(void **state) {
    World *w = mem_new(sizeof(*w));
    testbus_open(&w->t, 1 << 20);
    w->dma = dma_new(w->t.bus);
    device_reset_all(w->t.bus);
    out(w, 0xd6, 0xc0);                // channel 4: cascade
    out(w, 0xd4, 0x00);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    World *w = *state;
    dma_free(w->dma);
    testbus_close(&w->t);
    free(w);
    return 0;
}

static const u8 page_port[8] = { 0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a };

// Address and count in the channel's own units (count: transfers minus 1); unmasks.
static void program(World *w, unsigned channel, u8 mode, u32 page, u16 address, u16 count) {
    unsigned chip = channel / 4, shift = chip;
    u16 base = chip ? 0xc0 : 0;
    u16 reg = (u16)(base + ((channel & 3) * 2u << shift));
    out(w, (u16)(base + (10u << shift)), (channel & 3) | 4);
    out(w, (u16)(base + (12u << shift)), 0);
    out(w, (u16)(base + (11u << shift)), mode | (channel & 3));
    out(w, reg, address & 0xff);
    out(w, reg, address >> 8);
    out(w, (u16)(reg + (1u << shift)), count & 0xff);
    out(w, (u16)(reg + (1u << shift)), count >> 8);
    out(w, page_port[channel], page);
    out(w, (u16)(base + (10u << shift)), channel & 3);
}

static void test_to_memory(void **state) {
    World *w = *state;
    u8 buf[512], *ram = bus_ram(w->t.bus);
    bool end;
    for (unsigned i = 0; i < 512; i++) buf[i] = (u8)(i * 7 + 1);
    program(w, 2, 0x44, 0x01, 0x2345, 1023);
    assert_true(dma_ready(w->dma, 2));
    assert_int_equal(dma_transfer(w->dma, 2, buf, 512, true, &end), 512);
    assert_false(end);
    assert_memory_equal(ram + 0x12345, buf, 512);
    out(w, 12, 0);
    assert_int_equal(in(w, 4), 0x45);                       // 2345 + 200
    assert_int_equal(in(w, 4), 0x25);
    assert_int_equal(in(w, 5), 0xff);                       // 1023 - 512
    assert_int_equal(in(w, 5), 0x01);
    assert_int_equal(in(w, 8), 0);
    assert_int_equal(dma_transfer(w->dma, 2, buf, 512, true, &end), 512);
    assert_true(end);
    assert_memory_equal(ram + 0x12345 + 512, buf, 512);
    assert_int_equal(ram[0x12344], 0);
    assert_int_equal(ram[0x12345 + 1024], 0);
    assert_int_equal(in(w, 8), 0x04);                       // reached, once
    assert_int_equal(in(w, 8), 0);
    assert_false(dma_ready(w->dma, 2));                     // masked itself
    assert_int_equal(in(w, 15) & 15, 15);
    assert_int_equal(dma_transfer(w->dma, 2, buf, 512, true, &end), 0);
}

static void test_from_memory_partial(void **state) {
    World *w = *state;
    u8 buf[512], *ram = bus_ram(w->t.bus);
    bool end;
    for (unsigned i = 0; i < 100; i++) ram[0x8000 + i] = (u8)(i + 1);
    memset(buf, 0xee, sizeof(buf));
    program(w, 1, 0x48, 0, 0x8000, 99);
    assert_int_equal(dma_transfer(w->dma, 1, buf, 512, false, &end), 100);
    assert_true(end);
    assert_memory_equal(buf, ram + 0x8000, 100);
    assert_int_equal(buf[100], 0xee);
}

static void test_auto_initialise(void **state) {
    World *w = *state;
    u8 buf[64] = { 1 };
    bool end;
    program(w, 3, 0x54, 0, 0x4000, 63);
    for (unsigned round = 1; round < 4; round++) {
        buf[0] = (u8)round;
        assert_int_equal(dma_transfer(w->dma, 3, buf, 64, true, &end), 64);
        assert_true(end);
        assert_int_equal(bus_ram(w->t.bus)[0x4000], round);
        assert_true(dma_ready(w->dma, 3));
        assert_int_equal(in(w, 8), 0x08);
    }
    assert_int_equal(dma_transfer(w->dma, 3, buf, 128, true, &end), 64);   // ends at terminal count
}

static void test_decrement_and_wrap(void **state) {
    World *w = *state;
    u8 buf[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, *ram = bus_ram(w->t.bus);
    bool end;
    program(w, 0, 0x64, 2, 0x0003, 7);                      // down, through 0 within the page
    assert_int_equal(dma_transfer(w->dma, 0, buf, 8, true, &end), 8);
    assert_memory_equal(ram + 0x20000, ((u8[]){ 4, 3, 2, 1 }), 4);
    assert_memory_equal(ram + 0x2fffc, ((u8[]){ 8, 7, 6, 5 }), 4);
    program(w, 0, 0x44, 3, 0xfffd, 7);                      // up, through ffff
    assert_int_equal(dma_transfer(w->dma, 0, buf, 8, true, &end), 8);
    assert_true(end);
    assert_memory_equal(ram + 0x3fffd, buf, 3);
    assert_memory_equal(ram + 0x30000, buf + 3, 5);
    assert_int_equal(ram[0x40000], 0);
}

static void test_words(void **state) {
    World *w = *state;
    u8 buf[64], *ram = bus_ram(w->t.bus);
    bool end;
    for (unsigned i = 0; i < 64; i++) buf[i] = (u8)(i + 1);
    program(w, 5, 0x44, 0x05, 0x1234, 31);                  // page bit 0 is not used
    assert_int_equal(dma_transfer(w->dma, 5, buf, 64, true, &end), 64);
    assert_true(end);
    assert_memory_equal(ram + 0x40000 + 0x2468, buf, 64);
    assert_int_equal(in(w, 0xd0), 0x02);
    program(w, 6, 0x44, 0x02, 0xffff, 1);
    assert_int_equal(dma_transfer(w->dma, 6, buf, 4, true, &end), 4);
    assert_memory_equal(ram + 0x3fffe, buf, 2);
    assert_memory_equal(ram + 0x20000, buf + 2, 2);
}

static void test_verify_and_direction(void **state) {
    World *w = *state;
    u8 buf[16], *ram = bus_ram(w->t.bus);
    bool end;
    memset(buf, 9, sizeof(buf));
    program(w, 2, 0x40, 0, 0x5000, 15);                     // verify
    assert_int_equal(dma_transfer(w->dma, 2, buf, 16, true, &end), 16);
    assert_true(end);
    assert_int_equal(ram[0x5000], 0);
    program(w, 2, 0x44, 0, 0x5000, 15);                     // the device reads, this does not
    assert_int_equal(dma_transfer(w->dma, 2, buf, 16, false, &end), 16);
    assert_int_equal(buf[0], 0);
    assert_int_equal(ram[0x5000], 0);
}

static void test_when_ready(void **state) {
    World *w = *state;
    program(w, 2, 0x44, 0, 0, 15);
    assert_true(dma_ready(w->dma, 2));
    out(w, 8, 4);                                           // controller disabled
    assert_false(dma_ready(w->dma, 2));
    out(w, 8, 0);
    out(w, 0xd4, 4);                                        // cascade masked
    assert_false(dma_ready(w->dma, 2));
    out(w, 0xd4, 0);
    out(w, 0xd6, 0x40);                                     // channel 4 not in cascade mode
    assert_false(dma_ready(w->dma, 2));
    out(w, 0xd6, 0xc0);
    out(w, 0x0b, 0xc2);                                     // the channel itself in cascade mode
    assert_false(dma_ready(w->dma, 2));
    out(w, 0x0b, 0x46);
    out(w, 0x0f, 0x0b);
    assert_true(dma_ready(w->dma, 2));
    assert_int_equal(in(w, 0x0f), 0xfb);
    out(w, 0x0d, 0);                                        // master clear
    assert_false(dma_ready(w->dma, 2));
    out(w, 0x0e, 0);
    assert_true(dma_ready(w->dma, 2));
    dma_request(w->dma, 2, true);
    dma_request(w->dma, 7, true);
    assert_int_equal(in(w, 8), 0x40);
    assert_int_equal(in(w, 0xd0), 0x80);
    dma_request(w->dma, 2, false);
    assert_int_equal(in(w, 8), 0);
}

static void test_page_storage(void **state) {
    World *w = *state;
    for (unsigned i = 0; i < 16; i++) out(w, (u16)(0x80 + i), 0xa0 + i);
    for (unsigned i = 0; i < 16; i++) assert_int_equal(in(w, (u16)(0x80 + i)), 0xa0 + i);
    device_reset_all(w->t.bus);
    assert_int_equal(in(w, 0x87), 0);
    assert_int_equal(in(w, 0x0f), 0xff);
}

// Random programming: counts never run away, and nothing is written outside the pages named.
static void test_random(void **state) {
    World *w = *state;
    u64 seed = 88172645463325252ull;
    static u8 buf[4096];
    for (unsigned i = 0; i < 100000; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        u32 r = (u32)(seed >> 16);
        u16 port = (u16)(r & 1 ? r >> 1 & 15 : r & 2 ? 0x80 + (r >> 2 & 15) : 0xc0 + (r >> 2 & 31));
        if (r >> 31) in(w, port);
        else out(w, port, r >> 8 & (port == 8 || port == 0xd0 ? 0xfb : 0xff));
        if (r % 5) continue;
        unsigned channel = r >> 20 & 7, bytes = r >> 12 & 0xffe;
        bool end, ready = dma_ready(w->dma, channel);
        u32 n = dma_transfer(w->dma, channel, buf, bytes, r >> 30 & 1, &end);
        assert_true(n <= bytes && (ready || (!n && !end)));
        assert_true(!ready || end || n == bytes);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_to_memory), T(test_from_memory_partial), T(test_auto_initialise),
        T(test_decrement_and_wrap), T(test_words), T(test_verify_and_direction),
        T(test_when_ready), T(test_page_storage), T(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
