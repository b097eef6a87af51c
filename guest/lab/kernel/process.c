// SPDX-License-Identifier: MIT
// Programs: started from a file, run in ring 3, ended by themselves or by the kernel.
//
// A program runs to its end while the one that started it waits inside its own system call, so
// programs form a chain, the shell first; nothing is scheduled. process_run is the whole life:
//
//     process_run ─ load ─ user_enter ═ iret ═> ring 3 ... int $0x80, interrupts, faults ...
//          ^                                        │ exit, or a fault that nobody can serve
//          └────────────── user_leave <─────────────┘
#include "kernel.h"

enum { EFLAGS_AT_START = 0x202 };       // interrupts on, I/O privilege 0

// A process and its kernel stack share a page, the frame of the first entry at its very top.
struct ProcessPage {
    struct Process process;
    uint8_t stack[LAB_PAGE_BYTES - sizeof(struct Process) - sizeof(struct Frame)];
    struct Frame frame;
};

_Static_assert(sizeof(struct ProcessPage) == LAB_PAGE_BYTES, "a process is one page");

static struct Process *current;
static int last_status;                 // of the program that ended last
static uint32_t programs_run;
static uint32_t programs_killed;

struct Process *process_current(void)
{
    return current;
}

// Makes process (NULL: the kernel alone) the one whose memory and kernel stack are in use.
static void process_switch(struct Process *process)
{
    current = process;
    paging_use_space(process);
    if (process)
        segment_set_kernel_stack((uint32_t)process + LAB_PAGE_BYTES);
}

// Copies the file to LAB_TEXT_START and up: read-only before text_end, writable from there.
static bool process_load(struct Process *process, const struct File *file)
{
    for (uint32_t done = 0; done < file->bytes; done += LAB_PAGE_BYTES) {
        uint32_t linear = LAB_TEXT_START + done;
        uint32_t left = file->bytes - done;
        void *page = paging_take_page();
        if (!paging_map_user(process, linear, page, linear >= process->text_end))
            return false;
        memcpy(page, file->data + done, left < LAB_PAGE_BYTES ? left : LAB_PAGE_BYTES);
    }
    return true;
}

static void process_fill_frame(struct Frame *frame, uint32_t entry)
{
    *frame = (struct Frame){
        .gs = LAB_USER_DATA, .fs = LAB_USER_WINDOW, .es = LAB_USER_DATA, .ds = LAB_USER_DATA,
        .eip = entry, .cs = LAB_USER_CODE, .eflags = EFLAGS_AT_START,
        .esp = LAB_STACK_END, .ss = LAB_USER_DATA,
    };
}

// The first word of the command line is the file's name.
static bool process_find_file(const char *command, struct File *file)
{
    char name[LAB_NAME_BYTES];
    size_t length = 0;
    while (command[length] && command[length] != ' ')
        length++;
    if (length >= sizeof name)
        return false;
    text_copy(name, length + 1, command);
    return archive_find(name, file);
}

// Runs a program whose page is ready, until it ends.
static int process_live(struct ProcessPage *page)
{
    struct Process *process = &page->process;
    programs_run++;
    cpu_disable_interrupts();
    process_switch(process);
    user_enter(&process->waiting_esp, &page->frame);
    process_switch(process->parent);
    cpu_enable_interrupts();
    return last_status;
}

int process_run(const char *command)
{
    struct File file;
    if (!process_find_file(command, &file))
        return LAB_ERROR_FILE;
    if (!archive_is_program(&file))
        return LAB_ERROR_PROGRAM;

    const struct LabHeader *header = (const void *)file.data;
    struct ProcessPage *page = paging_take_page();
    if (!page)
        return LAB_ERROR_MEMORY;
    page->process.parent = current;
    page->process.text_end = header->text_end;
    text_copy(page->process.command, LAB_COMMAND_BYTES, command);
    process_fill_frame(&page->frame, header->entry);

    int status = LAB_ERROR_MEMORY;
    if (paging_make_space(&page->process)) {
        if (process_load(&page->process, &file))
            status = process_live(page);
        paging_free_space(&page->process);
    }
    paging_give_page(page);
    return status;
}

void process_exit(int status)
{
    last_status = status;
    user_leave(current->waiting_esp);
    __builtin_unreachable();
}

void process_kill(const struct Frame *frame, const char *reason)
{
    console_print("killed: %s: %s\n", current->command, reason);
    console_print("  vector %u, error code 0x%x, at cs:eip=0x%04x:0x%08x\n", frame->vector,
                  frame->error, frame->cs & 0xffff, frame->eip);
    trap_print_registers(frame);
    programs_killed++;
    process_exit(LAB_KILLED);
}

void process_count(struct LabCounts *counts)
{
    counts->programs_run = programs_run;
    counts->programs_killed = programs_killed;
}
