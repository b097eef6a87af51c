#!/bin/sh
# SPDX-License-Identifier: MIT
# memtest86+ from GRUB's linux16 with 16 MiB: tests 0 to 9, which take all the time, without an error. Test 10
# only waits.
# timeout: 300
# check: -check=1/256 -restore check
. tests/e2e/lib.sh
sh tests/guests/memtest.sh "$TEST_DIR"
start -m 16 -drive format=raw,if=ide,file="$TEST_DIR/memtest-serial.img"
expect 'Memtest86\+ v6' 60
expect '#10 ' 200
said > "$TEST_DIR/said"
grep -aq 'Errors: 0 ' "$TEST_DIR/said" || die "it does not say 'Errors: 0'"
if grep -aqE 'Errors: +[1-9]|FAIL|Unexpected Interrupt' "$TEST_DIR/said"; then die "memtest86+ found errors"; fi
kill "$pid"
finish 0 10
