// SPDX-License-Identifier: MIT
// Where things are on the benchmark's floppy image and in the guest's memory. Read by the boot
// sector, the linker script, the guest and the harness, so it holds nothing but numbers.
//
//   image    sector 0: boot.S   sector 1: names of the programs to run, zero-ended
//            sector 2...: the guest (guest.ld)
//   memory   0x7c00 boot sector   0x10000 sectors 1... as read   1 MiB: names   1 MiB + 512: guest
#define LAYOUT_SECTOR_BYTES 512
#define LAYOUT_WANTED_SECTOR 1
#define LAYOUT_READ_AT 0x10000
#define LAYOUT_WANTED_AT 0x100000
#define LAYOUT_GUEST_AT (LAYOUT_WANTED_AT + LAYOUT_SECTOR_BYTES)
#define LAYOUT_GUEST_SECTORS_MAX 1000
#define LAYOUT_RAM_BYTES 0x4000000
#define LAYOUT_FLOPPY_BYTES 1474560
#define LAYOUT_DEBUG_PORT 0xe9
#define LAYOUT_EXIT_PORT 0xf4
// isa-debug-exit ends the emulator with status 2 * value + 1.
#define LAYOUT_EXIT_GOOD 0x10
#define LAYOUT_EXIT_BAD 0x11
