#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: SEED=7 N=100000 tests/fuzz.sh NAME...       names: unit/test_ir fuzz/board
#        tests/fuzz.sh --bless fuzz/NAME...          a new corpus of the old one and what was found
#
# Runs the test programs that have random parts, with other and more cases: N from number SEED on; and fuzz
# targets (FUZZ_N cases), after their corpus and what earlier runs found, which is in $FUZZ_BUILD/found. Each
# failure shows the program's last words, which name the case, and the line that repeats the run.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
FUZZ_BUILD=${FUZZ_BUILD:-$BUILD/fuzz}
corpora=tests/fuzz/corpus
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
log=$BUILD/tests/fuzz.log
result=0
mkdir -p "$BUILD/tests"

run() {         # run NAME COMMAND
    status=0
    timeout -k 5 "${TEST_TIMEOUT:-36000}" sh -c "$2" > "$log" 2>&1 < /dev/null || status=$?
    if [ $status -eq 0 ]; then echo "good  $1"; return; fi
    tail -n 40 "$log"
    echo "FAIL  $2"
    result=1
}

# Those that reach something that none before them did, first by size, then of these the largest first. Inputs
# with a name (what once failed) stay.
bless() {
    program=$FUZZ_BUILD/tests/$1 target=${1#fuzz/} new=$FUZZ_BUILD/new
    rm -rf "$new"
    mkdir -p "$new/1" "$new/2" "$corpora/$target"
    EDGES=1 OUT=$new/1 "$program" "$corpora/$target" "$FUZZ_BUILD/found/$target" > "$log" 2>&1 &&
        find "$new/1" -type f -printf '%s %p\n' | sort -rn | cut -d' ' -f2 | EDGES=1 OUT=$new/2 xargs "$program" || {
        tail -n 40 "$log"
        echo "FAIL  $1"
        result=1
        return
    }
    find "$corpora/$target" -type f -regex '.*/[0-9a-f]*' -delete
    cp "$new"/2/* "$corpora/$target/"
}

if [ "${1:-}" = --bless ]; then
    shift
    for name in "$@"; do bless "$name"; done
    exit $result
fi
for name in "$@"; do
    target=${name#fuzz/}
    case $name in
    fuzz/*)
        mkdir -p "$FUZZ_BUILD/found/$target"
        run "$name" "SEED=$SEED N=${FUZZ_N:-$N} FAILED=$FUZZ_BUILD/found OUT=$FUZZ_BUILD/found/$target \
$FUZZ_BUILD/tests/$name $corpora/$target $FUZZ_BUILD/found/$target" ;;
    *)
        grep -qE 'fuzz\.h|"SEED"' "tests/$name.c" || continue
        run "$name" "SEED=$SEED N=$N $BUILD/tests/$name" ;;
    esac
done
exit $result
