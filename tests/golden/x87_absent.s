# SPDX-License-Identifier: MIT
# CR0.TS or EM: the first x87 instruction raises #NM, with the flags of the addition.
# mode: flat32 fpu_nm
    add %ebx, %eax
    fldl (%ebx)
