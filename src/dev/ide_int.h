// SPDX-License-Identifier: MIT
// The insides of an ATA channel:
//   ide.c       the task file, status and interrupt, commands of both kinds of drive, reset
//   ide_disk.c  the hard disk: addresses, PIO and DMA transfers, IDENTIFY DEVICE, geometry
//   ide_cd.c    the CD drive's side of the cable: PACKET and its phases, IDENTIFY PACKET DEVICE
//   cd.c        the CD drive's commands (MMC), which know nothing of the cable
//
// Invariants
//  1. `unit` (the drive that the device register selects) gets each command; `active` executes
//     one while its status says BSY or DRQ. `todo` is what `timer` will do to it; none: it waits
//     for the data port, for the DMA engine or for a command.
//  2. The data port moves bytes between `data_pos` and `in_end` or `out_end` of the buffer; both
//     ends are 0 when there is nothing to move: the port's fast path needs a single comparison.
//     The DMA engine moves those between `data_pos` and `held`.
//  3. Between two DRQ blocks the drive is BSY for IDE_DELAY_NS, so that a handler that takes a
//     block and then arms itself for the next does not miss the interrupt. Reading a register when
//     the time is up does the work at once: who polls never waits for the run loop.
//  4. A block of a write is acknowledged after disk_write took it.
//  5. Each drive has registers of its own: a write reaches those of both, a read shows those of the
//     selected drive (or of the other one where it is missing).
#ifndef DEV_IDE_INT_H
#define DEV_IDE_INT_H

#include "bus/device.h"
#include "dev/cd.h"
#include "dev/ide.h"

#define IDE_UNITS 2u
#define IDE_BUFFER_SECTORS 16u     // also the largest block of READ and WRITE MULTIPLE
#define IDE_BUFFER_BYTES (IDE_BUFFER_SECTORS * DISK_SECTOR_BYTES)
#define IDE_DELAY_NS 3000u
#define IDE_DMA_BURST 16u          // buffers that DMA moves before others get their turn
#define IDE_PACKET_BYTES 12u

enum { STATUS_ERROR = 1, STATUS_DATA = 8, STATUS_SEEK_DONE = 0x10, STATUS_FAULT = 0x20,
       STATUS_READY = 0x40, STATUS_BUSY = 0x80, STATUS_IDLE = STATUS_READY | STATUS_SEEK_DONE };
enum { ERROR_ABORT = 4, ERROR_NOT_FOUND = 0x10, ERROR_UNREADABLE = 0x40 };
enum { CONTROL_NO_IRQ = 2, CONTROL_RESET = 4, CONTROL_HOB = 0x80 };
enum { DEVICE_UNIT = 0x10, DEVICE_LBA = 0x40, DEVICE_ONES = 0xa0 };
enum { POWER_ACTIVE = 0, POWER_STANDBY = 1, POWER_SLEEP = 2 };

typedef enum IdeTodo {
    TODO_NONE, TODO_COMMAND, TODO_FILL, TODO_STORE, TODO_RESET, TODO_DMA
} IdeTodo;

// The registers that are two deep, for the 48-bit commands.
enum { REG_FEATURES, REG_COUNT, REG_LOW, REG_MID, REG_HIGH, REG_PAIRS };

struct Ide {
    Bus *bus;
    Wire irq;
    unsigned channel;
    IdeEngine engine;                          // its functions are NULL: none
    Disk *disk[IDE_UNITS];                     // the hard disk; NULL: no drive, or a CD drive
    Cd *cd[IDE_UNITS];                         // NULL: no drive, or a hard disk
    IdeGeometry geometry[IDE_UNITS];           // default translation

    Timer *timer;
    u64 due_ns;                                // when todo is to be done
    u8 todo, active, unit;                     // IdeTodo; drives
    u8 reg[IDE_UNITS * REG_PAIRS];             // each drive's: as last written or reported
    u8 old[IDE_UNITS * REG_PAIRS];             // the write before that
    u8 device, control, command;
    u8 status[IDE_UNITS], error[IDE_UNITS];
    bool pending[IDE_UNITS];                   // interrupt, before nIEN and selection
    bool intrq;                                // the cable's line
    u8 heads[IDE_UNITS], sectors[IDE_UNITS];   // current translation
    u8 multiple[IDE_UNITS];                    // sectors per block; 0: the commands are disabled
    u8 mode[IDE_UNITS];                        // DMA transfer mode as set by SET FEATURES
    bool write_cache[IDE_UNITS];
    u8 power[IDE_UNITS];

    // The transfer of `active`.
    u64 lba;                                   // next sector to transfer on the port
    u32 left;                                  // sectors of the command not yet transferred
    u8 buffered, block;                        // sectors from this block on in the buffer; in it
    u32 data_pos, in_end, out_end;
    u32 held;                                  // DMA, packets: where the buffer's contents end
    bool dma;                                  // the data go through the engine
    bool engine_wait;                          // which has been found idle
    u8 phase;                                  // CD drive: IdePhase
    u16 limit;                                 // CD drive: most bytes per DRQ block
    u8 data[IDE_BUFFER_BYTES + 4];             // 4: the fast path reads dwords, even at the end
    u8 scratch[IDE_UNITS * DISK_SECTOR_BYTES]; // READ BUFFER, WRITE BUFFER
};

typedef struct IdeCommand IdeCommand;
struct IdeCommand {
    u8 first, last;                            // opcodes
    u8 flags;                                  // IDE_*
    void (*run)(Ide *ide, const IdeCommand *c);
};
enum { IDE_EXT = 1,                            // 48-bit address
       IDE_MULTIPLE = 2,                       // blocks of SET MULTIPLE's size
       IDE_AT_ONCE = 4,                        // runs when it is written: data go to the drive
       IDE_MEDIUM = 8,                         // spins the disk up
       IDE_TO_DISK = 16 };                     // DMA: memory to disk

static inline bool ide_has(const Ide *ide, unsigned u) { return ide->disk[u] || ide->cd[u]; }
static inline u8 *ide_regs(Ide *ide) { return ide->reg + ide->active * REG_PAIRS; }
static inline u8 *ide_old(Ide *ide) { return ide->old + ide->active * REG_PAIRS; }

// ---- ide.c: for both kinds of drive -------------------------------------------------------------
void ide_set_pending(Ide *ide, unsigned unit, bool pending);
void ide_do_later(Ide *ide, IdeTodo todo, u64 delay_ns);
void ide_end_transfer(Ide *ide);
void ide_done(Ide *ide);                       // the command has ended well, interrupt
void ide_fail(Ide *ide, u8 error, u8 status);  // further status bits beside ERR
void ide_abort(Ide *ide);
// Shows `bytes` from data_pos on at the data port, with an interrupt.
void ide_offer_block(Ide *ide, u32 bytes);
// Takes `bytes` from data_pos on at the data port. No interrupt.
void ide_want_block(Ide *ide, u32 bytes);
// Moves data_pos towards `held` through the engine. False: it has stopped; its start goes on.
bool ide_move_dma(Ide *ide, bool to_memory);
void ide_put_signature(Ide *ide, unsigned unit);
const IdeCommand *ide_find_in(const IdeCommand *table, u8 opcode);   // its last row takes all

void ide_run_nothing(Ide *ide, const IdeCommand *c);
void ide_run_abort(Ide *ide, const IdeCommand *c);
void ide_run_standby(Ide *ide, const IdeCommand *c);
void ide_run_idle(Ide *ide, const IdeCommand *c);
void ide_run_sleep(Ide *ide, const IdeCommand *c);
void ide_run_check_power(Ide *ide, const IdeCommand *c);
void ide_run_set_features(Ide *ide, const IdeCommand *c);
void ide_run_diagnostic(Ide *ide, const IdeCommand *c);

// Parts of IDENTIFY's 256 words.
void ide_put_word(u8 *id, unsigned word, u32 value);
void ide_put_text(u8 *id, unsigned word, unsigned words, const char *text);
void ide_put_names(const Ide *ide, unsigned unit, u8 *id, const char *model);
void ide_put_modes(const Ide *ide, unsigned unit, u8 *id);     // PIO and DMA modes, reset result
void ide_offer_identity(Ide *ide, const u8 *id);

// ---- ide_info.c ---------------------------------------------------------------------------------
void ide_info(void *self, FILE *out);

// ---- ide_disk.c ---------------------------------------------------------------------------------
const IdeCommand *ide_disk_command(u8 opcode);
void ide_disk_next_read(Ide *ide);
void ide_disk_block_taken(Ide *ide);
void ide_disk_store(Ide *ide);
void ide_disk_dma(Ide *ide);
int ide_disk_flush(Ide *ide);
void ide_disk_apply_geometry(Ide *ide);

// ---- ide_cd.c -----------------------------------------------------------------------------------
const IdeCommand *ide_cd_command(u8 opcode);
void ide_cd_next(Ide *ide);                    // the data phase goes on
void ide_cd_given(Ide *ide);                   // the packet, or data for it, has arrived
void ide_cd_reset(Ide *ide, unsigned unit);    // DEVICE RESET

#endif
