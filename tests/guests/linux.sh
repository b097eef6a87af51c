#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: linux.sh DIR      makes DIR/bzImage and DIR/initrd.gz
#
# Debian's Linux 6.1 for older PCs (i386) and an initial RAM disk with busybox, whose init says where it is and
# switches off. The packages are downloaded into DIR (55 MB) and unpacked there; nothing is installed.
# Needs apt-get with i386 (dpkg --add-architecture i386; apt-get update) and cpio.
#
# Verified with QEMU 7.2, -m 128 (verify.sh linux).
set -e
here=$(dirname "$0")
. "$here/disk.sh"
dir=${1:?usage: linux.sh DIR}
mkdir -p "$dir"
disk_need cpio cpio
cd "$dir"
kernel=$(apt-cache depends linux-image-686:i386 |
    sed -nE 's/.*Depends: (linux-image-[0-9.-]+-686):?.*/\1/p' | head -n 1)
if [ -z "$kernel" ]; then
    echo "linux.sh: apt-get knows no i386 kernel: dpkg --add-architecture i386 && apt-get update" >&2
    exit 1
fi
ls linux-image-*_i386.deb > /dev/null 2>&1 || apt-get -q download "$kernel-unsigned:i386"
ls busybox-static_*_i386.deb > /dev/null 2>&1 || apt-get -q download busybox-static:i386
rm -rf unpacked root
dpkg -x linux-image-*_i386.deb unpacked
dpkg -x busybox-static_*_i386.deb unpacked
cp unpacked/boot/vmlinuz-* bzImage
mkdir -p root/bin root/proc root/dev
cp unpacked/bin/busybox root/bin/
cat > root/init << 'END'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
echo "init: $(/bin/busybox uname -srm), $(/bin/busybox cat /proc/cmdline)"
/bin/busybox head -n 1 /proc/meminfo
echo "init: all is well"
/bin/busybox poweroff -f
END
chmod 755 root/init
(cd root && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) | gzip -9n > initrd.gz
rm -rf unpacked root
