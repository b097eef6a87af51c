// SPDX-License-Identifier: MIT
// The boot sector: the BIOS puts these 512 bytes at 0x7c00 and jumps there in real mode.
//
// It reads the floppy track by track until the kernel is in memory, opens the A20 gate, asks how
// much memory there is, enters protected mode, moves the kernel to 1 MiB and jumps to it with
// the KiB of memory above 1 MiB in %eax.
//
// Memory while it runs:
//     0x00600  the diskette parameter table, our copy
//     0x07c00  this sector; the stack grows down from it
//     0x08000  one track as the BIOS reads it. The DMA chip cannot cross a 64 KiB line, and
//              tracks of 9 KiB laid end to end would; so each is read here and then copied
//     0x10000  the floppy's beginning: this sector again, then the kernel
//
// The build defines LAB_KERNEL_BYTES.

        .set    PARAMETERS, 0x600
        .set    TRACK, 0x8000
        .set    IMAGE, 0x10000
        .set    IMAGE_END, 0x90000
        .set    KERNEL, 0x100000
        .set    SECTORS, 18                     // per track, 1.44 MB
        .set    TRACK_BYTES, SECTORS * 512
        .set    MEMORY_KIB, 768                 // least memory above 1 MiB
        .set    IMAGE_BYTES, 512 + LAB_KERNEL_BYTES
        .set    TRACKS, (IMAGE_BYTES + TRACK_BYTES - 1) / TRACK_BYTES

        .if     IMAGE + TRACKS * TRACK_BYTES > IMAGE_END
        .error  "the kernel and its files do not fit below 0x90000"
        .endif

        .text
        .code16
        .globl  boot_start
boot_start:
        ljmp    $0, $1f                         // some BIOSes arrive as 07c0:0000
1:      xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     $boot_start, %sp
        sti
        cld
        mov     %dl, drive
        mov     $0x0003, %ax                    // text, 80 by 25
        int     $0x10

// An old BIOS refuses to read past the last sector its parameter table names, which may be the
// 9th. Interrupt vector 0x1e points to the table: copy it and say 18.
        lds     0x78, %si
        mov     $PARAMETERS, %di
        mov     $6, %cx
        rep movsw
        xor     %ax, %ax
        mov     %ax, %ds
        movb    $SECTORS, PARAMETERS + 4
        movw    $PARAMETERS, 0x78
        mov     %ax, 0x7a

read_track:
        mov     $3, %bp                         // attempts; a cold motor may fail the first
try:    mov     track, %al
        mov     $0, %dh
        shr     $1, %al                         // cylinder; the bit that falls out is the head
        adc     $0, %dh
        mov     %al, %ch
        mov     $1, %cl
        mov     drive, %dl
        mov     $TRACK, %bx
        mov     $0x0200 + SECTORS, %ax
        int     $0x13
        jnc     copy_track
        xor     %ax, %ax                        // reset the drive, try again
        mov     drive, %dl
        int     $0x13
        dec     %bp
        jnz     try
        mov     $disk_message, %si
        jmp     fail

copy_track:
        mov     segment, %es
        xor     %di, %di
        mov     $TRACK, %si
        mov     $TRACK_BYTES / 2, %cx
        rep movsw
        mov     %cx, %es                        // 0 again
        addw    $TRACK_BYTES / 16, segment
        incb    track
        cmpb    $TRACKS, track
        jb      read_track

// A20: three ways to open the gate, each only if the one before did not help.
        call    test_a20
        je      a20_open
        mov     $0x2401, %ax
        int     $0x15
        call    test_a20
        je      a20_open
        in      $0x92, %al
        or      $2, %al
        and     $0xfe, %al                      // bit 0 would reset the machine
        out     %al, $0x92
        call    test_a20
        je      a20_open
        mov     $0xd1, %al                      // the keyboard controller's output port
        call    keyboard_command
        mov     $0xdf, %al
        out     %al, $0x60
        call    keyboard_wait
        call    test_a20
        je      a20_open
        mov     $a20_message, %si
        jmp     fail
a20_open:

        mov     $0x88, %ah                      // KiB above 1 MiB, at most 64 MiB of them
        int     $0x15
        movzwl  %ax, %ebp
        mov     $memory_message, %si
        cmp     $MEMORY_KIB, %ax
        jb      fail

        mov     $0x3f2, %dx                     // the BIOS's timer will not stop the motor now
        mov     $0x0c, %al
        out     %al, %dx

        cli
        lgdt    gdt_register
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        ljmp    $8, $protected

// Prints the message at %si and stops.
fail:   lodsb
        test    %al, %al
        jz      stop
        mov     $0x0e, %ah
        mov     $7, %bx
        int     $0x10
        jmp     fail
stop:   hlt
        jmp     stop

// Z set: A20 is open. With the gate closed 1 MiB + 0x7dfe is 0x7dfe, this sector's signature.
test_a20:
        mov     $0xffff, %ax
        mov     %ax, %fs
        notw    %fs:signature + 0x10
        cmpw    $0xaa55, signature
        notw    %fs:signature + 0x10            // not leaves the flags alone
        ret

keyboard_command:
        push    %ax
        call    keyboard_wait
        pop     %ax
        out     %al, $0x64
keyboard_wait:
        in      $0x64, %al
        test    $2, %al
        jnz     keyboard_wait
        ret

        .code32
protected:
        mov     $0x10, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     $boot_start, %esp
        mov     $IMAGE + 512, %esi
        mov     $KERNEL, %edi
        mov     $(LAB_KERNEL_BYTES + 3) / 4, %ecx
        rep movsl
        mov     %ebp, %eax
        mov     $KERNEL, %ecx
        jmp     *%ecx

drive:          .byte 0
track:          .byte 0
segment:        .word IMAGE / 16
disk_message:   .asciz "lab: cannot read the floppy"
a20_message:    .asciz "lab: cannot open the A20 gate"
memory_message: .asciz "lab: needs 2 MiB of memory"

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9a000000ffff              // 0x08 code, 4 GiB
        .quad   0x00cf92000000ffff              // 0x10 data, 4 GiB
gdt_register:
        .word   gdt_register - gdt - 1
        .long   gdt

        .org    510
signature:
        .word   0xaa55
