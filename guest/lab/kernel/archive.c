// SPDX-License-Identifier: MIT
// The files: a ustar archive that the linker put into the kernel's image, made by tar.
//
// A file is a header of 512 bytes, then its bytes, filled up to a multiple of 512; two headers of
// zeros end the archive (POSIX.1-1988, ustar). Of the header the lab reads:
//
//     offset   0  name, 100 bytes      124  size, 12 octal digits
//            156  type: '0' a file     257  "ustar"
#include "kernel.h"

enum {
    BLOCK_BYTES = 512,
    OFFSET_NAME = 0,
    OFFSET_SIZE = 124,
    SIZE_DIGITS = 12,
    OFFSET_MAGIC = 257,
};

__asm__(".pushsection .archive, \"a\"; .balign 4; archive_start: .incbin \"archive.tar\";"
        "archive_end: .popsection");

extern const uint8_t archive_start[], archive_end[];

// Reads the header at position and moves position to the next one; false: the archive is over.
static bool archive_next(const uint8_t **position, struct File *file)
{
    const char *header = (const char *)*position;
    if (*position + BLOCK_BYTES > archive_end || header[OFFSET_MAGIC] != 'u')
        return false;
    file->name = header + OFFSET_NAME;
    file->bytes = text_read_octal(header + OFFSET_SIZE, SIZE_DIGITS);
    file->data = *position + BLOCK_BYTES;
    *position = file->data + ((file->bytes + BLOCK_BYTES - 1) & -BLOCK_BYTES);
    return true;
}

bool archive_get(uint32_t index, struct File *file)
{
    const uint8_t *position = archive_start;
    while (archive_next(&position, file))
        if (!index--)
            return true;
    return false;
}

bool archive_find(const char *name, struct File *file)
{
    const uint8_t *position = archive_start;
    while (archive_next(&position, file))
        if (text_equal(file->name, name))
            return true;
    return false;
}

bool archive_is_program(const struct File *file)
{
    const struct LabHeader *header = (const void *)file->data;
    return file->bytes >= sizeof *header && header->magic == LAB_MAGIC &&
           header->entry >= LAB_TEXT_START && header->entry < header->text_end &&
           header->text_end % LAB_PAGE_BYTES == 0 && header->text_end <= LAB_WINDOW_START &&
           file->bytes <= LAB_WINDOW_START - LAB_TEXT_START;
}
