// SPDX-License-Identifier: MIT
// Ports: 64 K slots, each an index into a short list of handlers.
//
// Invariants: entry 0 is "nobody" and takes bytes; in and out of an entry are never NULL. Equal
// handlers share an entry, so that a BAR moved a million times needs one. A handler may map and
// unmap ports: nothing of an entry is used after it was called.
#include "bus/bus_int.h"

#include <stdlib.h>

static u32 port_in_nobody(void *self, u16 port, unsigned size_bytes) {
    (void)self, (void)port;
    return trunc_size(0xffffffff, size_bytes);
}

static void port_out_nobody(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)self, (void)port, (void)size_bytes, (void)value;
}

// The index of an entry equal to *ops, made when there is none.
static u16 port_entry(Bus *bus, BusPort ops) {
    if (!ops.in) ops.in = port_in_nobody;
    if (!ops.out) ops.out = port_out_nobody;
    for (u32 i = 0; i < bus->port_count; i++) {
        const BusPort *p = &bus->ports[i];
        if (p->name == ops.name && p->self == ops.self && p->sizes == ops.sizes && p->in == ops.in
            && p->out == ops.out)
            return (u16)i;
    }
    require(bus->port_count < 0xffff);
    bus->ports = mem_resize(bus->ports, (bus->port_count + 1) * sizeof(*bus->ports));
    bus->ports[bus->port_count] = ops;
    return (u16)bus->port_count++;
}

void bus_ports_open(Bus *bus) {
    bus->port_slot = mem_new(BUS_PORTS * sizeof(*bus->port_slot));
    port_entry(bus, (BusPort){ .name = "nobody", .sizes = 1 | 2 | 4 });
    bus->ports[0].sizes = 1;       // wider accesses may reach a neighbour's port
}

void bus_ports_close(Bus *bus) {
    free(bus->port_slot);
    free(bus->ports);
}

static void port_fill(Bus *bus, u16 first, unsigned count, u16 entry) {
    require(count <= BUS_PORTS - first);
    for (unsigned i = 0; i < count; i++) bus->port_slot[first + i] = entry;
}

void bus_map_ports(Bus *bus, u16 first, unsigned count, const BusPort *ops) {
    port_fill(bus, first, count, port_entry(bus, *ops));
}

void bus_unmap_ports(Bus *bus, u16 first, unsigned count) { port_fill(bus, first, count, 0); }

// ---- hot ----------------------------------------------------------------------------------------
static inline BusPort *port_handler(Bus *bus, u16 port) {
    return &bus->ports[bus->port_slot[port]];
}

static u32 port_in_byte(Bus *bus, u16 port) {
    BusPort *p = port_handler(bus, port);
    return p->sizes & 1 ? p->in(p->self, port, 1) & 0xff : 0xff;
}

// The size is not taken as a whole: byte by byte, each by its own port's handler.
static __attribute__((noinline)) u32 port_in_split(Bus *bus, u16 port, unsigned size_bytes) {
    u32 value = 0;
    for (unsigned i = 0; i < size_bytes; i++)
        value |= port_in_byte(bus, (u16)(port + i)) << (8 * i);
    return value;
}

static __attribute__((noinline)) void port_out_split(Bus *bus, u16 port, unsigned size_bytes,
                                                     u32 value) {
    for (unsigned i = 0; i < size_bytes; i++) {
        BusPort *p = port_handler(bus, (u16)(port + i));
        if (p->sizes & 1) p->out(p->self, (u16)(port + i), 1, value >> (8 * i) & 0xff);
    }
}

static __attribute__((noinline)) void port_log(Bus *bus, const char *way, const char *name,
                                               u16 port, unsigned size_bytes, u32 value) {
    log_printf(bus->log, "io: %-3s %04x %0*x %s\n", way, port, (int)size_bytes * 2,
               trunc_size(value, size_bytes), name);
}

u32 bus_in(Bus *bus, u16 port, unsigned size_bytes) {
    bus->touches++;
    BusPort *p = port_handler(bus, port);
    const char *name = p->name;
    u32 value = __builtin_expect(p->sizes & size_bytes, 1)
        ? trunc_size(p->in(p->self, port, size_bytes), size_bytes)
        : port_in_split(bus, port, size_bytes);
    if (log_on(bus->log, LOG(IO))) port_log(bus, "in", name, port, size_bytes, value);
    return value;
}

void bus_out(Bus *bus, u16 port, unsigned size_bytes, u32 value) {
    bus->touches++;
    BusPort *p = port_handler(bus, port);
    if (log_on(bus->log, LOG(IO))) port_log(bus, "out", p->name, port, size_bytes, value);
    if (__builtin_expect(p->sizes & size_bytes, 1))
        p->out(p->self, port, size_bytes, trunc_size(value, size_bytes));
    else
        port_out_split(bus, port, size_bytes, value);
}
