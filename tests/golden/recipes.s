# SPDX-License-Identifier: MIT
# A restore record of each sort: what a fault at the stores finds the flags from.
# mode: flat32
    add %ebx, %eax
    mov %ecx, (%esi)
    inc %edx
    mov %ecx, 4(%esi)
    shl $3, %eax
    mov %ecx, 8(%esi)
    cmp $7, %eax
    mov %ecx, 12(%esi)
    and %ebx, %eax
    mov %eax, %ebx
    mov %ecx, 16(%esi)
    bt $3, %edx
    mov %ecx, 20(%esi)
    imul %ebx, %eax
    mov %ecx, 24(%esi)
    add %eax, %eax
    jmp .
