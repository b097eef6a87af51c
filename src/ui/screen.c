// SPDX-License-Identifier: MIT
// Screen dumps. PNG through libpng's simplified interface would want the pixels in another order,
// so rows are handed to the classic one; both formats share one row of RGB bytes.
#include "ui/screen.h"

#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void screen_rgb_row(const VgaFrame *frame, unsigned y, u8 *rgb) {
    const u32 *row = frame->pixels + (size_t)y * frame->width;
    for (unsigned x = 0; x < frame->width; x++) {
        rgb[x * 3] = (u8)(row[x] >> 16);
        rgb[x * 3 + 1] = (u8)(row[x] >> 8);
        rgb[x * 3 + 2] = (u8)row[x];
    }
}

static bool screen_write_ppm(const VgaFrame *frame, FILE *f, u8 *rgb) {
    fprintf(f, "P6\n%u %u\n255\n", frame->width, frame->height);
    for (unsigned y = 0; y < frame->height; y++) {
        screen_rgb_row(frame, y, rgb);
        if (fwrite(rgb, 3, frame->width, f) != frame->width) return false;
    }
    return true;
}

// libpng reports errors by longjmp; nothing here needs cleaning up but the writer itself.
static bool screen_write_png(const VgaFrame *frame, FILE *f, u8 *rgb) {
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    if (!png) return false;
    png_infop info = png_create_info_struct(png);
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return false;
    }
    png_init_io(png, f);
    png_set_IHDR(png, info, frame->width, frame->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 3);
    png_write_info(png, info);
    for (unsigned y = 0; y < frame->height; y++) {
        screen_rgb_row(frame, y, rgb);
        png_write_row(png, rgb);
    }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return true;
}

int screen_write(const VgaFrame *frame, const char *path, bool png) {
    FILE *f = fopen(path, "wb");
    if (!f) return -1;
    u8 *rgb = mem_new((size_t)frame->width * 3);
    errno = EIO;
    bool ok = (png ? screen_write_png : screen_write_ppm)(frame, f, rgb);
    free(rgb);
    if (fclose(f)) ok = false;
    if (ok) return 0;
    int error = errno;
    unlink(path);
    errno = error;
    return -1;
}

int screen_dump(Vga *vga, const char *path, bool png) {
    VgaFrame frame = { 0 };
    vga_render(vga, &frame);
    int result = screen_write(&frame, path, png);
    int error = errno;
    vga_frame_free(&frame);
    errno = error;
    return result;
}
