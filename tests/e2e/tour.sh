#!/bin/sh
# SPDX-License-Identifier: MIT
# The tour's numbers against the log of the same run, and against themselves in a second run.
# timeout: 60
set -eu
: "${GLASSBOX:?run this by make test}" "${TEST_DIR:?}"
die() { echo "$*" >&2; exit 1; }

"$GLASSBOX" tour --log "$TEST_DIR/log" > "$TEST_DIR/tour" < /dev/null || die "tour: status $?"
tour=$TEST_DIR/tour log=$TEST_DIR/log
has() { grep -qF -- "$2" "$1" || die "$(basename "$1") does not have: $2"; }

has "$tour" ' => 0x0000e4d2:  mov    %al,%fs:(%edx)'
has "$tour" 'CR2=00041000'
has "$tour" 'the same, as -restore check demands'
has "$tour" 'then the table entry of its page'
has "$tour" 'faults at this instruction in all: 1'
has "$tour" '| fault: all 18 bytes read back right'

# Host pc, restore record, exception and handler as the log has them.
pc=$(sed -n 's/.*left at host pc \(0x[0-9a-f]*\).*/\1/p' "$tour")
op=$(sed -n 's/.*table: .*IR op \(0x[0-9a-f]*\),.*/\1/p' "$tour")
[ -n "$pc" ] && [ -n "$op" ] || die "no host pc or op in the tour"
has "$log" "spc=$pc pc_pos=$op eip=0000e4d2 cs_base=0"
grep -qE 'v=0e e=0006 i=0 cpl=3 IP=001b:0000e4d2 .*CR2=00041000' "$log" || die "the log has no such fault"
has "$log" '0x0000e4d2:  mov    %al,%fs:(%edx)'
call=$(sed -n 's/^ => \(0x7[0-9a-f]*\):.*/\1/p' "$tour")
[ -n "$call" ] || die "no host instruction is marked"
has "$log" "$call:"

# The same but for addresses: time is the instruction count.
"$GLASSBOX" tour > "$TEST_DIR/again" < /dev/null || die "second tour: status $?"
for file in tour again; do
    sed -E 's/0x[0-9a-f]{8,}/HOST/g; /^On the right/d' "$TEST_DIR/$file" > "$TEST_DIR/$file.plain"
done
cmp -s "$TEST_DIR/tour.plain" "$TEST_DIR/again.plain" || {
    diff "$TEST_DIR/tour.plain" "$TEST_DIR/again.plain" >&2 || true
    die "two tours differ"
}
lines=$(wc -l < "$tour")
[ "$lines" -lt 110 ] || die "the tour has $lines lines"
"$GLASSBOX" tour --bogus 2> "$TEST_DIR/err" && die "a wrong option is taken"
grep -q '^glassbox: tour: usage' "$TEST_DIR/err" || die "it said: $(cat "$TEST_DIR/err")"
