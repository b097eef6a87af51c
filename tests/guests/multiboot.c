// SPDX-License-Identifier: MIT
// A multiboot kernel that says on COM1 what its loader told it, and ends by isa-debug-exit (port 0xf4)
// with the number of modules. No library, no interrupts. Built by tests/e2e/multiboot.sh:
//
//     cc -m32 -ffreestanding -fno-pic -nostdlib -static -Wl,-Ttext=0x200000 multiboot.c        ELF
//     the same with -DFLAT, then objcopy -O binary                       addresses in the header
//     the same with -DDEMAND=8                                           asks for what nobody knows
typedef unsigned char u8;
typedef unsigned int u32;

#ifndef DEMAND
#define DEMAND 0
#endif
#ifdef FLAT
#define FLAGS 0x10003
#else
#define FLAGS (0x3 | DEMAND)
#endif
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

__asm__(".section .text.start, \"ax\"\n"
        ".globl start\n"
        "start:  jmp 1f\n"
        "        .balign 4\n"
        "header: .long 0x1badb002, " TEXT(FLAGS) ", -0x1badb002 - " TEXT(FLAGS) "\n"
        "        .long header, start, data_end, bss_end, start\n"
        "1:      mov $stack_end, %esp\n"
        "        push %ebx\n"
        "        push %eax\n"
        "        call kernel\n"
        "        .section .bss\n"
        "        .fill 4096\n"
        "stack_end:\n"
        "        .text\n");

static void out(unsigned port, u8 value) { __asm__ volatile("outb %0, %w1" : : "a"(value), "Nd"(port)); }

static u8 in(unsigned port) {
    u8 value;
    __asm__ volatile("inb %w1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void put(char c) {
    while (!(in(0x3fd) & 0x20)) {}
    out(0x3f8, (u8)c);
}

static void say(const char *text) {
    while (*text) put(*text++);
}

static void hex(u32 value) {
    for (int shift = 28; shift >= 0; shift -= 4) put("0123456789abcdef"[value >> shift & 15]);
}

static void row(const char *name, u32 value) {
    say(name);
    hex(value);
    say("\n");
}

static void say_map(u32 at, u32 bytes) {
    for (u32 end = at + bytes; at < end; at += *(u32 *)at + 4) {
        const u32 *e = (u32 *)at;
        say("map ");
        hex(e[2]);
        hex(e[1]);
        put(' ');
        hex(e[4]);
        hex(e[3]);
        put(' ');
        hex(e[5]);
        put('\n');
    }
}

u32 zeros[1024];               // must be
u32 filled = 0x600dda7a;

// The structure's words by offset / 4: 1 lower, 2 upper, 4 line, 5 modules, 6 where, 11 map bytes, 12 where.
void kernel(u32 magic, const u32 *info) {
    u32 esp, cr0, flags, sum = 0;
    __asm__ volatile("mov %%esp, %0; mov %%cr0, %1; pushf; pop %2" : "=r"(esp), "=r"(cr0), "=r"(flags));
    row("magic ", magic);
    row("flags ", info[0]);
    row("state ", (cr0 & 0x80000001) | (flags & 0x20200));
    for (u32 i = 0; i < 1024; i++) sum |= zeros[i];
    row("data ", sum ? sum : filled);
    say("line ");
    say((char *)info[4]);
    row("\nlower ", info[1]);
    row("upper ", info[2]);
    say_map(info[12], info[11]);
    for (u32 i = 0; i < info[5]; i++) {
        const u32 *m = (u32 *)info[6] + 4 * i;
        row("module ", m[1] - m[0]);
        row("aligned ", m[0] & 0xfff);
        say((char *)m[2]);
        say(": ");
        for (const char *c = (char *)m[0]; c < (char *)m[1]; c++) put(*c);
        say("\n");
    }
    say("loader ");
    say((char *)info[16]);
    say("\n");
    out(0xf4, (u8)(0x20 + info[5]));
    for (;;) __asm__ volatile("cli; hlt");
}
