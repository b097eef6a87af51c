// SPDX-License-Identifier: MIT
// Random programs of one to some ten instructions around a given row of i386.def, made of their number alone.
//
// A program is written along the path of its execution: an instruction is drawn, its operands are led to where
// they shall lie, then a machine steps it. So later instructions know the registers they start from.
#ifndef TESTS_SILICON_GEN_H
#define TESTS_SILICON_GEN_H

#include "guest.h"
#include "isa/isa.h"

typedef struct Step { u32 at; u8 length; bool code32; } Step;     // at: linear

enum { MAX_TRACE = 64 };
typedef struct Case {
    u64 number, random;
    unsigned row;
    Machine *maker;
    State start;
    u8 image[AREA_BYTES];              // memory at the start
    u32 code_low, code_high;           // offsets of what was written to the code pages
    Step trace[MAX_TRACE];
    unsigned traced, stepped;
    u32 undefined;                     // arithmetic flags that are undefined in the end
    bool fpu;                          // x87 or SIMD instructions among them
    bool memory_form, register_form;   // the row's instruction had such operands
    u32 fx_image[4], fx_images;        // where FXSAVE stores, and how often it is among them
    bool privileged;                   // privilege makes a difference to it
    bool corner;                       // the row's instruction is led to a corner of its operands
    u64 met;                           // the corner that it met, one bit or none,
    u8 met_of;                         // of so many
    bool ended;
    u8 pinned;                         // registers that the instruction being drawn relies on
} Case;

void gen_open(void);
// The case's maker has run it to its end then.
void gen_case(Case *c, u64 number, unsigned row);

#endif
