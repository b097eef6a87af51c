// SPDX-License-Identifier: MIT
#include "guest.h"

#include "bus/bus_int.h"

#include <stdlib.h>
#include <string.h>

static void guest_said(void *self, u8 byte) {
    Guest *g = self;
    g->said = (g->said ^ byte) * 0x01000193;
}

static void guest_end(void *self) {
    Guest *g = self;
    bus_request_exit(g->m->bus, 0);
}

static u64 guest_now(void *self) {
    Guest *g = self;
    return g->counted_ns(g->counted_self) + g->skipped_ns;
}

// Media that hold their own sector numbers.
static const u8 *guest_media(void) {
    static u8 bytes[GUEST_DISK_BYTES];
    for (u32 i = 0; i < sizeof bytes; i++) bytes[i] = (u8)(i * 7 ^ i >> 9);
    return bytes;
}

void guest_open(Guest *g, const JitOptions *jit) {
    char *err = NULL;
    const u8 *media = guest_media();
    PcDrive disk = { .blob = media, .blob_bytes = GUEST_DISK_BYTES };
    PcDrive disc = { .blob = media, .blob_bytes = GUEST_DISC_BYTES, .cd = true };
    CharOut out = { guest_said, g };
    memset(g, 0, sizeof *g);
    log_init(&g->log);
    MachineConfig config = {
        .ram_bytes = GUEST_RAM_BYTES, .jit = *jit,
        .pc = { .floppy = { disk }, .ide = { disk, disk, disc, { .cd = true } },
                .serial = { { true, out }, { true, out } }, .debugcon = { { 0x402, out } },
                .exit_port = 0x501 },
    };
    config.jit.icount = true;
    config.jit.cache_mib = jit->cache_mib ? jit->cache_mib : 1;
    g->m = machine_new(&config, &g->log, &err);
    if (!g->m) panic("%s", err);
    g->counted_ns = g->m->bus->source_now_ns;
    g->counted_self = g->m->bus->source_self;
    bus_set_clock_source(g->m->bus, guest_now, g);
    g->end = bus_timer_new(g->m->bus, "end", guest_end, g);
}

void guest_close(Guest *g) {
    machine_free(g->m);
    log_close(&g->log);
}

void guest_run(Guest *g, u64 ns) {
    Bus *bus = g->m->bus;
    bus_timer_at(g->end, bus_now_ns(bus) + ns);
    int status = machine_run(g->m);
    bus_timer_stop(g->end);
    bus_clear_request(bus, BUS_REQ_SHUTDOWN);
    bus_clear_request(bus, BUS_REQ_RESET);
    if (status == 78) panic("a check found a difference");
}

void guest_wait(Guest *g, u64 ns) {
    Bus *bus = g->m->bus;
    u64 end = bus_now_ns(bus) + ns;
    for (unsigned i = 0; i <= 100; i++) {
        u64 now = bus_now_ns(bus), next = i < 100 ? bus_next_deadline_ns(bus) : end;
        if (next > end) next = end;
        if (next > now) g->skipped_ns += next - now;
        bus_run_timers(bus);
        if (next == end) break;
    }
}

u32 guest_address(FuzzIn *in) {
    static const u32 bases[] = {
        0, 0x1000, 0x10000, 0x9f000, 0xa0000, 0xa8000, 0xb0000, 0xb8000, 0xbf000, 0xc0000, 0xe0000, 0xf0000,
        0xff000, 0x100000, GUEST_RAM_BYTES - 0x1000, GUEST_RAM_BYTES, 0x80000000, 0xe0000000, 0xe0ff0000,
        0xfd000000, 0xfd3ff000, 0xfeb00000, 0xfec00000, 0xfec00010, 0xfee00000, 0xfee00300, 0xfffc0000,
        0xfffff000, 0xfe000000, 0xf0000000, 0xc0000000, 0x200000,
    };
    u32 base = bases[fuzz_pick(in, ARRAY_LEN(bases))];
    u32 offset = fuzz_u16(in);
    return base + (offset & 0x8000 ? offset & 0x7fff : offset & 0xfff);
}
