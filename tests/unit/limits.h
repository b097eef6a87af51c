// SPDX-License-Identifier: MIT
// The host's limits, for tests of what happens at them.
#ifndef TESTS_UNIT_LIMITS_H
#define TESTS_UNIT_LIMITS_H

#include "base/base.h"

#include <stdio.h>
#include <sys/resource.h>

// From now on this process may take so many bytes of addresses more. Gives the limit that was.
static inline struct rlimit limit_addresses(u64 bytes) {
    unsigned long long pages = 0;
    struct rlimit old;
    FILE *f = fopen("/proc/self/statm", "re");
    require(f && fscanf(f, "%llu", &pages) == 1);
    fclose(f);
    getrlimit(RLIMIT_AS, &old);
    setrlimit(RLIMIT_AS, &(struct rlimit){ pages * 4096 + bytes, old.rlim_max });
    return old;
}

#endif
