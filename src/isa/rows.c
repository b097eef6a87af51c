// SPDX-License-Identifier: MIT
// i386.def turned into two constant tables: the rows, and the index from opcode bytes to rows.
//
// Nothing here is computed at run time. Rows that claim the same encoding collide in the index and
// give -Woverride-init; a G or P row whose opcode isa_int.h doesn't list does not compile at all.
#include "isa/isa_int.h"

// --- Rows ----------------------------------------------------------------------------------------

// Flag columns: one constant per combination that i386.def uses.
enum {
    ROW_FLAGS__ = 0,
    ROW_FLAGS_O = FLAG_OF,
    ROW_FLAGS_S = FLAG_SF,
    ROW_FLAGS_Z = FLAG_ZF,
    ROW_FLAGS_A = FLAG_AF,
    ROW_FLAGS_P = FLAG_PF,
    ROW_FLAGS_C = FLAG_CF,
    ROW_FLAGS_OS = FLAG_OF | FLAG_SF,
    ROW_FLAGS_OA = FLAG_OF | FLAG_AF,
    ROW_FLAGS_OC = FLAG_OF | FLAG_CF,
    ROW_FLAGS_ZC = FLAG_ZF | FLAG_CF,
    ROW_FLAGS_AC = FLAG_AF | FLAG_CF,
    ROW_FLAGS_OSZ = FLAG_OF | FLAG_SF | FLAG_ZF,
    ROW_FLAGS_OAC = FLAG_OF | FLAG_AF | FLAG_CF,
    ROW_FLAGS_SZP = FLAG_SF | FLAG_ZF | FLAG_PF,
    ROW_FLAGS_OSZP = ROW_FLAGS_SZP | FLAG_OF,
    ROW_FLAGS_OSAP = FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF,
    ROW_FLAGS_SZAP = ROW_FLAGS_SZP | FLAG_AF,
    ROW_FLAGS_SZPC = ROW_FLAGS_SZP | FLAG_CF,
    ROW_FLAGS_OSZAP = FLAG_OSZAP,
    ROW_FLAGS_OSZPC = ROW_FLAGS_SZPC | FLAG_OF,
    ROW_FLAGS_OSAPC = ROW_FLAGS_OSAP | FLAG_CF,
    ROW_FLAGS_SZAPC = FLAG_SZAPC,
    ROW_FLAGS_OSZAPC = FLAG_OSZAPC,
};

#define NEEDS_MODRM(code) ((code) != ISA_O_ && (code) <= ISA_O_MODRM_LAST)
#define IS_BYTE(code) \
    ((code) == ISA_O_Eb || (code) == ISA_O_Gb || (code) == ISA_O_Zb || (code) == ISA_O_AL || \
     (code) == ISA_O_Ob || (code) == ISA_O_Xb || (code) == ISA_O_Yb)
#define SHAPE(a, b, c, d) \
    ((NEEDS_MODRM(a) || NEEDS_MODRM(b) || NEEDS_MODRM(c) || NEEDS_MODRM(d) \
      ? ISA_SHAPE_MODRM : 0) | \
     (IS_BYTE(a) || (b) == ISA_O_AL || (b) == ISA_O_Xb ? ISA_SHAPE_BYTE : 0) | \
     ((a) == ISA_O_Rd || (b) == ISA_O_Rd ? ISA_SHAPE_NO_MEM : 0))
#define FORM_4(a, b, c, d, ...) \
    .form = { ISA_O_##a, ISA_O_##b, ISA_O_##c, ISA_O_##d }, \
    .operands = (ISA_O_##a != ISA_O_) + (ISA_O_##b != ISA_O_) + (ISA_O_##c != ISA_O_) + (ISA_O_##d != ISA_O_), \
    .shape = SHAPE(ISA_O_##a, ISA_O_##b, ISA_O_##c, ISA_O_##d)
#define FORM(...) FORM_4(__VA_ARGS__,,,,)

const IsaRow isa_rows[] = {
    { .id = "none", .mnemonic = "(bad)", .lifter = ISA_LIFT_NONE, .shape = ISA_SHAPE_BAD },
#define I(id_, enc, mnemonic_, operands, r, w, u, attributes, lifter_, sub_) \
    { .id = #id_, .mnemonic = mnemonic_, \
      .flags_read = ROW_FLAGS_##r, .flags_written = ROW_FLAGS_##w, \
      .flags_undefined = ROW_FLAGS_##u, .attr = (attributes), .lifter = ISA_LIFT_##lifter_, \
      .sub = ISA_SUB_##sub_, FORM operands },
#include "isa/i386.def"
#undef I
};
const unsigned isa_row_count = ARRAY_LEN(isa_rows);

#undef NEEDS_MODRM
#undef IS_BYTE
#undef SHAPE
#undef FORM_4
#undef FORM

static_assert(ARRAY_LEN(isa_rows) < ISA_INDEX_VALUE, "row numbers share a u16 with two marks");
static_assert(ISA_SUB_CMP - ISA_SUB_ADD == 7 && ISA_SUB_SAR - ISA_SUB_ROL == 7, "ORDER: /digits");
static_assert(ISA_SUB_GS - ISA_SUB_ES == 5, "ORDER: segment numbers");

// --- Index ---------------------------------------------------------------------------------------

enum {
    ROW_none,
#define I(id, ...) ROW_##id,
#include "isa/i386.def"
#undef I
};

// Encodings as designators.
#define KEY_E1(op) [op]
#define KEY_N1(first, last) [first ... last]
#define KEY_E2(op) [256 + (op)]
#define KEY_N2(first, last) [256 + (first) ... 256 + (last)]
#define CELL(map, op, digit) \
    (ISA_GROUP_BASE + ISA_GROUP##map##_##op * ISA_GROUP_CELLS + (digit) * 9)
#define KEY_G1(op, digit) [CELL(1, op, digit) ... CELL(1, op, digit) + 8]
#define KEY_G2(op, digit) [CELL(2, op, digit) ... CELL(2, op, digit) + 8]
#define KEY_GM1(op, digit) [CELL(1, op, digit)]
#define KEY_GM2(op, digit) [CELL(2, op, digit)]
#define KEY_GR1(op, digit) [CELL(1, op, digit) + 1 ... CELL(1, op, digit) + 8]
#define KEY_GX1(op, modrm) [CELL(1, op, (modrm) >> 3 & 7) + 1 + ((modrm) & 7)]
#define KEY_P1(op, prefix) [ISA_SPLIT_BASE + ISA_SPLIT1_##op * 4 + ISA_PREFIX_##prefix]
#define KEY_P2(op, prefix) [ISA_SPLIT_BASE + ISA_SPLIT2_##op * 4 + ISA_PREFIX_##prefix]
#define PREFIX_CELL(op, prefix, digit) \
    (ISA_GROUP_BASE + ISA_GROUP2_##op##_##prefix * ISA_GROUP_CELLS + (digit) * 9)
#define KEY_PGM2(op, prefix, digit) [PREFIX_CELL(op, prefix, digit)]
#define KEY_PGR2(op, prefix, digit) \
    [PREFIX_CELL(op, prefix, digit) + 1 ... PREFIX_CELL(op, prefix, digit) + 8]

const u16 isa_index[ISA_INDEX_LEN] = {
#define X(map, op) [((map) - 1) * 256 + (op)] = ISA_IS_GROUP | ISA_GROUP##map##_##op,
    ISA_GROUPS(X)
#undef X
#define X(map, op) [((map) - 1) * 256 + (op)] = ISA_IS_SPLIT | ISA_SPLIT##map##_##op,
    ISA_SPLITS(X)
#undef X
#define X(map, op, prefix) \
    [ISA_SPLIT_BASE + ISA_SPLIT##map##_##op * 4 + ISA_PREFIX_##prefix] = \
        ISA_IS_GROUP | ISA_GROUP##map##_##op##_##prefix,
    ISA_PREFIX_GROUPS(X)
#undef X
#define I(id, enc, ...) KEY_##enc = ROW_##id,
#include "isa/i386.def"
#undef I
};

#undef KEY_E1
#undef KEY_N1
#undef KEY_E2
#undef KEY_N2
#undef CELL
#undef KEY_G1
#undef KEY_G2
#undef KEY_GM1
#undef KEY_GM2
#undef KEY_GR1
#undef KEY_GX1
#undef KEY_P1
#undef KEY_P2
#undef PREFIX_CELL
#undef KEY_PGM2
#undef KEY_PGR2
