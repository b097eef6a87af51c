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
// At most two groups are open at a time: each holds a host register from its first to its last access.
#include "ir/ir.h"

#include <string.h>

#define GROUP_SPAN 256
#define GROUP_OPEN 8

// Value of an address: versions a, b of registers (0: none), b << scale, plus offset.
typedef struct GroupAddr { u32 a, b; u32 offset; u8 scale; bool known; u32 ea; } GroupAddr;

typedef struct Candidate {
    GroupAddr at;              // of the first member; offsets of others are relative to its
    i32 low, high;             // relative to at.offset: lowest address, highest end
    u8 seg, seg_class;
    bool write, aligned;       // aligned: some want multiples of 16, whose offsets are `phase` modulo 16
    u8 phase;
    u32 count, first, last;
} Candidate;

typedef struct Grouper {
    IrBlock *b;
    u32 version[8], delta[8];  // of the guest registers
    u32 next_version;
    GroupAddr *temp;
    Candidate *candidate;
    u32 candidates;
    u16 *of_op;                // candidate + 1 of each op
    i32 *rel;                  // offset of each op relative to its candidate's at.offset
} Grouper;

static bool group_is_access(const IrOp *op) {
    switch (op->code) {
    case IR_LOAD: case IR_STORE: case IR_FPULD: case IR_FPUST: case IR_SIMDLD: case IR_SIMDST: return true;
    default: return false;
    }
}

static unsigned group_bytes(const IrOp *op) {
    return op->code == IR_LOAD || op->code == IR_STORE ? op->size : op->aux;
}

static bool group_writes(const IrOp *op) {
    return op->code == IR_STORE || op->code == IR_FPUST || op->code == IR_SIMDST || op->attr & IR_RMW;
}

static GroupAddr group_resolve(const Grouper *g, IrRef r) {
    switch (ir_kind(r)) {
    case IR_KIND_REG: return (GroupAddr){ .a = g->version[ir_reg(r)], .offset = g->delta[ir_reg(r)], .known = true };
    case IR_KIND_CONST: return (GroupAddr){ .offset = ir_value(g->b, r), .known = true };
    case IR_KIND_TEMP: return g->temp[ir_index(r)];
    default: return (GroupAddr){ 0 };
    }
}

static GroupAddr group_ea(const Grouper *g, const IrOp *op, u32 index) {
    GroupAddr at = { .scale = op->aux, .offset = op->imm, .known = op->size == 4, .ea = index };
    if (op->a != IR_NONE) {
        if (ir_kind(op->a) != IR_KIND_REG) return (GroupAddr){ 0 };
        at.a = g->version[ir_reg(op->a)];
        at.offset += g->delta[ir_reg(op->a)];
    }
    if (op->b != IR_NONE) {
        if (ir_kind(op->b) != IR_KIND_REG) return (GroupAddr){ 0 };
        at.b = g->version[ir_reg(op->b)];
        at.offset += g->delta[ir_reg(op->b)] << op->aux;
    } else at.scale = 0;
    return at;
}

static bool group_same(const GroupAddr *x, const GroupAddr *y) {
    return x->a == y->a && x->b == y->b && x->scale == y->scale;
}

static bool group_join(Grouper *g, Candidate *c, const IrOp *op, u32 i, const GroupAddr *at) {
    if (c->seg_class != op->seg_class || !group_same(&c->at, at)) return false;
    if (op->seg_class != 1 && c->seg != op->seg) return false;      // not flat: another base
    i32 rel = (i32)(at->offset - c->at.offset), end = rel + (i32)group_bytes(op);
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
    g->of_op[i] = (u16)(c - g->candidate + 1);
    g->rel[i] = rel;
    return true;
}

// The EA is computed at the access: its registers must not have changed since.
static bool group_still_holds(const Grouper *g, const IrOp *op, const GroupAddr *at) {
    if (ir_kind(op->a) != IR_KIND_TEMP) return true;
    GroupAddr now = group_ea(g, &g->b->ops[at->ea], at->ea);
    return now.known && group_same(&now, at) && now.offset == at->offset;
}

static void group_add_access(Grouper *g, const IrOp *op, u32 i, u32 classes, u32 open) {
    if (!(classes >> op->seg_class & 1) || op->addr16) return;
    GroupAddr at = group_resolve(g, op->a);
    if (!at.known || !group_still_holds(g, op, &at)) return;
    u32 from = g->candidates > open + GROUP_OPEN ? g->candidates - GROUP_OPEN : open;
    for (u32 n = g->candidates; n-- > from;)
        if (group_join(g, &g->candidate[n], op, i, &at)) return;
    Candidate *c = &g->candidate[g->candidates++];
    *c = (Candidate){ .at = at, .high = (i32)group_bytes(op), .seg = op->seg, .seg_class = op->seg_class,
                      .write = group_writes(op), .aligned = op->attr & IR_ALIGN16, .count = 1, .first = i, .last = i };
    g->of_op[i] = (u16)g->candidates;
    g->rel[i] = 0;
}

static void group_new_version(Grouper *g, unsigned r) {
    g->version[r] = g->next_version++;
    g->delta[r] = 0;
}

// r = other register + constant keeps the version.
static void group_define(Grouper *g, const IrOp *op) {
    if (ir_kind(op->d) != IR_KIND_REG) return;
    unsigned r = ir_reg(op->d);
    bool from_reg = ir_kind(op->a) == IR_KIND_REG && op->size == 4;
    unsigned s = ir_reg(op->a);
    u32 add = 0;
    bool keeps = false;
    if (op->code == IR_MOV && from_reg) keeps = true;
    else if (op->code == IR_EA && from_reg && op->b == IR_NONE) { keeps = true; add = op->imm; }
    else if ((op->code == IR_ADD || op->code == IR_SUB) && from_reg && ir_is_const(op->b)) {
        keeps = true;
        add = ir_value(g->b, op->b);
        if (op->code == IR_SUB) add = -add;
    }
    if (!keeps) { group_new_version(g, r); return; }
    g->version[r] = g->version[s];
    g->delta[r] = g->delta[s] + add;
}

static void group_effects(Grouper *g, const IrOp *op, u32 i) {
    u16 props = ir_info[op->code].props;
    if (props & IRP_WIDE) { group_new_version(g, 0); group_new_version(g, 2); }
    if (op->code == IR_FPU) group_new_version(g, 0);
    if (op->code == IR_EA && ir_kind(op->d) == IR_KIND_TEMP) g->temp[ir_index(op->d)] = group_ea(g, op, i);
    else if (ir_kind(op->d) == IR_KIND_TEMP) g->temp[ir_index(op->d)].known = false;
    group_define(g, op);
}

// May a group's check stand at op i? Where it fails the guest instruction begins anew, so that nothing
// of it may have been done that shows: an access before i must be in a group (RAM) as well, one of the
// `decided` first candidates.
static bool group_may_begin(const Grouper *g, u32 i, const u16 *chosen, u32 decided) {
    while (i-- > 0 && g->b->ops[i].code != IR_INSN) {
        const IrOp *op = &g->b->ops[i];
        if (op->code == IR_CALL) return false;
        u32 of = g->of_op[i];
        if (group_is_access(op) && !(of && of <= decided && chosen[of - 1])) return false;
    }
    return true;
}

// Drops the candidate's first members until one is left where the check may stand.
static void group_find_first(Grouper *g, u32 n, const u16 *chosen) {
    Candidate *c = &g->candidate[n];
    for (u32 i = c->first; i <= c->last && c->count > 1; i++) {
        if (g->of_op[i] != n + 1) continue;
        c->first = i;
        if (group_may_begin(g, i, chosen, n)) return;
        g->of_op[i] = 0;
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
    for (u32 i = 0; i < g->b->count; i++) {
        if (!g->of_op[i]) continue;
        const Candidate *c = &g->candidate[g->of_op[i] - 1];
        u16 group = chosen[g->of_op[i] - 1];
        if (!group) continue;
        IrOp *op = &g->b->ops[i];
        op->group = group - 1;
        op->group_offset = (u16)(g->rel[i] - c->low);
        op->attr |= i == c->first ? IR_GROUP_FIRST : IR_GROUPED;
    }
}

static Grouper group_begin(IrBlock *b) {
    Grouper g = { .b = b, .next_version = 1 };
    for (unsigned r = 0; r < 8; r++) group_new_version(&g, r);
    g.temp = arena_alloc(b->arena, (b->temp_count + 1) * sizeof *g.temp);
    memset(g.temp, 0, (b->temp_count + 1) * sizeof *g.temp);
    g.candidate = arena_alloc(b->arena, (b->count + 1) * sizeof *g.candidate);
    g.of_op = arena_alloc(b->arena, (b->count + 1) * sizeof *g.of_op);
    g.rel = arena_alloc(b->arena, (b->count + 1) * sizeof *g.rel);
    memset(g.of_op, 0, (b->count + 1) * sizeof *g.of_op);
    return g;
}

void ir_group(IrBlock *b, u32 classes) {
    Grouper g = group_begin(b);
    u32 open = 0;                        // candidates before this one are closed
    for (u32 i = 0; i < b->count; i++) {
        const IrOp *op = &b->ops[i];
        if (group_is_access(op)) group_add_access(&g, op, i, classes, open);
        if (op->code == IR_CALL) {
            open = g.candidates;
            for (unsigned r = 0; r < 8; r++) group_new_version(&g, r);
        }
        group_effects(&g, op, i);
    }
    u16 *chosen = arena_alloc(b->arena, (g.candidates + 1) * sizeof *chosen);
    b->groups = arena_alloc(b->arena, IR_MAX_GROUPS * sizeof *b->groups);
    b->group_count = 0;
    group_choose(&g, chosen);
    group_mark(&g, chosen);
}
