// SPDX-License-Identifier: MIT
// The same loops in 32-bit, 16-bit, real and V86 mode, on bare metal (the guest of guest.c): what 16 bits cost.

#include "../tables.h"
#include "loops.h"

enum { MODES_ROUNDS = 50000, GATE_32_RING3 = 0xee00 };
typedef enum { LOOP_ALU, LOOP_MEM, LOOP_CALL, LOOP_STRING, LOOP_SEG, LOOP_SEGLOAD } Loop;     // as in loops.S

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
    descriptor_set(descriptors, LOOPS_CODE, 0, 0xfffff, 0xc09b);
    descriptor_set(descriptors, LOOPS_DATA, 0, 0xfffff, 0xc093);
    descriptor_set(descriptors, LOOPS_CODE3, 0, 0xfffff, 0xc0fb);
    descriptor_set(descriptors, LOOPS_DATA3, 0, 0xfffff, 0xc0f3);
    descriptor_set(descriptors, LOOPS_TSS, (uint32_t)tss, sizeof tss - 1, 0x0089);
    descriptor_set(descriptors, LOOPS_CODE16, LOOPS_CODE16_AT, 0xffff, 0x009b);
    descriptor_set(descriptors, LOOPS_DATA16, LOOPS_DATA_AT, 0xffff, 0x0093);
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
