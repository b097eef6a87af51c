// SPDX-License-Identifier: MIT
// The processor: architectural state, and what executes it calls.
//
// This struct is the one open struct of the project: generated code addresses its first part from a
// pinned register (r14); where its fields lie decides how long generated code's instructions are.
//
// Rules
//  1. Guest faults are values: a function that can fault returns false (or leaves cpu->fault.pending
//     set) and has changed no register, flag or memory byte.
//  2. cpu->eip is only exact between blocks and where a comment says so. In a helper that ends a
//     block it holds the address of the NEXT instruction; the faulting instruction's address is found
//     by the caller (restore record), who sets eip before cpu_deliver().
//  3. The arithmetic flags are the recipe flag_op/a/b/c; `eflags` holds all other bits and its OSZAPC
//     bits are always 0. DF is eflags' bit and `df` (+1 or -1), kept equal by cpu_set_eflags().
//  4. Files named *_fast.c (and cpu_slow_*) are compiled -mgeneral-regs-only and call no libc.
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include "base/base.h"
#include "base/flags.h"
#include "bus/bus.h"

enum { CPU_EAX, CPU_ECX, CPU_EDX, CPU_EBX, CPU_ESP, CPU_EBP, CPU_ESI, CPU_EDI };  // ORDER: encoding
enum { CPU_ES, CPU_CS, CPU_SS, CPU_DS, CPU_FS, CPU_GS };                          // ORDER: encoding

// ---- mode word: what translated code depends on besides its bytes -----------------------------------
// bits 0-1 CPL | 2 code32 (CS.D) | 3 stack32 (SS.B) | 4 PE | 5 VM86 | 6 TF (single step)
// 7 FPU instructions raise #NM (CR0.EM or TS) | 8 WAIT raises #NM (MP and TS) | 9 IOPL >= CPL (CLI/STI/IN/OUT allowed)
// 10 alignment checks (CPL 3, AM, AC) | 11 debug registers armed | 12-23 class of ES CS SS DS FS GS, two bits each
// 24 SSE usable (CR4.OSFXSR, not CR0.EM) | 25 CPL 3: code expects the window's base as addend (cpu/window.c)
#define MODE_CPL 0x3u
#define MODE_CODE32 BIT(2)
#define MODE_STACK32 BIT(3)
#define MODE_PE BIT(4)
#define MODE_VM BIT(5)
#define MODE_TF BIT(6)
#define MODE_FPU_NM BIT(7)
#define MODE_WAIT_NM BIT(8)
#define MODE_IO_OK BIT(9)
#define MODE_AC BIT(10)
#define MODE_DEBUG BIT(11)
#define MODE_SEG_SHIFT(s) (12 + 2 * (s))
#define MODE_SEG_CLASS(mode, s) ((mode) >> MODE_SEG_SHIFT(s) & 3)
#define MODE_SSE BIT(24)
#define MODE_WINDOW BIT(25)

#define CPU_CR0_MP BIT(1)
#define CPU_CR0_EM BIT(2)
#define CPU_CR0_TS BIT(3)

#define CPU_MXCSR_RESET 0x1f80u
#define CPU_MXCSR_BITS 0xffffu       // that can be set; others are #GP(0)

// Segment classes: what an access through the segment must still check.
enum {
    SEG_CHECKED,   // compare the offset with read_end[]/write_end[], add the base
    SEG_FLAT,      // base 0, limit 4 GiB, read/write data (CS: readable code; writes not proved): nothing
    SEG_BASED,     // limit 4 GiB, read/write: add the base only
    SEG_REAL,      // limit exactly 0xffff, read/write, base a multiple of 16: with 16-bit addresses only
                   //   an unaligned access can exceed the limit; with 32-bit addresses treat as CHECKED
};

typedef struct CpuSeg {
    u32 base;            // linear address of offset 0
    u32 limit;           // last valid offset (byte granular; expand-down: last INvalid offset)
    u32 read_end[4];     // exclusive bound for the offset of a read of 1, 2, 4, 8 bytes: offset < read_end
    u32 write_end[4];    //   is always fine without further checks; 0: take the slow path, which decides
    u16 selector;        // visible part
    u16 access;          // descriptor bits 8-15 and 20-23 as in the high dword's bits 8-23 (>> 8):
                         //   0-3 type, 4 S, 5-6 DPL, 7 P, 12 AVL, 14 D/B, 15 G
} CpuSeg;

#define SEG_ACC_TYPE 0x000fu
#define SEG_ACC_S 0x0010u
#define SEG_ACC_DPL_SHIFT 5
#define SEG_ACC_P 0x0080u
#define SEG_ACC_DB 0x4000u
#define SEG_ACC_G 0x8000u

typedef struct CpuTable { u32 base; u16 limit; } CpuTable;

typedef enum CpuVector {
    VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_OF = 4, VEC_BR = 5, VEC_UD = 6, VEC_NM = 7,
    VEC_DF = 8, VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13, VEC_PF = 14, VEC_MF = 16,
    VEC_AC = 17, VEC_MC = 18, VEC_XM = 19
} CpuVector;

typedef enum CpuFaultKind {
    CPU_FAULT,           // eip of the faulting instruction is pushed
    CPU_TRAP,            // eip after the instruction is pushed (#DB single step, data breakpoints)
    CPU_RESTART,         // no exception: the jit asks to run this instruction alone (see cpu_slow_store)
} CpuFaultKind;

typedef struct CpuFault {
    u8 pending;          // 1: an exception waits for cpu_deliver()
    u8 vector;           // CpuVector
    u8 has_error;
    u8 kind;             // CpuFaultKind
    u32 error;
} CpuFault;

typedef struct CpuMmu CpuMmu;      // cpu/mmu.h

typedef struct CpuFpuPlace {   // the guest's x87 instruction behind a host address, for its pointers
    u32 ip;                    // offset in CS
    u16 op;                    // opcode's low 3 bits << 8 | ModRM
    u8 seg;                    // segment register of its memory operand,
    bool memory;               // if it has one
} CpuFpuPlace;

#define CPU_WATCHES 16
typedef struct CpuWatch {      // a debugger's watchpoint
    u32 addr, bytes;           // linear
    bool reads, writes;        // what counts
    u8 kind;                   // the debugger's
} CpuWatch;

typedef struct CpuModel {      // see cpu/model.h
    const char *name;
    u32 signature;             // CPUID leaf 1 EAX, and EDX after reset
    u32 level, extended;       // highest CPUID leaves; 0: none
    u32 leaf2_eax, leaf2_edx;
    u32 features;              // CPU_HAS_*
} CpuModel;

#define CPU_PMCS 2
typedef struct CpuPmc {        // performance counters: pmc.c
    u64 value[CPU_PMCS];       // 40 bits, at the moment of insns and now_ns
    u64 insns, now_ns;
    u32 select[CPU_PMCS];      // the event select registers
    bool on, by_ring;          // they count, some at one privilege only: when pmc_turn() is to be called
    Timer *timer;              // the next overflow
    void (*overflow)(void *self);      // set by the board with an APIC, else NULL
    void *overflow_self;
} CpuPmc;

#define CPU_MSRS 64            // registers that are only stored: msr.c numbers them

#define CPU_ALIGNMENT 64       // of a Cpu in memory

typedef struct Cpu {
    // -- hot: addressed by generated code, in the order of heat: the jit asserts who is within a byte's reach --
    u32 flag_op;         // the arithmetic flags as a recipe: base/flags.h
    u32 flag_a;
    u32 flag_b;
    u32 flag_c;
    u32 eip;             // see rule 2
    u32 eflags;          // all bits but OSZAPC; bit 1 set
    i32 df;              // +1 or -1: cpu_set_df()
    i32 budget;          // instructions left until generated code must leave (r12d while it runs)
    CpuFault fault;
    u8 *mmu_base;        // r13: base of the current MMU context's tables (cpu/mmu.h)
    void *jump_cache;    // where indirect jumps look (owner: jit)
    u32 sse_live;        // not 0: xmm and mxcsr are in the host's registers (owner: jit's stubs)
    u32 mode;            // MODE_*; kept by cpu_update_mode()
    u32 spill[8];        // displaced values of generated code (owner: jit)
    CpuSeg seg[6];       // in hardware order
    u32 regs[8];         // in hardware order; live in host registers while generated code runs
    u64 jit_word[14];    // what generated code and the run loop hand each other (owner: jit)
    u8 bounce[16] __attribute__((aligned(16)));   // data of an access that cannot be direct (owner: jit)
    u8 xmm[8 * 16] __attribute__((aligned(16)));  // XMM0-7 unless sse_live: C code always finds them here
    u32 mxcsr;           // likewise
    u32 host_mxcsr;      // C code's
    u16 fpu_used;        // not 0: x87 instructions have run since the pointers were worked out (cpu/fpu.c)
    u16 fpu_segment;     // segment register of the last one with a memory operand (ORDER: after fpu_used)
    u32 fpu_slow_dp;     // offset of the last x87 operand that went through `bounce`
    i32 df_word;         // 2 * df: steps of words with 16-bit addresses
    i32 window_credit;   // accesses to pages that are not shown in the window, until one of them is

    // -- cold --
    CpuSeg ldtr, tr;
    CpuTable gdtr, idtr;
    u32 cr0, cr2, cr3, cr4;
    u32 dr[8];
    u32 efer;
    u64 pdpte[4];        // PAE: the page directory pointers as loaded with CR3
    u64 tsc_offset;
    CpuModel model;
    u32 cpuid_features;  // CPU_HAS_*: CPUID leaf 1 EDX and a little more (cpu/model.h)
    u8 phys_bits;        // of physical addresses in PAE page tables: 32 or 36
    u8 cpl;              // current privilege level; cpu_update_mode() puts it into `mode`
    bool halted;         // in HLT
    bool shutdown;       // triple fault
    bool inhibit_irq;    // after STI, MOV SS, POP SS: no interrupt before the next instruction is
                         //   done; the run loop runs one instruction, then cpu_end_inhibit()
    bool inhibit_trap;   // cpu_h_step_trap() gives no trap once: after MOV SS, POP SS, INT n
    bool nmi_blocked;    // from an NMI's delivery to the next IRET
    bool rep_paused;     // REP CMPS or SCAS at rep_eip is not through; who interrupts it sees rep_flags
    u32 rep_eip, rep_flags;                        // OSZAPC of the last comparison
    u8 delivering;       // vector being delivered + 1, for double faults; 0: none
    bool no_restart;     // stores into code do not ask store_hits_code (exception delivery)
    bool fpu_live;       // the host FPU holds the guest's x87 state (else fpu_image does)
    u32 debug_hits;      // DR6 bits of data breakpoints hit by the running instruction (MODE_DEBUG)
    u32 int_count;       // lines of -d int so far
    i32 budget_given;    // what `budget` was set to when generated code was entered
    u64 insns;           // guest instructions executed before that
    u32 msr_sysenter_cs, msr_sysenter_esp, msr_sysenter_eip;
    u64 msr_apic_base, msr_misc[CPU_MSRS];
    void (*apic_base_written)(void *self, u64 base);   // set by the board with an APIC, else NULL
    void *apic_self;
    CpuPmc pmc;
    u8 fpu_image[512] __attribute__((aligned(16)));  // FXSAVE image while the host FPU is somebody else's
    u32 fpu_ip, fpu_dp;  // x87 instruction and data pointers (guest's), with selectors and opcode
    u16 fpu_cs, fpu_ds, fpu_op;
    u8 fpu_bounce[16] __attribute__((aligned(16)));  // 10-byte operands on their way (helpers.def)
    u64 slow_ports;      // accesses of ports below 0x100: each is a cycle on the slow ISA bus
    i32 slow_port_insns; // counted time: as many instructions fit into one
    u64 tsc_last;        // highest value RDTSC has given
    CpuWatch watch[CPU_WATCHES];       // cpu_watch()
    u8 watch_count;
    u8 watch_hit;        // index + 1 of the one the last instruction touched; 0: none

    // Finds the x87 instruction at a host address (its low 32 bits). NULL: never. (owner: jit)
    bool (*fpu_place)(void *jit, u32 host_ip, CpuFpuPlace *place);
    // Asked before a store (or the probe of one) overwrites granules that hold translated code.
    // True: the store is not done, fault.kind becomes CPU_RESTART. NULL: never. (owner: jit)
    bool (*store_hits_code)(void *jit, u32 ppn, u32 offset, u32 bytes);

    u32 mode_user;           // MODE_CPL of 3, and MODE_WINDOW if the address space has one (kept by window_note_mode())
    u8 *context_base[2];     // supervisor's and user's MMU context of the present address space (kept by mmu_switch())
    struct Shadow *shadow;   // this is a copy that must leave no trace (cpu/shadow.h); else NULL
    CpuMmu *mmu;
    Bus *bus;
    Log *log;
    void *jit;           // owner: jit
    u64 jit_slow[16];    // accesses that left generated code's fast path, by cause (owner: jit)
    u32 jit_past_window; // linear page of the last one that was direct, but past the window (owner: jit)
    struct {
        u64 exceptions, interrupts, page_faults, task_switches;
        u64 tlb_fills, tlb_flushes, tlb_drops, tlb_changes, table_stores, space_switches, space_misses;
        u64 window_pages;
    } stats;
} Cpu;

// ---- life -----------------------------------------------------------------------------------------------
Cpu *cpu_new(Bus *bus, Log *log);                 // model max: cpu/model.h
void cpu_free(Cpu *cpu);
void cpu_reset(Cpu *cpu);                        // SDM 3A 9.1.1: CS=F000 base FFFF0000, EIP=FFF0, ...

// ---- flags ------------------------------------------------------------------------------------------------
u32 cpu_flags(Cpu *cpu);                         // whole EFLAGS image, recipe computed
void cpu_set_arith(Cpu *cpu, u32 oszapc);        // sets the recipe to RAW
// Sets the EFLAGS bits in `mask` from `value` (OSZAPC included when in mask), keeps df, mode and bit 1.
void cpu_set_eflags(Cpu *cpu, u32 value, u32 mask);
void cpu_update_mode(Cpu *cpu);                  // recomputes mode, mmu_base, segment ends after any change
void cpu_update_seg(Cpu *cpu, unsigned seg);     // the same when only this register has changed

// ---- faults -----------------------------------------------------------------------------------------------
bool cpu_raise(Cpu *cpu, CpuVector v);                       // no error code; always returns false
bool cpu_raise_error(Cpu *cpu, CpuVector v, u32 error);      // always returns false
// Delivers the pending fault through the IDT with cpu->eip = the address to be pushed. Handles double
// fault; sets cpu->shutdown on triple fault. May leave one pending when faults follow one another for ever:
// call it again. Registers must be exact.
void cpu_deliver(Cpu *cpu);
// Takes an external interrupt or NMI if one can be taken now (IF, inhibit). True: state changed.
bool cpu_take_interrupt(Cpu *cpu);
bool cpu_interrupt_due(const Cpu *cpu);           // it would take one
void cpu_end_inhibit(Cpu *cpu);    // after the instruction that followed STI, MOV SS, POP SS
// With MODE_DEBUG, before each instruction, at cpu->eip. False: an instruction breakpoint's #DB is
// pending. Uses up RF.
bool cpu_check_breakpoint(Cpu *cpu);

// ---- memory through segmentation and paging: every check, no fast assumption -----------------------------
// `seg` CPU_ES..CPU_GS, offset as the instruction computed it, size 1, 2, 4 or 8 bytes. May cross pages.
// False: fault recorded, nothing changed. A store that may hit translated code runs the bus hooks.
bool cpu_load(Cpu *cpu, unsigned seg, u32 offset, unsigned size_bytes, u64 *out);
bool cpu_store(Cpu *cpu, unsigned seg, u32 offset, unsigned size_bytes, u64 value);
// What an SSE operand of 16 bytes must be besides: #GP(0) where not aligned, then the segment's checks.
bool cpu_check_aligned(Cpu *cpu, unsigned seg, u32 offset, bool write);
bool cpu_probe(Cpu *cpu, unsigned seg, u32 offset, u32 bytes, bool write);    // only the checks
// System accesses: linear address, always supervisor (descriptor tables, TSS), no segment checks.
bool cpu_load_sys(Cpu *cpu, Lin addr, unsigned size_bytes, u64 *out);
bool cpu_store_sys(Cpu *cpu, Lin addr, unsigned size_bytes, u64 value);
// Instruction fetch: physical address of code at linear address, or #PF with the fetch as access.
bool cpu_fetch_page(Cpu *cpu, Lin addr, u32 *ppn);
// CS limit for fetch: #GP(0) when eip .. eip+bytes-1 is not inside.
bool cpu_check_cs(Cpu *cpu, u32 eip, u32 bytes);
// For debuggers and the monitor: no faults, no A/D bits set. False: not mapped.
bool cpu_debug_translate(Cpu *cpu, Lin addr, Phy *out);
bool cpu_debug_read(Cpu *cpu, Lin addr, void *to, u32 bytes);

// The slow path of generated code: info packs what the access is. Sets cpu->fault.pending on a fault.
//   bits 0-2 segment | 3-5 log2 size | 6 will be written (load of a read-modify-write: probe the write)
//   | 7 offset is already linear, no segment checks (segment flat)
#define CPU_ACCESS(seg, size_log2) ((u32)(seg) | (u32)(size_log2) << 3)
#define CPU_ACCESS_RMW BIT(6)
#define CPU_ACCESS_LINEAR BIT(7)
u64 cpu_slow_load(Cpu *cpu, u32 offset, u32 info);
void cpu_slow_store(Cpu *cpu, u32 offset, u32 info, u64 value);
// Before a store that would overwrite the running block the store hook may set fault.kind =
// CPU_RESTART, pending = 1: the store is then not done and the jit runs the instruction alone.

// ---- x87 ----------------------------------------------------------------------------------------
// Around guest code: load puts fpu_image into the host FPU, save takes it out and leaves the host
// FPU initialised as C expects it. Either does nothing when the state is there already (fpu_live).
void cpu_fpu_load_host(Cpu *cpu);
void cpu_fpu_save_host(Cpu *cpu);
// Before what the host's pointers refer to goes away (code, mappings, segment registers): the guest's pointers are
// worked out now. `place`: of the x87 instruction that has just run in eval with this offset of its operand.
void cpu_fpu_keep_pointers(Cpu *cpu);
void cpu_fpu_set_pointers(Cpu *cpu, const CpuFpuPlace *place, u32 data_offset);

// ---- for debuggers --------------------------------------------------------------------------------
// While a watchpoint is set, instructions run one by one (MODE_DEBUG), and jit_run() ends with
// JIT_END_BREAK after one whose memory operand touches it: watch_hit. Exception frames do not count.
// False: there are CPU_WATCHES already, or it is not there.
bool cpu_watch(Cpu *cpu, const CpuWatch *watch, bool on);

// ---- dumps in QEMU's format (FORMATS) ---------------------------------------------------------------------
void cpu_dump(Cpu *cpu, FILE *out, bool with_fpu);
void cpu_dump_tlb(Cpu *cpu, FILE *out);          // `info tlb`
void cpu_dump_mem(Cpu *cpu, FILE *out);          // `info mem`
void cpu_dump_mmu(const Cpu *cpu, FILE *out);    // the soft MMU's part of `info jit`

#endif
