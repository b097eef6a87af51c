// SPDX-License-Identifier: MIT
// The MC146818 real-time clock and CMOS memory: ports 0x70/0x71, upper bank 0x72/0x73.
//
//     Rtc *rtc = rtc_new(bus, pic_irq(pic, 8), epoch_seconds);
//     rtc_set_cmos(rtc, 0x10, floppy_types);
#ifndef DEV_RTC_H
#define DEV_RTC_H

#include "bus/device.h"

typedef struct Rtc Rtc;

// epoch_at_power_on: seconds since 1970 that the clock shows at guest time 0 (UTC, or local time
// for guests that want it so).
Rtc *rtc_new(Bus *bus, Wire irq8, i64 epoch_at_power_on);
void rtc_free(Rtc *rtc);
// Battery-backed bytes 0x0e to 0xff, for the board. They survive resets.
void rtc_set_cmos(Rtc *rtc, unsigned index, u8 value);
u8 rtc_get_cmos(Rtc *rtc, unsigned index);
bool rtc_nmi_masked(Rtc *rtc);              // bit 7 of port 0x70

#endif
