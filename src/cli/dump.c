// SPDX-License-Identifier: MIT
// glassbox dump: every stage of the translation of some bytes, of IR in a file, or of what a guest
// runs at an address.
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/run.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DUMP_MAX_BYTES = 4096 };

typedef struct Dump {
    const char *bytes, *ir, *at;           // one of them
    u32 eip, mode;
    int rest;                              // index of the first machine option
    char *err;
} Dump;

static const char dump_help[] =
    "usage: glassbox dump --bytes '01 d8' [--mode 32|16|real|0xWORD] [--eip ADDR]\n"
    "       glassbox dump --ir FILE\n"
    "       glassbox dump --at ADDR [--] [machine options]\n"
    "\n"
    "Prints guest disassembly, IR, optimised IR, host code and restore map of one block.\n"
    "--bytes   hexadecimal; the block ends where they end (NOPs follow). '@0x7c20' between them: what follows\n"
    "          lies at this address\n"
    "--mode    32: flat 32-bit ring 0 with SSE (default); 16: 16-bit protected mode with limits;\n"
    "          real: real mode; 0x...: a mode word, as messages show it\n"
    "--ir      IR as 'dump' prints it; - reads standard input\n"
    "--at      runs a machine (the lab, or what the options say) until the guest first reaches\n"
    "          this offset in its code segment, and shows the block that starts there\n"
    "          (no display; -timeout 60 unless the options say otherwise)\n";

static u32 dump_mode_all(u32 mode, u32 seg_class) {
    for (unsigned s = 0; s < 6; s++) mode |= seg_class << MODE_SEG_SHIFT(s);
    return mode;
}

static bool dump_parse_mode(Dump *d, const char *text) {
    u64 word;
    if (!strcmp(text, "32"))
        d->mode = dump_mode_all(MODE_PE | MODE_IO_OK | MODE_CODE32 | MODE_STACK32 | MODE_SSE, SEG_FLAT);
    else if (!strcmp(text, "16")) d->mode = dump_mode_all(MODE_PE | MODE_IO_OK, SEG_CHECKED);
    else if (!strcmp(text, "real")) d->mode = dump_mode_all(MODE_IO_OK, SEG_REAL);
    else if (!strncmp(text, "0x", 2) && option_number(text, 0, 0x03ffffff, &word, &d->err))
        d->mode = (u32)word;
    else {
        free(d->err);
        d->err = mem_printf("--mode: '%s' is none of 32, 16, real, 0xWORD", text);
        return false;
    }
    return true;
}

static bool dump_parse_number(Dump *d, const char *option, const char *text, u32 *value) {
    u64 wide;
    char *why = NULL;
    if (option_number(text, 0, 0xffffffff, &wide, &why)) {
        *value = (u32)wide;
        return true;
    }
    d->err = mem_printf("%s: %s", option, why);
    free(why);
    return false;
}

// The word after option i, or false and a message.
static const char *dump_value(Dump *d, int count, char *const *words, int *i) {
    if (*i + 1 < count) return words[++*i];
    d->err = mem_printf("%s: a value is missing", words[*i]);
    return NULL;
}

static bool dump_option(Dump *d, int count, char *const *words, int *i) {
    const char *name = words[*i] + strspn(words[*i], "-"), *value = dump_value(d, count, words, i);
    if (!value) return false;
    if (!strcmp(name, "bytes")) d->bytes = value;
    else if (!strcmp(name, "ir")) d->ir = value;
    else if (!strcmp(name, "at")) d->at = value;
    else if (!strcmp(name, "mode")) return dump_parse_mode(d, value);
    else if (!strcmp(name, "eip")) return dump_parse_number(d, "--eip", value, &d->eip);
    return true;
}

static bool dump_is_own(const char *word) {
    static const char *const own[] = { "bytes", "ir", "at", "mode", "eip" };
    const char *name = word + strspn(word, "-");
    for (unsigned i = 0; i < ARRAY_LEN(own); i++)
        if (*word == '-' && !strcmp(name, own[i])) return true;
    return false;
}

// Own options first; from the first other word on they are the machine's.
static bool dump_parse(Dump *d, int count, char *const *words) {
    int i = 0;
    dump_parse_mode(d, "32");
    for (; i < count && dump_is_own(words[i]); i++)
        if (!dump_option(d, count, words, &i)) return false;
    bool other = i < count && !d->at;
    if (i < count && !strcmp(words[i], "--")) i++;
    d->rest = i;
    unsigned what = (d->bytes != NULL) + (d->ir != NULL) + (d->at != NULL);
    if (other) d->err = mem_printf("unknown option '%s' (dump --help)", words[i]);
    else if (what != 1) d->err = mem_strdup("one of --bytes, --ir, --at is wanted (dump --help)");
    return !d->err;
}

// ---- bytes --------------------------------------------------------------------------------------

static int dump_digit(char c) {
    if (isdigit((unsigned char)c)) return c - '0';
    return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

// Bytes around eip: those in between that were not given are NOPs.
typedef struct DumpBytes {
    u8 byte[2 * DUMP_MAX_BYTES];           // [DUMP_MAX_BYTES] is at eip
    u32 first, end;
} DumpBytes;

static bool dump_put(DumpBytes *b, u32 at, u8 byte) {
    if (at >= sizeof b->byte) return false;
    b->byte[at] = byte;
    b->first = min_u32(b->first, at);
    b->end = max_u32(b->end, at + 1);
    return true;
}

// "01 d8", "01d8", "0x01,0xd8", "\x01\xd8", "e8 1b 00 00 00 @0x1020 c3". False: it is none of that.
static bool dump_hex(const char *text, u32 eip, DumpBytes *b) {
    u32 at = DUMP_MAX_BYTES;
    *b = (DumpBytes){ .first = at, .end = at };
    memset(b->byte, 0x90, sizeof b->byte);
    while (*text) {
        char *end;
        if (strchr(" \t\n,;\\", *text)) { text++; continue; }
        if (*text == 'x') { text++; continue; }
        if (*text == '@') {
            at = (u32)strtoul(text + 1, &end, 16) - eip + DUMP_MAX_BYTES;
            if (end == text + 1) return false;
            text = end;
            continue;
        }
        if (text[0] == '0' && text[1] == 'x') { text += 2; continue; }
        int high = dump_digit(text[0]), low = high < 0 ? -1 : dump_digit(text[1]);
        if (low < 0 || !dump_put(b, at++, (u8)(high << 4 | low))) return false;
        text += 2;
    }
    return b->end > DUMP_MAX_BYTES;
}

static bool dump_bytes(Dump *d) {
    DumpBytes b;
    const u8 *at_eip = b.byte + DUMP_MAX_BYTES;
    if (dump_hex(d->bytes, d->eip, &b) &&
        jit_dump_bytes(at_eip, DUMP_MAX_BYTES - b.first, b.end - DUMP_MAX_BYTES, d->eip, d->mode, stdout)) return true;
    d->err = mem_printf("--bytes: '%s' is not a list of hexadecimal bytes", d->bytes);
    return false;
}

// ---- IR -----------------------------------------------------------------------------------------

static char *dump_read(FILE *f) {
    size_t bytes = 0, room = 4096;
    char *text = mem_new(room);
    for (size_t n; (n = fread(text + bytes, 1, room - bytes - 1, f)) > 0;) {
        bytes += n;
        if (room - bytes < 2) text = mem_resize(text, room *= 2);
    }
    text[bytes] = 0;
    return text;
}

static bool dump_ir(Dump *d) {
    bool is_stdin = !strcmp(d->ir, "-");
    FILE *f = is_stdin ? stdin : fopen(d->ir, "re");
    if (!f) {
        d->err = mem_printf("--ir: cannot open '%s': %s", d->ir, strerror(errno));
        return false;
    }
    char *text = dump_read(f), *why = NULL;
    if (!is_stdin) fclose(f);
    bool ok = jit_dump_ir(text, stdout, &why);
    if (!ok) d->err = mem_printf("--ir: %s: %s", d->ir, why);
    free(why);
    free(text);
    return ok;
}

// ---- a running guest ----------------------------------------------------------------------------

typedef struct DumpAt { Machine *m; u32 addr; bool found; } DumpAt;

static void dump_on_block(void *self, const JitBlockInfo *info) {
    DumpAt *at = self;
    if (at->found || at->addr - info->eip >= info->bytes) return;
    at->found = jit_dump_at(at->m->jit, at->addr, stdout);
    if (at->found) bus_request_exit(at->m->bus, 0);
}

static void dump_prepare(void *self, Machine *m) {
    DumpAt *at = self;
    at->m = m;
    jit_on_block(m->jit, dump_on_block, at);
}

static int dump_run(Dump *d, Options *o, u32 addr) {
    DumpAt at = { .addr = addr };
    if (o->display == DISPLAY_DEFAULT) o->display = DISPLAY_NONE;
    if (!o->timeout_s) o->timeout_s = 60;
    int status = run_options_with(o, dump_prepare, &at);
    if (at.found || status) return status;
    d->err = mem_printf("--at %s: the guest ended before it came there", d->at);
    return 1;
}

static int dump_at(Dump *d, int count, char *const *words) {
    Options o;
    u32 addr;
    int status = 0;
    if (!dump_parse_number(d, "--at", d->at, &addr)) return 1;
    options_init(&o, stdout, stderr);
    switch (options_parse(&o, count - d->rest, words + d->rest)) {
    case OPTIONS_RUN: status = dump_run(d, &o, addr); break;
    case OPTIONS_DONE: break;
    case OPTIONS_BAD: d->err = mem_strdup(o.error); status = 1; break;
    }
    options_free(&o);
    return status;
}

int command_dump(int count, char *const *words) {
    Dump d = { 0 };
    int status = 1;
    if (count == 1 && (!strcmp(words[0], "--help") || !strcmp(words[0], "-help") ||
                       !strcmp(words[0], "-h"))) {
        fputs(dump_help, stdout);
        return 0;
    }
    if (dump_parse(&d, count, words))
        status = d.at ? dump_at(&d, count, words) : (d.bytes ? dump_bytes(&d) : dump_ir(&d)) ? 0 : 1;
    if (d.err) fprintf(stderr, "glassbox: dump: %s\n", d.err);
    free(d.err);
    return status;
}
