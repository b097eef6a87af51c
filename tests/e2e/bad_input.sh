#!/bin/sh
# SPDX-License-Identifier: MIT
# What is wrong at the start: one line that says what, where and what to do, status 1, nothing started.
# timeout: 60
set -eu
: "${GLASSBOX:?run this by make test}" "${TEST_DIR:?}"
die() { echo "$*" >&2; exit 1; }

# wrong REGEX OPTIONS...: the line begins with "glassbox: " and matches; no second line.
wrong() {
    want=$1
    shift
    status=0
    timeout 10 "$GLASSBOX" -display none "$@" > "$TEST_DIR/out" 2> "$TEST_DIR/err" < /dev/null || status=$?
    [ $status -eq 1 ] || die "$*: status $status: $(cat "$TEST_DIR/err")"
    grep -qE "^glassbox: $want" "$TEST_DIR/err" || die "$* says: $(cat "$TEST_DIR/err")"
    [ "$(wc -l < "$TEST_DIR/err")" -eq 1 ] || die "$*: more than one line: $(cat "$TEST_DIR/err")"
    if [ -s "$TEST_DIR/out" ]; then die "$*: something on stdout"; fi
}
cd "$TEST_DIR"
: > empty
mkdir folder
truncate -s 4M large
printf 'QFI\373and so on' > cow
truncate -s 1M hd
printf 'taken' > taken

wrong "-fda: cannot open 'missing': No such file or directory" -fda missing
wrong "-hda: cannot open 'missing'" missing
wrong "-hda: cannot open 'empty': the image is empty" -hda empty
wrong "-fda: cannot open 'folder': " -fda folder
wrong "-fda: cannot open 'large': .*too large for a floppy" -fda large
wrong "-hda: cannot open 'cow': .*qemu-img convert" -hda cow
wrong "-hdb: cannot open 'hd': it is in use by another emulator" -hda hd -hdb hd
wrong "-bios: cannot open 'missing'" -bios missing
wrong "-D: cannot open 'folder/no/file'" -D folder/no/file
wrong "-had: unknown option; did you mean -hda\?" -had hd
wrong "-drive: unknown key 'indx'" -drive file=hd,indx=1
wrong "-m: '12Q' is not a size" -m 12Q
wrong "-m: a value is missing" -m
wrong "-serial: unknown character device 'nowhere'" -serial nowhere
wrong "-serial: cannot listen on 'folder'" -serial unix:folder,server,nowait
wrong "-monitor: 'stdio' is taken by -serial" -serial stdio -monitor stdio
wrong "-pidfile: cannot write 'folder/no/pid'" -pidfile folder/no/pid
wrong "-display term: " -display term -serial stdio
wrong "-display term: stdin and stdout are not a terminal" -display term
wrong "-d: unknown item 'bogus'" -d bogus
wrong "-boot: 'q'" -boot q
wrong "-check: '0' is not 1/N" -check=0
wrong "-check: '1/0' is not 1/N with N from 1 to 1000000" -check=1/0
wrong "-check: '2/3' is not 1/N" -check 2/3
wrong "-check: 'x' is not 1/N" -check=x
wrong "-check: '' is not 1/N" -check=
wrong "-chek=1/2: unknown option" -chek=1/2
wrong "-m=16: unknown option" -m=16
wrong "-gdb: 'nowhere' is not tcp::PORT" -gdb nowhere
wrong "-gdb: cannot listen on 'tcp:1234': HOST:PORT expected" -gdb tcp:1234

# A port in use.
"$GLASSBOX" -display none -S -timeout 20 -monitor "unix:$TEST_DIR/s,server,nowait" -hda hd 2> first &
pid=$!
trap 'kill $pid 2> /dev/null || true' EXIT
i=0
while [ ! -S s ] && [ $i -lt 50 ]; do i=$((i + 1)); sleep 0.1; done
wrong "-monitor: cannot listen on 's': Address already in use" -monitor unix:s,server,nowait
wrong "-gdb: cannot listen on 'unix:s': Address already in use" -gdb unix:s
wrong "-hda: cannot open 'hd': it is in use by another emulator" -hda hd
kill $pid
status=0
wait $pid || status=$?
[ $status -eq 0 ] || die "SIGTERM: status $status"
grep -q 'ended by signal 15' first || die "SIGTERM says: $(cat first)"

# Odd sizes and read-only images are taken, with a word about them.
printf 'boot' > tiny
truncate -s 1000001 odd
fine() {        # fine REGEX OPTIONS...
    want=$1
    shift
    status=0
    timeout 20 "$GLASSBOX" -display none -S -timeout 0.2 "$@" 2> err < /dev/null || status=$?
    [ $status -eq 124 ] || die "$*: status $status: $(cat err)"
    grep -qE "$want" err || die "$* says: $(cat err)"
}
fine 'ended by -timeout after 0.2 s' -fda tiny
fine "warning: -hda: 'odd' does not end at a sector" -hda odd
if [ "$(id -u)" -ne 0 ]; then
    cp hd ro
    chmod a-w ro
    fine "warning: -hda: 'ro' is opened read-only" -hda ro
fi
