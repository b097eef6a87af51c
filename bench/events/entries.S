// SPDX-License-Identifier: MIT
// Handlers and ring 3 code of the events; see entries.h.

#include "entries.h"

        .text
        .globl entry_plain, entry_saving, entry_back, entry_sysenter, entry_fault, entry_far
        .globl entry_user, entry_user_plain, entry_user_saving, entry_user_sysenter
        .globl entry_load_segments

        .balign 64
entry_plain:
        iret

// As an operating system's entry: all registers, DS and ES.
        .balign 64
entry_saving:
        pushl %es
        pushl %ds
        pushl %eax
        pushl %ebp
        pushl %edi
        pushl %esi
        pushl %edx
        pushl %ecx
        pushl %ebx
        movl $ENTRY_DATA, %edx
        movl %edx, %ds
        movl %edx, %es
        popl %ebx
        popl %ecx
        popl %edx
        popl %esi
        popl %edi
        popl %ebp
        popl %eax
        popl %ds
        popl %es
        iret

// Skips the two bytes of the instruction that faulted; counts in EDX.
        .balign 64
entry_fault:
        addl $4, %esp
        addl $2, (%esp)
        incl %edx
        iret

        .balign 64
entry_far:
        lret

// Ring 3 has left EIP in EDX and ESP in ECX, as SYSEXIT takes them.
        .balign 64
entry_sysenter:
        sysexit

        .balign 64
entry_user:
        pushl %ebp
        pushl %ebx
        pushl %esi
        pushl %edi
        movl 20(%esp), %edi
        movl 24(%esp), %eax
        movl %esp, saved_stack
        movl $ENTRY_USER_DATA, %ecx
        movl %ecx, %ds
        movl %ecx, %es
        pushl %ecx
        pushl $user_stack_top
        pushl $2
        pushl $ENTRY_USER_CODE
        pushl %eax
        iret

// INT from ring 3 that ends entry_user.
        .balign 64
entry_back:
        movl $ENTRY_DATA, %ecx
        movl %ecx, %ds
        movl %ecx, %es
        movl saved_stack, %esp
        movl %edi, %eax
        popl %edi
        popl %esi
        popl %ebx
        popl %ebp
        ret

        .balign 64
entry_user_plain:
1:      int $ENTRY_VECTOR_PLAIN
        decl %edi
        jnz 1b
        int $ENTRY_VECTOR_BACK

        .balign 64
entry_user_saving:
1:      int $ENTRY_VECTOR_SAVING
        decl %edi
        jnz 1b
        int $ENTRY_VECTOR_BACK

        .balign 64
entry_user_sysenter:
1:      movl %esp, %ecx
        movl $2f, %edx
        sysenter
2:      decl %edi
        jnz 1b
        int $ENTRY_VECTOR_BACK

entry_load_segments:
        ljmp $ENTRY_CODE, $1f
1:      movl $ENTRY_DATA, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        movl %eax, %fs
        movl %eax, %gs
        ret

        .bss
        .balign 16
saved_stack:
        .skip 4
        .skip 4096
user_stack_top:

        .section .note.GNU-stack, "", @progbits
