// SPDX-License-Identifier: MIT
// Character devices against real files, sockets, pipes and ptys. Run: make test T=unit/test_chardev
#define _GNU_SOURCE
#include "testbus.h"

#include "ui/chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define TAKEN_BYTES 300000u

typedef struct Taker {         // a front end that notes what it gets
    u8 bytes[TAKEN_BYTES];
    unsigned count, room, breaks;
    int focus;                 // 1 got it, -1 lost it
} Taker;

typedef struct Fix {
    TestBus t;
    char folder[64], path[96], spec[160];
    char *err;
    Chardev *c;
    Taker a, b;
} Fix;

static int setup(void **state) {
    Fix *f = calloc(1, sizeof(*f));
    testbus_open(&f->t, 1 << 20);
    strcpy(f->folder, "/tmp/glassbox-chardev-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/x", f->folder);
    f->a.room = f->b.room = UINT32_MAX;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fix *f = *state;
    chardev_close(f->c);
    bus_run_events(f->t.bus);
    unlink(f->path);
    rmdir(f->folder);
    testbus_close(&f->t);
    free(f->err);
    free(f);
    return 0;
}

static void taker_input(void *self, const u8 *bytes, unsigned count) {
    Taker *t = self;
    assert_true(t->count + count <= TAKEN_BYTES);
    memcpy(t->bytes + t->count, bytes, count);
    t->count += count;
    if (t->room != UINT32_MAX) t->room -= count;
}

static unsigned taker_room(void *self) { return ((Taker *)self)->room; }
static void taker_break(void *self) { ((Taker *)self)->breaks++; }
static void taker_focus(void *self, bool has_it) { ((Taker *)self)->focus = has_it ? 1 : -1; }

static ChardevFront taker(Taker *t) {
    return (ChardevFront){ t, taker_input, taker_room, taker_break, taker_focus, NULL };
}

static void nap(void) { nanosleep(&(struct timespec){ 0, 1000000 }, NULL); }

// Lets the machine run until *value is as wanted; it then may still grow.
static void until(Fix *f, const unsigned *value, unsigned wanted) {
    for (unsigned i = 0; i < 3000 && *value < wanted; i++, nap()) bus_run_events(f->t.bus);
    assert_int_equal(*value, wanted);
}

static void open_spec(Fix *f, const char *fmt) {
    snprintf(f->spec, sizeof(f->spec), fmt, f->path);
    f->c = chardev_open(f->t.bus, f->spec, &f->err);
    if (!f->c) fail_msg("%s: %s", f->spec, f->err);
}

static int dial(const char *path) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    for (unsigned i = 0; i < 2000; i++, nap())
        if (!connect(fd, (struct sockaddr *)&a, sizeof(a))) return fd;
    fail_msg("cannot connect to %s", path);
    return -1;
}

static void send_text(int fd, const char *text) {
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

// Reads until `text` has come as a whole or two seconds are over.
static void expect_text(int fd, const char *text) {
    char got[1024];
    size_t count = 0, wanted = strlen(text);
    struct pollfd p = { fd, POLLIN, 0 };
    while (count < wanted && poll(&p, 1, 2000) > 0) {
        ssize_t n = read(fd, got + count, wanted - count);
        if (n <= 0) break;
        count += (size_t)n;
    }
    got[count] = 0;
    assert_string_equal(got, text);
}

static void say(Fix *f, const char *text) { chardev_write(f->c, text, (unsigned)strlen(text)); }

// Says x until somebody hears it: a server learns of its client only after a moment.
static void until_heard(Fix *f, int fd) {
    struct pollfd p = { fd, POLLIN, 0 };
    for (unsigned i = 0; i < 2000 && poll(&p, 1, 1) == 0; i++) say(f, "x");
    char rest[4096];
    while (poll(&p, 1, 50) > 0 && read(fd, rest, sizeof(rest)) > 0) {}
}

// ---- opening ------------------------------------------------------------------------------------

static void expect_error(Fix *f, const char *spec, const char *part) {
    char *err = NULL;
    assert_null(chardev_open(f->t.bus, spec, &err));
    if (!err || !strstr(err, part)) fail_msg("%s: '%s' lacks '%s'", spec, err ? err : "", part);
    free(err);
}

static void test_errors(void **state) {
    Fix *f = *state;
    char spec[160];
    expect_error(f, "tpc:localhost:1", "unknown character device 'tpc:localhost:1'");
    expect_error(f, "file:/nowhere/x", "cannot open '/nowhere/x': No such file or directory");
    expect_error(f, "unix:/nowhere/x", "cannot connect to '/nowhere/x'");
    expect_error(f, "unix:/tmp/x,sever", "unknown option 'sever'");
    expect_error(f, "tcp:1234", "HOST:PORT");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof(a);
    assert_false(bind(fd, (struct sockaddr *)&a, sizeof(a)));
    assert_false(listen(fd, 1));
    getsockname(fd, (struct sockaddr *)&a, &length);
    snprintf(spec, sizeof(spec), "tcp:127.0.0.1:%u,server,nowait", ntohs(a.sin_port));
    expect_error(f, spec, "Address already in use");
    close(fd);
    snprintf(spec, sizeof(spec), "tcp:127.0.0.1:%u", ntohs(a.sin_port));
    expect_error(f, spec, "Connection refused");
}

static void test_null(void **state) {
    Fix *f = *state;
    open_spec(f, "null");
    say(f, "into the void");
    chardev_attach(f->c, &(ChardevFront){ .self = &f->a, .input = taker_input });
    bus_run_events(f->t.bus);
    assert_false(chardev_is_mux(f->c));
}

static void test_file_is_written_through(void **state) {
    Fix *f = *state;
    open_spec(f, "file:%s");
    CharOut out = chardev_out(f->c);
    for (const char *s = "hello\n"; *s; s++) char_put(&out, (u8)*s);
    int fd = open(f->path, O_RDONLY);
    expect_text(fd, "hello\n");                    // before chardev_close
    close(fd);
}

// ---- sockets ------------------------------------------------------------------------------------

static void test_unix_server(void **state) {
    Fix *f = *state;
    open_spec(f, "unix:%s,server=on,wait=off");
    chardev_on_input(f->c, taker_input, &f->a);
    say(f, "nobody hears this");
    for (unsigned round = 1; round <= 2; round++) {      // the second client follows the first
        int fd = dial(f->path);
        until_heard(f, fd);
        send_text(fd, "ab\x01x\r");
        until(f, &f->a.count, round * 5);
        say(f, "answer");
        expect_text(fd, "answer");
        close(fd);
    }
    assert_memory_equal(f->a.bytes, "ab\x01x\rab\x01x\r", 10);
    assert_false(bus_requests(f->t.bus));          // Ctrl-a x is nothing special here
}

static void test_unix_left_behind(void **state) {
    Fix *f = *state;
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    strcpy(a.sun_path, f->path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_false(bind(fd, (struct sockaddr *)&a, sizeof(a)));
    close(fd);
    open_spec(f, "unix:%s,server,nowait");         // nobody listens on it: taken over
    snprintf(f->spec, sizeof(f->spec), "unix:%s,server,nowait", f->path);
    expect_error(f, f->spec, "Address already in use");
    chardev_close(f->c);
    f->c = NULL;
    assert_int_equal(access(f->path, F_OK), -1);
}

static void test_tcp_client(void **state) {
    Fix *f = *state;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof(a);
    assert_false(bind(listener, (struct sockaddr *)&a, sizeof(a)));
    assert_false(listen(listener, 1));
    getsockname(listener, (struct sockaddr *)&a, &length);
    snprintf(f->path, sizeof(f->path), "%u", ntohs(a.sin_port));
    open_spec(f, "tcp::%s");
    int fd = accept(listener, NULL, NULL);
    chardev_on_input(f->c, taker_input, &f->a);
    say(f, "to");
    expect_text(fd, "to");
    send_text(fd, "fro");
    until(f, &f->a.count, 3);
    close(fd);
    for (unsigned i = 0; i < 50; i++, nap()) say(f, "nobody is there, and that is fine");
    close(listener);
}

// What a guest has no room for waits, in order and whole, and holds up the sender.
static void test_flow_control(void **state) {
    Fix *f = *state;
    open_spec(f, "unix:%s,server,nowait");
    ChardevFront front = taker(&f->a);
    f->a.room = 0;
    chardev_attach(f->c, &front);
    int fd = dial(f->path);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    unsigned sent = 0, refused = 0;
    while (sent < 200000 || f->a.count < sent) {
        u8 piece[256];
        for (unsigned i = 0; i < sizeof(piece); i++) piece[i] = (u8)((sent + i) % 251);
        ssize_t n = sent < 200000 ? write(fd, piece, sizeof(piece)) : 0;
        if (n > 0) sent += (unsigned)n;
        else if (n < 0) refused++;
        bus_run_events(f->t.bus);
        if (n > 0) continue;
        if (refused < 20) {
            nap();
            continue;
        }
        f->a.room = 77;
        chardev_resume(f->c);
    }
    assert_true(refused >= 20);
    for (unsigned i = 0; i < sent; i++) assert_int_equal(f->a.bytes[i], i % 251);
    close(fd);
}

static void test_uart_gets_everything(void **state) {
    Fix *f = *state;
    TestPin irq = { 0 };
    char text[3001], got[3001];
    for (unsigned i = 0; i < 3000; i++) text[i] = (char)(' ' + i % 90);
    text[3000] = 0;
    open_spec(f, "unix:%s,server,nowait");
    Uart *uart = uart_new(f->t.bus, "serial0", 0x3f8, testpin_wire(&irq, 0), chardev_out(f->c));
    device_reset_all(f->t.bus);
    chardev_attach_uart(f->c, uart);
    int fd = dial(f->path);
    send_text(fd, text);
    unsigned count = 0;
    for (unsigned i = 0; i < 100000 && count < 3000; i++) {
        bus_run_events(f->t.bus);
        if (bus_in(f->t.bus, 0x3fd, 1) & 1) got[count++] = (char)bus_in(f->t.bus, 0x3f8, 1);
        else nap();
    }
    got[count] = 0;
    assert_string_equal(got, text);
    bus_out(f->t.bus, 0x3f8, 1, 'z');
    expect_text(fd, "z");
    close(fd);
    uart_free(uart);
}

// A far end that takes nothing costs the machine a moment once, not for ever.
static void test_deaf_far_end(void **state) {
    Fix *f = *state;
    open_spec(f, "unix:%s,server,nowait");
    int fd = dial(f->path);
    until_heard(f, fd);
    time_t start = time(NULL);
    for (unsigned i = 0; i < 2000000; i++) chardev_write(f->c, "y", 1);
    assert_in_range(time(NULL) - start, 0, 20);
    char drained[65536];
    struct pollfd p = { fd, POLLIN, 0 };
    while (poll(&p, 1, 200) > 0 && read(fd, drained, sizeof(drained)) > 0) {}
    say(f, "back again");
    expect_text(fd, "back again");
    close(fd);
}

// ---- mux ----------------------------------------------------------------------------------------

static void count_save(void *self) { ++*(unsigned *)self; }

static void test_mux(void **state) {
    Fix *f = *state;
    unsigned saves = 0;
    open_spec(f, "mon:unix:%s,server,nowait");
    assert_true(chardev_is_mux(f->c));
    chardev_mux(f->c, true, count_save, &saves);
    ChardevFront a = taker(&f->a), b = taker(&f->b);
    chardev_attach(f->c, &a);
    chardev_attach(f->c, &b);
    int fd = dial(f->path);
    until_heard(f, fd);
    send_text(fd, "one\x01" "ctwo\x01" "cthree\x01\x01\x01" "b\x01s");
    until(f, &saves, 1);
    assert_int_equal(f->a.count, 9);
    assert_memory_equal(f->a.bytes, "onethree\x01", 9);
    assert_int_equal(f->b.count, 3);
    assert_memory_equal(f->b.bytes, "two", 3);
    assert_int_equal(f->a.breaks, 1);
    assert_int_equal(f->a.focus, 1);
    assert_int_equal(f->b.focus, -1);
    send_text(fd, "\x01h\x01s");
    until(f, &saves, 2);
    expect_text(fd, "\r\nC-a h    print this help\r\n");
    assert_false(bus_requests(f->t.bus) & BUS_REQ_SHUTDOWN);
    close(fd);
}

// The way out is open even when the guest takes no input.
static void test_mux_exit_from_hung_guest(void **state) {
    Fix *f = *state;
    open_spec(f, "mon:unix:%s,server,nowait");
    ChardevFront front = taker(&f->a);
    f->a.room = 0;
    chardev_attach(f->c, &front);
    int fd = dial(f->path);
    char much[20000];
    memset(much, 'q', sizeof(much));
    for (unsigned i = 0; i < 10; i++) {
        for (size_t at = 0; at < sizeof(much);) {
            ssize_t n = send(fd, much + at, sizeof(much) - at, MSG_DONTWAIT);
            if (n > 0) at += (size_t)n;
            else nap();
            bus_run_events(f->t.bus);
        }
    }
    send_text(fd, "\x01x");
    for (unsigned i = 0; i < 2000 && !(bus_requests(f->t.bus) & BUS_REQ_SHUTDOWN); i++, nap())
        bus_run_events(f->t.bus);
    assert_true(bus_requests(f->t.bus) & BUS_REQ_SHUTDOWN);
    assert_int_equal(bus_exit_status(f->t.bus), 0);
    close(fd);
}

static void test_mux_time_stamps(void **state) {
    Fix *f = *state;
    unsigned saves = 0;
    open_spec(f, "mon:unix:%s,server,nowait");
    chardev_mux(f->c, true, count_save, &saves);
    chardev_on_input(f->c, taker_input, &f->a);
    int fd = dial(f->path);
    until_heard(f, fd);
    say(f, "\n");
    send_text(fd, "\x01t\x01s");
    until(f, &saves, 1);
    expect_text(fd, "\n");
    testbus_advance(&f->t, 61002000000ull);
    say(f, "one\ntwo\n");
    expect_text(fd, "[00:01:01.002] one\n[00:01:01.002] two\n");
    close(fd);
}

// ---- stdio and pty ------------------------------------------------------------------------------

typedef struct Stdio { int in, out, saved_in, saved_out; } Stdio;    // our ends of fd 0 and 1

static Stdio stdio_replace(void) {
    int in[2], out[2];
    fflush(stdout);
    assert_false(pipe(in));
    assert_false(pipe(out));
    Stdio s = { in[1], out[0], dup(0), dup(1) };
    dup2(in[0], 0);
    dup2(out[1], 1);
    close(in[0]);
    close(out[1]);
    return s;
}

static void stdio_restore(Stdio *s) {
    dup2(s->saved_in, 0);
    dup2(s->saved_out, 1);
    close(s->saved_in);
    close(s->saved_out);
    if (s->in >= 0) close(s->in);
    if (s->out >= 0) close(s->out);
}

static u64 cpu_ms(void) { return (u64)clock() * 1000 / CLOCKS_PER_SEC; }

static void test_stdio_and_its_end(void **state) {
    Fix *f = *state;
    Stdio s = stdio_replace();
    open_spec(f, "stdio");
    chardev_on_input(f->c, taker_input, &f->a);
    say(f, "out");
    expect_text(s.out, "out");
    send_text(s.in, "in");
    until(f, &f->a.count, 2);
    close(s.in);
    s.in = -1;
    u64 before = cpu_ms();
    for (unsigned i = 0; i < 200; i++) nap();
    u64 spent = cpu_ms() - before;
    say(f, "still");
    expect_text(s.out, "still");
    close(s.out);
    s.out = -1;
    say(f, "nobody");                              // EPIPE, and no signal
    chardev_close(f->c);
    f->c = NULL;
    stdio_restore(&s);
    assert_in_range(spent, 0, 50);
}

static void test_stdio_reader_sleeps(void **state) {
    Fix *f = *state;
    Stdio s = stdio_replace();
    open_spec(f, "stdio");
    char text[100001];
    for (unsigned i = 0; i < 100000; i++) text[i] = (char)('a' + i % 26);
    chardev_write(f->c, text, 100000);             // more than a pipe holds
    unsigned count = 0;
    bool same = true;
    struct pollfd p = { s.out, POLLIN, 0 };
    char got[4096];
    while (count < 100000 && poll(&p, 1, 2000) > 0) {
        ssize_t n = read(s.out, got, sizeof(got));
        for (ssize_t i = 0; i < n; i++) same &= got[i] == text[count++];
    }
    chardev_close(f->c);
    f->c = NULL;
    stdio_restore(&s);
    assert_true(same);
    assert_int_equal(count, 100000);
}

static void test_pty(void **state) {
    Fix *f = *state;
    int err[2], saved = dup(2);
    char line[128] = "", name[64] = "";
    assert_false(pipe(err));
    dup2(err[1], 2);
    open_spec(f, "pty");
    dup2(saved, 2);
    close(saved);
    close(err[1]);
    assert_true(read(err[0], line, sizeof(line) - 1) > 0);
    close(err[0]);
    assert_int_equal(sscanf(line, "char device redirected to %63s", name), 1);
    chardev_on_input(f->c, taker_input, &f->a);
    u64 before = cpu_ms();
    for (unsigned i = 0; i < 200; i++) nap();
    assert_in_range(cpu_ms() - before, 0, 50);     // nobody has opened it, and nobody spins
    for (unsigned round = 1; round <= 2; round++) {
        int fd = open(name, O_RDWR | O_NOCTTY);
        assert_true(fd >= 0);
        say(f, "prompt");
        expect_text(fd, "prompt");
        send_text(fd, "cmd\r");
        until(f, &f->a.count, round * 4);
        close(fd);
    }
    for (unsigned i = 0; i < 300000; i++) chardev_write(f->c, "z", 1);   // and nobody waits
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_errors),
        TEST(test_null),
        TEST(test_file_is_written_through),
        TEST(test_unix_server),
        TEST(test_unix_left_behind),
        TEST(test_tcp_client),
        TEST(test_flow_control),
        TEST(test_uart_gets_everything),
        TEST(test_deaf_far_end),
        TEST(test_mux),
        TEST(test_mux_exit_from_hung_guest),
        TEST(test_mux_time_stamps),
        TEST(test_stdio_and_its_end),
        TEST(test_stdio_reader_sleeps),
        TEST(test_pty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
