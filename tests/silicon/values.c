// SPDX-License-Identifier: MIT
// Random values with a liking for corners: see values.h.
#include "values.h"

#include <string.h>

u32 random_u32(u64 *random) {
    u64 z = *random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    return (u32)((z ^ z >> 27) * 0x94d049bb133111ebu >> 24);
}

static u64 random_u64(u64 *random) {
    u64 low = random_u32(random);
    return low | (u64)random_u32(random) << 32;
}

u32 random_int(u64 *random) {
    static const u32 corners[] = { 0, 1, 2, 0x7f, 0x80, 0x81, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff,
                                   0x80000000, 0x80000001, 0xffffffff, 0xfffffffe, 0xffffff80, 0xffff8000 };
    switch (random_below(random, 8)) {
    case 0: case 1: case 2: return corners[random_below(random, ARRAY_LEN(corners))];
    case 3: return random_below(random, 64);
    case 4: return 0u - random_below(random, 64);
    default: return random_u32(random);
    }
}

// Zeros, ones, denormals, the largest, infinities, NaNs with payloads, around the limits of integers.
u32 random_float(u64 *random) {
    static const u32 corners[] = { 0, 0x3f800000, 1, 0x007fffff, 0x00800000, 0x7f7fffff, 0x7f800000, 0x7fc00000,
                                   0x7f800001, 0x7fc12345, 0x7fbfffff, 0x4f000000, 0x4effffff, 0x4f800000, 0x5f000000,
                                   0x3fc00000, 0x4b000001, 0x46fffe00, 0x47000000, 0x3f000000, 0x20000000, 0x33800000 };
    u32 sign = random_u32(random) & 0x80000000;
    switch (random_below(random, 4)) {
    case 0: case 1: return sign | corners[random_below(random, ARRAY_LEN(corners))];
    case 2: return sign | (0x3e000000 + random_below(random, 0x2000000));
    default: return random_u32(random);
    }
}

u64 random_double(u64 *random) {
    static const u64 corners[] = { 0, 0x3ff0000000000000, 1, 0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff,
                                   0x7ff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 0x7ff8000012345678,
                                   0x41dfffffffc00000, 0x41e0000000000000, 0x41e0000000200000, 0x43e0000000000000,
                                   0x40dfffe000000000, 0x36a0000000000000, 0x380fffffffffffff, 0x47efffffe0000000,
                                   0x47efffffefffffff, 0x3fe0000000000000, 0x4330000000000001, 0x7e70000000000000 };
    u64 sign = (u64)(random_u32(random) & 1) << 63;
    switch (random_below(random, 4)) {
    case 0: case 1: return sign | corners[random_below(random, ARRAY_LEN(corners))];
    case 2: return sign | ((0x3fe0000000000000 + (random_u64(random) & 0x3fffffffffffff)));
    default: return random_u64(random);
    }
}

// Significand and exponent are drawn apart: their combinations are the formats that no longer exist, too.
void random_extended(u64 *random, u8 *to) {
    static const u64 significands[] = { 0, 1ull << 63, 3ull << 62, 1ull << 62, 1, ~0ull, ~0ull >> 1, (1ull << 63) | 1,
                                        0xc000000012345678, 0x8000000012345678, 0xc90fdaa22168c235,
                                        0xfffffffffffff800 };
    static const u16 exponents[] = { 0, 1, 0x7fff, 0x7ffe, 0x3fff, 0x3ffe, 0x4000, 0x401e, 0x401d, 0x403e, 0x403d,
                                     0x400e, 0x3fc0, 0x4040, 0x3c01, 0x43ff, 0x3f81, 0x407f };
    bool usual = random_one_in(random, 3);
    u64 s = random_one_in(random, 2) ? significands[random_below(random, ARRAY_LEN(significands))] : random_u64(random);
    u32 e = random_one_in(random, 2) ? exponents[random_below(random, ARRAY_LEN(exponents))]
        : 0x3fff - 40 + random_below(random, 80);
    put_le64(to, usual ? s | 1ull << 63 : s);
    put_le16(to + 8, (u16)(e | (random_u32(random) & 0x8000)));
    if (random_one_in(random, 12)) put_le16(to + 8, (u16)random_u32(random));
}

void random_bcd(u64 *random, u8 *to) {
    bool valid = !random_one_in(random, 6);
    for (unsigned i = 0; i < 9; i++) {
        u32 digits = random_below(random, 100);
        to[i] = (u8)(valid ? digits / 10 << 4 | digits % 10 : random_u32(random));
    }
    to[9] = (u8)(random_one_in(random, 4) ? random_u32(random) : random_u32(random) & 0x80);
}

// Exceptions are mostly masked.
u16 random_control_word(u64 *random) {
    u32 r = random_u32(random);
    u32 masked = random_one_in(random, 5) ? r >> 8 & 0x3f : 0x3f;
    u32 word = (r & 0x0f00) | masked | 0x40;
    if (random_one_in(random, 3)) word |= 0x300;
    return (u16)(random_one_in(random, 10) ? r : word);
}

// Bit 17 is AMD's misaligned exception mask: it exists on some hosts only.
u32 random_mxcsr(u64 *random) {
    u32 r = random_u32(random), masks = random_one_in(random, 5) ? r & 0x1f80 : 0x1f80;
    u32 flags = random_one_in(random, 3) ? r & 0x3f : 0;
    u32 modes = random_one_in(random, 3) ? r & 0xe040 : random_one_in(random, 2) ? r & 0x6000 : 0;
    return masks | flags | modes;
}

static void random_status(u64 *random, FxImage *fx) {
    u32 r = random_u32(random);
    u32 status = (r & 0x3800) | (random_one_in(random, 2) ? r & 0x4700 : 0);
    if (random_one_in(random, 8)) status |= r >> 16 & 0x7f;
    put_le16(fx->byte + FX_SW, (u16)status);
}

void random_fx(u64 *random, FxImage *fx) {
    memset(fx, 0, sizeof *fx);
    put_le16(fx->byte + FX_CW, 0x037f);
    if (!random_one_in(random, 3)) put_le16(fx->byte + FX_CW, random_control_word(random));
    random_status(random, fx);
    fx->byte[FX_TAGS] = (u8)(random_one_in(random, 4) ? random_u32(random) : random_one_in(random, 3) ? 0 : 0xff);
    put_le16(fx->byte + FX_OP, (u16)(random_u32(random) & 0x7ff));
    put_le32(fx->byte + FX_IP, random_u32(random));
    put_le16(fx->byte + FX_CS, SEL_USER_CODE);
    put_le32(fx->byte + FX_DP, random_u32(random));
    put_le16(fx->byte + FX_DS, SEL_USER_DATA);
    put_le32(fx->byte + FX_MXCSR, random_mxcsr(random));
    for (u32 i = FX_ST; i < FX_XMM; i += 16) random_extended(random, fx->byte + i);
    for (u32 i = FX_XMM; i < FX_END; i += 16) {
        bool doubles = random_one_in(random, 2);
        for (u32 k = 0; k < 16; k += 4) put_le32(fx->byte + i + k, random_float(random));
        if (doubles) for (u32 k = 0; k < 16; k += 8) put_le64(fx->byte + i + k, random_double(random));
        if (random_one_in(random, 4)) for (u32 k = 0; k < 16; k += 4) put_le32(fx->byte + i + k, random_int(random));
    }
}
