// SPDX-License-Identifier: MIT
// Code that is stored to: which blocks go, which come back, and what no store can make wrong.
//
//   beside     bytes of a page that no block is made of are stored to directly, at the cost of one look (stubs.c)
//   asleep     a block whose bytes were overwritten is kept; when its bytes are there again, so is the block
//   soft       an immediate operand that was overwritten again and again is loaded from the guest's memory by
//              the code that uses it; a block is not made of such bytes any more
//   in vain    where no block asleep is ever the one wanted (code made anew each time), none is kept and nothing is
//              soft: both make new blocks dearer. It is tried again now and then
//
// Rules
//  1. A block's code depends on the bytes in its parts, soft ones excepted, and on nothing else of its pages.
//  2. What sleeps is in no page's list and in no hash but this one, and nothing leads to it.
//  3. Softness is asked for once, when a block is translated, and kept with it: it can be translated again.
#include "jit/jit_int.h"

#include <stdlib.h>
#include <string.h>

#define ASLEEP_BITS 12
#define ASLEEP_MOST 8                  // blocks of one place and mode that sleep
#define SOFT_BITS 14
#define SOFT_AFTER 2                   // stores to an immediate that dropped a block, then it is soft
#define VAIN_MOST 32                   // looks for a block asleep, one after the other, that found only others there
#define VAIN_PAUSE 1024                // new blocks of the place until it is tried again

void smc_new(Jit *jit) {
    jit->asleep = mem_new(sizeof *jit->asleep << ASLEEP_BITS);
    jit->soft_stores = mem_new(1u << SOFT_BITS);
    jit->vain = mem_new(sizeof *jit->vain << SOFT_BITS);
}

void smc_free(Jit *jit) {
    free(jit->asleep);
    free(jit->soft_stores);
    free(jit->vain);
}

void smc_forget(Jit *jit) {
    memset(jit->asleep, 0, sizeof *jit->asleep << ASLEEP_BITS);
}

// ---- soft immediates -----------------------------------------------------------------------------------------
static u32 soft_hash(u32 phys) { return phys * 0x9e3779b1u >> (32 - SOFT_BITS); }

// Bytes of the immediate operand at the instruction's end, if it can be loaded in its place: the instruction
// touches no memory but, perhaps, the stack. Else 0.
u32 smc_immediate(const Insn *in) {
    unsigned lifter = isa_row(in)->lifter;
    bool known = lifter == ISA_LIFT_MOV || lifter == ISA_LIFT_ALU || lifter == ISA_LIFT_TEST || lifter == ISA_LIFT_PUSH;
    if (!known) return 0;
    const IsaOperand *last = &in->op[in->operand_count - 1];
    if (in->operand_count < 1 || last->kind != ISA_IMM || in->op[0].kind == ISA_MEM) return 0;
    u32 bytes = in->opcode == 0x83 || in->opcode == 0x6a ? 1 : last->size, value = 0;
    memcpy(&value, in->bytes + in->length - bytes, bytes);
    return value == trunc_size(last->imm, bytes) ? bytes : 0;
}

static bool is_vain(const Jit *jit, u32 phys) { return jit->vain[soft_hash(phys)] >= VAIN_MOST; }

bool smc_may_soften(const Jit *jit, u32 phys) { return jit->has_soft && !is_vain(jit, phys); }

bool smc_is_soft(const Jit *jit, u32 phys) { return jit->soft_stores[soft_hash(phys)] >= SOFT_AFTER; }

static bool soft_covers(const Block *b, u32 offset, u32 bytes) {
    for (const BlockPart *soft = block_soft(b); soft < block_soft(b) + b->soft_count; soft++)
        if (offset >= soft->offset && offset + bytes <= (u32)soft->offset + soft->bytes) return true;
    return false;
}

// The block's instruction that begins last at or before this offset of its first page; its offset. The bytes there
// may be new: a block that a store drops has been stored to.
static u32 soft_insn_at(const Block *b, u32 offset) {
    u32 start = b->phys & ~PAGE_MASK, best = start;
    for (u32 i = 0; i < b->insns; i++) {
        u32 at = start + (u32)block_insn_offset(b)[i];
        if (at <= offset && (best > offset || at > best)) best = at;
    }
    return best;
}

// A store has dropped the block: was it to an immediate that could be soft?
static void soft_note(Jit *jit, const Block *b, const BusPage *page, u32 offset, u32 bytes) {
    Insn in;
    u32 at = soft_insn_at(b, offset), left = PAGE_BYTES - at;
    if (bytes > 4 || !page->host || at >= offset) return;         // an instruction's first byte is no immediate's
    if (isa_decode(page->host + at, min_u32(left, ISA_MAX_BYTES), b->key & MODE_CODE32, &in) != ISA_OK) return;
    u32 immediate = smc_immediate(&in), end = at + in.length;
    if (!immediate || offset < end - immediate || offset + bytes > end) return;
    u8 *count = &jit->soft_stores[soft_hash((b->phys & PAGE_MASK) + end - immediate)];
    *count += *count < SOFT_AFTER;
    jit->has_soft |= *count == SOFT_AFTER;
}

// ---- what a block is made of ----------------------------------------------------------------------------------
static bool part_meets(BlockPart part, u32 offset, u32 bytes) {
    return offset < (u32)part.offset + part.bytes && part.offset < offset + bytes;
}

static bool part_overlaps(const Block *b, unsigned n, u32 offset, u32 bytes) {
    BlockPart second;
    u32 ppn;
    if (n) return cache_parts(b, 1, &ppn, &second) && part_meets(second, offset, bytes);
    for (u32 i = 0; i < b->parts; i++)
        if (part_meets(block_part(b)[i], offset, bytes)) return !b->soft_count || !soft_covers(b, offset, bytes);
    return false;
}

bool smc_overlaps(const Block *b, u32 ppn, u32 offset, u32 bytes) {
    bool first = b->phys >> PAGE_SHIFT == ppn && part_overlaps(b, 0, offset, bytes);
    return first || (b->second_ppn == ppn && part_overlaps(b, 1, offset, bytes));
}

static bool page_block_meets(PageBlock p, u64 touched, u32 offset, u32 bytes) {
    return p.granules & touched && part_overlaps(page_block(p), page_which(p), offset, bytes);
}

// The running block is the one with the call of the slow access or helper.
SmcStore smc_look(const Jit *jit, const BusPage *page, u32 offset, u32 bytes) {
    u64 touched = cache_granules(offset, bytes);
    const PageBlocks *all = page->blocks;
    const u8 *after = (const u8 *)(uintptr_t)jit->cpu->jit_word[WORD_EXIT_PC];
    SmcStore found = SMC_BESIDE;
    if (!(page->code_granules & touched)) return SMC_BESIDE;
    for (u32 i = 0; i < all->count && found != SMC_OVER_RUNNING; i++) {
        if (!page_block_meets(all->at[i], touched, offset, bytes)) continue;
        bool running = !jit->stepping && after && cache_is_at(jit, page_block(all->at[i]), after - 1);
        found = running ? SMC_OVER_RUNNING : SMC_OVER;
    }
    return found;
}

// The bytes of the block's parts, one after the other, soft ones as 0.
static u32 block_bytes(const Block *b, const BusPage *page, u8 *to) {
    u32 n = 0;
    for (u32 i = 0; i < b->parts; i++) {
        memcpy(to + n, page->host + block_part(b)[i].offset, block_part(b)[i].bytes);
        for (u32 k = 0; k < b->soft_count; k++) {
            u32 into = (u32)block_soft(b)[k].offset - block_part(b)[i].offset;
            if (into < block_part(b)[i].bytes) memset(to + n + into, 0, block_soft(b)[k].bytes);
        }
        n += block_part(b)[i].bytes;
    }
    return n;
}

// Are the block's bytes there again? `room`: for them.
static bool block_is_back(const Block *b, const BusPage *page, u8 *room) {
    if (b->soft_count) return !memcmp(room, block_source(b), block_bytes(b, page, room));
    const u8 *source = block_source(b);
    for (u32 i = 0; i < b->parts; source += block_part(b)[i++].bytes)
        if (memcmp(page->host + block_part(b)[i].offset, source, block_part(b)[i].bytes)) return false;
    return true;
}

// ---- blocks asleep ---------------------------------------------------------------------------------------------
static Block **asleep_at(const Jit *jit, u32 phys, u32 key) {
    u32 h = (phys ^ key * 0x85ebca6bu) * 0x9e3779b1u;
    return &jit->asleep[h >> (32 - ASLEEP_BITS)];
}

// Only the bytes can make such a block wrong, and only one way leads to it again.
static bool asleep_takes(const Block *b) {
    return b->has_source && b->second_ppn == JIT_NO_PAGE && b->flags.op == X64_FLAGS_IN_STATE;
}

static PageBlocks *page_list(const Jit *jit, u32 phys) { return bus_page(jit->bus, phys >> PAGE_SHIFT)->blocks; }

static void asleep_put(Jit *jit, Block *b) {
    Block **at = asleep_at(jit, b->phys, b->key);
    page_list(jit, b->phys)->asleep = true;
    b->hash_next = *at;
    *at = b;
    u32 count = 0;
    while (*at && (count += cache_is(*at, b->phys, b->eip, b->base, b->key)) <= ASLEEP_MOST) at = &(*at)->hash_next;
    if (*at) *at = (*at)->hash_next;
}

void smc_keep_source(Jit *jit, Block *b) {
    const BusPage *page = bus_page(jit->bus, b->phys >> PAGE_SHIFT);
    if (b->second_ppn != JIT_NO_PAGE || !page->host) return;
    block_bytes(b, page, block_source(b));
    b->has_source = true;
}

Block *smc_wake(Jit *jit, u32 phys, u32 eip, u32 key) {
    u8 room[JIT_MAX_INSNS * ISA_MAX_BYTES];
    const PageBlocks *all = page_list(jit, phys);
    if (!all || !all->asleep) return NULL;
    u16 *vain = &jit->vain[soft_hash(phys)];
    bool others = false;
    if (*vain >= VAIN_MOST) {
        *vain = *vain < VAIN_PAUSE ? *vain + 1 : 0;
        return NULL;
    }
    const BusPage *page = bus_page(jit->bus, phys >> PAGE_SHIFT);
    u32 base = jit->cpu->seg[CPU_CS].base;
    for (Block **at = asleep_at(jit, phys, key); *at; at = &(*at)->hash_next) {
        Block *b = *at;
        if (!cache_is(b, phys, eip, base, key) || b->grouped == cache_is_ungrouped(jit, key, phys)) continue;
        others = true;
        if (!block_is_back(b, page, room)) continue;
        *vain = 0;
        *at = b->hash_next;
        cache_enter(jit, b);
        jit->stats.wakes++;
        return b;
    }
    *vain += others;
    return NULL;
}

// ---- stores ------------------------------------------------------------------------------------------------------
static void drop_written(Jit *jit, PageBlock p, u32 ppn, u32 offset, u32 bytes) {
    Block *b = page_block(p);
    if (log_on(jit->log, LOG(SMC)))
        log_printf(jit->log, "smc: store to %08x+%x drops block %08x\n", ppn << PAGE_SHIFT | offset, bytes, b->eip);
    cache_invalidate(jit, b);
    if (page_which(p) == 0) soft_note(jit, b, bus_page(jit->bus, ppn), offset, bytes);
    if (asleep_takes(b) && !is_vain(jit, b->phys)) asleep_put(jit, b);
}

// From the end: what is taken from the list is replaced by its last. A block of two pages may be in it twice.
void smc_written(void *self, u32 ppn, u32 offset, u32 bytes) {
    Jit *jit = self;
    const PageBlocks *all = bus_page(jit->bus, ppn)->blocks;
    u64 touched = cache_granules(offset, bytes);
    for (u32 i = all ? all->count : 0; i-- > 0;) {
        PageBlock p = all->at[i];
        if (i < all->count && page_block_meets(p, touched, offset, bytes)) drop_written(jit, p, ppn, offset, bytes);
    }
}

bool smc_hits_running(void *self, u32 ppn, u32 offset, u32 bytes) {
    const Jit *jit = self;
    return smc_look(jit, bus_page(jit->bus, ppn), offset, bytes) == SMC_OVER_RUNNING;
}
