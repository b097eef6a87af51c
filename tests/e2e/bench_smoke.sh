#!/bin/sh
# SPDX-License-Identifier: MIT
# All benchmark programs, a tenth of their iterations: the guest prints the bare host's checksums. No times.
# timeout: 180
# check: -check=1/256 -restore check
. tests/e2e/lib.sh
programs=$(sed -nE 's/^PROGRAM\(([a-z0-9]+), ([0-9]+),.*/\1 \2/p' bench/programs.def |
    awk '{ printf "%s:%d ", $1, int($2 / 10) + 1 }')
[ "$(echo "$programs" | wc -w)" -ge 12 ] || die "programs.def was not understood: $programs"
programs=${programs% }
"$BUILD/bench/native" "$programs" > "$TEST_DIR/native" || die "the bare host failed"

cp "$BUILD/bench/bench.img" "$TEST_DIR/bench.img"
printf '%s' "$programs" | dd of="$TEST_DIR/bench.img" bs=512 seek=1 conv=notrunc 2> /dev/null
status=0
timeout $((120 * ${TEST_SLOW:-1})) "$GLASSBOX" -m 64 -display none -no-reboot -boot a -debugcon stdio \
    -drive format=raw,if=floppy,file="$TEST_DIR/bench.img" -device isa-debug-exit,iobase=0xf4,iosize=0x04 \
    < /dev/null > "$TEST_DIR/out" 2> "$TEST_DIR/err" || status=$?
[ $status -eq 33 ] || die "glassbox ended with status $status, not 33; last: $(tail -n 2 "$TEST_DIR/out")"
tr -d '\r' < "$TEST_DIR/out" | diff -u "$TEST_DIR/native" - || die "other checksums than the bare host's"
grep -c '^END ' "$TEST_DIR/native" > "$TEST_DIR/count"
[ "$(cat "$TEST_DIR/count")" -ge 12 ] || die "some programs did not run"
