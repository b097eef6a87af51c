// SPDX-License-Identifier: MIT
// Intel 82093AA I/O APIC.
//
// Source: datasheet 290566. An edge on a masked pin is lost; a level is looked at again when its
// entry is unmasked and at the end of its interrupt (remote IRR).
#include "dev/ioapic.h"

#include <stdlib.h>

#define IOAPIC_BASE 0xfec00000u
#define IOAPIC_VERSION (0x11u | (IOAPIC_PINS - 1) << 16)

enum { IOREGSEL = 0, IOWIN = 0x10 };
enum { REG_ID, REG_VERSION, REG_ARBITRATION, REG_REDIRECTION = 0x10 };

#define ENTRY_LOGICAL 0x800u
#define ENTRY_PENDING 0x1000u              // delivery status: never, delivery is at once
#define ENTRY_REMOTE_IRR 0x4000u
#define ENTRY_LEVEL 0x8000u
#define ENTRY_MASKED 0x10000u

struct IoApic {
    Bus *bus;
    Lapic *lapic;
    Wire extint;               // to the local APIC, for an entry of mode ExtINT
    u32 select;                // register the window shows
    u32 id;
    u32 low[IOAPIC_PINS], high[IOAPIC_PINS];       // redirection entries
    u32 levels;                // of the pins
};

static const Field ioapic_fields[] = {
    FIELD(IoApic, select, FIELD_UINT, 0),
    FIELD(IoApic, id, FIELD_UINT, 0),
    FIELD_ARRAY(IoApic, low, FIELD_UINT, ENTRY_MASKED),
    FIELD_ARRAY(IoApic, high, FIELD_UINT, 0),
    FIELD(IoApic, levels, FIELD_UINT, 0),
};

// ---- delivery -----------------------------------------------------------------------------------
static ApicMode entry_mode(const IoApic *io, unsigned pin) { return io->low[pin] >> 8 & 7; }

static void ioapic_send(IoApic *io, unsigned pin) {
    u32 low = io->low[pin];
    bool level = low & ENTRY_LEVEL;
    bool taken = lapic_deliver(io->lapic, &(ApicMessage){ .dest = (u8)(io->high[pin] >> 24),
        .logical = low & ENTRY_LOGICAL, .mode = (u8)entry_mode(io, pin), .vector = (u8)low,
        .level = level });
    if (level && taken) io->low[pin] |= ENTRY_REMOTE_IRR;
}

// ExtINT: the pin is passed on as a wire; the vector comes from the PIC.
static void ioapic_update_extint(IoApic *io) {
    bool on = false;
    for (unsigned i = 0; i < IOAPIC_PINS; i++)
        if (!(io->low[i] & ENTRY_MASKED) && entry_mode(io, i) == APIC_EXTINT) on |= io->levels >> i & 1;
    wire_set(&io->extint, on);
}

// A level-triggered pin asks until somebody takes it.
static void ioapic_check(IoApic *io, unsigned pin) {
    u32 low = io->low[pin];
    bool waits = low & (ENTRY_MASKED | ENTRY_REMOTE_IRR);
    if ((low & ENTRY_LEVEL) && !waits && (io->levels >> pin & 1)) ioapic_send(io, pin);
}

static void ioapic_set_pin(void *self, unsigned pin, bool level) {
    IoApic *io = self;
    bool rises = level && !(io->levels >> pin & 1);
    io->levels = (io->levels & ~(1u << pin)) | (level ? 1u << pin : 0);
    u32 low = io->low[pin];
    if (entry_mode(io, pin) == APIC_EXTINT) ioapic_update_extint(io);
    else if (low & ENTRY_LEVEL) ioapic_check(io, pin);
    else if (rises && !(low & ENTRY_MASKED)) ioapic_send(io, pin);
}

Wire ioapic_pin(IoApic *io, unsigned pin) {
    require(pin < IOAPIC_PINS);
    return (Wire){ ioapic_set_pin, io, pin };
}

static void ioapic_eoi(void *self, u8 vector) {
    IoApic *io = self;
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        if ((io->low[i] & 0xff) != vector || !(io->low[i] & ENTRY_REMOTE_IRR)) continue;
        io->low[i] &= ~ENTRY_REMOTE_IRR;
        ioapic_check(io, i);
    }
}

// ---- registers ----------------------------------------------------------------------------------
static u32 ioapic_read_reg(const IoApic *io) {
    unsigned n = (io->select - REG_REDIRECTION) / 2;
    if (io->select >= REG_REDIRECTION && n < IOAPIC_PINS)
        return io->select & 1 ? io->high[n] : io->low[n];
    switch (io->select) {
    case REG_ID: case REG_ARBITRATION: return io->id;
    case REG_VERSION: return IOAPIC_VERSION;
    default: return 0;
    }
}

// Turning an entry from level to edge ends a pending remote IRR.
static void ioapic_write_low(IoApic *io, unsigned n, u32 value) {
    u32 kept = value & ENTRY_LEVEL ? io->low[n] & ENTRY_REMOTE_IRR : 0;
    io->low[n] = (value & 0x1afff & ~ENTRY_PENDING) | kept;
    ioapic_check(io, n);
    ioapic_update_extint(io);
}

static void ioapic_write_reg(IoApic *io, u32 value) {
    unsigned n = (io->select - REG_REDIRECTION) / 2;
    if (io->select == REG_ID) io->id = value & 0x0f000000;
    if (io->select < REG_REDIRECTION || n >= IOAPIC_PINS) return;
    if (io->select & 1) io->high[n] = value & 0xff000000;
    else ioapic_write_low(io, n, value);
}

static u32 ioapic_read(void *self, u32 offset, unsigned size_bytes) {
    (void)size_bytes;
    const IoApic *io = self;
    if (offset == IOREGSEL) return io->select;
    return offset == IOWIN ? ioapic_read_reg(io) : 0;
}

static void ioapic_write(void *self, u32 offset, unsigned size_bytes, u32 value) {
    IoApic *io = self;
    if (offset == IOREGSEL) io->select = value & 0xff;
    else if (offset == IOWIN && size_bytes == 4) ioapic_write_reg(io, value);
}

// ---- life ---------------------------------------------------------------------------------------
static void ioapic_loaded(void *self) { ioapic_update_extint(self); }

static void ioapic_info(void *self, FILE *out) {
    const IoApic *io = self;
    for (unsigned i = 0; i < IOAPIC_PINS; i++)
        if (!(io->low[i] & ENTRY_MASKED))
            fprintf(out, "pin %2u: vector %02x mode %u %s%s to %02x%s, %s\n", i, io->low[i] & 0xff,
                    entry_mode(io, i), io->low[i] & ENTRY_LEVEL ? "level" : "edge",
                    io->low[i] & ENTRY_REMOTE_IRR ? " in service" : "", io->high[i] >> 24,
                    io->low[i] & ENTRY_LOGICAL ? " logical" : "", io->levels >> i & 1 ? "high" : "low");
}

static const DeviceClass ioapic_class = {
    "ioapic", ioapic_fields, ARRAY_LEN(ioapic_fields), ioapic_loaded, ioapic_loaded, ioapic_info,
};

IoApic *ioapic_new(Bus *bus, Lapic *lapic) {
    IoApic *io = mem_new(sizeof *io);
    io->bus = bus;
    io->lapic = lapic;
    io->extint = lapic_lint(lapic, 2);
    for (unsigned i = 0; i < IOAPIC_PINS; i++) io->low[i] = ENTRY_MASKED;
    unsigned region = bus_add_mmio(bus, &(BusMmio){ "ioapic", io, ioapic_read, ioapic_write });
    bus_map_mmio(bus, IOAPIC_BASE >> PAGE_SHIFT, 1, region, 0);
    lapic_on_eoi(lapic, ioapic_eoi, io);
    device_add(bus, &ioapic_class, NULL, io);
    return io;
}

void ioapic_free(IoApic *io) { free(io); }
