// SPDX-License-Identifier: MIT
// The inside of the monitor.
//   monitor.c         the line, its history, dispatch, help
//   monitor_run.c     commands that run, end, feed and change the machine
//   monitor_info.c    info
//   monitor_memory.c  expressions, x xp p i o sum, memsave and the like
#ifndef UI_MONITOR_INT_H
#define UI_MONITOR_INT_H

#include "ui/monitor.h"

#define MONITOR_LINE_BYTES 1024
#define MONITOR_HISTORY 32
#define MONITOR_KEYS 1024

typedef struct MonitorKey { u16 code; bool down; u32 wait_ms; } MonitorKey;   // wait: after it

struct Monitor {
    Machine *m;
    Chardev *dev;
    bool greeted;              // the far end has had the banner
    char line[MONITOR_LINE_BYTES];
    unsigned length;
    bool after_cr;             // a line feed belongs to the carriage return before it
    u8 escape;                 // inside an escape sequence: 1 after ESC, 2 after ESC [
    char *history[MONITOR_HISTORY];    // oldest first
    unsigned history_count, history_at;
    // keys of sendkey on their way to the guest
    Timer *key_timer;
    MonitorKey keys[MONITOR_KEYS];
    unsigned key_head, key_count;
    unsigned mouse_buttons;    // KBD_BUTTON_*
    struct Gdb *gdb;           // NULL: there is none
};

// A command gets what follows its name.
typedef void (*MonitorFn)(Monitor *mon, const char *args, FILE *out);

typedef struct MonitorRow {
    const char *name;          // "c|cont"
    const char *args, *help;
    MonitorFn run;
} MonitorRow;

extern const MonitorRow monitor_rows[], monitor_info_rows[];   // end with a NULL name
const MonitorRow *monitor_find(const MonitorRow *rows, const char *name, size_t length);
void monitor_list(const MonitorRow *rows, const char *prefix, FILE *out);

// Takes the next word of *args (a quoted one too) into `word`. False: there is none.
bool monitor_word(const char **args, char *word, size_t word_bytes);
// Takes an expression. False: *args is not one; `out` has the message.
bool monitor_expr(Monitor *mon, const char **args, u64 *value, FILE *out);

void monitor_key_fire(void *mon);

#define C(name) void monitor_do_##name(Monitor *mon, const char *args, FILE *out);
C(help) C(quit) C(stop) C(cont) C(reset) C(powerdown) C(sendkey) C(mouse_move) C(mouse_button)
C(nmi) C(eject) C(change) C(screendump) C(log) C(logfile) C(boot_set) C(commit) C(singlestep)
C(snapshots) C(gdbserver)
C(info) C(x) C(xp) C(print) C(in) C(out) C(sum) C(gva2gpa) C(memsave) C(pmemsave)
#undef C

#endif
