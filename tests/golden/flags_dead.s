# SPDX-License-Identifier: MIT
# Only the last of these flags are seen by anybody; faults in between may see the others.
# mode: flat32
    add %ebx, %eax
    add %ecx, %eax
    mov %eax, (%edi)
    sub %edx, %eax
    shl $2, %eax
    xor %ebx, %eax
    jne .
