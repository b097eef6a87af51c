// SPDX-License-Identifier: MIT
// limit: writes the last byte of the segment in %fs, then the one behind it.
//
// The second write must raise #GP, with error code 0, from the segment's limit. A machine without
// limit checks lets the address through to paging, and the report says #PF.
#include "lab.h"

int main(void)
{
    const uint32_t size = LAB_WINDOW_END - LAB_WINDOW_START;

    lab_print("limit: writing fs:0x%x, the window's last byte\n", size - 1);
    __asm__ volatile("movb $1, %%fs:(%0)" : : "r"(size - 1) : "memory");
    lab_print("limit: writing fs:0x%x, one too far\n", size);
    __asm__ volatile("movb $1, %%fs:(%0)" : : "r"(size) : "memory");
    lab_print("limit: WRONG: nothing stopped the write\n");
    return 1;
}
