// SPDX-License-Identifier: MIT
// What kind of processor it is: a model, with features switched on and off.
//
//     CpuModel model;
//     if (!cpu_model_parse("pentium2,-apic", &model, &err)) fail(err);
//     cpu_set_model(cpu, &model);
//     cpu_reset(cpu);
//
// The feature word says what exists. Nobody else keeps such knowledge: ask cpu_has(), or lift by
// IrBlock.features.
#ifndef CPU_MODEL_H
#define CPU_MODEL_H

#include "cpu/cpu.h"

enum CpuFeature {
#define F(id, name, bit, cr4, remark) CPU_HAS_##id = (int)BIT(bit),
#define M(name, signature, level, extended, leaf2_eax, leaf2_edx, features, remark)
#include "cpu/model.def"
#undef F
#undef M
};

// Features without instructions or behaviour behind them are not offered by any model: none at present.
#define CPU_HAS_IMPLEMENTED (~(u32)0)

const CpuModel *cpu_model_default(void);
// "model,+feature,-feature,feature=on|off". False: *err says what is wrong (malloc'ed).
bool cpu_model_parse(const char *text, CpuModel *out, char **err);
void cpu_model_list(FILE *out);                    // for -cpu help

void cpu_set_model(Cpu *cpu, const CpuModel *model);       // before cpu_reset()
static inline bool cpu_has(const Cpu *cpu, enum CpuFeature f) { return cpu->cpuid_features & (u32)f; }
u32 cpu_cr4_bits(const Cpu *cpu);                  // those that can be set

#endif
