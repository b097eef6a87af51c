// SPDX-License-Identifier: MIT
// wild [ADDRESS]: writes one byte through a wild pointer, null unless told otherwise. Outside the
// program's areas that is the end of it; inside the byte is written.
#include "lab.h"

int main(void)
{
    char argument[LAB_COMMAND_BYTES];
    uint32_t address = 0;

    lab_argument(argument, sizeof argument);
    if (*argument && !lab_read_number(argument, &address)) {
        lab_print("wild: '%s' is not an address; try wild 0x100000\n", argument);
        return 1;
    }
    lab_print("wild: writing to 0x%08x\n", address);
    __asm__ volatile("movb $1, (%0)" : : "r"(address) : "memory");
    lab_print("wild: that worked, the address is mine\n");
    return 0;
}
