// SPDX-License-Identifier: MIT
// The console: what is written goes to the screen and to the serial line, what is typed on the
// keyboard or arrives on the line goes into one ring of characters.
#include "kernel.h"

enum {
    RING_BYTES = 1024,          // a power of 2
    PRINT_BYTES = 256,          // longest console_print
    CONTROL_C = 3,
};

static char ring[RING_BYTES];
static volatile uint32_t ring_in;       // characters ever put, written by interrupt handlers
static volatile uint32_t ring_out;      // characters ever taken
static volatile bool break_wanted;

void console_init(void)
{
    vga_init();
    keyboard_init();
    uart_init();
}

void console_write(const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        vga_put(bytes[i]);
        if (bytes[i] == '\n')
            uart_put('\r');
        uart_put(bytes[i]);
    }
    vga_show_cursor();
}

void console_print(const char *format, ...)
{
    char line[PRINT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    size_t length = text_format(line, sizeof line, format, arguments);
    va_end(arguments);
    console_write(line, length);
}

// Ctrl-C ends the program that runs; to the shell, which has no parent, it is a character.
// What finds the ring full is lost.
void console_put_input(char character)
{
    const struct Process *process = process_current();
    if (character == CONTROL_C && process && process->parent)
        break_wanted = true;
    else if (ring_in - ring_out < RING_BYTES)
        ring[ring_in++ % RING_BYTES] = character;
}

bool console_take_input(char *character)
{
    if (ring_in == ring_out)
        return false;
    *character = ring[ring_out++ % RING_BYTES];
    return true;
}

bool console_wait_input(char *character)
{
    for (;;) {
        cpu_disable_interrupts();
        if (break_wanted || console_take_input(character))
            break;
        cpu_enable_interrupts_and_halt();
    }
    cpu_enable_interrupts();
    return !break_wanted;
}

bool console_take_break(void)
{
    bool wanted = break_wanted;
    break_wanted = false;
    return wanted;
}
