#!/bin/sh
# SPDX-License-Identifier: MIT
# How a machine ends: exit statuses and the one line about them; -no-reboot, -no-shutdown, -nographic.
# timeout: 120
. tests/e2e/lib.sh

# boot NAME BYTES: a floppy whose boot sector is these bytes (octal escapes).
boot() {
    printf "$2" > "$TEST_DIR/$1"
    truncate -s 510 "$TEST_DIR/$1"
    printf '\125\252' >> "$TEST_DIR/$1"
}
ends() {        # ends STATUS REGEX OPTIONS...
    want_status=$1 want=$2
    shift 2
    status=0
    timeout 30 "$GLASSBOX" -display none "$@" > "$TEST_DIR/o" 2> "$TEST_DIR/e" < /dev/null || status=$?
    [ $status -eq "$want_status" ] || die "$*: status $status: $(cat "$TEST_DIR/e")"
    if [ -n "$want" ]; then
        grep -qE "$want" "$TEST_DIR/e" || die "$* says: $(cat "$TEST_DIR/e")"
        [ "$(wc -l < "$TEST_DIR/e")" -eq 1 ] || die "$*: not one line: $(cat "$TEST_DIR/e")"
    elif [ -s "$TEST_DIR/e" ]; then die "$* says: $(cat "$TEST_DIR/e")"
    fi
}

# mov $0x10,%al; out %al,$0xf4; jmp .
boot exit '\260\020\346\364\353\376'
ends 33 'isa-debug-exit: value 0x10, status 33' -fda "$TEST_DIR/exit" -device isa-debug-exit,iobase=0xf4,iosize=4
# lidt (an empty table at 0); int3: triple fault in protected mode is long; in real mode a limit of 0 does.
# xor %ax,%ax; mov %ax,%ds; lidt 0x7c20 (zeros); int $3
boot triple '\061\300\216\330\017\001\036\040\174\315\003'
ends 70 'triple fault .*-no-reboot' -fda "$TEST_DIR/triple" -no-reboot
# mov $0xfe,%al; out %al,$0x64: reset by the keyboard controller
boot reset '\260\376\346\144\353\376'
ends 0 '' -fda "$TEST_DIR/reset" -no-reboot
# mov $0x604,%dx; mov $0x2000,%ax; out %ax,%dx: ACPI power-off needs the BIOS to have set it up
boot off '\272\004\006\270\000\040\357\353\376'
ends 0 '' -fda "$TEST_DIR/off"
ends 124 'ended by -timeout after 3 s' -fda "$TEST_DIR/off" -no-shutdown -timeout 3
# cli; hlt
boot hung '\372\364\353\375'
ends 76 'halted with interrupts off' -fda "$TEST_DIR/hung"
ends 124 'ended by -timeout' -fda "$TEST_DIR/hung" -no-shutdown -timeout 2
# debug console: mov $'X',%al; out %al,$0xe9; mov $1,%al; out %al,$0xf4
boot con '\260\130\346\351\260\001\346\364\353\376'
ends 3 'status 3' -fda "$TEST_DIR/con" -device isa-debug-exit,iobase=0xf4,iosize=0x04 -serial stdio -debugcon stdio
[ "$(cat "$TEST_DIR/o")" = X ] || die "the debug console said '$(cat "$TEST_DIR/o")'"

# -nographic: serial port and monitor share stdin and stdout; Ctrl-a c changes between them, Ctrl-a x ends.
rm -f "$TEST_DIR/in"
mkfifo "$TEST_DIR/in"
"$GLASSBOX" -nographic -timeout 60 < "$TEST_DIR/in" > "$TEST_DIR/out" 2> "$TEST_DIR/err" &
pid=$!
exec 3> "$TEST_DIR/in"
expect 'lab> ' 30
printf '\001c' >&3
expect '\(qemu\) ' 10
printf 'info status\n' >&3
expect 'VM status: running' 10
printf '\001c' >&3
send 'uptime'
expect 'lab> ' 10
printf '\001x' >&3
finish 0 10
