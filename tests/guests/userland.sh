#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: userland.sh DIR      makes DIR/userland.img, DIR/vmlinuz and DIR/initrd.img (root rights; some minutes)
#
# Debian 12 for i386 on a disk of 3 GiB (sparse): systemd, apt, gcc, python3 and the 686-pae kernel on one ext4
# partition, with GRUB before it. Boots by itself (-hda userland.img) or with its kernel and initial RAM disk from
# outside (-kernel vmlinuz -initrd initrd.img -append 'root=/dev/sda1 console=ttyS0'). Login on serial port and
# screen: root, password glassbox. The packages (250 MB) come from Debian's archive, kept in DIR/packages.
#
# Verified with QEMU 7.2, -m 512 (userland-check.sh).
set -e
here=$(cd "$(dirname "$0")" && pwd)
. "$here/disk.sh"
dir=${1:?usage: userland.sh DIR}
mkdir -p "$dir"
PATH=$PATH:/usr/sbin:/sbin
disk_need debootstrap debootstrap
disk_need mke2fs e2fsprogs
disk_need grub-mkimage grub-common
disk_need "$GRUB_DIR/boot.img" grub-pc-bin
if [ "$(id -u)" != 0 ]; then echo "$0: debootstrap needs root rights" >&2; exit 1; fi
packages=$(mkdir -p "${PACKAGES:-$dir/packages}/debs" && cd "${PACKAGES:-$dir/packages}/debs" && pwd)
cd "$dir"
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

rm -rf root
debootstrap --arch=i386 --variant=minbase --cache-dir="$packages" \
    --include=systemd-sysv,udev,dbus,gcc,libc6-dev,python3,procps,initramfs-tools,linux-image-686-pae,zstd \
    bookworm root "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" > debootstrap.log 2>&1 ||
    { tail -n 5 debootstrap.log root/debootstrap/debootstrap.log >&2; exit 1; }
echo glassbox > root/etc/hostname
echo '127.0.0.1 localhost glassbox' > root/etc/hosts
echo '/dev/sda1 / ext4 errors=remount-ro 0 1' > root/etc/fstab
echo root:glassbox | chroot root chpasswd
# A busy host may need minutes for what systemd expects in 90 seconds.
mkdir -p root/etc/systemd/system.conf.d
printf '[Manager]\nDefaultTimeoutStartSec=900\nDefaultDeviceTimeoutSec=900\n' > root/etc/systemd/system.conf.d/slow.conf
rm -f root/var/cache/apt/archives/*.deb
cp root/boot/vmlinuz-* vmlinuz
cp root/boot/initrd.img-* initrd.img
mkdir -p root/boot/grub
cat > root/boot/grub/grub.cfg << 'CFG'
set timeout=0
menuentry Debian {
    linux /vmlinuz root=/dev/sda1 ro console=tty0 console=ttyS0
    initrd /initrd.img
}
CFG

cat > early.cfg << 'CFG'
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
CFG
grub-mkimage -O i386-pc -d "$GRUB_DIR" -p '(hd0,msdos1)/boot/grub' -c early.cfg -o core.img \
    biosdisk part_msdos ext2 serial terminal normal linux echo test ls cat halt reboot
[ "$(wc -c < core.img)" -le $((2047 * 512)) ]
# One active partition, type 83 (Linux), from sector 2048 to the end: 6289408 sectors.
head -c 446 "$GRUB_DIR/boot.img" > userland.new
printf '\200\040\041\000\203\376\377\377\000\010\000\000\000\370\137\000' >> userland.new
head -c 48 /dev/zero >> userland.new
printf '\125\252' >> userland.new
cat core.img >> userland.new
truncate -s 3G userland.new
mke2fs -q -t ext4 -d root -L userland -E offset=1048576,lazy_itable_init=0 userland.new 3144704k
mv userland.new userland.img
rm -rf root early.cfg core.img
