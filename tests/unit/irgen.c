// SPDX-License-Identifier: MIT
// Random IR blocks: see irgen.h. Each function gen_* appends one guest instruction of a family.
//
// Addresses: the generator knows which registers hold constants at the moment and what they are (it
// puts some there now and then), so any base, index and scale can be completed by a displacement
// that leads into the window.
#include "irgen.h"

#include <string.h>

typedef struct Gen {
    const IrGen *g;
    IrBlock *b;
    u64 random;
    u32 eip;
    u8 known;            // registers whose value is known
    u32 value[8];
} Gen;

u64 irgen_random(u64 *state) {
    u64 z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

IrGen irgen_default(u64 seed) {
    return (IrGen){ .seed = seed, .insns = 12, .eip = 0x1000,
                    .window = 0x20000, .window_bytes = 256,
                    .seg_class = { 1, 1, 1, 1, 1, 1 }, .fpu = true, .exits = true, .faults = true,
                    .polls = true, .wild = true };
}

static u32 pick(Gen *g, u32 n) { return (u32)(irgen_random(&g->random) >> 16) % n; }
static bool one_in(Gen *g, u32 n) { return pick(g, n) == 0; }

static unsigned gen_size(Gen *g) { return 1u << pick(g, 3); }
static unsigned gen_size_24(Gen *g) { return 2u << pick(g, 2); }

// Corners more often than not.
static u32 gen_number(Gen *g) {
    static const u32 corners[] = {
        0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
        0xfffffffe, 0xffffffff, 0xffffff80,
    };
    u32 r = (u32)irgen_random(&g->random);
    return one_in(g, 2) ? corners[pick(g, ARRAY_LEN(corners))] : one_in(g, 2) ? r
        : r >> pick(g, 32);
}

static IrRef gen_reg(Gen *g, unsigned size) {
    if (size > 1) return IR_REG(pick(g, 8));
    return one_in(g, 2) ? IR_REG_HIGH(pick(g, 4)) : IR_REG(pick(g, 4));
}

static IrRef gen_number_ref(Gen *g, unsigned size) {
    return ir_const(g->b, trunc_size(gen_number(g), size));
}

// A new temporary of this size with some value.
static IrRef gen_temp(Gen *g, unsigned size) {
    IrRef t = ir_temp(g->b);
    if (one_in(g, 4)) {
        ir_emit(g->b, IR_MOV, size, t, gen_number_ref(g, size), IR_NONE);
    } else if (size > 1 && one_in(g, 3)) {
        IrOp *op = ir_emit(g->b, one_in(g, 2) ? IR_ZEXT : IR_SEXT, size, t, IR_NONE, IR_NONE);
        op->aux = (u8)(size == 4 ? 1 + pick(g, 2) : 1);
        op->a = gen_reg(g, op->aux);
    } else {
        ir_emit(g->b, IR_MOV, size, t, gen_reg(g, size), IR_NONE);
    }
    return t;
}

// Register, temporary or constant.
static IrRef gen_source(Gen *g, unsigned size) {
    u32 k = pick(g, 8);
    return k < 4 ? gen_reg(g, size) : k < 6 ? gen_number_ref(g, size) : gen_temp(g, size);
}

static IrRef gen_source_reg(Gen *g, unsigned size) {
    return one_in(g, 4) ? gen_temp(g, size) : gen_reg(g, size);
}

// ---- addresses ----------------------------------------------------------------------------------
typedef struct GenMem { IrRef addr; u8 seg; bool addr16; } GenMem;

static IrRef gen_known_reg(Gen *g) {
    for (unsigned tries = 0; tries < 8; tries++) {
        unsigned r = pick(g, 8);
        if (g->known >> r & 1) return IR_REG(r);
    }
    return IR_NONE;
}

static u32 gen_known_value(const Gen *g, IrRef r) { return r == IR_NONE ? 0 : g->value[ir_reg(r)]; }

static u32 gen_place(Gen *g, unsigned bytes) {
    u32 at = g->g->window + pick(g, g->g->window_bytes - bytes + 1);
    u32 border = (g->g->window & ~0xfffu) + 0x1000;
    if (bytes > 1 && border + bytes <= g->g->window + g->g->window_bytes && one_in(g, 6))
        return border - 1 - pick(g, bytes - 1);      // over the page border
    return one_in(g, 2) ? at & ~3u : at;             // the window begins at a multiple of 4
}

static bool gen_is_place(const Gen *g, u32 at, u32 bytes) {
    return at >= g->g->window && at - g->g->window <= g->g->window_bytes - bytes;
}

// The same address through flag-free arithmetic on a register of any value.
static IrRef gen_masked(Gen *g, u32 bytes) {
    u32 room = g->g->window_bytes - bytes, mask = 1;
    while (mask * 2 + 1 <= room) mask = mask * 2 + 1;
    IrRef t = ir_temp(g->b), at = ir_temp(g->b);
    ir_emit(g->b, IR_AND, 4, t, IR_REG(pick(g, 8)), ir_const(g->b, mask))->fdef = 0;
    ir_emit(g->b, IR_EA, 4, at, t, IR_NONE)->imm = g->g->window;
    return at;
}

static GenMem gen_mem(Gen *g, unsigned bytes) {
    GenMem m = { .seg = (u8)pick(g, 6) };
    u32 at = gen_place(g, bytes);
    IrRef base = gen_known_reg(g), index = one_in(g, 2) ? gen_known_reg(g) : IR_NONE;
    unsigned scale = index == IR_NONE ? 0 : pick(g, 4);
    if (g->g->seg_class[m.seg] == 3 || one_in(g, 4))
        m.addr16 = g->g->window + g->g->window_bytes <= 0x10000;
    if (g->g->wrap16) {                       // the access may go beyond 64K
        m.addr16 = true;
        at = 0xffff - pick(g, 48);
    }
    if (!one_in(g, 4) && gen_is_place(g, gen_known_value(g, base), bytes)) {       // the register is the address
        at = gen_known_value(g, base);
        index = IR_NONE;
        scale = 0;
    }
    u32 disp = at - gen_known_value(g, base) - (gen_known_value(g, index) << scale);
    if (one_in(g, 10)) m.addr = ir_const(g->b, at);
    else if (!m.addr16 && one_in(g, 6)) m.addr = gen_masked(g, bytes);
    else m.addr = ir_ea(g->b, m.addr16 ? 2 : 4, base, index, scale, disp);
    return m;
}

static IrOp *gen_access(Gen *g, IrOp *op, GenMem m) {
    op->seg = m.seg;
    op->seg_class = g->g->seg_class[m.seg];
    op->addr16 = m.addr16;
    return op;
}

static IrRef gen_load(Gen *g, unsigned size, IrRef d, GenMem m) {
    gen_access(g, ir_load(g->b, size, d, 0, 0, m.addr), m);
    return d;
}

static IrRef gen_load_rmw(Gen *g, unsigned size, GenMem m) {
    IrRef t = ir_temp(g->b);
    gen_access(g, ir_load(g->b, size, t, 0, 0, m.addr), m)->attr = IR_RMW;
    return t;
}

static void gen_store(Gen *g, unsigned size, GenMem m, IrRef value, unsigned attr) {
    gen_access(g, ir_store(g->b, size, 0, 0, m.addr, value), m)->attr = (u8)attr;
}

// ---- arithmetic ---------------------------------------------------------------------------------
static IrCode gen_alu_code(Gen *g) {
    static const u8 codes[] = { IR_ADD, IR_ADC, IR_SUB, IR_SBB, IR_AND, IR_OR, IR_XOR };
    return codes[pick(g, ARRAY_LEN(codes))];
}

static void gen_alu(Gen *g) {
    unsigned size = gen_size(g);
    IrCode code = gen_alu_code(g);
    IrRef a = gen_reg(g, size), x = gen_source(g, size), d = a;
    if (one_in(g, 4) && (code == IR_SUB || code == IR_AND)) d = IR_NONE;
    if (g->g->wild && one_in(g, 8)) d = gen_reg(g, size);
    ir_emit(g->b, code, size, d, a, x);
}

static void gen_alu_load(Gen *g) {
    unsigned size = gen_size(g);
    IrCode code = gen_alu_code(g);
    GenMem m = gen_mem(g, size);
    IrRef t = gen_load(g, size, ir_temp(g->b), m), r = gen_reg(g, size);
    IrCode compare = one_in(g, 2) ? IR_SUB : IR_AND;
    if (one_in(g, 3)) ir_emit(g->b, compare, size, IR_NONE, t, gen_source(g, size));
    else ir_emit(g->b, code, size, r, r, t);
}

static void gen_unary(Gen *g) {
    static const u8 codes[] = { IR_INC, IR_DEC, IR_NEG, IR_NOT };
    unsigned size = gen_size(g);
    IrRef r = gen_reg(g, size);
    ir_emit(g->b, codes[pick(g, ARRAY_LEN(codes))], size, r, r, IR_NONE);
}

static IrCode gen_shift_code(Gen *g) { return (IrCode)(IR_SHL + pick(g, IR_RCR - IR_SHL + 1)); }

static IrRef gen_count(Gen *g) {
    return one_in(g, 2) ? IR_REG(1) : ir_const(g->b, one_in(g, 3) ? 1 : 1 + pick(g, 31));
}

static void gen_shift(Gen *g) {
    unsigned size = gen_size(g);
    IrRef r = gen_reg(g, size);
    ir_emit(g->b, gen_shift_code(g), size, r, r, gen_count(g));
}

static void gen_double_shift(Gen *g) {
    unsigned size = gen_size_24(g);
    IrRef r = gen_reg(g, size);
    ir_emit3(g->b, one_in(g, 2) ? IR_SHLD : IR_SHRD, size, r, r, gen_source_reg(g, size),
             gen_count(g));
}

static void gen_bits(Gen *g) {
    static const u8 codes[] = { IR_BT, IR_BTS, IR_BTR, IR_BTC, IR_BSF, IR_BSR };
    unsigned size = gen_size_24(g), code = codes[pick(g, ARRAY_LEN(codes))];
    IrRef r = gen_reg(g, size);
    if (code == IR_BSF || code == IR_BSR)
        ir_emit(g->b, (IrCode)code, size, r, gen_source_reg(g, size), r);
    else
        ir_emit(g->b, (IrCode)code, size, code == IR_BT ? IR_NONE : r, r, gen_source(g, size));
}

// op d, a, x on memory.
static void gen_rmw(Gen *g) {
    static const u8 codes[] = {
        IR_ADD, IR_ADC, IR_SUB, IR_SBB, IR_AND, IR_OR, IR_XOR, IR_INC, IR_DEC, IR_NEG, IR_NOT,
        IR_SHL, IR_SHR, IR_SAR, IR_ROL, IR_ROR, IR_RCL, IR_RCR, IR_BTS, IR_BTR, IR_BTC,
    };
    unsigned code = codes[pick(g, ARRAY_LEN(codes))];
    unsigned size = code >= IR_BTS ? gen_size_24(g) : gen_size(g);
    GenMem m = gen_mem(g, size);
    bool unary = code == IR_INC || code == IR_DEC || code == IR_NEG || code == IR_NOT;
    bool shift = code >= IR_SHL && code <= IR_RCR;
    IrRef x = unary ? IR_NONE : shift ? gen_count(g) : gen_source(g, size);
    IrRef t = gen_load_rmw(g, size, m), t2 = ir_temp(g->b);
    ir_emit(g->b, (IrCode)code, size, t2, t, x);
    gen_store(g, size, m, t2, IR_RMW);
}

// XADD, CMPXCHG, XCHG on memory.
static void gen_exchange(Gen *g) {
    unsigned size = gen_size(g), kind = pick(g, 3);
    GenMem m = gen_mem(g, size);
    IrRef t = gen_load_rmw(g, size, m), t2 = ir_temp(g->b), r = gen_reg(g, size);
    if (kind == 0) {
        ir_emit(g->b, IR_ADD, size, t2, t, r);
        gen_store(g, size, m, t2, IR_RMW);
        ir_mov(g->b, size, r, t);
    } else if (kind == 1) {
        ir_emit(g->b, IR_SUB, size, IR_NONE, IR_REG(0), t);
        IrOp *op = ir_emit(g->b, IR_SEL, size, t2, r, t);
        op->cc = 4;
        op->fuse = ir_cc_flags(4);
        gen_store(g, size, m, t2, IR_RMW);
        ir_mov(g->b, size, IR_REG(0), t);
    } else {
        gen_store(g, size, m, r, IR_RMW);
        ir_mov(g->b, size, r, t);
    }
}

// Arithmetic without flags on temporaries, ending in a register: what folding works on.
static void gen_plain(Gen *g) {
    static const u8 tame[] = { IR_ADD, IR_SUB, IR_AND, IR_OR, IR_XOR, IR_SHL, IR_SHR, IR_SAR };
    static const u8 wild[] = {
        IR_ADD, IR_SUB, IR_AND, IR_OR, IR_XOR, IR_SHL, IR_SHR, IR_SAR, IR_NEG, IR_NOT, IR_INC,
        IR_DEC, IR_BSWAP, IR_IMUL, IR_ADC, IR_MOV, IR_ROL,
    };
    unsigned n = 1 + pick(g, 5), size = g->g->wild ? gen_size(g) : 4;
    IrRef t[6] = { one_in(g, 2) ? gen_number_ref(g, size) : gen_source(g, size) };
    for (unsigned k = 1; k <= n; k++) {
        unsigned code = g->g->wild ? wild[pick(g, ARRAY_LEN(wild))]
            : tame[pick(g, ARRAY_LEN(tame))];
        if ((code == IR_IMUL && size == 1) || (code == IR_BSWAP && size < 4)) code = IR_NOT;
        bool unary = ir_info[code].operands[2] == '.';
        bool shift = code >= IR_SHL && code <= IR_RCR;
        IrRef a = t[pick(g, k)], x = unary ? IR_NONE : shift ? ir_const(g->b, 1 + pick(g, 31)) :
            one_in(g, 2) ? t[pick(g, k)] : gen_source(g, size);
        t[k] = one_in(g, 6) && ir_kind(t[k - 1]) == IR_KIND_TEMP ? t[k - 1] : ir_temp(g->b);
        IrOp *op = ir_emit(g->b, (IrCode)code, size, t[k], a, x);
        op->fdef = 0;
        if (code != IR_ADC) op->fuse = 0;
    }
    ir_mov(g->b, size, gen_reg(g, size), t[n]);
}

// ---- moves --------------------------------------------------------------------------------------
static void gen_mov(Gen *g) {
    unsigned size = gen_size(g);
    ir_emit(g->b, IR_MOV, size, gen_reg(g, size), gen_source(g, size), IR_NONE);
}

static void gen_set_reg(Gen *g) {
    IrRef value = one_in(g, 2) ? ir_const(g->b, gen_place(g, 4)) : gen_number_ref(g, 4);
    ir_emit(g->b, IR_MOV, 4, IR_REG(pick(g, 8)), value, IR_NONE);
}

static void gen_extend(Gen *g) {
    unsigned size = gen_size_24(g), from = size == 4 ? 1 + pick(g, 2) : 1;
    GenMem m = gen_mem(g, from);
    IrRef a = one_in(g, 2) ? gen_load(g, from, ir_temp(g->b), m) : gen_reg(g, from);
    IrCode code = one_in(g, 2) ? IR_ZEXT : IR_SEXT;
    ir_emit(g->b, code, size, gen_reg(g, size), a, IR_NONE)->aux = (u8)from;
}

static void gen_exchange_regs(Gen *g) {
    unsigned size = gen_size(g);
    IrRef t = ir_temp(g->b), r = gen_reg(g, size), s = gen_reg(g, size);
    ir_mov(g->b, size, t, r);
    ir_mov(g->b, size, r, s);
    ir_mov(g->b, size, s, t);
}

static void gen_lea(Gen *g) {
    unsigned size = gen_size_24(g);
    IrRef base = one_in(g, 5) ? IR_NONE : gen_source(g, size);
    IrRef index = one_in(g, 2) ? IR_NONE : gen_source(g, size);
    IrOp *op = ir_emit(g->b, IR_EA, size, size == 4 && one_in(g, 2) ? gen_reg(g, 4) : ir_temp(g->b),
                       base, index);
    op->aux = (u8)(index == IR_NONE ? 0 : pick(g, 4));
    op->imm = gen_number(g);
    if (ir_kind(op->d) == IR_KIND_TEMP) ir_mov(g->b, size, gen_reg(g, size == 4 ? 4 : 2), op->d);
}

static void gen_bswap(Gen *g) {
    IrRef r = gen_reg(g, 4);
    ir_emit(g->b, IR_BSWAP, 4, r, r, IR_NONE);
}

static void gen_load_store(Gen *g) {
    unsigned size = gen_size(g);
    GenMem m = gen_mem(g, size);
    if (one_in(g, 2)) gen_load(g, size, gen_reg(g, size), m);
    else gen_store(g, size, m, gen_source(g, size), 0);
}

// PUSH-like, POP-like: an access, then the address register moves.
static void gen_step(Gen *g) {
    unsigned size = gen_size(g), r = pick(g, 8);
    GenMem m = gen_mem(g, size);
    bool store = one_in(g, 2);
    if (store) gen_store(g, size, m, gen_source(g, size), 0);
    else gen_load(g, size, gen_reg(g, size), m);
    ir_emit(g->b, IR_EA, 4, IR_REG(r), IR_REG(r), IR_NONE)->imm = store ? -size : size;
}

// Two stores, probed first; a load before them (MOVS-like).
static void gen_two_stores(Gen *g) {
    GenMem from = gen_mem(g, 4), to = gen_mem(g, 8);
    IrRef t = gen_load(g, 4, ir_temp(g->b), from);
    gen_access(g, ir_emit(g->b, IR_PROBE, 4, IR_NONE, to.addr, IR_NONE), to)->imm = 8;
    gen_store(g, 4, to, t, 0);
    gen_store(g, 4, to, gen_source(g, 4), 0);
}

// More values at a time than there are host registers for them; with their addresses no more than the
// back end's spill slots (8), and more than any guest instruction needs.
static void gen_many(Gen *g) {
    IrRef t[8], r = gen_reg(g, 4);
    unsigned n = 3 + pick(g, 4), done = 0;
    for (unsigned k = 0; k < n; k++) {
        GenMem m = gen_mem(g, 4);
        t[k] = one_in(g, 3) ? gen_load(g, 4, ir_temp(g->b), m) : gen_temp(g, 4);
    }
    while (done < n) {
        unsigned k = pick(g, n);
        if (t[k] == IR_NONE) continue;
        ir_emit(g->b, gen_alu_code(g), 4, r, r, t[k]);
        t[k] = IR_NONE;
        done++;
    }
}

// Addresses as values: used after their registers have changed.
static void gen_late_addresses(Gen *g) {
    IrRef base = gen_reg(g, 4), index = gen_reg(g, 4), r = gen_reg(g, 4);
    unsigned size = gen_size_24(g);
    IrRef a = ir_ea(g->b, size, base, index, pick(g, 4), gen_number(g));
    IrRef x = ir_ea(g->b, 4, index, IR_NONE, 0, 1 + pick(g, 100));
    if (one_in(g, 2)) ir_emit(g->b, gen_alu_code(g), 4, base, base, gen_source(g, 4));
    else ir_mov(g->b, 4, base, index);
    if (one_in(g, 2)) ir_emit(g->b, IR_MOV, 1, IR_REG_HIGH(pick(g, 4)), gen_source(g, 1), IR_NONE);
    ir_emit(g->b, gen_alu_code(g), 4, r, r, a);
    ir_mov(g->b, 4, gen_reg(g, 4), x);
}

// INC, DEC keep the carry that ADC, SBB, RCL after them want, with accesses between.
static void gen_carry_chain(Gen *g) {
    unsigned n = 2 + pick(g, 5);
    for (unsigned k = 0; k < n; k++) {
        unsigned size = gen_size(g);
        IrRef r = gen_reg(g, size);
        if (k) ir_insn(g->b, g->eip++, 1);
        switch (pick(g, 5)) {
        case 0: case 1:
            ir_emit(g->b, one_in(g, 2) ? IR_INC : IR_DEC, size, r, r, IR_NONE);
            break;
        case 2:
            ir_emit(g->b, one_in(g, 2) ? IR_ADC : IR_SBB, size, r, r, gen_source(g, size));
            break;
        case 3: ir_emit(g->b, one_in(g, 2) ? IR_RCL : IR_RCR, size, r, r, gen_count(g)); break;
        default:
            gen_store(g, 4, (GenMem){ .addr = ir_const(g->b, gen_place(g, 4)), .seg = 3 },
                      gen_source(g, 4), 0);
            break;
        }
    }
}

static IrRef gen_argument(Gen *g, bool wanted) { return wanted ? gen_source(g, 4) : IR_NONE; }

static void gen_call(Gen *g) {
    if (!g->g->call_count) return;
    unsigned helper = g->g->calls[pick(g, g->g->call_count)];
    const IrHelper *h = &g->g->helpers->row[helper];
    IrRef a = gen_argument(g, h->args > 0), x = gen_argument(g, h->args > 1);
    IrRef c = gen_argument(g, h->args > 2);
    IrRef d = h->result_bytes && !one_in(g, 4) ? ir_temp(g->b) : IR_NONE;
    ir_call(g->b, helper, d, a, x, c);
    if (d != IR_NONE) ir_mov(g->b, 4, gen_reg(g, 4), d);
}

static void gen_env(Gen *g) {
    unsigned size = gen_size(g);
    if (g->g->env_bytes < 4) return;
    u32 at = g->g->env_offset + pick(g, g->g->env_bytes - 3);
    if (one_in(g, 2)) {
        IrRef t = ir_temp(g->b);
        ir_ldenv(g->b, size, t, at);
        ir_mov(g->b, 4, gen_reg(g, 4), t);
    } else {
        ir_stenv(g->b, size, gen_source(g, size), at);
    }
}

// ---- flags --------------------------------------------------------------------------------------
static void gen_condition(Gen *g) {
    bool sel = one_in(g, 2);
    unsigned size = gen_size_24(g);
    GenMem m = gen_mem(g, size);
    IrRef x = sel && one_in(g, 3) ? gen_load(g, size, ir_temp(g->b), m) : gen_source_reg(g, size);
    IrRef r = gen_reg(g, sel ? size : 1);
    IrOp *op = sel ? ir_emit(g->b, IR_SEL, size, r, x, r)
        : ir_emit(g->b, IR_SETCC, 1, r, IR_NONE, IR_NONE);
    op->cc = (u8)pick(g, 16);
    op->fuse = ir_cc_flags(op->cc);
}

// One byte of flags is always AH: LAHF, SAHF.
static IrRef gen_flags_ref(Gen *g, unsigned size) {
    return size == 1 ? IR_REG_HIGH(0) : gen_reg(g, 4);
}

static void gen_flags(Gen *g) {
    static const u8 codes[] = { IR_CLC, IR_STC, IR_CMC };
    unsigned size = one_in(g, 2) ? 4 : 1;
    switch (pick(g, 3)) {
    case 0: ir_emit(g->b, IR_GETF, size, gen_flags_ref(g, size), IR_NONE, IR_NONE); break;
    case 1: ir_emit(g->b, IR_SETF, size, IR_NONE, gen_flags_ref(g, size), IR_NONE); break;
    default:
        ir_emit(g->b, (IrCode)codes[pick(g, ARRAY_LEN(codes))], 4, IR_NONE, IR_NONE, IR_NONE);
        break;
    }
}

// All flags anew (see IrGen.same_flags).
static void gen_fresh_flags(Gen *g) {
    if (g->g->same_flags) ir_emit(g->b, IR_SUB, 4, IR_NONE, gen_reg(g, 4), gen_number_ref(g, 4));
}

// ---- multiplication, division -------------------------------------------------------------------
// A product's C and O are looked at while they are there: among all flags, or by a condition.
static void gen_product_seen(Gen *g) {
    if (one_in(g, 2)) {
        IrRef t = ir_temp(g->b);
        ir_emit(g->b, IR_GETF, 4, t, IR_NONE, IR_NONE);
        ir_emit(g->b, IR_AND, 4, gen_reg(g, 4), t, ir_const(g->b, FLAG_CF | FLAG_OF));
    } else {
        IrOp *op = ir_emit(g->b, IR_SETCC, 1, gen_reg(g, 1), IR_NONE, IR_NONE);
        op->cc = (u8)pick(g, 4);
        op->fuse = ir_cc_flags(op->cc);
    }
}

static void gen_multiply(Gen *g) {
    unsigned size = gen_size(g);
    if (size > 1 && one_in(g, 2)) {
        IrRef r = gen_reg(g, size);
        IrRef x = one_in(g, 2) ? gen_number_ref(g, size) : r;
        ir_emit(g->b, IR_IMUL, size, r, gen_source_reg(g, size), x);
    } else {
        ir_emit(g->b, one_in(g, 2) ? IR_MULW : IR_IMULW, size, IR_NONE, gen_source_reg(g, size),
                IR_NONE);
    }
    if (one_in(g, 2)) gen_product_seen(g);
    gen_fresh_flags(g);
}

// Dividend made small, or left to chance.
static void gen_divide(Gen *g) {
    unsigned size = gen_size(g);
    IrRef divisor = ir_temp(g->b);
    bool wild = g->g->faults && one_in(g, 4);
    if (wild) {
        ir_emit(g->b, IR_MOV, size, divisor, gen_source(g, size), IR_NONE);
    } else {
        ir_emit(g->b, IR_MOV, size, divisor, ir_const(g->b, 3 + pick(g, 0x7c)), IR_NONE);
        ir_mov(g->b, 4, IR_REG(2), ir_const(g->b, 0));
        if (size == 1) ir_mov(g->b, 1, IR_REG_HIGH(0), ir_const(g->b, 0));
        ir_insn(g->b, g->eip++, 1);
        divisor = ir_temp(g->b);
        ir_emit(g->b, IR_MOV, size, divisor, ir_const(g->b, 3 + pick(g, 0x7c)), IR_NONE);
    }
    ir_emit(g->b, one_in(g, 2) ? IR_DIVW : IR_IDIVW, size, IR_NONE, divisor, IR_NONE);
    gen_fresh_flags(g);
}

// ---- x87 ----------------------------------------------------------------------------------------
static void gen_x87_memory(Gen *g) {
    static const struct { u8 code, first, digit, bytes; } rows[] = {
        { IR_FPULD, 0xd9, 0, 4 }, { IR_FPULD, 0xdd, 0, 8 }, { IR_FPULD, 0xdb, 0, 4 },
        { IR_FPULD, 0xdf, 0, 2 }, { IR_FPULD, 0xdf, 5, 8 }, { IR_FPULD, 0xdb, 5, 10 },
        { IR_FPULD, 0xd8, 0, 4 }, { IR_FPULD, 0xdc, 1, 8 }, { IR_FPULD, 0xda, 6, 4 },
        { IR_FPULD, 0xde, 2, 2 }, { IR_FPUST, 0xd9, 2, 4 }, { IR_FPUST, 0xdd, 3, 8 },
        { IR_FPUST, 0xdb, 3, 4 }, { IR_FPUST, 0xdf, 3, 2 }, { IR_FPUST, 0xdf, 7, 8 },
        { IR_FPUST, 0xdb, 7, 10 }, { IR_FPUST, 0xd9, 7, 2 }, { IR_FPUST, 0xdd, 7, 2 },
        { IR_FPUST, 0xdf, 6, 10 },
    };
    unsigned k = pick(g, ARRAY_LEN(rows));
    GenMem m = gen_mem(g, rows[k].bytes);
    IrOp *op = ir_emit(g->b, (IrCode)rows[k].code, 4, IR_NONE, m.addr, IR_NONE);
    gen_access(g, op, m)->aux = rows[k].bytes;
    op->imm = rows[k].first | (u32)rows[k].digit << 8;
}

static void gen_x87(Gen *g) {
    // first byte << 8 | second of ST(0); + up to 7 where it ends in 0 or 8
    static const u16 rows[] = {
        0xd8c0, 0xd8c8, 0xd8e0, 0xd8f8, 0xdcc0, 0xdec8, 0xd9c0, 0xd9c8, 0xddd8, 0xd8d0, 0xdbf0,
        0xdfe8, 0xdac0, 0xdad0, 0xdbc8, 0xd9e0 | 4, 0xd9ee, 0xd9eb, 0xd9fa, 0xd9fc, 0xdfe0, 0xd9e1,
    };
    if (one_in(g, 2)) {
        gen_x87_memory(g);
        return;
    }
    u16 row = rows[pick(g, ARRAY_LEN(rows))];
    u32 second = (row & 0xff) + ((row & 7) == 0 && row != 0xdfe0 ? pick(g, 8) : 0);
    IrOp *op = ir_emit(g->b, IR_FPU, 4, IR_NONE, IR_NONE, IR_NONE);
    op->imm = row >> 8 | second << 8;
    if (row == 0xdbf0 || row == 0xdfe8) op->fdef = FLAG_OSZAPC;
    if (row == 0xdac0) op->fuse = FLAG_CF;
    if (row == 0xdad0) op->fuse = FLAG_CF | FLAG_ZF;
    if (row == 0xdbc8) op->fuse = FLAG_ZF;
}

// ---- exits --------------------------------------------------------------------------------------
static void gen_exit(Gen *g) {
    u32 target = 0x4000 + pick(g, 0x1000);
    u32 kind = pick(g, 4);
    if (kind < 2) {
        ir_jcc(g->b, pick(g, 16), target);
        return;
    }
    IrRef t = ir_temp(g->b);
    unsigned size = gen_size_24(g);
    ir_emit(g->b, IR_MOV, size, t, gen_reg(g, size), IR_NONE);
    IrOp *op = ir_emit(g->b, kind == 2 ? IR_JZ : IR_JNZ, size, IR_NONE, t, IR_NONE);
    op->imm = target;
}

static void gen_end(Gen *g) {
    ir_insn(g->b, g->eip++, 1);
    switch (pick(g, 4)) {
    case 0: ir_jmpi(g->b, IR_REG(pick(g, 8))); break;
    case 1:
        if (g->g->faults) ir_raise(g->b, 6 + pick(g, 8), one_in(g, 2), pick(g, 0x10000));
        else ir_jmp(g->b, 0x5000);
        break;
    default: ir_jmp(g->b, 0x5000 + pick(g, 0x1000)); break;
    }
}

// ---- the block ----------------------------------------------------------------------------------
static void gen_insn(Gen *g) {
    switch (pick(g, 34)) {
    case 30: gen_many(g); break;
    case 31: gen_late_addresses(g); break;
    case 32: gen_carry_chain(g); break;
    case 33: gen_call(g); break;
    case 0: case 1: case 2: case 3: gen_alu(g); break;
    case 4: case 5: gen_alu_load(g); break;
    case 6: gen_unary(g); break;
    case 7: case 8: gen_shift(g); break;
    case 9: gen_double_shift(g); break;
    case 10: gen_bits(g); break;
    case 11: case 12: gen_rmw(g); break;
    case 13: gen_exchange(g); break;
    case 14: case 15: gen_plain(g); break;
    case 16: gen_mov(g); break;
    case 17: gen_extend(g); break;
    case 18: gen_exchange_regs(g); break;
    case 19: gen_lea(g); break;
    case 20: gen_bswap(g); break;
    case 21: case 22: gen_load_store(g); break;
    case 23: gen_step(g); break;
    case 24: one_in(g, 2) ? gen_two_stores(g) : gen_env(g); break;
    case 25: gen_condition(g); break;
    case 26: gen_flags(g); break;
    case 27: one_in(g, 3) ? gen_divide(g) : gen_multiply(g); break;
    case 28: if (g->g->fpu) gen_x87(g); break;
    default: if (g->g->exits && one_in(g, 3)) gen_exit(g); else gen_set_reg(g); break;
    }
}

static void gen_forget(Gen *g, IrRef d, unsigned props) {
    if (props & IRP_CALL) g->known = 0;
    if (ir_kind(d) == IR_KIND_REG) g->known &= (u8)~BIT(ir_reg(d));
    if (props & IRP_WIDE) g->known &= (u8)~(BIT(0) | BIT(2));
}

// Which registers are known after the ops from `first` on.
static void gen_learn(Gen *g, u32 first) {
    for (u32 i = first; i < g->b->count; i++) {
        const IrOp *op = &g->b->ops[i];
        gen_forget(g, op->d, ir_info[op->code].props);
        if (op->code == IR_FPU && op->imm == 0xe0df) g->known &= (u8)~BIT(0);
        if (op->code != IR_MOV || op->size != 4 || ir_kind(op->d) != IR_KIND_REG ||
            !ir_is_const(op->a))
            continue;
        g->known |= (u8)BIT(ir_reg(op->d));
        g->value[ir_reg(op->d)] = ir_value(g->b, op->a);
    }
}

static void gen_poll(Gen *g) {
    if (!g->g->polls || !one_in(g, 8)) return;
    ir_emit(g->b, one_in(g, 2) ? IR_COUNT : IR_POLL, 4, IR_NONE, IR_NONE, IR_NONE)->imm = 1;
}

IrBlock *irgen_block(Arena *arena, const IrGen *gen) {
    Gen g = { .g = gen, .random = gen->seed, .eip = gen->eip };
    g.b = ir_block_new(arena, gen->helpers, gen->eip, gen->mode, true);
    for (unsigned n = 0; n < gen->insns; n++) {
        u32 first = g.b->count;
        ir_insn(g.b, g.eip++, 1);
        gen_poll(&g);
        if (n < 3) gen_set_reg(&g);
        else gen_insn(&g);
        gen_learn(&g, first);
    }
    gen_end(&g);
    return g.b;
}
