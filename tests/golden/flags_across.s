# SPDX-License-Identifier: MIT
# Flags of CMP live across a load and a store until the jump uses them.
# mode: flat32
    cmp %ebx, %eax
    mov (%esi), %ecx
    mov %ecx, (%edi)
    jb .
