#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: userland-check.sh DIR [disk|kernel] [EMULATOR]      EMULATOR: build/glassbox, qemu-system-i386 ...
#
# Boots what userland.sh has made in DIR (a copy of the disk is written to), from its own disk by GRUB or with its
# kernel from outside, logs in on the serial port, compiles and runs a C program, runs python3, apt and dpkg,
# looks for failed services and complaints, powers off. Prints the seconds, wall and CPU time, until the login
# prompt and until the end. Exit status 0 or 1. From the top of the tree, after `make`.
set -e
dir=$(cd "${1:?usage: userland-check.sh DIR [disk|kernel] [EMULATOR]}" && pwd)
how=${2:-disk}
GLASSBOX=${3:-build/glassbox} BUILD=${BUILD:-$PWD/build} TEST_DIR=$dir/check.$$
export GLASSBOX BUILD TEST_DIR
mkdir "$TEST_DIR"
. tests/e2e/lib.sh
trap 'stop; rm -f "$dir/$$.img"' EXIT
cp --sparse=always "$dir/userland.img" "$dir/$$.img"
set -- -nographic -m 512 -drive "format=raw,if=ide,file=$dir/$$.img"
if [ "$how" = kernel ]; then
    set -- "$@" -kernel "$dir/vmlinuz" -initrd "$dir/initrd.img" -append 'root=/dev/sda1 ro console=ttyS0'
fi

started=$(date +%s)
passed() {      # passed WHAT: since the start, with the emulator's CPU time
    echo "$how: $1 after $(($(date +%s) - started)) s," \
        "CPU time $(sed 's/.*) //' "/proc/$pid/stat" | awk '{ printf "%.1f", ($12 + $13) / 100 }') s"
}
launch "$@"
expect 'glassbox login: ' 600
passed 'login prompt'
send root
expect 'Password: ' 60
send glassbox
expect 'root@glassbox:~# ' 120
send "export PS1='ready> '; stty -echo cols 200"
expect 'ready> ' 30
send 'uname -a; cat /etc/debian_version; systemctl is-system-running --wait'
expect 'Linux glassbox 6[.].* i686 GNU/Linux *12[.][0-9]+ *running *ready> ' 300
send 'cat > a.c << X'
for line in '#include <math.h>' '#include <stdio.h>' 'int main(void) {' \
    'for (int i = 1; i <= 5; i++) printf("%.6f ", sqrt(i));' 'puts("");' '}' X; do send "$line"; done
expect 'ready> ' 30
send 'gcc -O2 -Wall a.c -o a -lm && ./a'
expect '1[.]000000 1[.]414214 1[.]732051 2[.]000000 2[.]236068 *ready> ' 120
send 'python3 -c "import json, hashlib; print(json.dumps(2**100), hashlib.sha256(b\"x\" * 99999).hexdigest())"'
expect '1267650600228229401496703205376 2b15def5a0d80c42e6804e32bf711f0654c364839e48f25fb45d25f16ff281c1 *ready> ' 120
send 'apt-get --version | head -n 1; apt list --installed 2> /dev/null | grep -c installed'
expect 'apt 2[.][0-9.]+ [(]i386[)] *[1-9][0-9]{2} *ready> ' 300
send 'dpkg -l gcc python3 | grep -c ^ii; dpkg --audit; echo audit $?'
expect '2 *audit 0 *ready> ' 120
send 'dd if=/dev/urandom of=/root/r bs=1M count=20 2> /dev/null; md5sum < r > s; sync'
send 'echo 3 > /proc/sys/vm/drop_caches'
expect 'ready> ' 120
expect 'ready> ' 120
send 'md5sum < r | cmp - s && echo the disk keeps it'
expect 'the disk keeps it *ready> ' 120
from=$seen
send 'systemctl --failed --no-legend; dmesg -l emerg,alert,crit,err,warn; echo EN''D'
expect 'END' 60
tail -c "+$((from + 1))" "$TEST_DIR/said" | sed 's/ \[ */\n[/g; s/END.*//' | grep '^\[' | sed 's/^/    /'
send 'poweroff'
finish 0 120
echo "$how: good, $(($(date +%s) - started)) s in all"
rm -r "$TEST_DIR"
