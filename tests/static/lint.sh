#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: BUILD=build GENERAL='cpu/mmu.c ...' tests/static/lint.sh         after a build
#
# Style and the rules that a compiler does not check; each finding is one line on stdout, exit status 1.
#   text      SPDX line, tabs, blanks at line ends, long lines, notes to self
#   headers   each compiles alone
#   globals   no writable data in objects of src/ (thread-local ones: the list below)
#   general   objects reached from generated code without a save of the FPU: no vector or x87 register,
#             no function from outside the tree (libc's memcpy uses XMM)
#   analysis  cppcheck, where it is installed
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
COLUMNS_MAX=120                 # 100 is the aim; tables (*.def) may be wider
THREAD_LOCALS='run_thread_jit run_dying'
GDB_GLOBALS='__jit_debug_descriptor'      # the name and kind are gdb's
SETUP_CALLS='close free memfd_create mmap munmap write'        # of general objects, outside generated code's reach
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
found=$work/found
: > "$found"

sources() { find src tests bench guest -type f \( "$@" \) | LC_ALL=C sort; }

lint_text() {
    for file in check .ci/run Makefile $(sources -name '*.[chsS]' -o -name '*.def' -o -name '*.sh' -o \
        -name '*.mk' -o -name '*.ld'); do
        case $file in *.def) long=180 ;; *) long=$COLUMNS_MAX ;; esac
        case $file in Makefile | *.mk) tabs=1 ;; *) tabs=0 ;; esac
        awk -v file="$file" -v long="$long" -v tabs=$tabs '
            function wrong(why) { printf "%s:%d: %s\n", file, FNR, why }
            FNR <= 2 && /SPDX-License-Identifier: MIT/ { spdx = 1 }
            /[ \t]$/ { wrong("blank at the end of the line") }
            !tabs && /\t/ { wrong("tab") }
            length > long { wrong("more than " long " columns") }
            /(^|[^A-Za-z0-9_])(TO[D]O|FIX[M]E|XX[X])([^A-Za-z0-9_]|$)/ { wrong("a note to self") }
            END { if (!spdx) wrong("no SPDX-License-Identifier: MIT in the first lines") }' "$file"
    done
}

lint_headers() {
    for header in $(sources -path 'src/*' -name '*.h'); do
        printf '#include "%s"\n' "${header#src/}" > "$work/alone.c"
        gcc -std=gnu11 -Wall -Wextra -Werror -Isrc -fsyntax-only "$work/alone.c" > "$work/log" 2>&1 ||
            echo "$header: does not compile alone: $(grep -m 1 error: "$work/log")"
    done
}

# Objects of src/ in the build folder whose source exists.
objects() {
    find src -name '*.c' -o -name '*.S' | LC_ALL=C sort | sed "s|^src/\(.*\)|$BUILD/\1.o|" |
        while read -r o; do if [ -f "$o" ]; then echo "$o"; fi; done
}

# Symbols in writable sections. .data.rel.ro is constant data that only the loader writes.
lint_globals() {
    for object in $(objects); do
        objdump -t "$object" | awk -v object="${object#"$BUILD"/}" -v allowed=" $THREAD_LOCALS " \
            -v gdb=" $GDB_GLOBALS " '
            # value, 7 flag columns, section, size, name
            match($0, / (\.data|\.bss|\.tdata|\.tbss|\*COM\*)[^ \t]*\t/) {
                section = substr($0, RSTART + 1, RLENGTH - 2)
                if (section ~ /^\.data\.rel\.ro/ || $NF == section) next
                if (index(gdb, " " $NF " ")) next
                if (section ~ /^\.t/ && index(allowed, " " $NF " ")) next
                printf "src/%s: mutable global %s in %s\n", object, $NF, section
            }'
    done
}

lint_general() {
    for object in $(objects); do nm --defined-only -P "$object"; done | awk '{ print $1 }' | sort -u > "$work/ours"
    for source in ${GENERAL:-}; do
        object=$BUILD/$source.o
        if [ ! -f "$object" ]; then echo "src/$source: not built"; continue; fi
        objdump -d --no-show-raw-insn "$object" | grep -E '%(x|y|z)?mm[0-9]|%st|\<f(ld|st|n|w|x)[a-z]*\>' | head -n 3 |
            sed "s|^|src/$source: vector or x87 instruction: |"
        nm -u -P "$object" | awk '{ print $1 }' | sort -u | comm -23 - "$work/ours" |
            grep -vx "$(printf '%s\n' _GLOBAL_OFFSET_TABLE_ $SETUP_CALLS)" |
            sed "s|^|src/$source: calls or uses outside the tree: |"
    done
}

# Suppressed: what is meant here (linker symbols, 1 << 31 in gnu11) and what cppcheck 2.10 gets wrong.
lint_analysis() {
    command -v cppcheck > /dev/null || return 0
    cppcheck --quiet --std=c11 --inline-suppr --enable=warning,portability -Isrc -DGLASSBOX_VNC=1 \
        '-Dpanic(...)=__builtin_abort()' --suppress=missingIncludeSystem --suppress=comparePointers \
        --suppress=shiftTooManyBitsSigned --suppress=integerOverflow --suppress=internalAstError \
        --suppress=nullPointerRedundantCheck --suppress=ctunullpointer --suppress=negativeIndex \
        --suppress=invalidPrintfArgType_uint \
        --template='{file}:{line}: {id}: {message}' src 2>&1
}

for part in ${LINT:-text headers globals general analysis}; do
    "lint_$part" >> "$found"
done
cat "$found"
[ ! -s "$found" ]
