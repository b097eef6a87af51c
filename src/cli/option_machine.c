// SPDX-License-Identifier: MIT
// Handlers of options about the machine, its display, its log, and how it runs.
#include "cli/options.h"
#include "pc/lab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HANDLER(name) OptionStatus option_##name(Options *o, const char *arg, char **err)
#define UNUSED() ((void)o, (void)arg, (void)err)

// A handler that only notes something.
#define FLAG_HANDLER(name, statement) \
    HANDLER(name) { UNUSED(); statement; return OPTION_OK; }

FLAG_HANDLER(ignored, (void)0)
FLAG_HANDLER(nodefaults, o->nodefaults = true)
FLAG_HANDLER(snapshot, o->machine.pc.snapshot = true)
FLAG_HANDLER(no_fd_bootchk, o->machine.pc.no_floppy_signature = true)
FLAG_HANDLER(curses, o->display = DISPLAY_TERM)
FLAG_HANDLER(localtime, o->rtc_localtime = true)
FLAG_HANDLER(firmware_dir, o->firmware_dir = arg)
FLAG_HANDLER(bios, o->machine.pc.bios_path = arg)
FLAG_HANDLER(kernel, o->machine.pc.kernel.path = arg)
FLAG_HANDLER(initrd, o->machine.pc.kernel.initrd = arg)
FLAG_HANDLER(append, o->machine.pc.kernel.append = arg)
FLAG_HANDLER(log_file, o->log_file = arg)
FLAG_HANDLER(pidfile, o->pidfile = arg)
FLAG_HANDLER(stopped, o->machine.paused = true)
FLAG_HANDLER(gdb, o->gdb = arg)
FLAG_HANDLER(gdb_default, o->gdb = "tcp::1234")
FLAG_HANDLER(no_reboot, o->machine.jit.no_reboot = true)
FLAG_HANDLER(no_shutdown, o->machine.no_shutdown = true)
FLAG_HANDLER(singlestep, o->machine.jit.max_insns = 1)

HANDLER(nographic) {
    UNUSED();
    o->nographic = true;
    o->display = DISPLAY_NONE;
    return OPTION_OK;
}

HANDLER(vnc) {
    UNUSED();
    o->display = strcmp(arg, "none") ? DISPLAY_VNC : DISPLAY_NONE;
    o->vnc = arg;
    return OPTION_OK;
}

// ---- the board ----------------------------------------------------------------------------------

HANDLER(memory) {
    Keys keys;
    if (!keys_parse(o, arg, "size", &keys, err)) return OPTION_BAD;
    const char *size = keys_take(&keys, "size");
    keys_ignore(&keys, "slots maxmem");
    if (!keys_end(&keys, "size", err)) return OPTION_BAD;
    if (!size) return option_bad(err, "a size is missing");
    u64 bytes;
    if (!option_size(size, 1 << 20, &bytes, err)) return OPTION_BAD;
    bytes &= ~(u64)(PAGE_BYTES - 1);
    if (bytes < PC_RAM_MIN_BYTES || bytes > PC_RAM_MAX_BYTES)
        return option_bad(err, "'%s': the machine takes from 1 to %u MiB", size,
                          (unsigned)(PC_RAM_MAX_BYTES >> 20));
    o->machine.ram_bytes = bytes;
    return OPTION_OK;
}

static void machine_rest(Options *o, const Keys *keys, const char *option) {
    for (unsigned i = 0; i < keys->count; i++)
        if (!keys->row[i].taken)
            options_warn(o, "-%s %s=%s is ignored", option, keys->row[i].key, keys->row[i].value);
}

static OptionStatus machine_accel(Options *o, const char *name, char **err) {
    if (!strncmp(name, "tcg", 3)) return OPTION_OK;
    if (strcmp(name, "kvm") && strcmp(name, "kvm:tcg") && strcmp(name, "hvf") && strcmp(name, "whpx"))
        return option_bad(err, "unknown accelerator '%s' (known: tcg)", name);
    options_warn(o, "accelerator '%s' is not there: code is translated", name);
    return OPTION_OK;
}

HANDLER(machine) {
    Keys keys;
    bool acpi = true;
    if (option_is_help(arg)) {
        fprintf(o->out, "Supported machines are:\npc                   i440FX + PIIX (default)\n");
        return OPTION_DONE;
    }
    if (!keys_parse(o, arg, "type", &keys, err)) return OPTION_BAD;
    const char *type = keys_take(&keys, "type"), *accel = keys_take(&keys, "accel");
    const char *on = keys_take(&keys, "acpi");
    if (type && strcmp(type, "pc") && strncmp(type, "pc-i440fx", 9) && strncmp(type, "pc-0.", 5) &&
        strncmp(type, "pc-1.", 5))
        return option_bad(err, "unsupported machine '%s' (known: pc)", type);
    if (accel && machine_accel(o, accel, err) != OPTION_OK) return OPTION_BAD;
    if (on && !option_switch(on, &acpi, err)) return OPTION_BAD;
    if (!acpi) o->machine.pc.no_acpi = true;
    keys_ignore(&keys, "usb vmport hpet kernel_irqchip kernel-irqchip dump-guest-core mem-merge");
    machine_rest(o, &keys, "machine");
    return OPTION_OK;
}

HANDLER(M) { return option_machine(o, arg, err); }

HANDLER(no_acpi) {
    UNUSED();
    o->machine.pc.no_acpi = true;
    return OPTION_OK;
}

HANDLER(cpu) {
    if (option_is_help(arg)) {
        cpu_model_list(o->out);
        return OPTION_DONE;
    }
    return cpu_model_parse(arg, &o->machine.cpu, err) ? OPTION_OK : OPTION_BAD;
}

HANDLER(smp) {
    Keys keys;
    u64 count = 1;
    if (!keys_parse(o, arg, "cpus", &keys, err)) return OPTION_BAD;
    const char *cpus = keys_take(&keys, "cpus");
    if (cpus && !option_number(cpus, 1, 255, &count, err)) return OPTION_BAD;
    keys_ignore(&keys, "maxcpus sockets dies clusters cores threads");
    if (!keys_end(&keys, "cpus", err)) return OPTION_BAD;
    if (count > 1) options_warn(o, "-smp %s: the machine has one processor", arg);
    return OPTION_OK;
}

HANDLER(boot) {
    Keys keys;
    if (!keys_parse(o, arg, "order", &keys, err)) return OPTION_BAD;
    const char *order = keys_take(&keys, "order"), *once = keys_take(&keys, "once");
    const char *menu = keys_take(&keys, "menu");
    keys_ignore(&keys, "strict splash splash-time reboot-timeout");
    if (!keys_end(&keys, "order, once, menu", err)) return OPTION_BAD;
    for (const char *at = order ? order : once; at && *at; at++)
        if (!strchr("acdn", *at))
            return option_bad(err, "'%s': unknown drive '%c'; use letters of a (floppy), "
                              "c (hard disk), d (CD), n (network)", order ? order : once, *at);
    if (menu && !option_switch(menu, &o->machine.pc.boot_menu, err)) return OPTION_BAD;
    if (order) o->machine.pc.boot = order;
    if (once) o->machine.boot_once = once;
    return OPTION_OK;
}

// ---- clock --------------------------------------------------------------------------------------

static bool rtc_parse_date(const char *text, i64 *seconds) {
    struct tm t = { .tm_mday = 1 };
    int used = 0;
    if (sscanf(text, "%d-%d-%d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &used) != 3) return false;
    if (text[used]) {
        int more = 0;
        if (text[used] != 'T' || sscanf(text + used + 1, "%d:%d:%d%n", &t.tm_hour, &t.tm_min,
                                        &t.tm_sec, &more) != 3 || text[used + 1 + more]) return false;
    }
    if (t.tm_year < 1970 || t.tm_year > 2099 || t.tm_mon < 1 || t.tm_mon > 12 || t.tm_mday < 1 ||
        t.tm_mday > 31 || t.tm_hour < 0 || t.tm_hour > 23 || t.tm_min < 0 || t.tm_min > 59 ||
        t.tm_sec < 0 || t.tm_sec > 59) return false;
    t.tm_year -= 1900;
    t.tm_mon--;
    *seconds = timegm(&t);
    return true;
}

static OptionStatus rtc_set_base(Options *o, const char *base, char **err) {
    if (!strcmp(base, "utc")) {
        o->rtc_localtime = false;
    } else if (!strcmp(base, "localtime")) {
        o->rtc_localtime = true;
    } else if (!rtc_parse_date(base, &o->rtc_base)) {
        return option_bad(err, "'%s' is not utc, localtime, YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS", base);
    }
    return OPTION_OK;
}

HANDLER(rtc) {
    Keys keys;
    if (!keys_parse(o, arg, "base", &keys, err)) return OPTION_BAD;
    const char *base = keys_take(&keys, "base");
    keys_ignore(&keys, "clock driftfix");
    if (!keys_end(&keys, "base", err)) return OPTION_BAD;
    return base ? rtc_set_base(o, base, err) : OPTION_OK;
}

HANDLER(startdate) {
    return rtc_set_base(o, strcmp(arg, "now") ? arg : "utc", err);
}

static void rtc_settle(Options *o) {
    time_t now = time(NULL);
    i64 base = o->rtc_base >= 0 ? o->rtc_base : (i64)now;
    struct tm local;
    if (o->rtc_localtime && o->rtc_base < 0 && localtime_r(&now, &local)) base += local.tm_gmtoff;
    o->machine.pc.rtc_epoch = base;
}

// ---- display ------------------------------------------------------------------------------------

HANDLER(display) {
    if (option_is_help(arg)) {
        fprintf(o->out, "Available display backend types:\nterm\nvnc\nnone\n");
        return OPTION_DONE;
    }
    if (!strncmp(arg, "vnc=", 4)) return option_vnc(o, arg + 4, err);
    const char *kind = options_text(o, "%.*s", (int)strcspn(arg, ","), arg);
    if (!strcmp(kind, "none")) o->display = DISPLAY_NONE;
    else if (!strcmp(kind, "term") || !strcmp(kind, "curses")) o->display = DISPLAY_TERM;
    else if (!strcmp(kind, "gtk") || !strcmp(kind, "sdl") || !strcmp(kind, "cocoa"))
        options_warn(o, "-display %s is ignored: there are no windows", arg);
    else return option_bad(err, "unknown display '%s' (known: term, vnc=HOST:N, none)", arg);
    return OPTION_OK;
}

HANDLER(vga) {
    if (option_is_help(arg)) {
        fprintf(o->out, "std                  VGA with Bochs VBE (default)\n"
                        "isa                  the same, on the ISA bus\n"
                        "none                 no adapter\n");
        return OPTION_DONE;
    }
    static const char *const others[] = { "cirrus", "vmware", "qxl", "virtio", "xenfb", "tcx", "cg3", NULL };
    o->machine.pc.no_vga = !strcmp(arg, "none");
    o->machine.pc.isa_vga = !strcmp(arg, "isa");
    if (o->machine.pc.no_vga || o->machine.pc.isa_vga || !strcmp(arg, "std")) return OPTION_OK;
    for (unsigned i = 0; others[i]; i++) {
        if (strcmp(arg, others[i])) continue;
        options_warn(o, "-vga %s is ignored: the adapter is 'std'", arg);
        return OPTION_OK;
    }
    return option_bad(err, "unknown adapter '%s' (known: std, isa, none)", arg);
}

// ---- how it runs --------------------------------------------------------------------------------

HANDLER(tb_size) {
    u64 mib;
    if (!option_number(arg, 0, 1024, &mib, err)) return OPTION_BAD;
    o->machine.jit.cache_mib = (u32)mib;
    return OPTION_OK;
}

HANDLER(accel) {
    Keys keys;
    bool one = false;
    if (option_is_help(arg)) {
        fprintf(o->out, "Accelerators supported:\ntcg\n");
        return OPTION_DONE;
    }
    if (!keys_parse(o, arg, "accel", &keys, err)) return OPTION_BAD;
    const char *name = keys_take(&keys, "accel"), *size = keys_take(&keys, "tb-size");
    const char *single = keys_take(&keys, "one-insn-per-tb");
    if (name && machine_accel(o, name, err) != OPTION_OK) return OPTION_BAD;
    if (size && option_tb_size(o, size, err) != OPTION_OK) return OPTION_BAD;
    if (single && !option_switch(single, &one, err)) return OPTION_BAD;
    if (one) o->machine.jit.max_insns = 1;
    keys_ignore(&keys, "thread split-wx");
    return keys_end(&keys, "tb-size, one-insn-per-tb", err) ? OPTION_OK : OPTION_BAD;
}

HANDLER(icount) {
    Keys keys;
    u64 shift = 3;
    if (!keys_parse(o, arg, "shift", &keys, err)) return OPTION_BAD;
    const char *text = keys_take(&keys, "shift");
    keys_ignore(&keys, "align sleep");
    if (!keys_end(&keys, "shift", err)) return OPTION_BAD;
    if (text && strcmp(text, "auto") && !option_number(text, 0, 10, &shift, err)) return OPTION_BAD;
    o->machine.jit.icount = true;
    o->machine.jit.icount_shift = (u32)shift;
    return OPTION_OK;
}

HANDLER(perfmap) {
    (void)arg, (void)err;
    o->machine.jit.perfmap = true;
    return OPTION_OK;
}

HANDLER(restore) {
    static const char *const ways[] = { "table", "retranslate", "check" };     // ORDER: JitRestore
    (void)o;
    for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
        if (strcmp(arg, ways[i])) continue;
        o->machine.jit.restore = (JitRestore)i;
        return OPTION_OK;
    }
    return option_bad(err, "'%s' is none of table, retranslate, check", arg);
}

// 1/N
HANDLER(check) {
    u64 every = 1;
    char *why = NULL;
    bool ok = !arg || (!strncmp(arg, "1/", 2) && option_number(arg + 2, 1, 1000000, &every, &why));
    free(why);
    if (!ok) return option_bad(err, "'%s' is not 1/N with N from 1 to 1000000", arg);
    o->machine.jit.check = (u32)every;
    return OPTION_OK;
}

HANDLER(timeout) {
    char *end;
    o->timeout_s = strtod(arg, &end);
    if (end != arg && !*end && o->timeout_s > 0 && o->timeout_s < 1e8) return OPTION_OK;
    return option_bad(err, "'%s' is not a number of seconds above 0", arg);
}

HANDLER(action) {
    Keys keys;
    if (!keys_parse(o, arg, NULL, &keys, err)) return OPTION_BAD;
    const char *reboot = keys_take(&keys, "reboot"), *shutdown = keys_take(&keys, "shutdown");
    keys_ignore(&keys, "panic watchdog");
    if (!keys_end(&keys, "reboot, shutdown", err)) return OPTION_BAD;
    if (reboot && strcmp(reboot, "reset") && strcmp(reboot, "shutdown"))
        return option_bad(err, "reboot=%s is neither reset nor shutdown", reboot);
    if (shutdown && strcmp(shutdown, "poweroff") && strcmp(shutdown, "pause"))
        return option_bad(err, "shutdown=%s is neither poweroff nor pause", shutdown);
    if (reboot) o->machine.jit.no_reboot = !strcmp(reboot, "shutdown");
    if (shutdown) o->machine.no_shutdown = !strcmp(shutdown, "pause");
    return OPTION_OK;
}

// ---- log ----------------------------------------------------------------------------------------

HANDLER(log_items) {
    if (option_is_help(arg)) {
        log_list_items(o->out);
        return OPTION_DONE;
    }
    Log scratch;
    char *bad = NULL;
    log_init(&scratch);
    bool ok = log_parse_items(&scratch, arg, &bad);
    log_close(&scratch);
    if (!ok) {
        option_bad(err, "unknown item '%s' (-d help lists them)", bad);
        free(bad);
        return OPTION_BAD;
    }
    o->log_items = arg;
    return OPTION_OK;
}

HANDLER(log_filter) {
    Log scratch;
    log_init(&scratch);
    bool ok = log_parse_filter(&scratch, arg);
    log_close(&scratch);
    o->log_filter = arg;
    if (ok) return OPTION_OK;
    return option_bad(err, "'%s' is not a list of A..B, A+LEN, A-LEN", arg);
}

// ---- what depends on several options ------------------------------------------------------------

static const char *firmware_in(Options *o, const char *name) {
    const char *path = options_text(o, "%s/%s", o->firmware_dir, name);
    return access(path, R_OK) ? NULL : path;
}

static void firmware_settle(Options *o) {
    PcConfig *pc = &o->machine.pc;
    if (!o->firmware_dir) return;
    struct stat st;
    if (stat(o->firmware_dir, &st)) {
        options_warn(o, "-L %s: there is no such folder", o->firmware_dir);
    } else if (!pc->bios_path) {
        pc->bios_path = firmware_in(o, "bios-256k.bin");
        if (!pc->bios_path) pc->bios_path = firmware_in(o, "bios.bin");
    } else if (access(pc->bios_path, F_OK) && firmware_in(o, pc->bios_path)) {
        pc->bios_path = firmware_in(o, pc->bios_path);
    }
    pc->vgabios_path = firmware_in(o, pc->isa_vga ? "vgabios-isavga.bin" : "vgabios-stdvga.bin");
}

static bool settle_any_drive(const PcConfig *pc) {
    bool any = pc->floppy[0].path || pc->floppy[1].path || pc->kernel.path;
    for (unsigned i = 0; i < 4; i++) any |= pc->ide[i].path != NULL;
    return any;
}

// QEMU's pc has a CD drive as secondary master, unless something else is there or drives were placed
// one by one with -device.
static void settle_cd(Options *o) {
    PcDrive *drive = &o->machine.pc.ide[2];
    if (!o->nodefaults && !o->drives_placed && !drive->path) drive->cd = true;
}

static bool settle_is_mux(const char *spec) { return spec && !strncmp(spec, "mon:", 4); }

// Where -nographic puts what was not placed.
static void settle_nographic(Options *o) {
    bool placed = o->monitor_count != 0 || o->nodefaults;
    for (unsigned i = 0; i < o->serial_count; i++) {
        placed |= settle_is_mux(o->serial[i]);
        if (!o->monitor_count && !strcmp(o->serial[i], "stdio")) {
            o->serial[i] = "mon:stdio";
            placed = true;
        }
    }
    o->machine.pc.firmware_serial = true;
    if (!o->serial_count && !o->nodefaults) o->serial[o->serial_count++] = placed ? "stdio" : "mon:stdio";
    else if (!placed) o->monitor[o->monitor_count++] = "stdio";
}

bool options_settle(Options *o) {
    PcConfig *pc = &o->machine.pc;
    rtc_settle(o);
    firmware_settle(o);
    if (o->nographic) settle_nographic(o);
    if (!o->serial_count && !o->nodefaults) o->serial[o->serial_count++] = "null";
    if (pc->no_vga && o->display == DISPLAY_DEFAULT) o->display = DISPLAY_NONE;
    if (pc->no_vga && o->display != DISPLAY_NONE) {
        option_bad(&o->error, "-display: there is nothing to show with -vga none");
        return false;
    }
    if (!pc->kernel.path && (pc->kernel.initrd || pc->kernel.append)) {
        option_bad(&o->error, "%s: only with -kernel", pc->kernel.initrd ? "-initrd" : "-append");
        return false;
    }
    settle_cd(o);
    if (!settle_any_drive(pc) && !o->nodefaults) {
        pc->floppy[0].blob = lab_floppy();
        pc->floppy[0].blob_bytes = lab_floppy_bytes();
        o->lab = true;
    }
    return true;
}
