// SPDX-License-Identifier: MIT
// The end of the line for our own bugs: one message on stderr, then abort().
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

_Noreturn void panic_at(const char *file, int line, const char *fmt, ...) {
    fflush(stdout);
    fprintf(stderr, "glassbox: internal error: ");
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, " (%s:%d)\n", file, line);
    fflush(NULL);
    abort();
}
