// SPDX-License-Identifier: MIT
// Guest bytes -> block. The pipeline, in order:
//
//     decode + lift   until the block ends, the page ends or enough instructions are in; direct jumps and calls
//                     inside the page are followed, and so is the return from such a call
//     poll            one per block: charges its instructions, leaves when the budget is used up
//     fold, flags     the passes
//     emit            into the hot and cold areas
//     insert          into hash and page lists
//
// An instruction that goes on to the next page is a block of its own, tied to both pages.
#include "jit/jit_int.h"

#include "cpu/mmu.h"
#include "lift/lift.h"

#include <stdlib.h>
#include <string.h>

#define LIFT_SIDE_EXITS 4              // forward Jcc's that a block may go beyond
#define LIFT_LEAVES 8                  // conditional leaves likewise

// ---- polls ---------------------------------------------------------------------------------------------------
// A block falls into segments, each ending with an exit; a segment's instructions are charged in it, so
// that an exit has charged exactly what was executed. What charges them is put in front of the segment and moved
// to its place, behind an INSN mark, when the block is complete.
typedef struct Segment {
    u32 first, end;            // ops [first, end)
    u32 insns;                 // in all of the block before it; then in it
    bool polls;
} Segment;
#define SEGMENTS_MAX (LIFT_SIDE_EXITS + JIT_MAX_FOLLOWS + LIFT_LEAVES + 2)

static bool poll_is_exit(const IrOp *op) { return ir_info[op->code].props & IRP_EXIT; }

// A cycle of instructions has a step backward, in a block or on an edge, or an indirect edge: only segments with
// one poll, others count. (Where a GUARD fails the run loop looks.) In counted time all poll, so that none
// overruns its budget by more than a block.
static bool poll_needed(const IrOp *op, u32 eip) {
    bool direct = op->code == IR_JMP || op->code == IR_JCC || op->code == IR_JZ || op->code == IR_JNZ;
    return op->code == IR_JMPI || (direct && op->imm <= eip);
}

// The last `exits` exits of the ops so far are of the instruction at eip. The segment may end here: is the last op one?
static bool segment_leaves(Segment *s, const IrBlock *ir, u32 exits, u32 eip) {
    for (const IrOp *op = &ir->ops[ir->count]; exits > 0;) {
        if (!poll_is_exit(--op)) continue;
        s->polls |= poll_needed(op, eip);
        exits--;
    }
    return poll_is_exit(&ir->ops[ir->count - 1]);
}

// Are the flags before op i, which the poll there shows to the outside, a plain sum's or logic result's of this
// block? Then they can be had from its operands.
static bool poll_flags_are_cheap(const IrBlock *ir, u32 i) {
    while (i-- > 0) {
        const IrOp *op = &ir->ops[i];
        if (!op->fdef) continue;
        bool plain = op->code == IR_ADD || op->code == IR_SUB || op->code == IR_AND || op->code == IR_OR ||
                     op->code == IR_XOR;
        return plain && (op->d == IR_NONE || ir_kind(op->d) == IR_KIND_REG);
    }
    return false;
}

// Does code of the segment read flags that are there before op i?
static bool poll_flags_are_read(const IrBlock *ir, const Segment *s, u32 i) {
    u16 open = FLAG_OSZAPC;
    for (; i < s->end && open; i++) {
        const IrOp *op = &ir->ops[i];
        if (op->fuse & open) return true;
        open &= ~op->fdef;
    }
    return false;
}

// Is there an access to memory in the instruction whose mark is op i?
static bool poll_faults(const IrBlock *ir, u32 i) {
    while (++i < ir->count && ir->ops[i].code != IR_INSN)
        if (ir_info[ir->ops[i].code].props & (IRP_LOAD | IRP_STORE)) return true;
    return false;
}

// Where the poll costs least: at an instruction before which no flags are wanted by code. The best is one that
// can fault anyway (then nothing new can be observed), the first of them, so that those behind it can be put
// together; then one before which flags are cheap; then the first. Index of its INSN mark.
static u32 poll_place(const IrBlock *ir, const Segment *s) {
    u32 first = 0, last = s->first + 1;
    for (u32 i = last; i < s->end; i++)
        if (ir->ops[i].code == IR_INSN && poll_faults(ir, i) && !poll_flags_are_read(ir, s, i)) return i;
    for (u32 i = last; i < s->end; i++) {
        if (ir->ops[i].code != IR_INSN) continue;
        last = i;
        if (poll_flags_are_read(ir, s, i)) continue;
        if (poll_flags_are_cheap(ir, i)) return i;
        if (!first) first = i;
    }
    return first ? first : last;
}

// Moves what charges the segment behind the mark at op i.
static void poll_settle(IrBlock *ir, const Segment *s, u32 i, IrCode code) {
    IrOp *op = &ir->ops[s->first], charge = *op;
    memmove(op, op + 1, (i - s->first) * sizeof *op);
    charge.code = (u8)code;
    charge.imm = s->insns;
    ir->ops[i] = charge;
}

// What is known of a segment when the next one is: `s` are n, and room for one more.
static void segment_end_all(Segment *s, u32 n, const IrBlock *ir) {
    s[n] = (Segment){ .first = ir->count, .insns = ir->insns };
    for (Segment *end = s + n; s < end; s++) {
        s->end = s[1].first;
        s->insns = s[1].insns - s->insns;
    }
}

// One poll in a block is enough (but in counted time): it is before those of the segments that would come after it.
static void poll_settle_all(IrBlock *ir, bool always, const Segment *s, u32 n) {
    const Segment *end = s + n;
    for (bool polled = false; s < end; s++) {
        bool poll = always || (s->polls && !polled);
        polled |= poll;
        if (poll) poll_settle(ir, s, poll_place(ir, s), IR_POLL);
        else poll_settle(ir, s, s->first + 1, IR_COUNT);
    }
}

// ---- the way through the guest's code ------------------------------------------------------------------------
typedef struct Walk {
    const Source *src;
    Lifted *l;
    bool softens;              // immediates may be soft
    bool limited;              // some of the page is beyond CS's limit
    i32 at;                    // offset from eip of the next instruction
    u32 insns, max_insns, stop;     // stop: after as many
    u32 side_exits, follows, leaves;
    u32 returns[JIT_MAX_FOLLOWS], calls;     // where the calls followed return to
    i32 part;                  // likewise of the piece of the page that the block goes through
    bool back;                 // the next instruction lies before the last one
    Segment *segment;          // room for SEGMENTS_MAX and one
    u32 segments;
    Segment *open;             // the last of them, if it goes on; or NULL
} Walk;

static bool walk_is_inside(const Walk *w, i32 at) {
    return at >= -(i32)w->src->before && at < (i32)w->src->count;
}

// The piece of the page up to w->at is in the block. An empty one is none.
static void walk_close_part(Walk *w) {
    Lifted *l = w->l;
    u32 bytes = (u32)(w->at - w->part);
    if (!bytes) return;
    l->part[l->parts++] = (BlockPart){ (u16)(PAGE_BYTES - w->src->count + (u32)w->part), (u16)bytes };
    l->bytes += bytes;
}

// May the block go on at this eip? Inside the page, with an instruction that is not in it yet.
static bool walk_follow(Walk *w, u32 eip) {
    i32 at = (i32)(eip - w->src->eip);
    const Log *filter = w->src->filter;
    if (!walk_is_inside(w, at) || w->follows == JIT_MAX_FOLLOWS || w->insns >= w->max_insns) return false;
    if (w->src->no_follow) return false;
    if (filter && log_pc_chosen(filter, eip) != log_pc_chosen(filter, w->src->eip)) return false;
    for (u32 i = 0; i < w->insns; i++)
        if (w->l->insn_offset[i] == at) return false;
    w->follows++;
    w->back = at <= w->l->insn_offset[w->insns - 1];
    if (w->at != at) {
        walk_close_part(w);
        w->part = at;
    }
    w->at = at;
    return true;
}

// The block's last op, an exit, is not wanted.
static void walk_drop_exit(IrBlock *ir) {
    ir->count--;
    ir->exits--;
}

// A forward Jcc: its way not taken goes on (ops: .., jcc, jmp next).
static bool walk_beyond_jcc(Walk *w, u32 next) {
    IrBlock *ir = w->l->ir;
    if (ir->count < 2 || w->side_exits >= LIFT_SIDE_EXITS) return false;
    const IrOp *jcc = &ir->ops[ir->count - 2], *jmp = &ir->ops[ir->count - 1];
    if (jcc->code != IR_JCC || jmp->code != IR_JMP || jmp->imm != next || jcc->imm < next) return false;
    walk_drop_exit(ir);
    w->side_exits++;
    return true;
}

// An instruction has ended the block: can it go on all the same?
static bool walk_goes_on(Walk *w, const Insn *in) {
    IrBlock *ir = w->l->ir;
    IrOp *last = &ir->ops[ir->count - 1];
    u32 next = w->src->eip + (u32)w->at;
    unsigned lifter = isa_row(in)->lifter;
    if (walk_beyond_jcc(w, next)) return true;
    if (last->code == IR_JMP && (lifter == ISA_LIFT_JMP || lifter == ISA_LIFT_CALL) && walk_follow(w, last->imm)) {
        walk_drop_exit(ir);
        if (lifter == ISA_LIFT_CALL) w->returns[w->calls++] = next;
        return true;
    }
    if (last->code != IR_JMPI || !(last->attr & IR_RETURN) || !w->calls) return false;
    u32 back = w->returns[w->calls - 1];
    if (!walk_follow(w, back)) return false;
    w->calls--;
    last->code = IR_GUARD;
    last->attr = 0;
    last->imm = back;
    return true;
}

static bool walk_may_break(const Walk *w) {
    return cache_may_break(w->src->stops, PAGE_BYTES - w->src->count + (u32)w->at);
}

static bool walk_softens(const Source *src) {
    bool simple = MODE_SEG_CLASS(src->mode, CPU_CS) == SEG_FLAT && !(src->mode & MODE_AC);
    if (src->like) return simple && src->like->soft_count;
    return simple && src->softened && smc_may_soften(src->softened, src->phys);
}

// The immediate of the instruction at w->at is soft: the lifter loads it.
static void walk_soften(Walk *w, const Insn *in) {
    const Source *src = w->src;
    Lifted *l = w->l;
    l->ir->soft_imm = 0;
    if (l->soft_count == JIT_MAX_SOFT) return;
    u32 bytes = smc_immediate(in), at = PAGE_BYTES - src->count + (u32)w->at + in->length - bytes;
    bool soft = bytes && src->softened && smc_is_soft(src->softened, (src->phys & PAGE_MASK) + at);
    for (u32 i = 0; bytes && src->like && i < src->like->soft_count; i++) soft |= block_soft(src->like)[i].offset == at;
    if (!soft) return;
    l->soft[l->soft_count++] = (BlockPart){ (u16)at, (u16)bytes };
    l->ir->soft_imm = (u8)bytes;
}

// The segment that the next instruction belongs to.
static __attribute__((noinline)) Segment *walk_new_segment(Walk *w) {
    IrBlock *ir = w->l->ir;
    Segment *s = w->open = &w->segment[w->segments++];
    *s = (Segment){ .first = ir->count, .insns = ir->insns };
    ir_put(ir, IR_COUNT, 4, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    return s;
}

static inline Segment *walk_segment(Walk *w) { return w->open ? w->open : walk_new_segment(w); }

// Is an offset that the block may come to beyond the limit? The page may lie around offset 0.
static bool walk_is_limited(const Source *src) {
    u32 first = src->eip - src->before, last = src->eip + (src->count - 1);
    return first > last || last > src->limit;
}

// Of an instruction that may be none, or beyond the limit of CS. True: the block ends.
static __attribute__((noinline)) bool walk_lift_checked(IrBlock *ir, u32 limit, const Insn *in, IsaStatus st, u32 eip) {
    if (st != ISA_OK) {
        lift_undefined(ir, in, eip, st);
        return true;
    }
    if (eip <= limit && in->length - 1u <= limit - eip) return lift_insn(ir, in, eip);
    ir_insn(ir, eip, in->length);
    ir_raise(ir, VEC_GP, true, 0);
    return true;
}

// An instruction has ended the block (or `ended` is false), or built exits.
static __attribute__((noinline)) bool walk_exits(Walk *w, const Insn *in, IsaStatus st, u32 exits, bool ended) {
    IrBlock *ir = w->l->ir;
    u32 eip = w->src->eip + (u32)w->l->insn_offset[w->insns - 1];
    bool goes_on = !ended || (st == ISA_OK && walk_goes_on(w, in));
    if (ir->exits == exits) return goes_on;
    if (segment_leaves(w->open, ir, ir->exits - exits, eip)) w->open = NULL;
    if (ir->ops[ir->count - 1].code == IR_LEAVENZ && ++w->leaves == LIFT_LEAVES) w->stop = w->insns;
    return goes_on;
}

// One instruction, lifted as w->at is. False: nothing follows it.
static inline bool walk_insn(Walk *w, const Insn *in, IsaStatus st) {
    IrBlock *ir = w->l->ir;
    u32 eip = w->src->eip + (u32)w->at, exits = ir->exits;
    Segment *s = walk_segment(w);
    if (w->back) {
        s->polls = true;
        w->back = false;
    }
    w->l->insn_offset[w->insns++] = (i16)w->at;
    bool checked = st != ISA_OK || w->limited;
    bool ended = checked ? walk_lift_checked(ir, w->src->limit, in, st, eip) : lift_insn(ir, in, eip);
    w->at += in->length;
    return ended || ir->exits != exits ? walk_exits(w, in, st, exits, ended) : true;
}

// The block ends before w->at.
static void walk_end(Walk *w) {
    IrBlock *ir = w->l->ir;
    u32 last = w->src->eip + (u32)w->l->insn_offset[w->insns - 1];
    ir_jmp(ir, w->src->eip + (u32)w->at);
    segment_leaves(&w->segment[w->segments - 1], ir, 1, last);
}

// The instruction at the page's end, put together from both pages.
static bool walk_crossing(Walk *w) {
    const Source *src = w->src;
    Lifted *l = w->l;
    u8 bytes[2 * ISA_MAX_BYTES] = { 0 };
    if (!src->second) return false;
    memcpy(bytes, src->bytes, src->count);
    memcpy(bytes + src->count, src->second, ISA_MAX_BYTES);
    Insn in;
    IsaStatus st = isa_decode(bytes, ISA_MAX_BYTES, src->mode & MODE_CODE32, &in);
    Segment *s = walk_segment(w);
    if (!walk_lift_checked(l->ir, src->limit, &in, st, src->eip)) lift_end(l->ir);
    segment_leaves(s, l->ir, l->ir->exits, src->eip);
    l->bytes = in.length;
    l->second = in.length > src->count;
    l->insn_offset[0] = 0;
    l->part[0] = (BlockPart){ (u16)(PAGE_BYTES - src->count), (u16)min_u32(in.length, src->count) };
    l->parts = 1;
    return true;
}

// False: the first instruction goes on to a page that is not known.
static bool walk(Walk *w) {
    const Source *src = w->src;
    bool goes_on = true, code32 = src->mode & MODE_CODE32;
    w->stop = src->like ? min_u32(src->like->insns, w->max_insns) : w->max_insns;
    // It comes from a place inside the page and goes up: only the end is in its way.
    while (goes_on && w->at < (i32)src->count && w->insns < w->stop && !(src->stops && w->insns && walk_may_break(w))) {
        Insn in;
        IsaStatus st = isa_decode(src->bytes + w->at, src->count - (u32)w->at, code32, &in);
        if (st == ISA_NEED_MORE && !w->insns) return walk_crossing(w);
        if (st == ISA_NEED_MORE) break;
        if (w->softens && st == ISA_OK) walk_soften(w, &in);
        goes_on = walk_insn(w, &in, st);
    }
    walk_close_part(w);
    if (goes_on) walk_end(w);
    return true;
}

bool translate_lift(Arena *arena, const Source *src, u32 max_insns, Lifted *l) {
    IrBlock *ir = ir_block_new(arena, lift_helpers(), src->eip, src->mode, src->mode & MODE_CODE32);
    Segment segment[SEGMENTS_MAX + 1];
    Walk w = { .src = src, .l = l, .softens = walk_softens(src), .limited = walk_is_limited(src),
               .max_insns = max_insns, .segment = segment };
    ir->code_limit = src->limit;
    ir->features = src->features;
    l->ir = ir;
    l->parts = l->bytes = l->soft_count = 0;           // the arrays are as long as these say
    l->second = false;
    if (walk(&w)) {
        segment_end_all(segment, w.segments, ir);
        poll_settle_all(ir, src->counted, segment, w.segments);
    } else {
        l->ir = NULL;
    }
    return l->ir != NULL;
}

void translate_optimize(IrBlock *ir, bool group) {
    ir_fold(ir);
    if (group) ir_group(ir, BIT(SEG_FLAT) | BIT(SEG_BASED) | BIT(SEG_CHECKED) | BIT(SEG_REAL));
    ir_forward(ir);
    ir_steps(ir);
    ir_flags(ir);
#ifdef GLASSBOX_DEBUG
    const char *wrong = ir_verify(ir);
    if (wrong) panic("IR of block %08x: %s", ir->eip, wrong);
#endif
}

// ---- bytes ---------------------------------------------------------------------------------------------------
// Bytes of a physical page from `offset` on. Pages without host memory (MMIO, nothing) are read by the bus.
static const u8 *source_page(Jit *jit, Arena *arena, u32 ppn, u32 offset, u32 count) {
    BusPage *page = bus_page(jit->bus, ppn);
    if (page->host) return page->host + offset;
    u8 *copy = arena_alloc(arena, count);
    for (u32 i = 0; i < count; i++) copy[i] = (u8)bus_read(jit->bus, phy((u64)ppn << PAGE_SHIFT | (offset + i)), 1);
    return copy;
}

static Source source_at(Jit *jit, Arena *arena, u32 eip, u32 key, u32 phys) {
    u32 offset = phys & ~PAGE_MASK, count = PAGE_BYTES - offset;
    return (Source){ .eip = eip, .mode = key & 0x03ffffff, .features = jit->cpu->cpuid_features,
                     .limit = jit->cs_limits[key >> 26 & 31],
                     .bytes = source_page(jit, arena, phys >> PAGE_SHIFT, offset, count), .count = count,
                     .before = bus_page(jit->bus, phys >> PAGE_SHIFT)->host ? offset : 0,
                     .stops = jit->break_count ? jit : NULL, .counted = jit->opt.icount,
                     .filter = jit->log, .no_follow = jit->opt.no_follow, .phys = phys };
}

static u32 max_insns(const Jit *jit) {
    return jit->opt.max_insns ? min_u32(jit->opt.max_insns, JIT_MAX_INSNS) : JIT_MAX_INSNS;
}

static X64Entry entry_of(u32 eip, u32 base, u32 key, u32 phys, X64Recipe flags, bool checked, const Lifted *l,
                         u32 first_bytes, u32 second_ppn) {
    X64Entry e = { .checked = checked, .flat = MODE_SEG_CLASS(key, CPU_CS) == SEG_FLAT, .eip = eip, .base = base,
                   .expects = mmu_code_entry((base + eip) >> PAGE_SHIFT, phys >> PAGE_SHIFT),
                   .second = l->second, .flags = flags, .form = jit_form(key) };
    if (l->second) {
        e.second_eip = eip + first_bytes;
        e.second_expects = mmu_code_entry((base + e.second_eip) >> PAGE_SHIFT, second_ppn);
    }
    return e;
}

// ---- log -----------------------------------------------------------------------------------------------------
void translate_print_insns(const Source *src, const Lifted *l, FILE *out) {
    for (u32 i = 0; i < l->ir->insns; i++) {
        u8 bytes[2 * ISA_MAX_BYTES] = { 0 };
        i32 at = l->insn_offset[i];
        u32 have = min_u32(src->count - (u32)at, ISA_MAX_BYTES);
        memcpy(bytes, src->bytes + at, have);
        if (src->second) memcpy(bytes + have, src->second, ISA_MAX_BYTES);
        Insn in;
        char text[128];
        if (isa_decode(bytes, ISA_MAX_BYTES, src->mode & MODE_CODE32, &in) == ISA_OK)
            isa_format(&in, src->eip + (u32)at, ISA_ATT, text, sizeof text);
        else strcpy(text, "(bad)");
        fprintf(out, "0x%08x:  %s\n", src->eip + (u32)at, text);
        if (!in.length) break;
    }
    fprintf(out, "\n");
}

static void log_lifted(Jit *jit, const Source *src, const Lifted *l) {
    FILE *out = jit->log->file;
    if (log_on(jit->log, LOG(IN_ASM))) {
        fprintf(out, "----------------\nIN: \n");
        translate_print_insns(src, l, out);
    }
    if (log_on(jit->log, LOG(OP))) {
        IrNames names = { .helpers = lift_helpers(), .env_name = lift_env_name };
        fprintf(out, "OP:\n");
        ir_print(l->ir, &names, out);
        fprintf(out, "\n");
    }
}

static void log_optimized(Jit *jit, const IrBlock *ir) {
    IrNames names = { .helpers = lift_helpers(), .env_name = lift_env_name };
    fprintf(jit->log->file, "OP after optimization and liveness analysis:\n");
    ir_print(ir, &names, jit->log->file);
    fprintf(jit->log->file, "\n");
}

static void log_host(Jit *jit, const X64Code *code) {
    FILE *out = jit->log->file;
    u32 cold = code->cold_bytes + code->call_bytes;
    fprintf(out, "OUT: [size=%u]\n", code->hot_bytes + cold);
    dump_host(out, code->hot, code->hot_bytes, (u64)(uintptr_t)code->hot);
    if (cold) {
        fprintf(out, "  -- cold --\n");
        dump_host(out, code->cold, cold, (u64)(uintptr_t)code->cold);
    }
    fprintf(out, "\n");
    fflush(out);
}

// ---- blocks --------------------------------------------------------------------------------------------------
static void block_take_edges(Jit *jit, Block *b, const X64Code *code) {
    b->first_edge = jit->edge_count;
    b->edge_count = (u16)code->edge_count;
    while (jit->edge_count + code->edge_count > jit->edge_capacity) {
        jit->edge_capacity *= 2;
        jit->edge = mem_resize(jit->edge, jit->edge_capacity * sizeof *jit->edge);
    }
    for (u32 i = 0; i < code->edge_count; i++) {
        const X64Edge *x = &code->edges[i];
        jit->edge[jit->edge_count++] = (Edge){ .from = b, .target = x->target, .jump = x->jump, .stub = x->stub,
            .stub_jump = x->stub_jump, .saves_flags = x->saves_flags, .bare = x->bare };
    }
}

// The block, and what lies behind it but its source, for which there is room.
static Block *block_make(Jit *jit, u32 eip, u32 key, u32 phys, const Lifted *l, const X64Code *code) {
    size_t bytes = sizeof(Block) + code->restore_count * sizeof *code->restores + l->parts * sizeof *l->part +
                   l->soft_count * sizeof *l->soft + l->ir->insns * sizeof *l->insn_offset + l->bytes;
    require(code->hot_bytes <= UINT16_MAX && code->cold_bytes <= UINT16_MAX);
    size_t before = jit->opt.check ? BLOCK_CHECKED_BYTES : 0;
    Block *b = (Block *)(void *)((u8 *)arena_alloc(jit->meta, before + bytes) + before);
    if (before) *block_checked(b) = NULL;
    *b = (Block){ .eip = eip, .key = key, .phys = phys, .second_ppn = JIT_NO_PAGE,
                  .bytes = (u16)l->bytes, .insns = (u8)l->ir->insns, .flags_dead = !l->ir->flags_in,
                  .hot = code->hot, .cold = code->cold, .hot_bytes = (u16)code->hot_bytes,
                  .cold_bytes = (u16)code->cold_bytes, .fast = (u16)code->fast, .live = (u16)code->live,
                  .uses_xmm = code->uses_xmm, .restore_count = (u16)code->restore_count,
                  .soft_count = (u8)l->soft_count, .parts = (u8)l->parts };
    memcpy(block_restores(b), code->restores, code->restore_count * sizeof *code->restores);
    memcpy(block_part(b), l->part, l->parts * sizeof *l->part);
    memcpy(block_soft(b), l->soft, l->soft_count * sizeof *l->soft);
    memcpy(block_insn_offset(b), l->insn_offset, l->ir->insns * sizeof *l->insn_offset);
    block_take_edges(jit, b, code);
    jit->stats.blocks++;
    jit->stats.guest_bytes += b->bytes;
    jit->stats.guest_insns += b->insns;
    return b;
}

// What the code has taken of code memory.
static void block_take_room(Jit *jit, const X64Code *code, bool joins) {
    u8 *end = code->cold + code->cold_bytes + code->call_bytes;
    u32 questions = 0;
    for (const X64Restore *r = code->restores + code->restore_count; r > code->restores && r[-1].ask; r--) questions++;
    jit->row_questions = questions + (joins && code->cold < jit->cold_next ? jit->row_questions : 0);
    jit->row_end = code->call_bytes ? end : NULL;
    jit->hot_next = (u8 *)(((uintptr_t)code->hot + code->hot_bytes + 15) & ~(uintptr_t)15);
    jit->stats.hot_bytes += code->hot_bytes;
    jit->stats.cold_bytes += (u64)(end - jit->cold_next);
    jit->cold_next = end;
}

// Lifts the block, fetching the second page if its first instruction goes on there.
static bool lift_block(Jit *jit, Source *src, Lifted *l, u32 *second_ppn) {
    *second_ppn = JIT_NO_PAGE;
    if (translate_lift(jit->arena, src, max_insns(jit), l)) return true;
    Cpu *cpu = jit->cpu;
    u32 next = (cpu->seg[CPU_CS].base + src->eip + src->count) & PAGE_MASK;
    if (!cpu_fetch_page(cpu, lin(next), second_ppn)) return false;
    src->second = source_page(jit, jit->arena, *second_ppn, 0, ISA_MAX_BYTES);
    translate_lift(jit->arena, src, max_insns(jit), l);
    if (!l->second) *second_ppn = JIT_NO_PAGE;
    return true;
}

static void translate_passes(const Jit *jit, IrBlock *ir, bool group) {
    translate_optimize(ir, group);
    if (jit->spoil) jit->spoil(jit, ir);
}

// What the new block will be written to is new to the host's caches as well: by the time it is, it is there.
static void fetch_room(const Jit *jit) {
    enum { LINE_BYTES = 64, BLOCK_LINES = 4 };
    for (unsigned n = 0; n < BLOCK_LINES; n++) __builtin_prefetch(jit->meta->next + n * LINE_BYTES, 1);
    __builtin_prefetch(jit->cold_next, 1);
}

// NULL: fault recorded, or *full: the cache has no room.
static Block *translate(Jit *jit, u32 eip, u32 key, u32 phys, X64Recipe flags, bool checked, bool *full) {
    *full = false;
    fetch_room(jit);
    arena_reset(jit->arena);
    Source src = source_at(jit, jit->arena, eip, key, phys);
    src.softened = jit;
    Lifted l;
    u32 second_ppn;
    if (!lift_block(jit, &src, &l, &second_ppn)) return NULL;
    bool chosen = log_pc_chosen(jit->log, eip);
    if (chosen && log_on(jit->log, LOG(IN_ASM) | LOG(OP))) log_lifted(jit, &src, &l);
    bool grouped = !cache_is_ungrouped(jit, key, phys);
    translate_passes(jit, l.ir, grouped);
    if (chosen && log_on(jit->log, LOG(OP_OPT))) log_optimized(jit, l.ir);
    u32 base = jit->cpu->seg[CPU_CS].base;
    X64Entry entry = entry_of(eip, base, key, phys, flags, checked, &l, src.count, second_ppn);
    entry.joins = jit->row_end == jit->cold_next && jit->row_questions < JIT_ROW_QUESTIONS;
    X64Code code;
    *full = !x64_emit(l.ir, &jit->target, &entry, jit->hot_next, jit->hot_end, jit->cold_next,
                      jit->cold_end - JIT_LATE_ROOM, &code);
    if (*full) return NULL;
    block_take_room(jit, &code, entry.joins);
    if (chosen && log_on(jit->log, LOG(OUT_ASM))) log_host(jit, &code);
    Block *b = block_make(jit, eip, key, phys, &l, &code);
    b->base = base;
    b->second_ppn = second_ppn;
    b->grouped = grouped;
    b->has_groups = l.ir->group_count;
    b->flags = flags;
    b->entry_is_hot = checked || l.second;
    b->entry = b->entry_is_hot ? b->hot : NULL;
    smc_keep_source(jit, b);
    cache_insert(jit, b);
    names_add_block(jit);
    if (jit->on_block) inspect_tell_block(jit, b);
    return b;
}

Block *translate_block(Jit *jit, u32 eip, u32 key, u32 phys, bool checked) {
    bool full;
    Block *b = translate(jit, eip, key, phys, (X64Recipe){ .op = X64_FLAGS_IN_STATE }, checked, &full);
    if (!full) return b;
    if (!jit->block_count) panic("block at %08x does not fit into an empty code cache", eip);
    cache_flush(jit);
    return cache_find(jit, eip);                   // keys have got new meanings
}

Block *translate_variant(Jit *jit, const Block *b, const X64Recipe *flags) {
    bool full;
    Block *variant = translate(jit, b->eip, b->key, b->phys, *flags, true, &full);
    if (full) cache_flush(jit);
    return variant;
}

// A block may have ended before an instruction that goes on to the next page, and whose bytes, which are none of
// the block's, have changed since.
bool translate_lift_again(Jit *jit, const Block *b, Source *src, Lifted *l) {
    arena_reset(jit->arena);
    *src = source_at(jit, jit->arena, b->eip, b->key, b->phys);
    src->like = b;
    if (b->second_ppn != JIT_NO_PAGE)
        src->second = source_page(jit, jit->arena, b->second_ppn, 0, ISA_MAX_BYTES);
    return translate_lift(jit->arena, src, max_insns(jit), l);
}

static bool translate_once_more(Jit *jit, const Block *b, Lifted *l, X64Late *at, X64Code *code) {
    enum { ROOM = 1024, LATE = 128 };                  // for late parts in scratch memory: of each op
    Source src;
    if (!translate_lift_again(jit, b, &src, l)) return false;
    translate_passes(jit, l->ir, b->grouped);
    X64Entry entry = entry_of(b->eip, b->base, b->key, b->phys, b->flags, b->entry_is_hot, l, src.count,
                              b->second_ppn);
    at->hot_at = b->hot;
    at->hot_room = b->hot_bytes + ROOM;
    at->cold_room = b->cold_bytes + ROOM;
    u32 scratch = at->hot_room + at->cold_room, late = at->late ? 0 : l->ir->count * LATE + ROOM;
    at->scratch = arena_alloc(jit->arena, scratch + late);
    if (!at->late) at->late_end = (at->late = at->scratch + scratch) + late;
    return x64_emit_late(l->ir, &jit->target, &entry, at, code);
}

bool translate_again(Jit *jit, const Block *b, Lifted *l, X64Code *code) {
    X64Late at = { .question = X64_ALL_LATE };
    return translate_once_more(jit, b, l, &at, code);
}

bool translate_late(Jit *jit, const Block *b, u32 question, X64Code *code) {
    X64Late at = { .question = question, .late = jit->cold_next, .late_end = jit->cold_end };
    Lifted l;
    return translate_once_more(jit, b, &l, &at, code);
}
