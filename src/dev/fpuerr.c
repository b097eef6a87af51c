// SPDX-License-Identifier: MIT
// The AT's floating-point error logic. A falling FERR# (a raised wire here) sets a latch that drives
// IRQ13; any write to port 0xf0 clears it. A 386 or 486 with CR0.NE clear reports x87 errors so.
#include "dev/fpuerr.h"

#include "bus/device.h"
#include <stdlib.h>

struct FpuErr {
    Wire irq13;
    bool ferr;                 // the processor's pin, active
    bool latch;                // drives IRQ13
};

static const Field fpuerr_fields[] = {
    FIELD(FpuErr, ferr, FIELD_BOOL, 0),
    FIELD(FpuErr, latch, FIELD_BOOL, 0),
};

static void fpuerr_update(void *self) {
    FpuErr *f = self;
    wire_set(&f->irq13, f->latch);
}

static void fpuerr_set(void *self, unsigned n, bool level) {
    (void)n;
    FpuErr *f = self;
    if (level && !f->ferr) f->latch = true;
    f->ferr = level;
    fpuerr_update(f);
}

static void fpuerr_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)port, (void)size_bytes, (void)value;
    FpuErr *f = self;
    f->latch = false;
    fpuerr_update(f);
}

static const DeviceClass fpuerr_class = {
    "fpuerr", fpuerr_fields, ARRAY_LEN(fpuerr_fields), fpuerr_update, fpuerr_update, NULL,
};

FpuErr *fpuerr_new(Bus *bus, Wire irq13) {
    FpuErr *f = mem_new(sizeof(*f));
    f->irq13 = irq13;
    device_add(bus, &fpuerr_class, NULL, f);
    bus_map_ports(bus, 0xf0, 2, &(BusPort){ "fpu-error", f, 1, NULL, fpuerr_out });
    bus_set_ferr(bus, &(Wire){ fpuerr_set, f, 0 });
    return f;
}

void fpuerr_free(FpuErr *f) { free(f); }
