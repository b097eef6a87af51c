#!/bin/sh
# SPDX-License-Identifier: MIT
# The CD drive that every machine has is empty: the firmware finds nothing to boot in it. The monitor puts
# a disc in and out. The next reset boots it (El Torito): GRUB reads a file of 3 MiB from it, sees the PCI
# functions, and switches the machine off through the firmware's ACPI tables.
# timeout: 180
. tests/e2e/lib.sh
command -v xorriso > /dev/null || { echo "xorriso is missing"; exit 77; }
sh tests/guests/cd.sh "$TEST_DIR"
sock=$TEST_DIR/s
log=$TEST_DIR/firmware
logs() {        # logs REGEX SECONDS: the firmware says so
    for _ in $(seq $(($2 * 10 * ${TEST_SLOW:-1}))); do
        if grep -q "$1" "$log" 2> /dev/null; then return; fi
        sleep 0.1
    done
    die "the firmware does not say '$1': $(tail -n 5 "$log")"
}

truncate -s 1M "$TEST_DIR/blank"
start -m 32 -hda "$TEST_DIR/blank" -boot d -action reboot=reset -monitor "unix:$sock,server,nowait" \
    -chardev "file,id=log,path=$log" -device isa-debugcon,iobase=0x402,chardev=log
logs 'DVD/CD .*GLASSBOX CD-ROM' 30
logs 'Could not read from CDROM' 30
logs 'No bootable device' 10
answers '^ide1-cd0: .not inserted' 'info block'
answers 'status 5[01] .*ready' 'info ide1'
[ "$(wc -l < "$TEST_DIR/answer")" -lt 40 ] || die "info ide1 is long: $(cat "$TEST_DIR/answer")"
mon "change ide1-cd0 $TEST_DIR/cd.iso"
answers '^ide1-cd0: .*cd.iso .raw, read-only' 'info block'
mon 'eject ide1-cd0'
answers '^ide1-cd0: .not inserted' 'info block'
mon "change ide1-cd0 $TEST_DIR/cd.iso" system_reset
expect 'GNU GRUB.*grub> ' 60
send 'lspci'
expect '8086:7010.*1234:1111' 20
send 'ls (cd)/'
expect 'numbers.txt' 20
send 'hashsum --hash md5 --check (cd)/sums.txt --prefix (cd)/'
expect 'OK' 60
send 'halt'
finish 0 20
