// SPDX-License-Identifier: MIT
// A VNC client for tests, driven from its command line:
//
//     vncdo HOST:N COMMAND...            (port 5900 + N; HOST::PORT names the port itself)
//
//     type TEXT          types the text; \n is Return, \t Tab, \e Escape, \\ a backslash
//     key NAME           ctrl-alt-delete, shift-f1, ret, a ...
//     shot FILE.png      saves the screen (.ppm works too)
//     sleep MS           waits, taking updates
//     still MS [LIMIT]   waits until the screen has not changed for MS (LIMIT ms at most: 30000)
//     size WxH [LIMIT]   waits until the screen has this size (LIMIT ms at most: 30000)
//     move X Y           moves the pointer
//     click [BUTTON]     presses and releases button 1 (left), 2 or 3 where the pointer is
//     wheel N            turns the wheel N clicks down (up: negative)
//     delay MS           time between keys from here on (10)
//
// Build: gcc -std=gnu11 -Isrc tests/e2e/vncdo.c src/ui/screen.c src/dev/vga*.c src/bus/*.c
//            src/base/*.c $(pkg-config --libs libvncclient libpng) -lpthread
// Exit status: 0, or 1 with one line on stderr.
#include "ui/screen.h"

#include <errno.h>
#include <rfb/rfbclient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Do {
    rfbClient *client;
    unsigned delay_ms;
    int x, y;                  // pointer
    u64 changed_ms;            // when the screen changed last
    bool updated;              // an update has come as a whole
} Do;

static _Noreturn __attribute__((format(printf, 1, 2))) void do_fail(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "vncdo: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    exit(1);
}

static u64 do_now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

static void do_updated(rfbClient *client, int x, int y, int w, int h) {
    Do *d = rfbClientGetClientData(client, NULL);
    (void)x, (void)y, (void)w, (void)h;
    d->changed_ms = do_now_ms();
}

static void do_finished(rfbClient *client) {
    Do *d = rfbClientGetClientData(client, NULL);
    d->updated = true;
}

// Takes what the server sends for so long.
static void do_wait(Do *d, u64 ms) {
    u64 end_ms = do_now_ms() + ms, now_ms;
    do {
        now_ms = do_now_ms();
        u64 left_ms = end_ms > now_ms ? end_ms - now_ms : 0;
        int n = WaitForMessage(d->client, (unsigned)(left_ms < 50 ? left_ms : 50) * 1000);
        if (n < 0 || (n > 0 && !HandleRFBServerMessage(d->client)))
            do_fail("the connection has ended");
    } while (now_ms < end_ms);
}

// ---- keys ---------------------------------------------------------------------------------------

static const struct { const char *name; u32 keysym; } do_keys[] = {
    { "ret", 0xff0d }, { "return", 0xff0d }, { "enter", 0xff0d }, { "tab", 0xff09 },
    { "esc", 0xff1b }, { "escape", 0xff1b }, { "backspace", 0xff08 }, { "delete", 0xffff },
    { "del", 0xffff }, { "insert", 0xff63 }, { "home", 0xff50 }, { "end", 0xff57 },
    { "pgup", 0xff55 }, { "pgdn", 0xff56 }, { "left", 0xff51 }, { "up", 0xff52 },
    { "right", 0xff53 }, { "down", 0xff54 }, { "spc", ' ' }, { "space", ' ' },
    { "minus", '-' }, { "shift", 0xffe1 }, { "ctrl", 0xffe3 }, { "alt", 0xffe9 },
    { "caps_lock", 0xffe5 }, { "num_lock", 0xff7f }, { "scroll_lock", 0xff14 },
    { "f1", 0xffbe }, { "f2", 0xffbf }, { "f3", 0xffc0 }, { "f4", 0xffc1 }, { "f5", 0xffc2 },
    { "f6", 0xffc3 }, { "f7", 0xffc4 }, { "f8", 0xffc5 }, { "f9", 0xffc6 }, { "f10", 0xffc7 },
    { "f11", 0xffc8 }, { "f12", 0xffc9 },
};

static u32 do_keysym(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(do_keys); i++)
        if (!strcmp(do_keys[i].name, name)) return do_keys[i].keysym;
    if (name[0] && !name[1]) return (u8)name[0];
    do_fail("no key is called '%s'", name);
}

static void do_send_key(Do *d, u32 keysym, bool down) {
    if (!SendKeyEvent(d->client, keysym, down)) do_fail("the connection has ended");
    do_wait(d, d->delay_ms);
}

static void do_key(Do *d, const char *chord) {
    u32 held[8];
    unsigned count = 0;
    char *text = strdup(chord), *rest = NULL;
    for (char *word = strtok_r(text, "-", &rest); word; word = strtok_r(NULL, "-", &rest)) {
        if (count == ARRAY_LEN(held)) do_fail("too many keys in '%s'", chord);
        held[count++] = do_keysym(word);
    }
    for (unsigned i = 0; i < count; i++) do_send_key(d, held[i], true);
    while (count) do_send_key(d, held[--count], false);
    free(text);
}

static u32 do_escape(char c) {
    switch (c) {
    case 'n': return 0xff0d;
    case 't': return 0xff09;
    case 'e': return 0xff1b;
    default: return (u8)c;
    }
}

static void do_type(Do *d, const char *text) {
    for (; *text; text++) {
        u32 keysym = (u8)*text;
        if (*text == '\n') keysym = 0xff0d;
        if (*text == '\\' && text[1]) keysym = do_escape(*++text);
        do_send_key(d, keysym, true);
        do_send_key(d, keysym, false);
    }
}

// ---- screen and pointer -------------------------------------------------------------------------

static void do_shot(Do *d, const char *path) {
    rfbClient *c = d->client;
    SendFramebufferUpdateRequest(c, 0, 0, c->width, c->height, FALSE);
    d->updated = false;
    for (unsigned i = 0; i < 50 && !d->updated; i++) do_wait(d, 100);
    if (!d->updated) do_fail("the server sends no picture");
    size_t length = strlen(path);
    bool png = length < 4 || strcmp(path + length - 4, ".ppm");
    VgaFrame frame = { .pixels = (u32 *)c->frameBuffer, .width = (unsigned)c->width,
                       .height = (unsigned)c->height };
    if (screen_write(&frame, path, png)) do_fail("%s: %s", path, strerror(errno));
}

static void do_still(Do *d, u64 ms, u64 limit_ms) {
    for (u64 end_ms = do_now_ms() + limit_ms; do_now_ms() - d->changed_ms < ms;) {
        if (do_now_ms() > end_ms) do_fail("the screen did not come to rest");
        do_wait(d, 20);
    }
}

static void do_size(Do *d, const char *size, u64 limit_ms) {
    int width = 0, height = 0;
    if (sscanf(size, "%dx%d", &width, &height) != 2) do_fail("'%s' is not WIDTHxHEIGHT", size);
    rfbClient *c = d->client;
    for (u64 end_ms = do_now_ms() + limit_ms; c->width != width || c->height != height;) {
        if (do_now_ms() > end_ms) do_fail("the screen is %dx%d", c->width, c->height);
        do_wait(d, 20);
    }
}

static void do_pointer(Do *d, unsigned buttons) {
    if (!SendPointerEvent(d->client, d->x, d->y, (int)buttons)) do_fail("the connection has ended");
    do_wait(d, d->delay_ms);
}

static void do_press(Do *d, unsigned button) {
    do_pointer(d, 1u << (button - 1));
    do_pointer(d, 0);
}

static void do_wheel(Do *d, int clicks) {
    for (; clicks > 0; clicks--) do_press(d, 5);
    for (; clicks < 0; clicks++) do_press(d, 4);
}

// ---- commands -----------------------------------------------------------------------------------

static bool do_is_number(const char *s) { return s && *s && strspn(s, "0123456789") == strlen(s); }

// Takes an optional number from the arguments.
static u64 do_number(char ***args, u64 otherwise) {
    return do_is_number(**args) ? strtoull(*(*args)++, NULL, 10) : otherwise;
}

static const char *do_argument(char ***args, const char *command) {
    if (!**args) do_fail("%s wants an argument", command);
    return *(*args)++;
}

static void do_command(Do *d, const char *name, char ***args) {
    if (!strcmp(name, "type")) do_type(d, do_argument(args, name));
    else if (!strcmp(name, "key")) do_key(d, do_argument(args, name));
    else if (!strcmp(name, "shot")) do_shot(d, do_argument(args, name));
    else if (!strcmp(name, "sleep")) do_wait(d, do_number(args, 1000));
    else if (!strcmp(name, "delay")) d->delay_ms = (unsigned)do_number(args, 10);
    else if (!strcmp(name, "click")) do_press(d, (unsigned)do_number(args, 1));
    else if (!strcmp(name, "wheel")) do_wheel(d, atoi(do_argument(args, name)));
    else if (!strcmp(name, "still")) {
        u64 ms = do_number(args, 500);
        do_still(d, ms, do_number(args, 30000));
    } else if (!strcmp(name, "size")) {
        const char *size = do_argument(args, name);
        do_size(d, size, do_number(args, 30000));
    } else if (!strcmp(name, "move")) {
        d->x = atoi(do_argument(args, name));
        d->y = atoi(do_argument(args, name));
        do_pointer(d, 0);
    } else {
        do_fail("unknown command '%s'", name);
    }
}

static void do_quiet(const char *fmt, ...) { (void)fmt; }

static void do_connect(Do *d, char *server) {
    rfbClientLog = rfbClientErr = do_quiet;
    rfbClient *c = d->client = rfbGetClient(8, 3, 4);
    char *colon = strrchr(server, ':');
    if (!colon || !do_is_number(colon + 1)) do_fail("'%s' is not HOST:N", server);
    int port = atoi(colon + 1);
    bool display = colon == server || colon[-1] != ':';
    *colon = 0;
    if (!display) colon[-1] = 0;
    free(c->serverHost);
    c->serverHost = strdup(*server ? server : "127.0.0.1");
    c->serverPort = display ? 5900 + port : port;
    c->GotFrameBufferUpdate = do_updated;
    c->FinishedFrameBufferUpdate = do_finished;
    c->canHandleNewFBSize = TRUE;
    c->format.redShift = 16;
    c->format.greenShift = 8;
    c->format.blueShift = 0;
    rfbClientSetClientData(c, NULL, d);
    port = c->serverPort;
    if (!rfbInitClient(c, NULL, NULL)) do_fail("cannot connect to port %d", port);
}

int main(int argc, char **argv) {
    Do d = { .delay_ms = 10 };
    if (argc < 3) do_fail("usage: vncdo HOST:N COMMAND...");
    do_connect(&d, argv[1]);
    d.changed_ms = do_now_ms();
    for (char **args = argv + 2; *args;) {
        const char *name = *args++;
        do_command(&d, name, &args);
    }
    free(d.client->frameBuffer);
    rfbClientCleanup(d.client);
    return 0;
}
