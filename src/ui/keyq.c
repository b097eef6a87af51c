// SPDX-License-Identifier: MIT
// Key queue. The rings are shared and guarded by the lock; the timer and the chip belong to the
// machine's thread.
#include "ui/keyq.h"

#include "dev/keys.h"
#include "ui/errand.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define KEYQ_KEYS 4096u        // key movements that can wait: about a page of text
#define KEYQ_MOVES 64u         // mouse movements with different buttons
#define KEYQ_PACE_NS 6000000u  // guest time between two key movements

enum { KEY_SHIFT_LEFT = 0x2a, KEY_SHIFT_RIGHT = 0x36, KEY_CAPS_LOCK = 0x3a };

typedef struct Move { int dx, dy, dz; unsigned buttons; } Move;

struct KeyQueue {
    Bus *bus;
    Kbd *kbd;
    Errand *errand;
    Timer *timer;
    u64 next_ns;               // no key before this guest time
    pthread_mutex_t lock;      // guards what follows
    u16 keys[KEYQ_KEYS];       // code, with bit 15 for "down"
    unsigned key_head, key_count;
    Move moves[KEYQ_MOVES];
    unsigned move_count;
};

static bool keyq_take_key(KeyQueue *q, u16 *key) {
    pthread_mutex_lock(&q->lock);
    bool any = q->key_count != 0;
    if (any) {
        *key = q->keys[q->key_head];
        q->key_head = (q->key_head + 1) % KEYQ_KEYS;
        q->key_count--;
    }
    pthread_mutex_unlock(&q->lock);
    return any;
}

static void keyq_pump_keys(void *arg) {
    KeyQueue *q = arg;
    if (bus_timer_armed(q->timer)) return;
    u64 now_ns = bus_now_ns(q->bus);
    if (now_ns < q->next_ns && q->next_ns - now_ns <= KEYQ_PACE_NS) {
        bus_timer_at(q->timer, q->next_ns);
        return;
    }
    u16 key;
    if (!keyq_take_key(q, &key)) return;
    kbd_key(q->kbd, key & 0x7fff, key >> 15);
    q->next_ns = now_ns + KEYQ_PACE_NS;
    bus_timer_at(q->timer, q->next_ns);
}

static void keyq_run(void *arg) {
    KeyQueue *q = arg;
    Move moves[KEYQ_MOVES];
    pthread_mutex_lock(&q->lock);
    unsigned count = q->move_count;
    memcpy(moves, q->moves, count * sizeof(Move));
    q->move_count = 0;
    pthread_mutex_unlock(&q->lock);
    for (unsigned i = 0; i < count; i++)
        kbd_mouse(q->kbd, moves[i].dx, moves[i].dy, moves[i].dz, moves[i].buttons);
    keyq_pump_keys(q);
}

KeyQueue *keyq_new(Bus *bus, Kbd *kbd) {
    KeyQueue *q = mem_new(sizeof(*q));
    q->bus = bus;
    q->kbd = kbd;
    q->errand = errand_new(bus, keyq_run, q);
    q->timer = bus_timer_new(bus, "key queue", keyq_pump_keys, q);
    pthread_mutex_init(&q->lock, NULL);
    return q;
}

void keyq_free(KeyQueue *q) {
    if (!q) return;
    bus_timer_stop(q->timer);
    errand_free(q->errand);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

void keyq_key(KeyQueue *q, unsigned code, bool down) {
    pthread_mutex_lock(&q->lock);
    // A key goes down only while its release will surely find room.
    if (q->key_count < KEYQ_KEYS / (down ? 2 : 1)) {
        q->keys[(q->key_head + q->key_count) % KEYQ_KEYS] = (u16)(code | (down ? 0x8000 : 0));
        q->key_count++;
    }
    pthread_mutex_unlock(&q->lock);
    errand_post(q->errand);
}

void keyq_mouse(KeyQueue *q, int dx, int dy, int dz, unsigned buttons) {
    pthread_mutex_lock(&q->lock);
    Move *last = q->move_count ? &q->moves[q->move_count - 1] : NULL;
    if (last && (last->buttons == buttons || q->move_count == KEYQ_MOVES)) {
        last->dx += dx;
        last->dy += dy;
        last->dz += dz;
        last->buttons = buttons;
    } else {
        q->moves[q->move_count++] = (Move){ dx, dy, dz, buttons };
    }
    pthread_mutex_unlock(&q->lock);
    errand_post(q->errand);
}

// ---- keysyms ------------------------------------------------------------------------------------

static bool keysym_held(const KeySyms *s, unsigned code) {
    for (unsigned i = 0; i < KEYSYMS_HELD; i++)
        if (s->held[i].code == code) return true;
    return false;
}

static bool keysym_is_letter(u32 keysym) {
    return (keysym >= 'a' && keysym <= 'z') || (keysym >= 'A' && keysym <= 'Z');
}

static bool keysym_is_character(u32 keysym) {
    return (keysym > 0x20 && keysym < 0x7f) || (keysym > 0xa0 && keysym < 0x100);
}

static void keysym_set_held(KeySyms *s, u32 keysym, unsigned code) {
    for (unsigned i = 0; i < KEYSYMS_HELD; i++)
        if (s->held[i].code && s->held[i].keysym == keysym) return;
    for (unsigned i = 0; i < KEYSYMS_HELD; i++) {
        if (s->held[i].code) continue;
        s->held[i].keysym = keysym;
        s->held[i].code = (u16)code;
        return;
    }
}

static void keysym_up(KeyQueue *q, KeySyms *s, u32 keysym, unsigned code) {
    for (unsigned i = 0; i < KEYSYMS_HELD; i++) {
        if (!s->held[i].code || s->held[i].keysym != keysym) continue;
        code = s->held[i].code;
        s->held[i].code = 0;
    }
    keyq_key(q, code, false);
}

// A character wants Shift in a certain state; the viewer's keyboard may have another layout than
// the guest's, so Shift is put right around the key.
static void keysym_down(KeyQueue *q, KeySyms *s, u32 keysym, unsigned code, bool wants_shift) {
    bool left = keysym_held(s, KEY_SHIFT_LEFT), right = keysym_held(s, KEY_SHIFT_RIGHT);
    if (s->caps_lock && keysym_is_letter(keysym)) wants_shift = !wants_shift;
    bool press = wants_shift && !left && !right;
    bool lift = !wants_shift && keysym_is_character(keysym);
    if (press) keyq_key(q, KEY_SHIFT_LEFT, true);
    if (lift && left) keyq_key(q, KEY_SHIFT_LEFT, false);
    if (lift && right) keyq_key(q, KEY_SHIFT_RIGHT, false);
    keyq_key(q, code, true);
    if (press) keyq_key(q, KEY_SHIFT_LEFT, false);
    if (lift && left) keyq_key(q, KEY_SHIFT_LEFT, true);
    if (lift && right) keyq_key(q, KEY_SHIFT_RIGHT, true);
    keysym_set_held(s, keysym, code);
}

void keyq_keysym(KeyQueue *q, KeySyms *s, u32 keysym, bool down) {
    bool needs_shift = false;
    int code = key_by_keysym(keysym, &needs_shift);
    if (code <= 0) return;
    if (down && code == KEY_CAPS_LOCK && !keysym_held(s, KEY_CAPS_LOCK))
        s->caps_lock = !s->caps_lock;
    if (down) keysym_down(q, s, keysym, (unsigned)code, needs_shift);
    else keysym_up(q, s, keysym, (unsigned)code);
}

void keyq_release_all(KeyQueue *q, KeySyms *s) {
    for (unsigned i = 0; i < KEYSYMS_HELD; i++)
        if (s->held[i].code) keyq_key(q, s->held[i].code, false);
    memset(s->held, 0, sizeof(s->held));
}
