#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: SEED=7 N=100000 tests/fuzz.sh NAME...       names: unit/test_ir
#
# Runs the test programs that have random parts, with other and more cases: N from number SEED on. Each
# failure shows the program's last words, which name the case, and the line that repeats the run.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
log=$BUILD/tests/fuzz.log
result=0
for name in "$@"; do
    grep -qE 'fuzz\.h|"SEED"' "tests/$name.c" || continue
    status=0
    timeout -k 5 "${TEST_TIMEOUT:-3600}" "$BUILD/tests/$name" > "$log" 2>&1 < /dev/null || status=$?
    if [ $status -eq 0 ]; then echo "good  $name"; continue; fi
    tail -n 40 "$log"
    echo "FAIL  SEED=$SEED N=$N $BUILD/tests/$name"
    result=1
done
exit $result
