# SPDX-License-Identifier: MIT
# CALL through memory: the load comes before the push.
# mode: flat32
    call *8(%ebx,%ecx,4)
