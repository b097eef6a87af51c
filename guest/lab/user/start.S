// SPDX-License-Identifier: MIT
// The beginning of every program: its header, and the call of main.
#include "../shared/abi.h"

        .section .header, "a"
        .long   LAB_MAGIC
        .long   program_start
        .long   text_end

        .section .text.start, "ax"
        .globl  program_start
program_start:
        call    main
        mov     %eax, %ebx
        mov     $LAB_CALL_EXIT, %eax
        int     $0x80
