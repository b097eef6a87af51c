#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: verify.sh grub|memtest|linux DIR [EMULATOR]      EMULATOR: qemu-system-i386 by default
#
# Boots DIR/grub.img or DIR/memtest-serial.img with 16 MiB, or DIR/bzImage with 128 MiB, and waits until
# the serial port has said what it should; prints one line. Exit status 0 or 1. TIMEOUT: seconds to wait, 60.
set -e
guest=${1:?usage: verify.sh grub|memtest|linux DIR [EMULATOR]}
dir=${2:?usage: verify.sh grub|memtest|linux DIR [EMULATOR]}
emulator=${3:-qemu-system-i386}
case $guest in
grub) image=$dir/grub.img expected='grub>' ;;
memtest) image=$dir/memtest-serial.img expected='Memtest86+ v.*Pass *[0-9]*%' ;;
linux) image='' expected='init: all is well' ;;
*) echo "$0: no guest is called $guest" >&2; exit 1 ;;
esac
log=$dir/$guest.serial.$$
: > "$log"

# The serial output as one line, without escape sequences: words may be placed by cursor moves.
said() {
    esc=$(printf '\033')
    tr '\r\n' '  ' < "$log" | sed "s/$esc\[[0-9;?]*[A-Za-z]//g"
}

if [ -n "$image" ]; then set -- -m 16 -drive "format=raw,if=ide,file=$image"
else set -- -m 128 -kernel "$dir/bzImage" -initrd "$dir/initrd.gz" -append 'console=ttyS0'; fi
"$emulator" -display none -no-reboot -serial "file:$log" "$@" < /dev/null &
pid=$!
trap 'kill $pid 2> /dev/null || true; rm -f "$log"' EXIT
trap 'exit 1' INT TERM
tenths=$((${TIMEOUT:-60} * 10))
while [ $tenths -gt 0 ]; do
    if [ -e "$log" ] && said | grep -aq "$expected"; then
        echo "verify.sh: $guest: good"
        exit 0
    fi
    if ! kill -0 $pid 2> /dev/null; then
        echo "verify.sh: $guest: the emulator ended by itself; serial port: $(said | tail -c 200)" >&2
        exit 1
    fi
    sleep 0.1
    tenths=$((tenths - 1))
done
echo "verify.sh: $guest: no '$expected' in ${TIMEOUT:-60} s; serial port: $(said | tail -c 200)" >&2
exit 1
