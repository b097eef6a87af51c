// SPDX-License-Identifier: MIT
// Hard conditions on purpose: the translator makes a mistake that -check has to find; rare ways of the soft MMU are
// taken all the time.
#include "jit/jit_int.h"

#include "cpu/mmu.h"

#include <string.h>

static void stress_wrong_op(const Jit *jit, IrBlock *ir) {
    for (u32 i = 0; i < ir->count; i++)
        if (ir->ops[i].code == jit->wrong_op[0]) ir->ops[i].code = jit->wrong_op[1];
}

static bool stress_find_op(const char *name, size_t length, u8 *code) {
    for (unsigned i = 0; i < IR_CODE_COUNT; i++) {
        if (strlen(ir_info[i].name) != length || memcmp(ir_info[i].name, name, length)) continue;
        *code = (u8)i;
        return true;
    }
    return false;
}

// "window", or "wrong=A:B"
bool stress_parse(Jit *jit, const char *text, char **error) {
    if (!strcmp(text, "window")) {
        mmu_stress_windows(jit->cpu);
        return true;
    }
    const char *names = text + 6, *colon = strchr(text, ':');
    if (!strncmp(text, "wrong=", 6) && colon && stress_find_op(names, (size_t)(colon - names), &jit->wrong_op[0]) &&
        stress_find_op(colon + 1, strlen(colon + 1), &jit->wrong_op[1])) {
        jit->spoil = stress_wrong_op;
        return true;
    }
    *error = mem_printf("GLASSBOX_STRESS: '%s' is not window, nor wrong=A:B with two operations of the IR: inc:dec",
                        text);
    return false;
}
