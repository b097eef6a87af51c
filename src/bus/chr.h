// SPDX-License-Identifier: MIT
// A character output: where a serial port or a debug port sends its bytes. Zero = nowhere.
#ifndef BUS_CHR_H
#define BUS_CHR_H

#include "base/base.h"

typedef struct CharOut {
    void (*put)(void *self, u8 byte);      // called on the machine thread; must not block for long
    void *self;
} CharOut;

static inline void char_put(const CharOut *out, u8 byte) { if (out->put) out->put(out->self, byte); }

#endif
