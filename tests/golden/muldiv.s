# SPDX-License-Identifier: MIT
# MUL, IMUL, DIV: a division may fault.
# mode: flat32
    mul %ebx
    imul 4(%esi), %ecx
    imul $10, %edx, %edi
    cltd
    idivl 8(%esi)
    divb %cl
    jmp .
