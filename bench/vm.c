// SPDX-License-Identifier: MIT
// A stack machine's interpreter, one switch per instruction; it runs a Collatz search.

#include "program.h"

enum {
    OP_PUSH, OP_LOAD, OP_STORE, OP_ADD, OP_SUB, OP_MUL, OP_AND, OP_SHR, OP_LESS, OP_XOR, OP_DUP,
    OP_JUMP, OP_JUMP_ZERO, OP_HALT,
};
enum { V_LIMIT, V_N, V_X, V_STEPS, V_SUM, V_COUNT };
enum { AT_OUTER = 2, AT_INNER = 10, AT_EVEN = 24, AT_NEXT = 26, AT_AFTER = 32, AT_HALT = 45 };

typedef struct {
    uint8_t op, operand;
} Code;

// for (n = 1; n < limit; n++) {
//     for (x = n, steps = 0; x != 1; steps++)
//         x = x & 1 ? x * 3 + 1 : x >> 1;
//     sum = (sum ^ n) + steps * n;
// }
static const Code collatz[] = {
    {OP_PUSH, 1}, {OP_STORE, V_N},
    [AT_OUTER] = {OP_LOAD, V_N}, {OP_LOAD, V_LIMIT}, {OP_LESS, 0}, {OP_JUMP_ZERO, AT_HALT},
    {OP_LOAD, V_N}, {OP_STORE, V_X}, {OP_PUSH, 0}, {OP_STORE, V_STEPS},
    [AT_INNER] = {OP_LOAD, V_X}, {OP_PUSH, 1}, {OP_SUB, 0}, {OP_JUMP_ZERO, AT_AFTER},
    {OP_LOAD, V_X}, {OP_DUP, 0}, {OP_PUSH, 1}, {OP_AND, 0}, {OP_JUMP_ZERO, AT_EVEN},
    {OP_PUSH, 3}, {OP_MUL, 0}, {OP_PUSH, 1}, {OP_ADD, 0}, {OP_JUMP, AT_NEXT},
    [AT_EVEN] = {OP_PUSH, 1}, {OP_SHR, 0},
    [AT_NEXT] = {OP_STORE, V_X}, {OP_LOAD, V_STEPS}, {OP_PUSH, 1}, {OP_ADD, 0},
    {OP_STORE, V_STEPS}, {OP_JUMP, AT_INNER},
    [AT_AFTER] = {OP_LOAD, V_SUM}, {OP_LOAD, V_N}, {OP_XOR, 0}, {OP_LOAD, V_STEPS}, {OP_LOAD, V_N},
    {OP_MUL, 0}, {OP_ADD, 0}, {OP_STORE, V_SUM}, {OP_LOAD, V_N}, {OP_PUSH, 1}, {OP_ADD, 0},
    {OP_STORE, V_N}, {OP_JUMP, AT_OUTER},
    [AT_HALT] = {OP_HALT, 0},
};

#define BINARY(expression) \
    do { \
        uint32_t right = *top--, left = *top; \
        *top = (expression); \
    } while (0)

static NOINLINE uint32_t vm_run(const Code *code, uint32_t *variables)
{
    uint32_t stack[16], *top = stack;
    for (uint32_t at = 0;; at++)
        switch (code[at].op) {
        case OP_PUSH: *++top = code[at].operand; break;
        case OP_LOAD: *++top = variables[code[at].operand]; break;
        case OP_STORE: variables[code[at].operand] = *top--; break;
        case OP_ADD: BINARY(left + right); break;
        case OP_SUB: BINARY(left - right); break;
        case OP_MUL: BINARY(left * right); break;
        case OP_AND: BINARY(left & right); break;
        case OP_SHR: BINARY(left >> (right & 31)); break;
        case OP_LESS: BINARY(left < right); break;
        case OP_XOR: BINARY(left ^ right); break;
        case OP_DUP: top[1] = top[0]; top++; break;
        case OP_JUMP: at = code[at].operand - 1u; break;
        case OP_JUMP_ZERO: if (*top-- == 0) at = code[at].operand - 1u; break;
        default: return variables[V_SUM];
        }
}
#undef BINARY

uint32_t bench_vm(uint32_t iterations)
{
    uint32_t sum = 0;
    for (uint32_t round = 0; round < iterations; round++) {
        uint32_t variables[V_COUNT] = {[V_LIMIT] = 400 + (round & 7), [V_SUM] = sum};
        sum = vm_run(collatz, variables);
    }
    return sum;
}
