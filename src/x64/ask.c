// SPDX-License-Identifier: MIT
// The row of questions at the end of a block's cold part (X64_ASK_*).
//
// While the block is emitted a question is a number, and its record's host offset stands for that: the row comes last.
#include "x64/emit_int.h"

#include <string.h>

enum { ASK_FIRST = 1 << 24, ASK_CALL_REST = 4, ASK_PUSH = 0x50 };       // FIRST: no part is as long as that

void ask_question(Emit *e, unsigned what) {
    st_record(e, &e->cold, e->cold.start + ASK_FIRST + e->questions++);
    e->out->restores[e->out->restore_count - 1].ask = (u16)(what & 7);
    bool late = what == X64_ASK_LATE && e->late.start;
    late = late && (e->late_question == X64_ALL_LATE || e->late_question == e->questions - 1);
    e->late_from = late ? e->late.p : NULL;
}

void ask_jump(Emit *e, u8 *rel32) {
    if (e->ask_count == e->ask_capacity) {
        Ask *old = e->asks;
        e->ask_capacity *= 2;
        e->asks = arena_alloc(e->ir->arena, e->ask_capacity * sizeof *old);
        memcpy(e->asks, old, e->ask_count * sizeof *old);
    }
    e->asks[e->ask_count++] = (Ask){ rel32, e->questions - 1, e->late_from };
}

static void ask_name_late_jumps(Emit *e) {
    X64Code *out = e->out;
    out->late_jumps = arena_alloc(e->ir->arena, e->ask_count * sizeof *out->late_jumps);
    for (const Ask *a = e->asks, *end = a + e->ask_count; a < end; a++) {
        if (!a->late) continue;
        X64LateJump jump = { (u32)(a->jump - e->hot.start), (u32)(a->late - e->late.start) };
        out->late_jumps[out->late_jump_count++] = jump;
    }
}

// Where the row begins: at the end of what there is, or in that of the block before.
static u8 *ask_begin(Emit *e) {
    Buf *c = &e->cold;
    if (!e->joins || c->p != c->start) return c->p;
    c->p -= ASK_CALL_REST;
    if (e->questions) c->p[-1] = ASK_PUSH;
    return c->start = c->p;
}

bool ask_finish(Emit *e) {
    Buf *c = &e->cold;
    if (c->end - c->p < (i64)e->questions + ASK_CALL_REST) return false;
    const u8 *start = c->start;
    u8 *row = ask_begin(e);
    X64Code *out = e->out;
    out->call_bytes = e->questions || row < start ? ASK_CALL_REST : 0;
    if (!e->questions) return true;
    memset(row, ASK_PUSH, e->questions);
    c->p += e->questions - 1;
    enc_patch32(enc_call32(c), e->t->ask);
    c->p -= ASK_CALL_REST;
    for (const Ask *a = e->asks, *end = a + e->ask_count; a < end; a++) enc_patch32(a->jump, row + a->question);
    for (X64Restore *r = out->restores, *end = r + out->restore_count; r < end; r++)
        if (r->ask) r->host -= ASK_FIRST - (u32)(row - c->start);
    for (X64Edge *edge = out->edges, *end = edge + out->edge_count; edge < end; edge++)
        if (edge->bare) edge->stub = row + (edge->stub - start);
    if (e->late.start) ask_name_late_jumps(e);
    return true;
}
