// SPDX-License-Identifier: MIT
// One ATA channel: the task file that its two drives share, and the drives (ATA-6, PIO).
//
// Invariants
//  1. `unit` (the drive that the device register selects) gets each command; `active` executes
//     one while its status says BSY or DRQ. `todo` is what `timer` will do to it; none: it waits
//     for the data port or for a command.
//  2. The data port moves bytes between `data_pos` and `in_end` or `out_end` of the buffer; both
//     ends are 0 when there is nothing to move: the port's fast path needs a single comparison.
//  3. Between two DRQ blocks the drive is BSY for IDE_DELAY_NS, so that a handler that takes a
//     block and then arms itself for the next does not miss the interrupt. Reading a register when
//     the time is up does the work at once: who polls never waits for the run loop.
//  4. A block of a write is acknowledged after disk_write took it.
//
// A bus master for the DMA commands would be a transport beside the data port: ide_fill() and
// ide_store() know nothing of how the bytes travel.
#include "dev/ide.h"

#include "bus/device.h"
#include <stdlib.h>
#include <string.h>

#define IDE_UNITS 2u
#define IDE_BUFFER_SECTORS 16u     // also the largest block of READ and WRITE MULTIPLE
#define IDE_BUFFER_BYTES (IDE_BUFFER_SECTORS * DISK_SECTOR_BYTES)
#define IDE_DELAY_NS 3000u
#define IDE_RESET_NS 20000u
#define LBA28_MAX 0x0fffffffu

enum { STATUS_ERROR = 1, STATUS_DATA = 8, STATUS_SEEK_DONE = 0x10, STATUS_FAULT = 0x20,
       STATUS_READY = 0x40, STATUS_BUSY = 0x80, STATUS_IDLE = STATUS_READY | STATUS_SEEK_DONE };
enum { ERROR_ABORT = 4, ERROR_NOT_FOUND = 0x10, ERROR_UNREADABLE = 0x40 };
enum { CONTROL_NO_IRQ = 2, CONTROL_RESET = 4, CONTROL_HOB = 0x80 };
enum { DEVICE_UNIT = 0x10, DEVICE_LBA = 0x40, DEVICE_ONES = 0xa0 };
enum { POWER_ACTIVE = 0, POWER_STANDBY = 1, POWER_SLEEP = 2 };

typedef enum IdeTodo { TODO_NONE, TODO_COMMAND, TODO_FILL, TODO_STORE, TODO_RESET } IdeTodo;

// The registers that are two deep, for the 48-bit commands.
enum { REG_FEATURES, REG_COUNT, REG_LOW, REG_MID, REG_HIGH, REG_PAIRS };

struct Ide {
    Bus *bus;
    Wire irq;
    unsigned channel;
    Disk *disk[IDE_UNITS];                     // NULL: no drive
    IdeGeometry geometry[IDE_UNITS];           // default translation

    Timer *timer;
    u64 due_ns;                                // when todo is to be done
    u8 todo, active, unit;                     // IdeTodo; drives
    u8 reg[REG_PAIRS], old[REG_PAIRS];         // as last written or reported; the write before that
    u8 device, control, command;
    u8 status[IDE_UNITS], error[IDE_UNITS];
    bool pending[IDE_UNITS];                   // interrupt, before nIEN and selection
    u8 heads[IDE_UNITS], sectors[IDE_UNITS];   // current translation
    u8 multiple[IDE_UNITS];                    // sectors per block; 0: the commands are disabled
    bool write_cache[IDE_UNITS];
    u8 power[IDE_UNITS];

    // The transfer of `active`.
    u64 lba;                                   // next sector to transfer on the port
    u32 left;                                  // sectors of the command not yet transferred
    u8 buffered, block;                        // sectors from this block on in the buffer; in it
    u32 data_pos, in_end, out_end;
    u8 data[IDE_BUFFER_BYTES + 4];             // 4: the fast path reads dwords, even at the end
    u8 scratch[IDE_UNITS * DISK_SECTOR_BYTES]; // READ BUFFER, WRITE BUFFER
};

#define ROW(m, k, r) FIELD(Ide, m, FIELD_##k, r)
#define ROWS(m, k, r) FIELD_ARRAY(Ide, m, FIELD_##k, r)
static const Field ide_fields[] = {
    ROW(timer, TIMER, 0),      ROW(due_ns, UINT, 0),       ROW(todo, UINT, TODO_NONE),
    ROW(active, UINT, 0),
    ROW(unit, UINT, 0),        ROWS(reg, UINT, 0),         ROWS(old, UINT, 0),
    ROW(device, UINT, DEVICE_ONES), ROW(control, UINT, 0), ROW(command, UINT, 0),
    ROWS(status, UINT, 0),     ROWS(error, UINT, 1),       ROWS(pending, BOOL, 0),
    ROWS(heads, UINT, 0),      ROWS(sectors, UINT, 0),     ROWS(multiple, UINT, 0),
    ROWS(write_cache, BOOL, 1), ROWS(power, UINT, 0),      ROW(lba, UINT, 0),
    ROW(left, UINT, 0),        ROW(buffered, UINT, 0),     ROW(block, UINT, 0),
    ROW(data_pos, UINT, 0),    ROW(in_end, UINT, 0),       ROW(out_end, UINT, 0),
    ROWS(data, BYTES, 0),      ROWS(scratch, BYTES, 0),
};
#undef ROW
#undef ROWS

typedef struct IdeCommand IdeCommand;
struct IdeCommand {
    u8 first, last;                            // opcodes
    u8 flags;                                  // IDE_*
    void (*run)(Ide *ide, const IdeCommand *c);
};
enum { IDE_EXT = 1,                            // 48-bit address
       IDE_MULTIPLE = 2,                       // blocks of SET MULTIPLE's size
       IDE_AT_ONCE = 4 };                      // runs when it is written: data go to the drive

static const IdeCommand *ide_find_command(u8 opcode);

static Disk *ide_active_disk(const Ide *ide) { return ide->disk[ide->active]; }

// ---- status and interrupt -----------------------------------------------------------------------
static void ide_update_irq(Ide *ide) {
    wire_set(&ide->irq, ide->pending[ide->unit] && !(ide->control & CONTROL_NO_IRQ));
}

static void ide_set_pending(Ide *ide, unsigned unit, bool pending) {
    ide->pending[unit] = pending;
    ide_update_irq(ide);
}

static void ide_do_later(Ide *ide, IdeTodo todo, u64 delay_ns) {
    ide->todo = (u8)todo;
    ide->due_ns = bus_now_ns(ide->bus) + delay_ns;
    bus_timer_at(ide->timer, ide->due_ns);
}

static void ide_end_transfer(Ide *ide) {
    ide->left = ide->data_pos = ide->in_end = ide->out_end = 0;
    ide->buffered = ide->block = 0;
}

static void ide_done(Ide *ide) {
    ide_end_transfer(ide);
    ide->status[ide->active] = STATUS_IDLE;
    ide_set_pending(ide, ide->active, true);
}

static void ide_fail(Ide *ide, u8 error, u8 status) {
    ide_end_transfer(ide);
    ide->error[ide->active] = error;
    ide->status[ide->active] = STATUS_IDLE | STATUS_ERROR | status;
    ide_set_pending(ide, ide->active, true);
}

static void ide_abort(Ide *ide) { ide_fail(ide, ERROR_ABORT, 0); }

// ---- addresses ----------------------------------------------------------------------------------
static bool ide_is_ext(const Ide *ide) { return ide_find_command(ide->command)->flags & IDE_EXT; }

static u64 ide_address48(const Ide *ide) {
    const u8 *r = ide->reg, *o = ide->old;
    return (u64)r[REG_LOW] | (u64)r[REG_MID] << 8 | (u64)r[REG_HIGH] << 16 |
           (u64)o[REG_LOW] << 24 | (u64)o[REG_MID] << 32 | (u64)o[REG_HIGH] << 40;
}

// The sector that the registers name; UINT64_MAX: there is none such in the current translation.
static u64 ide_address(const Ide *ide, bool ext) {
    const u8 *r = ide->reg;
    unsigned u = ide->active, low4 = ide->device & 15;
    if (ext) return ide_address48(ide);
    u32 cylinder = r[REG_MID] | (u32)r[REG_HIGH] << 8;
    if (ide->device & DEVICE_LBA) return r[REG_LOW] | cylinder << 8 | low4 << 24;
    if (low4 >= ide->heads[u] || !r[REG_LOW] || r[REG_LOW] > ide->sectors[u]) return UINT64_MAX;
    return ((u64)cylinder * ide->heads[u] + low4) * ide->sectors[u] + r[REG_LOW] - 1;
}

static void ide_report_address(Ide *ide, u64 lba) {
    u8 *r = ide->reg, *o = ide->old;
    unsigned u = ide->active;
    u32 low24 = (u32)lba & 0xffffff, low4 = (u32)(lba >> 24) & 15;
    bool ext = ide_is_ext(ide);
    if (!ext && !(ide->device & DEVICE_LBA)) {
        u32 per_cylinder = (u32)ide->heads[u] * ide->sectors[u];
        low4 = (u32)(lba / ide->sectors[u] % ide->heads[u]);
        low24 = (u32)(lba % ide->sectors[u] + 1) | ((u32)(lba / per_cylinder) & 0xffff) << 8;
    }
    r[REG_LOW] = (u8)low24;
    r[REG_MID] = (u8)(low24 >> 8);
    r[REG_HIGH] = (u8)(low24 >> 16);
    if (!ext) ide->device = (u8)((ide->device & 0xf0) | low4);
    else for (unsigned i = 0; i < 3; i++) o[REG_LOW + i] = (u8)(lba >> (24 + 8 * i));
}

static void ide_report_count(Ide *ide, u32 sectors) {
    ide->reg[REG_COUNT] = (u8)sectors;
    if (ide_is_ext(ide)) ide->old[REG_COUNT] = (u8)(sectors >> 8);
}

// The registers name the sector that failed and how many (with it) were not transferred.
static void ide_fail_at(Ide *ide, u64 lba, u32 left, u8 error, u8 status) {
    if (lba != UINT64_MAX) ide_report_address(ide, lba);
    ide_report_count(ide, left);
    ide_fail(ide, error, status);
}

// Takes address and count from the registers. False: the command has failed.
static bool ide_begin_transfer(Ide *ide, const IdeCommand *c) {
    bool ext = c->flags & IDE_EXT;
    u32 count = ide->reg[REG_COUNT];
    if (ext) count |= (u32)ide->old[REG_COUNT] << 8;
    ide->left = count ? count : ext ? 65536 : 256;
    ide->lba = ide_address(ide, ext);
    ide->buffered = ide->block = 0;
    if ((c->flags & IDE_MULTIPLE) && !ide->multiple[ide->active]) {
        ide_abort(ide);
        return false;
    }
    if (ide->lba < disk_sectors(ide_active_disk(ide))) return true;
    ide_fail_at(ide, UINT64_MAX, ide->left, ERROR_NOT_FOUND, 0);
    return false;
}

static u32 ide_block_sectors(const Ide *ide) {
    bool multiple = ide_find_command(ide->command)->flags & IDE_MULTIPLE;
    return min_u32(ide->left, multiple ? ide->multiple[ide->active] : 1);
}

// Sectors from ide->lba to the end of the disk, at most `wanted`.
static u32 ide_sectors_there(const Ide *ide, u32 wanted) {
    u64 sectors = disk_sectors(ide_active_disk(ide));
    return ide->lba < sectors ? (u32)min_u64(wanted, sectors - ide->lba) : 0;
}

// ---- PIO in -------------------------------------------------------------------------------------
// Reads ahead within the command. A bad sector ends the part that is good; 0: the first is bad.
static u32 ide_fill(Ide *ide) {
    Disk *disk = ide_active_disk(ide);
    u32 wanted = ide_sectors_there(ide, min_u32(ide->left, IDE_BUFFER_SECTORS)), good = 0;
    if (!wanted || !disk_read(disk, ide->lba, wanted, ide->data)) return wanted;
    while (good < wanted &&
           !disk_read(disk, ide->lba + good, 1, ide->data + good * DISK_SECTOR_BYTES))
        good++;
    return good;
}

static void ide_offer_block(Ide *ide, u32 bytes) {
    ide->in_end = ide->data_pos + bytes;
    ide->status[ide->active] = STATUS_IDLE | STATUS_DATA;
    ide_set_pending(ide, ide->active, true);
}

static void ide_next_read(Ide *ide) {
    if (!ide->buffered) {
        ide->data_pos = 0;
        ide->buffered = (u8)ide_fill(ide);
    }
    if (!ide->buffered) {
        bool beyond = !ide_sectors_there(ide, 1);
        ide_fail_at(ide, ide->lba, ide->left, beyond ? ERROR_NOT_FOUND : ERROR_UNREADABLE, 0);
        return;
    }
    ide->block = (u8)min_u32(ide_block_sectors(ide), ide->buffered);
    ide_offer_block(ide, ide->block * DISK_SECTOR_BYTES);
}

// The block has been read from the port. A single buffer (IDENTIFY) has no sectors: left is 0.
static void ide_block_taken(Ide *ide) {
    ide->in_end = 0;
    ide->lba += ide->block;
    ide->left -= ide->block;
    ide->buffered = (u8)(ide->buffered - ide->block);
    if (ide->left) {
        ide->status[ide->active] = STATUS_IDLE | STATUS_BUSY;
        ide_do_later(ide, TODO_FILL, IDE_DELAY_NS);
        return;
    }
    if (ide->block) {
        ide_report_address(ide, ide->lba - 1);
        ide_report_count(ide, 0);
    }
    ide->status[ide->active] = STATUS_IDLE;
    ide_end_transfer(ide);
}

static void ide_offer_sector(Ide *ide, const u8 *sector) {
    ide_end_transfer(ide);
    memcpy(ide->data, sector, DISK_SECTOR_BYTES);
    ide_offer_block(ide, DISK_SECTOR_BYTES);
}

// ---- PIO out ------------------------------------------------------------------------------------
static void ide_want_block(Ide *ide, u32 bytes) {
    ide->data_pos = 0;
    ide->out_end = bytes;
    ide->status[ide->active] = STATUS_IDLE | STATUS_DATA;
}

// False: the next block would begin beyond the end of the disk, and the command has failed.
static bool ide_next_write(Ide *ide) {
    ide->block = (u8)ide_sectors_there(ide, ide_block_sectors(ide));
    if (ide->block) ide_want_block(ide, ide->block * DISK_SECTOR_BYTES);
    else ide_fail_at(ide, ide->lba, ide->left, ERROR_NOT_FOUND, 0);
    return ide->block != 0;
}

static void ide_block_given(Ide *ide) {
    ide->out_end = 0;
    ide->status[ide->active] = STATUS_IDLE | STATUS_BUSY;
    ide_do_later(ide, TODO_STORE, IDE_DELAY_NS);
}

static void ide_store(Ide *ide) {
    Disk *disk = ide_active_disk(ide);
    if (!ide->block) {                         // WRITE BUFFER
        memcpy(ide->scratch + ide->active * DISK_SECTOR_BYTES, ide->data, DISK_SECTOR_BYTES);
        ide_done(ide);
        return;
    }
    int error = disk_write(disk, ide->lba, ide->block, ide->data);
    if (!error && ide->left == ide->block && !ide->write_cache[ide->active])
        error = disk_flush(disk);
    if (error) {
        ide_fail_at(ide, ide->lba, ide->left, ERROR_ABORT, STATUS_FAULT);
        return;
    }
    ide->lba += ide->block;
    ide->left -= ide->block;
    if (ide->left) {
        if (ide_next_write(ide)) ide_set_pending(ide, ide->active, true);
        return;
    }
    ide_report_address(ide, ide->lba - 1);
    ide_report_count(ide, 0);
    ide_done(ide);
}

// ---- IDENTIFY DEVICE ----------------------------------------------------------------------------
static void ide_put_word(u8 *id, unsigned word, u32 value) { put_le16(id + 2 * word, (u16)value); }

// ASCII with the first character in the high byte, padded with spaces.
static void ide_put_text(u8 *id, unsigned word, unsigned words, const char *text) {
    size_t length = strlen(text);
    for (unsigned i = 0; i < 2 * words; i++)
        id[(2 * word + i) ^ 1] = i < length ? (u8)text[i] : ' ';
}

static u32 ide_cylinders(u64 sectors, u32 per_cylinder, u32 most) {
    return (u32)min_u64(sectors / per_cylinder, most);
}

static void ide_identify_geometry(const Ide *ide, unsigned u, u8 *id) {
    const IdeGeometry *g = &ide->geometry[u];
    u64 sectors = disk_sectors(ide->disk[u]);
    u32 per_cylinder = (u32)ide->heads[u] * ide->sectors[u];
    u32 cylinders = ide_cylinders(sectors, per_cylinder, 65535);
    if (ide->heads[u] == g->heads && ide->sectors[u] == g->sectors) cylinders = g->cylinders;
    u32 capacity = (u32)min_u64((u64)cylinders * per_cylinder, LBA28_MAX);
    ide_put_word(id, 1, g->cylinders);
    ide_put_word(id, 3, g->heads);
    ide_put_word(id, 4, (u32)g->sectors * DISK_SECTOR_BYTES);
    ide_put_word(id, 5, DISK_SECTOR_BYTES);
    ide_put_word(id, 6, g->sectors);
    ide_put_word(id, 54, cylinders);
    ide_put_word(id, 55, ide->heads[u]);
    ide_put_word(id, 56, ide->sectors[u]);
    put_le32(id + 2 * 57, capacity);
    put_le32(id + 2 * 60, (u32)min_u64(sectors, LBA28_MAX));
    put_le64(id + 2 * 100, sectors);
}

static void ide_identify_features(const Ide *ide, unsigned u, u8 *id) {
    bool alone = !u && !ide->disk[1];
    ide_put_word(id, 47, 0x8000 | IDE_BUFFER_SECTORS);
    ide_put_word(id, 48, 1);                                  // data port takes dwords
    ide_put_word(id, 49, 0x0a00);                             // LBA, IORDY
    ide_put_word(id, 50, 0x4000);
    ide_put_word(id, 51, 0x0200);                             // PIO timing
    ide_put_word(id, 53, 0x0003);                             // words 54-58 and 64-70 are valid
    ide_put_word(id, 59, ide->multiple[u] ? 0x100u | ide->multiple[u] : 0);
    ide_put_word(id, 64, 0x0003);                             // PIO modes 3 and 4
    ide_put_word(id, 67, 120);
    ide_put_word(id, 68, 120);
    ide_put_word(id, 80, 0x007e);                             // ATA-1 to ATA-6
    ide_put_word(id, 81, 0x0019);
    ide_put_word(id, 82, 0x7028);              // NOP, READ/WRITE BUFFER, write cache, power
    ide_put_word(id, 83, 0x7400);              // FLUSH CACHE (EXT), 48-bit addresses
    ide_put_word(id, 84, 0x4000);
    ide_put_word(id, 85, 0x7008u | (ide->write_cache[u] ? 0x20 : 0));
    ide_put_word(id, 86, 0x3400);
    ide_put_word(id, 87, 0x4000);
    // Hardware reset result. Bit 6: the master answers for the slave, which is not there.
    ide_put_word(id, 93, u ? 0x6b00 : alone ? 0x604b : 0x600b);
}

static void ide_make_identity(const Ide *ide, unsigned u, u8 *id) {
    char serial[] = "GB00000";
    serial[sizeof(serial) - 2] = (char)('0' + ide->channel * IDE_UNITS + u);
    memset(id, 0, DISK_SECTOR_BYTES);
    ide_put_word(id, 0, 0x0040);                              // fixed disk
    ide_put_text(id, 10, 10, serial);
    ide_put_word(id, 20, 3);                                  // buffer: dual ported, with cache
    ide_put_word(id, 21, IDE_BUFFER_SECTORS);
    ide_put_word(id, 22, 4);
    ide_put_text(id, 23, 4, "1.0");
    ide_put_text(id, 27, 20, "GLASSBOX HARDDISK");
    ide_identify_geometry(ide, u, id);
    ide_identify_features(ide, u, id);
    u8 sum = id[510] = 0xa5;
    for (unsigned i = 0; i < 510; i++) sum = (u8)(sum + id[i]);
    id[511] = (u8)-sum;
}

// ---- commands -----------------------------------------------------------------------------------
static void ide_run_read(Ide *ide, const IdeCommand *c) {
    if (ide_begin_transfer(ide, c)) ide_next_read(ide);
}

// Failures before the first block are announced by an interrupt, the first block is not.
static void ide_run_write(Ide *ide, const IdeCommand *c) {
    if (disk_is_readonly(ide_active_disk(ide))) ide_abort(ide);
    else if (ide_begin_transfer(ide, c)) ide_next_write(ide);
}

static void ide_run_verify(Ide *ide, const IdeCommand *c) {
    if (!ide_begin_transfer(ide, c)) return;
    while (ide->left) {
        u32 good = ide_fill(ide);
        if (!good) {
            bool beyond = !ide_sectors_there(ide, 1);
            ide_fail_at(ide, ide->lba, ide->left, beyond ? ERROR_NOT_FOUND : ERROR_UNREADABLE, 0);
            return;
        }
        ide->lba += good;
        ide->left -= good;
    }
    ide_report_address(ide, ide->lba - 1);
    ide_report_count(ide, 0);
    ide_done(ide);
}

static void ide_run_seek(Ide *ide, const IdeCommand *c) {
    bool there = ide_address(ide, c->flags & IDE_EXT) < disk_sectors(ide_active_disk(ide));
    if (there) ide_done(ide);
    else ide_fail(ide, ERROR_NOT_FOUND, 0);
}

static void ide_run_nothing(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_done(ide);
}

static void ide_run_abort(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_abort(ide);
}

static void ide_run_identify(Ide *ide, const IdeCommand *c) {
    (void)c;
    u8 id[DISK_SECTOR_BYTES];
    ide_make_identity(ide, ide->active, id);
    ide_offer_sector(ide, id);
}

static void ide_run_read_buffer(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_offer_sector(ide, ide->scratch + ide->active * DISK_SECTOR_BYTES);
}

static void ide_run_write_buffer(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_end_transfer(ide);
    ide_want_block(ide, DISK_SECTOR_BYTES);
}

static void ide_run_flush(Ide *ide, const IdeCommand *c) {
    (void)c;
    if (disk_flush(ide_active_disk(ide))) ide_fail(ide, ERROR_ABORT, STATUS_FAULT);
    else ide_done(ide);
}

static void ide_run_idle(Ide *ide, const IdeCommand *c) {
    ide->power[ide->active] = POWER_ACTIVE;
    ide_run_nothing(ide, c);
}

static void ide_run_standby(Ide *ide, const IdeCommand *c) {
    ide->power[ide->active] = POWER_STANDBY;
    ide_run_flush(ide, c);
}

static void ide_run_sleep(Ide *ide, const IdeCommand *c) {
    ide->power[ide->active] = POWER_SLEEP;
    ide_run_flush(ide, c);
}

static void ide_run_check_power(Ide *ide, const IdeCommand *c) {
    ide->reg[REG_COUNT] = ide->power[ide->active] == POWER_ACTIVE ? 0xff : 0;
    ide_run_nothing(ide, c);
}

static void ide_run_parameters(Ide *ide, const IdeCommand *c) {
    if (!ide->reg[REG_COUNT]) {
        ide_run_abort(ide, c);
        return;
    }
    ide->heads[ide->active] = (ide->device & 15) + 1;
    ide->sectors[ide->active] = ide->reg[REG_COUNT];
    ide_run_nothing(ide, c);
}

static void ide_run_set_multiple(Ide *ide, const IdeCommand *c) {
    unsigned n = ide->reg[REG_COUNT];
    if (n > IDE_BUFFER_SECTORS || (n & (n - 1))) {
        ide_run_abort(ide, c);
        return;
    }
    ide->multiple[ide->active] = (u8)n;
    ide_run_nothing(ide, c);
}

// Transfer modes: default PIO and PIO with flow control up to mode 4.
static bool ide_has_transfer_mode(u8 mode) { return mode <= 1 || (mode >= 8 && mode <= 12); }

static void ide_run_set_features(Ide *ide, const IdeCommand *c) {
    switch (ide->reg[REG_FEATURES]) {
    case 0x02: ide->write_cache[ide->active] = true; break;
    case 0x82:
        ide->write_cache[ide->active] = false;
        ide_run_flush(ide, c);
        return;
    case 0x03:
        if (ide_has_transfer_mode(ide->reg[REG_COUNT])) break;
        ide_run_abort(ide, c);
        return;
    case 0x55: case 0xaa:                      // read look-ahead off, on
    case 0x66: case 0xcc:                      // settings survive a software reset (yes), or not
        break;
    default:
        ide_run_abort(ide, c);
        return;
    }
    ide_run_nothing(ide, c);
}

static void ide_put_signature(Ide *ide) {
    memset(ide->old, 0, sizeof(ide->old));
    ide->reg[REG_COUNT] = ide->reg[REG_LOW] = 1;
    ide->reg[REG_MID] = ide->reg[REG_HIGH] = 0;
    ide->device = DEVICE_ONES;
    ide->unit = 0;
    for (unsigned u = 0; u < IDE_UNITS; u++) {
        ide->error[u] = 1;                     // diagnostics passed
        ide->status[u] = ide->disk[u] ? STATUS_IDLE : 0;
    }
    ide_end_transfer(ide);
}

// Both drives execute it; the master (or a slave without one) interrupts.
static void ide_run_diagnostic(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_put_signature(ide);
    ide->pending[1] = false;
    ide_set_pending(ide, 0, true);
}

static const IdeCommand ide_commands[] = {
    { 0x10, 0x1f, 0, ide_run_nothing },                       // RECALIBRATE
    { 0x20, 0x21, 0, ide_run_read },
    { 0x24, 0x24, IDE_EXT, ide_run_read },
    { 0x29, 0x29, IDE_EXT | IDE_MULTIPLE, ide_run_read },
    { 0x30, 0x31, IDE_AT_ONCE, ide_run_write },
    { 0x34, 0x34, IDE_AT_ONCE | IDE_EXT, ide_run_write },
    { 0x39, 0x39, IDE_AT_ONCE | IDE_EXT | IDE_MULTIPLE, ide_run_write },
    { 0x3c, 0x3c, IDE_AT_ONCE, ide_run_write },               // WRITE VERIFY
    { 0x40, 0x41, 0, ide_run_verify },
    { 0x42, 0x42, IDE_EXT, ide_run_verify },
    { 0x70, 0x7f, 0, ide_run_seek },
    { 0x90, 0x90, 0, ide_run_diagnostic },
    { 0x91, 0x91, 0, ide_run_parameters },
    { 0x94, 0x94, 0, ide_run_standby },
    { 0x95, 0x95, 0, ide_run_idle },
    { 0x96, 0x96, 0, ide_run_standby },
    { 0x97, 0x97, 0, ide_run_idle },
    { 0x98, 0x98, 0, ide_run_check_power },
    { 0x99, 0x99, 0, ide_run_sleep },
    { 0xc4, 0xc4, IDE_MULTIPLE, ide_run_read },
    { 0xc5, 0xc5, IDE_AT_ONCE | IDE_MULTIPLE, ide_run_write },
    { 0xc6, 0xc6, 0, ide_run_set_multiple },
    { 0xe0, 0xe0, 0, ide_run_standby },
    { 0xe1, 0xe1, 0, ide_run_idle },
    { 0xe2, 0xe2, 0, ide_run_standby },
    { 0xe3, 0xe3, 0, ide_run_idle },
    { 0xe4, 0xe4, 0, ide_run_read_buffer },
    { 0xe5, 0xe5, 0, ide_run_check_power },
    { 0xe6, 0xe6, 0, ide_run_sleep },
    { 0xe7, 0xe7, 0, ide_run_flush },
    { 0xe8, 0xe8, IDE_AT_ONCE, ide_run_write_buffer },
    { 0xea, 0xea, IDE_EXT, ide_run_flush },
    { 0xec, 0xec, 0, ide_run_identify },
    { 0xef, 0xef, 0, ide_run_set_features },
    { 0x00, 0xff, 0, ide_run_abort },                         // NOP, packets, DMA, all others
};

static const IdeCommand *ide_find_command(u8 opcode) {
    const IdeCommand *c = ide_commands;
    while (opcode < c->first || opcode > c->last) c++;
    return c;
}

static void ide_run_command(Ide *ide) {
    const IdeCommand *c = ide_find_command(ide->command);
    if (c->run == ide_run_read || c->run == ide_run_write || c->run == ide_run_verify)
        ide->power[ide->active] = POWER_ACTIVE;
    c->run(ide, c);
}

static void ide_work(void *self) {
    Ide *ide = self;
    IdeTodo todo = (IdeTodo)ide->todo;
    ide->todo = TODO_NONE;
    if (todo != TODO_RESET && todo != TODO_NONE && !ide_active_disk(ide)) return;
    switch (todo) {
    case TODO_COMMAND: ide_run_command(ide); break;
    case TODO_FILL: ide_next_read(ide); break;
    case TODO_STORE: ide_store(ide); break;
    case TODO_RESET: ide_put_signature(ide); break;
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

static bool ide_is_empty(const Ide *ide) { return !ide->disk[0] && !ide->disk[1]; }

static void ide_write_command(Ide *ide, u8 opcode) {
    unsigned u = ide->unit;
    if (!ide->disk[u] && opcode == 0x90) u ^= 1;
    if (!ide->disk[u]) return;
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
    if (ide_find_command(opcode)->flags & IDE_AT_ONCE) ide_run_command(ide);
    else ide_do_later(ide, TODO_COMMAND, IDE_DELAY_NS);
}

// ---- ports --------------------------------------------------------------------------------------
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
    return ide->disk[ide->unit] ? ide->status[ide->unit] : 0;
}

static u32 ide_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    Ide *ide = self;
    ide_catch_up(ide);
    if (ide_is_empty(ide)) return 0xff;
    const u8 *regs = ide->control & CONTROL_HOB ? ide->old : ide->reg;
    u8 status;
    switch (port & 7) {
    case 1: return ide->error[ide->disk[ide->unit] ? ide->unit : ide->unit ^ 1];
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

static void ide_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    Ide *ide = self;
    unsigned reg = port & 7;
    ide_catch_up(ide);
    if (ide_is_empty(ide)) return;
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
        ide->old[reg - 1] = ide->reg[reg - 1];
        ide->reg[reg - 1] = (u8)value;
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
    }
    if (was && !is) ide_do_later(ide, TODO_RESET, IDE_RESET_NS);
    ide_update_irq(ide);
}

// ---- geometry -----------------------------------------------------------------------------------
// Does the partition entry end where its CHS says, in the geometry that its CHS implies?
static bool ide_partition_fits(const u8 *entry, u64 disk_end, IdeGeometry *g) {
    u32 head = entry[5], sector = entry[6] & 63, cylinder = entry[7] | (entry[6] & 0xc0u) << 2;
    u64 end = (u64)get_le32(entry + 8) + get_le32(entry + 12);
    bool plausible = (entry[0] & 0x7f) == 0 && entry[4] && get_le32(entry + 12) && sector && head;
    if (!plausible || end > disk_end || head > 15) return false;
    u64 chs_end = ((u64)cylinder * (head + 1) + head) * sector + sector;
    if (chs_end != end && !(cylinder == 1023 && end > chs_end)) return false;
    g->heads = (u8)(head + 1);
    g->sectors = (u8)sector;
    return true;
}

// Partitions end at a cylinder's last head and sector: so do BIOSes find out what made the table.
static IdeGeometry ide_guess_geometry(Disk *disk) {
    IdeGeometry g = { .heads = 16, .sectors = 63 };
    u8 mbr[DISK_SECTOR_BYTES];
    u64 sectors = disk_sectors(disk);
    bool table = !disk_read(disk, 0, 1, mbr) && get_le16(mbr + 510) == 0xaa55;
    for (unsigned i = 0; table && i < 4; i++)
        if (ide_partition_fits(mbr + 446 + 16 * i, sectors, &g)) break;
    // BIOSes subtract one for the last cylinder: a tiny disk has two
    g.cylinders = ide_cylinders(sectors, (u32)g.heads * g.sectors, 16383);
    g.cylinders = max_u32(g.cylinders, 2);
    return g;
}

static void ide_apply_geometry(Ide *ide) {
    for (unsigned u = 0; u < IDE_UNITS; u++) {
        ide->heads[u] = ide->geometry[u].heads;
        ide->sectors[u] = ide->geometry[u].sectors;
    }
}

void ide_set_geometry(Ide *ide, unsigned unit, IdeGeometry g) {
    require(unit < IDE_UNITS && g.heads && g.heads <= 16 && g.sectors && g.cylinders &&
            g.cylinders <= 65535);
    ide->geometry[unit] = g;
    ide_apply_geometry(ide);
}

IdeGeometry ide_geometry(const Ide *ide, unsigned unit) { return ide->geometry[unit & 1]; }


// ---- life ---------------------------------------------------------------------------------------
static void ide_reset(void *self) {
    Ide *ide = self;
    ide_apply_geometry(ide);
    ide_put_signature(ide);
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
    ide->block = (u8)min_u32(ide->block, ide->in_end ? ide->buffered : IDE_BUFFER_SECTORS);
    u32 room = IDE_BUFFER_BYTES - (ide->in_end ? ide->in_end : ide->data_pos);
    u32 taken = ide->in_end ? ide->block : 0;
    ide->buffered = (u8)min_u32(ide->buffered, room / DISK_SECTOR_BYTES + taken);
    ide->block = (u8)min_u32(ide->block, IDE_BUFFER_SECTORS);
    if (!ide_active_disk(ide)) ide_end_transfer(ide);
    for (unsigned u = 0; u < IDE_UNITS; u++) {
        if (!ide->heads[u] || ide->heads[u] > 16) ide->heads[u] = ide->geometry[u].heads;
        if (!ide->sectors[u]) ide->sectors[u] = ide->geometry[u].sectors;
        if (ide->multiple[u] > IDE_BUFFER_SECTORS) ide->multiple[u] = 0;
    }
    ide_update_irq(ide);
}

static void ide_info(void *self, FILE *out) {
    const Ide *ide = self;
    for (unsigned u = 0; u < IDE_UNITS; u++) {
        const IdeGeometry *g = &ide->geometry[u];
        fprintf(out, "ide%u-hd%u: ", ide->channel, u);
        if (ide->disk[u])
            fprintf(out, "%s, %llu sectors, %u/%u/%u%s\n", disk_name(ide->disk[u]),
                    (unsigned long long)disk_sectors(ide->disk[u]), g->cylinders, g->heads,
                    g->sectors, disk_is_readonly(ide->disk[u]) ? " (write-protected)" : "");
        else
            fprintf(out, "no drive\n");
    }
}

static const DeviceClass ide_class = {
    "ide", ide_fields, ARRAY_LEN(ide_fields), ide_reset, ide_loaded, ide_info,
};

Ide *ide_new(Bus *bus, unsigned channel, Wire irq) {
    require(channel < 2);
    static const char *const names[2] = { "ide0", "ide1" };
    Ide *ide = mem_new(sizeof(*ide));
    *ide = (Ide){ .bus = bus, .channel = channel, .irq = irq, .device = DEVICE_ONES,
                  .write_cache = { true, true } };
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

void ide_attach(Ide *ide, unsigned unit, Disk *disk) {
    require(unit < IDE_UNITS);
    ide->disk[unit] = disk;
    ide->geometry[unit] = disk ? ide_guess_geometry(disk) : (IdeGeometry){ 0 };
    ide_reset(ide);
}

Disk *ide_disk(const Ide *ide, unsigned unit) { return unit < IDE_UNITS ? ide->disk[unit] : NULL; }
