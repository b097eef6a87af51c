#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: tests/run.sh NAME...      names as in tests.mk: unit/test_isa golden/alu metal/exc e2e/boot_grub
#
# Runs tests that are built and counts: cmocka's tests and metal's checks one by one, any other test as
# one. The last line is "N passed, N failed, N skipped". Exit status 1 when something failed.
#   BUILD         where the programs are (build)
#   TEST_TIMEOUT  seconds for a program that does not say `timeout: N` in its head (120)
#   CHECK=1       every glassbox that an e2e or metal test starts runs with -check -restore check, or what the
#                 test's head says (`check: OPTIONS`); limits are TEST_SLOW times as long (10)
#   GLASSBOX_OPTIONS  other options for every glassbox of an e2e or metal test
#   KEEP=1        leaves the folders of e2e tests that passed, too: $BUILD/tests/out/NAME
# An e2e test is a script: exit status 0 passed, 77 skipped (its last line says why). It runs in the top
# folder with GLASSBOX, BUILD and TEST_DIR (empty, its own) set, and nothing on its standard input. PROGRAM is
# glassbox itself where GLASSBOX is a script that adds options.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
GLASSBOX=${GLASSBOX:-$BUILD/glassbox}
CHECK=${CHECK:-0}
if [ "$CHECK" != 0 ]; then : "${TEST_SLOW:=10}"; fi
TEST_SLOW=${TEST_SLOW:-1}
export BUILD GLASSBOX TEST_SLOW
passed=0 failed=0 skipped=0 failures=

# The number in cmocka's summary lines of a kind; several groups add up.
count() {
    sed -nE "s/^\[  $1 +\] ([0-9]+) test\(s\).*/\1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'
}

fail() {        # fail NAME WHY
    failed=$((failed + 1)) failures="$failures $1"
    echo "FAIL  $1: $2"
    echo "      make test T=$1${DEBUG_HINT:-}"
}

run_limit() {   # seconds for this source
    limit=$(sed -nE '1,12s/.*timeout: *([0-9]+).*/\1/p' "$1" | head -n 1)
    echo $((${limit:-${TEST_TIMEOUT:-120}} * TEST_SLOW))
}

how_ended() {   # exit status as words
    case $1 in
    124 | 137) echo "over its time" ;;
    134) echo "aborted" ;;
    139) echo "segmentation fault" ;;
    early) echo "ended before its last test" ;;
    *) echo "exit status $1" ;;
    esac
}

run_unit() {
    program=$BUILD/tests/$1
    if [ ! -x "$program" ]; then fail "$1" "was not built"; return; fi
    timeout -k 5 "$(run_limit "tests/$1.c")" "$program" > "$log" 2>&1 < /dev/null
    status=$?
    good=$(count PASSED) bad=$(count FAILED) out=$(count SKIPPED)
    # Without a summary the program ended on the way: what it had passed counts, and one failure.
    if ! grep -aq '^\[  PASSED  \]' "$log"; then
        good=$(grep -a '^\[       OK \]' "$log" | sort -u | wc -l)
        if [ $status -eq 0 ]; then status=early; fi
    fi
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + out))
    if [ "$bad" -gt 0 ]; then
        failures="$failures $1"
        echo "FAIL  $1: $bad of $((good + bad))"
        echo "      make test T=$1${DEBUG_HINT:-}"
    elif [ "$status" != 0 ] || [ $((good + out)) -eq 0 ]; then
        fail "$1" "$(how_ended "$status")"
        bad=1
    fi
    if [ "$bad" -gt 0 ]; then grep -av -e '^\[ RUN  ' -e '^\[       OK \]' "$log" | show
    else echo "ok    $1: $good$([ "$out" -gt 0 ] && echo ", $out skipped")"
    fi
}

# run_one NAME COMMAND...: one test, by exit status.
run_one() {
    name=$1
    shift
    "$@" > "$log" 2>&1 < /dev/null
    status=$?
    case $status in
    0) passed=$((passed + 1)); echo "ok    $name" ;;
    77) skipped=$((skipped + 1)); echo "skip  $name: $(tail -n 1 "$log")" ;;
    *) fail "$name" "$(how_ended $status)"; show < "$log" ;;
    esac
}

# A fixed slice of what `make silicon` runs: tests/silicon/silicon.c.
run_silicon() {
    program=$BUILD/tests/silicon/silicon
    if [ ! -x "$program" ]; then fail "$1" "was not built"; return; fi
    run_one "$1" env SEED=1 N=80000 ROW= REPORT= timeout -k 5 "$(run_limit tests/silicon/silicon.c)" "$program"
    if [ $status -eq 0 ]; then show < "$log"; fi
}

# The checks of a bare-metal image print their own lines: `ok NAME`, `FAIL NAME: why`, `skip NAME: why`.
run_metal() {
    add_options "tests/$1.c"
    if [ ! -x "$GLASSBOX" ]; then fail "$1" "$GLASSBOX was not built"; return; fi
    LIMIT=$((${TEST_TIMEOUT:-60} * TEST_SLOW)) T=${1#metal/} timeout -k 5 $((600 * TEST_SLOW)) \
        sh tests/metal/run.sh "$GLASSBOX" > "$log" 2>&1 < /dev/null
    status=$?
    rows=$BUILD/metal/out/1/${1#metal/}
    good=$(grep -c '^ok ' "$rows") bad=$(grep -c '^FAIL ' "$rows") out=$(grep -c '^skip ' "$rows")
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + out))
    if [ "$bad" -gt 0 ]; then
        failures="$failures $1"
        echo "FAIL  $1: $bad of $((good + bad))"
        echo "      T=${1#metal/} tests/metal/run.sh $GLASSBOX"
        show < "$log"
    elif [ $status -ne 0 ] || [ "$good" -eq 0 ]; then fail "$1" "$(how_ended $status)"
    else echo "ok    $1: $good$([ "$out" -gt 0 ] && echo ", $out skipped")"
    fi
}

# add_options SOURCE: with CHECK or GLASSBOX_OPTIONS, $GLASSBOX is a script that adds them to a machine's.
add_options() {
    if [ "$GLASSBOX" = "$PROGRAM" ]; then return; fi
    options=
    if [ "$CHECK" != 0 ]; then
        options=$(sed -nE '1,12s/.*check: *(-.*)$/\1/p' "$1" | head -n 1)
        : "${options:=-check -restore check}"
    fi
    cat > "$GLASSBOX" << END
#!/bin/sh
case \${1:-} in dump | tour) exec "$PROGRAM" "\$@" ;; esac
exec "$PROGRAM" $options ${GLASSBOX_OPTIONS:-} "\$@"
END
    chmod +x "$GLASSBOX"
}

# A fuzz target and its corpus.
run_fuzz() {
    program=$BUILD/tests/$1
    if [ ! -x "$program" ]; then fail "$1" "was not built"; return; fi
    run_one "$1" env N=0 OUT= FAILED="$BUILD/tests" timeout -k 5 "$(run_limit "tests/$1.c")" "$program" \
        "tests/fuzz/corpus/${1#fuzz/}"
}

run_e2e() {
    add_options "tests/$1.sh"
    TEST_DIR=$BUILD/tests/out/$1
    export TEST_DIR
    rm -rf "$TEST_DIR"
    mkdir -p "$TEST_DIR"
    if [ ! -x "$GLASSBOX" ]; then fail "$1" "$GLASSBOX was not built"; return; fi
    run_one "$1" timeout -k 5 "$(run_limit "tests/$1.sh")" sh "tests/$1.sh"
    if [ $status -eq 0 ] && [ "${KEEP:-0}" = 0 ]; then rm -rf "$TEST_DIR"; fi
}

# The last lines of a log, cut to a readable width.
show() { tail -n 40 | cut -c 1-200 | sed 's/^/      | /'; }

mkdir -p "$BUILD/tests"
log=$(mktemp "$BUILD/tests/run.XXXXXX") || exit 1
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM
case $BUILD in */debug) DEBUG_HINT=' DEBUG=1' ;; esac
if [ "$CHECK" != 0 ]; then DEBUG_HINT="${DEBUG_HINT:-} CHECK=1"; fi
export PROGRAM="$GLASSBOX"
if [ "$CHECK" != 0 ] || [ -n "${GLASSBOX_OPTIONS:-}" ]; then GLASSBOX=$BUILD/tests/glassbox; fi
for name in "$@"; do
    case $name in
    unit/*) run_unit "$name" ;;
    silicon/*) run_silicon "$name" ;;
    golden/*) run_one "$name" sh tests/golden.sh "$name" ;;
    metal/*) run_metal "$name" ;;
    fuzz/*) run_fuzz "$name" ;;
    e2e/*) run_e2e "$name" ;;
    static/*) run_one "$name" sh "tests/$name.sh" ;;
    *) fail "$name" "unknown kind of test" ;;
    esac
done
[ -z "$failures" ] || echo "failed:$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
