# SPDX-License-Identifier: MIT
# A segment with a base and no limit: added, nothing compared.
# mode: user32 gs=based
    mov %gs:0x10, %eax
    mov %eax, %gs:4(%ecx)
    jmp .
