# SPDX-License-Identifier: MIT
# The carry that INC and DEC keep, where only a fault could show it: it stays in its place, or a compare brings it back.
# mode: flat32
    add 8(%esi), %eax
    incl 8(%edi)
    dec %ecx
    mov %eax, (%ebx,%esi)
    inc %edx
    mov %eax, (%ebx,%edi)
    sub %ebp, %edx
    mov %edx, (%ebx)
    dec %ecx
    mov %ecx, (%edx)
    test %eax, %eax
    mov %eax, (%ecx)
    inc %eax
    mov %edx, %es
    dec %eax
    mov %eax, (%ebp)
