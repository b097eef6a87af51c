// SPDX-License-Identifier: MIT
// The gdb server's session: packets and what they ask for.
//
// Rules
//  1. Everything runs in events of the bus, so between guest instructions; the registers are exact.
//  2. A stop is reported once, by gdb_stopped(), and only to a client that waits for it.
//  3. A client that leaves takes its breakpoints with it. After detach (and kill) the machine runs
//     (ends); after a lost connection it stays as it is.
//
// gdb compares its breakpoints with eip, glassbox with the linear address; where CS has a base the two
// differ, and gdb must not be told of a breakpoint that it cannot find: it gets a plain SIGTRAP. Going
// on from there passes the breakpoint (session.passed), since gdb does not step over it.
#define _GNU_SOURCE
#include "ui/gdb_int.h"

#include "ui/monitor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GDB_PACKET_BYTES 16384u
#define GDB_BREAKS 256u

typedef enum GdbInput { INPUT_IDLE, INPUT_PACKET, INPUT_SUM_1, INPUT_SUM_2 } GdbInput;

typedef struct GdbBreak { u32 addr; u8 type; } GdbBreak;       // type: 0 software, 1 hardware

enum { STEP_ENABLE = 1, STEP_NO_IRQ = 2 };                     // qqemu.sstep

struct Gdb {
    Machine *m;
    Monitor *monitor;              // for qRcmd
    GdbLink *link;                 // NULL: listens nowhere
    bool busy;                     // in a packet

    // the client's session
    bool connected;
    bool no_ack, no_ack_next;
    bool tells_breaks;             // the client knows swbreak and hwbreak
    bool waiting;                  // for a stop
    bool physical;                 // addresses are physical
    u8 step;                       // STEP_*
    bool at_break;                 // the last stop was at a breakpoint,
    u32 break_at;                  // there
    char stop[96];                 // the last stop as a packet
    GdbBreak breaks[GDB_BREAKS];
    unsigned break_count;

    GdbInput input;
    u8 packet[GDB_PACKET_BYTES + 1];
    size_t length;
    bool too_long;
    u8 sum;
    int sum_given;                 // -1: not two digits
    char *sent;                    // the last packet, for a client that asks again
    size_t sent_bytes;
};

// ---- output ---------------------------------------------------------------------------------------

static void gdb_send(Gdb *g, const void *data, size_t bytes) {
    const u8 *from = data;
    u8 sum = 0;
    free(g->sent);
    g->sent = mem_new(2 * bytes + 5);
    size_t n = 0;
    g->sent[n++] = '$';
    for (size_t i = 0; i < bytes; i++) {
        bool escape = from[i] == '$' || from[i] == '#' || from[i] == '}' || from[i] == '*';
        if (escape) g->sent[n++] = '}';
        g->sent[n++] = (char)(escape ? from[i] ^ 0x20 : from[i]);
    }
    for (size_t i = 1; i < n; i++) sum = (u8)(sum + (u8)g->sent[i]);
    n += (size_t)sprintf(g->sent + n, "#%02x", sum);
    g->sent_bytes = n;
    gdb_link_send(g->link, g->sent, n);
}

static void gdb_say(Gdb *g, const char *text) { gdb_send(g, text, strlen(text)); }
static void gdb_ok(Gdb *g) { gdb_say(g, "OK"); }
static void gdb_error(Gdb *g) { gdb_say(g, "E14"); }           // EFAULT, as other stubs have it

static void hex_put(char *to, const u8 *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) sprintf(to + 2 * i, "%02x", from[i]);
    to[2 * bytes] = 0;
}

static void gdb_say_hex(Gdb *g, const char *prefix, const void *data, size_t bytes) {
    char *text = mem_new(strlen(prefix) + 2 * bytes + 1);
    strcpy(text, prefix);
    hex_put(text + strlen(prefix), data, bytes);
    gdb_say(g, text);
    free(text);
}

// ---- numbers --------------------------------------------------------------------------------------

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Takes digits off *text; false: there are none. The low 32 bits count.
static bool hex_take(const char **text, u32 *value) {
    const char *at = *text;
    *value = 0;
    for (int d; (d = hex_digit(*at)) >= 0; at++) *value = *value << 4 | (u32)d;
    bool any = at != *text;
    *text = at;
    return any;
}

static bool hex_take_two(const char **text, char between, u32 *a, u32 *b) {
    return hex_take(text, a) && *(*text)++ == between && hex_take(text, b);
}

static bool hex_bytes(const char *text, u8 *to, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        int high = hex_digit(text[2 * i]), low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0) return false;
        to[i] = (u8)(high << 4 | low);
    }
    return true;
}

// ---- stopping and going on ------------------------------------------------------------------------

static u32 gdb_pc(const Gdb *g) { return g->m->cpu->seg[CPU_CS].base + g->m->cpu->eip; }

static const GdbBreak *gdb_break_here(const Gdb *g) {
    for (unsigned i = 0; i < g->break_count; i++)
        if (g->breaks[i].addr == gdb_pc(g)) return &g->breaks[i];
    return NULL;
}

// "T05thread:1;" and why.
static void gdb_describe_stop(Gdb *g, JitEnd why) {
    static const char *const watches[] = { [2] = "watch", [3] = "rwatch", [4] = "awatch" };
    Cpu *cpu = g->m->cpu;
    const GdbBreak *b = why == JIT_END_BREAK ? gdb_break_here(g) : NULL;
    unsigned signal = why == JIT_END_BREAK ? 5 : g->m->powered_off ? 3 : 2;
    int n = snprintf(g->stop, sizeof g->stop, "T%02xthread:1;", signal);
    g->at_break = b != NULL;
    g->break_at = gdb_pc(g);
    if (why == JIT_END_BREAK && cpu->watch_hit) {
        const CpuWatch *w = &cpu->watch[cpu->watch_hit - 1];
        snprintf(g->stop + n, sizeof g->stop - (size_t)n, "%s:%x;", watches[w->kind], w->addr);
    } else if (b && g->tells_breaks && cpu->eip == b->addr) {
        snprintf(g->stop + n, sizeof g->stop - (size_t)n, "%s:;", b->type ? "hwbreak" : "swbreak");
    }
    cpu->watch_hit = 0;
}

static void gdb_stopped(void *self, JitEnd why) {
    Gdb *g = self;
    if (!g->connected) return;
    gdb_describe_stop(g, why);
    if (g->waiting) gdb_say(g, g->stop);
    g->waiting = false;
}

static void gdb_go(Gdb *g, bool step) {
    bool pass = g->at_break && g->break_at == gdb_pc(g);
    bool interrupts = !(g->step & STEP_NO_IRQ);
    g->waiting = true;
    if (!machine_resume(g->m)) {                       // switched off: it stands where it stood
        gdb_stopped(g, JIT_END_STOP);
        return;
    }
    if (step || pass) jit_first(g->m->jit, step && interrupts, step);
}

// "c", "sADDR", "C05;ADDR": the signal means nothing to a machine.
static void gdb_resume(Gdb *g, const char *args, bool signal) {
    u32 addr;
    bool step = g->packet[0] == 's' || g->packet[0] == 'S';
    if (signal) {
        hex_take(&args, &addr);
        if (*args == ';') args++;
    }
    if (hex_take(&args, &addr)) g->m->cpu->eip = addr;
    gdb_go(g, step);
}

// The first action is the one thread's: "vCont;s:1;c".
static void gdb_vcont(Gdb *g, const char *args) {
    char action = args[0] == ';' ? args[1] : 0;
    if (action && strchr("cCsS", action)) gdb_go(g, action == 's' || action == 'S');
    else gdb_error(g);
}

// ---- breakpoints ----------------------------------------------------------------------------------

static bool gdb_breaks_at(const Gdb *g, u32 addr) {
    for (unsigned i = 0; i < g->break_count; i++)
        if (g->breaks[i].addr == addr) return true;
    return false;
}

static bool gdb_set_break(Gdb *g, u8 type, u32 addr, bool on) {
    unsigned n = 0;
    while (n < g->break_count && (g->breaks[n].addr != addr || g->breaks[n].type != type)) n++;
    bool there = n < g->break_count;
    if (on && !there && n == GDB_BREAKS) return false;
    if (on && !there) g->breaks[g->break_count++] = (GdbBreak){ addr, type };
    if (!on && there) g->breaks[n] = g->breaks[--g->break_count];
    jit_set_breakpoint(g->m->jit, addr, gdb_breaks_at(g, addr));
    return true;
}

// "0,ADDR,KIND": types 0 and 1 are breakpoints, 2 to 4 watch writes, reads, both (KIND: bytes).
static void gdb_breakpoint(Gdb *g, const char *args, bool on) {
    u32 type, addr, kind = 0;
    bool ok = hex_take_two(&args, ',', &type, &addr) && *args++ == ',' && hex_take(&args, &kind);
    if (ok && type <= 1) {
        ok = gdb_set_break(g, (u8)type, addr, on);
    } else if (ok && type <= 4) {
        ok = kind && cpu_watch(g->m->cpu, &(CpuWatch){ addr, kind, type != 2, type != 3, (u8)type }, on);
    } else if (ok) {
        gdb_say(g, "");
        return;
    }
    if (ok) gdb_ok(g);
    else gdb_error(g);
}

static void gdb_forget_breaks(Gdb *g) {
    while (g->break_count) {
        GdbBreak b = g->breaks[g->break_count - 1];
        gdb_set_break(g, b.type, b.addr, false);
    }
    Cpu *cpu = g->m->cpu;
    while (cpu->watch_count) {
        CpuWatch w = cpu->watch[0];
        cpu_watch(cpu, &w, false);
    }
}

// ---- registers and memory -------------------------------------------------------------------------

static void gdb_read_regs(Gdb *g) {
    u8 bytes[GDB_GENERAL_REGS * GDB_REG_BYTES];
    size_t n = 0;
    for (unsigned i = 0; i < GDB_GENERAL_REGS; i++) n += gdb_reg_get(g->m->cpu, i, bytes + n);
    gdb_say_hex(g, "", bytes, n);
}

// As many registers as there are bytes for. Segments that cannot be loaded stay.
static void gdb_write_regs(Gdb *g, const char *args) {
    u8 bytes[GDB_GENERAL_REGS * GDB_REG_BYTES + GDB_REG_BYTES] = { 0 };
    u8 old[GDB_REG_BYTES];
    size_t have = min_u64(strlen(args) / 2, GDB_GENERAL_REGS * GDB_REG_BYTES), at = 0;
    if (!hex_bytes(args, bytes, have)) {
        gdb_error(g);
        return;
    }
    for (unsigned i = 0; i < GDB_GENERAL_REGS; i++) {
        unsigned n = gdb_reg_get(g->m->cpu, i, old);
        if (at + n > have) break;
        gdb_reg_set(g->m->cpu, i, bytes + at);
        at += n;
    }
    gdb_ok(g);
}

static void gdb_read_reg(Gdb *g, const char *args) {
    u8 bytes[GDB_REG_BYTES];
    u32 number;
    unsigned n = hex_take(&args, &number) ? gdb_reg_get(g->m->cpu, number, bytes) : 0;
    if (n) gdb_say_hex(g, "", bytes, n);
    else gdb_error(g);
}

static void gdb_write_reg(Gdb *g, const char *args) {
    u8 bytes[GDB_REG_BYTES] = { 0 };
    u32 number;
    bool ok = hex_take(&args, &number) && *args++ == '=' && strlen(args) / 2 <= sizeof bytes &&
              hex_bytes(args, bytes, strlen(args) / 2) && gdb_reg_set(g->m->cpu, number, bytes);
    if (ok) gdb_ok(g);
    else gdb_error(g);
}

static void gdb_read_memory(Gdb *g, const char *args) {
    u8 bytes[GDB_PACKET_BYTES / 2];
    u32 addr, count;
    if (!hex_take_two(&args, ',', &addr, &count)) {
        gdb_error(g);
        return;
    }
    count = min_u32(count, sizeof bytes);
    u32 n = gdb_mem_read(g->m, g->physical, addr, bytes, count);
    if (n || !count) gdb_say_hex(g, "", bytes, n);
    else gdb_error(g);
}

// "ADDR,COUNT:" and the bytes, in hexadecimal (M) or as they are (X).
static void gdb_write_memory(Gdb *g, const char *args, bool binary) {
    u8 bytes[GDB_PACKET_BYTES];
    u32 addr, count;
    bool ok = hex_take_two(&args, ',', &addr, &count) && *args++ == ':';
    size_t left = ok ? (size_t)((char *)g->packet + g->length - args) : 0;
    ok = ok && (binary ? count <= left : count <= left / 2) && count <= sizeof bytes;
    if (ok && binary) memcpy(bytes, args, count);
    ok = ok && (binary || hex_bytes(args, bytes, count));
    if (ok && gdb_mem_write(g->m, g->physical, addr, bytes, count) == count) gdb_ok(g);
    else gdb_error(g);
}

// ---- queries --------------------------------------------------------------------------------------

// A part of a text: "OFFSET,COUNT".
static void gdb_say_part(Gdb *g, const char *args, const char *text) {
    u32 offset, count;
    size_t bytes = strlen(text);
    if (!hex_take_two(&args, ',', &offset, &count) || offset > bytes) {
        gdb_say(g, "E00");
        return;
    }
    count = min_u32(count, GDB_PACKET_BYTES / 2);
    bool more = offset + (size_t)count < bytes;
    size_t n = more ? count : bytes - offset;
    char *part = mem_printf("%c%.*s", more ? 'm' : 'l', (int)n, text + offset);
    gdb_say(g, part);
    free(part);
}

static void gdb_features(Gdb *g, const char *args) {
    static const char name[] = "target.xml:";
    if (strncmp(args, name, strlen(name))) {
        gdb_say(g, "E00");
        return;
    }
    char *xml = gdb_target_xml(g->m->cpu);
    gdb_say_part(g, args + strlen(name), xml);
    free(xml);
}

// A command for the monitor; what it says comes in pieces.
static void gdb_monitor(Gdb *g, const char *args) {
    size_t length = strlen(args) / 2, bytes = 0;
    char *line = mem_new(length + 1), *text = NULL;
    FILE *out = open_memstream(&text, &bytes);
    require(out);
    if (hex_bytes(args, (u8 *)line, length)) monitor_command(g->monitor, line, out);
    fclose(out);
    for (size_t at = 0; at < bytes; at += 2048) gdb_say_hex(g, "O", text + at, min_u64(2048, bytes - at));
    gdb_ok(g);
    free(text);
    free(line);
}

static void gdb_supported(Gdb *g, const char *args) {
    g->tells_breaks = strstr(args, "swbreak+") && strstr(args, "hwbreak+");
    char *text = mem_printf("PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;vContSupported+"
                            "%s", GDB_PACKET_BYTES, g->tells_breaks ? ";swbreak+;hwbreak+" : "");
    gdb_say(g, text);
    free(text);
}

static void gdb_step_mask(Gdb *g, const char *args) {
    u32 mask = 0;
    if (*args != '=') {
        char text[8];
        snprintf(text, sizeof text, "0x%x", g->step);
        gdb_say(g, text);
        return;
    }
    args++;
    if (!strncmp(args, "0x", 2)) args += 2;
    hex_take(&args, &mask);
    g->step = (u8)(mask & (STEP_ENABLE | STEP_NO_IRQ));
    gdb_ok(g);
}

static void gdb_query(Gdb *g, const char *text) {
    static const struct { const char *name; void (*run)(Gdb *g, const char *args); const char *answer; }
    queries[] = {
        { "qSupported", gdb_supported, NULL },
        { "qXfer:features:read:", gdb_features, NULL },
        { "qRcmd,", gdb_monitor, NULL },
        { "qAttached", NULL, "1" },
        { "qC", NULL, "QC1" },
        { "qfThreadInfo", NULL, "m1" },
        { "qsThreadInfo", NULL, "l" },
        { "qThreadExtraInfo", NULL, "435055203020" },                  // "CPU 0 "
        { "qqemu.sstepbits", NULL, "ENABLE=1,NOIRQ=2" },
        { "qqemu.sstep", gdb_step_mask, NULL }, { "Qqemu.sstep", gdb_step_mask, NULL },
    };
    for (unsigned i = 0; i < ARRAY_LEN(queries); i++) {
        size_t n = strlen(queries[i].name);
        if (strncmp(text, queries[i].name, n)) continue;
        if (queries[i].run) queries[i].run(g, text + n);
        else gdb_say(g, queries[i].answer);
        return;
    }
    if (!strcmp(text, "QStartNoAckMode")) {
        g->no_ack_next = true;
        gdb_ok(g);
    } else if (!strcmp(text, "qqemu.PhyMemMode")) {
        gdb_say(g, g->physical ? "1" : "0");
    } else if (!strncmp(text, "Qqemu.PhyMemMode:", 17)) {
        g->physical = text[17] == '1';
        gdb_ok(g);
    } else {
        gdb_say(g, "");
    }
}

// ---- packets --------------------------------------------------------------------------------------

static void gdb_detach(Gdb *g) {
    gdb_forget_breaks(g);
    gdb_ok(g);
    machine_resume(g->m);
}

static void gdb_v_packet(Gdb *g, const char *text) {
    if (!strcmp(text, "vCont?")) {
        gdb_say(g, "vCont;c;C;s;S");
    } else if (!strncmp(text, "vCont", 5)) {
        gdb_vcont(g, text + 5);
    } else if (!strncmp(text, "vKill", 5)) {
        gdb_ok(g);
        bus_request_exit(g->m->bus, 0);
    } else {
        gdb_say(g, "");
    }
}

// Is the thread of "H g 1", "T 1" the one there is? 0 and -1 are any.
static bool gdb_thread_ok(const char *text) {
    u32 number;
    if (*text == '-') return true;
    return hex_take(&text, &number) && number <= 1;
}

static void gdb_dispatch(Gdb *g) {
    const char *text = (const char *)g->packet, *args = text + 1;
    switch (text[0]) {
    case '?': gdb_say(g, g->stop); break;
    case 'g': gdb_read_regs(g); break;
    case 'G': gdb_write_regs(g, args); break;
    case 'p': gdb_read_reg(g, args); break;
    case 'P': gdb_write_reg(g, args); break;
    case 'm': gdb_read_memory(g, args); break;
    case 'M': gdb_write_memory(g, args, false); break;
    case 'X': gdb_write_memory(g, args, true); break;
    case 'c': case 's': gdb_resume(g, args, false); break;
    case 'C': case 'S': gdb_resume(g, args, true); break;
    case 'v': gdb_v_packet(g, text); break;
    case 'k': bus_request_exit(g->m->bus, 0); break;
    case 'D': gdb_detach(g); break;
    case 'H': gdb_thread_ok(args + (*args != 0)) ? gdb_ok(g) : gdb_error(g); break;
    case 'T': gdb_thread_ok(args) ? gdb_ok(g) : gdb_error(g); break;
    case 'q': case 'Q': gdb_query(g, text); break;
    case 'Z': gdb_breakpoint(g, args, true); break;
    case 'z': gdb_breakpoint(g, args, false); break;
    default: gdb_say(g, ""); break;
    }
}

// ---- input ----------------------------------------------------------------------------------------

// Escapes are undone here; the sum was made of the bytes as they came.
static void gdb_unescape(Gdb *g) {
    size_t n = 0;
    for (size_t i = 0; i < g->length; i++) {
        bool escaped = g->packet[i] == '}' && i + 1 < g->length;
        if (escaped) i++;
        g->packet[n++] = escaped ? g->packet[i] ^ 0x20 : g->packet[i];
    }
    g->length = n;
    g->packet[n] = 0;
}

static void gdb_packet_end(Gdb *g) {
    bool good = g->no_ack || g->sum == g->sum_given;
    if (!g->no_ack) gdb_link_send(g->link, good ? "+" : "-", 1);
    if (!good) return;
    gdb_unescape(g);
    g->busy = true;
    if (g->too_long) gdb_say(g, "E22");
    else gdb_dispatch(g);
    g->busy = false;
    if (g->no_ack_next) g->no_ack = true;
}

static void gdb_between_packets(Gdb *g, u8 byte) {
    if (byte == '$') {
        g->input = INPUT_PACKET;
        g->length = g->sum = 0;
        g->too_long = false;
    } else if (byte == 0x03) {
        if (g->waiting) machine_pause(g->m);
    } else if (byte == '-' && g->sent && !g->no_ack) {
        gdb_link_send(g->link, g->sent, g->sent_bytes);
    }
}

static void gdb_byte(Gdb *g, u8 byte) {
    int digit = hex_digit((char)byte);
    switch (g->input) {
    case INPUT_IDLE: gdb_between_packets(g, byte); break;
    case INPUT_PACKET:
        if (byte == '#') {
            g->input = INPUT_SUM_1;
        } else if (byte == '$') {
            gdb_between_packets(g, byte);              // the one before was cut off
        } else {
            g->sum = (u8)(g->sum + byte);
            g->too_long |= g->length == GDB_PACKET_BYTES;
            if (!g->too_long) g->packet[g->length++] = byte;
        }
        break;
    case INPUT_SUM_1:
        g->sum_given = digit < 0 ? -1 : digit << 4;
        g->input = INPUT_SUM_2;
        break;
    case INPUT_SUM_2:
        g->sum_given = g->sum_given < 0 || digit < 0 ? -1 : g->sum_given | digit;
        g->input = INPUT_IDLE;
        gdb_packet_end(g);
        break;
    }
}

static void gdb_input(void *self, const u8 *bytes, size_t count) {
    while (count--) gdb_byte(self, *bytes++);
}

// ---- clients --------------------------------------------------------------------------------------

static void gdb_opened(void *self) {
    Gdb *g = self;
    g->connected = true;
    g->no_ack = g->no_ack_next = g->tells_breaks = g->waiting = g->physical = g->at_break = false;
    g->step = STEP_ENABLE | STEP_NO_IRQ;
    g->input = INPUT_IDLE;
    strcpy(g->stop, "T05thread:1;");
    if (!g->m->paused) machine_pause(g->m);
}

static void gdb_closed(void *self) {
    Gdb *g = self;
    g->connected = g->waiting = false;
    gdb_forget_breaks(g);
}

// A packet that gdb shows its user, sent to a second one.
static char *gdb_refusal(void) {
    static const char text[] = "E.glassbox: another debugger is connected";
    u8 sum = 0;
    for (unsigned i = 0; text[i]; i++) sum = (u8)(sum + (u8)text[i]);
    return mem_printf("+$%s#%02x", text, sum);
}

bool gdb_listen(Gdb *g, const char *spec, char **err) {
    if (g->busy) {
        *err = mem_strdup("not from within gdb");
        return false;
    }
    if (g->connected) gdb_closed(g);
    gdb_link_close(g->link);
    g->link = NULL;
    if (!strcmp(spec, "none")) return true;
    char *refusal = gdb_refusal();
    g->link = gdb_link_open(g->m->bus, spec, refusal,
                            &(GdbLinkUser){ g, gdb_opened, gdb_input, gdb_closed }, err);
    free(refusal);
    return g->link != NULL;
}

Gdb *gdb_new(Machine *m) {
    Gdb *g = mem_new(sizeof *g);
    g->m = m;
    g->monitor = monitor_new(m, NULL);
    monitor_set_gdb(g->monitor, g);
    m->on_stop = gdb_stopped;
    m->on_stop_self = g;
    return g;
}

void gdb_free(Gdb *g) {
    if (!g) return;
    if (g->connected && g->waiting) {
        char text[8];
        snprintf(text, sizeof text, "W%02x", bus_exit_status(g->m->bus) & 0xff);
        gdb_say(g, text);
    }
    g->m->on_stop = NULL;
    gdb_link_close(g->link);
    monitor_free(g->monitor);
    free(g->sent);
    free(g);
}
