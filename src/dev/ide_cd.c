// SPDX-License-Identifier: MIT
// A CD drive on the ATA cable (ATA/ATAPI-6, chapter 9.8): PACKET, its phases, and the few commands
// that are not packets. What the packets mean is cd.c's.
//
// The interrupt reason (in the sector count register) names the phase:
//     1  the drive wants the packet       0  wants data
//     2  has data, as many bytes as the cylinder registers say       3  the command has ended
//
// Rules
//  1. PHASE_IN: data[data_pos .. held) is what the host has not taken of the piece that
//     cd_command() or cd_more() gave; when it is taken, the next piece is asked for.
//  2. A block at the data port is even in size unless it is the last, and at most `limit` bytes.
#include "dev/ide_int.h"

#include <string.h>

typedef enum IdePhase { PHASE_NONE, PHASE_PACKET, PHASE_IN, PHASE_OUT } IdePhase;
enum { REASON_PACKET = 1, REASON_IN = 2, REASON_OUT = 0, REASON_END = 3 };

static Cd *ide_active_cd(const Ide *ide) { return ide->cd[ide->active]; }

// ---- the data phase -----------------------------------------------------------------------------
static void ide_cd_report(Ide *ide, u8 reason, u32 bytes) {
    u8 *r = ide_regs(ide);
    r[REG_COUNT] = reason;
    r[REG_MID] = (u8)bytes;
    r[REG_HIGH] = (u8)(bytes >> 8);
}

static void ide_cd_end(Ide *ide, CdResult result) {
    u8 key = cd_sense_key(ide_active_cd(ide));
    bool aborted = key == 5 || key == 11;      // illegal request, aborted command
    ide_regs(ide)[REG_COUNT] = REASON_END;
    if (result == CD_DONE) ide_done(ide);
    else ide_fail(ide, (u8)(key << 4 | (aborted ? ERROR_ABORT : 0)), 0);
}

static u32 ide_cd_block_bytes(const Ide *ide) {
    u32 rest = ide->held - ide->data_pos, bytes = min_u32(rest, ide->limit);
    return bytes < rest ? bytes & ~1u : bytes;
}

// Goes on with what the drive says: a piece of data, or the end.
static void ide_cd_go_on(Ide *ide, CdResult result, u32 bytes) {
    ide->data_pos = 0;
    ide->held = bytes;
    ide->phase = result == CD_OUT ? PHASE_OUT : PHASE_IN;
    if (result == CD_DONE || result == CD_CHECK) ide_cd_end(ide, result);
}

static void ide_cd_more(Ide *ide) {
    u32 bytes = 0;
    CdResult result = cd_more(ide_active_cd(ide), ide->data, IDE_BUFFER_BYTES, &bytes);
    ide_cd_go_on(ide, result, bytes);
}

static void ide_cd_take(Ide *ide) {
    ide_cd_end(ide, cd_take(ide_active_cd(ide), ide->data, ide->held));
}

static void ide_cd_dma(Ide *ide) {
    for (unsigned i = 0; i < IDE_DMA_BURST; i++) {
        if (!ide_move_dma(ide, ide->phase == PHASE_IN)) return;
        if (ide->phase == PHASE_OUT) ide_cd_take(ide);
        else ide_cd_more(ide);
        if (ide->phase == PHASE_NONE) return;
    }
    ide_do_later(ide, TODO_DMA, IDE_DELAY_NS);
}

// The next block of the data phase goes to the port, with an interrupt.
static void ide_cd_pio(Ide *ide) {
    if (ide->data_pos == ide->held) ide_cd_more(ide);
    if (ide->phase == PHASE_NONE) return;
    u32 bytes = ide_cd_block_bytes(ide);
    bool out = ide->phase == PHASE_OUT;
    ide_cd_report(ide, out ? REASON_OUT : REASON_IN, bytes);
    if (!out) {
        ide_offer_block(ide, bytes);
        return;
    }
    ide_want_block(ide, bytes);
    ide_set_pending(ide, ide->active, true);
}

void ide_cd_next(Ide *ide) {
    if (ide->phase != PHASE_IN && ide->phase != PHASE_OUT) return;
    (ide->dma ? ide_cd_dma : ide_cd_pio)(ide);
}

// ---- PACKET -------------------------------------------------------------------------------------
static void ide_run_packet(Ide *ide, const IdeCommand *c) {
    (void)c;
    const u8 *r = ide_regs(ide);
    u32 limit = r[REG_MID] | (u32)r[REG_HIGH] << 8;
    ide_end_transfer(ide);
    ide->phase = PHASE_PACKET;
    ide->dma = r[REG_FEATURES] & 1;
    ide->limit = (u16)(limit < 2 || limit == 0xffff ? 0xfffe : limit);
    ide_regs(ide)[REG_COUNT] = REASON_PACKET;
    ide_want_block(ide, IDE_PACKET_BYTES);
}

static void ide_cd_start(Ide *ide) {
    u8 packet[IDE_PACKET_BYTES];
    u32 bytes = 0;
    memcpy(packet, ide->data, sizeof(packet));
    CdResult result = cd_command(ide_active_cd(ide), packet, ide->data, IDE_BUFFER_BYTES, &bytes);
    ide_cd_go_on(ide, result, bytes);
    ide_cd_next(ide);
}

void ide_cd_given(Ide *ide) {
    if (ide->phase == PHASE_PACKET) ide_cd_start(ide);
    else if (ide->phase != PHASE_OUT) return;
    else if (ide->data_pos == ide->held) ide_cd_take(ide);
    else ide_cd_next(ide);
}

// ---- other commands -----------------------------------------------------------------------------
static void ide_run_identify_packet(Ide *ide, const IdeCommand *c) {
    (void)c;
    unsigned u = ide->active;
    u8 id[DISK_SECTOR_BYTES] = { 0 };
    // A CD-ROM drive with a removable disc; DRQ within 50 us of PACKET; packets of 12 bytes.
    ide_put_word(id, 0, 0x85c0);
    ide_put_names(ide, u, id, "GLASSBOX CD-ROM");
    ide_put_word(id, 49, 0x0b00);                             // LBA, DMA, IORDY
    ide_put_modes(ide, u, id);
    ide_put_word(id, 80, 0x0070);                             // ATA/ATAPI-4 to -6
    ide_put_word(id, 81, 0x0019);
    ide_put_word(id, 82, 0x0218);              // DEVICE RESET, packets, power
    ide_put_word(id, 83, 0x4000);
    ide_put_word(id, 84, 0x4000);
    ide_put_word(id, 85, 0x0218);
    ide_put_word(id, 87, 0x4000);
    ide_offer_identity(ide, id);
}

// Hard disk commands: refused, with the signature that says what is here.
static void ide_run_not_disk(Ide *ide, const IdeCommand *c) {
    (void)c;
    ide_put_signature(ide, ide->active);
    ide_abort(ide);
}

void ide_cd_reset(Ide *ide, unsigned unit) {
    if (ide->active == unit) {
        bus_timer_stop(ide->timer);
        ide->todo = TODO_NONE;
        ide_end_transfer(ide);
    }
    cd_reset(ide->cd[unit]);
    ide->power[unit] = POWER_ACTIVE;
    ide_put_signature(ide, unit);
    ide->error[unit] = 1;
    ide->status[unit] = 0;
    ide_set_pending(ide, unit, false);
}

static const IdeCommand ide_cd_commands[] = {
    { 0x20, 0x21, 0, ide_run_not_disk },                      // READ SECTORS
    { 0x90, 0x90, 0, ide_run_diagnostic },
    { 0xa0, 0xa0, IDE_AT_ONCE | IDE_MEDIUM, ide_run_packet },
    { 0xa1, 0xa1, 0, ide_run_identify_packet },
    { 0xe0, 0xe0, 0, ide_run_standby },
    { 0xe1, 0xe1, 0, ide_run_idle },
    { 0xe2, 0xe2, 0, ide_run_standby },
    { 0xe3, 0xe3, 0, ide_run_idle },
    { 0xe5, 0xe5, 0, ide_run_check_power },
    { 0xe6, 0xe6, 0, ide_run_sleep },
    { 0xec, 0xec, 0, ide_run_not_disk },                      // IDENTIFY DEVICE
    { 0xef, 0xef, 0, ide_run_set_features },
    { 0x00, 0xff, 0, ide_run_abort },
};

const IdeCommand *ide_cd_command(u8 opcode) { return ide_find_in(ide_cd_commands, opcode); }
