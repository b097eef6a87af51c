# SPDX-License-Identifier: MIT
# A segment's base that is added several times is kept in r10, until a temporary or a second group wants the register,
# or a segment register is loaded.
# mode: real
    .code16
    mov (%bx,%si), %ax
    mov %ax, (%bx,%di)
    mov %es:(%si), %dx
    mov %dx, (%bp,%di)
    mov %dx, 2(%si)
    mov 0x10(%di), %dx
    mov %dx, 4(%si)
    mov 0x12(%di), %dx
    mov %ss:(%bx), %ax
    mov %ax, %ds
    mov (%bx,%si), %ax
    mov %ax, (%bx,%di)
