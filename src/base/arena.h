// SPDX-License-Identifier: MIT
// Arena: memory for one translation. Allocation is a pointer bump; everything is freed at once.
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/base.h"

typedef struct Arena Arena;

#define ARENA_HUGE_CHUNK (MEM_HUGE_BYTES - 32)     // a chunk of this fills a huge page
Arena *arena_new(size_t chunk_bytes);
void arena_free(Arena *a);
void arena_reset(Arena *a);                        // frees all allocations, keeps the memory
void *arena_alloc(Arena *a, size_t bytes);         // 16-byte aligned, not zeroed

#endif
