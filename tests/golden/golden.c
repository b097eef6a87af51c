// SPDX-License-Identifier: MIT
// Makes the two golden files of one case: tests/golden.sh compares or keeps them.
//
//     golden CASE.s CASE.bin OUT         writes OUT.ir and OUT.x64; exit status 0, or 1 with one line
//
// CASE.s says the mode in its first lines: `# mode: WORD...`, CASE.bin holds its machine code. What is
// printed comes from jit_dump_bytes(), as for `glassbox dump --bytes`, made independent of where things
// lie: lines of host code lose their addresses and get labels where something jumps to; stubs are
// numbered as they appear; offsets into the CPU state get the field's name.
#define _GNU_SOURCE
#include "jit/jit.h"

#include "lift/lift.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { GOLDEN_EIP = 0xe4c0, MAX_FILE_BYTES = 1 << 16, MAX_LINES = 20000, MAX_STUBS = 64, NEAR_BYTES = 1 << 26 };

typedef struct Lines { char **at; u32 count; } Lines;

typedef struct Golden {
    Lines dump;
    u64 *address;              // of each line of host code, 0 on others
    u32 *label;                // number of the label before the line, 0: none
    u64 stub[MAX_STUBS];       // addresses outside the block, in order of appearance
    u32 stubs;
} Golden;

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "golden: ");
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    exit(1);
}

static char *read_all(const char *path, u32 *bytes) {
    FILE *f = fopen(path, "rb");
    if (!f) die("%s: %s", path, strerror(errno));
    char *text = calloc(1, MAX_FILE_BYTES);
    *bytes = (u32)fread(text, 1, MAX_FILE_BYTES - 1, f);
    fclose(f);
    return text;
}

// ---- the mode line -----------------------------------------------------------------------------------
static const struct { const char *name; u32 mode; } mode_words[] = {
    { "flat32", MODE_CODE32 | MODE_STACK32 | MODE_PE | MODE_IO_OK | SEG_FLAT * 0x555000u },
    { "user32", MODE_CODE32 | MODE_STACK32 | MODE_PE | 3 | SEG_FLAT * 0x555000u },
    { "real", MODE_IO_OK | SEG_REAL * 0x555000u },
    { "protected16", MODE_PE | MODE_IO_OK },
    { "vm86", MODE_PE | MODE_VM | 3 | SEG_REAL * 0x555000u },
    { "fpu_nm", MODE_FPU_NM }, { "wait_nm", MODE_WAIT_NM }, { "ac", MODE_AC }, { "tf", MODE_TF },
    { "debug", MODE_DEBUG }, { "window", MODE_WINDOW }, { "sse", MODE_SSE },
};
static const char *const seg_names[6] = { "es", "cs", "ss", "ds", "fs", "gs" };
static const char *const class_names[4] = { [SEG_CHECKED] = "checked", [SEG_FLAT] = "flat",
                                            [SEG_BASED] = "based", [SEG_REAL] = "real" };

// `fs=based` sets the class of one segment, any other word adds its bits.
static bool mode_word(const char *word, u32 *mode) {
    for (u32 i = 0; i < ARRAY_LEN(mode_words); i++)
        if (!strcmp(word, mode_words[i].name)) return *mode |= mode_words[i].mode, true;
    for (u32 s = 0; s < 6; s++)
        for (u32 c = 0; c < 4; c++)
            if (!strncmp(word, seg_names[s], 2) && word[2] == '=' && !strcmp(word + 3, class_names[c])) {
                *mode = (*mode & ~(3u << MODE_SEG_SHIFT(s))) | c << MODE_SEG_SHIFT(s);
                return true;
            }
    return false;
}

static u32 mode_of(const char *path) {
    u32 bytes, mode = 0;
    char *text = read_all(path, &bytes), *line = strstr(text, "# mode:"), *save = NULL;
    if (!line) die("%s: no line '# mode: ...'", path);
    line[strcspn(line, "\n")] = 0;
    for (char *w = strtok_r(line + 7, " ", &save); w; w = strtok_r(NULL, " ", &save))
        if (!mode_word(w, &mode)) die("%s: unknown word in the mode line: %s", path, w);
    free(text);
    return mode;
}

// ---- taking the dump apart ---------------------------------------------------------------------------
static Lines lines_of(char *text) {
    Lines l = { calloc(MAX_LINES, sizeof(char *)), 0 };
    for (char *end; *text && l.count < MAX_LINES; text = end) {
        l.at[l.count++] = text;
        end = strchrnul(text, '\n');
        if (*end) *end++ = 0;
    }
    return l;
}

static u32 find_line(const Lines *l, const char *start) {
    for (u32 i = 0; i < l->count; i++)
        if (!strncmp(l->at[i], start, strlen(start))) return i;
    die("the dump has no line '%s...'", start);
}

static u32 section_end(const Lines *l, u32 i) {
    while (i < l->count && *l->at[i]) i++;
    return i;
}

static u32 line_at(const Golden *g, u64 address) {
    for (u32 i = 0; i < g->dump.count; i++)
        if (g->address[i] == address) return i;
    return ~0u;
}

// The address of the block's first line: what lies near it is code memory.
static bool is_near(const Golden *g, u32 first, u64 value) {
    u64 start = g->address[first];
    return value > 0xffffffff && value - start + NEAR_BYTES < 2 * NEAR_BYTES;
}

static u32 stub_number(Golden *g, u64 address) {
    for (u32 i = 0; i < g->stubs; i++)
        if (g->stub[i] == address) return i + 1;
    if (g->stubs == MAX_STUBS) die("more than %d stubs", MAX_STUBS);
    g->stub[g->stubs++] = address;
    return g->stubs;
}

// ---- host code ---------------------------------------------------------------------------------------
static void host_addresses(Golden *g, u32 from, u32 to) {
    for (u32 i = from; i < to; i++) {
        char *end;
        u64 a = strtoull(g->dump.at[i], &end, 16);
        if (*end == ':') g->address[i] = a;
    }
    for (u32 i = from; i < to; i++)
        for (const char *p = strchr(g->dump.at[i], ':'); p && (p = strstr(p, "0x")); p += 2) {
            u32 target = line_at(g, strtoull(p, NULL, 16));
            if (target != ~0u) g->label[target] = 1;
        }
    u32 n = 0;
    for (u32 i = from; i < to; i++)
        if (g->label[i]) g->label[i] = ++n;
}

static const char *field_name(u32 offset) {
    static const struct { u32 offset; const char *name; } fields[] = {
        { offsetof(Cpu, flag_op), "flag_op" }, { offsetof(Cpu, flag_a), "flag_a" },
        { offsetof(Cpu, flag_b), "flag_b" }, { offsetof(Cpu, flag_c), "flag_c" },
    };
    for (u32 i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].offset == offset) return fields[i].name;
    return lift_env_name(offset);
}

// One operand number at p ("0x..."), printed in its lasting form.
static const char *host_number(Golden *g, u32 first, const char *p, FILE *out) {
    char *end;
    u64 value = strtoull(p, &end, 16);
    u32 target = line_at(g, value);
    const char *field = strncmp(end, "(%r14)", 6) || p[-1] == '-' ? NULL : field_name((u32)value);
    if (target != ~0u) fprintf(out, "L%u", g->label[target]);
    else if (is_near(g, first, value)) fprintf(out, "stub%u", stub_number(g, value));
    else if (value > 0xffffffff && value < 0xffffffff00000000) fprintf(out, "address");
    else if (field) fprintf(out, "%s", field);
    else fprintf(out, "%.*s", (int)(end - p), p);
    return end;
}

static void host_line(Golden *g, u32 first, u32 i, FILE *out) {
    if (g->label[i]) fprintf(out, "L%u:\n", g->label[i]);
    const char *p = strchr(g->dump.at[i], ':') + 1;
    while (*p == ' ') p++;
    fprintf(out, "    ");
    while (*p) {
        if (p[0] == '0' && p[1] == 'x' && !isalnum((unsigned char)p[-1])) p = host_number(g, first, p, out);
        else fputc(*p++, out);
    }
    fputc('\n', out);
}

// ---- the two files -----------------------------------------------------------------------------------
static u32 count_lines(const Golden *g, u32 from, u32 to, bool host, const char *but) {
    u32 n = 0;
    for (u32 i = from; i < to; i++)
        n += host ? g->address[i] != 0 : strncmp(g->dump.at[i], but, strlen(but)) != 0;
    return n;
}

static FILE *create(const char *out, const char *ending) {
    char *path;
    if (asprintf(&path, "%s%s", out, ending) < 0) die("no memory");
    FILE *f = fopen(path, "w");
    if (!f) die("%s: %s", path, strerror(errno));
    free(path);
    return f;
}

static void write_ir(Golden *g, const char *out) {
    u32 in = find_line(&g->dump, "IN:"), in_end = section_end(&g->dump, in);
    u32 op = find_line(&g->dump, "OP after"), op_end = section_end(&g->dump, op);
    FILE *f = create(out, ".ir");
    fprintf(f, "; %u guest instructions, %u IR operations\n", in_end - in - 1,
            count_lines(g, op + 1, op_end, false, " ---- ") - 1);        // the last line is the end mark
    for (u32 i = in + 1; i < in_end; i++) fprintf(f, "; %s\n", g->dump.at[i]);
    for (u32 i = op + 1; i < op_end; i++) fprintf(f, "%s\n", g->dump.at[i]);
    fclose(f);
}

// "cold+0x0018: op 0x1 ..." without the offset, which says nothing that the code does not.
static void restore_line(const char *line, FILE *out) {
    const char *rest = strchr(line, ':');
    fprintf(out, "; restore %.*s%s\n", (int)strcspn(line, " +"), line, rest ? rest : "");
}

static void write_x64(Golden *g, const char *out) {
    u32 host = find_line(&g->dump, "OUT:"), host_end = section_end(&g->dump, host), cold = host_end, late = host_end;
    u32 map = find_line(&g->dump, "RESTORE MAP");
    for (u32 i = host_end; i-- > host;) {
        if (strstr(g->dump.at[i], "-- late --")) cold = late = i;
        if (strstr(g->dump.at[i], "-- cold --")) cold = i;
    }
    host_addresses(g, host + 1, host_end);
    FILE *f = create(out, ".x64");
    fprintf(f, "; host instructions: %u hot, %u cold, %u late%s\n", count_lines(g, host + 1, cold, true, ""),
            count_lines(g, cold, late, true, ""), count_lines(g, late, host_end, true, ""),
            strchr(g->dump.at[host], ']') + 1);
    for (u32 i = host + 1; i < host_end; i++)
        if (g->address[i]) host_line(g, host + 1, i, f);
        else fprintf(f, "; %s\n", i == late ? "late" : "cold");
    for (u32 i = map + 1; i < section_end(&g->dump, map); i++) restore_line(g->dump.at[i], f);
    fclose(f);
}

int main(int argc, char **argv) {
    if (argc != 4) die("usage: golden CASE.s CASE.bin OUT");
    u32 mode = mode_of(argv[1]), count;
    char *bytes = read_all(argv[2], &count), *text = NULL;
    size_t text_bytes = 0;
    FILE *dump = open_memstream(&text, &text_bytes);
    if (!jit_dump_bytes((const u8 *)bytes, 0, count, GOLDEN_EIP, mode, dump)) die("%s: no code", argv[1]);
    fclose(dump);
    Golden g = { .dump = lines_of(text) };
    g.address = calloc(g.dump.count, sizeof *g.address);
    g.label = calloc(g.dump.count, sizeof *g.label);
    write_ir(&g, argv[3]);
    write_x64(&g, argv[3]);
    free(g.address), free(g.label), free(g.dump.at), free(text), free(bytes);
    return 0;
}
