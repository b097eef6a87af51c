// SPDX-License-Identifier: MIT
// pc-testdev: what kvm-unit-tests expect of a machine besides a PC's chips. Memory that is reached
// through a device, for every instruction with a memory operand, ports that remember, and ports that
// drive interrupt lines.
#ifndef DEV_TESTDEV_H
#define DEV_TESTDEV_H

#include "bus/bus.h"

typedef struct TestDev TestDev;

// 64 KiB at 0xff000000 that are no RAM to the processor; ports 0xe0-0xe3 read as last written;
// bit 0 written to port 0x2000 + n is the level of the ISA interrupt line n, n < TESTDEV_IRQS.
enum { TESTDEV_IRQS = 16 };
TestDev *testdev_new(Bus *bus, const Wire irq[TESTDEV_IRQS]);
void testdev_free(TestDev *d);

#endif
