// SPDX-License-Identifier: MIT
// REP string instructions and ports against a plain byte-by-byte model: random operands over page
// borders, both directions, both address sizes; faults in the middle; pauses. Build as test_mmu.c.
#include "fuzz.h"
#include "testcpu.h"

enum { LENGTH = 2, BUDGET = 0x4000 };

static u32 rnd(u32 *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void set_df(TestCpu *c, bool down) { cpu_set_eflags(c->cpu, down ? FLAG_DF : 0, FLAG_DF); }

// A call as a block does it, which charges one instruction, and takes it back where that faults.
static u32 call(TestCpu *c, u32 (*helper)(Cpu *, u32), u32 info) {
    Cpu *cpu = c->cpu;
    u32 mask = info & CPU_STR_A32 ? 0xffffffff : 0xffff, count = cpu->regs[CPU_ECX] & mask;
    cpu->eip = 0x7002;
    cpu->budget = BUDGET - 1;
    u32 finished = helper(cpu, info);
    cpu->budget += cpu->fault.pending;
    u32 done = count - (cpu->regs[CPU_ECX] & mask), charged = BUDGET - (u32)cpu->budget;
    assert_int_equal(charged, done || cpu->fault.pending ? done : 1);
    return finished;
}

// Runs a helper again until it is finished; eip must come back by the length for each pause.
static u32 run(TestCpu *c, u32 (*helper)(Cpu *, u32), u32 info) {
    u32 calls = 0;
    for (;;) {
        u32 finished = call(c, helper, info);
        calls++;
        assert_no_fault(c);
        assert_int_equal(c->cpu->eip, finished ? 0x7002 : 0x7000);
        if (finished) return calls;
    }
}

// ---- model --------------------------------------------------------------------------------------
typedef struct Model {
    u8 *ram;
    u32 eax, ecx, esi, edi, flags;
    unsigned size;
    i32 step;
    u32 mask;
} Model;

static u32 model_get(const Model *m, u32 at_addr) {
    u32 v = 0;
    memcpy(&v, m->ram + at_addr, m->size);
    return v;
}
static void model_move(const Model *m, u32 *reg) {
    *reg = (*reg & ~m->mask) | ((*reg + (u32)m->step) & m->mask);
}
static u32 model_count(const Model *m) { return m->ecx & m->mask; }
static void model_down(Model *m) { m->ecx = (m->ecx & ~m->mask) | ((m->ecx - 1) & m->mask); }

static void model_run(Model *m, char kind, bool until_equal) {
    while (model_count(m)) {
        u32 s = m->esi & m->mask, d = m->edi & m->mask;
        u32 log2 = (u32)__builtin_ctz(m->size), v = model_get(m, s);
        if (kind == 'm') memcpy(m->ram + d, &v, m->size);
        if (kind == 's') memcpy(m->ram + d, &m->eax, m->size);
        if (kind == 'l') memcpy(&m->eax, &v, m->size);
        if (kind == 'c')
            m->flags = flags_compute(FLAGS_OP(FLAGS_SUB, log2), v, model_get(m, d), 0);
        if (kind == 'a')
            m->flags = flags_compute(FLAGS_OP(FLAGS_SUB, log2), m->eax, model_get(m, d), 0);
        if (strchr("mlc", kind)) model_move(m, &m->esi);
        if (strchr("msca", kind)) model_move(m, &m->edi);
        model_down(m);
        if (strchr("ca", kind) && ((m->flags & FLAG_ZF) != 0) == until_equal) return;
    }
}

static const struct { char kind; u32 (*helper)(Cpu *, u32); } ops[] = {
    { 'm', cpu_h_rep_movs }, { 's', cpu_h_rep_stos }, { 'l', cpu_h_rep_lods },
    { 'c', cpu_h_rep_cmps }, { 'a', cpu_h_rep_scas },
};

static void test_random(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    u32 seed = (u32)fuzz_state(12345) | 1;
    static u8 ram[0x20000];
    for (u64 round = 0, count = fuzz_count(4000); round < count; round++) {
        const u32 which = rnd(&seed) % ARRAY_LEN(ops), log2 = rnd(&seed) % 3;
        bool wide = rnd(&seed) & 1, down = rnd(&seed) & 1, repne = rnd(&seed) & 1;
        for (u32 i = 0; i < 64; i++) put_le32(at(c, 0x9f80 + 4 * i), rnd(&seed) & 0x01010101);
        for (u32 i = 0; i < 0x9000; i += 4) put_le32(at(c, 0xa000 + i), (rnd(&seed) & 7) ? 0 : 1);
        if (rnd(&seed) & 1) mmu_flush(cpu);
        u32 dirt = wide ? 0 : rnd(&seed) << 16;
        Model m = { ram, rnd(&seed), dirt | (rnd(&seed) % 3000),
                    dirt | (0xd000 + rnd(&seed) % 0x1800), dirt | (0xd000 + rnd(&seed) % 0x1800),
                    rnd(&seed) & FLAG_OSZAPC, 1u << log2,
                    down ? -(1 << log2) : 1 << log2, wide ? 0xffffffff : 0xffff };
        if (log2 == 2) m.ecx = dirt | (m.ecx & 0x3ff);
        m.eax &= rnd(&seed) & 1 ? 0x01010101 : 0x02020202;          // the latter is not to be found
        memcpy(ram, at(c, 0), sizeof ram);
        cpu->regs[CPU_EAX] = m.eax;
        cpu->regs[CPU_ECX] = m.ecx;
        cpu->regs[CPU_ESI] = m.esi;
        cpu->regs[CPU_EDI] = m.edi;
        cpu_set_arith(cpu, m.flags);
        set_df(c, down);
        model_run(&m, ops[which].kind, repne);
        run(c, ops[which].helper, CPU_STR(CPU_DS, log2, LENGTH) | (wide ? CPU_STR_A32 : 0)
            | (repne ? CPU_STR_REPNE : 0));
        assert_int_equal(cpu->regs[CPU_EAX], m.eax);
        assert_int_equal(cpu->regs[CPU_ECX], m.ecx);
        assert_int_equal(cpu->regs[CPU_ESI], m.esi);
        assert_int_equal(cpu->regs[CPU_EDI], m.edi);
        assert_int_equal(cpu_flags(cpu) & FLAG_OSZAPC, m.flags);
        assert_memory_equal(ram, at(c, 0), sizeof ram);
    }
}

// 16-bit addresses wrap at 64 KiB within one instruction.
static void test_wrap(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    cpu->regs[CPU_EDI] = 0xabcdfffc;
    cpu->regs[CPU_ECX] = 0xabcd0008;
    cpu->regs[CPU_EAX] = 0x77;
    run(c, cpu_h_rep_stos, CPU_STR(CPU_DS, 0, LENGTH));
    assert_int_equal(cpu->regs[CPU_EDI], 0xabcd0004);
    assert_int_equal(cpu->regs[CPU_ECX], 0xabcd0000);
    assert_int_equal(peek32(c, 0xfffc), 0x77777777);
    assert_int_equal(peek32(c, 0), 0x77777777);
    assert_int_equal(peek32(c, 0x10000), 0);
    put_desc(c, AT_GDT + SEL_BASED, 0x1800, 0xfffff, 0xf3, 0xc);     // in the middle of a page
    load_seg(c, CPU_ES, SEL_BASED);
    cpu->regs[CPU_EDI] = 0xfffc;
    cpu->regs[CPU_ECX] = 8;
    run(c, cpu_h_rep_stos, CPU_STR(CPU_DS, 0, LENGTH));
    assert_int_equal(peek32(c, 0x117fc), 0x77777777);
    assert_int_equal(peek32(c, 0x1800), 0x77777777);
    assert_int_equal(peek32(c, 0x11800), 0);
}

static void test_zero_count(void **state) {
    TestCpu *c = *state;
    c->cpu->regs[CPU_ECX] = 0xffff0000;                     // CX is 0
    cpu_set_arith(c->cpu, FLAG_CF);
    assert_int_equal(call(c, cpu_h_rep_cmps, CPU_STR(CPU_DS, 0, LENGTH)), 1);
    assert_int_equal(cpu_flags(c->cpu) & FLAG_OSZAPC, FLAG_CF);
    assert_int_equal(c->cpu->regs[CPU_ECX], 0xffff0000);
}

static void test_fault_in_the_middle(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    testcpu_page(c, 7);
    poke32(c, AT_PT + 4 * 0x102, 0);
    memset(at(c, 0x200000), 0x31, 0x3000);
    cpu->regs[CPU_ESI] = 0x200000;
    cpu->regs[CPU_EDI] = AT_DATA + 1;                       // a dword crosses each border
    cpu->regs[CPU_ECX] = 0x1000;
    call(c, cpu_h_rep_movs, CPU_STR(CPU_DS, 2, LENGTH) | CPU_STR_A32);
    assert_int_equal(cpu->cr2, AT_DATA + 0x2000);
    assert_fault(c, VEC_PF, 2);
    u32 done = 0x7ff;                                       // the 0x800th would cross into the hole
    assert_int_equal(cpu->regs[CPU_ECX], 0x1000 - done);
    assert_int_equal(cpu->regs[CPU_EDI], AT_DATA + 1 + 4 * done);
    assert_int_equal(cpu->regs[CPU_ESI], 0x200000 + 4 * done);
    assert_int_equal(*at(c, AT_DATA + 0x1ffc), 0x31);
    assert_int_equal(*at(c, AT_DATA + 0x1ffd), 0);
    // comparisons keep the flags that were there before
    poke32(c, AT_PT + 4 * 0x102, 0);
    memset(at(c, AT_DATA + 0x1f00), 0x31, 0x100);
    cpu->regs[CPU_ESI] = 0x200000;
    cpu->regs[CPU_EDI] = AT_DATA + 0x1ff0;
    cpu->regs[CPU_ECX] = 100;
    cpu_set_arith(cpu, FLAG_CF | FLAG_OF);
    call(c, cpu_h_rep_cmps, CPU_STR(CPU_DS, 0, LENGTH) | CPU_STR_A32);
    assert_fault(c, VEC_PF, 0);
    assert_int_equal(cpu->regs[CPU_ECX], 84);
    assert_int_equal(cpu_flags(cpu) & FLAG_OSZAPC, FLAG_CF | FLAG_OF);
}

static void test_limits(void **state) {
    TestCpu *c = *state;
    put_desc(c, AT_GDT + SEL_SMALL, AT_DATA + 0x80, 0xfff, 0x92, 4);
    load_seg(c, CPU_ES, SEL_SMALL);
    c->cpu->regs[CPU_EDI] = 0xff0;
    c->cpu->regs[CPU_ECX] = 100;
    call(c, cpu_h_rep_stos, CPU_STR(CPU_DS, 0, LENGTH) | CPU_STR_A32);
    assert_fault(c, VEC_GP, 0);
    assert_int_equal(c->cpu->regs[CPU_ECX], 84);
    assert_int_equal(c->cpu->regs[CPU_EDI], 0x1000);
}

static void test_bounded(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    cpu->regs[CPU_EDI] = AT_DATA;
    cpu->regs[CPU_ECX] = 0x40000;
    assert_int_equal(run(c, cpu_h_rep_stos, CPU_STR(CPU_DS, 2, LENGTH) | CPU_STR_A32), 0x40000 / BUDGET + 1);
    cpu->regs[CPU_EDI] = AT_DATA;
    cpu->regs[CPU_ECX] = 5;
    cpu_set_eflags(cpu, FLAG_TF, FLAG_TF);                  // single step: one element per call
    assert_int_equal(run(c, cpu_h_rep_stos, CPU_STR(CPU_DS, 2, LENGTH) | CPU_STR_A32), 5);
    cpu_set_eflags(cpu, 0, FLAG_TF);
    bus_set_intr(c->bus, true);                             // attention: where C must look, the first touch of a page
    mmu_flush(cpu);
    cpu->regs[CPU_EDI] = AT_DATA + 0x800;
    cpu->regs[CPU_ECX] = 0x2000;
    assert_int_equal(run(c, cpu_h_rep_stos, CPU_STR(CPU_DS, 0, LENGTH) | CPU_STR_A32), 6);
    cpu->regs[CPU_EDI] = AT_DATA + 0x800;                   // now it is one row
    cpu->regs[CPU_ECX] = 0x2000;
    assert_int_equal(run(c, cpu_h_rep_stos, CPU_STR(CPU_DS, 0, LENGTH) | CPU_STR_A32), 1);
}

// ---- rows of pages ------------------------------------------------------------------------------
// Sixteen linear pages show some of 32 physical ones: rows of them, the same one twice, one that holds code, one
// that is not there.
enum { VIEW = 0x200000, VIEW_PAGES = 16, SHOWN = 0x100000, SHOWN_PAGES = 32, ABSENT = 0xff };

typedef struct View {
    u8 ram[SHOWN_PAGES * PAGE_BYTES];           // what the physical pages should hold
    u8 shows[VIEW_PAGES];
} View;

static u8 *view_at(View *v, u32 addr) {
    u32 page = v->shows[(addr - VIEW) >> PAGE_SHIFT];
    return page == ABSENT ? NULL : v->ram + page * PAGE_BYTES + (addr & ~PAGE_MASK);
}

// False: a page is not there.
static bool view_one(View *v, char kind, const Model *m) {
    u8 value[4], *to[4];
    for (u32 i = 0; i < m->size; i++) {
        const u8 *from = kind == 'm' ? view_at(v, m->esi + i) : (const u8 *)&m->eax + i;
        to[i] = view_at(v, m->edi + i);
        if (!from || !to[i]) return false;
        value[i] = *from;
    }
    for (u32 i = 0; i < m->size; i++) *to[i] = value[i];
    return true;
}

static bool view_run(View *v, char kind, Model *m) {
    for (; m->ecx; m->ecx--) {
        if (!view_one(v, kind, m)) return false;
        m->edi += (u32)m->step;
        if (kind == 'm') m->esi += (u32)m->step;
    }
    return true;
}

static void view_make(TestCpu *c, View *v, u32 *seed) {
    u32 page = 0;
    for (u32 i = 0; i < VIEW_PAGES; i++) {
        page = rnd(seed) & 3 ? (page + 1) % SHOWN_PAGES : rnd(seed) % SHOWN_PAGES;
        v->shows[i] = (u8)page;
    }
    if (!(rnd(seed) & 3)) v->shows[rnd(seed) % VIEW_PAGES] = ABSENT;
    for (u32 i = 0; i < VIEW_PAGES; i++)
        poke32(c, AT_PT + 4 * ((VIEW >> PAGE_SHIFT) + i),
               v->shows[i] == ABSENT ? 0 : SHOWN | (u32)v->shows[i] << PAGE_SHIFT | 7);
    for (u32 i = 0; i < sizeof v->ram; i += 4) put_le32(v->ram + i, rnd(seed));
    memcpy(at(c, SHOWN), v->ram, sizeof v->ram);
    mmu_flush(c->cpu);
}

static void view_compare(TestCpu *c, View *v, char kind, bool wide, u32 *seed) {
    Cpu *cpu = c->cpu;
    u32 log2 = rnd(seed) % 3, bytes = rnd(seed) % (6 * PAGE_BYTES) + 1, count = bytes >> log2;
    u32 lowest = VIEW + (rnd(seed) & 1 ? 32 : 33 + rnd(seed) % 9), room = VIEW_PAGES * PAGE_BYTES - bytes - 512;
    Model m = { .eax = rnd(seed), .ecx = count, .esi = lowest + rnd(seed) % room, .edi = lowest + rnd(seed) % room,
                .size = 1u << log2, .step = rnd(seed) & 1 ? 1 << log2 : -(1 << log2) };
    if (rnd(seed) & 1) m.edi &= ~31u;                                          // so that vectors may be used
    if (!(rnd(seed) & 3)) m.edi = (m.esi + rnd(seed) % 300) & (rnd(seed) & 1 ? ~31u : ~0u);  // they overlap
    if (m.step < 0) m.esi += bytes, m.edi += bytes;
    cpu->regs[CPU_EAX] = m.eax;
    cpu->regs[CPU_ECX] = m.ecx;
    cpu->regs[CPU_ESI] = m.esi;
    cpu->regs[CPU_EDI] = m.edi;
    set_df(c, m.step < 0);
    bool through = view_run(v, kind, &m), finished = false;
    while (!finished && !cpu->fault.pending)
        finished = call(c, kind == 'm' ? cpu_h_rep_movs : cpu_h_rep_stos,
                        CPU_STR(wide ? CPU_DS : CPU_ES, log2, LENGTH) | CPU_STR_A32);
    assert_int_equal(through, finished);
    cpu->fault = (CpuFault){ 0 };
    assert_int_equal(cpu->regs[CPU_ECX], m.ecx);
    assert_int_equal(cpu->regs[CPU_EDI], m.edi);
    if (kind == 'm') assert_int_equal(cpu->regs[CPU_ESI], m.esi);
    assert_memory_equal(v->ram, at(c, SHOWN), sizeof v->ram);
}

static void test_rows(void **state) {
    TestCpu *c = *state;
    u32 seed = (u32)fuzz_state(777) | 1;
    static View v;
    testcpu_page(c, 7);
    for (u64 round = 0, count = fuzz_count(400); round < count; round++) {
        BusPage *watched = bus_page(c->bus, (SHOWN >> PAGE_SHIFT) + rnd(&seed) % SHOWN_PAGES);
        if (rnd(&seed) & 1) watched->flags |= BUS_PAGE_CODE;
        view_make(c, &v, &seed);
        for (u32 i = 0; i < 8; i++) view_compare(c, &v, "ms"[rnd(&seed) & 1], rnd(&seed) & 1, &seed);
        watched->flags &= (u8)~BUS_PAGE_CODE;
    }
}

// The same memory at two host addresses: where linear addresses are physical ones the window shows it, elsewhere not.
static void test_alias(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    static u8 want[4 * PAGE_BYTES];
    static const u32 behind[] = { 0, 1, 4, 32, 64, 96, 127, 128, 160, 4000, 4096 - 32, 4096, 4096 + 64, 4096 + 256 };
    testcpu_page(c, 7);
    for (u32 i = 0; i < 4; i++) poke32(c, AT_PT + 4 * ((VIEW >> PAGE_SHIFT) + i), (SHOWN + (i << PAGE_SHIFT)) | 7);
    mmu_flush(cpu);
    for (u32 round = 0; round < ARRAY_LEN(behind) * 3; round++) {
        u32 log2 = round % 3, from = 0x20, to = from + behind[round / 3], bytes = 0x1f40, size = 1u << log2;
        for (u32 i = 0; i < sizeof want; i++) want[i] = *at(c, SHOWN + i) = (u8)(i * 7 + (i >> 8));
        for (u32 i = 0; i < bytes; i += size) {
            u8 element[4];
            for (u32 k = 0; k < size; k++) element[k] = want[from + i + k];
            for (u32 k = 0; k < size; k++) want[to + i + k] = element[k];
        }
        cpu->regs[CPU_ESI] = SHOWN + from;
        cpu->regs[CPU_EDI] = VIEW + to;
        cpu->regs[CPU_ECX] = bytes >> log2;
        run(c, cpu_h_rep_movs, CPU_STR(CPU_DS, log2, LENGTH) | CPU_STR_A32);
        assert_memory_equal(want, at(c, SHOWN), sizeof want);
    }
}

// A row ends before the page that is watched; every store to that one is seen.
static void test_row_over_code(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    BusPage *page = bus_page(c->bus, 0x102);
    page->flags |= BUS_PAGE_CODE;
    page->code_granules = 1ull << 63;
    for (u32 i = 0; i < 2; i++) {                           // without, with entries
        cpu->regs[CPU_EAX] = 0x40 + i;
        cpu->regs[CPU_EDI] = AT_DATA;
        cpu->regs[CPU_ECX] = 0x3f00;
        run(c, cpu_h_rep_stos, CPU_STR(CPU_DS, 0, LENGTH) | CPU_STR_A32);
        assert_int_equal(c->written, 64 * (i + 1));
        assert_int_equal(*at(c, AT_DATA + 0x3eff), 0x40 + i);
        assert_int_equal(*at(c, AT_DATA + 0x3f00), 0);
    }
}

// A store into translated code of the running block: what came before is done and committed.
static void test_restart(void **state) {
    TestCpu *c = *state;
    bus_page(c->bus, 0x101)->flags |= BUS_PAGE_CODE;
    bus_page(c->bus, 0x101)->code_granules = 1;
    c->restart = true;
    c->cpu->regs[CPU_EAX] = 0x5a5a5a5a;
    c->cpu->regs[CPU_EDI] = AT_DATA + 0xff0;
    c->cpu->regs[CPU_ECX] = 8;
    call(c, cpu_h_rep_stos, CPU_STR(CPU_DS, 2, LENGTH) | CPU_STR_A32);
    assert_int_equal(c->cpu->fault.pending, 1);
    assert_int_equal(c->cpu->fault.kind, CPU_RESTART);
    assert_int_equal(c->cpu->regs[CPU_ECX], 4);
    c->cpu->fault.pending = 0;
    c->restart = false;
    run(c, cpu_h_rep_stos, CPU_STR(CPU_DS, 2, LENGTH) | CPU_STR_A32);
    assert_int_equal(c->written, 4);
    c->cpu->regs[CPU_EDI] -= 4 * 4;                     // the same bytes again change no code
    c->cpu->regs[CPU_ECX] = 4;
    run(c, cpu_h_rep_stos, CPU_STR(CPU_DS, 2, LENGTH) | CPU_STR_A32);
    assert_int_equal(c->written, 4);
}

// ---- ports --------------------------------------------------------------------------------------
typedef struct Fifo { u32 next, out[64], outs; } Fifo;
static u32 fifo_in(void *self, u16 port, unsigned size) {
    (void)port, (void)size;
    return ((Fifo *)self)->next++;
}
static void fifo_out(void *self, u16 port, unsigned size, u32 value) {
    Fifo *f = self;
    (void)port, (void)size;
    f->out[f->outs++ % 64] = value;
}

static void test_ports(void **state) {
    TestCpu *c = *state;
    Cpu *cpu = c->cpu;
    Fifo f = { 0 };
    bus_map_ports(c->bus, 0x1f0, 1, &(BusPort){ "fifo", &f, 1 | 2 | 4, fifo_in, fifo_out });
    testcpu_page(c, 7);
    poke32(c, AT_PT + 4 * 0x101, 0);
    cpu->regs[CPU_EDX] = 0xffff01f0;
    cpu->regs[CPU_EDI] = AT_DATA + 0xff8;
    cpu->regs[CPU_ECX] = 10;
    call(c, cpu_h_rep_ins, CPU_STR(CPU_DS, 1, LENGTH) | CPU_STR_A32);
    assert_fault(c, VEC_PF, 2);
    assert_int_equal(f.next, 4);                            // no datum lost to the fault
    assert_int_equal(cpu->regs[CPU_ECX], 6);
    poke32(c, AT_PT + 4 * 0x101, 0x101007);
    run(c, cpu_h_rep_ins, CPU_STR(CPU_DS, 1, LENGTH) | CPU_STR_A32);
    for (u32 i = 0; i < 10; i++) assert_int_equal(peek16(c, AT_DATA + 0xff8 + 2 * i), i);
    cpu->regs[CPU_ESI] = AT_DATA + 0xff8;
    cpu->regs[CPU_ECX] = 5;
    run(c, cpu_h_rep_outs, CPU_STR(CPU_DS, 2, LENGTH) | CPU_STR_A32);
    for (u32 i = 0; i < 5; i++) assert_int_equal(f.out[i], (2 * i + 1) << 16 | 2 * i);
    cpu_h_outs(cpu, CPU_STR(CPU_DS, 0, LENGTH) | CPU_STR_A32);
    assert_int_equal(f.outs, 6);
    assert_int_equal(cpu->regs[CPU_ECX], 0);
    testcpu_ring3(c, 2);
    memset(at(c, AT_TSS_A + 0x68), 0xff, 0x98);
    cpu->regs[CPU_ECX] = 5;
    call(c, cpu_h_rep_outs, CPU_STR(CPU_DS, 2, LENGTH) | CPU_STR_A32);
    assert_fault(c, VEC_GP, 0);
    assert_int_equal(f.outs, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_PROTECTED(test_random), TEST_PROTECTED(test_wrap), TEST_PROTECTED(test_zero_count),
        TEST_PROTECTED(test_fault_in_the_middle), TEST_PROTECTED(test_limits),
        TEST_PROTECTED(test_bounded), TEST_PROTECTED(test_rows),
        TEST_PROTECTED(test_row_over_code), TEST_PROTECTED(test_alias),
        TEST_PROTECTED(test_restart), TEST_PROTECTED(test_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
