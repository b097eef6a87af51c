// SPDX-License-Identifier: MIT
// The keyboard behind the 8042, which translates to scan code set 1: a byte when a key goes
// down, the same with bit 7 set when it comes up. US layout; Shift and Ctrl. A byte 0xe0 precedes
// the grey keys, which act like the keys they double; some wrap themselves in shifts that nobody
// pressed (0xe0 0x2a), which are passed over.
#include "kernel.h"

enum {
    PORT_DATA = 0x60,
    PORT_STATUS = 0x64,
    STATUS_FULL = 1,
    RELEASED = 0x80,
    PREFIX_GREY = 0xe0,
    KEY_CONTROL = 0x1d,
    KEY_LEFT_SHIFT = 0x2a,
    KEY_RIGHT_SHIFT = 0x36,
    KEY_SPACE = 0x39,
    CONTROL_MASK = 0x1f,
};

static bool shift_held;
static bool control_held;
static bool grey;               // the byte before was PREFIX_GREY

// By scan code, from Escape (1) to the space bar; '\0' where a key makes no character.
static const char plain[] =
    "\0\0331234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] =
    "\0\033!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

_Static_assert(sizeof plain == KEY_SPACE + 2 && sizeof shifted == sizeof plain, "one per key");

// Empties the controller: a full one would send no further interrupt.
void keyboard_init(void)
{
    for (int i = 0; i < 16 && cpu_in8(PORT_STATUS) & STATUS_FULL; i++)
        cpu_in8(PORT_DATA);
}

void keyboard_interrupt(void)
{
    uint8_t code = cpu_in8(PORT_DATA);
    uint8_t key = code & (RELEASED - 1);
    bool pressed = !(code & RELEASED);
    bool was_grey = grey;

    grey = code == PREFIX_GREY;
    if (grey)
        return;
    if (key == KEY_LEFT_SHIFT || key == KEY_RIGHT_SHIFT)
        shift_held = was_grey ? shift_held : pressed;
    else if (key == KEY_CONTROL)
        control_held = pressed;
    if (!pressed || key > KEY_SPACE)
        return;
    char character = shift_held ? shifted[key] : plain[key];
    if (control_held)
        character &= CONTROL_MASK;
    if (character)
        console_put_input(character);
}
