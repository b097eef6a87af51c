# SPDX-License-Identifier: MIT
# Loads of words that the block has stored: from the register, or from a copy where the register has changed since. The
# return address is the one that was pushed: nothing is left of the return.
# mode: real
    .code16
    call 1f
    mov %ax, %cx
    jmp .
1:  push %bp
    push %si
    mov %sp, %bp
    mov (%bx), %si
    mov 4(%bp), %ax
    add 2(%bx), %si
    pop %si
    pop %bp
    add 4(%bx), %ax
    ret
