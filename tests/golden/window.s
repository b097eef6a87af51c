# SPDX-License-Identifier: MIT
# Code at CPL 3 whose hot pages are in the window: it expects the base as addend, as code of the kernel does.
# mode: user32 window
    mov (%eax), %ecx
    add %ecx, 4(%edx)
    mov (%esi), %eax
    mov 8(%esi), %ebx
    jmp . + 0x100
