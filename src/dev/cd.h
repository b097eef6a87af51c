// SPDX-License-Identifier: MIT
// A CD-ROM drive (MMC-3 with what ATAPI keeps of it), whose disc is a disk image of one data track.
// It knows commands, its tray and its disc, not the cable: that is ide.h's (ide_attach_cd).
//
//     Cd *cd = cd_new(bus, "ide1-cd0");
//     disk_close(cd_insert(cd, disk_open("debian.iso", DISK_READONLY, &message)));
#ifndef DEV_CD_H
#define DEV_CD_H

#include "bus/bus.h"
#include "dev/disk.h"

#define CD_SECTOR_BYTES 2048u
#define CD_RAW_BYTES 2352u         // a sector with sync pattern, header and error correction
#define CD_ROOM_BYTES 2352u        // least room for data of a command

typedef struct Cd Cd;

Cd *cd_new(Bus *bus, const char *name);       // the drive is empty; `name` must outlive it
void cd_free(Cd *cd);                         // the disc stays its owner's
const char *cd_name(const Cd *cd);

// Puts a disc in and closes the tray: the guest hears of the change. The disc that was in it is
// returned (NULL: none); the caller closes it. A reset forgets what there was to tell.
Disk *cd_insert(Cd *cd, Disk *disc);
// Opens the tray and takes the disc out, even of a locked drive.
Disk *cd_eject(Cd *cd);
Disk *cd_disc(const Cd *cd);                  // in the drive or on its open tray; NULL: none
bool cd_is_locked(const Cd *cd);              // the guest does not want it ejected
bool cd_is_open(const Cd *cd);
void cd_press_eject(Cd *cd);                  // the button: opens the tray, or asks the guest to

// ---- for the cable ------------------------------------------------------------------------------
typedef enum CdResult {
    CD_DONE,                   // the command has ended well
    CD_CHECK,                  // it has failed: cd_sense_key() says how
    CD_IN,                     // *bytes of data for the host; go on with cd_more()
    CD_OUT,                    // it wants *bytes (at most `room`) from the host, for cd_take()
} CdResult;

// Runs a command. `data` takes the beginning of the answer, `room` (CD_ROOM_BYTES at least) is its
// size.
CdResult cd_command(Cd *cd, const u8 packet[12], u8 *data, u32 room, u32 *bytes);
CdResult cd_more(Cd *cd, u8 *data, u32 room, u32 *bytes);
CdResult cd_take(Cd *cd, const u8 *data, u32 bytes);
u8 cd_sense_key(const Cd *cd);
void cd_reset(Cd *cd);                        // the cable's reset: what was running ends

#endif
