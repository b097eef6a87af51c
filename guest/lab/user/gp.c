// SPDX-License-Identifier: MIT
// gp: stops the CPU, which ring 3 may not. The kernel gets #GP and ends the program.
#include "lab.h"

int main(void)
{
    lab_print("gp: executing hlt in ring 3\n");
    __asm__ volatile("hlt");
    lab_print("gp: WRONG: hlt was executed\n");
    return 1;
}
