// SPDX-License-Identifier: MIT
// Descriptor tables: the segments, the gates, and the task state with ring 0's stack.
//
// A segment descriptor (SDM 3A 3.4.5), high half first:
//
//      31      24 23 22 21 20 19   16 15 14 13 12 11   8 7       0
//     | base 31-24| G| B| 0| 0| lim  | P| DPL | S| type | base 23-16|
//     | base 15-0                    | limit 15-0                   |
#include "kernel.h"

enum {
    ACCESS_CODE = 0x9a,         // present, ring 0, code, readable
    ACCESS_DATA = 0x92,         // present, ring 0, data, writable
    ACCESS_TASK = 0x89,         // present, ring 0, 386 task state
    ACCESS_RING_3 = 0x60,
    FLAGS_PAGES = 0xc,          // limit counts pages, 32 bits
    FLAGS_BYTES = 0x4,          // limit counts bytes, 32 bits
    GATE_INTERRUPT = 0x8e,      // present, ring 0 may use it, interrupts off on entry
    GATE_TRAP = 0x8f,           // the same, interrupts stay as they are
};

struct Descriptor {
    uint32_t low, high;
};

// The 386's task state; the CPU reads only ring 0's stack here, as there is one task.
struct TaskState {
    uint32_t link;
    uint32_t esp0, ss0;
    uint32_t unused[22];
    uint16_t trap;
    uint16_t port_map;          // offset behind the segment: ring 3 has no ports
};

struct __attribute__((packed)) TableRegister {
    uint16_t limit;
    const void *base;
};

static struct TaskState task;
static struct Descriptor segments[7];
static struct Descriptor gates[SEGMENT_CALL_VECTOR + 1];

static void segment_set(uint32_t selector, uint32_t base, uint32_t limit, uint32_t access,
                        uint32_t flags)
{
    segments[selector / 8] = (struct Descriptor){
        .low = base << 16 | (limit & 0xffff),
        .high = (base & 0xff000000) | flags << 20 | (limit & 0xf0000) | access << 8 |
                (base >> 16 & 0xff),
    };
}

static void gate_set(uint32_t vector, uint32_t entry, uint32_t access)
{
    gates[vector] = (struct Descriptor){
        .low = LAB_KERNEL_CODE << 16 | (entry & 0xffff),
        .high = (entry & 0xffff0000) | access << 8,
    };
}

static void segment_fill(void)
{
    segment_set(LAB_KERNEL_CODE, 0, 0xfffff, ACCESS_CODE, FLAGS_PAGES);
    segment_set(LAB_KERNEL_DATA, 0, 0xfffff, ACCESS_DATA, FLAGS_PAGES);
    segment_set(LAB_USER_CODE, 0, 0xfffff, ACCESS_CODE | ACCESS_RING_3, FLAGS_PAGES);
    segment_set(LAB_USER_DATA, 0, 0xfffff, ACCESS_DATA | ACCESS_RING_3, FLAGS_PAGES);
    segment_set(LAB_USER_WINDOW, LAB_WINDOW_START, LAB_WINDOW_END - LAB_WINDOW_START - 1,
                ACCESS_DATA | ACCESS_RING_3, FLAGS_BYTES);
    segment_set(LAB_TASK, (uint32_t)&task, sizeof task - 1, ACCESS_TASK, 0);
    task.ss0 = LAB_KERNEL_DATA;
    task.port_map = sizeof task;
}

// Ring 3 may use the breakpoint and overflow gates (int3, into) and the system call's.
static void gate_fill(void)
{
    for (uint32_t vector = 0; vector < SEGMENT_VECTORS; vector++) {
        bool from_ring_3 = vector == 3 || vector == 4;
        gate_set(vector, trap_stubs[vector], GATE_INTERRUPT | (from_ring_3 ? ACCESS_RING_3 : 0));
    }
    gate_set(SEGMENT_CALL_VECTOR, trap_stubs[SEGMENT_VECTORS], GATE_TRAP | ACCESS_RING_3);
}

void segment_init(void)
{
    struct TableRegister gdt = { sizeof segments - 1, segments };
    struct TableRegister idt = { sizeof gates - 1, gates };

    segment_fill();
    gate_fill();
    __asm__ volatile("lgdt %0" : : "m"(gdt));
    __asm__ volatile("lidt %0" : : "m"(idt));
    __asm__ volatile("ljmp %0, $1f; 1:" : : "i"(LAB_KERNEL_CODE));
    __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss" : : "r"(LAB_KERNEL_DATA));
    __asm__ volatile("mov %0, %%fs; mov %0, %%gs" : : "r"(0));
    __asm__ volatile("lldt %w0" : : "r"(0));
    __asm__ volatile("ltr %w0" : : "r"(LAB_TASK));
}

void segment_set_kernel_stack(uint32_t esp)
{
    task.esp0 = esp;
}
