// SPDX-License-Identifier: MIT
// What random programs start from and work on: see gen_int.h.
#include "gen_int.h"

#include <string.h>

static Cpu *cpu_of(Case *c) { return machine_cpu(c->maker); }
static bool is_first(const Case *c) { return c->traced == 0; }
static u32 base_of(Case *c, unsigned seg) { return cpu_of(c)->seg[seg].base; }

// ---- the start ------------------------------------------------------------------------------------
static u16 random_segment(Case *c) {
    static const u16 list[] = { SEL_USER_DATA, SEL_USER_DATA, SEL(FLAT), SEL(BASED), SEL(DATA), SEL(DATA), SEL(LIMITED),
                                SEL(READONLY), SEL(DOWN), SEL(DOWN16), SEL(DATA16), SEL(CODE), 0 };
    return list[gen_below(c, ARRAY_LEN(list))];
}

static void arrange_segments(Case *c) {
    static const u16 code[] = { SEL_USER_CODE, SEL(CODE), SEL(EXECUTE) };
    static const u16 stack[] = { SEL_USER_DATA, SEL(FLAT), SEL(BASED), SEL(DATA), SEL(DATA16), SEL(DOWN) };
    u16 *s = c->start.seg;
    unsigned mode = gen_below(c, 8);
    for (unsigned i = 0; i < 6; i++) s[i] = SEL_USER_DATA;
    s[CPU_CS] = SEL_USER_CODE;
    if (mode < 4) {
        if (gen_one_in(c, 2)) s[CPU_FS] = s[CPU_GS] = 0;
        return;
    }
    bool narrow = mode >= 6;
    for (unsigned i = 0; i < 6; i++) s[i] = narrow && !gen_one_in(c, 4) ? SEL(DATA) : random_segment(c);
    s[CPU_CS] = narrow ? SEL(CODE16) : code[gen_below(c, ARRAY_LEN(code))];
    s[CPU_SS] = narrow && !gen_one_in(c, 4) ? SEL(DATA16) : stack[gen_below(c, ARRAY_LEN(stack))];
}

static u32 selector_base(u16 selector) { return selector & 4 ? area_segments[selector >> 3].base : 0; }

static void arrange_registers(Case *c) {
    State *s = &c->start;
    for (unsigned r = 0; r < 8; r++) s->regs[r] = gen_int(c);
    u32 esp = STACK_HIGH - 0x100 - gen_below(c, 0x1000);
    if (gen_one_in(c, 12)) esp = STACK_LOW + gen_below(c, 3) * 0x1000 - 40 + gen_below(c, 80);
    if (!gen_one_in(c, 8)) esp &= ~3u;
    s->regs[CPU_ESP] = esp - selector_base(s->seg[CPU_SS]);
    if (s->seg[CPU_SS] == SEL(DATA16) && gen_one_in(c, 2)) s->regs[CPU_ESP] |= gen_u32(c) & 0xffff0000;
    if (gen_one_in(c, 2)) s->regs[CPU_EBP] = s->regs[CPU_ESP] + 16;
    s->eflags = (gen_u32(c) & FLAG_OSZAPC) | FLAG_IF | 2;
    if (gen_one_in(c, 6)) s->eflags |= FLAG_DF;
    if (gen_one_in(c, 16)) s->eflags |= FLAG_AC;
    if (gen_one_in(c, 16)) s->eflags |= FLAG_ID;
    u32 at = gen_below(c, 0xf00);
    if (gen_one_in(c, 4)) at = 0x1000 - 1 - gen_below(c, 24);
    else if (gen_one_in(c, 8)) at = CODE_BYTES - 1 - gen_below(c, 30);
    s->eip = AREA + at - selector_base(s->seg[CPU_CS]);
}

// The same for all cases; what a case needs is put over it.
static const u8 *pristine(void) {
    static u8 image[AREA_BYTES];
    u64 random = 1;
    if (image[DATA_LOW]) return image;
    memset(image, 0xcc, CODE_BYTES);
    for (u32 i = DATA_LOW; i < DATA_HIGH; i += 4) put_le32(image + i, random_int(&random));
    image[DATA_LOW] = 1;
    return image;
}

void gen_arrange(Case *c) {
    memcpy(c->image, pristine(), sizeof c->image);
    memset(&c->start, 0, sizeof c->start);
    arrange_segments(c);
    arrange_registers(c);
    random_fx(&c->random, &c->start.fx);
    if (gen_one_in(c, 2)) {
        FxImage *fx = &c->start.fx;
        put_le16(fx->byte + FX_CW, 0x37f);
        put_le16(fx->byte + FX_SW, get_le16(fx->byte + FX_SW) & 0x7f00);
        put_le32(fx->byte + FX_MXCSR, 0x1f80);
    }
}

// ---- left out -------------------------------------------------------------------------------------
// INT 0x80 is a call of the host's kernel; INT 2C.. others are #GP there as here. Far pointers are drawn, so the
// selectors in the instruction are, too.
bool gen_is_left_out(const Insn *in) {
    const IsaRow *row = isa_row(in);
    if (row->sub == ISA_SUB_INT) return in->op[0].imm == 0x80;
    return row->lifter == ISA_LIFT_LOOP && in->prefixes & (ISA_REP | ISA_REPNE);     // reserved, and they differ
}

// ---- implied registers ----------------------------------------------------------------------------
static u32 data_address(Case *c, u32 bytes, GenWish wish) {
    static const u16 whole[] = { 0x3000, 0x4000, 0x6000, 0x7000, 0xa000 };
    u32 at = whole[gen_below(c, ARRAY_LEN(whole))] + gen_below(c, 0x1000 - bytes);
    u32 kind = wish == GEN_PRESENT ? 0 : wish == GEN_MISSING ? 40 + gen_below(c, 8) : gen_below(c, 64);
    if (kind < 36) return AREA + (gen_one_in(c, 3) ? at : at & ~15u);
    u32 inside = bytes > 1 ? 1 + gen_below(c, bytes - 1) : 0;           // bytes before the border
    switch (kind) {
    case 36: case 37: case 38: return AREA + 0x4000 - inside;           // data and data
    case 39: return AREA + 0x7000 - inside;
    case 40: case 41: case 42: return AREA + 0x5000 - inside;           // data, then missing
    case 43: return AREA + 0x8000 - inside;
    case 44: return AREA + 0x6000 - inside;                             // missing, then data
    case 45: return AREA + 0xc000 - inside;                             // read-only, then missing
    case 46: return AREA + 0x5000 + gen_below(c, 0x1000 - bytes);
    case 47: return AREA + 0x2000 - inside;
    case 48: return AREA + 0x9000 + gen_below(c, 0x1000 - bytes);       // read-only
    case 49: return AREA + 0xa000 - inside;                             // read-only, then data
    case 50: case 51: return AREA + 0xb000 - inside;                    // data, then read-only
    case 52: return gen_int(c);
    default: return AREA + (gen_one_in(c, 2) ? at : at & ~3u);
    }
}

// At the end of the segment, or of what it may hold.
static u32 limit_offset(Case *c, unsigned seg, u32 bytes) {
    const CpuSeg *s = &cpu_of(c)->seg[seg];
    return s->limit + 1 - bytes + gen_below(c, 2 * bytes + 1);
}

// An offset in the segment for an operand of so many bytes.
static u32 operand_offset(Case *c, unsigned seg, u32 bytes, GenWish wish) {
    const CpuSeg *s = &cpu_of(c)->seg[seg];
    if (bytes == 0) bytes = 1;
    if (s->limit != 0xffffffff && wish == GEN_ANYWHERE && gen_one_in(c, 8)) return limit_offset(c, seg, bytes);
    return data_address(c, bytes, wish) - s->base;
}

static void prepare_string(Case *c, const Insn *in) {
    const IsaRow *row = isa_row(in);
    u32 mask = in->addrsize == 2 ? 0xffff : 0xffffffff, size = in->opsize;
    u32 si = operand_offset(c, in->seg, size, GEN_ANYWHERE), di = operand_offset(c, CPU_ES, size, GEN_ANYWHERE);
    bool repeated = in->prefixes & (ISA_REP | ISA_REPNE);
    u32 n = gen_one_in(c, 20) ? 0x2000 : gen_below(c, 24);
    u32 high = mask == 0xffff && gen_one_in(c, 2) ? gen_u32(c) & 0xffff0000 : 0;
    if (repeated) gen_set_reg(c, CPU_ECX, n | high);
    gen_set_reg(c, CPU_ESI, (si & mask) | high);
    gen_set_reg(c, CPU_EDI, (di & mask) | high);
    bool compares = row->sub == ISA_SUB_CMPS || row->sub == ISA_SUB_SCAS;
    if (!compares || !gen_one_in(c, 2)) return;
    u32 value = gen_int(c), count = min_u32(repeated ? gen_below(c, n + 2) : 1, 40);
    if (row->sub == ISA_SUB_SCAS) gen_set_reg(c, CPU_EAX, value);
    for (u32 i = 0; i < count; i++) {
        u32 step = (cpu_of(c)->eflags & FLAG_DF ? 0u - i : i) * size;
        gen_poke(c, base_of(c, CPU_ES) + (di & mask) + step, &value, size);
        if (row->sub == ISA_SUB_CMPS) gen_poke(c, base_of(c, in->seg) + (si & mask) + step, &value, size);
    }
}

static void prepare_division(Case *c, const Insn *in) {
    static const u32 high[] = { 0, 0, 0, 1, 0xffffffff, 0x80000000 };
    if (gen_one_in(c, 3)) return;
    if (gen_one_in(c, 3)) {                          // INT_MIN by -1
        gen_set_reg(c, CPU_EAX, in->opsize == 1 ? 0x8000 : in->opsize == 2 ? 0 : 0);
        gen_set_reg(c, CPU_EDX, in->opsize == 2 ? 0x8000 : 0x80000000);
        return;
    }
    u32 eax = gen_int(c);
    gen_set_reg(c, CPU_EAX, eax);
    gen_set_reg(c, CPU_EDX, gen_one_in(c, 2) ? 0u - (eax >> 31) : high[gen_below(c, ARRAY_LEN(high))]);
}

static u32 shift_count(Case *c) {
    static const u8 counts[] = { 0, 1, 2, 7, 8, 9, 15, 16, 17, 18, 24, 25, 31, 32, 33, 63, 64, 128, 255 };
    return gen_one_in(c, 4) ? gen_u32(c) & 0xff : counts[gen_below(c, ARRAY_LEN(counts))];
}

static bool reads_memory(const Insn *in) {
    for (unsigned i = 0; i < in->operand_count; i++) if (in->op[i].kind == ISA_MEM) return true;
    return false;
}

static void prepare_bits(Case *c, const Insn *in) {
    const IsaOperand *bit = &in->op[1];
    if (bit->kind != ISA_REG || !reads_memory(in) || bit->reg == CPU_ESP || gen_one_in(c, 16)) return;
    gen_set_reg(c, bit->reg, gen_below(c, 2048) - 1024 + (in->opsize == 2 ? gen_u32(c) & 0xffff0000 : 0));
}

static u16 random_selector(Case *c) {
    static const u16 odd[] = { 0, 1, 2, 3, SEL_USER_CODE, SEL_USER_DATA, SEL_USER_DATA & ~3, SEL_LDT(SEGMENT_COUNT),
                               0x1237, 0xffff, 0xfffb, 0xfc };
    if (gen_one_in(c, 3)) return odd[gen_below(c, ARRAY_LEN(odd))];
    u16 s = SEL_LDT(gen_below(c, SEGMENT_COUNT));
    return (u16)(gen_one_in(c, 6) ? s & ~gen_below(c, 4) : s);
}

static bool takes_selector(const Insn *in) {
    switch (isa_row(in)->sub) {
    case ISA_SUB_LAR: case ISA_SUB_LSL: case ISA_SUB_VERR: case ISA_SUB_VERW: case ISA_SUB_ARPL: case ISA_SUB_LLDT:
    case ISA_SUB_LTR: return true;
    default: return isa_row(in)->lifter == ISA_LIFT_MOV_SEG && in->op[0].kind == ISA_SEG;
    }
}

// The source of an instruction that wants a selector.
static const IsaOperand *selector_operand(const Insn *in) {
    return &in->op[in->operand_count > 1 && isa_row(in)->sub != ISA_SUB_ARPL ? 1 : 0];
}

static void prepare_enter(Case *c, const Insn *in) {
    (void)in;
    if (!gen_one_in(c, 6)) gen_set_reg(c, CPU_EBP, cpu_of(c)->regs[CPU_ESP] + gen_below(c, 64) * 4);
}

// A register holds the address of the instruction after this one, in front of which its MOV may come.
static void prepare_target(Case *c, const Insn *in) {
    u32 mov = is_first(c) ? 0 : gen_is_code32(c) ? 5 : 6;
    gen_set_reg(c, in->op[0].reg, gen_here(c) + mov + in->length - base_of(c, CPU_CS));
}

bool gen_prepare(Case *c, const Insn *in) {
    const IsaRow *row = isa_row(in);
    if (row->attr & ISA_A_STRING) prepare_string(c, in);
    switch (row->lifter) {
    case ISA_LIFT_MUL1:
        if (row->sub == ISA_SUB_DIV || row->sub == ISA_SUB_IDIV) prepare_division(c, in);
        break;
    case ISA_LIFT_SHIFT: case ISA_LIFT_SHIFTD:
        if (in->op[in->operand_count - 1].kind == ISA_REG)
            gen_set_reg(c, CPU_ECX, (gen_u32(c) & 0xffffff00) | shift_count(c));
        break;
    case ISA_LIFT_BT: prepare_bits(c, in); break;
    case ISA_LIFT_ENTER: prepare_enter(c, in); break;
    case ISA_LIFT_LEAVE: prepare_enter(c, in); break;
    case ISA_LIFT_LOOP: case ISA_LIFT_JCXZ:
        if (gen_one_in(c, 2)) gen_set_reg(c, CPU_ECX, gen_below(c, 3));
        break;
    case ISA_LIFT_XLAT: gen_set_reg(c, CPU_EBX, operand_offset(c, in->seg, 256, GEN_ANYWHERE)); break;
    case ISA_LIFT_CMPXCHG8B:
        if (gen_one_in(c, 2)) gen_set_reg(c, CPU_EDX, gen_int(c));
        break;
    default: break;
    }
    if (row->sub == ISA_SUB_MASKMOV)
        gen_set_reg(c, CPU_EDI, operand_offset(c, in->seg, in->op[0].kind == ISA_XMM ? 16 : 8, GEN_ANYWHERE));
    const IsaOperand *source = selector_operand(in);
    if (takes_selector(in) && source->kind == ISA_REG && source->reg != CPU_ESP)
        gen_set_reg(c, source->reg, (gen_u32(c) & 0xffff0000) | random_selector(c));
    if (takes_selector(in) && source->reg == CPU_ESP && source->kind == ISA_REG) return false;
    bool indirect = row->lifter == ISA_LIFT_JMP_IND || row->lifter == ISA_LIFT_CALL_IND;
    if (indirect && in->op[0].kind == ISA_REG) prepare_target(c, in);
    return true;
}

// ---- placing --------------------------------------------------------------------------------------
static u32 memory_bytes(const Insn *in) {
    for (unsigned i = 0; i < in->operand_count; i++)
        if (in->op[i].kind == ISA_MEM) {
            if (in->op[i].size) return in->op[i].size;
            return isa_row(in)->sub == ISA_SUB_FXSAVE || isa_row(in)->sub == ISA_SUB_FXRSTOR ? 512 : 1;
        }
    return 1;
}

static u32 sum_registers(Case *c, const Insn *in) {
    const u32 *regs = cpu_of(c)->regs;
    u32 sum = in->base == ISA_NO_REG ? 0 : regs[in->base];
    return sum + (in->index == ISA_NO_REG ? 0 : regs[in->index] << in->scale);
}

// Before the first instruction the base register may be made to fit the displacement that was drawn.
static bool place_by_register(Case *c, const Insn *in, u32 offset) {
    if (!is_first(c) || in->base == ISA_NO_REG || in->base == CPU_ESP || in->base == in->index) return false;
    if (c->pinned >> in->base & 1 || gen_one_in(c, 3)) return false;
    u32 rest = offset - in->disp;
    if (in->index != ISA_NO_REG) rest -= cpu_of(c)->regs[in->index] << in->scale;
    u32 high = in->addrsize == 2 ? gen_u32(c) & 0xffff0000 : 0;
    gen_set_reg(c, in->base, in->addrsize == 2 ? (rest & 0xffff) | high : rest);
    return true;
}

// Else a displacement of full size is written.
static void place_by_displacement(Case *c, u8 *modrm, const Insn *in, u32 offset) {
    unsigned size = in->addrsize, absolute = size == 4 ? 5 : 6;
    if (gen_one_in(c, 3) || in->base == ISA_NO_REG) {
        *modrm = (u8)((*modrm & 0x38) | absolute);
        if (size == 4) put_le32(modrm + 1, offset);
        else put_le16(modrm + 1, (u16)offset);
        return;
    }
    *modrm = (u8)((*modrm & 0x3f) | 0x80);
    bool sib = size == 4 && (*modrm & 7) == 4;
    u32 disp = offset - sum_registers(c, in);
    if (size == 4) put_le32(modrm + 1 + sib, disp);
    else put_le16(modrm + 1, (u16)disp);
}

static bool is_moffs(const Insn *in) {
    return in->opcode >= 0xa0 && in->opcode <= 0xa3 && isa_row(in)->lifter == ISA_LIFT_MOV;
}

static bool wants_alignment(const Insn *in) {
    const IsaRow *row = isa_row(in);
    if (row->sub == ISA_SUB_FXSAVE || row->sub == ISA_SUB_FXRSTOR) return true;
    return row->attr & ISA_A_SSE && memory_bytes(in) == 16 && row->sub != ISA_SUB_UNALIGNED;
}

bool gen_place(Case *c, u8 *bytes, unsigned modrm_at, const Insn *in, GenWish wish) {
    if (!reads_memory(in)) return true;
    u32 offset = operand_offset(c, in->seg, memory_bytes(in), wish);
    if (wants_alignment(in) && !gen_one_in(c, 10)) offset -= (offset + base_of(c, in->seg)) & 15;
    if (is_moffs(in)) {
        if (in->addrsize == 4) put_le32(bytes + modrm_at, offset);
        else put_le16(bytes + modrm_at, (u16)offset);
        return in->addrsize == 4 || offset < 0x10000 || gen_one_in(c, 8);
    }
    if (in->addrsize == 2 && offset >= 0x10000 && !gen_one_in(c, 8)) return false;
    if (place_by_register(c, in, offset)) return true;
    place_by_displacement(c, bytes + modrm_at, in, offset);
    return true;
}

void gen_fix_immediate(Case *c, u8 *bytes, const Insn *in) {
    const IsaRow *row = isa_row(in);
    u8 *last = bytes + in->length - 1;
    const IsaOperand *o = &in->op[in->operand_count - !!in->operand_count];
    if (in->operand_count == 0) return;
    bool shift = row->lifter == ISA_LIFT_SHIFT || row->lifter == ISA_LIFT_SHIFTD;
    if (shift && o->kind == ISA_IMM && in->opcode != 0xd0 && in->opcode != 0xd1) *last = (u8)shift_count(c);
    if (row->lifter == ISA_LIFT_BCD && gen_one_in(c, 2)) *last = gen_one_in(c, 4) ? 0 : 10;
    if (row->lifter == ISA_LIFT_ENTER) {
        put_le16(last - 2, (u16)(gen_one_in(c, 6) ? gen_u32(c) : gen_below(c, 64)));
        *last = (u8)(gen_one_in(c, 2) ? 0 : gen_one_in(c, 4) ? gen_u32(c) : gen_below(c, 4));
    }
    if (row->lifter == ISA_LIFT_RET || row->lifter == ISA_LIFT_RET_FAR)
        if (!gen_one_in(c, 8)) put_le16(last - 1, (u16)gen_below(c, 64));
    if (o->kind != ISA_IMM || in->opsize != 4 || o->size != 4 || !gen_one_in(c, 2) || shift) return;
    if (row->lifter == ISA_LIFT_ALU || row->lifter == ISA_LIFT_TEST || row->lifter == ISA_LIFT_MOV)
        if (in->opcode != 0x83 && in->opcode != 0x6b) put_le32(last - 3, gen_int(c));
}

// ---- filling --------------------------------------------------------------------------------------
typedef struct Buffer { u8 byte[512]; u32 count; } Buffer;

static void fill_x87(Case *c, const Insn *in, Buffer *b) {
    bool integer = in->opcode & 2;                    // DA, DB, DE, DF; but DB /5 and DF /4
    switch (memory_bytes(in)) {
    case 2: put_le16(b->byte, (u16)gen_int(c)); break;
    case 4: put_le32(b->byte, integer ? gen_int(c) : random_float(&c->random)); break;
    case 8:
        put_le64(b->byte, random_double(&c->random));
        if (integer) { put_le32(b->byte, gen_int(c)); put_le32(b->byte + 4, gen_int(c)); }
        break;
    default:
        if (in->opcode == 0xdf) random_bcd(&c->random, b->byte);
        else random_extended(&c->random, b->byte);
    }
}

static void fill_simd(Case *c, Buffer *b) {
    unsigned kind = gen_below(c, 4);
    for (u32 i = 0; i < 16; i += 8) {
        put_le64(b->byte + i, random_double(&c->random));
        if (kind >= 2) {
            put_le32(b->byte + i, kind == 2 ? gen_int(c) : random_float(&c->random));
            put_le32(b->byte + i + 4, kind == 2 ? gen_int(c) : random_float(&c->random));
        }
    }
}

// Environment or whole state, 16 or 32 bits.
static void fill_environment(Case *c, const Insn *in, Buffer *b) {
    u32 word = in->opsize, registers = 7 * word;
    for (u32 i = 0; i < registers; i += 2) put_le16(b->byte + i, (u16)gen_u32(c));
    put_le16(b->byte, random_control_word(&c->random));
    if (!gen_one_in(c, 3)) put_le16(b->byte + word, (u16)(gen_u32(c) & 0x7f00));
    if (gen_one_in(c, 2)) put_le16(b->byte + 2 * word, gen_one_in(c, 2) ? 0 : 0xffff);
    for (u32 i = registers; i < b->count; i += 10) random_extended(&c->random, b->byte + i);
}

static void fill_image(Case *c, Buffer *b) {
    FxImage fx;
    random_fx(&c->random, &fx);
    if (gen_one_in(c, 8)) put_le32(fx.byte + FX_MXCSR, 1u << (16 + gen_below(c, 16)));
    memcpy(b->byte, fx.byte, 512);
}

// A far pointer: where code goes on, or a selector that does not lead anywhere.
static void fill_far(Case *c, const Insn *in, Buffer *b, u32 target) {
    u16 selector = random_selector(c);
    u32 offset = gen_int(c);
    if (gen_one_in(c, 2)) {
        static const u16 code[] = { SEL_USER_CODE, SEL(CODE), SEL(CODE16), SEL(EXECUTE) };
        selector = code[gen_below(c, ARRAY_LEN(code))];
        offset = target - selector_base(selector);
    }
    if (in->opsize == 4) put_le32(b->byte, offset);
    else put_le16(b->byte, (u16)offset);
    put_le16(b->byte + in->opsize, selector);
}

// The value of EAX, or of EDX:EAX, so that the comparison succeeds.
static void fill_equal(Case *c, Buffer *b) {
    put_le32(b->byte, cpu_of(c)->regs[CPU_EAX]);
    put_le32(b->byte + 4, cpu_of(c)->regs[CPU_EDX]);
}

static void fill_bounds(Case *c, const Insn *in, Buffer *b) {
    u32 index = cpu_of(c)->regs[in->op[0].reg], low = index - gen_below(c, 3), high = index + gen_below(c, 3);
    if (gen_one_in(c, 6)) low = gen_int(c);
    if (gen_one_in(c, 6)) high = gen_int(c);
    if (in->opsize == 4) { put_le32(b->byte, low); put_le32(b->byte + 4, high); }
    else { put_le16(b->byte, (u16)low); put_le16(b->byte + 2, (u16)high); }
}

static void fill_buffer(Case *c, const Insn *in, Buffer *b, u32 target) {
    const IsaRow *row = isa_row(in);
    for (u32 i = 0; i < b->count || i < 16; i += 4) put_le32(b->byte + i, gen_int(c));
    switch (row->lifter) {
    case ISA_LIFT_FPU_MEM: fill_x87(c, in, b); break;
    case ISA_LIFT_SIMD: fill_simd(c, b); break;
    case ISA_LIFT_FPU_ENV: fill_environment(c, in, b); break;
    case ISA_LIFT_FPU_CTL: put_le16(b->byte, random_control_word(&c->random)); break;
    case ISA_LIFT_SIMD_CTL:
        if (row->sub == ISA_SUB_FXRSTOR) fill_image(c, b);
        else if (b->count == 4)
            put_le32(b->byte, gen_one_in(c, 6) ? 1u << (16 + gen_below(c, 16)) : random_mxcsr(&c->random));
        if (b->count == 4 && get_le32(b->byte) == BIT(17)) put_le32(b->byte, 0);
        break;
    case ISA_LIFT_CMPXCHG: case ISA_LIFT_CMPXCHG8B: if (gen_one_in(c, 2)) fill_equal(c, b); break;
    case ISA_LIFT_BOUND: fill_bounds(c, in, b); break;
    case ISA_LIFT_LDS: case ISA_LIFT_JMP_FAR: case ISA_LIFT_CALL_FAR: fill_far(c, in, b, target); break;
    case ISA_LIFT_JMP_IND: case ISA_LIFT_CALL_IND: put_le32(b->byte, target - base_of(c, CPU_CS)); break;
    default: break;
    }
    if (takes_selector(in)) put_le16(b->byte, random_selector(c));
    if (b->count == 512 && get_le32(b->byte + FX_MXCSR) & BIT(17)) put_le32(b->byte + FX_MXCSR, 0x1f80);
}

u32 gen_memory_at(Case *c, const Insn *in) {
    u32 offset = sum_registers(c, in) + in->disp;
    return base_of(c, in->seg) + (in->addrsize == 2 ? offset & 0xffff : offset);
}

static void fill_memory(Case *c, const Insn *in, u32 target) {
    Buffer b = { .count = memory_bytes(in) };
    if (!reads_memory(in)) return;
    u32 at = gen_memory_at(c, in);
    fill_buffer(c, in, &b, target);
    gen_corner_memory(c, in, b.byte, b.count);
    gen_poke(c, at, b.byte, b.count);
    if (isa_row(in)->sub == ISA_SUB_FXSAVE && c->fx_images < ARRAY_LEN(c->fx_image)) c->fx_image[c->fx_images++] = at;
}

// What POPF and IRET may set: not NT, which long mode treats in its own way; the trap flag seldom.
static u32 random_eflags(Case *c) {
    u32 flags = gen_u32(c) & ~(FLAG_TF | FLAG_NT);
    if (gen_one_in(c, 6)) flags |= FLAG_TF;
    return gen_one_in(c, 4) ? flags : flags & ~FLAG_AC;
}

static void fill_stack(Case *c, const Insn *in, u32 target) {
    const IsaRow *row = isa_row(in);
    u32 top = gen_stack(c), size = in->opsize;
    Buffer b = { 0 };
    switch (row->lifter) {
    case ISA_LIFT_POPF: put_le32(b.byte, random_eflags(c)); b.count = size; break;
    case ISA_LIFT_RET: put_le32(b.byte, target - base_of(c, CPU_CS)); b.count = size; break;
    case ISA_LIFT_POP_SEG: put_le16(b.byte, random_selector(c)); b.count = 2; break;
    case ISA_LIFT_RET_FAR: case ISA_LIFT_IRET: {
        fill_far(c, in, &b, target);
        u16 selector = get_le16(b.byte + size);
        put_le32(b.byte + size, selector);
        put_le32(b.byte + 2 * size, random_eflags(c));
        b.count = 3 * size;
        break;
    }
    default: return;
    }
    gen_poke(c, top, b.byte, b.count);
}

static void put_displacement(u8 *bytes, const Insn *in, u32 rel) {
    const IsaOperand *o = &in->op[0];
    unsigned size = o->size == 1 ? 1 : in->opsize;
    if (size == 1) bytes[in->length - 1] = (u8)rel;
    else if (size == 2) put_le16(bytes + in->length - 2, (u16)rel);
    else put_le32(bytes + in->length - 4, rel);
}

// One-byte instructions that a jump goes over; put behind the instruction that is about to be written.
static u32 put_gap(Case *c, u8 *bytes, const Insn *in) {
    static const u8 fillers[] = { 0x90, 0x41, 0x40, 0xfc, 0xf9 };
    u32 n = gen_below(c, 4);
    for (u32 i = 0; i < n; i++) bytes[in->length + i] = fillers[gen_below(c, ARRAY_LEN(fillers))];
    return n;
}

static void fill_pointer(Case *c, u8 *bytes, const Insn *in, u32 target) {
    Buffer b = { 0 };
    fill_far(c, in, &b, target);
    memcpy(bytes + in->length - in->opsize - 2, b.byte, in->opsize + 2);
}

u32 gen_fill(Case *c, u8 *bytes, const Insn *in) {
    const IsaRow *row = isa_row(in);
    u32 target = gen_here(c) + in->length, gap = 0;
    bool near = row->attr & ISA_A_JUMP;
    bool far = row->lifter == ISA_LIFT_JMP_FAR || row->lifter == ISA_LIFT_CALL_FAR;
    if (near && in->op[0].kind == ISA_REL) {
        gap = put_gap(c, bytes, in);
        put_displacement(bytes, in, gen_one_in(c, 30) ? gen_int(c) : gap);
    }
    if (far && in->op[0].kind == ISA_FAR) fill_pointer(c, bytes, in, target);
    fill_memory(c, in, target);
    fill_stack(c, in, target);
    return gap;
}
