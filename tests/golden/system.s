# SPDX-License-Identifier: MIT
# Helper calls: ports, control registers, descriptor tables.
# mode: flat32
    in $0x60, %al
    out %eax, %dx
    pushf
    mov %cr0, %eax
    sgdtl (%ebx)
    mov %eax, %cr0
