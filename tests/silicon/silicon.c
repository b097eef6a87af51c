// SPDX-License-Identifier: MIT
// The host's processor against the emulator: for every row of i386.def short random programs, run by three engines
// that must end the same way, with the same registers, flags, x87, SSE state and memory, or the same fault.
// `make test` runs a fixed slice. timeout: 180
//
//     make silicon N=1000000 [SEED=1] [ROW=add_ev_gv] [REPORT=docs/silicon.md]
//
//     host     32-bit and 16-bit user code on the bare processor (hostcpu.h)
//     eval     the same, instruction by instruction, through decoder, lifter and ir/eval
//     jit      translated: whole blocks with groups, single instructions, without links; and, where privilege makes no
//              difference, at CPL 0; with -restore check; with an empty TLB and again with what that has left
//
// Case number n is of row n modulo their number, or of ROW. Each failure prints the line that repeats it.
#define _GNU_SOURCE
#include "fuzz.h"
#include "gen.h"
#include "hostcpu.h"
#include "law.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENGINE_HOST, ENGINE_EVAL, ENGINE_JIT, ENGINES };
enum { MAX_ROWS = 1024, MAX_SHOWN = 10, MAX_STEPS = 4000, ATTEMPTS = 3, VECTORS = 32,
       ENOUGH = 2000 };                    // cases of a row: all its corners must be among them

// Each case runs in one of the first three, in turn, and in the last one if it can.
static const struct { const char *name; unsigned cpl; JitOptions options; } variants[] = {
    { "blocks", 3, { .cache_mib = 4, .restore = JIT_RESTORE_CHECK } },
    { "single instructions", 3, { .cache_mib = 4, .restore = JIT_RESTORE_CHECK, .max_insns = 1 } },
    { "retranslated, no links", 3, { .cache_mib = 4, .restore = JIT_RESTORE_RETRANSLATE, .no_chain = true } },
    { "blocks at CPL 0", 0, { .cache_mib = 4, .restore = JIT_RESTORE_CHECK } },
};
enum { VARIANTS = ARRAY_LEN(variants), AT_CPL0 = VARIANTS - 1 };

typedef struct RowCount {
    u32 cases[ENGINES], faults;            // faults: ended otherwise than by the INT3 at the end
    u32 memory, registers;                 // forms
    u32 differ[ENGINES];                   // from eval (eval itself: unused)
    u32 undefined;                         // only in flags that the manual leaves undefined
    u64 met;                               // corners of its operands, one bit each (corner.c),
    u32 met_of;                            // of so many
    u32 lawful;                            // where the manual leaves the processor a choice (law.h)
} RowCount;

typedef struct Silicon {
    Case c;
    Machine *maker, *jit[VARIANTS];
    u8 *host;                              // its area; NULL: no host
    State expected, got;                   // eval's, another engine's
    unsigned engine;                       // that other engine,
    const char *engine_name;               // in words,
    const u8 *area;                        // and its area
    RowCount row[MAX_ROWS];
    u64 cases, skipped, again, vectors[VECTORS], laws[LAW_COUNT];
    struct Running *running;               // shared with the parent process
    unsigned failures;
    bool undefined;                        // flags differ that the manual leaves undefined
    Law law;                               // that covers the difference
    const char *what;                      // the difference found last
} Silicon;

// The case that runs, for who outlives it.
typedef struct Running { u64 number; unsigned row; } Running;

static Silicon *silicon(void) {
    static Silicon s;
    return &s;
}

// ---- showing --------------------------------------------------------------------------------------
static void show_state(const char *name, const State *s) {
    static const char *const regs[8] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" };
    fprintf(stderr, "%-6s eip %08x eflags %08x vector %u error %x cr2 %08x seg", name, s->eip, s->eflags, s->vector,
            s->error, s->cr2);
    for (unsigned i = 0; i < 6; i++) fprintf(stderr, " %02x", s->seg[i]);
    fprintf(stderr, "\n      ");
    for (unsigned r = 0; r < 8; r++) fprintf(stderr, " %s %08x", regs[r], s->regs[r]);
    const u8 *f = s->fx.byte;
    fprintf(stderr, "\n       fcw %04x fsw %04x tags %02x fop %03x fip %08x fdp %08x mxcsr %04x\n", get_le16(f),
            get_le16(f + FX_SW), f[FX_TAGS], get_le16(f + FX_OP), get_le32(f + FX_IP), get_le32(f + FX_DP),
            get_le32(f + FX_MXCSR));
}

static void show_code(const Case *c) {
    for (unsigned i = 0; i < c->traced; i++) {
        const Step *t = &c->trace[i];
        for (u32 done = 0; done < t->length;) {
            Insn in;
            char text[128] = "(bad)";
            u8 bytes[ISA_MAX_BYTES];
            for (u32 k = 0; k < ISA_MAX_BYTES; k++) bytes[k] = c->image[(t->at + done + k - AREA) % AREA_BYTES];
            u32 length = t->length - done;
            if (isa_decode(bytes, ISA_MAX_BYTES, t->code32, &in) == ISA_OK) {
                isa_format(&in, t->at + done, ISA_ATT, text, sizeof text);
                length = in.length;
            }
            fprintf(stderr, "  %08x: ", t->at + done);
            for (u32 k = 0; k < length && k < ISA_MAX_BYTES; k++) fprintf(stderr, "%02x ", bytes[k]);
            fprintf(stderr, "%*s%s%s\n", length < 10 ? (int)(30 - 3 * length) : 0, "", text,
                    t->code32 ? "" : "   (16-bit)");
            done += length;
        }
    }
}

static void show_fx(const State *a, const State *b) {
    for (u32 i = FX_ST; i < FX_END; i += 16) {
        if (!memcmp(a->fx.byte + i, b->fx.byte + i, i < FX_XMM ? 10 : 16)) continue;
        fprintf(stderr, "  %s%u:", i < FX_XMM ? "st" : "xmm", (i - (i < FX_XMM ? FX_ST : FX_XMM)) / 16);
        for (u32 k = i < FX_XMM ? 10 : 16; k-- > 0;) fprintf(stderr, "%02x", a->fx.byte[i + k]);
        fprintf(stderr, " / ");
        for (u32 k = i < FX_XMM ? 10 : 16; k-- > 0;) fprintf(stderr, "%02x", b->fx.byte[i + k]);
        fprintf(stderr, "\n");
    }
}

static void show_memory(const Silicon *s, const u8 *a, const u8 *b) {
    for (u32 i = DATA_LOW, n = 0; i < DATA_HIGH && n < 16; i++)
        if (a[i] != b[i]) {
            fprintf(stderr, "  %08x: start %02x eval %02x other %02x\n", AREA + i, s->c.image[i], a[i], b[i]);
            n++;
        }
}

static void show_command(unsigned row, u64 number) {
    fprintf(stderr, "repeat: make silicon ROW=%s SEED=%llu N=1\n", isa_rows[row].id, (unsigned long long)number);
}

static void show_failure(const Silicon *s) {
    fprintf(stderr, "\n%s: %s differ: eval and %s\n", isa_rows[s->c.row].id, s->what, s->engine_name);
    show_code(&s->c);
    show_state("start", &s->c.start);
    show_state("eval", &s->expected);
    show_state("other", &s->got);
    show_fx(&s->expected, &s->got);
    show_memory(s, machine_area(s->maker), s->area);
    show_command(s->c.row, s->c.number);
}

// ---- comparing ------------------------------------------------------------------------------------
static bool fx_differs(const State *a, const State *b, u32 from, u32 bytes) {
    return memcmp(a->fx.byte + from, b->fx.byte + from, bytes);
}

enum { FSW_SUMMARY = 0x80 };

// Hosts keep the pointers in their images while an exception is pending, some only then.
static const char *compare_fpu(const State *a, const State *b) {
    if (fx_differs(a, b, FX_CW, 2)) return "x87 control words";
    if (fx_differs(a, b, FX_SW, 2)) return "x87 status words";
    if (a->fx.byte[FX_TAGS] != b->fx.byte[FX_TAGS]) return "x87 tags";
    for (u32 i = FX_ST; i < FX_XMM; i += 16) if (fx_differs(a, b, i, 10)) return "x87 registers";
    if (fx_differs(a, b, FX_MXCSR, 4)) return "MXCSRs";
    if (fx_differs(a, b, FX_XMM, FX_END - FX_XMM)) return "XMM registers";
    if (!(get_le16(a->fx.byte + FX_SW) & FSW_SUMMARY)) return NULL;
    if (fx_differs(a, b, FX_IP, 4)) return "x87 instruction pointers";
    if (fx_differs(a, b, FX_OP, 2)) return "x87 opcodes";
    return fx_differs(a, b, FX_DP, 4) ? "x87 data pointers" : NULL;
}

// Entering and leaving the host's kernel clears the privilege bits of null selectors.
static bool selectors_differ(const State *a, const State *b) {
    for (unsigned i = 0; i < 6; i++)
        if (a->seg[i] != b->seg[i] && (a->seg[i] > 3 || b->seg[i] > 3)) return true;
    return false;
}

static const char *compare(const Silicon *s, const u8 *area) {
    const State *a = &s->expected, *b = &s->got;
    if (a->vector != b->vector) return "vectors";
    if (a->eip != b->eip) return "EIPs";
    if (a->error != b->error) return "error codes";
    if (a->vector == 14 && a->cr2 != b->cr2) return "fault addresses";
    if (memcmp(a->regs, b->regs, sizeof a->regs)) return "registers";
    if (selectors_differ(a, b)) return "selectors";
    if ((a->eflags ^ b->eflags) & ~s->c.undefined) return "flags";
    if (memcmp(machine_area(s->maker) + DATA_LOW, area + DATA_LOW, DATA_HIGH - DATA_LOW)) return "memory";
    return compare_fpu(a, b);
}

// ---- engines --------------------------------------------------------------------------------------
static bool run_eval(Silicon *s) {
    machine_start(s->maker, &s->c.start, s->c.image);
    for (unsigned n = 0; n < MAX_STEPS; n++)
        if (!machine_step(s->maker, s->c.fpu)) {
            machine_take(s->maker, &s->expected);
            return true;
        }
    return false;
}

static void put_code(Silicon *s, Machine *m, const u8 *from) {
    if (s->c.code_low < s->c.code_high)
        machine_put_code(m, s->c.code_low, from + s->c.code_low, s->c.code_high - s->c.code_low);
}

// Compares what has just run with eval's outcome. True: they differ.
static bool differs(Silicon *s, unsigned engine, const char *name, const u8 *area) {
    s->engine = engine;
    s->engine_name = name;
    s->area = area;
    s->what = compare(s, area);
    if (!s->what) s->undefined |= ((s->expected.eflags ^ s->got.eflags) & s->c.undefined) != 0;
    return s->what;
}

// With an empty TLB, and again with what that has left.
static bool run_jit(Silicon *s, unsigned variant) {
    Machine *m = s->jit[variant];
    put_code(s, m, s->c.image);
    machine_flush(m);
    for (unsigned k = 0; k < 2; k++) {
        machine_start(m, &s->c.start, s->c.image);
        memset(&s->got, 0, sizeof s->got);
        if (machine_run(m)) machine_take(m, &s->got);
        if (differs(s, ENGINE_JIT, variants[variant].name, machine_area(m))) return false;
    }
    return true;
}

static bool is_image_in_data(u32 image) { return image - AREA < DATA_HIGH - FX_END; }

// MXCSR_MASK is the host's.
static void take_over_mask(Silicon *s, u32 image) {
    if (is_image_in_data(image))
        memcpy(s->host + image - AREA + FX_MASK, machine_area(s->maker) + image - AREA + FX_MASK, 4);
}

// AMD's processors store no pointers unless an exception is pending.
static void take_over_pointers(Silicon *s, u32 image) {
    u8 *host = s->host + image - AREA;
    const u8 *eval = machine_area(s->maker) + image - AREA;
    if (!is_image_in_data(image) || get_le16(eval + FX_SW) & FSW_SUMMARY) return;
    if (memcmp(host + FX_OP, eval + FX_OP, FX_MXCSR - FX_OP)) s->laws[LAW_FXSAVE]++;
    memcpy(host + FX_OP, eval + FX_OP, FX_MXCSR - FX_OP);
}

static void host_once(Silicon *s) {
    u32 low = s->c.code_low, high = s->c.code_high;
    if (low < high) memcpy(s->host + low, s->c.image + low, high - low);
    memcpy(s->host + DATA_LOW, s->c.image + DATA_LOW, DATA_HIGH - DATA_LOW);
    s->got = s->c.start;
    hostcpu_run(&s->got);
    if (low < high) memset(s->host + low, 0xcc, high - low);
    for (u32 i = 0; i < s->c.fx_images; i++) take_over_mask(s, s->c.fx_image[i]);
}

static bool host_agrees(Silicon *s) {
    host_once(s);
    for (u32 i = 0; i < s->c.fx_images; i++) take_over_pointers(s, s->c.fx_image[i]);
    return !differs(s, ENGINE_HOST, "host", s->host);
}

// What FXSAVE has just stored there loses its pointers.
static void forget_pointers(Silicon *s, u32 image) {
    u8 *at = machine_area(s->maker) + image - AREA;
    const Cpu *cpu = machine_cpu(s->maker);
    if (!is_image_in_data(image) || get_le16(at + FX_SW) & FSW_SUMMARY) return;
    bool stored = get_le16(at + FX_OP) == cpu->fpu_op && get_le32(at + FX_IP) == cpu->fpu_ip &&
                  get_le32(at + FX_DP) == cpu->fpu_dp;
    if (stored) memset(at + FX_OP, 0, FX_MXCSR - FX_OP);
}

// A program may go on to read the image: is all the same when eval's images are like the host's?
static bool host_agrees_on_images(Silicon *s) {
    bool more = s->c.fx_images > 0;
    if (!more) return false;
    machine_start(s->maker, &s->c.start, s->c.image);
    for (unsigned n = 0; n < MAX_STEPS && more; n++) {
        more = machine_step(s->maker, s->c.fpu);
        for (u32 i = 0; i < s->c.fx_images; i++) forget_pointers(s, s->c.fx_image[i]);
    }
    machine_take(s->maker, &s->expected);
    host_once(s);
    return !differs(s, ENGINE_HOST, "host", s->host);
}

static bool run_host(Silicon *s) {
    if (host_agrees(s)) return true;
    s->law = law_of(&s->c, &s->expected, &s->got, s->what);
    if (s->law) return true;
    if (host_agrees_on_images(s)) s->law = LAW_FXSAVE;
    else if (s->c.fx_images) return run_eval(s) && host_agrees(s);
    return s->law;
}

// ---- cases ----------------------------------------------------------------------------------------
// Addresses that are not missing on the one side. The address sanitizer's shadow memory lies on the host.
#ifdef __SANITIZE_ADDRESS__
static bool is_shadow(u32 linear) { return linear >= 0x7fff8000; }
#else
static bool is_shadow(u32 linear) { (void)linear; return false; }
#endif

static bool is_apart(u32 linear) {
    return is_shadow(linear) || linear - KERNEL < KERNEL_BYTES || linear >> PAGE_SHIFT == HOST_CONTEXT >> PAGE_SHIFT;
}

// Did it end with #GP in code that was not written as such, but jumped into? That may be any instruction.
static bool has_strayed(const Silicon *s) {
    u16 cs = s->expected.seg[CPU_CS];
    u32 at = s->expected.eip + (cs & 4 ? area_segments[cs >> 3].base : 0);
    if (s->expected.vector != VEC_GP) return false;
    for (unsigned i = 0; i < s->c.traced; i++) if (s->c.trace[i].at == at) return false;
    return true;
}

static void clean_up(Silicon *s, unsigned variant) {
    u8 blank[CODE_BYTES];
    memset(blank, 0xcc, sizeof blank);
    put_code(s, s->maker, blank);
    put_code(s, s->jit[variant], blank);
    put_code(s, s->jit[AT_CPL0], blank);
}

static bool has_host(const Silicon *s) { return s->host && !law_not_on_host(s->c.row); }

// All engines once. False: there is a difference.
static bool run_engines(Silicon *s, unsigned variant, bool at_cpl0) {
    s->law = LAW_NONE;
    s->undefined = false;
    if (!run_eval(s) || !run_jit(s, variant) || (at_cpl0 && !run_jit(s, AT_CPL0))) return false;
    return !has_host(s) || run_host(s);
}

static void count_case(Silicon *s) {
    RowCount *count = &s->row[s->c.row];
    s->cases++;
    count->cases[ENGINE_EVAL]++;
    count->cases[ENGINE_JIT]++;
    count->cases[ENGINE_HOST] += has_host(s);
    count->memory += s->c.memory_form;
    count->registers += s->c.register_form;
    count->faults += s->expected.vector != 3;
    count->undefined += s->undefined;
    count->met |= s->c.met;
    if (s->c.met_of > count->met_of) count->met_of = s->c.met_of;
    count->lawful += s->law != LAW_NONE;
    if (s->law) s->laws[s->law]++;
    s->vectors[s->expected.vector % VECTORS]++;
}

// A host may lose x87 pointers when its kernel lets somebody else run, under any engine: only what comes again
// is a difference.
static void case_run(Silicon *s, u64 number, unsigned row) {
    unsigned variant = (unsigned)(number / 7 % AT_CPL0);
    bool same = false;
    *s->running = (Running){ number, row };
    gen_case(&s->c, number, row);
    bool good = run_eval(s) && !(s->expected.vector == 14 && is_apart(s->expected.cr2));
    bool at_cpl0 = good && !s->c.privileged && !has_strayed(s);
    for (unsigned k = 0; k < ATTEMPTS && good && !same; k++) {
        same = run_engines(s, variant, at_cpl0);
        s->again += k > 0;
    }
    if (good) count_case(s);
    else s->skipped++;
    if (good && !same) {
        s->row[row].differ[s->engine]++;
        s->failures++;
        if (s->failures <= MAX_SHOWN) show_failure(s);
    }
    clean_up(s, variant);
}

static void on_signal(int number) {
    fprintf(stderr, "\nsignal %d in\n", number);
    show_code(&silicon()->c);
    show_state("start", &silicon()->c.start);
    show_command(silicon()->c.row, silicon()->c.number);
    signal(number, SIG_DFL);
    raise(number);
}

static void install_signals(void) {
    static const int list[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGALRM };
    struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER };
    for (unsigned i = 0; i < ARRAY_LEN(list); i++) sigaction(list[i], &sa, NULL);
}

// ---- the report -----------------------------------------------------------------------------------
static void report_totals(const Silicon *s, FILE *out, u64 first) {
    u64 total[ENGINES] = { 0 }, undefined = 0;
    for (unsigned r = 1; r < isa_row_count; r++) {
        for (unsigned e = 0; e < ENGINES; e++) total[e] += s->row[r].cases[e];
        undefined += s->row[r].undefined;
    }
    fprintf(out, "%llu cases from number %llu on: host %llu, eval %llu, jit %llu (twice each); %u differences, ",
            (unsigned long long)s->cases, (unsigned long long)first, (unsigned long long)total[0],
            (unsigned long long)total[1], (unsigned long long)total[2], s->failures);
    fprintf(out, "%llu only in undefined flags; %llu left out, %llu runs repeated\n",
            (unsigned long long)undefined, (unsigned long long)s->skipped, (unsigned long long)s->again);
    u64 lawful = 0;
    for (unsigned i = 1; i < LAW_COUNT; i++) lawful += s->laws[i];
    fprintf(out, "where the manual leaves a choice: %llu\n", (unsigned long long)lawful);
    fprintf(out, "exceptions:");
    for (unsigned v = 0; v < VECTORS; v++)
        if (s->vectors[v]) fprintf(out, " %u:%llu", v, (unsigned long long)s->vectors[v]);
    fprintf(out, "\n");
}

static unsigned row_met(const RowCount *n) { return (unsigned)__builtin_popcountll(n->met); }

// False: a row has run often enough to meet all its corners, and has not.
static bool report_corners(const Silicon *s, FILE *out) {
    unsigned met = 0, of = 0, missing = 0;
    for (unsigned r = 1; r < isa_row_count; r++) {
        const RowCount *n = &s->row[r];
        met += row_met(n);
        of += n->met_of;
        missing += n->cases[ENGINE_EVAL] >= ENOUGH && row_met(n) < n->met_of;
    }
    fprintf(out, "corners of operands: %u of %u met", met, of);
    if (missing) fprintf(out, "; %u rows miss some in %u cases or more", missing, ENOUGH);
    fprintf(out, "\n");
    return !missing;
}

static void report_rows(const Silicon *s, FILE *out) {
    fprintf(out, "| row | host | eval | jit | faults | memory | register | corners | differ | remark |\n");
    fprintf(out, "|---|---|---|---|---|---|---|---|---|---|\n");
    for (unsigned r = 1; r < isa_row_count; r++) {
        const RowCount *n = &s->row[r];
        const char *why = law_not_on_host(r);
        if (!why && isa_rows[r].attr & ISA_A_PRIV) why = "as a fault; at CPL 0 in tests/metal/priv, sys";
        if (!why && isa_rows[r].attr & ISA_A_IO) why = "as a fault; with ports in tests/metal/io";
        fprintf(out, "| %s | %u | %u | %u | %u | %u | %u | %u/%u | %u | %s |\n", isa_rows[r].id,
                n->cases[ENGINE_HOST], n->cases[ENGINE_EVAL], n->cases[ENGINE_JIT], n->faults, n->memory,
                n->registers, row_met(n), n->met_of, n->differ[ENGINE_HOST] + n->differ[ENGINE_JIT], why ? why : "");
    }
}

static void host_name(char *text, size_t bytes) {
    char line[256] = "";
    snprintf(text, bytes, "unknown");
    FILE *in = fopen("/proc/cpuinfo", "r");
    while (in && fgets(line, sizeof line, in))
        if (!strncmp(line, "model name", 10)) {
            char *from = strchr(line, ':');
            snprintf(text, bytes, "%.*s", (int)strcspn(from + 2, "\n"), from + 2);
            break;
        }
    if (in) fclose(in);
}

static bool write_report(const Silicon *s, const char *path, u64 first) {
    char name[128];
    FILE *out = fopen(path, "w");
    if (!out) { perror(path); return false; }
    host_name(name, sizeof name);
    fprintf(out, "# The silicon proof\n\nWritten by `make silicon N=%llu SEED=%llu REPORT=%s` on %s;\n"
            "tests/silicon/silicon.c says what is compared.\n\n", (unsigned long long)(s->cases + s->skipped),
            (unsigned long long)first, path, name);
    report_totals(s, out, first);
    report_corners(s, out);
    fprintf(out, "\n| where the manual leaves a choice | differences |\n|---|---|\n");
    for (unsigned i = 1; i < LAW_COUNT; i++)
        fprintf(out, "| %s | %llu |\n", law_texts[i], (unsigned long long)s->laws[i]);
    fprintf(out, "\n");
    report_rows(s, out);
    fclose(out);
    return true;
}

// ---- main -----------------------------------------------------------------------------------------
static unsigned chosen_row(void) {
    const char *id = getenv("ROW");
    if (!id || !*id) return 0;
    for (unsigned r = 1; r < isa_row_count; r++) if (!strcmp(isa_rows[r].id, id)) return r;
    fprintf(stderr, "silicon: ROW=%s: i386.def has no such row\n", id);
    exit(1);
}

static void open_all(Silicon *s) {
    install_signals();
    gen_open();
    s->maker = s->c.maker = machine_open(&(JitOptions){ .cache_mib = 4 }, 3);
    for (unsigned i = 0; i < VARIANTS; i++) s->jit[i] = machine_open(&variants[i].options, variants[i].cpl);
    if (hostcpu_open()) s->host = hostcpu_map_area();
    if (!s->host) printf("no 32-bit code on this host: eval and jit only\n");
    if (s->host) memset(s->host, 0xcc, CODE_BYTES);
    u8 blank[CODE_BYTES];
    memset(blank, 0xcc, sizeof blank);
    machine_put_code(s->maker, 0, blank, sizeof blank);
    for (unsigned i = 0; i < VARIANTS; i++) machine_put_code(s->jit[i], 0, blank, sizeof blank);
}

static int run_all(Silicon *s) {
    u64 first = fuzz_first(), count = fuzz_count(100000);
    unsigned row = chosen_row();
    const char *report = getenv("REPORT");
    open_all(s);
    for (u64 n = first; n < first + count; n++) {
        if (n % 1024 == 0) alarm(120);             // a case that does not end is found
        case_run(s, n, row ? row : 1 + (unsigned)(n % (isa_row_count - 1)));
    }
    alarm(0);
    report_totals(s, stdout, first);
    bool complete = report_corners(s, stdout);
    if (report && *report && !write_report(s, report, first)) return 1;
    return s->failures || !complete;
}

// The cases run in a child: whatever kills it, its parent names the case.
int main(void) {
    Silicon *s = silicon();
    int status = 0;
    s->running = mmap(NULL, sizeof *s->running, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0) exit(run_all(s));
    waitpid(child, &status, 0);
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    fprintf(stderr, "\nsignal %d\n", WTERMSIG(status));
    show_command(s->running->row, s->running->number);
    return 1;
}
