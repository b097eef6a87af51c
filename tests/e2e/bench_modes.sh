#!/bin/sh
# SPDX-License-Identifier: MIT
# The benchmark's loops in every mode of the processor, one run each, under -restore check, in lockstep with eval,
# and in blocks of one instruction: the sums are the same. No times.
# timeout: 180
. tests/e2e/lib.sh
loops=$(sed -nE 's/^LOOP\(([a-z0-9]+), ([0-9]+),.*/\1/p' bench/modes/modes.def)
[ "$(echo "$loops" | wc -w)" -ge 6 ] || die "modes.def was not understood: $loops"
wanted=
for loop in $loops; do
    for mode in 32 user 16 real v86; do wanted="$wanted${loop}_$mode:550000 "; done
done
cp "$BUILD/bench/modes.img" "$TEST_DIR/modes.img"
printf '%s' "${wanted% }" | dd of="$TEST_DIR/modes.img" bs=512 seek=1 conv=notrunc 2> /dev/null
run() {
    status=0
    timeout $((100 * ${TEST_SLOW:-1})) "$@" -m 64 -display none -no-reboot -boot a -debugcon stdio \
        -drive format=raw,if=floppy,file="$TEST_DIR/modes.img" -device isa-debug-exit,iobase=0xf4,iosize=0x04 \
        < /dev/null > "$TEST_DIR/out" 2> "$TEST_DIR/err" || status=$?
    [ $status -eq 33 ] || die "$* ended with status $status, not 33; last: $(tail -n 2 "$TEST_DIR/out" "$TEST_DIR/err")"
    tr -d '\r' < "$TEST_DIR/out" | sed -n 's/^END //p' > "$TEST_DIR/$name"
}
name=jit run "$GLASSBOX" -restore check
[ "$(grep -cv 0x00000000 "$TEST_DIR/jit")" -eq 30 ] || die "not 30 sums: $(cat "$TEST_DIR/jit")"
name=single run "$GLASSBOX" -singlestep
name=check run "$GLASSBOX" -check=1/64
diff -u "$TEST_DIR/single" "$TEST_DIR/jit" || die 'blocks of one instruction have other sums'
diff -u "$TEST_DIR/check" "$TEST_DIR/jit" || die '-check has other sums'
