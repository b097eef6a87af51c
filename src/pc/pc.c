// SPDX-License-Identifier: MIT
// The board: an i440FX PC.
//
// Rules
//  1. Chips don't know each other: all wires are laid here.
//  2. What the firmware must know lies in CMOS (as QEMU's pc board keeps it for SeaBIOS) and in
//     fw_cfg files; pc_reset writes the CMOS part anew, because drives change.
//  3. pc_new undoes everything by pc_free when something fails: pc_free takes any half-built Pc.
#include "pc/pc.h"

#include "bus/device.h"
#include "pc/firmware.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ISA_ROM_BASE 0xc0000u
#define ISA_ROM_BYTES 0x40000u
#define BIOS_LOW_BYTES 0x20000u            // part of the BIOS that shows below 1 MiB
#define BIOS_MAX_BYTES (4u << 20)
#define VGABIOS_MAX_BYTES 0x20000u

typedef struct PcImage {       // a firmware image; `loaded` is to be freed
    const u8 *data;
    u32 bytes;
    u8 *loaded;
} PcImage;

// ---- firmware -----------------------------------------------------------------------------------

// Reads a whole file. False: *err is set.
static bool pc_load_file(const char *option, const char *path, u32 max_bytes, PcImage *to,
                         char **err) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        *err = mem_printf("%s: cannot open '%s': %s", option, path, strerror(errno));
        return false;
    }
    u8 *data = mem_new(max_bytes + 1);
    size_t bytes = fread(data, 1, max_bytes + 1, f);
    bool failed = ferror(f);
    fclose(f);
    if (failed || !bytes || bytes > max_bytes) {
        const char *why = failed ? "cannot be read" : bytes ? "is too large" : "is empty";
        *err = mem_printf("%s: '%s' %s", option, path, why);
        free(data);
        return false;
    }
    *to = (PcImage){ data, (u32)bytes, data };
    return true;
}

static bool pc_load_image(const char *option, const char *path, Firmware built_in, u32 max_bytes,
                          PcImage *to, char **err) {
    if (path) return pc_load_file(option, path, max_bytes, to, err);
    *to = (PcImage){ built_in.data, built_in.bytes, NULL };
    return true;
}

// The BIOS ends at 4 GiB, whatever its size; what lies before it in its first page reads as zero.
static void pc_map_bios_high(Bus *bus, const PcImage *bios) {
    u32 bytes = (bios->bytes + PAGE_BYTES - 1) & PAGE_MASK;
    u8 *host = bus_alloc(bus, bytes);
    memcpy(host + bytes - bios->bytes, bios->data, bios->bytes);
    bus_map_rom(bus, BUS_PAGES - bytes / PAGE_BYTES, bytes / PAGE_BYTES, host);
}

// What the ISA bus shows at c0000-fffff: the VGA BIOS at its start, the BIOS' end at its end.
static I440fxRom pc_isa_roms(Bus *bus, const PcImage *bios, const PcImage *vgabios) {
    I440fxRom rom = { bus_alloc(bus, ISA_ROM_BYTES), 0 };
    u32 low = min_u32(bios->bytes, BIOS_LOW_BYTES);
    memcpy(rom.host + ISA_ROM_BYTES - low, bios->data + bios->bytes - low, low);
    memcpy(rom.host, vgabios->data, vgabios->bytes);
    u32 first_bios_page = (ISA_ROM_BYTES - low) / PAGE_BYTES;
    for (u32 i = 0; i < ISA_ROM_BYTES / PAGE_BYTES; i++)
        if (i * PAGE_BYTES < vgabios->bytes || i >= first_bios_page) rom.present |= 1ull << i;
    return rom;
}

// ---- chips --------------------------------------------------------------------------------------

static void pc_irq_or_set(void *self, unsigned n, bool level) {
    PcIrqOr *o = self;
    o->levels = (u8)((o->levels & ~BIT(n)) | (level ? BIT(n) : 0));
    wire_set(&o->out, o->levels != 0);
}

// Two controllers see every ISA interrupt. The timer's is pin 2 of the I/O APIC, as the firmware's
// tables tell (etc/irq0-override); the PIC itself is pin 0.
static void pc_set_irq(void *self, unsigned irq, bool level) {
    Pc *pc = self;
    Wire pic = pic_irq(pc->pic, irq), pin = ioapic_pin(pc->ioapic, irq == 0 ? 2 : irq == 2 ? 9 : irq);
    wire_set(&pic, level);
    wire_set(&pin, level);
}

static void pc_set_pic_output(void *self, unsigned n, bool level) {
    (void)n;
    Pc *pc = self;
    Wire lint0 = lapic_lint(pc->lapic, 0), pin = ioapic_pin(pc->ioapic, 0);
    wire_set(&lint0, level);
    wire_set(&pin, level);
}

static void pc_add_apics(Pc *pc) {
    pc->lapic = lapic_new(pc->bus, pic_int_ack, pc->pic);
    pc->ioapic = ioapic_new(pc->bus, pc->lapic);
    pic_set_output(pc->pic, (Wire){ pc_set_pic_output, pc, 0 });
}

// A wire to an interrupt input, for one of those that share it.
enum { PC_IRQ_ISA, PC_IRQ_ISA2, PC_IRQ_PCI, PC_IRQ_SCI, PC_IRQ_TEST };
static Wire pc_irq(Pc *pc, unsigned irq, unsigned who) {
    pc->irq[irq].out = pc->ioapic ? (Wire){ pc_set_irq, pc, irq } : pic_irq(pc->pic, irq);
    return (Wire){ pc_irq_or_set, &pc->irq[irq], who };
}

static void pc_add_serials(Pc *pc, const PcConfig *config) {
    static const struct { const char *name; u16 port; } com[PC_SERIALS] = {
        { "serial0", 0x3f8 }, { "serial1", 0x2f8 }, { "serial2", 0x3e8 }, { "serial3", 0x2e8 },
    };
    for (unsigned i = 0; i < PC_SERIALS; i++) {
        if (!config->serial[i].present) continue;
        Wire irq = pc_irq(pc, i & 1 ? 3 : 4, i < 2 ? PC_IRQ_ISA : PC_IRQ_ISA2);
        pc->serial[i] = uart_new(pc->bus, com[i].name, com[i].port, irq, config->serial[i].out);
    }
}

static void pc_add_testdev(Pc *pc) {
    Wire irq[TESTDEV_IRQS];
    for (unsigned i = 0; i < TESTDEV_IRQS; i++) irq[i] = pc_irq(pc, i, PC_IRQ_TEST);
    pc->testdev = testdev_new(pc->bus, irq);
}

static void pc_add_debug_ports(Pc *pc, const PcConfig *config) {
    for (unsigned i = 0; i < PC_DEBUGCONS; i++) {
        const PcDebugcon *d = &config->debugcon[i];
        if (d->port) pc->debugcon[i] = debugcon_new(pc->bus, d->port, d->out);
    }
    if (config->exit_port)
        pc->debugexit = debugexit_new(pc->bus, config->exit_port,
                                      config->exit_ports ? config->exit_ports : 2);
    pc->bochsoff = bochsoff_new(pc->bus);
    if (config->testdev) pc_add_testdev(pc);
}

static void pc_add_pci(Pc *pc, const PcConfig *config, const I440fxRom *rom) {
    Wire irq[16];
    for (unsigned i = 0; i < 16; i++) irq[i] = pc_irq(pc, i, PC_IRQ_PCI);
    pc->pci = pci_new(pc->bus);
    pc->host = i440fx_new(pc->bus, pc->pci, rom);
    pc->piix = piix_new(pc->bus, pc->pci, 1, irq);
    if (!config->no_vga && !config->isa_vga) pc->vga = vga_new_pci(pc->bus, pc->pci, 2);
    pc->idedma = idedma_new(pc->bus, piix_ide(pc->piix), pc->ide);
    if (!config->no_acpi)
        pc->pm = acpipm_new(pc->bus, pc->pci, 1, pc_irq(pc, 9, PC_IRQ_SCI));
}

static void pc_add_chips(Pc *pc, const PcConfig *config) {
    Bus *bus = pc->bus;
    pc->pic = pic_new(bus);
    if (!config->no_apic) pc_add_apics(pc);
    pc->pit = pit_new(bus, pc_irq(pc, 0, PC_IRQ_ISA));
    pc->rtc = rtc_new(bus, pc_irq(pc, 8, PC_IRQ_ISA), config->rtc_epoch);
    pc->kbd = kbd_new(bus, pc_irq(pc, 1, PC_IRQ_ISA), pc_irq(pc, 12, PC_IRQ_ISA));
    pc->fpuerr = fpuerr_new(bus, pc_irq(pc, 13, PC_IRQ_ISA));
    pc->dma = dma_new(bus);
    pc->fdc = fdc_new(bus, pc->dma, pc_irq(pc, 6, PC_IRQ_ISA));
    pc->ide[0] = ide_new(bus, 0, pc_irq(pc, 14, PC_IRQ_ISA));
    pc->ide[1] = ide_new(bus, 1, pc_irq(pc, 15, PC_IRQ_ISA));
    bus_map_none(bus, 0xa0, 0x20);
    if (!config->no_vga && config->isa_vga) pc->vga = vga_new(bus);
    pc_add_serials(pc, config);
    pc_add_debug_ports(pc, config);
}

// ---- drives -------------------------------------------------------------------------------------

// Opens a drive's image. NULL with *err unset: there is none.
static Disk *pc_open_drive(const PcConfig *config, const char *option, const PcDrive *drive,
                           unsigned flags, char **err) {
    if (drive->blob) return disk_from_memory(drive->blob, drive->blob_bytes);
    if (!drive->path) return NULL;
    char *message = NULL;
    if (config->snapshot || drive->snapshot) flags |= DISK_SNAPSHOT;
    if (drive->readonly || drive->cd) flags |= DISK_READONLY;
    Disk *disk = disk_open(drive->path, flags, &message);
    if (!disk) {
        *err = mem_printf("%s: %s", option, message);
    } else if (message && config->warn) {
        char *warning = mem_printf("%s: %s", option, message);
        config->warn(config->warn_self, warning);
        free(warning);
    }
    free(message);
    return disk;
}

static void pc_add_cd(Pc *pc, unsigned n, Disk *disc) {
    static const char *const names[4] = { "ide0-cd0", "ide0-cd1", "ide1-cd0", "ide1-cd1" };
    pc->cd[n] = cd_new(pc->bus, names[n]);
    if (disc) cd_insert(pc->cd[n], disc);
    ide_attach_cd(pc->ide[n / 2], n % 2, pc->cd[n]);
}

static void pc_add_disk(Pc *pc, unsigned n, Disk *disk, IdeGeometry geometry) {
    ide_attach(pc->ide[n / 2], n % 2, disk);
    if (geometry.cylinders) ide_set_geometry(pc->ide[n / 2], n % 2, geometry);
}

static bool pc_add_drives(Pc *pc, const PcConfig *config, char **err) {
    static const char *const floppy_option[2] = { "-fda", "-fdb" };
    static const char *const ide_option[4] = { "-hda", "-hdb", "-hdc", "-hdd" };
    for (unsigned i = 0; i < 2; i++) {
        const PcDrive *drive = &config->floppy[i];
        Disk *disk = pc_open_drive(config, floppy_option[i], drive, DISK_FLOPPY, err);
        if (drive->path && !disk) return false;
        if (disk) fdc_insert(pc->fdc, i, disk);
    }
    for (unsigned i = 0; i < 4; i++) {
        const PcDrive *drive = &config->ide[i];
        const char *option = drive->cd ? "-cdrom" : ide_option[i];
        Disk *disk = pc_open_drive(config, option, drive, 0, err);
        if (drive->path && !disk) return false;
        if (drive->cd) pc_add_cd(pc, i, disk);
        else if (disk) pc_add_disk(pc, i, disk, drive->geometry);
    }
    return true;
}

// ---- what the firmware is told ------------------------------------------------------------------

static bool pc_parse_boot(Pc *pc, const PcConfig *config, char **err) {
    bool only_floppy = fdc_disk(pc->fdc, 0) != NULL;
    for (unsigned i = 0; i < 4; i++)
        if (ide_disk(pc->ide[i / 2], i % 2) || (pc->cd[i] && cd_disc(pc->cd[i])))
            only_floppy = false;
    pc->no_floppy_signature = config->no_floppy_signature;
    return pc_set_boot(pc, config->boot ? config->boot : only_floppy ? "a" : "cad", err);
}

bool pc_set_boot(Pc *pc, const char *order, char **err) {
    static const char letters[] = "acdn";  // codes 1..4
    u8 codes[3] = { 0 };
    for (unsigned i = 0; order[i]; i++) {
        const char *at = strchr(letters, order[i]);
        if (!at || strchr(order + i + 1, order[i])) {
            *err = mem_printf("-boot: bad order '%s': use each of a (floppy), c (hard disk), "
                              "d (CD), n (network) once at most", order);
            return false;
        }
        if (i < 3) codes[i] = (u8)(at - letters + 1);
    }
    memcpy(pc->boot_order, codes, sizeof codes);
    return true;
}

static void pc_set_cmos16(Pc *pc, unsigned index, u32 value) {
    rtc_set_cmos(pc->rtc, index, (u8)value);
    rtc_set_cmos(pc->rtc, index + 1, (u8)(value >> 8));
}

static void pc_write_cmos_memory(Pc *pc) {
    u64 ram = bus_ram_bytes(pc->bus);
    u64 above_1m_kib = (ram >> 10) - 1024;
    u64 above_16m = ram > 16u << 20 ? (ram - (16u << 20)) >> 16 : 0;       // 64 KiB units
    pc_set_cmos16(pc, 0x15, 640);
    pc_set_cmos16(pc, 0x17, (u32)min_u64(above_1m_kib, 0xffff));
    pc_set_cmos16(pc, 0x30, (u32)min_u64(above_1m_kib, 0xffff));
    pc_set_cmos16(pc, 0x34, (u32)min_u64(above_16m, 0xffff));
    for (unsigned i = 0x5b; i <= 0x5d; i++) rtc_set_cmos(pc->rtc, i, 0);   // nothing above 4 GiB
    rtc_set_cmos(pc->rtc, 0x5f, 0);        // processors besides the first
}

static void pc_write_cmos_floppies(Pc *pc) {
    u8 a = fdc_cmos_type(pc->fdc, 0), b = fdc_cmos_type(pc->fdc, 1);
    rtc_set_cmos(pc->rtc, 0x10, (u8)(a << 4 | b));
    // Equipment: floppies, VGA, coprocessor, PS/2 mouse.
    unsigned floppies = (a != 0) + (b != 0);
    rtc_set_cmos(pc->rtc, 0x14, (u8)((floppies ? 1 | (floppies - 1) << 6 : 0) | 2 | 4));
}

// Type 47 with its parameters, for the primary channel's drives.
static void pc_write_cmos_disk(Pc *pc, unsigned unit) {
    IdeGeometry g = ide_geometry(pc->ide[0], unit);
    unsigned at = unit ? 0x24 : 0x1b;
    u32 cylinders = min_u32(g.cylinders, 0xffff);
    rtc_set_cmos(pc->rtc, unit ? 0x1a : 0x19, 47);
    pc_set_cmos16(pc, at, cylinders);
    rtc_set_cmos(pc->rtc, at + 2, g.heads);
    pc_set_cmos16(pc, at + 3, 0xffff);     // no write precompensation
    rtc_set_cmos(pc->rtc, at + 5, (u8)(0xc0 | (g.heads > 8 ? 8 : 0)));
    pc_set_cmos16(pc, at + 6, cylinders);  // landing zone
    rtc_set_cmos(pc->rtc, at + 8, g.sectors);
}

// How the BIOS is to present a disk: 0 as it is, 2 "large" (shifted cylinders), 1 LBA.
static unsigned pc_translation(IdeGeometry g) {
    if (g.cylinders <= 1024) return 0;
    return g.cylinders * g.heads <= 131072 ? 2 : 1;
}

static void pc_write_cmos_disks(Pc *pc) {
    u8 types = 0, translation = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (!ide_disk(pc->ide[i / 2], i % 2)) continue;
        translation |= (u8)(pc_translation(ide_geometry(pc->ide[i / 2], i % 2)) << (2 * i));
        if (i >= 2) continue;
        types |= i ? 0x0f : 0xf0;
        pc_write_cmos_disk(pc, i);
    }
    rtc_set_cmos(pc->rtc, 0x12, types);
    rtc_set_cmos(pc->rtc, 0x39, translation);
}

static void pc_write_cmos(Pc *pc) {
    const u8 *order = pc->boot_order;
    pc_write_cmos_memory(pc);
    pc_write_cmos_floppies(pc);
    pc_write_cmos_disks(pc);
    rtc_set_cmos(pc->rtc, 0x38, (u8)(order[2] << 4 | (pc->no_floppy_signature ? 1 : 0)));
    rtc_set_cmos(pc->rtc, 0x3d, (u8)(order[1] << 4 | order[0]));
}

static bool pc_add_fwcfg(Pc *pc, const PcConfig *config, const PcImage *vgabios) {
    // S3 and S4 are off, S5 is on; see acpipm.c for what the sleep types do.
    static const u8 states[6] = { 0x80, 0, 0, 1, 2, 0x80 };
    u8 e820[20], forever[4], irq0_override = pc->ioapic != NULL;
    put_le64(e820, 0);
    put_le64(e820 + 8, bus_ram_bytes(pc->bus));
    put_le32(e820 + 16, 1);                // RAM; SeaBIOS cuts the hole below 1 MiB itself
    put_le32(forever, 0xffffffff);
    const char *vga_name = config->isa_vga ? "vgaroms/vgabios.bin" : "pci1234,1111.rom";
    pc->fwcfg = fwcfg_new(pc->bus, 1);
    fwcfg_set_u16(pc->fwcfg, FWCFG_BOOT_MENU, config->boot_menu);
    fwcfg_set_u16(pc->fwcfg, FWCFG_NOGRAPHIC, config->firmware_serial);
    return pc_add_file(pc, "etc/e820", e820, sizeof(e820)) &&
           pc_add_file(pc, "etc/system-states", states, sizeof(states)) &&
           pc_add_file(pc, "etc/irq0-override", &irq0_override, 1) &&
           pc_add_file(pc, "etc/boot-fail-wait", forever, sizeof(forever)) &&
           (!vgabios->bytes ||
            pc_add_file(pc, vga_name, vgabios->data, vgabios->bytes));
}

bool pc_add_file(Pc *pc, const char *name, const void *data, u32 bytes) {
    return fwcfg_add_file(pc->fwcfg, name, data, bytes);
}

// ---- life ---------------------------------------------------------------------------------------

static bool pc_check_ram(Bus *bus, char **err) {
    u64 ram = bus_ram_bytes(bus);
    if (ram >= PC_RAM_MIN_BYTES && ram <= PC_RAM_MAX_BYTES) return true;
    *err = mem_printf("-m: the machine takes from 1 to %u MiB", (u32)(PC_RAM_MAX_BYTES >> 20));
    return false;
}

static bool pc_build(Pc *pc, const PcConfig *config, PcImage *bios, PcImage *vgabios, char **err) {
    if (!pc_check_ram(pc->bus, err)) return false;
    if (!pc_load_image("-bios", config->bios_path, firmware_bios(), BIOS_MAX_BYTES, bios, err))
        return false;
    Firmware vga = config->isa_vga ? firmware_isavga() : firmware_stdvga();
    if (!config->no_vga &&
        !pc_load_image("-L", config->vgabios_path, vga, VGABIOS_MAX_BYTES, vgabios, err))
        return false;
    pc_map_bios_high(pc->bus, bios);
    I440fxRom rom = pc_isa_roms(pc->bus, bios, vgabios);
    pc_add_chips(pc, config);
    pc_add_pci(pc, config, &rom);
    require(pc_add_fwcfg(pc, config, vgabios));
    if (config->kernel.path && !kernel_add(pc->fwcfg, bus_ram_bytes(pc->bus), &config->kernel, err)) return false;
    return pc_add_drives(pc, config, err) && pc_parse_boot(pc, config, err);
}

Pc *pc_new(const PcConfig *config, Bus *bus, Log *log, char **err) {
    Pc *pc = mem_new(sizeof(*pc));
    PcImage bios = { NULL, 0, NULL }, vgabios = { (const u8 *)"", 0, NULL };
    pc->bus = bus;
    pc->log = log;
    bool built = pc_build(pc, config, &bios, &vgabios, err);
    free(bios.loaded);
    free(vgabios.loaded);
    if (!built) {
        pc_free(pc);
        return NULL;
    }
    pc_reset(pc);
    return pc;
}

static void pc_free_drives(Pc *pc) {
    for (unsigned i = 0; pc->fdc && i < 2; i++) disk_close(fdc_disk(pc->fdc, i));
    for (unsigned i = 0; i < 4; i++)
        if (pc->ide[i / 2]) disk_close(ide_disk(pc->ide[i / 2], i % 2));
    for (unsigned i = 0; i < 4; i++)
        if (pc->cd[i]) disk_close(cd_disc(pc->cd[i]));
}

void pc_free(Pc *pc) {
    if (!pc) return;
    pc_free_drives(pc);
    testdev_free(pc->testdev);
    bochsoff_free(pc->bochsoff);
    debugexit_free(pc->debugexit);
    for (unsigned i = 0; i < PC_DEBUGCONS; i++) debugcon_free(pc->debugcon[i]);
    for (unsigned i = 0; i < PC_SERIALS; i++) uart_free(pc->serial[i]);
    acpipm_free(pc->pm);
    idedma_free(pc->idedma);
    piix_free(pc->piix);
    i440fx_free(pc->host);
    pci_free(pc->pci);
    fwcfg_free(pc->fwcfg);
    fpuerr_free(pc->fpuerr);
    if (pc->vga) vga_free(pc->vga);
    kbd_free(pc->kbd);
    for (unsigned i = 0; i < 2; i++)
        if (pc->ide[i]) ide_free(pc->ide[i]);
    for (unsigned i = 0; i < 4; i++) cd_free(pc->cd[i]);
    if (pc->fdc) fdc_free(pc->fdc);
    if (pc->dma) dma_free(pc->dma);
    if (pc->rtc) rtc_free(pc->rtc);
    if (pc->pit) pit_free(pc->pit);
    if (pc->ioapic) ioapic_free(pc->ioapic);
    if (pc->lapic) lapic_free(pc->lapic);
    if (pc->pic) pic_free(pc->pic);
    free(pc);
}

void pc_reset(Pc *pc) {
    for (unsigned i = 0; i < 16; i++) pc->irq[i].levels = 0;   // who still drives one says so
    device_reset_all(pc->bus);
    pc_write_cmos(pc);
}
