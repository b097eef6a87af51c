// SPDX-License-Identifier: MIT
// What single events cost on bare metal: loops around one or a few instructions that make an emulator leave its
// translated code. Runs in the guest of guest.c (identity mapping, exception table, interrupts off), which it gives
// a descriptor table with ring 3, a TSS and a vector for INT.

#include "../tables.h"
#include "entries.h"

enum {
    PAGE_BYTES = 4096, ARENA_PAGES = 2048,
    GATE_32 = 0x8e00, GATE_RING3 = 0x6000,
    MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
};

extern const uint8_t fault_entries[32][16];

static uint32_t descriptors[ENTRY_DESCRIPTORS][2];
static uint32_t gates[256][2];
static uint32_t tss[26];
static uint8_t kernel_stack[8192] __attribute__((aligned(16)));
static uint8_t arena[ARENA_PAGES * PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));

static void gate_set(uint32_t vector, const void *entry, uint32_t attributes)
{
    gates[vector][0] = ENTRY_CODE << 16 | ((uint32_t)entry & 0xffff);
    gates[vector][1] = ((uint32_t)entry & 0xffff0000) | attributes;
}

static void msr_set(uint32_t msr, uint32_t value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"(value), "d"(0));
}

static uint32_t *pte_get(const void *at)
{
    uint32_t linear = (uint32_t)at;
    return (uint32_t *)(directory_get()[linear >> 22] & PTE_FRAME) + (linear >> 12 & 1023);
}

static void tables_load(void)
{
    TablePointer gdt = {sizeof descriptors - 1, descriptors}, idt = {sizeof gates - 1, gates};
    for (uint32_t selector = ENTRY_CODE; selector < ENTRY_TSS; selector += 8) {
        static const uint8_t access[] = {0, 0x9b, 0x93, 0xfb, 0xf3, 0xf3};
        uint32_t base = selector == (ENTRY_BASED & ~7u) ? (uint32_t)arena : 0;
        descriptor_set(descriptors, selector, base, 0xfffff, access[selector / 8]);
        descriptors[selector / 8][1] |= 0xc00000; // 32 bit, limit in pages
    }
    descriptor_set(descriptors, ENTRY_TSS, (uint32_t)tss, sizeof tss - 1, 0x89);
    tss[1] = (uint32_t)(kernel_stack + sizeof kernel_stack);
    tss[2] = ENTRY_DATA;
    for (uint32_t v = 0; v < 32; v++)
        gate_set(v, fault_entries[v], GATE_32);
    gate_set(ENTRY_VECTOR_PLAIN, entry_plain, GATE_32 | GATE_RING3);
    gate_set(ENTRY_VECTOR_SAVING, entry_saving, GATE_32 | GATE_RING3);
    gate_set(ENTRY_VECTOR_BACK, entry_back, GATE_32 | GATE_RING3);
    __asm__ volatile("lgdt %0\n\tlidt %1" : : "m"(gdt), "m"(idt));
    __asm__ volatile("ltr %w0" : : "r"(ENTRY_TSS));
    entry_load_segments();
    msr_set(MSR_SYSENTER_CS, ENTRY_CODE);
    msr_set(MSR_SYSENTER_ESP, (uint32_t)(kernel_stack + sizeof kernel_stack));
    msr_set(MSR_SYSENTER_EIP, (uint32_t)entry_sysenter);
}

// Tables, and no interrupt from the controllers, so that STI changes nothing.
static void events_prepare(void)
{
    if (tss[1])
        return;
    __asm__ volatile("outb %b0, $0x21\n\toutb %b0, $0xa1" : : "a"(0xff));
    pages_open();
    tables_load();
}

#define LOOP(iterations, ...)                                                                                         \
    do {                                                                                                              \
        events_prepare();                                                                                             \
        uint32_t left_ = (iterations);                                                                                \
        do {                                                                                                          \
            __VA_ARGS__;                                                                                              \
        } while (--left_);                                                                                            \
    } while (0)

uint32_t bench_int(uint32_t iterations)
{
    LOOP(iterations, __asm__ volatile("int %0" : : "i"(ENTRY_VECTOR_PLAIN) : "memory"));
    return 0;
}

uint32_t bench_intuser(uint32_t iterations)
{
    events_prepare();
    return entry_user(iterations, entry_user_plain);
}

uint32_t bench_intlinux(uint32_t iterations)
{
    events_prepare();
    return entry_user(iterations, entry_user_saving);
}

uint32_t bench_sysenter(uint32_t iterations)
{
    events_prepare();
    return entry_user(iterations, entry_user_sysenter);
}

uint32_t bench_fault(uint32_t iterations)
{
    volatile uint8_t *at = arena + 5 * PAGE_BYTES;
    events_prepare();
    uint32_t *pte = pte_get(arena + 5 * PAGE_BYTES), count = 0;
    gate_set(14, entry_fault, GATE_32);
    *pte &= ~1u;
    __asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
    LOOP(iterations, __asm__ volatile("movb (%1), %%al" : "+d"(count) : "c"(at) : "eax", "memory"));
    *pte |= 1;
    gate_set(14, fault_entries[14], GATE_32);
    return count;
}

uint32_t bench_far(uint32_t iterations)
{
    LOOP(iterations, __asm__ volatile("lcall %0, $entry_far" : : "i"(ENTRY_CODE) : "memory"));
    return 0;
}

uint32_t bench_segment(uint32_t iterations)
{
    LOOP(iterations, __asm__ volatile("movl %0, %%es" : : "a"(ENTRY_DATA) : "memory"));
    return 0;
}

uint32_t bench_segfs(uint32_t iterations)
{
    uint32_t value = 0, other;
    arena[64] = 3;
    LOOP(iterations / 2, __asm__ volatile("movl %2, %%fs\n\tmovl %%fs:64, %0\n\tmovl %3, %%fs"
                                          : "=&r"(other) : "0"(0), "r"(ENTRY_BASED), "r"(ENTRY_DATA) : "memory");
         value += other);
    return value;
}

uint32_t bench_pushf(uint32_t iterations)
{
    LOOP(iterations, __asm__ volatile("pushfl\n\tpopfl" : : : "memory", "cc"));
    return 0;
}

uint32_t bench_irqsave(uint32_t iterations)
{
    __asm__ volatile("outb %b0, $0x21\n\toutb %b0, $0xa1\n\tsti" : : "a"(0xff));
    LOOP(iterations, __asm__ volatile("pushfl\n\tcli\n\tpopfl" : : : "memory", "cc"));
    __asm__ volatile("cli");
    return 0;
}

uint32_t bench_clisti(uint32_t iterations)
{
    LOOP(iterations, __asm__ volatile("cli\n\tsti" : : : "memory"));
    __asm__ volatile("cli");
    return 0;
}

static uint32_t port_read(uint32_t iterations, uint16_t port)
{
    uint8_t value = 0;
    LOOP(iterations, __asm__ volatile("inb %1, %0" : "=a"(value) : "d"(port)));
    return port == 0x21 ? value : 0;
}

uint32_t bench_inpic(uint32_t iterations)
{
    return port_read(iterations, 0x21);
}

uint32_t bench_incmos(uint32_t iterations)
{
    __asm__ volatile("outb %b0, $0x70" : : "a"(0x0f));
    return port_read(iterations, 0x71);
}

uint32_t bench_inide(uint32_t iterations)
{
    return port_read(iterations, 0x1f7);
}

uint32_t bench_out80(uint32_t iterations)
{
    LOOP(iterations, __asm__ volatile("outb %b0, $0x80" : : "a"(left_)));
    return 0;
}

uint32_t bench_vgaput(uint32_t iterations)
{
    volatile uint8_t *screen = (volatile uint8_t *)0xb8000;
    LOOP(iterations, screen[left_ & 2046] = (uint8_t)left_);
    return screen[0];
}

uint32_t bench_vgaget(uint32_t iterations)
{
    volatile uint8_t *screen = (volatile uint8_t *)0xb8000;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 2048; i++)
        screen[i] = (uint8_t)i;
    LOOP(iterations, sum += screen[left_ & 2047]);
    return sum;
}

uint32_t bench_cr3(uint32_t iterations)
{
    volatile uint8_t *at = arena;
    uint32_t cr3, sum = 0;
    __asm__ volatile("movl %%cr3, %0" : "=r"(cr3));
    LOOP(iterations, __asm__ volatile("movl %0, %%cr3" : : "r"(cr3) : "memory"); sum += at[0]);
    return sum;
}

uint32_t bench_refill(uint32_t iterations)
{
    enum { PAGES = 64 };
    volatile uint8_t *at = arena;
    uint32_t cr3, sum = 0;
    __asm__ volatile("movl %%cr3, %0" : "=r"(cr3));
    LOOP(iterations / PAGES, __asm__ volatile("movl %0, %%cr3" : : "r"(cr3) : "memory");
         for (uint32_t i = 0; i < PAGES; i++) sum += at[i * PAGE_BYTES]);
    return sum;
}

uint32_t bench_invlpg(uint32_t iterations)
{
    volatile uint8_t *at = arena + 7 * PAGE_BYTES;
    uint32_t sum = 0;
    LOOP(iterations, __asm__ volatile("invlpg (%0)" : : "r"(at) : "memory"); sum += at[0]);
    return sum;
}

uint32_t bench_sweep(uint32_t iterations)
{
    volatile uint8_t *at = arena;
    uint32_t sum = 0;
    LOOP(iterations / ARENA_PAGES, for (uint32_t i = 0; i < ARENA_PAGES; i++) sum += at[i * PAGE_BYTES]);
    return sum;
}

uint32_t bench_cr0ts(uint32_t iterations)
{
    uint32_t cr0;
    __asm__ volatile("movl %%cr0, %0" : "=r"(cr0));
    LOOP(iterations, __asm__ volatile("movl %0, %%cr0\n\tclts" : : "r"(cr0 | 8) : "memory"));
    return 0;
}

uint32_t bench_rdtsc(uint32_t iterations)
{
    uint32_t back = 0, low, high, before = 0;
    LOOP(iterations, __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)); back += high < before; before = high);
    return back;
}

uint32_t bench_cpuid(uint32_t iterations)
{
    uint32_t a, b, c, d, fpu = 0;
    LOOP(iterations, __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "0"(1)); fpu += d & 1);
    return fpu;
}

#define STRING_LOOP(iterations, instruction, count)                                                                   \
    LOOP(iterations, {                                                                                                \
        void *to_ = arena + 2 * PAGE_BYTES, *from_ = arena;                                                           \
        uint32_t count_ = (count);                                                                                    \
        __asm__ volatile(instruction : "+D"(to_), "+S"(from_), "+c"(count_) : "a"(1) : "memory", "cc");               \
        left += count_;                                                                                               \
    })

uint32_t bench_movsd4(uint32_t iterations)
{
    uint32_t left = 0;
    STRING_LOOP(iterations, "rep movsl", 4);
    return left;
}

uint32_t bench_movsd32(uint32_t iterations)
{
    uint32_t left = 0;
    STRING_LOOP(iterations, "rep movsl", 32);
    return left;
}

uint32_t bench_movsd1k(uint32_t iterations)
{
    uint32_t left = 0;
    STRING_LOOP(iterations, "rep movsl", 1024);
    return left;
}

uint32_t bench_movsb4k(uint32_t iterations)
{
    uint32_t left = 0;
    STRING_LOOP(iterations, "rep movsb", 4096);
    return left;
}

uint32_t bench_stosd1k(uint32_t iterations)
{
    uint32_t left = 0;
    STRING_LOOP(iterations, "rep stosl", 1024);
    return left;
}

uint32_t bench_scasb64(uint32_t iterations)
{
    uint32_t left = 0;
    memset(arena + 2 * PAGE_BYTES, 0, 64);
    STRING_LOOP(iterations, "repne scasb", 64);
    return left;
}

uint32_t bench_cmpsb64(uint32_t iterations)
{
    uint32_t left = 0;
    memset(arena + 2 * PAGE_BYTES, 0, 64);
    memset(arena, 0, 64);
    STRING_LOOP(iterations, "repe cmpsb", 64);
    return left;
}

// Code is written as data and then called.
static uint32_t code_call(uint8_t *at, uint32_t argument)
{
    __asm__ volatile("" : "+r"(at) : : "memory");
    return ((uint32_t(*)(uint32_t))(void *)at)(argument);
}

// mov 4(%esp), %ecx ; back: incl DATA ; dec %ecx ; jnz back ; mov DATA, %eax ; ret
uint32_t bench_codepage(uint32_t iterations)
{
    static const uint8_t loop[] = {0x8b, 0x4c, 0x24, 0x04, 0xff, 0x05, 0, 0, 0, 0, 0x49, 0x75, 0xf7,
                                   0xa1, 0, 0, 0, 0, 0xc3};
    uint8_t *at = arena + 9 * PAGE_BYTES, *data = at + 2048;
    events_prepare();
    memset(data, 0, 4);
    memcpy(at, loop, sizeof loop);
    memcpy(at + 6, &data, 4);
    memcpy(at + 14, &data, 4);
    return code_call(at, iterations);
}

uint32_t bench_smc(uint32_t iterations)
{
    static const uint8_t function[] = {0xb8, 0, 0, 0, 0, 0xc3}; // mov $CONSTANT, %eax ; ret
    uint8_t *at = arena + 11 * PAGE_BYTES;
    uint32_t sum = 0;
    memcpy(at, function, sizeof function);
    LOOP(iterations, memcpy(at + 1, &left_, 4); sum += code_call(at, 0));
    return sum;
}

// Functions of 8 instructions in fresh memory, each called once.
uint32_t bench_cold(uint32_t iterations)
{
    static const uint8_t body[] = {0x8b, 0x44, 0x24, 0x04, 0x8d, 0x50, 0x03, 0x31, 0xd0, 0x0f, 0xb6, 0xca, 0x01, 0xc8,
                                   0x39, 0xd1, 0xc1, 0xc0, 0x07, 0xc3};
    enum { STEP = 32 };
    uint8_t *at = arena + 1024 * PAGE_BYTES;
    uint32_t sum = 0;
    events_prepare();
    for (uint32_t i = 0; i < iterations / 8; i++)
        for (uint32_t k = 0; k < sizeof body; k++)
            at[i * STEP + k] = body[k];
    for (uint32_t i = 0; i < iterations / 8; i++, at += STEP)
        sum = sum_add(sum, code_call(at, i));
    return sum;
}
