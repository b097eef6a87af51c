// SPDX-License-Identifier: MIT
// The gdb server's socket.
//
// Invariants
//  1. The thread alone accepts, reads, writes and closes. The machine's thread only touches the two
//     buffers, under `lock`, and never waits (but in gdb_link_close).
//  2. A client that has gone is forgotten (LINK_ENDED -> LINK_IDLE) when the machine's thread has
//     taken all that it sent; only then may the next one come.
#define _GNU_SOURCE
#include "ui/gdb_int.h"

#include "ui/errand.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINK_IN_BYTES 65536u

typedef enum LinkState { LINK_IDLE, LINK_OPEN, LINK_ENDED } LinkState;

struct GdbLink {
    GdbLinkUser user;
    Errand *errand;
    char *refusal, *unlink_path;
    int listen_fd, wake_fd;
    int fd, parting_fd;            // the client, and one that was refused; -1: none
    bool has_thread;
    pthread_t thread;

    pthread_mutex_t lock;          // guards what follows
    LinkState state;
    bool greeted;                  // the user knows of the client
    bool stopping;
    u8 in[LINK_IN_BYTES];
    size_t in_count;
    u8 *out;
    size_t out_count, out_room;
};

static void link_wake(GdbLink *l) {
    ssize_t ignored = write(l->wake_fd, &(u64){ 1 }, sizeof(u64));
    (void)ignored;
}

// ---- the thread -----------------------------------------------------------------------------------

static void link_end_client(GdbLink *l) {
    close(l->fd);
    l->fd = -1;
    pthread_mutex_lock(&l->lock);
    l->state = LINK_ENDED;
    l->out_count = 0;
    pthread_mutex_unlock(&l->lock);
    errand_post(l->errand);
}

// A client too many hears why; its socket stays until it has read that.
static void link_refuse(GdbLink *l, int fd) {
    if (l->parting_fd >= 0) close(l->parting_fd);
    l->parting_fd = fd;
    ssize_t ignored = send(fd, l->refusal, strlen(l->refusal), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
    shutdown(fd, SHUT_WR);
}

static void link_accept(GdbLink *l) {
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    if (l->fd >= 0) {
        link_refuse(l, fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    l->fd = fd;
    pthread_mutex_lock(&l->lock);
    l->state = LINK_OPEN;
    l->greeted = false;
    l->in_count = l->out_count = 0;
    pthread_mutex_unlock(&l->lock);
    errand_post(l->errand);
}

static void link_read(GdbLink *l) {
    u8 piece[4096];
    pthread_mutex_lock(&l->lock);
    size_t room = min_u64(sizeof piece, LINK_IN_BYTES - l->in_count);
    pthread_mutex_unlock(&l->lock);
    if (!room) return;
    ssize_t n = recv(l->fd, piece, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        link_end_client(l);
        return;
    }
    pthread_mutex_lock(&l->lock);
    memcpy(l->in + l->in_count, piece, (size_t)n);
    l->in_count += (size_t)n;
    pthread_mutex_unlock(&l->lock);
    errand_post(l->errand);
}

static void link_write(GdbLink *l) {
    u8 piece[4096];
    pthread_mutex_lock(&l->lock);
    size_t count = min_u64(sizeof piece, l->out_count);
    memcpy(piece, l->out, count);
    pthread_mutex_unlock(&l->lock);
    ssize_t n = count ? send(l->fd, piece, count, MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN && errno != EINTR) link_end_client(l);
    if (n <= 0) return;
    pthread_mutex_lock(&l->lock);
    memmove(l->out, l->out + n, l->out_count - (size_t)n);
    l->out_count -= (size_t)n;
    pthread_mutex_unlock(&l->lock);
}

static void link_see_off(GdbLink *l) {
    u8 piece[4096];
    ssize_t n = recv(l->parting_fd, piece, sizeof piece, 0);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) return;
    close(l->parting_fd);
    l->parting_fd = -1;
}

enum { POLL_WAKE, POLL_LISTEN, POLL_CLIENT, POLL_PARTING, POLLS };

static bool link_poll_set(GdbLink *l, struct pollfd *p) {
    pthread_mutex_lock(&l->lock);
    short events = (short)((l->in_count < LINK_IN_BYTES ? POLLIN : 0) | (l->out_count ? POLLOUT : 0));
    p[POLL_WAKE] = (struct pollfd){ .fd = l->wake_fd, .events = POLLIN };
    p[POLL_LISTEN] = (struct pollfd){ .fd = l->state == LINK_ENDED ? -1 : l->listen_fd, .events = POLLIN };
    p[POLL_CLIENT] = (struct pollfd){ .fd = l->fd, .events = events };
    p[POLL_PARTING] = (struct pollfd){ .fd = l->parting_fd, .events = POLLIN };
    bool go_on = !l->stopping;
    pthread_mutex_unlock(&l->lock);
    return go_on;
}

static void *link_thread(void *arg) {
    GdbLink *l = arg;
    struct pollfd p[POLLS];
    while (link_poll_set(l, p)) {
        if (poll(p, POLLS, -1) < 0) continue;
        u64 count;
        if (p[POLL_WAKE].revents && read(l->wake_fd, &count, sizeof count) < 0) continue;
        if (p[POLL_PARTING].revents) link_see_off(l);
        if (p[POLL_CLIENT].revents & POLLOUT) link_write(l);
        if (l->fd >= 0 && p[POLL_CLIENT].revents & ~POLLOUT) link_read(l);
        if (p[POLL_LISTEN].revents) link_accept(l);
    }
    return NULL;
}

// ---- the machine's thread -------------------------------------------------------------------------

static void link_take(void *arg) {
    GdbLink *l = arg;
    for (;;) {
        u8 piece[4096];
        pthread_mutex_lock(&l->lock);
        bool opened = l->state != LINK_IDLE && !l->greeted;
        size_t count = min_u64(sizeof piece, l->in_count);
        memcpy(piece, l->in, count);
        memmove(l->in, l->in + count, l->in_count - count);
        l->in_count -= count;
        bool ended = l->state == LINK_ENDED && !count;
        l->greeted = true;
        if (ended) l->state = LINK_IDLE;
        pthread_mutex_unlock(&l->lock);
        if (opened) l->user.opened(l->user.self);
        if (count) l->user.input(l->user.self, piece, count);
        if (ended) l->user.closed(l->user.self);
        link_wake(l);
        if (!count) return;
    }
}

void gdb_link_send(GdbLink *l, const void *bytes, size_t count) {
    pthread_mutex_lock(&l->lock);
    if (l->state == LINK_OPEN) {
        if (l->out_room < l->out_count + count) {
            l->out_room = 2 * (l->out_count + count);
            l->out = mem_resize(l->out, l->out_room);
        }
        memcpy(l->out + l->out_count, bytes, count);
        l->out_count += count;
    }
    pthread_mutex_unlock(&l->lock);
    link_wake(l);
}

// ---- opening and closing --------------------------------------------------------------------------

static int link_bind(const struct sockaddr *address, socklen_t length) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (address->sa_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (!bind(fd, address, length) && !listen(fd, 4)) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static bool link_bind_unix(GdbLink *l, const char *path, char **why) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct stat st;
    if (!*path || strlen(path) >= sizeof a.sun_path) {
        *why = mem_strdup(*path ? "the path is too long" : "a path is missing");
        return false;
    }
    strcpy(a.sun_path, path);
    if (!lstat(path, &st) && S_ISSOCK(st.st_mode)) {                       // left behind?
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool alive = fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof a);
        if (fd >= 0) close(fd);
        if (!alive) unlink(path);
    }
    l->listen_fd = link_bind((struct sockaddr *)&a, sizeof a);
    if (l->listen_fd >= 0) l->unlink_path = mem_strdup(path);
    return l->listen_fd >= 0;
}

// "HOST:PORT", "[::1]:PORT", ":PORT".
static bool link_bind_tcp(GdbLink *l, const char *address, char **why) {
    char *host = mem_strdup(address), *colon = strrchr(host, ':'), *name = host;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list = NULL;
    if (!colon || !colon[1]) {
        *why = mem_strdup("HOST:PORT expected");
        free(host);
        return false;
    }
    *colon++ = 0;
    size_t length = strlen(host);
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = 0;
        name++;
    }
    int failed = getaddrinfo(*name ? name : "127.0.0.1", colon, &hints, &list), error = 0;
    if (failed) *why = mem_strdup(gai_strerror(failed));
    for (struct addrinfo *a = list; a && l->listen_fd < 0; a = a->ai_next) {
        l->listen_fd = link_bind(a->ai_addr, a->ai_addrlen);
        error = errno;
    }
    if (l->listen_fd >= 0 && !*name)
        fprintf(stderr, "glassbox: gdb server on 127.0.0.1:%s (this host only; tcp:0.0.0.0:%s serves "
                        "others)\n", colon, colon);
    if (list) freeaddrinfo(list);
    free(host);
    errno = error;
    return l->listen_fd >= 0;
}

// What follows a comma (server, nowait and the like) is how it is anyway.
static bool link_listen(GdbLink *l, const char *spec, char **err) {
    char *address = mem_strdup(spec), *why = NULL;
    address[strcspn(address, ",")] = 0;
    bool ok = false;
    if (!strncmp(address, "tcp:", 4)) ok = link_bind_tcp(l, address + 4, &why);
    else if (!strncmp(address, "unix:", 5)) ok = link_bind_unix(l, address + 5, &why);
    else {
        *err = mem_printf("'%s' is not tcp::PORT, tcp:HOST:PORT, unix:PATH or none", spec);
        free(address);
        return false;
    }
    if (!ok) *err = mem_printf("cannot listen on '%s': %s", address, why ? why : strerror(errno));
    free(why);
    free(address);
    return ok;
}

static void link_free(GdbLink *l) {
    if (l->listen_fd >= 0) close(l->listen_fd);
    if (l->fd >= 0) close(l->fd);
    if (l->parting_fd >= 0) close(l->parting_fd);
    if (l->wake_fd >= 0) close(l->wake_fd);
    if (l->unlink_path) unlink(l->unlink_path);
    errand_free(l->errand);
    pthread_mutex_destroy(&l->lock);
    free(l->unlink_path);
    free(l->refusal);
    free(l->out);
    free(l);
}

static bool link_start(GdbLink *l, Bus *bus) {
    sigset_t all, before;
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->errand = errand_new(bus, link_take, l);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);       // signals are for the machine's thread
    l->has_thread = l->wake_fd >= 0 && !pthread_create(&l->thread, NULL, link_thread, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return l->has_thread;
}

GdbLink *gdb_link_open(Bus *bus, const char *spec, const char *refusal, const GdbLinkUser *user,
                       char **err) {
    GdbLink *l = mem_new(sizeof *l);
    l->user = *user;
    l->refusal = mem_strdup(refusal);
    l->listen_fd = l->wake_fd = l->fd = l->parting_fd = -1;
    pthread_mutex_init(&l->lock, NULL);
    bool ok = link_listen(l, spec, err);
    if (ok && !link_start(l, bus)) {
        *err = mem_printf("cannot start a thread: %s", strerror(errno));
        ok = false;
    }
    if (ok) return l;
    link_free(l);
    return NULL;
}

void gdb_link_close(GdbLink *l) {
    if (!l) return;
    for (unsigned tries = 0; tries < 100; tries++) {
        pthread_mutex_lock(&l->lock);
        bool done = !l->out_count;
        pthread_mutex_unlock(&l->lock);
        if (done) break;
        nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
    }
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_mutex_unlock(&l->lock);
    link_wake(l);
    pthread_join(l->thread, NULL);
    link_free(l);
}
