#!/bin/sh
# SPDX-License-Identifier: MIT
# -icount: the same run, interrupt by interrupt and register by register, however the guest is translated;
# and interrupts at all speeds of its clock, also in the middle of REP.
# timeout: 120
. tests/e2e/lib.sh
make -s -f tests/metal/metal.mk BUILD="$BUILD" "$BUILD/metal/irq.img" "$BUILD/metal/io.img" "$BUILD/metal/step.img"

run() {         # run IMAGE OPTIONS...: what it says, how it ends
    drive=$BUILD/metal/$1.img
    shift
    timeout 60 "$GLASSBOX" -drive file="$drive",if=floppy,format=raw,snapshot=on -m 32 -display none \
        -debugcon stdio -device isa-debug-exit,iobase=0xf4,iosize=4 "$@" < /dev/null 2> /dev/null || true
}
for shift in 0 4 8; do
    said=$(run irq -icount shift=$shift | grep -v '^ok ')
    case $said in *', 0 failed'*) ;; *) die "irq, shift=$shift: $said" ;; esac
done

for image in irq io step; do
    run $image -icount shift=3 -d int -D "$TEST_DIR/blocks" > /dev/null
    run $image -icount shift=3 -d int,nochain -singlestep -D "$TEST_DIR/single" > /dev/null
    run $image -icount shift=3 -d int -check -D "$TEST_DIR/checked" > /dev/null
    [ "$(grep -c 'Servicing hardware INT' "$TEST_DIR/blocks")" -gt 5 ] || die "$image: no interrupts"
    # CCO, CCD, CCS: where the flags are, which is the translation's matter
    for log in blocks single checked; do sed -i '/^CCS=/d' "$TEST_DIR/$log"; done
    for log in single checked; do
        cmp "$TEST_DIR/blocks" "$TEST_DIR/$log" ||
            die "$image, $log: $(diff "$TEST_DIR/blocks" "$TEST_DIR/$log" | head -n 20)"
    done
done
