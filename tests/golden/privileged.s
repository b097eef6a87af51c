# SPDX-License-Identifier: MIT
# What ring 3 may not do raises #GP at that instruction.
# mode: user32
    xor %eax, %eax
    inc %ecx
    cli
