// SPDX-License-Identifier: MIT
// The 16550A and the debug ports, seen through their ports. Run: make test T=unit/test_uart
#include "testbus.h"

#include "dev/debugcon.h"
#include "dev/testdev.h"
#include "dev/uart.h"
#include <string.h>

#define BASE 0x3f8

typedef struct Fix {
    TestBus t;
    TestPin irq;
    Uart *uart;
    char out[256];
    unsigned out_bytes;
    unsigned ready;
} Fix;

static void put(void *self, u8 byte) {
    Fix *f = self;
    f->out[f->out_bytes++ % sizeof(f->out)] = (char)byte;
}

static void note_ready(void *self) { ((Fix *)self)->ready++; }

static int setup(void **state) {
    Fix *f = calloc(1, sizeof(*f));
    testbus_open(&f->t, 2 << 20);
    f->uart = uart_new(f->t.bus, "serial0", BASE, testpin_wire(&f->irq, 0), (CharOut){ put, f });
    device_reset_all(f->t.bus);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fix *f = *state;
    uart_free(f->uart);
    testbus_close(&f->t);
    free(f);
    return 0;
}

static u8 rd(Fix *f, unsigned reg) { return (u8)bus_in(f->t.bus, (u16)(BASE + reg), 1); }
static void wr(Fix *f, unsigned reg, u8 v) { bus_out(f->t.bus, (u16)(BASE + reg), 1, v); }

static void test_transmit(void **state) {
    Fix *f = *state;
    assert_int_equal(rd(f, 5), 0x60);
    wr(f, 0, 'h');
    wr(f, 0, 'i');
    assert_int_equal(f->out_bytes, 2);
    assert_memory_equal(f->out, "hi", 2);
    assert_int_equal(rd(f, 5), 0x60);
    assert_false(f->irq.level);
}

static void test_registers(void **state) {
    Fix *f = *state;
    wr(f, 3, 0x83);
    wr(f, 0, 0x34);
    wr(f, 1, 0x12);
    assert_int_equal(rd(f, 0), 0x34);
    assert_int_equal(rd(f, 1), 0x12);
    wr(f, 3, 0x03);
    assert_int_equal(rd(f, 1), 0x00);                    // IER untouched by the divisor
    assert_int_equal(rd(f, 3), 0x03);
    wr(f, 7, 0x5a);
    assert_int_equal(rd(f, 7), 0x5a);
    wr(f, 1, 0xff);
    assert_int_equal(rd(f, 1), 0x0f);
    assert_int_equal(rd(f, 2) & 0xf0, 0x00);
    wr(f, 2, 0x01);
    assert_int_equal(rd(f, 2) & 0xf0, 0xc0);             // a 16550A with its FIFOs on
    assert_int_equal(rd(f, 6), 0xb0);                    // a peer that is ready
    assert_int_equal(f->out_bytes, 0);
}

static void test_transmit_interrupt(void **state) {
    Fix *f = *state;
    wr(f, 1, 2);
    assert_true(f->irq.level);
    assert_int_equal(rd(f, 2), 2);
    assert_false(f->irq.level);                          // reading IIR acknowledges
    assert_int_equal(rd(f, 2), 1);
    wr(f, 0, 'x');
    assert_true(f->irq.level);
    unsigned rises = f->irq.rises;
    wr(f, 0, 'y');
    assert_int_equal(f->irq.rises, rises + 1);           // each byte is an edge of its own
    wr(f, 1, 0);
    assert_false(f->irq.level);
}

static void test_receive_without_fifo(void **state) {
    Fix *f = *state;
    wr(f, 1, 1);
    assert_true(uart_can_receive(f->uart));
    uart_receive(f->uart, 'a');
    assert_false(uart_can_receive(f->uart));
    assert_true(f->irq.level);
    assert_int_equal(rd(f, 2), 4);
    assert_int_equal(rd(f, 5), 0x61);
    assert_int_equal(rd(f, 0), 'a');
    assert_false(f->irq.level);
    assert_int_equal(rd(f, 5), 0x60);
    uart_receive(f->uart, 'b');
    uart_receive(f->uart, 'c');                          // overruns 'b'
    assert_int_equal(rd(f, 5), 0x63);
    assert_int_equal(rd(f, 5), 0x61);
    assert_int_equal(rd(f, 0), 'c');
}

static void test_fifo_trigger_and_timeout(void **state) {
    Fix *f = *state;
    wr(f, 3, 0x80);
    wr(f, 0, 1);                                         // 115200 baud
    wr(f, 3, 0x03);
    wr(f, 2, 0x87);                                      // trigger at 8
    wr(f, 1, 1);
    for (unsigned i = 0; i < 7; i++) uart_receive(f->uart, (u8)i);
    assert_false(f->irq.level);
    testbus_advance(&f->t, 300000);
    assert_false(f->irq.level);
    testbus_advance(&f->t, 100000);                      // four characters are 347 us
    assert_true(f->irq.level);
    assert_int_equal(rd(f, 2), 0xcc);
    assert_int_equal(rd(f, 0), 0);
    assert_false(f->irq.level);                          // a read ends the timeout
    uart_receive(f->uart, 7);
    uart_receive(f->uart, 8);
    assert_true(f->irq.level);
    assert_int_equal(rd(f, 2), 0xc4);
    for (unsigned i = 1; i < 9; i++) assert_int_equal(rd(f, 0), i);
    assert_false(f->irq.level);
    assert_int_equal(rd(f, 5), 0x60);
}

static void test_fifo_full_and_cleared(void **state) {
    Fix *f = *state;
    wr(f, 2, 0x01);
    uart_on_ready(f->uart, note_ready, f);
    for (unsigned i = 0; i < 16; i++) {
        assert_true(uart_can_receive(f->uart));
        uart_receive(f->uart, (u8)(0x40 + i));
    }
    assert_false(uart_can_receive(f->uart));
    uart_receive(f->uart, 0xff);
    assert_int_equal(rd(f, 5) & 2, 2);
    assert_int_equal(f->ready, 0);
    assert_int_equal(rd(f, 0), 0x40);
    assert_int_equal(f->ready, 1);
    for (unsigned i = 1; i < 16; i++) assert_int_equal(rd(f, 0), 0x40 + i);
    assert_int_equal(f->ready, 1);
    uart_receive(f->uart, 1);
    wr(f, 2, 0x03);
    assert_int_equal(rd(f, 5), 0x60);
}

static void test_break(void **state) {
    Fix *f = *state;
    wr(f, 2, 0x01);
    wr(f, 1, 4);
    uart_receive(f->uart, 'a');
    uart_receive_break(f->uart);
    assert_false(f->irq.level);                          // not at the head of the FIFO yet
    assert_int_equal(rd(f, 5), 0xe1);
    assert_int_equal(rd(f, 0), 'a');
    assert_true(f->irq.level);
    assert_int_equal(rd(f, 2), 0xc6);
    assert_int_equal(rd(f, 5), 0xf1);
    assert_false(f->irq.level);
    assert_int_equal(rd(f, 0), 0);
}

static void test_loopback_and_modem(void **state) {
    Fix *f = *state;
    rd(f, 6);
    wr(f, 4, 0x10);
    assert_int_equal(rd(f, 6), 0x0b);                    // CTS, DSR, DCD fell
    assert_int_equal(rd(f, 6), 0x00);
    wr(f, 4, 0x1a);                                      // as Linux probes: RTS, OUT2
    assert_int_equal(rd(f, 6) & 0xf0, 0x90);
    wr(f, 4, 0x14);
    assert_int_equal(rd(f, 6), 0x49);
    wr(f, 4, 0x10);
    assert_int_equal(rd(f, 6), 0x04);                    // the ring has ended
    wr(f, 0, 'q');
    assert_int_equal(f->out_bytes, 0);
    assert_int_equal(rd(f, 0), 'q');
    assert_false(uart_can_receive(f->uart));
    uart_receive(f->uart, 'z');
    assert_int_equal(rd(f, 5), 0x60);
    wr(f, 1, 8);
    wr(f, 4, 0x00);
    assert_true(f->irq.level);
    assert_int_equal(rd(f, 2), 0);
    assert_int_equal(rd(f, 6), 0xbb);
    assert_false(f->irq.level);
}

static void test_priorities(void **state) {
    Fix *f = *state;
    wr(f, 1, 0x0f);                                      // THRE is pending
    wr(f, 4, 0x10);                                      // modem change
    wr(f, 4, 0x00);
    uart_receive(f->uart, 1);
    uart_receive(f->uart, 2);                            // overrun
    assert_int_equal(rd(f, 2), 6);
    rd(f, 5);
    assert_int_equal(rd(f, 2), 4);
    rd(f, 0);
    assert_int_equal(rd(f, 2), 2);
    assert_int_equal(rd(f, 2), 0);
    rd(f, 6);
    assert_int_equal(rd(f, 2), 1);
    assert_false(f->irq.level);
}

static void test_debug_ports(void **state) {
    Fix *f = *state;
    Debugcon *d = debugcon_new(f->t.bus, 0xe9, (CharOut){ put, f });
    BochsOff *b = bochsoff_new(f->t.bus);
    assert_int_equal(bus_in(f->t.bus, 0xe9, 1), 0xe9);
    bus_out(f->t.bus, 0xe9, 1, '!');
    assert_int_equal(f->out[0], '!');
    for (const char *p = "ShutShutdow"; *p; p++) bus_out(f->t.bus, 0x8900, 1, (u8)*p);
    assert_int_equal(bus_requests(f->t.bus), 0);
    bus_out(f->t.bus, 0x8900, 1, 'n');
    assert_int_equal(bus_requests(f->t.bus), BUS_REQ_SHUTDOWN);
    assert_int_equal(bus_exit_status(f->t.bus), 0);
    debugcon_free(d);
    bochsoff_free(b);
}

static void test_debug_exit(void **state) {
    Fix *f = *state;
    DebugExit *e = debugexit_new(f->t.bus, 0xf4, 4);
    assert_int_equal(bus_in(f->t.bus, 0xf4, 1), 0);
    bus_out(f->t.bus, 0xf4, 4, 0x10);
    assert_int_equal(bus_requests(f->t.bus), BUS_REQ_SHUTDOWN);
    assert_int_equal(bus_exit_status(f->t.bus), 0x21);
    debugexit_free(e);
}

static void test_testdev_line(void *self, unsigned n, bool level) {
    u32 *lines = self;
    *lines = (*lines & ~BIT(n)) | (level ? BIT(n) : 0);
}

static void test_testdev(void **state) {
    Fix *f = *state;
    Bus *bus = f->t.bus;
    u32 lines = 0;
    Wire irq[TESTDEV_IRQS];
    for (unsigned i = 0; i < TESTDEV_IRQS; i++) irq[i] = (Wire){ test_testdev_line, &lines, i };
    TestDev *d = testdev_new(bus, irq);
    device_reset_all(bus);
    bus_out(bus, 0xe0, 4, 0x44332211);
    assert_int_equal(bus_in(bus, 0xe0, 4), 0x44332211);
    assert_int_equal(bus_in(bus, 0xe1, 2), 0x3322);
    bus_out(bus, 0xe3, 2, 0x9988);                            // the second byte goes nowhere
    assert_int_equal(bus_in(bus, 0xe2, 2), 0x8833);
    assert_int_equal(bus_in(bus, 0xe4, 1), 0xff);
    assert_int_equal(bus_page(bus, 0xff000)->kind, BUS_PAGE_MMIO);
    bus_write(bus, phy(0xff00fffc), 4, 0xddccbbaa);
    bus_write(bus, phy(0xff00fffe), 1, 0x77);
    assert_int_equal(bus_read(bus, phy(0xff00fffc), 4), 0xdd77bbaa);
    assert_int_equal(bus_read(bus, phy(0xff00fffd), 2), 0x77bb);
    assert_int_equal(bus_read(bus, phy(0xff000ffc), 4), 0);
    bus_out(bus, 0x200e, 1, 1);
    bus_out(bus, 0x2003, 1, 0xff);
    assert_int_equal(lines, 0x4008);
    bus_out(bus, 0x200e, 1, 0);
    assert_int_equal(lines, 8);
    device_reset_all(bus);
    assert_int_equal(bus_read(bus, phy(0xff00fffc), 4), 0);
    testdev_free(d);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_transmit),
        TEST(test_registers),
        TEST(test_transmit_interrupt),
        TEST(test_receive_without_fifo),
        TEST(test_fifo_trigger_and_timeout),
        TEST(test_fifo_full_and_cleared),
        TEST(test_break),
        TEST(test_loopback_and_modem),
        TEST(test_priorities),
        TEST(test_debug_ports),
        TEST(test_debug_exit),
        TEST(test_testdev),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
