// SPDX-License-Identifier: MIT
// bench: four short integer loops, each repeated for half a second of timer ticks.
//
// Every result is compared with the known one, so a machine that is fast but wrong is told so.
// A loop is one sieve, one CRC, one fib(20), or 256 KiB copied.
#include "lab.h"

enum {
    TICKS_EACH = 50,
    TICKS_PER_SECOND = 100,
    SIEVE_SIZE = 8192,
    PRIMES_BELOW_SIEVE_SIZE = 1028,
    CRC_POLYNOMIAL = 0xedb88320,
    CRC_BYTES = 1024,
    CRC_OF_PATTERN = 0xb70b4c26,
    FIB_INPUT = 20,
    FIB_OF_INPUT = 6765,
    COPY_BYTES = 16384,
    COPIES = 16,
};

struct Loop {
    const char *name;
    const char *what;
    uint32_t (*run)(void);
    uint32_t expected;
};

static uint8_t composite[SIEVE_SIZE];
static uint8_t source[COPY_BYTES];
static uint8_t target[COPY_BYTES];

static uint32_t run_sieve(void)
{
    uint32_t primes = 0;
    memset(composite, 0, sizeof composite);
    for (uint32_t i = 2; i < SIEVE_SIZE; i++) {
        if (composite[i])
            continue;
        primes++;
        for (uint32_t multiple = 2 * i; multiple < SIEVE_SIZE; multiple += i)
            composite[multiple] = 1;
    }
    return primes;
}

static uint32_t run_crc32(void)
{
    uint32_t crc = ~0u;
    for (uint32_t i = 0; i < CRC_BYTES; i++) {
        crc ^= i & 0xff;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? CRC_POLYNOMIAL : 0);
    }
    return ~crc;
}

__attribute__((noinline)) static uint32_t fib(uint32_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint32_t run_fib(void)
{
    return fib(FIB_INPUT);
}

// Gives the sum of a few bytes of the copy, one from each 4 KiB.
static uint32_t run_memcpy(void)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < COPIES; i++) {
        source[i] = (uint8_t)(i + 1);
        memcpy(target, source, sizeof target);
        sum += target[i];
    }
    return sum;
}

static void bench_loop(const struct Loop *loop)
{
    uint32_t count = 0, ticks = 0, start = lab_ticks();

    while (lab_ticks() == start)
        ;
    start = lab_ticks();
    while (ticks < TICKS_EACH) {
        uint32_t result = loop->run();
        if (result != loop->expected) {
            lab_print("%-7s WRONG: gave 0x%x instead of 0x%x\n", loop->name, result,
                      loop->expected);
            return;
        }
        count++;
        ticks = lab_ticks() - start;
    }
    lab_print("%-7s %3u ticks %9u loops %9u loops/s   %s\n", loop->name, ticks, count,
              count / ticks * TICKS_PER_SECOND + count % ticks * TICKS_PER_SECOND / ticks,
              loop->what);
}

int main(void)
{
    static const struct Loop loops[] = {
        { "sieve", "primes below 8192", run_sieve, PRIMES_BELOW_SIEVE_SIZE },
        { "crc32", "1 KiB, bit by bit", run_crc32, CRC_OF_PATTERN },
        { "fib", "fib(20), recursive", run_fib, FIB_OF_INPUT },
        { "memcpy", "256 KiB, rep movsl", run_memcpy, COPIES * (COPIES + 1) / 2 },
    };
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        bench_loop(&loops[i]);
    return 0;
}
