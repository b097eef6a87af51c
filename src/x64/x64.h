// SPDX-License-Identifier: MIT
// The back end: IR -> x86-64 code. Knows no guest: what it must know of the CPU state and of the code
// around a block comes in an X64Target.
//
// Register map, the same in every block, stub and helper call:
//     rax rcx rdx rbx rbp rsi rdi   guest EAX ECX EDX EBX EBP ESI EDI   (upper halves zero)
//     r15                           guest ESP
//     r14                           CPU state; its low five bits are 12, so that shrx %r14d gives an address's page
//     r13                           base of the MMU context's tables
//     r12                           instruction budget (r12d, counts down; negative: leave)
//     r8                            host pointer or address of the access at hand
//     r9                            scratch          r10 r11   temporaries
//     xmm0-7, MXCSR                 the guest's while sse_live is set; x87 registers (and MMX): the guest's
//     rsp                           host stack, 16-byte aligned at block entry
//
// A block's code has a hot part and a cold part, in two areas of the code cache. What can fault has a restore
// record that says, for one host pc, which guest instruction it belongs to and where the guest's flags are.
#ifndef X64_X64_H
#define X64_X64_H

#include "base/base.h"
#include "ir/ir.h"
#include "x64/enc.h"

enum { X64_SLOW_LOAD, X64_SLOW_STORE, X64_SLOW_RMW, X64_SLOW_KINDS };
// 16A: 16 bytes that must be aligned.
enum { X64_SIZE_1, X64_SIZE_2, X64_SIZE_4, X64_SIZE_8, X64_SIZE_10, X64_SIZE_16, X64_SIZE_16A, X64_SIZES };
static inline unsigned x64_size_index(u32 bytes) {
    return bytes == 1 ? X64_SIZE_1 : bytes == 2 ? X64_SIZE_2 : bytes == 4 ? X64_SIZE_4
         : bytes == 8 ? X64_SIZE_8 : bytes == 10 ? X64_SIZE_10 : X64_SIZE_16;
}
// How an address becomes the host's: by adding the table's entry; by adding r13, which the entry must be; the same,
// where entries that are not r13 are frequent enough for a short detour.
enum { X64_ADDED, X64_EXPECTED, X64_DETOUR, X64_FORMS };
// How a slow access is described to the C side: what, segment, size in bytes.
#define X64_SLOW_INFO(kind, seg, bytes) ((kind) | (seg) << 2 | (bytes) << 8)
#define X64_SLOW_ALIGN16 0x80u                     // or'ed in: #GP(0) where not aligned to 16
// A group of accesses: bytes from its lowest address on (1..256), bytes of code from the start of its check to where
// it goes on, one of them is a store, form.
#define X64_GROUP_INFO(span, back, write, form) \
    (((span) - 1) | (u32)(back) << 8 | (u32)(write) << 16 | (u32)(form) << 17)
#define X64_GROUP_SPAN(info) (((info) & 0xff) + 1)
#define X64_GROUP_WRITE BIT(16)
#define X64_GROUP_FORM(info) ((info) >> 17 & 3)
// The table for indirect jumps: entries of 16 bytes, the eip and at 8 where its code is, or never an eip of this entry.
enum { X64_JUMPS = 32768 };
static inline u32 x64_jump(u32 eip) { return eip >> 1 & (X64_JUMPS - 1); }
// Segment classes of an access (SEG_* of the CPU room).
enum { X64_CHECKED, X64_FLAT, X64_BASED, X64_REAL, X64_CLASSES };

typedef struct X64Target {
    bool bmi2;                        // the host has SHRX and RORX
    // offsets in the CPU state, all from r14: of what LDENV and STENV count from, of fields
    i32 env;
    i32 regs, flag_op, flag_a, flag_b, flag_c, spill, jump_cache;
    i32 sse_live;                     // u32: not 0 while the guest's XMM0-7 and MXCSR are in the host's registers
    i32 fpu_used;                     // u16: set by x87 instructions; u16 after it: segment of their operand
    i32 slow_operand, fpu_slow_dp;    // u32: offset of the last slow access; copied for x87 instructions
    u32 spill_count;
    i32 seg_base[6], seg_read_end[6], seg_write_end[6];   // ends: array of u32 by log2 size
    // displacements of the tables from r13
    i32 read_table, write_table, code_table;
    // stubs. Calls keep every register but those named.
    // After a failed table or alignment test, form ADDED: r8 = linear + entry, r9 = page index; out: r8 host
    // pointer. The others: r8d = linear; out: r8 host pointer minus r13.
    const u8 *slow[X64_FORMS][X64_SLOW_KINDS][6][X64_SIZES][X64_CLASSES];
    // After a failed limit test: r8d = offset. Out as above.
    const u8 *slow_offset[X64_FORMS][X64_SLOW_KINDS][6][X64_SIZES];
    // Called, with r9d X64_GROUP_INFO, after a failed group check of the linear address in a register, or (group_fix)
    // in r8d; a jump follows to where the block goes on. Returns, does the check once more, or leaves the block.
    const u8 *group[2][16], *group_fix;
    const u8 *ungroup;                // called: the group's accesses need checks one by one
    // Form DETOUR, called where the window does not show a group's page: r9 = page index, r10 or r11 = linear. Out,
    // with Z set: it is the host address minus r13. With Z clear it is what it was: `group` has to look.
    const u8 *group_detour[2][2];     // of r10 and r11, for loads and for stores
    const u8 *probe;                  // in: r8d offset, r9d X64_SLOW_INFO of a store: checks only
    const u8 *commit;                 // after a store through a pointer of slow[STORE/RMW]; keeps host flags
    const u8 *sse_load;               // called by blocks that use XMM registers when they are not live
    const u8 *save_lahf;              // what x64_save_lahf() makes
    const u8 *flags_load;             // loads the guest's flags from the CPU state into host EFLAGS; r9 lost
    const u8 *ask;                    // called at the end of a block's row of questions (X64_ASK_*)
    const u8 *raise;                  // called: r9d = RAISE's imm
    const u8 *link;                   // called: by the stub of an edge that is not linked
    const u8 *lookup;                 // jumped to: r8d = guest eip, which is not in jump_cache
    const u8 *lookup_from[16];        // the same with the eip in another register
    const u8 *jump;                   // jumped to: r8d = guest eip
    const u8 *leave;                  // jumped to: cpu->eip is set
    const u8 *const *helper;          // called: arguments r8d r9d r10d; out: r8; r9 r10 r11 lost
} X64Target;

typedef struct X64Edge {       // a direct exit
    u32 target;                // guest eip
    u8 *jump;                  // the rel32 that leaves; leads to the stub until linked
    u8 *stub;                  // cold: saves flags if it must, then asks for linking
    u8 *stub_jump;             // rel32 of the stub's last instruction: a call of target->link until linked,
                               //   then a jmp; NULL where it is bare
    bool saves_flags;          // the stub saves flags: a successor that needs none can be entered directly
    bool bare;                 // the stub is a question, and does nothing before it
} X64Edge;

enum { X64_FLAGS_IN_STATE = 0xff };
enum { X64_AT_REG = 0, X64_AT_A = 8, X64_AT_B, X64_AT_C, X64_AT_IMM, X64_AT_ZERO };   // places
typedef struct X64Recipe {     // where the guest's flags are
    u8 op;                     // FLAGS_OP, or X64_FLAGS_IN_STATE
    u8 a, b, c;                // X64_AT_*
    u32 imm;                   // for X64_AT_IMM
} X64Recipe;

// What a block has to ask C seldom, or once, it asks by a jump into its row of questions: a byte for each, which the
// address of tells them apart.
//     push %rax ; push %rax ; .. ; call ask         as many pushes as there are questions behind the one jumped to
// The next block's row may go on there: its first question is written over the rest of the call, before which there is
// one push more.
enum { X64_ASK_NOTHING,
       X64_ASK_LINK,                   // an edge that is not linked: where is its target?
       X64_ASK_STALE,                  // the checked entry found another page there
       X64_ASK_POLL,                   // budget used up
       X64_ASK_UNGROUP,                // the group's accesses need checks one by one
       X64_ASK_LATE };                 // the check of an access has failed: for its late part

#define X64_COLD 0x80000000u   // in X64Restore.host: offset into the cold part
#define X64_RESTORE_OP 0x1fffu
#define X64_LATE 0x40000000u   // likewise, into the late part of a question, whose number is above the offset
#define X64_HOST_OFFSET 0xffffu
#define X64_LATE_QUESTION(host) ((host) >> 16 & 0x3fff)
typedef struct X64Restore {
    u32 host;                  // offset of the instruction, or of the last byte of a call; | X64_COLD or X64_LATE
    u16 op : 13;               // index of the IR op, modulo X64_RESTORE_OP + 1
    u16 ask : 3;               // X64_ASK_*: it is a question's
    u8 insn;                   // index of the guest instruction in the block
    i8 charged;                // instructions charged to the budget minus instructions completed
    X64Recipe flags;
} X64Restore;

typedef struct X64Entry {      // the test at a block's checked entry: does the page still lead here?
    bool checked;              // there is such an entry (always with `second`); it can be had later
    bool flat;                 // CS base is always 0
    u32 base;                  // it is this one for which the page is what follows
    u32 eip;                   // of the first byte
    u32 expects;               // the code table's entry for its page
    bool joins;                // before the cold part there is the call of a row that this one may go on with
    bool second;               // the (only) instruction goes on to another page: tested on every entry
    u32 second_eip, second_expects;
    u8 form;                   // of accesses to memory: X64_ADDED, ...
    X64Recipe flags;           // where the flags are on entry
} X64Entry;

typedef struct X64LateJump { u32 hot, late; } X64LateJump;     // rel32 in the hot part, where it is to lead

typedef struct X64Code {
    u8 *hot, *cold;            // start of the parts; hot starts with the checked entry, if there is one
    u32 hot_bytes, cold_bytes;
    u32 call_bytes;            // behind the cold part: the rest of the row's call
    u32 late_bytes;            // of x64_emit_late(), and:
    X64LateJump *late_jumps;
    u32 late_jump_count;
    u32 fast;                  // offset of the fast entry in hot
    u32 live;                  // the same for code that leaves the guest's XMM registers in the host's
    bool uses_xmm;             // is such code itself
    X64Edge *edges;
    u32 edge_count;
    X64Restore *restores;      // hot ones ascending by host, then late ones, then cold ones
    u32 restore_count;
} X64Code;

// Translates `ir` (after ir_flags()) into the two areas. Everything but the code itself is allocated in
// ir's arena. The same input at the same addresses gives the same code and records. False: no room.
bool x64_emit(const IrBlock *ir, const X64Target *target, const X64Entry *entry,
              u8 *hot, u8 *hot_end, u8 *cold, u8 *cold_end, X64Code *out);

// The late part of a check, by the same input: what an access does when it fails, which few ever do. Until it does the
// check leads to a question, then by late_jumps to this part, which leads back to the hot part at `hot_at`. Hot and
// cold part come out once more, as long as they were, to be thrown away: into `scratch`.
typedef struct X64Late {
    u32 question;                      // its number in the row, or X64_ALL_LATE: all of them, one behind the other
    const u8 *hot_at;
    u8 *scratch;
    u32 hot_room, cold_room;
    u8 *late, *late_end;
} X64Late;
enum { X64_ALL_LATE = 0x3fff };
bool x64_emit_late(const IrBlock *ir, const X64Target *target, const X64Entry *entry, const X64Late *at, X64Code *out);

// The checked entry of a block that was made without one and takes its flags in the CPU state: tests, goes on at
// `fast`, or to `lookup`. Returns its end.
#define X64_CHECKED_ENTRY_BYTES 64u
u8 *x64_checked_entry(const X64Target *target, const X64Entry *entry, const u8 *fast, u8 *at);

// Code that saves what is in host EFLAGS to flag_a; r9 lost.
void x64_save_lahf(const X64Target *target, Buf *b);

// Code that stores a recipe to the CPU state, for edges whose target wants the flags there. Returns its end.
#define X64_STORE_FLAGS_BYTES 64u
u8 *x64_store_flags(const X64Target *target, const X64Recipe *flags, u8 *at);

#endif
