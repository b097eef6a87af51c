// SPDX-License-Identifier: MIT
// The assembly half of the events (entries.S): handlers, ring 3; and the selectors that both halves use.
#ifndef BENCH_ENTRIES_H
#define BENCH_ENTRIES_H

#define ENTRY_CODE 0x08
#define ENTRY_DATA 0x10
#define ENTRY_USER_CODE 0x1b
#define ENTRY_USER_DATA 0x23
#define ENTRY_BASED 0x2b
#define ENTRY_TSS 0x30
#define ENTRY_DESCRIPTORS 7

#define ENTRY_VECTOR_PLAIN 0x30
#define ENTRY_VECTOR_SAVING 0x31
#define ENTRY_VECTOR_BACK 0x32

#ifndef __ASSEMBLER__
#include <stdint.h>

extern const uint8_t entry_plain[], entry_saving[], entry_back[], entry_sysenter[], entry_fault[];

// What entry_user runs in ring 3.
extern const uint8_t entry_user_plain[], entry_user_saving[], entry_user_sysenter[];

// Runs one of them `iterations` times; returns 0.
uint32_t entry_user(uint32_t iterations, const uint8_t *what);

// Loads every segment register from the new table.
void entry_load_segments(void);
#endif

#endif
