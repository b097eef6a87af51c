// SPDX-License-Identifier: MIT
// Segment registers: descriptors, their checks, loading.
//
// Rules: SDM 3A 5.5 to 5.8; the pseudo code of MOV, POP, LxS. Errors carry the selector with its
// RPL bits cleared (| EXT). Every check, the write of the accessed bit included, comes before the
// change.
// Real mode: a load sets selector and base only; limit and attributes stay, as processors since the
// 386 do ("unreal mode"). A register that protected mode left unusable gets the reset values.
#include "cpu/cpu_int.h"

// ---- descriptors --------------------------------------------------------------------------------
static bool desc_locate(const Cpu *cpu, u32 selector, u32 *addr) {
    u32 base = cpu->gdtr.base, limit = cpu->gdtr.limit;
    if (selector & 4) {
        if (!(cpu->ldtr.access & SEG_ACC_P)) return false;
        base = cpu->ldtr.base;
        limit = cpu->ldtr.limit;
    }
    *addr = base + (selector & 0xfff8);
    return (selector | 7) <= limit;
}

DescStatus desc_read(Cpu *cpu, u32 selector, Desc *d) {
    if (!desc_locate(cpu, selector & 0xffff, &d->addr)) return DESC_OUTSIDE;
    if (!mem_load32(cpu, d->addr, false, &d->lo)) return DESC_FAULT;
    if (!mem_load32(cpu, d->addr + 4, false, &d->hi)) return DESC_FAULT;
    d->access = d->hi >> 8 & 0xf0ff;
    return DESC_OK;
}

bool desc_fetch(Cpu *cpu, u32 selector, CpuVector vector, u32 ext, Desc *d) {
    DescStatus status = desc_read(cpu, selector, d);
    if (status == DESC_OUTSIDE) return seg_fault(cpu, vector, selector, ext);
    return status == DESC_OK;
}

bool desc_set_accessed(Cpu *cpu, Desc *d) {
    if (d->access & ACC_ACCESSED) return true;
    if (!mem_store(cpu, d->addr + 4, 4, false, d->hi | BIT(8))) return false;
    d->hi |= BIT(8);
    d->access |= ACC_ACCESSED;
    return true;
}

// ---- hidden parts -------------------------------------------------------------------------------
void seg_fill(CpuSeg *seg, u32 selector, const Desc *d) {
    seg->selector = (u16)selector;
    seg->base = desc_base(d);
    seg->limit = desc_limit(d);
    seg->access = d->access;
}

void seg_fill_null(CpuSeg *seg, u32 selector) {
    seg->selector = (u16)selector;
    seg->base = seg->limit = 0;
    seg->access = 0;
}

void seg_fill_real(Cpu *cpu, unsigned s, u32 selector) {
    CpuSeg *seg = &cpu->seg[s];
    bool vm = (cpu->cr0 & CR0_PE) && (cpu->eflags & FLAG_VM);
    seg->selector = (u16)selector;
    seg->base = (selector & 0xffff) << 4;
    if (vm || !(seg->access & SEG_ACC_P)) {
        seg->limit = 0xffff;
        seg->access = vm ? 0xf3 : 0x93;
    }
}

// ---- loads --------------------------------------------------------------------------------------
bool seg_check_stack(Cpu *cpu, u32 selector, u32 cpl, CpuVector vector, u32 ext, CpuSeg *seg) {
    Desc d;
    if (selector_is_null(selector))
        return cpu_raise_error(cpu, vector, vector == VEC_GP ? 0 : ext);
    if (!desc_fetch(cpu, selector, vector, ext, &d)) return false;
    if ((selector & 3) != cpl || ACC_DPL(d.access) != cpl || !desc_is_writable(&d))
        return seg_fault(cpu, vector, selector, ext);
    if (!(d.access & SEG_ACC_P)) return seg_fault(cpu, VEC_SS, selector, ext);
    if (!desc_set_accessed(cpu, &d)) return false;
    seg_fill(seg, selector, &d);
    seg_bounds(cpu, seg);
    return true;
}

bool seg_load_data(Cpu *cpu, unsigned s, u32 selector, CpuVector vector) {
    Desc d;
    if (quick_load(cpu, s, selector)) return true;
    if (selector_is_null(selector)) {
        seg_fill_null(&cpu->seg[s], selector);
        cpu_update_seg(cpu, s);
        return true;
    }
    if (!desc_fetch(cpu, selector, vector, 0, &d)) return false;
    bool readable = desc_is_data(&d) || (desc_is_code(&d) && (d.access & ACC_READABLE));
    u32 weakest = max_u32(cpu->cpl, selector & 3);
    bool guarded = desc_is_data(&d) || desc_is_nonconforming(&d);
    if (!readable || (guarded && weakest > ACC_DPL(d.access)))
        return seg_fault(cpu, vector, selector, 0);
    if (!(d.access & SEG_ACC_P)) return seg_fault(cpu, VEC_NP, selector, 0);
    if (!desc_set_accessed(cpu, &d)) return false;
    seg_fill(&cpu->seg[s], selector, &d);
    cpu_update_seg(cpu, s);
    return true;
}

static bool seg_load_stack(Cpu *cpu, u32 selector) {
    CpuSeg seg;
    if (!seg_check_stack(cpu, selector, cpu->cpl, VEC_GP, 0, &seg)) return false;
    seg_copy(&cpu->seg[CPU_SS], &seg);
    cpu_update_seg(cpu, CPU_SS);
    return true;
}

static bool seg_load(Cpu *cpu, unsigned s, u32 selector) {
    selector &= 0xffff;
    if (s == CPU_CS || s > CPU_GS) return cpu_raise(cpu, VEC_UD);
    cpu_fpu_keep_pointers(cpu);
    if (!cpu_is_protected(cpu)) {
        seg_fill_real(cpu, s, selector);
        cpu_update_seg(cpu, s);
    } else if (!(s == CPU_SS ? seg_load_stack(cpu, selector)
                             : seg_load_data(cpu, s, selector, VEC_GP))) {
        return false;
    }
    return true;
}

bool seg_load_ldt(Cpu *cpu, u32 selector, CpuVector vector) {
    Desc d;
    if (selector_is_null(selector)) {
        seg_fill_null(&cpu->ldtr, selector);
        return true;
    }
    if (selector & 4) return seg_fault(cpu, vector, selector, 0);
    if (!desc_fetch(cpu, selector, vector, 0, &d)) return false;
    if ((d.access & 0x1f) != SYS_LDT) return seg_fault(cpu, vector, selector, 0);
    if (!(d.access & SEG_ACC_P))
        return seg_fault(cpu, vector == VEC_TS ? VEC_TS : VEC_NP, selector, 0);
    seg_fill(&cpu->ldtr, selector, &d);
    return true;
}

// Registers whose segment the outer privilege may not use become null (SDM 3A 5.8.6).
void seg_drop_for_outer(Cpu *cpu) {
    static const u8 data[] = { CPU_ES, CPU_DS, CPU_FS, CPU_GS };
    for (unsigned i = 0; i < ARRAY_LEN(data); i++) {
        CpuSeg *seg = &cpu->seg[data[i]];
        u32 code = ACC_CODE | ACC_CONFORMING;
        bool conforming = (seg->access & code) == code;
        if (!(seg->access & SEG_ACC_P) || conforming || ACC_DPL(seg->access) >= cpu->cpl) continue;
        seg_fill_null(seg, 0);
        cpu_update_seg(cpu, data[i]);
    }
}

// ---- helpers ------------------------------------------------------------------------------------
// MOV SS and POP SS hold interrupts and traps off for the next instruction, so that ESP can follow; an
// instruction breakpoint there is passed over as if RF were set (SDM 3B 17.3.1.1). LSS, which loads
// both, does none of this (SDM 3A 6.8.3).
static void seg_shadow(Cpu *cpu, u32 s) {
    if (s != CPU_SS) return;
    cpu->inhibit_irq = true;
    cpu->inhibit_trap = cpu->mode & (MODE_TF | MODE_DEBUG);
    if (cpu->mode & MODE_DEBUG) cpu->eflags |= FLAG_RF;
}

void cpu_h_load_seg(Cpu *cpu, u32 s, u32 selector) {
    if (seg_load(cpu, s, selector)) seg_shadow(cpu, s);
}

void cpu_h_load_seg_real(Cpu *cpu, u32 s, u32 selector, u32 offset) {
    (void)offset;
    seg_load(cpu, s, selector);
}

void cpu_h_pop_seg(Cpu *cpu, u32 s, u32 opsize) {
    Frame f;
    u32 selector;
    cpu_fpu_keep_pointers(cpu);
    if (opsize == 4 && quick_pop(cpu, s)) return;
    frame_init(cpu, &f, opsize);
    if (!frame_peek(cpu, &f, 0, &selector)) return;
    u32 esp = frame_merge(&f, f.sp, f.sp + opsize);
    if (!seg_load(cpu, s, selector)) return;
    cpu->regs[CPU_ESP] = esp;
    seg_shadow(cpu, s);
}

// The pointer is one operand of 4 or 6 bytes: its limit check covers both parts.
void cpu_h_load_far(Cpu *cpu, u32 offset, u32 mem, u32 target) {
    unsigned seg = mem & 7, size = 1u << (mem >> 3 & 7);
    u64 value, selector;
    if (!seg_allows(cpu, &cpu->seg[seg], offset, size + 2, false)) {
        cpu_raise_error(cpu, seg == CPU_SS ? VEC_SS : VEC_GP, 0);
        return;
    }
    if (!cpu_load(cpu, seg, offset, size, &value)) return;
    if (!cpu_load(cpu, seg, offset + size, 2, &selector)) return;
    if (!seg_load(cpu, target & 15, (u32)selector)) return;
    u32 *reg = &cpu->regs[target >> 4 & 7];
    *reg = size == 4 ? (u32)value : (*reg & 0xffff0000) | (u32)value;
}
