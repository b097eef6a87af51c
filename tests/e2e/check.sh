#!/bin/sh
# SPDX-License-Identifier: MIT
# -check: a mistake of the translator (GLASSBOX_STRESS) ends the run with status 78 and a message whose last line
# can be pasted; right translations of firmware, lab and bare-metal images pass, nearly all blocks compared in full.
# timeout: 600
. tests/e2e/lib.sh
make -s -f tests/metal/metal.mk BUILD="$BUILD" metal

# caught WORDS WRONG OPTIONS...: the lab's boot, with one operation of the IR translated as another.
caught() {
    want=$1 wrong=$2
    shift 2
    status=0
    GLASSBOX_STRESS=wrong=$wrong timeout 100 "$GLASSBOX" -display none -no-reboot -m 8 "$@" \
        -drive format=raw,if=floppy,file="$BUILD/lab/lab.img" > "$TEST_DIR/out" 2> "$TEST_DIR/err" < /dev/null ||
        status=$?
    [ $status -eq 78 ] || die "$wrong $*: status $status"
    grep -qE '^glassbox: -check: generated code differs from ir/eval in block [0-9a-f]{4}:[0-9a-f]{8} ' \
        "$TEST_DIR/err" || die "$wrong: first line"
    grep -qE "$want" "$TEST_DIR/err" || die "$wrong $*: not said: $want"
    paste=$(tail -n 1 "$TEST_DIR/err")
    case $paste in "glassbox dump --bytes '"*) ;; *) die "$wrong $*: the last line is $paste" ;; esac
    eval "\"\$GLASSBOX\" ${paste#glassbox }" > "$TEST_DIR/dump" || die "cannot be pasted: $paste"
    first=$(sed -n 's/^\(0x[0-9a-f]*\): .*/\1/p' "$TEST_DIR/err" | head -n 1)
    grep -q "^$first: " "$TEST_DIR/dump" || die "dump does not show the block at $first"
}
caught '^  e[a-ds][xpi] +eval [0-9a-f]{8} +generated code [0-9a-f]{8}' inc:dec -check
caught '^  0[0-9a-f]{7} +eval +([0-9a-f]{2} )+' adc:add -check
caught '^  eval +calls load_seg\(2, 0\)' xor:or -check
caught '^glassbox: .*\(1 instruction, ' xor:or -check -singlestep
caught '^  e[a-ds][xpi] +eval' sub:add -check=1/4
caught '^  e[a-ds][xpi] +eval' dec:inc -check 1/64

# What is right passes; the monitor tells how much was compared.
start -m 8 -drive format=raw,if=floppy,file="$BUILD/lab/lab.img" -check -restore check -d check -D "$TEST_DIR/log"
expect 'lab> ' 60
for command in fault div gp wild; do
    send "$command"
    expect 'lab> ' 20
done
send off
finish 0 10
tail -n 1 "$TEST_DIR/log" | awk '$1 == "checked" { all = $3 + $6 + $9; if ($3 > 100000 && $3 > 0.99 * all) good = 1 }
    END { exit !good }' || die "too little was compared: $(tail -n 1 "$TEST_DIR/log")"

# The bare-metal images, each by itself.
for image in "$BUILD"/metal/*.img; do
    status=0
    timeout 200 "$GLASSBOX" -check -restore check -drive file="$image",if=floppy,format=raw -m 32 -display none \
        -debugcon stdio -device isa-debug-exit,iobase=0xf4,iosize=4 < /dev/null > "$TEST_DIR/out" 2> "$TEST_DIR/err" ||
        status=$?
    [ $status -eq 33 ] || die "${image##*/}: status $status"
    if grep '^FAIL' "$TEST_DIR/out"; then die "${image##*/}: not as without -check"; fi
done
