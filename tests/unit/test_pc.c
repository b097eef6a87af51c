// SPDX-License-Identifier: MIT
// The board: memory map, CMOS, firmware files, boot order, reset and errors.
// Run: make test T=unit/test_pc
#include "testbus.h"

#include "pc/firmware.h"
#include "pc/pc.h"
#include <string.h>
#include <unistd.h>

typedef struct Fix {
    TestBus t;
    char floppy[32], disk[32]; // image files
} Fix;

// An empty sparse file of this size.
static void make_image(char *path, off_t bytes) {
    strcpy(path, "/tmp/test_pc_XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0 && ftruncate(fd, bytes) == 0);
    close(fd);
}

static int setup(void **state) {
    Fix *f = calloc(1, sizeof(*f));
    testbus_open(&f->t, 32 << 20);
    make_image(f->floppy, 1474560);
    make_image(f->disk, 1000 * 16 * 63 * 512);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fix *f = *state;
    unlink(f->floppy);
    unlink(f->disk);
    testbus_close(&f->t);
    free(f);
    return 0;
}

static Pc *build(Fix *f, const PcConfig *config) {
    char *err = NULL;
    Pc *pc = pc_new(config, f->t.bus, &f->t.log, &err);
    if (!pc) fail_msg("%s", err);
    return pc;
}

static u8 cmos(Fix *f, u8 index) {
    bus_out(f->t.bus, 0x70, 1, index);
    return (u8)bus_in(f->t.bus, 0x71, 1);
}

static u32 cmos16(Fix *f, u8 index) { return cmos(f, index) | cmos(f, index + 1) << 8; }

static void test_memory_map(void **state) {
    Fix *f = *state;
    Bus *bus = f->t.bus;
    Pc *pc = build(f, &(PcConfig){ 0 });
    Firmware bios = firmware_bios(), vgabios = firmware_stdvga();
    assert_int_equal(bus_page(bus, 0x9f)->kind, BUS_PAGE_RAM);
    assert_int_not_equal(bus_page(bus, 0xa0)->kind, BUS_PAGE_RAM);
    assert_int_equal(bus_page(bus, 0x100)->kind, BUS_PAGE_RAM);
    assert_int_equal(bus_page(bus, 0x1fff)->kind, BUS_PAGE_RAM);
    assert_int_equal(bus_page(bus, 0x2000)->kind, BUS_PAGE_NONE);
    // The reset vector: a far jump, the same at both places.
    assert_int_equal(bus_read(bus, phy(0xfffffff0), 1), 0xea);
    assert_int_equal(bus_read(bus, phy(0xffff0), 4), bus_read(bus, phy(0xfffffff0), 4));
    assert_int_equal(bus_read(bus, phy(0x100000000ull - bios.bytes), 4), get_le32(bios.data));
    assert_int_equal(bus_read(bus, phy(0xc0000), 4), get_le32(vgabios.data));
    bus_write(bus, phy(0xfffffff0), 1, 0);
    assert_int_equal(bus_read(bus, phy(0xfffffff0), 1), 0xea);
    pc_free(pc);
}

static void test_cmos(void **state) {
    Fix *f = *state;
    PcConfig config = { .floppy = { { .path = f->floppy } },
                        .ide = { { .path = f->disk }, { .path = NULL } } };
    Pc *pc = build(f, &config);
    assert_int_equal(cmos16(f, 0x15), 640);
    assert_int_equal(cmos16(f, 0x17), 31 * 1024);
    assert_int_equal(cmos16(f, 0x30), 31 * 1024);
    assert_int_equal(cmos16(f, 0x34), 256);              // 16 MiB above 16 MiB, in 64 KiB
    assert_int_equal(cmos(f, 0x10), 0x40);
    assert_int_equal(cmos(f, 0x14), 0x07);
    assert_int_equal(cmos(f, 0x12), 0xf0);
    assert_int_equal(cmos(f, 0x19), 47);
    assert_int_equal(cmos16(f, 0x1b), 1000);
    assert_int_equal(cmos(f, 0x1d), 16);
    assert_int_equal(cmos(f, 0x20), 0xc8);
    assert_int_equal(cmos(f, 0x23), 63);
    assert_int_equal(cmos(f, 0x39), 0);                  // 1000 cylinders need no translation
    assert_int_equal(cmos(f, 0x3d), 0x12);               // c, a
    assert_int_equal(cmos(f, 0x38), 0x30);               // d
    assert_int_equal(cmos(f, 0x5f), 0);
    bus_out(f->t.bus, 0x70, 1, 0x3d);                    // the guest spoils it: reset repairs
    bus_out(f->t.bus, 0x71, 1, 0x00);
    pc_reset(pc);
    assert_int_equal(cmos(f, 0x3d), 0x12);
    pc_free(pc);
}

static void check_boot(Fix *f, const PcConfig *config, u8 low, u8 high) {
    TestBus other;
    testbus_open(&other, 4 << 20);
    char *err = NULL;
    Pc *pc = pc_new(config, other.bus, &other.log, &err);
    assert_non_null(pc);
    assert_int_equal(rtc_get_cmos(pc->rtc, 0x3d), low);
    assert_int_equal(rtc_get_cmos(pc->rtc, 0x38), high);
    pc_free(pc);
    testbus_close(&other);
    (void)f;
}

static void test_boot_order(void **state) {
    Fix *f = *state;
    check_boot(f, &(PcConfig){ 0 }, 0x12, 0x30);
    check_boot(f, &(PcConfig){ .floppy[0].path = f->floppy }, 0x01, 0x00);
    check_boot(f, &(PcConfig){ .floppy[0].path = f->floppy, .boot = "cnd" }, 0x42, 0x30);
    check_boot(f, &(PcConfig){ .boot = "d", .no_floppy_signature = true }, 0x03, 0x01);
}

static void expect_error(Fix *f, const PcConfig *config, const char *start) {
    TestBus other;
    testbus_open(&other, 4 << 20);
    char *err = NULL;
    assert_null(pc_new(config, other.bus, &other.log, &err));
    assert_non_null(err);
    if (strncmp(err, start, strlen(start)) != 0) fail_msg("'%s' is not '%s...'", err, start);
    free(err);
    testbus_close(&other);
    (void)f;
}

static void test_errors(void **state) {
    Fix *f = *state;
    expect_error(f, &(PcConfig){ .floppy[0].path = "/nowhere/x" }, "-fda: ");
    expect_error(f, &(PcConfig){ .ide[3].path = "/nowhere/x" }, "-hdd: ");
    expect_error(f, &(PcConfig){ .ide[2] = { .cd = true, .path = "/nowhere/x" } }, "-cdrom: ");
    expect_error(f, &(PcConfig){ .bios_path = "/none" }, "-bios: cannot open '/none': No such");
    expect_error(f, &(PcConfig){ .bios_path = f->disk }, "-bios: '/tmp");
    expect_error(f, &(PcConfig){ .boot = "ax" }, "-boot: ");
    expect_error(f, &(PcConfig){ .boot = "aa" }, "-boot: ");
}

static void test_small_bios(void **state) {
    Fix *f = *state;
    Bus *bus = f->t.bus;
    FILE *out = fopen(f->disk, "wb");
    fwrite("\xeb\xfeGB", 1, 4, out);                     // four bytes: they end at 4 GiB
    fclose(out);
    Pc *pc = build(f, &(PcConfig){ .bios_path = f->disk, .no_vga = true, .no_acpi = true });
    assert_int_equal(bus_read(bus, phy(0xfffffffc), 4), get_le32("\xeb\xfeGB"));
    assert_int_equal(bus_read(bus, phy(0xffffc), 4), get_le32("\xeb\xfeGB"));
    assert_int_equal(bus_read(bus, phy(0xffff0), 1), 0);
    assert_int_equal(bus_read(bus, phy(0xc0000), 1), 0xff);
    assert_null(pc->vga);
    pc_free(pc);
}

static u32 be32(Fix *f) {
    u32 v = 0;
    for (unsigned i = 0; i < 4; i++) v = v << 8 | bus_in(f->t.bus, 0x511, 1);
    return v;
}

static void test_firmware_files(void **state) {
    Fix *f = *state;
    Pc *pc = build(f, &(PcConfig){ .boot_menu = true });
    assert_true(pc_add_file(pc, "genroms/test.bin", "x", 1));
    bus_out(f->t.bus, 0x510, 2, FWCFG_FILE_DIR);
    unsigned seen = 0;
    for (u32 n = be32(f); n > 0; n--) {
        u32 bytes = be32(f);
        char name[61];
        for (unsigned i = 0; i < 60; i++) name[i] = (char)bus_in(f->t.bus, 0x511, 1);
        name[60] = 0;
        if (!strcmp(name + 4, "etc/e820")) seen |= bytes == 20 ? 1 : 0;
        if (!strcmp(name + 4, "pci1234,1111.rom"))
            seen |= bytes == firmware_stdvga().bytes ? 2 : 0;
        if (!strcmp(name + 4, "etc/boot-fail-wait")) seen |= 4;
        if (!strcmp(name + 4, "genroms/test.bin")) seen |= 8;
    }
    assert_int_equal(seen, 15);
    bus_out(f->t.bus, 0x510, 2, FWCFG_BOOT_MENU);
    assert_int_equal(bus_in(f->t.bus, 0x511, 1), 1);
    pc_free(pc);
}

static void config_out(Fix *f, u32 address, unsigned size_bytes, u32 value) {
    bus_out(f->t.bus, 0xcf8, 4, address & ~3u);
    bus_out(f->t.bus, (u16)(0xcfc + (address & 3)), size_bytes, value);
}

static u8 pic_requests(Fix *f) {
    bus_out(f->t.bus, 0xa0, 1, 0x0a);
    return (u8)bus_in(f->t.bus, 0xa0, 1);
}

// A PCI interrupt that is routed to IRQ9 shares it with the power management's SCI.
static void test_shared_pci_irq(void **state) {
    static const PciId id = { .vendor = 0x1af4, .device = 0x9999, .intx = 1 };
    Fix *f = *state;
    Pc *pc = build(f, &(PcConfig){ 0 });
    PciFn *a = pci_add(pc->pci, "card-a", 5, 0, &id), *b = pci_add(pc->pci, "card-b", 9, 0, &id);
    config_out(f, 0x80000860, 4, 0x09090909);          // PIRQA..D to IRQ9
    bus_out(f->t.bus, 0x4d1, 1, 0x02);                 // level
    config_out(f, 0x80000b40, 4, 0xb001);
    config_out(f, 0x80000b80, 1, 1);
    bus_out(f->t.bus, 0xb002, 2, 0x100);
    bus_out(f->t.bus, 0xb2, 1, 0xf1);
    acpipm_press_power(pc->pm);
    assert_int_equal(pic_requests(f), 0x02);
    pci_set_irq(a, true);
    pci_set_irq(b, true);
    bus_out(f->t.bus, 0xb000, 2, 0x100);
    assert_int_equal(pic_requests(f), 0x02);           // the SCI has gone, the cards have not
    pci_set_irq(a, false);
    assert_int_equal(pic_requests(f), 0x02);
    pci_set_irq(b, false);
    assert_int_equal(pic_requests(f), 0);
    pci_set_irq(b, true);
    pc_reset(pc);                                      // routes and cards are forgotten
    assert_int_equal(pic_requests(f), 0);
    pc_free(pc);
}

static void test_cd_drives(void **state) {
    Fix *f = *state;
    PcConfig config = { .ide[0] = { .cd = true, .path = f->disk }, .ide[2].cd = true };
    Pc *pc = build(f, &config);
    assert_ptr_equal(ide_cd(pc->ide[0], 0), pc->cd[0]);
    assert_ptr_equal(ide_cd(pc->ide[1], 0), pc->cd[2]);
    assert_null(pc->cd[1]);
    assert_true(disk_is_readonly(cd_disc(pc->cd[0])));
    assert_null(cd_disc(pc->cd[2]));
    assert_int_equal(cmos(f, 0x12), 0);                // no hard disk
    pc_free(pc);
}

// COM1 and COM3 share IRQ4: it falls only when both are quiet.
static void test_shared_serial_irq(void **state) {
    Fix *f = *state;
    Bus *bus = f->t.bus;
    Pc *pc = build(f, &(PcConfig){ .serial = { [0].present = true, [2].present = true } });
    bus_out(bus, 0x3f9, 1, 1);
    bus_out(bus, 0x3e9, 1, 1);
    uart_receive(pc->serial[0], 'a');
    uart_receive(pc->serial[2], 'b');
    bus_out(bus, 0x20, 1, 0x0a);                         // read the request register
    assert_int_equal(bus_in(bus, 0x20, 1) & 0x10, 0x10);
    assert_int_equal(bus_in(bus, 0x3f8, 1), 'a');
    assert_int_equal(bus_in(bus, 0x20, 1) & 0x10, 0x10);
    assert_int_equal(bus_in(bus, 0x3e8, 1), 'b');
    assert_int_equal(bus_in(bus, 0x20, 1) & 0x10, 0);
    assert_int_equal(bus_in(bus, 0x2fd, 1), 0xff);       // no COM2
    pc_free(pc);
}

static void test_fpu_error(void **state) {
    Fix *f = *state;
    Bus *bus = f->t.bus;
    Pc *pc = build(f, &(PcConfig){ 0 });
    bus_out(bus, 0xa0, 1, 0x0a);
    const Wire *ferr = bus_ferr(bus);
    wire_set(ferr, true);
    assert_int_equal(bus_in(bus, 0xa0, 1) & 0x20, 0x20);
    wire_set(ferr, false);                               // the latch holds
    assert_int_equal(bus_in(bus, 0xa0, 1) & 0x20, 0x20);
    bus_out(bus, 0xf0, 1, 0);
    assert_int_equal(bus_in(bus, 0xa0, 1) & 0x20, 0);
    pc_free(pc);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_memory_map),
        TEST(test_cmos),
        TEST(test_boot_order),
        TEST(test_errors),
        TEST(test_small_bios),
        TEST(test_firmware_files),
        TEST(test_shared_pci_irq),
        TEST(test_cd_drives),
        TEST(test_shared_serial_irq),
        TEST(test_fpu_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
