// SPDX-License-Identifier: MIT
// Where every exception, interrupt and system call arrives, and what is done about the hopeless.
//
// An exception in ring 3 ends the program with a report, except a page fault that paging.c can
// serve. An exception in ring 0 (again with that exception) prints the registers and halts.
#include "kernel.h"

enum {
    VECTOR_PAGE_FAULT = 14,
    VECTOR_FIRST_LINE = 32,
    LINE_TIMER = 0,
    LINE_KEYBOARD = 1,
    LINE_UART = 4,
    RING = 3,                   // the privilege bits of a selector
};

static const char *trap_name(uint32_t vector)
{
    static const char *const names[] = {
        "#DE divide error", "#DB debug", "NMI", "#BP breakpoint", "#OF overflow",
        "#BR bound range exceeded", "#UD invalid opcode", "#NM no coprocessor",
        "#DF double fault", "coprocessor segment overrun", "#TS invalid task state",
        "#NP segment not present", "#SS stack fault", "#GP general protection",
        "#PF page fault", "reserved", "#MF coprocessor error", "#AC alignment check",
    };
    return vector < sizeof names / sizeof *names ? names[vector] : "unexpected vector";
}

void trap_print_registers(const struct Frame *frame)
{
    bool ring_3 = frame->cs & RING;
    uint32_t esp = ring_3 ? frame->esp : (uint32_t)&frame->esp;

    console_print("  eax=%08x ebx=%08x ecx=%08x edx=%08x\n", frame->eax, frame->ebx, frame->ecx,
                  frame->edx);
    console_print("  esi=%08x edi=%08x ebp=%08x esp=%08x\n", frame->esi, frame->edi, frame->ebp,
                  esp);
    console_print("  eip=%08x eflags=%08x cs=%04x ss=%04x\n", frame->eip, frame->eflags,
                  frame->cs & 0xffff, ring_3 ? frame->ss & 0xffff : LAB_KERNEL_DATA);
    console_print("  ds=%04x es=%04x fs=%04x gs=%04x\n", frame->ds & 0xffff, frame->es & 0xffff,
                  frame->fs & 0xffff, frame->gs & 0xffff);
}

static void trap_print_control(void)
{
    uint32_t cr0, cr2, cr3;
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    __asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
    console_print("  cr0=%08x cr2=%08x cr3=%08x\n", cr0, cr2, cr3);
}

void trap_halt(void)
{
    console_print("kernel: halted\n");
    for (;;)
        __asm__ volatile("cli; hlt");
}

void trap_end_kernel(const struct Frame *frame)
{
    console_print("\nkernel: exception in ring 0: %s (vector %u), error code 0x%x\n",
                  trap_name(frame->vector), frame->vector, frame->error);
    trap_print_registers(frame);
    trap_print_control();
    trap_halt();
}

static void trap_handle_line(uint32_t line)
{
    if (pic_is_spurious(line))
        return;
    if (line == LINE_TIMER)
        timer_interrupt();
    else if (line == LINE_KEYBOARD)
        keyboard_interrupt();
    else if (line == LINE_UART)
        uart_interrupt();
    pic_acknowledge();
}

static void trap_handle_exception(struct Frame *frame)
{
    if (frame->vector == VECTOR_PAGE_FAULT)
        paging_handle_fault(frame);
    else if (!(frame->cs & RING))
        trap_end_kernel(frame);
    else
        process_kill(frame, trap_name(frame->vector));
}

void trap_dispatch(struct Frame *frame)
{
    if (frame->vector == SEGMENT_CALL_VECTOR)
        call_dispatch(frame);
    else if (frame->vector >= VECTOR_FIRST_LINE)
        trap_handle_line(frame->vector - VECTOR_FIRST_LINE);
    else
        trap_handle_exception(frame);

    if ((frame->cs & RING) && console_take_break())
        process_kill(frame, "interrupted with Ctrl-C");
}
