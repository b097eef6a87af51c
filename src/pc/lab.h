// SPDX-License-Identifier: MIT
// The page-fault lab (guest/lab) built into the binary: a floppy of 1.44 MB.
#ifndef PC_LAB_H
#define PC_LAB_H

#include "base/base.h"

const void *lab_floppy(void);
size_t lab_floppy_bytes(void);

#endif
