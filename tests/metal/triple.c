// SPDX-License-Identifier: MIT
// Triple faults: a contributory exception or page fault while #DF is delivered shuts the processor
// down, and the board answers with a reset. The image boots again after each and goes on with the
// next. SDM 3A 6.15 (interrupt 8).
//   T=triple tests/metal/run.sh build/glassbox qemu-system-i386 bochs
//   (under -no-reboot glassbox ends with status 70 at the first one: run.sh looks at that too)
#include "rt.h"

ICODE(missing, "", "mov 0x800000, %eax");
ICODE(no_idt, "lidt (%ebx)", "int3");
ICODE(bad_stack, "mov $0x800010, %esp", "push %eax");
ICODE(keyboard, "mov $0xfe, %al", "out %al, $0x64; 1: jmp 1b");
ICODE16(real_idt, "lidt %cs:(%bx)", "int3");
CODE16(empty, ".fill 8, 1, 0");

static const struct { const char *name; const u8 *code; u32 ring, closed; } cases[] = {
    { "#PF, #NP, #DF without a gate/ring 0", missing, 0, 1 },
    { "#PF, #NP, #DF without a gate/ring 3", missing, 3, 1 },
    { "empty IDT", no_idt, 0, 0 },
    { "push to a missing stack in ring 0", bad_stack, 0, 0 },
    { "empty vector table in real mode", real_idt, 0, 0 },
    { "reset by the keyboard controller", keyboard, 0, 0 },
};

// What must outlive a reset, in memory that the BIOS leaves alone.
#define MAGIC 0x7219f417u
#define RESET 0xfeu
typedef struct Memory { u32 magic, next, result[COUNT(cases)]; } Memory;
#define MEMORY ((volatile Memory *)0x3f0000)

static u32 run_case(u32 i) {
    rt_reset();
    if (cases[i].closed) idt[V_PF] = idt[V_DF] = idt[V_NP] = 0;
    if (cases[i].code == real_idt) {
        State s = real_state(real_idt);
        s.ebx = REAL_OFF(empty);
        return run_real(&s).vector;
    }
    State s = ring_state(cases[i].ring, cases[i].code);
    s.ebx = ADDR(empty);
    return run(&s).vector;
}

void test_main(void) {
    if (MEMORY->magic != MAGIC) {
        MEMORY->next = 0;
        MEMORY->magic = MAGIC;
    }
    while (MEMORY->next < COUNT(cases)) {
        u32 i = MEMORY->next++;
        MEMORY->result[i] = RESET;
        MEMORY->result[i] = run_case(i);
    }
    MEMORY->magic = 0;
    for (u32 i = 0; i < COUNT(cases); i++) {
        test("triple/%s", cases[i].name);
        expect("vector", MEMORY->result[i], RESET);
    }
    rt_reset();
}
