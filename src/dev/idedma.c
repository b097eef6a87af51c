// SPDX-License-Identifier: MIT
// The IDE bus master (SFF-8038i; Intel PIIX3 datasheet 290550, chapter 2.5).
//
// Per channel, 8 ports from BAR 4 on (the secondary channel's follow the primary's):
//     0  command   bit 0 start, bit 3 to memory
//     2  status    bit 0 active, bit 1 error, bit 2 interrupt (1 and 2: write 1 to clear),
//                  bits 5 and 6 drives capable of DMA (storage)
//     4  address of the list of regions; 8 bytes each:
//
//     | 31..1 base address | 0 |     | 31 last | 30..16 | 15..1 byte count, 0 is 64 KiB | 0 |
//
// Rules
//  1. The drive sets the pace: it calls idedma_move() when it has or wants data. What the engine
//     does not move then, the drive offers again after the start bit or bus mastering was set.
//  2. `active` falls with the last byte of the list's last region, or with the start bit. A drive
//     that wants more waits for ever: so a guest sees a list that is too short (neither active nor
//     interrupt). One that ends before the list does leaves `active` set, with an interrupt.
//  3. The interrupt bit is set by the rise of the drive's INTRQ, by which time all data are there.
#include "dev/idedma.h"

#include "bus/device.h"
#include <stdlib.h>

#define CHANNELS 2u
#define BAR_BYTES 16u

enum { REG_COMMAND, REG_STATUS = 2, REG_LIST = 4 };
enum { COMMAND_START = 1, COMMAND_TO_MEMORY = 8 };
enum { STATUS_ACTIVE = 1, STATUS_ERROR = 2, STATUS_INTERRUPT = 4, STATUS_CAPABLE = 0x60 };

typedef struct DmaChannel {
    IdeDma *owner;
    Ide *ide;
    unsigned n;
} DmaChannel;

struct IdeDma {
    Bus *bus;
    PciFn *fn;
    DmaChannel channels[CHANNELS];
    u32 base;                  // where the ports are; 0: nowhere
    bool master;               // bus mastering is on
    u8 command[CHANNELS], status[CHANNELS];
    u32 list[CHANNELS];        // as written
    u32 next[CHANNELS];        // next entry of the list
    u32 region[CHANNELS];      // next byte of the present region
    u32 left[CHANNELS];        // bytes left of it
    bool last[CHANNELS];       // it is the list's last
};

#define ROWS(m, k) FIELD_ARRAY(IdeDma, m, FIELD_##k, 0)
static const Field idedma_fields[] = {
    ROWS(command, UINT), ROWS(status, UINT), ROWS(list, UINT), ROWS(next, UINT),
    ROWS(region, UINT),  ROWS(left, UINT),   ROWS(last, BOOL), FIELD(IdeDma, master, FIELD_BOOL, 0),
};
#undef ROWS
static const DeviceClass idedma_class = {
    "idedma", idedma_fields, ARRAY_LEN(idedma_fields), NULL, NULL, NULL,
};

// ---- the engine ---------------------------------------------------------------------------------
static void idedma_next_region(IdeDma *d, unsigned n) {
    u8 entry[8];
    bus_dma_read(d->bus, (Phy){ d->next[n] }, entry, sizeof(entry));
    u32 count = get_le32(entry + 4);
    d->next[n] += sizeof(entry);
    d->region[n] = get_le32(entry) & ~1u;
    d->left[n] = count & 0xfffe ? count & 0xfffe : 0x10000;
    d->last[n] = count >> 31;
}

static bool idedma_runs(const IdeDma *d, unsigned n, bool to_memory) {
    bool upward = (d->command[n] & COMMAND_TO_MEMORY) != 0;
    return (d->status[n] & STATUS_ACTIVE) && upward == to_memory && pci_is_master(d->fn);
}

static u32 idedma_move(void *self, bool to_memory, u8 *data, u32 bytes) {
    const DmaChannel *c = self;
    IdeDma *d = c->owner;
    unsigned n = c->n;
    u32 moved = 0;
    while (moved < bytes && idedma_runs(d, n, to_memory)) {
        if (!d->left[n]) idedma_next_region(d, n);
        u32 part = min_u32(d->left[n], bytes - moved);
        if (to_memory) bus_dma_write(d->bus, (Phy){ d->region[n] }, data + moved, part);
        else bus_dma_read(d->bus, (Phy){ d->region[n] }, data + moved, part);
        moved += part;
        d->region[n] += part;
        d->left[n] -= part;
        if (!d->left[n] && d->last[n]) d->status[n] &= (u8)~STATUS_ACTIVE;
    }
    return moved;
}

static void idedma_interrupt(void *self) {
    const DmaChannel *c = self;
    c->owner->status[c->n] |= STATUS_INTERRUPT;
}

// ---- registers ----------------------------------------------------------------------------------
static void idedma_write_command(IdeDma *d, unsigned n, u8 value) {
    bool was = d->command[n] & COMMAND_START, is = value & COMMAND_START;
    // The direction does not change while the engine runs.
    u8 direction = was && is ? d->command[n] : value;
    d->command[n] = (u8)((value & COMMAND_START) | (direction & COMMAND_TO_MEMORY));
    if (!is) d->status[n] &= (u8)~STATUS_ACTIVE;
    if (was || !is) return;
    d->status[n] |= STATUS_ACTIVE;
    d->next[n] = d->list[n];
    d->left[n] = 0;
    ide_engine_started(d->channels[n].ide);
}

static void idedma_write_byte(IdeDma *d, unsigned n, unsigned reg, u8 value) {
    u8 *status = &d->status[n];
    if (reg == REG_COMMAND) {
        idedma_write_command(d, n, value);
    } else if (reg == REG_STATUS) {
        *status &= (u8)~(value & (STATUS_ERROR | STATUS_INTERRUPT));
        *status = (u8)((*status & ~STATUS_CAPABLE) | (value & STATUS_CAPABLE));
    } else if (reg >= REG_LIST) {
        unsigned shift = 8 * (reg - REG_LIST);
        d->list[n] = ((d->list[n] & ~(0xffu << shift)) | (u32)value << shift) & ~3u;
    }
}

static u8 idedma_read_byte(const IdeDma *d, unsigned n, unsigned reg) {
    if (reg == REG_COMMAND) return d->command[n];
    if (reg == REG_STATUS) return d->status[n];
    return reg >= REG_LIST ? (u8)(d->list[n] >> (8 * (reg - REG_LIST))) : 0;
}

static u32 idedma_in(void *self, u16 port, unsigned size_bytes) {
    const IdeDma *d = self;
    unsigned at = port - d->base;
    u32 value = 0;
    for (unsigned i = 0; i < size_bytes && at + i < BAR_BYTES; i++)
        value |= (u32)idedma_read_byte(d, (at + i) / 8, (at + i) % 8) << (8 * i);
    return value;
}

static void idedma_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    IdeDma *d = self;
    unsigned at = port - d->base;
    for (unsigned i = 0; i < size_bytes && at + i < BAR_BYTES; i++)
        idedma_write_byte(d, (at + i) / 8, (at + i) % 8, (u8)(value >> (8 * i)));
}

static void idedma_map(void *self, u32 base, bool mapped) {
    IdeDma *d = self;
    BusPort ops = { "ide-dma", d, 1 | 2 | 4, idedma_in, idedma_out };
    d->base = mapped ? base : 0;
    if (mapped) bus_map_ports(d->bus, (u16)base, BAR_BYTES, &ops);
    else bus_unmap_ports(d->bus, (u16)base, BAR_BYTES);
}

// Bus mastering may have been switched on.
static void idedma_configured(void *self, unsigned reg, unsigned bytes) {
    IdeDma *d = self;
    bool was = d->master;
    if (reg > PCI_COMMAND || reg + bytes <= PCI_COMMAND) return;
    d->master = pci_is_master(d->fn);
    if (was || !d->master) return;
    for (unsigned n = 0; n < CHANNELS; n++)
        if (d->status[n] & STATUS_ACTIVE) ide_engine_started(d->channels[n].ide);
}

IdeDma *idedma_new(Bus *bus, PciFn *fn, Ide *const ide[2]) {
    IdeDma *d = mem_new(sizeof(*d));
    d->bus = bus;
    d->fn = fn;
    for (unsigned n = 0; n < CHANNELS; n++) {
        DmaChannel *c = &d->channels[n];
        *c = (DmaChannel){ d, ide[n], n };
        ide_connect_engine(ide[n], &(IdeEngine){ c, idedma_move, idedma_interrupt });
    }
    device_add(bus, &idedma_class, NULL, d);
    pci_init_bytes(fn, PCI_CLASS + 1, 1, 0x80);          // programming interface: bus master
    pci_set_bar(fn, 4, &(PciBar){ BAR_BYTES, PCI_BAR_IO, idedma_map, d });
    pci_on_write(fn, idedma_configured, d);
    return d;
}

void idedma_free(IdeDma *d) { free(d); }
