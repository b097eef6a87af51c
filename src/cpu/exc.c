// SPDX-License-Identifier: MIT
// Exceptions and interrupts: entering handlers, double and triple faults, IRET.
//
// Rules: SDM 3A chapter 6, pseudo code of INT n and IRET in 2A. One entry (exc_enter) either
// happens completely or records a fault and changes nothing; cpu_deliver() turns such second faults
// into double faults and shutdown by SDM 3A table 6-5.
#include "cpu/cpu_int.h"
#include "cpu/model.h"

// -d int, as far as -dfilter lets this pc through.
static bool exc_is_logged(const Cpu *cpu) {
    return log_on(cpu->log, LOG(INT)) && log_pc_chosen(cpu->log, cpu->eip);
}

// ---- log ----------------------------------------------------------------------------------------
static void exc_log_entry(Cpu *cpu, unsigned vector, ExcSource source, u32 error) {
    if (!exc_is_logged(cpu) || !(cpu->cr0 & CR0_PE)) return;
    const CpuSeg *cs = &cpu->seg[CPU_CS], *ss = &cpu->seg[CPU_SS];
    log_printf(cpu->log, "%6d: v=%02x e=%04x i=%d cpl=%d IP=%04x:%08x pc=%08x SP=%04x:%08x",
               (int)cpu->int_count++, vector, error, source == EXC_SOFT, cpu->cpl, cs->selector,
               cpu->eip, cs->base + cpu->eip, ss->selector, cpu->regs[CPU_ESP]);
    if (vector == VEC_PF) log_printf(cpu->log, " CR2=%08x\n", cpu->cr2);
    else log_printf(cpu->log, " EAX=%08x\n", cpu->regs[CPU_EAX]);
    cpu_log_dump(cpu);
}

static void exc_log_bios(Cpu *cpu, unsigned vector, ExcSource source) {
    if (!log_on(cpu->log, LOG(INT16)) || source != EXC_SOFT) return;
    const u32 *r = cpu->regs;
    log_printf(cpu->log, "int16: int %02x ax=%04x bx=%04x cx=%04x dx=%04x si=%04x di=%04x "
               "ds=%04x es=%04x at %04x:%04x\n", vector, r[CPU_EAX] & 0xffff, r[CPU_EBX] & 0xffff,
               r[CPU_ECX] & 0xffff, r[CPU_EDX] & 0xffff, r[CPU_ESI] & 0xffff, r[CPU_EDI] & 0xffff,
               cpu->seg[CPU_DS].selector, cpu->seg[CPU_ES].selector, cpu->seg[CPU_CS].selector,
               cpu->eip & 0xffff);
}

// ---- real mode ----------------------------------------------------------------------------------
// Through the vector whose real-mode entry lies at linear address `entry`.
static bool enter_vector(Cpu *cpu, u32 entry, u32 pushed_flags, u32 cleared_flags) {
    u32 target;
    Frame f;
    if (!mem_load32(cpu, entry, cpu_is_user(cpu), &target)) return false;
    frame_init(cpu, &f, 2);
    frame_push(&f, pushed_flags);
    frame_push(&f, cpu->seg[CPU_CS].selector);
    frame_push(&f, cpu->eip);
    if (!frame_check(cpu, &f) || !far_enter_real(cpu, target >> 16, target & 0xffff)) return false;
    cpu->regs[CPU_ESP] = frame_store(cpu, &f);
    cpu_set_eflags(cpu, 0, cleared_flags);
    return true;
}

static bool enter_real(Cpu *cpu, unsigned vector) {
    if (vector * 4 + 3 > cpu->idtr.limit) return cpu_raise_error(cpu, VEC_GP, vector * 8 + 2);
    return enter_vector(cpu, cpu->idtr.base + vector * 4, cpu_flags(cpu),
                        FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
}

// ---- virtual interrupts (CR4.VME, PVI) ----------------------------------------------------------
bool cpu_has_virtual_if(const Cpu *cpu) {
    if (cpu->mode & MODE_VM) return (cpu->cr4 & CR4_VME) && cpu_iopl(cpu) < 3;
    return (cpu->cr4 & CR4_PVI) && (cpu->mode & MODE_PE) && cpu->cpl == 3 && cpu_iopl(cpu) < 3;
}

u32 flags_virtual_image(Cpu *cpu) {
    u32 image = cpu_flags(cpu) & ~FLAG_IF;
    return image | FLAG_IOPL | (cpu->eflags & FLAG_VIF ? FLAG_IF : 0);
}

// VIF and VIP both set before an instruction: #GP, so that the monitor gets to serve what is pending
// (SDM 3B 20.3.2). Only transfers that load both can bring that about.
void exc_check_vip(Cpu *cpu) {
    const u32 both = FLAG_VIF | FLAG_VIP;
    u32 needs = cpu->mode & MODE_VM ? CR4_VME : CR4_PVI;
    if (cpu->cpl < 3 || (cpu->eflags & both) != both || !(cpu->cr4 & needs)) return;
    cpu_raise_error(cpu, VEC_GP, 0);
    cpu_deliver(cpu);
}

// The redirection bitmap of the TSS: 32 bytes that end where the I/O bitmap begins. A clear bit sends
// INT n to the 8086 program's own handler. False: fault recorded.
static bool redirect_look(Cpu *cpu, unsigned vector, bool *to_program) {
    u32 start, byte, tss = cpu->tr.access & 0x1f;
    *to_program = false;
    bool wide = tss == SYS_TSS32_BUSY || tss == SYS_TSS32;
    if (!(cpu->cr4 & CR4_VME) || !wide || cpu->tr.limit < 0x67) return true;
    if (!mem_load16(cpu, cpu->tr.base + 0x66, false, &start)) return false;
    u32 at = start - 32 + vector / 8;
    if (start < 32 || at > cpu->tr.limit) return cpu_raise_error(cpu, VEC_GP, 0);
    u64 value;
    if (!mem_load(cpu, cpu->tr.base + at, 1, false, &value)) return false;
    byte = (u32)value;
    *to_program = !(byte >> (vector & 7) & 1);
    return true;
}

static bool redirect_enter(Cpu *cpu, unsigned vector) {
    bool virtual_if = cpu_iopl(cpu) < 3;
    u32 image = virtual_if ? flags_virtual_image(cpu) : cpu_flags(cpu);
    return enter_vector(cpu, vector * 4, image, FLAG_TF | (virtual_if ? FLAG_VIF : FLAG_IF));
}

// ---- protected mode -----------------------------------------------------------------------------
typedef struct Entry {
    unsigned vector;
    ExcSource source;
    bool has_error;
    u32 error;
    u32 ext;                 // 1 in error codes of faults on the way, when not a software interrupt
    Desc gate;
    Desc cs;
    u32 selector;            // of the code segment
    u32 eip;
    unsigned size;           // 2 or 4
} Entry;

static bool entry_fetch_gate(Cpu *cpu, Entry *e) {
    u32 addr = cpu->idtr.base + e->vector * 8, code = e->vector * 8 + 2;
    if (e->vector * 8 + 7 > cpu->idtr.limit) return cpu_raise_error(cpu, VEC_GP, code | e->ext);
    if (!mem_load32(cpu, addr, false, &e->gate.lo)) return false;
    if (!mem_load32(cpu, addr + 4, false, &e->gate.hi)) return false;
    u32 access = e->gate.access = e->gate.hi >> 8 & 0xf0ff;
    u32 type = access & 0x1f;
    bool known = type == SYS_TASK || type == SYS_INT16 || type == SYS_TRAP16 || type == SYS_INT32
        || type == SYS_TRAP32;
    if (!known) return cpu_raise_error(cpu, VEC_GP, code | e->ext);
    if (e->source == EXC_SOFT && ACC_DPL(access) < cpu->cpl)
        return cpu_raise_error(cpu, VEC_GP, code);
    if (!(access & SEG_ACC_P)) return cpu_raise_error(cpu, VEC_NP, code | e->ext);
    e->size = type >= SYS_TSS32 ? 4 : 2;
    e->selector = e->gate.lo >> 16;
    e->eip = e->size == 4 ? gate_offset(&e->gate) : e->gate.lo & 0xffff;
    return true;
}

static bool entry_fetch_code(Cpu *cpu, Entry *e) {
    if (selector_is_null(e->selector)) return cpu_raise_error(cpu, VEC_GP, e->ext);
    if (!desc_fetch(cpu, e->selector, VEC_GP, e->ext, &e->cs)) return false;
    if (!desc_is_code(&e->cs) || ACC_DPL(e->cs.access) > cpu->cpl)
        return seg_fault(cpu, VEC_GP, e->selector, e->ext);
    if (!(e->cs.access & SEG_ACC_P)) return seg_fault(cpu, VEC_NP, e->selector, e->ext);
    return true;
}

// Fault-class exceptions push RF set, so that IRET does not hit the same breakpoint again.
static u32 entry_flags(Cpu *cpu, unsigned vector, ExcSource source) {
    const u32 not_faults = BIT(VEC_DB) | BIT(VEC_NMI) | BIT(VEC_BP) | BIT(VEC_OF) | BIT(VEC_DF)
        | BIT(VEC_MC);
    bool fault = source == EXC_FAULT && vector < 32 && !(not_faults >> vector & 1);
    return cpu_flags(cpu) | (fault ? FLAG_RF : 0);
}

static void entry_push_common(Cpu *cpu, const Entry *e, Frame *f) {
    frame_push(f, entry_flags(cpu, e->vector, e->source));
    frame_push(f, cpu->seg[CPU_CS].selector);
    frame_push(f, cpu->eip);
    if (e->has_error) frame_push(f, e->error);
}

static bool entry_check_target(Cpu *cpu, Entry *e) {
    if (e->eip > desc_limit(&e->cs)) return cpu_raise_error(cpu, VEC_GP, e->ext);
    return desc_set_accessed(cpu, &e->cs);
}

static void entry_clear_flags(Cpu *cpu, const Entry *e) {
    bool interrupt_gate = !(e->gate.access & 1);
    cpu_set_eflags(cpu, 0, FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM | (interrupt_gate ? FLAG_IF : 0));
}

static bool entry_same(Cpu *cpu, Entry *e) {
    Frame f;
    frame_init(cpu, &f, e->size);
    entry_push_common(cpu, e, &f);
    f.error = e->ext;
    if (!entry_check_target(cpu, e) || !frame_check(cpu, &f)) return false;
    cpu->regs[CPU_ESP] = frame_store(cpu, &f);
    entry_clear_flags(cpu, e);
    far_enter(cpu, e->selector, &e->cs, cpu->cpl, e->eip);
    return true;
}

static void entry_push_outer(const Cpu *cpu, Frame *f, bool vm) {
    static const u8 data[] = { CPU_GS, CPU_FS, CPU_DS, CPU_ES };
    for (unsigned i = 0; vm && i < ARRAY_LEN(data); i++) frame_push(f, cpu->seg[data[i]].selector);
    frame_push(f, cpu->seg[CPU_SS].selector);
    frame_push(f, cpu->regs[CPU_ESP]);
}

static void entry_drop_data(Cpu *cpu) {
    static const u8 data[] = { CPU_GS, CPU_FS, CPU_DS, CPU_ES };
    for (unsigned i = 0; i < ARRAY_LEN(data); i++) {
        seg_fill_null(&cpu->seg[data[i]], 0);
        cpu_update_seg(cpu, data[i]);
    }
}

static bool entry_inner(Cpu *cpu, Entry *e) {
    u32 dpl = ACC_DPL(e->cs.access), selector, esp;
    bool vm = cpu->eflags & FLAG_VM;
    CpuSeg ss;
    Frame f;
    if (vm && dpl) return seg_fault(cpu, VEC_GP, e->selector, e->ext);
    if (!task_inner_stack(cpu, dpl, e->ext, &selector, &esp)) return false;
    if (!seg_check_stack(cpu, selector, dpl, VEC_TS, e->ext, &ss)) return false;
    frame_init_on(cpu, &f, &ss, esp, e->size, (selector & 0xfffc) | e->ext);
    f.user = false;
    entry_push_outer(cpu, &f, vm);
    entry_push_common(cpu, e, &f);
    if (!entry_check_target(cpu, e) || !frame_check(cpu, &f)) return false;
    cpu->regs[CPU_ESP] = frame_store(cpu, &f);
    seg_copy(&cpu->seg[CPU_SS], &ss);
    entry_clear_flags(cpu, e);
    far_enter(cpu, e->selector, &e->cs, dpl, e->eip);
    cpu_update_seg(cpu, CPU_SS);
    if (vm) entry_drop_data(cpu);
    return true;
}

static bool entry_task(Cpu *cpu, Entry *e) {
    Desc tss;
    if (!task_fetch_tss(cpu, e->selector, e->ext, &tss)) return false;
    u32 kept = cpu->eflags;
    cpu->eflags = entry_flags(cpu, e->vector, e->source) & ~FLAG_OSZAPC;
    if (task_switch(cpu, e->selector, &tss, TASK_EVENT, cpu->eip, e->has_error, e->error))
        return true;
    cpu->eflags = kept;
    return false;
}

static bool enter_protected(Cpu *cpu, Entry *e) {
    if (!entry_fetch_gate(cpu, e)) return false;
    if ((e->gate.access & 0x1f) == SYS_TASK) return entry_task(cpu, e);
    if (!entry_fetch_code(cpu, e)) return false;
    if (desc_is_nonconforming(&e->cs) && ACC_DPL(e->cs.access) < cpu->cpl)
        return entry_inner(cpu, e);
    if (cpu->eflags & FLAG_VM) return seg_fault(cpu, VEC_GP, e->selector, e->ext);
    return entry_same(cpu, e);
}

bool exc_enter(Cpu *cpu, unsigned vector, ExcSource source, bool has_error, u32 error) {
    cpu_fpu_keep_pointers(cpu);
    if (!(cpu->cr0 & CR0_PE)) return enter_real(cpu, vector);
    QuickEntry quick = { .vector = vector, .error = error, .eflags = entry_flags(cpu, vector, source),
                         .has_error = has_error, .soft = source == EXC_SOFT };
    if (quick_enter(cpu, &quick)) return true;
    Entry e = { .vector = vector, .source = source, .has_error = has_error, .error = error,
                .ext = source != EXC_SOFT };
    return enter_protected(cpu, &e);
}

// ---- delivery -----------------------------------------------------------------------------------
#define EXC_NONE 0xffffffffu
#define EXC_ROUNDS 16u

static bool exc_is_contributory(u32 v) { return v == VEC_DE || (v >= VEC_TS && v <= VEC_GP); }

// The vector for `new` raised while `old` was being delivered (SDM 3A table 6-5).
static u32 exc_combine(u32 old, u32 new) {
    bool second = exc_is_contributory(new);
    if (exc_is_contributory(old) && second) return VEC_DF;
    if (old == VEC_PF && (second || new == VEC_PF)) return VEC_DF;
    return new;
}

// The run loop logs it and decides between reset and exit.
static void exc_shut_down(Cpu *cpu) {
    cpu->shutdown = true;
    cpu->fault.pending = 0;
    cpu->delivering = 0;
}

// Delivers faults, starting with the pending one, until a handler is entered or the CPU shuts down. Benign
// ones can follow one another for ever (#AC whose handler's frame is not aligned): a processor is lost then,
// but here one is left pending after some, so that the world outside is heard.
static void exc_deliver_from(Cpu *cpu, u32 old) {
    for (unsigned rounds = 0; cpu->fault.pending; rounds++) {
        if (rounds == EXC_ROUNDS) return;
        CpuFault f = cpu->fault;
        cpu->fault = (CpuFault){ 0 };
        if (exc_is_logged(cpu))
            log_printf(cpu->log, "check_exception old: 0x%x new 0x%x\n", old, f.vector);
        if (old == VEC_DF) {
            exc_shut_down(cpu);
            return;
        }
        u32 vector = exc_combine(old, f.vector);
        if (vector == VEC_DF && f.vector != VEC_DF) f = (CpuFault){ .has_error = 1 };
        if (exc_is_contributory(vector) || vector == VEC_PF || vector == VEC_DF) old = vector;
        cpu->delivering = (u8)(vector + 1);
        cpu->stats.exceptions++;
        if (vector == VEC_DB) cpu->dr[7] &= ~DR7_GD;
        exc_log_entry(cpu, vector, EXC_FAULT, f.error);
        exc_enter(cpu, vector, EXC_FAULT, f.has_error, f.error);
    }
    cpu->delivering = 0;
}

static void exc_wake(Cpu *cpu) {
    if (cpu->pmc.on) pmc_woken(cpu);
    cpu->halted = false;
}

void cpu_deliver(Cpu *cpu) {
    bool nested = cpu->delivering != 0;          // a fault of a task that was just switched to, or left over
    u32 old = nested ? cpu->delivering - 1u : EXC_NONE;
    bool kept = cpu->no_restart;
    cpu->no_restart = true;
    if (cpu->halted) exc_wake(cpu);
    exc_deliver_from(cpu, old);
    cpu->no_restart = kept;
    cpu_end_inhibit(cpu);
}

bool cpu_interrupt_due(const Cpu *cpu) {
    if (cpu->inhibit_irq) return false;
    return (!cpu->nmi_blocked && bus_nmi(cpu->bus)) || ((cpu->eflags & FLAG_IF) && bus_intr(cpu->bus));
}

static void exc_interrupt(Cpu *cpu, unsigned vector) {
    if (cpu->rep_paused && cpu->rep_eip == cpu->eip) cpu_set_arith(cpu, cpu->rep_flags);
    cpu->rep_paused = false;
    if (cpu->halted) exc_wake(cpu);
    cpu->stats.interrupts++;
    cpu->no_restart = true;
    exc_log_entry(cpu, vector, EXC_EXTERNAL, 0);
    if (!exc_enter(cpu, vector, EXC_EXTERNAL, false, 0)) exc_deliver_from(cpu, EXC_NONE);
    cpu->no_restart = false;
}

bool cpu_take_interrupt(Cpu *cpu) {
    if (!cpu_interrupt_due(cpu)) return false;
    if (!cpu->nmi_blocked && bus_take_nmi(cpu->bus)) {
        cpu->nmi_blocked = true;
        exc_interrupt(cpu, VEC_NMI);
        return true;
    }
    u8 vector = bus_int_ack(cpu->bus);
    if (exc_is_logged(cpu))
        log_printf(cpu->log, "Servicing hardware INT=0x%02x\n", vector);
    exc_interrupt(cpu, vector);
    return true;
}

// ---- software interrupts ------------------------------------------------------------------------
// Entering clears TF, and with it goes the single-step trap of the instruction itself. The log shows
// the address of the instruction, of `length` bytes; what is pushed is the next one's.
static void exc_software(Cpu *cpu, unsigned vector, ExcSource source, u32 length) {
    bool stepping = cpu->mode & (MODE_TF | MODE_DEBUG);
    cpu->eip -= length;
    exc_log_entry(cpu, vector, source, 0);
    exc_log_bios(cpu, vector, source);
    cpu->eip += length;
    bool entered = exc_enter(cpu, vector, source, false, 0);
    // Generated code reads this byte and its neighbours as one word, which would wait for a store to one of them.
    if (entered && cpu->inhibit_trap != stepping) cpu->inhibit_trap = stepping;
}

// INT n in virtual-8086 mode, by the six methods of SDM 3B table 20-2. False: as everywhere else.
static bool int_in_vm86(Cpu *cpu, unsigned vector) {
    bool to_program;
    if (!redirect_look(cpu, vector, &to_program)) return true;
    if (to_program) {
        bool stepping = cpu->mode & (MODE_TF | MODE_DEBUG);
        if (redirect_enter(cpu, vector)) cpu->inhibit_trap = stepping;
        return true;
    }
    return cpu_iopl(cpu) < 3 && !cpu_raise_error(cpu, VEC_GP, 0);
}

void cpu_h_int_n(Cpu *cpu, u32 vector) {
    if ((cpu->mode & MODE_VM) && int_in_vm86(cpu, vector & 0xff)) return;
    exc_software(cpu, vector & 0xff, EXC_SOFT, 2);
}

void cpu_h_int3(Cpu *cpu) { exc_software(cpu, VEC_BP, EXC_SOFT, 1); }

void cpu_h_into(Cpu *cpu) {
    if (cpu_flags(cpu) & FLAG_OF) exc_software(cpu, VEC_OF, EXC_SOFT, 1);
}

void cpu_h_icebp(Cpu *cpu) { exc_software(cpu, VEC_DB, EXC_ICEBP, 1); }

void cpu_h_bound(Cpu *cpu, u32 index, u32 lower, u32 upper) {
    if ((i32)index < (i32)lower || (i32)index > (i32)upper) cpu_raise(cpu, VEC_BR);
}

// ---- IRET ---------------------------------------------------------------------------------------
u32 flags_of_model(const Cpu *cpu) {
    return (cpu_has(cpu, CPU_HAS_I486) ? FLAG_AC : 0) | (cpu_has(cpu, CPU_HAS_CPUID) ? FLAG_ID : 0)
        | (cpu_has(cpu, CPU_HAS_VME) ? FLAG_VIF | FLAG_VIP : 0);
}

// RF is kept only while breakpoints are armed: otherwise nothing could see it before it ends.
u32 flags_writable(const Cpu *cpu, u32 opsize) {
    u32 mask = FLAG_OSZAPC | FLAG_TF | FLAG_DF | FLAG_NT;
    if (cpu->cpl <= cpu_iopl(cpu)) mask |= FLAG_IF;
    if (cpu->cpl == 0) mask |= FLAG_IOPL;
    if (opsize == 4) {
        mask |= flags_of_model(cpu) & (FLAG_AC | FLAG_ID);
        if (cpu->mode & MODE_DEBUG) mask |= FLAG_RF;
    }
    return mask;
}

bool flags_check_virtual(Cpu *cpu, u32 image) {
    bool bad = (image & FLAG_TF) || ((image & FLAG_IF) && (cpu->eflags & FLAG_VIP));
    return !bad || cpu_raise_error(cpu, VEC_GP, 0);
}

void flags_set_virtual(Cpu *cpu, u32 image) {
    u32 mask = FLAG_OSZAPC | FLAG_TF | FLAG_DF | FLAG_NT;
    u32 vif = image & FLAG_IF ? FLAG_VIF : 0;
    cpu_set_eflags(cpu, (image & ~FLAG_VIF) | vif, mask | FLAG_VIF);
}

// IRET at CPL 0 loads VIF and VIP too.
u32 flags_of_iret(const Cpu *cpu, u32 opsize) {
    u32 mask = flags_writable(cpu, opsize);
    return opsize == 4 && cpu->cpl == 0 ? mask | flags_of_model(cpu) : mask;
}

// Real mode, and virtual-8086 mode with IOPL 3 (where IOPL itself is not changed: CPL is 3).
static void iret_real(Cpu *cpu, const Frame *f) {
    u32 eip, selector, flags;
    if (!frame_peek(cpu, f, 0, &eip) || !frame_peek(cpu, f, 1, &selector)
        || !frame_peek(cpu, f, 2, &flags))
        return;
    if (!far_enter_real(cpu, selector & 0xffff, eip)) return;
    cpu->regs[CPU_ESP] = frame_merge(f, f->sp, f->sp + 3 * f->size);
    cpu_set_eflags(cpu, flags, flags_writable(cpu, f->size));
}

// With a virtual interrupt flag: 16 bits only, IF goes to VIF, TF must not come up.
static void iret_virtual(Cpu *cpu, const Frame *f) {
    u32 eip, selector, flags;
    if (f->size != 2) {
        cpu_raise_error(cpu, VEC_GP, 0);
        return;
    }
    if (!frame_peek(cpu, f, 0, &eip) || !frame_peek(cpu, f, 1, &selector)
        || !frame_peek(cpu, f, 2, &flags))
        return;
    if (!flags_check_virtual(cpu, flags) || !far_enter_real(cpu, selector & 0xffff, eip)) return;
    cpu->regs[CPU_ESP] = frame_merge(f, f->sp, f->sp + 3 * f->size);
    flags_set_virtual(cpu, flags);
}

// EIP CS EFLAGS ESP SS ES DS FS GS
static void iret_to_vm86(Cpu *cpu, const Frame *f) {
    static const u8 order[] = { CPU_SS, CPU_ES, CPU_DS, CPU_FS, CPU_GS };
    u32 word[9];
    for (unsigned i = 0; i < 9; i++)
        if (!frame_peek(cpu, f, i, &word[i])) return;
    if (word[0] > 0xffff) {
        cpu_raise_error(cpu, VEC_GP, 0);
        return;
    }
    u32 mask = flags_writable(cpu, 4) | FLAG_VM | flags_of_model(cpu);
    cpu_set_eflags(cpu, word[2], mask);
    cpu->eip = word[0];
    cpu->regs[CPU_ESP] = word[3];
    seg_fill_real(cpu, CPU_CS, word[1] & 0xffff);
    for (unsigned i = 0; i < ARRAY_LEN(order); i++)
        seg_fill_real(cpu, order[i], word[4 + i] & 0xffff);
    cpu_update_mode(cpu);
}

// NT: back to the task that the back link names; it must be busy.
static void iret_to_task(Cpu *cpu) {
    u32 link;
    Desc d;
    if (!mem_load16(cpu, cpu->tr.base, false, &link)) return;
    if ((link & 4) || selector_is_null(link)) {
        seg_fault(cpu, VEC_TS, link, 0);
        return;
    }
    if (!desc_fetch(cpu, link, VEC_TS, 0, &d)) return;
    u32 type = d.access & 0x1f;
    if (type != SYS_TSS16_BUSY && type != SYS_TSS32_BUSY) seg_fault(cpu, VEC_TS, link, 0);
    else if (!(d.access & SEG_ACC_P)) seg_fault(cpu, VEC_NP, link, 0);
    else task_switch(cpu, link, &d, TASK_IRET, cpu->eip, false, 0);
}

static void iret_protected(Cpu *cpu, const Frame *f) {
    u32 flags;
    if (cpu->eflags & FLAG_NT) {
        iret_to_task(cpu);
        return;
    }
    if (!frame_peek(cpu, f, 2, &flags)) return;
    if (f->size == 4 && (flags & FLAG_VM) && cpu->cpl == 0) iret_to_vm86(cpu, f);
    else far_return(cpu, f, 3, 0, &flags);
}

void cpu_h_iret(Cpu *cpu, u32 opsize) {
    cpu_fpu_keep_pointers(cpu);
    Frame f;
    if (opsize == 4 && quick_iret(cpu)) {
        cpu->nmi_blocked = false;
        return;
    }
    frame_init_pop(cpu, &f, opsize);
    bool virtual = (cpu->mode & MODE_VM) && cpu_iopl(cpu) < 3;
    if (virtual && !(cpu->cr4 & CR4_VME)) {
        cpu_raise_error(cpu, VEC_GP, 0);
        return;
    }
    if (virtual) iret_virtual(cpu, &f);
    else if (cpu_is_protected(cpu)) iret_protected(cpu, &f);
    else iret_real(cpu, &f);
    cpu->nmi_blocked = false;
    if (!cpu->fault.pending) exc_check_vip(cpu);
}
