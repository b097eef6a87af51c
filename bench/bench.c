// SPDX-License-Identifier: MIT
// The benchmark's harness: runs the same programs on the bare host, in glassbox and in QEMU, in
// turn, round after round, and prints how many times the host's time each emulator takes.
//
// Rules:
// 1. A guest's clock is not trusted. The time of a program is that between the arrivals, here, of
//    its START and END lines; both ends of every run are measured in the same way.
// 2. Wall and CPU time of the child are both taken; -c chooses the one that the table shows.
// 3. A result counts only when its checksum is the bare host's. Anything that is missing, late or
//    wrong is named in a line of its own and makes the exit status 1; an emulator that is not
//    there at all is named too, but is no failure.
// 4. A child that is over its time is killed with its process group, and nothing else is.
// 5. There are five suites (-s): `programs` runs on bare metal from a floppy, and natively; `events` and `modes` are
//    bare metal only; `user` is the programs of the first, and `system` system programs, as Linux processes, under
//    a Linux kernel in the emulators. Their lists are the .def files.
// 6. A native system program's CPU time is what it says itself, its children's with it. Where a guest's own clock
//    disagrees with the host's, a line says so.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "layout.h"

enum { ROUNDS_MAX = 99, ARGS_MAX = 24, LINE_MAX_BYTES = 256 };

typedef struct {
    const char *name;
    uint32_t iterations;
} Program;

#define PROGRAM(name, iterations, what) {#name, iterations},
static const Program suite_programs[] = {
#include "programs.def"
};
static const Program suite_events[] = {
#include "events/events.def"
};
static const Program suite_modes[] = {
#include "modes/modes.def"
};
#define BOOT {"boot", 1} // from the emulator's start to the first words of init
static const Program suite_user[] = {
    BOOT,
#include "programs.def"
};
static const Program suite_system[] = {
    BOOT,
#include "system/system.def"
};
#undef PROGRAM
#undef BOOT

typedef struct {
    const char *name;
    const Program *programs;
    int count;
    bool native;    // runs on the bare host, too
    bool per_mode;  // the rows are loops in several modes: NAME_MODE, the first of each is the measure
    bool per_event; // the table has nanoseconds per iteration in place of seconds
    int arguments;  // of the command line: what is to be run
} Suite;

#define SUITE_LIST(list) list, sizeof list / sizeof list[0]
static const Suite suites[] = {
    {"programs", SUITE_LIST(suite_programs), true, false, false, 2},
    {"events", SUITE_LIST(suite_events), false, false, true, 1},
    {"modes", SUITE_LIST(suite_modes), false, true, true, 1},
    {"user", SUITE_LIST(suite_user), true, false, false, 3},
    {"system", SUITE_LIST(suite_system), true, false, false, 3},
};
enum { SUITES = sizeof suites / sizeof suites[0], PROGRAMS_MAX = 64 };

typedef enum { CLOCK_WALL, CLOCK_CPU, CLOCKS } Clock;
typedef enum { PLACE_NATIVE, PLACE_GLASSBOX, PLACE_QEMU, PLACES } Place;

typedef struct {
    double seconds[CLOCKS][ROUNDS_MAX];
    int count;
} Samples;

typedef struct {
    const char *title;
    const char *path;
    bool present;
    int good_status; // exit status of a run that went well
    Samples samples[PROGRAMS_MAX];
} Runner;

typedef struct {
    int rounds;
    double limit_seconds; // of one run of all chosen programs
    Clock clock;
    char wanted[LAYOUT_SECTOR_BYTES]; // the programs' names, blanks between; empty: all
    const Suite *suite;
    const char *native, *image, *kernel; // as the suite has them; with a kernel, image is its initial RAM disk
    const char *results; // file to which the medians are added, for bench/aims.sh; or NULL
    char image_copy[512]; // the image with `wanted` in it; removed at the end
} Options;

typedef struct {
    Options options;
    Runner runners[PLACES];
    uint32_t sums[PROGRAMS_MAX]; // the bare host's; where it has none, the first that was seen
    bool summed[PROGRAMS_MAX];
    int problems;
} Bench;

// What is known of a run while its lines come in.
typedef struct {
    pid_t pid;
    clockid_t cpu_clock;
    int program;             // started and not ended, or -1
    double started[CLOCKS];
    unsigned started_read;   // number of the read() that brought START
    unsigned reads;
    bool done;
    char line[LINE_MAX_BYTES];
    size_t line_bytes;
} Run;

__attribute__((format(printf, 2, 3))) static void bench_problem(Bench *bench, const char *text, ...)
{
    va_list list;
    va_start(list, text);
    fputs("bench: ", stderr);
    vfprintf(stderr, text, list);
    fputc('\n', stderr);
    va_end(list);
    bench->problems++;
}

static double clock_seconds(clockid_t clock)
{
    struct timespec t = {0, 0};
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int program_find(const Suite *suite, const char *name, size_t bytes)
{
    for (int i = 0; i < suite->count; i++)
        if (strlen(suite->programs[i].name) == bytes && memcmp(suite->programs[i].name, name, bytes) == 0)
            return i;
    return -1;
}

// --- one run ---------------------------------------------------------------------------------

static void line_start(Bench *bench, const Runner *runner, Run *run, const double *now)
{
    run->program = program_find(bench->options.suite, run->line + 6, strlen(run->line + 6));
    if (run->program < 0)
        bench_problem(bench, "%s: unexpected line: %s", runner->title, run->line);
    memcpy(run->started, now, sizeof run->started);
    run->started_read = run->reads;
}

static void line_check_clock(const Runner *runner, const char *name, double own, double seen)
{
    if (own < 0.85 * seen - 0.03 || own > 1.15 * seen + 0.03)
        printf("%s: %s took %.3f s, but %.3f s by the guest's clock\n", runner->title, name, seen, own);
}

static void line_end(Bench *bench, Runner *runner, Run *run, const double *now)
{
    char name[32] = "";
    unsigned sum = 0;
    double own_ns[CLOCKS] = {0, 0};
    int fields = sscanf(run->line, "END %31s 0x%x %lf %lf", name, &sum, &own_ns[CLOCK_WALL], &own_ns[CLOCK_CPU]);
    int program = run->program;
    bool native = runner == &bench->runners[PLACE_NATIVE];
    run->program = -1;
    if (fields < 2 || program < 0 || strcmp(bench->options.suite->programs[program].name, name) != 0) {
        bench_problem(bench, "%s: unexpected line: %s", runner->title, run->line);
        return;
    }
    if (run->started_read == run->reads) {
        bench_problem(bench, "%s: START and END of %s came together: no time can be taken",
                      runner->title, name);
        return;
    }
    if ((native || !bench->options.suite->native) && !bench->summed[program]) {
        bench->sums[program] = sum;
        bench->summed[program] = true;
    }
    if (bench->summed[program] && bench->sums[program] != sum) {
        bench_problem(bench, "%s: %s: checksum 0x%08x, not 0x%08x", runner->title, name, sum, bench->sums[program]);
        return;
    }
    Samples *samples = &runner->samples[program];
    for (int c = 0; c < CLOCKS; c++)
        samples->seconds[c][samples->count] = now[c] - run->started[c];
    if (native && fields == 4)
        samples->seconds[CLOCK_CPU][samples->count] = own_ns[CLOCK_CPU] * 1e-9;
    else if (fields == 4)
        line_check_clock(runner, name, own_ns[CLOCK_WALL] * 1e-9, now[CLOCK_WALL] - run->started[CLOCK_WALL]);
    samples->count++;
}

static void run_line(Bench *bench, Runner *runner, Run *run, const double *now)
{
    if (run->line_bytes && run->line[run->line_bytes - 1] == '\r')
        run->line[--run->line_bytes] = 0;
    if (strncmp(run->line, "START ", 6) == 0)
        line_start(bench, runner, run, now);
    else if (strncmp(run->line, "END ", 4) == 0)
        line_end(bench, runner, run, now);
    else if (strcmp(run->line, "DONE") == 0)
        run->done = true;
    else if (strncmp(run->line, "ERROR", 5) == 0)
        bench_problem(bench, "%s: %s", runner->title, run->line);
}

static void run_bytes(Bench *bench, Runner *runner, Run *run, const char *bytes, size_t count)
{
    double now[CLOCKS] = {clock_seconds(CLOCK_MONOTONIC), clock_seconds(run->cpu_clock)};
    run->reads++;
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != '\n') {
            if (run->line_bytes < sizeof run->line - 1)
                run->line[run->line_bytes++] = bytes[i];
            continue;
        }
        run->line[run->line_bytes] = 0;
        run_line(bench, runner, run, now);
        run->line_bytes = 0;
    }
}

// Reads the child's lines until its output ends; false when the time is over first.
static bool run_read(Bench *bench, Runner *runner, Run *run, int pipe_end)
{
    double end = clock_seconds(CLOCK_MONOTONIC) + bench->options.limit_seconds;
    for (;;) {
        double left = end - clock_seconds(CLOCK_MONOTONIC);
        struct pollfd wait_for = {.fd = pipe_end, .events = POLLIN};
        if (left <= 0)
            return false;
        if (poll(&wait_for, 1, (int)(left * 1000) + 1) <= 0)
            continue;
        char bytes[4096];
        ssize_t count = read(pipe_end, bytes, sizeof bytes);
        if (count == 0)
            return true;
        if (count > 0)
            run_bytes(bench, runner, run, bytes, (size_t)count);
        else if (errno != EINTR)
            return true;
    }
}

static void child_exec(char *const *args, int output)
{
    int nothing = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(nothing, 0);
    dup2(output, 1);
    execvp(args[0], args);
    fprintf(stderr, "bench: %s: %s\n", args[0], strerror(errno));
    _exit(127);
}

// The child's exit status as a shell gives it. It is killed when it does not end by itself.
static int child_end(pid_t pid, bool kill_now)
{
    int status = 0;
    for (int i = 0; !kill_now && i < 200; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    if (kill(-pid, SIGKILL) != 0) // its group: a wrapper script's children too
        kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return 128 + SIGKILL;
}

static void run_judge(Bench *bench, const Runner *runner, const Run *run, bool in_time, int status)
{
    const char *where = run->program >= 0 ? bench->options.suite->programs[run->program].name : "";
    if (!in_time)
        bench_problem(bench, "%s: killed after %.0f s%s%s", runner->title, bench->options.limit_seconds,
                      where[0] ? " in " : "", where);
    else if (!run->done)
        bench_problem(bench, "%s: ended early%s%s, exit status %d", runner->title, where[0] ? " in " : "", where,
                      status);
    else if (status != runner->good_status)
        bench_problem(bench, "%s: exit status %d, expected %d", runner->title, status,
                      runner->good_status);
}

// The program "boot" has begun; the guest says when it ends.
static void run_boots(Run *run)
{
    run->program = 0;
    run->started[CLOCK_WALL] = clock_seconds(CLOCK_MONOTONIC);
    run->started_read = ~0u;
}

static void runner_run(Bench *bench, Runner *runner, char *const *args)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        bench_problem(bench, "pipe: %s", strerror(errno));
        return;
    }
    Run run = {.program = -1, .pid = fork()};
    if (run.pid < 0) {
        bench_problem(bench, "fork: %s", strerror(errno));
    } else if (run.pid == 0) {
        child_exec(args, ends[1]);
    } else {
        close(ends[1]);
        clock_getcpuclockid(run.pid, &run.cpu_clock);
        if (bench->options.kernel && runner != &bench->runners[PLACE_NATIVE])
            run_boots(&run);
        bool in_time = run_read(bench, runner, &run, ends[0]);
        run_judge(bench, runner, &run, in_time, child_end(run.pid, !in_time));
        ends[1] = -1;
    }
    close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
}

static void place_run_floppy(Bench *bench, Runner *runner, const char *accel)
{
    char drive[600];
    snprintf(drive, sizeof drive, "format=raw,if=floppy,file=%s", bench->options.image_copy);
    const char *guest[ARGS_MAX] = {
        runner->path, "-m", "64", "-display", "none", "-no-reboot", "-drive", drive, "-boot", "a",
        "-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", accel, "tcg", NULL,
    };
    runner_run(bench, runner, (char *const *)guest);
}

static void place_run_linux(Bench *bench, Runner *runner, const char *accel)
{
    const Options *options = &bench->options;
    char line[LAYOUT_SECTOR_BYTES + 64];
    snprintf(line, sizeof line, "console=ttyS0 quiet nokaslr suite=%s wanted=%s", options->suite->name,
             options->wanted);
    for (char *at = strstr(line, "wanted="); *at; at++)
        if (*at == ' ')
            *at = ',';
    const char *guest[ARGS_MAX] = {
        runner->path, "-m", "256", "-display", "none", "-no-reboot", "-kernel", options->kernel, "-initrd",
        options->image, "-append", line, "-serial", "stdio", accel, "tcg", NULL,
    };
    runner_run(bench, runner, (char *const *)guest);
}

static void place_run(Bench *bench, Place place)
{
    const char *native[] = {bench->options.native, bench->options.wanted, NULL};
    const char *accel = place == PLACE_QEMU ? "-accel" : NULL;
    if (place == PLACE_NATIVE)
        runner_run(bench, &bench->runners[place], (char *const *)native);
    else if (bench->options.kernel)
        place_run_linux(bench, &bench->runners[place], accel);
    else
        place_run_floppy(bench, &bench->runners[place], accel);
}

// --- the table -------------------------------------------------------------------------------

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The median of a program's times, or NAN when there are none.
static double samples_median(const Samples *samples, Clock clock)
{
    double sorted[ROUNDS_MAX];
    int n = samples->count;
    if (n == 0)
        return NAN;
    memcpy(sorted, samples->seconds[clock], sizeof sorted[0] * (size_t)n);
    qsort(sorted, (size_t)n, sizeof sorted[0], double_compare);
    return n & 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

typedef struct {
    double log_sum;
    int count;
} Mean;

static void cell_print(double value, const char *format, Mean *mean)
{
    char text[32];
    if (isnan(value) || isinf(value) || value <= 0) {
        printf("%13s", "-");
        return;
    }
    snprintf(text, sizeof text, format, value);
    printf("%13s", text);
    mean->log_sum += log(value);
    mean->count++;
}

enum { COLUMNS = 6 };

// How many times as long as in the first of its modes.
static double mode_ratio(const Bench *bench, Place place, int program)
{
    const Program *programs = bench->options.suite->programs;
    size_t bytes = strcspn(programs[program].name, "_");
    int first = program;
    while (first > 0 && strncmp(programs[first - 1].name, programs[program].name, bytes + 1) == 0)
        first--;
    const Samples *samples = bench->runners[place].samples;
    Clock clock = bench->options.clock;
    return samples_median(&samples[program], clock) / samples_median(&samples[first], clock);
}

static void table_row(const Bench *bench, int program, Mean *means)
{
    const Suite *suite = bench->options.suite;
    const Program *row = &suite->programs[program];
    double time[PLACES];
    for (int p = 0; p < PLACES; p++)
        time[p] = samples_median(&bench->runners[p].samples[program], bench->options.clock);
    printf(suite->per_mode ? "%-14s" : "%-9s", row->name);
    if (suite->per_event) {
        cell_print(time[PLACE_GLASSBOX] / row->iterations * 1e9, suite->per_mode ? "%.3f" : "%.1f", &means[1]);
        cell_print(time[PLACE_QEMU] / row->iterations * 1e9, suite->per_mode ? "%.3f" : "%.1f", &means[2]);
    } else if (isnan(time[PLACE_NATIVE])) {
        Mean none = {0, 0};
        printf("%13s", "-");
        cell_print(time[PLACE_GLASSBOX], "%.3f s", &none);
        cell_print(time[PLACE_QEMU], "%.3f s", &none);
    } else {
        cell_print(time[PLACE_NATIVE], "%.3f", &means[0]);
        cell_print(time[PLACE_GLASSBOX] / time[PLACE_NATIVE], "%.2f", &means[1]);
        cell_print(time[PLACE_QEMU] / time[PLACE_NATIVE], "%.2f", &means[2]);
    }
    cell_print(time[PLACE_QEMU] / time[PLACE_GLASSBOX], "%.2f", &means[3]);
    for (int p = PLACE_GLASSBOX; suite->per_mode && p < PLACES; p++)
        cell_print(mode_ratio(bench, p, program), "%.2f", &means[3 + p]);
    putchar('\n');
}

static bool program_chosen(const Options *options, int program)
{
    const char *name = options->suite->programs[program].name, *at = options->wanted;
    size_t bytes = strlen(name);
    if (options->kernel && program == 0)
        return true;
    while (*at && (at = strstr(at, name))) {
        char end = at[bytes];
        if ((at == options->wanted || at[-1] == ' ') && (end == 0 || end == ' ' || end == ':'))
            return true;
        at += bytes;
    }
    return !options->wanted[0];
}

static void table_head(const Suite *suite)
{
    if (suite->per_mode) {
        printf("%-14s%13s%13s%13s%13s%13s\n%-14s%13s%13s%13s%13s%13s\n", "loop", "glassbox", "QEMU", "glassbox",
               "glassbox", "QEMU", "", "ns per insn", "ns per insn", "vs QEMU", "x 32 bits", "x 32 bits");
        return;
    }
    if (suite->per_event) {
        printf("%-9s%13s%13s%13s\n%-9s%13s%13s%13s\n", "event", "glassbox", "QEMU", "glassbox", "", "ns", "ns",
               "vs QEMU");
        return;
    }
    printf("%-9s%13s%13s%13s%13s\n", "program", "native s", "glassbox", "QEMU", "glassbox");
    printf("%-9s%13s%13s%13s%13s\n", "", "", "x native", "x native", "vs QEMU");
}

// A column's mean is that of all rows that have a figure there.
static void table_print(const Bench *bench)
{
    const Options *options = &bench->options;
    Mean means[COLUMNS] = {{0, 0}};
    table_head(options->suite);
    for (int i = 0; i < options->suite->count; i++)
        if (program_chosen(options, i))
            table_row(bench, i, means);
    printf(options->suite->per_mode ? "%-14s" : options->suite->per_event ? "%-9s" : "%-9s%13s", "geomean", "");
    for (int c = 1; c < (options->suite->per_mode ? COLUMNS : 4); c++)
        if (means[c].count)
            printf("%13.2f", exp(means[c].log_sum / means[c].count));
        else
            printf("%13s", "-");
    printf("\n%s time, median of %d round%s; %svs QEMU: the higher the better\n",
           options->clock == CLOCK_CPU ? "CPU" : "Wall", options->rounds, options->rounds == 1 ? "" : "s",
           options->suite->native ? "x native: the lower the better; " : "");
}

// SUITE ROW NATIVE GLASSBOX QEMU ITERATIONS: seconds, '-' where there is no figure.
static void results_add(Bench *bench)
{
    const Options *options = &bench->options;
    FILE *file = fopen(options->results, "a");
    if (!file) {
        bench_problem(bench, "cannot write %s: %s", options->results, strerror(errno));
        return;
    }
    for (int i = 0; i < options->suite->count; i++) {
        fprintf(file, "%s %s", options->suite->name, options->suite->programs[i].name);
        for (int p = 0; p < PLACES; p++) {
            double median = samples_median(&bench->runners[p].samples[i], options->clock);
            if (isnan(median))
                fputs(" -", file);
            else
                fprintf(file, " %.6f", median);
        }
        fprintf(file, " %u\n", options->suite->programs[i].iterations);
    }
    if (fclose(file) != 0)
        bench_problem(bench, "cannot write %s: %s", options->results, strerror(errno));
}

// Says so when other work kept the programs waiting.
static void table_note_load(const Bench *bench)
{
    double sum[CLOCKS] = {0, 0};
    for (int p = 0; p < PLACES; p++)
        for (int i = 0; i < bench->options.suite->count; i++)
            for (int k = 0; k < bench->runners[p].samples[i].count; k++)
                for (int c = 0; c < CLOCKS; c++)
                    sum[c] += bench->runners[p].samples[i].seconds[c][k];
    if (bench->options.clock == CLOCK_WALL && sum[CLOCK_WALL] > 1.1 * sum[CLOCK_CPU])
        printf("The machine was busy: wall time is %.0f %% above CPU time; -c cpu is steadier.\n",
               100 * (sum[CLOCK_WALL] / sum[CLOCK_CPU] - 1));
}

// --- start -----------------------------------------------------------------------------------

// Whether a program can be found, as execvp would look for it.
static bool path_runs(const char *path)
{
    const char *dirs = getenv("PATH");
    char full[4096];
    if (strchr(path, '/') || !dirs)
        return access(path, X_OK) == 0;
    while (*dirs) {
        size_t bytes = strcspn(dirs, ":");
        snprintf(full, sizeof full, "%.*s/%s", (int)bytes, dirs, path);
        if (access(full, X_OK) == 0)
            return true;
        dirs += bytes + (dirs[bytes] == ':');
    }
    return false;
}

// Copies the image beside itself, with the names of the wanted programs in their sector.
static bool image_prepare(Options *options)
{
    char bytes[65536];
    ssize_t count;
    snprintf(options->image_copy, sizeof options->image_copy, "%s.XXXXXX", options->image);
    int from = open(options->image, O_RDONLY | O_CLOEXEC);
    int to = from < 0 ? -1 : mkstemp(options->image_copy);
    bool good = to >= 0;
    while (good && (count = read(from, bytes, sizeof bytes)) != 0)
        good = count > 0 && write(to, bytes, (size_t)count) == count;
    good = good && pwrite(to, options->wanted, sizeof options->wanted,
                          LAYOUT_WANTED_SECTOR * LAYOUT_SECTOR_BYTES) == sizeof options->wanted;
    if (!good)
        fprintf(stderr, "bench: cannot copy %s: %s\n", options->image, strerror(errno));
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return good;
}

// Turns "fib,sieve:20" into "fib sieve:20"; false after a message when a name is unknown.
static bool wanted_parse(Options *options, const char *list)
{
    if (strlen(list) >= sizeof options->wanted) {
        fprintf(stderr, "bench: -p: the list is too long\n");
        return false;
    }
    strcpy(options->wanted, list);
    for (char *at = options->wanted; *at;) {
        size_t bytes = strcspn(at, ", ");
        if (bytes && program_find(options->suite, at, strcspn(at, ":, ")) < 0) {
            fprintf(stderr, "bench: -p: no program is called '%.*s'; there are:", (int)bytes, at);
            for (int i = 0; i < options->suite->count; i++)
                fprintf(stderr, " %s", options->suite->programs[i].name);
            fputc('\n', stderr);
            return false;
        }
        at += bytes;
        if (*at)
            *at++ = ' ';
    }
    return true;
}

static bool clock_parse(Options *options, const char *name)
{
    options->clock = strcmp(name, "cpu") == 0 ? CLOCK_CPU : CLOCK_WALL;
    if (options->clock == CLOCK_CPU || strcmp(name, "wall") == 0)
        return true;
    fprintf(stderr, "bench: -c: 'wall' or 'cpu', not '%s'\n", name);
    return false;
}

static bool suite_parse(Options *options, const char *name)
{
    for (int i = 0; i < SUITES; i++) {
        if (strcmp(suites[i].name, name) != 0)
            continue;
        options->suite = &suites[i];
        return true;
    }
    fprintf(stderr, "bench: -s: 'programs', 'events', 'modes', 'user' or 'system', not '%s'\n", name);
    return false;
}

static void usage_print(void)
{
    fputs("usage: bench [-p PROGRAM[:ITERATIONS],...] [-n ROUNDS] [-t SECONDS] [-c wall|cpu]\n"
          "             [-g GLASSBOX] [-q QEMU] [-r RESULTS] NATIVE IMAGE\n"
          "       bench -s events|modes [OPTIONS] IMAGE\n"
          "       bench -s user|system [OPTIONS] NATIVE KERNEL INITRD\n"
          "  -p  these programs only     -n  rounds, 5     -t  limit of one run, 120 s\n"
          "  -c  the clock of the table  -g  glassbox, build/glassbox\n"
          "  -q  qemu-system-i386        '-' as -g or -q leaves that emulator out\n"
          "  -r  file to which the medians are added (bench/aims.sh)\n",
          stderr);
}

static bool options_parse(Bench *bench, int argc, char **argv)
{
    Options *options = &bench->options;
    const char *wanted = "";
    int option;
    while ((option = getopt(argc, argv, "s:p:n:t:c:g:q:r:")) != -1) {
        bool good = true;
        switch (option) {
        case 's': good = suite_parse(options, optarg); break;
        case 'p': wanted = optarg; break;
        case 'n': options->rounds = atoi(optarg); break;
        case 't': options->limit_seconds = atof(optarg); break;
        case 'c': good = clock_parse(options, optarg); break;
        case 'g': bench->runners[PLACE_GLASSBOX].path = optarg; break;
        case 'q': bench->runners[PLACE_QEMU].path = optarg; break;
        case 'r': options->results = optarg; break;
        default: usage_print(); return false;
        }
        if (!good)
            return false;
    }
    if (!wanted_parse(options, wanted))
        return false;
    if (argc - optind != options->suite->arguments || options->rounds < 1 || options->rounds > ROUNDS_MAX ||
        options->limit_seconds <= 0) {
        usage_print();
        return false;
    }
    options->native = options->suite->native ? argv[optind] : NULL;
    options->kernel = options->suite->arguments == 3 ? argv[optind + 1] : NULL;
    options->image = argv[argc - 1];
    return true;
}

static void runners_find(Bench *bench)
{
    bench->runners[PLACE_NATIVE].present = bench->options.suite->native;
    for (int p = PLACE_GLASSBOX; p < PLACES; p++) {
        Runner *runner = &bench->runners[p];
        runner->good_status = bench->options.kernel ? 0 : 2 * LAYOUT_EXIT_GOOD + 1;
        bool left_out = strcmp(runner->path, "-") == 0;
        runner->present = !left_out && path_runs(runner->path);
        if (!left_out && !runner->present)
            printf("%s is missing (%s): its columns stay empty.\n", runner->title, runner->path);
    }
    fflush(stdout);
}

static Bench *bench_new(void)
{
    Bench *bench = calloc(1, sizeof *bench);
    if (!bench)
        return NULL;
    bench->options = (Options){.rounds = 5, .limit_seconds = 120, .suite = &suites[0]};
    bench->runners[PLACE_NATIVE] = (Runner){.title = "native"};
    bench->runners[PLACE_GLASSBOX] = (Runner){.title = "glassbox", .path = "build/glassbox"};
    bench->runners[PLACE_QEMU] = (Runner){.title = "QEMU", .path = "qemu-system-i386"};
    return bench;
}

int main(int argc, char **argv)
{
    Bench *bench = bench_new();
    if (!bench || !options_parse(bench, argc, argv) ||
        (!bench->options.kernel && !image_prepare(&bench->options))) {
        free(bench);
        return 1;
    }
    runners_find(bench);
    for (int round = 0; round < bench->options.rounds; round++)
        for (int p = 0; p < PLACES; p++)
            if (bench->runners[p].present)
                place_run(bench, p);
    if (bench->options.image_copy[0])
        unlink(bench->options.image_copy);
    table_print(bench);
    table_note_load(bench);
    if (bench->options.results)
        results_add(bench);
    int status = bench->problems != 0;
    free(bench);
    return status;
}
