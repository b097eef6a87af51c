// SPDX-License-Identifier: MIT
// The board: an i440FX PC. Creates the chips, wires them, and lays out memory, firmware and CMOS.
//
//     PcConfig config = { .floppy = { { .path = "Image" } }, .rtc_epoch = time(NULL) };
//     char *err;
//     Pc *pc = pc_new(&config, bus, log, &err);
//     if (!pc) fail(err);
//     ... the processor starts at its reset vector ...
//     if (bus_requests(bus) & BUS_REQ_RESET) pc_reset(pc);
//
// Memory: RAM from 0 with holes at a0000 (VGA) and c0000-fffff (ROMs, shadowed by the host bridge);
// the BIOS again at the top of 4 GiB; PCI's memory from e0000000 on (there, an ISA VGA's frame
// buffer).
// PCI: 00.0 host bridge, 01.0 ISA bridge, 01.1 IDE, 01.3 power management, 02.0 VGA.
#ifndef PC_PC_H
#define PC_PC_H

#include "bus/bus.h"
#include "bus/chr.h"
#include "dev/acpipm.h"
#include "dev/cd.h"
#include "dev/debugcon.h"
#include "dev/disk.h"
#include "dev/dma.h"
#include "dev/fdc.h"
#include "dev/fpuerr.h"
#include "dev/fwcfg.h"
#include "dev/i440fx.h"
#include "dev/ide.h"
#include "dev/idedma.h"
#include "dev/ioapic.h"
#include "dev/kbd.h"
#include "dev/lapic.h"
#include "dev/pci.h"
#include "dev/pic.h"
#include "dev/piix.h"
#include "dev/pit.h"
#include "dev/rtc.h"
#include "dev/testdev.h"
#include "dev/uart.h"
#include "dev/vga.h"
#include "pc/kernel.h"

#define PC_RAM_MIN_BYTES (1u << 20)
#define PC_RAM_MAX_BYTES 0xe0000000ull     // below the frame buffer
#define PC_SERIALS 4u
#define PC_DEBUGCONS 4u

typedef struct PcDrive {
    const char *path;          // image; NULL: the drive is empty or absent, or has `blob`
    bool cd;                   // a CD drive, which may be empty; images are never written
    const void *blob;          // a disk in memory, whose changes vanish; NULL: none
    size_t blob_bytes;
    bool readonly;
    bool snapshot;             // writes vanish at the end
    IdeGeometry geometry;      // hard disks: all zero = from the image
} PcDrive;

typedef struct PcSerial {
    bool present;
    CharOut out;
} PcSerial;

typedef struct PcDebugcon {
    u16 port;                  // 0xe9, 0x402, ...; 0: none
    CharOut out;
} PcDebugcon;

typedef struct PcConfig {      // all zero: no drives, no serial port, a VGA
    PcDrive floppy[2];
    PcDrive ide[4];            // primary master, slave, secondary master, slave
    bool snapshot;             // writes to images vanish at the end
    const char *boot;          // letters a c d n; NULL: cad, or a when there is only a floppy
    bool boot_menu;            // the firmware offers its boot menu
    bool no_floppy_signature;  // boot floppies without 55 AA
    bool no_vga;               // neither adapter nor VGA BIOS
    bool isa_vga;              // the adapter is on the ISA bus, not a PCI function
    bool no_acpi;              // no power management function
    bool no_apic;              // neither local nor I/O APIC
    bool firmware_serial;      // the firmware's screen appears on COM1 too
    PcSerial serial[PC_SERIALS];
    PcDebugcon debugcon[PC_DEBUGCONS];
    u16 exit_port;             // isa-debug-exit; 0: none
    unsigned exit_ports;       // how many ports it takes; 0: 2
    bool testdev;              // pc-testdev
    i64 rtc_epoch;             // seconds since 1970 the clock starts with
    KernelConfig kernel;       // booted before anything else
    const char *bios_path;     // NULL: built in
    const char *vgabios_path;  // NULL: built in
    void (*warn)(void *self, const char *message);     // NULL: warnings are dropped
    void *warn_self;
} PcConfig;

typedef struct PcIrqOr {       // an interrupt input and who drives it
    Wire out;
    u8 levels;                 // bit n: input n (see pc.c)
} PcIrqOr;

typedef struct Pc {            // the chips, for the monitor and the front ends
    Bus *bus;
    Log *log;
    Pic *pic;
    Lapic *lapic;              // NULL: no APICs
    IoApic *ioapic;
    Pit *pit;
    Rtc *rtc;
    Dma *dma;
    Fdc *fdc;
    Ide *ide[2];
    Cd *cd[4];                 // NULL: no CD drive there
    IdeDma *idedma;
    Kbd *kbd;
    Vga *vga;                  // NULL: none
    FpuErr *fpuerr;
    FwCfg *fwcfg;
    PciBus *pci;
    I440fx *host;
    Piix *piix;
    AcpiPm *pm;                // NULL: none
    Uart *serial[PC_SERIALS];  // NULL: none
    Debugcon *debugcon[PC_DEBUGCONS];
    DebugExit *debugexit;
    BochsOff *bochsoff;
    TestDev *testdev;          // NULL: none
    PcIrqOr irq[16];
    u8 boot_order[3];          // CMOS codes: 1 floppy, 2 hard disk, 3 CD, 4 network, 0 none
    bool no_floppy_signature;
} Pc;

// `bus` is fresh and has the machine's RAM. NULL: *err says what is wrong and with which option
// (malloc'ed). The machine comes out reset.
Pc *pc_new(const PcConfig *config, Bus *bus, Log *log, char **err);
void pc_free(Pc *pc);                      // also closes the disks; the bus stays
void pc_reset(Pc *pc);                     // all devices; the processor is the run loop's

// Changes the boot order (letters as PcConfig.boot), from the next reset on. False: *err.
bool pc_set_boot(Pc *pc, const char *order, char **err);

// Adds an option ROM that the firmware runs before it boots, or any other fw_cfg file, before the
// machine starts. "genroms/NAME" is an option ROM. False: no room.
bool pc_add_file(Pc *pc, const char *name, const void *data, u32 bytes);

#endif
