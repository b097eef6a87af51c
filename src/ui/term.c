// SPDX-License-Identifier: MIT
// Terminal display. Plain ANSI sequences, no library: the alternate screen, 16 colours, UTF-8.
//
// Invariants
//  1. The terminal is read and written by one thread only; an errand reads the text screen into
//     `text`, which belongs to the machine while text_busy.
//  2. Only cells that differ from what was drawn are written, in one write() per picture.
#define _GNU_SOURCE
#include "ui/term.h"

#include "ui/errand.h"
#include "ui/keyq.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define TERM_FRAME_MS 50
#define TERM_ESCAPE_MS 50            // an ESC that stands alone for so long is the Escape key

// X11 keysyms of the keys that have no character.
enum {
    SYM_BACKSPACE = 0xff08, SYM_TAB = 0xff09, SYM_RETURN = 0xff0d, SYM_ESCAPE = 0xff1b,
    SYM_HOME = 0xff50, SYM_LEFT, SYM_UP, SYM_RIGHT, SYM_DOWN, SYM_PAGE_UP, SYM_PAGE_DOWN, SYM_END,
    SYM_INSERT = 0xff63, SYM_F1 = 0xffbe, SYM_SHIFT = 0xffe1, SYM_CONTROL = 0xffe3,
    SYM_ALT = 0xffe9, SYM_DELETE = 0xffff,
};
enum { MOD_SHIFT = 1, MOD_ALT = 2, MOD_CONTROL = 4 };      // as in xterm's sequences, minus one

struct Term {
    Bus *bus;
    Vga *vga;
    KeyQueue *keys;
    KeySyms syms;
    Errand *errand;
    int wake_fd;
    pthread_t thread;
    atomic_bool stopping, text_busy;
    struct termios before;

    VgaText text;                    // see invariant 1
    bool is_text;                    // a text mode is on

    u32 *drawn;                      // cell and, above it, colours as on the terminal
    unsigned columns, rows;          // of the terminal
    u32 cursor;                      // row and column from 1, as left on the terminal; 0: hidden
    int pen;                         // attribute the terminal writes with; -1: unknown
    char *out;                       // what is to be written
    size_t out_count, out_room;

    u8 pending[32];                  // input that is not understood yet
    unsigned pending_count;
    bool prefix;                     // Ctrl-a was typed
};

static const char term_enter[] = "\033[?1049h\033[H\033[2J";
static const char term_leave[] = "\033[0m\033[?25h\033[?1049l";

static void term_write(const void *bytes, size_t count) {
    ssize_t ignored = write(1, bytes, count);
    (void)ignored;
}

// ---- drawing ------------------------------------------------------------------------------------

// Code page 437 above 0x7f and below 0x20.
static const u16 term_low[32] = {
    0x0020, 0x263a, 0x263b, 0x2665, 0x2666, 0x2663, 0x2660, 0x2022,
    0x25d8, 0x25cb, 0x25d9, 0x2642, 0x2640, 0x266a, 0x266b, 0x263c,
    0x25ba, 0x25c4, 0x2195, 0x203c, 0x00b6, 0x00a7, 0x25ac, 0x21a8,
    0x2191, 0x2193, 0x2192, 0x2190, 0x221f, 0x2194, 0x25b2, 0x25bc,
};
static const u16 term_high[128] = {
    0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7,
    0x00ea, 0x00eb, 0x00e8, 0x00ef, 0x00ee, 0x00ec, 0x00c4, 0x00c5,
    0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9,
    0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192,
    0x00e1, 0x00ed, 0x00f3, 0x00fa, 0x00f1, 0x00d1, 0x00aa, 0x00ba,
    0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb,
    0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556,
    0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510,
    0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f,
    0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567,
    0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b,
    0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
    0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4,
    0x03a6, 0x0398, 0x03a9, 0x03b4, 0x221e, 0x03c6, 0x03b5, 0x2229,
    0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248,
    0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x00a0,
};

static void term_put(Term *t, const void *bytes, size_t count) {
    if (t->out_count + count > t->out_room) {
        t->out_room = (t->out_count + count) * 2;
        t->out = mem_resize(t->out, t->out_room);
    }
    memcpy(t->out + t->out_count, bytes, count);
    t->out_count += count;
}

static __attribute__((format(printf, 2, 3))) void term_printf(Term *t, const char *fmt, ...) {
    char text[128];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n > 0) term_put(t, text, min_u32((u32)n, sizeof(text) - 1));
}

static void term_put_character(Term *t, u8 c) {
    unsigned u = c < 0x20 ? term_low[c] : c < 0x7f ? c : c == 0x7f ? 0x2302 : term_high[c - 0x80];
    if (u < 0x80) term_put(t, &(char){ (char)u }, 1);
    else if (u < 0x800) term_put(t, (char[]){ (char)(0xc0 | u >> 6), (char)(0x80 | (u & 63)) }, 2);
    else term_put(t, (char[]){ (char)(0xe0 | u >> 12), (char)(0x80 | (u >> 6 & 63)),
                               (char)(0x80 | (u & 63)) }, 3);
}

// Attribute: the VGA counts blue-green-red, the terminal red-green-blue.
static void term_put_pen(Term *t, u8 attribute, bool blink) {
    static const u8 ansi[8] = { 0, 4, 2, 6, 1, 5, 3, 7 };
    if (t->pen == (attribute | blink << 8)) return;
    t->pen = attribute | blink << 8;
    bool blinks = blink && (attribute & 0x80), bright = !blink && (attribute & 0x80);
    int fore = (attribute & 8 ? 90 : 30) + ansi[attribute & 7];
    int back = (bright ? 100 : 40) + ansi[attribute >> 4 & 7];
    term_printf(t, "\033[0;%s%d;%dm", blinks ? "5;" : "", fore, back);
}

static void term_flush(Term *t) {
    for (size_t at = 0; at < t->out_count && !atomic_load(&t->stopping);) {
        struct pollfd p = { 1, POLLOUT, 0 };
        if (poll(&p, 1, 100) <= 0) continue;
        ssize_t n = write(1, t->out + at, min_u64(t->out_count - at, 1024));
        if (n < 0 && errno != EINTR && errno != EAGAIN) break;
        if (n > 0) at += (size_t)n;
    }
    t->out_count = 0;
}

// Notices a new size of the terminal, which then is drawn anew.
static void term_check_size(Term *t) {
    struct winsize w;
    unsigned columns = 80, rows = 24;
    if (!ioctl(1, TIOCGWINSZ, &w) && w.ws_col && w.ws_row) {
        columns = w.ws_col;
        rows = w.ws_row;
    }
    if (columns == t->columns && rows == t->rows && t->drawn) return;
    t->columns = columns;
    t->rows = rows;
    t->drawn = mem_resize(t->drawn, (size_t)columns * rows * sizeof(u32));
    memset(t->drawn, 0xff, (size_t)columns * rows * sizeof(u32));
    t->pen = -1;
    term_printf(t, "\033[0m\033[2J");
}

// What a place of the terminal shows; `top` is the text row in its first line.
static u32 term_cell(const Term *t, unsigned column, unsigned row, unsigned top) {
    const VgaText *s = &t->text;
    if (column >= s->columns || row + top >= s->rows) return ' ' | 0x07 << 8;
    const VgaCell *cell = &s->cells[(row + top) * s->columns + column];
    return cell->character | (u32)cell->attribute << 8 | (u32)s->blink << 16;
}

static void term_draw_text(Term *t) {
    const VgaText *s = &t->text;
    // On a terminal with too few lines the cursor's line stays in view.
    unsigned top = s->cursor_visible && s->cursor_row >= t->rows ? s->cursor_row - t->rows + 1 : 0;
    term_printf(t, "\033[?25l");
    size_t nothing = t->out_count;
    for (unsigned row = 0; row < t->rows; row++) {
        unsigned at = UINT32_MAX;                  // column where the terminal's cursor is
        for (unsigned column = 0; column < t->columns; column++) {
            u32 cell = term_cell(t, column, row, top);
            u32 *drawn = &t->drawn[row * t->columns + column];
            if (*drawn == cell) continue;
            *drawn = cell;
            if (at != column) term_printf(t, "\033[%u;%uH", row + 1, column + 1);
            term_put_pen(t, (u8)(cell >> 8), cell >> 16);
            term_put_character(t, (u8)cell);
            at = column + 1;
        }
    }
    bool visible = s->cursor_visible && s->cursor_column < t->columns;
    u32 cursor = visible ? (s->cursor_row - top + 1) << 16 | (s->cursor_column + 1) : 0;
    if (t->out_count == nothing && cursor == t->cursor) {
        t->out_count = 0;                          // spare the terminal a flickering cursor
        return;
    }
    t->cursor = cursor;
    if (visible) term_printf(t, "\033[%u;%uH\033[?25h", cursor >> 16, cursor & 0xffff);
}

static void term_draw_notice(Term *t) {
    static const char notice[] = "The guest shows graphics: use -vnc to see them. Ctrl-a x ends.";
    if (t->pen == -2) return;                      // it is there already
    term_printf(t, "\033[0m\033[2J\033[?25l\033[1;1H%.*s", (int)t->columns, notice);
    memset(t->drawn, 0xff, (size_t)t->columns * t->rows * sizeof(u32));
    t->pen = -2;
}

static void term_draw(Term *t) {
    term_check_size(t);
    if (t->is_text && t->pen == -2) term_printf(t, "\033[0m\033[2J");
    if (t->is_text) term_draw_text(t);
    else term_draw_notice(t);
    term_flush(t);
}

// ---- keys ---------------------------------------------------------------------------------------

static void term_key(Term *t, u32 keysym, unsigned mods) {
    static const struct { unsigned mod; u32 keysym; } row[] = {
        { MOD_CONTROL, SYM_CONTROL }, { MOD_ALT, SYM_ALT }, { MOD_SHIFT, SYM_SHIFT },
    };
    for (unsigned i = 0; i < ARRAY_LEN(row); i++)
        if (mods & row[i].mod) keyq_keysym(t->keys, &t->syms, row[i].keysym, true);
    keyq_keysym(t->keys, &t->syms, keysym, true);
    keyq_keysym(t->keys, &t->syms, keysym, false);
    for (unsigned i = ARRAY_LEN(row); i--;)
        if (mods & row[i].mod) keyq_keysym(t->keys, &t->syms, row[i].keysym, false);
}

// A byte that is a key of its own.
static void term_byte(Term *t, u8 byte, unsigned mods) {
    if (byte == '\r' || byte == '\n') term_key(t, SYM_RETURN, mods);
    else if (byte == '\t') term_key(t, SYM_TAB, mods);
    else if (byte == 0x7f || byte == 8) term_key(t, SYM_BACKSPACE, mods);
    else if (byte == 0x1b) term_key(t, SYM_ESCAPE, mods);
    else if (byte == 0) term_key(t, ' ', mods | MOD_CONTROL);
    else if (byte < 0x1b) term_key(t, byte + 0x60u, mods | MOD_CONTROL);
    else if (byte < 0x20) term_key(t, byte + 0x40u, mods | MOD_CONTROL);
    else term_key(t, byte, mods);
}

static u32 term_letter_key(u8 letter) {
    static const char letters[] = "ABCDHFPQRS";
    static const u32 keysyms[] = {
        SYM_UP, SYM_DOWN, SYM_RIGHT, SYM_LEFT, SYM_HOME, SYM_END,
        SYM_F1, SYM_F1 + 1, SYM_F1 + 2, SYM_F1 + 3,
    };
    const char *at = letter ? strchr(letters, letter) : NULL;
    return at ? keysyms[at - letters] : 0;
}

static u32 term_number_key(unsigned n) {
    static const u32 low[9] = {
        0, SYM_HOME, SYM_INSERT, SYM_DELETE, SYM_END, SYM_PAGE_UP, SYM_PAGE_DOWN, SYM_HOME, SYM_END,
    };
    if (n < ARRAY_LEN(low)) return low[n];
    if (n >= 11 && n <= 15) return SYM_F1 + n - 11;
    if (n >= 17 && n <= 21) return SYM_F1 + 5 + n - 17;
    if (n == 23 || n == 24) return SYM_F1 + 10 + n - 23;
    return 0;
}

// ESC [ parameters final, `count` bytes in all, complete.
static void term_csi(Term *t, const u8 *bytes, unsigned count) {
    unsigned parameter[2] = { 0, 0 }, n = 0;
    for (unsigned i = 2; i + 1 < count; i++) {
        if (bytes[i] == ';') n++;
        else if (bytes[i] >= '0' && bytes[i] <= '9' && n < 2)
            parameter[n] = parameter[n] % 1000 * 10 + bytes[i] - '0';
    }
    u8 final = bytes[count - 1];
    unsigned mods = parameter[1] ? (parameter[1] - 1) & 7 : 0;
    u32 keysym = final == '~' ? term_number_key(parameter[0]) : term_letter_key(final);
    if (final == 'Z') term_key(t, SYM_TAB, MOD_SHIFT);
    else if (keysym) term_key(t, keysym, mods);
}

// Bytes of the sequence at the start of the input: 0 if it is not complete, else taken care of.
static unsigned term_sequence(Term *t, const u8 *b, unsigned count) {
    if (count < 2) return 0;
    if (b[1] == 'O') {                             // ESC O letter
        if (count < 3) return 0;
        u32 keysym = term_letter_key(b[2]);
        if (keysym) term_key(t, keysym, 0);
        return 3;
    }
    if (b[1] != '[') {
        term_byte(t, b[1], MOD_ALT);
        return 2;
    }
    if (count > 2 && b[2] == '[') {                // the Linux console's F1 to F5
        if (count < 4) return 0;
        if (b[3] >= 'A' && b[3] <= 'E') term_key(t, SYM_F1 + b[3] - 'A', 0);
        return 4;
    }
    for (unsigned i = 2; i < count; i++) {
        if (b[i] < 0x40) continue;
        term_csi(t, b, i + 1);
        return i + 1;
    }
    return count == sizeof(t->pending) ? count : 0;
}

static unsigned term_utf8(Term *t, const u8 *b, unsigned count) {
    unsigned length = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : b[0] >= 0xc0 ? 2 : 1;
    if (count < length) return 0;
    if (length == 2) term_key(t, (b[0] & 31u) << 6 | (b[1] & 63), 0);    // Latin 1 is its keysym
    return length;
}

// Takes care of the first key of the input; 0: it is not complete.
static unsigned term_first(Term *t, const u8 *b, unsigned count) {
    if (t->prefix) {
        t->prefix = false;
        if (b[0] == 'x') bus_request_exit(t->bus, 0);
        else if (b[0] == 1 || b[0] == 'a') term_byte(t, 1, 0);
        return 1;
    }
    if (b[0] == 1) t->prefix = true;
    else if (b[0] == 0x1b) return term_sequence(t, b, count);
    else if (b[0] >= 0x80) return term_utf8(t, b, count);
    else term_byte(t, b[0], 0);
    return 1;
}

static void term_parse(Term *t) {
    unsigned at = 0;
    while (at < t->pending_count) {
        unsigned n = term_first(t, t->pending + at, t->pending_count - at);
        if (!n) break;
        at += n;
    }
    t->pending_count -= at;
    memmove(t->pending, t->pending + at, t->pending_count);
}

// Nothing came after an incomplete sequence: its bytes were keys.
static void term_give_up(Term *t) {
    for (unsigned i = 0; i < t->pending_count; i++) term_byte(t, t->pending[i], 0);
    t->pending_count = 0;
}

// False: the terminal has ended.
static bool term_read(Term *t) {
    unsigned room = (unsigned)sizeof(t->pending) - t->pending_count;
    ssize_t n = read(0, t->pending + t->pending_count, room);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (n <= 0) return false;
    t->pending_count += (unsigned)n;
    term_parse(t);
    return true;
}

// ---- the thread ---------------------------------------------------------------------------------

// The errand.
static void term_look(void *arg) {
    Term *t = arg;
    t->is_text = vga_text(t->vga, &t->text);
    atomic_store(&t->text_busy, false);
    ssize_t ignored = write(t->wake_fd, &(u64){ 1 }, sizeof(u64));
    (void)ignored;
}

static u64 term_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

static void *term_thread(void *arg) {
    Term *t = arg;
    u64 next_ms = 0, typed_ms = 0, count;
    bool open = true, asked = false;
    while (!atomic_load(&t->stopping)) {
        u64 now_ms = term_now_ms();
        if (asked && !atomic_load(&t->text_busy)) {
            asked = false;
            term_draw(t);
        }
        if (!asked && now_ms >= next_ms) {
            next_ms = now_ms + TERM_FRAME_MS;
            asked = true;
            atomic_store(&t->text_busy, true);
            errand_post(t->errand);
        }
        if (t->pending_count && now_ms - typed_ms >= TERM_ESCAPE_MS) term_give_up(t);
        struct pollfd p[2] = { { t->wake_fd, POLLIN, 0 }, { open ? 0 : -1, POLLIN, 0 } };
        int wait_ms = next_ms > now_ms ? (int)(next_ms - now_ms) : TERM_FRAME_MS;
        if (poll(p, 2, wait_ms) <= 0) continue;
        if (p[0].revents && read(t->wake_fd, &count, sizeof(count)) < 0) continue;
        if (p[1].revents) open = term_read(t);
        if (p[1].revents) typed_ms = term_now_ms();
    }
    return NULL;
}

static void term_take_over(Term *t) {
    struct termios raw = t->before;
    cfmakeraw(&raw);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(0, TCSANOW, &raw);
    term_write(term_enter, sizeof(term_enter) - 1);
}

void term_restore(Term *t) {
    term_write(term_leave, sizeof(term_leave) - 1);
    tcsetattr(0, TCSANOW, &t->before);
}

static void term_free(Term *t) {
    errand_free(t->errand);
    keyq_free(t->keys);
    if (t->wake_fd >= 0) close(t->wake_fd);
    vga_text_free(&t->text);
    free(t->drawn);
    free(t->out);
    free(t);
}

Term *term_start(Bus *bus, Vga *vga, Kbd *kbd, char **err) {
    *err = NULL;
    if (!isatty(0) || !isatty(1)) {
        *err = mem_strdup("stdin and stdout are not a terminal");
        return NULL;
    }
    Term *t = mem_new(sizeof(*t));
    t->bus = bus;
    t->vga = vga;
    t->pen = -1;
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    t->keys = keyq_new(bus, kbd);
    t->errand = errand_new(bus, term_look, t);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);   // signals are for the machine's thread
    bool ok = t->wake_fd >= 0 && !tcgetattr(0, &t->before);
    if (ok) {
        term_take_over(t);
        ok = !pthread_create(&t->thread, NULL, term_thread, t);
        if (!ok) term_restore(t);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ok) return t;
    *err = mem_strdup("cannot start a thread");
    term_free(t);
    return NULL;
}

void term_stop(Term *t) {
    if (!t) return;
    atomic_store(&t->stopping, true);
    ssize_t ignored = write(t->wake_fd, &(u64){ 1 }, sizeof(u64));
    (void)ignored;
    pthread_join(t->thread, NULL);
    term_restore(t);
    term_free(t);
}
