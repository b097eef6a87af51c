// SPDX-License-Identifier: MIT
// The local APIC of a single processor.
//
// Source: SDM 3A chapter 10 (xAPIC mode; no x2APIC, no TSC deadline, no CMCI).
//
// Invariants
//  1. Every change of state ends in lapic_update(), which drives the processor's INTR.
//  2. INTR is high while a vector of the IRR outranks the processor priority, or the PIC asks through
//     an unmasked ExtINT input. Vectors of this APIC are acknowledged before the PIC's.
//  3. Switched off by the APIC base register it is transparent: LINT0 is INTR.
//
// Out of reset LINT0 is an unmasked ExtINT, so that firmware which knows no APIC has its PIC; the
// manual has it masked, which such firmware's boards never leave so.
#include "dev/lapic.h"

#include <stdlib.h>

#define APIC_VERSION 0x00050014u           // six local vectors
#define APIC_BASE_ENABLE 0x800u

enum { REG_ID = 0x02, REG_VERSION = 0x03, REG_TPR = 0x08, REG_APR = 0x09, REG_PPR = 0x0a,
       REG_EOI = 0x0b, REG_LDR = 0x0d, REG_DFR = 0x0e, REG_SVR = 0x0f, REG_ISR = 0x10,
       REG_TMR = 0x18, REG_IRR = 0x20, REG_ESR = 0x28, REG_ICR_LOW = 0x30, REG_ICR_HIGH = 0x31,
       REG_LVT = 0x32, REG_TIMER_INIT = 0x38, REG_TIMER_NOW = 0x39, REG_TIMER_DIVIDE = 0x3e };
enum { LVT_TIMER, LVT_THERMAL, LVT_COUNTERS, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

#define SVR_ENABLED 0x100u
#define LVT_MASKED 0x10000u
#define LVT_LEVEL 0x8000u
#define LVT_REMOTE_IRR 0x4000u
#define LVT_PERIODIC 0x20000u
#define ESR_SEND_ILLEGAL 0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u
#define ESR_REGISTER 0x80u

struct Lapic {
    Bus *bus;
    u8 (*pic_ack)(void *self);
    void *pic_self;
    void (*eoi)(void *self, u8 vector);
    void *eoi_self;
    unsigned region;           // MMIO
    Timer *timer;

    u64 base;                  // as the base register has it
    u32 mapped_ppn;            // page we are seen at; 0: none
    u32 id;                    // bits 24-31
    u32 tpr, ldr, dfr, svr;
    u32 isr[8], tmr[8], irr[8];
    u32 esr, errors;           // as read; noted since the last write of ESR
    u32 icr[2];
    u32 lvt[LVT_COUNT];
    u32 timer_init, timer_divide;
    u64 timer_start_ns;        // when the count was timer_init
    u8 lint;                   // levels: bit 0 LINT0, 1 LINT1, 2 ExtINT from the I/O APIC
};

#define LVT_RESET LVT_MASKED
static const Field lapic_fields[] = {
    FIELD(Lapic, timer, FIELD_TIMER, 0),
    FIELD(Lapic, base, FIELD_UINT, 0),
    FIELD(Lapic, id, FIELD_UINT, 0),
    FIELD(Lapic, tpr, FIELD_UINT, 0),
    FIELD(Lapic, ldr, FIELD_UINT, 0),
    FIELD(Lapic, dfr, FIELD_UINT, 0xffffffff),
    FIELD(Lapic, svr, FIELD_UINT, 0xff),
    FIELD_ARRAY(Lapic, isr, FIELD_UINT, 0),
    FIELD_ARRAY(Lapic, tmr, FIELD_UINT, 0),
    FIELD_ARRAY(Lapic, irr, FIELD_UINT, 0),
    FIELD(Lapic, esr, FIELD_UINT, 0),
    FIELD(Lapic, errors, FIELD_UINT, 0),
    FIELD_ARRAY(Lapic, icr, FIELD_UINT, 0),
    FIELD_ARRAY(Lapic, lvt, FIELD_UINT, LVT_RESET),
    FIELD(Lapic, timer_init, FIELD_UINT, 0),
    FIELD(Lapic, timer_divide, FIELD_UINT, 0),
    FIELD(Lapic, timer_start_ns, FIELD_UINT, 0),
    FIELD(Lapic, lint, FIELD_UINT, 0),
};

// ---- vectors ------------------------------------------------------------------------------------
static bool bits_test(const u32 *map, u8 v) { return map[v >> 5] >> (v & 31) & 1; }

static void bits_put(u32 *map, u8 v, bool on) {
    u32 bit = 1u << (v & 31);
    map[v >> 5] = on ? map[v >> 5] | bit : map[v >> 5] & ~bit;
}

static int bits_highest(const u32 *map) {
    for (int i = 7; i >= 0; i--)
        if (map[i]) return 32 * i + 31 - __builtin_clz(map[i]);
    return -1;
}

static bool lapic_is_on(const Lapic *a) { return a->base & APIC_BASE_ENABLE; }

static u32 lapic_ppr(const Lapic *a) {
    int serving = bits_highest(a->isr);
    u32 class = serving < 0 ? 0 : (u32)serving & 0xf0;
    return (a->tpr & 0xf0) >= class ? a->tpr : class;
}

// The vector the processor would get now; -1: none.
static int lapic_pending(const Lapic *a) {
    int v = bits_highest(a->irr);
    return v >= 0 && ((u32)v & 0xf0) > (lapic_ppr(a) & 0xf0) ? v : -1;
}

static bool lapic_wants_pic(const Lapic *a) {
    u32 lint0 = a->lvt[LVT_LINT0];
    bool taken = !(lint0 & LVT_MASKED) && (lint0 >> 8 & 7) == APIC_EXTINT;
    return ((a->lint & 1) && taken) || (a->lint & 4);
}

static void lapic_update(Lapic *a) {
    if (!lapic_is_on(a)) bus_set_intr(a->bus, a->lint & 1);
    else bus_set_intr(a->bus, lapic_pending(a) >= 0 || lapic_wants_pic(a));
}

static void lapic_error(Lapic *a, u32 bits);

// The processor accepts a vector; from 0 to 15 is an error.
static void lapic_accept(Lapic *a, u8 vector, bool level) {
    if (vector < 16) {
        lapic_error(a, ESR_RECEIVE_ILLEGAL);
        return;
    }
    bits_put(a->irr, vector, true);
    bits_put(a->tmr, vector, level);
}

static void lapic_error(Lapic *a, u32 bits) {
    a->errors |= bits;
    u32 lvt = a->lvt[LVT_ERROR];
    if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16) lapic_accept(a, (u8)lvt, false);
}

static u8 lapic_int_ack(void *self) {
    Lapic *a = self;
    int v = lapic_is_on(a) ? lapic_pending(a) : -1;
    if (v >= 0) {
        bits_put(a->irr, (u8)v, false);
        bits_put(a->isr, (u8)v, true);
    } else if (!lapic_is_on(a) || lapic_wants_pic(a)) {
        return a->pic_ack(a->pic_self);
    } else {
        v = (int)(a->svr & 0xff);
    }
    lapic_update(a);
    return (u8)v;
}

static void lapic_eoi(Lapic *a) {
    int v = bits_highest(a->isr);
    if (v < 0) return;
    bits_put(a->isr, (u8)v, false);
    if (bits_test(a->tmr, (u8)v)) {
        for (unsigned i = LVT_LINT0; i <= LVT_LINT1; i++)
            if ((a->lvt[i] & 0xff) == (u32)v) a->lvt[i] &= ~LVT_REMOTE_IRR;
        if (a->eoi) a->eoi(a->eoi_self, (u8)v);
    }
}

// ---- messages -----------------------------------------------------------------------------------
static bool lapic_is_target(const Lapic *a, u8 dest, bool logical) {
    u8 own = (u8)(a->ldr >> 24);
    if (dest == 0xff) return true;
    if (!logical) return dest == a->id >> 24;
    if (a->dfr >> 28 == 0xf) return (own & dest) != 0;
    return own >> 4 == dest >> 4 && (own & dest & 15);
}

static bool lapic_receive(Lapic *a, const ApicMessage *m) {
    switch ((ApicMode)m->mode) {
    case APIC_FIXED: case APIC_LOWEST:
        if (!(a->svr & SVR_ENABLED)) return false;
        lapic_accept(a, m->vector, m->level);
        break;
    case APIC_NMI: bus_pulse_nmi(a->bus); break;
    default: log_guest_error(bus_log(a->bus), "lapic", "message of mode %u is dropped", m->mode);
    }
    lapic_update(a);
    return true;
}

bool lapic_deliver(Lapic *a, const ApicMessage *m) {
    return lapic_is_on(a) && lapic_is_target(a, m->dest, m->logical) && lapic_receive(a, m);
}

void lapic_on_eoi(Lapic *a, void (*eoi)(void *self, u8 vector), void *self) {
    a->eoi = eoi;
    a->eoi_self = self;
}

// Interprocessor interrupts can only come back to this processor. INIT and startup to oneself have
// no effect (SDM 3A 10.6.1: invalid combinations).
static void lapic_send(Lapic *a) {
    u32 low = a->icr[0], shorthand = low >> 18 & 3;
    ApicMessage m = { .dest = (u8)(a->icr[1] >> 24), .logical = low & 0x800, .mode = low >> 8 & 7,
                      .vector = (u8)low };
    bool to_us = shorthand == 1 || shorthand == 2
        || (shorthand == 0 && lapic_is_target(a, m.dest, m.logical));
    if (m.mode <= APIC_LOWEST && m.vector < 16) lapic_error(a, ESR_SEND_ILLEGAL);
    else if (to_us && m.mode != APIC_INIT && m.mode != APIC_STARTUP) lapic_receive(a, &m);
}

// ---- local interrupts ---------------------------------------------------------------------------
static void lapic_local(Lapic *a, unsigned n) {
    u32 lvt = a->lvt[n];
    if ((lvt & LVT_MASKED) || !lapic_is_on(a)) return;
    bool pin = n == LVT_LINT0 || n == LVT_LINT1, level = pin && (lvt & LVT_LEVEL);
    switch ((ApicMode)(lvt >> 8 & 7)) {
    case APIC_FIXED:
        if (level && (lvt & LVT_REMOTE_IRR)) return;
        if (level) a->lvt[n] |= LVT_REMOTE_IRR;
        lapic_accept(a, (u8)lvt, level);
        break;
    case APIC_NMI: bus_pulse_nmi(a->bus); break;
    default: break;                                       // ExtINT is looked at by lapic_update
    }
}

static void lapic_set_lint(void *self, unsigned n, bool level) {
    Lapic *a = self;
    u8 bit = (u8)(1u << n);
    bool rises = level && !(a->lint & bit);
    a->lint = (u8)((a->lint & ~bit) | (level ? bit : 0));
    if (n < 2 && (rises || (level && (a->lvt[LVT_LINT0 + n] & LVT_LEVEL))))
        lapic_local(a, LVT_LINT0 + n);
    lapic_update(a);
}

void lapic_counters(void *lapic) {
    lapic_local(lapic, LVT_COUNTERS);
    lapic_update(lapic);
}

Wire lapic_lint(Lapic *a, unsigned pin) { return (Wire){ lapic_set_lint, a, pin }; }

// ---- timer --------------------------------------------------------------------------------------
// Divide configuration: bits 3, 1, 0 are 2 4 8 .. 128, 1.
static unsigned timer_shift(const Lapic *a) {
    return (((a->timer_divide & 3) | (a->timer_divide >> 1 & 4)) + 1) & 7;
}

static u64 timer_period_ns(const Lapic *a) { return (u64)a->timer_init << timer_shift(a); }

// A count that has run out stays out, whatever becomes of the mode, until the next initial count.
static u32 timer_now(Lapic *a) {
    if (!bus_timer_armed(a->timer)) return 0;
    u64 passed = (bus_now_ns(a->bus) - a->timer_start_ns) >> timer_shift(a);
    if (a->lvt[LVT_TIMER] & LVT_PERIODIC) return a->timer_init - (u32)(passed % a->timer_init);
    return passed < a->timer_init ? a->timer_init - (u32)passed : 0;
}

static void timer_arm(Lapic *a) {
    if (a->timer_init) bus_timer_at(a->timer, a->timer_start_ns + timer_period_ns(a));
    else bus_timer_stop(a->timer);
}

// Periods that were missed altogether are lost, as the vector's one IRR bit would lose them.
static void timer_fire(void *self) {
    Lapic *a = self;
    lapic_local(a, LVT_TIMER);
    if (a->lvt[LVT_TIMER] & LVT_PERIODIC) {
        u64 period = timer_period_ns(a), late = bus_now_ns(a->bus) - a->timer_start_ns;
        a->timer_start_ns += late > period ? late - late % period : period;
        timer_arm(a);
    }
    lapic_update(a);
}

// A guest that looks at the timer or changes it sooner than the bus tells that it has run out: that
// comes first.
static void timer_catch_up(Lapic *a) {
    if (!bus_timer_armed(a->timer) || bus_now_ns(a->bus) < a->timer_start_ns + timer_period_ns(a)) return;
    bus_timer_stop(a->timer);
    timer_fire(a);
}

static void timer_start(Lapic *a) {
    a->timer_start_ns = bus_now_ns(a->bus);
    timer_arm(a);
}

// A new divider: the count goes on from where it is.
static void timer_set_divide(Lapic *a, u32 value) {
    u32 left = timer_now(a);
    a->timer_divide = value & 0xb;
    a->timer_start_ns = bus_now_ns(a->bus) - ((u64)(a->timer_init - left) << timer_shift(a));
    if (bus_timer_armed(a->timer)) timer_arm(a);
}

// ---- registers ----------------------------------------------------------------------------------
static u32 lapic_read_reg(Lapic *a, unsigned reg) {
    if (reg >= REG_ISR && reg < REG_ISR + 8) return a->isr[reg - REG_ISR];
    if (reg >= REG_TMR && reg < REG_TMR + 8) return a->tmr[reg - REG_TMR];
    if (reg >= REG_IRR && reg < REG_IRR + 8) return a->irr[reg - REG_IRR];
    if (reg >= REG_LVT && reg < REG_LVT + LVT_COUNT) return a->lvt[reg - REG_LVT];
    switch (reg) {
    case REG_ID: return a->id;
    case REG_VERSION: return APIC_VERSION;
    case REG_TPR: return a->tpr;
    case REG_APR: case REG_EOI: return 0;
    case REG_PPR: return lapic_ppr(a);
    case REG_LDR: return a->ldr;
    case REG_DFR: return a->dfr;
    case REG_SVR: return a->svr;
    case REG_ESR: return a->esr;
    case REG_ICR_LOW: case REG_ICR_HIGH: return a->icr[reg - REG_ICR_LOW];
    case REG_TIMER_INIT: return a->timer_init;
    case REG_TIMER_NOW: timer_catch_up(a); return timer_now(a);
    case REG_TIMER_DIVIDE: return a->timer_divide;
    }
    lapic_error(a, ESR_REGISTER);
    return 0;
}

static void lapic_write_lvt(Lapic *a, unsigned n, u32 value) {
    static const u32 writable[LVT_COUNT] = { 0x300ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff };
    if (n == LVT_TIMER) timer_catch_up(a);
    a->lvt[n] = (value & writable[n]) | (a->lvt[n] & LVT_REMOTE_IRR);
    if (!(a->svr & SVR_ENABLED)) a->lvt[n] |= LVT_MASKED;
    bool pin = n == LVT_LINT0 || n == LVT_LINT1;
    if (pin && (a->lint >> (n - LVT_LINT0) & 1) && (a->lvt[n] & LVT_LEVEL)) lapic_local(a, n);
}

static void lapic_write_svr(Lapic *a, u32 value) {
    a->svr = value & 0x3ff;
    for (unsigned i = 0; !(a->svr & SVR_ENABLED) && i < LVT_COUNT; i++) a->lvt[i] |= LVT_MASKED;
}

static void lapic_write_reg(Lapic *a, unsigned reg, u32 value) {
    if (reg >= REG_LVT && reg < REG_LVT + LVT_COUNT) {
        lapic_write_lvt(a, reg - REG_LVT, value);
        return;
    }
    switch (reg) {
    case REG_ID: a->id = value & 0xff000000; break;
    case REG_TPR: a->tpr = value & 0xff; break;
    case REG_EOI: lapic_eoi(a); break;
    case REG_LDR: a->ldr = value & 0xff000000; break;
    case REG_DFR: a->dfr = value | 0x0fffffff; break;
    case REG_SVR: lapic_write_svr(a, value); break;
    case REG_ESR: a->esr = a->errors; a->errors = 0; break;
    case REG_ICR_LOW: a->icr[0] = value & 0xccfff; lapic_send(a); break;
    case REG_ICR_HIGH: a->icr[1] = value & 0xff000000; break;
    case REG_TIMER_INIT: timer_catch_up(a); a->timer_init = value; timer_start(a); break;
    case REG_TIMER_DIVIDE: timer_catch_up(a); timer_set_divide(a, value); break;
    case REG_VERSION: case REG_APR: case REG_PPR: case REG_TIMER_NOW: break;
    default:
        if (reg < REG_ISR || reg >= REG_IRR + 8) lapic_error(a, ESR_REGISTER);
    }
}

// Registers are 32 bits wide and 16 bytes apart; narrower reads get their part.
static u32 lapic_read(void *self, u32 offset, unsigned size_bytes) {
    (void)size_bytes;
    if ((offset & 15) >= 4) return 0;
    return lapic_read_reg(self, offset >> 4) >> (8 * (offset & 3));
}

static void lapic_write(void *self, u32 offset, unsigned size_bytes, u32 value) {
    Lapic *a = self;
    if (size_bytes != 4 || (offset & 15)) {
        log_guest_error(bus_log(a->bus), "lapic", "write of %u bytes at %03x is ignored", size_bytes,
                        offset);
        return;
    }
    lapic_write_reg(a, offset >> 4, value);
    lapic_update(a);
}

// ---- life ---------------------------------------------------------------------------------------
// The page shows where nothing else is mapped: an APIC on top of RAM or ROM stays invisible.
static void lapic_map(Lapic *a) {
    u32 ppn = lapic_is_on(a) && !(a->base >> 32) ? (u32)a->base >> PAGE_SHIFT : 0;
    if (ppn == a->mapped_ppn) return;
    if (a->mapped_ppn) bus_map_none(a->bus, a->mapped_ppn, 1);
    a->mapped_ppn = 0;
    if (!ppn) return;
    if (bus_page(a->bus, ppn)->kind != BUS_PAGE_NONE) {
        log_guest_error(bus_log(a->bus), "lapic", "base %08x is in use", ppn << PAGE_SHIFT);
        return;
    }
    bus_map_mmio(a->bus, ppn, 1, a->region, 0);
    a->mapped_ppn = ppn;
}

void lapic_set_base(void *lapic, u64 base) {
    Lapic *a = lapic;
    a->base = base;
    lapic_map(a);
    lapic_update(a);
}

static void lapic_reset(void *self) {
    Lapic *a = self;
    a->lvt[LVT_LINT0] = APIC_EXTINT << 8;
    lapic_map(a);
    lapic_update(a);
}

static void lapic_loaded(void *self) {
    lapic_map(self);
    lapic_update(self);
}

static const DeviceClass lapic_class = {
    "lapic", lapic_fields, ARRAY_LEN(lapic_fields), lapic_reset, lapic_loaded, NULL,
};

Lapic *lapic_new(Bus *bus, u8 (*ack)(void *self), void *self) {
    Lapic *a = mem_new(sizeof *a);
    a->bus = bus;
    a->pic_ack = ack;
    a->pic_self = self;
    a->dfr = 0xffffffff;
    a->svr = 0xff;
    for (unsigned i = 0; i < LVT_COUNT; i++) a->lvt[i] = LVT_RESET;
    a->lvt[LVT_LINT0] = APIC_EXTINT << 8;
    a->timer = bus_timer_new(bus, "lapic", timer_fire, a);
    bus_timer_set_patient(a->timer);
    a->region = bus_add_mmio(bus, &(BusMmio){ "lapic", a, lapic_read, lapic_write });
    bus_connect_int_ack(bus, lapic_int_ack, a);
    device_add(bus, &lapic_class, NULL, a);
    return a;
}

void lapic_free(Lapic *a) { free(a); }
