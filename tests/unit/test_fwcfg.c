// SPDX-License-Identifier: MIT
// fw_cfg read the way SeaBIOS reads it. Run: make test T=unit/test_fwcfg
#include "testbus.h"

#include "dev/fwcfg.h"
#include <string.h>

typedef struct Fix {
    TestBus t;
    FwCfg *fw;
} Fix;

static int setup(void **state) {
    Fix *f = calloc(1, sizeof(*f));
    testbus_open(&f->t, 8 << 20);
    f->fw = fwcfg_new(f->t.bus, 1);
    device_reset_all(f->t.bus);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fix *f = *state;
    fwcfg_free(f->fw);
    testbus_close(&f->t);
    free(f);
    return 0;
}

static void fetch(Fix *f, u16 key, void *to, unsigned bytes) {
    bus_out(f->t.bus, 0x510, 2, key);
    for (unsigned i = 0; i < bytes; i++) ((u8 *)to)[i] = (u8)bus_in(f->t.bus, 0x511, 1);
}

static u32 be(const u8 *p, unsigned bytes) {
    u32 v = 0;
    while (bytes--) v = v << 8 | *p++;
    return v;
}

// Looks a file up as firmware does. Returns its key, 0 if it is not there.
static u16 find(Fix *f, const char *name, u32 *bytes) {
    u8 row[64];
    fetch(f, FWCFG_FILE_DIR, row, 4);
    for (u32 n = be(row, 4); n > 0; n--) {
        for (unsigned i = 0; i < 64; i++) row[i] = (u8)bus_in(f->t.bus, 0x511, 1);
        assert_int_equal(be(row + 6, 2), 0);
        if (strcmp((char *)row + 8, name) != 0) continue;
        *bytes = be(row, 4);
        return (u16)be(row + 4, 2);
    }
    return 0;
}

static void test_items(void **state) {
    Fix *f = *state;
    u8 b[8];
    fetch(f, 0, b, 6);
    assert_memory_equal(b, "QEMU\0\0", 6);               // and zeros past the end
    fetch(f, 1, b, 4);
    assert_int_equal(get_le32(b), 3);                    // with the DMA interface
    fetch(f, 3, b, 8);
    assert_int_equal(get_le64(b), 8 << 20);
    fetch(f, 5, b, 2);
    assert_int_equal(get_le16(b), 1);
    fetch(f, 0x0d, b, 8);                                // NUMA: absent, zeros
    assert_int_equal(get_le64(b), 0);
    fetch(f, 0x8001, b, 2);
    assert_int_equal(get_le16(b), 0);
    fwcfg_set_u16(f->fw, FWCFG_BOOT_MENU, 1);
    fetch(f, 0x0e, b, 2);
    assert_int_equal(get_le16(b), 1);
}

static void test_files(void **state) {
    Fix *f = *state;
    u32 bytes = 0;
    assert_int_equal(find(f, "bootorder", &bytes), 0);
    char order[] = "one\ntwo\n";
    assert_true(fwcfg_add_file(f->fw, "etc/empty", "", 0));
    assert_true(fwcfg_add_file(f->fw, "bootorder", order, sizeof(order)));
    order[0] = 'X';                                      // a copy was kept
    u16 key = find(f, "bootorder", &bytes);
    assert_true(key >= FWCFG_FILE_FIRST);
    assert_int_equal(bytes, 9);
    char b[9];
    fetch(f, key, b, 9);
    assert_string_equal(b, "one\ntwo\n");
    assert_true(fwcfg_add_file(f->fw, "bootorder", "x", 2));
    assert_int_equal(find(f, "bootorder", &bytes), key);
    assert_int_equal(bytes, 2);
    assert_true(find(f, "etc/empty", &bytes) && bytes == 0);
}

static void test_limits(void **state) {
    Fix *f = *state;
    char name[64];
    memset(name, 'n', sizeof(name));
    name[56] = 0;
    assert_false(fwcfg_add_file(f->fw, name, "", 0));
    name[55] = 0;
    assert_true(fwcfg_add_file(f->fw, name, "", 0));
    unsigned added = 1;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "file%u", i);
        added += fwcfg_add_file(f->fw, name, &i, 4);
    }
    assert_true(added >= 16 && added < 100);
    u8 b[4];
    fetch(f, FWCFG_FILE_DIR, b, 4);
    assert_int_equal(be(b, 4), added);
}

static void test_selecting_rewinds(void **state) {
    Fix *f = *state;
    u8 b[4];
    fetch(f, 0, b, 2);
    fetch(f, 0, b, 2);
    assert_memory_equal(b, "QE", 2);
    bus_out(f->t.bus, 0x510, 1, 5);                      // a byte does not select
    assert_int_equal(bus_in(f->t.bus, 0x511, 1), 'M');
    assert_int_equal(bus_in(f->t.bus, 0x511, 2), 0xff00 | 'U');
}

// One request at 0x1000; what its control word reads afterwards.
static u32 dma(Fix *f, u32 control, u32 bytes, u64 to) {
    u8 r[16];
    const u32 words[4] = { control, bytes, (u32)(to >> 32), (u32)to };
    for (unsigned i = 0; i < 4; i++) put_le32(r + 4 * i, __builtin_bswap32(words[i]));
    bus_dma_write(f->t.bus, phy(0x1000), r, sizeof(r));
    bus_out(f->t.bus, 0x514, 4, 0);
    bus_out(f->t.bus, 0x518, 4, __builtin_bswap32(0x1000));
    return __builtin_bswap32(bus_read(f->t.bus, phy(0x1000), 4));
}

static void test_dma(void **state) {
    Fix *f = *state;
    char got[16];
    assert_int_equal(bus_in(f->t.bus, 0x514, 4), get_le32("QEMU"));
    assert_int_equal(bus_in(f->t.bus, 0x518, 4), get_le32(" CFG"));
    assert_int_equal(bus_in(f->t.bus, 0x51a, 1), 'F');
    assert_true(fwcfg_add_file(f->fw, "letters", "abcdefgh", 8));
    u32 key = (u32)fwcfg_find(f->fw, "letters");
    assert_int_equal(fwcfg_find(f->fw, "letter"), -1);
    memset(bus_ram(f->t.bus) + 0x1fff, 'x', 16);
    assert_int_equal(dma(f, key << 16 | 8 | 2, 3, 0x1fff), 0);       // select, read
    assert_int_equal(dma(f, 4, 1, 0), 0);                            // skip
    assert_int_equal(dma(f, 2, 6, 0x2002), 0);                       // the rest, and zeros
    bus_dma_read(f->t.bus, phy(0x1fff), got, 10);
    assert_memory_equal(got, "abcefgh\0\0x", 10);
    assert_int_equal(dma(f, key << 16 | 8 | 16, 3, 0x1fff), 1);      // not to be written
    assert_int_equal(dma(f, key << 16 | 8 | 2, 0xffffffff, 0x2000), 1);      // too much
    assert_int_equal(dma(f, key << 16 | 8, 0, 0), 0);
    assert_int_equal(bus_in(f->t.bus, 0x511, 1), 'a');
    bus_out(f->t.bus, 0x514, 4, 0x01000000);                         // a request above 4 GiB: nothing
    bus_out(f->t.bus, 0x518, 4, __builtin_bswap32(0x1000));
    assert_int_equal(dma(f, 0x7777 << 16 | 8 | 2, 2, 0x2000), 0);    // an item that does not exist
    assert_int_equal(bus_read(f->t.bus, phy(0x2000), 4), 'e' << 16 | 'f' << 24);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_items),
        TEST(test_files),
        TEST(test_limits),
        TEST(test_selecting_rewinds),
        TEST(test_dma),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
