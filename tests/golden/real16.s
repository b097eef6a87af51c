# SPDX-License-Identifier: MIT
# Real mode as in a boot sector: 16-bit addresses, segment times 16.
# mode: real
    .code16
    mov 4(%bx,%si), %dx
    add %dx, %es:(%di)
    push %bp
    mov %sp, %bp
    addr32 mov (%ebx), %eax
    lodsb
    int $0x10
