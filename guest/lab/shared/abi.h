// SPDX-License-Identifier: MIT
// What the kernel and its programs agree on: the user part of the address space, the selectors,
// the program header and the system calls. C and assembly both include this file.
//
// Linear addresses of a program (the kernel's own map is in README.md):
//
//     0x0000e000  text    from the program's file, read-only
//     text_end    data    initialised data from the file, then zero pages on demand
//     0x00040000  window  zero pages on demand; %fs has its base and its limit here
//     0x00080000  (nothing: a store that runs off the window ends here)
//     0x00090000  stack   zero pages on demand, grows down from 0x000a0000
//
// Text starts at 0xe000 so that the program fault can have put_fs_byte at 0xe4c0, the address
// that function has in a Linux 0.11 kernel.
#pragma once

#define LAB_PAGE_BYTES    4096
#define LAB_TEXT_START    0x0000e000
#define LAB_WINDOW_START  0x00040000
#define LAB_WINDOW_END    0x00080000
#define LAB_STACK_START   0x00090000
#define LAB_STACK_END     0x000a0000
#define LAB_USER_END      0x000a0000    // the kernel owns every linear address from here up

// Selectors; the last two bits are the requested privilege level.
#define LAB_KERNEL_CODE   0x08
#define LAB_KERNEL_DATA   0x10
#define LAB_USER_CODE     0x1b
#define LAB_USER_DATA     0x23
#define LAB_USER_WINDOW   0x2b          // base LAB_WINDOW_START, limit the window's last byte
#define LAB_TASK          0x30

// int $0x80: number in %eax, arguments in %ebx %ecx %edx, result in %eax (negative: an error).
#define LAB_CALL_EXIT      0            // (status): does not return
#define LAB_CALL_WRITE     1            // (bytes, count): to the console; gives count
#define LAB_CALL_READ_KEY  2            // (): waits; gives one character
#define LAB_CALL_TICKS     3            // (): gives hundredths of a second since the kernel started
#define LAB_CALL_RUN       4            // (command line): runs a program to its end; its status
#define LAB_CALL_COMMAND   5            // (buffer, size): own command line, zero-terminated
#define LAB_CALL_FILE_INFO 6            // (index, struct LabFileInfo *)
#define LAB_CALL_FILE_READ 7            // (struct LabFileRead *): gives bytes read, 0 at the end
#define LAB_CALL_COUNTS    8            // (struct LabCounts *)
#define LAB_CALL_TRACE     9            // (on): kernel tells of this program's page faults
#define LAB_CALL_OFF       10           // (): power off
#define LAB_CALL_OOPS      11           // (): the kernel reads an address that nobody mapped
#define LAB_CALLS          12

#define LAB_ERROR_CALL     -1           // no such system call
#define LAB_ERROR_ADDRESS  -2           // a pointer argument is outside the program's areas
#define LAB_ERROR_FILE     -3           // no such file
#define LAB_ERROR_PROGRAM  -4           // the file is not a program
#define LAB_ERROR_MEMORY   -5           // no free page
#define LAB_KILLED         -6           // LAB_CALL_RUN: the kernel ended the program

#define LAB_MAGIC          0x3142414c   // "LAB1"
#define LAB_NAME_BYTES     32           // a file's name with its terminating zero
#define LAB_COMMAND_BYTES  80           // a command line with its terminating zero

#ifndef __ASSEMBLER__
#include <stdint.h>

// The first bytes of a program's file.
struct LabHeader {
    uint32_t magic;         // LAB_MAGIC
    uint32_t entry;         // linear address of the first instruction
    uint32_t text_end;      // linear address of the first page that may be written
};

struct LabFileInfo {
    char name[LAB_NAME_BYTES];
    uint32_t bytes;
    uint32_t is_program;    // 1: the file starts with a LabHeader
};

struct LabFileRead {
    const char *name;
    void *buffer;
    uint32_t offset;        // in the file, bytes
    uint32_t count;         // room in the buffer, bytes
};

struct LabCounts {
    uint32_t pages_total;   // pages in the pool
    uint32_t pages_free;
    uint32_t faults_served; // page faults answered with a zero page
    uint32_t programs_run;
    uint32_t programs_killed;
};
#endif
