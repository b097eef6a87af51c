#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: installer.sh DIR      makes DIR/linux, DIR/initrd.gz and DIR/installer.iso
#
# Debian 12's text installer for i386 (package debian-installer-12-netboot-i386, 105 MB, downloaded into
# DIR/packages): kernel and initial RAM disk for -kernel and -initrd, and a CD on which GRUB loads the same.
# VGA text mode (nomodeset, fb=false), so that its dialogs can be read in video memory.
# Exit status 75: Debian's archive is not reached.
#
# Verified with QEMU 7.2, -m 512 (verify.sh installer, verify.sh installer-cd).
set -e
here=$(cd "$(dirname "$0")" && pwd)
. "$here/disk.sh"
. "$here/packages.sh"
dir=${1:?usage: installer.sh DIR}
mkdir -p "$dir"
disk_need grub-mkimage grub-common
disk_need "$GRUB_DIR/cdboot.img" grub-pc-bin
disk_need xorriso xorriso
packages_open "$dir"
package=$(packages_get debian-installer-12-netboot-i386)
cd "$dir"
from=usr/lib/debian-installer/images/12/i386/text/debian-installer/i386
rm -rf unpacked cd
dpkg-deb --fsys-tarfile "$package" | { mkdir unpacked; tar -x -C unpacked "./$from/linux" "./$from/initrd.gz"; }
mv "unpacked/$from/linux" "unpacked/$from/initrd.gz" .
rm -r unpacked

mkdir -p cd/boot
ln linux initrd.gz cd
cat > early.cfg << 'CFG'
linux /linux vga=normal fb=false nomodeset
initrd /initrd.gz
boot
CFG
grub-mkimage -O i386-pc-eltorito -d "$GRUB_DIR" -p / -c early.cfg -o cd/boot/core.img \
    biosdisk iso9660 linux boot minicmd
xorriso -as mkisofs -quiet -V INSTALLER -R -b boot/core.img -no-emul-boot -boot-load-size 4 -boot-info-table \
    -o installer.iso cd
rm -r cd early.cfg
