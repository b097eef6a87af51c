// SPDX-License-Identifier: MIT
// The firmware configuration device (QEMU docs/specs/fw_cfg.rst).
//
// Rules
//  1. Contents are the board's and do not change while the guest runs; only the selector and the
//     offset are device state.
//  2. Reads past an item's end, and of items that do not exist, give zeros. Writes are ignored.
#include "dev/fwcfg.h"

#include "bus/device.h"
#include <stdlib.h>
#include <string.h>

#define KEYS 0x40u             // plain keys 0x00..0x3f: items and files
#define FILES (KEYS - FWCFG_FILE_FIRST)
#define DIR_ROW_BYTES 64u      // u32 size, u16 key (both big-endian), u16 zero, name

typedef struct FwCfgItem {
    u8 *data;
    u32 bytes;
} FwCfgItem;

struct FwCfg {
    Bus *bus;
    FwCfgItem items[KEYS];
    char names[FILES][FWCFG_NAME_BYTES];
    unsigned files;
    u16 key;                   // selected item
    u32 offset;                // next byte of it
};

static const Field fwcfg_fields[] = {
    FIELD(FwCfg, key, FIELD_UINT, 0),
    FIELD(FwCfg, offset, FIELD_UINT, 0),
};

static const DeviceClass fwcfg_class = {
    "fwcfg", fwcfg_fields, ARRAY_LEN(fwcfg_fields), NULL, NULL, NULL,
};

static void fwcfg_put_be(u8 *p, u32 v, unsigned bytes) {
    while (bytes-- > 0) {
        p[bytes] = (u8)v;
        v >>= 8;
    }
}

void fwcfg_set(FwCfg *f, u16 key, const void *data, u32 bytes) {
    require(key < KEYS);
    FwCfgItem *item = &f->items[key];
    free(item->data);
    item->data = mem_new(bytes ? bytes : 1);
    item->bytes = bytes;
    if (bytes) memcpy(item->data, data, bytes);
}

void fwcfg_set_u16(FwCfg *f, u16 key, u16 value) {
    u8 le[2];
    put_le16(le, value);
    fwcfg_set(f, key, le, sizeof(le));
}

static void fwcfg_write_dir(FwCfg *f) {
    u8 dir[4 + FILES * DIR_ROW_BYTES] = { 0 };
    fwcfg_put_be(dir, f->files, 4);
    for (unsigned i = 0; i < f->files; i++) {
        u8 *row = dir + 4 + i * DIR_ROW_BYTES;
        fwcfg_put_be(row, f->items[FWCFG_FILE_FIRST + i].bytes, 4);
        fwcfg_put_be(row + 4, FWCFG_FILE_FIRST + i, 2);
        memcpy(row + 8, f->names[i], FWCFG_NAME_BYTES);
    }
    fwcfg_set(f, FWCFG_FILE_DIR, dir, 4 + f->files * DIR_ROW_BYTES);
}

bool fwcfg_add_file(FwCfg *f, const char *name, const void *data, u32 bytes) {
    unsigned i = 0;
    while (i < f->files && strcmp(f->names[i], name) != 0) i++;
    if (i == FILES || strlen(name) >= FWCFG_NAME_BYTES) return false;
    if (i == f->files) {
        f->files++;
        memcpy(f->names[i], name, strlen(name) + 1);
    }
    fwcfg_set(f, (u16)(FWCFG_FILE_FIRST + i), data, bytes);
    fwcfg_write_dir(f);
    return true;
}

static u8 fwcfg_next(FwCfg *f) {
    // Offsets beyond an item's end do not count on: reading for years must not wrap to its start.
    if (f->key >= KEYS || f->offset >= f->items[f->key].bytes) return 0;
    return f->items[f->key].data[f->offset++];
}

static u32 fwcfg_in(void *self, u16 port, unsigned size_bytes) {
    (void)port, (void)size_bytes;
    return fwcfg_next(self);
}

static void fwcfg_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)port;
    FwCfg *f = self;
    if (size_bytes != 2) return;
    f->key = (u16)value;
    f->offset = 0;
}

FwCfg *fwcfg_new(Bus *bus, unsigned cpus) {
    FwCfg *f = mem_new(sizeof(*f));
    f->bus = bus;
    device_add(bus, &fwcfg_class, NULL, f);
    u8 word[8];
    fwcfg_set(f, FWCFG_SIGNATURE, "QEMU", 4);
    put_le32(word, 1);                                   // traditional interface, no DMA
    fwcfg_set(f, FWCFG_ID, word, 4);
    put_le64(word, bus_ram_bytes(bus));
    fwcfg_set(f, FWCFG_RAM_BYTES, word, 8);
    fwcfg_set_u16(f, FWCFG_CPUS, (u16)cpus);
    fwcfg_set_u16(f, FWCFG_MAX_CPUS, (u16)cpus);
    fwcfg_set_u16(f, FWCFG_BOOT_MENU, 0);
    fwcfg_write_dir(f);
    BusPort selector = { "fwcfg-select", f, 1 | 2, NULL, fwcfg_out };
    bus_map_ports(bus, 0x510, 1, &selector);
    BusPort data = { "fwcfg-data", f, 1, fwcfg_in, NULL };
    bus_map_ports(bus, 0x511, 1, &data);
    return f;
}

void fwcfg_free(FwCfg *f) {
    if (!f) return;
    for (unsigned i = 0; i < KEYS; i++) free(f->items[i].data);
    free(f);
}
