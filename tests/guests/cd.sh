#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: cd.sh DIR      makes DIR/cd.iso
#
# A CD (ISO 9660, El Torito without emulation) that boots GRUB 2 to its shell on screen and first
# serial port. Its modules read the disc (iso9660 through the BIOS), switch on graphics through VBE
# (videotest), switch off through the ACPI tables (halt) and start anew (reboot).
set -e
here=$(dirname "$0")
. "$here/disk.sh"
dir=${1:?usage: cd.sh DIR}
mkdir -p "$dir/cd/boot"
disk_need grub-mkimage grub-common
disk_need "$GRUB_DIR/cdboot.img" grub-pc-bin
disk_need xorriso xorriso

cat > "$dir/cd-early.cfg" <<'CFG'
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
CFG
grub-mkimage -O i386-pc-eltorito -d "$GRUB_DIR" -p /boot/grub -c "$dir/cd-early.cfg" \
    -o "$dir/cd/boot/core.img" \
    biosdisk iso9660 serial terminal normal minicmd ls cat echo test help halt reboot hashsum gcry_md5 \
    all_video vbe videotest videoinfo lspci acpi hexdump
# Data to read back: 3 MiB of numbered lines.
seq -f 'line %010g of the disc' 1 120000 > "$dir/cd/numbers.txt"
(cd "$dir/cd" && md5sum numbers.txt) > "$dir/cd/sums.txt"
xorriso -as mkisofs -quiet -V GLASSBOX_TEST -R -b boot/core.img -no-emul-boot -boot-load-size 4 \
    -boot-info-table -o "$dir/cd.iso" "$dir/cd"
rm -r "$dir/cd" "$dir/cd-early.cfg"
