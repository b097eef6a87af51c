// SPDX-License-Identifier: MIT
// Intel 82077AA floppy disk controller and its drives.
//
// Invariants
//  1. `phase` says who moves next: COMMAND and RESULT wait for the processor, DATA (transfers
//     without DMA) too; RESET and EXECUTE wait for `work_timer`, which then does `work`.
//  2. A data command is a loop over sectors: fdc_sector_begin() finds and reads one, a transport
//     (DMA, the data register, or none for VERIFY) moves its bytes, fdc_sector_end() writes or
//     compares it and steps on. Every way out of the loop goes through fdc_finish().
//  3. The head moves at once; only the interrupt that tells so is late.
//
// What images cannot hold: deleted data marks (all sectors are normal), sectors of other sizes than
// 512 bytes, tracks formatted otherwise. Motors are always up to speed.
//
// A sector's ID must match the command's C H R N, and the data rate and MFM must fit the medium:
// that is how guests find out what medium they have (Linux tries formats until one works).
#include "dev/fdc.h"

#include "bus/device.h"
#include <stdlib.h>
#include <string.h>

#define FDC_DRIVES 2u
#define FDC_DMA 2u                 // DMA channel
#define FDC_LAST_TRACK 83u         // where the head stops mechanically

#define FDC_RESET_NS 30000u
#define FDC_EXECUTE_NS 50000u      // to the first sector
#define FDC_SECTOR_NS 20000u       // between sectors without DMA
#define FDC_SEEK_NS 50000u
#define FDC_STEP_NS 5000u          // per cylinder
#define FDC_DMA_WAIT_NS 100000u    // between looks whether the channel was unmasked meanwhile
#define FDC_DMA_WAITS 2000u        // looks before it is an overrun (a turn of the disk)

typedef enum FdcPhase {
    PHASE_RESET, PHASE_COMMAND, PHASE_EXECUTE, PHASE_DATA, PHASE_RESULT
} FdcPhase;
typedef enum FdcWork { WORK_NONE, WORK_RESET, WORK_EXECUTE, WORK_SECTOR_END } FdcWork;

enum { DOR_DRIVE = 3, DOR_RUN = 4, DOR_GATE = 8 };          // RUN: not in reset; GATE: IRQ and DMA
enum { MSR_BUSY = 0x10, MSR_NO_DMA = 0x20, MSR_TO_HOST = 0x40, MSR_READY = 0x80 };
enum { ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_POLL = 0xc0, ST0_SEEK_END = 0x20,
       ST0_CHECK = 0x10 };
enum { ST1_NO_ADDRESS = 1, ST1_NOT_WRITABLE = 2, ST1_NO_DATA = 4, ST1_OVERRUN = 0x10,
       ST1_DATA_ERROR = 0x20, ST1_END = 0x80 };
enum { ST2_SCAN_MISS = 4, ST2_SCAN_HIT = 8, ST2_WRONG_CYLINDER = 0x10, ST2_DATA_FIELD = 0x20,
       ST2_CONTROL_MARK = 0x40 };
enum { ST3_PROTECTED = 0x40, ST3_READY = 0x20, ST3_TRACK0 = 0x10, ST3_TWO_SIDES = 8 };
enum { CMD_MULTI = 0x80, CMD_MFM = 0x40, CMD_SKIP = 0x20 };
enum { CONFIG_SEEK = 0x40, CONFIG_NO_FIFO = 0x20, CONFIG_KEPT = 0x2f };
enum { OP_READ_TRACK = 0x02, OP_WRITE = 0x05, OP_READ = 0x06, OP_WRITE_DELETED = 0x09,
       OP_READ_ID = 0x0a, OP_READ_DELETED = 0x0c, OP_FORMAT = 0x0d, OP_SCAN_EQUAL = 0x11,
       OP_VERIFY = 0x16, OP_SCAN_LOW = 0x19, OP_SCAN_HIGH = 0x1d };

struct Fdc {
    Bus *bus;
    Dma *dma;
    Wire irq;
    Disk *disk[FDC_DRIVES];                    // NULL: no medium
    const DiskFloppy *format[FDC_DRIVES];      // of the medium; NULL: none that can be read
    u8 type[FDC_DRIVES];                       // as in CMOS; 0: no drive
    bool typed[FDC_DRIVES];                    // a medium has decided on the type

    Timer *work_timer, *seek_timer;
    u8 phase, work;                            // FdcPhase, FdcWork
    u8 dor, tape, rate;                        // rate: 0-3 as in CCR
    bool pending;                              // interrupt: its line, before DOR_GATE
    u8 command[9], command_pos;                // as written; [0] is the operation
    u8 result[10], result_pos, result_bytes;
    u8 poll_left;                              // ready changes to report after reset
    u8 seeking, sought;                        // bit per drive: on its way; arrived, not yet sensed
    u8 seek_st0[4], cylinder[4];               // cylinder: what the controller believes (PCN)
    u8 track[FDC_DRIVES];                      // where the head is
    bool changed[FDC_DRIVES];                  // disk change line: set until a step
    u8 srt_hut, hlt_nd, eot;                   // SPECIFY; last EOT, for DUMPREG
    u8 config, precomp_track, perpendicular;   // CONFIGURE, PERPENDICULAR
    bool locked;
    u8 turn;                                   // which sector passes by at the next READ ID

    // The data command that runs.
    u8 st0, st1, st2;
    u8 id_cylinder, id_head, id_sector;        // the ID looked for next
    u8 head;                                   // the side it is looked for on
    u8 nth;                                    // READ TRACK, FORMAT: sectors since the index hole
    u16 verify_left;                           // VERIFY with a count: sectors to go
    u16 waits;                                 // looks for the DMA channel
    u16 data_pos;                              // DATA: bytes moved of this sector
    u32 lba;                                   // of this sector
    u8 data[DISK_SECTOR_BYTES];
};

static const Field fdc_fields[] = {
    FIELD(Fdc, work_timer, FIELD_TIMER, 0),        FIELD(Fdc, seek_timer, FIELD_TIMER, 0),
    FIELD(Fdc, phase, FIELD_UINT, PHASE_RESET),    FIELD(Fdc, work, FIELD_UINT, WORK_NONE),
    FIELD(Fdc, dor, FIELD_UINT, 0),                FIELD(Fdc, tape, FIELD_UINT, 0),
    FIELD(Fdc, rate, FIELD_UINT, 2),               FIELD(Fdc, pending, FIELD_BOOL, 0),
    FIELD_ARRAY(Fdc, command, FIELD_UINT, 0),      FIELD(Fdc, command_pos, FIELD_UINT, 0),
    FIELD_ARRAY(Fdc, result, FIELD_UINT, 0),       FIELD(Fdc, result_pos, FIELD_UINT, 0),
    FIELD(Fdc, result_bytes, FIELD_UINT, 0),       FIELD(Fdc, poll_left, FIELD_UINT, 0),
    FIELD(Fdc, seeking, FIELD_UINT, 0),            FIELD(Fdc, sought, FIELD_UINT, 0),
    FIELD_ARRAY(Fdc, seek_st0, FIELD_UINT, 0),     FIELD_ARRAY(Fdc, cylinder, FIELD_UINT, 0),
    FIELD_ARRAY(Fdc, track, FIELD_UINT, 0),
    FIELD_ARRAY(Fdc, changed, FIELD_BOOL | FIELD_KEPT, 1),
    FIELD(Fdc, srt_hut, FIELD_UINT, 0),            FIELD(Fdc, hlt_nd, FIELD_UINT, 0),
    FIELD(Fdc, eot, FIELD_UINT, 0),                FIELD(Fdc, config, FIELD_UINT, CONFIG_NO_FIFO),
    FIELD(Fdc, precomp_track, FIELD_UINT, 0),      FIELD(Fdc, perpendicular, FIELD_UINT, 0),
    FIELD(Fdc, locked, FIELD_BOOL, 0),             FIELD(Fdc, turn, FIELD_UINT, 0),
    FIELD(Fdc, st0, FIELD_UINT, 0),                FIELD(Fdc, st1, FIELD_UINT, 0),
    FIELD(Fdc, st2, FIELD_UINT, 0),                FIELD(Fdc, id_cylinder, FIELD_UINT, 0),
    FIELD(Fdc, id_head, FIELD_UINT, 0),            FIELD(Fdc, id_sector, FIELD_UINT, 0),
    FIELD(Fdc, head, FIELD_UINT, 0),               FIELD(Fdc, nth, FIELD_UINT, 0),
    FIELD(Fdc, verify_left, FIELD_UINT, 0),        FIELD(Fdc, waits, FIELD_UINT, 0),
    FIELD(Fdc, data_pos, FIELD_UINT, 0),           FIELD(Fdc, lba, FIELD_UINT, 0),
    FIELD_ARRAY(Fdc, data, FIELD_BYTES, 0),
};

static void fdc_log(Fdc *f, const char *what, unsigned value) {
    log_guest_error(bus_log(f->bus), "fdc", "%s (0x%02x)", what, value);
}

// ---- interrupt and timing -----------------------------------------------------------------------
static void fdc_update_irq(Fdc *f) {
    wire_set(&f->irq, f->pending && (f->dor & DOR_GATE) && (f->dor & DOR_RUN));
}

static void fdc_set_irq(Fdc *f, bool level) {
    f->pending = level;
    fdc_update_irq(f);
}

// An edge, even if an older interrupt was never looked at.
static void fdc_raise_irq(Fdc *f) {
    fdc_set_irq(f, false);
    fdc_set_irq(f, true);
}

static void fdc_do_later(Fdc *f, FdcWork work, u64 delay_ns) {
    f->work = (u8)work;
    bus_timer_at(f->work_timer, bus_now_ns(f->bus) + delay_ns);
}

static void fdc_await_command(Fdc *f) {
    f->phase = PHASE_COMMAND;
    f->command_pos = 0;
}

static void fdc_answer(Fdc *f, const u8 *result, unsigned bytes) {
    memcpy(f->result, result, bytes);
    f->result_bytes = (u8)bytes;
    f->result_pos = 0;
    f->phase = PHASE_RESULT;
}

static void fdc_answer_byte(Fdc *f, u8 value) { fdc_answer(f, &value, 1); }

// ---- drives -------------------------------------------------------------------------------------
static unsigned fdc_drive(const Fdc *f) { return f->command[1] & 3; }

static bool fdc_exists(const Fdc *f, unsigned drive) {
    return drive < FDC_DRIVES && f->type[drive];
}

// The medium that the command is about; NULL: none.
static Disk *fdc_medium(const Fdc *f) {
    return fdc_drive(f) < FDC_DRIVES ? f->disk[fdc_drive(f)] : NULL;
}

// A 1.2M drive steps twice per cylinder of a 40-cylinder disk.
static unsigned fdc_medium_track(const Fdc *f, unsigned drive) {
    bool twice = f->type[drive] == 2 && f->format[drive] && f->format[drive]->tracks == 40;
    return twice ? f->track[drive] / 2u : f->track[drive];
}

static void fdc_step(Fdc *f, unsigned drive, int cylinders) {
    if (!fdc_exists(f, drive) || !cylinders) return;
    int to = f->track[drive] + cylinders;
    f->track[drive] = (u8)(to < 0 ? 0 : to > (int)FDC_LAST_TRACK ? (int)FDC_LAST_TRACK : to);
    f->changed[drive] = false;
}

static bool fdc_rate_fits(const Fdc *f, const DiskFloppy *format) {
    if (format->rate == 2) return f->rate == 2 || f->rate == 1;   // double density: 250 or 300
    return f->rate == format->rate;
}

// Are there sectors under the head that the command can read?
static bool fdc_sees_sectors(const Fdc *f) {
    unsigned drive = fdc_drive(f);
    const DiskFloppy *format = fdc_exists(f, drive) ? f->format[drive] : NULL;
    return format && (f->command[0] & CMD_MFM) && fdc_rate_fits(f, format) &&
           fdc_medium_track(f, drive) < format->tracks && f->head < format->heads;
}

// ---- data commands: results ---------------------------------------------------------------------
static unsigned fdc_op(const Fdc *f) { return f->command[0] & 0x1f; }

static void fdc_finish(Fdc *f, u8 ending) {
    unsigned op = fdc_op(f);
    u8 size = op == OP_READ_ID ? 2 : f->command[op == OP_FORMAT ? 2 : 5];
    const u8 result[7] = { f->st0 | ending, f->st1, f->st2, f->id_cylinder, f->id_head,
                           f->id_sector, size };
    fdc_answer(f, result, sizeof(result));
    dma_request(f->dma, FDC_DMA, false);
    f->poll_left = 0;
    fdc_raise_irq(f);
}

// All return false, so that the sector loop ends: "return fdc_fail(...)".
static bool fdc_fail(Fdc *f, u8 st1, u8 st2) {
    f->st1 |= st1;
    f->st2 |= st2;
    fdc_finish(f, ST0_ABNORMAL);
    return false;
}

static bool fdc_succeed(Fdc *f) {
    fdc_finish(f, 0);
    return false;
}

// ---- data commands: one sector ------------------------------------------------------------------
static bool fdc_is_scan(unsigned op) {
    return op == OP_SCAN_EQUAL || op == OP_SCAN_LOW || op == OP_SCAN_HIGH;
}

static bool fdc_is_write(unsigned op) { return op == OP_WRITE || op == OP_WRITE_DELETED; }

static bool fdc_is_to_host(unsigned op) {
    return op == OP_READ || op == OP_READ_DELETED || op == OP_READ_TRACK;
}

// Bytes that travel per sector: all of it, or the ID when formatting.
static unsigned fdc_unit_bytes(const Fdc *f) {
    return fdc_op(f) == OP_FORMAT ? 4 : DISK_SECTOR_BYTES;
}

static void fdc_locate(Fdc *f, unsigned sector) {
    unsigned drive = fdc_drive(f);
    const DiskFloppy *format = f->format[drive];
    unsigned side = fdc_medium_track(f, drive) * format->heads + f->head;
    f->lba = side * format->sectors + sector - 1;
}

// Looks for the ID. READ TRACK takes whatever comes and only notes that IDs differ.
static bool fdc_find_sector(Fdc *f) {
    unsigned drive = fdc_drive(f);
    if (!fdc_sees_sectors(f)) return fdc_fail(f, ST1_NO_ADDRESS, 0);
    const DiskFloppy *format = f->format[drive];
    bool track_fits = f->id_cylinder == fdc_medium_track(f, drive);
    bool fits = track_fits && f->id_head == f->head && f->command[5] == 2;
    if (fdc_op(f) == OP_READ_TRACK) {
        if (!fits || f->id_sector != f->nth + 1) f->st1 |= ST1_NO_DATA;
        if (f->nth >= format->sectors) return fdc_fail(f, ST1_NO_ADDRESS, 0);
        fdc_locate(f, f->nth + 1u);
        return true;
    }
    if (!fits || !f->id_sector || f->id_sector > format->sectors)
        return fdc_fail(f, ST1_NO_DATA, track_fits ? 0 : ST2_WRONG_CYLINDER);
    fdc_locate(f, f->id_sector);
    return true;
}

static bool fdc_format_begin(Fdc *f) {
    const u8 sectors = f->command[3];
    bool fits = fdc_sees_sectors(f) && f->command[2] == 2 && sectors &&
                sectors <= f->format[fdc_drive(f)]->sectors;
    return fits || fdc_fail(f, ST1_NO_ADDRESS, 0);
}

static bool fdc_sector_begin(Fdc *f) {
    unsigned op = fdc_op(f);
    f->st0 = (u8)(fdc_drive(f) | f->head << 2);
    if (op == OP_FORMAT) return fdc_format_begin(f);
    if (!fdc_find_sector(f)) return false;
    if (fdc_is_write(op)) return true;
    if (disk_read(fdc_medium(f), f->lba, 1, f->data))
        return fdc_fail(f, ST1_DATA_ERROR, ST2_DATA_FIELD);
    return true;
}

// To the next ID. False: that was the last one (EOT).
static bool fdc_advance(Fdc *f) {
    unsigned eot = f->command[6];
    unsigned step = fdc_is_scan(fdc_op(f)) && f->command[8] == 2 ? 2 : 1;
    f->nth++;
    if (fdc_op(f) == OP_READ_TRACK) {
        f->id_sector++;
        return f->nth < eot;
    }
    if (f->id_sector != eot && !(step == 2 && f->id_sector + 1u == eot)) {
        f->id_sector = (u8)(f->id_sector + step);
        return f->id_sector != 0;
    }
    f->id_sector = 1;
    if (f->command[0] & CMD_MULTI) {
        f->id_head ^= 1;
        f->head ^= 1;
        if (f->head) return true;
    }
    f->id_cylinder++;
    return false;
}

static bool fdc_verify_end(Fdc *f) {
    bool counted = f->command[1] & 0x80;
    if (counted) f->verify_left--;
    bool more = fdc_advance(f);
    if (counted && !f->verify_left) return fdc_succeed(f);
    if (more) return true;
    return counted ? fdc_fail(f, ST1_NO_DATA, 0) : fdc_succeed(f);
}

// Compares memory's bytes with the disk's: <0 the disk's are less. 0xff on either side fits all.
static int fdc_compare(const u8 *disk, const u8 *memory, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++)
        if (disk[i] != memory[i] && disk[i] != 0xff && memory[i] != 0xff)
            return disk[i] < memory[i] ? -1 : 1;
    return 0;
}

static bool fdc_scan_end(Fdc *f, unsigned bytes, bool end) {
    u8 sector[DISK_SECTOR_BYTES];
    if (disk_read(fdc_medium(f), f->lba, 1, sector))
        return fdc_fail(f, ST1_DATA_ERROR, ST2_DATA_FIELD);
    unsigned op = fdc_op(f);
    int order = fdc_compare(sector, f->data, bytes);
    f->st2 &= (u8)~(ST2_SCAN_MISS | ST2_SCAN_HIT);
    if (!order) f->st2 |= ST2_SCAN_HIT;
    if (!order || (op == OP_SCAN_LOW && order < 0) || (op == OP_SCAN_HIGH && order > 0))
        return fdc_succeed(f);
    f->st2 |= ST2_SCAN_MISS;
    return (fdc_advance(f) && !end) || fdc_succeed(f);
}

// The four bytes of an ID have arrived: the sector gets it and the filler.
static bool fdc_format_end(Fdc *f, bool end) {
    unsigned drive = fdc_drive(f);
    const u8 *id = f->data;
    if (!fdc_format_begin(f)) return false;
    if (id[0] != fdc_medium_track(f, drive) || id[1] != f->head || id[3] != 2 || !id[2] ||
        id[2] > f->format[drive]->sectors)
        return fdc_fail(f, ST1_NO_DATA, 0);
    fdc_locate(f, id[2]);
    memset(f->data, f->command[5], sizeof(f->data));
    if (disk_write(f->disk[drive], f->lba, 1, f->data))
        return fdc_fail(f, ST1_DATA_ERROR, ST2_DATA_FIELD);
    return (++f->nth < f->command[3] && !end) || fdc_succeed(f);
}

// The transport has moved `bytes` of the sector; `end`: terminal count. False: the command is over.
static bool fdc_sector_end(Fdc *f, unsigned bytes, bool end) {
    unsigned op = fdc_op(f);
    if (op == OP_VERIFY) return fdc_verify_end(f);
    if (op == OP_FORMAT) return fdc_format_end(f, end);
    if (!fdc_medium(f)) return fdc_fail(f, ST1_NO_ADDRESS, 0);   // ejected meanwhile
    if (fdc_is_scan(op)) return fdc_scan_end(f, bytes, end);
    if (fdc_is_write(op)) {
        memset(f->data + bytes, 0, sizeof(f->data) - bytes);
        if (disk_write(fdc_medium(f), f->lba, 1, f->data))
            return fdc_fail(f, ST1_DATA_ERROR, ST2_DATA_FIELD);
    }
    if (op == OP_READ_DELETED) return fdc_fail(f, 0, ST2_CONTROL_MARK);  // it was a normal one
    bool more = fdc_advance(f);
    if (end) return fdc_succeed(f);
    return more || fdc_fail(f, ST1_END, 0);
}

// ---- data commands: transports ------------------------------------------------------------------
static bool fdc_without_dma(const Fdc *f) { return f->hlt_nd & 1; }

static bool fdc_dma_sector(Fdc *f) {
    bool end = false;
    unsigned want = fdc_unit_bytes(f);
    u32 got = dma_transfer(f->dma, FDC_DMA, f->data, want, fdc_is_to_host(fdc_op(f)), &end);
    if (got < want && !end) return fdc_fail(f, ST1_OVERRUN, 0);
    return fdc_sector_end(f, got, end);
}

// The processor may unmask the channel after it has given the command.
static void fdc_run_dma(Fdc *f) {
    bool gated = f->dor & DOR_GATE;
    if (gated && dma_ready(f->dma, FDC_DMA)) {
        while (fdc_dma_sector(f) && fdc_sector_begin(f)) {}
    } else if (f->waits++ < FDC_DMA_WAITS) {
        dma_request(f->dma, FDC_DMA, gated);
        fdc_do_later(f, WORK_EXECUTE, FDC_DMA_WAIT_NS);
    } else {
        fdc_fail(f, ST1_OVERRUN, 0);
    }
}

static void fdc_run_register(Fdc *f) {
    f->phase = PHASE_DATA;
    f->data_pos = 0;
    fdc_raise_irq(f);
}

// READ DELETED with the skip flag: the images' normal sectors are all passed over.
static bool fdc_skip_all(Fdc *f) {
    if (fdc_op(f) != OP_READ_DELETED || !(f->command[0] & CMD_SKIP)) return false;
    f->st2 |= ST2_CONTROL_MARK;
    while (fdc_advance(f))
        if (!fdc_sector_begin(f)) return true;
    fdc_fail(f, ST1_END, 0);
    return true;
}

static void fdc_read_id(Fdc *f) {
    unsigned drive = fdc_drive(f);
    f->st0 = (u8)(drive | f->head << 2);
    if (!fdc_sees_sectors(f)) {
        fdc_fail(f, ST1_NO_ADDRESS, 0);
        return;
    }
    f->id_cylinder = (u8)fdc_medium_track(f, drive);
    f->id_head = f->head;
    f->id_sector = (u8)(f->turn++ % f->format[drive]->sectors + 1);
    fdc_succeed(f);
}

static void fdc_execute(Fdc *f) {
    unsigned drive = fdc_drive(f), op = fdc_op(f);
    Disk *disk = fdc_medium(f);
    bool writes = fdc_is_write(op) || op == OP_FORMAT;
    if (op == OP_READ_ID) {
        fdc_read_id(f);
        return;
    }
    f->st0 = (u8)(drive | f->head << 2);
    if (writes && disk && disk_is_readonly(disk)) {
        fdc_fail(f, ST1_NOT_WRITABLE, 0);
        return;
    }
    if (!fdc_sector_begin(f) || fdc_skip_all(f)) return;
    if (op == OP_VERIFY) while (fdc_sector_end(f, 0, false) && fdc_sector_begin(f)) {}
    else if (fdc_without_dma(f)) fdc_run_register(f);
    else fdc_run_dma(f);
}

static void fdc_work(void *self) {
    Fdc *f = self;
    FdcWork work = (FdcWork)f->work;
    f->work = WORK_NONE;
    switch (work) {
    case WORK_RESET:
        fdc_await_command(f);
        f->poll_left = 4;
        fdc_raise_irq(f);
        break;
    case WORK_EXECUTE: fdc_execute(f); break;
    case WORK_SECTOR_END:
        if (fdc_sector_end(f, fdc_unit_bytes(f), false) && fdc_sector_begin(f)) fdc_run_register(f);
        break;
    case WORK_NONE: break;
    }
}

// ---- commands -----------------------------------------------------------------------------------
static void fdc_start_data(Fdc *f) {
    f->st0 = f->st1 = f->st2 = f->nth = 0;
    f->waits = 0;
    f->head = f->command[1] >> 2 & 1;
    bool has_id = fdc_op(f) != OP_FORMAT && fdc_op(f) != OP_READ_ID;
    f->id_cylinder = has_id ? f->command[2] : 0;
    f->id_head = has_id ? f->command[3] : f->head;
    f->id_sector = has_id ? f->command[4] : 1;
    f->verify_left = f->command[8] ? f->command[8] : 256;
    f->eot = has_id ? f->command[6] : f->command[3];
    if (has_id && (f->config & CONFIG_SEEK)) {
        unsigned drive = fdc_drive(f);
        fdc_step(f, drive, f->command[2] - f->cylinder[drive]);
        f->cylinder[drive] = f->command[2];
    }
    f->phase = PHASE_EXECUTE;
    fdc_do_later(f, WORK_EXECUTE, FDC_EXECUTE_NS);
}

// The interrupt comes when the last of the drives that move has arrived.
static void fdc_start_seek(Fdc *f, unsigned distance, u8 st0) {
    unsigned drive = fdc_drive(f);
    f->seeking |= (u8)BIT(drive);
    f->sought &= (u8)~BIT(drive);
    f->seek_st0[drive] = st0 | (u8)drive;
    fdc_await_command(f);
    bus_timer_at(f->seek_timer, bus_now_ns(f->bus) + FDC_SEEK_NS + distance * (u64)FDC_STEP_NS);
}

static void fdc_seek_done(void *self) {
    Fdc *f = self;
    f->sought |= f->seeking;
    f->seeking = 0;
    f->poll_left = 0;
    fdc_raise_irq(f);
}

static void fdc_recalibrate(Fdc *f) {
    unsigned drive = fdc_drive(f);
    u8 st0 = ST0_SEEK_END;
    unsigned distance = fdc_exists(f, drive) ? min_u32(f->track[drive], 79) : 79;
    fdc_step(f, drive, -(int)distance);
    if (!fdc_exists(f, drive) || f->track[drive]) st0 |= ST0_ABNORMAL | ST0_CHECK;
    f->cylinder[drive] = 0;
    fdc_start_seek(f, distance, st0);
}

static void fdc_seek_by(Fdc *f, int cylinders) {
    unsigned drive = fdc_drive(f);
    fdc_step(f, drive, cylinders);
    f->cylinder[drive] = (u8)(f->cylinder[drive] + cylinders);
    fdc_start_seek(f, (unsigned)abs(cylinders), ST0_SEEK_END | (f->command[1] & 4));
}

static void fdc_seek(Fdc *f) { fdc_seek_by(f, f->command[2] - f->cylinder[fdc_drive(f)]); }

static void fdc_relative_seek(Fdc *f) {
    fdc_seek_by(f, f->command[0] & 0x40 ? f->command[2] : -(int)f->command[2]);
}

static void fdc_sense_interrupt(Fdc *f) {
    fdc_set_irq(f, false);
    if (f->poll_left) {
        unsigned drive = 4u - f->poll_left--;
        fdc_answer(f, (u8[]){ (u8)(ST0_POLL | drive), f->cylinder[drive] }, 2);
    } else if (f->sought) {
        unsigned drive = (unsigned)__builtin_ctz(f->sought);
        f->sought &= (u8)~BIT(drive);
        fdc_answer(f, (u8[]){ f->seek_st0[drive], f->cylinder[drive] }, 2);
        if (f->sought) fdc_raise_irq(f);
    } else {
        fdc_answer_byte(f, ST0_INVALID);
    }
}

static void fdc_sense_drive(Fdc *f) {
    unsigned drive = fdc_drive(f), v = (f->command[1] & 7) | ST3_READY | ST3_TWO_SIDES;
    if (fdc_exists(f, drive)) {
        if (!f->track[drive]) v |= ST3_TRACK0;
        if (!f->disk[drive] || disk_is_readonly(f->disk[drive])) v |= ST3_PROTECTED;
    }
    fdc_answer_byte(f, (u8)v);
}

static void fdc_specify(Fdc *f) {
    f->srt_hut = f->command[1];
    f->hlt_nd = f->command[2];
    fdc_await_command(f);
}

static void fdc_configure(Fdc *f) {
    f->config = f->command[2] & 0x7f;
    f->precomp_track = f->command[3];
    fdc_await_command(f);
}

// The drive bits change only when the overwrite bit says so.
static void fdc_perpendicular(Fdc *f) {
    u8 v = f->command[1];
    u8 drives = v & 0x80 ? v & 0x3c : f->perpendicular & 0x3c;
    f->perpendicular = (u8)(drives | (v & 3));
    fdc_await_command(f);
}

static void fdc_dump_registers(Fdc *f) {
    const u8 result[10] = {
        f->cylinder[0], f->cylinder[1], f->cylinder[2], f->cylinder[3], f->srt_hut, f->hlt_nd,
        f->eot, (u8)(f->locked << 7 | f->perpendicular), f->config, f->precomp_track,
    };
    fdc_answer(f, result, sizeof(result));
}

static void fdc_lock(Fdc *f) {
    f->locked = f->command[0] & 0x80;
    fdc_answer_byte(f, (u8)(f->locked << 4));
}

static void fdc_version(Fdc *f) { fdc_answer_byte(f, 0x90); }

// Also PART ID, by which drivers tell an 82078 from this chip.
static void fdc_invalid(Fdc *f) {
    fdc_log(f, "invalid command", f->command[0]);
    fdc_answer_byte(f, ST0_INVALID);
}

static const struct FdcCommand {
    u8 mask, value, bytes;             // the first byte under mask; length of the command
    void (*run)(Fdc *f);
} fdc_commands[] = {
    { 0x1f, OP_READ, 9, fdc_start_data },         { 0x3f, OP_WRITE, 9, fdc_start_data },
    { 0x1f, OP_READ_DELETED, 9, fdc_start_data }, { 0x3f, OP_WRITE_DELETED, 9, fdc_start_data },
    { 0x9f, OP_READ_TRACK, 9, fdc_start_data },   { 0x1f, OP_VERIFY, 9, fdc_start_data },
    { 0x1f, OP_SCAN_EQUAL, 9, fdc_start_data },   { 0x1f, OP_SCAN_LOW, 9, fdc_start_data },
    { 0x1f, OP_SCAN_HIGH, 9, fdc_start_data },    { 0xbf, OP_FORMAT, 6, fdc_start_data },
    { 0xbf, OP_READ_ID, 2, fdc_start_data },      { 0xff, 0x07, 2, fdc_recalibrate },
    { 0xff, 0x0f, 3, fdc_seek },                  { 0xbf, 0x8f, 3, fdc_relative_seek },
    { 0xff, 0x08, 1, fdc_sense_interrupt },       { 0xff, 0x04, 2, fdc_sense_drive },
    { 0xff, 0x03, 3, fdc_specify },               { 0xff, 0x13, 4, fdc_configure },
    { 0xff, 0x12, 2, fdc_perpendicular },         { 0xff, 0x0e, 1, fdc_dump_registers },
    { 0x7f, 0x14, 1, fdc_lock },                  { 0xff, 0x10, 1, fdc_version },
    { 0x00, 0x00, 1, fdc_invalid },
};

static const struct FdcCommand *fdc_find_command(u8 first) {
    const struct FdcCommand *c = fdc_commands;
    while ((first & c->mask) != c->value) c++;
    return c;
}

// ---- ports --------------------------------------------------------------------------------------
// Without DMA: an interrupt for every byte, then a pause while the sector is dealt with.
static void fdc_moved_byte(Fdc *f) {
    if (f->data_pos < fdc_unit_bytes(f)) {
        fdc_raise_irq(f);
        return;
    }
    fdc_set_irq(f, false);
    f->phase = PHASE_EXECUTE;
    fdc_do_later(f, WORK_SECTOR_END, FDC_SECTOR_NS);
}

static void fdc_write_data(Fdc *f, u8 value) {
    if (f->phase == PHASE_DATA && !fdc_is_to_host(fdc_op(f))) {
        f->data[f->data_pos++] = value;
    } else if (f->phase == PHASE_COMMAND) {
        f->command[f->command_pos++] = value;
        const struct FdcCommand *c = fdc_find_command(f->command[0]);
        if (f->command_pos < c->bytes) return;
        c->run(f);
        return;
    } else {
        fdc_log(f, "data written when none is wanted", value);
        return;
    }
    fdc_moved_byte(f);
}

static u8 fdc_read_result(Fdc *f) {
    bool ends_data_command = f->result_bytes == 7 && !f->result_pos;
    u8 value = f->result[f->result_pos++];
    if (ends_data_command) {
        fdc_set_irq(f, false);
        if (f->sought) fdc_set_irq(f, true);
    }
    if (f->result_pos == f->result_bytes) fdc_await_command(f);
    return value;
}

static u8 fdc_read_data(Fdc *f) {
    if (f->phase == PHASE_RESULT) return fdc_read_result(f);
    if (f->phase != PHASE_DATA || !fdc_is_to_host(fdc_op(f))) {
        fdc_log(f, "data read when there is none", f->phase);
        return 0;
    }
    u8 value = f->data[f->data_pos++];
    fdc_moved_byte(f);
    return value;
}

static u8 fdc_main_status(const Fdc *f) {
    u8 drives = f->seeking;
    bool data_command = f->phase == PHASE_EXECUTE || f->phase == PHASE_DATA;
    u8 no_dma = data_command && fdc_without_dma(f) && fdc_op(f) != OP_READ_ID ? MSR_NO_DMA : 0;
    switch (f->phase) {
    case PHASE_COMMAND: return MSR_READY | drives | (f->command_pos ? MSR_BUSY : 0);
    case PHASE_EXECUTE: return MSR_BUSY | drives | no_dma;
    case PHASE_DATA:
        return MSR_READY | MSR_BUSY | drives | no_dma |
               (fdc_is_to_host(fdc_op(f)) ? MSR_TO_HOST : 0);
    case PHASE_RESULT: return MSR_READY | MSR_TO_HOST | MSR_BUSY | drives;
    default: return 0;
    }
}

static void fdc_begin_reset(Fdc *f) {
    bus_timer_stop(f->work_timer);
    bus_timer_stop(f->seek_timer);
    f->phase = PHASE_RESET;
    f->work = WORK_NONE;
    f->seeking = f->sought = f->poll_left = f->command_pos = 0;
    f->config = f->locked ? f->config & CONFIG_KEPT : CONFIG_NO_FIFO;
    if (!f->locked) f->precomp_track = 0;
    f->perpendicular &= 0x3c;
    dma_request(f->dma, FDC_DMA, false);
    fdc_set_irq(f, false);
}

static void fdc_write_dor(Fdc *f, u8 value) {
    bool ran = f->dor & DOR_RUN, runs = value & DOR_RUN;
    f->dor = value;
    if (ran && !runs) fdc_begin_reset(f);
    if (!ran && runs) fdc_do_later(f, WORK_RESET, FDC_RESET_NS);
    fdc_update_irq(f);
}

static void fdc_write_dsr(Fdc *f, u8 value) {
    f->rate = value & 3;
    if (!(value & 0x80) || !(f->dor & DOR_RUN)) return;
    fdc_begin_reset(f);
    fdc_do_later(f, WORK_RESET, FDC_RESET_NS);
}

// Status register A as on a PS/2: interrupt, no second drive, head at track 0, side, protection.
static u8 fdc_status_a(const Fdc *f) {
    unsigned drive = f->dor & DOR_DRIVE, v = 0;
    bool exists = fdc_exists(f, drive);
    if (f->pending) v |= 0x80;
    if (!fdc_exists(f, 1)) v |= 0x40;
    if (!exists || f->track[drive]) v |= 0x10;
    if (f->head) v |= 0x08;
    if (!exists || !f->disk[drive] || !disk_is_readonly(f->disk[drive])) v |= 0x02;
    return (u8)v;
}

static u8 fdc_status_b(const Fdc *f) { return (u8)(0xc0 | (f->dor & 1) << 5 | (f->dor >> 4 & 3)); }

static u8 fdc_digital_input(const Fdc *f) {
    unsigned drive = f->dor & DOR_DRIVE;
    return fdc_exists(f, drive) && (!f->disk[drive] || f->changed[drive]) ? 0x80 : 0;
}

static u32 fdc_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    Fdc *f = self;
    switch (port & 7) {
    case 0: return fdc_status_a(f);
    case 1: return fdc_status_b(f);
    case 2: return f->dor;
    case 3: return 0xfc | f->tape;
    case 4: return fdc_main_status(f);
    case 5: return fdc_read_data(f);
    default: return fdc_digital_input(f);
    }
}

static void fdc_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    Fdc *f = self;
    switch (port & 7) {
    case 2: fdc_write_dor(f, (u8)value); break;
    case 3: f->tape = value & 3; break;
    case 4: fdc_write_dsr(f, (u8)value); break;
    case 5: fdc_write_data(f, (u8)value); break;
    case 7: f->rate = value & 3; break;
    default: break;                                  // the status registers are read-only
    }
}

// ---- media --------------------------------------------------------------------------------------
// Can a drive of this CMOS type take a medium made for that one?
static bool fdc_drive_takes(u8 drive_type, u8 medium_type) {
    static const u8 takes[6] = { 0, BIT(1), BIT(1) | BIT(2), BIT(3), BIT(3) | BIT(4),
                                 BIT(3) | BIT(4) | BIT(5) };
    return takes[drive_type] >> medium_type & 1;
}

Disk *fdc_insert(Fdc *f, unsigned drive, Disk *disk) {
    require(drive < FDC_DRIVES && disk);
    Disk *old = fdc_eject(f, drive);
    const DiskFloppy *format = disk_fit_floppy(disk);
    f->disk[drive] = disk;
    f->format[drive] = format;
    if (!format) {
        if (!f->type[drive]) f->type[drive] = 4;
        return old;
    }
    if (!f->typed[drive] || !fdc_drive_takes(f->type[drive], format->cmos))
        f->type[drive] = format->cmos;
    f->typed[drive] = true;
    return old;
}

Disk *fdc_eject(Fdc *f, unsigned drive) {
    require(drive < FDC_DRIVES);
    Disk *old = f->disk[drive];
    f->disk[drive] = NULL;
    f->format[drive] = NULL;
    f->changed[drive] = true;
    return old;
}

Disk *fdc_disk(const Fdc *f, unsigned drive) { return drive < FDC_DRIVES ? f->disk[drive] : NULL; }

u8 fdc_cmos_type(const Fdc *f, unsigned drive) {
    return drive < FDC_DRIVES ? f->type[drive] : 0;
}

// ---- life ---------------------------------------------------------------------------------------
// A loaded state may come from a damaged file: what indexes an array must be in range.
static void fdc_loaded(void *self) {
    Fdc *f = self;
    u32 command_room = sizeof(f->command) - (f->phase == PHASE_COMMAND);
    f->command_pos = (u8)min_u32(f->command_pos, command_room);
    f->result_bytes = (u8)min_u32(f->result_bytes, sizeof(f->result));
    if (f->phase == PHASE_RESULT && f->result_pos >= f->result_bytes) fdc_await_command(f);
    f->data_pos = (u16)min_u32(f->data_pos, fdc_unit_bytes(f) - (f->phase == PHASE_DATA));
    f->head &= 1;
    f->poll_left = (u8)min_u32(f->poll_left, 4);
    f->seeking &= 15;
    f->sought &= 15;
    fdc_update_irq(f);
}

static void fdc_info(void *self, FILE *out) {
    static const char *const names[6] = { "no drive", "360K", "1.2M", "720K", "1.44M", "2.88M" };
    const Fdc *f = self;
    for (unsigned d = 0; d < FDC_DRIVES; d++) {
        fprintf(out, "floppy%u: %s drive", d, names[f->type[d]]);
        if (f->disk[d])
            fprintf(out, ", %s medium%s: %s", f->format[d] ? f->format[d]->name : "unreadable",
                    disk_is_readonly(f->disk[d]) ? " (write-protected)" : "",
                    disk_name(f->disk[d]));
        fputc('\n', out);
    }
}

static const DeviceClass fdc_class = {
    "fdc", fdc_fields, ARRAY_LEN(fdc_fields), fdc_loaded, fdc_loaded, fdc_info,
};

Fdc *fdc_new(Bus *bus, Dma *dma, Wire irq6) {
    Fdc *f = mem_new(sizeof(*f));
    *f = (Fdc){ .bus = bus, .dma = dma, .irq = irq6, .type = { 4, 0 }, .changed = { true, true },
                .rate = 2, .config = CONFIG_NO_FIFO };
    f->work_timer = bus_timer_new(bus, "fdc", fdc_work, f);
    f->seek_timer = bus_timer_new(bus, "fdc seek", fdc_seek_done, f);
    device_add(bus, &fdc_class, NULL, f);
    BusPort ports = { "fdc", f, 1, fdc_in, fdc_out };
    bus_map_ports(bus, 0x3f0, 6, &ports);
    bus_map_ports(bus, 0x3f7, 1, &ports);
    return f;
}

void fdc_free(Fdc *f) { free(f); }
