// SPDX-License-Identifier: MIT
// The inside of room jit.
//   stubs.c      code around blocks: entry, exits, slow accesses, helpers
//   usual.c      the usual case of some helpers in machine code
//   cache.c      blocks: lookup, links, invalidation, code memory
//   smc.c        code that is stored to
//   translate.c  guest bytes -> block
//   late.c       late parts of blocks: what an access does when its check fails
//   restore.c    host pc -> guest state
//   run.c        the loop
//   spin.c       loops that wait
//   step.c       one instruction through ir/eval
//   dump.c       every stage as text
//   fpuplace.c   the x87 pointers
//   names.c      names of blocks for perf and gdb
//   check.c      -check: generated code in lockstep with eval
//   stress.c     mistakes on purpose
//   inspect.c    what is known about a block, for those outside
#ifndef JIT_JIT_INT_H
#define JIT_JIT_INT_H

#include "base/arena.h"
#include "ir/ir.h"
#include "isa/isa.h"
#include "jit/jit.h"
#include "x64/x64.h"

#include <signal.h>

// Cpu.jit_word[]: what generated code hands the run loop.
enum { WORD_HOST_SP, WORD_EXIT_VALUE, WORD_EXIT_PC, WORD_SLOW_OFFSET, WORD_SLOW_INFO, WORD_SLOW_COMMIT,
       WORD_SLOW_PAGE, WORD_SLOW_LINEAR, WORD_PAGES,         // PAGES: descriptors of physical pages; it stays
       WORD_LATE, WORD_SCRATCH, WORDS = WORD_SCRATCH + 4 };  // where to go on, with r8 to r11 as here
_Static_assert(WORDS <= ARRAY_LEN(((Cpu *)0)->jit_word), "words");

// r14 points into the Cpu, so that the fields that generated code uses most have displacements of a byte,
// and so that its low five bits are 12: a count that shifts an address to its page (x64.h).
#define JIT_STATE_BIAS 108
#define JIT_STATE_AT(offset) ((i32)(offset) - JIT_STATE_BIAS)
_Static_assert(offsetof(Cpu, seg[CPU_DS].base) <= JIT_STATE_BIAS + 127, "hot fields within a byte's reach");
_Static_assert(JIT_STATE_BIAS % CPU_ALIGNMENT % 32 == 12, "r14 is a shift count as well");

typedef enum JitExit {
    EXIT_LINK = 1,      // pc in an edge's stub
    EXIT_STALE,         // pc in a block: its page is not what it was translated from
    EXIT_LOOKUP,        // cpu->eip = where to
    EXIT_LEAVE,         // cpu->eip and mode set by a helper
    EXIT_POLL,          // pc in a block: budget used up
    EXIT_RAISE,         // pc in a block; value = RAISE's imm
    EXIT_FAULT,         // pc in a block; cpu->fault
    EXIT_SIGNAL,        // pc in a block; value = host trap number
    EXIT_PROMOTE,       // pc in an edge's saver: it is used so much that its target is worth a block for its flags
    EXIT_UNGROUP,       // pc in a block: a group's check cannot hold; go on in a block without groups
    EXIT_LATE,          // pc a question: a check has failed that has no late part yet
    JIT_EXITS,
    EXIT_ASK = JIT_EXITS     // pc a question, whose record says which of the exits it is
} JitExit;

typedef enum SlowCause {
#define SLOW(name, text) SLOW_##name,
#include "jit/counters.def"
#undef SLOW
    SLOW_CAUSES
} SlowCause;

typedef enum StepCause {
#define STEP(name, text) STEP_##name,
#include "jit/counters.def"
#undef STEP
    STEP_CAUSES
} StepCause;

#define JIT_MAX_INSNS 64
#define JIT_MAX_SOFT 8         // soft immediates of a block
#define JIT_MAX_FOLLOWS 4      // direct jumps, calls and their returns that a block goes on behind
#define JIT_KEY_UNGROUPED 0x80000000u  // mode key: 0-25 MODE_*, 26-30 number of the CS limit, 31 this
#define JIT_UNGROUPED_BITS 16
#define JIT_LATE_ROOM (64u << 10)      // of code memory, for late parts
#define JIT_ROW_QUESTIONS 64u          // about so many blocks' questions are in one row
#define JIT_NO_PAGE 0xffffffffu
#define JIT_QUICK_MODES 64u
#define JIT_QUICK_FACTOR 0x9e3779b1u
#define JIT_QUICK_SHIFT 26
#define JIT_QUICK_MODE(mode) ((mode) * JIT_QUICK_FACTOR >> JIT_QUICK_SHIFT)

typedef struct JumpEntry { u32 eip; const u8 *code; } JumpEntry;     // as x64.h has it
// Behind a table of X64_JUMPS entries there are some more, for those that others have taken the place of: addresses
// that are equal in bits 1 to 15 differ above.
enum { JIT_DISPLACED = 4096, JIT_JUMPS = X64_JUMPS + JIT_DISPLACED, JIT_DISPLACED_SHIFT = 15 };
static inline u32 jit_displaced(u32 eip) {
    return X64_JUMPS + ((eip ^ eip >> JIT_DISPLACED_SHIFT) >> 1 & (JIT_DISPLACED - 1));
}

typedef struct Block Block;
typedef struct JitMode JitMode;
typedef struct BlockPart { u16 offset, bytes; } BlockPart;     // in a page
typedef struct Names Names;
typedef struct Check Check;                    // check.h
typedef struct CheckedIr CheckedIr;
// The late part of one of a block's checks, and behind it its restore records.
typedef struct Late {
    Block *block;
    struct Late *next;         // of the same block
    u8 *code;
    u32 question, bytes, restore_count;
} Late;
static inline X64Restore *late_restores(const Late *l) { return (X64Restore *)(l + 1); }
typedef struct Edge {
    Block *from, *to;          // to: NULL while not linked
    u32 target;                // guest eip
    u32 next_incoming;         // edge number + 1: list of to's incoming edges
    u8 *jump, *stub, *stub_jump;
    u8 *saver, *saver_jump;    // code that stores the flags' recipe, made when a target wants it; or NULL
    bool saves_flags, bare;
    bool passed;               // followed once, when a saver would have been wanted
    i32 *passes;               // left of those through the saver before its target is made for its flags; or NULL
} Edge;

// There are many, and memory is dear the first time it is touched: what a block has several of lies behind it without
// gaps, in the order of the functions below.
struct Block {
    u32 eip, key;              // guest eip, mode key (MODE_* and the CS limit's number)
    u32 base;                  // CS base
    u32 phys;                  // of the first byte
    u32 second_ppn;            // page of the rest of the last instruction, or JIT_NO_PAGE
    u16 bytes;                 // guest bytes
    u8 insns;
    u8 parts;                  // pieces of the first page
    u8 soft_count;             // immediates that its code loads from memory
    bool has_source;           // its bytes are kept (smc.c)
    bool valid;
    bool flags_dead;           // nobody sees the flags at entry
    bool grouped;              // groups of accesses were looked for,
    bool has_groups;           // and found
    bool uses_xmm;             // the guest's XMM registers are in the host's from its entry to its edges
    u8 ungroups;               // how often a group's check sent the guest elsewhere
    bool entry_is_hot;
    u8 mode;                   // number + 1 of the one in whose jump cache it may be; or 0
    X64Recipe flags;           // where they are at entry; not in the CPU state: only edges lead here
    u32 incoming;              // edge number + 1
    u8 *hot, *cold;
    u8 *entry;                 // for those who come from other pages: in hot, in the cold area, or NULL so far
    u16 hot_bytes, cold_bytes, fast, live;     // live: entry past the test that uses_xmm makes
    u16 restore_count, edge_count;
    u32 first_edge;
    Late *late;                // the newest of its late parts, or NULL
    Block *hash_next;
};
// In front of it, under -check: as it was lifted; NULL until it is wanted.
enum { BLOCK_CHECKED_BYTES = ARENA_ALIGN };
static inline const CheckedIr **block_checked(const Block *b) { return (const CheckedIr **)(void *)b - 1; }
static inline X64Restore *block_restores(const Block *b) { return (X64Restore *)(b + 1); }
static inline BlockPart *block_part(const Block *b) { return (BlockPart *)(block_restores(b) + b->restore_count); }
static inline BlockPart *block_soft(const Block *b) { return block_part(b) + b->parts; }
// Guest offset of each instruction from eip.
static inline i16 *block_insn_offset(const Block *b) { return (i16 *)(block_soft(b) + b->soft_count); }
// Its bytes, soft ones as 0.
static inline u8 *block_source(const Block *b) { return (u8 *)(block_insn_offset(b) + b->insns); }

// BusPage.blocks: the blocks that have bytes in the page, in no order; NULL: there have been none since the last flush.
typedef struct PageBlock {
    u64 granules;              // of the page that it has bytes in
    uintptr_t block;           // lowest bit: the page is its second
} PageBlock;
typedef struct PageBlocks {
    u32 count;
    u8 size;                   // room for PAGE_BLOCKS_LEAST << size
    bool asleep;               // a block that began in the page sleeps (smc.c), or did
    union { PageBlock at[1]; struct PageBlocks *next; };       // next: of those given back
} PageBlocks;
enum { PAGE_BLOCKS_LEAST = 4, PAGE_BLOCKS_SIZES = 28 };
static inline Block *page_block(PageBlock p) { return (Block *)(p.block & ~(uintptr_t)1); }
static inline unsigned page_which(PageBlock p) { return p.block & 1; }

#define JIT_MODES_MAX 128u             // at most 864 KiB each; Block.mode counts them in a byte
struct JitMode {               // per mode key: where indirect jumps, and cache_find(), look first
    u32 key;
    u32 number;
    u32 mode, limit;           // MODE_* and CS limit that the key stands for at present
    JumpEntry *cache;
    Block **block;             // of each entry
};

// spin.c
#define SPIN_PAGES 16
#define SPIN_REGISTER_BYTES 2048
typedef struct SpinPlace { u32 regs[8], eip, eflags, mode, cr3, cs_base, ss_base; } SpinPlace;
typedef struct Spin {
    SpinPlace mark;            // compared with after each quantum
    u32 steps, power;          // quanta since it was taken, and until the next one
    u32 skip, skip_next;       // candidates to pass over, now and after the next failure
    bool known;                // the processor was going round from `start` when it was put to sleep
    SpinPlace start;
    u32 ppn[SPIN_PAGES];       // pages stored to on the way round
    u32 page_count;
    u8 *copy;                  // what was in them at `start`; NULL until wanted
    u8 registers[SPIN_REGISTER_BYTES];     // likewise, all of them
    u32 register_bytes;
} Spin;

#define JIT_RESTORE_MEMOS 256u
typedef struct RestoreMemo { const u8 *pc; Block *block; const X64Restore *record; } RestoreMemo;

struct Jit {
    Cpu *cpu;
    Bus *bus;
    Log *log;
    JitOptions opt;
    X64Target target;
    const u8 *helper_stub[256];
    u64 helper_calls[256];
    const u8 *enter, *signal_exit;             // stubs
    const u8 *show_hot;                        // a page past the window may be shown in it
    const u8 *resume, *resume_sse;             // to WORD_LATE; the second where the guest's XMM registers are wanted
    const u8 *commit_nothing, *commit_bounce, *commit_device, *commit_code;     // after a store: in WORD_SLOW_COMMIT
    const u8 *sse_store, *sse_restore;         // of XMM registers and MXCSR: to and from Cpu
    u8 *thunk;                                 // IR_THUNK_BYTES for eval

    // code memory
    u8 *code, *hot_start, *hot_next, *hot_end, *cold_start, *cold_next;
    u8 *cold_end;                              // the savers' counters begin here, the last one made first
    u32 *counted, counted_capacity;            // their edges, the last one made last
    u8 *row_end;                               // cold_next while a row of questions is there that may be gone on with,
    u32 row_questions;                         //   and how many are in it
    u32 code_bytes;
    const u8 *promote;                         // stub: called by savers
    // blocks, in order of their code's addresses
    Arena *meta;                               // Block, records, edges' blocks
    Block **block;
    u32 block_count, block_capacity;
    Late **late;                               // late parts, likewise
    u32 late_count, late_capacity;
    bool late_wants_room;                      // one could not be made for want of it
    PageBlocks *page_blocks[PAGE_BLOCKS_SIZES];        // given back: pages' lists that became too small, by size
    Edge *edge;
    u32 edge_count, edge_capacity;
    u64 *hash;                                 // chains by physical address, eip and key (cache.c)
    JitMode **mode;
    u32 mode_count, mode_turn;
    JitMode *cur_mode;                         // of the CPU's mode when it was last asked for; never NULL
    JitMode *quick_mode[JIT_QUICK_MODES];      // by JIT_QUICK_MODE: what cur_mode may become without C
    JitMode no_mode;                           // cur_mode when nothing is known
    JumpEntry *no_jumps;                       // -check: an empty table for generated code
    u64 past_window;                           // accesses past the window when that was looked at last
    u8 *ungrouped;                             // bitmap by hash of physical address: groups do not pay there
    Block **asleep;                            // hash of blocks whose bytes were overwritten (smc.c)
    bool has_soft;                             // an immediate is soft (since the start)
    u8 *soft_stores;                           // by hash of an immediate's address: how often it was stored to
    u16 *vain;                                 // by hash of a block's address: how often none asleep was wanted there
    u32 cs_limits[32];                         // distinct CS limits seen
    u32 cs_limit_count;
    RestoreMemo restored[JIT_RESTORE_MEMOS];   // by hash of the host pc: what was found there last (restore.c)
    Arena *arena;                              // one translation
    Arena *step_arena;

    // the running block
    Block *entered;                            // by the run loop: what left may be another
    bool stepping;                             // an instruction runs in eval
    i32 slack;                                 // -icount: instructions withheld from blocks (run.c)

    Check *check;                              // NULL without -check
    void (*spoil)(const Jit *jit, IrBlock *ir);     // after the passes: makes a mistake on purpose; or NULL
    u8 wrong_op[2];                            // IrCode: this one is translated as that one

    // debugger
    u32 *breaks;                               // linear addresses
    u32 break_count;
    u8 break_offsets[PAGE_BYTES / 8];          // bitmap: their offsets in the page, linear = physical
    u8 first;                                  // how the first instruction runs (run.c)
    bool at_break;                             // jit_run() is to end with JIT_END_BREAK
    u64 skipped_ns;                            // -icount: guest time passed in HLT

    Spin spin;

    void (*reset)(void *self);
    void *reset_self;
    void (*on_fault)(void *self, const JitFaultInfo *info);
    void *on_fault_self;
    Names *names;                              // -perfmap; or NULL
    void (*on_block)(void *self, const JitBlockInfo *info);
    void *on_block_self;
    stack_t old_stack;
    struct sigaction old_fpe;
    void *signal_stack;

    struct {
        u64 blocks, guest_bytes, guest_insns, hot_bytes, cold_bytes;
        u64 links, unlinks, misses, faults, spins;
        u64 steps[STEP_CAUSES];
        u64 exits[JIT_EXITS];                  // by JitExit
        u64 invalidations, wakes, promotions, flushes, late_parts, restores_table, restores_retranslated;
    } stats;
};

// ---- stubs.c ---------------------------------------------------------------------------------------------
void stubs_generate(Jit *jit);                 // at the start of the hot area; fills target and helper_stub
typedef u32 (*JitEnter)(Cpu *cpu, const u8 *code);

// ---- usual.c ---------------------------------------------------------------------------------------------
// In front of the helper's stub: what returns to the block when the case is a usual one, else goes on behind.
struct Buf;
void usual_emit(const Jit *jit, struct Buf *b, u32 helper);
// ---- counters.c ------------------------------------------------------------------------------------------
// Generated code asks C for an access: counts why.
void counters_note_slow(Cpu *cpu, u32 offset, unsigned seg, u32 bytes, bool write);

// ---- run.c -----------------------------------------------------------------------------------------------
// An x87, MMX or SSE exception that came as a host trap (16, 19): #MF (or FERR#), #XM (or #UD).
void run_host_exception(Jit *jit, unsigned trap);
// At least one block, and about so many instructions, without a look at timers.
void run_stretch(Jit *jit, i32 insns);

// ---- spin.c ----------------------------------------------------------------------------------------------
// After a quantum. True: the processor goes round in a circle and may sleep until something happens.
bool spin_look(Jit *jit);
void spin_free(Jit *jit);

// ---- cache.c ---------------------------------------------------------------------------------------------
bool cache_new(Jit *jit, char **error);
void cache_free(Jit *jit);
void cache_flush(Jit *jit);
u32 cache_mode_key(Jit *jit);                  // of the CPU's present mode; switches the jump cache
// The block for guest eip in the present mode, translated when it has to be. NULL: fault recorded.
Block *cache_find(Jit *jit, u32 eip);
// The same for those who will come from other pages, or by indirect jumps.
Block *cache_find_from_outside(Jit *jit, u32 eip);
bool cache_stays_inside(const Jit *jit, u32 edge);      // in its page
Block *cache_find_ungrouped(Jit *jit, u32 eip);   // one whose accesses are checked one by one
void cache_ungroup(Jit *jit, Block *b);        // its groups do not pay: translate it without from now on
void cache_regroup(Jit *jit);                      // they may pay after all
bool cache_is_ungrouped(const Jit *jit, u32 key, u32 phys);
void cache_insert(Jit *jit, Block *b);         // a new block
void cache_enter(Jit *jit, Block *b);          // where it is looked for, and its pages' lists
bool cache_is(const Block *b, u32 phys, u32 eip, u32 base, u32 key);
// The pieces of the block in its n-th page: their number. Of the second there is one at most.
u32 cache_parts(const Block *b, unsigned n, u32 *ppn, BlockPart *part);
u64 cache_granules(u32 offset, u32 bytes);
// The edge whose stub called from this pc (last byte of the call).
u32 cache_edge_at(const Jit *jit, const u8 *host_pc);
void cache_link(Jit *jit, u32 edge, Block *to);
u32 cache_saver_at(const Jit *jit, const u8 *host_pc);         // the edge whose saver has called promote
// The saver of this edge has been passed often: leads it to a block that takes the flags where they are.
void cache_promote(Jit *jit, u32 edge);
void cache_invalidate(Jit *jit, Block *b);
Block *cache_block_at(const Jit *jit, const u8 *host_pc);
bool cache_is_at(const Jit *jit, const Block *b, const u8 *host_pc);
// Is a breakpoint at this offset of some page? Blocks begin there and are entered by the run loop only.
static inline bool cache_may_break(const Jit *jit, u32 addr) {
    return jit->break_offsets[(addr & ~PAGE_MASK) >> 3] >> (addr & 7) & 1;
}

// How code of this mode accesses memory (x64.h).
static inline u8 jit_form(u32 mode) {
    return (mode & MODE_CPL) != 3 ? X64_EXPECTED : mode & MODE_WINDOW ? X64_DETOUR : X64_ADDED;
}

// ---- smc.c -----------------------------------------------------------------------------------------------
void smc_new(Jit *jit);
void smc_free(Jit *jit);
void smc_forget(Jit *jit);                     // the cache is flushed
void smc_written(void *jit, u32 ppn, u32 offset, u32 bytes);       // for the bus
bool smc_hits_running(void *jit, u32 ppn, u32 offset, u32 bytes);  // for Cpu.store_hits_code
bool smc_overlaps(const Block *b, u32 ppn, u32 offset, u32 bytes); // is the block made of any of these bytes?
typedef enum SmcStore { SMC_BESIDE, SMC_OVER, SMC_OVER_RUNNING } SmcStore;
SmcStore smc_look(const Jit *jit, const BusPage *page, u32 offset, u32 bytes);     // what would a store meet?
void smc_keep_source(Jit *jit, Block *b);     // a new block's bytes, by which it may be found again
Block *smc_wake(Jit *jit, u32 phys, u32 eip, u32 key);             // such a block, which is valid then; or NULL
u32 smc_immediate(const Insn *in);             // bytes of an immediate that may be soft
bool smc_may_soften(const Jit *jit, u32 phys); // may a block that begins there have any?
bool smc_is_soft(const Jit *jit, u32 phys);    // is the immediate there to be loaded when it is used?

// ---- translate.c -----------------------------------------------------------------------------------------
typedef struct Source {        // the guest bytes a block is made of
    u32 eip, mode;             // MODE_*
    u32 features;              // CPU_HAS_* of the processor
    u32 limit;                 // of CS
    const u8 *bytes;           // at eip
    u32 count;                 // up to the end of the page
    u32 before;                // as many there are before eip, in the same page
    const u8 *second;          // the following page's bytes, or NULL when not known (yet)
    const Jit *stops;          // whose breakpoints end the block; NULL: none
    bool counted;              // time is counted: each segment polls
    const Log *filter;         // a block does not lead into what -dfilter chooses, or out; NULL: no matter
    bool no_follow;
    u32 phys;                  // of eip,
    const Jit *softened;       // who knows which immediates are soft; NULL: none is
    const Block *like;         // or: those of this block, which is translated again
} Source;
typedef struct Lifted {
    IrBlock *ir;               // NULL: the first instruction goes on to another page that is not known
    i16 insn_offset[JIT_MAX_INSNS];
    BlockPart part[JIT_MAX_FOLLOWS + 1];    // offsets in the page
    u32 parts;
    u32 bytes;                 // guest bytes covered
    bool second;               // the only instruction goes on to the next page
    BlockPart soft[JIT_MAX_SOFT];           // immediates that the IR loads
    u32 soft_count;
} Lifted;
// Decodes and lifts at most max_insns instructions, adds the poll. No passes. False: l->ir is NULL.
bool translate_lift(Arena *arena, const Source *src, u32 max_insns, Lifted *l);
void translate_optimize(IrBlock *ir, bool group);
// Translates the block at eip (physical address known), with a checked entry in its hot part or not. NULL: fault
// recorded (second page).
Block *translate_block(Jit *jit, u32 eip, u32 key, u32 phys, bool checked);
// The same bytes once more, for flags that are somewhere else at entry. NULL: the cache has been flushed.
Block *translate_variant(Jit *jit, const Block *b, const X64Recipe *flags);
// The same again for an existing block, into scratch memory of the arena: for its records, or for a late part, which
// comes to cold_next. False: no room.
// Without passes and code, for looking at; *src is what it was made of.
bool translate_lift_again(Jit *jit, const Block *b, Source *src, Lifted *l);
bool translate_again(Jit *jit, const Block *b, Lifted *l, X64Code *code);
bool translate_late(Jit *jit, const Block *b, u32 question, X64Code *code);
void translate_print_insns(const Source *src, const Lifted *l, FILE *out);
void dump_host(FILE *out, const u8 *code, u32 bytes, u64 address);
void dump_flags(const X64Recipe *r, char *text, size_t text_bytes);
void dump_restores(FILE *out, const X64Code *code, const IrBlock *ir);
Jit *dump_rig(u32 cache_mib);                  // without a machine: code memory and stubs only; jit_free() ends it

// ---- late.c ----------------------------------------------------------------------------------------------
// What the question at WORD_EXIT_PC is about: EXIT_LINK, ..
JitExit late_answer(Jit *jit);
// Where generated code goes on after EXIT_LATE. NULL: the block cannot be translated again, CPU_RESTART is pending.
const u8 *late_go_on(Jit *jit);
u32 late_question(const Jit *jit, const Block *b, const u8 *host_pc);      // the number of the question there
// The question's late part has been made at cold_next: the check leads there from now on.
void late_install(Jit *jit, Block *b, u32 question, const X64Code *code);
const Late *late_at(const Jit *jit, const u8 *host_pc);        // or NULL
const Late *late_of(const Block *b, const u8 *host_pc);        // the same, one of this block's
void late_forget(Jit *jit);                    // the cache is flushed
void late_free(Jit *jit);

// ---- restore.c -------------------------------------------------------------------------------------------
// Guest registers are in cpu->regs; finds eip, flags and the budget for a host pc. NULL: not in a block.
// An exit through an edge's stub: the flags' recipe goes into the CPU state.
void restore_edge_flags(Jit *jit, const Block *b, const u8 *host_pc);
const X64Restore *restore_record(const Jit *jit, const Block *b, const u8 *host_pc);
Block *restore_state(Jit *jit, const u8 *host_pc, const X64Restore **record);
RestoreMemo restore_at(Jit *jit, const u8 *host_pc);    // by the table, remembered; NULL block: it is in none
void restore_forget(Jit *jit);                 // the cache is flushed

// The record of a host pc, found the way of `how`; NULL: none (RETRANSLATE uses jit->arena).
const X64Restore *restore_lookup(Jit *jit, const Block *b, const u8 *host_pc, JitRestore how);

void restore_show(Jit *jit, const Block *b, const X64Restore *r, const u8 *host_pc);   // the log

// ---- stress.c --------------------------------------------------------------------------------------------
bool stress_parse(Jit *jit, const char *text, char **error);      // JitOptions.stress

// ---- inspect.c -------------------------------------------------------------------------------------------
void inspect_tell_block(Jit *jit, const Block *b);

// ---- names.c ---------------------------------------------------------------------------------------------
bool names_new(Jit *jit, char **error);        // false: the map cannot be written, *error (malloc'ed) says why
void names_free(Jit *jit);
void names_add_block(Jit *jit);                // the newest
void names_forget(Jit *jit);                   // before code memory is used again

// ---- fpuplace.c ------------------------------------------------------------------------------------------
bool fpu_place_of_host(void *jit, u32 host_ip, CpuFpuPlace *place);     // for Cpu.fpu_place
// An x87 instruction has run in eval: sets the guest's pointers. Others: nothing.
void fpu_place_stepped(Jit *jit, const u8 *bytes, u32 eip, u32 mode);

// ---- step.c ----------------------------------------------------------------------------------------------
// Runs the instruction at cpu->eip through eval. False: a fault is pending (eip is exact).
bool step_one(Jit *jit);

#endif
