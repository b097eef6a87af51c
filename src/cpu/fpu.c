// SPDX-License-Identifier: MIT
// The guest's x87 state: between the host FPU and memory.
//
// The host FPU is the guest's while generated code runs (fpu_live). Environment and state images
// are made and taken by the host's own instructions through a buffer; only the pointers (FIP, FDP,
// FOP) name generated code and host memory there and are translated. C code finds XMM registers and
// MXCSR in Cpu (see cpu.h); the host's own are none of the guest's here.
//
// The host's FIP says where the guest's are:
//     in the code cache   the jit knows the guest's instruction (Cpu.fpu_place)
//     POINTER_KEPT        they are in Cpu: put there when state was loaded from memory
//     0                   they are in Cpu, too: FNINIT and FNSAVE have cleared them there
// and its FDP likewise, when the guest's last memory operand is older than that. A host whose kernel loses the
// pointers at its own task switches (AMD, unless an exception is pending) gives 0 then, or other values: Cpu's
// older ones stay. FDP is found by the soft MMU's direct entries, or is that of the last operand that went through
// the bounce buffer. FCS and FDS are what the segment registers hold. So the guest's are worked out before the guest
// drops its TLB or loads a segment register (cpu_fpu_keep_pointers), if x87 instructions have run since the last time.
#include "cpu/cpu_int.h"
#include "cpu/helpers.h"
#include "cpu/model.h"

#define FXSAVE_BYTES 512u
#define FXSAVE_XMM 160u                // offset of the XMM registers
#define FXSAVE_STORED 288u             // FXSAVE leaves what follows XMM7 alone
#define REGS_BYTES 80u

// The host's FNSTENV image in 64-bit mode: the 32-bit protected mode format.
typedef struct FpuEnv {
    u32 cw, sw, tw, fip, fcs_fop, fdp, fds;
} FpuEnv;
typedef struct FpuState {
    FpuEnv env;
    u8 regs[REGS_BYTES];               // ST(0) .. ST(7), 10 bytes each
} FpuState;
_Static_assert(sizeof(FpuState) == 108, "FNSAVE's 32-bit image");

typedef struct __attribute__((aligned(16))) FxImage { u8 byte[FXSAVE_BYTES]; } FxImage;

static void fx_save(FxImage *image) { __asm__ volatile("fxsave %0" : "=m"(*image)); }
static void fx_load(const FxImage *image) { __asm__ volatile("fxrstor %0" : : "m"(*image)); }

// The guest's XMM registers and MXCSR. A processor without SSE stores nothing there.
static void fx_put_sse(const Cpu *cpu, FxImage *image) {
    for (u32 i = FXSAVE_XMM; i < FXSAVE_BYTES; i++) image->byte[i] = 0;
    for (u32 i = 0; i < sizeof cpu->xmm; i++) image->byte[FXSAVE_XMM + i] = cpu->xmm[i];
    put_le32(image->byte + 24, cpu->mxcsr);
    put_le32(image->byte + 28, cpu_has(cpu, CPU_HAS_SSE) ? CPU_MXCSR_BITS : 0);
}

// ---- pointers -----------------------------------------------------------------------------------
#define POINTER_KEPT 1u                // nothing executes or lies there
#define FPU_SUMMARY 0x80               // status word: an unmasked exception is pending

static void env_store(FpuEnv *env) { __asm__ volatile("fnstenv %0" : "=m"(*env)); }
static void env_load(const FpuEnv *env) { __asm__ volatile("fldenv %0" : : "m"(*env)); }

static bool fpu_is_protected(const Cpu *cpu) { return cpu_is_protected(cpu); }

static void pointers_put(Cpu *cpu, const CpuFpuPlace *p) {
    cpu->fpu_ip = p->ip;
    cpu->fpu_op = p->op;
    cpu->fpu_cs = cpu->seg[CPU_CS].selector;
}

static bool pointers_operand(Cpu *cpu, u32 host_low, u32 *offset) {
    u32 base = cpu->seg[cpu->fpu_segment].base, addr = *offset + base;     // near the last one, perhaps
    if (host_low == (u32)(uintptr_t)cpu->bounce) {
        *offset = cpu->fpu_slow_dp;
        return true;
    }
    if (!mmu_find_linear(cpu, cpu->cpl == 3, host_low, &addr)) return false;
    *offset = addr - base;
    return true;
}

// `fresh`: the last instruction has an operand, whose address may end in 32 zero bits like any other.
static void pointers_take_data(Cpu *cpu, u32 host_low, bool fresh) {
    if (host_low == POINTER_KEPT || (!host_low && !fresh)) return;
    if (!pointers_operand(cpu, host_low, &cpu->fpu_dp)) return;
    cpu->fpu_ds = cpu->seg[cpu->fpu_segment].selector;
}

static void pointers_take(Cpu *cpu, const FpuEnv *env) {
    CpuFpuPlace p;
    if (env->fip == POINTER_KEPT || !env->fip) return;
    if (!cpu->fpu_place || !cpu->fpu_place(cpu->jit, env->fip, &p)) return;
    pointers_put(cpu, &p);
    pointers_take_data(cpu, env->fdp, p.memory);
}

static void pointers_mark_kept(FpuEnv *env) {
    env->fip = env->fdp = POINTER_KEPT;
    env->fcs_fop = env->fds = 0;
}

static void pointers_clear(Cpu *cpu) {
    cpu->fpu_ip = cpu->fpu_dp = 0;
    cpu->fpu_cs = cpu->fpu_ds = cpu->fpu_op = 0;
}

void cpu_fpu_keep_pointers(Cpu *cpu) {
    FpuEnv env;
    if (!cpu->fpu_used || !cpu->fpu_live) return;
    cpu->fpu_used = false;
    env_store(&env);
    pointers_take(cpu, &env);
    pointers_mark_kept(&env);
    env_load(&env);
}

void cpu_fpu_set_pointers(Cpu *cpu, const CpuFpuPlace *place, u32 data_offset) {
    FpuEnv env;
    env_store(&env);
    pointers_put(cpu, place);
    if (place->memory) {
        cpu->fpu_dp = data_offset;
        cpu->fpu_ds = cpu->seg[place->seg].selector;
    }
    pointers_mark_kept(&env);
    env_load(&env);
}

// ---- whole state --------------------------------------------------------------------------------
void cpu_fpu_load_host(Cpu *cpu) {
    if (cpu->fpu_live) return;
    FpuEnv env;
    fx_load((const FxImage *)(const void *)cpu->fpu_image);
    env_store(&env);
    pointers_mark_kept(&env);
    env_load(&env);
    cpu->fpu_live = true;
}

void cpu_fpu_save_host(Cpu *cpu) {
    if (!cpu->fpu_live) return;
    cpu_fpu_keep_pointers(cpu);
    fx_save((FxImage *)(void *)cpu->fpu_image);
    put_le32(cpu->fpu_image + 24, CPU_MXCSR_RESET);
    __asm__ volatile("fnclex\n\tfninit");
    cpu->fpu_live = false;
}

void fpu_peek(Cpu *cpu, u8 *image512) {
    FxImage *image = (FxImage *)(void *)image512;
    if (cpu->fpu_live) fx_save(image);
    else *image = *(const FxImage *)(const void *)cpu->fpu_image;
    fx_put_sse(cpu, image);
}

// ---- environment formats ------------------------------------------------------------------------
// Words of the guest's image: 14 or 28 bytes (SDM Vol. 1, 8.1.10).
static u32 env_write(const Cpu *cpu, const FpuEnv *e, u32 opsize, u8 *out) {
    u32 ones = opsize == 4 ? 0xffff0000 : 0, ip = cpu->fpu_ip, dp = cpu->fpu_dp;
    u32 w[7] = { e->cw | ones, e->sw | ones, e->tw | ones };
    u32 op = cpu->fpu_op & 0x7ff;
    if (fpu_is_protected(cpu)) {
        w[3] = ip;
        w[4] = cpu->fpu_cs | (opsize == 4 ? op << 16 : 0);
        w[5] = dp;
        w[6] = cpu->fpu_ds | ones;
    } else {
        ip += (u32)cpu->fpu_cs << 4;
        dp += (u32)cpu->fpu_ds << 4;
        w[3] = (ip & 0xffff) | ones;
        w[4] = (ip >> 16 << 12) | op;
        w[5] = (dp & 0xffff) | ones;
        w[6] = dp >> 16 << 12;
    }
    for (unsigned i = 0; i < 7; i++) {
        if (opsize == 4) put_le32(out + 4 * i, w[i]);
        else put_le16(out + 2 * i, (u16)w[i]);
    }
    return 7 * opsize;
}

static void env_read(Cpu *cpu, const u8 *in, u32 opsize, FpuEnv *e) {
    u32 w[7];
    for (unsigned i = 0; i < 7; i++)
        w[i] = opsize == 4 ? get_le32(in + 4 * i) : get_le16(in + 2 * i);
    *e = (FpuEnv){ .cw = w[0] | 0xffff0000, .sw = w[1] | 0xffff0000, .tw = w[2] | 0xffff0000 };
    if (fpu_is_protected(cpu)) {
        cpu->fpu_ip = w[3];
        cpu->fpu_cs = (u16)w[4];
        cpu->fpu_op = opsize == 4 ? w[4] >> 16 & 0x7ff : 0;          // the short form has none
        cpu->fpu_dp = w[5];
        cpu->fpu_ds = (u16)w[6];
    } else {
        cpu->fpu_ip = (w[3] & 0xffff) | w[4] >> 12 << 16;
        cpu->fpu_op = w[4] & 0x7ff;
        cpu->fpu_dp = (w[5] & 0xffff) | w[6] >> 12 << 16;
        cpu->fpu_cs = cpu->fpu_ds = 0;
    }
}

// ---- guest memory -------------------------------------------------------------------------------
// Images go in pieces of `piece` bytes (2 or 4), which is how they are aligned. This proves that all can be stored.
static bool image_probe(Cpu *cpu, u32 offset, u32 mem, u32 bytes, u32 piece) {
    unsigned seg = mem & 7;
    return cpu_probe(cpu, seg, offset, piece, true) && cpu_probe(cpu, seg, offset, bytes, true);
}

// Where all the bytes are when no check can fail and one direct entry leads to them; else NULL.
static u8 *image_direct(const Cpu *cpu, u32 offset, u32 mem, u32 bytes, bool write) {
    const CpuSeg *seg = &cpu->seg[mem & 7];
    u32 end = write ? seg->write_end[0] : seg->read_end[0], addr = seg->base + offset;
    if (offset >= end || bytes > end - offset || (addr & ~PAGE_MASK) + bytes > PAGE_BYTES) return NULL;
    if (cpu->mode & (MODE_AC | MODE_DEBUG)) return NULL;
    i64 entry = (write ? mmu_writes : mmu_reads)(cpu->mmu_base)[addr >> PAGE_SHIFT];
    return entry < 0 ? NULL : (u8 *)(entry + addr);
}

static void image_store(Cpu *cpu, u32 offset, u32 mem, const u8 *from, u32 bytes, u32 piece) {
    u8 *direct = image_direct(cpu, offset, mem, bytes, true);
    if (direct) {
        __builtin_memcpy(direct, from, bytes);
        return;
    }
    for (u32 i = 0; i < bytes; i += piece)
        cpu_store(cpu, mem & 7, offset + i, piece, piece == 4 ? get_le32(from + i) : get_le16(from + i));
}

static bool image_load(Cpu *cpu, u32 offset, u32 mem, u8 *to, u32 bytes, u32 piece) {
    const u8 *direct = image_direct(cpu, offset, mem, bytes, false);
    if (direct) {
        __builtin_memcpy(to, direct, bytes);
        return true;
    }
    if (!cpu_probe(cpu, mem & 7, offset, bytes, false)) return false;
    for (u32 i = 0; i < bytes; i += piece) {
        u64 v;
        if (!cpu_load(cpu, mem & 7, offset + i, piece, &v)) return false;
        if (piece == 4) put_le32(to + i, (u32)v);
        else put_le16(to + i, (u16)v);
    }
    return true;
}

static u32 image_opsize(u32 mem) { return (mem >> 3 & 7) == 1 ? 2 : 4; }

// ---- helpers ------------------------------------------------------------------------------------
void cpu_h_fnstenv(Cpu *cpu, u32 offset, u32 mem) {
    u32 opsize = image_opsize(mem);
    FpuEnv env;
    u8 image[28];
    if (!image_probe(cpu, offset, mem, 7 * opsize, opsize)) return;
    env_store(&env);
    pointers_take(cpu, &env);
    image_store(cpu, offset, mem, image, env_write(cpu, &env, opsize, image), opsize);
}

void cpu_h_fldenv(Cpu *cpu, u32 offset, u32 mem) {
    u32 opsize = image_opsize(mem);
    FpuEnv env;
    u8 image[28];
    if (!image_load(cpu, offset, mem, image, 7 * opsize, opsize)) return;
    env_read(cpu, image, opsize, &env);
    pointers_mark_kept(&env);
    env_load(&env);
}

void cpu_h_fnsave(Cpu *cpu, u32 offset, u32 mem) {
    u32 opsize = image_opsize(mem);
    FpuState state;
    u8 image[28 + REGS_BYTES];
    if (!image_probe(cpu, offset, mem, 7 * opsize + REGS_BYTES, opsize)) return;
    __asm__ volatile("fnsave %0" : "=m"(state));
    pointers_take(cpu, &state.env);
    u32 at = env_write(cpu, &state.env, opsize, image);
    for (u32 i = 0; i < REGS_BYTES; i++) image[at + i] = state.regs[i];
    image_store(cpu, offset, mem, image, at + REGS_BYTES, opsize);
    pointers_clear(cpu);
}

void cpu_h_frstor(Cpu *cpu, u32 offset, u32 mem) {
    u32 opsize = image_opsize(mem);
    FpuState state;
    u8 image[28 + REGS_BYTES];
    if (!image_load(cpu, offset, mem, image, 7 * opsize + REGS_BYTES, opsize)) return;
    env_read(cpu, image, opsize, &state.env);
    pointers_mark_kept(&state.env);
    for (u32 i = 0; i < REGS_BYTES; i++) state.regs[i] = image[7 * opsize + i];
    __asm__ volatile("frstor %0" : : "m"(state));
}

// ---- MMX and SSE --------------------------------------------------------------------------------
static bool mxcsr_set(Cpu *cpu, u32 value) {
    if (value & ~CPU_MXCSR_BITS) return cpu_raise_error(cpu, VEC_GP, 0);
    cpu->mxcsr = value;
    return true;
}

void cpu_h_ldmxcsr(Cpu *cpu, u32 value) { mxcsr_set(cpu, value); }

void cpu_h_no_mmx(Cpu *cpu) { cpu_raise(cpu, cpu->cr0 & CR0_EM ? VEC_UD : VEC_NM); }

// MMX register n.
static void mmx_read(const FxImage *image, unsigned n, u8 *to) {
    u32 sw = get_le16(image->byte + 2);
    const u8 *from = image->byte + 32 + 16 * ((n - (sw >> 11)) & 7);     // stored in ST order
    for (u32 i = 0; i < 8; i++) to[i] = from[i];
}

// Only bytes whose mask bit is set are checked and stored.
static void mask_store(Cpu *cpu, u32 offset, u32 mem, const u8 *data, const u8 *mask, u32 bytes) {
    for (u32 i = 0; i < bytes; i++)
        if (mask[i] & 0x80 && !cpu_probe(cpu, mem & 7, offset + i, 1, true)) return;
    for (u32 i = 0; i < bytes; i++)
        if (mask[i] & 0x80) cpu_store(cpu, mem & 7, offset + i, 1, data[i]);
}

void cpu_h_maskmov(Cpu *cpu, u32 offset, u32 mem, u32 registers) {
    unsigned data = registers & 7, mask = registers >> 4 & 7;
    if (registers & CPU_MASKMOV_XMM) {
        mask_store(cpu, offset, mem, cpu->xmm + 16 * data, cpu->xmm + 16 * mask, 16);
        return;
    }
    FxImage image = { 0 };                               // reserved bytes are not stored to
    u8 from[8], by[8];
    fx_save(&image);
    mmx_read(&image, data, from);
    mmx_read(&image, mask, by);
    mask_store(cpu, offset, mem, from, by, 8);
    if (!cpu->fault.pending) __asm__ volatile("movd %%mm0, %%eax" ::: "eax");   // tags and top as MMX sets them
}

static bool fx_is_aligned(Cpu *cpu, u32 offset, u32 mem) {
    u32 addr = cpu->seg[mem & 7].base + offset;
    return !(addr & 15) || cpu_raise_error(cpu, VEC_GP, 0);
}

void cpu_h_fxsave(Cpu *cpu, u32 offset, u32 mem) {
    FxImage image = { 0 };                               // reserved bytes are not stored to
    if (!fx_is_aligned(cpu, offset, mem)) return;
    if (!cpu_probe(cpu, mem & 7, offset, FXSAVE_BYTES, true)) return;
    cpu_fpu_keep_pointers(cpu);
    fx_save(&image);
    fx_put_sse(cpu, &image);
    put_le16(image.byte + 6, cpu->fpu_op & 0x7ff);
    put_le32(image.byte + 8, cpu->fpu_ip);
    put_le32(image.byte + 12, cpu->fpu_cs);
    put_le32(image.byte + 16, cpu->fpu_dp);
    put_le32(image.byte + 20, cpu->fpu_ds);
    image_store(cpu, offset, mem, image.byte, FXSAVE_STORED, 4);
}

void cpu_h_fxrstor(Cpu *cpu, u32 offset, u32 mem) {
    FxImage image, now;
    FpuEnv env;
    if (!fx_is_aligned(cpu, offset, mem)) return;
    if (!image_load(cpu, offset, mem, image.byte, FXSAVE_BYTES, 4)) return;
    if (cpu_has(cpu, CPU_HAS_SSE)) {
        if (!mxcsr_set(cpu, get_le32(image.byte + 24))) return;
        for (u32 i = 0; i < sizeof cpu->xmm; i++) cpu->xmm[i] = image.byte[FXSAVE_XMM + i];
    }
    cpu->fpu_op = get_le16(image.byte + 6) & 0x7ff;
    cpu->fpu_ip = get_le32(image.byte + 8);
    cpu->fpu_cs = get_le16(image.byte + 12);
    cpu->fpu_dp = get_le32(image.byte + 16);
    cpu->fpu_ds = get_le16(image.byte + 20);
    fx_save(&now);                                      // the host's XMM registers and MXCSR stay
    for (u32 i = 24; i < 32; i++) image.byte[i] = now.byte[i];
    for (u32 i = FXSAVE_XMM; i < FXSAVE_BYTES; i++) image.byte[i] = now.byte[i];
    fx_load(&image);
    env_store(&env);
    pointers_mark_kept(&env);
    env_load(&env);
}

void cpu_h_fpu_load10(Cpu *cpu, u32 offset, u32 mem) {
    u64 low, high;
    unsigned seg = mem & 7;
    if (!cpu_probe(cpu, seg, offset, 10, false)) return;
    if (!cpu_load(cpu, seg, offset, 8, &low) || !cpu_load(cpu, seg, offset + 8, 2, &high)) return;
    put_le64(cpu->fpu_bounce, low);
    put_le16(cpu->fpu_bounce + 8, (u16)high);
}

void cpu_h_fpu_store10(Cpu *cpu, u32 offset, u32 mem) {
    unsigned seg = mem & 7;
    if (!cpu_probe(cpu, seg, offset, 10, true)) return;
    if (!cpu_store(cpu, seg, offset, 8, get_le64(cpu->fpu_bounce))) return;
    cpu_store(cpu, seg, offset + 8, 2, get_le16(cpu->fpu_bounce + 8));
}
