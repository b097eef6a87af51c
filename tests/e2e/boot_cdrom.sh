#!/bin/sh
# SPDX-License-Identifier: MIT
# A CD boots (El Torito): GRUB reads a file of 3 MiB from it, sees the PCI functions, and switches the
# machine off through the firmware's ACPI tables.
# timeout: 150
. tests/e2e/lib.sh
command -v xorriso > /dev/null || { echo "xorriso is missing"; exit 77; }
sh tests/guests/cd.sh "$TEST_DIR"
start -m 32 -cdrom "$TEST_DIR/cd.iso" -boot d
expect 'GNU GRUB.*grub> ' 60
send 'lspci'
expect '8086:7010.*1234:1111' 20
send 'ls (cd)/'
expect 'numbers.txt' 20
send 'hashsum --hash md5 --check (cd)/sums.txt --prefix (cd)/'
expect 'OK' 60
send 'halt'
finish 0 20
