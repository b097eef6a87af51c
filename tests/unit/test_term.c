// SPDX-License-Identifier: MIT
// The terminal display on a pty. Run: make test T=unit/test_term
#define _GNU_SOURCE
#include "testbus.h"

#include "dev/kbd.h"
#include "dev/vga.h"
#include "ui/term.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

typedef struct Fix {
    Bus *bus;
    Log log;
    Vga *vga;
    Kbd *kbd;
    Term *term;
    char *err;
    TestPin irq1, irq12;
    int master, slave, saved_in, saved_out;    // the slave is our fd 0 and 1
    struct termios before, after;
    char seen[65536];                          // what the terminal got
    size_t seen_count;
    u8 codes[512];                             // what the keyboard sent
    unsigned code_count;
} Fix;

static void put(Fix *f, u16 port, u8 index, u8 v) { bus_out(f->bus, port, 2, index | v << 8); }

static void text_mode(Fix *f) {
    static const u8 crtc[25] = {
        0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0,
        0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
    };
    bus_out(f->bus, 0x3c2, 1, 0x67);
    put(f, 0x3c4, 1, 0);
    put(f, 0x3c4, 2, 3);
    put(f, 0x3c4, 4, 2);
    for (u8 i = 0; i < 25; i++) put(f, 0x3d4, i, crtc[i]);
    put(f, 0x3ce, 5, 0x10);
    put(f, 0x3ce, 6, 0x0e);
    put(f, 0x3ce, 8, 0xff);
    bus_out(f->bus, 0x3c0, 1, 0x20);
}

// Runs the machine for so long.
static void run(Fix *f, unsigned ms) {
    char piece[4096];
    for (u64 end_ns = bus_now_ns(f->bus) + ms * 1000000ull; bus_now_ns(f->bus) < end_ns;) {
        if (!bus_requests(f->bus)) bus_wait(f->bus, bus_now_ns(f->bus) + 2000000);
        bus_run_events(f->bus);
        bus_run_timers(f->bus);
        while (bus_in(f->bus, 0x64, 1) & 1)
            f->codes[f->code_count++ % sizeof(f->codes)] = (u8)bus_in(f->bus, 0x60, 1);
        ssize_t n = read(f->master, piece, sizeof(piece));
        if (n <= 0 || f->seen_count + (size_t)n >= sizeof(f->seen)) continue;
        memcpy(f->seen + f->seen_count, piece, (size_t)n);
        f->seen_count += (size_t)n;
        f->seen[f->seen_count] = 0;
    }
}

static int setup(void **state) {
    Fix *f = calloc(1, sizeof(*f));
    log_init(&f->log);
    f->bus = bus_new(1 << 20, &f->log);
    f->vga = vga_new(f->bus);
    f->kbd = kbd_new(f->bus, testpin_wire(&f->irq1, 0), testpin_wire(&f->irq12, 0));
    device_reset_all(f->bus);
    bus_clock_run(f->bus, true);
    bus_out(f->bus, 0x64, 1, 0x60);
    bus_out(f->bus, 0x60, 1, 0x47);
    f->master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_false(grantpt(f->master) || unlockpt(f->master));
    f->slave = open(ptsname(f->master), O_RDWR | O_NOCTTY);
    assert_true(f->slave >= 0);
    ioctl(f->slave, TIOCSWINSZ, &(struct winsize){ .ws_row = 25, .ws_col = 80 });
    tcgetattr(f->slave, &f->before);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fix *f = *state;
    bus_run_events(f->bus);
    close(f->master);
    close(f->slave);
    vga_free(f->vga);
    kbd_free(f->kbd);
    bus_free(f->bus);
    log_close(&f->log);
    free(f->err);
    free(f);
    return 0;
}

// Between these two fd 0 and 1 are the pty, so nothing may be asserted.
static void begin(Fix *f) {
    fflush(stdout);
    f->saved_in = dup(0);
    f->saved_out = dup(1);
    dup2(f->slave, 0);
    dup2(f->slave, 1);
    f->term = term_start(f->bus, f->vga, f->kbd, &f->err);
}

static void end(Fix *f) {
    term_stop(f->term);
    run(f, 20);
    tcgetattr(f->slave, &f->after);
    dup2(f->saved_in, 0);
    dup2(f->saved_out, 1);
    close(f->saved_in);
    close(f->saved_out);
}

static void type(Fix *f, const char *text, unsigned ms) {
    ssize_t ignored = write(f->master, text, strlen(text));
    (void)ignored;
    run(f, ms);
}

static void test_shows_text(void **state) {
    Fix *f = *state;
    text_mode(f);
    for (u32 i = 0; i < 4000; i += 2) bus_write(f->bus, phy(0xb8000 + i), 2, 0x0720);
    bus_write(f->bus, phy(0xb8000), 2, 0x1e48);    // yellow on blue H
    bus_write(f->bus, phy(0xb8002), 2, 0x1ec9);    // and a double corner
    put(f, 0x3d4, 0x0f, 160);
    begin(f);
    run(f, 250);
    size_t first = f->seen_count;
    run(f, 250);                                   // nothing changes: nothing is written
    size_t second = f->seen_count;
    bus_write(f->bus, phy(0xb8000 + 2 * 85), 2, 0x0758);
    run(f, 250);
    end(f);
    assert_non_null(strstr(f->seen, "\033[0;93;44mH\xe2\x95\x94"));
    assert_non_null(strstr(f->seen, "\033[3;1H\033[?25h"));
    assert_int_equal(first, second);
    assert_non_null(strstr(f->seen + second, "\033[2;6H"));
    assert_non_null(strchr(f->seen + second, 'X'));
    assert_null(strchr(f->seen + second, 'H' + 0x80));
    assert_non_null(strstr(f->seen, "\033[?25h\033[?1049l"));
    assert_int_equal(f->after.c_lflag, f->before.c_lflag);
    assert_int_equal(f->after.c_iflag, f->before.c_iflag);
}

static void test_graphics_notice(void **state) {
    Fix *f = *state;
    begin(f);
    run(f, 250);
    end(f);
    assert_non_null(strstr(f->seen, "use -vnc"));
}

static void test_keys(void **state) {
    Fix *f = *state;
    begin(f);
    type(f, "a!\033[A\033[1;5C\033OP\033[24~\x03\033x\x01\x01", 700);
    type(f, "\033", 200);                          // a lone ESC
    end(f);
    static const u8 expected[] = {
        0x1e, 0x9e, 0x2a, 0x02, 0xaa, 0x82,        // a, !
        0xe0, 0x48, 0xe0, 0xc8,                    // up
        0x1d, 0xe0, 0x4d, 0xe0, 0xcd, 0x9d,        // Ctrl-right
        0x3b, 0xbb, 0x58, 0xd8,                    // F1, F12
        0x1d, 0x2e, 0xae, 0x9d,                    // Ctrl-c
        0x38, 0x2d, 0xad, 0xb8,                    // Alt-x
        0x1d, 0x1e, 0x9e, 0x9d,                    // Ctrl-a
        0x01, 0x81,
    };
    assert_int_equal(f->code_count, sizeof(expected));
    assert_memory_equal(f->codes, expected, sizeof(expected));
}

static void test_exit_key(void **state) {
    Fix *f = *state;
    begin(f);
    type(f, "\x01", 50);
    u32 before = bus_requests(f->bus);
    type(f, "x", 100);
    end(f);
    assert_false(before);
    assert_true(bus_requests(f->bus) & BUS_REQ_SHUTDOWN);
    assert_int_equal(bus_exit_status(f->bus), 0);
    assert_int_equal(f->code_count, 0);
}

static void test_not_a_terminal(void **state) {
    Fix *f = *state;
    int saved = dup(0), null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    f->term = term_start(f->bus, f->vga, f->kbd, &f->err);
    dup2(saved, 0);
    close(saved);
    close(null);
    assert_null(f->term);
    assert_non_null(strstr(f->err, "not a terminal"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_shows_text),
        TEST(test_graphics_notice),
        TEST(test_keys),
        TEST(test_exit_key),
        TEST(test_not_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
