// SPDX-License-Identifier: MIT
// The decoder: bytes -> Insn, driven by the tables of rows.c.
//
// 1. No fetch checks a bound: fewer bytes than prefixes and fields can reach are copied into a buffer padded
//    with zeros. Afterwards the length that came out is compared with what was available and with 15: a
//    decision that looked at padding, or beyond 15 bytes, is never reported.
// 2. Nothing is decided by opcode here except prefixes and the 0F escape; what an instruction is made of stands in
//    its row.
#include "isa/isa_int.h"

enum {
    DEC_BUFFER_BYTES = 40,  // 15 prefixes, 0F, opcode, ModRM, SIB, disp32, two immediates
    DEC_SEG_SS = 2, DEC_SEG_DS = 3,
    DEC_BX = 3, DEC_SP = 4, DEC_BP = 5, DEC_SI = 6, DEC_DI = 7,
};

// Fields that most instructions need stay in registers, others are kept in *in.
typedef struct Decoder {
    const u8 *p;            // next byte
    Insn *in;
    unsigned size;          // 2 or 4: size of v and z operands
    unsigned shape;         // IsaShape of the row; ISA_SHAPE_BAD: it, or an operand of it, doesn't exist
    unsigned modrm;         // 0 when there is none
} Decoder;

// --- Prefixes ------------------------------------------------------------------------------------

// Prefix bytes: 0 none, 1-6 segment + 1, else the values below.
enum { DEC_66 = 8, DEC_67, DEC_F0, DEC_F2, DEC_F3 };
static const u8 dec_prefix[256] = {
    [0x26] = 1, [0x2e] = 2, [0x36] = 3, [0x3e] = 4, [0x64] = 5, [0x65] = 6,
    [0x66] = DEC_66, [0x67] = DEC_67, [0xf0] = DEC_F0, [0xf2] = DEC_F2, [0xf3] = DEC_F3,
};

// Reads prefixes: at most ISA_MAX_BYTES, then no instruction can be short enough any more. Gives the next byte.
static __attribute__((noinline)) const u8 *dec_prefixes(const u8 *p, Insn *in) {
    for (const u8 *end = p + ISA_MAX_BYTES; p < end && dec_prefix[*p]; p++) {
        unsigned kind = dec_prefix[*p];
        switch (kind) {
        case DEC_66: in->prefixes |= ISA_OPSIZE; break;
        case DEC_67: in->prefixes |= ISA_ADSIZE; break;
        case DEC_F0: in->prefixes |= ISA_LOCK; break;
        case DEC_F2: in->prefixes = (in->prefixes & ~ISA_REP) | ISA_REPNE; break;
        case DEC_F3: in->prefixes = (in->prefixes & ~ISA_REPNE) | ISA_REP; break;
        default:
            in->prefixes |= ISA_SEGOVR;
            in->seg = kind - 1;
        }
    }
    if (in->prefixes & ISA_ADSIZE) in->addrsize ^= 4 ^ 2;
    return p;
}

// --- Row -----------------------------------------------------------------------------------------

// Steps over prefixes and opcode and gives its entry of the index. Prefixes and 0F have none among one-byte opcodes.
static unsigned dec_opcode(Decoder *d) {
    unsigned byte = *d->p, entry = isa_index[byte];
    if (__builtin_expect(!entry, 0)) {
        unsigned map = 0;
        d->p = dec_prefixes(d->p, d->in);
        if (d->in->prefixes & ISA_OPSIZE) d->size ^= 4 ^ 2;
        if (*d->p == 0x0f) {
            d->p++;
            map = 256;
        }
        byte = *d->p;
        entry = isa_index[map + byte];
    }
    d->p++;
    d->in->opcode = byte;
    return entry;
}

// Finds the row of an opcode. ModRM, where one decides, is only looked at: it has one then.
static unsigned dec_find_row(Decoder *d, unsigned entry) {
    while (__builtin_expect(entry > ISA_INDEX_VALUE, 0)) {
        if (entry & ISA_IS_GROUP) {
            unsigned modrm = *d->p;
            unsigned form = modrm >= 0xc0 ? 1 + (modrm & 7) : 0;
            d->shape = ISA_SHAPE_MODRM;
            entry = isa_index[ISA_GROUP_BASE + (entry & ISA_INDEX_VALUE) * ISA_GROUP_CELLS
                              + (modrm >> 3 & 7) * 9 + form];
        } else {
            unsigned prefixes = d->in->prefixes;
            unsigned cell = prefixes & ISA_REP ? ISA_PREFIX_PF3
                          : prefixes & ISA_REPNE ? ISA_PREFIX_PF2
                          : prefixes & ISA_OPSIZE ? ISA_PREFIX_P66 : ISA_PREFIX_NP;
            entry = isa_index[ISA_SPLIT_BASE + (entry & ISA_INDEX_VALUE) * 4 + cell];
        }
    }
    return entry;
}

// The first row of an opcode. What it is fetched with, ModRM and immediates, it has whether or not the prefix or the
// digit at hand makes it an instruction: #UD comes after a page fault of those bytes.
static unsigned dec_first_row(Decoder *d, unsigned entry) {
    while (entry > ISA_INDEX_VALUE) {
        unsigned value = entry & ISA_INDEX_VALUE;
        bool group = entry & ISA_IS_GROUP;
        const u16 *cell = isa_index + (group ? ISA_GROUP_BASE + value * ISA_GROUP_CELLS : ISA_SPLIT_BASE + value * 4);
        while (!*cell) cell++;                                  // one is there, or there were no such opcode
        if (group) d->shape |= ISA_SHAPE_MODRM;
        entry = *cell;
    }
    return entry;
}

static const IsaRow *dec_row(Decoder *d) {
    unsigned entry = dec_opcode(d), number = dec_find_row(d, entry);
    const IsaRow *row = &isa_rows[number];
    d->in->row = number;
    d->shape |= row->shape;
    if (__builtin_expect(!(d->shape & ISA_SHAPE_BAD), 1)) return row;
    row = &isa_rows[dec_first_row(d, entry)];
    d->shape |= row->shape;
    return row;
}

// --- Memory operand ------------------------------------------------------------------------------

static u32 dec_disp8(Decoder *d) { return (u32)(i32)(i8)*d->p++; }
static u32 dec_16(Decoder *d) { u32 v = get_le16(d->p); d->p += 2; return v; }
static u32 dec_32(Decoder *d) { u32 v = get_le32(d->p); d->p += 4; return v; }
static u32 dec_z(Decoder *d) { return d->size == 4 ? dec_32(d) : dec_16(d); }
static u32 dec_z_signed(Decoder *d) { return d->size == 4 ? dec_32(d) : (u32)(i32)(i16)dec_16(d); }

static void dec_segment(Decoder *d, bool on_stack) {
    if (on_stack && !(d->in->prefixes & ISA_SEGOVR)) d->in->seg = DEC_SEG_SS;
}

static void dec_memory_16(Decoder *d) {
    static const u8 bases[8] = { DEC_BX, DEC_BX, DEC_BP, DEC_BP, DEC_SI, DEC_DI, DEC_BP, DEC_BX };
    static const u8 indexes[8] = { DEC_SI, DEC_DI, DEC_SI, DEC_DI,
                                   ISA_NO_REG, ISA_NO_REG, ISA_NO_REG, ISA_NO_REG };
    Insn *in = d->in;
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7;
    if (mod == 0 && rm == 6) {
        in->disp = (u32)(i32)(i16)dec_16(d);
        return;
    }
    in->base = bases[rm];
    in->index = indexes[rm];
    if (mod)
        in->disp = mod == 1 ? dec_disp8(d) : (u32)(i32)(i16)dec_16(d);
    dec_segment(d, in->base == DEC_BP);
}

static void dec_memory_32(Decoder *d) {
    Insn *in = d->in;
    unsigned mod = d->modrm >> 6, base = d->modrm & 7;
    if (base == DEC_SP) {
        unsigned sib = *d->p++;
        base = sib & 7;
        in->scale = sib >> 6;
        if ((sib >> 3 & 7) != DEC_SP)
            in->index = sib >> 3 & 7;
    }
    if (mod == 0 && base == DEC_BP) {
        in->disp = dec_32(d);
        return;
    }
    in->base = base;
    if (mod)
        in->disp = mod == 1 ? dec_disp8(d) : dec_32(d);
    dec_segment(d, base == DEC_SP || base == DEC_BP);
}

static void dec_modrm(Decoder *d) {
    d->modrm = d->in->modrm = *d->p++;
    if (d->modrm >= 0xc0 || d->shape & ISA_SHAPE_NO_MEM) return;
    if (d->in->addrsize == 4) dec_memory_32(d);
    else dec_memory_16(d);
}

// --- Operands ------------------------------------------------------------------------------------

static void dec_bad_if(Decoder *d, bool bad) {
    if (bad) d->shape |= ISA_SHAPE_BAD;
}

static void dec_put_reg(IsaOperand *o, unsigned reg, unsigned size) {
    o->kind = ISA_REG;
    o->size = size;
    o->reg = reg;
    if (size > 1) return;
    o->reg = reg & 3;
    o->high = reg >> 2;
}

static void dec_put(IsaOperand *o, unsigned kind, unsigned reg, unsigned size) {
    o->kind = kind;
    o->reg = reg;
    o->size = size;
}

static void dec_put_imm(IsaOperand *o, u32 value, unsigned size) {
    o->kind = ISA_IMM;
    o->size = size;
    o->imm = value;
}

static void dec_put_rm(Decoder *d, IsaOperand *o, unsigned register_size, unsigned memory_size) {
    if (d->modrm >= 0xc0)
        dec_put_reg(o, d->modrm & 7, register_size);
    else
        dec_put(o, ISA_MEM, 0, memory_size);
}

static void dec_put_mem(Decoder *d, IsaOperand *o, unsigned size) {
    dec_bad_if(d, d->modrm >= 0xc0);
    dec_put(o, ISA_MEM, 0, size);
}

static void dec_put_vector(Decoder *d, IsaOperand *o, IsaOperandKind kind, unsigned memory_size) {
    if (d->modrm >= 0xc0)
        dec_put(o, kind, d->modrm & 7, kind == ISA_MMX ? 8 : 16);
    else
        dec_put(o, ISA_MEM, 0, memory_size);
}

// ModRM.rm as a vector register, memory not allowed.
static void dec_put_vector_only(Decoder *d, IsaOperand *o, IsaOperandKind kind) {
    dec_bad_if(d, d->modrm < 0xc0);
    dec_put(o, kind, d->modrm & 7, kind == ISA_MMX ? 8 : 16);
}

static void dec_put_segment(Decoder *d, IsaOperand *o, unsigned seg, unsigned allowed) {
    dec_bad_if(d, !(allowed >> seg & 1));
    dec_put(o, ISA_SEG, seg, 2);
}

static void dec_put_offset(Decoder *d, IsaOperand *o, unsigned size) {
    d->in->disp = d->in->addrsize == 4 ? dec_32(d) : (u32)(i32)(i16)dec_16(d);
    dec_put(o, ISA_MEM, 0, size);
}

static void dec_put_far(Decoder *d, IsaOperand *o) {
    dec_put(o, ISA_FAR, 0, d->size + 2);
    o->imm = dec_z(d);
    d->in->imm2 = dec_16(d);
}

static void dec_put_rel(IsaOperand *o, u32 displacement, unsigned size) {
    dec_put(o, ISA_REL, 0, size);
    o->imm = displacement;
}

// Fills one operand of the row's form. One line per operand code.
static void dec_operand(Decoder *d, IsaOperand *o, unsigned code) {
    Insn *in = d->in;
    unsigned size = d->size, reg = d->modrm >> 3 & 7;
    switch ((IsaOperandCode)code) {
    case ISA_O_Eb: dec_put_rm(d, o, 1, 1); break;
    case ISA_O_Ew: dec_put_rm(d, o, 2, 2); break;
    case ISA_O_Ev: dec_put_rm(d, o, size, size); break;
    case ISA_O_RvMw: dec_put_rm(d, o, size, 2); break;
    case ISA_O_Gb: dec_put_reg(o, reg, 1); break;
    case ISA_O_Gw: dec_put_reg(o, reg, 2); break;
    case ISA_O_Gv: dec_put_reg(o, reg, size); break;
    case ISA_O_Rd: dec_put_reg(o, d->modrm & 7, 4); break;
    case ISA_O_Cd: dec_put(o, ISA_CR, reg, 4); dec_bad_if(d, !(0x1d >> reg & 1)); break;
    case ISA_O_Dd: dec_put(o, ISA_DR, reg, 4); break;
    case ISA_O_Sw: dec_put_segment(d, o, reg, 0x3f); break;
    case ISA_O_SwLoad: dec_put_segment(d, o, reg, 0x3d); break;
    case ISA_O_M: dec_put_mem(d, o, 0); break;
    case ISA_O_Mw: dec_put_mem(d, o, 2); break;
    case ISA_O_Md: dec_put_mem(d, o, 4); break;
    case ISA_O_Mq: dec_put_mem(d, o, 8); break;
    case ISA_O_Mt: dec_put_mem(d, o, 10); break;
    case ISA_O_Ma: dec_put_mem(d, o, size * 2); break;
    case ISA_O_Mp: dec_put_mem(d, o, size + 2); break;
    case ISA_O_Ms: dec_put_mem(d, o, 6); break;
    case ISA_O_Menv: dec_put_mem(d, o, size == 4 ? 28 : 14); break;
    case ISA_O_Msave: dec_put_mem(d, o, size == 4 ? 108 : 94); break;
    case ISA_O_Ed: dec_put_rm(d, o, 4, 4); break;
    case ISA_O_RdMw: dec_put_rm(d, o, 4, 2); break;
    case ISA_O_Gd: dec_put_reg(o, reg, 4); break;
    case ISA_O_Mx: dec_put_mem(d, o, 16); break;
    case ISA_O_Pq: dec_put(o, ISA_MMX, reg, 8); break;
    case ISA_O_Nq: dec_put_vector_only(d, o, ISA_MMX); break;
    case ISA_O_Qq: dec_put_vector(d, o, ISA_MMX, 8); break;
    case ISA_O_Qd: dec_put_vector(d, o, ISA_MMX, 4); break;
    case ISA_O_Vx: dec_put(o, ISA_XMM, reg, 16); break;
    case ISA_O_Ux: dec_put_vector_only(d, o, ISA_XMM); break;
    case ISA_O_Wx: dec_put_vector(d, o, ISA_XMM, 16); break;
    case ISA_O_Wq: dec_put_vector(d, o, ISA_XMM, 8); break;
    case ISA_O_Wd: dec_put_vector(d, o, ISA_XMM, 4); break;
    case ISA_O_STi: dec_put(o, ISA_ST, d->modrm & 7, 10); break;
    case ISA_O_ST0: dec_put(o, ISA_ST, 0, 10); break;
    case ISA_O_Zb: dec_put_reg(o, in->opcode & 7, 1); break;
    case ISA_O_Zv: dec_put_reg(o, in->opcode & 7, size); break;
    case ISA_O_AL: dec_put_reg(o, 0, 1); break;
    case ISA_O_AX: dec_put_reg(o, 0, 2); break;
    case ISA_O_eAX: dec_put_reg(o, 0, size); break;
    case ISA_O_CL: dec_put_reg(o, 1, 1); break;
    case ISA_O_DX: dec_put_reg(o, 2, 2); break;
    case ISA_O_One: dec_put_imm(o, 1, 1); break;
    case ISA_O_Ib: dec_put_imm(o, *d->p++, 1); break;
    case ISA_O_sIb: dec_put_imm(o, trunc_size(dec_disp8(d), size), size); break;
    case ISA_O_Iw: dec_put_imm(o, dec_16(d), 2); break;
    case ISA_O_Iz: case ISA_O_Iv: dec_put_imm(o, dec_z(d), size); break;
    case ISA_O_Jb: dec_put_rel(o, dec_disp8(d), 1); break;
    case ISA_O_Jz: dec_put_rel(o, dec_z_signed(d), size); break;
    case ISA_O_Ap: dec_put_far(d, o); break;
    case ISA_O_Ob: dec_put_offset(d, o, 1); break;
    case ISA_O_Ov: dec_put_offset(d, o, size); break;
    case ISA_O_ES: case ISA_O_CS: case ISA_O_SS: case ISA_O_DS: case ISA_O_FS: case ISA_O_GS:
        dec_put(o, ISA_SEG, code - ISA_O_ES, 2);
        break;
    case ISA_O_Xb: dec_put(o, ISA_STR_SRC, 0, 1); break;
    case ISA_O_Xv: dec_put(o, ISA_STR_SRC, 0, size); break;
    case ISA_O_Yb: dec_put(o, ISA_STR_DST, 0, 1); break;
    case ISA_O_Yv: dec_put(o, ISA_STR_DST, 0, size); break;
    default: __builtin_unreachable();
    }
}

static void dec_operands(Decoder *d, const IsaRow *row) {
    IsaOperand *o = d->in->op;
    for (u32 form = get_le32(row->form); form; form >>= 8)
        dec_operand(d, o++, form & 0xff);
}

// --- The whole -----------------------------------------------------------------------------------

static bool dec_may_be_locked(const Insn *in) {
    return isa_row(in)->attr & ISA_A_LOCKABLE && in->op[0].kind == ISA_MEM;
}

// Of bytes that no fetch leaves.
static IsaStatus dec_insn(const u8 *bytes, bool code32, Insn *out) {
    unsigned size = 2u << code32, length;
    Decoder d = { .p = bytes, .in = out, .size = size };
    *out = (Insn){ .addrsize = size, .seg = DEC_SEG_DS, .base = ISA_NO_REG, .index = ISA_NO_REG };
    __builtin_memcpy(out->bytes, bytes, ISA_MAX_BYTES);
    const IsaRow *row = dec_row(&d);
    out->opsize = d.shape & ISA_SHAPE_BYTE ? 1 : d.size;
    out->operand_count = row->operands;
    if (d.shape & ISA_SHAPE_MODRM) dec_modrm(&d);
    dec_operands(&d, row);
    length = out->length = d.p - bytes;
    if (length > ISA_MAX_BYTES) {
        out->length = ISA_MAX_BYTES;
        return ISA_TOO_LONG;
    }
    if (out->prefixes & ISA_LOCK) dec_bad_if(&d, !dec_may_be_locked(out));
    return d.shape & ISA_SHAPE_BAD ? ISA_UNDEFINED : ISA_OK;
}

static __attribute__((noinline)) IsaStatus dec_padded(const u8 *bytes, unsigned available, bool code32, Insn *out) {
    u8 buffer[DEC_BUFFER_BYTES] = { 0 };
    for (unsigned i = 0; i < available && i < ISA_MAX_BYTES; i++) buffer[i] = bytes[i];
    IsaStatus status = dec_insn(buffer, code32, out);
    if (available >= ISA_MAX_BYTES || out->length <= available) return status;
    out->length = 0;
    return ISA_NEED_MORE;
}

IsaStatus isa_decode(const u8 *bytes, unsigned available, bool code32, Insn *out) {
    if (available < DEC_BUFFER_BYTES) return dec_padded(bytes, available, code32, out);
    return dec_insn(bytes, code32, out);
}
