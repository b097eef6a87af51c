// SPDX-License-Identifier: MIT
// Configuration space, BARs, interrupt routing, shadow RAM and power management, seen through ports
// and physical memory. Run: make test T=unit/test_pci
#include "testbus.h"

#include "dev/acpipm.h"
#include "dev/i440fx.h"
#include "dev/pci.h"
#include "dev/piix.h"
#include <string.h>

#define SECOND 1000000000ull

typedef struct Fix {
    TestBus t;
    TestPin irq[16];
    PciBus *pci;
    I440fx *host;
    Piix *piix;
    AcpiPm *pm;
    PciFn *card;
    u32 bar_base[2];           // what map() told; 0: not mapped
    unsigned bar_calls;
} Fix;

static void map0(void *self, u32 base, bool mapped) {
    Fix *f = self;
    f->bar_calls++;
    if (!mapped) assert_int_equal(base, f->bar_base[0]);
    f->bar_base[0] = mapped ? base : 0;
}

static void map1(void *self, u32 base, bool mapped) {
    Fix *f = self;
    f->bar_base[1] = mapped ? base : 0;
}

static int setup(void **state) {
    static const PciId id = { 0x1234, 0x1111, 0x030000, 2, .intx = 1 };
    Fix *f = calloc(1, sizeof(*f));
    testbus_open(&f->t, 16 << 20);
    Bus *bus = f->t.bus;
    Wire wires[16];
    for (unsigned i = 0; i < 16; i++) wires[i] = testpin_wire(f->irq, i);
    u8 *rom = bus_alloc(bus, 0x40000);
    memset(rom, 0xbb, 0x40000);
    // Option ROM of 32 KiB at c0000, BIOS at e0000-fffff.
    I440fxRom view = { rom, 0xff | 0xffffffff00000000ull };
    f->pci = pci_new(bus);
    f->host = i440fx_new(bus, f->pci, &view);
    f->piix = piix_new(bus, f->pci, 1, wires);
    f->pm = acpipm_new(bus, f->pci, 1, wires[9]);
    f->card = pci_add(f->pci, "card", 3, 0, &id);
    pci_set_bar(f->card, 0, &(PciBar){ 1 << 20, PCI_BAR_PREFETCH, map0, f });
    pci_set_bar(f->card, 1, &(PciBar){ 32, PCI_BAR_IO, map1, f });
    device_reset_all(bus);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fix *f = *state;
    acpipm_free(f->pm);
    piix_free(f->piix);
    i440fx_free(f->host);
    pci_free(f->pci);
    testbus_close(&f->t);
    free(f);
    return 0;
}

static void point(Fix *f, unsigned dev, unsigned fn, unsigned reg) {
    bus_out(f->t.bus, 0xcf8, 4, 0x80000000u | dev << 11 | fn << 8 | (reg & 0xfc));
}

static u32 cfg(Fix *f, unsigned dev, unsigned fn, unsigned reg, unsigned bytes) {
    point(f, dev, fn, reg);
    return bus_in(f->t.bus, (u16)(0xcfc + (reg & 3)), bytes);
}

static void set_cfg(Fix *f, unsigned dev, unsigned fn, unsigned reg, unsigned bytes, u32 v) {
    point(f, dev, fn, reg);
    bus_out(f->t.bus, (u16)(0xcfc + (reg & 3)), bytes, v);
}

static void test_identity(void **state) {
    Fix *f = *state;
    assert_int_equal(cfg(f, 0, 0, 0, 4), 0x12378086);
    assert_int_equal(cfg(f, 0, 0, 0x2c, 4), 0x11001af4); // by which SeaBIOS knows its board
    assert_int_equal(cfg(f, 1, 0, 0, 4), 0x70008086);
    assert_int_equal(cfg(f, 1, 0, 0x0e, 1), 0x80);
    assert_int_equal(cfg(f, 1, 1, 0, 4), 0x70108086);
    assert_int_equal(cfg(f, 1, 1, 8, 4) >> 16, 0x0101);
    assert_int_equal(cfg(f, 1, 3, 0, 4), 0x71138086);
    assert_int_equal(cfg(f, 1, 3, 0x0a, 2), 0x0680);
    assert_int_equal(cfg(f, 1, 2, 0, 4), 0xffffffff);
    assert_int_equal(cfg(f, 3, 0, 0x0b, 1), 0x03);
    set_cfg(f, 3, 0, 0, 4, 0);                           // read-only
    assert_int_equal(cfg(f, 3, 0, 2, 2), 0x1111);
}

static void test_address_register(void **state) {
    Fix *f = *state;
    Bus *bus = f->t.bus;
    bus_out(bus, 0xcf8, 4, 0x00000000);
    assert_int_equal(bus_in(bus, 0xcfc, 4), 0xffffffff); // not enabled
    bus_out(bus, 0xcf8, 4, 0x80010000);
    assert_int_equal(bus_in(bus, 0xcf8, 4), 0x80010000);
    assert_int_equal(bus_in(bus, 0xcfc, 2), 0xffff);     // bus 1
    bus_out(bus, 0xcf8, 4, 0x80000000);
    bus_out(bus, 0xcfb, 1, 0x01);                        // bytes do not reach it
    bus_out(bus, 0xcf8, 1, 0xff);
    assert_int_equal(bus_in(bus, 0xcf8, 4), 0x80000000);
    assert_int_equal(bus_in(bus, 0xcfc, 2), 0x8086);
    assert_int_equal(bus_in(bus, 0xcfe, 2), 0x1237);
}

static void test_bars(void **state) {
    Fix *f = *state;
    set_cfg(f, 3, 0, 0x10, 4, 0xffffffff);
    assert_int_equal(cfg(f, 3, 0, 0x10, 4), 0xfff00008);
    set_cfg(f, 3, 0, 0x14, 4, 0xffffffff);
    assert_int_equal(cfg(f, 3, 0, 0x14, 4), 0xffffffe1);
    set_cfg(f, 3, 0, 0x18, 4, 0xffffffff);
    assert_int_equal(cfg(f, 3, 0, 0x18, 4), 0);
    set_cfg(f, 3, 0, 0x10, 4, 0xe0000000);
    set_cfg(f, 3, 0, 0x14, 4, 0xc000);
    assert_int_equal(f->bar_calls, 0);                   // decoding is off
    set_cfg(f, 3, 0, 4, 2, 3);
    assert_int_equal(f->bar_base[0], 0xe0000000);
    assert_int_equal(f->bar_base[1], 0xc000);
    set_cfg(f, 3, 0, 0x10, 4, 0xffffffff);               // sized while it decodes
    assert_int_equal(f->bar_base[0], 0);
    set_cfg(f, 3, 0, 0x10, 4, 0xe1000000);
    assert_int_equal(f->bar_base[0], 0xe1000000);
    unsigned calls = f->bar_calls;
    set_cfg(f, 3, 0, 0x10, 4, 0xe1000000);
    assert_int_equal(f->bar_calls, calls);
    set_cfg(f, 3, 0, 4, 2, 1);
    assert_int_equal(f->bar_base[0], 0);
    assert_int_equal(f->bar_base[1], 0xc000);
    device_reset_all(f->t.bus);
    assert_int_equal(f->bar_base[1], 0);
    assert_int_equal(cfg(f, 3, 0, 0x14, 4), 1);
}

// Where RAM is, a BAR decodes nothing: what would the RAM be after it has gone?
static void test_bar_over_ram(void **state) {
    Fix *f = *state;
    set_cfg(f, 3, 0, 4, 2, 3);
    set_cfg(f, 3, 0, 0x10, 4, 0x00f00000);
    assert_int_equal(f->bar_base[0], 0);
    set_cfg(f, 3, 0, 0x10, 4, 0x01000000);
    assert_int_equal(f->bar_base[0], 0x01000000);
}

static void test_info(void **state) {
    static const char want[] =
        "  Bus  0, device   3, function 0:\n"
        "    VGA controller: PCI device 1234:1111\n"
        "      PCI subsystem 1af4:1100\n"
        "      IRQ 11, pin A\n"
        "      BAR0: 32 bit prefetchable memory at 0xe0000000 [0xe00fffff], not decoded.\n"
        "      BAR1: I/O at 0xc000 [0xc01f].\n"
        "      id \"card\"\n";
    Fix *f = *state;
    char *text;
    size_t bytes;
    set_cfg(f, 3, 0, 0x10, 4, 0xe0000000);
    set_cfg(f, 3, 0, 0x14, 4, 0xc000);
    set_cfg(f, 3, 0, 0x3c, 1, 11);
    set_cfg(f, 3, 0, 4, 2, 1);
    FILE *out = open_memstream(&text, &bytes);
    pci_info(f->pci, out);
    fclose(out);
    assert_non_null(strstr(text, want));
    assert_non_null(strstr(text, "    Host bridge: PCI device 8086:1237\n"));
    free(text);
}

static void test_pirq_routing(void **state) {
    Fix *f = *state;
    pci_set_irq(f->card, true);                          // slot 3, INTA#: PIRQC#
    for (unsigned i = 0; i < 16; i++) assert_false(f->irq[i].level);
    set_cfg(f, 1, 0, 0x62, 1, 11);
    assert_true(f->irq[11].level);
    set_cfg(f, 1, 0, 0x62, 1, 10);
    assert_false(f->irq[11].level);
    assert_true(f->irq[10].level);
    set_cfg(f, 1, 0, 0x60, 4, 0x0b0b0a0a);
    assert_true(f->irq[11].level);
    assert_false(f->irq[10].level);
    pci_set_irq(f->card, false);
    assert_false(f->irq[11].level);
    set_cfg(f, 1, 0, 0x62, 1, 8);                        // not a PCI interrupt
    pci_set_irq(f->card, true);
    assert_false(f->irq[8].level);
    set_cfg(f, 1, 0, 0x62, 1, 11);
    assert_true(f->irq[11].level);
    device_reset_all(f->t.bus);
    assert_false(f->irq[11].level);
}

// Two cards on one line, and two lines on one input.
static void test_shared_pirq(void **state) {
    static const PciId id = { .vendor = 1, .device = 2, .intx = 1 };
    Fix *f = *state;
    PciFn *same = pci_add(f->pci, "same", 7, 0, &id), *next = pci_add(f->pci, "next", 4, 0, &id);
    set_cfg(f, 1, 0, 0x60, 4, 0x0b0b8080);
    pci_set_irq(f->card, true);
    pci_set_irq(same, true);
    pci_set_irq(next, true);
    assert_true(f->irq[11].level);
    pci_set_irq(f->card, false);
    pci_set_irq(next, false);
    assert_true(f->irq[11].level);
    pci_set_irq(same, false);
    assert_false(f->irq[11].level);
    assert_int_equal(f->irq[11].rises, 1);
}

static void test_shadow(void **state) {
    Fix *f = *state;
    Bus *bus = f->t.bus;
    u8 *ram = bus_ram(bus);
    memset(ram + 0xc0000, 0x11, 0x40000);
    assert_int_equal(bus_read(bus, phy(0xc0000), 1), 0xbb);
    assert_int_equal(bus_read(bus, phy(0xc8000), 1), 0xff);   // no ROM there
    assert_int_equal(bus_read(bus, phy(0xfffff), 1), 0xbb);
    bus_write(bus, phy(0xf0000), 1, 0x22);
    assert_int_equal(ram[0xf0000], 0x11);
    set_cfg(f, 0, 0, 0x59, 1, 0x30);                     // f0000: RAM
    assert_int_equal(bus_read(bus, phy(0xf0000), 1), 0x11);
    assert_int_equal(bus_read(bus, phy(0xe0000), 1), 0xbb);
    bus_write(bus, phy(0xf0000), 1, 0x22);
    assert_int_equal(bus_read(bus, phy(0xf0000), 1), 0x22);
    set_cfg(f, 0, 0, 0x59, 1, 0x10);                     // write-protected
    bus_write(bus, phy(0xf0000), 1, 0x33);
    assert_int_equal(bus_read(bus, phy(0xf0000), 1), 0x22);
    set_cfg(f, 0, 0, 0x59, 1, 0x20);                     // reads ROM, writes RAM
    bus_write(bus, phy(0xf0004), 4, 0x44556677);
    assert_int_equal(bus_read(bus, phy(0xf0004), 4), 0xbbbbbbbb);
    assert_int_equal(get_le32(ram + 0xf0004), 0x44556677);
    set_cfg(f, 0, 0, 0x5a, 2, 0x3333);                   // c0000-effff, as SeaBIOS does
    set_cfg(f, 0, 0, 0x5c, 4, 0x33333333);
    for (u32 at = 0xc0000; at < 0xf0000; at += 0x4000) {
        bus_write(bus, phy(at), 1, 0x55);
        assert_int_equal(bus_read(bus, phy(at), 1), 0x55);
    }
    set_cfg(f, 0, 0, 0x5a, 1, 0x30);                     // c4000 only
    assert_int_equal(bus_read(bus, phy(0xc0000), 1), 0xbb);
    assert_int_equal(bus_read(bus, phy(0xc4000), 1), 0x55);
    device_reset_all(bus);
    assert_int_equal(bus_read(bus, phy(0xf0000), 1), 0xbb);
    assert_int_equal(ram[0xc4000], 0x55);
}

static void test_reset_port(void **state) {
    Fix *f = *state;
    bus_out(f->t.bus, 0xcf9, 1, 2);
    assert_int_equal(bus_requests(f->t.bus), 0);
    assert_int_equal(bus_in(f->t.bus, 0xcf9, 1), 2);
    bus_out(f->t.bus, 0xcf9, 1, 6);
    assert_int_equal(bus_requests(f->t.bus), BUS_REQ_RESET);
}

static void pm_enable(Fix *f) {                          // what SeaBIOS does
    set_cfg(f, 1, 3, 0x40, 4, 0xb001);
    set_cfg(f, 1, 3, 0x80, 1, 1);
}

static void test_pm_base_moves(void **state) {
    Fix *f = *state;
    assert_int_equal(bus_in(f->t.bus, 0xb008, 4), 0xffffffff);
    pm_enable(f);
    assert_int_equal(cfg(f, 1, 3, 0x40, 4), 0xb001);
    assert_true(bus_in(f->t.bus, 0xb008, 4) < 1 << 24);
    set_cfg(f, 1, 3, 0x40, 4, 0x601);
    assert_int_equal(bus_in(f->t.bus, 0xb008, 4), 0xffffffff);
    assert_true(bus_in(f->t.bus, 0x608, 4) < 1 << 24);
    assert_int_equal(bus_in(f->t.bus, 0xb004, 2), 0);    // the fixed port is back
    assert_true(cfg(f, 1, 3, 0x58, 4) & BIT(25));        // "SMM is installed"
}

static void test_pm_timer(void **state) {
    Fix *f = *state;
    pm_enable(f);
    u32 a = bus_in(f->t.bus, 0xb008, 4);
    testbus_advance(&f->t, SECOND);
    u32 b = bus_in(f->t.bus, 0xb008, 4);
    assert_in_range(b - a, 3579544, 3579546);
    testbus_advance(&f->t, 4 * SECOND);                  // 24 bits wrap after 4.69 s
    assert_true(bus_in(f->t.bus, 0xb008, 4) < a + 5 * 3579546 - (1 << 24) + 2);
}

static void test_pm_timer_interrupt(void **state) {
    Fix *f = *state;
    pm_enable(f);
    bus_out(f->t.bus, 0xb2, 1, 0xf1);
    assert_int_equal(bus_in(f->t.bus, 0xb004, 2), 1);    // SCI_EN
    bus_out(f->t.bus, 0xb002, 2, 1);
    testbus_advance(&f->t, 23 * SECOND / 10);
    assert_false(f->irq[9].level);
    testbus_advance(&f->t, SECOND / 10);                 // bit 23 changes after 2.343 s
    assert_true(f->irq[9].level);
    assert_int_equal(bus_in(f->t.bus, 0xb000, 2), 1);
    bus_out(f->t.bus, 0xb000, 2, 1);
    assert_false(f->irq[9].level);
    assert_int_equal(bus_in(f->t.bus, 0xb000, 2), 0);
    testbus_advance(&f->t, 25 * SECOND / 10);
    assert_int_equal(f->irq[9].rises, 2);
}

static void test_power_button(void **state) {
    Fix *f = *state;
    pm_enable(f);
    bus_out(f->t.bus, 0xb002, 2, 0x100);
    acpipm_press_power(f->pm);
    assert_false(f->irq[9].level);                       // ACPI is off
    bus_out(f->t.bus, 0xb2, 1, 0xf1);
    assert_true(f->irq[9].level);
    bus_out(f->t.bus, 0xb000, 2, 0x100);
    assert_false(f->irq[9].level);
    bus_out(f->t.bus, 0xb2, 1, 0xf0);
    assert_int_equal(bus_in(f->t.bus, 0xb004, 2), 0);
    assert_int_equal(bus_in(f->t.bus, 0xb2, 1), 0xf0);
}

static void test_power_off(void **state) {
    static const u16 ports[] = { 0x604, 0xb004 };
    Fix *f = *state;
    for (unsigned i = 0; i < 2; i++) {
        bus_out(f->t.bus, ports[i], 2, 0x0000);
        assert_int_equal(bus_requests(f->t.bus), 0);
        bus_out(f->t.bus, ports[i], 2, 0x2000);
        assert_int_equal(bus_requests(f->t.bus), BUS_REQ_SHUTDOWN);
        assert_int_equal(bus_exit_status(f->t.bus), 0);
        bus_clear_request(f->t.bus, BUS_REQ_SHUTDOWN);
    }
    pm_enable(f);
    bus_out(f->t.bus, 0xb004, 2, 0x2401);                // suspend: wakes at once
    assert_int_equal(bus_requests(f->t.bus), 0);
    assert_int_equal(bus_in(f->t.bus, 0xb000, 2) & 0x8000, 0x8000);
    assert_int_equal(bus_in(f->t.bus, 0xb004, 2), 0x0401);
    bus_out(f->t.bus, 0xb004, 2, 0x2001);
    assert_int_equal(bus_requests(f->t.bus), BUS_REQ_SHUTDOWN);
}

static void test_snapshot_restores_maps(void **state) {
    Fix *f = *state;
    Bus *bus = f->t.bus;
    memset(bus_ram(bus) + 0xf0000, 0x77, 16);
    pm_enable(f);
    set_cfg(f, 0, 0, 0x59, 1, 0x30);
    set_cfg(f, 3, 0, 0x10, 4, 0xe0000000);
    set_cfg(f, 3, 0, 4, 2, 2);
    FILE *file = tmpfile();
    char *err = NULL;
    assert_true(device_save(bus, file, &err));
    device_reset_all(bus);
    assert_int_equal(f->bar_base[0], 0);
    assert_int_equal(bus_read(bus, phy(0xf0000), 1), 0xbb);
    assert_int_equal(bus_in(bus, 0xb008, 4), 0xffffffff);
    rewind(file);
    assert_true(device_load(bus, file, &err));
    fclose(file);
    assert_int_equal(f->bar_base[0], 0xe0000000);
    assert_int_equal(bus_read(bus, phy(0xf0000), 1), 0x77);
    assert_true(bus_in(bus, 0xb008, 4) < 1 << 24);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_identity),
        TEST(test_address_register),
        TEST(test_bars),
        TEST(test_bar_over_ram),
        TEST(test_info),
        TEST(test_pirq_routing),
        TEST(test_shared_pirq),
        TEST(test_shadow),
        TEST(test_reset_port),
        TEST(test_pm_base_moves),
        TEST(test_pm_timer),
        TEST(test_pm_timer_interrupt),
        TEST(test_power_button),
        TEST(test_power_off),
        TEST(test_snapshot_restores_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
