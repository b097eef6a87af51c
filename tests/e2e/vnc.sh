#!/bin/sh
# SPDX-License-Identifier: MIT
# VNC from end to end: a client types `fault` and Return, and takes a picture of what the lab says.
# timeout: 120
. tests/e2e/lib.sh
if "$GLASSBOX" -vnc :bad 2>&1 | grep -q 'without VNC'; then
    echo "built without VNC"
    exit 77
fi

start -vnc :40,to=90
expect 'lab> ' 30
port=$(sed -n 's/.*VNC server on 127.0.0.1:\([0-9]*\) .*/\1/p' "$TEST_DIR/err")
[ -n "$port" ] || die "where is the server? $(cat "$TEST_DIR/err")"
vncdo() { "$BUILD/tests/e2e/vncdo" "127.0.0.1::$port" "$@" || die "the client failed: $*"; }
vncdo type 'fault\n'
expect 'all 18 bytes read back right' 20
vncdo sleep 500 shot "$TEST_DIR/screen.png"
[ "$(od -An -tx1 -N4 "$TEST_DIR/screen.png" | tr -d ' ')" = 89504e47 ] || die "no PNG came"
[ "$(wc -c < "$TEST_DIR/screen.png")" -gt 2000 ] || die "the picture is empty"

# A port in use is an error before anything starts.
status=0
"$GLASSBOX" -vnc "127.0.0.1:$((port - 5900))" -timeout 5 2> "$TEST_DIR/second" || status=$?
[ $status -eq 1 ] || die "a second server on the port ended with status $status"
grep -q "^glassbox: -vnc: cannot listen on 127.0.0.1:$port: " "$TEST_DIR/second" ||
    die "it said: $(cat "$TEST_DIR/second")"

send 'off'
finish 0 10
