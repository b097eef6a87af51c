# SPDX-License-Identifier: MIT
# ADD and ADC over memory: carry kept from access to access.
# mode: flat32
    mov (%esi), %eax
    add %eax, (%edi)
    mov 4(%esi), %eax
    adc %eax, 4(%edi)
    lea 8(%esi), %esi
    dec %ecx
    jne .-16
