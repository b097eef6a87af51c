#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: SEED=1 N=20 tests/fuzz.sh NAME...       names: unit/test_ir
#
# Runs test programs that have random parts N times, with GLASSBOX_SEED = SEED, SEED + 1, ... A program
# takes part when its source reads GLASSBOX_SEED. The first failure ends it and names its seed.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
seed=${SEED:-1}
last=$((seed + ${N:-20} - 1))
log=$BUILD/tests/fuzz.log
while [ "$seed" -le "$last" ]; do
    for name in "$@"; do
        grep -q GLASSBOX_SEED "tests/$name.c" || continue
        if ! GLASSBOX_SEED=$seed timeout -k 5 "${TEST_TIMEOUT:-600}" "$BUILD/tests/$name" > "$log" 2>&1 < /dev/null
        then
            tail -n 60 "$log"
            echo "failed: GLASSBOX_SEED=$seed $BUILD/tests/$name"
            exit 1
        fi
    done
    echo "seed $seed of $last: good"
    seed=$((seed + 1))
done
