// SPDX-License-Identifier: MIT
// What the engines share: the state of a user program, the memory it lives in, its segments.
//
// The area is 16 pages at the same linear address on the host and in the guest. What lies between them and around
// them is not mapped, so that operands at page ends meet every kind of border:
//
//     0-1 code | 2 - | 3-4 data | 5 - | 6-7 data and stack | 8 - | 9 read-only | 10 data | 11 read-only | 12-15 -
//
// Code pages cannot be written, data pages not executed. The local descriptor table is the same on both sides.
#ifndef TESTS_SILICON_STATE_H
#define TESTS_SILICON_STATE_H

#include "base/base.h"

// FXSAVE's image.
typedef struct __attribute__((aligned(16))) FxImage { u8 byte[512]; } FxImage;
enum { FX_CW = 0, FX_SW = 2, FX_TAGS = 4, FX_OP = 6, FX_IP = 8, FX_CS = 12, FX_DP = 16, FX_DS = 20, FX_MXCSR = 24,
       FX_MASK = 28, FX_ST = 32, FX_XMM = 160, FX_END = FX_XMM + 8 * 16 };

typedef struct State {
    u32 regs[8];         // hardware order
    u32 eip, eflags;
    u16 seg[6];          // selectors: ES CS SS DS FS GS
    FxImage fx;
    u8 vector;           // of the exception that ended the program, with its error code (or 0)
    u32 error, cr2;      // cr2: of page faults
} State;

enum { AREA = 0x20000000, AREA_PAGES = 16, AREA_BYTES = AREA_PAGES << PAGE_SHIFT, CODE_BYTES = 2 << PAGE_SHIFT,
       STACK_LOW = AREA + 0x6000, STACK_HIGH = AREA + 0x8000 };
typedef enum PageKind { PAGE_MISSING, PAGE_CODE, PAGE_DATA, PAGE_READONLY } PageKind;
static const u8 area_pages[AREA_PAGES] = {
    PAGE_CODE, PAGE_CODE, PAGE_MISSING, PAGE_DATA, PAGE_DATA, PAGE_MISSING, PAGE_DATA, PAGE_DATA, PAGE_MISSING,
    PAGE_READONLY, PAGE_DATA, PAGE_READONLY,
};
// What data lies in; the rest of the area need not be compared.
enum { DATA_LOW = 0x3000, DATA_HIGH = 0xc000 };

static inline PageKind area_page_at(u32 linear) {
    return linear - AREA < AREA_BYTES ? (PageKind)area_pages[(linear - AREA) >> PAGE_SHIFT] : PAGE_MISSING;
}

typedef enum SegmentKind { SEGMENT_DATA, SEGMENT_DOWN, SEGMENT_CODE } SegmentKind;      // ORDER: descriptor bits
typedef struct Segment {
    u32 base, limit;     // limit: as in the descriptor, in bytes or pages
    u8 kind;             // SegmentKind
    bool restricted;     // data: read-only; code: execute-only
    bool wide;           // D/B
    bool pages;          // G
    bool absent;
} Segment;

#define SEGMENTS(X) \
    X(FLAT, 0, 0xfffff, SEGMENT_DATA, .wide = true, .pages = true) \
    X(BASED, 0x10000000, 0xfffff, SEGMENT_DATA, .wide = true, .pages = true) \
    X(DATA, AREA, 0xffff, SEGMENT_DATA, .wide = true) \
    X(LIMITED, AREA + 0x3008, 0x1fee, SEGMENT_DATA, .wide = true) \
    X(READONLY, AREA, 0xffff, SEGMENT_DATA, .restricted = true, .wide = true) \
    X(DOWN, AREA, 0x3fff, SEGMENT_DOWN, .wide = true) \
    X(DOWN16, AREA, 0x2fff, SEGMENT_DOWN, .wide = false) \
    X(DATA16, AREA, 0xffff, SEGMENT_DATA, .wide = false) \
    X(CODE, AREA, 0xffff, SEGMENT_CODE, .wide = true) \
    X(EXECUTE, AREA, 0xffff, SEGMENT_CODE, .restricted = true, .wide = true) \
    X(CODE16, AREA, 0xffff, SEGMENT_CODE, .wide = false) \
    X(ABSENT, AREA, 0xffff, SEGMENT_DATA, .wide = true, .absent = true) \
    X(ABSENT_CODE, AREA, 0xffff, SEGMENT_CODE, .wide = true, .absent = true)
enum {
#define X(id, ...) SEGMENT_##id##_INDEX,
    SEGMENTS(X)
#undef X
    SEGMENT_COUNT
};
static const Segment area_segments[SEGMENT_COUNT] = {
#define X(id, base_, limit_, kind_, ...) { .base = base_, .limit = limit_, .kind = kind_, __VA_ARGS__ },
    SEGMENTS(X)
#undef X
};
// Selectors: of the local table, and the flat ones that Linux gives every process.
#define SEL_LDT(index) ((u16)((index) * 8 + 7))
#define SEL(id) SEL_LDT(SEGMENT_##id##_INDEX)
enum { SEL_USER_CODE = 0x23, SEL_USER_DATA = 0x2b, SEL_USER_CODE64 = 0x33 };   // ..64: as data only

#endif
