#!/bin/sh
# SPDX-License-Identifier: MIT
# Bare-metal images with windows as busy as can be: every other access to a page that is not shown shows it, and code
# at CPL 3 expects the window's base from the start. -restore check looks at each fault.
# timeout: 300
. tests/e2e/lib.sh

cat > "$TEST_DIR/glassbox" << END
#!/bin/sh
GLASSBOX_STRESS=window exec "$GLASSBOX" -restore check "\$@"
END
chmod +x "$TEST_DIR/glassbox"
T='align exc flags paging pae priv restart smc stack task v86 x87ptr' tests/metal/run.sh "$TEST_DIR/glassbox" > \
    "$TEST_DIR/table.txt" || { cat "$TEST_DIR/table.txt"; die "not right under GLASSBOX_STRESS=window"; }
