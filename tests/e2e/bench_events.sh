#!/bin/sh
# SPDX-License-Identifier: MIT
# All events of the benchmark, a hundredth of their iterations, under -restore check: each ends, with the checksum
# that its loop must have. No times.
# timeout: 120
. tests/e2e/lib.sh
events=$(sed -nE 's/^PROGRAM\(([a-z0-9]+), ([0-9]+),.*/\1 \2/p' bench/events/events.def |
    awk '{ printf "%s:%d ", $1, int($2 / 100 / 2048 + 1) * 2048 }')
[ "$(echo "$events" | wc -w)" -ge 30 ] || die "events.def was not understood: $events"
cp "$BUILD/bench/events.img" "$TEST_DIR/events.img"
printf '%s' "${events% }" | dd of="$TEST_DIR/events.img" bs=512 seek=1 conv=notrunc 2> /dev/null
run() {
    status=0
    timeout $((100 * ${TEST_SLOW:-1})) "$@" -m 64 -display none -no-reboot -boot a -debugcon stdio \
        -drive format=raw,if=floppy,file="$TEST_DIR/events.img" -device isa-debug-exit,iobase=0xf4,iosize=0x04 \
        < /dev/null > "$TEST_DIR/out" 2> "$TEST_DIR/err" || status=$?
    [ $status -eq 33 ] || die "$* ended with status $status, not 33; last: $(tail -n 2 "$TEST_DIR/out" "$TEST_DIR/err")"
    tr -d '\r' < "$TEST_DIR/out" | sed -n 's/^END //p' > "$TEST_DIR/$name"
}
name=jit run "$GLASSBOX" -restore check
name=single run "$GLASSBOX" -singlestep
diff -u "$TEST_DIR/single" "$TEST_DIR/jit" || die 'blocks of one instruction have other sums'
