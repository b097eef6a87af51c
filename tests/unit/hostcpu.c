// SPDX-License-Identifier: MIT
// 32-bit code on the bare host: see hostcpu.h.
//
//     CONTEXT            what 32-bit and 64-bit code hand each other, and the code between them
//     CONTEXT + 0x800    to the case: popf; mov in.esp, %esp; jmp eip
//     CONTEXT + 0x900    from its stop: stores the registers, far jump back to 64-bit code
#define _GNU_SOURCE
#include "hostcpu.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CONTEXT = 0x1ff00000, CONTEXT_BYTES = 0x1000,
    ENTRY = CONTEXT + 0x800, EXIT = CONTEXT + 0x900, RETURN64 = CONTEXT + 0xa00,
    SELECTOR_CODE32 = 0x23, SELECTOR_CODE64 = 0x33, SELECTOR_DATA = 0x2b,
};
enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };

typedef struct Context {
    u64 saved_rsp, return64;
    u32 in[8], in_flags, out[8], out_flags, entry_offset;
    u16 entry_selector;
    u32 low, bytes;                           // the mapping of the cases
} Context;
#define context ((Context *)(uintptr_t)CONTEXT)
#define ABS(field) (CONTEXT + (u32)offsetof(Context, field))

static u8 *host_put(u8 *p, const char *bytes, unsigned count, u32 value) {
    memcpy(p, bytes, count);
    put_le32(p + count, value);
    return p + count + 4;
}

static void host_put_jump(u32 from, u32 target) {
    u8 *p = (u8 *)(uintptr_t)from;
    *p = 0xe9;
    put_le32(p + 1, target - (from + 5));
}

static void host_put_exit(void) {
    u8 *p = (u8 *)(uintptr_t)EXIT;
    p = host_put(p, "\x89\x25", 2, ABS(out[ESP]));
    p = host_put(p, "\xbc", 1, ABS(out_flags) + 4);
    p = host_put(p, "\x9c\xfc\xa3", 3, ABS(out[EAX]));        // pushf; cld; mov %eax, out
    p = host_put(p, "\x89\x0d", 2, ABS(out[ECX]));
    p = host_put(p, "\x89\x15", 2, ABS(out[EDX]));
    p = host_put(p, "\x89\x1d", 2, ABS(out[EBX]));
    p = host_put(p, "\x89\x2d", 2, ABS(out[EBP]));
    p = host_put(p, "\x89\x35", 2, ABS(out[ESI]));
    p = host_put(p, "\x89\x3d", 2, ABS(out[EDI]));
    p = host_put(p, "\xea", 1, RETURN64);
    put_le16(p, SELECTOR_CODE64);
    host_put((u8 *)(uintptr_t)RETURN64, "\xff\x24\x25", 3, ABS(return64));   // jmp *return64
}

static void host_put_entry(u32 eip) {
    u8 *p = host_put((u8 *)(uintptr_t)ENTRY, "\xbc", 1, ABS(in_flags));        // mov $, %esp
    *p++ = 0x9d;                                                               // popf
    p = host_put(p, "\x8b\x25", 2, ABS(in[ESP]));
    host_put_jump((u32)(uintptr_t)p, eip);
    context->entry_offset = ENTRY;
    context->entry_selector = SELECTOR_CODE32;
}

__attribute__((noinline, no_sanitize("address"))) static void host_go(void) {
    __asm__ volatile(
        "push %%rbp\n push %%rbx\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n"
        "lea 1f(%%rip), %%rax\n mov %%rax, %c[ret]\n mov %%rsp, %c[rsp]\n"
        "mov %[sel], %%eax\n mov %%eax, %%ds\n mov %%eax, %%es\n"
        "mov %c[in], %%eax\n mov %c[in]+4, %%ecx\n mov %c[in]+8, %%edx\n mov %c[in]+12, %%ebx\n"
        "mov %c[in]+20, %%ebp\n mov %c[in]+24, %%esi\n mov %c[in]+28, %%edi\n"
        "ljmp *%c[far]\n"
        "1: mov %c[rsp], %%rsp\n"
        "pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbx\n pop %%rbp\n"
        :: [ret] "i"(ABS(return64)), [rsp] "i"(ABS(saved_rsp)), [in] "i"(ABS(in)),
           [far] "i"(ABS(entry_offset)), [sel] "i"(SELECTOR_DATA)
        : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
}

void hostcpu_run(HostCpu *cpu) {
    memcpy(context->in, cpu->regs, sizeof cpu->regs);
    context->in_flags = cpu->flags;
    host_put_jump(cpu->stop, EXIT);
    host_put_entry(cpu->eip);
    host_go();
    memcpy(cpu->regs, context->out, sizeof cpu->regs);
    cpu->flags = context->out_flags;
}

static bool host_map(u32 at, u32 bytes) {
    void *want = (void *)(uintptr_t)at;
    return mmap(want, bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == want;
}

// In a child, which may die of it.
static bool host_works(void) {
    pid_t child = fork();
    if (child == 0) {
        HostCpu cpu = { .flags = 0x202, .eip = context->low, .stop = context->low };
        cpu.regs[ESP] = context->low + context->bytes;
        hostcpu_run(&cpu);
        _exit(0);
    }
    int status = 1;
    waitpid(child, &status, 0);
    return status == 0;
}

bool hostcpu_open(u32 low, u32 bytes) {
    if (!host_map(CONTEXT, CONTEXT_BYTES)) return false;
    if (!host_map(low, bytes)) {
        munmap((void *)(uintptr_t)CONTEXT, CONTEXT_BYTES);
        return false;
    }
    context->low = low;
    context->bytes = bytes;
    host_put_exit();
    return host_works();
}

void hostcpu_close(void) {
    munmap((void *)(uintptr_t)context->low, context->bytes);
    munmap((void *)(uintptr_t)CONTEXT, CONTEXT_BYTES);
}
