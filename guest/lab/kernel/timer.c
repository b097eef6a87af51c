// SPDX-License-Identifier: MIT
// Counter 0 of the 8254: an interrupt every hundredth of a second.
#include "kernel.h"

enum {
    PORT_COUNTER_0 = 0x40,
    PORT_CONTROL = 0x43,
    RATE_GENERATOR = 0x34,      // counter 0, low byte then high byte, mode 2
    INPUT_HZ = 1193182,
    DIVISOR = (INPUT_HZ + TIMER_HZ / 2) / TIMER_HZ,
};

static volatile uint32_t ticks;

void timer_init(void)
{
    cpu_out8(PORT_CONTROL, RATE_GENERATOR);
    cpu_out8(PORT_COUNTER_0, DIVISOR & 0xff);
    cpu_out8(PORT_COUNTER_0, DIVISOR >> 8);
}

void timer_interrupt(void)
{
    ticks++;
}

uint32_t timer_ticks(void)
{
    return ticks;
}
