# SPDX-License-Identifier: MIT
# A 16-bit stack: pushes and pops of one group move SP together; copies of SP take the constant over; where SP comes
# back to where it was, it does not move.
# mode: real
    .code16
    push %ax
    push %bx
    mov %sp, %bp
    mov 2(%bp), %cx
    pop %dx
    push %si
    cmp %cx, %dx
    pop %bx
    je 1f
    pop %ax
1:  ret
