// SPDX-License-Identifier: MIT
// What is said to a machine from outside: gdb's packets, the monitor's commands and keys, while the guest runs
// on between them. The socket and the character device are stood in for here, so that a case depends on its
// bytes alone.
//
// The input is a list of operations, like board.c's. Commands that write files find the folder of this
// process's file descriptors, in which nothing can be created, and one file to write to.
// timeout: 600
#define _GNU_SOURCE
#include "guest.h"

#include "cpu/cpu.h"
#include "ui/chardev.h"
#include "ui/gdb_int.h"
#include "ui/monitor_int.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { OPS_MAX = 200, TEXT_BYTES = 512, FILE_MOST = 8 << 20 };

struct GdbLink { GdbLinkUser user; bool connected; };
struct Chardev { ChardevFront front; };

typedef struct Talk {
    Guest g;
    FuzzIn *in;
    Chardev dev;
    Gdb *gdb;
    Monitor *monitor;
    void (*on_stop)(void *self, JitEnd why);       // gdb's
    int file;                                      // the one to write to
    u32 said;
} Talk;

static GdbLink *link_now;                          // gdb's; NULL: it listens nowhere

// ---- in place of gdb_link.c and chardev.c -------------------------------------------------------
GdbLink *gdb_link_open(Bus *bus, const char *spec, const char *refusal, const GdbLinkUser *user, char **err) {
    (void)bus, (void)spec, (void)refusal, (void)err;
    link_now = mem_new(sizeof *link_now);
    link_now->user = *user;
    return link_now;
}

void gdb_link_send(GdbLink *link, const void *bytes, size_t count) {
    require(link && link == link_now);
    if (fuzz_is_telling()) fuzz_say("gdb < %.*s", (int)count, (const char *)bytes);
}

void gdb_link_close(GdbLink *link) {
    free(link);
    link_now = NULL;
}

void chardev_attach(Chardev *c, const ChardevFront *front) { c->front = *front; }

void chardev_write(Chardev *c, const void *bytes, unsigned count) {
    Talk *t = (Talk *)((u8 *)c - offsetof(Talk, dev));
    for (unsigned i = 0; i < count; i++) t->said = t->said * 31 + ((const u8 *)bytes)[i];
    if (fuzz_is_telling()) (void)!write(1, bytes, count);
}

// ---- text ---------------------------------------------------------------------------------------
// A word of the input: of the list, a number, or bytes as they come; none is a path to another folder.
static size_t put_word(Talk *t, char *to, const char *const *words, u32 count) {
    static const u32 numbers[] = { 0, 1, 0x7c00, 0xa0000, 0xf0000, 0xfffff, 0x100000, 0x3fffff, 0x400000, 0xfee00000,
                                   0xfffffff0, 0xffffffff, 2, 16, 4096 };
    u32 n = fuzz_u8(t->in);
    if (n < count) return (size_t)sprintf(to, "%s", words[n]);
    if (n < 128) return (size_t)sprintf(to, "0x%x", numbers[n % ARRAY_LEN(numbers)]);
    if (n < 160) return (size_t)sprintf(to, "%x", fuzz_u32(t->in));
    size_t length = n % 32;
    for (size_t i = 0; i < length; i++) {
        u8 byte = fuzz_u8(t->in);
        to[i] = byte == '/' ? '_' : (char)byte;
    }
    return length;
}

static size_t put_words(Talk *t, char *to, const char *const *words, u32 count, const char *between) {
    size_t n = 0;
    for (u32 left = fuzz_u8(t->in) % 5; left; left--) {
        n += put_word(t, to + n, words, count);
        n += (size_t)sprintf(to + n, "%s", left > 1 ? between : "");
    }
    return n;
}

static size_t monitor_text(Talk *t, char *to) {
    static const char *const words[] = {
        "registers", "mem", "tlb", "jit", "pic", "pci", "block", "status", "irq", "version", "mtree", "qtree", "cpus",
        "vga", "ide0", "fdc", "floppy0", "ide1-cd0", "all", "on", "off", "none", "int,cpu,tlb,io",
        "cpu_reset,exec,nochain", "$eax", "$eip+(4*3)", "-1", "'a'", "((((1))))", "1/0", "$pc", "ctrl-alt-delete",
        "a-b-c 100000000", "-f", "png",
        "raw read-only", "\"", "tcp::1", "cdn", "\\",
    };
    u32 rows = 0;
    while (monitor_rows[rows].name) rows++;
    const char *name = monitor_rows[fuzz_pick(t->in, rows)].name;
    size_t n = (size_t)sprintf(to, "%.*s", (int)strcspn(name, "|"), name);
    u32 format = fuzz_u8(t->in);
    if (n <= 5 && format & 1)
        n += (size_t)sprintf(to + n, "/%u%c%c", format, "xduoci"[format / 2 % 6], "bhwg"[format / 16 % 4]);
    to[n++] = ' ';
    if (format & 0x80 && strstr(name, "save"))
        n += (size_t)sprintf(to + n, "0x%x 4096 /proc/self/fd/%d ", format, t->file);
    return n + put_words(t, to + n, words, ARRAY_LEN(words), " ");
}

// gdb passes on no command but those of monitor_text().
static void make_harmless(u8 *at, size_t count) {
    for (u8 *found; (found = memmem(at, count, "qRcmd", 5)); ) found[1] = 'r';
}

// ---- operations ---------------------------------------------------------------------------------
static void give_gdb(Talk *t, const u8 *bytes, size_t count) {
    (void)t;
    if (!link_now) return;
    if (!link_now->connected) link_now->user.opened(link_now->user.self);
    link_now->connected = true;
    link_now->user.input(link_now->user.self, bytes, count);
}

static void give_packet(Talk *t, const char *text, size_t count) {
    u8 *packet = mem_new(count + 5);
    u8 sum = 0;
    for (size_t i = 0; i < count; i++) sum = (u8)(sum + (u8)text[i]);
    packet[0] = '$';
    memcpy(packet + 1, text, count);
    sprintf((char *)packet + 1 + count, "#%02x", sum);
    fuzz_say("gdb > %.*s", (int)count, text);
    give_gdb(t, packet, count + 4);
    free(packet);
}

static void op_packet(Talk *t) {
    static const char *const words[] = {
        "?", "g", "G", "p", "P", "m", "M", "X", "c", "s", "C05", "S05", "vCont?", "vCont;c", "vCont;s:1", "vKill;1",
        "k", "D", "Hg0", "Hc-1", "T1", "qSupported:swbreak+;hwbreak+", "qXfer:features:read:target.xml:0,ffb",
        "qAttached", "qC", "qfThreadInfo", "QStartNoAckMode", "qqemu.PhyMemMode", "Qqemu.PhyMemMode:1",
        "Qqemu.sstep=0x5", "Z0", "Z1",
        "Z2", "Z3", "Z4", "z0", "z1", "z2", "z3", "z4", "0", "1", "7c00", "fff0", "ffffffff", "f0000", "29", "=", ":",
        ";", "4", "40000000", "0123456789abcdef",
    };
    static const char *const between[] = { "", ",", ":", "=" };
    char text[TEXT_BYTES];
    size_t n = put_word(t, text, words, ARRAY_LEN(words));
    const char *mark = between[fuzz_pick(t->in, ARRAY_LEN(between))];
    n += put_words(t, text + n, words, ARRAY_LEN(words), mark);
    make_harmless((u8 *)text, n);
    give_packet(t, text, n);
}

// All registers, or many bytes of memory, with something of the input in them.
static void op_long_packet(Talk *t) {
    u32 length = fuzz_u16(t->in) % 20000, start = fuzz_u8(t->in) & 1;
    char *text = mem_new(length + 32);
    size_t n = (size_t)sprintf(text, start ? "G" : "M%x,%x:", fuzz_u16(t->in), length / 2);
    for (u32 i = 0; i < length; i++) text[n + i] = "0123456789abcdef"[(fuzz_u8(t->in) + i / 64) % 16];
    give_packet(t, text, n + length);
    free(text);
}

static void op_remote_command(Talk *t) {
    char text[TEXT_BYTES], hex[8 + 2 * TEXT_BYTES] = "qRcmd,";
    size_t n = monitor_text(t, text);
    for (size_t i = 0; i < n; i++) sprintf(hex + 6 + 2 * i, "%02x", (u8)text[i]);
    fuzz_say("monitor by gdb > %.*s", (int)n, text);
    give_packet(t, hex, 6 + 2 * n);
}

static void op_raw(Talk *t) {
    u8 bytes[256];
    size_t n = 0, most = fuzz_u8(t->in);
    while (n < most && fuzz_more(t->in)) bytes[n++] = fuzz_u8(t->in);
    make_harmless(bytes, n);
    give_gdb(t, bytes, n);
}

static void op_leave(Talk *t) {
    (void)t;
    if (!link_now || !link_now->connected) return;
    link_now->connected = false;
    link_now->user.closed(link_now->user.self);
}

static void op_listen(Talk *t) {
    char *err = NULL;
    gdb_listen(t->gdb, "tcp::1", &err);
    free(err);
}

static void op_command(Talk *t) {
    char text[TEXT_BYTES];
    size_t n = monitor_text(t, text);
    fuzz_say("monitor > %.*s", (int)n, text);
    t->dev.front.input(t->dev.front.self, (const u8 *)text, (unsigned)n);
    t->dev.front.input(t->dev.front.self, (const u8 *)"\n", 1);
}

static void op_keys(Talk *t) {
    static const char *const keys[] = { "\r", "\n", "\x7f", "\x15", "\x10", "\x0e", "\x1b[A", "\x1b[B",
                                        "\x1b[1;2C", "\x1bO" };
    for (unsigned n = fuzz_u8(t->in) % 64; n; n--) {
        u8 byte = fuzz_u8(t->in);
        const char *key = byte < ARRAY_LEN(keys) ? keys[byte] : (char[]){ byte == '/' ? '_' : (char)byte, 0 };
        t->dev.front.input(t->dev.front.self, (const u8 *)key, (unsigned)strlen(key));
    }
}

static void op_focus(Talk *t) {
    bool opened = fuzz_u8(t->in) & 1;
    if (opened) t->dev.front.opened(t->dev.front.self);
    else t->dev.front.focus(t->dev.front.self, fuzz_u8(t->in) & 1);
}

static void op_run(Talk *t) {
    u32 ns = 1u << fuzz_u8(t->in) % 15;
    if (t->g.m->paused && t->g.m->stopped) return;
    guest_run(&t->g, ns);
}

// Guest code: in real mode, where SeaBIOS has not come to yet.
static void op_code(Talk *t) {
    u8 code[64];
    u32 count = fuzz_u8(t->in) & 63;
    for (u32 i = 0; i < count; i++) code[i] = fuzz_u8(t->in);
    bus_dma_write(t->g.m->bus, phy(0x7c00), code, count);
    Cpu *cpu = t->g.m->cpu;
    if (cpu->cr0 & 1) return;
    cpu->seg[CPU_CS].base = cpu->seg[CPU_CS].selector = 0;
    cpu->eip = 0x7c00;
    cpu_update_mode(cpu);
}

// ---- a case -------------------------------------------------------------------------------------
// A machine that stops would wait for somebody to go on.
static void talk_stopped(void *self, JitEnd why) {
    Talk *t = self;
    t->on_stop(t->gdb, why);
    bus_request_exit(t->g.m->bus, 0);
}

static void limit_files(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ bytes, RLIM_INFINITY });
}

typedef void TalkOp(Talk *t);
static TalkOp *const talk_ops[] = {
    op_packet, op_packet, op_packet, op_long_packet, op_remote_command, op_raw, op_leave, op_listen, op_command,
    op_command,
    op_keys, op_focus, op_run, op_run, op_code,
};

static void talk_run(FuzzIn *in) {
    Talk t = { .in = in };
    int home = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    require(home >= 0 && !chdir("/proc/self/fdinfo"));
    t.file = memfd_create("fuzz", MFD_CLOEXEC);
    guest_open(&t.g, &(JitOptions){ .restore = JIT_RESTORE_CHECK });
    limit_files(FILE_MOST);
    require(log_open(&t.g.log, "/dev/null"));
    t.gdb = gdb_new(t.g.m);
    t.monitor = monitor_new(t.g.m, &t.dev);
    monitor_set_gdb(t.monitor, t.gdb);
    t.on_stop = t.g.m->on_stop;
    t.g.m->on_stop = talk_stopped;
    t.g.m->on_stop_self = &t;
    op_listen(&t);
    for (unsigned n = 0; n < OPS_MAX && fuzz_more(in); n++) talk_ops[fuzz_pick(in, ARRAY_LEN(talk_ops))](&t);
    gdb_free(t.gdb);
    monitor_free(t.monitor);
    guest_close(&t.g);
    limit_files(RLIM_INFINITY);
    close(t.file);
    require(!fchdir(home));
    close(home);
}

const FuzzTarget fuzz_target = { "talk", 4096, talk_run, NULL };
