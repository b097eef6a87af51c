// SPDX-License-Identifier: MIT
// The disassembler: Insn -> text in the spelling of GNU objdump 2.40, AT&T or Intel.
//
// 1. Everything is read from Insn and its row. Prefixes that had no effect are printed in front, in
//    their order in Insn.bytes; an effective one shows in the operands or the mnemonic's suffix.
// 2. AT&T suffixes appear where objdump has them: on memory operands without a register beside
//    them, and on stack and branch instructions whose size is not the code segment's.
// 3. Text never runs over the buffer; the length returned is what was written, without the NUL.
// Where the tables know better than objdump, tests/unit/test_isa.c says so in its head.
#include "isa/isa_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct Format {
    const Insn *in;
    const IsaRow *row;
    char *text;
    size_t text_bytes, at;
    u32 eip;
    bool att;
    bool code32;        // the code segment's size, told from address size and prefix
} Format;

static const char fmt_names_8[8][3] = { "al", "cl", "dl", "bl", "ah", "ch", "dh", "bh" };
static const char fmt_names_16[8][3] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };
static const char fmt_names_seg[8][3] = { "es", "cs", "ss", "ds", "fs", "gs", "?", "?" };

static void fmt_put(Format *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fmt_put(Format *f, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(f->text + f->at, f->text_bytes - f->at, format, arguments);
    va_end(arguments);
    if (n > 0)
        f->at = min_u64(f->at + n, f->text_bytes - 1);
}

static const char *fmt_percent(const Format *f) { return f->att ? "%" : ""; }

// --- What an instruction looks at ----------------------------------------------------------------

static bool fmt_has_kind(const Insn *in, IsaOperandKind kind) {
    for (unsigned i = 0; i < in->operand_count; i++)
        if (in->op[i].kind == kind)
            return true;
    return false;
}

static bool fmt_has_code(const IsaRow *row, IsaOperandCode code) {
    for (unsigned i = 0; i < ARRAY_LEN(row->form); i++)
        if (row->form[i] == code)
            return true;
    return false;
}

static bool fmt_is_string(const IsaRow *row) { return row->attr & ISA_A_STRING; }

// Does an operand-size prefix show in mnemonic or operands?
static bool fmt_uses_opsize(const Format *f) {
    static const u8 sized[] = {
        ISA_O_Ev, ISA_O_Gv, ISA_O_Zv, ISA_O_eAX, ISA_O_Iz, ISA_O_Iv, ISA_O_sIb, ISA_O_Ap, ISA_O_Ov,
        ISA_O_Xv, ISA_O_Yv, ISA_O_Ma, ISA_O_Mp, ISA_O_Ms, ISA_O_Menv, ISA_O_Msave,
    };
    for (unsigned i = 0; i < ARRAY_LEN(sized); i++)
        if (fmt_has_code(f->row, sized[i]))
            return true;
    if (fmt_has_code(f->row, ISA_O_RvMw) || fmt_has_code(f->row, ISA_O_SwLoad))
        return fmt_has_kind(f->in, ISA_REG);
    switch (f->row->lifter) {
    case ISA_LIFT_PUSHA: case ISA_LIFT_POPA: case ISA_LIFT_PUSHF: case ISA_LIFT_POPF:
    case ISA_LIFT_PUSH_SEG: case ISA_LIFT_POP_SEG: case ISA_LIFT_LEAVE: case ISA_LIFT_ENTER:
    case ISA_LIFT_RET: case ISA_LIFT_RET_FAR: case ISA_LIFT_IRET:
    case ISA_LIFT_CBW: case ISA_LIFT_CWD:
        return true;
    case ISA_LIFT_JMP: case ISA_LIFT_CALL: case ISA_LIFT_JCC:
        return fmt_has_code(f->row, ISA_O_Jz);
    default:
        return false;
    }
}

static bool fmt_has_memory(const Format *f) {
    return fmt_has_kind(f->in, ISA_MEM) || f->row->lifter == ISA_LIFT_XLAT;
}

static bool fmt_uses_segment(const Format *f) {
    return fmt_has_memory(f) || fmt_has_kind(f->in, ISA_STR_SRC);
}

static bool fmt_uses_addrsize(const Format *f) {
    if (fmt_has_code(f->row, ISA_O_Ob) || fmt_has_code(f->row, ISA_O_Ov))
        return false;
    bool registers = f->in->base != ISA_NO_REG || f->in->index != ISA_NO_REG;
    if (!f->code32 && !registers && fmt_has_kind(f->in, ISA_MEM))
        return false;       // "addr32" tells a 32-bit address without registers in 16-bit code
    return fmt_has_memory(f) || fmt_is_string(f->row) || f->row->lifter == ISA_LIFT_JCXZ
        || (f->row->lifter == ISA_LIFT_LOOP && f->att);
}

// --- Prefixes ------------------------------------------------------------------------------------

// CS and DS before a conditional branch are hints: ",pn" and ",pt" in AT&T.
static bool fmt_is_hint(const Format *f) {
    bool conditional = f->row->lifter == ISA_LIFT_JCC || f->row->lifter == ISA_LIFT_LOOP
                    || f->row->lifter == ISA_LIFT_JCXZ;
    return f->att && conditional && f->in->prefixes & ISA_SEGOVR
        && (f->in->seg == 1 || f->in->seg == 3);
}

static bool fmt_rep_shows(const Format *f, u8 byte) {
    return byte == 0xf3 && f->row->lifter == ISA_LIFT_NOP && f->row->mnemonic[0] == 'p';
}

static const char *fmt_rep_name(const Format *f, u8 byte) {
    bool compares = f->row->sub == ISA_SUB_CMPS || f->row->sub == ISA_SUB_SCAS;
    return byte == 0xf2 ? "repnz" : fmt_is_string(f->row) && !compares ? "rep" : "repz";
}

// The mandatory prefix of an MMX or SSE instruction: it is part of the opcode. 0: none.
static u8 fmt_mandatory_prefix(const Format *f) {
    if (f->row->lifter != ISA_LIFT_SIMD && f->row->lifter != ISA_LIFT_SIMD_CTL)
        return 0;
    unsigned prefixes = f->in->prefixes;
    return prefixes & ISA_REP ? 0xf3 : prefixes & ISA_REPNE ? 0xf2 : prefixes & ISA_OPSIZE ? 0x66 : 0;
}

// The name of the prefix byte at i if it must be printed, or NULL. last: no later one of its group.
static const char *fmt_prefix(const Format *f, unsigned i, bool last) {
    u8 byte = f->in->bytes[i];
    if (last && byte == fmt_mandatory_prefix(f))
        return NULL;
    switch (byte) {
    case 0xf0: return "lock";
    case 0xf2: case 0xf3: return last && fmt_rep_shows(f, byte) ? NULL : fmt_rep_name(f, byte);
    case 0x66: return last && fmt_uses_opsize(f) ? NULL : f->code32 ? "data16" : "data32";
    case 0x67: return last && fmt_uses_addrsize(f) ? NULL : f->code32 ? "addr16" : "addr32";
    case 0x64: case 0x65:
        return last && fmt_uses_segment(f) ? NULL : fmt_names_seg[byte - 0x60];
    default:
        if (last && (fmt_uses_segment(f) || fmt_is_hint(f)))
            return NULL;
        return fmt_names_seg[byte >> 3 & 3];
    }
}

// Group of a prefix byte: the last of a group is the one that counts. 0: not a prefix.
static unsigned fmt_prefix_group(u8 byte) {
    switch (byte) {
    case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: return 1;
    case 0x66: return 2;
    case 0x67: return 3;
    case 0xf0: return 4;
    case 0xf2: case 0xf3: return 5;
    default: return 0;
    }
}

static void fmt_prefixes(Format *f) {
    const u8 *bytes = f->in->bytes;
    unsigned count = 0;
    while (count < f->in->length && fmt_prefix_group(bytes[count]))
        count++;
    for (unsigned i = 0; i < count; i++) {
        bool last = true;
        for (unsigned j = i + 1; j < count; j++)
            last &= fmt_prefix_group(bytes[j]) != fmt_prefix_group(bytes[i]);
        const char *name = fmt_prefix(f, i, last);
        if (name)
            fmt_put(f, "%s ", name);
    }
}

// --- Mnemonics -----------------------------------------------------------------------------------

static char fmt_letter(unsigned size) { return size == 1 ? 'b' : size == 2 ? 'w' : 'l'; }

// "w", "l" (Intel "d") when a prefix makes the size differ from the code segment's, else "".
static const char *fmt_odd_suffix(const Format *f) {
    if (!(f->in->prefixes & ISA_OPSIZE) || !fmt_uses_opsize(f))
        return "";
    if (f->code32)
        return f->row->lifter == ISA_LIFT_FPU_ENV && f->att ? "s" : "w";
    return f->att ? "l" : "d";
}

static const char *fmt_x87_suffix(const Format *f) {
    const char *name = f->row->mnemonic;
    bool integer = name[1] == 'i', bcd = name[1] == 'b';
    switch (f->in->op[0].size) {
    case 2: return "s";
    case 4: return integer ? "l" : "s";
    case 8: return integer ? "ll" : "l";
    default: return bcd ? "" : "t";
    }
}

// AT&T calls FSUB and FDIV with destination ST(i) by each other's reversed name.
static void fmt_x87_register(Format *f) {
    const char *name = f->row->mnemonic;
    bool swaps = f->att && f->row->form[0] == ISA_O_STi && f->row->form[1] == ISA_O_ST0
              && (strncmp(name, "fsub", 4) == 0 || strncmp(name, "fdiv", 4) == 0);
    if (!swaps)
        fmt_put(f, "%s", name);
    else if (name[4] == 'r')
        fmt_put(f, "%.4s%s", name, name + 5);
    else
        fmt_put(f, "%.4sr%s", name, name + 4);
}

// Does a register operand tell the size? (CL as a shift count doesn't.)
static bool fmt_sized_by_register(const Format *f) {
    for (unsigned i = 0; i < f->in->operand_count; i++)
        if (f->in->op[i].kind == ISA_REG && f->row->form[i] != ISA_O_CL)
            return true;
    return false;
}

static void fmt_att_general(Format *f) {
    const Insn *in = f->in;
    fmt_put(f, "%s", f->row->mnemonic);
    switch (f->row->lifter) {
    case ISA_LIFT_ALU: case ISA_LIFT_INCDEC: case ISA_LIFT_NOT: case ISA_LIFT_NEG:
    case ISA_LIFT_TEST: case ISA_LIFT_MOV: case ISA_LIFT_SHIFT: case ISA_LIFT_BT:
    case ISA_LIFT_MUL1: case ISA_LIFT_NOP:
        if (in->op[0].kind == ISA_MEM && !fmt_sized_by_register(f))
            fmt_put(f, "%c", fmt_letter(in->op[0].size));
    }
}

// Mnemonics that both syntaxes build alike: the row's, with the size where it is unusual.
static void fmt_sized(Format *f) {
    bool shown_by_operand = fmt_has_kind(f->in, ISA_REG) || (!f->att && fmt_has_kind(f->in, ISA_MEM)
                            && f->row->lifter != ISA_LIFT_FPU_ENV);
    fmt_put(f, "%s%s", f->row->mnemonic, shown_by_operand ? "" : fmt_odd_suffix(f));
}

static void fmt_far(Format *f) {
    static const char *const att[] = { "ljmp", "lcall", "lret" };
    static const char *const intel[] = { "jmp", "call", "retf" };
    unsigned which = f->row->lifter - ISA_LIFT_JMP_FAR;
    bool suffix = f->att || f->row->lifter == ISA_LIFT_RET_FAR;
    fmt_put(f, "%s%s", (f->att ? att : intel)[which], suffix ? fmt_odd_suffix(f) : "");
}
static_assert(ISA_LIFT_CALL_FAR == ISA_LIFT_JMP_FAR + 1, "ORDER: fmt_far");
static_assert(ISA_LIFT_RET_FAR == ISA_LIFT_JMP_FAR + 2, "ORDER: fmt_far");

static void fmt_string_mnemonic(Format *f) {
    bool register_beside = fmt_has_kind(f->in, ISA_REG) && f->row->lifter == ISA_LIFT_STRING;
    fmt_put(f, "%s", f->row->mnemonic);
    if (f->att && !register_beside)
        fmt_put(f, "%c", fmt_letter(f->in->opsize));
}

static void fmt_loop(Format *f) {
    bool odd = f->att && f->in->prefixes & ISA_ADSIZE;
    fmt_put(f, "%s%s", f->row->mnemonic, !odd ? "" : f->code32 ? "w" : "l");
}

static void fmt_movx(Format *f) {
    if (f->att)
        fmt_put(f, "%.4s%c%c", f->row->mnemonic, fmt_letter(f->in->op[1].size),
                fmt_letter(f->in->opsize));
    else
        fmt_put(f, "%s", f->row->mnemonic);
}

// CMPPS and the like with a predicate that has a name: "cmpltps". NULL: it has none.
static const char *fmt_predicate(const Format *f) {
    static const char *const names[8] = { "eq", "lt", "le", "unord", "neq", "nlt", "nle", "ord" };
    bool compares = f->row->lifter == ISA_LIFT_SIMD && strncmp(f->row->mnemonic, "cmp", 3) == 0;
    return compares && f->in->op[2].imm < 8 ? names[f->in->op[2].imm] : NULL;
}

static void fmt_simd(Format *f) {
    const char *name = f->row->mnemonic, *predicate = fmt_predicate(f);
    bool registers = f->in->modrm >= 0xc0;
    if (predicate)
        fmt_put(f, "cmp%s%s", predicate, name + 3);
    else if (registers && f->row->sub == ISA_SUB_MOVHLPS)
        fmt_put(f, "movhlps");
    else if (registers && f->row->sub == ISA_SUB_MOVLHPS)
        fmt_put(f, "movlhps");
    else
        fmt_put(f, "%s", name);
}

static void fmt_mnemonic(Format *f) {
    const Insn *in = f->in;
    bool wide = in->opsize == 4;
    switch (f->row->lifter) {
    case ISA_LIFT_PUSH: case ISA_LIFT_POP: case ISA_LIFT_PUSHA: case ISA_LIFT_POPA:
    case ISA_LIFT_PUSHF: case ISA_LIFT_POPF: case ISA_LIFT_PUSH_SEG: case ISA_LIFT_POP_SEG:
    case ISA_LIFT_LEAVE: case ISA_LIFT_ENTER: case ISA_LIFT_RET: case ISA_LIFT_IRET:
    case ISA_LIFT_JMP: case ISA_LIFT_CALL: case ISA_LIFT_JMP_IND: case ISA_LIFT_CALL_IND:
    case ISA_LIFT_FPU_ENV:
        fmt_sized(f);
        break;
    case ISA_LIFT_JMP_FAR: case ISA_LIFT_CALL_FAR: case ISA_LIFT_RET_FAR: fmt_far(f); break;
    case ISA_LIFT_STRING: case ISA_LIFT_INSOUTS: fmt_string_mnemonic(f); break;
    case ISA_LIFT_LOOP: fmt_loop(f); break;
    case ISA_LIFT_JCXZ: fmt_put(f, in->addrsize == 4 ? "jecxz" : "jcxz"); break;
    case ISA_LIFT_CBW:
        fmt_put(f, "%s", f->att ? (wide ? "cwtl" : "cbtw") : wide ? "cwde" : "cbw");
        break;
    case ISA_LIFT_CWD:
        fmt_put(f, "%s", f->att ? (wide ? "cltd" : "cwtd") : wide ? "cdq" : "cwd");
        break;
    case ISA_LIFT_MOVX: fmt_movx(f); break;
    case ISA_LIFT_FPU: fmt_x87_register(f); break;
    case ISA_LIFT_SIMD: fmt_simd(f); break;
    case ISA_LIFT_FPU_MEM:
        fmt_put(f, "%s%s", f->row->mnemonic, f->att ? fmt_x87_suffix(f) : "");
        break;
    case ISA_LIFT_DESC:
        fmt_put(f, "%s", f->row->mnemonic);
        if (f->row->form[0] == ISA_O_Ms)
            fmt_put(f, "%c", wide ? (f->att ? 'l' : 'd') : 'w');
        break;
    default:
        if (f->att)
            fmt_att_general(f);
        else
            fmt_put(f, "%s", f->row->mnemonic);
    }
    if (fmt_is_hint(f))
        fmt_put(f, in->seg == 1 ? ",pn" : ",pt");
}

// --- Operands ------------------------------------------------------------------------------------

static void fmt_register(Format *f, unsigned reg, unsigned size) {
    if (size == 1)
        fmt_put(f, "%s%s", fmt_percent(f), fmt_names_8[reg]);
    else
        fmt_put(f, "%s%s%s", fmt_percent(f), size == 4 ? "e" : "", fmt_names_16[reg]);
}

static void fmt_signed(Format *f, u32 value, bool plus) {
    if (value >> 31)
        fmt_put(f, "-0x%x", -value);
    else
        fmt_put(f, "%s0x%x", plus ? "+" : "", value);
}

static void fmt_intel_size(Format *f, const IsaOperand *o, unsigned i) {
    IsaOperandCode code = f->row->form[i];
    bool lddqu = code == ISA_O_Mx && f->row->sub == ISA_SUB_UNALIGNED;
    if (code == ISA_O_Ob || code == ISA_O_Ov || code == ISA_O_Ms || lddqu)
        return;
    bool byte = f->row->sub == ISA_SUB_INVLPG || f->row->sub == ISA_SUB_CLFLUSH;
    unsigned size = byte ? 1 : o->size;
    switch (size) {
    case 1: fmt_put(f, "BYTE PTR "); break;
    case 2: fmt_put(f, "WORD PTR "); break;
    case 4: fmt_put(f, "DWORD PTR "); break;
    case 6: fmt_put(f, "FWORD PTR "); break;
    case 8: fmt_put(f, "QWORD PTR "); break;
    case 10: fmt_put(f, "TBYTE PTR "); break;
    case 16: fmt_put(f, "XMMWORD PTR "); break;
    }
}

typedef struct FormatAddress {
    bool has_sib, absolute, show_eiz, show_disp;
    u32 disp;
} FormatAddress;

static FormatAddress fmt_address(const Format *f, bool is_offset) {
    const Insn *in = f->in;
    unsigned mod = in->modrm >> 6;
    FormatAddress a = { .disp = in->addrsize == 4 ? in->disp : (u32)(i32)(i16)in->disp };
    a.has_sib = !is_offset && in->addrsize == 4 && (in->modrm & 7) == 4;
    if (!f->code32 && in->base == ISA_NO_REG && in->index == ISA_NO_REG && in->scale == 0)
        a.has_sib = false;      // "addr32" in front says enough
    a.absolute = in->base == ISA_NO_REG && !a.has_sib;
    a.show_eiz = a.has_sib && in->index == ISA_NO_REG && (in->base != 4 || in->scale);
    a.show_disp = mod || in->base == ISA_NO_REG;
    return a;
}

static void fmt_memory_att(Format *f, const FormatAddress *a) {
    const Insn *in = f->in;
    if (in->prefixes & ISA_SEGOVR)
        fmt_put(f, "%%%s:", fmt_names_seg[in->seg]);
    if (a->absolute) {
        fmt_put(f, "0x%x", trunc_size(a->disp, in->addrsize));
        return;
    }
    if (a->show_disp)
        fmt_signed(f, a->disp, false);
    fmt_put(f, "(");
    if (in->base != ISA_NO_REG)
        fmt_register(f, in->base, in->addrsize);
    if (in->index != ISA_NO_REG) {
        fmt_put(f, ",");
        fmt_register(f, in->index, in->addrsize);
    } else if (a->show_eiz) {
        fmt_put(f, ",%%eiz");
    }
    if (in->addrsize == 4 && (in->index != ISA_NO_REG || a->show_eiz))
        fmt_put(f, ",%u", 1u << in->scale);
    fmt_put(f, ")");
}

static void fmt_memory_intel(Format *f, const FormatAddress *a) {
    const Insn *in = f->in;
    bool scaled = in->index != ISA_NO_REG || a->show_eiz;
    if (in->prefixes & ISA_SEGOVR || a->absolute)
        fmt_put(f, "%s:", fmt_names_seg[in->seg]);
    if (a->absolute) {
        fmt_put(f, "0x%x", trunc_size(a->disp, in->addrsize));
        return;
    }
    fmt_put(f, "[");
    if (in->base != ISA_NO_REG)
        fmt_register(f, in->base, in->addrsize);
    if (scaled && in->base != ISA_NO_REG)
        fmt_put(f, "+");
    if (in->index != ISA_NO_REG)
        fmt_register(f, in->index, in->addrsize);
    else if (a->show_eiz)
        fmt_put(f, "eiz");
    if (in->addrsize == 4 && scaled)
        fmt_put(f, "*%u", 1u << in->scale);
    if (a->show_disp)
        fmt_signed(f, a->disp, true);
    fmt_put(f, "]");
}

static void fmt_memory(Format *f, const IsaOperand *o, unsigned i) {
    IsaOperandCode code = f->row->form[i];
    FormatAddress a = fmt_address(f, code == ISA_O_Ob || code == ISA_O_Ov);
    if (f->att) {
        fmt_memory_att(f, &a);
    } else {
        fmt_intel_size(f, o, i);
        fmt_memory_intel(f, &a);
    }
}

// [seg:reg] of string instructions and XLAT: always with its segment.
static void fmt_implicit(Format *f, unsigned seg, unsigned reg, unsigned size) {
    IsaOperand o = { .size = size };
    if (!f->att)
        fmt_intel_size(f, &o, 0);
    fmt_put(f, "%s%s:%c", fmt_percent(f), fmt_names_seg[seg], f->att ? '(' : '[');
    fmt_register(f, reg, f->in->addrsize);
    fmt_put(f, "%c", f->att ? ')' : ']');
}

static void fmt_general_register(Format *f, const IsaOperand *o, unsigned i) {
    const IsaRow *row = f->row;
    bool wide = row->form[0] == ISA_O_SwLoad || row->sub == ISA_SUB_LAR || row->sub == ISA_SUB_LSL;
    bool port = f->att && row->form[i] == ISA_O_DX;
    fmt_put(f, "%s", port ? "(" : "");
    fmt_register(f, o->high ? o->reg + 4u : o->reg, wide ? f->in->opsize : o->size);
    fmt_put(f, "%s", port ? ")" : "");
}

static void fmt_operand(Format *f, unsigned i) {
    const Insn *in = f->in;
    const IsaOperand *o = &in->op[i];
    const char *dollar = f->att ? "$" : "";
    switch ((IsaOperandKind)o->kind) {
    case ISA_REG: fmt_general_register(f, o, i); break;
    case ISA_SEG: fmt_put(f, "%s%s", fmt_percent(f), fmt_names_seg[o->reg]); break;
    case ISA_CR: fmt_put(f, "%scr%u", fmt_percent(f), o->reg); break;
    case ISA_DR: fmt_put(f, f->att ? "%%db%u" : "dr%u", o->reg); break;
    case ISA_MEM: fmt_memory(f, o, i); break;
    case ISA_IMM:
        fmt_put(f, "%s%s%x", dollar, f->row->form[i] == ISA_O_One ? "" : "0x", o->imm);
        break;
    case ISA_REL: fmt_put(f, "0x%x", trunc_size(f->eip + in->length + o->imm, in->opsize)); break;
    case ISA_FAR:
        fmt_put(f, "%s0x%x%s%s0x%x", dollar, in->imm2, f->att ? "," : ":", dollar, o->imm);
        break;
    case ISA_ST:
        fmt_put(f, "%sst", fmt_percent(f));
        if (f->row->form[i] == ISA_O_STi)
            fmt_put(f, "(%u)", o->reg);
        break;
    case ISA_MMX: fmt_put(f, "%smm%u", fmt_percent(f), o->reg); break;
    case ISA_XMM: fmt_put(f, "%sxmm%u", fmt_percent(f), o->reg); break;
    case ISA_STR_SRC: fmt_implicit(f, in->seg, 6, o->size); break;
    case ISA_STR_DST: fmt_implicit(f, 0, 7, o->size); break;
    case ISA_NONE: break;
    }
}

static bool fmt_is_indirect(const IsaRow *row, const IsaOperand *o) {
    switch (row->lifter) {
    case ISA_LIFT_JMP_IND: case ISA_LIFT_CALL_IND: return true;
    case ISA_LIFT_JMP_FAR: case ISA_LIFT_CALL_FAR: return o->kind == ISA_MEM;
    default: return false;
    }
}

// A shift by the constant 1 has no count in AT&T; a predicate's name replaces its number.
static unsigned fmt_shown_operands(const Format *f) {
    if (fmt_predicate(f))
        return 2;
    return f->att && f->row->form[1] == ISA_O_One ? 1 : f->in->operand_count;
}

static void fmt_operands(Format *f) {
    unsigned count = fmt_shown_operands(f);
    bool backwards = f->att && f->row->lifter != ISA_LIFT_BOUND && f->row->lifter != ISA_LIFT_ENTER;
    if (f->att && fmt_is_indirect(f->row, &f->in->op[0]))
        fmt_put(f, "*");
    for (unsigned n = 0; n < count; n++) {
        if (n)
            fmt_put(f, ",");
        fmt_operand(f, backwards ? count - 1 - n : n);
    }
    if (f->row->lifter == ISA_LIFT_XLAT)
        fmt_implicit(f, f->in->seg, 3, 1);
}

int isa_format(const Insn *in, u32 eip, IsaSyntax syntax, char *text, size_t text_bytes) {
    if (text_bytes == 0)
        return 0;
    Format f = { .in = in, .row = isa_row(in), .text = text, .text_bytes = text_bytes, .eip = eip,
                 .att = syntax == ISA_ATT };
    f.code32 = (in->addrsize == 4) != !!(in->prefixes & ISA_ADSIZE);
    text[0] = 0;
    fmt_prefixes(&f);
    fmt_mnemonic(&f);
    if (in->operand_count || f.row->lifter == ISA_LIFT_XLAT) {
        do
            fmt_put(&f, " ");
        while (f.at < 7 && f.at < text_bytes - 1);
        fmt_operands(&f);
    }
    return f.at;
}
