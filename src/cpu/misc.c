// SPDX-License-Identifier: MIT
// Instructions with several stack words or none of the host's own: PUSHA, POPA, ENTER, LEAVE,
// decimal adjustments, CMPXCHG8B. All loads and probes come before the first change.
#include "cpu/cpu_int.h"

static void reg_put(u32 *reg, u32 value, u32 opsize) {
    *reg = opsize == 4 ? value : (*reg & 0xffff0000) | (value & 0xffff);
}

// ---- stack --------------------------------------------------------------------------------------
void cpu_h_pusha(Cpu *cpu, u32 opsize) {
    Frame f;
    frame_init(cpu, &f, opsize);
    for (unsigned i = 0; i < 8; i++) frame_push(&f, cpu->regs[i]);
    if (!frame_check(cpu, &f)) return;
    cpu->regs[CPU_ESP] = frame_store(cpu, &f);
    frame_watch(cpu, &f, cpu->regs[CPU_ESP], 8, true);
}

void cpu_h_popa(Cpu *cpu, u32 opsize) {
    Frame f;
    u32 word[8];
    frame_init(cpu, &f, opsize);
    for (unsigned i = 0; i < 8; i++)
        if (!frame_peek(cpu, &f, i, &word[7 - i])) return;
    frame_watch(cpu, &f, f.sp, 8, false);
    for (unsigned i = 0; i < 8; i++)
        if (i != CPU_ESP) reg_put(&cpu->regs[i], word[i], opsize);
    cpu->regs[CPU_ESP] = frame_merge(&f, f.sp, f.sp + 8 * opsize);
}

// Copies the outer frames' pointers: level - 1 words below EBP. Each word can be pushed before the next is read.
static bool enter_copy_display(Cpu *cpu, Frame *f, u32 level) {
    Frame display = *f;
    for (u32 i = 1; i < level; i++) {
        u32 word;
        display.sp = cpu->regs[CPU_EBP] - i * f->size;
        if (!frame_check(cpu, f) || !frame_peek(cpu, &display, 0, &word)) return false;
        frame_push(f, word);
    }
    return true;
}

// Stores the words one by one, reading the display anew: it may overlap what has just been pushed.
static void enter_store(Cpu *cpu, Frame *f, u32 level) {
    Frame display = *f, one = *f;
    for (u32 i = 0; i < f->count; i++) {
        display.sp = cpu->regs[CPU_EBP] - i * f->size;
        if (i && i < level) frame_peek(cpu, &display, 0, &f->word[i]);
        one.sp = f->sp - i * f->size;
        one.count = 1;
        one.word[0] = f->word[i];
        frame_store(cpu, &one);
    }
}

// A write at the final stack pointer must be possible, although none is done (SDM 2A, ENTER).
void cpu_h_enter(Cpu *cpu, u32 bytes, u32 level, u32 opsize) {
    Frame f, final;
    level &= 31;
    frame_init(cpu, &f, opsize);
    frame_push(&f, cpu->regs[CPU_EBP]);
    u32 frame = frame_merge(&f, f.sp, f.sp - opsize);
    if (!enter_copy_display(cpu, &f, level)) return;
    if (level) frame_push(&f, frame);
    u32 end = frame_merge(&f, f.sp, f.sp - f.count * opsize - (bytes & 0xffff));
    final = f;
    final.count = 1;
    final.sp = end + opsize;
    if (!frame_check(cpu, &f) || !frame_check(cpu, &final)) return;
    frame_watch(cpu, &f, f.sp - f.count * opsize, f.count, true);
    if (level > 1) frame_watch(cpu, &f, cpu->regs[CPU_EBP] - (level - 1) * opsize, level - 1, false);
    enter_store(cpu, &f, level);
    reg_put(&cpu->regs[CPU_EBP], frame, opsize);
    cpu->regs[CPU_ESP] = end;
}

void cpu_h_leave(Cpu *cpu, u32 opsize) {
    Frame f;
    u32 word;
    frame_init(cpu, &f, opsize);
    f.sp = cpu->regs[CPU_EBP];
    if (!frame_peek(cpu, &f, 0, &word)) return;
    frame_watch(cpu, &f, f.sp, 1, false);
    cpu->regs[CPU_ESP] = frame_merge(&f, cpu->regs[CPU_ESP], f.sp + opsize);
    reg_put(&cpu->regs[CPU_EBP], word, opsize);
}

// ---- decimal ------------------------------------------------------------------------------------
// What the manual leaves undefined is as in an addition or subtraction of the adjustment, which is
// what AMD's processors were measured to give.
static u32 flags_of_byte(FlagsKind kind, u32 a, u32 b) {
    return flags_compute(FLAGS_OP(kind, 0), a, b, 0);
}

static void set_ax(Cpu *cpu, u32 ax) { reg_put(&cpu->regs[CPU_EAX], ax, 2); }
static void set_al(Cpu *cpu, u8 al) { set_ax(cpu, (cpu->regs[CPU_EAX] & 0xff00) | al); }

// DAA and DAS: kind is FLAGS_ADD or FLAGS_SUB.
static void decimal_adjust(Cpu *cpu, FlagsKind kind) {
    u8 old = (u8)cpu->regs[CPU_EAX], by = 0;
    u32 before = cpu_flags(cpu), carries = 0;
    if ((old & 15) > 9 || (before & FLAG_AF)) {
        by = 6;
        carries |= FLAG_AF;
        if (kind == FLAGS_SUB && old < 6) carries |= FLAG_CF;      // the borrow of the first step
    }
    if (old > 0x99 || (before & FLAG_CF)) {
        by += 0x60;
        carries |= FLAG_CF;
    }
    set_al(cpu, (u8)(kind == FLAGS_ADD ? old + by : old - by));
    u32 others = flags_of_byte(kind, old, by) & ~(FLAG_AF | FLAG_CF);
    cpu_set_arith(cpu, carries | others);
}

void cpu_h_daa(Cpu *cpu) { decimal_adjust(cpu, FLAGS_ADD); }
void cpu_h_das(Cpu *cpu) { decimal_adjust(cpu, FLAGS_SUB); }

// AAA and AAS.
static void ascii_adjust(Cpu *cpu, FlagsKind kind) {
    u32 ax = cpu->regs[CPU_EAX] & 0xffff;
    bool adjust = (ax & 15) > 9 || (cpu_flags(cpu) & FLAG_AF);
    u32 by = adjust ? 0x106 : 0;
    u32 others = flags_compute(FLAGS_OP(kind, 1), ax, by, 0) & ~(FLAG_AF | FLAG_CF);
    set_ax(cpu, (kind == FLAGS_ADD ? ax + by : ax - by) & 0xff0f);
    cpu_set_arith(cpu, others | (adjust ? FLAG_AF | FLAG_CF : 0));
}

void cpu_h_aaa(Cpu *cpu) { ascii_adjust(cpu, FLAGS_ADD); }
void cpu_h_aas(Cpu *cpu) { ascii_adjust(cpu, FLAGS_SUB); }

void cpu_h_aam(Cpu *cpu, u32 base) {
    u8 al = (u8)cpu->regs[CPU_EAX];
    base &= 0xff;
    if (!base) {
        cpu_raise(cpu, VEC_DE);
        return;
    }
    set_ax(cpu, al / base << 8 | al % base);
    cpu_set_arith(cpu, flags_of_byte(FLAGS_LOGIC, al % base, 0));
}

void cpu_h_aad(Cpu *cpu, u32 base) {
    u32 ax = cpu->regs[CPU_EAX], by = (ax >> 8 & 0xff) * (base & 0xff);
    set_ax(cpu, (ax + by) & 0xff);
    cpu_set_arith(cpu, flags_of_byte(FLAGS_ADD, ax, by));
}

// ---- CMPXCHG8B ----------------------------------------------------------------------------------
void cpu_h_cmpxchg8b(Cpu *cpu, u32 offset, u32 mem) {
    u32 *r = cpu->regs, info = CPU_ACCESS(mem & 7, 3);
    u64 now = cpu_slow_load(cpu, offset, info | CPU_ACCESS_RMW);
    if (cpu->fault.pending) return;
    bool equal = now == (r[CPU_EAX] | (u64)r[CPU_EDX] << 32);
    if (equal) {
        cpu_slow_store(cpu, offset, info, r[CPU_EBX] | (u64)r[CPU_ECX] << 32);
    } else {
        r[CPU_EAX] = (u32)now;
        r[CPU_EDX] = (u32)(now >> 32);
    }
    cpu_set_eflags(cpu, equal ? FLAG_ZF : 0, FLAG_ZF);
}
