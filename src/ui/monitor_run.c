// SPDX-License-Identifier: MIT
// Monitor commands that run, end, feed and change the machine.
#include "dev/keys.h"
#include "ui/gdb.h"
#include "ui/monitor_int.h"
#include "ui/screen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND(name) void monitor_do_##name(Monitor *mon, const char *args, FILE *out)
#define UNUSED() ((void)mon, (void)args, (void)out)

COMMAND(quit) { UNUSED(); bus_request_exit(mon->m->bus, 0); }
COMMAND(stop) { UNUSED(); machine_pause(mon->m); }
COMMAND(reset) { UNUSED(); bus_request(mon->m->bus, BUS_REQ_RESET); }
COMMAND(nmi) { UNUSED(); bus_pulse_nmi(mon->m->bus); }

COMMAND(cont) {
    UNUSED();
    if (!machine_resume(mon->m)) fprintf(out, "Error: Resetting the Virtual Machine is required\n");
}

COMMAND(powerdown) {
    UNUSED();
    if (mon->m->pc->pm) acpipm_press_power(mon->m->pc->pm);
    else fprintf(out, "Error: the machine has no power management (-no-acpi)\n");
}

COMMAND(snapshots) { UNUSED(); fprintf(out, "Error: snapshots of the machine are not there\n"); }

COMMAND(gdbserver) {
    char word[MONITOR_LINE_BYTES], *err = NULL;
    if (!monitor_word(&args, word, sizeof word)) strcpy(word, "tcp::1234");
    if (!mon->gdb) err = mem_strdup("this machine has none");
    else if (gdb_listen(mon->gdb, word, &err) && strcmp(word, "none"))
        fprintf(out, "Waiting for gdb connection on device '%s'\n", word);
    else if (!err) fprintf(out, "Disabled gdbserver\n");
    if (err) fprintf(out, "Error: gdbserver: %s\n", err);
    free(err);
}

COMMAND(commit) {
    UNUSED();
    if (mon->m->snapshot) fprintf(out, "Error: what is written under -snapshot cannot be kept\n");
    else fprintf(out, "Nothing to do: images are written directly (no -snapshot)\n");
}

COMMAND(singlestep) {
    char word[16];
    bool on = !monitor_word(&args, word, sizeof word) || !strcmp(word, "on");
    if (!on && strcmp(word, "off")) {
        fprintf(out, "unexpected option %s\n", word);
        return;
    }
    mon->m->single_step = on;
    jit_single_step(mon->m->jit, on);
}

COMMAND(boot_set) {
    char word[16], *err = NULL;
    if (!monitor_word(&args, word, sizeof word)) {
        fprintf(out, "boot_set: letters of a c d n expected\n");
        return;
    }
    if (pc_set_boot(mon->m->pc, word, &err)) {
        mon->m->order_once = false;
        fprintf(out, "boot device list now set to %s\n", word);
        return;
    }
    fprintf(out, "Error: %s\n", err);
    free(err);
}

// ---- keys and mouse -----------------------------------------------------------------------------

enum { KEY_PACE_MS = 6, KEY_HOLD_MS = 100, KEYS_AT_ONCE = 16 };

static void monitor_key_pump(Monitor *mon) {
    if (!mon->key_count || bus_timer_armed(mon->key_timer)) return;
    MonitorKey key = mon->keys[mon->key_head];
    mon->key_head = (mon->key_head + 1) % MONITOR_KEYS;
    mon->key_count--;
    kbd_key(mon->m->pc->kbd, key.code, key.down);
    bus_timer_at(mon->key_timer, bus_now_ns(mon->m->bus) + key.wait_ms * 1000000ull);
}

void monitor_key_fire(void *mon) { monitor_key_pump(mon); }

static void monitor_key_add(Monitor *mon, unsigned code, bool down, u32 wait_ms) {
    mon->keys[(mon->key_head + mon->key_count++) % MONITOR_KEYS] = (MonitorKey){ (u16)code, down, wait_ms };
}

// "ctrl-alt-delete" -> codes; a lone "-" is the minus key. 0: out has the message.
static unsigned monitor_keys(char *text, u16 *codes, FILE *out) {
    unsigned count = 0;
    for (char *name = text, *next; name; name = next) {
        next = strchr(*name ? name + 1 : name, '-');
        if (next) *next++ = 0;
        int code = key_by_name(!strcmp(name, "-") ? "minus" : name);
        if (code <= 0) fprintf(out, "unknown key: '%s'\n", name);
        else if (count == KEYS_AT_ONCE) fprintf(out, "too many keys at once\n");
        if (code <= 0 || count == KEYS_AT_ONCE) return 0;
        codes[count++] = (u16)code;
    }
    return count;
}

COMMAND(sendkey) {
    char text[256];
    u16 codes[KEYS_AT_ONCE];
    u64 hold_ms = KEY_HOLD_MS;
    if (!monitor_word(&args, text, sizeof text)) {
        fprintf(out, "sendkey: keys expected, as in sendkey ctrl-alt-f1\n");
        return;
    }
    args += strspn(args, " \t");
    if (*args && !monitor_expr(mon, &args, &hold_ms, out)) return;
    unsigned count = monitor_keys(text, codes, out);
    if (mon->key_count + 2 * count > MONITOR_KEYS) {
        fprintf(out, "sendkey: too many keys are waiting\n");
        return;
    }
    for (unsigned i = 0; i < count; i++)
        monitor_key_add(mon, codes[i], true, i + 1 < count ? KEY_PACE_MS : (u32)min_u64(hold_ms, 60000));
    for (unsigned i = count; i-- > 0;) monitor_key_add(mon, codes[i], false, KEY_PACE_MS);
    monitor_key_pump(mon);
}

static bool monitor_number(const char **args, int *value) {
    char word[32], *end;
    if (!monitor_word(args, word, sizeof word)) return false;
    *value = (int)strtol(word, &end, 0);
    return end != word && !*end;
}

COMMAND(mouse_move) {
    int dx, dy, dz = 0;
    if (!monitor_number(&args, &dx) || !monitor_number(&args, &dy)) {
        fprintf(out, "mouse_move: DX DY [DZ] expected\n");
        return;
    }
    monitor_number(&args, &dz);
    kbd_mouse(mon->m->pc->kbd, dx, dy, dz, mon->mouse_buttons);
}

COMMAND(mouse_button) {
    int state;
    if (!monitor_number(&args, &state)) {
        fprintf(out, "mouse_button: a number expected: 1 left, 2 middle, 4 right\n");
        return;
    }
    mon->mouse_buttons = (state & 1 ? KBD_BUTTON_LEFT : 0) | (state & 2 ? KBD_BUTTON_MIDDLE : 0) |
                         (state & 4 ? KBD_BUTTON_RIGHT : 0);
    kbd_mouse(mon->m->pc->kbd, 0, 0, 0, mon->mouse_buttons);
}

// ---- floppies and CDs ---------------------------------------------------------------------------

typedef struct MonitorDrive {
    Cd *cd;                    // NULL: a floppy drive
    unsigned floppy;
} MonitorDrive;

// A drive for removable media by its name. False: out has the message.
static bool monitor_drive(Monitor *mon, const char *name, MonitorDrive *drive, FILE *out) {
    static const char *const names[][2] = { { "floppy0", "fda" }, { "floppy1", "fdb" } };
    Pc *pc = mon->m->pc;
    *drive = (MonitorDrive){ 0 };
    for (unsigned i = 0; i < 4 && !drive->cd; i++)
        if (pc->cd[i] && (!strcmp(name, cd_name(pc->cd[i])) || !strcmp(name, "cdrom")))
            drive->cd = pc->cd[i];
    if (drive->cd) return true;
    for (unsigned i = 0; i < 2; i++) {
        drive->floppy = i;
        if (!strcmp(name, names[i][0]) || !strcmp(name, names[i][1])) return true;
    }
    if (!strncmp(name, "ide", 3) || (!strncmp(name, "hd", 2) && strlen(name) == 3))
        fprintf(out, "Error: Device '%s' is not removable\n", name);
    else fprintf(out, "Error: Device '%s' not found (floppy0, floppy1, ide1-cd0)\n", name);
    return false;
}

// A guest that has locked its drive is asked to give the disc out.
static bool monitor_is_locked(const MonitorDrive *drive, FILE *out) {
    if (!drive->cd || !cd_is_locked(drive->cd) || cd_is_open(drive->cd)) return false;
    cd_press_eject(drive->cd);
    fprintf(out, "Error: Device '%s' is locked and force was not specified, wait for tray to open "
                 "and try again\n", cd_name(drive->cd));
    return true;
}

static void monitor_take_out(Monitor *mon, const MonitorDrive *drive) {
    disk_close(drive->cd ? cd_eject(drive->cd) : fdc_eject(mon->m->pc->fdc, drive->floppy));
}

COMMAND(eject) {
    char word[64];
    MonitorDrive drive;
    bool any = monitor_word(&args, word, sizeof word), force = any && !strcmp(word, "-f");
    if (force) any = monitor_word(&args, word, sizeof word);
    if (!any) fprintf(out, "eject: a device expected (floppy0, floppy1, ide1-cd0)\n");
    if (!any || !monitor_drive(mon, word, &drive, out)) return;
    if (force || !monitor_is_locked(&drive, out)) monitor_take_out(mon, &drive);
}

// The last word of `change`: how the image is opened. False: out has the message.
static bool monitor_change_flags(const char *args, unsigned *flags, FILE *out) {
    char word[64];
    if (monitor_word(&args, word, sizeof word) && strcmp(word, "raw")) {
        fprintf(out, "Error: format '%s' is not read (raw)\n", word);
        return false;
    }
    if (monitor_word(&args, word, sizeof word) && !strcmp(word, "read-only")) *flags |= DISK_READONLY;
    return true;
}

COMMAND(change) {
    char device[64], path[MONITOR_LINE_BYTES], *message = NULL;
    MonitorDrive drive;
    if (!monitor_word(&args, device, sizeof device) || !monitor_word(&args, path, sizeof path)) {
        fprintf(out, "change: a device and an image expected\n");
        return;
    }
    if (!monitor_drive(mon, device, &drive, out)) return;
    unsigned flags = drive.cd ? DISK_READONLY : DISK_FLOPPY | (mon->m->snapshot ? DISK_SNAPSHOT : 0);
    if (!monitor_change_flags(args, &flags, out) || monitor_is_locked(&drive, out)) return;
    monitor_take_out(mon, &drive);                     // first, for it may be the same file
    Disk *disk = disk_open(path, flags, &message);
    if (message) fprintf(out, "%s: %s\n", disk ? "Warning" : "Error", message);
    free(message);
    if (!disk) return;
    disk_close(drive.cd ? cd_insert(drive.cd, disk) : fdc_insert(mon->m->pc->fdc, drive.floppy, disk));
}

// ---- screen and log -----------------------------------------------------------------------------

static bool monitor_ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

COMMAND(screendump) {
    char word[MONITOR_LINE_BYTES], path[MONITOR_LINE_BYTES] = "", format[16] = "";
    while (monitor_word(&args, word, sizeof word)) {
        if (!strcmp(word, "-f")) monitor_word(&args, format, sizeof format);
        else strcpy(path, word);
    }
    if (!*format) strcpy(format, monitor_ends_with(path, ".png") ? "png" : "ppm");
    if (!*path) fprintf(out, "screendump: a file expected\n");
    else if (strcmp(format, "png") && strcmp(format, "ppm"))
        fprintf(out, "Error: format '%s' is neither png nor ppm\n", format);
    else if (!mon->m->pc->vga) fprintf(out, "Error: there is no display adapter\n");
    else if (screen_dump(mon->m->pc->vga, path, !strcmp(format, "png")))
        fprintf(out, "Error: cannot write '%s': %s\n", path, strerror(errno));
}

COMMAND(log) {
    char word[512], *bad = NULL;
    if (!monitor_word(&args, word, sizeof word)) {
        log_list_items(out);
        return;
    }
    if (log_parse_items(mon->m->log, word, &bad)) {
        jit_flush(mon->m->jit);            // so that what is translated again can be seen
        return;
    }
    fprintf(out, "unknown log item '%s'; 'log' alone lists them\n", bad);
    free(bad);
}

COMMAND(logfile) {
    char path[MONITOR_LINE_BYTES];
    if (!monitor_word(&args, path, sizeof path)) fprintf(out, "logfile: a file expected\n");
    else if (!log_open(mon->m->log, path))
        fprintf(out, "Error: cannot open '%s': %s\n", path, strerror(errno));
}
