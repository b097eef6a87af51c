// SPDX-License-Identifier: MIT
// Hardware task switches (SDM 3A chapter 8; in older editions 7).
//
// Steps: the new state is read and everything that must be written is probed; then comes the point
// of no return: old state saved, busy bits, link, TR, registers. Faults behind it (segment checks,
// EIP, the error code's push, the debug trap) belong to the new task and are delivered from here,
// so that the caller sees a task switch that happened.
#include "cpu/cpu_int.h"

#define TSS_LINK 0
#define TSS16_BYTES 0x2cu
#define TSS32_BYTES 0x68u
#define DR7_LOCAL 0x155u                     // L0-L3 and LE end with the task
#define TSS_BUSY_BIT BIT(9)                  // in a descriptor's high dword

// Offsets of the fields, for TSS16 and TSS32.
typedef struct TssLayout {
    u8 bytes, word, eip, eflags, regs, segs, seg_step, seg_count, ldt;
} TssLayout;
static const TssLayout tss_layouts[2] = {
    { TSS16_BYTES, 2, 0x0e, 0x10, 0x12, 0x22, 2, 4, 0x2a },
    { TSS32_BYTES, 4, 0x20, 0x24, 0x28, 0x48, 4, 6, 0x60 },
};
#define TSS32_CR3 0x1c
#define TSS32_TRAP 0x64

typedef struct TaskState {
    u32 eip, eflags, cr3;
    u32 regs[8];
    u16 segs[6];
    u16 ldt;
    bool wide;                               // TSS32
    bool trap;                               // T bit
} TaskState;

static bool tss_is_wide(u32 access) { return access & 8; }

// ---- what others need to know of TSSs -----------------------------------------------------------
bool task_fetch_tss(Cpu *cpu, u32 selector, u32 ext, Desc *d) {
    if ((selector & 4) || selector_is_null(selector)) return seg_fault(cpu, VEC_GP, selector, ext);
    if (!desc_fetch(cpu, selector, VEC_GP, ext, d)) return false;
    u32 type = d->access & 0x1f;
    if (type != SYS_TSS16 && type != SYS_TSS32) return seg_fault(cpu, VEC_GP, selector, ext);
    if (!(d->access & SEG_ACC_P)) return seg_fault(cpu, VEC_NP, selector, ext);
    return true;
}

bool task_inner_stack(Cpu *cpu, u32 dpl, u32 ext, u32 *ss, u32 *esp) {
    bool wide = tss_is_wide(cpu->tr.access);
    u32 offset = wide ? 4 + dpl * 8 : 2 + dpl * 4, word = wide ? 4 : 2;
    if (!(cpu->tr.access & SEG_ACC_P) || offset + word + 1 > cpu->tr.limit)
        return seg_fault(cpu, VEC_TS, cpu->tr.selector, ext);
    u32 addr = cpu->tr.base + offset;
    bool ok = wide ? mem_load32(cpu, addr, false, esp) : mem_load16(cpu, addr, false, esp);
    return ok && mem_load16(cpu, addr + word, false, ss);
}

// ---- reading the new state ----------------------------------------------------------------------
static bool tss_word(Cpu *cpu, u32 addr, unsigned bytes, u32 *out) {
    return bytes == 4 ? mem_load32(cpu, addr, false, out) : mem_load16(cpu, addr, false, out);
}

// The registers' upper halves come up as ones from a TSS16.
static bool task_read(Cpu *cpu, const Desc *d, TaskState *t) {
    u32 base = desc_base(d), v = 0;
    *t = (TaskState){ .wide = tss_is_wide(d->access) };
    const TssLayout *l = &tss_layouts[t->wide];
    if (!tss_word(cpu, base + l->eip, l->word, &t->eip)) return false;
    if (!tss_word(cpu, base + l->eflags, l->word, &t->eflags)) return false;
    for (unsigned i = 0; i < 8; i++) {
        if (!tss_word(cpu, base + l->regs + i * l->word, l->word, &t->regs[i])) return false;
        if (!t->wide) t->regs[i] |= 0xffff0000;
    }
    for (unsigned i = 0; i < l->seg_count; i++) {
        if (!tss_word(cpu, base + l->segs + i * l->seg_step, 2, &v)) return false;
        t->segs[i] = (u16)v;
    }
    if (!tss_word(cpu, base + l->ldt, 2, &v)) return false;
    t->ldt = (u16)v;
    if (!t->wide) return true;
    if (!tss_word(cpu, base + TSS32_CR3, 4, &t->cr3)) return false;
    if (!tss_word(cpu, base + TSS32_TRAP, 2, &v)) return false;
    t->trap = v & 1;
    return true;
}

// ---- checks before the point of no return -------------------------------------------------------
static u32 task_old_desc(const Cpu *cpu) { return cpu->gdtr.base + (cpu->tr.selector & 0xfff8); }

static bool task_probe(Cpu *cpu, const Desc *d, TaskVia via) {
    const TssLayout *old = &tss_layouts[tss_is_wide(cpu->tr.access)];
    bool nested = via == TASK_CALL || via == TASK_EVENT;
    cpu_fpu_keep_pointers(cpu);
    if (cpu->tr.limit < old->bytes - 1u) return seg_fault(cpu, VEC_TS, cpu->tr.selector, 0);
    if (!mem_probe(cpu, cpu->tr.base, old->bytes, true, false)) return false;
    if (nested && !mem_probe(cpu, desc_base(d) + TSS_LINK, 2, true, false)) return false;
    if (via != TASK_IRET && !mem_probe(cpu, d->addr + 4, 4, true, false)) return false;
    return nested || mem_probe(cpu, task_old_desc(cpu) + 4, 4, true, false);
}

// ---- the switch ---------------------------------------------------------------------------------
// All stores below were probed.
static void task_save(Cpu *cpu, u32 eip, u32 eflags) {
    const TssLayout *l = &tss_layouts[tss_is_wide(cpu->tr.access)];
    u32 base = cpu->tr.base;
    mem_store(cpu, base + l->eip, l->word, false, eip);
    mem_store(cpu, base + l->eflags, l->word, false, eflags);
    for (unsigned i = 0; i < 8; i++)
        mem_store(cpu, base + l->regs + i * l->word, l->word, false, cpu->regs[i]);
    for (unsigned i = 0; i < l->seg_count; i++)
        mem_store(cpu, base + l->segs + i * l->seg_step, 2, false, cpu->seg[i].selector);
}

static void task_set_busy(Cpu *cpu, u32 desc_addr, bool busy) {
    u32 hi = 0;
    if (!mem_load32(cpu, desc_addr + 4, false, &hi)) return;
    hi = busy ? hi | TSS_BUSY_BIT : hi & ~TSS_BUSY_BIT;
    mem_store(cpu, desc_addr + 4, 4, false, hi);
}

// False: the new task's page directory pointers are bad, CR3 stays.
static bool task_take_registers(Cpu *cpu, const TaskState *t, bool nested) {
    bool loads = t->wide && (cpu->cr0 & CR0_PG) && (t->cr3 != cpu->cr3 || (cpu->cr4 & CR4_PAE));
    bool mapped = !loads || cpu_load_cr3(cpu, t->cr3);
    for (unsigned i = 0; i < 8; i++) cpu->regs[i] = t->regs[i];
    cpu->eip = t->eip;
    for (unsigned i = 0; i < 6; i++) seg_fill_null(&cpu->seg[i], t->segs[i]);
    seg_fill_null(&cpu->ldtr, t->ldt);
    cpu->cr0 |= CR0_TS;
    cpu->dr[7] &= ~DR7_LOCAL;
    cpu->cpl = t->segs[CPU_CS] & 3;
    u32 mask = FLAG_OSZAPC | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT;
    if (t->wide) mask |= FLAG_RF | FLAG_VM | flags_of_model(cpu);
    if (!(cpu->dr[7] & 0xff)) mask &= ~FLAG_RF;
    cpu->eflags = 2;
    cpu_set_eflags(cpu, t->eflags | (nested ? FLAG_NT : 0), mask);
    cpu_update_mode(cpu);
    return mapped;
}

// ---- in the new task ----------------------------------------------------------------------------
static bool task_load_code(Cpu *cpu, u32 selector) {
    Desc d;
    u32 rpl = selector & 3;
    if (selector_is_null(selector)) return seg_fault(cpu, VEC_TS, selector, 0);
    if (!desc_fetch(cpu, selector, VEC_TS, 0, &d)) return false;
    u32 dpl = ACC_DPL(d.access);
    if (!desc_is_code(&d) || (desc_is_nonconforming(&d) ? dpl != rpl : dpl > rpl))
        return seg_fault(cpu, VEC_TS, selector, 0);
    if (!(d.access & SEG_ACC_P)) return seg_fault(cpu, VEC_NP, selector, 0);
    if (!desc_set_accessed(cpu, &d)) return false;
    far_enter(cpu, selector, &d, rpl, cpu->eip);
    return true;
}

static bool task_load_segments(Cpu *cpu, const TaskState *t) {
    static const u8 data[] = { CPU_DS, CPU_ES, CPU_FS, CPU_GS };
    CpuSeg ss;
    if (!seg_load_ldt(cpu, t->ldt, VEC_TS)) return false;
    if (cpu->eflags & FLAG_VM) {
        for (unsigned i = 0; i < 6; i++) seg_fill_real(cpu, i, t->segs[i]);
        cpu_update_mode(cpu);
    } else {
        if (!task_load_code(cpu, t->segs[CPU_CS])) return false;
        if (!seg_check_stack(cpu, t->segs[CPU_SS], cpu->cpl, VEC_TS, 0, &ss)) return false;
        cpu->seg[CPU_SS] = ss;
        cpu_update_seg(cpu, CPU_SS);
        for (unsigned i = 0; i < ARRAY_LEN(data); i++)
            if (!seg_load_data(cpu, data[i], t->segs[data[i]], VEC_TS)) return false;
    }
    return cpu_check_cs(cpu, cpu->eip, 1);
}

static bool task_push_error(Cpu *cpu, const TaskState *t, u32 error) {
    Frame f;
    frame_init(cpu, &f, t->wide ? 4 : 2);
    frame_push(&f, error);
    if (!frame_check(cpu, &f)) return false;
    cpu->regs[CPU_ESP] = frame_store(cpu, &f);
    return true;
}

static bool task_start(Cpu *cpu, const TaskState *t, bool has_error, u32 error) {
    if (!task_load_segments(cpu, t)) return false;
    if (has_error && !task_push_error(cpu, t, error)) return false;
    if (!t->trap) return true;
    cpu->dr[6] |= DR6_BT;
    cpu_raise(cpu, VEC_DB);
    cpu->fault.kind = CPU_TRAP;
    return false;
}

static void task_log(Cpu *cpu, u32 selector, u32 access, TaskVia via) {
    static const u8 source[] = { 0, 1, 2, 2 };
    if (log_on(cpu->log, LOG(PCALL)))
        log_printf(cpu->log, "switch_tss: sel=0x%04x type=%d src=%d\n", selector,
                   (int)ACC_TYPE(access), source[via]);
}

bool task_switch(Cpu *cpu, u32 selector, Desc *d, TaskVia via, u32 next_eip, bool has_error,
                 u32 error) {
    bool nested = via == TASK_CALL || via == TASK_EVENT;
    u32 ext = via == TASK_EVENT && cpu->no_restart;        // an event of the processor, not INT n
    TaskState t;
    task_log(cpu, selector, d->access, via);
    if (desc_limit(d) < tss_layouts[tss_is_wide(d->access)].bytes - 1u)
        return seg_fault(cpu, VEC_TS, selector, ext);
    if (!task_read(cpu, d, &t) || !task_probe(cpu, d, via)) return false;
    u32 old_flags = cpu_flags(cpu);
    bool kept = cpu->no_restart;
    cpu->no_restart = true;
    task_save(cpu, next_eip, via == TASK_IRET ? old_flags & ~FLAG_NT : old_flags);
    if (!nested) task_set_busy(cpu, task_old_desc(cpu), false);
    if (nested) mem_store(cpu, desc_base(d) + TSS_LINK, 2, false, cpu->tr.selector);
    if (via != TASK_IRET) task_set_busy(cpu, d->addr, true);
    seg_fill(&cpu->tr, selector, d);
    cpu->tr.access |= 2;                                   // busy
    bool mapped = task_take_registers(cpu, &t, nested) || seg_fault(cpu, VEC_TS, selector, ext);
    cpu->stats.task_switches++;
    if (!mapped || !task_start(cpu, &t, has_error, error)) cpu_deliver(cpu);
    else exc_check_vip(cpu);
    cpu->no_restart = kept;
    return true;
}
