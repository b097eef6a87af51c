// SPDX-License-Identifier: MIT
// The run loop and the translation cache: finds or makes the block for the guest's eip, enters it,
// serves what comes back, delivers exceptions and interrupts, and keeps blocks true to guest memory.
//
//     Jit *jit = jit_new(cpu, bus, log, &(JitOptions){ 0 }, &error);
//     jit_run(jit);                  // until a bus request (shutdown, stop) or jit_kick()
#ifndef JIT_JIT_H
#define JIT_JIT_H

#include "bus/bus.h"
#include "cpu/cpu.h"

typedef struct Jit Jit;

typedef enum JitRestore { JIT_RESTORE_TABLE, JIT_RESTORE_RETRANSLATE, JIT_RESTORE_CHECK } JitRestore;

typedef struct JitOptions {
    u32 cache_mib;             // code cache; 0: default
    u32 max_insns;             // per block; 0: default, 1: single-instruction blocks (-singlestep)
    bool no_chain;             // never link blocks
    bool no_follow;            // blocks end at direct jumps and calls
    u32 passes;                // of flags through an edge before its target is made for them; 0: default
    bool perfmap;              // names for perf and gdb: names.c
    u32 check;                 // -check: of so many executions of blocks one is compared with ir/eval; 0: none
    const char *stress;        // "wrong=inc:dec": the first operation is translated as the second; "window":
                               //   pages are shown and windows used as soon as can be; NULL: none is
    JitRestore restore;        // how the guest's state is found for a host pc
    u32 icount_shift;          // with icount: guest ns per instruction = 1 << shift
    bool icount;
    bool no_reboot;            // triple fault ends the emulator with status 70
    bool end_when_hung;        // HLT with interrupts off ends jit_run() with JIT_END_HUNG
} JitOptions;

// NULL when memory or a host feature is missing: *error says what (malloc'ed).
Jit *jit_new(Cpu *cpu, Bus *bus, Log *log, const JitOptions *options, char **error);
void jit_free(Jit *jit);

typedef enum JitEnd { JIT_END_SHUTDOWN, JIT_END_STOP, JIT_END_HUNG, JIT_END_BREAK } JitEnd;
// Runs the machine on this thread, whose x87 must hold the guest's state (cpu_fpu_load_host). SHUTDOWN:
// bus_exit_status() holds the status. STOP: BUS_REQ_STOP was served (cleared). HUNG: HLT with interrupts off, which
// nothing but reset or NMI can end (end_when_hung). BREAK: for a debugger, see jit_set_breakpoint(), jit_first()
// and cpu_watch().
JitEnd jit_run(Jit *jit);
// BREAK: for a debugger, see jit_set_breakpoint(), jit_first() and cpu_watch().
// Runs one guest instruction without generating code (gdb, monitor).
void jit_step(Jit *jit);
// The board's reset, called when the guest or the monitor asked for one: set by the board.
void jit_set_reset(Jit *jit, void (*reset)(void *self), void *self);

void jit_flush(Jit *jit);                      // forgets all translations
u64 jit_insns(const Jit *jit);                 // guest instructions executed so far
void jit_info(const Jit *jit, FILE *out);      // `info jit`

// ---- the glass box: every stage of a translation -------------------------------------------------------
// Prints disassembly, IR, optimised IR, host code and restore records of the block that starts with
// these bytes (mode: MODE_*), or of the guest's memory at eip in the present mode. False: nothing there.
// There are `before` more bytes below `bytes`, where the code may lead.
bool jit_dump_bytes(const u8 *bytes, u32 before, u32 count, u32 eip, u32 mode, FILE *out);
bool jit_dump_ir(const char *text, FILE *out, char **error);
bool jit_dump_at(Jit *jit, u32 eip, FILE *out);

// For the tour and tests: called for each fault in generated code, after the guest's state was found.
typedef struct JitFaultInfo {
    const u8 *host_pc;         // last byte of the call, or the instruction
    const u8 *block_host;      // start of the block's code
    u32 block_eip, eip;        // guest: of the block, of the faulting instruction
    u32 op;                    // index of the IR op
    u32 block_insns, insn;     // instructions in the block; index of the faulting one
    u8 vector;
    u32 error, cr2;
    bool flags_recipe;         // flags came from a recipe of the restore record
    const char *recipe;        // its name
} JitFaultInfo;
void jit_on_fault(Jit *jit, void (*fn)(void *self, const JitFaultInfo *info), void *self);

// A block in the code cache, and the ways to look into it.
typedef struct JitBlockInfo {
    u32 eip, phys;             // guest: offset in CS, physical address of the first byte
    u32 bytes, insns;          // guest
    const u8 *hot, *cold;      // host code
    u32 hot_bytes, cold_bytes;
    u32 index, blocks;         // its place in the list ordered by host address, and the list's length
    u32 records;               // restore records
} JitBlockInfo;
// The block whose code holds this host address. False: none does.
bool jit_block_at(const Jit *jit, const u8 *host_pc, JitBlockInfo *info);
// Called for each block right after its translation, before it runs for the first time.
void jit_on_block(Jit *jit, void (*fn)(void *self, const JitBlockInfo *info), void *self);

// COLD: the late code, where the host pc is in it.
typedef enum JitStage { JIT_STAGE_IN, JIT_STAGE_OP, JIT_STAGE_OP_OPT, JIT_STAGE_HOT, JIT_STAGE_COLD } JitStage;
// Prints one stage of the block that holds host_pc, without a heading, as the log does. The host code
// is what lies in the cache; the others are made again. Machine thread, between blocks or in on_fault.
bool jit_print_stage(Jit *jit, const u8 *host_pc, JitStage stage, FILE *out);

typedef struct JitRecord {     // what the restore map says about a host pc
    u32 host;                  // offset in the hot, the cold or the late code
    bool cold, late;           // of late code both
    u32 op, insn, eip;         // IR op, guest instruction in the block and its address
    int charged;               // instructions charged to the budget that are not done
    char flags[64];            // where the flags are
} JitRecord;
// By the table or by translating again. False: no record.
bool jit_record(Jit *jit, const u8 *host_pc, JitRestore how, JitRecord *record);

// ---- for debuggers -------------------------------------------------------------------------------------
// While a breakpoint is set, jit_run() ends with JIT_END_BREAK before the instruction at this linear
// address. Guest memory stays as it is. Set twice it is one; between blocks only.
void jit_set_breakpoint(Jit *jit, u32 linear, bool on);
// The next jit_run() executes its first instruction although a breakpoint is there and, without
// `interrupts`, before any interrupt (a halted processor waits for one). With `stop` it ends after it,
// with JIT_END_BREAK.
void jit_first(Jit *jit, bool interrupts, bool stop);

// One instruction per block from here on, or as jit_new() was told.
void jit_single_step(Jit *jit, bool on);

#endif
