// SPDX-License-Identifier: MIT
// The firmware built into the binary by firmware.S.
#include "pc/firmware.h"

extern const u8 firmware_bios_start[] __attribute__((visibility("hidden")));
extern const u8 firmware_bios_end[] __attribute__((visibility("hidden")));
extern const u8 firmware_vgabios_start[] __attribute__((visibility("hidden")));
extern const u8 firmware_vgabios_end[] __attribute__((visibility("hidden")));

Firmware firmware_bios(void) {
    return (Firmware){ firmware_bios_start, (u32)(firmware_bios_end - firmware_bios_start) };
}

Firmware firmware_vgabios(void) {
    return (Firmware){ firmware_vgabios_start,
                       (u32)(firmware_vgabios_end - firmware_vgabios_start) };
}
