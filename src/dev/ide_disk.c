// SPDX-License-Identifier: MIT
// The hard disk of an ATA channel: sector addresses, transfers by PIO and DMA, IDENTIFY DEVICE and
// geometry (ATA-6). See ide_int.h.
#include "dev/ide_int.h"

#include <string.h>

#define LBA28_MAX 0x0fffffffu

static Disk *ide_active_disk(const Ide *ide) { return ide->disk[ide->active]; }

// ---- addresses ----------------------------------------------------------------------------------
static bool ide_is_ext(const Ide *ide) { return ide_disk_command(ide->command)->flags & IDE_EXT; }

static u64 ide_address48(Ide *ide) {
    const u8 *r = ide_regs(ide), *o = ide_old(ide);
    return (u64)r[REG_LOW] | (u64)r[REG_MID] << 8 | (u64)r[REG_HIGH] << 16 |
           (u64)o[REG_LOW] << 24 | (u64)o[REG_MID] << 32 | (u64)o[REG_HIGH] << 40;
}

// The sector that the registers name; UINT64_MAX: there is none such in the current translation.
static u64 ide_address(Ide *ide, bool ext) {
    const u8 *r = ide_regs(ide);
    unsigned u = ide->active, low4 = ide->device & 15;
    if (ext) return ide_address48(ide);
    u32 cylinder = r[REG_MID] | (u32)r[REG_HIGH] << 8;
    if (ide->device & DEVICE_LBA) return r[REG_LOW] | cylinder << 8 | low4 << 24;
    if (low4 >= ide->heads[u] || !r[REG_LOW] || r[REG_LOW] > ide->sectors[u]) return UINT64_MAX;
    return ((u64)cylinder * ide->heads[u] + low4) * ide->sectors[u] + r[REG_LOW] - 1;
}

static void ide_report_address(Ide *ide, u64 lba) {
    u8 *r = ide_regs(ide), *o = ide_old(ide);
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
    ide_regs(ide)[REG_COUNT] = (u8)sectors;
    if (ide_is_ext(ide)) ide_old(ide)[REG_COUNT] = (u8)(sectors >> 8);
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
    u32 count = ide_regs(ide)[REG_COUNT];
    if (ext) count |= (u32)ide_old(ide)[REG_COUNT] << 8;
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
    bool multiple = ide_disk_command(ide->command)->flags & IDE_MULTIPLE;
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

static void ide_fail_read(Ide *ide) {
    bool beyond = !ide_sectors_there(ide, 1);
    ide_fail_at(ide, ide->lba, ide->left, beyond ? ERROR_NOT_FOUND : ERROR_UNREADABLE, 0);
}

// The registers name the last sector of a command that has ended well.
static void ide_report_end(Ide *ide) {
    ide_report_address(ide, ide->lba - 1);
    ide_report_count(ide, 0);
}

void ide_disk_next_read(Ide *ide) {
    if (!ide->buffered) {
        ide->data_pos = 0;
        ide->buffered = (u8)ide_fill(ide);
    }
    if (!ide->buffered) {
        ide_fail_read(ide);
        return;
    }
    ide->block = (u8)min_u32(ide_block_sectors(ide), ide->buffered);
    ide_offer_block(ide, ide->block * DISK_SECTOR_BYTES);
}

// The block has been read from the port. A single buffer (IDENTIFY) has no sectors: left is 0.
void ide_disk_block_taken(Ide *ide) {
    ide->lba += ide->block;
    ide->left -= ide->block;
    ide->buffered = (u8)(ide->buffered - ide->block);
    if (ide->left) {
        ide->status[ide->active] = STATUS_IDLE | STATUS_BUSY;
        ide_do_later(ide, TODO_FILL, IDE_DELAY_NS);
        return;
    }
    if (ide->block) ide_report_end(ide);
    ide->status[ide->active] = STATUS_IDLE;
    ide_end_transfer(ide);
}

// ---- PIO out ------------------------------------------------------------------------------------
// False: the next block would begin beyond the end of the disk, and the command has failed.
static bool ide_next_write(Ide *ide) {
    ide->block = (u8)ide_sectors_there(ide, ide_block_sectors(ide));
    ide->data_pos = 0;
    if (ide->block) ide_want_block(ide, ide->block * DISK_SECTOR_BYTES);
    else ide_fail_at(ide, ide->lba, ide->left, ERROR_NOT_FOUND, 0);
    return ide->block != 0;
}

// Writes the buffer's `block` sectors. False: the command has failed.
static bool ide_write_out(Ide *ide) {
    Disk *disk = ide_active_disk(ide);
    int error = disk_write(disk, ide->lba, ide->block, ide->data);
    if (!error && ide->left == ide->block && !ide->write_cache[ide->active])
        error = disk_flush(disk);
    if (error) {
        ide_fail_at(ide, ide->lba, ide->left, ERROR_ABORT, STATUS_FAULT);
        return false;
    }
    ide->lba += ide->block;
    ide->left -= ide->block;
    return true;
}

void ide_disk_store(Ide *ide) {
    if (!ide->block) {                         // WRITE BUFFER
        memcpy(ide->scratch + ide->active * DISK_SECTOR_BYTES, ide->data, DISK_SECTOR_BYTES);
        ide_done(ide);
        return;
    }
    if (!ide_write_out(ide)) return;
    if (ide->left) {
        if (ide_next_write(ide)) ide_set_pending(ide, ide->active, true);
        return;
    }
    ide_report_end(ide);
    ide_done(ide);
}

int ide_disk_flush(Ide *ide) {
    return ide_active_disk(ide) ? disk_flush(ide_active_disk(ide)) : 0;
}

// ---- DMA ----------------------------------------------------------------------------------------
// A buffer on its way to memory. False: the engine waits, or the command has failed.
static bool ide_dma_read_buffer(Ide *ide) {
    if (!ide->held) {
        ide->data_pos = 0;
        ide->block = (u8)ide_fill(ide);
        ide->held = ide->block * DISK_SECTOR_BYTES;
        if (!ide->held) ide_fail_read(ide);
    }
    if (!ide->held || !ide_move_dma(ide, true)) return false;
    ide->held = 0;
    ide->lba += ide->block;
    ide->left -= ide->block;
    return true;
}

static bool ide_dma_write_buffer(Ide *ide) {
    if (!ide->held) {
        ide->data_pos = 0;
        ide->block = (u8)ide_sectors_there(ide, min_u32(ide->left, IDE_BUFFER_SECTORS));
        ide->held = ide->block * DISK_SECTOR_BYTES;
        if (!ide->held) ide_fail_at(ide, ide->lba, ide->left, ERROR_NOT_FOUND, 0);
    }
    if (!ide->held || !ide_move_dma(ide, false)) return false;
    ide->held = 0;
    return ide_write_out(ide);
}

void ide_disk_dma(Ide *ide) {
    bool write = ide_disk_command(ide->command)->flags & IDE_TO_DISK;
    for (unsigned i = 0; i < IDE_DMA_BURST; i++) {
        if (!(write ? ide_dma_write_buffer : ide_dma_read_buffer)(ide)) return;
        if (!ide->left) {
            ide_report_end(ide);
            ide_done(ide);
            return;
        }
    }
    ide_do_later(ide, TODO_DMA, IDE_DELAY_NS);
}

// ---- IDENTIFY DEVICE ----------------------------------------------------------------------------
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
    ide_put_word(id, 47, 0x8000 | IDE_BUFFER_SECTORS);
    ide_put_word(id, 48, 1);                                  // data port takes dwords
    ide_put_word(id, 49, 0x0b00);                             // LBA, DMA, IORDY
    ide_put_word(id, 50, 0x4000);
    ide_put_word(id, 59, ide->multiple[u] ? 0x100u | ide->multiple[u] : 0);
    ide_put_word(id, 80, 0x007e);                             // ATA-1 to ATA-6
    ide_put_word(id, 81, 0x0019);
    ide_put_word(id, 82, 0x7028);              // NOP, READ/WRITE BUFFER, write cache, power
    ide_put_word(id, 83, 0x7400);              // FLUSH CACHE (EXT), 48-bit addresses
    ide_put_word(id, 84, 0x4000);
    ide_put_word(id, 85, 0x7008u | (ide->write_cache[u] ? 0x20 : 0));
    ide_put_word(id, 86, 0x3400);
    ide_put_word(id, 87, 0x4000);
}

static void ide_run_identify(Ide *ide, const IdeCommand *c) {
    (void)c;
    unsigned u = ide->active;
    u8 id[DISK_SECTOR_BYTES] = { 0 };
    ide_put_word(id, 0, 0x0040);                              // fixed disk
    ide_put_names(ide, u, id, "GLASSBOX HARDDISK");
    ide_put_word(id, 20, 3);                                  // buffer: dual ported, with cache
    ide_put_word(id, 21, IDE_BUFFER_SECTORS);
    ide_put_word(id, 22, 4);
    ide_identify_geometry(ide, u, id);
    ide_identify_features(ide, u, id);
    ide_put_modes(ide, u, id);
    ide_offer_identity(ide, id);
}

// ---- commands -----------------------------------------------------------------------------------
static void ide_run_read(Ide *ide, const IdeCommand *c) {
    if (ide_begin_transfer(ide, c)) ide_disk_next_read(ide);
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
            ide_fail_read(ide);
            return;
        }
        ide->lba += good;
        ide->left -= good;
    }
    ide_report_end(ide);
    ide_done(ide);
}

static void ide_run_seek(Ide *ide, const IdeCommand *c) {
    bool there = ide_address(ide, c->flags & IDE_EXT) < disk_sectors(ide_active_disk(ide));
    if (there) ide_done(ide);
    else ide_fail(ide, ERROR_NOT_FOUND, 0);
}

// READ DMA and WRITE DMA, with addresses of 28 or 48 bits.
static void ide_run_dma(Ide *ide, const IdeCommand *c) {
    bool refused = (c->flags & IDE_TO_DISK) && disk_is_readonly(ide_active_disk(ide));
    if (refused) {
        ide_abort(ide);
        return;
    }
    if (!ide_begin_transfer(ide, c)) return;
    ide->dma = true;
    ide_disk_dma(ide);
}

static void ide_run_read_buffer(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_end_transfer(ide);
    memcpy(ide->data, ide->scratch + ide->active * DISK_SECTOR_BYTES, DISK_SECTOR_BYTES);
    ide_offer_block(ide, DISK_SECTOR_BYTES);
}

static void ide_run_write_buffer(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_end_transfer(ide);
    ide_want_block(ide, DISK_SECTOR_BYTES);
}

static void ide_run_flush(Ide *ide, const IdeCommand *c) {
    (void)c;
    if (ide_disk_flush(ide)) ide_fail(ide, ERROR_ABORT, STATUS_FAULT);
    else ide_done(ide);
}

static void ide_run_parameters(Ide *ide, const IdeCommand *c) {
    if (!ide_regs(ide)[REG_COUNT]) {
        ide_abort(ide);
        return;
    }
    ide->heads[ide->active] = (ide->device & 15) + 1;
    ide->sectors[ide->active] = ide_regs(ide)[REG_COUNT];
    ide_run_nothing(ide, c);
}

static void ide_run_set_multiple(Ide *ide, const IdeCommand *c) {
    unsigned n = ide_regs(ide)[REG_COUNT];
    if (n > IDE_BUFFER_SECTORS || (n & (n - 1))) {
        ide_abort(ide);
        return;
    }
    ide->multiple[ide->active] = (u8)n;
    ide_run_nothing(ide, c);
}

static const IdeCommand ide_commands[] = {
    { 0x10, 0x1f, 0, ide_run_nothing },                       // RECALIBRATE
    { 0x20, 0x21, IDE_MEDIUM, ide_run_read },
    { 0x24, 0x24, IDE_EXT | IDE_MEDIUM, ide_run_read },
    { 0x25, 0x25, IDE_EXT | IDE_MEDIUM, ide_run_dma },
    { 0x29, 0x29, IDE_EXT | IDE_MULTIPLE | IDE_MEDIUM, ide_run_read },
    { 0x30, 0x31, IDE_AT_ONCE | IDE_MEDIUM, ide_run_write },
    { 0x34, 0x34, IDE_AT_ONCE | IDE_EXT | IDE_MEDIUM, ide_run_write },
    { 0x35, 0x35, IDE_EXT | IDE_TO_DISK | IDE_MEDIUM, ide_run_dma },
    { 0x39, 0x39, IDE_AT_ONCE | IDE_EXT | IDE_MULTIPLE | IDE_MEDIUM, ide_run_write },
    { 0x3c, 0x3c, IDE_AT_ONCE | IDE_MEDIUM, ide_run_write },  // WRITE VERIFY
    { 0x40, 0x41, IDE_MEDIUM, ide_run_verify },
    { 0x42, 0x42, IDE_EXT | IDE_MEDIUM, ide_run_verify },
    { 0x70, 0x7f, 0, ide_run_seek },
    { 0x90, 0x90, 0, ide_run_diagnostic },
    { 0x91, 0x91, 0, ide_run_parameters },
    { 0x94, 0x94, 0, ide_run_standby },
    { 0x95, 0x95, 0, ide_run_idle },
    { 0x96, 0x96, 0, ide_run_standby },
    { 0x97, 0x97, 0, ide_run_idle },
    { 0x98, 0x98, 0, ide_run_check_power },
    { 0x99, 0x99, 0, ide_run_sleep },
    { 0xc4, 0xc4, IDE_MULTIPLE | IDE_MEDIUM, ide_run_read },
    { 0xc5, 0xc5, IDE_AT_ONCE | IDE_MULTIPLE | IDE_MEDIUM, ide_run_write },
    { 0xc6, 0xc6, 0, ide_run_set_multiple },
    { 0xc8, 0xc9, IDE_MEDIUM, ide_run_dma },                  // READ DMA
    { 0xca, 0xcb, IDE_TO_DISK | IDE_MEDIUM, ide_run_dma },    // WRITE DMA
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
    { 0x00, 0xff, 0, ide_run_abort },                         // NOP, packets, all others
};

const IdeCommand *ide_disk_command(u8 opcode) { return ide_find_in(ide_commands, opcode); }

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

void ide_disk_apply_geometry(Ide *ide) {
    for (unsigned u = 0; u < IDE_UNITS; u++) {
        ide->heads[u] = ide->geometry[u].heads;
        ide->sectors[u] = ide->geometry[u].sectors;
    }
}

void ide_set_geometry(Ide *ide, unsigned unit, IdeGeometry g) {
    require(unit < IDE_UNITS && g.heads && g.heads <= 16 && g.sectors && g.cylinders &&
            g.cylinders <= 65535);
    ide->geometry[unit] = g;
    ide_disk_apply_geometry(ide);
}

IdeGeometry ide_geometry(const Ide *ide, unsigned unit) { return ide->geometry[unit & 1]; }

void ide_attach(Ide *ide, unsigned unit, Disk *disk) {
    require(unit < IDE_UNITS);
    ide->cd[unit] = NULL;
    ide->disk[unit] = disk;
    ide->geometry[unit] = disk ? ide_guess_geometry(disk) : (IdeGeometry){ 0 };
    for (unsigned u = 0; u < IDE_UNITS; u++) ide_put_signature(ide, u);
    ide->status[unit] = disk ? STATUS_IDLE : 0;
    ide_end_transfer(ide);
    ide_disk_apply_geometry(ide);
}
