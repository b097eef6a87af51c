// SPDX-License-Identifier: MIT
// The 8042 with keyboard and mouse, seen through its ports. Run: make test T=unit/test_kbd
#include "testbus.h"

#include "dev/kbd.h"
#include "dev/keys.h"

#define MS 1000000u

typedef struct Fix {
    TestBus t;
    TestPin irq1, irq12;
    Kbd *kbd;
} Fix;

static int setup(void **state) {
    Fix *f = calloc(1, sizeof(*f));
    testbus_open(&f->t, 2 << 20);
    f->kbd = kbd_new(f->t.bus, testpin_wire(&f->irq1, 0), testpin_wire(&f->irq12, 0));
    device_reset_all(f->t.bus);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fix *f = *state;
    kbd_free(f->kbd);
    testbus_close(&f->t);
    free(f);
    return 0;
}

static u8 status(Fix *f) { return (u8)bus_in(f->t.bus, 0x64, 1); }
static u8 data(Fix *f) { return (u8)bus_in(f->t.bus, 0x60, 1); }
static void command(Fix *f, u8 v) { bus_out(f->t.bus, 0x64, 1, v); }
static void send(Fix *f, u8 v) { bus_out(f->t.bus, 0x60, 1, v); }
static void send_mouse(Fix *f, u8 v) { command(f, 0xd4); send(f, v); }

// The next byte, waiting as a guest would. `aux`: it must come from the mouse.
static u8 next(Fix *f, bool aux) {
    for (unsigned i = 0; i < 500 && !(status(f) & 1); i++) testbus_advance(&f->t, MS / 10);
    assert_true(status(f) & 1);
    assert_int_equal(!!(status(f) & 0x20), aux);
    return data(f);
}

static void expect(Fix *f, const char *bytes_hex) {
    for (const char *p = bytes_hex; *p;) {
        char *end;
        unsigned want = (unsigned)strtoul(p, &end, 16);
        assert_int_equal(next(f, false), want);
        p = end;
    }
}

static void expect_mouse(Fix *f, const char *bytes_hex) {
    for (const char *p = bytes_hex; *p;) {
        char *end;
        unsigned want = (unsigned)strtoul(p, &end, 16);
        assert_int_equal(next(f, true), want);
        p = end;
    }
}

static void expect_nothing(Fix *f) {
    testbus_advance(&f->t, 50 * MS);
    assert_false(status(f) & 1);
}

static void set_mode(Fix *f, u8 mode) { command(f, 0x60); send(f, mode); }

static void test_controller_commands(void **state) {
    Fix *f = *state;
    assert_int_equal(status(f), 0x18);                   // unlocked, nothing there
    command(f, 0xaa);
    assert_int_equal(status(f), 0x1d);                   // full, tested, command
    assert_int_equal(data(f), 0x55);
    command(f, 0xab);
    assert_int_equal(data(f), 0x00);
    command(f, 0xa9);
    assert_int_equal(data(f), 0x00);
    set_mode(f, 0x61);
    assert_false(status(f) & 8);                         // last write was data
    command(f, 0x20);
    assert_int_equal(data(f), 0x61);
    command(f, 0xa8);
    command(f, 0xad);
    command(f, 0x20);
    assert_int_equal(data(f), 0x51);
    command(f, 0xa7);
    command(f, 0xae);
    command(f, 0x20);
    assert_int_equal(data(f), 0x61);
    command(f, 0x7f);                                    // controller RAM
    send(f, 0xc3);
    command(f, 0x3f);
    assert_int_equal(data(f), 0xc3);
}

static void test_irq_follows_buffer(void **state) {
    Fix *f = *state;
    set_mode(f, 0x47);
    kbd_key(f->kbd, 0x1e, true);
    assert_true(f->irq1.level);
    assert_false(f->irq12.level);
    assert_int_equal(data(f), 0x1e);
    assert_false(f->irq1.level);
    command(f, 0xd3);                                    // mouse loopback, as Linux probes it
    send(f, 0xa5);
    assert_true(f->irq12.level);
    assert_int_equal(next(f, true), 0xa5);
    assert_false(f->irq12.level);
    command(f, 0xd2);
    send(f, 0x5a);
    assert_true(f->irq1.level);
    assert_int_equal(next(f, false), 0x5a);
    set_mode(f, 0x44);                                   // both interrupts off
    kbd_key(f->kbd, 0x1e, false);
    testbus_advance(&f->t, MS);
    assert_true(status(f) & 1);
    assert_false(f->irq1.level);
    set_mode(f, 0x45);
    assert_true(f->irq1.level);
}

static void test_second_read_repeats(void **state) {
    Fix *f = *state;
    set_mode(f, 0x47);
    kbd_key(f->kbd, 0x11c, true);                        // E0 1C: two bytes
    assert_int_equal(data(f), 0xe0);
    assert_int_equal(data(f), 0xe0);                     // not yet the next one
    assert_int_equal(f->irq1.rises, 1);
    testbus_advance(&f->t, MS);
    assert_int_equal(f->irq1.rises, 2);
    assert_int_equal(data(f), 0x1c);
}

static void test_a20_and_reset(void **state) {
    Fix *f = *state;
    assert_true(bus_a20(f->t.bus));
    command(f, 0xd1);
    send(f, 0xdd);
    assert_false(bus_a20(f->t.bus));
    assert_int_equal(bus_in(f->t.bus, 0x92, 1), 0);
    command(f, 0xd0);
    assert_int_equal(data(f) & 3, 1);
    bus_out(f->t.bus, 0x92, 1, 2);
    assert_true(bus_a20(f->t.bus));
    command(f, 0xdd);
    assert_false(bus_a20(f->t.bus));
    command(f, 0xdf);
    assert_true(bus_a20(f->t.bus));
    assert_int_equal(bus_requests(f->t.bus), 0);
    command(f, 0xff);                                    // pulses nothing
    assert_int_equal(bus_requests(f->t.bus), 0);
    command(f, 0xfe);
    assert_int_equal(bus_requests(f->t.bus), BUS_REQ_RESET);
    bus_clear_request(f->t.bus, BUS_REQ_RESET);
    bus_out(f->t.bus, 0x92, 1, 3);
    assert_int_equal(bus_requests(f->t.bus), BUS_REQ_RESET);
    bus_clear_request(f->t.bus, BUS_REQ_RESET);
    bus_out(f->t.bus, 0x92, 1, 3);                       // no rising edge
    assert_int_equal(bus_requests(f->t.bus), 0);
    command(f, 0xd1);
    send(f, 0x02);
    assert_int_equal(bus_requests(f->t.bus), BUS_REQ_RESET);
}

static void test_scan_codes_translated(void **state) {
    Fix *f = *state;
    set_mode(f, 0x45);
    kbd_key(f->kbd, 0x1e, true);
    kbd_key(f->kbd, 0x1e, false);
    expect(f, "1e 9e");
    kbd_key(f->kbd, 0x41, true);                         // F7: 0x83 in set 2
    kbd_key(f->kbd, 0x41, false);
    expect(f, "41 c1");
    kbd_key(f->kbd, 0x148, true);
    kbd_key(f->kbd, 0x148, false);
    expect(f, "e0 48 e0 c8");
    kbd_key(f->kbd, KBD_KEY_PRINT, true);
    kbd_key(f->kbd, KBD_KEY_PRINT, false);
    expect(f, "e0 2a e0 37 e0 b7 e0 aa");
    kbd_key(f->kbd, KBD_KEY_PAUSE, true);
    kbd_key(f->kbd, KBD_KEY_PAUSE, false);
    expect(f, "e1 1d 45 e1 9d c5");
    kbd_key(f->kbd, 0x38, true);
    kbd_key(f->kbd, KBD_KEY_PRINT, true);
    kbd_key(f->kbd, 0x38, false);
    kbd_key(f->kbd, KBD_KEY_PRINT, false);
    expect(f, "38 54 b8 d4");                            // Alt-SysRq
    kbd_key(f->kbd, 0x1d, true);
    kbd_key(f->kbd, KBD_KEY_PAUSE, true);
    expect(f, "1d e0 46 e0 c6");                         // Ctrl-Break
    expect_nothing(f);
}

static void test_every_plain_key_survives_translation(void **state) {
    Fix *f = *state;
    set_mode(f, 0x45);
    for (unsigned code = 1; code < 0x59; code++) {
        if (code == 0x55) continue;
        kbd_key(f->kbd, code, true);
        assert_int_equal(next(f, false), code);
        kbd_key(f->kbd, code, false);
        assert_int_equal(next(f, false), code | 0x80);
    }
}

static void test_scan_code_sets(void **state) {
    Fix *f = *state;
    set_mode(f, 0x05);                                   // no translation
    kbd_key(f->kbd, 0x1e, true);
    kbd_key(f->kbd, 0x1e, false);
    kbd_key(f->kbd, 0x150, true);
    kbd_key(f->kbd, 0x150, false);
    kbd_key(f->kbd, KBD_KEY_PAUSE, true);
    expect(f, "1c f0 1c e0 72 e0 f0 72 e1 14 77 e1 f0 14 f0 77");
    send(f, 0xf0);
    expect(f, "fa");
    send(f, 0x01);
    expect(f, "fa");
    kbd_key(f->kbd, 0x1e, true);
    kbd_key(f->kbd, 0x1e, false);
    kbd_key(f->kbd, 0x150, true);
    expect(f, "1e 9e e0 50");
    send(f, 0xf0);
    send(f, 0x03);
    expect(f, "fa fa");
    kbd_key(f->kbd, 0x1e, true);
    kbd_key(f->kbd, 0x1e, false);
    kbd_key(f->kbd, 0x150, false);
    kbd_key(f->kbd, KBD_KEY_PRINT, true);
    expect(f, "1c f0 1c f0 60 57");
    send(f, 0xf9);                                       // make only
    expect(f, "fa");
    kbd_key(f->kbd, 0x39, true);
    kbd_key(f->kbd, 0x39, false);
    expect(f, "29");
    send(f, 0xf0);
    send(f, 0x00);
    expect(f, "fa fa 03");
    expect_nothing(f);
}

static void test_keyboard_commands(void **state) {
    Fix *f = *state;
    set_mode(f, 0x45);
    send(f, 0xff);
    expect(f, "fa aa");
    send(f, 0xee);
    expect(f, "ee");
    send(f, 0xf2);
    expect(f, "fa ab 41");                               // 83 translated
    send(f, 0xed);
    expect(f, "fa");
    send(f, 0x05);
    expect(f, "fa");
    assert_int_equal(kbd_leds(f->kbd), 5);
    send(f, 0xf3);
    send(f, 0x20);
    expect(f, "fa fa");
    send(f, 0xf5);
    expect(f, "fa");
    kbd_key(f->kbd, 0x1e, true);
    kbd_key(f->kbd, 0x1e, false);
    expect_nothing(f);
    send(f, 0xf4);
    expect(f, "fa");
    kbd_key(f->kbd, 0x1e, true);
    expect(f, "1e");
    send(f, 0xfe);
    expect(f, "1e");
    send(f, 0xed);
    send(f, 0xf4);                                       // a command instead of the argument
    expect(f, "fa fa");
    send(f, 0x00);
    expect(f, "fe");
}

static void test_answers_overtake_keys_and_disable_holds(void **state) {
    Fix *f = *state;
    set_mode(f, 0x45);
    command(f, 0xad);
    kbd_key(f->kbd, 0x10, true);
    kbd_key(f->kbd, 0x11, true);
    expect_nothing(f);
    command(f, 0x20);
    assert_int_equal(data(f), 0x55);
    send(f, 0xee);                                       // also enables the port
    expect(f, "ee 10 11");
}

static void test_reply_waits_for_unread_key(void **state) {
    Fix *f = *state;
    set_mode(f, 0x45);
    kbd_key(f->kbd, 0x10, true);
    command(f, 0x20);
    assert_int_equal(data(f), 0x10);
    assert_int_equal(data(f), 0x45);
    command(f, 0xaa);
    command(f, 0xab);                                    // replaces the unread 0x55
    assert_int_equal(data(f), 0x00);
    expect_nothing(f);
}

// Nothing reads while thousands of keys move: whatever arrives must be whole and balanced.
static void test_full_queue_keeps_sequences_whole(void **state) {
    Fix *f = *state;
    set_mode(f, 0x45);
    for (unsigned i = 0; i < 3000; i++) {
        unsigned code = i % 7 == 0 ? KBD_KEY_PRINT : i % 3 ? 0x148 : 0x1e;
        kbd_key(f->kbd, code, i % 2 == 0);
    }
    kbd_key(f->kbd, 0x1e, false);
    kbd_key(f->kbd, 0x148, false);
    kbd_key(f->kbd, KBD_KEY_PRINT, false);
    unsigned down[256] = { 0 }, bytes = 0;
    bool e0 = false;
    while (true) {
        testbus_advance(&f->t, MS);
        if (!(status(f) & 1)) break;
        u8 b = data(f);
        bytes++;
        if (b == 0xe0) {
            assert_false(e0);
            e0 = true;
            continue;
        }
        u8 code = b & 0x7f;
        assert_true(code == 0x1e ? !e0 : e0 && (code == 0x48 || code == 0x37 || code == 0x2a));
        down[code] = !(b & 0x80);
        e0 = false;
    }
    assert_true(bytes > 50);
    assert_false(e0);
    assert_int_equal(down[0x1e] + down[0x48] + down[0x37] + down[0x2a], 0);
}

static void mouse_start(Fix *f) {
    set_mode(f, 0x47);
    send_mouse(f, 0xf4);
    expect_mouse(f, "fa");
}

static void test_mouse_commands(void **state) {
    Fix *f = *state;
    set_mode(f, 0x47);
    send_mouse(f, 0xff);
    expect_mouse(f, "fa aa 00");
    send_mouse(f, 0xf2);
    expect_mouse(f, "fa 00");
    send_mouse(f, 0xe8);
    send_mouse(f, 0x03);
    expect_mouse(f, "fa fa");
    send_mouse(f, 0xf3);
    send_mouse(f, 40);
    expect_mouse(f, "fa fa");
    send_mouse(f, 0xe7);
    send_mouse(f, 0xf4);
    expect_mouse(f, "fa fa");
    kbd_mouse(f->kbd, 0, 0, 0, KBD_BUTTON_LEFT | KBD_BUTTON_RIGHT);
    send_mouse(f, 0xe9);
    // the command discards the packet; the buttons are told again after it
    expect_mouse(f, "fa 35 03 28 0b 00 00");
    expect_nothing(f);
    send_mouse(f, 0xf6);
    send_mouse(f, 0xe9);
    expect_mouse(f, "fa fa 05 02 64");
    send_mouse(f, 0xee);
    send_mouse(f, 0x77);
    send_mouse(f, 0xec);
    expect_mouse(f, "fa 77 fa");
    send_mouse(f, 0x12);
    expect_mouse(f, "fe");
}

static void test_mouse_packets(void **state) {
    Fix *f = *state;
    kbd_mouse(f->kbd, 50, 50, 0, 0);                     // nobody listens
    mouse_start(f);
    expect_nothing(f);
    kbd_mouse(f->kbd, 5, 3, 9, 0);
    assert_true(f->irq12.level);
    expect_mouse(f, "28 05 fd");
    kbd_mouse(f->kbd, -5, -3, 0, KBD_BUTTON_MIDDLE);
    expect_mouse(f, "1c fb 03");
    kbd_mouse(f->kbd, 300, 0, 0, KBD_BUTTON_MIDDLE);     // more than a packet holds
    expect_mouse(f, "0c ff 00 0c 2d 00");
    expect_nothing(f);
    send_mouse(f, 0xf5);
    expect_mouse(f, "fa");
    kbd_mouse(f->kbd, 1, 1, 0, 0);
    expect_nothing(f);
}

static void test_mouse_wheel(void **state) {
    Fix *f = *state;
    static const u8 knock[] = { 0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2 };
    set_mode(f, 0x47);
    for (unsigned i = 0; i < sizeof(knock); i++) {
        send_mouse(f, knock[i]);
        expect_mouse(f, "fa");
    }
    expect_mouse(f, "03");
    send_mouse(f, 0xf4);
    expect_mouse(f, "fa");
    kbd_mouse(f->kbd, 0, 0, -1, 0);
    expect_mouse(f, "08 00 00 ff");
    static const u8 knock5[] = { 0xf3, 200, 0xf3, 200, 0xf3, 80, 0xf2 };
    for (unsigned i = 0; i < sizeof(knock5); i++) {
        send_mouse(f, knock5[i]);
        expect_mouse(f, "fa");
    }
    expect_mouse(f, "04");
    kbd_mouse(f->kbd, 0, 0, 2, KBD_BUTTON_SIDE);
    expect_mouse(f, "08 00 00 12");
}

// Clicks within one sample interval arrive one by one, at the sample rate.
static void test_mouse_keeps_clicks_and_rate(void **state) {
    Fix *f = *state;
    mouse_start(f);
    kbd_mouse(f->kbd, 1, 0, 0, 0);
    kbd_mouse(f->kbd, 1, 0, 0, 1);
    kbd_mouse(f->kbd, 1, 0, 0, 0);
    kbd_mouse(f->kbd, 1, 0, 0, 0);
    expect_mouse(f, "08 01 00");
    u64 before = f->t.now_ns;
    expect_mouse(f, "09 01 00 08 02 00");
    assert_true(f->t.now_ns - before >= 15 * MS);        // 100 samples a second
    expect_nothing(f);
}

static void test_mouse_remote(void **state) {
    Fix *f = *state;
    mouse_start(f);
    send_mouse(f, 0xf0);
    expect_mouse(f, "fa");
    kbd_mouse(f->kbd, 7, 0, 0, 0);
    expect_nothing(f);
    send_mouse(f, 0xeb);
    expect_mouse(f, "fa 08 07 00");
    send_mouse(f, 0xeb);
    expect_mouse(f, "fa 08 00 00");
}

static void test_snapshot_in_mid_sequence(void **state) {
    Fix *f = *state;
    set_mode(f, 0x47);
    kbd_key(f->kbd, 0x148, true);
    assert_int_equal(data(f), 0xe0);                     // 48 is due in 0.4 ms
    FILE *file = tmpfile();
    char *err = NULL;
    u64 hash = device_hash(f->t.bus);
    assert_true(device_save(f->t.bus, file, &err));
    expect(f, "48");
    device_reset_all(f->t.bus);
    rewind(file);
    assert_true(device_load(f->t.bus, file, &err));
    fclose(file);
    assert_int_equal(device_hash(f->t.bus), hash);
    expect(f, "48");
    kbd_key(f->kbd, 0x148, false);
    expect(f, "e0 c8");
}

static void test_key_names(void **state) {
    (void)state;
    static const struct { const char *name; int code; } names[] = {
        { "ret", 0x1c }, { "spc", 0x39 }, { "a", 0x1e }, { "z", 0x2c }, { "0", 0x0b },
        { "1", 0x02 }, { "minus", 0x0c }, { "slash", 0x35 }, { "dot", 0x34 }, { "f1", 0x3b },
        { "f12", 0x58 },
        { "kp_enter", 0x11c }, { "kp_7", 0x47 }, { "ctrl", 0x1d }, { "alt", 0x38 },
        { "delete", 0x153 }, { "shift_r", 0x36 }, { "print", KBD_KEY_PRINT },
        { "pause", KBD_KEY_PAUSE }, { "0x1c", 0x1c }, { "nokey", -1 }, { "", -1 }, { "0x80", -1 },
    };
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(key_by_name(names[i].name), names[i].code);
    for (unsigned i = 0; key_name(i); i++) assert_true(key_by_name(key_name(i)) > 0);
}

static void test_keysyms(void **state) {
    (void)state;
    static const char shifted[] = "~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:\"ZXCVBNM<>?";
    static const char plain[] = "`1234567890-=qwertyuiop[]\\asdfghjkl;'zxcvbnm,./";
    bool shift;
    for (unsigned i = 0; shifted[i]; i++) {
        int code = key_by_keysym((u32)plain[i], &shift);
        assert_true(code > 0 && !shift);
        assert_int_equal(key_by_keysym((u32)shifted[i], &shift), code);
        assert_true(shift);
    }
    for (u32 c = 0x20; c < 0x7f; c++) assert_true(key_by_keysym(c, NULL) > 0);
    assert_int_equal(key_by_keysym(0xff0d, &shift), 0x1c);
    assert_false(shift);
    assert_int_equal(key_by_keysym(0xff96, &shift), 0x4b);   // keypad Left
    assert_false(shift);
    assert_int_equal(key_by_keysym(0xff51, NULL), 0x14b);
    assert_int_equal(key_by_keysym('\n', NULL), 0x1c);
    assert_int_equal(key_by_keysym(0, NULL), -1);
    assert_int_equal(key_by_keysym(0x1008ff13, NULL), -1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_controller_commands),
        TEST(test_irq_follows_buffer),
        TEST(test_second_read_repeats),
        TEST(test_a20_and_reset),
        TEST(test_scan_codes_translated),
        TEST(test_every_plain_key_survives_translation),
        TEST(test_scan_code_sets),
        TEST(test_keyboard_commands),
        TEST(test_answers_overtake_keys_and_disable_holds),
        TEST(test_reply_waits_for_unread_key),
        TEST(test_full_queue_keeps_sequences_whole),
        TEST(test_mouse_commands),
        TEST(test_mouse_packets),
        TEST(test_mouse_wheel),
        TEST(test_mouse_keeps_clicks_and_rate),
        TEST(test_mouse_remote),
        TEST(test_snapshot_in_mid_sequence),
        cmocka_unit_test(test_key_names),
        cmocka_unit_test(test_keysyms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
