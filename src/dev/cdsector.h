// SPDX-License-Identifier: MIT
// The raw form of a CD's data sectors (ECMA-130, chapters 14 and 20, annex A), made from their 2048
// bytes:
//
//     | sync 12 | minute second frame mode | user data 2048 | EDC 4 | zero 8 | P 172 | Q 104 |
#ifndef DEV_CDSECTOR_H
#define DEV_CDSECTOR_H

#include "base/base.h"

enum { CDSECTOR_SYNC = 1, CDSECTOR_HEADER = 2, CDSECTOR_USER = 4, CDSECTOR_CHECK = 8,
       CDSECTOR_ALL = 15 };

u32 cdsector_bytes(unsigned parts);            // size of these parts together
// Writes the wanted parts of a block to `to`; their size.
u32 cdsector_make(u32 block, const u8 user[2048], unsigned parts, u8 *to);

#endif
