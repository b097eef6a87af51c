# SPDX-License-Identifier: MIT
# 16-bit protected mode: checked segments, a 16-bit stack.
# mode: protected16
    .code16
    pop %cx
    mov -2(%bp), %ax
    mov %ax, %es:(%bx)
    loop .
