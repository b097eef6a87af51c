// SPDX-License-Identifier: MIT
// The jit's own promises, each with the smallest guest that shows it.
//     make test T=unit/test_jit
#include "testbus.h"

#include "cpu/cpu.h"

#include <cmocka.h>

#include "testjit.h"

static int rig_open(void **state) {
    JitOptions options = { .cache_mib = 4, .end_when_hung = true, .restore = JIT_RESTORE_CHECK };
    return rig_open_with(state, &options);
}

static int rig_open_large(void **state) {
    JitOptions options = { .cache_mib = 64, .end_when_hung = true, .passes = 2 };
    return rig_open_with(state, &options);
}

// Runs real-mode code at selector:ip until HLT with interrupts off; returns AX.
static u32 run_real(Rig *g, u16 selector, u32 ip) {
    Cpu *cpu = g->cpu;
    cpu->halted = false;
    cpu->seg[CPU_CS].selector = selector;
    cpu->seg[CPU_CS].base = (u32)selector << 4;
    cpu->seg[CPU_CS].limit = 0xffff;
    cpu_update_mode(cpu);
    cpu->eip = ip;
    assert_int_equal(jit_run(g->jit), JIT_END_HUNG);
    return cpu->regs[CPU_EAX] & 0xffff;
}

// Blocks dropped so far because their bytes were written.
static u64 dropped(const Rig *g) { return g->jit->stats.invalidations; }

// Two CS bases 0x20 apart lead ip 0x10 to the same page, at different bytes. A block of one must not run for the
// other: neither by lookup nor by an indirect jump. Breaks with em_check_page()'s test of the base.
static void test_same_ip_other_base(void **state) {
    Rig *g = *state;
    static const char jump[] = "\xbb\x40\x00\xff\xe3";                    // mov $0x40, %bx ; jmp *%bx
    rig_put(g, 0x9010, jump, 5);
    rig_put(g, 0x9030, jump, 5);
    rig_put(g, 0x9040, "\xb8\x01\x00\xf4", 4);                                // mov $1, %ax ; hlt
    rig_put(g, 0x9060, "\xb8\x02\x00\xf4", 4);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(run_real(g, 0x900, 0x10), 1);
        assert_int_equal(run_real(g, 0x902, 0x10), 2);
        assert_int_equal(run_real(g, 0x900, 0x40), 1);
        assert_int_equal(run_real(g, 0x902, 0x40), 2);
    }
}

static const Block *block_at(const Rig *g, u32 phys) {
    for (u32 i = 0; i < g->jit->block_count; i++)
        if (g->jit->block[i]->phys == phys) return g->jit->block[i];
    return NULL;
}

// The same where the block was first come to inside its page, and made without a checked entry. Breaks with
// x64_checked_entry()'s test of the base.
static void test_entry_made_later(void **state) {
    Rig *g = *state;
    rig_put(g, 0x9000, "\x31\xc0\x74\x3c", 4);                               // xor %ax, %ax ; je 0x40
    rig_put(g, 0x9040, "\xb8\x01\x00\xf4", 4);                                // mov $1, %ax ; hlt
    assert_int_equal(run_real(g, 0x900, 0), 1);
    assert_null(block_at(g, 0x9040)->entry);
    test_same_ip_other_base(state);
    assert_non_null(block_at(g, 0x9040)->entry);
    assert_false(block_at(g, 0x9040)->entry_is_hot);
}

// A smaller CS limit is seen by code that was translated under a larger one: #GP, delivered
// through the vector table. Breaks without the limit's number in the mode key.
static void test_cs_limit_shrinks(void **state) {
    Rig *g = *state;
    rig_put(g, 0x9000, "\xeb\x7e", 2);                                        // jmp 0x80
    rig_put(g, 0x9080, "\xb8\x07\x00\xf4", 4);                                // mov $7, %ax ; hlt
    rig_put(g, 0x5000, "\xb8\x0d\x00\xf4", 4);                                // #GP handler: mov $13, %ax ; hlt
    rig_put(g, 13 * 4, "\x00\x00\x00\x05", 4);                               // at 0500:0000: inside the limit
    assert_int_equal(run_real(g, 0x900, 0), 7);
    g->cpu->regs[CPU_ESP] = 0x8000;
    g->cpu->halted = false;
    g->cpu->seg[CPU_CS].selector = 0x900;
    g->cpu->seg[CPU_CS].base = 0x9000;
    g->cpu->seg[CPU_CS].limit = 0x7f;
    cpu_update_mode(g->cpu);
    g->cpu->eip = 0;
    assert_int_equal(jit_run(g->jit), JIT_END_HUNG);
    assert_int_equal(g->cpu->regs[CPU_EAX] & 0xffff, 13);
}

// The host's kernel may forget the x87's pointers when another thread runs: the guest's older ones stay, and are
// not taken for those that FNINIT leaves.
static void test_forgotten_x87_pointers(void **state) {
    Rig *g = *state;
    static const char load[] = "\xd9\x26\x00\x70" "\xf4", store[] = "\xd9\x36\x20\x70" "\xf4";    // fldenv, fnstenv
    static const char init[] = "\xdb\xe3\xd9\x36\x20\x70" "\xf4";                            // fninit; fnstenv
    static const u16 image[7] = { 0x37f, 0, 0xffff, 0x1234, 0x0123, 0x5678, 0 };
    u32 env[7];
    rig_put(g, 0x7000, (const char *)image, sizeof image);
    rig_put(g, 0x9000, load, 5);
    rig_put(g, 0x9100, store, 5);
    rig_put(g, 0x9200, init, 7);
    cpu_fpu_load_host(g->cpu);
    run_real(g, 0, 0x9000);
    __asm__ volatile("fnstenv %0" : "=m"(env));
    env[3] = env[5] = 0;
    __asm__ volatile("fldenv %0" : : "m"(env));
    run_real(g, 0, 0x9100);
    assert_int_equal(get_le16(bus_ram(g->bus) + 0x7026), 0x1234);
    assert_int_equal(get_le16(bus_ram(g->bus) + 0x702a), 0x5678);
    run_real(g, 0, 0x9200);
    assert_int_equal(get_le16(bus_ram(g->bus) + 0x7026), 0);
    assert_int_equal(get_le16(bus_ram(g->bus) + 0x702a), 0);
    cpu_fpu_save_host(g->cpu);
}

// A block goes on behind a call and its return; where the callee changes the return address the guest goes there.
// Breaks with ex_guard()'s compare.
static void test_return_elsewhere(void **state) {
    Rig *g = *state;
    rig_put(g, 0x9000, "\xe8\x1d\x00\xb8\x01\x00\xf4", 7);                     // call 0x20 ; mov $1, %ax ; hlt
    rig_put(g, 0x9013, "\xb8\x02\x00\xf4", 4);                                // mov $2, %ax ; hlt
    rig_put(g, 0x9020, "\x5b\x01\xcb\x53\xc3", 5);                            // pop %bx ; add %cx, %bx ; push %bx ; ret
    for (unsigned i = 0; i < 3; i++) {
        g->cpu->regs[CPU_ECX] = i & 1 ? 0x10 : 0;
        assert_int_equal(run_real(g, 0x900, 0), i & 1 ? 2 : 1);
    }
}

// Of a block that goes on behind a jump both parts are code, what lies between them is not. Breaks with
// walk_note()'s second part.
static void test_parts_are_code(void **state) {
    Rig *g = *state;
    rig_put(g, 0x9000, "\xeb\x7e", 2);                                        // jmp 0x80
    rig_put(g, 0x9080, "\xb8\x05\x00\xf4", 4);                                // mov $5, %ax ; hlt
    rig_put(g, 0x9100, "\xc6\x06\x81\x90\x09\xe9\xf8\xfe", 8);                // movb $9, 0x9081 ; jmp 0
    rig_put(g, 0x9200, "\xc6\x06\x41\x90\x09\xe9\xf8\xfd", 8);                // movb $9, 0x9041 ; jmp 0
    assert_int_equal(run_real(g, 0x900, 0), 5);
    assert_int_equal(run_real(g, 0x900, 0x200), 5);
    assert_int_equal(dropped(g), 0);
    assert_int_equal(run_real(g, 0x900, 0x100), 9);
    assert_true(dropped(g) > 0);
}

// A block ends before an instruction that goes on to the next page, and need not be dropped when a shorter one takes
// its place: its records are those of its own length. Breaks with walk_may_go_on()'s first line.
static void test_end_of_page_changes(void **state) {
    Rig *g = *state;
    rig_put(g, 13 * 4, "\x00\x01\x00\x09", 4);                              // #GP: 0900:0100
    rig_put(g, 0x9100, "\xb8\x0d\x00\xf4", 4);                              // mov $13, %ax ; hlt
    rig_put(g, 0x9ffc, "\x8b\x07\xb8\x05\x00\xf4", 6);                      // mov (%bx), %ax ; mov $5, %ax ; hlt
    g->cpu->regs[CPU_ESP] = 0x8000;
    g->cpu->regs[CPU_EBX] = 0x7000;
    assert_int_equal(run_real(g, 0x900, 0xffc), 5);
    bus_write(g->bus, phy(0x9ffe), 2, 0xf4f4);                            // hlt ; hlt
    g->cpu->regs[CPU_EBX] = 0xffff;                                       // past the end of the segment
    assert_int_equal(run_real(g, 0x900, 0xffc), 13);
    assert_int_equal(g->jit->stats.restores_retranslated, 1);
}

// Every loop's edge gets a block for its flags, however many loops there are. Breaks when counters run out.
static void test_every_loop_is_promoted(void **state) {
    enum { SEGMENTS = 3, LOOPS = 7000, LOOP_BYTES = 9 };
    static const char loop[] = "\xb9\x06\x00\x90" "\x88\x04" "\x49\x75\xfb";    // mov $6, %cx ; nop ;
    Rig *g = *state;                                            //   1: mov %al, (%si) ; dec %cx ; jne 1b
    for (u32 s = 0; s < SEGMENTS; s++) {
        u32 at = (s + 2) << 16;
        for (u32 i = 0; i < LOOPS; i++) rig_put(g, at + i * LOOP_BYTES, loop, LOOP_BYTES);
        rig_put(g, at + LOOPS * LOOP_BYTES, "\xf4", 1);
        run_real(g, (u16)(at >> 4), 0);
    }
    u64 crossing = SEGMENTS * (LOOPS * LOOP_BYTES / PAGE_BYTES + 1);
    assert_int_equal(g->jit->stats.flushes, 0);
    assert_true(g->jit->stats.promotions >= SEGMENTS * LOOPS - crossing);
}

// Indirect jumps at high eip find their targets in the jump cache: the run loop sees few of them. Breaks when the
// entry's offset is not that of eip's low bits alone.
static void test_jumps_at_high_eip(void **state) {
    Rig *g = *state;
    Cpu *cpu = g->cpu;
    CpuSeg *cs = &cpu->seg[CPU_CS];
    rig_put(g, 0x9010, "\xbb\x30\x90\x00\xf8\xff\xe3", 7);                  // mov $0xf8009030, %ebx ; jmp *%ebx
    rig_put(g, 0x9030, "\x49\x74\x07\xbb\x10\x90\x00\xf8\xff\xe3\xf4", 11); // dec %ecx ; je . ; mov $0xf8009010, ..
    cs->base = 0x08000000;
    cs->limit = 0xffffffff;
    cs->access |= SEG_ACC_DB | SEG_ACC_G;
    cpu_update_mode(cpu);
    cpu->eip = 0xf8009010;
    cpu->regs[CPU_ECX] = 1000;
    assert_int_equal(jit_run(g->jit), JIT_END_HUNG);
    assert_int_equal(cpu->regs[CPU_ECX], 0);
    assert_true(g->jit->stats.exits[EXIT_LOOKUP] < 20);
}

static u32 run_flat(Rig *g, u32 eip, u32 rounds) {
    Cpu *cpu = g->cpu;
    CpuSeg *cs = &cpu->seg[CPU_CS];
    cs->base = 0;
    cs->limit = 0xffffffff;
    cs->access |= SEG_ACC_DB | SEG_ACC_G;
    cpu_update_mode(cpu);
    cpu->halted = false;
    cpu->eip = eip;
    cpu->regs[CPU_EAX] = 0;
    cpu->regs[CPU_ECX] = rounds;
    assert_int_equal(jit_run(g->jit), JIT_END_HUNG);
    return cpu->regs[CPU_EAX];
}

// Two targets with one place in the jump cache: the one that gave way is found without the run loop. Breaks when stub
// and jit_displaced() disagree; and when a block that goes is forgotten in one place only.
static void test_jumps_with_one_place(void **state) {
    enum { A = 0x19030, B = 0x29030 };
    Rig *g = *state;
    rig_put(g, A, "\xbb\x30\x90\x02\x00\xff\xe3", 7);                    // mov $B, %ebx ; jmp *%ebx
    rig_put(g, B, "\x49\x74\x07\xbb\x30\x90\x01\x00\xff\xe3\xf4", 11);   // dec %ecx ; je . ; mov $A, ..
    assert_int_equal(x64_jump(A), x64_jump(B));
    run_flat(g, A, 1000);
    assert_int_equal(g->cpu->regs[CPU_ECX], 0);
    assert_true(g->jit->stats.exits[EXIT_LOOKUP] < 20);
    for (u32 i = 0; i < 2; i++) {
        u32 changed = i ? B : A, old = get_le32(bus_ram(g->bus) + changed);
        bus_write(g->bus, phy(changed), 4, 0xf440);                        // inc %eax ; hlt
        assert_int_equal(run_flat(g, i ? A : B, 5), 1);
        bus_write(g->bus, phy(changed), 4, old);
        assert_int_equal(run_flat(g, A, 1000), 0);
    }
}

// Accesses behind one check, with 16-bit addresses: where they go over 64 KiB each wraps for itself. Breaks with
// gr_wraps(), and with group_fix()'s part of it.
static void test_groups_wrap(void **state) {
    Rig *g = *state;
    u8 *ram = bus_ram(g->bus);
    // mov %ax, (%bx) ; mov %dx, 2(%bx) ; mov 4(%bx), %cx ; hlt
    rig_put(g, 0x9000, "\x89\x07\x89\x57\x02\x8b\x4f\x04\xf4", 9);
    rig_put(g, 0x9100, "\x50\x52\x51\x5e\xf4", 5);   // push %ax ; push %dx ; push %cx ; pop %si ; hlt
    for (u32 i = 0; i < 4; i++) {
        g->cpu->seg[CPU_DS].base = g->cpu->seg[CPU_SS].base = 0x30000;    // the page behind can be written directly
        g->cpu->regs[CPU_EBX] = g->cpu->regs[CPU_ESP] = 0x20;
        run_real(g, 0x900, 0);
        run_real(g, 0x900, 0x100);
        g->cpu->seg[CPU_DS].base = g->cpu->seg[CPU_SS].base = 0x20000;
        memset(ram + 0x20000, 0x55, 0x20000);
        put_le16(ram + 0x20002, 0x3333);
        g->cpu->regs[CPU_EAX] = 0x1111, g->cpu->regs[CPU_EDX] = 0x2222;
        g->cpu->regs[CPU_EBX] = i & 1 ? 0x7fff8 : 0xfffe;                 // the upper half has no say
        run_real(g, 0x900, 0);
        assert_int_equal(get_le16(ram + 0x20000 + (i & 1 ? 0xfff8 : 0xfffe)), 0x1111);
        assert_int_equal(get_le16(ram + 0x20000 + (i & 1 ? 0xfffa : 0)), 0x2222);
        assert_int_equal(get_le16(ram + 0x30000), 0x5555);
        assert_int_equal(g->cpu->regs[CPU_ECX] & 0xffff, i & 1 ? 0x5555 : 0x3333);
        g->cpu->regs[CPU_ESP] = i & 1 ? 0x70006 : 0x70002;
        run_real(g, 0x900, 0x100);
        assert_int_equal(g->cpu->regs[CPU_ESP], i & 1 ? 0x70002 : 0x7fffe);
        assert_int_equal(get_le16(ram + 0x20000 + (i & 1 ? 2 : 0xfffe)), 0x2222);
        assert_int_equal(get_le16(ram + 0x20000 + (i & 1 ? 4 : 0)), 0x1111);
        assert_int_equal(g->cpu->regs[CPU_ESI] & 0xffff, g->cpu->regs[CPU_ECX] & 0xffff);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_ip_other_base, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(test_entry_made_later, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(test_cs_limit_shrinks, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(test_forgotten_x87_pointers, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(test_return_elsewhere, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(test_parts_are_code, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(test_groups_wrap, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(test_end_of_page_changes, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(test_every_loop_is_promoted, rig_open_large, rig_close),
        cmocka_unit_test_setup_teardown(test_jumps_at_high_eip, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(test_jumps_with_one_place, rig_open, rig_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
