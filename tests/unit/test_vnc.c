// SPDX-License-Identifier: MIT
// The VNC server with real connections: a machine's thread, a VGA, a keyboard, and viewers good and
// bad that speak RFB by hand. Run: make test T=unit/test_vnc
#include "testbus.h"

#include "dev/kbd.h"
#include "dev/vga.h"
#include "ui/vnc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LFB 0xe0000000u

typedef struct Fix {
    Bus *bus;
    Log log;
    Vga *vga;
    Kbd *kbd;
    Vnc *vnc;
    TestPin irq1, irq12;
    pthread_t machine;
    atomic_bool ended;
    u8 codes[512];             // what the keyboard sent; bytes of the mouse in moves
    u8 moves[64];
    atomic_uint code_count, move_count;
    int fd;                    // a good viewer
    unsigned width, height;    // of its screen
    u32 pixels[1024 * 768];
} Fix;

static u64 now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

// ---- the machine --------------------------------------------------------------------------------

static void drain_keyboard(Fix *f) {
    for (u8 status; (status = (u8)bus_in(f->bus, 0x64, 1)) & 1;) {
        u8 byte = (u8)bus_in(f->bus, 0x60, 1);
        atomic_uint *count = status & 0x20 ? &f->move_count : &f->code_count;
        if (status & 0x20) f->moves[*count % sizeof(f->moves)] = byte;
        else f->codes[*count % sizeof(f->codes)] = byte;
        ++*count;                                  // last: it tells that the byte is there
    }
}

static void *machine(void *arg) {
    Fix *f = arg;
    while (!atomic_load(&f->ended)) {
        u64 next_ns = bus_next_deadline_ns(f->bus), soon_ns = bus_now_ns(f->bus) + 5000000;
        bus_wait(f->bus, next_ns < soon_ns ? next_ns : soon_ns);
        bus_run_events(f->bus);
        bus_run_timers(f->bus);
        drain_keyboard(f);
    }
    return NULL;
}

static void mouse_send(Fix *f, u8 byte) {
    bus_out(f->bus, 0x64, 1, 0xd4);
    bus_out(f->bus, 0x60, 1, byte);
}

static void vbe_mode(Fix *f, u16 width, u16 height) {
    const u16 values[][2] = { { 4, 0 }, { 1, width }, { 2, height }, { 3, 32 }, { 4, 0x41 } };
    for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
        bus_out(f->bus, 0x1ce, 2, values[i][0]);
        bus_out(f->bus, 0x1cf, 2, values[i][1]);
    }
}

static int setup(void **state) {
    Fix *f = calloc(1, sizeof(*f));
    char *err = NULL;
    log_init(&f->log);
    f->bus = bus_new(1 << 20, &f->log);
    f->vga = vga_new(f->bus);
    f->kbd = kbd_new(f->bus, testpin_wire(&f->irq1, 0), testpin_wire(&f->irq12, 0));
    device_reset_all(f->bus);
    bus_clock_run(f->bus, true);
    bus_out(f->bus, 0x64, 1, 0x60);                // controller: both on, scan codes translated
    bus_out(f->bus, 0x60, 1, 0x47);
    mouse_send(f, 0xf4);
    drain_keyboard(f);
    f->code_count = f->move_count = 0;
    vbe_mode(f, 640, 480);
    f->fd = -1;
    f->vnc = vnc_start(f->bus, f->vga, f->kbd, "127.0.0.1:71,to=90", &err);
    if (!f->vnc) fail_msg("%s", err);
    pthread_create(&f->machine, NULL, machine, f);
    *state = f;
    return 0;
}

static void stop_machine(Fix *f) {
    if (atomic_exchange(&f->ended, true)) return;
    pthread_join(f->machine, NULL);
}

static int teardown(void **state) {
    Fix *f = *state;
    stop_machine(f);
    vnc_stop(f->vnc);
    bus_run_events(f->bus);
    if (f->fd >= 0) close(f->fd);
    vga_free(f->vga);
    kbd_free(f->kbd);
    bus_free(f->bus);
    log_close(&f->log);
    free(f);
    return 0;
}

typedef struct Poke { Fix *f; u32 at, value; } Poke;
static void poke_run(void *arg) { Poke *p = arg; bus_write(p->f->bus, phy(p->at), 4, p->value); }
static void poke(Fix *f, u32 at, u32 value) { bus_call(f->bus, poke_run, &(Poke){ f, at, value }); }
static void resize_run(void *arg) { vbe_mode(arg, 800, 600); }

// ---- a viewer -----------------------------------------------------------------------------------

static int dial(Fix *f) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((u16)vnc_port(f->vnc)) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a))) fail_msg("connect: %s", strerror(errno));
    return fd;
}

static void give(int fd, const void *bytes, size_t count) {
    assert_int_equal(send(fd, bytes, count, MSG_NOSIGNAL), count);
}

// Takes count bytes; false: the connection ended, or nothing came for five seconds.
static bool take(int fd, void *bytes, size_t count) {
    struct pollfd p = { fd, POLLIN, 0 };
    for (u8 *at = bytes; count;) {
        if (poll(&p, 1, 5000) <= 0) return false;
        ssize_t n = recv(fd, at, count, 0);
        if (n <= 0) return false;
        at += n;
        count -= (size_t)n;
    }
    return true;
}

static u16 be16(const u8 *b) { return (u16)(b[0] << 8 | b[1]); }

// The handshake up to the server's picture size.
static int viewer(Fix *f) {
    u8 b[256];
    int fd = dial(f);
    assert_true(take(fd, b, 12));
    assert_memory_equal(b, "RFB 003.008\n", 12);
    give(fd, "RFB 003.008\n", 12);
    assert_true(take(fd, b, 1) && take(fd, b + 1, b[0]));
    assert_int_equal(b[1], 1);                     // no authentication
    give(fd, "\1", 1);
    assert_true(take(fd, b, 4));
    give(fd, "\1", 1);
    assert_true(take(fd, b, 24));
    f->width = be16(b);
    f->height = be16(b + 2);
    assert_int_equal(b[4], 32);
    assert_true(take(fd, b + 24, b[23]));
    // raw, and desktop size
    static const u8 encodings[] = { 2, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21 };
    give(fd, encodings, sizeof(encodings));
    return fd;
}

static void ask(Fix *f, int fd, bool news_only) {
    const u8 b[10] = { 3, news_only, 0, 0, 0, 0, (u8)(f->width >> 8), (u8)f->width,
                       (u8)(f->height >> 8), (u8)f->height };
    give(fd, b, sizeof(b));
}

static void take_rectangle(Fix *f, int fd) {
    u8 r[12];
    assert_true(take(fd, r, 12));
    unsigned x = be16(r), y = be16(r + 2), w = be16(r + 4), h = be16(r + 6);
    if (r[8] == 0xff) {
        f->width = w;
        f->height = h;
        return;
    }
    assert_int_equal(r[11], 0);
    for (unsigned row = y; row < y + h; row++)
        assert_true(take(fd, f->pixels + row * f->width + x, w * 4));
}

static void take_update(Fix *f, int fd) {
    u8 b[4];
    assert_true(take(fd, b, 4));
    assert_int_equal(b[0], 0);
    for (unsigned n = be16(b + 2); n--;) take_rectangle(f, fd);
}

// Asks for news until the pixel has the colour.
static void until_pixel(Fix *f, unsigned x, unsigned y, u32 colour) {
    for (unsigned i = 0; i < 50 && (f->pixels[y * f->width + x] & 0xffffff) != colour; i++) {
        ask(f, f->fd, true);
        take_update(f, f->fd);
    }
    assert_int_equal(f->pixels[y * f->width + x] & 0xffffff, colour);
}

static void send_key(int fd, u32 keysym, bool down) {
    const u8 b[8] = { 4, down, 0, 0, (u8)(keysym >> 24), (u8)(keysym >> 16), (u8)(keysym >> 8),
                      (u8)keysym };
    give(fd, b, sizeof(b));
}

static void send_pointer(int fd, u8 buttons, u16 x, u16 y) {
    const u8 b[6] = { 5, buttons, (u8)(x >> 8), (u8)x, (u8)(y >> 8), (u8)y };
    give(fd, b, sizeof(b));
}

static void until_count(atomic_uint *count, unsigned wanted) {
    for (unsigned i = 0; i < 5000 && *count < wanted; i++) usleep(1000);
    usleep(30000);
    assert_int_equal(*count, wanted);
}

// ---- tests --------------------------------------------------------------------------------------

static void expect_error(Fix *f, const char *spec, const char *part) {
    char *err = NULL;
    assert_null(vnc_start(f->bus, f->vga, f->kbd, spec, &err));
    if (!err || !strstr(err, part)) fail_msg("%s: '%s' lacks '%s'", spec, err ? err : "", part);
    free(err);
}

static void test_errors(void **state) {
    Fix *f = *state;
    char spec[64];
    stop_machine(f);
    snprintf(spec, sizeof(spec), "127.0.0.1:%d", vnc_port(f->vnc) - 5900);
    expect_error(f, spec, "Address already in use");
    expect_error(f, "localhost", "is not HOST:N");
    expect_error(f, "1.2.3.4:x", "is not HOST:N");
    expect_error(f, "127.0.0.1:99999", "is not HOST:N");
    expect_error(f, "127.0.0.1:95,password", "option 'password' is not supported");
    char *err = NULL;
    assert_null(vnc_start(f->bus, f->vga, f->kbd, "none", &err));
    assert_null(err);
}

static void test_picture_and_changes(void **state) {
    Fix *f = *state;
    poke(f, LFB + (10 * 640 + 7) * 4, 0x123456);
    f->fd = viewer(f);
    assert_int_equal(f->width, 640);
    assert_int_equal(f->height, 480);
    ask(f, f->fd, false);
    take_update(f, f->fd);
    until_pixel(f, 7, 10, 0x123456);
    poke(f, LFB + (479 * 640 + 639) * 4, 0xfedcba);
    until_pixel(f, 639, 479, 0xfedcba);
    u8 b[4];
    ask(f, f->fd, true);                           // nothing changes: nothing comes
    assert_int_equal(poll(&(struct pollfd){ f->fd, POLLIN, 0 }, 1, 300), 0);
    poke(f, LFB, 0x010203);                        // only the part that changed comes
    assert_true(take(f->fd, b, 4));
    assert_int_equal(be16(b + 2), 1);
    u8 r[12];
    assert_true(take(f->fd, r, 12));
    assert_int_equal(be16(r), 0);
    assert_int_equal(be16(r + 4), 32);
    assert_in_range(be16(r + 6), 1, 16);
    for (unsigned n = be16(r + 4) * be16(r + 6), pixel; n--;) assert_true(take(f->fd, &pixel, 4));
}

static void test_resize(void **state) {
    Fix *f = *state;
    f->fd = viewer(f);
    ask(f, f->fd, false);
    take_update(f, f->fd);
    bus_call(f->bus, resize_run, f);
    for (unsigned i = 0; i < 20 && f->width != 800; i++) {
        ask(f, f->fd, true);
        take_update(f, f->fd);
    }
    assert_int_equal(f->width, 800);
    assert_int_equal(f->height, 600);
    poke(f, LFB + (599 * 800 + 799) * 4, 0x445566);
    until_pixel(f, 799, 599, 0x445566);
}

static void test_keys(void **state) {
    Fix *f = *state;
    f->fd = viewer(f);
    send_key(f->fd, 'A', true);                    // Shift is missing: it is added
    send_key(f->fd, 'A', false);
    static const u8 capital[] = { 0x2a, 0x1e, 0xaa, 0x9e };
    until_count(&f->code_count, 4);
    assert_memory_equal(f->codes, capital, 4);
    f->code_count = 0;
    send_key(f->fd, 0xffe1, true);                 // Shift held as on a real keyboard
    send_key(f->fd, 'A', true);
    send_key(f->fd, 'A', false);
    send_key(f->fd, '/', true);                    // another layout: '/' is Shift-7 there
    send_key(f->fd, '/', false);
    send_key(f->fd, 0xff52, true);                 // Shift-Up stays Shift-Up
    send_key(f->fd, 0xff52, false);
    send_key(f->fd, 0xffe1, false);
    static const u8 held[] = { 0x2a, 0x1e, 0x9e, 0xaa, 0x35, 0x2a, 0xb5 };
    for (unsigned i = 0; i < 5000 && f->code_count < 8; i++) usleep(1000);
    assert_memory_equal(f->codes, held, sizeof(held));
    for (unsigned i = 0; i < 5000 && (!f->code_count || f->codes[f->code_count - 1] != 0xaa); i++)
        usleep(1000);
    usleep(50000);
    f->code_count = 0;
    send_key(f->fd, 0xffe3, true);                 // gone with Control held: released
    until_count(&f->code_count, 1);
    close(f->fd);
    f->fd = -1;
    until_count(&f->code_count, 2);
    assert_int_equal(f->codes[1], 0x9d);
}

static void test_typing_arrives_whole(void **state) {
    Fix *f = *state;
    f->fd = viewer(f);
    for (unsigned i = 0; i < 100; i++) {
        send_key(f->fd, 'a' + i % 2, true);
        send_key(f->fd, 'a' + i % 2, false);
    }
    until_count(&f->code_count, 200);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(f->codes[i * 2], i % 2 ? 0x30 : 0x1e);
        assert_int_equal(f->codes[i * 2 + 1], i % 2 ? 0xb0 : 0x9e);
    }
}

static void test_pointer(void **state) {
    Fix *f = *state;
    f->fd = viewer(f);
    send_pointer(f->fd, 0, 100, 100);              // the first position is no movement
    usleep(50000);
    assert_int_equal(f->move_count, 0);
    send_pointer(f->fd, 0, 110, 105);
    until_count(&f->move_count, 3);
    assert_int_equal(f->moves[1], 10);
    assert_int_equal(f->moves[2], (u8)-5);
    f->move_count = 0;
    send_pointer(f->fd, 4, 110, 105);
    until_count(&f->move_count, 3);
    assert_int_equal(f->moves[0] & 7, 2);          // the right button
}

// Viewers that never end their handshake, talk garbage or stop reading bother nobody.
static void test_bad_viewers(void **state) {
    Fix *f = *state;
    enum { BAD = 12 };
    int bad[BAD];
    char garbage[4096];
    memset(garbage, 0xa5, sizeof(garbage));
    for (unsigned i = 0; i < BAD; i++) {
        bad[i] = i % 4 == 3 ? viewer(f) : dial(f);
        if (i % 4 == 1) give(bad[i], "RFB 003.0", 9);
        if (i % 4 == 2) send(bad[i], garbage, sizeof(garbage), MSG_NOSIGNAL);
        for (unsigned n = 0; i % 4 == 3 && n < 40; n++) ask(f, bad[i], false);    // reads nothing
    }
    u64 start_ms = now_ms();
    f->fd = viewer(f);
    ask(f, f->fd, false);
    take_update(f, f->fd);
    for (unsigned i = 1; i <= 20; i++) {
        poke(f, LFB + i * 4, 0x111111 * (i % 8));
        until_pixel(f, i, 0, 0x111111 * (i % 8));
    }
    assert_in_range(now_ms() - start_ms, 0, 6000);
    char c;
    struct pollfd p = { bad[2], POLLIN, 0 };
    while (poll(&p, 1, 15000) > 0 && recv(bad[2], &c, 1, 0) > 0) {}
    assert_true(recv(bad[2], &c, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);     // dropped
    assert_in_range(now_ms() - start_ms, 0, 15000);
    for (unsigned i = 0; i < BAD; i++) close(bad[i]);
}

// More connections than are served: those without a handshake give way to a good viewer.
static void test_crowd(void **state) {
    Fix *f = *state;
    enum { CROWD = 60 };
    int fds[CROWD];
    for (unsigned i = 0; i < CROWD; i++) fds[i] = dial(f);
    u64 start_ms = now_ms();
    u8 b[12];
    for (bool served = false; !served && now_ms() - start_ms < 20000;) {
        if (f->fd >= 0) close(f->fd);
        f->fd = dial(f);
        served = take(f->fd, b, 12);
    }
    assert_memory_equal(b, "RFB 003.008\n", 12);
    for (unsigned i = 0; i < CROWD; i++) close(fds[i]);
}

static void test_stop_with_viewers(void **state) {
    Fix *f = *state;
    f->fd = viewer(f);
    int idle = dial(f), deaf = viewer(f);
    for (unsigned n = 0; n < 40; n++) ask(f, deaf, false);
    usleep(200000);
    stop_machine(f);                               // nobody runs events any more
    usleep(100000);
    u64 start_ms = now_ms();
    vnc_stop(f->vnc);
    f->vnc = NULL;
    assert_in_range(now_ms() - start_ms, 0, 2000);
    close(idle);
    close(deaf);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_errors),
        TEST(test_picture_and_changes),
        TEST(test_resize),
        TEST(test_keys),
        TEST(test_typing_arrives_whole),
        TEST(test_pointer),
        TEST(test_bad_viewers),
        TEST(test_crowd),
        TEST(test_stop_with_viewers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
