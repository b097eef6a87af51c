// SPDX-License-Identifier: MIT
// Ports made for emulators: debug consoles, isa-debug-exit, and Bochs' power-off.
#include "dev/debugcon.h"

#include "bus/device.h"
#include <stdlib.h>

struct Debugcon {
    CharOut out;
};

static u32 debugcon_in(void *self, u16 port, unsigned size_bytes) {
    (void)self, (void)port, (void)size_bytes;
    return 0xe9;
}

static void debugcon_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)port, (void)size_bytes;
    Debugcon *d = self;
    char_put(&d->out, (u8)value);
}

Debugcon *debugcon_new(Bus *bus, u16 port, CharOut out) {
    Debugcon *d = mem_new(sizeof(*d));
    d->out = out;
    BusPort ops = { "debugcon", d, 1, debugcon_in, debugcon_out };
    bus_map_ports(bus, port, 1, &ops);
    return d;
}

void debugcon_free(Debugcon *d) { free(d); }

struct DebugExit {
    Bus *bus;
};

static u32 debugexit_in(void *self, u16 port, unsigned size_bytes) {
    (void)self, (void)port, (void)size_bytes;
    return 0;
}

static void debugexit_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)port, (void)size_bytes;
    DebugExit *d = self;
    bus_request_exit(d->bus, (int)(value << 1 | 1));
}

DebugExit *debugexit_new(Bus *bus, u16 port, unsigned bytes) {
    DebugExit *d = mem_new(sizeof(*d));
    d->bus = bus;
    BusPort ops = { "debug-exit", d, 1 | 2 | 4, debugexit_in, debugexit_out };
    bus_map_ports(bus, port, bytes, &ops);
    return d;
}

void debugexit_free(DebugExit *d) { free(d); }

struct BochsOff {
    Bus *bus;
    u8 matched;                // bytes of the word seen so far
};

static const Field bochsoff_fields[] = { FIELD(BochsOff, matched, FIELD_UINT, 0) };
static const DeviceClass bochsoff_class = { "bochsoff", bochsoff_fields, 1, NULL, NULL, NULL };

static void bochsoff_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    static const char word[8] = "Shutdown";
    (void)port, (void)size_bytes;
    BochsOff *b = self;
    u8 byte = (u8)value;
    if (byte != (u8)word[b->matched]) b->matched = 0;
    if (byte == (u8)word[b->matched]) b->matched++;
    if (b->matched < sizeof(word)) return;
    b->matched = 0;
    bus_request_poweroff(b->bus);
}

BochsOff *bochsoff_new(Bus *bus) {
    BochsOff *b = mem_new(sizeof(*b));
    b->bus = bus;
    device_add(bus, &bochsoff_class, NULL, b);
    BusPort ops = { "bochs-power-off", b, 1, NULL, bochsoff_out };
    bus_map_ports(bus, 0x8900, 1, &ops);
    return b;
}

void bochsoff_free(BochsOff *b) { free(b); }
