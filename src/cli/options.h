// SPDX-License-Identifier: MIT
// The command line as a value. Parsing opens, prints and changes nothing but what it is given.
//
//     Options o;
//     options_init(&o, stdout, stderr);
//     switch (options_parse(&o, argc - 1, argv + 1)) {
//     case OPTIONS_RUN: ...  case OPTIONS_DONE: ...  case OPTIONS_BAD: fail(o.error);
//     }
//     options_free(&o);
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/arena.h"
#include "pc/machine.h"

#define OPTIONS_MONITORS 4u
#define OPTIONS_CHARDEVS 16u
#define OPTIONS_DRIVES 16u

typedef enum OptionsResult { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_BAD } OptionsResult;
typedef enum DisplayKind { DISPLAY_DEFAULT, DISPLAY_NONE, DISPLAY_TERM, DISPLAY_VNC } DisplayKind;

typedef struct OptionDebugcon { u16 port; const char *spec; } OptionDebugcon;
typedef struct OptionChardev { const char *id, *spec; } OptionChardev;
typedef struct OptionDrive { const char *id; PcDrive drive; } OptionDrive;     // if=none

typedef struct Options {
    Arena *arena;                          // all strings made while parsing
    FILE *out, *warnings;
    char *error;                           // OPTIONS_BAD: one line without the program's name

    MachineConfig machine;                 // character outputs are set by who runs it
    const char *serial[PC_SERIALS];        // specification; NULL: not given
    unsigned serial_count;
    const char *monitor[OPTIONS_MONITORS];
    unsigned monitor_count;
    OptionDebugcon debugcon[PC_DEBUGCONS];
    unsigned debugcon_count;
    u16 debugcon_port;                     // where the next -debugcon goes
    OptionChardev chardev[OPTIONS_CHARDEVS];
    unsigned chardev_count;
    OptionDrive spare[OPTIONS_DRIVES];     // if=none, waiting for -device
    unsigned spare_count;
    DisplayKind display;
    const char *vnc;
    bool drives_placed;                    // -device put a drive on the IDE bus
    bool nographic, nodefaults, lab;       // lab: nothing was given to boot, so the lab does
    bool rtc_localtime;
    i64 rtc_base;                          // -1: now
    const char *firmware_dir;
    const char *gdb;                       // where the gdb server listens; NULL: nowhere
    const char *log_items, *log_file, *log_filter, *pidfile;
    double timeout_s;                      // 0: none
    u64 warned[4];                         // bit n: row n of options.def has had its warning
} Options;

void options_init(Options *o, FILE *out, FILE *warnings);
OptionsResult options_parse(Options *o, int count, char *const *words);
void options_free(Options *o);
void options_help(FILE *out);

// ---- for the handlers --------------------------------------------------------------------------
// A handler gives false and sets *err (malloc'ed, without the option's name) for a bad value.
// DONE: what was asked for has been printed.
typedef enum OptionStatus { OPTION_OK, OPTION_BAD, OPTION_DONE } OptionStatus;
typedef OptionStatus (*OptionHandler)(Options *o, const char *arg, char **err);

char *options_text(Options *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void options_warn(Options *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
OptionStatus option_bad(char **err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define KEYS_MAX 32
typedef struct Keys {          // "value,key=value,flag": in order
    struct { const char *key, *value; bool taken; } row[KEYS_MAX];
    unsigned count;
} Keys;
// `first`: the key of a first word without '='; NULL: it has none. A later one is "on" ("nokey": "off").
bool keys_parse(Options *o, const char *text, const char *first, Keys *keys, char **err);
const char *keys_take(Keys *keys, const char *key);         // NULL: not there; the last one counts
// Is anything left? Then false, and *err names it and says what is known ("index, file, ...").
bool keys_end(const Keys *keys, const char *known, char **err);
void keys_ignore(Keys *keys, const char *list);             // "cache aio id"

bool option_number(const char *text, u64 lowest, u64 highest, u64 *value, char **err);
bool option_size(const char *text, u64 unit, u64 *bytes, char **err);          // suffixes b k M G T
bool option_switch(const char *text, bool *value, char **err);                 // on|off
bool option_is_help(const char *text);                                         // help or ?
// The word of a list (ends with NULL) that looks most like `word`; NULL: none does.
const char *option_similar(const char *word, const char *const *list);

#define H(title)
#define O(name, shape, argument, help, handler) \
    OptionStatus option_##handler(Options *o, const char *arg, char **err);
#define L(name, shape, why)
#define N(name, shape, why)
#include "cli/options.def"
#undef H
#undef O
#undef L
#undef N

// After the last option: what depends on several. False: o->error.
bool options_settle(Options *o);

#endif
