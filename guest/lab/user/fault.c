// SPDX-License-Identifier: MIT
// fault: a copy loop through %fs whose ninth byte falls on a page that does not exist yet.
//
// The window's first page is touched beforehand, its second is not. The loop starts 8 bytes
// before the border, so put_fs_byte's store works eight times and faults once, in mid-loop. The
// kernel answers with a zero page and the very same instruction runs again. Were any register
// not what it was before the fault, the byte or its place would be wrong.
#include "lab.h"

enum { BEFORE_BORDER = 8 };

void put_fs_byte(char value, char *address);
unsigned char get_fs_byte(const char *address);
extern char lab_fault_insn[];

static const char message[] = "precise exception";

static void copy_through_fs(char *to)
{
    for (size_t i = 0; i < sizeof message; i++)
        put_fs_byte(message[i], to + i);
}

static bool check_copy(const char *from)
{
    for (size_t i = 0; i < sizeof message; i++) {
        unsigned char found = get_fs_byte(from + i);
        if (found != (unsigned char)message[i]) {
            lab_print("fault: WRONG: fs:0x%x holds 0x%02x instead of 0x%02x\n",
                      (uint32_t)(from + i), found, (unsigned char)message[i]);
            return false;
        }
    }
    return true;
}

int main(void)
{
    char *border = (char *)LAB_PAGE_BYTES;      // addresses in the window count from its base
    char *start = border - BEFORE_BORDER;

    *(volatile char *)LAB_WINDOW_START = 0;     // page 0 of the window exists from here on
    lab_print("fault: copying %u bytes to fs:0x%x with put_fs_byte (0x%08x)\n",
              (uint32_t)sizeof message, (uint32_t)start, (uint32_t)put_fs_byte);
    lab_print("fault: byte 9 is at fs:0x%x, linear 0x%08x, a page not yet present\n",
              (uint32_t)border, LAB_WINDOW_START + (uint32_t)border);
    uint32_t before = lab_counts().faults_served;
    lab_trace_faults(true);
    copy_through_fs(start);
    lab_trace_faults(false);
    uint32_t faults = lab_counts().faults_served - before;

    lab_print("fault: mov %%al,%%fs:(%%edx) at 0x%08x ran again and succeeded\n",
              (uint32_t)lab_fault_insn);
    lab_print("fault: fs:0x%x reads back 0x%02x '%c'\n", (uint32_t)border, get_fs_byte(border),
              get_fs_byte(border));
    if (!check_copy(start))
        return 1;
    lab_print("fault: all %u bytes read back right, page faults in the loop: %u\n",
              (uint32_t)sizeof message, faults);
    return 0;
}
