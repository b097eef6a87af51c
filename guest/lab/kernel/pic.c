// SPDX-License-Identifier: MIT
// The two 8259 interrupt controllers, moved from the vectors of exceptions to 0x20 and up.
#include "kernel.h"

enum {
    MASTER = 0x20,              // command port; data port is the next
    SLAVE = 0xa0,
    FIRST_VECTOR = 0x20,
    BEGIN = 0x11,               // ICW1: edge triggered, cascaded, ICW4 follows
    SLAVE_LINE = 2,
    MODE_8086 = 0x01,
    MASK_MASTER = 0xec,         // open: 0 timer, 1 keyboard, 4 COM1
    MASK_SLAVE = 0xff,
    END_OF_INTERRUPT = 0x20,
    READ_IN_SERVICE = 0x0b,
    SPURIOUS = 7,               // lowest priority, raised when a line fell again too soon
};

static void pic_start(uint16_t port, uint8_t vector, uint8_t cascade, uint8_t mask)
{
    cpu_out8(port, BEGIN);
    cpu_out8(port + 1, vector);
    cpu_out8(port + 1, cascade);
    cpu_out8(port + 1, MODE_8086);
    cpu_out8(port + 1, mask);
}

void pic_init(void)
{
    pic_start(MASTER, FIRST_VECTOR, 1 << SLAVE_LINE, MASK_MASTER);
    pic_start(SLAVE, FIRST_VECTOR + 8, SLAVE_LINE, MASK_SLAVE);
}

// The slave's lines are all masked, so whatever comes from it is spurious; then the master,
// which did see its cascade line, wants its acknowledgement.
bool pic_is_spurious(uint32_t line)
{
    if (line >= 8) {
        cpu_out8(MASTER, END_OF_INTERRUPT);
        return true;
    }
    if (line != SPURIOUS)
        return false;
    cpu_out8(MASTER, READ_IN_SERVICE);
    return !(cpu_in8(MASTER) & 1 << SPURIOUS);
}

void pic_acknowledge(void)
{
    cpu_out8(MASTER, END_OF_INTERRUPT);
}
