// SPDX-License-Identifier: MIT
// A 16550A UART. Bytes are transmitted at once; received bytes wait in its 16-byte FIFO.
//
//     Uart *com1 = uart_new(bus, "serial0", 0x3f8, pic_wire(pic, 4), (CharOut){ put, file });
//     while (uart_can_receive(com1) && (c = next()) >= 0) uart_receive(com1, c);
#ifndef DEV_UART_H
#define DEV_UART_H

#include "bus/bus.h"
#include "bus/chr.h"

typedef struct Uart Uart;

// `name` must outlive the UART and be unique in the machine.
Uart *uart_new(Bus *bus, const char *name, u16 port, Wire irq, CharOut out);
void uart_free(Uart *u);

// Machine thread. A byte that arrives when there is no room is an overrun, as on a real line.
bool uart_can_receive(const Uart *u);
void uart_receive(Uart *u, u8 byte);
void uart_receive_break(Uart *u);

// `ready` is called whenever room has come up in a full receiver. One listener; NULL: none.
void uart_on_ready(Uart *u, void (*ready)(void *self), void *self);

#endif
