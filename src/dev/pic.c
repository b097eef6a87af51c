// SPDX-License-Identifier: MIT
// The pair of 8259A interrupt controllers.
//
// Sources: Intel 8259A datasheet (231468); Intel 82371FB/SB (PIIX/PIIX3) datasheet, the sections on
// the interrupt controller's registers and on the edge/level control registers.
//
// Invariants
//  1. chip_pending() is the one place that knows priorities; INT, the acknowledge cycle and the
//     poll command all ask it.
//  2. Every change of state ends in pic_update(), which carries the second chip's INT to IR2 of the
//     first and the first's INT to the processor.
//  3. Before the first ICW1 a chip asks for nothing: reset masks every line. (The datasheet leaves the state
//     undefined; code that runs before any firmware may set IF while the timer ticks.)
//  4. A request bit is: level mode, the line; edge mode, a latch set by a rising line and cleared
//     by a falling line, by the acknowledgement and by ICW1.
//
// As in the PIIX the cascade is hard-wired (ICW3 is accepted and ignored), LTIM of ICW1 is replaced
// by the ELCR, and the buffered and 8080 modes do not exist.
#include "dev/pic.h"

#include <stdlib.h>

enum { PIC_MASTER, PIC_SLAVE, PIC_CASCADE_LEVEL = 2 };
enum { ICW1_ICW4 = 1, ICW1_SINGLE = 2, ICW1_LEVEL = 8, ICW1_INIT = 0x10 };
enum { ICW4_8086 = 1, ICW4_AUTO_EOI = 2, ICW4_FULLY_NESTED = 0x10 };

typedef struct PicChip {
    u8 lines;                  // levels at IR0-7
    u8 latch;                  // requests of edge-triggered lines
    u8 elcr;                   // 1: level-triggered
    u8 imr;                    // 1: masked
    u8 isr;                    // in service
    u8 lowest;                 // level of lowest priority, 0-7
    u8 base;                   // vector of level 0
    u8 icw1, icw4;             // as written; icw4 is 0 when ICW1 announced none
    u8 next_icw;               // 2, 3, 4: expected at the odd port; 0: initialised
    bool read_isr;             // the even port reads ISR, not IRR
    bool poll;                 // the next read is a poll
    bool special_mask;
    bool rotate_auto;          // rotate in automatic EOI mode
} PicChip;

struct Pic {
    Bus *bus;
    Wire intr;
    PicChip chip[2];           // PIC_MASTER, PIC_SLAVE
};

#define PIC_CHIP_FIELDS(n, elcr_reset) \
    FIELD(Pic, chip[n].lines, FIELD_UINT, 0), \
    FIELD(Pic, chip[n].latch, FIELD_UINT, 0), \
    FIELD(Pic, chip[n].elcr, FIELD_UINT, elcr_reset), \
    FIELD(Pic, chip[n].imr, FIELD_UINT, 0xff), \
    FIELD(Pic, chip[n].isr, FIELD_UINT, 0), \
    FIELD(Pic, chip[n].lowest, FIELD_UINT, 7), \
    FIELD(Pic, chip[n].base, FIELD_UINT, 0), \
    FIELD(Pic, chip[n].icw1, FIELD_UINT, 0), \
    FIELD(Pic, chip[n].icw4, FIELD_UINT, 0), \
    FIELD(Pic, chip[n].next_icw, FIELD_UINT, 0), \
    FIELD(Pic, chip[n].read_isr, FIELD_BOOL, 0), \
    FIELD(Pic, chip[n].poll, FIELD_BOOL, 0), \
    FIELD(Pic, chip[n].special_mask, FIELD_BOOL, 0), \
    FIELD(Pic, chip[n].rotate_auto, FIELD_BOOL, 0)

static const Field pic_fields[] = { PIC_CHIP_FIELDS(0, 0), PIC_CHIP_FIELDS(1, 0) };
#undef PIC_CHIP_FIELDS

// ---- one chip -----------------------------------------------------------------------------------
static u8 chip_irr(const PicChip *c) { return c->latch | (c->lines & c->elcr); }

// The level that the chip asks for now, -1: none. In special mask mode levels in service that are
// masked do not hold back lower ones; in special fully nested mode the master lets the slave's
// level interrupt itself.
static int chip_pending(const PicChip *c, bool master) {
    u8 wanted = chip_irr(c) & (u8)~c->imr;
    if (!wanted) return -1;
    u8 serving = c->special_mask ? c->isr & (u8)~c->imr : c->isr;
    for (unsigned i = 1; i <= 8; i++) {
        unsigned level = (c->lowest + i) & 7;
        bool nests = master && level == PIC_CASCADE_LEVEL && (c->icw4 & ICW4_FULLY_NESTED);
        bool held = serving >> level & 1;
        if ((wanted >> level & 1) && (!held || nests)) return (int)level;
        if (held) return -1;
    }
    return -1;
}

static void chip_set_line(PicChip *c, unsigned level, bool high) {
    u8 bit = (u8)BIT(level);
    if (high && !(c->lines & bit)) {
        c->lines |= bit;
        if (!(c->elcr & bit)) c->latch |= bit;
    } else if (!high) {
        c->lines &= (u8)~bit;
        c->latch &= (u8)~bit;
    }
}

// An acknowledge pulse: the level that is now in service. A request that went away in between is
// answered as level 7 without entering service (datasheet, "Interrupt sequence").
static unsigned chip_acknowledge(PicChip *c, bool master, bool *spurious) {
    int level = chip_pending(c, master);
    *spurious = level < 0;
    if (level < 0) return 7;
    c->latch &= (u8)~BIT(level);
    if (!(c->icw4 & ICW4_AUTO_EOI)) c->isr |= (u8)BIT(level);
    else if (c->rotate_auto) c->lowest = (u8)level;
    return (unsigned)level;
}

// The level in service of highest priority, as a non-specific EOI finds it; -1: none.
static int chip_serving(const PicChip *c) {
    u8 serving = c->special_mask ? c->isr & (u8)~c->imr : c->isr;
    for (unsigned i = 1; i <= 8; i++) {
        unsigned level = (c->lowest + i) & 7;
        if (serving >> level & 1) return (int)level;
    }
    return -1;
}

// ---- the pair -----------------------------------------------------------------------------------
static void pic_update(Pic *pic) {
    PicChip *master = &pic->chip[PIC_MASTER];
    chip_set_line(master, PIC_CASCADE_LEVEL, chip_pending(&pic->chip[PIC_SLAVE], false) >= 0);
    wire_set(&pic->intr, chip_pending(master, true) >= 0);
}

// Acknowledges one chip. The slave's INT falls with it, so that its next request is an edge again.
static unsigned pic_acknowledge(Pic *pic, unsigned n, bool *spurious) {
    unsigned level = chip_acknowledge(&pic->chip[n], n == PIC_MASTER, spurious);
    if (n == PIC_SLAVE) chip_set_line(&pic->chip[PIC_MASTER], PIC_CASCADE_LEVEL, false);
    return level;
}

u8 pic_int_ack(void *self) {
    Pic *pic = self;
    bool spurious;
    unsigned n = PIC_MASTER, level = pic_acknowledge(pic, PIC_MASTER, &spurious);
    if (level == PIC_CASCADE_LEVEL) {
        n = PIC_SLAVE;
        level = pic_acknowledge(pic, PIC_SLAVE, &spurious);
    }
    if (spurious && log_on(bus_log(pic->bus), LOG(IRQ)))
        log_printf(bus_log(pic->bus), "pic: spurious IRQ%u\n", n * 8 + level);
    pic_update(pic);
    return (u8)(pic->chip[n].base + level);
}

static void pic_set_irq(void *self, unsigned irq, bool level) {
    Pic *pic = self;
    PicChip *c = &pic->chip[irq >> 3];
    if ((c->lines >> (irq & 7) & 1) == level) return;
    if (log_on(bus_log(pic->bus), LOG(IRQ)))
        log_printf(bus_log(pic->bus), "pic: IRQ%u %s\n", irq, level ? "high" : "low");
    chip_set_line(c, irq & 7, level);
    pic_update(pic);
}

Wire pic_irq(Pic *pic, unsigned irq) {
    require(irq < 16);
    return (Wire){ pic_set_irq, pic, irq == PIC_CASCADE_LEVEL ? 9 : irq };
}

// ---- registers ----------------------------------------------------------------------------------
// Datasheet, "Initialization command words": clears IMR and the edge latches, level 7 gets lowest
// priority, special mask mode ends, reads give IRR.
static void pic_write_icw1(Pic *pic, PicChip *c, u8 value) {
    u8 lines = c->lines, elcr = c->elcr, base = c->base;
    *c = (PicChip){ .lines = lines, .elcr = elcr, .base = base, .lowest = 7, .icw1 = value,
                    .next_icw = 2 };
    if (value & ICW1_LEVEL)
        log_guest_error(bus_log(pic->bus), "pic", "ICW1 %02x: LTIM has no effect here", value);
}

static void pic_write_next_icw(Pic *pic, PicChip *c, u8 value) {
    unsigned now = c->next_icw;
    c->next_icw = now == 2 && !(c->icw1 & ICW1_SINGLE) ? 3
        : now < 4 && (c->icw1 & ICW1_ICW4) ? 4 : 0;
    if (now == 2) c->base = value & 0xf8;
    if (now != 4) return;
    c->icw4 = value;
    if (!(value & ICW4_8086))
        log_guest_error(bus_log(pic->bus), "pic", "ICW4 %02x: 8080 mode does not exist", value);
}

// R SL EOI of OCW2: end of interrupt, rotation, set priority.
static void pic_write_ocw2(PicChip *c, u8 value) {
    bool rotate = value & 0x80, specific = value & 0x40, eoi = value & 0x20;
    if (!eoi && !specific) {
        c->rotate_auto = rotate;
        return;
    }
    int level = specific ? value & 7 : chip_serving(c);
    if (level < 0) return;
    if (eoi) c->isr &= (u8)~BIT(level);
    if (rotate) c->lowest = (u8)level;
}

static void pic_write_ocw3(PicChip *c, u8 value) {
    if (value & 0x40) c->special_mask = value & 0x20;
    if (value & 2) c->read_isr = value & 1;
    c->poll = value & 4;
}

static void pic_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    Pic *pic = self;
    PicChip *c = &pic->chip[port >> 7 & 1];
    u8 byte = (u8)value;
    if (port & 1) {
        if (c->next_icw) pic_write_next_icw(pic, c, byte);
        else c->imr = byte;
    } else if (byte & ICW1_INIT) {
        pic_write_icw1(pic, c, byte);
    } else if (byte & 8) {
        pic_write_ocw3(c, byte);
    } else {
        pic_write_ocw2(c, byte);
    }
    pic_update(pic);
}

// A poll is an acknowledge pulse given by a read: bit 7 says whether there was a request.
static u8 pic_poll(Pic *pic, unsigned n) {
    bool spurious;
    pic->chip[n].poll = false;
    unsigned level = pic_acknowledge(pic, n, &spurious);
    pic_update(pic);
    return (u8)(spurious ? level : 0x80 | level);
}

static u32 pic_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    Pic *pic = self;
    unsigned n = port >> 7 & 1;
    const PicChip *c = &pic->chip[n];
    if (c->poll) return pic_poll(pic, n);
    if (port & 1) return c->imr;
    return c->read_isr ? c->isr : chip_irr(c);
}

// IRQ 0, 1, 2, 8 and 13 are always edges.
static void pic_elcr_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    Pic *pic = self;
    PicChip *c = &pic->chip[port & 1];
    c->elcr = (u8)value & (port & 1 ? 0xde : 0xf8);
    c->latch &= (u8)~c->elcr;
    pic_update(pic);
}

static u32 pic_elcr_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    return ((Pic *)self)->chip[port & 1].elcr;
}

// ---- life ---------------------------------------------------------------------------------------
static void pic_loaded(void *self) { pic_update(self); }

static void pic_info(void *self, FILE *out) {
    const Pic *pic = self;
    for (unsigned n = 0; n < 2; n++) {
        const PicChip *c = &pic->chip[n];
        fprintf(out, "pic%u: irr=%02x imr=%02x isr=%02x hprio=%d irq_base=%02x rr_sel=%d elcr=%02x"
                " fnm=%d\n", n, chip_irr(c), c->imr, c->isr, (c->lowest + 1) & 7, c->base,
                c->read_isr, c->elcr, (c->icw4 & ICW4_FULLY_NESTED) != 0);
    }
}

static const DeviceClass pic_class = {
    "pic", pic_fields, ARRAY_LEN(pic_fields), pic_loaded, pic_loaded, pic_info,
};

static void pic_set_intr(void *self, unsigned n, bool level) {
    (void)n;
    bus_set_intr(((Pic *)self)->bus, level);
}

void pic_set_output(Pic *pic, Wire intr) { pic->intr = intr; }

Pic *pic_new(Bus *bus) {
    Pic *pic = mem_new(sizeof(Pic));
    pic->bus = bus;
    pic->intr = (Wire){ pic_set_intr, pic, 0 };
    pic->chip[PIC_MASTER].lowest = pic->chip[PIC_SLAVE].lowest = 7;
    BusPort chip = { "pic", pic, 1, pic_in, pic_out };
    BusPort elcr = { "elcr", pic, 1, pic_elcr_in, pic_elcr_out };
    bus_map_ports(bus, 0x20, 2, &chip);
    bus_map_ports(bus, 0xa0, 2, &chip);
    bus_map_ports(bus, 0x4d0, 2, &elcr);
    bus_connect_int_ack(bus, pic_int_ack, pic);
    device_add(bus, &pic_class, NULL, pic);
    return pic;
}

void pic_free(Pic *pic) { free(pic); }
