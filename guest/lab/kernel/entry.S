// SPDX-License-Identifier: MIT
// The kernel's first instructions, and every way into and out of it.
#include "../shared/abi.h"

        .section .entry, "ax"
        .globl  kernel_start
// From the boot sector: protected mode, flat segments, interrupts off, %eax = KiB above 1 MiB.
kernel_start:
        mov     $kernel_stack_top, %esp
        mov     %eax, %ebx
        mov     $kernel_image_end, %edi
        mov     $kernel_end, %ecx
        sub     %edi, %ecx
        xor     %eax, %eax
        rep stosb
        push    %ebx
        call    kernel_main
1:      hlt
        jmp     1b

        .bss
        .balign 16
        .skip   4096
kernel_stack_top:

// One stub per vector: it pushes a zero where the CPU pushes no error code, then the vector.
// Error codes come with 8, 10 to 14 and 17.
        .text
        .macro  stub vector
        .section .rodata
        .long   stub_\vector
        .text
stub_\vector:
        .if     \vector != 8 && (\vector < 10 || \vector > 14) && \vector != 17
        pushl   $0
        .endif
        pushl   $\vector
        jmp     trap_common
        .endm

        .section .rodata
        .balign 4
        .globl  trap_stubs
trap_stubs:                                     // 48 vectors, then the system call's
        .altmacro
        .set    vector, 0
        .rept   48
        stub    %vector
        .set    vector, vector + 1
        .endr
        stub    128
        .noaltmacro

// Builds a struct Frame, calls trap_dispatch(frame), and returns to what was interrupted.
        .text
trap_common:
        pushal
        push    %ds
        push    %es
        push    %fs
        push    %gs
        cld
        mov     $LAB_KERNEL_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        push    %esp
        call    trap_dispatch
        add     $4, %esp
trap_return:
        pop     %gs
        pop     %fs
        pop     %es
        pop     %ds
        popal
        add     $8, %esp                        // vector, error code
        iret

// void user_enter(uint32_t *waiting_esp, struct Frame *frame)
// Leaves this stack behind, its top in *waiting_esp, and goes to ring 3 through a frame that
// lies at the top of the new program's kernel stack.
        .globl  user_enter
user_enter:
        mov     4(%esp), %eax
        mov     8(%esp), %edx
        push    %ebp
        push    %ebx
        push    %esi
        push    %edi
        mov     %esp, (%eax)
        mov     %edx, %esp
        jmp     trap_return

// void user_leave(uint32_t waiting_esp)
// Drops the present stack; the user_enter that filled waiting_esp returns.
        .globl  user_leave
user_leave:
        mov     4(%esp), %esp
        pop     %edi
        pop     %esi
        pop     %ebx
        pop     %ebp
        ret
