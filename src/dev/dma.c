// SPDX-License-Identifier: MIT
// Intel 8237A, twice, as an AT wires them: chip 0 serves channels 0-3 in bytes, chip 1 channels 4-7
// in words; chip 0's request goes through chip 1's channel 4 in cascade mode.
//
//     bus address, channels 0-3:  | page 23..16 | address 15..0 |
//     bus address, channels 5-7:  | page 23..17 | address 15..0 | 0 |
//
// The address counter has 16 bits and never carries into the page. There is no memory-to-memory
// transfer (nor on the chips that AT chipsets contain), and a software request finds no device.
#include "dev/dma.h"

#include "bus/device.h"
#include <stdlib.h>
#include <string.h>

enum { MODE_TYPE = 0x0c, MODE_TO_MEMORY = 0x04, MODE_FROM_MEMORY = 0x08, MODE_AUTO = 0x10,
       MODE_DECREMENT = 0x20, MODE_SERVICE = 0xc0, MODE_CASCADE = 0xc0 };
enum { COMMAND_MEMORY_TO_MEMORY = 1, COMMAND_DISABLE = 4 };
enum { CHANNELS = 8, CASCADE = 4 };

struct Dma {
    Bus *bus;
    u16 base_address[CHANNELS], base_count[CHANNELS];   // what autoinitialise reloads
    u16 address[CHANNELS], count[CHANNELS];             // count: transfers still to do, minus 1
    u8 mode[CHANNELS];
    u8 page[16];               // ports 0x80-0x8f; those of no channel are just storage
    // Per chip:
    u8 command[2];
    u8 mask[2];                // bit per channel: no service
    u8 reached[2];             // bit per channel: terminal count since status was read
    u8 lines[2];               // bit per channel: DREQ
    u8 soft[2];                // bit per channel: software request
    bool high_byte[2];         // byte pointer flip-flop
};

static const Field dma_fields[] = {
    FIELD_ARRAY(Dma, base_address, FIELD_UINT, 0), FIELD_ARRAY(Dma, base_count, FIELD_UINT, 0),
    FIELD_ARRAY(Dma, address, FIELD_UINT, 0),      FIELD_ARRAY(Dma, count, FIELD_UINT, 0),
    FIELD_ARRAY(Dma, mode, FIELD_UINT, 0),         FIELD_ARRAY(Dma, page, FIELD_UINT, 0),
    FIELD_ARRAY(Dma, command, FIELD_UINT, 0),      FIELD_ARRAY(Dma, mask, FIELD_UINT, 0x0f),
    FIELD_ARRAY(Dma, reached, FIELD_UINT, 0),      FIELD_ARRAY(Dma, lines, FIELD_UINT, 0),
    FIELD_ARRAY(Dma, soft, FIELD_UINT, 0),         FIELD_ARRAY(Dma, high_byte, FIELD_BOOL, 0),
};

static u32 dma_page(const Dma *dma, unsigned channel) {
    static const u8 page_port[CHANNELS] = { 7, 3, 1, 2, 15, 11, 9, 10 };
    return dma->page[page_port[channel]];
}

// ---- registers ----------------------------------------------------------------------------------
// Registers 0-7 of a chip: address and count of each channel, low byte first.
static u8 dma_read_counter(Dma *dma, unsigned chip, unsigned reg) {
    unsigned channel = chip * 4 + reg / 2;
    u16 v = reg & 1 ? dma->count[channel] : dma->address[channel];
    bool high = dma->high_byte[chip];
    dma->high_byte[chip] = !high;
    return (u8)(high ? v >> 8 : v);
}

static void dma_write_counter(Dma *dma, unsigned chip, unsigned reg, u8 value) {
    unsigned channel = chip * 4 + reg / 2;
    u16 *base = reg & 1 ? &dma->base_count[channel] : &dma->base_address[channel];
    u16 *current = reg & 1 ? &dma->count[channel] : &dma->address[channel];
    bool high = dma->high_byte[chip];
    dma->high_byte[chip] = !high;
    *base = (u16)(high ? (*base & 0x00ff) | value << 8 : (*base & 0xff00) | value);
    *current = *base;
}

static void dma_set_bit(u8 *bits, unsigned n, bool on) {
    *bits = (u8)(on ? *bits | BIT(n) : *bits & ~BIT(n));
}

static void dma_master_clear(Dma *dma, unsigned chip) {
    dma->command[chip] = dma->reached[chip] = dma->soft[chip] = 0;
    dma->high_byte[chip] = false;
    dma->mask[chip] = 0x0f;
}

static u8 dma_read_control(Dma *dma, unsigned chip, unsigned reg) {
    u8 v;
    switch (reg) {
    case 8:
        v = (u8)(dma->reached[chip] | (dma->lines[chip] | dma->soft[chip]) << 4);
        dma->reached[chip] = 0;
        return v;
    case 13: return 0;                                   // temporary register
    case 15: return 0xf0 | dma->mask[chip];              // the PIIX can read it back
    default: return 0xff;
    }
}

static void dma_write_control(Dma *dma, unsigned chip, unsigned reg, u8 value) {
    switch (reg) {
    case 8:
        dma->command[chip] = value;
        if (value & COMMAND_MEMORY_TO_MEMORY)
            log_guest_error(bus_log(dma->bus), "dma", "memory-to-memory transfer wanted");
        break;
    case 9: dma_set_bit(&dma->soft[chip], value & 3, value & 4); break;
    case 10: dma_set_bit(&dma->mask[chip], value & 3, value & 4); break;
    case 11: dma->mode[chip * 4 + (value & 3)] = value; break;
    case 12: dma->high_byte[chip] = false; break;
    case 13: dma_master_clear(dma, chip); break;
    case 14: dma->mask[chip] = 0; break;
    default: dma->mask[chip] = value & 0x0f; break;
    }
}

static u32 dma_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    unsigned chip = port >= 0xc0, reg = chip ? (port - 0xc0u) / 2 : port;
    return reg < 8 ? dma_read_counter(self, chip, reg) : dma_read_control(self, chip, reg);
}

static void dma_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    unsigned chip = port >= 0xc0, reg = chip ? (port - 0xc0u) / 2 : port;
    if (reg < 8) dma_write_counter(self, chip, reg, (u8)value);
    else dma_write_control(self, chip, reg, (u8)value);
}

static u32 dma_page_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    return ((Dma *)self)->page[port & 15];
}

static void dma_page_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    ((Dma *)self)->page[port & 15] = (u8)value;
}

// ---- transfers ----------------------------------------------------------------------------------
static bool dma_chip_ready(const Dma *dma, unsigned channel) {
    unsigned chip = channel / 4;
    return !(dma->command[chip] & COMMAND_DISABLE) && !(dma->mask[chip] & BIT(channel & 3));
}

static bool dma_is_cascade(const Dma *dma, unsigned channel) {
    return (dma->mode[channel] & MODE_SERVICE) == MODE_CASCADE;
}

bool dma_ready(const Dma *dma, unsigned channel) {
    if (!dma_chip_ready(dma, channel) || dma_is_cascade(dma, channel)) return false;
    return channel > CASCADE || (dma_chip_ready(dma, CASCADE) && dma_is_cascade(dma, CASCADE));
}

void dma_request(Dma *dma, unsigned channel, bool level) {
    dma_set_bit(&dma->lines[channel / 4], channel & 3, level);
}

// Moves `units` bytes or words that neither wrap around nor reach beyond terminal count.
static void dma_move(Dma *dma, unsigned channel, u8 *buf, u32 units, bool to_memory) {
    unsigned shift = channel >= CASCADE;
    u32 page = dma_page(dma, channel) << 16;
    if (shift) page &= 0xfe0000;
    Phy at = phy(page | (u32)dma->address[channel] << shift);
    if (to_memory) bus_dma_write(dma->bus, at, buf, units << shift);
    else bus_dma_read(dma->bus, at, buf, units << shift);
}

// Transfers that can be done in one go: all before the address wraps; one when it counts down.
static u32 dma_run_length(const Dma *dma, unsigned channel, u32 units) {
    u32 to_end = (u32)dma->count[channel] + 1, to_wrap = 0x10000 - dma->address[channel];
    if (dma->mode[channel] & MODE_DECREMENT) to_wrap = 1;
    return min_u32(units, min_u32(to_end, to_wrap));
}

// Counts `units` transfers. True: terminal count.
static bool dma_count(Dma *dma, unsigned channel, u32 units) {
    bool down = dma->mode[channel] & MODE_DECREMENT, end = units > dma->count[channel];
    dma->address[channel] = (u16)(down ? dma->address[channel] - units
                                       : dma->address[channel] + units);
    dma->count[channel] = (u16)(dma->count[channel] - units);
    if (!end) return false;
    dma->reached[channel / 4] |= (u8)BIT(channel & 3);
    dma_set_bit(&dma->soft[channel / 4], channel & 3, false);
    if (dma->mode[channel] & MODE_AUTO) {
        dma->address[channel] = dma->base_address[channel];
        dma->count[channel] = dma->base_count[channel];
    } else {
        dma->mask[channel / 4] |= (u8)BIT(channel & 3);
    }
    return true;
}

u32 dma_transfer(Dma *dma, unsigned channel, void *buf, u32 bytes, bool to_memory,
                 bool *terminal_count) {
    unsigned shift = channel >= CASCADE;
    u8 *at = buf;
    u32 left = bytes >> shift;
    *terminal_count = false;
    if (!dma_ready(dma, channel)) return 0;
    u8 type = dma->mode[channel] & MODE_TYPE;
    bool moves = type == (to_memory ? MODE_TO_MEMORY : MODE_FROM_MEMORY);
    if (!moves && type)
        log_guest_error(bus_log(dma->bus), "dma", "channel %u is set to the wrong direction",
                        channel);
    if (!moves && !to_memory) memset(buf, 0, bytes);
    while (left && !*terminal_count) {
        u32 units = dma_run_length(dma, channel, left);
        if (moves) dma_move(dma, channel, at, units, to_memory);
        *terminal_count = dma_count(dma, channel, units);
        at += units << shift;
        left -= units;
    }
    return (u32)(at - (u8 *)buf);
}

// ---- life ---------------------------------------------------------------------------------------
static void dma_info(void *self, FILE *out) {
    const Dma *dma = self;
    for (unsigned c = 0; c < CHANNELS; c++)
        fprintf(out, "channel %u: page=%02x address=%04x count=%04x mode=%02x%s\n", c,
                (unsigned)dma_page(dma, c), dma->address[c], dma->count[c], dma->mode[c],
                dma->mask[c / 4] & BIT(c & 3) ? " masked" : "");
}

static const DeviceClass dma_class = {
    "dma", dma_fields, ARRAY_LEN(dma_fields), NULL, NULL, dma_info,
};

Dma *dma_new(Bus *bus) {
    Dma *dma = mem_new(sizeof(*dma));
    dma->bus = bus;
    dma->mask[0] = dma->mask[1] = 0x0f;
    device_add(bus, &dma_class, NULL, dma);
    BusPort ports = { "dma", dma, 1, dma_in, dma_out };
    BusPort pages = { "dma page", dma, 1, dma_page_in, dma_page_out };
    bus_map_ports(bus, 0x00, 16, &ports);
    bus_map_ports(bus, 0xc0, 32, &ports);
    bus_map_ports(bus, 0x80, 16, &pages);
    return dma;
}

void dma_free(Dma *dma) { free(dma); }
