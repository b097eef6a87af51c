#!/bin/sh
# SPDX-License-Identifier: MIT
# gdb (Debian's package gdb) on the lab: from reset to a user program's faulting store and on through
# the kernel's handler; break-in, watchpoints, a second client, reconnecting, kill.
# timeout: 180
. tests/e2e/lib.sh
if ! command -v gdb > /dev/null; then
    echo "no gdb: apt-get install gdb"
    exit 77
fi
sock=$TEST_DIR/gdb.sock
symbols=$BUILD/lab/lab.elf

# debug NAME COMMAND...: one gdb session, what it says into $TEST_DIR/NAME.
debug() {
    name=$1
    shift
    for command in "$@"; do printf '%s\n' "$command"; done > "$TEST_DIR/$name.gdb"
    HOME=$TEST_DIR timeout 60 gdb -nx -q -batch -ex 'set confirm off' -ex 'set remotetimeout 20' \
        -ex "file $symbols" -ex "target remote $sock" -x "$TEST_DIR/$name.gdb" \
        < /dev/null > "$TEST_DIR/$name" 2>&1 || die "gdb: $(cat "$TEST_DIR/$name")"
}
# told NAME REGEX...: lines that match, in this order.
told() {
    name=$1 from=1
    shift
    for want in "$@"; do
        at=$(tail -n "+$from" "$TEST_DIR/$name" | grep -nE -m 1 -- "$want" | cut -d: -f1)
        [ -n "$at" ] || die "gdb $name: no '$want' from line $from on: $(cat "$TEST_DIR/$name")"
        from=$((from + at))
    done
}

start -m 16 -S -gdb "unix:$sock,server,nowait" -fda "$BUILD/lab/lab.img"
i=0
while [ ! -S "$sock" ] && [ $i -lt 100 ]; do i=$((i + 1)); sleep 0.1; done

# From the reset vector to the boot sector, in real mode; then the kernel's first function.
debug boot 'p/x $eip' 'p/x $cs_base' 'hbreak *0x7c00' 'c' 'set architecture i8086' 'x/1i $pc' 'set architecture i386' \
    'p/x $cr0 & 1' 'delete' 'stepi' 'p/x $eip' \
    'break kernel_main' 'c' 'p/x $cr0 & 1' 'p/x $cs' 'delete' 'tbreak paging_init' 'c' 'bt 2' \
    'set var $edi = 0x12345678' 'p/x $edi' 'monitor info registers' 'x/1xb kernel_main' 'detach'
told boot '= 0xfff0$' '= 0xffff0000$' 'Breakpoint 1, 0x0*7c00 ' 'ljmp +\$0x0,\$0x7c05' '= 0x0$' '= 0x7c05$' \
    'Breakpoint 2, kernel_main' '= 0x1$' '= 0x8$' 'breakpoint 3, paging_init' '#1 .* kernel_main' '= 0x12345678$' \
    'EDI=12345678' 'kernel_main>:' 'detached'
expect 'lab> ' 30

# The faulting store of a user program (byte 9): a step over it lands in the kernel's handler, and the
# same store comes again when that is done. gdb is there before the program runs.
debug fault 'break *&lab_fault_insn if $edx == 0x1000' 'c' 'x/1i $pc' 'p $cpl' 'p/c $al' 'stepi' 'p $cpl' \
    'p/x $cr2' 'c' 'x/1i $pc' 'delete' 'stepi' 'p $cpl' 'p/c *(char *)0x41000' 'watch *(char *)0x41001' \
    'c' 'x/1i $pc' 'delete' 'rwatch *(char *)0x41002' 'c' 'x/1i $pc' 'detach' &
session=$!
sleep 2
send fault
wait $session || die "the session on the fault failed"
told fault 'Breakpoint 1, ' 'mov +%al,%fs:\(%edx\)' '= 3$' '= 0$' '= 0x41000$' \
    'Breakpoint 1, ' 'mov +%al,%fs:\(%edx\)' '= 3$' 'Hardware watchpoint 2' 'Old value' 'New value' 'add +\$0x4,%esp' \
    'Hardware read watchpoint 3' 'Value = ' 'ret'
expect 'all 18 bytes read back right' 20
expect 'lab> ' 10

# Break-in, and a second client meanwhile.
debug second 'c' 'p $eip' 'detach' &
session=$!
i=0
while ! grep -q '^c' "$TEST_DIR/second.gdb" 2> /dev/null && [ $i -lt 100 ]; do i=$((i + 1)); sleep 0.1; done
sleep 2
HOME=$TEST_DIR timeout 20 gdb -nx -q -batch -ex "target remote $sock" < /dev/null > "$TEST_DIR/third" 2>&1 || true
told third 'another debugger is connected'
gdb_pid=$(pgrep -P "$session" -x timeout || true)
kill -INT "$(pgrep -P "$gdb_pid" -x gdb)"
wait $session || die "the break-in failed"
told second 'received signal SIGINT' '= '

# Reconnected, and the end.
send uptime
expect 'lab> ' 10
debug end 'p/x $cr0 & 1' 'kill'
told end '= 0x1$'
finish 0 10
if [ -e "$sock" ]; then die "the socket was left behind"; fi
