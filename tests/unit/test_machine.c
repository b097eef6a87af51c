// SPDX-License-Identifier: MIT
// Whole machines: two in one process, pause and resume, the end of a run, and the monitor's commands.
// Run: make test T=unit/test_machine
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "limits.h"

#include "bus/device.h"
#include "pc/lab.h"
#include "pc/machine.h"
#include "ui/monitor.h"

#define RAM_BYTES (16u << 20)

typedef struct Guest {         // a machine with the lab, whose serial line is kept
    Log log;
    Machine *m;
    char said[8192];
    unsigned said_count;
    unsigned prompts;          // ends at this many prompts
    bool stop;                 // pauses there in place of ending
    BusEvent event;
} Guest;

// Waits until the guest has nothing to do: events from outside come between any two blocks.
static void guest_end(BusEvent *ev) {
    Guest *g = (Guest *)((char *)ev - offsetof(Guest, event));
    if (!g->m->cpu->halted) {
        bus_post(g->m->bus, ev);
        return;
    }
    if (g->stop) machine_pause(g->m);
    bus_request_exit(g->m->bus, g->stop ? 5 : 3);
}

static void guest_put(void *self, u8 byte) {
    Guest *g = self;
    if (g->said_count + 1 >= sizeof g->said) return;
    g->said[g->said_count++] = (char)byte;
    if (g->said_count < 5 || memcmp(g->said + g->said_count - 5, "lab> ", 5)) return;
    if (g->prompts && --g->prompts) return;
    g->event.run = guest_end;
    bus_post(g->m->bus, &g->event);
}

static void guest_open_with(Guest *g, bool paused, JitOptions jit) {
    char *err = NULL;
    memset(g, 0, sizeof *g);
    log_init(&g->log);
    MachineConfig config = {
        .ram_bytes = RAM_BYTES, .paused = paused, .jit = jit,
        .pc = { .floppy = { { .blob = lab_floppy(), .blob_bytes = lab_floppy_bytes() } },
                .serial = { { true, { guest_put, g } } } },
    };
    g->prompts = 1;
    g->m = machine_new(&config, &g->log, &err);
    if (!g->m) fail_msg("%s", err);
}

static void guest_open(Guest *g, bool paused) {
    guest_open_with(g, paused, (JitOptions){ .icount = true, .icount_shift = 3 });
}

static void guest_close(Guest *g) {
    machine_free(g->m);
    log_close(&g->log);
}

// Two machines live in one process and know nothing of each other; the same run says the same.
static void test_two(void **state) {
    (void)state;
    static Guest a, b;
    guest_open(&a, false);
    guest_open(&b, false);
    assert_int_equal(machine_run(a.m), 3);
    assert_int_equal(b.said_count, 0);
    assert_int_equal(machine_run(b.m), 3);
    assert_int_equal(a.said_count, b.said_count);
    assert_memory_equal(a.said, b.said, a.said_count);
    assert_non_null(strstr(a.said, "page-fault lab"));
    assert_int_equal(jit_insns(a.m->jit), jit_insns(b.m->jit));
    guest_close(&a);
    guest_close(&b);
}

// Counted time is the instructions' and nobody else's: however they are translated, each interrupt comes
// before the same one.
static void test_counted(void **state) {
    (void)state;
    static const JitOptions ways[] = {
        { .icount = true, .icount_shift = 3 },
        { .icount = true, .icount_shift = 3, .max_insns = 1 },
        { .icount = true, .icount_shift = 3, .max_insns = 5, .no_chain = true },
        { .icount = true, .icount_shift = 3, .cache_mib = 1, .no_chain = true },
    };
    static Guest g;
    u64 insns = 0, hash = 0;
    for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
        guest_open_with(&g, false, ways[i]);
        assert_int_equal(machine_run(g.m), 3);
        if (!i) insns = jit_insns(g.m->jit), hash = device_hash(g.m->bus);
        assert_int_equal(jit_insns(g.m->jit), insns);
        assert_int_equal(device_hash(g.m->bus), hash);
        guest_close(&g);
    }
}

typedef struct Later { BusEvent event; Guest *g; unsigned step; } Later;

// While it is paused events are served and nothing runs.
static void later_run(BusEvent *ev) {
    Later *l = (Later *)ev;
    assert_true(l->g->m->paused);
    assert_int_equal(jit_insns(l->g->m->jit), 0);
    if (l->step++ < 3) bus_post(l->g->m->bus, ev);
    else assert_true(machine_resume(l->g->m));
}

static void test_pause(void **state) {
    (void)state;
    static Guest g;
    guest_open(&g, true);
    Later later = { { NULL, later_run }, &g, 0 };
    bus_post(g.m->bus, &later.event);
    assert_int_equal(machine_run(g.m), 3);
    assert_int_equal(later.step, 4);
    assert_false(g.m->paused);
    guest_close(&g);
}

// Power-off ends the run; with -no-shutdown it pauses until a reset.
typedef struct Off { BusEvent event; Guest *g; unsigned step; } Off;
static void off_run(BusEvent *ev) {
    Off *o = (Off *)ev;
    Machine *m = o->g->m;
    switch (o->step++) {
    case 0: bus_request_poweroff(m->bus); break;
    case 1:
        assert_true(m->paused && m->powered_off);
        assert_false(machine_resume(m));
        bus_request(m->bus, BUS_REQ_RESET);
        break;
    case 2:
        assert_false(m->powered_off);
        assert_true(machine_resume(m));
        bus_request_exit(m->bus, 9);
        return;
    }
    bus_post(m->bus, ev);
}

static void test_no_shutdown(void **state) {
    (void)state;
    static Guest g;
    for (unsigned keep = 0; keep < 2; keep++) {
        guest_open(&g, false);
        g.m->no_shutdown = keep;
        Off off = { { NULL, off_run }, &g, 0 };
        bus_post(g.m->bus, &off.event);
        assert_int_equal(machine_run(g.m), keep ? 9 : 0);
        assert_int_equal(off.step, keep ? 3 : 1);
        guest_close(&g);
    }
}

static void test_wrong(void **state) {
    (void)state;
    Log log;
    char *err = NULL;
    log_init(&log);
    MachineConfig config = { .ram_bytes = RAM_BYTES };
    config.pc.ide[0].path = "/nonexistent/image";
    assert_null(machine_new(&config, &log, &err));
    assert_string_equal(err, "-hda: cannot open '/nonexistent/image': No such file or directory");
    free(err);
    config = (MachineConfig){ .ram_bytes = RAM_BYTES, .boot_once = "q" };
    assert_null(machine_new(&config, &log, &err));
    assert_non_null(strstr(err, "-boot"));
    free(err);
    struct rlimit old = limit_addresses(1ull << 30);
    config = (MachineConfig){ .ram_bytes = RAM_BYTES };
    Machine *m = machine_new(&config, &log, &err);
    setrlimit(RLIMIT_AS, &old);
    assert_null(m);
    assert_non_null(strstr(err, "ulimit -v"));
    free(err);
    log_close(&log);
}

// ---- monitor ------------------------------------------------------------------------------------

static Guest mon_guest;
static Monitor *mon;

static int mon_setup(void **state) {
    (void)state;
    guest_open(&mon_guest, false);
    machine_run(mon_guest.m);              // the lab stands at its prompt
    bus_clear_request(mon_guest.m->bus, BUS_REQ_SHUTDOWN);
    mon = monitor_new(mon_guest.m, NULL);
    return 0;
}

static int mon_teardown(void **state) {
    (void)state;
    monitor_free(mon);
    guest_close(&mon_guest);
    return 0;
}

static char *ask(const char *line) {
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    monitor_command(mon, line, f);
    fclose(f);
    return text;
}

static void says(const char *line, const char *answer) {
    char *text = ask(line);
    if (strcmp(text, answer)) fail_msg("'%s' says '%s', not '%s'", line, text, answer);
    free(text);
}

static void says_part(const char *line, const char *part) {
    char *text = ask(line);
    if (!strstr(text, part)) fail_msg("'%s' says '%s' without '%s'", line, text, part);
    free(text);
}

static void test_monitor_expressions(void **state) {
    (void)state;
    says("p 1+2*3", "0x7\n");
    says("p/d 10-2*3", "4\n");
    says("p (1+2)*3", "0x9\n");
    says("p/d -1", "-1\n");
    says("p ~0 & 0xff | 0x100", "0x1ff\n");
    says("p 6 ^ 3 + 1", "0x6\n");                   // + binds looser than ^
    says("p/u 7/2", "3\n");
    says("p/d 7 % 4", "3\n");
    says("p/c 'a'", "'a'\n");
    says("p/o 8", "010\n");
    says("print 0x1234", "0x1234\n");
    says("p 1/0", "division by zero\n");
    says("p 1+", "unexpected end of expression\n");
    says("p $foo", "unknown register: $foo\n");
    says("p (1", "')' expected\n");
    mon_guest.m->cpu->regs[CPU_EAX] = 0x12345678;
    says("p $eax", "0x12345678\n");
    says("p $ax", "0x5678\n");
    says("p $eax & 0xf000", "0x5000\n");
    says("p $cs", "0x8\n");
}

static void test_monitor_memory(void **state) {
    (void)state;
    static const u8 bytes[] = { 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'h', 'i', '\n', 0, 0x80, 0, 0, 0 };
    memcpy(bus_ram(mon_guest.m->bus) + 0x200000, bytes, sizeof bytes);     // mapped one to one by the lab
    says("x/2wx 0x200000", "00200000: 0x00000001 0xffffffff\n");
    says("x /2xw 0x200000", "00200000: 0x00000001 0xffffffff\n");
    says("x/1wd 0x200004", "00200004:         -1\n");
    says("x/1wu 0x200004", "00200004: 4294967295\n");
    says("x/4c 0x200008", "00200008: 'h' 'i' '\\n' '\\x00'\n");
    says("x/2hx 0x200000", "00200000: 0x0001 0x0000\n");
    says("x/9bx 0x200000", "00200000: 0x01 0x00 0x00 0x00 0xff 0xff 0xff 0xff\n00200008: 0x68\n");
    says("xp/1gx 0x200000", "0000000000200000: 0xffffffff00000001\n");
    says("xp/1wx 0xa0000", "00000000000a0000: 0xffffffff\n");
    says("xp/1wx 0x1000000", "0000000001000000: Cannot access memory\n");
    says("x 0", "00000000: Cannot access memory\n");
    says("x/2i 0", "0x00000000:  Cannot access memory\n");
    says("gva2gpa 0x200123", "gpa: 0x200123\n");
    says("gva2gpa 0", "Unmapped\n");
    says("sum 0x200008 2", "00157\n");               // ('h' rotated: 0x34) + 'i'
    says("sum 0 0xffffffff", "Cannot access memory\n");
    says("x/1048577bx 0", "at most 1048576\n");
    says("memsave 0 0x100000001 /nowhere/at/all", "Error: at most 4 GiB\n");
    says("x/2q 0", "invalid char in format: 'q'\n");
    memcpy(bus_ram(mon_guest.m->bus) + 0x200000, "\x64\x88\x02\xc3", 4);
    says("x/2i 0x200000", "0x00200000:  mov    %al,%fs:(%edx)\n0x00200003:  ret\n");
    says("x/1ih 0x200003", "0x00200003:  ret\n");
}

static void test_monitor_info(void **state) {
    (void)state;
    says("info version", GLASSBOX_VERSION "\n");
    says("info status", "VM status: running\n");
    says_part("info registers", "\nGDT=     ");
    says_part("info block", "floppy0: (built in) (raw)");
    says_part("info mtree", "-00000000000fffff: rom\n");
    says_part("info mtree", "0000000000100000-0000000000ffffff: ram\n");
    says_part("info tlb", "0000000000100000: 0000000000100000 ");
    says_part("info jit", "blocks ");
    says_part("info pic", "imr");
    says_part("info pci", "device   0, function 0:\n    Host bridge: PCI device 8086:1237\n");
    says_part("info qtree", "fdc\n");
    says_part("info nonsense", "unknown subject");
    says_part("info", "info registers");
    says("nonsense", "unknown command: 'nonsense'\n");
    says("", "");
}

static void test_monitor_changes(void **state) {
    (void)state;
    says("eject floppy0", "");
    says_part("info block", "floppy0: [not inserted]");
    says("eject ide0-hd0", "Error: Device 'ide0-hd0' is not removable\n");
    says_part("eject cd", "not found");
    says_part("change floppy0 /nonexistent/image", "No such file");
    says("sendkey nosuchkey", "unknown key: 'nosuchkey'\n");
    says("boot_set c", "boot device list now set to c\n");
    says_part("boot_set zz", "Error: -boot");
    says_part("log nothing", "unknown log item 'nothing'");
    says("log int,cpu", "");
    assert_int_equal(mon_guest.log.mask, LOG(INT) | LOG(CPU));
    says("log none", "");
    says_part("screendump /nonexistent/x.png", "cannot write");
    says("stop", "");
    says("info status", "VM status: paused\n");
    says("c", "");
    says("info status", "VM status: running\n");
    says_part("help", "sendkey");
    says_part("help info", "info registers");
    says("o/b 0x80 5", "");
    says_part("i/h 0x1ce", "portw[0x01ce] = 0x");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two), cmocka_unit_test(test_counted), cmocka_unit_test(test_pause),
        cmocka_unit_test(test_no_shutdown),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test_setup_teardown(test_monitor_expressions, mon_setup, mon_teardown),
        cmocka_unit_test_setup_teardown(test_monitor_memory, mon_setup, mon_teardown),
        cmocka_unit_test_setup_teardown(test_monitor_info, mon_setup, mon_teardown),
        cmocka_unit_test_setup_teardown(test_monitor_changes, mon_setup, mon_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
