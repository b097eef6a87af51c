// SPDX-License-Identifier: MIT
// Intel 82371AB (PIIX4), function 3, and ACPI 1.0 chapter 4.7.
//
// Ports from the base in PMBASE (register 0x40), while PMREGMISC bit 0 is set:
//     00 PM1_STS (write 1 to clear)   02 PM1_EN   04 PM1_CNT   08 PM_TMR   0c.. storage
//
// Rules
//  1. The timer counts guest time at 3.579545 MHz, 24 bits. Its overflow status (bit 23 changed) is
//     worked out when somebody looks; a bus timer runs only while its interrupt is enabled.
//  2. There is no system management mode: commands at port 0xb2 do what an SMI handler would do
//     (ACPI on and off), and APMC_EN reads as set, by which SeaBIOS takes SMM for installed.
//  3. Sleep type 0 is soft-off (the tables SeaBIOS builds); type 1, suspend, wakes up at once.
#include "dev/acpipm.h"

#include "bus/device.h"
#include <stdlib.h>

#define PM_BYTES 64u
#define PM_TIMER_HZ 3579545u
#define GPE_BASE 0xafe0u       // where SeaBIOS' tables put the general purpose events
#define HOTPLUG_BASE 0xae00u   // and the PCI hot-plug registers: nothing can be plugged

enum AcpiPmReg { PM1_STS = 0, PM1_EN = 2, PM1_CNT = 4, PM_TMR = 8, PM_GPSTS = 12 };
enum { STS_TIMER = 1, STS_GLOBAL = 0x20, STS_POWER = 0x100, STS_RTC = 0x400, STS_WAKE = 0x8000 };
enum { CNT_SCI_EN = 1, CNT_SLEEP = 0x2000 };
enum { REG_PMBASE = 0x40, REG_DEVACTB = 0x58, REG_PMREGMISC = 0x80 };
enum { APM_ACPI_ON = 0xf1, APM_ACPI_OFF = 0xf0 };

struct AcpiPm {
    Bus *bus;
    PciFn *fn;
    Wire sci;
    Timer *overflow;           // the timer's next overflow, while its interrupt is enabled
    u8 regs[PM_BYTES];         // register file; PM_TMR and the timer's status bit are computed
    u8 gpe[4];                 // GPE0 status (write 1 to clear) and enable
    u8 apm[2];                 // ports 0xb2, 0xb3
    u64 seen_overflows;        // overflows up to the last acknowledged one
    u32 mapped;                // base the ports are mapped at now; 0: none
};

static const Field acpipm_fields[] = {
    FIELD(AcpiPm, overflow, FIELD_TIMER, 0),
    FIELD_ARRAY(AcpiPm, regs, FIELD_BYTES, 0),
    FIELD_ARRAY(AcpiPm, gpe, FIELD_BYTES, 0),
    FIELD_ARRAY(AcpiPm, apm, FIELD_BYTES, 0),
    FIELD(AcpiPm, seen_overflows, FIELD_UINT, 0),
};

static u64 pm_ticks(AcpiPm *a) {
    u64 ns = bus_now_ns(a->bus);
    return ns / 1000000000u * PM_TIMER_HZ + ns % 1000000000u * PM_TIMER_HZ / 1000000000u;
}

// The first nanosecond at which pm_ticks() is `ticks`.
static u64 pm_ticks_ns(u64 ticks) {
    u64 part = ticks % PM_TIMER_HZ * 1000000000u;
    return ticks / PM_TIMER_HZ * 1000000000u + (part + PM_TIMER_HZ - 1) / PM_TIMER_HZ;
}

static u32 pm_status(AcpiPm *a) {
    u32 overflowed = pm_ticks(a) >> 23 != a->seen_overflows;
    return get_le16(a->regs + PM1_STS) | (overflowed ? STS_TIMER : 0);
}

static void pm_update(AcpiPm *a) {
    u32 status = pm_status(a), enabled = get_le16(a->regs + PM1_EN);
    u32 sources = STS_TIMER | STS_GLOBAL | STS_POWER | STS_RTC;
    wire_set(&a->sci, (status & enabled & sources) && (a->regs[PM1_CNT] & CNT_SCI_EN));
    if ((enabled & STS_TIMER) && !(status & STS_TIMER))
        bus_timer_at(a->overflow, pm_ticks_ns((a->seen_overflows + 1) << 23));
    else
        bus_timer_stop(a->overflow);
}

static void pm_overflow(void *self) { pm_update(self); }

static void pm_sleep(AcpiPm *a, unsigned type) {
    if (type != 1) {
        bus_request_poweroff(a->bus);
        return;
    }
    log_guest_error(bus_log(a->bus), "acpipm", "suspend to RAM is not supported, waking at once");
    a->regs[PM1_STS + 1] |= STS_WAKE >> 8;
}

static void pm_write_byte(AcpiPm *a, unsigned reg, u8 value) {
    switch (reg) {
    case PM1_STS:
        if (value & STS_TIMER) a->seen_overflows = pm_ticks(a) >> 23;
        a->regs[reg] &= (u8)~value;
        break;
    case PM1_STS + 1: case PM_GPSTS: case PM_GPSTS + 1: a->regs[reg] &= (u8)~value; break;
    case PM_TMR: case PM_TMR + 1: case PM_TMR + 2: case PM_TMR + 3: break;
    case PM1_CNT + 1:
        a->regs[reg] = value & (u8)~(CNT_SLEEP >> 8);    // SLP_EN reads as zero
        if (value & CNT_SLEEP >> 8) pm_sleep(a, value >> 2 & 7);
        break;
    default: a->regs[reg] = value;
    }
}

static u8 pm_read_byte(AcpiPm *a, unsigned reg) {
    if (reg < PM1_EN) return (u8)(pm_status(a) >> (8 * reg));
    if (reg >= PM_TMR && reg < PM_TMR + 4)
        return (u8)((pm_ticks(a) & 0xffffff) >> (8 * (reg - PM_TMR)));
    return a->regs[reg];
}

static u32 pm_read(AcpiPm *a, unsigned reg, unsigned bytes) {
    // All bytes of the timer are of one moment.
    if (reg == PM_TMR && bytes == 4) return pm_ticks(a) & 0xffffff;
    u32 v = 0;
    for (unsigned i = 0; i < bytes && reg + i < PM_BYTES; i++)
        v |= (u32)pm_read_byte(a, reg + i) << (8 * i);
    return v;
}

static void pm_write(AcpiPm *a, unsigned reg, unsigned bytes, u32 value) {
    for (unsigned i = 0; i < bytes && reg + i < PM_BYTES; i++)
        pm_write_byte(a, reg + i, (u8)(value >> (8 * i)));
    pm_update(a);
}

static u32 pm_in(void *self, u16 port, unsigned size_bytes) {
    AcpiPm *a = self;
    return pm_read(a, port - a->mapped, size_bytes);
}

static void pm_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    AcpiPm *a = self;
    pm_write(a, port - a->mapped, size_bytes, value);
}

// The fixed ports are PM1_CNT wherever PMBASE is.
static u32 pm_in_fixed(void *self, u16 port, unsigned size_bytes) {
    return pm_read(self, PM1_CNT + (port & 1), size_bytes);
}

static void pm_out_fixed(void *self, u16 port, unsigned size_bytes, u32 value) {
    pm_write(self, PM1_CNT + (port & 1), size_bytes, value);
}

static void pm_map_fixed(AcpiPm *a) {
    BusPort ops = { "acpi-power-off", a, 1 | 2, pm_in_fixed, pm_out_fixed };
    bus_map_ports(a->bus, 0x604, 2, &ops);
    bus_map_ports(a->bus, 0xb004, 2, &ops);
}

static void pm_written(void *self, unsigned reg, unsigned bytes) {
    AcpiPm *a = self;
    if (reg > REG_PMREGMISC || reg + bytes <= REG_PMBASE) return;
    bool on = pci_get(a->fn, REG_PMREGMISC, 1) & 1;
    u32 base = on ? pci_get(a->fn, REG_PMBASE, 2) & 0xffc0 : 0;
    if (base == a->mapped) return;
    if (a->mapped) bus_unmap_ports(a->bus, (u16)a->mapped, PM_BYTES);
    a->mapped = base;
    pm_map_fixed(a);
    if (!base) return;
    BusPort ops = { "acpi-pm", a, 1 | 2 | 4, pm_in, pm_out };
    bus_map_ports(a->bus, (u16)base, PM_BYTES, &ops);
}

static u32 gpe_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    AcpiPm *a = self;
    return a->gpe[port & 3];
}

static void gpe_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    AcpiPm *a = self;
    unsigned n = port & 3;
    a->gpe[n] = n < 2 ? a->gpe[n] & (u8)~value : (u8)value;
}

static u32 hotplug_in(void *self, u16 port, unsigned size_bytes) {
    (void)self, (void)port, (void)size_bytes;
    return 0;
}

static u32 apm_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    AcpiPm *a = self;
    return a->apm[port & 1];
}

static void apm_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    AcpiPm *a = self;
    a->apm[port & 1] = (u8)value;
    if (port & 1) return;
    if (value == APM_ACPI_ON) a->regs[PM1_CNT] |= CNT_SCI_EN;
    if (value == APM_ACPI_OFF) a->regs[PM1_CNT] &= (u8)~CNT_SCI_EN;
    pm_update(a);
}

static void acpipm_reset(void *self) {
    AcpiPm *a = self;
    a->seen_overflows = pm_ticks(a) >> 23;
    pm_update(a);
}

static void acpipm_loaded(void *self) { pm_update(self); }

static const DeviceClass acpipm_class = {
    "acpipm", acpipm_fields, ARRAY_LEN(acpipm_fields), acpipm_reset, acpipm_loaded, NULL,
};

static PciFn *acpipm_add_fn(PciBus *pci, unsigned device) {
    static const PciId id = { .vendor = 0x8086, .device = 0x7113, .class_code = 0x068000,
                              .revision = 3, .intx = 1 };
    PciFn *fn = pci_add(pci, "piix4-pm", device, 3, &id);
    pci_init_bytes(fn, PCI_STATUS, 2, 0x0280);
    pci_init_bytes(fn, PCI_IRQ_LINE, 1, 9);
    pci_init_bytes(fn, REG_PMBASE, 4, 1);
    pci_write_mask(fn, REG_PMBASE, 4, 0xffc0);
    for (unsigned reg = 0x44; reg < 0x80; reg += 4) pci_write_mask(fn, (u8)reg, 4, 0xffffffff);
    pci_init_bytes(fn, REG_DEVACTB, 4, BIT(25));         // APMC_EN: see rule 2
    pci_write_mask(fn, REG_PMREGMISC, 1, 1);
    return fn;                                           // the SMBus host (0x90, 0xd2) is absent
}

static void acpipm_map_ports(AcpiPm *a) {
    pm_map_fixed(a);
    bus_map_ports(a->bus, GPE_BASE, 4, &(BusPort){ "acpi-gpe", a, 1, gpe_in, gpe_out });
    bus_map_ports(a->bus, HOTPLUG_BASE, 16, &(BusPort){ "acpi-hotplug", a, 7, hotplug_in, NULL });
    bus_map_ports(a->bus, 0xb2, 2, &(BusPort){ "apm", a, 1, apm_in, apm_out });
}

AcpiPm *acpipm_new(Bus *bus, PciBus *pci, unsigned device, Wire sci) {
    AcpiPm *a = mem_new(sizeof(*a));
    a->bus = bus;
    a->sci = sci;
    a->overflow = bus_timer_new(bus, "acpipm", pm_overflow, a);
    a->fn = acpipm_add_fn(pci, device);
    pci_on_write(a->fn, pm_written, a);
    device_add(bus, &acpipm_class, NULL, a);
    acpipm_map_ports(a);
    return a;
}

void acpipm_free(AcpiPm *a) { free(a); }

void acpipm_press_power(AcpiPm *a) {
    a->regs[PM1_STS + 1] |= STS_POWER >> 8;
    pm_update(a);
}
