// SPDX-License-Identifier: MIT
// The back end against ir/eval: random IR blocks run both ways from the same state, through the jit's
// own stubs, and must end the same: registers, arithmetic flags, memory, devices, x87, exit, eip,
// fault, budget.
//
//     make test T=unit/test_x64            SEED=n runs one block, N=n runs so many from SEED on
//
// A case is made of the seed alone: the block, the segments (flat, based, limited, read-only,
// expand-down, real mode with 16-bit addresses at 64K), pages that are absent, read-only or a device,
// a budget that runs out at a poll, a block that overwrites itself, where the flags are at entry. What
// fails is printed with its seed, the IR, the host code and the restore records.
#define _GNU_SOURCE
#include "cpu/cpu_int.h"
#include "testcpu.h"

#include "irgen.h"
#include "jit/jit_int.h"
#include "lift/lift.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

enum {
    EIP = 0x1000, CODE_AT = 0x1000,           // the block's guest address: nothing is fetched there
    WINDOW = 0x20f80, WINDOW_BYTES = 256,     // over a page border
    WRAP_WINDOW = 0xff00,
    MEMORY = 0x20000, MEMORY_BYTES = 0xb000, PAGES = MEMORY_BYTES >> 12,
    ENV_BYTES = 64, MMIO_BYTES = PAGES << 12,
};

typedef enum EndKind { END_JUMP, END_FAULT, END_POLL, END_RESTART, END_UNGROUP, END_ALONE, ENDS } EndKind;
static const char *const end_names[] = { "jump", "fault", "poll", "restart", "ungroup", "alone" };

// Everything that may be observed after a run.
typedef struct State {
    EndKind end;
    u32 eip, regs[8], flags, fault[4];        // fault: vector, has error, error, CR2
    u32 spent;                                // of the budget
    u64 mmio_hash;
    u8 env[ENV_BYTES], fpu[108];
    u8 memory[MEMORY_BYTES], mmio[MMIO_BYTES];
} State;

typedef struct Rig {
    TestCpu *c;
    Cpu *cpu;
    Jit *jit;
    Arena *arena;
    unsigned mmio_region;
    u8 mmio[MMIO_BYTES];
    u64 mmio_hash;
    State start, coded, eval;
    u64 seed, random;
    IrGen gen;
    i32 budget;
    u8 form;                                  // of the code's accesses
    bool grouped;
    bool host_bmi2;
    X64Recipe flags;                          // at entry
    u32 flag_words[3];                        // the CPU state's words for it
    bool smc;                                 // the block's own bytes lie in the window
    u32 smc_at, smc_bytes;
    bool smc_hit;                             // eval has written there
    IrBlock *plain, *block;                   // as generated; after the passes
    X64Code code;
    unsigned ends[ENDS], vectors[32];            // how often seen
    bool alone;                                  // late parts cannot be made: the instruction would be run alone
    unsigned lates;                              // late parts made
} Rig;

static Rig *signal_rig;

static u32 pick(Rig *g, u32 n) { return (u32)(irgen_random(&g->random) >> 20) % n; }
static bool one_in(Rig *g, u32 n) { return pick(g, n) == 0; }

// ---- a device in the window ---------------------------------------------------------------------
static void mmio_note(Rig *g, u32 what, u32 offset, u32 size, u32 value) {
    g->mmio_hash = (g->mmio_hash ^ what ^ offset << 4 ^ (u64)size << 36 ^ (u64)value << 40 ^ value)
        * 0x9e3779b97f4a7c15u;
}
static u32 mmio_read(void *self, u32 offset, unsigned size) {
    Rig *g = self;
    u32 v = 0;
    memcpy(&v, g->mmio + offset, size);
    mmio_note(g, 1, offset, size, v);
    return v;
}
static void mmio_write(void *self, u32 offset, unsigned size, u32 value) {
    Rig *g = self;
    memcpy(g->mmio + offset, &value, size);
    mmio_note(g, 2, offset, size, trunc_size(value, size));
}

// ---- SIGFPE: #DE of generated code, as room jit does it -----------------------------------------
static void on_fpe(int number, siginfo_t *info, void *context) {
    static const u8 greg[8] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_R15, REG_RBP, REG_RSI,
                                REG_RDI };
    (void)info;
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    Jit *jit = signal_rig->jit;
    const u8 *pc = (const u8 *)(uintptr_t)r[REG_RIP];
    if (pc < jit->code || pc >= jit->code + jit->code_bytes) {
        signal(number, SIG_DFL);
        return;
    }
    for (unsigned i = 0; i < 8; i++) jit->cpu->regs[i] = (u32)r[greg[i]];
    jit->cpu->jit_word[WORD_EXIT_PC] = (u64)r[REG_RIP];
    jit->cpu->jit_word[WORD_EXIT_VALUE] = (u64)r[REG_TRAPNO];
    r[REG_RSP] = (greg_t)jit->cpu->jit_word[WORD_HOST_SP];
    r[REG_RIP] = (greg_t)(uintptr_t)jit->signal_exit;
}

// A failed require() of the back end: which block was it?
static void on_abort(int number) {
    signal(number, SIG_DFL);
    IrNames names = { .helpers = lift_helpers(), .env_name = lift_env_name };
    fprintf(stderr, "SEED=%llu with %u instructions\n", (unsigned long long)signal_rig->seed,
            signal_rig->gen.insns);
    ir_print(signal_rig->block, &names, stderr);
}

// ---- the machine under eval ---------------------------------------------------------------------
static u32 access_log2(u32 bytes) { return (u32)__builtin_ctz(bytes); }

static u32 access_info(const IrOp *op, unsigned bytes) {
    return CPU_ACCESS(op->seg, access_log2(bytes)) | (op->attr & IR_RMW ? CPU_ACCESS_RMW : 0);
}

static void note_write(Rig *g, const IrOp *op, u32 offset, u32 bytes) {
    u32 at = g->cpu->seg[op->seg].base + offset;
    if (g->smc && at < g->smc_at + g->smc_bytes && g->smc_at < at + bytes) g->smc_hit = true;
}

static bool eval_load(void *self, const IrOp *op, u32 addr, unsigned bytes, void *to) {
    Rig *g = self;
    u64 low = cpu_slow_load(g->cpu, addr, access_info(op, min_u32(bytes, 8))), high = 0;
    if (g->cpu->fault.pending) return false;
    if (op->attr & IR_RMW) note_write(g, op, addr, bytes);
    if (bytes > 8) high = cpu_slow_load(g->cpu, addr + 8, access_info(op, bytes - 8));
    if (g->cpu->fault.pending) return false;
    memcpy(to, &low, min_u32(bytes, 8));
    if (bytes > 8) memcpy((u8 *)to + 8, &high, bytes - 8);
    return true;
}

static bool eval_probe(void *self, const IrOp *op, u32 addr, u32 bytes) {
    Rig *g = self;
    if (!cpu_probe(g->cpu, op->seg, addr, bytes, true)) return false;
    note_write(g, op, addr, bytes);
    return true;
}

static bool eval_store(void *self, const IrOp *op, u32 addr, unsigned bytes, const void *from) {
    Rig *g = self;
    u64 low = 0, high = 0;
    if (!eval_probe(self, op, addr, bytes)) return false;
    memcpy(&low, from, min_u32(bytes, 8));
    if (bytes > 8) memcpy(&high, (const u8 *)from + 8, bytes - 8);
    cpu_slow_store(g->cpu, addr, CPU_ACCESS(op->seg, access_log2(min_u32(bytes, 8))), low);
    if (bytes > 8) cpu_slow_store(g->cpu, addr + 8, CPU_ACCESS(op->seg, access_log2(bytes - 8)), high);
    return !g->cpu->fault.pending;
}

static bool eval_call(void *self, unsigned helper, u32 a, u32 b, u32 c, u64 *result) {
    Rig *g = self;
    u64 (*fn)(Cpu *, u32, u32, u32) =
        (u64 (*)(Cpu *, u32, u32, u32))(uintptr_t)lift_helpers()->row[helper].fn;
    *result = fn(g->cpu, a, b, c);
    return !g->cpu->fault.pending;
}

static void eval_raise(void *self, unsigned vector, bool has_error, u32 error) {
    Cpu *cpu = ((Rig *)self)->cpu;
    if (has_error) cpu_raise_error(cpu, vector, error);
    else cpu_raise(cpu, vector);
}

// ---- state --------------------------------------------------------------------------------------
static void fpu_start(void) {
    __asm__ volatile("fninit\n\tfld1\n\tfldpi\n\tfldl2e\n\tfldz");
}

static void state_load(Rig *g, const State *s) {
    Cpu *cpu = g->cpu;
    memcpy(cpu->regs, s->regs, sizeof s->regs);
    memcpy(at(g->c, MEMORY), s->memory, MEMORY_BYTES);
    memcpy(g->mmio, s->mmio, MMIO_BYTES);
    memcpy(cpu->msr_misc, s->env, ENV_BYTES);
    g->mmio_hash = 0;
    cpu_set_arith(cpu, s->flags);
    cpu->fault = (CpuFault){ 0 };
    cpu->cr2 = 0;
    cpu->eip = 0xdead;
    cpu->budget = cpu->budget_given = g->budget;
    fpu_start();
}

static void state_save(Rig *g, State *s, EndKind end, u32 eip) {
    Cpu *cpu = g->cpu;
    __asm__ volatile("fnsave %0" : "=m"(s->fpu));
    memset(s->fpu + 12, 0, 16);               // instruction and data pointers
    s->end = end;
    s->eip = eip;
    memcpy(s->regs, cpu->regs, sizeof s->regs);
    memcpy(s->memory, at(g->c, MEMORY), MEMORY_BYTES);
    memcpy(s->mmio, g->mmio, MMIO_BYTES);
    memcpy(s->env, cpu->msr_misc, ENV_BYTES);
    s->mmio_hash = g->mmio_hash;
    s->flags = flags_compute(cpu->flag_op, cpu->flag_a, cpu->flag_b, cpu->flag_c);
    s->spent = (u32)(g->budget - cpu->budget);
    memset(s->fault, 0, sizeof s->fault);
    if (end != END_FAULT) return;
    s->fault[0] = cpu->fault.vector;
    s->fault[1] = cpu->fault.has_error;
    s->fault[2] = cpu->fault.has_error ? cpu->fault.error : 0;
    s->fault[3] = cpu->fault.vector == VEC_PF ? cpu->cr2 : 0;
}

// ---- failure ------------------------------------------------------------------------------------
static void describe(Rig *g, FILE *out) {
    IrNames names = { .helpers = lift_helpers(), .env_name = lift_env_name };
    fprintf(out, "mode %08x budget %d smc %x+%x\n", g->gen.mode, g->budget, g->smc_at,
            g->smc ? g->smc_bytes : 0);
    for (unsigned s = 0; s < 6; s++)
        fprintf(out, "  seg %u base %08x limit %08x access %04x class %u\n", s, g->cpu->seg[s].base,
                g->cpu->seg[s].limit, g->cpu->seg[s].access, g->gen.seg_class[s]);
    ir_print(g->plain, &names, out);
    fprintf(out, "optimised:\n");
    ir_print(g->block, &names, out);
    fprintf(out, "hot:\n");
    dump_host(out, g->code.hot, g->code.hot_bytes, (u64)(uintptr_t)g->code.hot);
    fprintf(out, "cold:\n");
    dump_host(out, g->code.cold, g->code.cold_bytes, (u64)(uintptr_t)g->code.cold);
    dump_restores(out, &g->code, g->block);
}

static void show(FILE *out, const char *name, const State *s) {
    fprintf(out, "%-6s %s eip %08x flags %03x spent %u fault %u %u %x %x mmio %016llx\n      ", name,
            end_names[s->end], s->eip, s->flags, s->spent, s->fault[0], s->fault[1], s->fault[2],
            s->fault[3], (unsigned long long)s->mmio_hash);
    for (unsigned r = 0; r < 8; r++) fprintf(out, " %08x", s->regs[r]);
    fprintf(out, "\n");
}

static void show_difference(FILE *out, const char *name, const u8 *start, const u8 *a, const u8 *b,
                            u32 bytes, u32 base) {
    for (u32 i = 0, shown = 0; i < bytes && shown < 12; i++)
        if (a[i] != b[i]) {
            fprintf(out, "  %s %08x: start %02x code %02x eval %02x\n", name, base + i, start[i], a[i],
                    b[i]);
            shown++;
        }
}

static void show_failure(Rig *g, const char *what) {
    const State *a = &g->coded, *b = &g->eval;
    fprintf(stderr, "\n%s: SEED=%llu with %u instructions\n", what, (unsigned long long)g->seed,
            g->gen.insns);
    describe(g, stderr);
    show(stderr, "start", &g->start);
    show(stderr, "code", a);
    show(stderr, "eval", b);
    show_difference(stderr, "memory", g->start.memory, a->memory, b->memory, MEMORY_BYTES, MEMORY);
    show_difference(stderr, "mmio", g->start.mmio, a->mmio, b->mmio, MMIO_BYTES, 0);
    show_difference(stderr, "env", g->start.env, a->env, b->env, ENV_BYTES, 0);
    show_difference(stderr, "fpu", b->fpu, a->fpu, b->fpu, sizeof a->fpu, 0);
    fprintf(stderr, "reproduce: SEED=%llu build/tests/test_x64\n", (unsigned long long)g->seed);
}

// ---- arranging ----------------------------------------------------------------------------------
static const u16 helpers_called[] = {
    HELPER_flags, HELPER_smsw, HELPER_daa, HELPER_das, HELPER_aaa, HELPER_aas, HELPER_aam, HELPER_aad,
    HELPER_bound, HELPER_lar, HELPER_verr, HELPER_pushf, HELPER_cli, HELPER_arpl, HELPER_sldt,
};

static void arrange_segment(Rig *g, unsigned s, bool real) {
    CpuSeg *seg = &g->cpu->seg[s];
    u32 last = (real ? WRAP_WINDOW : WINDOW) + pick(g, WINDOW_BYTES + 16);
    *seg = (CpuSeg){ .limit = 0xffffffff, .access = 0xc093 };
    if (real) {
        *seg = (CpuSeg){ .base = 0x10 * (MEMORY / 16 - 0xf00 + pick(g, 0x500)), .limit = 0xffff,
                         .access = 0x93 };
        if (one_in(g, 8)) seg->base += 1 + pick(g, 15);
        if (one_in(g, 8)) seg->limit = last;
        return;
    }
    if (one_in(g, 2)) return;
    seg->base = one_in(g, 4) ? 0 : pick(g, 0x9000);
    if (one_in(g, 2)) return;
    switch (s == CPU_CS ? 4 : pick(g, 5)) {       // CS's class says nothing about writing
    case 0: seg->access = 0xc091; break;                                  // read-only
    case 1: seg->access = 0xc097; seg->limit = last; break;               // expand-down
    case 2: seg->access = 0x97; seg->limit = 0x8000; break;               // the same, up to 64K
    default: seg->limit = last; break;
    }
}

// Page tables map the memory as it is, or neighbours in each other's place; some pages are in a bad way.
static void arrange_pages(Rig *g, bool paging) {
    u32 swap = one_in(g, 2) ? 0x1000 : 0;
    bus_map_ram(g->c->bus, MEMORY >> 12, PAGES, bus_ram(g->c->bus) + MEMORY);
    for (u32 i = 0; i < PAGES; i++) {
        u32 rights = swap ? 0x67 : 7;
        switch (g->smc ? 13 : pick(g, 14)) {
        case 0: rights -= 1; break;
        case 1: rights -= 2; break;
        case 2: bus_map_mmio(g->c->bus, (MEMORY >> 12) + i, 1, g->mmio_region, i << 12); break;
        default: break;
        }
        poke32(g->c, AT_PT + 4 * ((MEMORY >> 12) + i), MEMORY + ((i << 12) ^ (i + 1 < PAGES ? swap : 0)) + rights);
    }
    g->cpu->cr0 = (g->cpu->cr0 & 0x7ffeffff) | (paging ? 0x80010000 : 0);
    mmu_flush(g->cpu);
}

// It shows nothing yet; pages that have been accessed are there.
static void arrange_window(Rig *g) {
    window_reset(g->cpu, g->cpu->mmu->space);
    for (u32 i = 0; i < PAGES; i++) mmu_fill_quietly(g->cpu, lin(MEMORY + (i << 12)), true);
}

static void arrange_machine(Rig *g) {
    Cpu *cpu = g->cpu;
    bool real = one_in(g, 4), flat = !real && one_in(g, 2);
    cpu->cr0 = (cpu->cr0 & 0x7ffffffe) | (real ? 0 : 1);
    cpu->cpl = !real && one_in(g, 2) ? 3 : 0;
    for (unsigned s = 0; s < 6; s++) {
        if (flat) cpu->seg[s] = (CpuSeg){ .limit = 0xffffffff, .access = 0xc093 };
        else arrange_segment(g, s, real);
    }
    g->smc = one_in(g, 6);
    g->jit->target.bmi2 = g->host_bmi2 && !one_in(g, 4);
    arrange_pages(g, !real && !g->smc && one_in(g, 2));
    cpu_update_mode(cpu);
    g->gen.mode = cpu->mode;
    for (unsigned s = 0; s < 6; s++) g->gen.seg_class[s] = MODE_SEG_CLASS(cpu->mode, s);
    g->gen.wrap16 = real;
    g->gen.window = real ? WRAP_WINDOW : WINDOW;
    g->gen.window_bytes = real ? 0xff : WINDOW_BYTES;
    g->smc_at = (flat ? WINDOW : MEMORY) + pick(g, 256);
    g->smc_bytes = 1 + pick(g, 64);
    g->budget = one_in(g, 4) ? (i32)pick(g, 12) : 1000;
}

static void arrange_start(Rig *g) {
    State *s = &g->start;
    for (unsigned r = 0; r < 8; r++) s->regs[r] = (u32)irgen_random(&g->random);
    s->flags = (u32)irgen_random(&g->random) & FLAG_OSZAPC;
    for (u32 i = 0; i < MEMORY_BYTES; i += 8) put_le64(s->memory + i, irgen_random(&g->random));
    for (u32 i = 0; i < MMIO_BYTES; i += 8) put_le64(s->mmio + i, irgen_random(&g->random));
    for (u32 i = 0; i < ENV_BYTES; i += 8) put_le64(s->env + i, irgen_random(&g->random));
}

// ---- flags at entry: in the CPU state, or a recipe as an edge would leave it ----------------------
static u32 place_value(const Rig *g, u8 place) {
    if (place < 8) return g->start.regs[place];
    if (place == X64_AT_IMM) return g->flags.imm;
    return place == X64_AT_ZERO ? 0 : g->flag_words[place - X64_AT_A];
}

static void arrange_flags(Rig *g) {
    static const u8 kinds[] = { FLAGS_ADD, FLAGS_ADDR, FLAGS_SUB, FLAGS_SUBR, FLAGS_LOGIC, FLAGS_INC, FLAGS_DEC,
                                FLAGS_SHL, FLAGS_SHR, FLAGS_SAR, FLAGS_ADCR, FLAGS_SBBR,
                                FLAGS_NEGR, FLAGS_LAHF };      // MUL leaves most undefined
    u8 kind = kinds[pick(g, ARRAY_LEN(kinds))], size = (u8)pick(g, 3), regs = size ? 8 : 4;
    bool shift = kind == FLAGS_SHL || kind == FLAGS_SHR || kind == FLAGS_SAR;
    X64Recipe *f = &g->flags;
    *f = (X64Recipe){ .op = X64_FLAGS_IN_STATE };
    for (unsigned i = 0; i < 3; i++) g->flag_words[i] = (u32)irgen_random(&g->random);
    if (one_in(g, 2)) return;
    *f = (X64Recipe){ .op = (u8)FLAGS_OP(kind, size), .a = (u8)pick(g, regs), .b = (u8)pick(g, regs),
                      .c = one_in(g, 2) ? X64_AT_C : X64_AT_ZERO, .imm = (u32)irgen_random(&g->random) };
    if (shift || kind == FLAGS_LAHF || f->a == f->b || one_in(g, 3)) f->a = X64_AT_A;
    if (one_in(g, 3)) f->b = one_in(g, 2) ? X64_AT_B : X64_AT_IMM;
    if (shift) f->b = X64_AT_IMM;
    if (shift) f->imm = 1 + f->imm % 31;
    g->flag_words[2] &= ~0xfeu;                               // SETC
    if (kind == FLAGS_LAHF) g->flag_words[0] &= ~0xfeu;       // SETO AL
    g->start.flags = flags_compute(f->op, place_value(g, f->a), place_value(g, f->b), place_value(g, f->c));
}

static void state_load_flags(Rig *g) {
    if (g->flags.op == X64_FLAGS_IN_STATE) return;
    g->cpu->flag_op = 0xff;                   // nobody may look
    g->cpu->flag_a = g->flag_words[0];
    g->cpu->flag_b = g->flag_words[1];
    g->cpu->flag_c = g->flag_words[2];
}

// ---- generated code -----------------------------------------------------------------------------
static X64Entry code_entry(const Rig *g) {
    return (X64Entry){ .checked = true, .flat = g->gen.seg_class[CPU_CS] == SEG_FLAT, .eip = EIP,
                       .base = g->cpu->seg[CPU_CS].base, .expects = mmu_code_entry(0, 0),      // linear = physical
                       .form = g->form, .flags = g->flags };
}

// The same code and records come out at another address (what -restore retranslate relies on).
static bool code_is_repeatable(Rig *g) {
    X64Code again;
    X64Entry entry = code_entry(g);
    u32 hot = g->code.hot_bytes + 1024, cold = g->code.cold_bytes + 1024;
    u8 *scratch = arena_alloc(g->arena, hot + cold);
    if (!x64_emit(g->block, &g->jit->target, &entry, scratch, scratch + hot, scratch + hot,
                  scratch + hot + cold, &again)) return false;
    return again.hot_bytes == g->code.hot_bytes && again.cold_bytes == g->code.cold_bytes &&
        again.restore_count == g->code.restore_count &&
        !memcmp(again.restores, g->code.restores, again.restore_count * sizeof *again.restores);
}

static Block *code_insert(Rig *g) {
    size_t restore_bytes = g->code.restore_count * sizeof *g->code.restores;
    Block *b = arena_alloc(g->arena, sizeof *b + restore_bytes + sizeof(BlockPart) + g->block->insns * sizeof(i16));
    *b = (Block){ .eip = EIP, .phys = g->smc ? g->smc_at : CODE_AT, .second_ppn = JIT_NO_PAGE,
                  .bytes = (u16)(g->smc ? g->smc_bytes : 1), .insns = (u8)g->block->insns, .parts = 1,
                  .hot = g->code.hot, .cold = g->code.cold, .hot_bytes = (u16)g->code.hot_bytes,
                  .cold_bytes = (u16)g->code.cold_bytes, .fast = (u16)g->code.fast,
                  .uses_xmm = g->code.uses_xmm, .restore_count = (u16)g->code.restore_count,
                  .flags.op = X64_FLAGS_IN_STATE };
    if (g->smc && (b->phys & 0xfff) + b->bytes > 0x1000) b->bytes = 0x1000 - (b->phys & 0xfff);
    g->smc_bytes = b->bytes;
    memcpy(block_restores(b), g->code.restores, restore_bytes);
    *block_part(b) = (BlockPart){ .offset = b->phys & 0xfff, .bytes = b->bytes };
    i16 *offset = block_insn_offset(b);
    for (u32 i = 0; i < g->block->count; i++)
        if (g->block->ops[i].code == IR_INSN) *offset++ = (i16)(g->block->ops[i].imm - EIP);
    cache_insert(g->jit, b);
    return b;
}

// The edge that has asked: the pc is the question, or the last byte of its stub's call.
static u32 code_edge_target(const Rig *g, const u8 *pc) {
    for (const X64Edge *x = g->code.edges, *end = x + g->code.edge_count; x < end; x++)
        if (pc == (x->bare ? x->stub : x->stub_jump + 3)) return x->target;
    fail_msg("host pc %p is no edge", (const void *)pc);
    return 0;
}

static EndKind code_end(Rig *g, const Block *b, u32 exit) {
    Cpu *cpu = g->cpu;
    const X64Restore *r;
    u32 value = (u32)cpu->jit_word[WORD_EXIT_VALUE];
    const u8 *pc = (const u8 *)(uintptr_t)cpu->jit_word[WORD_EXIT_PC];
    EndKind end = END_FAULT;
    switch (exit) {
    case EXIT_LINK:
        restore_edge_flags(g->jit, b, pc);
        cpu->eip = code_edge_target(g, pc);
        return END_JUMP;
    case EXIT_UNGROUP: end = END_UNGROUP; break;
    case EXIT_LATE: end = END_ALONE; break;
    case EXIT_LOOKUP: return END_JUMP;
    case EXIT_POLL: end = END_POLL; break;
    case EXIT_RAISE: eval_raise(g, value & 0xff, value & 0x100, value >> 16); break;
    case EXIT_FAULT: end = cpu->fault.kind == CPU_RESTART ? END_RESTART : END_FAULT; break;
    case EXIT_SIGNAL: cpu_raise(cpu, value); break;
    default: fail_msg("exit %u", exit);
    }
    arena_reset(g->jit->step_arena);
    if (!restore_state(g->jit, pc, &r)) {
        show_failure(g, "exit from outside the block");
        fail_msg("exit %u from %p", exit, (const void *)pc);
    }
    return end;
}

// The late part of a check that fails: as late.c has it, but from the IR that is at hand.
static const u8 *code_late(Rig *g, Block *b, const u8 *pc) {
    Jit *jit = g->jit;
    X64Entry entry = code_entry(g);
    u32 question = late_question(jit, b, pc);
    X64Late at = { .question = question, .hot_at = b->hot, .hot_room = b->hot_bytes + 1024u,
                   .cold_room = b->cold_bytes + 1024u, .late = jit->cold_next, .late_end = jit->cold_end };
    X64Code again;
    at.scratch = arena_alloc(g->arena, at.hot_room + at.cold_room);
    if (!x64_emit_late(g->block, &jit->target, &entry, &at, &again)) fail_msg("no room for the late part");
    assert_true(again.hot_bytes == b->hot_bytes && again.cold_bytes == b->cold_bytes);
    assert_true(again.late_bytes && again.late_jump_count);
    late_install(jit, b, question, &again);
    jit->cpu->jit_word[WORD_LATE] = (u64)(uintptr_t)b->late->code;
    return b->uses_xmm ? jit->resume_sse : jit->resume;
}

static u32 code_enter(Rig *g, Block *b, const u8 *code) {
    for (;;) {
        u32 exit = ((JitEnter)(uintptr_t)g->jit->enter)(g->cpu, code);
        if (exit == EXIT_ASK) exit = late_answer(g->jit);
        if (exit != EXIT_LATE || g->alone) return exit;
        g->lates++;
        code = code_late(g, b, (const u8 *)(uintptr_t)g->cpu->jit_word[WORD_EXIT_PC]);
    }
}

static void run_code(Rig *g) {
    Jit *jit = g->jit;
    X64Entry entry = code_entry(g);
    u32 ppn;
    u8 *cold = jit->cold_next;
    cache_mode_key(jit);
    if (one_in(g, 2)) {                       // behind another block's row
        Buf row = { jit->cold_next, jit->cold_next, jit->cold_end };
        enc_patch32(enc_call32(&row), jit->target.ask);
        jit->cold_next = row.p;
        entry.joins = true;
    }
    if (!x64_emit(g->block, &jit->target, &entry, jit->hot_next, jit->hot_end, jit->cold_next,
                  jit->cold_end, &g->code)) fail_msg("no room for code");
    if (!code_is_repeatable(g)) {
        show_failure(g, "code is not the same the second time");
        fail();
    }
    jit->cold_next = g->code.cold + g->code.cold_bytes + g->code.call_bytes;
    Block *b = code_insert(g);
    cpu_fetch_page(g->cpu, lin(g->cpu->seg[CPU_CS].base + EIP), &ppn);
    state_load(g, &g->start);
    state_load_flags(g);
    u32 entry_at = one_in(g, 2) ? 0 : b->fast;
    u32 exit = code_enter(g, b, b->hot + entry_at);
    EndKind end = code_end(g, b, exit);
    state_save(g, &g->coded, end, g->cpu->eip);
    cache_invalidate(jit, b);
    bus_page(jit->bus, b->phys >> PAGE_SHIFT)->blocks = NULL;      // a flush would not find it
    jit->block_count = 0;                     // the same code memory again
    jit->cold_next = cold;
    jit->entered = NULL;
    late_forget(jit);
    restore_forget(jit);
}

// ---- eval ---------------------------------------------------------------------------------------
static IrEvalResult run_eval_once(Rig *g, u32 insns) {
    Cpu *cpu = g->cpu;
    IrMachine m = { .self = g, .regs = cpu->regs, .flag_op = &cpu->flag_op, .flag_a = &cpu->flag_a,
        .flag_b = &cpu->flag_b, .flag_c = &cpu->flag_c, .env = (u8 *)cpu, .load = eval_load,
        .store = eval_store, .probe = eval_probe, .call = eval_call, .raise = eval_raise };
    state_load(g, &g->start);
    g->smc_hit = false;
    g->jit->stepping = true;
    IrEvalResult r = ir_eval(g->plain, &m, insns);
    g->jit->stepping = false;
    return r;
}

// What the budget of a run says: instructions for an end inside the block, charges at an exit.
static u32 charged_before(const IrBlock *b, u32 end_op) {
    u32 sum = 0;
    for (u32 i = 0; i < end_op && i < b->count; i++)
        if (b->ops[i].code == IR_POLL || b->ops[i].code == IR_COUNT) sum += b->ops[i].imm;
    return sum;
}

static u32 insn_index(const IrBlock *b, u32 eip) {
    u32 n = 0;
    for (u32 i = 0; i < b->count; i++)
        if (b->ops[i].code == IR_INSN) {
            if (b->ops[i].imm == eip) return n;
            n++;
        }
    return n;
}

// Eval stops where the code has stopped to poll or to be restarted; else it runs to its own end.
static const char *run_eval(Rig *g) {
    bool inside = g->coded.end >= END_POLL;
    u32 stop = inside ? insn_index(g->plain, g->coded.eip) : 1000;
    IrEvalResult r = run_eval_once(g, stop);
    EndKind end = r.end == IR_EVAL_FAULT ? END_FAULT : inside ? g->coded.end : END_JUMP;
    bool written = g->smc_hit;
    state_save(g, &g->eval, end, r.eip);
    g->eval.spent = end == END_JUMP ? charged_before(g->plain, r.op) : r.insns;
    if (written) return "code did not stop at a store to itself";
    if (g->coded.end == END_RESTART) {
        run_eval_once(g, stop + 1);
        if (!g->smc_hit) return "code stopped without a store to itself";
    }
    if (g->coded.end == END_POLL && (i32)charged_before(g->plain, r.op + 3) <= g->budget)
        return "code left at a poll with budget to spare";
    return NULL;
}

static const char *compare(const State *a, const State *b) {
    if (a->end != b->end) return "end";
    if (a->eip != b->eip) return "eip";
    if (memcmp(a->regs, b->regs, sizeof a->regs)) return "registers";
    if (a->flags != b->flags) return "flags";
    if (memcmp(a->fault, b->fault, sizeof a->fault)) return "fault";
    if (memcmp(a->memory, b->memory, sizeof a->memory)) return "memory";
    if (memcmp(a->mmio, b->mmio, sizeof a->mmio)) return "device memory";
    if (a->mmio_hash != b->mmio_hash) return "device accesses";
    if (memcmp(a->env, b->env, sizeof a->env)) return "CPU state";
    if (memcmp(a->fpu, b->fpu, sizeof a->fpu)) return "x87";
    if (a->spent != b->spent) return "budget";
    return NULL;
}

// ---- cases --------------------------------------------------------------------------------------
static void case_arrange(Rig *g, u64 seed, unsigned insns) {
    g->seed = seed;
    g->random = seed ^ 0x5851f42d4c957f2du;
    g->gen = irgen_default(seed);
    g->gen.eip = EIP;
    g->gen.insns = insns;
    g->gen.same_flags = true;
    g->gen.env_offset = offsetof(Cpu, msr_misc);
    g->gen.env_bytes = ENV_BYTES;
    g->gen.helpers = lift_helpers();
    g->gen.calls = helpers_called;
    g->gen.call_count = ARRAY_LEN(helpers_called);
    arrange_machine(g);
    arrange_start(g);
    arrange_flags(g);
    g->gen.polls = g->budget < 1000 || one_in(g, 2);
    g->gen.fpu = one_in(g, 2);
    g->form = (u8)pick(g, X64_FORMS);
    g->cpu->window_credit = one_in(g, 4) ? 1000 : (i32)pick(g, 4);
    if (g->form == X64_DETOUR && g->cpu->cpl == 3) arrange_window(g);
    g->grouped = one_in(g, 2);
    g->alone = one_in(g, 8);
}

static const char *case_run(Rig *g, u64 seed, unsigned insns) {
    arena_reset(g->arena);
    case_arrange(g, seed, insns);
    g->plain = irgen_block(g->arena, &g->gen);
    g->block = irgen_block(g->arena, &g->gen);
    const char *bad = ir_verify(g->plain);
    if (bad) fail_msg("seed %llu: %s", (unsigned long long)seed, bad);
    translate_optimize(g->block, g->grouped);
    if (!g->grouped && (bad = ir_verify(g->block))) fail_msg("seed %llu: %s", (unsigned long long)seed, bad);
    run_code(g);
    bad = run_eval(g);
    if (!bad) bad = compare(&g->coded, &g->eval);
    g->ends[g->coded.end]++;
    if (g->coded.end == END_FAULT) g->vectors[g->coded.fault[0] & 31]++;
    return bad;
}

static unsigned case_insns(u64 seed) { return 4 + (unsigned)(seed * 0x9e3779b97f4a7c15u >> 59); }

// Fails with the shortest block of this seed that fails.
static void case_fail(Rig *g, u64 seed) {
    for (unsigned insns = 1; insns <= case_insns(seed); insns++) {
        const char *bad = case_run(g, seed, insns);
        if (!bad) continue;
        show_failure(g, bad);
        fail();
    }
    case_run(g, seed, case_insns(seed));
    show_failure(g, "only once");
    fail();
}

static u64 env_number(const char *name, u64 other) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : other;
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_random_blocks(void **state) {
    Rig *g = *state;
    u64 first = env_number("SEED", 1), count = env_number("N", getenv("SEED") ? 1 : 40000), i;
    double start = seconds();
    struct sigaction sa = { .sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO };
    sigaction(SIGFPE, &sa, NULL);             // cmocka has set its own for the test
    signal(SIGABRT, on_abort);
    for (i = 0; i < count; i++) {
        if (case_run(g, first + i, case_insns(first + i))) case_fail(g, first + i);
        if (!getenv("N") && seconds() - start > 8) break;
    }
    print_message("%llu blocks: %u jumps, %u faults (#DE %u #BR %u #SS %u #GP %u #PF %u), %u polls, "
                  "%u restarts, %u ungrouped, %u alone, %u pages shown, %u late parts\n", (unsigned long long)i,
                  g->ends[0], g->ends[1], g->vectors[0], g->vectors[5], g->vectors[12], g->vectors[13],
                  g->vectors[14], g->ends[2], g->ends[3], g->ends[4], g->ends[5],
                  (unsigned)g->cpu->stats.window_pages, g->lates);
    if (count < 5000 || i < 5000) return;
    for (unsigned k = 0; k < END_UNGROUP; k++) assert_true(g->ends[k] > i / 200);
    assert_true(g->vectors[0] > 10 && g->vectors[12] > 10 && g->vectors[13] > 10);
    assert_true(g->ends[END_ALONE] > i / 200 && g->lates > i / 10);
    assert_true(g->vectors[14] > 10 && g->vectors[5] > 10);
    assert_true(g->cpu->stats.window_pages > i / 40);
}

// ---- the fixture --------------------------------------------------------------------------------
static int rig_setup(void **state) {
    Rig *g = calloc(1, sizeof *g);
    char *error = NULL;
    JitOptions options = { .cache_mib = 4 };
    g->c = testcpu_open();
    g->cpu = g->c->cpu;
    testcpu_protect(g->c);
    testcpu_page(g->c, 7);
    g->jit = jit_new(g->cpu, g->c->bus, &g->c->t.log, &options, &error);
    if (!g->jit) return 1;
    g->host_bmi2 = g->jit->target.bmi2;
    mmu_stress_windows(g->cpu);
    BusMmio ops = { "test", g, mmio_read, mmio_write };
    g->mmio_region = bus_add_mmio(g->c->bus, &ops);
    g->arena = arena_new(1 << 16);
    signal_rig = g;
    *state = g;
    return 0;
}

static int rig_teardown(void **state) {
    Rig *g = *state;
    jit_free(g->jit);
    arena_free(g->arena);
    testcpu_close(g->c);
    free(g);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_blocks) };
    return cmocka_run_group_tests_name("x64", tests, rig_setup, rig_teardown);
}
