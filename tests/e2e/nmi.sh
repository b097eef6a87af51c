#!/bin/sh
# SPDX-License-Identifier: MIT
# The monitor's nmi: it interrupts a guest that halts, one that has interrupts off and waits in a loop, and
# one that halts with interrupts off, which nothing else could wake.
# timeout: 60
. tests/e2e/lib.sh
command -v as > /dev/null || { echo "as is missing"; exit 77; }
sock=$TEST_DIR/s
cat > "$TEST_DIR/nmi.s" <<'ASM'
        .code16
        .macro say c
        mov $\c, %al
        mov $0x3f8, %dx
        out %al, %dx
        .endm
        xor %ax, %ax
        mov %ax, %ds
        mov %ax, %ss
        mov $0x7c00, %sp
        movw $handler + 0x7c00, 8
        mov %ax, 10
        mov %ax, 0x600
        say 'A'
        sti
1:      hlt
        cmpw $1, 0x600
        jb 1b
        say 'B'
        cli
2:      cmpw $2, 0x600
        jb 2b
        say 'C'
        hlt
        say 'D'
        mov 0x600, %al
        out %al, $0xf4
handler:
        incw 0x600
        say 'n'
        iretw
        .org 510
        .word 0xaa55
ASM
as --32 -o "$TEST_DIR/nmi.o" "$TEST_DIR/nmi.s"
objcopy -O binary -j .text "$TEST_DIR/nmi.o" "$TEST_DIR/nmi.img"

start -fda "$TEST_DIR/nmi.img" -device isa-debug-exit,iobase=0xf4,iosize=4 -monitor "unix:$sock,server,nowait"
for said in A nB nC; do
    expect "$said" 20
    "$BUILD/tests/e2e/mon" "$sock" nmi > /dev/null || die "no monitor"
done
expect 'nD' 20
finish 7 10                     # three came: 3 << 1 | 1
