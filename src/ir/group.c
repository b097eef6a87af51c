// SPDX-License-Identifier: MIT
// Groups: several memory accesses behind one check.
//
// An address is known as value-of-something + constant: the something is a version of a register (or of
// two, with a scale), where adding a constant to a register or copying it keeps the version. Accesses with
// the same something, within IR_GROUP_SPAN bytes, form a group if at least two are found. The first one's
// check covers [lowest, highest end) of all: one page, loads or stores, and the alignment of those that want
// multiples of 16 (which they all are, or none). Whatever the check cannot cover
// (a page border, memory that is not RAM) leaves the block at that instruction, before any change.
//
// Addresses of 16 bits are followed by versions of the registers' lower halves. Their check also sees to it that none
// of the group wraps at 64 KiB: [lowest, highest end) lies below 0x10000 before the segment's base is added.
//
// At most two groups are open at a time: each holds a host register from its first to its last access.
#include "ir/ir.h"

#include <string.h>

#define GROUP_SPAN 256
#define GROUP_OPEN 8

// Value of an address: what its key says, plus offset.
//     key    0-27 version of the base (0: none) | 28-55 of the index, << scale | 56-57 scale
//            63 all of it in 16 bits
// A candidate's key says besides:  58-59 segment class | 60-62 segment, where it is not flat
typedef struct GroupAddr { u64 key; u32 offset; u32 ea; bool known; } GroupAddr;     // ea: the op that computes it
#define GROUP_KEY_BASE(version) ((u64)(version))
#define GROUP_KEY_INDEX(version, scale) ((u64)(version) << 28 | (u64)(scale) << 56)
#define GROUP_KEY_HALF ((u64)1 << 63)
#define GROUP_KEY_SEGMENT(cls, seg) ((u64)(cls) << 58 | (cls == GROUP_FLAT ? 0 : (u64)(seg) << 60))
enum { GROUP_FLAT = 1 };       // the class whose segments have one base

typedef struct Candidate {
    u64 key;
    u32 offset;                // of the first member; those of others are relative to it
    i32 low, high;             // relative to offset: lowest address, highest end
    bool write, aligned;       // aligned: some want multiples of 16, whose offsets are `phase` modulo 16
    u8 phase;
    u32 count, first, last;    // members; indices of ops
} Candidate;

typedef struct Access { u32 op; i32 rel; u32 candidate; } Access;     // rel: to its candidate's offset; candidate + 1

typedef struct Grouper {
    IrBlock *b;
    u32 version[2][8], delta[2][8];    // of the guest registers, and of their lower halves
    u32 next_version;
    u32 changed;               // index + 1 of the last op that changed one of them
    GroupAddr *temp;
    Candidate *candidate;
    u32 candidates;
    Access *access;            // in order
    u32 accesses;
} Grouper;

static unsigned group_bytes(const IrOp *op) {
    return op->code == IR_LOAD || op->code == IR_STORE ? op->size : op->aux;
}

static bool group_writes(const IrOp *op) { return ir_info[op->code].props & IRP_STORE || op->attr & IR_RMW; }

static GroupAddr group_ea(const Grouper *g, const IrOp *op, u32 index) {
    bool half = op->size == 2;
    GroupAddr at = { .key = half ? GROUP_KEY_HALF : 0, .offset = op->imm, .known = true, .ea = index };
    if (op->a != IR_NONE) {
        if (ir_kind(op->a) != IR_KIND_REG) return (GroupAddr){ 0 };
        at.key |= GROUP_KEY_BASE(g->version[half][ir_reg(op->a)]);
        at.offset += g->delta[half][ir_reg(op->a)];
    }
    if (op->b != IR_NONE) {
        if (ir_kind(op->b) != IR_KIND_REG) return (GroupAddr){ 0 };
        at.key |= GROUP_KEY_INDEX(g->version[half][ir_reg(op->b)], op->aux);
        at.offset += g->delta[half][ir_reg(op->b)] << op->aux;
    }
    return at;
}

// From one offset to another, of addresses with this key.
static i32 group_distance(u64 key, u32 from, u32 to) {
    return key & GROUP_KEY_HALF ? (i16)(to - from) : (i32)(to - from);
}

// The EA is computed at the access: its registers must not have changed since.
static bool group_still_holds(const Grouper *g, const GroupAddr *at) {
    if (g->changed <= at->ea) return true;
    GroupAddr now = group_ea(g, &g->b->ops[at->ea], at->ea);
    return now.known && now.key == at->key && !group_distance(at->key, now.offset, at->offset);
}

// False: the address is not known, or not any more.
static bool group_resolve(const Grouper *g, const IrOp *op, GroupAddr *at) {
    IrRef r = op->a;
    u64 half = op->addr16 ? GROUP_KEY_HALF : 0;
    switch (ir_kind(r)) {
    case IR_KIND_REG:
        *at = (GroupAddr){ .key = GROUP_KEY_BASE(g->version[0][ir_reg(r)]), .offset = g->delta[0][ir_reg(r)] };
        return !half;
    case IR_KIND_CONST: *at = (GroupAddr){ .key = half, .offset = ir_value(g->b, r) }; return true;
    case IR_KIND_TEMP:
        *at = g->temp[ir_index(r)];
        return at->known && (at->key & GROUP_KEY_HALF) == half && group_still_holds(g, at);
    default: return false;
    }
}

static bool group_join(Candidate *c, const IrOp *op, u32 i, i32 rel) {
    i32 end = rel + (i32)group_bytes(op);
    i32 low = rel < c->low ? rel : c->low, high = end > c->high ? end : c->high;
    if (rel < -GROUP_SPAN || rel > GROUP_SPAN || high - low > GROUP_SPAN) return false;
    if (op->attr & IR_ALIGN16) {
        if (c->aligned && c->phase != (rel & 15)) return false;
        c->aligned = true;
        c->phase = rel & 15;
    }
    c->low = low;
    c->high = high;
    c->write |= group_writes(op);
    c->last = i;
    c->count++;
    return true;
}

// A candidate for the access: one that it joins, or a new one.
static void group_add_access(Grouper *g, const IrOp *op, u32 i, u32 classes, u32 open) {
    GroupAddr at;
    Access *access = &g->access[g->accesses++];
    *access = (Access){ .op = i };
    if (!(classes >> op->seg_class & 1) || !group_resolve(g, op, &at)) return;
    u64 key = at.key | GROUP_KEY_SEGMENT(op->seg_class, op->seg);
    u32 from = g->candidates > open + GROUP_OPEN ? g->candidates - GROUP_OPEN : open;
    for (u32 n = g->candidates; n-- > from;) {
        Candidate *c = &g->candidate[n];
        i32 rel = group_distance(key, c->offset, at.offset);
        if (c->key != key || !group_join(c, op, i, rel)) continue;
        *access = (Access){ .op = i, .rel = rel, .candidate = n + 1 };
        return;
    }
    g->candidate[g->candidates++] = (Candidate){ .key = key, .offset = at.offset, .high = (i32)group_bytes(op),
        .write = group_writes(op), .aligned = op->attr & IR_ALIGN16, .count = 1, .first = i, .last = i };
    access->candidate = g->candidates;
}

static void group_new_version(Grouper *g, unsigned r) {
    for (unsigned half = 0; half < 2; half++) {
        g->version[half][r] = g->next_version++;
        g->delta[half][r] = 0;
    }
}

// Is what op computes a register (*from) plus a constant?
static bool group_is_sum(const Grouper *g, const IrOp *op, unsigned *from, u32 *add) {
    *add = 0;
    *from = ir_reg(op->a);
    if (ir_kind(op->a) != IR_KIND_REG) return false;
    if (op->code == IR_MOV) return true;
    if (op->code == IR_EA) {
        *add = op->imm;
        return op->b == IR_NONE;
    }
    if ((op->code != IR_ADD && op->code != IR_SUB) || !ir_is_const(op->b)) return false;
    *add = ir_value(g->b, op->b);
    if (op->code == IR_SUB) *add = -*add;
    return true;
}

// r = other register + constant keeps the version.
static void group_define(Grouper *g, const IrOp *op, u32 i) {
    unsigned r = ir_reg(op->d), from;
    u32 add, version[2], delta[2];
    bool sum = op->size >= 2 && group_is_sum(g, op, &from, &add);
    for (unsigned half = 0; sum && half < 2; half++) {
        version[half] = g->version[half][from];
        delta[half] = g->delta[half][from] + add;
    }
    g->changed = i + 1;
    group_new_version(g, r);
    for (unsigned half = op->size == 4 ? 0 : 1; sum && half < 2; half++) {
        g->version[half][r] = version[half];
        g->delta[half][r] = delta[half];
    }
}

static void group_effects(Grouper *g, const IrOp *op, u32 i) {
    unsigned kind = ir_kind(op->d);
    if (kind == IR_KIND_REG) {
        group_define(g, op, i);
    } else if (kind == IR_KIND_TEMP) {
        GroupAddr *temp = &g->temp[ir_index(op->d)];
        if (op->code == IR_EA) *temp = group_ea(g, op, i);
        else temp->known = false;
    }
}

// Ops that change registers without naming them.
static void group_forget(Grouper *g, const IrOp *op, u32 i) {
    g->changed = i + 1;
    group_new_version(g, 0);
    if (op->code != IR_FPU) group_new_version(g, 2);
    if (op->code != IR_CALL) return;
    for (unsigned r = 0; r < 8; r++) group_new_version(g, r);
}

// May a group's check stand at the n-th access? Where it fails the guest instruction begins anew, so that nothing
// of it may have been done that shows: an access before it must be in a group (RAM) as well, one of the
// `decided` first candidates.
static bool group_may_begin(const Grouper *g, u32 n, const u16 *chosen, u32 decided) {
    for (u32 i = g->access[n].op; i-- > 0 && g->b->ops[i].code != IR_INSN;) {
        if (g->b->ops[i].code == IR_CALL) return false;
        if (!n || g->access[n - 1].op != i) continue;
        u32 of = g->access[--n].candidate;
        if (!(of && of <= decided && chosen[of - 1])) return false;
    }
    return true;
}

// Drops the candidate's first members until one is left where the check may stand.
static void group_find_first(Grouper *g, u32 n, const u16 *chosen) {
    Candidate *c = &g->candidate[n];
    for (u32 k = 0; k < g->accesses && c->count > 1; k++) {
        if (g->access[k].candidate != n + 1) continue;
        c->first = g->access[k].op;
        if (group_may_begin(g, k, chosen, n)) return;
        g->access[k].candidate = 0;
        c->count--;
    }
}

// Gives the candidates with two or more members registers, in order; the rest stay single accesses.
static void group_choose(Grouper *g, u16 *chosen) {
    IrBlock *b = g->b;
    u32 busy_until[2] = { 0, 0 };
    bool busy[2] = { false, false };
    for (u32 n = 0; n < g->candidates; n++) {
        Candidate *c = &g->candidate[n];
        chosen[n] = 0;
        if (c->count > 1) group_find_first(g, n, chosen);
        if (c->count < 2 || b->group_count == IR_MAX_GROUPS) continue;
        unsigned reg = !busy[0] || busy_until[0] < c->first ? 0 : 1;
        if (reg == 1 && busy[1] && busy_until[1] >= c->first) continue;
        busy[reg] = true;
        busy_until[reg] = c->last;
        b->groups[b->group_count] = (IrGroup){ .span = (u16)(c->high - c->low), .write = c->write,
            .reg = (u8)reg, .aligned = c->aligned, .phase = (u8)((c->phase - c->low) & 15),
            .first = c->first, .last = c->last };
        chosen[n] = (u16)++b->group_count;
    }
}

static void group_mark(Grouper *g, const u16 *chosen) {
    for (const Access *access = g->access; access < g->access + g->accesses; access++) {
        u16 group = access->candidate ? chosen[access->candidate - 1] : 0;
        if (!group) continue;
        const Candidate *c = &g->candidate[access->candidate - 1];
        IrOp *op = &g->b->ops[access->op];
        op->group = group - 1;
        op->group_offset = (u16)(access->rel - c->low);
        op->attr |= access->op == c->first ? IR_GROUP_FIRST : IR_GROUPED;
    }
}

static Grouper group_begin(IrBlock *b) {
    Grouper g = { .b = b, .next_version = 1 };
    for (unsigned r = 0; r < 8; r++) group_new_version(&g, r);
    g.temp = arena_alloc(b->arena, (b->temp_count + 1) * sizeof *g.temp);
    memset(g.temp, 0, (b->temp_count + 1) * sizeof *g.temp);
    g.candidate = arena_alloc(b->arena, b->count * sizeof *g.candidate);
    g.access = arena_alloc(b->arena, b->count * sizeof *g.access);
    return g;
}

static void group_collect(Grouper *g, u32 classes) {
    u32 open = 0;                        // candidates before this one are closed
    const IrOp *ops = g->b->ops, *end = ops + g->b->count;
    for (const IrOp *op = ops; op < end; op++) {
        if (op->code == IR_INSN) continue;
        u32 i = (u32)(op - ops), props = ir_info[op->code].props;
        if (props & (IRP_LOAD | IRP_STORE)) group_add_access(g, op, i, classes, open);
        if (op->code == IR_CALL) open = g->candidates;
        if (props & (IRP_WIDE | IRP_CALL) || op->code == IR_FPU) group_forget(g, op, i);
        group_effects(g, op, i);
    }
}

void ir_group(IrBlock *b, u32 classes) {
    b->group_count = 0;
    if (!b->count) return;
    Grouper g = group_begin(b);
    group_collect(&g, classes);
    if (g.candidates == g.accesses) return;          // nobody has joined another: no groups
    u16 *chosen = arena_alloc(b->arena, (g.candidates + 1) * sizeof *chosen);
    b->groups = arena_alloc(b->arena, IR_MAX_GROUPS * sizeof *b->groups);
    group_choose(&g, chosen);
    group_mark(&g, chosen);
}
