// SPDX-License-Identifier: MIT
// What a program can ask of the kernel, as C functions.
#pragma once
#include "../shared/abi.h"
#include "../shared/text.h"

static inline int lab_call(int number, uint32_t a, uint32_t b, uint32_t c)
{
    int result;
    __asm__ volatile("int $0x80"
                     : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "cc");
    return result;
}

static inline void lab_write(const char *bytes, size_t count)
{
    lab_call(LAB_CALL_WRITE, (uint32_t)bytes, count, 0);
}

static inline char lab_read_key(void)
{
    return (char)lab_call(LAB_CALL_READ_KEY, 0, 0, 0);
}

static inline uint32_t lab_ticks(void)
{
    return (uint32_t)lab_call(LAB_CALL_TICKS, 0, 0, 0);
}

static inline int lab_run(const char *command)
{
    return lab_call(LAB_CALL_RUN, (uint32_t)command, 0, 0);
}

static inline int lab_file_info(uint32_t index, struct LabFileInfo *info)
{
    return lab_call(LAB_CALL_FILE_INFO, index, (uint32_t)info, 0);
}

static inline int lab_file_read(const struct LabFileRead *read)
{
    return lab_call(LAB_CALL_FILE_READ, (uint32_t)read, 0, 0);
}

static inline struct LabCounts lab_counts(void)
{
    struct LabCounts counts;
    lab_call(LAB_CALL_COUNTS, (uint32_t)&counts, 0, 0);
    return counts;
}

static inline void lab_trace_faults(bool on)
{
    lab_call(LAB_CALL_TRACE, on, 0, 0);
}

// lab.c
__attribute__((format(printf, 1, 2))) void lab_print(const char *format, ...);

// Reads a number in decimal, or after 0x in hexadecimal; false: that is not one.
bool lab_read_number(const char *text, uint32_t *number);

// The first argument of this program's command line in out; empty when there is none.
void lab_argument(char *out, size_t size);

int main(void);
