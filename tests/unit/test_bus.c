// SPDX-License-Identifier: MIT
// The bus: pages, MMIO, DMA, code granules, ports, pins, time, events, device tables. Build, run:
//   gcc -std=gnu11 -Wall -Wextra -g -fsanitize=address,undefined -Isrc tests/unit/test_bus.c
//       src/base/*.c src/bus/*.c -lcmocka -lpthread -o build/test_bus && build/test_bus  (one line)
#define _GNU_SOURCE
#include "bus/device.h"
#include "bus/hosttime.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM_BYTES (1u << 20)

typedef struct Seen { u32 calls, a, b, c, d; } Seen;      // last arguments of a callback

typedef struct World {
    Log log;
    Bus *bus;
    Seen written, changed, protect, attention, mmio, port;
    u8 ram_at_hook;             // byte at the start of the store when code_written ran
    u64 now_ns;                 // clock source
    char order[64];             // of timers and events
} World;

static void on_written(void *o, u32 ppn, u32 offset, u32 bytes) {
    World *w = o;
    w->written = (Seen){ w->written.calls + 1, ppn, offset, bytes, 0 };
    w->ram_at_hook = bus_page(w->bus, ppn)->host[offset];
}
static void on_changed(void *o, u32 ppn, u32 pages) {
    World *w = o;
    w->changed = (Seen){ w->changed.calls + 1, ppn, pages, 0, 0 };
}
static void on_protect(void *o, u32 ppn) {
    World *w = o;
    w->protect = (Seen){ w->protect.calls + 1, ppn, 0, 0, 0 };
}
static void on_attention(void *o) { ((World *)o)->attention.calls++; }
static u64 on_now(void *o) { return ((World *)o)->now_ns; }

static int setup(void **state) {
    World *w = mem_new(sizeof(World));
    log_init(&w->log);
    w->bus = bus_new(RAM_BYTES, &w->log);
    bus_set_hooks(w->bus, &(BusHooks){ w, on_written, on_changed, on_protect, on_attention, NULL });
    assert_int_equal(bus_now_ns(w->bus), 0);                        // it stands until somebody runs
    bus_clock_run(w->bus, true);
    *state = w;
    return w->bus ? 0 : -1;
}

static int teardown(void **state) {
    World *w = *state;
    bus_free(w->bus);
    log_close(&w->log);
    free(w);
    return 0;
}

// ---- memory -------------------------------------------------------------------------------------
static void test_too_large(void **state) {
    (void)state;
    assert_null(bus_new(5ull << 30, NULL));
    assert_int_equal(errno, EINVAL);
}

// Is [from, to) of the file memory, or a hole?
static void assert_begun(Bus *bus, off_t from, off_t to, bool begun) {
    assert_int_equal(lseek(bus_memory_fd(bus), from, begun ? SEEK_DATA : SEEK_HOLE), from);
    assert_true(lseek(bus_memory_fd(bus), from, begun ? SEEK_HOLE : SEEK_DATA) >= to || !begun);
}

// The host's memory for a page comes with its neighbours', and what is there stays.
static void test_begin(void **state) {
    Bus *bus = ((World *)*state)->bus;
    bus_write(bus, phy(0x23000), 1, 0x5a);
    bus_begin_page(bus, 0x20);
    assert_int_equal(bus_read(bus, phy(0x23000), 1), 0x5a);
    bus_begin_page(bus, 0x31);
    assert_begun(bus, 0x30000, 0x40000, true);
    assert_begun(bus, 0x40000, 0x50000, false);
    bus_write(bus, phy(0x35000), 1, 0x77);
    bus_begin_page(bus, 0x35);
    assert_int_equal(bus_read(bus, phy(0x35000), 1), 0x77);
    u32 word = 0x12345678;
    bus_dma_write(bus, phy(0x52ffe), &word, 4);
    assert_begun(bus, 0x50000, 0x60000, true);
    assert_int_equal(bus_read(bus, phy(0x52ffe), 4), word);
    bus_begin_page(bus, BUS_PAGES - 1);                             // nobody
}

// The file's last pages need not fill what is begun at once: it does not grow.
static void test_begin_at_end(void **state) {
    (void)state;
    Bus *bus = bus_new(0x13000, NULL);
    u8 *last = bus_alloc(bus, 64u << 20) + (64u << 20) - 4096;
    off_t end = lseek(bus_memory_fd(bus), 0, SEEK_END);
    bus_map_ram(bus, 0x1000, 1, last);
    bus_begin_page(bus, 0x1000);
    assert_begun(bus, end - 0x3000, end, true);
    assert_int_equal(lseek(bus_memory_fd(bus), 0, SEEK_END), end);
    bus_free(bus);
}

static void test_ram(void **state) {
    World *w = *state;
    bus_write(w->bus, phy(0x1000), 4, 0x11223344);
    assert_int_equal(bus_read(w->bus, phy(0x1000), 4), 0x11223344);
    assert_int_equal(bus_read(w->bus, phy(0x1001), 2), 0x2233);
    bus_write(w->bus, phy(0x1003), 1, 0x99);
    assert_int_equal(bus_ram(w->bus)[0x1003], 0x99);
    bus_write(w->bus, phy(0x1ffe), 4, 0xaabbccdd);           // two pages
    assert_int_equal(bus_read(w->bus, phy(0x1ffe), 4), 0xaabbccdd);
    assert_int_equal(bus_ram(w->bus)[0x2001], 0xaa);
    assert_int_equal(bus_ram_bytes(w->bus), RAM_BYTES);
}

static void test_nothing_there(void **state) {
    World *w = *state;
    assert_int_equal(bus_page(w->bus, RAM_BYTES >> 12)->kind, BUS_PAGE_NONE);
    bus_write(w->bus, phy(RAM_BYTES), 4, 0);
    assert_int_equal(bus_read(w->bus, phy(RAM_BYTES), 4), 0xffffffff);
    assert_int_equal(bus_read(w->bus, phy(RAM_BYTES), 1), 0xff);
    bus_write(w->bus, phy(RAM_BYTES - 1), 2, 0x5566);        // half in RAM
    assert_int_equal(bus_read(w->bus, phy(RAM_BYTES - 1), 2), 0xff66);
    assert_int_equal(bus_read(w->bus, phy(0xfffffffe), 4), 0xffffffff);
    assert_int_equal(bus_read(w->bus, phy(1ull << 32), 4), 0xffffffff);
    bus_write(w->bus, phy(1ull << 32), 1, 7);                // does not wrap to 0
    assert_int_equal(bus_ram(w->bus)[0], 0);
}

static void test_rom_and_alloc(void **state) {
    World *w = *state;
    u8 *a = bus_alloc(w->bus, 100), *b = bus_alloc(w->bus, 8192);
    assert_int_equal((uintptr_t)a % PAGE_BYTES, 0);
    assert_ptr_equal(b, a + PAGE_BYTES);
    assert_int_equal(b[8191], 0);
    b[5] = 0x77;
    bus_map_rom(w->bus, 0xfffff, 1, b);
    assert_int_equal(bus_read(w->bus, phy(0xfffff005), 1), 0x77);
    bus_write(w->bus, phy(0xfffff005), 1, 1);
    bus_dma_write(w->bus, phy(0xfffff005), "\2", 1);
    assert_int_equal(b[5], 0x77);
    bus_map_none(w->bus, 0xfffff, 1);
    assert_int_equal(bus_read(w->bus, phy(0xfffff005), 1), 0xff);
    bus_map_ram(w->bus, 0xfffff, 1, b);
    bus_write(w->bus, phy(0xfffff005), 1, 1);
    assert_int_equal(b[5], 1);
}

static void test_map_changed(void **state) {
    World *w = *state;
    bus_map_none(w->bus, 0xa0, 0x20);
    assert_int_equal(w->changed.calls, 1);
    assert_int_equal(w->changed.a, 0xa0);
    assert_int_equal(w->changed.b, 0x20);
    bus_map_none(w->bus, 0xa0, 0x20);                        // nothing new
    assert_int_equal(w->changed.calls, 1);
    bus_map_ram(w->bus, 0xa0, 1, bus_ram(w->bus) + 0xa0000);
    assert_int_equal(w->changed.calls, 2);
    bus_map_ram(w->bus, 0xa0, 1, bus_ram(w->bus) + 0xb0000);
    assert_int_equal(w->changed.calls, 3);
}

static u32 mmio_read(void *self, u32 offset, unsigned size) {
    World *w = self;
    w->mmio = (Seen){ w->mmio.calls + 1, offset, size, 0, 0 };
    return 0xa1b2c3d4;
}
static void mmio_write(void *self, u32 offset, unsigned size, u32 value) {
    World *w = self;
    w->mmio = (Seen){ w->mmio.calls + 1, offset, size, value, 0 };
}

static void test_mmio(void **state) {
    World *w = *state;
    unsigned region = bus_add_mmio(w->bus, &(BusMmio){ "test", w, mmio_read, mmio_write });
    bus_map_mmio(w->bus, 0xe0000, 2, region, 0x10000);
    assert_int_equal(bus_read(w->bus, phy(0xe0001234), 2), 0xc3d4);
    assert_int_equal(w->mmio.a, 0x11234);
    assert_int_equal(w->mmio.b, 2);
    bus_write(w->bus, phy(0xe0000008), 1, 0x1ff);
    assert_int_equal(w->mmio.a, 0x10008);
    assert_int_equal(w->mmio.b, 1);
    assert_int_equal(w->mmio.c, 0xff);
    u8 buf[7];
    w->mmio.calls = 0;
    bus_dma_read(w->bus, phy(0xe0000003), buf, 7);           // 1 + 4 + 2
    assert_int_equal(w->mmio.calls, 3);
    assert_int_equal(w->mmio.a, 0x10008);
    assert_int_equal(w->mmio.b, 2);
    assert_memory_equal(buf, "\xd4\xd4\xc3\xb2\xa1\xd4\xc3", 7);
    bus_dma_write(w->bus, phy(0xe0000ffe), "\1\2\3\4\5\6", 6);  // the second page gets 3 4 5 6
    assert_int_equal(w->mmio.a, 0x11000);
    assert_int_equal(w->mmio.c, 0x06050403);
    u32 changes = w->changed.calls;
    bus_map_mmio(w->bus, 0xe0000, 2, region, 0);             // same region, other offset
    assert_int_equal(w->changed.calls, changes + 1);
    bus_read(w->bus, phy(0xe0000ffc), 4);
    assert_int_equal(w->mmio.a, 0xffc);
    unsigned silent = bus_add_mmio(w->bus, &(BusMmio){ .name = "silent" });
    bus_map_mmio(w->bus, 0xe0000, 1, silent, 0);
    assert_int_equal(bus_read(w->bus, phy(0xe0000000), 2), 0xffff);
    bus_write(w->bus, phy(0xe0000000), 2, 0);
}

static void test_dma(void **state) {
    World *w = *state;
    u8 from[10000], to[10000];
    for (u32 i = 0; i < sizeof(from); i++) from[i] = (u8)(i * 7 + i / 256);
    bus_dma_write(w->bus, phy(0x1f01), from, sizeof(from));
    assert_memory_equal(bus_ram(w->bus) + 0x1f01, from, sizeof(from));
    bus_dma_read(w->bus, phy(0x1f01), to, sizeof(to));
    assert_memory_equal(to, from, sizeof(to));
    bus_dma_read(w->bus, phy(RAM_BYTES - 2), to, 4);
    assert_memory_equal(to, "\0\0\xff\xff", 4);
    bus_dma_read(w->bus, phy(0xffffffff), to, 2);
    assert_memory_equal(to, "\xff\xff", 2);
}

static void test_code_granules(void **state) {
    World *w = *state;
    bus_page(w->bus, 3)->code_granules = 1ull << 2 | 1ull << 63;    // 0x3080-0x30bf, 0x3fc0-0x3fff
    bus_write(w->bus, phy(0x307f), 1, 1);
    bus_write(w->bus, phy(0x30c0), 4, 1);
    assert_int_equal(w->written.calls, 0);
    bus_write(w->bus, phy(0x307e), 4, 0x55);                        // reaches into granule 2
    assert_int_equal(w->written.calls, 1);
    assert_int_equal(w->written.a, 3);
    assert_int_equal(w->written.b, 0x7e);
    assert_int_equal(w->written.c, 4);
    assert_int_equal(w->ram_at_hook, 0x55);                         // after the store
    bus_write(w->bus, phy(0x3ffe), 4, 0);                           // split: two bytes hit
    assert_int_equal(w->written.calls, 3);
    bus_dma_write(w->bus, phy(0x2ff0), (u8[0x100]){ 0 }, 0x100);
    assert_int_equal(w->written.calls, 4);
    assert_int_equal(w->written.b, 0);
    assert_int_equal(w->written.c, 0xf0);
    bus_note_store(w->bus, 3, 0xc0, 0xf00);                         // everything between the two
    assert_int_equal(w->written.calls, 4);
    bus_note_store(w->bus, 3, 0xc0, 0xf01);
    assert_int_equal(w->written.calls, 5);
    bus_page(w->bus, 4)->code_granules = 1;
    bus_write(w->bus, phy(0x4003), 1, 0);
    assert_int_equal(w->written.calls, 6);
    bus_note_store(w->bus, 3, 0xfff, 0);
    assert_int_equal(w->written.calls, 6);
}

static void test_dirty(void **state) {
    World *w = *state;
    assert_true(bus_is_dirty(w->bus, 8));                           // not watched yet
    bus_clear_dirty(w->bus, 8, 2);
    assert_int_equal(w->protect.calls, 2);
    assert_int_equal(w->protect.a, 9);
    assert_false(bus_is_dirty(w->bus, 8));
    assert_int_equal(bus_page(w->bus, 8)->flags, BUS_PAGE_DIRTY_LOG);
    bus_clear_dirty(w->bus, 8, 2);
    assert_int_equal(w->protect.calls, 2);                          // still protected
    bus_read(w->bus, phy(0x8000), 4);
    assert_false(bus_is_dirty(w->bus, 8));
    bus_write(w->bus, phy(0x8000), 4, 0);
    assert_true(bus_is_dirty(w->bus, 8) && !bus_is_dirty(w->bus, 9));
    bus_note_store(w->bus, 9, 0, 1);
    assert_true(bus_is_dirty(w->bus, 9));
    bus_clear_dirty(w->bus, 8, 2);
    assert_int_equal(w->protect.calls, 4);
}

// ---- ports --------------------------------------------------------------------------------------
static u32 port_in(void *self, u16 port, unsigned size) {
    World *w = self;
    w->port = (Seen){ w->port.calls + 1, port, size, 0, 0 };
    return 0x10203040 + port;
}
static void port_out(void *self, u16 port, unsigned size, u32 value) {
    World *w = self;
    w->port = (Seen){ w->port.calls + 1, port, size, value, 0 };
}
static void port_out_mapping(void *self, u16 port, unsigned size, u32 value) {
    World *w = self;
    (void)size;
    for (u16 i = 0; i < 100; i++)                                   // forces the list to move
        bus_map_ports(w->bus, (u16)(0x5000 + i), 1, &(BusPort){ "x", (void *)(uintptr_t)(i + 1), 1,
                                                                NULL, NULL });
    bus_unmap_ports(w->bus, port, 1);
    w->port.c = value;
}

static void test_ports(void **state) {
    World *w = *state;
    bus_map_ports(w->bus, 0x100, 2, &(BusPort){ "bytes", w, 1, port_in, port_out });
    bus_map_ports(w->bus, 0x102, 1, &(BusPort){ "words", w, 2, port_in, port_out });
    assert_int_equal(bus_in(w->bus, 0x100, 1), 0x40);
    assert_int_equal(bus_in(w->bus, 0x100, 2), 0x4140);             // two byte accesses
    assert_int_equal(w->port.a, 0x101);
    assert_int_equal(w->port.b, 1);
    assert_int_equal(bus_in(w->bus, 0x102, 2), 0x3142);
    assert_int_equal(w->port.b, 2);
    assert_int_equal(bus_in(w->bus, 0x102, 1), 0xff);               // takes no bytes
    assert_int_equal(bus_in(w->bus, 0x100, 4), 0xffff4140);         // nor as part of a dword
    assert_int_equal(bus_in(w->bus, 0x0ff, 2), 0x40ff);             // begins at nobody
    w->port.calls = 0;
    bus_out(w->bus, 0x0fe, 4, 0x44332211);
    assert_int_equal(w->port.calls, 2);
    assert_int_equal(w->port.a, 0x101);
    assert_int_equal(w->port.c, 0x44);
    bus_out(w->bus, 0x102, 2, 0xabc12345);
    assert_int_equal(w->port.c, 0x2345);
    assert_int_equal(bus_in(w->bus, 0xffff, 4), 0xffffffff);        // wraps to port 0
    bus_map_ports(w->bus, 0xffff, 1, &(BusPort){ "last", w, 4, NULL, NULL });
    assert_int_equal(bus_in(w->bus, 0xffff, 4), 0xffffffff);        // NULL in: ones
    bus_out(w->bus, 0xffff, 4, 0);
    World other = { 0 };                                            // same functions, other self
    bus_map_ports(w->bus, 0x110, 1, &(BusPort){ "bytes", &other, 1, port_in, port_out });
    bus_out(w->bus, 0x110, 2, 0x4321);
    assert_int_equal(other.port.calls, 1);
    assert_int_equal(other.port.c, 0x21);
    bus_unmap_ports(w->bus, 0x100, 3);
    u32 calls = w->port.calls;
    assert_int_equal(bus_in(w->bus, 0x100, 1), 0xff);
    bus_out(w->bus, 0x100, 1, 1);
    assert_int_equal(w->port.calls, calls);
}

static void test_port_remapping(void **state) {
    World *w = *state;
    for (u32 i = 0; i < 200000; i++) {                              // more than 64 K times
        bus_map_ports(w->bus, (u16)(0x200 + i % 64), 1, &(BusPort){ "bar", w, 1, port_in, NULL });
        bus_unmap_ports(w->bus, (u16)(0x200 + i % 64), 1);
    }
    bus_map_ports(w->bus, 0x300, 1, &(BusPort){ "maps", w, 1, port_in, port_out_mapping });
    bus_out(w->bus, 0x300, 1, 9);
    assert_int_equal(w->port.c, 9);
    assert_int_equal(bus_in(w->bus, 0x300, 1), 0xff);
}

static void test_port_log(void **state) {
    World *w = *state;
    char *text, *bad;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes), *before = w->log.file;
    w->log.file = f;
    log_parse_items(&w->log, "io", &bad);
    bus_map_ports(w->bus, 0x100, 2, &(BusPort){ "bytes", w, 1, port_in, port_out });
    bus_out(w->bus, 0x100, 2, 0x1234);
    bus_in(w->bus, 0x101, 1);
    w->log.file = before;
    fclose(f);
    assert_string_equal(text, "io: out 0100 1234 bytes\nio: in  0101 41 bytes\n");
    free(text);
}

// ---- pins and requests --------------------------------------------------------------------------
static u8 ack(void *self) { return ((World *)self)->now_ns ? 0x21 : 0x20; }

static void test_pins(void **state) {
    World *w = *state;
    bus_run_events(w->bus);
    assert_false(bus_has_attention(w->bus));
    bus_set_intr(w->bus, false);
    assert_false(bus_has_attention(w->bus));
    bus_set_intr(w->bus, true);
    assert_true(bus_intr(w->bus) && bus_has_attention(w->bus));
    assert_int_equal(w->attention.calls, 1);
    bus_set_intr(w->bus, true);
    assert_int_equal(w->attention.calls, 1);
    bus_run_events(w->bus);
    assert_false(bus_has_attention(w->bus));
    assert_true(bus_intr(w->bus));
    assert_int_equal(bus_int_ack(w->bus), 0xff);
    bus_connect_int_ack(w->bus, ack, w);
    assert_int_equal(bus_int_ack(w->bus), 0x20);
    bus_pulse_nmi(w->bus);
    assert_int_equal(w->attention.calls, 2);
    assert_true(bus_has_attention(w->bus));
    assert_true(bus_take_nmi(w->bus));
    assert_false(bus_take_nmi(w->bus));
    assert_true(bus_a20(w->bus));
    bus_set_a20(w->bus, true);
    assert_int_equal(w->changed.calls, 0);
    bus_set_a20(w->bus, false);
    assert_int_equal(w->changed.calls, 1);
    assert_int_equal(w->changed.a, 0);
    assert_int_equal(w->changed.b, BUS_PAGES);
    assert_false(bus_a20(w->bus));
}

static void test_requests(void **state) {
    World *w = *state;
    bus_run_events(w->bus);
    bus_request(w->bus, BUS_REQ_RESET);
    bus_request_exit(w->bus, 0);
    bus_request_exit(w->bus, 33);                                   // the first one counts
    assert_int_equal(bus_exit_status(w->bus), 0);
    bus_request_exit(w->bus, BUS_EXIT_DIFFERENCE);                  // but not in this
    bus_run_events(w->bus);
    assert_true(bus_has_attention(w->bus));                         // until served
    assert_int_equal(bus_requests(w->bus), BUS_REQ_RESET | BUS_REQ_SHUTDOWN);
    assert_int_equal(bus_exit_status(w->bus), BUS_EXIT_DIFFERENCE);
    bus_clear_request(w->bus, BUS_REQ_RESET);
    assert_int_equal(bus_requests(w->bus), BUS_REQ_SHUTDOWN);
    bus_clear_request(w->bus, BUS_REQ_SHUTDOWN);
    assert_false(bus_has_attention(w->bus));
}

// ---- time ---------------------------------------------------------------------------------------
static void test_clock(void **state) {
    World *w = *state;
    u64 a = bus_now_ns(w->bus);
    usleep(2000);
    u64 b = bus_now_ns(w->bus);
    assert_true(b - a >= 2000000);
    bus_clock_run(w->bus, false);
    u64 c = bus_now_ns(w->bus);
    usleep(2000);
    assert_true(c >= b);
    assert_int_equal(bus_now_ns(w->bus), c);
    bus_clock_run(w->bus, true);
    u64 d = bus_now_ns(w->bus);
    assert_true(d >= c && d - c < 1000000000);
    w->now_ns = 77000000000;
    bus_set_clock_source(w->bus, on_now, w);
    assert_int_equal(bus_now_ns(w->bus), 77000000000);
    bus_set_clock_source(w->bus, NULL, NULL);                       // goes on from there
    u64 e = bus_now_ns(w->bus);
    assert_true(e >= 77000000000 && e - 77000000000 < 1000000000);
}

typedef struct Alarm { World *w; Timer *t; char name; u32 again; } Alarm;

static void alarm_fire(void *self) {
    Alarm *a = self;
    strncat(a->w->order, &a->name, 1);
    if (a->again) a->again--, bus_timer_at(a->t, a->w->now_ns);
}

static void test_timers(void **state) {
    World *w = *state;
    Alarm a[20];
    bus_set_clock_source(w->bus, on_now, w);
    assert_true(bus_next_deadline_ns(w->bus) == UINT64_MAX);
    for (int i = 0; i < 20; i++) {
        a[i] = (Alarm){ .w = w, .name = (char)('a' + i) };
        a[i].t = bus_timer_new(w->bus, "test", alarm_fire, &a[i]);
        bus_timer_at(a[i].t, (u64)(i * 7 % 20) * 10);
    }
    assert_int_equal(bus_next_deadline_ns(w->bus), 0);
    assert_true(bus_timer_armed(a[3].t));
    for (int i = 10; i < 20; i++) bus_timer_stop(a[i].t);
    bus_timer_stop(a[19].t);
    w->now_ns = 89;
    bus_run_timers(w->bus);
    assert_string_equal(w->order, "adgjbe");                        // deadlines 0 10 20 30 70 80
    assert_false(bus_timer_armed(a[3].t));
    assert_int_equal(bus_next_deadline_ns(w->bus), 90);             // h at 90
    w->order[0] = 0;
    for (int i = 0; i < 10; i++) bus_timer_at(a[i].t, 100);         // re-armed, all the same
    bus_timer_at(a[9].t, 95);
    w->now_ns = 94;
    bus_run_timers(w->bus);
    assert_string_equal(w->order, "");
    w->now_ns = 100;
    a[5].again = 2;
    bus_run_timers(w->bus);
    assert_string_equal(w->order, "jabcdefffghi");
    assert_true(bus_next_deadline_ns(w->bus) == UINT64_MAX);
}

// Random arming and stopping against a plain search for the smallest.
static void test_timer_heap(void **state) {
    World *w = *state;
    enum { N = 40 };
    Alarm a[N];
    u64 deadline[N];
    u32 seed = 1;
    bus_set_clock_source(w->bus, on_now, w);
    for (int i = 0; i < N; i++) {
        a[i] = (Alarm){ .w = w, .name = 'x' };
        a[i].t = bus_timer_new(w->bus, "test", alarm_fire, &a[i]);
        deadline[i] = UINT64_MAX;
    }
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1664525 + 1013904223;
        u32 i = (seed >> 16) % N;
        if (seed >> 30) bus_timer_at(a[i].t, deadline[i] = seed >> 8 & 0xfff);
        else bus_timer_stop(a[i].t), deadline[i] = UINT64_MAX;
        u64 least = UINT64_MAX;
        for (int k = 0; k < N; k++) least = min_u64(least, deadline[k]);
        assert_true(bus_next_deadline_ns(w->bus) == least);
    }
}

// ---- the outside --------------------------------------------------------------------------------
typedef struct Note { BusEvent ev; World *w; char name; } Note;

static void note_run(BusEvent *ev) {
    Note *n = (Note *)ev;
    strncat(n->w->order, &n->name, 1);
    free(n);
}

static void note_post(World *w, char name) {
    Note *n = mem_new(sizeof(Note));
    *n = (Note){ { NULL, note_run }, w, name };
    bus_post(w->bus, &n->ev);
}

static void note_run_and_post(BusEvent *ev) {
    World *w = ((Note *)ev)->w;
    note_run(ev);
    note_post(w, 'z');
}

static void test_events(void **state) {
    World *w = *state;
    bus_run_events(w->bus);
    note_post(w, 'a');
    note_post(w, 'b');
    Note *n = mem_new(sizeof(Note));
    *n = (Note){ { NULL, note_run_and_post }, w, 'c' };
    bus_post(w->bus, &n->ev);
    assert_true(bus_has_attention(w->bus));
    assert_string_equal(w->order, "");
    assert_int_equal(w->attention.calls, 0);
    bus_run_events(w->bus);
    assert_string_equal(w->order, "abc");
    assert_true(bus_has_attention(w->bus));
    bus_run_events(w->bus);
    assert_string_equal(w->order, "abcz");
    assert_false(bus_has_attention(w->bus));
}

static void note_keep(BusEvent *ev) { strcat(((Note *)ev)->w->order, "k"); }

static void test_event_reused(void **state) {
    World *w = *state;
    Note a = { { NULL, note_keep }, w, 0 }, b = a;
    bus_post(w->bus, &a.ev);
    bus_post(w->bus, &b.ev);
    bus_run_events(w->bus);
    bus_post(w->bus, &a.ev);                                        // alone: b must not follow
    bus_run_events(w->bus);
    assert_string_equal(w->order, "kkk");
}

typedef struct Outside { World *w; pthread_t machine; u32 sum; bool right_thread; } Outside;

static void outside_add(void *arg) {
    Outside *o = arg;
    o->sum++;
    o->right_thread &= pthread_equal(pthread_self(), o->machine) != 0;
}

static void *outside_main(void *arg) {
    Outside *o = arg;
    for (int i = 0; i < 500; i++) {
        bus_call(o->w->bus, outside_add, o);
        if (i % 100 == 99) usleep(1000);
    }
    bus_request_exit(o->w->bus, 3);
    return NULL;
}

static void test_bus_call(void **state) {
    World *w = *state;
    Outside o = { w, pthread_self(), 0, true };
    pthread_t thread;
    pthread_create(&thread, NULL, outside_main, &o);
    while (!(bus_requests(w->bus) & BUS_REQ_SHUTDOWN)) {
        bus_wait(w->bus, UINT64_MAX);
        bus_run_events(w->bus);
    }
    pthread_join(thread, NULL);
    assert_int_equal(o.sum, 500);
    assert_true(o.right_thread);
    assert_int_equal(bus_exit_status(w->bus), 3);
}

static u64 thread_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static void test_wait(void **state) {
    World *w = *state;
    bus_run_events(w->bus);
    u64 start = bus_now_ns(w->bus);
    bus_wait(w->bus, start + 3000000);
    assert_true(bus_now_ns(w->bus) >= start + 3000000);
    start = thread_ns();
    bus_wait(w->bus, bus_now_ns(w->bus) + 100000000);
    assert_true(thread_ns() - start < 50000000);                    // asleep, not spinning
    note_post(w, 'a');
    bus_wait(w->bus, UINT64_MAX);                                   // returns for the event
    bus_run_events(w->bus);
    start = bus_now_ns(w->bus);
    bus_wait(w->bus, start + 2000000);                              // an old wake-up does not count
    assert_true(bus_now_ns(w->bus) >= start + 2000000);
    bus_set_clock_source(w->bus, on_now, w);
    bus_wait(w->bus, 1000000000000);                                // counted time: at once
}

// A clock that ticks each millisecond, seen by a processor that is idle.
typedef struct Ticker { World *w; Timer *t, *firm; u64 next_ns, worst_ns; unsigned ticks, firm_fires; } Ticker;

static u64 no_insns(void *self) { (void)self; return 0; }

static void ticker_fire(void *self) {
    Ticker *k = self;
    u64 late_ns = bus_now_ns(k->w->bus) - k->next_ns;
    if (late_ns > k->worst_ns) k->worst_ns = late_ns;
    k->ticks++;
    bus_timer_at(k->t, k->next_ns += 1000000);
}

static void ticker_fire_firm(void *self) {
    Ticker *k = self;
    k->firm_fires++;
    bus_timer_at(k->firm, k->next_ns + 1500000);
}

static void ticker_run(Ticker *k, unsigned ticks) {
    for (unsigned end = k->ticks + ticks; k->ticks < end;) {
        bus_wait(k->w->bus, bus_next_deadline_ns(k->w->bus));
        bus_run_timers(k->w->bus);
    }
}

static long thread_sleeps(void) {
    struct rusage r;
    getrusage(RUSAGE_THREAD, &r);
    return r.ru_nvcsw;
}

static void test_idle_ticks(void **state) {
    World *w = *state;
    Ticker k = { .w = w };
    bus_set_processor(w->bus, no_insns, w);
    k.t = bus_timer_new(w->bus, "tick", ticker_fire, &k);
    k.firm = bus_timer_new(w->bus, "firm", ticker_fire_firm, &k);
    bus_timer_set_patient(k.t);
    bus_timer_at(k.t, k.next_ns = bus_now_ns(w->bus) + 1000000);
    ticker_run(&k, 150);                                            // long enough to be idle
    k.worst_ns = 0;
    long sleeps = thread_sleeps();
    ticker_run(&k, 200);
    assert_in_range(thread_sleeps() - sleeps, 1, 60);               // of 200 milliseconds
    assert_true(k.worst_ns < 100000);                               // each tick at its own guest time
    sleeps = thread_sleeps();
    bus_timer_at(k.firm, k.next_ns + 500000);                       // others are not late
    ticker_run(&k, 100);
    assert_in_range(k.firm_fires, 45, 55);
    assert_true(thread_sleeps() - sleeps >= 10);
    bus_timer_stop(k.firm);
    note_post(w, 'a');                                              // nor is a machine that was disturbed
    ticker_run(&k, 1);
    bus_run_events(w->bus);
    sleeps = thread_sleeps();
    ticker_run(&k, 50);
    assert_true(thread_sleeps() - sleeps >= 10);
    bus_set_processor(w->bus, NULL, NULL);
}

// ---- device tables ------------------------------------------------------------------------------
typedef struct Gadget {
    World *w;
    u8 small;
    u16 words[3];
    u64 big;
    bool on;
    u8 fifo[5];
    Timer *timer;
    u8 kept;
    u32 resets;
} Gadget;

static const Field gadget_fields[] = {
    FIELD(Gadget, small, FIELD_UINT, 0x12),
    FIELD_ARRAY(Gadget, words, FIELD_UINT, 0x3456),
    FIELD(Gadget, big, FIELD_UINT, 1ull << 40),
    FIELD(Gadget, on, FIELD_BOOL, 1),
    FIELD_ARRAY(Gadget, fifo, FIELD_BYTES, 0xee),
    FIELD(Gadget, timer, FIELD_TIMER, 0),
    FIELD(Gadget, kept, FIELD_UINT | FIELD_KEPT, 5),
};

// Needs every other device's fields to be reset: two rounds.
static void gadget_reset(void *self) {
    Gadget *g = self;
    g->resets++;
    strcat(g->w->order, g->small == 0x12 ? "r" : "?");
}
static void gadget_loaded(void *self) { strcat(((Gadget *)self)->w->order, "l"); }
static void gadget_info(void *self, FILE *out) { (void)self, fprintf(out, "a gadget\n"); }

static const DeviceClass gadget_class = {
    "gadget", gadget_fields, ARRAY_LEN(gadget_fields), gadget_reset, gadget_loaded, gadget_info,
};

static Gadget *gadget_new(World *w, const char *name) {
    Gadget *g = mem_new(sizeof(Gadget));
    g->w = w;
    g->timer = bus_timer_new(w->bus, "gadget", gadget_loaded, g);
    device_add(w->bus, &gadget_class, name, g);
    return g;
}

static void test_device_reset(void **state) {
    World *w = *state;
    Gadget *g = gadget_new(w, NULL);
    bus_timer_at(g->timer, 5);
    g->kept = 9;
    bus_set_a20(w->bus, false);
    device_reset_all(w->bus);
    assert_int_equal(g->small, 0x12);
    assert_int_equal(g->words[2], 0x3456);
    assert_true(g->big == 1ull << 40 && g->on);
    assert_int_equal(g->fifo[4], 0xee);
    assert_false(bus_timer_armed(g->timer));
    assert_int_equal(g->kept, 9);
    assert_int_equal(g->resets, 1);
    assert_true(bus_a20(w->bus));
    free(g);
}

static void test_device_info(void **state) {
    World *w = *state;
    Gadget *g = gadget_new(w, "gadget1");
    char *text;
    size_t bytes;
    device_reset_all(w->bus);
    FILE *f = open_memstream(&text, &bytes);
    assert_true(device_info(w->bus, "gadget1", f));
    assert_false(device_info(w->bus, "gadget", f));
    device_list(w->bus, f);
    fclose(f);
    assert_string_equal(text,
        "a gadget\ngadget1:\n  small: 12  words: 3456 3456 3456  big: 0000010000000000  on: yes\n"
        "  fifo: 5 bytes\n    000: ee ee ee ee ee\n  timer: stopped  kept: 00\n"
        "bus\ngadget1\n");
    free(text);
    free(g);
}

// Large buffers are shown in part: rows of zeros are left out, and there is an end.
static void test_device_info_short(void **state) {
    typedef struct Buffers { u8 first[48], many[8192], none[64]; } Buffers;
    static const Field fields[] = {
        FIELD_ARRAY(Buffers, first, FIELD_BYTES, 0),
        FIELD_ARRAY(Buffers, many, FIELD_BYTES, 0x11),
        FIELD_ARRAY(Buffers, none, FIELD_BYTES, 0),
    };
    static const DeviceClass cls = { "buffers", fields, ARRAY_LEN(fields), NULL, NULL, NULL };
    static Buffers b;
    World *w = *state;
    char *text;
    size_t bytes;
    device_add(w->bus, &cls, NULL, &b);
    device_reset_all(w->bus);
    b.first[33] = 7;
    FILE *f = open_memstream(&text, &bytes);
    assert_true(device_info(w->bus, "buffers", f));
    fclose(f);
    const char *first = "buffers:\n  first: 48 bytes\n    020: 00 07 00";
    assert_ptr_equal(strstr(text, first), text);
    assert_non_null(strstr(text, "\n    0f0: 11 11 "));
    assert_null(strstr(text, "\n    100: "));
    assert_non_null(strstr(text, "\n    and 496 rows more\n  none: 64 bytes of zeros\n"));
    free(text);
}

// A snapshot into a second machine, then damage of every kind: no crash, an error message.
static void test_snapshot(void **state) {
    World *w = *state;
    World *v = NULL;
    setup((void **)&v);
    Gadget *g = gadget_new(w, NULL), *h = gadget_new(v, NULL);
    device_reset_all(w->bus);
    device_reset_all(v->bus);
    w->order[0] = v->order[0] = 0;
    g->small = 1, g->words[1] = 2, g->big = 3, g->on = false, g->fifo[3] = 4, g->kept = 6;
    bus_timer_at(g->timer, 123456789);
    bus_clock_run(w->bus, false);
    bus_clock_run(v->bus, false);
    bus_pulse_nmi(w->bus);
    assert_true(device_hash(w->bus) != device_hash(v->bus));
    char *text, *err = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    assert_true(device_save(w->bus, f, &err));
    fclose(f);
    f = fmemopen(text, bytes, "r");
    assert_true(device_load(v->bus, f, &err));
    fclose(f);
    assert_string_equal(v->order, "l");
    assert_int_equal(h->small, 1);
    assert_int_equal(h->words[1], 2);
    assert_int_equal(h->words[2], 0x3456);
    assert_true(h->big == 3 && !h->on && h->fifo[3] == 4 && h->kept == 6);
    assert_int_equal(bus_next_deadline_ns(v->bus), 123456789);
    assert_true(bus_now_ns(v->bus) == bus_now_ns(w->bus));
    assert_true(device_hash(w->bus) == device_hash(v->bus));
    assert_true(bus_take_nmi(v->bus) && bus_has_attention(v->bus));
    h->small ^= 1;
    assert_true(device_hash(w->bus) != device_hash(v->bus));
    f = fopen("/dev/full", "w");
    setbuf(f, NULL);
    assert_false(device_save(w->bus, f, &err));
    free(err);
    fclose(f);
    for (size_t cut = 0; cut < bytes; cut++) {                      // every truncation
        f = fmemopen(text, cut ? cut : 1, "r");
        if (!cut) fgetc(f);
        assert_false(device_load(v->bus, f, &err));
        assert_non_null(err);
        free(err);
        fclose(f);
    }
    for (size_t i = 0; i < bytes; i++) {                            // every damaged byte
        text[i] ^= 0x55;
        f = fmemopen(text, bytes, "r");
        err = NULL;
        if (!device_load(v->bus, f, &err)) free(err);
        fclose(f);
        text[i] ^= 0x55;
    }
    Gadget *second = gadget_new(w, "second");
    f = fmemopen(text, bytes, "r");
    assert_false(device_load(w->bus, f, &err));
    assert_string_equal(err, "the snapshot has 2 devices, this machine has 3");
    free(err);
    fclose(f);
    free(text);
    free(second);
    free(h);
    teardown((void **)&v);
    free(g);
}

static void test_two_rounds(void **state) {
    World *w = *state;
    Gadget *a = gadget_new(w, "a"), *b = gadget_new(w, "b");
    device_reset_all(w->bus);
    assert_string_equal(w->order, "rr");
    free(a);
    free(b);
}

// The host's clock by its counter: between two readings of the clock itself, and never back.
static u64 clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static void test_host_time(void **state) {
    (void)state;
    enum { SLACK_NS = 50000, LONG_NS = 60000000 };
    HostTime h;
    host_time_open(&h);
    u64 start = clock_ns(), last = 0, counted = 0;
    for (u64 before = start; before - start < LONG_NS; before = clock_ns()) {
        counted += h.span_ticks != 0;
        u64 now = host_time_ns(&h), after = clock_ns();
        assert_true(now >= last);
        assert_true(now + SLACK_NS >= before && now <= after + SLACK_NS);
        last = now;
    }
    if (h.steady) assert_true(counted > 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_large), T(test_begin), cmocka_unit_test(test_begin_at_end), T(test_ram),
        T(test_nothing_there), T(test_rom_and_alloc), T(test_map_changed), T(test_mmio), T(test_dma),
        T(test_code_granules), T(test_dirty), T(test_ports), T(test_port_remapping),
        T(test_port_log), T(test_pins), T(test_requests), T(test_clock), T(test_timers),
        T(test_timer_heap), T(test_events), T(test_event_reused), T(test_bus_call), T(test_wait),
        T(test_idle_ticks), T(test_device_reset), T(test_device_info), T(test_device_info_short),
        T(test_snapshot), T(test_two_rounds),
        cmocka_unit_test(test_host_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
