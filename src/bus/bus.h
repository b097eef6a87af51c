// SPDX-License-Identifier: MIT
// The bus: guest RAM, physical page descriptors, MMIO and port dispatch, wires, the clock and its
// timers, and the one queue through which the outside world reaches the machine.
//
// Rules
//  1. One thread owns the machine (CPU and devices). Only the functions marked [any thread] may be
//     called from elsewhere.
//  2. Devices never ask the host for the time: bus_now_ns() is the only clock.
//  3. All DMA goes through bus_dma_read/bus_dma_write: they see the page descriptors, so that code
//     in the page is dropped from the translation cache.
//  4. Whatever changes a page descriptor's kind or host pointer calls the map_changed hook.
#ifndef BUS_BUS_H
#define BUS_BUS_H

#include "base/base.h"
#include "base/log.h"

typedef struct Bus Bus;

// ---- physical pages -----------------------------------------------------------------------------
typedef enum BusPageKind { BUS_PAGE_NONE, BUS_PAGE_RAM, BUS_PAGE_ROM, BUS_PAGE_MMIO } BusPageKind;

enum BusPageFlag {
    BUS_PAGE_CODE = 1,        // holds translated code: stores take the slow path
    BUS_PAGE_DIRTY_LOG = 2,   // first store after bus_clear_dirty takes the slow path (VRAM)
    BUS_PAGE_DIRTY = 4,       // stored to since bus_clear_dirty
    BUS_PAGE_TABLE = 8,       // in use as a guest page table
};

typedef struct BusPage {
    u8 *host;                 // host address of the page's first byte for reading; NULL if none
    u64 code_granules;        // bit g: bytes [64g, 64g+64) hold translated guest code (owner: jit)
    void *blocks;             // translated blocks that touch this page (owner: jit)
    u8 kind;                  // BusPageKind
    u8 flags;                 // BusPageFlag
    u16 mmio;                 // index of the MMIO region when kind is MMIO (or ROM that takes writes)
} BusPage;

#define BUS_PAGES (1u << 20)  // 4 GiB of physical addresses

typedef struct BusShown {     // what a Bus begins with
    BusPage *pages;           // BUS_PAGES, sparse; all zero is BUS_PAGE_NONE
} BusShown;

// The descriptor of physical page `ppn` (0 .. BUS_PAGES-1). Never NULL.
static inline BusPage *bus_page(Bus *bus, u32 ppn) { return &((BusShown *)(void *)bus)->pages[ppn]; }

typedef struct BusHooks {     // set by cpu/jit; opaque is passed back
    void *opaque;
    void (*code_written)(void *opaque, u32 ppn, u32 offset, u32 bytes); // stored over code granules
    void (*map_changed)(void *opaque, u32 ppn, u32 pages);              // drop cached translations
    void (*write_protect)(void *opaque, u32 ppn);   // stores to the page must take the slow path again
    void (*attention)(void *opaque);                // machine thread: leave generated code soon
    void (*table_written)(void *opaque, u32 ppn);   // stored to a page in use as guest page table
} BusHooks;

// RAM is one memfd mapping; ROMs and video memory are allocated from the same file behind it.
// Returns NULL when the host has not enough memory; errno is set.
Bus *bus_new(u64 ram_bytes, Log *log);
void bus_free(Bus *bus);
void bus_set_hooks(Bus *bus, const BusHooks *hooks);
Log *bus_log(Bus *bus);
u8 *bus_ram(Bus *bus);                     // host address of physical 0's RAM
u64 bus_ram_bytes(Bus *bus);
int bus_memory_fd(Bus *bus);               // the file behind RAM (physical 0 at offset 0), for further mappings
u8 *bus_alloc(Bus *bus, u32 bytes);        // page-aligned zeroed memory for ROM or VRAM, behind RAM

// Maps pages. `host` is page-aligned memory of the bus (bus_ram()+x or bus_alloc()).
void bus_map_ram(Bus *bus, u32 ppn, u32 pages, u8 *host);
void bus_map_rom(Bus *bus, u32 ppn, u32 pages, u8 *host);      // reads host, ignores writes
void bus_map_none(Bus *bus, u32 ppn, u32 pages);               // reads ones, ignores writes

typedef struct BusMmio {                   // offset is from the region's first byte; size 1, 2 or 4
    const char *name;
    void *self;
    u32 (*read)(void *self, u32 offset, unsigned size_bytes);
    void (*write)(void *self, u32 offset, unsigned size_bytes, u32 value);
} BusMmio;
// Registers a region once, then maps it at pages (again and again as BARs move).
unsigned bus_add_mmio(Bus *bus, const BusMmio *ops);           // returns the region's index
const char *bus_mmio_name(Bus *bus, unsigned region);
void bus_map_mmio(Bus *bus, u32 ppn, u32 pages, unsigned region, u32 offset_of_first_page);

// Physical access by CPU slow paths and by devices (A20 not applied here). Any length; may cross pages.
// The single-access forms route MMIO with their size (1, 2, 4).
u32 bus_read(Bus *bus, Phy addr, unsigned size_bytes);
void bus_write(Bus *bus, Phy addr, unsigned size_bytes, u32 value);
void bus_dma_read(Bus *bus, Phy addr, void *to, u32 bytes);
void bus_dma_write(Bus *bus, Phy addr, const void *from, u32 bytes);
// Tells the bus that `bytes` at offset of page ppn were or will be stored to directly by the caller:
// runs code_written when granules are hit and sets DIRTY. One page only.
void bus_note_store(Bus *bus, u32 ppn, u32 offset, u32 bytes);
// Dirty log for VRAM: clears DIRTY of the pages and makes the next store to each take the slow path.
void bus_clear_dirty(Bus *bus, u32 ppn, u32 pages);
bool bus_is_dirty(Bus *bus, u32 ppn);

// Store log: which pages are stored to from now on. The first store to each takes the slow path.
void bus_log_stores(Bus *bus);                                 // begins, or begins anew
void bus_log_no_stores(Bus *bus);
// The pages since then, without repetition; *ppns is valid until the next begin. UINT32_MAX: too many to list.
u32 bus_logged_stores(const Bus *bus, const u32 **ppns);
// For who lets stores go the direct way: `storing`, one is about to happen. False: it must not yet.
bool bus_may_store_directly(Bus *bus, u32 ppn, bool storing);
const bool *bus_store_log(const Bus *bus);                     // for generated code: stores are being logged

// The guest begins to use the page: the host is about to see accesses to it.
void bus_begin_page(Bus *bus, u32 ppn);

// How often the machine around processor and memory was looked at or told something: ports, MMIO, time,
// interrupts. Between two equal counts nothing but registers and memory took part.
u64 bus_touches(const Bus *bus);

// ---- ports --------------------------------------------------------------------------------------
typedef struct BusPort {
    const char *name;
    void *self;
    unsigned sizes;            // mask of access sizes taken: 1 | 2 | 4; others are split into bytes
    u32 (*in)(void *self, u16 port, unsigned size_bytes);            // NULL: reads ones
    void (*out)(void *self, u16 port, unsigned size_bytes, u32 value); // NULL: ignored
} BusPort;
void bus_map_ports(Bus *bus, u16 first, unsigned count, const BusPort *ops);  // copies *ops
void bus_unmap_ports(Bus *bus, u16 first, unsigned count);
u32 bus_in(Bus *bus, u16 port, unsigned size_bytes);
void bus_out(Bus *bus, u16 port, unsigned size_bytes, u32 value);

// ---- wires --------------------------------------------------------------------------------------
typedef struct Wire {          // an output pin, connected to input n of somebody; zero = unconnected
    void (*set)(void *self, unsigned n, bool level);
    void *self;
    unsigned n;
} Wire;
static inline void wire_set(const Wire *w, bool level) { if (w->set) w->set(w->self, w->n, level); }

// The processor's pins.
void bus_set_intr(Bus *bus, bool level);             // from the PIC
bool bus_intr(Bus *bus);
const u16 *bus_wanted_pins(const Bus *bus);         // for generated code: 0 when neither INTR nor NMI is there
void bus_connect_int_ack(Bus *bus, u8 (*ack)(void *self), void *self);
u8 bus_int_ack(Bus *bus);                            // interrupt acknowledge cycle: the vector
void bus_pulse_nmi(Bus *bus);
bool bus_nmi(Bus *bus);                              // pulsed and not taken yet
bool bus_take_nmi(Bus *bus);                         // true once per pulse
void bus_set_a20(Bus *bus, bool enabled);            // calls map_changed for everything when it changes
bool bus_a20(Bus *bus);
void bus_set_ferr(Bus *bus, const Wire *irq13);      // where the CPU's FERR# goes
const Wire *bus_ferr(Bus *bus);

// Requests that the run loop serves between blocks.
typedef enum BusRequest {
    BUS_REQ_RESET = 1,         // reset the whole machine
    BUS_REQ_SHUTDOWN = 2,      // end the emulator with bus_exit_status()
    BUS_REQ_STOP = 4,          // pause (monitor, gdb)
} BusRequest;
void bus_request(Bus *bus, BusRequest r);            // [any thread]
enum { BUS_EXIT_DIFFERENCE = 78 };                   // -check, -restore check: generated code is wrong
void bus_request_exit(Bus *bus, int status);         // [any thread] SHUTDOWN with this exit status
u32 bus_requests(Bus *bus);                          // pending ones, as a mask
void bus_clear_request(Bus *bus, BusRequest r);
int bus_exit_status(Bus *bus);
// The guest switched itself off: SHUTDOWN with status 0, which -no-shutdown may turn into a pause.
void bus_request_poweroff(Bus *bus);
bool bus_is_powered_off(Bus *bus);                   // the pending SHUTDOWN came from there

// ---- clock and timers ---------------------------------------------------------------------------
// Guest time in ns since power-on. Follows the wall while the machine runs (stands before and while paused),
// or a source set by the run loop (-icount).
u64 bus_now_ns(Bus *bus);
void bus_clock_run(Bus *bus, bool running);          // pause and resume wall time
void bus_set_clock_source(Bus *bus, u64 (*now_ns)(void *self), void *self);   // NULL: wall
// Whose time it is: with a processor that counts its instructions guest time has no jumps (flow.h).
void bus_set_processor(Bus *bus, u64 (*insns)(void *self), void *self);

typedef struct Timer Timer;
Timer *bus_timer_new(Bus *bus, const char *name, void (*fire)(void *self), void *self);
void bus_timer_set_patient(Timer *t);                // a clock tick: may come late to an idle machine
void bus_timer_at(Timer *t, u64 deadline_ns);        // arms or re-arms; fires once
void bus_timer_stop(Timer *t);
bool bus_timer_armed(const Timer *t);
u64 bus_next_deadline_ns(Bus *bus);                  // UINT64_MAX: none
u64 bus_run_timers(Bus *bus);                        // fires all that are due, in order of deadline: ns until the next

// ---- the outside --------------------------------------------------------------------------------
typedef struct BusEvent BusEvent;
struct BusEvent {              // owned by the caller until run() is called; run() may free it
    BusEvent *next;
    void (*run)(BusEvent *ev); // called on the machine thread, between blocks
};
void bus_post(Bus *bus, BusEvent *ev);               // [any thread] first in, first out
// Runs fn(arg) on the machine thread and returns when it is done. Not from the machine thread.
void bus_call(Bus *bus, void (*fn)(void *arg), void *arg);     // [any thread]
bool bus_has_attention(Bus *bus);                    // cheap: events, requests, NMI or INTR changes
void bus_run_events(Bus *bus);                       // machine thread
// HLT or pause: sleeps until an event is posted, a request comes, or guest time reaches deadline.
void bus_wait(Bus *bus, u64 deadline_ns);

#endif
