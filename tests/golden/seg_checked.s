# SPDX-License-Identifier: MIT
# A segment with a limit: compared before each access.
# mode: flat32 ds=checked es=checked
    mov (%ebx), %eax
    mov %ax, %es:4(%edi)
    incb 0x1000
    jmp .
