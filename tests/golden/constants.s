# SPDX-License-Identifier: MIT
# Groups at constant addresses: in one page, and over a page's end.
# mode: flat32
    mov     0x6ffff14, %eax
    or      0x6ffff10, %eax
    incl    0x6ffff18
    mov     0x6ff1ffc, %ecx
    mov     %ecx, 0x6ff2002
    ret
