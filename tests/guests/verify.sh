#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: verify.sh grub|memtest|linux|installer|installer-cd DIR [EMULATOR]      EMULATOR: qemu-system-i386 by default
#
# Boots what the script of that name has made in DIR and waits until the guest has said what it should on the
# serial port (the installer: on the text screen, read through the monitor); prints one line with the
# seconds it took until then. Exit status 0 or 1. TIMEOUT: seconds to wait, 60 (the installer: 240).
set -e
guest=${1:?usage: verify.sh grub|memtest|linux|installer|installer-cd DIR [EMULATOR]}
dir=${2:?usage: verify.sh grub|memtest|linux|installer|installer-cd DIR [EMULATOR]}
emulator=${3:-qemu-system-i386}
limit=60 where=serial next=
case $guest in
grub) expected='grub>' ;;
memtest) expected='Memtest86+ v.*Pass *[0-9]*%' ;;
linux) expected='init: all is well' ;;
installer | installer-cd)
    where=screen limit=240
    expected='Select a language .*Choose the language to be used for the installation process'
    next='Select your location .*The selected location will be used' ;;          # after Return
*) echo "$0: no guest is called $guest" >&2; exit 1 ;;
esac
limit=${TIMEOUT:-$limit}
log=$dir/$guest.serial.$$ video=$dir/$guest.video.$$ monitor=$dir/$guest.monitor.$$
: > "$log"
mkfifo "$monitor"

# The serial output as one line, without escape sequences: words may be placed by cursor moves.
serial() {
    esc=$(printf '\033')
    tr '\r\n' '  ' < "$log" | sed "s/$esc\[[0-9;?]*[A-Za-z]//g"
}

# All of the VGA's text memory, 80 columns a line, as one line: the screen is somewhere in it. Empty at first.
screen() {
    rm -f "$video"
    echo "pmemsave 0xb8000 32768 \"$video\"" >&3
    sleep 0.5
    if [ ! -s "$video" ]; then return; fi
    od -An -v -tu1 -w2 "$video" | awk '{ printf "%c", ($1 < 32 || $1 > 126) ? 32 : $1 }' | tr -s ' '
}
said() { $where; }

case $guest in
grub) set -- -m 16 -drive "format=raw,if=ide,file=$dir/grub.img" ;;
memtest) set -- -m 16 -drive "format=raw,if=ide,file=$dir/memtest-serial.img" ;;
linux) set -- -m 128 -kernel "$dir/bzImage" -initrd "$dir/initrd.gz" -append 'console=ttyS0' ;;
installer) set -- -m 512 -kernel "$dir/linux" -initrd "$dir/initrd.gz" -append 'vga=normal fb=false nomodeset' ;;
installer-cd) set -- -m 512 -cdrom "$dir/installer.iso" -boot d ;;
esac
"$emulator" -display none -no-reboot -serial "file:$log" -monitor stdio "$@" < "$monitor" > /dev/null &
pid=$!
trap 'kill $pid 2> /dev/null || true; rm -f "$log" "$video" "$monitor"' EXIT
trap 'exit 1' INT TERM
exec 3> "$monitor"

# wait_for REGEX
wait_for() {
    while [ $(($(date +%s) - started)) -lt "$limit" ]; do
        if said | grep -aq "$1"; then return; fi
        if ! kill -0 $pid 2> /dev/null; then
            echo "verify.sh: $guest: the emulator ended by itself; it said: $(said | tail -c 200)" >&2
            exit 1
        fi
        sleep 0.1
    done
    echo "verify.sh: $guest: no '$1' in $limit s; it said: $(said | tail -c 200)" >&2
    exit 1
}
started=$(date +%s)
wait_for "$expected"
took=$(($(date +%s) - started)) used=$(sed 's/.*) //' /proc/$pid/stat | awk '{ printf "%.1f", ($12 + $13) / 100 }')
if [ -n "$next" ]; then
    echo 'sendkey ret' >&3
    wait_for "$next"
fi
echo "verify.sh: $guest: good after $took s, of which $used s of CPU time"
