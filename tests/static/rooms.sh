#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: tests/static/rooms.sh [SRC]
#
# The layer rules: each #include "..." below src/ must be one that the room's row allows. A row names
# rooms (all their headers except X_int.h, which only X's own room sees) or single files.
set -u
cd "$(dirname "$0")/../.." || exit 1
src=${1:-src}

find "$src" -name '*.[chS]' -o -name '*.def' | LC_ALL=C sort | xargs awk -v src="$src/" '
function row(room, allowed) { may[room] = " " room " " allowed " " }
BEGIN {
    row("base", "")
    row("isa",  "base")
    row("ir",   "base")
    row("x64",  "base ir")
    row("bus",  "base")
    row("cpu",  "base bus")
    row("lift", "base isa ir cpu/cpu.h cpu/model.h cpu/helpers.h cpu/helpers.def")
    row("jit",  "base isa ir x64 bus cpu lift")
    row("dev",  "base bus")
    row("pc",   "base isa ir x64 bus cpu lift jit dev")
    row("ui",   "base isa ir x64 bus cpu lift jit dev pc")
    row("cli",  "base isa ir x64 bus cpu lift jit dev pc ui")
}
function wrong(why) { printf "%s:%d: %s: %s\n", FILENAME, FNR, $0, why; bad = 1 }
/^[ \t]*#[ \t]*include[ \t]*"/ {
    room = substr(FILENAME, length(src) + 1); sub("/.*", "", room)
    file = $0; sub("^[^\"]*\"", "", file); sub("\".*", "", file)
    other = file; sub("/.*", "", other)
    if (!(room in may)) wrong("room " room " has no row")
    else if (file !~ "/") wrong("write it relative to " src)
    else if (file ~ /\.c$/) wrong("no .c is included")
    else if (system("test -f " src file)) wrong("no such file")
    else if (!index(may[room], " " other " ") && !index(may[room], " " file " "))
        wrong("room " room " may not include " file)
    else if (other != room && file ~ /_int\.h$/) wrong("private to room " other)
}
END { exit bad }'
