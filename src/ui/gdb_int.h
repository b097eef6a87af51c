// SPDX-License-Identifier: MIT
// The inside of the gdb server.
//   gdb.c         the session: packets, what they ask for, breakpoints
//   gdb_target.c  registers and memory in gdb's terms
//   gdb_link.c    the socket and its thread
#ifndef UI_GDB_INT_H
#define UI_GDB_INT_H

#include "ui/gdb.h"

// ---- gdb_link.c -----------------------------------------------------------------------------------
typedef struct GdbLink GdbLink;

typedef struct GdbLinkUser {       // called on the machine's thread
    void *self;
    void (*opened)(void *self);
    void (*input)(void *self, const u8 *bytes, size_t count);
    void (*closed)(void *self);
} GdbLinkUser;

// NULL: *err. `refusal` is sent to clients that come while another is there.
GdbLink *gdb_link_open(Bus *bus, const char *spec, const char *refusal, const GdbLinkUser *user,
                       char **err);
void gdb_link_send(GdbLink *link, const void *bytes, size_t count);
void gdb_link_close(GdbLink *link);        // writes out what is waiting, for a second at most

// ---- gdb_target.c ---------------------------------------------------------------------------------
#define GDB_GENERAL_REGS 41u               // those of packet g: up to mxcsr
#define GDB_REG_BYTES 16u                  // the widest

unsigned gdb_reg_count(void);
unsigned gdb_reg_get(Cpu *cpu, unsigned number, u8 *to);           // its bytes; 0: there is none
unsigned gdb_reg_set(Cpu *cpu, unsigned number, const u8 *from);   // likewise
// target.xml, malloc'ed.
char *gdb_target_xml(const Cpu *cpu);

// Linear addresses, or with `physical` physical ones; how many bytes could be done, from the start.
u32 gdb_mem_read(Machine *m, bool physical, u32 addr, u8 *to, u32 bytes);
u32 gdb_mem_write(Machine *m, bool physical, u32 addr, const u8 *from, u32 bytes);

#endif
