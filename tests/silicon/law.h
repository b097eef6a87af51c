// SPDX-License-Identifier: MIT
// Where the manual leaves the processor a choice, or has the host's maker choose otherwise: there a difference
// from the host is counted, not reported. Each has its reason; nothing else is excused.
#ifndef TESTS_SILICON_LAW_H
#define TESTS_SILICON_LAW_H

#include "gen.h"

#define LAWS(X) \
    X(IMAGE, "images of 14 to 512 bytes (FSTENV, FSAVE, FXSAVE and their loads): order and address of the faults of " \
             "their parts, and what is stored before a fault") \
    X(MASKMOV, "MASKMOVQ, MASKMOVDQU: whether masked bytes fault; the x87 state when they do") \
    X(ARPL, "ARPL of memory: the host does not ask for the right to write when it need not write") \
    X(PREFETCH, "0F 0D with a register: undefined on AMD's processors, a NOP on Intel's") \
    X(WRAP, "operands over the end of a 4 GiB segment: #GP on the host; the manual allows both") \
    X(PUSHED, "a faulting ENTER, PUSHA or far CALL: words pushed already stay below ESP on the host") \
    X(POPPED, "a faulting POPA: registers popped already have changed on the host") \
    X(POINTER, "far pointers in memory: which part's fault comes first") \
    X(RETURN, "far returns: whether the selector or the stack's further words are looked at first") \
    X(UD, "UD0, UD1: whether what follows the opcode is fetched, and counted to the 15 bytes") \
    X(INT1, "INT1 under a hypervisor: EIP still points to it; tests/metal/exc") \
    X(LOCK, "LOCK VERR, LOCK VERW: the operand's fault comes before #UD on the host") \
    X(STRING, "CMPS with two operands that fault: which comes first; flags of REPE, REPNE when one faults") \
    X(CALL, "calls to beyond the code segment's limit: a push that faults comes first on the host") \
    X(FXSAVE, "x87 pointers in FXSAVE's image without a pending exception: zero on AMD's processors") \
    X(MXCSR, "LDMXCSR of bit 17 (misaligned SSE operands): AMD's processors have it, Intel's raise #GP")

typedef enum Law {
    LAW_NONE,
#define X(id, text) LAW_##id,
    LAWS(X)
#undef X
    LAW_COUNT
} Law;
extern const char *const law_texts[LAW_COUNT];

// The law that covers a difference (`what` differs) between eval's outcome and the host's.
Law law_of(const Case *c, const State *eval, const State *host, const char *what);
// Why a row's instructions are not compared with the host at all. NULL: they are.
const char *law_not_on_host(unsigned row);

#endif
