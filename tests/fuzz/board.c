// SPDX-License-Identifier: MIT
// Everything a guest can do to the board: ports, memory of devices, PCI configuration with BARs over RAM
// and ROM, commands of each chip in plausible order, DMA to anywhere, guest code on top of it; and the
// world outside: keys, bytes, media, viewers.
//
// The input is a list of operations; each is a byte that chooses a row of board_ops[] and the bytes that
// the row's function takes.
// timeout: 600
#define _GNU_SOURCE
#include "guest.h"

#include "bus/device.h"
#include "cpu/cpu.h"
#include "cpu/mmu.h"
#include "dev/keys.h"
#include "dev/vga.h"

#include <stdlib.h>
#include <string.h>

enum { AT_GDT = 0x1000, AT_IDT = 0x2000, AT_HANDLER = 0x2800, AT_PRD = 0x3000, AT_CODE = 0x10000, AT_STACK = 0x20000,
       SEL_CODE = 8, SEL_DATA = 16, OPS_MAX = 400 };

typedef struct Board {
    Guest g;
    Bus *bus;
    FuzzIn *in;
    VgaFrame frame;
    VgaText text;
} Board;

// ---- small ones ---------------------------------------------------------------------------------
static void out(Board *b, u32 port, unsigned size, u32 value) {
    fuzz_say("out%u %04x, %x", size, port, value);
    bus_out(b->bus, (u16)port, size, value);
}

static u32 in(Board *b, u32 port, unsigned size) {
    u32 value = bus_in(b->bus, (u16)port, size);
    fuzz_say("in%u %04x -> %x", size, port, value);
    return value;
}

static unsigned size_of(FuzzIn *in) { return 1u << fuzz_u8(in) % 3; }

static u32 port_of(FuzzIn *in) {
    static const struct { u16 first; u8 count; } ranges[] = {
        { 0x00, 16 }, { 0x20, 2 }, { 0x40, 4 }, { 0x60, 5 }, { 0x70, 4 }, { 0x80, 16 }, { 0x92, 1 }, { 0xa0, 2 },
        { 0xb2, 2 }, { 0xc0, 32 }, { 0xf0, 2 }, { 0x170, 8 }, { 0x1ce, 2 }, { 0x1f0, 8 }, { 0x2f8, 8 }, { 0x376, 1 },
        { 0x3b0, 16 }, { 0x3c0, 32 }, { 0x3f0, 8 }, { 0x3f8, 8 }, { 0x402, 1 }, { 0x4d0, 2 }, { 0x501, 2 },
        { 0x510, 12 }, { 0x600, 64 }, { 0xcf8, 8 }, { 0xc000, 16 }, { 0x8900, 1 }, { 0xb000, 64 }, { 0xaf00, 48 },
    };
    u32 n = fuzz_pick(in, ARRAY_LEN(ranges) + 1);
    if (n == ARRAY_LEN(ranges)) return fuzz_u16(in);
    return ranges[n].first + fuzz_u8(in) % ranges[n].count;
}

static void op_out(Board *b) {
    u32 port = port_of(b->in);
    unsigned size = size_of(b->in);
    out(b, port, size, fuzz_u32(b->in));
}
static void op_out_byte(Board *b) {
    u32 port = port_of(b->in);
    out(b, port, 1, fuzz_u8(b->in));
}
static void op_in(Board *b) {
    u32 port = port_of(b->in);
    in(b, port, size_of(b->in));
}

// Many at a port, as REP INS and OUTS do.
static void op_in_many(Board *b) {
    u32 port = port_of(b->in), count = fuzz_u8(b->in) * 2;
    unsigned size = size_of(b->in);
    fuzz_say("in%u %04x, %u times", size, port, count);
    while (count--) bus_in(b->bus, (u16)port, size);
}
static void op_out_many(Board *b) {
    u32 port = port_of(b->in), count = fuzz_u8(b->in) * 2, value = fuzz_u32(b->in);
    unsigned size = size_of(b->in);
    fuzz_say("out%u %04x, %x.., %u times", size, port, value, count);
    while (count--) bus_out(b->bus, (u16)port, size, value = value * 5 + 1);
}

// ---- memory -------------------------------------------------------------------------------------
static void op_write(Board *b) {
    u32 at = guest_address(b->in), value = fuzz_u32(b->in);
    unsigned size = size_of(b->in);
    fuzz_say("write%u %08x, %x", size, at, value);
    bus_write(b->bus, phy(at), size, value);
}
static void op_read(Board *b) {
    u32 at = guest_address(b->in);
    unsigned size = size_of(b->in);
    fuzz_say("read%u %08x", size, at);
    bus_read(b->bus, phy(at), size);
}
static void op_dma(Board *b) {
    static u8 buffer[0x10000];
    u64 at = guest_address(b->in) | (u64)(fuzz_u8(b->in) == 0xff) << 32;
    u32 bytes = fuzz_u16(b->in);
    bool to_memory = fuzz_u8(b->in) & 1;
    fuzz_say("dma %s %llx, %x bytes", to_memory ? "to" : "from", (unsigned long long)at, bytes);
    if (to_memory) bus_dma_write(b->bus, phy(at), buffer, bytes);
    else bus_dma_read(b->bus, phy(at), buffer, bytes);
}
static void op_fill(Board *b) {
    u32 at = guest_address(b->in), count = fuzz_u8(b->in) & 63;
    fuzz_say("poke %08x, %u bytes", at, count);
    while (count--) bus_write(b->bus, phy(at++), 1, fuzz_u8(b->in));
}

// ---- PCI ----------------------------------------------------------------------------------------
static void pci_write(Board *b, u32 function, u32 reg, unsigned size, u32 value) {
    out(b, 0xcf8, 4, 0x80000000 | function << 8 | (reg & 0xfc));
    out(b, 0xcfc + (reg & 3), size, value);
}
static u32 pci_function(FuzzIn *in) {
    static const u16 there[] = { 0x00, 0x08, 0x09, 0x0b, 0x10, 0x0a, 0x18, 0x108 };
    return there[fuzz_pick(in, ARRAY_LEN(there))];
}
static void op_pci(Board *b) {
    u32 function = pci_function(b->in), reg = fuzz_u8(b->in);
    unsigned size = size_of(b->in);
    pci_write(b, function, reg, size, fuzz_u32(b->in));
}
static void op_bar(Board *b) {
    u32 function = pci_function(b->in), n = fuzz_pick(b->in, 7);
    u32 base = fuzz_u8(b->in) & 1 ? guest_address(b->in) : fuzz_u16(b->in);
    pci_write(b, function, n == 6 ? 0x30 : 0x10 + 4 * n, 4, base);
    pci_write(b, function, 4, 2, fuzz_u8(b->in) | 3);
}
// The host bridge's shadow RAM.
static void op_shadow(Board *b) { pci_write(b, 0, 0x58 + fuzz_u8(b->in) % 8, 1, fuzz_u8(b->in)); }

// ---- drives -------------------------------------------------------------------------------------
static u32 ide_base(u32 channel) { return channel ? 0x170 : 0x1f0; }

static void ide_settle(Board *b) { guest_wait(&b->g, 4000); }

static void ide_registers(Board *b, u32 base) {
    out(b, base + 6, 1, 0xa0 | (fuzz_u8(b->in) & 0x5f));
    for (u32 reg = 1; reg <= 5; reg++) out(b, base + reg, 1, fuzz_u8(b->in));
}
static void op_ide(Board *b) {
    static const u8 commands[] = {
        0xec, 0x20, 0x21, 0x30, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0x24, 0x25, 0x29, 0x34, 0x35, 0x39, 0x40, 0x42,
        0x70, 0x90,
        0x91, 0xe4, 0xe8, 0xef, 0xe7, 0xea, 0xa1, 0xa0, 0x08, 0xe0, 0xe6, 0x10, 0x27, 0xf8, 0x37, 0xf9, 0xb0,
        0xb1, 0x00,
    };
    u32 base = ide_base(fuzz_u8(b->in) & 1), n = fuzz_pick(b->in, ARRAY_LEN(commands) + 1);
    if (fuzz_u8(b->in) & 1) ide_registers(b, base);
    ide_registers(b, base);
    out(b, base + 7, 1, n == ARRAY_LEN(commands) ? fuzz_u8(b->in) : commands[n]);
    if (fuzz_u8(b->in) & 3) ide_settle(b);
}
static void op_ide_data(Board *b) {
    u32 base = ide_base(fuzz_u8(b->in) & 1), count = fuzz_u16(b->in) & 0x7ff;
    unsigned size = 1u << (1 + (fuzz_u8(b->in) & 1));
    bool write = fuzz_u8(b->in) & 1;
    fuzz_say("ide data %s, %u times %u", write ? "out" : "in", count, size);
    for (u32 i = 0; i < count; i++) {
        if (write) bus_out(b->bus, (u16)base, size, i * 0x01010101);
        else bus_in(b->bus, (u16)base, size);
        if (i % 256 == 255) ide_settle(b);
    }
}
static void op_packet(Board *b) {
    static const u8 commands[] = {
        0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0xa8, 0x2b, 0x42, 0x43, 0x44, 0x46, 0x4a, 0x4b, 0x4e,
        0x51, 0x52,
        0x55, 0x5a, 0xb9, 0xbd, 0xbe, 0xad, 0xbb, 0x35, 0x15, 0xa2, 0x01, 0x2f, 0x0b, 0xa5, 0x45, 0x47, 0x48,
    };
    u32 base = ide_base(1), n = fuzz_pick(b->in, ARRAY_LEN(commands) + 1);
    u8 packet[12];
    for (unsigned i = 0; i < sizeof packet; i++) packet[i] = fuzz_u8(b->in);
    if (n < ARRAY_LEN(commands)) packet[0] = commands[n];
    out(b, base + 6, 1, fuzz_u8(b->in) & 0x10);
    out(b, base + 1, 1, fuzz_u8(b->in) & 3);
    out(b, base + 4, 1, fuzz_u8(b->in));
    out(b, base + 5, 1, fuzz_u8(b->in) & 0x1f);
    out(b, base + 7, 1, 0xa0);
    ide_settle(b);
    for (unsigned i = 0; i < sizeof packet; i += 2) out(b, base, 2, get_le16(packet + i));
    ide_settle(b);
}
// A list of regions anywhere, then the engine is started or stopped.
static void op_bus_master(Board *b) {
    u32 channel = fuzz_u8(b->in) & 1, base = 0xc000 + 8 * channel, list = AT_PRD, count = fuzz_u8(b->in) & 7;
    if (fuzz_u8(b->in) & 1) pci_write(b, 0x09, 0x20, 4, 0xc001);
    pci_write(b, 0x09, 4, 2, fuzz_u8(b->in) | 5);
    if (fuzz_u8(b->in) % 8 == 7) list = guest_address(b->in);
    for (u32 i = 0; i < count; i++) {
        u32 at = guest_address(b->in), bytes = fuzz_u16(b->in) | (u32)(fuzz_u8(b->in) & 0x80) << 24;
        fuzz_say("region %08x, %08x", at, bytes);
        bus_write(b->bus, phy((u64)list + 8 * i), 4, at);
        bus_write(b->bus, phy((u64)list + 8 * i + 4), 4, bytes);
    }
    out(b, base + 4, 4, list);
    out(b, base + 2, 1, fuzz_u8(b->in));
    out(b, base, 1, fuzz_u8(b->in));
    ide_settle(b);
}
static void op_floppy(Board *b) {
    static const struct { u8 code, parameters; } commands[] = {
        { 0x03, 2 }, { 0x04, 1 }, { 0x07, 1 }, { 0x08, 0 }, { 0x0f, 2 }, { 0x46, 8 }, { 0x45, 8 }, { 0x4d, 5 },
        { 0x4a, 1 },
        { 0x42, 8 }, { 0x49, 8 }, { 0x4c, 8 }, { 0x51, 8 }, { 0x16, 8 }, { 0x10, 0 }, { 0x0e, 0 }, { 0x13, 3 },
        { 0x14, 0 },
        { 0x12, 1 }, { 0x8f, 2 }, { 0x33, 1 }, { 0x8e, 5 }, { 0x18, 0 },
    };
    u32 n = fuzz_pick(b->in, ARRAY_LEN(commands) + 1), mix = fuzz_u8(b->in);
    u8 code = n < ARRAY_LEN(commands) ? commands[n].code ^ (mix & 0xa0) : fuzz_u8(b->in);
    unsigned parameters = n < ARRAY_LEN(commands) ? commands[n].parameters : mix & 15;
    if (mix & 1) out(b, 0x3f2, 1, 0x1c | (mix >> 1 & 1));
    out(b, 0x3f5, 1, code);
    while (parameters--) out(b, 0x3f5, 1, fuzz_u8(b->in));
    guest_wait(&b->g, 1000u << (fuzz_u8(b->in) % 20));
    for (unsigned results = fuzz_u8(b->in) & 15; results; results--) in(b, 0x3f5, 1);
}
static void op_dma_channel(Board *b) {
    static const u8 page[8] = { 0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a };
    u32 channel = fuzz_u8(b->in) & 7, step = channel < 4 ? 1 : 2, base = channel < 4 ? 0 : 0xc0;
    out(b, base + 12 * step, 1, 0);
    out(b, base + 11 * step, 1, (fuzz_u8(b->in) & 0xfc) | (channel & 3));
    for (unsigned i = 0; i < 2; i++) out(b, base + 2 * (channel & 3) * step, 1, fuzz_u8(b->in));
    for (unsigned i = 0; i < 2; i++) out(b, base + (2 * (channel & 3) + 1) * step, 1, fuzz_u8(b->in));
    out(b, page[channel], 1, fuzz_u8(b->in));
    out(b, base + 10 * step, 1, channel & 3);
}

// ---- timers, lines, controllers -----------------------------------------------------------------
static void op_pit(Board *b) {
    u32 control = fuzz_u8(b->in);
    out(b, 0x43, 1, control);
    for (unsigned n = fuzz_u8(b->in) & 3; n; n--) out(b, 0x40 + (control >> 6 & 3), 1, fuzz_u8(b->in));
    if (control & 1) out(b, 0x61, 1, fuzz_u8(b->in));
    in(b, 0x40 + (fuzz_u8(b->in) & 3), 1);
}
static void op_pic(Board *b) {
    u32 base = fuzz_u8(b->in) & 1 ? 0xa0 : 0x20;
    out(b, base, 1, fuzz_u8(b->in));
    for (unsigned n = fuzz_u8(b->in) & 3; n; n--) out(b, base + 1, 1, fuzz_u8(b->in));
    if (fuzz_u8(b->in) & 1) in(b, base, 1);
}
static void op_rtc(Board *b) {
    out(b, 0x70, 1, fuzz_u8(b->in));
    if (fuzz_u8(b->in) & 1) out(b, 0x71, 1, fuzz_u8(b->in));
    else in(b, 0x71, 1);
}
static void op_keyboard(Board *b) {
    out(b, 0x64, 1, fuzz_u8(b->in));
    if (fuzz_u8(b->in) & 1) out(b, 0x60, 1, fuzz_u8(b->in));
    guest_wait(&b->g, 1u << (fuzz_u8(b->in) & 31));
    in(b, 0x60, 1);
}
static void op_uart(Board *b) {
    u32 base = fuzz_u8(b->in) & 1 ? 0x2f8 : 0x3f8, reg = fuzz_u8(b->in);
    if (reg & 8) in(b, base + (reg & 7), 1);
    else out(b, base + (reg & 7), 1, fuzz_u8(b->in));
}
static void op_apic(Board *b) {
    static const u16 registers[] = { 0x20, 0x80, 0xb0, 0xd0, 0xe0, 0xf0, 0x280, 0x300, 0x310, 0x320, 0x350, 0x360,
                                     0x370, 0x380, 0x390, 0x3e0 };
    u32 reg = registers[fuzz_pick(b->in, ARRAY_LEN(registers))], value = fuzz_u32(b->in);
    fuzz_say("apic %03x, %08x", reg, value);
    bus_write(b->bus, phy(0xfee00000 + reg), 4, value);
}
static void op_ioapic(Board *b) {
    u32 n = fuzz_u8(b->in) & 63, value = fuzz_u32(b->in);
    fuzz_say("ioapic %02x, %08x", n, value);
    bus_write(b->bus, phy(0xfec00000), 4, n);
    bus_write(b->bus, phy(0xfec00010), 4, value);
}
static void op_fwcfg(Board *b) {
    out(b, 0x510, 2, fuzz_u8(b->in) % 0x48);
    for (unsigned n = fuzz_u8(b->in) & 15; n; n--) in(b, 0x511, 1);
}
static void op_fwcfg_dma(Board *b) {
    u32 at = guest_address(b->in), request = fuzz_u8(b->in) % 8 ? AT_PRD : at;
    u32 words[4] = { (u32)fuzz_u8(b->in) << 16 | (fuzz_u8(b->in) & 0x1f), fuzz_u32(b->in), 0, at };
    if (fuzz_u8(b->in) & 1) words[1] &= 0xffff;
    for (unsigned i = 0; i < 4; i++) bus_write(b->bus, phy((u64)request + 4 * i), 4, __builtin_bswap32(words[i]));
    fuzz_say("fw_cfg request %08x, control %08x, %x bytes, %08x", request, words[0], words[1], at);
    out(b, 0x514, 4, __builtin_bswap32(fuzz_u8(b->in) == 0xff));
    out(b, 0x518, 4, __builtin_bswap32(request));
}
static void op_acpi(Board *b) {
    pci_write(b, 0x0b, 0x40, 4, 0xb001);
    pci_write(b, 0x0b, 0x80, 1, fuzz_u8(b->in) | 1);
    out(b, 0xb000 + (fuzz_u8(b->in) & 63), size_of(b->in), fuzz_u32(b->in));
    in(b, 0xb000 + (fuzz_u8(b->in) & 63), 4);
}

// ---- display ------------------------------------------------------------------------------------
static void op_vga(Board *b) {
    static const struct { u16 port; u8 registers; } sets[] = {
        { 0x3c4, 8 }, { 0x3ce, 9 }, { 0x3d4, 0x19 }, { 0x3b4, 0x19 },
    };
    u32 set = fuzz_pick(b->in, ARRAY_LEN(sets) + 2);
    if (set < ARRAY_LEN(sets)) {
        out(b, sets[set].port, 1, fuzz_u8(b->in) % (sets[set].registers + 1u));
        out(b, sets[set].port + 1u, 1, fuzz_u8(b->in));
    } else if (set == ARRAY_LEN(sets)) {
        in(b, 0x3da, 1);
        out(b, 0x3c0, 1, fuzz_u8(b->in) & 0x3f);
        out(b, 0x3c0, 1, fuzz_u8(b->in));
    } else {
        out(b, 0x3c2, 1, fuzz_u8(b->in));
    }
}
static void op_vbe(Board *b) {
    static const u16 values[] = {
        0, 1, 8, 640, 800, 1024, 1600, 2560, 2561, 0xffff, 0x41, 0xb0c5, 0x61, 15, 16, 24, 32, 4,
    };
    u32 n = fuzz_u8(b->in) % 12, v = fuzz_pick(b->in, ARRAY_LEN(values) + 1);
    out(b, 0x1ce, 2, n);
    out(b, 0x1cf, 2, v == ARRAY_LEN(values) ? fuzz_u16(b->in) : values[v]);
}
// A mode at once: size, depth, virtual size, offsets.
static void op_vbe_mode(Board *b) {
    static const u8 depths[] = { 4, 8, 15, 16, 24, 32 };
    u32 values[10] = { 0xb0c5, fuzz_u16(b->in) & 0xfff, fuzz_u16(b->in) & 0x7ff, depths[fuzz_pick(b->in, 6)],
                       0x01 | fuzz_u8(b->in), fuzz_u8(b->in), fuzz_u16(b->in), 0, fuzz_u16(b->in), fuzz_u16(b->in) };
    out(b, 0x1ce, 2, 4);
    out(b, 0x1cf, 2, 0);
    for (u32 n = 0; n < 10; n++) {
        out(b, 0x1ce, 2, n);
        out(b, 0x1cf, 2, values[n]);
    }
}
static void op_draw(Board *b) {
    bool changed = vga_render(b->g.m->pc->vga, &b->frame);
    fuzz_say("draw: %ux%u%s", b->frame.width, b->frame.height, changed ? "" : ", nothing new");
    vga_text(b->g.m->pc->vga, &b->text);
}

// ---- the processor ------------------------------------------------------------------------------
static CpuSeg flat(u32 selector, u32 access) {
    return (CpuSeg){ .limit = 0xffffffff, .selector = (u16)selector, .access = (u16)(0xc000 | access) };
}

// 32-bit flat code, CPL 0, no paging; each vector's handler acknowledges and returns.
static void set_cpu(Board *b, u32 eip, bool interrupts) {
    static const u8 handler[] = { 0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf };
    Cpu *cpu = b->g.m->cpu;
    for (u32 v = 0; v < 256; v++) {
        put_le32(guest_at(&b->g, AT_IDT + 8 * v), SEL_CODE << 16 | AT_HANDLER);
        put_le32(guest_at(&b->g, AT_IDT + 8 * v + 4), 0x8e00);
    }
    memcpy(guest_at(&b->g, AT_HANDLER), handler, sizeof handler);
    put_le64(guest_at(&b->g, AT_GDT + SEL_CODE), 0x00cf9b000000ffffull);
    put_le64(guest_at(&b->g, AT_GDT + SEL_DATA), 0x00cf93000000ffffull);
    cpu->gdtr = (CpuTable){ AT_GDT, 23 };
    cpu->idtr = (CpuTable){ AT_IDT, 0x7ff };
    for (unsigned s = 0; s < 6; s++) cpu->seg[s] = s == CPU_CS ? flat(SEL_CODE, 0x9b) : flat(SEL_DATA, 0x93);
    cpu->cr0 = 0x11;
    cpu->cr4 = 0x600;
    cpu->cpl = 0;
    cpu->halted = cpu->shutdown = cpu->inhibit_irq = cpu->inhibit_trap = false;
    cpu->fault = (CpuFault){ 0 };
    cpu->regs[CPU_ESP] = AT_STACK;
    cpu->eip = eip;
    cpu_set_eflags(cpu, interrupts ? 0x202 : 2, 0xffffffff);
    mmu_flush(cpu);
    cpu_update_mode(cpu);
}

static void run_at(Board *b, const u8 *code, u32 count, bool interrupts) {
    bus_dma_write(b->bus, phy(AT_CODE), code, count);
    set_cpu(b, AT_CODE, interrupts);
    guest_run(&b->g, 400);
}
// Interrupts that wait are taken.
static void op_idle(Board *b) {
    fuzz_say("idle");
    run_at(b, (const u8 *)"\xf4\xeb\xfd", 3, true);
}
// Code that accesses something, alone or in a loop.
static void op_run(Board *b) {
    u8 code[40];
    u32 count = fuzz_u8(b->in) & 31;
    Cpu *cpu = b->g.m->cpu;
    for (u32 i = 0; i < count; i++) code[i] = fuzz_u8(b->in);
    code[count] = 0xeb;
    code[count + 1] = fuzz_u8(b->in) & 1 ? (u8)-(int)(count + 2) : 0xfe;
    for (unsigned r = 0; r < 8; r++) cpu->regs[r] = guest_address(b->in);
    cpu->regs[CPU_ECX] &= 0x3ff;
    fuzz_say("run %u bytes, esi %08x edi %08x", count, cpu->regs[CPU_ESI], cpu->regs[CPU_EDI]);
    run_at(b, code, count + 2, fuzz_u8(b->in) & 1);
}
// An instruction that is made for memory of devices: strings, locked, wide, x87, SSE.
static void op_touch(Board *b) {
    static const char *const insns[] = {
        "\xf3\xa5", "\xf3\xa4", "\xf3\xab", "\xf3\xa7", "\xf2\xae", "\xf0\x0f\xc1\x07", "\xf0\x0f\xc7\x0f",
        "\xdd\x07",
        "\xdf\x3f", "\xdb\x3f", "\x0f\x28\x07", "\x0f\x29\x07", "\x0f\xae\x07", "\x0f\xae\x0f", "\xdd\x37",
        "\xdd\x27",
        "\x87\xfc\x60\x87\xfc", "\x87\xfc\x61\x87\xfc", "\xff\x27", "\xff\x17", "\x0f\xab\x07", "\x0f\x01\x17",
        "\x0f\xb2\x27", "\xff\x2f", "\xf3\x6d", "\xf3\x6f", "\xf3\x6c", "\x66\xf3\x6f", "\x0f\x6f\x07",
        "\x0f\x7f\x07",
        "\x87\xfc\xc8\x10\x00\x03", "\x66\xf3\xa5", "\xff\xe7", "\x0f\xf7\xc8", "\xfd\xf3\xa5",
        "\x01\x07\x83\x57\x04\x09",
    };
    const char *insn = insns[fuzz_pick(b->in, ARRAY_LEN(insns))];
    Cpu *cpu = b->g.m->cpu;
    u8 code[16];
    u32 count = (u32)strlen(insn);
    memcpy(code, insn, count);
    code[count] = 0xeb;
    code[count + 1] = (u8)-(int)(count + 2);
    cpu->regs[CPU_EDI] = guest_address(b->in);
    cpu->regs[CPU_ESI] = guest_address(b->in);
    cpu->regs[CPU_ECX] = fuzz_u16(b->in) & 0x3ff;
    cpu->regs[CPU_EDX] = port_of(b->in);
    cpu->regs[CPU_EAX] = fuzz_u32(b->in);
    fuzz_say("touch %02x%02x%02x, edi %08x esi %08x ecx %x edx %x", code[0], code[1], code[2], cpu->regs[CPU_EDI],
             cpu->regs[CPU_ESI], cpu->regs[CPU_ECX], cpu->regs[CPU_EDX]);
    run_at(b, code, count + 2, false);
}

// ---- the world outside --------------------------------------------------------------------------
static void op_wait(Board *b) {
    u64 ns = 1ull << (fuzz_u8(b->in) % 34);
    fuzz_say("wait %llu", (unsigned long long)ns);
    guest_wait(&b->g, ns);
}
static void op_reset(Board *b) {
    fuzz_say("reset");
    pc_reset(b->g.m->pc);
}
static void op_key(Board *b) {
    Kbd *kbd = b->g.m->pc->kbd;
    for (unsigned n = fuzz_u8(b->in) & 31; n; n--) {
        u32 code = fuzz_u16(b->in);
        i8 far = (i8)fuzz_u8(b->in), dz = (i8)fuzz_u8(b->in);
        if (code & 0x8000) kbd_mouse(kbd, far * (int)(code & 0xff), (int)fuzz_u32(b->in), dz, code & 31);
        else kbd_key(kbd, code & 0x4000 ? KBD_KEY_PAUSE : 1 + (code & 0x17f) % 0x17f, code >> 13 & 1);
    }
}
static void op_receive(Board *b) {
    Uart *u = b->g.m->pc->serial[fuzz_u8(b->in) & 1];
    for (unsigned n = fuzz_u8(b->in) & 31; n; n--) uart_receive(u, fuzz_u8(b->in));
    if (fuzz_u8(b->in) & 1) uart_receive_break(u);
}
static void op_medium(Board *b) {
    static const u8 bytes[4 * 2048] = "medium";
    Pc *pc = b->g.m->pc;
    u32 what = fuzz_u8(b->in), size = (u32)fuzz_u8(b->in) * 61;
    Disk *disk = disk_from_memory(bytes, size < sizeof bytes ? size : sizeof bytes), *old = NULL;
    fuzz_say("medium %u", what & 7);
    switch (what & 7) {
    case 0: case 1: old = fdc_insert(pc->fdc, what & 1, disk); disk = NULL; break;
    case 2: old = fdc_eject(pc->fdc, fuzz_u8(b->in) & 1); break;
    case 3: case 4: old = cd_insert(pc->cd[2 + (what & 1)], disk); disk = NULL; break;
    case 5: old = cd_eject(pc->cd[2 + (fuzz_u8(b->in) & 1)]); break;
    default: cd_press_eject(pc->cd[2 + (fuzz_u8(b->in) & 1)]);
    }
    disk_close(old);
    disk_close(disk);
}
// What the monitor shows of all devices (malloc'ed).
static char *state_text(Board *b) {
    char *names = NULL, *text = NULL;
    size_t names_bytes, text_bytes;
    FILE *f = open_memstream(&names, &names_bytes);
    device_list(b->bus, f);
    fclose(f);
    f = open_memstream(&text, &text_bytes);
    for (char *at = names, *name; (name = strsep(&at, "\n")) && *name;) device_info(b->bus, name, f);
    pci_info(b->g.m->pc->pci, f);
    fclose(f);
    free(names);
    return text;
}

static void state_differs(char *was, char *is) {
    for (char *a, *c; (a = strsep(&was, "\n")) && (c = strsep(&is, "\n"));)
        if (strcmp(a, c)) fuzz_say("< %s\n> %s", a, c);
    panic("a state that was saved and loaded has changed");
}

// Everything is shown, saved and loaded again: nothing of it must change.
static void op_state(Board *b) {
    char *saved = NULL, *err = NULL, *was = state_text(b);
    size_t bytes = 0;
    FILE *f = open_memstream(&saved, &bytes);
    require(device_save(b->bus, f, &err));
    fclose(f);
    f = fmemopen(saved, bytes, "r");
    require(device_load(b->bus, f, &err));
    fclose(f);
    char *is = state_text(b);
    fuzz_say("state %016llx", (unsigned long long)device_hash(b->bus));
    if (strcmp(was, is)) state_differs(was, is);
    free(saved);
    free(was);
    free(is);
}

typedef void BoardOp(Board *b);
static BoardOp *const board_ops[] = {
    op_out, op_out_byte, op_in, op_in_many, op_out_many, op_write, op_read, op_dma, op_fill, op_pci, op_bar,
    op_shadow,
    op_ide, op_ide_data, op_packet, op_bus_master, op_floppy, op_dma_channel, op_pit, op_pic, op_rtc,
    op_keyboard, op_uart,
    op_apic, op_ioapic, op_fwcfg, op_fwcfg_dma, op_acpi, op_vga, op_vbe, op_vbe_mode, op_draw, op_idle, op_run,
    op_touch,
    op_wait, op_reset, op_key, op_receive, op_medium, op_state,
};

static void board_run(FuzzIn *in) {
    Board b = { .in = in };
    guest_open(&b.g, &(JitOptions){ .restore = JIT_RESTORE_CHECK });
    b.bus = b.g.m->bus;
    for (unsigned n = 0; n < OPS_MAX && fuzz_more(in); n++) board_ops[fuzz_pick(in, ARRAY_LEN(board_ops))](&b);
    op_draw(&b);
    vga_frame_free(&b.frame);
    vga_text_free(&b.text);
    guest_close(&b.g);
}

const FuzzTarget fuzz_target = { "board", 4096, board_run, NULL };
