// SPDX-License-Identifier: MIT
// What every device declares: its state, in one field table. Reset, `info DEVICE`, snapshots and the
// state hash are read from it, so a field is named once.
//
//     typedef struct Pit { Bus *bus; u16 reload[3]; bool gate2; } Pit;
//     static const Field pit_fields[] = {
//         FIELD_ARRAY(Pit, reload, FIELD_UINT, 0),
//         FIELD(Pit, gate2, FIELD_BOOL, 1),
//     };
//     static const DeviceClass pit_class = { "pit", pit_fields, ARRAY_LEN(pit_fields), pit_reset, pit_loaded };
//     device_add(bus, &pit_class, pit);
#ifndef BUS_DEVICE_H
#define BUS_DEVICE_H

#include "bus/bus.h"

typedef enum FieldKind {
    FIELD_UINT,                // unsigned integers of 1, 2, 4 or 8 bytes
    FIELD_BOOL,
    FIELD_BYTES,               // raw bytes (FIFOs, sector buffers); reset fills with `reset`
    FIELD_TIMER,               // a Timer *: saved as its deadline; reset stops it
    FIELD_KEPT = 0x100,        // or'ed to a kind: battery-backed, reset leaves it alone
} FieldKind;

typedef struct Field {
    const char *name;
    u32 offset;                // in the device's struct
    u16 element_bytes;
    u16 kind;                  // FieldKind
    u32 count;                 // elements
    u64 reset;                 // value of each element after power-on reset
} Field;

#define FIELD(T, m, k, r) { #m, offsetof(T, m), sizeof(((T *)0)->m), k, 1, r }
#define FIELD_ARRAY(T, m, k, r) { #m, offsetof(T, m), sizeof(((T *)0)->m[0]), k, \
        sizeof(((T *)0)->m) / sizeof(((T *)0)->m[0]), r }

typedef struct DeviceClass {
    const char *name;          // "pit", "ide0", ... unique in the machine
    const Field *fields;
    unsigned field_count;
    void (*reset)(void *self);   // after the fields are reset: recompute derived things, drive wires; may be NULL
    void (*loaded)(void *self);  // after a snapshot was loaded; may be NULL
    void (*info)(void *self, FILE *out);  // extra text for the monitor's `info NAME`; may be NULL
} DeviceClass;

// Registers; `name` overrides the class's when not NULL (two UARTs). The bus calls nothing by itself.
void device_add(Bus *bus, const DeviceClass *cls, const char *name, void *self);
void device_reset_all(Bus *bus);
bool device_info(Bus *bus, const char *name, FILE *out);    // prints every field; false: no such device
void device_list(Bus *bus, FILE *out);
// Writes / reads all devices' fields, tagged by device and field name. False: message in *err (malloc'ed).
bool device_save(Bus *bus, FILE *f, char **err);
bool device_load(Bus *bus, FILE *f, char **err);
u64 device_hash(Bus *bus);                                  // of all fields

#endif
