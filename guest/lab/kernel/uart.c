// SPDX-License-Identifier: MIT
// COM1, an 8250 or better: 115200 baud, 8 bits, no parity. Output waits, input interrupts.
#include "kernel.h"

enum {
    PORT = 0x3f8,
    DATA = PORT,                // divisor's low byte while DIVISOR_ACCESS is set
    INTERRUPTS = PORT + 1,      // divisor's high byte likewise
    LINE_CONTROL = PORT + 3,
    MODEM_CONTROL = PORT + 4,
    LINE_STATUS = PORT + 5,
    DIVISOR_ACCESS = 0x80,
    EIGHT_BITS = 0x03,
    ON_RECEIVE = 0x01,
    READY_AND_INTERRUPT = 0x0b, // DTR, RTS, and OUT2, which lets the interrupt out
    RECEIVED = 0x01,
    MAY_SEND = 0x20,
    NO_CHIP = 0xff,             // what an empty port reads as
    PATIENCE = 100000,          // polls before a character is given up
};

void uart_init(void)
{
    cpu_out8(LINE_CONTROL, DIVISOR_ACCESS);
    cpu_out8(DATA, 1);
    cpu_out8(INTERRUPTS, 0);
    cpu_out8(LINE_CONTROL, EIGHT_BITS);
    cpu_out8(MODEM_CONTROL, READY_AND_INTERRUPT);
    cpu_out8(INTERRUPTS, ON_RECEIVE);
    uart_interrupt();           // what came before we listened
}

void uart_put(char character)
{
    for (int i = 0; i < PATIENCE; i++) {
        if (cpu_in8(LINE_STATUS) & MAY_SEND) {
            cpu_out8(DATA, (uint8_t)character);
            return;
        }
    }
}

// A terminal sends return for Enter and delete for Backspace.
void uart_interrupt(void)
{
    uint8_t status;
    while ((status = cpu_in8(LINE_STATUS)) & RECEIVED && status != NO_CHIP) {
        char character = (char)cpu_in8(DATA);
        if (character == '\r')
            character = '\n';
        else if (character == 0x7f)
            character = '\b';
        console_put_input(character);
    }
}
