// SPDX-License-Identifier: MIT
// CRC-32 (polynomial 0xedb88320) by table over 64 KiB.

#include "program.h"

enum { CRC_BYTES = 65536 };
static uint32_t table[256];
static uint8_t data[CRC_BYTES];

static void crc_fill(void)
{
    uint32_t seed = 1;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
    for (uint32_t i = 0; i < CRC_BYTES; i++)
        data[i] = (uint8_t)(rand_next(&seed) >> 24);
}

uint32_t bench_crc32(uint32_t iterations)
{
    uint32_t crc = 0;
    crc_fill();
    for (uint32_t round = 0; round < iterations; round++) {
        uint32_t c = ~crc;
        for (uint32_t i = 0; i < CRC_BYTES; i++)
            c = table[(c ^ data[i]) & 255] ^ c >> 8;
        crc = ~c;
    }
    return crc;
}
