// SPDX-License-Identifier: MIT
// The two functions of Linux 0.11 that reach through %fs, in the code its compiler made of them.
// There %fs leads from the kernel to the calling process; here it leads to the window.
// user.ld puts put_fs_byte at 0xe4c0, so the store is at 0xe4d2, as in that kernel.

        .section .put_fs_byte, "ax"

// void put_fs_byte(char value, char *address)
        .globl  put_fs_byte
        .type   put_fs_byte, @function
put_fs_byte:
        sub     $0x4, %esp
        mov     0x8(%esp), %eax
        mov     %al, (%esp)
        movzbl  (%esp), %eax
        mov     0xc(%esp), %edx
        .globl  lab_fault_insn
lab_fault_insn:
        mov     %al, %fs:(%edx)
        add     $0x4, %esp
        ret
        .size   put_fs_byte, . - put_fs_byte

// unsigned char get_fs_byte(const char *address)
        .globl  get_fs_byte
        .type   get_fs_byte, @function
get_fs_byte:
        mov     0x4(%esp), %edx
        movzbl  %fs:(%edx), %eax
        ret
        .size   get_fs_byte, . - get_fs_byte
