#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: bench/extra.sh GLASSBOX QEMU MON OUT RESULTS     (make bench runs it after the table)
#
# What the table does not show: CPU time to the first boot-sector instruction, host bytes per guest byte, and,
# where LINUX_IMAGE (floppy) and LINUX_DISK (hard disk, not written to) name Linux 0.11's images, the time to its
# prompt. MON is the monitor client of the tests. '-' as an emulator leaves it out.
# RESULTS: the file for bench/aims.sh.
set -u
glassbox=$1 qemu=$2 mon=$3 out=$4 results=$5
LINUX_IMAGE=${LINUX_IMAGE:-} LINUX_DISK=${LINUX_DISK:-}
mkdir -p "$out"

usable() { [ "$1" != - ] && command -v "$1" > /dev/null; }

# CPU seconds of a command, its output thrown away.
cpu_seconds() {
    (timeout 30 "$@" > /dev/null 2> /dev/null; times) | tail -n 1 |
        awk '{ split($1, u, /[ms]/); split($2, k, /[ms]/); printf "%.2f", u[1] * 60 + u[2] + k[1] * 60 + k[2] }'
}

# A sector that ends the machine at once: mov $0x10, %al ; out %al, $0xf4 ; hlt.
boot_sector() {
    printf '\260\020\346\364\364' > "$out/sector.img"
    truncate -s 510 "$out/sector.img"
    printf '\125\252' >> "$out/sector.img"
    truncate -s 1474560 "$out/sector.img"
}

first_instruction() {
    cpu_seconds "$1" -m 64 -display none -no-reboot -drive "format=raw,if=floppy,file=$out/sector.img" -boot a \
        -device isa-debug-exit,iobase=0xf4,iosize=0x04
}

# Wall seconds until Linux 0.11's prompt stands on the text screen.
linux_prompt() {
    socket=$out/mon.$$
    start=$(date +%s%N)
    timeout 60 "$1" -m 16M -boot a -drive "format=raw,if=floppy,readonly=on,file=$LINUX_IMAGE" \
        -drive "format=raw,if=ide,snapshot=on,file=$LINUX_DISK" -display none \
        -monitor "unix:$socket,server,nowait" > /dev/null 2>&1 &
    pid=$!
    while kill -0 $pid 2> /dev/null; do
        "$mon" "$socket" 'xp /16000hx 0xb8000' 2> /dev/null |
            grep -q '0x..5b 0x..2f 0x..75 0x..73 0x..72 0x..2f' && break
        sleep 0.05
    done
    end=$(date +%s%N)
    kill $pid 2> /dev/null
    wait $pid 2> /dev/null
    awk -v n=$((end - start)) 'BEGIN { printf "%.2f", n / 1e9 }'
}

boot_sector
prompts=
for emulator in "$glassbox" "$qemu"; do
    usable "$emulator" || { echo "$emulator: not there, left out"; prompts="$prompts -"; continue; }
    name=$(basename "$emulator")
    echo "$name: $(first_instruction "$emulator") s of CPU time to the first boot-sector instruction"
    if [ -n "$LINUX_IMAGE" ] && [ -n "$LINUX_DISK" ]; then
        prompt=$(linux_prompt "$emulator")
        echo "$name: $prompt s to the prompt of Linux 0.11"
        prompts="$prompts $prompt"
    fi
done
[ -n "${prompts# }" ] && echo "extra linux011 -$prompts 1" >> "$results"
[ -n "$LINUX_IMAGE" ] || echo "Linux 0.11: not measured (LINUX_IMAGE= and LINUX_DISK= name its images)"
if usable "$glassbox"; then
    (sleep 2; echo 'info jit'; echo quit) | timeout 20 "$glassbox" -display none -monitor stdio 2> /dev/null |
        grep -a 'expansion' > "$out/expansion"
    sed 's/^/lab and firmware: /' "$out/expansion"
    sed -n 's/.* \([0-9.]*\) all).*/extra expansion - \1 - 1/p' "$out/expansion" >> "$results"
fi
