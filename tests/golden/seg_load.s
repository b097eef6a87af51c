# SPDX-License-Identifier: MIT
# After loading DS the block goes on unless the mode word has changed with DS's class.
# mode: real
    .code16
    mov $0x07c0, %ax
    mov %ax, %ds
    nop
