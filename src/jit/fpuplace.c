// SPDX-License-Identifier: MIT
// From the host's x87 instruction pointer to the guest's instruction: every x87 operation has a restore
// record at its host address, which names the guest's; the opcode is read again from guest memory.
#include "jit/jit_int.h"

#include "cpu/cpu.h"

// Instructions that set the pointers: all but the control instructions.
static bool place_of(const u8 *bytes, bool code32, Insn *in, CpuFpuPlace *place) {
    if (isa_decode(bytes, ISA_MAX_BYTES, code32, in) != ISA_OK) return false;
    unsigned lifter = isa_row(in)->lifter;
    place->memory = lifter == ISA_LIFT_FPU_MEM;
    place->seg = in->seg;
    place->op = (u16)((in->opcode & 7) << 8 | in->modrm);
    return place->memory || lifter == ISA_LIFT_FPU || lifter == ISA_LIFT_FPU_CMOV ||
           lifter == ISA_LIFT_FPU_COMI;
}

static void place_read(Bus *bus, u64 phys, u8 *to, u32 bytes) { bus_dma_read(bus, phy(phys), to, bytes); }

bool fpu_place_of_host(void *self, u32 host_ip, CpuFpuPlace *place) {
    Jit *jit = self;
    u32 offset = host_ip - (u32)(uintptr_t)jit->code;
    if (offset >= jit->code_bytes) return false;
    const u8 *pc = jit->code + offset;
    const Block *b = cache_block_at(jit, pc);
    const X64Restore *r = b ? restore_record(jit, b, pc) : NULL;
    if (!r) return false;
    i32 at = block_insn_offset(b)[r->insn];
    u64 phys = (u64)((i64)b->phys + at);
    u8 bytes[ISA_MAX_BYTES] = { 0 };
    u32 first = min_u32(ISA_MAX_BYTES, PAGE_BYTES - (u32)(phys & ~PAGE_MASK));
    place_read(jit->bus, phys, bytes, first);
    if (b->second_ppn != JIT_NO_PAGE)
        place_read(jit->bus, (u64)b->second_ppn << PAGE_SHIFT, bytes + first, ISA_MAX_BYTES - first);
    Insn in;
    place->ip = b->eip + (u32)at;
    return place_of(bytes, b->key & MODE_CODE32, &in, place);
}

static u32 place_reg(const Cpu *cpu, unsigned reg) { return reg == ISA_NO_REG ? 0 : cpu->regs[reg]; }

// x87 instructions change no address register, so the operand's offset can be computed afterwards.
void fpu_place_stepped(Jit *jit, const u8 *bytes, u32 eip, u32 mode) {
    Cpu *cpu = jit->cpu;
    CpuFpuPlace place = { .ip = eip };
    Insn in;
    if (!place_of(bytes, mode & MODE_CODE32, &in, &place)) return;
    u32 offset = place_reg(cpu, in.base) + (place_reg(cpu, in.index) << in.scale) + in.disp;
    cpu_fpu_set_pointers(cpu, &place, in.addrsize == 2 ? offset & 0xffff : offset);
}
