// SPDX-License-Identifier: MIT
// Everything the kernel's files say to each other, file by file.
//
// Rules of this kernel:
//   1. Every linear address the kernel uses equals the physical one. Addresses below
//      LAB_USER_END belong to the program that runs and to nobody when none does.
//   2. Interrupt handlers only put characters into the input ring and count ticks; the console
//      is written from system calls and exceptions alone, so output needs no lock.
//   3. A system call checks a program's pointer with paging_user_may before it follows it. The
//      page may still be absent: then the kernel itself takes the page fault, served as any other.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../shared/abi.h"
#include "../shared/text.h"

// What trap_common in entry.S leaves on the kernel stack, lowest address first.
struct Frame {
    uint32_t gs, fs, es, ds;
    uint32_t edi, esi, ebp, unused_esp, ebx, edx, ecx, eax;    // pushal
    uint32_t vector, error;                                     // error is 0 where the CPU has none
    uint32_t eip, cs, eflags;                                   // pushed by the CPU
    uint32_t esp, ss;                                           // only when it left ring 3
};

// A program that runs or waits for the one it started. Lies at the bottom of the page whose top
// is its kernel stack.
struct Process {
    struct Process *parent;     // waits for this one; NULL: the kernel itself does
    uint32_t *directory;        // page directory, a pool page
    uint32_t *table;            // page table of the first 4 MiB, a pool page
    uint32_t waiting_esp;       // kernel stack of the waiting parent, for user_leave
    uint32_t text_end;          // first linear address behind its read-only pages
    bool traces_faults;         // LAB_CALL_TRACE
    char command[LAB_COMMAND_BYTES];
};

// A part of a program's address space, see abi.h.
struct Area {
    const char *name;
    uint32_t start, end;        // [start, end)
    bool writable;
};

// A file of the archive; both pointers lead into the kernel's image.
struct File {
    const char *name;
    const uint8_t *data;
    uint32_t bytes;
};

// entry.S
extern char kernel_image_end[], kernel_end[];
extern const uint32_t trap_stubs[];                     // one entry address per vector
void user_enter(uint32_t *waiting_esp, struct Frame *frame); // returns when user_leave is called
__attribute__((noreturn)) void user_leave(uint32_t waiting_esp);

// segment.c: GDT, IDT, task state
#define SEGMENT_VECTORS 48                              // 32 exceptions, 16 interrupt lines
#define SEGMENT_CALL_VECTOR 0x80
void segment_init(void);
void segment_set_kernel_stack(uint32_t esp);            // used on the next entry from ring 3

// trap.c: exceptions, interrupts and system calls arrive here
void trap_dispatch(struct Frame *frame);
void trap_print_registers(const struct Frame *frame);
__attribute__((noreturn)) void trap_end_kernel(const struct Frame *frame);
__attribute__((noreturn)) void trap_halt(void);

// paging.c: page pool, address spaces, page faults
void paging_init(uint32_t memory_bytes);
void *paging_take_page(void);                           // zeroed; NULL when there is none
void paging_give_page(void *page);
bool paging_make_space(struct Process *process);        // false: no page
void paging_free_space(struct Process *process);
bool paging_map_user(struct Process *process, uint32_t linear, void *page, bool writable);
void paging_use_space(const struct Process *process);   // NULL: the kernel alone
bool paging_user_may(uint32_t linear, uint32_t bytes, bool write);
void paging_handle_fault(struct Frame *frame);
void paging_count(struct LabCounts *counts);

// process.c
struct Process *process_current(void);                  // NULL before the shell starts
int process_run(const char *command);                   // the program's status or LAB_ERROR_*
__attribute__((noreturn)) void process_exit(int status);
__attribute__((noreturn)) void process_kill(const struct Frame *frame, const char *reason);
void process_count(struct LabCounts *counts);

// call.c
void call_dispatch(struct Frame *frame);

// archive.c: the read-only files, a ustar archive inside the kernel's image
bool archive_get(uint32_t index, struct File *file);
bool archive_find(const char *name, struct File *file);
bool archive_is_program(const struct File *file);

// console.c: screen and serial line together
void console_init(void);
void console_write(const char *bytes, size_t count);
__attribute__((format(printf, 1, 2))) void console_print(const char *format, ...);
void console_put_input(char character);                 // from an interrupt handler
bool console_take_input(char *character);
bool console_wait_input(char *character);               // HLT until there is one; false: Ctrl-C
bool console_take_break(void);                          // Ctrl-C since the last call?

// One chip per file.
void vga_init(void);
void vga_put(char character);
void vga_show_cursor(void);
void uart_init(void);
void uart_put(char character);
void uart_interrupt(void);
void keyboard_init(void);
void keyboard_interrupt(void);
void pic_init(void);                                    // lines 0 to 15 arrive at 0x20 to 0x2f
bool pic_is_spurious(uint32_t line);
void pic_acknowledge(void);
#define TIMER_HZ 100
void timer_init(void);
void timer_interrupt(void);
uint32_t timer_ticks(void);
__attribute__((noreturn)) void power_off(void);

// Single instructions.
static inline void cpu_out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void cpu_out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t cpu_in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void cpu_disable_interrupts(void)
{
    __asm__ volatile("cli" : : : "memory");
}

static inline void cpu_enable_interrupts(void)
{
    __asm__ volatile("sti" : : : "memory");
}

// STI takes effect after the instruction that follows it, so no interrupt slips in before HLT.
static inline void cpu_enable_interrupts_and_halt(void)
{
    __asm__ volatile("sti; hlt" : : : "memory");
}
