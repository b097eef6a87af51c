#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: tests/golden.sh [--bless] NAME...         names: golden/alu
#
# Assembles tests/golden/NAME.s, translates it, and compares IR and host code with NAME.ir and NAME.x64;
# with --bless these are written anew. Needs $BUILD/tests/golden/golden. Exit status 1: some differ.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
out=$BUILD/tests/golden
bless=no status=0
if [ "${1:-}" = --bless ]; then bless=yes; shift; fi

for name in "$@"; do
    case=${name#golden/}
    source=tests/golden/$case
    if ! { as --32 -o "$out/$case.o" "$source.s" && objcopy -O binary -j .text "$out/$case.o" "$out/$case.bin" &&
           "$out/golden" "$source.s" "$out/$case.bin" "$out/$case"; }; then
        echo "golden/$case: cannot be translated" >&2
        status=1
        continue
    fi
    for kind in ir x64; do
        if [ $bless = yes ]; then
            cmp -s "$out/$case.$kind" "$source.$kind" && continue
            cp "$out/$case.$kind" "$source.$kind" && echo "blessed $source.$kind"
        elif ! diff -u "$source.$kind" "$out/$case.$kind"; then
            echo "golden/$case: $kind differs; when it is meant: make bless T=golden/$case, and look at git diff" >&2
            status=1
        fi
    done
done
exit $status
