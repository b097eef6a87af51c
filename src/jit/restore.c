// SPDX-License-Identifier: MIT
// Host pc -> guest state: what makes exceptions precise.
//
// Two ways lead to the restore record of a host pc, and both are kept:
//   table        the records kept with the block, searched by host offset
//   retranslate  the block's guest bytes are translated again until the host pc is reached
// -restore check does both and stops on any difference. The record says which guest instruction the pc
// belongs to and where the flags are; registers are exact at every such point (decision 9), so nothing
// else has to be undone.
#include "jit/jit_int.h"

#include "lift/lift.h"

#include <string.h>

static u32 restore_offset(const Jit *jit, const Block *b, const u8 *pc) {
    const Late *late = late_of(b, pc);
    if (late) return (u32)(pc - late->code) | late->question << 16 | X64_LATE;
    if (pc >= jit->cold_start) return (u32)(pc - b->cold) | X64_COLD;
    return (u32)(pc - b->hot);
}

static const X64Restore *restore_search(const X64Restore *r, u32 count, u32 host) {
    u32 low = 0, high = count;
    while (low < high) {
        u32 mid = (low + high) / 2;
        if (r[mid].host < host) low = mid + 1;
        else high = mid;
    }
    return low < count && r[low].host == host ? &r[low] : NULL;
}

// Kept with the block, or with its late part.
static const X64Restore *restore_in_table(const Block *b, u32 host) {
    const Late *l = b->late;
    if (!(host & X64_LATE)) return restore_search(block_restores(b), b->restore_count, host);
    while (l->question != X64_LATE_QUESTION(host)) l = l->next;
    return restore_search(late_restores(l), l->restore_count, host);
}

const X64Restore *restore_record(const Jit *jit, const Block *b, const u8 *pc) {
    return restore_in_table(b, restore_offset(jit, b, pc));
}

static const X64Restore *restore_by_translation(Jit *jit, const Block *b, u32 host) {
    Lifted l;
    X64Code code;
    jit->stats.restores_retranslated++;
    if (!b->valid || !translate_again(jit, b, &l, &code)) return NULL;
    return restore_search(code.restores, code.restore_count, host);
}

static void restore_log(Jit *jit, const Block *b, const X64Restore *r, const u8 *pc) {
    FILE *out = jit->log->file;
    fprintf(out, "RESTORE:\n");
    Lifted l;
    X64Code code;
    if (b->valid && translate_again(jit, b, &l, &code)) {
        for (u32 i = 0, n = 0; i < l.ir->count && n <= r->insn; i++)
            if (l.ir->ops[i].code == IR_INSN) { fprintf(out, "0x%04x: %08x\n", i, l.ir->ops[i].imm); n++; }
    }
    fprintf(out, "spc=0x%llx pc_pos=0x%x eip=%08x cs_base=%x\n", (unsigned long long)(uintptr_t)pc, r->op,
            b->eip + (u32)block_insn_offset(b)[r->insn], jit->cpu->seg[CPU_CS].base);
    fflush(out);
}

static u32 restore_place(const Cpu *cpu, const X64Recipe *r, u8 place, const u32 state[3]) {
    if (place < 8) return cpu->regs[place];
    switch (place) {
    case X64_AT_A: case X64_AT_B: case X64_AT_C: return state[place - X64_AT_A];
    case X64_AT_IMM: return r->imm;
    default: return 0;
    }
}

static void restore_flags(Cpu *cpu, const X64Recipe *r) {
    if (r->op == X64_FLAGS_IN_STATE) return;
    const u32 state[3] = { cpu->flag_a, cpu->flag_b, cpu->flag_c };
    cpu->flag_a = restore_place(cpu, r, r->a, state);
    cpu->flag_b = restore_place(cpu, r, r->b, state);
    cpu->flag_c = restore_place(cpu, r, r->c, state);
    cpu->flag_op = r->op | (r->op & FLAGS_PRODUCT ? cpu->flag_op & FLAGS_PRODUCT_CARRY : 0);
}

void restore_edge_flags(Jit *jit, const Block *b, const u8 *pc) {
    const X64Restore *r = restore_record(jit, b, pc);
    require(r);
    restore_flags(jit->cpu, &r->flags);
}

static void restore_print(const char *name, const X64Restore *r) {
    static const X64Restore none = { .insn = 0xff };
    if (!r) r = &none;
    fprintf(stderr, "  %s: host %x op %u insn %u charged %d flags %x in %u %u %u, %x\n", name, r->host, r->op, r->insn,
            r->charged, r->flags.op, r->flags.a, r->flags.b, r->flags.c, r->flags.imm);
}

static const X64Restore *restore_find(Jit *jit, const Block *b, const u8 *pc, X64Restore *copy) {
    u32 host = restore_offset(jit, b, pc);
    const X64Restore *table = restore_in_table(b, host);
    if (!b->valid) return table;
    const X64Restore *again = restore_by_translation(jit, b, host);
    if (again) *copy = *again;
    if (jit->opt.restore == JIT_RESTORE_CHECK &&
        (!table || !again || memcmp(table, again, sizeof *table))) {
        fprintf(stderr, "glassbox: -restore check: records differ for host pc %p, block %08x\n", (const void *)pc,
                b->eip);
        restore_print("table", table);
        restore_print("retranslation", again);
        bus_request_exit(jit->bus, BUS_EXIT_DIFFERENCE);
    }
    return again ? copy : NULL;
}

const X64Restore *restore_lookup(Jit *jit, const Block *b, const u8 *pc, JitRestore how) {
    u32 host = restore_offset(jit, b, pc);
    if (how == JIT_RESTORE_TABLE) return restore_in_table(b, host);
    return restore_by_translation(jit, b, host);
}

// Programs fault, and their loops are left, at the same places again and again. A place belongs to one block until
// the cache is flushed, which forgets them.
RestoreMemo restore_at(Jit *jit, const u8 *pc) {
    RestoreMemo *memo = &jit->restored[((uintptr_t)pc ^ (uintptr_t)pc >> 8) % JIT_RESTORE_MEMOS];
    if (memo->pc == pc) return *memo;
    RestoreMemo found = { .pc = pc, .block = cache_block_at(jit, pc) };
    if (!found.block) return found;
    found.record = restore_record(jit, found.block, pc);
    return *memo = found;
}

static RestoreMemo restore_chosen(Jit *jit, const u8 *pc) {
    RestoreMemo found = restore_at(jit, pc);
    if (!found.block || jit->opt.restore == JIT_RESTORE_TABLE) return found;
    arena_reset(jit->step_arena);
    found.record = restore_find(jit, found.block, pc, arena_alloc(jit->step_arena, sizeof *found.record));
    return found;
}

void restore_forget(Jit *jit) { memset(jit->restored, 0, sizeof jit->restored); }

Block *restore_state(Jit *jit, const u8 *pc, const X64Restore **record) {
    static const X64Restore none = { 0 };
    RestoreMemo found = restore_chosen(jit, pc);
    const Block *b = found.block;
    const X64Restore *r = *record = found.record;
    if (!b) {
        *record = &none;
        return NULL;
    }
    if (!r) panic("no restore record for host pc %p (block %08x, hot +0x%x, cold +0x%x)",
                  (const void *)pc, b->eip, (u32)(pc - b->hot), (u32)(pc - b->cold));
    jit->stats.restores_table++;
    Cpu *cpu = jit->cpu;
    cpu->eip = b->eip + (u32)block_insn_offset(b)[r->insn];
    cpu->budget += r->charged;
    restore_flags(cpu, &r->flags);
    return found.block;
}

void restore_show(Jit *jit, const Block *b, const X64Restore *r, const u8 *pc) {
    if (log_on(jit->log, LOG(RESTORE) | LOG(OP)) && log_pc_chosen(jit->log, b->eip))
        restore_log(jit, b, r, pc);
}
