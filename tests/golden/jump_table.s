# SPDX-License-Identifier: MIT
# JMP through a table.
# mode: flat32
    cmp $7, %eax
    jmp *0x8000(,%eax,4)
