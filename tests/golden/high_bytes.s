# SPDX-License-Identifier: MIT
# AH, CH, DH, BH as sources and destinations.
# mode: flat32
    mov %ah, %bl
    mov %cl, %dh
    add %ch, (%edx)
    xchg %ah, %al
    movzbl %bh, %esi
    cmpb $3, %ah
    je .
