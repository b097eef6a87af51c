# SPDX-License-Identifier: MIT
# CALL to a place known at translation.
# mode: flat32
    mov %eax, 4(%esp)
    call .+0x40
