// SPDX-License-Identifier: MIT
// glassbox tour: boots the lab, types `fault`, and tells what happened to one store from the guest's
// instruction to host code, from the fault back to the guest, and on to the instruction's second try.
//
// Rules
//  1. Every number comes from the run: from the callbacks, the code cache, guest memory, or the
//     guest's own words. Nothing waits for the wall clock; time is the instruction count.
//  2. What is gone later (the fault's state, the tables before the page is served) is written down
//     when it happens; the story is printed at the end.
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/run.h"
#include "cli/watch.h"
#include "pc/lab.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TOUR_LINE = 160, TOUR_LINES = 24, TOUR_FRAME = 6, TOUR_BEFORE = 6, TOUR_ICOUNT_SHIFT = 3 };

#define TOUR_PROMPT "lab> "
#define TOUR_COMMAND "fault\r"
#define TOUR_RETURNING "page fault: returning"
#define TOUR_TIMEOUT_S 60.0

typedef enum TourState { TOUR_BOOTING, TOUR_TYPING, TOUR_FAULTED, TOUR_SERVED, TOUR_DONE } TourState;

typedef struct TourWalk { u32 pde_at, pde, pte_at, pte; } TourWalk;     // pte_at 0: no page table

typedef struct Tour {
    Machine *m;
    Log log;
    TourState state;
    BusEvent type_event;                   // types, outside the guest's OUT
    const char *typed;                     // what is left to type
    char line[TOUR_LINE];                  // the serial port's present line
    unsigned length;
    char *said[TOUR_LINES];                // the guest's lines since the command
    unsigned said_count;
    u32 function;                          // put_fs_byte, as the guest announces it; 0: not yet

    // at the fault
    JitFaultInfo fault;
    JitBlockInfo block;
    JitRecord table, again;
    bool same, found_table, found_again;
    u64 insns;
    u32 regs[8], eflags, cr3, fs, fs_base, fs_limit, cs, mode;
    char *stage[5];                        // by JitStage: text
    TourWalk before;
    u64 gate;                              // the IDT's entry
    u32 gate_at;
    // when the guest says that it returns
    TourWalk after;
    u32 frame_at, frame[TOUR_FRAME];       // what the processor pushed: error eip cs eflags esp ss
    // after it
    bool retried;
    JitBlockInfo retry;                    // the block that begins with the instruction
    unsigned faults_there;                 // faults at that instruction in all
} Tour;

// ---- what happens in the machine ----------------------------------------------------------------

static u32 tour_phys(Tour *t, u32 addr) { return bus_read(t->m->bus, phy(addr), 4); }

static TourWalk tour_walk(Tour *t, u32 addr) {
    TourWalk w = { .pde_at = (t->cr3 & PAGE_MASK) + (addr >> 22) * 4 };
    w.pde = tour_phys(t, w.pde_at);
    if (!(w.pde & 1)) return w;
    w.pte_at = (w.pde & PAGE_MASK) + (addr >> 12 & 0x3ff) * 4;
    w.pte = tour_phys(t, w.pte_at);
    return w;
}

static void tour_keep_stages(Tour *t, const u8 *host_pc) {
    for (unsigned s = 0; s < ARRAY_LEN(t->stage); s++) {
        size_t bytes;
        FILE *f = open_memstream(&t->stage[s], &bytes);
        require(f);
        jit_print_stage(t->m->jit, host_pc, (JitStage)s, f);
        fclose(f);
    }
}

static void tour_keep_fault(Tour *t, const JitFaultInfo *info) {
    Cpu *cpu = t->m->cpu;
    t->fault = *info;
    t->insns = jit_insns(t->m->jit);
    memcpy(t->regs, cpu->regs, sizeof t->regs);
    t->eflags = cpu_flags(cpu);
    t->cr3 = cpu->cr3;
    t->mode = cpu->mode;
    t->cs = cpu->seg[CPU_CS].selector;
    t->fs = cpu->seg[CPU_FS].selector;
    t->fs_base = cpu->seg[CPU_FS].base;
    t->fs_limit = cpu->seg[CPU_FS].limit;
    t->before = tour_walk(t, info->cr2);
    t->gate_at = cpu->idtr.base + 8u * info->vector;
    cpu_debug_read(cpu, lin(t->gate_at), &t->gate, sizeof t->gate);
    u32 stack = 0;
    cpu_debug_read(cpu, lin(cpu->tr.base + 4), &stack, sizeof stack);      // esp0 of the task state
    t->frame_at = stack - (u32)sizeof t->frame;
}

static void tour_on_fault(void *self, const JitFaultInfo *info) {
    Tour *t = self;
    if (t->state == TOUR_FAULTED || t->state == TOUR_SERVED) t->faults_there += info->eip == t->fault.eip;
    if (t->state != TOUR_TYPING || info->vector != VEC_PF || info->block_eip != t->function) return;
    if (!jit_block_at(t->m->jit, info->host_pc, &t->block)) return;
    tour_keep_fault(t, info);
    tour_keep_stages(t, info->host_pc);
    t->found_table = jit_record(t->m->jit, info->host_pc, JIT_RESTORE_TABLE, &t->table);
    t->found_again = jit_record(t->m->jit, info->host_pc, JIT_RESTORE_RETRANSLATE, &t->again);
    t->faults_there = 1;
    t->state = TOUR_FAULTED;
}

static void tour_on_block(void *self, const JitBlockInfo *info) {
    Tour *t = self;
    if (t->state != TOUR_SERVED || info->eip != t->fault.eip || t->retried) return;
    t->retried = true;
    t->retry = *info;
}

// ---- the serial line ----------------------------------------------------------------------------

static void tour_feed(void *self) {
    Tour *t = self;
    Uart *uart = t->m->pc->serial[0];
    while (t->typed && *t->typed && uart_can_receive(uart)) uart_receive(uart, (u8)*t->typed++);
}

static void tour_type(BusEvent *ev) {
    Tour *t = (Tour *)((char *)ev - offsetof(Tour, type_event));
    t->typed = TOUR_COMMAND;
    uart_on_ready(t->m->pc->serial[0], tour_feed, t);
    tour_feed(t);
}

static void tour_on_line(Tour *t) {
    if (t->state == TOUR_BOOTING) return;
    const char *announced = strstr(t->line, "put_fs_byte (0x");
    if (!t->function && announced) sscanf(announced, "put_fs_byte (%x)", &t->function);
    if (t->said_count < TOUR_LINES && t->length) t->said[t->said_count++] = mem_strdup(t->line);
    if (t->state != TOUR_FAULTED || strncmp(t->line, TOUR_RETURNING, strlen(TOUR_RETURNING))) return;
    t->after = tour_walk(t, t->fault.cr2);
    cpu_debug_read(t->m->cpu, lin(t->frame_at), t->frame, sizeof t->frame);
    t->state = TOUR_SERVED;
}

// A prompt: the first one is answered, the next one ends the run.
static void tour_on_prompt(Tour *t) {
    if (t->state == TOUR_BOOTING) {
        t->state = TOUR_TYPING;
        if (t->log.file != stderr)
            t->log.mask = LOG(IN_ASM) | LOG(OP) | LOG(OP_OPT) | LOG(OUT_ASM) | LOG(RESTORE) | LOG(INT);
        t->type_event.run = tour_type;
        bus_post(t->m->bus, &t->type_event);
    } else {
        if (t->state == TOUR_SERVED) t->state = TOUR_DONE;
        bus_request_exit(t->m->bus, 0);
    }
}

static void tour_put(void *self, u8 byte) {
    Tour *t = self;
    if (byte == '\r') return;
    if (byte == '\n') {
        t->line[t->length] = 0;
        tour_on_line(t);
        t->length = 0;
    } else if (t->length + 1 < TOUR_LINE) {
        t->line[t->length++] = (char)byte;
        t->line[t->length] = 0;
    }
    if (!strcmp(t->line, TOUR_PROMPT) && t->length == strlen(TOUR_PROMPT)) tour_on_prompt(t);
}

// ---- telling ------------------------------------------------------------------------------------

static void tour_head(unsigned n, const char *title, const char *log_item) {
    if (*log_item) printf("\n%u. %-76s %s\n", n, title, log_item);
    else printf("\n%u. %s\n", n, title);
}

// Prints the lines of `text`, each behind `mark` or a blank margin. A line is marked when it holds
// `at`; NULL: none.
static void tour_lines(const char *text, const char *at, const char *remark) {
    while (text && *text) {
        int n = (int)strcspn(text, "\n");
        char line[TOUR_LINE];
        snprintf(line, sizeof line, "%.*s", n, text);
        bool here = at && strstr(line, at);
        if (here && remark) printf(" => %-40s <- %s\n", line, remark);
        else if (n) printf("%s%s\n", here ? " => " : "    ", line);
        text += n + (text[n] == '\n');
    }
}

// Prints the lines of `text` that `other` does not have, each behind `sign`.
static void tour_lines_without(const char *text, const char *other, char sign) {
    while (*text) {
        int n = (int)strcspn(text, "\n");
        char line[TOUR_LINE];
        snprintf(line, sizeof line, "%.*s\n", n, text);
        if (!strstr(other, line)) printf("  %c %s", sign, line);
        text += n + (text[n] == '\n');
    }
}

static unsigned tour_count(const char *text) {
    unsigned n = 0;
    for (; (text = strchr(text, '\n')); text++) n++;
    return n;
}

// The start of the line of `text` that holds address `at`, or the last one that begins at or before it.
static const char *tour_line_at(const char *text, u64 at) {
    const char *best = NULL;
    for (const char *line = text; line && *line;) {
        u64 here = strtoull(line, NULL, 16);
        if (here > at) break;
        best = line;
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return best;
}

static void tour_print_some(const char *line, unsigned count, u64 marked) {
    for (; line && *line && count; count--) {
        int n = (int)strcspn(line, "\n");
        printf("%s%.*s\n", strtoull(line, NULL, 16) == marked ? " => " : "    ", n, line);
        line += n + (line[n] == '\n');
    }
}

// The last hot line that jumps to somewhere from `first` to `last`, and a few before it.
static const char *tour_jump_to(const char *text, u64 first, u64 last) {
    const char *before[TOUR_BEFORE + 1], *found = NULL;
    for (unsigned i = 0; i <= TOUR_BEFORE; i++) before[i] = text;
    for (const char *line = text; line && *line;) {
        const char *end = strchr(line, '\n'), *target = strstr(line, " 0x");
        memmove(before, before + 1, TOUR_BEFORE * sizeof *before);
        before[TOUR_BEFORE] = line;
        u64 to = target && end && target < end ? strtoull(target, NULL, 16) : 0;
        if (to >= first && to <= last) found = before[0];
        line = end ? end + 1 : NULL;
    }
    return found;
}

static void tour_tell_block(const Tour *t) {
    char title[100], at[16];
    snprintf(title, sizeof title, "The guest's block: %u instructions, %u bytes at 0x%08x", t->block.insns,
             t->block.bytes, t->block.eip);
    tour_head(1, title, "in_asm");
    snprintf(at, sizeof at, "0x%08x", t->fault.eip);
    tour_lines(t->stage[JIT_STAGE_IN], at, "this store will fault");
}

static void tour_tell_ir(const Tour *t) {
    const char *lifted = t->stage[JIT_STAGE_OP], *better = t->stage[JIT_STAGE_OP_OPT];
    char title[100], at[16];
    snprintf(at, sizeof at, "---- 0x%x", t->fault.eip);
    snprintf(title, sizeof title, "Lifted: what each instruction means (\"!\": flags written)");
    tour_head(2, title, "op");
    tour_lines(lifted, at, NULL);
    if (!strcmp(lifted, better)) {
        tour_head(3, "Optimised: nothing in this block can be left out", "op_opt");
        return;
    }
    snprintf(title, sizeof title, "Optimised: %u lines where there were %u", tour_count(better),
             tour_count(lifted));
    tour_head(3, title, "op_opt");
    tour_lines_without(lifted, better, '-');
    tour_lines_without(better, lifted, '+');
}

static void tour_tell_host(const Tour *t) {
    u64 pc = (u64)(uintptr_t)t->fault.host_pc;
    bool cold = t->table.cold;
    const char *text = t->stage[cold ? JIT_STAGE_COLD : JIT_STAGE_HOT];
    const char *line = tour_line_at(text, pc), *jump = NULL;
    u64 call = line ? strtoull(line, NULL, 16) : pc;
    char title[100];
    snprintf(title, sizeof title, "Host code: %u bytes at %p, %u more off the hot path",
             t->block.hot_bytes, (const void *)t->block.hot, t->block.cold_bytes);
    tour_head(4, title, "out_asm");
    u64 first = text ? strtoull(text, NULL, 16) : 0;
    if (cold) jump = tour_jump_to(t->stage[JIT_STAGE_HOT], first, call);
    if (jump) {
        printf("    the store: segment limit and base, then the table entry of its page;\n");
        tour_print_some(jump, TOUR_BEFORE + 2, 0);
        printf("    an entry that leads nowhere: the MMU is asked in C, and there the guest faults. This part was\n"
               "    made when the check failed for the first time:\n");
    }
    tour_print_some(line, jump ? 2 : 3, call);
}

static const char *tour_error_text(u32 error, char *text, size_t n) {
    snprintf(text, n, "ring %d %s, %s", error & 4 ? 3 : 0, error & 2 ? "write" : "read",
             error & 1 ? "not allowed" : "page not present");
    return text;
}

static void tour_tell_fault(const Tour *t) {
    char title[100];
    snprintf(title, sizeof title, "The fault, at guest instruction %" PRIu64, t->insns);
    tour_head(5, title, "int");
    printf("    segment:  fs=%04x, base %08x + edx %08x = linear %08x (limit %x: inside)\n", t->fs,
           t->fs_base, t->regs[CPU_EDX], t->fault.cr2, t->fs_limit);
    printf("    paging:   directory entry at %08x = %08x; table entry at %08x = %08x:\n", t->before.pde_at,
           t->before.pde, t->before.pte_at, t->before.pte);
    printf("              %s. Generated code was left at host pc %p,\n",
           t->before.pte & 1 ? "present" : "no page there", (const void *)t->fault.host_pc);
    printf("              %s. What did the guest do there?\n",
           t->table.cold ? "the last byte of the call" : "the instruction");
}

static void tour_tell_record(const char *way, const JitRecord *r) {
    printf("    %s %s+0x%x -> IR op 0x%x, instruction %u, eip %08x, flags %s\n", way,
           r->late ? "late" : r->cold ? "cold" : "hot", r->host, r->op, r->insn, r->eip, r->flags);
}

static bool tour_same(const JitRecord *a, const JitRecord *b) {
    return a->host == b->host && a->cold == b->cold && a->late == b->late && a->op == b->op && a->insn == b->insn &&
           a->eip == b->eip && a->charged == b->charged && !strcmp(a->flags, b->flags);
}

static void tour_tell_restore(const Tour *t) {
    unsigned probes = 0;
    for (u32 n = t->block.blocks; n; n /= 2) probes++;
    tour_head(6, "Back to the guest: host pc -> block -> instruction", "restore");
    printf("    (1) the blocks lie in order of their code: binary search among %u (%u steps at most)\n"
           "        finds number %u, guest block %08x\n", t->block.blocks, probes, t->block.index,
           t->block.eip);
    printf("    (2) its restore record, %u kept with the block; and by the article's way:\n",
           t->block.records);
    tour_tell_record("    table:      ", &t->table);
    tour_tell_record("    retranslate:", &t->again);
    printf("        %s\n", t->same ? "the same, as -restore check demands at every fault"
                                   : "THEY DIFFER: this is a bug in glassbox");
    printf("    (3) guest pc %08x. No register had to be put back: an instruction's checks come\n"
           "        before its first change, and each register lives in its host register:\n", t->fault.eip);
    printf("        EAX=%08x ECX=%08x EDX=%08x EBX=%08x\n"
           "        ESP=%08x EBP=%08x ESI=%08x EDI=%08x EFL=%08x\n", t->regs[0], t->regs[1],
           t->regs[2], t->regs[3], t->regs[4], t->regs[5], t->regs[6], t->regs[7], t->eflags);
}

static void tour_tell_delivery(const Tour *t) {
    char text[64];
    const u32 *f = t->frame;
    u32 handler = ((u32)t->gate & 0xffff) | ((u32)(t->gate >> 32) & 0xffff0000);
    tour_head(7, "The exception, as on the chip", "int");
    printf("    vector %02x, error code %x (%s), CR2=%08x\n", t->fault.vector, t->fault.error,
           tour_error_text(t->fault.error, text, sizeof text), t->fault.cr2);
    printf("    gate at %08x: %016" PRIx64 " -> handler %04x:%08x\n", t->gate_at, t->gate,
           (unsigned)(t->gate >> 16) & 0xffff, handler);
    printf("    pushed at %08x: error %x, eip %08x, cs %04x, eflags %08x, esp %08x, ss %04x\n",
           t->frame_at, f[0], f[1], f[2], f[3], f[4], f[5]);
}

static void tour_tell_end(const Tour *t) {
    char title[100];
    tour_head(8, "The kernel serves the page", "");
    printf("    table entry at %08x: %08x -> %08x, physical page %08x\n", t->after.pte_at, t->before.pte,
           t->after.pte, t->after.pte & PAGE_MASK);
    snprintf(title, sizeof title, "The instruction again, from its beginning");
    tour_head(9, title, "in_asm");
    if (t->retried)
        printf("    iret to %08x, where no block began: one of %u instructions is made, at %p\n",
               t->retry.eip, t->retry.insns, (const void *)t->retry.hot);
    printf("    faults at this instruction in all: %u\n", t->faults_there);
    tour_head(10, "What the guest saw of it", "");
    for (unsigned i = 0; i < t->said_count; i++) printf("    | %s\n", t->said[i]);
}

static void tour_tell(const Tour *t, const char *log_file) {
    printf("One page fault, from the guest's instruction to its handler and back.\n"
           "The lab (guest/lab) has booted from the floppy inside glassbox; `fault` was typed there.\n"
           "The function is Linux 0.11's put_fs_byte, byte for byte and at the same address.\n");
    if (log_file) printf("On the right: where %s shows it.\n", log_file);
    else printf("On the right: the log's item that shows it (tour --log FILE keeps the log of this run).\n");
    tour_tell_block(t);
    tour_tell_ir(t);
    tour_tell_host(t);
    tour_tell_fault(t);
    tour_tell_restore(t);
    tour_tell_delivery(t);
    tour_tell_end(t);
    printf("\nTry it: glassbox (Ctrl-a x ends), fault.  "
           "Any bytes: glassbox dump --bytes '64 88 02' --eip 0xe4d2\n");
}

// ---- the command --------------------------------------------------------------------------------

static bool tour_start(Tour *t, const char *log_file, char **err) {
    MachineConfig config = {
        .ram_bytes = 16u << 20,
        .jit = { .icount = true, .icount_shift = TOUR_ICOUNT_SHIFT, .no_reboot = true,
                 .no_follow = true },          // the function is a block of its own
        .pc = { .floppy = { { .blob = lab_floppy(), .blob_bytes = lab_floppy_bytes() } },
                .serial = { { true, { tour_put, t } } } },
    };
    if (log_file && !log_open(&t->log, log_file)) {
        *err = mem_printf("--log: cannot open '%s': %s", log_file, strerror(errno));
        return false;
    }
    t->m = machine_new(&config, &t->log, err);
    if (!t->m) return false;
    jit_on_fault(t->m->jit, tour_on_fault, t);
    jit_on_block(t->m->jit, tour_on_block, t);
    return true;
}

static void tour_free(Tour *t) {
    machine_free(t->m);
    for (unsigned i = 0; i < t->said_count; i++) free(t->said[i]);
    for (unsigned s = 0; s < ARRAY_LEN(t->stage); s++) free(t->stage[s]);
    log_close(&t->log);
}

static int tour_run(Tour *t, const char *log_file, char **err) {
    if (!tour_start(t, log_file, err)) return 1;
    watch_block_signals();
    Watch *watch = watch_start(t->m->bus, TOUR_TIMEOUT_S);
    int status = machine_run(t->m);
    watch_stop(watch);
    if (status) return status;
    t->same = t->found_table && t->found_again && tour_same(&t->table, &t->again);
    if (t->state == TOUR_DONE) tour_tell(t, log_file);
    else *err = mem_printf("the lab did not come to its page fault; its last line was '%s'", t->line);
    return t->state != TOUR_DONE ? 80 : t->same ? 0 : 78;
}

int command_tour(int count, char *const *words) {
    const char *log_file = NULL, *name = count ? words[0] + strspn(words[0], "-") : "";
    char *err = NULL;
    if (count == 2 && !strcmp(name, "log")) log_file = words[1];
    else if (count) {
        bool help = !strcmp(name, "help") || !strcmp(name, "h");
        fprintf(help ? stdout : stderr, "%susage: glassbox tour [--log FILE]\n",
                help ? "" : "glassbox: tour: ");
        return help ? 0 : 1;
    }
    Tour *t = mem_new(sizeof *t);
    log_init(&t->log);
    int status = tour_run(t, log_file, &err);
    if (err) fprintf(stderr, "glassbox: tour: %s\n", err);
    free(err);
    tour_free(t);
    free(t);
    return status;
}
