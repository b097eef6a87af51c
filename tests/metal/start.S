// SPDX-License-Identifier: MIT
// The part of the runtime that cannot be C: entry, exception stubs, the ways into a test's code and
// back. rt.h says what a test sees of it.
//
// rt_enter loads rt_in and goes to it with IRET; whatever vector arrives next lands in `capture`,
// which copies the stack to rt_raw and returns from rt_enter. So test code runs under the
// architecture's own rules, and its caller gets the whole state.
#define KCS 0x08
#define KDS 0x10
#define C16 0x28
#define D16 0x30

// State, in the order of struct State
#define S_EAX 0
#define S_ECX 4
#define S_EDX 8
#define S_EBX 12
#define S_ESP 16
#define S_EBP 20
#define S_ESI 24
#define S_EDI 28
#define S_EIP 32
#define S_EFLAGS 36
#define S_CS 40
#define S_SS 44
#define S_DS 48
#define S_ES 52
#define S_FS 56
#define S_GS 60

// ---- entry: real mode, 1000:0000 ----------------------------------------------------------------
    .section .text16.start, "ax"
    .code16
base16:
    cli
    mov $0x1000, %ax
    mov %ax, %ds
    inb $0x92, %al
    or $2, %al
    and $0xfe, %al
    outb %al, $0x92
    lgdtl rt_gdtr - base16
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $KCS, $start32

// ---- real mode: rt_in -> registers; any vector -> r_* -> protected mode -------------------------
    .globl rt_real_stubs
    .balign 16
rt_real_stubs:
    .set n, 0
    .rept 0x40
    movb $n, %cs:r_vector - base16
    jmp real_capture
    .balign 16
    .set n, n + 1
    .endr
real_capture:
    mov %eax, %cs:r_state - base16 + S_EAX
    mov %ecx, %cs:r_state - base16 + S_ECX
    mov %edx, %cs:r_state - base16 + S_EDX
    mov %ebx, %cs:r_state - base16 + S_EBX
    mov %esp, %cs:r_state - base16 + S_ESP
    mov %ebp, %cs:r_state - base16 + S_EBP
    mov %esi, %cs:r_state - base16 + S_ESI
    mov %edi, %cs:r_state - base16 + S_EDI
    mov %ss, %cs:r_state - base16 + S_SS
    mov %ds, %cs:r_state - base16 + S_DS
    mov %es, %cs:r_state - base16 + S_ES
    mov %fs, %cs:r_state - base16 + S_FS
    mov %gs, %cs:r_state - base16 + S_GS
    lgdtl %cs:rt_gdtr - base16
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $KCS, $real_back

// From 32-bit code through a 16-bit code segment of base 0x10000.
real_leave:
    mov $D16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov %cr0, %eax
    and $0x7ffffffe, %eax
    mov %eax, %cr0
    ljmp $0x1000, $1f - base16
1:  mov $0x1000, %ax
    mov %ax, %ds
    lidtl r_idtr - base16
    mov r_state - base16 + S_ES, %es
    mov r_state - base16 + S_FS, %fs
    mov r_state - base16 + S_GS, %gs
    mov r_state - base16 + S_SS, %ss
    mov r_state - base16 + S_ESP, %esp
    pushw r_state - base16 + S_EFLAGS
    pushw r_state - base16 + S_CS
    pushw r_state - base16 + S_EIP
    mov r_state - base16 + S_EAX, %eax
    mov r_state - base16 + S_ECX, %ecx
    mov r_state - base16 + S_EDX, %edx
    mov r_state - base16 + S_EBX, %ebx
    mov r_state - base16 + S_EBP, %ebp
    mov r_state - base16 + S_ESI, %esi
    mov r_state - base16 + S_EDI, %edi
    mov r_state - base16 + S_DS, %ds
    iret

    .balign 4
    .globl r_state, r_vector, r_idtr, rt_gdtr, rt_idtr
r_state: .fill 16, 4, 0
r_vector: .long 0
r_idtr: .word 0x3ff
    .long 0
    .balign 4
rt_gdtr: .word 64 * 8 - 1
    .long gdt
    .balign 4
rt_idtr: .word 64 * 8 - 1
    .long idt
    .balign 8
    .globl gdt
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff        // 08 KCS
    .quad 0x00cf93000000ffff        // 10 KDS
    .quad 0x00cffb000000ffff        // 18 UCS
    .quad 0x00cff3000000ffff        // 20 UDS
    .quad 0x00009b010000ffff        // 28 16-bit code at 0x10000
    .quad 0x000093010000ffff        // 30 16-bit data at 0x10000
    .quad 0                         // 38 TSS, by rt.c
    .fill 56, 8, 0

// ---- protected mode -----------------------------------------------------------------------------
    .text
    .code32
start32:
    mov $KDS, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    xor %ax, %ax
    mov %ax, %fs
    mov %ax, %gs
    mov $rt_stack_top, %esp
    mov $bss_start, %edi
    mov $bss_end, %ecx
    sub %edi, %ecx
    xor %eax, %eax
    cld
    rep stosb
    call rt_main
1:  hlt
    jmp 1b

    .globl rt_enter
rt_enter:
    pushal
    mov %esp, rt_sp
    movl $1, rt_active
    testl $0x20000, rt_in + S_EFLAGS
    jnz enter_v86
    testb $3, rt_in + S_CS
    jnz enter_user
    mov rt_in + S_ES, %es
    mov rt_in + S_FS, %fs
    mov rt_in + S_GS, %gs
    mov rt_in + S_ESP, %eax
    sub $12, %eax                   // rt.c has put EIP, CS and EFLAGS there
    mov %eax, rt_lss
    mov rt_in + S_SS, %ax
    mov %ax, rt_lss + 4
    lss rt_lss, %esp
    jmp enter_registers
enter_v86:
    pushl rt_in + S_GS
    pushl rt_in + S_FS
    pushl rt_in + S_DS
    pushl rt_in + S_ES
enter_user:
    pushl rt_in + S_SS
    pushl rt_in + S_ESP
    pushl rt_in + S_EFLAGS
    pushl rt_in + S_CS
    pushl rt_in + S_EIP
    testl $0x20000, rt_in + S_EFLAGS
    jnz enter_registers
    mov rt_in + S_ES, %es
    mov rt_in + S_FS, %fs
    mov rt_in + S_GS, %gs
enter_registers:
    mov rt_in + S_EAX, %eax
    mov rt_in + S_ECX, %ecx
    mov rt_in + S_EDX, %edx
    mov rt_in + S_EBX, %ebx
    mov rt_in + S_EBP, %ebp
    mov rt_in + S_ESI, %esi
    mov rt_in + S_EDI, %edi
    testl $0x20000, rt_in + S_EFLAGS
    jnz 1f
    mov rt_in + S_DS, %ds
1:  iretl

// One stub of 16 bytes per vector.
    .globl rt_stubs
    .balign 16
rt_stubs:
    .set n, 0
    .rept 0x40
    .if n != 8 && (n < 10 || n > 14) && n != 17
    pushl $0
    .endif
    pushl $n
    jmp capture
    .balign 16
    .set n, n + 1
    .endr

#define RAW_WORDS 23
    .globl capture
capture:
    pushal
    pushl %ds
    pushl %es
    pushl %fs
    pushl %gs
    mov $KDS, %ax
    mov %ax, %ds
    mov %ax, %es
    cld
    mov %ss, rt_raw_ss
    mov %esp, rt_raw_esp
    mov %esp, %ebp
    xor %ecx, %ecx
1:  mov %ss:(%ebp, %ecx, 4), %eax
    mov %eax, rt_raw(, %ecx, 4)
    inc %ecx
    cmp $RAW_WORDS, %ecx
    jb 1b
    mov %cr2, %eax
    mov %eax, rt_cr2
    mov %dr6, %eax
    mov %eax, rt_dr6
leave:
    mov $KDS, %ax
    mov %ax, %ss
    mov rt_sp, %esp
    mov %ax, %ds
    mov %ax, %es
    xor %ax, %ax
    mov %ax, %fs
    mov %ax, %gs
    pushl $2
    popfl
    cmpl $0, rt_active
    je rt_unexpected
    movl $0, rt_active
    popal
    ret

    .globl rt_enter_real
rt_enter_real:
    pushal
    mov %esp, rt_sp
    movl $1, rt_active
    ljmp $C16, $real_leave - base16
real_back:
    mov $KDS, %ax
    mov %ax, %ds
    lidt rt_idtr
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    jmp leave

    .bss
    .globl rt_in, rt_raw, rt_raw_ss, rt_raw_esp, rt_cr2, rt_dr6, rt_active, rt_sp
    .balign 16
rt_in: .fill 16, 4
rt_raw: .fill RAW_WORDS, 4
rt_raw_ss: .long 0
rt_raw_esp: .long 0
rt_cr2: .long 0
rt_dr6: .long 0
rt_active: .long 0
rt_sp: .long 0
rt_lss: .fill 2, 4
    .fill 16384
rt_stack_top:
.section .note.GNU-stack,"",@progbits
