// SPDX-License-Identifier: MIT
// What modes.c and loops.S agree on: selectors, vectors, places.
#define LOOPS_CODE16_AT 0x20000         // the 16-bit code is copied there; real mode's segment is a sixteenth of it
#define LOOPS_DATA_AT 0x30000           // 64 KiB for the loops' data and 16-bit stack
#define LOOPS_CODE 0x08
#define LOOPS_DATA 0x10
#define LOOPS_CODE3 0x1b
#define LOOPS_DATA3 0x23
#define LOOPS_TSS 0x28
#define LOOPS_CODE16 0x30
#define LOOPS_DATA16 0x38
#define LOOPS_SELECTORS 8
#define LOOPS_BACK_VECTOR 0x40          // INT: from CPL 3 back to the caller
#define LOOPS_SI 0x1000                 // offsets of the loops' data
#define LOOPS_DI 0x2440
#define LOOPS_SP 0xfff0
