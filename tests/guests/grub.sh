#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: grub.sh DIR      makes DIR/grub.img
#
# A hard disk image that boots GRUB 2 to its normal shell: real-mode int 13h, switches between real and
# protected mode for every BIOS call, LZMA unpacking, a command line on screen and first serial port.
# No menu and no file system: all modules are inside the core image.
#
# Verified with QEMU 7.2, -m 16 (verify.sh grub): "grub>" appears on serial port and text screen, and
# `echo $grub_cpu-$grub_platform` typed on the keyboard answers i386-pc.
set -e
here=$(dirname "$0")
. "$here/disk.sh"
dir=${1:?usage: grub.sh DIR}
mkdir -p "$dir"
disk_need grub-mkimage grub-common
disk_need "$GRUB_DIR/boot.img" grub-pc-bin

cat > "$dir/grub-early.cfg" <<'CFG'
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
CFG
grub-mkimage -O i386-pc -d "$GRUB_DIR" -p '(hd0)/boot/grub' -c "$dir/grub-early.cfg" \
    -o "$dir/grub-core.img" \
    biosdisk part_msdos fat serial terminal normal minicmd ls cat echo test help date \
    reboot halt lsmmap cpuid hexdump memrw
disk_write "$dir/grub.img" "$dir/grub-core.img"
rm "$dir/grub-early.cfg" "$dir/grub-core.img"
