// SPDX-License-Identifier: MIT
// PCI configuration space (PCI Local Bus Specification 2.1, chapters 3 and 6).
//
// Rules
//  1. A function's 256 bytes plus two masks say everything: `writable` bits take what is written,
//     `clears` bits are cleared where a one is written, the rest stays.
//  2. BAR sizing needs no code of its own: bits below a BAR's size are not writable.
//  3. `mapped` holds what the owner was last told; pci_update_bars() tells it of differences only.
//  4. A PIRQ line is the OR of all INTx# pins routed to it.
#include "dev/pci.h"

#include "bus/device.h"
#include <stdlib.h>
#include <string.h>

#define SLOTS 32u
#define FUNCTIONS 8u
#define BARS 6u
#define NOT_MAPPED 0xffffffffu

struct PciFn {
    PciBus *bus;
    const char *name;
    u8 device, function;
    u8 config[256];
    u8 initial[256];           // config after reset
    u8 writable[256];
    u8 clears[256];
    PciBar bars[BARS];
    u32 mapped[BARS];          // base the owner knows; NOT_MAPPED: none
    bool irq;                  // level of INTx#
    void (*written)(void *self, unsigned reg, unsigned bytes);
    void *written_self;
};

struct PciBus {
    Bus *bus;
    PciFn *functions[SLOTS * FUNCTIONS];
    u32 address;               // 0xcf8
    void (*pirq_set)(void *self, unsigned n, bool level);
    void *pirq_self;
};

static const Field pci_fields[] = { FIELD(PciBus, address, FIELD_UINT, 0) };
static const DeviceClass pci_class = { "pci", pci_fields, 1, NULL, NULL, NULL };

static const Field pci_fn_fields[] = {
    FIELD_ARRAY(PciFn, config, FIELD_BYTES, 0),
    FIELD(PciFn, irq, FIELD_BOOL, 0),
};

static u32 pci_load(const u8 *p, unsigned bytes) {
    u32 v = 0;
    for (unsigned i = 0; i < bytes; i++) v |= (u32)p[i] << (8 * i);
    return v;
}

static void pci_store(u8 *p, unsigned bytes, u32 value) {
    for (unsigned i = 0; i < bytes; i++) p[i] = (u8)(value >> (8 * i));
}

// Swizzling of the i440FX boards: slot 1's INTA# is PIRQA#, each slot shifts by one.
static unsigned pci_pirq(const PciFn *fn) {
    unsigned pin = fn->config[PCI_IRQ_LINE + 1];
    return (pin - 1 + fn->device + 3) & 3;
}

static void pci_update_pirq(PciBus *p, unsigned n) {
    bool level = false;
    for (unsigned i = 0; i < ARRAY_LEN(p->functions); i++) {
        PciFn *fn = p->functions[i];
        if (fn && fn->irq && pci_pirq(fn) == n) level = true;
    }
    if (p->pirq_set) p->pirq_set(p->pirq_self, n, level);
}

void pci_set_irq(PciFn *fn, bool level) {
    if (fn->irq == level || !fn->config[PCI_IRQ_LINE + 1]) return;
    fn->irq = level;
    pci_update_pirq(fn->bus, pci_pirq(fn));
}

// Where the BAR decodes now, or NOT_MAPPED.
static u32 pci_bar_base(const PciFn *fn, unsigned n) {
    const PciBar *bar = &fn->bars[n];
    bool io = bar->flags & PCI_BAR_IO;
    u32 enable = io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    if (!bar->bytes || !(fn->config[PCI_COMMAND] & enable)) return NOT_MAPPED;
    u32 base = pci_load(fn->config + PCI_BAR0 + 4 * n, 4) & ~(bar->bytes - 1);
    u64 end = (u64)base + bar->bytes;
    // Zero and the value seen while a BAR is sized are no addresses; RAM is the host bridge's.
    if (!base || end > (io ? 0x10000u : 0xfffc0000u)) return NOT_MAPPED;
    if (!io && base < bus_ram_bytes(fn->bus->bus)) return NOT_MAPPED;
    return base;
}

static void pci_update_bars(PciFn *fn) {
    for (unsigned n = 0; n < BARS; n++) {
        u32 base = pci_bar_base(fn, n);
        if (base == fn->mapped[n]) continue;
        PciBar *bar = &fn->bars[n];
        if (fn->mapped[n] != NOT_MAPPED) bar->map(bar->self, fn->mapped[n], false);
        fn->mapped[n] = base;
        if (base != NOT_MAPPED) bar->map(bar->self, base, true);
    }
}

static void pci_settle(PciFn *fn, unsigned reg, unsigned bytes) {
    if (reg < PCI_BAR0 + 4 * BARS) pci_update_bars(fn);
    if (fn->written) fn->written(fn->written_self, reg, bytes);
}

static void pci_fn_reset(void *self) {
    PciFn *fn = self;
    memcpy(fn->config, fn->initial, sizeof(fn->config));
    pci_settle(fn, 0, sizeof(fn->config));
    if (fn->config[PCI_IRQ_LINE + 1]) pci_update_pirq(fn->bus, pci_pirq(fn));
}

static void pci_fn_loaded(void *self) {
    PciFn *fn = self;
    pci_settle(fn, 0, sizeof(fn->config));
    if (fn->config[PCI_IRQ_LINE + 1]) pci_update_pirq(fn->bus, pci_pirq(fn));
}

static const char *pci_class_name(u32 class_code) {
    static const struct { u16 code; const char *name; } names[] = {
        { 0x0101, "IDE controller" }, { 0x0200, "Ethernet controller" },
        { 0x0300, "VGA controller" }, { 0x0600, "Host bridge" }, { 0x0601, "ISA bridge" },
        { 0x0680, "Bridge" }, { 0x0c03, "USB controller" },
    };
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].code == class_code) return names[i].name;
    return "Device";
}

static void pci_info_bar(const PciFn *fn, unsigned n, FILE *out) {
    const PciBar *bar = &fn->bars[n];
    u32 base = pci_load(fn->config + PCI_BAR0 + 4 * n, 4) & ~(bar->bytes - 1);
    const char *off = fn->mapped[n] == NOT_MAPPED ? ", not decoded" : "";
    if (bar->flags & PCI_BAR_IO)
        fprintf(out, "      BAR%u: I/O at 0x%04x [0x%04x]%s.\n", n, base,
                base + bar->bytes - 1, off);
    else
        fprintf(out, "      BAR%u: 32 bit %smemory at 0x%08x [0x%08x]%s.\n", n,
                bar->flags & PCI_BAR_PREFETCH ? "prefetchable " : "", base,
                base + bar->bytes - 1, off);
}

static void pci_fn_info(void *self, FILE *out) {
    const PciFn *fn = self;
    unsigned pin = fn->config[PCI_IRQ_LINE + 1];
    fprintf(out, "  Bus  0, device %3u, function %u:\n    %s: PCI device %04x:%04x\n", fn->device,
            fn->function, pci_class_name(pci_get(fn, PCI_CLASS + 2, 2)), pci_get(fn, 0, 2),
            pci_get(fn, 2, 2));
    fprintf(out, "      PCI subsystem %04x:%04x\n", pci_get(fn, 0x2c, 2), pci_get(fn, 0x2e, 2));
    if (pin) fprintf(out, "      IRQ %u, pin %c\n", fn->config[PCI_IRQ_LINE], '@' + pin);
    for (unsigned n = 0; n < BARS; n++)
        if (fn->bars[n].bytes) pci_info_bar(fn, n, out);
    fprintf(out, "      id \"%s\"\n", fn->name);
}

void pci_info(const PciBus *p, FILE *out) {
    for (unsigned i = 0; i < ARRAY_LEN(p->functions); i++)
        if (p->functions[i]) pci_fn_info(p->functions[i], out);
}

static const DeviceClass pci_fn_class = {
    "pcifn", pci_fn_fields, ARRAY_LEN(pci_fn_fields), pci_fn_reset, pci_fn_loaded, pci_fn_info,
};

static void pci_fn_write(PciFn *fn, unsigned reg, unsigned bytes, u32 value) {
    for (unsigned i = 0; i < bytes; i++) {
        u8 v = (u8)(value >> (8 * i)), *c = &fn->config[reg + i];
        u8 w = fn->writable[reg + i];
        *c = (u8)((*c & ~w) | (v & w));
        *c &= (u8)~(v & fn->clears[reg + i]);
    }
    pci_settle(fn, reg, bytes);
}

// ---- configuration mechanism #1 -----------------------------------------------------------------

// The function 0xcf8 points at, or NULL (disabled, another bus, nobody there).
static PciFn *pci_selected(PciBus *p) {
    if ((p->address & 0xff000000u) != 0x80000000u || bits(p->address, 16, 8)) return NULL;
    return p->functions[bits(p->address, 8, 8)];
}

static u32 pci_in_data(void *self, u16 port, unsigned size_bytes) {
    PciBus *p = self;
    PciFn *fn = pci_selected(p);
    unsigned reg = (p->address & 0xfc) | (port & 3);
    if (!fn || (port & 3u) + size_bytes > 4) return trunc_size(0xffffffffu, size_bytes);
    return pci_load(fn->config + reg, size_bytes);
}

static void pci_out_data(void *self, u16 port, unsigned size_bytes, u32 value) {
    PciBus *p = self;
    PciFn *fn = pci_selected(p);
    unsigned reg = (p->address & 0xfc) | (port & 3);
    if (fn && (port & 3u) + size_bytes <= 4) pci_fn_write(fn, reg, size_bytes, value);
}

static u32 pci_in_address(void *self, u16 port, unsigned size_bytes) {
    (void)port;
    PciBus *p = self;
    return size_bytes == 4 ? p->address : trunc_size(0xffffffffu, size_bytes);
}

// Only a doubleword reaches the address register; smaller accesses are ordinary ports (0xcf9).
static void pci_out_address(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)port;
    PciBus *p = self;
    if (size_bytes == 4) p->address = value & 0x80fffffc;
}

PciBus *pci_new(Bus *bus) {
    PciBus *p = mem_new(sizeof(*p));
    p->bus = bus;
    device_add(bus, &pci_class, NULL, p);
    BusPort address = { "pci-address", p, 1 | 4, pci_in_address, pci_out_address };
    bus_map_ports(bus, 0xcf8, 1, &address);
    BusPort data = { "pci-data", p, 1 | 2 | 4, pci_in_data, pci_out_data };
    bus_map_ports(bus, 0xcfc, 4, &data);
    return p;
}

void pci_free(PciBus *p) {
    if (!p) return;
    for (unsigned i = 0; i < ARRAY_LEN(p->functions); i++) free(p->functions[i]);
    free(p);
}

void pci_connect_pirq(PciBus *p, void (*set)(void *self, unsigned n, bool level), void *self) {
    p->pirq_set = set;
    p->pirq_self = self;
}

// ---- functions ----------------------------------------------------------------------------------

PciFn *pci_add(PciBus *p, const char *name, unsigned device, unsigned function, const PciId *id) {
    require(device < SLOTS && function < FUNCTIONS && !p->functions[device * FUNCTIONS + function]);
    PciFn *fn = mem_new(sizeof(*fn));
    fn->bus = p;
    fn->name = name;
    fn->device = (u8)device;
    fn->function = (u8)function;
    for (unsigned n = 0; n < BARS; n++) fn->mapped[n] = NOT_MAPPED;
    pci_init_bytes(fn, 0, 2, id->vendor);
    pci_init_bytes(fn, 2, 2, id->device);
    pci_init_bytes(fn, PCI_CLASS, 4, id->class_code << 8 | id->revision);
    pci_init_bytes(fn, 0x0e, 1, id->multifunction ? 0x80 : 0);
    pci_init_bytes(fn, 0x2c, 4, 0x11001af4);             // SeaBIOS knows its board by this
    pci_init_bytes(fn, PCI_IRQ_LINE + 1, 1, id->intx);
    pci_write_mask(fn, PCI_COMMAND, 2, 0x0147);          // ports, memory, master, parity, SERR#
    pci_write_mask(fn, 0x0c, 2, 0xffff);                 // cache line size, latency timer
    pci_write_mask(fn, PCI_IRQ_LINE, 1, 0xff);
    pci_clear_mask(fn, PCI_STATUS, 2, 0xf900);
    p->functions[device * FUNCTIONS + function] = fn;
    device_add(p->bus, &pci_fn_class, name, fn);
    return fn;
}

void pci_set_bar(PciFn *fn, unsigned n, const PciBar *bar) {
    bool io = bar->flags & PCI_BAR_IO;
    require(n < BARS && bar->map);
    require(!(bar->bytes & (bar->bytes - 1)) && bar->bytes >= (io ? 4 : 16));
    fn->bars[n] = *bar;
    pci_init_bytes(fn, (u8)(PCI_BAR0 + 4 * n), 4, bar->flags);
    pci_write_mask(fn, (u8)(PCI_BAR0 + 4 * n), 4, ~(bar->bytes - 1));
}

void pci_init_bytes(PciFn *fn, u8 reg, unsigned bytes, u32 value) {
    pci_store(fn->initial + reg, bytes, value);
    pci_store(fn->config + reg, bytes, value);
}

void pci_write_mask(PciFn *fn, u8 reg, unsigned bytes, u32 mask) {
    pci_store(fn->writable + reg, bytes, mask);
}

void pci_clear_mask(PciFn *fn, u8 reg, unsigned bytes, u32 mask) {
    pci_store(fn->clears + reg, bytes, mask);
}

void pci_on_write(PciFn *fn, void (*written)(void *self, unsigned reg, unsigned bytes),
                  void *self) {
    fn->written = written;
    fn->written_self = self;
}

u32 pci_get(const PciFn *fn, u8 reg, unsigned bytes) { return pci_load(fn->config + reg, bytes); }

void pci_put(PciFn *fn, u8 reg, unsigned bytes, u32 value) {
    pci_store(fn->config + reg, bytes, value);
}

bool pci_is_master(const PciFn *fn) { return fn->config[PCI_COMMAND] & PCI_COMMAND_MASTER; }
