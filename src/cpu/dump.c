// SPDX-License-Identifier: MIT
// Register dumps and page table listings, byte for byte as QEMU prints them: tools parse them.
#include "cpu/cpu_int.h"

#include <inttypes.h>

// ---- registers ----------------------------------------------------------------------------------
static void dump_seg_type(FILE *out, u32 access) {
    static const char *const system[16] = {
        "Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16",
        "TrapGate16", "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved",
        "IntGate32", "TrapGate32",
    };
    fprintf(out, " DPL=%d ", (int)ACC_DPL(access));
    if (!(access & SEG_ACC_S)) {
        fprintf(out, "%s", system[ACC_TYPE(access)]);
        return;
    }
    bool code = access & ACC_CODE, big = access & SEG_ACC_DB;
    const char *name = code ? (big ? "CS32" : "CS16") : (big ? "DS  " : "DS16");
    char special = access & 4 ? (code ? 'C' : 'E') : '-';
    char allowed = access & 2 ? (code ? 'R' : 'W') : '-';
    fprintf(out, "%s [%c%c%c]", name, special, allowed, access & ACC_ACCESSED ? 'A' : '-');
}

static void dump_seg(const Cpu *cpu, FILE *out, const char *name, const CpuSeg *s) {
    u32 raw_limit = s->access & SEG_ACC_G ? s->limit >> 12 : s->limit;
    u32 flags = (u32)s->access << 8 | (raw_limit & 0xf0000);
    fprintf(out, "%-3s=%04x %08x %08x %08x", name, s->selector, s->base, s->limit, flags);
    if ((cpu->cr0 & CR0_PE) && (s->access & SEG_ACC_P)) dump_seg_type(out, s->access);
    fputc('\n', out);
}

static void dump_segs(const Cpu *cpu, FILE *out) {
    static const char *const names[] = { "ES", "CS", "SS", "DS", "FS", "GS" };
    for (unsigned i = 0; i < 6; i++) dump_seg(cpu, out, names[i], &cpu->seg[i]);
    dump_seg(cpu, out, "LDT", &cpu->ldtr);
    dump_seg(cpu, out, "TR", &cpu->tr);
    fprintf(out, "GDT=     %08x %08x\n", cpu->gdtr.base, cpu->gdtr.limit);
    fprintf(out, "IDT=     %08x %08x\n", cpu->idtr.base, cpu->idtr.limit);
}

static void dump_integer(Cpu *cpu, FILE *out) {
    const u32 *r = cpu->regs;
    u32 f = cpu_flags(cpu);
    fprintf(out, "EAX=%08x EBX=%08x ECX=%08x EDX=%08x\n", r[CPU_EAX], r[CPU_EBX], r[CPU_ECX],
            r[CPU_EDX]);
    fprintf(out, "ESI=%08x EDI=%08x EBP=%08x ESP=%08x\n", r[CPU_ESI], r[CPU_EDI], r[CPU_EBP],
            r[CPU_ESP]);
    fprintf(out, "EIP=%08x EFL=%08x [%c%c%c%c%c%c%c] CPL=%d II=%d A20=%d SMM=0 HLT=%d\n", cpu->eip,
            f, f & FLAG_DF ? 'D' : '-', f & FLAG_OF ? 'O' : '-', f & FLAG_SF ? 'S' : '-',
            f & FLAG_ZF ? 'Z' : '-', f & FLAG_AF ? 'A' : '-', f & FLAG_PF ? 'P' : '-',
            f & FLAG_CF ? 'C' : '-', cpu->cpl, cpu->inhibit_irq, bus_a20(cpu->bus), cpu->halted);
}

static void dump_control(const Cpu *cpu, FILE *out) {
    fprintf(out, "CR0=%08x CR2=%08x CR3=%08x CR4=%08x\n", cpu->cr0, cpu->cr2, cpu->cr3, cpu->cr4);
    for (unsigned i = 0; i < 4; i++) fprintf(out, "DR%u=%08x ", i, cpu->dr[i]);
    fprintf(out, "\nDR6=%08x DR7=%08x\n", cpu->dr[6], cpu->dr[7]);
}

// The pending flags recipe in the terms tools know: operation, source, result.
static void dump_recipe(const Cpu *cpu, FILE *out) {
    static const char *const names[] = {
        [FLAGS_ADD] = "ADD", [FLAGS_ADDR] = "ADD", [FLAGS_SUB] = "SUB", [FLAGS_SUBR] = "SUB",
        [FLAGS_LOGIC] = "LOGIC", [FLAGS_INC] = "INC", [FLAGS_DEC] = "DEC", [FLAGS_ADC] = "ADC",
        [FLAGS_SBB] = "SBB", [FLAGS_SHL] = "SHL", [FLAGS_SHR] = "SAR", [FLAGS_SAR] = "SAR",
    };
    u32 kind = cpu->flag_op & FLAGS_PRODUCT ? FLAGS_RAW : FLAGS_KIND(cpu->flag_op);
    u32 a = cpu->flag_a, b = cpu->flag_b, source = b, result = a;
    char size = "BWLL"[cpu->flag_op & 3];
    switch (kind) {
    case FLAGS_ADD: result = a + b; break;
    case FLAGS_SUB: result = a - b; break;
    case FLAGS_ADC: result = a + b + (cpu->flag_c & 1); break;
    case FLAGS_SBB: result = a - b - (cpu->flag_c & 1); break;
    case FLAGS_INC: case FLAGS_DEC: source = cpu->flag_c & 1; break;
    case FLAGS_LOGIC: source = 0; break;
    default: break;
    }
    if (kind < ARRAY_LEN(names) && names[kind]) {
        fprintf(out, "CCS=%08x CCD=%08x CCO=%s%c\n", source, result, names[kind], size);
        return;
    }
    source = flags_compute(cpu->flag_op, a, b, cpu->flag_c);
    fprintf(out, "CCS=%08x CCD=%08x CCO=EFLAGS\n", source, 0);
}

// ---- x87 ----------------------------------------------------------------------------------------
static void dump_fpu(Cpu *cpu, FILE *out) {
    u8 image[512] __attribute__((aligned(16)));
    fpu_peek(cpu, image);
    u32 sw = get_le16(image + 2), top = sw >> 11 & 7;
    fprintf(out, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", get_le16(image), sw, top,
            image[4], get_le32(image + 24));
    for (unsigned i = 0; i < 8; i++) {
        const u8 *reg = image + 32 + 16 * ((i - top) & 7);       // stored in ST order
        fprintf(out, "FPR%u=%016" PRIx64 " %04x%c", i, get_le64(reg), get_le16(reg + 8),
                i & 1 ? '\n' : ' ');
    }
    for (unsigned i = 0; i < 8; i++)
        fprintf(out, "XMM%02u=%016" PRIx64 " %016" PRIx64 "%c", i, get_le64(cpu->xmm + 16 * i + 8),
                get_le64(cpu->xmm + 16 * i), i & 1 ? '\n' : ' ');
}

static void dump_with(Cpu *cpu, FILE *out, bool recipe, bool fpu) {
    dump_integer(cpu, out);
    dump_segs(cpu, out);
    dump_control(cpu, out);
    if (recipe) dump_recipe(cpu, out);
    fprintf(out, "EFER=%016x\n", cpu->efer);
    if (fpu) dump_fpu(cpu, out);
}

void cpu_dump(Cpu *cpu, FILE *out, bool with_fpu) { dump_with(cpu, out, false, with_fpu); }
void cpu_log_dump(Cpu *cpu) { dump_with(cpu, cpu->log->file, true, false); }

// ---- page tables --------------------------------------------------------------------------------
// "VA: PA XGPDACTUW": no-execute, global, large, dirty, accessed, cache off, write through, user,
// write
static void dump_pte(FILE *out, u32 addr, u64 pte, u64 mask) {
    static const struct { u32 bit; char name; } bits[] = {
        { 0x100, 'G' }, { 0x80, 'P' }, { 0x40, 'D' }, { 0x20, 'A' }, { 0x10, 'C' }, { 0x08, 'T' },
        { 0x04, 'U' }, { 0x02, 'W' },
    };
    fprintf(out, "%016x: %016" PRIx64 " %c", addr, pte & mask, pte >> 63 ? 'X' : '-');
    for (unsigned i = 0; i < ARRAY_LEN(bits); i++)
        fputc(pte & bits[i].bit ? bits[i].name : '-', out);
    fputc('\n', out);
}

// Looks at an address; *bytes: how far the answer holds.
static bool dump_look(Cpu *cpu, u32 addr, MmuMapping *m, u64 *bytes) {
    bool mapped = mmu_look(cpu, addr, m);
    u32 directory = cpu->cr4 & CR4_PAE ? 2u << 20 : 4u << 20;
    *bytes = m->large || !(m->pde & 1) ? directory : PAGE_BYTES;
    return mapped;
}

void cpu_dump_tlb(Cpu *cpu, FILE *out) {
    const u64 address = ~0xfff0000000000000ull;             // without NX and the ignored bits
    u64 bytes, large = cpu->cr4 & CR4_PAE ? ~0xfffffull : ~0x1fffffull;
    MmuMapping m;
    if (!(cpu->cr0 & CR0_PG)) {
        fprintf(out, "PG disabled\n");
        return;
    }
    for (u64 at = 0; at >> 32 == 0; at += bytes) {
        if (!dump_look(cpu, (u32)at, &m, &bytes)) continue;
        if (m.large) dump_pte(out, (u32)at, m.pte, large & address);
        else dump_pte(out, (u32)at, m.pte & ~0x80ull, ~0xfffull & address);
    }
}

typedef struct MemRange {
    u64 start;
    u32 rights;                     // P W U bits; 0: none open
} MemRange;

static void dump_range(FILE *out, MemRange *r, u64 end, u32 rights) {
    if (rights == r->rights) return;
    if (r->rights)
        fprintf(out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n", r->start, end,
                end - r->start, r->rights & 4 ? 'u' : '-', r->rights & 2 ? 'w' : '-');
    *r = (MemRange){ end, rights };
}

void cpu_dump_mem(Cpu *cpu, FILE *out) {
    MemRange r = { 0, 0 };
    MmuMapping m;
    u64 bytes;
    if (!(cpu->cr0 & CR0_PG)) {
        fprintf(out, "PG disabled\n");
        return;
    }
    for (u64 at = 0; at >> 32 == 0; at += bytes) {
        bool mapped = dump_look(cpu, (u32)at, &m, &bytes);
        dump_range(out, &r, at, mapped ? (u32)(m.pte & m.pde & 7) : 0);
    }
    dump_range(out, &r, 1ull << 32, 0);
}

// ---- the soft MMU's counters ----------------------------------------------------------------------
void cpu_dump_mmu(const Cpu *cpu, FILE *out) {
#define ROW(name, text) fprintf(out, "%-16s %llu\n", text, (unsigned long long)cpu->stats.name);
    fprintf(out, "Soft MMU\n");
    fprintf(out, "address spaces   %u kept of %u\n", cpu->mmu->space_count, MMU_SPACES);
    ROW(space_switches, "CR3 loads") ROW(space_misses, "new spaces") ROW(tlb_fills, "fills")
    ROW(tlb_flushes, "flushes") ROW(tlb_drops, "INVLPG") ROW(table_stores, "table stores")
    ROW(tlb_changes, "entries changed") ROW(page_faults, "page faults")
    fprintf(out, "%-16s %u maps, %llu pages shown\n", "windows", cpu->mmu->window_maps,
            (unsigned long long)cpu->stats.window_pages);
#undef ROW
}
