// SPDX-License-Identifier: MIT
// The firmware configuration device (QEMU docs/specs/fw_cfg.rst).
//
// Rules
//  1. Contents are the board's and do not change while the guest runs; only the selector and the
//     offset are device state.
//  2. Reads past an item's end, and of items that do not exist, give zeros; a DMA request for more than
//     ZEROS_MAX_BYTES of them fails. Writes are ignored.
//  3. A DMA request is done at once, before the OUT that makes it ends.
#include "dev/fwcfg.h"

#include "bus/device.h"
#include <stdlib.h>
#include <string.h>

#define KEYS 0x40u             // plain keys 0x00..0x3f: items and files
#define FILES (KEYS - FWCFG_FILE_FIRST)
#define ZEROS_MAX_BYTES (1u << 20)
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
    u32 dma_high;              // upper half of the next request's address
};

static const Field fwcfg_fields[] = {
    FIELD(FwCfg, key, FIELD_UINT, 0),
    FIELD(FwCfg, offset, FIELD_UINT, 0),
    FIELD(FwCfg, dma_high, FIELD_UINT, 0),
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

static void fwcfg_select(FwCfg *f, u16 key) {
    f->key = key;
    f->offset = 0;
}

static void fwcfg_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)port;
    if (size_bytes == 2) fwcfg_select(self, (u16)value);
}

int fwcfg_find(const FwCfg *f, const char *name) {
    for (unsigned i = 0; i < f->files; i++)
        if (!strcmp(f->names[i], name)) return (int)(FWCFG_FILE_FIRST + i);
    return -1;
}

// ---- DMA ----------------------------------------------------------------------------------------
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };
#define DMA_SIGNATURE "QEMU CFG"           // reads of the address register

static u32 fwcfg_get_be32(const u8 *p) {
    return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}

// The item's bytes that are left, at most `bytes`; *from: where they are.
static u32 fwcfg_take(FwCfg *f, u32 bytes, const u8 **from) {
    if (f->key >= KEYS || f->offset >= f->items[f->key].bytes) return 0;
    const FwCfgItem *item = &f->items[f->key];
    u32 n = min_u32(bytes, item->bytes - f->offset);
    *from = item->data + f->offset;
    f->offset += n;
    return n;
}

// False: too much. It all happens within one OUT, during which nobody else is heard.
static bool fwcfg_dma_read(FwCfg *f, u64 to, u32 bytes) {
    static const u8 zeros[PAGE_BYTES];
    const u8 *from = zeros;
    u32 n = fwcfg_take(f, bytes, &from);
    if (bytes - n > ZEROS_MAX_BYTES) return false;
    if (n && to >> 32 == 0) bus_dma_write(f->bus, phy(to), from, n);
    while (n < bytes && (to + n) >> 32 == 0) {         // there is nothing above 4 GiB
        u32 part = min_u32(bytes - n, sizeof(zeros));
        bus_dma_write(f->bus, phy(to + n), zeros, part);
        n += part;
    }
    return true;
}

// struct { u32 control, length; u64 address }, big-endian; control reads 0 when it is done.
static void fwcfg_dma(FwCfg *f, u64 request) {
    u8 r[16];
    const u8 *skipped;
    if (request >> 32) return;
    bus_dma_read(f->bus, phy(request), r, sizeof(r));
    u32 control = fwcfg_get_be32(r), bytes = fwcfg_get_be32(r + 4), result = 0;
    u64 to = (u64)fwcfg_get_be32(r + 8) << 32 | fwcfg_get_be32(r + 12);
    if (control & DMA_SELECT) fwcfg_select(f, (u16)(control >> 16));
    if (control & DMA_READ) result = fwcfg_dma_read(f, to, bytes) ? 0 : DMA_ERROR;
    else if (control & DMA_WRITE) result = DMA_ERROR;
    else if (control & DMA_SKIP) fwcfg_take(f, bytes, &skipped);
    fwcfg_put_be(r, result, 4);
    bus_dma_write(f->bus, phy(request), r, 4);
}

static u32 fwcfg_dma_in(void *self, u16 port, unsigned size_bytes) {
    (void)self;
    return trunc_size(get_le32(&DMA_SIGNATURE[~port & 4]) >> (8 * (port & 3)), size_bytes);
}

// The address register is big-endian too; its lower half starts the request.
static void fwcfg_dma_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    FwCfg *f = self;
    if (size_bytes != 4) return;
    u32 word = __builtin_bswap32(value);
    if (!(port & 4)) {
        fwcfg_dma(f, (u64)f->dma_high << 32 | word);
        f->dma_high = 0;
    } else {
        f->dma_high = word;
    }
}

FwCfg *fwcfg_new(Bus *bus, unsigned cpus) {
    FwCfg *f = mem_new(sizeof(*f));
    f->bus = bus;
    device_add(bus, &fwcfg_class, NULL, f);
    u8 word[8];
    fwcfg_set(f, FWCFG_SIGNATURE, "QEMU", 4);
    put_le32(word, 3);                                   // traditional interface and DMA
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
    BusPort dma = { "fwcfg-dma", f, 1 | 2 | 4, fwcfg_dma_in, fwcfg_dma_out };
    bus_map_ports(bus, 0x514, 8, &dma);
    return f;
}

void fwcfg_free(FwCfg *f) {
    if (!f) return;
    for (unsigned i = 0; i < KEYS; i++) free(f->items[i].data);
    free(f);
}
