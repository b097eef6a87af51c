// SPDX-License-Identifier: MIT
// x87 ops of eval: run on the host FPU, which holds the guest's state (decision 12), through the
// entries of eval_fpu_table.S.
//
// A store whose exception is unmasked (invalid, overflow, underflow) writes nothing and pops
// nothing; the exception is reported by the next waiting x87 instruction (SDM Vol. 1, 8.5 and
// 8.6). As the operand is a buffer here, that case has to be told to the caller.
#include "ir/ir_int.h"

enum { FPU_ENTRY_BYTES = 4 };
enum { FPU_IE = 1, FPU_OE = 8, FPU_UE = 16 };

extern const u8 ir_fpu_register_table[], ir_fpu_memory_table[];
u32 ir_fpu_execute(const u8 *entry, void *mem, u32 *eax, u32 *flags);

enum { FPU_SUMMARY = 0x80, FPU_TRAP = 16 };

bool ir_fpu_is_pending(void) {
    u16 status;
    __asm__ volatile("fnstsw %0" : "=m"(status));
    return status & FPU_SUMMARY;
}

u32 ir_fpu_run(u32 imm, u32 *eax, u32 *flags) {
    if (imm == IR_FPU_WAIT) return ir_fpu_is_pending() ? FPU_TRAP : 0;
    unsigned first = (imm & 0xff) - 0xd8, second = (imm >> 8) - 0xc0;
    require(first < 8 && second < 64);
    return ir_fpu_execute(ir_fpu_register_table + (first * 64 + second) * FPU_ENTRY_BYTES, NULL, eax,
                          flags);
}

static bool fpu_has_stored(unsigned first, unsigned digit) {
    if (digit == 7 && (first == 1 || first == 5)) return true;      // FNSTCW, FNSTSW: always
    u16 control, status;
    __asm__ volatile("fnstcw %0\n\tfnstsw %1" : "=m"(control), "=m"(status));
    return !(status & ~control & (FPU_IE | FPU_OE | FPU_UE));
}

u32 ir_fpu_run_memory(u32 imm, void *mem, bool *stored) {
    unsigned first = (imm & 0xff) - 0xd8, digit = imm >> 8;
    u32 eax = 0, flags = 0;
    require(first < 8 && digit < 8);
    const u8 *entry = ir_fpu_memory_table + (first * 8 + digit) * FPU_ENTRY_BYTES;
    u32 trap = ir_fpu_execute(entry, mem, &eax, &flags);
    *stored = !trap && fpu_has_stored(first, digit);
    return trap;
}
