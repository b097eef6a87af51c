// SPDX-License-Identifier: MIT
// Packs 64 KiB of made-up prose in the manner of LZSS (hash of three bytes, chains of earlier
// places, greedy choice), unpacks it again and compares.

#include "program.h"

enum {
    LZ_BYTES = 65536, LZ_HASHES = 4096, LZ_WINDOW = 32768, LZ_CHAIN = 16,
    LZ_SHORTEST = 4, LZ_LONGEST = 67,
    LZ_NONE = 0xffffffff,
};
static uint8_t prose[LZ_BYTES + LZ_LONGEST], packed[LZ_BYTES * 2], unpacked[LZ_BYTES];
static uint32_t newest[LZ_HASHES], older[LZ_BYTES];

static void prose_fill(uint32_t *seed)
{
    static const char words[16][8] = {
        "the ", "quick ", "brown ", "fox ", "jumps ", "over ", "lazy ", "dog ",
        "and ", "then ", "sleeps ", "under ", "a ", "tree ", "until ", "dawn.\n",
    };
    for (uint32_t at = 0; at < LZ_BYTES;) {
        uint32_t r = rand_next(seed) >> 16;
        for (const char *w = words[r & 15]; *w && at < LZ_BYTES; w++)
            prose[at++] = (uint8_t)*w;
        if ((r >> 4 & 7) == 0 && at < LZ_BYTES)
            prose[at++] = (uint8_t)('0' + (r >> 8) % 10);
    }
}

static inline uint32_t lz_hash(const uint8_t *p)
{
    return (p[0] << 8 ^ p[1] << 4 ^ p[2]) & (LZ_HASHES - 1);
}

static NOINLINE uint32_t match_length(const uint8_t *a, const uint8_t *b)
{
    uint32_t length = 0;
    while (length < LZ_LONGEST && a[length] == b[length])
        length++;
    return length;
}

// The longest match of the bytes at `at` with earlier ones: its length; *where gets its place.
static NOINLINE uint32_t match_find(uint32_t at, uint32_t *where)
{
    uint32_t best = 0, place = newest[lz_hash(prose + at)];
    for (int tries = LZ_CHAIN; tries && place != LZ_NONE && at - place < LZ_WINDOW; tries--) {
        if (prose[place + best] == prose[at + best]) {
            uint32_t length = match_length(prose + place, prose + at);
            if (length > best) {
                best = length;
                *where = place;
            }
            if (best == LZ_LONGEST)
                break;
        }
        place = older[place];
    }
    return best < LZ_BYTES - at ? best : LZ_BYTES - at;
}

static inline void place_add(uint32_t at)
{
    uint32_t *first = &newest[lz_hash(prose + at)];
    older[at] = *first;
    *first = at;
}

static NOINLINE uint32_t lz_pack(void)
{
    uint8_t *out = packed;
    memset(newest, 255, sizeof newest);
    for (uint32_t at = 0; at < LZ_BYTES;) {
        uint32_t where = 0, length = match_find(at, &where), distance = at - where;
        if (length >= LZ_SHORTEST) {
            *out++ = (uint8_t)(128 | (length - LZ_SHORTEST));
            *out++ = (uint8_t)distance;
            *out++ = (uint8_t)(distance >> 8);
        } else {
            *out++ = prose[at];
            length = 1;
        }
        while (length--)
            place_add(at++);
    }
    return (uint32_t)(out - packed);
}

static NOINLINE uint32_t lz_unpack(uint32_t packed_bytes)
{
    uint8_t *to = unpacked;
    const uint8_t *from = packed, *end = packed + packed_bytes;
    while (from < end) {
        uint32_t token = *from++;
        if (token < 128) {
            *to++ = (uint8_t)token;
            continue;
        }
        const uint8_t *copy = to - (from[0] | from[1] << 8);
        from += 2;
        for (uint32_t length = (token & 127) + LZ_SHORTEST; length; length--)
            *to++ = *copy++;
    }
    return (uint32_t)(to - unpacked);
}

uint32_t bench_lz(uint32_t iterations)
{
    uint32_t sum = 0, seed = 7;
    for (uint32_t round = 0; round < iterations; round++) {
        prose_fill(&seed);
        uint32_t packed_bytes = lz_pack();
        uint32_t bytes = lz_unpack(packed_bytes);
        sum = sum_add(sum, packed_bytes);
        sum += bytes != LZ_BYTES || memcmp(prose, unpacked, LZ_BYTES) != 0;
    }
    return sum;
}
