// SPDX-License-Identifier: MIT
// System calls: int $0x80 from ring 3, listed in shared/abi.h. Each row of the table is one
// function of the three argument registers whose result goes to %eax.
#include "kernel.h"

typedef int CallFunction(uint32_t a, uint32_t b, uint32_t c);

#define UNUSED __attribute__((unused))

// Copies a zero-terminated string of the program; false: it leaves its areas or is too long.
static bool call_copy_string(char *out, size_t size, uint32_t linear)
{
    for (size_t i = 0; i < size; i++) {
        if (!paging_user_may(linear + i, 1, false))
            return false;
        out[i] = *(const char *)(linear + i);
        if (!out[i])
            return true;
    }
    return false;
}

static int call_exit(uint32_t status, uint32_t b UNUSED, uint32_t c UNUSED)
{
    process_exit((int)status);
}

static int call_write(uint32_t bytes, uint32_t count, uint32_t c UNUSED)
{
    if (!paging_user_may(bytes, count, false))
        return LAB_ERROR_ADDRESS;
    console_write((const char *)bytes, count);
    return (int)count;
}

static int call_read_key(uint32_t a UNUSED, uint32_t b UNUSED, uint32_t c UNUSED)
{
    char character;
    return console_wait_input(&character) ? (uint8_t)character : 0;
}

static int call_ticks(uint32_t a UNUSED, uint32_t b UNUSED, uint32_t c UNUSED)
{
    return (int)timer_ticks();
}

static int call_run(uint32_t command, uint32_t b UNUSED, uint32_t c UNUSED)
{
    char copy[LAB_COMMAND_BYTES];
    if (!call_copy_string(copy, sizeof copy, command))
        return LAB_ERROR_ADDRESS;
    return process_run(copy);
}

static int call_command(uint32_t buffer, uint32_t size, uint32_t c UNUSED)
{
    if (!size || !paging_user_may(buffer, size, true))
        return LAB_ERROR_ADDRESS;
    text_copy((char *)buffer, size, process_current()->command);
    return 0;
}

static int call_file_info(uint32_t index, uint32_t info, uint32_t c UNUSED)
{
    struct LabFileInfo *out = (struct LabFileInfo *)info;
    struct File file;
    if (!paging_user_may(info, sizeof *out, true))
        return LAB_ERROR_ADDRESS;
    if (!archive_get(index, &file))
        return LAB_ERROR_FILE;
    text_copy(out->name, sizeof out->name, file.name);
    out->bytes = file.bytes;
    out->is_program = archive_is_program(&file);
    return 0;
}

static int call_file_read(uint32_t arguments, uint32_t b UNUSED, uint32_t c UNUSED)
{
    const struct LabFileRead *user = (const struct LabFileRead *)arguments;
    char name[LAB_NAME_BYTES];
    struct File file;

    if (!paging_user_may(arguments, sizeof *user, false))
        return LAB_ERROR_ADDRESS;
    struct LabFileRead read = *user;
    if (!call_copy_string(name, sizeof name, (uint32_t)read.name) ||
        !paging_user_may((uint32_t)read.buffer, read.count, true))
        return LAB_ERROR_ADDRESS;
    if (!archive_find(name, &file))
        return LAB_ERROR_FILE;
    if (read.offset >= file.bytes)
        return 0;
    uint32_t left = file.bytes - read.offset;
    uint32_t count = read.count < left ? read.count : left;
    memcpy(read.buffer, file.data + read.offset, count);
    return (int)count;
}

static int call_counts(uint32_t counts, uint32_t b UNUSED, uint32_t c UNUSED)
{
    struct LabCounts *out = (struct LabCounts *)counts;
    if (!paging_user_may(counts, sizeof *out, true))
        return LAB_ERROR_ADDRESS;
    paging_count(out);
    process_count(out);
    return 0;
}

static int call_trace(uint32_t on, uint32_t b UNUSED, uint32_t c UNUSED)
{
    process_current()->traces_faults = on;
    return 0;
}

static int call_off(uint32_t a UNUSED, uint32_t b UNUSED, uint32_t c UNUSED)
{
    power_off();
}

// Linear 0xdeadbeec is mapped in no address space and belongs to no program.
static int call_oops(uint32_t a UNUSED, uint32_t b UNUSED, uint32_t c UNUSED)
{
    return *(volatile int *)0xdeadbeec;
}

void call_dispatch(struct Frame *frame)
{
    static CallFunction *const functions[LAB_CALLS] = {
        [LAB_CALL_EXIT] = call_exit,
        [LAB_CALL_WRITE] = call_write,
        [LAB_CALL_READ_KEY] = call_read_key,
        [LAB_CALL_TICKS] = call_ticks,
        [LAB_CALL_RUN] = call_run,
        [LAB_CALL_COMMAND] = call_command,
        [LAB_CALL_FILE_INFO] = call_file_info,
        [LAB_CALL_FILE_READ] = call_file_read,
        [LAB_CALL_COUNTS] = call_counts,
        [LAB_CALL_TRACE] = call_trace,
        [LAB_CALL_OFF] = call_off,
        [LAB_CALL_OOPS] = call_oops,
    };
    if (frame->eax < LAB_CALLS)
        frame->eax = (uint32_t)functions[frame->eax](frame->ebx, frame->ecx, frame->edx);
    else
        frame->eax = (uint32_t)LAB_ERROR_CALL;
}
