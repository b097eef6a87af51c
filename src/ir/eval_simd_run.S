// SPDX-License-Identifier: MIT
// u32 ir_simd_execute(SimdRun *run): calls run->code with the guest's XMM0-7, MXCSR, EAX and the
// operand's address in place and takes them out again. 0, or the trap number when it came to
// ir_simd_landing (with that number in EAX).
    .text
    .macro xmm_each instruction, to_memory
    .set n, 0
    .rept 8
    .if \to_memory
    xmm_store %n
    .else
    xmm_load %n
    .endif
    .set n, n + 1
    .endr
    .endm
    .altmacro
    .macro xmm_load n
    movaps 16*\n(%rdx), %xmm\n
    .endm
    .macro xmm_store n
    movaps %xmm\n, 16*\n(%rdx)
    .endm

    .balign 16
    .globl ir_simd_execute, ir_simd_landing
    .hidden ir_simd_execute, ir_simd_landing
    .type ir_simd_execute, @function
ir_simd_execute:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    mov %rdi, %rbx
    mov %rsp, 40(%rbx)
    stmxcsr 28(%rbx)
    mov 8(%rbx), %rdx
    xmm_each load, 0
    ldmxcsr 24(%rbx)
    mov 16(%rbx), %rdi
    mov 32(%rbx), %eax
    call *(%rbx)
    mov %eax, 32(%rbx)
    pushfq
    .cfi_adjust_cfa_offset 8
    pop %rax
    .cfi_adjust_cfa_offset -8
    and $0x8d5, %eax
    mov %eax, 36(%rbx)
    xor %eax, %eax
1:  stmxcsr 24(%rbx)
    ldmxcsr 28(%rbx)
    mov 8(%rbx), %rdx
    xmm_each store, 1
    pop %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    ret
ir_simd_landing:
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    mov 40(%rbx), %rsp
    jmp 1b
    .cfi_endproc
    .size ir_simd_execute, . - ir_simd_execute

    .section .note.GNU-stack, "", @progbits
