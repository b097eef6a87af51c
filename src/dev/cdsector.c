// SPDX-License-Identifier: MIT
// Raw mode 1 sectors, with their error detection and correction codes.
//
// Both correction codes are Reed-Solomon codes over GF(2^8) with x^8 + x^4 + x^3 + x^2 + 1, whose
// two check bytes a, b for bytes v0 .. v(n-1) satisfy
//     v0 + v1 + ... + a + b = 0      v0 * w^(n+1) + ... + v(n-1) * w^2 + a * w + b = 0
// P runs down the 86 columns of a table of 24 rows (bytes 12 .. 2075), Q along its diagonals.
#include "dev/cdsector.h"

#include <string.h>

#define RAW_BYTES 2352u
#define USER_AT 16u
#define USER_BYTES 2048u
#define EDC_AT 2064u
#define P_AT 2076u
#define Q_AT 2248u

static u8 ecc_times2(u8 v) { return (u8)(v << 1 ^ (v & 0x80 ? 0x1d : 0)); }

// Divides by w + 1: 0xf4 is its inverse, so that (w + 1) * 0xf4 = 1.
static u8 ecc_over3(u8 v) {
    u8 product = 0, factor = 0xf4;
    for (; factor; factor >>= 1, v = ecc_times2(v))
        if (factor & 1) product ^= v;
    return product;
}

// Check bytes of the vectors that start at each of `vectors` positions; `at(v, i)` is byte i of
// vector v in the table from byte 12 on.
static void ecc_make(u8 *raw, u32 vectors, u32 length, bool diagonal, u8 *to) {
    const u32 table = diagonal ? 2236 : 2064;  // bytes of the table
    for (u32 v = 0; v < vectors; v++) {
        // Two interleaved codes: even and odd bytes.
        u32 at = diagonal ? (v >> 1) * 86 + (v & 1) : v;
        u8 sum = 0, weighted = 0;
        for (u32 i = 0; i < length; i++) {
            u8 byte = raw[12 + at];
            sum ^= byte;
            weighted = ecc_times2(weighted ^ byte);
            at += diagonal ? 88 : 86;
            if (at >= table) at -= table;
        }
        // weighted = sum of v(i) * w^(n-i); the second condition then gives a.
        u8 a = ecc_over3(ecc_times2(weighted) ^ sum);
        to[v] = a;
        to[vectors + v] = a ^ sum;
    }
}

static u32 edc_of(const u8 *p, u32 bytes) {
    u32 edc = 0;
    while (bytes--) {
        edc ^= *p++;
        for (unsigned i = 0; i < 8; i++) edc = edc >> 1 ^ (edc & 1 ? 0xd8018001u : 0);
    }
    return edc;
}

static u8 bcd(u32 v) { return (u8)(v / 10 % 10 << 4 | v % 10); }

static void cdsector_raw(u32 block, const u8 *user, bool check, u8 *raw) {
    u32 frames = block + 150;
    memset(raw, 0xff, 12);
    raw[0] = raw[11] = 0;
    raw[12] = bcd(frames / 75 / 60);
    raw[13] = bcd(frames / 75 % 60);
    raw[14] = bcd(frames % 75);
    raw[15] = 1;
    memcpy(raw + USER_AT, user, USER_BYTES);
    if (!check) return;
    put_le32(raw + EDC_AT, edc_of(raw, EDC_AT));
    memset(raw + EDC_AT + 4, 0, 8);
    ecc_make(raw, 86, 24, false, raw + P_AT);
    ecc_make(raw, 52, 43, true, raw + Q_AT);
}

static const struct { u8 part; u16 at, bytes; } cdsector_parts[] = {
    { CDSECTOR_SYNC, 0, 12 }, { CDSECTOR_HEADER, 12, 4 }, { CDSECTOR_USER, USER_AT, USER_BYTES },
    { CDSECTOR_CHECK, EDC_AT, RAW_BYTES - EDC_AT },
};

u32 cdsector_bytes(unsigned parts) {
    u32 bytes = 0;
    for (unsigned i = 0; i < ARRAY_LEN(cdsector_parts); i++)
        if (parts & cdsector_parts[i].part) bytes += cdsector_parts[i].bytes;
    return bytes;
}

u32 cdsector_make(u32 block, const u8 user[2048], unsigned parts, u8 *to) {
    u8 raw[RAW_BYTES], *end = to;
    cdsector_raw(block, user, parts & CDSECTOR_CHECK, raw);
    for (unsigned i = 0; i < ARRAY_LEN(cdsector_parts); i++) {
        if (!(parts & cdsector_parts[i].part)) continue;
        memcpy(end, raw + cdsector_parts[i].at, cdsector_parts[i].bytes);
        end += cdsector_parts[i].bytes;
    }
    return (u32)(end - to);
}
