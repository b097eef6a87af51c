// SPDX-License-Identifier: MIT
// The list of devices and what is read from their field tables: reset, info, snapshots, the hash.
//
// Reset and loading go in two rounds: first all fields of all devices, then all reset/loaded
// functions in order of registration. So a device may drive a wire into one registered later.
//
// Snapshot, all numbers little-endian, names without terminator:
//     "GBXSTATE" u32 version  u32 devices  u64 guest time in ns
//     per device: u16 length, name, u32 fields
//     per field:  u16 length, name, u16 kind, u16 element_bytes, u32 count, the elements
// A timer is saved as its deadline (8 bytes, all ones: not armed). RAM is not in it.
// Devices and fields are found by name, so their order may change; a field that the file does not
// hold gets its reset value; a name or size that the machine does not know is an error.
#include "bus/bus_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { STATE_VERSION = 1, STATE_NAME_MAX = 255 };
static const char state_magic[8] = { 'G', 'B', 'X', 'S', 'T', 'A', 'T', 'E' };

static FieldKind field_kind(const Field *f) { return (FieldKind)(f->kind & 0xff); }

static u8 *field_at(const BusDevice *d, const Field *f, u32 i) {
    return (u8 *)d->self + f->offset + (size_t)i * f->element_bytes;
}

static u64 field_bytes(const Field *f) { return (u64)f->element_bytes * f->count; }

static void field_check(const Field *f) {
    unsigned n = f->element_bytes;
    switch (field_kind(f)) {
    case FIELD_UINT: require(n == 1 || n == 2 || n == 4 || n == 8); return;
    case FIELD_BOOL: require(n == sizeof(bool)); return;
    case FIELD_BYTES: return;
    case FIELD_TIMER: require(n == sizeof(Timer *)); return;
    default: panic("field %s has no kind", f->name);
    }
}

static Timer *field_timer(const BusDevice *d, const Field *f, u32 i) {
    return *(Timer **)(void *)field_at(d, f, i);
}

// The value of an element of UINT, BOOL or TIMER.
static u64 field_get(const BusDevice *d, const Field *f, u32 i) {
    u64 value = 0;
    if (field_kind(f) == FIELD_TIMER) return bus_timer_deadline(field_timer(d, f, i));
    memcpy(&value, field_at(d, f, i), f->element_bytes);
    return value;
}

static void field_set(const BusDevice *d, const Field *f, u32 i, u64 value) {
    if (field_kind(f) == FIELD_BOOL) value = value != 0;
    if (field_kind(f) != FIELD_TIMER) memcpy(field_at(d, f, i), &value, f->element_bytes);
    else if (value == UINT64_MAX) bus_timer_stop(field_timer(d, f, i));
    else bus_timer_at(field_timer(d, f, i), value);
}

// ---- registration -------------------------------------------------------------------------------
static BusDevice *device_find(Bus *bus, const char *name) {
    for (u32 i = 0; i < bus->device_count; i++)
        if (!strcmp(bus->devices[i].name, name)) return &bus->devices[i];
    return NULL;
}

void device_add(Bus *bus, const DeviceClass *cls, const char *name, void *self) {
    if (!name) name = cls->name;
    if (device_find(bus, name)) panic("two devices are called %s", name);
    require(strlen(name) <= STATE_NAME_MAX);
    for (unsigned i = 0; i < cls->field_count; i++) field_check(&cls->fields[i]);
    bus->devices = mem_resize(bus->devices, (bus->device_count + 1) * sizeof(*bus->devices));
    bus->devices[bus->device_count++] = (BusDevice){ cls, mem_strdup(name), self };
}

void bus_devices_close(Bus *bus) {
    for (u32 i = 0; i < bus->device_count; i++) free((char *)bus->devices[i].name);
    free(bus->devices);
}

// ---- reset --------------------------------------------------------------------------------------
static void device_reset_fields(const BusDevice *d, bool kept_too) {
    for (unsigned n = 0; n < d->cls->field_count; n++) {
        const Field *f = &d->cls->fields[n];
        if ((f->kind & FIELD_KEPT) && !kept_too) continue;
        if (field_kind(f) == FIELD_BYTES) {
            memset(field_at(d, f, 0), (int)f->reset, field_bytes(f));
            continue;
        }
        u64 value = field_kind(f) == FIELD_TIMER ? UINT64_MAX : f->reset;
        for (u32 i = 0; i < f->count; i++) field_set(d, f, i, value);
    }
}

void device_reset_all(Bus *bus) {
    for (u32 i = 0; i < bus->device_count; i++) device_reset_fields(&bus->devices[i], false);
    for (u32 i = 0; i < bus->device_count; i++)
        if (bus->devices[i].cls->reset) bus->devices[i].cls->reset(bus->devices[i].self);
}

// ---- info ---------------------------------------------------------------------------------------
enum { INFO_WIDTH = 96, INFO_ROW_BYTES = 16, INFO_ROWS = 16 };

static bool field_row_is_zero(const u8 *at, u32 bytes) {
    for (u32 i = 0; i < bytes; i++)
        if (at[i]) return false;
    return true;
}

// Rows of zeros are left out, and what comes after the first few others.
static void field_print_bytes(const BusDevice *d, const Field *f, FILE *out) {
    const u8 *data = field_at(d, f, 0);
    u32 bytes = (u32)field_bytes(f), rows = 0;
    fprintf(out, "  %s: %u bytes", f->name, bytes);
    for (u32 at = 0; at < bytes; at += INFO_ROW_BYTES) {
        u32 row = min_u32(INFO_ROW_BYTES, bytes - at);
        if (field_row_is_zero(data + at, row) || ++rows > INFO_ROWS) continue;
        fprintf(out, "\n    %03x:", at);
        for (u32 i = 0; i < row; i++) fprintf(out, " %02x", data[at + i]);
    }
    if (rows > INFO_ROWS) fprintf(out, "\n    and %u rows more", rows - INFO_ROWS);
    fprintf(out, rows ? "\n" : " of zeros\n");
}

static void field_print_timer(Bus *bus, u64 deadline_ns, FILE *out) {
    u64 now_ns = bus_now_ns(bus);
    if (deadline_ns == UINT64_MAX) fprintf(out, " stopped");
    else if (deadline_ns <= now_ns) fprintf(out, " due");
    else fprintf(out, " in %" PRIu64 " ns", deadline_ns - now_ns);
}

static void field_print_values(Bus *bus, const BusDevice *d, const Field *f, FILE *out) {
    fprintf(out, "  %s:", f->name);
    for (u32 i = 0; i < f->count; i++) {
        u64 value = field_get(d, f, i);
        if (field_kind(f) == FIELD_TIMER) field_print_timer(bus, value, out);
        else if (field_kind(f) == FIELD_BOOL) fprintf(out, " %s", value ? "yes" : "no");
        else fprintf(out, " %0*" PRIx64, f->element_bytes * 2, value);
    }
}

// As many fields on a line as it holds.
static void device_print_fields(Bus *bus, const BusDevice *d, FILE *out) {
    size_t column = 0;
    for (unsigned i = 0; i < d->cls->field_count; i++) {
        const Field *f = &d->cls->fields[i];
        char *text;
        size_t length;
        bool bytes = field_kind(f) == FIELD_BYTES;
        FILE *line = open_memstream(&text, &length);
        if (!line) panic("out of memory");
        if (bytes) field_print_bytes(d, f, line);
        else field_print_values(bus, d, f, line);
        fclose(line);
        if (column && (bytes || column + length > INFO_WIDTH)) column = 0, fputc('\n', out);
        fputs(text, out);
        if (!bytes) column += length;
        free(text);
    }
    if (column) fputc('\n', out);
}

bool device_info(Bus *bus, const char *name, FILE *out) {
    const BusDevice *d = device_find(bus, name);
    if (!d) return false;
    if (d->cls->info) d->cls->info(d->self, out);
    fprintf(out, "%s:\n", d->name);
    device_print_fields(bus, d, out);
    return true;
}

void device_list(Bus *bus, FILE *out) {
    for (u32 i = 0; i < bus->device_count; i++) fprintf(out, "%s\n", bus->devices[i].name);
}

// ---- saving -------------------------------------------------------------------------------------
static void state_put(FILE *f, u64 value, unsigned bytes) { fwrite(&value, 1, bytes, f); }

static void state_put_name(FILE *f, const char *name) {
    state_put(f, strlen(name), 2);
    fwrite(name, 1, strlen(name), f);
}

static void state_put_field(FILE *out, const BusDevice *d, const Field *f) {
    state_put_name(out, f->name);
    state_put(out, field_kind(f), 2);
    state_put(out, f->element_bytes, 2);
    state_put(out, f->count, 4);
    if (field_kind(f) == FIELD_BYTES) fwrite(field_at(d, f, 0), 1, field_bytes(f), out);
    else for (u32 i = 0; i < f->count; i++) state_put(out, field_get(d, f, i), f->element_bytes);
}

bool device_save(Bus *bus, FILE *f, char **err) {
    fwrite(state_magic, 1, sizeof(state_magic), f);
    state_put(f, STATE_VERSION, 4);
    state_put(f, bus->device_count, 4);
    state_put(f, bus_now_ns(bus), 8);
    for (u32 i = 0; i < bus->device_count; i++) {
        const BusDevice *d = &bus->devices[i];
        state_put_name(f, d->name);
        state_put(f, d->cls->field_count, 4);
        for (unsigned n = 0; n < d->cls->field_count; n++)
            state_put_field(f, d, &d->cls->fields[n]);
    }
    if (!ferror(f)) return true;
    *err = mem_strdup("the snapshot cannot be written");
    return false;
}

// ---- loading ------------------------------------------------------------------------------------
typedef struct StateReader {
    FILE *f;
    char **err;                // set once: the first error
    bool failed;
    char name[STATE_NAME_MAX + 1];   // last name read
} StateReader;

// Records an error (takes the message over when it is the first one).
static void state_fail(StateReader *r, char *message) {
    if (r->failed) free(message);
    else *r->err = message;
    r->failed = true;
}

static void state_get_bytes(StateReader *r, void *to, u64 bytes) {
    if (!r->failed && fread(to, 1, bytes, r->f) == bytes) return;
    memset(to, 0, bytes);
    state_fail(r, mem_strdup("the snapshot ends too early"));
}

static u64 state_get(StateReader *r, unsigned bytes) {
    u64 value = 0;
    state_get_bytes(r, &value, bytes);
    return value;
}

static void state_get_name(StateReader *r) {
    u64 length = state_get(r, 2);
    if (length > STATE_NAME_MAX) {
        state_fail(r, mem_strdup("the snapshot is damaged: a name is too long"));
        length = 0;
    }
    state_get_bytes(r, r->name, length);
    r->name[length] = 0;
}

static const Field *field_find(const DeviceClass *cls, const char *name) {
    for (unsigned i = 0; i < cls->field_count; i++)
        if (!strcmp(cls->fields[i].name, name)) return &cls->fields[i];
    return NULL;
}

static void state_get_field(StateReader *r, const BusDevice *d) {
    state_get_name(r);
    u64 kind = state_get(r, 2), element_bytes = state_get(r, 2), count = state_get(r, 4);
    if (r->failed) return;
    const Field *f = field_find(d->cls, r->name);
    if (!f || field_kind(f) != kind || f->element_bytes != element_bytes || f->count != count) {
        state_fail(r, mem_printf("the snapshot's field %s.%s does not fit this machine", d->name,
                                 r->name));
        return;
    }
    if (kind == FIELD_BYTES) {
        state_get_bytes(r, field_at(d, f, 0), field_bytes(f));
        return;
    }
    for (u32 i = 0; i < f->count; i++) {
        u64 value = state_get(r, f->element_bytes);
        if (!r->failed) field_set(d, f, i, value);
    }
}

static void state_get_device(StateReader *r, Bus *bus) {
    state_get_name(r);
    u64 fields = state_get(r, 4);
    if (r->failed) return;
    const BusDevice *d = device_find(bus, r->name);
    if (!d) {
        state_fail(r, mem_printf("the snapshot has a device that this machine lacks: %s", r->name));
        return;
    }
    for (u64 i = 0; i < fields && !r->failed; i++) state_get_field(r, d);
}

// A load that fails after the header leaves the machine in a mixed state: reset it then.
bool device_load(Bus *bus, FILE *f, char **err) {
    StateReader r = { .f = f, .err = err };
    char magic[sizeof(state_magic)];
    state_get_bytes(&r, magic, sizeof(magic));
    if (memcmp(magic, state_magic, sizeof(magic)))
        state_fail(&r, mem_strdup("this is not a snapshot of glassbox"));
    u64 version = state_get(&r, 4);
    if (version != STATE_VERSION)
        state_fail(&r, mem_printf("the snapshot's version is %u, not %u", (unsigned)version,
                                  (unsigned)STATE_VERSION));
    u64 devices = state_get(&r, 4), now_ns = state_get(&r, 8);
    if (!r.failed && devices != bus->device_count)
        state_fail(&r, mem_printf("the snapshot has %u devices, this machine has %u",
                                  (unsigned)devices, bus->device_count));
    if (r.failed) return false;
    bus_clock_set(bus, now_ns);
    for (u32 i = 0; i < bus->device_count; i++) device_reset_fields(&bus->devices[i], true);
    for (u64 i = 0; i < devices && !r.failed; i++) state_get_device(&r, bus);
    if (r.failed) return false;
    for (u32 i = 0; i < bus->device_count; i++)
        if (bus->devices[i].cls->loaded) bus->devices[i].cls->loaded(bus->devices[i].self);
    return true;
}

// ---- hash ---------------------------------------------------------------------------------------
static u64 hash_bytes(u64 hash, const void *p, u64 bytes) {      // FNV-1a
    const u8 *at = p;
    for (u64 i = 0; i < bytes; i++) hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

static u64 hash_field(u64 hash, const BusDevice *d, const Field *f) {
    hash = hash_bytes(hash, f->name, strlen(f->name));
    if (field_kind(f) == FIELD_BYTES) return hash_bytes(hash, field_at(d, f, 0), field_bytes(f));
    for (u32 i = 0; i < f->count; i++) hash = hash_bytes(hash, &(u64){ field_get(d, f, i) }, 8);
    return hash;
}

u64 device_hash(Bus *bus) {
    u64 hash = 0xcbf29ce484222325u;
    for (u32 i = 0; i < bus->device_count; i++) {
        const BusDevice *d = &bus->devices[i];
        hash = hash_bytes(hash, d->name, strlen(d->name));
        for (unsigned n = 0; n < d->cls->field_count; n++)
            hash = hash_field(hash, d, &d->cls->fields[n]);
    }
    return hash;
}
