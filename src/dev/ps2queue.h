// SPDX-License-Identifier: MIT
// Byte queue inside a PS/2 device. Power-of-two size; the owner checks for room before it puts.
#ifndef DEV_PS2QUEUE_H
#define DEV_PS2QUEUE_H

#include "base/base.h"

#define PS2_QUEUE_BYTES 256u

typedef struct Ps2Queue {
    u8 data[PS2_QUEUE_BYTES];
    u16 head;                  // index of the oldest byte
    u16 count;                 // bytes held
} Ps2Queue;

static inline unsigned ps2queue_room(const Ps2Queue *q) { return PS2_QUEUE_BYTES - q->count; }

static inline void ps2queue_clear(Ps2Queue *q) { q->head = 0; q->count = 0; }

static inline void ps2queue_put(Ps2Queue *q, u8 byte) {
    if (q->count == PS2_QUEUE_BYTES) return;
    q->data[(q->head + q->count++) % PS2_QUEUE_BYTES] = byte;
}

static inline u8 ps2queue_take(Ps2Queue *q) {
    u8 byte = q->data[q->head];
    q->head = (u16)((q->head + 1u) % PS2_QUEUE_BYTES);
    q->count--;
    return byte;
}

// Rows of a device's field table for a queue member `m` of device type T.
#define PS2_QUEUE_FIELDS(T, m) \
    FIELD_ARRAY(T, m.data, FIELD_BYTES, 0), \
    FIELD(T, m.head, FIELD_UINT, 0), \
    FIELD(T, m.count, FIELD_UINT, 0)

#endif
