// SPDX-License-Identifier: MIT
// The run loop: everything that happens between blocks.
//
//     outside events, requests, timers        once per quantum of instructions
//     interrupts, pending exceptions          before the next instruction
//     find block, enter, serve the exit       until the budget is used up
//
// Generated code polls one thing only: its budget. Whoever wants the loop's attention during a block
// (a device raising an interrupt line in a port access) takes the budget away (run_attention).
#define _GNU_SOURCE          // the names of registers in ucontext
#include "jit/check.h"

#include "cpu/helpers.h"
#include "cpu/mmu.h"
#include "lift/lift.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define RUN_QUANTUM 16384              // instructions between looks at timers and events,
#define RUN_QUANTUM_MOST 65536         // when no timer is due for long
#define RUN_INSN_NS 4                  // what an instruction is thought to take at most, on average
#define RUN_WOKEN 2048                 // the same when the guest slept in a loop (spin.c)
#define RUN_SLOW_PORT_NS 1000u         // -icount: what an ISA bus cycle takes beside its instruction
#define RUN_PAST_WINDOW 500            // accesses past the window before the page of one is looked at
#define RUN_UNGROUPS 24                // failed group checks before a block does without
#define RUN_SIGNAL_STACK_BYTES (64u << 10)

// The signal handler has no argument of ours: the thread's jit is found here. Set in jit_run only.
static _Thread_local Jit *run_thread_jit;

// ---- host signals ----------------------------------------------------------------------------------------
static const u8 run_greg[8] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_R15, REG_RBP, REG_RSI, REG_RDI };

static bool run_in_code(const Jit *jit, const u8 *pc) {
    return pc >= jit->hot_start && pc < jit->code + jit->code_bytes;
}

// SIGFPE in a block: the guest's #DE or x87 exception at exactly this instruction. The handler stores the
// guest's registers and goes on in the stub that leaves.
static void run_on_signal(int number, siginfo_t *info, void *context) {
    (void)info;
    Jit *jit = run_thread_jit;
    ucontext_t *uc = context;
    greg_t *g = uc->uc_mcontext.gregs;
    const u8 *pc = (const u8 *)(uintptr_t)g[REG_RIP];
    const void *landing = jit ? ir_host_landing(pc, jit->thunk) : NULL;
    if (landing) {                          // an instruction that eval runs
        g[REG_RAX] = g[REG_TRAPNO];
        g[REG_RIP] = (greg_t)(uintptr_t)landing;
        return;
    }
    if (!jit || !run_in_code(jit, pc)) {
        if (jit) sigaction(number, &jit->old_fpe, NULL);   // ours: come again, to whom it concerns
        else signal(number, SIG_DFL);
        return;
    }
    Cpu *cpu = jit->cpu;
    for (unsigned r = 0; r < 8; r++) cpu->regs[r] = (u32)g[run_greg[r]];
    cpu->jit_word[WORD_EXIT_PC] = (u64)g[REG_RIP];
    cpu->jit_word[WORD_EXIT_VALUE] = (u64)g[REG_TRAPNO];
    g[REG_RSP] = (greg_t)cpu->jit_word[WORD_HOST_SP];
    g[REG_RIP] = (greg_t)(uintptr_t)jit->signal_exit;
}

static void run_install_signals(Jit *jit) {
    stack_t stack = { .ss_sp = jit->signal_stack, .ss_size = RUN_SIGNAL_STACK_BYTES };
    sigaltstack(&stack, &jit->old_stack);
    struct sigaction sa = { .sa_sigaction = run_on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigemptyset(&sa.sa_mask);
    sigaction(SIGFPE, &sa, &jit->old_fpe);
    run_thread_jit = jit;
}

static void run_remove_signals(Jit *jit) {
    sigaction(SIGFPE, &jit->old_fpe, NULL);
    sigaltstack(&jit->old_stack, NULL);
    run_thread_jit = NULL;
}

// ---- life ------------------------------------------------------------------------------------------------
static void run_take(Cpu *cpu, i32 insns) {
    cpu->budget -= insns;
    cpu->budget_given -= insns;
}

static void run_attention(void *self) {
    Cpu *cpu = self;                       // an interrupt line rose inside a helper or slow access
    ((Jit *)cpu->jit)->slack = 0;
    if (cpu->budget > 0) run_take(cpu, cpu->budget);
}

static void run_hook_written(void *self, u32 ppn, u32 offset, u32 bytes) {
    smc_written(((Cpu *)self)->jit, ppn, offset, bytes);
}

static void run_set_hooks(Jit *jit) {
    BusHooks hooks = { .opaque = jit->cpu, .code_written = run_hook_written,
                       .map_changed = mmu_map_changed, .write_protect = mmu_write_protect,
                       .attention = run_attention, .table_written = mmu_note_table };
    bus_set_hooks(jit->bus, &hooks);
    jit->cpu->store_hits_code = smc_hits_running;
    jit->cpu->fpu_place = fpu_place_of_host;
    jit->cpu->jit = jit;
}

static u64 run_insns(void *self) { return jit_insns(self); }

// Programs wait by accesses of slow ports: for the next tick of the PIT, or between bytes to a chip.
static u64 run_icount_ns(void *self) {
    Jit *jit = self;
    u64 ports_ns = jit->cpu->slow_ports * RUN_SLOW_PORT_NS;
    return (jit_insns(jit) << jit->opt.icount_shift) + ports_ns + jit->skipped_ns;
}

Jit *jit_new(Cpu *cpu, Bus *bus, Log *log, const JitOptions *options, char **error) {
    Jit *jit = mem_new(sizeof *jit);
    jit->cpu = cpu;
    jit->bus = bus;
    jit->log = log;
    jit->opt = *options;
    jit->arena = arena_new(1 << 16);
    jit->step_arena = arena_new(1 << 14);
    jit->signal_stack = mem_new(RUN_SIGNAL_STACK_BYTES);
    bool ok = !options->stress || stress_parse(jit, options->stress, error);
    if (!ok || !cache_new(jit, error) || (options->perfmap && !names_new(jit, error))) {
        jit_free(jit);
        return NULL;
    }
    run_set_hooks(jit);
    cpu->slow_port_insns = jit->opt.icount ? RUN_SLOW_PORT_NS >> jit->opt.icount_shift : 0;
    if (jit->opt.check) jit->check = check_new(jit, jit->opt.check);
    if (jit->opt.icount) bus_set_clock_source(bus, run_icount_ns, jit);
    else bus_set_processor(bus, run_insns, jit);
    return jit;
}

void jit_free(Jit *jit) {
    names_free(jit);
    if (jit->bus) bus_set_processor(jit->bus, NULL, NULL);
    check_free(jit->check);
    cache_free(jit);
    arena_free(jit->arena);
    arena_free(jit->step_arena);
    spin_free(jit);
    free(jit->signal_stack);
    free(jit->breaks);
    free(jit);
}

void jit_set_reset(Jit *jit, void (*reset)(void *self), void *self) {
    jit->reset = reset;
    jit->reset_self = self;
}

void jit_on_fault(Jit *jit, void (*fn)(void *self, const JitFaultInfo *info), void *self) {
    jit->on_fault = fn;
    jit->on_fault_self = self;
}

u64 jit_insns(const Jit *jit) {
    return jit->cpu->insns + (u64)(i64)(jit->cpu->budget_given - jit->cpu->budget);
}

// ---- faults ----------------------------------------------------------------------------------------------
static void run_tell_fault(Jit *jit, const Block *b, const X64Restore *r, const u8 *pc) {
    if (!jit->on_fault) return;
    Cpu *cpu = jit->cpu;
    JitFaultInfo info = { .host_pc = pc, .block_host = b->hot, .block_eip = b->eip, .eip = cpu->eip,
        .op = r->op, .block_insns = b->insns, .insn = r->insn, .vector = cpu->fault.vector,
        .error = cpu->fault.error, .cr2 = cpu->cr2, .flags_recipe = r->flags.op != X64_FLAGS_IN_STATE,
        .recipe = r->flags.op != X64_FLAGS_IN_STATE ? flags_kind_name(FLAGS_KIND(r->flags.op)) : "in state" };
    jit->on_fault(jit->on_fault_self, &info);
}

// An exit out of the middle of a block: the guest's state is found by the host pc.
static Block *run_restore(Jit *jit, bool fault) {
    const u8 *pc = (const u8 *)(uintptr_t)jit->cpu->jit_word[WORD_EXIT_PC];
    const X64Restore *r;
    Block *b = restore_state(jit, pc, &r);
    if (!b) panic("exit from host pc %p, which is in no block", (const void *)pc);
    if (!fault) return b;
    jit->stats.faults++;
    restore_show(jit, b, r, pc);
    run_tell_fault(jit, b, r, pc);
    return b;
}

static void run_raise(Cpu *cpu, u32 imm) {
    if (imm & 0x100) cpu_raise_error(cpu, imm & 0xff, imm >> 16);
    else cpu_raise(cpu, imm & 0xff);
}

// x87: #MF with NE. Else the old way: FERR# goes out anew (what it told last time has been cleared), and the
// processor stops at the instruction until an interrupt comes, IRQ 13 or another (SDM 3A 8.7.1).
void run_host_exception(Jit *jit, unsigned trap) {
    Cpu *cpu = jit->cpu;
    if (trap == VEC_XM) cpu_raise(cpu, cpu->cr4 & BIT(10) ? VEC_XM : VEC_UD);
    else if (cpu->cr0 & BIT(5)) cpu_raise(cpu, VEC_MF);
    else {
        wire_set(bus_ferr(jit->bus), false);
        wire_set(bus_ferr(jit->bus), true);
        cpu->halted = true;
    }
}

// What is pending is delivered; eip is that of the instruction (or after it for traps). It counts as an
// instruction: a handler whose first instruction faults again does not stop time.
static void run_deliver(Jit *jit) {
    Cpu *cpu = jit->cpu;
    if (cpu->fault.kind == CPU_RESTART) {
        if (jit->late_wants_room) cache_flush(jit);
        cpu->fault.pending = 0;
        jit->stats.steps[STEP_RESTART]++;
        if (step_one(jit)) return;
    }
    if (!cpu->fault.pending) return;
    cpu_deliver(cpu);
    cpu->budget--;
}

// ---- one stretch of generated code -------------------------------------------------------------------------
static void run_give_budget(Jit *jit, i32 n) {
    Cpu *cpu = jit->cpu;
    cpu->insns = jit_insns(jit);
    cpu->budget = cpu->budget_given = n;
}

static void run_log_block(Jit *jit, const Block *b) {
    if (!log_pc_chosen(jit->log, b->eip)) return;
    if (log_on(jit->log, LOG(EXEC)))
        log_printf(jit->log, "Trace 0: %p [%08x/%08x/%08x]\n", (void *)b->hot,
                   jit->cpu->seg[CPU_CS].base, b->eip, b->key);
    if (log_on(jit->log, LOG(CPU))) cpu_dump(jit->cpu, jit->log->file, false);
}

// After STI or MOV SS with no interrupt waiting: a budget for a whole block lets the next instruction go first.
static void run_end_shadow(Jit *jit) {
    Cpu *cpu = jit->cpu;
    bool wanted = bus_intr(jit->bus) || bus_nmi(jit->bus);
    if (!wanted && cpu->budget > JIT_MAX_INSNS && !(cpu->mode & (MODE_TF | MODE_DEBUG)))
        cpu->inhibit_irq = false;
}

typedef struct Left { JitExit exit; Block *from; u32 edge; } Left;        // from, edge: where the exit tells them

static void run_settle_stale(Jit *jit, const u8 *pc) {
    Block *stale = cache_block_at(jit, pc);
    jit->cpu->eip = stale->eip;
    if (stale->flags.op != X64_FLAGS_IN_STATE) restore_edge_flags(jit, stale, pc);
}

static void run_settle_signal(Jit *jit, u64 trap) {
    if (trap == VEC_DE) cpu_raise(jit->cpu, VEC_DE);
    else run_host_exception(jit, (unsigned)trap);
    run_restore(jit, true);
}

// An exit: makes the guest's state exact, and looks no further.
static Left run_settle(Jit *jit, JitExit exit) {
    Cpu *cpu = jit->cpu;
    const u8 *pc = (const u8 *)(uintptr_t)cpu->jit_word[WORD_EXIT_PC];
    Left left = { .exit = exit };
    jit->stats.exits[exit]++;
    switch (exit) {
    case EXIT_LINK:
        left.edge = cache_edge_at(jit, pc);
        restore_edge_flags(jit, jit->edge[left.edge].from, pc);
        cpu->eip = jit->edge[left.edge].target;
        break;
    case EXIT_PROMOTE:
        left.edge = cache_saver_at(jit, pc);
        cpu->eip = jit->edge[left.edge].target;
        break;
    case EXIT_STALE: run_settle_stale(jit, pc); break;
    case EXIT_LOOKUP: case EXIT_LEAVE: break;
    case EXIT_POLL: run_restore(jit, false); break;
    case EXIT_RAISE:
        run_raise(cpu, (u32)cpu->jit_word[WORD_EXIT_VALUE]);
        run_restore(jit, true);
        break;
    case EXIT_FAULT: run_restore(jit, cpu->fault.kind != CPU_RESTART); break;
    case EXIT_UNGROUP: left.from = run_restore(jit, false); break;
    case EXIT_SIGNAL: run_settle_signal(jit, cpu->jit_word[WORD_EXIT_VALUE]); break;
    default: panic("exit reason %u", exit);
    }
    return left;
}

// Nothing stands between the processor and its next instruction.
static bool run_is_free(Jit *jit) {
    const Cpu *cpu = jit->cpu;
    if (cpu->fault.pending || cpu->shutdown || cpu->halted || cpu->inhibit_irq) return false;
    if (cpu->budget <= 0 || cpu->mode & (MODE_TF | MODE_DEBUG)) return false;
    return *bus_wanted_pins(jit->bus) == 0 || !cpu_interrupt_due(cpu);
}

static Block *run_follow_edge(Jit *jit, u32 edge) {
    u64 flushes = jit->stats.flushes;
    u32 eip = jit->cpu->eip;
    Block *to = cache_stays_inside(jit, edge) ? cache_find(jit, eip) : cache_find_from_outside(jit, eip);
    if (to && flushes == jit->stats.flushes) cache_link(jit, edge, to);
    return to;
}

// The block to go on with at once after an exit, or NULL: look at the machine first.
static Block *run_next(Jit *jit, const Left *left) {
    Cpu *cpu = jit->cpu;
    switch (left->exit) {
    case EXIT_LINK: return run_follow_edge(jit, left->edge);
    case EXIT_STALE: case EXIT_LOOKUP:
        return cache_find_from_outside(jit, cpu->eip);
    case EXIT_LEAVE:                       // as stub_leave()
        run_end_shadow(jit);               // IRET and POPF may have let an interrupt in
        return run_is_free(jit) ? cache_find_from_outside(jit, cpu->eip) : NULL;
    case EXIT_FAULT: case EXIT_RAISE: case EXIT_SIGNAL:
        if (cpu->fault.pending) run_deliver(jit);
        return run_is_free(jit) ? cache_find_from_outside(jit, cpu->eip) : NULL;
    case EXIT_POLL:
        if (!jit->opt.icount) run_attention(cpu);      // what is left is less than this block: end of the quantum
        return NULL;
    case EXIT_PROMOTE:
        cache_promote(jit, left->edge);
        return cache_find(jit, cpu->eip);
    case EXIT_UNGROUP:
        if (++left->from->ungroups > RUN_UNGROUPS) cache_ungroup(jit, left->from);
        return cpu->budget > 0 ? cache_find_ungrouped(jit, cpu->eip) : NULL;
    default: return NULL;
    }
}

// Is the next instruction at a breakpoint?
static bool run_at_break(Jit *jit) {
    u32 at = jit->cpu->seg[CPU_CS].base + jit->cpu->eip;
    if (!cache_may_break(jit, at)) return false;
    for (u32 i = 0; i < jit->break_count; i++) jit->at_break |= jit->breaks[i] == at;
    return jit->at_break;
}

// Generated code until an exit that concerns the guest's state, or links.
static JitExit run_code(Jit *jit, const u8 *code) {
    while (code) {
        JitExit exit = (JitExit)((JitEnter)(uintptr_t)jit->enter)(jit->cpu, code);
        if (exit == EXIT_ASK) exit = late_answer(jit);
        if (exit != EXIT_LATE) return exit;
        jit->stats.exits[EXIT_LATE]++;
        code = late_go_on(jit);
    }
    return EXIT_FAULT;
}

static void run_blocks(Jit *jit) {
    Cpu *cpu = jit->cpu;
    Block *b = cache_find(jit, cpu->eip);
    while (b && cpu->budget > 0 && !run_at_break(jit)) {
        if (log_on(jit->log, LOG(EXEC) | LOG(CPU))) run_log_block(jit, b);
        if (jit->check) check_begin(jit->check, b);
        jit->entered = b;
        Left left = run_settle(jit, run_code(jit, b->hot + b->fast));
        if (jit->check && !check_end(jit->check, left.exit)) return;
        b = run_next(jit, &left);
    }
}

// ---- the machine between stretches ---------------------------------------------------------------------------
static void run_triple_fault(Jit *jit) {
    Cpu *cpu = jit->cpu;
    if (log_on(jit->log, LOG(CPU_RESET) | LOG(INT))) log_printf(jit->log, "Triple fault\n");
    if (jit->opt.no_reboot) {
        fprintf(stderr, "glassbox: triple fault at %04x:%08x, stopped because of -no-reboot\n",
                cpu->seg[CPU_CS].selector, cpu->eip);
        bus_request_exit(jit->bus, 70);
    } else {
        bus_request(jit->bus, BUS_REQ_RESET);
    }
    cpu->shutdown = false;
    cpu->halted = true;
}

static void run_reset(Jit *jit) {
    bus_clear_request(jit->bus, BUS_REQ_RESET);
    if (log_on(jit->log, LOG(CPU_RESET))) {
        log_printf(jit->log, "CPU Reset (CPU 0)\n");
        cpu_dump(jit->cpu, jit->log->file, false);
    }
    if (jit->opt.no_reboot) {
        bus_request_exit(jit->bus, 0);
        return;
    }
    jit->cpu->insns = jit_insns(jit);
    jit->cpu->budget = jit->cpu->budget_given = 0;
    if (jit->reset) jit->reset(jit->reset_self);
    else cpu_reset(jit->cpu);
    cpu_fpu_load_host(jit->cpu);
}

// Requests and events from outside. True: jit_run() ends with *end.
static bool run_outside(Jit *jit, JitEnd *end) {
    Bus *bus = jit->bus;
    bus_run_events(bus);
    u32 requests = bus_requests(bus);
    if (requests & BUS_REQ_SHUTDOWN) { *end = JIT_END_SHUTDOWN; return true; }
    if (requests & BUS_REQ_RESET) run_reset(jit);
    if (requests & BUS_REQ_STOP) {
        bus_clear_request(bus, BUS_REQ_STOP);
        *end = JIT_END_STOP;
        return true;
    }
    return false;
}

// In HLT counted time does not wait: it is the next timer's.
static void run_wait(Jit *jit) {
    u64 deadline_ns = bus_next_deadline_ns(jit->bus), now_ns = bus_now_ns(jit->bus);
    if (jit->opt.icount && deadline_ns != UINT64_MAX && deadline_ns > now_ns)
        jit->skipped_ns += deadline_ns - now_ns;
    bus_wait(jit->bus, deadline_ns);
}

// HLT with interrupts off: only a reset or an NMI goes on from there, and both come from outside.
static bool run_is_hung(const Jit *jit) {
    return jit->opt.end_when_hung && jit->cpu->halted && !(jit->cpu->eflags & FLAG_IF) &&
           !bus_has_attention(jit->bus);
}

// One instruction in eval, with what comes of it.
static void run_step(Jit *jit, StepCause cause) {
    Cpu *cpu = jit->cpu;
    jit->stats.steps[cause]++;
    bool trap = cpu->mode & (MODE_TF | MODE_DEBUG), was_tf = cpu->mode & MODE_TF;
    cpu->inhibit_irq = false;
    cpu->watch_hit = 0;
    bool done = cpu_check_breakpoint(cpu) && step_one(jit);
    if (!done) {                           // watchpoints tell when the instruction is through
        cpu->watch_hit = 0;
        cpu->debug_hits = 0;
        run_deliver(jit);
    } else if (trap) {
        cpu_h_step_trap(cpu, was_tf);
    }
    if (done && cpu->fault.pending) run_deliver(jit);
    jit->at_break |= cpu->watch_hit != 0;
    cpu->budget--;
    cpu->budget_given--;
}

// The instruction right after STI or MOV SS, or one under the trap flag, runs alone.
static bool run_alone(Jit *jit) {
    Cpu *cpu = jit->cpu;
    bool trap = cpu->mode & (MODE_TF | MODE_DEBUG);
    bool shadow = cpu->inhibit_irq;
    if (!trap && !shadow) return false;
    if (trap && !shadow && cpu_take_interrupt(cpu)) return true;
    run_end_shadow(jit);
    if (!trap && !cpu->inhibit_irq) return false;
    StepCause cause = cpu->mode & MODE_DEBUG ? STEP_BREAKS : trap ? STEP_TRAP : STEP_SHADOW;
    if (!run_at_break(jit)) run_step(jit, cause);
    return true;
}

enum { FIRST_PASS = 1, FIRST_INTERRUPTS = 2, FIRST_STOP = 4 };

void jit_first(Jit *jit, bool interrupts, bool stop) {
    jit->first = FIRST_PASS | (interrupts ? FIRST_INTERRUPTS : 0) | (stop ? FIRST_STOP : 0);
}

// The first instruction after the debugger let go, or the interrupt that comes before it.
static void run_first(Jit *jit) {
    Cpu *cpu = jit->cpu;
    u8 first = jit->first;
    bool taken = (first & FIRST_INTERRUPTS || cpu->halted) && cpu_take_interrupt(cpu);
    if (cpu->halted) return;
    if (!taken) run_step(jit, STEP_DEBUGGER);
    jit->first = 0;
    jit->at_break |= (first & FIRST_STOP) != 0;
}

// Counted time: up to the next deadline and not an instruction further. Blocks may overrun what they are
// given by the instructions before their poll, so they are given less, and the last ones are stepped.
static i32 run_quantum_insns(const Jit *jit, u64 free_ns) {
    if (!jit->opt.icount && jit->spin.known) return RUN_WOKEN;
    if (!jit->opt.icount) return (i32)max_u64(RUN_QUANTUM, min_u64(free_ns / RUN_INSN_NS, RUN_QUANTUM_MOST));
    u64 deadline_ns = bus_next_deadline_ns(jit->bus), now_ns = bus_now_ns(jit->bus);
    if (deadline_ns <= now_ns) return 1;
    u64 insns = ((deadline_ns - now_ns - 1) >> jit->opt.icount_shift) + 1;
    return (i32)min_u64(insns, RUN_QUANTUM);
}

static void run_on(Jit *jit) {
    Cpu *cpu = jit->cpu;
    if (!jit->opt.icount) {
        run_blocks(jit);
    } else if (cpu->budget <= 2 * JIT_MAX_INSNS) {
        if (!run_at_break(jit)) run_step(jit, STEP_COUNT);
    } else {
        jit->slack = JIT_MAX_INSNS;
        run_take(cpu, jit->slack);
        run_blocks(jit);
        run_take(cpu, -jit->slack);
    }
}

static void run_budget(Jit *jit) {
    Cpu *cpu = jit->cpu;
    for (;;) {
        if (cpu->fault.pending) run_deliver(jit);
        if (cpu->shutdown) run_triple_fault(jit);
        if (jit->first && !cpu->fault.pending) run_first(jit);
        if (jit->at_break || (cpu->halted && (jit->first || !cpu_take_interrupt(cpu)))) return;
        if (!cpu->fault.pending && !run_alone(jit)) {
            cpu_take_interrupt(cpu);
            if (!cpu->fault.pending && !cpu->shutdown) run_on(jit);
        }
        if (cpu->budget <= 0 || jit->at_break || bus_has_attention(jit->bus)) return;
    }
}

// Pages are met here in proportion to their heat.
static void run_show_hot(Jit *jit) {
    Cpu *cpu = jit->cpu;
    u64 count = cpu->jit_slow[SLOW_WINDOW];
    if (count - jit->past_window < RUN_PAST_WINDOW) return;
    jit->past_window = count;
    if (mmu_show_page(cpu, cpu->jit_past_window)) cache_regroup(jit);
}

static void run_quantum(Jit *jit) {
    run_give_budget(jit, 0);
    run_show_hot(jit);
    u64 free_ns = bus_run_timers(jit->bus);
    mmu_sample(jit->cpu);
    run_give_budget(jit, run_quantum_insns(jit, free_ns));
    run_budget(jit);
}

void run_stretch(Jit *jit, i32 insns) {
    run_give_budget(jit, insns);
    run_budget(jit);
}

JitEnd jit_run(Jit *jit) {
    JitEnd end = JIT_END_SHUTDOWN;
    run_install_signals(jit);
    bus_clock_run(jit->bus, true);
    for (;;) {
        if (bus_has_attention(jit->bus) && run_outside(jit, &end)) break;
        run_quantum(jit);
        if (jit->at_break) { end = JIT_END_BREAK; break; }
        if (run_is_hung(jit)) { end = JIT_END_HUNG; break; }
        bool due = cpu_interrupt_due(jit->cpu);
        bool waits = jit->cpu->halted || (!due && spin_look(jit));
        if (waits && !due && !bus_has_attention(jit->bus)) run_wait(jit);
    }
    jit->at_break = false;
    run_give_budget(jit, 0);
    bus_clock_run(jit->bus, false);
    run_remove_signals(jit);
    return end;
}

void jit_step(Jit *jit) {
    run_install_signals(jit);
    if (jit->cpu->fault.pending) run_deliver(jit);
    else if (!cpu_take_interrupt(jit->cpu)) run_step(jit, STEP_DEBUGGER);
    run_remove_signals(jit);
}
