// SPDX-License-Identifier: MIT
// A mix of what systems programs do, in Dhrystone's proportions: procedure calls with few
// parameters, records through pointers, short strings, enumerations, array elements.

#include "program.h"

typedef enum { COLOUR_RED, COLOUR_GREEN, COLOUR_BLUE, COLOURS } Colour;

typedef struct Record {
    struct Record *next;
    Colour colour;
    int32_t number, weight;
    char name[32];
} Record;

static Record first, second;
static int32_t line[50], grid[50][50], global_number;
static char global_letter;

static NOINLINE Colour colour_after(Colour colour)
{
    switch (colour) {
    case COLOUR_RED: return global_number > 100 ? COLOUR_BLUE : COLOUR_GREEN;
    case COLOUR_GREEN: return COLOUR_BLUE;
    default: return COLOUR_RED;
    }
}

static NOINLINE int32_t number_mix(int32_t a, int32_t b)
{
    return b + a + 2;
}

static NOINLINE int name_compare(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++)
        ;
    return (uint8_t)*a - (uint8_t)*b;
}

static NOINLINE void name_copy(char *to, const char *from)
{
    while ((*to++ = *from++))
        ;
}

static NOINLINE int letters_alike(char a, char b)
{
    if (a != b)
        return 0;
    global_letter = a;
    return 1;
}

static NOINLINE int names_ordered(const char *a, const char *b)
{
    int at = 2;
    while (at <= 2 && letters_alike(a[at], b[at + 1]))
        at++;
    if (global_letter >= 'W' && global_letter < 'Z')
        at = 7;
    return name_compare(a, b) > 0 && at < 7;
}

static NOINLINE void record_advance(Record *record)
{
    Record *next = record->next;
    *next = first;
    record->number = 5;
    next->number = record->number;
    next->next = record->next;
    if (next->colour == COLOUR_RED) {
        next->number = number_mix(6, record->weight);
        next->colour = colour_after(record->colour);
        next->weight = number_mix(next->number, 10) & 0xffff;
    } else {
        *record = *next;
    }
}

static NOINLINE void arrays_touch(int32_t at, int32_t value)
{
    line[at + 5] = value;
    line[at + 6] = line[at + 5];
    line[at + 30] = at + 5;
    for (int32_t i = at + 5; i <= at + 6; i++)
        grid[at + 5][i] = at + 5;
    grid[at + 5][at + 4]++;
    grid[at + 15][at + 5] = line[at + 5];
    global_number = 5 + (value & 127);
}

static NOINLINE uint32_t dhry_once(uint32_t round)
{
    char one[32], two[32];
    name_copy(one, "A STRING OF SOME LENGTH, 1ST");
    name_copy(two, "A STRING OF SOME LENGTH, 2ND" + (round % 7 == 0));
    int32_t a = 2, b = 3, c = 0;
    int ordered = !names_ordered(one, two);
    while (a < b) {
        c = number_mix(5 * a - b, (int32_t)round & 15);
        a++;
    }
    arrays_touch((int32_t)(round % 10), c);
    record_advance(&first);
    for (char letter = 'A'; letter <= 'C'; letter++)
        if (ordered == letters_alike(letter, 'C'))
            first.colour = colour_after(first.colour);
    b = a * b;
    a = b / (c | 1);
    b = 7 * (b - c) - a;
    return (uint32_t)(a + b * 3 + c + second.number + second.weight) + (uint32_t)first.colour;
}

uint32_t bench_dhry(uint32_t iterations)
{
    uint32_t sum = 0;
    first = (Record){.next = &second, .weight = 40};
    second = (Record){.next = &first, .weight = 10};
    name_copy(first.name, "RECORD OF THE FIRST KIND");
    name_copy(second.name, "RECORD OF THE OTHER KIND");
    for (uint32_t round = 0; round < iterations * 1000; round++)
        sum = sum_add(sum, dhry_once(round));
    return sum;
}
