// SPDX-License-Identifier: MIT
// The same loops in 32-bit, 16-bit, real and V86 mode, on bare metal (the guest of guest.c): what 16 bits cost.

#include "../program.h"
#include "loops.h"

enum { MODES_ROUNDS = 50000, PTE_USER = 4, PTE_FRAME = ~4095, GATE_32_RING3 = 0xee00 };
typedef enum { LOOP_ALU, LOOP_MEM, LOOP_CALL, LOOP_STRING, LOOP_SEG, LOOP_SEGLOAD } Loop;     // as in loops.S

typedef struct __attribute__((packed)) {
    uint16_t limit;
    const void *base;
} TablePointer;

extern const uint8_t code16[], code16_end[];
extern const uint32_t loops16_table[], loops32_table[];
uint32_t mode_32(uint32_t loop, uint32_t rounds);
uint32_t mode_user(uint32_t loop, uint32_t rounds);
uint32_t mode_16(uint32_t loop, uint32_t rounds);
uint32_t mode_real(uint32_t loop, uint32_t rounds);
uint32_t mode_v86(uint32_t loop, uint32_t rounds);
void mode_trap(void);

static uint32_t descriptors[LOOPS_SELECTORS][2];
static uint32_t tss[26];
static uint32_t gates[LOOPS_BACK_VECTOR + 1][2];
static uint8_t kernel_stack[4096] __attribute__((aligned(16)));

static void descriptor_set(uint32_t selector, uint32_t base, uint32_t limit, uint32_t access)
{
    uint32_t *d = descriptors[selector / 8];
    d[0] = base << 16 | (limit & 0xffff);
    d[1] = (base & 0xff000000) | (limit & 0xf0000) | access << 8 | (base >> 16 & 0xff);
}

static void pages_open(void)
{
    uint32_t *directory;
    __asm__ volatile("movl %%cr3, %0" : "=r"(directory));
    for (uint32_t i = 0; i < 1024; i++) {
        if (!(directory[i] & 1))
            continue;
        directory[i] |= PTE_USER;
        uint32_t *table = (uint32_t *)(directory[i] & PTE_FRAME);
        for (uint32_t k = 0; k < 1024; k++)
            table[k] |= table[k] & 1 ? PTE_USER : 0;
    }
    __asm__ volatile("movl %0, %%cr3" : : "r"(directory) : "memory");
}

static void gates_extend(void)
{
    TablePointer old;
    __asm__ volatile("sidt %0" : "=m"(old));
    memcpy(gates, old.base, old.limit + 1u);
    gates[LOOPS_BACK_VECTOR][0] = LOOPS_CODE << 16 | ((uint32_t)mode_trap & 0xffff);
    gates[LOOPS_BACK_VECTOR][1] = ((uint32_t)mode_trap & 0xffff0000) | GATE_32_RING3;
    TablePointer fresh = {sizeof gates - 1, gates};
    __asm__ volatile("lidt %0" : : "m"(fresh));
}

static void modes_prepare(void)
{
    if (tss[2])
        return;
    tss[1] = (uint32_t)(kernel_stack + sizeof kernel_stack);
    tss[2] = LOOPS_DATA;
    descriptor_set(LOOPS_CODE, 0, 0xfffff, 0xc09b);
    descriptor_set(LOOPS_DATA, 0, 0xfffff, 0xc093);
    descriptor_set(LOOPS_CODE3, 0, 0xfffff, 0xc0fb);
    descriptor_set(LOOPS_DATA3, 0, 0xfffff, 0xc0f3);
    descriptor_set(LOOPS_TSS, (uint32_t)tss, sizeof tss - 1, 0x0089);
    descriptor_set(LOOPS_CODE16, LOOPS_CODE16_AT, 0xffff, 0x009b);
    descriptor_set(LOOPS_DATA16, LOOPS_DATA_AT, 0xffff, 0x0093);
    TablePointer table = {sizeof descriptors - 1, descriptors};
    __asm__ volatile("lgdt %0\n\tltr %w1" : : "m"(table), "r"(LOOPS_TSS));
    gates_extend();
    pages_open();
    memcpy((void *)LOOPS_CODE16_AT, code16, (size_t)(code16_end - code16));
}

static uint32_t modes_run(uint32_t (*mode)(uint32_t, uint32_t), const uint32_t *table, Loop loop, uint32_t instructions)
{
    static const uint8_t lengths[] = {10, 10, 11, 7, 6, 4};      // instructions of a round
    uint32_t sum = 0;
    modes_prepare();
    memset((void *)LOOPS_DATA_AT, 0x35, 0x10000);
    for (uint32_t left = instructions / lengths[loop]; left >= MODES_ROUNDS; left -= MODES_ROUNDS)
        sum = sum_add(sum, mode(table[loop], MODES_ROUNDS) & 0xffff);
    return sum;
}

#define RUN(name, loop, mode, bits) \
    uint32_t bench_##name##_##mode(uint32_t iterations) \
    { \
        return modes_run(mode_##mode, loops##bits##_table, loop, iterations); \
    }
#define LOOP(name, loop) \
    RUN(name, loop, 32, 32) RUN(name, loop, user, 32) \
    RUN(name, loop, 16, 16) RUN(name, loop, real, 16) RUN(name, loop, v86, 16)
LOOP(alu, LOOP_ALU)
LOOP(mem, LOOP_MEM)
LOOP(call, LOOP_CALL)
LOOP(string, LOOP_STRING)
LOOP(seg, LOOP_SEG)
LOOP(segload, LOOP_SEGLOAD)
