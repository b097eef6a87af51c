#!/bin/sh
# SPDX-License-Identifier: MIT
# GRUB 2 from a hard disk to its shell, a command, and a reboot that ends glassbox (-no-reboot).
# timeout: 150
. tests/e2e/lib.sh
sh tests/guests/grub.sh "$TEST_DIR"
start -m 16 -drive format=raw,if=ide,file="$TEST_DIR/grub.img"
expect 'GNU GRUB.*grub> ' 60
send 'echo $grub_cpu-$grub_platform'
expect 'i386-pc' 20
send 'reboot'
finish 0 20
