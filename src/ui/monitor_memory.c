// SPDX-License-Identifier: MIT
// Expressions, and commands that look at memory and ports.
//
// Precedence as in QEMU's monitor, from loosest to tightest: + -, then & | ^, then * / %, then
// unary + - ~ and parentheses. Values have 64 bits; registers are written $eax.
#include "isa/isa.h"
#include "ui/monitor_int.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// ---- expressions --------------------------------------------------------------------------------

typedef struct Expr {
    Monitor *mon;
    const char *at;
    const char *wrong;         // what is the matter; NULL: all is well
    char name[16];
    unsigned depth;            // of parentheses and signs
} Expr;

enum { EXPR_DEPTH = 100 };

static u64 expr_sum(Expr *e);

static void expr_space(Expr *e) { e->at += strspn(e->at, " \t"); }

static bool expr_numbered(const char *name, const char *prefix, unsigned count, unsigned *n) {
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) || !isdigit((unsigned char)name[length]) || name[length + 1])
        return false;
    *n = (unsigned)(name[length] - '0');
    return *n < count;
}

static bool expr_general(const Cpu *cpu, const char *name, u64 *value) {
    static const char *const names[8] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" };
    for (unsigned i = 0; i < 8; i++) {
        bool wide = !strcmp(name, names[i]), narrow = !strcmp(name, names[i] + 1);
        if (!wide && !narrow) continue;
        *value = wide ? cpu->regs[i] : cpu->regs[i] & 0xffff;
        return true;
    }
    return false;
}

static bool expr_segment(const Cpu *cpu, const char *name, u64 *value) {
    static const char *const names[6] = { "es", "cs", "ss", "ds", "fs", "gs" };
    for (unsigned i = 0; i < 6; i++) {
        if (strncmp(name, names[i], 2)) continue;
        if (!name[2]) *value = cpu->seg[i].selector;
        else if (!strcmp(name + 2, ".base")) *value = cpu->seg[i].base;
        else if (!strcmp(name + 2, ".limit")) *value = cpu->seg[i].limit;
        else continue;
        return true;
    }
    return false;
}

static bool expr_register(Monitor *mon, const char *name, u64 *value) {
    Cpu *cpu = mon->m->cpu;
    const u32 cr[5] = { cpu->cr0, 0, cpu->cr2, cpu->cr3, cpu->cr4 };
    unsigned n;
    if (expr_general(cpu, name, value) || expr_segment(cpu, name, value)) return true;
    if (expr_numbered(name, "cr", 5, &n)) *value = cr[n];
    else if (expr_numbered(name, "dr", 8, &n)) *value = cpu->dr[n];
    else if (!strcmp(name, "eip")) *value = cpu->eip;
    else if (!strcmp(name, "pc")) *value = cpu->seg[CPU_CS].base + cpu->eip;
    else if (!strcmp(name, "eflags") || !strcmp(name, "efl")) *value = cpu_flags(cpu);
    else if (!strcmp(name, "gdtr.base")) *value = cpu->gdtr.base;
    else if (!strcmp(name, "idtr.base")) *value = cpu->idtr.base;
    else return false;
    return true;
}

static u64 expr_name(Expr *e) {
    size_t n = 0;
    u64 value = 0;
    for (e->at++; isalnum((unsigned char)*e->at) || *e->at == '.' || *e->at == '_'; e->at++)
        if (n + 1 < sizeof e->name) e->name[n++] = *e->at;
    e->name[n] = 0;
    if (!expr_register(e->mon, e->name, &value)) e->wrong = "unknown register";
    return value;
}

static u64 expr_number(Expr *e) {
    char *end;
    errno = 0;
    u64 value = strtoull(e->at, &end, 0);
    if (end == e->at) e->wrong = "invalid char in expression";
    else if (errno) e->wrong = "number too large";
    e->at = end;
    return value;
}

static u64 expr_character(Expr *e) {
    u64 value = (u8)e->at[1];
    if (!e->at[1] || e->at[2] != '\'') e->wrong = "missing terminating ' character";
    else e->at += 3;
    return value;
}

static u64 expr_unary(Expr *e) {
    expr_space(e);
    if (e->wrong) return 0;
    if (++e->depth > EXPR_DEPTH) e->wrong = "expression too deep";
    u64 value = 0;
    switch (e->at[0]) {
    case '+': e->at++; value = expr_unary(e); break;
    case '-': e->at++; value = -expr_unary(e); break;
    case '~': e->at++; value = ~expr_unary(e); break;
    case '(':
        e->at++;
        value = expr_sum(e);
        expr_space(e);
        if (*e->at == ')') e->at++;
        else if (!e->wrong) e->wrong = "')' expected";
        break;
    case '\'': value = expr_character(e); break;
    case '$': value = expr_name(e); break;
    case 0: e->wrong = "unexpected end of expression"; break;
    default: value = expr_number(e); break;
    }
    e->depth--;
    expr_space(e);
    return value;
}

static u64 expr_product(Expr *e) {
    u64 value = expr_unary(e);
    while (!e->wrong && *e->at && strchr("*/%", *e->at)) {
        char op = *e->at++;
        u64 right = expr_unary(e);
        if (op != '*' && !right) e->wrong = e->wrong ? e->wrong : "division by zero";
        else value = op == '*' ? value * right : op == '/' ? value / right : value % right;
    }
    return value;
}

static u64 expr_logic(Expr *e) {
    u64 value = expr_product(e);
    while (!e->wrong && *e->at && strchr("&|^", *e->at)) {
        char op = *e->at++;
        u64 right = expr_product(e);
        value = op == '&' ? value & right : op == '|' ? value | right : value ^ right;
    }
    return value;
}

static u64 expr_sum(Expr *e) {
    u64 value = expr_logic(e);
    while (!e->wrong && (*e->at == '+' || *e->at == '-')) {
        char op = *e->at++;
        u64 right = expr_logic(e);
        value = op == '+' ? value + right : value - right;
    }
    return value;
}

bool monitor_expr(Monitor *mon, const char **args, u64 *value, FILE *out) {
    Expr e = { .mon = mon, .at = *args };
    *value = expr_sum(&e);
    *args = e.at;
    if (e.wrong) fprintf(out, "%s%s%s\n", e.wrong, *e.name ? ": $" : "", e.name);
    return !e.wrong;
}

// ---- formats ------------------------------------------------------------------------------------

typedef struct Format { u32 count; char letter; unsigned size; } Format;      // size 0: not given

enum { FORMAT_MOST = 1 << 20 };                // cells at once: the machine stands still meanwhile

// Takes "/20xb" off *args. False: out has the message.
static bool format_take(const char **args, Format *f, unsigned size, FILE *out) {
    *f = (Format){ 1, 'x', 0 };
    const char *at = *args + strspn(*args, " \t");
    if (*at == '/') {
        at++;
        unsigned long count = isdigit((unsigned char)*at) ? strtoul(at, (char **)&at, 10) : 1;
        if (count > FORMAT_MOST) {
            fprintf(out, "at most %d\n", FORMAT_MOST);
            return false;
        }
        f->count = (u32)count;
        for (; *at && !isspace((unsigned char)*at); at++) {
            static const char sizes[] = "bhwg";
            const char *found = strchr(sizes, *at);
            if (strchr("xduoci", *at)) f->letter = *at;
            else if (found) f->size = 1u << (found - sizes);
            else {
                fprintf(out, "invalid char in format: '%c'\n", *at);
                return false;
            }
        }
    }
    *args = at;
    if (!f->size && f->letter != 'i') f->size = f->letter == 'c' ? 1 : size;
    return true;
}

static void format_character(u8 c, FILE *out) {
    static const char plain[] = "'\\\n\r", letters[] = "'\\nr";
    const char *at = c ? strchr(plain, c) : NULL;
    if (at) fprintf(out, "'\\%c'", letters[at - plain]);
    else if (c >= 32 && c < 127) fprintf(out, "'%c'", c);
    else fprintf(out, "'\\x%02x'", c);
}

static i64 format_signed(u64 value, unsigned size) {
    unsigned shift = 64 - 8 * size;
    return (i64)(value << shift) >> shift;
}

static void format_cell(const Format *f, u64 value, FILE *out) {
    int bits = (int)f->size * 8;
    switch (f->letter) {
    case 'o': fprintf(out, "%#*" PRIo64, (bits + 2) / 3, value); break;
    case 'u': fprintf(out, "%*" PRIu64, (bits * 10 + 32) / 33, value); break;
    case 'd': fprintf(out, "%*" PRId64, (bits * 10 + 32) / 33, format_signed(value, f->size)); break;
    case 'c': format_character((u8)value, out); break;
    default: fprintf(out, "0x%0*" PRIx64, bits / 4, value); break;
    }
}

// ---- memory -------------------------------------------------------------------------------------

// Nobody answers above 1 MiB: an error. Below, the ISA bus reads as ones there (tools dump the screen's
// window before the adapter shows itself in it).
static bool memory_physical(Monitor *mon, u64 addr, u8 *to, u32 bytes) {
    Bus *bus = mon->m->bus;
    for (u32 i = 0; i < bytes; i++) {
        u64 ppn = (addr + i) >> PAGE_SHIFT;
        if (ppn >= BUS_PAGES) return false;
        if (ppn >= 0x100 && bus_page(bus, (u32)ppn)->kind == BUS_PAGE_NONE) return false;
        to[i] = (u8)bus_read(bus, phy(addr + i), 1);
    }
    return true;
}

static bool memory_read(Monitor *mon, bool physical, u64 addr, u8 *to, u32 bytes) {
    if (physical) return memory_physical(mon, addr, to, bytes);
    for (u32 i = 0; i < bytes; i++) {
        Phy at;
        if (!cpu_debug_translate(mon->m->cpu, lin((u32)(addr + i)), &at) ||
            !memory_physical(mon, at.v, to + i, 1)) return false;
    }
    return true;
}

static void memory_disassemble(Monitor *mon, bool physical, const Format *f, u64 addr, FILE *out) {
    bool code32 = f->size ? f->size != 2 : (mon->m->cpu->mode & MODE_CODE32) != 0;
    for (u32 n = 0; n < f->count; n++) {
        u8 bytes[ISA_MAX_BYTES];
        unsigned have = 0;
        while (have < sizeof bytes && memory_read(mon, physical, addr + have, bytes + have, 1)) have++;
        Insn in;
        char text[128];
        if (!have) {
            fprintf(out, "0x%08" PRIx64 ":  Cannot access memory\n", addr);
            return;
        }
        bool good = isa_decode(bytes, have, code32, &in) == ISA_OK;
        if (good) isa_format(&in, (u32)addr, ISA_ATT, text, sizeof text);
        else snprintf(text, sizeof text, "(bad)");
        fprintf(out, "0x%08" PRIx64 ":  %s\n", addr, text);
        addr += good ? in.length : 1;
    }
}

static void memory_dump(Monitor *mon, bool physical, const Format *f, u64 addr, FILE *out) {
    u64 left = (u64)f->count * f->size;
    u32 line = f->size == 1 ? 8 : 16;
    while (left) {
        u8 bytes[16];
        u32 n = (u32)min_u64(left, line);
        fprintf(out, physical ? "%016" PRIx64 ":" : "%08" PRIx64 ":", physical ? addr : addr & 0xffffffff);
        if (!memory_read(mon, physical, addr, bytes, n)) {
            fprintf(out, " Cannot access memory\n");
            return;
        }
        for (u32 i = 0; i < n; i += f->size) {
            u64 value = 0;
            memcpy(&value, bytes + i, f->size);
            fputc(' ', out);
            format_cell(f, value, out);
        }
        fputc('\n', out);
        addr += n;
        left -= n;
    }
}

static void memory_command(Monitor *mon, bool physical, const char *args, FILE *out) {
    Format f;
    u64 addr;
    if (!format_take(&args, &f, 4, out) || !monitor_expr(mon, &args, &addr, out)) return;
    if (f.letter == 'i') memory_disassemble(mon, physical, &f, addr, out);
    else memory_dump(mon, physical, &f, addr, out);
}

void monitor_do_x(Monitor *mon, const char *args, FILE *out) { memory_command(mon, false, args, out); }
void monitor_do_xp(Monitor *mon, const char *args, FILE *out) { memory_command(mon, true, args, out); }

void monitor_do_print(Monitor *mon, const char *args, FILE *out) {
    Format f;
    u64 value;
    if (!format_take(&args, &f, 8, out) || !monitor_expr(mon, &args, &value, out)) return;
    switch (f.letter) {
    case 'o': fprintf(out, "%#" PRIo64 "\n", value); break;
    case 'u': fprintf(out, "%" PRIu64 "\n", value); break;
    case 'd': fprintf(out, "%" PRId64 "\n", (i64)value); break;
    case 'c': format_character((u8)value, out); fputc('\n', out); break;
    default: fprintf(out, "%#" PRIx64 "\n", value); break;
    }
}

// ---- ports --------------------------------------------------------------------------------------

void monitor_do_in(Monitor *mon, const char *args, FILE *out) {
    Format f;
    u64 port;
    if (!format_take(&args, &f, 1, out) || !monitor_expr(mon, &args, &port, out)) return;
    unsigned size = f.size > 4 ? 4 : f.size ? f.size : 1;
    fprintf(out, "port%c[0x%04x] = 0x%0*x\n", "bw l"[size - 1], (unsigned)port & 0xffff, (int)size * 2,
            bus_in(mon->m->bus, (u16)port, size));
}

void monitor_do_out(Monitor *mon, const char *args, FILE *out) {
    Format f;
    u64 port, value;
    if (!format_take(&args, &f, 1, out) || !monitor_expr(mon, &args, &port, out) ||
        !monitor_expr(mon, &args, &value, out)) return;
    unsigned size = f.size > 4 ? 4 : f.size ? f.size : 1;
    bus_out(mon->m->bus, (u16)port, size, trunc_size((u32)value, size));
}

// ---- the rest -----------------------------------------------------------------------------------

void monitor_do_sum(Monitor *mon, const char *args, FILE *out) {
    u64 addr, size;
    u16 sum = 0;
    if (!monitor_expr(mon, &args, &addr, out) || !monitor_expr(mon, &args, &size, out)) return;
    for (u64 i = 0; i < size; i++) {
        u8 byte;
        if (!memory_physical(mon, addr + i, &byte, 1)) {
            fprintf(out, "Cannot access memory\n");
            return;
        }
        sum = (u16)((sum >> 1 | sum << 15) + byte);
    }
    fprintf(out, "%05d\n", sum);
}

void monitor_do_gva2gpa(Monitor *mon, const char *args, FILE *out) {
    u64 addr;
    Phy at;
    if (!monitor_expr(mon, &args, &addr, out)) return;
    if (cpu_debug_translate(mon->m->cpu, lin((u32)addr), &at)) fprintf(out, "gpa: %#" PRIx64 "\n", at.v);
    else fprintf(out, "Unmapped\n");
}

// An expression without spaces, so that the '/' of a path behind it is no division.
static bool memory_word(Monitor *mon, const char **args, u64 *value, FILE *out) {
    char word[MONITOR_LINE_BYTES] = "";
    const char *at = word;
    monitor_word(args, word, sizeof word);
    return monitor_expr(mon, &at, value, out);
}

static void memory_save(Monitor *mon, bool physical, const char *args, FILE *out) {
    u64 addr, size;
    char path[MONITOR_LINE_BYTES];
    if (!memory_word(mon, &args, &addr, out) || !memory_word(mon, &args, &size, out)) return;
    if (!monitor_word(&args, path, sizeof path)) {
        fprintf(out, "a file expected\n");
        return;
    }
    if (size > 1ull << 32) {
        fprintf(out, "Error: at most 4 GiB\n");
        return;
    }
    FILE *f = fopen(path, "wbe");
    bool ok = f != NULL, readable = true;
    for (u64 done = 0; ok && readable && done < size;) {
        u8 piece[1024];
        u32 n = (u32)min_u64(size - done, sizeof piece);
        readable = memory_read(mon, physical, addr + done, piece, n);
        ok = !readable || fwrite(piece, 1, n, f) == n;
        done += n;
    }
    if (f && fclose(f)) ok = false;
    if (!readable) fprintf(out, "Error: Cannot access memory\n");
    else if (!ok) fprintf(out, "Error: cannot write '%s': %s\n", path, strerror(errno));
}

void monitor_do_memsave(Monitor *mon, const char *args, FILE *out) { memory_save(mon, false, args, out); }
void monitor_do_pmemsave(Monitor *mon, const char *args, FILE *out) { memory_save(mon, true, args, out); }
