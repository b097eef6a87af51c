// SPDX-License-Identifier: MIT
// Quicksort in the manner of qsort(3): any element size, comparison by callback.

#include "program.h"

typedef int Compare(const void *a, const void *b);
enum { SORT_COUNT = 6000 };
static uint32_t values[SORT_COUNT];

static void swap_bytes(uint8_t *a, uint8_t *b, size_t size)
{
    for (size_t i = 0; i < size; i += 4) {
        uint32_t t = *(uint32_t *)(a + i);
        *(uint32_t *)(a + i) = *(uint32_t *)(b + i);
        *(uint32_t *)(b + i) = t;
    }
}

static NOINLINE void sort_insert(uint8_t *base, size_t count, size_t size, Compare *compare)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k && compare(base + k * size, base + (k - 1) * size) < 0; k--)
            swap_bytes(base + k * size, base + (k - 1) * size, size);
}

static NOINLINE void sort_any(uint8_t *base, size_t count, size_t size, Compare *compare)
{
    while (count > 8) {
        uint8_t *last = base + (count - 1) * size, *split = base;
        swap_bytes(base + count / 2 * size, last, size);
        for (uint8_t *p = base; p < last; p += size)
            if (compare(p, last) < 0) {
                swap_bytes(p, split, size);
                split += size;
            }
        swap_bytes(split, last, size);
        size_t left = (size_t)(split - base) / size;
        sort_any(base, left, size, compare);
        base = split + size;
        count -= left + 1;
    }
    sort_insert(base, count, size, compare);
}

static NOINLINE int compare_up(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static NOINLINE int compare_low_half(const void *a, const void *b)
{
    return (int)(*(const uint32_t *)a & 0xffff) - (int)(*(const uint32_t *)b & 0xffff);
}

uint32_t bench_qsort(uint32_t iterations)
{
    uint32_t sum = 0, seed = 2;
    for (uint32_t round = 0; round < iterations; round++) {
        for (uint32_t i = 0; i < SORT_COUNT; i++)
            values[i] = rand_next(&seed);
        sort_any((uint8_t *)values, SORT_COUNT, 4, round & 1 ? compare_low_half : compare_up);
        for (uint32_t i = 0; i < SORT_COUNT; i += 37)
            sum = sum_add(sum, values[i]);
    }
    return sum;
}
