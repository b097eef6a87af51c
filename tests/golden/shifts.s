# SPDX-License-Identifier: MIT
# Shifts and rotations by a constant, by one, by CL (where the count may be 0).
# mode: flat32
    shl $4, %eax
    sar %ebx
    shr %cl, %edx
    rol $8, %si
    rcr %edi
    ror %cl, %eax
    shld $5, %ebx, %eax
    shrd %cl, %edx, %ebx
    jo .
