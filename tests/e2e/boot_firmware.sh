#!/bin/sh
# SPDX-License-Identifier: MIT
# SeaBIOS to the end of its boot order, from an empty hard disk, under each way of translating: always the same
# debug output on port 0x402.
# timeout: 120
. tests/e2e/lib.sh

truncate -s 8M "$TEST_DIR/empty.img"

# tell NAME OPTIONS...
tell() {
    name=$1
    shift
    rm -f "$TEST_DIR/bios"
    start -m 32 -drive format=raw,if=ide,file="$TEST_DIR/empty.img" \
        -chardev file,id=bios,path="$TEST_DIR/bios" -device isa-debugcon,iobase=0x402,chardev=bios "$@"
    tenths=400
    until grep -aq 'No bootable device' "$TEST_DIR/bios" 2> /dev/null; do
        tenths=$((tenths - 1))
        if [ $tenths -le 0 ]; then die "SeaBIOS did not come to its end: $(tail -n 3 "$TEST_DIR/bios")"; fi
        kill -0 "$pid" 2> /dev/null || die "glassbox ended"
        sleep 0.1
    done
    kill "$pid"
    finish 0 10
    LC_ALL=C sort "$TEST_DIR/bios" > "$TEST_DIR/$name.txt"      # its threads finish in any order
}

tell table
while read -r name options; do
    # shellcheck disable=SC2086
    tell "$name" $options
    diff -u "$TEST_DIR/table.txt" "$TEST_DIR/$name.txt" || die "$options changes what SeaBIOS says"
done << 'END'
check -restore check
lockstep -check -restore check
retranslate -restore retranslate
nochain -d nochain -D /dev/null
END
