#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: memtest.sh DIR      makes DIR/memtest.img and DIR/memtest-serial.img
#
# Hard disk images that start Debian's 32-bit memtest86+ 6.10 at once: /boot/memtest86+ia32.bin is in the
# Linux boot protocol, so GRUB loads it with linux16 from a memory disk inside GRUB's core image.
# memtest.img shows it on the text screen; memtest-serial.img on the first serial port as well.
# Under test: CPUID, PAE paging (only when CPUID offers PAE), 32-bit loops over all memory, PIT, keyboard, VGA text.
#
# Verified with QEMU 7.2, -m 16 (verify.sh memtest): "Memtest86+ v6.10" and the numbers of a test appear
# on the screen, and on the serial port of memtest-serial.img.
set -e
here=$(dirname "$0")
. "$here/disk.sh"
dir=${1:?usage: memtest.sh DIR}
memtest=${MEMTEST:-/boot/memtest86+ia32.bin}
mkdir -p "$dir"
disk_need grub-mkimage grub-common
disk_need "$GRUB_DIR/boot.img" grub-pc-bin
disk_need "$memtest" memtest86+

# memtest_image NAME [WORDS OF ITS COMMAND LINE]
memtest_image() {
    name=$1
    shift
    work=$dir/$name.work
    mkdir -p "$work"
    cp "$memtest" "$work/memtest.bin"
    tar -C "$work" --format=ustar -cf "$work/disk.tar" memtest.bin
    printf 'linux16 (memdisk)/memtest.bin %s\nboot\n' "$*" > "$work/early.cfg"
    grub-mkimage -O i386-pc -d "$GRUB_DIR" -p '(memdisk)/' -c "$work/early.cfg" -m "$work/disk.tar" \
        -o "$work/core.img" biosdisk memdisk tar linux16 boot minicmd
    disk_write "$dir/$name.img" "$work/core.img"
    rm -r "$work"
}

memtest_image memtest
memtest_image memtest-serial console=ttyS0,115200
