// SPDX-License-Identifier: MIT
// The option ROM behind -kernel. The firmware runs it as a boot entry (PnP BIOS specification 1.0A,
// 3.4); it has the board put the pieces of a kernel where they belong and starts the kernel: Linux at
// its real-mode setup, multiboot kernels in protected mode with the firmware's memory map.
//
// kernel.c fills in `plan` and the checksums. All data are reached relative to the ROM's start, for
// the firmware puts it anywhere below 1 MiB. Stack: below 0x9f000, where no piece goes.
//
//     plan:  0 u16 fw_cfg key    2 u16 1: multiboot     4 u32 entry: far pointer, or linear address
//            8 u16 segment: Linux' setup, or that of the multiboot information   10 u16 Linux' sp
//           12 u16 number of pieces   16.. { u32 destination, bytes }
#define ROM_BYTES 1536
#define PIECES 96
#define AT(label) (label - kernel_rom_start)

#define FWCFG_DMA 0x518
#define FWCFG_READ 2
#define FWCFG_SELECT 8

#define MBI_LOWER 4
#define MBI_UPPER 8
#define MBI_MAP_BYTES 44
#define MBI_MAP 128            // the map's place, for MAP_ROWS entries of 24 bytes
#define MAP_ROWS 64

    .macro swap                // %eax into the other byte order (BSWAP is not for a 386)
    xchg %al, %ah
    rol $16, %eax
    xchg %al, %ah
    .endm

    .section .rodata
    .balign 16
    .global kernel_rom_start, kernel_rom_end, kernel_rom_pnp, kernel_rom_plan
    .hidden kernel_rom_start, kernel_rom_end, kernel_rom_pnp, kernel_rom_plan
    .code16
kernel_rom_start:
    .byte 0x55, 0xaa, ROM_BYTES / 512
    lretw                      // nothing to do when the firmware finds it
    .org AT(0x1a + kernel_rom_start)
    .word AT(kernel_rom_pnp), 0

    .balign 16
kernel_rom_pnp:
    .ascii "$PnP"
    .byte 1, 2                 // revision, length in 16 bytes
    .word 0                    // no further header
    .byte 0, 0                 // reserved, checksum
    .long 0                    // device identifier
    .word AT(maker), AT(product)
    .byte 0, 0, 0, 0           // type, indicators
    .word 0, 0, AT(boot), 0, 0 // boot connection, disconnect, bootstrap entry, reserved, resources
maker:
    .asciz "glassbox"
product:
    .asciz "kernel"

boot:
    cli
    cld
    mov $0x9000, %ax
    mov %ax, %ss
    mov $0xf000, %sp
    mov %cs, %ax
    mov %ax, %ds
    movzwl AT(plan_key), %ebx  // the first request selects
    shl $16, %ebx
    or $(FWCFG_READ | FWCFG_SELECT), %ebx
    mov $AT(plan_pieces), %si
    mov AT(plan_count), %cx
    // One request (fw_cfg's DMA interface): control, length, address; big-endian.
next_piece:
    mov (%si), %eax
    swap
    push %eax
    pushl $0
    mov 4(%si), %eax
    swap
    push %eax
    mov %ebx, %eax
    swap
    push %eax
    movzwl %sp, %eax
    add $0x90000, %eax
    swap
    mov $FWCFG_DMA, %dx
    out %eax, %dx
    mov %sp, %bp
1:  mov (%bp), %eax
    cmp $0x01000000, %eax
    je failed
    test %eax, %eax
    jnz 1b
    add $16, %sp
    mov $FWCFG_READ, %ebx
    add $8, %si
    loop next_piece

    mov AT(plan_entry), %esi
    mov AT(plan_segment), %ax
    cmpw $0, AT(plan_multiboot)
    jne multiboot
    mov AT(plan_sp), %bx
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov %bx, %sp
    mov %ax, %ds
    push %esi
    lretw

failed:
    int $0x18                  // boot from something else

// The memory map as INT 15h, AX=E820h gives it, each entry behind its length; and the older sizes.
multiboot:
    mov %ax, %es
    int $0x12
    movzwl %ax, %eax
    mov %eax, %es:MBI_LOWER
    xor %ebx, %ebx
    mov $(MBI_MAP + 4), %di
next_row:
    mov $0xe820, %eax
    mov $0x534d4150, %edx
    mov $20, %ecx
    int $0x15
    jc map_done
    cmp $0x534d4150, %eax
    jne map_done
    movl $20, %es:-4(%di)
    cmpl $1, %es:16(%di)
    jne 1f
    cmpl $0x100000, %es:(%di)
    jne 1f
    cmpl $0, %es:4(%di)
    jne 1f
    mov %es:8(%di), %eax
    mov %es:12(%di), %edx
    shrd $10, %edx, %eax
    mov %eax, %es:MBI_UPPER
1:  add $24, %di
    cmp $(MBI_MAP + 4 + 24 * MAP_ROWS), %di
    jae map_done
    test %ebx, %ebx
    jnz next_row
map_done:
    movzwl %di, %eax
    sub $(MBI_MAP + 4), %eax
    mov %eax, %es:MBI_MAP_BYTES

    xor %ebx, %ebx
    mov %es, %bx
    shl $4, %ebx               // the information's address
    xor %eax, %eax
    mov %cs, %ax
    shl $4, %eax
    lea AT(gdt)(%eax), %ecx
    push %ecx
    pushw $(gdt_end - gdt - 1)
    mov %sp, %bp
    lgdtl (%bp)
    pushl $8
    add $AT(protected), %eax
    push %eax
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    lretl

    .code32
protected:
    mov $0x10, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov $0x2badb002, %eax
    jmp *%esi

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff   // code, base 0, 4 GiB
    .quad 0x00cf92000000ffff   // data
gdt_end:

    .balign 16
kernel_rom_plan:
plan_key:
    .word 0
plan_multiboot:
    .word 0
plan_entry:
    .long 0
plan_segment:
    .word 0
plan_sp:
    .word 0
plan_count:
    .word 0, 0
plan_pieces:
    .fill 2 * PIECES, 4, 0
    .org AT(ROM_BYTES + kernel_rom_start)
kernel_rom_end:

    .section .note.GNU-stack, "", @progbits
