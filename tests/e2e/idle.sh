#!/bin/sh
# SPDX-License-Identifier: MIT
# Guests that wait cost next to nothing, whether by HLT (Debian at its prompt, which ticks 250 times a second)
# or in a loop, and get every tick and key; a loop that does something is not taken for one that waits.
# timeout: 200
# check: -restore check
. tests/e2e/lib.sh
SECONDS_WATCHED=4

# Host CPU time of glassbox in ticks of 10 ms, and how often it slept.
cpu_ticks() { sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }'; }
sleeps() { cat /proc/"$pid"/task/*/status | awk '/^voluntary_ctxt/ { n += $2 } END { print n }'; }
word() { "$BUILD/tests/e2e/mon" "$TEST_DIR/mon" "x/1wx $1" | awk '/^0000/ { print $2 }'; }

# costs_little NAME: under 2 % of a core (under 1 % where nobody else wants it), woken less often than it ticks.
costs_little() {
    ticks=$(cpu_ticks) slept=$(sleeps)
    sleep $SECONDS_WATCHED
    ticks=$(($(cpu_ticks) - ticks)) slept=$(($(sleeps) - slept))
    echo "$1: $ticks ticks of CPU time, $slept sleeps in $SECONDS_WATCHED s"
    [ $ticks -le $((2 * SECONDS_WATCHED)) ] || die "$1 costs $ticks ticks of CPU time in $SECONDS_WATCHED s"
    [ $slept -le $((120 * SECONDS_WATCHED)) ] || die "$1 slept $slept times in $SECONDS_WATCHED s"
}

# A boot sector: asm text on stdin.
sector() {
    { echo '.code16; .org 0x7c00 - 0x7c00; xor %ax, %ax; mov %ax, %ds; mov %ax, %ss; mov $0x6800, %sp; sti'; cat
      echo '.org 510; .word 0xaa55'; } > "$TEST_DIR/$1.s"
    as --32 -o "$TEST_DIR/$1.o" "$TEST_DIR/$1.s"
    objcopy -O binary -j .text "$TEST_DIR/$1.o" "$TEST_DIR/$1"
    launch -display none -serial null -fda "$TEST_DIR/$1" -monitor "unix:$TEST_DIR/mon,server,nowait"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sleep 1
        [ "$(word 0x6f00)" != 0x12345678 ] || return 0
    done
    die "$1 does not start"
}

# Waits in a loop with calls and a stack. The BIOS counts 18.2 ticks a second at 0x46c.
sector waits << 'END'
    movl $0x12345678, 0x6f00
1:  mov $100, %cx
2:  push %cx
    call 3f
    pop %cx
    loop 2b
    jmp 1b
3:  mov 0x6f00, %eax
    ret
END
costs_little 'a loop that waits'
before=$(word 0x46c)
sleep 3
counted=$(($(word 0x46c) - before))
[ $counted -ge 45 ] || die "the BIOS counted $counted ticks in three seconds"
keys=$(word 0x41a)
"$BUILD/tests/e2e/mon" "$TEST_DIR/mon" 'sendkey x' '!500' > /dev/null
[ "$(word 0x41a)" != "$keys" ] || die "the key did not come through"
"$BUILD/tests/e2e/mon" "$TEST_DIR/mon" quit > /dev/null
finish 0 10

# The same registers each time round, but it counts.
sector counts << 'END'
    movl $0x12345678, 0x6f00
1:  incl 0x6f04
    jmp 1b
END
before=$(word 0x6f04)
sleep 2
counted=$(($(word 0x6f04) - before & 0xffffffff))
[ $counted -gt 10000000 ] || die "a loop that counts came to $counted in two seconds"
"$BUILD/tests/e2e/mon" "$TEST_DIR/mon" quit > /dev/null
finish 0 10

. tests/e2e/debian.sh
debian_make 686
launch -nographic -m 256 -kernel "$dir/bzImage" -initrd "$dir/initrd.gz" -append 'console=ttyS0 quiet'
expect 'init: all is well.*/ # ' 120
sleep 3
costs_little 'Debian at its prompt'
send 'poweroff -f'
finish 0 20
