# SPDX-License-Identifier: MIT
# A 16-bit copy is read where it came from while both are as they were; never where the original is the destination.
# mode: real
    .code16
    mov %dx, %bp
    or %bp, %ax
    mov %bp, (%di)
    sub %bp, %dx
    or %bp, %ax
    mov %cx, %si
    mov %si, %bx
    inc %cx
    add %bx, %ax
    mov 2(%si), %dl
