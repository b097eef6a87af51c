// SPDX-License-Identifier: MIT
// Random programs around a row of i386.def: see gen.h. What operands hold is gen_operand.c's matter.
//
//  1. Everything is drawn from Case.random, which comes from the case's number: no other source.
//  2. Before the first instruction registers are simply set; later a MOV is written for it.
//  3. Memory values are put into the image at the start: what earlier instructions read there changes with it, so
//     the finished program is run anew before anything is compared.
#include "gen_int.h"

#include "isa/isa_int.h"

#include <stdlib.h>
#include <string.h>

enum { FORM_ANY = -1, FORM_MEMORY = -2, MAX_FORMS = 4096, MAX_ROWS = 1024, ROOM = 40 };

// One way to encode a row.
typedef struct Form {
    u16 row;
    u8 map, opcode;          // map 1: after 0F
    i8 prefix;               // mandatory: index of form_prefixes, or -1
    i8 digit;                // ModRM.reg, or FORM_ANY
    i8 rm;                   // register form with this ModRM.rm, FORM_MEMORY, or FORM_ANY: ModRM is free
} Form;
static const u8 form_prefixes[4] = { 0, 0x66, 0xf2, 0xf3 };              // ORDER: ISA_PREFIX_*

typedef struct Tables {
    Form form[MAX_FORMS];
    unsigned form_count, first[MAX_ROWS], count[MAX_ROWS];
    u16 companion[MAX_ROWS], producer[MAX_ROWS], consumer[MAX_ROWS];
    unsigned companions, producers, consumers;
} Tables;

static Tables *tables(void) {
    static Tables t;
    return &t;
}

// ---- forms ----------------------------------------------------------------------------------------
static void form_add(Form f, unsigned row) {
    Tables *t = tables();
    if (!row) return;
    require(t->form_count < MAX_FORMS && row < MAX_ROWS);
    f.row = (u16)row;
    t->form[t->form_count++] = f;
}

static void form_walk(Form f, unsigned entry) {
    if (entry & ISA_IS_GROUP) {
        const u16 *cells = isa_index + ISA_GROUP_BASE + (entry & ISA_INDEX_VALUE) * ISA_GROUP_CELLS;
        for (unsigned digit = 0; digit < 8; digit++)
            for (unsigned cell = 0; cell < 9; cell++) {
                f.digit = (i8)digit;
                f.rm = cell ? (i8)(cell - 1) : FORM_MEMORY;
                form_add(f, cells[digit * 9 + cell]);
            }
    } else if (entry & ISA_IS_SPLIT) {
        for (unsigned p = 0; p < 4; p++) {
            f.prefix = (i8)p;
            form_walk(f, isa_index[ISA_SPLIT_BASE + (entry & ISA_INDEX_VALUE) * 4 + p]);
        }
    } else {
        form_add(f, entry);
    }
}

static int form_order(const void *a, const void *b) {
    int x = ((const Form *)a)->row, y = ((const Form *)b)->row;
    return x != y ? x - y : memcmp(a, b, sizeof(Form));
}

static bool is_left_to_itself(const IsaRow *row) {
    if (row->attr & (ISA_A_END | ISA_A_PRIV | ISA_A_IO)) return true;
    return row->lifter == ISA_LIFT_SYSTEM || row->lifter == ISA_LIFT_UD || row->lifter == ISA_LIFT_DESC ||
        row->lifter == ISA_LIFT_INT || row->lifter == ISA_LIFT_INTO || row->sub == ISA_SUB_CLI;
}

static void rows_sort(Tables *t) {
    for (unsigned r = 1; r < isa_row_count; r++) {
        const IsaRow *row = &isa_rows[r];
        if (is_left_to_itself(row)) continue;
        bool conditional = row->lifter == ISA_LIFT_SETCC || row->lifter == ISA_LIFT_CMOV || row->lifter == ISA_LIFT_JCC;
        t->companion[t->companions++] = (u16)r;
        if (row->flags_written) t->producer[t->producers++] = (u16)r;
        if (row->flags_read || conditional) t->consumer[t->consumers++] = (u16)r;
    }
}

void gen_open(void) {
    Tables *t = tables();
    memset(t, 0, sizeof *t);
    for (unsigned key = 0; key < ISA_GROUP_BASE; key++) {
        Form f = { .map = key >= 256, .opcode = (u8)key, .prefix = -1, .digit = FORM_ANY, .rm = FORM_ANY };
        form_walk(f, isa_index[key]);
    }
    qsort(t->form, t->form_count, sizeof t->form[0], form_order);
    for (unsigned i = t->form_count; i-- > 0;) {
        t->first[t->form[i].row] = i;
        t->count[t->form[i].row]++;
    }
    rows_sort(t);
}

// Memory and register forms alike, however many encodings each has.
static const Form *form_pick(Case *c, unsigned row) {
    const Tables *t = tables();
    bool memory = gen_one_in(c, 2);
    const Form *f = NULL;
    for (unsigned k = 0; k < 8; k++) {
        f = &t->form[t->first[row] + gen_below(c, t->count[row])];
        if (f->rm == FORM_ANY || (f->rm == FORM_MEMORY) == memory) break;
    }
    return f;
}

// ---- the machine under the pen --------------------------------------------------------------------
static Cpu *cpu_of(Case *c) { return machine_cpu(c->maker); }
u32 gen_here(Case *c) { return cpu_of(c)->seg[CPU_CS].base + cpu_of(c)->eip; }
bool gen_is_code32(Case *c) { return cpu_of(c)->mode & MODE_CODE32; }
static bool is_first(const Case *c) { return c->traced == 0; }

void gen_poke(Case *c, u32 linear, const void *bytes, u32 count) {
    for (u32 i = 0; i < count; i++) {
        PageKind kind = area_page_at(linear + i);
        if (kind != PAGE_DATA && kind != PAGE_READONLY) continue;
        u32 offset = linear + i - AREA;
        machine_area(c->maker)[offset] = c->image[offset] = ((const u8 *)bytes)[i];
    }
}

// What lies beyond the code pages is not there.
static void put_code(Case *c, u32 linear, const u8 *bytes, u32 count) {
    u32 offset = linear - AREA;
    if (offset >= CODE_BYTES) return;
    count = min_u32(count, CODE_BYTES - offset);
    memcpy(c->image + offset, bytes, count);
    machine_put_code(c->maker, offset, bytes, count);
    c->code_low = min_u32(c->code_low, offset);
    if (offset + count > c->code_high) c->code_high = offset + count;
}

static void step(Case *c) {
    c->stepped++;
    if (!machine_step(c->maker, c->fpu)) c->ended = true;
}

// Writes an instruction, with what a jump goes over behind it, and runs it. Where a jump has led back into what is
// written already the program is complete.
static void put_insn(Case *c, const u8 *bytes, unsigned length) {
    u32 at = gen_here(c);
    bool written = at - AREA < c->code_high && at - AREA + length > c->code_low;
    if (written || c->traced == MAX_TRACE) { c->ended = true; return; }
    c->trace[c->traced++] = (Step){ at, (u8)length, gen_is_code32(c) };
    put_code(c, at, bytes, length);
    step(c);
}

static void put_mov(Case *c, unsigned reg, u32 value) {
    u8 bytes[6] = { 0x66 };
    unsigned n = gen_is_code32(c) ? 0 : 1;
    bytes[n] = (u8)(0xb8 + reg);
    put_le32(bytes + n + 1, value);
    put_insn(c, bytes, n + 5);
}

void gen_set_reg(Case *c, unsigned reg, u32 value) {
    c->pinned |= (u8)BIT(reg);
    if (is_first(c)) c->start.regs[reg] = cpu_of(c)->regs[reg] = value;
    else if (cpu_of(c)->regs[reg] != value) put_mov(c, reg, value);
}

u32 gen_stack(Case *c) {
    const Cpu *cpu = cpu_of(c);
    u32 sp = cpu->regs[CPU_ESP];
    return cpu->seg[CPU_SS].base + (cpu->seg[CPU_SS].access & SEG_ACC_DB ? sp : sp & 0xffff);
}

// ---- drawing bytes --------------------------------------------------------------------------------
static unsigned draw_prefixes(Case *c, const Form *f, u8 *p) {
    static const u8 segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
    const IsaRow *row = &isa_rows[f->row];
    unsigned n = 0;
    bool split = f->prefix >= 0, string = row->attr & ISA_A_STRING;
    if (gen_one_in(c, 8)) p[n++] = 0x67;
    if (gen_one_in(c, split ? 24 : 4)) p[n++] = 0x66;
    if (gen_one_in(c, 8)) p[n++] = segments[gen_below(c, 6)];
    if (split ? f->prefix > 0 : false) p[n++] = form_prefixes[f->prefix];
    else if (!split && gen_one_in(c, string ? 2 : 24) && row->lifter != ISA_LIFT_BITSCAN)
        p[n++] = gen_one_in(c, 2) ? 0xf2 : 0xf3;
    if (gen_one_in(c, row->attr & ISA_A_LOCKABLE ? 5 : 40) && row->lifter != ISA_LIFT_MOV_CR) p[n++] = 0xf0;
    for (unsigned i = n; i > 1; i--) {                         // in any order
        unsigned k = gen_below(c, i);
        u8 swap = p[k];
        p[k] = p[i - 1];
        p[i - 1] = swap;
    }
    while (n && n < 14 && gen_one_in(c, 60)) { p[n] = p[n - 1]; n++; }
    if (gen_one_in(c, 300)) while (n < 12) p[n++] = 0x3e;     // too long, often
    return n;
}

// Gives the offset of the ModRM byte, or of what follows the opcode.
static unsigned draw_bytes(Case *c, const Form *f, u8 *bytes) {
    for (unsigned i = 0; i < BYTES; i++) bytes[i] = (u8)gen_u32(c);
    unsigned n = draw_prefixes(c, f, bytes);
    if (f->map) bytes[n++] = 0x0f;
    bytes[n++] = f->opcode;
    if (f->digit != FORM_ANY) bytes[n] = (u8)((bytes[n] & 0xc7) | f->digit << 3);
    if (f->rm >= 0) bytes[n] = (u8)(0xc0 | (bytes[n] & 0x38) | f->rm);
    else if (f->rm == FORM_MEMORY) { if (bytes[n] >= 0xc0) bytes[n] &= 0xbf; }
    else if (gen_one_in(c, 3)) bytes[n] |= 0xc0;
    return n;
}

// Illegal bytes that newer processors give another meaning: VEX, XOP, CLFLUSHOPT and CLWB.
static bool is_reused(const Form *f) {
    if (f->map) return f->opcode == 0xae;
    return f->opcode == 0x62 || f->opcode == 0xc4 || f->opcode == 0xc5 || f->opcode == 0x8f;
}

// ---- instructions ---------------------------------------------------------------------------------
static u32 flags_read(const Insn *in) {
    const IsaRow *row = isa_row(in);
    static const u16 of_pair[8] = { FLAG_OF, FLAG_CF, FLAG_ZF, FLAG_CF | FLAG_ZF, FLAG_SF, FLAG_PF, FLAG_SF | FLAG_OF,
                                    FLAG_ZF | FLAG_SF | FLAG_OF };
    bool cc = row->lifter == ISA_LIFT_SETCC || row->lifter == ISA_LIFT_CMOV || row->lifter == ISA_LIFT_JCC;
    return row->flags_read | (cc ? of_pair[isa_cc(in) >> 1] : 0);
}

static void note_flags(Case *c, const Insn *in) {
    const IsaRow *row = isa_row(in);
    u32 undefined = row->flags_undefined;
    bool shift = row->sub == ISA_SUB_SHL || row->sub == ISA_SUB_SHR || row->sub == ISA_SUB_SAL;
    if (shift && in->op[0].size < 4) undefined |= FLAG_CF;
    if (!(row->attr & ISA_A_COND) && row->lifter != ISA_LIFT_SHIFT) c->undefined &= ~row->flags_written;
    c->undefined |= undefined;
}

static void note_insn(Case *c, const Insn *in, bool target) {
    const IsaRow *row = isa_row(in);
    if (row->attr & (ISA_A_FPU | ISA_A_MMX | ISA_A_SSE)) c->fpu = true;
    if (row->attr & (ISA_A_END | ISA_A_PRIV | ISA_A_IO) || row->lifter == ISA_LIFT_DESC) c->privileged = true;
    if (row->lifter == ISA_LIFT_SYSTEM || row->sub == ISA_SUB_CLI) c->privileged = true;
    if (!target) return;
    bool memory = false;
    for (unsigned i = 0; i < in->operand_count; i++) memory |= in->op[i].kind == ISA_MEM;
    if (memory) c->memory_form = true;
    else c->register_form = true;
}

// cmp %eax, %ecx: all flags are defined again.
static void define_flags(Case *c) {
    put_insn(c, (const u8 *)"\x39\xc1", 2);
    c->undefined = 0;
}

// What RDTSC and CPUID leave behind is the machine's own: MOVs go over it, for which there must be room.
static bool tells_of_the_machine(const Insn *in) {
    return isa_row(in)->sub == ISA_SUB_RDTSC || isa_row(in)->sub == ISA_SUB_CPUID;
}

static void forget(Case *c, const Insn *in) {
    bool all = isa_row(in)->sub == ISA_SUB_CPUID;
    for (unsigned r = CPU_EAX; r <= CPU_EBX && !c->ended; r++)
        if (all || r == CPU_EAX || r == CPU_EDX) put_mov(c, r, gen_int(c));
}

// A legal instruction: operands are led and filled, then it runs.
static bool put_legal(Case *c, u8 *bytes, unsigned modrm_at, Insn *in, GenWish wish) {
    u16 row = in->row;
    c->pinned = 0;
    if (!gen_prepare(c, in)) return false;
    gen_corner_registers(c, in);
    if (c->ended) return true;
    if (!gen_place(c, bytes, modrm_at, in, wish)) return false;
    bool code32 = gen_is_code32(c);
    if (isa_decode(bytes, ISA_MAX_BYTES, code32, in) != ISA_OK || in->row != row) return false;
    gen_fix_immediate(c, bytes, in);
    gen_corner_immediate(c, bytes + in->length - 1, in);
    if (isa_decode(bytes, ISA_MAX_BYTES, code32, in) != ISA_OK || in->row != row) return false;
    u32 gap = gen_fill(c, bytes, in), join = gen_here(c) + in->length + gap;
    note_insn(c, in, in->row == c->row);
    if (in->row == c->row) gen_corner_note(c, in, gen_memory_at(c, in));
    put_insn(c, bytes, in->length + gap);
    if (in->row == c->row && c->ended && !machine_has_computed(c->maker)) c->met = 0;
    if (!c->ended) note_flags(c, in);
    if (!c->ended && tells_of_the_machine(in)) forget(c, in);
    for (u32 k = 0; k < gap && !c->ended && join - gen_here(c) <= gap; k++) step(c);
    return true;
}

// One instruction of this row. False: this drawing was not fit.
static bool put_row(Case *c, unsigned row, GenWish wish) {
    u8 bytes[BYTES];
    Insn in;
    memset(&in, 0, sizeof in);
    const Form *f = form_pick(c, row);
    unsigned modrm_at = draw_bytes(c, f, bytes);
    IsaStatus status = isa_decode(bytes, ISA_MAX_BYTES, gen_is_code32(c), &in);
    if (status != ISA_OK) {
        if (!gen_one_in(c, 8) || is_reused(f) || status == ISA_NEED_MORE) return false;
        put_insn(c, bytes, status == ISA_TOO_LONG ? ISA_MAX_BYTES : in.length);
        return true;
    }
    if (in.row != row || gen_is_left_out(&in)) return false;
    if (tells_of_the_machine(&in) && gen_here(c) - AREA > CODE_BYTES - 64) return false;
    if (flags_read(&in) & c->undefined) {
        if (row != c->row) return false;
        define_flags(c);
        if (c->ended) return true;
    }
    return put_legal(c, bytes, modrm_at, &in, wish);
}

static void put_some(Case *c, unsigned row, GenWish wish) {
    for (unsigned k = 0; k < 24 && !c->ended; k++)
        if (put_row(c, row, wish)) return;
}

// ---- programs -------------------------------------------------------------------------------------
static unsigned pick_companion(Case *c) {
    const Tables *t = tables();
    if (gen_one_in(c, 2)) return t->producer[gen_below(c, t->producers)];
    return t->companion[gen_below(c, t->companions)];
}

static unsigned pick_consumer(Case *c) {
    const Tables *t = tables();
    return t->consumer[gen_below(c, t->consumers)];
}

static unsigned row_named(const char *id) {
    for (unsigned r = 1; r < isa_row_count; r++) if (!strcmp(isa_rows[r].id, id)) return r;
    panic("no row is called %s", id);
}

static void put_faulter(Case *c) {
    static const char *const ids[] = { "mov_gv_ev", "mov_ev_gv", "add_ev_gv", "fld_m64fp", "movups_v_w", "push_ev" };
    put_some(c, row_named(ids[gen_below(c, ARRAY_LEN(ids))]), GEN_MISSING);
}

// Shows the x87's pointers, some time after what they point to has changed.
static void put_pointers(Case *c) {
    static const char *const ids[] = { "mov_sw_ew", "pop_ds", "pop_es", "lfs_gv_mp", "jmp_ap" };
    if (gen_one_in(c, 4)) put_some(c, row_named(ids[gen_below(c, ARRAY_LEN(ids))]), GEN_PRESENT);
    if (!c->ended) put_some(c, row_named("fnstenv_m"), GEN_PRESENT);
}

// lahf; and $..., %ah: flags as a value while some of them are undefined, which a program may ask for as long as it
// looks at the others only. Then all are set anew.
static void put_defined_flags(Case *c) {
    u8 and_ah[] = { 0x80, 0xe4, (u8)(FLAG_SZAPC & ~c->undefined) };
    put_insn(c, (const u8 *)"\x9f", 1);
    if (!c->ended) put_insn(c, and_ah, sizeof and_ah);
    c->undefined = FLAG_AF;
}

static void write_program(Case *c) {
    unsigned before = gen_one_in(c, 3) ? 0 : gen_below(c, 4), after = gen_one_in(c, 3) ? 0 : gen_below(c, 3);
    for (unsigned k = 0; k < before && !c->ended; k++) put_some(c, pick_companion(c), GEN_ANYWHERE);
    put_some(c, c->row, GEN_ANYWHERE);
    if (!c->ended && c->undefined && gen_one_in(c, 4)) put_defined_flags(c);
    for (unsigned k = 0; k < after && !c->ended; k++)
        put_some(c, gen_one_in(c, 2) ? pick_consumer(c) : pick_companion(c), GEN_ANYWHERE);
    if (isa_rows[c->row].attr & ISA_A_FPU && gen_one_in(c, 3) && !c->ended) put_pointers(c);
    if (gen_one_in(c, 4) && !c->ended) put_faulter(c);
    if (!c->ended) put_insn(c, (const u8 *)"\xcc", 1);
}

void gen_case(Case *c, u64 number, unsigned row) {
    c->number = number;
    c->random = number * 0x5851f42d4c957f2du + row;
    c->row = row;
    c->traced = c->stepped = 0;
    c->undefined = 0;
    c->fpu = c->memory_form = c->register_form = c->ended = false;
    c->fx_images = 0;
    c->met = c->met_of = 0;
    gen_arrange(c);
    gen_corner_start(c);
    c->privileged = c->start.eflags & FLAG_AC;
    c->code_low = CODE_BYTES;
    c->code_high = 0;
    machine_start(c->maker, &c->start, c->image);
    write_program(c);
}
