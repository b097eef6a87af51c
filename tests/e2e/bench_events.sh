#!/bin/sh
# SPDX-License-Identifier: MIT
# All events of the benchmark, a hundredth of their iterations, under -restore check: each ends, with the checksum
# that its loop must have. No times.
# timeout: 120
. tests/e2e/lib.sh
events=$(sed -nE 's/^PROGRAM\(([a-z0-9]+), ([0-9]+),.*/\1 \2/p' bench/events/events.def |
    awk '{ printf "%s:%d ", $1, int($2 / 100 / 2048 + 1) * 2048 }')
[ "$(echo "$events" | wc -w)" -ge 30 ] || die "events.def was not understood: $events"
bench_choose events "${events% }"
bench_run 100 jit "$GLASSBOX" -restore check
bench_run 100 single "$GLASSBOX" -singlestep
diff -u "$TEST_DIR/single" "$TEST_DIR/jit" || die 'blocks of one instruction have other sums'
