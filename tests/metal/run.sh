#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the bare-metal tests on one or more emulators and says who gets what right.
#   tests/metal/run.sh EMULATOR...       rows in which the first emulator fails, and totals
#   T="exc step" tests/metal/run.sh ...  only these images
#   SHOW=any|all ...                     rows in which any emulator fails; all rows
# EMULATOR is `bochs`, or a program that takes QEMU's options. Output is kept below $BUILD/metal/out.
# Status 1: the first emulator fails something.
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
OUT=$BUILD/metal/out
[ $# -gt 0 ] || { sed -n '3,8s/^# //p' "$0"; exit 1; }
make -s -f tests/metal/metal.mk BUILD="$BUILD" metal || exit 1
T=${T:-$(cd tests/metal && ls *.c | grep -v '^rt\.c$' | sed 's/\.c$//')}

bochs_run() {       # image, log
    cat > "$2.rc" <<END
plugin_ctrl: iodebug=1
megs: 32
cpu: model=p3_katmai, reset_on_triple_fault=1, ips=50000000
romimage: file=${SEABIOS:-/usr/share/seabios}/bios.bin
vgaromimage: file=${SEABIOS:-/usr/share/seabios}/vgabios-stdvga.bin
display_library: rfb, options="timeout=0"
sound: waveoutdrv=dummy
floppya: 1_44=$1, status=inserted
boot: floppy
port_e9_hack: enabled=1
log: /dev/null
panic: action=fatal
error: action=ignore
info: action=ignore
END
    yes c 2>/dev/null | head -20 > "$2.cmd"           # (its debugger stops at a reset)
    timeout "${LIMIT:-120}" bochs -q -f "$2.rc" -rc "$2.cmd" 2>&1 | tr '\r' '\n' |
        sed -n 's/^.*\(ok [a-z0-9]*[/].*\)$/\1/p; t; /^FAIL \|^skip \|^done: /p'
}

qemu_run() {        # program, image
    timeout "${LIMIT:-120}" "$1" -drive file="$2",if=floppy,format=raw -m 32 -display none \
        -debugcon stdio -device isa-debug-exit,iobase=0xf4,iosize=4 2>/dev/null < /dev/null
}

no_reboot() {       # program, image: must end by itself (QEMU with 0, glassbox with 70)
    timeout 20 "$1" -drive file="$2",if=floppy,format=raw -m 32 -display none -no-reboot \
        > /dev/null 2>&1 < /dev/null
    case $?:$1 in
    70:*) echo "ok triple/-no-reboot ends it" ;;
    0:*qemu*) echo "ok triple/-no-reboot ends it" ;;
    *) echo "FAIL triple/-no-reboot ends it: expected status 70" ;;
    esac
}

n=0
for emulator in "$@"; do
    n=$((n + 1))
    mkdir -p "$OUT/$n"
    for t in $T; do
        image=$BUILD/metal/$t.img
        case $emulator in
        *bochs) bochs_run "$image" "$OUT/$n/$t" ;;
        *) qemu_run "$emulator" "$image" ;;
        esac > "$OUT/$n/$t"
        case $t:$emulator in
        triple:*bochs) ;;
        triple:*) no_reboot "$emulator" "$image" >> "$OUT/$n/$t" ;;
        esac
        grep -q '^done: ' "$OUT/$n/$t" || echo "FAIL $t image: did not come to its end" >> "$OUT/$n/$t"
    done
    for t in $T; do echo "= $t"; cat "$OUT/$n/$t"; done > "$OUT/$n.all"
done

awk -v show="${SHOW:-first}" -v names="$*" '
FNR == 1 { column++ }
/^= / { image = $2 }
/^(ok|FAIL|skip) / {
    state = $1; sub(/^[^ ]* /, "")
    if (state != "ok") { text = $0; sub(/^[^:]*:/, "", text); sub(/:.*/, "") }
    if (index($0, image) != 1) $0 = image "/" $0
    if (!($0 in row)) { of[$0] = image; row[$0] = 1; order[++rows] = $0 }
    if (got[$0, column] == "FAIL") next
    got[$0, column] = state
    if (state == "FAIL") { why[$0, column] = text; bad[column]++ }
}
END {
    count = split(names, name, " ")
    for (c = 1; c <= count; c++) { sub(/.*\//, "", name[c]); printf "%-20s", name[c] }
    print "check"
    for (r = 1; r <= rows; r++) {
        line = ""; shown = show == "all"
        for (c = 1; c <= count; c++) {
            s = got[order[r], c]; if (s == "") s = "-"
            if (s == "FAIL" && (c == 1 || show == "any")) shown = 1
            line = line sprintf("%-20s", s)
        }
        if (!shown) continue
        print line order[r]
        for (c = 1; c <= count; c++)
            if (got[order[r], c] == "FAIL" && (c == 1 || show != "first")) print "    " name[c] ":" why[order[r], c]
    }
    for (r = 1; r <= rows; r++) {
        image = of[order[r]]
        if (!(image in seen)) { seen[image] = 1; images[++kinds] = image }
        for (c = 1; c <= count; c++) {
            if (got[order[r], c] == "ok") { good[c]++; right[image, c]++ }
            if (got[order[r], c] != "skip" && order[r] != image " image") { total[c]++; asked[image, c]++ }
        }
    }
    for (k = 1; k <= kinds; k++) {
        for (c = 1; c <= count; c++) printf "%-20s", (right[images[k], c] + 0) "/" (asked[images[k], c] + 0)
        print "in " images[k]
    }
    for (c = 1; c <= count; c++) printf "%-20s", (good[c] + 0) "/" (total[c] + 0)
    print "in all"
    exit bad[1] > 0
}' $(i=0; while [ $i -lt $n ]; do i=$((i + 1)); echo "$OUT/$i.all"; done)
