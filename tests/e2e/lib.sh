# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Sourced by e2e tests: a guest on the first serial port, watched and typed to.
#
#     . tests/e2e/lib.sh
#     start -m 16 -drive format=raw,if=floppy,file="$BUILD/lab/lab.img"
#     expect 'lab>' 20                   within 20 seconds, in what came after the last expect's match
#     send 'fault'                       types it and Return
#     finish 0 10                        ends by itself with status 0 within 10 seconds
#
# A test that comes to an end has passed. $TEST_DIR/out holds what the guest said, $TEST_DIR/err
# glassbox's own words. Limits are wall-clock seconds, several times what a busy machine needs, and
# TEST_SLOW times that.
set -eu
export LC_ALL=C
: "${GLASSBOX:?run this by make test}" "${BUILD:?}" "${TEST_DIR:?}"
esc=$(printf '\033')
pid= seen=0

die() {
    echo "$*" >&2
    if [ -s "$TEST_DIR/err" ]; then tail -n 20 "$TEST_DIR/err" >&2; fi
    exit 1
}

stop() {
    if [ -n "$pid" ]; then kill "$pid" 2> /dev/null || true; fi
}
trap stop EXIT
trap 'exit 1' INT TERM

start() { launch -display none -no-reboot -serial stdio "$@"; }

# The same with none but the given options, which put the serial port on stdin and stdout.
launch() {
    rm -f "$TEST_DIR/in" "$TEST_DIR/out" "$TEST_DIR/err"
    mkfifo "$TEST_DIR/in"
    "$GLASSBOX" "$@" < "$TEST_DIR/in" > "$TEST_DIR/out" 2> "$TEST_DIR/err" &
    pid=$!
    exec 3> "$TEST_DIR/in"
    seen=0
}

# What the guest said, on one line, escape sequences left out.
said() { tr '\r\n' '  ' < "$TEST_DIR/out" | sed "s/$esc\[[0-9;?]*[A-Za-z]//g"; }

# expect REGEX SECONDS
expect() {
    tenths=$(($2 * 10 * ${TEST_SLOW:-1}))
    while :; do
        alive=yes
        kill -0 "$pid" 2> /dev/null || alive=no
        said > "$TEST_DIR/said"
        offset=$(tail -c "+$((seen + 1))" "$TEST_DIR/said" | grep -aob -m 1 -E "$1" | head -n 1)
        if [ -n "$offset" ]; then break; fi
        if [ $alive = no ]; then die "glassbox ended before '$1'; last: $(tail -c 300 "$TEST_DIR/said")"; fi
        tenths=$((tenths - 1))
        if [ $tenths -le 0 ]; then die "no '$1' in $2 s; last: $(tail -c 300 "$TEST_DIR/said")"; fi
        sleep 0.1
    done
    found=${offset#*:}
    seen=$((seen + ${offset%%:*} + ${#found}))
}

send() { printf '%s\r' "$1" >&3; }

# finish STATUS SECONDS
finish() {
    tenths=$(($2 * 10 * ${TEST_SLOW:-1}))
    while kill -0 "$pid" 2> /dev/null; do
        tenths=$((tenths - 1))
        if [ $tenths -le 0 ]; then die "glassbox did not end in $2 s; last: $(said | tail -c 300)"; fi
        sleep 0.1
    done
    status=0
    wait "$pid" || status=$?
    pid=
    exec 3>&-
    if [ $status -ne "$1" ]; then die "glassbox ended with status $status, not $1"; fi
}

# ---- the monitor, at the socket $sock -------------------------------------------------------------
mon() { "$BUILD/tests/e2e/mon" "$sock" "$@" > "$TEST_DIR/answer" || die "no answer to: $*"; }

# answers REGEX COMMAND...
answers() {
    want=$1
    shift
    mon "$@"
    grep -qE "$want" "$TEST_DIR/answer" || die "'$*' says: $(cat "$TEST_DIR/answer")"
}

# ---- the benchmark's bare-metal guests --------------------------------------------------------------
# bench_choose SUITE PROGRAMS: an image of its own, which runs these.
bench_choose() {
    cp "$BUILD/bench/$1.img" "$TEST_DIR/bench.img"
    printf '%s' "$2" | dd of="$TEST_DIR/bench.img" bs=512 seek=1 conv=notrunc 2> /dev/null
}

# bench_run SECONDS NAME GLASSBOX OPTIONS...: puts what the programs say into $TEST_DIR/NAME
bench_run() {
    limit=$1 name=$2
    shift 2
    status=0
    timeout $((limit * ${TEST_SLOW:-1})) "$@" -m 64 -display none -no-reboot -boot a -debugcon stdio \
        -drive format=raw,if=floppy,file="$TEST_DIR/bench.img" -device isa-debug-exit,iobase=0xf4,iosize=0x04 \
        < /dev/null > "$TEST_DIR/out" 2> "$TEST_DIR/err" || status=$?
    [ $status -eq 33 ] || die "$* ended with status $status, not 33; last: $(tail -n 2 "$TEST_DIR/out" "$TEST_DIR/err")"
    tr -d '\r' < "$TEST_DIR/out" > "$TEST_DIR/$name"
}
