# SPDX-License-Identifier: MIT
# RET with the flags of an earlier instruction pending.
# mode: flat32
    pop %ebp
    add $12, %esp
    ret
