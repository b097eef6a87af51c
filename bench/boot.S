// SPDX-License-Identifier: MIT
// Boot sector of the benchmark's floppy: reads sectors 1 to 1 + GUEST_SECTORS (a symbol given by
// the Makefile) to 0x10000 through int 13h, opens A20, enters 32-bit protected mode with flat
// segments, moves what it read to 1 MiB and jumps to the guest behind the first 512 bytes.
// A read never crosses a track nor a 64 KiB boundary (the floppy's DMA could not).

#include "layout.h"

        .code16
        .text
        .globl boot_start
boot_start:
        ljmp $0, $1f
1:      xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw $0x7c00, %sp
        cld
        movb %dl, drive
        movb $8, %ah                    // geometry; when the BIOS has none, 18 sectors, 2 heads
        xorw %di, %di
        int $0x13
        jc read_next
        andb $0x3f, %cl
        movb %cl, sectors
        incb %dh
        movb %dh, heads

// One round: si sectors of the current track, as many as still fit.
read_next:
        movzbw sectors, %ax
        movzbw sector, %bx
        subw %bx, %ax                   // left on this track
        cmpw left, %ax
        jbe 1f
        movw left, %ax
1:      movw segment, %bx               // left up to the 64 KiB boundary, in sectors
        negw %bx
        andw $0xfff, %bx
        shrw $5, %bx
        jz 1f
        cmpw %bx, %ax
        jbe 1f
        movw %bx, %ax
1:      movw %ax, %si
        movb $3, tries
read_try:
        movw %si, %ax
        movb $2, %ah
        movb cylinder, %ch
        movb sector, %cl
        incb %cl
        movb head, %dh
        movb drive, %dl
        movw segment, %es
        xorw %bx, %bx
        int $0x13
        jnc read_good
        xorw %ax, %ax
        movb drive, %dl
        int $0x13
        decb tries
        jnz read_try
        movw $message, %si
        jmp fail
read_good:
        subw %si, left
        movw %si, %ax
        shlw $5, %ax
        addw %ax, segment
        movw %si, %ax
        addb %al, sector
        movb sector, %al
        cmpb sectors, %al
        jb 1f
        movb $0, sector
        incb head
        movb head, %al
        cmpb heads, %al
        jb 1f
        movb $0, head
        incb cylinder
1:      cmpw $0, left
        jne read_next

        movw $0x2401, %ax               // A20: the BIOS, then port 0x92
        int $0x15
        inb $0x92, %al
        orb $2, %al
        andb $0xfe, %al
        outb %al, $0x92
        movw $0x3f2, %dx                // floppy motor off
        movb $0x0c, %al
        outb %al, %dx
        cli
        lgdtl gdt_pointer
        movl %cr0, %eax
        orl $1, %eax
        movl %eax, %cr0
        ljmpl $8, $protected

fail:   lodsb                           // to the screen and to the debug port
        testb %al, %al
        jz 2f
        outb %al, $LAYOUT_DEBUG_PORT
        movb $0x0e, %ah
        movw $7, %bx
        int $0x10
        jmp fail
2:      movb $LAYOUT_EXIT_BAD, %al
        outb %al, $LAYOUT_EXIT_PORT
3:      hlt
        jmp 3b

        .code32
protected:
        movw $16, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw %ax, %fs
        movw %ax, %gs
        movl $0x7c00, %esp
        movl $LAYOUT_READ_AT, %esi
        movl $LAYOUT_WANTED_AT, %edi
        movl $(GUEST_SECTORS + 1) * LAYOUT_SECTOR_BYTES / 4, %ecx
        rep movsl
        movl $LAYOUT_GUEST_AT, %eax
        jmp *%eax

        .balign 8
gdt:    .quad 0
        .quad 0x00cf9a000000ffff        // 8: code, 4 GiB
        .quad 0x00cf92000000ffff        // 16: data, 4 GiB
gdt_pointer:
        .word gdt_pointer - gdt - 1
        .long gdt
segment: .word LAYOUT_READ_AT >> 4
left:   .word GUEST_SECTORS + 1
sectors: .byte 18
heads:  .byte 2
cylinder: .byte 0
head:   .byte 0
sector: .byte LAYOUT_WANTED_SECTOR     // counted from 0
drive:  .byte 0
tries:  .byte 0
message: .asciz "ERROR cannot read the floppy\n"
        .org 510
        .word 0xaa55
