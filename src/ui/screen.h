// SPDX-License-Identifier: MIT
// Screen dumps: the present picture as a PPM (P6) or PNG file.
#ifndef UI_SCREEN_H
#define UI_SCREEN_H

#include "dev/vga.h"

// Machine thread. Writes the screen to `path`. 0, or -1 with errno set (no half file is left
// behind).
int screen_dump(Vga *vga, const char *path, bool png);

// The same for any frame; any thread.
int screen_write(const VgaFrame *frame, const char *path, bool png);

#endif
