// SPDX-License-Identifier: MIT
// The log: items, the file, and -dfilter's ranges.
//
// Invariants: `file` is never NULL between log_init and log_close. A list of items or ranges that
// does not parse changes nothing. Files are line buffered, so that a crash loses no line.
#define _GNU_SOURCE
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct LogItem { const char *name, *text; u32 mask; } LogItem;

static const LogItem log_items[] = {
#define X(id, name, text) { name, text, LOG(id) },
    LOG_ITEMS(X)
#undef X
};

void log_init(Log *log) {
    *log = (Log){ .file = stderr };
}

void log_close(Log *log) {
    if (log->file != stderr) fclose(log->file);
    free(log->ranges);
    log_init(log);
}

// The mask of one item; 0 when there is no such item.
static u32 log_item_mask(const char *name, size_t length) {
    for (size_t i = 0; i < ARRAY_LEN(log_items); i++)
        if (strlen(log_items[i].name) == length && !memcmp(log_items[i].name, name, length))
            return log_items[i].mask;
    // "all" leaves out the one item that says where to log, not what
    if (length == 3 && !memcmp(name, "all", 3))
        return (u32)((1ull << LOGBIT_COUNT) - 1) & ~LOG(TID);
    return 0;
}

bool log_parse_items(Log *log, const char *items, char **bad) {
    u32 mask = 0;
    for (const char *at = items; *at;) {
        size_t length = strcspn(at, ",");
        if (length == 4 && !memcmp(at, "none", 4)) {
            mask = 0;
        } else if (length) {
            u32 one = log_item_mask(at, length);
            if (!one) {
                *bad = mem_printf("%.*s", (int)length, at);
                return false;
            }
            mask |= one;
        }
        at += length + (at[length] == ',');
    }
    log->mask = mask;
    return true;
}

// The path with its first %d replaced by the process number (the thread's under -d tid).
static char *log_expand_path(const Log *log, const char *path) {
    const char *mark = strstr(path, "%d");
    if (!mark) return mem_strdup(path);
    int id = log_on(log, LOG(TID)) ? (int)gettid() : (int)getpid();
    return mem_printf("%.*s%d%s", (int)(mark - path), path, id, mark + 2);
}

bool log_open(Log *log, const char *path) {
    char *expanded = log_expand_path(log, path);
    FILE *file = fopen(expanded, "we");
    int error = errno;
    free(expanded);
    if (!file) {
        errno = error;
        return false;
    }
    setvbuf(file, NULL, _IOLBF, 0);
    if (log->file != stderr) fclose(log->file);
    log->file = file;
    return true;
}

// A number with C's prefixes that fits 32 bits; *at moves behind it.
static bool log_parse_number(const char **at, u64 *value) {
    if (**at < '0' || **at > '9') return false;
    char *end;
    errno = 0;
    *value = strtoull(*at, &end, 0);
    if (errno || *value > UINT32_MAX + 1ull) return false;
    *at = end;
    return true;
}

// One of "a..b", "a+len", "a-len" (len bytes that end at a); *at moves behind it.
static bool log_parse_range(const char **at, LogRange *range) {
    u64 a, b;
    if (!log_parse_number(at, &a) || a > UINT32_MAX) return false;
    char op = **at;
    if (op == '.' && (*at)[1] == '.') *at += 2;
    else if (op == '+' || op == '-') *at += 1;
    else return false;
    if (!log_parse_number(at, &b)) return false;
    u64 first = a, last = b;
    if (op == '+') last = a + b - 1;
    if (op == '-') last = a, first = a - b + 1;
    if (op != '.' && (b == 0 || first > a)) return false;
    if (last > UINT32_MAX || first > last) return false;
    *range = (LogRange){ (u32)first, (u32)last };
    return true;
}

bool log_parse_filter(Log *log, const char *text) {
    LogRange *ranges = NULL;
    unsigned count = 0;
    for (const char *at = text;; at++) {
        LogRange range;
        if (!log_parse_range(&at, &range) || (*at && *at != ',')) {
            free(ranges);
            return false;
        }
        ranges = mem_resize(ranges, (count + 1) * sizeof(*ranges));
        ranges[count++] = range;
        if (!*at) break;
    }
    free(log->ranges);
    log->ranges = ranges;
    log->range_count = count;
    return true;
}

void log_list_items(FILE *out) {
    fprintf(out, "Log items (comma separated):\n");
    for (size_t i = 0; i < ARRAY_LEN(log_items); i++)
        fprintf(out, "%-15s %s\n", log_items[i].name, log_items[i].text);
    fprintf(out, "%-15s every item but tid\n%-15s no item\n", "all", "none");
}

bool log_pc_chosen(const Log *log, u32 pc) {
    for (unsigned i = 0; i < log->range_count; i++)
        if (pc >= log->ranges[i].first && pc <= log->ranges[i].last) return true;
    return log->range_count == 0;
}

void log_printf(Log *log, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vfprintf(log->file, fmt, args);
    va_end(args);
}

void log_guest_error(Log *log, const char *device, const char *fmt, ...) {
    if (!log_on(log, LOG(GUEST_ERRORS))) return;
    va_list args;
    va_start(args, fmt);
    flockfile(log->file);
    fprintf(log->file, "%s: ", device);
    vfprintf(log->file, fmt, args);
    fputc('\n', log->file);
    funlockfile(log->file);
    va_end(args);
}
