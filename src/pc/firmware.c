// SPDX-License-Identifier: MIT
// The firmware built into the binary by firmware.S.
#include "pc/firmware.h"

extern const u8 firmware_bios_start[] __attribute__((visibility("hidden")));
extern const u8 firmware_bios_end[] __attribute__((visibility("hidden")));
extern const u8 firmware_stdvga_start[] __attribute__((visibility("hidden")));
extern const u8 firmware_stdvga_end[] __attribute__((visibility("hidden")));
extern const u8 firmware_isavga_start[] __attribute__((visibility("hidden")));
extern const u8 firmware_isavga_end[] __attribute__((visibility("hidden")));

Firmware firmware_bios(void) {
    return (Firmware){ firmware_bios_start, (u32)(firmware_bios_end - firmware_bios_start) };
}

Firmware firmware_stdvga(void) {
    return (Firmware){ firmware_stdvga_start, (u32)(firmware_stdvga_end - firmware_stdvga_start) };
}

Firmware firmware_isavga(void) {
    return (Firmware){ firmware_isavga_start, (u32)(firmware_isavga_end - firmware_isavga_start) };
}
