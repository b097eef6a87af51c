// SPDX-License-Identifier: MIT
// One ATA channel (ATA-6): the task file that its two drives share, and what they have in common.
// Its invariants are those of ide_int.h.
#include "dev/ide_int.h"

#include <stdlib.h>
#include <string.h>

#define IDE_RESET_NS 20000u

#define ROW(m, k, r) FIELD(Ide, m, FIELD_##k, r)
#define ROWS(m, k, r) FIELD_ARRAY(Ide, m, FIELD_##k, r)
static const Field ide_fields[] = {
    ROW(timer, TIMER, 0),      ROW(due_ns, UINT, 0),       ROW(todo, UINT, TODO_NONE),
    ROW(active, UINT, 0),
    ROW(unit, UINT, 0),        ROWS(reg, UINT, 0),         ROWS(old, UINT, 0),
    ROW(device, UINT, DEVICE_ONES), ROW(control, UINT, 0), ROW(command, UINT, 0),
    ROWS(status, UINT, 0),     ROWS(error, UINT, 1),       ROWS(pending, BOOL, 0),
    ROW(intrq, BOOL, 0),
    ROWS(heads, UINT, 0),      ROWS(sectors, UINT, 0),     ROWS(multiple, UINT, 0),
    ROWS(mode, UINT, 0x45),    ROWS(write_cache, BOOL, 1), ROWS(power, UINT, 0),
    ROW(lba, UINT, 0),         ROW(left, UINT, 0),         ROW(buffered, UINT, 0),
    ROW(block, UINT, 0),       ROW(data_pos, UINT, 0),     ROW(in_end, UINT, 0),
    ROW(out_end, UINT, 0),     ROW(held, UINT, 0),         ROW(dma, BOOL, 0),
    ROW(engine_wait, BOOL, 0), ROW(phase, UINT, 0),        ROW(limit, UINT, 0),
    ROWS(data, BYTES, 0),      ROWS(scratch, BYTES, 0),
};
#undef ROW
#undef ROWS

// ---- status and interrupt -----------------------------------------------------------------------
static void ide_update_irq(Ide *ide) {
    bool level = ide->pending[ide->unit] && !(ide->control & CONTROL_NO_IRQ);
    bool rises = level && !ide->intrq;
    ide->intrq = level;
    wire_set(&ide->irq, level);
    if (rises && ide->engine.interrupt) ide->engine.interrupt(ide->engine.self);
}

void ide_set_pending(Ide *ide, unsigned unit, bool pending) {
    ide->pending[unit] = pending;
    ide_update_irq(ide);
}

void ide_do_later(Ide *ide, IdeTodo todo, u64 delay_ns) {
    ide->todo = (u8)todo;
    ide->due_ns = bus_now_ns(ide->bus) + delay_ns;
    bus_timer_at(ide->timer, ide->due_ns);
}

void ide_end_transfer(Ide *ide) {
    ide->left = ide->data_pos = ide->in_end = ide->out_end = ide->held = 0;
    ide->buffered = ide->block = ide->phase = 0;
    ide->dma = ide->engine_wait = false;
}

void ide_done(Ide *ide) {
    ide_end_transfer(ide);
    ide->status[ide->active] = STATUS_IDLE;
    ide_set_pending(ide, ide->active, true);
}

void ide_fail(Ide *ide, u8 error, u8 status) {
    ide_end_transfer(ide);
    ide->error[ide->active] = error;
    ide->status[ide->active] = STATUS_IDLE | STATUS_ERROR | status;
    ide_set_pending(ide, ide->active, true);
}

void ide_abort(Ide *ide) { ide_fail(ide, ERROR_ABORT, 0); }

void ide_offer_block(Ide *ide, u32 bytes) {
    ide->in_end = ide->data_pos + bytes;
    ide->status[ide->active] = STATUS_IDLE | STATUS_DATA;
    ide_set_pending(ide, ide->active, true);
}

void ide_want_block(Ide *ide, u32 bytes) {
    ide->out_end = ide->data_pos + bytes;
    ide->status[ide->active] = STATUS_IDLE | STATUS_DATA;
}

bool ide_move_dma(Ide *ide, bool to_memory) {
    const IdeEngine *e = &ide->engine;
    u32 bytes = ide->held - ide->data_pos;
    if (e->move) ide->data_pos += e->move(e->self, to_memory, ide->data + ide->data_pos, bytes);
    ide->engine_wait = ide->data_pos < ide->held;
    if (ide->engine_wait) ide->status[ide->active] = STATUS_IDLE | STATUS_DATA;
    return !ide->engine_wait;
}

void ide_connect_engine(Ide *ide, const IdeEngine *engine) { ide->engine = *engine; }

void ide_engine_started(Ide *ide) {
    if (!ide->engine_wait || ide->todo) return;
    ide->engine_wait = false;
    ide_do_later(ide, TODO_DMA, IDE_DELAY_NS);
}

// ---- IDENTIFY -----------------------------------------------------------------------------------
void ide_put_word(u8 *id, unsigned word, u32 value) { put_le16(id + 2 * word, (u16)value); }

// ASCII with the first character in the high byte, padded with spaces.
void ide_put_text(u8 *id, unsigned word, unsigned words, const char *text) {
    size_t length = strlen(text);
    for (unsigned i = 0; i < 2 * words; i++)
        id[(2 * word + i) ^ 1] = i < length ? (u8)text[i] : ' ';
}

void ide_put_names(const Ide *ide, unsigned unit, u8 *id, const char *model) {
    char serial[] = "GB00000";
    serial[sizeof(serial) - 2] = (char)('0' + ide->channel * IDE_UNITS + unit);
    ide_put_text(id, 10, 10, serial);
    ide_put_text(id, 23, 4, "1.0");
    ide_put_text(id, 27, 20, model);
}

// The mode that is set: bit 8 + n of the word of its kind.
static u32 ide_mode_bit(const Ide *ide, unsigned unit, u8 kind) {
    u8 mode = ide->mode[unit];
    return (mode & 0xf8) == kind ? 0x100u << (mode & 7) : 0;
}

void ide_put_modes(const Ide *ide, unsigned unit, u8 *id) {
    bool alone = !unit && !ide_has(ide, 1);
    ide_put_word(id, 51, 0x0200);                             // PIO timing
    ide_put_word(id, 53, 0x0007);                             // words 54-58, 64-70, 88 are valid
    ide_put_word(id, 63, 0x0007 | ide_mode_bit(ide, unit, 0x20));    // multiword DMA 0-2
    ide_put_word(id, 64, 0x0003);                             // PIO modes 3 and 4
    for (unsigned word = 65; word <= 68; word++) ide_put_word(id, word, 120);  // cycle times, ns
    ide_put_word(id, 88, 0x003f | ide_mode_bit(ide, unit, 0x40));    // Ultra DMA 0-5
    // Hardware reset result. Bit 13: cable for Ultra DMA; bit 6: the master answers for the slave,
    // which is not there.
    ide_put_word(id, 93, unit ? 0x6b00 : alone ? 0x604b : 0x600b);
}

void ide_offer_identity(Ide *ide, const u8 *id) {
    ide_end_transfer(ide);
    memcpy(ide->data, id, DISK_SECTOR_BYTES);
    u8 sum = ide->data[510] = 0xa5;
    for (unsigned i = 0; i < 510; i++) sum = (u8)(sum + id[i]);
    ide->data[511] = (u8)-sum;
    ide_offer_block(ide, DISK_SECTOR_BYTES);
}

// ---- commands -----------------------------------------------------------------------------------
void ide_run_nothing(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_done(ide);
}

void ide_run_abort(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_abort(ide);
}

void ide_run_idle(Ide *ide, const IdeCommand *c) {
    ide->power[ide->active] = POWER_ACTIVE;
    ide_run_nothing(ide, c);
}

static void ide_power_down(Ide *ide, u8 power) {
    ide->power[ide->active] = power;
    if (ide_disk_flush(ide)) ide_fail(ide, ERROR_ABORT, STATUS_FAULT);
    else ide_done(ide);
}

void ide_run_standby(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_power_down(ide, POWER_STANDBY);
}

void ide_run_sleep(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_power_down(ide, POWER_SLEEP);
}

void ide_run_check_power(Ide *ide, const IdeCommand *c) {
    ide_regs(ide)[REG_COUNT] = ide->power[ide->active] == POWER_ACTIVE ? 0xff : 0;
    ide_run_nothing(ide, c);
}

// Default PIO, PIO with flow control up to mode 4, multiword DMA up to 2, Ultra DMA up to 5.
static bool ide_set_mode(Ide *ide, u8 mode) {
    static const u8 modes[32] = { [0] = 2, [1] = 5, [4] = 3, [8] = 6 };   // [kind]: how many
    u8 kind = mode >> 3, n = mode & 7;
    if (n >= modes[kind]) return false;
    if (kind >= 4) ide->mode[ide->active] = mode;
    return true;
}

void ide_run_set_features(Ide *ide, const IdeCommand *c) {
    bool disk = ide->disk[ide->active] != NULL, good = true;
    switch (ide_regs(ide)[REG_FEATURES]) {
    case 0x02: case 0x82:                      // write cache on, off
        good = disk;
        if (disk) ide->write_cache[ide->active] = ide_regs(ide)[REG_FEATURES] == 0x02;
        if (disk && !ide->write_cache[ide->active]) good = !ide_disk_flush(ide);
        break;
    case 0x03: good = ide_set_mode(ide, ide_regs(ide)[REG_COUNT]); break;
    case 0x55: case 0xaa: good = disk; break;  // read look-ahead off, on
    case 0x66: case 0xcc: break;               // settings survive a software reset (yes), or not
    default: good = false;
    }
    if (good) ide_run_nothing(ide, c);
    else ide_abort(ide);
}

// What reset, diagnostics and wrong commands leave in the registers: by this is a drive known.
void ide_put_signature(Ide *ide, unsigned unit) {
    u8 *r = ide->reg + unit * REG_PAIRS;
    memset(ide->old + unit * REG_PAIRS, 0, REG_PAIRS);
    r[REG_COUNT] = r[REG_LOW] = 1;
    r[REG_MID] = ide->cd[unit] ? 0x14 : 0;
    r[REG_HIGH] = ide->cd[unit] ? 0xeb : 0;
}

static void ide_put_signatures(Ide *ide) {
    ide->device = DEVICE_ONES;
    ide->unit = 0;
    for (unsigned u = 0; u < IDE_UNITS; u++) {
        ide_put_signature(ide, u);
        ide->error[u] = 1;                     // diagnostics passed
        ide->status[u] = ide->disk[u] ? STATUS_IDLE : 0;   // a CD drive is not READY then
    }
    ide_end_transfer(ide);
}

// Both drives execute it; the master (or a slave without one) interrupts.
void ide_run_diagnostic(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_put_signatures(ide);
    ide->pending[1] = false;
    ide_set_pending(ide, 0, true);
}

const IdeCommand *ide_find_in(const IdeCommand *table, u8 opcode) {
    while (opcode < table->first || opcode > table->last) table++;
    return table;
}

static const IdeCommand *ide_find_command(const Ide *ide, unsigned unit, u8 opcode) {
    return ide->cd[unit] ? ide_cd_command(opcode) : ide_disk_command(opcode);
}

static void ide_run_command(Ide *ide) {
    const IdeCommand *c = ide_find_command(ide, ide->active, ide->command);
    if (c->flags & IDE_MEDIUM) ide->power[ide->active] = POWER_ACTIVE;
    c->run(ide, c);
}

static void ide_work(void *self) {
    Ide *ide = self;
    IdeTodo todo = (IdeTodo)ide->todo;
    bool cd = ide->cd[ide->active] != NULL;
    ide->todo = TODO_NONE;
    if (todo != TODO_RESET && !ide_has(ide, ide->active)) return;
    switch (todo) {
    case TODO_COMMAND: ide_run_command(ide); break;
    case TODO_FILL: (cd ? ide_cd_next : ide_disk_next_read)(ide); break;
    case TODO_STORE: (cd ? ide_cd_given : ide_disk_store)(ide); break;
    case TODO_DMA: (cd ? ide_cd_next : ide_disk_dma)(ide); break;
    case TODO_RESET: ide_put_signatures(ide); break;
    case TODO_NONE: break;
    }
}

// Does what is due. Called by register accesses: see invariant 3.
static void ide_catch_up(Ide *ide) {
    if (!ide->todo || !bus_timer_armed(ide->timer)) return;
    if (ide->due_ns > bus_now_ns(ide->bus)) return;
    bus_timer_stop(ide->timer);
    ide_work(ide);
}

static bool ide_is_empty(const Ide *ide) { return !ide_has(ide, 0) && !ide_has(ide, 1); }

static void ide_write_command(Ide *ide, u8 opcode) {
    unsigned u = ide->unit;
    if (!ide_has(ide, u) && opcode == 0x90) u ^= 1;
    if (!ide_has(ide, u)) return;
    if (ide->power[u] == POWER_SLEEP) {
        log_guest_error(bus_log(ide->bus), "ide", "command 0x%02x to a drive asleep", opcode);
        return;
    }
    bus_timer_stop(ide->timer);
    ide_end_transfer(ide);
    ide->status[ide->active] &= (u8)~STATUS_DATA;
    ide->active = (u8)u;
    ide->command = opcode;
    ide->error[u] = 0;
    ide->status[u] = STATUS_IDLE | STATUS_BUSY;
    ide_set_pending(ide, u, false);
    if (ide_find_command(ide, u, opcode)->flags & IDE_AT_ONCE) ide_run_command(ide);
    else ide_do_later(ide, TODO_COMMAND, IDE_DELAY_NS);
}

// ---- ports --------------------------------------------------------------------------------------
static void ide_block_taken(Ide *ide) {
    ide->in_end = 0;
    if (!ide->phase) {                         // not of a packet
        ide_disk_block_taken(ide);
        return;
    }
    ide->status[ide->active] = STATUS_IDLE | STATUS_BUSY;
    ide_do_later(ide, TODO_FILL, IDE_DELAY_NS);
}

static void ide_block_given(Ide *ide) {
    ide->out_end = 0;
    ide->status[ide->active] = STATUS_IDLE | STATUS_BUSY;
    ide_do_later(ide, TODO_STORE, IDE_DELAY_NS);
}

static __attribute__((noinline)) u32 ide_data_in_end(Ide *ide, unsigned size_bytes) {
    u32 value = 0;
    if (!ide->in_end) return 0xffffffff;
    for (unsigned i = 0; i < size_bytes && ide->data_pos < ide->in_end; i++)
        value |= (u32)ide->data[ide->data_pos++] << (8 * i);
    if (ide->data_pos == ide->in_end) ide_block_taken(ide);
    return value;
}

static __attribute__((noinline)) void ide_data_out_end(Ide *ide, unsigned size_bytes, u32 value) {
    if (!ide->out_end) return;
    for (unsigned i = 0; i < size_bytes && ide->data_pos < ide->out_end; i++)
        ide->data[ide->data_pos++] = (u8)(value >> (8 * i));
    if (ide->data_pos == ide->out_end) ide_block_given(ide);
}

// The bus cuts the value to size_bytes.
static u32 ide_data_in(void *self, u16 port, unsigned size_bytes) {
    (void)port;
    Ide *ide = self;
    u32 at = ide->data_pos;
    if (__builtin_expect(at + size_bytes >= ide->in_end, 0))
        return ide_data_in_end(ide, size_bytes);
    ide->data_pos = at + size_bytes;
    return get_le32(ide->data + at);
}

static void ide_data_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)port;
    Ide *ide = self;
    u32 at = ide->data_pos;
    if (__builtin_expect(at + size_bytes >= ide->out_end, 0)) {
        ide_data_out_end(ide, size_bytes, value);
        return;
    }
    ide->data_pos = at + size_bytes;
    if (size_bytes == 2) put_le16(ide->data + at, (u16)value);
    else if (size_bytes == 4) put_le32(ide->data + at, value);
    else ide->data[at] = (u8)value;
}

// A missing drive: zero where the other one answers for it, else the lines float.
static u8 ide_read_status(Ide *ide) {
    if (ide_is_empty(ide)) return 0xff;
    if (ide->control & CONTROL_RESET || ide->todo == TODO_RESET) return STATUS_BUSY;
    return ide_has(ide, ide->unit) ? ide->status[ide->unit] : 0;
}

static u32 ide_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    Ide *ide = self;
    ide_catch_up(ide);
    if (ide_is_empty(ide)) return 0xff;
    unsigned answers = ide_has(ide, ide->unit) ? ide->unit : ide->unit ^ 1;
    const u8 *regs = (ide->control & CONTROL_HOB ? ide->old : ide->reg) + answers * REG_PAIRS;
    u8 status;
    switch (port & 7) {
    case 1: return ide->error[answers];
    case 2: case 3: case 4: case 5: return regs[(port & 7) - 1];
    case 6: return ide->device;
    default:
        status = ide_read_status(ide);
        ide_set_pending(ide, ide->unit, false);
        return status;
    }
}

static u32 ide_alternate_in(void *self, u16 port, unsigned size_bytes) {
    (void)port, (void)size_bytes;
    ide_catch_up(self);
    return ide_read_status(self);
}

// DEVICE RESET is the one command that a busy drive takes: packet drives know it.
static bool ide_is_device_reset(const Ide *ide, unsigned reg, u32 value) {
    return reg == 7 && value == 8 && ide->cd[ide->unit] && ide->todo != TODO_RESET &&
           !(ide->control & CONTROL_RESET);
}

static void ide_out_pair(Ide *ide, unsigned pair, u8 value) {
    for (unsigned at = pair; at < IDE_UNITS * REG_PAIRS; at += REG_PAIRS) {
        ide->old[at] = ide->reg[at];
        ide->reg[at] = value;
    }
}

static void ide_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    Ide *ide = self;
    unsigned reg = port & 7;
    ide_catch_up(ide);
    if (ide_is_empty(ide)) return;
    if (ide_is_device_reset(ide, reg, value)) {
        ide_cd_reset(ide, ide->unit);
        return;
    }
    if (ide->todo || ide->control & CONTROL_RESET) {
        log_guest_error(bus_log(ide->bus), "ide", "register %u written while busy", reg);
        return;
    }
    ide->control &= (u8)~CONTROL_HOB;
    if (reg == 7) {
        ide_write_command(ide, (u8)value);
    } else if (reg == 6) {
        ide->device = (u8)value | DEVICE_ONES;
        ide->unit = value & DEVICE_UNIT ? 1 : 0;
        ide_update_irq(ide);
    } else {
        ide_out_pair(ide, reg - 1, (u8)value);
    }
}

static void ide_control_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)port, (void)size_bytes;
    Ide *ide = self;
    ide_catch_up(ide);
    bool was = ide->control & CONTROL_RESET, is = value & CONTROL_RESET;
    ide->control = (u8)value;
    if (!was && is) {
        bus_timer_stop(ide->timer);
        ide->todo = TODO_NONE;
        ide_end_transfer(ide);
        ide->unit = 0;
        memset(ide->pending, 0, sizeof(ide->pending));
        memset(ide->power, POWER_ACTIVE, sizeof(ide->power));
        for (unsigned u = 0; u < IDE_UNITS; u++)
            if (ide->cd[u]) cd_reset(ide->cd[u]);
    }
    if (was && !is) ide_do_later(ide, TODO_RESET, IDE_RESET_NS);
    ide_update_irq(ide);
}

// ---- life ---------------------------------------------------------------------------------------
static void ide_reset(void *self) {
    Ide *ide = self;
    ide_disk_apply_geometry(ide);
    ide_put_signatures(ide);
    ide_update_irq(ide);
}

// A loaded state may come from a damaged file: what indexes the buffer must be in range.
static void ide_loaded(void *self) {
    Ide *ide = self;
    ide->active &= 1;
    ide->unit &= 1;
    ide->in_end = min_u32(ide->in_end, IDE_BUFFER_BYTES);
    ide->out_end = min_u32(ide->out_end, IDE_BUFFER_BYTES);
    ide->data_pos = min_u32(ide->data_pos, IDE_BUFFER_BYTES);
    ide->held = min_u32(ide->held, IDE_BUFFER_BYTES);
    if (ide->held) ide->held = max_u32(ide->held, ide->data_pos);
    if (ide->limit < 2) ide->phase = 0;
    ide->block = (u8)min_u32(ide->block, ide->in_end ? ide->buffered : IDE_BUFFER_SECTORS);
    u32 room = IDE_BUFFER_BYTES - (ide->in_end ? ide->in_end : ide->data_pos);
    u32 taken = ide->in_end ? ide->block : 0;
    ide->buffered = (u8)min_u32(ide->buffered, room / DISK_SECTOR_BYTES + taken);
    ide->block = (u8)min_u32(ide->block, IDE_BUFFER_SECTORS);
    if (!ide_has(ide, ide->active)) ide_end_transfer(ide);
    for (unsigned u = 0; u < IDE_UNITS; u++) {
        if (!ide->heads[u] || ide->heads[u] > 16) ide->heads[u] = ide->geometry[u].heads;
        if (!ide->sectors[u]) ide->sectors[u] = ide->geometry[u].sectors;
        if (ide->multiple[u] > IDE_BUFFER_SECTORS) ide->multiple[u] = 0;
    }
    wire_set(&ide->irq, ide->intrq);
}

static const DeviceClass ide_class = {
    "ide", ide_fields, ARRAY_LEN(ide_fields), ide_reset, ide_loaded, ide_info,
};

Ide *ide_new(Bus *bus, unsigned channel, Wire irq) {
    require(channel < 2);
    static const char *const names[2] = { "ide0", "ide1" };
    Ide *ide = mem_new(sizeof(*ide));
    *ide = (Ide){ .bus = bus, .channel = channel, .irq = irq, .device = DEVICE_ONES,
                  .write_cache = { true, true }, .mode = { 0x45, 0x45 } };
    ide->timer = bus_timer_new(bus, names[channel], ide_work, ide);
    device_add(bus, &ide_class, names[channel], ide);
    u16 base = channel ? 0x170 : 0x1f0;
    BusPort data = { names[channel], ide, 1 | 2 | 4, ide_data_in, ide_data_out };
    BusPort registers = { names[channel], ide, 1, ide_in, ide_out };
    BusPort control = { names[channel], ide, 1, ide_alternate_in, ide_control_out };
    bus_map_ports(bus, base, 1, &data);
    bus_map_ports(bus, base + 1, 7, &registers);
    bus_map_ports(bus, base + 0x206, 1, &control);
    return ide;
}

void ide_free(Ide *ide) { free(ide); }

void ide_attach_cd(Ide *ide, unsigned unit, Cd *cd) {
    require(unit < IDE_UNITS);
    ide->disk[unit] = NULL;
    ide->geometry[unit] = (IdeGeometry){ 0 };
    ide->cd[unit] = cd;
    ide_reset(ide);
}

Cd *ide_cd(const Ide *ide, unsigned unit) { return unit < IDE_UNITS ? ide->cd[unit] : NULL; }
Disk *ide_disk(const Ide *ide, unsigned unit) { return unit < IDE_UNITS ? ide->disk[unit] : NULL; }
