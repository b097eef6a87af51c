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
INFO(pci) { UNUSED(); pci_info(mon->m->pc->pci, out); }
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

typedef struct InfoTray { bool removable, locked, open; } InfoTray;

static void info_disk(const char *name, const Disk *disk, InfoTray tray, FILE *out) {
    if (disk)
        fprintf(out, "%s: %s (raw%s)\n", name, disk_name(disk), disk_is_readonly(disk) ? ", read-only" : "");
    else fprintf(out, "%s: [not inserted]\n", name);
    if (tray.removable)
        fprintf(out, "    Removable device: %slocked, tray %s\n", tray.locked ? "" : "not ",
                tray.open ? "open" : "closed");
    if (disk) fprintf(out, "    Size:             %" PRIu64 " sectors\n", disk_sectors(disk));
}

INFO(block) {
    UNUSED();
    static const char *const hd[4] = { "ide0-hd0", "ide0-hd1", "ide1-hd0", "ide1-hd1" };
    Pc *pc = mon->m->pc;
    for (unsigned i = 0; i < 4; i++) {
        Disk *disk = ide_disk(pc->ide[i / 2], i % 2);
        if (disk) info_disk(hd[i], disk, (InfoTray){ 0 }, out);
        Cd *cd = pc->cd[i];
        if (!cd) continue;
        info_disk(cd_name(cd), cd_disc(cd), (InfoTray){ true, cd_is_locked(cd), cd_is_open(cd) }, out);
    }
    InfoTray floppy = { .removable = true };
    info_disk("floppy0", fdc_disk(pc->fdc, 0), floppy, out);
    if (fdc_disk(pc->fdc, 1)) info_disk("floppy1", fdc_disk(pc->fdc, 1), floppy, out);
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
    { "mtree", "", "the physical address space", info_mtree },
    { "pci", "", "the PCI functions", info_pci },
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
