// SPDX-License-Identifier: MIT
// The firmware images as they lie in Debian's package seabios. Other files at build time:
//     cc -DFIRMWARE_BIOS='"/path/bios.bin"' -DFIRMWARE_VGABIOS='"/path/vgabios.bin"' -c firmware.S
// bios-256k.bin is SeaBIOS for a PCI board; it needs neither SMM nor fw_cfg DMA.
// vgabios-isavga.bin finds its Bochs VBE at ports 0x1ce/0x1cf, its frame buffer at 0xe0000000.
#ifndef FIRMWARE_BIOS
#define FIRMWARE_BIOS "/usr/share/seabios/bios-256k.bin"
#endif
#ifndef FIRMWARE_VGABIOS
#define FIRMWARE_VGABIOS "/usr/share/seabios/vgabios-isavga.bin"
#endif

    .section .rodata
    .balign 16
    .global firmware_bios_start, firmware_bios_end
    .hidden firmware_bios_start, firmware_bios_end
firmware_bios_start:
    .incbin FIRMWARE_BIOS
firmware_bios_end:

    .balign 16
    .global firmware_vgabios_start, firmware_vgabios_end
    .hidden firmware_vgabios_start, firmware_vgabios_end
firmware_vgabios_start:
    .incbin FIRMWARE_VGABIOS
firmware_vgabios_end:

    .section .note.GNU-stack, "", @progbits
