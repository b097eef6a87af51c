// SPDX-License-Identifier: MIT
// Life of the processor, its flags, the mode word and the segments' fast bounds.
//
// The mode word and everything derived from a segment register (class, read_end, write_end) are
// recomputed here and nowhere else.
#include "cpu/cpu_int.h"
#include "cpu/model.h"

#include <stdlib.h>

// ---- life ---------------------------------------------------------------------------------------
Cpu *cpu_new(Bus *bus, Log *log) {
    Cpu *cpu = mem_new_aligned(CPU_ALIGNMENT, sizeof(Cpu));
    cpu->bus = bus;
    cpu->log = log;
    cpu_set_model(cpu, cpu_model_default());
    mmu_new(cpu);
    pmc_new(cpu);
    cpu_reset(cpu);
    return cpu;
}

void cpu_free(Cpu *cpu) {
    if (!cpu) return;
    mmu_free(cpu->mmu);
    free(cpu);
}

static void cpu_reset_segments(Cpu *cpu) {
    for (unsigned s = 0; s < 6; s++)
        cpu->seg[s] = (CpuSeg){ .limit = 0xffff, .access = 0x93 };
    cpu->seg[CPU_CS] = (CpuSeg){ .selector = 0xf000, .base = 0xffff0000, .limit = 0xffff,
                                 .access = 0x9b };
    cpu->ldtr = (CpuSeg){ .limit = 0xffff, .access = 0x82 };
    cpu->tr = (CpuSeg){ .limit = 0xffff, .access = 0x8b };
    cpu->gdtr = cpu->idtr = (CpuTable){ 0, 0xffff };
}

// The x87 comes up as FNINIT leaves it: boards' firmware has executed one before any guest code
// that matters, and SeaBIOS relies on the emulator for that.
static void cpu_reset_fpu(Cpu *cpu) {
    for (unsigned i = 0; i < sizeof(cpu->fpu_image); i++) cpu->fpu_image[i] = 0;
    put_le16(cpu->fpu_image, 0x037f);
    put_le32(cpu->fpu_image + 24, CPU_MXCSR_RESET);
    cpu->mxcsr = CPU_MXCSR_RESET;
    cpu->host_mxcsr = CPU_MXCSR_RESET;
    for (unsigned i = 0; i < sizeof cpu->xmm; i++) cpu->xmm[i] = 0;
    cpu->fpu_ip = cpu->fpu_dp = 0;
    cpu->fpu_cs = cpu->fpu_ds = cpu->fpu_op = 0;
    cpu->fpu_live = false;
}

void cpu_reset(Cpu *cpu) {
    for (unsigned i = 0; i < 8; i++) cpu->regs[i] = cpu->dr[i] = 0;
    cpu->regs[CPU_EDX] = cpu->model.signature;
    cpu->eip = 0xfff0;
    cpu->eflags = 2;
    cpu_set_df(cpu, false);
    cpu_set_arith(cpu, 0);
    cpu->fault = (CpuFault){ 0 };
    cpu_reset_segments(cpu);
    cpu_reset_fpu(cpu);
    cpu->cr0 = CR0_CD | CR0_NW | CR0_ET;
    cpu->cr2 = cpu->cr3 = cpu->cr4 = 0;
    cpu->dr[6] = DR6_FIXED;
    cpu->dr[7] = DR7_FIXED;
    cpu->efer = 0;
    cpu->msr_sysenter_cs = cpu->msr_sysenter_esp = cpu->msr_sysenter_eip = 0;
    msr_reset(cpu);
    pmc_reset(cpu);
    cpu->cpl = 0;
    cpu->halted = cpu->shutdown = cpu->inhibit_irq = cpu->inhibit_trap = cpu->nmi_blocked = false;
    cpu->no_restart = false;
    cpu->delivering = 0;
    cpu->debug_hits = 0;
    mmu_flush(cpu);
    cpu_update_mode(cpu);
}

// ---- flags --------------------------------------------------------------------------------------
u32 cpu_flags(Cpu *cpu) {
    return cpu->eflags | flags_compute(cpu->flag_op, cpu->flag_a, cpu->flag_b, cpu->flag_c);
}

void cpu_set_arith(Cpu *cpu, u32 oszapc) {
    cpu->flag_op = FLAGS_OP(FLAGS_RAW, 2);
    cpu->flag_a = oszapc & FLAG_OSZAPC;
    cpu->flag_b = cpu->flag_c = 0;
}

void cpu_set_eflags(Cpu *cpu, u32 value, u32 mask) {
    if (mask & FLAG_OSZAPC) {
        u32 keep = (mask & FLAG_OSZAPC) == FLAG_OSZAPC ? 0 : cpu_flags(cpu) & ~mask;
        cpu_set_arith(cpu, keep | (value & mask));
    }
    mask &= ~(FLAG_OSZAPC | 2u);
    u32 old = cpu->eflags;
    cpu->eflags = (old & ~mask) | (value & mask) | 2;
    cpu_set_df(cpu, cpu->eflags & FLAG_DF);
    if ((old ^ cpu->eflags) & (FLAG_TF | FLAG_IOPL | FLAG_VM | FLAG_AC))
        cpu_update_cpl(cpu);
}

// ---- segments -----------------------------------------------------------------------------------
// May the segment be read / written at all? In real mode only the limit counts.
static bool seg_readable(const Cpu *cpu, const CpuSeg *seg) {
    if (!(seg->access & SEG_ACC_P)) return false;
    return !(cpu->cr0 & CR0_PE) || (seg->access & (ACC_CODE | ACC_READABLE)) != ACC_CODE;
}

static bool seg_writable(const Cpu *cpu, const CpuSeg *seg) {
    if (!(seg->access & SEG_ACC_P)) return false;
    if (!(cpu->cr0 & CR0_PE)) return true;
    return (seg->access & (ACC_CODE | ACC_WRITABLE)) == ACC_WRITABLE;
}

static bool seg_grows_down(const CpuSeg *seg) {
    return (seg->access & (ACC_CODE | ACC_DOWN)) == ACC_DOWN;
}

// The bound for a size is limit - size + 2, at most 0xffffffff; 0 when limit is below size - 1.
static inline void seg_put_ends(u32 *end, u32 limit, bool allowed) {
    if (!allowed) limit = 0;
    end[0] = !allowed ? 0 : limit == 0xffffffff ? limit : limit + 1;
    end[1] = limit;
    end[2] = limit >= 3 ? limit - 2 : 0;
    end[3] = limit >= 7 ? limit - 6 : 0;
}

void seg_bounds(const Cpu *cpu, CpuSeg *seg) {
    static const u32 full[4] = { 0xffffffff, 0xffffffff, 0xfffffffd, 0xfffffff9 };
    bool up = !seg_grows_down(seg);
    bool read = up && seg_readable(cpu, seg), write = up && seg_writable(cpu, seg);
    if (seg->limit == 0xffffffff && read && write) {
        __builtin_memcpy(seg->read_end, full, sizeof(full));
        __builtin_memcpy(seg->write_end, full, sizeof(full));
        return;
    }
    seg_put_ends(seg->read_end, seg->limit, read);
    seg_put_ends(seg->write_end, seg->limit, write);
}

bool seg_allows(const Cpu *cpu, const CpuSeg *seg, u32 offset, u32 bytes, bool write) {
    if (!(write ? seg_writable(cpu, seg) : seg_readable(cpu, seg))) return false;
    u64 last = (u64)offset + bytes - 1;
    if (seg_grows_down(seg)) {
        u32 top = seg->access & SEG_ACC_DB ? 0xffffffff : 0xffff;
        return offset > seg->limit && last <= top;
    }
    return last <= seg->limit || seg->limit == 0xffffffff;    // a full segment wraps around
}

static u32 seg_class(const Cpu *cpu, unsigned s) {
    const CpuSeg *seg = &cpu->seg[s];
    if (!seg->read_end[0]) return SEG_CHECKED;
    bool write = seg->write_end[0] != 0 || s == CPU_CS;
    if (seg->limit == 0xffffffff && write) return seg->base ? SEG_BASED : SEG_FLAT;
    bool real = seg->limit == 0xffff && seg->write_end[0] && !(seg->base & 15);
    if (s == CPU_CS && cpu_is_protected(cpu)) real = false;
    return real ? SEG_REAL : SEG_CHECKED;
}

static void seg_update_class(Cpu *cpu, unsigned s) {
    u32 shift = MODE_SEG_SHIFT(s);
    cpu->mode = (cpu->mode & ~(3u << shift)) | seg_class(cpu, s) << shift;
    bool big = cpu->seg[s].access & SEG_ACC_DB;
    u32 bit = s == CPU_CS ? MODE_CODE32 : s == CPU_SS ? MODE_STACK32 : 0;
    cpu->mode = big ? cpu->mode | bit : cpu->mode & ~bit;
}

// The usual segments of protected mode: 4 GiB of data that can be written, or of code in CS. False: others.
static bool seg_update_full(Cpu *cpu, unsigned s) {
    static const u32 full[4] = { 0xffffffff, 0xffffffff, 0xfffffffd, 0xfffffff9 }, none[4] = { 0 };
    const u32 data = SEG_ACC_P | SEG_ACC_S | ACC_WRITABLE, code = SEG_ACC_P | SEG_ACC_S | ACC_CODE | ACC_READABLE;
    CpuSeg *seg = &cpu->seg[s];
    u32 kind = seg->access & (SEG_ACC_P | SEG_ACC_S | ACC_CODE | ACC_DOWN | ACC_WRITABLE);
    bool is_code = s == CPU_CS && (kind & ~ACC_CONFORMING) == code && cpu->cr0 & CR0_PE;
    if (seg->limit != 0xffffffff || cpu->mode & MODE_AC || (kind != data && !is_code)) return false;
    u32 shift = MODE_SEG_SHIFT(s), size = s == CPU_CS ? MODE_CODE32 : s == CPU_SS ? MODE_STACK32 : 0;
    __builtin_memcpy(seg->read_end, full, sizeof(full));
    __builtin_memcpy(seg->write_end, is_code ? none : full, sizeof(full));
    u32 mode = cpu->mode & ~(3u << shift | size);
    cpu->mode = mode | (seg->base ? SEG_BASED : SEG_FLAT) << shift | (seg->access & SEG_ACC_DB ? size : 0);
    return true;
}

// Under alignment checks no access has a fast bound: C looks at each.
void cpu_update_seg(Cpu *cpu, unsigned s) {
    CpuSeg *seg = &cpu->seg[s];
    if (seg_update_full(cpu, s)) return;
    seg_bounds(cpu, seg);
    if (cpu->mode & MODE_AC)
        for (unsigned i = 0; i < 4; i++) seg->read_end[i] = seg->write_end[i] = 0;
    seg_update_class(cpu, s);
}

// ---- mode ---------------------------------------------------------------------------------------
#define MODE_OF_SEGMENTS (MODE_CODE32 | MODE_STACK32 | 0xfffu << MODE_SEG_SHIFT(0))

static u32 mode_of_privilege(const Cpu *cpu) {
    u32 m = cpu->cpl;
    bool vm = cpu->eflags & FLAG_VM;
    if (!(cpu->cr0 & CR0_PE)) return m | MODE_IO_OK;
    m |= MODE_PE | (vm ? MODE_VM : 0);
    if (!vm && cpu_iopl(cpu) >= cpu->cpl) m |= MODE_IO_OK;
    if (cpu->cpl == 3 && (cpu->cr0 & CR0_AM) && (cpu->eflags & FLAG_AC)) m |= MODE_AC;
    if (cpu->cpl == 3) m |= cpu->mode_user;
    return m;
}

// CR0, CR4, DR7, the model.
static u32 mode_of_fpu(const Cpu *cpu) {
    u32 m = 0;
    if ((cpu->cr0 & (CR0_EM | CR0_TS)) || !cpu_has(cpu, CPU_HAS_FPU)) m |= MODE_FPU_NM;
    if ((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) m |= MODE_WAIT_NM;
    return m;
}

static u32 mode_of_system(const Cpu *cpu) {
    u32 m = mode_of_fpu(cpu);
    if (cpu->dr[7] & 0xff || cpu->watch_count) m |= MODE_DEBUG;
    bool sse = (cpu->cr4 & CR4_OSFXSR) && !(cpu->cr0 & CR0_EM) && cpu_has(cpu, CPU_HAS_SSE);
    if (sse) m |= MODE_SSE;
    return m;
}

#define MODE_OF_FPU (MODE_FPU_NM | MODE_WAIT_NM)
#define MODE_OF_SYSTEM (MODE_OF_FPU | MODE_DEBUG | MODE_SSE)

void cpu_update_ts(Cpu *cpu) { cpu->mode = (cpu->mode & ~MODE_OF_FPU) | mode_of_fpu(cpu); }

void cpu_update_cpl(Cpu *cpu) {
    if (!(cpu->cr0 & CR0_PE)) cpu->cpl = 0;
    else if (cpu->eflags & FLAG_VM) cpu->cpl = 3;
    u32 m = mode_of_privilege(cpu), old = cpu->mode;
    if (cpu->eflags & FLAG_TF) m |= MODE_TF;
    if (cpu->pmc.by_ring && (m ^ old) & MODE_CPL) pmc_turn(cpu);
    cpu->mode = (old & (MODE_OF_SEGMENTS | MODE_OF_SYSTEM)) | m;
    if ((cpu->mode ^ old) & MODE_CPL) cpu->mmu_base = mmu_context_base(cpu->mmu, cpu->cpl == 3);
    if ((cpu->mode ^ old) & MODE_AC)
        for (unsigned s = 0; s < 6; s++) cpu_update_seg(cpu, s);
}

void cpu_update_privilege(Cpu *cpu) {
    cpu->mode = (cpu->mode & ~MODE_OF_SYSTEM) | mode_of_system(cpu);
    cpu_update_cpl(cpu);
    cpu->mmu_base = mmu_context_base(cpu->mmu, cpu->cpl == 3);
}

void cpu_update_mode(Cpu *cpu) {
    cpu_update_privilege(cpu);
    for (unsigned s = 0; s < 6; s++) cpu_update_seg(cpu, s);
}

bool cpu_watch(Cpu *cpu, const CpuWatch *w, bool on) {
    unsigned n = 0;
    while (n < cpu->watch_count && (cpu->watch[n].addr != w->addr || cpu->watch[n].bytes != w->bytes ||
                                    cpu->watch[n].kind != w->kind)) n++;
    bool there = n < cpu->watch_count;
    if (on && !there && n == CPU_WATCHES) return false;
    if (on && !there) cpu->watch[cpu->watch_count++] = *w;
    if (!on && there) cpu->watch[n] = cpu->watch[--cpu->watch_count];
    cpu_update_privilege(cpu);
    return on || there;
}

// ---- faults -------------------------------------------------------------------------------------
bool cpu_raise(Cpu *cpu, CpuVector v) {
    cpu->fault = (CpuFault){ .pending = 1, .vector = (u8)v };
    return false;
}

bool cpu_raise_error(Cpu *cpu, CpuVector v, u32 error) {
    cpu->fault = (CpuFault){ .pending = 1, .vector = (u8)v, .has_error = 1, .error = error };
    return false;
}

void cpu_end_inhibit(Cpu *cpu) { cpu->inhibit_irq = cpu->inhibit_trap = false; }

bool cpu_check_cs(Cpu *cpu, u32 eip, u32 bytes) {
    u32 limit = cpu->seg[CPU_CS].limit;
    if (limit == 0xffffffff || (u64)eip + bytes - (bytes != 0) <= limit) return true;
    return cpu_raise_error(cpu, VEC_GP, 0);
}

bool cpu_check_breakpoint(Cpu *cpu) {
    if (!(cpu->mode & MODE_DEBUG)) return true;
    u32 at = cpu->seg[CPU_CS].base + cpu->eip, hits = 0;
    for (unsigned i = 0; i < 4; i++) {
        bool armed = cpu->dr[7] >> (2 * i) & 3, execute = (cpu->dr[7] >> (16 + 4 * i) & 15) == 0;
        if (armed && execute && cpu->dr[i] == at) hits |= BIT(i);
    }
    bool resume = cpu->eflags & FLAG_RF;       // lasts for this one instruction
    cpu->eflags &= ~FLAG_RF;
    if (!hits || resume) return true;
    cpu->dr[6] |= hits;
    return cpu_raise(cpu, VEC_DB);
}

// ---- helpers of a line or two -------------------------------------------------------------------
void cpu_h_raise(Cpu *cpu, u32 vector) { cpu_raise(cpu, (CpuVector)vector); }

void cpu_h_raise_error(Cpu *cpu, u32 vector, u32 error) {
    cpu_raise_error(cpu, (CpuVector)vector, error);
}

u32 cpu_h_flags(Cpu *cpu) {
    return flags_compute(cpu->flag_op, cpu->flag_a, cpu->flag_b, cpu->flag_c);
}

// MOV SS, POP SS and INT n take no trap; what they hit waits for the next instruction.
void cpu_h_step_trap(Cpu *cpu, u32 stepped) {
    u32 hits = cpu->debug_hits | (stepped ? DR6_BS : 0);
    if (cpu->inhibit_trap) {
        cpu->inhibit_trap = false;
        return;
    }
    cpu->debug_hits = 0;
    if (!hits) return;
    cpu->dr[6] |= hits;
    cpu_raise(cpu, VEC_DB);
    cpu->fault.kind = CPU_TRAP;
}
