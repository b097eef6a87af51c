// SPDX-License-Identifier: MIT
// The lab's floppy, as guest/lab/lab.mk builds it. LAB_IMAGE is its path.
    .section .rodata
    .balign 16
    .global lab_floppy_start, lab_floppy_end
    .hidden lab_floppy_start, lab_floppy_end
lab_floppy_start:
    .incbin LAB_IMAGE
lab_floppy_end:

    .section .note.GNU-stack, "", @progbits
