// SPDX-License-Identifier: MIT
// Room isa: decoder, disassembler and the rows of i386.def.
//
//     gcc -std=gnu11 -Wall -Wextra -O2 -Isrc tests/unit/test_isa.c src/isa/*.c -lcmocka
//         -o build/test_isa && build/test_isa                     (one line)
//     make fuzz T=unit/isa SEED=7 N=400000         other and longer comparisons with objdump
//
// The oracle for text and length is GNU objdump 2.40 (skipped where there is none). Known and
// wanted differences, all in skip_case() and same_text():
//   - what came after SSE3 is undefined here, and what AMD alone has: SSSE3, SSE4, SSE4a, VEX, EVEX, XOP, 3DNow, VMX,
//     syscall, test registers, CR1 CR5-CR8, register forms in groups 0F 01, 0F C7, C6 F8, C7 F8
//   - hints 0F 18-1F and 0F 0D are plain NOPs; F3 0F BC/BD, 0F 09 with 66 F2 F3 are the old forms
//   - F2 before branches is "repnz", not MPX's "bnd"; 3E before indirect ones is DS, not "notrack";
//     F2 and F3 are not "xacquire", "xrelease"
//   - LOCK where it is not allowed is #UD; so is MOV to CS and a segment register 6 or 7
//   - undocumented but real: SALC (D6), FSTP1 FXCH4 FCOM2 FCOMP3 FCOMP5 FXCH7 FSTP8 FSTP9
//   - fences with any ModRM.rm, as the hardware has them; PMOVMSKB is not with F2 and F3
//   - FNENI, FNDISI, FNSETPM without "(8087 only)"; FWAIT is an instruction of its own
//   - 16-bit absolute addresses are unsigned: 0xf000, not -0x1000
//   - targets of 16-bit branches wrap at 64 KiB
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fuzz.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "isa/isa_int.h"

// --- Helpers -------------------------------------------------------------------------------------

static unsigned hex_bytes(const char *hex, u8 *out) {
    unsigned n = 0;
    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        unsigned v;
        assert_int_equal(sscanf(hex, "%2x", &v), 1);
        out[n++] = v;
        hex++;
    }
    return n;
}

static IsaStatus decode_hex(const char *hex, unsigned bits, Insn *in) {
    u8 bytes[64];
    unsigned n = hex_bytes(hex, bytes);
    return isa_decode(bytes, n, bits == 32, in);
}

static Insn good(const char *hex, unsigned bits) {
    Insn in;
    IsaStatus status = decode_hex(hex, bits, &in);
    if (status != ISA_OK)
        fail_msg("'%s' (%u bits): status %d", hex, bits, status);
    return in;
}

static u32 random_next(u64 *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

// --- Text ----------------------------------------------------------------------------------------

typedef struct TextCase { unsigned bits; const char *hex, *att, *intel; } TextCase;

// All at eip 0x1000.
static const TextCase text_cases[] = {
    { 32, "83ec04", "sub    $0x4,%esp", "sub    esp,0x4" },
    { 32, "648802", "mov    %al,%fs:(%edx)", "mov    BYTE PTR fs:[edx],al" },
    { 32, "90", "nop", "nop" },
    { 32, "f390", "pause", "pause" },
    { 32, "6690", "xchg   %ax,%ax", "xchg   ax,ax" },
    { 32, "01d8", "add    %ebx,%eax", "add    eax,ebx" },
    { 16, "01d8", "add    %bx,%ax", "add    ax,bx" },
    { 16, "6601d8", "add    %ebx,%eax", "add    eax,ebx" },
    { 32, "83c0ff", "add    $0xffffffff,%eax", "add    eax,0xffffffff" },
    { 32, "6683c0ff", "add    $0xffff,%ax", "add    ax,0xffff" },
    { 32, "82c010", "add    $0x10,%al", "add    al,0x10" },
    { 32, "f08300ff", "lock addl $0xffffffff,(%eax)", "lock add DWORD PTR [eax],0xffffffff" },
    { 32, "8d742600", "lea    0x0(%esi,%eiz,1),%esi", "lea    esi,[esi+eiz*1+0x0]" },
    { 32, "8d04e500000000", "lea    0x0(,%eiz,8),%eax", "lea    eax,[eiz*8+0x0]" },
    { 32, "8b04c5f0ffffff", "mov    -0x10(,%eax,8),%eax", "mov    eax,DWORD PTR [eax*8-0x10]" },
    { 32, "8b4424f0", "mov    -0x10(%esp),%eax", "mov    eax,DWORD PTR [esp-0x10]" },
    { 32, "8b0424", "mov    (%esp),%eax", "mov    eax,DWORD PTR [esp]" },
    { 32, "8b0d78563412", "mov    0x12345678,%ecx", "mov    ecx,DWORD PTR ds:0x12345678" },
    { 32, "64a110000000", "mov    %fs:0x10,%eax", "mov    eax,fs:0x10" },
    { 32, "a210000000", "mov    %al,0x10", "mov    ds:0x10,al" },
    { 16, "8b8700f0", "mov    -0x1000(%bx),%ax", "mov    ax,WORD PTR [bx-0x1000]" },
    { 16, "8b0600f0", "mov    0xf000,%ax", "mov    ax,WORD PTR ds:0xf000" },
    { 16, "268a4205", "mov    %es:0x5(%bp,%si),%al", "mov    al,BYTE PTR es:[bp+si+0x5]" },
    { 16, "678b0510000000", "addr32 mov 0x10,%ax", "addr32 mov ax,WORD PTR ds:0x10" },
    { 32, "d1e0", "shl    %eax", "shl    eax,1" },
    { 32, "d120", "shll   (%eax)", "shl    DWORD PTR [eax],1" },
    { 32, "c02001", "shlb   $0x1,(%eax)", "shl    BYTE PTR [eax],0x1" },
    { 32, "d338", "sarl   %cl,(%eax)", "sar    DWORD PTR [eax],cl" },
    { 32, "d330", "shll   %cl,(%eax)", "shl    DWORD PTR [eax],cl" },
    { 32, "0fa500", "shld   %cl,%eax,(%eax)", "shld   DWORD PTR [eax],eax,cl" },
    { 32, "0fa4c810", "shld   $0x10,%ecx,%eax", "shld   eax,ecx,0x10" },
    { 32, "0fba2810", "btsl   $0x10,(%eax)", "bts    DWORD PTR [eax],0x10" },
    { 32, "0fb600", "movzbl (%eax),%eax", "movzx  eax,BYTE PTR [eax]" },
    { 32, "660fbfc1", "movsww %cx,%ax", "movsx  ax,cx" },
    { 32, "f6c810", "test   $0x10,%al", "test   al,0x10" },
    { 32, "f738", "idivl  (%eax)", "idiv   DWORD PTR [eax]" },
    { 32, "6bc0f0", "imul   $0xfffffff0,%eax,%eax", "imul   eax,eax,0xfffffff0" },
    { 32, "98", "cwtl", "cwde" },
    { 32, "6698", "cbtw", "cbw" },
    { 16, "99", "cwtd", "cwd" },
    { 16, "6699", "cltd", "cdq" },
    { 32, "6a10", "push   $0x10", "push   0x10" },
    { 32, "666a10", "pushw  $0x10", "pushw  0x10" },
    { 16, "6668785634 12", "pushl  $0x12345678", "pushd  0x12345678" },
    { 32, "ff30", "push   (%eax)", "push   DWORD PTR [eax]" },
    { 32, "668f00", "popw   (%eax)", "pop    WORD PTR [eax]" },
    { 32, "661e", "pushw  %ds", "pushw  ds" },
    { 32, "6660", "pushaw", "pushaw" },
    { 16, "669c", "pushfl", "pushfd" },
    { 32, "c8100001", "enter  $0x10,$0x1", "enter  0x10,0x1" },
    { 32, "66c9", "leavew", "leavew" },
    { 32, "6208", "bound  %ecx,(%eax)", "bound  ecx,QWORD PTR [eax]" },
    { 32, "63c3", "arpl   %ax,%bx", "arpl   bx,ax" },
    { 32, "f3a5", "rep movsl %ds:(%esi),%es:(%edi)",
      "rep movs DWORD PTR es:[edi],DWORD PTR ds:[esi]" },
    { 32, "64a4", "movsb  %fs:(%esi),%es:(%edi)", "movs   BYTE PTR es:[edi],BYTE PTR fs:[esi]" },
    { 32, "f2ae", "repnz scas %es:(%edi),%al", "repnz scas al,BYTE PTR es:[edi]" },
    { 32, "f3a6", "repz cmpsb %es:(%edi),%ds:(%esi)",
      "repz cmps BYTE PTR ds:[esi],BYTE PTR es:[edi]" },
    { 16, "f366ab", "rep stos %eax,%es:(%di)", "rep stos DWORD PTR es:[di],eax" },
    { 32, "676d", "insl   (%dx),%es:(%di)", "ins    DWORD PTR es:[di],dx" },
    { 32, "6e", "outsb  %ds:(%esi),(%dx)", "outs   dx,BYTE PTR ds:[esi]" },
    { 32, "64d7", "xlat   %fs:(%ebx)", "xlat   BYTE PTR fs:[ebx]" },
    { 32, "66ed", "in     (%dx),%ax", "in     ax,dx" },
    { 32, "e610", "out    %al,$0x10", "out    0x10,al" },
    { 32, "e800000000", "call   0x1005", "call   0x1005" },
    { 16, "e90080", "jmp    0x9003", "jmp    0x9003" },
    { 16, "e900f0", "jmp    0x3", "jmp    0x3" },
    { 32, "66e90000", "jmpw   0x1004", "jmpw   0x1004" },
    { 32, "75fe", "jne    0x1000", "jne    0x1000" },
    { 32, "3e7510", "jne,pt 0x1013", "ds jne 0x1013" },
    { 32, "0f8c00010000", "jl     0x1106", "jl     0x1106" },
    { 32, "e310", "jecxz  0x1012", "jecxz  0x1012" },
    { 32, "67e310", "jcxz   0x1013", "jcxz   0x1013" },
    { 32, "67e2fe", "loopw  0x1001", "addr16 loop 0x1001" },
    { 32, "ffe0", "jmp    *%eax", "jmp    eax" },
    { 32, "66ff20", "jmpw   *(%eax)", "jmp    WORD PTR [eax]" },
    { 32, "ff18", "lcall  *(%eax)", "call   FWORD PTR [eax]" },
    { 16, "ea785634 12", "ljmp   $0x1234,$0x5678", "jmp    0x1234:0x5678" },
    { 16, "66ea785634121000", "ljmpl  $0x10,$0x12345678", "jmp    0x10:0x12345678" },
    { 32, "66cb", "lretw", "retfw" },
    { 32, "66cf", "iretw", "iretw" },
    { 32, "c20400", "ret    $0x4", "ret    0x4" },
    { 32, "f1", "int1", "int1" },
    { 32, "0f09", "wbinvd", "wbinvd" },
    { 32, "cd80", "int    $0x80", "int    0x80" },
    { 32, "d6", "salc", "salc" },
    { 32, "8ed8", "mov    %eax,%ds", "mov    ds,eax" },
    { 32, "8c18", "mov    %ds,(%eax)", "mov    WORD PTR [eax],ds" },
    { 32, "c500", "lds    (%eax),%eax", "lds    eax,FWORD PTR [eax]" },
    { 32, "0f0110", "lgdtl  (%eax)", "lgdtd  [eax]" },
    { 16, "0f0118", "lidtw  (%bx,%si)", "lidtw  [bx+si]" },
    { 32, "0f0138", "invlpg (%eax)", "invlpg BYTE PTR [eax]" },
    { 32, "0f00d0", "lldt   %ax", "lldt   ax" },
    { 32, "0f02c1", "lar    %ecx,%eax", "lar    eax,ecx" },
    { 32, "0f22d8", "mov    %eax,%cr3", "mov    cr3,eax" },
    { 32, "0f21f8", "mov    %db7,%eax", "mov    eax,dr7" },
    { 32, "f00fc708", "lock cmpxchg8b (%eax)", "lock cmpxchg8b QWORD PTR [eax]" },
    { 32, "0f1f4000", "nopl   0x0(%eax)", "nop    DWORD PTR [eax+0x0]" },
    { 32, "0fff00", "ud0    (%eax),%eax", "ud0    eax,DWORD PTR [eax]" },
    { 32, "d800", "fadds  (%eax)", "fadd   DWORD PTR [eax]" },
    { 32, "dce1", "fsub   %st,%st(1)", "fsubr  st(1),st" },
    { 32, "dee9", "fsubrp %st,%st(1)", "fsubp  st(1),st" },
    { 32, "def9", "fdivrp %st,%st(1)", "fdivp  st(1),st" },
    { 32, "d8c1", "fadd   %st(1),%st", "fadd   st,st(1)" },
    { 32, "db28", "fldt   (%eax)", "fld    TBYTE PTR [eax]" },
    { 32, "dd08", "fisttpll (%eax)", "fisttp QWORD PTR [eax]" },
    { 32, "df20", "fbld   (%eax)", "fbld   TBYTE PTR [eax]" },
    { 32, "66d920", "fldenvs (%eax)", "fldenvw [eax]" },
    { 32, "dfe0", "fnstsw %ax", "fnstsw ax" },
    { 32, "dfc3", "ffreep %st(3)", "ffreep st(3)" },
    { 32, "dfd3", "fstp8  %st(3)", "fstp8  st(3)" },
    { 32, "dacb", "fcmove %st(3),%st", "fcmove st,st(3)" },
    { 32, "26 2e 8b00", "es mov %cs:(%eax),%eax", "es mov eax,DWORD PTR cs:[eax]" },
    { 32, "66 40", "inc    %ax", "inc    ax" },
    { 32, "0f28c1", "movaps %xmm1,%xmm0", "movaps xmm0,xmm1" },
    { 32, "660f2900", "movapd %xmm0,(%eax)", "movapd XMMWORD PTR [eax],xmm0" },
    { 32, "0f12c1", "movhlps %xmm1,%xmm0", "movhlps xmm0,xmm1" },
    { 32, "0f1600", "movhps (%eax),%xmm0", "movhps xmm0,QWORD PTR [eax]" },
    { 32, "f20f2a00", "cvtsi2sd (%eax),%xmm0", "cvtsi2sd xmm0,DWORD PTR [eax]" },
    { 32, "f30f2dc1", "cvtss2si %xmm1,%eax", "cvtss2si eax,xmm1" },
    { 32, "0fc2c102", "cmpleps %xmm1,%xmm0", "cmpleps xmm0,xmm1" },
    { 32, "f20fc20009", "cmpsd  $0x9,(%eax),%xmm0", "cmpsd  xmm0,QWORD PTR [eax],0x9" },
    { 32, "0f6000", "punpcklbw (%eax),%mm0", "punpcklbw mm0,DWORD PTR [eax]" },
    { 32, "660f73f904", "pslldq $0x4,%xmm1", "pslldq xmm1,0x4" },
    { 32, "0fc4c103", "pinsrw $0x3,%ecx,%mm0", "pinsrw mm0,ecx,0x3" },
    { 32, "0fae38", "clflush (%eax)", "clflush BYTE PTR [eax]" },
    { 32, "0fae10", "ldmxcsr (%eax)", "ldmxcsr DWORD PTR [eax]" },
    { 32, "0f77", "emms", "emms" },
    { 32, "0ff7c1", "maskmovq %mm1,%mm0", "maskmovq mm0,mm1" },
    { 32, "66 00c0", "data16 add %al,%al", "data16 add al,al" },
};

static void test_text(void **unused) {
    (void)unused;
    for (unsigned i = 0; i < ARRAY_LEN(text_cases); i++) {
        const TextCase *c = &text_cases[i];
        Insn in = good(c->hex, c->bits);
        u8 bytes[64];
        char text[100];
        assert_int_equal(in.length, hex_bytes(c->hex, bytes));
        int n = isa_format(&in, 0x1000, ISA_ATT, text, sizeof text);
        assert_string_equal(text, c->att);
        assert_int_equal(n, strlen(text));
        isa_format(&in, 0x1000, ISA_INTEL, text, sizeof text);
        assert_string_equal(text, c->intel);
    }
}

static void test_text_fits_buffer(void **unused) {
    (void)unused;
    Insn in = good("f3a5", 32);
    char whole[100], text[100];
    isa_format(&in, 0, ISA_ATT, whole, sizeof whole);
    for (unsigned size = 0; size < strlen(whole) + 1; size++) {
        memset(text, '#', sizeof text);
        int n = isa_format(&in, 0, ISA_ATT, text, size);
        assert_int_equal(n, size ? size - 1 : 0);
        assert_memory_equal(text, whole, n);
        assert_int_equal(text[size], '#');
    }
}

// --- Fields --------------------------------------------------------------------------------------

static void check_op(const Insn *in, unsigned i, unsigned kind, unsigned reg, unsigned size,
                     u32 imm) {
    const IsaOperand *o = &in->op[i];
    assert_true(i < in->operand_count);
    assert_int_equal(o->kind, kind);
    assert_int_equal(o->reg, reg);
    assert_int_equal(o->size, size);
    assert_int_equal(o->imm, imm);
}

static void check_address(const char *hex, unsigned bits, unsigned seg, unsigned base,
                          unsigned index, unsigned scale, u32 disp) {
    Insn in = good(hex, bits);
    if (in.seg != seg || in.base != base || in.index != index || in.scale != scale
        || in.disp != disp)
        fail_msg("'%s': seg %u base %u index %u scale %u disp %x", hex, in.seg, in.base, in.index,
                 in.scale, in.disp);
}

static void test_addresses(void **unused) {
    (void)unused;
    enum { NO = ISA_NO_REG };
    check_address("8b00", 32, 3, 0, NO, 0, 0);
    check_address("8b4500", 32, 2, 5, NO, 0, 0);              // EBP: SS
    check_address("8b442408", 32, 2, 4, NO, 0, 8);            // ESP: SS
    check_address("8b04ad00000000", 32, 3, NO, 5, 2, 0);      // EBP as index: DS
    check_address("8b442d80", 32, 2, 5, 5, 0, 0xffffff80);
    check_address("8b0530000000", 32, 3, NO, NO, 0, 0x30);
    check_address("3e8b4500", 32, 3, 5, NO, 0, 0);            // override beats the default
    check_address("2e648b4500", 32, 4, 5, NO, 0, 0);          // the last one counts
    check_address("642e8b4500", 32, 1, 5, NO, 0, 0);
    check_address("8b00", 16, 3, 3, 6, 0, 0);                 // BX+SI
    check_address("8b02", 16, 2, 5, 6, 0, 0);                 // BP+SI: SS
    check_address("8b04", 16, 3, 6, NO, 0, 0);                // SI
    check_address("8b4680", 16, 2, 5, NO, 0, 0xffffff80);     // BP
    check_address("8b063412", 16, 3, NO, NO, 0, 0x1234);
    check_address("8b8700f0", 16, 3, 3, NO, 0, 0xfffff000);
    check_address("678b00", 32, 3, 3, 6, 0, 0);
    check_address("678b0424", 16, 2, 4, NO, 0, 0);
    check_address("a178563412", 32, 3, NO, NO, 0, 0x12345678);
    check_address("26a17856", 16, 0, NO, NO, 0, 0x5678);
    check_address("64a5", 32, 4, NO, NO, 0, 0);
    check_address("a5", 32, 3, NO, NO, 0, 0);
    check_address("65d7", 32, 5, NO, NO, 0, 0);
}

static void test_operands(void **unused) {
    (void)unused;
    Insn in = good("88e3", 32);                              // mov %ah,%bl
    check_op(&in, 0, ISA_REG, 3, 1, 0);
    check_op(&in, 1, ISA_REG, 0, 1, 0);
    assert_int_equal(in.op[0].high, 0);
    assert_int_equal(in.op[1].high, 1);
    assert_int_equal(in.opsize, 1);
    in = good("6683c0ff", 32);
    check_op(&in, 1, ISA_IMM, 0, 2, 0xffff);
    assert_int_equal(in.opsize, 2);
    in = good("cdff", 32);
    check_op(&in, 0, ISA_IMM, 0, 1, 0xff);
    in = good("ebfe", 16);
    check_op(&in, 0, ISA_REL, 0, 1, 0xfffffffe);
    in = good("e900f0", 16);
    check_op(&in, 0, ISA_REL, 0, 2, 0xfffff000);
    in = good("9a785634121000", 32);
    check_op(&in, 0, ISA_FAR, 0, 6, 0x12345678);
    assert_int_equal(in.imm2, 0x10);
    in = good("c834120f", 32);
    check_op(&in, 0, ISA_IMM, 0, 2, 0x1234);
    check_op(&in, 1, ISA_IMM, 0, 1, 15);
    in = good("d1e0", 32);
    check_op(&in, 1, ISA_IMM, 0, 1, 1);
    in = good("ff28", 32);
    check_op(&in, 0, ISA_MEM, 0, 6, 0);
    in = good("0f0000", 32);                                 // sldt to memory: 2 bytes
    check_op(&in, 0, ISA_MEM, 0, 2, 0);
    in = good("0f00c1", 32);                                 // to a register: operand size
    check_op(&in, 0, ISA_REG, 1, 4, 0);
    in = good("8d00", 32);
    check_op(&in, 1, ISA_MEM, 0, 0, 0);
    in = good("0f20d8", 16);                                 // always 32 bits
    check_op(&in, 0, ISA_REG, 0, 4, 0);
    check_op(&in, 1, ISA_CR, 3, 4, 0);
    in = good("0f2018", 32);                                 // ModRM.mod ignored
    assert_int_equal(in.length, 3);
    check_op(&in, 0, ISA_REG, 0, 4, 0);
    in = good("aa", 32);
    check_op(&in, 0, ISA_STR_DST, 0, 1, 0);
    assert_int_equal(in.opsize, 1);
    in = good("ee", 32);                                     // out %al,(%dx)
    assert_int_equal(in.opsize, 1);
    in = good("0fb6c0", 32);                                 // movzbl: 4, not 1
    assert_int_equal(in.opsize, 4);
    in = good("66dd20", 32);
    check_op(&in, 0, ISA_MEM, 0, 94, 0);
    in = good("d9e8", 32);
    assert_int_equal(in.opcode, 0xd9);
    assert_int_equal(in.modrm, 0xe8);
}

static void test_conditions(void **unused) {
    (void)unused;
    Insn in = good("7500", 32);
    assert_int_equal(isa_cc(&in), 5);
    in = good("0f8f00000000", 32);
    assert_int_equal(isa_cc(&in), 15);
    in = good("0f92c0", 32);
    assert_int_equal(isa_cc(&in), 2);
    in = good("0f4dc0", 32);
    assert_int_equal(isa_cc(&in), 13);
}

static void check_lifter(const char *hex, IsaLifter lifter, IsaSub sub) {
    Insn in = good(hex, 32);
    if (isa_row(&in)->lifter != lifter || isa_row(&in)->sub != sub)
        fail_msg("'%s' is row %s", hex, isa_row(&in)->id);
}

static void test_lifters(void **unused) {
    (void)unused;
    check_lifter("83f801", ISA_LIFT_ALU, ISA_SUB_CMP);
    check_lifter("d1d8", ISA_LIFT_SHIFT, ISA_SUB_RCR);
    check_lifter("f7f8", ISA_LIFT_MUL1, ISA_SUB_IDIV);
    check_lifter("0fbaf801", ISA_LIFT_BT, ISA_SUB_BTC);
    check_lifter("87c0", ISA_LIFT_XCHG, ISA_SUB_NONE);
    check_lifter("90", ISA_LIFT_NOP, ISA_SUB_NONE);
    check_lifter("0fb400", ISA_LIFT_LDS, ISA_SUB_FS);
    check_lifter("f4", ISA_LIFT_SYSTEM, ISA_SUB_HLT);
    check_lifter("d918", ISA_LIFT_FPU_MEM, ISA_SUB_STORE);
    check_lifter("d818", ISA_LIFT_FPU_MEM, ISA_SUB_LOAD);
    check_lifter("ff30", ISA_LIFT_PUSH, ISA_SUB_NONE);
    check_lifter("ffe0", ISA_LIFT_JMP_IND, ISA_SUB_NONE);
}

static void test_prefixes(void **unused) {
    (void)unused;
    assert_int_equal(good("f3f2a6", 32).prefixes, ISA_REPNE);
    assert_int_equal(good("f2f3a6", 32).prefixes, ISA_REP);
    Insn in = good("6667648b07", 32);
    assert_int_equal(in.prefixes, ISA_OPSIZE | ISA_ADSIZE | ISA_SEGOVR);
    assert_int_equal(in.opsize, 2);
    assert_int_equal(in.addrsize, 2);
    in = good("676666648b07", 16);                  // twice is once
    assert_int_equal(in.opsize, 4);
    assert_int_equal(in.addrsize, 4);
    assert_int_equal(good("f0ff00", 32).prefixes, ISA_LOCK);
}

// --- Status --------------------------------------------------------------------------------------

static void check_status(const char *hex, unsigned bits, IsaStatus expected) {
    Insn in;
    IsaStatus status = decode_hex(hex, bits, &in);
    if (status != expected)
        fail_msg("'%s' (%u bits): status %d, expected %d", hex, bits, status, expected);
}

static void test_undefined(void **unused) {
    (void)unused;
    static const char *const undefined[] = {
        "8ec8", "8ef0", "8cf8",                 // mov to CS; segment registers 6, 7
        "0f20c8", "0f22e8",                     // CR1, CR5
        "8dc0", "62c0", "c5c0", "0fb2c0",       // memory operands only
        "0f01c0", "0f01f8", "0fc7c8", "ffd8", "ffe8",
        "fed0", "fff8", "c6c801", "8fc8", "0fbac001", "d9d1", "d9e2", "d9ef",
        "0f05", "0f24c0", "0f0a", "0fae20", "660fae00", "0f6c00", "f20f1400", "0f710000", "0f71c000",
        "0fd6c1", "660f12c1", "f30f2bc1", "0fe7c1", "0f50 00", "0fc500 01", "0f7800", "f20ff0c1",
        // LOCK: only with a memory destination, only these instructions
        "f001c0", "f08b00", "f03800", "f08900", "f090", "f0a4", "f00fa300", "f0c1e001", "f08500",
        "f0d000", "f00fb600", "f0ff30", "f00340 00",
    };
    for (unsigned i = 0; i < ARRAY_LEN(undefined); i++)
        check_status(undefined[i], 32, ISA_UNDEFINED);
    // What the opcode has is fetched: ModRM, displacement, immediate.
    static const char *const short_of[] = {
        "660fae", "f20f28", "f30f2805000000", "0f7100", "f20fc6c0", "c6c8", "66c7c801",
    };
    for (unsigned i = 0; i < ARRAY_LEN(short_of); i++)
        check_status(short_of[i], 32, ISA_NEED_MORE);
    static const char *const fine[] = {
        "f00100", "f03001", "f0f710", "f0f718", "f0fe00", "f00fab00", "f00fba2801", "f00fb100",
        "f00fc100", "f08600", "f00fc708", "f08320 01",
    };
    for (unsigned i = 0; i < ARRAY_LEN(fine); i++)
        check_status(fine[i], 32, ISA_OK);
}

static void test_length_limit(void **unused) {
    (void)unused;
    check_status("2e2e2e2e2e2e2e2e2e2e 05 78563412", 32, ISA_OK);           // 15
    check_status("2e2e2e2e2e2e2e2e2e2e2e 05 78563412", 32, ISA_TOO_LONG);   // 16
    check_status("2e2e2e2e2e2e2e2e2e2e2e2e2e2e 90", 32, ISA_OK);
    check_status("2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e 90", 32, ISA_TOO_LONG);
    check_status("2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e", 32, ISA_TOO_LONG);
    check_status("2e2e2e2e2e2e2e2e2e2e2e2e2e2e", 32, ISA_NEED_MORE);
}

// Every text case with fewer bytes than it has wants more, and with exactly its bytes is the same.
static void test_need_more(void **unused) {
    (void)unused;
    for (unsigned i = 0; i < ARRAY_LEN(text_cases); i++) {
        u8 bytes[64] = { 0 };
        Insn in;
        unsigned n = hex_bytes(text_cases[i].hex, bytes);
        for (unsigned given = 0; given < n; given++) {
            u8 *exact = malloc(given ? given : 1);          // sanitisers see a read beyond
            memcpy(exact, bytes, given);
            IsaStatus status = isa_decode(exact, given, text_cases[i].bits == 32, &in);
            free(exact);
            assert_int_equal(status, ISA_NEED_MORE);
        }
        memset(bytes + n, 0xff, sizeof bytes - n);
        assert_int_equal(isa_decode(bytes, sizeof bytes, text_cases[i].bits == 32, &in), ISA_OK);
        assert_int_equal(in.length, n);
        assert_memory_equal(in.bytes, bytes, n);
    }
}

// --- Rows ----------------------------------------------------------------------------------------

static void test_rows(void **unused) {
    (void)unused;
    assert_true(isa_row_count > 400);
    for (unsigned i = 1; i < isa_row_count; i++) {
        const IsaRow *r = &isa_rows[i];
        u32 all = r->flags_read | r->flags_written | r->flags_undefined;
        if (all & ~FLAG_OSZAPC || r->flags_written & r->flags_undefined)
            fail_msg("row %s: flag masks", r->id);
        if (r->lifter == ISA_LIFT_NONE || r->lifter >= ISA_LIFTER_COUNT || r->sub >= ISA_SUB_COUNT)
            fail_msg("row %s: lifter", r->id);
        if (r->attr & ISA_A_COND && !r->flags_written)
            fail_msg("row %s: conditional, but writes no flags", r->id);
        for (const char *c = r->mnemonic; *c; c++)
            if (!islower((u8)*c) && !isdigit((u8)*c))
                fail_msg("row %s: mnemonic '%s'", r->id, r->mnemonic);
        for (unsigned j = 0; j < i; j++)
            if (strcmp(isa_rows[j].id, r->id) == 0)
                fail_msg("two rows %s", r->id);
    }
}

static void test_every_row_is_found(void **unused) {
    (void)unused;
    u8 *found = calloc(isa_row_count, 1);
    for (unsigned i = 0; i < ISA_INDEX_LEN; i++)
        if (isa_index[i] <= ISA_INDEX_VALUE)
            found[isa_index[i]] = 1;
    for (unsigned i = 0; i < isa_row_count; i++)
        if (!found[i])
            fail_msg("row %s is not in the index", isa_rows[i].id);
    free(found);
}

static const IsaRow *row_of(const char *hex) {
    Insn in = good(hex, 32);
    return isa_row(&in);
}

static void test_flags(void **unused) {
    (void)unused;
    assert_int_equal(row_of("01d8")->flags_written, FLAG_OSZAPC);
    assert_int_equal(row_of("11d8")->flags_read, FLAG_CF);
    assert_int_equal(row_of("21d8")->flags_undefined, FLAG_AF);
    assert_int_equal(row_of("40")->flags_written, FLAG_OSZAP);
    assert_int_equal(row_of("7e00")->flags_read, FLAG_OF | FLAG_SF | FLAG_ZF);
    assert_int_equal(row_of("7700")->flags_read, FLAG_CF | FLAG_ZF);
    assert_int_equal(row_of("f7f0")->flags_undefined, FLAG_OSZAPC);
    assert_int_equal(row_of("d3e0")->flags_undefined, FLAG_OF | FLAG_AF);
    assert_true(row_of("d3e0")->attr & ISA_A_COND);
    assert_false(row_of("d1e0")->attr & ISA_A_COND);
    assert_int_equal(row_of("d1d0")->flags_read, FLAG_CF);
    assert_int_equal(row_of("89d8")->flags_written, 0);
    assert_int_equal(row_of("0fbcc0")->flags_written, FLAG_ZF);
    assert_int_equal(row_of("0fa3c0")->flags_written, FLAG_CF);
    assert_int_equal(row_of("dbf1")->flags_written, FLAG_OSZAPC);
    assert_true(row_of("0f22c0")->attr & ISA_A_END);
    assert_true(row_of("f4")->attr & ISA_A_PRIV);
    assert_true(row_of("0f00d0")->attr & ISA_A_PE);
    assert_true(row_of("eb00")->attr & ISA_A_JUMP);
}

// --- Random bytes --------------------------------------------------------------------------------

static void check_random(u64 *seed, bool code32) {
    u8 bytes[ISA_MAX_BYTES];
    char text[128];
    Insn in;
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = random_next(seed);
    if (random_next(seed) % 4 == 0)
        bytes[0] = 0x0f;
    IsaStatus status = isa_decode(bytes, sizeof bytes, code32, &in);
    assert_true(status == ISA_OK || status == ISA_UNDEFINED || status == ISA_TOO_LONG);
    if (status != ISA_OK)
        return;
    assert_in_range(in.length, 1, ISA_MAX_BYTES);
    assert_true(in.row < isa_row_count && in.operand_count <= 4);
    assert_in_range(isa_format(&in, 0x1000, ISA_ATT, text, sizeof text), 2, sizeof text - 2);
    assert_in_range(isa_format(&in, 0x1000, ISA_INTEL, text, sizeof text), 2, sizeof text - 2);
    assert_null(strchr(text, '?'));
    Insn again;
    assert_int_equal(isa_decode(bytes, in.length, code32, &again), ISA_OK);
    memcpy(again.bytes, in.bytes, sizeof in.bytes);
    assert_memory_equal(&in, &again, sizeof in);
}

static void test_random_bytes(void **unused) {
    (void)unused;
    u64 seed = fuzz_state(1), count = fuzz_count(200000);
    for (u64 i = 0; i < count; i++)
        check_random(&seed, i & 1);
}

// --- objdump -------------------------------------------------------------------------------------
// Each case sits in a slot of 32 bytes: 16 of prefixes, opcode, ModRM and noise, then 16 NOPs, so
// that objdump is in step again at the next slot whatever it makes of this one.

enum { SLOT_BYTES = 32 };

static const char *const slot_prefixes[] = {
    "", "", "", "", "66", "67", "6667", "f0", "f2", "f3", "2e", "36", "64", "3e", "66f3", "6466",
    "262e", "6666", "6567f0", "6767", "f36664",
};

static void slot_fill(u8 *slot, unsigned map, unsigned opcode, u64 *seed) {
    static const u8 corners[4] = { 0, 0xff, 0x7f, 0x80 };
    memset(slot, 0x90, SLOT_BYTES);
    unsigned n = hex_bytes(slot_prefixes[random_next(seed) % ARRAY_LEN(slot_prefixes)], slot);
    if (map)
        slot[n++] = 0x0f;
    slot[n++] = opcode;
    slot[n++] = random_next(seed);
    for (; n < 16; n++)
        slot[n] = random_next(seed) % 3 ? random_next(seed) : corners[random_next(seed) % 4];
}

static bool is_prefix(u8 byte) {
    return memchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", byte, 11) != NULL;
}

static bool skip_0f(const u8 *p, bool rep, bool opsize) {
    u8 op = p[0], modrm = p[1];
    if (op == 0xae)             // XSAVE, CLWB, RDFSBASE and the like
        return rep || opsize || (modrm < 0xc0 && (modrm >> 3 & 7) >= 4 && (modrm >> 3 & 7) <= 6)
            || (modrm >= 0xe8 && modrm & 7);
    if ((op == 0xd6 && rep && opsize) || (op == 0xd7 && rep))
        return true;
    if (op <= 0x0f)
        return op == 0x04 || op == 0x05 || op == 0x07 || op >= 0x0d
            || op == 0x09 || (op == 0x01 && (modrm >= 0xc0 || rep));
    if (op == 0x20 || op == 0x22)
        return !(0x1d >> (modrm >> 3 & 7) & 1);
    if (op < 0x80)
        return (op >= 0x18 && op < 0x20) || (op >= 0x24 && op < 0x28) || (op == 0x2b && rep)
            || (op >= 0x36 && op < 0x40) || (op >= 0x78 && op < 0x7c);
    return op == 0xa6 || op == 0xa7
        || (op == 0xc7 && (modrm >= 0xc0 || (modrm >> 3 & 7) != 1))
        || (rep && (op == 0xb8 || op == 0xbc || op == 0xbd));
}

// The differences that the head of this file lists.
static bool skip_case(const u8 *slot, const char *theirs, IsaStatus status, const Insn *in) {
    const u8 *p = slot;
    bool rep = false, lock = false, opsize = false;
    for (; is_prefix(*p); p++) {
        rep |= *p == 0xf2 || *p == 0xf3;
        opsize |= *p == 0x66;
        lock |= *p == 0xf0;
    }
    if (strstr(theirs, "(bad)") && status != ISA_OK)
        return true;
    if (strstr(theirs, "bnd") || strstr(theirs, "notrack") || strstr(theirs, "xacquire")
        || strstr(theirs, "xrelease"))
        return true;
    if (lock && status == ISA_UNDEFINED)
        return true;
    if (status == ISA_OK && in->addrsize == 2 && in->base == ISA_NO_REG && in->disp >> 31)
        return true;
    if (p[0] == 0x0f)
        return skip_0f(p + 1, rep, opsize);
    bool register_form = p[1] >= 0xc0;
    switch (p[0]) {
    case 0x62: case 0xc4: case 0xc5: return register_form;
    case 0x8c: case 0x8e: return status == ISA_UNDEFINED;
    case 0x8f: return p[1] & 0x38;
    case 0xc6: case 0xc7: return p[1] == 0xf8;
    case 0xd6: case 0x9b: return true;
    case 0xd9: case 0xdc: case 0xdd: case 0xde: case 0xdf:
        return register_form && strstr(theirs, "(bad)");
    case 0xdb: return p[1] >= 0xe0 && p[1] <= 0xe5;
    }
    return false;
}

// Equal, or equal but for the upper half of a 16-bit branch's target.
static bool same_text(const char *ours, const char *theirs, const Insn *in) {
    if (strcmp(ours, theirs) == 0)
        return true;
    if (in->op[0].kind != ISA_REL || in->opsize != 2)
        return false;
    const char *a = strstr(ours, "0x"), *b = strstr(theirs, "0x");
    return a && b && a - ours == b - theirs && memcmp(ours, theirs, a - ours) == 0
        && (u16)strtoul(a, NULL, 16) == (u16)strtoul(b, NULL, 16);
}

// Reads the next line of objdump's that starts a slot: " addr:\tbytes\ttext". False at the end.
static bool next_slot_line(FILE *pipe, u32 *address, unsigned *length, char *text,
                           size_t text_bytes) {
    char line[512];
    while (fgets(line, sizeof line, pipe)) {
        char *bytes = strchr(line, '\t');
        char *words = bytes ? strchr(bytes + 1, '\t') : NULL;
        if (!words || sscanf(line, "%x:", address) != 1 || *address % SLOT_BYTES)
            continue;
        *length = 0;
        for (char *c = bytes + 1; c < words; c++)
            *length += isxdigit((u8)c[0]) && isxdigit((u8)c[1]) ? (c++, 1) : 0;
        size_t n = strcspn(words + 1, "\n");
        while (n && words[n] == ' ')
            n--;
        snprintf(text, text_bytes, "%.*s", (int)n, words + 1);
        return true;
    }
    return false;
}

static void slot_hex(const u8 *slot, char *hex) {
    for (unsigned i = 0; i < ISA_MAX_BYTES; i++)
        sprintf(hex + i * 2, "%02x", slot[i]);
}

static unsigned compare_slot(const u8 *slot, u32 address, unsigned length, const char *theirs,
                             unsigned bits, IsaSyntax syntax) {
    Insn in;
    char ours[128] = "", hex[2 * ISA_MAX_BYTES + 1];
    IsaStatus status = isa_decode(slot, ISA_MAX_BYTES, bits == 32, &in);
    if (status == ISA_OK)
        isa_format(&in, address, syntax, ours, sizeof ours);
    if (skip_case(slot, theirs, status, &in))
        return 0;
    if (status == ISA_OK && in.length == length && same_text(ours, theirs, &in))
        return 0;
    slot_hex(slot, hex);
    print_error("%s (%u bits, %s): objdump %u '%s', glassbox %u '%s' (status %d)\n", hex, bits,
                syntax == ISA_ATT ? "AT&T" : "Intel", length, theirs, in.length, ours, status);
    return 1;
}

static u8 *make_slots(unsigned cases_per_opcode, u64 *seed, unsigned *slot_count) {
    *slot_count = 2 * 256 * cases_per_opcode;
    u8 *slots = malloc((size_t)*slot_count * SLOT_BYTES);
    unsigned n = 0;
    for (unsigned map = 0; map < 2; map++)
        for (unsigned op = 0; op < 256; op++)
            for (unsigned i = 0; i < cases_per_opcode; i++) {
                bool plain = map == 1 || (op != 0x0f && !is_prefix(op));
                slot_fill(slots + (size_t)n++ * SLOT_BYTES, map, plain ? op : 0x90, seed);
            }
    return slots;
}

static unsigned compare_all(unsigned bits, IsaSyntax syntax, u64 *seed) {
    char path[] = "/tmp/glassbox-isa-XXXXXX", command[256], theirs[512];
    unsigned slot_count, differences = 0, lines = 0, length;
    u8 *slots = make_slots((unsigned)fuzz_count(15360) / 512 + 1, seed, &slot_count);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "wb");
    assert_int_equal(fwrite(slots, SLOT_BYTES, slot_count, file), slot_count);
    fclose(file);
    snprintf(command, sizeof command, "objdump -D -w -z -b binary --insn-width=32 -m %s %s %s",
             bits == 32 ? "i386" : "i8086", syntax == ISA_INTEL ? "-Mintel" : "", path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    for (u32 address; next_slot_line(pipe, &address, &length, theirs, sizeof theirs); lines++)
        if (differences < 20)
            differences += compare_slot(slots + address, address, length, theirs, bits, syntax);
    pclose(pipe);
    unlink(path);
    free(slots);
    assert_int_equal(lines, slot_count);
    return differences;
}

static void test_objdump(void **unused) {
    (void)unused;
    if (system("objdump --version >/dev/null 2>&1") != 0)
        skip();
    u64 seed = fuzz_state(1);
    unsigned differences = 0;
    differences += compare_all(32, ISA_ATT, &seed);
    differences += compare_all(16, ISA_ATT, &seed);
    differences += compare_all(32, ISA_INTEL, &seed);
    differences += compare_all(16, ISA_INTEL, &seed);
    assert_int_equal(differences, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_fits_buffer),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_operands),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_lifters),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_undefined),
        cmocka_unit_test(test_length_limit),
        cmocka_unit_test(test_need_more),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_every_row_is_found),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_objdump),
    };
    return cmocka_run_group_tests_name("isa", tests, NULL, NULL);
}
