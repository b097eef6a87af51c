#!/bin/sh
# SPDX-License-Identifier: MIT
# glassbox dump: bytes, its own IR read back, an address that a guest comes to; and wrong input.
# timeout: 60
set -eu
: "${GLASSBOX:?run this by make test}" "${TEST_DIR:?}"
die() { echo "$*" >&2; exit 1; }
dump() { "$GLASSBOX" dump "$@" > "$TEST_DIR/out" 2> "$TEST_DIR/err" < /dev/null; }
has() { grep -qE -- "$1" "$TEST_DIR/out" || die "no '$1' in: $(cat "$TEST_DIR/out" "$TEST_DIR/err")"; }
wrong() {       # wrong REGEX WORDS...
    want=$1
    shift
    status=0
    dump "$@" || status=$?
    [ $status -eq 1 ] || die "dump $*: status $status"
    grep -qE "^glassbox: (dump: )?$want" "$TEST_DIR/err" || die "dump $* says: $(cat "$TEST_DIR/err")"
    [ "$(wc -l < "$TEST_DIR/err")" -eq 1 ] || die "dump $*: more than one line"
}

for bytes in '01 d8' 01d8 '0x01,0xd8' '\x01\xd8'; do
    dump --bytes "$bytes" --eip 0x1234
    has '^0x00001234:  add    %ebx,%eax'
    has '^ add\.4 eax, eax, ebx'
    has '^OUT: '
    has '^RESTORE MAP: [0-9]+ records'
done
dump --bytes 'e8 1b 00 00 00 40 eb d8 @1020 43 c3 @0xfe0 4a f4' --eip 0x1000      # a call, and a jump back
has '^0x00001020:  inc    %ebx'
has '^ guard t[0-9]+, \$0x1005'
has '^0x00000fe0:  dec    %edx'
has '^0x00000fe1:  hlt'
dump --bytes '64 88 02' --mode real --eip 0x7c00
has '^0x00007c00:  mov    %al,%fs:\(%bp,%si\)'
dump --bytes '64 88 02'
sed -n '/^OP:/,/^ end /p' "$TEST_DIR/out" | sed 1d > "$TEST_DIR/ir"
dump --ir "$TEST_DIR/ir"
has '^ store\.1 fs:\[edx\], al'
dump --at 0x7c00 -m 4
has '^0x00007c00: '
dump --help
has '^usage: glassbox dump'

wrong '--bytes: ' --bytes 'xyz'
wrong '--bytes: ' --bytes '0'
wrong '--bytes: ' --bytes '90 @zz 90'
wrong '--bytes: ' --bytes '90 @0x4000 90'
wrong '--bytes: ' --bytes '@0xfff 90' --eip 0x1000
wrong '--mode: ' --bytes 90 --mode 64
wrong '--eip: ' --bytes 90 --eip foo
wrong '--ir: cannot open' --ir /nonexistent/ir
wrong 'one of --bytes' --eip 0
wrong 'unknown option' --bytes 90 --frob
wrong '-hda: cannot open' --at 0x7c00 -- -hda /nonexistent/image
