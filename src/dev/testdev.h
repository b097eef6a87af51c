// SPDX-License-Identifier: MIT
// pc-testdev: what kvm-unit-tests expect of a machine besides a PC's chips. Memory that is reached
// through a device, for every instruction with a memory operand, and ports that remember.
#ifndef DEV_TESTDEV_H
#define DEV_TESTDEV_H

#include "bus/bus.h"

typedef struct TestDev TestDev;

// 64 KiB at 0xff000000 that are no RAM to the processor; ports 0xe0-0xe3 read as last written.
TestDev *testdev_new(Bus *bus);
void testdev_free(TestDev *d);

#endif
