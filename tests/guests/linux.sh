#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: linux.sh DIR [FLAVOUR]      makes DIR/bzImage and DIR/initrd.gz; FLAVOUR: 686 (no PAE) or 686-pae
#
# Debian's Linux 6.1 for i386 and an initial RAM disk with busybox, whose init says where it is and gives a
# shell on the console (or switches off at once: word `poweroff` on the kernel's command line). The packages are
# downloaded into DIR/packages (55 MB); nothing is installed. Exit status 75: Debian's archive is not reached.
#
# Verified with QEMU 7.2, -m 128 (verify.sh linux).
set -e
here=$(cd "$(dirname "$0")" && pwd)
. "$here/disk.sh"
. "$here/packages.sh"
dir=${1:?usage: linux.sh DIR [FLAVOUR]}
flavour=${2:-686}
mkdir -p "$dir"
disk_need cpio cpio
packages_open "$dir"
kernel=$(packages_depends "linux-image-$flavour" "linux-image-[0-9].*-$flavour")
kernel=$(packages_get "$kernel")
busybox=$(packages_get busybox-static)
cd "$dir"
# The kernel is near the archive's beginning: what follows is not unpacked.
dpkg-deb --fsys-tarfile "$kernel" 2> /dev/null |
    tar -xO --occurrence=1 --wildcards './boot/vmlinuz-*' > bzImage.new
[ -s bzImage.new ]
mv bzImage.new bzImage
rm -rf root
mkdir -p root/proc root/sys root/dev root/tmp
dpkg-deb --fsys-tarfile "$busybox" | tar -x -C root ./bin/busybox
cat > root/init << 'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo "init: $(uname -srm), $(cat /proc/cmdline)"
head -n 1 /proc/meminfo
echo "init: all is well"
if [ "$1" = poweroff ]; then poweroff -f; fi
while :; do setsid cttyhack sh; done
END
chmod 755 root/init
(cd root && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) | gzip -9n > initrd.gz
rm -rf root
