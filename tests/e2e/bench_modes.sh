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
bench_choose modes "${wanted% }"
bench_run 100 jit "$GLASSBOX" -restore check
[ "$(grep '^END ' "$TEST_DIR/jit" | grep -cv 0x00000000)" -eq 30 ] || die "not 30 sums: $(cat "$TEST_DIR/jit")"
bench_run 100 single "$GLASSBOX" -singlestep
bench_run 100 check "$GLASSBOX" -check=1/64
diff -u "$TEST_DIR/single" "$TEST_DIR/jit" || die 'blocks of one instruction have other sums'
diff -u "$TEST_DIR/check" "$TEST_DIR/jit" || die '-check has other sums'
