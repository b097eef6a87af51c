// SPDX-License-Identifier: MIT
// The runtime of the bare-metal tests: what a test file sees.
//
//     CODE(load_eax, "mov (%ebx), %eax");             // test code, ends in a trap of its own
//     static void test_load(void) {
//         State s = user_state(load_eax);             // or kernel_state(), v86_state(),
//         real_state() s.ebx = win(0); map(0, 0);                                  // the window's
//         first page: not present State o = run(&s); test("load from a missing page");
//         expect("vector", o.vector, 14);
//         expect("cr2", o.cr2, win(0));
//         expect_same(&o, &s, REGS);
//     }
//     void test_main(void) { test_load(); }
//
// Memory
//   00000000  real mode vectors (written for run() in real mode)
//   00010000  code and data of the image; identity mapped, user, writable
//   00100000  free memory, identity mapped up to 00400000
//   00400000  the window: 1024 pages, page n maps 00300000 + n * 4096 (n < 256) as map() says
// Selectors 0x40 and up and vectors 0x31 and up are free for tests. One vector, 0x30, ends test
// code.
#ifndef METAL_RT_H
#define METAL_RT_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;

#define KCS 0x08u
#define KDS 0x10u
#define UCS 0x1bu
#define UDS 0x23u
#define TSS_SEL 0x38u
#define FREE_SEL 0x40u

enum {
    F_CF = 1,
    F_ONE = 2,
    F_PF = 4,
    F_AF = 0x10,
    F_ZF = 0x40,
    F_SF = 0x80,
    F_TF = 0x100,
    F_IF = 0x200,
    F_DF = 0x400,
    F_OF = 0x800,
    F_IOPL = 0x3000,
    F_NT = 0x4000,
    F_RF = 0x10000,
    F_VM = 0x20000,
    F_AC = 0x40000,
    F_ID = 0x200000,
    F_ARITH = 0x8d5
};
enum {
    V_DE,
    V_DB,
    V_NMI,
    V_BP,
    V_OF,
    V_BR,
    V_UD,
    V_NM,
    V_DF,
    V_TS = 10,
    V_NP,
    V_SS,
    V_GP,
    V_PF,
    V_MF = 16,
    V_AC,
    V_EXIT = 0x30
};

typedef struct State {
    u32 eax, ecx, edx, ebx, esp, ebp, esi, edi, eip, eflags, cs, ss, ds, es, fs, gs;
    u32 vector, error, cr2, dr6;    // results of run()
    u32 frame;                      // address of the pushed EIP (linear; protected mode only)
} State;

// Test code in a section of its own kind; NAME is its address, NAME_end its end.
#define CODE_IN(section, mode, name, text) \
    extern const u8 name[], name##_end[]; \
    __asm__(".pushsection " section ",\"ax\"\n" mode "\n.globl " #name "\n" #name ":\n" text \
            "\nint $0x30\n" #name "_end:\n.code32\n.popsection")
#define CODE(name, text) CODE_IN(".text", ".code32", name, text)
#define CODE16(name, text) CODE_IN(".text16", ".code16", name, text)
// Code whose instruction of interest is at NAME_at and ends at NAME_next.
#define ICODE(name, before, insn) \
    extern const u8 name##_at[], name##_next[]; \
    CODE(name, before AT(name##_at) insn AT(name##_next))
#define ICODE16(name, before, insn) \
    extern const u8 name##_at[], name##_next[]; \
    CODE16(name, before AT(name##_at) insn AT(name##_next))
// An address inside test code, for expectations: AT(x) in the text, LABEL(x) to declare it.
#define AT(name) "\n.globl " #name "\n" #name ":\n"
#define LABEL(name) extern const u8 name[]
#define ADDR(x) ((u32)(x))
#define REAL_SEG 0x1000u            // of .text16
#define REAL_OFF(x) (ADDR(x) - 0x10000u)

State kernel_state(const void *code);    // ring 0, flat, a stack of its own
State user_state(const void *code);      // ring 3
State ring_state(unsigned ring, const void *code);
State v86_state(const void *code);       // CODE16 code; stack at 2000:fff0 .. linear 0x2fff0 region
State real_state(const void *code);      // the same, run by run_real()
State run(const State *s);
State run_real(const State *s);

// ---- results ------------------------------------------------------------------------------------
void print(const char *format, ...);     // %s %d %u %x %c
void test(const char *format, ...);      // begins a check; the next test() or the end reports it
void expect(const char *what, u32 got, u32 want);
void expect_bits(const char *what, u32 got, u32 want, u32 mask);
enum { REGS = 1, ESP = 2, EIP = 4, FLAGS = 8, SEGS = 16, ALL = 31 };
void expect_same(const State *got, const State *want, unsigned what);
// A fault at `eip` with nothing else changed. (RF in the image is not looked at: exc.c is for
// that.)
void expect_fault(const State *got, const State *before, u32 vector, u32 error, u32 eip);
void expect_exit(const State *got);      // the code ran to its end
void expect_mem(const char *what, const void *got, const void *want, u32 bytes);
void skip(const char *why);

// ---- machine ------------------------------------------------------------------------------------
#define PTE_P 1u
#define PTE_W 2u
#define PTE_U 4u
#define PTE_A 0x20u
#define PTE_D 0x40u
#define PTE_PS 0x80u
#define PTE_G 0x100u
#define PTE_ALL (PTE_P | PTE_W | PTE_U)
extern u32 page_dir[1024], page_low[1024], page_win[1024];
static inline u32 win(u32 page) { return 0x400000 + page * 4096; }
static inline u8 *win_phys(u32 page) {
    return (u8 *)(0x300000 + page * 4096);
} // its identity alias
void map(u32 page, u32 flags);           // window page -> its memory, and INVLPG
void flush_tlb(void);
void win_reset(void);                    // 256 pages of the window mapped, 4 filled with a pattern
void fill(void *at, u32 bytes, u32 seed);

extern u64 gdt[64], idt[64];
typedef struct Tss {
    u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi,
        edi, es, cs, ss, ds, fs, gs, ldt;
    u16 trap, iomap;
    u8 bitmap[8193];
} Tss;
#define TSS_BYTES (104 + 8193u)
extern Tss tss;
u64 descriptor(u32 base, u32 limit,
               u32 access); // access: bits 8-15 of the high dword | bits 20-23 << 8
enum {
    D_CODE = 0x9a,
    D_DATA = 0x92,
    D_DPL3 = 0x60,
    D_32 = 0x4000,
    D_G = 0x8000,
    D_ACCESSED = 1,
    D_TSS32 = 0x89,
    D_TSS16 = 0x81,
    D_LDT = 0x82,
    D_CALL32 = 0x8c,
    D_CALL16 = 0x84,
    D_TASK = 0x85,
    D_INT32 = 0x8e,
    D_TRAP32 = 0x8f,
    D_INT16 = 0x86,
    D_TRAP16 = 0x87
};
u64 gate(u32 selector, u32 offset, u32 access, u32 params);
void gdt_set(u32 selector, u64 value);
void idt_default(u32 vector);            // the runtime's gate again (DPL 3 for 3, 4 and 0x30)
void rt_reset(void); // GDT, IDT, TSS, CR0, CR3, CR4, DRs, window as at the start
extern u8 user_stack[4096], kernel_stack[4096], esp0_stack[4096];
extern const u8 rt_stubs[];

static inline u32 get_cr0(void) { u32 v; __asm__ volatile("mov %%cr0, %0" : "=r"(v)); return v; }
static inline u32 get_cr3(void) { u32 v; __asm__ volatile("mov %%cr3, %0" : "=r"(v)); return v; }
static inline u32 get_cr4(void) { u32 v; __asm__ volatile("mov %%cr4, %0" : "=r"(v)); return v; }
static inline void set_cr0(u32 v) { __asm__ volatile("mov %0, %%cr0" :: "r"(v) : "memory"); }
static inline void set_cr3(u32 v) { __asm__ volatile("mov %0, %%cr3" :: "r"(v) : "memory"); }
static inline void set_cr4(u32 v) { __asm__ volatile("mov %0, %%cr4" :: "r"(v) : "memory"); }
#define CR0_MP 2u
#define CR0_EM 4u
#define CR0_TS 8u
#define CR0_NE 0x20u
#define CR0_WP 0x10000u
#define CR0_AM 0x40000u
#define CR4_DE 8u
#define CR4_PSE 0x10u
#define CR4_PGE 0x80u
static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(port)); }
static inline u8 inb(u16 port) {
    u8 v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline void cpuid(u32 leaf, u32 out[4]) {
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(0));
}
u32 cpu_features(void);                  // CPUID leaf 1, EDX
#define COUNT(a) (sizeof(a) / sizeof *(a))

void *memcpy(void *to, const void *from, unsigned bytes);
void *memset(void *to, int value, unsigned bytes);
int memcmp(const void *a, const void *b, unsigned bytes);

void test_main(void);
void finish(void) __attribute__((noreturn));

#endif
