// SPDX-License-Identifier: MIT
// The benchmark as a bare-metal guest: identity-mapped 4 KiB pages (page 0 absent), an exception
// table, marker lines through the debug port, the end through isa-debug-exit.

#include "layout.h"
#include "program.h"
#include "runner.h"

enum {
    PAGE_BYTES = 4096, PAGE_TABLES = LAYOUT_RAM_BYTES / PAGE_BYTES / 1024,
    PTE_PRESENT = 1, PTE_WRITABLE = 2,
    CODE_SELECTOR = 8, GATE_INTERRUPT_32 = 0x8e00, VECTORS = 32,
};

typedef struct {
    uint32_t vector, error, eip, cs, eflags;
} FaultFrame;

typedef struct __attribute__((packed)) {
    uint16_t limit;
    const void *base;
} TablePointer;

static uint32_t directory[1024] __attribute__((aligned(PAGE_BYTES)));
static uint32_t tables[PAGE_TABLES * 1024] __attribute__((aligned(PAGE_BYTES)));
static uint32_t gates[VECTORS][2];

extern const uint8_t fault_entries[VECTORS][16];
__attribute__((noreturn)) void guest_main(void);
__attribute__((noreturn)) void guest_fault(const FaultFrame *frame);

void platform_write(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        __asm__ volatile("outb %0, %1" : : "a"(text[i]), "Nd"((uint16_t)LAYOUT_DEBUG_PORT));
}

__attribute__((noreturn)) static void guest_exit(uint32_t code)
{
    __asm__ volatile("outl %0, %1" : : "a"(code), "Nd"((uint16_t)LAYOUT_EXIT_PORT));
    for (;;)
        __asm__ volatile("cli; hlt");
}

static void write_hex(const char *label, uint32_t value)
{
    size_t bytes = 0;
    while (label[bytes])
        bytes++;
    platform_write(label, bytes);
    for (int i = 28; i >= 0; i -= 4)
        platform_write(&"0123456789abcdef"[value >> i & 15], 1);
}

void guest_fault(const FaultFrame *frame)
{
    uint32_t address;
    __asm__ volatile("movl %%cr2, %0" : "=r"(address));
    write_hex("\nERROR the guest faulted: vector 0x", frame->vector);
    write_hex(" error 0x", frame->error);
    write_hex(" eip 0x", frame->eip);
    write_hex(" cr2 0x", address);
    platform_write("\n", 1);
    guest_exit(LAYOUT_EXIT_BAD);
}

static void gates_load(void)
{
    for (uint32_t v = 0; v < VECTORS; v++) {
        uint32_t entry = (uint32_t)fault_entries[v];
        gates[v][0] = CODE_SELECTOR << 16 | (entry & 0xffff);
        gates[v][1] = (entry & 0xffff0000) | GATE_INTERRUPT_32;
    }
    TablePointer pointer = {sizeof gates - 1, gates};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

static void paging_enable(void)
{
    for (uint32_t page = 1; page < PAGE_TABLES * 1024; page++)
        tables[page] = page * PAGE_BYTES | PTE_PRESENT | PTE_WRITABLE;
    for (uint32_t i = 0; i < PAGE_TABLES; i++)
        directory[i] = (uint32_t)&tables[i * 1024] | PTE_PRESENT | PTE_WRITABLE;
    __asm__ volatile("movl %0, %%cr3\n\t"
                     "movl %%cr0, %%eax\n\t"
                     "orl $0x80010000, %%eax\n\t" // PG and WP
                     "movl %%eax, %%cr0\n\t"
                     "jmp 1f\n1:"
                     : : "r"(directory) : "eax", "memory");
}

// Without SSE the programs that want it fault.
static void float_enable(void)
{
    uint32_t features, cr4;
    __asm__ volatile("fninit");
    __asm__ volatile("cpuid" : "=d"(features) : "a"(1) : "ebx", "ecx");
    if (!(features >> 25 & 1))
        return;
    __asm__ volatile("movl %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("movl %0, %%cr4" : : "r"(cr4 | 0x600)); // OSFXSR, OSXMMEXCPT
}

void guest_main(void)
{
    gates_load();
    float_enable();
    paging_enable();
    int status = runner_main((const char *)LAYOUT_WANTED_AT);
    guest_exit(status == 0 ? LAYOUT_EXIT_GOOD : LAYOUT_EXIT_BAD);
}
