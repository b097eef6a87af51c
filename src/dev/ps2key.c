// SPDX-License-Identifier: MIT
// A PS/2 keyboard: scan-code sets 1, 2 and 3, and the commands of IBM's PS/2 Technical Reference.
//
// Rules
//  1. Keys enter as set-1 codes; every sequence is written down once, in set-1 terms (prefix, code,
//     release), and turned into the chosen set byte by byte.
//  2. Answers to commands leave before scan codes.
//  3. A make is queued only if its release and those of all keys that are down still fit: so a
//     release of a key that went down is never lost, and no sequence is ever cut.
//  4. Typematic repeat is the caller's; rate and delay are kept as programmed, for the record.
#include "dev/ps2key.h"

#include "bus/device.h"
#include "dev/kbd.h"
#include "dev/ps2queue.h"
#include <stdlib.h>
#include <string.h>

#define KEY_CODES 0x200u
#define SEQUENCE_BYTES 10u     // longest sequence of one make or release in any set

enum Ps2KeyByte { KEY_ACK = 0xfa, KEY_RESEND = 0xfe, KEY_PASSED = 0xaa, KEY_ECHO = 0xee };

struct Ps2Key {
    Bus *bus;
    void (*ready)(void *self);
    void *self;
    Ps2Queue replies;          // answers to commands
    Ps2Queue keys;             // scan codes
    u8 down[KEY_CODES / 8];    // bit per key: its make was queued, its release was not
    u8 silent[32];             // bit per set-3 code: no release is sent (commands f7..fd)
    u8 set;                    // scan-code set: 1, 2, 3
    u8 command;                // command whose argument is awaited; 0: none
    u8 leds;                   // as written by ed
    u8 typematic;              // as written by f3
    u8 last;                   // last byte sent, for fe
    bool scanning;             // f4, f5
    bool plain_print;          // Print went down without its fake shift
    bool alt_print;            // Print went down as SysRq
};

static const Field ps2key_fields[] = {
    PS2_QUEUE_FIELDS(Ps2Key, replies),
    PS2_QUEUE_FIELDS(Ps2Key, keys),
    FIELD_ARRAY(Ps2Key, down, FIELD_BYTES, 0),
    FIELD_ARRAY(Ps2Key, silent, FIELD_BYTES, 0),
    FIELD(Ps2Key, set, FIELD_UINT, 2),
    FIELD(Ps2Key, command, FIELD_UINT, 0),
    FIELD(Ps2Key, leds, FIELD_UINT, 0),
    FIELD(Ps2Key, typematic, FIELD_UINT, 0x2b),
    FIELD(Ps2Key, last, FIELD_UINT, 0),
    FIELD(Ps2Key, scanning, FIELD_BOOL, 1),
    FIELD(Ps2Key, plain_print, FIELD_BOOL, 0),
    FIELD(Ps2Key, alt_print, FIELD_BOOL, 0),
};

// Index: set-2 code; value: set-1 code (IBM AT Technical Reference, keyboard controller).
static const u8 key_set2_to_set1[0x85] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
    0x80, 0x81, 0x82, 0x41, 0x54,
};

// Index: set-1 code; value: set-3 code of the plain key.
static const u8 key_set1_to_set3[0x80] = {
    [0x01] = 0x08, [0x02] = 0x16, [0x03] = 0x1e, [0x04] = 0x26, [0x05] = 0x25, [0x06] = 0x2e,
    [0x07] = 0x36, [0x08] = 0x3d, [0x09] = 0x3e, [0x0a] = 0x46, [0x0b] = 0x45, [0x0c] = 0x4e,
    [0x0d] = 0x55, [0x0e] = 0x66, [0x0f] = 0x0d, [0x10] = 0x15, [0x11] = 0x1d, [0x12] = 0x24,
    [0x13] = 0x2d, [0x14] = 0x2c, [0x15] = 0x35, [0x16] = 0x3c, [0x17] = 0x43, [0x18] = 0x44,
    [0x19] = 0x4d, [0x1a] = 0x54, [0x1b] = 0x5b, [0x1c] = 0x5a, [0x1d] = 0x11, [0x1e] = 0x1c,
    [0x1f] = 0x1b, [0x20] = 0x23, [0x21] = 0x2b, [0x22] = 0x34, [0x23] = 0x33, [0x24] = 0x3b,
    [0x25] = 0x42, [0x26] = 0x4b, [0x27] = 0x4c, [0x28] = 0x52, [0x29] = 0x0e, [0x2a] = 0x12,
    [0x2b] = 0x5c, [0x2c] = 0x1a, [0x2d] = 0x22, [0x2e] = 0x21, [0x2f] = 0x2a, [0x30] = 0x32,
    [0x31] = 0x31, [0x32] = 0x3a, [0x33] = 0x41, [0x34] = 0x49, [0x35] = 0x4a, [0x36] = 0x59,
    [0x37] = 0x7e, [0x38] = 0x19, [0x39] = 0x29, [0x3a] = 0x14, [0x3b] = 0x07, [0x3c] = 0x0f,
    [0x3d] = 0x17, [0x3e] = 0x1f, [0x3f] = 0x27, [0x40] = 0x2f, [0x41] = 0x37, [0x42] = 0x3f,
    [0x43] = 0x47, [0x44] = 0x4f, [0x45] = 0x76, [0x46] = 0x5f, [0x47] = 0x6c, [0x48] = 0x75,
    [0x49] = 0x7d, [0x4a] = 0x84, [0x4b] = 0x6b, [0x4c] = 0x73, [0x4d] = 0x74, [0x4e] = 0x7c,
    [0x4f] = 0x69, [0x50] = 0x72, [0x51] = 0x7a, [0x52] = 0x70, [0x53] = 0x71, [0x56] = 0x13,
    [0x57] = 0x56, [0x58] = 0x5e,
};

// The same for E0-prefixed keys.
static const u8 key_e0_to_set3[0x80] = {
    [0x1c] = 0x79, [0x1d] = 0x58, [0x35] = 0x77, [0x37] = 0x57, [0x38] = 0x39, [0x45] = 0x62,
    [0x47] = 0x6e, [0x48] = 0x63, [0x49] = 0x6f, [0x4b] = 0x61, [0x4d] = 0x6a, [0x4f] = 0x65,
    [0x50] = 0x60, [0x51] = 0x6d, [0x52] = 0x67, [0x53] = 0x64, [0x5b] = 0x8b, [0x5c] = 0x8c,
    [0x5d] = 0x8d,
};

u8 ps2key_translate(u8 set2) {
    return set2 < ARRAY_LEN(key_set2_to_set1) ? key_set2_to_set1[set2] : set2;
}

// The highest code wins: 0x83 (F7) and 0x84 (SysRq) are real keys, 0x02 and 0x7f are not.
static u8 key_set1_to_set2(u8 code) {
    for (unsigned i = ARRAY_LEN(key_set2_to_set1); i-- > 0;)
        if (key_set2_to_set1[i] == code) return (u8)i;
    return 0;
}

static bool key_bit(const u8 *map, unsigned n) { return map[n / 8] >> (n % 8) & 1; }

static void key_set_bit(u8 *map, unsigned n, bool on) {
    map[n / 8] = (u8)((map[n / 8] & ~(1u << (n % 8))) | (on ? 1u << (n % 8) : 0));
}

// One code of a sequence in sets 1 and 2.
static void key_put(Ps2Key *k, unsigned prefix, u8 code, bool down) {
    if (prefix) ps2queue_put(&k->keys, (u8)prefix);
    if (k->set == 1) {
        ps2queue_put(&k->keys, (u8)(code | (down ? 0 : 0x80)));
        return;
    }
    if (!down) ps2queue_put(&k->keys, 0xf0);
    ps2queue_put(&k->keys, key_set1_to_set2(code));
}

static bool key_ctrl(const Ps2Key *k) { return key_bit(k->down, 0x1d) || key_bit(k->down, 0x11d); }
static bool key_alt(const Ps2Key *k) { return key_bit(k->down, 0x38) || key_bit(k->down, 0x138); }
static bool key_shift(const Ps2Key *k) { return key_bit(k->down, 0x2a) || key_bit(k->down, 0x36); }

static void key_put_print(Ps2Key *k, bool down) {
    if (down) {
        k->alt_print = key_alt(k);
        k->plain_print = key_ctrl(k) || key_shift(k);
    }
    if (k->alt_print) {
        key_put(k, 0, 0x54, down);
        return;
    }
    if (down && !k->plain_print) key_put(k, 0xe0, 0x2a, true);
    key_put(k, 0xe0, 0x37, down);
    if (!down && !k->plain_print) key_put(k, 0xe0, 0x2a, false);
}

static void key_put_pause(Ps2Key *k) {
    if (key_ctrl(k)) {                                   // Break
        key_put(k, 0xe0, 0x46, true);
        key_put(k, 0xe0, 0x46, false);
        return;
    }
    key_put(k, 0xe1, 0x1d, true);
    key_put(k, 0, 0x45, true);
    key_put(k, 0xe1, 0x1d, false);
    key_put(k, 0, 0x45, false);
}

static void key_put_set3(Ps2Key *k, unsigned code, bool down) {
    u8 set3 = (code & 0x100 ? key_e0_to_set3 : key_set1_to_set3)[code & 0x7f];
    if (!set3 || (!down && key_bit(k->silent, set3))) return;
    if (!down) ps2queue_put(&k->keys, 0xf0);
    ps2queue_put(&k->keys, set3);
}

static void key_put_event(Ps2Key *k, unsigned code, bool down) {
    if (k->set == 3) key_put_set3(k, code, down);
    else if (code == KBD_KEY_PRINT) key_put_print(k, down);
    else if (code == KBD_KEY_PAUSE) { if (down) key_put_pause(k); }
    else key_put(k, code & 0x100 ? 0xe0 : 0, (u8)(code & 0x7f), down);
}

static unsigned key_down_count(const Ps2Key *k) {
    unsigned n = 0;
    for (unsigned i = 0; i < sizeof(k->down); i++) n += (unsigned)__builtin_popcount(k->down[i]);
    return n;
}

void ps2key_event(Ps2Key *k, unsigned code, bool down) {
    if (code >= KEY_CODES || !(code & 0x7f) || (code & 0x80)) return;
    bool was_down = key_bit(k->down, code);
    if (!k->scanning || (!down && !was_down)) {
        key_set_bit(k->down, code, false);
        return;
    }
    // The make itself and a release for every key that is or will be down (rule 3).
    unsigned need = SEQUENCE_BYTES * (key_down_count(k) + (was_down ? 1 : 2));
    if (down && ps2queue_room(&k->keys) < need) return;
    key_put_event(k, code, down);
    key_set_bit(k->down, code, down);
    k->ready(k->self);
}

static void key_reply(Ps2Key *k, u8 byte) { ps2queue_put(&k->replies, byte); }

static void key_defaults(Ps2Key *k) {
    k->set = 2;
    k->typematic = 0x2b;
    memset(k->silent, 0, sizeof(k->silent));
    memset(k->down, 0, sizeof(k->down));
    ps2queue_clear(&k->keys);
}

static void key_argument(Ps2Key *k, u8 cmd, u8 byte) {
    key_reply(k, KEY_ACK);
    switch (cmd) {
    case 0xed: k->leds = byte & 7; break;
    case 0xf3: k->typematic = byte & 0x7f; break;
    case 0xf0:
        if (byte == 0) key_reply(k, k->set);
        else if (byte <= 3) k->set = byte;
        ps2queue_clear(&k->keys);
        break;
    default:                                             // fb..fd: a list of set-3 codes
        key_set_bit(k->silent, byte, cmd != 0xfc);
        k->command = cmd;
    }
}

static void key_command(Ps2Key *k, u8 byte) {
    switch (byte) {
    case 0xed: case 0xf0: case 0xf3: case 0xfb: case 0xfc: case 0xfd:
        k->command = byte;
        key_reply(k, KEY_ACK);
        break;
    case 0xee: key_reply(k, KEY_ECHO); break;
    case 0xf2:
        key_reply(k, KEY_ACK);
        key_reply(k, 0xab);
        key_reply(k, 0x83);
        break;
    case 0xf4:
        k->scanning = true;
        ps2queue_clear(&k->keys);
        key_reply(k, KEY_ACK);
        break;
    case 0xf5: case 0xf6:
        key_defaults(k);
        k->scanning = byte == 0xf6;
        key_reply(k, KEY_ACK);
        break;
    case 0xf7: case 0xf9:                                // all keys typematic / make only
    case 0xf8: case 0xfa:                                // all keys make and release
        memset(k->silent, byte & 1 ? 0xff : 0, sizeof(k->silent));
        key_reply(k, KEY_ACK);
        break;
    case 0xfe: key_reply(k, k->last); break;
    case 0xff:
        key_defaults(k);
        ps2queue_clear(&k->replies);
        k->scanning = true;
        k->leds = 0;
        key_reply(k, KEY_ACK);
        key_reply(k, KEY_PASSED);
        break;
    default:
        log_guest_error(bus_log(k->bus), "ps2key", "unknown keyboard command 0x%02x", byte);
        key_reply(k, KEY_RESEND);
    }
}

void ps2key_write(Ps2Key *k, u8 byte) {
    u8 cmd = k->command;
    k->command = 0;
    // A command instead of an argument replaces the command that waits.
    if (cmd && byte < 0xed) key_argument(k, cmd, byte);
    else key_command(k, byte);
    k->ready(k->self);
}

bool ps2key_pending(const Ps2Key *k) { return k->replies.count || k->keys.count; }

u8 ps2key_take(Ps2Key *k) {
    k->last = ps2queue_take(k->replies.count ? &k->replies : &k->keys);
    return k->last;
}

unsigned ps2key_leds(const Ps2Key *k) { return k->leds; }

static const DeviceClass ps2key_class = {
    "ps2key", ps2key_fields, ARRAY_LEN(ps2key_fields), NULL, NULL, NULL,
};

Ps2Key *ps2key_new(Bus *bus, void (*ready)(void *self), void *self) {
    Ps2Key *k = mem_new(sizeof(*k));
    *k = (Ps2Key){ .bus = bus, .ready = ready, .self = self };
    device_add(bus, &ps2key_class, NULL, k);
    return k;
}

void ps2key_free(Ps2Key *k) { free(k); }
