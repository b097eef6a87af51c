# SPDX-License-Identifier: MIT
# MMX and SSE: the same instruction on the host, after the address check; XMM registers are loaded when
# they are not there. General registers are operands: ESP is r15.
# mode: flat32 sse
    movaps (%ebx), %xmm0
    movups 20(%esi), %xmm1
    addps %xmm1, %xmm0
    mulsd 8(%ecx), %xmm2
    movsd %xmm2, 16(%ecx)
    cvttsd2si %xmm2, %edx
    movd %esp, %xmm3
    pshufd $0x1b, %xmm3, %xmm3
    ucomisd %xmm2, %xmm0
    jp 1f
    movaps %xmm0, (%ebx)
1:  paddw (%edi), %mm1
    emms
    ldmxcsr (%ebp)
    jmp .
