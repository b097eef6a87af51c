// SPDX-License-Identifier: MIT
// Code that changes: a function that gets another constant or instruction, a loop that stores into itself, code
// made and thrown away, data beside code. The code is written into a page of its own.

#include <string.h>
#include <sys/mman.h>

#include "sys.h"

typedef uint32_t (*Function)(uint32_t, uint32_t);

enum { PAGE_BYTES = 4096, CODE_PAGES = 4 };

static uint8_t *code_map(void)
{
    void *at = mmap(NULL, CODE_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                    -1, 0);
    sys_need(at != MAP_FAILED, "mmap");
    return at;
}

// Code may be written as data and then called: an indirect call cannot run what was there before.
static Function code_function(uint8_t *at)
{
    __asm__ volatile("" : "+r"(at) : : "memory");
    return (Function)(void *)at;
}

static void put_u32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, 4);
}

// mov 4(%esp), %eax ; add $CONSTANT, %eax ; rol $5, %eax ; ret
static const uint8_t code_add[] = {0x8b, 0x44, 0x24, 0x04, 0x05, 0, 0, 0, 0, 0xc1, 0xc0, 0x05, 0xc3};
enum { ADD_OPCODE = 4, ADD_CONSTANT = 5 };

uint32_t bench_rewrite(uint32_t iterations)
{
    uint8_t *code = code_map();
    uint32_t sum = 1;
    memcpy(code, code_add, sizeof code_add);
    for (uint32_t i = 0; i < iterations; i++) {
        put_u32(code + ADD_CONSTANT, i * 0x9e3779b1u);
        sum = code_function(code)(sum, 0);
    }
    munmap(code, CODE_PAGES * PAGE_BYTES);
    return sum;
}

uint32_t bench_reopcode(uint32_t iterations)
{
    static const uint8_t opcodes[] = {0x05, 0x2d, 0x35, 0x05, 0x0d, 0x35, 0x25, 0x2d}; // add sub xor add or xor and sub
    uint8_t *code = code_map();
    uint32_t sum = 1;
    memcpy(code, code_add, sizeof code_add);
    put_u32(code + ADD_CONSTANT, 0x9e3779b1);
    for (uint32_t i = 0; i < iterations; i++) {
        code[ADD_OPCODE] = opcodes[i & 7];
        sum = code_function(code)(sum, 0) ^ i;
    }
    munmap(code, CODE_PAGES * PAGE_BYTES);
    return sum;
}

// f(value, count): mov 4(%esp), %eax ; mov 8(%esp), %ecx ; mov %eax, 1f+1 ; 1: add $0, %eax ; rol $3, %eax ;
// dec %ecx ; jnz back ; ret
uint32_t bench_inloop(uint32_t iterations)
{
    static const uint8_t loop[] = {0x8b, 0x44, 0x24, 0x04, 0x8b, 0x4c, 0x24, 0x08, 0xa3, 0, 0, 0, 0,
                                   0x05, 0, 0, 0, 0, 0xc1, 0xc0, 0x03, 0x49, 0x75, 0xf0, 0xc3};
    uint8_t *code = code_map();
    memcpy(code, loop, sizeof loop);
    put_u32(code + 9, (uint32_t)(uintptr_t)code + 14);
    uint32_t sum = code_function(code)(1, iterations);
    munmap(code, CODE_PAGES * PAGE_BYTES);
    return sum;
}

// A function of 16 additions and subtractions that depend on `seed`; the next comes behind it in a ring of pages.
uint32_t bench_generate(uint32_t iterations)
{
    enum { SLOT_BYTES = 128, SLOTS = CODE_PAGES * PAGE_BYTES / SLOT_BYTES };
    uint8_t *code = code_map();
    uint32_t sum = 1;
    for (uint32_t i = 0; i < iterations; i++) {
        uint8_t *start = code + i % SLOTS * SLOT_BYTES, *at = start;
        memcpy(at, code_add, 4);
        at += 4;
        for (uint32_t k = 0; k < 16; k++, at += 5) {
            at[0] = (sum >> k & 1) ? 0x05 : 0x2d;
            put_u32(at + 1, i + k);
        }
        *at = 0xc3;
        sum = sum_add(code_function(start)(sum, 0), i);
    }
    munmap(code, CODE_PAGES * PAGE_BYTES);
    return sum;
}

// f(value, count): mov 8(%esp), %ecx ; mov 4(%esp), %edx ; back: add %ecx, DATA ; dec %ecx ; jnz back ;
// mov DATA, %eax ; ret, with DATA `distance` bytes from the function's start.
static uint32_t code_beside(uint32_t iterations, uint32_t distance)
{
    static const uint8_t loop[] = {0x8b, 0x4c, 0x24, 0x08, 0x8b, 0x54, 0x24, 0x04, 0x01, 0x0d, 0, 0, 0, 0,
                                   0x49, 0x75, 0xf7, 0xa1, 0, 0, 0, 0, 0xc3};
    uint8_t *code = code_map();
    memcpy(code, loop, sizeof loop);
    put_u32(code + 10, (uint32_t)(uintptr_t)code + distance);
    put_u32(code + 18, (uint32_t)(uintptr_t)code + distance);
    uint32_t sum = code_function(code)(1, iterations);
    munmap(code, CODE_PAGES * PAGE_BYTES);
    return sum;
}

uint32_t bench_codepage(uint32_t iterations)
{
    return code_beside(iterations, 2048);
}

uint32_t bench_codeline(uint32_t iterations)
{
    return code_beside(iterations, 48);
}
