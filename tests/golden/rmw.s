# SPDX-License-Identifier: MIT
# Read-modify-write: one look-up for load and store, writability checked first.
# mode: flat32
    add %eax, (%ebx)
    incl 4(%ebx)
    notb 8(%ebx)
    xorw $0x55, 10(%ebx)
    xchg %ecx, (%ebx)
    adc %edx, (%esi,%edi,8)
    shll $3, (%ebx)
    negl (%ebx)
    jc .
