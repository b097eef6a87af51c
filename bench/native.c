// SPDX-License-Identifier: MIT
// The benchmark as a 32-bit Linux process without libc, on the bare host or under a kernel in a guest: the programs to
// run come in argv[1], the marker lines go to standard output, exit status 0 or 1.

#include "runner.h"

enum { SYS_EXIT = 1, SYS_WRITE = 4, SYS_IOCTL = 54, TCSBRK = 0x5409 };

static int linux_call(int number, int a, uintptr_t b, size_t c)
{
    int result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c)
                     : "memory", "cc");
    return result;
}

void platform_write(const char *text, size_t bytes)
{
    linux_call(SYS_WRITE, 1, (uintptr_t)text, bytes);
    linux_call(SYS_IOCTL, 1, TCSBRK, 1); // a terminal: nothing of the line is left to interrupt the program
}

// Called by _start with the kernel's start stack: argc, then the argv pointers.
__attribute__((noreturn, used)) void native_main(const int *stack)
{
    char *const *argv = (char *const *)(stack + 1);
    int status = runner_main(stack[0] > 1 ? argv[1] : "");
    for (;;)
        linux_call(SYS_EXIT, status, 0, 0);
}

__asm__(".globl _start\n"
        "_start:\n"
        "    movl %esp, %eax\n"
        "    andl $-16, %esp\n"
        "    subl $12, %esp\n"
        "    pushl %eax\n"
        "    call native_main\n");
