// SPDX-License-Identifier: MIT
// What IOPL, the I/O permission bitmap and CPL 0 guard: IN, OUT, INS, OUTS by bitmap; CLI, STI,
// POPF; instructions for ring 0 only. SDM 1 18.5 (I/O protection); SDM 2 CLI, STI, POPF; SDM
// 3A 5.9.
//   T=io tests/metal/run.sh build/glassbox qemu-system-i386 bochs
#include "rt.h"

#define PORT 0x80u                           // the POST port: harmless to write
ICODE(in8, "", "in (%dx), %al");
ICODE(in16, "", "in (%dx), %ax");
ICODE(in32, "", "in (%dx), %eax");
ICODE(out8, "", "out %al, (%dx)");
ICODE(out16, "", "out %ax, (%dx)");
ICODE(out32, "", "out %eax, (%dx)");
ICODE(out8_imm, "", "out %al, $0x80");
ICODE(outs8, "", "outsb");
ICODE(rep_outs8, "", "rep outsb");
ICODE(ins8, "", "insb");

typedef struct Row { const char *name; const u8 *code, *at; u32 bytes; } Row;
#define R(name, bytes) { #name, name, name##_at, bytes }
static const Row rows[] = {
    R(in8, 1),   R(in16, 2),     R(in32, 4),  R(out8, 1),      R(out16, 2),
    R(out32, 4), R(out8_imm, 1), R(outs8, 1), R(rep_outs8, 1), R(ins8, 1),
};

static void allow(u32 port, u32 count) {
    for (u32 p = port; p < port + count; p++) tss.bitmap[p / 8] &= (u8)~(1 << p % 8);
}

static State start(const Row *r, unsigned ring, u32 iopl) {
    State s = ring_state(ring, r->code);
    s.edx = PORT;
    s.ecx = 3;
    s.esi = win(0);
    s.edi = win(1);
    s.eflags |= iopl << 12;
    return s;
}

static void bitmap_set(u32 offset, u32 limit) {
    memset(tss.bitmap, 0xff, sizeof tss.bitmap);
    tss.iomap = (u16)offset;
    gdt_set(TSS_SEL, descriptor(ADDR(&tss), limit, D_TSS32));
    __asm__ volatile("ltr %w0" :: "r"(TSS_SEL));
}

static void run_bitmap(void) {
    for (u32 i = 0; i < COUNT(rows); i++)
        for (u32 allowed = 0; allowed <= rows[i].bytes; allowed++) {
            const Row *r = &rows[i];
            test("io/bitmap/%s/%u of its ports allowed", r->name, allowed);
            rt_reset();
            bitmap_set(104, TSS_BYTES - 1);
            allow(PORT, allowed);
            State s = start(r, 3, 0), o = run(&s);
            if (allowed >= r->bytes) expect_exit(&o);
            else expect_fault(&o, &s, V_GP, 0, ADDR(r->at));
        }
}

static void run_bitmap_places(void) {
    static const struct { const char *name; u32 port, bytes, offset, limit, works; } places[] = {
        { "word over two bytes of the map", 0x87, 2, 104, 104 + 8192, 1 },
        { "map ends with the port's byte, one more is needed", 0x80, 1, 104, 104 + 16, 0 },
        { "map ends one byte further", 0x80, 1, 104, 104 + 17, 1 },
        { "map outside the TSS", 0x80, 1, 0x3000, 104 + 8192, 0 },
        { "map at the TSS's limit", 0x80, 1, 104, 104, 0 },
        { "last port, word", 0xffff, 2, 104, 104 + 8192, 0 },
    };
    for (u32 i = 0; i < COUNT(places); i++) {
        test("io/bitmap/%s", places[i].name);
        rt_reset();
        bitmap_set(places[i].offset, places[i].limit);
        allow(places[i].port, places[i].port == 0xffff ? 1 : 2);
        const Row *r = &rows[places[i].bytes == 2 ? 4 : 3];
        State s = start(r, 3, 0);
        s.edx = places[i].port;
        State o = run(&s);
        if (places[i].works) expect_exit(&o);
        else expect_fault(&o, &s, V_GP, 0, ADDR(r->at));
    }
    test("io/bitmap/none in a 16-bit TSS");
    rt_reset();
    static u16 small[60];
    gdt_set(FREE_SEL, descriptor(ADDR(small), sizeof small - 1, D_TSS16));
    small[2] = KDS;
    small[1] = (u16)(ADDR(esp0_stack) + 4096);
    // SP0 has 16 bits: a stack segment that begins where the stack is
    gdt_set(0x48, descriptor(ADDR(esp0_stack), 0xfff, D_DATA | D_32));
    small[1] = 0xf00;
    small[2] = 0x48;
    small[0x66 / 2 - 1] = 0x68;
    __asm__ volatile("ltr %w0" :: "r"(FREE_SEL));
    State s = start(&rows[3], 3, 0), o = run(&s);
    expect("vector", o.vector, V_GP);
    expect("error", o.error, 0);
}

static void run_iopl(void) {
    for (u32 i = 0; i < COUNT(rows); i++)
        for (u32 iopl = 0; iopl < 4; iopl++) {
            test("io/IOPL %u/%s", iopl, rows[i].name);
            rt_reset();
            bitmap_set(104, TSS_BYTES - 1);
            State s = start(&rows[i], 3, iopl), o = run(&s);
            if (iopl == 3) expect_exit(&o);
            else expect_fault(&o, &s, V_GP, 0, ADDR(rows[i].at));
        }
    test("io/ring 0 is not asked");
    rt_reset();
    bitmap_set(104, TSS_BYTES - 1);
    State s = start(&rows[3], 0, 0), o = run(&s);
    expect_exit(&o);
}

// The permission comes before the memory operand.
static void run_order(void) {
    test("io/no permission comes before a missing page");
    rt_reset();
    bitmap_set(104, TSS_BYTES - 1);
    State s = start(&rows[7], 3, 0);
    map(0, 0);
    State o = run(&s);
    expect_fault(&o, &s, V_GP, 0, ADDR(outs8_at));
    test("io/OUTS from a missing page");
    allow(PORT, 1);
    o = run(&s);
    expect_fault(&o, &s, V_PF, 4, ADDR(outs8_at));
    expect("cr2", o.cr2, win(0));
}

// ---- IF -----------------------------------------------------------------------------------------
ICODE(cli, "", "cli");
ICODE(sti, "", "sti");
ICODE(popf_eax, "push %eax", "popf");
ICODE(popfw_eax, "push %eax", "popfw");
static void run_if(void) {
    for (u32 ring = 0; ring < 4; ring += 3)
        for (u32 iopl = 0; iopl < 4; iopl++)
            for (u32 set = 0; set < 2; set++) {
                test("io/%s/ring%u/IOPL %u", set ? "sti" : "cli", ring, iopl);
                rt_reset();
                State s = ring_state(ring, set ? sti : cli);
                s.eflags |= iopl << 12 | (set ? 0 : F_IF);
                State o = run(&s);
                if (iopl < ring) {
                    expect_fault(&o, &s, V_GP, 0, ADDR(set ? sti_at : cli_at));
                } else {
                    expect_exit(&o);
                    expect("eflags", o.eflags, s.eflags ^ F_IF);
                }
            }
}

static void run_popf(void) {
    static const u32 all = F_ARITH | F_IF | F_DF | F_IOPL | F_NT | F_RF | F_VM | F_AC | F_ID;
    for (u32 small = 0; small < 2; small++)
        for (u32 ring = 0; ring < 4; ring += 3)
            for (u32 iopl = 0; iopl < 4; iopl += 3)
                for (u32 set = 0; set < 2; set++) {
                    test("io/popf%s/ring%u/IOPL %u/%s", small ? "w" : "", ring, iopl,
                         set ? "set" : "clear");
                    rt_reset();
                    State s = ring_state(ring, small ? popfw_eax : popf_eax);
                    u32 old = iopl << 12 | (set ? 0 : F_ARITH | F_IF | F_DF | F_AC | F_ID);
                    s.eflags |= old;
                    s.eax = set ? all : 0;
                    State o = run(&s);
                    u32 mask = F_ARITH | F_DF | F_NT | F_AC | F_ID;
                    if (ring == 0) mask |= F_IOPL;
                    if (ring <= iopl) mask |= F_IF;
                    if (small) mask &= 0xffff;
                    expect_exit(&o);
                    expect("eflags", o.eflags, F_ONE | (old & ~mask) | (s.eax & mask));
                    // NT would turn the runtime's next IRET into a task switch: its INT has cleared
                    // it
                }
}

// ---- ring 0 only --------------------------------------------------------------------------------
#define PRIVILEGED(P) \
    P(hlt, "hlt") P(clts, "clts") P(lgdt, "lgdt (%ebx)") P(lidt, "lidt (%ebx)") \
    P(lldt, "lldt %ax") \
    P(ltr, "ltr %ax") P(lmsw, "lmsw %ax") P(mov_to_cr0, "mov %eax, %cr0") \
    P(mov_from_cr0, "mov %cr0, %eax") \
    P(mov_from_cr2, "mov %cr2, %eax") P(mov_to_cr3, "mov %eax, %cr3") \
    P(mov_from_cr4, "mov %cr4, %eax") \
    P(mov_to_dr7, "mov %eax, %dr7") P(mov_from_dr0, "mov %dr0, %eax") P(invlpg, "invlpg (%ebx)") \
    P(invd, "invd") P(wbinvd, "wbinvd") P(rdmsr, "rdmsr") P(wrmsr, "wrmsr")
#define P(name, text) ICODE(p_##name, "", text);
PRIVILEGED(P)
#undef P
static const Row privileged[] = {
#define P(name, text) { #name, p_##name, p_##name##_at, 0 },
    PRIVILEGED(P)
#undef P
};

ICODE(rdtsc, "", "rdtsc");
static void run_privileged(void) {
    for (u32 i = 0; i < COUNT(privileged); i++) {
        test("io/ring 0 only/%s", privileged[i].name);
        rt_reset();
        State s = user_state(privileged[i].code);
        s.ebx = win(0);
        s.eflags |= F_IOPL;
        map(0, 0);                               // the privilege is checked first
        State o = run(&s);
        expect_fault(&o, &s, V_GP, 0, ADDR(privileged[i].at));
    }
    for (u32 tsd = 0; tsd < 2; tsd++)
        for (u32 ring = 0; ring < 4; ring += 3) {
            test("io/RDTSC/TSD %u/ring%u", tsd, ring);
            rt_reset();
            set_cr4(tsd ? 4 : 0);
            State s = ring_state(ring, rdtsc), o = run(&s);
            if (tsd && ring) expect_fault(&o, &s, V_GP, 0, ADDR(rdtsc_at));
            else expect_exit(&o);
        }
}

void test_main(void) {
    run_bitmap();
    run_bitmap_places();
    run_iopl();
    run_order();
    run_if();
    run_popf();
    run_privileged();
    rt_reset();
}
