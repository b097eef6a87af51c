// SPDX-License-Identifier: MIT
// Command lines. Words are separated by zero bytes; a byte of 1 to the number of options stands for that
// option's name. What is wrong is said in one line.
#define _GNU_SOURCE
#include "fuzz.h"

#include "cli/options.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 64 };

#define H(title)
#define O(name, shape, argument, help, handler) name,
#define L(name, shape, why) name,
#define N(name, shape, why) name,
static const char *const names[] = {
#include "cli/options.def"
};
#undef H
#undef O
#undef L
#undef N

static const char *const values[] = {
    "file=hd.img,if=ide,index=1,media=cdrom", "if=floppy,file=a,,b,format=raw", "if=none,id=x,file=y",
    "ide-cd,drive=x", "isa-debug-exit,iobase=0xf4,iosize=4", "isa-debugcon,iobase=0x402,chardev=c",
    "stdio,id=c,mux=on", "shift=3", "auto", "order=cda,menu=on,once=d", "mon:stdio", "unix:/s,server,nowait",
    "tcp::1,server", "help", "?", "base=2001-02-03T04:05:06", "pc,accel=tcg",
    "pentium3,-apic,+sse2", "128M", "4G", "1..", "0x1000+0x10,5..6,7-2", "in_asm,op,int", "ps2", "1e999",
};

static void options_run(FuzzIn *in) {
    char *words[WORDS_MAX] = { 0 };
    int count = 0;
    FILE *nowhere = fopen("/dev/null", "w");
    while (fuzz_more(in) && count < WORDS_MAX) {
        u8 first = fuzz_u8(in);
        if (first && first <= ARRAY_LEN(names)) {
            words[count++] = mem_printf("-%s", names[first - 1]);
        } else if (first > 255 - ARRAY_LEN(values)) {
            words[count++] = mem_strdup(values[255 - first]);
        } else {
            const void *end = memchr(in->at, 0, fuzz_left(in));
            size_t n = end ? (size_t)((const u8 *)end - in->at) : fuzz_left(in);
            words[count++] = mem_printf("%.*s", (int)n, (const char *)in->at);
            in->at += n + (end != NULL);
        }
        fuzz_say("'%s'", words[count - 1]);
    }
    Options o;
    options_init(&o, nowhere, nowhere);
    OptionsResult result = options_parse(&o, count, words);
    fuzz_say("%s", result == OPTIONS_BAD ? o.error : result == OPTIONS_DONE ? "done" : "run");
    if (result == OPTIONS_BAD) require(o.error && *o.error);
    options_free(&o);
    fclose(nowhere);
    for (int i = 0; i < count; i++) free(words[i]);
}

const FuzzTarget fuzz_target = { "options", 512, options_run, NULL };
