#!/bin/sh
# SPDX-License-Identifier: MIT
# The lab under each way of translating and of finding a fault's state: always the same words on the
# serial port. -restore check ends with status 78 when its two ways differ.
# timeout: 240
. tests/e2e/lib.sh

# tell NAME OPTIONS...: the lab's story into $TEST_DIR/NAME.txt.
tell() {
    name=$1
    shift
    cp "$BUILD/lab/lab.img" "$TEST_DIR/lab.img"
    start -m 8 -drive format=raw,if=floppy,file="$TEST_DIR/lab.img" "$@"
    expect 'lab> ' 30
    for command in ls 'cat story.txt' fault limit div gp wild 'wild 0' 'wild 0x100000' 'wild 0xe000' \
        'wild 0x50000' mem; do
        send "$command"
        expect 'lab> ' 20
    done
    send off
    finish 0 10
    cp "$TEST_DIR/out" "$TEST_DIR/$name.txt"
}

tell table
grep -q 'fault: all 18 bytes read back right' "$TEST_DIR/table.txt" || die "the lab's fault was not served"
while read -r name options; do
    # shellcheck disable=SC2086
    tell "$name" $options
    diff -u "$TEST_DIR/table.txt" "$TEST_DIR/$name.txt" || die "$options changes what the guest says"
done << 'END'
check -restore check
lockstep -check -restore check
retranslate -restore retranslate
singlestep -singlestep
nochain -d nochain -D /dev/null
singlestep_check -singlestep -restore check -d nochain -D /dev/null
END
