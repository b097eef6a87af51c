// SPDX-License-Identifier: MIT
// The machine in gdb's terms: registers in its order, and memory.
//
// Packet g has what gdb's own idea of an i386 has (16 general and segment registers, x87, SSE), so
// that a gdb that does not read target.xml is served too; the system registers behind them are for
// packet p. eip is the offset in CS, as the processor has it; all addresses are linear.
// target.xml says i8086 while the processor is in real mode: gdb then disassembles 16-bit code, and
// `set architecture i386` still goes through (the other way round it does not).
#include "ui/gdb_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum RegClass {
    REG_GENERAL, REG_EIP, REG_EFLAGS, REG_SEGMENT, REG_ST, REG_X87, REG_XMM, REG_MXCSR,
    REG_BASE, REG_CONTROL, REG_TABLE, REG_SYSTEM,
} RegClass;

typedef struct RegRow { const char *name, *type; u8 bytes, class, index; } RegRow;

enum { X87_CTRL, X87_STAT, X87_TAG, X87_CS, X87_IP, X87_DS, X87_DP, X87_OP };
enum { TABLE_GDT_BASE, TABLE_GDT_LIMIT, TABLE_IDT_BASE, TABLE_IDT_LIMIT };
enum { SYSTEM_LDTR, SYSTEM_TR, SYSTEM_CPL };

// ORDER: gdb's register numbers
static const RegRow reg_rows[] = {
    { "eax", "int32", 4, REG_GENERAL, CPU_EAX }, { "ecx", "int32", 4, REG_GENERAL, CPU_ECX },
    { "edx", "int32", 4, REG_GENERAL, CPU_EDX }, { "ebx", "int32", 4, REG_GENERAL, CPU_EBX },
    { "esp", "data_ptr", 4, REG_GENERAL, CPU_ESP }, { "ebp", "data_ptr", 4, REG_GENERAL, CPU_EBP },
    { "esi", "int32", 4, REG_GENERAL, CPU_ESI }, { "edi", "int32", 4, REG_GENERAL, CPU_EDI },
    { "eip", "code_ptr", 4, REG_EIP, 0 }, { "eflags", "i386_eflags", 4, REG_EFLAGS, 0 },
    { "cs", "int32", 4, REG_SEGMENT, CPU_CS }, { "ss", "int32", 4, REG_SEGMENT, CPU_SS },
    { "ds", "int32", 4, REG_SEGMENT, CPU_DS }, { "es", "int32", 4, REG_SEGMENT, CPU_ES },
    { "fs", "int32", 4, REG_SEGMENT, CPU_FS }, { "gs", "int32", 4, REG_SEGMENT, CPU_GS },
#define ST(n) { "st" #n, "i387_ext", 10, REG_ST, n }
    ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
#undef ST
    { "fctrl", "int", 4, REG_X87, X87_CTRL }, { "fstat", "int", 4, REG_X87, X87_STAT },
    { "ftag", "int", 4, REG_X87, X87_TAG }, { "fiseg", "int", 4, REG_X87, X87_CS },
    { "fioff", "int", 4, REG_X87, X87_IP }, { "foseg", "int", 4, REG_X87, X87_DS },
    { "fooff", "int", 4, REG_X87, X87_DP }, { "fop", "int", 4, REG_X87, X87_OP },
#define XMM(n) { "xmm" #n, "vec128", 16, REG_XMM, n }
    XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
#undef XMM
    { "mxcsr", "int", 4, REG_MXCSR, 0 },
    { "cs_base", "data_ptr", 4, REG_BASE, CPU_CS }, { "ss_base", "data_ptr", 4, REG_BASE, CPU_SS },
    { "ds_base", "data_ptr", 4, REG_BASE, CPU_DS }, { "es_base", "data_ptr", 4, REG_BASE, CPU_ES },
    { "fs_base", "data_ptr", 4, REG_BASE, CPU_FS }, { "gs_base", "data_ptr", 4, REG_BASE, CPU_GS },
    { "cr0", "int32", 4, REG_CONTROL, 0 }, { "cr2", "data_ptr", 4, REG_CONTROL, 2 },
    { "cr3", "data_ptr", 4, REG_CONTROL, 3 }, { "cr4", "int32", 4, REG_CONTROL, 4 },
    { "gdt_base", "data_ptr", 4, REG_TABLE, TABLE_GDT_BASE },
    { "gdt_limit", "int32", 4, REG_TABLE, TABLE_GDT_LIMIT },
    { "idt_base", "data_ptr", 4, REG_TABLE, TABLE_IDT_BASE },
    { "idt_limit", "int32", 4, REG_TABLE, TABLE_IDT_LIMIT },
    { "ldtr", "int32", 4, REG_SYSTEM, SYSTEM_LDTR }, { "tr", "int32", 4, REG_SYSTEM, SYSTEM_TR },
    { "cpl", "int32", 4, REG_SYSTEM, SYSTEM_CPL },
};
#define REG_FIRST_ST 16u
#define REG_FIRST_XMM 32u
_Static_assert(GDB_GENERAL_REGS == REG_FIRST_XMM + 9, "packet g ends with mxcsr");

unsigned gdb_reg_count(void) { return ARRAY_LEN(reg_rows); }

// ---- target.xml -----------------------------------------------------------------------------------

static void xml_flags(FILE *out) {
    static const struct { const char *name; u8 bit; } flags[] = {
        { "CF", 0 }, { "", 1 }, { "PF", 2 }, { "AF", 4 }, { "ZF", 6 }, { "SF", 7 }, { "TF", 8 },
        { "IF", 9 }, { "DF", 10 }, { "OF", 11 }, { "NT", 14 }, { "RF", 16 }, { "VM", 17 },
        { "AC", 18 }, { "VIF", 19 }, { "VIP", 20 }, { "ID", 21 },
    };
    fprintf(out, "<flags id=\"i386_eflags\" size=\"4\">");
    for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
        fprintf(out, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>", flags[i].name, flags[i].bit,
                flags[i].bit);
    fprintf(out, "</flags>");
}

static void xml_regs(FILE *out, unsigned first, unsigned end) {
    for (unsigned i = first; i < end; i++) {
        const RegRow *r = &reg_rows[i];
        fprintf(out, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"%s/>", r->name,
                r->bytes * 8u, r->type, i, r->class == REG_X87 ? " group=\"float\"" : "");
    }
    fprintf(out, "</feature>");
}

char *gdb_target_xml(const Cpu *cpu) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    require(out);
    fprintf(out, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
                 "<architecture>%s</architecture><osabi>none</osabi>",
                 cpu->mode & MODE_PE ? "i386" : "i8086");
    fprintf(out, "<feature name=\"org.gnu.gdb.i386.core\">");
    xml_flags(out);
    xml_regs(out, 0, REG_FIRST_XMM);
    fprintf(out, "<feature name=\"org.gnu.gdb.i386.sse\">"
                 "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
                 "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
                 "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
                 "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"uint128\" type=\"uint128\"/></union>");
    xml_regs(out, REG_FIRST_XMM, GDB_GENERAL_REGS);
    fprintf(out, "<feature name=\"glassbox.i386.system\">");
    xml_regs(out, GDB_GENERAL_REGS, gdb_reg_count());
    fprintf(out, "</target>");
    fclose(out);
    return text;
}

// ---- x87 ------------------------------------------------------------------------------------------
// The state as an FXSAVE image (SDM 1, 10.5.1): 0 FCW, 2 FSW, 4 tags, 24 MXCSR, 32 ST, 160 XMM.

static void fpu_take(Cpu *cpu, bool *live) {
    *live = cpu->fpu_live;
    cpu_fpu_save_host(cpu);
}

static void fpu_give(Cpu *cpu, bool live) {
    if (live) cpu_fpu_load_host(cpu);
}

// Two bits per physical register: 0 valid, 1 zero, 2 special, 3 empty.
static u32 fpu_tag_word(const u8 *image) {
    u32 tags = 0, top = get_le16(image + 2) >> 11 & 7;
    for (unsigned n = 0; n < 8; n++) {
        const u8 *st = image + 32 + 16 * ((n - top) & 7);
        u64 mantissa = get_le64(st);
        u32 exponent = get_le16(st + 8) & 0x7fff, tag = 0;
        if (!(image[4] >> n & 1)) tag = 3;
        else if (!exponent && !mantissa) tag = 1;
        else if (!exponent || exponent == 0x7fff || !(mantissa >> 63)) tag = 2;
        tags |= tag << (2 * n);
    }
    return tags;
}

static u32 fpu_word_get(const Cpu *cpu, unsigned index) {
    const u8 *image = cpu->fpu_image;
    const u32 word[8] = { get_le16(image), get_le16(image + 2), fpu_tag_word(image), cpu->fpu_cs,
                          cpu->fpu_ip, cpu->fpu_ds, cpu->fpu_dp, cpu->fpu_op };
    return word[index];
}

static void fpu_word_set(Cpu *cpu, unsigned index, u32 value) {
    u8 *image = cpu->fpu_image;
    switch (index) {
    case X87_CTRL: put_le16(image, (u16)value); break;
    case X87_STAT: put_le16(image + 2, (u16)value); break;
    case X87_TAG:
        image[4] = 0;
        for (unsigned n = 0; n < 8; n++) image[4] |= (u8)(((value >> (2 * n) & 3) != 3) << n);
        break;
    case X87_CS: cpu->fpu_cs = (u16)value; break;
    case X87_IP: cpu->fpu_ip = value; break;
    case X87_DS: cpu->fpu_ds = (u16)value; break;
    case X87_DP: cpu->fpu_dp = value; break;
    default: cpu->fpu_op = value & 0x7ff; break;
    }
}

static void fpu_get(Cpu *cpu, const RegRow *r, u8 *to) {
    bool live;
    fpu_take(cpu, &live);
    if (r->class == REG_ST) memcpy(to, cpu->fpu_image + 32 + 16 * r->index, 10);
    else if (r->class == REG_XMM) memcpy(to, cpu->fpu_image + 160 + 16 * r->index, 16);
    else if (r->class == REG_MXCSR) memcpy(to, cpu->fpu_image + 24, 4);
    else put_le32(to, fpu_word_get(cpu, r->index));
    fpu_give(cpu, live);
}

static void fpu_set(Cpu *cpu, const RegRow *r, const u8 *from) {
    bool live;
    fpu_take(cpu, &live);
    if (r->class == REG_ST) memcpy(cpu->fpu_image + 32 + 16 * r->index, from, 10);
    else if (r->class == REG_XMM) memcpy(cpu->fpu_image + 160 + 16 * r->index, from, 16);
    else if (r->class == REG_MXCSR) put_le32(cpu->fpu_image + 24, get_le32(from) & 0xffbf);
    else fpu_word_set(cpu, r->index, get_le32(from));
    fpu_give(cpu, live);
}

// ---- registers ------------------------------------------------------------------------------------

static u32 reg_system(const Cpu *cpu, const RegRow *r) {
    const u32 control[5] = { cpu->cr0, 0, cpu->cr2, cpu->cr3, cpu->cr4 };
    const u32 table[4] = { cpu->gdtr.base, cpu->gdtr.limit, cpu->idtr.base, cpu->idtr.limit };
    const u32 system[3] = { cpu->ldtr.selector, cpu->tr.selector, cpu->cpl };
    if (r->class == REG_BASE) return cpu->seg[r->index].base;
    if (r->class == REG_CONTROL) return control[r->index];
    return r->class == REG_TABLE ? table[r->index] : system[r->index];
}

unsigned gdb_reg_get(Cpu *cpu, unsigned number, u8 *to) {
    if (number >= gdb_reg_count()) return 0;
    const RegRow *r = &reg_rows[number];
    switch (r->class) {
    case REG_GENERAL: put_le32(to, cpu->regs[r->index]); break;
    case REG_EIP: put_le32(to, cpu->eip); break;
    case REG_EFLAGS: put_le32(to, cpu_flags(cpu)); break;
    case REG_SEGMENT: put_le32(to, cpu->seg[r->index].selector); break;
    case REG_ST: case REG_X87: case REG_XMM: case REG_MXCSR: fpu_get(cpu, r, to); break;
    default: put_le32(to, reg_system(cpu, r)); break;
    }
    return r->bytes;
}

// The hidden part comes from the descriptor, with no check but that there is one; a null selector
// unloads. A new CS sets the privilege to its RPL.
static bool reg_set_segment(Cpu *cpu, unsigned s, u16 selector) {
    CpuSeg *seg = &cpu->seg[s];
    u8 d[8];
    if (selector == seg->selector) return true;
    if (!(cpu->mode & MODE_PE) || cpu->mode & MODE_VM) {
        seg->selector = selector;
        seg->base = (u32)selector << 4;
        cpu_update_mode(cpu);
        return true;
    }
    u32 table = selector & 4 ? cpu->ldtr.base : cpu->gdtr.base;
    u32 end = selector & 4 ? cpu->ldtr.limit : cpu->gdtr.limit;
    bool null = !(selector & 0xfffc);
    if (null && (s == CPU_CS || s == CPU_SS)) return false;
    if (!null && (selector | 7u) > end) return false;
    if (!cpu_debug_read(cpu, lin(table + (selector & 0xfff8u)), d, 8)) return false;
    if (null) memset(d, 0, sizeof d);
    u32 limit = get_le16(d) | (d[6] & 15u) << 16;
    seg->selector = selector;
    seg->base = get_le16(d + 2) | (u32)d[4] << 16 | (u32)d[7] << 24;
    seg->limit = d[6] & 0x80 ? limit << 12 | 0xfff : limit;
    seg->access = (u16)(d[5] | (d[6] & 0xf0u) << 8);
    if (s == CPU_CS) cpu->cpl = selector & 3;
    cpu_update_mode(cpu);
    return true;
}

unsigned gdb_reg_set(Cpu *cpu, unsigned number, const u8 *from) {
    if (number >= gdb_reg_count()) return 0;
    const RegRow *r = &reg_rows[number];
    switch (r->class) {
    case REG_GENERAL: cpu->regs[r->index] = get_le32(from); break;
    case REG_EIP:
        cpu->eip = get_le32(from);
        cpu->halted = false;
        break;
    case REG_EFLAGS: cpu_set_eflags(cpu, get_le32(from), 0x3f7fd5 & ~FLAG_VM); break;
    case REG_SEGMENT: return reg_set_segment(cpu, r->index, get_le16(from)) ? r->bytes : 0;
    case REG_ST: case REG_X87: case REG_XMM: case REG_MXCSR: fpu_set(cpu, r, from); break;
    default: return reg_system(cpu, r) == get_le32(from) ? r->bytes : 0;
    }
    return r->bytes;
}

// ---- memory ---------------------------------------------------------------------------------------

static bool mem_place(Machine *m, bool physical, u32 addr, Phy *at) {
    *at = phy(addr);
    return physical || cpu_debug_translate(m->cpu, lin(addr), at);
}

// Memory of devices is read as the guest would read it, so that video memory can be seen.
u32 gdb_mem_read(Machine *m, bool physical, u32 addr, u8 *to, u32 bytes) {
    for (u32 i = 0; i < bytes; i++) {
        Phy at;
        if (!mem_place(m, physical, addr + i, &at)) return i;
        if (bus_page(m->bus, (u32)(at.v >> PAGE_SHIFT))->kind == BUS_PAGE_NONE) return i;
        to[i] = (u8)bus_read(m->bus, at, 1);
    }
    return bytes;
}

u32 gdb_mem_write(Machine *m, bool physical, u32 addr, const u8 *from, u32 bytes) {
    for (u32 i = 0; i < bytes; i++) {
        Phy at;
        if (!mem_place(m, physical, addr + i, &at)) return i;
        u8 kind = bus_page(m->bus, (u32)(at.v >> PAGE_SHIFT))->kind;
        if (kind == BUS_PAGE_RAM) bus_dma_write(m->bus, at, from + i, 1);
        else if (kind == BUS_PAGE_MMIO) bus_write(m->bus, at, 1, from[i]);
        else return i;
    }
    return bytes;
}
