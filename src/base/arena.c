// SPDX-License-Identifier: MIT
// Arena: a list of chunks, the newest being filled from its low end.
//
// Invariants: `chunk` is never NULL; offsets are multiples of 16; a request larger than the chunk
// size gets a chunk of its own. arena_reset keeps the chunks in `spare`, so that an arena that is
// used again and again stops calling malloc.
#include "base/arena.h"

#include <stdlib.h>

enum { ARENA_ALIGN = 16 };

typedef struct ArenaChunk {
    struct ArenaChunk *next;   // older (in use) or next spare chunk
    size_t size_bytes;         // of data
    size_t used_bytes;
    _Alignas(ARENA_ALIGN) u8 data[];
} ArenaChunk;
_Static_assert(ARENA_HUGE_CHUNK + sizeof(ArenaChunk) == MEM_HUGE_BYTES, "a chunk and its head");

struct Arena {
    ArenaChunk *chunk;         // being filled; its `next` are the full ones
    ArenaChunk *spare;         // emptied by arena_reset
    size_t chunk_bytes;        // size of an ordinary chunk
};

static ArenaChunk *arena_chunk_new(size_t size_bytes) {
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

Arena *arena_new(size_t chunk_bytes) {
    Arena *a = mem_new(sizeof(Arena));
    a->chunk_bytes = chunk_bytes < 256 ? 256 : chunk_bytes;
    a->chunk = arena_chunk_new(a->chunk_bytes);
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
    a->chunk->used_bytes = 0;
}

// Takes the first spare chunk that is large enough, or makes one.
static ArenaChunk *arena_chunk_take(Arena *a, size_t bytes) {
    for (ArenaChunk **at = &a->spare; *at; at = &(*at)->next) {
        ArenaChunk *c = *at;
        if (c->size_bytes < bytes) continue;
        *at = c->next;
        c->used_bytes = 0;
        return c;
    }
    return arena_chunk_new(bytes > a->chunk_bytes ? bytes : a->chunk_bytes);
}

void *arena_alloc(Arena *a, size_t bytes) {
    require(bytes <= SIZE_MAX / 2);
    bytes = (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    ArenaChunk *c = a->chunk;
    if (c->size_bytes - c->used_bytes < bytes) {
        c = arena_chunk_take(a, bytes);
        c->next = a->chunk;
        a->chunk = c;
    }
    void *p = c->data + c->used_bytes;
    c->used_bytes += bytes;
    return p;
}
