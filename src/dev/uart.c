// SPDX-License-Identifier: MIT
// National's PC16550D. Register numbers are offsets from the base port.
//
// Rules
//  1. Transmission takes no time: THR and the transmit FIFO are always empty again after a write,
//     and the THRE interrupt follows each write to THR as an edge of its own.
//  2. uart_update() alone drives the wire: highest-priority source that is enabled and pending.
//  3. OUT2 (MCR bit 3) does not gate the wire, though it does on PC cards: xv6 writes 0 to MCR and
//     still expects receive interrupts, as it gets them from other emulators.
#include "dev/uart.h"

#include "bus/device.h"
#include <stdlib.h>

#define FIFO_BYTES 16u
#define CLOCK_HZ 115200u       // 1.8432 MHz / 16

enum { IER_RX = 1, IER_TX = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_KEPT = 0xc9 };
enum { LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10 };
enum { LSR_READY = 1, LSR_OVERRUN = 2, LSR_BREAK = 0x10, LSR_TX_EMPTY = 0x60, LSR_FIFO = 0x80 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80, MSR_RI_ENDED = 4 };
enum { IIR_NONE = 1, IIR_MODEM = 0, IIR_TX = 2, IIR_RX = 4, IIR_LINE = 6, IIR_TIMEOUT = 12 };

struct Uart {
    Bus *bus;
    const char *name;
    u16 port;                  // base
    Wire irq;
    CharOut out;
    void (*ready)(void *self);
    void *ready_self;
    Timer *timeout;            // four character times without a read or a new byte
    u8 fifo[FIFO_BYTES];       // received bytes; one entry used when the FIFO is off
    u8 broken[FIFO_BYTES];     // 1: the byte beside it is a break
    u8 head, count;            // oldest entry, entries
    u8 ier, fcr, lcr, mcr, scr;
    u8 errors;                 // LSR bits that reading LSR clears
    u8 msr;                    // modem status with its delta bits
    u16 divisor;
    bool tx_pending;           // THRE interrupt was not acknowledged
    bool timed_out;            // character timeout interrupt
};

static const Field uart_fields[] = {
    FIELD(Uart, timeout, FIELD_TIMER, 0),
    FIELD_ARRAY(Uart, fifo, FIELD_BYTES, 0),
    FIELD_ARRAY(Uart, broken, FIELD_BYTES, 0),
    FIELD(Uart, head, FIELD_UINT, 0),
    FIELD(Uart, count, FIELD_UINT, 0),
    FIELD(Uart, ier, FIELD_UINT, 0),
    FIELD(Uart, fcr, FIELD_UINT, 0),
    FIELD(Uart, lcr, FIELD_UINT, 0),
    FIELD(Uart, mcr, FIELD_UINT, 0),
    FIELD(Uart, scr, FIELD_UINT, 0),
    FIELD(Uart, errors, FIELD_UINT, 0),
    FIELD(Uart, msr, FIELD_UINT, MSR_CTS | MSR_DSR | MSR_DCD),
    FIELD(Uart, divisor, FIELD_UINT, 12),
    FIELD(Uart, tx_pending, FIELD_BOOL, 0),
    FIELD(Uart, timed_out, FIELD_BOOL, 0),
};

static unsigned uart_capacity(const Uart *u) { return u->fcr & FCR_ENABLE ? FIFO_BYTES : 1; }

static unsigned uart_trigger(const Uart *u) {
    static const u8 level[4] = { 1, 4, 8, 14 };
    return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

// The interrupt identification (low four bits of IIR) by priority.
static u8 uart_source(const Uart *u) {
    if ((u->ier & IER_LINE) && u->errors) return IIR_LINE;
    if ((u->ier & IER_RX) && u->count >= uart_trigger(u)) return IIR_RX;
    if ((u->ier & IER_RX) && u->timed_out) return IIR_TIMEOUT;
    if ((u->ier & IER_TX) && u->tx_pending) return IIR_TX;
    if ((u->ier & IER_MODEM) && (u->msr & 15)) return IIR_MODEM;
    return IIR_NONE;
}

static void uart_update(Uart *u) {
    wire_set(&u->irq, uart_source(u) != IIR_NONE);
}

static u64 uart_char_ns(const Uart *u) {
    unsigned bits = 2 + 5 + (u->lcr & 3) + (u->lcr >> 2 & 1) + (u->lcr >> 3 & 1);
    return (u64)bits * (u->divisor ? u->divisor : 65536) * 1000000000u / CLOCK_HZ;
}

static void uart_restart_timeout(Uart *u) {
    u->timed_out = false;
    if ((u->fcr & FCR_ENABLE) && u->count && u->count < uart_trigger(u))
        bus_timer_at(u->timeout, bus_now_ns(u->bus) + 4 * uart_char_ns(u));
    else
        bus_timer_stop(u->timeout);
}

static void uart_timeout(void *self) {
    Uart *u = self;
    u->timed_out = u->count != 0;
    uart_update(u);
}

static void uart_arrive(Uart *u, u8 byte, bool broken) {
    if (u->count == uart_capacity(u)) {
        u->errors |= LSR_OVERRUN;
        // Without the FIFO the new byte overwrites the old one; with it the new one is lost.
        if (!(u->fcr & FCR_ENABLE)) u->fifo[u->head] = byte;
    } else {
        unsigned at = (u->head + u->count++) % FIFO_BYTES;
        u->fifo[at] = byte;
        u->broken[at] = broken;
        if (broken && u->count == 1) u->errors |= LSR_BREAK;
    }
    uart_restart_timeout(u);
    uart_update(u);
}

static u8 uart_read_data(Uart *u) {
    if (!u->count) return u->fifo[(u->head + FIFO_BYTES - 1) % FIFO_BYTES];
    bool was_full = u->count == uart_capacity(u);
    u8 byte = u->fifo[u->head];
    u->head = (u8)((u->head + 1u) % FIFO_BYTES);
    u->count--;
    if (u->count && u->broken[u->head]) u->errors |= LSR_BREAK;
    uart_restart_timeout(u);
    uart_update(u);
    if (was_full && u->ready) u->ready(u->ready_self);
    return byte;
}

static void uart_clear_rx(Uart *u) {
    u->head = u->count = 0;
    u->errors &= (u8)~LSR_BREAK;
    uart_restart_timeout(u);
    if (u->ready) u->ready(u->ready_self);
}

static void uart_write_data(Uart *u, u8 byte) {
    u->tx_pending = false;
    uart_update(u);
    if (u->mcr & MCR_LOOP) uart_arrive(u, byte, false);
    else char_put(&u->out, byte);
    u->tx_pending = true;
    uart_update(u);
}

static void uart_write_ier(Uart *u, u8 value) {
    u8 rising = value & (u8)~u->ier;
    u->ier = value & 15;
    if (rising & IER_TX) u->tx_pending = true;           // THR is empty now
    uart_update(u);
}

static void uart_write_fcr(Uart *u, u8 value) {
    if ((value ^ u->fcr) & FCR_ENABLE) value |= FCR_CLEAR_RX;
    u->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
    if (value & FCR_CLEAR_RX) uart_clear_rx(u);
    else uart_restart_timeout(u);
    if (value & FCR_CLEAR_TX) u->tx_pending = true;
    uart_update(u);
}

static void uart_set_modem(Uart *u, u8 lines) {
    u8 changed = (u->msr ^ lines) & 0xf0;
    u8 delta = (u8)((changed >> 4) & ~MSR_RI_ENDED);
    if ((u->msr & MSR_RI) && !(lines & MSR_RI)) delta |= MSR_RI_ENDED;
    u->msr = (u8)(lines | (u->msr & 15) | delta);
}

// What the modem control outputs look like as inputs: looped back, or a peer that is always there.
static void uart_write_mcr(Uart *u, u8 value) {
    u->mcr = value & 0x1f;
    u8 lines = MSR_CTS | MSR_DSR | MSR_DCD;
    if (u->mcr & MCR_LOOP)
        lines = (u8)((u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
                     (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0));
    uart_set_modem(u, lines);
    uart_update(u);
}

static u8 uart_read_iir(Uart *u) {
    u8 source = uart_source(u);
    if (source == IIR_TX) {
        u->tx_pending = false;
        uart_update(u);
    }
    return source | (u->fcr & FCR_ENABLE ? 0xc0 : 0);
}

static u8 uart_read_lsr(Uart *u) {
    unsigned v = LSR_TX_EMPTY | u->errors | (u->count ? LSR_READY : 0);
    if (u->fcr & FCR_ENABLE)
        for (unsigned i = 0; i < u->count; i++)
            if (u->broken[(u->head + i) % FIFO_BYTES]) v |= LSR_FIFO;
    u->errors = 0;
    uart_update(u);
    return (u8)v;
}

static u8 uart_read_msr(Uart *u) {
    u8 v = u->msr;
    u->msr &= 0xf0;
    uart_update(u);
    return v;
}

static u32 uart_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    Uart *u = self;
    bool dlab = u->lcr & LCR_DLAB;
    switch (port - u->port) {
    case 0: return dlab ? u->divisor & 0xff : uart_read_data(u);
    case 1: return dlab ? u->divisor >> 8 : u->ier;
    case 2: return uart_read_iir(u);
    case 3: return u->lcr;
    case 4: return u->mcr;
    case 5: return uart_read_lsr(u);
    case 6: return uart_read_msr(u);
    default: return u->scr;
    }
}

static void uart_write_lcr(Uart *u, u8 value) {
    bool began = (value & LCR_BREAK) && !(u->lcr & LCR_BREAK);
    u->lcr = value;
    if (began && (u->mcr & MCR_LOOP)) uart_arrive(u, 0, true);
}

static void uart_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    Uart *u = self;
    u8 v = (u8)value;
    bool dlab = u->lcr & LCR_DLAB;
    switch (port - u->port) {
    case 0:
        if (dlab) u->divisor = (u16)((u->divisor & 0xff00) | v);
        else uart_write_data(u, v);
        break;
    case 1:
        if (dlab) u->divisor = (u16)((u->divisor & 0xff) | v << 8);
        else uart_write_ier(u, v);
        break;
    case 2: uart_write_fcr(u, v); break;
    case 3: uart_write_lcr(u, v); break;
    case 4: uart_write_mcr(u, v); break;
    case 7: u->scr = v; break;
    default: break;                                      // LSR and MSR are read-only
    }
}

static void uart_reset(void *self) { uart_update(self); }

static void uart_info(void *self, FILE *out) {
    Uart *u = self;
    fprintf(out, "port=0x%x baud=%u received=%u/%u\n", u->port,
            CLOCK_HZ / (u->divisor ? u->divisor : 65536u), u->count, uart_capacity(u));
}

static const DeviceClass uart_class = {
    "serial", uart_fields, ARRAY_LEN(uart_fields), uart_reset, uart_reset, uart_info,
};

Uart *uart_new(Bus *bus, const char *name, u16 port, Wire irq, CharOut out) {
    Uart *u = mem_new(sizeof(*u));
    *u = (Uart){ .bus = bus, .name = name, .port = port, .irq = irq, .out = out };
    u->timeout = bus_timer_new(bus, name, uart_timeout, u);
    device_add(bus, &uart_class, name, u);
    BusPort ports = { name, u, 1, uart_in, uart_out };
    bus_map_ports(bus, port, 8, &ports);
    return u;
}

void uart_free(Uart *u) { free(u); }

bool uart_can_receive(const Uart *u) {
    return !(u->mcr & MCR_LOOP) && u->count < uart_capacity(u);
}

void uart_receive(Uart *u, u8 byte) {
    if (!(u->mcr & MCR_LOOP)) uart_arrive(u, byte, false);
}

void uart_receive_break(Uart *u) {
    if (!(u->mcr & MCR_LOOP)) uart_arrive(u, 0, true);
}

void uart_on_ready(Uart *u, void (*ready)(void *self), void *self) {
    u->ready = ready;
    u->ready_self = self;
}
