// SPDX-License-Identifier: MIT
// Arena: a list of chunks, the newest being filled from its low end.
//
// Invariants: `chunk` is never NULL; offsets are multiples of 16; a request larger than the chunk
// size gets a chunk of its own. arena_reset keeps the chunks in `spare`, so that an arena that is
// used again and again stops calling malloc.
#include "base/arena.h"

#include <stdlib.h>

typedef struct ArenaChunk {
    struct ArenaChunk *next;   // older (in use) or next spare chunk
    size_t size_bytes;         // of data: a multiple of ARENA_ALIGN
    _Alignas(ARENA_ALIGN) u8 data[];
} ArenaChunk;
_Static_assert(ARENA_HUGE_CHUNK + sizeof(ArenaChunk) == MEM_HUGE_BYTES, "a chunk and its head");

static ArenaChunk *arena_chunk_new(size_t size_bytes) {
    size_bytes = (size_bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    size_t bytes = sizeof(ArenaChunk) + size_bytes;
    ArenaChunk *c = bytes >= MEM_HUGE_BYTES ? mem_new_huge(bytes) : mem_resize(NULL, bytes);
    *c = (ArenaChunk){ .size_bytes = size_bytes };
    return c;
}

static void arena_chunks_free(ArenaChunk *c) {
    while (c) {
        ArenaChunk *next = c->next;
        free(c);
        c = next;
    }
}

// Goes on in chunk c.
static void arena_use(Arena *a, ArenaChunk *c) {
    a->chunk = c;
    a->next = c->data;
    a->end = c->data + c->size_bytes;
}

Arena *arena_new(size_t chunk_bytes) {
    Arena *a = mem_new(sizeof(Arena));
    a->chunk_bytes = chunk_bytes < 256 ? 256 : chunk_bytes;
    arena_use(a, arena_chunk_new(a->chunk_bytes));
    return a;
}

void arena_free(Arena *a) {
    if (!a) return;
    arena_chunks_free(a->chunk);
    arena_chunks_free(a->spare);
    free(a);
}

void arena_reset(Arena *a) {
    ArenaChunk *older = a->chunk->next;
    while (older) {
        ArenaChunk *next = older->next;
        older->next = a->spare;
        a->spare = older;
        older = next;
    }
    a->chunk->next = NULL;
    arena_use(a, a->chunk);
}

// Takes the first spare chunk that is large enough, or makes one.
static ArenaChunk *arena_chunk_take(Arena *a, size_t bytes) {
    for (ArenaChunk **at = &a->spare; *at; at = &(*at)->next) {
        ArenaChunk *c = *at;
        if (c->size_bytes < bytes) continue;
        *at = c->next;
        return c;
    }
    return arena_chunk_new(bytes > a->chunk_bytes ? bytes : a->chunk_bytes);
}

void *arena_alloc_chunk(Arena *a, size_t bytes) {
    require(bytes <= SIZE_MAX / 2);
    ArenaChunk *c = arena_chunk_take(a, bytes);
    c->next = a->chunk;
    arena_use(a, c);
    return arena_alloc(a, bytes);
}
