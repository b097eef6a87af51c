#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: bench/translator.sh TRANSLATOR FILE [BYTES]      (make translator)
#
# Where a translation goes: runs TRANSLATOR (bench/translator.c) on a program under callgrind and prints host
# instructions per guest instruction, stage by stage. A stage is a function with all that it calls.
set -u
[ $# -ge 2 ] || { sed -n '3,6s/^# //p' "$0" >&2; exit 1; }
translator=$1 file=$2 bytes=${3:-0x20000}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

for tool in valgrind callgrind_annotate; do
    command -v "$tool" > /dev/null || { echo "translator.sh: $tool is missing: apt-get install valgrind" >&2; exit 1; }
done
"$translator" "$file" "$bytes" 3 || exit 1
# The round that makes the checksum is the only one.
valgrind --tool=callgrind --toggle-collect=translator_one --callgrind-out-file="$work/out" \
    "$translator" "$file" "$bytes" 0 > "$work/line" 2> "$work/log" || { cat "$work/log" >&2; exit 1; }
insns=$(sed -n 's/.* \([0-9]*\) instructions,.*/\1/p' "$work/line")
callgrind_annotate --inclusive=yes --auto=no --threshold=100 "$work/out" 2> /dev/null |
    awk -v insns="$insns" '
        match($0, /^ *[0-9,]+ /) {
            n = substr($0, 1, RLENGTH)
            gsub(/[ ,]/, "", n)
            split(substr($0, RLENGTH), word, " ")
            for (i = 1; i in word; i++)
                if (word[i] ~ /:[a-z0-9_]+$/) {
                    sub(/.*:/, "", word[i])
                    if (n + 0 > cost[word[i]] + 0) cost[word[i]] = n
                    break
                }
        }
        function line(stage, n) { printf "%-40s %6.0f\n", stage, n / insns }
        END {
            line("decode", cost["isa_decode"])
            line("lift", cost["lift_insn"])
            line("follow the guest'\''s code, place polls",
                 cost["translate_lift"] - cost["isa_decode"] - cost["lift_insn"])
            line("fold", cost["ir_fold"])
            line("groups", cost["ir_group"])
            line("forwarding", cost["ir_forward"])
            line("steps", cost["ir_steps"])
            line("flag liveness", cost["ir_flags"])
            line("emit", cost["x64_emit"])
            line("together", cost["translator_one"])
        }'
