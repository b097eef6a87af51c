// SPDX-License-Identifier: MIT
// The inside of the CPU room: memory access by linear address and privilege, descriptors, stack
// frames, task switches.
#ifndef CPU_CPU_INT_H
#define CPU_CPU_INT_H

#include "cpu/cpu.h"
#include "cpu/helpers.h"
#include "cpu/mmu.h"

#define CR0_PE BIT(0)
#define CR0_MP CPU_CR0_MP
#define CR0_EM CPU_CR0_EM
#define CR0_TS CPU_CR0_TS
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)
#define CR4_VME BIT(0)
#define CR4_PVI BIT(1)
#define CR4_TSD BIT(2)
#define CR4_DE BIT(3)
#define CR4_PSE BIT(4)
#define CR4_PAE BIT(5)
#define CR4_MCE BIT(6)
#define CR4_PGE BIT(7)
#define CR4_PCE BIT(8)
#define CR4_OSFXSR BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define EFER_NXE BIT(11)

#define DR6_BS BIT(14)
#define DR6_BT BIT(15)
#define DR6_BD BIT(13)
#define DR6_FIXED 0xffff0ff0u
#define DR7_FIXED 0x400u
#define DR7_GD BIT(13)

static inline bool cpu_is_protected(const Cpu *cpu) {      // protected mode, not virtual-8086
    return (cpu->mode & (MODE_PE | MODE_VM)) == MODE_PE;
}
static inline void cpu_set_df(Cpu *cpu, bool down) {       // what generated code steps by; eflags has DF itself
    cpu->df = down ? -1 : 1;
    cpu->df_word = 2 * cpu->df;
}
static inline u32 cpu_iopl(const Cpu *cpu) { return cpu->eflags >> 12 & 3; }

// The part of cpu_update_mode() that does not depend on segment registers (CPL, EFLAGS, CRs, DR7).
void cpu_update_privilege(Cpu *cpu);
void cpu_update_cpl(Cpu *cpu);                   // the part of that which hangs on CPL and EFLAGS
void cpu_update_ts(Cpu *cpu);                    // the part which hangs on CR0.TS and MP
// The EFLAGS bits that IRET and POPF may change with this operand size at the present privilege.
u32 flags_writable(const Cpu *cpu, u32 opsize);
u32 flags_of_iret(const Cpu *cpu, u32 opsize);   // in protected mode
// CR4.VME in virtual-8086 mode, CR4.PVI at CPL 3, both with IOPL < 3: VIF stands in for IF.
bool cpu_has_virtual_if(const Cpu *cpu);
u32 flags_virtual_image(Cpu *cpu);               // as pushed: IOPL 3, IF is VIF
bool flags_check_virtual(Cpu *cpu, u32 image);   // may it be popped? False: #GP recorded
void flags_set_virtual(Cpu *cpu, u32 image);     // 16 bits
u32 flags_of_model(const Cpu *cpu);              // AC ID VIF VIP, as far as they exist

void msr_reset(Cpu *cpu);                        // msr.c

// ---- soft MMU -----------------------------------------------------------------------------------
#define MMU_LINEAR_MAX 4u
#define MMU_SINGLE_MAX 8u
#define MMU_SPACES 32u       // address spaces whose entries are kept
#define MMU_REGIONS 2048u    // of a space's linear addresses: one per directory entry
#define MMU_DIRECTORIES 4u   // of a space, under PAE; else one
typedef struct MmuLinear {   // linear addresses [first, end) of a window show physical addr - offset
    u64 first, end;
    u32 offset;
} MmuLinear;
typedef struct MmuSingle {   // a page that windows show besides
    u32 page, file_page;     // linear; of the file behind RAM
    u32 met;                 // how often mmu_show_page() was asked for it
} MmuSingle;
typedef struct MmuContext {
    u8 *base;                // of the window; MMU_READ, MMU_WRITE, MMU_CODE tables lie before it
    u32 linear_count;        // ranges of CpuMmu.linear that the window shows,
    u32 single_count;        // and pages of CpuMmu.single
    u32 *filled;             // linear page numbers with an entry in any table; each once
    u32 filled_count;
    u32 *listed;             // bitmap of the pages in `filled`
    u32 number;              // of the context: twice its space's, plus 1 for user
    u32 *shown;              // user: per linear page: page of RAM's file that the window shows there, + 1
    u32 window_maps;         // mappings made for hot pages
} MmuContext;

typedef struct MmuRegion {   // 4 MiB of linear addresses (PAE: 2), mapped by one directory entry
    u64 pde_at, pde;         // the directory entry that the region's entries are derived from
    u32 table;               // physical page of the page table; MMU_NO_TABLE: a large page
    u16 place;               // in MmuSpace.live
    bool live;               // has entries that are not global
    bool dirty;              // in MmuSpace.dirty: the table was stored to since the last check
} MmuRegion;
#define MMU_NO_TABLE 0xffffffffu

typedef struct MmuSpace {    // what one set of page tables maps (space.c)
    u64 root[4];             // key: CR3, or PAE's directory pointers
    u32 mode;                // key: the bits of CR0, CR4 and EFER that a walk depends on; 0: no paging
    u32 index;               // in CpuMmu.spaces
    u64 used;                // CpuMmu.clock when it was switched to last
    struct MmuSpace *next;   // what was switched to from here last time
    bool stale;              // nothing in it holds: to be emptied before use
    bool loose;              // derived from tables that cannot be watched: not kept over a switch
    bool directories_dirty;  // stored to since the last check
    bool windowed;           // code at CPL 3 expects the window's base (window.c)
    u32 quanta_left;         // until it does
    u32 wear;                // quanta until the window has paid for itself
    MmuContext context[2];   // supervisor, user
    u32 *global;             // bitmap: the page's entries come from a page table entry with G
    u64 *pte;                // per page with entries, not global and not large: what they come from
    u32 large[32];           // bitmap per 4 MiB: entries may have come from a large page
    u32 directory[MMU_DIRECTORIES];     // their physical pages + 1 while they are watched
    u32 live_count, dirty_count;
    u16 live[MMU_REGIONS], dirty[MMU_REGIONS];
    MmuRegion region[MMU_REGIONS];
} MmuSpace;

typedef struct MmuWriter {   // of a list of the write entries that lead to one physical page
    u64 contexts;            // bit: MmuContext.number
    u32 linear_page;         // a kernel's direct map has the same one in all spaces
    u32 next;                // index; 0 ends
} MmuWriter;
_Static_assert(2 * MMU_SPACES <= 64, "a bit for each context");

struct CpuMmu {
    MmuContext *context;     // the present space's
    MmuSpace *space;         // the present one
    MmuSpace *spaces[MMU_SPACES];
    u32 space_count;
    u64 clock;               // counts switches
    MmuLinear linear[MMU_LINEAR_MAX];   // what supervisors' windows show
    u32 linear_count;
    MmuSingle single[MMU_SINGLE_MAX];   // shown over the ranges; each linear page once
    u32 single_count;
    MmuSingle asked[MMU_SINGLE_MAX];    // those asked for last that are not
    u32 asked_next;
    u32 candidate;           // offset that fills outside the window had last,
    u32 candidate_fills;     // and how often in a row
    u32 window_maps;         // all contexts'
    bool window_stress;      // mmu_stress_windows()
    u32 *writer;             // per physical page: first MmuWriter
    MmuWriter *writers;
    u32 writer_free;         // list of free ones
    u32 writer_used;         // how many were ever in use
    u32 *table_user;         // per physical page: first of the list of what uses it as table, + 1
    u32 *user_next;          // per user: the next, + 1
    u32 *ever_global;        // bitmap: the page has been global in some space
    u32 ever_large[32];      // per 4 MiB: a large global page has been there in some space
    bool marking;            // we set an A or D bit ourselves
    int pattern_fd;          // file of invalid entries, mapped privately under the tables
};

static inline i64 *mmu_reads(u8 *base) { return (i64 *)(void *)(base + MMU_READ); }
static inline i64 *mmu_writes(u8 *base) { return (i64 *)(void *)(base + MMU_WRITE); }
static inline u32 *mmu_codes(u8 *base) { return (u32 *)(void *)(base + MMU_CODE); }

// What the page tables say about an address (walk.c).
typedef struct MmuMapping {
    u32 phys;                // of the address itself
    u64 pde_at, pte_at;      // physical addresses of the entries; the same for a large page
    u64 pde, pte;            // as read; mmu_walk(): as they are now, with A and D
    bool writable, user, execute, global, dirty, accessed, large;
    bool reserved;           // an entry has a bit that must be clear
} MmuMapping;
// mmu.c for space.c
void mmu_open_context(const CpuMmu *mmu, MmuContext *c, u32 number);
void mmu_close_context(MmuContext *c);
void *mmu_map_sparse(size_t bytes);
void mmu_clear_page(MmuSpace *s, u32 page);                 // all its entries are invalid
void mmu_clear_context(MmuContext *c, const u32 *keep);     // all but those of the pages in the bitmap; NULL: all
// window.c
#define MMU_WINDOW_BYTES (1ull << 32)
bool window_shows(Cpu *cpu, const MmuContext *c, u32 linear_page, const u8 *host);
bool window_add_linear(Cpu *cpu, u32 offset);               // linear = physical + offset, in supervisors' windows
void window_show_linear(Cpu *cpu, MmuContext *c);           // what mmu->linear says
// A RAM page is about to be filled for a supervisor: enough of them in a row with one offset outside the window get
// a mapping. Entries made before lead past it: they go.
void window_consider(Cpu *cpu, MmuContext *c, u32 linear_page, u32 ppn);
void window_reset(Cpu *cpu, MmuSpace *s);                   // its user's window shows nothing any more
void window_begin(const CpuMmu *mmu, MmuSpace *s);          // the space is another's now: is no window's yet
void window_note_mode(Cpu *cpu);                            // Cpu.mode_user is that of the present space
// space.c for mmu.c
void space_close(MmuSpace *s);
// Entries of the page are going to be made from `m`, not global ones: sees to it that they are dropped when the
// tables change.
void space_track(Cpu *cpu, u32 addr, const MmuMapping *m);

static inline bool map_test(const u32 *map, u32 i) { return map[i >> 5] >> (i & 31) & 1; }
static inline void map_put(u32 *map, u32 i, bool on) {     // writes only what changes
    u32 bit = 1u << (i & 31);
    if (((map[i >> 5] & bit) != 0) != on) map[i >> 5] ^= bit;
}

// Makes a KNOWN write entry direct when nothing speaks against it any more. True: it is direct.
bool mmu_upgrade_write(Cpu *cpu, u32 addr, bool user, u32 ppn);
// Without side effects, A20 not applied. False: not mapped.
bool mmu_look(Cpu *cpu, u32 addr, MmuMapping *m);
bool mmu_allows(const Cpu *cpu, MmuMapping *m, MmuAccess access, bool user);     // sets m->writable by CR0.WP
// With all checks; sets A and D, applies A20. False: #PF recorded.
bool mmu_walk(Cpu *cpu, u32 addr, MmuAccess access, bool user, MmuMapping *m);
// Reads the four page directory pointers at cr3. False: a reserved bit is set, nothing changed.
bool walk_load_pdptes(Cpu *cpu, u32 cr3);
// A directory or table entry at a physical address, A20 applied; PAE's are 64 bits wide.
u64 walk_read_entry(Cpu *cpu, u64 at);
u32 walk_gate(Cpu *cpu, u32 phys);           // A20
// Sets CR3 as MOV and task switches do. False: bad page directory pointers, nothing changed.
bool cpu_load_cr3(Cpu *cpu, u32 value);

// The linear address whose direct entry leads to this host address (its low 32 bits). *addr: a guess, where to look
// first. False: none.
bool mmu_find_linear(Cpu *cpu, bool user, u32 host_low, u32 *addr);

// ---- memory by linear address and privilege (access.c) ------------------------------------------
// Sizes 1, 2, 4, 8. False: fault recorded. Crossing pages is fine; all checks come before a change.
bool mem_load(Cpu *cpu, u32 addr, unsigned size_bytes, bool user, u64 *out);
bool mem_store(Cpu *cpu, u32 addr, unsigned size_bytes, bool user, u64 value);
bool mem_probe(Cpu *cpu, u32 addr, u32 bytes, bool write, bool user);

static inline bool cpu_is_user(const Cpu *cpu) { return (cpu->mode & MODE_CPL) == 3; }

static inline bool mem_load32(Cpu *cpu, u32 addr, bool user, u32 *out) {
    i64 e = mmu_reads(cpu->context_base[user])[addr >> PAGE_SHIFT];
    if (e >= 0 && (addr & ~PAGE_MASK) <= PAGE_BYTES - 4) {
        *out = get_le32((const u8 *)(e + addr));
        return true;
    }
    u64 v;
    if (!mem_load(cpu, addr, 4, user, &v)) return false;
    *out = (u32)v;
    return true;
}

static inline bool mem_load16(Cpu *cpu, u32 addr, bool user, u32 *out) {
    u64 v;
    if (!mem_load(cpu, addr, 2, user, &v)) return false;
    *out = (u32)v;
    return true;
}

// The exact limit and type check of bytes at offset in a segment, for any segment state.
bool seg_allows(const Cpu *cpu, const CpuSeg *seg, u32 offset, u32 bytes, bool write);

// ---- descriptors (seg.c) ------------------------------------------------------------------------
// Access words as in CpuSeg.access.
#define ACC_TYPE(a) ((a) & 0xfu)
#define ACC_DPL(a) ((a) >> SEG_ACC_DPL_SHIFT & 3u)
#define ACC_CODE 0x8u            // type bits of code and data segments
#define ACC_CONFORMING 0x4u
#define ACC_DOWN 0x4u
#define ACC_WRITABLE 0x2u        // data
#define ACC_READABLE 0x2u        // code
#define ACC_ACCESSED 0x1u

enum { SYS_TSS16 = 1, SYS_LDT = 2, SYS_TSS16_BUSY = 3, SYS_CALL16 = 4, SYS_TASK = 5, SYS_INT16 = 6,
       SYS_TRAP16 = 7, SYS_TSS32 = 9, SYS_TSS32_BUSY = 11, SYS_CALL32 = 12, SYS_INT32 = 14,
       SYS_TRAP32 = 15 };

typedef struct Desc {
    u32 lo, hi;
    u32 addr;                // linear address of the descriptor
    u16 access;              // like CpuSeg.access
} Desc;

static inline u32 desc_base(const Desc *d) {
    return d->lo >> 16 | (d->hi & 0xff) << 16 | (d->hi & 0xff000000);
}
static inline u32 desc_limit(const Desc *d) {
    u32 limit = (d->lo & 0xffff) | (d->hi & 0xf0000);
    return d->access & SEG_ACC_G ? limit << 12 | 0xfff : limit;
}
static inline bool desc_is_code(const Desc *d) {
    return (d->access & (SEG_ACC_S | ACC_CODE)) == (SEG_ACC_S | ACC_CODE);
}
static inline bool desc_is_data(const Desc *d) {
    return (d->access & (SEG_ACC_S | ACC_CODE)) == SEG_ACC_S;
}
static inline bool desc_is_writable(const Desc *d) {
    return (d->access & (SEG_ACC_S | ACC_CODE | ACC_WRITABLE)) == (SEG_ACC_S | ACC_WRITABLE);
}
static inline bool desc_is_nonconforming(const Desc *d) {
    return (d->access & (SEG_ACC_S | ACC_CODE | ACC_CONFORMING)) == (SEG_ACC_S | ACC_CODE);
}
static inline u32 gate_offset(const Desc *d) { return (d->lo & 0xffff) | (d->hi & 0xffff0000); }

typedef enum DescStatus { DESC_OK, DESC_OUTSIDE, DESC_FAULT } DescStatus;
// Reads the descriptor a selector names. OUTSIDE: beyond its table, or no LDT (null is not looked
// at).
DescStatus desc_read(Cpu *cpu, u32 selector, Desc *d);
// The same; raises `vector` with the selector as error code (| ext) when outside. False: fault.
bool desc_fetch(Cpu *cpu, u32 selector, CpuVector vector, u32 ext, Desc *d);
bool desc_set_accessed(Cpu *cpu, Desc *d);          // writes the accessed bit; may #PF
static inline bool selector_is_null(u32 selector) { return (selector & 0xfffc) == 0; }
static inline bool seg_fault(Cpu *cpu, CpuVector v, u32 selector, u32 ext) {
    return cpu_raise_error(cpu, v, (selector & 0xfffc) | ext);
}

// Hidden part from a descriptor; no checks, mode not updated.
void seg_fill(CpuSeg *seg, u32 selector, const Desc *d);
void seg_fill_null(CpuSeg *seg, u32 selector);
void seg_fill_real(Cpu *cpu, unsigned s, u32 selector);     // real or virtual-8086 load by mode
void seg_bounds(const Cpu *cpu, CpuSeg *seg);               // read_end / write_end
// Checks a stack segment for privilege `cpl`; `vector` is #GP for loads, #TS for stack switches and
// tasks. Not present is #SS. Fills *seg (selector with RPL cpl).
bool seg_check_stack(Cpu *cpu, u32 selector, u32 cpl, CpuVector vector, u32 ext, CpuSeg *seg);
// Loads ES, DS, FS, GS in protected mode; `vector` #GP, or #TS in a task switch.
bool seg_load_data(Cpu *cpu, unsigned s, u32 selector, CpuVector vector);
bool seg_load_ldt(Cpu *cpu, u32 selector, CpuVector vector);
// Left to itself the compiler copies the 44 bytes by a REP, which takes longer to start than to do.
static inline void seg_copy(CpuSeg *to, const CpuSeg *from) {
    _Static_assert(sizeof(CpuSeg) == 44, "32 bytes and, over the last four of them, 16");
    __builtin_memcpy(to, from, 32);
    __builtin_memcpy((u8 *)to + 28, (const u8 *)from + 28, 16);
}
void seg_drop_for_outer(Cpu *cpu);                          // after a return to outer privilege

// ---- stack frames: all pushes of an instruction or event, checked as a whole, then done ---------
#define FRAME_WORDS 40
typedef struct Frame {
    const CpuSeg *ss;        // may be a candidate not yet in cpu->seg
    u32 sp;                  // before the first push
    u32 mask;                // 0xffff or 0xffffffff by SS.B
    u32 error;               // error code of #SS
    unsigned size;           // bytes per push: 2 or 4
    unsigned count;
    bool user;               // privilege of the accesses
    u32 peek_bytes;          // from sp upwards that can be read at peek_host
    const u8 *peek_host;
    u32 word[FRAME_WORDS];
} Frame;

void frame_init(const Cpu *cpu, Frame *f, unsigned size);   // on the present stack
void frame_init_pop(Cpu *cpu, Frame *f, unsigned size);     // the same, of which words will be read
void frame_init_on(const Cpu *cpu, Frame *f, const CpuSeg *ss, u32 sp, unsigned size, u32 error);
static inline void frame_push(Frame *f, u32 v) { f->word[f->count++] = v; }
bool frame_check(Cpu *cpu, const Frame *f);                 // false: fault recorded
u32 frame_store(Cpu *cpu, const Frame *f);                  // after frame_check: gives the new sp
// Data breakpoints on words from sp upwards that an instruction (not an event) has accessed.
void frame_watch(Cpu *cpu, const Frame *f, u32 sp, unsigned words, bool write);
bool frame_peek_slowly(Cpu *cpu, const Frame *f, unsigned index, u32 *out);
// The index-th word above sp.
static inline bool frame_peek(Cpu *cpu, const Frame *f, unsigned index, u32 *out) {
    u32 at = index * f->size;
    if (__builtin_expect(at + 4 > f->peek_bytes, 0)) return frame_peek_slowly(cpu, f, index, out);
    *out = f->size == 4 ? get_le32(f->peek_host + at) : get_le16(f->peek_host + at);
    return true;
}
static inline u32 frame_merge(const Frame *f, u32 old, u32 sp) {
    return (old & ~f->mask) | (sp & f->mask);
}

// IOPL or the TSS's bitmap lets us use the ports. False: #GP recorded.
bool cpu_check_port(Cpu *cpu, u32 port, u32 size_bytes);

// ---- events (exc.c) -----------------------------------------------------------------------------
typedef enum ExcSource {
    EXC_FAULT,               // exception of the processor
    EXC_SOFT,                // INT n, INT3, INTO: gate privilege is checked
    EXC_ICEBP,               // INT1: as an exception, eip is behind the instruction
    EXC_EXTERNAL,            // interrupt line or NMI
} ExcSource;
// One delivery, no double fault rule: false: fault recorded, nothing changed. cpu->eip is pushed.
bool exc_enter(Cpu *cpu, unsigned vector, ExcSource source, bool has_error, u32 error);
void exc_check_vip(Cpu *cpu);                               // after EFLAGS came from memory
void cpu_log_dump(Cpu *cpu);                                // register dump into the log

// ---- the usual case (quick.c): false: not usual, nothing has been changed ------------------------
typedef struct QuickEntry {
    u32 vector, error, eflags;                              // eflags: as pushed
    bool has_error, soft;                                   // soft: the gate's privilege counts
} QuickEntry;
bool quick_enter(Cpu *cpu, const QuickEntry *e);
bool quick_iret(Cpu *cpu);                                  // with 32-bit operands
bool quick_call_far(Cpu *cpu, u32 selector, u32 offset);    // with 32-bit operands, to the same privilege
bool quick_ret_far(Cpu *cpu, u32 bytes);                    // likewise
bool quick_load(Cpu *cpu, unsigned s, u32 selector);        // ES DS FS GS
bool quick_pop(Cpu *cpu, unsigned s);                       // the same from a 32-bit stack
bool quick_fast_segments(Cpu *cpu, u32 cs, u32 cpl);        // CS and SS of SYSENTER, SYSEXIT, with CPL and mode

// ---- performance counters (pmc.c) ---------------------------------------------------------------
void pmc_new(Cpu *cpu);
void pmc_reset(Cpu *cpu);
void pmc_turn(Cpu *cpu);                                    // before HLT (pmc.on) or privilege (by_ring) change
void pmc_woken(Cpu *cpu);                                   // out of HLT
u64 pmc_read(Cpu *cpu, unsigned n);
void pmc_write(Cpu *cpu, unsigned n, u64 value);
void pmc_select(Cpu *cpu, unsigned n, u64 value);
static inline u64 cpu_insns(const Cpu *cpu) { return cpu->insns + (u64)(i64)(cpu->budget_given - cpu->budget); }

// ---- x87 (fpu.c) --------------------------------------------------------------------------------
void fpu_peek(Cpu *cpu, u8 *image512);       // FXSAVE image of the guest's state; 16-byte aligned

// ---- far transfers and tasks --------------------------------------------------------------------
typedef enum TaskVia { TASK_JMP, TASK_IRET, TASK_CALL, TASK_EVENT } TaskVia;   // log: 0 1 2 2
// Switches to the task of a TSS selector; its descriptor was read, type and privilege were checked.
// next_eip goes into the old TSS. False: fault in the old task, nothing changed. True: switched; a
// fault in the new task has been delivered already.
bool task_switch(Cpu *cpu, u32 selector, Desc *d, TaskVia via, u32 next_eip, bool has_error,
                 u32 error);
// The TSS selector of a task gate, or a TSS selector itself: reads and checks it for JMP, CALL,
// event.
bool task_fetch_tss(Cpu *cpu, u32 selector, u32 ext, Desc *d);
// Stack pointer for an inner privilege from the TSS; #TS when the TSS is too short.
bool task_inner_stack(Cpu *cpu, u32 dpl, u32 ext, u32 *ss, u32 *esp);

// Common end of RETF and IRET in protected mode: `words` above sp are popped (EIP, CS, ..), then
// `extra` bytes. eflags: image for IRET, NULL for RETF. False: fault recorded.
bool far_return(Cpu *cpu, const Frame *f, unsigned words, u32 extra, const u32 *eflags);
// The rule for returning or going to real-mode or virtual-8086 code.
bool far_enter_real(Cpu *cpu, u32 selector, u32 eip);

// Sets CS from a checked code descriptor at privilege cpl and goes to eip.
void far_enter(Cpu *cpu, u32 selector, const Desc *d, u32 cpl, u32 eip);

#endif
