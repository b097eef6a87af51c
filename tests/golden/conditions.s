# SPDX-License-Identifier: MIT
# SETcc, CMOVcc and flag instructions.
# mode: flat32
    cmp %ebx, %eax
    setl %cl
    cmovg (%esi), %edx
    sbb %eax, %eax
    stc
    cmc
    setnc 3(%edi)
    lahf
    jp .
