#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# The guest's first process. `suite` (user, system) and `wanted` come from the kernel's command line, as environment
# variables.
echo "END boot 0x00000000"
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /dev/shm
/bin/busybox mount -t tmpfs shm /dev/shm
"/bin/$suite" "$wanted"
/bin/busybox poweroff -f
