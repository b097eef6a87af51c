#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: bench/aims.sh RESULTS [AIMS]     (make bench runs it last)
#
# Judges what a run has measured by the aims in AIMS (bench/aims.txt). RESULTS has lines of
# SUITE ROW NATIVE GLASSBOX QEMU ITERATIONS: seconds, "-" where there is none. An aim is judged when all of its rows
# are there.
set -eu
exec awk -F'|' -v results="$1" '
function trim(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); return s }
function per_iteration(row) { return glassbox[row] / iterations[row] }
# -1: not measured.
function figure(kind, row, behind) {
    if (!(row in glassbox) || glassbox[row] + 0 <= 0) return -1
    if (kind ~ /^speedup/) return qemu[row] + 0 > 0 ? qemu[row] / glassbox[row] : -1
    if (kind ~ /^native/) return native[row] + 0 > 0 ? glassbox[row] / native[row] : -1
    if (kind ~ /^ns/) return per_iteration(row) * 1e9
    if (kind ~ /^value/) return glassbox[row] + 0
    return behind in glassbox && glassbox[behind] + 0 > 0 ? per_iteration(row) / per_iteration(behind) : -1
}
function aim_measure(kind, suite, list,    n, i, step, x, name, sum, worst) {
    n = split(list, name, " ")
    step = kind ~ /^ratio/ ? 2 : 1
    for (i = 1; i <= n; i += step) {
        x = figure(kind, suite " " name[i], suite " " name[i + 1])
        if (x < 0) return -1
        sum += log(x)
        if (i == 1 || (kind ~ /-least$/ ? x < worst : x > worst)) worst = x
    }
    return kind ~ /-mean$/ ? exp(sum / n) : worst
}
BEGIN {
    while ((getline line < results) > 0) {
        split(line, f, " ")
        native[f[1] " " f[2]] = f[3]; glassbox[f[1] " " f[2]] = f[4]; qemu[f[1] " " f[2]] = f[5]
        iterations[f[1] " " f[2]] = f[6]
    }
}
/^#/ || NF < 5 { next }
{
    kind = trim($2); bound = trim($3) + 0
    x = aim_measure(kind, trim($4), trim($5))
    if (x < 0) { missing++; next }
    met = kind ~ /-most$/ ? x <= bound : x >= bound
    if (!met) failed++
    if (!judged++) printf "\n%-56s%10s%10s\n", "aim", "bound", "measured"
    printf "%-56s%10s%10.2f  %s\n", trim($1), (kind ~ /-most$/ ? "<= " : ">= ") bound, x, met ? "met" : "NOT MET"
}
END { if (judged) printf "%d aims met, %d not met, %d not measured\n", judged - failed, failed, missing }
' "${2:-bench/aims.txt}"
