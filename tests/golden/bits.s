# SPDX-License-Identifier: MIT
# Bit tests with register offsets that reach beyond the operand, bit scans.
# mode: flat32
    bt $5, %eax
    bts %ecx, (%ebx)
    bsf %eax, %edx
    bsr (%esi), %edi
    jz .
