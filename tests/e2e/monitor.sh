#!/bin/sh
# SPDX-License-Identifier: MIT
# The monitor over a Unix socket: sendkey types into the lab, the screen and registers are read, the
# machine is paused, reset and ended.
# timeout: 120
. tests/e2e/lib.sh
sock=$TEST_DIR/s

start -m 16 -action reboot=reset -monitor "unix:$sock,server,nowait"
expect 'lab> ' 30
answers 'monitor - type' 'info version'
answers '^VM status: running' 'info status'
answers '^EIP=[0-9a-f]{8} EFL=[0-9a-f]{8} \[[-DOSZAPC]{7}\] CPL=' 'info registers'
answers '^00100000: 0x[0-9a-f]{8} 0x[0-9a-f]{8}$' 'x/2wx 0x100000'
answers '^gpa: 0x100000$' 'gva2gpa 0x100000'
answers '^Unmapped$' 'gva2gpa 0'
answers 'Cannot access memory' 'x/1wx 0'
answers '^floppy0: \(built in\) \(raw\)' 'info block'

# Typed on the guest's keyboard; the lab answers on screen and serial port.
mon 'sendkey f' 'sendkey a' 'sendkey u' 'sendkey l' 'sendkey t' 'sendkey ret'
expect 'all 18 bytes read back right' 20
mon "screendump $TEST_DIR/screen.png" "screendump $TEST_DIR/screen.ppm" "screendump $TEST_DIR/third -f png"
head -c 2 "$TEST_DIR/screen.ppm" | grep -q P6 || die "screen.ppm is no PPM"
for png in screen.png third; do
    [ "$(od -An -tx1 -N4 "$TEST_DIR/$png" | tr -d ' ')" = 89504e47 ] || die "$png is no PNG"
done
[ "$(tail -c +16 "$TEST_DIR/screen.ppm" | tr -d '\000' | wc -c)" -gt 1000 ] || die "the screen is black"

# Paused: nothing runs, but the monitor does.
answers '^VM status: paused' 'stop' 'info status'
mon 'print $eip' 'x/2i $eip'
send 'help'
sleep 0.5
said | tail -c 200 | grep -q 'help *.*uptime' && die "the guest ran while it was paused"
mon 'c'
expect 'uptime' 10

mon 'system_reset'
expect 'page-fault lab' 30
expect 'lab> ' 10
send 'off'
finish 0 10

start -monitor "unix:$sock,server,nowait"
expect 'lab> ' 30
mon 'quit'
finish 0 10
if [ -e "$sock" ]; then die "the socket was left behind"; fi
