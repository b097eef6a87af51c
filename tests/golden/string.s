# SPDX-License-Identifier: MIT
# String instructions, with and without REP.
# mode: flat32
    lodsb
    stosl
    movsw
    cld
    rep movsl
    repne scasb
    jne .
