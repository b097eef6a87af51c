# SPDX-License-Identifier: MIT
# x87: the same instruction on the host, after the address check.
# mode: flat32
    fldl (%ebx)
    fmul %st(1), %st
    faddl 8(%ebx)
    fistpl 16(%ebx)
    fstpt 24(%ebx)
    fnstcw 40(%ebx)
    fldcw 40(%ebx)
    fnstsw %ax
    jmp .
