// SPDX-License-Identifier: MIT
// Arena: memory for one translation. Allocation is a pointer bump; everything is freed at once.
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/base.h"

typedef struct Arena {
    u8 *next, *end;            // what is free of the newest chunk; next is a multiple of ARENA_ALIGN
    struct ArenaChunk *chunk;  // the newest; its `next` are the full ones
    struct ArenaChunk *spare;  // emptied by arena_reset
    size_t chunk_bytes;        // size of an ordinary chunk
} Arena;
enum { ARENA_ALIGN = 16 };

#define ARENA_HUGE_CHUNK (MEM_HUGE_BYTES - 16)     // a chunk of this fills a huge page
Arena *arena_new(size_t chunk_bytes);
void arena_free(Arena *a);
void arena_reset(Arena *a);                        // frees all allocations, keeps the memory
void *arena_alloc_chunk(Arena *a, size_t bytes);   // of arena_alloc(): where the newest chunk has no room
static inline void *arena_alloc(Arena *a, size_t bytes) {          // 16-byte aligned, not zeroed
    u8 *p = a->next;
    if (__builtin_expect(bytes > (size_t)(a->end - p), 0)) return arena_alloc_chunk(a, bytes);
    a->next = p + ((bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1));
    return p;
}

#endif
