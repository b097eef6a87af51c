#!/bin/sh
# SPDX-License-Identifier: MIT
# -kernel with what looks like a Linux bzImage (tests/guests/bzimage.S): registers and header of the
# setup, command line, initial RAM disk, firmware services.
# timeout: 60
. tests/e2e/lib.sh
here=$PWD
cd "$TEST_DIR"
build() {       # build NAME FLAGS...
    name=$1
    shift
    gcc -m32 "$@" -c "$here/tests/guests/bzimage.S" -o image.o
    objcopy -O binary -j .text image.o "$name"
}
build bzImage
printf 'the RAM disk' > initrd

status=0
timeout 30 "$GLASSBOX" -display none -m 64 -device isa-debug-exit,iobase=0xf4 -serial file:said \
    -kernel bzImage -initrd initrd -append 'vga=0x301 root=/dev/ram' 2> err || status=$?
[ $status -eq 43 ] || die "status $status: $(cat err said)"
diff -u - said << 'END' || die 'the loader has done it in another way'
segments 00000000
loader 000081ff
video 00000301
stack 0000e000
heap 0000de00
line vga=0x301 root=/dev/ram
map 0009fc00
i the RAM disk
END

wrong() {       # wrong REGEX OPTIONS...
    want=$1
    shift
    status=0
    timeout 10 "$GLASSBOX" -display none "$@" > out 2> err < /dev/null || status=$?
    [ $status -eq 1 ] || die "$*: status $status: $(cat err)"
    grep -qE "^glassbox: $want" err || die "$* says: $(cat err)"
}
build old -DVERSION=0x201
head -c 1024 bzImage > cut
truncate -s 9M large
wrong "-kernel: 'old' has boot protocol 2.01; 2.02 or later" -kernel old
wrong "-kernel: 'cut' is cut short" -kernel cut
wrong "-append: 33 characters; this kernel takes 32" -kernel bzImage -append 123456789012345678901234567890123
wrong "-kernel: 'bzImage' needs memory up to 7 MiB" -kernel bzImage -m 6
wrong "-initrd: 'large' does not fit into memory beside the kernel" -kernel bzImage -initrd large -m 15
