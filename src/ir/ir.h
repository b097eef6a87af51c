// SPDX-License-Identifier: MIT
// The IR: one translated block as a straight line of operations close to the machine.
//
//   - Operands are guest registers or their parts, block-local temporaries, constants. Not SSA.
//   - Guest flags are one implicit value: an op defines (`fdef`) and uses (`fuse`) some of OSZAPC.
//   - Every op that may leave the block because of a fault (IRP_FAULT) does all its checks before it
//     changes anything, and sits before all changes of its guest instruction (decision 9). That is the
//     lifter's duty: first loads and probes, then register, flag and memory changes. One store per
//     instruction may be last; register changes come after it.
//   - Ops are grouped by INSN marks, one per guest instruction.
//
// Text form (printer and parser agree; tests are written in it):
//      ---- 0xe4c0
//      ea.4 t0, esp, $-0x4
//      load.1 t1, ss:[t0]
//      add.4 eax, eax, $0x4        !oszapc
//      jcc.ne $0xe4c0
// Registers: eax ax al ah ... ; temporaries t0 t1 ...; constants $...; flags defined `!`, used `?`.
#ifndef IR_IR_H
#define IR_IR_H

#include "base/arena.h"
#include "base/base.h"
#include "base/flags.h"
#include <stdio.h>

typedef enum IrCode {
#define IR(id, name, operands, flags, props, text) IR_##id,
#include "ir/ops.def"
    IR_CODE_COUNT
} IrCode;

// Operand reference: kind in bits 12-15.
typedef u16 IrRef;
enum { IR_KIND_NONE, IR_KIND_REG = 1, IR_KIND_CONST = 2, IR_KIND_TEMP = 4 };       // a bit each
#define IR_NONE ((IrRef)0)
// Guest register r (0-7, hardware order). Byte registers: low AL..BL (0-3), high AH..BH (IR_HIGH).
#define IR_HIGH 0x0100u
#define IR_REG(r) ((IrRef)(IR_KIND_REG << 12 | (r)))
#define IR_REG_HIGH(r) ((IrRef)(IR_KIND_REG << 12 | IR_HIGH | (r)))
#define IR_TEMP(n) ((IrRef)(IR_KIND_TEMP << 12 | (n)))
static inline unsigned ir_kind(IrRef r) { return r >> 12; }
static inline unsigned ir_reg(IrRef r) { return r & 7; }            // register number
static inline unsigned ir_index(IrRef r) { return r & 0xfff; }     // temporary number
static inline bool ir_is_high(IrRef r) { return !(~r & (IR_KIND_REG << 12 | IR_HIGH)); }
#define IR_MAX_TEMPS 0xfff
#define IR_MAX_CONSTS 0xfff

enum IrProp {
    IRP_MARK = 1,
    IRP_FAULT = 2,      // may leave with a fault: has a restore record
    IRP_LOAD = 4, IRP_STORE = 8,
    IRP_KEEP = 16,      // never dead
    IRP_WIDE = 32,      // reads and writes EAX/EDX implicitly
    IRP_CALL = 64,
    IRP_EXIT = 128,     // leaves the block (conditionally)
    IRP_END = 256,      // nothing follows
};

// Flag behaviour classes of ops.def: what is defined | what is used << 16.
#define IRF(def, use) ((u32)(def) | (u32)(use) << 16)
#define IRF_NONE IRF(0, 0)
#define IRF_ALU IRF(FLAG_OSZAPC, 0)
#define IRF_ALU_C IRF(FLAG_OSZAPC, FLAG_CF)
#define IRF_NOC IRF(FLAG_OSZAP, 0)              // CF passes through
#define IRF_SHIFT IRF(FLAG_OSZAPC, 0)           // by CL: the builder adds use of all (count may be 0)
#define IRF_ROT IRF(FLAG_OF | FLAG_CF, 0)       // by CL: uses OF and CF
#define IRF_ROT_C IRF(FLAG_OF | FLAG_CF, FLAG_CF)
#define IRF_BT IRF(FLAG_CF, 0)
#define IRF_MUL IRF(FLAG_OF | FLAG_CF, 0)       // the others are the host's matter: AMD's keep them
#define IRF_DIV IRF(FLAG_SZAPC & ~FLAG_CF, 0)   // likewise
#define IRF_CARRY IRF(FLAG_CF, 0)
#define IRF_CMC IRF(FLAG_CF, FLAG_CF)
#define IRF_CC IRF(0, 0)                        // the builder adds what the condition uses
#define IRF_USE_ALL IRF(0, FLAG_OSZAPC)

enum IrAttr {
    IR_RMW = 1,          // LOAD/STORE pair on the same address
    IR_GROUP_FIRST = 2,  // first access of a group: its check covers the whole group (ir_group)
    IR_GROUPED = 4,      // later access of a group: cannot fault any more
    IR_RETURN = 8,       // JMPI of a near return
    IR_ALIGN16 = 16,     // SIMDLD, SIMDST of 16 bytes that must be aligned
};

typedef struct IrOp {
    u8 code;             // IrCode
    u8 size;             // operation size in bytes: 1, 2, 4
    u8 cc;               // condition code 0-15 (hardware encoding) of JCC, SEL, SETCC
    u8 aux;              // ZEXT/SEXT: source bytes; EA: scale log2; FPULD .. SIMDST: bytes; INSN: length
    u8 seg;              // memory ops: segment register 0-5
    u8 seg_class;        // memory ops: what must be checked (MODE_SEG_CLASS of the mode translated for)
    u8 attr;             // IrAttr
    u8 addr16;           // memory ops: the address was computed with 16 bits
    union {
        struct { IrRef d, a, b, c; };
        IrRef ref[4];
        u64 refs;        // the four, for questions about all of them
    };
    u32 imm;
    u16 group, group_offset; // with IR_GROUP_*: index into IrBlock.groups; bytes from its lowest address
    union {
        struct { u16 fdef, fuse; };      // OSZAPC bits defined / used by this instance
        u32 fown;                        // both
    };
    union {
        struct {
            u16 flive;   // after ir_flags(): bits that a later op of the block reads on the normal path
            u16 fobs;    // after ir_flags(): bits that a later fault point or exit may observe
        };
        u32 flater;      // both: fobs in the upper half
    };
} IrOp;
_Static_assert(sizeof(IrOp) == 32, "two to a cache line");

// The operands that are temporaries, a bit for each.
static inline u64 ir_temps(const IrOp *op) { return op->refs & (IR_KIND_TEMP << 12) * 0x1000100010001u; }
static inline bool ir_has_temp(const IrOp *op) { return ir_temps(op); }
static inline unsigned ir_temp_operand(u64 temps) { return (unsigned)__builtin_ctzll(temps) >> 4; }  // lowest: of ref[]

// Accesses through one unchanged base whose addresses differ by constants, all in `span` bytes.
typedef struct IrGroup {
    u16 span;            // bytes from the lowest to the end of the highest
    u8 write;            // one of them stores
    u8 reg;              // 0 or 1: which of the two group registers
    bool aligned;        // some want to be aligned to 16: their offsets are `phase` modulo 16
    u8 phase;
    u32 first, last;     // indices of the first and last op
} IrGroup;
#define IR_MAX_GROUPS 32

typedef struct IrBlock {
    Arena *arena;
    IrOp *ops;
    u32 count, capacity;
    u32 *consts;
    u32 const_count, const_capacity;
    u32 temp_count;
    u32 exits;           // IRP_EXIT ops built
    u32 accesses, steps; // for passes, at least as many as there are: accesses to memory; sums into a register
    bool folds;          // ir_fold() may find something to begin with
    bool simd;           // there are SIMD, SIMDLD or SIMDST
    IrGroup *groups;     // after ir_group(): IR_MAX_GROUPS, group_count used
    u32 group_count;
    u32 reload_first, reload_last;       // likewise: ops between which a load may take what was stored; 0: none do
    u32 eip;             // of the first guest instruction
    u32 end_eip;         // after the last
    u32 insns;           // guest instructions
    u16 flags_in;        // after ir_flags(): OSZAPC bits at entry that somebody may see
    u32 mode;            // the mode word it was translated for (opaque here)
    u32 features;        // what the guest's processor has (opaque here); all, until somebody says otherwise
    bool code32;
    u8 soft_imm;         // for the lifter: bytes of the immediate that is to be loaded from the code; 0: none is
    u32 code_limit;      // last offset in the code segment: a jump beyond it faults
    const struct IrHelpers *helpers;
} IrBlock;

// ---- helpers' properties, given by who knows them -------------------------------------------------
enum { IR_HELPER_FAULT = 1, IR_HELPER_END = 2, IR_HELPER_FLAGS_IN = 4, IR_HELPER_FLAGS_OUT = 8, IR_HELPER_REGS = 16 };
typedef struct IrHelper { const char *name; u8 args; u8 result_bytes; u16 attr; void *fn; } IrHelper;
typedef struct IrHelpers { const IrHelper *row; unsigned count; } IrHelpers;

typedef struct IrInfo { const char *name, *operands, *text; u32 flags; u16 props; } IrInfo;
extern const IrInfo ir_info[IR_CODE_COUNT];

IrBlock *ir_block_new(Arena *arena, const IrHelpers *helpers, u32 eip, u32 mode, bool code32);
// OSZAPC bits that condition `cc` reads.
u16 ir_cc_flags(unsigned cc);

// ---- builder ------------------------------------------------------------------------------------------
// Each appends one op and returns it; fdef/fuse are set from ops.def (and cc, CL counts). Builders fold
// what is known while building: EA of constants, moves to itself. They count what passes look for (IrBlock).
IrRef ir_const(IrBlock *b, u32 value);
static inline bool ir_is_const(IrRef r) { return ir_kind(r) == IR_KIND_CONST; }
static inline u32 ir_value(const IrBlock *b, IrRef r) { return b->consts[r & 0xfff]; }
IrRef ir_temp(IrBlock *b);
// An op without more ado, where most are made: there is room for IR_INSN_OPS behind an ir_insn(). Flags of ops that
// build_flags() knows, and counts, are the caller's. A constant code's row of ops.def costs nothing.
enum { IR_INSN_OPS = 64 };
static inline u32 ir_row_flags(IrCode code) {
    if (!__builtin_constant_p(code)) return ir_info[code].flags;
    switch (code) {
#define IR(id, name, operands, flags, props, text) case IR_##id: return flags;
#include "ir/ops.def"
    default: return 0;
    }
}
static inline __attribute__((always_inline)) IrOp *ir_put(IrBlock *b, IrCode code, unsigned size, IrRef d, IrRef a,
                                                          IrRef x, IrRef c) {
    IrOp *op = &b->ops[b->count++];
    u32 flags = ir_row_flags(code);
    *op = (IrOp){ .code = (u8)code, .size = (u8)size, .d = d, .a = a, .b = x, .c = c, .fdef = (u16)flags,
                  .fuse = (u16)(flags >> 16) };
    return op;
}
// A guest instruction begins: the mark, and room for more.
void ir_grow(IrBlock *b);
static inline void ir_insn(IrBlock *b, u32 eip, unsigned length) {
    if (__builtin_expect(b->capacity - b->count <= IR_INSN_OPS, 0)) ir_grow(b);
    IrOp *op = ir_put(b, IR_INSN, 4, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    op->imm = eip;
    op->aux = (u8)length;
    b->insns++;
    b->end_eip = eip + length;
}
IrOp *ir_emit3(IrBlock *b, IrCode code, unsigned size, IrRef d, IrRef a, IrRef x, IrRef c);    // x: operand b
static inline IrOp *ir_emit(IrBlock *b, IrCode code, unsigned size, IrRef d, IrRef a, IrRef x) {
    return ir_emit3(b, code, size, d, a, x, IR_NONE);
}
// Arithmetic, shifts, NOT, whose a is no constant: they begin no folding.
IrOp *ir_alu(IrBlock *b, IrCode code, unsigned size, IrRef d, IrRef a, IrRef x, IrRef c);
void ir_mov(IrBlock *b, unsigned size, IrRef d, IrRef a);
// d = base + (index << scale) + disp: a sum, not base alone. In both, base and index are no constants.
void ir_ea_to(IrBlock *b, unsigned size, IrRef d, IrRef base, IrRef index, unsigned scale_log2, u32 disp);
// Gives a new temporary, the base itself, or a constant.
IrRef ir_ea(IrBlock *b, unsigned size, IrRef base, IrRef index, unsigned scale_log2, u32 disp);
static inline IrOp *ir_access(IrBlock *b, IrCode code, unsigned size, IrRef d, unsigned seg, unsigned seg_class,
                              IrRef addr, IrRef value) {
    IrOp *op = ir_put(b, code, size, d, addr, value, IR_NONE);
    op->seg = (u8)seg;
    op->seg_class = (u8)seg_class;
    b->accesses++;
    return op;
}
static inline IrOp *ir_load(IrBlock *b, unsigned size, IrRef d, unsigned seg, unsigned seg_class, IrRef addr) {
    return ir_access(b, IR_LOAD, size, d, seg, seg_class, addr, IR_NONE);
}
static inline IrOp *ir_store(IrBlock *b, unsigned size, unsigned seg, unsigned seg_class, IrRef addr, IrRef value) {
    return ir_access(b, IR_STORE, size, IR_NONE, seg, seg_class, addr, value);
}
void ir_ldenv(IrBlock *b, unsigned size, IrRef d, u32 offset);
void ir_stenv(IrBlock *b, unsigned size, IrRef a, u32 offset);
IrOp *ir_call(IrBlock *b, unsigned helper, IrRef d, IrRef a, IrRef x, IrRef c);
void ir_jcc(IrBlock *b, unsigned cc, u32 target);
void ir_jmp(IrBlock *b, u32 target);
void ir_jmpi(IrBlock *b, IrRef a);
void ir_leave(IrBlock *b);
void ir_leavenz(IrBlock *b, IrRef a);
void ir_raise(IrBlock *b, unsigned vector, bool has_error, u32 error);

// imm of the FPU op that only reports pending exceptions: FWAIT and a NOP, to be two bytes like all others. FNOP
// would do, but it sets the instruction pointer.
#define IR_FPU_WAIT 0x909bu

// ---- MMX and SSE instructions: what the imm of SIMD, SIMDLD, SIMDST says (simd.c) -------------------
#define IR_SIMD_IMM(prefix, opcode, modrm, imm8) \
    ((u32)(prefix) | (u32)(opcode) << 8 | (u32)(modrm) << 16 | (u32)(imm8) << 24)
bool ir_simd_has_imm8(u32 imm);
bool ir_simd_may_fault(u32 imm);             // besides its memory access: #XM, pending #MF
bool ir_simd_waits(u32 imm);                 // reports pending x87 exceptions before anything else
bool ir_simd_uses_xmm(u32 imm);              // XMM registers or MXCSR
bool ir_simd_writes_general(u32 imm);        // operand d instead of a ModRM field
bool ir_simd_reads_general(u32 imm);         // operand a, in register forms
bool ir_simd_general_in_rm(u32 imm);         // that field is rm; else reg
bool ir_simd_sets_flags(u32 imm);
// Does an op with a memory operand report pending x87 exceptions before it looks at the operand?
bool ir_waits_for_fpu(const IrOp *op);
bool ir_sets_fpu_pointers(const IrOp *op);   // FPULD, FPUST: all but control instructions
static inline bool ir_simd_is_emms(u32 imm) { return (imm & 0xffff) == 0x7700; }     // no ModRM

// ---- passes (each states its contract in one line) ------------------------------------------------
// Folds constants, forwards constants held in temporaries, turns EA of constants into constants.
void ir_fold(IrBlock *b);
// Finds groups of accesses that one check can cover (segment classes given: bit c = class c may take part).
// The first keeps its fault, the others lose it: flags need not be observable there. Before ir_flags().
void ir_group(IrBlock *b, u32 classes);
// Members of a group that load what the block has just stored there take it from where the store had it. After
// ir_group(), before ir_flags(), which removes what it has marked.
void ir_forward(IrBlock *b);
// Puts steps of a register by constants together where nobody looks in between. After ir_group(), before ir_flags(),
// which removes what it has marked.
void ir_steps(IrBlock *b);
// Backward: sets flive/fobs on every op, shrinks fdef to what somebody sees, removes ops without effect.
void ir_flags(IrBlock *b);
// Checks shape: operand kinds, sizes, temps defined before use, INSN grouping, rules of ops.def.
// NULL when fine, else a message in the block's arena.
const char *ir_verify(const IrBlock *b);

// ---- text -----------------------------------------------------------------------------------------
typedef struct IrNames { const IrHelpers *helpers; const char *(*env_name)(u32 offset); } IrNames;
void ir_print(const IrBlock *b, const IrNames *names, FILE *out);
void ir_print_op(const IrBlock *b, const IrOp *op, const IrNames *names, FILE *out);
// NULL on error; *err is a message with line number (malloc'ed).
IrBlock *ir_parse(Arena *arena, const char *text, const IrNames *names, char **err);

// ---- eval: runs a block without generating code ---------------------------------------------------
// The machine under it: memory and helpers are calls, guest registers and flags are in place.
typedef struct IrMachine {
    void *self;                              // passed to the calls
    u32 *regs;                               // guest registers, hardware order
    u32 *flag_op, *flag_a, *flag_b, *flag_c; // recipe: read at entry, RAW at exit
    u8 *env;                                 // base for LDENV/STENV
    bool (*load)(void *self, const IrOp *op, u32 addr, unsigned size_bytes, void *to);   // false: fault
    bool (*store)(void *self, const IrOp *op, u32 addr, unsigned size_bytes, const void *from);
    bool (*probe)(void *self, const IrOp *op, u32 addr, u32 bytes);
    bool (*call)(void *self, unsigned helper, u32 a, u32 b, u32 c, u64 *result);         // false: fault
    void (*raise)(void *self, unsigned vector, bool has_error, u32 error);
    u8 *xmm;                                 // XMM0-7, 16 bytes each, aligned to 16
    u32 *mxcsr;
    u8 *thunk;                               // IR_THUNK_BYTES of writable, executable memory
    i32 *budget;                             // what COUNT and POLL charge; NULL: they do nothing
    bool pause;                              // set by store(): end as PAUSE once the op is done
} IrMachine;
#define IR_THUNK_BYTES 16
// x87, MMX and SSE instructions run on the host: when one takes SIGFPE (at pc, in the machine's thunk or
// eval's own code), the handler goes on at the address returned, with the trap number (16, 19) in RAX;
// eval then calls raise() with it. NULL: pc is none of eval's.
const void *ir_host_landing(const void *pc, const u8 *thunk);

typedef enum IrEvalEnd {
    IR_EVAL_JUMP, IR_EVAL_LEAVE, IR_EVAL_FAULT,
    IR_EVAL_POLL,      // max_insns are through
    IR_EVAL_BUDGET,    // a POLL op found the budget used up
    IR_EVAL_PAUSE,     // after a store, as its callback asked for
} IrEvalEnd;
typedef struct IrEvalResult {
    IrEvalEnd end;
    u32 eip;           // JUMP: where to; others: of the guest instruction (LEAVE: machine has it)
    u32 insns;         // guest instructions completed
    u32 op;            // index of the op that ended it
    bool undefined;    // a flag was read that a multiplication, division or bit scan leaves undefined
} IrEvalResult;
// Runs at most max_insns guest instructions (then ends as POLL at the next one's eip).
IrEvalResult ir_eval(const IrBlock *b, IrMachine *m, u32 max_insns);

// The same in pieces: ir_eval_on() goes on at the op that ended the piece before, or behind it after a
// PAUSE. An op whose callback gave false is done again. Flags pass through the machine's recipe.
typedef struct IrEval {
    const IrBlock *b;
    IrMachine *m;
    IrEvalResult out;
    u32 at;            // index of the next op
    u32 started;       // guest instructions begun
    u32 flags;         // OSZAPC
    u32 undefined;     // those of them that are not defined
    u32 temp[IR_MAX_TEMPS + 1];
} IrEval;
void ir_eval_begin(IrEval *e, const IrBlock *b, IrMachine *m);
IrEvalResult ir_eval_on(IrEval *e, u32 max_insns);

#endif
