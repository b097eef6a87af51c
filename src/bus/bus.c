// SPDX-License-Identifier: MIT
// The bus as a whole: its life, its hooks and the processor's pins.
//
// The pins' state (INTR, NMI, A20) is the device "bus", so that reset, snapshots and the state hash
// treat it like any other.
#include "bus/bus_int.h"

#include <errno.h>
#include <stdlib.h>

static void bus_loaded(void *self) {
    Bus *bus = self;
    bus_raise_attention(bus, BUS_ATT_PIN);
    if (bus->hooks.map_changed) bus->hooks.map_changed(bus->hooks.opaque, 0, BUS_PAGES);
}

static const Field bus_fields[] = {
    FIELD(Bus, intr, FIELD_BOOL, 0),
    FIELD(Bus, nmi, FIELD_BOOL, 0),
    FIELD(Bus, a20, FIELD_BOOL, 1),
};
static const DeviceClass bus_class = {
    "bus", bus_fields, ARRAY_LEN(bus_fields), bus_loaded, bus_loaded, NULL,
};

Bus *bus_new(u64 ram_bytes, Log *log) {
    Bus *bus = mem_new(sizeof(Bus));
    bus->log = log;
    host_time_open(&bus->host_time);
    bus->a20 = true;
    bus->memory_fd = bus->wake_fd = -1;
    if (!bus_mem_open(bus, ram_bytes) || !bus_outside_open(bus)) {
        int error = errno;
        bus_mem_close(bus);
        free(bus);
        errno = error;
        return NULL;
    }
    bus_ports_open(bus);
    device_add(bus, &bus_class, NULL, bus);
    return bus;
}

void bus_free(Bus *bus) {
    if (!bus) return;
    bus_devices_close(bus);
    bus_outside_close(bus);
    bus_time_close(bus);
    bus_ports_close(bus);
    bus_mem_close(bus);
    free(bus);
}

void bus_set_hooks(Bus *bus, const BusHooks *hooks) { bus->hooks = *hooks; }
Log *bus_log(Bus *bus) { return bus->log; }

// ---- the processor's pins -----------------------------------------------------------------------
static void bus_pin_changed(Bus *bus) {
    bus_raise_attention(bus, BUS_ATT_PIN);
    if (bus->hooks.attention) bus->hooks.attention(bus->hooks.opaque);
}

void bus_set_intr(Bus *bus, bool level) {
    if (bus->intr == level) return;
    bus->intr = level;
    bus_pin_changed(bus);
}

bool bus_intr(Bus *bus) { return bus->intr; }

_Static_assert(offsetof(Bus, nmi) == offsetof(Bus, intr) + 1 && offsetof(Bus, intr) % 2 == 0, "one word");
const u16 *bus_wanted_pins(const Bus *bus) { return (const u16 *)(const void *)&bus->intr; }

void bus_connect_int_ack(Bus *bus, u8 (*ack)(void *self), void *self) {
    bus->int_ack = ack;
    bus->int_ack_self = self;
}

// Nobody answers: the data lines float high.
u8 bus_int_ack(Bus *bus) {
    bus->touches++;
    return bus->int_ack ? bus->int_ack(bus->int_ack_self) : 0xff;
}

void bus_pulse_nmi(Bus *bus) {
    bus->nmi = true;
    bus_pin_changed(bus);
}

bool bus_nmi(Bus *bus) { return bus->nmi; }

bool bus_take_nmi(Bus *bus) {
    bool nmi = bus->nmi;
    bus->touches += nmi;
    bus->nmi = false;
    return nmi;
}

void bus_set_a20(Bus *bus, bool enabled) {
    if (bus->a20 == enabled) return;
    bus->a20 = enabled;
    if (bus->hooks.map_changed) bus->hooks.map_changed(bus->hooks.opaque, 0, BUS_PAGES);
}

bool bus_a20(Bus *bus) { return bus->a20; }
void bus_set_ferr(Bus *bus, const Wire *irq13) { bus->ferr = *irq13; }
const Wire *bus_ferr(Bus *bus) { return &bus->ferr; }
