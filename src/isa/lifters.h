// SPDX-License-Identifier: MIT
// The two last columns of i386.def: which function of room lift a row belongs to, and which of that
// function's operations it is. Family + operands + sub is all a lifter needs; it never looks at
// opcode bytes (x87 register and memory forms excepted, which the host executes as they are).
#ifndef ISA_LIFTERS_H
#define ISA_LIFTERS_H

// X(enumerator, function stem, subs and remarks)
#define ISA_LIFTERS(X) \
    X(NONE, none, "no lifter: row 0 only, never decoded") \
    X(ALU, alu, "ADD..CMP: op0 op= op1; CMP writes flags only") \
    X(INCDEC, incdec, "INC DEC") \
    X(NOT, not, "") \
    X(NEG, neg, "") \
    X(TEST, test, "") \
    X(MOV, mov, "general registers, memory, immediates; moffs is memory without registers") \
    X(MOVX, movx, "ZX SX: op1 (size 1 or 2) into op0") \
    X(LEA, lea, "op1 is memory of size 0") \
    X(PUSH, push, "register, memory or immediate (already extended) of Insn.opsize") \
    X(POP, pop, "register or memory; ESP as base counts after the increment") \
    X(PUSHA, pusha, "") \
    X(POPA, popa, "") \
    X(PUSHF, pushf, "") \
    X(POPF, popf, "") \
    X(XCHG, xchg, "") \
    X(XADD, xadd, "") \
    X(CMPXCHG, cmpxchg, "op0, op1, accumulator implied") \
    X(CMPXCHG8B, cmpxchg8b, "op0 is memory of 8 bytes") \
    X(IMUL, imul, "op0 = op1 * op2, or op0 *= op1 when there is no op2") \
    X(MUL1, mul1, "MUL IMUL DIV IDIV: one operand, accumulator implied") \
    X(SHIFT, shift, "ROL..SAR: op1 is CL, or an immediate (1 too), not yet masked") \
    X(SHIFTD, shiftd, "SHLD SHRD: op2 is CL or an immediate, not yet masked") \
    X(BT, bt, "BT BTS BTR BTC: op1 is a register or an immediate, not yet masked") \
    X(BITSCAN, bitscan, "BSF BSR") \
    X(BSWAP, bswap, "") \
    X(SETCC, setcc, "isa_cc()") \
    X(CMOV, cmov, "isa_cc(); a memory op1 is read in any case") \
    X(JCC, jcc, "isa_cc(); op0 ISA_REL") \
    X(JMP, jmp, "op0 ISA_REL") \
    X(JMP_IND, jmp_ind, "op0 register or memory") \
    X(CALL, call, "op0 ISA_REL") \
    X(CALL_IND, call_ind, "op0 register or memory") \
    X(RET, ret, "op0, where present, ISA_IMM: bytes to release") \
    X(LOOP, loop, "LOOP LOOPE LOOPNE: op0 ISA_REL; Insn.addrsize says CX or ECX") \
    X(JCXZ, jcxz, "op0 ISA_REL; Insn.addrsize says CX or ECX") \
    X(JMP_FAR, jmp_far, "op0 ISA_FAR, or memory of opsize + 2 bytes: offset, then selector") \
    X(CALL_FAR, call_far, "as JMP_FAR") \
    X(RET_FAR, ret_far, "op0 as RET") \
    X(IRET, iret, "") \
    X(INT, int, "INT3 INT1 without, INT with op0 ISA_IMM: the vector") \
    X(INTO, into, "") \
    X(BOUND, bound, "op0 register, op1 memory of 2 * opsize") \
    X(ENTER, enter, "op0 ISA_IMM: bytes; op1: level, not yet masked") \
    X(LEAVE, leave, "") \
    X(STRING, string, "MOVS CMPS STOS LODS SCAS: size in Insn.opsize, source segment in Insn.seg") \
    X(INSOUTS, insouts, "INS OUTS: likewise") \
    X(IN, in, "op0 accumulator; op1 DX or ISA_IMM") \
    X(OUT, out, "op0 DX or ISA_IMM; op1 accumulator") \
    X(FLAGOP, flagop, "CLC STC CMC CLD STD CLI STI") \
    X(AHF, ahf, "LAHF SAHF") \
    X(SALC, salc, "AL = CF ? 0xff : 0") \
    X(CBW, cbw, "CBW or CWDE by Insn.opsize") \
    X(CWD, cwd, "CWD or CDQ by Insn.opsize") \
    X(BCD, bcd, "DAA DAS AAA AAS, AAM and AAD with op0 ISA_IMM") \
    X(XLAT, xlat, "Insn.seg, Insn.addrsize") \
    X(LDS, lds, "ES SS DS FS GS: op0 register, op1 memory of opsize + 2") \
    X(MOV_SEG, mov_seg, "one of op0, op1 is ISA_SEG") \
    X(PUSH_SEG, push_seg, "op0 ISA_SEG") \
    X(POP_SEG, pop_seg, "op0 ISA_SEG") \
    X(MOV_CR, mov_cr, "one of op0, op1 is ISA_CR") \
    X(MOV_DR, mov_dr, "one of op0, op1 is ISA_DR") \
    X(DESC, desc, "SGDT .. INVLPG: descriptor tables, selectors, machine status word, TLB entry") \
    X(SYSTEM, system, "HLT .. RSM") \
    X(NOP, nop, "long NOPs and hints too: their memory operand is not accessed") \
    X(UD, ud, "UD0 UD1 UD2") \
    X(FPU, fpu, "x87 without memory: executed as Insn.opcode, Insn.modrm") \
    X(FPU_MEM, fpu_mem, "LOAD STORE: op0 memory of 2 4 8 10 bytes, Insn.opcode, Insn.modrm") \
    X(FPU_CMOV, fpu_cmov, "FCMOVcc: the row's flags say the condition") \
    X(FPU_COMI, fpu_comi, "FCOMI family: as FPU, writes the arithmetic flags") \
    X(FPU_CTL, fpu_ctl, "FNINIT FNCLEX FNOP8087; FLDCW FNSTCW FNSTSW: op0 memory of 2 or AX") \
    X(FPU_ENV, fpu_env, "FLDENV FNSTENV (14, 28 bytes) FRSTOR FNSAVE (94, 108 bytes)") \
    X(FPU_WAIT, fpu_wait, "") \
    X(SIMD, simd, "MMX, SSE: executed as it is; memory and general registers by operand; UNALIGNED") \
    X(SIMD_CTL, simd_ctl, "FXSAVE .. MASKMOV: around the XMM state, caches, helpers")

// Operations inside a family. ORDER: ADD..CMP and ROL..SAR are the /digits; ES..GS the segment
// numbers (ISA_SUB_ES + n).
#define ISA_SUBS(X) \
    X(NONE) \
    X(ADD) X(OR) X(ADC) X(SBB) X(AND) X(SUB) X(XOR) X(CMP) \
    X(ROL) X(ROR) X(RCL) X(RCR) X(SHL) X(SHR) X(SAL) X(SAR) \
    X(MUL) X(IMUL) X(DIV) X(IDIV) \
    X(INC) X(DEC) \
    X(SHLD) X(SHRD) \
    X(BT) X(BTS) X(BTR) X(BTC) \
    X(BSF) X(BSR) \
    X(ZX) X(SX) \
    X(LOOP) X(LOOPE) X(LOOPNE) \
    X(INT) X(INT3) X(INT1) \
    X(MOVS) X(CMPS) X(STOS) X(LODS) X(SCAS) X(INS) X(OUTS) \
    X(CLC) X(STC) X(CMC) X(CLD) X(STD) X(CLI) X(STI) \
    X(LAHF) X(SAHF) \
    X(DAA) X(DAS) X(AAA) X(AAS) X(AAM) X(AAD) \
    X(ES) X(CS) X(SS) X(DS) X(FS) X(GS) \
    X(SGDT) X(SIDT) X(LGDT) X(LIDT) X(SLDT) X(STR) X(LLDT) X(LTR) X(VERR) X(VERW) \
    X(SMSW) X(LMSW) X(LAR) X(LSL) X(ARPL) X(CLTS) X(INVLPG) \
    X(HLT) X(CPUID) X(RDTSC) X(RDPMC) X(RDMSR) X(WRMSR) X(INVD) X(WBINVD) \
    X(SYSENTER) X(SYSEXIT) X(RSM) \
    X(UD0) X(UD1) X(UD2) \
    X(LOAD) X(STORE) \
    X(FNINIT) X(FNCLEX) X(FNOP8087) X(FLDCW) X(FNSTCW) X(FNSTSW) \
    X(FLDENV) X(FNSTENV) X(FRSTOR) X(FNSAVE) \
    X(UNALIGNED) X(MOVHLPS) X(MOVLHPS) \
    X(FXSAVE) X(FXRSTOR) X(LDMXCSR) X(STMXCSR) X(CLFLUSH) X(FENCE) X(MOVNTI) X(MASKMOV)

typedef enum IsaLifter {
#define X(id, stem, remark) ISA_LIFT_##id,
    ISA_LIFTERS(X)
#undef X
    ISA_LIFTER_COUNT
} IsaLifter;

typedef enum IsaSub {
#define X(id) ISA_SUB_##id,
    ISA_SUBS(X)
#undef X
    ISA_SUB_COUNT
} IsaSub;

#endif
