// SPDX-License-Identifier: MIT
// The command line: what each form means, and what is said about a wrong one.
// Run: make test T=unit/test_options
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/options.h"

typedef struct Fix {
    Options o;
    char *line;                // the words: options point into it
    char *out, *warnings;
    size_t out_bytes, warning_bytes;
    OptionsResult result;
} Fix;

// Words separated by '|'.
static Fix parse(const char *line) {
    Fix f = { 0 };
    char *words[32];
    int count = 0;
    f.line = mem_strdup(line);
    for (char *at = strtok(f.line, "|"); at; at = strtok(NULL, "|")) words[count++] = at;
    FILE *out = open_memstream(&f.out, &f.out_bytes);
    FILE *warnings = open_memstream(&f.warnings, &f.warning_bytes);
    options_init(&f.o, out, warnings);
    f.result = options_parse(&f.o, count, words);
    fclose(out);
    fclose(warnings);
    f.o.out = f.o.warnings = stderr;
    return f;
}

static void done(Fix *f) {
    options_free(&f->o);
    free(f->line);
    free(f->out);
    free(f->warnings);
}

static void good(Fix *f) {
    if (f->result == OPTIONS_BAD) fail_msg("%s", f->o.error);
    assert_int_equal(f->result, OPTIONS_RUN);
}

// The line is refused, and the message holds `part`.
static void bad(const char *line, const char *part) {
    Fix f = parse(line);
    assert_int_equal(f.result, OPTIONS_BAD);
    if (!strstr(f.o.error, part)) fail_msg("'%s' says '%s', not '%s'", line, f.o.error, part);
    if (strchr(f.o.error, '\n')) fail_msg("more than one line: %s", f.o.error);
    done(&f);
}

static void test_defaults(void **state) {
    (void)state;
    Fix f = parse("");
    good(&f);
    assert_int_equal(f.o.machine.ram_bytes, 128 << 20);
    assert_null(f.o.machine.pc.boot);
    assert_true(f.o.lab);
    assert_int_equal(f.o.machine.pc.floppy[0].blob_bytes, 1474560);
    assert_int_equal(f.o.display, DISPLAY_DEFAULT);
    assert_int_equal(f.o.serial_count, 1);
    assert_string_equal(f.o.serial[0], "null");
    assert_int_equal(f.o.monitor_count, 0);
    assert_true(f.o.machine.pc.rtc_epoch > 1700000000);
    done(&f);
    f = parse("-nodefaults");
    good(&f);
    assert_false(f.o.lab);
    assert_int_equal(f.o.serial_count, 0);
    done(&f);
}

static void test_article(void **state) {
    (void)state;
    Fix f = parse("-boot|a|-fda|Image|-hda|hdc-0.11-new.img|-vnc|0.0.0.0:1|-d|in_asm,op,out_asm");
    good(&f);
    assert_string_equal(f.o.machine.pc.boot, "a");
    assert_string_equal(f.o.machine.pc.floppy[0].path, "Image");
    assert_string_equal(f.o.machine.pc.ide[0].path, "hdc-0.11-new.img");
    assert_int_equal(f.o.display, DISPLAY_VNC);
    assert_string_equal(f.o.vnc, "0.0.0.0:1");
    assert_string_equal(f.o.log_items, "in_asm,op,out_asm");
    assert_false(f.o.lab);
    assert_int_equal(f.warning_bytes, 0);
    done(&f);
}

static void test_drive(void **state) {
    (void)state;
    Fix f = parse("-drive|format=raw,if=floppy,file=Image|-drive|format=raw,if=ide,file=hd.img|-boot|a");
    good(&f);
    assert_string_equal(f.o.machine.pc.floppy[0].path, "Image");
    assert_string_equal(f.o.machine.pc.ide[0].path, "hd.img");
    done(&f);
    f = parse("-drive|file=fs.img,index=1,media=disk,format=raw|-drive|file=xv6.img,index=0,media=disk,format=raw"
              "|-smp|2|-m|512");
    good(&f);
    assert_string_equal(f.o.machine.pc.ide[1].path, "fs.img");
    assert_string_equal(f.o.machine.pc.ide[0].path, "xv6.img");
    assert_int_equal(f.o.machine.ram_bytes, 512 << 20);
    assert_non_null(strstr(f.warnings, "one processor"));
    done(&f);
    f = parse("-hda|a|-drive|file=with,,comma,snapshot=on,cache=none,readonly=on|-drive|file=c,bus=1,unit=1");
    good(&f);
    assert_string_equal(f.o.machine.pc.ide[1].path, "with,comma");       // the next free one
    assert_true(f.o.machine.pc.ide[1].snapshot);
    assert_true(f.o.machine.pc.ide[1].readonly);
    assert_string_equal(f.o.machine.pc.ide[3].path, "c");
    done(&f);
    f = parse("-drive|if=none,id=d0,file=x|-device|ide-hd,drive=d0,bus=ide.1");
    good(&f);
    assert_string_equal(f.o.machine.pc.ide[2].path, "x");
    done(&f);
    f = parse("disk.img|-hdachs|20,16,63");
    good(&f);
    assert_string_equal(f.o.machine.pc.ide[0].path, "disk.img");
    assert_int_equal(f.o.machine.pc.ide[0].geometry.cylinders, 20);
    assert_int_equal(f.o.machine.pc.ide[0].geometry.sectors, 63);
    done(&f);
}

static void test_cdrom(void **state) {
    (void)state;
    Fix f = parse("-cdrom|x.iso|-hda|disk");
    good(&f);
    const PcDrive *ide = f.o.machine.pc.ide;
    assert_string_equal(ide[2].path, "x.iso");
    assert_true(ide[2].cd && !ide[0].cd);
    done(&f);
    f = parse("-hda|disk|-drive|file=x.iso,media=cdrom|-drive|if=none,id=c,file=y.iso|"
              "-device|ide-cd,drive=c,bus=ide.1,unit=1|-device|ide-cd,bus=ide.1");
    good(&f);
    assert_true(f.o.machine.pc.ide[1].cd && f.o.machine.pc.ide[3].cd && f.o.machine.pc.ide[2].cd);
    assert_string_equal(f.o.machine.pc.ide[3].path, "y.iso");
    assert_null(f.o.machine.pc.ide[2].path);           // an empty drive
    done(&f);
    f = parse("-hda|disk");                            // the drive that every machine has
    good(&f);
    assert_true(ide[2].cd && !ide[2].path && !ide[0].cd && !ide[3].cd);
    done(&f);
    const char *const without[] = { "-hda|x|-nodefaults", "-hdc|x",
                                    "-drive|if=none,id=d,file=x|-device|ide-hd,drive=d" };
    for (unsigned i = 0; i < ARRAY_LEN(without); i++) {
        f = parse(without[i]);
        good(&f);
        assert_false(ide[2].cd);
        done(&f);
    }
    f = parse("-vga|isa");
    good(&f);
    assert_true(f.o.machine.pc.isa_vga && !f.o.machine.pc.no_vga);
    done(&f);
}

static void test_drive_wrong(void **state) {
    (void)state;
    bad("-hda|x|disk.img", "-hda is given twice");
    bad("-drive|file=x,index=4", "from 0 to 3");
    bad("-drive|file=x,if=floppy,index=2", "from 0 to 1");
    bad("-drive|file=x,if=virtio", "if=virtio");
    bad("-drive|file=x,media=tape", "media=tape");
    bad("-drive|file=x,if=floppy,media=cdrom", "media=cdrom");
    bad("-hdc|x|-cdrom|y", "-hdc is given twice");
    bad("-cdrom|x|-cdrom|y", "-hdc is given twice");
    bad("-drive|file=x,format=qcow2", "qemu-img convert");
    bad("-drive|fil=x", "unknown key 'fil'");
    bad("-drive|index=0", "file=FILE is missing");
    bad("-drive|file=x,snapshot=maybe", "neither on nor off");
    bad("-drive|file=x,cyls=3", "belong together");
    bad("-fda|", "-fda: a value is missing");
    bad("-hdachs|1,17,63", "17");
    bad("-device|ide-hd,drive=d0", "id=d0");
}

static void test_sizes(void **state) {
    (void)state;
    static const struct { const char *text; u64 bytes; } sizes[] = {
        { "-m|16", 16 << 20 }, { "-m|16M", 16 << 20 }, { "-m|size=64m", 64 << 20 }, { "-m|1G", 1 << 30 },
        { "-m|1.5G", 3ull << 29 }, { "-m|65536k", 64 << 20 }, { "--m|3584", 3584ull << 20 },
    };
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        Fix f = parse(sizes[i].text);
        good(&f);
        assert_int_equal(f.o.machine.ram_bytes, sizes[i].bytes);
        done(&f);
    }
    bad("-m|0", "1 to 3584 MiB");
    bad("-m|5000", "1 to 3584 MiB");
    bad("-m|12x", "not a size");
    bad("-m|-5", "not a size");
    bad("-m|", "a value is missing");
}

static void test_unknown(void **state) {
    (void)state;
    bad("-had|x", "did you mean -hda?");
    bad("-snapshto", "did you mean -snapshot?");
    bad("--nograhpic", "did you mean -nographic?");
    bad("-zzzzzzzz", "-help lists them");
    bad("-append|x", "-append: only with -kernel");
    bad("-m|1|-initrd|x", "-initrd: only with -kernel");
    bad("-daemonize", "setsid");
    bad("-device|isa-debug-exti", "did you mean isa-debug-exit?");
    bad("-restore|both", "table, retranslate, check");
    static const char *const checks[] = { "-check=0", "-check=1/0", "-check=x", "-check=", "-check=1/",
                                          "-check=1/1000001", "-check=1/4x", "-check|1/0", "-check|2/4", "--check=2" };
    for (unsigned i = 0; i < ARRAY_LEN(checks); i++) bad(checks[i], "is not 1/N");
    bad("-chekc", "did you mean -check?");
    bad("-m=16", "unknown option");
    bad("-d|in_asm,bogus", "unknown item 'bogus'");
    bad("-dfilter|zz", "A..B");
    bad("-boot|xyz", "unknown drive 'x'");
    bad("-timeout|soon", "seconds");
    bad("-display|foo", "unknown display 'foo'");
    bad("-rtc|base=yesterday", "YYYY-MM-DD");
    bad("-vga|none|-vnc|:1", "-vga none");
    bad("-icount|shift=11", "from 0 to 10");
}

static void test_ignored(void **state) {
    (void)state;
    Fix f = parse("-enable-kvm|-enable-kvm|-soundhw|pcspk|-net|none|-usb|-k|de|-sdl|-parallel|none|-redir|tcp:1::2");
    good(&f);
    const char *first = strstr(f.warnings, "-enable-kvm");
    assert_non_null(first);
    assert_null(strstr(first + 1, "-enable-kvm"));                // one warning only
    assert_non_null(strstr(f.warnings, "-soundhw is ignored"));
    done(&f);
    f = parse("-accel|tcg|-machine|pc,accel=tcg|-M|pc|-cpu|base|-name|x|-vga|std|-smp|1");
    good(&f);
    assert_int_equal(f.warning_bytes, 0);
    done(&f);
}

static void test_character_devices(void **state) {
    (void)state;
    Fix f = parse("-nographic");
    good(&f);
    assert_string_equal(f.o.serial[0], "mon:stdio");
    assert_int_equal(f.o.monitor_count, 0);
    assert_int_equal(f.o.display, DISPLAY_NONE);
    done(&f);
    f = parse("-nographic|-serial|file:x");
    good(&f);
    assert_string_equal(f.o.serial[0], "file:x");
    assert_string_equal(f.o.monitor[0], "stdio");
    done(&f);
    f = parse("-nographic|-monitor|none");
    good(&f);
    assert_string_equal(f.o.serial[0], "stdio");
    done(&f);
    f = parse("-chardev|socket,id=m,path=/tmp/s,server=on,wait=off|-mon|chardev=m,mode=readline"
              "|-chardev|stdio,id=c,mux=on|-serial|chardev:c");
    good(&f);
    assert_string_equal(f.o.monitor[0], "unix:/tmp/s,server,nowait");
    assert_string_equal(f.o.serial[0], "mon:stdio");
    done(&f);
    bad("-serial|chardev:nobody", "id=nobody");
    bad("-chardev|socket,id=x", "path=");
    bad("-chardev|file,path=x", "id=ID is missing");
}

static void test_debug_devices(void **state) {
    (void)state;
    Fix f = parse("-device|isa-debug-exit,iobase=0xf4,iosize=0x04|-serial|stdio|-display|none|-no-reboot"
                  "|-debugcon|stdio");
    good(&f);
    assert_int_equal(f.o.machine.pc.exit_port, 0xf4);
    assert_int_equal(f.o.machine.pc.exit_ports, 4);
    assert_true(f.o.machine.jit.no_reboot);
    assert_int_equal(f.o.debugcon[0].port, 0xe9);
    done(&f);
    f = parse("-debugcon|file:seabios|-global|isa-debugcon.iobase=0x402");
    good(&f);
    assert_int_equal(f.o.debugcon[0].port, 0x402);
    done(&f);
    f = parse("-chardev|file,id=l,path=log|-device|isa-debugcon,iobase=0x402,chardev=l|-debugcon|stdio");
    good(&f);
    assert_int_equal(f.o.debugcon[0].port, 0x402);
    assert_string_equal(f.o.debugcon[0].spec, "file:log");
    assert_int_equal(f.o.debugcon[1].port, 0xe9);
    done(&f);
    bad("-debugcon|stdio|-debugcon|file:x", "port 0xe9 is taken twice");
    bad("-device|isa-debug-exit,ioport=1", "unknown key 'ioport'");
}

static void test_running(void **state) {
    (void)state;
    Fix f = parse("-S|-snapshot|-singlestep|-icount|shift=7|-restore|check|-timeout|2.5|-tb-size|32|-no-shutdown");
    good(&f);
    assert_true(f.o.machine.paused && f.o.machine.pc.snapshot && f.o.machine.no_shutdown);
    assert_int_equal(f.o.machine.jit.max_insns, 1);
    assert_true(f.o.machine.jit.icount);
    assert_int_equal(f.o.machine.jit.icount_shift, 7);
    assert_int_equal(f.o.machine.jit.restore, JIT_RESTORE_CHECK);
    assert_int_equal(f.o.machine.jit.cache_mib, 32);
    assert_true(f.o.timeout_s == 2.5);
    done(&f);
    f = parse("-rtc|base=2026-01-02T03:04:05");
    good(&f);
    assert_int_equal(f.o.machine.pc.rtc_epoch, 1767323045);
    done(&f);
    f = parse("-boot|order=ca,menu=on,once=d|-accel|tcg,one-insn-per-tb=on,tb-size=8");
    good(&f);
    assert_string_equal(f.o.machine.pc.boot, "ca");
    assert_string_equal(f.o.machine.boot_once, "d");
    assert_true(f.o.machine.pc.boot_menu);
    assert_int_equal(f.o.machine.jit.max_insns, 1);
    assert_int_equal(f.o.machine.jit.cache_mib, 8);
    done(&f);
}

static void test_check(void **state) {
    (void)state;
    static const struct { const char *line; u32 every; bool image; } rows[] = {
        { "-snapshot", 0, false }, { "-check", 1, false }, { "-check=1/64", 64, false }, { "-check|1/7", 7, false },
        { "--check=1/1", 1, false }, { "-check|image", 1, true }, { "-check=1/3|image", 3, true },
        { "-check|-S", 1, false },
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        Fix f = parse(rows[i].line);
        good(&f);
        assert_int_equal(f.o.machine.jit.check, rows[i].every);
        assert_int_equal(f.o.machine.pc.ide[0].path != NULL, rows[i].image);
        done(&f);
    }
}

static void test_help(void **state) {
    (void)state;
    static const struct { const char *line, *part; } asks[] = {
        { "-help", "\n-drive file=FILE" }, { "-help", "\n-check[=1/N] " },
        { "-h", "-nographic" }, { "--version", "glassbox version" },
        { "-d|help", "in_asm" }, { "-d|?", "restore" }, { "-device|help", "isa-debug-exit" },
        { "-device|help", "pc-testdev" },
        { "-machine|help", "pc" }, { "-display|help", "term" }, { "-vga|help", "std" },
        { "-cpu|help", "Available CPUs" }, { "-accel|help", "tcg" },
    };
    for (unsigned i = 0; i < ARRAY_LEN(asks); i++) {
        Fix f = parse(asks[i].line);
        assert_int_equal(f.result, OPTIONS_DONE);
        if (!strstr(f.out, asks[i].part)) fail_msg("'%s' prints '%s'", asks[i].line, f.out);
        assert_int_equal(f.warning_bytes, 0);
        done(&f);
    }
}

// Every line of -help fits a terminal.
static void test_help_width(void **state) {
    (void)state;
    Fix f = parse("-help");
    for (const char *line = f.out; *line;) {
        size_t n = strcspn(line, "\n");
        if (n > 100) fail_msg("%.*s", (int)n, line);
        line += n + (line[n] == '\n');
    }
    done(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_article), cmocka_unit_test(test_drive),
        cmocka_unit_test(test_cdrom), cmocka_unit_test(test_drive_wrong), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_ignored), cmocka_unit_test(test_character_devices),
        cmocka_unit_test(test_debug_devices), cmocka_unit_test(test_running), cmocka_unit_test(test_check),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_help_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
