// SPDX-License-Identifier: MIT
// Blocks: where they are found, how they are linked, when they go.
//
// Rules
//  1. A block is found by physical address, eip, CS base and mode key. It stays valid whatever happens to page
//     tables; its checked entry compares the page's present translation.
//  2. Code memory is not reused before a flush, so the block that is running may be invalidated: its
//     code still leads out through its edges.
//  3. A linked edge is in the list of its target's incoming edges; invalidation leads them back to
//     their stubs.
//  4. A page with blocks has BUS_PAGE_CODE set and the granules of their bytes marked.
#include "jit/jit_int.h"

#include "cpu/mmu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CACHE_HASH_BITS 16
#define CACHE_PASSES 1024          // through a saver before its target is translated for it (default)
enum { CACHE_CALL = 0xe8, CACHE_JMP = 0xe9 };
#define CACHE_VARIANTS 8           // blocks for different places of the flags, of one

// Mode 0xffffffff is no mode: it is asked for anew.
static void cache_forget_modes(Jit *jit) {
    jit->no_mode.mode = ~0u;
    jit->cur_mode = &jit->no_mode;
    memset(jit->quick_mode, 0, sizeof jit->quick_mode);
}

// A table is memory of its own, of which only what is used is ever touched: zeros are no entry but in the places
// where eip may be 0.
#define CACHE_JUMPS_BYTES (JIT_JUMPS * sizeof(JumpEntry))
static JumpEntry cache_no_jump(u32 n) { return (JumpEntry){ .eip = n % X64_JUMPS ? 0 : 2 }; }

static void cache_clear_jumps(JumpEntry *cache) {
    if (madvise(cache, CACHE_JUMPS_BYTES, MADV_DONTNEED) != 0) memset(cache, 0, CACHE_JUMPS_BYTES);
    cache[0] = cache[X64_JUMPS] = cache_no_jump(0);
}

static JumpEntry *cache_new_jumps(void) {
    JumpEntry *cache = mmap(NULL, CACHE_JUMPS_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (cache == MAP_FAILED) panic("out of memory");
    cache[0] = cache[X64_JUMPS] = cache_no_jump(0);
    return cache;
}

static void cache_free_jumps(JumpEntry *cache) {
    if (cache) munmap(cache, CACHE_JUMPS_BYTES);
}

// Executable memory that begins at a huge page, in huge pages where the host has them to give: new code is written
// all over it, and each first touch of a page costs as much as the translation of several instructions. NULL: none.
static u8 *cache_map(size_t bytes) {
    size_t more = bytes + MEM_HUGE_BYTES;
    u8 *p = mmap(NULL, more, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
    size_t before = -(uintptr_t)p & (MEM_HUGE_BYTES - 1);
    if (before) munmap(p, before);
    munmap(p + before + bytes, MEM_HUGE_BYTES - before);
    madvise(p + before, bytes, MADV_HUGEPAGE);
    return p + before;
}

bool cache_new(Jit *jit, char **error) {
    u32 mib = jit->opt.cache_mib ? jit->opt.cache_mib : 64;
    jit->code_bytes = mib << 20;
    jit->code = cache_map(jit->code_bytes);
    if (!jit->code) {
        *error = mem_printf("cannot get %u MiB of executable memory for translated code: %s",
                            mib, strerror(errno));
        return false;
    }
    jit->hot_next = jit->code;
    jit->hot_end = jit->code + jit->code_bytes / 2;
    cache_forget_modes(jit);
    stubs_generate(jit);
    jit->hot_start = jit->hot_next;
    jit->cold_start = jit->cold_next = jit->hot_end;
    jit->cold_end = jit->code + jit->code_bytes;
    jit->meta = arena_new(ARENA_HUGE_CHUNK);
    jit->hash = mem_new(sizeof *jit->hash << CACHE_HASH_BITS);
    jit->ungrouped = mem_new((1u << JIT_UNGROUPED_BITS) / 8);
    smc_new(jit);
    if (jit->opt.check) {
        jit->no_jumps = cache_new_jumps();
    }
    jit->edge_capacity = 1 << 12;
    jit->edge = mem_new(jit->edge_capacity * sizeof *jit->edge);
    jit->block_capacity = 1 << 12;
    jit->block = mem_new(jit->block_capacity * sizeof *jit->block);
    return true;
}

void cache_free(Jit *jit) {
    if (jit->code) munmap(jit->code, jit->code_bytes);
    for (u32 i = 0; i < jit->mode_count; i++) {
        cache_free_jumps(jit->mode[i]->cache);
        free(jit->mode[i]->block);
        free(jit->mode[i]);
    }
    free(jit->mode);
    cache_free_jumps(jit->no_jumps);
    free(jit->hash);
    free(jit->ungrouped);
    smc_free(jit);
    free(jit->edge);
    free(jit->block);
    free(jit->counted);
    late_free(jit);
    if (jit->meta) arena_free(jit->meta);
}

static void cache_forget_page(Jit *jit, u32 ppn) {
    BusPage *page = bus_page(jit->bus, ppn);
    page->blocks = NULL;
    page->code_granules = 0;
    page->flags &= ~BUS_PAGE_CODE;
}

void cache_flush(Jit *jit) {
    if (jit->cpu) cpu_fpu_keep_pointers(jit->cpu);      // the code they name goes
    names_forget(jit);
    for (u32 i = 0; i < jit->block_count; i++) {
        Block *b = jit->block[i];
        cache_forget_page(jit, b->phys >> PAGE_SHIFT);
        if (b->second_ppn != JIT_NO_PAGE) cache_forget_page(jit, b->second_ppn);
    }
    jit->block_count = 0;
    restore_forget(jit);
    late_forget(jit);
    jit->entered = NULL;
    jit->edge_count = 0;
    jit->hot_next = jit->hot_start;
    jit->cold_next = jit->cold_start;
    jit->row_end = NULL;
    jit->cold_end = jit->code + jit->code_bytes;
    memset(jit->hash, 0, sizeof *jit->hash << CACHE_HASH_BITS);
    smc_forget(jit);
    for (u32 i = 0; i < jit->mode_count; i++) cache_clear_jumps(jit->mode[i]->cache);
    jit->cs_limit_count = 0;
    cache_forget_modes(jit);
    arena_reset(jit->meta);
    memset(jit->page_blocks, 0, sizeof jit->page_blocks);
    jit->stats.flushes++;
}

void jit_flush(Jit *jit) { cache_flush(jit); }

void jit_set_breakpoint(Jit *jit, u32 linear, bool on) {
    u32 n = 0;
    while (n < jit->break_count && jit->breaks[n] != linear) n++;
    if (on == (n < jit->break_count)) return;
    if (on) {
        jit->breaks = mem_resize(jit->breaks, (n + 1) * sizeof *jit->breaks);
        jit->breaks[jit->break_count++] = linear;
    } else {
        jit->breaks[n] = jit->breaks[--jit->break_count];
    }
    memset(jit->break_offsets, 0, sizeof jit->break_offsets);
    for (u32 i = 0; i < jit->break_count; i++)
        jit->break_offsets[(jit->breaks[i] & ~PAGE_MASK) >> 3] |= (u8)(1u << (jit->breaks[i] & 7));
    cache_flush(jit);
}

// ---- modes -------------------------------------------------------------------------------------------------
// CS's limit is part of what a block depends on: its number among the limits seen goes into the key.
static u32 cache_limit_number(Jit *jit, u32 limit) {
    for (u32 i = 0; i < jit->cs_limit_count; i++)
        if (jit->cs_limits[i] == limit) return i;
    if (jit->cs_limit_count == ARRAY_LEN(jit->cs_limits)) cache_flush(jit);
    jit->cs_limits[jit->cs_limit_count] = limit;
    return jit->cs_limit_count++;
}

static JitMode *cache_mode_new(Jit *jit) {
    jit->mode = mem_resize(jit->mode, (jit->mode_count + 1) * sizeof *jit->mode);
    JitMode *m = jit->mode[jit->mode_count] = mem_new(sizeof *m);
    m->number = jit->mode_count++;
    m->cache = cache_new_jumps();
    m->block = mem_new(JIT_JUMPS * sizeof *m->block);
    return m;
}

// Guests use few modes, but could go through thousands: then they take turns.
static JitMode *cache_mode(Jit *jit, u32 key) {
    for (u32 i = 0; i < jit->mode_count; i++)
        if (jit->mode[i]->key == key) return jit->mode[i];
    JitMode *m = jit->mode_count < JIT_MODES_MAX ? cache_mode_new(jit) : jit->mode[jit->mode_turn++ % JIT_MODES_MAX];
    if (m->key != key) cache_clear_jumps(m->cache);
    m->key = key;
    return m;
}

u32 cache_mode_key(Jit *jit) {
    u32 mode = jit->cpu->mode, limit = jit->cpu->seg[CPU_CS].limit;
    JitMode *m = jit->cur_mode;
    if (mode == m->mode && limit == m->limit) return m->key;
    JitMode **quick = &jit->quick_mode[JIT_QUICK_MODE(mode)];
    m = *quick;
    if (!m || m->mode != mode || m->limit != limit) {
        m = cache_mode(jit, mode | cache_limit_number(jit, limit) << 26);
        jit->quick_mode[JIT_QUICK_MODE(mode)] = m;     // after a flush, perhaps
        m->mode = mode;
        m->limit = limit;
    }
    jit->cur_mode = m;
    jit->cpu->jump_cache = jit->no_jumps ? jit->no_jumps : m->cache;
    return m->key;
}

// ---- lookup ------------------------------------------------------------------------------------------------
// Blocks of a page lie side by side in the table, each page's from a place of its own on: code that runs for the
// first time asks for one after the other. A chain is the address of its first block; its upper 16 bits are a filter:
// a block whose bit is not set is not in it, and no other needs to be looked at.
typedef struct ChainPlace { u64 *chain, bit; } ChainPlace;
static ChainPlace chain_place(const Jit *jit, u32 phys, u32 eip, u32 key) {
    u32 h = ((phys >> PAGE_SHIFT) * 0x85ebca6bu ^ (eip - phys) * 0xc2b2ae35u ^ key * 0x27d4eb2fu) * 0x9e3779b1u;
    u32 at = (h >> (32 - CACHE_HASH_BITS)) + ((phys & ~PAGE_MASK) >> 2);
    return (ChainPlace){ &jit->hash[at & (BIT(CACHE_HASH_BITS) - 1)], 1ull << (48 + ((phys + h) & 15)) };
}

static Block *chain_first(u64 chain) { return (Block *)(uintptr_t)(chain << 16 >> 16); }

static void chain_put(Jit *jit, Block *b) {
    ChainPlace at = chain_place(jit, b->phys, b->eip, b->key);
    b->hash_next = chain_first(*at.chain);
    *at.chain = (*at.chain >> 48 << 48) | at.bit | (uintptr_t)b;
}

// The filter keeps its bit as long as there are others.
static void chain_take(Jit *jit, Block *b) {
    u64 *chain = chain_place(jit, b->phys, b->eip, b->key).chain;
    Block *first = chain_first(*chain), *before = first;
    if (first == b) {
        u64 filter = b->hash_next ? *chain >> 48 << 48 : 0;
        *chain = filter | (uintptr_t)b->hash_next;
        return;
    }
    while (before->hash_next != b) before = before->hash_next;
    before->hash_next = b->hash_next;
}

// The first block that may be the one wanted; the others follow by hash_next.
static Block *chain_find(const Jit *jit, u32 phys, u32 eip, u32 key) {
    ChainPlace at = chain_place(jit, phys, eip, key);
    return *at.chain & at.bit ? chain_first(*at.chain) : NULL;
}

static bool cache_fetch(Jit *jit, u32 eip, u32 *ppn) {
    Cpu *cpu = jit->cpu;
    return cpu_fetch_page(cpu, lin(cpu->seg[CPU_CS].base + eip), ppn);
}

// The page after the block's first must lead where the block was translated from.
static bool cache_second_holds(Jit *jit, const Block *b) {
    u32 ppn;
    if (b->second_ppn == JIT_NO_PAGE) return true;
    if (!cache_fetch(jit, b->eip + b->bytes - 1, &ppn)) {
        jit->cpu->fault.pending = 0;          // translate_block() will meet it again
        return false;
    }
    return ppn == b->second_ppn;
}

// Bits of a page lie side by side, as its blocks do.
static u32 cache_ungrouped_bit(u32 phys) {
    u32 page = (phys >> PAGE_SHIFT) * 0x9e3779b1u >> (32 - JIT_UNGROUPED_BITS);
    return (page + (phys & ~PAGE_MASK)) & (BIT(JIT_UNGROUPED_BITS) - 1);
}

bool cache_is_ungrouped(const Jit *jit, u32 key, u32 phys) {
    u32 bit = cache_ungrouped_bit(phys);
    return key & JIT_KEY_UNGROUPED || jit->ungrouped[bit >> 3] >> (bit & 7) & 1;
}

void cache_ungroup(Jit *jit, Block *b) {
    u32 bit = cache_ungrouped_bit(b->phys);
    jit->ungrouped[bit >> 3] |= 1u << (bit & 7);
    cache_invalidate(jit, b);
}

void cache_regroup(Jit *jit) {
    memset(jit->ungrouped, 0, (1u << JIT_UNGROUPED_BITS) / 8);
    for (u32 i = 0; i < jit->block_count; i++) {
        Block *b = jit->block[i];
        if (!b->grouped && !(b->key & JIT_KEY_UNGROUPED)) cache_invalidate(jit, b);
    }
}

bool cache_is(const Block *b, u32 phys, u32 eip, u32 base, u32 key) {
    return b->phys == phys && b->eip == eip && b->base == base && b->key == key;
}

static Block *cache_find_key(Jit *jit, u32 eip, u32 key, bool checked) {
    u32 ppn, base = jit->cpu->seg[CPU_CS].base;
    if (!cpu_check_cs(jit->cpu, eip, 1)) return NULL;
    if (!cache_fetch(jit, eip, &ppn)) return NULL;
    u32 phys = ppn << PAGE_SHIFT | ((base + eip) & ~PAGE_MASK);
    for (Block *b = chain_find(jit, phys, eip, key); b; b = b->hash_next)
        if (cache_is(b, phys, eip, base, key) && b->flags.op == X64_FLAGS_IN_STATE && cache_second_holds(jit, b))
            return b;
    jit->stats.misses++;
    Block *awake = smc_wake(jit, phys, eip, key);
    return awake ? awake : translate_block(jit, eip, key, phys, checked);
}

// What the jump cache says.
static Block *cache_recall(Jit *jit, u32 eip, u32 key) {
    u32 n = x64_jump(eip);
    if (jit->cur_mode->cache[n].eip != eip) n = jit_displaced(eip);
    if (jit->cur_mode->cache[n].eip != eip) return NULL;
    Block *b = jit->cur_mode->block[n];
    u32 base = jit->cpu->seg[CPU_CS].base, addr = base + eip;
    u32 phys = mmu_code_page(jit->cpu, lin(addr)) << PAGE_SHIFT | (addr & ~PAGE_MASK);
    return cache_is(b, phys, eip, base, key) && b->second_ppn == JIT_NO_PAGE ? b : NULL;
}

Block *cache_find(Jit *jit, u32 eip) {
    u32 key = cache_mode_key(jit);
    Block *b = cache_recall(jit, eip, key);
    return b ? b : cache_find_key(jit, eip, key, false);
}

Block *cache_find_ungrouped(Jit *jit, u32 eip) {
    return cache_find_key(jit, eip, cache_mode_key(jit) | JIT_KEY_UNGROUPED, false);
}

// The entry for those who come from outside, made when it is wanted. NULL: no room.
static const u8 *cache_entry(Jit *jit, Block *b) {
    if (b->entry) return b->entry;
    if (jit->cold_end - jit->cold_next < X64_CHECKED_ENTRY_BYTES) return NULL;
    X64Entry entry = { .flat = MODE_SEG_CLASS(b->key, CPU_CS) == SEG_FLAT, .base = b->base, .eip = b->eip,
                       .expects = mmu_code_entry((b->base + b->eip) >> PAGE_SHIFT, b->phys >> PAGE_SHIFT) };
    b->entry = jit->cold_next;
    jit->cold_next = x64_checked_entry(&jit->target, &entry, b->hot + b->fast, b->entry);
    jit->stats.cold_bytes += (u64)(jit->cold_next - b->entry);
    return b->entry;
}

// For indirect jumps.
static void cache_remember(Jit *jit, Block *b) {
    const u8 *entry = cache_entry(jit, b);
    if (!entry || cache_may_break(jit, b->phys)) return;
    JitMode *m = jit->cur_mode;
    u32 n = x64_jump(b->eip);
    if (m->cache[n].code && m->cache[n].eip != b->eip) {
        u32 to = jit_displaced(m->cache[n].eip);
        m->cache[to] = m->cache[n];
        m->block[to] = m->block[n];
    }
    m->cache[n] = (JumpEntry){ .eip = b->eip, .code = entry };
    m->block[n] = b;
    b->mode = (u8)(m->number + 1);
}

Block *cache_find_from_outside(Jit *jit, u32 eip) {
    u32 key = cache_mode_key(jit);
    Block *b = cache_recall(jit, eip, key);
    if (b) return b;
    b = cache_find_key(jit, eip, key, true);
    if (b) cache_remember(jit, b);
    return b;
}

static bool cache_is_in(const Block *b, const u8 *pc, bool cold) {
    const u8 *start = cold ? b->cold : b->hot;
    return (pc >= start && pc < start + (cold ? b->cold_bytes : b->hot_bytes)) || (cold && late_of(b, pc));
}

bool cache_is_at(const Jit *jit, const Block *b, const u8 *pc) { return cache_is_in(b, pc, pc >= jit->cold_start); }

Block *cache_block_at(const Jit *jit, const u8 *pc) {
    bool cold = pc >= jit->cold_start;
    if (jit->entered && cache_is_in(jit->entered, pc, cold)) return jit->entered;
    u32 low = 0, high = jit->block_count;
    while (low < high) {
        u32 mid = (low + high) / 2;
        const Block *b = jit->block[mid];
        if ((cold ? b->cold : b->hot) <= pc) low = mid + 1;
        else high = mid;
    }
    Block *b = low ? jit->block[low - 1] : NULL;
    if (b && cache_is_in(b, pc, cold)) return b;
    const Late *late = late_at(jit, pc);
    return late ? late->block : NULL;
}

// ---- pages -------------------------------------------------------------------------------------------------
u64 cache_granules(u32 offset, u32 bytes) {
    return ~0ull << (offset >> 6) & ~0ull >> (63 - ((offset + bytes - 1) >> 6));
}

// The pieces of the block in its n-th page: their number. Of the second there is one at most.
u32 cache_parts(const Block *b, unsigned n, u32 *ppn, BlockPart *part) {
    if (n == 0) {
        *ppn = b->phys >> PAGE_SHIFT;
        memcpy(part, block_part(b), b->parts * sizeof *part);
        return b->parts;
    }
    *ppn = b->second_ppn;
    *part = (BlockPart){ .bytes = (u16)(b->bytes - (PAGE_BYTES - (b->phys & ~PAGE_MASK))) };
    return b->second_ppn != JIT_NO_PAGE;
}

static u64 cache_granules_in(const Block *b, unsigned n) {
    BlockPart part[JIT_MAX_FOLLOWS + 1];
    u32 ppn;
    u64 granules = 0;
    for (u32 i = cache_parts(b, n, &ppn, part); i-- > 0;) granules |= cache_granules(part[i].offset, part[i].bytes);
    return granules;
}

static bool cache_page_of(const Block *b, unsigned n, u32 *ppn) {
    *ppn = n ? b->second_ppn : b->phys >> PAGE_SHIFT;
    return *ppn != JIT_NO_PAGE;
}

static PageBlocks *cache_new_list(Jit *jit, unsigned size) {
    PageBlocks *all = jit->page_blocks[size];
    if (all) jit->page_blocks[size] = all->next;
    else all = arena_alloc(jit->meta, offsetof(PageBlocks, at[(size_t)PAGE_BLOCKS_LEAST << size]));
    all->count = 0;
    all->size = (u8)size;
    all->asleep = false;
    return all;
}

// The page's list with room for one more.
static PageBlocks *cache_page_room(Jit *jit, BusPage *page) {
    PageBlocks *old = page->blocks;
    if (!old) return page->blocks = cache_new_list(jit, 0);
    if (old->count < (u32)PAGE_BLOCKS_LEAST << old->size) return old;
    PageBlocks *all = page->blocks = cache_new_list(jit, old->size + 1);
    all->count = old->count;
    all->asleep = old->asleep;
    memcpy(all->at, old->at, old->count * sizeof *all->at);
    old->next = jit->page_blocks[old->size];
    jit->page_blocks[old->size] = old;
    return all;
}

static void cache_add_to_page(Jit *jit, Block *b, unsigned n) {
    u32 ppn;
    if (!cache_page_of(b, n, &ppn)) return;
    BusPage *page = bus_page(jit->bus, ppn);
    PageBlocks *all = cache_page_room(jit, page);
    u64 granules = cache_granules_in(b, n);
    all->at[all->count++] = (PageBlock){ granules, (uintptr_t)b | n };
    page->code_granules |= granules;
    if (!(page->flags & BUS_PAGE_CODE)) {
        page->flags |= BUS_PAGE_CODE;
        mmu_protect_phys(jit->cpu, ppn);
    }
}

static void cache_remove_from_page(Jit *jit, Block *b, unsigned n) {
    u32 ppn;
    if (!cache_page_of(b, n, &ppn)) return;
    BusPage *page = bus_page(jit->bus, ppn);
    PageBlocks *all = page->blocks;
    u64 granules = 0;
    for (u32 i = all->count; i-- > 0;) {
        if (all->at[i].block == ((uintptr_t)b | n)) all->at[i] = all->at[--all->count];
        else granules |= all->at[i].granules;
    }
    page->code_granules = granules;
    if (!granules) page->flags &= ~BUS_PAGE_CODE;
}

void cache_enter(Jit *jit, Block *b) {
    chain_put(jit, b);
    cache_add_to_page(jit, b, 0);
    cache_add_to_page(jit, b, 1);
    b->valid = true;
}

void cache_insert(Jit *jit, Block *b) {
    cache_enter(jit, b);
    if (jit->block_count == jit->block_capacity) {
        jit->block_capacity *= 2;
        jit->block = mem_resize(jit->block, jit->block_capacity * sizeof *jit->block);
    }
    jit->block[jit->block_count++] = b;
}

// The pc at which an edge's stub asks for a link: of the question, or the last byte of the call.
static const u8 *cache_edge_pc(const Edge *e) { return e->bare ? e->stub : e->stub_jump + 3; }

u32 cache_edge_at(const Jit *jit, const u8 *pc) {
    const Block *b = cache_block_at(jit, pc);
    require(b);
    for (u32 i = b->first_edge; i < b->first_edge + b->edge_count; i++)
        if (cache_edge_pc(&jit->edge[i]) == pc) return i;
    panic("host pc %p is no edge of block %08x", (const void *)pc, b->eip);
}

// The last instruction of an edge's stub: call link, or jmp to the block. A bare one is as good as not there.
static void cache_aim_stub(const Edge *e, u8 opcode, const u8 *target) {
    if (e->bare) {
        enc_patch32(e->jump, opcode == CACHE_CALL ? e->stub : target);
        return;
    }
    enc_patch32(e->jump, e->stub);
    e->stub_jump[-1] = opcode;
    enc_patch32(e->stub_jump, target);
}

static u32 cache_counters(const Jit *jit) { return (u32)((jit->code + jit->code_bytes - jit->cold_end) / sizeof(i32)); }

static i32 *cache_new_counter(Jit *jit, u32 edge) {
    u32 n = cache_counters(jit);
    if (n == jit->counted_capacity) {
        jit->counted_capacity = n ? 2 * n : 256;
        jit->counted = mem_resize(jit->counted, jit->counted_capacity * sizeof *jit->counted);
    }
    jit->counted[n] = edge;
    jit->cold_end -= sizeof(i32);
    return (i32 *)(void *)jit->cold_end;
}

// The counter is named by the DECL before JNS and the call.
u32 cache_saver_at(const Jit *jit, const u8 *pc) {
    const u8 *passes = enc_target32(pc - 14);
    return jit->counted[(u32)((jit->code + jit->code_bytes - passes) / sizeof(i32)) - 1];
}

//     store the flags
//     decl passes(%rip) ; jns entry      (to a block of two pages: jmp entry)
//     call promote
// Counters are taken from the end of the cold code's memory: stores near running code would be slow.
static void cache_make_saver(Jit *jit, Edge *e, const X64Recipe *flags) {
    e->saver = jit->cold_next;
    Buf b = { e->saver, x64_store_flags(&jit->target, flags, e->saver), jit->cold_end };
    if (e->to->second_ppn == JIT_NO_PAGE) {
        e->passes = cache_new_counter(jit, (u32)(e - jit->edge));
        enc_u16(&b, 0x0dff);
        b.p += 4;
        enc_patch32(b.p - 4, (u8 *)e->passes);
        e->saver_jump = enc_jcc32(&b, 9);
        enc_patch32(enc_call32(&b), jit->promote);
    } else {
        e->saver_jump = enc_jmp32(&b);
    }
    jit->cold_next = b.p;
    jit->stats.cold_bytes += (u64)(b.p - e->saver);
}

// Leads the edge to the entry by way of code that stores the flags. False: it is not wanted yet, or there is no room.
static bool cache_aim_saver(Jit *jit, Edge *e, const X64Recipe *flags, const u8 *entry) {
    if (!e->saver) {
        if (!e->passed) { e->passed = true; return false; }      // half of them never see a second time
        if (jit->cold_end - jit->cold_next < X64_STORE_FLAGS_BYTES + 32) return false;
        cache_make_saver(jit, e, flags);
    }
    if (e->passes) *e->passes = (i32)(jit->opt.passes ? jit->opt.passes - 1 : CACHE_PASSES);
    enc_patch32(e->saver_jump, entry);
    cache_aim_stub(e, CACHE_JMP, e->saver);
    return true;
}

// ---- links -------------------------------------------------------------------------------------------------
static bool cache_same_page(const Edge *e) {
    u32 base = e->from->base;
    return ((e->from->eip + base) ^ (e->target + base)) >> PAGE_SHIFT == 0 && e->from->second_ppn == JIT_NO_PAGE;
}

bool cache_stays_inside(const Jit *jit, u32 edge) { return cache_same_page(&jit->edge[edge]); }

static X64Recipe cache_edge_flags(const Jit *jit, const Edge *e) {
    const X64Restore *r = restore_record(jit, e->from, cache_edge_pc(e));
    require(r);
    return r->flags;
}

// Leads the edge's jump to `to`. False: no code in between, or not yet.
static bool cache_aim(Jit *jit, Edge *e, Block *to) {
    bool same_page = cache_same_page(e);
    const u8 *entry = same_page ? to->hot + (e->from->uses_xmm ? to->live : to->fast) : cache_entry(jit, to);
    if (!entry) return false;
    // Flags may be lost on the way only where nothing can come between: no test of a page at the entry.
    bool sure = same_page && to->second_ppn == JIT_NO_PAGE;
    bool variant = to->flags.op != X64_FLAGS_IN_STATE;
    e->to = to;
    if (variant ? e->bare : !e->saves_flags || (to->flags_dead && sure)) {
        enc_patch32(e->jump, entry);
        return true;
    }
    X64Recipe flags = cache_edge_flags(jit, e);
    if (flags.op != X64_FLAGS_IN_STATE && !variant) return cache_aim_saver(jit, e, &flags, entry);
    cache_aim_stub(e, CACHE_JMP, entry);
    return true;
}

static void cache_lead(Jit *jit, u32 number, Block *to) {
    Edge *e = &jit->edge[number];
    if (!cache_aim(jit, e, to)) {
        e->to = NULL;
        return;
    }
    e->next_incoming = to->incoming;
    to->incoming = number + 1;
    jit->stats.links++;
    if (log_on(jit->log, LOG(CHAIN)))
        log_printf(jit->log, "Linking blocks %p [%08x] -> %p [%08x]%s\n", (void *)e->from->hot, e->from->eip,
                   (void *)to->hot, to->eip, cache_same_page(e) ? "" : " checked");
}

void cache_link(Jit *jit, u32 number, Block *to) {
    const Edge *e = &jit->edge[number];
    if (e->to || !e->from->valid || !to->valid || jit->opt.no_chain || jit->opt.check) return;
    if (log_on(jit->log, LOG(NOCHAIN)) || cache_may_break(jit, to->phys)) return;
    cache_lead(jit, number, to);
}

static void cache_unlink(Jit *jit, Edge *e) {
    cache_aim_stub(e, CACHE_CALL, jit->target.link);
    e->to = NULL;
    jit->stats.unlinks++;
}

static void cache_unlink_out(Jit *jit, u32 number) {
    Edge *e = &jit->edge[number];
    if (!e->to) return;
    u32 *at = &e->to->incoming;
    while (*at && *at != number + 1) at = &jit->edge[*at - 1].next_incoming;
    if (*at) *at = e->next_incoming;
    cache_unlink(jit, e);
}

static void cache_unlink_outgoing(Jit *jit, Block *b) {
    for (u32 i = b->first_edge; i < b->first_edge + b->edge_count; i++) cache_unlink_out(jit, i);
}

// ---- blocks for flags in other places ------------------------------------------------------------------------
// The block like b that takes the flags so; made when it is not there. NULL: there are too many, or no room.
static Block *cache_variant(Jit *jit, const Block *b, const X64Recipe *flags) {
    u32 count = 0;
    for (Block *v = chain_find(jit, b->phys, b->eip, b->key); v; v = v->hash_next) {
        if (!cache_is(v, b->phys, b->eip, b->base, b->key)) continue;
        if (!memcmp(&v->flags, flags, sizeof *flags)) return v;
        count++;
    }
    return count <= CACHE_VARIANTS ? translate_variant(jit, b, flags) : NULL;
}

void cache_promote(Jit *jit, u32 number) {
    Edge *e = &jit->edge[number];
    *e->passes = INT32_MAX;
    X64Recipe flags = cache_edge_flags(jit, e);
    u64 flushes = jit->stats.flushes;
    Block *to = cache_variant(jit, e->to, &flags);
    if (!to || flushes != jit->stats.flushes) return;
    jit->stats.promotions++;
    cache_unlink_out(jit, number);
    cache_lead(jit, number, to);
}

static void cache_forget_jumps(Jit *jit, const Block *b) {
    if (!b->mode) return;
    const u32 places[] = { x64_jump(b->eip), jit_displaced(b->eip) };
    for (u32 i = 0; i < ARRAY_LEN(places); i++) {
        JumpEntry *j = &jit->mode[b->mode - 1]->cache[places[i]];
        if (j->code == b->entry) *j = cache_no_jump(places[i]);
    }
}

void cache_invalidate(Jit *jit, Block *b) {
    if (!b->valid) return;
    b->valid = false;
    jit->stats.invalidations++;
    while (b->incoming) {
        Edge *e = &jit->edge[b->incoming - 1];
        b->incoming = e->next_incoming;
        cache_unlink(jit, e);
    }
    cache_unlink_outgoing(jit, b);
    chain_take(jit, b);
    cache_forget_jumps(jit, b);
    cache_remove_from_page(jit, b, 0);
    cache_remove_from_page(jit, b, 1);
}
