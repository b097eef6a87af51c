// SPDX-License-Identifier: MIT
// The firmware built into the binary: SeaBIOS and its VGA BIOSes for a VGA with Bochs VBE.
#ifndef PC_FIRMWARE_H
#define PC_FIRMWARE_H

#include "base/base.h"

typedef struct Firmware { const u8 *data; u32 bytes; } Firmware;

Firmware firmware_bios(void);
Firmware firmware_stdvga(void);     // for the PCI function
Firmware firmware_isavga(void);

#endif
