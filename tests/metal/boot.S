// SPDX-License-Identifier: MIT
// The boot sector: reads SECTORS sectors that follow it on the floppy to 0x10000 and jumps there.
// A read stays within one track and one 64 KiB piece of memory (the DMA controller's limit).
    .code16
    .section .boot, "ax"
    .globl boot
boot:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    ljmp $0, $1f
1:  sti
    cld
    mov $1, %si                     // next sector of the disk
    xor %di, %di                    // sectors read
next:
    mov $SECTORS, %bx
    sub %di, %bx                    // left
    jz done
    mov %si, %ax
    xor %dx, %dx
    mov $18, %cx
    div %cx                         // ax = track, dx = sector in it
    sub %dx, %cx                    // left in the track
    cmp %bx, %cx
    jbe 2f
    mov %bx, %cx
2:  mov %di, %bx
    and $127, %bx
    neg %bx
    add $128, %bx                   // left in the 64 KiB piece
    cmp %bx, %cx
    jbe 3f
    mov %bx, %cx
3:  push %cx
    mov %di, %bx
    shl $5, %bx
    add $0x1000, %bx
    mov %bx, %es
    mov %al, %ch
    shr $1, %ch                     // cylinder
    mov %dl, %bl
    mov %al, %dh
    and $1, %dh                     // head
    mov %cl, %al                    // count
    mov %bl, %cl
    inc %cl                         // sector
    mov $0, %dl
    xor %bx, %bx
    mov $2, %ah
    int $0x13
    pop %cx
    jc bad
    add %cx, %si
    add %cx, %di
    jmp next
done:
    cli
    ljmp $0x1000, $0
bad:
    mov $'!', %al
    outb %al, $0xe9
    mov $0x11, %al
    outb %al, $0xf4
    hlt
    .org 510
    .word 0xaa55
.section .note.GNU-stack,"",@progbits
