# SPDX-License-Identifier: MIT
# Loading DS in real mode ends the block: its class may change.
# mode: real
    .code16
    mov $0x07c0, %ax
    mov %ax, %ds
    nop
