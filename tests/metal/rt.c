// SPDX-License-Identifier: MIT
// The runtime in C: tables, the window, runs, results. rt.h is its manual.
#include "rt.h"

#include <stdarg.h>
#include <stdbool.h>

u32 page_dir[1024] __attribute__((aligned(4096)));
u32 page_low[1024] __attribute__((aligned(4096)));
u32 page_win[1024] __attribute__((aligned(4096)));
u64 idt[64] __attribute__((aligned(8)));
u8 user_stack[4096] __attribute__((aligned(4096)));
u8 kernel_stack[4096] __attribute__((aligned(4096)));
u8 esp0_stack[4096] __attribute__((aligned(4096)));
Tss tss;

extern State rt_in;
extern u32 rt_raw[], rt_raw_ss, rt_raw_esp, rt_cr2, rt_dr6, r_state[16];
extern u8 r_vector;
extern const u8 rt_real_stubs[];
void rt_enter(void);
void rt_enter_real(void);
void rt_main(void);
void rt_unexpected(void);

static u64 gdt_first[8];
static struct {
    char name[96];
    char problem[400];
    u32 used;
    bool open, skipped;
    u32 good, bad;
} rt;

// ---- libc's share -------------------------------------------------------------------------------
void *memcpy(void *to, const void *from, unsigned bytes) {
    void *t = to;
    __asm__ volatile("rep movsb" : "+D"(t), "+S"(from), "+c"(bytes) :: "memory");
    return to;
}

void *memset(void *to, int value, unsigned bytes) {
    u8 *t = to;
    while (bytes--) *t++ = (u8)value;
    return to;
}

int memcmp(const void *a, const void *b, unsigned bytes) {
    const u8 *x = a, *y = b;
    u32 words = bytes / 4;
    __asm__ volatile("repe cmpsl; jne 1f; add $4, %0; add $4, %1; 1: sub $4, %0; sub $4, %1"
                     : "+S"(x), "+D"(y), "+c"(words) :: "memory", "cc");
    bytes = (u32)((const u8 *)a + bytes - x);
    for (; bytes--; x++, y++)
        if (*x != *y) return *x - *y;
    return 0;
}

// ---- text ---------------------------------------------------------------------------------------
typedef struct Text { char *at, *end; } Text;

static void text_put(Text *t, char c) {
    if (t->at + 1 < t->end) *t->at++ = c;
}

static void text_number(Text *t, u32 v, u32 base) {
    char digits[12];
    int n = 0;
    do digits[n++] = "0123456789abcdef"[v % base];
    while (v /= base);
    while (n) text_put(t, digits[--n]);
}

static u32 text_format(char *to, u32 size, const char *f, va_list args) {
    Text t = { to, to + size };
    for (; *f; f++) {
        if (*f != '%') {
            text_put(&t, *f);
            continue;
        }
        switch (*++f) {
        case 's': for (const char *s = va_arg(args, const char *); *s; s++) text_put(&t, *s); break;
        case 'u': text_number(&t, va_arg(args, u32), 10); break;
        case 'x': text_number(&t, va_arg(args, u32), 16); break;
        case 'c': text_put(&t, (char)va_arg(args, int)); break;
        case 'd': {
            i32 v = va_arg(args, i32);
            if (v < 0) text_put(&t, '-');
            text_number(&t, v < 0 ? 0 - (u32)v : (u32)v, 10);
            break;
        }
        default: text_put(&t, *f); break;
        }
    }
    *t.at = 0;
    return (u32)(t.at - to);
}

static void put_string(const char *s) {
    while (*s) outb(0xe9, (u8)*s++);
}

void print(const char *format, ...) {
    char line[640];
    va_list args;
    va_start(args, format);
    text_format(line, sizeof line, format, args);
    va_end(args);
    put_string(line);
}

// ---- results ------------------------------------------------------------------------------------
static void report(void) {
    if (!rt.open) return;
    rt.open = false;
    if (rt.skipped) {
        print("skip %s: %s\n", rt.name, rt.problem);
    } else if (rt.used) {
        rt.bad++;
        put_string("FAIL ");
        put_string(rt.name);
        put_string(":");
        put_string(rt.problem);
        put_string("\n");
    } else {
        rt.good++;
        print("ok %s\n", rt.name);
    }
}

void test(const char *format, ...) {
    report();
    va_list args;
    va_start(args, format);
    text_format(rt.name, sizeof rt.name, format, args);
    va_end(args);
    for (char *c = rt.name; *c; c++)
        if (*c == ':') *c = ',';                         // a colon ends the name in `FAIL name: why`
    rt.open = true;
    rt.skipped = false;
    rt.used = 0;
    rt.problem[0] = 0;
}

static void problem(const char *format, ...) {              // the first few words are enough
    va_list args;
    if (rt.open && rt.used > 200) return;
    if (!rt.open) test("(no name)");
    va_start(args, format);
    rt.used += text_format(rt.problem + rt.used, sizeof rt.problem - rt.used, format, args);
    va_end(args);
}

void skip(const char *why) {
    problem("%s", why);
    rt.skipped = true;
}

void expect(const char *what, u32 got, u32 want) {
    if (got != want) problem(" %s expected 0x%x got 0x%x;", what, want, got);
}

void expect_bits(const char *what, u32 got, u32 want, u32 mask) {
    expect(what, got & mask, want & mask);
}

void expect_mem(const char *what, const void *got, const void *want, u32 bytes) {
    const u8 *g = got, *w = want;
    for (u32 i = 0; i < bytes; i++) {
        if (g[i] == w[i]) continue;
        problem(" %s byte %u expected 0x%x got 0x%x;", what, i, w[i], g[i]);
        return;
    }
}

void expect_same(const State *got, const State *want, unsigned what) {
    static const char *const name[16] = {
        "eax", "ecx",    "edx", "ebx", "esp", "ebp", "esi", "edi",
        "eip", "eflags", "cs",  "ss",  "ds",  "es",  "fs",  "gs"
    };
    for (unsigned i = 0; i < 16; i++) {
        unsigned kind = i == 4 ? ESP : i < 8 ? REGS : i == 8 ? EIP : i == 9 ? FLAGS : SEGS;
        u32 mask = i >= 10 ? 0xffff : i == 9 ? ~(u32)F_RF : 0xffffffff;
        if (what & kind) expect_bits(name[i], (&got->eax)[i], (&want->eax)[i], mask);
    }
}

void expect_fault(const State *got, const State *before, u32 vector, u32 error, u32 eip) {
    State want = *before;
    want.eip = eip;
    expect("vector", got->vector, vector);
    expect("error", got->error, error);
    expect_same(got, &want, ALL);
}

void expect_exit(const State *got) {
    expect("vector", got->vector, V_EXIT);
    if (got->vector != V_EXIT)
        problem(" (error 0x%x eip 0x%x cr2 0x%x);", got->error, got->eip, got->cr2);
}

void finish(void) {
    report();
    print("done: %u ok, %u failed\n", rt.good, rt.bad);
    outb(0xf4, rt.bad ? 0x11 : 0x10);
    for (const char *s = "Shutdown"; *s; s++) outb(0x8900, (u8)*s);      // Bochs
    for (;;) __asm__ volatile("cli; hlt");
}

void rt_unexpected(void) {
    problem(" exception 0x%x in the runtime, error 0x%x eip 0x%x cr2 0x%x;", rt_raw[12], rt_raw[13],
            rt_raw[14], rt_cr2);
    finish();
}

// ---- tables -------------------------------------------------------------------------------------
u64 descriptor(u32 base, u32 limit, u32 access) {
    u32 lo = base << 16 | (limit & 0xffff);
    u32 hi = (base & 0xff000000) | (base >> 16 & 0xff) | (limit & 0xf0000) | (access & 0xf0ff) << 8;
    return (u64)hi << 32 | lo;
}

u64 gate(u32 selector, u32 offset, u32 access, u32 params) {
    return (u64)((offset & 0xffff0000) | access << 8 | params) << 32 | selector << 16 |
           (offset & 0xffff);
}

void gdt_set(u32 selector, u64 value) { gdt[selector >> 3] = value; }

void idt_default(u32 vector) {
    bool open = vector == 3 || vector == 4 || vector == V_EXIT;
    idt[vector] = gate(KCS, ADDR(rt_stubs) + 16 * vector, D_INT32 | (open ? D_DPL3 : 0), 0);
}

void flush_tlb(void) { set_cr3(get_cr3()); }

void map(u32 page, u32 flags) {
    page_win[page] = flags ? ADDR(win_phys(page)) | flags : 0;
    __asm__ volatile("invlpg (%0)" :: "r"(win(page)) : "memory");
}

void fill(void *at, u32 bytes, u32 seed) {
    for (u8 *p = at; bytes--; p++) {
        seed = seed * 1664525 + 1013904223;
        *p = (u8)(seed >> 24);
    }
}

void win_reset(void) {
    for (u32 i = 0; i < 256; i++) page_win[i] = ADDR(win_phys(i)) | PTE_ALL;
    flush_tlb();
    static u8 pattern[4 * 4096];
    if (!pattern[0]) fill(pattern, sizeof pattern, 1);
    memcpy(win_phys(0), pattern, sizeof pattern);
}

static void tables_paging(void) {
    for (u32 i = 0; i < 1024; i++) page_low[i] = i << 12 | PTE_ALL;
    memset(page_win, 0, sizeof page_win);
    memset(page_dir, 0, sizeof page_dir);
    page_dir[0] = ADDR(page_low) | PTE_ALL;
    page_dir[1] = ADDR(page_win) | PTE_ALL;
    set_cr3(ADDR(page_dir));
}

static void tables_tss(void) {
    memset(&tss, 0, sizeof tss);
    tss.esp0 = ADDR(esp0_stack) + sizeof esp0_stack;
    tss.ss0 = KDS;
    tss.iomap = TSS_BYTES;
    tss.cr3 = ADDR(page_dir);
    gdt_set(TSS_SEL, descriptor(ADDR(&tss), TSS_BYTES - 1, D_TSS32));
    __asm__ volatile("ltr %w0" :: "r"(TSS_SEL));
}

void rt_reset(void) {
    static const u32 zero = 0;
    __asm__ volatile("mov %0, %%dr7; mov %1, %%dr6" :: "r"(0x400), "r"(0xffff0ff0));
    memcpy(gdt, gdt_first, sizeof gdt_first);
    memset(gdt + 8, 0, sizeof gdt - 64);
    __asm__ volatile("lldt %w0; mov %w0, %%fs; mov %w0, %%gs" :: "r"(zero));
    for (u32 i = 0; i < 64; i++) idt_default(i);
    tables_tss();
    tables_paging();
    set_cr0(0x80000011 | CR0_MP | CR0_NE);
    if (cpu_features() & 1 << 3) set_cr4(0);
    win_reset();
    __asm__ volatile("fninit");
}

u32 cpu_features(void) {
    u32 r[4];
    cpuid(1, r);
    return r[3];
}

void rt_main(void) {
    extern const u8 rt_idtr[];
    memcpy(gdt_first, gdt, sizeof gdt_first);
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    __asm__ volatile("lidt (%0)" :: "r"(rt_idtr));
    rt_reset();
    test_main();
    finish();
}

// ---- runs ---------------------------------------------------------------------------------------
static State state_registers(const void *code) {
    return (State){ .eax = 0xa0a1a2a3, .ecx = 0xc0c1c2c3, .edx = 0xd0d1d2d3, .ebx = 0xb0b1b2b3,
                    .ebp = 0xe0e1e2e3, .esi = 0x51525354, .edi = 0xd1d2d3d4, .eip = ADDR(code),
                    .eflags = F_ONE };
}

State kernel_state(const void *code) {
    State s = state_registers(code);
    s.cs = KCS;
    s.ss = s.ds = s.es = KDS;
    s.esp = ADDR(kernel_stack) + 2048;
    return s;
}

State user_state(const void *code) {
    State s = state_registers(code);
    s.cs = UCS;
    s.ss = s.ds = s.es = UDS;
    s.esp = ADDR(user_stack) + 2048;
    return s;
}

State ring_state(unsigned ring, const void *code) {
    return ring ? user_state(code) : kernel_state(code);
}

State real_state(const void *code) {
    State s = state_registers(code);
    s.eip = REAL_OFF(code);
    s.cs = REAL_SEG;
    s.ds = s.es = s.fs = s.gs = 0x9000;
    s.ss = 0x8f00;
    s.esp = 0x0f00;
    return s;
}

State v86_state(const void *code) {
    State s = real_state(code);
    s.eflags |= F_VM;
    return s;
}

static u32 segment_base(u32 selector) {
    u64 d = gdt[selector >> 3];
    return (u32)(d >> 16 & 0xffffff) | (u32)(d >> 56) << 24;
}

State run(const State *s) {
    rt_in = *s;
    bool outer = s->cs & 3 || s->eflags & F_VM;
    if (!outer) {
        u32 *frame = (u32 *)(segment_base(s->ss) + s->esp) - 3;
        frame[0] = s->eip;
        frame[1] = s->cs;
        frame[2] = s->eflags;
    }
    rt_enter();
    const u32 *r = rt_raw;
    State o = { .gs = r[0] & 0xffff,
                .fs = r[1] & 0xffff,
                .es = r[2] & 0xffff,
                .ds = r[3] & 0xffff,
                .edi = r[4],
                .esi = r[5],
                .ebp = r[6],
                .ebx = r[8],
                .edx = r[9],
                .ecx = r[10],
                .eax = r[11],
                .vector = r[12],
                .error = r[13],
                .eip = r[14],
                .cs = r[15] & 0xffff,
                .eflags = r[16],
                .cr2 = rt_cr2,
                .dr6 = rt_dr6 };
    o.frame = rt_raw_esp + 14 * 4 + (rt_raw_ss == KDS ? 0 : segment_base(rt_raw_ss));
    o.esp = rt_raw_esp + 17 * 4;
    o.ss = rt_raw_ss & 0xffff;
    if (o.cs & 3 || o.eflags & F_VM) {
        o.esp = r[17];
        o.ss = r[18] & 0xffff;
    }
    if (o.eflags & F_VM) {
        o.es = r[19] & 0xffff;
        o.ds = r[20] & 0xffff;
        o.fs = r[21] & 0xffff;
        o.gs = r[22] & 0xffff;
    }
    return o;
}

// In real mode the stub has saved the registers; the frame is read from the stack.
State run_real(const State *s) {
    u32 *ivt = (u32 *)0;
    __asm__ volatile("" : "+r"(ivt));
    for (u32 i = 0; i < 64; i++) ivt[i] = REAL_SEG << 16 | (REAL_OFF(rt_real_stubs) + 16 * i);
    memcpy(r_state, s, sizeof(u32) * 16);
    r_vector = 0xff;
    rt_enter_real();
    State o = { 0 };
    memcpy(&o, r_state, sizeof(u32) * 16);
    u32 base = (o.ss & 0xffff) << 4;
    u16 word[3];
    for (u32 i = 0; i < 3; i++) word[i] = *(u16 *)(base + ((o.esp + 2 * i) & 0xffff));
    o.eip = word[0];
    o.cs = word[1];
    o.eflags = word[2];
    o.esp = (o.esp & 0xffff0000) | ((o.esp + 6) & 0xffff);
    for (unsigned i = 10; i < 16; i++) (&o.eax)[i] &= 0xffff;
    o.vector = r_vector;
    return o;
}
