// SPDX-License-Identifier: MIT
// The shell: the first program, in ring 3 like the others. It knows a few commands itself;
// any other word is the name of a program to run.
#include "lab.h"

enum {
    CONTROL_C = 3,
    CONTROL_U = 21,
    TICKS_PER_SECOND = 100,
};

// A command line in two: "cat notes.txt" is "cat" and "notes.txt".
struct Command {
    const char *name;
    const char *synopsis;
    const char *help;
    void (*run)(const char *argument);  // NULL: a program of that name
};

static void shell_help(const char *argument);
static void shell_ls(const char *argument);
static void shell_cat(const char *argument);
static void shell_mem(const char *argument);
static void shell_uptime(const char *argument);
static void shell_oops(const char *argument);
static void shell_off(const char *argument);

static const struct Command commands[] = {
    { "help", "help", "this list", shell_help },
    { "ls", "ls", "the files on the floppy; * marks a program", shell_ls },
    { "cat", "cat FILE", "print a file", shell_cat },
    { "fault", "fault", "take a page fault in mid-loop and tell its story", NULL },
    { "wild", "wild [ADDRESS]", "write through a wild pointer", NULL },
    { "limit", "limit", "write one byte past a segment's limit", NULL },
    { "div", "div", "divide by zero", NULL },
    { "gp", "gp", "execute hlt in ring 3", NULL },
    { "bench", "bench", "time four integer loops", NULL },
    { "mem", "mem", "free pages, page faults served, programs run", shell_mem },
    { "uptime", "uptime", "time since the kernel started", shell_uptime },
    { "oops", "oops", "make the kernel itself fault; it halts", shell_oops },
    { "off", "off", "power off", shell_off },
};

static void shell_help(const char *argument)
{
    (void)argument;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        lab_print("  %-15s %s\n", commands[i].synopsis, commands[i].help);
}

static void shell_ls(const char *argument)
{
    struct LabFileInfo info;
    (void)argument;
    for (uint32_t i = 0; lab_file_info(i, &info) == 0; i++)
        lab_print("%8u  %s%s\n", info.bytes, info.name, info.is_program ? "*" : "");
}

// What is not text is shown as a dot.
static void shell_cat(const char *argument)
{
    char buffer[128];
    struct LabFileRead read = { argument, buffer, 0, sizeof buffer };
    int count;

    if (!*argument) {
        lab_print("cat: which file? ls lists them\n");
        return;
    }
    while ((count = lab_file_read(&read)) > 0) {
        for (int i = 0; i < count; i++)
            if ((buffer[i] < ' ' && buffer[i] != '\n' && buffer[i] != '\t') || buffer[i] == 0x7f)
                buffer[i] = '.';
        lab_write(buffer, (size_t)count);
        read.offset += (uint32_t)count;
    }
    if (count < 0)
        lab_print("cat: %s: no such file; ls lists them\n", argument);
}

static void shell_mem(const char *argument)
{
    struct LabCounts counts = lab_counts();
    (void)argument;
    lab_print("free pages     %u of %u, 4 KiB each\n", counts.pages_free, counts.pages_total);
    lab_print("faults served  %u\n", counts.faults_served);
    lab_print("programs run   %u, killed %u\n", counts.programs_run, counts.programs_killed);
}

static void shell_uptime(const char *argument)
{
    uint32_t ticks = lab_ticks();
    (void)argument;
    lab_print("up %u.%02u s (%u ticks)\n", ticks / TICKS_PER_SECOND, ticks % TICKS_PER_SECOND,
              ticks);
}

static void shell_oops(const char *argument)
{
    (void)argument;
    lab_call(LAB_CALL_OOPS, 0, 0, 0);
}

static void shell_off(const char *argument)
{
    (void)argument;
    lab_call(LAB_CALL_OFF, 0, 0, 0);
}

static void erase_last(size_t *length)
{
    --*length;
    lab_write("\b \b", 3);
}

// Reads a line with echo into line; Backspace and Ctrl-U erase, Ctrl-C gives an empty line.
static void shell_read_line(char *line, size_t size)
{
    size_t length = 0;
    for (;;) {
        char key = lab_read_key();
        if (key == '\n' || key == CONTROL_C) {
            lab_print(key == '\n' ? "\n" : "^C\n");
            line[key == '\n' ? length : 0] = 0;
            return;
        }
        if (key == '\b' && length)
            erase_last(&length);
        while (key == CONTROL_U && length)
            erase_last(&length);
        if (key >= ' ' && key < 0x7f && length + 1 < size) {
            line[length++] = key;
            lab_write(&key, 1);
        }
    }
}

static void shell_run_program(const char *line)
{
    int status = lab_run(line);
    if (status == LAB_ERROR_FILE)
        lab_print("%s: unknown command; help lists them\n", line);
    else if (status == LAB_ERROR_PROGRAM)
        lab_print("%s: not a program; cat prints it\n", line);
    else if (status == LAB_ERROR_MEMORY)
        lab_print("%s: no free page is left\n", line);
}

// Runs one line; blanks around it are gone.
static void shell_run(char *line)
{
    char *argument = line;
    while (*argument && *argument != ' ')
        argument++;
    size_t name_length = (size_t)(argument - line);
    while (*argument == ' ')
        argument++;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char name[LAB_COMMAND_BYTES];
        text_copy(name, name_length + 1, line);
        if (commands[i].run && text_equal(commands[i].name, name)) {
            commands[i].run(argument);
            return;
        }
    }
    shell_run_program(line);
}

int main(void)
{
    for (;;) {
        char line[LAB_COMMAND_BYTES];
        char *start = line;

        lab_print("lab> ");
        shell_read_line(line, sizeof line);
        while (*start == ' ')
            start++;
        size_t length = text_length(start);
        while (length && start[length - 1] == ' ')
            start[--length] = 0;
        if (length)
            shell_run(start);
    }
}
