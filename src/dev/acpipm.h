// SPDX-License-Identifier: MIT
// Power management of Intel's PIIX4 (function 3): ACPI registers, the power management timer, and
// power-off. Also the fixed power-off ports 0x604 and 0xb004, and the APM ports 0xb2 and 0xb3.
#ifndef DEV_ACPIPM_H
#define DEV_ACPIPM_H

#include "bus/bus.h"
#include "dev/pci.h"

typedef struct AcpiPm AcpiPm;

// `device` is the PCI slot; `sci` the system control interrupt (IRQ9).
AcpiPm *acpipm_new(Bus *bus, PciBus *pci, unsigned device, Wire sci);
void acpipm_free(AcpiPm *a);

// The power button: the guest hears of it when it has switched ACPI on.
void acpipm_press_power(AcpiPm *a);

#endif
