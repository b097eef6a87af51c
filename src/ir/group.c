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

#define GROUP_SPAN 256
#define GROUP_OPEN 8

// Value of an address: what its key says, plus offset.
//     key    0-27 version of the base (0: none) | 28-55 of the index, << scale | 56-57 scale
//            63 all of it in 16 bits
// A candidate's key says besides:  58-59 segment class | 60-62 segment, where it is not flat
typedef struct GroupAddr { u64 key; u32 offset; } GroupAddr;
#define GROUP_KEY_BASE(version) ((u64)(version))
#define GROUP_KEY_INDEX(version, scale) ((u64)(version) << 28 | (u64)(scale) << 56)
#define GROUP_KEY_HALF ((u64)1 << 63)
#define GROUP_KEY_SEGMENT(cls, seg) ((u64)(cls) << 58 | (cls == GROUP_FLAT ? 0 : (u64)(seg) << 60))
enum { GROUP_FLAT = 1 };       // the class whose segments have one base

// Value of a register: version in the lower half, what was added to it since in the upper.
typedef u64 GroupValue;
static u32 group_version(GroupValue v) { return (u32)v; }
static u32 group_delta(GroupValue v) { return (u32)(v >> 32); }
static GroupValue group_plus(GroupValue v, u32 add) { return v + ((u64)add << 32); }

typedef struct Candidate {
    u64 key;
    u32 offset;                // of the first member; those of others are relative to it
    i32 low, high;             // relative to offset: lowest address, highest end
    bool write, aligned;       // aligned: some want multiples of 16, whose offsets are `phase` modulo 16
    u8 phase;
    u32 count, first, last;    // members; indices of ops
    u32 group;                 // its number + 1; 0: it is none
} Candidate;

// Before it is marked, an access's IrOp.group is its candidate's number + 1 (0: it has none) and its group_offset is
// what it is from the candidate's offset.
typedef struct Grouper {
    IrBlock *b;
    GroupValue value[2][8];    // of the guest registers, and of their lower halves
    u32 next_version;
    u32 changed;               // index + 1 of the last op that changed one of them
    Candidate *candidate;
    u32 candidates, open;      // those before `open` take no more members
    u32 classes;               // of segments whose accesses may be in groups
    bool found;                // a candidate has two members
    u32 *member, members;      // ops that have candidates, by index
} Grouper;

// What is to be done at an op.
enum { GROUP_ACCESS = 1, GROUP_FORGET = 2, GROUP_SUM = 4 };
static const u8 group_looks[IR_CODE_COUNT] = {
#define GROUP_IS_SUM(code) ((code) == IR_MOV || (code) == IR_EA || (code) == IR_ADD || (code) == IR_SUB)
#define IR(id, name, operands, flags, props, text) \
    [IR_##id] = ((props) & (IRP_LOAD | IRP_STORE) ? GROUP_ACCESS : 0) | \
                ((props) & (IRP_WIDE | IRP_CALL) || IR_##id == IR_FPU ? GROUP_FORGET : 0) | \
                (GROUP_IS_SUM(IR_##id) ? GROUP_SUM : 0),
#include "ir/ops.def"
#undef GROUP_IS_SUM
};

static unsigned group_bytes(const IrOp *op) {
    return op->code == IR_LOAD || op->code == IR_STORE ? op->size : op->aux;
}

static bool group_writes(const IrOp *op) { return ir_info[op->code].props & IRP_STORE || op->attr & IR_RMW; }

// What an EA computes, or would now. False: not of registers and constants alone.
static bool group_ea(const Grouper *g, const IrOp *op, GroupAddr *at) {
    bool half = op->size == 2;
    u64 key = half ? GROUP_KEY_HALF : 0;
    u32 offset = op->imm;
    if (op->a != IR_NONE) {
        if (ir_kind(op->a) != IR_KIND_REG) return false;
        GroupValue base = g->value[half][ir_reg(op->a)];
        key |= GROUP_KEY_BASE(group_version(base));
        offset += group_delta(base);
    }
    if (op->b != IR_NONE) {
        if (ir_kind(op->b) != IR_KIND_REG) return false;
        GroupValue index = g->value[half][ir_reg(op->b)];
        key |= GROUP_KEY_INDEX(group_version(index), op->aux);
        offset += group_delta(index) << op->aux;
    }
    *at = (GroupAddr){ key, offset };
    return true;
}

// From one offset to another, of addresses with this key.
static i32 group_distance(u64 key, u32 from, u32 to) {
    return key & GROUP_KEY_HALF ? (i16)(to - from) : (i32)(to - from);
}

// Has an op between `from` and `to` changed a register that the EA at `from` reads?
static bool group_has_changed(const IrBlock *b, u32 from, u32 to) {
    const IrOp *ea = &b->ops[from];
    for (const IrOp *op = ea + 1; op < &b->ops[to]; op++) {
        if (op->code == IR_FPU || ir_info[op->code].props & (IRP_WIDE | IRP_CALL)) return true;
        if (ir_kind(op->d) != IR_KIND_REG) continue;
        if (ea->a != IR_NONE && ir_reg(op->d) == ir_reg(ea->a)) return true;
        if (ea->b != IR_NONE && ir_reg(op->d) == ir_reg(ea->b)) return true;
    }
    return false;
}

// Value of a temporary that op i reads: an EA not far before it has computed it, from registers that are as they were.
static bool group_temp(const Grouper *g, IrRef temp, u32 i, GroupAddr *at) {
    for (u32 k = i; k-- > 0;) {
        const IrOp *op = &g->b->ops[k];
        if (op->d != temp) continue;
        if (op->code != IR_EA || !group_ea(g, op, at)) return false;
        return g->changed <= k || !group_has_changed(g->b, k, i);
    }
    return false;
}

// False: the address is not known.
static bool group_resolve(const Grouper *g, const IrOp *op, u32 i, GroupAddr *at) {
    u64 half = op->addr16 ? GROUP_KEY_HALF : 0;
    GroupValue v;
    switch (ir_kind(op->a)) {
    case IR_KIND_REG:
        v = g->value[0][ir_reg(op->a)];
        *at = (GroupAddr){ GROUP_KEY_BASE(group_version(v)), group_delta(v) };
        return !half;
    case IR_KIND_CONST: *at = (GroupAddr){ half, ir_value(g->b, op->a) }; return true;
    case IR_KIND_TEMP: return group_temp(g, op->a, i, at) && (at->key & GROUP_KEY_HALF) == half;
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
static __attribute__((noinline)) void group_add_access(Grouper *g, IrOp *op, u32 i) {
    GroupAddr at;
    if (!(g->classes >> op->seg_class & 1) || !group_resolve(g, op, i, &at)) return;
    g->member[g->members++] = i;
    u64 key = at.key | GROUP_KEY_SEGMENT(op->seg_class, op->seg);
    u32 from = g->candidates > g->open + GROUP_OPEN ? g->candidates - GROUP_OPEN : g->open;
    for (u32 n = g->candidates; n-- > from;) {
        Candidate *c = &g->candidate[n];
        if (c->key != key) continue;
        i32 rel = group_distance(key, c->offset, at.offset);
        if (!group_join(c, op, i, rel)) continue;
        op->group = (u16)(n + 1);
        op->group_offset = (u16)rel;
        g->found = true;
        return;
    }
    g->candidate[g->candidates++] = (Candidate){ .key = key, .offset = at.offset, .high = (i32)group_bytes(op),
        .write = group_writes(op), .aligned = op->attr & IR_ALIGN16, .count = 1, .first = i, .last = i };
    op->group = (u16)g->candidates;
}

static void group_new_version(Grouper *g, unsigned r) { g->value[0][r] = g->value[1][r] = g->next_version++; }

// Is what op (of GROUP_SUM) computes a register (*from) plus a constant?
static bool group_is_sum(const Grouper *g, const IrOp *op, unsigned *from, u32 *add) {
    if (ir_kind(op->a) != IR_KIND_REG || op->size < 2) return false;
    *from = ir_reg(op->a);
    if (op->code == IR_MOV || op->code == IR_EA) {
        *add = op->code == IR_EA ? op->imm : 0;
        return op->b == IR_NONE;
    }
    if (!ir_is_const(op->b)) return false;
    *add = ir_value(g->b, op->b);
    if (op->code == IR_SUB) *add = -*add;
    return true;
}

// r = other register + constant keeps the version: of both halves with 32 bits, of the lower with 16.
static void group_define(Grouper *g, const IrOp *op, u32 i) {
    unsigned r = ir_reg(op->d), from;
    u32 add;
    GroupValue whole = g->next_version++, half = whole;
    if (group_looks[op->code] & GROUP_SUM && group_is_sum(g, op, &from, &add)) {
        half = group_plus(g->value[1][from], add);
        if (op->size == 4) whole = group_plus(g->value[0][from], add);
    }
    g->value[0][r] = whole;
    g->value[1][r] = half;
    g->changed = i + 1;
}

// Ops that change registers without naming them.
static void group_forget(Grouper *g, const IrOp *op, u32 i) {
    g->changed = i + 1;
    group_new_version(g, 0);
    if (op->code != IR_FPU) group_new_version(g, 2);
    if (op->code != IR_CALL) return;
    g->open = g->candidates;
    for (unsigned r = 0; r < 8; r++) group_new_version(g, r);
}

// May a group's check stand at op i? Where it fails the guest instruction begins anew, so that nothing of it may
// have been done that shows: an access before it must be in a group (RAM) too, one of the `decided` first candidates.
static bool group_may_begin(const Grouper *g, u32 i, u32 decided) {
    while (i-- > 0 && g->b->ops[i].code != IR_INSN) {
        const IrOp *op = &g->b->ops[i];
        if (op->code == IR_CALL) return false;
        if (!(group_looks[op->code] & GROUP_ACCESS)) continue;
        if (!(op->group && op->group <= decided && g->candidate[op->group - 1].group)) return false;
    }
    return true;
}

// Drops the candidate's first members until one is left where the check may stand.
static void group_find_first(Grouper *g, u32 n) {
    Candidate *c = &g->candidate[n];
    for (u32 i = c->first; c->count > 1; i++) {
        IrOp *op = &g->b->ops[i];
        if (op->group != n + 1) continue;
        c->first = i;
        if (group_may_begin(g, i, n)) return;
        op->group = 0;
        c->count--;
    }
}

// Gives the candidates with two or more members registers, in order; the rest stay single accesses.
static void group_choose(Grouper *g) {
    IrBlock *b = g->b;
    u32 free_from[2] = { 0, 0 };         // op before which the register is busy
    for (u32 n = 0; n < g->candidates && b->group_count < IR_MAX_GROUPS; n++) {
        Candidate *c = &g->candidate[n];
        if (c->count > 1) group_find_first(g, n);
        if (c->count < 2) continue;
        unsigned reg = free_from[0] <= c->first ? 0 : 1;
        if (free_from[reg] > c->first) continue;
        free_from[reg] = c->last + 1;
        b->groups[b->group_count] = (IrGroup){ .span = (u16)(c->high - c->low), .write = c->write,
            .reg = (u8)reg, .aligned = c->aligned, .phase = (u8)((c->phase - c->low) & 15),
            .first = c->first, .last = c->last };
        c->group = ++b->group_count;
    }
}

// The op at *load, a member, may load what one before it has stored.
static __attribute__((noinline)) void group_note_reload(Grouper *g, const u32 *load) {
    IrBlock *b = g->b;
    const IrOp *op = &b->ops[*load];
    for (const u32 *i = load; i-- > g->member;) {
        const IrOp *store = &b->ops[*i];
        if (!group_writes(store)) continue;
        if (!(store->attr & (IR_GROUP_FIRST | IR_GROUPED)) || store->group != op->group) return;
        if (store->group_offset != op->group_offset) continue;
        if (store->code != IR_STORE || store->size != op->size || store->attr & IR_RMW) return;
        if (b->reload_last == 0 || *i < b->reload_first) b->reload_first = *i;
        b->reload_last = *load;
        return;
    }
}

static void group_mark(Grouper *g) {
    u64 stored = 0;
    for (const u32 *i = g->member; i < g->member + g->members; i++) {
        IrOp *op = &g->b->ops[*i];
        const Candidate *c = op->group ? &g->candidate[op->group - 1] : NULL;
        if (!c || !c->group) continue;
        op->group = (u16)(c->group - 1);
        op->group_offset = (u16)(op->group_offset - c->low);
        op->attr |= *i == c->first ? IR_GROUP_FIRST : IR_GROUPED;
        u64 place = (u64)1 << (op->group_offset & 63);       // some share a bit
        if (op->code == IR_STORE) stored |= place;
        else if (stored & place && op->code == IR_LOAD && !(op->attr & IR_RMW)) group_note_reload(g, i);
    }
}

static void group_collect(Grouper *g) {
    IrOp *op = g->b->ops;
    for (u32 i = 0, count = g->b->count; i < count; i++, op++) {
        unsigned looks = group_looks[op->code];
        if (looks & (GROUP_ACCESS | GROUP_FORGET)) {
            if (looks & GROUP_ACCESS) group_add_access(g, op, i);
            else group_forget(g, op, i);
        }
        if (ir_kind(op->d) == IR_KIND_REG) group_define(g, op, i);
    }
}

void ir_group(IrBlock *b, u32 classes) {
    b->group_count = 0;
    b->reload_last = 0;
    if (b->accesses < 2) return;
    Grouper g = { .b = b, .classes = classes, .next_version = 1 };
    for (unsigned r = 0; r < 8; r++) group_new_version(&g, r);
    g.candidate = arena_alloc(b->arena, b->accesses * sizeof *g.candidate);
    g.member = arena_alloc(b->arena, b->accesses * sizeof *g.member);
    group_collect(&g);
    if (!g.found) return;
    b->groups = arena_alloc(b->arena, IR_MAX_GROUPS * sizeof *b->groups);
    group_choose(&g);
    group_mark(&g);
}
