// SPDX-License-Identifier: MIT
// The log: what -d chooses, written to -D's file or stderr. Always compiled in, chosen at run time.
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/base.h"
#include <stdio.h>

// One row per item of -d: X(enumerator, name, description).
#define LOG_ITEMS(X) \
    X(OUT_ASM, "out_asm", "show generated host code for each block") \
    X(IN_ASM, "in_asm", "show guest code for each block") \
    X(OP, "op", "show the IR of each block as lifted") \
    X(OP_OPT, "op_opt", "show the IR after optimisation") \
    X(INT, "int", "show interrupts and exceptions") \
    X(EXEC, "exec", "show each block before it is executed (wants nochain)") \
    X(CPU, "cpu", "show CPU registers before each block (wants nochain)") \
    X(PCALL, "pcall", "show far calls, returns and task switches in protected mode") \
    X(CPU_RESET, "cpu_reset", "show CPU state before reset") \
    X(MMU, "mmu", "log MMU events") \
    X(UNIMP, "unimp", "log unimplemented functionality") \
    X(GUEST_ERRORS, "guest_errors", "log odd programming of devices by the guest") \
    X(PAGE, "page", "dump pages of translated code") \
    X(NOCHAIN, "nochain", "do not chain translated blocks") \
    X(TID, "tid", "one log file per thread: -D file.%d") \
    X(RESTORE, "restore", "show how the guest state was found for each fault in generated code") \
    X(CHECK, "check", "show what -check could not compare in full, and its totals at the end") \
    X(SMC, "smc", "show stores into translated code") \
    X(CHAIN, "chain", "show blocks being linked") \
    X(TLB, "tlb", "show fills and drops of the soft MMU") \
    X(IRQ, "irq", "show interrupt lines changing") \
    X(IO, "io", "show port accesses") \
    X(INT16, "int16", "show BIOS calls in real mode") \
    X(DMA, "dma", "show DMA transfers")

enum LogBit {
#define X(id, name, text) LOGBIT_##id,
    LOG_ITEMS(X)
#undef X
    LOGBIT_COUNT
};
#define LOG(id) (1u << LOGBIT_##id)      // mask of one item: log_on(log, LOG(INT))

typedef struct LogRange { u32 first, last; } LogRange;

typedef struct Log {
    u32 mask;                 // chosen items
    FILE *file;               // where to; never NULL after log_init
    LogRange *ranges;         // -dfilter: applies to items that have a pc; none = everything
    unsigned range_count;
} Log;

void log_init(Log *log);                                  // nothing chosen, stderr
void log_close(Log *log);
// Parses "in_asm,op,int" ("all" and "none" too). False: *bad is the unknown item (malloc'ed).
bool log_parse_items(Log *log, const char *items, char **bad);
// Opens FILE for writing (truncates). False: errno is set, the log goes on as before.
bool log_open(Log *log, const char *path);
// Adds ranges of -dfilter: "a..b", "a+len", "a-len", comma separated. False on a bad range.
bool log_parse_filter(Log *log, const char *text);
void log_list_items(FILE *out);                           // for -d help

static inline bool log_on(const Log *log, u32 mask) { return __builtin_expect(log->mask & mask, 0); }
bool log_pc_chosen(const Log *log, u32 pc);               // does -dfilter let this pc through?
void log_printf(Log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// One line "device: text" under guest_errors. Odd guest programming never stops the machine.
void log_guest_error(Log *log, const char *device, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
