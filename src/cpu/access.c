// SPDX-License-Identifier: MIT
// Memory accesses with every check: what generated code calls when its fast path says no, and what
// the rest of this room uses.
//
// Order of the checks of one access: segment (type, limit), alignment (#AC comes before #PF, as
// measured on hardware), translation of every page touched, translated code about to be
// overwritten; then the access. General registers only, no libc.
#include "cpu/cpu_int.h"

// Where the bytes of an access within one page are.
typedef struct Place {
    u8 *host;            // NULL: go through the bus
    u32 phys;            // valid when host is NULL or noted
    bool noted;          // a store must be announced to the bus (code or table page)
} Place;

// ---- places -------------------------------------------------------------------------------------
static inline bool place_for_load(Cpu *cpu, u32 addr, bool user, Place *p) {
    i64 *entry = &mmu_reads(cpu->context_base[user])[addr >> PAGE_SHIFT];
    if (*entry == MMU_INVALID) {
        Phy unused;
        if (!mmu_fill(cpu, lin(addr), MMU_LOAD, user, &unused)) return false;
    }
    *p = (Place){ .host = (u8 *)(*entry + addr) };
    if (*entry < 0)
        *p = (Place){ .phys = (u32)*entry << PAGE_SHIFT | (addr & ~PAGE_MASK) };
    return true;
}

static bool place_known_for_store(Cpu *cpu, u32 addr, bool user, u32 ppn, Place *p) {
    BusPage *page = bus_page(cpu->bus, ppn);
    u32 offset = addr & ~PAGE_MASK;
    *p = (Place){ .phys = ppn << PAGE_SHIFT | offset };
    if (page->kind != BUS_PAGE_RAM) return true;
    p->host = page->host + offset;
    p->noted = !mmu_upgrade_write(cpu, addr, user, ppn);
    return true;
}

static inline bool place_for_store(Cpu *cpu, u32 addr, bool user, Place *p) {
    i64 *entry = &mmu_writes(cpu->context_base[user])[addr >> PAGE_SHIFT];
    if (*entry == MMU_INVALID) {
        Phy unused;
        if (!mmu_fill(cpu, lin(addr), MMU_STORE, user, &unused)) return false;
    }
    if (*entry < 0) return place_known_for_store(cpu, addr, user, (u32)*entry & 0xfffff, p);
    *p = (Place){ .host = (u8 *)(*entry + addr) };
    return true;
}

// Translated code under the bytes: may the store be done? False: restart the instruction.
static bool place_clear_code(Cpu *cpu, const Place *p, u32 bytes) {
    if (__builtin_expect(!p->noted, 1)) return true;
    u32 ppn = p->phys >> PAGE_SHIFT, offset = p->phys & ~PAGE_MASK;
    u64 touched = ~0ull << (offset >> 6) & ~0ull >> (63 - ((offset + bytes - 1) >> 6));
    if (!(bus_page(cpu->bus, ppn)->code_granules & touched)) return true;
    if (!cpu->store_hits_code || cpu->no_restart) return true;
    if (!cpu->store_hits_code(cpu->jit, ppn, offset, bytes)) return true;
    cpu->fault = (CpuFault){ .pending = 1, .kind = CPU_RESTART };
    return false;
}

static inline u64 place_load(Cpu *cpu, const Place *p, unsigned size) {
    if (!p->host) {
        if (size <= 4) return bus_read(cpu->bus, phy(p->phys), size);
        u64 low = bus_read(cpu->bus, phy(p->phys), 4);
        return low | (u64)bus_read(cpu->bus, phy(p->phys + 4), 4) << 32;
    }
    switch (size) {
    case 1: return *p->host;
    case 2: return get_le16(p->host);
    case 4: return get_le32(p->host);
    default: return get_le64(p->host);
    }
}

// Storing what is there already changes no code: programs that patch an instruction again and again with
// the same bytes (firmware calls by INT with the number filled in) keep their translations.
static bool place_holds(const Place *p, unsigned size, u64 value) {
    switch (size) {
    case 1: return *p->host == (u8)value;
    case 2: return get_le16(p->host) == (u16)value;
    case 4: return get_le32(p->host) == (u32)value;
    default: return get_le64(p->host) == value;
    }
}

static inline void place_store(Cpu *cpu, const Place *p, unsigned size, u64 value) {
    if (!p->host) {
        bus_write(cpu->bus, phy(p->phys), min_u32(size, 4), (u32)value);
        if (size == 8) bus_write(cpu->bus, phy(p->phys + 4), 4, (u32)(value >> 32));
        return;
    }
    if (p->noted && place_holds(p, size, value)) return;
    switch (size) {
    case 1: *p->host = (u8)value; break;
    case 2: put_le16(p->host, (u16)value); break;
    case 4: put_le32(p->host, (u32)value); break;
    default: put_le64(p->host, value); break;
    }
    if (p->noted)
        bus_note_store(cpu->bus, p->phys >> PAGE_SHIFT, p->phys & ~PAGE_MASK, size);
}

// ---- accesses over two pages --------------------------------------------------------------------
static inline bool crosses_page(u32 addr, u32 bytes) {
    return (addr & ~PAGE_MASK) + bytes > PAGE_BYTES;
}

static __attribute__((noinline)) bool load_split(Cpu *cpu, u32 addr, unsigned size, bool user,
                                                 u64 *out) {
    Place low, high;
    u32 first = PAGE_BYTES - (addr & ~PAGE_MASK);        // bytes in the lower page
    if (!place_for_load(cpu, addr, user, &low)) return false;
    if (!place_for_load(cpu, addr + first, user, &high)) return false;
    u64 value = 0;
    for (unsigned i = 0; i < size; i++) {
        Place p = i < first ? low : high;
        u32 step = i < first ? i : i - first;
        if (p.host) p.host += step;
        p.phys += step;
        value |= place_load(cpu, &p, 1) << (8 * i);
    }
    *out = value;
    return true;
}

static bool places_for_split(Cpu *cpu, u32 addr, u32 size, bool user, Place *low, Place *high) {
    u32 first = PAGE_BYTES - (addr & ~PAGE_MASK);
    if (!place_for_store(cpu, addr, user, low)) return false;
    if (!place_for_store(cpu, addr + first, user, high)) return false;
    return place_clear_code(cpu, low, first) && place_clear_code(cpu, high, size - first);
}

static __attribute__((noinline)) bool store_split(Cpu *cpu, u32 addr, unsigned size, bool user,
                                                  u64 value) {
    Place low, high;
    u32 first = PAGE_BYTES - (addr & ~PAGE_MASK);
    if (!places_for_split(cpu, addr, size, user, &low, &high)) return false;
    for (unsigned i = 0; i < size; i++) {
        Place p = i < first ? low : high;
        u32 step = i < first ? i : i - first;
        if (p.host) p.host += step;
        p.phys += step;
        place_store(cpu, &p, 1, value >> (8 * i) & 0xff);
    }
    return true;
}

// ---- by linear address --------------------------------------------------------------------------
bool mem_load(Cpu *cpu, u32 addr, unsigned size, bool user, u64 *out) {
    if (__builtin_expect(crosses_page(addr, size), 0))
        return load_split(cpu, addr, size, user, out);
    Place p;
    if (!place_for_load(cpu, addr, user, &p)) return false;
    *out = place_load(cpu, &p, size);
    return true;
}

bool mem_store(Cpu *cpu, u32 addr, unsigned size, bool user, u64 value) {
    if (__builtin_expect(crosses_page(addr, size), 0))
        return store_split(cpu, addr, size, user, value);
    Place p;
    if (!place_for_store(cpu, addr, user, &p) || !place_clear_code(cpu, &p, size)) return false;
    place_store(cpu, &p, size, value);
    return true;
}

bool mem_probe(Cpu *cpu, u32 addr, u32 bytes, bool write, bool user) {
    while (bytes) {
        Place p;
        u32 part = min_u32(bytes, PAGE_BYTES - (addr & ~PAGE_MASK));
        if (!write && !place_for_load(cpu, addr, user, &p)) return false;
        if (write && !place_for_store(cpu, addr, user, &p)) return false;
        if (write && !place_clear_code(cpu, &p, part)) return false;
        addr += part;
        bytes -= part;
    }
    return true;
}

bool cpu_load_sys(Cpu *cpu, Lin addr, unsigned size, u64 *out) {
    return mem_load(cpu, addr.v, size, false, out);
}

bool cpu_store_sys(Cpu *cpu, Lin addr, unsigned size, u64 value) {
    return mem_store(cpu, addr.v, size, false, value);
}

// ---- through segments ---------------------------------------------------------------------------
// Notes data breakpoints that the access touches; the trap comes after the instruction.
static __attribute__((noinline)) void watch_access(Cpu *cpu, u32 addr, u32 bytes, bool read,
                                                   bool write) {
    for (unsigned i = 0; i < 4; i++) {
        u32 kind = cpu->dr[7] >> (16 + 4 * i) & 3, size = (cpu->dr[7] >> (18 + 4 * i) & 3) + 1;
        bool armed = cpu->dr[7] >> (2 * i) & 3, data = kind == 3 || (kind == 1 && write);
        if (size == 3) size = 8;
        u32 first = cpu->dr[i] & ~(size - 1);
        if (armed && data && addr - first + bytes - 1 < size + bytes - 1)
            cpu->debug_hits |= BIT(i);
    }
    for (u8 i = 0; i < cpu->watch_count; i++) {
        const CpuWatch *w = &cpu->watch[i];
        bool counts = (read && w->reads) || (write && w->writes);
        if (counts && addr - w->addr + bytes - 1 < w->bytes + bytes - 1)
            cpu->watch_hit = i + 1;
    }
}

static __attribute__((noinline)) bool segment_refuses(Cpu *cpu, unsigned seg) {
    return cpu_raise_error(cpu, seg == CPU_SS ? VEC_SS : VEC_GP, 0);
}

// Segment and alignment checks; gives the linear address.
static inline bool linear_of(Cpu *cpu, u32 offset, u32 info, unsigned size, bool write, u32 *addr) {
    unsigned seg = info & 7, size_log2 = info >> 3 & 7;
    const CpuSeg *s = &cpu->seg[seg];
    u32 end = write ? s->write_end[size_log2] : s->read_end[size_log2];
    bool is_linear = info & CPU_ACCESS_LINEAR;
    *addr = is_linear ? offset : s->base + offset;
    if (__builtin_expect(offset >= end, 0) && !is_linear
        && !seg_allows(cpu, s, offset, size, write))
        return segment_refuses(cpu, seg);
    if (__builtin_expect(cpu->mode & (MODE_AC | MODE_DEBUG), 0)) {
        if ((cpu->mode & MODE_AC) && (*addr & (size - 1))) return cpu_raise_error(cpu, VEC_AC, 0);
        if (cpu->mode & MODE_DEBUG)
            watch_access(cpu, *addr, size, !write || info & CPU_ACCESS_RMW, write);
    }
    return true;
}

u64 cpu_slow_load(Cpu *cpu, u32 offset, u32 info) {
    unsigned size = 1u << (info >> 3 & 7);
    u32 addr;
    u64 value = 0;
    if (!linear_of(cpu, offset, info, size, info & CPU_ACCESS_RMW, &addr)) return 0;
    bool user = cpu_is_user(cpu);
    if ((info & CPU_ACCESS_RMW) && !mem_probe(cpu, addr, size, true, user)) return 0;
    return mem_load(cpu, addr, size, user, &value) ? value : 0;
}

void cpu_slow_store(Cpu *cpu, u32 offset, u32 info, u64 value) {
    unsigned size = 1u << (info >> 3 & 7);
    u32 addr;
    if (linear_of(cpu, offset, info, size, true, &addr))
        mem_store(cpu, addr, size, cpu_is_user(cpu), value);
}

static unsigned size_log2_of(unsigned size_bytes) { return (unsigned)__builtin_ctz(size_bytes); }

bool cpu_load(Cpu *cpu, unsigned seg, u32 offset, unsigned size, u64 *out) {
    u32 addr;
    return linear_of(cpu, offset, CPU_ACCESS(seg, size_log2_of(size)), size, false, &addr)
        && mem_load(cpu, addr, size, cpu_is_user(cpu), out);
}

bool cpu_store(Cpu *cpu, unsigned seg, u32 offset, unsigned size, u64 value) {
    u32 addr;
    return linear_of(cpu, offset, CPU_ACCESS(seg, size_log2_of(size)), size, true, &addr)
        && mem_store(cpu, addr, size, cpu_is_user(cpu), value);
}

// 80-bit operands are two: significand and exponent.
bool cpu_probe(Cpu *cpu, unsigned seg, u32 offset, u32 bytes, bool write) {
    if (!bytes) return true;
    if (bytes == 10) return cpu_probe(cpu, seg, offset, 8, write) && cpu_probe(cpu, seg, offset + 8, 2, write);
    const CpuSeg *s = &cpu->seg[seg];
    if (!seg_allows(cpu, s, offset, bytes, write)) return segment_refuses(cpu, seg);
    u32 addr = s->base + offset;
    bool aligned = bytes > 16 || (bytes & (bytes - 1)) || !(addr & (bytes - 1));       // SDM 3A table 6-7
    if ((cpu->mode & MODE_AC) && !aligned) return cpu_raise_error(cpu, VEC_AC, 0);
    return mem_probe(cpu, addr, bytes, write, cpu_is_user(cpu));
}

bool cpu_check_aligned(Cpu *cpu, unsigned seg, u32 offset, bool write) {
    const CpuSeg *s = &cpu->seg[seg];
    if ((s->base + offset) & 15) return cpu_raise_error(cpu, VEC_GP, 0);
    return seg_allows(cpu, s, offset, 16, write) || segment_refuses(cpu, seg);
}

// As the load of a byte, but execute-only segments will do (SDM 2A, CLFLUSH).
void cpu_h_clflush(Cpu *cpu, u32 offset, u32 mem) {
    CpuSeg s = cpu->seg[mem & 7];
    if (s.access & ACC_CODE) s.access |= ACC_READABLE;
    if (seg_allows(cpu, &s, offset, 1, false)) mem_probe(cpu, s.base + offset, 1, false, cpu_is_user(cpu));
    else segment_refuses(cpu, mem & 7);
}

void cpu_h_probe(Cpu *cpu, u32 offset, u32 mem, u32 bytes) {
    cpu_probe(cpu, mem & 7, offset, bytes, mem & CPU_ACCESS_RMW);
}

// ---- fetching -----------------------------------------------------------------------------------
bool cpu_fetch_page(Cpu *cpu, Lin addr, u32 *ppn) {
    bool user = cpu_is_user(cpu);
    u32 page = addr.v >> PAGE_SHIFT, known = mmu_code_ppn(page, mmu_codes(cpu->context_base[user])[page]);
    if (known == MMU_NO_CODE) {
        Phy phys;
        if (!mmu_fill(cpu, addr, MMU_FETCH, user, &phys)) return false;
        known = (u32)(phys.v >> PAGE_SHIFT);
    }
    *ppn = known;
    return true;
}

// ---- debuggers ----------------------------------------------------------------------------------
bool cpu_debug_translate(Cpu *cpu, Lin addr, Phy *out) {
    MmuMapping m;
    if (!mmu_look(cpu, addr.v, &m)) return false;
    *out = phy(bus_a20(cpu->bus) ? m.phys : m.phys & ~BIT(20));
    return true;
}

// Devices are not read: looking must not change anything. They give ones.
bool cpu_debug_read(Cpu *cpu, Lin addr, void *to, u32 bytes) {
    u8 *out = to;
    for (u32 i = 0; i < bytes; i++) {
        Phy at;
        if (!cpu_debug_translate(cpu, lin(addr.v + i), &at)) return false;
        const BusPage *page = bus_page(cpu->bus, (u32)(at.v >> PAGE_SHIFT));
        out[i] = page->host ? page->host[at.v & ~PAGE_MASK] : 0xff;
    }
    return true;
}

// ---- stack frames -------------------------------------------------------------------------------
void frame_init_on(const Cpu *cpu, Frame *f, const CpuSeg *ss, u32 sp, unsigned size, u32 error) {
    f->ss = ss;
    f->sp = sp;
    f->mask = ss->access & SEG_ACC_DB ? 0xffffffff : 0xffff;
    f->error = error;
    f->size = size;
    f->count = 0;
    f->user = cpu_is_user(cpu);
    f->peek_bytes = 0;
}

void frame_init(const Cpu *cpu, Frame *f, unsigned size) {
    frame_init_on(cpu, f, &cpu->seg[CPU_SS], cpu->regs[CPU_ESP], size, 0);
}

// The host address of `bytes` bytes at offset when they are within the segment's fast bound and one
// page that may be accessed directly; else NULL.
static u8 *frame_direct(Cpu *cpu, const Frame *f, u32 offset, u32 bytes, bool write) {
    const CpuSeg *ss = f->ss;
    const u32 end = write ? ss->write_end[0] : ss->read_end[0];
    if (offset >= end || bytes > end - offset) return NULL;
    u32 addr = ss->base + offset;
    if (crosses_page(addr, bytes)) return NULL;
    if (f->user && (cpu->mode & MODE_AC)) return NULL;
    u8 *base = cpu->context_base[f->user];
    i64 entry = (write ? mmu_writes(base) : mmu_reads(base))[addr >> PAGE_SHIFT];
    return entry < 0 ? NULL : (u8 *)(entry + addr);
}

void frame_init_pop(Cpu *cpu, Frame *f, unsigned size) {
    enum { MOST = 20 };                  // EIP CS EFLAGS ESP SS
    frame_init(cpu, f, size);
    u32 sp = f->sp & f->mask;
    if (sp > f->mask - MOST) return;
    f->peek_host = frame_direct(cpu, f, sp, MOST, false);
    f->peek_bytes = f->peek_host ? MOST : 0;
}

static bool frame_check_word(Cpu *cpu, const Frame *f, u32 offset, bool write) {
    if (!seg_allows(cpu, f->ss, offset, f->size, write))
        return cpu_raise_error(cpu, VEC_SS, f->error);
    u32 addr = f->ss->base + offset;
    if (f->user && (cpu->mode & MODE_AC) && (addr & (f->size - 1)))
        return cpu_raise_error(cpu, VEC_AC, 0);
    return !write || mem_probe(cpu, addr, f->size, true, f->user);
}

bool frame_check(Cpu *cpu, const Frame *f) {
    u32 bytes = f->count * f->size, sp = f->sp & f->mask;
    if (sp >= bytes && frame_direct(cpu, f, sp - bytes, bytes, true)) return true;
    for (unsigned i = 0; i < f->count; i++) {
        sp = (sp - f->size) & f->mask;
        if (!frame_check_word(cpu, f, sp, true)) return false;
    }
    return true;
}

void frame_watch(Cpu *cpu, const Frame *f, u32 sp, unsigned words, bool write) {
    if (!(cpu->mode & MODE_DEBUG)) return;
    for (unsigned i = 0; i < words; i++)
        watch_access(cpu, f->ss->base + ((sp + i * f->size) & f->mask), f->size, !write, write);
}

u32 frame_store(Cpu *cpu, const Frame *f) {
    u32 bytes = f->count * f->size, sp = f->sp & f->mask;
    u8 *host = sp >= bytes ? frame_direct(cpu, f, sp - bytes, bytes, true) : NULL;
    for (unsigned i = 0; i < f->count; i++) {
        sp = (sp - f->size) & f->mask;
        if (!host) mem_store(cpu, f->ss->base + sp, f->size, f->user, f->word[i]);
        else if (f->size == 4) put_le32(host + bytes - 4 * (i + 1), f->word[i]);
        else put_le16(host + bytes - 2 * (i + 1), (u16)f->word[i]);
    }
    return frame_merge(f, f->sp, sp);
}

bool frame_peek_slowly(Cpu *cpu, const Frame *f, unsigned index, u32 *out) {
    u32 offset = (f->sp + index * f->size) & f->mask;
    u64 value;
    const u8 *host = frame_direct(cpu, f, offset, f->size, false);
    if (host) {
        *out = f->size == 4 ? get_le32(host) : get_le16(host);
        return true;
    }
    if (!frame_check_word(cpu, f, offset, false)) return false;
    if (!mem_load(cpu, f->ss->base + offset, f->size, f->user, &value)) return false;
    *out = (u32)value;
    return true;
}
