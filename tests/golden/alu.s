# SPDX-License-Identifier: MIT
# Arithmetic between registers and constants: one host instruction each, flags only at the end.
# mode: flat32
    add %ebx, %eax
    sub $5, %ecx
    xor %edx, %edx
    and $0xff00, %esi
    or %al, %bl
    cmp %edi, %esi
    inc %ecx
    dec %bx
    neg %eax
    not %edx
    lea 8(%ebx,%ecx,4), %edi
    test %eax, %eax
    je .
