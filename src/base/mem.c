// SPDX-License-Identifier: MIT
// The malloc family that never returns NULL.
#define _GNU_SOURCE
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Noreturn void mem_exhausted(size_t bytes) {
    fprintf(stderr, "glassbox: the host has no memory left (%zu bytes wanted)\n", bytes);
    abort();
}

void *mem_new(size_t bytes) {
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p) mem_exhausted(bytes);
    return p;
}

void *mem_new_aligned(size_t alignment, size_t bytes) {
    bytes = (bytes + alignment - 1) & ~(alignment - 1);
    void *p = aligned_alloc(alignment, bytes);
    if (!p) mem_exhausted(bytes);
    return memset(p, 0, bytes);
}

void *mem_new_huge(size_t bytes) {
    bytes = (bytes + MEM_HUGE_BYTES - 1) & ~(size_t)(MEM_HUGE_BYTES - 1);
    void *p = aligned_alloc(MEM_HUGE_BYTES, bytes);
    if (!p) mem_exhausted(bytes);
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

void *mem_resize(void *old, size_t bytes) {
    void *p = realloc(old, bytes ? bytes : 1);
    if (!p) mem_exhausted(bytes);
    return p;
}

char *mem_strdup(const char *s) {
    size_t bytes = strlen(s) + 1;
    char *p = mem_resize(NULL, bytes);
    memcpy(p, s, bytes);
    return p;
}

char *mem_printf(const char *fmt, ...) {
    char *p = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&p, fmt, args);
    va_end(args);
    if (n < 0) mem_exhausted(0);
    return p;
}
