#!/bin/sh
# SPDX-License-Identifier: MIT
# Debian's 686 and 686-pae kernels to a shell: commands, a kernel log without complaints about processor or
# timers, power-off that ends glassbox with status 0. The second boot is one in counted time (-icount).
# timeout: 400
# check: -check=1/256 -restore check
. tests/e2e/lib.sh
. tests/e2e/debian.sh

# Lines of level warning or worse whose cause docs/exactness.md tells: a processor with PAE is told apart
# from its kernel; an i440FX has no extended configuration space.
expected() {
    grep -vE -e 'L1TF: Kernel not compiled for PAE. No mitigation for L1TF' \
        -e "fail to add MMCONFIG information, can't access extended PCI configuration space under this bridge" || true
}

# log_is_clean: asks for the kernel's log and reads it.
log_is_clean() {
    from=$seen
    send 'dmesg -r; echo EN''D'
    expect 'END' 30
    tail -c "+$((from + 1))" "$TEST_DIR/said" | sed 's/<\([0-7]\)>\[/\n<\1>[/g; s/END.*//' > "$TEST_DIR/log"
    [ "$(grep -c '^<[0-7]>\[' "$TEST_DIR/log")" -gt 100 ] || die "no kernel log: $(head -c 300 "$TEST_DIR/log")"
    {
        grep '^<[0-4]>' "$TEST_DIR/log" | expected
        grep '^<[5-7]>' "$TEST_DIR/log" | grep -iE -e 'unable|unstable|calibrat.*fail|warning|bug:|firmware bug' \
            -e '\<bad\>|weird|broken|skew|not consistent|lost|too slow' | expected
    } > "$TEST_DIR/complaints"
    if [ -s "$TEST_DIR/complaints" ]; then die "the kernel complains: $(cat "$TEST_DIR/complaints")"; fi
}

# boot FLAVOUR OPTIONS...
boot() {
    debian_make "$1"
    pattern="6\.1\.0-[0-9]+-$1 "
    shift
    launch -nographic -m 256 "$@" -kernel "$dir/bzImage" -initrd "$dir/initrd.gz" -append 'console=ttyS0 quiet'
    expect 'init: all is well.*/ # ' 120
    send 'stty -echo'
    send 'uname -a; cat /proc/cpuinfo'
    expect "Linux .*$pattern.* i686 GNU/Linux.*vendor_id.*GenuineIntel.*fpu_exception.*: yes.*/ # " 20
    send 'ls -l /bin/busybox /dev/console /proc/self/exe'
    expect 'rwx.* /bin/busybox.*crw.* 5, +1 .*/dev/console.*/proc/self/exe -> .*/ # ' 20
    send 'dd if=/dev/urandom bs=64k count=16 2> /dev/null | tee /tmp/r | md5sum > /tmp/s'
    send 'md5sum < /tmp/r | cmp /tmp/s && echo same'
    expect 'same.*/ # ' 30
    send 'i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); done'
    send 'for f in 1 2 3; do (sleep 0.$f; echo $((i * f))) & done; wait'
    expect '2000 .*4000 .*6000 .*/ # ' 30
    # The kernel takes the TSC when it has watched it for a while, some three seconds after its start.
    send 'cd /sys/devices/system/clocksource/clocksource0'
    send 'n=0; until grep tsc current_clocksource || [ $n = 300 ]; do n=$((n + 1)); sleep 0.1; done; cd /'
    expect 'tsc.*/ # ' 60
    log_is_clean
    send 'dmesg | grep "PMU driver"'
    expect 'Performance Events: p6 PMU driver' 20
    send 'poweroff -f'
    finish 0 20
}
boot 686
boot 686-pae -icount shift=3
