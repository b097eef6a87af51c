// SPDX-License-Identifier: MIT
// VNC server. Nobody can hold up anybody:
//
//     machine thread   an errand renders into `frame`, about 30 times a second while there are
//     viewers server thread    accepts, and copies what changed from `frame` to the master picture
//     viewer threads   one per viewer, each with a libvncserver screen and framebuffer of its own,
//                      copied from the master picture
//
// Invariants
//  1. Each viewer's thread uses libvncserver with a screen of its own: a viewer that stalls, talks
//     garbage or never ends its handshake stops its own thread until it is dropped. All screens are
//     made before there are viewers, because making one resets a mutex that all of them share.
//  2. `frame` is the machine's while the errand is on its way (frame_busy), the server thread's
//     else.
//  3. `lock` guards the master picture and the list of viewers; no I/O is done under it.
#if GLASSBOX_VNC + 0 || !defined GLASSBOX_VNC
#define _GNU_SOURCE
#include "ui/vnc.h"

#include "ui/errand.h"
#include "ui/keyq.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <rfb/rfb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define VNC_FIRST_PORT 5900
#define VNC_VIEWERS 16u              // connections at a time
#define VNC_SCREENS (VNC_VIEWERS + 4)
#define VNC_FRAME_MS 33
#define VNC_WIDTH 640                // of a viewer's screen before the first picture
#define VNC_HEIGHT 400
#define VNC_HANDSHAKE_MS 8000u       // a viewer that is not ready by then is dropped
#define VNC_STALL_MS 5000            // as is one that takes nothing for so long
#define VNC_TILE 32u                 // pixels: unit of comparison
#define VNC_BAND 16u                 // rows: largest height of a changed rectangle

typedef struct Viewer Viewer;
struct Viewer {
    Viewer *next;
    Vnc *vnc;
    pthread_t thread;
    int fd;                          // ours; libvncserver has a duplicate, which it closes
    u64 started_ms;                  // when it connected
    bool ready;                      // has ended its handshake; vnc->lock
    bool ended;                      // the thread is about to return; vnc->lock
    // The viewer thread's.
    rfbScreenInfoPtr screen;
    rfbClientPtr client;             // NULL: gone
    u32 *pixels;                     // its framebuffer
    unsigned width, height;
    unsigned master_width, master_height;   // size of the master picture it saw last
    u64 serial;                      // of the master picture it has
    KeySyms syms;
    int x, y, buttons;               // where the pointer was
    bool pointer_known;
};

struct Vnc {
    Bus *bus;
    Vga *vga;
    KeyQueue *keys;
    Errand *errand;
    int port, listen_fd, wake_fd;
    char *unlink_path;
    pthread_t thread;
    rfbScreenInfoPtr spare[VNC_SCREENS];    // screens without a viewer; the server thread's
    unsigned spare_count;
    atomic_bool stopping, frame_busy, frame_new;
    VgaFrame frame;

    pthread_mutex_t lock;            // guards what follows
    Viewer *viewers;
    u32 *pixels;                     // master picture
    unsigned width, height;
    u64 serial;                      // counts its changes
    u64 *row_serial;                 // last change of each row
};

static u64 vnc_now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

static void vnc_wake(Vnc *vnc) {
    ssize_t ignored = write(vnc->wake_fd, &(u64){ 1 }, sizeof(u64));
    (void)ignored;
}

// ---- input from a viewer ------------------------------------------------------------------------

static void viewer_key(rfbBool down, rfbKeySym keysym, rfbClientPtr client) {
    Viewer *w = client->screen->screenData;
    keyq_keysym(w->vnc->keys, &w->syms, keysym, down);
}

static unsigned viewer_buttons(int mask) {
    return (mask & 1 ? KBD_BUTTON_LEFT : 0) | (mask & 2 ? KBD_BUTTON_MIDDLE : 0)
         | (mask & 4 ? KBD_BUTTON_RIGHT : 0);
}

static void viewer_pointer(int mask, int x, int y, rfbClientPtr client) {
    Viewer *w = client->screen->screenData;
    int dx = w->pointer_known ? x - w->x : 0, dy = w->pointer_known ? y - w->y : 0;
    int pressed = mask & ~w->buttons;
    int dz = (pressed & 0x10 ? 1 : 0) - (pressed & 8 ? 1 : 0);
    bool changed = dx || dy || dz || ((mask ^ w->buttons) & 7);
    w->pointer_known = true;
    w->x = x;
    w->y = y;
    w->buttons = mask;
    if (changed) keyq_mouse(w->vnc->keys, dx, dy, dz, viewer_buttons(mask));
}

static void viewer_gone(rfbClientPtr client) {
    Viewer *w = client->screen->screenData;
    w->client = NULL;
}

// ---- the picture for a viewer -------------------------------------------------------------------

static void viewer_set_format(rfbScreenInfoPtr screen) {
    screen->serverFormat.redShift = 16;
    screen->serverFormat.greenShift = 8;
    screen->serverFormat.blueShift = 0;
}

static void viewer_new_size(Viewer *w, unsigned width, unsigned height) {
    u32 *old = w->pixels;
    w->pixels = mem_new((size_t)width * height * sizeof(u32));
    w->width = width;
    w->height = height;
    w->serial = 0;
    rfbNewFramebuffer(w->screen, (char *)w->pixels, (int)width, (int)height, 8, 3, 4);
    viewer_set_format(w->screen);
    if (w->client) w->screen->setTranslateFunction(w->client);
    free(old);
}

typedef struct Box { unsigned x0, x1, y0, y1; } Box;     // half open; empty: x0 >= x1

// Copies the part of a row that differs and widens the box by it.
static void viewer_copy_row(Viewer *w, const u32 *from, unsigned y, unsigned width, Box *box) {
    u32 *to = w->pixels + (size_t)y * w->width;
    for (unsigned x = 0; x < width; x += VNC_TILE) {
        unsigned n = min_u32(VNC_TILE, width - x);
        if (!memcmp(to + x, from + x, n * sizeof(u32))) continue;
        memcpy(to + x, from + x, n * sizeof(u32));
        box->x0 = min_u32(box->x0, x);
        box->x1 = max_u32(box->x1, x + n);
    }
}

static void viewer_mark(Viewer *w, const Box *box) {
    if (box->x0 < box->x1)
        rfbMarkRectAsModified(w->screen, (int)box->x0, (int)box->y0, (int)box->x1, (int)box->y1);
}

// Under the lock. A viewer that could not be resized gets the part that fits.
static void viewer_copy(Viewer *w) {
    const Vnc *vnc = w->vnc;
    unsigned width = min_u32(w->width, vnc->width), height = min_u32(w->height, vnc->height);
    for (unsigned y = 0; y < height; y += VNC_BAND) {
        Box box = { w->width, 0, y, min_u32(y + VNC_BAND, height) };
        for (unsigned row = y; row < box.y1; row++)
            if (vnc->row_serial[row] > w->serial)
                viewer_copy_row(w, vnc->pixels + (size_t)row * vnc->width, row, width, &box);
        viewer_mark(w, &box);
    }
    w->serial = vnc->serial;
}

// The master picture has another size. A viewer that cannot follow keeps its own, emptied.
static void viewer_resize(Viewer *w, unsigned width, unsigned height) {
    w->master_width = width;
    w->master_height = height;
    if (width == w->width && height == w->height) return;
    if (w->client->useNewFBSize) {
        viewer_new_size(w, width, height);
        return;
    }
    memset(w->pixels, 0, (size_t)w->width * w->height * sizeof(u32));
    w->serial = 0;
    rfbMarkRectAsModified(w->screen, 0, 0, (int)w->width, (int)w->height);
}

static void viewer_update(Viewer *w) {
    Vnc *vnc = w->vnc;
    pthread_mutex_lock(&vnc->lock);
    unsigned width = vnc->width, height = vnc->height;
    bool news = vnc->serial > w->serial;
    w->ready = true;
    pthread_mutex_unlock(&vnc->lock);
    if (!news) return;
    if (width != w->master_width || height != w->master_height) viewer_resize(w, width, height);
    pthread_mutex_lock(&vnc->lock);
    if (vnc->width == width && vnc->height == height) viewer_copy(w);
    pthread_mutex_unlock(&vnc->lock);
}

// ---- a viewer's thread --------------------------------------------------------------------------

// Waits a moment for the first picture, so that the viewer starts with the right size.
static void viewer_first_size(Viewer *w) {
    unsigned width = VNC_WIDTH, height = VNC_HEIGHT;
    bool there = false;
    for (unsigned tries = 0; tries < 50 && !there && !atomic_load(&w->vnc->stopping); tries++) {
        if (tries) nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
        pthread_mutex_lock(&w->vnc->lock);
        there = w->vnc->pixels != NULL;
        if (there) width = w->vnc->width;
        if (there) height = w->vnc->height;
        pthread_mutex_unlock(&w->vnc->lock);
    }
    viewer_new_size(w, width, height);
}

static bool viewer_open(Viewer *w) {
    viewer_first_size(w);
    w->screen->screenData = w;
    int fd = fcntl(w->fd, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0) w->client = rfbNewClient(w->screen, fd);
    if (!w->client) return false;
    w->client->clientGoneHook = viewer_gone;
    return true;
}

static void viewer_close(Viewer *w) {
    keyq_release_all(w->vnc->keys, &w->syms);
    if (viewer_buttons(w->buttons)) keyq_mouse(w->vnc->keys, 0, 0, 0, 0);
    shutdown(w->fd, SHUT_RDWR);
    if (w->client) {
        rfbCloseClient(w->client);
        rfbClientConnectionGone(w->client);
    }
    w->screen->frameBuffer = NULL;
    free(w->pixels);
}

static void *viewer_thread(void *arg) {
    Viewer *w = arg;
    Vnc *vnc = w->vnc;
    bool opened = viewer_open(w);
    while (opened && w->client && !atomic_load(&vnc->stopping)) {
        rfbProcessEvents(w->screen, 10000);
        // Scaling by the server (an UltraVNC extension) and resizing do not go together.
        if (!w->client || w->client->scaledScreen != w->screen) break;
        if (w->client->state == RFB_NORMAL) viewer_update(w);
        else if (vnc_now_ms() - w->started_ms > VNC_HANDSHAKE_MS) break;
    }
    viewer_close(w);
    pthread_mutex_lock(&vnc->lock);
    w->ended = true;
    pthread_mutex_unlock(&vnc->lock);
    vnc_wake(vnc);
    return NULL;
}

// ---- the server's thread ------------------------------------------------------------------------

// Joins the threads of viewers that have ended (waiting for all of them when `all`) and takes their
// screens back. Returns how many are left.
static unsigned vnc_reap(Vnc *vnc, bool all) {
    Viewer *done = NULL;
    unsigned left = 0;
    pthread_mutex_lock(&vnc->lock);
    for (Viewer **at = &vnc->viewers; *at;) {
        Viewer *w = *at;
        if (!w->ended && !all) {
            at = &w->next;
            left++;
            continue;
        }
        *at = w->next;
        w->next = done;
        done = w;
    }
    pthread_mutex_unlock(&vnc->lock);
    while (done) {
        Viewer *w = done;
        done = w->next;
        pthread_join(w->thread, NULL);
        close(w->fd);
        vnc->spare[vnc->spare_count++] = w->screen;
        free(w);
    }
    return left;
}

// Full: the oldest that has not ended its handshake makes place for the newcomer.
static void vnc_make_place(Vnc *vnc) {
    pthread_mutex_lock(&vnc->lock);
    Viewer *victim = NULL;
    unsigned count = 0;
    for (Viewer *w = vnc->viewers; w; w = w->next, count++)
        if (!w->ready && !w->ended) victim = w;
    if (count >= VNC_VIEWERS && victim) shutdown(victim->fd, SHUT_RDWR);
    pthread_mutex_unlock(&vnc->lock);
}

static void vnc_accept(Vnc *vnc, unsigned viewers) {
    int fd = accept4(vnc->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return;
    if (viewers >= VNC_VIEWERS) vnc_make_place(vnc);
    if (!vnc->spare_count) {                       // the victims' threads need a moment to end
        close(fd);
        return;
    }
    Viewer *w = mem_new(sizeof(*w));
    w->vnc = vnc;
    w->fd = fd;
    w->screen = vnc->spare[--vnc->spare_count];
    w->started_ms = vnc_now_ms();
    pthread_mutex_lock(&vnc->lock);
    bool started = !pthread_create(&w->thread, NULL, viewer_thread, w);
    if (started) {
        w->next = vnc->viewers;
        vnc->viewers = w;
    }
    pthread_mutex_unlock(&vnc->lock);
    if (started) return;
    vnc->spare[vnc->spare_count++] = w->screen;
    close(fd);
    free(w);
}

// Under the lock: takes what changed in `frame` over into the master picture.
static void vnc_publish(Vnc *vnc) {
    const VgaFrame *f = &vnc->frame;
    vnc->serial++;
    if (vnc->width != f->width || vnc->height != f->height || !vnc->pixels) {
        vnc->width = f->width;
        vnc->height = f->height;
        vnc->pixels = mem_resize(vnc->pixels, (size_t)f->width * f->height * sizeof(u32));
        vnc->row_serial = mem_resize(vnc->row_serial, f->height * sizeof(u64));
    }
    size_t at = (size_t)f->first_row * f->width, rows = f->end_row - f->first_row;
    memcpy(vnc->pixels + at, f->pixels + at, rows * f->width * sizeof(u32));
    for (unsigned y = f->first_row; y < f->end_row; y++) vnc->row_serial[y] = vnc->serial;
}

// The errand.
static void vnc_render(void *arg) {
    Vnc *vnc = arg;
    if (vga_render(vnc->vga, &vnc->frame)) atomic_store(&vnc->frame_new, true);
    atomic_store(&vnc->frame_busy, false);
    vnc_wake(vnc);
}

static void vnc_tick(Vnc *vnc, u64 *next_ms) {
    if (atomic_load(&vnc->frame_busy)) return;
    if (atomic_exchange(&vnc->frame_new, false)) {
        pthread_mutex_lock(&vnc->lock);
        vnc_publish(vnc);
        pthread_mutex_unlock(&vnc->lock);
    }
    u64 now_ms = vnc_now_ms();
    if (now_ms < *next_ms) return;
    *next_ms = now_ms + VNC_FRAME_MS;
    atomic_store(&vnc->frame_busy, true);
    errand_post(vnc->errand);
}

static void *vnc_thread(void *arg) {
    Vnc *vnc = arg;
    u64 next_ms = 0, count;
    while (!atomic_load(&vnc->stopping)) {
        unsigned viewers = vnc_reap(vnc, false);
        if (viewers) vnc_tick(vnc, &next_ms);
        u64 now_ms = vnc_now_ms();
        struct pollfd p[2] = { { vnc->wake_fd, POLLIN, 0 }, { vnc->listen_fd, POLLIN, 0 } };
        int wait_ms = next_ms > now_ms ? (int)(next_ms - now_ms) : VNC_FRAME_MS;
        if (poll(p, 2, viewers ? wait_ms : -1) <= 0) continue;
        if (p[0].revents && read(vnc->wake_fd, &count, sizeof(count)) < 0) continue;
        if (p[1].revents) vnc_accept(vnc, viewers);
    }
    return NULL;
}

// ---- start and stop -----------------------------------------------------------------------------

static int vnc_listen(const struct sockaddr *address, socklen_t length) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (address->sa_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (!bind(fd, address, length) && !listen(fd, 16)) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static bool vnc_listen_unix(Vnc *vnc, const char *path, char **err) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct stat st;
    if (strlen(path) < sizeof(a.sun_path)) {
        strcpy(a.sun_path, path);
        if (!lstat(path, &st) && S_ISSOCK(st.st_mode)) {         // left behind?
            int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            bool alive = probe >= 0 && !connect(probe, (struct sockaddr *)&a, sizeof(a));
            if (probe >= 0) close(probe);
            if (!alive) unlink(path);
        }
        vnc->listen_fd = vnc_listen((struct sockaddr *)&a, sizeof(a));
        if (vnc->listen_fd >= 0) vnc->unlink_path = mem_strdup(path);
    } else {
        errno = ENAMETOOLONG;
    }
    if (vnc->listen_fd < 0) *err = mem_printf("cannot listen on '%s': %s", path, strerror(errno));
    return vnc->listen_fd >= 0;
}

// Tries displays first to last on the host's addresses.
static bool vnc_listen_tcp(Vnc *vnc, const char *host, unsigned first, unsigned last, char **err) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list = NULL;
    int failed = 0, error = 0;
    for (unsigned n = first; n <= last && vnc->listen_fd < 0 && !failed; n++) {
        char port[16];
        snprintf(port, sizeof(port), "%u", VNC_FIRST_PORT + n);
        failed = getaddrinfo(host, port, &hints, &list);
        if (failed) break;
        for (struct addrinfo *a = list; a && vnc->listen_fd < 0; a = a->ai_next)
            if ((vnc->listen_fd = vnc_listen(a->ai_addr, a->ai_addrlen)) < 0) error = errno;
        freeaddrinfo(list);
        vnc->port = (int)(VNC_FIRST_PORT + n);
    }
    if (vnc->listen_fd >= 0) return true;
    *err = mem_printf("cannot listen on %s:%u: %s", host, VNC_FIRST_PORT + first,
                      failed ? gai_strerror(failed) : strerror(error));
    return false;
}

// One option after the display. False: *err.
static bool vnc_option(const char *option, unsigned *last, char **err) {
    static const char *const harmless[] = { "share=", "lossy", "non-adaptive", "power-control" };
    char *end;
    if (!strncmp(option, "to=", 3)) {
        *last = (unsigned)strtoul(option + 3, &end, 10);
        if (option[3] && !*end && *last <= 65535 - VNC_FIRST_PORT) return true;
    }
    if (!strncmp(option, "websocket", 9)) return true;     // spoken on the same port, unasked
    for (unsigned i = 0; i < ARRAY_LEN(harmless); i++) {
        if (strncmp(option, harmless[i], strlen(harmless[i]))) continue;
        fprintf(stderr, "glassbox: warning: -vnc option '%s' is ignored\n", option);
        return true;
    }
    *err = mem_printf("option '%s' is not supported", option);
    return false;
}

static bool vnc_open_display(Vnc *vnc, char *display, unsigned last, char **err) {
    char *colon = strrchr(display, ':'), *end = NULL;
    unsigned long n = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || end == colon + 1 || *end || n > 65535 - VNC_FIRST_PORT) {
        *err = mem_printf("'%s' is not HOST:N, as in 127.0.0.1:1 (port 5901)", display);
        return false;
    }
    *colon = 0;
    char *host = display;
    size_t length = strlen(host);
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = 0;
        host++;
    }
    bool loopback = !*host;
    if (loopback) host = "127.0.0.1";
    if (!vnc_listen_tcp(vnc, host, (unsigned)n, max_u32((unsigned)n, last), err)) return false;
    if (loopback)
        fprintf(stderr, "glassbox: VNC server on 127.0.0.1:%d (this host only; 0.0.0.0:%d serves "
                        "all)\n", vnc->port, vnc->port - VNC_FIRST_PORT);
    return true;
}

static bool vnc_open(Vnc *vnc, const char *spec, char **err) {
    char *text = mem_strdup(spec), *options = strchr(text, ','), *word, *rest = NULL;
    unsigned last = 0;
    bool ok = true;
    if (options) *options++ = 0;
    for (word = options ? strtok_r(options, ",", &rest) : NULL; word && ok;
         word = strtok_r(NULL, ",", &rest))
        ok = vnc_option(word, &last, err);
    if (ok)
        ok = strncmp(text, "unix:", 5) ? vnc_open_display(vnc, text, last, err)
                                       : vnc_listen_unix(vnc, text + 5, err);
    free(text);
    return ok;
}

// Makes the viewers' screens, none of which listens by itself.
static void vnc_make_screens(Vnc *vnc) {
    for (; vnc->spare_count < VNC_SCREENS; vnc->spare_count++) {
        rfbScreenInfoPtr screen = rfbGetScreen(NULL, NULL, VNC_WIDTH, VNC_HEIGHT, 8, 3, 4);
        require(screen);
        screen->desktopName = "glassbox";
        screen->alwaysShared = TRUE;
        screen->port = screen->ipv6port = screen->udpPort = screen->httpPort = 0;
        screen->autoPort = FALSE;
        screen->maxClientWait = VNC_STALL_MS;
        screen->permitFileTransfer = FALSE;
        screen->cursor = NULL;
        screen->kbdAddEvent = viewer_key;
        screen->ptrAddEvent = viewer_pointer;
        screen->handleEventsEagerly = TRUE;
        rfbInitServer(screen);
        vnc->spare[vnc->spare_count] = screen;
    }
}

static void vnc_free(Vnc *vnc) {
    while (vnc->spare_count) rfbScreenCleanup(vnc->spare[--vnc->spare_count]);
    errand_free(vnc->errand);
    keyq_free(vnc->keys);
    if (vnc->listen_fd >= 0) close(vnc->listen_fd);
    if (vnc->wake_fd >= 0) close(vnc->wake_fd);
    if (vnc->unlink_path) unlink(vnc->unlink_path);
    pthread_mutex_destroy(&vnc->lock);
    vga_frame_free(&vnc->frame);
    free(vnc->unlink_path);
    free(vnc->pixels);
    free(vnc->row_serial);
    free(vnc);
}

static bool vnc_start_thread(Vnc *vnc) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);   // signals are for the machine's thread
    bool ok = !pthread_create(&vnc->thread, NULL, vnc_thread, vnc);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

Vnc *vnc_start(Bus *bus, Vga *vga, Kbd *kbd, const char *spec, char **err) {
    *err = NULL;
    if (!strcmp(spec, "none")) return NULL;
    Vnc *vnc = mem_new(sizeof(*vnc));
    vnc->bus = bus;
    vnc->vga = vga;
    vnc->listen_fd = -1;
    vnc->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&vnc->lock, NULL);
    if (!vnc_open(vnc, spec, err)) {
        vnc_free(vnc);
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN);
    rfbLogEnable(0);
    vnc->keys = keyq_new(bus, kbd);
    vnc->errand = errand_new(bus, vnc_render, vnc);
    vnc_make_screens(vnc);
    if (vnc_start_thread(vnc)) return vnc;
    *err = mem_strdup("cannot start a thread");
    vnc_free(vnc);
    return NULL;
}

void vnc_stop(Vnc *vnc) {
    if (!vnc) return;
    atomic_store(&vnc->stopping, true);
    vnc_wake(vnc);
    pthread_join(vnc->thread, NULL);
    pthread_mutex_lock(&vnc->lock);
    for (Viewer *w = vnc->viewers; w; w = w->next)
        if (!w->ended) shutdown(w->fd, SHUT_RDWR); // wakes a thread that waits for its viewer
    pthread_mutex_unlock(&vnc->lock);
    vnc_reap(vnc, true);
    vnc_free(vnc);
}

int vnc_port(const Vnc *vnc) { return vnc->port; }

#else
#include "ui/vnc.h"

Vnc *vnc_start(Bus *bus, Vga *vga, Kbd *kbd, const char *spec, char **err) {
    (void)bus, (void)vga, (void)kbd, (void)spec;
    *err = mem_strdup("this glassbox was built without VNC (make VNC=0)");
    return NULL;
}

void vnc_stop(Vnc *vnc) { (void)vnc; }
int vnc_port(const Vnc *vnc) { (void)vnc; return 0; }
#endif
