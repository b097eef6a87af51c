// SPDX-License-Identifier: MIT
// The MC146818 real-time clock and CMOS memory.
//
// Sources: Motorola MC146818 datasheet; Intel 82371FB/SB datasheet (upper bank); IBM PC AT
// technical reference (CMOS layout, NMI mask).
//
// The time is in the registers, as on the chip, and rtc_sync() carries them forward by the whole
// seconds that have passed since they were last looked at. What a program writes stays as it is
// until the next update. Timers run only for interrupts that are enabled; all other flags are found
// when somebody looks.
//
// Invariants
//  1. rtc_sync() comes first in every access, so that registers and flags are those of the present.
//  2. `next_update_ns` is the end of the coming update cycle; the cycle goes on under SET (without
//     touching the time) and stands still while register A holds the divider in reset.
//  3. IRQF and the wire follow from flags and enables: rtc_update_irq() is the only place.
#include "dev/rtc.h"

#include <stdlib.h>
#include <string.h>

enum {
    RTC_SECOND = 0, RTC_SECOND_ALARM, RTC_MINUTE, RTC_MINUTE_ALARM, RTC_HOUR, RTC_HOUR_ALARM,
    RTC_WEEKDAY, RTC_DAY, RTC_MONTH, RTC_YEAR, RTC_A, RTC_B, RTC_C, RTC_D, RTC_CENTURY = 0x32
};
enum { A_UIP = 0x80, A_DIVIDER = 0x70, A_RATE = 0x0f };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_SQWE = 8 };
enum { B_BINARY = 4, B_24H = 2 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };
enum { D_VALID = 0x80 };
enum { RTC_CATCH_UP = 20 };                     // periodic interrupts delivered late, see pit.c
enum { SECONDS_PER_DAY = 86400 };

#define RTC_HZ 32768u
#define NS_PER_SECOND 1000000000ull
#define UPDATE_NS 2228000u                      // UIP: 244 us before the update and its 1984 us
#define HALF_SECOND_NS 500000000u               // divider released to first update

struct Rtc {
    Bus *bus;
    Wire irq8;
    Timer *update_timer;       // UIE or AIE: the next update
    Timer *periodic_timer;     // PIE: the next period
    u64 next_update_ns;        // guest time
    u64 chain_ns;              // guest time at which the divider chain started
    u64 periodic_tick;         // next end of a period, in 1/32768 s since chain_ns
    u8 cmos[256];              // 0-13 registers; UIP in A is computed
    u8 index, upper_index;     // selected bytes, 0-127
    bool nmi_masked;
};

static const Field rtc_fields[] = {
    FIELD(Rtc, update_timer, FIELD_TIMER, 0),
    FIELD(Rtc, periodic_timer, FIELD_TIMER, 0),
    FIELD(Rtc, next_update_ns, FIELD_UINT | FIELD_KEPT, NS_PER_SECOND),
    FIELD(Rtc, chain_ns, FIELD_UINT | FIELD_KEPT, 0),
    FIELD(Rtc, periodic_tick, FIELD_UINT | FIELD_KEPT, 0),
    FIELD_ARRAY(Rtc, cmos, FIELD_BYTES | FIELD_KEPT, 0),
    FIELD(Rtc, index, FIELD_UINT, 0),
    FIELD(Rtc, upper_index, FIELD_UINT, 0),
    FIELD(Rtc, nmi_masked, FIELD_BOOL, 0),
};

// ---- the calendar -------------------------------------------------------------------------------
typedef struct RtcDate { i64 year; unsigned month, day; } RtcDate;      // month 1-12, day 1-31

// Days since 1970-01-01. Years are counted from March, so that the leap day is the last one.
static i64 date_to_days(RtcDate d) {
    i64 year = d.month > 2 ? d.year : d.year - 1;
    i64 era = (year >= 0 ? year : year - 399) / 400;
    i64 year_of_era = year - era * 400;
    i64 day_of_year = (153 * ((i64)d.month + (d.month > 2 ? -3 : 9)) + 2) / 5 + (i64)d.day - 1;
    i64 day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static RtcDate date_of_days(i64 days) {
    i64 shifted = days + 719468;
    i64 era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    i64 day_of_era = shifted - era * 146097;
    i64 year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    i64 day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    i64 month_from_march = (5 * day_of_year + 2) / 153;
    unsigned day = (unsigned)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    unsigned month = (unsigned)(month_from_march + (month_from_march < 10 ? 3 : -9));
    return (RtcDate){ year_of_era + era * 400 + (month <= 2), month, day };
}

// ---- register formats ---------------------------------------------------------------------------
static unsigned rtc_decode(const Rtc *rtc, u8 v) {
    return rtc->cmos[RTC_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static u8 rtc_encode(const Rtc *rtc, unsigned v) {
    return (u8)(rtc->cmos[RTC_B] & B_BINARY ? v : v / 10 % 10 << 4 | v % 10);
}

static unsigned rtc_decode_hour(const Rtc *rtc, u8 v) {
    if (rtc->cmos[RTC_B] & B_24H) return rtc_decode(rtc, v);
    return rtc_decode(rtc, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

static u8 rtc_encode_hour(const Rtc *rtc, unsigned hour) {
    if (rtc->cmos[RTC_B] & B_24H) return rtc_encode(rtc, hour);
    return (u8)(rtc_encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0));
}

static u64 rtc_second_of_day(const Rtc *rtc) {
    return rtc_decode(rtc, rtc->cmos[RTC_SECOND]) + 60 * rtc_decode(rtc, rtc->cmos[RTC_MINUTE])
        + 3600 * rtc_decode_hour(rtc, rtc->cmos[RTC_HOUR]);
}

static void rtc_set_second_of_day(Rtc *rtc, u64 second) {
    rtc->cmos[RTC_SECOND] = rtc_encode(rtc, (unsigned)(second % 60));
    rtc->cmos[RTC_MINUTE] = rtc_encode(rtc, (unsigned)(second / 60 % 60));
    rtc->cmos[RTC_HOUR] = rtc_encode_hour(rtc, (unsigned)(second / 3600));
}

static i64 rtc_days(const Rtc *rtc) {
    unsigned month = rtc_decode(rtc, rtc->cmos[RTC_MONTH]);
    return date_to_days((RtcDate){
        .year = 100 * rtc_decode(rtc, rtc->cmos[RTC_CENTURY])
            + rtc_decode(rtc, rtc->cmos[RTC_YEAR]),
        .month = month < 1 ? 1 : min_u32(month, 12),
        .day = rtc_decode(rtc, rtc->cmos[RTC_DAY]),
    });
}

static void rtc_set_days(Rtc *rtc, i64 days) {
    RtcDate d = date_of_days(days);
    rtc->cmos[RTC_DAY] = rtc_encode(rtc, d.day);
    rtc->cmos[RTC_MONTH] = rtc_encode(rtc, d.month);
    rtc->cmos[RTC_YEAR] = rtc_encode(rtc, (unsigned)(d.year % 100));
    rtc->cmos[RTC_CENTURY] = rtc_encode(rtc, (unsigned)(d.year / 100 % 100));
}

// ---- updates ------------------------------------------------------------------------------------
// One alarm byte: its two upper bits set mean "any".
static bool alarm_matches(u8 alarm, unsigned alarm_value, unsigned value) {
    return (alarm & 0xc0) == 0xc0 || alarm_value == value;
}

// Did the alarm match in one of the `count` seconds after second_of_day?
static bool rtc_alarm_hit(const Rtc *rtc, u64 second_of_day, u64 count) {
    u8 s = rtc->cmos[RTC_SECOND_ALARM], m = rtc->cmos[RTC_MINUTE_ALARM];
    u8 h = rtc->cmos[RTC_HOUR_ALARM];
    unsigned sv = rtc_decode(rtc, s), mv = rtc_decode(rtc, m), hv = rtc_decode_hour(rtc, h);
    for (u64 i = 1; i <= min_u64(count, SECONDS_PER_DAY); i++) {
        unsigned at = (unsigned)((second_of_day + i) % SECONDS_PER_DAY);
        if (alarm_matches(s, sv, at % 60) && alarm_matches(m, mv, at / 60 % 60)
            && alarm_matches(h, hv, at / 3600))
            return true;
    }
    return false;
}

// Carries the time forward. The weekday is a counter of its own, as on the chip.
static void rtc_advance(Rtc *rtc, u64 seconds) {
    u64 second = rtc_second_of_day(rtc);
    if (rtc_alarm_hit(rtc, second, seconds)) rtc->cmos[RTC_C] |= C_AF;
    rtc->cmos[RTC_C] |= C_UF;
    second += seconds;
    u64 days = second / SECONDS_PER_DAY;
    rtc_set_second_of_day(rtc, second % SECONDS_PER_DAY);
    if (!days) return;
    rtc_set_days(rtc, rtc_days(rtc) + (i64)days);
    unsigned weekday = rtc_decode(rtc, rtc->cmos[RTC_WEEKDAY]);
    rtc->cmos[RTC_WEEKDAY] = rtc_encode(rtc, (unsigned)((weekday + 6 + days % 7) % 7 + 1));
}

// ---- the divider chain --------------------------------------------------------------------------
// Time bases 0 to 2 run; all other settings hold the chain in reset.
static bool rtc_chain_runs(const Rtc *rtc) { return (rtc->cmos[RTC_A] & A_DIVIDER) <= 0x20; }

static u64 rtc_tick(const Rtc *rtc, u64 now_ns) {
    u64 ns = now_ns - rtc->chain_ns;
    return ns / NS_PER_SECOND * RTC_HZ + ns % NS_PER_SECOND * RTC_HZ / NS_PER_SECOND;
}

static u64 rtc_ns_of_tick(const Rtc *rtc, u64 tick) {
    u64 part = tick % RTC_HZ * NS_PER_SECOND;
    return rtc->chain_ns + tick / RTC_HZ * NS_PER_SECOND + (part + RTC_HZ - 1) / RTC_HZ;
}

// Ticks in a period; 0: the periodic output is off.
static u64 rtc_period(const Rtc *rtc) {
    unsigned rate = rtc->cmos[RTC_A] & A_RATE;
    if (!rate || !rtc_chain_runs(rtc)) return 0;
    return 1ull << (rate < 3 ? rate + 6 : rate - 1);
}

static void rtc_next_period(Rtc *rtc, u64 now_ns) {
    u64 period = rtc_period(rtc);
    if (period) rtc->periodic_tick = (rtc_tick(rtc, now_ns) / period + 1) * period;
}

static void rtc_update_irq(Rtc *rtc) {
    u8 *c = &rtc->cmos[RTC_C];
    bool irq = *c & rtc->cmos[RTC_B] & (C_PF | C_AF | C_UF);
    *c = (u8)((*c & ~C_IRQF) | (irq ? C_IRQF : 0));
    wire_set(&rtc->irq8, irq);
}

static void rtc_sync(Rtc *rtc, u64 now_ns) {
    if (!rtc_chain_runs(rtc)) return;
    if (now_ns >= rtc->next_update_ns) {
        u64 seconds = (now_ns - rtc->next_update_ns) / NS_PER_SECOND + 1;
        rtc->next_update_ns += seconds * NS_PER_SECOND;
        if (!(rtc->cmos[RTC_B] & B_SET)) rtc_advance(rtc, seconds);
    }
    // with PIE the timer sets PF, so that each period interrupts even when the machine is late
    if (rtc_period(rtc) && !(rtc->cmos[RTC_B] & B_PIE)
        && rtc_tick(rtc, now_ns) >= rtc->periodic_tick) {
        rtc->cmos[RTC_C] |= C_PF;
        rtc_next_period(rtc, now_ns);
    }
    rtc_update_irq(rtc);
}

// ---- timers -------------------------------------------------------------------------------------
static void rtc_arm(Rtc *rtc) {
    u8 b = rtc->cmos[RTC_B];
    if ((b & (B_AIE | B_UIE)) && !(b & B_SET) && rtc_chain_runs(rtc))
        bus_timer_at(rtc->update_timer, rtc->next_update_ns);
    else
        bus_timer_stop(rtc->update_timer);
    if (!(b & B_PIE) || !rtc_period(rtc)) bus_timer_stop(rtc->periodic_timer);
    else if (!bus_timer_armed(rtc->periodic_timer))
        bus_timer_at(rtc->periodic_timer, rtc_ns_of_tick(rtc, rtc->periodic_tick));
}

static void rtc_update_fire(void *self) {
    Rtc *rtc = self;
    rtc_sync(rtc, bus_now_ns(rtc->bus));
    rtc_arm(rtc);
}

// Periods that were missed follow a quarter of a period apart, up to RTC_CATCH_UP of them.
static void rtc_periodic_fire(void *self) {
    Rtc *rtc = self;
    u64 now_ns = bus_now_ns(rtc->bus), now = rtc_tick(rtc, now_ns), period = rtc_period(rtc);
    if (period && now >= rtc->periodic_tick) {
        rtc->cmos[RTC_C] |= C_PF;
        rtc_update_irq(rtc);
        rtc->periodic_tick += period;
        if (now >= rtc->periodic_tick && now - rtc->periodic_tick <= RTC_CATCH_UP * period) {
            bus_timer_at(rtc->periodic_timer, now_ns + period * NS_PER_SECOND / RTC_HZ / 4);
            return;
        }
        if (now >= rtc->periodic_tick) rtc_next_period(rtc, now_ns);
    }
    rtc_arm(rtc);
}

// ---- registers ----------------------------------------------------------------------------------
static void rtc_write_a(Rtc *rtc, u64 now_ns, u8 value) {
    bool ran = rtc_chain_runs(rtc);
    rtc->cmos[RTC_A] = value & (u8)~A_UIP;
    if (!ran && rtc_chain_runs(rtc)) {
        rtc->chain_ns = now_ns;
        rtc->next_update_ns = now_ns + HALF_SECOND_NS;
    }
    rtc_next_period(rtc, now_ns);
    bus_timer_stop(rtc->periodic_timer);
}

static void rtc_write_b(Rtc *rtc, u8 value) {
    u8 *b = &rtc->cmos[RTC_B];
    if (value & ~*b & B_SET) value &= (u8)~B_UIE;
    *b = value;
    rtc_update_irq(rtc);
}

static void rtc_write(Rtc *rtc, unsigned index, u8 value) {
    u64 now_ns = bus_now_ns(rtc->bus);
    rtc_sync(rtc, now_ns);
    switch (index) {
    case RTC_A: rtc_write_a(rtc, now_ns, value); break;
    case RTC_B: rtc_write_b(rtc, value); break;
    case RTC_C: case RTC_D: break;               // read only
    default: rtc->cmos[index] = value;
    }
    rtc_arm(rtc);
}

static bool rtc_update_in_progress(const Rtc *rtc, u64 now_ns) {
    return rtc_chain_runs(rtc) && !(rtc->cmos[RTC_B] & B_SET)
        && rtc->next_update_ns - now_ns <= UPDATE_NS;
}

static bool rtc_is_memory(unsigned index) { return index > RTC_D && index != RTC_CENTURY; }

static u8 rtc_read(Rtc *rtc, u8 index) {
    if (rtc_is_memory(index)) return rtc->cmos[index];                     // no time in it
    u64 now_ns = bus_now_ns(rtc->bus);
    rtc_sync(rtc, now_ns);
    u8 value = rtc->cmos[index];
    if (index == RTC_A && rtc_update_in_progress(rtc, now_ns)) value |= A_UIP;
    if (index == RTC_C) {
        rtc->cmos[RTC_C] = 0;
        rtc_update_irq(rtc);
    }
    return value;
}

// Ports 0x70 and 0x72 select, 0x71 and 0x73 transfer. The selectors cannot be read.
static void rtc_out(void *self, u16 port, unsigned size_bytes, u32 value) {
    (void)size_bytes;
    Rtc *rtc = self;
    switch (port & 3) {
    case 0:
        rtc->index = value & 0x7f;
        rtc->nmi_masked = value & 0x80;
        break;
    case 1: rtc_write(rtc, rtc->index, (u8)value); break;
    case 2: rtc->upper_index = value & 0x7f; break;
    default: rtc_write(rtc, 128u + rtc->upper_index, (u8)value);
    }
}

static u32 rtc_in(void *self, u16 port, unsigned size_bytes) {
    (void)size_bytes;
    Rtc *rtc = self;
    if (!(port & 1)) return 0xff;
    return rtc_read(rtc, port & 2 ? 128u + rtc->upper_index : rtc->index);
}

void rtc_set_cmos(Rtc *rtc, unsigned index, u8 value) {
    require(index > RTC_D && index < sizeof(rtc->cmos));
    rtc->cmos[index] = value;
}

u8 rtc_get_cmos(Rtc *rtc, unsigned index) {
    require(index > RTC_D && index < sizeof(rtc->cmos));
    return rtc->cmos[index];
}

bool rtc_nmi_masked(Rtc *rtc) { return rtc->nmi_masked; }

// ---- life ---------------------------------------------------------------------------------------
// RESET clears the interrupt enables and flags and leaves time and memory alone.
static void rtc_reset(void *self) {
    Rtc *rtc = self;
    rtc->cmos[RTC_B] &= (u8)~(B_PIE | B_AIE | B_UIE | B_SQWE);
    rtc->cmos[RTC_C] = 0;
    rtc_update_irq(rtc);
    rtc_arm(rtc);
}

static void rtc_info(void *self, FILE *out) {
    Rtc *rtc = self;
    RtcDate d = date_of_days(rtc_days(rtc));
    u64 s = rtc_second_of_day(rtc);
    fprintf(out, "rtc: %04d-%02u-%02u %02u:%02u:%02u at the last update seen\n", (int)d.year,
            d.month, d.day, (unsigned)(s / 3600), (unsigned)(s / 60 % 60), (unsigned)(s % 60));
}

static const DeviceClass rtc_class = {
    "rtc", rtc_fields, ARRAY_LEN(rtc_fields), rtc_reset, NULL, rtc_info,
};

Rtc *rtc_new(Bus *bus, Wire irq8, i64 epoch_at_power_on) {
    Rtc *rtc = mem_new(sizeof(Rtc));
    rtc->bus = bus;
    rtc->irq8 = irq8;
    rtc->update_timer = bus_timer_new(bus, "rtc update", rtc_update_fire, rtc);
    rtc->periodic_timer = bus_timer_new(bus, "rtc periodic", rtc_periodic_fire, rtc);
    bus_timer_set_patient(rtc->periodic_timer);
    rtc->next_update_ns = NS_PER_SECOND;
    rtc->cmos[RTC_A] = 0x26;                     // 32768 Hz crystal, 1024 Hz periodic rate
    rtc->cmos[RTC_B] = B_24H;
    rtc->cmos[RTC_D] = D_VALID;
    i64 days = epoch_at_power_on / SECONDS_PER_DAY, second = epoch_at_power_on % SECONDS_PER_DAY;
    if (second < 0) days--, second += SECONDS_PER_DAY;
    rtc_set_days(rtc, days);
    rtc_set_second_of_day(rtc, (u64)second);
    rtc->cmos[RTC_WEEKDAY] = (u8)(((days + 4) % 7 + 7) % 7 + 1);   // 1970-01-01 was a Thursday: 5
    rtc_next_period(rtc, 0);
    BusPort ports = { "rtc", rtc, 1, rtc_in, rtc_out };
    bus_map_ports(bus, 0x70, 4, &ports);
    device_add(bus, &rtc_class, NULL, rtc);
    return rtc;
}

void rtc_free(Rtc *rtc) { free(rtc); }
