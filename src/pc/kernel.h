// SPDX-License-Identifier: MIT
// Kernels without a boot disk: -kernel, -initrd, -append.
//
// The firmware stays in charge: it finds an option ROM (kernelrom.S) among fw_cfg's files, boots it
// first, and the ROM loads the kernel from fw_cfg. So a kernel has its BIOS services, memory map and
// ACPI tables, and a reset boots it again.
#ifndef PC_KERNEL_H
#define PC_KERNEL_H

#include "dev/fwcfg.h"

typedef struct KernelConfig {
    const char *path;          // bzImage or multiboot kernel; NULL: none
    const char *initrd;        // Linux: a file; multiboot: "FILE ARGS,FILE ARGS,..."; NULL: none
    const char *append;        // command line; NULL: empty
} KernelConfig;

// Adds the kernel to fw_cfg's files, ready to start. False: *err names the option and what is wrong.
bool kernel_add(FwCfg *fwcfg, u64 ram_bytes, const KernelConfig *config, char **err);

#endif
