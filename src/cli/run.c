// SPDX-License-Identifier: MIT
// Runs a machine.
//
// Order of the start: log, machine (images, firmware, memory), VNC's port, files and sockets, the
// terminal. Devices that write somewhere are wired before that somewhere is open: RunPort stands in
// between.
//
// A terminal that shows the guest's screen must not be written to, so with -display term what goes to
// stderr is kept and shown when the terminal is free again.
#define _GNU_SOURCE
#include "cli/run.h"

#include "cli/watch.h"
#include "ui/chardev.h"
#include "ui/gdb.h"
#include "ui/monitor.h"
#include "ui/term.h"
#include "ui/vnc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RUN_CHARDEVS 16
enum { RUN_ERROR_STATUS = 1, RUN_INTERNAL_STATUS = 80 };

typedef struct RunPort { Chardev *dev; } RunPort;

typedef struct RunChardev {
    const char *key;           // specification without mon:
    const char *option;        // who named it first
    bool mux;                  // somebody said mon:
    unsigned readers;          // front ends that take input
    Chardev *dev;
} RunChardev;

typedef struct Run {
    Options *o;
    Log log;
    Machine *machine;
    RunPort serial[PC_SERIALS], debugcon[PC_DEBUGCONS];
    RunChardev chardev[RUN_CHARDEVS];
    unsigned chardev_count;
    Monitor *monitor[OPTIONS_MONITORS + PC_SERIALS];
    unsigned monitor_count;
    Gdb *gdb;
    Vnc *vnc;
    Term *term;
    Watch *watch;
    int real_stderr;           // while stderr is kept; -1
    bool pidfile;              // it is ours to remove
    char *err;
} Run;

// What a dying thread must put right. Set by the thread that runs a machine.
static _Thread_local Run *run_dying;

static bool run_fail(Run *r, const char *option) {
    char *why = r->err;
    r->err = mem_printf("%s: %s", option, why);
    free(why);
    return false;
}

// ---- character devices --------------------------------------------------------------------------

static const char *run_key(const char *spec) { return strncmp(spec, "mon:", 4) ? spec : spec + 4; }

static bool run_is_nothing(const char *key) { return !strcmp(key, "null") || !strcmp(key, "none"); }

static RunChardev *run_chardev(const Run *r, const char *spec) {
    for (unsigned i = 0; i < r->chardev_count; i++)
        if (!strcmp(r->chardev[i].key, run_key(spec))) return (RunChardev *)&r->chardev[i];
    return NULL;
}

// Notes that `option` writes to, and perhaps reads from, `spec`.
static bool run_want(Run *r, const char *spec, const char *option, bool reads) {
    if (!spec || run_is_nothing(run_key(spec))) return true;
    RunChardev *c = run_chardev(r, spec);
    if (!c) {
        require(r->chardev_count < RUN_CHARDEVS);
        c = &r->chardev[r->chardev_count++];
        *c = (RunChardev){ .key = run_key(spec), .option = option };
    }
    if (strncmp(spec, "mon:", 4) == 0) c->mux = true;
    c->readers += reads;
    if (c->readers < 2 || c->mux || !strncmp(c->key, "vc", 2)) return true;
    r->err = mem_printf("%s: '%s' is taken by %s; -serial mon:%s serves both", option, c->key, c->option,
                        c->key);
    return false;
}

static bool run_want_all(Run *r) {
    const Options *o = r->o;
    for (unsigned i = 0; i < o->serial_count; i++) {
        if (!run_want(r, o->serial[i], "-serial", true)) return false;
        RunChardev *c = run_chardev(r, o->serial[i]);
        if (c && !strncmp(o->serial[i], "mon:", 4)) c->readers++;
    }
    for (unsigned i = 0; i < o->monitor_count; i++)
        if (!run_want(r, o->monitor[i], "-monitor", true)) return false;
    for (unsigned i = 0; i < o->debugcon_count; i++)
        if (!run_want(r, o->debugcon[i].spec, "-debugcon", false)) return false;
    for (unsigned i = 0; i < r->chardev_count; i++)
        if (r->chardev[i].readers > CHARDEV_FRONTS) {
            r->err = mem_printf("%s: too many ports and monitors on '%s'", r->chardev[i].option,
                                r->chardev[i].key);
            return false;
        }
    return true;
}

static bool run_uses_stdio(const Run *r) {
    for (unsigned i = 0; i < r->chardev_count; i++)
        if (!strncmp(r->chardev[i].key, "stdio", 5)) return true;
    return false;
}

static bool run_has_monitor(const Run *r) {
    bool any = false;
    for (unsigned i = 0; i < r->o->monitor_count; i++) any |= run_chardev(r, r->o->monitor[i]) != NULL;
    for (unsigned i = 0; i < r->chardev_count; i++) any |= r->chardev[i].mux;
    return any;
}

static bool run_open_chardev(Run *r, RunChardev *c) {
    char *spec = mem_printf("%s%s", c->mux ? "mon:" : "", c->key);
    c->dev = chardev_open(r->machine->bus, spec, &r->err);
    free(spec);
    return c->dev || run_fail(r, c->option);
}

// The terminal last: while others wait for a client, Ctrl-C still works as usual.
static bool run_open_chardevs(Run *r) {
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < r->chardev_count; i++)
            if ((strncmp(r->chardev[i].key, "stdio", 5) == 0) == (pass == 1) &&
                !run_open_chardev(r, &r->chardev[i])) return false;
    return true;
}

static void run_port_put(void *self, u8 byte) {
    RunPort *port = self;
    CharOut out = chardev_out(port->dev);
    char_put(&out, byte);
}

static CharOut run_port(RunPort *port, const char *spec) {
    if (!spec || run_is_nothing(run_key(spec))) return (CharOut){ 0 };
    return (CharOut){ run_port_put, port };
}

static Chardev *run_find_dev(Run *r, const char *spec) {
    RunChardev *c = spec ? run_chardev(r, spec) : NULL;
    return c ? c->dev : NULL;
}

static void run_wire(Run *r) {
    PcConfig *pc = &r->o->machine.pc;
    for (unsigned i = 0; i < r->o->serial_count; i++) {
        pc->serial[i].present = strcmp(r->o->serial[i], "none") != 0;
        pc->serial[i].out = run_port(&r->serial[i], r->o->serial[i]);
    }
    for (unsigned i = 0; i < r->o->debugcon_count; i++) {
        const OptionDebugcon *d = &r->o->debugcon[i];
        pc->debugcon[i] = (PcDebugcon){ d->port, run_port(&r->debugcon[i], d->spec) };
    }
}

static void run_add_monitor(Run *r, Chardev *dev) {
    if (!dev) return;
    Monitor *mon = r->monitor[r->monitor_count++] = monitor_new(r->machine, dev);
    monitor_set_gdb(mon, r->gdb);
}

// Serial ports first: with mon: they have the focus at the start.
static void run_connect(Run *r) {
    for (unsigned i = 0; i < r->o->serial_count; i++) {
        r->serial[i].dev = run_find_dev(r, r->o->serial[i]);
        if (r->serial[i].dev && r->machine->pc->serial[i])
            chardev_attach_uart(r->serial[i].dev, r->machine->pc->serial[i]);
    }
    for (unsigned i = 0; i < r->o->debugcon_count; i++)
        r->debugcon[i].dev = run_find_dev(r, r->o->debugcon[i].spec);
    for (unsigned i = 0; i < r->o->serial_count; i++)
        if (!strncmp(r->o->serial[i], "mon:", 4)) run_add_monitor(r, r->serial[i].dev);
    for (unsigned i = 0; i < r->o->monitor_count; i++)
        run_add_monitor(r, run_find_dev(r, r->o->monitor[i]));
}

static bool run_start_gdb(Run *r) {
    r->gdb = gdb_new(r->machine);
    return !r->o->gdb || gdb_listen(r->gdb, r->o->gdb, &r->err) || run_fail(r, "-gdb");
}

// ---- display ------------------------------------------------------------------------------------

static DisplayKind run_display(const Run *r) {
    if (r->o->display != DISPLAY_DEFAULT) return r->o->display;
    if (isatty(0) && isatty(1) && !run_uses_stdio(r)) return DISPLAY_TERM;
    return GLASSBOX_VNC ? DISPLAY_VNC : DISPLAY_NONE;
}

static bool run_check_display(Run *r, DisplayKind kind) {
    if (kind != DISPLAY_TERM || !run_uses_stdio(r)) return true;
    r->err = mem_strdup("-display term: stdin and stdout are taken by -serial, -monitor or -debugcon");
    return false;
}

static bool run_start_vnc(Run *r) {
    const char *spec = r->o->vnc ? r->o->vnc : ":0,to=99";
    Pc *pc = r->machine->pc;
    r->vnc = vnc_start(r->machine->bus, pc->vga, pc->kbd, spec, &r->err);
    return r->vnc || !r->err || run_fail(r, "-vnc");
}

static void run_keep_stderr(Run *r) {
    int fd = isatty(2) ? memfd_create("glassbox-stderr", MFD_CLOEXEC) : -1;
    if (fd < 0) return;
    fflush(stderr);
    r->real_stderr = fcntl(2, F_DUPFD_CLOEXEC, 3);
    if (r->real_stderr >= 0) dup2(fd, 2);
    close(fd);
}

// Async-signal-safe.
static void run_show_stderr(Run *r) {
    char piece[256];
    if (r->real_stderr < 0) return;
    off_t at = 0;
    for (ssize_t n; (n = pread(2, piece, sizeof piece, at)) > 0; at += n)
        if (write(r->real_stderr, piece, (size_t)n) < 0) break;
    dup2(r->real_stderr, 2);
    close(r->real_stderr);
    r->real_stderr = -1;
}

static bool run_start_term(Run *r) {
    Pc *pc = r->machine->pc;
    r->term = term_start(r->machine->bus, pc->vga, pc->kbd, &r->err);
    if (!r->term) return run_fail(r, "-display term");
    run_keep_stderr(r);
    return true;
}

// ---- the end in disorder ------------------------------------------------------------------------

static void run_on_death(int number) {
    Run *r = run_dying;
    if (r) {
        run_dying = NULL;
        if (r->term) term_restore(r->term);
        for (unsigned i = 0; i < r->chardev_count; i++)
            if (r->chardev[i].dev) chardev_restore_tty(r->chardev[i].dev);
        run_show_stderr(r);
    }
    if (number == SIGABRT) _exit(RUN_INTERNAL_STATUS);       // it has had its message
    static const char text[] = "glassbox: internal error: memory fault in the emulator itself\n";
    ssize_t ignored = write(2, text, sizeof text - 1);
    (void)ignored;
    _exit(RUN_INTERNAL_STATUS);
}

static void run_catch_death(void) {
    static const int numbers[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL };
    struct sigaction action = { .sa_handler = run_on_death, .sa_flags = SA_ONSTACK | SA_RESETHAND };
    for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) sigaction(numbers[i], &action, NULL);
}

// ---- start and end ------------------------------------------------------------------------------

bool run_open_log(const Options *o, Log *log, char **err) {
    char *bad = NULL;
    log_init(log);
    if (o->log_items) log_parse_items(log, o->log_items, &bad);      // it has parsed before
    free(bad);
    if (o->log_filter) log_parse_filter(log, o->log_filter);
    if (!o->log_file || log_open(log, o->log_file)) return true;
    *err = mem_printf("-D: cannot open '%s': %s", o->log_file, strerror(errno));
    return false;
}

static bool run_write_pidfile(Run *r) {
    if (!r->o->pidfile) return true;
    FILE *f = fopen(r->o->pidfile, "we");
    if (f) {
        fprintf(f, "%ld\n", (long)getpid());
        r->pidfile = true;
        if (!fclose(f)) return true;
    }
    r->err = mem_printf("-pidfile: cannot write '%s': %s", r->o->pidfile, strerror(errno));
    return false;
}

static void run_warn(void *self, const char *message) { options_warn(self, "%s", message); }

static bool run_start(Run *r) {
    Options *o = r->o;
    if (!run_open_log(o, &r->log, &r->err) || !run_want_all(r)) return false;
    DisplayKind display = run_display(r);
    if (!run_check_display(r, display)) return false;
    // With nobody to look at it or to reset it, a machine that has halted for good is at its end.
    o->machine.jit.end_when_hung = display == DISPLAY_NONE && !run_has_monitor(r) && !o->gdb && !o->machine.no_shutdown;
    o->machine.jit.stress = getenv("GLASSBOX_STRESS");
    o->machine.pc.warn = run_warn;
    o->machine.pc.warn_self = o;
    run_wire(r);
    r->machine = machine_new(&o->machine, &r->log, &r->err);
    if (!r->machine) return false;
    if (display == DISPLAY_VNC && !run_start_vnc(r)) return false;
    if (!run_start_gdb(r)) return false;
    if (!run_write_pidfile(r) || !run_open_chardevs(r)) return false;
    run_connect(r);
    watch_block_signals();
    r->watch = watch_start(r->machine->bus, o->timeout_s);
    if (!r->watch) r->err = mem_printf("cannot start a thread: %s", strerror(errno));
    return r->watch && (display != DISPLAY_TERM || run_start_term(r));
}

static void run_end(Run *r) {
    term_stop(r->term);
    r->term = NULL;
    vnc_stop(r->vnc);
    gdb_free(r->gdb);
    for (unsigned i = 0; i < r->chardev_count; i++) chardev_close(r->chardev[i].dev);
    r->chardev_count = 0;
    for (unsigned i = 0; i < r->monitor_count; i++) monitor_free(r->monitor[i]);
    run_show_stderr(r);
    watch_stop(r->watch);
    if (r->machine) bus_run_events(r->machine->bus);       // errands on their way free themselves
    machine_free(r->machine);
    if (r->pidfile) unlink(r->o->pidfile);
    log_close(&r->log);
}

// Statuses that nobody else has said a word about.
static void run_tell(int status) {
    if (status == MACHINE_HUNG_STATUS)
        fprintf(stderr, "glassbox: the guest has halted with interrupts off: nothing can wake it\n");
    else if (status & 1)
        fprintf(stderr, "glassbox: the guest ended the machine with isa-debug-exit: value 0x%x, "
                        "status %d\n", (unsigned)status >> 1 & 0x7f, status & 0xff);
}

int run_options(Options *o) { return run_options_with(o, NULL, NULL); }

int run_options_with(Options *o, void (*prepare)(void *self, Machine *m), void *self) {
    Run run = { .o = o, .real_stderr = -1 };
    log_init(&run.log);
    run_dying = &run;
    run_catch_death();
    int status = RUN_ERROR_STATUS;
    if (run_start(&run)) {
        if (prepare) prepare(self, run.machine);
        status = machine_run(run.machine);
        run_end(&run);
        if (status) run_tell(status);
    } else {
        run_end(&run);
        fprintf(stderr, "glassbox: %s\n", run.err);
        free(run.err);
    }
    run_dying = NULL;
    return status & 0xff;
}
