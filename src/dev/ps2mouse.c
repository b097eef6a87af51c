// SPDX-License-Identifier: MIT
// A PS/2 mouse: the commands of IBM's PS/2 Technical Reference, and Microsoft's wheel knocks
// (sample rates 200, 100, 80: three bytes become four; then 200, 200, 80: five buttons).
//
// Rules
//  1. Movement waits in `moves`; a change of buttons opens a new one, so that no click is lost
//     between two samples. When all are in use the last one absorbs.
//  2. A packet is made at most once per sample interval, and only when the last one has left: slow
//     guests get fewer, larger packets, never half ones.
//  3. Movement beyond a packet's range stays for the next packet.
//  4. A command discards a packet that is on its way. Its movement is lost, as on real mice; the
//     state of the buttons is told again.
#include "dev/ps2mouse.h"

#include "bus/device.h"
#include "dev/kbd.h"
#include "dev/ps2queue.h"
#include <stdlib.h>

#define MOVES 16u

enum Ps2MouseByte { MOUSE_ACK = 0xfa, MOUSE_RESEND = 0xfe, MOUSE_PASSED = 0xaa };

struct Ps2Mouse {
    Bus *bus;
    void (*ready)(void *self);
    void *self;
    Timer *sample;             // the next packet may be made
    Ps2Queue replies;          // answers to commands
    Ps2Queue packets;          // at most one packet
    i32 dx[MOVES], dy[MOVES], dz[MOVES];   // movement waiting; [0] is the oldest
    u8 buttons[MOVES];         // buttons during it (KBD_BUTTON_*)
    u8 moves;                  // entries in use; the state after the last is `now_buttons`
    u8 now_buttons;            // newest state of the buttons
    u8 id;                     // 0 plain, 3 wheel, 4 wheel and five buttons
    u8 knock[2];               // the last two sample rates, oldest first
    u8 rate_hz;
    u8 resolution;             // log2 of counts per mm
    u8 command;                // command whose argument is awaited; 0: none
    u8 last;                   // last byte sent, for fe
    bool reporting;            // f4, f5
    bool remote;               // f0, ea
    bool wrap;                 // ee, ec
    bool scaling2;             // e7, e6
};

static const Field ps2mouse_fields[] = {
    FIELD(Ps2Mouse, sample, FIELD_TIMER, 0),
    PS2_QUEUE_FIELDS(Ps2Mouse, replies),
    PS2_QUEUE_FIELDS(Ps2Mouse, packets),
    FIELD_ARRAY(Ps2Mouse, dx, FIELD_UINT, 0),
    FIELD_ARRAY(Ps2Mouse, dy, FIELD_UINT, 0),
    FIELD_ARRAY(Ps2Mouse, dz, FIELD_UINT, 0),
    FIELD_ARRAY(Ps2Mouse, buttons, FIELD_UINT, 0),
    FIELD(Ps2Mouse, moves, FIELD_UINT, 0),
    FIELD(Ps2Mouse, now_buttons, FIELD_UINT, 0),
    FIELD(Ps2Mouse, id, FIELD_UINT, 0),
    FIELD_ARRAY(Ps2Mouse, knock, FIELD_UINT, 0),
    FIELD(Ps2Mouse, rate_hz, FIELD_UINT, 100),
    FIELD(Ps2Mouse, resolution, FIELD_UINT, 2),
    FIELD(Ps2Mouse, command, FIELD_UINT, 0),
    FIELD(Ps2Mouse, last, FIELD_UINT, 0),
    FIELD(Ps2Mouse, reporting, FIELD_BOOL, 0),
    FIELD(Ps2Mouse, remote, FIELD_BOOL, 0),
    FIELD(Ps2Mouse, wrap, FIELD_BOOL, 0),
    FIELD(Ps2Mouse, scaling2, FIELD_BOOL, 0),
};

static i32 mouse_clamp(i32 v, i32 lo, i32 hi) { return v < lo ? lo : v > hi ? hi : v; }

// 2:1 scaling (PS/2 Technical Reference, mouse, table of scaled counts).
static i32 mouse_scale(i32 v) {
    static const u8 scaled[6] = { 0, 1, 1, 3, 6, 9 };
    i32 n = v < 0 ? -v : v;
    i32 s = n < 6 ? scaled[n] : 2 * n;
    return v < 0 ? -s : s;
}

static void mouse_drop_move(Ps2Mouse *m) {
    for (unsigned i = 1; i < m->moves; i++) {
        m->dx[i - 1] = m->dx[i];
        m->dy[i - 1] = m->dy[i];
        m->dz[i - 1] = m->dz[i];
        m->buttons[i - 1] = m->buttons[i];
    }
    m->moves--;
}

// Byte 0: Yo Xo Ys Xs 1 M R L. Then X, Y, and with a wheel Z (id 4: Z in the low nibble, buttons 4
// and 5 above it).
static void mouse_make_packet(Ps2Mouse *m, Ps2Queue *to, bool scale) {
    i32 x = 0, y = 0, z = 0;
    u8 buttons = m->now_buttons;
    if (m->moves) {
        i32 limit = scale ? 127 : 255;                   // a scaled count must still fit in 9 bits
        x = mouse_clamp(m->dx[0], -limit, limit);
        y = mouse_clamp(m->dy[0], -limit, limit);
        z = mouse_clamp(m->dz[0], -8, 7);
        buttons = m->buttons[0];
        m->dx[0] -= x;
        m->dy[0] -= y;
        m->dz[0] -= z;
        if (!m->dx[0] && !m->dy[0] && !m->dz[0]) mouse_drop_move(m);
    }
    if (scale) x = mouse_scale(x), y = mouse_scale(y);
    y = -y;                                              // the mouse counts upwards
    ps2queue_put(to, (u8)((y < 0 ? 0x20 : 0) | (x < 0 ? 0x10 : 0) | 8 | (buttons & 7)));
    ps2queue_put(to, (u8)x);
    ps2queue_put(to, (u8)y);
    if (m->id == 3) ps2queue_put(to, (u8)z);
    if (m->id == 4) ps2queue_put(to, (u8)((z & 15) | (buttons >> 3 & 3) << 4));
}

// Makes a packet if there is news, the last one has left, and the sample interval is over.
static void mouse_stream(Ps2Mouse *m) {
    if (!m->reporting || m->remote || m->wrap || !m->moves) return;
    if (m->packets.count || bus_timer_armed(m->sample)) return;
    mouse_make_packet(m, &m->packets, m->scaling2);
    bus_timer_at(m->sample, bus_now_ns(m->bus) + 1000000000u / m->rate_hz);
    m->ready(m->self);
}

static void mouse_sample(void *self) { mouse_stream(self); }

static void mouse_add_move(Ps2Mouse *m, u8 buttons) {
    unsigned n = m->moves++;
    m->dx[n] = m->dy[n] = m->dz[n] = 0;
    m->buttons[n] = buttons;
}

void ps2mouse_event(Ps2Mouse *m, int dx, int dy, int dz, unsigned buttons) {
    buttons &= 31;
    bool changed = buttons != m->now_buttons;
    if (m->id == 0) dz = 0;
    if (!changed && !dx && !dy && !dz) return;
    m->now_buttons = (u8)buttons;
    if (!m->reporting && !m->remote) return;             // nobody listens: nothing piles up
    if (!m->moves || (changed && m->moves < MOVES)) mouse_add_move(m, (u8)buttons);
    unsigned last = m->moves - 1u;
    m->dx[last] = mouse_clamp(m->dx[last] + mouse_clamp(dx, -4096, 4096), -32768, 32767);
    m->dy[last] = mouse_clamp(m->dy[last] + mouse_clamp(dy, -4096, 4096), -32768, 32767);
    m->dz[last] = mouse_clamp(m->dz[last] + mouse_clamp(dz, -4096, 4096), -32768, 32767);
    m->buttons[last] = (u8)buttons;
    mouse_stream(m);
}

static void mouse_reply(Ps2Mouse *m, u8 byte) { ps2queue_put(&m->replies, byte); }

static void mouse_forget(Ps2Mouse *m) {
    ps2queue_clear(&m->packets);
    m->moves = 0;
}

static void mouse_defaults(Ps2Mouse *m) {
    m->rate_hz = 100;
    m->resolution = 2;
    m->reporting = m->remote = m->wrap = m->scaling2 = false;
    mouse_forget(m);
}

static void mouse_reply_status(Ps2Mouse *m) {
    u8 b = m->now_buttons;
    unsigned v = (m->remote ? 0x40 : 0) | (m->reporting ? 0x20 : 0) | (m->scaling2 ? 0x10 : 0);
    v |= (b & KBD_BUTTON_LEFT ? 4 : 0) | (b & KBD_BUTTON_MIDDLE ? 2 : 0);
    v |= b & KBD_BUTTON_RIGHT ? 1 : 0;
    mouse_reply(m, (u8)v);
    mouse_reply(m, m->resolution);
    mouse_reply(m, m->rate_hz);
}

static void mouse_set_rate(Ps2Mouse *m, u8 rate) {
    if (m->knock[0] == 200 && m->knock[1] == 100 && rate == 80 && m->id == 0) m->id = 3;
    if (m->knock[0] == 200 && m->knock[1] == 200 && rate == 80 && m->id == 3) m->id = 4;
    m->knock[0] = m->knock[1];
    m->knock[1] = rate;
    m->rate_hz = rate ? rate : 100;
}

static void mouse_command(Ps2Mouse *m, u8 byte) {
    switch (byte) {
    case 0xe6: case 0xe7: m->scaling2 = byte == 0xe7; break;
    case 0xe8: case 0xf3: m->command = byte; break;
    case 0xe9:
        mouse_reply(m, MOUSE_ACK);
        mouse_reply_status(m);
        return;
    case 0xea: m->remote = false; break;
    case 0xeb:
        mouse_reply(m, MOUSE_ACK);
        mouse_make_packet(m, &m->replies, false);
        return;
    case 0xec: m->wrap = false; break;
    case 0xee: m->wrap = true; break;
    case 0xf0: m->remote = true; break;
    case 0xf2:
        mouse_reply(m, MOUSE_ACK);
        mouse_reply(m, m->id);
        return;
    case 0xf4: m->reporting = true; mouse_forget(m); break;
    case 0xf5: m->reporting = false; mouse_forget(m); break;
    case 0xf6: mouse_defaults(m); break;
    case 0xfe: mouse_reply(m, m->last); return;
    case 0xff:
        mouse_defaults(m);
        ps2queue_clear(&m->replies);
        m->id = 0;
        mouse_reply(m, MOUSE_ACK);
        mouse_reply(m, MOUSE_PASSED);
        mouse_reply(m, 0x00);
        return;
    default:
        log_guest_error(bus_log(m->bus), "ps2mouse", "unknown mouse command 0x%02x", byte);
        mouse_reply(m, MOUSE_RESEND);
        return;
    }
    mouse_reply(m, MOUSE_ACK);
}

static void mouse_argument(Ps2Mouse *m, u8 cmd, u8 byte) {
    if (cmd == 0xe8 && byte > 3) {
        mouse_reply(m, MOUSE_RESEND);
        return;
    }
    if (cmd == 0xe8) m->resolution = byte;
    else mouse_set_rate(m, byte);
    mouse_reply(m, MOUSE_ACK);
}

void ps2mouse_write(Ps2Mouse *m, u8 byte) {
    u8 cmd = m->command;
    m->command = 0;
    if (m->packets.count && !m->moves) mouse_add_move(m, m->now_buttons);
    ps2queue_clear(&m->packets);
    if (cmd) mouse_argument(m, cmd, byte);
    else if (m->wrap && byte != 0xec && byte != 0xff) mouse_reply(m, byte);
    else mouse_command(m, byte);
    m->ready(m->self);
    mouse_stream(m);
}

bool ps2mouse_pending(const Ps2Mouse *m) { return m->replies.count || m->packets.count; }

u8 ps2mouse_take(Ps2Mouse *m) {
    m->last = ps2queue_take(m->replies.count ? &m->replies : &m->packets);
    // The guest was slower than the sample rate: what has piled up follows when the bus is free.
    if (!m->packets.count && m->moves && !bus_timer_armed(m->sample))
        bus_timer_at(m->sample, bus_now_ns(m->bus) + 1);
    return m->last;
}

static const DeviceClass ps2mouse_class = {
    "ps2mouse", ps2mouse_fields, ARRAY_LEN(ps2mouse_fields), NULL, NULL, NULL,
};

Ps2Mouse *ps2mouse_new(Bus *bus, void (*ready)(void *self), void *self) {
    Ps2Mouse *m = mem_new(sizeof(*m));
    *m = (Ps2Mouse){ .bus = bus, .ready = ready, .self = self };
    m->sample = bus_timer_new(bus, "ps2mouse", mouse_sample, m);
    device_add(bus, &ps2mouse_class, NULL, m);
    return m;
}

void ps2mouse_free(Ps2Mouse *m) { free(m); }
