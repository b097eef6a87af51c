# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Sourced by e2e tests after lib.sh: Debian's kernels for guests.
GUESTS=$BUILD/guests
export PACKAGES="${PACKAGES:-$GUESTS/packages}"

# debian_make FLAVOUR: $dir/bzImage and $dir/initrd.gz, made once. Skips the test without a network.
debian_make() {
    dir=$GUESTS/linux-$1
    if [ -s "$dir/initrd.gz" ]; then return; fi
    status=0
    sh tests/guests/linux.sh "$dir" "$1" > "$TEST_DIR/making" 2>&1 || status=$?
    if [ $status -eq 75 ]; then echo "Debian's archive is not reached"; exit 77; fi
    [ $status -eq 0 ] || die "linux.sh $1: $(tail -n 5 "$TEST_DIR/making")"
}
