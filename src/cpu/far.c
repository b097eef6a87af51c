// SPDX-License-Identifier: MIT
// Far jumps, calls and returns; SYSENTER and SYSEXIT.
//
// Rules: SDM 2A-2B pseudo code of JMP, CALL, RET; 3A 5.8. The order of the checks is theirs; the
// stack (or both stacks) is checked last, then everything is changed at once. cpu->eip is the next
// instruction's on entry: it is what CALL pushes.
#include "cpu/cpu_int.h"

// ---- entering code ------------------------------------------------------------------------------
void far_enter(Cpu *cpu, u32 selector, const Desc *d, u32 cpl, u32 eip) {
    seg_fill(&cpu->seg[CPU_CS], (selector & 0xfffc) | cpl, d);
    cpu->eip = eip;
    if (cpu->cpl != cpl) {
        cpu->cpl = (u8)cpl;
        cpu_update_cpl(cpu);
    }
    cpu_update_seg(cpu, CPU_CS);
}

// Real mode keeps CS's limit, virtual-8086 mode has 64 KiB.
bool far_enter_real(Cpu *cpu, u32 selector, u32 eip) {
    if (eip > cpu->seg[CPU_CS].limit) return cpu_raise_error(cpu, VEC_GP, 0);
    seg_fill_real(cpu, CPU_CS, selector);
    cpu_update_seg(cpu, CPU_CS);
    cpu->eip = eip;
    return true;
}

// Present, and the target inside: the last checks of every code descriptor.
static bool far_check_target(Cpu *cpu, u32 selector, Desc *d, u32 eip) {
    if (!(d->access & SEG_ACC_P)) return seg_fault(cpu, VEC_NP, selector, 0);
    if (eip > desc_limit(d)) return cpu_raise_error(cpu, VEC_GP, 0);
    return desc_set_accessed(cpu, d);
}

// Direct transfer to a code segment: its privilege must be ours.
static bool far_check_direct(Cpu *cpu, u32 selector, Desc *d, u32 eip) {
    bool bad = desc_is_nonconforming(d)
        ? (selector & 3) > cpu->cpl || ACC_DPL(d->access) != cpu->cpl
        : ACC_DPL(d->access) > cpu->cpl;
    if (bad) return seg_fault(cpu, VEC_GP, selector, 0);
    return far_check_target(cpu, selector, d, eip);
}

// Reads the descriptor of a far pointer's selector.
static bool far_fetch(Cpu *cpu, u32 selector, Desc *d) {
    if (selector_is_null(selector)) return cpu_raise_error(cpu, VEC_GP, 0);
    return desc_fetch(cpu, selector, VEC_GP, 0, d);
}

// Gates and TSSs need DPL >= CPL and DPL >= RPL; gates must be present.
static bool far_check_gate(Cpu *cpu, u32 selector, const Desc *d, bool gate) {
    if (ACC_DPL(d->access) < max_u32(cpu->cpl, selector & 3))
        return seg_fault(cpu, VEC_GP, selector, 0);
    if (gate && !(d->access & SEG_ACC_P)) return seg_fault(cpu, VEC_NP, selector, 0);
    return true;
}

// ---- tasks --------------------------------------------------------------------------------------
static bool far_switch_task(Cpu *cpu, u32 selector, Desc *d, TaskVia via) {
    bool gate = (d->access & 0x1f) == SYS_TASK;
    if (!far_check_gate(cpu, selector, d, gate)) return false;
    if (gate) selector = d->lo >> 16;
    if (!task_fetch_tss(cpu, selector, 0, d)) return false;
    return task_switch(cpu, selector, d, via, cpu->eip, false, 0);
}

// ---- call gates ---------------------------------------------------------------------------------
typedef struct Gate {
    Desc cs;
    u32 selector;            // of the code segment
    u32 eip;
    unsigned size;           // 2 or 4
    unsigned params;         // words to copy
} Gate;

static bool gate_open(Cpu *cpu, u32 selector, const Desc *d, Gate *g) {
    bool wide = (d->access & 0x1f) == SYS_CALL32;
    if (!far_check_gate(cpu, selector, d, true)) return false;
    g->selector = d->lo >> 16;
    g->eip = wide ? gate_offset(d) : d->lo & 0xffff;
    g->size = wide ? 4 : 2;
    g->params = d->hi & 31;
    if (!far_fetch(cpu, g->selector, &g->cs)) return false;
    if (!desc_is_code(&g->cs) || ACC_DPL(g->cs.access) > cpu->cpl)
        return seg_fault(cpu, VEC_GP, g->selector, 0);
    return true;
}

static bool gate_jump(Cpu *cpu, u32 selector, const Desc *d) {
    Gate g;
    if (!gate_open(cpu, selector, d, &g)) return false;
    if (desc_is_nonconforming(&g.cs) && ACC_DPL(g.cs.access) != cpu->cpl)
        return seg_fault(cpu, VEC_GP, g.selector, 0);
    if (!far_check_target(cpu, g.selector, &g.cs, g.eip)) return false;
    far_enter(cpu, g.selector, &g.cs, cpu->cpl, g.eip);
    return true;
}

static bool gate_call_same(Cpu *cpu, Gate *g) {
    Frame f;
    frame_init(cpu, &f, g->size);
    frame_push(&f, cpu->seg[CPU_CS].selector);
    frame_push(&f, cpu->eip);
    if (!far_check_target(cpu, g->selector, &g->cs, g->eip) || !frame_check(cpu, &f)) return false;
    cpu->regs[CPU_ESP] = frame_store(cpu, &f);
    far_enter(cpu, g->selector, &g->cs, cpu->cpl, g->eip);
    return true;
}

// New stack: SS, ESP, parameters (deepest first), CS, EIP.
static bool gate_build_inner(Cpu *cpu, const Gate *g, Frame *f) {
    Frame old;
    frame_init(cpu, &old, g->size);
    frame_push(f, cpu->seg[CPU_SS].selector);
    frame_push(f, cpu->regs[CPU_ESP]);
    for (unsigned i = g->params; i-- > 0;) {
        u32 word;
        if (!frame_peek(cpu, &old, i, &word)) return false;
        frame_push(f, word);
    }
    frame_push(f, cpu->seg[CPU_CS].selector);
    frame_push(f, cpu->eip);
    return true;
}

static bool gate_call_inner(Cpu *cpu, Gate *g) {
    u32 dpl = ACC_DPL(g->cs.access), ss, esp;
    CpuSeg stack;
    Frame f;
    if (!(g->cs.access & SEG_ACC_P)) return seg_fault(cpu, VEC_NP, g->selector, 0);
    if (!task_inner_stack(cpu, dpl, 0, &ss, &esp)) return false;
    if (!seg_check_stack(cpu, ss, dpl, VEC_TS, 0, &stack)) return false;
    frame_init_on(cpu, &f, &stack, esp, g->size, ss & 0xfffc);
    f.user = false;
    if (!gate_build_inner(cpu, g, &f)) return false;
    if (!far_check_target(cpu, g->selector, &g->cs, g->eip) || !frame_check(cpu, &f)) return false;
    cpu->regs[CPU_ESP] = frame_store(cpu, &f);
    seg_copy(&cpu->seg[CPU_SS], &stack);
    far_enter(cpu, g->selector, &g->cs, dpl, g->eip);
    cpu_update_seg(cpu, CPU_SS);
    return true;
}

static bool gate_call(Cpu *cpu, u32 selector, const Desc *d) {
    Gate g;
    if (!gate_open(cpu, selector, d, &g)) return false;
    bool inner = desc_is_nonconforming(&g.cs) && ACC_DPL(g.cs.access) < cpu->cpl;
    return inner ? gate_call_inner(cpu, &g) : gate_call_same(cpu, &g);
}

// ---- JMP ----------------------------------------------------------------------------------------
void cpu_h_jmp_far(Cpu *cpu, u32 selector, u32 offset, u32 opsize) {
    cpu_fpu_keep_pointers(cpu);
    Desc d;
    (void)opsize;
    selector &= 0xffff;
    if (!cpu_is_protected(cpu)) {
        far_enter_real(cpu, selector, offset);
        return;
    }
    if (!far_fetch(cpu, selector, &d)) return;
    switch (d.access & SEG_ACC_S ? 0 : d.access & 0xf) {
    case 0:
        if (!desc_is_code(&d)) break;
        if (!far_check_direct(cpu, selector, &d, offset)) return;
        far_enter(cpu, selector, &d, cpu->cpl, offset);
        return;
    case SYS_CALL16: case SYS_CALL32:
        gate_jump(cpu, selector, &d);
        return;
    case SYS_TASK: case SYS_TSS16: case SYS_TSS32: case SYS_TSS16_BUSY: case SYS_TSS32_BUSY:
        far_switch_task(cpu, selector, &d, TASK_JMP);
        return;
    }
    seg_fault(cpu, VEC_GP, selector, 0);
}

// ---- CALL ---------------------------------------------------------------------------------------
static void call_log(Cpu *cpu, u32 selector, u32 offset, u32 opsize) {
    if (!log_on(cpu->log, LOG(PCALL))) return;
    log_printf(cpu->log, "lcall %04x:%08x s=%d\n", selector, offset, opsize == 4);
    cpu_log_dump(cpu);
}

static void call_real(Cpu *cpu, u32 selector, u32 offset, Frame *f) {
    if (!frame_check(cpu, f)) return;
    if (!far_enter_real(cpu, selector, offset)) return;
    cpu->regs[CPU_ESP] = frame_store(cpu, f);
}

static void call_code(Cpu *cpu, u32 selector, u32 offset, Desc *d, const Frame *f) {
    if (!far_check_direct(cpu, selector, d, offset) || !frame_check(cpu, f)) return;
    cpu->regs[CPU_ESP] = frame_store(cpu, f);
    far_enter(cpu, selector, d, cpu->cpl, offset);
}

void cpu_h_call_far(Cpu *cpu, u32 selector, u32 offset, u32 opsize) {
    cpu_fpu_keep_pointers(cpu);
    Frame f;
    Desc d;
    selector &= 0xffff;
    if (opsize == 4 && !log_on(cpu->log, LOG(PCALL)) && quick_call_far(cpu, selector, offset)) return;
    frame_init(cpu, &f, opsize);
    frame_push(&f, cpu->seg[CPU_CS].selector);
    frame_push(&f, cpu->eip);
    if (!cpu_is_protected(cpu)) {
        call_real(cpu, selector, offset, &f);
        return;
    }
    call_log(cpu, selector, offset, opsize);
    if (!far_fetch(cpu, selector, &d)) return;
    switch (d.access & SEG_ACC_S ? 0 : d.access & 0xf) {
    case 0:
        if (!desc_is_code(&d)) break;
        call_code(cpu, selector, offset, &d, &f);
        return;
    case SYS_CALL16: case SYS_CALL32:
        gate_call(cpu, selector, &d);
        return;
    case SYS_TASK: case SYS_TSS16: case SYS_TSS32: case SYS_TSS16_BUSY: case SYS_TSS32_BUSY:
        far_switch_task(cpu, selector, &d, TASK_CALL);
        return;
    }
    seg_fault(cpu, VEC_GP, selector, 0);
}

// ---- RET and what IRET shares with it -----------------------------------------------------------
// The code descriptor of a return: privilege goes outwards or stays.
static bool return_fetch_code(Cpu *cpu, u32 selector, Desc *d) {
    u32 rpl = selector & 3;
    if (!far_fetch(cpu, selector, d)) return false;
    u32 dpl = ACC_DPL(d->access);
    bool bad = !desc_is_code(d) || rpl < cpu->cpl
        || (desc_is_nonconforming(d) ? dpl != rpl : dpl > rpl);
    if (bad) return seg_fault(cpu, VEC_GP, selector, 0);
    if (!(d->access & SEG_ACC_P)) return seg_fault(cpu, VEC_NP, selector, 0);
    return true;
}

// After the popped words (and RET's parameters) lie ESP and SS of the outer privilege.
static bool return_fetch_stack(Cpu *cpu, const Frame *f, u32 skip, u32 rpl, CpuSeg *ss, u32 *esp) {
    Frame outer;
    u32 selector, index = skip / f->size;
    if (skip % f->size) {                // RETF n with an odd n
        outer = *f;
        outer.sp = frame_merge(f, f->sp, f->sp + skip);
        outer.peek_bytes = index = 0;
        f = &outer;
    }
    if (!frame_peek(cpu, f, index, esp) || !frame_peek(cpu, f, index + 1, &selector)) return false;
    return seg_check_stack(cpu, selector & 0xffff, rpl, VEC_GP, 0, ss);
}

// A 16-bit stack takes over only SP: the upper half of ESP stays what it was, as on processors.
static void return_to_stack(Cpu *cpu, const CpuSeg *ss, u32 esp) {
    seg_copy(&cpu->seg[CPU_SS], ss);
    u32 mask = ss->access & SEG_ACC_DB ? 0xffffffff : 0xffff;
    cpu->regs[CPU_ESP] = (cpu->regs[CPU_ESP] & ~mask) | (esp & mask);
    cpu_update_seg(cpu, CPU_SS);
}

bool far_return(Cpu *cpu, const Frame *f, unsigned words, u32 extra, const u32 *eflags) {
    u32 eip, selector, esp = 0;
    Desc d;
    CpuSeg ss;
    u32 popped = words * f->size + extra;
    if (!frame_peek(cpu, f, 1, &selector) || !frame_peek(cpu, f, 0, &eip)) return false;
    selector &= 0xffff;
    u32 rpl = selector & 3;
    if (!return_fetch_code(cpu, selector, &d)) return false;
    bool outer = rpl > cpu->cpl;
    if (outer && !return_fetch_stack(cpu, f, popped, rpl, &ss, &esp)) return false;
    if (eip > desc_limit(&d)) return cpu_raise_error(cpu, VEC_GP, 0);
    if (!desc_set_accessed(cpu, &d)) return false;
    if (eflags) cpu_set_eflags(cpu, *eflags, flags_of_iret(cpu, f->size));
    if (!outer) cpu->regs[CPU_ESP] = frame_merge(f, f->sp, f->sp + popped);
    far_enter(cpu, selector, &d, rpl, eip);
    if (outer) {
        return_to_stack(cpu, &ss, esp + extra);
        seg_drop_for_outer(cpu);
    }
    return true;
}

static void return_log(Cpu *cpu, const Frame *f, u32 bytes) {
    u32 eip, selector;
    if (!log_on(cpu->log, LOG(PCALL))) return;
    if (!frame_peek(cpu, f, 0, &eip) || !frame_peek(cpu, f, 1, &selector)) return;
    log_printf(cpu->log, "lret new %04x:%08x s=%d addend=0x%x\n", selector & 0xffff, eip,
               f->size == 4, bytes);
    cpu_log_dump(cpu);
}

void cpu_h_ret_far(Cpu *cpu, u32 bytes, u32 opsize) {
    cpu_fpu_keep_pointers(cpu);
    Frame f;
    u32 eip, selector;
    if (opsize == 4 && !log_on(cpu->log, LOG(PCALL)) && quick_ret_far(cpu, bytes)) return;
    frame_init_pop(cpu, &f, opsize);
    if (cpu_is_protected(cpu)) {
        return_log(cpu, &f, bytes);
        if (!cpu->fault.pending) far_return(cpu, &f, 2, bytes, NULL);
        return;
    }
    if (!frame_peek(cpu, &f, 0, &eip) || !frame_peek(cpu, &f, 1, &selector)) return;
    if (!far_enter_real(cpu, selector & 0xffff, eip)) return;
    cpu->regs[CPU_ESP] = frame_merge(&f, f.sp, f.sp + 2 * opsize + bytes);
}

// ---- SYSENTER, SYSEXIT --------------------------------------------------------------------------
// Flat segments, whatever the descriptor tables say (SDM 2B, SYSENTER).
static void fast_segment(Cpu *cpu, unsigned s, u32 selector, u32 access) {
    cpu->seg[s] = (CpuSeg){ .selector = (u16)selector, .limit = 0xffffffff,
                            .access = (u16)(access | SEG_ACC_G | SEG_ACC_DB) };
}

static void fast_enter(Cpu *cpu, u32 selector, u32 cpl, u32 eip, u32 esp) {
    u32 dpl = cpl << SEG_ACC_DPL_SHIFT;
    cpu_fpu_keep_pointers(cpu);
    cpu->regs[CPU_ESP] = esp;
    cpu->eip = eip;
    if (quick_fast_segments(cpu, selector, cpl)) return;
    fast_segment(cpu, CPU_CS, (selector & 0xfffc) | cpl, 0x9b | dpl);
    fast_segment(cpu, CPU_SS, ((selector + 8) & 0xfffc) | cpl, 0x93 | dpl);
    cpu->cpl = (u8)cpl;
    cpu_update_cpl(cpu);
    cpu_update_seg(cpu, CPU_CS);
    cpu_update_seg(cpu, CPU_SS);
}

void cpu_h_sysenter(Cpu *cpu) {
    u32 selector = cpu->msr_sysenter_cs;
    if (!(cpu->cr0 & CR0_PE) || selector_is_null(selector)) {
        cpu_raise_error(cpu, VEC_GP, 0);
        return;
    }
    cpu_set_eflags(cpu, 0, FLAG_VM | FLAG_IF | FLAG_RF);
    fast_enter(cpu, selector, 0, cpu->msr_sysenter_eip, cpu->msr_sysenter_esp);
}

void cpu_h_sysexit(Cpu *cpu) {
    u32 selector = cpu->msr_sysenter_cs;
    if (!(cpu->cr0 & CR0_PE) || cpu->cpl || selector_is_null(selector)) {
        cpu_raise_error(cpu, VEC_GP, 0);
        return;
    }
    fast_enter(cpu, selector + 16, 3, cpu->regs[CPU_EDX], cpu->regs[CPU_ECX]);
}
