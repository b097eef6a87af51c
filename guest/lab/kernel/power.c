// SPDX-License-Identifier: MIT
// Power off. A real PC needs ACPI for it; emulators listen at ports of their own, tried in turn.
#include "kernel.h"

enum {
    PORT_ACPI_CONTROL = 0x604,  // PM1a control of the PIIX4 and ICH9 boards
    PORT_ACPI_OLD = 0xb004,     // the same where older firmware puts it
    PORT_SHUTDOWN = 0x8900,     // takes the letters of "Shutdown"
    PATIENCE_TICKS = TIMER_HZ,  // an emulator may take a moment to stop
    SLEEP_NOW = 0x2000,         // sleep enable, sleep type 0: soft off
};

void power_off(void)
{
    cpu_out16(PORT_ACPI_CONTROL, SLEEP_NOW);
    cpu_out16(PORT_ACPI_OLD, SLEEP_NOW);
    for (const char *letter = "Shutdown"; *letter; letter++)
        cpu_out8(PORT_SHUTDOWN, (uint8_t)*letter);
    for (uint32_t start = timer_ticks(); timer_ticks() - start < PATIENCE_TICKS;)
        cpu_enable_interrupts_and_halt();
    console_print("kernel: nothing turned the power off, do it by hand\n");
    trap_halt();
}
