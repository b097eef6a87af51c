// SPDX-License-Identifier: MIT
// The translator alone: every block of a file's 32-bit code, one behind the other, is translated and thrown away.
//
//     translator FILE [BYTES [ROUNDS [MODE]]]
//
// FILE is an i386 ELF program (its code segment is taken) or plain code; at most BYTES of it, ROUNDS times, for a mode
// word (as `glassbox dump --mode` has it). Prints a checksum over everything a translation gives: as long as it is the
// same, a change to the translator has changed no block. bench/translator.sh shows where its instructions go.
#include "cpu/mmu.h"
#include "jit/jit_int.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLACK_BYTES = 2 * PAGE_BYTES };

typedef struct Text { const u8 *bytes; u32 count, eip; } Text;
typedef struct Sum { u64 hash, blocks, insns, ops, guest_bytes, hot_bytes, cold_bytes; } Sum;

// ---- the code ------------------------------------------------------------------------------------------------
static u8 *text_read(const char *path, u32 *count) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END)) {
        fprintf(stderr, "translator: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    *count = (u32)ftell(f);
    u8 *bytes = mem_new(*count + SLACK_BYTES);
    rewind(f);
    *count = (u32)fread(bytes, 1, *count, f);
    fclose(f);
    return bytes;
}

static Text text_of(const u8 *file, u32 count) {
    const Elf32_Ehdr *head = (const Elf32_Ehdr *)file;
    if (count < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG)) return (Text){ file, count, 0 };
    const Elf32_Phdr *part = (const Elf32_Phdr *)(file + head->e_phoff);
    for (unsigned i = 0; i < head->e_phnum; i++)
        if (part[i].p_type == PT_LOAD && part[i].p_flags & PF_X && part[i].p_offset + part[i].p_filesz <= count)
            return (Text){ file + part[i].p_offset, part[i].p_filesz, part[i].p_vaddr };
    return (Text){ file, 0, 0 };
}

// ---- one block -----------------------------------------------------------------------------------------------
// What is measured: its name is asked for by translator.sh.
__attribute__((noinline)) void translator_one(Jit *jit, const Source *src, Lifted *l, X64Code *code) {
    arena_reset(jit->arena);
    translate_lift(jit->arena, src, JIT_MAX_INSNS, l);
    translate_optimize(l->ir, true);
    X64Entry entry = { .checked = true, .flat = MODE_SEG_CLASS(src->mode, CPU_CS) == SEG_FLAT,
                       .eip = src->eip, .expects = mmu_code_entry(0, 0),
                       .flags.op = X64_FLAGS_IN_STATE, .form = jit_form(src->mode), .second = l->second,
                       .second_eip = src->eip + src->count, .second_expects = mmu_code_entry(0, 0) };
    if (!x64_emit(l->ir, &jit->target, &entry, jit->hot_next, jit->hot_end, jit->cold_next, jit->cold_end, code))
        panic("block at %08x does not fit", src->eip);
}

static void sum_add(Sum *s, const void *bytes, size_t count) {
    for (const u8 *p = bytes; count--; p++) s->hash = (s->hash ^ *p) * 0x100000001b3u;
}

#define SUM_ADD(value) sum_add(s, &(value), sizeof (value))
static void sum_block(Sum *s, const Lifted *l, const X64Code *code) {
    sum_add(s, code->hot, code->hot_bytes);
    sum_add(s, code->cold, code->cold_bytes);
    for (const X64Restore *r = code->restores; r < code->restores + code->restore_count; r++) {
        u32 words[] = { r->host, r->op, r->insn, (u32)r->charged, r->flags.op, r->flags.a, r->flags.b, r->flags.c,
                        r->flags.op == X64_FLAGS_IN_STATE ? 0 : r->flags.imm };
        SUM_ADD(words);
    }
    for (const X64Edge *x = code->edges; x < code->edges + code->edge_count; x++) {
        u64 words[] = { x->target, (u64)(x->jump - code->hot), (u64)(x->stub - code->cold),
                        x->bare ? 0 : (u64)(x->stub_jump - code->cold), x->saves_flags, x->bare };
        SUM_ADD(words);
    }
    u32 words[] = { code->fast, code->live, code->uses_xmm, l->ir->flags_in };
    SUM_ADD(words);
    sum_add(s, l->insn_offset, l->ir->insns * sizeof *l->insn_offset);
    sum_add(s, l->part, l->parts * sizeof *l->part);
    s->blocks++;
    s->insns += l->ir->insns;
    s->ops += l->ir->count;
    s->guest_bytes += l->bytes;
    s->hot_bytes += code->hot_bytes;
    s->cold_bytes += code->cold_bytes;
}
#undef SUM_ADD

// ---- all of them ---------------------------------------------------------------------------------------------
// The next block begins behind the first piece of this one.
static void text_translate(const Text *text, Jit *jit, u32 mode, Sum *s) {
    for (u32 at = 0; at < text->count;) {
        u32 eip = mode & MODE_PE ? text->eip + at : (text->eip + at) & 0xffff, before = eip & ~PAGE_MASK;
        Source src = { .eip = eip, .mode = mode, .features = ~0u, .limit = mode & MODE_PE ? ~0u : 0xffff,
                       .bytes = text->bytes + at, .before = min_u32(before, at), .count = PAGE_BYTES - before,
                       .second = text->bytes + at + PAGE_BYTES - before };
        Lifted l;
        X64Code code;
        translator_one(jit, &src, &l, &code);
        if (s) sum_block(s, &l, &code);
        at += l.second ? l.bytes : l.part[0].bytes;
    }
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static u32 mode_flat(void) {
    u32 mode = MODE_PE | MODE_IO_OK | MODE_CODE32 | MODE_STACK32 | MODE_SSE;
    for (unsigned seg = 0; seg < 6; seg++) mode |= SEG_FLAT << MODE_SEG_SHIFT(seg);
    return mode;
}

int main(int count, char **words) {
    if (count < 2) {
        fprintf(stderr, "usage: translator FILE [BYTES [ROUNDS [MODE]]]\n");
        return 1;
    }
    u32 file_bytes, rounds = count > 3 ? (u32)strtoul(words[3], NULL, 0) : 1;
    u8 *file = text_read(words[1], &file_bytes);
    Text text = text_of(file, file_bytes);
    if (count > 2) text.count = min_u32(text.count, (u32)strtoul(words[2], NULL, 0));
    u32 mode = count > 4 ? (u32)strtoul(words[4], NULL, 0) : mode_flat();
    Jit *jit = dump_rig(16);
    Sum s = { .hash = 0xcbf29ce484222325u };
    double best = 1e9;
    for (u32 i = 0; i < rounds; i++) {
        double from = seconds(), took;
        text_translate(&text, jit, mode, NULL);
        took = seconds() - from;
        if (took < best) best = took;
    }
    text_translate(&text, jit, mode, &s);
    printf("checksum %016llx: %llu blocks, %llu instructions, %.2f ops each, %.2f + %.2f host bytes per guest byte",
           (unsigned long long)s.hash, (unsigned long long)s.blocks, (unsigned long long)s.insns,
           (double)s.ops / (double)s.insns, (double)s.hot_bytes / (double)s.guest_bytes,
           (double)s.cold_bytes / (double)s.guest_bytes);
    if (rounds) printf(", %.1f ns each", best * 1e9 / (double)s.insns);
    printf("\n");
    jit_free(jit);
    free(file);
    return 0;
}
