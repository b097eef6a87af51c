#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the benchmark if need be and runs it: bench/run.sh -p fib,sieve -n 3 (options: bench.c).
# BUILD names the build folder, GLASSBOX and QEMU the emulators, as for make bench.
set -e
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
make -s -f bench/bench.mk bench-build BUILD="$BUILD"
exec "$BUILD/bench/bench" -g "${GLASSBOX:-$BUILD/glassbox}" -q "${QEMU:-qemu-system-i386}" "$@" \
    "$BUILD/bench/native" "$BUILD/bench/bench.img"
