// SPDX-License-Identifier: MIT
// The loops, each assembled for 16 and for 32 bits from one text, and the ways into each mode and back. Operands have
// the mode's size: names without a size letter are macros here.
//
// A loop finds SI and DI at its data, CX = rounds, BX = 0, and ends with RET.
#include "loops.h"

        .macro loops w, a, c, d, b, si, di, bp, sp, bits
loop_alu_\bits:
1:      add %\a, %\d
        xor %\d, %\b
        lea 1(%\b), %\di
        shl $1, %\a
        inc %\a
        sub %\b, %\d
        mov %\d, %\bp
        or %\bp, %\a
        dec %\c
        jnz 1b
        ret
loop_mem_\bits:
1:      mov (%\si), %\a
        add 8(%\si), %\a
        mov %\a, (%\di)
        inc\w 8(%\di)
        mov (%\b,%\si), %\d
        mov %\d, (%\b,%\di)
        add $4, %\b
        and $0x3fc, %\b
        dec %\c
        jnz 1b
        ret
loop_call_\bits:
1:      push %\a
        call 2f
        pop %\d
        dec %\c
        jnz 1b
        ret
2:      push %\bp
        mov %\sp, %\bp
        mov 2*\bits/8(%\bp), %\a
        inc %\a
        pop %\bp
        ret
loop_string_\bits:
1:      lods\w
        add %\a, %\d
        stos\w
        sub $\bits/8, %\si
        sub $\bits/8, %\di
        dec %\c
        jnz 1b
        ret
loop_seg_\bits:
1:      mov %es:(%\si), %\a
        add %\a, %es:(%\di)
        mov %ss:4(%\si), %\d
        mov %\d, %es:8(%\di)
        dec %\c
        jnz 1b
        ret
loop_segload_\bits:
        mov %ds, %\d
1:      mov %\d, %es
        mov %es:(%\si), %\a
        dec %\c
        jnz 1b
        ret
        .globl loops_\bits
        .endm

        .macro table bits, base
        .long loop_alu_\bits - \base, loop_mem_\bits - \base, loop_call_\bits - \base
        .long loop_string_\bits - \base, loop_seg_\bits - \base, loop_segload_\bits - \base
        .endm

        .text
        .balign 64
        loops l, eax, ecx, edx, ebx, esi, edi, ebp, esp, 32

        .balign 64
        .globl code16, code16_end
code16:
        .code16
        loops w, ax, cx, dx, bx, si, di, bp, sp, 16

// BP = the loop. The 16-bit stack and data.
        .macro start16 segment
        mov $\segment, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $LOOPS_SP, %sp
        .endm
        .macro run16
        mov $LOOPS_SI, %si
        mov $LOOPS_DI, %di
        mov $1, %ax
        mov %ax, %dx
        xor %bx, %bx
        call *%bp
        .endm
enter16:
        start16 LOOPS_DATA16
        run16
        ljmpl $LOOPS_CODE, $mode_back
enter_real:
        start16 LOOPS_DATA16
        mov %cr0, %eax
        mov %eax, %esp
        and $0x7ffffffe, %eax
        mov %eax, %cr0
        ljmp $LOOPS_CODE16_AT / 16, $1f - code16
1:      mov %esp, %eax
        mov %eax, %fs:0                         // CR0, in the data that FS still reaches
        start16 LOOPS_DATA_AT / 16
        run16
        mov %fs:0, %eax
        mov %eax, %cr0
        ljmpl $LOOPS_CODE, $mode_back
enter_v86:
        run16
        int $LOOPS_BACK_VECTOR
        .code32
code16_end:

        .section .rodata
        .globl loops16_table, loops32_table
        .balign 4
loops16_table:
        table 16, code16
loops32_table:
        table 32, 0

// uint32_t mode_32(uint32_t loop, uint32_t rounds), and so on: one run of the loop in that mode; what it leaves in EDX.
        .text
        .globl mode_32, mode_user, mode_16, mode_real, mode_v86, mode_trap
        .macro begin
        pushal
        mov %esp, mode_esp
        mov 36(%esp), %ebp
        mov 40(%esp), %ecx
        .endm
mode_32:
        begin
        mov $LOOPS_DATA_AT + LOOPS_SP, %esp
        call mode_run
        jmp mode_back
mode_run:
        mov $LOOPS_DATA_AT + LOOPS_SI, %esi
        mov $LOOPS_DATA_AT + LOOPS_DI, %edi
        mov $1, %eax
        mov %eax, %edx
        xor %ebx, %ebx
        jmp *%ebp
mode_user:
        begin
        pushl $LOOPS_DATA3
        pushl $LOOPS_DATA_AT + LOOPS_SP
        pushl $2
        pushl $LOOPS_CODE3
        pushl $1f
        mov $LOOPS_DATA3, %eax
        mov %eax, %ds
        mov %eax, %es
        iret
1:      call mode_run
        int $LOOPS_BACK_VECTOR
mode_16:
        begin
        ljmp $LOOPS_CODE16, $enter16 - code16
mode_real:
        begin
        mov $LOOPS_DATA16, %eax
        mov %eax, %fs
        ljmp $LOOPS_CODE16, $enter_real - code16
mode_v86:
        begin
        mov $LOOPS_DATA_AT / 16, %eax
        pushl $0
        pushl $0
        pushl %eax
        pushl %eax
        pushl %eax
        pushl $LOOPS_SP
        pushl $0x23002                          // VM, IOPL 3
        pushl $LOOPS_CODE16_AT / 16
        pushl $enter_v86 - code16
        iret
mode_trap:                                      // INT at CPL 3
mode_back:
        mov $LOOPS_DATA, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %edx, mode_sum
        mov mode_esp, %esp
        popal
        mov mode_sum, %eax
        ret

        .bss
        .balign 4
mode_esp:
        .skip 4
mode_sum:
        .skip 4

        .section .note.GNU-stack, "", @progbits
