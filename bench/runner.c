// SPDX-License-Identifier: MIT
// Chooses and runs benchmark programs and prints the marker lines; see runner.h.

#include "runner.h"

#include "program.h"

typedef struct {
    const char *name;
    uint32_t iterations;
    uint32_t (*run)(uint32_t iterations);
} Program;

static const Program programs[] = {
#define PROGRAM(name, iterations, what) {#name, iterations, bench_##name},
#include PROGRAMS
#undef PROGRAM
};
enum { PROGRAM_COUNT = sizeof programs / sizeof programs[0] };

typedef struct {
    char text[96];
    size_t bytes;
} Line;

static void line_text(Line *line, const char *text)
{
    while (*text && line->bytes < sizeof line->text - 1)
        line->text[line->bytes++] = *text++;
}

static void line_hex(Line *line, uint32_t value)
{
    char digits[11] = "0x";
    for (int i = 0; i < 8; i++)
        digits[2 + i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
    digits[10] = 0;
    line_text(line, digits);
}

static void line_print(Line *line)
{
    line->text[line->bytes++] = '\n';
    platform_write(line->text, line->bytes);
}

#ifdef RUNNER_ACCOUNTS
static void line_decimal(Line *line, uint64_t value)
{
    char digits[24];
    int at = sizeof digits;
    digits[--at] = 0;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    line_text(line, " ");
    line_text(line, digits + at);
}

static void runner_measure(const Program *program, uint32_t iterations, Line *end)
{
    uint64_t wall[2], cpu[2];
    platform_account(&wall[0], &cpu[0]);
    uint32_t sum = program->run(iterations);
    platform_account(&wall[1], &cpu[1]);
    line_hex(end, sum);
    line_decimal(end, wall[1] - wall[0]);
    line_decimal(end, cpu[1] - cpu[0]);
}
#else
static void runner_measure(const Program *program, uint32_t iterations, Line *end)
{
    line_hex(end, program->run(iterations));
}
#endif

static void runner_run(const Program *program, uint32_t iterations)
{
    Line start = {.bytes = 0}, end = {.bytes = 0};
    line_text(&start, "START ");
    line_text(&start, program->name);
    line_print(&start);
    line_text(&end, "END ");
    line_text(&end, program->name);
    line_text(&end, " ");
    runner_measure(program, iterations, &end);
    line_print(&end);
}

// The program whose name is the first `bytes` of `word`, or NULL.
static const Program *runner_find(const char *word, size_t bytes)
{
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        const char *name = programs[i].name;
        if (memcmp(name, word, bytes) == 0 && name[bytes] == 0)
            return &programs[i];
    }
    return NULL;
}

static int runner_unknown(const char *word, size_t bytes)
{
    Line line = {.bytes = 0};
    line_text(&line, "ERROR no program is called ");
    for (size_t i = 0; i < bytes && line.bytes < sizeof line.text - 1; i++)
        line.text[line.bytes++] = word[i];
    line_print(&line);
    return 1;
}

static int char_ends_name(char c)
{
    return c == 0 || c == ' ' || c == ',' || c == '\n' || c == ':';
}

// Runs the program that the word at *at names and moves *at behind it.
static int runner_word(const char **at)
{
    const char *word = *at, *end = word;
    while (!char_ends_name(*end))
        end++;
    const Program *program = runner_find(word, (size_t)(end - word));
    if (!program)
        return runner_unknown(word, (size_t)(end - word));
    uint32_t iterations = program->iterations;
    if (*end == ':')
        for (iterations = 0, end++; *end >= '0' && *end <= '9'; end++)
            iterations = iterations * 10 + (uint32_t)(*end - '0');
    runner_run(program, iterations);
    *at = end;
    return 0;
}

int runner_main(const char *wanted)
{
    int named = 0;
    for (;;) {
        while (*wanted == ' ' || *wanted == ',' || *wanted == '\n')
            wanted++;
        if (!*wanted)
            break;
        if (runner_word(&wanted) != 0)
            return 1;
        named = 1;
    }
    for (int i = 0; !named && i < PROGRAM_COUNT; i++)
        runner_run(&programs[i], programs[i].iterations);
    platform_write("DONE\n", 5);
    return 0;
}
