# SPDX-License-Identifier: MIT
# Moves of each size, with and without extension.
# mode: flat32
    mov %eax, %ebx
    mov $0x1234, %cx
    mov $7, %dl
    movzbl %cl, %eax
    movswl %dx, %esi
    movzwl (%ebx), %ecx
    movsbl 1(%ebx,%esi,2), %edx
    mov %dx, 2(%edi)
    mov %cl, 0x1000
    mov (%esi), %ax
    mov (%ecx), %ch
    movl $-1, (%ebx)
    xchg %eax, %ecx
    bswap %edx
    cwtl
    cltd
    jmp .
