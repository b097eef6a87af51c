// SPDX-License-Identifier: MIT
// What is known about a block, for those outside the room: the tour, the monitor, dump --at.
//
// Nothing here changes a translation or the guest. The stages before host code are not kept; they are
// made again from the guest's bytes, which are the same as long as the block is valid.
#include "jit/jit_int.h"

#include "lift/lift.h"

#include <string.h>

static JitBlockInfo inspect_info(const Jit *jit, const Block *b) {
    JitBlockInfo info = { .eip = b->eip, .phys = b->phys, .bytes = b->bytes, .insns = b->insns,
        .hot = b->hot, .cold = b->cold, .hot_bytes = b->hot_bytes, .cold_bytes = b->cold_bytes,
        .blocks = jit->block_count, .index = jit->block_count, .records = b->restore_count };
    while (info.index && jit->block[--info.index] != b) {}
    return info;
}

bool jit_block_at(const Jit *jit, const u8 *host_pc, JitBlockInfo *info) {
    const Block *b = cache_block_at(jit, host_pc);
    if (b) *info = inspect_info(jit, b);
    return b != NULL;
}

void jit_on_block(Jit *jit, void (*fn)(void *self, const JitBlockInfo *info), void *self) {
    jit->on_block = fn;
    jit->on_block_self = self;
}

void inspect_tell_block(Jit *jit, const Block *b) {
    JitBlockInfo info = inspect_info(jit, b);
    jit->on_block(jit->on_block_self, &info);
}

static bool inspect_print_ir(Jit *jit, const Block *b, JitStage stage, FILE *out) {
    Source src;
    Lifted l;
    IrNames names = { .helpers = lift_helpers(), .env_name = lift_env_name };
    if (!b->valid || !translate_lift_again(jit, b, &src, &l)) return false;
    if (stage == JIT_STAGE_OP_OPT) translate_optimize(l.ir, b->grouped);
    if (stage == JIT_STAGE_IN) translate_print_insns(&src, &l, out);
    else ir_print(l.ir, &names, out);
    return true;
}

bool jit_print_stage(Jit *jit, const u8 *host_pc, JitStage stage, FILE *out) {
    const Block *b = cache_block_at(jit, host_pc);
    if (!b) return false;
    const Late *late = late_of(b, host_pc);
    if (stage == JIT_STAGE_HOT) dump_host(out, b->hot, b->hot_bytes, (u64)(uintptr_t)b->hot);
    else if (stage == JIT_STAGE_COLD && late) dump_host(out, late->code, late->bytes, (u64)(uintptr_t)late->code);
    else if (stage == JIT_STAGE_COLD) dump_host(out, b->cold, b->cold_bytes, (u64)(uintptr_t)b->cold);
    else return inspect_print_ir(jit, b, stage, out);
    return true;
}

bool jit_record(Jit *jit, const u8 *host_pc, JitRestore how, JitRecord *record) {
    const Block *b = cache_block_at(jit, host_pc);
    const X64Restore *r = b ? restore_lookup(jit, b, host_pc, how) : NULL;
    if (!r) return false;
    *record = (JitRecord){ .host = r->host & X64_HOST_OFFSET, .late = (r->host & X64_LATE) != 0,
        .cold = (r->host & (X64_COLD | X64_LATE)) != 0, .op = r->op,
        .insn = r->insn, .eip = b->eip + (u32)block_insn_offset(b)[r->insn], .charged = r->charged };
    dump_flags(&r->flags, record->flags, sizeof record->flags);
    return true;
}

void jit_single_step(Jit *jit, bool on) {
    jit->opt.max_insns = on ? 1 : 0;
    cache_flush(jit);
}
