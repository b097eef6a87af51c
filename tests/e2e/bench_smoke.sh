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

bench_choose bench "$programs"
bench_run 120 guest "$GLASSBOX"
diff -u "$TEST_DIR/native" "$TEST_DIR/guest" || die "other checksums than the bare host's"
grep -c '^END ' "$TEST_DIR/native" > "$TEST_DIR/count"
[ "$(cat "$TEST_DIR/count")" -ge 12 ] || die "some programs did not run"
