// SPDX-License-Identifier: MIT
// The firmware configuration device that QEMU's firmware expects: a selector (16-bit port 0x510)
// and a data port (0x511) through which items are read byte by byte; and the DMA interface (port
// 0x514), which puts an item into memory at once.
//
//     FwCfg *fw = fwcfg_new(bus, cpus);
//     fwcfg_add_file(fw, "etc/boot-fail-wait", &ms, 4);     // copied
#ifndef DEV_FWCFG_H
#define DEV_FWCFG_H

#include "bus/bus.h"

typedef struct FwCfg FwCfg;

enum FwCfgKey {                // items without a name; little-endian contents
    FWCFG_SIGNATURE = 0x00,    // "QEMU"
    FWCFG_ID = 0x01,           // u32: interface revision
    FWCFG_RAM_BYTES = 0x03,    // u64
    FWCFG_NOGRAPHIC = 0x04,    // u16: SeaBIOS shows its console on COM1 as well
    FWCFG_CPUS = 0x05,         // u16
    FWCFG_BOOT_MENU = 0x0e,    // u16: offer the boot menu
    FWCFG_MAX_CPUS = 0x0f,     // u16
    FWCFG_FILE_DIR = 0x19,
    FWCFG_FILE_FIRST = 0x20,   // files get keys from here on
};

#define FWCFG_NAME_BYTES 56u   // with the closing zero

FwCfg *fwcfg_new(Bus *bus, unsigned cpus);
void fwcfg_free(FwCfg *f);

// Sets an item; a copy is kept. An item that is set again is replaced.
void fwcfg_set(FwCfg *f, u16 key, const void *data, u32 bytes);
void fwcfg_set_u16(FwCfg *f, u16 key, u16 value);

// Adds a named file, or replaces it. False: the name is too long or the directory is full.
bool fwcfg_add_file(FwCfg *f, const char *name, const void *data, u32 bytes);
int fwcfg_find(const FwCfg *f, const char *name);        // its key; -1: there is none

#endif
