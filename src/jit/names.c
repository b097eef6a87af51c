// SPDX-License-Identifier: MIT
// Names for translated code (-perfmap), so that tools which see host addresses can say guest addresses:
// block 0000e4c0 is guest_0000e4c0, its cold part guest_0000e4c0_cold.
//
//  - perf: /tmp/perf-PID.map, a line "start size name" (hexadecimal) for each translation, written as it
//    is made. Code memory is used again after a flush; then the last line for an address is the true one.
//  - gdb: its interface for code made at run time (GDB manual, "JIT Compilation Interface"): an ELF file in
//    memory with the symbols, put into a list that gdb reads, and a function that gdb stops at.
//
// gdb looks at every file again and again, so there must be few: a new block is a file of its own, and
// two neighbours that hold as many blocks as each other become one. N blocks make at most log2 N files.
#include "jit/jit_int.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- gdb's part: these names, types and the descriptor's being writable are its protocol -----------------
typedef struct GdbFile {
    struct GdbFile *next, *prev;
    const void *elf;
    u64 elf_bytes;
} GdbFile;

typedef struct GdbDescriptor {
    u32 version, action;                       // 0 nothing, 1 registered, 2 about to go
    GdbFile *relevant, *first;
} GdbDescriptor;
enum { GDB_NOTHING, GDB_REGISTER, GDB_UNREGISTER };

GdbDescriptor __jit_debug_descriptor = { .version = 1 };
void __jit_debug_register_code(void);

__attribute__((noinline)) void __jit_debug_register_code(void) { __asm__ volatile("" ::: "memory"); }

// ---- files -----------------------------------------------------------------------------------------------
typedef struct NamesFile {
    GdbFile gdb;
    u32 first, count;                          // blocks, by their place in Jit.block
} NamesFile;

struct Names {
    FILE *map;
    NamesFile *file[32];                       // newest last; sizes fall
    u32 files;
};

enum { SECTION_HOT = 1, SECTION_COLD, SECTION_SYMBOLS, SECTION_STRINGS, SECTIONS, NAME_BYTES = 24 };
static const char names_sections[] = "\0.text\0.text.cold\0.symtab\0.strtab";
enum { NAME_HOT = 1, NAME_COLD = 7, NAME_SYMBOLS = 18, NAME_STRINGS = 26 };

static void names_of(const Block *b, bool cold, char *text) {
    snprintf(text, NAME_BYTES, "guest_%08x%s", b->eip, cold ? "_cold" : "");
}

static Elf64_Sym names_symbol(const Block *b, bool cold, u32 name) {
    const u8 *code = cold ? b->cold : b->hot;
    return (Elf64_Sym){ .st_name = name, .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
        .st_shndx = cold ? SECTION_COLD : SECTION_HOT, .st_value = (u64)(uintptr_t)code,
        .st_size = cold ? b->cold_bytes : b->hot_bytes };
}

// An ELF file: header, section headers, symbols, strings. Code sections have an address and no bytes.
static void *names_elf(Block *const *block, u32 count, u64 *bytes) {
    u32 symbols = 1 + 2 * count, strings = sizeof names_sections + 2 * count * NAME_BYTES;
    u64 at_symbols = sizeof(Elf64_Ehdr) + SECTIONS * sizeof(Elf64_Shdr);
    u64 at_strings = at_symbols + symbols * sizeof(Elf64_Sym);
    *bytes = at_strings + strings;
    u8 *elf = mem_new(*bytes);
    Elf64_Shdr *section = (void *)(elf + sizeof(Elf64_Ehdr));
    Elf64_Sym *symbol = (void *)(elf + at_symbols);
    char *string = (char *)elf + at_strings;
    const Block *first = block[0], *last = block[count - 1];
    *(Elf64_Ehdr *)(void *)elf = (Elf64_Ehdr){
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_ehsize = sizeof(Elf64_Ehdr),
        .e_shoff = sizeof(Elf64_Ehdr), .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = SECTIONS,
        .e_shstrndx = SECTION_STRINGS };
    section[SECTION_HOT] = (Elf64_Shdr){ .sh_name = NAME_HOT, .sh_type = SHT_NOBITS, .sh_addralign = 1,
        .sh_flags = SHF_ALLOC | SHF_EXECINSTR, .sh_addr = (u64)(uintptr_t)first->hot,
        .sh_size = (u64)(last->hot + last->hot_bytes - first->hot) };
    section[SECTION_COLD] = section[SECTION_HOT];
    section[SECTION_COLD].sh_name = NAME_COLD;
    section[SECTION_COLD].sh_addr = (u64)(uintptr_t)first->cold;
    section[SECTION_COLD].sh_size = (u64)(last->cold + last->cold_bytes - first->cold);
    section[SECTION_SYMBOLS] = (Elf64_Shdr){ .sh_name = NAME_SYMBOLS, .sh_type = SHT_SYMTAB, .sh_addralign = 8,
        .sh_offset = at_symbols, .sh_size = symbols * sizeof(Elf64_Sym), .sh_link = SECTION_STRINGS,
        .sh_info = 1, .sh_entsize = sizeof(Elf64_Sym) };
    section[SECTION_STRINGS] = (Elf64_Shdr){ .sh_name = NAME_STRINGS, .sh_type = SHT_STRTAB, .sh_addralign = 1,
        .sh_offset = at_strings, .sh_size = strings };
    memcpy(string, names_sections, sizeof names_sections);
    u32 name = sizeof names_sections;
    for (u32 i = 0; i < 2 * count; i++, name += NAME_BYTES) {
        names_of(block[i / 2], i & 1, string + name);
        symbol[1 + i] = names_symbol(block[i / 2], i & 1, name);
    }
    return elf;
}

// ---- the list that gdb reads -------------------------------------------------------------------------------
static void names_tell_gdb(GdbFile *f, u32 action) {
    __jit_debug_descriptor.relevant = f;
    __jit_debug_descriptor.action = action;
    __jit_debug_register_code();
    __jit_debug_descriptor.action = GDB_NOTHING;
}

static void names_add_file(Jit *jit, u32 first, u32 count) {
    NamesFile *f = mem_new(sizeof *f);
    f->first = first;
    f->count = count;
    f->gdb.elf = names_elf(jit->block + first, count, &f->gdb.elf_bytes);
    f->gdb.next = __jit_debug_descriptor.first;
    if (f->gdb.next) f->gdb.next->prev = &f->gdb;
    __jit_debug_descriptor.first = &f->gdb;
    jit->names->file[jit->names->files++] = f;
    names_tell_gdb(&f->gdb, GDB_REGISTER);
}

static void names_drop_file(Names *n) {
    NamesFile *f = n->file[--n->files];
    if (f->gdb.prev) f->gdb.prev->next = f->gdb.next;
    else __jit_debug_descriptor.first = f->gdb.next;
    if (f->gdb.next) f->gdb.next->prev = f->gdb.prev;
    names_tell_gdb(&f->gdb, GDB_UNREGISTER);
    free((void *)f->gdb.elf);
    free(f);
}

// ---- for the room --------------------------------------------------------------------------------------------
void names_add_block(Jit *jit) {
    Names *n = jit->names;
    if (!n) return;
    const Block *b = jit->block[jit->block_count - 1];
    u32 first = jit->block_count - 1, count = 1;
    fprintf(n->map, "%" PRIxPTR " %x guest_%08x\n%" PRIxPTR " %x guest_%08x_cold\n", (uintptr_t)b->hot,
            b->hot_bytes, b->eip, (uintptr_t)b->cold, b->cold_bytes, b->eip);
    while (n->files && n->file[n->files - 1]->count == count) {
        first -= count;
        count *= 2;
        names_drop_file(n);
    }
    names_add_file(jit, first, count);
}

void names_forget(Jit *jit) {
    while (jit->names && jit->names->files) names_drop_file(jit->names);
}

void names_free(Jit *jit) {
    if (!jit->names) return;
    names_forget(jit);
    if (jit->names->map) fclose(jit->names->map);
    free(jit->names);
    jit->names = NULL;
}

bool names_new(Jit *jit, char **error) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)getpid());
    jit->names = mem_new(sizeof *jit->names);
    jit->names->map = fopen(path, "we");
    if (!jit->names->map) {
        *error = mem_printf("-perfmap: cannot write '%s': %s", path, strerror(errno));
        return false;
    }
    setlinebuf(jit->names->map);
    fprintf(jit->names->map, "%" PRIxPTR " %" PRIxPTR " glassbox_stubs\n", (uintptr_t)jit->code,
            (uintptr_t)(jit->hot_start - jit->code));
    return true;
}
