// SPDX-License-Identifier: MIT
// Counters by cause: accesses off the fast path, exits from generated code, calls of helpers; `info jit`.
#include "jit/check.h"

#include "cpu/mmu.h"
#include "cpu/helpers.h"

#include <string.h>

_Static_assert(SLOW_CAUSES <= sizeof(((Cpu *)0)->jit_slow) / sizeof(u64), "a counter for each cause");

// ---- why an access is slow ------------------------------------------------------------------------------
static bool slow_is_outside(const CpuSeg *seg, u32 offset, u32 bytes, bool write) {
    u32 end = write ? seg->write_end[0] : seg->read_end[0];
    return offset >= end || bytes > end - offset;
}

static SlowCause slow_store_cause(const Cpu *cpu, const BusPage *page, u32 in_page, u32 bytes) {
    if (page->kind == BUS_PAGE_ROM) return SLOW_ROM;
    if (page->kind != BUS_PAGE_RAM) return SLOW_DEVICE;
    if (page->flags & BUS_PAGE_TABLE) return SLOW_TABLE;
    if (!(page->flags & BUS_PAGE_CODE)) return SLOW_CLEAN;
    return smc_look(cpu->jit, page, in_page, bytes) == SMC_BESIDE ? SLOW_BESIDE : SLOW_CODE;
}

static SlowCause slow_cause(const Cpu *cpu, u32 offset, unsigned s, u32 bytes, bool write) {
    const CpuSeg *seg = &cpu->seg[s];
    u32 addr = seg->base + offset, in_page = addr & ~PAGE_MASK;
    if (cpu->mode & MODE_AC) return SLOW_ALIGN;
    if (slow_is_outside(seg, offset, bytes, write)) return SLOW_LIMIT;
    if (in_page + bytes > PAGE_BYTES) return SLOW_CROSSING;
    const u8 *table = cpu->mmu_base + (write ? MMU_WRITE : MMU_READ);
    i64 entry = ((const i64 *)(const void *)table)[addr >> PAGE_SHIFT];
    if (entry >= 0) return SLOW_OTHER;
    if (!(entry & MMU_KNOWN_BIT)) return SLOW_MISS;
    if (!write) return SLOW_DEVICE;
    return slow_store_cause(cpu, bus_page(cpu->bus, (u32)entry & 0xfffff), in_page, bytes);
}

void counters_note_slow(Cpu *cpu, u32 offset, unsigned seg, u32 bytes, bool write) {
    cpu->jit_slow[slow_cause(cpu, offset, seg, bytes, write)]++;
}

// ---- printing -------------------------------------------------------------------------------------------
enum { INFO_WIDTH = 80 };      // a line goes on up to here

static void print_row(FILE *out, const char *text, u64 n) {
    if (n) fprintf(out, "  %-36s %llu\n", text, (unsigned long long)n);
}

// The most called first, several on a line.
static void print_helpers(const Jit *jit, FILE *out) {
    static const char *const names[] = {
#define H(name, result, count, attributes) #name,
#include "cpu/helpers.def"
#undef H
    };
    _Static_assert(ARRAY_LEN(names) <= ARRAY_LEN(jit->helper_calls), "a counter for each helper");
    int column = 0;
    for (u64 most, below = UINT64_MAX; below; below = most) {
        most = 0;
        for (unsigned h = 0; h < ARRAY_LEN(names); h++)
            if (jit->helper_calls[h] < below && jit->helper_calls[h] > most) most = jit->helper_calls[h];
        for (unsigned h = 0; most && h < ARRAY_LEN(names); h++) {
            if (jit->helper_calls[h] != most) continue;
            if (column > INFO_WIDTH) column = 0, fputc('\n', out);
            column += fprintf(out, "  %s %llu", names[h], (unsigned long long)most);
        }
    }
    if (column) fputc('\n', out);
}

static void print_causes(const Jit *jit, FILE *out) {
    fprintf(out, "accesses off the fast path\n");
#define SLOW(name, text) print_row(out, text, jit->cpu->jit_slow[SLOW_##name]);
#include "jit/counters.def"
#undef SLOW
    fprintf(out, "single steps\n");
#define STEP(name, text) print_row(out, text, jit->stats.steps[STEP_##name]);
#include "jit/counters.def"
#undef STEP
    fprintf(out, "generated code left\n");
#define EXIT(name, text) print_row(out, text, jit->stats.exits[EXIT_##name]);
#include "jit/counters.def"
#undef EXIT
    fprintf(out, "helpers called\n");
    print_helpers(jit, out);
}

void jit_info(const Jit *jit, FILE *out) {
    double guest = (double)jit->stats.guest_bytes, hot = (double)jit->stats.hot_bytes;
    double cold = (double)jit->stats.cold_bytes, n = (double)jit->stats.blocks;
    if (!n) n = 1;
    if (!guest) guest = 1;
    fprintf(out, "Translation cache\n");
    fprintf(out, "code size        %llu/%u\n", (unsigned long long)((jit->hot_next - jit->hot_start) +
            (jit->cold_next - jit->cold_start)), jit->code_bytes);
    fprintf(out, "blocks           %u now, %llu translated\n", jit->block_count, (unsigned long long)jit->stats.blocks);
    fprintf(out, "guest size avg   %.1f bytes, %.1f instructions\n", guest / n, (double)jit->stats.guest_insns / n);
    fprintf(out, "host size avg    %.1f bytes hot, %.1f cold (expansion ratio: %.2f hot, %.2f all)\n",
            hot / n, cold / n, hot / guest, (hot + cold) / guest);
#define ROW(name, text) fprintf(out, "%-16s %llu\n", text, (unsigned long long)jit->stats.name);
    ROW(links, "links") ROW(unlinks, "unlinks") ROW(misses, "lookup misses") ROW(faults, "faults")
    ROW(spins, "loops that wait") ROW(invalidations, "invalidations")
    ROW(late_parts, "late parts") ROW(promotions, "promotions") ROW(wakes, "blocks reused") ROW(flushes, "flushes")
    ROW(restores_table, "restores") ROW(restores_retranslated, "retranslations")
#undef ROW
    if (jit->check) check_print(jit->check, out);
    cpu_dump_mmu(jit->cpu, out);
    print_causes(jit, out);
}
