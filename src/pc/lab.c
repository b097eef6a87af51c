// SPDX-License-Identifier: MIT
// The floppy built into the binary by lab.S.
#include "pc/lab.h"

extern const u8 lab_floppy_start[] __attribute__((visibility("hidden")));
extern const u8 lab_floppy_end[] __attribute__((visibility("hidden")));

const void *lab_floppy(void) { return lab_floppy_start; }
size_t lab_floppy_bytes(void) { return (size_t)(lab_floppy_end - lab_floppy_start); }
