// SPDX-License-Identifier: MIT
// The grammar of the command line, -help, and the small values that handlers read.
//
// One dash or two; "-opt=value" is no form of it (QEMU's is not either), but "--opt value" is. Only an
// option that may do without a value (shape MAYBE) takes it behind a "=", or as a next word like 1/64.
#define _GNU_SOURCE          // vasprintf
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum OptionShape { NONE, ARG, MAYBE };
enum OptionKind { OPTION_HEADING, OPTION_REAL, OPTION_IGNORED, OPTION_REFUSED };

typedef struct OptionRow {
    u8 kind, shape;
    const char *name, *argument, *help;    // help: the reason, for the last two kinds
    OptionHandler handler;
} OptionRow;

static const OptionRow option_rows[] = {
#define H(title) { OPTION_HEADING, NONE, NULL, NULL, title, NULL },
#define O(name, shape, argument, help, handler) \
    { OPTION_REAL, shape, name, argument, help, option_##handler },
#define L(name, shape, why) { OPTION_IGNORED, shape, name, "", why, NULL },
#define N(name, shape, why) { OPTION_REFUSED, shape, name, "", why, NULL },
#include "cli/options.def"
#undef H
#undef O
#undef L
#undef N
};

_Static_assert(ARRAY_LEN(option_rows) <= 64 * ARRAY_LEN(((Options *)0)->warned), "Options.warned");

// ---- messages -----------------------------------------------------------------------------------

char *options_text(Options *o, const char *fmt, ...) {
    char *made = NULL;
    va_list ap;
    va_start(ap, fmt);
    require(vasprintf(&made, fmt, ap) >= 0);
    va_end(ap);
    size_t bytes = strlen(made) + 1;
    char *text = memcpy(arena_alloc(o->arena, bytes), made, bytes);
    free(made);
    return text;
}

void options_warn(Options *o, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fprintf(o->warnings, "glassbox: warning: ");
    vfprintf(o->warnings, fmt, ap);
    fprintf(o->warnings, "\n");
    va_end(ap);
}

OptionStatus option_bad(char **err, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    require(vasprintf(err, fmt, ap) >= 0);
    va_end(ap);
    return OPTION_BAD;
}

// ---- words that look alike ----------------------------------------------------------------------

enum { SIMILAR_MAX = 40 };

// How many letters must be changed, added, dropped or exchanged with their neighbour.
static unsigned similar_distance(const char *a, const char *b) {
    size_t na = strlen(a), nb = strlen(b);
    if (na > SIMILAR_MAX || nb > SIMILAR_MAX) return SIMILAR_MAX;
    unsigned d[SIMILAR_MAX + 1][SIMILAR_MAX + 1];
    for (size_t i = 0; i <= na; i++) d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= nb; j++) d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        for (size_t j = 1; j <= nb; j++) {
            unsigned change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = min_u32(change, min_u32(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = min_u32(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[na][nb];
}

// Worth a question? A word of up to three letters may differ in one place, longer ones in a third.
static bool similar_enough(const char *word, unsigned distance) {
    size_t n = strlen(word);
    return distance <= (n <= 3 ? 1 : n / 3) && distance < n;
}

const char *option_similar(const char *word, const char *const *list) {
    const char *best = NULL;
    unsigned least = SIMILAR_MAX;
    for (; *list; list++) {
        unsigned distance = similar_distance(word, *list);
        if (distance < least) least = distance, best = *list;
    }
    return best && similar_enough(word, least) ? best : NULL;
}

// ---- small values -------------------------------------------------------------------------------

bool option_is_help(const char *text) { return !strcmp(text, "help") || !strcmp(text, "?"); }

bool option_number(const char *text, u64 lowest, u64 highest, u64 *value, char **err) {
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 0);
    if (isdigit((unsigned char)*text) && !*end && !errno && *value >= lowest && *value <= highest)
        return true;
    option_bad(err, "'%s' is not a number from %llu to %llu", text, (unsigned long long)lowest,
               (unsigned long long)highest);
    return false;
}

bool option_size(const char *text, u64 unit, u64 *bytes, char **err) {
    static const char suffixes[] = "bkmgt";
    char *end;
    double value = strtod(text, &end);
    bool ok = (isdigit((unsigned char)*text) || *text == '.') && end != text && value >= 0;
    double scale = (double)unit;
    if (ok && *end) {
        const char *at = strchr(suffixes, tolower((unsigned char)*end));
        ok = at && !end[1];
        if (ok) scale = (double)(1ull << 10 * (at - suffixes));
    }
    if (ok && value * scale < 1e18) {
        *bytes = (u64)(value * scale);
        return true;
    }
    option_bad(err, "'%s' is not a size (a number, with suffix k, M or G if you like)", text);
    return false;
}

bool option_switch(const char *text, bool *value, char **err) {
    static const char *const on[] = { "on", "yes", "true", "y" };
    static const char *const off[] = { "off", "no", "false", "n" };
    for (unsigned i = 0; i < ARRAY_LEN(on); i++) {
        if (strcmp(text, on[i]) && strcmp(text, off[i])) continue;
        *value = !strcmp(text, on[i]);
        return true;
    }
    option_bad(err, "'%s' is neither on nor off", text);
    return false;
}

// ---- key=value lists ----------------------------------------------------------------------------

// One word up to a single comma; two stand for one. *at moves behind it.
static char *keys_word(Options *o, const char **at) {
    char *word = arena_alloc(o->arena, strlen(*at) + 1);
    size_t n = 0;
    for (; **at && (**at != ',' || (*at)[1] == ','); (*at)++) {
        *at += **at == ',';
        word[n++] = **at;
    }
    *at += **at == ',';
    word[n] = 0;
    return word;
}

bool keys_parse(Options *o, const char *text, const char *first, Keys *keys, char **err) {
    keys->count = 0;
    for (const char *at = text; *at;) {
        char *word = keys_word(o, &at), *equal = strchr(word, '=');
        const char *key = word, *value = "on";
        if (!*word) continue;
        if (keys->count == KEYS_MAX) {
            option_bad(err, "too many values");
            return false;
        }
        if (equal) *equal = 0, value = equal + 1;
        else if (!keys->count && first) key = first, value = word;
        else if (!strncmp(word, "no", 2) && word[2]) key = word + 2, value = "off";
        keys->row[keys->count].key = key;
        keys->row[keys->count].value = value;
        keys->row[keys->count++].taken = false;
    }
    return true;
}

const char *keys_take(Keys *keys, const char *key) {
    const char *value = NULL;
    for (unsigned i = 0; i < keys->count; i++) {
        if (strcmp(keys->row[i].key, key)) continue;
        keys->row[i].taken = true;
        value = keys->row[i].value;
    }
    return value;
}

void keys_ignore(Keys *keys, const char *list) {
    char word[SIMILAR_MAX + 1];
    for (int used; sscanf(list, "%40s%n", word, &used) == 1; list += used) keys_take(keys, word);
}

bool keys_end(const Keys *keys, const char *known, char **err) {
    for (unsigned i = 0; i < keys->count; i++) {
        if (keys->row[i].taken) continue;
        option_bad(err, "unknown key '%s' (known: %s)", keys->row[i].key, known);
        return false;
    }
    return true;
}

// ---- help ---------------------------------------------------------------------------------------

enum { HELP_COLUMN = 16 };

static void help_row(const OptionRow *row, FILE *out) {
    const char *gap = *row->argument && row->shape != MAYBE ? " " : "";
    int n = fprintf(out, "-%s%s%s", row->name, gap, row->argument);
    if (n >= HELP_COLUMN) {
        fprintf(out, "\n");
        n = 0;
    }
    for (const char *at = row->help; *at;) {
        int length = (int)strcspn(at, "\n");
        fprintf(out, "%*s%.*s\n", HELP_COLUMN - n, "", length, at);
        at += length + (at[length] == '\n');
        n = 0;
    }
}

void options_help(FILE *out) {
    fprintf(out,
            "glassbox " GLASSBOX_VERSION ": an i386 PC by dynamic translation\n"
            "usage: glassbox [options] [image]       runs a machine; without arguments the lab\n"
            "       glassbox dump --bytes '01 d8'    every stage of a translation (dump --help)\n"
            "       glassbox tour                    the story of one page fault\n");
    for (unsigned i = 0; i < ARRAY_LEN(option_rows); i++) {
        const OptionRow *row = &option_rows[i];
        if (row->kind == OPTION_HEADING) fprintf(out, "\n%s\n", row->help);
        if (row->kind == OPTION_REAL && row->help) help_row(row, out);
    }
    fprintf(out, "\nExit status: 0 power-off or quit, 1 error at start, 70 triple fault (-no-reboot), "
                 "76 hung,\n78 -check or -restore check: a difference, 80 internal error, 124 -timeout; "
                 "odd: isa-debug-exit.\nCtrl-a h tells the keys of -nographic and mon:stdio. "
                 "Unknown to QEMU's users are only\n-timeout, -restore, -check, -perfmap, dump and tour.\n");
}

OptionStatus option_help(Options *o, const char *arg, char **err) {
    (void)arg, (void)err;
    options_help(o->out);
    return OPTION_DONE;
}

OptionStatus option_version(Options *o, const char *arg, char **err) {
    (void)arg, (void)err;
    fprintf(o->out, "glassbox version " GLASSBOX_VERSION "\n");
    return OPTION_DONE;
}

// ---- parsing ------------------------------------------------------------------------------------

void options_init(Options *o, FILE *out, FILE *warnings) {
    *o = (Options){ .arena = arena_new(4096), .out = out, .warnings = warnings, .rtc_base = -1,
                    .debugcon_port = 0xe9 };
    o->machine.ram_bytes = 128u << 20;
}

void options_free(Options *o) {
    arena_free(o->arena);
    free(o->error);
}

static const OptionRow *options_find(const char *name) {
    for (unsigned i = 0; i < ARRAY_LEN(option_rows); i++)
        if (option_rows[i].name && !strcmp(option_rows[i].name, name)) return &option_rows[i];
    return NULL;
}

// "name=value" of an option that may have a value.
static const OptionRow *options_find_maybe(Options *o, const char *text, const char **value) {
    const char *equal = strchr(text, '=');
    if (!equal) return NULL;
    const OptionRow *row = options_find(options_text(o, "%.*s", (int)(equal - text), text));
    if (!row || row->shape != MAYBE) return NULL;
    *value = equal + 1;
    return row;
}

static bool options_is_ratio(const char *word) {
    size_t digits = strspn(word, "0123456789");
    return digits && word[digits] == '/';
}

static OptionStatus options_unknown(const char *word, char **err) {
    const char *names[ARRAY_LEN(option_rows) + 1];
    unsigned n = 0;
    for (unsigned i = 0; i < ARRAY_LEN(option_rows); i++)
        if (option_rows[i].name) names[n++] = option_rows[i].name;
    names[n] = NULL;
    const char *name = word + strspn(word, "-"), *similar = option_similar(name, names);
    if (similar) return option_bad(err, "%s: unknown option; did you mean -%s?", word, similar);
    return option_bad(err, "%s: unknown option; -help lists them", word);
}

static OptionStatus options_apply(Options *o, const OptionRow *row, const char *arg, char **err) {
    char *why = NULL;
    OptionStatus status = OPTION_OK;
    if (row->kind == OPTION_REFUSED) return option_bad(err, "-%s: %s", row->name, row->help);
    if (row->kind == OPTION_IGNORED) {
        size_t n = (size_t)(row - option_rows);
        if (row->help && !(o->warned[n / 64] >> n % 64 & 1))
            options_warn(o, "-%s is ignored: %s", row->name, row->help);
        o->warned[n / 64] |= 1ull << n % 64;
        return OPTION_OK;
    }
    status = row->handler(o, arg, &why);
    if (status == OPTION_BAD) option_bad(err, "-%s: %s", row->name, why);
    free(why);
    return status;
}

static OptionStatus options_word(Options *o, int count, char *const *words, int *i, char **err) {
    const char *word = words[*i];
    char *why = NULL;
    if (word[0] != '-' || !word[1]) {
        OptionStatus status = option_hda(o, word, &why);
        if (status == OPTION_BAD) option_bad(err, "%s: %s", word, why);
        free(why);
        return status;
    }
    const char *name = word + (word[1] == '-' ? 2 : 1), *value = NULL;
    const OptionRow *row = options_find(name);
    if (!row) row = options_find_maybe(o, name, &value);
    if (!row) return options_unknown(word, err);
    if (row->shape == MAYBE) {
        if (!value && *i + 1 < count && options_is_ratio(words[*i + 1])) value = words[++*i];
        return options_apply(o, row, value, err);
    }
    if (row->shape == NONE) return options_apply(o, row, NULL, err);
    if (*i + 1 >= count) return option_bad(err, "-%s: a value is missing (-help shows it)", row->name);
    return options_apply(o, row, words[++*i], err);
}

OptionsResult options_parse(Options *o, int count, char *const *words) {
    for (int i = 0; i < count; i++) {
        switch (options_word(o, count, words, &i, &o->error)) {
        case OPTION_OK: break;
        case OPTION_BAD: return OPTIONS_BAD;
        case OPTION_DONE: return OPTIONS_DONE;
        }
    }
    return options_settle(o) ? OPTIONS_RUN : OPTIONS_BAD;
}
