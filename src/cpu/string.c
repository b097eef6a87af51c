// SPDX-License-Identifier: MIT
// String instructions with REP, and INS/OUTS.
//
// A REP works piece by piece: a piece is what lies, of each operand, in pages that the soft MMU's entries lead to and
// that follow each other in the host's memory, too, within the segment's fast bound and before the offset wraps. It
// is done by the host's own string instruction, so overlap behaves exactly; or by vectors where that is the same
// (wide_may). What has no direct entry (first touch, MMIO, code, page crossings, breakpoints) is done element by
// element through the slow path.
//
// Rules
//  1. (E)CX, (E)SI, (E)DI are committed after each row of pieces, before anything can fault again: a store to
//     where an entry leads has no consequences.
//  2. An element counts as one instruction. A call makes progress by at least one and leaves when the
//     budget is used up or, which is asked after each row of pieces, the bus wants attention: result 0, eip set back
//     to the instruction itself.
//  3. REPE/REPNE CMPS and SCAS set the flags only when they are through, or trapped or interrupted on the way:
//     a fault shows those from before (SDM 2B, REP). A pause sets none; Cpu.rep_flags has them for an interrupt.
//  No x87 register, no libc.
#include "cpu/cpu_int.h"

#define PAGE_LAST (0xffffffffu >> PAGE_SHIFT)

typedef struct Str {
    Cpu *cpu;
    unsigned seg;                   // of the source
    unsigned size_log2;
    u32 size;                       // bytes per element
    u32 mask;                       // of offsets and count
    u32 length;                     // of the instruction
    u32 count;                      // elements left
    bool moved;                     // an element is done
    bool step;                      // one element only: single step
    bool until_equal;               // REPNE
} Str;

static inline Str str_start(Cpu *cpu, u32 info) {
    u32 mask = info & CPU_STR_A32 ? 0xffffffff : 0xffff;
    cpu->eflags &= ~FLAG_RF;
    cpu->rep_paused = false;
    return (Str){
        .cpu = cpu, .seg = info & 7, .size_log2 = info >> 3 & 7, .size = 1u << (info >> 3 & 7),
        .mask = mask, .length = info >> 8 & 0xff, .count = cpu->regs[CPU_ECX] & mask,
        .step = cpu->mode & (MODE_TF | MODE_DEBUG), .until_equal = info & CPU_STR_REPNE,
    };
}

static inline u32 str_offset(const Str *s, unsigned reg) { return s->cpu->regs[reg] & s->mask; }

static inline void str_move(const Str *s, unsigned reg, u32 n) {
    u32 *r = &s->cpu->regs[reg], by = n << s->size_log2;
    u32 to = s->cpu->df > 0 ? *r + by : *r - by;
    *r = (*r & ~s->mask) | (to & s->mask);
}

// Elements are charged as they are done: who faults has completed n instructions of one element each
// and not this one.
static inline void str_count(Str *s, u32 n) {
    u32 *ecx = &s->cpu->regs[CPU_ECX];
    s->count -= n;
    s->moved = true;
    *ecx = (*ecx & ~s->mask) | s->count;
    s->cpu->budget -= (i32)n;
}

// Leaves without a fault: the last element is the instruction that the block has been charged for.
static inline u32 str_end(const Str *s, u32 result) {
    s->cpu->budget += s->moved;
    return result;
}

// To be asked after each piece: leave with elements left?
static inline bool str_must_pause(const Str *s) {
    return s->count && (s->cpu->budget <= 0 || s->step || bus_has_attention(s->cpu->bus));
}

// What interrupts or traps here pushes RF set (SDM 3B 17.3.1.1).
static u32 str_pause(const Str *s) {
    s->cpu->eip -= s->length;
    s->cpu->eflags |= FLAG_RF;
    return str_end(s, 0);
}

// ---- pieces -------------------------------------------------------------------------------------
// How many elements from offset on (in DF's direction) the segment's fast bound, the offset's width, the count and
// the budget allow at once; 0: none, C looks at each.
static inline u32 str_span(const Str *s, unsigned seg, u32 offset, bool write) {
    const Cpu *cpu = s->cpu;
    const CpuSeg *g = &cpu->seg[seg];
    u32 end = write ? g->write_end[s->size_log2] : g->read_end[s->size_log2];
    if (offset >= end || cpu->mode & (MODE_AC | MODE_DEBUG)) return 0;
    u32 more = (cpu->df > 0 ? min_u32(end - 1 - offset, s->mask - offset) : offset) >> s->size_log2;
    u32 most = s->step || cpu->budget <= 0 ? 1 : (u32)cpu->budget;
    return min_u32(more < most ? more + 1 : most, s->count);
}

// How many of n elements from a linear address on can be accessed at *host directly; 0: none. Pages that follow each
// other in the host's memory as well are one piece.
static inline u32 str_run(const Str *s, u32 addr, bool write, u32 n, u8 **host) {
    const Cpu *cpu = s->cpu;
    const i64 *entry = &(write ? mmu_writes(cpu->mmu_base) : mmu_reads(cpu->mmu_base))[addr >> PAGE_SHIFT];
    u32 in_page = addr & ~PAGE_MASK, page = addr >> PAGE_SHIFT;
    if (*entry < 0) return 0;
    *host = (u8 *)(*entry + addr);
    if (cpu->df < 0) return in_page + s->size > PAGE_BYTES ? 0 : min_u32(n, (in_page >> s->size_log2) + 1);
    u64 bytes = PAGE_BYTES - in_page, wanted = (u64)n << s->size_log2;
    for (; bytes < wanted && page != PAGE_LAST && entry[1] == entry[0]; entry++, page++) bytes += PAGE_BYTES;
    return bytes < wanted ? (u32)(bytes >> s->size_log2) : n;
}

// Both: how many elements from offset on can be accessed at *host directly.
static u32 str_piece(const Str *s, unsigned seg, u32 offset, bool write, u8 **host) {
    u32 n = str_span(s, seg, offset, write);
    return n ? str_run(s, s->cpu->seg[seg].base + offset, write, n, host) : 0;
}

static bool str_slow_load(const Str *s, unsigned seg, u32 offset, u64 *v) {
    *v = cpu_slow_load(s->cpu, offset, CPU_ACCESS(seg, s->size_log2));
    return !s->cpu->fault.pending;
}

static bool str_slow_store(const Str *s, u32 offset, u64 v) {
    cpu_slow_store(s->cpu, offset, CPU_ACCESS(CPU_ES, s->size_log2), v);
    return !s->cpu->fault.pending;
}

static inline u64 host_load(const u8 *p, unsigned size_log2) {
    return size_log2 == 2 ? get_le32(p) : size_log2 == 1 ? get_le16(p) : *p;
}

static inline void host_store(u8 *p, unsigned size_log2, u64 v) {
    if (size_log2 == 2) put_le32(p, (u32)v);
    else if (size_log2 == 1) put_le16(p, (u16)v);
    else *p = (u8)v;
}

// `insn` once with DF clear, once with it set; the host's DF is clear before and after.
#define HOST_REP(insn, ...) do { \
        if (s->cpu->df > 0) __asm__ volatile(insn __VA_ARGS__); \
        else __asm__ volatile("std\n\t" insn "\n\tcld" __VA_ARGS__); \
    } while (0)

// Below CPU_REP_LEAST: element by element, as the guest would.
static inline void few_movs(const Str *s, u8 *to, const u8 *from, u64 n) {
    i64 step = s->cpu->df * (i64)s->size;
    for (; n; n--, to += step, from += step) {
        if (s->size_log2 == 2) put_le32(to, get_le32(from));
        else if (s->size_log2 == 1) put_le16(to, get_le16(from));
        else *to = *from;
        __asm__ volatile("" : : : "memory");           // one by one: the two may overlap
    }
}

static inline void few_stos(const Str *s, u8 *to, u32 v, u64 n) {
    i64 step = s->cpu->df * (i64)s->size;
    for (; n; n--, to += step) host_store(to, s->size_log2, v);
}

// Where guest pages lie scattered in the host's memory, its REP takes a third longer than for as many in a row, vectors
// a tenth. They read WIDE_BYTES before any of them is written: that is the same as one element after the other
// unless the target begins less than WIDE_BYTES behind the source. The same memory may be mapped at several host
// addresses, so that only their difference within a page tells.
#define WIDE_BYTES 128u
#define WIDE_LEAST PAGE_BYTES          // shorter ones come from memory that the first level of the cache holds
typedef u8 Wide __attribute__((vector_size(32), may_alias));
typedef u8 WideFrom __attribute__((vector_size(32), may_alias, aligned(1)));

static inline bool wide_may(const Str *s, const u8 *to, const u8 *from, u64 bytes) {
    u64 behind = (u64)(to - from) & ~PAGE_MASK;
    return bytes >= WIDE_LEAST && s->cpu->df > 0 && (behind == 0 || behind >= WIDE_BYTES) &&
           !((uintptr_t)to & (sizeof(Wide) - 1)) && __builtin_cpu_supports("avx");
}

// Gives the bytes done: all but less than WIDE_BYTES.
static __attribute__((target("avx"), noinline)) u64 wide_movs(u8 *to, const u8 *from, u64 bytes) {
    u64 at = 0;
    for (; bytes - at >= WIDE_BYTES; at += WIDE_BYTES) {
        const WideFrom *f = (const WideFrom *)(const void *)(from + at);
        Wide *t = (Wide *)(void *)(to + at), a = f[0], b = f[1], c = f[2], d = f[3];
        t[0] = a, t[1] = b, t[2] = c, t[3] = d;
    }
    return at;
}

static inline void host_movs(const Str *s, u8 *to, const u8 *from, u64 n) {
    if (wide_may(s, to, from, n << s->size_log2)) {
        u64 done = wide_movs(to, from, n << s->size_log2);
        to += done;
        from += done;
        n -= done >> s->size_log2;
    }
    if (n < CPU_REP_LEAST) {
        few_movs(s, to, from, n);
        return;
    }
    if (s->size_log2 == 0) HOST_REP("rep movsb", : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    else if (s->size_log2 == 1) HOST_REP("rep movsw", : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    else HOST_REP("rep movsl", : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static inline void host_stos(const Str *s, u8 *to, u32 v, u64 n) {
    if (n < CPU_REP_LEAST) {
        few_stos(s, to, v, n);
        return;
    }
    if (s->size_log2 == 0) HOST_REP("rep stosb", : "+D"(to), "+c"(n) : "a"(v) : "memory");
    else if (s->size_log2 == 1) HOST_REP("rep stosw", : "+D"(to), "+c"(n) : "a"(v) : "memory");
    else HOST_REP("rep stosl", : "+D"(to), "+c"(n) : "a"(v) : "memory");
}

// ---- MOVS ---------------------------------------------------------------------------------------
// The elements that need no look at anything but the soft MMU's entries, piece after piece.
static u32 str_movs_directly(const Str *s, u32 source, u32 target) {
    const Cpu *cpu = s->cpu;
    u32 done = 0, n = min_u32(str_span(s, s->seg, source, false), str_span(s, CPU_ES, target, true));
    source += cpu->seg[s->seg].base;
    target += cpu->seg[CPU_ES].base;
    while (done < n) {
        u8 *from, *to;
        u32 piece = str_run(s, source, false, n - done, &from);
        if (piece) piece = str_run(s, target, true, piece, &to);
        if (!piece) break;
        host_movs(s, to, from, piece);
        u32 by = (u32)cpu->df * (piece << s->size_log2);
        source += by;
        target += by;
        done += piece;
    }
    return done;
}

u32 cpu_h_rep_movs(Cpu *cpu, u32 info) {
    Str str = str_start(cpu, info), *s = &str;
    while (s->count) {
        u32 source = str_offset(s, CPU_ESI), target = str_offset(s, CPU_EDI);
        u32 n = str_movs_directly(s, source, target);
        if (!n) {
            u64 v;
            if (!str_slow_load(s, s->seg, source, &v) || !str_slow_store(s, target, v)) return 0;
            n = 1;
        }
        str_move(s, CPU_ESI, n);
        str_move(s, CPU_EDI, n);
        str_count(s, n);
        if (str_must_pause(s)) return str_pause(s);
    }
    return str_end(s, 1);
}

// ---- STOS ---------------------------------------------------------------------------------------
static u32 str_stos_directly(const Str *s, u32 target, u32 v) {
    const Cpu *cpu = s->cpu;
    u32 done = 0, n = str_span(s, CPU_ES, target, true);
    target += cpu->seg[CPU_ES].base;
    while (done < n) {
        u8 *to;
        u32 piece = str_run(s, target, true, n - done, &to);
        if (!piece) break;
        host_stos(s, to, v, piece);
        target += (u32)cpu->df * (piece << s->size_log2);
        done += piece;
    }
    return done;
}

u32 cpu_h_rep_stos(Cpu *cpu, u32 info) {
    Str str = str_start(cpu, info), *s = &str;
    while (s->count) {
        u32 target = str_offset(s, CPU_EDI), v = cpu->regs[CPU_EAX];
        u32 n = str_stos_directly(s, target, v);
        if (!n && !str_slow_store(s, target, trunc_size(v, s->size))) return 0;
        n = max_u32(n, 1);
        str_move(s, CPU_EDI, n);
        str_count(s, n);
        if (str_must_pause(s)) return str_pause(s);
    }
    return str_end(s, 1);
}

// ---- LODS ---------------------------------------------------------------------------------------
// Only the last element of a piece stays in the register.
u32 cpu_h_rep_lods(Cpu *cpu, u32 info) {
    Str str = str_start(cpu, info), *s = &str;
    while (s->count) {
        u32 source = str_offset(s, CPU_ESI);
        u8 *from;
        u64 v;
        u32 n = str_piece(s, s->seg, source, false, &from);
        if (n) {
            u32 last = (n - 1) << s->size_log2;
            v = host_load(cpu->df > 0 ? from + last : from - last, s->size_log2);
        } else if (!str_slow_load(s, s->seg, source, &v)) {
            return 0;
        }
        n = max_u32(n, 1);
        u32 mask = s->size == 4 ? 0xffffffff : (1u << (8 * s->size)) - 1;
        cpu->regs[CPU_EAX] = (cpu->regs[CPU_EAX] & ~mask) | ((u32)v & mask);
        str_move(s, CPU_ESI, n);
        str_count(s, n);
        if (str_must_pause(s)) return str_pause(s);
    }
    return str_end(s, 1);
}

// ---- CMPS, SCAS ---------------------------------------------------------------------------------
static u32 flags_of_lahf(u32 ax) { return (ax >> 8 & FLAG_SZAPC) | (ax & 1 ? FLAG_OF : 0); }

#define LAHF "\n\tlahf\n\tseto %%al"
#define CMPS(insn) HOST_REP(insn LAHF, : "+D"(b), "+S"(a), "+c"(left), "=a"(ax) : : "memory", "cc")
#define SCAS(insn) HOST_REP(insn LAHF, : "+D"(at), "+c"(left), "+a"(ax) : : "memory", "cc")

static u32 str_compare(const Str *s, u64 a, u64 b) {
    return flags_compute(FLAGS_OP(FLAGS_SUB, s->size_log2), (u32)a, (u32)b, 0);
}

// The host takes one to two cycles for each element: going forwards, eight bytes at a time are looked at first.
#define WORD_BYTES 8u
#define FEW_COMPARED 16u               // elements: below, the host starts a REP more slowly than it is through
static const u64 each_byte = 0x0101010101010101, high_bits = 0x8080808080808080;

// Of n elements so many, but not the last, are equal for certain.
static u32 words_equal(const Str *s, const u8 *a, const u8 *b, u32 n) {
    u32 bytes = (n - 1) << s->size_log2 & ~(WORD_BYTES - 1), at = 0;
    while (at < bytes && get_le64(a + at) == get_le64(b + at)) at += WORD_BYTES;
    return at >> s->size_log2;
}

// Of n bytes so many, but not the last, are another for certain.
static u32 words_other(const u8 *at, u32 value, u32 n) {
    u32 bytes = (n - 1) & ~(WORD_BYTES - 1), i = 0;
    for (; i < bytes; i += WORD_BYTES) {
        u64 x = get_le64(at + i) ^ (value & 0xff) * each_byte;
        if ((x - each_byte) & ~x & high_bits) break;
    }
    return i;
}

// One by one: *n becomes what was done; the flags of the last.
static u32 few_cmps(const Str *s, const u8 *a, const u8 *b, u32 *n) {
    i64 step = s->cpu->df * (i64)s->size;
    u64 x, y;
    u32 left = *n;
    do {
        x = host_load(a, s->size_log2);
        y = host_load(b, s->size_log2);
        a += step;
        b += step;
        left--;
    } while (left && (x == y) != s->until_equal);
    *n -= left;
    return str_compare(s, x, y);
}

static u32 few_scas(const Str *s, const u8 *at, u32 value, u32 *n) {
    i64 step = s->cpu->df * (i64)s->size;
    u64 y, x = trunc_size(value, s->size);
    u32 left = *n;
    do {
        y = host_load(at, s->size_log2);
        at += step;
        left--;
    } while (left && (x == y) != s->until_equal);
    *n -= left;
    return str_compare(s, x, y);
}

// Compares up to n > 0 elements; *n becomes what was done. Gives the flags of the last comparison.
static u32 host_cmps(const Str *s, const u8 *a, const u8 *b, u32 *n) {
    u64 left = *n;
    u32 ax;
    if (*n < FEW_COMPARED) return few_cmps(s, a, b, n);
    switch (s->size_log2 + (s->until_equal ? 4 : 0)) {
    case 0: CMPS("repe cmpsb"); break;
    case 1: CMPS("repe cmpsw"); break;
    case 2: CMPS("repe cmpsl"); break;
    case 4: CMPS("repne cmpsb"); break;
    case 5: CMPS("repne cmpsw"); break;
    default: CMPS("repne cmpsl"); break;
    }
    *n -= (u32)left;
    return flags_of_lahf(ax);
}

static u32 host_scas(const Str *s, const u8 *at, u32 ax, u32 *n) {
    u64 left = *n;
    if (*n < FEW_COMPARED) return few_scas(s, at, ax, n);
    switch (s->size_log2 + (s->until_equal ? 4 : 0)) {
    case 0: SCAS("repe scasb"); break;
    case 1: SCAS("repe scasw"); break;
    case 2: SCAS("repe scasl"); break;
    case 4: SCAS("repne scasb"); break;
    case 5: SCAS("repne scasw"); break;
    default: SCAS("repne scasl"); break;
    }
    *n -= (u32)left;
    return flags_of_lahf(ax);
}

static u32 piece_cmps(const Str *s, const u8 *a, const u8 *b, u32 *n) {
    u32 skip = s->cpu->df > 0 && !s->until_equal ? words_equal(s, a, b, *n) : 0, bytes = skip << s->size_log2;
    *n -= skip;
    u32 flags = host_cmps(s, a + bytes, b + bytes, n);
    *n += skip;
    return flags;
}

static u32 piece_scas(const Str *s, const u8 *at, u32 value, u32 *n) {
    u32 skip = s->cpu->df > 0 && s->until_equal && !s->size_log2 ? words_other(at, value, *n) : 0;
    *n -= skip;
    u32 flags = host_scas(s, at + skip, value, n);
    *n += skip;
    return flags;
}

// Ends a comparison: by its condition, by the count, or for a pause.
static u32 str_compared(const Str *s, u32 flags, bool ended) {
    Cpu *cpu = s->cpu;
    if (ended || !s->count || s->step) {
        cpu_set_arith(cpu, flags);
        return ended || !s->count ? str_end(s, 1) : str_pause(s);
    }
    cpu->rep_paused = true;
    cpu->rep_flags = flags;
    cpu->rep_eip = cpu->eip - s->length;
    return str_pause(s);
}

u32 cpu_h_rep_cmps(Cpu *cpu, u32 info) {
    Str str = str_start(cpu, info), *s = &str;
    if (!s->count) return 1;
    for (;;) {
        u32 source = str_offset(s, CPU_ESI), target = str_offset(s, CPU_EDI), flags;
        u8 *a, *b;
        u32 n = str_piece(s, s->seg, source, false, &a);
        if (n) n = min_u32(n, str_piece(s, CPU_ES, target, false, &b));
        if (n) {
            flags = piece_cmps(s, a, b, &n);
        } else {
            u64 x, y;
            if (!str_slow_load(s, CPU_ES, target, &y) || !str_slow_load(s, s->seg, source, &x))
                return 0;
            flags = str_compare(s, x, y);
            n = 1;
        }
        str_move(s, CPU_ESI, n);
        str_move(s, CPU_EDI, n);
        str_count(s, n);
        bool ended = ((flags & FLAG_ZF) != 0) == s->until_equal;
        if (ended || !s->count || str_must_pause(s)) return str_compared(s, flags, ended);
    }
}

u32 cpu_h_rep_scas(Cpu *cpu, u32 info) {
    Str str = str_start(cpu, info), *s = &str;
    if (!s->count) return 1;
    for (;;) {
        u32 target = str_offset(s, CPU_EDI), value = cpu->regs[CPU_EAX], flags;
        u8 *at;
        u32 n = str_piece(s, CPU_ES, target, false, &at);
        if (n) {
            flags = piece_scas(s, at, value, &n);
        } else {
            u64 v;
            if (!str_slow_load(s, CPU_ES, target, &v)) return 0;
            flags = str_compare(s, value, v);
            n = 1;
        }
        str_move(s, CPU_EDI, n);
        str_count(s, n);
        bool ended = ((flags & FLAG_ZF) != 0) == s->until_equal;
        if (ended || !s->count || str_must_pause(s)) return str_compared(s, flags, ended);
    }
}
#undef LAHF
#undef CMPS
#undef SCAS
#undef HOST_REP

// ---- INS, OUTS ----------------------------------------------------------------------------------
// The destination is proved writable before the port is read: a port read cannot be taken back.
static bool str_in(const Str *s) {
    Cpu *cpu = s->cpu;
    u32 target = str_offset(s, CPU_EDI);
    u16 port = (u16)cpu->regs[CPU_EDX];
    u8 *to;
    if (str_piece(s, CPU_ES, target, true, &to)) {
        host_store(to, s->size_log2, bus_in(cpu->bus, port, s->size));
    } else {
        if (!cpu_probe(cpu, CPU_ES, target, s->size, true)) return false;
        if (!str_slow_store(s, target, bus_in(cpu->bus, port, s->size))) return false;
    }
    str_move(s, CPU_EDI, 1);
    return true;
}

static bool str_out(const Str *s) {
    Cpu *cpu = s->cpu;
    u32 source = str_offset(s, CPU_ESI);
    u8 *from;
    u64 v;
    if (str_piece(s, s->seg, source, false, &from)) v = host_load(from, s->size_log2);
    else if (!str_slow_load(s, s->seg, source, &v)) return false;
    bus_out(cpu->bus, (u16)cpu->regs[CPU_EDX], s->size, (u32)v);
    str_move(s, CPU_ESI, 1);
    return true;
}

// The port's permission is checked even when there is nothing to do.
static u32 str_repeat_port(Cpu *cpu, u32 info, bool (*one)(const Str *s)) {
    Str str = str_start(cpu, info), *s = &str;
    if (!cpu_check_port(cpu, cpu->regs[CPU_EDX], s->size)) return 0;
    while (s->count) {
        if (!one(s)) return 0;
        str_count(s, 1);
        if (str_must_pause(s)) return str_pause(s);
    }
    return str_end(s, 1);
}

static void str_once_port(Cpu *cpu, u32 info, bool (*one)(const Str *s)) {
    Str s = str_start(cpu, info);
    s.count = 1;
    if (cpu_check_port(cpu, cpu->regs[CPU_EDX], s.size)) one(&s);
}

u32 cpu_h_rep_ins(Cpu *cpu, u32 info) { return str_repeat_port(cpu, info, str_in); }
u32 cpu_h_rep_outs(Cpu *cpu, u32 info) { return str_repeat_port(cpu, info, str_out); }
void cpu_h_ins(Cpu *cpu, u32 info) { str_once_port(cpu, info, str_in); }
void cpu_h_outs(Cpu *cpu, u32 info) { str_once_port(cpu, info, str_out); }
