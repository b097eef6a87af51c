# SPDX-License-Identifier: MIT
# CMPXCHG, XADD, CMPXCHG8B.
# mode: flat32
    lock cmpxchg %ecx, (%ebx)
    lock xadd %edx, (%esi)
    lock cmpxchg8b (%edi)
    jne .
