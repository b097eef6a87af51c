#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# The guest's first process. `wanted` comes from the kernel's command line, as an environment variable.
echo "END boot 0x00000000"
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /dev/shm
/bin/busybox mount -t tmpfs shm /dev/shm
/bin/system "$wanted"
/bin/busybox poweroff -f
