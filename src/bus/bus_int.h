// SPDX-License-Identifier: MIT
// The inside of the bus, for the files of this room only.
#ifndef BUS_BUS_INT_H
#define BUS_BUS_INT_H

#include "bus/device.h"
#include "bus/flow.h"
#include "bus/hosttime.h"

#include <pthread.h>
#include <stdatomic.h>

#define BUS_RESERVE_BYTES (64u << 20)   // behind RAM in the memfd, handed out by bus_alloc
#define BUS_PORTS (1u << 16)
#define BUS_STORE_LIST 64u

// Bits of Bus.attention. The low ones are BusRequest's and stay until bus_clear_request; the others
// stay until bus_run_events.
enum { BUS_ATT_EVENT = 0x100, BUS_ATT_PIN = 0x200 };
#define BUS_ATT_REQUESTS 0xffu

struct Timer {
    Bus *bus;
    const char *name;                   // for people
    void (*fire)(void *self);
    void *self;
    u64 deadline_ns;                    // valid while armed
    u32 id;                             // order of creation: breaks ties, the same in every run
    bool patient;                       // bus_timer_set_patient()
    i32 place;                          // index in the heap; -1: not armed
    Timer *older;                       // list of all, for bus_free
};

typedef struct BusDevice {
    const DeviceClass *cls;
    const char *name;                   // own copy
    void *self;
} BusDevice;

struct Bus {
    BusShown shown;                     // first: bus_page()

    // memory (bus_mem.c)
    u32 *mmio_offset;                   // BUS_PAGES, sparse: byte offset of an MMIO page in it
    BusMmio *mmio;                      // regions; 0 is "nobody": reads ones
    u32 mmio_count;
    u8 *ram;                            // the memfd mapping: RAM, then BUS_RESERVE_BYTES
    u64 ram_bytes;                      // multiple of a page
    u64 reserve_used_bytes;
    int memory_fd;
    u8 *begun;                          // per AHEAD_BYTES of the file: bus_begin_page() has seen to it
    BusHooks hooks;
    Log *log;
    u32 *stored;                        // BUS_PAGES, sparse: store_epoch of the last logged store
    bool store_log;                     // there is one
    u32 store_epoch;                    // its number
    u32 store_count, store_list[BUS_STORE_LIST];    // pages in it; the count goes on when the list is full
    u64 touches;                        // bus_touches()

    // ports (bus_port.c)
    u16 *port_slot;                     // BUS_PORTS: index into ports
    BusPort *ports;                     // 0 is "nobody"; in and out are never NULL here
    u32 port_count;

    // pins
    bool intr;                          // level of INTR. ORDER: bus_wanted_pins()
    bool nmi;                           // NMI seen, not yet taken
    bool a20;                           // A20 gate open
    u8 (*int_ack)(void *self);
    void *int_ack_self;
    Wire ferr;

    // clock and timers (bus_time.c)
    bool running;                       // wall time flows
    u64 wall_base_ns;                   // running: host time when guest time was 0 (modulo 2^64)
    u64 stopped_ns;                     // stopped: guest time
    u64 (*source_now_ns)(void *self);   // NULL: the wall
    void *source_self;
    u64 (*insns)(void *self);           // instructions done; NULL: there is no processor
    void *insns_self;
    HostTime host_time;
    Flow flow;                          // guest time while there is one and it runs
    u64 waited_insns;                   // its count at the last wait for a deadline
    u32 calm_waits;                     // waits in a row with little work before and nothing from outside
    Timer **heap;                       // binary heap by (deadline, id)
    u32 heap_count, heap_room;
    Timer *timers;                      // all timers, newest first
    u32 timer_count;

    // the outside (bus_event.c)
    _Atomic u32 attention;              // BUS_ATT_* and BusRequest
    _Atomic int exit_status;
    atomic_bool powered_off;            // SHUTDOWN is the guest's power-off
    int wake_fd;                        // eventfd: readable after anything from outside
    pthread_mutex_t lock;               // guards the queue
    BusEvent *queue;                    // oldest first
    BusEvent **queue_end;

    // devices (device.c)
    BusDevice *devices;
    u32 device_count;
};

bool bus_mem_open(Bus *bus, u64 ram_bytes);     // false: errno is set
void bus_mem_close(Bus *bus);
void bus_ports_open(Bus *bus);
void bus_ports_close(Bus *bus);
u64 bus_time_idle_ns(Bus *bus, u64 deadline_ns); // guest time of a halted processor
// bus_wait() begins; a wait with a deadline may sleep until; something came from outside.
void bus_time_wait_begins(Bus *bus);
u64 bus_time_wake_ns(const Bus *bus, u64 deadline_ns);
void bus_time_disturbed(Bus *bus);
void bus_time_close(Bus *bus);
bool bus_outside_open(Bus *bus);                // false: errno is set
void bus_outside_close(Bus *bus);
void bus_devices_close(Bus *bus);
void bus_clock_set(Bus *bus, u64 now_ns);       // a snapshot's time; no effect on a source
u64 bus_timer_deadline(const Timer *t);         // UINT64_MAX: not armed

// Sets a bit that bus_has_attention sees. [any thread]
static inline void bus_raise_attention(Bus *bus, u32 bit) {
    atomic_fetch_or_explicit(&bus->attention, bit, memory_order_release);
}

#endif
