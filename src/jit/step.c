// SPDX-License-Identifier: MIT
// One guest instruction through ir/eval, without generating code: single step, an instruction that
// overwrites its own block, the instruction after STI with an interrupt waiting, gdb.
#include "jit/jit_int.h"

#include "cpu/helpers.h"
#include "lift/lift.h"

#include <string.h>

static u32 step_log2(unsigned bytes) { return bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3; }

static bool step_load(void *self, const IrOp *op, u32 addr, unsigned bytes, void *to) {
    Cpu *cpu = self;
    u32 info = CPU_ACCESS(op->seg, step_log2(bytes > 8 ? 8 : bytes));
    if (op->attr & IR_RMW) info |= CPU_ACCESS_RMW;
    if (op->attr & IR_ALIGN16 && !cpu_check_aligned(cpu, op->seg, addr, false)) return false;
    if (bytes > 8 && !cpu_probe(cpu, op->seg, addr, bytes, false)) return false;       // as one operand
    u64 low = cpu_slow_load(cpu, addr, info), high = 0;
    if (cpu->fault.pending) return false;
    if (bytes > 8) high = cpu_slow_load(cpu, addr + 8, CPU_ACCESS(op->seg, step_log2(bytes - 8)));
    if (cpu->fault.pending) return false;
    memcpy(to, &low, bytes > 8 ? 8 : bytes);
    if (bytes > 8) memcpy((u8 *)to + 8, &high, bytes - 8);
    return true;
}

static bool step_store(void *self, const IrOp *op, u32 addr, unsigned bytes, const void *from) {
    Cpu *cpu = self;
    u64 low = 0, high = 0;
    memcpy(&low, from, bytes > 8 ? 8 : bytes);
    if (bytes > 8) {
        memcpy(&high, (const u8 *)from + 8, bytes - 8);
        if (!cpu_probe(cpu, op->seg, addr, bytes, true)) return false;
    }
    cpu_slow_store(cpu, addr, CPU_ACCESS(op->seg, step_log2(bytes > 8 ? 8 : bytes)), low);
    if (cpu->fault.pending) return false;
    if (bytes > 8) cpu_slow_store(cpu, addr + 8, CPU_ACCESS(op->seg, step_log2(bytes - 8)), high);
    return !cpu->fault.pending;
}

static bool step_probe(void *self, const IrOp *op, u32 addr, u32 bytes) {
    if (op->attr & IR_ALIGN16 && !cpu_check_aligned(self, op->seg, addr, true)) return false;
    return cpu_probe(self, op->seg, addr, bytes, true);
}

// Calls a helper through a pointer of the widest signature: fewer arguments are simply not read
// (System V ABI: arguments in registers).
static bool step_call(void *self, unsigned helper, u32 a, u32 b, u32 c, u64 *result) {
    Cpu *cpu = self;
    u64 (*fn)(Cpu *, u32, u32, u32) = (u64 (*)(Cpu *, u32, u32, u32))lift_helpers()->row[helper].fn;
    *result = fn(cpu, a, b, c);
    return !cpu->fault.pending;
}

static void step_raise(void *self, unsigned vector, bool has_error, u32 error) {
    if (has_error) cpu_raise_error(self, vector, error);
    else if (vector == VEC_MF || vector == VEC_XM) run_host_exception(((Cpu *)self)->jit, vector);
    else cpu_raise(self, vector);
}

static IrMachine step_machine(Cpu *cpu) {
    return (IrMachine){ .self = cpu, .regs = cpu->regs, .flag_op = &cpu->flag_op, .flag_a = &cpu->flag_a,
        .flag_b = &cpu->flag_b, .flag_c = &cpu->flag_c, .env = (u8 *)cpu, .load = step_load,
        .store = step_store, .probe = step_probe, .call = step_call, .raise = step_raise,
        .xmm = cpu->xmm, .mxcsr = &cpu->mxcsr, .thunk = ((Jit *)cpu->jit)->thunk };
}

// The instruction at cpu->eip as IR. NULL: fault recorded.
static IrBlock *step_lift(Jit *jit, u8 *bytes) {
    Cpu *cpu = jit->cpu;
    u32 ppn, second;
    u32 addr = cpu->seg[CPU_CS].base + cpu->eip;
    if (!cpu_check_cs(cpu, cpu->eip, 1) || !cpu_fetch_page(cpu, lin(addr), &ppn)) return NULL;
    u32 offset = addr & ~PAGE_MASK;
    u32 have = min_u32(ISA_MAX_BYTES, PAGE_BYTES - offset);
    bus_dma_read(jit->bus, phy((u64)ppn << PAGE_SHIFT | offset), bytes, have);
    Source src = { .eip = cpu->eip, .mode = cpu->mode, .features = cpu->cpuid_features,
                   .limit = cpu->seg[CPU_CS].limit, .bytes = bytes, .count = have };
    Lifted l;
    if (translate_lift(jit->step_arena, &src, 1, &l)) return l.ir;
    if (!cpu_fetch_page(cpu, lin((addr & PAGE_MASK) + PAGE_BYTES), &second)) return NULL;
    bus_dma_read(jit->bus, phy((u64)second << PAGE_SHIFT), bytes + have, ISA_MAX_BYTES - have);
    src.count = ISA_MAX_BYTES;
    translate_lift(jit->step_arena, &src, 1, &l);
    return l.ir;
}

static bool step_uses_fpu(const IrBlock *ir) {
    for (u32 i = 0; i < ir->count; i++) {
        u8 code = ir->ops[i].code;
        if (code == IR_FPU || code == IR_FPULD || code == IR_FPUST) return true;
    }
    return false;
}

bool step_one(Jit *jit) {
    Cpu *cpu = jit->cpu;
    arena_reset(jit->step_arena);
    cpu->jit_word[WORD_EXIT_PC] = 0;
    u8 bytes[ISA_MAX_BYTES] = { 0 };
    u32 mode = cpu->mode;
    IrBlock *ir = step_lift(jit, bytes);
    if (!ir) return false;
    IrMachine m = step_machine(cpu);
    bool fpu = step_uses_fpu(ir);
    if (fpu) cpu_fpu_keep_pointers(cpu);
    cpu->fpu_used |= fpu;
    jit->stepping = true;
    IrEvalResult r = ir_eval(ir, &m, 1);
    jit->stepping = false;
    if (r.end == IR_EVAL_FAULT) { cpu->eip = ir->eip; return false; }
    cpu->insns++;
    if (fpu) fpu_place_stepped(jit, bytes, ir->eip, mode);
    if (r.end != IR_EVAL_LEAVE) cpu->eip = r.eip;
    return !cpu->fault.pending;
}
