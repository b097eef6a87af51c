// SPDX-License-Identifier: MIT
// Triple faults: a contributory exception or page fault while #DF is delivered resets the machine (the
// processor shuts down, the board answers with a reset). The image comes back through the BIOS.
// SDM 3A 6.15 (interrupt 8).
//   T=triple tests/metal/run.sh build/glassbox qemu-system-i386 bochs
//   build/glassbox -no-reboot ... ends with status 70 at the first one (run.sh looks at that too)
#include "rt.h"

ICODE(missing, "", "mov 0x800000, %eax");
ICODE(no_idt, "lidt (%ebx)", "int3");
ICODE(bad_stack, "mov $0x800010, %esp", "push %eax");
ICODE(keyboard, "mov $0xfe, %al", "out %al, $0x64; 1: jmp 1b");

static void close_gate(u32 vector) { idt[vector] &= ~((u64)0x8000 << 32); }

CODE(alive, "mov $0x600d, %eax");

static void run_one(const char *name, const u8 *code, u32 ring, u32 first, u32 second) {
    static const u8 empty[6];
    test("triple/%s/ring%u", name, ring);
    rt_reset();
    if (first) close_gate(first);
    if (second) close_gate(second);
    State s = ring_state(ring, code);
    s.ebx = ADDR(empty);
    State o = run_reset(&s);
    expect("vector", o.vector, V_RESET);
    rt_reset();
    s = user_state(alive);
    o = run(&s);
    expect_exit(&o);
    expect("eax", o.eax, 0x600d);
}

void test_main(void) {
    run_one("#PF, #NP, #DF without a gate", missing, 0, V_PF, V_DF);
    run_one("#PF, #NP, #DF without a gate", missing, 3, V_PF, V_DF);
    run_one("empty IDT", no_idt, 0, 0, 0);
    run_one("push to a missing stack in ring 0", bad_stack, 0, 0, 0);
    run_one("reset by the keyboard controller", keyboard, 0, 0, 0);
}
