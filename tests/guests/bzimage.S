// SPDX-License-Identifier: MIT
// What looks like a Linux bzImage (boot protocol 2.10) and says on COM1 what its loader told it: the
// setup in real mode, then the "kernel" at 1 MiB in protected mode, which ends by isa-debug-exit (port
// 0xf4). Built by tests/e2e/linuxboot.sh; with -DVERSION=0x201 it is too old.
#ifndef VERSION
#define VERSION 0x20a
#endif
    .code16
    .text
image:
    .org 0x1f1
    .byte 1                    // setup sectors
    .word 0
    .long (end - kernel) / 16
    .word 0, 0xffff, 0, 0xaa55 // video mode ffff
    .org 0x200
    jmp entry
    .ascii "HdrS"
    .word VERSION
    .long 0
    .word 0, 0
    .byte 0, 1, 0, 0           // loader, load flags: high
    .long 0x100000, 0, 0       // code32_start, initrd
    .long 0
    .word 0, 0
    .long 0, 0x03ffffff        // command line, initrd_addr_max
    .long 0x200000             // alignment
    .byte 1, 21, 0, 0
    .long 32                   // cmdline_size
    .long 0, 0, 0, 0, 0, 0, 0
    .org 0x258
    .quad 0x200000             // preferred address, size there
    .long 0x400000, 0
    .org 0x268
entry:
    jmp setup

// %si: text, %ds
say:
    lodsb
    test %al, %al
    jz 1f
    mov $0x3f8, %dx
    out %al, %dx
    jmp say
1:  ret

hex:                           // %eax
    mov $8, %cx
1:  rol $4, %eax
    push %eax
    and $15, %al
    add $'0', %al
    cmp $'9', %al
    jbe 2f
    add $('a' - '0' - 10), %al
2:  mov $0x3f8, %dx
    out %al, %dx
    pop %eax
    loop 1b
    mov $'\n', %al
    out %al, %dx
    ret

    .macro row name, value     // a line: name, number
    mov $(\name - image), %si
    call say
    mov \value, %eax
    call hex
    .endm

setup:
    mov %cs, %ax
    sub $0x20, %ax             // the segment of the image, as every register must hold it
    mov %ds, %bx
    mov %es, %cx
    mov %ss, %dx
    mov %fs, %si
    mov %gs, %di
    xor %ax, %bx
    xor %ax, %cx
    xor %ax, %dx
    xor %ax, %si
    xor %ax, %di
    or %cx, %bx
    or %dx, %bx
    or %si, %bx
    or %di, %bx
    movzwl %bx, %ebx
    row t_segments, %ebx
    movzbl 0x210, %eax
    mov 0x211, %ah
    mov %eax, %ebx
    row t_loader, %ebx
    movzwl 0x1fa, %ebx
    row t_video, %ebx
    movzwl %sp, %ebx
    row t_stack, %ebx
    movzwl 0x224, %ebx
    row t_heap, %ebx
    mov $(t_line - image), %si
    call say
    mov 0x228, %eax
    push %ds
    shr $4, %eax
    mov %ax, %ds
    mov %cs:(0x228 - 0x200), %si
    and $15, %si
    call say
    pop %ds
    mov $'\n', %al
    out %al, %dx
    mov $0xe820, %eax          // the firmware is there
    xor %ebx, %ebx
    mov $20, %ecx
    mov $0x534d4150, %edx
    mov $0x8000, %di
    int $0x15
    row t_map, 0x8008

    cli
    mov 0x218, %esi            // initrd
    mov 0x21c, %ebp
    xor %eax, %eax
    mov %cs, %ax
    shl $4, %eax
    add $(gdt - image - 0x200), %eax
    mov %eax, gdtr - image + 2
    lgdtl gdtr - image
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    mov $16, %ax
    mov %ax, %ds
    ljmpl $8, $0x100000

t_segments: .asciz "segments "
t_loader: .asciz "loader "
t_video: .asciz "video "
t_stack: .asciz "stack "
t_heap: .asciz "heap "
t_line: .asciz "line "
t_map: .asciz "map "
    .balign 8
gdt:
    .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdtr:
    .word 23
    .long 0
    .org 0x400

    .code32
kernel:
    mov $0x3f8, %dx
    mov $'i', %al
    out %al, %dx
    mov $' ', %al
    out %al, %dx
1:  test %ebp, %ebp
    jz 2f
    mov (%esi), %al
    out %al, %dx
    inc %esi
    dec %ebp
    jmp 1b
2:  mov $'\n', %al
    out %al, %dx
3:  mov $0x3fd, %dx            // until all is said
    in %dx, %al
    test $0x40, %al
    jz 3b
    mov last - kernel + 0x100000, %al
    out %al, $0xf4
4:  hlt
    jmp 4b
    .org 0x400 + 0x12340
last:
    .byte 0x15
end:
