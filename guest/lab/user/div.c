// SPDX-License-Identifier: MIT
// div: divides by zero. The kernel gets #DE with the address of the division and ends the program.
#include "lab.h"

int main(void)
{
    uint32_t quotient = 1, remainder = 0, divisor = 0;

    lab_print("div: dividing 1 by 0\n");
    __asm__ volatile("divl %2" : "+a"(quotient), "+d"(remainder) : "r"(divisor) : "cc");
    lab_print("div: WRONG: the division gave %u\n", quotient);
    return 1;
}
