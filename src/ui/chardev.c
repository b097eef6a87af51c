// SPDX-License-Identifier: MIT
// Character devices.
//
// Invariants
//  1. One thread per device waits on its descriptors: it accepts, reads, and writes what the
//     machine could not write at once. The machine's thread never waits on a descriptor, except
//     chr_make_room.
//  2. `lock` guards the rings and the descriptors. No system call that may wait is made under it.
//  3. Bytes leave in the order they were put: the machine writes directly only while the ring is
//     empty and the thread is not writing.
//  4. Input is read only while the ring has room, so a guest that does not read holds up the
//     sender. Ctrl-a commands are seen as soon as they arrive, whatever the guest does.
#define _GNU_SOURCE
#include "ui/chardev.h"

#include "ui/errand.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CHR_OUT_BYTES 65536u
#define CHR_IN_BYTES 4096u
#define CHR_PENDING_BYTES 65536u     // per front end, for input it has no room for
#define CHR_ESCAPE 0x01              // Ctrl-a

typedef enum ChrKind { CHR_NULL, CHR_FILE, CHR_STDIO, CHR_PTY, CHR_SOCKET } ChrKind;

typedef struct ChrFront {
    ChardevFront ops;
    u8 *pending;                     // input that waits for room
    unsigned head, count;
} ChrFront;

struct Chardev {
    Bus *bus;
    ChrKind kind;
    char *name;                      // the specification, for messages
    char *unlink_path;               // socket to remove at the end
    int keep_fd;                     // pty: its other side, kept open; -1
    bool has_thread;
    pthread_t thread;
    int wake_fd;                     // eventfd: the thread looks at everything again
    Errand *errand;                  // input has arrived
    bool tty_changed;
    struct termios tty_before;

    pthread_mutex_t lock;            // guards what follows
    pthread_cond_t moved;            // the thread has taken output
    int in_fd, out_fd, listen_fd;    // -1: none
    bool stopping, writing, stalled;
    u8 out[CHR_OUT_BYTES], in[CHR_IN_BYTES];
    unsigned out_head, out_count, in_head, in_count;
    bool opened;                     // a far end has come; the front end has not been told

    // The machine thread's.
    ChrFront fronts[CHARDEV_FRONTS];
    unsigned front_count, focus;
    bool mux, escaped, stamps, line_begun, delivering;
    void (*save)(void *self);
    void *save_self;
    u64 stamp_base_ns;
};

static void chr_wake(Chardev *c) {
    if (c->wake_fd < 0) return;
    ssize_t ignored = write(c->wake_fd, &(u64){ 1 }, sizeof(u64));
    (void)ignored;
}

static bool chr_ready(int fd, short events) {
    struct pollfd p = { .fd = fd, .events = events };
    return poll(&p, 1, 0) > 0 && (p.revents & events);
}

// ---- output -------------------------------------------------------------------------------------

static ssize_t chr_write_fd(const Chardev *c, int fd, const u8 *bytes, size_t count) {
    if (c->kind == CHR_SOCKET) return send(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
    return write(fd, bytes, count);
}

static bool chr_is_temporary(int error) {
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

// Locked. Output has ended. A socket is shut down only: the thread, which may be about to use it,
// reads its end and closes it.
static void chr_end_output(Chardev *c, int error) {
    if (c->kind == CHR_SOCKET) shutdown(c->out_fd, SHUT_RDWR);
    else if (error && error != EPIPE)
        fprintf(stderr, "glassbox: %s: %s; further output is lost\n", c->name, strerror(error));
    c->out_fd = -1;
    c->out_count = 0;
    pthread_cond_broadcast(&c->moved);
}

// Bytes that a descriptor which poll() called writable takes without waiting.
static unsigned chr_piece(const Chardev *c, unsigned count) {
    enum { PIECE = 512 };
    if (c->kind == CHR_SOCKET || count <= 1) return count;
    return isatty(c->out_fd) ? 1 : min_u32(count, PIECE);
}

// Locked. Tries to get rid of some bytes at once: how many are gone.
static unsigned chr_put_now(Chardev *c, const u8 *bytes, unsigned count) {
    if (c->out_count || c->writing) return 0;
    if (c->kind != CHR_SOCKET && !chr_ready(c->out_fd, POLLOUT | POLLERR | POLLHUP)) return 0;
    ssize_t n = chr_write_fd(c, c->out_fd, bytes, chr_piece(c, count));
    if (n > 0) return (unsigned)n;
    if (n < 0 && chr_is_temporary(errno)) return 0;
    chr_end_output(c, n < 0 ? errno : 0);
    return count;
}

// Locked, ring full. Waits once for a far end that moves; false: the byte is lost.
static bool chr_make_room(Chardev *c) {
    if (c->stalled || c->kind == CHR_PTY) return false;
    unsigned wait_ms = c->kind == CHR_SOCKET ? 200 : 2000;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    u64 ns = (u64)until.tv_nsec + wait_ms * 1000000ull;
    until.tv_sec += (time_t)(ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    while (c->out_count == CHR_OUT_BYTES)
        if (pthread_cond_timedwait(&c->moved, &c->lock, &until) == ETIMEDOUT) break;
    if (c->out_count == CHR_OUT_BYTES) c->stalled = true;
    return !c->stalled;
}

// Locked. The byte waits for the thread; false: it is lost.
static bool chr_put_later(Chardev *c, u8 byte) {
    if (c->out_count == CHR_OUT_BYTES) {
        chr_wake(c);
        if (!chr_make_room(c)) return false;
    }
    if (c->out_fd < 0) return false;
    c->out[(c->out_head + c->out_count++) % CHR_OUT_BYTES] = byte;
    return true;
}

static void chr_put_raw(Chardev *c, const u8 *bytes, unsigned count) {
    bool wake = false;
    if (c->kind == CHR_NULL) return;
    pthread_mutex_lock(&c->lock);
    while (count && c->out_fd >= 0) {
        unsigned n = chr_put_now(c, bytes, count);
        if (!n) {
            wake |= chr_put_later(c, *bytes);
            n = 1;
        }
        bytes += n;
        count -= n;
    }
    pthread_mutex_unlock(&c->lock);
    if (wake) chr_wake(c);
}

static void chr_put_text(Chardev *c, const char *text) {
    for (; *text; text++) {
        if (*text == '\n') chr_put_raw(c, (const u8 *)"\r", 1);
        chr_put_raw(c, (const u8 *)text, 1);
    }
}

static void chr_put_stamp(Chardev *c) {
    char text[40];
    unsigned ms = (unsigned)((bus_now_ns(c->bus) - c->stamp_base_ns) / 1000000);
    snprintf(text, sizeof(text), "[%02u:%02u:%02u.%03u] ", ms / 3600000, ms / 60000 % 60,
             ms / 1000 % 60, ms % 1000);
    chr_put_text(c, text);
}

static void chr_put(void *self, u8 byte) {
    Chardev *c = self;
    if (c->stamps && !c->line_begun) chr_put_stamp(c);
    c->line_begun = byte != '\n';
    chr_put_raw(c, &byte, 1);
}

CharOut chardev_out(Chardev *c) { return (CharOut){ chr_put, c }; }

void chardev_write(Chardev *c, const void *bytes, unsigned count) {
    const u8 *b = bytes;
    if (c->stamps)
        while (count--) chr_put(c, *b++);
    else if (count) {
        c->line_begun = b[count - 1] != '\n';
        chr_put_raw(c, b, count);
    }
}

// The thread: writes a piece of the ring, small enough not to wait on what poll() called writable.
static void chr_drain(Chardev *c) {
    u8 piece[512];
    pthread_mutex_lock(&c->lock);
    unsigned most = c->kind != CHR_SOCKET && isatty(c->out_fd) ? 1 : sizeof(piece);
    unsigned count = min_u32(most, c->out_count);
    for (unsigned i = 0; i < count; i++) piece[i] = c->out[(c->out_head + i) % CHR_OUT_BYTES];
    int fd = c->out_fd;
    c->writing = true;
    pthread_mutex_unlock(&c->lock);
    ssize_t n = fd >= 0 && count ? chr_write_fd(c, fd, piece, count) : 0;
    int error = errno;
    pthread_mutex_lock(&c->lock);
    c->writing = false;
    if (n > 0 && c->out_count) {
        c->out_head = (c->out_head + (unsigned)n) % CHR_OUT_BYTES;
        c->out_count -= (unsigned)n;
        c->stalled = false;
        pthread_cond_broadcast(&c->moved);
    } else if (n < 0 && !chr_is_temporary(error)) {
        if (c->out_fd >= 0) chr_end_output(c, error);
    }
    pthread_mutex_unlock(&c->lock);
}

// ---- input --------------------------------------------------------------------------------------

// Locked, in the thread. Nothing more will come from here. A server then waits for the next client.
static void chr_end_input(Chardev *c) {
    if (c->kind == CHR_SOCKET) {
        if (c->out_fd >= 0) chr_end_output(c, 0);
        close(c->in_fd);
    }
    c->in_fd = -1;
}

// The thread: something can be read.
static void chr_fill(Chardev *c) {
    u8 piece[512];
    pthread_mutex_lock(&c->lock);
    unsigned room = min_u32(sizeof(piece), CHR_IN_BYTES - c->in_count);
    int fd = c->in_fd;
    pthread_mutex_unlock(&c->lock);
    if (fd < 0 || !room) return;
    ssize_t n = read(fd, piece, room);
    if (n < 0 && chr_is_temporary(errno)) return;
    pthread_mutex_lock(&c->lock);
    if (n <= 0) chr_end_input(c);
    for (ssize_t i = 0; i < n; i++) c->in[(c->in_head + c->in_count++) % CHR_IN_BYTES] = piece[i];
    pthread_mutex_unlock(&c->lock);
    if (n > 0) errand_post(c->errand);
}

static void chr_accept(Chardev *c) {
    int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    pthread_mutex_lock(&c->lock);
    c->in_fd = c->out_fd = fd;
    c->out_count = 0;
    c->stalled = false;
    c->opened = true;
    pthread_mutex_unlock(&c->lock);
    if (c->errand) errand_post(c->errand);
}

enum { CHR_WAKE, CHR_LISTEN, CHR_IN, CHR_OUT, CHR_POLLS };

// What the thread waits for; false: it is to end.
static bool chr_poll_set(Chardev *c, struct pollfd *p) {
    pthread_mutex_lock(&c->lock);
    bool may_read = c->in_count < CHR_IN_BYTES;
    p[CHR_WAKE] = (struct pollfd){ .fd = c->wake_fd, .events = POLLIN };
    p[CHR_LISTEN] = (struct pollfd){ .fd = c->in_fd < 0 ? c->listen_fd : -1, .events = POLLIN };
    p[CHR_IN] = (struct pollfd){ .fd = may_read ? c->in_fd : -1, .events = POLLIN };
    p[CHR_OUT] = (struct pollfd){ .fd = c->out_count ? c->out_fd : -1, .events = POLLOUT };
    bool go_on = !c->stopping;
    pthread_mutex_unlock(&c->lock);
    return go_on;
}

static void *chr_thread(void *arg) {
    Chardev *c = arg;
    struct pollfd p[CHR_POLLS];
    while (chr_poll_set(c, p)) {
        if (poll(p, CHR_POLLS, -1) < 0) continue;
        u64 count;
        if (p[CHR_WAKE].revents && read(c->wake_fd, &count, sizeof(count)) < 0) continue;
        if (p[CHR_LISTEN].revents) chr_accept(c);
        if (p[CHR_OUT].revents) chr_drain(c);
        if (p[CHR_IN].revents) chr_fill(c);
    }
    return NULL;
}

// ---- front ends (machine thread) ----------------------------------------------------------------

static void chr_deliver(Chardev *c) {
    if (c->delivering) return;
    c->delivering = true;
    for (unsigned n = 0; n < c->front_count; n++) {
        ChrFront *f = &c->fronts[n];
        while (f->count) {
            unsigned room = f->ops.room ? f->ops.room(f->ops.self) : f->count;
            unsigned run = min_u32(min_u32(f->count, room), CHR_PENDING_BYTES - f->head);
            if (!run) break;
            const u8 *bytes = f->pending + f->head;
            f->head = (f->head + run) % CHR_PENDING_BYTES;
            f->count -= run;
            if (f->ops.input) f->ops.input(f->ops.self, bytes, run);
        }
    }
    c->delivering = false;
}

static void chr_to_focus(Chardev *c, u8 byte) {
    if (!c->front_count) return;
    ChrFront *f = &c->fronts[c->focus];
    if (f->count == CHR_PENDING_BYTES) return;
    f->pending[(f->head + f->count++) % CHR_PENDING_BYTES] = byte;
}

static void chr_next_focus(Chardev *c) {
    if (c->front_count < 2) return;
    ChardevFront *from = &c->fronts[c->focus].ops;
    c->focus = (c->focus + 1) % c->front_count;
    ChardevFront *to = &c->fronts[c->focus].ops;
    if (from->focus) from->focus(from->self, false);
    if (to->focus) to->focus(to->self, true);
}

static void chr_help(Chardev *c) {
    chr_put_text(c, "\n"
        "C-a h    print this help\n"
        "C-a x    exit emulator\n"
        "C-a s    save disk data back to file (if -snapshot)\n"
        "C-a t    toggle console timestamps\n"
        "C-a b    send break (magic sysrq)\n"
        "C-a c    switch between console and monitor\n"
        "C-a C-a  sends C-a\n");
}

static void chr_command(Chardev *c, u8 key) {
    ChardevFront *f = &c->fronts[c->focus].ops;
    switch (key) {
    case 'h': case '?': chr_help(c); break;
    case 'x': bus_request_exit(c->bus, 0); break;
    case 's': if (c->save) c->save(c->save_self); break;
    case 't': c->stamps = !c->stamps; c->stamp_base_ns = bus_now_ns(c->bus); break;
    case 'b': if (c->front_count && f->send_break) f->send_break(f->self); break;
    case 'c': chr_next_focus(c); break;
    case CHR_ESCAPE: chr_to_focus(c, CHR_ESCAPE); break;
    default: break;
    }
}

static void chr_arrive(Chardev *c, u8 byte) {
    if (c->escaped) {
        c->escaped = false;
        chr_command(c, byte);
    } else if (c->mux && byte == CHR_ESCAPE) {
        c->escaped = true;
    } else {
        chr_to_focus(c, byte);
    }
}

// Can the next byte be taken? Without Ctrl-a commands a full front end holds up the sender.
static bool chr_may_arrive(const Chardev *c) {
    return c->mux || !c->front_count || c->fronts[c->focus].count < CHR_PENDING_BYTES;
}

static void chr_tell_opened(Chardev *c) {
    const ChardevFront *f = &c->fronts[c->focus].ops;
    pthread_mutex_lock(&c->lock);
    bool opened = c->opened;
    c->opened = false;
    pthread_mutex_unlock(&c->lock);
    if (opened && f->opened) f->opened(f->self);
}

static void chr_take_input(void *arg) {
    Chardev *c = arg;
    if (!c->front_count) return;                   // nobody is there yet: it stays in the ring
    chr_tell_opened(c);
    for (bool more = true; more;) {
        u8 byte = 0;
        pthread_mutex_lock(&c->lock);
        more = c->in_count && chr_may_arrive(c);
        bool was_full = more && c->in_count == CHR_IN_BYTES;
        if (more) {
            byte = c->in[c->in_head];
            c->in_head = (c->in_head + 1) % CHR_IN_BYTES;
            c->in_count--;
        }
        pthread_mutex_unlock(&c->lock);
        if (was_full) chr_wake(c);
        if (more) chr_arrive(c, byte);
    }
    chr_deliver(c);
}

void chardev_resume(void *chardev) {
    chr_deliver(chardev);
    chr_take_input(chardev);
}

void chardev_attach(Chardev *c, const ChardevFront *front) {
    require(c->front_count < CHARDEV_FRONTS);
    ChrFront *f = &c->fronts[c->front_count];
    *f = (ChrFront){ .ops = *front, .pending = mem_new(CHR_PENDING_BYTES) };
    c->front_count++;
    if (c->errand) errand_post(c->errand);
}

void chardev_on_input(Chardev *c, void (*fn)(void *self, const u8 *bytes, unsigned count),
                      void *self) {
    chardev_attach(c, &(ChardevFront){ .self = self, .input = fn });
}

static void chr_uart_input(void *self, const u8 *bytes, unsigned count) {
    while (count--) uart_receive(self, *bytes++);
}

static unsigned chr_uart_room(void *self) { return uart_can_receive(self) ? 1 : 0; }
static void chr_uart_break(void *self) { uart_receive_break(self); }

void chardev_attach_uart(Chardev *c, Uart *uart) {
    chardev_attach(c, &(ChardevFront){ uart, chr_uart_input, chr_uart_room, chr_uart_break, NULL, NULL });
    uart_on_ready(uart, chardev_resume, c);
}

void chardev_mux(Chardev *c, bool on, void (*save)(void *self), void *self) {
    c->mux = on;
    c->save = save;
    c->save_self = self;
}

bool chardev_is_mux(const Chardev *c) { return c->mux; }

// ---- opening ------------------------------------------------------------------------------------

typedef struct ChrSpec { char *address; bool server, wait; } ChrSpec;

static bool chr_option(ChrSpec *s, const char *option) {
    if (!strcmp(option, "server") || !strcmp(option, "server=on")) s->server = true;
    else if (!strcmp(option, "server=off")) s->server = false;
    else if (!strcmp(option, "nowait") || !strcmp(option, "wait=off")) s->wait = false;
    else if (!strcmp(option, "wait") || !strcmp(option, "wait=on")) s->wait = true;
    else return !strcmp(option, "nodelay") || !strcmp(option, "nodelay=on")
             || !strcmp(option, "signal=off") || !strcmp(option, "signal=on");
    return true;
}

// Splits "address,option,option" at single commas. False: *err.
static bool chr_parse(const char *text, ChrSpec *s, char **err) {
    *s = (ChrSpec){ mem_new(strlen(text) + 1), false, true };
    char *word = mem_new(strlen(text) + 1);
    for (unsigned n = 0; *text || !n; n++) {
        size_t length = 0;
        while (*text && (*text != ',' || text[1] == ',')) {
            text += *text == ',';
            word[length++] = *text++;
        }
        word[length] = 0;
        text += *text == ',';
        if (!n) {
            strcpy(s->address, word);
        } else if (!chr_option(s, word)) {
            *err = mem_printf("unknown option '%s'", word);
            free(word);
            return false;
        }
    }
    free(word);
    return true;
}

static bool chr_open_file(Chardev *c, const char *path, char **err) {
    c->kind = CHR_FILE;
    c->out_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (c->out_fd < 0) *err = mem_printf("cannot open '%s': %s", path, strerror(errno));
    return c->out_fd >= 0;
}

static void chr_raw(struct termios *t, bool keep_signals) {
    t->c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t->c_oflag |= OPOST;
    t->c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (!keep_signals) t->c_lflag &= ~(tcflag_t)ISIG;
    t->c_cflag = (t->c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
    t->c_cc[VMIN] = 1;
    t->c_cc[VTIME] = 0;
}

static bool chr_open_stdio(Chardev *c) {
    c->kind = CHR_STDIO;
    c->in_fd = fcntl(0, F_GETFD) < 0 ? -1 : 0;
    c->out_fd = fcntl(1, F_GETFD) < 0 ? -1 : 1;
    if (c->in_fd < 0 || tcgetattr(0, &c->tty_before)) return true;
    if (tcgetpgrp(0) != getpgrp()) return true;    // in the background the terminal is not ours
    struct termios raw = c->tty_before;
    chr_raw(&raw, !c->mux);
    c->tty_changed = !tcsetattr(0, TCSANOW, &raw);
    return true;
}

static bool chr_open_pty(Chardev *c, char **err) {
    c->kind = CHR_PTY;
    char name[64];
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || grantpt(fd) || unlockpt(fd) || ptsname_r(fd, name, sizeof(name))) {
        *err = mem_printf("cannot make a pty: %s", strerror(errno));
        if (fd >= 0) close(fd);
        return false;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    c->in_fd = c->out_fd = fd;
    // While nobody has the other side open the pty would report hang-ups without end, so we hold
    // it.
    c->keep_fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios t;
    if (c->keep_fd >= 0 && !tcgetattr(c->keep_fd, &t)) {
        cfmakeraw(&t);
        tcsetattr(c->keep_fd, TCSANOW, &t);
    }
    fprintf(stderr, "char device redirected to %s\n", name);
    return true;
}

// A socket bound or connected to one address; -1 with errno.
static int chr_socket(const struct sockaddr *address, socklen_t length, bool server) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (address->sa_family != AF_UNIX)
        setsockopt(fd, server ? SOL_SOCKET : IPPROTO_TCP, server ? SO_REUSEADDR : TCP_NODELAY,
                   &(int){ 1 }, sizeof(int));
    bool ok = server ? !bind(fd, address, length) && !listen(fd, 4) : !connect(fd, address, length);
    if (ok) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int chr_socket_unix(const char *path, bool server) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(a.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(a.sun_path, path);
    struct stat st;
    if (server && !lstat(path, &st) && S_ISSOCK(st.st_mode)) {   // left behind?
        int fd = chr_socket((struct sockaddr *)&a, sizeof(a), false);
        if (fd >= 0) {
            close(fd);
            errno = EADDRINUSE;
            return -1;
        }
        unlink(path);
    }
    return chr_socket((struct sockaddr *)&a, sizeof(a), server);
}

static int chr_socket_tcp(const char *address, bool server, char **why) {
    const char *colon = strrchr(address, ':');
    if (!colon || !colon[1]) {
        *why = mem_strdup("HOST:PORT expected");
        return -1;
    }
    char *host = mem_strdup(address);
    host[colon - address] = 0;
    char *name = host;
    size_t length = strlen(host);
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = 0;
        name++;
    }
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    int fd = -1, failed = getaddrinfo(*name ? name : "127.0.0.1", colon + 1, &hints, &list);
    if (failed) *why = mem_strdup(gai_strerror(failed));
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = chr_socket(a->ai_addr, a->ai_addrlen, server);
    int error = errno;
    if (list) freeaddrinfo(list);
    free(host);
    errno = error;
    return fd;
}

static bool chr_wait_client(Chardev *c) {
    fprintf(stderr, "glassbox: %s: waiting for a connection\n", c->name);
    while (c->in_fd < 0) {
        struct pollfd p = { .fd = c->listen_fd, .events = POLLIN };
        if (poll(&p, 1, -1) < 0) return false;     // a signal: the user has had enough
        chr_accept(c);
    }
    return true;
}

static bool chr_open_socket(Chardev *c, const char *text, bool is_unix, char **err) {
    ChrSpec s;
    char *why = NULL;
    c->kind = CHR_SOCKET;
    bool ok = chr_parse(text, &s, err);
    if (ok) {
        int fd = is_unix ? chr_socket_unix(s.address, s.server)
                         : chr_socket_tcp(s.address, s.server, &why);
        ok = fd >= 0;
        if (!ok)
            *err = mem_printf("cannot %s '%s': %s", s.server ? "listen on" : "connect to",
                              s.address, why ? why : strerror(errno));
        else if (s.server) c->listen_fd = fd;
        else c->in_fd = c->out_fd = fd;
        if (ok && s.server && is_unix) c->unlink_path = mem_strdup(s.address);
    }
    if (ok && s.server && s.wait && !chr_wait_client(c)) {
        *err = mem_strdup("interrupted while waiting for a connection");
        ok = false;
    }
    free(why);
    free(s.address);
    return ok;
}

static bool chr_open_any(Chardev *c, const char *spec, char **err) {
    if (!strncmp(spec, "mon:", 4)) {
        c->mux = true;
        spec += 4;
    }
    if (!strncmp(spec, "file:", 5)) return chr_open_file(c, spec + 5, err);
    if (!strncmp(spec, "unix:", 5)) return chr_open_socket(c, spec + 5, true, err);
    if (!strncmp(spec, "tcp:", 4)) return chr_open_socket(c, spec + 4, false, err);
    if (!strcmp(spec, "pty")) return chr_open_pty(c, err);
    if (!strcmp(spec, "stdio") || !strncmp(spec, "stdio,", 6)) return chr_open_stdio(c);
    if (!strcmp(spec, "null") || !strcmp(spec, "none")) return true;
    if (!strcmp(spec, "vc") || !strncmp(spec, "vc:", 3)) {
        fprintf(stderr, "glassbox: warning: no virtual consoles; '%s' goes nowhere "
                        "(stdio, pty, unix: and tcp: are there)\n", spec);
        return true;
    }
    *err = mem_printf("unknown character device '%s' (stdio, mon:stdio, file:PATH, pty, unix:PATH, "
                      "tcp:HOST:PORT, null, vc)", spec);
    return false;
}

static void chr_free(Chardev *c) {
    if (c->kind != CHR_STDIO) {
        if (c->out_fd >= 0) close(c->out_fd);
        if (c->in_fd >= 0 && c->in_fd != c->out_fd) close(c->in_fd);
    }
    if (c->keep_fd >= 0) close(c->keep_fd);
    if (c->listen_fd >= 0) close(c->listen_fd);
    if (c->wake_fd >= 0) close(c->wake_fd);
    if (c->unlink_path) unlink(c->unlink_path);
    for (unsigned n = 0; n < c->front_count; n++) free(c->fronts[n].pending);
    errand_free(c->errand);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->moved);
    free(c->unlink_path);
    free(c->name);
    free(c);
}

static void chr_start_thread(Chardev *c) {
    sigset_t all, before;
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->errand = errand_new(c->bus, chr_take_input, c);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);   // signals are for the machine's thread
    c->has_thread = c->wake_fd >= 0 && !pthread_create(&c->thread, NULL, chr_thread, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

Chardev *chardev_open(Bus *bus, const char *spec, char **err) {
    Chardev *c = mem_new(sizeof(*c));
    c->bus = bus;
    c->name = mem_strdup(spec);
    c->in_fd = c->out_fd = c->listen_fd = c->wake_fd = c->keep_fd = -1;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->moved, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (!chr_open_any(c, spec, err)) {
        chr_free(c);
        return NULL;
    }
    c->opened = c->out_fd >= 0;
    if (c->kind != CHR_NULL) chr_start_thread(c);
    return c;
}

// Gives the thread a second to write what is left, as long as it gets on.
static void chr_flush(Chardev *c) {
    for (unsigned tries = 0; tries < 100; tries++) {
        pthread_mutex_lock(&c->lock);
        bool done = !c->out_count || c->out_fd < 0 || c->stalled || c->kind == CHR_PTY;
        pthread_mutex_unlock(&c->lock);
        if (done) return;
        nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
    }
}

void chardev_restore_tty(Chardev *c) {
    if (c->tty_changed) tcsetattr(0, TCSANOW, &c->tty_before);
}

void chardev_close(Chardev *c) {
    if (!c) return;
    if (c->has_thread) {
        chr_flush(c);
        pthread_mutex_lock(&c->lock);
        c->stopping = true;
        pthread_mutex_unlock(&c->lock);
        chr_wake(c);
        pthread_join(c->thread, NULL);
    }
    chardev_restore_tty(c);
    chr_free(c);
}
