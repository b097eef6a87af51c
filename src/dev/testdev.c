// SPDX-License-Identifier: MIT
// pc-testdev: memory behind a device, ports that remember, ports that drive interrupt lines.
#include "dev/testdev.h"

#include "bus/device.h"
#include <stdlib.h>

enum { TESTDEV_BASE_PPN = 0xff000, TESTDEV_PAGES = 16 };
enum { TESTDEV_PORT = 0xe0, TESTDEV_PORTS = 4, TESTDEV_IRQ_PORT = 0x2000 };

struct TestDev {
    Wire irq[TESTDEV_IRQS];
    u8 port[TESTDEV_PORTS];
    u8 memory[TESTDEV_PAGES][PAGE_BYTES];
};

static const Field testdev_fields[] = {
    FIELD(TestDev, port, FIELD_BYTES, 0),
    FIELD_ARRAY(TestDev, memory, FIELD_BYTES, 0),
};
static const DeviceClass testdev_class = {
    "testdev", testdev_fields, ARRAY_LEN(testdev_fields), NULL, NULL, NULL,
};

// Wider accesses come byte for byte.
static u32 testdev_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    return ((TestDev *)self)->port[port & 3];
}

static void testdev_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    ((TestDev *)self)->port[port & 3] = (u8)value;
}

// (The lines themselves are their owners' state: a reset lets them all fall.)
static void testdev_out_irq(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    wire_set(&((TestDev *)self)->irq[port - TESTDEV_IRQ_PORT], value & 1);
}

static u8 *testdev_byte(TestDev *d, u32 offset) { return &d->memory[offset >> PAGE_SHIFT][offset % PAGE_BYTES]; }

static u32 testdev_read(void *self, u32 offset, unsigned size_bytes) {
    u32 value = 0;
    for (unsigned i = 0; i < size_bytes; i++) value |= (u32)*testdev_byte(self, offset + i) << 8 * i;
    return value;
}

static void testdev_write(void *self, u32 offset, unsigned size_bytes, u32 value) {
    for (unsigned i = 0; i < size_bytes; i++) *testdev_byte(self, offset + i) = (u8)(value >> 8 * i);
}

TestDev *testdev_new(Bus *bus, const Wire irq[TESTDEV_IRQS]) {
    TestDev *d = mem_new(sizeof(*d));
    for (unsigned i = 0; i < TESTDEV_IRQS; i++) d->irq[i] = irq[i];
    BusPort lines = { "testdev-irq", d, 1, NULL, testdev_out_irq };
    BusPort port = { "testdev", d, 1, testdev_in, testdev_out };
    BusMmio memory = { "testdev", d, testdev_read, testdev_write };
    bus_map_ports(bus, TESTDEV_PORT, TESTDEV_PORTS, &port);
    bus_map_ports(bus, TESTDEV_IRQ_PORT, TESTDEV_IRQS, &lines);
    bus_map_mmio(bus, TESTDEV_BASE_PPN, TESTDEV_PAGES, bus_add_mmio(bus, &memory), 0);
    device_add(bus, &testdev_class, NULL, d);
    return d;
}

void testdev_free(TestDev *d) { free(d); }
