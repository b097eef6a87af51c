// SPDX-License-Identifier: MIT
// The firmware images as they lie in Debian's package seabios. Other files at build time:
//     cc -DFIRMWARE_BIOS='"/path/bios.bin"' -DFIRMWARE_STDVGA=... -DFIRMWARE_ISAVGA=... -c firmware.S
// bios-256k.bin is SeaBIOS for a PCI board; it needs neither SMM nor fw_cfg DMA.
// Both VGA BIOSes find Bochs VBE at ports 0x1ce/0x1cf; vgabios-stdvga.bin the frame buffer in BAR 0
// of its PCI function, vgabios-isavga.bin at 0xe0000000.
#ifndef FIRMWARE_BIOS
#define FIRMWARE_BIOS "/usr/share/seabios/bios-256k.bin"
#endif
#ifndef FIRMWARE_STDVGA
#define FIRMWARE_STDVGA "/usr/share/seabios/vgabios-stdvga.bin"
#endif
#ifndef FIRMWARE_ISAVGA
#define FIRMWARE_ISAVGA "/usr/share/seabios/vgabios-isavga.bin"
#endif

    .section .rodata
    .balign 16
    .global firmware_bios_start, firmware_bios_end
    .hidden firmware_bios_start, firmware_bios_end
firmware_bios_start:
    .incbin FIRMWARE_BIOS
firmware_bios_end:

    .balign 16
    .global firmware_stdvga_start, firmware_stdvga_end
    .hidden firmware_stdvga_start, firmware_stdvga_end
firmware_stdvga_start:
    .incbin FIRMWARE_STDVGA
firmware_stdvga_end:

    .balign 16
    .global firmware_isavga_start, firmware_isavga_end
    .hidden firmware_isavga_start, firmware_isavga_end
firmware_isavga_start:
    .incbin FIRMWARE_ISAVGA
firmware_isavga_end:

    .section .note.GNU-stack, "", @progbits
