// SPDX-License-Identifier: MIT
// -check: generated code in lockstep with ir/eval.
//
// A block's IR is lifted again and run by eval, without passes, on a copy of the CPU state; then the block's
// code runs for real; then both states are compared. Eval is ahead by a *piece*: from the block's start, or
// from the last meeting, to the next thing that can be done only once.
//
//     eval    --piece--> waits                --piece--> waits                --piece--> end
//     code              --runs--> a helper              --runs--> a device              --runs--> run loop
//                                 compare                         compare                         compare
//
// Meetings are helper calls and accesses without RAM behind them. There registers, memory, x87 and XMM state
// are compared, with a call its arguments, with a store its value; the real thing is done, by generated code
// alone; and eval goes on from the state it left.
//
// Rules
//  1. Eval leaves no trace: its stores are noted and taken back (cpu/shadow.h), the soft MMU is not filled, the
//     host's x87 is put back, pointers included (FNSAVE; FXSAVE leaves them out on some hosts).
//  2. Blocks are not linked, so that each comes back to the run loop.
//  3. What eval cannot know is taken from generated code, never compared: results of helpers and devices,
//     flags that a multiplication, division or bit scan leaves undefined. A block that reads such flags
//     is compared up to there.
//  4. A block that is left because a group of accesses cannot be checked at once is compared as far as it got:
//     points hold eval's state before each instruction.
#include "jit/check.h"

#include "cpu/helpers.h"
#include "cpu/shadow.h"
#include "lift/lift.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct CheckedIr { IrBlock ir; bool fpu; };        // fpu: x87, MMX or SSE instructions

typedef struct CheckFpu { u8 byte[108]; } CheckFpu;           // FNSAVE's image
enum { FPU_ENV_WORDS = 3, FPU_WORD_BYTES = 4, FPU_REGS = 28, FPU_REGS_BYTES = 80 };

typedef enum CheckWait { WAIT_NOTHING, WAIT_CALL, WAIT_LOAD, WAIT_STORE } CheckWait;

typedef struct CheckPoint { u32 regs[8], flags, undefined, stores; } CheckPoint;

typedef struct CheckMeeting {       // what eval waits for
    CheckWait wait;
    const IrOp *op;
    u32 args[3];                    // of a call
    u32 addr, bytes;                // of an access
    u8 data[16];                    // of a store
} CheckMeeting;

struct Check {
    Jit *jit;
    u32 every, phase, pick;         // of so many executions number `pick` is compared
    u64 windows;
    Arena *arena;                   // lifted blocks, as long as the code cache is not flushed
    u64 flushes;
    Cpu copy;
    Shadow *shadow;
    IrMachine machine;
    IrEval eval;
    IrEvalResult at;                // where eval stands
    Block *block;                   // being compared, or NULL
    bool fpu;
    CheckFpu host_fpu, eval_fpu;
    CheckMeeting meeting;
    bool granted;                   // generated code has done what eval waited for: data
    u8 data[16];
    u64 result;                     // of a call
    CheckPoint point[JIT_MAX_INSNS + 1];
    u32 first_point, points;        // valid: [first_point, points)
    u32 start_regs[8], start_flags;
    u64 start_insns, helper_insns;  // executed before the block; counted by helpers in it (elements of REP)
    bool differs;
    struct { u64 full, part, none; } stats;
};

// ---- life ------------------------------------------------------------------------------------------------
static bool check_load(void *self, const IrOp *op, u32 addr, unsigned bytes, void *to);
static bool check_store(void *self, const IrOp *op, u32 addr, unsigned bytes, const void *from);
static bool check_probe(void *self, const IrOp *op, u32 addr, u32 bytes);
static bool check_call(void *self, unsigned helper, u32 a, u32 b, u32 c, u64 *result);
static void check_raise(void *self, unsigned vector, bool has_error, u32 error);
static bool check_hits_code(void *self, u32 ppn, u32 offset, u32 bytes);

Check *check_new(Jit *jit, u32 every) {
    Check *c = mem_new_aligned(CPU_ALIGNMENT, sizeof *c);
    c->jit = jit;
    c->every = every;
    c->arena = arena_new(1 << 20);
    c->shadow = shadow_new();
    Cpu *cpu = &c->copy;
    *cpu = *jit->cpu;
    cpu->shadow = c->shadow;
    cpu->store_hits_code = check_hits_code;
    c->machine = (IrMachine){ .self = c, .regs = cpu->regs, .flag_op = &cpu->flag_op, .flag_a = &cpu->flag_a,
        .flag_b = &cpu->flag_b, .flag_c = &cpu->flag_c, .env = (u8 *)cpu, .load = check_load,
        .store = check_store, .probe = check_probe, .call = check_call, .raise = check_raise,
        .xmm = cpu->xmm, .mxcsr = &cpu->mxcsr, .thunk = jit->thunk, .budget = &cpu->budget };
    return c;
}

void check_free(Check *c) {
    if (!c) return;
    if (log_on(c->jit->log, LOG(CHECK))) check_print(c, c->jit->log->file);
    arena_free(c->arena);
    shadow_free(c->shadow);
    free(c);
}

void check_print(const Check *c, FILE *out) {
    fprintf(out, "checked blocks   %" PRIu64 " in full, %" PRIu64 " in part, %" PRIu64 " not at all\n", c->stats.full,
            c->stats.part, c->stats.none);
}

// One execution in each window of `every`, by a multiplicative hash of the window's number.
static bool check_is_due(Check *c) {
    if (c->phase == 0) c->pick = (u32)(++c->windows * 0x9e3779b97f4a7c15ull >> 32) % c->every;
    bool due = c->phase == c->pick;
    if (++c->phase == c->every) c->phase = 0;
    return due;
}

// ---- the copy's machine ----------------------------------------------------------------------------------
static void check_wait(Check *c, CheckWait wait, const IrOp *op, u32 addr, u32 bytes) {
    c->meeting.wait = wait;
    c->meeting.op = op;
    c->meeting.addr = addr;
    c->meeting.bytes = bytes;
}

static bool check_load(void *self, const IrOp *op, u32 addr, unsigned bytes, void *to) {
    Check *c = self;
    if (c->granted) {
        c->granted = false;
        memcpy(to, c->data, bytes);
        return true;
    }
    if (op->attr & IR_ALIGN16 && !cpu_check_aligned(&c->copy, op->seg, addr, false)) return false;
    ShadowResult r = shadow_load(c->shadow, op->seg, addr, bytes, op->attr & IR_RMW, to);
    if (r == SHADOW_DEVICE) check_wait(c, WAIT_LOAD, op, addr, bytes);
    return r == SHADOW_DONE;
}

static bool check_store(void *self, const IrOp *op, u32 addr, unsigned bytes, const void *from) {
    Check *c = self;
    ShadowResult r = shadow_store(c->shadow, op->seg, addr, bytes, from);
    if (r == SHADOW_DEVICE) {
        check_wait(c, WAIT_STORE, op, addr, bytes);
        memcpy(c->meeting.data, from, bytes);
        c->machine.pause = true;
    }
    return r != SHADOW_FAULT;
}

static bool check_probe(void *self, const IrOp *op, u32 addr, u32 bytes) {
    Check *c = self;
    if (op->attr & IR_ALIGN16 && !cpu_check_aligned(&c->copy, op->seg, addr, true)) return false;
    return shadow_probe(c->shadow, op->seg, addr, bytes) != SHADOW_FAULT;
}

static bool check_call(void *self, unsigned helper, u32 a, u32 b, u32 c_, u64 *result) {
    Check *c = self;
    (void)helper;
    if (c->granted) {
        c->granted = false;
        *result = c->result;
        return !c->copy.fault.pending;
    }
    check_wait(c, WAIT_CALL, &c->eval.b->ops[c->eval.at], 0, 0);
    memcpy(c->meeting.args, (u32[]){ a, b, c_ }, sizeof c->meeting.args);
    return false;
}

// As run_host_exception(), without touching FERR#.
static void check_raise(void *self, unsigned vector, bool has_error, u32 error) {
    Cpu *copy = &((Check *)self)->copy;
    if (has_error) cpu_raise_error(copy, vector, error);
    else if (vector == VEC_XM) cpu_raise(copy, copy->cr4 & BIT(10) ? VEC_XM : VEC_UD);
    else if (vector != VEC_MF || copy->cr0 & BIT(5)) cpu_raise(copy, vector);
}

static bool check_hits_code(void *self, u32 ppn, u32 offset, u32 bytes) {
    Check *c = ((Jit *)self)->check;
    return smc_overlaps(c->block, ppn, offset, bytes);
}

// The copy becomes what the processor is, with these flags. What follows the state that instructions change
// without a helper was copied once.
static void check_copy_cpu(Check *c, u32 flags) {
    memcpy(&c->copy, c->jit->cpu, offsetof(Cpu, msr_sysenter_cs));
    c->copy.flag_op = FLAGS_OP(FLAGS_RAW, 2);
    c->copy.flag_a = flags;
    c->copy.flag_b = c->copy.flag_c = 0;
}

// ---- eval's pieces ---------------------------------------------------------------------------------------
static void fpu_take(CheckFpu *to) { __asm__ volatile("fnsave %0" : "=m"(*to)); }
static void fpu_put(const CheckFpu *from) { __asm__ volatile("frstor %0" : : "m"(*from)); }

static void check_note_point(Check *c) {
    CheckPoint *p = &c->point[c->points++];
    memcpy(p->regs, c->copy.regs, sizeof p->regs);
    p->flags = c->copy.flag_a;
    p->undefined = c->eval.undefined;
    p->stores = shadow_mark(c->shadow);
}

// Runs eval to the next meeting or the end. Blocks with groups stop before each instruction for a point.
static void check_run_eval(Check *c) {
    u32 most = c->eval.started;                // a piece goes on in the middle of an instruction
    c->first_point = c->points = most;
    if (!most) {                               // but for the first one
        check_note_point(c);
        most = 1;
    }
    c->meeting.wait = WAIT_NOTHING;
    for (;;) {
        c->at = ir_eval_on(&c->eval, c->block->has_groups ? most : UINT32_MAX);
        if (c->at.end != IR_EVAL_POLL || c->at.undefined) break;
        check_note_point(c);
        most = c->eval.started + 1;
    }
}

static void check_piece(Check *c) {
    shadow_begin(c->shadow, &c->copy);
    if (c->fpu) {
        fpu_take(&c->host_fpu);
        fpu_put(&c->host_fpu);
    }
    check_run_eval(c);
    shadow_undo(c->shadow);
    if (c->fpu) {
        fpu_take(&c->eval_fpu);
        fpu_put(&c->host_fpu);
    }
    if (c->at.undefined) {
        if (log_on(c->jit->log, LOG(CHECK)))
            log_printf(c->jit->log, "check: %08x in part: undefined flags are read\n", c->block->eip);
        c->stats.part++;
        c->block = NULL;
    }
}

// ---- what differs ----------------------------------------------------------------------------------------
typedef struct CheckExpect {        // eval's state at a meeting or at the end
    const char *where;
    const u32 *regs;
    u32 eip, flags, undefined, stores;
    bool with_eip, with_flags, with_fault, with_state;     // state: x87, XMM, what STENV changes
    u64 insns;                      // executed in the block; with_fault
} CheckExpect;

static const char *const check_reg_names[8] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" };

static u32 check_cpu_flags(const Cpu *cpu) {
    return flags_compute(cpu->flag_op, cpu->flag_a, cpu->flag_b, cpu->flag_c);
}

// Prints to out when there is one. 1 when they differ.
static u32 diff_u32(FILE *out, const char *name, u32 eval, u32 generated) {
    if (eval == generated) return 0;
    if (out) fprintf(out, "  %-12s eval %08x        generated code %08x\n", name, eval, generated);
    return 1;
}

static void diff_show_bytes(FILE *out, const u8 *bytes, u32 count) {
    for (u32 i = 0; i < count; i++) fprintf(out, "%02x%s", bytes[i], i + 1 < count ? " " : "");
}

static u32 diff_bytes(FILE *out, const char *name, const u8 *eval, const u8 *generated, u32 count) {
    if (!memcmp(eval, generated, count)) return 0;
    if (!out) return 1;
    fprintf(out, "  %-12s eval           ", name);
    diff_show_bytes(out, eval, count);
    fprintf(out, "\n               generated code ");
    diff_show_bytes(out, generated, count);
    fprintf(out, "\n");
    return 1;
}

static u32 diff_flags(FILE *out, u32 eval, u32 generated, u32 undefined) {
    static const char letters[] = "oszapc";
    static const u32 bit[] = { FLAG_OF, FLAG_SF, FLAG_ZF, FLAG_AF, FLAG_PF, FLAG_CF };
    char text[2][8] = { "------", "------" };
    if (!((eval ^ generated) & ~undefined)) return 0;
    for (u32 i = 0; i < ARRAY_LEN(bit); i++) {
        if (eval & bit[i]) text[0][i] = letters[i];
        if (generated & bit[i]) text[1][i] = letters[i];
        if (undefined & bit[i]) text[0][i] = text[1][i] = '?';
    }
    if (out) fprintf(out, "  flags        eval %s          generated code %s\n", text[0], text[1]);
    return 1;
}

static u32 diff_fpu(const Check *c, FILE *out) {
    static const char *const names[FPU_ENV_WORDS] = { "x87 control", "x87 status", "x87 tags" };
    u32 n = 0;
    for (u32 i = 0; i < FPU_ENV_WORDS; i++)
        n += diff_u32(out, names[i], get_le16(c->eval_fpu.byte + FPU_WORD_BYTES * i),
                      get_le16(c->host_fpu.byte + FPU_WORD_BYTES * i));
    for (u32 at = FPU_REGS; at < FPU_REGS + FPU_REGS_BYTES; at += 10) {
        char name[8];
        snprintf(name, sizeof name, "st(%u)", (at - FPU_REGS) / 10);
        n += diff_bytes(out, name, c->eval_fpu.byte + at, c->host_fpu.byte + at, 10);
    }
    return n;
}

static u32 diff_state(const Check *c, FILE *out) {
    const Cpu *cpu = c->jit->cpu, *copy = &c->copy;
    u32 n = diff_u32(out, "eflags", copy->eflags, cpu->eflags) + diff_u32(out, "df", (u32)copy->df, (u32)cpu->df) +
            diff_u32(out, "inhibit irq", copy->inhibit_irq, cpu->inhibit_irq);
    for (u32 i = 0; i < 8 && memcmp(copy->xmm, cpu->xmm, sizeof cpu->xmm); i++) {
        char name[8];
        snprintf(name, sizeof name, "xmm%u", i);
        n += diff_bytes(out, name, copy->xmm + 16 * i, cpu->xmm + 16 * i, 16);
    }
    n += diff_u32(out, "mxcsr", copy->mxcsr, cpu->mxcsr);
    return c->fpu ? n + diff_fpu(c, out) : n;
}

static u32 diff_fault(const Check *c, FILE *out, u64 insns) {
    const CpuFault *e = &c->copy.fault, *g = &c->jit->cpu->fault;
    u64 done = jit_insns(c->jit) - c->start_insns;
    bool page = e->pending && e->vector == VEC_PF;
    u32 n = diff_u32(out, "exception", e->pending, g->pending);
    if (e->pending || g->pending)
        n += diff_u32(out, "vector", e->vector, g->vector) + diff_u32(out, "error code", e->error, g->error) +
             diff_u32(out, "has error", e->has_error, g->has_error) + diff_u32(out, "kind", e->kind, g->kind);
    if (page) n += diff_u32(out, "cr2", c->copy.cr2, c->jit->cpu->cr2);
    return n + diff_u32(out, "instructions", (u32)insns, (u32)done);
}

static u32 diff_memory(FILE *out, const ShadowDifference *d) {
    char name[32];
    snprintf(name, sizeof name, "%s%08x", d->physical ? "phys " : "", d->addr);
    u32 n = diff_bytes(out, name, d->expected, d->found, d->bytes);
    if (out && d->beside) fprintf(out, "               (next to a store)\n");
    return n;
}

// How many things differ. memory: what shadow_compare() found, or NULL.
static u32 diff_all(const Check *c, const CheckExpect *x, const ShadowDifference *memory, FILE *out) {
    const Cpu *cpu = c->jit->cpu;
    u32 n = memory ? diff_memory(out, memory) : 0;
    for (u32 r = 0; r < 8; r++) n += diff_u32(out, check_reg_names[r], x->regs[r], cpu->regs[r]);
    if (x->with_eip) n += diff_u32(out, "eip", x->eip, cpu->eip);
    if (x->with_flags) n += diff_flags(out, x->flags, check_cpu_flags(cpu), x->undefined);
    if (x->with_state) n += diff_state(c, out);
    if (x->with_fault) n += diff_fault(c, out, x->insns);
    return n;
}

// ---- telling it ------------------------------------------------------------------------------------------
// The pieces of the page that the block consists of, each but the first with its address.
static void tell_bytes(const Source *src, const Lifted *l) {
    fprintf(stderr, "glassbox dump --bytes '");
    for (u32 i = 0; i < l->parts; i++) {
        i32 at = (i32)l->part[i].offset - (i32)(PAGE_BYTES - src->count);
        if (i) fprintf(stderr, " @0x%x", src->eip + (u32)at);
        for (u32 n = 0; n < l->part[i].bytes; n++)
            fprintf(stderr, "%s%02x", i || n ? " " : "", src->bytes[at + (i32)n]);
    }
    for (u32 n = src->count; l->second && n < l->bytes; n++) fprintf(stderr, " %02x", src->second[n - src->count]);
    fprintf(stderr, "' --eip 0x%x --mode 0x%x\n", src->eip, src->mode);
}

static void tell_block(Check *c, const Block *b) {
    Source src;
    Lifted l;
    fprintf(stderr, "  at the start ");
    for (u32 r = 0; r < 8; r++) fprintf(stderr, " %s %08x", check_reg_names[r], c->start_regs[r]);
    fprintf(stderr, "\n               flags %03x\n", c->start_flags);
    if (!translate_lift_again(c->jit, b, &src, &l)) return;
    translate_print_insns(&src, &l, stderr);
    tell_bytes(&src, &l);
}

// The head of the message. The caller adds what differs, then tell_end().
static void tell_begin(Check *c, const char *where) {
    const Block *b = c->block;
    const Cpu *cpu = c->jit->cpu;
    u32 first = b->eip + block_insn_offset(b)[min_u32(c->first_point ? c->first_point - 1 : 0, b->insns - 1u)];
    fprintf(stderr, "glassbox: -check: generated code differs from ir/eval in block %04x:%08x "
                    "(%u instruction%s, physical %08x)\n  %s; wrong is an instruction from %08x on\n",
            cpu->seg[CPU_CS].selector, b->eip, b->insns, b->insns == 1 ? "" : "s", b->phys, where, first);
}

static void tell_end(Check *c) {
    tell_block(c, c->block);
    c->differs = true;
    c->block = NULL;
    bus_request_exit(c->jit->bus, BUS_EXIT_DIFFERENCE);
}

static bool check_compare(Check *c, const CheckExpect *x) {
    ShadowDifference memory;
    if (c->fpu) {
        cpu_fpu_keep_pointers(c->jit->cpu);    // some hosts forget them when another thread runs in between
        c->jit->cpu->fpu_used = true;          // the block may go on, and does not tell again
        fpu_take(&c->host_fpu);
        fpu_put(&c->host_fpu);
    }
    const ShadowDifference *m = shadow_compare(c->shadow, x->stores, &memory) ? NULL : &memory;
    if (!diff_all(c, x, m, NULL)) return true;
    tell_begin(c, x->where);
    diff_all(c, x, m, stderr);
    tell_end(c);
    return false;
}

// ---- meetings --------------------------------------------------------------------------------------------
// Where eval leaves the block to.
static u32 check_eval_eip(const Check *c) { return c->at.end == IR_EVAL_LEAVE ? c->copy.eip : c->at.eip; }

static void tell_call(const char *who, u32 helper, const u32 *args) {
    const IrHelper *h = &lift_helpers()->row[helper];
    fprintf(stderr, "  %-12s calls %s(", who, h->name);
    for (u32 i = 0; i < h->args; i++) fprintf(stderr, "%s%x", i ? ", " : "", args[i]);
    fprintf(stderr, ")\n");
}

static void tell_eval(const Check *c) {
    const CheckMeeting *m = &c->meeting;
    if (m->wait == WAIT_CALL) tell_call("eval", m->op->imm, m->args);
    else if (m->wait != WAIT_NOTHING)
        fprintf(stderr, "  eval         %s %u bytes at offset %08x, where a device is\n",
                m->wait == WAIT_LOAD ? "loads" : "stores", m->bytes, m->addr);
    else if (c->copy.fault.pending)
        fprintf(stderr, "  eval         has exception %u at %08x\n", c->copy.fault.vector, c->at.eip);
    else fprintf(stderr, "  eval         leaves to %08x\n", check_eval_eip(c));
}

static bool check_same_call(const CheckMeeting *m, u32 helper, const u32 *args) {
    if (m->wait != WAIT_CALL || m->op->imm != helper) return false;
    return !memcmp(m->args, args, lift_helpers()->row[helper].args * sizeof *args);
}

// Both engines are at the same place. The state is compared as far as it is defined there.
static bool check_meet(Check *c, const char *where, bool flags) {
    CheckExpect x = { .where = where, .regs = c->copy.regs, .with_state = true, .with_flags = flags,
        .flags = c->copy.flag_a, .undefined = c->eval.undefined, .stores = shadow_mark(c->shadow),
        .with_eip = c->meeting.wait == WAIT_CALL, .eip = c->copy.eip };
    return check_compare(c, &x);
}

// The real thing is done: eval takes over what it cannot know and goes on. Flags that are not in the CPU state
// at this place stay eval's.
static void check_go_on(Check *c, u32 flags) {
    check_copy_cpu(c, flags);
    check_piece(c);
}

static u64 check_real_helper(Cpu *cpu, u32 a, u32 b, u32 c, u32 helper) {
    u64 (*fn)(Cpu *, u32, u32, u32) = (u64 (*)(Cpu *, u32, u32, u32))lift_helpers()->row[helper].fn;
    return fn(cpu, a, b, c);
}

static bool check_meet_call(Check *c, u32 helper, const u32 *args) {
    bool flags_in = lift_helpers()->row[helper].attr & IR_HELPER_FLAGS_IN;
    if (check_same_call(&c->meeting, helper, args)) return check_meet(c, "before a helper call", flags_in);
    tell_begin(c, "at a helper call");
    tell_eval(c);
    tell_call("generated", helper, args);
    tell_end(c);
    return false;
}

u64 check_helper(Cpu *cpu, u32 a, u32 b, u32 c, u32 helper) {
    Check *k = ((Jit *)cpu->jit)->check;
    u16 attr = lift_helpers()->row[helper].attr;
    if (!k->block || !check_meet_call(k, helper, (u32[]){ a, b, c })) return check_real_helper(cpu, a, b, c, helper);
    u32 flags = attr & IR_HELPER_FLAGS_IN ? check_cpu_flags(cpu) : k->copy.flag_a;
    u64 insns = jit_insns(cpu->jit);
    k->result = check_real_helper(cpu, a, b, c, helper);
    k->helper_insns += jit_insns(cpu->jit) - insns;
    k->granted = true;
    if (attr & IR_HELPER_FLAGS_OUT && !cpu->fault.pending) flags = check_cpu_flags(cpu);
    check_go_on(k, flags);
    return k->result;
}

// Is this access what eval waits for? Other slow accesses (first touches, page borders, code) are not.
static bool check_same_access(const Check *c, CheckWait wait, unsigned seg, u32 offset, u32 bytes) {
    const CheckMeeting *m = &c->meeting;
    return c->block && m->wait == wait && m->op->seg == seg && m->addr == offset && m->bytes == bytes;
}

// A load of ROM that is slow for its first touch is none that eval waits for, though an RMW of the same bytes may be.
void check_loaded(Cpu *cpu, unsigned seg, u32 offset, u32 bytes, bool rmw, const u8 *data) {
    Check *c = ((Jit *)cpu->jit)->check;
    if (!check_same_access(c, WAIT_LOAD, seg, offset, bytes)) return;
    bool waits_for_rmw = c->meeting.op->attr & IR_RMW;
    if (waits_for_rmw != rmw || !check_meet(c, "at a load from a device", false)) return;
    memcpy(c->data, data, bytes);
    c->granted = true;
    check_go_on(c, c->copy.flag_a);
}

bool check_stores(Cpu *cpu, unsigned seg, u32 offset, u32 bytes, const u8 *data) {
    Check *c = ((Jit *)cpu->jit)->check;
    if (!check_same_access(c, WAIT_STORE, seg, offset, bytes)) return false;
    if (!memcmp(data, c->meeting.data, bytes)) return check_meet(c, "at a store to a device", false);
    tell_begin(c, "at a store to a device");
    diff_bytes(stderr, "value", c->meeting.data, data, bytes);
    tell_end(c);
    return false;
}

void check_stored(Cpu *cpu) {
    Check *c = ((Jit *)cpu->jit)->check;
    check_go_on(c, c->copy.flag_a);
}

// ---- blocks ----------------------------------------------------------------------------------------------
static bool check_ir_uses_fpu(const IrBlock *ir) {
    for (u32 i = 0; i < ir->count; i++) {
        u8 code = ir->ops[i].code;
        if (code >= IR_FPU && code <= IR_SIMDST) return true;
    }
    return false;
}

static void *check_keep(Check *c, const void *from, size_t bytes) {
    return memcpy(arena_alloc(c->arena, bytes ? bytes : 1), from, bytes);
}

// The block as lifted, made when it is first wanted. NULL: its bytes are not to be had.
static const CheckedIr *check_ir(Check *c, Block *b) {
    Source src;
    Lifted l;
    if (*block_checked(b)) return *block_checked(b);
    if (!bus_page(c->jit->bus, b->phys >> PAGE_SHIFT)->host) return NULL;      // reading might change a device
    if (!translate_lift_again(c->jit, b, &src, &l)) return NULL;
    CheckedIr *made = arena_alloc(c->arena, sizeof *made);
    made->ir = *l.ir;
    made->ir.ops = check_keep(c, l.ir->ops, l.ir->count * sizeof *l.ir->ops);
    made->ir.consts = check_keep(c, l.ir->consts, l.ir->const_count * sizeof *l.ir->consts);
    made->fpu = check_ir_uses_fpu(l.ir);
    return *block_checked(b) = made;
}

void check_begin(Check *c, Block *b) {
    c->block = NULL;
    if (c->differs || !check_is_due(c)) return;
    if (c->flushes != c->jit->stats.flushes) arena_reset(c->arena);
    c->flushes = c->jit->stats.flushes;
    const CheckedIr *ir = check_ir(c, b);
    if (!ir) { c->stats.none++; return; }
    c->block = b;
    c->fpu = ir->fpu;
    c->granted = c->machine.pause = false;
    c->start_flags = check_cpu_flags(c->jit->cpu);
    check_copy_cpu(c, c->start_flags);
    memcpy(c->start_regs, c->copy.regs, sizeof c->start_regs);
    c->start_insns = jit_insns(c->jit);
    c->helper_insns = 0;
    ir_eval_begin(&c->eval, &ir->ir, &c->machine);
    check_piece(c);
}

// The block was left before an instruction whose group could not be checked.
static void check_end_early(Check *c) {
    Block *b = c->block;
    u32 k = 0;
    while (k < b->insns && b->eip + block_insn_offset(b)[k] != c->jit->cpu->eip) k++;
    if (k < c->first_point || k >= c->points) { c->stats.part++; return; }
    const CheckPoint *p = &c->point[k];
    CheckExpect x = { .where = "where a group's check failed", .regs = p->regs, .flags = p->flags,
                      .undefined = p->undefined, .stores = p->stores, .with_flags = true };
    if (c->fpu) c->stats.part++;
    else c->stats.full++;
    check_compare(c, &x);
}

static void check_end_fully(Check *c) {
    CheckExpect x = { .where = "at the block's end", .regs = c->copy.regs, .eip = check_eval_eip(c),
        .flags = c->copy.flag_a, .undefined = c->eval.undefined, .stores = shadow_mark(c->shadow),
        .insns = c->at.insns + c->helper_insns,
        .with_eip = true, .with_flags = true, .with_fault = true, .with_state = true };
    c->stats.full++;
    if (c->meeting.wait == WAIT_NOTHING) {
        check_compare(c, &x);
        return;
    }
    tell_begin(c, "the block has been left");
    tell_eval(c);
    fprintf(stderr, "  generated    leaves to %08x\n", c->jit->cpu->eip);
    tell_end(c);
}

bool check_end(Check *c, JitExit exit) {
    if (c->block) {
        if (exit == EXIT_STALE) c->stats.none++;
        else if (exit == EXIT_UNGROUP) check_end_early(c);
        else check_end_fully(c);
    }
    c->block = NULL;
    return !c->differs;
}
