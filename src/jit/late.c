// SPDX-License-Identifier: MIT
// Late parts of blocks, and the questions that lead to them.
//
// What accesses do when their checks fail would be a third of the code, and one check in twenty ever fails. So it is
// left out until a check fails: then its block is translated once more for this part alone, the check is led there, and
// the code goes on where it was.
//
// Rules
//  1. A late part lies in the cold area, between the cold parts of younger blocks. Like them it is not reused before a
//     flush.
//  2. Where the part cannot be made the instruction is run alone, from its beginning. That is rare: new blocks leave
//     JIT_LATE_ROOM of the code cache to late parts, and a block that is running stays valid.
#include "jit/jit_int.h"

#include <stdlib.h>
#include <string.h>

JitExit late_answer(Jit *jit) {
    static const u8 exits[] = { [X64_ASK_LINK] = EXIT_LINK, [X64_ASK_STALE] = EXIT_STALE, [X64_ASK_POLL] = EXIT_POLL,
                                [X64_ASK_UNGROUP] = EXIT_UNGROUP, [X64_ASK_LATE] = EXIT_LATE };
    const u8 *pc = (const u8 *)(uintptr_t)jit->cpu->jit_word[WORD_EXIT_PC];
    RestoreMemo place = restore_at(jit, pc);
    unsigned ask = place.record ? place.record->ask : X64_ASK_NOTHING;
    if (!ask) panic("host pc %p is no question", (const void *)pc);
    jit->entered = place.block;
    return (JitExit)exits[ask];
}

// The row's records are the last of the block's.
u32 late_question(const Jit *jit, const Block *b, const u8 *pc) {
    const X64Restore *r = restore_record(jit, b, pc), *first = r;
    while (first > block_restores(b) && first[-1].ask) first--;
    return (u32)(r - first);
}

static bool late_has(const Late *l, const u8 *pc) { return pc >= l->code && pc < l->code + l->bytes; }

const Late *late_of(const Block *b, const u8 *pc) {
    const Late *l = b->late;
    while (l && !late_has(l, pc)) l = l->next;
    return l;
}

const Late *late_at(const Jit *jit, const u8 *pc) {
    u32 low = 0, high = jit->late_count;
    while (low < high) {
        u32 mid = (low + high) / 2;
        if (jit->late[mid]->code <= pc) low = mid + 1;
        else high = mid;
    }
    return low && late_has(jit->late[low - 1], pc) ? jit->late[low - 1] : NULL;
}

static void late_insert(Jit *jit, Late *l) {
    if (jit->late_count == jit->late_capacity) {
        jit->late_capacity = jit->late_capacity ? 2 * jit->late_capacity : 256;
        jit->late = mem_resize(jit->late, jit->late_capacity * sizeof(Late *));
    }
    jit->late[jit->late_count++] = l;
}

static Late *late_new(Jit *jit, Block *b, u32 question, const X64Code *code) {
    u32 first = 0, end;
    while (first < code->restore_count && !(code->restores[first].host & (X64_LATE | X64_COLD))) first++;
    for (end = first; end < code->restore_count && code->restores[end].host & X64_LATE;) end++;
    size_t bytes = (end - first) * sizeof *code->restores;
    Late *l = arena_alloc(jit->meta, sizeof *l + bytes);
    *l = (Late){ .block = b, .next = b->late, .code = jit->cold_next, .question = question, .bytes = code->late_bytes,
                 .restore_count = end - first };
    memcpy(late_restores(l), code->restores + first, bytes);
    return l;
}

static void late_log(Jit *jit, const Late *l) {
    if (!log_on(jit->log, LOG(OUT_ASM)) || !log_pc_chosen(jit->log, l->block->eip)) return;
    FILE *out = jit->log->file;
    fprintf(out, "LATE: [size=%u] of %p\n", l->bytes, (void *)l->block->hot);
    dump_host(out, l->code, l->bytes, (u64)(uintptr_t)l->code);
    fprintf(out, "\n");
}

void late_install(Jit *jit, Block *b, u32 question, const X64Code *code) {
    Late *l = b->late = late_new(jit, b, question, code);
    late_insert(jit, l);
    jit->cold_next += code->late_bytes;
    for (const X64LateJump *j = code->late_jumps, *end = j + code->late_jump_count; j < end; j++)
        enc_patch32(b->hot + j->hot, l->code + j->late);
    late_log(jit, l);
    jit->stats.late_parts++;
    jit->stats.cold_bytes += code->late_bytes;
}

// False: no room, or its bytes, which are not in memory, are others.
static bool late_make(Jit *jit, Block *b, const u8 *pc) {
    X64Code code;
    u32 question = late_question(jit, b, pc);
    if (!b->valid) return false;
    jit->late_wants_room = !translate_late(jit, b, question, &code);
    if (jit->late_wants_room || code.hot_bytes != b->hot_bytes || code.cold_bytes != b->cold_bytes) return false;
    late_install(jit, b, question, &code);
    return true;
}

const u8 *late_go_on(Jit *jit) {
    Cpu *cpu = jit->cpu;
    Block *b = jit->entered;
    if (!late_make(jit, b, (const u8 *)(uintptr_t)cpu->jit_word[WORD_EXIT_PC])) {
        cpu->fault = (CpuFault){ .pending = 1, .kind = CPU_RESTART };
        return NULL;
    }
    cpu->jit_word[WORD_LATE] = (u64)(uintptr_t)b->late->code;
    return b->uses_xmm ? jit->resume_sse : jit->resume;
}

void late_forget(Jit *jit) {
    jit->late_count = 0;
    jit->late_wants_room = false;
}

void late_free(Jit *jit) { free(jit->late); }
