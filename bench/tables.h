// SPDX-License-Identifier: MIT
// Descriptors and page tables of bare-metal guests that have more than guest.c gives: rings, other modes.
#ifndef BENCH_TABLES_H
#define BENCH_TABLES_H

#include "program.h"

enum { PTE_USER = 4, PTE_FRAME = ~4095 };

typedef struct __attribute__((packed)) {
    uint16_t limit;
    const void *base;
} TablePointer;

static inline void
descriptor_set(uint32_t (*table)[2], uint32_t selector, uint32_t base, uint32_t limit, uint32_t access)
{
    uint32_t *d = table[selector / 8];
    d[0] = base << 16 | (limit & 0xffff);
    d[1] = (base & 0xff000000) | (limit & 0xf0000) | access << 8 | (base >> 16 & 0xff);
}

static inline uint32_t *directory_get(void)
{
    uint32_t *directory;
    __asm__ volatile("movl %%cr3, %0" : "=r"(directory));
    return directory;
}

static inline void cr3_reload(void)
{
    __asm__ volatile("movl %%cr3, %%eax\n\tmovl %%eax, %%cr3" : : : "eax", "memory");
}

// Everything that is mapped may be used in ring 3.
static inline void pages_open(void)
{
    uint32_t *directory = directory_get();
    for (uint32_t i = 0; i < 1024; i++) {
        if (!(directory[i] & 1))
            continue;
        directory[i] |= PTE_USER;
        uint32_t *table = (uint32_t *)(directory[i] & PTE_FRAME);
        for (uint32_t k = 0; k < 1024; k++)
            table[k] |= table[k] & 1 ? PTE_USER : 0;
    }
    cr3_reload();
}

#endif
