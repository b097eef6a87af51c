// SPDX-License-Identifier: MIT
// The key table: monitor name, code, X keysym of the plain level, X keysym of the shifted level.
//
// The layout is the US keyboard's. A row without keysyms (0) is another name of a key above it.
// Keysyms follow X11/keysymdef.h. An unshifted match is preferred to a shifted one.
#include "dev/keys.h"

#include <stdlib.h>
#include <string.h>

typedef struct KeyRow {
    const char *name;
    u16 code;
    u16 plain, shifted;        // X keysyms; 0: none
} KeyRow;

static const KeyRow key_rows[] = {
    { "esc", 0x01, 0xff1b, 0 },
    { "1", 0x02, '1', '!' }, { "2", 0x03, '2', '@' }, { "3", 0x04, '3', '#' },
    { "4", 0x05, '4', '$' }, { "5", 0x06, '5', '%' }, { "6", 0x07, '6', '^' },
    { "7", 0x08, '7', '&' }, { "8", 0x09, '8', '*' }, { "9", 0x0a, '9', '(' },
    { "0", 0x0b, '0', ')' }, { "minus", 0x0c, '-', '_' }, { "equal", 0x0d, '=', '+' },
    { "backspace", 0x0e, 0xff08, 0 }, { "tab", 0x0f, 0xff09, 0xfe20 },
    { "q", 0x10, 'q', 'Q' }, { "w", 0x11, 'w', 'W' }, { "e", 0x12, 'e', 'E' },
    { "r", 0x13, 'r', 'R' }, { "t", 0x14, 't', 'T' }, { "y", 0x15, 'y', 'Y' },
    { "u", 0x16, 'u', 'U' }, { "i", 0x17, 'i', 'I' }, { "o", 0x18, 'o', 'O' },
    { "p", 0x19, 'p', 'P' }, { "bracket_left", 0x1a, '[', '{' },
    { "bracket_right", 0x1b, ']', '}' }, { "ret", 0x1c, 0xff0d, 0 },
    { "ctrl", 0x1d, 0xffe3, 0 },
    { "a", 0x1e, 'a', 'A' }, { "s", 0x1f, 's', 'S' }, { "d", 0x20, 'd', 'D' },
    { "f", 0x21, 'f', 'F' }, { "g", 0x22, 'g', 'G' }, { "h", 0x23, 'h', 'H' },
    { "j", 0x24, 'j', 'J' }, { "k", 0x25, 'k', 'K' }, { "l", 0x26, 'l', 'L' },
    { "semicolon", 0x27, ';', ':' }, { "apostrophe", 0x28, '\'', '"' },
    { "grave_accent", 0x29, '`', '~' }, { "shift", 0x2a, 0xffe1, 0 },
    { "backslash", 0x2b, '\\', '|' },
    { "z", 0x2c, 'z', 'Z' }, { "x", 0x2d, 'x', 'X' }, { "c", 0x2e, 'c', 'C' },
    { "v", 0x2f, 'v', 'V' }, { "b", 0x30, 'b', 'B' }, { "n", 0x31, 'n', 'N' },
    { "m", 0x32, 'm', 'M' }, { "comma", 0x33, ',', '<' }, { "dot", 0x34, '.', '>' },
    { "slash", 0x35, '/', '?' }, { "shift_r", 0x36, 0xffe2, 0 },
    { "kp_multiply", 0x37, 0xffaa, 0 }, { "asterisk", 0x37, 0, 0 },
    { "alt", 0x38, 0xffe9, 0xffe7 }, { "spc", 0x39, ' ', 0 }, { "caps_lock", 0x3a, 0xffe5, 0 },
    { "f1", 0x3b, 0xffbe, 0 }, { "f2", 0x3c, 0xffbf, 0 }, { "f3", 0x3d, 0xffc0, 0 },
    { "f4", 0x3e, 0xffc1, 0 }, { "f5", 0x3f, 0xffc2, 0 }, { "f6", 0x40, 0xffc3, 0 },
    { "f7", 0x41, 0xffc4, 0 }, { "f8", 0x42, 0xffc5, 0 }, { "f9", 0x43, 0xffc6, 0 },
    { "f10", 0x44, 0xffc7, 0 }, { "num_lock", 0x45, 0xff7f, 0 },
    { "scroll_lock", 0x46, 0xff14, 0 },
    { "kp_7", 0x47, 0xffb7, 0xff95 }, { "kp_8", 0x48, 0xffb8, 0xff97 },
    { "kp_9", 0x49, 0xffb9, 0xff9a }, { "kp_subtract", 0x4a, 0xffad, 0 },
    { "kp_4", 0x4b, 0xffb4, 0xff96 }, { "kp_5", 0x4c, 0xffb5, 0xff9d },
    { "kp_6", 0x4d, 0xffb6, 0xff98 }, { "kp_add", 0x4e, 0xffab, 0 },
    { "kp_1", 0x4f, 0xffb1, 0xff9c }, { "kp_2", 0x50, 0xffb2, 0xff99 },
    { "kp_3", 0x51, 0xffb3, 0xff9b }, { "kp_0", 0x52, 0xffb0, 0xff9e },
    { "kp_decimal", 0x53, 0xffae, 0xff9f }, { "sysrq", 0x54, 0xff15, 0 },
    { "less", 0x56, '<', '>' }, { "<", 0x56, 0, 0 },
    { "f11", 0x57, 0xffc8, 0 }, { "f12", 0x58, 0xffc9, 0 }, { "kp_equals", 0x59, 0xffbd, 0 },
    { "hiragana", 0x70, 0xff25, 0 }, { "ro", 0x73, 0, 0 }, { "henkan", 0x79, 0xff23, 0 },
    { "muhenkan", 0x7b, 0xff22, 0 }, { "yen", 0x7d, 0xa5, 0 }, { "kp_comma", 0x7e, 0xffac, 0 },
    { "kp_enter", 0x11c, 0xff8d, 0 }, { "ctrl_r", 0x11d, 0xffe4, 0 },
    { "kp_divide", 0x135, 0xffaf, 0 }, { "print", 0x137, 0xff61, 0 },
    { "alt_r", 0x138, 0xffea, 0xffe8 }, { "altgr", 0x138, 0xfe03, 0xff7e },
    { "pause", 0x145, 0xff13, 0xff6b },
    { "home", 0x147, 0xff50, 0 }, { "up", 0x148, 0xff52, 0 }, { "pgup", 0x149, 0xff55, 0 },
    { "left", 0x14b, 0xff51, 0 }, { "right", 0x14d, 0xff53, 0 }, { "end", 0x14f, 0xff57, 0 },
    { "down", 0x150, 0xff54, 0 }, { "pgdn", 0x151, 0xff56, 0 }, { "insert", 0x152, 0xff63, 0 },
    { "delete", 0x153, 0xffff, 0 },
    { "meta_l", 0x15b, 0xffeb, 0 }, { "meta_r", 0x15c, 0xffec, 0 },
    { "menu", 0x15d, 0xff67, 0 }, { "compose", 0x15d, 0xff20, 0 },
    { "power", 0x15e, 0, 0 }, { "sleep", 0x15f, 0, 0 }, { "wake", 0x163, 0, 0 },
};

int key_by_name(const char *name) {
    for (unsigned i = 0; i < ARRAY_LEN(key_rows); i++)
        if (strcmp(key_rows[i].name, name) == 0) return key_rows[i].code;
    // One digit is the key of that digit; longer numbers are codes.
    char *end;
    unsigned long code = strtoul(name, &end, 0);
    bool number = name[0] >= '0' && name[0] <= '9' && !*end;
    return number && code < 0x200 && (code & 0x7f) && !(code & 0x80) ? (int)code : -1;
}

// A control character typed as such arrives as Latin-1: what it is on a keyboard.
static u32 key_canonical(u32 keysym) {
    switch (keysym) {
    case '\b': return 0xff08;
    case '\t': return 0xff09;
    case '\r': case '\n': return 0xff0d;
    case 0x1b: return 0xff1b;
    case 0x7f: return 0xffff;
    default: return keysym;
    }
}

int key_by_keysym(u32 keysym, bool *needs_shift) {
    const KeyRow *shifted = NULL;
    if (needs_shift) *needs_shift = false;
    keysym = key_canonical(keysym);
    if (!keysym || keysym > 0xffff) return -1;
    for (unsigned i = 0; i < ARRAY_LEN(key_rows); i++) {
        const KeyRow *row = &key_rows[i];
        // '<' and '>' are on the comma and dot keys of a US keyboard, not on the 102nd key.
        if (row->plain == keysym && row->code != 0x56) return row->code;
        if (row->shifted == keysym && !shifted) shifted = row;
    }
    if (!shifted) return -1;
    if (needs_shift) *needs_shift = keysym < 0x100;
    return shifted->code;
}

const char *key_name(unsigned n) { return n < ARRAY_LEN(key_rows) ? key_rows[n].name : NULL; }
