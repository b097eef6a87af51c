// SPDX-License-Identifier: MIT
// The screen: text mode 3, 80 by 25 cells of a character and its colours at 0xb8000.
#include "kernel.h"

enum {
    COLUMNS = 80,
    ROWS = 25,
    BLANK = 0x0720,             // light grey on black, a space
    COLOURS = 0x0700,
    PORT_INDEX = 0x3d4,
    PORT_DATA = 0x3d5,
    CURSOR_HIGH = 14,
    CURSOR_LOW = 15,
    TAB = 8,
};

static volatile uint16_t *const cells = (volatile uint16_t *)0xb8000;
static uint32_t cursor;         // cell where the next character goes

static void vga_scroll(void)
{
    for (uint32_t i = 0; i < COLUMNS * (ROWS - 1); i++)
        cells[i] = cells[i + COLUMNS];
    for (uint32_t i = COLUMNS * (ROWS - 1); i < COLUMNS * ROWS; i++)
        cells[i] = BLANK;
    cursor -= COLUMNS;
}

void vga_init(void)
{
    for (uint32_t i = 0; i < COLUMNS * ROWS; i++)
        cells[i] = BLANK;
    vga_show_cursor();
}

void vga_put(char character)
{
    if (character == '\n')
        cursor += COLUMNS - cursor % COLUMNS;
    else if (character == '\r')
        cursor -= cursor % COLUMNS;
    else if (character == '\b')
        cursor -= cursor % COLUMNS != 0;
    else if (character == '\t')
        cursor = (cursor + TAB) & -TAB;
    else
        cells[cursor++] = COLOURS | (uint8_t)character;
    if (cursor >= COLUMNS * ROWS)
        vga_scroll();
}

void vga_show_cursor(void)
{
    cpu_out8(PORT_INDEX, CURSOR_HIGH);
    cpu_out8(PORT_DATA, (uint8_t)(cursor >> 8));
    cpu_out8(PORT_INDEX, CURSOR_LOW);
    cpu_out8(PORT_DATA, (uint8_t)cursor);
}
