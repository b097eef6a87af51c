// SPDX-License-Identifier: MIT
// Runs a fuzz target (fuzz.h).
//
//     fuzz/board FILE|FOLDER...            these inputs, once each
//     N=1000 SEED=5 fuzz/board FOLDER      and 1000 cases of its own, number 5 first
//     OUT=FOLDER N=... fuzz/board ...      keeps there each case, and each input given, that reached something
//                                          that none before it had; inputs of a folder go by size
//     EDGES=1 OUT=FOLDER fuzz/board ...    and how often it was reached does not matter: for a small corpus
//     SHRINK=1 fuzz/board FILE             makes FILE smaller as long as it fails in the same way
//     V=1 fuzz/board FILE                  says what the bytes mean
//
// A case that fails (sanitiser, panic, signal, exit, over its time) leaves its input in
// fuzz-NAME-HASH in the folder FAILED (the program's own) and the command that repeats it.
//
// Own cases are made fresh by the target or mutated from inputs that reached something new. What was
// reached is counted by edges (pairs of compiler-inserted calls, -fsanitize-coverage=trace-pc) with
// the number of times in powers of two. So case number n depends on those before it, but its input,
// once written down, does not.
#define _GNU_SOURCE
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COVER_CELLS = 1 << 16, POOL_MAX = 1 << 15, MADE_MIN = 16, CPU_SECONDS = 10, WALL_SECONDS = 100,
       SHRINK_STATUS = 99 };

typedef struct Bytes { u8 *at; size_t count; } Bytes;

typedef struct Driver {
    u8 seen[COVER_CELLS];                      // of each edge: which counts there have been
    Bytes pool[POOL_MAX];                      // inputs that reached something new
    unsigned pooled;
    FuzzRandom random;
    const char *out;                           // folder for new inputs; NULL: not kept
    char failed[PATH_MAX];                     // folder for those that fail; a case may change the present one
    const u8 *now;                             // the running case; NULL: none
    size_t now_bytes;
    bool telling, quiet, edges_only;
} Driver;

static Driver driver;
static u8 cover_now[COVER_CELLS];
static uintptr_t cover_before;

// ---- coverage -----------------------------------------------------------------------------------
// Called at each branch target of the library. It may interrupt code that holds the guest's vector
// registers: general registers only.
void __sanitizer_cov_trace_pc(void);
__attribute__((no_sanitize("address", "undefined"), no_sanitize_coverage, target("general-regs-only"), optimize("O2")))
void __sanitizer_cov_trace_pc(void) {
    uintptr_t here = (uintptr_t)__builtin_return_address(0) - (uintptr_t)__sanitizer_cov_trace_pc;
    cover_now[(here ^ cover_before) % COVER_CELLS]++;
    cover_before = here >> 1;
}

// Did the last case reach something that none had?
static bool cover_take(Driver *d) {
    bool news = false;
    for (unsigned i = 0; i < COVER_CELLS; i++) {
        if (!cover_now[i]) continue;
        u8 bit = d->edges_only ? 1 : (u8)(1u << (31 - __builtin_clz(cover_now[i])));
        news |= !(d->seen[i] & bit);
        d->seen[i] |= bit;
    }
    return news;
}

// ---- random -------------------------------------------------------------------------------------
u32 fuzz_random(FuzzRandom *r) {
    u64 z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    return (u32)((z ^ z >> 27) * 0x94d049bb133111ebu >> 24);
}

bool fuzz_is_telling(void) { return driver.telling; }

void fuzz_say(const char *fmt, ...) {
    if (!driver.telling) return;
    va_list args;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);                            // the next thing may be the end
}

// ---- files --------------------------------------------------------------------------------------
static u32 hash_of(const u8 *at, size_t count) {
    u32 hash = 0x811c9dc5;
    for (size_t i = 0; i < count; i++) hash = (hash ^ at[i]) * 0x01000193;
    return hash;
}

static bool write_file(const char *path, const u8 *at, size_t count) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return false;
    bool good = write(fd, at, count) == (ssize_t)count;
    close(fd);
    return good;
}

static Bytes read_file(const char *path) {
    Bytes b = { mem_new(fuzz_target.max_bytes + 1), 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, b.at, fuzz_target.max_bytes);
    if (n < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    close(fd);
    b.count = (size_t)n;
    return b;
}

// ---- a case -------------------------------------------------------------------------------------
// The process is about to die in the middle of a case. Once only.
static void leave_case(void) {
    Driver *d = &driver;
    if (!d->now || d->quiet) return;
    const u8 *at = d->now;
    d->now = NULL;
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/fuzz-%s-%08x", d->failed, fuzz_target.name, hash_of(at, d->now_bytes));
    if (!write_file(path, at, d->now_bytes)) return;
    fprintf(stderr, "FAIL  %s\n      V=1 %s %s\n", fuzz_target.name, program_invocation_name, path);
}

static void on_signal(int number) {
    static const char text[] = "fuzz: the case is over its time\n";
    if (number == SIGALRM || number == SIGPROF) (void)!write(2, text, sizeof text - 1);
    leave_case();
    signal(number, SIG_DFL);
    raise(number);
}

static void on_exit_in_case(void) {
    if (!driver.now) return;
    if (!driver.quiet) fprintf(stderr, "fuzz: exit in the middle of a case\n");
    leave_case();
    _exit(SHRINK_STATUS);
}

void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));   // NULL: no sanitiser

static void catch_death(void) {
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(leave_case);
    atexit(on_exit_in_case);
    static const int deadly[] = { SIGABRT, SIGALRM, SIGPROF, SIGSEGV, SIGBUS, SIGILL };
    unsigned count = __sanitizer_set_death_callback ? 3 : ARRAY_LEN(deadly);     // the others are the sanitiser's
    for (unsigned i = 0; i < count; i++) signal(deadly[i], on_signal);
    signal(SIGPIPE, SIG_IGN);
}

static void set_limits(unsigned cpu_seconds, unsigned wall_seconds) {
    setitimer(ITIMER_PROF, &(struct itimerval){ .it_value.tv_sec = cpu_seconds }, NULL);
    alarm(wall_seconds);
}

// True: it reached something new. The input lies at the end of an allocation of just its size, so
// that a read beyond it is seen.
static bool run_case(Driver *d, const u8 *bytes, size_t count) {
    u8 *copy = malloc(count ? count : 1);
    memcpy(copy, bytes, count);
    memset(cover_now, 0, sizeof cover_now);
    cover_before = 0;
    d->now = copy;
    d->now_bytes = count;
    set_limits(CPU_SECONDS, WALL_SECONDS);
    fuzz_target.run(&(FuzzIn){ copy, copy + count });
    set_limits(0, 0);
    d->now = NULL;
    free(copy);
    return cover_take(d);
}

static void keep(Driver *d, const u8 *bytes, size_t count) {
    if (d->pooled == POOL_MAX) return;
    Bytes b = { mem_new(count + 1), count };
    memcpy(b.at, bytes, count);
    d->pool[d->pooled++] = b;
    if (!d->out) return;
    char path[512];
    snprintf(path, sizeof path, "%s/%08x", d->out, hash_of(bytes, count));
    write_file(path, bytes, count);
}

// ---- own cases ----------------------------------------------------------------------------------
static size_t make_fresh(Driver *d, u8 *to, size_t room) {
    if (fuzz_target.make) return fuzz_target.make(&d->random, to, room);
    size_t most = MADE_MIN << fuzz_random_below(&d->random, 8);
    size_t count = 1 + fuzz_random_below(&d->random, (u32)(most < room ? most : room));
    for (size_t i = 0; i < count; i++) to[i] = (u8)fuzz_random(&d->random);
    return count;
}

static void mutate_byte(Driver *d, u8 *at) {
    static const u8 edges[] = { 0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x10, 0x20, 0x40 };
    switch (fuzz_random_below(&d->random, 4)) {
    case 0: *at ^= (u8)(1u << fuzz_random_below(&d->random, 8)); break;
    case 1: *at = (u8)fuzz_random(&d->random); break;
    case 2: *at = edges[fuzz_random_below(&d->random, ARRAY_LEN(edges))]; break;
    default: *at = (u8)(*at + fuzz_random_below(&d->random, 9) - 4); break;
    }
}

// Puts bytes in, takes some out, or copies a stretch of another input over some.
static size_t mutate_stretch(Driver *d, u8 *to, size_t count, size_t room) {
    const Bytes *other = &d->pool[fuzz_random_below(&d->random, d->pooled)];
    size_t at = fuzz_random_below(&d->random, (u32)count + 1);
    size_t from = fuzz_random_below(&d->random, (u32)other->count + 1);
    size_t n = 1 + fuzz_random_below(&d->random, 32);
    if (n > other->count - from) n = other->count - from;
    switch (fuzz_random_below(&d->random, 3)) {
    case 0:
        if (n > count - at) n = count - at;
        memmove(to + at, to + at + n, count - at - n);
        return count - n;
    case 1:
        if (n > count - at) n = count - at;
        memcpy(to + at, other->at + from, n);
        return count;
    default:
        if (n > room - count) n = room - count;
        memmove(to + at + n, to + at, count - at);
        memcpy(to + at, other->at + from, n);
        return count + n;
    }
}

static size_t mutate(Driver *d, u8 *to, size_t room) {
    const Bytes *from = &d->pool[fuzz_random_below(&d->random, d->pooled)];
    size_t count = from->count;
    memcpy(to, from->at, count);
    for (unsigned n = 1u << fuzz_random_below(&d->random, 5); n; n--) {
        if (count && fuzz_random_below(&d->random, 3)) mutate_byte(d, &to[fuzz_random_below(&d->random, (u32)count)]);
        else count = mutate_stretch(d, to, count, room);
    }
    return count;
}

static void run_own(Driver *d, u64 first, u64 cases) {
    u8 *bytes = mem_new(fuzz_target.max_bytes);
    for (u64 i = first; i < first + cases; i++) {
        d->random.state = i * 0xd1342543de82ef95u;
        bool fresh = d->pooled < 8 || !fuzz_random_below(&d->random, 4);
        size_t count = fresh ? make_fresh(d, bytes, fuzz_target.max_bytes) : mutate(d, bytes, fuzz_target.max_bytes);
        if (run_case(d, bytes, count)) keep(d, bytes, count);
    }
    free(bytes);
}

// ---- making a case smaller ----------------------------------------------------------------------
// How a process that runs only this case ends.
static int status_of(Driver *d, const u8 *bytes, size_t count) {
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, 1);
        dup2(nowhere, 2);
        d->quiet = true;
        run_case(d, bytes, count);
        _exit(0);
    }
    waitpid(child, &status, 0);
    return status;
}

static void shrink(Driver *d, const char *path) {
    Bytes b = read_file(path);
    u8 *less = mem_new(b.count + 1);
    int status = status_of(d, b.at, b.count);
    if (!status) {
        printf("%s does not fail\n", path);
        exit(1);
    }
    for (size_t n = b.count / 2; n; n /= 2)
        for (size_t at = 0; at + n <= b.count;) {
            memcpy(less, b.at, at);
            memcpy(less + at, b.at + at + n, b.count - at - n);
            if (status_of(d, less, b.count - n) != status) { at += n; continue; }
            b.count -= n;
            memcpy(b.at, less, b.count);
        }
    for (size_t i = 0; i < b.count; i++) {
        u8 was = b.at[i];
        b.at[i] = 0;
        if (was && status_of(d, b.at, b.count) != status) b.at[i] = was;
    }
    write_file(path, b.at, b.count);
    printf("%s: %zu bytes\n", path, b.count);
    free(less);
    free(b.at);
}

// ---- the program --------------------------------------------------------------------------------
static unsigned replay_file(Driver *d, const char *path) {
    Bytes b = read_file(path);
    if (d->telling) printf("%s:\n", path);
    if (run_case(d, b.at, b.count)) keep(d, b.at, b.count);
    free(b.at);
    return 1;
}

static off_t size_of_file(const char *path) {
    struct stat s;
    return stat(path, &s) ? 0 : s.st_size;
}

static int by_size(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    off_t p = size_of_file(*x), q = size_of_file(*y);
    return p != q ? (p > q) - (p < q) : strcmp(*x, *y);
}

static unsigned replay(Driver *d, const char *path) {
    struct dirent **names;
    int count = scandir(path, &names, NULL, NULL), files = 0;
    if (count < 0) return replay_file(d, path);
    char **paths = mem_new((size_t)count * sizeof *paths);
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.') paths[files++] = mem_printf("%s/%s", path, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    qsort(paths, (size_t)files, sizeof *paths, by_size);
    for (int i = 0; i < files; i++) {
        replay_file(d, paths[i]);
        free(paths[i]);
    }
    free(paths);
    return (unsigned)files;
}

static u64 number(const char *name, u64 otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void find_failed_folder(Driver *d) {
    const char *folder = getenv("FAILED"), *slash = strrchr(program_invocation_name, '/');
    char *own = slash ? mem_printf("%.*s", (int)(slash - program_invocation_name), program_invocation_name)
                      : mem_strdup(".");
    if (!realpath(folder && *folder ? folder : own, d->failed)) strcpy(d->failed, ".");
    free(own);
}

int main(int argc, char **argv) {
    Driver *d = &driver;
    unsigned files = 0;
    d->telling = number("V", 0);
    const char *out = getenv("OUT");
    d->out = out && *out ? out : NULL;
    d->edges_only = number("EDGES", 0);
    find_failed_folder(d);
    catch_death();
    if (number("SHRINK", 0)) {
        for (int i = 1; i < argc; i++) shrink(d, argv[i]);
        return 0;
    }
    for (int i = 1; i < argc; i++) files += replay(d, argv[i]);
    u64 cases = number("N", 0);
    run_own(d, number("SEED", 1), cases);
    unsigned edges = 0;
    for (unsigned i = 0; i < COVER_CELLS; i++) edges += d->seen[i] != 0;
    printf("%s: %u files, %llu cases, %u edges, %u inputs that add\n", fuzz_target.name, files,
           (unsigned long long)cases, edges, d->pooled);
    for (unsigned i = 0; i < d->pooled; i++) free(d->pool[i].at);
    return 0;
}
