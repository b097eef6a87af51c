# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# timeout: 120
# -perfmap: perf's map and gdb's list name the lab's boot sector by its guest address.
. tests/e2e/lib.sh
start -m 16 -perfmap -drive format=raw,if=floppy,file="$BUILD/lab/lab.img"
expect 'lab>' 60
map=/tmp/perf-$pid.map
grep -q '^[0-9a-f]* [0-9a-f]* glassbox_stubs$' "$map" || die "$map: no stubs"
grep -qE '^[0-9a-f]+ [0-9a-f]+ guest_00007c00$' "$map" || die "$map: no block 00007c00"
stop
wait "$pid" || true
rm -f "$map"
pid=
command -v gdb > /dev/null || exit 0
timeout 100 gdb -q -nx -batch -ex 'set pagination off' -ex 'handle SIGFPE nostop noprint pass' -ex 'break bus_wait' \
    -ex run -ex 'info inferiors' -ex 'x/i guest_00007c00' \
    --args "${PROGRAM:-$GLASSBOX}" -display none -serial null -perfmap -m 16 \
    -drive format=raw,if=floppy,file="$BUILD/lab/lab.img" > "$TEST_DIR/gdb" 2>&1 || true
rm -f "/tmp/perf-$(sed -n 's/.*process \([0-9]*\).*/\1/p' "$TEST_DIR/gdb" | head -n 1).map"
grep -q '<guest_00007c00>:' "$TEST_DIR/gdb" || die "gdb does not know guest_00007c00: $(tail -n 5 "$TEST_DIR/gdb")"
