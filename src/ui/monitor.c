// SPDX-License-Identifier: MIT
// The monitor's line: echo, editing, history, and finding the command.
#include "ui/monitor_int.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MONITOR_PROMPT "(qemu) "

const MonitorRow monitor_rows[] = {
    { "help|?", "[command]", "list the commands", monitor_do_help },
    { "quit|q", "", "end the emulator", monitor_do_quit },
    { "stop|s", "", "pause the machine", monitor_do_stop },
    { "cont|c", "", "go on after a pause", monitor_do_cont },
    { "info", "[subject]", "show something about the machine", monitor_do_info },
    { "x", "/FMT ADDR", "show memory at a virtual address; FMT: count, format x d u o c i, size b h w g",
      monitor_do_x },
    { "xp", "/FMT ADDR", "show memory at a physical address", monitor_do_xp },
    { "print|p", "/FMT EXPR", "show the value of an expression", monitor_do_print },
    { "i", "/FMT PORT", "read a port", monitor_do_in },
    { "o", "/FMT PORT VALUE", "write to a port", monitor_do_out },
    { "sum", "ADDR SIZE", "checksum of physical memory", monitor_do_sum },
    { "gva2gpa", "ADDR", "physical address of a virtual one", monitor_do_gva2gpa },
    { "memsave", "ADDR SIZE FILE", "write virtual memory to a file", monitor_do_memsave },
    { "pmemsave", "ADDR SIZE FILE", "write physical memory to a file", monitor_do_pmemsave },
    { "sendkey", "KEYS [HOLD_MS]", "press keys together (sendkey ctrl-alt-delete)", monitor_do_sendkey },
    { "mouse_move", "DX DY [DZ]", "move the mouse and its wheel", monitor_do_mouse_move },
    { "mouse_button", "STATE", "mouse buttons: 1 left, 2 middle, 4 right", monitor_do_mouse_button },
    { "system_reset", "", "reset the machine", monitor_do_reset },
    { "system_powerdown", "", "press the power button", monitor_do_powerdown },
    { "nmi", "", "raise a non-maskable interrupt", monitor_do_nmi },
    { "eject", "[-f] DEVICE", "take the disk out of a floppy or CD drive", monitor_do_eject },
    { "change", "DEVICE FILE [raw [read-only|read-write|retain]]", "put another disk into a floppy or CD drive",
      monitor_do_change },
    { "screendump", "FILE [-f png|ppm]", "save the screen as a picture", monitor_do_screendump },
    { "boot_set", "LETTERS", "boot order from the next reset on", monitor_do_boot_set },
    { "commit", "DEVICE|all", "keep what was written under -snapshot", monitor_do_commit },
    { "log", "ITEM,...|none", "choose what is logged", monitor_do_log },
    { "logfile", "FILE", "where the log goes", monitor_do_logfile },
    { "singlestep", "[on|off]", "translate one instruction at a time", monitor_do_singlestep },
    { "savevm", "[TAG]", "snapshots of the machine are not there", monitor_do_snapshots },
    { "loadvm", "TAG", "snapshots of the machine are not there", monitor_do_snapshots },
    { "delvm", "TAG", "snapshots of the machine are not there", monitor_do_snapshots },
    { "gdbserver", "[DEV]", "gdb server at tcp::1234, DEV or none", monitor_do_gdbserver },
    { 0 },
};

// ---- words --------------------------------------------------------------------------------------

bool monitor_word(const char **args, char *word, size_t word_bytes) {
    const char *at = *args;
    size_t n = 0;
    while (isspace((unsigned char)*at)) at++;
    if (!*at) return false;
    char quote = *at == '"' ? *at++ : 0;
    while (*at && (quote ? *at != quote : !isspace((unsigned char)*at))) {
        if (quote && *at == '\\' && at[1]) at++;
        if (n + 1 < word_bytes) word[n++] = *at;
        at++;
    }
    word[n] = 0;
    *args = at + (quote && *at == quote);
    return true;
}

// Is `name` one of the row's, which are separated by '|'?
static bool monitor_named(const MonitorRow *row, const char *name, size_t length) {
    for (const char *at = row->name; *at;) {
        size_t n = strcspn(at, "|");
        if (n == length && !memcmp(at, name, n)) return true;
        at += n + (at[n] == '|');
    }
    return false;
}

const MonitorRow *monitor_find(const MonitorRow *rows, const char *name, size_t length) {
    for (; rows->name; rows++)
        if (monitor_named(rows, name, length)) return rows;
    return NULL;
}

void monitor_list(const MonitorRow *rows, const char *prefix, FILE *out) {
    for (; rows->name; rows++)
        fprintf(out, "%s%s%s%s -- %s\n", prefix, rows->name, *rows->args ? " " : "", rows->args, rows->help);
}

void monitor_do_help(Monitor *mon, const char *args, FILE *out) {
    (void)mon;
    char word[64];
    if (!monitor_word(&args, word, sizeof word)) {
        monitor_list(monitor_rows, "", out);
        return;
    }
    const MonitorRow *row = monitor_find(monitor_rows, word, strlen(word));
    if (!row) fprintf(out, "unknown command: '%s'\n", word);
    else if (!strcmp(row->name, "info")) monitor_list(monitor_info_rows, "info ", out);
    else fprintf(out, "%s %s -- %s\n", row->name, row->args, row->help);
}

// A format may follow the name without a space: x/2wx.
void monitor_command(Monitor *mon, const char *line, FILE *out) {
    while (isspace((unsigned char)*line)) line++;
    size_t length = strcspn(line, " \t/");
    if (!*line) return;
    const MonitorRow *row = monitor_find(monitor_rows, line, length);
    if (row) row->run(mon, line + length, out);
    else fprintf(out, "unknown command: '%.*s'\n", (int)length, line);
}

// ---- output -------------------------------------------------------------------------------------

static void monitor_put(Monitor *mon, const char *text, size_t length) {
    char *out = mem_new(2 * length + 1);
    unsigned bytes = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n') out[bytes++] = '\r';
        out[bytes++] = text[i];
    }
    chardev_write(mon->dev, out, bytes);
    free(out);
}

static void monitor_say(Monitor *mon, const char *text) { monitor_put(mon, text, strlen(text)); }

static void monitor_run_line(Monitor *mon) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    require(out);
    monitor_command(mon, mon->line, out);
    fclose(out);
    monitor_put(mon, text, bytes);
    free(text);
}

// ---- history ------------------------------------------------------------------------------------

static void monitor_remember(Monitor *mon) {
    if (!mon->length) return;
    if (mon->history_count && !strcmp(mon->history[mon->history_count - 1], mon->line)) return;
    if (mon->history_count == MONITOR_HISTORY) {
        free(mon->history[0]);
        memmove(mon->history, mon->history + 1, (MONITOR_HISTORY - 1) * sizeof *mon->history);
        mon->history_count--;
    }
    mon->history[mon->history_count++] = mem_strdup(mon->line);
}

static void monitor_rub_out(Monitor *mon, unsigned count) {
    for (; count && mon->length; count--, mon->length--) monitor_say(mon, "\b \b");
}

static void monitor_recall(Monitor *mon, int step) {
    if (step < 0 ? !mon->history_at : mon->history_at >= mon->history_count) return;
    mon->history_at += (unsigned)step;
    monitor_rub_out(mon, mon->length);
    const char *text = mon->history_at < mon->history_count ? mon->history[mon->history_at] : "";
    mon->length = (unsigned)strlen(text);
    memcpy(mon->line, text, mon->length);
    monitor_put(mon, mon->line, mon->length);
}

// ---- input --------------------------------------------------------------------------------------

static void monitor_enter(Monitor *mon) {
    mon->line[mon->length] = 0;
    monitor_say(mon, "\n");
    monitor_remember(mon);
    mon->history_at = mon->history_count;
    monitor_run_line(mon);
    mon->length = 0;
    if (!(bus_requests(mon->m->bus) & BUS_REQ_SHUTDOWN)) monitor_say(mon, MONITOR_PROMPT);
}

// Arrow up and down; other sequences are swallowed. False: the byte is no part of one.
static bool monitor_escape(Monitor *mon, u8 byte) {
    if (!mon->escape) {
        mon->escape = byte == 0x1b;
        return byte == 0x1b;
    }
    if (mon->escape == 1) {
        mon->escape = byte == '[' || byte == 'O' ? 2 : 0;
        return true;
    }
    if (byte < 0x40) return true;
    if (byte == 'A') monitor_recall(mon, -1);
    if (byte == 'B') monitor_recall(mon, 1);
    mon->escape = 0;
    return true;
}

static void monitor_byte(Monitor *mon, u8 byte) {
    bool after_cr = mon->after_cr;
    mon->after_cr = byte == '\r';
    if (monitor_escape(mon, byte) || (byte == '\n' && after_cr)) return;
    switch (byte) {
    case '\r': case '\n': monitor_enter(mon); break;
    case 0x7f: case '\b': monitor_rub_out(mon, 1); break;
    case 0x15: case 0x03: monitor_rub_out(mon, mon->length); break;       // Ctrl-U, Ctrl-C
    case 0x10: monitor_recall(mon, -1); break;                            // Ctrl-P
    case 0x0e: monitor_recall(mon, 1); break;                             // Ctrl-N
    default:
        if (byte < 0x20 || mon->length + 1 >= MONITOR_LINE_BYTES) break;
        mon->line[mon->length++] = (char)byte;
        chardev_write(mon->dev, &byte, 1);
    }
}

static void monitor_input(void *self, const u8 *bytes, unsigned count) {
    while (count--) monitor_byte(self, *bytes++);
}

static void monitor_greet(Monitor *mon) {
    mon->length = 0;
    if (!mon->greeted)
        monitor_say(mon, "glassbox " GLASSBOX_VERSION " monitor - type 'help' for more information\n");
    mon->greeted = true;
    monitor_say(mon, MONITOR_PROMPT);
}

static void monitor_opened(void *self) {
    Monitor *mon = self;
    mon->greeted = false;
    monitor_greet(mon);
}

static void monitor_focus(void *self, bool has_it) {
    Monitor *mon = self;
    if (!has_it) return;
    monitor_say(mon, "\n");
    monitor_greet(mon);
}

Monitor *monitor_new(Machine *m, Chardev *dev) {
    Monitor *mon = mem_new(sizeof *mon);
    mon->m = m;
    mon->dev = dev;
    mon->key_timer = bus_timer_new(m->bus, "monitor keys", monitor_key_fire, mon);
    if (dev)
        chardev_attach(dev, &(ChardevFront){ .self = mon, .input = monitor_input,
                                             .focus = monitor_focus, .opened = monitor_opened });
    return mon;
}

void monitor_set_gdb(Monitor *mon, struct Gdb *gdb) { mon->gdb = gdb; }

void monitor_free(Monitor *mon) {
    if (!mon) return;
    bus_timer_stop(mon->key_timer);
    for (unsigned i = 0; i < mon->history_count; i++) free(mon->history[i]);
    free(mon);
}
