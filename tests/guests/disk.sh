# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Sourced by grub.sh and memtest.sh: makes raw hard disk images that start GRUB, without root rights,
# loop devices or grub-install.

GRUB_DIR=${GRUB_DIR:-/usr/lib/grub/i386-pc}

# disk_need FILE-OR-COMMAND PACKAGE: ends the script when it is missing.
disk_need() {
    if [ ! -e "$1" ] && ! command -v "$1" > /dev/null; then
        echo "$0: $1 is missing; install the Debian package $2" >&2
        exit 1
    fi
}

# disk_write IMAGE CORE: a disk of 8 MiB with GRUB's boot.img in sector 0 and CORE behind it, where
# boot.img (sector 1) and CORE's own first sector (sectors 2...) look for it as they come from the
# package. One empty FAT partition from sector 2048 on is listed: some BIOSes do not start
# a disk without a partition table, and grub> has something to list.
disk_write() {
    disk_core_bytes=$(wc -c < "$2")
    if [ "$disk_core_bytes" -gt $((2047 * 512)) ]; then
        echo "$0: $2: $disk_core_bytes bytes do not fit before the first partition" >&2
        exit 1
    fi
    head -c 446 "$GRUB_DIR/boot.img" > "$1.new"
    # Not active, CHS 0/32/33 to 1/4/4 (255 heads, 63 sectors), type 1 (FAT12), LBA 2048, 14336 sectors.
    printf '\000\040\041\000\001\004\004\001\000\010\000\000\000\070\000\000' >> "$1.new"
    head -c 48 /dev/zero >> "$1.new"
    printf '\125\252' >> "$1.new"
    cat "$2" >> "$1.new"
    truncate -s 8M "$1.new"
    mv "$1.new" "$1"
}
