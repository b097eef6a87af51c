// SPDX-License-Identifier: MIT
// The glass box: every stage of a translation as text.
#include "jit/jit_int.h"

#include "cpu/mmu.h"
#include "lift/lift.h"

#include <capstone/capstone.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void dump_host(FILE *out, const u8 *code, u32 bytes, u64 address) {
    csh handle;
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK) return;
    cs_option(handle, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
    cs_insn *insn = cs_malloc(handle);
    size_t left = bytes;
    while (left) {
        u64 at = address;
        if (cs_disasm_iter(handle, &code, &left, &address, insn)) {
            fprintf(out, "0x%08" PRIx64 ":  %-6s %s\n", at, insn->mnemonic, insn->op_str);
        } else {
            fprintf(out, "0x%08" PRIx64 ":  .byte  0x%02x\n", at, *code);
            code++, address++, left--;
        }
    }
    cs_free(insn, 1);
    cs_close(&handle);
}

static const char *dump_place(const X64Recipe *r, u8 place, char *text, size_t n) {
    static const char *const reg[8] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" };
    static const char *const word[] = { "flag_a", "flag_b", "flag_c" };
    if (place < 8) return reg[place];
    if (place < X64_AT_IMM) return word[place - X64_AT_A];
    if (place == X64_AT_ZERO) return "0";
    snprintf(text, n, "$0x%x", r->imm);
    return text;
}

void dump_flags(const X64Recipe *r, char *text, size_t n) {
    char a[16], b[16], c[16];
    if (r->op == X64_FLAGS_IN_STATE) snprintf(text, n, "in state");
    else snprintf(text, n, "%s.%u(%s, %s, %s)", flags_kind_name(FLAGS_KIND(r->op)), 1u << (r->op & 3),
                  dump_place(r, r->a, a, sizeof a), dump_place(r, r->b, b, sizeof b),
                  dump_place(r, r->c, c, sizeof c));
}

void dump_restores(FILE *out, const X64Code *code, const IrBlock *ir) {
    (void)ir;
    for (u32 i = 0; i < code->restore_count; i++) {
        const X64Restore *r = &code->restores[i];
        char flags[64];
        dump_flags(&r->flags, flags, sizeof flags);
        fprintf(out, "%s+0x%04x: op 0x%x insn %u charged %+d flags %s\n",
                r->host & X64_COLD ? "cold" : r->host & X64_LATE ? "late" : "hot ",
                r->host & X64_HOST_OFFSET, r->op, r->insn, r->charged, flags);
    }
}

// Stubs that only have to be somewhere near, for dumps without a machine.
typedef struct DumpRig { u8 *memory; X64Target target; const u8 *helper[256]; } DumpRig;
enum { DUMP_BYTES = 1 << 18 };

// The hot part as it is when there is a late part, which comes to `late`.
static bool dump_emit_late(const IrBlock *ir, const X64Target *target, const X64Entry *entry, u8 *late, u8 *late_end,
                           X64Code *code) {
    X64Late at = { .question = X64_ALL_LATE, .hot_at = code->hot, .hot_room = code->hot_bytes + 1024,
                   .cold_room = code->cold_bytes + 1024, .late = late, .late_end = late_end };
    X64Code again;
    at.scratch = arena_alloc(ir->arena, at.hot_room + at.cold_room);
    if (!x64_emit_late(ir, target, entry, &at, &again)) return false;
    for (u32 i = 0; i < again.late_jump_count; i++)
        enc_patch32(code->hot + again.late_jumps[i].hot, late + again.late_jumps[i].late);
    again.hot = code->hot;
    again.cold = code->cold;
    *code = again;
    return true;
}

static void dump_part(FILE *out, const char *name, const u8 *code, u32 bytes) {
    if (!bytes) return;
    fprintf(out, "  -- %s --\n", name);
    dump_host(out, code, bytes, (u64)(uintptr_t)code);
}

static void dump_stages(IrBlock *ir, const X64Target *target, const X64Entry *entry, u8 *hot, u32 room,
                        FILE *out) {
    IrNames names = { .helpers = lift_helpers(), .env_name = lift_env_name };
    fprintf(out, "OP:\n");
    ir_print(ir, &names, out);
    translate_optimize(ir, true);
    fprintf(out, "\nOP after optimization and liveness analysis:\n");
    ir_print(ir, &names, out);
    X64Code code;
    u8 *cold = hot + room / 3, *late = cold + room / 3;
    if (!x64_emit(ir, target, entry, hot, cold, cold, late, &code)) return;
    if (!dump_emit_late(ir, target, entry, late, hot + room, &code)) return;
    u32 cold_bytes = code.cold_bytes + code.call_bytes;
    fprintf(out, "\nOUT: [size=%u]  (%u hot, %u cold; %u late)\n", code.hot_bytes + cold_bytes, code.hot_bytes,
            cold_bytes, code.late_bytes);
    dump_host(out, code.hot, code.hot_bytes, (u64)(uintptr_t)code.hot);
    dump_part(out, "cold", code.cold, cold_bytes);
    dump_part(out, "late", late, code.late_bytes);
    fprintf(out, "\nRESTORE MAP: %u records\n", code.restore_count);
    dump_restores(out, &code, ir);
}

Jit *dump_rig(u32 cache_mib) {
    char *error = NULL;
    Jit *jit = mem_new(sizeof *jit);
    jit->opt.cache_mib = cache_mib;
    jit->arena = arena_new(1 << 16);
    jit->step_arena = arena_new(1 << 12);
    if (!cache_new(jit, &error)) panic("%s", error);
    return jit;
}

static void dump_rig_stages(IrBlock *ir, u32 eip, u32 mode, FILE *out) {
    Jit *jit = dump_rig(1);
    X64Entry entry = { .checked = true, .flat = MODE_SEG_CLASS(mode, CPU_CS) == SEG_FLAT,
                       .eip = eip, .expects = mmu_code_entry(0, 0),
                       .flags.op = X64_FLAGS_IN_STATE, .form = jit_form(mode) };
    dump_stages(ir, &jit->target, &entry, jit->hot_next, (u32)(jit->hot_end - jit->hot_next), out);
    jit_free(jit);
}

bool jit_dump_bytes(const u8 *bytes, u32 before, u32 count, u32 eip, u32 mode, FILE *out) {
    if (!count) return false;
    Arena *arena = arena_new(1 << 16);
    u8 *padded = (u8 *)arena_alloc(arena, before + count + ISA_MAX_BYTES) + before;
    memset(padded, 0x90, count + ISA_MAX_BYTES);
    memcpy(padded - before, bytes - before, before + count);
    Source src = { .eip = eip, .mode = mode, .features = 0xffffffff, .limit = 0xffffffff,
                   .bytes = padded, .count = count, .before = before,
                   .second = padded + count };
    Lifted l;
    if (translate_lift(arena, &src, JIT_MAX_INSNS, &l)) {
        fprintf(out, "----------------\nIN: \n");
        translate_print_insns(&src, &l, out);
        dump_rig_stages(l.ir, eip, mode, out);
    }
    arena_free(arena);
    return l.ir != NULL;
}

bool jit_dump_ir(const char *text, FILE *out, char **error) {
    Arena *arena = arena_new(1 << 16);
    IrNames names = { .helpers = lift_helpers(), .env_name = lift_env_name };
    IrBlock *ir = ir_parse(arena, text, &names, error);
    if (ir) dump_rig_stages(ir, ir->eip, ir->mode, out);
    arena_free(arena);
    return ir != NULL;
}

bool jit_dump_at(Jit *jit, u32 eip, FILE *out) {
    Cpu *cpu = jit->cpu;
    Phy at;
    u32 base = cpu->seg[CPU_CS].base;
    if (!cpu_debug_translate(cpu, lin(base + eip), &at)) return false;
    u8 bytes[PAGE_BYTES];
    u32 count = PAGE_BYTES - ((u32)at.v & ~PAGE_MASK);
    if (!cpu_debug_read(cpu, lin(base + eip), bytes, count)) return false;
    return jit_dump_bytes(bytes, 0, count, eip, cpu->mode, out);
}
