# SPDX-License-Identifier: MIT
# Linux 0.11's put_fs_byte: flat stack, %fs with its own base and limit.
# mode: user32 fs=checked
    sub $0x4, %esp
    mov 0x8(%esp), %eax
    mov %al, (%esp)
    movzbl (%esp), %eax
    mov 0xc(%esp), %edx
    mov %al, %fs:(%edx)
    add $0x4, %esp
    ret
