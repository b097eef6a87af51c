// SPDX-License-Identifier: MIT
// 32-bit user code on the bare host: see hostcpu.h.
//
//  1. The context page lies at a fixed low address, so that 64-bit code reaches it without a register.
//  2. Entry: FXRSTOR, segment registers, flags, general registers, far jump; all from the context.
//  3. Exit: a signal. The handler first undoes what C code cannot stand (AC set, FS loaded), copies the
//     frame, and goes on behind the entry instead of returning from the signal; the kernel has reset the x87
//     and MXCSR by then.
//  4. Between loading FS and the handler's first instructions there is no thread-local storage.
#define _GNU_SOURCE
#include "hostcpu.h"

#include <asm/ldt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { CONTEXT_BYTES = 0x1000, SIGNAL_STACK_BYTES = 0x10000, HWCAP2_HAS_FSGSBASE = 2 };
enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };
enum { ES, CS, SS, DS, FS, GS };

typedef struct Context {
    u64 fs_base, running;          // ORDER: host_signal_entry
    u16 fs_out, gs_out;
    u16 seg[6];
    u32 regs[8], entry_offset;     // ORDER: entry_offset and its selector are a far pointer
    u16 far_selector;
    u64 rsp, resume, flags;
    FxImage fx;
    State *state;                  // where the outcome goes
    u8 *signal_stack;
    stack_t old_stack;
    struct sigaction old[5];
} Context;
_Static_assert(sizeof(Context) <= CONTEXT_BYTES, "one page");
_Static_assert(offsetof(Context, running) == 8 && offsetof(Context, fs_out) == 16, "host_signal_entry");
_Static_assert(offsetof(Context, gs_out) == 18 && HOST_CONTEXT == 0x1ff00000, "host_signal_entry");
_Static_assert(offsetof(Context, far_selector) == offsetof(Context, entry_offset) + 4, "a far pointer");
#define context ((Context *)(uintptr_t)HOST_CONTEXT)
#define ABS(field) (HOST_CONTEXT + (u32)offsetof(Context, field))

static const int host_signals[5] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };

bool hostcpu_is_running(void) { return context->running; }

// ---- exit -----------------------------------------------------------------------------------------
static void host_take(State *state, const ucontext_t *uc) {
    static const u8 greg[8] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI };
    const greg_t *g = uc->uc_mcontext.gregs;
    for (unsigned r = 0; r < 8; r++) state->regs[r] = (u32)g[greg[r]];
    state->eip = (u32)g[REG_RIP];
    state->eflags = (u32)g[REG_EFL];
    state->seg[CS] = (u16)g[REG_CSGSFS];
    state->seg[SS] = (u16)(g[REG_CSGSFS] >> 48);
    __asm__ volatile("mov %%ds, %0\n\tmov %%es, %1" : "=m"(state->seg[DS]), "=m"(state->seg[ES]));
    state->seg[FS] = context->fs_out;
    state->seg[GS] = context->gs_out;
    state->vector = (u8)g[REG_TRAPNO];
    state->error = (u32)g[REG_ERR];
    state->cr2 = (u32)g[REG_CR2];
    memcpy(&state->fx, uc->uc_mcontext.fpregs, sizeof state->fx);
}

// Called by host_signal_entry. A signal of the test's own code comes again, for who was there before.
__attribute__((used, no_sanitize("address", "undefined")))
static void host_on_signal(int number, siginfo_t *info, void *frame) {
    (void)info;
    if (!context->running) {
        for (unsigned i = 0; i < ARRAY_LEN(host_signals); i++)
            if (host_signals[i] == number) sigaction(number, &context->old[i], NULL);
        return;
    }
    host_take(context->state, frame);
    context->running = 0;
    __asm__ volatile("mov %c[rsp], %%rsp\n\tjmp *%c[resume]" :: [rsp] "i"(ABS(rsp)), [resume] "i"(ABS(resume)));
    __builtin_unreachable();
}

void host_signal_entry(int number, siginfo_t *info, void *frame);
__asm__(".pushsection .text\n"
        "host_signal_entry:\n"
        "    pushfq\n    andl $~0x40000, (%rsp)\n    popfq\n"              // AC
        "    cmpl $0, 0x1ff00008\n    je 1f\n"                              // running
        "    mov 0x1ff00000, %rax\n    mov %fs, 0x1ff00010\n    mov %gs, 0x1ff00012\n    wrfsbase %rax\n"
        "1:  jmp host_on_signal\n"
        ".popsection");

// ---- entry ----------------------------------------------------------------------------------------
__attribute__((noinline, no_sanitize("address"))) static void host_go(void) {
    __asm__ volatile(
        "push %%rbp\n push %%rbx\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n"
        "lea 1f(%%rip), %%rax\n mov %%rax, %c[resume]\n mov %%rsp, %c[rsp]\n"
        "rdfsbase %%rax\n mov %%rax, %c[fs_base]\n"
        "fxrstor %c[fx]\n"
        "movl $1, %c[running]\n"
        "mov %c[seg], %%es\n mov %c[seg]+6, %%ds\n mov %c[seg]+8, %%fs\n mov %c[seg]+10, %%gs\n"
        "mov $%c[flags], %%esp\n mov %c[seg]+4, %%ss\n popfq\n"
        "mov %c[regs], %%eax\n mov %c[regs]+4, %%ecx\n mov %c[regs]+8, %%edx\n mov %c[regs]+12, %%ebx\n"
        "mov %c[regs]+16, %%esp\n mov %c[regs]+20, %%ebp\n mov %c[regs]+24, %%esi\n mov %c[regs]+28, %%edi\n"
        "ljmp *%c[far]\n"
        "1: xor %%eax, %%eax\n mov %%eax, %%ds\n mov %%eax, %%es\n mov %%eax, %%fs\n mov %%eax, %%gs\n"
        "mov %c[fs_base], %%rax\n wrfsbase %%rax\n"
        "pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbx\n pop %%rbp\n"
        :: [resume] "i"(ABS(resume)), [rsp] "i"(ABS(rsp)), [fs_base] "i"(ABS(fs_base)), [fx] "i"(ABS(fx)),
           [running] "i"(ABS(running)), [seg] "i"(ABS(seg)), [flags] "i"(ABS(flags)), [regs] "i"(ABS(regs)),
           [far] "i"(ABS(entry_offset))
        : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
          "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory",
          "cc");
}

void hostcpu_run(State *state) {
    Context *c = context;
    c->state = state;
    c->fx = state->fx;
    memcpy(c->regs, state->regs, sizeof c->regs);
    memcpy(c->seg, state->seg, sizeof c->seg);
    c->flags = state->eflags;
    c->entry_offset = state->eip;
    c->far_selector = state->seg[CS];
    host_go();
}

// ---- life -----------------------------------------------------------------------------------------
static void host_install(void) {
    Context *c = context;
    c->signal_stack = malloc(SIGNAL_STACK_BYTES);
    stack_t stack = { .ss_sp = c->signal_stack, .ss_size = SIGNAL_STACK_BYTES };
    sigaltstack(&stack, &c->old_stack);
    struct sigaction sa = { .sa_sigaction = host_signal_entry, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    sigemptyset(&sa.sa_mask);
    for (unsigned i = 0; i < ARRAY_LEN(host_signals); i++) sigaction(host_signals[i], &sa, &c->old[i]);
}

static void host_remove(void) {
    Context *c = context;
    for (unsigned i = 0; i < ARRAY_LEN(host_signals); i++) sigaction(host_signals[i], &c->old[i], NULL);
    sigaltstack(&c->old_stack, NULL);
    free(c->signal_stack);
}

// In a child, which may die of it: INT3 in the context page's last bytes.
static bool host_works(void) {
    pid_t child = fork();
    if (child == 0) {
        u32 at = HOST_CONTEXT + CONTEXT_BYTES - 2;
        State state = { .eflags = 0x202, .eip = at,
                        .seg = { SEL_USER_DATA, SEL_USER_CODE, SEL_USER_DATA, SEL_USER_DATA } };
        *(u8 *)(uintptr_t)at = 0xcc;
        put_le16(state.fx.byte + FX_CW, 0x37f);
        put_le32(state.fx.byte + FX_MXCSR, 0x1f80);
        hostcpu_run(&state);
        _exit(state.vector == 3 && state.eip == at + 1 ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    return status == 0;
}

static void *host_map_at(u32 at, u32 bytes, int rights, int flags, int fd, u32 offset) {
    void *want = (void *)(uintptr_t)at;
    void *got = mmap(want, bytes, rights, flags | MAP_FIXED_NOREPLACE, fd, offset);
    return got == want ? got : NULL;
}

static bool host_segment(unsigned index, const Segment *s) {
    struct user_desc d = { .entry_number = index, .base_addr = s->base, .limit = s->limit, .seg_32bit = s->wide,
                           .contents = s->kind, .read_exec_only = s->restricted, .limit_in_pages = s->pages,
                           .seg_not_present = s->absent };
    return syscall(SYS_modify_ldt, 0x11, &d, sizeof d) == 0;
}

static bool host_segments(void) {
    for (unsigned i = 0; i < SEGMENT_COUNT; i++)
        if (!host_segment(i, &area_segments[i])) return false;
    return true;
}

bool hostcpu_open(void) {
    int rights = PROT_READ | PROT_WRITE | PROT_EXEC;
    if (!(getauxval(AT_HWCAP2) & HWCAP2_HAS_FSGSBASE)) return false;
    if (!host_map_at(HOST_CONTEXT, CONTEXT_BYTES, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) return false;
    host_install();
    if (host_works() && host_segments()) return true;
    hostcpu_close();
    return false;
}

void hostcpu_close(void) {
    host_remove();
    munmap(context, CONTEXT_BYTES);
}

u8 *hostcpu_map_area(void) {
    static const int rights[] = { PROT_NONE, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE, PROT_READ };
    int fd = memfd_create("hostcpu", 0);
    if (fd < 0 || ftruncate(fd, AREA_BYTES)) return NULL;
    u8 *view = mmap(NULL, AREA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    bool good = view != MAP_FAILED;
    for (u32 i = 0; i < AREA_PAGES && good; i++)
        good = host_map_at(AREA + (i << PAGE_SHIFT), PAGE_BYTES, rights[area_pages[i]], MAP_SHARED | MAP_POPULATE, fd,
                           i << PAGE_SHIFT);
    close(fd);
    return good ? view : NULL;
}
