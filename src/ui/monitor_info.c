// SPDX-License-Identifier: MIT
// info: what the machine looks like inside.
#include "bus/device.h"
#include "ui/monitor_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define INFO(name) static void info_##name(Monitor *mon, const char *args, FILE *out)
#define UNUSED() ((void)mon, (void)args, (void)out)

INFO(version) { UNUSED(); fprintf(out, GLASSBOX_VERSION "\n"); }
INFO(registers) { UNUSED(); cpu_dump(mon->m->cpu, out, true); }
INFO(tlb) { UNUSED(); cpu_dump_tlb(mon->m->cpu, out); }
INFO(mem) { UNUSED(); cpu_dump_mem(mon->m->cpu, out); }
INFO(jit) { UNUSED(); jit_info(mon->m->jit, out); }
INFO(qtree) { UNUSED(); device_list(mon->m->bus, out); }

INFO(status) {
    UNUSED();
    fprintf(out, "VM status: %s\n", mon->m->powered_off ? "paused (shutdown)"
                                    : mon->m->paused ? "paused" : "running");
}

INFO(irq) {
    UNUSED();
    Cpu *cpu = mon->m->cpu;
    fprintf(out, "interrupts %" PRIu64 "  exceptions %" PRIu64 "  of them page faults %" PRIu64 "\n",
            cpu->stats.interrupts, cpu->stats.exceptions, cpu->stats.page_faults);
    fprintf(out, "INTR %d  IF %d\n", bus_intr(mon->m->bus), (cpu->eflags & FLAG_IF) != 0);
    device_info(mon->m->bus, "pic", out);
}

INFO(cpus) {
    UNUSED();
    fprintf(out, "* CPU #0: pc=0x%08x%s\n", mon->m->cpu->seg[CPU_CS].base + mon->m->cpu->eip,
            mon->m->cpu->halted ? " (halted)" : "");
}

static void info_disk(const char *name, const Disk *disk, bool removable, FILE *out) {
    if (disk)
        fprintf(out, "%s: %s (raw%s)\n", name, disk_name(disk), disk_is_readonly(disk) ? ", read-only" : "");
    else fprintf(out, "%s: [not inserted]\n", name);
    if (removable) fprintf(out, "    Removable device: not locked, tray closed\n");
    if (disk) fprintf(out, "    Size:             %" PRIu64 " sectors\n", disk_sectors(disk));
}

INFO(block) {
    UNUSED();
    static const char *const hd[4] = { "ide0-hd0", "ide0-hd1", "ide1-hd0", "ide1-hd1" };
    Pc *pc = mon->m->pc;
    for (unsigned i = 0; i < 4; i++) {
        Disk *disk = ide_disk(pc->ide[i / 2], i % 2);
        if (disk) info_disk(hd[i], disk, false, out);
    }
    info_disk("floppy0", fdc_disk(pc->fdc, 0), true, out);
    if (fdc_disk(pc->fdc, 1)) info_disk("floppy1", fdc_disk(pc->fdc, 1), true, out);
}

// ---- the physical address space -----------------------------------------------------------------

static const char *mtree_kind(Monitor *mon, const BusPage *p, u32 *offset) {
    Bus *bus = mon->m->bus;
    *offset = 0;
    if (p->kind == BUS_PAGE_MMIO) return bus_mmio_name(bus, p->mmio);
    if (p->kind == BUS_PAGE_NONE) return NULL;
    u64 at = (u64)(p->host - bus_ram(bus));
    *offset = (u32)at;
    if (p->kind == BUS_PAGE_ROM) return "rom";
    return at < bus_ram_bytes(bus) ? "ram" : "ram (video or shadow memory)";
}

INFO(mtree) {
    UNUSED();
    const char *kind = NULL;
    u32 first = 0, next_offset = 0;
    fprintf(out, "address-space: memory\n");
    for (u64 ppn = 0; ppn <= BUS_PAGES; ppn++) {
        u32 offset = 0;
        const char *now = ppn < BUS_PAGES ? mtree_kind(mon, bus_page(mon->m->bus, (u32)ppn), &offset) : NULL;
        bool same = now == kind && (!offset || offset == next_offset);
        if (kind && !same)
            fprintf(out, "  %016" PRIx64 "-%016" PRIx64 ": %s\n", (u64)first << PAGE_SHIFT,
                    (ppn << PAGE_SHIFT) - 1, kind);
        if (!same) first = (u32)ppn;
        kind = now;
        next_offset = offset + PAGE_BYTES;
    }
}

// ---- PCI ----------------------------------------------------------------------------------------

enum { PCI_ADDRESS = 0xcf8, PCI_DATA = 0xcfc };

// As a guest reads it: the address register is put back afterwards.
static u32 pci_config(Bus *bus, u32 devfn, u32 reg) {
    u32 kept = bus_in(bus, PCI_ADDRESS, 4);
    bus_out(bus, PCI_ADDRESS, 4, 0x80000000u | devfn << 8 | reg);
    u32 value = bus_in(bus, PCI_DATA, 4);
    bus_out(bus, PCI_ADDRESS, 4, kept);
    return value;
}

static const char *pci_class_name(u32 class_code) {
    static const struct { u16 code; const char *name; } names[] = {
        { 0x0101, "IDE controller" }, { 0x0200, "Ethernet controller" }, { 0x0300, "VGA controller" },
        { 0x0600, "Host bridge" }, { 0x0601, "ISA bridge" }, { 0x0680, "Bridge" },
        { 0x0c03, "USB controller" },
    };
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].code == class_code >> 16) return names[i].name;
    return "Function";
}

static void info_pci_function(Bus *bus, u32 devfn, FILE *out) {
    u32 id = pci_config(bus, devfn, 0), irq = pci_config(bus, devfn, PCI_IRQ_LINE);
    if ((id & 0xffff) == 0xffff) return;
    fprintf(out, "  Bus  0, device %3u, function %u:\n    %s: PCI device %04x:%04x\n", devfn >> 3, devfn & 7,
            pci_class_name(pci_config(bus, devfn, PCI_CLASS)), id & 0xffff, id >> 16);
    if (irq >> 8 & 0xff) fprintf(out, "      IRQ %u, pin %c\n", irq & 0xff, 'A' + (irq >> 8 & 0xff) - 1);
    for (u32 n = 0; n < 6; n++) {
        u32 bar = pci_config(bus, devfn, PCI_BAR0 + 4 * n);
        if (bar & PCI_BAR_IO) fprintf(out, "      BAR%u: I/O at 0x%04x\n", n, bar & ~3u);
        else if (bar) fprintf(out, "      BAR%u: 32 bit memory at 0x%08x\n", n, bar & ~15u);
    }
}

INFO(pci) {
    UNUSED();
    for (u32 devfn = 0; devfn < 256; devfn++) info_pci_function(mon->m->bus, devfn, out);
}

// ---- dispatch -----------------------------------------------------------------------------------

const MonitorRow monitor_info_rows[] = {
    { "version", "", "the version", info_version },
    { "status", "", "running or paused", info_status },
    { "registers", "", "the processor's registers", info_registers },
    { "cpus", "", "the processor", info_cpus },
    { "mem", "", "which virtual addresses are mapped", info_mem },
    { "tlb", "", "the page tables, page by page", info_tlb },
    { "jit", "", "the translator's numbers", info_jit },
    { "irq", "", "interrupts so far", info_irq },
    { "block", "", "the drives", info_block },
    { "pci", "", "the PCI bus", info_pci },
    { "mtree", "", "the physical address space", info_mtree },
    { "qtree", "", "the names of all devices; info NAME shows one", info_qtree },
    { 0 },
};

void monitor_do_info(Monitor *mon, const char *args, FILE *out) {
    char word[64];
    if (!monitor_word(&args, word, sizeof word)) {
        monitor_list(monitor_info_rows, "info ", out);
        return;
    }
    const MonitorRow *row = monitor_find(monitor_info_rows, word, strlen(word));
    if (row) row->run(mon, args, out);
    else if (!device_info(mon->m->bus, word, out))
        fprintf(out, "info: unknown subject '%s' ('info' lists them, 'info qtree' the devices)\n", word);
}
