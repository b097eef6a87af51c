// SPDX-License-Identifier: MIT
// Forwarding: a load of what the block has just stored there takes it from where the store had it.
//
//     store.4 ss:[t1], ebp                            store.4 ss:[t1], ebp
//     load.4 t6, ss:[t5]           becomes            (gone: the return address is the constant that was pushed)
//     guard t6, $0x100ab7                             (gone)
//     load.4 ecx, ss:[t7]                             mov.4 ecx, ebp
//
// Only members of one group are compared, by their offsets: what they address is RAM, has been checked and lies side by
// side. A store elsewhere may be to the same place under another address: then nothing is known any more. Helpers may
// store, too, but no group goes on behind a call.
//
// A register that changes before the load is copied first, if it was stored with 16 bits: the host has a stored word
// ready for a load after some eight cycles, a double word at once.
#include "ir/ir_int.h"

enum { FORWARD_STORES = 8, FORWARD_WORD = 2 };

typedef struct ForwardStore {
    u16 group, offset;
    u8 size;
    IrRef value;             // a register or constant; IR_NONE: nothing known
    u32 lost;                // the op that changes the register; 0: it is as it was
} ForwardStore;

typedef struct Forward {
    IrBlock *b;
    ForwardStore store[FORWARD_STORES];
    u32 stores;              // since nothing was known; the last FORWARD_STORES are kept
} Forward;

static u32 forward_kept(const Forward *f) { return f->stores < FORWARD_STORES ? f->stores : FORWARD_STORES; }
static bool forward_is_member(const IrOp *op) { return op->attr & (IR_GROUP_FIRST | IR_GROUPED); }
static void forward_bury(IrOp *op) { *op = (IrOp){ .code = IR_INSN }; }      // marked for removal

// ---- a temporary's value ----------------------------------------------------------------------------
static u32 forward_uses(const IrBlock *b, u32 i, IrRef temp) {
    u32 uses = 0;
    for (const IrOp *op = &b->ops[i], *end = b->ops + b->count; op < end; op++)
        uses += (op->a == temp) + (op->b == temp) + (op->c == temp);
    return uses;
}

static bool forward_takes_register(const IrOp *op, unsigned which, IrRef reg, unsigned size) {
    if (which == IR_A && op->attr & IR_RMW) return false;
    unsigned bytes = ir_operand_bytes(op, which);
    return bytes == size || (bytes < size && (bytes == 2 || ir_reg(reg) < 4));
}

static bool forward_writes(const IrOp *op, unsigned r) {
    u16 props = ir_info[op->code].props;
    bool implied = props & IRP_CALL || ((props & IRP_WIDE || op->code == IR_FPU) && (r == 0 || r == 2));
    return implied || (ir_kind(op->d) == IR_KIND_REG && ir_reg(op->d) == r);
}

static void forward_temp(IrBlock *b, u32 i);

// An op that reads temp, which is a constant.
static void forward_constant(IrBlock *b, u32 i, IrRef temp, u32 value) {
    IrOp *op = &b->ops[i];
    if (op->a != temp) return;
    if (op->code == IR_GUARD && value == op->imm) {
        forward_bury(op);
    } else if (op->code == IR_ZEXT && ir_kind(op->d) == IR_KIND_TEMP) {
        op->code = IR_MOV;
        op->a = ir_const(b, trunc_size(value, op->aux));
        op->aux = 0;
        forward_temp(b, i);
    }
}

// Op i moves a register or a constant into a temporary: readers take that instead; without readers it goes.
static void forward_temp(IrBlock *b, u32 i) {
    const IrOp move = b->ops[i];
    for (u32 k = i + 1; k < b->count; k++) {
        IrOp *op = &b->ops[k];
        if (ir_is_const(move.a)) {
            forward_constant(b, k, move.d, ir_value(b, move.a));
            continue;
        }
        for (unsigned which = IR_A; which < IR_OPERANDS; which++)
            if (ir_operand(op, which) == move.d && forward_takes_register(op, which, move.a, move.size))
                ir_set_operand(op, which, move.a);
        if (forward_writes(op, ir_reg(move.a))) break;
    }
    if (!forward_uses(b, i + 1, move.d)) forward_bury(&b->ops[i]);
}

// ---- what is known ----------------------------------------------------------------------------------
// Op i changes register r.
static void forward_lose(Forward *f, u32 i, unsigned r) {
    for (ForwardStore *s = f->store; s < f->store + forward_kept(f); s++) {
        if (ir_kind(s->value) != IR_KIND_REG || ir_reg(s->value) != r || s->lost) continue;
        if (s->size == FORWARD_WORD) s->lost = i;
        else s->value = IR_NONE;
    }
}

static void forward_changes(Forward *f, const IrOp *op, u32 i) {
    if (ir_kind(op->d) == IR_KIND_REG) forward_lose(f, i, ir_reg(op->d));
    if (!(ir_info[op->code].props & IRP_WIDE) && op->code != IR_FPU) return;
    forward_lose(f, i, 0);
    forward_lose(f, i, 2);
}

static void forward_store(Forward *f, const IrOp *op) {
    if (op->code != IR_STORE || !forward_is_member(op)) {
        f->stores = 0;
        return;
    }
    for (ForwardStore *s = f->store; s < f->store + forward_kept(f); s++)
        if (s->group != op->group ||
            (s->offset < op->group_offset + op->size && op->group_offset < s->offset + s->size))
            s->value = IR_NONE;
    if (!(ir_kind(op->b) == IR_KIND_REG ? !ir_is_high(op->b) : ir_is_const(op->b))) return;
    f->store[f->stores++ % FORWARD_STORES] =
        (ForwardStore){ .group = op->group, .offset = op->group_offset, .size = op->size, .value = op->b };
}

static ForwardStore *forward_find(Forward *f, const IrOp *load) {
    for (ForwardStore *s = f->store; s < f->store + forward_kept(f); s++)
        if (s->value != IR_NONE && s->group == load->group && s->offset == load->group_offset && s->size == load->size)
            return s;
    return NULL;
}

// ---- loads ------------------------------------------------------------------------------------------
// Copies the register of s before the op that changes it; the ops from there on move by one.
static void forward_copy(Forward *f, ForwardStore *s) {
    IrBlock *b = f->b;
    u32 at = s->lost;
    IrRef temp = ir_temp(b);
    ir_emit(b, IR_MOV, 4, temp, s->value, IR_NONE);
    IrOp copy = b->ops[--b->count];
    for (u32 i = b->count++; i > at; i--) b->ops[i] = b->ops[i - 1];
    b->ops[at] = copy;
    for (IrGroup *g = b->groups; g < b->groups + b->group_count; g++) {
        g->first += g->first >= at;
        g->last += g->last >= at;
    }
    b->reload_last++;
    for (ForwardStore *o = f->store; o < f->store + forward_kept(f); o++) {
        if (o == s || o->value == IR_NONE) continue;
        if (o->lost > at) o->lost++;
    }
    s->value = temp;
    s->lost = 0;
}

// Op i leaves its group.
static void forward_ungroup(IrBlock *b, u32 i) {
    IrGroup *g = &b->groups[b->ops[i].group];
    if (g->last != i) return;
    do {
        i--;
    } while (!forward_is_member(&b->ops[i]) || &b->groups[b->ops[i].group] != g);
    g->last = i;
}

// Does load i take a value that is known? Gives the index of the op, which a copy may have moved.
static u32 forward_load(Forward *f, u32 i) {
    IrBlock *b = f->b;
    ForwardStore *s = forward_find(f, &b->ops[i]);
    if (!s) return i;
    if (s->lost) {
        forward_copy(f, s);
        i++;
    }
    forward_ungroup(b, i);
    IrOp *op = &b->ops[i];
    IrRef value = ir_is_const(s->value) ? ir_const(b, trunc_size(ir_value(b, s->value), op->size)) : s->value;
    *op = (IrOp){ .code = IR_MOV, .size = op->size, .d = op->d, .a = value };
    if (op->d == value) forward_bury(op);
    else if (ir_kind(op->d) == IR_KIND_TEMP && ir_kind(value) != IR_KIND_TEMP) forward_temp(b, i);
    return i;
}

void ir_forward(IrBlock *b) {
    Forward f = { .b = b };
    if (!b->reload_last) return;
    for (u32 i = b->reload_first; i <= b->reload_last; i++) {
        if (b->ops[i].code == IR_LOAD && forward_is_member(&b->ops[i]) && !(b->ops[i].attr & IR_RMW))
            i = forward_load(&f, i);
        const IrOp *op = &b->ops[i];
        if (ir_info[op->code].props & IRP_STORE) forward_store(&f, op);
        forward_changes(&f, op, i);
    }
}
