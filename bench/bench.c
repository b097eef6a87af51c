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

static const char *const program_names[] = {
#define PROGRAM(name, iterations, what) #name,
#include "programs.def"
#undef PROGRAM
};
enum { PROGRAMS = sizeof program_names / sizeof program_names[0] };

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
    Samples samples[PROGRAMS];
} Runner;

typedef struct {
    int rounds;
    double limit_seconds; // of one run of all chosen programs
    Clock clock;
    char wanted[LAYOUT_SECTOR_BYTES]; // the programs' names, blanks between; empty: all
    const char *native, *image;
    char image_copy[512]; // the image with `wanted` in it; removed at the end
} Options;

typedef struct {
    Options options;
    Runner runners[PLACES];
    uint32_t sums[PROGRAMS]; // the bare host's
    bool summed[PROGRAMS];
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

static int program_find(const char *name, size_t bytes)
{
    for (int i = 0; i < PROGRAMS; i++)
        if (strlen(program_names[i]) == bytes && memcmp(program_names[i], name, bytes) == 0)
            return i;
    return -1;
}

// --- one run ---------------------------------------------------------------------------------

static void line_start(Bench *bench, const Runner *runner, Run *run, const double *now)
{
    run->program = program_find(run->line + 6, strlen(run->line + 6));
    if (run->program < 0)
        bench_problem(bench, "%s: unexpected line: %s", runner->title, run->line);
    memcpy(run->started, now, sizeof run->started);
    run->started_read = run->reads;
}

static void line_end(Bench *bench, Runner *runner, Run *run, const double *now)
{
    char name[32] = "";
    unsigned sum = 0;
    int fields = sscanf(run->line, "END %31s 0x%x", name, &sum), program = run->program;
    run->program = -1;
    if (fields != 2 || program < 0 || strcmp(program_names[program], name) != 0) {
        bench_problem(bench, "%s: unexpected line: %s", runner->title, run->line);
        return;
    }
    if (run->started_read == run->reads) {
        bench_problem(bench, "%s: START and END of %s came together: no time can be taken",
                      runner->title, name);
        return;
    }
    if (runner == &bench->runners[PLACE_NATIVE] && !bench->summed[program]) {
        bench->sums[program] = sum;
        bench->summed[program] = true;
    }
    if (bench->summed[program] && bench->sums[program] != sum) {
        bench_problem(bench, "%s: %s: checksum 0x%08x, but the bare host has 0x%08x",
                      runner->title, name, sum, bench->sums[program]);
        return;
    }
    Samples *samples = &runner->samples[program];
    for (int c = 0; c < CLOCKS; c++)
        samples->seconds[c][samples->count] = now[c] - run->started[c];
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
    if (!in_time)
        bench_problem(bench, "%s: killed after %.0f s%s%s", runner->title,
                      bench->options.limit_seconds, run->program >= 0 ? " in " : "",
                      run->program >= 0 ? program_names[run->program] : "");
    else if (!run->done)
        bench_problem(bench, "%s: ended early%s%s, exit status %d", runner->title,
                      run->program >= 0 ? " in " : "",
                      run->program >= 0 ? program_names[run->program] : "", status);
    else if (status != runner->good_status)
        bench_problem(bench, "%s: exit status %d, expected %d", runner->title, status,
                      runner->good_status);
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
        bool in_time = run_read(bench, runner, &run, ends[0]);
        run_judge(bench, runner, &run, in_time, child_end(run.pid, !in_time));
        ends[1] = -1;
    }
    close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
}

static void place_run(Bench *bench, Place place)
{
    Options *options = &bench->options;
    Runner *runner = &bench->runners[place];
    char drive[600];
    snprintf(drive, sizeof drive, "format=raw,if=floppy,file=%s", options->image_copy);
    const char *native[] = {options->native, options->wanted, NULL};
    const char *guest[ARGS_MAX] = {
        runner->path, "-m", "64", "-display", "none", "-no-reboot", "-drive", drive, "-boot", "a",
        "-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
        place == PLACE_QEMU ? "-accel" : NULL, "tcg", NULL,
    };
    runner_run(bench, runner, (char *const *)(place == PLACE_NATIVE ? native : guest));
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
    if (isnan(value)) {
        printf("%13s", "-");
        return;
    }
    snprintf(text, sizeof text, format, value);
    printf("%13s", text);
    mean->log_sum += log(value);
    mean->count++;
}

enum { COLUMNS = 4 };

static void table_row(const Bench *bench, int program, Mean *means)
{
    double time[PLACES];
    for (int p = 0; p < PLACES; p++)
        time[p] = samples_median(&bench->runners[p].samples[program], bench->options.clock);
    printf("%-9s", program_names[program]);
    cell_print(time[PLACE_NATIVE], "%.3f", &means[0]);
    cell_print(time[PLACE_GLASSBOX] / time[PLACE_NATIVE], "%.2f", &means[1]);
    cell_print(time[PLACE_QEMU] / time[PLACE_NATIVE], "%.2f", &means[2]);
    cell_print(time[PLACE_QEMU] / time[PLACE_GLASSBOX], "%.2f", &means[3]);
    putchar('\n');
}

static bool program_chosen(const Options *options, int program)
{
    const char *name = program_names[program], *at = options->wanted;
    size_t bytes = strlen(name);
    while (*at && (at = strstr(at, name))) {
        char end = at[bytes];
        if ((at == options->wanted || at[-1] == ' ') && (end == 0 || end == ' ' || end == ':'))
            return true;
        at += bytes;
    }
    return !options->wanted[0];
}

static void table_print(const Bench *bench)
{
    Mean means[COLUMNS] = {{0, 0}};
    int rows = 0;
    printf("%-9s%13s%13s%13s%13s\n", "program", "native s", "glassbox", "QEMU", "glassbox");
    printf("%-9s%13s%13s%13s%13s\n", "", "", "x native", "x native", "vs QEMU");
    for (int i = 0; i < PROGRAMS; i++) {
        if (!program_chosen(&bench->options, i))
            continue;
        table_row(bench, i, means);
        rows++;
    }
    printf("%-9s%13s", "geomean", "");
    for (int c = 1; c < COLUMNS; c++)
        if (means[c].count == rows)
            printf("%13.2f", exp(means[c].log_sum / rows));
        else
            printf("%13s", "-");
    printf("\n%s time, median of %d round%s; x native: the lower the better; vs QEMU: the higher\n",
           bench->options.clock == CLOCK_CPU ? "CPU" : "Wall", bench->options.rounds,
           bench->options.rounds == 1 ? "" : "s");
}

// Says so when other work kept the programs waiting.
static void table_note_load(const Bench *bench)
{
    double sum[CLOCKS] = {0, 0};
    for (int p = 0; p < PLACES; p++)
        for (int i = 0; i < PROGRAMS; i++)
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
        if (bytes && program_find(at, strcspn(at, ":, ")) < 0) {
            fprintf(stderr, "bench: -p: no program is called '%.*s'; there are:", (int)bytes, at);
            for (int i = 0; i < PROGRAMS; i++)
                fprintf(stderr, " %s", program_names[i]);
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

static void usage_print(void)
{
    fputs("usage: bench [-p PROGRAM[:ITERATIONS],...] [-n ROUNDS] [-t SECONDS] [-c wall|cpu]\n"
          "             [-g GLASSBOX] [-q QEMU] NATIVE IMAGE\n"
          "  -p  these programs only     -n  rounds, 5     -t  limit of one run, 120 s\n"
          "  -c  the clock of the table  -g  glassbox, build/glassbox\n"
          "  -q  qemu-system-i386        '-' as -g or -q leaves that emulator out\n",
          stderr);
}

static bool options_parse(Bench *bench, int argc, char **argv)
{
    Options *options = &bench->options;
    int option;
    while ((option = getopt(argc, argv, "p:n:t:c:g:q:")) != -1) {
        bool good = true;
        switch (option) {
        case 'p': good = wanted_parse(options, optarg); break;
        case 'n': options->rounds = atoi(optarg); break;
        case 't': options->limit_seconds = atof(optarg); break;
        case 'c': good = clock_parse(options, optarg); break;
        case 'g': bench->runners[PLACE_GLASSBOX].path = optarg; break;
        case 'q': bench->runners[PLACE_QEMU].path = optarg; break;
        default: usage_print(); return false;
        }
        if (!good)
            return false;
    }
    if (argc - optind != 2 || options->rounds < 1 || options->rounds > ROUNDS_MAX ||
        options->limit_seconds <= 0) {
        usage_print();
        return false;
    }
    options->native = argv[optind];
    options->image = argv[optind + 1];
    return true;
}

static void runners_find(Bench *bench)
{
    bench->runners[PLACE_NATIVE].present = true;
    for (int p = PLACE_GLASSBOX; p < PLACES; p++) {
        Runner *runner = &bench->runners[p];
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
    bench->options = (Options){.rounds = 5, .limit_seconds = 120};
    bench->runners[PLACE_NATIVE] = (Runner){.title = "native"};
    bench->runners[PLACE_GLASSBOX] = (Runner){.title = "glassbox", .path = "build/glassbox"};
    bench->runners[PLACE_QEMU] = (Runner){.title = "QEMU", .path = "qemu-system-i386"};
    bench->runners[PLACE_GLASSBOX].good_status = 2 * LAYOUT_EXIT_GOOD + 1;
    bench->runners[PLACE_QEMU].good_status = 2 * LAYOUT_EXIT_GOOD + 1;
    return bench;
}

int main(int argc, char **argv)
{
    Bench *bench = bench_new();
    if (!bench || !options_parse(bench, argc, argv) || !image_prepare(&bench->options)) {
        free(bench);
        return 1;
    }
    runners_find(bench);
    for (int round = 0; round < bench->options.rounds; round++)
        for (int p = 0; p < PLACES; p++)
            if (bench->runners[p].present)
                place_run(bench, p);
    unlink(bench->options.image_copy);
    table_print(bench);
    table_note_load(bench);
    int status = bench->problems != 0;
    free(bench);
    return status;
}
