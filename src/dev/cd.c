// SPDX-License-Identifier: MIT
// The commands of a CD-ROM drive (INF-8090, MMC-3, SPC-2). The disc has one session with one data
// track (mode 1), from block 0 to its end.
//
// Rules
//  1. cd_commands[] says of each command what stands in its way (a change that was not reported
//     yet, a missing disc); its function sees commands that nothing is in the way of.
//  2. Answers are made in the caller's buffer and cut to the allocation length in one place.
//  3. The disc can go away between any two calls: whoever reads it looks first.
//  4. At reset nothing is to be reported as changed: on a real machine its firmware has had that.
#include "dev/cd.h"

#include "bus/device.h"
#include "dev/cdsector.h"
#include <stdlib.h>
#include <string.h>

#define SECTORS_PER_BLOCK (CD_SECTOR_BYTES / DISK_SECTOR_BYTES)
#define CD_ROM_MAX_BLOCKS 449999u              // 99:59:74; a larger disc is a DVD
#define FRAMES_PER_SECOND 75u
#define PREGAP 150u                            // block 0 is at 00:02:00
#define LEAD_OUT 0xaau
#define PARAMETERS_BYTES 512u                  // longest parameter list taken

typedef enum CdKey {
    KEY_NONE = 0, KEY_NOT_READY = 2, KEY_MEDIUM_ERROR = 3, KEY_ILLEGAL = 5, KEY_ATTENTION = 6
} CdKey;

// Additional sense code and qualifier.
enum {
    ASC_UNREADABLE = 0x1100, ASC_LIST_LENGTH = 0x1a00, ASC_OPCODE = 0x2000, ASC_RANGE = 0x2100,
    ASC_FIELD = 0x2400, ASC_PARAMETER = 0x2600, ASC_CHANGED = 0x2800, ASC_NO_SAVING = 0x3900,
    ASC_NO_DISC = 0x3a01, ASC_TRAY_OPEN = 0x3a02, ASC_LOCKED = 0x5302, ASC_TRACK_MODE = 0x6400,
};

typedef enum CdEvent { EVENT_NONE, EVENT_EJECT_REQUEST, EVENT_NEW, EVENT_REMOVED } CdEvent;
enum { PROFILE_CD = 0x08, PROFILE_DVD = 0x10 };

struct Cd {
    Bus *bus;
    const char *name;
    Disk *disc;                // NULL: none
    bool open, locked;
    u8 key;                    // sense of the last command that failed
    u16 asc;
    u16 attention;             // change to report: its ASC; 0: none
    u8 event;                  // CdEvent not yet asked for
    u8 opcode;                 // command that data come for
    // Reading
    u32 block, left;           // next, and how many
    u8 parts;                  // CDSECTOR_*: what is sent of each
};

static const Field cd_fields[] = {
    FIELD(Cd, open, FIELD_BOOL | FIELD_KEPT, 0),
    FIELD(Cd, locked, FIELD_BOOL, 0),
    FIELD(Cd, key, FIELD_UINT, 0),
    FIELD(Cd, asc, FIELD_UINT, 0),
    FIELD(Cd, attention, FIELD_UINT, 0),
    FIELD(Cd, event, FIELD_UINT, 0),
    FIELD(Cd, opcode, FIELD_UINT, 0),
    FIELD(Cd, block, FIELD_UINT, 0),
    FIELD(Cd, left, FIELD_UINT, 0),
    FIELD(Cd, parts, FIELD_UINT, CDSECTOR_USER),
};

typedef struct CdCall {        // one command while it runs
    Cd *cd;
    const u8 *packet;
    u8 *data;
    u32 room, bytes;           // the caller's buffer; what of it is used
} CdCall;

// ---- small things -------------------------------------------------------------------------------
static u32 cd_be(const u8 *p, unsigned bytes) {
    u32 v = 0;
    for (unsigned i = 0; i < bytes; i++) v = v << 8 | p[i];
    return v;
}

static void cd_put_be(u8 *p, unsigned bytes, u32 v) {
    for (unsigned i = bytes; i-- > 0; v >>= 8) p[i] = (u8)v;
}

static CdResult cd_check(Cd *cd, CdKey key, u16 asc) {
    cd->key = (u8)key;
    cd->asc = asc;
    cd->left = 0;
    return CD_CHECK;
}

// Tells of a change, once.
static CdResult cd_attention(Cd *cd) {
    u16 asc = cd->attention;
    cd->attention = 0;
    return cd_check(cd, KEY_ATTENTION, asc);
}

static CdResult cd_not_ready(Cd *cd) {
    return cd_check(cd, KEY_NOT_READY, cd->open ? ASC_TRAY_OPEN : ASC_NO_DISC);
}

static CdResult cd_bad_field(CdCall *c) { return cd_check(c->cd, KEY_ILLEGAL, ASC_FIELD); }

static bool cd_has_disc(const Cd *cd) { return cd->disc && !cd->open; }

static u32 cd_blocks(const Cd *cd) {
    if (!cd->disc) return 0;
    u64 blocks = (disk_sectors(cd->disc) + SECTORS_PER_BLOCK - 1) / SECTORS_PER_BLOCK;
    return (u32)min_u64(blocks, 0xfffffffe);
}

static bool cd_is_dvd(const Cd *cd) { return cd_blocks(cd) > CD_ROM_MAX_BLOCKS; }

static u32 cd_profile(const Cd *cd) {
    if (!cd_has_disc(cd)) return 0;
    return cd_is_dvd(cd) ? PROFILE_DVD : PROFILE_CD;
}

// A block's address as 4 bytes: plain, or minute, second and frame.
static void cd_put_address(u8 *p, u32 block, bool msf) {
    if (!msf) {
        cd_put_be(p, 4, block);
        return;
    }
    u32 frames = block + PREGAP;
    p[0] = 0;
    p[1] = (u8)min_u32(frames / FRAMES_PER_SECOND / 60, 255);
    p[2] = (u8)(frames / FRAMES_PER_SECOND % 60);
    p[3] = (u8)(frames % FRAMES_PER_SECOND);
}

// The answer's `bytes` lie in the buffer; the host wants `allocation` of them at most.
static CdResult cd_reply(CdCall *c, u32 bytes, u32 allocation) {
    c->bytes = min_u32(bytes, allocation);
    return c->bytes ? CD_IN : CD_DONE;
}

// ---- reading ------------------------------------------------------------------------------------
// Blocks past the image's last sector end with zeros.
static int cd_read_block(Cd *cd, u32 block, u8 *to) {
    u64 first = (u64)block * SECTORS_PER_BLOCK, sectors = disk_sectors(cd->disc);
    u32 there = (u32)min_u64(SECTORS_PER_BLOCK, sectors - first);
    memset(to + there * DISK_SECTOR_BYTES, 0, CD_SECTOR_BYTES - there * DISK_SECTOR_BYTES);
    return disk_read(cd->disc, first, there, to);
}

// As many plain blocks as there are, in one go. 0: it did not work out, one by one will tell.
static u32 cd_read_plain(Cd *cd, u8 *data, u32 wanted) {
    u64 first = (u64)cd->block * SECTORS_PER_BLOCK;
    u32 whole = (u32)min_u64(wanted, (disk_sectors(cd->disc) - first) / SECTORS_PER_BLOCK);
    if (!whole || disk_read(cd->disc, first, whole * SECTORS_PER_BLOCK, data)) return 0;
    return whole;
}

static u32 cd_read_one_by_one(Cd *cd, u8 *data, u32 wanted) {
    u8 block[CD_SECTOR_BYTES];
    u32 good = 0;
    for (; good < wanted; good++) {
        if (cd_read_block(cd, cd->block + good, block)) break;
        data += cdsector_make(cd->block + good, block, cd->parts, data);
    }
    return good;
}

// The next blocks of a read. At its end CD_DONE.
static CdResult cd_read_on(CdCall *c) {
    Cd *cd = c->cd;
    u32 size = cdsector_bytes(cd->parts), good = 0;
    if (!cd->left || !size) return CD_DONE;
    if (cd->attention) return cd_attention(cd);
    if (!cd_has_disc(cd)) return cd_not_ready(cd);
    if (cd->block >= cd_blocks(cd)) return cd_check(cd, KEY_ILLEGAL, ASC_RANGE);
    u32 wanted = min_u32(min_u32(cd->left, c->room / size), cd_blocks(cd) - cd->block);
    if (cd->parts == CDSECTOR_USER) good = cd_read_plain(cd, c->data, wanted);
    if (!good) good = cd_read_one_by_one(cd, c->data, wanted);
    if (!good) return cd_check(cd, KEY_MEDIUM_ERROR, ASC_UNREADABLE);
    cd->block += good;
    cd->left -= good;
    c->bytes = good * size;
    return CD_IN;
}

static CdResult cd_read(CdCall *c, u32 block, u32 count, u8 parts) {
    Cd *cd = c->cd;
    u32 blocks = cd_blocks(cd);
    if (block > blocks || count > blocks - block)
        return cd_check(cd, KEY_ILLEGAL, ASC_RANGE);
    cd->block = block;
    cd->left = count;
    cd->parts = parts;
    return cd_read_on(c);
}

static CdResult cd_run_read10(CdCall *c) {
    return cd_read(c, cd_be(c->packet + 2, 4), cd_be(c->packet + 7, 2), CDSECTOR_USER);
}

static CdResult cd_run_read12(CdCall *c) {
    return cd_read(c, cd_be(c->packet + 2, 4), cd_be(c->packet + 6, 4), CDSECTOR_USER);
}

// READ CD and READ CD MSF: the sector type that is expected, and which parts of sectors are wanted.
static CdResult cd_read_parts(CdCall *c, u32 block, u32 count) {
    const u8 *p = c->packet;
    unsigned type = p[1] >> 2 & 7;
    if (type != 0 && type != 2) return cd_check(c->cd, KEY_ILLEGAL, ASC_TRACK_MODE);
    if ((p[9] & 6) || (p[10] & 7)) return cd_bad_field(c);     // C2 errors, subchannels
    u8 parts = 0;
    if (p[9] & 0x80) parts |= CDSECTOR_SYNC;
    if (p[9] & 0x20) parts |= CDSECTOR_HEADER;
    if (p[9] & 0x10) parts |= CDSECTOR_USER;
    if (p[9] & 0x08) parts |= CDSECTOR_CHECK;
    return cd_read(c, block, count, parts);
}

static CdResult cd_run_read_cd(CdCall *c) {
    return cd_read_parts(c, cd_be(c->packet + 2, 4), cd_be(c->packet + 6, 3));
}

static u32 cd_msf_block(const u8 *p) {
    u32 frames = (p[0] * 60u + p[1]) * FRAMES_PER_SECOND + p[2];
    return frames < PREGAP ? 0xffffffff : frames - PREGAP;
}

static CdResult cd_run_read_cd_msf(CdCall *c) {
    u32 first = cd_msf_block(c->packet + 3), end = cd_msf_block(c->packet + 6);
    if (first == 0xffffffff || end == 0xffffffff || end < first) return cd_bad_field(c);
    return cd_read_parts(c, first, end - first);
}

static CdResult cd_run_seek(CdCall *c) {
    if (cd_be(c->packet + 2, 4) >= cd_blocks(c->cd)) return cd_check(c->cd, KEY_ILLEGAL, ASC_RANGE);
    return CD_DONE;
}

static CdResult cd_run_nothing(CdCall *c) {
    (void)c;
    return CD_DONE;
}

// PLAY AUDIO and the like.
static CdResult cd_run_play(CdCall *c) { return cd_check(c->cd, KEY_ILLEGAL, ASC_TRACK_MODE); }

// ---- what the drive and the disc are ------------------------------------------------------------
static CdResult cd_run_inquiry(CdCall *c) {
    if (c->packet[1] & 3 || c->packet[2]) return cd_bad_field(c);      // no vital product data
    memset(c->data, 0, 36);
    memcpy(c->data, "\x05\x80\0\x21\x1f", 5);                   // CD drive, removable, ATAPI
    memcpy(c->data + 8, "GLASSBOXCD-ROM          1.0 ", 28);
    return cd_reply(c, 36, cd_be(c->packet + 3, 2));
}

// Fixed format.
static CdResult cd_run_request_sense(CdCall *c) {
    Cd *cd = c->cd;
    if (!cd->key && cd->attention) cd_attention(cd);
    memset(c->data, 0, 18);
    c->data[0] = 0x70;
    c->data[2] = cd->key;
    c->data[7] = 10;
    cd_put_be(c->data + 12, 2, cd->asc);
    cd->key = KEY_NONE;
    cd->asc = 0;
    return cd_reply(c, 18, c->packet[4]);
}

static CdResult cd_run_read_capacity(CdCall *c) {
    cd_put_be(c->data, 4, cd_blocks(c->cd) - 1);
    cd_put_be(c->data + 4, 4, CD_SECTOR_BYTES);
    return cd_reply(c, 8, 8);
}

static u8 *cd_put_track(u8 *p, u8 track, u32 block, bool msf) {
    memset(p, 0, 8);
    p[1] = 0x14;                               // position in Q, data track
    p[2] = track;
    cd_put_address(p + 4, block, msf);
    return p + 8;
}

static u8 *cd_put_toc(CdCall *c, u8 *p, bool msf) {
    u8 first = c->packet[6];
    if (first <= 1) p = cd_put_track(p, 1, 0, msf);
    return cd_put_track(p, LEAD_OUT, cd_blocks(c->cd), msf);
}

// An entry of the raw TOC: `point` 1, a0 (first track), a1 (last track), a2 (lead-out).
static u8 *cd_put_raw(u8 *p, u8 point, u32 block, u8 track) {
    memset(p, 0, 11);
    p[0] = 1;                                  // session
    p[1] = 0x14;
    p[3] = point;
    if (track) p[8] = track;
    else cd_put_address(p + 7, block, true);
    return p + 11;
}

static u8 *cd_put_raw_toc(CdCall *c, u8 *p) {
    p = cd_put_raw(p, 0xa0, 0, 1);
    p = cd_put_raw(p, 0xa1, 0, 1);
    p = cd_put_raw(p, 0xa2, cd_blocks(c->cd), 0);
    return cd_put_raw(p, 1, 0, 0);
}

static CdResult cd_run_read_toc(CdCall *c) {
    bool msf = c->packet[1] & 2;
    unsigned format = c->packet[2] & 15, first = c->packet[6];
    u8 *p = c->data + 4;
    if (!format) format = c->packet[9] >> 6;   // where SFF-8020 had it
    if (format > 2 || (format == 0 && first > 1 && first != LEAD_OUT)) return cd_bad_field(c);
    if (format == 0) p = cd_put_toc(c, p, msf);
    else if (format == 1) p = cd_put_track(p, 1, 0, msf);      // the last session's first track
    else p = cd_put_raw_toc(c, p);
    cd_put_be(c->data, 2, (u32)(p - c->data) - 2);
    c->data[2] = c->data[3] = 1;               // first and last track (session)
    return cd_reply(c, (u32)(p - c->data), cd_be(c->packet + 7, 2));
}

static CdResult cd_run_read_header(CdCall *c) {
    u32 block = cd_be(c->packet + 2, 4);
    if (block >= cd_blocks(c->cd)) return cd_check(c->cd, KEY_ILLEGAL, ASC_RANGE);
    memset(c->data, 0, 8);
    c->data[0] = 1;                            // mode 1
    cd_put_address(c->data + 4, block, c->packet[1] & 2);
    return cd_reply(c, 8, cd_be(c->packet + 7, 2));
}

static CdResult cd_run_read_subchannel(CdCall *c) {
    bool msf = c->packet[1] & 2, wanted = c->packet[2] & 0x40;
    unsigned format = c->packet[3], bytes = wanted ? format == 1 ? 12 : 20 : 0;
    if (wanted && (format < 1 || format > 3)) return cd_bad_field(c);
    memset(c->data, 0, 24);
    c->data[1] = 0x15;                         // nothing is being played
    cd_put_be(c->data + 2, 2, bytes);
    c->data[4] = (u8)format;
    if (format == 1) {
        c->data[5] = 0x14, c->data[6] = c->data[7] = 1;        // data track 1, index 1
        cd_put_address(c->data + 8, c->cd->block, msf);
        cd_put_address(c->data + 12, c->cd->block, msf);
    } else if (format == 3) {
        c->data[5] = 0x14, c->data[6] = 1;                     // no catalogue or recording code
    }
    return cd_reply(c, 4 + bytes, cd_be(c->packet + 7, 2));
}

static CdResult cd_run_disc_information(CdCall *c) {
    if (c->packet[1] & 7) return cd_bad_field(c);
    memset(c->data, 0, 34);
    c->data[1] = 32;
    c->data[2] = 0x0e;                         // complete, and its last session is
    c->data[3] = c->data[4] = c->data[5] = c->data[6] = 1;     // first track, sessions, tracks
    c->data[7] = 0x20;                         // unrestricted use
    memset(c->data + 16, 0xff, 8);             // nothing can be written
    return cd_reply(c, 34, cd_be(c->packet + 7, 2));
}

static CdResult cd_run_track_information(CdCall *c) {
    u32 which = cd_be(c->packet + 2, 4), blocks = cd_blocks(c->cd);
    unsigned kind = c->packet[1] & 3;          // 0 a block's, 1 a track, 2 a session's
    bool there = kind == 0 ? which < blocks : kind < 3 && which == 1;
    if (!there) return cd_bad_field(c);
    memset(c->data, 0, 36);
    cd_put_be(c->data, 2, 34);
    c->data[2] = c->data[3] = 1;               // track, session
    c->data[5] = 4;                            // data
    c->data[6] = 1;                            // mode 1
    cd_put_be(c->data + 24, 4, blocks);
    return cd_reply(c, 36, cd_be(c->packet + 7, 2));
}

// Formats 0 (physical format) and 1 (copyright), of DVDs alone.
static CdResult cd_run_dvd_structure(CdCall *c) {
    unsigned format = c->packet[7];
    u32 bytes = format ? 8 : 2052;
    if (!cd_is_dvd(c->cd) || format > 1 || c->packet[6]) return cd_bad_field(c);
    memset(c->data, 0, bytes);
    cd_put_be(c->data, 2, bytes - 2);
    if (!format) {
        u32 last = 0x30000 + cd_blocks(c->cd) - 1;
        memcpy(c->data + 4, "\x01\x0f\x01\x00", 4);            // DVD-ROM, 120 mm, one layer
        cd_put_be(c->data + 9, 3, 0x30000);                    // the data area's first sector
        cd_put_be(c->data + 13, 3, min_u32(last, 0xffffff));
    }
    return cd_reply(c, bytes, cd_be(c->packet + 8, 2));
}

static u8 *cd_put_feature(u8 *p, u16 number, bool persistent, bool current, const void *data,
                          u8 bytes) {
    cd_put_be(p, 2, number);
    p[2] = (u8)((persistent ? 2 : 0) | (current ? 1 : 0));
    p[3] = bytes;
    if (bytes) memcpy(p + 4, data, bytes);
    return p + 4 + bytes;
}

// All features or one, from `first` on.
static u8 *cd_put_features(const Cd *cd, u8 *p, u32 first, unsigned kind) {
    u32 profile = cd_profile(cd);
    bool disc = profile != 0, dvd = profile == PROFILE_DVD;
    const u8 profiles[8] = { 0, PROFILE_DVD, dvd, 0, 0, PROFILE_CD, disc && !dvd, 0 };
    const struct { u16 number; bool persistent, current; const void *data; u8 bytes; } rows[] = {
        { 0x0000, true, true, profiles, 8 },
        { 0x0001, true, true, "\0\0\0\2", 4 },                 // core: ATAPI
        { 0x0002, true, true, "\2\0\0\0", 4 },                 // morphing: events
        { 0x0003, true, true, "\x29\0\0\0", 4 },               // tray, eject, lock
        { 0x0010, false, disc, "\0\0\x08\0\0\1\0\0", 8 },      // blocks of 2048
        { 0x001d, false, disc, "", 0 },                        // multi-read
        { 0x001e, false, disc && !dvd, "\0\0\0\0", 4 },        // CD
        { 0x001f, false, dvd, "\0\0\0\0", 4 },                 // DVD
        { 0x0100, true, true, "", 0 },                         // power management
        { 0x0105, true, true, "", 0 },                         // timeouts
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        bool wanted = kind == 2 ? rows[i].number == first : rows[i].number >= first;
        if (!wanted || (kind == 1 && !rows[i].current)) continue;
        p = cd_put_feature(p, rows[i].number, rows[i].persistent, rows[i].current, rows[i].data,
                           rows[i].bytes);
    }
    return p;
}

static CdResult cd_run_configuration(CdCall *c) {
    unsigned kind = c->packet[1] & 3;
    if (kind == 3) return cd_bad_field(c);
    memset(c->data, 0, 8);
    cd_put_be(c->data + 6, 2, cd_profile(c->cd));
    u8 *end = cd_put_features(c->cd, c->data + 8, cd_be(c->packet + 2, 2), kind);
    u32 bytes = (u32)(end - c->data);
    cd_put_be(c->data, 4, bytes - 4);
    return cd_reply(c, bytes, cd_be(c->packet + 7, 2));
}

static CdResult cd_run_event_status(CdCall *c) {
    enum { CLASS_MEDIA = 4 };
    Cd *cd = c->cd;
    if (!(c->packet[1] & 1)) return cd_bad_field(c);           // no waiting for events
    bool media = c->packet[4] & BIT(CLASS_MEDIA);
    u32 bytes = media ? 8 : 4, allocation = cd_be(c->packet + 7, 2);
    memset(c->data, 0, 8);
    cd_put_be(c->data, 2, bytes - 2);
    c->data[2] = media ? CLASS_MEDIA : 0x80;                   // 80: no such event
    c->data[3] = BIT(CLASS_MEDIA);
    if (media) {
        c->data[4] = cd->event;
        c->data[5] = (u8)((cd->open ? 1 : 0) | (cd_has_disc(cd) ? 2 : 0));
    }
    if (media && allocation >= bytes) cd->event = EVENT_NONE;
    return cd_reply(c, bytes, allocation);
}

static CdResult cd_run_mechanism(CdCall *c) {
    memset(c->data, 0, 8);
    c->data[1] = c->cd->open ? 0x10 : 0;
    cd_put_be(c->data + 2, 3, c->cd->block);
    return cd_reply(c, 8, cd_be(c->packet + 8, 2));
}

// ---- the tray -----------------------------------------------------------------------------------
static void cd_close_tray(Cd *cd) {
    if (!cd->open) return;
    cd->open = false;
    if (!cd->disc) return;
    cd->attention = ASC_CHANGED;
    cd->event = EVENT_NEW;
}

static void cd_open_tray(Cd *cd) {
    if (cd->open) return;
    cd->open = true;
    cd->attention = 0;
    cd->event = EVENT_REMOVED;
}

static CdResult cd_run_start_stop(CdCall *c) {
    Cd *cd = c->cd;
    bool load_eject = c->packet[4] & 2, start = c->packet[4] & 1;
    if (c->packet[4] >> 4 || !load_eject) return CD_DONE;      // power; spinning up and down
    if (!start && cd->locked && !cd->open)
        return cd_check(cd, cd->disc ? KEY_ILLEGAL : KEY_NOT_READY, ASC_LOCKED);
    (start ? cd_close_tray : cd_open_tray)(cd);
    return CD_DONE;
}

static CdResult cd_run_prevent(CdCall *c) {
    c->cd->locked = c->packet[4] & 1;
    return CD_DONE;
}

// ---- mode pages ---------------------------------------------------------------------------------
typedef struct CdPage { u8 code, bytes; const char *data; } CdPage;

static const CdPage cd_pages[] = {             // ORDER: by code
    { 0x01, 6, "\0\5\0\0\0\0" },                               // read errors: 5 retries
    { 0x0d, 6, "\0\0\0\x3c\0\x4b" },                           // 60 seconds, 75 frames
    { 0x0e, 14, "\4\0\0\0\0\x4b\1\xff\2\xff\0\0\0\0" },        // audio: two ports, full volume
    { 0x1a, 10, "\0\0\0\0\0\0\0\0\0\0" },                      // power conditions: none
    // Reads CD-R(W), DVD-ROM; mode 2, sessions; exact, tray with eject and lock; 4 Mbyte/s.
    { 0x2a, 20, "\x0b\0\x70\0\x29\0\x10\x89\0\0\2\0\x10\x89\0\0\0\0\0\0" },
};

// The page's values; `control` 1: which of them can be changed (none), 2: default values.
static u8 *cd_put_page(const Cd *cd, const CdPage *page, unsigned control, u8 *p) {
    p[0] = page->code;
    p[1] = page->bytes;
    memset(p + 2, 0, page->bytes);
    if (control != 1) memcpy(p + 2, page->data, page->bytes);
    if (page->code == 0x2a && control != 1 && cd->locked) p[6] |= 2;
    return p + 2 + page->bytes;
}

static CdResult cd_mode_sense(CdCall *c, u32 header, u32 allocation) {
    unsigned code = c->packet[2] & 0x3f, control = c->packet[2] >> 6;
    u8 *p = c->data + header;
    if (control == 3) return cd_check(c->cd, KEY_ILLEGAL, ASC_NO_SAVING);
    for (unsigned i = 0; i < ARRAY_LEN(cd_pages); i++)
        if (code == 0x3f || code == cd_pages[i].code)
            p = cd_put_page(c->cd, &cd_pages[i], control, p);
    u32 bytes = (u32)(p - c->data);
    if (bytes == header) return cd_bad_field(c);
    memset(c->data, 0, header);
    u8 medium = c->cd->open ? 0x71 : cd_has_disc(c->cd) ? 0x01 : 0x70;
    if (header == 4) c->data[0] = (u8)(bytes - 1), c->data[1] = medium;
    else cd_put_be(c->data, 2, bytes - 2), c->data[2] = medium;
    return cd_reply(c, bytes, allocation);
}

static CdResult cd_run_mode_sense6(CdCall *c) { return cd_mode_sense(c, 4, c->packet[4]); }

static CdResult cd_run_mode_sense10(CdCall *c) {
    return cd_mode_sense(c, 8, cd_be(c->packet + 7, 2));
}

static CdResult cd_run_mode_select(CdCall *c) {
    bool ten = c->packet[0] == 0x55;
    c->bytes = ten ? cd_be(c->packet + 7, 2) : c->packet[4];
    if (c->packet[1] & 1) return cd_bad_field(c);              // no saving
    if (c->bytes > min_u32(c->room, PARAMETERS_BYTES))
        return cd_check(c->cd, KEY_ILLEGAL, ASC_LIST_LENGTH);
    return c->bytes ? CD_OUT : CD_DONE;
}

// Nothing can be changed: pages are taken if they are well-formed and known.
static CdResult cd_take_pages(Cd *cd, const u8 *data, u32 bytes, u32 header) {
    u32 at = header;
    if (bytes < header) return cd_check(cd, KEY_ILLEGAL, ASC_LIST_LENGTH);
    while (at < bytes) {
        const CdPage *page = NULL;
        for (unsigned i = 0; i < ARRAY_LEN(cd_pages); i++)
            if ((data[at] & 0x3f) == cd_pages[i].code) page = &cd_pages[i];
        if (!page) return cd_check(cd, KEY_ILLEGAL, ASC_PARAMETER);
        if (at + 2 > bytes || at + 2 + data[at + 1] > bytes)
            return cd_check(cd, KEY_ILLEGAL, ASC_LIST_LENGTH);
        at += 2u + data[at + 1];
    }
    return CD_DONE;
}

CdResult cd_take(Cd *cd, const u8 *data, u32 bytes) {
    return cd_take_pages(cd, data, bytes, cd->opcode == 0x55 ? 8 : 4);
}

// ---- dispatch -----------------------------------------------------------------------------------
enum { NEEDS_DISC = 1, IGNORES_ATTENTION = 2 };

static const struct CdCommand {
    u8 opcode, flags;
    CdResult (*run)(CdCall *c);
} cd_commands[] = {
    { 0x00, NEEDS_DISC, cd_run_nothing },                      // TEST UNIT READY
    { 0x03, IGNORES_ATTENTION, cd_run_request_sense },
    { 0x12, IGNORES_ATTENTION, cd_run_inquiry },
    { 0x15, 0, cd_run_mode_select },
    { 0x1a, 0, cd_run_mode_sense6 },
    { 0x1b, 0, cd_run_start_stop },
    { 0x1e, 0, cd_run_prevent },
    { 0x25, NEEDS_DISC, cd_run_read_capacity },
    { 0x28, NEEDS_DISC, cd_run_read10 },
    { 0x2b, NEEDS_DISC, cd_run_seek },
    { 0x2f, NEEDS_DISC, cd_run_nothing },                      // VERIFY
    { 0x35, 0, cd_run_nothing },                               // SYNCHRONIZE CACHE
    { 0x42, NEEDS_DISC, cd_run_read_subchannel },
    { 0x43, NEEDS_DISC, cd_run_read_toc },
    { 0x44, NEEDS_DISC, cd_run_read_header },
    { 0x45, NEEDS_DISC, cd_run_play },
    { 0x46, IGNORES_ATTENTION, cd_run_configuration },
    { 0x47, NEEDS_DISC, cd_run_play },
    { 0x4a, IGNORES_ATTENTION, cd_run_event_status },
    { 0x4b, NEEDS_DISC, cd_run_play },                         // PAUSE/RESUME
    { 0x4e, 0, cd_run_nothing },                               // STOP PLAY
    { 0x51, NEEDS_DISC, cd_run_disc_information },
    { 0x52, NEEDS_DISC, cd_run_track_information },
    { 0x55, 0, cd_run_mode_select },
    { 0x5a, 0, cd_run_mode_sense10 },
    { 0xa8, NEEDS_DISC, cd_run_read12 },
    { 0xad, NEEDS_DISC, cd_run_dvd_structure },
    { 0xb9, NEEDS_DISC, cd_run_read_cd_msf },
    { 0xbb, 0, cd_run_nothing },                               // SET CD SPEED
    { 0xbd, 0, cd_run_mechanism },
    { 0xbe, NEEDS_DISC, cd_run_read_cd },
};

static const struct CdCommand *cd_find_command(u8 opcode) {
    for (unsigned i = 0; i < ARRAY_LEN(cd_commands); i++)
        if (cd_commands[i].opcode == opcode) return &cd_commands[i];
    return NULL;
}

static CdResult cd_dispatch(CdCall *c) {
    const struct CdCommand *command = cd_find_command(c->packet[0]);
    unsigned flags = command ? command->flags : 0;
    if (c->cd->attention && !(flags & IGNORES_ATTENTION)) return cd_attention(c->cd);
    if (!command) return cd_check(c->cd, KEY_ILLEGAL, ASC_OPCODE);
    if ((flags & NEEDS_DISC) && !cd_has_disc(c->cd)) return cd_not_ready(c->cd);
    return command->run(c);
}

CdResult cd_command(Cd *cd, const u8 packet[12], u8 *data, u32 room, u32 *bytes) {
    CdCall c = { cd, packet, data, room, 0 };
    require(room >= CD_ROOM_BYTES);
    cd->opcode = packet[0];
    cd->left = 0;
    if (packet[0] != 0x03) cd->key = KEY_NONE, cd->asc = 0;
    CdResult result = cd_dispatch(&c);
    *bytes = result == CD_IN || result == CD_OUT ? c.bytes : 0;
    return result;
}

CdResult cd_more(Cd *cd, u8 *data, u32 room, u32 *bytes) {
    CdCall c = { cd, NULL, data, room, 0 };
    CdResult result = cd_read_on(&c);
    *bytes = result == CD_IN ? c.bytes : 0;
    return result;
}

u8 cd_sense_key(const Cd *cd) { return cd->key; }

void cd_reset(Cd *cd) {
    cd->left = 0;
    cd->locked = false;
    cd->key = KEY_NONE;
    cd->asc = 0;
}

// ---- the outside --------------------------------------------------------------------------------
Disk *cd_insert(Cd *cd, Disk *disc) {
    Disk *old = cd->disc;
    cd->disc = disc;
    cd->open = false;
    cd->attention = disc ? ASC_CHANGED : 0;
    cd->event = disc ? EVENT_NEW : EVENT_REMOVED;
    return old;
}

Disk *cd_eject(Cd *cd) {
    Disk *old = cd->disc;
    cd->disc = NULL;
    cd->locked = false;
    cd_open_tray(cd);
    return old;
}

void cd_press_eject(Cd *cd) {
    if (!cd->locked) cd_open_tray(cd);
    else cd->event = EVENT_EJECT_REQUEST;
}

Disk *cd_disc(const Cd *cd) { return cd->disc; }
bool cd_is_locked(const Cd *cd) { return cd->locked; }
bool cd_is_open(const Cd *cd) { return cd->open; }
const char *cd_name(const Cd *cd) { return cd->name; }

static void cd_loaded(void *self) {
    Cd *cd = self;
    cd->event &= 3;
    cd->parts &= CDSECTOR_ALL;
}

static void cd_info(void *self, FILE *out) {
    const Cd *cd = self;
    fprintf(out, "%s, %u blocks, tray %s%s\n", cd->disc ? disk_name(cd->disc) : "no disc",
            cd_blocks(cd), cd->open ? "open" : "closed", cd->locked ? " and locked" : "");
}

static const DeviceClass cd_class = {
    "cd", cd_fields, ARRAY_LEN(cd_fields), NULL, cd_loaded, cd_info,
};

Cd *cd_new(Bus *bus, const char *name) {
    Cd *cd = mem_new(sizeof(*cd));
    *cd = (Cd){ .bus = bus, .name = name, .parts = CDSECTOR_USER };
    device_add(bus, &cd_class, name, cd);
    return cd;
}

void cd_free(Cd *cd) { free(cd); }
