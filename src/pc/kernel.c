// SPDX-License-Identifier: MIT
// Kernels without a boot disk: what goes where in guest memory, for the option ROM to put there.
//
// Sources: Linux' Documentation/arch/x86/boot.rst (protocol 2.02 to 2.15), the Multiboot Specification
// 0.6.96. Layout below 1 MiB (Linux):
//
//     bzImage  10000 setup  1e000 command line, stack below it      100000 kernel
//     zImage   90000 setup  99800 command line, stack below it       10000 kernel
//
// Multiboot: kernel where it wants to be, the information at MBI_PLACES' first free place, modules
// page-aligned behind the kernel, 1 MiB or higher. The last megabyte of RAM is the firmware's.
#include "pc/kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROM_FILE "genroms/kernel.rom"
#define ROM_BOOT_ORDER "/rom@" ROM_FILE
#define DATA_FILE "glassbox/kernel"
#define PIECES_MAX 96u                     // kernelrom.S
#define FIRMWARE_BYTES (1u << 20)          // at the end of RAM
#define ROM_STACK_FIRST 0x9e000u           // kernelrom.S' stack and, behind it, the firmware's
#define LOW_FIRST 0x600u                   // below: interrupt vectors, the firmware's variables
#define LOW_END 0x100000u

extern const u8 kernel_rom_start[] __attribute__((visibility("hidden")));
extern const u8 kernel_rom_end[] __attribute__((visibility("hidden")));
extern const u8 kernel_rom_pnp[] __attribute__((visibility("hidden")));
extern const u8 kernel_rom_plan[] __attribute__((visibility("hidden")));

typedef struct Bytes { u8 *data; u32 count; } Bytes;

typedef struct Piece { u32 to, bytes; } Piece;

typedef struct Plan {
    u32 ram_end;               // first address that a piece must not touch
    const KernelConfig *config;
    Bytes kernel;
    Bytes data;                // the pieces, one after another
    Piece piece[PIECES_MAX];
    u32 pieces;
    bool multiboot;
    u32 entry;                 // Linux: far pointer; multiboot: linear
    u16 segment, sp;
    char **err;
} Plan;

#define PLAN_FAIL(plan, ...) (*(plan)->err = mem_printf(__VA_ARGS__), false)

// ---- files and pieces ---------------------------------------------------------------------------

static bool file_read(Plan *p, const char *option, const char *path, Bytes *to) {
    FILE *f = fopen(path, "rbe");
    size_t room = 1 << 20, count = 0, n = 0;
    if (!f) return PLAN_FAIL(p, "%s: cannot open '%s': %s", option, path, strerror(errno));
    u8 *data = mem_new(room);
    errno = 0;
    while (count <= p->ram_end && (n = fread(data + count, 1, room - count, f)) > 0) {
        count += n;
        if (count == room) data = mem_resize(data, room *= 2);
    }
    int error = ferror(f) ? errno : 0;
    fclose(f);
    *to = (Bytes){ data, (u32)count };
    if (error) return PLAN_FAIL(p, "%s: cannot read '%s': %s", option, path, strerror(error));
    if (!count) return PLAN_FAIL(p, "%s: '%s' is empty", option, path);
    if (count > p->ram_end) return PLAN_FAIL(p, "%s: '%s' is larger than the guest's memory (-m)", option, path);
    return true;
}

static bool piece_overlaps(const Plan *p, u64 first, u64 bytes) {
    for (u32 i = 0; i < p->pieces; i++)
        if (first < (u64)p->piece[i].to + p->piece[i].bytes && p->piece[i].to < first + bytes) return true;
    return false;
}

// `bytes` of data and zeros after them, up to `all`.
static bool piece_add(Plan *p, u64 to, const void *data, u32 bytes, u32 all) {
    bool low_ok = to >= LOW_FIRST && (to + all <= ROM_STACK_FIRST || to >= LOW_END);
    if (!all) return true;
    if (!low_ok || to + all > p->ram_end)
        return PLAN_FAIL(p, "-kernel: '%s' needs memory at 0x%llx-0x%llx, which %s", p->config->path,
                         (unsigned long long)to, (unsigned long long)(to + all - 1),
                         low_ok ? "is not there (-m)" : "the firmware uses");
    if (p->pieces == PIECES_MAX) return PLAN_FAIL(p, "-kernel: too many segments and modules");
    p->data.data = mem_resize(p->data.data, (size_t)p->data.count + all);
    memcpy(p->data.data + p->data.count, data, bytes);
    memset(p->data.data + p->data.count + bytes, 0, all - bytes);
    p->data.count += all;
    p->piece[p->pieces++] = (Piece){ (u32)to, all };
    return true;
}

// ---- Linux --------------------------------------------------------------------------------------
enum {                         // the setup header's fields, as offsets in the image
    LINUX_SETUP_SECTORS = 0x1f1, LINUX_VIDEO_MODE = 0x1fa, LINUX_SIGNATURE = 0x202, LINUX_VERSION = 0x206,
    LINUX_LOADER = 0x210, LINUX_LOAD_FLAGS = 0x211, LINUX_INITRD = 0x218, LINUX_INITRD_BYTES = 0x21c,
    LINUX_HEAP_END = 0x224, LINUX_COMMAND_LINE = 0x228, LINUX_INITRD_MAX = 0x22c,
    LINUX_COMMAND_LINE_BYTES = 0x238, LINUX_PREFERRED = 0x258, LINUX_INIT_BYTES = 0x260,
    LINUX_HEADER_END = 0x268,
};
#define LINUX_FLAG_HIGH 0x01
#define LINUX_FLAG_HEAP 0x80
#define LINUX_LOADER_OTHER 0xff

static bool linux_is(const Bytes *k) {
    return k->count >= 0x400 && get_le16(k->data + 0x1fe) == 0xaa55 &&
           !memcmp(k->data + LINUX_SIGNATURE, "HdrS", 4);
}

// vga=MODE on the command line is the loader's business.
static void linux_set_video(u8 *setup, const char *line) {
    const char *at = strncmp(line, "vga=", 4) ? strstr(line, " vga=") : line;
    if (!at) return;
    at += *at == ' ' ? 5 : 4;
    u32 mode = (u32)strtoul(at, NULL, 0);
    if (!strncmp(at, "normal", 6)) mode = 0xffff;
    else if (!strncmp(at, "ext", 3)) mode = 0xfffe;
    else if (!strncmp(at, "ask", 3)) mode = 0xfffd;
    put_le16(setup + LINUX_VIDEO_MODE, (u16)mode);
}

// Where the kernel's memory ends: it moves to its preferred address and unpacks itself there.
static u64 linux_end(const u8 *setup, u32 version, u32 to, u32 bytes) {
    u64 end = (u64)to + bytes;
    if (version < 0x20a) return end;
    u64 start = get_le64(setup + LINUX_PREFERRED), needs = get_le32(setup + LINUX_INIT_BYTES);
    if (start < to) start = to;
    return start + needs > end ? start + needs : end;
}

static bool linux_add_initrd(Plan *p, u8 *setup, u32 version, u64 kernel_end) {
    Bytes file = { 0 };
    if (!p->config->initrd) return true;
    u64 highest = version >= 0x203 ? get_le32(setup + LINUX_INITRD_MAX) : 0x37ffffff;
    u64 end = min_u64(highest + 1, p->ram_end);
    bool ok = file_read(p, "-initrd", p->config->initrd, &file);
    if (ok && (file.count > end || ((end - file.count) & PAGE_MASK) < kernel_end))
        ok = PLAN_FAIL(p, "-initrd: '%s' does not fit into memory beside the kernel (-m)", p->config->initrd);
    u32 to = ok ? (u32)(end - file.count) & PAGE_MASK : 0;
    if (ok) {
        put_le32(setup + LINUX_INITRD, to);
        put_le32(setup + LINUX_INITRD_BYTES, file.count);
        ok = piece_add(p, to, file.data, file.count, file.count);
    }
    free(file.data);
    return ok;
}

static bool linux_add_line(Plan *p, u8 *setup, u32 version, u32 to) {
    const char *line = p->config->append ? p->config->append : "";
    u32 most = version >= 0x206 ? get_le32(setup + LINUX_COMMAND_LINE_BYTES) : 255;
    u32 bytes = (u32)strlen(line);
    most = min_u32(most, 4096);
    if (bytes > most)
        return PLAN_FAIL(p, "-append: %u characters; this kernel takes %u", bytes, most);
    put_le32(setup + LINUX_COMMAND_LINE, to);
    linux_set_video(setup, line);
    return piece_add(p, to, line, bytes + 1, bytes + 1);
}

static bool linux_add(Plan *p) {
    u8 *setup = p->kernel.data;
    u32 version = get_le16(setup + LINUX_VERSION), sectors = setup[LINUX_SETUP_SECTORS];
    u32 setup_bytes = ((sectors ? sectors : 4) + 1) * 512;
    bool high = setup[LINUX_LOAD_FLAGS] & LINUX_FLAG_HIGH;
    const char *path = p->config->path;
    if (version < 0x202)
        return PLAN_FAIL(p, "-kernel: '%s' has boot protocol %u.%02u; 2.02 or later is needed (Linux 2.4)", path,
                         version >> 8, version & 0xff);
    if (setup_bytes >= p->kernel.count || setup_bytes < LINUX_HEADER_END || setup_bytes > 0x8200)
        return PLAN_FAIL(p, "-kernel: '%s' is cut short: its setup alone has %u bytes", path, setup_bytes);
    u32 base = high ? 0x10000 : 0x90000, stack = high ? 0xe000 : 0x9800, to = high ? LOW_END : 0x10000;
    u32 bytes = p->kernel.count - setup_bytes;
    setup[LINUX_LOADER] = LINUX_LOADER_OTHER;
    setup[LINUX_LOAD_FLAGS] |= LINUX_FLAG_HEAP;
    put_le16(setup + LINUX_HEAP_END, (u16)(stack - 0x200));
    u64 end = linux_end(setup, version, to, bytes);
    if (end > p->ram_end)
        return PLAN_FAIL(p, "-kernel: '%s' needs memory up to %llu MiB and the firmware 1 MiB more (-m)", path,
                         (unsigned long long)(end >> 20) + 1);
    p->entry = ((base >> 4) + 0x20) << 16;
    p->segment = (u16)(base >> 4);
    p->sp = (u16)stack;
    return linux_add_line(p, setup, version, base + stack) && linux_add_initrd(p, setup, version, end) &&
           piece_add(p, base, setup, setup_bytes, setup_bytes) &&
           piece_add(p, to, setup + setup_bytes, bytes, bytes);
}

// ---- multiboot: the kernel ----------------------------------------------------------------------
#define MB_MAGIC 0x1badb002u
#define MB_SEARCH_BYTES 8192u
enum { MB_ALIGN = 1, MB_MEMORY = 2, MB_VIDEO = 4, MB_ADDRESSES = 0x10000 };
#define MB_KNOWN (MB_ALIGN | MB_MEMORY | MB_VIDEO)      // of the lower 16, which must be understood

// The header's offset; -1: there is none.
static i64 mb_find(const Bytes *k) {
    for (u32 at = 0; at + 12 <= k->count && at + 12 <= MB_SEARCH_BYTES; at += 4) {
        const u8 *h = k->data + at;
        if (get_le32(h) == MB_MAGIC && !(get_le32(h) + get_le32(h + 4) + get_le32(h + 8))) return at;
    }
    return -1;
}

// The header says where: header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr at 12.
static bool mb_add_flat(Plan *p, u32 header) {
    const u8 *h = p->kernel.data + header;
    const char *path = p->config->path;
    if (header + 32 > p->kernel.count) return PLAN_FAIL(p, "-kernel: '%s' is cut short", path);
    u32 load = get_le32(h + 16), load_end = get_le32(h + 20), bss_end = get_le32(h + 24);
    u64 first = (u64)header + load - get_le32(h + 12);               // of the image in the file
    if (load > get_le32(h + 12) || first >= p->kernel.count)
        return PLAN_FAIL(p, "-kernel: '%s': bad load address 0x%x in the multiboot header", path, load);
    u32 bytes = p->kernel.count - (u32)first;
    if (load_end && (load_end < load || load_end - load > bytes))
        return PLAN_FAIL(p, "-kernel: '%s': bad end address 0x%x in the multiboot header", path, load_end);
    if (load_end) bytes = load_end - load;
    u32 all = bss_end > load && bss_end - load > bytes ? bss_end - load : bytes;
    p->entry = get_le32(h + 28);
    return piece_add(p, load, p->kernel.data + first, bytes, all);
}

enum { ELF_PT_LOAD = 1, ELF_EXECUTABLE = 2, ELF_MACHINE_386 = 3 };

// The program header n, 32 bytes: type, offset, vaddr, paddr, filesz, memsz. NULL: outside the file.
static const u8 *elf_program_header(const Bytes *k, u32 n) {
    u64 at = (u64)get_le32(k->data + 28) + (u64)n * get_le16(k->data + 42);
    return at + 32 <= k->count ? k->data + at : NULL;
}

static bool mb_add_elf_segment(Plan *p, const u8 *ph) {
    u32 offset = get_le32(ph + 4), virtual = get_le32(ph + 8), to = get_le32(ph + 12);
    u32 in_file = get_le32(ph + 16), all = get_le32(ph + 20), entry = get_le32(p->kernel.data + 24);
    if ((u64)offset + in_file > p->kernel.count || in_file > all)
        return PLAN_FAIL(p, "-kernel: '%s' is cut short: a segment goes beyond its end", p->config->path);
    if (entry - virtual < all) p->entry = entry - virtual + to;
    if (piece_overlaps(p, to, all))
        return PLAN_FAIL(p, "-kernel: '%s': segments overlap at 0x%x", p->config->path, to);
    return piece_add(p, to, p->kernel.data + offset, in_file, all);
}

static bool mb_add_elf(Plan *p) {
    const u8 *e = p->kernel.data;
    const char *path = p->config->path;
    if (p->kernel.count < 52 || memcmp(e, "\177ELF", 4))
        return PLAN_FAIL(p, "-kernel: '%s' has a multiboot header without addresses and is no ELF file", path);
    if (e[4] != 1 || get_le16(e + 18) != ELF_MACHINE_386)
        return PLAN_FAIL(p, "-kernel: '%s' is not a 32-bit ELF file for the i386 "
                            "(objcopy -O elf32-i386 makes one)", path);
    p->entry = get_le32(e + 24);
    for (u32 n = 0; n < get_le16(e + 44); n++) {
        const u8 *ph = elf_program_header(&p->kernel, n);
        if (!ph) return PLAN_FAIL(p, "-kernel: '%s' is cut short: no program header %u", path, n);
        if (get_le32(ph) == ELF_PT_LOAD && !mb_add_elf_segment(p, ph)) return false;
    }
    return p->pieces || PLAN_FAIL(p, "-kernel: '%s' has nothing to load", path);
}

// ---- multiboot: the information -----------------------------------------------------------------
enum { MBI_MEMORY = 1, MBI_LINE = 4, MBI_MODULES = 8, MBI_MAP = 64, MBI_LOADER_NAME = 512 };
#define MBI_MAP_AT 128u                    // kernelrom.S
#define MBI_MAP_ROWS 64u
#define MBI_MODULES_AT (MBI_MAP_AT + 24 * MBI_MAP_ROWS)

typedef struct Info {          // the information under construction
    u8 *data;
    u32 bytes, base;
    u32 modules;
} Info;

static u32 info_text(Info *i, const char *text) {
    u32 at = i->bytes, n = (u32)strlen(text) + 1;
    i->data = mem_resize(i->data, at + n);
    memcpy(i->data + at, text, n);
    i->bytes += n;
    return i->base + at;
}

// "FILE ARGS": loads the file, and notes it with the whole text.
static bool info_add_module(Plan *p, Info *i, const char *text, u64 *to) {
    Bytes file = { 0 };
    char *path = mem_strdup(text);
    path[strcspn(path, " ")] = 0;
    bool ok = file_read(p, "-initrd", path, &file);
    if (ok && *to + file.count > p->ram_end)
        ok = PLAN_FAIL(p, "-initrd: '%s' does not fit into memory behind the kernel (-m)", path);
    ok = ok && piece_add(p, *to, file.data, file.count, file.count);
    if (ok) {
        u32 words[4] = { (u32)*to, (u32)*to + file.count, info_text(i, text), 0 };
        memcpy(i->data + MBI_MODULES_AT + 16 * i->modules++, words, sizeof words);
        *to = (*to + file.count + PAGE_BYTES - 1) & ~(u64)(PAGE_BYTES - 1);
    }
    free(path);
    free(file.data);
    return ok;
}

// Commas separate modules; ",," is a comma.
static bool info_add_modules(Plan *p, Info *i, u64 to) {
    const char *from = p->config->initrd;
    if (!from) return true;
    char *text = mem_new(strlen(from) + 1);
    bool ok = true;
    while (ok && *from) {
        size_t n = 0;
        while (*from && (*from != ',' || from[1] == ',')) {
            from += *from == ',';
            text[n++] = *from++;
        }
        text[n] = 0;
        if (*from == ',') from++;
        ok = info_add_module(p, i, text, &to);
    }
    free(text);
    return ok;
}

static u32 count_commas(const char *text) {
    u32 n = 0;
    for (; text && *text; text++) n += *text == ',';
    return n;
}

static bool info_fill(Plan *p, Info *i, u64 kernel_end) {
    char *line = mem_printf("%s%s%s", p->config->path, p->config->append ? " " : "",
                            p->config->append ? p->config->append : "");
    u32 line_at = info_text(i, line), name_at = info_text(i, "glassbox");
    free(line);
    u64 first_module = (kernel_end + PAGE_BYTES - 1) & ~(u64)(PAGE_BYTES - 1);
    if (!info_add_modules(p, i, first_module < LOW_END ? LOW_END : first_module)) return false;
    put_le32(i->data, MBI_MEMORY | MBI_LINE | MBI_MAP | MBI_LOADER_NAME | (i->modules ? MBI_MODULES : 0));
    put_le32(i->data + 16, line_at);
    put_le32(i->data + 20, i->modules);
    put_le32(i->data + 24, i->modules ? i->base + MBI_MODULES_AT : 0);
    put_le32(i->data + 48, i->base + MBI_MAP_AT);
    put_le32(i->data + 64, name_at);
    return true;
}

// Somewhere below 640 KiB where the kernel is not.
static bool mb_add_info(Plan *p) {
    static const u32 places[] = { 0x9000, 0x80000, 0x50000, 0x20000 };
    u32 modules = p->config->initrd ? count_commas(p->config->initrd) + 1 : 0;
    u32 room = MBI_MODULES_AT + 16 * modules, most = 0x7000;
    u64 end = 0;
    for (u32 n = 0; n < p->pieces; n++)
        if ((u64)p->piece[n].to + p->piece[n].bytes > end) end = (u64)p->piece[n].to + p->piece[n].bytes;
    Info info = { .data = mem_new(room), .bytes = room };
    for (u32 n = 0; n < ARRAY_LEN(places) && !info.base; n++)
        if (!piece_overlaps(p, places[n], most)) info.base = places[n];
    bool ok = info.base || PLAN_FAIL(p, "-kernel: '%s' leaves no room below 640 KiB for the loader's information",
                                     p->config->path);
    ok = ok && info_fill(p, &info, end);
    if (ok && info.bytes > most) ok = PLAN_FAIL(p, "-append, -initrd: the texts are too long");
    p->segment = (u16)(info.base >> 4);
    ok = ok && piece_add(p, info.base, info.data, info.bytes, info.bytes);
    free(info.data);
    return ok;
}

static bool mb_add(Plan *p, u32 header) {
    u32 flags = get_le32(p->kernel.data + header + 4);
    p->multiboot = true;
    if (flags & 0xffff & ~MB_KNOWN)
        return PLAN_FAIL(p, "-kernel: '%s' asks for multiboot features that are not known (flags 0x%x)",
                         p->config->path, flags);
    return (flags & MB_ADDRESSES ? mb_add_flat(p, header) : mb_add_elf(p)) && mb_add_info(p);
}

// ---- the ROM ------------------------------------------------------------------------------------

// Makes the bytes' sum zero.
static void rom_set_checksum(u8 *from, u32 bytes, u8 *sum) {
    u8 total = 0;
    *sum = 0;
    for (u32 i = 0; i < bytes; i++) total = (u8)(total + from[i]);
    *sum = (u8)-total;
}

static bool rom_add(const Plan *p, FwCfg *fwcfg) {
    u32 bytes = (u32)(kernel_rom_end - kernel_rom_start);
    u8 *rom = mem_new(bytes), *plan = rom + (kernel_rom_plan - kernel_rom_start);
    u8 *pnp = rom + (kernel_rom_pnp - kernel_rom_start);
    if (!fwcfg_add_file(fwcfg, DATA_FILE, p->data.data, p->data.count)) return false;
    memcpy(rom, kernel_rom_start, bytes);
    put_le16(plan, (u16)fwcfg_find(fwcfg, DATA_FILE));
    put_le16(plan + 2, p->multiboot);
    put_le32(plan + 4, p->entry);
    put_le16(plan + 8, p->segment);
    put_le16(plan + 10, p->sp);
    put_le16(plan + 12, (u16)p->pieces);
    for (u32 i = 0; i < p->pieces; i++) {
        put_le32(plan + 16 + 8 * i, p->piece[i].to);
        put_le32(plan + 20 + 8 * i, p->piece[i].bytes);
    }
    rom_set_checksum(pnp, 32, pnp + 9);
    rom_set_checksum(rom, bytes, rom + bytes - 1);
    bool ok = fwcfg_add_file(fwcfg, ROM_FILE, rom, bytes) &&
              fwcfg_add_file(fwcfg, "bootorder", ROM_BOOT_ORDER, sizeof ROM_BOOT_ORDER);
    free(rom);
    return ok;
}

static bool kernel_plan(Plan *p) {
    if (!file_read(p, "-kernel", p->config->path, &p->kernel)) return false;
    if (linux_is(&p->kernel)) return linux_add(p);
    i64 header = mb_find(&p->kernel);
    if (header >= 0) return mb_add(p, (u32)header);
    bool elf = p->kernel.count > 4 && !memcmp(p->kernel.data, "\177ELF", 4);
    return PLAN_FAIL(p, "-kernel: '%s' is %s", p->config->path,
                     elf ? "an ELF file without multiboot header (Linux is given as bzImage)"
                         : "neither a Linux bzImage nor a multiboot kernel");
}

bool kernel_add(FwCfg *fwcfg, u64 ram_bytes, const KernelConfig *config, char **err) {
    Plan p = { .config = config, .err = err };
    p.ram_end = ram_bytes > 2 * FIRMWARE_BYTES ? (u32)(ram_bytes - FIRMWARE_BYTES) : 0;
    bool ok = p.ram_end || PLAN_FAIL(&p, "-kernel: the machine needs more than 2 MiB (-m)");
    ok = ok && kernel_plan(&p);
    if (ok) require(rom_add(&p, fwcfg));
    free(p.kernel.data);
    free(p.data.data);
    return ok;
}
