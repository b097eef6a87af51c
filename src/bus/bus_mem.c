// SPDX-License-Identifier: MIT
// Physical memory: the memfd, the page descriptors, single accesses and DMA.
//
// Invariants
//  1. page->host is set exactly for RAM and ROM; so "host != NULL" means "readable here", and
//     kind == RAM means "storable here".
//  2. A store through the bus happens first; code_written is called AFTER it, and only when a
//     touched granule holds code.
//  3. The functions between the hot marks call nothing of libc, unless a device or a hook does.
#define _GNU_SOURCE
#include "bus/bus_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(BusPage) == 32, "a descriptor stays within half a cache line");

#define HUGE_PAGE_BYTES (2ull << 20)
#define AHEAD_BYTES (64u << 10)            // what Linux maps around a page that is read first

// ---- life ---------------------------------------------------------------------------------------
static u32 mem_read_nobody(void *self, u32 offset, unsigned size_bytes) {
    (void)self, (void)offset;
    return trunc_size(0xffffffff, size_bytes);
}

static void mem_write_nobody(void *self, u32 offset, unsigned size_bytes, u32 value) {
    (void)self, (void)offset, (void)size_bytes, (void)value;
}

// Sparse zeroed memory; NULL with errno when the host refuses.
static void *mem_map_sparse(u64 bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

// Maps the memfd at a huge page boundary, so that the host can use huge pages.
static u8 *mem_map_file(int fd, u64 bytes) {
    u8 *area = mmap(NULL, bytes + HUGE_PAGE_BYTES, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) return NULL;
    u64 skip = -(uintptr_t)area & (HUGE_PAGE_BYTES - 1);
    u8 *at = area + skip;
    if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0)
        == MAP_FAILED) {
        munmap(area, bytes + HUGE_PAGE_BYTES);
        return NULL;
    }
    if (skip) munmap(area, skip);
    munmap(at + bytes, HUGE_PAGE_BYTES - skip);
    madvise(at, bytes, MADV_HUGEPAGE);
    return at;
}

static u64 mem_file_bytes(const Bus *bus) { return bus->ram_bytes + BUS_RESERVE_BYTES; }

bool bus_mem_open(Bus *bus, u64 ram_bytes) {
    if (ram_bytes > (u64)BUS_PAGES * PAGE_BYTES) {
        errno = EINVAL;
        return false;
    }
    bus->ram_bytes = (ram_bytes + PAGE_BYTES - 1) & ~(u64)(PAGE_BYTES - 1);
    bus->memory_fd = memfd_create("glassbox-ram", MFD_CLOEXEC);
    if (bus->memory_fd < 0 || ftruncate(bus->memory_fd, (off_t)mem_file_bytes(bus))) return false;
    bus->begun = mem_new(mem_file_bytes(bus) / AHEAD_BYTES + 1);
    bus->ram = mem_map_file(bus->memory_fd, mem_file_bytes(bus));
    bus->shown.pages = mem_map_sparse((u64)BUS_PAGES * sizeof(*bus->shown.pages));
    bus->mmio_offset = mem_map_sparse((u64)BUS_PAGES * sizeof(*bus->mmio_offset));
    bus->stored = mem_map_sparse((u64)BUS_PAGES * sizeof(*bus->stored));
    if (!bus->ram || !bus->shown.pages || !bus->mmio_offset || !bus->stored) return false;
    bus_add_mmio(bus, &(BusMmio){ .name = "nobody" });
    bus_map_ram(bus, 0, (u32)(bus->ram_bytes >> PAGE_SHIFT), bus->ram);
    return true;
}

void bus_mem_close(Bus *bus) {
    if (bus->ram) munmap(bus->ram, mem_file_bytes(bus));
    if (bus->shown.pages) munmap(bus->shown.pages, (u64)BUS_PAGES * sizeof(*bus->shown.pages));
    if (bus->stored) munmap(bus->stored, (u64)BUS_PAGES * sizeof(*bus->stored));
    if (bus->mmio_offset) munmap(bus->mmio_offset, (u64)BUS_PAGES * sizeof(*bus->mmio_offset));
    if (bus->memory_fd >= 0) close(bus->memory_fd);
    free(bus->begun);
    free(bus->mmio);
}

u8 *bus_ram(Bus *bus) { return bus->ram; }
u64 bus_ram_bytes(Bus *bus) { return bus->ram_bytes; }

u8 *bus_alloc(Bus *bus, u32 bytes) {
    u64 rounded = ((u64)bytes + PAGE_BYTES - 1) & ~(u64)(PAGE_BYTES - 1);
    if (rounded > BUS_RESERVE_BYTES - bus->reserve_used_bytes)
        panic("bus_alloc: %u bytes wanted, %llu left", bytes,
              (unsigned long long)(BUS_RESERVE_BYTES - bus->reserve_used_bytes));
    u8 *p = bus->ram + bus->ram_bytes + bus->reserve_used_bytes;
    bus->reserve_used_bytes += rounded;
    return p;
}

// ---- the map ------------------------------------------------------------------------------------
typedef struct MemTarget {
    u8 kind;                   // BusPageKind
    u16 mmio;                  // region of MMIO
    u8 *host;                  // of the first page; NULL: none
    u32 offset;                // of the first page in the region
} MemTarget;

// Points pages at a target. Code and table flags are the jit's and the MMU's and stay; the dirty
// log ends. map_changed is called once, after the change, when anything did change.
static void mem_map(Bus *bus, u32 ppn, u32 pages, const MemTarget *to) {
    require(ppn < BUS_PAGES ? pages <= BUS_PAGES - ppn : pages == 0);
    bool changed = false;
    for (u32 i = 0; i < pages; i++) {
        BusPage *page = &bus->shown.pages[ppn + i];
        u8 *host = to->host ? to->host + (u64)i * PAGE_BYTES : NULL;
        u32 offset = to->offset + i * PAGE_BYTES;
        bool mmio = to->kind == BUS_PAGE_MMIO;
        if (page->kind == to->kind && page->host == host
            && (!mmio || (page->mmio == to->mmio && bus->mmio_offset[ppn + i] == offset)))
            continue;
        changed = true;
        page->kind = to->kind;
        page->host = host;
        page->mmio = to->mmio;
        page->flags &= (u8)~(BUS_PAGE_DIRTY_LOG | BUS_PAGE_DIRTY);
        if (mmio) bus->mmio_offset[ppn + i] = offset;
    }
    if (changed && bus->hooks.map_changed) bus->hooks.map_changed(bus->hooks.opaque, ppn, pages);
}

// The mapping functions' `host` must be whole pages of the memfd.
static void mem_check_host(Bus *bus, u32 pages, const u8 *host) {
    u64 at = (u64)(host - bus->ram);
    require(host >= bus->ram && at % PAGE_BYTES == 0);
    require(at + (u64)pages * PAGE_BYTES <= mem_file_bytes(bus));
}

void bus_map_ram(Bus *bus, u32 ppn, u32 pages, u8 *host) {
    mem_check_host(bus, pages, host);
    mem_map(bus, ppn, pages, &(MemTarget){ .kind = BUS_PAGE_RAM, .host = host });
}

void bus_map_rom(Bus *bus, u32 ppn, u32 pages, u8 *host) {
    mem_check_host(bus, pages, host);
    mem_map(bus, ppn, pages, &(MemTarget){ .kind = BUS_PAGE_ROM, .host = host });
}

void bus_map_none(Bus *bus, u32 ppn, u32 pages) {
    mem_map(bus, ppn, pages, &(MemTarget){ .kind = BUS_PAGE_NONE });
}

unsigned bus_add_mmio(Bus *bus, const BusMmio *ops) {
    require(bus->mmio_count < 0xffff);
    bus->mmio = mem_resize(bus->mmio, (bus->mmio_count + 1) * sizeof(*bus->mmio));
    BusMmio *m = &bus->mmio[bus->mmio_count];
    *m = *ops;
    if (!m->read) m->read = mem_read_nobody;
    if (!m->write) m->write = mem_write_nobody;
    return bus->mmio_count++;
}

const char *bus_mmio_name(Bus *bus, unsigned region) { return bus->mmio[region].name; }

void bus_map_mmio(Bus *bus, u32 ppn, u32 pages, unsigned region, u32 offset_of_first_page) {
    require(region < bus->mmio_count);
    mem_map(bus, ppn, pages, &(MemTarget){
        .kind = BUS_PAGE_MMIO, .mmio = (u16)region, .offset = offset_of_first_page });
}

// ---- pages of the file --------------------------------------------------------------------------
// The host makes and clears a page where it is stored to first, a fault for each, and there is another fault for each
// further mapping. Half of that is saved by writing zeros to the file, several pages at once, and most of the rest by
// reading: a load that faults maps all pages around that are there, a store that faults maps one.
static void mem_begin_ahead(Bus *bus, u64 number) {
    static const u8 zeros[PAGE_BYTES];
    struct iovec part[AHEAD_BYTES / PAGE_BYTES];
    u64 at = number * AHEAD_BYTES, bytes = min_u64(AHEAD_BYTES, mem_file_bytes(bus) - at);
    off_t data = lseek(bus->memory_fd, (off_t)at, SEEK_DATA);
    bus->begun[number] = true;
    if (data >= 0 && (u64)data < at + bytes) return;       // firmware, a kernel, what came by DMA
    if (data < 0 && errno != ENXIO) return;
    for (u32 i = 0; i < ARRAY_LEN(part); i++) part[i] = (struct iovec){ (void *)(uintptr_t)zeros, PAGE_BYTES };
    (void)!pwritev(bus->memory_fd, part, (int)(bytes / PAGE_BYTES), (off_t)at);
}

static inline void mem_begin(Bus *bus, const u8 *host) {
    u64 number = (u64)(host - bus->ram) / AHEAD_BYTES;
    if (__builtin_expect(!bus->begun[number], 0)) mem_begin_ahead(bus, number);
}

void bus_begin_page(Bus *bus, u32 ppn) {
    const u8 *host = bus_page(bus, ppn)->host;
    if (host) mem_begin(bus, host);
}

// ---- dirty log ----------------------------------------------------------------------------------
void bus_clear_dirty(Bus *bus, u32 ppn, u32 pages) {
    for (u32 i = 0; i < pages; i++) {
        BusPage *page = bus_page(bus, ppn + i);
        bool protected_already =
            (page->flags & (BUS_PAGE_DIRTY_LOG | BUS_PAGE_DIRTY)) == BUS_PAGE_DIRTY_LOG;
        if (protected_already) continue;
        page->flags = (u8)((page->flags | BUS_PAGE_DIRTY_LOG) & ~BUS_PAGE_DIRTY);
        if (bus->hooks.write_protect) bus->hooks.write_protect(bus->hooks.opaque, ppn + i);
    }
}

// A page whose stores were never watched counts as dirty.
bool bus_is_dirty(Bus *bus, u32 ppn) {
    u8 flags = bus_page(bus, ppn)->flags;
    return !(flags & BUS_PAGE_DIRTY_LOG) || (flags & BUS_PAGE_DIRTY);
}

// ---- store log ----------------------------------------------------------------------------------
void bus_log_stores(Bus *bus) {
    const BusHooks *h = &bus->hooks;
    bool few = bus->store_log && bus->store_count <= BUS_STORE_LIST;
    bus->store_log = true;
    bus->store_epoch++;
    for (u32 i = 0; few && i < bus->store_count; i++)
        if (h->write_protect) h->write_protect(h->opaque, bus->store_list[i]);
    if (!few && h->map_changed) h->map_changed(h->opaque, 0, BUS_PAGES);
    bus->store_count = 0;
}

void bus_log_no_stores(Bus *bus) { bus->store_log = false; }
const bool *bus_store_log(const Bus *bus) { return &bus->store_log; }

u32 bus_logged_stores(const Bus *bus, const u32 **ppns) {
    *ppns = bus->store_list;
    return bus->store_count <= BUS_STORE_LIST ? bus->store_count : UINT32_MAX;
}

bool bus_may_store_directly(Bus *bus, u32 ppn, bool storing) {
    if (!bus->store_log || bus->stored[ppn] == bus->store_epoch) return true;
    if (!storing) return false;
    bus->stored[ppn] = bus->store_epoch;
    if (bus->store_count < BUS_STORE_LIST) bus->store_list[bus->store_count] = ppn;
    bus->store_count++;
    return true;
}

u64 bus_touches(const Bus *bus) { return bus->touches; }

// ---- hot: single accesses -----------------------------------------------------------------------
static inline void mem_note_store(Bus *bus, BusPage *page, u32 ppn, u32 offset, u32 bytes) {
    page->flags |= BUS_PAGE_DIRTY;
    bus_may_store_directly(bus, ppn, true);
    if (__builtin_expect(page->flags & BUS_PAGE_TABLE, 0) && bus->hooks.table_written)
        bus->hooks.table_written(bus->hooks.opaque, ppn);
    if (__builtin_expect(page->code_granules == 0, 1)) return;
    u64 from_first = ~0ull << (offset >> 6);
    u64 to_last = ~0ull >> (63 - ((offset + bytes - 1) >> 6));
    if ((page->code_granules & from_first & to_last) && bus->hooks.code_written)
        bus->hooks.code_written(bus->hooks.opaque, ppn, offset, bytes);
}

void bus_note_store(Bus *bus, u32 ppn, u32 offset, u32 bytes) {
    assert(offset < PAGE_BYTES && bytes <= PAGE_BYTES - offset);
    if (bytes) mem_note_store(bus, bus_page(bus, ppn), ppn, offset, bytes);
}

// An access that stays inside one page of no host memory.
static __attribute__((noinline)) u32 mem_read_device(Bus *bus, u32 addr, unsigned size_bytes) {
    BusPage *page = &bus->shown.pages[addr >> PAGE_SHIFT];
    bus->touches++;
    if (page->kind != BUS_PAGE_MMIO) return trunc_size(0xffffffff, size_bytes);
    BusMmio *m = &bus->mmio[page->mmio];
    u32 offset = bus->mmio_offset[addr >> PAGE_SHIFT] + (addr & ~PAGE_MASK);
    return trunc_size(m->read(m->self, offset, size_bytes), size_bytes);
}

static __attribute__((noinline)) void mem_write_device(Bus *bus, u32 addr, unsigned size_bytes,
                                                       u32 value) {
    BusPage *page = &bus->shown.pages[addr >> PAGE_SHIFT];
    bus->touches++;
    if (page->kind != BUS_PAGE_MMIO) return;
    BusMmio *m = &bus->mmio[page->mmio];
    u32 offset = bus->mmio_offset[addr >> PAGE_SHIFT] + (addr & ~PAGE_MASK);
    m->write(m->self, offset, size_bytes, trunc_size(value, size_bytes));
}

// Does the access stay inside one page below 4 GiB?
static inline bool mem_is_simple(Phy addr, unsigned size_bytes) {
    return addr.v >> 32 == 0 && (addr.v & ~PAGE_MASK) + size_bytes <= PAGE_BYTES;
}

static __attribute__((noinline)) u32 mem_read_split(Bus *bus, Phy addr, unsigned size_bytes) {
    u32 value = 0;
    for (unsigned i = 0; i < size_bytes; i++) {
        u64 at = addr.v + i;
        u32 byte = at >> 32 ? 0xff : bus_read(bus, phy(at), 1);
        value |= byte << (8 * i);
    }
    return value;
}

static __attribute__((noinline)) void mem_write_split(Bus *bus, Phy addr, unsigned size_bytes,
                                                      u32 value) {
    for (unsigned i = 0; i < size_bytes; i++) {
        u64 at = addr.v + i;
        if (at >> 32 == 0) bus_write(bus, phy(at), 1, value >> (8 * i) & 0xff);
    }
}

u32 bus_read(Bus *bus, Phy addr, unsigned size_bytes) {
    if (!mem_is_simple(addr, size_bytes)) return mem_read_split(bus, addr, size_bytes);
    const u8 *host = bus->shown.pages[addr.v >> PAGE_SHIFT].host;
    if (!host) return mem_read_device(bus, (u32)addr.v, size_bytes);
    host += addr.v & ~PAGE_MASK;
    if (size_bytes == 4) return get_le32(host);
    return size_bytes == 1 ? *host : get_le16(host);
}

void bus_write(Bus *bus, Phy addr, unsigned size_bytes, u32 value) {
    if (!mem_is_simple(addr, size_bytes)) {
        mem_write_split(bus, addr, size_bytes, value);
        return;
    }
    u32 ppn = (u32)(addr.v >> PAGE_SHIFT), offset = (u32)(addr.v & ~PAGE_MASK);
    BusPage *page = &bus->shown.pages[ppn];
    if (page->kind != BUS_PAGE_RAM) {
        mem_write_device(bus, (u32)addr.v, size_bytes, value);
        return;
    }
    u8 *host = page->host + offset;
    if (size_bytes == 4) put_le32(host, value);
    else if (size_bytes == 1) *host = (u8)value;
    else put_le16(host, (u16)value);
    mem_note_store(bus, page, ppn, offset, size_bytes);
}

// ---- DMA ----------------------------------------------------------------------------------------
// rep movsb: no vector register is touched, and the length is at most a page
static inline void mem_copy(void *to, const void *from, u64 bytes) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

// Bytes that can be transferred at once to a device at addr, `bytes` being left: 4, 2 or 1.
static unsigned mem_dma_step(u32 addr, u32 bytes) {
    if (bytes >= 4 && addr % 4 == 0) return 4;
    return bytes >= 2 && addr % 2 == 0 ? 2 : 1;
}

// A part of a DMA read within one page below 4 GiB.
static void mem_dma_read_page(Bus *bus, u32 addr, u8 *to, u32 bytes) {
    const u8 *host = bus->shown.pages[addr >> PAGE_SHIFT].host;
    if (host) {
        mem_copy(to, host + (addr & ~PAGE_MASK), bytes);
        return;
    }
    for (u32 step; bytes; addr += step, to += step, bytes -= step) {
        step = mem_dma_step(addr, bytes);
        u32 value = mem_read_device(bus, addr, step);
        for (u32 i = 0; i < step; i++) to[i] = (u8)(value >> (8 * i));
    }
}

static void mem_dma_write_page(Bus *bus, u32 addr, const u8 *from, u32 bytes) {
    u32 ppn = addr >> PAGE_SHIFT, offset = addr & ~PAGE_MASK;
    BusPage *page = &bus->shown.pages[ppn];
    if (page->kind == BUS_PAGE_RAM) {
        mem_begin(bus, page->host);
        mem_copy(page->host + offset, from, bytes);
        mem_note_store(bus, page, ppn, offset, bytes);
        return;
    }
    for (u32 step; bytes; addr += step, from += step, bytes -= step) {
        step = mem_dma_step(addr, bytes);
        u32 value = 0;
        for (u32 i = 0; i < step; i++) value |= (u32)from[i] << (8 * i);
        mem_write_device(bus, addr, step, value);
    }
}

void bus_dma_read(Bus *bus, Phy addr, void *to, u32 bytes) {
    if (log_on(bus->log, LOG(DMA)))
        log_printf(bus->log, "dma: read  %08llx+%x\n", (unsigned long long)addr.v, bytes);
    u8 *at = to;
    for (u32 part; bytes; addr.v += part, at += part, bytes -= part) {
        part = min_u32(bytes, PAGE_BYTES - (u32)(addr.v & ~PAGE_MASK));
        if (addr.v >> 32 == 0) mem_dma_read_page(bus, (u32)addr.v, at, part);
        else memset(at, 0xff, part);
    }
}

void bus_dma_write(Bus *bus, Phy addr, const void *from, u32 bytes) {
    if (log_on(bus->log, LOG(DMA)))
        log_printf(bus->log, "dma: write %08llx+%x\n", (unsigned long long)addr.v, bytes);
    const u8 *at = from;
    for (u32 part; bytes; addr.v += part, at += part, bytes -= part) {
        part = min_u32(bytes, PAGE_BYTES - (u32)(addr.v & ~PAGE_MASK));
        if (addr.v >> 32 == 0) mem_dma_write_page(bus, (u32)addr.v, at, part);
    }
}

int bus_memory_fd(Bus *bus) { return bus->memory_fd; }
