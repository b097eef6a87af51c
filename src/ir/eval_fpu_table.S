// SPDX-License-Identifier: MIT
// x87 for eval: one entry per instruction, because an opcode cannot be chosen at run time.
//
//   ir_fpu_register_table   8 * 64 entries of 4 bytes: D8+i C0+j, ret
//   ir_fpu_memory_table     8 * 8 entries of 4 bytes:  D8+i /digit (%rdi), ret
//   u32 ir_fpu_execute(entry, mem, u32 *eax, u32 *flags)
//                           runs an entry with EAX, OSZAPC and the operand in place; FNSTSW AX changes
//                           *eax, FCOMI and the like *flags. 0, or the trap number when a pending
//                           exception came to ir_fpu_landing (with that number in EAX)
    .text
    .globl ir_fpu_code_start, ir_fpu_code_end, ir_fpu_landing
    .hidden ir_fpu_code_start, ir_fpu_code_end, ir_fpu_landing
ir_fpu_code_start:
    .altmacro

    .macro register_entry first, second
    .balign 4
    .byte \first, \second
    ret
    .endm

    .macro memory_entry first, digit
    .balign 4
    .byte \first, 0x07 + 8 * \digit
    ret
    .endm

    .balign 16
    .globl ir_fpu_register_table
    .hidden ir_fpu_register_table
ir_fpu_register_table:
    .set first, 0
    .rept 8
    .set second, 0
    .rept 64
    register_entry %(0xd8 + first), %(0xc0 + second)
    .set second, second + 1
    .endr
    .set first, first + 1
    .endr

    .balign 16
    .globl ir_fpu_memory_table
    .hidden ir_fpu_memory_table
ir_fpu_memory_table:
    .set first, 0
    .rept 8
    .set digit, 0
    .rept 8
    memory_entry %(0xd8 + first), %(digit)
    .set digit, digit + 1
    .endr
    .set first, first + 1
    .endr

    .balign 16
    .globl ir_fpu_execute
    .hidden ir_fpu_execute
    .type ir_fpu_execute, @function
ir_fpu_execute:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    mov %rsp, %rbx
    mov %rdx, %r9
    mov %rdi, %r8
    mov %rsi, %rdi
    pushfq
    .cfi_adjust_cfa_offset 8
    andl $~0x8d5, (%rsp)
    mov (%rcx), %eax
    or %eax, (%rsp)
    mov (%r9), %eax
    popfq
    .cfi_adjust_cfa_offset -8
    call *%r8
    mov %eax, (%r9)
    pushfq
    .cfi_adjust_cfa_offset 8
    pop %rax
    .cfi_adjust_cfa_offset -8
    and $0x8d5, %eax
    mov %eax, (%rcx)
    xor %eax, %eax
1:  pop %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    ret
ir_fpu_code_end:
ir_fpu_landing:
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    mov %rbx, %rsp
    jmp 1b
    .cfi_endproc
    .size ir_fpu_execute, . - ir_fpu_execute

    .section .note.GNU-stack, "", @progbits
