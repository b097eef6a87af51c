#!/bin/sh
# SPDX-License-Identifier: MIT
# The benchmark's judge: each kind of figure on either side of its bound, aims of which a row is missing, and that the
# list of aims names rows that there are.
. tests/e2e/lib.sh
cat > "$TEST_DIR/aims" <<'END'
# a comment
mean met | speedup-mean | 4 | s | a b
least not met | speedup-least | 3 | s | a b
native met | native-most | 2 | s | a
native not met | native-most | 1.9 | s | a
ns met | ns-most | 2 | s | a
ratio not met | ratio-most | 1.5 | s | b a a b
value met | value-most | 12 | s | a
a row is missing | speedup-least | 1 | s | a c
no QEMU | speedup-least | 1 | s | d
END
cat > "$TEST_DIR/results" <<'END'
s a 1.0 2.0 4.0 1000000000
s b - 1.0 8.0 250000000
s d 1.0 2.0 - 1
END
sh bench/aims.sh "$TEST_DIR/results" "$TEST_DIR/aims" | tr -s ' ' > "$TEST_DIR/judged"
diff -u - "$TEST_DIR/judged" <<'END' || die "judged otherwise"

aim bound measured
mean met >= 4 4.00 met
least not met >= 3 2.00 NOT MET
native met <= 2 2.00 met
native not met <= 1.9 2.00 NOT MET
ns met <= 2 2.00 met
ratio not met <= 1.5 2.00 NOT MET
value met <= 12 2.00 met
4 aims met, 3 not met, 2 not measured
END

rows=$(sed -n 's/^PROGRAM(\([a-z0-9]*\),.*/\1/p' bench/programs.def bench/events/events.def bench/system/system.def)
loops=$(sed -n 's/^LOOP(\([a-z0-9]*\),.*/\1/p' bench/modes/modes.def)
for name in $(grep -v '^#' bench/aims.txt | sed 's/.*|//'); do
    case $name in
    boot | linux011 | expansion) ;;
    *_*) echo "$loops" | grep -qx "${name%_*}" || die "aims.txt: no loop is called $name" ;;
    *) echo "$rows" | grep -qx "$name" || die "aims.txt: no row is called $name" ;;
    esac
done
