// SPDX-License-Identifier: MIT
// Memory accesses of a copy of the processor, and what they would have left in guest RAM.
//
// Invariants
//  1. A noted store was made in guest RAM at once; between shadow_undo() and the next one guest RAM is the
//     guest's own.
//  2. Order and kind of the checks are access.c's: segment, alignment, every page, translated code.
//     The soft MMU's entries decide where they are valid, for they may be older than the page tables;
//     elsewhere the tables are walked, once: a store to a page table does not change what has been looked up.
//  3. One physical byte may be noted several times, through several host addresses: whatever is done to
//     all stores goes over them in order, or backward to take them back.
#include "cpu/shadow.h"

#include "cpu/cpu_int.h"

#include <stdlib.h>
#include <string.h>

enum { SHADOW_STORE_BYTES = 16, SHADOW_BESIDE = 8, SHADOW_SPAN = SHADOW_STORE_BYTES + 2 * SHADOW_BESIDE,
       SHADOW_WALKS = 128 };

typedef struct ShadowStore {
    u8 *host, *span;                       // where it went; what is compared around it, within the page
    u32 addr;                              // linear; physical for a page table's entry
    u8 bytes, span_bytes;
    bool table;                            // by the page walk
    u8 value[SHADOW_STORE_BYTES], old[SHADOW_STORE_BYTES];
    u8 before[SHADOW_SPAN], after[SHADOW_SPAN];        // of the span: with nothing done, by the guest
} ShadowStore;

typedef struct ShadowWalk {                // what the soft MMU would hold of a page after its first access
    u32 page, ppn;
    bool user, write;                      // write: stores need no other walk
} ShadowWalk;

struct Shadow {
    Cpu *copy;
    ShadowWalk walk[SHADOW_WALKS];         // since shadow_begin(); the newest one of a page counts
    u32 walks;
    ShadowStore *store;
    u32 count, capacity;
};

Shadow *shadow_new(void) { return mem_new(sizeof(Shadow)); }

void shadow_free(Shadow *s) {
    if (!s) return;
    free(s->store);
    free(s);
}

void shadow_begin(Shadow *s, Cpu *copy) {
    s->copy = copy;
    s->count = s->walks = 0;
}

u32 shadow_mark(const Shadow *s) { return s->count; }

// ---- stores -------------------------------------------------------------------------------------
static void shadow_put(Shadow *s, u8 *host, u32 addr, bool table, const void *from, u32 bytes) {
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 64;
        s->store = mem_resize(s->store, s->capacity * sizeof *s->store);
    }
    ShadowStore *w = &s->store[s->count++];
    u32 offset = addr & ~PAGE_MASK, first = offset < SHADOW_BESIDE ? 0 : offset - SHADOW_BESIDE;
    w->host = host;
    w->span = host - (offset - first);
    w->span_bytes = (u8)(min_u32(offset + bytes + SHADOW_BESIDE, PAGE_BYTES) - first);
    w->addr = addr;
    w->bytes = (u8)bytes;
    w->table = table;
    memcpy(w->value, from, bytes);
    memcpy(w->old, host, bytes);
    memcpy(host, from, bytes);
}

void shadow_write_table(Shadow *s, u32 phys, u32 value) {
    BusPage *page = bus_page(s->copy->bus, phys >> PAGE_SHIFT);
    if (page->kind == BUS_PAGE_RAM) shadow_put(s, page->host + (phys & ~PAGE_MASK), phys, true, &value, 4);
}

void shadow_undo(Shadow *s) {
    for (u32 i = s->count; i-- > 0;) memcpy(s->store[i].host, s->store[i].old, s->store[i].bytes);
    for (u32 i = 0; i < s->count; i++) memcpy(s->store[i].before, s->store[i].span, s->store[i].span_bytes);
}

// ---- places -------------------------------------------------------------------------------------
static const ShadowWalk *shadow_walked(const Shadow *s, u32 page, bool write, bool user) {
    for (u32 i = s->walks; i-- > 0;) {
        const ShadowWalk *w = &s->walk[i];
        if (w->page == page && w->user == user && (w->write || !write)) return w;
    }
    return NULL;
}

// Like mmu_fill(), but only noted here.
static bool shadow_walk(Shadow *s, u32 addr, bool write, bool user, u32 *ppn) {
    MmuMapping m;
    if (!mmu_walk(s->copy, addr, write ? MMU_STORE : MMU_LOAD, user, &m)) return false;
    *ppn = m.phys >> PAGE_SHIFT;
    if (s->walks < SHADOW_WALKS)
        s->walk[s->walks++] = (ShadowWalk){ addr >> PAGE_SHIFT, *ppn, user, write || (m.writable && m.dirty) };
    return true;
}

// The bytes of an access in one page. False: a fault was recorded.
static bool shadow_place(Shadow *s, u32 addr, u32 bytes, bool write, u8 **host) {
    Cpu *cpu = s->copy;
    bool user = cpu_is_user(cpu);
    u8 *base = cpu->mmu->context[user].base;
    i64 entry = (write ? mmu_writes(base) : mmu_reads(base))[addr >> PAGE_SHIFT];
    u32 ppn = (u32)entry & 0xfffff, offset = addr & ~PAGE_MASK;
    const ShadowWalk *walked = shadow_walked(s, addr >> PAGE_SHIFT, write, user);
    if (!walked && entry >= 0) {
        *host = (u8 *)(entry + addr);
        return true;
    }
    if (walked) ppn = walked->ppn;
    else if (entry == MMU_INVALID && !shadow_walk(s, addr, write, user, &ppn)) return false;
    const BusPage *page = bus_page(cpu->bus, ppn);
    bool there = write ? page->kind == BUS_PAGE_RAM : page->host != NULL;
    *host = there ? page->host + offset : NULL;
    if (!write || !there) return true;
    u64 touched = ~0ull << (offset >> 6) & ~0ull >> (63 - ((offset + bytes - 1) >> 6));
    if (!(page->code_granules & touched) || !cpu->store_hits_code || cpu->no_restart) return true;
    if (!cpu->store_hits_code(cpu->jit, ppn, offset, bytes)) return true;
    cpu->fault = (CpuFault){ .pending = 1, .kind = CPU_RESTART };
    return false;
}

typedef struct ShadowPlaces { u8 *host[2]; u32 first; } ShadowPlaces;      // first: bytes in host[0]

static ShadowResult shadow_places(Shadow *s, u32 addr, u32 bytes, bool write, ShadowPlaces *p) {
    p->first = min_u32(bytes, PAGE_BYTES - (addr & ~PAGE_MASK));
    p->host[1] = NULL;
    if (!shadow_place(s, addr, p->first, write, &p->host[0])) return SHADOW_FAULT;
    bool split = p->first < bytes;
    if (split && !shadow_place(s, addr + p->first, bytes - p->first, write, &p->host[1])) return SHADOW_FAULT;
    return p->host[0] && (!split || p->host[1]) ? SHADOW_DONE : SHADOW_DEVICE;
}

// ---- accesses -----------------------------------------------------------------------------------
// The segment's checks and the alignment check, with `unit` bytes as what must be aligned.
static bool shadow_linear(Shadow *s, unsigned seg, u32 offset, u32 bytes, u32 unit, bool write, u32 *addr) {
    Cpu *cpu = s->copy;
    *addr = cpu->seg[seg].base + offset;
    if (!seg_allows(cpu, &cpu->seg[seg], offset, bytes, write))
        return cpu_raise_error(cpu, seg == CPU_SS ? VEC_SS : VEC_GP, 0);
    if (cpu->mode & MODE_AC && *addr & (unit - 1)) return cpu_raise_error(cpu, VEC_AC, 0);
    return true;
}

static ShadowResult shadow_load_piece(Shadow *s, unsigned seg, u32 offset, u32 bytes, bool rmw, u8 *to) {
    u32 addr;
    ShadowPlaces p;
    if (!shadow_linear(s, seg, offset, bytes, bytes, rmw, &addr)) return SHADOW_FAULT;
    ShadowResult probed = rmw ? shadow_places(s, addr, bytes, true, &p) : SHADOW_DONE;
    if (probed == SHADOW_FAULT) return probed;
    ShadowResult r = shadow_places(s, addr, bytes, false, &p);
    if (r != SHADOW_DONE || probed != SHADOW_DONE) return r == SHADOW_FAULT ? r : SHADOW_DEVICE;
    memcpy(to, p.host[0], p.first);
    if (p.host[1]) memcpy(to + p.first, p.host[1], bytes - p.first);
    return SHADOW_DONE;
}

ShadowResult shadow_load(Shadow *s, unsigned seg, u32 offset, u32 bytes, bool rmw, void *to) {
    ShadowResult r = shadow_load_piece(s, seg, offset, min_u32(bytes, 8), rmw, to);
    if (bytes <= 8 || r == SHADOW_FAULT) return r;
    ShadowResult high = shadow_load_piece(s, seg, offset + 8, bytes - 8, rmw, (u8 *)to + 8);
    return high == SHADOW_DONE ? r : high;
}

// SDM 3A table 6-7: 10 bytes are aligned as 8, 16 are not looked at.
static u32 shadow_unit(u32 bytes) {
    if (bytes == 10) return 8;
    return bytes > 8 || bytes & (bytes - 1) ? 1 : bytes;
}

ShadowResult shadow_probe(Shadow *s, unsigned seg, u32 offset, u32 bytes) {
    u32 addr;
    u8 *host;
    ShadowResult r = SHADOW_DONE;
    if (!shadow_linear(s, seg, offset, bytes, shadow_unit(bytes), true, &addr)) return SHADOW_FAULT;
    for (u32 part; bytes; addr += part, bytes -= part) {
        part = min_u32(bytes, PAGE_BYTES - (addr & ~PAGE_MASK));
        if (!shadow_place(s, addr, part, true, &host)) return SHADOW_FAULT;
        if (!host) r = SHADOW_DEVICE;
    }
    return r;
}

ShadowResult shadow_store(Shadow *s, unsigned seg, u32 offset, u32 bytes, const void *from) {
    u32 addr;
    ShadowPlaces p;
    if (!shadow_linear(s, seg, offset, bytes, shadow_unit(bytes), true, &addr)) return SHADOW_FAULT;
    ShadowResult r = shadow_places(s, addr, bytes, true, &p);
    if (r != SHADOW_DONE) return r;
    shadow_put(s, p.host[0], addr, false, from, p.first);
    if (p.host[1])
        shadow_put(s, p.host[1], addr + p.first, false, (const u8 *)from + p.first, bytes - p.first);
    return r;
}

// ---- comparison ---------------------------------------------------------------------------------
static void shadow_put_spans(Shadow *s, u32 count, bool after) {
    for (u32 i = 0; i < count; i++) {
        const ShadowStore *w = &s->store[i];
        memcpy(w->span, after ? w->after : w->before, w->span_bytes);
    }
}

static bool shadow_is_stored(const Shadow *s, u32 count, const u8 *host) {
    for (u32 i = 0; i < count; i++)
        if (host >= s->store[i].host && host < s->store[i].host + s->store[i].bytes) return true;
    return false;
}

// Guest RAM is as the copy's stores leave it: what did the guest make of the span of store i?
static bool shadow_differs(const Shadow *s, u32 count, u32 i, ShadowDifference *d) {
    const ShadowStore *w = &s->store[i];
    u32 n = 0;
    while (n < w->span_bytes && w->span[n] == w->after[n]) n++;
    if (n == w->span_bytes) return false;
    i32 from_store = (i32)(w->span + n - w->host);
    *d = (ShadowDifference){ .addr = w->addr + (u32)from_store, .physical = w->table,
                             .bytes = min_u32(w->span_bytes - n, sizeof d->found),
                             .beside = !shadow_is_stored(s, count, w->span + n) };
    memcpy(d->expected, w->span + n, d->bytes);
    memcpy(d->found, w->after + n, d->bytes);
    return true;
}

// The stores are done once more, in order, on what was there before; what the guest left is put back then.
bool shadow_compare(Shadow *s, u32 count, ShadowDifference *d) {
    bool differs = false;
    for (u32 i = 0; i < count; i++) memcpy(s->store[i].after, s->store[i].span, s->store[i].span_bytes);
    shadow_put_spans(s, count, false);
    for (u32 i = 0; i < count; i++) memcpy(s->store[i].host, s->store[i].value, s->store[i].bytes);
    for (u32 i = 0; i < count && !differs; i++) differs = shadow_differs(s, count, i, d);
    shadow_put_spans(s, count, true);
    return !differs;
}
