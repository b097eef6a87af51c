# SPDX-License-Identifier: MIT
# ENTER, LEAVE, PUSHA, POPA.
# mode: flat32
    enter $16, $0
    pusha
    popa
    leave
    ret $8
