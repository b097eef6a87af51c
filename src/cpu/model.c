// SPDX-License-Identifier: MIT
// Processor models, -cpu, and CPUID, which tells the guest about them.
//
// Sources: SDM 2A, CPUID; Intel AP-485 for the signatures and cache descriptors of the models.
#include "cpu/cpu_int.h"
#include "cpu/model.h"

#include <stdlib.h>
#include <string.h>

#define HAS(id) (u32)CPU_HAS_##id

static const struct ModelFeature { const char *name; u32 bit, cr4; const char *remark; } model_features[] = {
#define F(id, name, bit, cr4, remark) { name, BIT(bit), cr4, remark },
#define M(name, signature, level, extended, leaf2_eax, leaf2_edx, features, remark)
#include "cpu/model.def"
#undef F
#undef M
};

static const CpuModel models[] = {
#define F(id, name, bit, cr4, remark)
#define M(name, signature, level, extended, leaf2_eax, leaf2_edx, features, remark) \
    { name, signature, level, extended, leaf2_eax, leaf2_edx, (features) & CPU_HAS_IMPLEMENTED },
#include "cpu/model.def"
#undef F
#undef M
};

static const char *const model_remarks[] = {
#define F(id, name, bit, cr4, remark)
#define M(name, signature, level, extended, leaf2_eax, leaf2_edx, features, remark) remark,
#include "cpu/model.def"
#undef F
#undef M
};

// ---- choosing -----------------------------------------------------------------------------------
const CpuModel *cpu_model_default(void) { return &models[ARRAY_LEN(models) - 1]; }

static bool model_word_is(const char *word, size_t length, const char *name) {
    return strlen(name) == length && !strncmp(word, name, length);
}

static const CpuModel *model_find(const char *word, size_t length) {
    static const char *const same_as_max[] = { "base", "qemu32", "kvm32", "host" };
    for (unsigned i = 0; i < ARRAY_LEN(models); i++)
        if (model_word_is(word, length, models[i].name)) return &models[i];
    for (unsigned i = 0; i < ARRAY_LEN(same_as_max); i++)
        if (model_word_is(word, length, same_as_max[i])) return cpu_model_default();
    return NULL;
}

// "+name", "-name", "name", "name=on", "name=off".
static bool model_switch(CpuModel *m, const char *word, size_t length, char **err) {
    bool on = word[0] != '-';
    const char *name = word;
    size_t bytes = length;
    if (word[0] == '+' || word[0] == '-') { name++; bytes--; }
    if (bytes > 4 && !strncmp(name + bytes - 4, "=off", 4)) { on = false; bytes -= 4; }
    else if (bytes > 3 && !strncmp(name + bytes - 3, "=on", 3)) bytes -= 3;
    for (unsigned i = 0; i < ARRAY_LEN(model_features); i++) {
        const struct ModelFeature *f = &model_features[i];
        if (!model_word_is(name, bytes, f->name)) continue;
        if (on && !(f->bit & CPU_HAS_IMPLEMENTED)) {
            *err = mem_printf("feature '%s' is not implemented", f->name);
            return false;
        }
        m->features = on ? m->features | f->bit : m->features & ~f->bit;
        return true;
    }
    *err = mem_printf("unknown feature '%.*s' (see -cpu help)", (int)bytes, name);
    return false;
}

bool cpu_model_parse(const char *text, CpuModel *out, char **err) {
    size_t length = strcspn(text, ",");
    const CpuModel *model = model_find(text, length);
    if (!model) {
        *err = mem_printf("unknown model '%.*s' (see -cpu help)", (int)length, text);
        return false;
    }
    *out = *model;
    while (text[length]) {
        text += length + 1;
        length = strcspn(text, ",");
        if (length && !model_switch(out, text, length, err)) return false;
    }
    return true;
}

void cpu_model_list(FILE *out) {
    fprintf(out, "Available CPUs:\n");
    for (unsigned i = 0; i < ARRAY_LEN(models); i++)
        fprintf(out, "  %-13s %s\n", models[i].name, model_remarks[i]);
    fprintf(out, "Features (MODEL,+FEATURE,-FEATURE):\n");
    for (unsigned i = 0; i < ARRAY_LEN(model_features); i++)
        if (model_features[i].bit & CPU_HAS_IMPLEMENTED)
            fprintf(out, "  %-13s %s\n", model_features[i].name, model_features[i].remark);
}

void cpu_set_model(Cpu *cpu, const CpuModel *model) {
    cpu->model = *model;
    cpu->cpuid_features = model->features;
    bool says = model->extended >= 0x80000008;      // else PAE implies 36 (SDM 3A 4.1.4)
    cpu->phys_bits = !says && cpu_has(cpu, CPU_HAS_PAE) ? 36 : 32;
}

u32 cpu_cr4_bits(const Cpu *cpu) {
    u32 bits = 0;
    for (unsigned i = 0; i < ARRAY_LEN(model_features); i++)
        if (cpu->cpuid_features & model_features[i].bit) bits |= model_features[i].cr4;
    return bits;
}

// ---- CPUID --------------------------------------------------------------------------------------
#define OF_LEAF_1 (~(HAS(I486) | HAS(NX) | HAS(SSE3) | HAS(CPUID) | HAS(PMC)))
#define ECX_SSE3 BIT(0)
#define APIC_ENABLED 0x800u                // of the APIC base MSR

static void cpuid_put(Cpu *cpu, u32 a, u32 b, u32 c, u32 d) {
    cpu->regs[CPU_EAX] = a;
    cpu->regs[CPU_EBX] = b;
    cpu->regs[CPU_ECX] = c;
    cpu->regs[CPU_EDX] = d;
}

// 16 bytes of the name per leaf 0x80000002..4.
static void cpuid_brand(Cpu *cpu, unsigned part) {
    static const char name[48] = "glassbox i386 CPU";
    const char *at = name + 16 * part;
    cpuid_put(cpu, get_le32(at), get_le32(at + 4), get_le32(at + 8), get_le32(at + 12));
}

// An APIC that is switched off by its base register is not announced (SDM 3A 10.4.3).
static void cpuid_leaf1(Cpu *cpu) {
    u32 features = cpu->cpuid_features & OF_LEAF_1;
    if (!(cpu->msr_apic_base & APIC_ENABLED)) features &= ~HAS(APIC);
    cpuid_put(cpu, cpu->model.signature, features & HAS(CLFLUSH) ? 64 / 8 << 8 : 0,
              cpu_has(cpu, CPU_HAS_SSE3) ? ECX_SSE3 : 0, features);
}

static void cpuid_extended(Cpu *cpu, u32 leaf) {
    switch (leaf & 0xff) {
    case 0: cpuid_put(cpu, cpu->model.extended, 0, 0, 0); break;
    case 1: cpuid_put(cpu, 0, 0, 0, cpu->cpuid_features & HAS(NX)); break;
    case 2: case 3: case 4: cpuid_brand(cpu, (leaf & 0xff) - 2); break;
    case 8: cpuid_put(cpu, 32u << 8 | cpu->phys_bits, 0, 0, 0); break;
    default: cpuid_put(cpu, 0, 0, 0, 0); break;
    }
}

// A leaf that does not exist answers as the highest basic one.
void cpu_h_cpuid(Cpu *cpu) {
    u32 leaf = cpu->regs[CPU_EAX], level = cpu->model.level;
    if (leaf >= 0x80000000 && leaf <= cpu->model.extended) {
        cpuid_extended(cpu, leaf);
        return;
    }
    if (leaf == 0)                                          // "Genu" "ineI" "ntel"
        cpuid_put(cpu, level, 0x756e6547, 0x6c65746e, 0x49656e69);
    else if (leaf == 1 || level < 2)
        cpuid_leaf1(cpu);
    else
        cpuid_put(cpu, cpu->model.leaf2_eax, 0, 0, cpu->model.leaf2_edx);
}
