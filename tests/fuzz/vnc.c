// SPDX-License-Identifier: MIT
// A viewer that says anything: the handshake right or wrong, messages of every kind with odd contents, noise;
// then it hears to the end of what the server has to say. The screen is of a size that the input chooses.
//
// The server has threads of its own: what a case reaches may differ from run to run.
#define _GNU_SOURCE
#include "fuzz.h"

#include "bus/device.h"
#include "dev/kbd.h"
#include "dev/vga.h"
#include "ui/vnc.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SAID_BYTES = 1 << 16, STEP_MS = 2, PATIENCE_MS = 20000, MESSAGE_BYTES = 2048 };

typedef struct Screen {
    Log log;
    Bus *bus;
    Vga *vga;
    Kbd *kbd;
    Vnc *vnc;
    char path[64];
} Screen;

// ---- the machine --------------------------------------------------------------------------------
static void screen_mode(Screen *s, u32 kind) {
    static const u16 sizes[][2] = { { 640, 480 }, { 320, 200 }, { 1, 1 }, { 2560, 1600 }, { 17, 3 }, { 1024, 768 } };
    const u16 *size = sizes[kind % ARRAY_LEN(sizes)];
    const u16 values[][2] = { { 4, 0 }, { 1, size[0] }, { 2, size[1] }, { 3, kind & 0x40 ? 32 : 8 }, { 4, 0x41 } };
    for (unsigned i = 0; kind & 0x80 && i < ARRAY_LEN(values); i++) {
        bus_out(s->bus, 0x1ce, 2, values[i][0]);
        bus_out(s->bus, 0x1cf, 2, values[i][1]);
    }
}

static void screen_open(Screen *s, u32 kind) {
    char *err = NULL, *spec;
    log_init(&s->log);
    s->bus = bus_new(1 << 20, &s->log);
    s->vga = vga_new(s->bus);
    s->kbd = kbd_new(s->bus, (Wire){ 0 }, (Wire){ 0 });
    device_reset_all(s->bus);
    bus_clock_run(s->bus, true);
    screen_mode(s, kind);
    snprintf(s->path, sizeof s->path, "/tmp/glassbox-fuzz-vnc.%d", (int)getpid());
    spec = mem_printf("unix:%s", s->path);
    s->vnc = vnc_start(s->bus, s->vga, s->kbd, spec, &err);
    if (!s->vnc) panic("%s", err);
    free(spec);
}

static void screen_close(Screen *s) {
    vnc_stop(s->vnc);
    bus_run_events(s->bus);
    vga_free(s->vga);
    kbd_free(s->kbd);
    bus_free(s->bus);
    log_close(&s->log);
}

static void screen_step(Screen *s) {
    bus_run_events(s->bus);
    bus_run_timers(s->bus);
    while (bus_in(s->bus, 0x64, 1) & 1) bus_in(s->bus, 0x60, 1);
}

// ---- what the viewer says -----------------------------------------------------------------------
typedef struct Said { u8 *at; size_t count; } Said;

static void say(Said *w, const void *bytes, size_t count) {
    if (count > SAID_BYTES - w->count) return;
    memcpy(w->at + w->count, bytes, count);
    w->count += count;
}

static void say_raw(Said *w, FuzzIn *in, size_t count) {
    for (; count && fuzz_more(in); count--) say(w, (u8[]){ fuzz_u8(in) }, 1);
}

static void say_handshake(Said *w, u32 kind) {
    static const char *const versions[] = { "RFB 003.008\n", "RFB 003.007\n", "RFB 003.003\n", "RFB 003.889\n",
                                            "RFB 999.999\n", "GET / HTTP/1.1\r\n", "RFB -1.-1\n\n\n" };
    const char *version = versions[kind < 128 ? 0 : kind % ARRAY_LEN(versions)];
    say(w, version, strlen(version));
    if (kind < 224) say(w, "\1\1", 2);
}

// A message of type 0 to 6 or 250 to 255, its size right but for what is chosen otherwise.
static void say_message(Said *w, FuzzIn *in) {
    static const u8 sizes[7] = { 20, 20, 4, 10, 8, 6, 8 };
    static const u32 encodings[] = { 0, 1, 2, 4, 5, 6, 7, 8, 9, 16, 17, 0xffffff11, 0xffffff18, 0xffffff21, 0xfffffecc,
                                     0xfffffe00, 0xffff0000, 0xffff0001, 0xc0a1e5ce, 0xffffffe9, 0xffffff05 };
    u8 message[MESSAGE_BYTES] = { 0 };
    u8 type = fuzz_u8(in), fill = fuzz_u8(in);
    size_t n = type < 7 ? sizes[type] : 1 + type % 16;
    message[0] = type;
    for (size_t i = 1; i < n; i++) message[i] = fill & 1 ? fuzz_u8(in) : 0;
    if (type == 2) {
        u32 count = fuzz_u8(in);
        message[3] = (u8)count;
        for (u32 i = 0; i < count && n + 4 <= sizeof message; i++, n += 4) {
            u32 code = fuzz_u8(in);
            put_le32(message + n, __builtin_bswap32(code < 64 ? encodings[code % ARRAY_LEN(encodings)] : fuzz_u32(in)));
        }
    } else if (type == 6 && !(fill & 1)) {
        message[7] = fuzz_u8(in);
        for (u32 left = message[7]; left; left--) message[n++] = fuzz_u8(in);
    }
    fuzz_say("message %u, %zu bytes", type, n);
    say(w, message, n);
}

static int dial(const Screen *s) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    strcpy(a.sun_path, s->path);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) panic("connect: %s", strerror(errno));
    return fd;
}

static u64 now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

// Says it all, hears until the server has hung up.
static void talk(Screen *s, const Said *w) {
    u8 heard[4096];
    size_t sent = 0, total = 0;
    u64 end = now_ms() + PATIENCE_MS;
    int fd = dial(s);
    for (bool over = false; !over;) {
        struct pollfd p = { fd, (short)(POLLIN | (sent < w->count ? POLLOUT : 0)), 0 };
        poll(&p, 1, STEP_MS);
        if (sent < w->count) {
            ssize_t n = send(fd, w->at + sent, w->count - sent, MSG_NOSIGNAL);
            if (n > 0) sent += (size_t)n;
            else if (errno != EAGAIN) over = true;
            if (sent == w->count) shutdown(fd, SHUT_WR);
        }
        ssize_t n = recv(fd, heard, sizeof heard, 0);
        if (n > 0) total += (size_t)n;
        over |= n == 0 || (n < 0 && errno != EAGAIN);
        screen_step(s);
        if (now_ms() > end) panic("the server does not hang up");
    }
    fuzz_say("%zu bytes said, %zu heard", sent, total);
    close(fd);
}

static void vnc_run(FuzzIn *in) {
    Screen s = { 0 };
    Said w = { mem_new(SAID_BYTES), 0 };
    screen_open(&s, fuzz_u8(in));
    say_handshake(&w, fuzz_u8(in));
    while (fuzz_more(in)) {
        u8 noise = fuzz_u8(in);
        if (noise < 240) say_message(&w, in);
        else say_raw(&w, in, noise & 15);
    }
    talk(&s, &w);
    screen_close(&s);
    free(w.at);
}

const FuzzTarget fuzz_target = { "vnc", 1024, vnc_run, NULL };
