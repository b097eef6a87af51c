// SPDX-License-Identifier: MIT
// The page pool, the address spaces, and the page fault: the heart of the lab.
//
// A page table entry, and the error code that the CPU pushes for a page fault (SDM 3A 4.7):
//
//     | page's physical address 31-12 | avail | 0 0 D A 0 0 | U | W | P |
//
//     error code: bit 0  0 the page is not present, 1 it is and the access is not allowed
//                 bit 1  0 reading, 1 writing
//                 bit 2  0 the CPU was in ring 0, 1 in ring 3
//
// Invariants:
//   1. kernel_table identity-maps the screen and all memory from 1 MiB to the pool's end, for
//      ring 0 only. Its entries below LAB_USER_END are empty.
//   2. An address space is two pages: a directory like the kernel's, and a page table of its own
//      for the first 4 MiB, whose entries below LAB_USER_END are the program's.
//   3. A page that a program is given is zeroed first, so no program sees another's bytes.
//   4. An entry goes from empty to present without a TLB flush: the TLB holds no empty entries.
#include "kernel.h"

enum {
    ENTRY_PRESENT = 1,
    ENTRY_WRITABLE = 2,
    ENTRY_USER = 4,

    ERROR_PRESENT = 1,
    ERROR_WRITE = 2,
    ERROR_USER = 4,

    TABLE_ENTRIES = 1024,
    TABLES = 4,                         // 4 MiB each: the lab uses at most 16 MiB
    SCREEN_START = 0xb8000,
    SCREEN_END = 0xc0000,
    MEMORY_START = 0x100000,
    MEMORY_MOST = TABLES * TABLE_ENTRIES * LAB_PAGE_BYTES,
    CR0_EMULATION = 1 << 2,             // floating point raises #NM, its state is saved nowhere
};

#define CR0_PAGING (1u << 31)

// A page given back; its first word leads to the next.
struct FreePage {
    struct FreePage *next;
};

static uint32_t kernel_directory[TABLE_ENTRIES] __attribute__((aligned(LAB_PAGE_BYTES)));
static uint32_t kernel_table[TABLES * TABLE_ENTRIES] __attribute__((aligned(LAB_PAGE_BYTES)));
static struct FreePage *free_pages;     // pages given back
static uint32_t fresh_start;            // pages from here to fresh_end were never taken
static uint32_t fresh_end;
static uint32_t pages_total;
static uint32_t pages_free;
static uint32_t faults_served;

static void paging_map_kernel(uint32_t start, uint32_t end)
{
    for (uint32_t page = start; page < end; page += LAB_PAGE_BYTES)
        kernel_table[page / LAB_PAGE_BYTES] = page | ENTRY_PRESENT | ENTRY_WRITABLE;
}

void paging_init(uint32_t memory_bytes)
{
    fresh_start = (uint32_t)kernel_end;
    fresh_end = memory_bytes < MEMORY_MOST ? memory_bytes & -LAB_PAGE_BYTES : MEMORY_MOST;
    pages_total = pages_free = (fresh_end - fresh_start) / LAB_PAGE_BYTES;

    paging_map_kernel(SCREEN_START, SCREEN_END);
    paging_map_kernel(MEMORY_START, fresh_end);
    for (uint32_t i = 0; i < TABLES; i++)
        kernel_directory[i] = (uint32_t)&kernel_table[i * TABLE_ENTRIES] | ENTRY_PRESENT |
                              ENTRY_WRITABLE;
    paging_use_space(NULL);
    __asm__ volatile("mov %%cr0, %%eax; or %0, %%eax; mov %%eax, %%cr0; jmp 1f; 1:"
                     : : "ri"(CR0_PAGING | CR0_EMULATION) : "eax");
}

void *paging_take_page(void)
{
    void *page = free_pages;
    if (page) {
        free_pages = free_pages->next;
    } else if (fresh_start < fresh_end) {
        page = (void *)fresh_start;
        fresh_start += LAB_PAGE_BYTES;
    } else {
        return NULL;
    }
    pages_free--;
    return memset(page, 0, LAB_PAGE_BYTES);
}

void paging_give_page(void *page)
{
    struct FreePage *free_page = page;
    free_page->next = free_pages;
    free_pages = free_page;
    pages_free++;
}

bool paging_make_space(struct Process *process)
{
    process->directory = paging_take_page();
    process->table = paging_take_page();
    if (!process->directory || !process->table) {
        paging_free_space(process);
        return false;
    }
    memcpy(process->directory, kernel_directory, LAB_PAGE_BYTES);
    memcpy(process->table, kernel_table, LAB_PAGE_BYTES);
    process->directory[0] = (uint32_t)process->table | ENTRY_PRESENT | ENTRY_WRITABLE | ENTRY_USER;
    return true;
}

// Gives back the program's pages, its table and its directory; some of them may be missing.
void paging_free_space(struct Process *process)
{
    for (uint32_t i = 0; process->table && i < LAB_USER_END / LAB_PAGE_BYTES; i++)
        if (process->table[i] & ENTRY_PRESENT)
            paging_give_page((void *)(process->table[i] & -LAB_PAGE_BYTES));
    if (process->table)
        paging_give_page(process->table);
    if (process->directory)
        paging_give_page(process->directory);
}

bool paging_map_user(struct Process *process, uint32_t linear, void *page, bool writable)
{
    uint32_t *entry = &process->table[linear / LAB_PAGE_BYTES];
    if (!page || linear >= LAB_USER_END)
        return false;
    *entry = (uint32_t)page | ENTRY_PRESENT | ENTRY_USER | (writable ? ENTRY_WRITABLE : 0);
    return true;
}

void paging_use_space(const struct Process *process)
{
    const uint32_t *directory = process ? process->directory : kernel_directory;
    __asm__ volatile("mov %0, %%cr3" : : "r"(directory) : "memory");
}

// The present program's area that holds linear; false: none does.
static bool paging_find_area(uint32_t linear, struct Area *area)
{
    const struct Process *process = process_current();
    if (!process)
        return false;
    const struct Area areas[] = {
        { "text", LAB_TEXT_START, process->text_end, false },
        { "data", process->text_end, LAB_WINDOW_START, true },
        { "window", LAB_WINDOW_START, LAB_WINDOW_END, true },
        { "stack", LAB_STACK_START, LAB_STACK_END, true },
    };
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++) {
        *area = areas[i];
        if (linear >= area->start && linear < area->end)
            return true;
    }
    return false;
}

bool paging_user_may(uint32_t linear, uint32_t bytes, bool write)
{
    struct Area area;
    return paging_find_area(linear, &area) && bytes <= area.end - linear &&
           (area.writable || !write);
}

static void paging_print_fault(const struct Frame *frame, uint32_t cr2)
{
    console_print("page fault: cr2=0x%08x error=0x%x (%s %s, %s)\n", cr2, frame->error,
                  frame->error & ERROR_USER ? "ring 3" : "ring 0",
                  frame->error & ERROR_WRITE ? "write" : "read",
                  frame->error & ERROR_PRESENT ? "not allowed" : "page not present");
    console_print("page fault: at cs:eip=0x%04x:0x%08x\n", frame->cs & 0xffff, frame->eip);
}

// The page is absent and in one of the program's areas: the program gets a page of zeros there.
// Nothing else is to be done, as the CPU left the instruction undone: iret runs it again.
static void paging_serve_fault(const struct Frame *frame, uint32_t cr2, const struct Area *area)
{
    struct Process *process = process_current();
    uint32_t linear = cr2 & -LAB_PAGE_BYTES;
    void *page = paging_take_page();

    if (!paging_map_user(process, linear, page, area->writable))
        process_kill(frame, "no free page is left");
    faults_served++;
    if (!process->traces_faults)
        return;
    paging_print_fault(frame, cr2);
    console_print("page fault: in the program's %s area 0x%08x-0x%08x\n", area->name, area->start,
                  area->end - 1);
    console_print("page fault: allocated page 0x%08x for linear 0x%08x, zeroed\n", (uint32_t)page,
                  linear);
    console_print("page fault: returning to 0x%08x to run the instruction again\n", frame->eip);
}

void paging_handle_fault(struct Frame *frame)
{
    struct Area area;
    uint32_t cr2;

    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    bool has_area = paging_find_area(cr2, &area);
    if (has_area && !(frame->error & ERROR_PRESENT)) {
        paging_serve_fault(frame, cr2, &area);
        return;
    }
    if (!(frame->error & ERROR_USER))
        trap_end_kernel(frame);
    paging_print_fault(frame, cr2);
    if (has_area)
        process_kill(frame, "page fault: its text is read-only");
    else if (cr2 >= LAB_USER_END)
        process_kill(frame, "page fault: the address is the kernel's or nobody's");
    else
        process_kill(frame, "page fault: the address is in none of its areas");
}

void paging_count(struct LabCounts *counts)
{
    counts->pages_total = pages_total;
    counts->pages_free = pages_free;
    counts->faults_served = faults_served;
}
