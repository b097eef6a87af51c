// SPDX-License-Identifier: MIT
// What the monitor shows of an ATA channel: registers by name, what is going on, how far it is.
#include "dev/ide_int.h"

#include <inttypes.h>

static void info_drive(const Ide *ide, unsigned u, FILE *out) {
    const IdeGeometry *g = &ide->geometry[u];
    const Disk *disk = ide->disk[u];
    fprintf(out, "ide%u-%s%u: ", ide->channel, ide->cd[u] ? "cd" : "hd", u);
    if (disk)
        fprintf(out, "%s, %" PRIu64 " sectors, %u/%u/%u%s\n", disk_name(disk), disk_sectors(disk), g->cylinders,
                g->heads, g->sectors, disk_is_readonly(disk) ? " (write-protected)" : "");
    else if (ide->cd[u]) fprintf(out, "CD drive, see 'info %s'\n", cd_name(ide->cd[u]));
    else fprintf(out, "no drive\n");
}

static void info_status(u8 status, FILE *out) {
    static const char *const names[8] = { "error", NULL, NULL, "data", "seek done", "fault", "ready", "busy" };
    const char *before = " (";
    fprintf(out, "    status %02x", status);
    for (unsigned bit = 8; bit-- > 0;) {
        if (!names[bit] || !(status >> bit & 1)) continue;
        fprintf(out, "%s%s", before, names[bit]);
        before = ", ";
    }
    fprintf(out, "%s", *before == ',' ? ")" : "");
}

static void info_pairs(const u8 *r, FILE *out) {
    fprintf(out, "  features %02x  count %02x  low %02x  mid %02x  high %02x\n", r[REG_FEATURES], r[REG_COUNT],
            r[REG_LOW], r[REG_MID], r[REG_HIGH]);
}

static void info_registers(const Ide *ide, unsigned u, FILE *out) {
    static const char *const kinds[32] = { [1] = "PIO", [4] = "multiword DMA", [8] = "Ultra DMA" };
    static const char *const powers[] = { "active", "standby", "asleep" };         // ORDER: POWER_*
    const char *kind = kinds[ide->mode[u] >> 3];
    info_status(ide->status[u], out);
    fprintf(out, "  error %02x%s\n    registers    ", ide->error[u], ide->pending[u] ? "  interrupt pending" : "");
    info_pairs(ide->reg + u * REG_PAIRS, out);
    fprintf(out, "    before that  ");
    info_pairs(ide->old + u * REG_PAIRS, out);
    fprintf(out, "    %s, %s %u", powers[ide->power[u] % ARRAY_LEN(powers)], kind ? kind : "mode", ide->mode[u] & 7);
    if (ide->disk[u])
        fprintf(out, ", blocks of %u sectors, write cache %s", ide->multiple[u], ide->write_cache[u] ? "on" : "off");
    fputc('\n', out);
}

static void info_command(const Ide *ide, FILE *out) {
    static const char *const todo[] = { "nothing", "the command", "read on", "store", "the reset", "DMA" };  // IdeTodo
    fprintf(out, "command %02x of drive %u, to do: %s", ide->command, ide->active,
            todo[ide->todo % ARRAY_LEN(todo)]);
    u64 now_ns = bus_now_ns(ide->bus);
    if (ide->todo) fprintf(out, " in %" PRIu64 " ns", ide->due_ns > now_ns ? ide->due_ns - now_ns : 0);
    fputc('\n', out);
}

static void info_transfer(const Ide *ide, FILE *out) {
    fprintf(out, "transfer: ");
    if (ide->in_end) fprintf(out, "byte %u of %u at the data port, to the host", ide->data_pos, ide->in_end);
    else if (ide->out_end) fprintf(out, "byte %u of %u at the data port, to the drive", ide->data_pos, ide->out_end);
    else if (ide->dma) fprintf(out, "DMA, byte %u of %u in the buffer%s", ide->data_pos, ide->held,
                               ide->engine_wait ? ", waits for the bus master" : "");
    else fprintf(out, "none");
    if (ide->left) fprintf(out, "; %u sectors left, next %" PRIu64, ide->left, ide->lba);
    fputc('\n', out);
}

void ide_info(void *self, FILE *out) {
    const Ide *ide = self;
    for (unsigned u = 0; u < IDE_UNITS; u++) {
        info_drive(ide, u, out);
        if (ide_has(ide, u)) info_registers(ide, u, out);
    }
    fprintf(out, "selected: drive %u, device %02x (%s), control %02x, interrupt line %s\n", ide->unit, ide->device,
            ide->device & DEVICE_LBA ? "LBA" : "CHS", ide->control, ide->intrq ? "high" : "low");
    info_command(ide, out);
    info_transfer(ide, out);
}
