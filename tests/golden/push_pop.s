# SPDX-License-Identifier: MIT
# The stack by PUSH and POP: ESP changes after the access.
# mode: flat32
    push %eax
    push $0x12345678
    pushl 4(%ebx)
    pop %ecx
    popl (%ebx)
    push %esp
    pop %esp
    push %ds
    jmp .
