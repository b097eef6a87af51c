// SPDX-License-Identifier: MIT
// Handlers of options about drives, character devices and other devices.
#include "cli/options.h"

#include <stdlib.h>
#include <string.h>

#define HANDLER(name) OptionStatus option_##name(Options *o, const char *arg, char **err)

// ---- drives -------------------------------------------------------------------------------------

static OptionStatus drive_put(PcDrive *place, const PcDrive *drive, const char *name, char **err) {
    if (place->path || place->cd) return option_bad(err, "drive %s is given twice", name);
    IdeGeometry geometry = place->geometry;          // -hdachs may have come first
    *place = *drive;
    if (!place->geometry.cylinders) place->geometry = geometry;
    return OPTION_OK;
}

static OptionStatus drive_put_floppy(Options *o, unsigned n, const PcDrive *drive, char **err) {
    static const char *const names[2] = { "-fda", "-fdb" };
    return drive_put(&o->machine.pc.floppy[n], drive, names[n], err);
}

static OptionStatus drive_put_ide(Options *o, unsigned n, const PcDrive *drive, char **err) {
    static const char *const names[4] = { "-hda", "-hdb", "-hdc", "-hdd" };
    return drive_put(&o->machine.pc.ide[n], drive, names[n], err);
}

static OptionStatus drive_simple(Options *o, bool floppy, unsigned n, const char *path, char **err) {
    if (!*path) return option_bad(err, "the name of an image is missing");
    PcDrive drive = { .path = path };
    return floppy ? drive_put_floppy(o, n, &drive, err) : drive_put_ide(o, n, &drive, err);
}

HANDLER(fda) { return drive_simple(o, true, 0, arg, err); }
HANDLER(fdb) { return drive_simple(o, true, 1, arg, err); }
HANDLER(hda) { return drive_simple(o, false, 0, arg, err); }
HANDLER(hdb) { return drive_simple(o, false, 1, arg, err); }
HANDLER(hdc) { return drive_simple(o, false, 2, arg, err); }
HANDLER(hdd) { return drive_simple(o, false, 3, arg, err); }

HANDLER(cdrom) {
    PcDrive drive = { .path = *arg ? arg : NULL, .cd = true };
    return drive_put_ide(o, 2, &drive, err);
}

static OptionStatus drive_geometry(const char *c, const char *h, const char *s, IdeGeometry *g,
                                   char **err) {
    u64 cylinders, heads, sectors;
    if (!c || !h || !s) return option_bad(err, "cylinders, heads and sectors belong together");
    if (!option_number(c, 1, 65535, &cylinders, err) || !option_number(h, 1, 16, &heads, err) ||
        !option_number(s, 1, 63, &sectors, err)) return OPTION_BAD;
    *g = (IdeGeometry){ (u32)cylinders, (u8)heads, (u8)sectors };
    return OPTION_OK;
}

HANDLER(hdachs) {
    char c[24], h[24], s[24];
    if (sscanf(arg, "%23[^,],%23[^,],%23[^,]", c, h, s) != 3)
        return option_bad(err, "'%s' is not CYLINDERS,HEADS,SECTORS", arg);
    return drive_geometry(c, h, s, &o->machine.pc.ide[0].geometry, err);
}

static bool drive_switch(Keys *keys, const char *name, bool *value, char **err) {
    const char *text = keys_take(keys, name);
    return !text || option_switch(text, value, err);
}

// What the image is: file, how it is written, its shape.
static OptionStatus drive_image(Keys *keys, PcDrive *drive, char **err) {
    const char *format = keys_take(keys, "format"), *media = keys_take(keys, "media");
    const char *file = keys_take(keys, "file");
    if (format && strcmp(format, "raw"))
        return option_bad(err, "format '%s' is not read; convert with 'qemu-img convert -O raw'", format);
    drive->cd = media && !strcmp(media, "cdrom");
    if (media && !drive->cd && strcmp(media, "disk"))
        return option_bad(err, "media=%s: it is disk or cdrom", media);
    if (!drive_switch(keys, "readonly", &drive->readonly, err) ||
        !drive_switch(keys, "read-only", &drive->readonly, err) ||
        !drive_switch(keys, "snapshot", &drive->snapshot, err)) return OPTION_BAD;
    const char *c = keys_take(keys, "cyls"), *h = keys_take(keys, "heads"), *s = keys_take(keys, "secs");
    if ((c || h || s) && drive_geometry(c, h, s, &drive->geometry, err) != OPTION_OK) return OPTION_BAD;
    drive->path = file;
    return OPTION_OK;
}

// The number of the drive on its interface: index, or bus and unit, or the next free one.
static OptionStatus drive_index(Options *o, Keys *keys, bool floppy, unsigned *n, char **err) {
    const char *index = keys_take(keys, "index"), *bus = keys_take(keys, "bus");
    const char *unit = keys_take(keys, "unit");
    unsigned count = floppy ? 2 : 4;
    u64 value, b = 0, u = 0;
    if (index && (bus || unit)) return option_bad(err, "index excludes bus and unit");
    if (index && !option_number(index, 0, count - 1, &value, err)) return OPTION_BAD;
    if (bus && !option_number(bus, 0, floppy ? 0 : 1, &b, err)) return OPTION_BAD;
    if (unit && !option_number(unit, 0, 1, &u, err)) return OPTION_BAD;
    if (index) *n = (unsigned)value;
    else if (bus || unit) *n = (unsigned)(b * 2 + u);
    else {
        const PcDrive *drives = floppy ? o->machine.pc.floppy : o->machine.pc.ide;
        for (*n = 0; *n < count && (drives[*n].path || drives[*n].cd);) ++*n;
        if (*n == count) return option_bad(err, "all %u drives are taken", count);
    }
    return OPTION_OK;
}

static OptionStatus drive_spare(Options *o, const char *id, const PcDrive *drive, char **err) {
    if (!id) return option_bad(err, "if=none wants an id=");
    if (o->spare_count == OPTIONS_DRIVES) return option_bad(err, "too many drives");
    o->spare[o->spare_count++] = (OptionDrive){ id, *drive };
    return OPTION_OK;
}

HANDLER(drive) {
    Keys keys;
    PcDrive drive = { 0 };
    unsigned n = 0;
    if (!keys_parse(o, arg, "file", &keys, err)) return OPTION_BAD;
    const char *interface = keys_take(&keys, "if"), *id = keys_take(&keys, "id");
    keys_ignore(&keys, "cache aio werror rerror discard detect-zeroes copy-on-read boot serial trans "
                       "throttling.bps-total file.locking");
    if (drive_image(&keys, &drive, err) != OPTION_OK) return OPTION_BAD;
    bool floppy = interface && !strcmp(interface, "floppy");
    bool none = interface && !strcmp(interface, "none");
    if (interface && !floppy && !none && strcmp(interface, "ide"))
        return option_bad(err, "if=%s: there is no such interface (known: ide, floppy, none)", interface);
    if (!none && drive_index(o, &keys, floppy, &n, err) != OPTION_OK) return OPTION_BAD;
    if (!keys_end(&keys, "file, if, index, bus, unit, media, format, readonly, snapshot, cyls, heads, "
                         "secs, id", err)) return OPTION_BAD;
    if (drive.path && !*drive.path) drive.path = NULL;
    if (drive.cd && floppy) return option_bad(err, "a floppy drive takes no media=cdrom");
    if (!drive.path && !drive.cd) return option_bad(err, "file=FILE is missing");
    if (none) return drive_spare(o, id, &drive, err);
    return floppy ? drive_put_floppy(o, n, &drive, err) : drive_put_ide(o, n, &drive, err);
}

// -device ide-hd|ide-cd,drive=ID[,bus=ide.B][,unit=U]; a CD drive can be empty.
static OptionStatus device_disk(Options *o, Keys *keys, bool cd, char **err) {
    const char *id = keys_take(keys, "drive"), *bus = keys_take(keys, "bus"), *unit = keys_take(keys, "unit");
    u64 b = 0, u = 0;
    unsigned n = 0;
    keys_ignore(keys, "id bootindex model serial");
    o->drives_placed = true;
    if (!id && !cd) return option_bad(err, "drive=ID is missing");
    if (bus && !option_number(strncmp(bus, "ide.", 4) ? bus : bus + 4, 0, 1, &b, err)) return OPTION_BAD;
    if (unit && !option_number(unit, 0, 1, &u, err)) return OPTION_BAD;
    n = (unsigned)(b * 2 + u);
    const PcDrive *ide = o->machine.pc.ide;
    while (!unit && n < (bus ? b * 2 + 1 : 3) && (ide[n].path || ide[n].cd)) n++;
    if (!id) return drive_put_ide(o, n, &(PcDrive){ .cd = true }, err);
    for (unsigned i = 0; i < o->spare_count; i++) {
        PcDrive drive = o->spare[i].drive;
        drive.cd = cd;
        if (!strcmp(o->spare[i].id, id)) return drive_put_ide(o, n, &drive, err);
    }
    return option_bad(err, "there is no -drive with if=none,id=%s before it", id);
}

// ---- character devices --------------------------------------------------------------------------

// "chardev:ID" or a specification. NULL: *err.
static const char *chr_spec(Options *o, const char *text, char **err) {
    if (strncmp(text, "chardev:", 8)) return text;
    for (unsigned i = 0; i < o->chardev_count; i++)
        if (!strcmp(o->chardev[i].id, text + 8)) return o->chardev[i].spec;
    option_bad(err, "there is no -chardev with id=%s before it", text + 8);
    return NULL;
}

HANDLER(serial) {
    const char *spec = chr_spec(o, arg, err);
    if (!spec) return OPTION_BAD;
    if (o->serial_count == PC_SERIALS) return option_bad(err, "there are %u ports at most", PC_SERIALS);
    o->serial[o->serial_count++] = spec;
    return OPTION_OK;
}

HANDLER(monitor) {
    const char *spec = chr_spec(o, arg, err);
    if (!spec) return OPTION_BAD;
    if (o->monitor_count == OPTIONS_MONITORS) return option_bad(err, "too many monitors");
    o->monitor[o->monitor_count++] = spec;
    return OPTION_OK;
}

HANDLER(mon) {
    Keys keys;
    if (!keys_parse(o, arg, "chardev", &keys, err)) return OPTION_BAD;
    const char *id = keys_take(&keys, "chardev"), *mode = keys_take(&keys, "mode");
    keys_ignore(&keys, "id pretty");
    if (!keys_end(&keys, "chardev, mode", err)) return OPTION_BAD;
    if (mode && strcmp(mode, "readline"))
        return option_bad(err, "mode=%s: there is 'readline' only", mode);
    if (!id) return option_bad(err, "chardev=ID is missing");
    return option_monitor(o, options_text(o, "chardev:%s", id), err);
}

static const char *chr_socket_spec(Options *o, Keys *keys, char **err) {
    const char *path = keys_take(keys, "path"), *host = keys_take(keys, "host");
    const char *port = keys_take(keys, "port"), *server = keys_take(keys, "server");
    const char *wait = keys_take(keys, "wait");
    bool is_server = false, waits = true;
    if (server && !option_switch(server, &is_server, err)) return NULL;
    if (wait && !option_switch(wait, &waits, err)) return NULL;
    if (!path && !port) {
        option_bad(err, "socket wants path=, or host= and port=");
        return NULL;
    }
    const char *address = path ? options_text(o, "unix:%s", path)
                               : options_text(o, "tcp:%s:%s", host ? host : "", port);
    return options_text(o, "%s%s%s", address, is_server ? ",server" : "",
                        is_server && !waits ? ",nowait" : "");
}

HANDLER(chardev) {
    Keys keys;
    bool mux = false;
    if (!keys_parse(o, arg, "backend", &keys, err)) return OPTION_BAD;
    const char *backend = keys_take(&keys, "backend"), *id = keys_take(&keys, "id");
    const char *on = keys_take(&keys, "mux"), *spec = NULL;
    if (!backend || option_is_help(backend)) {
        fprintf(o->out, "Available chardev backend types:\nstdio\nfile\npty\nsocket\nnull\n");
        return OPTION_DONE;
    }
    if (!id) return option_bad(err, "id=ID is missing");
    if (on && !option_switch(on, &mux, err)) return OPTION_BAD;
    keys_ignore(&keys, "signal nodelay append logfile telnet ipv4 ipv6");
    if (!strcmp(backend, "socket")) {
        spec = chr_socket_spec(o, &keys, err);
        if (!spec) return OPTION_BAD;
    } else if (!strcmp(backend, "file")) {
        const char *path = keys_take(&keys, "path");
        if (!path) return option_bad(err, "path=FILE is missing");
        spec = options_text(o, "file:%s", path);
    } else if (!strcmp(backend, "stdio") || !strcmp(backend, "pty") || !strcmp(backend, "null")) {
        spec = backend;
    } else {
        return option_bad(err, "unknown backend '%s' (known: stdio, file, pty, socket, null)", backend);
    }
    if (!keys_end(&keys, "id, path, host, port, server, wait, mux", err)) return OPTION_BAD;
    if (o->chardev_count == OPTIONS_CHARDEVS) return option_bad(err, "too many character devices");
    if (mux) spec = options_text(o, "mon:%s", spec);
    o->chardev[o->chardev_count++] = (OptionChardev){ id, spec };
    return OPTION_OK;
}

static OptionStatus debugcon_add(Options *o, u16 port, const char *spec, char **err) {
    if (o->debugcon_count == PC_DEBUGCONS) return option_bad(err, "too many debug consoles");
    for (unsigned i = 0; i < o->debugcon_count; i++)
        if (o->debugcon[i].port == port) return option_bad(err, "port 0x%x is taken twice", port);
    o->debugcon[o->debugcon_count++] = (OptionDebugcon){ port, spec };
    return OPTION_OK;
}

// Port 0: the default of the time when all options are known (-global may follow).
HANDLER(debugcon) {
    const char *spec = chr_spec(o, arg, err);
    return spec ? debugcon_add(o, o->debugcon_port, spec, err) : OPTION_BAD;
}

HANDLER(global) {
    static const char key[] = "isa-debugcon.iobase=";
    u64 port;
    if (strncmp(arg, key, sizeof key - 1)) {
        options_warn(o, "-global %s is ignored", arg);
        return OPTION_OK;
    }
    if (!option_number(arg + sizeof key - 1, 1, 0xffff, &port, err)) return OPTION_BAD;
    for (unsigned i = 0; i < o->debugcon_count; i++)
        if (o->debugcon[i].port == o->debugcon_port) o->debugcon[i].port = (u16)port;
    o->debugcon_port = (u16)port;
    return OPTION_OK;
}

// ---- -device ------------------------------------------------------------------------------------

static bool device_port(Keys *keys, u64 *port, char **err) {
    const char *base = keys_take(keys, "iobase");
    return !base || option_number(base, 1, 0xffff, port, err);
}

static OptionStatus device_debugcon(Options *o, Keys *keys, char **err) {
    u64 port = o->debugcon_port;
    const char *id = keys_take(keys, "chardev");
    keys_ignore(keys, "id readback");
    if (!device_port(keys, &port, err)) return OPTION_BAD;
    if (!id) return option_bad(err, "chardev=ID is missing");
    const char *spec = chr_spec(o, options_text(o, "chardev:%s", id), err);
    return spec ? debugcon_add(o, (u16)port, spec, err) : OPTION_BAD;
}

static OptionStatus device_exit(Options *o, Keys *keys, char **err) {
    u64 port = 0x501, size = 2;
    const char *bytes = keys_take(keys, "iosize");
    keys_ignore(keys, "id");
    if (!device_port(keys, &port, err)) return OPTION_BAD;
    if (bytes && !option_number(bytes, 1, 16, &size, err)) return OPTION_BAD;
    if (o->machine.pc.exit_port) return option_bad(err, "there can be one isa-debug-exit");
    o->machine.pc.exit_port = (u16)port;
    o->machine.pc.exit_ports = (unsigned)size;
    return OPTION_OK;
}

static const char *const device_names[] = {
    "isa-debugcon", "isa-debug-exit", "pc-testdev", "ide-hd", "ide-cd", NULL,
};

// Devices that a guest can do without.
static const char *const device_ignored[] = {
    "e1000", "rtl8139", "ne2k_pci", "ne2k_isa", "pcnet", "i82557b", "virtio-net-pci", "AC97", "ES1370",
    "sb16", "adlib", "gus", "intel-hda", "hda-duplex", "hda-output", "piix3-usb-uhci", "usb-ehci",
    "qemu-xhci", "nec-usb-xhci", "usb-kbd", "usb-mouse", "usb-tablet", "VGA", "isa-vga", "pvpanic",
    "virtio-rng-pci", "virtio-balloon-pci", NULL,
};

static bool device_is_in(const char *name, const char *const *list) {
    while (*list && strcmp(*list, name)) list++;
    return *list != NULL;
}

static OptionStatus device_unknown(Options *o, const char *name, char **err) {
    if (device_is_in(name, device_ignored)) {
        options_warn(o, "-device %s is ignored: there is no such device", name);
        return OPTION_OK;
    }
    const char *similar = option_similar(name, device_names);
    if (similar) return option_bad(err, "unknown device '%s'; did you mean %s?", name, similar);
    return option_bad(err, "unknown device '%s' (-device help lists them)", name);
}

HANDLER(device) {
    Keys keys;
    if (option_is_help(arg)) {
        for (unsigned i = 0; device_names[i]; i++) fprintf(o->out, "name \"%s\"\n", device_names[i]);
        return OPTION_DONE;
    }
    if (!keys_parse(o, arg, "driver", &keys, err)) return OPTION_BAD;
    const char *name = keys_take(&keys, "driver");
    if (!name) return option_bad(err, "the device's name is missing");
    OptionStatus status;
    const char *known = "iobase, iosize";
    if (!strcmp(name, "isa-debug-exit")) {
        status = device_exit(o, &keys, err);
    } else if (!strcmp(name, "isa-debugcon")) {
        status = device_debugcon(o, &keys, err);
        known = "iobase, chardev";
    } else if (!strcmp(name, "pc-testdev")) {
        keys_ignore(&keys, "id");
        o->machine.pc.testdev = true;
        status = OPTION_OK;
        known = "none";
    } else if (!strcmp(name, "ide-hd") || !strcmp(name, "ide-cd")) {
        status = device_disk(o, &keys, !strcmp(name, "ide-cd"), err);
        known = "drive, bus, unit";
    } else {
        return device_unknown(o, name, err);
    }
    if (status != OPTION_OK) return status;
    return keys_end(&keys, known, err) ? OPTION_OK : OPTION_BAD;
}
