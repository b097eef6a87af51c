// SPDX-License-Identifier: MIT
// The ground every room stands on: integer types, address types, small inline helpers.
//
// Addresses that must not be mixed are one-member structs at room borders:
//   Lin  a guest linear address (after segmentation, before paging)
//   Phy  a guest physical address (after paging, A20 already applied where it matters)
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;

typedef struct Lin { u32 v; } Lin;
typedef struct Phy { u64 v; } Phy;

static inline Lin lin(u32 v) { return (Lin){ v }; }
static inline Phy phy(u64 v) { return (Phy){ v }; }

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1u << (n))
#define PAGE_BYTES 4096u
#define PAGE_SHIFT 12
#define PAGE_MASK 0xfffff000u

static inline u32 min_u32(u32 a, u32 b) { return a < b ? a : b; }
static inline u32 max_u32(u32 a, u32 b) { return a > b ? a : b; }
static inline u64 min_u64(u64 a, u64 b) { return a < b ? a : b; }
static inline u64 max_u64(u64 a, u64 b) { return a > b ? a : b; }

// Bits [lo, lo + n) of v, n in 1..31.
static inline u32 bits(u32 v, unsigned lo, unsigned n) { return (v >> lo) & ((1u << n) - 1); }

// v with its low `size_bytes` bytes kept (size 1, 2 or 4).
static inline u32 trunc_size(u32 v, unsigned size_bytes) {
    return size_bytes == 4 ? v : v & ((1u << (size_bytes * 8)) - 1);
}

// Unaligned little-endian access to host memory.
static inline u16 get_le16(const void *p) { u16 v; __builtin_memcpy(&v, p, 2); return v; }
static inline u32 get_le32(const void *p) { u32 v; __builtin_memcpy(&v, p, 4); return v; }
static inline u64 get_le64(const void *p) { u64 v; __builtin_memcpy(&v, p, 8); return v; }
static inline void put_le16(void *p, u16 v) { __builtin_memcpy(p, &v, 2); }
static inline void put_le32(void *p, u32 v) { __builtin_memcpy(p, &v, 4); }
static inline void put_le64(void *p, u64 v) { __builtin_memcpy(p, &v, 8); }

// Prints "glassbox: internal error: ..." with file and line to stderr and aborts. For our own bugs only.
_Noreturn void panic_at(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define panic(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)
#define require(cond) ((cond) ? (void)0 : panic("%s", #cond))

// malloc family that never returns NULL (out of memory ends the program with a message).
void *mem_new(size_t bytes);                  // zeroed
void *mem_new_aligned(size_t alignment, size_t bytes);     // zeroed; alignment a power of two
#define MEM_HUGE_BYTES (2u << 20)             // of a huge page
void *mem_new_huge(size_t bytes);             // not zeroed; in huge pages where the host has them to give
void *mem_resize(void *p, size_t bytes);      // like realloc
char *mem_strdup(const char *s);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
