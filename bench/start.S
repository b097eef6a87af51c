// SPDX-License-Identifier: MIT
// First code of the guest: stack, zeroed BSS, guest_main(); and the entries of the 32 exceptions,
// which end in guest_fault(frame) and do not return. Interrupts stay off throughout.

        .section .text.start, "ax"
        .globl guest_start
guest_start:
        movl $stack_top, %esp
        cld
        movl $bss_begin, %edi
        movl $bss_end, %ecx
        subl %edi, %ecx
        shrl $2, %ecx
        xorl %eax, %eax
        rep stosl
        call guest_main
1:      hlt
        jmp 1b

// Every entry is 16 bytes long, so entry v is at fault_entries + 16 * v. Frame: vector, error code
// (0 where the CPU pushes none), EIP, CS, EFLAGS.
        .text
        .globl fault_entries
        .balign 16
fault_entries:
        .set vector, 0
        .rept 32
        .balign 16
        .if !((0x00027d00 >> vector) & 1)
        pushl $0
        .endif
        pushl $vector
        jmp fault_common
        .set vector, vector + 1
        .endr
fault_common:
        pushl %esp
        call guest_fault

        .bss
        .balign 16
        .skip 65536
stack_top:

        .section .note.GNU-stack, "", @progbits
