# SPDX-License-Identifier: MIT
# LOOP, JECXZ and a block that jumps to itself.
# mode: flat32
    mov (%esi), %al
    add $1, %esi
    add %al, %dl
    loop .-7
